//! Data of a system with the other word size.
//!
//! LMDB's file is laid out in machine words: what a 32-bit system wrote a 64-bit one cannot open, nor
//! the other way. People change the system on their board, or the board, and copy the data directory
//! or restore a backup. So this folder reads the other layout ([`pages`]), and makes of it one of this
//! system before LMDB sees it ([`convert`]).

mod convert;
mod nodes;
mod pages;
mod whole;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

pub use convert::{Unconverted, clear, convert};
pub use whole::check;

/// What stands at the start of an LMDB file, behind the first page's header; little-endian.
const MAGIC: [u8; 4] = 0xBEEF_C0DE_u32.to_le_bytes();

/// The size of a machine word, by which LMDB lays out its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Width {
    Bits32,
    Bits64,
}

impl Width {
    /// This program's.
    pub const OWN: Width = if usize::BITS >= 64 {
        Width::Bits64
    } else {
        Width::Bits32
    };

    pub fn bits(self) -> u32 {
        match self {
            Width::Bits32 => 32,
            Width::Bits64 => 64,
        }
    }

    /// Bytes of a word.
    fn word(self) -> usize {
        match self {
            Width::Bits32 => 4,
            Width::Bits64 => 8,
        }
    }

    /// Bytes of a page's header: its number, and four numbers of two bytes each.
    fn header(self) -> usize {
        self.word() + 8
    }

    /// Which of the two wrote `file`; `None` if it is empty, or no file of LMDB.
    ///
    /// # Errors
    /// The reader's.
    pub fn of(file: &File) -> io::Result<Option<Width>> {
        let mut start = [0; 20];
        match file.read_exact_at(&mut start, 0) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
        let is_of = |width: &Width| start[width.header()..].starts_with(&MAGIC);
        // In a file of 32 bits the version, 1, stands where the magic of 64 bits would.
        Ok([Width::Bits32, Width::Bits64].into_iter().find(is_of))
    }
}
