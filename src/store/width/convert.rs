//! Puts an environment of this system's layout in the place of one of the other layout.
//!
//! The new one is written beside the old, row by row, and takes its name when all of it is on disk: a
//! power cut at any moment leaves one of the two, complete. What a cut left is removed at the next
//! opening.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, fchown};
use std::path::Path;
use std::sync::Arc;

use heed::types::Bytes;
use heed::{CommitOrAbort, Database, Env, EnvFlags, EnvOpenOptions, PutFlags, WithoutTls};

use super::Width;
use super::pages::{ReadError, Source, Tree};
use crate::store::env::{self, DATA_FILE, DB_DIR, LOCK_OF_LMDB, MIB, Options};
use crate::store::error::{self, Room, StoreError};
use crate::store::schema;

/// Below the data directory, while data are converted.
pub(super) const PART: &str = "db.part";

/// Bytes of rows that one transaction writes: what it takes in memory is somewhat more.
const STEP: usize = 2 << 20;

/// Why data of the other word size are not used.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Unconverted {
    /// They are only read here.
    #[error("start the server of this version once, which converts them")]
    OnlyRead,
    #[error(
        "to convert them takes {} MiB of free space on the disk, and there are {} MiB",
        mebibytes(*.needed), .free / MIB
    )]
    NoRoom {
        /// Bytes.
        needed: u64,
        free: u64,
    },
    #[error("the disk is full: to convert them takes some {} MiB", mebibytes(*.needed))]
    DiskFull {
        /// Bytes.
        needed: u64,
    },
    #[error(
        "they take {} MiB, and a {}-bit system can hold {} MiB; let old messages go on the system \
         that they are of (storage.keep_days, storage.max_bytes), or stay there",
        mebibytes(*.size), Width::OWN.bits(), .limit / MIB
    )]
    TooLarge {
        /// Bytes.
        size: u64,
        limit: u64,
    },
    #[error("{DB_DIR}/{DATA_FILE} is damaged: {0}")]
    Damaged(Arc<str>),
}

fn mebibytes(bytes: u64) -> u64 {
    bytes.div_ceil(MIB)
}

/// What has just been done, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// A transaction's rows are written.
    Rows,
    /// All are on disk.
    Synced,
    /// The old lock file is gone.
    Unlocked,
    /// The new file has the old one's name.
    Renamed,
}

/// Makes what lies below the data directory `data` readable on this system, if it is of one with the
/// other word size. Else, and where nothing lies, it does nothing.
///
/// The caller holds the directory's lock.
///
/// # Errors
/// [`StoreError::OtherWidth`], [`StoreError::Newer`], and what the disk says; the old data are then as
/// they were, and nothing else is left.
pub fn convert(data: &Path, options: Options) -> Result<(), StoreError> {
    let path = data.join(DB_DIR).join(DATA_FILE);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(StoreError::io("open", &path, error)),
    };
    match Width::of(&file).map_err(|error| StoreError::io("read", &path, error))? {
        Some(width) if width != Width::OWN => replace(data, file, width, options, &mut |_| {}),
        _ => Ok(()),
    }
}

/// Removes what a conversion left that was cut off.
///
/// # Errors
/// The disk's.
pub fn clear(data: &Path) -> Result<(), StoreError> {
    let part = data.join(PART);
    match fs::remove_dir_all(&part) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(StoreError::io("remove", &part, error))
        }
        _ => Ok(()),
    }
}

/// Puts a new environment in the place of the one in `file`, which is of `width`. `done` hears of each
/// step.
pub(super) fn replace(
    data: &Path,
    file: File,
    width: Width,
    options: Options,
    done: &mut dyn FnMut(Done),
) -> Result<(), StoreError> {
    clear(data)?;
    let metadata = file
        .metadata()
        .map_err(|error| StoreError::io("read", data, error))?;
    let refused = |cause| StoreError::OtherWidth {
        bits: width.bits(),
        cause,
    };
    let unread = |error| match error {
        ReadError::Io(error) => StoreError::io("read", data, error),
        damaged => refused(Unconverted::Damaged(damaged.to_string().into())),
    };
    let source = Source::open(file, width).map_err(unread)?;
    let trees = source.trees().map_err(unread)?;
    check_version(&source, &trees, unread)?;
    let size = source.live_bytes(&trees);
    let limit = options.limit();
    let free = free_bytes(data)?;
    check_room(size, limit, free).map_err(refused)?;
    log::info!(
        "storage: {} MiB of a {}-bit system's data are being converted for this {}-bit one",
        mebibytes(size),
        width.bits(),
        Width::OWN.bits()
    );

    let part = data.join(PART);
    env::make_dir(&part)?;
    let written = fill(&part, &source, &trees, size, limit, unread, done)
        .and_then(|()| put_in_place(data, &part, &metadata, done));
    let is_full = match &written {
        Err(StoreError::Full(Room::Disk)) => true,
        Err(StoreError::Io { .. }) => does_not_grow(&part),
        _ => false,
    };
    let cleared = clear(data);
    match written {
        Err(_) if is_full => {
            let needed = room_for(size);
            Err(refused(Unconverted::DiskFull { needed }))
        }
        Err(StoreError::Full(Room::Map { .. })) => {
            Err(refused(Unconverted::TooLarge { size, limit }))
        }
        Err(error) => Err(error),
        Ok(()) => {
            if let Err(error) = cleared {
                // The next start tries again.
                log::warn!("storage: {error}");
            }
            Ok(())
        }
    }
}

/// What a later version wrote is left to it.
fn check_version(
    source: &Source,
    trees: &[Tree],
    unread: impl Fn(ReadError) -> StoreError,
) -> Result<(), StoreError> {
    let Some(meta) = trees.iter().find(|tree| tree.name == schema::META) else {
        return Ok(());
    };
    let mut rows = source.rows(meta).map_err(&unread)?;
    while let Some((key, value)) = rows.next().map_err(&unread)? {
        if key == schema::VERSION_KEY {
            return schema::known_version(value).map(drop);
        }
    }
    Ok(())
}

/// Whether `size` bytes of data fit into a map of `limit` bytes, and beside themselves on a disk with
/// `free` bytes.
pub(super) fn check_room(size: u64, limit: u64, free: u64) -> Result<(), Unconverted> {
    if size > limit {
        return Err(Unconverted::TooLarge { size, limit });
    }
    let needed = room_for(size);
    if needed > free {
        return Err(Unconverted::NoRoom { needed, free });
    }
    Ok(())
}

/// Bytes that a conversion of `size` bytes may take.
fn room_for(size: u64) -> u64 {
    size.saturating_add(size / 8).saturating_add(MIB)
}

fn free_bytes(path: &Path) -> Result<u64, StoreError> {
    let stat = rustix::fs::statvfs(path)
        .map_err(|error| StoreError::io("read the free space at", path, error.into()))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Whether the disk has no room for more of the new file: of a write that was done in part LMDB says
/// only that it failed.
fn does_not_grow(part: &Path) -> bool {
    let file = File::options().append(true).open(part.join(DATA_FILE));
    // In small pieces: an array of that size would be in the program.
    let grown =
        file.and_then(|mut file| io::copy(&mut io::repeat(0).take(STEP as u64 / 2), &mut file));
    grown.is_err_and(|error| error::is_full(&error))
}

/// Writes all rows of `source` into a new environment in `part`; they are on disk then.
fn fill(
    part: &Path,
    source: &Source,
    trees: &[Tree],
    size: u64,
    limit: u64,
    unread: impl Fn(ReadError) -> StoreError,
    done: &mut dyn FnMut(Done),
) -> Result<(), StoreError> {
    // Rows that just fitted into half a page may not do so here, and take a page then: twice as much.
    let map = env::round_up(size.saturating_mul(2).saturating_add(16 * MIB)).min(limit);
    let mut options = EnvOpenOptions::new().read_txn_without_tls();
    options
        .map_size(env::to_usize(map)?)
        .max_dbs(u32::try_from(trees.len()).unwrap_or(u32::MAX).max(1));
    // SAFETY: a crash can damage an environment that is not synced; no process uses this one before it is.
    unsafe { options.flags(EnvFlags::NO_SYNC | EnvFlags::NO_READ_AHEAD) };
    // SAFETY: no other process knows the folder, and the caller holds the data directory's lock.
    let env = unsafe { options.open(part) }.map_err(StoreError::from)?;
    for tree in trees {
        let table = create(&env, &tree.name)?;
        let mut rows = source.rows(tree).map_err(&unread)?;
        let mut is_more = true;
        while is_more {
            let mut txn = env.write_txn()?;
            let mut bytes = 0;
            while bytes < STEP {
                let Some((key, value)) = rows.next().map_err(&unread)? else {
                    is_more = false;
                    break;
                };
                bytes += key.len() + value.len();
                table.put_with_flags(&mut txn, PutFlags::APPEND, key, value)?;
            }
            txn.commit()?;
            done(Done::Rows);
        }
    }
    env.force_sync()?;
    // The last handle: it closes.
    drop(env);
    let file = part.join(DATA_FILE);
    File::open(&file)
        .and_then(|file| file.sync_all())
        .map_err(|error| StoreError::io("write", &file, error))?;
    done(Done::Synced);
    Ok(())
}

fn create<'e>(
    env: &'e Env<WithoutTls>,
    name: &str,
) -> Result<Database<'e, Bytes, Bytes>, StoreError> {
    let txn = env.write_txn()?;
    let created = env.create_databases_and_commit(txn, |opener, txn| {
        let table = opener.create_database::<Bytes, Bytes>(txn, Some(name))?;
        Ok::<_, StoreError>(CommitOrAbort::<_, std::convert::Infallible>::Commit(table))
    })?;
    match created {
        CommitOrAbort::Commit(table) => Ok(table),
        CommitOrAbort::Abort(never) => match never {},
    }
}

/// Gives the new file in `part` the old one's name, owner and place.
fn put_in_place(
    data: &Path,
    part: &Path,
    old: &fs::Metadata,
    done: &mut dyn FnMut(Done),
) -> Result<(), StoreError> {
    let db = data.join(DB_DIR);
    let (new, place, lock) = (
        part.join(DATA_FILE),
        db.join(DATA_FILE),
        db.join(LOCK_OF_LMDB),
    );
    let file = File::open(&new).map_err(|error| StoreError::io("open", &new, error))?;
    // For the server's own user, if an administrator started it by hand. Who may not do this is no
    // other than the owner, or could not read the old one either.
    drop(fchown(&file, Some(old.uid()), Some(old.gid())));
    match fs::remove_file(&lock) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(StoreError::io("remove", &lock, error));
        }
        _ => done(Done::Unlocked),
    }
    fs::rename(&new, &place).map_err(|error| StoreError::io("replace", &place, error))?;
    done(Done::Renamed);
    File::open(&db)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| StoreError::io("write", &db, error))
}
