//! The folders of stored files.
//!
//! - `<data>/media/<account number>/<medium number>`: the media of messages.
//! - `<data>/outbox/<account number>/<message id>`: files of messages in the outbox.
//! - `<data>/history/<account number>/<increasing number>`: chunks of the phone's history to be read.
//!
//! Directories are 0700 and files 0600. The store has the metadata; [`Files::sweep`] removes files that the
//! store does not have. All of this blocks.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::{Disk, Spooled};
use crate::clock;
use crate::sync::locked;

/// Held from choosing a name in `history` until the file exists.
static NAMING: Mutex<()> = Mutex::new(());

/// The folders of a data directory.
#[derive(Debug, Clone)]
pub struct Files {
    data: Arc<Path>,
}

impl Files {
    /// The folders in `data`, which exists.
    pub fn new(data: &Path) -> Files {
        Files { data: data.into() }
    }

    /// The path of a medium.
    pub fn medium(&self, account: u32, number: u64) -> PathBuf {
        self.media_folder(account).join(number.to_string())
    }

    /// Stores a medium's file.
    ///
    /// # Errors
    /// I/O errors; the file is removed then.
    pub fn keep(&self, file: Spooled, account: u32, number: u64) -> io::Result<()> {
        private_folder(&self.media_folder(account))?;
        file.persist(&self.medium(account, number))
    }

    /// Removes a medium's file, if it exists.
    ///
    /// # Errors
    /// I/O errors.
    pub fn remove(&self, account: u32, number: u64) -> io::Result<()> {
        if_there(fs::remove_file(self.medium(account, number)))
    }

    /// The path of an outbox message's file; `message_id` was made by this server.
    pub fn waiting(&self, account: u32, message_id: &str) -> PathBuf {
        self.outbox_folder(account).join(message_id)
    }

    /// Stores the file of an outbox message.
    ///
    /// # Errors
    /// I/O errors; the file is removed then.
    pub fn keep_waiting(&self, file: Spooled, account: u32, message_id: &str) -> io::Result<()> {
        private_folder(&self.outbox_folder(account))?;
        file.persist(&self.waiting(account, message_id))
    }

    /// Stores the file of several outbox messages, once: hard links.
    ///
    /// # Errors
    /// I/O errors; none of the files is left then.
    pub fn keep_waiting_as(&self, file: Spooled, account: u32, ids: &[String]) -> io::Result<()> {
        let Some((first, others)) = ids.split_first() else {
            return Ok(());
        };
        private_folder(&self.outbox_folder(account))?;
        let mut others = others.iter().map(|id| self.waiting(account, id));
        let linked = others
            .try_for_each(|path| fs::hard_link(file.path(), path))
            // Synced with the folder.
            .and_then(|()| file.persist(&self.waiting(account, first)));
        if linked.is_err() {
            for id in ids {
                self.remove_waiting(account, id)?;
            }
        }
        linked
    }

    /// Moves the file of an outbox message to that of its medium.
    ///
    /// # Errors
    /// I/O errors; the file is not moved then.
    pub fn keep_waited(&self, account: u32, message_id: &str, number: u64) -> io::Result<()> {
        let folder = self.media_folder(account);
        private_folder(&folder)?;
        // Its content was synced when it was stored.
        fs::rename(
            self.waiting(account, message_id),
            self.medium(account, number),
        )?;
        fs::File::open(folder)?.sync_all()
    }

    /// Removes the file of an outbox message, if it exists.
    ///
    /// # Errors
    /// I/O errors.
    pub fn remove_waiting(&self, account: u32, message_id: &str) -> io::Result<()> {
        if_there(fs::remove_file(self.waiting(account, message_id)))
    }

    /// Removes outbox files that `is_known` denies, and returns their number. Not while messages are being
    /// sent: a file is stored before its message.
    ///
    /// # Errors
    /// I/O errors.
    pub fn sweep_waiting(&self, is_known: impl Fn(u32, &str) -> bool) -> io::Result<usize> {
        let mut removed = 0;
        for account in numbered::<u32>(&self.data.join("outbox"))? {
            for name in numbered::<String>(&self.outbox_folder(account))? {
                if !is_known(account, &name) {
                    self.remove_waiting(account, &name)?;
                    removed += 1;
                }
            }
        }
        Ok(removed)
    }

    /// Removes all files of an account.
    ///
    /// # Errors
    /// I/O errors.
    pub fn remove_account(&self, account: u32) -> io::Result<()> {
        if_there(fs::remove_dir_all(self.media_folder(account)))?;
        if_there(fs::remove_dir_all(self.outbox_folder(account)))?;
        if_there(fs::remove_dir_all(self.history_folder(account)))
    }

    /// Removes media that `is_known` denies, and returns their number.
    ///
    /// # Errors
    /// I/O errors.
    pub fn sweep(&self, is_known: impl Fn(u32, u64) -> bool) -> io::Result<usize> {
        let mut removed = 0;
        for account in numbered::<u32>(&self.data.join("media"))? {
            for medium in numbered::<u64>(&self.media_folder(account))? {
                if !is_known(account, medium) {
                    self.remove(account, medium)?;
                    removed += 1;
                }
            }
        }
        Ok(removed)
    }

    /// The free and total space of the disk.
    ///
    /// # Errors
    /// I/O errors.
    pub fn disk(&self) -> io::Result<Disk> {
        let stat = rustix::fs::statvfs(&*self.data)?;
        Ok(Disk {
            total: stat.f_blocks.saturating_mul(stat.f_frsize),
            free: stat.f_bavail.saturating_mul(stat.f_frsize),
        })
    }

    /// The bytes of all media. Looks at each file.
    ///
    /// # Errors
    /// I/O errors.
    pub fn bytes(&self) -> io::Result<u64> {
        let mut total: u64 = 0;
        for account in numbered::<u32>(&self.data.join("media"))? {
            for number in numbered::<u64>(&self.media_folder(account))? {
                let size = fs::metadata(self.medium(account, number)).map_or(0, |file| file.len());
                total = total.saturating_add(size);
            }
        }
        Ok(total)
    }

    /// The media (account, number) to remove so that the rest take at most `bytes`, oldest first.
    ///
    /// # Errors
    /// I/O errors.
    pub fn oldest_over(&self, bytes: u64) -> io::Result<Vec<(u32, u64)>> {
        self.oldest(|total| total.saturating_sub(bytes))
    }

    /// The media to remove to free `bytes`, oldest first; all, if they have less.
    ///
    /// # Errors
    /// I/O errors.
    pub fn oldest_worth(&self, bytes: u64) -> io::Result<Vec<(u32, u64)>> {
        self.oldest(|_| bytes)
    }

    /// The oldest media with as many bytes as `much` returns for the total.
    fn oldest(&self, much: impl FnOnce(u64) -> u64) -> io::Result<Vec<(u32, u64)>> {
        let mut found = Vec::new();
        let mut total: u64 = 0;
        for account in numbered::<u32>(&self.data.join("media"))? {
            for number in numbered::<u64>(&self.media_folder(account))? {
                // Removed in between.
                let Ok(metadata) = fs::metadata(self.medium(account, number)) else {
                    continue;
                };
                total = total.saturating_add(metadata.len());
                let stored = metadata.modified()?;
                found.push((stored, account, number, metadata.len()));
            }
        }
        found.sort_unstable();
        let mut doomed = Vec::new();
        let mut left = much(total);
        for (_, account, number, size) in found {
            if left == 0 {
                break;
            }
            left = left.saturating_sub(size);
            doomed.push((account, number));
        }
        Ok(doomed)
    }

    /// Stores a chunk of an account's history; its name sorts after those of earlier ones.
    ///
    /// # Errors
    /// I/O errors.
    pub fn keep_history(&self, account: u32, piece: Spooled) -> io::Result<()> {
        // Concurrent chunks would choose the same name.
        let _one_by_one = locked(&NAMING);
        piece.persist(&self.new_history(account)?)
    }

    /// The path of the next chunk, valid while [`NAMING`] is held.
    fn new_history(&self, account: u32) -> io::Result<PathBuf> {
        let folder = self.history_folder(account);
        private_folder(&folder)?;
        let mut stamp = u128::from(clock::now()) * 1_000_000;
        // The order must survive a clock that is set back.
        if let Some(last) = numbered::<u128>(&folder)?.into_iter().max() {
            stamp = stamp.max(last + 1);
        }
        loop {
            let path = folder.join(format!("{stamp:024}"));
            if !path.exists() {
                return Ok(path);
            }
            stamp += 1;
        }
    }

    /// The folder of an account's history.
    pub fn history_folder(&self, account: u32) -> PathBuf {
        self.data.join("history").join(account.to_string())
    }

    fn outbox_folder(&self, account: u32) -> PathBuf {
        self.data.join("outbox").join(account.to_string())
    }

    fn media_folder(&self, account: u32) -> PathBuf {
        self.data.join("media").join(account.to_string())
    }
}

fn private_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn if_there(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// The entries of a folder whose names parse as `N`; none if there is no folder.
fn numbered<N: std::str::FromStr>(folder: &Path) -> io::Result<Vec<N>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut numbers = Vec::new();
    for entry in entries {
        if let Some(number) = entry?.file_name().to_str().and_then(|n| n.parse().ok()) {
            numbers.push(number);
        }
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::Spool;

    #[test]
    fn sweep_removes_files_that_the_store_does_not_have() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::new(dir.path());
        assert_eq!(files.sweep(|_, _| false).unwrap(), 0);
        for (account, number) in [(1, 1), (1, 2), (2, 1)] {
            private_folder(&files.media_folder(account)).unwrap();
            fs::write(files.medium(account, number), "x").unwrap();
        }
        let removed = files.sweep(|account, number| (account, number) != (1, 2));
        assert_eq!(removed.unwrap(), 1);
        assert!(files.medium(1, 1).exists() && !files.medium(1, 2).exists());
        files.remove_account(1).unwrap();
        files.remove_account(1).unwrap();
        assert!(!files.medium(1, 1).exists() && files.medium(2, 1).exists());
        files.remove(2, 1).unwrap();
        files.remove(2, 1).unwrap();
        assert!(!files.medium(2, 1).exists());
    }

    #[test]
    fn the_oldest_files_are_removed_first() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::new(dir.path());
        assert_eq!(files.oldest_over(0).unwrap(), []);
        for (age, (account, number)) in [(3, (1, 2)), (1, (1, 1)), (2, (2, 1))] {
            private_folder(&files.media_folder(account)).unwrap();
            let file = fs::File::create(files.medium(account, number)).unwrap();
            file.set_len(100).unwrap();
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000 - age);
            file.set_modified(time).unwrap();
        }
        assert_eq!(files.oldest_over(300).unwrap(), []);
        assert_eq!(files.oldest_over(299).unwrap(), [(1, 2)]);
        assert_eq!(files.oldest_over(100).unwrap(), [(1, 2), (2, 1)]);
        assert_eq!(files.oldest_over(0).unwrap(), [(1, 2), (2, 1), (1, 1)]);
        assert_eq!(files.oldest_worth(0).unwrap(), []);
        assert_eq!(files.oldest_worth(1).unwrap(), [(1, 2)]);
        assert_eq!(files.oldest_worth(101).unwrap(), [(1, 2), (2, 1)]);
        assert_eq!(files.oldest_worth(u64::MAX).unwrap().len(), 3);
        let disk = files.disk().unwrap();
        assert!(0 < disk.free && disk.free <= disk.total, "{disk:?}");
    }

    #[test]
    fn chunks_of_history_sort_by_age() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::new(dir.path());
        let mut last = files.new_history(1).unwrap();
        for _ in 0..5 {
            fs::write(&last, "x").unwrap();
            let next = files.new_history(1).unwrap();
            assert!(next > last);
            last = next;
        }
    }

    #[test]
    fn concurrent_chunks_of_history_are_all_kept() {
        let dir = tempfile::tempdir().unwrap();
        let (files, spool) = (
            Files::new(dir.path()),
            Spool::open(&dir.path().join("tmp")).unwrap(),
        );
        let start = std::sync::Barrier::new(8);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    start.wait();
                    for _ in 0..20 {
                        files.keep_history(1, spool.create().unwrap().0).unwrap();
                    }
                });
            }
        });
        assert_eq!(
            fs::read_dir(files.history_folder(1)).unwrap().count(),
            8 * 20
        );
    }
}
