//! Texts.

use super::context::Context;
use super::kind::MessageKind;
use super::preview::{self, PreviewWish};
use super::wire::{MessageField, wa};
use super::{Draft, Message, Sendable, story};
use crate::fields::{Addressee, FieldError, Mentions, NonEmpty, Text, request};

request! {
    /// A text to send.
    pub struct SendText missing "to and message are required" {
        to: Addressee = "to",
        message: Text = "message",
        mentions: Mentions = "mentions",
        quoted: Option<NonEmpty> = "quotedMessageId",
        /// `false` shows nothing of the first link's page; an object with `title` and `description` shows these
        link_preview: Option<PreviewWish> = "linkPreview",
    }
}

request! {
    /// A text that answers a message.
    pub struct ReplyText missing "to, message, and quotedMessageId are required" {
        to: Addressee = "to" or "chatId",
        message: Text = "message",
        quoted: NonEmpty = "quotedMessageId",
        mentions: Mentions = "mentions",
        /// `false` shows nothing of the first link's page; an object with `title` and `description` shows these
        link_preview: Option<PreviewWish> = "linkPreview",
    }
}

/// A text as a message, with the preview that it is to have.
fn with_preview(text: String, wish: Option<&PreviewWish>) -> Message {
    Message {
        link_preview: preview::wished(&text, wish),
        ..of_words(text)
    }
}

/// A text as a message.
pub fn of_words(text: String) -> Message {
    Message {
        kind: MessageKind::Text,
        text: Some(text),
        ..Message::default()
    }
}

impl Sendable for SendText {
    const ENDPOINT: &'static str = "send";

    fn into_draft(self) -> Result<(Addressee, Mentions, Draft), FieldError> {
        let message = with_preview(self.message.0, self.link_preview.as_ref());
        Ok((self.to, self.mentions, Draft::message(message, self.quoted)))
    }
}

impl Sendable for ReplyText {
    const ENDPOINT: &'static str = "reply";

    fn into_draft(self) -> Result<(Addressee, Mentions, Draft), FieldError> {
        let message = with_preview(self.message.0, self.link_preview.as_ref());
        let draft = Draft::message(message, Some(self.quoted));
        Ok((self.to, self.mentions, draft))
    }
}

pub fn decode<'a>(
    base: &'a wa::Message,
    message: &mut Message,
) -> Option<&'a MessageField<wa::ContextInfo>> {
    let extended = &base.extended_text_message;
    if base.conversation.is_none() && !extended.is_set() {
        return None;
    }
    message.kind = MessageKind::Text;
    message.text = base.conversation.clone().or_else(|| extended.text.clone());
    if let Some(extended) = extended.as_option() {
        story::decode(extended, message);
        preview::decode(extended, message);
    }
    Some(&extended.context_info)
}

/// As WhatsApp Web has it: a story, and a text with a context or a preview, is an `extendedTextMessage`.
pub fn encode(message: &Message, context: Context<'_>) -> wa::Message {
    let mut encoded = quotation(message);
    let context_info = context.encode();
    let preview = message.link_preview.as_ref();
    let preview = preview.filter(|preview| preview.title.is_some());
    if context_info.is_set() || message.is_story() || preview.is_some() {
        let mut extended = wa::message::ExtendedTextMessage {
            text: encoded.conversation.take(),
            context_info,
            ..Default::default()
        };
        if message.is_story() {
            story::encode(message, &mut extended);
        }
        if let Some(preview) = preview {
            preview::encode(preview, &mut extended);
        }
        encoded.extended_text_message = MessageField::some(extended);
    }
    encoded
}

pub fn quotation(message: &Message) -> wa::Message {
    wa::Message {
        conversation: Some(message.text.clone().unwrap_or_default()),
        ..Default::default()
    }
}
