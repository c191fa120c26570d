//! The size and the thumbnail of images. WhatsApp's clients show the thumbnail until the image is downloaded.
//!
//! An image needs only a valid header to be sent. Thumbnails are made where that takes little memory, usually
//! a few MB and always under 24 MB:
//!
//! | | decoded | up to |
//! |---|---|---|
//! | JPEG | the lowest frequencies of each block | [`MAX_PIXELS`] |
//! | PNG, GIF (its first frame) | row by row | [`MAX_PIXELS`] |
//! | WebP | as a whole | [`MAX_WHOLE_PIXELS`] |
//!
//! Larger images and those with damaged pixels are sent without one.

mod film;
mod jpeg;
mod shrink;

use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};

use super::content::Content;
use super::{MediaError, webp};
pub(super) use film::Film;
pub(super) use shrink::Pixels;
use shrink::{Orientation, Shrink, THUMBNAIL};

/// The most pixels decoded row by row: some seconds on a small board.
const MAX_PIXELS: u64 = 50_000_000;
/// The most pixels per row, which PNG and GIF keep in memory.
const MAX_WIDTH: u32 = 40_000;
/// Pixels of a profile picture's longer side when it is read, and of its sides at most and at least, as in WhatsApp's
/// clients.
const LOOKED_AT: u32 = 800;
const PORTRAIT: u32 = 640;
const LEAST: u32 = 192;
/// JPEG quality of a thumbnail, for some 3 kB, and of a profile picture.
const COARSE: u8 = 50;
const FINE: u8 = 80;
/// The most pixels of an image decoded as a whole, which takes 8 bytes per pixel.
const MAX_WHOLE_PIXELS: u64 = 3_000_000;

/// The properties of an image.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Picture {
    /// In pixels, after rotation.
    pub(super) width: u32,
    pub(super) height: u32,
    /// JPEG.
    pub(super) thumbnail: Option<Vec<u8>>,
}

/// What is read of an image.
struct Seen {
    /// In pixels, as stored.
    size: (u32, u32),
    orientation: Orientation,
    /// Absent for images that are too large or damaged.
    small: Option<Shrink>,
}

/// Reads the size of an image and makes its thumbnail.
///
/// # Errors
/// [`MediaError::Broken`] if its size cannot be read; I/O errors.
pub(super) fn look(content: Content, file: File) -> Result<Picture, MediaError> {
    let seen = see(content, file, THUMBNAIL)?;
    let (mut width, mut height) = seen.size;
    if seen.orientation.exchanges_sides() {
        (width, height) = (height, width);
    }
    let small = seen.small;
    Ok(Picture {
        width,
        height,
        thumbnail: small.and_then(|small| small.into_jpeg(seen.orientation, COARSE)),
    })
}

/// The pixels of an image (of a moving one its first frame), upright, with at most `most` pixels in its longer side.
///
/// # Errors
/// [`MediaError::Broken`] for an image that is damaged or too large; I/O errors.
pub(super) fn pixels(content: Content, file: File, most: u32) -> Result<Pixels, MediaError> {
    let seen = see(content, file, most)?;
    let small = seen
        .small
        .ok_or_else(|| broken("it is damaged, or has too many pixels"))?;
    Ok(small.into_pixels(seen.orientation))
}

/// The middle of an image as a square, a JPEG.
///
/// # Errors
/// [`MediaError::NotWhat`] for one that is too small or no image; as [`pixels`].
pub(super) fn portrait(content: Content, file: File) -> Result<Vec<u8>, MediaError> {
    let Pixels {
        width,
        height,
        rgba,
    } = pixels(content, file, LOOKED_AT)?;
    let side = width.min(height);
    if side < LEAST {
        return Err(MediaError::NotWhat {
            expected: "a picture with at least 192 pixels on each side, and not four times as wide as it is high",
            found: format!("{width} × {height} pixels"),
        });
    }
    let (left, top) = ((width - side) / 2, (height - side) / 2);
    let mut square = Shrink::new(side, side, PORTRAIT);
    let rows = rgba.chunks_exact(width as usize * 4).skip(top as usize);
    for (y, row) in (0..side).zip(rows) {
        let from = left as usize * 4;
        let row = row.get(from..from + side as usize * 4).unwrap_or_default();
        square.add_row(0..side, y, row, 4);
    }
    let jpeg = square.into_jpeg(Orientation::default(), FINE);
    jpeg.ok_or_else(|| broken("it cannot be encoded"))
}

fn see(content: Content, mut file: File, most: u32) -> Result<Seen, MediaError> {
    file.seek(SeekFrom::Start(0))?;
    let source = BufReader::with_capacity(16 * 1024, file);
    match content {
        Content::Jpeg => jpeg::see(source, most),
        Content::Png => png(source, most),
        Content::Gif => gif(source, most),
        Content::WebP => webp(source, most),
        _ => Err(MediaError::Broken("it is no image".to_owned())),
    }
}

fn broken(error: impl std::fmt::Display) -> MediaError {
    MediaError::Broken(error.to_string())
}

/// A small picture in progress, if the image has at most `pixels`.
fn shrink((width, height): (u32, u32), pixels: u64, most: u32) -> Option<Shrink> {
    let few = u64::from(width) * u64::from(height) <= pixels && width <= MAX_WIDTH;
    few.then(|| Shrink::new(width, height, most))
}

fn png(source: impl BufRead + Seek, most: u32) -> Result<Seen, MediaError> {
    let limits = png::Limits {
        bytes: 4 * 1024 * 1024,
    };
    let mut decoder = png::Decoder::new_with_limits(source, limits);
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let info = decoder.read_header_info().map_err(broken)?;
    let (width, height) = (info.width, info.height);
    let small = shrink((width, height), MAX_PIXELS, most).and_then(|mut shrink| {
        let mut reader = decoder.read_info().ok()?;
        let channels = reader.output_color_type().0.samples();
        // The rows of Adam7's passes, in the reader's order.
        let mut passes = reader.info().interlaced.then(|| adam7(width, height));
        let mut y = 0;
        while let Some(row) = reader.next_row().ok()? {
            let (start, step, line) = match &mut passes {
                Some(passes) => passes.next()?,
                None => (0, 1, y),
            };
            y += 1;
            let columns = (start..width).step_by(step);
            shrink.add_row(columns, line, row.data(), channels);
        }
        Some(shrink)
    });
    Ok(Seen {
        size: (width, height),
        orientation: Orientation::default(),
        small,
    })
}

/// First column, step and line of each row of an interlaced PNG (PNG specification, 8.1).
fn adam7(width: u32, height: u32) -> impl Iterator<Item = (u32, usize, u32)> {
    const PASSES: [(u32, u32, u32, u32); 7] = [
        (0, 8, 0, 8),
        (4, 8, 0, 8),
        (0, 4, 4, 8),
        (2, 4, 0, 4),
        (0, 2, 2, 4),
        (1, 2, 0, 2),
        (0, 1, 1, 2),
    ];
    PASSES
        .into_iter()
        .filter(move |(x, ..)| *x < width)
        .flat_map(move |(x, dx, y, dy)| {
            (y..height)
                .step_by(dy as usize)
                .map(move |line| (x, dx as usize, line))
        })
}

fn gif(source: impl BufRead, most: u32) -> Result<Seen, MediaError> {
    let mut options = gif::DecodeOptions::new();
    options.set_color_output(gif::ColorOutput::RGBA);
    let mut decoder = options.read_info(source).map_err(broken)?;
    let (width, height) = (u32::from(decoder.width()), u32::from(decoder.height()));
    if width == 0 || height == 0 {
        return Err(broken("it has no size"));
    }
    let small = shrink((width, height), MAX_PIXELS, most).and_then(|mut shrink| {
        let frame = decoder.next_frame_info().ok()??;
        let (left, top) = (u32::from(frame.left), u32::from(frame.top));
        let (rows, columns) = (u32::from(frame.height), u32::from(frame.width));
        let inside = left + columns <= width && top + rows <= height;
        if !inside {
            return None;
        }
        let lines: Box<dyn Iterator<Item = u32>> = if frame.interlaced {
            let passes = [(0, 8), (4, 8), (2, 4), (1, 2)];
            Box::new(
                passes
                    .into_iter()
                    .flat_map(move |(y, step)| (y..rows).step_by(step)),
            )
        } else {
            Box::new(0..rows)
        };
        let mut row = vec![0; columns as usize * 4];
        for y in lines {
            if !decoder.fill_buffer(&mut row).ok()? {
                return None;
            }
            for (x, pixel) in (left..).zip(row.chunks_exact(4)) {
                if let [r, g, b, alpha] = *pixel {
                    shrink.add_alpha(x, top + y, [r, g, b], alpha);
                }
            }
        }
        Some(shrink)
    });
    Ok(Seen {
        size: (width, height),
        orientation: Orientation::default(),
        small,
    })
}

fn webp(mut source: impl BufRead + Seek, most: u32) -> Result<Seen, MediaError> {
    let (width, height, _) = webp::read(&mut source)?;
    let small = shrink((width, height), MAX_WHOLE_PIXELS, most).and_then(|mut shrink| {
        source.seek(SeekFrom::Start(0)).ok()?;
        let mut decoder = image_webp::WebPDecoder::new(source).ok()?;
        decoder.set_memory_limit(MAX_WHOLE_PIXELS as usize * 8);
        // The decoder must see the size that was checked.
        if decoder.dimensions() != (width, height) {
            return None;
        }
        let channels = if decoder.has_alpha() { 4 } else { 3 };
        let mut pixels = vec![0; decoder.output_buffer_size()?];
        if decoder.is_animated() {
            decoder.read_frame(&mut pixels).ok()?;
        } else {
            decoder.read_image(&mut pixels).ok()?;
        }
        for (y, row) in (0..).zip(pixels.chunks_exact(width as usize * channels)) {
            shrink.add_row(0..width, y, row, channels);
        }
        Some(shrink)
    });
    Ok(Seen {
        size: (width, height),
        orientation: Orientation::default(),
        small,
    })
}
