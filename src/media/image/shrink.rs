//! Makes thumbnails and stickers: averages pixels, in any order, into a small picture.

use jpeg_encoder::{ColorType, Encoder};

/// The longer side of a thumbnail in pixels, as in WhatsApp's clients.
pub(super) const THUMBNAIL: u32 = 100;

/// The orientation of a picture: EXIF's tag 0x0112, 1 to 8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Orientation(u16);

impl Default for Orientation {
    fn default() -> Self {
        Orientation(1)
    }
}

impl Orientation {
    /// Unknown values mean upright.
    pub(super) fn new(tag: u16) -> Orientation {
        if (1..=8).contains(&tag) {
            Orientation(tag)
        } else {
            Orientation::default()
        }
    }

    pub(super) fn exchanges_sides(self) -> bool {
        self.0 >= 5
    }

    /// The stored position of the pixel shown at `(x, y)`; the stored picture is `width` × `height`.
    fn source(self, x: u32, y: u32, width: u32, height: u32) -> (u32, u32) {
        let (right, bottom) = (width - 1 - x, height - 1 - y);
        match self.0 {
            2 => (right, y),
            3 => (right, bottom),
            4 => (x, bottom),
            5 => (y, x),
            6 => (y, right),
            7 => (bottom, right),
            8 => (bottom, x),
            _ => (x, y),
        }
    }
}

/// A small picture in progress.
#[derive(Debug)]
pub(super) struct Shrink {
    source: (u32, u32),
    size: (u32, u32),
    /// Sums of red, green and blue (each multiplied by alpha) and of alpha, and the count. No overflow: at most
    /// `MAX_PIXELS` / `THUMBNAIL` bytes each.
    sums: Vec<[u32; 5]>,
}

/// A small picture: rows of RGBA.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::media) struct Pixels {
    pub(in crate::media) width: u32,
    pub(in crate::media) height: u32,
    pub(in crate::media) rgba: Vec<u8>,
}

impl Shrink {
    /// For a picture whose longer side has at most `most` pixels. `width` and `height` are not 0.
    pub(super) fn new(width: u32, height: u32, most: u32) -> Shrink {
        let longer = width.max(height).max(1);
        let small = |side: u32| match longer <= most {
            true => side.max(1),
            false => (u64::from(side) * u64::from(most) / u64::from(longer)).max(1) as u32,
        };
        let size = (small(width), small(height));
        Shrink {
            source: (width.max(1), height.max(1)),
            size,
            sums: vec![[0; 5]; (size.0 * size.1) as usize],
        }
    }

    /// Adds an opaque pixel; ignores one outside of the picture.
    pub(super) fn add(&mut self, x: u32, y: u32, rgb: [u8; 3]) {
        self.add_alpha(x, y, rgb, 255);
    }

    /// Adds a pixel; ignores one outside of the picture.
    pub(super) fn add_alpha(&mut self, x: u32, y: u32, rgb: [u8; 3], alpha: u8) {
        if x >= self.source.0 || y >= self.source.1 {
            return;
        }
        let small = |at: u32, size, source| u64::from(at) * u64::from(size) / u64::from(source);
        let column = small(x, self.size.0, self.source.0);
        let row = small(y, self.size.1, self.source.1);
        if let Some(sum) = self
            .sums
            .get_mut((row * u64::from(self.size.0) + column) as usize)
        {
            for (sum, value) in sum.iter_mut().zip(rgb) {
                *sum += u32::from(u16::from(value) * u16::from(alpha) / 255);
            }
            sum[3] += u32::from(alpha);
            sum[4] += 1;
        }
    }

    /// Adds the pixels of a row at `columns`, with grey or RGB and maybe alpha, by the number of `channels`.
    pub(super) fn add_row(
        &mut self,
        columns: impl Iterator<Item = u32>,
        y: u32,
        row: &[u8],
        channels: usize,
    ) {
        for (x, pixel) in columns.zip(row.chunks_exact(channels)) {
            match *pixel {
                [grey] => self.add(x, y, [grey; 3]),
                [grey, alpha] => self.add_alpha(x, y, [grey; 3], alpha),
                [r, g, b] => self.add(x, y, [r, g, b]),
                [r, g, b, alpha] => self.add_alpha(x, y, [r, g, b], alpha),
                _ => {}
            }
        }
    }

    /// The thumbnail, upright and on white; white where pixels are missing.
    pub(super) fn into_jpeg(self, orientation: Orientation, quality: u8) -> Option<Vec<u8>> {
        let Pixels {
            width,
            height,
            rgba,
        } = self.into_pixels(orientation);
        let on_white = |pixel: &[u8]| match *pixel {
            [r, g, b, alpha] => [r, g, b].map(|value| value.saturating_add(255 - alpha)),
            _ => [255; 3],
        };
        let pixels: Vec<u8> = rgba.chunks_exact(4).flat_map(on_white).collect();
        let mut jpeg = Vec::new();
        Encoder::new(&mut jpeg, quality)
            // Both are far below 65,536.
            .encode(&pixels, width as u16, height as u16, ColorType::Rgb)
            .ok()?;
        Some(jpeg)
    }

    /// The picture, upright, its colours multiplied by alpha; transparent where pixels are missing.
    pub(super) fn into_pixels(self, orientation: Orientation) -> Pixels {
        let (mut width, mut height) = self.size;
        if orientation.exchanges_sides() {
            (width, height) = (height, width);
        }
        let mut rgba = Vec::with_capacity((width * height * 4) as usize);
        for y in 0..height {
            for x in 0..width {
                let (x, y) = orientation.source(x, y, width, height);
                let [r, g, b, alpha, count] = self.sums[(y * self.size.0 + x) as usize];
                let mean = |sum: u32| sum.checked_div(count).map_or(0, |mean| mean as u8);
                rgba.extend_from_slice(&[r, g, b, alpha].map(mean));
            }
        }
        Pixels {
            width,
            height,
            rgba,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orientations_are_those_of_exif() {
        // A picture of 3 by 2 whose corner at the top left of what is shown is stored at …
        for (tag, stored) in [
            (1, (0, 0)),
            (2, (2, 0)),
            (3, (2, 1)),
            (4, (0, 1)),
            (5, (0, 0)),
            (6, (0, 1)),
            (7, (2, 1)),
            (8, (2, 0)),
            (9, (0, 0)),
        ] {
            let orientation = Orientation::new(tag);
            let (width, height) = if orientation.exchanges_sides() {
                (2, 3)
            } else {
                (3, 2)
            };
            assert_eq!(orientation.source(0, 0, width, height), stored, "{tag}");
        }
    }

    #[test]
    fn sides_keep_their_proportion() {
        for (source, size) in [
            ((4000, 3000), (100, 75)),
            ((3000, 4000), (75, 100)),
            ((50, 20), (50, 20)),
            ((40_000, 1), (100, 1)),
            ((1, 1), (1, 1)),
        ] {
            assert_eq!(Shrink::new(source.0, source.1, THUMBNAIL).size, size);
        }
    }
}
