//! Decodes scans (T.81, F.2 and G.2): the entropy-coded frequencies.

use std::io::{self, BufRead};

use super::huffman::{Bits, Table};
use super::{Frame, Reader, malformed};

/// The position of each coefficient in a block, in coding order.
pub(super) const ZIGZAG: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20,
    13, 6, 7, 14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59,
    52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
];

/// The coefficients in a scan, and their precision.
#[derive(Debug, Clone, Copy)]
struct Band {
    first: usize,
    last: usize,
    refines: bool,
    shift: u32,
}

/// A component in a scan.
struct Part<'a> {
    component: usize,
    dc: Option<&'a Table>,
    ac: Option<&'a Table>,
    previous: i32,
}

impl<R: BufRead> Reader<R> {
    /// Reads a scan; returns true if later scans do not matter.
    pub(super) fn scan(&mut self) -> io::Result<bool> {
        let segment = self.segment()?;
        let frame = self
            .frame
            .as_mut()
            .ok_or_else(|| malformed("a scan comes before the frame"))?;
        let no_sense = || malformed("a scan makes no sense");
        let [count, rest @ ..] = segment.as_slice() else {
            return Err(no_sense());
        };
        let count = usize::from(*count);
        let Some([first, last, exactness]) = rest.get(count * 2..).and_then(<[u8]>::first_chunk)
        else {
            return Err(no_sense());
        };
        let mut parts = Vec::new();
        for specification in rest[..count * 2].chunks_exact(2) {
            let component = frame
                .components
                .iter()
                .position(|component| component.id == specification[0])
                .filter(|at| parts.iter().all(|part: &Part<'_>| part.component != *at))
                .ok_or_else(no_sense)?;
            parts.push(Part {
                component,
                dc: self.dc[usize::from(specification[1] >> 4 & 3)].as_deref(),
                ac: self.ac[usize::from(specification[1] & 3)].as_deref(),
                previous: 0,
            });
        }
        let band = if frame.progressive {
            Band {
                first: usize::from(*first),
                last: usize::from(*last),
                refines: exactness >> 4 != 0,
                shift: u32::from(exactness & 15),
            }
        } else {
            Band {
                first: 0,
                last: 63,
                refines: false,
                shift: 0,
            }
        };
        let sane = band.first <= band.last && band.last < 64 && band.shift < 14;
        if parts.is_empty() || !sane || (frame.progressive && band.first == 0 && band.last > 0) {
            return Err(no_sense());
        }
        if band.first > 0 {
            if frame.keep == 1 {
                // The means, which come first, are enough.
                return Ok(true);
            }
            if band.refines || parts.len() > 1 {
                return Ok(false);
            }
        }
        frame.quantization = self.quantization;
        let mut bits = Bits::new(&mut self.source);
        let read = decode(frame, &mut parts, band, self.restart, &mut bits);
        // Continue at the marker that ended the data.
        self.marker = bits.marker;
        read?;
        self.painted = true;
        Ok(false)
    }
}

/// Reads the blocks of a scan to its end, or to an error.
fn decode<R: BufRead>(
    frame: &mut Frame,
    parts: &mut [Part<'_>],
    band: Band,
    restart: u32,
    bits: &mut Bits<'_, R>,
) -> io::Result<()> {
    let alone = parts.len() == 1;
    let (columns, rows) = if alone {
        let component = &frame.components[parts[0].component];
        (component.own_columns, component.own_rows)
    } else {
        frame.groups
    };
    let keep = frame.keep;
    let progressive = frame.progressive;
    // The end-of-band run: blocks without more coefficients in this band.
    let mut empty = 0;
    for group in 0..columns * rows {
        if restart > 0 && group > 0 && group % restart as usize == 0 {
            if !bits.restart()? {
                return Ok(());
            }
            parts.iter_mut().for_each(|part| part.previous = 0);
            empty = 0;
        }
        let (column, row) = (group % columns, group / columns);
        for part in parts.iter_mut() {
            let component = &mut frame.components[part.component];
            let (across, down) = if alone {
                (1, 1)
            } else {
                (component.across, component.down)
            };
            for block in 0..across * down {
                let x = column * across + block % across;
                let y = row * down + block / across;
                let size = keep * keep;
                let at = (y * component.stride + x) * size;
                let kept = &mut component.kept[at..at + size];
                let read = if !progressive {
                    sequential(bits, part, kept, keep)?
                } else if band.first == 0 {
                    mean(bits, part, kept, band)?
                } else {
                    higher(bits, part, kept, keep, band, &mut empty)?
                };
                if read.is_none() {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

/// The difference to the previous block's mean (F.2.2.1).
fn difference<R: BufRead>(bits: &mut Bits<'_, R>, part: &mut Part<'_>) -> io::Result<Option<i32>> {
    let Some(table) = part.dc else {
        return Ok(None);
    };
    let Some(size) = bits.code(table)? else {
        return Ok(None);
    };
    let Some(difference) = bits.signed(u32::from(size))? else {
        return Ok(None);
    };
    part.previous = part.previous.wrapping_add(difference);
    Ok(Some(part.previous))
}

fn mean<R: BufRead>(
    bits: &mut Bits<'_, R>,
    part: &mut Part<'_>,
    kept: &mut [i16],
    band: Band,
) -> io::Result<Option<()>> {
    if band.refines {
        let Some(bit) = bits.take(1)? else {
            return Ok(None);
        };
        kept[0] |= (bit << band.shift) as i16;
    } else {
        let Some(value) = difference(bits, part)? else {
            return Ok(None);
        };
        kept[0] = (value << band.shift) as i16;
    }
    Ok(Some(()))
}

/// Stores a coefficient if its frequency is kept.
fn keep_value(kept: &mut [i16], keep: usize, at: usize, value: i32) {
    let place = usize::from(ZIGZAG[at & 63]);
    let (row, column) = (place / 8, place % 8);
    if row < keep && column < keep {
        kept[row * keep + column] = value as i16;
    }
}

fn sequential<R: BufRead>(
    bits: &mut Bits<'_, R>,
    part: &mut Part<'_>,
    kept: &mut [i16],
    keep: usize,
) -> io::Result<Option<()>> {
    let Some(value) = difference(bits, part)? else {
        return Ok(None);
    };
    kept[0] = value as i16;
    let band = Band {
        first: 1,
        last: 63,
        refines: false,
        shift: 0,
    };
    higher(bits, part, kept, keep, band, &mut 0)
}

/// Higher frequencies: all of a sequential block (F.2.2.2), or a first progressive scan (G.1.2.2), where `empty`
/// counts the blocks that are empty.
fn higher<R: BufRead>(
    bits: &mut Bits<'_, R>,
    part: &Part<'_>,
    kept: &mut [i16],
    keep: usize,
    band: Band,
    empty: &mut i32,
) -> io::Result<Option<()>> {
    if *empty > 0 {
        *empty -= 1;
        return Ok(Some(()));
    }
    let Some(table) = part.ac else {
        return Ok(None);
    };
    let mut at = band.first;
    while at <= band.last {
        let Some(code) = bits.code(table)? else {
            return Ok(None);
        };
        let (run, size) = (usize::from(code >> 4), u32::from(code & 15));
        match (run, size) {
            (15, 0) => at += 16,
            (_, 0) => {
                let Some(more) = bits.take(run as u32)? else {
                    return Ok(None);
                };
                *empty = (1 << run) + more - 1;
                break;
            }
            _ => {
                at += run;
                let Some(value) = bits.signed(size)? else {
                    return Ok(None);
                };
                if at > 63 {
                    return Ok(None);
                }
                keep_value(kept, keep, at, value << band.shift);
                at += 1;
            }
        }
    }
    Ok(Some(()))
}
