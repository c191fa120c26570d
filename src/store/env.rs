//! The environment on disk: directory, lock, map, and the count of readers: the map moves only while there is none.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use heed::{Env, EnvFlags, EnvOpenOptions, WithoutTls};

use super::error::{Room, StoreError};
use super::events;
use super::schema::{self, Tables};
use super::tx::ReadTx;
use super::width::{self, Unconverted, Width};

use crate::sync::locked;

const LOCK_FILE: &str = "wildcat.lock";
/// A folder that is made once there is a database.
const LATER: &str = "tmp";
pub(super) const DB_DIR: &str = "db";
pub(super) const DATA_FILE: &str = "data.mdb";
/// LMDB's own; the first process that opens the environment creates it.
pub(super) const LOCK_OF_LMDB: &str = "lock.mdb";

/// Readers at the same moment, over all threads and processes: the event thread, its helpers, a backup,
/// and some to spare. So many fit into one page of LMDB's lock file: a second page, first touched on a
/// full disk, would be the end of the process (SIGBUS).
const MAX_READERS: u32 = 56;

pub(super) const MIB: u64 = 1 << 20;

/// How large LMDB's map is, which is the most that the data file can grow to.
///
/// The map takes address space, not memory, so 64-bit machines can be generous. It starts at
/// `map_initial` bytes and grows by itself up to `map_max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    pub map_initial: u64,
    pub map_max: u64,
    /// How much of the event log is kept.
    pub events: events::Keep,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            map_initial: 64 * MIB,
            map_max: if usize::BITS >= 64 { 64 << 10 } else { 1 << 10 } * MIB,
            events: events::Keep::default(),
        }
    }
}

impl Options {
    /// The next size after `current` that the map may have, in whole pages; `None` at the limit.
    fn next_size(&self, current: u64) -> Option<u64> {
        let limit = self.limit();
        // On 32 bits the address space is fragmented: doubling would soon find no hole.
        let step = if usize::BITS >= 64 { current } else { 64 * MIB };
        let next = round_up(current.saturating_add(step.max(MIB))).min(limit);
        (next > current).then_some(next)
    }

    /// `map_max`, in whole pages and within what the machine can address.
    pub(super) fn limit(&self) -> u64 {
        let machine = if usize::BITS >= 64 { 1 << 46 } else { 1 << 30 };
        (self.map_max.min(machine)) & !(PAGE - 1)
    }

    /// The size to open with, for a data file of `file` bytes: some room above it, so that the
    /// first write does not have to move the map.
    fn first_size(&self, file: u64) -> Result<u64, StoreError> {
        let limit = self.limit();
        if file > limit {
            return Err(StoreError::Full(Room::Map { limit }));
        }
        let wanted = self.map_initial.max(file.saturating_add(file / 4));
        Ok(round_up(wanted).clamp(PAGE, limit.max(PAGE)))
    }
}

/// A multiple of the page size of every machine that this runs on (64 KiB on some ARM kernels).
const PAGE: u64 = 64 << 10;

/// How much larger the file may become while another process reads it.
const READERS_GROWTH: u64 = 4 << 30;

pub(super) fn round_up(size: u64) -> u64 {
    size.saturating_add(PAGE - 1) & !(PAGE - 1)
}

pub(super) fn to_usize(size: u64) -> Result<usize, StoreError> {
    usize::try_from(size).map_err(|_| StoreError::Full(Room::Map { limit: size }))
}

/// The opened environment. Reads go through [`Environment::read`] alone, for LMDB forbids to move
/// the map, and to close, while a transaction of this process is open.
pub struct Environment {
    readers: Mutex<Readers>,
    /// Signalled when the last reader leaves.
    idle: Condvar,
    tables: Tables,
    options: Options,
}

struct Readers {
    /// `None` once closed.
    env: Option<Env<WithoutTls>>,
    count: usize,
    /// Released with the environment, after it.
    lock: Option<File>,
}

impl Environment {
    /// Opens or creates the environment below the data directory `path`.
    pub fn open(path: &Path, options: Options) -> Result<Environment, StoreError> {
        let lock = prepare_data_dir(path)?;
        let db = path.join(DB_DIR);
        make_dir(&db)?;
        tighten(&db)?;
        width::clear(path)?;
        width::convert(path, options)?;
        width::check(&db.join(DATA_FILE), path.join(LATER).exists())?;
        let file = match fs::metadata(db.join(DATA_FILE)) {
            Ok(metadata) => metadata.len(),
            Err(e) if e.kind() == io::ErrorKind::NotFound => 0,
            Err(e) => return Err(StoreError::io("read", &db, e)),
        };
        let mut size = options.first_size(file)?;
        let env = open_lmdb(&db, size)?;
        env.clear_stale_readers()?;
        let tables = loop {
            match schema::open(&env) {
                // An upgrade can need more room than the layout before it.
                Err(StoreError::Full(Room::Map { .. })) => {
                    let limit = options.limit();
                    size = options
                        .next_size(size)
                        .ok_or(StoreError::Full(Room::Map { limit }))?;
                    // SAFETY: no other thread has the environment yet, and every transaction of
                    // `schema::open` ended with it.
                    unsafe { env.resize(to_usize(size)?)? };
                }
                opened => break opened?,
            }
        };
        Ok(Environment {
            readers: Mutex::new(Readers {
                env: Some(env),
                count: 0,
                lock: Some(lock),
            }),
            idle: Condvar::new(),
            tables,
            options,
        })
    }

    pub fn tables(&self) -> &Tables {
        &self.tables
    }

    /// The environment for the one writer, which never holds a transaction over
    /// [`grow`](Self::grow) and drops this before [`shut`](Self::shut).
    pub fn writer(&self) -> Option<Env<WithoutTls>> {
        self.readers().env.clone()
    }

    /// Runs `job` on the last commit. Calls may nest.
    pub fn read<T>(
        &self,
        job: impl FnOnce(&ReadTx<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let entered = self.enter()?;
        let txn = entered.env.read_txn()?;
        job(&ReadTx::new(&txn, &self.tables))
    }

    fn enter(&self) -> Result<Entered<'_>, StoreError> {
        let mut readers = self.readers();
        let env = readers.env.clone().ok_or(StoreError::Closed)?;
        readers.count += 1;
        Ok(Entered {
            env,
            _leave: Leave(self),
        })
    }

    /// Makes the map larger. Waits until no reader is left; readers that come meanwhile are let
    /// in, so that nested reads cannot lock up.
    ///
    /// # Errors
    /// [`StoreError::Full`] at the limit.
    pub fn grow(&self) -> Result<(), StoreError> {
        let mut readers = self.wait_for_readers(self.readers());
        let readers = &mut *readers;
        let env = readers.env.as_ref().ok_or(StoreError::Closed)?;
        let current = env.info().map_size;
        let limit = self.options.limit();
        let next = self
            .options
            .next_size(current as u64)
            .ok_or(StoreError::Full(Room::Map { limit }))?;
        // SAFETY: no reader is in, none can enter while the count is locked, and the caller, the
        // only writer, has no transaction open.
        let resized = unsafe { env.resize(to_usize(next)?) };
        if let Err(e) = resized {
            // The old map is gone by now: without it every access would be to unmapped memory.
            // SAFETY: as above.
            if unsafe { env.resize(current) }.is_err() {
                log::error!("storage: the map is lost, restart to recover: {e}");
                std::process::abort();
            }
            log::warn!("storage: cannot grow the map to {} MiB: {e}", next / MIB);
            return Err(StoreError::Full(Room::Map {
                limit: current as u64,
            }));
        }
        log::debug!("storage: map grown to {} MiB", next / MIB);
        Ok(())
    }

    /// Frees the slots of readers whose processes died, and returns how many they were.
    pub fn clear_stale_readers(&self) -> Result<usize, StoreError> {
        let env = self.writer().ok_or(StoreError::Closed)?;
        Ok(env.clear_stale_readers()?)
    }

    /// The most that the map can grow to, in bytes.
    pub fn limit(&self) -> u64 {
        self.options.limit()
    }

    /// Bytes of the map, and of it in use. (0, 0) once closed.
    pub fn sizes(&self) -> (u64, u64) {
        let readers = self.readers();
        let Some(env) = readers.env.as_ref() else {
            return (0, 0);
        };
        let info = env.info();
        let page = u64::from(env.unnamed_database_stat().page_size);
        (
            info.map_size as u64,
            (info.last_page_number as u64 + 1) * page,
        )
    }

    /// Closes the environment and releases the lock, once the last reader has left.
    pub fn shut(&self) {
        let mut readers = self.wait_for_readers(self.readers());
        readers.env = None;
        readers.lock = None;
    }

    fn wait_for_readers<'a>(&self, readers: MutexGuard<'a, Readers>) -> MutexGuard<'a, Readers> {
        self.idle
            .wait_while(readers, |readers| readers.count > 0)
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn readers(&self) -> MutexGuard<'_, Readers> {
        locked(&self.readers)
    }
}

/// A reader that is counted. The fields drop in this order: the environment before the leave.
struct Entered<'a> {
    env: Env<WithoutTls>,
    _leave: Leave<'a>,
}

struct Leave<'a>(&'a Environment);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        let mut readers = self.0.readers();
        readers.count -= 1;
        if readers.count == 0 {
            self.0.idle.notify_all();
        }
    }
}

fn open_lmdb(dir: &Path, size: u64) -> Result<Env<WithoutTls>, StoreError> {
    // Without TLS a reader slot belongs to a transaction, not to a thread: threads that come and
    // go leave none behind, and reads can nest.
    let mut options = EnvOpenOptions::new().read_txn_without_tls();
    options
        .map_size(to_usize(size)?)
        .max_dbs(schema::COUNT)
        .max_readers(MAX_READERS);
    // SAFETY: the flag has no safety condition. Rows are small and scattered: reading ahead would
    // fill a small machine's memory with pages that no read asked for.
    unsafe { options.flags(EnvFlags::NO_READ_AHEAD) };
    // SAFETY: the lock file keeps out other processes of ours, and the directory is private, so
    // no process changes the file below the map.
    unsafe { options.open(dir) }.map_err(|e| match e {
        heed::Error::Io(e) => StoreError::io("open the database in", dir, e),
        other => other.into(),
    })
}

/// Opens the environment below the data directory `path` for reading, as another process may that
/// writes to it.
pub fn open_to_read(path: &Path, options: Options) -> Result<Env<WithoutTls>, StoreError> {
    let db = path.join(DB_DIR);
    if let Some(width) = width_of(&db.join(DATA_FILE))?
        && width != Width::OWN
    {
        return Err(StoreError::OtherWidth {
            bits: width.bits(),
            cause: Unconverted::OnlyRead,
        });
    }
    let file = db.join(DATA_FILE);
    width::check(&file, true)?;
    let length = fs::metadata(&file).map_err(|e| StoreError::io("read", &file, e))?;
    // A writer may make the file larger while it is read, but not by so much; and not every machine
    // has addresses for all that it could become.
    let size = length.len().saturating_add(READERS_GROWTH) & !(PAGE - 1);
    let mut open = EnvOpenOptions::new().read_txn_without_tls();
    open.map_size(to_usize(size.min(options.limit()))?)
        .max_dbs(schema::COUNT)
        .max_readers(MAX_READERS);
    // SAFETY: the flags have no safety condition.
    unsafe { open.flags(EnvFlags::NO_READ_AHEAD | EnvFlags::READ_ONLY) };
    // SAFETY: the file is changed by LMDB alone, whose lock file this uses, too.
    unsafe { open.open(&db) }.map_err(|e| match e {
        heed::Error::Io(e) => StoreError::io("open the database in", &db, e),
        other => other.into(),
    })
}

fn width_of(file: &Path) -> Result<Option<Width>, StoreError> {
    File::open(file)
        .and_then(|file| Width::of(&file))
        .map_err(|e| StoreError::io("read", file, e))
}

/// Makes sure that the data directory exists and is ours alone; returns the held lock.
pub fn prepare_data_dir(path: &Path) -> Result<File, StoreError> {
    let is_ours = !path.exists()
        || path.join(LOCK_FILE).exists()
        || fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
    make_dir(path)?;
    if is_ours {
        // A directory with other things in it may be shared on purpose; ours below it never is.
        tighten(path)?;
    }
    let file_path = path.join(LOCK_FILE);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        // A symbolic link there would let another file be overwritten.
        .custom_flags(libc::O_NOFOLLOW)
        .open(&file_path)
        .map_err(|e| StoreError::io("open", &file_path, e))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(in_use(path, file)),
        Err(TryLockError::Error(e)) => return Err(StoreError::io("lock", &file_path, e)),
    }
    let pid = format!("{}\n", std::process::id());
    file.set_len(0)
        .and_then(|()| file.write_all(pid.as_bytes()))
        .map_err(|e| StoreError::io("write", &file_path, e))?;
    Ok(file)
}

fn in_use(path: &Path, mut file: File) -> StoreError {
    let mut text = String::new();
    // For people only: the error is complete without it.
    let _ = (&mut file).take(32).read_to_string(&mut text);
    StoreError::Locked {
        path: PathBuf::from(path),
        pid: text.trim().parse().ok(),
    }
}

pub(super) fn make_dir(path: &Path) -> Result<(), StoreError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|e| StoreError::io("create", path, e))
}

fn tighten(path: &Path) -> Result<(), StoreError> {
    let metadata = fs::metadata(path).map_err(|e| StoreError::io("read", path, e))?;
    if metadata.permissions().mode() & 0o077 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700))
            .map_err(|e| StoreError::io("make private", path, e))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_the_map_fits_the_machine() {
        let limit = Options::default().limit();
        // More bytes than 32 bits can count, or what fits between what else a process has.
        let expected = if usize::BITS >= 64 { 64 << 10 } else { 1 << 10 };
        assert_eq!(limit / MIB, expected);
        assert_eq!(to_usize(limit).unwrap() as u64, limit);
        let all = Options {
            map_max: u64::MAX,
            ..Options::default()
        };
        assert!(to_usize(all.limit()).is_ok());
        assert!(all.first_size(u64::MAX).is_err());
    }

    #[test]
    fn the_map_grows_in_whole_pages_up_to_its_limit() {
        let options = Options {
            map_initial: 1,
            map_max: 10 * MIB + 5,
            ..Options::default()
        };
        let mut size = options.first_size(0).unwrap();
        assert_eq!(size, PAGE);
        let mut steps = 0;
        while let Some(next) = options.next_size(size) {
            assert!(next > size && next.is_multiple_of(PAGE) && next <= options.map_max);
            size = next;
            steps += 1;
        }
        assert_eq!(size, 10 * MIB);
        assert!(steps < 20);
        assert!(options.first_size(11 * MIB).is_err());
        assert_eq!(options.first_size(4 * MIB).unwrap(), 5 * MIB);
    }
}
