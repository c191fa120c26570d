//! Makes thumbnails: averages pixels, in any order, into a small picture.

use jpeg_encoder::{ColorType, Encoder};

/// The longer side of a thumbnail in pixels, as in WhatsApp's clients.
const SIDE: u32 = 100;
/// JPEG quality, for some 3 kB.
const QUALITY: u8 = 50;

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

/// A thumbnail in progress.
#[derive(Debug)]
pub(super) struct Shrink {
    source: (u32, u32),
    size: (u32, u32),
    /// Sums of red, green and blue, and the count. No overflow: at most `MAX_PIXELS` / `SIDE` bytes each.
    sums: Vec<[u32; 4]>,
}

impl Shrink {
    /// `width` and `height` are not 0.
    pub(super) fn new(width: u32, height: u32) -> Shrink {
        let longer = width.max(height).max(1);
        let small = |side: u32| match longer {
            ..=SIDE => side.max(1),
            _ => (u64::from(side) * u64::from(SIDE) / u64::from(longer)).max(1) as u32,
        };
        let size = (small(width), small(height));
        Shrink {
            source: (width.max(1), height.max(1)),
            size,
            sums: vec![[0; 4]; (size.0 * size.1) as usize],
        }
    }

    /// Adds a pixel; ignores one outside of the picture.
    pub(super) fn add(&mut self, x: u32, y: u32, [r, g, b]: [u8; 3]) {
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
            sum[0] += u32::from(r);
            sum[1] += u32::from(g);
            sum[2] += u32::from(b);
            sum[3] += 1;
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
                [grey, alpha] => self.add_blended(x, y, [grey; 3], alpha),
                [r, g, b] => self.add(x, y, [r, g, b]),
                [r, g, b, alpha] => self.add_blended(x, y, [r, g, b], alpha),
                _ => {}
            }
        }
    }

    /// Adds a pixel, blended with white.
    pub(super) fn add_blended(&mut self, x: u32, y: u32, rgb: [u8; 3], alpha: u8) {
        let alpha = u16::from(alpha);
        let blend = |value: u8| ((u16::from(value) * alpha + 255 * (255 - alpha)) / 255) as u8;
        self.add(x, y, rgb.map(blend));
    }

    /// The thumbnail, upright; white where pixels are missing.
    pub(super) fn into_jpeg(self, orientation: Orientation) -> Option<Vec<u8>> {
        let (mut width, mut height) = self.size;
        if orientation.exchanges_sides() {
            (width, height) = (height, width);
        }
        let mut pixels = Vec::with_capacity((width * height * 3) as usize);
        for y in 0..height {
            for x in 0..width {
                let (x, y) = orientation.source(x, y, width, height);
                let [r, g, b, count] = self.sums[(y * self.size.0 + x) as usize];
                let mean = |sum: u32| sum.checked_div(count).map_or(255, |mean| mean as u8);
                pixels.extend_from_slice(&[mean(r), mean(g), mean(b)]);
            }
        }
        let mut jpeg = Vec::new();
        Encoder::new(&mut jpeg, QUALITY)
            // Both are at most SIDE.
            .encode(&pixels, width as u16, height as u16, ColorType::Rgb)
            .ok()?;
        Some(jpeg)
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
            assert_eq!(Shrink::new(source.0, source.1).size, size);
        }
    }
}
