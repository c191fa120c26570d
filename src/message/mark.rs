//! Marks on messages: pinned for all in the chat, kept although the chat's messages disappear, starred by the owner.
//!
//! Pins and keeps are messages about another message; a star is in the account's app state alone.

#[cfg(test)]
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::Value;

use super::change::{By, Change, Incoming, at};
use super::kind::key_of;
use super::wire::{MessageField, build_keep_in_chat_message, wa};
use super::{Draft, Message, Sendable};
use crate::clock::Millis;
use crate::fields::{Addressee, Field, FieldError, Mentions, NonEmpty, request, whole};
use crate::jid::ChatJid;
use wa::message::pin_in_chat_message::Type as PinType;

const DAY: u32 = 86_400;
/// Seconds of a pin whose sender does not say how long it lasts.
const USUAL_PIN: u32 = 7 * DAY;

/// How long a message is pinned, in days: as long as WhatsApp's clients offer.
#[derive(Debug)]
pub struct PinDays(u32);

impl Field for PinDays {
    fn read(name: &'static str, value: &Value) -> Result<Self, FieldError> {
        let expected = "1, 7 or 30 (days)";
        match whole(name, value, 1..=30, expected)? {
            1 => Ok(PinDays(1)),
            7 => Ok(PinDays(7)),
            30 => Ok(PinDays(30)),
            _ => Err(FieldError::Field {
                field: name,
                expected,
            }),
        }
    }

    #[cfg(test)]
    fn schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "integer", "enum": [1, 7, 30]})
    }
}

request! {
    /// A message to pin.
    pub struct PinMessage missing "chatId and messageId are required" {
        chat: Addressee = "chatId" or "to",
        message: NonEmpty = "messageId",
        /// days, 7 without it
        duration: Option<PinDays> = "duration",
    }
}

request! {
    /// A message whose pin ends.
    pub struct UnpinMessage missing "chatId and messageId are required" {
        chat: Addressee = "chatId" or "to",
        message: NonEmpty = "messageId",
    }
}

request! {
    /// A message to keep.
    pub struct KeepMessage missing "chatId and messageId are required" {
        chat: Addressee = "chatId" or "to",
        message: NonEmpty = "messageId",
        /// false: it is kept no more
        keep: Option<bool> = "keep",
    }
}

request! {
    /// A message to star.
    pub struct StarMessage missing "chatId and messageId are required" {
        chat: Addressee = "chatId" or "to",
        message: NonEmpty = "messageId",
    }
}

request! {
    /// A message whose star goes.
    pub struct UnstarMessage missing "chatId and messageId are required" {
        chat: Addressee = "chatId" or "to",
        message: NonEmpty = "messageId",
    }
}

type Drafted = Result<(Addressee, Mentions, Draft), FieldError>;

fn drafted(chat: Addressee, NonEmpty(message_id): NonEmpty, change: Change) -> Drafted {
    let draft = Draft::Change { message_id, change };
    Ok((chat, Mentions::default(), draft))
}

impl Sendable for PinMessage {
    const ENDPOINT: &'static str = "pin";
    const DONE: Option<&'static str> = Some("Message pinned");

    fn into_draft(self) -> Drafted {
        let seconds = self.duration.map_or(USUAL_PIN, |PinDays(days)| days * DAY);
        drafted(self.chat, self.message, Change::Pin { seconds })
    }
}

impl Sendable for UnpinMessage {
    const ENDPOINT: &'static str = "unpin";
    const DONE: Option<&'static str> = Some("Message unpinned");

    fn into_draft(self) -> Drafted {
        drafted(self.chat, self.message, Change::Pin { seconds: 0 })
    }
}

impl Sendable for KeepMessage {
    const ENDPOINT: &'static str = "keep";
    const DONE: Option<&'static str> = Some("Done");

    fn into_draft(self) -> Drafted {
        let on = self.keep.unwrap_or(true);
        drafted(self.chat, self.message, Change::Keep { on })
    }
}

impl Sendable for StarMessage {
    const ENDPOINT: &'static str = "star";
    const DONE: Option<&'static str> = Some("Message starred");

    fn into_draft(self) -> Drafted {
        drafted(self.chat, self.message, Change::Star { on: true })
    }
}

impl Sendable for UnstarMessage {
    const ENDPOINT: &'static str = "unstar";
    const DONE: Option<&'static str> = Some("Star removed");

    fn into_draft(self) -> Drafted {
        drafted(self.chat, self.message, Change::Star { on: false })
    }
}

/// `seconds` of 0 end a pin.
pub(super) fn apply_pin(message: &mut Message, seconds: u32, by: &By) -> bool {
    let length = Millis::from(seconds) * 1_000;
    let until = (seconds > 0).then(|| by.timestamp.saturating_add(length));
    std::mem::replace(&mut message.pinned_until, until) != until
}

pub(super) fn set(mark: &mut bool, on: bool) -> bool {
    std::mem::replace(mark, on) != on
}

pub(super) fn encode_pin(to: &ChatJid, target: &Message, seconds: u32, now: Millis) -> wa::Message {
    let kind = match seconds {
        0 => PinType::UnpinForAll,
        _ => PinType::PinForAll,
    };
    wa::Message {
        pin_in_chat_message: MessageField::some(wa::message::PinInChatMessage {
            key: key_of(to, target),
            r#type: Some(kind),
            sender_timestamp_ms: Some(i64::try_from(now).unwrap_or(i64::MAX)),
        }),
        message_context_info: MessageField::some(wa::MessageContextInfo {
            message_add_on_duration_in_secs: Some(seconds),
            ..Default::default()
        }),
        ..Default::default()
    }
}

pub(super) fn encode_keep(to: &ChatJid, target: &Message, on: bool, now: Millis) -> wa::Message {
    let key = key_of(to, target).into_option().unwrap_or_default();
    build_keep_in_chat_message(key, on, i64::try_from(now).unwrap_or(i64::MAX))
}

pub(super) fn decode(base: &wa::Message) -> Option<Incoming<'_>> {
    if let Some(pin) = base.pin_in_chat_message.as_option() {
        let context = base.message_context_info.as_option();
        let seconds = context.and_then(|context| context.message_add_on_duration_in_secs);
        let seconds = match pin.r#type {
            Some(PinType::PinForAll) => seconds.filter(|s| *s > 0).unwrap_or(USUAL_PIN),
            _ => 0,
        };
        return Some(Incoming {
            key: pin.key.as_option()?,
            change: Change::Pin { seconds },
            timestamp: at(pin.sender_timestamp_ms),
        });
    }
    let keep = base.keep_in_chat_message.as_option()?;
    Some(Incoming {
        key: keep.key.as_option()?,
        change: Change::Keep {
            on: keep.keep_type == Some(wa::KeepType::KeepForAll),
        },
        timestamp: at(keep.timestamp_ms),
    })
}
