//! Files on their way: what comes in from clients, from WhatsApp, or is made for it, before it is
//! where it belongs.
//!
//! They lie in `<data>/tmp` (0700, files 0600) under names that count up. A [`Spooled`] removes its file
//! when it is dropped; what a crash leaves is removed at the next start. All of this blocks.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The folder of files on their way. Clones share it.
#[derive(Debug, Clone)]
pub struct Spool(Arc<Folder>);

#[derive(Debug)]
struct Folder {
    path: PathBuf,
    next: AtomicU64,
}

impl Spool {
    /// Opens the folder, makes it if it is not there, and empties it.
    ///
    /// # Errors
    /// What the disk says.
    pub fn open(folder: &Path) -> io::Result<Spool> {
        match fs::remove_dir_all(folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
        Ok(Spool(Arc::new(Folder {
            path: folder.to_owned(),
            next: AtomicU64::new(0),
        })))
    }

    /// A new, empty file, opened for reading and writing.
    ///
    /// # Errors
    /// What the disk says.
    pub fn create(&self) -> io::Result<(Spooled, File)> {
        let number = self.0.next.fetch_add(1, Ordering::Relaxed);
        let path = self.0.path.join(number.to_string());
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        Ok((Spooled { path }, file))
    }
}

/// A file on its way; gone when this is dropped.
#[derive(Debug)]
pub struct Spooled {
    /// Empty once the file is somewhere else.
    path: PathBuf,
}

impl Spooled {
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes.
    ///
    /// # Errors
    /// What the disk says.
    pub fn size(&self) -> io::Result<u64> {
        Ok(fs::metadata(&self.path)?.len())
    }

    /// Moves the file to where it stays, within the same file system, so that it is there as a whole
    /// or not at all, also after a power cut.
    ///
    /// # Errors
    /// What the disk says; the file is gone then.
    pub fn persist(mut self, to: &Path) -> io::Result<()> {
        File::open(&self.path)?.sync_all()?;
        fs::rename(&self.path, to)?;
        self.path = PathBuf::new();
        match to.parent() {
            Some(folder) => File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    }
}

impl Drop for Spooled {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            // What cannot be removed now is removed at the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn files_go_with_their_owner_or_to_where_they_belong() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("tmp");
        let spool = Spool::open(&folder).unwrap();
        let (one, mut file) = spool.create().unwrap();
        file.write_all(b"one").unwrap();
        assert_eq!(one.size().unwrap(), 3);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&folder), mode(one.path())), (0o700, 0o600));
        let (two, _) = spool.create().unwrap();
        let path = two.path().to_owned();
        drop(two);
        assert!(!path.exists());
        let home = dir.path().join("home");
        one.persist(&home).unwrap();
        assert_eq!(fs::read(&home).unwrap(), b"one");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
    }

    #[test]
    fn what_a_crash_left_goes_at_the_next_start() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::open(dir.path()).unwrap();
        let (left, _) = spool.create().unwrap();
        let path = left.path().to_owned();
        std::mem::forget(left);
        Spool::open(dir.path()).unwrap();
        assert!(!path.exists());
    }
}
