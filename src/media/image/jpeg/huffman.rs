//! Huffman codes (T.81, annexes C and F.2.2) and their bit reader.

use std::io::{self, BufRead};

/// Codes up to this length are decoded by one table look-up.
const FAST: u32 = 9;

/// A table of codes.
#[derive(Debug)]
pub(super) struct Table {
    /// By the next `FAST` bits: the value and the length of its code; 0 for longer codes.
    fast: Vec<(u8, u8)>,
    /// For each length: the last code plus one, or -1; and the offset from code to the index of its value.
    last: [i32; 17],
    offset: [i32; 17],
    values: Vec<u8>,
}

impl Table {
    /// Parses a DHT segment after the table's number; also returns the number of bytes used.
    pub(super) fn new(segment: &[u8]) -> Option<(Table, usize)> {
        let counts = segment.get(..16)?;
        let total: usize = counts.iter().map(|count| usize::from(*count)).sum();
        let values = segment.get(16..16 + total)?;
        let mut table = Table {
            fast: vec![(0, 0); 1 << FAST],
            last: [-1; 17],
            offset: [0; 17],
            values: values.to_vec(),
        };
        let (mut code, mut place) = (0_usize, 0);
        for (length, count) in (1_u32..).zip(counts) {
            let count = usize::from(*count);
            table.offset[length as usize] = place as i32 - code as i32;
            if code + count > 1 << length {
                return None;
            }
            for value in &values[place..place + count] {
                if length <= FAST {
                    let first = code << (FAST - length);
                    table.fast[first..first + (1 << (FAST - length))].fill((*value, length as u8));
                }
                code += 1;
            }
            place += count;
            if count > 0 {
                table.last[length as usize] = code as i32;
            }
            code <<= 1;
        }
        Some((table, 16 + total))
    }
}

/// Reads the bits of a scan up to the first marker; a limited number of zeros follow.
pub(super) struct Bits<'a, R> {
    source: &'a mut R,
    /// The next bits, left-aligned.
    bits: u32,
    count: u32,
    /// The marker that ended the data.
    pub(super) marker: Option<u8>,
    /// Zero bytes supplied after the end.
    invented: u32,
}

impl<'a, R: BufRead> Bits<'a, R> {
    pub(super) fn new(source: &'a mut R) -> Self {
        Bits {
            source,
            bits: 0,
            count: 0,
            marker: None,
            invented: 0,
        }
    }

    /// Fills to at least 24 bits; `None` too far after the end.
    fn fill(&mut self) -> io::Result<Option<()>> {
        while self.count <= 24 {
            let byte = if self.marker.is_some() {
                self.invented += 1;
                if self.invented > 8 {
                    return Ok(None);
                }
                0
            } else {
                self.byte()?
            };
            self.bits |= u32::from(byte) << (24 - self.count);
            self.count += 8;
        }
        Ok(Some(()))
    }

    /// The next byte of the data; 0 at its end, when `marker` is set.
    fn byte(&mut self) -> io::Result<u8> {
        let byte = self.raw()?;
        if byte != Some(0xFF) {
            return Ok(byte.unwrap_or(0));
        }
        loop {
            match self.raw()? {
                Some(0xFF) => {}
                Some(0) => return Ok(0xFF),
                marker => {
                    self.marker = marker.or(self.marker);
                    return Ok(0);
                }
            }
        }
    }

    /// The next byte of the file; `None` at its end.
    fn raw(&mut self) -> io::Result<Option<u8>> {
        let byte = self.source.fill_buf()?.first().copied();
        match byte {
            Some(_) => self.source.consume(1),
            None => self.marker = Some(0xD9),
        }
        Ok(byte)
    }

    /// The next `count` bits, at most 16.
    pub(super) fn take(&mut self, count: u32) -> io::Result<Option<i32>> {
        if count == 0 {
            return Ok(Some(0));
        }
        if self.count < count && self.fill()?.is_none() {
            return Ok(None);
        }
        let value = self.bits >> (32 - count);
        self.drop_bits(count);
        Ok(Some(value as i32))
    }

    fn drop_bits(&mut self, count: u32) {
        self.bits <<= count;
        self.count -= count;
    }

    /// The value of the next code; `None` at the end and for an unknown code.
    pub(super) fn code(&mut self, table: &Table) -> io::Result<Option<u8>> {
        if self.count < 16 && self.fill()?.is_none() {
            return Ok(None);
        }
        let (value, length) = table.fast[(self.bits >> (32 - FAST)) as usize];
        if length > 0 {
            self.drop_bits(u32::from(length));
            return Ok(Some(value));
        }
        for length in FAST + 1..=16 {
            let code = (self.bits >> (32 - length)) as i32;
            let at = length as usize;
            if code < table.last[at] {
                self.drop_bits(length);
                let place = usize::try_from(code + table.offset[at]).ok();
                return Ok(place.and_then(|place| table.values.get(place)).copied());
            }
        }
        Ok(None)
    }

    /// A signed value of `size` bits (T.81, F.2.2.1).
    pub(super) fn signed(&mut self, size: u32) -> io::Result<Option<i32>> {
        let size = size.min(16);
        let Some(value) = self.take(size)? else {
            return Ok(None);
        };
        Ok(Some(if size > 0 && value < 1 << (size - 1) {
            value - (1 << size) + 1
        } else {
            value
        }))
    }

    /// Skips to after the restart marker; false if there is none.
    pub(super) fn restart(&mut self) -> io::Result<bool> {
        while self.marker.is_none() {
            // Skip the rest of the interval.
            self.byte()?;
        }
        if !self.marker.is_some_and(|m| (0xD0..=0xD7).contains(&m)) {
            return Ok(false);
        }
        self.marker = None;
        self.bits = 0;
        self.count = 0;
        self.invented = 0;
        Ok(true)
    }
}
