//! Edits of a message by its author, as they come in.

use super::Message;
use super::bounds;
use super::change::{By, Change, Incoming, at};
use super::context::unwrap;
use super::wire::wa;
use wa::message::protocol_message::Type;

/// Cuts an edit that waits for its message. A character more than is kept stays, so that `apply` knows that it
/// was too long.
pub(super) fn cut_early(text: &mut String) {
    bounds::cut(text, bounds::TEXT + 1);
}

pub(super) fn apply(message: &mut Message, text: &str, by: &By) -> bool {
    if message.edited_at.is_some_and(|at| at > by.timestamp) {
        return false;
    }
    let mut text = text.to_owned();
    let truncated = bounds::cut(&mut text, bounds::TEXT);
    let says = if message.has_media {
        &mut message.caption
    } else {
        &mut message.text
    };
    if message.edited && says.as_ref() == Some(&text) {
        return false;
    }
    *says = Some(text);
    message.truncated = truncated;
    message.edited = true;
    message.edited_at = Some(by.timestamp);
    true
}

pub(super) fn decode(base: &wa::Message) -> Option<Incoming<'_>> {
    let protocol = base.protocol_message.as_option()?;
    if protocol.r#type != Some(Type::MessageEdit) {
        return None;
    }
    let mut edited = Message::default();
    super::decode(unwrap(protocol.edited_message.as_option()?), &mut edited);
    Some(Incoming {
        key: protocol.key.as_option()?,
        change: Change::Edit {
            text: edited.text.or(edited.caption)?,
        },
        timestamp: at(protocol.timestamp_ms),
    })
}
