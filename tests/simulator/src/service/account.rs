//! What the service keeps about a number and its devices.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use wacore::prekeys::compute_key_bundle_digest;
use wacore_libsignal::protocol::PublicKey;

use super::iq::{Business, Picture};
use super::limits::Limits;
use super::outbox::Outbox;
use super::passkey::Passkey;
use super::usernames::Username;
use crate::directory::Bundle;

/// One-time prekeys kept for one device; clients upload 812 at a time.
const MAX_PREKEYS: usize = 16_384;
/// Below this many one-time prekeys the device is notified.
pub const PREKEYS_LOW: usize = 10;
/// Patches kept for one app-state collection.
pub const MAX_PATCHES: usize = 10_000;
/// Categories and values a client finds before it changes one.
const PRIVACY_DEFAULTS: [(&str, &str); 9] = [
    ("readreceipts", "all"),
    ("last", "all"),
    ("online", "all"),
    ("profile", "all"),
    ("status", "contacts"),
    ("groupadd", "all"),
    ("calladd", "all"),
    ("messages", "all"),
    ("defense", "off"),
];

/// A number on WhatsApp.
pub struct Account {
    /// The user part of `<lid>@lid`.
    pub lid: String,
    /// What `notify` says on its messages.
    pub name: String,
    /// The about text.
    pub about: String,
    /// The picture that it shows, and the id of the last one.
    pub picture: Option<Picture>,
    pub pictures: u64,
    /// What it shows as a business.
    pub business: Option<Business>,
    /// Seconds after which messages disappear in chats that it begins (0: they stay), and when that was set.
    pub default_timer: (u64, u64),
    /// Whether others see only the LID, until this is `false` again.
    pub hidden: bool,
    /// Its identifiers besides the number.
    pub username: Option<Username>,
    /// Its devices; 0, the phone, is always there.
    pub devices: BTreeMap<u16, Device>,
    /// The number that the next linked device gets.
    pub next_device: u16,
    /// Whether its devices have the network.
    pub reachable: bool,
    /// Numbers that queried its devices or wrote to it: they are notified of changes to its device list.
    pub known_by: BTreeSet<String>,
    /// With whom it has exchanged messages.
    pub chats_with: BTreeSet<String>,
    /// Its limits on writing to others.
    pub limits: Limits,
    /// Whether its phone is in use, with WhatsApp open.
    pub in_use: bool,
    /// When one of its devices was available last, seconds.
    pub last_seen: Option<u64>,
    /// Subscribers to its presence.
    pub watched_by: BTreeSet<(String, u16)>,
    /// Privacy settings, by category.
    pub privacy: BTreeMap<String, String>,
    /// Blocked numbers.
    pub blocked: BTreeSet<String>,
    /// App-state collections, by name.
    pub app_state: BTreeMap<String, Collection>,
    /// When `key_index_list` last changed, seconds.
    pub devices_changed: u64,
    /// Push notifications that its phone has got for messages.
    pub pushes: u64,
    /// How often its devices could not decrypt a message and asked for it again.
    pub retries: u64,
    /// Of these, for messages that had been delivered to the device on an earlier connection. Signal remembers the keys
    /// of the last few chains only: who takes a message, steps on by as many, and loses the
    /// connection before the acknowledgement cannot decrypt what comes again.
    pub late_retries: u64,
    /// What it must present when it is linked, if a fault requires it.
    pub passkey: Option<Passkey>,
}

impl Account {
    /// A number without linked devices.
    pub fn new(lid: &str, name: &str, now_secs: u64) -> Account {
        Account {
            lid: lid.to_owned(),
            name: name.to_owned(),
            about: "Hey there! I am using WhatsApp.".to_owned(),
            picture: None,
            pictures: 0,
            business: None,
            default_timer: (0, 0),
            hidden: false,
            username: None,
            devices: BTreeMap::from([(0, Device::default())]),
            next_device: 1,
            reachable: true,
            known_by: BTreeSet::new(),
            chats_with: BTreeSet::new(),
            limits: Limits::default(),
            watched_by: BTreeSet::new(),
            privacy: PRIVACY_DEFAULTS
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect(),
            blocked: BTreeSet::new(),
            app_state: BTreeMap::new(),
            in_use: false,
            last_seen: None,
            devices_changed: now_secs,
            pushes: 0,
            retries: 0,
            late_retries: 0,
            passkey: None,
        }
    }
}

/// One app-state collection: the patches, with the version that each led to.
#[derive(Default)]
pub struct Collection {
    /// The version after the last patch; 0 when there is none.
    pub version: u64,
    /// Serialized `SyncdPatch`es in order, each with its version written into it.
    pub patches: VecDeque<(u64, Vec<u8>)>,
}

/// A device of a number. For the phone only the queue is used.
#[derive(Default)]
pub struct Device {
    /// What logs it in.
    pub noise_key: [u8; 32],
    /// Its place in the account's signed key-index list.
    pub key_index: u32,
    /// Its Signal keys.
    pub keys: Option<DeviceKeys>,
    /// Whether keys were ever uploaded, beside those of the pairing.
    pub uploaded: bool,
    /// The serialized `ADVSignedDeviceIdentity` with `accountSignatureKey`.
    pub identity: Vec<u8>,
    /// Its queue.
    pub outbox: Outbox,
    /// The serialized `DeviceProps` of its registration.
    pub props: Vec<u8>,
    /// Whether it has been ready once: the phone greets it the first time.
    pub greeted: bool,
    /// Whether it has fetched the groups of its number: until then it is notified at each login.
    pub knows_groups: bool,
}

/// Why the service does not take keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyRefusal {
    /// A field is absent or has a wrong length.
    #[error("bad-request")]
    Malformed,
    /// The signed prekey is not signed by the identity.
    #[error("not-acceptable")]
    Signature,
    /// The identity is not the one that was paired.
    #[error("not-acceptable")]
    Identity,
    /// More one-time prekeys than are kept for one device.
    #[error("resource-limit")]
    TooMany,
}

impl KeyRefusal {
    /// The `code` of the error stanza.
    pub fn code(self) -> u16 {
        match self {
            KeyRefusal::Malformed => 400,
            KeyRefusal::Signature | KeyRefusal::Identity => 406,
            KeyRefusal::TooMany => 429,
        }
    }
}

/// A signed prekey.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedKey {
    /// 24 bits on the wire.
    pub id: u32,
    /// The public key.
    pub public: [u8; 32],
    /// XEdDSA by the identity over type byte and public key.
    pub signature: [u8; 64],
}

impl SignedKey {
    /// Checks the signature.
    ///
    /// # Errors
    /// [`KeyRefusal::Signature`] if `identity` did not sign this key.
    pub fn verify(&self, identity: &[u8; 32]) -> Result<(), KeyRefusal> {
        let signer =
            PublicKey::from_djb_public_key_bytes(identity).map_err(|_| KeyRefusal::Malformed)?;
        let signed = PublicKey::from_djb_public_key_bytes(&self.public)
            .map_err(|_| KeyRefusal::Malformed)?;
        if signer.verify_signature(&signed.serialize(), &self.signature) {
            Ok(())
        } else {
            Err(KeyRefusal::Signature)
        }
    }
}

/// The Signal keys that a linked device published.
#[derive(Debug, Clone)]
pub struct DeviceKeys {
    /// Signal's registration id.
    pub registration_id: u32,
    /// The identity, fixed at pairing.
    pub identity: [u8; 32],
    /// The current signed prekey.
    pub signed: SignedKey,
    one_time: VecDeque<(u32, [u8; 32])>,
}

impl DeviceKeys {
    /// Keys without one-time prekeys, as a pairing brings them.
    pub fn new(registration_id: u32, identity: [u8; 32], signed: SignedKey) -> DeviceKeys {
        DeviceKeys {
            registration_id,
            identity,
            signed,
            one_time: VecDeque::new(),
        }
    }

    /// How many one-time prekeys are left.
    pub fn left(&self) -> usize {
        self.one_time.len()
    }

    /// Adds one-time prekeys; an id that is there already gets the new key.
    ///
    /// # Errors
    /// [`KeyRefusal::TooMany`] beyond the limit; nothing is taken then.
    pub fn add(&mut self, keys: Vec<(u32, [u8; 32])>) -> Result<(), KeyRefusal> {
        if self.one_time.len() + keys.len() > MAX_PREKEYS {
            return Err(KeyRefusal::TooMany);
        }
        let known: BTreeMap<u32, usize> = self
            .one_time
            .iter()
            .enumerate()
            .map(|(at, (id, _))| (*id, at))
            .collect();
        for (id, key) in keys {
            match known.get(&id).and_then(|at| self.one_time.get_mut(*at)) {
                Some(slot) => slot.1 = key,
                None => self.one_time.push_back((id, key)),
            }
        }
        Ok(())
    }

    /// Returns a bundle, and consumes its one-time prekey.
    pub fn take_bundle(&mut self, identity: &[u8]) -> Bundle {
        Bundle {
            registration_id: self.registration_id,
            identity: self.identity,
            signed: (self.signed.id, self.signed.public, self.signed.signature),
            one_time: self.one_time.pop_front(),
            device_identity: Some(identity.to_vec()),
        }
    }

    /// The ids of the one-time prekeys and the SHA-1 over the whole bundle, as clients compute it.
    pub fn digest(&self) -> (Vec<u32>, Vec<u8>) {
        let publics: Vec<&[u8]> = self.one_time.iter().map(|(_, key)| &key[..]).collect();
        let hash = compute_key_bundle_digest(
            &self.identity,
            &self.signed.public,
            &self.signed.signature,
            &publics,
        );
        (self.one_time.iter().map(|(id, _)| *id).collect(), hash)
    }
}
