//! Detects the audio format of a file: containers that [`super::content`] does not know, and MPEG frames
//! after other bytes at the start.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};

use super::content::{Content, Ogg};

/// Bytes that are searched for the first frame, behind half a frame, parts of tags or a station's text.
const SEARCH: usize = 64 * 1024;
/// Frames in a row that are not accidental.
const ROW: usize = 4;

/// An audio format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sound {
    Ogg(Ogg),
    /// MP3 and MP2.
    Mpeg,
    /// AAC in ADTS frames.
    Adts,
    Flac,
    Wav,
    Iso,
    Aiff,
    Caf,
    Au,
    /// WebM and Matroska.
    WebM,
    /// Raw frames of GSM 06.10.
    Gsm,
}

impl Sound {
    /// The format of a file with this content, and its offset; `None` if it is not audio.
    ///
    /// # Errors
    /// I/O errors.
    pub(super) fn of(
        file: &mut File,
        content: Content,
        start: u64,
    ) -> io::Result<Option<(Sound, u64)>> {
        let known = match content {
            Content::Ogg(ogg) => Some(Sound::Ogg(ogg)),
            Content::Flac => Some(Sound::Flac),
            Content::Wav => Some(Sound::Wav),
            Content::Iso(_) => Some(Sound::Iso),
            _ => None,
        };
        if let Some(known) = known {
            return Ok(Some((known, start)));
        }
        file.seek(SeekFrom::Start(start))?;
        let mut head = Vec::new();
        file.take(SEARCH as u64).read_to_end(&mut head)?;
        let length = file.metadata()?.len();
        Ok(match content {
            Content::Mp3 | Content::Adts => {
                let found = frames(&head);
                let usual = match content {
                    Content::Mp3 => Sound::Mpeg,
                    _ => Sound::Adts,
                };
                // In a truncated stream the first bytes may look like a frame by accident.
                let (sound, at) = found.unwrap_or((usual, 0));
                Some((sound, start + at as u64))
            }
            _ => match container(&head) {
                Some(sound) => Some((sound, start)),
                None if is_weak(content) && is_gsm(&head, length) => Some((Sound::Gsm, start)),
                None if is_weak(content) => {
                    frames(&head).map(|(sound, at)| (sound, start + at as u64))
                }
                None => None,
            },
        })
    }
}

/// Whether the type was detected by so few bytes that a truncated stream may begin with them.
fn is_weak(content: Content) -> bool {
    match content {
        Content::Unknown => true,
        Content::Other(mimetype) => matches!(
            mimetype,
            "audio/mpeg"
                | "audio/aac"
                | "image/bmp"
                | "application/vnd.microsoft.portable-executable"
                | "application/x-msdownload"
                | "application/gzip"
                | "application/x-compress"
                | "text/plain"
                | "application/octet-stream"
        ),
        _ => false,
    }
}

/// Formats with a signature.
fn container(head: &[u8]) -> Option<Sound> {
    Some(match head {
        [
            b'F',
            b'O',
            b'R',
            b'M',
            _,
            _,
            _,
            _,
            b'A',
            b'I',
            b'F',
            b'F' | b'C',
            ..,
        ] => Sound::Aiff,
        [b'c', b'a', b'f', b'f', 0, 1, ..] => Sound::Caf,
        [b'.', b's', b'n', b'd', ..] => Sound::Au,
        [0x1A, 0x45, 0xDF, 0xA3, ..] => Sound::WebM,
        [
            b'R',
            b'F' | b'I',
            b'6' | b'F',
            b'4' | b'X',
            _,
            _,
            _,
            _,
            b'W',
            b'A',
            b'V',
            b'E',
            ..,
        ] => Sound::Wav,
        _ => return None,
    })
}

/// Raw GSM frames: each begins with the same four bits.
fn is_gsm(head: &[u8], length: u64) -> bool {
    const FRAME: usize = 33;
    length.is_multiple_of(FRAME as u64)
        && head.len() >= 8 * FRAME
        && head.iter().step_by(FRAME).all(|byte| byte >> 4 == 0xD)
}

/// The offset of several MPEG audio frames in a row.
fn frames(head: &[u8]) -> Option<(Sound, usize)> {
    (0..head.len()).find_map(|start| {
        let (sound, mut length) = frame(&head[start..])?;
        let first = &head[start..];
        let mut at = start;
        for _ in 1..ROW {
            at += length;
            let Some(next) = head.get(at..).filter(|next| next.len() >= 6) else {
                // In a short file two frames are enough, if they fill it.
                let is_short = head.len() < SEARCH && at > start + length;
                return is_short.then_some((sound, start));
            };
            // Version, layer and rate do not change.
            if next[1] & 0xFE != first[1] & 0xFE || next[2] & 0x0C != first[2] & 0x0C {
                return None;
            }
            let (same, its_length) = frame(next)?;
            if same != sound {
                return None;
            }
            length = its_length;
        }
        Some((sound, start))
    })
}

/// The frame at the start of `head`, and its length in bytes (ISO 11172-3, 2.4.2.3; ISO 13818-7, ADTS).
fn frame(head: &[u8]) -> Option<(Sound, usize)> {
    /// kbit/s: MPEG-1's layers II and III, MPEG-2's II and III.
    const RATES: [[usize; 14]; 3] = [
        [
            32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384,
        ],
        [
            32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320,
        ],
        [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
    ];

    let [0xFF, second, third, fourth, fifth, sixth, ..] = *head else {
        return None;
    };
    if second & 0xF6 == 0xF0 {
        let length =
            usize::from(fourth & 3) << 11 | usize::from(fifth) << 3 | usize::from(sixth >> 5);
        let is_frame = third >> 2 & 15 < 13 && length >= 7;
        return is_frame.then_some((Sound::Adts, length));
    }
    if second & 0xE0 != 0xE0 {
        return None;
    }
    let (version, layer) = (second >> 3 & 3, second >> 1 & 3);
    let is_first = version == 3;
    let rates = match (version, layer) {
        (3, 2) => &RATES[0],
        (3, 1) => &RATES[1],
        (0 | 2, 1 | 2) => &RATES[2],
        _ => return None,
    };
    let kbits = *rates.get(usize::from(third >> 4).checked_sub(1)?)?;
    let hertz = *[44_100, 48_000, 32_000].get(usize::from(third >> 2 & 3))?;
    let hertz = match version {
        3 => hertz,
        2 => hertz / 2,
        _ => hertz / 4,
    };
    // 1152 samples; 576 in layer III of MPEG-2.
    let bytes = if layer == 1 && !is_first { 72 } else { 144 };
    let padding = usize::from(third >> 1 & 1);
    Some((Sound::Mpeg, bytes * kbits * 1000 / hertz + padding))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bytes: &[u8]) -> Option<(Sound, u64)> {
        let mut file = tempfile::tempfile().unwrap();
        io::Write::write_all(&mut file, bytes).unwrap();
        let (content, start) = Content::of(&mut file).unwrap();
        Sound::of(&mut file, content, start).unwrap()
    }

    /// MPEG-1 layer III, 128 kbit/s, 44.1 kHz: 417 bytes.
    fn mp3(count: usize) -> Vec<u8> {
        let mut frame = b"\xFF\xFB\x90\x64".to_vec();
        frame.resize(417, 0x55);
        frame.repeat(count)
    }

    #[test]
    fn frames_are_found_after_other_bytes() {
        assert_eq!(of(&mp3(5)), Some((Sound::Mpeg, 0)));
        for garbage in [
            &b"half a frame"[..],
            b"\xFF\xFB\x90\x64 looks like one",
            b"BM like a picture",
            b"MZ like a program",
            b"\xFF\xFE\x41\x00",
            &[0; 3_000],
        ] {
            let bytes = [garbage, &mp3(6)].concat();
            assert_eq!(
                of(&bytes),
                Some((Sound::Mpeg, garbage.len() as u64)),
                "{garbage:?}"
            );
        }
        // Truncated within the last frame: too few frames.
        assert_eq!(
            of(&[b"ab", &mp3(3)[..1_000]].concat()),
            Some((Sound::Mpeg, 2))
        );
        assert_eq!(of(&[b"ab", &mp3(1)[..]].concat()), None);
        // Layer II, MPEG-1, 192 kbit/s at 48 kHz: 576 bytes; MPEG-2 layer III, 64 kbit/s at 22.05 kHz: 208.
        let mut two = b"\xFF\xFD\xA4\x04".to_vec();
        two.resize(576, 0);
        assert_eq!(of(&two.repeat(4)), Some((Sound::Mpeg, 0)));
        let mut three = b"\xFF\xF3\x80\x64".to_vec();
        three.resize(208, 0);
        assert_eq!(
            of(&[b"x", &three.repeat(4)[..]].concat()),
            Some((Sound::Mpeg, 1))
        );
        let mut aac = b"\xFF\xF1\x50\x80\x0C\x9F\xFC".to_vec();
        aac.resize(100, 0);
        assert_eq!(
            of(&[b"x", &aac.repeat(4)[..]].concat()),
            Some((Sound::Adts, 1))
        );
    }

    #[test]
    fn other_files_are_not_audio() {
        for bytes in [
            &b"%PDF-1.7"[..],
            b"hello, this is text",
            b"\xFF\xFEh\0e\0l\0l\0o\0",
            &[0xFF; 5_000],
            &[0; 5_000],
            b"",
        ] {
            assert_eq!(of(bytes), None, "{bytes:?}");
        }
        // Audio within another file does not count.
        let zip = [b"PK\x03\x04\x0A\0\0\0\0\0", &mp3(6)[..]].concat();
        assert_eq!(of(&zip), None);
    }

    #[test]
    fn signatures_are_detected() {
        assert_eq!(of(b"FORM\0\0\0\x04AIFC"), Some((Sound::Aiff, 0)));
        assert_eq!(of(b"caff\0\x01\0\0desc"), Some((Sound::Caf, 0)));
        assert_eq!(of(b".snd\0\0\0\x18"), Some((Sound::Au, 0)));
        assert_eq!(of(b"\x1A\x45\xDF\xA3\x9F"), Some((Sound::WebM, 0)));
        assert_eq!(of(b"RF64\xFF\xFF\xFF\xFFWAVEds64"), Some((Sound::Wav, 0)));
        let mut gsm = [0xD5; 33];
        gsm[1..].fill(0);
        assert_eq!(of(&gsm.repeat(8)), Some((Sound::Gsm, 0)));
        assert_eq!(of(&gsm.repeat(7)), None);
    }
}
