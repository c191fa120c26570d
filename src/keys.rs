//! The keys of the API: created by `wildcat key`, stored as hashes in a file, which the server reads when
//! it changes.
//!
//! A key has 256 random bits, so one round of SHA-256 is enough: slow hashes protect passwords, which can be
//! guessed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::clock::{Millis, iso8601};

/// The prefix of every key, by which people and secret scanners recognise it.
const PREFIX: &str = "wc_";

/// The most keys.
pub const MOST: usize = 64;

/// The largest file of keys, in bytes.
const MAX_FILE_BYTES: u64 = 64 << 10;

/// The longest credential that is compared, in bytes. Keys have 46.
const MAX_PRESENTED: usize = 256;

/// The first lines of the file.
const HEADER: &str = "\
# The keys of wildcat's API, as hashes. `wildcat key add`, `key list` and `key remove` keep this file;
# the server follows every change at once.
";

/// Why keys cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    /// The file is malformed.
    #[error("{}: {words}", path.display())]
    File { path: PathBuf, words: String },
    #[error("a key's name must be 1 to 64 of A-Z a-z 0-9 . _ -, not {0:?}")]
    Name(String),
    #[error("an account's id is 1 to 64 of A-Z a-z 0-9 _ -, not {0:?}")]
    Account(String),
    #[error("there is a key {0:?} already; `wildcat key remove {0}` removes it")]
    Twice(String),
    #[error("there is no key {0:?}; `wildcat key list` shows those there are")]
    NotFound(String),
    #[error("there are {MOST} keys already, the most that are allowed")]
    TooMany,
    #[error("the system gives no random numbers: {0}")]
    Random(getrandom::Error),
}

/// A stored key, as its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    pub name: String,
    pub sha256: [u8; 32],
    /// The only account that it gives access to; `None`: all.
    pub account: Option<String>,
    /// It gives read access only.
    pub read_only: bool,
    /// ISO 8601.
    pub created: String,
}

/// The properties of a new key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey {
    pub name: String,
    pub account: Option<String>,
    pub read_only: bool,
}

/// Finds the key that `presented` is, in constant time.
pub fn find<'a>(keys: &'a [Key], presented: &str) -> Option<&'a Key> {
    if presented.len() > MAX_PRESENTED {
        return None;
    }
    let hash = hash(presented);
    let mut found = None;
    for key in keys {
        if bool::from(key.sha256.ct_eq(&hash)) {
            found = Some(key);
        }
    }
    found
}

fn hash(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

/// All keys in the file, in order of creation; none if there is no file.
///
/// # Errors
/// If it cannot be read or parsed.
pub fn read(path: &Path) -> Result<Vec<Key>, KeyError> {
    match File::open(path) {
        Ok(file) => parse(path, &file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(io_error(path, source)),
    }
}

fn parse(path: &Path, file: &File) -> Result<Vec<Key>, KeyError> {
    let wrong = |words: String| KeyError::File {
        path: path.to_owned(),
        words,
    };
    let mut text = String::new();
    file.take(MAX_FILE_BYTES + 1)
        .read_to_string(&mut text)
        .map_err(|source| io_error(path, source))?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(wrong("larger than 64 KiB".to_owned()));
    }
    let form: Form = toml::from_str(&text).map_err(|e| wrong(e.to_string()))?;
    if form.key.len() > MOST {
        return Err(wrong(format!("more than {MOST} keys")));
    }
    form.key
        .into_iter()
        .map(|row| {
            let sha256 = from_hex(&row.sha256)
                .ok_or_else(|| wrong(format!("key {:?}: sha256 is no hash", row.name)))?;
            Ok(Key {
                name: row.name,
                sha256,
                account: row.account,
                read_only: row.read_only,
                created: row.created,
            })
        })
        .collect()
}

/// The file's content. Unknown fields are errors: a misspelt restriction must not be ignored.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    #[serde(default)]
    key: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    name: String,
    sha256: String,
    account: Option<String>,
    #[serde(default)]
    read_only: bool,
    #[serde(default)]
    created: String,
}

fn render(keys: &[Key]) -> String {
    let mut text = HEADER.to_owned();
    for key in keys {
        // Names, ids and times are checked to be plain, for which Rust's string literals equal TOML's.
        text.push_str(&format!("\n[[key]]\nname = {:?}\n", key.name));
        if let Some(account) = &key.account {
            text.push_str(&format!("account = {account:?}\n"));
        }
        if key.read_only {
            text.push_str("read_only = true\n");
        }
        text.push_str(&format!("created = {:?}\n", key.created));
        text.push_str(&format!("sha256 = \"{}\"\n", to_hex(&key.sha256)));
    }
    text
}

fn to_hex(hash: &[u8; 32]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, digits) in hash.iter_mut().zip(text.as_bytes().chunks(2)) {
        let digits = std::str::from_utf8(digits).ok()?;
        *byte = u8::from_str_radix(digits, 16).ok()?;
    }
    Some(hash)
}

/// Creates a key and adds its hash to the file, which is created if needed. Returns the key, which is not
/// stored.
///
/// # Errors
/// If the name or the account's id is invalid, the name is taken, or the file cannot be written.
pub fn add(path: &Path, new: NewKey, now: Millis) -> Result<String, KeyError> {
    if !is_name(&new.name, b"._-") {
        return Err(KeyError::Name(new.name));
    }
    if let Some(account) = &new.account
        && !is_name(account, b"_-")
    {
        return Err(KeyError::Account(account.clone()));
    }
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(KeyError::Random)?;
    let key = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random));
    let sha256 = hash(&key);
    change(path, move |keys| {
        if keys.iter().any(|known| known.name == new.name) {
            return Err(KeyError::Twice(new.name));
        }
        if keys.len() >= MOST {
            return Err(KeyError::TooMany);
        }
        keys.push(Key {
            name: new.name,
            sha256,
            account: new.account,
            read_only: new.read_only,
            created: iso8601(now),
        });
        Ok(())
    })?;
    Ok(key)
}

/// Removes a key by its name.
///
/// # Errors
/// If there is none, or the file cannot be changed.
pub fn remove(path: &Path, name: &str) -> Result<(), KeyError> {
    change(path, |keys| {
        let before = keys.len();
        keys.retain(|key| key.name != name);
        match keys.len() < before {
            true => Ok(()),
            false => Err(KeyError::NotFound(name.to_owned())),
        }
    })
}

fn is_name(text: &str, marks: &[u8]) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || marks.contains(&b))
}

fn io_error(path: &Path, source: io::Error) -> KeyError {
    KeyError::Io {
        path: path.to_owned(),
        source,
    }
}

/// Changes the file atomically, under a lock.
fn change(
    path: &Path,
    job: impl FnOnce(&mut Vec<Key>) -> Result<(), KeyError>,
) -> Result<(), KeyError> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let at = |path: &Path| {
        let path = path.to_owned();
        move |source| io_error(&path, source)
    };
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(at(directory))?;
    let folder = File::open(directory).map_err(at(directory))?;
    // A second command waits here. Released with `folder`.
    folder.lock().map_err(at(directory))?;
    let mut keys = read(path)?;
    job(&mut keys)?;

    let draft = path.with_extension("new");
    let write = || {
        // Left by a command that was killed; this one has the lock.
        match fs::remove_file(&draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&draft)?;
        file.write_all(render(&keys).as_bytes())?;
        // Root may create it for a server of another user, which owns the directory.
        let owner = fs::metadata(path).or_else(|_| folder.metadata())?;
        if owner.uid() != file.metadata()?.uid() {
            std::os::unix::fs::fchown(&file, Some(owner.uid()), Some(owner.gid()))?;
        }
        file.sync_all()?;
        fs::rename(&draft, path)?;
        folder.sync_all()
    };
    write().map_err(|source| {
        let _ = fs::remove_file(&draft);
        io_error(path, source)
    })
}

/// The keys of a file, which is read again when it changes.
#[derive(Debug)]
pub struct Watched {
    path: PathBuf,
    /// `None` while there is no file.
    seen: Option<Stamp>,
    keys: Arc<[Key]>,
}

/// Differs after every change of a file, which replaces it by a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &fs::Metadata) -> Stamp {
        Stamp {
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

impl Watched {
    pub fn new(path: PathBuf) -> Watched {
        Watched {
            path,
            seen: None,
            keys: Arc::new([]),
        }
    }

    /// The current keys. Without a change this reads the file's metadata only, which takes some µs.
    ///
    /// # Errors
    /// If the file exists but cannot be read or parsed: then every request has to be refused.
    pub fn current(&mut self) -> Result<Arc<[Key]>, KeyError> {
        let stamp = match fs::metadata(&self.path) {
            Ok(metadata) => Some(Stamp::of(&metadata)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(io_error(&self.path, source)),
        };
        if stamp != self.seen {
            // Only after success: a malformed file is read again each time.
            self.keys = read(&self.path)?.into();
            self.seen = stamp;
        }
        Ok(Arc::clone(&self.keys))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(name: &str) -> NewKey {
        NewKey {
            name: name.to_owned(),
            account: None,
            read_only: false,
        }
    }

    #[test]
    fn keys_are_added_found_and_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("data/keys.toml");
        let mut watched = Watched::new(path.clone());
        assert!(watched.current().unwrap().is_empty());
        let plain = add(&path, new("home-assistant"), 0).unwrap();
        let narrow = NewKey {
            account: Some("alice".to_owned()),
            read_only: true,
            ..new("n8n")
        };
        let narrow = add(&path, narrow, 0).unwrap();
        assert_ne!(plain, narrow);
        assert_eq!(plain.len(), 46);

        let keys = watched.current().unwrap();
        assert_eq!(find(&keys, &plain).unwrap().name, "home-assistant");
        let found = find(&keys, &narrow).unwrap();
        assert_eq!(found.account.as_deref(), Some("alice"));
        assert!(found.read_only);
        for wrong in ["", "wc_", &plain[..45], &format!("{plain}="), &narrow[1..]] {
            assert_eq!(find(&keys, wrong), None, "{wrong}");
        }
        let text = fs::read_to_string(&path).unwrap();
        assert!(!text.contains(&plain) && !text.contains(&narrow), "{text}");
        assert!(!text.contains(&plain[PREFIX.len()..]), "{text}");
        let mode = fs::metadata(&path).unwrap().mode() & 0o777;
        assert_eq!(mode, 0o600);

        assert!(matches!(
            add(&path, new("n8n"), 0),
            Err(KeyError::Twice(name)) if name == "n8n"
        ));
        remove(&path, "home-assistant").unwrap();
        let keys = watched.current().unwrap();
        assert_eq!(find(&keys, &plain), None);
        assert!(find(&keys, &narrow).is_some());
        assert!(matches!(
            remove(&path, "nobody"),
            Err(KeyError::NotFound(_))
        ));
    }

    #[test]
    fn names_are_checked_and_keys_are_bounded() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys.toml");
        for bad in ["", "a b", "ü", "a\"\n[[key]]", &"a".repeat(65)] {
            assert!(matches!(add(&path, new(bad), 0), Err(KeyError::Name(_))));
            let bad = NewKey {
                account: Some(bad.to_owned()),
                ..new("a")
            };
            assert!(matches!(add(&path, bad, 0), Err(KeyError::Account(_))));
        }
        assert!(!path.exists());
        for i in 0..MOST {
            add(&path, new(&format!("key{i}")), 0).unwrap();
        }
        assert!(matches!(add(&path, new("more"), 0), Err(KeyError::TooMany)));
    }

    #[test]
    fn a_malformed_file_is_an_error_until_it_is_corrected() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys.toml");
        add(&path, new("a"), 0).unwrap();
        let mut watched = Watched::new(path.clone());
        assert_eq!(watched.current().unwrap().len(), 1);
        let good = fs::read_to_string(&path).unwrap();
        for bad in [
            "nonsense".to_owned(),
            good.replace("name", "nam"),
            format!("{good}acount = \"alice\"\n"),
            good.replace("sha256 = \"", "sha256 = \"x"),
            "#".repeat(70_000),
        ] {
            fs::write(&path, &bad).unwrap();
            assert!(watched.current().is_err(), "{bad}");
            assert!(watched.current().is_err(), "and again: {bad}");
        }
        fs::write(&path, &good).unwrap();
        assert_eq!(watched.current().unwrap().len(), 1);
        fs::remove_file(&path).unwrap();
        assert!(watched.current().unwrap().is_empty());
    }

    #[test]
    fn concurrent_changes_are_serialized() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys.toml");
        std::thread::scope(|scope| {
            for i in 0..8 {
                let path = &path;
                scope.spawn(move || add(path, new(&format!("key{i}")), 0).unwrap());
            }
        });
        assert_eq!(read(&path).unwrap().len(), 8);
    }
}
