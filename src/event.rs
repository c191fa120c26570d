//! The events of the log, which webhooks, event streams and all other readers share.
//!
//! An [`Event`] is written in the transaction of the state change that it reports, and never changes.
//! Its JSON is the body of a webhook delivery: the frame (`event`, `eventId`, `accountId`, `createdAt`) and
//! the payload's fields, in one object.

use serde::{Deserialize, Serialize};

use crate::clock::Millis;
use crate::message::{Coming, DeliveryStatus, Message};

/// The kind of an event, as in subscriptions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
pub enum EventKind {
    #[serde(rename = "message")]
    Message,
    /// In subscriptions: as `message`, and also the messages that the account's owner writes on the phone. Their
    /// `event` is `message`.
    #[serde(rename = "message.any")]
    MessageAny,
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
    #[serde(rename = "message.marked")]
    MessageMarked,
    #[serde(rename = "message.undecryptable")]
    MessageUndecryptable,
    #[serde(rename = "poll.vote")]
    PollVote,
    #[serde(rename = "event.response")]
    EventResponse,
    #[serde(rename = "status")]
    Status,
    #[serde(rename = "call")]
    Call,
    #[serde(rename = "chat")]
    Chat,
    #[serde(rename = "group.joined")]
    GroupJoined,
    #[serde(rename = "group.left")]
    GroupLeft,
    #[serde(rename = "group.members")]
    GroupMembers,
    #[serde(rename = "group.updated")]
    GroupUpdated,
    #[serde(rename = "group.request")]
    GroupRequest,
    #[serde(rename = "presence")]
    Presence,
    #[serde(rename = "typing")]
    Typing,
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
    /// All kinds, in the contract's order.
    pub const ALL: &[EventKind] = &[
        EventKind::Message,
        EventKind::MessageAny,
        EventKind::MessageSent,
        EventKind::MessageStatus,
        EventKind::MessageReaction,
        EventKind::MessageEdited,
        EventKind::MessageDeleted,
        EventKind::MessageMarked,
        EventKind::MessageUndecryptable,
        EventKind::PollVote,
        EventKind::EventResponse,
        EventKind::Status,
        EventKind::Call,
        EventKind::Chat,
        EventKind::GroupJoined,
        EventKind::GroupLeft,
        EventKind::GroupMembers,
        EventKind::GroupUpdated,
        EventKind::GroupRequest,
        EventKind::Presence,
        EventKind::Typing,
        EventKind::AccountStatus,
        EventKind::AccountQr,
        EventKind::AccountPasskey,
        EventKind::AccountRestricted,
    ];

    /// The kind's name in JSON and in subscriptions.
    pub fn name(self) -> &'static str {
        match self {
            EventKind::Message => "message",
            EventKind::MessageAny => "message.any",
            EventKind::MessageSent => "message.sent",
            EventKind::MessageStatus => "message.status",
            EventKind::MessageReaction => "message.reaction",
            EventKind::MessageEdited => "message.edited",
            EventKind::MessageDeleted => "message.deleted",
            EventKind::MessageMarked => "message.marked",
            EventKind::MessageUndecryptable => "message.undecryptable",
            EventKind::PollVote => "poll.vote",
            EventKind::EventResponse => "event.response",
            EventKind::Status => "status",
            EventKind::Call => "call",
            EventKind::Chat => "chat",
            EventKind::GroupJoined => "group.joined",
            EventKind::GroupLeft => "group.left",
            EventKind::GroupMembers => "group.members",
            EventKind::GroupUpdated => "group.updated",
            EventKind::GroupRequest => "group.request",
            EventKind::Presence => "presence",
            EventKind::Typing => "typing",
            EventKind::AccountStatus => "account.status",
            EventKind::AccountQr => "account.qr",
            EventKind::AccountPasskey => "account.passkey",
            EventKind::AccountRestricted => "account.restricted",
        }
    }

    /// Whether a subscription to `kinds` has an event of this kind. `own`: the account itself did what it reports.
    pub fn is_among(self, kinds: &[EventKind], own: bool) -> bool {
        match self {
            EventKind::Message if kinds.contains(&EventKind::MessageAny) => true,
            EventKind::Message if own => false,
            kind => kinds.contains(&kind),
        }
    }

    /// The kind called `name`.
    pub fn from_name(name: &str) -> Option<EventKind> {
        EventKind::ALL.iter().copied().find(|k| k.name() == name)
    }
}

/// The delivery status of an own message has advanced.
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
    /// The JID of the person who received, read or played it; `null` for WhatsApp's server.
    pub participant: Option<String>,
    /// Why it failed, as text, with WhatsApp's code if there is one; only with `failed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<u16>,
    pub created_at: String,
}

/// The chat and the sender of a change to a message, with the same field names as in a message.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Deed {
    pub chat_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chat_lid: Option<String>,
    pub chat_name: Option<String>,
    /// The chat again: the recipient of an answer.
    pub from: String,
    /// The person who made the change.
    pub sender: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sender_lid: Option<String>,
    pub sender_name: Option<String>,
    /// Without `@`.
    pub sender_username: Option<String>,
    pub from_me: bool,
}

/// A reaction was set, changed or, with an empty `emoji`, removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReactionChange {
    pub account_id: String,
    /// The message with the reaction.
    pub message_id: String,
    /// Its `sender` is the person who reacts.
    #[serde(flatten)]
    pub deed: Deed,
    pub emoji: String,
    pub timestamp: Millis,
    pub created_at: String,
}

/// A person voted in a poll, changed the vote or, without `options`, took it back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VoteCast {
    pub account_id: String,
    /// The poll's.
    pub message_id: String,
    /// Its `sender` is the person who votes.
    #[serde(flatten)]
    pub deed: Deed,
    pub poll: PollAsked,
    /// The same as `sender`.
    pub voter: String,
    /// The options chosen, word for word.
    pub options: Vec<String>,
    pub timestamp: Millis,
    pub created_at: String,
}

/// What a poll asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PollAsked {
    /// The question.
    pub name: String,
    pub options: Vec<String>,
}

/// A person responded to an event, or changed the response.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EventAnswered {
    pub account_id: String,
    /// The event's.
    pub message_id: String,
    /// Its `sender` is the person who responds.
    #[serde(flatten)]
    pub deed: Deed,
    /// Not `event`, which is the name of what is reported.
    pub event_details: EventPlanned,
    pub response: Coming,
    /// How many others the person brings along.
    pub extra_guests: u32,
    pub timestamp: Millis,
    pub created_at: String,
}

/// What is planned, and when: Unix milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EventPlanned {
    pub name: String,
    pub start: Option<Millis>,
    pub end: Option<Millis>,
}

/// A message was deleted, for everyone or for the account's owner alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Deletion {
    pub account_id: String,
    pub message_id: String,
    /// Its `sender` is the person who deleted the message: its author, or an admin of the group.
    #[serde(flatten)]
    pub deed: Deed,
    /// The account's owner deleted it for himself: it is not stored any more.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub for_me: bool,
    pub timestamp: Millis,
    pub created_at: String,
}

/// The owner has archived, pinned, muted or removed a chat, or marked it as unread, here or on another device: its state
/// after that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ChatState {
    pub account_id: String,
    pub chat_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chat_lid: Option<String>,
    pub chat_name: Option<String>,
    pub archived: bool,
    pub pinned: bool,
    pub muted: bool,
    /// ISO 8601; `None` without an end.
    pub muted_until: Option<String>,
    pub unread_count: u64,
    /// The messages that it had are removed.
    pub removed: bool,
    pub created_at: String,
}

/// A person in a group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(rename_all = "camelCase")]
pub struct GroupPerson {
    /// The phone number's JID where it is known, else the LID.
    pub jid: String,
    pub lid: Option<String>,
    /// What the address book, or else the person, calls them.
    pub name: Option<String>,
    /// Without `@`.
    pub username: Option<String>,
}

/// Something happened to a group, or to the account's place in it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupChange {
    #[serde(skip)]
    pub kind: EventKind,
    pub account_id: String,
    /// The group.
    pub chat_id: String,
    pub chat_name: Option<String>,
    /// What happened, in one word.
    pub action: &'static str,
    /// The person who did it; `None` if WhatsApp does not say.
    pub by: Option<GroupPerson>,
    /// `by` is the account itself, on this device or another.
    pub by_me: bool,
    /// The people whom it concerns.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<GroupPerson>,
    /// The properties that changed, with their new values; only with `group.updated`.
    #[serde(skip_serializing_if = "serde_json::Map::is_empty")]
    pub changes: serde_json::Map<String, serde_json::Value>,
    /// The line of type `system` in the chat.
    pub message_id: String,
    pub timestamp: Millis,
    pub created_at: String,
}

/// A person whose presence is subscribed to is online, or is so no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PresenceChange {
    pub account_id: String,
    /// The chat with the person.
    pub chat_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chat_lid: Option<String>,
    pub chat_name: Option<String>,
    /// `available` or `unavailable`.
    pub presence: &'static str,
    /// When the person was online last, ISO 8601, if that is shown.
    pub last_seen: Option<String>,
    pub created_at: String,
}

/// A person types or records in a chat, or ended that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TypingChange {
    pub account_id: String,
    #[serde(flatten)]
    pub deed: Deed,
    /// `typing`, `recording` or `paused`. It may end without a `paused`: clients show it for 25 s.
    pub state: &'static str,
    pub created_at: String,
}

/// An account's connection changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AccountChange {
    pub account_id: String,
    /// As in `GET /accounts/:id/status`.
    pub status: &'static str,
    pub jid: Option<String>,
    pub last_error: Option<String>,
    /// The end of WhatsApp's ban, ISO 8601; `None` without a ban, or if it has no end.
    pub banned_until: Option<String>,
    #[serde(flatten)]
    pub standing: StatusDetail,
    pub created_at: String,
}

/// Why an account is not connected and when it tries again: fixed words and times beside `lastError`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct StatusDetail {
    /// `connection_lost`, `replaced`, `refused`, `version_refused`, `unlinked`, `banned`, `code_not_scanned` or
    /// `unlinkable`; `None` while nothing is wrong, or by request.
    #[cfg_attr(test, schemars(extend("enum" = [
        "connection_lost", "replaced", "refused", "version_refused", "unlinked", "banned", "code_not_scanned",
        "unlinkable", null
    ])))]
    pub reason: Option<&'static str>,
    /// When the status began, ISO 8601.
    pub since: String,
    /// The number of the next attempt to connect, or of the one that runs, after failures; from 2.
    pub attempt: Option<u32>,
    /// When it begins, ISO 8601.
    pub next_attempt: Option<String>,
}

/// A new QR code to scan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct QrShown {
    pub account_id: String,
    /// The QR code's text.
    pub qr: String,
    /// When the next code replaces it, ISO 8601.
    pub expires_at: String,
    /// Its place in the set that WhatsApp gave, from 1. `number` is the event's place in the log.
    pub qr_number: u32,
    pub created_at: String,
}

/// A step of linking an account with the passkey that WhatsApp requires.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PasskeyStep {
    pub account_id: String,
    /// As in `GET /accounts/:id/passkey`; at the end `linked` or `failed`.
    pub state: &'static str,
    /// The argument of `navigator.credentials.get`, binary fields in base64url; only with
    /// `assertion_required`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub options: Option<serde_json::Value>,
    /// The code to compare with the phone's; only with `confirmation_required`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// When it times out, ISO 8601; not at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// What the user has to do; not at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instructions: Option<String>,
    /// Why it failed, as text; only with `failed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    pub created_at: String,
}

/// A change of WhatsApp's restriction on messages to new contacts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Restriction {
    pub account_id: String,
    /// Messages to new contacts wait; `false` if a restriction was lifted before its end.
    pub restricted: bool,
    /// Its end, ISO 8601.
    pub until: Option<String>,
    /// `reachout_timelock`, `new_chat_cap`, or `refused` if WhatsApp gave no reason.
    pub reason: Option<&'static str>,
    /// WhatsApp's name of the restriction.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    pub created_at: String,
}

/// An event of one account, without its number in the log.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A message from others, or from the account's own phone.
    Message(Message),
    /// WhatsApp's server has acknowledged a message of the API.
    MessageSent(Message),
    MessageStatus(StatusChange),
    MessageReaction(ReactionChange),
    /// The message after the edit.
    MessageEdited(Message),
    MessageDeleted(Deletion),
    /// It was pinned, kept or starred, or is so no more.
    MessageMarked(Message),
    /// A message that cannot be decrypted or shown yet; [`Event::Message`] follows if it can later.
    MessageUndecryptable(Message),
    PollVote(Box<VoteCast>),
    EventResponse(Box<EventAnswered>),
    /// A story of a contact, or one that the owner posted on the phone; again, with `deleted`, when it is deleted.
    Status(Message),
    /// A call rings, or how it went on: its line.
    Call(Message),
    Chat(ChatState),
    Group(Box<GroupChange>),
    Presence(PresenceChange),
    Typing(TypingChange),
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
            Event::MessageMarked(_) => EventKind::MessageMarked,
            Event::MessageUndecryptable(_) => EventKind::MessageUndecryptable,
            Event::PollVote(_) => EventKind::PollVote,
            Event::EventResponse(_) => EventKind::EventResponse,
            Event::Status(_) => EventKind::Status,
            Event::Call(_) => EventKind::Call,
            Event::Chat(_) => EventKind::Chat,
            Event::Group(change) => change.kind,
            Event::Presence(_) => EventKind::Presence,
            Event::Typing(_) => EventKind::Typing,
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
            | Event::MessageMarked(message)
            | Event::Status(message)
            | Event::Call(message)
            | Event::MessageUndecryptable(message) => &message.account_id,
            Event::MessageStatus(change) => &change.account_id,
            Event::MessageReaction(change) => &change.account_id,
            Event::MessageDeleted(deletion) => &deletion.account_id,
            Event::PollVote(vote) => &vote.account_id,
            Event::EventResponse(answered) => &answered.account_id,
            Event::Chat(state) => &state.account_id,
            Event::Group(change) => &change.account_id,
            Event::Presence(change) => &change.account_id,
            Event::Typing(change) => &change.account_id,
            Event::AccountStatus(change) => &change.account_id,
            Event::AccountQr(shown) => &shown.account_id,
            Event::AccountPasskey(step) => &step.account_id,
            Event::AccountRestricted(change) => &change.account_id,
        }
    }

    /// The chat, within which deliveries are in order.
    pub fn chat_id(&self) -> Option<&str> {
        match self {
            Event::Message(message)
            | Event::MessageSent(message)
            | Event::MessageEdited(message)
            | Event::MessageMarked(message)
            | Event::Status(message)
            | Event::Call(message)
            | Event::MessageUndecryptable(message) => Some(&message.chat_id),
            Event::MessageStatus(change) => Some(&change.chat_id),
            Event::MessageReaction(change) => Some(&change.deed.chat_id),
            Event::MessageDeleted(deletion) => Some(&deletion.deed.chat_id),
            Event::PollVote(vote) => Some(&vote.deed.chat_id),
            Event::EventResponse(answered) => Some(&answered.deed.chat_id),
            Event::Chat(state) => Some(&state.chat_id),
            Event::Group(change) => Some(&change.chat_id),
            Event::Presence(change) => Some(&change.chat_id),
            Event::Typing(change) => Some(&change.deed.chat_id),
            Event::AccountStatus(_)
            | Event::AccountQr(_)
            | Event::AccountPasskey(_)
            | Event::AccountRestricted(_) => None,
        }
    }

    /// Whether the account itself did what it reports, by the API or on the phone.
    pub fn is_own(&self) -> bool {
        match self {
            Event::Message(message)
            | Event::MessageEdited(message)
            | Event::Status(message)
            | Event::MessageUndecryptable(message) => message.from_me,
            Event::MessageSent(_) | Event::MessageStatus(_) | Event::Chat(_) => true,
            Event::MessageReaction(change) => change.deed.from_me,
            Event::MessageDeleted(deletion) => deletion.deed.from_me,
            Event::PollVote(vote) => vote.deed.from_me,
            Event::EventResponse(answered) => answered.deed.from_me,
            Event::Group(change) => change.by_me,
            // Who marked it is not said.
            Event::MessageMarked(_)
            | Event::Call(_)
            | Event::Presence(_)
            | Event::Typing(_)
            | Event::AccountStatus(_)
            | Event::AccountQr(_)
            | Event::AccountPasskey(_)
            | Event::AccountRestricted(_) => false,
        }
    }

    /// The JSON body of a webhook delivery: the payload's fields with `event` and `eventId`.
    ///
    /// # Errors
    /// Never: all fields can be serialized.
    pub fn to_json(&self, event_id: &str) -> serde_json::Result<String> {
        let event = self.kind().name();
        match self {
            Event::Message(payload)
            | Event::MessageSent(payload)
            | Event::MessageEdited(payload)
            | Event::MessageMarked(payload)
            | Event::Status(payload)
            | Event::Call(payload)
            | Event::MessageUndecryptable(payload) => framed(event, event_id, payload),
            Event::MessageStatus(payload) => framed(event, event_id, payload),
            Event::MessageReaction(payload) => framed(event, event_id, payload),
            Event::MessageDeleted(payload) => framed(event, event_id, payload),
            Event::PollVote(payload) => framed(event, event_id, payload),
            Event::EventResponse(payload) => framed(event, event_id, payload),
            Event::Chat(payload) => framed(event, event_id, payload),
            Event::Group(payload) => framed(event, event_id, payload),
            Event::Presence(payload) => framed(event, event_id, payload),
            Event::Typing(payload) => framed(event, event_id, payload),
            Event::AccountStatus(payload) => framed(event, event_id, payload),
            Event::AccountQr(payload) => framed(event, event_id, payload),
            Event::AccountPasskey(payload) => framed(event, event_id, payload),
            Event::AccountRestricted(payload) => framed(event, event_id, payload),
        }
    }
}

/// The payload's fields after those of the frame.
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
