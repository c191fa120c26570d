//! Deletions of a message: for everyone, or for the account's owner alone.

use super::change::{Change, Incoming};
use super::kind::key_of;
use super::wire::{MessageField, wa};
use super::{Draft, Message, Sendable};
use crate::fields::{Addressee, FieldError, Mentions, NonEmpty, request};
use crate::jid::ChatJid;
use wa::message::protocol_message::Type;

request! {
    /// A message to delete.
    pub struct DeleteMessage missing "chatId and messageId are required" {
        chat: Addressee = "chatId" or "to",
        message: NonEmpty = "messageId",
        /// on the account's own devices alone, not for everyone
        for_me: bool = "forMe",
    }
}

impl Sendable for DeleteMessage {
    const ENDPOINT: &'static str = "delete";
    const DONE: Option<&'static str> = Some("Message deleted");

    fn into_draft(self) -> Result<(Addressee, Mentions, Draft), FieldError> {
        let draft = Draft::Change {
            message_id: self.message.0,
            change: match self.for_me {
                true => Change::DeleteForMe,
                false => Change::Delete,
            },
        };
        Ok((self.chat, Mentions::default(), draft))
    }
}

/// Clears the content and keeps a tombstone.
pub(super) fn apply(message: &mut Message) -> bool {
    message.clear();
    message.deleted = true;
    true
}

/// An own message's, or as the admin of a group another's.
pub(super) fn encode(to: &ChatJid, target: &Message) -> wa::Message {
    wa::Message {
        protocol_message: MessageField::some(wa::message::ProtocolMessage {
            key: key_of(to, target),
            r#type: Some(Type::Revoke),
            ..Default::default()
        }),
        ..Default::default()
    }
}

pub(super) fn decode(base: &wa::Message) -> Option<Incoming<'_>> {
    let protocol = base.protocol_message.as_option()?;
    // proto2's default is `REVOKE`.
    match protocol.r#type {
        Some(Type::Revoke) | None => Some(Incoming {
            key: protocol.key.as_option()?,
            change: Change::Delete,
            timestamp: None,
        }),
        Some(_) => None,
    }
}
