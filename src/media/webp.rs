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
