//! Reactions to a message. Each person has one at most.

use serde::{Deserialize, Serialize};

use super::Message;
use super::bounds;
use super::change::{By, Change, Incoming, at};
use super::kind::key_of;
use super::wire::{MessageField, wa};
use crate::clock::Millis;
use crate::jid::ChatJid;

/// Characters of a reaction: an emoji is a sequence of up to some ten.
const EMOJI: usize = 64;

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
