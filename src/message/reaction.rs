//! Reactions to a message. Each person has one at most.

#[cfg(test)]
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::bounds;
use super::change::{By, Change, Incoming, at};
use super::kind::key_of;
use super::wire::{MessageField, wa};
use super::{Draft, Message, Sendable};
use crate::clock::Millis;
use crate::fields::{Addressee, Field, FieldError, Mentions, NonEmpty, request};
use crate::jid::ChatJid;

/// Characters of a stored reaction.
const EMOJI: usize = 64;
/// Characters of a reaction to send: an emoji is a sequence of up to some ten code points.
const MAX_EMOJI: usize = 16;

/// An emoji, or nothing.
#[derive(Debug)]
pub struct Emoji(String);

impl Field for Emoji {
    const REQUIRED: bool = false;

    fn read(name: &'static str, value: &Value) -> Result<Self, FieldError> {
        let emoji = String::read(name, value)?;
        match emoji.chars().count() > MAX_EMOJI {
            true => Err(FieldError::Field {
                field: name,
                expected: "one emoji, or empty to take the reaction back",
            }),
            false => Ok(Emoji(emoji)),
        }
    }

    #[cfg(test)]
    fn schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "maxLength": MAX_EMOJI})
    }
}

request! {
    /// A reaction to a message.
    pub struct React missing "chatId and messageId are required" {
        chat: Addressee = "chatId" or "to",
        message: NonEmpty = "messageId",
        /// empty: takes the reaction back
        emoji: Emoji = "emoji",
    }
}

impl Sendable for React {
    const ENDPOINT: &'static str = "react";
    const DONE: Option<&'static str> = Some("Reaction sent");

    fn into_draft(self) -> Result<(Addressee, Mentions, Draft), FieldError> {
        let draft = Draft::Change {
            message_id: self.message.0,
            change: Change::React {
                emoji: self.emoji.0,
            },
        };
        Ok((self.chat, Mentions::default(), draft))
    }
}

/// A person's reaction to a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
pub struct Reaction {
    pub from: String,
    pub emoji: String,
    /// Unix milliseconds.
    pub timestamp: Millis,
}

pub(super) fn cut(emoji: &mut String) {
    bounds::cut(emoji, EMOJI);
}

pub(super) fn apply(message: &mut Message, emoji: &str, by: &By) -> bool {
    let known = message.reactions.iter().position(|r| r.from == by.from);
    if let Some(index) = known {
        let before = &message.reactions[index];
        if before.timestamp > by.timestamp || before.emoji == emoji {
            return false;
        }
        message.reactions.remove(index);
    }
    if !emoji.is_empty() && message.reactions.len() < bounds::PEOPLE {
        message.reactions.push(Reaction {
            from: by.from.clone(),
            emoji: emoji.to_owned(),
            timestamp: by.timestamp,
        });
        return true;
    }
    known.is_some()
}

pub(super) fn encode(to: &ChatJid, target: &Message, emoji: &str, now: Millis) -> wa::Message {
    wa::Message {
        reaction_message: MessageField::some(wa::message::ReactionMessage {
            key: key_of(to, target),
            text: Some(emoji.to_owned()),
            sender_timestamp_ms: Some(i64::try_from(now).unwrap_or(i64::MAX)),
            ..Default::default()
        }),
        ..Default::default()
    }
}

pub(super) fn decode(base: &wa::Message) -> Option<Incoming<'_>> {
    let reaction = base.reaction_message.as_option()?;
    Some(Incoming {
        key: reaction.key.as_option()?,
        change: Change::React {
            emoji: reaction.text.clone().unwrap_or_default(),
        },
        timestamp: at(reaction.sender_timestamp_ms),
    })
}
