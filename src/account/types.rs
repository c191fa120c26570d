//! What the accounts say of themselves, and how they fail.

use std::path::PathBuf;

use serde::Serialize;

use crate::clock::Millis;
use crate::jid::ChatJid;
use crate::media::{MediaError, Spooled, Wish};
use crate::store::StoreError;

/// Where an account stands, as `status` in the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Known, never started.
    Created,
    /// Reaching WhatsApp, or waiting for the QR code to be scanned.
    Connecting,
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
    /// The word that the API shows.
    pub fn name(self) -> &'static str {
        match self {
            Status::Created => "created",
            Status::Connecting => "connecting",
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
    pub created_at: String,
    pub updated_at: String,
}

/// `GET /accounts/:id/status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusView {
    pub account_id: String,
    pub status: Status,
    /// The QR code's text while one waits to be scanned.
    pub qr: Option<String>,
    #[serde(rename = "hasQR")]
    pub has_qr: bool,
    pub jid: Option<String>,
    /// Since when the status holds, ISO 8601.
    pub last_update: String,
    pub last_error: Option<String>,
}

/// The code for "link with phone number".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairCode {
    /// 8 characters, without a hyphen.
    pub code: String,
    pub expires_at: Millis,
}

/// A text to send. Recipient and text are checked before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutgoingText {
    pub to: ChatJid,
    /// 1 to 65,536 characters.
    pub text: String,
    pub mentions: Vec<ChatJid>,
    /// The id of a stored message of this account that this one answers.
    pub quoted_message_id: Option<String>,
}

/// A file to send. Recipient and caption are checked before.
#[derive(Debug)]
pub struct OutgoingMedia {
    pub to: ChatJid,
    /// What it is to be, and what the caller says of it.
    pub wish: Wish,
    pub file: Spooled,
    pub caption: Option<String>,
    /// Shows a video as a looping clip.
    pub gif_playback: bool,
    pub mentions: Vec<ChatJid>,
    /// The id of a stored message of this account that this one answers.
    pub quoted_message_id: Option<String>,
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
    pub chat_id: Option<String>,
    pub message_id: Option<String>,
    pub limit: usize,
    pub skip: usize,
}

/// A stored file and what it belongs to, as `GET /media` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
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

/// WhatsApp's server has acknowledged a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Sent {
    pub message_id: String,
    /// The server's own time of the message.
    pub timestamp: Millis,
}

/// Why an account could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    #[error("Account not found")]
    NotFound,
    #[error("Account already exists")]
    AlreadyExists,
    #[error("Account not connected")]
    NotConnected { status: Status },
    /// There is no QR code to show.
    #[error("No QR code")]
    NoQr { status: Status },
    /// A pairing code was asked for, but the account is paired already.
    #[error("Account is already paired")]
    AlreadyPaired { status: Status },
    #[error("Quoted message not found")]
    QuotedNotFound,
    #[error("Message not found")]
    MessageNotFound,
    #[error("No media in message")]
    NoMedia,
    /// Only the sender of a message, or an admin of its group, deletes it for everyone.
    #[error("Only own messages can be deleted for everyone in this chat")]
    NotOwnMessage,
    /// The file is not what it was sent as, or nothing that WhatsApp shows.
    #[error(transparent)]
    Media(#[from] MediaError),
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
    /// WhatsApp's server said no.
    #[error("WhatsApp refused: {text}")]
    Refused { code: Option<u16>, text: String },
    /// WhatsApp's answer did not come in time. Whether the message went is not known.
    #[error("WhatsApp did not acknowledge the message in time")]
    NoAck { message_id: String },
    /// The session broke while it worked on the request.
    #[error("The connection to WhatsApp failed: {0}")]
    Session(String),
    #[error("The server is shutting down")]
    ShuttingDown,
    #[error(transparent)]
    Store(#[from] StoreError),
}
