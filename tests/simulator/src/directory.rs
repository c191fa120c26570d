//! What a phone may ask the service about other people's devices: the one interface between the
//! two halves of the simulator.
//!
//! The service ([`crate::service`]) knows accounts, device lists, key bundles and connections. A
//! phone ([`crate::phone`]) is a primary device: it holds Signal keys and speaks stanzas exactly as a
//! connected client would, but without a socket. A phone never looks into the service except
//! through this trait, and the service never looks into a phone's Signal state.

use waproto::whatsapp::DeviceProps;

use crate::media::MediaStore;
use crate::service::Place;

/// One device of one person. `device` 0 is the phone itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeviceAddr {
    /// The phone number, digits only: the user part of `<digits>@s.whatsapp.net`.
    pub number: String,
    /// 0 for the phone, 1 and up for linked devices.
    pub device: u16,
}

/// What `<iq xmlns="encrypt" type="get"><key>` hands out for one device.
#[derive(Debug, Clone)]
pub struct Bundle {
    /// Signal's registration id (32 bits, big endian on the wire).
    pub registration_id: u32,
    /// The Curve25519 identity key, without libsignal's type byte.
    pub identity: [u8; 32],
    /// The signed prekey: id (24 bits on the wire), public key, XEdDSA signature.
    pub signed: (u32, [u8; 32], [u8; 64]),
    /// One one-time prekey, if any is left; it is gone from the store once handed out.
    pub one_time: Option<(u32, [u8; 32])>,
    /// The serialized `ADVSignedDeviceIdentity` with `accountSignatureKey`, for linked devices.
    pub device_identity: Option<Vec<u8>>,
}

/// A group, as a phone that is in it sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupView {
    /// Whether the group names people by LID; otherwise by number.
    pub lid: bool,
    /// Its name.
    pub subject: String,
    /// The numbers of the members, in the order in which they came.
    pub members: Vec<String>,
    /// The numbers of the admins.
    pub admins: Vec<String>,
    /// After how many seconds its messages disappear.
    pub ephemeral: Option<u32>,
}

/// The service, as a phone may use it.
pub trait Directory {
    /// The media service's files, as clients with an auth token get them.
    fn media(&mut self) -> &mut MediaStore;
    /// Whether the phone of a number shall refuse to upload a file again: the result that it
    /// answers with (`MediaRetryNotification.ResultType`).
    fn refused_media_retry(&mut self, number: &str) -> Option<u16>;
    /// Whether the phone of a number shares no key of the app state.
    fn keeps_app_state_key(&mut self, _number: &str) -> bool {
        false
    }
    /// The path that a lie names instead of the true one, if one is wanted of the phone of a number.
    fn forged_path(&mut self, _number: &str, _place: Place) -> Option<String> {
        None
    }
    /// The LID user part of a number, if that number exists.
    fn lid_of(&self, number: &str) -> Option<String>;
    /// The number behind a LID user part.
    fn number_of(&self, lid: &str) -> Option<String>;
    /// All devices of a number, the phone (0) first.
    fn devices(&self, number: &str) -> Vec<u16>;
    /// The key bundle of a device; consumes a one-time prekey.
    fn take_bundle(&mut self, addr: &DeviceAddr) -> Option<Bundle>;
    /// The push name of a number.
    fn name_of(&self, _number: &str) -> Option<String> {
        None
    }
    /// The username of a number.
    fn username_of(&self, _number: &str) -> Option<String> {
        None
    }
    /// What a linked device said about itself when it was linked.
    fn device_props(&self, _number: &str, _device: u16) -> Option<DeviceProps> {
        None
    }
    /// The group with this user part of a JID.
    fn group(&self, _id: &str) -> Option<GroupView> {
        None
    }
}
