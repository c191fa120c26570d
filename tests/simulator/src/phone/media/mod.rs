//! Files in messages: encrypted and uploaded as a phone does it, downloaded, checked and decrypted.
//!
//! A phone keeps the encrypted file of every message of its chats, as a phone keeps its pictures: it
//! shows it to its owner, and uploads it again when a linked device finds the link expired.

mod incoming;
mod outgoing;
mod retry;
mod sticker;

use std::io;
use std::rc::Rc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rand::Rng as _;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use wacore::download::{DownloadUtils, MediaType};
use wacore::upload::MediaEncryptor;

use super::outgoing::{Body, Outgoing};
use super::{Phone, PhoneError};
use crate::directory::Directory;
use crate::media::{Blob, Hash, Kind, MediaRef};

pub use incoming::Media;

pub(super) use incoming::of_upload;
pub(super) use outgoing::{fill, recaption};

/// Bytes that are encrypted at once.
const PIECE: usize = 16 * 1024;

/// A file to be sent.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Attachment {
    /// The content.
    pub base64: String,
    /// Its MIME type; by default the usual one of its kind.
    pub mimetype: Option<String>,
    /// The text below it (images, videos, documents).
    pub caption: Option<String>,
    /// The name of a document.
    pub file_name: Option<String>,
    /// Whether an audio is a voice note.
    pub ptt: bool,
    /// The duration of audio and video.
    pub seconds: Option<u32>,
    /// Pixels.
    pub width: Option<u32>,
    /// Pixels.
    pub height: Option<u32>,
    /// A JPEG; a grey one if absent, as a phone always makes one for pictures and videos.
    pub thumbnail: Option<String>,
    /// Whether a video plays like a GIF.
    pub gif: bool,
    /// The number of pages of a document.
    pub page_count: Option<u32>,
    /// Whether a video is a round video note.
    pub note: bool,
    /// Whether a sticker moves.
    pub animated: bool,
    /// The file length in the message, instead of the real one.
    pub file_length: Option<u64>,
    /// The path in the message, instead of the real one.
    pub direct_path: Option<String>,
}

/// The messages that have a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileKind {
    Image,
    Video,
    Audio,
    Document,
    Sticker,
}

impl FileKind {
    /// Says with which of wacore's key derivations the file is encrypted.
    fn media_type(self) -> MediaType {
        match self {
            Self::Image => MediaType::Image,
            Self::Video => MediaType::Video,
            Self::Audio => MediaType::Audio,
            Self::Document => MediaType::Document,
            Self::Sticker => MediaType::Sticker,
        }
    }

    fn mimetype(self, attachment: &Attachment) -> &'static str {
        match self {
            Self::Image => "image/jpeg",
            Self::Video => "video/mp4",
            Self::Audio if attachment.ptt => "audio/ogg; codecs=opus",
            Self::Audio => "audio/mp4",
            Self::Document => "application/octet-stream",
            Self::Sticker => "image/webp",
        }
    }
}

/// An encrypted file that a phone has, and its key.
#[derive(Debug, Clone)]
pub struct MediaFile {
    key: [u8; 32],
    media_type: MediaType,
    blob: Rc<Blob>,
}

impl MediaFile {
    /// Decrypts it, checking its MAC.
    ///
    /// # Errors
    /// When the MAC or the padding is wrong, or one of the files cannot be read or written.
    pub fn decrypt(&self, out: &mut impl io::Write) -> anyhow::Result<u64> {
        let file = self.blob.open()?;
        DownloadUtils::decrypt_stream_to_writer(file, &self.key, self.media_type, out)
    }
}

/// What an upload leaves to be written into a message.
#[derive(Debug, Clone)]
pub struct Uploaded {
    /// The file, as the phone keeps it.
    pub file: MediaFile,
    /// Where others find it.
    pub stored: MediaRef,
    /// SHA-256 of the plaintext.
    pub sha256: Hash,
    /// Bytes of the plaintext.
    pub len: u64,
    /// The MACs by which audio and video can be played while they load.
    pub sidecar: Option<Vec<u8>>,
}

impl Uploaded {
    /// The key of the file, for the message.
    pub fn key(&self) -> &[u8; 32] {
        &self.file.key
    }
}

impl Phone {
    /// Encrypts what `plain` gives with a fresh key and uploads it.
    ///
    /// # Errors
    /// When `plain` cannot be read, or the file cannot be written or is too large.
    pub fn upload(
        &mut self,
        media_type: MediaType,
        plain: &mut dyn io::Read,
        dir: &mut dyn Directory,
        now_ms: u64,
    ) -> Result<Uploaded, PhoneError> {
        let mut key = [0; 32];
        self.rng.fill_bytes(&mut key);
        let bad = |e: anyhow::Error| PhoneError::Media(io::Error::other(e));
        let sidecar = matches!(media_type, MediaType::Audio | MediaType::Video);
        let mut encryptor =
            MediaEncryptor::with_key_and_sidecar(key, media_type, sidecar).map_err(bad)?;
        let mut spool = dir.media().spool().map_err(PhoneError::Media)?;
        let mut piece = vec![0; PIECE];
        loop {
            let n = plain.read(&mut piece).map_err(PhoneError::Media)?;
            if n == 0 {
                break;
            }
            encryptor
                .update_to_writer(&piece[..n], &mut spool)
                .map_err(PhoneError::Media)?;
        }
        let info = encryptor.finalize_to_writer(&mut spool).map_err(bad)?;
        let blob = Rc::new(spool.finish().map_err(PhoneError::Media)?);
        let kind = Kind::from_segment(media_type.mms_type()).unwrap_or(Kind::Document);
        let stored = dir
            .media()
            .put(kind, blob.clone(), &self.number, now_ms / 1000);
        Ok(Uploaded {
            file: MediaFile {
                key,
                media_type,
                blob,
            },
            stored,
            sha256: info.file_sha256,
            len: info.file_length,
            sidecar: info.streaming_sidecar,
        })
    }

    /// Uploads the file of a message that has one.
    pub(super) fn upload_attachment(
        &mut self,
        out: &mut Outgoing,
        dir: &mut dyn Directory,
        now_ms: u64,
    ) -> Result<(), PhoneError> {
        let Some((kind, attachment)) = out.body.attachment_mut() else {
            return Ok(());
        };
        // What was encoded is not needed beside what it says.
        let encoded = std::mem::take(&mut attachment.base64);
        let plain = decode(&encoded)?;
        drop(encoded);
        if let Some(thumbnail) = &attachment.thumbnail {
            decode(thumbnail)?;
        }
        let uploaded = self.upload(kind.media_type(), &mut plain.as_slice(), dir, now_ms)?;
        out.uploaded = Some(Box::new(uploaded));
        Ok(())
    }

    /// The file of a message, sent or received.
    pub fn media_of(&self, message_id: &str) -> Option<&Media> {
        let received = self.inbox.find(message_id).map(|m| &m.media);
        let sent = self.inbox.find_sent(message_id).map(|m| &m.media);
        received.or(sent)?.as_deref()
    }
}

impl Body {
    /// The file of the message, if it has one.
    pub(super) fn attachment(&self) -> Option<(FileKind, &Attachment)> {
        Some(match self {
            Self::Image(file) => (FileKind::Image, file),
            Self::Video(file) => (FileKind::Video, file),
            Self::Audio(file) => (FileKind::Audio, file),
            Self::Document(file) => (FileKind::Document, file),
            Self::Sticker(file) => (FileKind::Sticker, file),
            Self::Card(card) => (FileKind::Image, card.image.as_ref()?),
            Self::Product(product) => (FileKind::Image, product.image.as_ref()?),
            _ => return None,
        })
    }

    fn attachment_mut(&mut self) -> Option<(FileKind, &mut Attachment)> {
        let (kind, _) = self.attachment()?;
        match self {
            Self::Image(file)
            | Self::Video(file)
            | Self::Audio(file)
            | Self::Document(file)
            | Self::Sticker(file) => Some((kind, file)),
            Self::Card(card) => Some((kind, card.image.as_mut()?)),
            Self::Product(product) => Some((kind, product.image.as_mut()?)),
            _ => None,
        }
    }
}

fn decode(text: &str) -> Result<Vec<u8>, PhoneError> {
    BASE64_STANDARD
        .decode(text)
        .map_err(|e| PhoneError::BadFile(format!("the content is not base64: {e}")))
}

/// Takes bytes for their hash and count.
#[derive(Default)]
struct Measure {
    hash: Sha256,
}

impl io::Write for Measure {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.hash.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
