//! What happened: the one contract that the log, the webhooks and every later reader share.
//!
//! An [`Event`] is written in the transaction of the state change that it reports and never
//! changes afterwards. Its JSON form is the body of a webhook delivery: the frame (`event`,
//! `eventId`, `accountId`, `createdAt`) and the fields of what happened at the same level.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};

use crate::clock::{self, Millis};

mod shown;

/// A message. Its JSON is what the API and the webhooks show (`shown`); what lies in the store is
/// [`Message::to_stored`]'s.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", remote = "Self")]
pub struct Message {
    pub account_id: String,
    /// WhatsApp's own id (`3EB0…`), unique only within a chat and sender.
    pub message_id: String,
    /// The chat's canonical JID: the phone number's once that is known.
    pub chat_id: String,
    /// The chat's LID, where both of a person's names are known.
    #[serde(skip)]
    pub chat_lid: Option<String>,
    /// A group's subject; what the account's owner, or else he himself, calls a person.
    #[serde(skip)]
    pub chat_name: Option<String>,
    /// The person who wrote it, by JID without a device: the phone number's once that is known. Of
    /// own messages the account's own.
    #[serde(rename = "from")]
    pub sender: String,
    /// The sender's LID, where it is known.
    #[serde(skip)]
    pub sender_lid: Option<String>,
    /// The LID under which the sender writes in this chat, if it goes by LIDs. Replies and reactions
    /// name the sender so.
    #[serde(rename = "fromLid", default, skip_serializing_if = "Option::is_none")]
    pub wire_lid: Option<String>,
    /// What the account's owner calls the sender.
    #[serde(skip)]
    pub sender_name: Option<String>,
    /// The sender's username, without `@`.
    #[serde(skip)]
    pub sender_username: Option<String>,
    pub from_me: bool,
    /// What the sender calls himself.
    pub push_name: Option<String>,
    /// Unix milliseconds, as WhatsApp's server dates it.
    pub timestamp: Millis,
    #[serde(rename = "type")]
    pub kind: MessageKind,
    /// Of a medium it is `None` here; shown is its caption.
    pub text: Option<String>,
    /// What is to be done about a message whose content is not here, in words; only with the kinds
    /// `waiting` and `unavailable`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    pub caption: Option<String>,
    pub has_media: bool,
    pub media_id: Option<String>,
    pub media_type: Option<String>,
    pub media_mimetype: Option<String>,
    pub media_size: Option<u64>,
    pub media_file_name: Option<String>,
    /// Only for locations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<Location>,
    /// Only for contact cards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contacts: Option<Vec<Contact>>,
    /// Only for polls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub poll: Option<Poll>,
    pub quoted_message: Option<Quoted>,
    pub mentions: Vec<String>,
    pub reactions: Vec<Reaction>,
    pub is_forwarded: bool,
    /// It said more than is kept of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
    pub edited: bool,
    /// When it was edited last, as WhatsApp dates it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edited_at: Option<Millis>,
    pub deleted: bool,
    /// Only for own messages; `null` for others'.
    pub status: Option<DeliveryStatus>,
    /// Why it failed, in words; only for own messages that did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// When this server stored it, ISO 8601.
    pub created_at: String,
}

impl Message {
    /// A message with nothing in it yet: no text, no medium, nobody's reaction.
    ///
    /// `now` is when this server stores it; `timestamp` starts as the same.
    pub fn empty(
        account_id: impl Into<String>,
        message_id: impl Into<String>,
        chat_id: impl Into<String>,
        kind: MessageKind,
        now: Millis,
    ) -> Message {
        Message {
            account_id: account_id.into(),
            message_id: message_id.into(),
            chat_id: chat_id.into(),
            chat_lid: None,
            chat_name: None,
            sender: String::new(),
            sender_lid: None,
            wire_lid: None,
            sender_name: None,
            sender_username: None,
            from_me: false,
            push_name: None,
            timestamp: now,
            kind,
            text: None,
            note: None,
            caption: None,
            has_media: false,
            media_id: None,
            media_type: None,
            media_mimetype: None,
            media_size: None,
            media_file_name: None,
            location: None,
            contacts: None,
            poll: None,
            quoted_message: None,
            mentions: Vec::new(),
            reactions: Vec::new(),
            is_forwarded: false,
            truncated: false,
            edited: false,
            edited_at: None,
            deleted: false,
            status: None,
            error: None,
            created_at: clock::iso8601(now),
        }
    }

    /// As it lies in the store: without what is known of its chat and sender, which may change.
    ///
    /// # Errors
    /// Only if serde fails, which no type in here makes it do.
    pub fn to_stored(&self) -> serde_json::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(1024);
        Message::serialize(self, &mut serde_json::Serializer::new(&mut bytes))?;
        Ok(bytes)
    }

    /// Reads what [`Message::to_stored`] has written, in this or an earlier version.
    ///
    /// # Errors
    /// If it is no message.
    pub fn from_stored(bytes: &[u8]) -> serde_json::Result<Message> {
        let mut reader = serde_json::Deserializer::from_slice(bytes);
        let message = Message::deserialize(&mut reader)?;
        reader.end()?;
        Ok(message)
    }

    /// Where its file is to be had.
    pub fn media_url(&self) -> Option<String> {
        let media_id = self.media_id.as_deref()?;
        Some(media_url(&self.account_id, &self.message_id, media_id))
    }

    /// What it says: its text, or its medium's caption.
    pub fn words(&self) -> Option<&str> {
        self.text.as_deref().or(self.caption.as_deref())
    }

    /// Takes everything out that was said; what remains is that something was.
    pub fn clear(&mut self) {
        self.text = None;
        self.note = None;
        self.caption = None;
        self.has_media = false;
        self.media_id = None;
        self.media_type = None;
        self.media_mimetype = None;
        self.media_size = None;
        self.media_file_name = None;
        self.location = None;
        self.contacts = None;
        self.poll = None;
        self.quoted_message = None;
        self.mentions.clear();
        self.reactions.clear();
        self.truncated = false;
    }
}

/// Where a message's file is to be had. It names the medium: of the message's id there may be others.
pub fn media_url(account_id: &str, message_id: &str, media_id: &str) -> String {
    let message_id = utf8_percent_encode(message_id, NON_ALPHANUMERIC);
    format!("/accounts/{account_id}/messages/{message_id}/media?mediaId={media_id}")
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
    /// It came and cannot be decrypted yet; its content comes later, or never.
    Waiting,
    /// WhatsApp keeps it from linked devices.
    Unavailable,
}

impl MessageKind {
    /// Whether the message's content is not here.
    pub fn is_placeholder(self) -> bool {
        matches!(self, MessageKind::Waiting | MessageKind::Unavailable)
    }

    /// The word that stands in `type`.
    pub fn name(self) -> &'static str {
        match self {
            MessageKind::Text => "text",
            MessageKind::Image => "image",
            MessageKind::Video => "video",
            MessageKind::Audio => "audio",
            MessageKind::Voice => "voice",
            MessageKind::Document => "document",
            MessageKind::Sticker => "sticker",
            MessageKind::Location => "location",
            MessageKind::Contact => "contact",
            MessageKind::Poll => "poll",
            MessageKind::Reaction => "reaction",
            MessageKind::Unknown => "unknown",
            MessageKind::Waiting => "waiting",
            MessageKind::Unavailable => "unavailable",
        }
    }
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

/// A place on Earth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Location {
    /// Degrees.
    pub latitude: f64,
    pub longitude: f64,
    pub name: Option<String>,
    pub address: Option<String>,
}

/// Somebody's card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contact {
    pub name: String,
    pub vcard: String,
}

/// A question to vote on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Poll {
    pub name: String,
    pub options: Vec<String>,
}

/// The message that a reply answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Quoted {
    pub message_id: String,
    /// The chat that it is in, if that is another one: a group's message is answered in private.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat_id: Option<String>,
    pub participant: Option<String>,
    pub text: Option<String>,
    pub has_media: bool,
}

/// Somebody's reaction to a message; each person has one at most.
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
    #[serde(rename = "message.sent")]
    MessageSent,
    #[serde(rename = "message.status")]
    MessageStatus,
    #[serde(rename = "message.reaction")]
    MessageReaction,
    #[serde(rename = "message.edited")]
    MessageEdited,
    #[serde(rename = "message.deleted")]
    MessageDeleted,
    #[serde(rename = "message.undecryptable")]
    MessageUndecryptable,
    #[serde(rename = "account.status")]
    AccountStatus,
    #[serde(rename = "account.qr")]
    AccountQr,
    #[serde(rename = "account.passkey")]
    AccountPasskey,
    #[serde(rename = "account.restricted")]
    AccountRestricted,
}

impl EventKind {
    /// Every kind, in the order of the contract.
    pub const ALL: &[EventKind] = &[
        EventKind::Message,
        EventKind::MessageSent,
        EventKind::MessageStatus,
        EventKind::MessageReaction,
        EventKind::MessageEdited,
        EventKind::MessageDeleted,
        EventKind::MessageUndecryptable,
        EventKind::AccountStatus,
        EventKind::AccountQr,
        EventKind::AccountPasskey,
        EventKind::AccountRestricted,
    ];

    /// The kind's name in JSON and in subscriptions.
    pub fn name(self) -> &'static str {
        match self {
            EventKind::Message => "message",
            EventKind::MessageSent => "message.sent",
            EventKind::MessageStatus => "message.status",
            EventKind::MessageReaction => "message.reaction",
            EventKind::MessageEdited => "message.edited",
            EventKind::MessageDeleted => "message.deleted",
            EventKind::MessageUndecryptable => "message.undecryptable",
            EventKind::AccountStatus => "account.status",
            EventKind::AccountQr => "account.qr",
            EventKind::AccountPasskey => "account.passkey",
            EventKind::AccountRestricted => "account.restricted",
        }
    }

    /// The kind of that name.
    pub fn from_name(name: &str) -> Option<EventKind> {
        EventKind::ALL.iter().copied().find(|k| k.name() == name)
    }
}

/// An own message has come further.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusChange {
    pub account_id: String,
    pub message_id: String,
    pub chat_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chat_lid: Option<String>,
    pub chat_name: Option<String>,
    pub status: DeliveryStatus,
    /// Who received, read or played it; `null` for the server's own word.
    pub participant: Option<String>,
    /// Why it failed, in words, with WhatsApp's code if it gave one; only with `failed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<u16>,
    pub created_at: String,
}

/// Where something was done to a message, and by whom; named as a message's own chat and sender are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Deed {
    pub chat_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chat_lid: Option<String>,
    pub chat_name: Option<String>,
    /// The chat again: an answer to `from` goes where the deed was done.
    pub from: String,
    /// The person who did it.
    pub sender: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sender_lid: Option<String>,
    pub sender_name: Option<String>,
    /// Without `@`.
    pub sender_username: Option<String>,
    pub from_me: bool,
}

/// A reaction was set, changed or, with an empty `emoji`, taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReactionChange {
    pub account_id: String,
    /// The message that is reacted to.
    pub message_id: String,
    /// Its `sender` reacts.
    #[serde(flatten)]
    pub deed: Deed,
    pub emoji: String,
    pub timestamp: Millis,
    pub created_at: String,
}

/// A message was deleted for everyone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Deletion {
    pub account_id: String,
    pub message_id: String,
    /// Its `sender` has deleted the message: its author, or an admin of the group.
    #[serde(flatten)]
    pub deed: Deed,
    pub timestamp: Millis,
    pub created_at: String,
}

/// An account's connection changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AccountChange {
    pub account_id: String,
    /// As `GET /accounts/:id/status` says it.
    pub status: &'static str,
    pub jid: Option<String>,
    pub last_error: Option<String>,
    /// When WhatsApp's ban is over, ISO 8601; `None` without a ban, or without an end.
    pub banned_until: Option<String>,
    pub created_at: String,
}

/// A QR code waits to be scanned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct QrShown {
    pub account_id: String,
    /// The QR code's text.
    pub qr: String,
    pub created_at: String,
}

/// An account has come further with the passkey that WhatsApp asks for, or it is over.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PasskeyStep {
    pub account_id: String,
    /// As `GET /accounts/:id/passkey` says it; at the end `linked` or `failed`.
    pub state: &'static str,
    /// What `navigator.credentials.get` takes, binary fields in base64url; only with `assertion_required`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub options: Option<serde_json::Value>,
    /// What phone and caller compare; only with `confirmation_required`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// When it is given up, ISO 8601; not at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// What to do, for people; not at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instructions: Option<String>,
    /// Why it failed, in words; only with `failed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    pub created_at: String,
}

/// Whether an account may write to people with whom nothing was exchanged before has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Restriction {
    pub account_id: String,
    /// Whether nothing goes to them; `false` if a restriction was lifted before its end.
    pub restricted: bool,
    /// Until when, ISO 8601.
    pub until: Option<String>,
    /// `reachout_timelock`, `new_chat_cap`, or `refused` where WhatsApp did not say.
    pub reason: Option<&'static str>,
    /// WhatsApp's own word for it.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    pub created_at: String,
}

/// Something that happened to one account, before it has a number.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A message came in, from others or from the account's own phone.
    Message(Message),
    /// A message that the API sent has reached WhatsApp's server.
    MessageSent(Message),
    MessageStatus(StatusChange),
    MessageReaction(ReactionChange),
    /// The message as it reads now.
    MessageEdited(Message),
    MessageDeleted(Deletion),
    /// A message came that cannot be read, yet or here; [`Event::Message`] tells when it can.
    MessageUndecryptable(Message),
    AccountStatus(AccountChange),
    AccountQr(QrShown),
    AccountPasskey(Box<PasskeyStep>),
    AccountRestricted(Restriction),
}

impl Event {
    pub fn kind(&self) -> EventKind {
        match self {
            Event::Message(_) => EventKind::Message,
            Event::MessageSent(_) => EventKind::MessageSent,
            Event::MessageStatus(_) => EventKind::MessageStatus,
            Event::MessageReaction(_) => EventKind::MessageReaction,
            Event::MessageEdited(_) => EventKind::MessageEdited,
            Event::MessageDeleted(_) => EventKind::MessageDeleted,
            Event::MessageUndecryptable(_) => EventKind::MessageUndecryptable,
            Event::AccountStatus(_) => EventKind::AccountStatus,
            Event::AccountQr(_) => EventKind::AccountQr,
            Event::AccountPasskey(_) => EventKind::AccountPasskey,
            Event::AccountRestricted(_) => EventKind::AccountRestricted,
        }
    }

    pub fn account_id(&self) -> &str {
        match self {
            Event::Message(message)
            | Event::MessageSent(message)
            | Event::MessageEdited(message)
            | Event::MessageUndecryptable(message) => &message.account_id,
            Event::MessageStatus(change) => &change.account_id,
            Event::MessageReaction(change) => &change.account_id,
            Event::MessageDeleted(deletion) => &deletion.account_id,
            Event::AccountStatus(change) => &change.account_id,
            Event::AccountQr(shown) => &shown.account_id,
            Event::AccountPasskey(step) => &step.account_id,
            Event::AccountRestricted(change) => &change.account_id,
        }
    }

    /// The chat that it happened in; its order is kept within that.
    pub fn chat_id(&self) -> Option<&str> {
        match self {
            Event::Message(message)
            | Event::MessageSent(message)
            | Event::MessageEdited(message)
            | Event::MessageUndecryptable(message) => Some(&message.chat_id),
            Event::MessageStatus(change) => Some(&change.chat_id),
            Event::MessageReaction(change) => Some(&change.deed.chat_id),
            Event::MessageDeleted(deletion) => Some(&deletion.deed.chat_id),
            Event::AccountStatus(_)
            | Event::AccountQr(_)
            | Event::AccountPasskey(_)
            | Event::AccountRestricted(_) => None,
        }
    }

    /// The JSON body that a webhook receives: the fields of what happened, with `event` and
    /// `eventId` in the same object.
    ///
    /// # Errors
    /// Only if serde fails, which no type in here makes it do.
    pub fn to_json(&self, event_id: &str) -> serde_json::Result<String> {
        let event = self.kind().name();
        match self {
            Event::Message(payload)
            | Event::MessageSent(payload)
            | Event::MessageEdited(payload)
            | Event::MessageUndecryptable(payload) => framed(event, event_id, payload),
            Event::MessageStatus(payload) => framed(event, event_id, payload),
            Event::MessageReaction(payload) => framed(event, event_id, payload),
            Event::MessageDeleted(payload) => framed(event, event_id, payload),
            Event::AccountStatus(payload) => framed(event, event_id, payload),
            Event::AccountQr(payload) => framed(event, event_id, payload),
            Event::AccountPasskey(payload) => framed(event, event_id, payload),
            Event::AccountRestricted(payload) => framed(event, event_id, payload),
        }
    }
}

/// The payload's fields behind those of the frame.
fn framed<T: Serialize>(event: &str, event_id: &str, payload: &T) -> serde_json::Result<String> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Frame<'a, T: Serialize> {
        event: &'a str,
        event_id: &'a str,
        #[serde(flatten)]
        payload: &'a T,
    }
    serde_json::to_string(&Frame {
        event,
        event_id,
        payload,
    })
}
