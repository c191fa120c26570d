//! What happened: the one contract that the log, the webhooks and every later reader share.
//!
//! An [`Event`] is written in the transaction of the state change that it reports and never
//! changes afterwards. Its JSON form is the body of a webhook delivery: the frame (`event`,
//! `eventId`, `accountId`, `createdAt`) and the fields of what happened at the same level.

use serde::{Deserialize, Serialize};

use crate::clock::Millis;

/// A message as it is stored, and as the API and the webhooks show it.
///
/// Optional fields are `null` in JSON when absent, as WILDCAT 2.0 programs expect.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Message {
    pub account_id: String,
    /// WhatsApp's own id (`3EB0…`), unique only within a chat and sender.
    pub message_id: String,
    /// The chat's canonical JID: the phone number's once that is known.
    pub chat_id: String,
    /// The sender's JID, without a device.
    pub from: String,
    pub from_me: bool,
    pub push_name: Option<String>,
    /// Unix milliseconds, as WhatsApp's server dates it.
    pub timestamp: Millis,
    #[serde(rename = "type")]
    pub kind: MessageKind,
    pub text: Option<String>,
    pub caption: Option<String>,
    pub has_media: bool,
    pub media_id: Option<String>,
    pub media_url: Option<String>,
    pub media_type: Option<String>,
    pub media_mimetype: Option<String>,
    pub media_size: Option<u64>,
    pub media_file_name: Option<String>,
    pub quoted_message: Option<Quoted>,
    pub mentions: Vec<String>,
    pub reactions: Vec<Reaction>,
    pub is_forwarded: bool,
    pub edited: bool,
    pub deleted: bool,
    /// Only for own messages; `null` for others'.
    pub status: Option<DeliveryStatus>,
    /// When this server stored it, ISO 8601.
    pub created_at: String,
}

/// What a message is. `Unknown` stands for every kind that is not understood: stored, never
/// dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MessageKind {
    Text,
    Image,
    Video,
    Audio,
    Voice,
    Document,
    Sticker,
    Location,
    Contact,
    Poll,
    Reaction,
    Unknown,
}

/// How far an own message has come. Ordered: it only ever moves forward, except to `Failed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeliveryStatus {
    Pending,
    Sent,
    Delivered,
    Read,
    Played,
    Failed,
}

/// The message that a reply answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Quoted {
    pub message_id: String,
    pub participant: Option<String>,
    pub text: Option<String>,
    pub has_media: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reaction {
    pub from: String,
    pub emoji: String,
    pub timestamp: Millis,
}

/// The name of an event, as hooks subscribe to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EventKind {
    #[serde(rename = "message")]
    Message,
}

impl EventKind {
    /// Every kind, in the order of the contract.
    pub const ALL: &[EventKind] = &[EventKind::Message];

    /// The kind's name in JSON and in subscriptions.
    pub fn name(self) -> &'static str {
        match self {
            EventKind::Message => "message",
        }
    }

    /// The kind of that name.
    pub fn from_name(name: &str) -> Option<EventKind> {
        EventKind::ALL.iter().copied().find(|k| k.name() == name)
    }
}

/// Something that happened to one account, before it has a number.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A message came in, from others or from the account's own phone.
    Message(Message),
}

impl Event {
    pub fn kind(&self) -> EventKind {
        match self {
            Event::Message(_) => EventKind::Message,
        }
    }

    pub fn account_id(&self) -> &str {
        match self {
            Event::Message(message) => &message.account_id,
        }
    }

    /// The JSON body that a webhook receives: the fields of what happened, with `event` and
    /// `eventId` in the same object.
    ///
    /// # Errors
    /// Only if serde fails, which no type in here makes it do.
    pub fn to_json(&self, event_id: &str) -> serde_json::Result<String> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Frame<'a, T: Serialize> {
            event: &'static str,
            event_id: &'a str,
            #[serde(flatten)]
            payload: &'a T,
        }
        match self {
            Event::Message(payload) => serde_json::to_string(&Frame {
                event: self.kind().name(),
                event_id,
                payload,
            }),
        }
    }
}
