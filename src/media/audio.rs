//! Audio: everything goes out as OGG/Opus, the one kind that every WhatsApp client plays as a voice note.

use std::fs::File;

use super::content::{Content, Ogg};
use super::{MediaError, Prepared, Spool, Spooled, ogg, seconds};

/// WhatsApp's own name for it.
const OGG_OPUS: &str = "audio/ogg; codecs=opus";

/// Takes OGG/Opus as it is, and converts the rest.
pub(super) fn prepare(
    ptt: bool,
    content: Content,
    start: u64,
    source: File,
    file: Spooled,
    spool: &Spool,
) -> Result<Prepared, MediaError> {
    match content {
        Content::Ogg(Ogg::Opus) => {
            let length = ogg::length(&source)?;
            Ok(Prepared {
                seconds: seconds(length),
                waveform: if ptt { waveform(source)? } else { None },
                ..Prepared::plain(file, OGG_OPUS)?
            })
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
fn waveform(source: File) -> Result<Option<Vec<u8>>, MediaError> {
    super::voice::waveform(source)
}

#[cfg(not(feature = "voice"))]
#[expect(clippy::unnecessary_wraps, reason = "as with the feature")]
fn waveform(_source: File) -> Result<Option<Vec<u8>>, MediaError> {
    Ok(None)
}

#[cfg(feature = "voice")]
fn convert(
    ptt: bool,
    content: Content,
    start: u64,
    source: File,
    spool: &Spool,
) -> Result<Prepared, MediaError> {
    let converted = super::voice::convert(content, start, source, ptt, spool)?;
    Ok(Prepared {
        seconds: seconds(converted.length),
        waveform: ptt.then_some(converted.waveform),
        ..Prepared::plain(converted.file, OGG_OPUS)?
    })
}

#[cfg(not(feature = "voice"))]
fn convert(
    _ptt: bool,
    content: Content,
    _start: u64,
    _source: File,
    _spool: &Spool,
) -> Result<Prepared, MediaError> {
    Err(MediaError::Unsupported(format!(
        "it is {}, and this server was built without `voice`, so that only OGG/Opus can be sent as audio",
        content.name()
    )))
}
