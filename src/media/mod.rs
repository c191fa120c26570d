//! Media: detects the type of files, converts them for WhatsApp, and manages the folders of files.
//!
//! [`Work`] turns a file of a request into one to upload. It does not depend on WhatsApp's protocol.
//!
//! | Sent as | Input | Output |
//! |---|---|---|
//! | image | JPEG, PNG, WebP, GIF | the same, with size and thumbnail |
//! | video | MP4, MOV, 3GP | the same, with size and seconds |
//! | audio | MP3, MP2, AAC, M4A, ALAC, WAV, AIFF, CAF, FLAC, OGG, WebM, GSM | OGG/Opus, mono, with seconds; a voice note with its waveform |
//! | sticker | WebP, PNG, JPEG, GIF | WebP of 512 × 512 pixels; what is one, and what moves, stays as it is |
//! | document | anything | the same, of a PDF with its number of pages |
//!
//! The type of a file comes from its bytes ([`content`]); that of a document also from its name and declared
//! type where the bytes are ambiguous ([`document`]). A file that cannot be decoded is an error of the
//! request. No decoder keeps a whole file: memory stays under 24 MB for the worst image and under 4 MB for
//! audio of any length.

mod audio;
mod content;
mod document;
mod files;
mod image;
mod iso;
mod look;
mod ogg;
mod pdf;
mod sound;
mod space;
mod spool;
mod sticker;
#[cfg(test)]
mod tests;
#[cfg(feature = "voice")]
mod voice;
mod webp;

pub use document::{extension_of, usual_name};
pub use files::Files;
pub use look::{Look, base64_bytes};
pub use space::{Disk, Space, SpaceNews};
pub use spool::{Spool, Spooled};
pub use sticker::Pack;

use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use content::Content;

/// The kind of message that a file is sent as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MediaKind {
    Image,
    Video,
    Audio,
    Document,
    Sticker,
}

impl MediaKind {
    /// The word in `mediaType`.
    pub fn name(self) -> &'static str {
        match self {
            MediaKind::Image => "image",
            MediaKind::Video => "video",
            MediaKind::Audio => "audio",
            MediaKind::Document => "document",
            MediaKind::Sticker => "sticker",
        }
    }
}

/// How a caller wants a file to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaRequest {
    pub kind: MediaKind,
    /// Audio as a voice note.
    pub ptt: bool,
    /// Video as a looping clip.
    pub gif_playback: bool,
    /// Video as a round note.
    pub note: bool,
    /// Of a sticker.
    pub pack: Option<Pack>,
    /// The MIME type in the request; used only where the bytes are ambiguous.
    pub mimetype: Option<String>,
    /// The MIME type of the form's part, the HTTP answer or the `data:` URI; has a lower priority.
    pub declared: Option<String>,
    pub file_name: Option<String>,
}

/// A file to upload, with its properties.
#[derive(Debug)]
pub struct Prepared {
    /// The given file, or the converted one.
    pub file: Spooled,
    /// Bytes.
    pub size: u64,
    /// `image/jpeg`, `audio/ogg; codecs=opus`, …
    pub mimetype: String,
    pub look: Look,
}

/// Why a file cannot be sent as the requested kind. Its `Display` is part of the API's answer.
#[derive(Debug, thiserror::Error)]
pub enum MediaError {
    #[error("the file is {found}, not {expected}")]
    NotWhat {
        expected: &'static str,
        found: String,
    },
    #[error("the file is empty")]
    Empty,
    #[error("the file is damaged: {0}")]
    Broken(String),
    /// The right kind of file, in a format that cannot be converted.
    #[error(
        "the file cannot be converted: {0}; convert it to MP3, M4A, OGG or WAV, or send it as a document"
    )]
    Unsupported(String),
    #[error(
        "the sticker would have too many bytes: 500,000 are the most for one that moves; \
         send it as a video with \"gifPlayback\", or make it shorter"
    )]
    TooDetailed,
    #[error("the sound lasts longer than {limit} minutes")]
    TooLong { limit: u32 },
    #[error("the file could not be read or written: {0}")]
    Io(#[from] io::Error),
}

/// Detects the type of a file and converts it for WhatsApp, in steps.
pub struct Work {
    request: MediaRequest,
    spool: Spool,
    state: State,
}

enum State {
    New(Spooled),
    Sound(audio::Work),
    Over,
}

impl Work {
    pub fn new(request: MediaRequest, file: Spooled, spool: Spool) -> Work {
        Work {
            request,
            spool,
            state: State::New(file),
        }
    }

    /// Whether it may take many steps: audio is decoded as a whole.
    pub fn is_long(&self) -> bool {
        self.request.kind == MediaKind::Audio
    }

    /// Works for about `time`; what is not [long](Work::is_long) in one step. `None`: call it again. Blocks.
    ///
    /// # Errors
    /// See [`MediaError`]; the work has failed then.
    pub fn step(&mut self, time: Duration) -> Result<Option<Prepared>, MediaError> {
        guarded(|| self.step_unguarded(time))
    }

    fn step_unguarded(&mut self, time: Duration) -> Result<Option<Prepared>, MediaError> {
        let until = Instant::now().checked_add(time);
        let sound = match std::mem::replace(&mut self.state, State::Over) {
            State::New(file) if file.size()? == 0 => return Err(MediaError::Empty),
            State::New(file) if self.is_long() => {
                let mut source = File::open(file.path())?;
                let (content, start) = Content::of(&mut source)?;
                let ptt = self.request.ptt;
                audio::begin(ptt, content, start, source, file, &self.spool)?
            }
            State::New(file) => return prepare(&self.request, file, &self.spool).map(Some),
            State::Sound(work) => audio::Progress::More(work),
            State::Over => return Err(MediaError::Broken("it cannot be decoded".to_owned())),
        };
        match sound {
            audio::Progress::Done(prepared) => Ok(Some(prepared)),
            audio::Progress::More(work) => match work.step(until)? {
                audio::Progress::Done(prepared) => Ok(Some(prepared)),
                audio::Progress::More(work) => {
                    self.state = State::Sound(work);
                    Ok(None)
                }
            },
        }
    }
}

/// Turns a decoder's panic into an error of the file.
fn guarded<T>(work: impl FnOnce() -> Result<T, MediaError>) -> Result<T, MediaError> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(MediaError::Broken("it cannot be decoded".to_owned())))
}

/// Prepares any file but audio.
fn prepare(request: &MediaRequest, file: Spooled, spool: &Spool) -> Result<Prepared, MediaError> {
    let mut source = File::open(file.path())?;
    let (content, _) = Content::of(&mut source)?;
    match request.kind {
        MediaKind::Image => image(content, source, file),
        MediaKind::Video => video(content, source, file, request.gif_playback),
        MediaKind::Sticker => sticker::prepare(content, source, file, request.pack.as_ref(), spool),
        MediaKind::Audio | MediaKind::Document => {
            let mimetype = document::mimetype(&mut source, content, request)?;
            let mut prepared = Prepared::plain(file, &mimetype)?;
            if mimetype == "application/pdf" {
                prepared.look.pages = pdf::pages(&mut source);
            }
            Ok(prepared)
        }
    }
}

fn image(content: Content, source: File, file: Spooled) -> Result<Prepared, MediaError> {
    let mimetype = match content {
        Content::Jpeg | Content::Png | Content::Gif | Content::WebP => content.mimetype(),
        _ => None,
    };
    let Some(mimetype) = mimetype else {
        return Err(MediaError::NotWhat {
            expected: "an image that WhatsApp shows (JPEG, PNG, WebP or GIF); \
                it can be sent as a document",
            found: content.name(),
        });
    };
    let picture = image::look(content, source)?;
    let mut prepared = Prepared::plain(file, mimetype)?;
    prepared.look = Look {
        width: Some(picture.width),
        height: Some(picture.height),
        thumbnail: picture.thumbnail,
        ..Look::default()
    };
    Ok(prepared)
}

fn video(
    content: Content,
    source: File,
    file: Spooled,
    gif_playback: bool,
) -> Result<Prepared, MediaError> {
    let not_video = |found| MediaError::NotWhat {
        expected: "a video that WhatsApp shows (MP4, MOV or 3GP); it can be sent as a document",
        found,
    };
    let (Content::Iso(_), Some(mimetype)) = (content, content.mimetype()) else {
        return Err(not_video(content.name()));
    };
    let film = iso::read(source)?;
    let Some((width, height)) = film.picture else {
        return Err(not_video("sound without a picture".to_owned()));
    };
    // 0 means unknown.
    let some = |side| (side > 0).then_some(side);
    let mut prepared = Prepared::plain(file, mimetype)?;
    prepared.look = Look {
        width: some(width),
        height: some(height),
        seconds: film.length.and_then(seconds),
        gif_playback,
        ..Look::default()
    };
    Ok(prepared)
}

impl Prepared {
    /// A file that is sent unchanged.
    fn plain(file: Spooled, mimetype: &str) -> Result<Prepared, MediaError> {
        Ok(Prepared {
            size: file.size()?,
            file,
            mimetype: mimetype.to_owned(),
            look: Look::default(),
        })
    }
}

/// Rounded to seconds, at least 1, as clients show it. `None` if the length overflows.
fn seconds(milliseconds: u64) -> Option<u32> {
    u32::try_from((milliseconds.saturating_add(500) / 1000).max(1)).ok()
}

/// What a file is by its bytes: an image, a video or sound; `None` for anything else. Blocks.
///
/// # Errors
/// If it cannot be read.
pub fn kind_of(path: &Path) -> io::Result<Option<MediaKind>> {
    let mut source = File::open(path)?;
    let (content, _) = Content::of(&mut source)?;
    Ok(match content {
        Content::Jpeg | Content::Png | Content::Gif | Content::WebP => Some(MediaKind::Image),
        Content::Iso(content::Iso::M4a) => Some(MediaKind::Audio),
        // One that cannot be read is refused as a video, in words.
        Content::Iso(_) => match guarded(|| Ok(iso::read(source)?.picture.is_some())) {
            Ok(false) => Some(MediaKind::Audio),
            Ok(true) | Err(_) => Some(MediaKind::Video),
        },
        Content::Mp3 | Content::Adts | Content::Flac | Content::Wav | Content::Ogg(_) => {
            Some(MediaKind::Audio)
        }
        Content::Other(mimetype) if mimetype.starts_with("audio/") || mimetype == "video/webm" => {
            Some(MediaKind::Audio)
        }
        Content::Other(_) | Content::Unknown => None,
    })
}

/// A thumbnail of the image in a file; `None` if it is none that can be decoded. Blocks.
pub fn thumbnail(path: &Path) -> Option<Vec<u8>> {
    let look = || {
        let mut source = File::open(path)?;
        let (content, _) = Content::of(&mut source)?;
        image::look(content, source)
    };
    guarded(look).ok()?.thumbnail
}

/// A profile picture of an image: the middle of it as a square JPEG, as WhatsApp's clients cut it. Blocks.
///
/// # Errors
/// See [`MediaError`].
pub fn portrait(bytes: &[u8], spool: &Spool) -> Result<Vec<u8>, MediaError> {
    let (_spooled, mut file) = spool.create()?;
    io::Write::write_all(&mut file, bytes)?;
    guarded(|| {
        let (content, _) = Content::of(&mut file)?;
        image::portrait(content, file)
    })
}

/// Whether a file is an image or a video. What is neither counts as an image, and is refused when it is prepared. Blocks.
pub fn image_or_video(path: &Path) -> MediaKind {
    let look = || Content::of(&mut File::open(path).ok()?).ok();
    match look() {
        Some((Content::Iso(_), _)) => MediaKind::Video,
        _ => MediaKind::Image,
    }
}

/// The SHA-256 of a file's content. Blocks.
///
/// # Errors
/// I/O errors.
pub fn sha256_of(path: &Path) -> io::Result<[u8; 32]> {
    let mut hash = Sha256::new();
    let mut file = File::open(path)?;
    let mut piece = [0; 16 * 1024];
    loop {
        match io::Read::read(&mut file, &mut piece)? {
            0 => return Ok(hash.finalize().into()),
            n => hash.update(&piece[..n]),
        }
    }
}
