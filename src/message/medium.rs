//! Messages with a file: images, videos, audio and voice notes, documents, stickers.

use serde::{Deserialize, Serialize};

use super::context::Context;
use super::kind::MessageKind;
use super::wire::{MessageField, wa};
use super::{Draft, Message};
use crate::clock::Millis;
use crate::jid::ChatJid;
use crate::media::{Look, MediaKind, MediaRequest, Spooled, base64_bytes};

/// Bars of a voice note's waveform.
const WAVEFORM: usize = 64;
/// The name in the addresses of files that WhatsApp's clients write.
const HOST: &str = "https://mmg.whatsapp.net";

/// Where WhatsApp keeps a file, and how it is decrypted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Remote {
    /// In the sender's words: `whatsapp` checks that it leads to WhatsApp's media servers. Empty if unknown: the phone
    /// can be asked.
    pub direct_path: String,
    pub media_key: Vec<u8>,
    pub file_enc_sha256: Vec<u8>,
    /// The rest is known of files that this server uploaded, until their message has reached WhatsApp.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Unix seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_key_timestamp: Option<i64>,
    /// Of sounds and videos, to play them while they are fetched.
    #[serde(
        default,
        with = "base64_bytes",
        skip_serializing_if = "Option::is_none"
    )]
    pub streaming_sidecar: Option<Vec<u8>>,
}

/// A medium of a message, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Medium {
    /// Also which keys WhatsApp uses.
    pub kind: MediaKind,
    pub message_id: String,
    /// The chat's JID when the message came.
    pub chat_id: String,
    /// The chat and, in a group, the sender as WhatsApp named them.
    pub wire_chat: String,
    pub wire_sender: Option<String>,
    pub from_me: bool,
    pub mimetype: String,
    pub file_name: Option<String>,
    /// Bytes, as the sender says until it is stored.
    pub size: u64,
    /// Of the content; empty if the sender did not say.
    pub sha256: Vec<u8>,
    pub remote: Option<Remote>,
    /// What recipients see before they fetch it; only while its message is on its way to WhatsApp.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub look: Option<Box<Look>>,
    /// When its file was stored here.
    #[serde(default)]
    pub stored_at: Option<Millis>,
    pub created_at: Millis,
}

/// A medium that comes with a new message; the message says the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMedium {
    pub kind: MediaKind,
    pub wire_chat: String,
    pub wire_sender: Option<String>,
    pub mimetype: String,
    pub file_name: Option<String>,
    pub size: u64,
    pub sha256: Vec<u8>,
    pub remote: Option<Remote>,
    pub look: Option<Box<Look>>,
    /// Whether it is fetched without being asked for.
    pub wanted: bool,
}

/// A file to send. `message` has what is said of it: its caption, whether it can be opened once.
pub fn draft(
    request: MediaRequest,
    file: Spooled,
    message: Message,
    mentions: Vec<ChatJid>,
    quoted: Option<String>,
) -> Draft {
    let kind = match request.kind {
        MediaKind::Image => MessageKind::Image,
        MediaKind::Video => MessageKind::Video,
        MediaKind::Audio if request.ptt => MessageKind::Voice,
        MediaKind::Audio => MessageKind::Audio,
        MediaKind::Document => MessageKind::Document,
        MediaKind::Sticker => MessageKind::Sticker,
    };
    let message = Message {
        kind,
        video_note: kind == MessageKind::Video && request.note,
        ..message
    };
    Draft::Message {
        message: Box::new(message),
        file: Some((request, file)),
        mentions,
        quoted,
    }
}

/// Sets kind and caption, and `file`.
pub fn decode<'a>(
    base: &'a wa::Message,
    message: &mut Message,
    file: &mut Option<NewMedium>,
) -> Option<&'a MessageField<wa::ContextInfo>> {
    macro_rules! found {
        ($kind:expr, $file:expr, $usual:expr, $m:expr, $file_name:expr, $caption:expr) => {{
            message.kind = $kind;
            let caption: Option<&String> = $caption;
            message.caption = caption.filter(|caption| !caption.is_empty()).cloned();
            *file = Some(NewMedium {
                kind: $file,
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
                look: None,
                wanted: false,
            });
            Some(&$m.context_info)
        }};
    }
    use MessageKind::{Audio, Document, Image, Sticker, Video, Voice};
    let videos = [&base.video_message, &base.ptv_message];
    if let Some(m) = base.image_message.as_option() {
        let caption = m.caption.as_ref();
        found!(Image, MediaKind::Image, "image/jpeg", m, None, caption)
    } else if let Some(m) = videos.into_iter().find_map(MessageField::as_option) {
        let caption = m.caption.as_ref();
        message.video_note = base.ptv_message.is_set();
        found!(Video, MediaKind::Video, "video/mp4", m, None, caption)
    } else if let Some(m) = base.audio_message.as_option() {
        let kind = if m.ptt == Some(true) { Voice } else { Audio };
        found!(kind, MediaKind::Audio, "audio/ogg", m, None, None)
    } else if let Some(m) = base.document_message.as_option() {
        let (caption, usual) = (m.caption.as_ref(), "application/octet-stream");
        let name = m.file_name.clone().or_else(|| m.title.clone());
        message.page_count = m.page_count.filter(|pages| *pages > 0);
        found!(Document, MediaKind::Document, usual, m, name, caption)
    } else if let Some(m) = base.sticker_message.as_option() {
        found!(Sticker, MediaKind::Sticker, "image/webp", m, None, None)
    } else {
        None
    }
}

/// What a sender says of how a file looks, without its thumbnail: what is needed to forward it.
pub fn look(base: &wa::Message) -> Option<Box<Look>> {
    let mut look = Look::default();
    let videos = [&base.video_message, &base.ptv_message];
    if let Some(m) = base.image_message.as_option() {
        (look.width, look.height) = (m.width, m.height);
    } else if let Some(m) = videos.into_iter().find_map(MessageField::as_option) {
        (look.width, look.height, look.seconds) = (m.width, m.height, m.seconds);
        look.gif_playback = m.gif_playback.unwrap_or(false);
    } else if let Some(m) = base.audio_message.as_option() {
        look.seconds = m.seconds;
        let bars = m.waveform.as_ref().filter(|bars| bars.len() <= WAVEFORM);
        look.waveform = bars.cloned();
    } else if let Some(m) = base.sticker_message.as_option() {
        (look.width, look.height) = (m.width, m.height);
        look.animated = m.is_animated.unwrap_or(false);
    }
    (look != Look::default()).then(|| Box::new(look))
}

/// Where a file is, as its sender says; `None` without its key.
fn remote(
    direct_path: Option<&String>,
    media_key: Option<&Vec<u8>>,
    file_enc_sha256: Option<&Vec<u8>>,
) -> Option<Remote> {
    Some(Remote {
        direct_path: direct_path.cloned().unwrap_or_default(),
        media_key: media_key?.clone(),
        file_enc_sha256: file_enc_sha256?.clone(),
        url: None,
        media_key_timestamp: None,
        streaming_sidecar: None,
    })
}

/// A stored message with its uploaded file.
///
/// # Errors
/// If it was not uploaded.
pub fn encode(
    message: &Message,
    file: Option<&Medium>,
    context: Context<'_>,
) -> Result<wa::Message, &'static str> {
    let uploaded = file.and_then(|file| Some((file, file.remote.as_ref()?)));
    let Some((file, remote)) = uploaded else {
        return Err("its file is not there");
    };
    let look = file.look.as_deref().cloned().unwrap_or_default();
    let context_info = context.encode();
    let view_once = message.view_once.then_some(true);
    // It is kept until its message has gone; clients go by the path.
    let url = remote.url.clone();
    let url = url.unwrap_or_else(|| format!("{HOST}{}", remote.direct_path));
    let mut encoded = wa::Message::default();
    macro_rules! encoded {
        ($kind:ident { $($field:ident: $value:expr,)* }) => {
            MessageField::some(wa::message::$kind {
                url: Some(url.clone()),
                direct_path: Some(remote.direct_path.clone()),
                media_key: Some(remote.media_key.clone()),
                file_sha256: Some(file.sha256.clone()),
                file_enc_sha256: Some(remote.file_enc_sha256.clone()),
                file_length: Some(file.size),
                media_key_timestamp: remote.media_key_timestamp,
                mimetype: Some(file.mimetype.clone()),
                context_info,
                $($field: $value,)*
                ..Default::default()
            })
        };
    }
    let caption = message.caption.clone();
    match file.kind {
        MediaKind::Image => {
            encoded.image_message = encoded!(ImageMessage {
                caption: caption,
                width: look.width,
                height: look.height,
                jpeg_thumbnail: look.thumbnail,
                view_once: view_once,
            });
        }
        MediaKind::Video => {
            let video = encoded!(VideoMessage {
                caption: caption,
                width: look.width,
                height: look.height,
                seconds: look.seconds,
                jpeg_thumbnail: look.thumbnail,
                gif_playback: look.gif_playback.then_some(true),
                streaming_sidecar: remote.streaming_sidecar.clone(),
                view_once: view_once,
            });
            match message.video_note {
                true => encoded.ptv_message = video,
                false => encoded.video_message = video,
            }
        }
        MediaKind::Audio => {
            encoded.audio_message = encoded!(AudioMessage {
                seconds: look.seconds,
                ptt: Some(message.kind == MessageKind::Voice),
                waveform: look.waveform,
                streaming_sidecar: remote.streaming_sidecar.clone(),
                view_once: view_once,
            });
        }
        MediaKind::Document => {
            let has_caption = caption.is_some();
            let document = encoded!(DocumentMessage {
                title: file.file_name.clone(),
                file_name: file.file_name.clone(),
                page_count: message.page_count,
                caption: caption,
            });
            if has_caption {
                // As WhatsApp Web wraps it.
                encoded.document_with_caption_message = wrapped(wa::Message {
                    document_message: document,
                    ..Default::default()
                });
            } else {
                encoded.document_message = document;
            }
        }
        MediaKind::Sticker => {
            encoded.sticker_message = encoded!(StickerMessage {
                width: look.width,
                height: look.height,
                is_animated: Some(look.animated),
            });
        }
    }
    Ok(match message.view_once {
        true => once(message.kind, encoded),
        false => encoded,
    })
}

fn wrapped(message: wa::Message) -> MessageField<wa::message::FutureProofMessage> {
    MessageField::some(wa::message::FutureProofMessage {
        message: MessageField::some(message),
    })
}

/// A view-once message in its wrapper. Phones have another one for voice notes.
fn once(kind: MessageKind, message: wa::Message) -> wa::Message {
    let wrapper = wrapped(message);
    match kind {
        MessageKind::Voice => wa::Message {
            view_once_message_v2_extension: wrapper,
            ..Default::default()
        },
        _ => wa::Message {
            view_once_message_v2: wrapper,
            ..Default::default()
        },
    }
}

pub fn quotation(quoted: &Message) -> wa::Message {
    let mut message = wa::Message::default();
    let mimetype = quoted.media_mimetype.clone();
    let caption = quoted.caption.clone();
    macro_rules! quote {
        ($kind:ident { $($field:ident: $value:expr),* $(,)? }) => {
            MessageField::some(wa::message::$kind {
                mimetype,
                $($field: $value,)*
                ..Default::default()
            })
        };
    }
    match quoted.kind.file() {
        Some(MediaKind::Image) => {
            message.image_message = quote!(ImageMessage { caption: caption });
        }
        Some(MediaKind::Video) => {
            let video = quote!(VideoMessage { caption: caption });
            match quoted.video_note {
                true => message.ptv_message = video,
                false => message.video_message = video,
            }
        }
        Some(MediaKind::Audio) => {
            let ptt = Some(quoted.kind == MessageKind::Voice);
            message.audio_message = quote!(AudioMessage { ptt: ptt });
        }
        Some(MediaKind::Document) => {
            message.document_message = quote!(DocumentMessage {
                title: quoted.media_file_name.clone(),
                file_name: quoted.media_file_name.clone(),
                caption: caption,
            });
        }
        Some(MediaKind::Sticker) => message.sticker_message = quote!(StickerMessage {}),
        None => {}
    }
    message
}
