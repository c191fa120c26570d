//! Edits of a message by its author: of a text, or of the caption of a medium.

use super::bounds;
use super::change::{By, Change, Incoming, at};
use super::context::{Context, unwrap};
use super::kind::{self, MessageKind, key_of};
use super::wire::{MessageField, wa};
use super::{Draft, Medium, Message, Sendable};
use crate::clock::Millis;
use crate::fields::{Addressee, FieldError, Mentions, NonEmpty, Text, request};
use crate::jid::ChatJid;
use wa::message::protocol_message::Type;

/// How long after its sending WhatsApp's clients accept an edit of a message.
const WINDOW: Millis = 15 * 60 * 1_000;

const TOO_LATE: &str =
    "A message can be edited for 15 minutes after it was sent, and this one is older";
const NO_WORDS: &str = "Only texts and the captions of images, videos and documents can be edited";

request! {
    /// What an own message says from now on.
    pub struct EditMessage missing "chatId, messageId and message are required" {
        chat: Addressee = "chatId" or "to",
        id: NonEmpty = "messageId",
        /// the new text, or the new caption
        message: Text = "message",
    }
}

impl Sendable for EditMessage {
    const ENDPOINT: &'static str = "edit";
    const DONE: Option<&'static str> = Some("Message edited");

    fn into_draft(self) -> Result<(Addressee, Mentions, Draft), FieldError> {
        let draft = Draft::Change {
            message_id: self.id.0,
            change: Change::Edit {
                text: self.message.0,
                mentions: None,
            },
        };
        Ok((self.chat, Mentions::default(), draft))
    }
}

/// Whether an own message can be edited at `now`.
///
/// # Errors
/// In words, why not.
pub(super) fn may(target: &Message, now: Millis) -> Result<(), &'static str> {
    use MessageKind::{Document, Image, Text, Video};
    match target.kind {
        _ if !target.from_me => Err("Only own messages can be edited"),
        Text | Image | Video | Document if now <= target.timestamp.saturating_add(WINDOW) => Ok(()),
        Text | Image | Video | Document => Err(TOO_LATE),
        _ => Err(NO_WORDS),
    }
}

/// The whole message with its new words: clients replace the one that they have.
///
/// # Errors
/// In words, why it cannot be sent.
pub(super) fn encode(
    to: &ChatJid,
    target: &Message,
    file: Option<&Medium>,
    text: &str,
    now: Millis,
) -> Result<wa::Message, &'static str> {
    may(target, now)?;
    let mut edited = target.clone();
    *words(&mut edited) = Some(text.to_owned());
    let content = kind::encode(&edited, file, Context::default())?;
    Ok(wa::Message {
        protocol_message: MessageField::some(wa::message::ProtocolMessage {
            key: key_of(to, target),
            r#type: Some(Type::MessageEdit),
            edited_message: MessageField::some(content),
            timestamp_ms: Some(i64::try_from(now).unwrap_or(i64::MAX)),
            ..Default::default()
        }),
        ..Default::default()
    })
}

/// The text, or the caption of a medium.
fn words(message: &mut Message) -> &mut Option<String> {
    match message.has_media {
        true => &mut message.caption,
        false => &mut message.text,
    }
}

/// Cuts an edit that waits for its message. A character more than is kept stays, so that `apply` knows that it
/// was too long.
pub(super) fn cut_early(text: &mut String, mentions: &mut Option<Vec<String>>) {
    bounds::cut(text, bounds::TEXT + 1);
    if let Some(mentions) = mentions {
        bounds::mentions(mentions);
    }
}

pub(super) fn apply(
    message: &mut Message,
    text: &str,
    mentions: Option<&[String]>,
    by: &By,
) -> bool {
    if message.edited_at.is_some_and(|at| at > by.timestamp) {
        return false;
    }
    let mut text = text.to_owned();
    let truncated = bounds::cut(&mut text, bounds::TEXT);
    let is_edited = message.edited;
    let says = words(message);
    if is_edited && says.as_ref() == Some(&text) {
        return false;
    }
    *says = Some(text);
    if let Some(mentions) = mentions {
        message.mentions = mentions.to_vec();
    }
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
            mentions: Some(edited.mentions),
        },
        timestamp: at(protocol.timestamp_ms),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_texts_and_captions_can_be_edited_for_15_minutes() {
        let mut message = Message::empty("a", "M", "1@s.whatsapp.net", MessageKind::Image, 1_000);
        assert_eq!(may(&message, 1_000), Err("Only own messages can be edited"));
        message.from_me = true;
        assert_eq!(may(&message, 1_000 + WINDOW), Ok(()));
        assert_eq!(may(&message, 1_001 + WINDOW), Err(TOO_LATE));
        message.kind = MessageKind::Voice;
        assert_eq!(may(&message, 1_000), Err(NO_WORDS));
    }
}
