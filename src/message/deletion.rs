//! Deletions of a message for everyone.

use super::Message;
use super::change::{Change, Incoming};
use super::kind::key_of;
use super::wire::{MessageField, wa};
use crate::jid::ChatJid;
use wa::message::protocol_message::Type;

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
