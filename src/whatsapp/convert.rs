//! WhatsApp's messages as ours, and ours as WhatsApp's. Pure, both ways.

use whatsapp_rust::proto_helpers::{MessageBuilderExt, MessageExt};
use whatsapp_rust::types::message::MessageInfo;
use whatsapp_rust::waproto::{codec, whatsapp as wa};
use whatsapp_rust::{Jid, buffa};

use crate::clock::{self, Millis};
use crate::event::{DeliveryStatus, Message, MessageKind, Quoted};
use crate::jid::ChatJid;

/// A message that came in, and the other name of its chat if WhatsApp gave one.
#[derive(Debug, Clone, PartialEq)]
pub struct Inbound {
    pub message: Message,
    /// The chat's `@lid` and number, when both are known: they are one chat.
    pub link: Option<(String, String)>,
}

/// What came in, as it is stored; `None` for what carries no content of its own (keys, settings,
/// receipts between own devices).
pub fn inbound(
    account_id: &str,
    info: &MessageInfo,
    message: &wa::Message,
    now: Millis,
) -> Option<Inbound> {
    let base = message.get_base_message();
    if !has_content(base) {
        return None;
    }
    let source = &info.source;
    // A chat is known by its number where WhatsApp tells it, by its LID otherwise.
    let alternative = if source.is_from_me {
        info.peer_recipient_pn
            .as_ref()
            .or(source.recipient_alt.as_ref())
    } else {
        source.sender_alt.as_ref()
    };
    let (chat, link) = if source.is_group || !is_person(&source.chat) {
        (bare(&source.chat), None)
    } else {
        preferred(&source.chat, alternative)
    };
    let (from, _) = preferred(&source.sender, source.sender_alt.as_ref());
    let context = context_info(base);
    let kind = kind(base);
    let (text, caption) = match kind {
        MessageKind::Text => (base.text_content().map(str::to_owned), None),
        MessageKind::Reaction => (
            base.reaction_message
                .as_option()
                .and_then(|r| r.text.clone()),
            None,
        ),
        MessageKind::Image
        | MessageKind::Video
        | MessageKind::Audio
        | MessageKind::Voice
        | MessageKind::Document
        | MessageKind::Sticker
        | MessageKind::Location
        | MessageKind::Contact
        | MessageKind::Poll
        | MessageKind::Unknown => (None, base.get_caption().map(str::to_owned)),
    };
    Some(Inbound {
        message: Message {
            account_id: account_id.to_owned(),
            message_id: info.id.clone(),
            chat_id: chat,
            from,
            from_me: source.is_from_me,
            push_name: (!info.push_name.is_empty()).then(|| info.push_name.clone()),
            timestamp: u64::try_from(info.timestamp.timestamp_millis()).unwrap_or(0),
            kind,
            text,
            caption,
            has_media: false,
            media_id: None,
            media_url: None,
            media_type: None,
            media_mimetype: None,
            media_size: None,
            media_file_name: None,
            quoted_message: context.and_then(quoted),
            mentions: context
                .map(|c| c.mentioned_jid.iter().map(|j| bare_text(j)).collect())
                .unwrap_or_default(),
            reactions: Vec::new(),
            is_forwarded: context.and_then(|c| c.is_forwarded).unwrap_or(false),
            edited: false,
            deleted: false,
            status: source.is_from_me.then_some(DeliveryStatus::Sent),
            created_at: clock::iso8601(now),
        },
        link,
    })
}

/// A text that goes out, with what it mentions and answers.
pub fn outgoing_text(text: &str, mentions: &[ChatJid], quoted: Option<&Message>) -> wa::Message {
    if mentions.is_empty() && quoted.is_none() {
        return wa::Message::text(text);
    }
    let mut context = wa::ContextInfo {
        mentioned_jid: mentions.iter().map(ChatJid::to_string).collect(),
        ..Default::default()
    };
    if let Some(quoted) = quoted {
        context.stanza_id = Some(quoted.message_id.clone());
        context.participant = Some(quoted.from.clone());
        context.quoted_message = buffa::MessageField::some(wa::Message::text(
            quoted
                .text
                .as_deref()
                .or(quoted.caption.as_deref())
                .unwrap_or_default(),
        ));
    }
    wa::Message::text_with_context(text, context)
}

/// Whether the message says something to a person, rather than to a device.
fn has_content(base: &wa::Message) -> bool {
    use wa::message::protocol_message::Type;
    if let Some(protocol) = base.protocol_message.as_option() {
        return matches!(
            protocol.r#type,
            Some(Type::Revoke | Type::MessageEdit) | None
        ) && protocol.key.is_set();
    }
    if kind(base) != MessageKind::Unknown {
        return true;
    }
    // A sender key that travels alone is no message. Compared as encoded: a content that is set
    // and empty counts, and equality does not see it.
    let keys_alone = wa::Message {
        sender_key_distribution_message: base.sender_key_distribution_message.clone(),
        message_context_info: base.message_context_info.clone(),
        ..Default::default()
    };
    codec::message_to_vec(base) != codec::message_to_vec(&keys_alone)
}

fn kind(base: &wa::Message) -> MessageKind {
    if base.conversation.is_some() || base.extended_text_message.is_set() {
        MessageKind::Text
    } else if base.image_message.is_set() {
        MessageKind::Image
    } else if base.video_message.is_set() || base.ptv_message.is_set() {
        MessageKind::Video
    } else if let Some(audio) = base.audio_message.as_option() {
        if audio.ptt == Some(true) {
            MessageKind::Voice
        } else {
            MessageKind::Audio
        }
    } else if base.document_message.is_set() {
        MessageKind::Document
    } else if base.sticker_message.is_set() {
        MessageKind::Sticker
    } else if base.location_message.is_set() || base.live_location_message.is_set() {
        MessageKind::Location
    } else if base.contact_message.is_set() || base.contacts_array_message.is_set() {
        MessageKind::Contact
    } else if base.poll_creation_message.is_set()
        || base.poll_creation_message_v2.is_set()
        || base.poll_creation_message_v3.is_set()
    {
        MessageKind::Poll
    } else if base.reaction_message.is_set() {
        MessageKind::Reaction
    } else {
        MessageKind::Unknown
    }
}

/// The context of the content, where the kinds that carry one keep it.
fn context_info(base: &wa::Message) -> Option<&wa::ContextInfo> {
    let text = base.extended_text_message.as_option();
    let image = base.image_message.as_option();
    let video = base.video_message.as_option();
    let audio = base.audio_message.as_option();
    let document = base.document_message.as_option();
    let sticker = base.sticker_message.as_option();
    let location = base.location_message.as_option();
    let contact = base.contact_message.as_option();
    text.and_then(|m| m.context_info.as_option())
        .or_else(|| image.and_then(|m| m.context_info.as_option()))
        .or_else(|| video.and_then(|m| m.context_info.as_option()))
        .or_else(|| audio.and_then(|m| m.context_info.as_option()))
        .or_else(|| document.and_then(|m| m.context_info.as_option()))
        .or_else(|| sticker.and_then(|m| m.context_info.as_option()))
        .or_else(|| location.and_then(|m| m.context_info.as_option()))
        .or_else(|| contact.and_then(|m| m.context_info.as_option()))
}

fn quoted(context: &wa::ContextInfo) -> Option<Quoted> {
    let message_id = context.stanza_id.clone()?;
    let inner = context
        .quoted_message
        .as_option()
        .map(|m| m.get_base_message());
    Some(Quoted {
        message_id,
        participant: context.participant.as_deref().map(bare_text),
        text: inner.and_then(|m| {
            m.text_content()
                .or_else(|| m.get_caption())
                .map(str::to_owned)
        }),
        has_media: inner.is_some_and(|m| match kind(m) {
            MessageKind::Image
            | MessageKind::Video
            | MessageKind::Audio
            | MessageKind::Voice
            | MessageKind::Document
            | MessageKind::Sticker => true,
            MessageKind::Text
            | MessageKind::Location
            | MessageKind::Contact
            | MessageKind::Poll
            | MessageKind::Reaction
            | MessageKind::Unknown => false,
        }),
    })
}

fn is_person(jid: &Jid) -> bool {
    matches!(ChatJid::parse(&jid.to_string()), Ok(j) if j.is_person())
}

/// The JID without a device.
fn bare(jid: &Jid) -> String {
    jid.to_non_ad().to_string()
}

fn bare_text(jid: &str) -> String {
    ChatJid::parse(jid).map_or_else(|_| jid.to_owned(), |j| j.to_string())
}

/// Of the two names of one person the phone number, and both as (LID, number) if both are there.
fn preferred(jid: &Jid, alternative: Option<&Jid>) -> (String, Option<(String, String)>) {
    let this = bare(jid);
    let Some(other) = alternative.map(bare) else {
        return (this, None);
    };
    match (this.ends_with("@lid"), other.ends_with("@lid")) {
        (true, false) => (other.clone(), Some((this, other))),
        (false, true) => (this.clone(), Some((other, this))),
        (true, true) | (false, false) => (this, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(chat: &str, sender: &str, from_me: bool) -> MessageInfo {
        let mut info = MessageInfo {
            id: "3EB0AA".into(),
            push_name: "Bob".into(),
            ..Default::default()
        };
        info.source.chat = chat.parse().expect("jid");
        info.source.sender = sender.parse().expect("jid");
        info.source.is_from_me = from_me;
        info
    }

    #[test]
    fn a_lid_chat_is_shown_under_its_number() {
        let mut info = info("955@lid", "955:3@lid", false);
        info.source.sender_alt = Some("4917@s.whatsapp.net".parse().expect("jid"));
        let got = inbound("alice", &info, &wa::Message::text("hi"), 5).expect("content");
        assert_eq!(got.message.chat_id, "4917@s.whatsapp.net");
        assert_eq!(got.message.from, "4917@s.whatsapp.net");
        assert_eq!(
            got.link,
            Some(("955@lid".into(), "4917@s.whatsapp.net".into()))
        );
        assert_eq!(got.message.text.as_deref(), Some("hi"));
        assert_eq!(got.message.kind, MessageKind::Text);
        assert_eq!(got.message.status, None);
    }

    #[test]
    fn replies_and_mentions_survive_the_way_out_and_in() {
        let info = info("49170@s.whatsapp.net", "49170:2@s.whatsapp.net", false);
        let first = inbound("alice", &info, &wa::Message::text("question"), 5)
            .expect("content")
            .message;
        let mention = ChatJid::parse("491711111111").expect("jid");
        let reply = outgoing_text("answer", std::slice::from_ref(&mention), Some(&first));
        let got = inbound("alice", &info, &reply, 6).expect("content").message;
        assert_eq!(got.text.as_deref(), Some("answer"));
        assert_eq!(got.mentions, vec![mention.to_string()]);
        let quoted = got.quoted_message.expect("quoted");
        assert_eq!(quoted.message_id, "3EB0AA");
        assert_eq!(quoted.participant.as_deref(), Some("49170@s.whatsapp.net"));
        assert_eq!(quoted.text.as_deref(), Some("question"));
    }

    #[test]
    fn what_speaks_to_devices_alone_is_no_message() {
        let info = info("49170@s.whatsapp.net", "49170@s.whatsapp.net", true);
        let keys = wa::Message {
            sender_key_distribution_message: buffa::MessageField::some(Default::default()),
            ..Default::default()
        };
        assert_eq!(inbound("alice", &info, &keys, 5), None);
        let share = wa::Message {
            protocol_message: buffa::MessageField::some(wa::message::ProtocolMessage {
                r#type: Some(wa::message::protocol_message::Type::AppStateSyncKeyShare),
                ..Default::default()
            }),
            ..Default::default()
        };
        assert_eq!(inbound("alice", &info, &share, 5), None);
        assert_eq!(inbound("alice", &info, &wa::Message::default(), 5), None);
    }

    #[test]
    fn what_is_not_understood_is_kept_as_unknown() {
        let info = info("49170@s.whatsapp.net", "49170@s.whatsapp.net", false);
        let odd = wa::Message {
            list_message: buffa::MessageField::some(Default::default()),
            ..Default::default()
        };
        let got = inbound("alice", &info, &odd, 5).expect("kept").message;
        assert_eq!(got.kind, MessageKind::Unknown);
    }
}
