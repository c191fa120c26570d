//! Copies of a data directory: `wildcat backup`, `restore` and `export`. They work beside a running
//! server, which notices nothing but the reading.
//!
//! A backup is a tar file: `wildcat-backup` (a text with its format), `db/data.mdb` (the last
//! commit, without free pages), and `media/…`, `history/…`, `keys.toml` as they lie in the directory.
//!
//! The sessions that encrypt chats change with every message, so those of a copy are out of date when
//! it is restored. To go on with them would use keys twice, and a receiver may throw away what is so
//! encrypted as something that it has seen. A restored directory therefore has none: new ones are made
//! with the next message in either direction, and what cannot be read is asked for again. The pairing
//! itself stays.

mod tar;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Seek as _, Write};
use std::os::unix::fs::{
    DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, lchown,
};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::clock::{self, Millis};
use crate::store::{self, Options, Reader, Store, StoreError, accounts, events, messages, signal};
use crate::text;

/// The first file of a backup, and how its text starts.
const MARK: &str = "wildcat-backup";
const MARK_TEXT: &str = "wildcat backup 1\n";

const DATABASE: &str = "db/data.mdb";
const KEYS: &str = "keys.toml";
const LOCK: &str = "wildcat.lock";
/// Below the data directory, while a restore is under way.
const PART: &str = "restore.part";

/// Messages that one look into the database exports.
const EXPORT_STEP: usize = 200;
/// Bytes of JSON of those; one alone may be larger.
const EXPORT_BYTES: usize = 1 << 20;
/// Rows that one transaction deletes.
const FORGET_STEP: usize = 1_000;
/// For the last commit of a restore.
const CLOSE: Duration = Duration::from_secs(60);

/// Why a copy could not be made or used.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error("{} holds no data of wildcat: say where they are with --data DIR", .0.display())]
    NoData(PathBuf),
    #[error(
        "{} is not empty: a backup is restored into a new directory, so move this one away, or name \
         another with --data DIR", .0.display()
    )]
    NotEmpty(PathBuf),
    #[error("{}: it is no backup of wildcat", .0.display())]
    NotABackup(PathBuf),
    #[error("{}: the database in it is cut short: take another backup", .0.display())]
    CutBackup(PathBuf),
    #[error(
        "{} is {what}, and a backup is a file of its own: name one, or - for standard output",
        .path.display()
    )]
    NotAFile { path: PathBuf, what: &'static str },
    #[error("{}: {source}", .path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("there is no account {0:?} here")]
    NoAccount(String),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cannot write: {0}")]
    Output(io::Error),
}

type Result<T> = std::result::Result<T, ArchiveError>;

fn at(path: &Path) -> impl Fn(io::Error) -> ArchiveError {
    let path = path.to_owned();
    move |source| ArchiveError::Io {
        path: path.clone(),
        source,
    }
}

/// What was copied.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Copied {
    pub files: u64,
    pub bytes: u64,
}

/// Removes a file, or a folder, unless it was kept.
struct Unfinished(Option<PathBuf>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            let removed = match path.is_dir() {
                true => fs::remove_dir_all(path),
                false => fs::remove_file(path),
            };
            // The error was reported; a part that remains is replaced by the next attempt.
            drop(removed);
        }
    }
}

/// Copies the data directory `data` into `to`, which is replaced when all is there (0600).
///
/// # Errors
/// See [`ArchiveError`].
pub fn backup(data: &Path, to: &Path) -> Result<Copied> {
    refuse_other_than_files(to)?;
    let reader = open(data)?;
    let part = part_of(to)?;
    let file = create_new(&part)?;
    let mut unfinished = Unfinished(Some(part.clone()));
    let mut tar = tar::Writer::new(file, clock::now() / 1000);
    let mut copied = Copied::default();
    mark(&mut tar).map_err(at(&part))?;
    copied.bytes += tar
        .add(DATABASE, |file| {
            reader.copy_to(file).map_err(io::Error::other)
        })
        .map_err(at(&part))?;
    copied.files += 1;
    add_files(data, &mut tar, &part, &mut copied)?;
    tar.finish()
        .and_then(|file| file.sync_all())
        .map_err(at(&part))?;
    // What may have been put there meanwhile is replaced itself, and not what a link leads to.
    fs::rename(&part, to).map_err(at(to))?;
    unfinished.0 = None;
    sync_folder_of(to)?;
    Ok(copied)
}

/// Copies the data directory `data` into `output`, which may be a pipe.
///
/// # Errors
/// See [`ArchiveError`].
pub fn backup_to(data: &Path, output: impl Write) -> Result<Copied> {
    let reader = open(data)?;
    // An archive names a file's size first, and that of the copied database is not known before.
    let part = part_of(&data.join(DATABASE))?;
    let mut database = create_new(&part)?;
    fs::remove_file(&part).map_err(at(&part))?;
    reader.copy_to(&mut database)?;
    let size = database.seek(io::SeekFrom::End(0)).map_err(at(&part))?;
    database.rewind().map_err(at(&part))?;
    let mut tar = tar::Writer::new(output, clock::now() / 1000);
    mark(&mut tar).map_err(ArchiveError::Output)?;
    tar.add_sized(DATABASE, size, &mut database)
        .map_err(ArchiveError::Output)?;
    drop(database);
    let mut copied = Copied {
        files: 1,
        bytes: size,
    };
    add_files(data, &mut tar, Path::new("-"), &mut copied)?;
    tar.finish().map_err(ArchiveError::Output)?;
    Ok(copied)
}

fn open(data: &Path) -> Result<Reader> {
    match data.join(DATABASE).exists() {
        true => Ok(Reader::open(data)?),
        false => Err(ArchiveError::NoData(data.to_owned())),
    }
}

/// A backup replaces nothing but files: not `/dev/null`, nor what a link leads to.
fn refuse_other_than_files(path: &Path) -> Result<()> {
    let kind = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(at(path)(error)),
    };
    let what = match kind {
        kind if kind.is_file() => return Ok(()),
        kind if kind.is_dir() => "a directory",
        kind if kind.is_symlink() => "a symbolic link",
        kind if kind.is_fifo() => "a pipe",
        kind if kind.is_socket() => "a socket",
        _ => "a device",
    };
    let path = path.to_owned();
    Err(ArchiveError::NotAFile { path, what })
}

/// A name beside `path` that cannot be known before.
fn part_of(path: &Path) -> Result<PathBuf> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(|error| at(path)(io::Error::other(error.to_string())))?;
    let mut part = path.as_os_str().to_owned();
    part.push(format!(".{:016x}.part", u64::from_le_bytes(random)));
    Ok(PathBuf::from(part))
}

/// A file that was not there before, for its owner alone (0600).
fn create_new(path: &Path) -> Result<File> {
    OpenOptions::new()
        .write(true)
        .read(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
        .map_err(at(path))
}

fn mark(tar: &mut tar::Writer<impl Write>) -> io::Result<()> {
    let text = format!("{MARK_TEXT}{}\n", clock::iso8601(clock::now()));
    tar.add_sized(MARK, text.len() as u64, &mut text.as_bytes())
}

/// Adds what a data directory has besides the database. `to` is named where writing fails.
fn add_files(
    data: &Path,
    tar: &mut tar::Writer<impl Write>,
    to: &Path,
    copied: &mut Copied,
) -> Result<()> {
    for name in names(data).map_err(at(data))? {
        let path = data.join(&name);
        let mut source = match File::open(&path) {
            Ok(source) => source,
            // It went meanwhile, with its message.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(at(&path)(error)),
        };
        let size = source.metadata().map_err(at(&path))?.len();
        let added = tar.add_sized(&name, size, &mut source);
        added.map_err(|error| match to == Path::new("-") {
            true => ArchiveError::Output(error),
            false => at(to)(error),
        })?;
        copied.bytes += size;
        copied.files += 1;
    }
    Ok(())
}

/// The files of a data directory besides the database.
fn names(data: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for folder in ["media", "history"] {
        for account in entries(&data.join(folder))? {
            for file in entries(&data.join(folder).join(&account))? {
                names.push(format!("{folder}/{account}/{file}"));
            }
        }
    }
    if data.join(KEYS).exists() {
        names.push(KEYS.to_owned());
    }
    names.retain(|name| is_known(name));
    Ok(names)
}

fn entries(folder: &Path) -> io::Result<Vec<String>> {
    let listed = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed?,
    };
    let mut names = Vec::new();
    for entry in listed {
        names.extend(entry?.file_name().into_string());
    }
    names.sort_unstable();
    Ok(names)
}

/// Whether a backup can have a file of that name: nothing that leads elsewhere.
fn is_known(name: &str) -> bool {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    match name.split('/').collect::<Vec<_>>()[..] {
        ["media" | "history", account, file] => is_number(account) && is_number(file),
        _ => name == KEYS || name == DATABASE,
    }
}

/// Restores the backup `from`, or standard input for `-`, into the data directory `data`, which
/// must be new or empty. What root makes there belongs to the directory's owner.
///
/// # Errors
/// See [`ArchiveError`]; [`StoreError::Locked`] if a server runs on the directory.
pub fn restore(from: &Path, data: &Path) -> Result<Copied> {
    let input: Box<dyn Read> = match from == Path::new("-") {
        true => Box::new(io::stdin()),
        false => Box::new(File::open(from).map_err(at(from))?),
    };
    let mut tar = tar::Reader::new(BufReader::new(input));
    let not_one = || ArchiveError::NotABackup(from.to_owned());
    let mut text = Vec::new();
    match tar.next() {
        Ok(Some((name, 0..=1_000))) if name == MARK => {
            tar.copy(&mut text).map_err(at(from))?;
        }
        _ => return Err(not_one()),
    }
    if !text.starts_with(MARK_TEXT.as_bytes()) {
        return Err(not_one());
    }
    let there = entries(data).map_err(at(data))?;
    let is_used = there.iter().any(|name| name != LOCK && name != PART);
    if is_used && !there.iter().any(|name| name == LOCK) {
        return Err(ArchiveError::NotEmpty(data.to_owned()));
    }
    // Fails if it is in use.
    let lock = store::hold(data)?;
    if is_used {
        return Err(ArchiveError::NotEmpty(data.to_owned()));
    }
    let part = data.join(PART);
    let unfinished = Unfinished(Some(part.clone()));
    match fs::remove_dir_all(&part) {
        // It removes a link, and not what that leads to.
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(&part)(error)),
        _ => {}
    }
    DirBuilder::new()
        .mode(0o700)
        .create(&part)
        .map_err(at(&part))?;
    let copied = extract(&mut tar, from, &part)?;
    // One of a system with the other word size.
    store::convert(&part, Options::default())?;
    // A damaged or a newer one is refused before anything is in its place.
    match Reader::open(&part) {
        Err(StoreError::CutShort { .. }) => return Err(ArchiveError::CutBackup(from.to_owned())),
        opened => drop(opened?),
    }
    fs::remove_file(part.join("db/lock.mdb")).map_err(at(&part))?;
    for name in ["media", "history", KEYS, "db"] {
        if part.join(name).exists() {
            fs::rename(part.join(name), data.join(name)).map_err(at(&data.join(name)))?;
        }
    }
    drop(unfinished);
    File::open(data)
        .and_then(|folder| folder.sync_all())
        .map_err(at(data))?;
    drop(lock);
    make_usable(data)?;
    give_to_owner(data)?;
    Ok(copied)
}

fn extract<R: io::Read>(tar: &mut tar::Reader<R>, from: &Path, part: &Path) -> Result<Copied> {
    let mut copied = Copied::default();
    while let Some((name, size)) = tar.next().map_err(at(from))? {
        if !is_known(&name) {
            return Err(ArchiveError::NotABackup(from.to_owned()));
        }
        let path = part.join(&name);
        let folder = path.parent().unwrap_or(part);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(at(folder))?;
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(at(&path))?;
        let mut output = BufWriter::new(&file);
        tar.copy(&mut output).map_err(at(from))?;
        output.flush().map_err(at(&path))?;
        drop(output);
        file.sync_all().map_err(at(&path))?;
        copied.files += 1;
        copied.bytes += size;
    }
    match part.join(DATABASE).exists() {
        true => Ok(copied),
        false => Err(ArchiveError::NotABackup(from.to_owned())),
    }
}

/// Takes out of a restored directory what must not be used again.
fn make_usable(data: &Path) -> Result<()> {
    let store = Store::open(data, Options::default())?;
    let done = smol::block_on(async {
        let numbers = store.read(accounts::list)?;
        for account in numbers.into_iter().map(|account| account.number) {
            while store
                .write(move |tx| signal::forget_sessions(tx, account, FORGET_STEP))
                .await?
            {}
        }
        store.write(events::skip_numbers).await?;
        store.close(CLOSE).await
    });
    Ok(done?)
}

/// When root restores for a server of another user: all files get the directory's owner.
fn give_to_owner(data: &Path) -> Result<()> {
    let owner = fs::metadata(data).map_err(at(data))?;
    let mut folders = vec![data.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(at(&folder))? {
            let entry = entry.map_err(at(&folder))?;
            let path = entry.path();
            let metadata = entry.metadata().map_err(at(&path))?;
            if metadata.uid() != owner.uid() {
                lchown(&path, Some(owner.uid()), Some(owner.gid())).map_err(at(&path))?;
            }
            if metadata.is_dir() {
                folders.push(path);
            }
        }
    }
    Ok(())
}

/// Writes an account's messages to `output`, a line of JSON each, the oldest first.
///
/// # Errors
/// See [`ArchiveError`].
pub fn export(data: &Path, account: &str, output: &mut impl Write) -> Result<u64> {
    let reader = open(data)?;
    let number = reader
        .read(|tx| accounts::number(tx, account))?
        .ok_or_else(|| ArchiveError::NoAccount(account.to_owned()))?;
    let mut after: Option<(Millis, u64)> = None;
    let mut count = 0;
    loop {
        // A transaction each: one that waits for a slow reader would keep the server from using
        // pages again.
        let step = reader
            .read(|tx| messages::oldest_first(tx, number, after, EXPORT_STEP, EXPORT_BYTES))?;
        let Some((last, _)) = step.last() else {
            output.flush().map_err(ArchiveError::Output)?;
            return Ok(count);
        };
        after = Some(*last);
        for (_, message) in &step {
            let line = serde_json::to_string(message)
                .map_err(|error| ArchiveError::Output(error.into()))?;
            // It may be read in a terminal, and JSON has a way to write whatever a sender wrote.
            writeln!(output, "{}", text::plain_json(&line)).map_err(ArchiveError::Output)?;
            count += 1;
        }
    }
}

fn sync_folder_of(path: &Path) -> Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(at(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leads_out_of_the_directory() {
        for name in ["db/data.mdb", "media/1/2", "history/1/0001", "keys.toml"] {
            assert!(is_known(name), "{name}");
        }
        for name in [
            "",
            "/",
            "..",
            "../x",
            "media/1/..",
            "media/../1",
            "media/1",
            "media/1/2/3",
            "media//1",
            "/db/data.mdb",
            "db/lock.mdb",
            "wildcat.lock",
            "history/1/x",
            "media/+1/1",
        ] {
            assert!(!is_known(name), "{name}");
        }
    }
}
