//! Files on their way in, and files that are there.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::path::Path;
use std::rc::Rc;

use sha2::{Digest as _, Sha256};
use tempfile::{NamedTempFile, TempPath};

use super::Hash;

/// How many bytes all files of a store may have together.
pub(super) struct Room {
    left: Cell<u64>,
}

impl Room {
    pub(super) fn new(bytes: u64) -> Rc<Room> {
        Rc::new(Room {
            left: Cell::new(bytes),
        })
    }

    fn take(&self, bytes: u64) -> io::Result<()> {
        match self.left.get().checked_sub(bytes) {
            Some(left) => {
                self.left.set(left);
                Ok(())
            }
            None => Err(ErrorKind::StorageFull.into()),
        }
    }
}

/// Gives its bytes back to the room when it is dropped.
struct Share {
    room: Rc<Room>,
    bytes: u64,
}

impl Drop for Share {
    fn drop(&mut self) {
        self.room.left.set(self.room.left.get() + self.bytes);
    }
}

/// Bytes that are hashed and written at once.
const PIECE: usize = 32 * 1024;

/// A file that is being written, hashed on the way. Dropping it removes it.
pub struct Spool {
    file: NamedTempFile,
    hash: Sha256,
    /// Buffered output: ciphers produce single blocks.
    piece: Vec<u8>,
    share: Share,
    limit: u64,
}

impl Spool {
    pub(super) fn new(dir: &Path, room: Rc<Room>, limit: u64) -> io::Result<Spool> {
        Ok(Spool {
            file: NamedTempFile::new_in(dir)?,
            hash: Sha256::new(),
            piece: Vec::with_capacity(PIECE),
            share: Share { room, bytes: 0 },
            limit,
        })
    }

    /// Bytes written so far.
    pub fn len(&self) -> u64 {
        self.share.bytes
    }

    /// Whether nothing has been written yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The file is complete.
    ///
    /// # Errors
    /// When the last bytes cannot be written.
    pub fn finish(mut self) -> io::Result<Blob> {
        self.flush()?;
        Ok(Blob {
            path: self.file.into_temp_path(),
            sha256: self.hash.finalize().into(),
            share: self.share,
        })
    }
}

impl Write for Spool {
    /// [`ErrorKind::FileTooLarge`] beyond the limit of one file, [`ErrorKind::StorageFull`] beyond that
    /// of all.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let len = bytes.len() as u64;
        if self.share.bytes + len > self.limit {
            return Err(ErrorKind::FileTooLarge.into());
        }
        self.share.room.take(len)?;
        self.share.bytes += len;
        if self.piece.len() + bytes.len() > PIECE {
            self.flush()?;
        }
        if bytes.len() < PIECE {
            self.piece.extend_from_slice(bytes);
        } else {
            self.hash.update(bytes);
            self.file.write_all(bytes)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.hash.update(&self.piece);
        self.file.write_all(&self.piece)?;
        self.piece.clear();
        Ok(())
    }
}

/// A complete file. Dropping it removes it.
pub struct Blob {
    path: TempPath,
    sha256: Hash,
    share: Share,
}

impl std::fmt::Debug for Blob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Blob")
            .field("path", &&*self.path)
            .field("len", &self.share.bytes)
            .finish_non_exhaustive()
    }
}

impl Blob {
    /// SHA-256 of the file.
    pub fn sha256(&self) -> &Hash {
        &self.sha256
    }

    /// Bytes of the file.
    pub fn len(&self) -> u64 {
        self.share.bytes
    }

    /// Whether the file has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Opens it for reading, at its beginning.
    ///
    /// # Errors
    /// If another process removed it.
    pub fn open(&self) -> io::Result<File> {
        File::open(&self.path)
    }
}
