//! The little of the tar format (ustar) that a backup needs: plain files, one after another.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};

const BLOCK: usize = 512;
/// Longer names do not occur.
const NAME: usize = 100;
/// Where the fields of a header are.
const SIZE: usize = 124;
const TIME: usize = 136;
const CHECKSUM: usize = 148;
const KIND: usize = 156;
const MAGIC: usize = 257;
/// Sizes that fit into eleven octal digits.
const OCTAL_MAX: u64 = 0o777_7777_7777;

/// Writes an archive.
pub struct Writer<W> {
    file: W,
    /// Unix seconds: the modification time of all its files.
    time: u64,
}

impl<W: Write> Writer<W> {
    pub fn new(file: W, time: u64) -> Writer<W> {
        Writer { file, time }
    }

    /// Adds a file of `size` bytes, which `source` gives.
    ///
    /// # Errors
    /// Those of either, and if `source` has less.
    pub fn add_sized(&mut self, name: &str, size: u64, source: &mut impl Read) -> io::Result<()> {
        self.file.write_all(&header(name, size, self.time)?)?;
        let copied = io::copy(&mut source.take(size), &mut self.file)?;
        if copied < size {
            return Err(io::Error::other(format!(
                "{name} became shorter while it was read"
            )));
        }
        self.file.write_all(&vec![0; padding(size)])
    }

    /// Ends the archive.
    ///
    /// # Errors
    /// The output's.
    pub fn finish(mut self) -> io::Result<W> {
        self.file.write_all(&[0; 2 * BLOCK])?;
        self.file.flush()?;
        Ok(self.file)
    }
}

impl Writer<File> {
    /// Adds a file whose content `write` writes to the end of the archive; returns its size.
    pub fn add<E: From<io::Error>>(
        &mut self,
        name: &str,
        write: impl FnOnce(&mut File) -> Result<(), E>,
    ) -> Result<u64, E> {
        let start = self.file.stream_position()?;
        self.file.write_all(&[0; BLOCK])?;
        write(&mut self.file)?;
        let end = self.file.seek(SeekFrom::End(0))?;
        let size = end - start - BLOCK as u64;
        self.file.write_all(&vec![0; padding(size)])?;
        self.file.seek(SeekFrom::Start(start))?;
        self.file.write_all(&header(name, size, self.time)?)?;
        self.file.seek(SeekFrom::End(0))?;
        Ok(size)
    }
}

/// Bytes behind a file of that size up to the next block.
fn padding(size: u64) -> usize {
    (BLOCK - (size % BLOCK as u64) as usize) % BLOCK
}

fn header(name: &str, size: u64, time: u64) -> io::Result<[u8; BLOCK]> {
    if name.len() > NAME {
        return Err(io::Error::other(format!("{name} is too long a name")));
    }
    let mut block = [0; BLOCK];
    block[..name.len()].copy_from_slice(name.as_bytes());
    for (at, text) in [
        (100, "0000600"),
        (108, "0000000"),
        (116, "0000000"),
        (KIND, "0"),
        (MAGIC, "ustar"),
        (MAGIC + 6, "00"),
    ] {
        block[at..at + text.len()].copy_from_slice(text.as_bytes());
    }
    if size <= OCTAL_MAX {
        block[SIZE..TIME - 1].copy_from_slice(format!("{size:011o}").as_bytes());
    } else {
        // What tar programs do: the first bit says that a number in binary follows.
        block[SIZE] = 0x80;
        block[TIME - 8..TIME].copy_from_slice(&size.to_be_bytes());
    }
    let time = format!("{:011o}", time.min(OCTAL_MAX));
    block[TIME..TIME + 11].copy_from_slice(time.as_bytes());
    let sum = format!("{:06o}\0 ", checksum(&block));
    block[CHECKSUM..KIND].copy_from_slice(sum.as_bytes());
    Ok(block)
}

/// The sum of all bytes, those of the sum itself taken as spaces.
fn checksum(block: &[u8; BLOCK]) -> u32 {
    let all: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    let own: u32 = block[CHECKSUM..KIND].iter().map(|&b| u32::from(b)).sum();
    all - own + 8 * u32::from(b' ')
}

/// Reads an archive, file by file.
pub struct Reader<R> {
    input: R,
    /// Of the file that is being read: what is left of it, and what follows up to the next block.
    left: u64,
    padding: usize,
}

impl<R: Read> Reader<R> {
    pub fn new(input: R) -> Reader<R> {
        Reader {
            input,
            left: 0,
            padding: 0,
        }
    }

    /// The next file's name and size; `None` at the end. What was not read of the one before is
    /// skipped.
    ///
    /// # Errors
    /// When it is no such archive, or it is cut short.
    pub fn next(&mut self) -> io::Result<Option<(String, u64)>> {
        let skip = self.left.saturating_add(self.padding as u64);
        let skipped = io::copy(&mut (&mut self.input).take(skip), &mut io::sink())?;
        if skipped < skip {
            return Err(cut_short());
        }
        let mut block = [0; BLOCK];
        self.input.read_exact(&mut block).map_err(|_| cut_short())?;
        if block.iter().all(|&byte| byte == 0) {
            return Ok(None);
        }
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "it is damaged");
        if octal(&block[CHECKSUM..KIND]) != Some(u64::from(checksum(&block)))
            || !matches!(block[KIND], b'0' | 0)
        {
            return Err(damaged());
        }
        let end = block[..NAME].iter().position(|&b| b == 0).unwrap_or(NAME);
        let name = std::str::from_utf8(&block[..end]).map_err(|_| damaged())?;
        let size = match block[SIZE] {
            0x80 => block[TIME - 8..TIME]
                .try_into()
                .ok()
                .map(u64::from_be_bytes),
            _ => octal(&block[SIZE..TIME]),
        };
        let size = size.ok_or_else(damaged)?;
        self.left = size;
        self.padding = padding(size);
        Ok(Some((name.to_owned(), size)))
    }

    /// Writes the current file's content to `output`.
    ///
    /// # Errors
    /// If the archive is cut short, and the output's.
    pub fn copy(&mut self, output: &mut impl Write) -> io::Result<()> {
        let copied = io::copy(&mut (&mut self.input).take(self.left), output)?;
        if copied < self.left {
            return Err(cut_short());
        }
        self.left = 0;
        Ok(())
    }
}

fn cut_short() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "it is cut short")
}

fn octal(field: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(field).ok()?;
    u64::from_str_radix(text.trim_matches(['\0', ' ']), 8).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_reads_back_and_a_truncated_one_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.tar");
        let mut writer = Writer::new(File::create(&path).unwrap(), 1_700_000_000);
        let contents = [0usize, 1, 511, 512, 513, 100_000].map(|size| vec![7u8; size]);
        for (n, content) in contents.iter().enumerate() {
            let size = writer.add(&format!("media/1/{n}"), |file| file.write_all(content));
            assert_eq!(size.unwrap(), content.len() as u64);
        }
        writer.finish().unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let mut reader = Reader::new(&bytes[..]);
        for (n, content) in contents.iter().enumerate() {
            let (name, size) = reader.next().unwrap().unwrap();
            assert_eq!((name, size), (format!("media/1/{n}"), content.len() as u64));
            // Every other one is skipped.
            if n % 2 == 0 {
                let mut read = Vec::new();
                reader.copy(&mut read).unwrap();
                assert_eq!(read, *content);
            }
        }
        assert_eq!(reader.next().unwrap(), None);
        let cut = bytes.len() - 2 * BLOCK - 1;
        for end in [1, 600, 90_000, cut] {
            let mut reader = Reader::new(&bytes[..end]);
            let failed = loop {
                match reader.next() {
                    Ok(Some(_)) => {}
                    Ok(None) => panic!("{end} bytes are no whole archive"),
                    Err(error) => break error,
                }
            };
            assert_eq!(failed.to_string(), "it is cut short");
        }
        let mut damaged = bytes.clone();
        damaged[3] ^= 1;
        assert!(Reader::new(&damaged[..]).next().is_err());
    }

    #[test]
    fn large_files_have_their_size() {
        for size in [OCTAL_MAX, OCTAL_MAX + 1, 1 << 40] {
            let block = header("db/data.mdb", size, 0).unwrap();
            let mut reader = Reader::new(&block[..]);
            assert_eq!(reader.next().unwrap(), Some(("db/data.mdb".into(), size)));
        }
        assert!(header(&"x".repeat(101), 0, 0).is_err());
        // No file is as large as its header has it.
        let block = header("db/data.mdb", u64::MAX, 0).unwrap();
        let mut reader = Reader::new(&block[..]);
        assert_eq!(
            reader.next().unwrap(),
            Some(("db/data.mdb".into(), u64::MAX))
        );
        assert_eq!(reader.next().unwrap_err().to_string(), "it is cut short");
    }
}
