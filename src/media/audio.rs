//! Audio: everything goes out as OGG/Opus, the one kind that every WhatsApp client plays as a voice note.

use std::fs::File;
use std::time::Instant;

use super::content::{Content, Ogg};
use super::{MediaError, Prepared, Spool, Spooled, ogg, seconds};

#[cfg(feature = "voice")]
use super::voice;

/// WhatsApp's own name for it.
const OGG_OPUS: &str = "audio/ogg; codecs=opus";

/// How far a sound is.
#[derive(Debug)]
pub(super) enum Progress {
    Done(Prepared),
    More(Box<Work>),
}

/// What is done in steps: until a moment, or to the end without one.
#[cfg(feature = "voice")]
#[derive(Debug)]
pub(super) enum Work {
    Convert(bool, Box<voice::Conversion>),
    /// OGG/Opus goes as it is; only its waveform is missing.
    Listen(Prepared, Box<voice::Listening>),
}

#[cfg(not(feature = "voice"))]
#[derive(Debug)]
pub(super) enum Work {}

/// Takes OGG/Opus as it is, and converts the rest.
pub(super) fn begin(
    ptt: bool,
    content: Content,
    start: u64,
    source: File,
    file: Spooled,
    spool: &Spool,
) -> Result<Progress, MediaError> {
    match content {
        Content::Ogg(Ogg::Opus) => {
            let length = ogg::length(&source)?;
            let prepared = Prepared {
                seconds: seconds(length),
                ..Prepared::plain(file, OGG_OPUS)?
            };
            match ptt {
                true => listen(prepared, source),
                false => Ok(Progress::Done(prepared)),
            }
        }
        Content::Mp3
        | Content::Adts
        | Content::Flac
        | Content::Wav
        | Content::Ogg(Ogg::Vorbis | Ogg::Flac)
        | Content::Iso(_) => convert(ptt, content, start, source, spool),
        _ => Err(MediaError::NotWhat {
            expected: "audio (MP3, AAC, M4A, WAV, FLAC or OGG)",
            found: content.name(),
        }),
    }
}

#[cfg(feature = "voice")]
fn listen(prepared: Prepared, source: File) -> Result<Progress, MediaError> {
    let listening = voice::Listening::begin(source)?;
    Ok(Progress::More(Box::new(Work::Listen(
        prepared,
        Box::new(listening),
    ))))
}

#[cfg(not(feature = "voice"))]
#[expect(clippy::unnecessary_wraps, reason = "as with the feature")]
fn listen(prepared: Prepared, _source: File) -> Result<Progress, MediaError> {
    Ok(Progress::Done(prepared))
}

#[cfg(feature = "voice")]
fn convert(
    ptt: bool,
    content: Content,
    start: u64,
    source: File,
    spool: &Spool,
) -> Result<Progress, MediaError> {
    let conversion = voice::Conversion::begin(content, start, source, ptt, spool)?;
    let conversion = Box::new(conversion);
    Ok(Progress::More(Box::new(Work::Convert(ptt, conversion))))
}

#[cfg(not(feature = "voice"))]
fn convert(
    _ptt: bool,
    content: Content,
    _start: u64,
    _source: File,
    _spool: &Spool,
) -> Result<Progress, MediaError> {
    Err(MediaError::Unsupported(format!(
        "it is {}, and this server was built without `voice`, so that only OGG/Opus can be sent as audio",
        content.name()
    )))
}

impl Work {
    #[cfg(feature = "voice")]
    pub(super) fn step(
        mut self: Box<Self>,
        until: Option<Instant>,
    ) -> Result<Progress, MediaError> {
        let ended = match &mut *self {
            Work::Convert(_, conversion) => conversion.step(until)?,
            Work::Listen(_, listening) => listening.step(until)?,
        };
        if !ended {
            return Ok(Progress::More(self));
        }
        Ok(Progress::Done(match *self {
            Work::Convert(ptt, conversion) => {
                let converted = conversion.finish()?;
                Prepared {
                    seconds: seconds(converted.length),
                    waveform: ptt.then_some(converted.waveform),
                    ..Prepared::plain(converted.file, OGG_OPUS)?
                }
            }
            Work::Listen(prepared, listening) => Prepared {
                waveform: listening.finish(),
                ..prepared
            },
        }))
    }

    #[cfg(not(feature = "voice"))]
    pub(super) fn step(self: Box<Self>, _until: Option<Instant>) -> Result<Progress, MediaError> {
        match *self {}
    }
}
