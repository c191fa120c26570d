//! What a request asks to be sent, checked and not stored yet.

use super::{Change, Message, MessageKind};
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
    /// A change of the stored message of that id.
    Change { message_id: String, change: Change },
}

impl Draft {
    /// A text of 1 to 65,536 characters.
    pub fn text(text: String, mentions: Vec<ChatJid>, quoted: Option<String>) -> Draft {
        let message = Message {
            kind: MessageKind::Text,
            text: Some(text),
            ..Message::default()
        };
        Draft::Message {
            message: Box::new(message),
            file: None,
            mentions,
            quoted,
        }
    }

    pub fn is_reaction(&self) -> bool {
        matches!(
            self,
            Draft::Change {
                change: Change::React { .. },
                ..
            }
        )
    }
}
