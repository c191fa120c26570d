//! Texts.

use super::Message;
use super::context::Context;
use super::kind::MessageKind;
use super::wire::{MessageField, wa};

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
    Some(&extended.context_info)
}

/// As WhatsApp Web has it: a text with a context is an `extendedTextMessage`.
pub fn encode(message: &Message, context: Context<'_>) -> wa::Message {
    let mut encoded = quotation(message);
    let context_info = context.encode();
    if context_info.is_set() {
        encoded.extended_text_message = MessageField::some(wa::message::ExtendedTextMessage {
            text: encoded.conversation.take(),
            context_info,
            ..Default::default()
        });
    }
    encoded
}

pub fn quotation(message: &Message) -> wa::Message {
    wa::Message {
        conversation: Some(message.text.clone().unwrap_or_default()),
        ..Default::default()
    }
}
