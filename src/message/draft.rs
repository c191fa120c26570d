//! What a request asks to be sent, checked and not stored yet.

use super::{Change, Message};
use crate::fields::{Addressee, FieldError, Mentions, NonEmpty, Request};
use crate::jid::ChatJid;
use crate::media::{MediaRequest, Spooled};

/// Something to send into a chat.
#[derive(Debug)]
pub enum Draft {
    /// A new message.
    Message {
        /// Its kind, words and details; who sends it, when and where is not set.
        message: Box<Message>,
        file: Option<(MediaRequest, Spooled)>,
        mentions: Vec<ChatJid>,
        /// The id of a stored message of this account that it answers.
        quoted: Option<String>,
    },
    /// A stored message of another chat, once more.
    Forward {
        /// The other chat, as it was asked for; `chat` once that is looked up.
        from: Addressee,
        chat: Option<ChatJid>,
        message_id: String,
    },
    /// A change of the stored message of that id.
    Change { message_id: String, change: Change },
}

impl Draft {
    /// A message without a file, whose mentions are set once they are looked up.
    pub fn message(message: Message, quoted: Option<NonEmpty>) -> Draft {
        Draft::Message {
            message: Box::new(message),
            file: None,
            mentions: Vec::new(),
            quoted: quoted.map(|NonEmpty(id)| id),
        }
    }

    /// Whether it answers a message.
    pub fn quotes(&self) -> bool {
        matches!(
            self,
            Draft::Message {
                quoted: Some(_),
                ..
            }
        )
    }
}

/// A request to send something without a file into a chat. The file of its kind declares it.
pub trait Sendable: Request {
    /// What tells requests of several endpoints apart that have the same idempotency key and the same fields.
    const ENDPOINT: &'static str;
    /// What the answer says beside the message's id.
    const DONE: Option<&'static str> = None;

    /// The recipient, the people mentioned, and what is sent.
    ///
    /// # Errors
    /// [`FieldError`] for fields that do not fit together.
    fn into_draft(self) -> Result<(Addressee, Mentions, Draft), FieldError>;
}
