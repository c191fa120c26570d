//! The frames of a GIF.

use std::fs::File;
use std::io::{BufReader, Seek as _, SeekFrom};

use super::shrink::{Orientation, Pixels, Shrink};
use super::{MediaError, broken};

/// The most pixels of a GIF whose frames are all decoded: two pictures of it are in memory.
const MAX_FRAME_PIXELS: u32 = 1_000_000;
/// The most frames that are read.
const MAX_FRAMES: u32 = 1_000;
/// How long a frame is shown that does not say so, in milliseconds; as browsers have it.
const USUAL: u32 = 100;

/// A GIF, read frame by frame.
pub(in crate::media) struct Film {
    decoder: gif::Decoder<BufReader<File>>,
    size: (u32, u32),
    most: u32,
    left: u32,
    /// What is shown, in RGBA.
    canvas: Vec<u8>,
}

impl Film {
    /// `None` for a GIF with too many pixels. Each picture has at most `most` pixels in its longer side.
    ///
    /// # Errors
    /// [`MediaError::Broken`]; I/O errors.
    pub(in crate::media) fn open(mut file: File, most: u32) -> Result<Option<Film>, MediaError> {
        file.seek(SeekFrom::Start(0))?;
        let mut options = gif::DecodeOptions::new();
        options.set_color_output(gif::ColorOutput::RGBA);
        options.check_frame_consistency(true);
        let source = BufReader::with_capacity(16 * 1024, file);
        let decoder = options.read_info(source).map_err(broken)?;
        let size = (u32::from(decoder.width()), u32::from(decoder.height()));
        let pixels = size.0 * size.1;
        Ok((1..=MAX_FRAME_PIXELS).contains(&pixels).then(|| Film {
            decoder,
            size,
            most,
            left: MAX_FRAMES,
            canvas: vec![0; pixels as usize * 4],
        }))
    }

    /// The next picture, and for how many milliseconds it is shown. A film that is damaged ends there.
    pub(in crate::media) fn next(&mut self) -> Option<(Pixels, u32)> {
        self.left = self.left.checked_sub(1)?;
        let frame = self.decoder.read_next_frame().ok()??;
        let delay = u32::from(frame.delay) * 10;
        let before = match frame.dispose {
            gif::DisposalMethod::Previous => Some(self.canvas.clone()),
            _ => None,
        };
        let (left, top) = (usize::from(frame.left), usize::from(frame.top));
        let (columns, rows) = (usize::from(frame.width), usize::from(frame.height));
        let width = self.size.0 as usize;
        let place = |row: usize| {
            let at = ((top + row) * width + left) * 4;
            at..at + columns * 4
        };
        for (row, pixels) in frame.buffer.chunks_exact((columns * 4).max(1)).enumerate() {
            let Some(shown) = self.canvas.get_mut(place(row)) else {
                break;
            };
            for (shown, pixel) in shown.chunks_exact_mut(4).zip(pixels.chunks_exact(4)) {
                if pixel[3] > 0 {
                    shown.copy_from_slice(pixel);
                }
            }
        }
        let is_cleared = frame.dispose == gif::DisposalMethod::Background;
        let mut small = Shrink::new(self.size.0, self.size.1, self.most);
        for (y, row) in (0..).zip(self.canvas.chunks_exact(width * 4)) {
            small.add_row(0..self.size.0, y, row, 4);
        }
        if let Some(before) = before {
            self.canvas = before;
        } else if is_cleared {
            for row in 0..rows {
                if let Some(shown) = self.canvas.get_mut(place(row)) {
                    shown.fill(0);
                }
            }
        }
        let delay = if delay <= 10 { USUAL } else { delay };
        Some((small.into_pixels(Orientation::default()), delay))
    }
}
