//! Temporary files: uploads, downloads and converted files before they are stored.
//!
//! They are in `<data>/tmp` (0700, files 0600) under increasing numbers. A [`Spooled`] removes its file when
//! it is dropped; files left by a crash are removed at the next start. All of this blocks.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The folder of temporary files. Clones share it.
#[derive(Debug, Clone)]
pub struct Spool(Arc<Folder>);

#[derive(Debug)]
struct Folder {
    path: PathBuf,
    next: AtomicU64,
}

impl Spool {
    /// Opens the folder, creates it if needed, and empties it.
    ///
    /// # Errors
    /// I/O errors.
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
    /// I/O errors.
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

/// A temporary file, removed when this is dropped.
#[derive(Debug)]
pub struct Spooled {
    /// Empty once the file was moved.
    path: PathBuf,
}

impl Spooled {
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes.
    ///
    /// # Errors
    /// I/O errors.
    pub fn size(&self) -> io::Result<u64> {
        Ok(fs::metadata(&self.path)?.len())
    }

    /// Moves the file within the file system, atomically and durably.
    ///
    /// # Errors
    /// I/O errors; the file is removed then.
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
            // Left files are removed at the next start.
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
    fn files_are_removed_on_drop_or_moved() {
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
    fn files_left_by_a_crash_are_removed_at_the_start() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::open(dir.path()).unwrap();
        let (left, _) = spool.create().unwrap();
        let path = left.path().to_owned();
        std::mem::forget(left);
        Spool::open(dir.path()).unwrap();
        assert!(!path.exists());
    }
}
