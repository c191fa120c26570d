//! Files that reach the phone: is everything there that WhatsApp's clients need, and is it true?

use serde::Serialize;
use sha2::Digest as _;
use wacore::download::MediaType;
use wacore::send::{media_type_from_message, stanza_type_from_message};
use wacore_binary::Node;
use waproto::whatsapp as wa;

use super::sticker::{self, Pack};
use super::{Measure, MediaFile, Uploaded};
use crate::directory::Directory;
use crate::phone::describe::base_of;
use crate::phone::{Phone, attr};

/// Bars of a voice note's waveform, each 0 to 100.
const WAVEFORM: usize = 64;

/// The file of a message, as the phone has it.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Media {
    /// `mimetype` of the message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mimetype: Option<String>,
    /// SHA-256 of the decrypted file, hexadecimal; absent if it could not be decrypted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Bytes of the decrypted file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// A document's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_name: Option<String>,
    /// A document's title.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The number of a document's pages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page_count: Option<u32>,
    /// Duration of audio and video.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u32>,
    /// Whether an audio is a voice note.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ptt: Option<bool>,
    /// Pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    /// Pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
    /// Whether a video plays like a GIF, or a sticker moves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub animated: Option<bool>,
    /// Whether a video is a round video note.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub note: bool,
    /// Whether there is a preview (a JPEG, of a sticker a PNG).
    pub thumbnail: bool,
    /// Whether a voice note has its bars.
    pub waveform: bool,
    /// The pack of a sticker that names one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pack: Option<Pack>,
    /// `mediatype` of the stanza.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mediatype: Option<String>,
    /// Why a client would not show it. Absent if everything is as it must be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The encrypted file, once downloaded.
    #[serde(skip)]
    pub file: Option<MediaFile>,
}

/// What all messages with a file have in common.
struct Fields<'a> {
    media_type: MediaType,
    media_key: Option<&'a [u8]>,
    direct_path: Option<&'a str>,
    sha256: Option<&'a [u8]>,
    enc_sha256: Option<&'a [u8]>,
    len: Option<u64>,
}

macro_rules! fields {
    ($message:expr, $media_type:expr) => {
        Fields {
            media_type: $media_type,
            media_key: $message.media_key.as_deref(),
            direct_path: $message.direct_path.as_deref(),
            sha256: $message.file_sha256.as_deref(),
            enc_sha256: $message.file_enc_sha256.as_deref(),
            len: $message.file_length,
        }
    };
}

/// What the message says about its file. `None` if it has none.
fn read(base: &wa::Message, problems: &mut Vec<String>) -> Option<(Media, MediaType)> {
    let mut out = Media::default();
    let mut preview = |bytes: &Option<Vec<u8>>, magic: &[u8], what: &str| match bytes.as_deref() {
        None | Some([]) => false,
        Some(bytes) if bytes.starts_with(magic) => true,
        Some(_) => {
            problems.push(format!("the thumbnail is no {what}"));
            false
        }
    };
    let jpeg: &[u8] = &[0xff, 0xd8, 0xff];
    let media_type = if let Some(m) = base.image_message.as_option() {
        out.mimetype = m.mimetype.clone();
        (out.width, out.height) = (m.width, m.height);
        out.thumbnail = preview(&m.jpeg_thumbnail, jpeg, "JPEG");
        MediaType::Image
    } else if let Some(m) = base
        .video_message
        .as_option()
        .or_else(|| base.ptv_message.as_option())
    {
        out.mimetype = m.mimetype.clone();
        (out.width, out.height, out.seconds) = (m.width, m.height, m.seconds);
        out.animated = Some(m.gif_playback.unwrap_or(false));
        out.note = base.ptv_message.is_set();
        out.thumbnail = preview(&m.jpeg_thumbnail, jpeg, "JPEG");
        MediaType::Video
    } else if let Some(m) = base.audio_message.as_option() {
        out.mimetype = m.mimetype.clone();
        out.seconds = m.seconds;
        out.ptt = Some(m.ptt.unwrap_or(false));
        match m.waveform.as_deref() {
            None | Some([]) => {}
            Some(bars) if bars.len() == WAVEFORM && bars.iter().all(|bar| *bar <= 100) => {
                out.waveform = true;
            }
            Some(bars) => problems.push(format!(
                "the waveform has {} bars, or one is above 100",
                bars.len()
            )),
        }
        MediaType::Audio
    } else if let Some(m) = base.document_message.as_option() {
        out.mimetype = m.mimetype.clone();
        (out.file_name, out.title) = (m.file_name.clone(), m.title.clone());
        out.page_count = m.page_count;
        out.thumbnail = preview(&m.jpeg_thumbnail, jpeg, "JPEG");
        if m.file_name.as_deref().is_none_or(str::is_empty) {
            problems.push("fileName is missing".to_owned());
        }
        MediaType::Document
    } else if let Some(m) = base.sticker_message.as_option() {
        out.mimetype = m.mimetype.clone();
        (out.width, out.height) = (m.width, m.height);
        out.animated = Some(m.is_animated.unwrap_or(false));
        out.thumbnail = preview(&m.png_thumbnail, b"\x89PNG", "PNG");
        MediaType::Sticker
    } else {
        return None;
    };
    if out.mimetype.as_deref().is_none_or(str::is_empty) {
        problems.push("mimetype is missing".to_owned());
    }
    Some((out, media_type))
}

fn fields(base: &wa::Message, media_type: MediaType) -> Option<Fields<'_>> {
    let video = || {
        base.video_message
            .as_option()
            .or_else(|| base.ptv_message.as_option())
    };
    Some(match media_type {
        MediaType::Image => fields!(base.image_message.as_option()?, media_type),
        MediaType::Video => fields!(video()?, media_type),
        MediaType::Audio => fields!(base.audio_message.as_option()?, media_type),
        MediaType::Document => fields!(base.document_message.as_option()?, media_type),
        MediaType::Sticker => fields!(base.sticker_message.as_option()?, media_type),
        _ => return None,
    })
}

impl Phone {
    /// Downloads the file of a message and checks all that can be checked about it. `None` if
    /// the message has no file.
    pub(in crate::phone) fn fetch(
        &self,
        stanza: &Node,
        message: &wa::Message,
        dir: &mut dyn Directory,
        now_ms: u64,
    ) -> Option<Box<Media>> {
        let mut problems = Vec::new();
        let base = base_of(message);
        let (mut media, media_type) = read(base, &mut problems)?;
        media.mediatype = check_stanza(stanza, message, &mut problems);
        if let Some(fields) = fields(base, media_type) {
            match download(&fields, dir, now_ms) {
                Ok(file) => check_file(&fields, file, &mut media, &mut problems),
                Err(problem) => problems.push(problem),
            }
        }
        if !problems.is_empty() {
            let problems = problems.join("; ");
            log::warn!("phone {}: a file: {problems}", self.number());
            media.error = Some(problems);
        }
        Some(Box::new(media))
    }
}

/// The stanza must have its media type: WhatsApp's server drops media without a `mediatype`.
fn check_stanza(
    stanza: &Node,
    message: &wa::Message,
    problems: &mut Vec<String>,
) -> Option<String> {
    let mediatype = stanza
        .get_children_by_tag("enc")
        .find_map(|enc| attr(enc, "mediatype"));
    let right = media_type_from_message(message);
    if mediatype.as_deref() != right {
        problems.push(format!("mediatype is {mediatype:?} and not {right:?}"));
    }
    let (kind, right) = (attr(stanza, "type"), stanza_type_from_message(message));
    if kind.as_deref() != Some(right) {
        problems.push(format!("the stanza's type is {kind:?} and not {right:?}"));
    }
    mediatype
}

fn download(
    fields: &Fields<'_>,
    dir: &mut dyn Directory,
    now_ms: u64,
) -> Result<MediaFile, String> {
    let key = fields.media_key.ok_or("mediaKey is missing")?;
    let key = key
        .try_into()
        .map_err(|_| format!("mediaKey has {} bytes", key.len()))?;
    let path = fields
        .direct_path
        .filter(|path| !path.is_empty())
        .ok_or("directPath is missing")?;
    let blob = dir
        .media()
        .open(path, now_ms / 1000)
        .map_err(|e| format!("download: {e}"))?;
    Ok(MediaFile {
        key,
        media_type: fields.media_type,
        blob,
    })
}

fn check_file(fields: &Fields<'_>, file: MediaFile, media: &mut Media, problems: &mut Vec<String>) {
    match fields.enc_sha256 {
        None => problems.push("fileEncSha256 is missing".to_owned()),
        Some(hash) if hash != file.blob.sha256() => {
            problems.push("fileEncSha256 is another file's".to_owned());
        }
        Some(_) => {}
    }
    let mut measure = Measure::default();
    match file.decrypt(&mut measure) {
        Err(e) => problems.push(format!("decryption: {e}")),
        Ok(size) => {
            let hash = measure.hash.finalize();
            match fields.sha256 {
                None => problems.push("fileSha256 is missing".to_owned()),
                Some(told) if told != &hash[..] => {
                    problems.push("fileSha256 is another file's".to_owned());
                }
                Some(_) => {}
            }
            match fields.len {
                None => problems.push("fileLength is missing".to_owned()),
                Some(told) if told != size => {
                    problems.push(format!("fileLength is {told} and not {size}"));
                }
                Some(_) => {}
            }
            media.sha256 = Some(hex(&hash));
            media.size = Some(size);
        }
    }
    if fields.media_type == MediaType::Sticker {
        media.pack = sticker::pack(&file);
    }
    media.file = Some(file);
}

/// The record of a file that the phone itself sent.
pub(in crate::phone) fn of_upload(message: &wa::Message, uploaded: &Uploaded) -> Box<Media> {
    let read = read(base_of(message), &mut Vec::new());
    let mut media = read.map(|(media, _)| media).unwrap_or_default();
    media.mediatype = media_type_from_message(message).map(str::to_owned);
    media.sha256 = Some(hex(&uploaded.sha256));
    media.size = Some(uploaded.len);
    media.file = Some(uploaded.file.clone());
    Box::new(media)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
