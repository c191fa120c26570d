//! What happened: the one contract that the log, the webhooks and every later reader share.
//!
//! An [`Event`] is written in the transaction of the state change that it reports and never
//! changes afterwards. Its JSON form is the body of a webhook delivery: the frame (`event`,
//! `eventId`, `accountId`, `createdAt`) and the fields of what happened at the same level.

use serde::{Deserialize, Serialize};

use crate::clock::Millis;
use crate::message::{DeliveryStatus, Message};

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
