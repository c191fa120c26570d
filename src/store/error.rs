//! How storage fails.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::width::Unconverted;

pub type Result<T> = std::result::Result<T, StoreError>;

/// Why a read, a write or opening failed.
///
/// It is `Clone`, because one failed commit is the answer to every job that was in it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Another process, or another `Store` of this one, has the directory open.
    #[error("{} is in use by another wildcat{}", .path.display(), holder(.pid))]
    Locked {
        path: PathBuf,
        /// The process that holds it, if the lock file names one.
        pid: Option<u32>,
    },
    /// A later version of this program wrote the data; it is left untouched.
    #[error(
        "the data was written by a newer wildcat (schema {found}, this one knows up to {known}): \
         install that version again, or choose another data directory"
    )]
    Newer { found: u32, known: u32 },
    /// An earlier version wrote the data, and they are only read here.
    #[error(
        "the data was written by an older wildcat: start the server of this version once, or use the \
         older one"
    )]
    Older,
    /// The data are of a system with the other word size, whose files LMDB cannot read here.
    #[error("the data are of a {bits}-bit system: {cause}")]
    OtherWidth {
        /// Of that system's words.
        bits: u32,
        cause: Unconverted,
    },
    /// The data file ends before what it refers to.
    #[error(
        "{} is cut short: it has {has} of {needs} bytes, and data are in what is missing. Nothing was \
         changed. Put a backup into a new directory (wildcat restore FILE --data DIR); without one, move \
         this directory away and pair the accounts anew", .path.display()
    )]
    CutShort {
        path: PathBuf,
        /// Bytes.
        has: u64,
        needs: u64,
    },
    /// No room for the write; nothing of it was stored. Reads go on, and so do
    /// writes that fit, among them most deletions.
    #[error("storage is full: {0}")]
    Full(Room),
    /// Nothing can be written; reads go on. A card's file system becomes so when the card fails.
    #[error(
        "the file system is read-only: mount it writable; if it became so by itself, its card or disk \
         has failed (dmesg tells) and wants a check, or to be replaced"
    )]
    ReadOnly,
    /// The end of a commit could not be written, and LMDB takes nothing more until it is opened anew.
    #[error("the disk failed at the end of a commit: the database must be opened anew")]
    Broken,
    /// The operating system refused.
    #[error("{action}: {source}{}", advice(source))]
    Io {
        /// What was tried, with the path where one is known.
        action: Arc<str>,
        source: Arc<io::Error>,
    },
    /// LMDB refused for a reason that is none of the above.
    #[error("LMDB: {0}")]
    Lmdb(LmdbError),
    /// A row does not read back as what its table holds.
    #[error("table {table}: row {key} is damaged: {cause}")]
    Corrupt {
        table: &'static str,
        /// The key in hexadecimal.
        key: String,
        cause: Arc<str>,
    },
    /// A value could not be serialized. No type of this crate makes that happen.
    #[error("cannot encode a row of table {table}: {cause}")]
    Encode {
        table: &'static str,
        cause: Arc<str>,
    },
    /// The store was closed before the job was done; nothing of it was stored.
    #[error("storage is closed")]
    Closed,
    /// `close` did not finish in the time that it was given.
    #[error("storage is still busy")]
    Busy,
    /// The job panicked; nothing of it was stored.
    #[error("a storage job panicked: {0}")]
    Panicked(Arc<str>),
    /// A row that the job relies on is not there. Jobs use it to stop and undo what they wrote.
    #[error("no such {0}")]
    Missing(&'static str),
}

/// What ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// The map reached the size that it may have.
    Map { limit: u64 },
    /// The disk, or a quota on it.
    Disk,
}

impl fmt::Display for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Room::Map { limit } => write!(
                f,
                "it reached its limit of {} MiB: storage.keep_days or storage.max_bytes keep less",
                limit >> 20
            ),
            Room::Disk => f.write_str(
                "no space left on the disk: make room, and it goes on by itself (media.max_bytes and \
                 storage.keep_days keep less)",
            ),
        }
    }
}

/// LMDB's own error, without its crate's type in our interface.
#[derive(Debug, Clone)]
pub struct LmdbError(Arc<str>);

impl fmt::Display for LmdbError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn holder(pid: &Option<u32>) -> String {
    pid.map(|pid| format!(" (process {pid})"))
        .unwrap_or_default()
}

impl StoreError {
    /// Whether the storage itself is in the way, rather than what one job wanted of it.
    pub fn is_storages_own(&self) -> bool {
        match self {
            StoreError::Full(_)
            | StoreError::ReadOnly
            | StoreError::Broken
            | StoreError::Io { .. }
            | StoreError::Lmdb(_) => true,
            StoreError::Locked { .. }
            | StoreError::Newer { .. }
            | StoreError::Older
            | StoreError::OtherWidth { .. }
            | StoreError::CutShort { .. }
            | StoreError::Corrupt { .. }
            | StoreError::Encode { .. }
            | StoreError::Closed
            | StoreError::Busy
            | StoreError::Panicked(_)
            | StoreError::Missing(_) => false,
        }
    }

    /// What a caller may know of a storage that refuses: its own words can name paths of this machine.
    pub fn for_callers(&self) -> String {
        match self {
            StoreError::Full(_) | StoreError::ReadOnly | StoreError::Broken => self.to_string(),
            StoreError::Io { .. } | StoreError::Lmdb(_) => {
                "nothing can be stored, the disk may have failed: the log says how".to_owned()
            }
            _ => "nothing can be stored; the log says why".to_owned(),
        }
    }

    /// A disk that has no room, or is read-only.
    pub fn of_disk(error: &io::Error) -> Option<StoreError> {
        match error.kind() {
            io::ErrorKind::ReadOnlyFilesystem => Some(StoreError::ReadOnly),
            _ => is_full(error).then_some(StoreError::Full(Room::Disk)),
        }
    }

    /// `source` with what was being done to `path`.
    pub(super) fn io(action: &str, path: &Path, source: io::Error) -> StoreError {
        if is_full(&source) {
            return StoreError::Full(Room::Disk);
        }
        StoreError::Io {
            action: format!("cannot {action} {}", path.display()).into(),
            source: Arc::new(source),
        }
    }

    pub(super) fn corrupt(table: &'static str, key: &[u8], cause: impl fmt::Display) -> StoreError {
        StoreError::Corrupt {
            table,
            key: key.iter().map(|b| format!("{b:02x}")).collect(),
            cause: cause.to_string().into(),
        }
    }
}

/// What to do about it, where that is plain.
pub(super) fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            ": it must belong to the user that runs wildcat (chown -R does it, or another place: --data)"
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            ": mount it writable, or choose another place with --data (storage.path)"
        }
        _ if error.raw_os_error() == Some(EIO) => {
            ": the card or disk fails (dmesg tells): make a backup, check it, replace it"
        }
        _ => "",
    }
}

/// The same number everywhere.
const EIO: i32 = 5;

pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

impl From<heed::Error> for StoreError {
    /// `MDB_MAP_FULL` becomes [`Room::Map`] with limit 0; the writer, which knows the limit, either
    /// grows the map or fills it in.
    fn from(error: heed::Error) -> StoreError {
        match error {
            heed::Error::Mdb(heed::MdbError::MapFull) => StoreError::Full(Room::Map { limit: 0 }),
            heed::Error::Mdb(heed::MdbError::Panic) => StoreError::Broken,
            heed::Error::Io(source) if is_full(&source) => StoreError::Full(Room::Disk),
            heed::Error::Io(source) if source.kind() == io::ErrorKind::ReadOnlyFilesystem => {
                StoreError::ReadOnly
            }
            heed::Error::Io(source) => StoreError::Io {
                action: "cannot access the database".into(),
                source: Arc::new(source),
            },
            other => StoreError::Lmdb(LmdbError(other.to_string().into())),
        }
    }
}
