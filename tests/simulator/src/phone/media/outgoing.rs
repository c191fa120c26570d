//! From an upload to the protobuf of a message, and the wrappers that WhatsApp puts around messages.

use waproto::buffa::MessageField;
use waproto::whatsapp as wa;

use super::{Attachment, FileKind, Uploaded, decode};

/// The preview that a phone makes: eight grey pixels squared, as a baseline JPEG.
const THUMBNAIL: &[u8] = include_bytes!("thumbnail.jpg");
/// Bars of a voice note's waveform.
const WAVEFORM: usize = 64;

macro_rules! file_message {
    ($kind:ident, $file:expr, $up:expr, $mimetype:expr, $now:expr, { $($field:ident: $value:expr),* $(,)? }) => {
        MessageField::some(wa::message::$kind {
            url: Some($up.stored.url.clone()),
            direct_path: Some(
                $file
                    .direct_path
                    .clone()
                    .unwrap_or_else(|| $up.stored.direct_path.clone()),
            ),
            mimetype: Some($mimetype),
            media_key: Some($up.key().to_vec()),
            media_key_timestamp: Some($now),
            file_sha256: Some($up.sha256.to_vec()),
            file_enc_sha256: Some($up.stored.sha256.to_vec()),
            file_length: Some($file.file_length.unwrap_or($up.len)),
            $($field: $value,)*
            ..Default::default()
        })
    };
}

/// The message about a file that is uploaded.
pub(in crate::phone) fn fill(
    kind: FileKind,
    file: &Attachment,
    up: &Uploaded,
    view_once: bool,
    now_ms: u64,
) -> wa::Message {
    let now = i64::try_from(now_ms / 1000).unwrap_or(i64::MAX);
    let mimetype = file
        .mimetype
        .clone()
        .unwrap_or_else(|| kind.mimetype(file).to_owned());
    let thumbnail = || {
        let given = file.thumbnail.as_deref().and_then(|it| decode(it).ok());
        Some(given.unwrap_or_else(|| THUMBNAIL.to_vec()))
    };
    let once = view_once.then_some(true);
    let mut message = wa::Message::default();
    match kind {
        FileKind::Image => {
            message.image_message = file_message!(ImageMessage, file, up, mimetype, now, {
                caption: file.caption.clone(),
                width: Some(file.width.unwrap_or(640)),
                height: Some(file.height.unwrap_or(480)),
                jpeg_thumbnail: thumbnail(),
                view_once: once,
            });
        }
        FileKind::Video => {
            let video = file_message!(VideoMessage, file, up, mimetype, now, {
                caption: file.caption.clone(),
                width: Some(file.width.unwrap_or(640)),
                height: Some(file.height.unwrap_or(480)),
                seconds: Some(file.seconds.unwrap_or(1)),
                gif_playback: file.gif.then_some(true),
                jpeg_thumbnail: thumbnail(),
                streaming_sidecar: up.sidecar.clone(),
                view_once: once,
            });
            match file.note {
                true => message.ptv_message = video,
                false => message.video_message = video,
            }
        }
        FileKind::Audio => {
            message.audio_message = file_message!(AudioMessage, file, up, mimetype, now, {
                seconds: Some(file.seconds.unwrap_or(1)),
                ptt: Some(file.ptt),
                waveform: file.ptt.then(|| waveform(up)),
                streaming_sidecar: up.sidecar.clone(),
                view_once: once,
            });
        }
        FileKind::Document => {
            let name = file.file_name.clone().unwrap_or_else(|| "file".to_owned());
            message.document_message = file_message!(DocumentMessage, file, up, mimetype, now, {
                title: Some(name.clone()),
                file_name: Some(name),
                page_count: file.page_count,
                caption: file.caption.clone(),
                jpeg_thumbnail: file.thumbnail.as_ref().and_then(|_| thumbnail()),
            });
        }
        FileKind::Sticker => {
            message.sticker_message = file_message!(StickerMessage, file, up, mimetype, now, {
                width: Some(file.width.unwrap_or(512)),
                height: Some(file.height.unwrap_or(512)),
                is_animated: Some(file.animated),
                sticker_sent_ts: i64::try_from(now_ms).ok(),
            });
        }
    }
    message
}

/// Some bars between 0 and 100: no phone shows where they come from.
fn waveform(up: &Uploaded) -> Vec<u8> {
    up.sha256
        .iter()
        .cycle()
        .take(WAVEFORM)
        .map(|byte| byte % 101)
        .collect()
}

/// The same message with another caption; `None` if it is none that has a caption.
pub(in crate::phone) fn recaption(message: &wa::Message, caption: &str) -> Option<wa::Message> {
    let mut message = message.clone();
    let caption = Some(caption.to_owned());
    if let Some(image) = message.image_message.as_option_mut() {
        image.caption = caption;
    } else if let Some(video) = message.video_message.as_option_mut() {
        video.caption = caption;
    } else if let Some(document) = message.document_message.as_option_mut() {
        document.caption = caption;
    } else {
        return None;
    }
    message.message_context_info = MessageField::none();
    Some(message)
}
