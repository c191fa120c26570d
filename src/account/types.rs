//! What the accounts say of themselves, and how they fail.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use crate::clock::{self, Millis};
use crate::event::StatusDetail;
use crate::jid::{Recipient, Username};
use crate::media::MediaError;
use crate::message::DeliveryStatus;
use crate::store::StoreError;
use crate::store::idempotency::ForOne;
use crate::store::outbox::Bounds;

/// Where an account stands, as `status` in the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Known, never started.
    Created,
    /// Reaching WhatsApp, or waiting for the QR code to be scanned.
    Connecting,
    /// WhatsApp asks for the account's passkey before it links this device: see `GET /accounts/:id/passkey`.
    PasskeyRequired,
    Connected,
    /// The connection was lost; the next attempt is due by itself.
    Reconnecting,
    /// By request; stays so over a restart.
    Disconnected,
    /// Unlinked on the phone, or banned: `lastError` says which.
    LoggedOut,
    /// No session runs and none is due.
    NotStarted,
}

impl Status {
    pub const ALL: &[Status] = &[
        Status::Created,
        Status::Connecting,
        Status::PasskeyRequired,
        Status::Connected,
        Status::Reconnecting,
        Status::Disconnected,
        Status::LoggedOut,
        Status::NotStarted,
    ];

    /// The word that the API shows.
    pub fn name(self) -> &'static str {
        match self {
            Status::Created => "created",
            Status::Connecting => "connecting",
            Status::PasskeyRequired => "passkey_required",
            Status::Connected => "connected",
            Status::Reconnecting => "reconnecting",
            Status::Disconnected => "disconnected",
            Status::LoggedOut => "logged_out",
            Status::NotStarted => "not_started",
        }
    }
}

/// What `POST /accounts` asks for. The id is checked by [`valid_account_id`] before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAccount {
    pub id: String,
    pub name: Option<String>,
    pub collection_name: Option<String>,
}

/// Whether `id` is 1 to 64 of `A-Z a-z 0-9 _ -`.
pub fn valid_account_id(id: &str) -> bool {
    (1..=64).contains(&id.len())
        && id
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// An account as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Account"))]
#[serde(rename_all = "camelCase")]
pub struct AccountView {
    #[serde(rename = "_id")]
    pub underscore_id: String,
    pub id: String,
    pub name: Option<String>,
    pub collection_name: String,
    /// The last one that was stored.
    pub status: Status,
    /// The live one.
    pub current_status: Status,
    #[serde(rename = "hasQR")]
    pub has_qr: bool,
    pub jid: Option<String>,
    pub lid: Option<String>,
    pub push_name: Option<String>,
    pub last_error: Option<String>,
    #[serde(flatten)]
    pub standing: StatusDetail,
    /// Why nothing goes to new contacts, and until when; null: nothing restricts that.
    pub restriction: Option<RestrictionView>,
    /// When WhatsApp's ban is over, ISO 8601; null without a ban, or if WhatsApp names no end.
    pub banned_until: Option<String>,
    pub created_at: String,
    pub updated_at: String,
}

/// A restriction on messages to new contacts, as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(rename_all = "camelCase")]
pub struct RestrictionView {
    /// ISO 8601.
    pub until: String,
    /// `reachout_timelock`, `new_chat_cap`, or `refused` where WhatsApp did not say.
    #[cfg_attr(test, schemars(extend("enum" = ["reachout_timelock", "new_chat_cap", "refused"])))]
    pub reason: &'static str,
    /// WhatsApp's own word for it.
    #[serde(rename = "type")]
    pub kind: Option<String>,
}

/// How an account is connected
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Connection"))]
#[serde(rename_all = "camelCase")]
pub struct StatusView {
    pub account_id: String,
    pub status: Status,
    /// The QR code's text while one waits to be scanned.
    pub qr: Option<String>,
    #[serde(rename = "hasQR")]
    pub has_qr: bool,
    /// When the next code replaces that one, ISO 8601, and its place in the set that WhatsApp gave, from 1.
    pub qr_expires_at: Option<String>,
    pub qr_number: Option<u32>,
    pub jid: Option<String>,
    /// Since when the status holds, ISO 8601.
    pub last_update: String,
    pub last_error: Option<String>,
    #[serde(flatten)]
    pub standing: StatusDetail,
    /// Why nothing goes to new contacts, and until when; null: nothing restricts that.
    pub restriction: Option<RestrictionView>,
    /// When WhatsApp's ban is over, ISO 8601; null without a ban, or if WhatsApp names no end.
    pub banned_until: Option<String>,
}

/// The code for "link with phone number".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairCode {
    /// 8 characters, without a hyphen.
    pub code: String,
    pub expires_at: Millis,
}

/// A medium's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaFile {
    pub path: PathBuf,
    /// Bytes.
    pub size: u64,
    pub mimetype: String,
    pub file_name: Option<String>,
    /// Of the content.
    pub sha256: [u8; 32],
}

/// Which media to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MediaFilter {
    pub account_id: Option<String>,
    pub chat: Option<Recipient>,
    pub message_id: Option<String>,
}

/// Accounts that a cursor may name.
const ACCOUNTS: usize = 10_000;

/// Where a page of files ended: in each account of which it showed some, at that number. Its text has
/// no characters that an address would have to escape.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MediaCursor(pub(super) BTreeMap<u32, u64>);

impl MediaCursor {
    /// Of a text that this type has given out.
    pub fn parse(text: &str) -> Option<MediaCursor> {
        let mut found = BTreeMap::new();
        for part in text.split('.') {
            let (account, number) = part.split_once('-')?;
            found.insert(account.parse().ok()?, number.parse().ok()?);
            if found.len() > ACCOUNTS {
                return None;
            }
        }
        Some(MediaCursor(found))
    }
}

impl fmt::Display for MediaCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (account, number)) in self.0.iter().enumerate() {
            let dot = if n > 0 { "." } else { "" };
            write!(f, "{dot}{account}-{number}")?;
        }
        Ok(())
    }
}

/// Stored files, and where the page ended if there are more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaPage {
    pub media: Vec<MediaView>,
    pub next: Option<MediaCursor>,
}

/// A stored file and what it belongs to, as `GET /media` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Medium"))]
#[serde(rename_all = "camelCase")]
pub struct MediaView {
    pub media_id: String,
    pub account_id: String,
    pub chat_id: String,
    pub message_id: String,
    pub from_me: bool,
    pub media_type: String,
    pub media_mimetype: String,
    pub media_size: u64,
    pub media_file_name: Option<String>,
    pub media_url: String,
    /// When the message was sent, Unix milliseconds.
    pub timestamp: Millis,
    /// When the file was stored, ISO 8601.
    pub stored_at: String,
}

/// An idempotency key, and a hash of the request that it came with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyedRequest {
    /// 1 to 255 visible ASCII characters.
    pub key: String,
    pub request: [u8; 32],
}

/// The outcome of a request to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Sent(Sent),
    Accepted(Accepted),
}

/// A message is in the outbox: the server sends it, once, when it can.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Accepted {
    /// Of a list of recipients the first message's; empty if none of them has a chat.
    pub message_id: String,
    /// Always `pending`.
    #[cfg_attr(test, schemars(extend("const" = "pending")))]
    pub status: DeliveryStatus,
    /// When it is given up, ISO 8601.
    pub expires_at: String,
    /// Why it waits.
    pub message: String,
    /// Of a list of recipients: one for each, in the order of the request, each with a message of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub results: Option<Vec<ForOne>>,
}

impl Accepted {
    pub fn new(message_id: String, expires_at: Millis, message: String) -> Accepted {
        Accepted {
            message_id,
            status: DeliveryStatus::Pending,
            expires_at: clock::iso8601(expires_at),
            message,
            results: None,
        }
    }
}

/// One entry of the outbox, as `GET /accounts/:id/outbox` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct OutboxEntry {
    pub message_id: String,
    pub chat_id: String,
    /// `text`, `image`, …, `reaction`, or `deletion`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The text, a file's caption, or a reaction's emoji.
    pub text: Option<String>,
    /// `queued`, or `sending` once it may be at WhatsApp.
    #[cfg_attr(test, schemars(extend("enum" = ["queued", "sending"])))]
    pub stage: &'static str,
    /// Bytes of its text and file.
    pub size: u64,
    pub created_at: String,
    /// Only of a message with `sendAt`: when it is to go, ISO 8601.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub send_at: Option<String>,
    pub expires_at: String,
}

/// An account's outbox: first the message that goes first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Outbox"))]
#[serde(rename_all = "camelCase")]
pub struct OutboxView {
    /// In the order in which they go.
    pub messages: Vec<OutboxEntry>,
    /// Of all entries.
    pub count: u64,
    /// Bytes of the texts and files of all entries.
    pub bytes: u64,
    /// Until when nothing goes to new contacts, because WhatsApp refused that; ISO 8601.
    pub new_contacts_paused_until: Option<String>,
    pub has_more: bool,
    /// The next request's `cursor`, if there is more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// What bounds the sending of each account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SendingLimits {
    /// Accounts that there may be.
    pub accounts: usize,
    pub messages_per_minute: u32,
    /// Messages that go at once after a rest.
    pub burst: u32,
    /// Of the outbox.
    pub outbox: Bounds,
    /// A message marks what was unread in its chat as read.
    pub read_on_reply: bool,
    /// On average, between two messages out of the outbox.
    pub gap: Millis,
    /// How long a message stays in the outbox unless its sender says otherwise.
    pub expire_after: Millis,
    /// The first pause after WhatsApp has refused a message to a new contact and not said for how long.
    pub new_contact_pause: Millis,
    /// New contacts that are written to within 24 hours; 0 is no limit.
    pub new_contacts_per_day: u32,
    /// Idempotency keys that are remembered.
    pub keys: u64,
}

/// WhatsApp's server has acknowledged a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Sent {
    pub message_id: String,
    /// The server's own time of the message, in Unix milliseconds.
    pub timestamp: Millis,
}

/// Usernames that WhatsApp is asked for in a minute: it limits that itself, and looks at who tries many.
pub const LOOK_UPS: u32 = 10;

/// Numbers that one request may check, and that WhatsApp is asked about in an hour.
pub const CHECKS: usize = 1_000;

/// What WhatsApp says of a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checked {
    Absent,
    /// It is registered under this JID, which may be another form of the number; its LID, where that is known.
    Present {
        jid: String,
        lid: Option<String>,
    },
    /// WhatsApp gave no answer about it.
    Unanswered,
}

/// Why a username leads to no chat.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("{0} is not on WhatsApp")]
    Absent(Username),
    /// Nothing is here of a person of that name; WhatsApp was not asked.
    #[error("No chat with {0} is here")]
    NoChat(Username),
    #[error(
        "{0} takes first messages from those alone who have the username key: write \"{0}:1234\", with \
         that key"
    )]
    KeyNeeded(Username),
    #[error(
        "Who {0} is cannot be looked up, because the account is not connected; a chatId or a phone number \
         can be queued"
    )]
    NotConnected(Username),
    #[error("Too many usernames were looked up: at most {LOOK_UPS} a minute")]
    TooMany {
        /// Whole seconds until the next may be asked for.
        retry_after: u64,
    },
    #[error("WhatsApp did not say who {0} is")]
    NoAnswer(Username),
}

/// Why an account could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    #[error("Account not found")]
    NotFound,
    #[error("Account already exists")]
    AlreadyExists,
    #[error(
        "There are {most} accounts already, the most that limits.max_accounts allows: delete one, or raise \
         the limit"
    )]
    TooManyAccounts { most: usize },
    #[error("Account not connected")]
    NotConnected { status: Status },
    /// There is no QR code to show.
    #[error("No QR code")]
    NoQr { status: Status },
    /// A pairing code was asked for, but the account is paired already.
    #[error("Account is already paired")]
    AlreadyPaired { status: Status },
    /// No passkey is asked for now.
    #[error("WhatsApp asks for no passkey now")]
    NoPasskey { status: Status },
    /// The request does not fit the progress with the passkey, in words.
    #[error("{0}")]
    PasskeyNotNow(&'static str),
    /// A part of an authenticator's answer is not as it must be.
    #[error("\"{field}\" must be {expected}")]
    BadAssertion {
        field: &'static str,
        expected: &'static str,
    },
    #[error("Quoted message not found")]
    QuotedNotFound,
    #[error("Message not found")]
    MessageNotFound,
    #[error("Chat not found")]
    ChatNotFound,
    /// The account is not in it.
    #[error("Group not found")]
    GroupNotFound,
    /// WhatsApp refused something about a group.
    #[error("{words}")]
    GroupRefused {
        /// Its own code.
        code: u16,
        words: String,
    },
    #[error("No media in message")]
    NoMedia,
    /// Only the sender of a message, or an admin of its group, deletes it for everyone.
    #[error("Only own messages can be deleted for everyone in this chat")]
    NotOwnMessage,
    /// It can be done once something else has ended, in words.
    #[error("{0}")]
    Busy(String),
    /// A message cannot be changed as wanted, in words.
    #[error("{0}")]
    Unchangeable(&'static str),
    /// The file is not what it was sent as, or nothing that WhatsApp shows.
    #[error(transparent)]
    Media(#[from] MediaError),
    /// The caller has left, and its sound was not converted yet: it is not sent.
    #[error("The client hung up before its audio was converted; nothing was sent")]
    CallerLeft,
    /// WhatsApp has the file no more, nor does the phone.
    #[error("The file is gone: {0}")]
    MediaGone(String),
    /// The file could not be fetched now.
    #[error("The file could not be fetched from WhatsApp: {0}")]
    MediaUnavailable(String),
    /// The account's own pace is used up.
    #[error("Too many messages: this account sends at most {per_minute} a minute")]
    TooFast {
        per_minute: u32,
        /// Whole seconds until the next message may go.
        retry_after: u64,
    },
    /// WhatsApp does not take the message, in words.
    #[error("{text}")]
    Refused {
        /// Its own code, if it gave one.
        code: Option<u16>,
        text: String,
        message_id: String,
    },
    /// WhatsApp's server does not do what it was asked, in words.
    #[error("{words}")]
    Declined {
        /// Its own code, if it gave one.
        code: Option<u16>,
        words: String,
    },
    /// Nothing is known of such a person.
    #[error("Contact not found")]
    ContactNotFound,
    /// The person has none, or shows it to others only.
    #[error("No picture")]
    NoPicture,
    /// Nothing can be sent to such a recipient, in words.
    #[error("{0}")]
    Unwritable(&'static str),
    /// A username that leads to no chat.
    #[error(transparent)]
    Name(#[from] NameError),
    /// WhatsApp gives no code for linking with a phone number, or does not accept a passkey, in words.
    #[error("{words}")]
    PairingRefused {
        /// Its own code.
        code: u16,
        words: &'static str,
    },
    /// WhatsApp lets this account write to no new contacts.
    #[error(
        "Nothing goes to new contacts until {until}: {reason}, and messages into that make it worse. \
         Chats that were begun before go on"
    )]
    NewContactsPaused {
        /// ISO 8601.
        until: String,
        reason: &'static str,
        /// Whole seconds.
        retry_after: u64,
    },
    /// WhatsApp has refused this person alone.
    #[error(
        "WhatsApp has refused this account's message to this person, and restricts nothing else; it can be \
         tried again in {retry_after} s, or once they have written, or the chat was begun on the phone"
    )]
    ContactPaused {
        /// Whole seconds.
        retry_after: u64,
    },
    /// The account's own bound on new contacts.
    #[error(
        "Too many new contacts: this account begins to write to at most {per_day} people within 24 hours \
         (limits.new_contacts_per_day). Chats that were begun before go on"
    )]
    TooManyNewContacts {
        per_day: u32,
        /// Whole seconds until the next one.
        retry_after: u64,
    },
    #[error(
        "The outbox of this account is full ({count} messages, {bytes} bytes): messages wait for \
         WhatsApp"
    )]
    OutboxFull { count: u64, bytes: u64 },
    /// Nothing can be queued for an account that no phone has accepted.
    #[error("Account not paired: nothing can be queued for it")]
    NotPaired { status: Status },
    /// It was sent, cancelled or given up, or never was.
    #[error("Message not found in the outbox")]
    NotInOutbox,
    /// What may be at WhatsApp already cannot be called back from the outbox.
    #[error("The message is being sent and cannot be cancelled; it can be deleted for everyone")]
    AlreadySending,
    /// A message that waits in the outbox cannot be edited or deleted at its recipient's.
    #[error("The message was not sent yet: DELETE it from the outbox instead")]
    StillQueued,
    /// An idempotency key came again with another request.
    #[error("This Idempotency-Key was used for another request")]
    KeyReused,
    /// WhatsApp was asked about as many numbers as an hour has room for.
    #[error(
        "Too many numbers were checked: at most {CHECKS} an hour, without those that were checked within a day"
    )]
    TooManyChecks {
        /// Whole seconds.
        retry_after: u64,
    },
    #[error("Too many Idempotency-Keys within 24 hours")]
    TooManyKeys {
        /// Whole seconds.
        retry_after: u64,
    },
    /// The session broke while it worked on the request.
    #[error("The connection to WhatsApp failed: {0}")]
    Session(String),
    #[error("The server is shutting down")]
    ShuttingDown,
    #[error(transparent)]
    Store(#[from] StoreError),
}
