//! Keys: big-endian numbers and delimited texts in at most LMDB's 511 bytes.
//!
//! Every per-account table starts with the account's number (4 bytes). A text is its UTF-8 bytes
//! and a 0xFF, a byte that no UTF-8 text holds, so neighbours cannot run into each other and texts
//! sort as texts. A text over [`TEXT_MAX`] bytes is stored as 0xFE and its SHA-256: such keys still
//! compare equal, and only lose their order. Ids and JIDs of WhatsApp stay far below.

use sha2::{Digest, Sha256};

/// The longest text that stands in a key as it is, in bytes.
pub const TEXT_MAX: usize = 120;

/// LMDB's limit for a key, in bytes.
const KEY_MAX: usize = 511;

const END_OF_TEXT: u8 = 0xFF;
const HASHED: u8 = 0xFE;

/// A key, or the prefix of keys, being built.
///
/// The parts that a key is built from are known at compile time, at most four texts and four
/// numbers, and each has an upper bound, so a key never reaches LMDB's limit.
#[derive(Clone)]
pub struct Key {
    bytes: [u8; KEY_MAX],
    len: usize,
}

impl Key {
    pub fn new() -> Key {
        Key {
            bytes: [0; KEY_MAX],
            len: 0,
        }
    }

    /// The start of every key of an account.
    pub fn account(number: u32) -> Key {
        Key::new().u32(number)
    }

    pub fn u8(self, part: u8) -> Key {
        self.raw(&[part])
    }

    pub fn u32(self, part: u32) -> Key {
        self.raw(&part.to_be_bytes())
    }

    pub fn u64(self, part: u64) -> Key {
        self.raw(&part.to_be_bytes())
    }

    /// A signed number, so that it sorts by value.
    pub fn i64(self, part: i64) -> Key {
        self.u64((part as u64) ^ (1 << 63))
    }

    /// A whole text; see the module for long ones.
    pub fn text(self, part: &str) -> Key {
        if part.len() > TEXT_MAX {
            return self.raw(&[HASHED]).raw(&Sha256::digest(part.as_bytes()));
        }
        self.raw(part.as_bytes()).raw(&[END_OF_TEXT])
    }

    /// The beginning of a text, for a prefix. Texts that were hashed are not under it.
    pub fn text_start(self, part: &str) -> Key {
        let end = part.len().min(TEXT_MAX);
        self.raw(&part.as_bytes()[..end])
    }

    /// Any bytes, as the last part.
    pub fn bytes(self, part: &[u8]) -> Key {
        if part.len() > TEXT_MAX {
            return self.raw(&[HASHED]).raw(&Sha256::digest(part));
        }
        self.raw(&[0]).raw(part)
    }

    /// Parts that were encoded before, of a key that this module built.
    ///
    /// # Panics
    /// If they do not fit, which parts of a stored key in front of no more than was there always
    /// do.
    pub fn encoded(self, parts: &[u8]) -> Key {
        self.raw(parts)
    }

    /// The least key greater than all keys that start with this one; `None` if there is none.
    pub fn after_prefix(mut self) -> Option<Key> {
        while self.len > 0 {
            let last = self.len - 1;
            if self.bytes[last] < u8::MAX {
                self.bytes[last] += 1;
                return Some(self);
            }
            self.len = last;
        }
        None
    }

    /// The prefix of keys whose text part was too long and is hashed.
    pub fn hashed_text(self) -> Key {
        self.raw(&[HASHED])
    }

    fn raw(mut self, part: &[u8]) -> Key {
        let end = self.len + part.len();
        self.bytes[self.len..end].copy_from_slice(part);
        self.len = end;
        self
    }
}

impl Default for Key {
    fn default() -> Key {
        Key::new()
    }
}

impl std::ops::Deref for Key {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Reads a key's parts back, front to back.
pub struct KeyReader<'a>(pub &'a [u8]);

impl KeyReader<'_> {
    pub fn u32(&mut self) -> Option<u32> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*head))
    }

    pub fn u64(&mut self) -> Option<u64> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_be_bytes(*head))
    }

    /// Leaves out a text that [`Key::text`] wrote.
    pub fn skip_text(&mut self) -> Option<()> {
        let end = match self.0.first()? {
            &HASHED => 1 + Sha256::output_size(),
            _ => 1 + self.0.iter().position(|&byte| byte == END_OF_TEXT)?,
        };
        self.skip(end)
    }

    pub fn skip(&mut self, bytes: usize) -> Option<()> {
        self.0 = self.0.get(bytes..)?;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_do_not_run_into_each_other() {
        let a = Key::account(1).text("ab").text("c");
        let b = Key::account(1).text("a").text("bc");
        assert_ne!(*a, *b);
        assert!(a.starts_with(&Key::account(1).text("ab")));
        assert!(
            !Key::account(1)
                .text("abc")
                .starts_with(&Key::account(1).text("ab"))
        );
    }

    #[test]
    fn long_texts_fit_and_stay_different() {
        let long = "x".repeat(100_000);
        let other = "x".repeat(99_999);
        let key = Key::account(1)
            .u8(1)
            .text(&long)
            .text(&long)
            .text(&long)
            .text(&long);
        assert!(key.len() <= KEY_MAX);
        assert_ne!(*Key::account(1).text(&long), *Key::account(1).text(&other));
        // The longest that a key can become.
        let full = "y".repeat(TEXT_MAX);
        let key = Key::account(1)
            .text(&full)
            .text(&full)
            .text(&full)
            .text(&full);
        let key = key.u64(1).u8(1);
        assert!(key.len() <= KEY_MAX, "{}", key.len());
    }

    #[test]
    fn numbers_sort_by_value() {
        assert!(*Key::new().i64(-1) < *Key::new().i64(0));
        assert!(*Key::new().i64(0) < *Key::new().i64(i64::MAX));
        assert!(*Key::new().u64(255) < *Key::new().u64(256));
        let mut reader = KeyReader(&[0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 9]);
        assert_eq!((reader.u32(), reader.u64()), (Some(7), Some(9)));
        assert_eq!(reader.u64(), None);
    }

    #[test]
    fn texts_are_skipped_short_and_long() {
        for text in [
            "",
            "a",
            "ä",
            &"x".repeat(TEXT_MAX),
            &"x".repeat(TEXT_MAX + 1),
        ] {
            let key = Key::new().u32(1).text(text).u64(2);
            let mut reader = KeyReader(&key);
            assert_eq!(
                (reader.u32(), reader.skip_text(), reader.u64()),
                (Some(1), Some(()), Some(2))
            );
        }
        assert_eq!(KeyReader(b"no end").skip_text(), None);
        assert_eq!(KeyReader(&[]).skip_text(), None);
    }

    #[test]
    fn the_end_of_a_prefix_carries_over() {
        let end = Key::new().u32(0x01FF_FFFF).after_prefix();
        assert_eq!(end.as_deref(), Some(&[2u8][..]));
        assert!(Key::new().u32(u32::MAX).after_prefix().is_none());
    }
}
