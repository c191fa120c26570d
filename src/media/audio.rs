//! Audio is sent as OGG/Opus, which every WhatsApp client plays as a voice note.

use std::fs::File;
use std::time::Instant;

use super::content::{Content, Ogg};
use super::sound::Sound;
use super::{MediaError, Prepared, Spool, Spooled, ogg, seconds};

#[cfg(feature = "voice")]
use super::voice;

/// WhatsApp's MIME type of OGG/Opus.
const OGG_OPUS: &str = "audio/ogg; codecs=opus";

/// The progress of preparing audio.
pub(super) enum Progress {
    Done(Prepared),
    More(Work),
}

/// The supported formats, in the error for a file in another one.
const READ: &str = "audio that can be converted (MP3, MP2, AAC, M4A, ALAC, WAV, AIFF, CAF, FLAC, OGG or WebM); \
    convert it to MP3, M4A, OGG or WAV, or send it as a document";

/// Work that is done in steps, each until a deadline or to the end.
#[cfg(feature = "voice")]
pub(super) enum Work {
    /// With the opened file, to convert it if copying is not possible.
    Copy(Box<voice::Copy>, Opened),
    Convert(bool, Box<voice::Conversion>),
    /// OGG/Opus, sent unchanged: only its waveform is computed.
    Listen(Prepared, Box<voice::Listening>),
}

#[cfg(not(feature = "voice"))]
pub(super) enum Work {}

/// An audio file.
#[cfg_attr(
    not(feature = "voice"),
    expect(
        dead_code,
        reason = "without the feature only the sound's name is used"
    )
)]
pub(super) struct Opened {
    sound: Sound,
    start: u64,
    source: File,
    ptt: bool,
    spool: Spool,
}

/// Keeps mono OGG/Opus, and converts the rest.
pub(super) fn begin(
    ptt: bool,
    content: Content,
    start: u64,
    mut source: File,
    file: Spooled,
    spool: &Spool,
) -> Result<Progress, MediaError> {
    let Some((sound, start)) = Sound::of(&mut source, content, start)? else {
        return Err(MediaError::NotWhat {
            expected: READ,
            found: content.name(),
        });
    };
    if sound == Sound::Ogg(Ogg::Opus) && (ogg::is_mono(&source)? || cfg!(not(feature = "voice"))) {
        let length = ogg::length(&source)?;
        let mut prepared = Prepared::plain(file, OGG_OPUS)?;
        prepared.look.seconds = seconds(length);
        return match ptt {
            true => listen(prepared, source),
            false => Ok(Progress::Done(prepared)),
        };
    }
    convert(Opened {
        sound,
        start,
        source,
        ptt,
        spool: spool.clone(),
    })
}

#[cfg(feature = "voice")]
fn listen(prepared: Prepared, source: File) -> Result<Progress, MediaError> {
    let listening = voice::Listening::begin(source)?;
    let work = Work::Listen(prepared, Box::new(listening));
    Ok(Progress::More(work))
}

#[cfg(not(feature = "voice"))]
#[expect(clippy::unnecessary_wraps, reason = "as with the feature")]
fn listen(prepared: Prepared, _source: File) -> Result<Progress, MediaError> {
    Ok(Progress::Done(prepared))
}

#[cfg(feature = "voice")]
fn convert(opened: Opened) -> Result<Progress, MediaError> {
    let Opened {
        sound, start, ptt, ..
    } = opened;
    let source = opened.source.try_clone()?;
    let work = match voice::begin(sound, start, source, ptt, &opened.spool)? {
        voice::Begun::Copy(copy) => Work::Copy(copy, opened),
        voice::Begun::Convert(conversion) => Work::Convert(ptt, conversion),
    };
    Ok(Progress::More(work))
}

#[cfg(not(feature = "voice"))]
fn convert(opened: Opened) -> Result<Progress, MediaError> {
    Err(MediaError::Unsupported(format!(
        "it is {:?}, and this server was built without `voice`, so that only OGG/Opus can be sent as audio",
        opened.sound
    )))
}

impl Work {
    #[cfg(feature = "voice")]
    pub(super) fn step(self, until: Option<Instant>) -> Result<Progress, MediaError> {
        let more = |work| Ok(Progress::More(work));
        match self {
            Work::Copy(mut copy, opened) => match copy.step(until)? {
                voice::Copied::More => more(Work::Copy(copy, opened)),
                voice::Copied::All => {
                    let prepared = as_sent(copy.finish()?)?;
                    match opened.ptt {
                        true => {
                            let source = File::open(prepared.file.path())?;
                            listen(prepared, source)
                        }
                        false => Ok(Progress::Done(prepared)),
                    }
                }
                voice::Copied::Stereo => {
                    let Opened {
                        sound,
                        start,
                        source,
                        ptt,
                        spool,
                    } = opened;
                    let conversion = voice::Conversion::begin(sound, start, source, ptt, &spool)?;
                    more(Work::Convert(ptt, Box::new(conversion)))
                }
            },
            Work::Convert(ptt, mut conversion) => match conversion.step(until)? {
                false => more(Work::Convert(ptt, conversion)),
                true => {
                    let mut converted = conversion.finish()?;
                    let waveform = std::mem::take(&mut converted.waveform);
                    let mut prepared = as_sent(converted)?;
                    prepared.look.waveform = ptt.then_some(waveform);
                    Ok(Progress::Done(prepared))
                }
            },
            Work::Listen(mut prepared, mut listening) => match listening.step(until)? {
                false => more(Work::Listen(prepared, listening)),
                true => {
                    prepared.look.waveform = listening.finish();
                    Ok(Progress::Done(prepared))
                }
            },
        }
    }

    #[cfg(not(feature = "voice"))]
    pub(super) fn step(self, _until: Option<Instant>) -> Result<Progress, MediaError> {
        match self {}
    }
}

#[cfg(feature = "voice")]
fn as_sent(converted: voice::Converted) -> Result<Prepared, MediaError> {
    let mut prepared = Prepared::plain(converted.file, OGG_OPUS)?;
    prepared.look.seconds = seconds(converted.length);
    Ok(prepared)
}
