//! Stickers: WebP of 512 × 512 pixels, with the pack's name and author in its EXIF metadata.
//!
//! Stickers made here are lossless; colours get fewer bits until the file has the size that WhatsApp's clients take.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};

use image_webp::{ColorType, WebPEncoder};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::content::Content;
use super::image::{self, Film, Pixels};
use super::{Look, MediaError, Prepared, Spool, Spooled, webp};

/// Pixels of each side.
const SIDE: u32 = 512;
/// Bytes of a still and of a moving sticker.
const STILL: usize = 300_000;
const MOVING: usize = 500_000;
/// Bits of a colour that are tried for a still sticker.
const BITS: [u8; 5] = [8, 6, 5, 4, 3];
/// Bits of a colour, and the shortest time of a frame in milliseconds, that are tried for a moving sticker.
const TRIES: [(u8, u32); 4] = [(6, 66), (5, 100), (4, 150), (3, 300)];
/// Milliseconds of a moving sticker; what follows is cut.
const LENGTH: u32 = 10_000;
/// Bytes of a WebP file whose metadata is changed: it is read as a whole.
const MAX_WEBP: u64 = 4_000_000;

/// What is shown of a sticker's origin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pack {
    pub name: String,
    pub author: String,
}

impl Pack {
    /// The EXIF block in which clients look for it: a TIFF directory with one entry, tag 0x5741, whose bytes are JSON.
    fn exif(&self) -> Vec<u8> {
        let Pack { name, author } = self;
        // Stickers of one pack have one id.
        let id: [u8; 32] = Sha256::digest(format!("{name}\n{author}")).into();
        let id: String = id[..16].iter().map(|byte| format!("{byte:02x}")).collect();
        let json = json!({"sticker-pack-id": id, "sticker-pack-name": name,
            "sticker-pack-publisher": author, "emojis": []});
        let json = json.to_string();
        let mut exif = b"II*\0\x08\0\0\0\x01\0\x41\x57\x07\0".to_vec();
        exif.extend_from_slice(&(json.len() as u32).to_le_bytes());
        exif.extend_from_slice(&22_u32.to_le_bytes());
        exif.extend_from_slice(json.as_bytes());
        exif
    }
}

/// Makes a sticker of a file.
///
/// # Errors
/// See [`MediaError`].
pub(super) fn prepare(
    content: Content,
    mut source: File,
    file: Spooled,
    pack: Option<&Pack>,
    spool: &Spool,
) -> Result<Prepared, MediaError> {
    let exif = pack.map(Pack::exif);
    let exif = exif.as_deref();
    let (bytes, animated) = match content {
        Content::WebP => {
            let (width, height, animated) = webp::read(&mut source)?;
            match animated || (width, height) == (SIDE, SIDE) {
                true if exif.is_none() => return Ok(made(file, (width, height), animated)?),
                true => {
                    let bytes = with_exif(source, exif.unwrap_or_default())?;
                    let file = spooled(&bytes, spool)?;
                    return Ok(made(file, (width, height), animated)?);
                }
                // What no picture can be made of stays as it is.
                false => match still(content, source, exif) {
                    Ok(bytes) => (bytes, false),
                    Err(MediaError::Broken(_)) => return Ok(made(file, (width, height), false)?),
                    Err(error) => return Err(error),
                },
            }
        }
        Content::Gif => match moving(&source, exif)? {
            Some(bytes) => (bytes, true),
            None => (still(content, source, exif)?, false),
        },
        Content::Png | Content::Jpeg => (still(content, source, exif)?, false),
        _ => {
            return Err(MediaError::NotWhat {
                expected: "a picture that can be made a sticker (WebP, PNG, JPEG or GIF)",
                found: content.name(),
            });
        }
    };
    Ok(made(spooled(&bytes, spool)?, (SIDE, SIDE), animated)?)
}

fn made(file: Spooled, (width, height): (u32, u32), animated: bool) -> io::Result<Prepared> {
    Ok(Prepared {
        size: file.size()?,
        file,
        mimetype: "image/webp".to_owned(),
        look: Look {
            width: Some(width),
            height: Some(height),
            animated,
            ..Look::default()
        },
    })
}

fn spooled(bytes: &[u8], spool: &Spool) -> io::Result<Spooled> {
    let (spooled, mut file) = spool.create()?;
    file.write_all(bytes)?;
    Ok(spooled)
}

fn with_exif(mut source: File, exif: &[u8]) -> Result<Vec<u8>, MediaError> {
    source.seek(SeekFrom::Start(0))?;
    let mut bytes = Vec::new();
    source.take(MAX_WEBP + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_WEBP {
        return Err(MediaError::TooDetailed);
    }
    webp::with_exif(&bytes, exif)
        .ok_or_else(|| MediaError::Broken("its parts make no sense".to_owned()))
}

fn still(content: Content, source: File, exif: Option<&[u8]>) -> Result<Vec<u8>, MediaError> {
    let canvas = fit(image::pixels(content, source, SIDE)?);
    let mut last = Vec::new();
    for bits in BITS {
        last = encode(&colours(&canvas, bits), SIDE, SIDE)?;
        if last.len() <= STILL {
            break;
        }
    }
    let alpha = canvas.chunks_exact(4).any(|pixel| pixel[3] < 255);
    Ok(webp::file((SIDE, SIDE), alpha, false, &last, exif))
}

/// A GIF as a moving sticker; `None` if it does not move, or is too large for that.
fn moving(source: &File, exif: Option<&[u8]>) -> Result<Option<Vec<u8>>, MediaError> {
    for (bits, shortest) in TRIES {
        let Some(mut film) = Film::open(source.try_clone()?, SIDE)? else {
            return Ok(None);
        };
        let mut frames = Frames::new(bits, shortest);
        while frames.time < LENGTH
            && frames.chunks.len() <= MOVING
            && let Some((pixels, delay)) = film.next()
        {
            frames.add(pixels, delay)?;
        }
        if frames.count < 2 {
            return Ok(None);
        }
        if frames.chunks.len() <= MOVING {
            let chunks = frames.chunks;
            return Ok(Some(webp::file((SIDE, SIDE), true, true, &chunks, exif)));
        }
    }
    Err(MediaError::TooDetailed)
}

/// The frames of a moving sticker.
struct Frames {
    bits: u8,
    /// Milliseconds that each frame is shown at least.
    shortest: u32,
    /// Milliseconds so far.
    time: u32,
    count: usize,
    /// Chunks of WebP.
    chunks: Vec<u8>,
    /// Where the last frame's chunk begins, and how long it is shown.
    last: (usize, u32),
    /// What is shown.
    canvas: Vec<u8>,
}

impl Frames {
    fn new(bits: u8, shortest: u32) -> Frames {
        Frames {
            bits,
            shortest,
            time: 0,
            count: 0,
            chunks: Vec::new(),
            last: (0, 0),
            canvas: vec![0; (SIDE * SIDE * 4) as usize],
        }
    }

    /// Adds a picture that is shown for so many milliseconds.
    fn add(&mut self, pixels: Pixels, delay: u32) -> Result<(), MediaError> {
        self.time += delay;
        if self.count > 0 && self.last.1 < self.shortest {
            self.lasts(delay);
            return Ok(());
        }
        let shown = colours(&fit(pixels), self.bits);
        let Some((x, y, width, height)) = changed(&self.canvas, &shown, self.count == 0) else {
            self.lasts(delay);
            return Ok(());
        };
        let mut part = Vec::with_capacity((width * height * 4) as usize);
        let mut blends = true;
        for line in y..y + height {
            let at = ((line * SIDE + x) * 4) as usize;
            let row = at..at + (width * 4) as usize;
            for (old, new) in self.canvas[row.clone()]
                .chunks_exact(4)
                .zip(shown[row].chunks_exact(4))
            {
                blends &= old == new || new[3] == 255;
                part.extend_from_slice(new);
            }
        }
        if blends {
            // What stays is transparent, which takes next to nothing.
            let lines = part.chunks_exact_mut((width * 4) as usize);
            for (line, row) in (y..).zip(lines) {
                let at = ((line * SIDE + x) * 4) as usize;
                for (new, old) in row
                    .chunks_exact_mut(4)
                    .zip(self.canvas[at..].chunks_exact(4))
                {
                    if new == old {
                        new.fill(0);
                    }
                }
            }
        }
        self.last = (self.chunks.len(), delay);
        let picture = encode(&part, width, height)?;
        webp::frame(
            &mut self.chunks,
            (x, y, width, height),
            delay,
            blends,
            &picture,
        );
        self.canvas = shown;
        self.count += 1;
        Ok(())
    }

    /// The last frame is shown for so many milliseconds more.
    fn lasts(&mut self, delay: u32) {
        self.last.1 += delay;
        webp::set_duration(&mut self.chunks, self.last.0, self.last.1);
    }
}

/// The smallest rectangle that has all that differs, at even coordinates; `all`: the whole picture.
fn changed(old: &[u8], new: &[u8], all: bool) -> Option<(u32, u32, u32, u32)> {
    if all {
        return Some((0, 0, SIDE, SIDE));
    }
    let (mut left, mut top, mut right, mut bottom) = (SIDE, SIDE, 0, 0);
    let pixels = old.chunks_exact(4).zip(new.chunks_exact(4));
    for (at, (old, new)) in (0..).zip(pixels) {
        if old != new {
            let (x, y) = (at % SIDE, at / SIDE);
            (left, right) = (left.min(x & !1), right.max(x));
            (top, bottom) = (top.min(y & !1), bottom.max(y));
        }
    }
    (left <= right).then(|| (left, top, right + 1 - left, bottom + 1 - top))
}

/// A picture in the middle of a transparent square, as large as it fits.
fn fit(picture: Pixels) -> Vec<u8> {
    let Pixels {
        width,
        height,
        rgba,
    } = picture;
    let longer = width.max(height).max(1);
    let scaled = |side: u32| (side * SIDE / longer).clamp(1, SIDE);
    let (columns, rows) = (scaled(width), scaled(height));
    let (left, top) = ((SIDE - columns) / 2, (SIDE - rows) / 2);
    let mut canvas = vec![0; (SIDE * SIDE * 4) as usize];
    // In 1/256 of a pixel: the two neighbours and the second one's weight.
    let between = |at: u32, from: u32, to: u32| {
        let place = ((2 * at + 1) * from * 128 / to)
            .saturating_sub(128)
            .min((from - 1) * 256);
        (place / 256, (place / 256 + 1).min(from - 1), place % 256)
    };
    let pixel = |x: u32, y: u32, channel: usize| {
        let at = ((y * width + x) * 4) as usize + channel;
        rgba.get(at).map_or(0, |value| u32::from(*value))
    };
    for y in 0..rows {
        let (y0, y1, down) = between(y, height, rows);
        for x in 0..columns {
            let (x0, x1, right) = between(x, width, columns);
            let at = (((top + y) * SIDE + left + x) * 4) as usize;
            for (channel, value) in canvas[at..at + 4].iter_mut().enumerate() {
                let row = |y| pixel(x0, y, channel) * (256 - right) + pixel(x1, y, channel) * right;
                *value = ((row(y0) * (256 - down) + row(y1) * down) >> 16) as u8;
            }
        }
    }
    canvas
}

/// Colours as files have them: not multiplied by alpha, and of so many bits.
fn colours(canvas: &[u8], bits: u8) -> Vec<u8> {
    let mask = u8::MAX << (8 - bits);
    let value = |value: u8, alpha: u8| {
        let value = (u16::from(value) * 255 / u16::from(alpha)).min(255) as u8;
        (value & mask) | (value & mask) >> bits.min(7)
    };
    let pixel = |pixel: &[u8]| match *pixel {
        [r, g, b, alpha] if alpha >= 8 => {
            [value(r, alpha), value(g, alpha), value(b, alpha), alpha]
        }
        _ => [0; 4],
    };
    canvas.chunks_exact(4).flat_map(pixel).collect()
}

/// A chunk of lossless WebP.
fn encode(rgba: &[u8], width: u32, height: u32) -> Result<Vec<u8>, MediaError> {
    let mut file = Vec::new();
    WebPEncoder::new(&mut file)
        .encode(rgba, width, height, ColorType::Rgba8)
        .map_err(|error| MediaError::Broken(error.to_string()))?;
    // Behind the head of the file.
    Ok(file.split_off(12.min(file.len())))
}
