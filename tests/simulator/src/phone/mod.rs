//! The phones: primary devices that speak the protocol as a client does, without a socket.
//!
//! A [`Phone`] is pure. Stanzas delivered to it go into [`Phone::receive`], what it sends comes out as
//! a list of stanzas, `now` and the [`Directory`] are passed in, and its random numbers come from a
//! seed: the same calls give the same bytes. Stanzas that come out are what a client writes to
//! its socket (`to`, `id`, `type`, children); the service adds `from`, `t`, `notify` and the
//! `sender_*` attributes when it routes them. Stanzas that go in are what a client reads from it.
//!
//! **Addresses.** Signal sessions are keyed by number and device. On the wire a phone answers in
//! the form it was addressed in: a chat given as `…@lid` gets LID participants, one given as a number
//! or `…@s.whatsapp.net` gets phone-number participants.
//!
//! **Linking by QR code.** [`Phone::scan_qr`] with the code's text and the device number that the service
//! chose gives the content of `<pair-success><device-identity>`; the companion's answer,
//! `<pair-device-sign><device-identity>`, goes into [`Phone::accept_signed`], which gives the
//! `ADVSignedDeviceIdentity` that bundles carry.
//!
//! **Linking by phone code**, in the service's order:
//! 1. `companion_hello` arrives; the service answers it with a new reference and keeps the
//!    `<link_code_companion_reg>` element.
//! 2. The person types the code: [`Phone::enter_code`] with that element, the reference and the
//!    code gives the `<link_code_companion_reg stage="primary_hello">` element to be wrapped in
//!    `<notification type="link_code_companion_reg" from="@s.whatsapp.net" id t>`.
//! 3. `companion_finish` arrives: [`Phone::finish_code`] with its `<link_code_companion_reg>` gives
//!    a [`Scan`], as a QR code does, or [`PhoneError::WrongCode`] if the two sides typed different
//!    codes. The service answers the IQ and goes on with `pair-success`.
//!
//! [`Directory`]: crate::directory::Directory

mod actions;
mod addons;
mod app_state;
mod business;
mod changes;
mod compose;
mod describe;
mod groups;
mod history;
mod inbox;
mod keys;
mod media;
mod outgoing;
mod pair_code;
mod pairing;
mod passkey;
mod receiving;
mod recent;
mod retry;
mod sender_keys;
mod sending;
mod sessions;
mod stories;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use wacore_binary::{Jid, JidExt, Node};
use wacore_libsignal::protocol::{CurveError, SignalProtocolError};

use crate::directory::{Bundle, DeviceAddr, Directory};

pub use app_state::Action;
pub use describe::{Card, Place, Planned, Question, Quoted};
pub use groups::parse_chat;
pub use history::{Past, PastChat, Peer};
pub use inbox::{Inbox, Receipt, Received, Sent};
pub use media::{Attachment, Media, MediaFile, Uploaded};
pub use outgoing::{Body, Coming, Contact, Event, Forgery, LiveLocation, Location, Outgoing, Poll};
pub use pairing::{Hosted, Scan};

use app_state::{AppStateKey, Collections};
use keys::Keys;
use pair_code::PendingCode;
use pairing::Adv;
use passkey::PendingPasskey;
use recent::Recent;
use sender_keys::SenderKeys;
use sending::Outbound;

/// How many messages a phone can send again when asked; clients keep far fewer.
const RESEND_CAPACITY: usize = 20_000;
/// For how many undecryptable messages a phone counts its requests.
const RETRY_CAPACITY: usize = 4096;

/// Why a phone refused an action.
#[derive(Debug, thiserror::Error)]
pub enum PhoneError {
    /// The recipient is neither a number nor the JID of a person or a group.
    #[error("{0:?} is neither a phone number nor the JID of a person or a group")]
    NotAPerson(String),
    /// The phone is no member of the group.
    #[error("this number is not in {0}")]
    NotInGroup(String),
    /// The number or LID is unknown.
    #[error("{0:?} is not on WhatsApp")]
    UnknownRecipient(String),
    /// No device of the recipient could be encrypted for.
    #[error("no device of {0} gave keys that could be used")]
    NoDevice(String),
    /// A reply, reaction, edit or deletion names a message that the phone never saw.
    #[error("no message {0:?} in this chat")]
    UnknownMessage(String),
    /// Only the author edits a message or deletes it for everyone.
    #[error("message {0:?} was written by somebody else")]
    NotOwnMessage(String),
    /// The text of the QR code is not one of WhatsApp's.
    #[error("not a linking QR code: {0}")]
    BadQr(String),
    /// No `companion_hello` waits for this, or it has the wrong shape.
    #[error("linking by code: {0}")]
    BadLinkCode(&'static str),
    /// The code typed on the phone is not the one that the companion shows.
    #[error("the code does not match the one on the device to be linked")]
    WrongCode,
    /// A companion with a passkey sent something that is not as it must be.
    #[error("linking with a passkey: {0}")]
    BadPasskey(&'static str),
    /// The companion's signature over its identity does not verify, or no linking is in progress.
    #[error("device {0}: {1}")]
    BadDeviceIdentity(u16, &'static str),
    /// A vote or the like that a phone does not let its owner send.
    #[error("{0}")]
    BadAddition(&'static str),
    /// A chat state that clients do not know.
    #[error("{0:?} is not a chat state: composing, recording or paused")]
    UnknownState(String),
    /// A forged `edit` that stanzas do not have.
    #[error("{0:?} is no value of `edit`: 1, 2, 3, 7 or 8")]
    UnknownEdit(String),
    /// The file to be sent is not one.
    #[error("{0}")]
    BadFile(String),
    /// A file could not be encrypted or uploaded.
    #[error("the file: {0}")]
    Media(#[source] std::io::Error),
    /// Signal refused.
    #[error(transparent)]
    Signal(#[from] SignalProtocolError),
    /// A key is no Curve25519 key.
    #[error(transparent)]
    Key(#[from] CurveError),
}

/// A primary device: one number's phone.
pub struct Phone {
    number: String,
    lid: String,
    name: String,
    rng: StdRng,
    keys: Keys,
    adv: Adv,
    code: Option<PendingCode>,
    passkey: Option<PendingPasskey>,
    app_state: AppStateKey,
    /// Patches of other devices that were wrong.
    refused_patches: u64,
    sender_keys: SenderKeys,
    /// The names in the address book, by number.
    contacts: BTreeMap<String, String>,
    /// After how many seconds messages disappear, by the number of the other person.
    timers: BTreeMap<String, u32>,
    past: Option<Past>,
    collections: Collections,
    inbox: Inbox,
    outbound: Recent<String, Outbound>,
    /// Retry receipts sent, by sender and message id.
    retries: Recent<(DeviceAddr, String), u8>,
}

impl fmt::Debug for Phone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Phone")
            .field("number", &self.number)
            .field("lid", &self.lid)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Phone {
    /// A phone just out of the box, registered at `now_ms` (Unix milliseconds). `number` and `lid` are
    /// the user parts of its JIDs; the keys come from `seed` and the number.
    pub fn new(number: &str, lid: &str, name: &str, seed: u64, now_ms: u64) -> Self {
        // Two numbers of one simulator share its seed and must not share keys (FNV-1a).
        let mixed = number
            .bytes()
            .fold(seed ^ 0xcbf2_9ce4_8422_2325, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
            });
        let mut rng = StdRng::seed_from_u64(mixed);
        // Signing with a key pair that was made a moment before: libsignal's error is for
        // foreign key types and replaced crypto providers, and there is neither.
        #[allow(clippy::expect_used)]
        let keys = Keys::generate(&mut rng, now_ms).expect("a fresh Curve25519 key signs");
        let app_state = AppStateKey::generate(&mut rng, now_ms);
        let adv = Adv::new(rng.next_u32(), now_ms);
        Self {
            number: number.to_owned(),
            lid: lid.to_owned(),
            name: name.to_owned(),
            rng,
            keys,
            adv,
            code: None,
            passkey: None,
            app_state,
            refused_patches: 0,
            sender_keys: SenderKeys::default(),
            contacts: BTreeMap::new(),
            timers: BTreeMap::new(),
            past: None,
            collections: Collections::default(),
            inbox: Inbox::default(),
            outbound: Recent::new(RESEND_CAPACITY),
            retries: Recent::new(RETRY_CAPACITY),
        }
    }

    /// The phone number, digits only.
    pub fn number(&self) -> &str {
        &self.number
    }

    /// The user part of the LID.
    pub fn lid(&self) -> &str {
        &self.lid
    }

    /// The push name, which others see as `notify`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The account's public ADV key, which is the phone's Signal identity.
    pub fn identity(&self) -> [u8; 32] {
        self.keys.identity_bytes()
    }

    /// The phone loses its sessions, and the keys of others in groups, as one that was set back to an old
    /// backup: it cannot decrypt messages for them.
    pub fn lose_sessions(&mut self) {
        self.keys.drop_sessions();
        let own = DeviceAddr {
            number: self.number.clone(),
            device: 0,
        };
        self.sender_keys.drop_others(&own);
    }

    /// The key bundle that the service hands out, with a one-time prekey that no other bundle has.
    pub fn take_bundle(&mut self) -> Bundle {
        self.keys.bundle(&mut self.rng)
    }

    /// Messages received and sent.
    pub fn inbox(&self) -> &Inbox {
        &self.inbox
    }

    /// A message id of the kind that iPhones make: `3A` and 18 hex digits.
    fn next_id(&mut self) -> String {
        let mut bytes = [0; 9];
        self.rng.fill_bytes(&mut bytes);
        let mut id = String::with_capacity(20);
        id.push_str("3A");
        for byte in bytes {
            // Two upper-case digits a byte.
            for digit in [byte >> 4, byte & 15] {
                id.push(
                    char::from_digit(digit.into(), 16)
                        .unwrap_or('0')
                        .to_ascii_uppercase(),
                );
            }
        }
        id
    }

    /// The one device that both forms of a JID mean. `None` for unknown people and for JIDs that are not a
    /// person.
    fn addr_of(&self, jid: &Jid, dir: &dyn Directory) -> Option<DeviceAddr> {
        let number = if jid.is_lid() {
            if jid.user == self.lid.as_str() {
                self.number.clone()
            } else {
                dir.number_of(&jid.user)?
            }
        } else if jid.is_pn() {
            jid.user.to_string()
        } else {
            return None;
        };
        Some(DeviceAddr {
            number,
            device: jid.device(),
        })
    }

    /// The device's JID in the namespace of `like`.
    fn jid_of(&self, addr: &DeviceAddr, like: &Jid, dir: &dyn Directory) -> Option<Jid> {
        if !like.is_lid() {
            return Some(Jid::pn_device(addr.number.as_str(), addr.device));
        }
        let lid = if addr.number == self.number {
            self.lid.clone()
        } else {
            dir.lid_of(&addr.number)?
        };
        Some(Jid::lid_device(lid, addr.device))
    }
}

/// An attribute as text.
fn attr(node: &Node, key: &str) -> Option<String> {
    node.attrs.get(key).map(|value| value.as_str().into_owned())
}

/// An attribute as a JID.
fn jid_attr(node: &Node, key: &str) -> Option<Jid> {
    node.attrs.get(key).and_then(|value| value.to_jid())
}

/// The bytes in an element, if it has bytes.
fn bytes_of(node: &Node) -> Option<&[u8]> {
    match &node.content {
        Some(wacore_binary::NodeContent::Bytes(bytes)) => Some(bytes),
        _ => None,
    }
}

/// The bytes in a child element.
fn child_bytes<'a>(node: &'a Node, tag: &str) -> Option<&'a [u8]> {
    bytes_of(node.get_optional_child(tag)?)
}
