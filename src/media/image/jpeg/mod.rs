//! Decodes JPEG (ITU T.81) at a reduced size: of each 8 × 8 block only the lowest frequencies that the thumbnail
//! or the sticker needs are kept; for a photo's thumbnail only the mean. A photo of 12 million pixels takes under 1 MB, also a progressive
//! one, which other decoders keep as a whole.
//!
//! Supported are baseline, extended and progressive Huffman coding with 8 bits; grey, YCbCr, RGB, CMYK, YCCK.
//! Refinements of higher frequencies are ignored: a thumbnail does not show them. A damaged or truncated file is
//! decoded up to the error.

mod exif;
mod huffman;
mod paint;
mod scan;

use std::io::{self, BufRead};

use super::shrink::Orientation;
use super::{MAX_PIXELS, MediaError, Seen, broken};
use huffman::Table;

/// The most bytes of frequencies in memory.
const MAX_BYTES: usize = 12 * 1024 * 1024;
/// The most scans of an image; encoders make some ten.
const MAX_SCANS: u32 = 100;

/// Reads a JPEG.
///
/// # Errors
/// [`MediaError::Broken`] if it has no frame header.
pub(super) fn see(source: impl BufRead, most: u32) -> Result<Seen, MediaError> {
    let mut reader = Reader::new(source, most);
    let read = reader.read();
    let Some(frame) = &reader.frame else {
        return Err(match read {
            Ok(()) => broken("it has no picture"),
            Err(error) => broken(error),
        });
    };
    let small = reader
        .painted
        .then(|| paint::paint(frame, reader.adobe, most))
        .flatten();
    Ok(Seen {
        size: frame.size,
        orientation: reader.orientation,
        small,
    })
}

/// A component of the picture: grey, or one colour.
#[derive(Debug)]
struct Component {
    id: u8,
    /// Sampling factors.
    across: usize,
    down: usize,
    quantization: usize,
    /// Blocks per row, padded to whole MCUs.
    stride: usize,
    rows: usize,
    /// Blocks in scans of this component alone.
    own_columns: usize,
    own_rows: usize,
    /// `keep` × `keep` frequencies per block, by rows.
    kept: Vec<i16>,
}

#[derive(Debug)]
struct Frame {
    size: (u32, u32),
    progressive: bool,
    /// Frequencies kept per block in each direction: 1, 2, 4 or 8; also the number of pixels.
    keep: usize,
    /// MCUs across and down.
    groups: (usize, usize),
    most_across: usize,
    most_down: usize,
    /// Empty if the coding is not supported, or the picture is too large.
    components: Vec<Component>,
    /// The components' tables, as of their first scan.
    quantization: [[u16; 64]; 4],
}

struct Reader<R> {
    source: R,
    /// Pixels of the longer side that are wanted.
    most: u32,
    quantization: [[u16; 64]; 4],
    dc: [Option<Box<Table>>; 4],
    ac: [Option<Box<Table>>; 4],
    restart: u32,
    frame: Option<Frame>,
    orientation: Orientation,
    /// The colour transform in Adobe's segment.
    adobe: Option<u8>,
    scans: u32,
    /// A scan was decoded.
    painted: bool,
    /// The marker that ended the last scan.
    marker: Option<u8>,
}

fn malformed(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

impl<R: BufRead> Reader<R> {
    fn new(source: R, most: u32) -> Reader<R> {
        Reader {
            source,
            most,
            quantization: [[0; 64]; 4],
            dc: [const { None }; 4],
            ac: [const { None }; 4],
            restart: 0,
            frame: None,
            orientation: Orientation::default(),
            adobe: None,
            scans: 0,
            painted: false,
            marker: None,
        }
    }

    /// Reads until the thumbnail cannot improve.
    fn read(&mut self) -> io::Result<()> {
        loop {
            match self.next_marker()? {
                // End of image.
                0xD9 => return Ok(()),
                // Markers without a segment.
                0x01 | 0xD0..=0xD8 => {}
                0xC4 => self.huffman_tables()?,
                0xDB => self.quantization_tables()?,
                0xDD => {
                    let segment = self.segment()?;
                    if let Some(interval) = segment.first_chunk() {
                        self.restart = u32::from(u16::from_be_bytes(*interval));
                    }
                }
                0xE1 => {
                    let segment = self.segment()?;
                    if let Some(tag) = exif::orientation(&segment) {
                        self.orientation = Orientation::new(tag);
                    }
                }
                0xEE => {
                    let segment = self.segment()?;
                    if segment.starts_with(b"Adobe") {
                        self.adobe = segment.get(11).copied();
                    }
                }
                kind @ (0xC0..=0xC3 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF) => {
                    let segment = self.segment()?;
                    if self.frame.is_none() {
                        let frame = Frame::new(kind, &segment, self.most)
                            .ok_or_else(|| malformed("its frame makes no sense"))?;
                        let known = !frame.components.is_empty();
                        self.frame = Some(frame);
                        if !known {
                            return Ok(());
                        }
                    }
                }
                0xDA => {
                    self.scans += 1;
                    if self.scans > MAX_SCANS || self.scan()? {
                        return Ok(());
                    }
                }
                _ => {
                    let length = self.length()?;
                    let mut left = io::Read::take(&mut self.source, u64::from(length));
                    io::copy(&mut left, &mut io::sink())?;
                }
            }
        }
    }

    fn byte(&mut self) -> io::Result<u8> {
        let mut byte = [0];
        self.source.read_exact(&mut byte)?;
        Ok(byte[0])
    }

    /// Skips the rest of a scan or unknown bytes, to the next marker.
    fn next_marker(&mut self) -> io::Result<u8> {
        if let Some(marker) = self.marker.take() {
            return Ok(marker);
        }
        loop {
            while self.byte()? != 0xFF {}
            let mut marker = 0xFF;
            while marker == 0xFF {
                marker = self.byte()?;
            }
            if marker != 0 {
                return Ok(marker);
            }
        }
    }

    /// The length of a segment without its two length bytes.
    fn length(&mut self) -> io::Result<u16> {
        let length = u16::from_be_bytes([self.byte()?, self.byte()?]);
        length
            .checked_sub(2)
            .ok_or_else(|| malformed("a segment has no length"))
    }

    fn segment(&mut self) -> io::Result<Vec<u8>> {
        let mut segment = vec![0; usize::from(self.length()?)];
        self.source.read_exact(&mut segment)?;
        Ok(segment)
    }

    fn quantization_tables(&mut self) -> io::Result<()> {
        let segment = self.segment()?;
        let mut rest = segment.as_slice();
        while let [head, tail @ ..] = rest {
            let wide = usize::from(head >> 4 != 0);
            let values = tail
                .get(..64 << wide)
                .ok_or_else(|| malformed("a quantization table is cut off"))?;
            let table = &mut self.quantization[usize::from(head & 3)];
            for (place, value) in scan::ZIGZAG.iter().zip(values.chunks_exact(1 << wide)) {
                table[usize::from(*place)] = match *value {
                    [high, low] => u16::from_be_bytes([high, low]),
                    _ => u16::from(value[0]),
                };
            }
            rest = &tail[64 << wide..];
        }
        Ok(())
    }

    fn huffman_tables(&mut self) -> io::Result<()> {
        let segment = self.segment()?;
        let mut rest = segment.as_slice();
        while let [head, tail @ ..] = rest {
            let (table, length) =
                Table::new(tail).ok_or_else(|| malformed("a Huffman table makes no sense"))?;
            let place = usize::from(head & 3);
            let tables = if head >> 4 == 0 {
                &mut self.dc
            } else {
                &mut self.ac
            };
            tables[place] = Some(Box::new(table));
            rest = &tail[length..];
        }
        Ok(())
    }
}

impl Frame {
    fn new(kind: u8, segment: &[u8], most: u32) -> Option<Frame> {
        let [precision, h1, h0, w1, w0, count, components @ ..] = segment else {
            return None;
        };
        let height = u32::from(u16::from_be_bytes([*h1, *h0]));
        let width = u32::from(u16::from_be_bytes([*w1, *w0]));
        if width == 0 || height == 0 {
            return None;
        }
        let longer = width.max(height);
        let keep = [1, 2, 4].into_iter().find(|keep| longer * keep / 8 >= most);
        let keep = keep.unwrap_or(8) as usize;
        let mut frame = Frame {
            size: (width, height),
            progressive: kind == 0xC2,
            keep,
            groups: (0, 0),
            most_across: 1,
            most_down: 1,
            components: Vec::new(),
            quantization: [[0; 64]; 4],
        };
        let known = matches!(kind, 0xC0..=0xC2)
            && *precision == 8
            && matches!(count, 1 | 3 | 4)
            && u64::from(width) * u64::from(height) <= MAX_PIXELS;
        if known {
            frame.components = frame.layout(components.get(..usize::from(*count) * 3)?)?;
        }
        Some(frame)
    }

    /// Divides the picture into blocks (T.81, A.1 and A.2). Empty if they take too much memory.
    fn layout(&mut self, specifications: &[u8]) -> Option<Vec<Component>> {
        let mut components = Vec::new();
        for specification in specifications.chunks_exact(3) {
            let (across, down) = (specification[1] >> 4, specification[1] & 15);
            if !(1..=4).contains(&across) || !(1..=4).contains(&down) {
                return None;
            }
            components.push(Component {
                id: specification[0],
                across: usize::from(across),
                down: usize::from(down),
                quantization: usize::from(specification[2] & 3),
                stride: 0,
                rows: 0,
                own_columns: 0,
                own_rows: 0,
                kept: Vec::new(),
            });
        }
        let (width, height) = (self.size.0 as usize, self.size.1 as usize);
        let most = |of: fn(&Component) -> usize| components.iter().map(of).max();
        self.most_across = most(|c| c.across)?;
        self.most_down = most(|c| c.down)?;
        self.groups = (
            width.div_ceil(8 * self.most_across),
            height.div_ceil(8 * self.most_down),
        );
        let mut bytes = 0;
        for component in &mut components {
            component.stride = self.groups.0 * component.across;
            component.rows = self.groups.1 * component.down;
            let own =
                |size: usize, part: usize, most: usize| (size * part).div_ceil(most).div_ceil(8);
            component.own_columns = own(width, component.across, self.most_across);
            component.own_rows = own(height, component.down, self.most_down);
            bytes += component.stride * component.rows * self.keep * self.keep * 2;
        }
        if bytes > MAX_BYTES {
            return Some(Vec::new());
        }
        for component in &mut components {
            component.kept = vec![0; component.stride * component.rows * self.keep * self.keep];
        }
        Some(components)
    }
}
