//! Changes of stored messages: the list of their kinds, whom they are about, and by whom they are.

use serde::{Deserialize, Serialize};

use super::event::{self, Coming};
use super::kind::MessageKind;
use super::secret::Sealed;
use super::wire::wa;
use super::{Medium, Message, album, deletion, edit, mark, poll, reaction};
use crate::clock::Millis;
use crate::jid::ChatJid;

/// Who wrote a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Author {
    Me,
    /// Another person; by JID where the chat has several people.
    Them(Option<String>),
    /// The person of that JID, which may be one of the account's own.
    Named(String),
}

/// Which message is meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The chat, by any of its JIDs.
    pub chat: String,
    pub message_id: String,
    /// `None`: of any author. A deletion without one is not honoured.
    pub author: Option<Author>,
}

impl Target {
    /// A stored message.
    pub fn of(message: &Message) -> Target {
        Target {
            chat: message.chat_id.clone(),
            message_id: message.message_id.clone(),
            author: Some(match message.from_me {
                true => Author::Me,
                false => Author::Them(Some(message.sender.clone())),
            }),
        }
    }
}

/// Who changes it, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct By {
    pub from: String,
    pub from_me: bool,
    pub timestamp: Millis,
}

/// What happens to a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// An empty emoji takes the reaction back.
    React {
        emoji: String,
    },
    /// What it says now: the text, or a medium's caption.
    Edit {
        text: String,
        /// The people whom it mentions now, by JID; `None`: those whom it mentioned before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mentions: Option<Vec<String>>,
    },
    Delete,
    /// Deleted for the account's owner alone: it leaves the store.
    DeleteForMe,
    /// Pinned for so long, for all in the chat; 0 ends it.
    Pin {
        seconds: u32,
    },
    Keep {
        on: bool,
    },
    /// Of the account's owner.
    Star {
        on: bool,
    },
    /// A vote in a poll, by the options' names. None takes it back.
    Vote {
        options: Vec<String>,
    },
    /// A response to an event.
    Respond {
        response: Coming,
        /// Extra guests.
        guests: u32,
    },
    /// The head of an own album, which is sent before its first message and changes nothing.
    Album {
        images: u32,
        videos: u32,
    },
    /// A vote or a response that is still encrypted: its message's secret opens it ([`Sealed::open`]).
    Sealed(Sealed),
}

impl Change {
    /// Whether it is in the account's app state alone, which its devices share: no message says so.
    pub fn is_own_state(&self) -> bool {
        matches!(self, Change::DeleteForMe | Change::Star { .. })
    }

    /// The word in an outbox entry's `type`.
    pub fn name(&self) -> &'static str {
        match self {
            Change::React { .. } => MessageKind::Reaction.name(),
            Change::Edit { .. } => "edit",
            Change::Delete | Change::DeleteForMe => "deletion",
            Change::Pin { .. } => "pin",
            Change::Keep { .. } => "keep",
            Change::Star { .. } => "star",
            Change::Vote { .. } | Change::Sealed(_) => "vote",
            Change::Respond { .. } => "response",
            Change::Album { .. } => "album",
        }
    }

    /// What an outbox entry shows as `text`.
    pub fn words(&self) -> Option<&str> {
        match self {
            Change::React { emoji } => Some(emoji),
            Change::Edit { text, .. } => Some(text),
            Change::Vote { options } => options.first().map(String::as_str),
            Change::Respond { response, .. } => Some(response.word()),
            Change::Delete
            | Change::DeleteForMe
            | Change::Pin { .. }
            | Change::Keep { .. }
            | Change::Star { .. }
            | Change::Album { .. }
            | Change::Sealed(_) => None,
        }
    }

    /// Cuts it to what is stored.
    pub fn cut(&mut self) {
        match self {
            Change::React { emoji } => reaction::cut(emoji),
            Change::Edit { text, mentions } => edit::cut_early(text, mentions),
            // Votes are bounded where they are read.
            Change::Vote { .. }
            | Change::Respond { .. }
            | Change::Album { .. }
            | Change::Sealed(_)
            | Change::Delete
            | Change::DeleteForMe
            | Change::Pin { .. }
            | Change::Keep { .. }
            | Change::Star { .. } => {}
        }
    }

    /// Changes the message; false if that changes nothing.
    pub fn apply(&self, message: &mut Message, by: &By) -> bool {
        if message.deleted {
            return false;
        }
        match self {
            Change::React { emoji } => reaction::apply(message, emoji, by),
            Change::Edit { text, mentions } => edit::apply(message, text, mentions.as_deref(), by),
            Change::Delete | Change::DeleteForMe => deletion::apply(message),
            Change::Pin { seconds } => mark::apply_pin(message, *seconds, by),
            Change::Keep { on } => mark::set(&mut message.kept, *on),
            Change::Star { on } => mark::set(&mut message.starred, *on),
            Change::Vote { options } => poll::apply(message, options, by),
            Change::Respond { response, guests } => event::apply(message, *response, *guests, by),
            Change::Album { .. } | Change::Sealed(_) => false,
        }
    }

    /// Whether the account can make this change of a stored message at `now`, as far as the message alone says.
    ///
    /// # Errors
    /// In words, why not.
    pub fn may(&self, target: &Message, now: Millis) -> Result<(), &'static str> {
        match self {
            Change::Edit { .. } => edit::may(target, now),
            Change::Vote { options } => poll::may_vote(target, options),
            Change::Respond { guests, .. } => event::may_respond(target, *guests),
            Change::React { .. }
            | Change::Delete
            | Change::DeleteForMe
            | Change::Pin { .. }
            | Change::Keep { .. }
            | Change::Star { .. }
            | Change::Album { .. }
            | Change::Sealed(_) => Ok(()),
        }
    }

    /// The change of a stored message of the chat `to`, as it is sent. `file` is the message's; `own` is the account's
    /// JID in the namespace in which `to` knows the message's sender.
    ///
    /// # Errors
    /// In words, why it cannot be sent.
    pub fn encode(
        &self,
        to: &ChatJid,
        target: &Message,
        file: Option<&Medium>,
        own: &str,
        now: Millis,
    ) -> Result<wa::Message, &'static str> {
        match self {
            Change::React { emoji } => Ok(reaction::encode(to, target, emoji, now)),
            Change::Edit { text, .. } => edit::encode(to, target, file, text, now),
            Change::Vote { options } => poll::encode_vote(to, target, options, own, now),
            Change::Respond { response, guests } => {
                event::encode_response(to, target, (*response, *guests), own, now)
            }
            Change::Album { images, videos } => Ok(album::encode_head(target, *images, *videos)),
            Change::Sealed(_) => Err("what others encrypted cannot be sent"),
            Change::Delete => Ok(deletion::encode(to, target)),
            Change::Pin { seconds } => Ok(mark::encode_pin(to, target, *seconds, now)),
            Change::Keep { on } => Ok(mark::encode_keep(to, target, *on, now)),
            Change::DeleteForMe | Change::Star { .. } => Err("the app state says it, no message"),
        }
    }
}

/// A change that came in.
#[derive(Debug)]
pub struct Incoming<'a> {
    /// The message that it is about, in its sender's words.
    pub key: &'a wa::MessageKey,
    pub change: Change,
    /// When it was made, if the sender says so.
    pub timestamp: Option<Millis>,
}

/// The change that a message makes to another; `None` if it makes none. `base` is unwrapped.
pub fn decode(base: &wa::Message) -> Option<Incoming<'_>> {
    reaction::decode(base)
        .or_else(|| deletion::decode(base))
        .or_else(|| edit::decode(base))
        .or_else(|| mark::decode(base))
        .or_else(|| poll::decode_vote(base))
        .or_else(|| event::decode_response(base))
}

/// A timestamp of the protocol in seconds, in milliseconds; 0 stands for none.
pub(super) fn at_seconds(timestamp: Option<i64>) -> Option<Millis> {
    at(timestamp.map(|seconds| seconds.saturating_mul(1000)))
}

/// A timestamp of the protocol, in milliseconds; 0 stands for none.
pub(super) fn at(timestamp: Option<i64>) -> Option<Millis> {
    let at = timestamp.and_then(|at| Millis::try_from(at).ok());
    at.filter(|at| *at > 0)
}
