//! Reads the header of WebP files (RFC 9649): size, and whether it is an animation.

use std::io::{Read, Seek, SeekFrom};

use super::MediaError;

/// Width and height in pixels, and whether there are several frames.
///
/// # Errors
/// [`MediaError::Broken`] if the header is incomplete; I/O errors.
pub(super) fn read<R: Read + Seek>(mut source: R) -> Result<(u32, u32, bool), MediaError> {
    let mut head = [0; 30];
    source.seek(SeekFrom::Start(0))?;
    source
        .read_exact(&mut head)
        .map_err(|_| broken("its head is cut off"))?;
    let at = |at: usize| u32::from(head[at]);
    let (width, height, animated) = match &head[12..16] {
        // Canvas sizes less one, in 24 bits each.
        b"VP8X" => (
            1 + at(24) + (at(25) << 8) + (at(26) << 16),
            1 + at(27) + (at(28) << 8) + (at(29) << 16),
            head[20] & 2 != 0,
        ),
        // A signature, then sizes less one in 14 bits each.
        b"VP8L" if head[20] == 0x2F => {
            let bits = at(21) | at(22) << 8 | at(23) << 16 | at(24) << 24;
            (1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF), false)
        }
        // A key frame, its start code, then sizes in 14 bits and scales in 2.
        b"VP8 " if head[20] & 1 == 0 && head[23..26] == [0x9D, 0x01, 0x2A] => (
            (at(26) | at(27) << 8) & 0x3FFF,
            (at(28) | at(29) << 8) & 0x3FFF,
            false,
        ),
        _ => return Err(broken("its head makes no sense")),
    };
    if width == 0 || height == 0 {
        return Err(broken("it has no size"));
    }
    Ok((width, height, animated))
}

fn broken(why: &str) -> MediaError {
    MediaError::Broken(why.to_owned())
}

/// An animation's chunk for a frame at `(x, y, width, height)`, of which x and y are even. `picture` is a chunk.
pub(super) fn frame(
    to: &mut Vec<u8>,
    (x, y, width, height): (u32, u32, u32, u32),
    milliseconds: u32,
    blends: bool,
    picture: &[u8],
) {
    let mut content = Vec::with_capacity(16 + picture.len());
    for value in [x / 2, y / 2, width - 1, height - 1, milliseconds] {
        content.extend_from_slice(&three(value));
    }
    content.push(if blends { 0 } else { 2 });
    content.extend_from_slice(picture);
    chunk(to, b"ANMF", &content);
}

/// Changes how long the frame is shown whose chunk begins at `at`.
pub(super) fn set_duration(chunks: &mut [u8], at: usize, milliseconds: u32) {
    if let Some(place) = chunks.get_mut(at + 20..at + 23) {
        place.copy_from_slice(&three(milliseconds));
    }
}

/// A file of these chunks: a picture, or the frames of an animation.
pub(super) fn file(
    size: (u32, u32),
    alpha: bool,
    animated: bool,
    chunks: &[u8],
    exif: Option<&[u8]>,
) -> Vec<u8> {
    let mut body = Vec::with_capacity(chunks.len() + 100);
    let flags = u8::from(alpha) << 4 | u8::from(exif.is_some()) << 3 | u8::from(animated) << 1;
    chunk(&mut body, b"VP8X", &extended(flags, size));
    if animated {
        // A transparent background; for ever.
        chunk(&mut body, b"ANIM", &[0; 6]);
    }
    body.extend_from_slice(chunks);
    if let Some(exif) = exif {
        chunk(&mut body, b"EXIF", exif);
    }
    riff(&body)
}

/// The same file with other metadata; `None` if it is no WebP.
pub(super) fn with_exif(file: &[u8], exif: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::with_capacity(file.len() + exif.len() + 64);
    let mut rest = file.get(12..)?;
    let mut is_first = true;
    while rest.len() >= 8 {
        let (name, length) = (rest.first_chunk::<4>()?, rest[4..].first_chunk::<4>()?);
        let length = u32::from_le_bytes(*length) as usize;
        let content = rest.get(8..8_usize.checked_add(length)?)?;
        if is_first {
            match name {
                b"VP8X" => {
                    let mut head = content.to_vec();
                    *head.first_mut()? |= 8;
                    chunk(&mut body, b"VP8X", &head);
                }
                _ => {
                    let (width, height, _) = read(std::io::Cursor::new(file)).ok()?;
                    let has_alpha = name == b"VP8L" && content.get(4)? & 0x10 != 0;
                    let flags = u8::from(has_alpha) << 4 | 8;
                    chunk(&mut body, b"VP8X", &extended(flags, (width, height)));
                    chunk(&mut body, name, content);
                }
            }
        } else if !matches!(name, b"EXIF" | b"VP8X") {
            chunk(&mut body, name, content);
        }
        is_first = false;
        rest = rest.get(8 + length + length % 2..).unwrap_or_default();
    }
    chunk(&mut body, b"EXIF", exif);
    (!is_first).then(|| riff(&body))
}

/// The content of `VP8X`: flags, and the size less one.
fn extended(flags: u8, (width, height): (u32, u32)) -> Vec<u8> {
    let mut content = vec![flags, 0, 0, 0];
    content.extend_from_slice(&three(width - 1));
    content.extend_from_slice(&three(height - 1));
    content
}

fn riff(body: &[u8]) -> Vec<u8> {
    let mut file = Vec::with_capacity(body.len() + 12);
    file.extend_from_slice(b"RIFF");
    file.extend_from_slice(&(body.len() as u32 + 4).to_le_bytes());
    file.extend_from_slice(b"WEBP");
    file.extend_from_slice(body);
    file
}

fn chunk(to: &mut Vec<u8>, name: &[u8; 4], content: &[u8]) {
    to.extend_from_slice(name);
    to.extend_from_slice(&(content.len() as u32).to_le_bytes());
    to.extend_from_slice(content);
    if content.len() % 2 == 1 {
        to.push(0);
    }
}

/// 24 bits.
fn three(value: u32) -> [u8; 3] {
    let [a, b, c, _] = value.to_le_bytes();
    [a, b, c]
}
