//! The list of kinds: the word in `type`, and which file says what of each.

use serde::{Deserialize, Serialize};

use super::context::{self, Context};
use super::medium::{self, Medium, NewMedium};
use super::wire::{MessageField, wa};
use super::{
    Message, business, call, choice, contact, event, invite, location, other, poll, text, trade,
};
use crate::media::MediaKind;

/// What a message is. `Unknown` stands for each kind that is not understood: stored, never
/// dropped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Kind"))]
#[serde(rename_all = "lowercase")]
pub enum MessageKind {
    Text,
    Image,
    Video,
    Audio,
    Voice,
    Document,
    Sticker,
    Location,
    Contact,
    Poll,
    Event,
    /// An invitation to a group or a channel.
    Invite,
    Product,
    Order,
    Payment,
    Call,
    /// An answer to a business's buttons, or to a form.
    #[serde(rename = "button_reply")]
    ButtonReply,
    /// An answer to a business's list.
    #[serde(rename = "list_reply")]
    ListReply,
    /// A reaction that names no message.
    Reaction,
    /// A line that says what happened to a group; no member wrote it.
    System,
    #[default]
    Unknown,
    /// It cannot be decrypted yet; its content may come later.
    Waiting,
    /// WhatsApp gives it to the phone alone.
    Unavailable,
}

impl MessageKind {
    /// Whether the message's content is not here.
    pub fn is_placeholder(self) -> bool {
        matches!(self, MessageKind::Waiting | MessageKind::Unavailable)
    }

    /// Whether votes or responses are encrypted with the message's secret.
    pub fn has_secret(self) -> bool {
        matches!(self, MessageKind::Poll | MessageKind::Event)
    }

    /// The word in `type`.
    pub fn name(self) -> &'static str {
        match self {
            MessageKind::Text => "text",
            MessageKind::Image => "image",
            MessageKind::Video => "video",
            MessageKind::Audio => "audio",
            MessageKind::Voice => "voice",
            MessageKind::Document => "document",
            MessageKind::Sticker => "sticker",
            MessageKind::Location => "location",
            MessageKind::Contact => "contact",
            MessageKind::Poll => "poll",
            MessageKind::Event => "event",
            MessageKind::Invite => "invite",
            MessageKind::Product => "product",
            MessageKind::Order => "order",
            MessageKind::Payment => "payment",
            MessageKind::Call => "call",
            MessageKind::ButtonReply => "button_reply",
            MessageKind::ListReply => "list_reply",
            MessageKind::Reaction => "reaction",
            MessageKind::System => "system",
            MessageKind::Unknown => "unknown",
            MessageKind::Waiting => "waiting",
            MessageKind::Unavailable => "unavailable",
        }
    }

    /// What WhatsApp's media servers take its file as; `None` for kinds without a file.
    pub fn file(self) -> Option<MediaKind> {
        match self {
            MessageKind::Image => Some(MediaKind::Image),
            MessageKind::Video => Some(MediaKind::Video),
            MessageKind::Audio | MessageKind::Voice => Some(MediaKind::Audio),
            MessageKind::Document => Some(MediaKind::Document),
            MessageKind::Sticker => Some(MediaKind::Sticker),
            MessageKind::Text
            | MessageKind::Location
            | MessageKind::Contact
            | MessageKind::Poll
            | MessageKind::Event
            | MessageKind::Invite
            | MessageKind::Product
            | MessageKind::Order
            | MessageKind::Payment
            | MessageKind::Call
            | MessageKind::ButtonReply
            | MessageKind::ListReply
            | MessageKind::Reaction
            | MessageKind::System
            | MessageKind::Unknown
            | MessageKind::Waiting
            | MessageKind::Unavailable => None,
        }
    }
}

/// Sets the kind of a message and what it says; returns its file, without its chat. `base` is unwrapped.
pub fn decode(base: &wa::Message, message: &mut Message) -> Option<NewMedium> {
    let mut file = None;
    let context = text::decode(base, message)
        .or_else(|| medium::decode(base, message, &mut file))
        .or_else(|| location::decode(base, message))
        .or_else(|| contact::decode(base, message))
        .or_else(|| poll::decode(base, message))
        .or_else(|| event::decode(base, message))
        .or_else(|| choice::decode(base, message))
        .or_else(|| business::decode(base, message, &mut file))
        .or_else(|| invite::decode(base, message))
        .or_else(|| trade::decode(base, message, &mut file))
        .or_else(|| call::decode(base, message))
        .or_else(|| other::decode(base, message));
    if let Some(file) = &mut file {
        file.look = medium::look(base);
    }
    match context {
        Some(context) => {
            if let Some(context) = context.as_option() {
                context::read(context, message);
            }
        }
        None => message.kind = MessageKind::Unknown,
    }
    file
}

/// A stored message as it is sent, with its uploaded file if its kind has one.
///
/// # Errors
/// In words, why it cannot be sent.
pub fn encode(
    message: &Message,
    file: Option<&Medium>,
    context: Context<'_>,
) -> Result<wa::Message, &'static str> {
    match message.kind {
        MessageKind::Text => Ok(text::encode(message, context)),
        MessageKind::Image
        | MessageKind::Video
        | MessageKind::Audio
        | MessageKind::Voice
        | MessageKind::Document
        | MessageKind::Sticker => medium::encode(message, file, context),
        MessageKind::Location => Ok(location::encode(message, context)),
        MessageKind::Contact => Ok(contact::encode(message, context)),
        MessageKind::Poll => Ok(poll::encode(message, context)),
        MessageKind::Event => Ok(event::encode(message, context)),
        MessageKind::Invite
        | MessageKind::Product
        | MessageKind::Order
        | MessageKind::Payment
        | MessageKind::Call
        | MessageKind::ButtonReply
        | MessageKind::ListReply
        | MessageKind::Reaction
        | MessageKind::System
        | MessageKind::Unknown
        | MessageKind::Waiting
        | MessageKind::Unavailable => Err("messages of this kind cannot be sent"),
    }
}

/// What a client shows above a reply: the quoted message's kind and words. It has the message itself, so the file's
/// keys are left out.
pub fn quotation(quoted: &Message) -> wa::Message {
    match quoted.kind {
        MessageKind::Image
        | MessageKind::Video
        | MessageKind::Audio
        | MessageKind::Voice
        | MessageKind::Document
        | MessageKind::Sticker => medium::quotation(quoted),
        MessageKind::Location => location::encode(quoted, Context::default()),
        MessageKind::Contact => contact::quotation(quoted),
        MessageKind::Poll => poll::quotation(quoted),
        MessageKind::Event => event::quotation(quoted),
        MessageKind::Text
        | MessageKind::Invite
        | MessageKind::Product
        | MessageKind::Order
        | MessageKind::Payment
        | MessageKind::Call
        | MessageKind::ButtonReply
        | MessageKind::ListReply
        | MessageKind::Reaction
        | MessageKind::System
        | MessageKind::Unknown
        | MessageKind::Waiting
        | MessageKind::Unavailable => text::quotation(quoted),
    }
}

/// The key by which others know a stored message of `chat`.
pub(super) fn key_of(chat: &crate::jid::ChatJid, target: &Message) -> MessageField<wa::MessageKey> {
    MessageField::some(wa::MessageKey {
        remote_jid: Some(chat.to_string()),
        from_me: Some(target.from_me),
        id: Some(target.message_id.clone()),
        participant: (!target.from_me && !chat.is_person())
            .then(|| target.wire_sender().to_owned()),
    })
}
