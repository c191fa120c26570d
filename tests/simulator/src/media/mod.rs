//! The media service's store: encrypted files by the path that downloads name.
//!
//! Uploads are ciphertext; the store has no keys. A [`Blob`] is a file on disk, written
//! through a [`Spool`] so that no file is ever whole in memory; it is removed with its last reference.
//! An object is a blob that can be downloaded under a `direct_path`. A phone keeps the blobs of
//! its chats, as a phone keeps its pictures: an expired object can be stored again from there.
//!
//! The form of the paths is WhatsApp's: `/v/t62.<number>-24/<name>.enc?ccb=…&oh=…&oe=…&_nc_sid=…`, where
//! `oh` signs the path and `oe` is the time until which it is valid, in hexadecimal Unix seconds.

mod path;
mod spool;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::rc::Rc;

use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

pub(crate) use path::auth_in;
pub use path::{Kind, token_of};
pub use spool::{Blob, Spool};

use path::Signed;
use spool::Room;

/// Bytes of one file: what `media_conn` announces as `maxContentLengthBytes`.
pub const MAX_FILE: u64 = 100 * 1024 * 1024;
/// Bytes of all files together; one more is refused.
const MAX_TOTAL: u64 = 8 * 1024 * 1024 * 1024;
/// Objects that can be downloaded; the oldest is forgotten for a new one.
const MAX_OBJECTS: usize = 200_000;
/// Broken-off uploads that can be resumed; the oldest is forgotten for a new one.
const MAX_PARTIAL: usize = 16;
/// How long a `direct_path` is valid.
const LIFETIME_SECS: u64 = 14 * 24 * 60 * 60;

/// The SHA-256 of an encrypted file, by which uploads are named.
pub type Hash = [u8; 32];

/// Where a stored file can be downloaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaRef {
    /// What messages carry: path and query.
    pub direct_path: String,
    /// The same with the service's host, as older clients want it.
    pub url: String,
    /// SHA-256 of the encrypted file.
    pub sha256: Hash,
    /// Bytes of the encrypted file.
    pub len: u64,
}

/// Why a file cannot be downloaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// Nothing was stored under this path.
    #[error("there is no such file")]
    Unknown,
    /// The path's signature is not the service's, or not any more, or the hash is not the file's.
    #[error("the path is not signed by this service, or not any more")]
    Forged,
    /// It was there.
    #[error("the file has expired")]
    Expired,
}

struct Object {
    blob: Rc<Blob>,
    kind: Kind,
    owner: String,
    /// Unix seconds.
    until: u64,
    /// Why it cannot be downloaded any more.
    gone: Option<Missing>,
}

/// All files of the service. Dropping it removes them.
pub struct MediaStore {
    dir: TempDir,
    host: String,
    secret: Hash,
    room: Rc<Room>,
    objects: HashMap<String, Object>,
    order: VecDeque<String>,
    /// The newest object of each file, by the hash that clients upload it under.
    by_hash: HashMap<(Kind, Hash), String>,
    partial: VecDeque<(Hash, Spool)>,
    /// Auth tokens, with their numbers.
    auths: HashMap<String, String>,
    serial: u64,
}

impl MediaStore {
    /// A directory for a store.
    ///
    /// # Errors
    /// When there is no place for temporary files.
    pub fn place() -> io::Result<TempDir> {
        tempfile::Builder::new()
            .prefix("wildcat-simulator-")
            .tempdir()
    }

    /// An empty store in `place`. `host` is the `address:port` in URLs; paths and tokens repeat with
    /// `seed`.
    pub fn new(place: TempDir, host: String, seed: u64) -> MediaStore {
        MediaStore {
            dir: place,
            host,
            secret: digest(&[b"media secret", &seed.to_be_bytes()]),
            room: Room::new(MAX_TOTAL),
            objects: HashMap::new(),
            order: VecDeque::new(),
            by_hash: HashMap::new(),
            partial: VecDeque::new(),
            auths: HashMap::new(),
            serial: 0,
        }
    }

    /// The `hostname` that `media_conn` names.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The auth token of a number: what `media_conn` gives out.
    pub fn auth_for(&mut self, number: &str) -> String {
        let auth = path::base64(&digest(&[b"auth", &self.secret, number.as_bytes()]));
        self.auths.insert(auth.clone(), number.to_owned());
        auth
    }

    /// Whose auth token this is.
    pub fn account_of(&self, auth: &str) -> Option<&str> {
        self.auths.get(auth).map(String::as_str)
    }

    /// An empty file to write to.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn spool(&self) -> io::Result<Spool> {
        Spool::new(self.dir.path(), self.room.clone(), MAX_FILE)
    }

    /// Makes a file available for download, valid from `now` (Unix seconds). `owner` is the number that
    /// uploads.
    pub fn put(&mut self, kind: Kind, blob: Rc<Blob>, owner: &str, now: u64) -> MediaRef {
        self.serial += 1;
        let name = path::object_name(
            kind,
            &digest(&[b"name", &self.secret, &self.serial.to_be_bytes()]),
        );
        let until = now + LIFETIME_SECS;
        let hash = *blob.sha256();
        let stored = self.reference(&name, until, &blob);
        self.by_hash.insert((kind, hash), name.clone());
        self.order.push_back(name.clone());
        self.objects.insert(
            name,
            Object {
                blob,
                kind,
                owner: owner.to_owned(),
                until,
                gone: None,
            },
        );
        while self.order.len() > MAX_OBJECTS {
            if let Some(oldest) = self.order.pop_front() {
                self.forget(&oldest);
            }
        }
        stored
    }

    /// Stores encrypted bytes: [`spool`](Self::spool) and [`put`](Self::put) in one, for what is in
    /// memory anyway.
    ///
    /// # Errors
    /// When the file cannot be written or is too large.
    pub fn put_bytes(
        &mut self,
        kind: Kind,
        bytes: &[u8],
        owner: &str,
        now: u64,
    ) -> io::Result<MediaRef> {
        let mut spool = self.spool()?;
        io::Write::write_all(&mut spool, bytes)?;
        Ok(self.put(kind, Rc::new(spool.finish()?), owner, now))
    }

    /// The file under a path (with its query, and with whatever a client appended to it) at `now` (Unix
    /// seconds).
    ///
    /// # Errors
    /// [`Missing`].
    pub fn open(&self, direct_path: &str, now: u64) -> Result<Rc<Blob>, Missing> {
        let (name, query) = path::split(direct_path);
        let object = self.objects.get(name).ok_or(Missing::Unknown)?;
        if !query.signed_by(&self.secret, name, object.until) {
            return Err(Missing::Forged);
        }
        if query
            .token
            .is_some_and(|token| token_of(token).as_ref() != Some(object.blob.sha256()))
        {
            return Err(Missing::Forged);
        }
        if let Some(gone) = object.gone {
            return Err(gone);
        }
        if object.until < now {
            return Err(Missing::Expired);
        }
        Ok(object.blob.clone())
    }

    /// The file that was uploaded under a hash, if it can still be downloaded at `now` (Unix seconds):
    /// it need not be uploaded again.
    pub fn find(&self, kind: Kind, hash: &Hash, now: u64) -> Option<MediaRef> {
        let name = self.by_hash.get(&(kind, *hash))?;
        let object = self.objects.get(name)?;
        (object.gone.is_none() && object.until >= now)
            .then(|| self.reference(name, object.until, &object.blob))
    }

    /// Lets everything that a number (or anyone) uploaded go, with what downloads are answered from now
    /// on; how many files that were.
    pub fn expire(&mut self, owner: Option<&str>, gone: Missing) -> usize {
        let mut hit = 0;
        for object in self.objects.values_mut() {
            if object.gone.is_none() && owner.is_none_or(|number| number == object.owner) {
                object.gone = Some(gone);
                hit += 1;
            }
        }
        hit
    }

    /// Keeps the received part of an interrupted upload.
    pub fn keep_partial(&mut self, hash: Hash, spool: Spool) {
        self.partial.retain(|(known, _)| *known != hash);
        self.partial.push_back((hash, spool));
        if self.partial.len() > MAX_PARTIAL {
            self.partial.pop_front();
        }
    }

    /// How many bytes of a file came before its upload broke off.
    pub fn partial_len(&self, hash: &Hash) -> Option<u64> {
        let (_, spool) = self.partial.iter().find(|(known, _)| known == hash)?;
        Some(spool.len())
    }

    /// Takes up a broken-off upload at byte `offset`; `None` if that is not where it broke off.
    pub fn take_partial(&mut self, hash: &Hash, offset: u64) -> Option<Spool> {
        let at = self
            .partial
            .iter()
            .position(|(known, spool)| known == hash && spool.len() == offset)?;
        self.partial.remove(at).map(|(_, spool)| spool)
    }

    fn reference(&self, name: &str, until: u64, blob: &Blob) -> MediaRef {
        let direct_path = Signed::new(&self.secret, name, until).to_string();
        MediaRef {
            url: format!("https://{}{direct_path}&mms3=true", self.host),
            direct_path,
            sha256: *blob.sha256(),
            len: blob.len(),
        }
    }

    fn forget(&mut self, name: &str) {
        let Some(object) = self.objects.remove(name) else {
            return;
        };
        let key = (object.kind, *object.blob.sha256());
        if self.by_hash.get(&key).is_some_and(|newest| newest == name) {
            self.by_hash.remove(&key);
        }
    }
}

fn digest(parts: &[&[u8]]) -> Hash {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}
