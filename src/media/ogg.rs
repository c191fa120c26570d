//! The duration of an OGG/Opus file (RFC 3533, 6; RFC 7845, 4 and 5.1): the last granule position minus the
//! pre-skip. Reads only the headers of pages.

use std::io::{BufReader, Read, Seek, SeekFrom};

use super::MediaError;

/// Samples per second of Opus's granule positions.
const RATE: u64 = 48_000;

/// The duration of an OGG/Opus file in ms, from the position of its first page.
///
/// # Errors
/// [`MediaError::Broken`] if it is not OGG/Opus or has no audio; I/O errors.
pub(super) fn length<R: Read + Seek>(mut source: R) -> Result<u64, MediaError> {
    source.seek(SeekFrom::Start(0))?;
    let mut source = BufReader::with_capacity(512, source);
    let mut head = [0; 27];
    source.read_exact(&mut head).map_err(|_| broken())?;
    let serial = [head[14], head[15], head[16], head[17]];
    let mut segments = vec![0; usize::from(head[26])];
    source.read_exact(&mut segments).map_err(|_| broken())?;
    let mut packet = [0; 19];
    source.read_exact(&mut packet).map_err(|_| broken())?;
    if !head.starts_with(b"OggS") || !packet.starts_with(b"OpusHead") || sum(&segments) < 19 {
        return Err(broken());
    }
    let skip = u64::from(u16::from_le_bytes([packet[10], packet[11]]));
    source.seek_relative(sum(&segments) - 19)?;

    let mut last = None;
    // Up to the end, another stream, or bytes that are no page: players stop there, too.
    while source.read_exact(&mut head).is_ok() && head.starts_with(b"OggS") {
        let mut segments = [0; 255];
        let segments = &mut segments[..usize::from(head[26])];
        if source.read_exact(segments).is_err() || head[14..18] != serial {
            break;
        }
        let granule = i64::from_le_bytes([
            head[6], head[7], head[8], head[9], head[10], head[11], head[12], head[13],
        ]);
        // -1: no packet ends on this page.
        if let Ok(granule) = u64::try_from(granule) {
            last = last.max(Some(granule));
        }
        source.seek_relative(sum(segments))?;
    }
    match last.and_then(|last| last.checked_sub(skip)) {
        Some(samples) if samples > 0 => Ok(samples.saturating_mul(1000) / RATE),
        _ => Err(broken()),
    }
}

/// Whether an OGG/Opus file declares one channel.
///
/// # Errors
/// I/O errors.
pub(super) fn is_mono<R: Read + Seek>(mut source: R) -> Result<bool, MediaError> {
    let mut head = Vec::new();
    source.seek(SeekFrom::Start(0))?;
    source.take(512).read_to_end(&mut head)?;
    let segments = head.get(26).copied().map_or(0, usize::from);
    let packet = head.get(27 + segments..).unwrap_or_default();
    // `length` refuses malformed files.
    Ok(!packet.starts_with(b"OpusHead") || packet.get(9).is_none_or(|channels| *channels == 1))
}

fn sum(segments: &[u8]) -> i64 {
    segments.iter().map(|segment| i64::from(*segment)).sum()
}

fn broken() -> MediaError {
    MediaError::Broken("there is no sound in it".to_owned())
}
