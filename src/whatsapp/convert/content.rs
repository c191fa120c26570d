//! What is inside of a message: its kind, its words, its medium.

use whatsapp_rust::waproto::{codec, whatsapp as wa};

use super::bare_text;
use crate::message::{Contact, Location, Message, MessageKind, Poll, Quoted};
use crate::store::media::{NewMedium, Remote};
use crate::whatsapp::remote::is_path;

/// Wrappers within each other that are looked through.
const WRAPPERS: usize = 8;

/// The message within whatever wraps it: sent by another device, ephemeral, view-once, a document
/// with a caption, edited, part of an album, …
pub fn unwrap(message: &wa::Message) -> &wa::Message {
    let mut at = message;
    for _ in 0..WRAPPERS {
        let inner = at
            .device_sent_message
            .as_option()
            .and_then(|m| m.message.as_option())
            .or_else(|| {
                [
                    &at.ephemeral_message,
                    &at.view_once_message,
                    &at.view_once_message_v2,
                    &at.view_once_message_v2_extension,
                    &at.document_with_caption_message,
                    &at.edited_message,
                    &at.group_mentioned_message,
                    &at.bot_invoke_message,
                    &at.lottie_sticker_message,
                    &at.associated_child_message,
                    &at.event_cover_image,
                    &at.poll_creation_message_v4,
                    &at.poll_creation_option_image_message,
                    &at.status_mention_message,
                    &at.group_status_message,
                    &at.group_status_message_v2,
                    &at.spoiler_message,
                    &at.question_message,
                    &at.question_reply_message,
                ]
                .into_iter()
                .find_map(|wrapper| wrapper.as_option()?.message.as_option())
            });
        match inner {
            Some(inner) => at = inner,
            None => return at,
        }
    }
    at
}

/// Whether the message says something to a person, rather than to a device.
pub fn speaks_to_people(base: &wa::Message) -> bool {
    if base.protocol_message.is_set() {
        // Deletions and edits of messages were seen to before.
        return false;
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

pub fn kind(base: &wa::Message) -> MessageKind {
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
    } else if poll(base).is_some() {
        MessageKind::Poll
    } else if base.reaction_message.is_set() {
        MessageKind::Reaction
    } else {
        MessageKind::Unknown
    }
}

/// The text of a text message; a poll's question.
pub fn text(base: &wa::Message) -> Option<String> {
    base.conversation
        .clone()
        .or_else(|| base.extended_text_message.as_option()?.text.clone())
        .or_else(|| poll(base)?.name.clone())
}

/// The caption of a medium.
pub fn caption(base: &wa::Message) -> Option<String> {
    let image = base.image_message.as_option();
    let video = base
        .video_message
        .as_option()
        .or_else(|| base.ptv_message.as_option());
    let document = base.document_message.as_option();
    image
        .and_then(|m| m.caption.clone())
        .or_else(|| video.and_then(|m| m.caption.clone()))
        .or_else(|| document.and_then(|m| m.caption.clone()))
        .filter(|caption| !caption.is_empty())
}

/// Where, who and what to vote for.
pub fn add_details(message: &mut Message, base: &wa::Message) {
    message.location = location(base);
    message.contacts = contacts(base);
    message.poll = poll(base).map(|poll| Poll {
        name: poll.name.clone().unwrap_or_default(),
        options: poll
            .options
            .iter()
            .filter_map(|option| option.option_name.clone())
            .collect(),
    });
}

fn location(base: &wa::Message) -> Option<Location> {
    if let Some(place) = base.location_message.as_option() {
        return Some(Location {
            latitude: place.degrees_latitude?,
            longitude: place.degrees_longitude?,
            name: place.name.clone(),
            address: place.address.clone(),
        });
    }
    let live = base.live_location_message.as_option()?;
    Some(Location {
        latitude: live.degrees_latitude?,
        longitude: live.degrees_longitude?,
        name: live.caption.clone(),
        address: None,
    })
}

fn contacts(base: &wa::Message) -> Option<Vec<Contact>> {
    let card = |contact: &wa::message::ContactMessage| Contact {
        name: contact.display_name.clone().unwrap_or_default(),
        vcard: contact.vcard.clone().unwrap_or_default(),
    };
    if let Some(contact) = base.contact_message.as_option() {
        return Some(vec![card(contact)]);
    }
    let several = base.contacts_array_message.as_option()?;
    Some(several.contacts.iter().map(card).collect())
}

fn poll(base: &wa::Message) -> Option<&wa::message::PollCreationMessage> {
    base.poll_creation_message
        .as_option()
        .or_else(|| base.poll_creation_message_v2.as_option())
        .or_else(|| base.poll_creation_message_v3.as_option())
        .or_else(|| base.poll_creation_message_v5.as_option())
}

/// The medium of a message, without its chat.
pub fn medium(base: &wa::Message) -> Option<NewMedium> {
    macro_rules! medium {
        ($kind:literal, $usual:literal, $m:expr, $file_name:expr) => {
            Some(NewMedium {
                kind: $kind,
                wire_chat: String::new(),
                wire_sender: None,
                mimetype: $m.mimetype.clone().unwrap_or_else(|| $usual.to_owned()),
                file_name: $file_name,
                size: $m.file_length.unwrap_or(0),
                sha256: $m.file_sha256.clone().unwrap_or_default(),
                remote: remote(
                    $m.direct_path.as_ref(),
                    $m.media_key.as_ref(),
                    $m.file_enc_sha256.as_ref(),
                ),
                wanted: false,
            })
        };
    }
    if let Some(m) = base.image_message.as_option() {
        medium!("image", "image/jpeg", m, None)
    } else if let Some(m) = base
        .video_message
        .as_option()
        .or_else(|| base.ptv_message.as_option())
    {
        medium!("video", "video/mp4", m, None)
    } else if let Some(m) = base.audio_message.as_option() {
        medium!("audio", "audio/ogg", m, None)
    } else if let Some(m) = base.document_message.as_option() {
        let name = m.file_name.clone().or_else(|| m.title.clone());
        medium!("document", "application/octet-stream", m, name)
    } else if let Some(m) = base.sticker_message.as_option() {
        medium!("sticker", "image/webp", m, None)
    } else {
        None
    }
}

/// Where a file is; `None` without its key, or if the path that the sender wrote would lead elsewhere than to
/// WhatsApp's media servers. Without a path the phone can be asked for one.
fn remote(
    direct_path: Option<&String>,
    media_key: Option<&Vec<u8>>,
    file_enc_sha256: Option<&Vec<u8>>,
) -> Option<Remote> {
    let direct_path = direct_path.map_or("", String::as_str);
    if !direct_path.is_empty() && !is_path(direct_path) {
        return None;
    }
    Some(Remote {
        direct_path: direct_path.to_owned(),
        media_key: media_key?.clone(),
        file_enc_sha256: file_enc_sha256?.clone(),
    })
}

/// The context of the content, where the kinds that carry one keep it.
pub fn context_info(base: &wa::Message) -> Option<&wa::ContextInfo> {
    macro_rules! context {
        ($($field:ident),*) => {
            [$(base.$field.as_option().and_then(|m| m.context_info.as_option()),)*]
        };
    }
    context!(
        extended_text_message,
        image_message,
        video_message,
        ptv_message,
        audio_message,
        document_message,
        sticker_message,
        location_message,
        live_location_message,
        contact_message,
        contacts_array_message,
        poll_creation_message,
        poll_creation_message_v2,
        poll_creation_message_v3
    )
    .into_iter()
    .find_map(|context| context)
}

pub fn quoted(context: &wa::ContextInfo) -> Option<Quoted> {
    let message_id = context.stanza_id.clone()?;
    let inner = context.quoted_message.as_option().map(unwrap);
    Some(Quoted {
        message_id,
        chat_id: context.remote_jid.as_deref().map(bare_text),
        participant: context.participant.as_deref().map(bare_text),
        text: inner.and_then(|m| text(m).or_else(|| caption(m))),
        has_media: inner.is_some_and(|m| medium(m).is_some()),
    })
}
