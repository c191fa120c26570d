//! Detects the type of a file by its first bytes only.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};

/// Bytes that are read to detect the type.
const HEAD: usize = 8 * 1024;

/// The formats that WhatsApp has kinds of messages for, and a MIME type for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    Jpeg,
    Png,
    Gif,
    WebP,
    /// ISO media files; their tracks tell video from audio.
    Iso(Iso),
    Mp3,
    /// AAC in ADTS frames.
    Adts,
    Flac,
    Wav,
    Ogg(Ogg),
    /// Another known format, by MIME type.
    Other(&'static str),
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Iso {
    Mp4,
    QuickTime,
    ThreeGp,
    /// Its brand declares audio only.
    M4a,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ogg {
    Opus,
    Vorbis,
    Flac,
    Other,
}

impl Content {
    /// Reads the beginning of the file; returns the content and its offset behind ID3 tags, which may precede
    /// MP3, AAC and FLAC.
    pub(super) fn of(file: &mut File) -> io::Result<(Content, u64)> {
        let mut start = 0;
        loop {
            let head = head(file, start)?;
            match id3_size(&head) {
                // Several tags are legal. Each has at least the length of its header, so this ends.
                Some(size) if start < u64::from(u32::MAX) => start += size,
                Some(_) => return Ok((Content::Unknown, 0)),
                None if start == 0 => return Ok((Content::of_bytes(&head), 0)),
                None => {
                    return Ok(match Content::of_bytes(&head) {
                        content @ (Content::Flac | Content::Adts) => (content, start),
                        // Zeros often follow the tag.
                        Content::Mp3 | Content::Unknown => (Content::Mp3, start),
                        _ => (Content::Unknown, 0),
                    });
                }
            }
        }
    }

    pub(super) fn of_bytes(head: &[u8]) -> Content {
        match head {
            [0xFF, 0xD8, 0xFF, ..] => Content::Jpeg,
            [0x89, b'P', b'N', b'G', 0x0D, 0x0A, 0x1A, 0x0A, ..] => Content::Png,
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Content::Gif,
            [
                b'R',
                b'I',
                b'F',
                b'F',
                _,
                _,
                _,
                _,
                b'W',
                b'E',
                b'B',
                b'P',
                ..,
            ] => Content::WebP,
            [
                b'R',
                b'I',
                b'F',
                b'F',
                _,
                _,
                _,
                _,
                b'W',
                b'A',
                b'V',
                b'E',
                ..,
            ] => Content::Wav,
            [b'f', b'L', b'a', b'C', ..] => Content::Flac,
            [b'O', b'g', b'g', b'S', ..] => Content::Ogg(ogg(head)),
            [_, _, _, _, b'f', b't', b'y', b'p', brand @ ..] => iso(brand),
            // QuickTime files without a brand.
            [_, _, _, _, b'm', b'o', b'o', b'v', ..] | [_, _, _, _, b'm', b'd', b'a', b't', ..] => {
                Content::Iso(Iso::QuickTime)
            }
            [0xFF, second, third, ..] if second & 0xE0 == 0xE0 => mpeg_audio(*second, *third),
            _ => infer::get(head).map_or(Content::Unknown, |kind| Content::Other(kind.mime_type())),
        }
    }

    /// The MIME type, if the bytes determine it.
    pub(super) fn mimetype(self) -> Option<&'static str> {
        Some(match self {
            Content::Jpeg => "image/jpeg",
            Content::Png => "image/png",
            Content::Gif => "image/gif",
            Content::WebP => "image/webp",
            Content::Iso(Iso::Mp4) => "video/mp4",
            Content::Iso(Iso::QuickTime) => "video/quicktime",
            Content::Iso(Iso::ThreeGp) => "video/3gpp",
            Content::Iso(Iso::M4a) => "audio/mp4",
            Content::Mp3 => "audio/mpeg",
            Content::Adts => "audio/aac",
            Content::Flac => "audio/flac",
            Content::Wav => "audio/wav",
            Content::Ogg(Ogg::Opus) => "audio/ogg; codecs=opus",
            Content::Ogg(Ogg::Vorbis | Ogg::Flac) => "audio/ogg",
            Content::Ogg(Ogg::Other) => "application/ogg",
            Content::Other(mimetype) => mimetype,
            Content::Unknown => return None,
        })
    }

    /// For errors.
    pub(super) fn name(self) -> String {
        match self.mimetype() {
            Some(mimetype) => mimetype.to_owned(),
            None => "of a kind that is not known".to_owned(),
        }
    }
}

fn head(file: &mut File, start: u64) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(start))?;
    let mut head = Vec::with_capacity(HEAD);
    file.take(HEAD as u64).read_to_end(&mut head)?;
    Ok(head)
}

/// The length of an ID3v2 tag with header and footer (id3.org, "ID3 tag version 2.4.0", 3.1).
fn id3_size(head: &[u8]) -> Option<u64> {
    let [b'I', b'D', b'3', major, _, flags, size @ ..] = head else {
        return None;
    };
    let size = size.first_chunk::<4>()?;
    // Other versions do not exist: text that begins with these letters.
    if !(2..=4).contains(major) || size.iter().any(|byte| byte & 0x80 != 0) {
        return None;
    }
    let size = size.iter().fold(0, |sum, byte| sum << 7 | u64::from(*byte));
    let foot = if flags & 0x10 == 0 { 0 } else { 10 };
    Some(10 + size + foot)
}

/// Detects by brands: the major one first, compatible ones after the version.
fn iso(brands: &[u8]) -> Content {
    let Some(major) = brands.first_chunk::<4>() else {
        return Content::Unknown;
    };
    match major {
        b"qt  " => Content::Iso(Iso::QuickTime),
        b"M4A " | b"M4B " | b"M4P " | b"F4A " => Content::Iso(Iso::M4a),
        [b'3', b'g', ..] => Content::Iso(Iso::ThreeGp),
        b"heic" | b"heix" | b"heim" | b"heis" | b"hevc" | b"mif1" | b"msf1" => {
            Content::Other("image/heif")
        }
        b"avif" | b"avis" => Content::Other("image/avif"),
        b"crx " => Content::Other("image/x-canon-cr3"),
        _ => Content::Iso(Iso::Mp4),
    }
}

/// The first packet of an OGG file names its codec.
fn ogg(head: &[u8]) -> Ogg {
    let segments = usize::from(head.get(26).copied().unwrap_or(0));
    let packet = head.get(27 + segments..).unwrap_or_default();
    if packet.starts_with(b"OpusHead") {
        Ogg::Opus
    } else if packet.starts_with(b"\x01vorbis") {
        Ogg::Vorbis
    } else if packet.starts_with(b"\x7FFLAC") {
        Ogg::Flac
    } else {
        Ogg::Other
    }
}

/// Detects by the header of an MPEG audio frame: layer 0 is AAC (ISO 13818-7, ADTS), 1 is layer III.
fn mpeg_audio(second: u8, third: u8) -> Content {
    let version = second >> 3 & 3;
    let layer = second >> 1 & 3;
    let rate_is_known = third >> 2 & 3 != 3;
    match (version, layer) {
        (2 | 3, 0) if second & 0x10 != 0 && third >> 2 & 15 < 13 => Content::Adts,
        (0 | 2 | 3, 1) if rate_is_known && third >> 4 != 15 => Content::Mp3,
        (0 | 2 | 3, 2 | 3) if rate_is_known && third >> 4 != 15 => Content::Other("audio/mpeg"),
        _ => Content::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_detected_by_their_bytes() {
        for (bytes, content) in [
            (&b"\xFF\xD8\xFF\xE0"[..], Content::Jpeg),
            (b"\x89PNG\r\n\x1A\n", Content::Png),
            (b"GIF89a", Content::Gif),
            (b"RIFF\x00\x00\x00\x00WEBPVP8 ", Content::WebP),
            (b"RIFF\x00\x00\x00\x00WAVEfmt ", Content::Wav),
            (
                b"RIFF\x00\x00\x00\x00AVI LIST",
                Content::Other("video/x-msvideo"),
            ),
            (
                b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00",
                Content::Iso(Iso::Mp4),
            ),
            (
                b"\x00\x00\x00\x18ftypqt  \x00\x00\x02\x00",
                Content::Iso(Iso::QuickTime),
            ),
            (
                b"\x00\x00\x00\x18ftyp3gp5\x00\x00\x02\x00",
                Content::Iso(Iso::ThreeGp),
            ),
            (
                b"\x00\x00\x00\x18ftypM4A \x00\x00\x02\x00",
                Content::Iso(Iso::M4a),
            ),
            (
                b"\x00\x00\x00\x18ftypheic\x00\x00\x02\x00",
                Content::Other("image/heif"),
            ),
            (b"\xFF\xFB\x90\x64", Content::Mp3),
            (b"\xFF\xF3\x44\xC4", Content::Mp3),
            (b"\xFF\xE3\x18\xC4", Content::Mp3),
            (b"\xFF\xF1\x50\x80", Content::Adts),
            (b"\xFF\xF9\x50\x80", Content::Adts),
            (b"\xFF\xFF\xFF\xFF", Content::Unknown),
            (b"fLaC\x00\x00\x00\x22", Content::Flac),
            (b"%PDF-1.7", Content::Other("application/pdf")),
            (b"PK\x03\x04", Content::Other("application/zip")),
            (b"hello", Content::Unknown),
            (b"", Content::Unknown),
        ] {
            assert_eq!(Content::of_bytes(bytes), content, "{bytes:?}");
        }
    }

    #[test]
    fn the_first_packet_names_the_codec() {
        let page = |packet: &[u8]| {
            let mut page = b"OggS\0\x02\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\x01\x13".to_vec();
            page.extend_from_slice(packet);
            Content::of_bytes(&page)
        };
        assert_eq!(page(b"OpusHead\x01"), Content::Ogg(Ogg::Opus));
        assert_eq!(page(b"\x01vorbis\0"), Content::Ogg(Ogg::Vorbis));
        assert_eq!(page(b"\x7FFLAC\x01"), Content::Ogg(Ogg::Flac));
        assert_eq!(page(b"\x80theora"), Content::Ogg(Ogg::Other));
        assert_eq!(Content::of_bytes(b"OggS"), Content::Ogg(Ogg::Other));
    }

    #[test]
    fn tags_are_skipped() {
        let of = |bytes: &[u8]| {
            let mut file = tempfile::tempfile().unwrap();
            io::Write::write_all(&mut file, bytes).unwrap();
            Content::of(&mut file).unwrap()
        };
        let tag = b"ID3\x04\0\0\0\0\0\x02ab";
        let tagged = |content: &[u8]| of(&[&tag[..], &tag[..], content].concat());
        assert_eq!(tagged(b"\xFF\xFB\x90\x64"), (Content::Mp3, 24));
        assert_eq!(tagged(b"fLaC\0\0\0\x22"), (Content::Flac, 24));
        assert_eq!(tagged(b"\xFF\xF1\x50\x80"), (Content::Adts, 24));
        assert_eq!(tagged(b"\0\0\0\xFF\xFB"), (Content::Mp3, 24));
        assert_eq!(tagged(b"%PDF-1.7"), (Content::Unknown, 0));
        assert_eq!(
            of(b"ID3\x04\0\0\x7F\x7F\x7F\x7F"),
            (Content::Mp3, 10 + 0xFFF_FFFF)
        );
    }
}
