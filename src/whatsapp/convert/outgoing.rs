//! What goes out, as WhatsApp's messages.

use whatsapp_rust::buffa::MessageField;
use whatsapp_rust::proto_helpers::MessageBuilderExt as _;
use whatsapp_rust::wacore::proto_helpers::build_reaction_message;
use whatsapp_rust::waproto::whatsapp as wa;

use crate::clock::Millis;
use crate::jid::ChatJid;
use crate::media::MediaKind;
use crate::message::{Message, MessageKind};
use crate::store::outbox::{FileFacts, Upload};

/// What a message carries besides its content.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    pub mentions: &'a [ChatJid],
    /// The stored message that it answers.
    pub quoted: Option<&'a Message>,
    /// The chat of that message, if it is another one.
    pub quoted_chat: Option<&'a str>,
}

impl Context<'_> {
    fn build(&self) -> Option<wa::ContextInfo> {
        if self.mentions.is_empty() && self.quoted.is_none() {
            return None;
        }
        let mut context = wa::ContextInfo {
            mentioned_jid: self.mentions.iter().map(ChatJid::to_string).collect(),
            ..Default::default()
        };
        if let Some(quoted) = self.quoted {
            context.stanza_id = Some(quoted.message_id.clone());
            context.participant = Some(wire_sender(quoted).to_owned());
            context.quoted_message = MessageField::some(quotation(quoted));
            context.remote_jid = self.quoted_chat.map(str::to_owned);
        }
        Some(context)
    }
}

/// What a client shows above a reply: the quoted message's kind and words. It has the message itself,
/// so the file's keys are left out.
fn quotation(quoted: &Message) -> wa::Message {
    let mut message = wa::Message::default();
    let mimetype = quoted.media_mimetype.clone();
    let caption = quoted.caption.clone();
    macro_rules! quote {
        ($kind:ident { $($field:ident: $value:expr),* $(,)? }) => {
            MessageField::some(wa::message::$kind {
                $($field: $value,)*
                ..Default::default()
            })
        };
    }
    match quoted.kind {
        MessageKind::Image => {
            message.image_message = quote!(ImageMessage {
                mimetype: mimetype,
                caption: caption,
            });
        }
        MessageKind::Video => {
            message.video_message = quote!(VideoMessage {
                mimetype: mimetype,
                caption: caption,
            });
        }
        MessageKind::Audio | MessageKind::Voice => {
            message.audio_message = quote!(AudioMessage {
                mimetype: mimetype,
                ptt: Some(quoted.kind == MessageKind::Voice),
            });
        }
        MessageKind::Document => {
            message.document_message = quote!(DocumentMessage {
                mimetype: mimetype,
                title: quoted.media_file_name.clone(),
                file_name: quoted.media_file_name.clone(),
                caption: caption,
            });
        }
        MessageKind::Sticker => {
            message.sticker_message = quote!(StickerMessage { mimetype: mimetype });
        }
        MessageKind::Location => {
            let place = quoted.location.as_ref();
            message.location_message = quote!(LocationMessage {
                degrees_latitude: place.map(|p| p.latitude),
                degrees_longitude: place.map(|p| p.longitude),
                name: place.and_then(|p| p.name.clone()),
                address: place.and_then(|p| p.address.clone()),
            });
        }
        MessageKind::Contact => {
            let card = quoted.contacts.as_ref().and_then(|cards| cards.first());
            message.contact_message = quote!(ContactMessage {
                display_name: card.map(|card| card.name.clone()),
                vcard: card.map(|card| card.vcard.clone()),
            });
        }
        MessageKind::Poll => {
            message.poll_creation_message_v3 = quote!(PollCreationMessage {
                name: quoted.text.clone(),
            });
        }
        MessageKind::Text
        | MessageKind::Reaction
        | MessageKind::Unknown
        | MessageKind::Waiting
        | MessageKind::Unavailable => {
            return wa::Message::text(quoted.text.as_deref().unwrap_or_default());
        }
    }
    message
}

/// The sender as the chat knows him.
fn wire_sender(message: &Message) -> &str {
    message.wire_lid.as_deref().unwrap_or(&message.sender)
}

/// A text.
pub fn text(text: &str, context: Context<'_>) -> wa::Message {
    match context.build() {
        Some(context) => wa::Message::text_with_context(text, context),
        None => wa::Message::text(text),
    }
}

/// How a medium is to be shown.
#[derive(Debug, Clone, Copy)]
pub struct Showing<'a> {
    pub kind: MediaKind,
    pub caption: Option<&'a str>,
    pub file_name: Option<&'a str>,
    /// As a voice note.
    pub ptt: bool,
    /// As a looping clip.
    pub gif_playback: bool,
}

/// A medium that was uploaded.
pub fn medium(
    upload: &Upload,
    facts: &FileFacts,
    showing: Showing<'_>,
    context: Context<'_>,
) -> wa::Message {
    let context_info = context
        .build()
        .map_or_else(Default::default, MessageField::some);
    let mut message = wa::Message::default();
    macro_rules! medium {
        ($kind:ident { $($field:ident: $value:expr,)* }) => {
            MessageField::some(wa::message::$kind {
                url: Some(upload.url.clone()),
                direct_path: Some(upload.direct_path.clone()),
                media_key: Some(upload.media_key.to_vec()),
                file_sha256: Some(upload.file_sha256.to_vec()),
                file_enc_sha256: Some(upload.file_enc_sha256.to_vec()),
                file_length: Some(upload.file_length),
                media_key_timestamp: Some(upload.media_key_timestamp),
                mimetype: Some(facts.mimetype.clone()),
                context_info,
                $($field: $value,)*
                ..Default::default()
            })
        };
    }
    let caption = showing.caption.map(str::to_owned);
    match showing.kind {
        MediaKind::Image => {
            message.image_message = medium!(ImageMessage {
                caption: caption,
                width: facts.width,
                height: facts.height,
                jpeg_thumbnail: facts.thumbnail.clone(),
            });
        }
        MediaKind::Video => {
            message.video_message = medium!(VideoMessage {
                caption: caption,
                width: facts.width,
                height: facts.height,
                seconds: facts.seconds,
                jpeg_thumbnail: facts.thumbnail.clone(),
                gif_playback: showing.gif_playback.then_some(true),
                streaming_sidecar: upload.streaming_sidecar.clone(),
            });
        }
        MediaKind::Audio => {
            message.audio_message = medium!(AudioMessage {
                seconds: facts.seconds,
                ptt: Some(showing.ptt),
                waveform: facts.waveform.clone(),
                streaming_sidecar: upload.streaming_sidecar.clone(),
            });
        }
        MediaKind::Document => {
            let name = showing.file_name.map(str::to_owned);
            let has_caption = caption.is_some();
            let document = medium!(DocumentMessage {
                title: name.clone(),
                file_name: name,
                caption: caption,
            });
            if has_caption {
                // As WhatsApp Web wraps it.
                let inner = wa::Message {
                    document_message: document,
                    ..Default::default()
                };
                message.document_with_caption_message =
                    MessageField::some(wa::message::FutureProofMessage {
                        message: MessageField::some(inner),
                    });
            } else {
                message.document_message = document;
            }
        }
        MediaKind::Sticker => {
            message.sticker_message = medium!(StickerMessage {
                width: facts.width,
                height: facts.height,
                is_animated: Some(facts.animated),
            });
        }
    }
    message
}

/// The key by which others know a stored message of `chat`.
fn key_of(chat: &ChatJid, target: &Message) -> wa::MessageKey {
    wa::MessageKey {
        remote_jid: Some(chat.to_string()),
        from_me: Some(target.from_me),
        id: Some(target.message_id.clone()),
        participant: (!target.from_me && !chat.is_person()).then(|| wire_sender(target).to_owned()),
    }
}

/// A reaction to a stored message; an empty emoji takes it back.
pub fn reaction(chat: &ChatJid, target: &Message, emoji: &str, now: Millis) -> wa::Message {
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    build_reaction_message(key_of(chat, target), emoji, now)
}

/// The deletion of a stored message for everyone: an own one, or as the admin of a group another's.
pub fn deletion(chat: &ChatJid, target: &Message) -> wa::Message {
    wa::Message {
        protocol_message: MessageField::some(wa::message::ProtocolMessage {
            key: MessageField::some(key_of(chat, target)),
            r#type: Some(wa::message::protocol_message::Type::Revoke),
            ..Default::default()
        }),
        ..Default::default()
    }
}
