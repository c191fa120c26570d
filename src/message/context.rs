//! What messages of every kind carry beside their content: wrappers, mentions, the message that is answered.

use super::wire::{MessageExt as _, MessageField, wa};
use super::{Message, Quoted, decode, quotation, referral};
use crate::jid::ChatJid;
use wa::message_association::AssociationType;

/// Nested wrappers that are opened.
const WRAPPERS: usize = 8;

/// The message within its wrappers: sent by another device, ephemeral, view-once, a document with a caption, edited,
/// part of an album, …
pub fn unwrap(message: &wa::Message) -> &wa::Message {
    layers(message).last().unwrap_or(message)
}

/// A message, the one that it wraps, and so on.
fn layers(message: &wa::Message) -> impl Iterator<Item = &wa::Message> {
    std::iter::successors(Some(message), |at| wrapped(at)).take(WRAPPERS + 1)
}

fn wrapped(message: &wa::Message) -> Option<&wa::Message> {
    message
        .device_sent_message
        .as_option()
        .and_then(|m| m.message.as_option())
        .or_else(|| {
            [
                &message.ephemeral_message,
                &message.view_once_message,
                &message.view_once_message_v2,
                &message.view_once_message_v2_extension,
                &message.document_with_caption_message,
                &message.edited_message,
                &message.group_mentioned_message,
                &message.bot_invoke_message,
                &message.lottie_sticker_message,
                &message.associated_child_message,
                &message.event_cover_image,
                &message.poll_creation_message_v4,
                &message.poll_creation_option_image_message,
                &message.status_mention_message,
                &message.group_status_message,
                &message.group_status_message_v2,
                &message.spoiler_message,
                &message.question_message,
                &message.question_reply_message,
                &message.group_status_mention_message,
                &message.status_add_yours,
                &message.limit_sharing_message,
                &message.bot_task_message,
                &message.bot_forwarded_message,
                &message.newsletter_admin_profile_message,
                &message.newsletter_admin_profile_message_v2,
                &message.newsletter_admin_profile_status_message,
            ]
            .into_iter()
            .find_map(|wrapper| wrapper.as_option()?.message.as_option())
        })
        .or_else(|| message.comment_message.as_option()?.message.as_option())
}

/// The id of the album that a message is part of: that of the album's head, which came before.
pub fn album_of(message: &wa::Message) -> Option<String> {
    let mut contexts = layers(message).filter_map(|layer| layer.message_context_info.as_option());
    contexts.find_map(|context| {
        let part = context.message_association.as_option()?;
        let is_album = part.association_type == Some(AssociationType::MEDIA_ALBUM);
        is_album.then(|| part.parent_message_key.as_option()?.id.clone())?
    })
}

/// Whether it can be opened once, by its wrapper or by its own mark.
pub fn is_view_once(message: &wa::Message) -> bool {
    message.is_view_once()
}

/// What a message that is sent carries beside its content.
#[derive(Debug, Clone, Copy, Default)]
pub struct Context<'a> {
    pub mentions: &'a [ChatJid],
    /// The stored message that it answers.
    pub quoted: Option<&'a Message>,
    /// The chat of that message, if it is another one.
    pub quoted_chat: Option<&'a str>,
    /// How often a message was forwarded that is, as WhatsApp counts it.
    pub forwarded: Option<u32>,
    /// Seconds after which it disappears.
    pub expiration: Option<u32>,
}

impl<'a> Context<'a> {
    /// What a stored message carries, with the people whom it mentions and the message that it answers.
    pub fn of(
        message: &'a Message,
        mentions: &'a [ChatJid],
        quoted: Option<&'a Message>,
    ) -> Context<'a> {
        let answered = message.quoted_message.as_ref();
        let score = message.forwarding_score.unwrap_or(0);
        Context {
            mentions,
            quoted,
            quoted_chat: answered.and_then(|quoted| quoted.chat_id.as_deref()),
            forwarded: message.is_forwarded.then_some(score),
            expiration: message.expiration,
        }
    }

    /// Unset if there is nothing to carry.
    pub(super) fn encode(&self) -> MessageField<wa::ContextInfo> {
        let says_nothing = self.mentions.is_empty() && self.quoted.is_none();
        if says_nothing && self.forwarded.is_none() && self.expiration.is_none() {
            return MessageField::default();
        }
        let mut context = wa::ContextInfo {
            mentioned_jid: self.mentions.iter().map(ChatJid::to_string).collect(),
            is_forwarded: self.forwarded.map(|_| true),
            forwarding_score: self.forwarded,
            expiration: self.expiration,
            ..Default::default()
        };
        if let Some(quoted) = self.quoted {
            context.stanza_id = Some(quoted.message_id.clone());
            context.participant = Some(quoted.wire_sender().to_owned());
            context.quoted_message = MessageField::some(quotation(quoted));
            context.remote_jid = self.quoted_chat.map(str::to_owned);
        }
        MessageField::some(context)
    }
}

/// Sets what a message's context says.
pub(super) fn read(context: &wa::ContextInfo, message: &mut Message) {
    message.quoted_message = quoted(context);
    // What is no JID leads to no chat.
    let mentioned = context.mentioned_jid.iter();
    message.mentions = mentioned
        .filter_map(|jid| ChatJid::parse(jid).ok())
        .map(|jid| jid.to_string())
        .collect();
    message.is_forwarded = context.is_forwarded.unwrap_or(false);
    message.expiration = context.expiration.filter(|seconds| *seconds > 0);
    message.forwarding_score = context.forwarding_score.filter(|_| message.is_forwarded);
    message.referral = referral::read(context);
}

fn quoted(context: &wa::ContextInfo) -> Option<Quoted> {
    let message_id = context.stanza_id.clone()?;
    let mut shown = Message::default();
    let inner = context.quoted_message.as_option().map(unwrap);
    let medium = inner.and_then(|inner| decode(inner, &mut shown));
    Some(Quoted {
        message_id,
        chat_id: context.remote_jid.as_deref().map(bare),
        participant: context.participant.as_deref().map(bare),
        text: shown.text.or(shown.caption),
        has_media: medium.is_some(),
    })
}

/// A JID without its device; what is none stays as it is.
pub fn bare(jid: &str) -> String {
    ChatJid::parse(jid).map_or_else(|_| jid.to_owned(), |jid| jid.to_string())
}
