//! Crash images: the database's writes, cut off at every point, as a power cut leaves them.
//!
//! This binary's own `pwrite`, `writev`, `fdatasync` and `fsync` stand before the C library's, so that all
//! that LMDB writes is noted, in order. From the notes come files as a disk may hold them after a
//! cut: synced data are complete; of other data any sectors may be present. Each file is opened.

use std::collections::BTreeMap;
use std::ffi::{c_int, c_void};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use wildcat::clock;
use wildcat::event::Event;
use wildcat::message::{Message, MessageKind};
use wildcat::store::messages::{self, Arrival, PageQuery};
use wildcat::store::{Options, Store, StoreError, VERSION, accounts, events};

use crate::upgrades::{fixture, place};

/// Commits whose writes are cut.
const COMMITS: usize = 60;

/// Of so many images, one is written to again.
const GOES_ON: usize = 8;

/// What a disk writes as a whole, in bytes.
const SECTOR: usize = 512;

/// Variants of each cut, with other sectors of the unsynced data.
const TORN: usize = 2;

const CHAT: &str = "491700000002@s.whatsapp.net";

/// Something that reached the file, or did not.
enum Step {
    Write {
        offset: usize,
        bytes: Vec<u8>,
        /// Durable once it is done, like the file's header in LMDB.
        synced: bool,
    },
    Sync,
    /// So many commits were confirmed to their callers.
    Confirmed(usize),
}

/// Records the writes to one file.
struct Notes {
    file: PathBuf,
    steps: Vec<Step>,
}

static NOTES: Mutex<Option<Notes>> = Mutex::new(None);

/// Held by the test whose notes they are.
static TEST: Mutex<()> = Mutex::new(());

fn note(step: Step) {
    let mut notes = NOTES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(notes) = notes.as_mut() {
        notes.steps.push(step);
    }
}

/// Does something to a file, and notes it if it is the one of [`NOTES`].
fn noted(fd: c_int, act: impl FnOnce() -> isize, step: impl FnOnce(usize, bool) -> Step) -> isize {
    // Held meanwhile: the notes are in the order of the writes.
    let mut notes = NOTES.lock().unwrap_or_else(PoisonError::into_inner);
    let done = act();
    if let Some(notes) = notes.as_mut()
        && let Ok(written) = usize::try_from(done)
        && fs::read_link(format!("/proc/self/fd/{fd}")).is_ok_and(|file| file == notes.file)
    {
        // SAFETY: asks for the flags of an open file.
        let flags = unsafe { libc::fcntl(fd, libc::F_GETFL) };
        notes.steps.push(step(written, flags & libc::O_DSYNC != 0));
    }
    done
}

/// # Safety
/// As the C library's function of that name.
#[unsafe(no_mangle)]
unsafe extern "C" fn pwrite(fd: c_int, buffer: *const c_void, count: usize, offset: i64) -> isize {
    let act = || {
        // SAFETY: the caller's.
        unsafe { libc::syscall(libc::SYS_pwrite64, fd, buffer, count, offset) as isize }
    };
    noted(fd, act, |written, synced| Step::Write {
        offset: usize::try_from(offset).expect("an offset"),
        // SAFETY: the kernel has just read so many bytes from there.
        bytes: unsafe { std::slice::from_raw_parts(buffer.cast::<u8>(), written) }.to_vec(),
        synced,
    })
}

/// # Safety
/// As the C library's function of that name.
#[unsafe(no_mangle)]
unsafe extern "C" fn writev(fd: c_int, parts: *const libc::iovec, count: c_int) -> isize {
    let act = || {
        // SAFETY: the caller's.
        unsafe { libc::syscall(libc::SYS_writev, fd, parts, count) as isize }
    };
    noted(fd, act, |written, synced| {
        // SAFETY: reads the file position, which the write has moved.
        let end = unsafe { libc::lseek(fd, 0, libc::SEEK_CUR) };
        let mut bytes = Vec::with_capacity(written);
        let count = usize::try_from(count).expect("parts");
        // SAFETY: the kernel has just read the parts from there.
        for part in unsafe { std::slice::from_raw_parts(parts, count) } {
            let start = part.iov_base.cast::<u8>().cast_const();
            // SAFETY: as above.
            bytes.extend_from_slice(unsafe { std::slice::from_raw_parts(start, part.iov_len) });
        }
        bytes.truncate(written);
        Step::Write {
            offset: usize::try_from(end).expect("an offset") - written,
            bytes,
            synced,
        }
    })
}

/// # Safety
/// As the C library's function of that name.
#[unsafe(no_mangle)]
unsafe extern "C" fn fdatasync(fd: c_int) -> c_int {
    synced(fd, libc::SYS_fdatasync)
}

/// # Safety
/// As the C library's function of that name. LMDB's choice on kernels whose `fdatasync` it mistrusts.
#[unsafe(no_mangle)]
unsafe extern "C" fn fsync(fd: c_int) -> c_int {
    synced(fd, libc::SYS_fsync)
}

fn synced(fd: c_int, call: libc::c_long) -> c_int {
    let act = || {
        // SAFETY: a call with a file's number alone.
        unsafe { libc::syscall(call, fd) as isize }
    };
    noted(fd, act, |_, _| Step::Sync) as c_int
}

/// The content of a disk: synced data, and writes that may be on it.
#[derive(Default)]
struct Disk {
    synced: Vec<u8>,
    pending: Vec<(usize, Vec<u8>)>,
    confirmed: usize,
}

impl Disk {
    fn step(&mut self, step: &Step) {
        match step {
            Step::Write {
                offset,
                bytes,
                synced,
            } => {
                // Only this write is durable by that; the others may be.
                match synced {
                    true => lay(&mut self.synced, *offset, bytes),
                    false => self.pending.push((*offset, bytes.clone())),
                }
            }
            Step::Sync => {
                for (offset, bytes) in self.pending.drain(..) {
                    lay(&mut self.synced, offset, &bytes);
                }
            }
            Step::Confirmed(count) => self.confirmed = *count,
        }
    }

    /// The file if `keep` says of each sector that was not synced whether it came.
    fn image(&self, mut keep: impl FnMut() -> bool) -> Vec<u8> {
        let mut image = self.synced.clone();
        for (offset, bytes) in &self.pending {
            for (n, sector) in bytes.chunks(SECTOR).enumerate() {
                if keep() {
                    lay(&mut image, offset + n * SECTOR, sector);
                }
            }
        }
        image
    }
}

fn lay(file: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if file.len() < end {
        file.resize(end, 0);
    }
    file[offset..end].copy_from_slice(bytes);
}

/// The text of the message that a commit stores: short, or longer than several pages.
fn text(commit: usize) -> String {
    let length = [10, 300, 1_500, 9_000, 20_000][commit % 5];
    format!("{commit:>8} ").repeat(length / 9 + 1)
}

fn message(commit: usize) -> Message {
    let id = format!("M{commit}");
    let mut message = Message::empty("alice", id, CHAT, MessageKind::Text, commit as u64);
    message.sender = CHAT.into();
    message.text = Some(text(commit));
    message
}

/// Stores a message with its event, and now and then lets old events go.
async fn store_one(store: &Store, account: u32, commit: usize) {
    let stored = store.write(move |tx| {
        let mut message = message(commit);
        messages::insert(tx, account, &mut message, None, Arrival::Live)?;
        events::append(tx, &Event::Message(message), clock::now())?;
        Ok(())
    });
    stored.await.expect("stored");
}

/// Commits, with notes; returns them and the account's number.
fn record(data: &Path) -> (Vec<Step>, u32) {
    let store = Store::open(data, Options::default()).expect("a store");
    let account = smol::block_on(async {
        let created = store.write(|tx| accounts::create(tx, "alice", None, String::new(), 0));
        created.await.expect("stored");
        store
            .read(|tx| accounts::number(tx, "alice"))
            .expect("read")
            .expect("alice")
    });
    let file = data.join("db/data.mdb").canonicalize().expect("the file");
    let before = fs::read(&file).expect("the file");
    *NOTES.lock().expect("notes") = Some(Notes {
        file,
        steps: vec![
            Step::Write {
                offset: 0,
                bytes: before,
                synced: true,
            },
            Step::Sync,
        ],
    });
    smol::block_on(async {
        for commit in 0..COMMITS {
            store_one(&store, account, commit).await;
            note(Step::Confirmed(commit + 1));
        }
        store.close(Duration::from_secs(10)).await.expect("closed");
    });
    let notes = NOTES.lock().expect("notes").take().expect("notes");
    (notes.steps, account)
}

/// Opens an image; everything that was confirmed must be there, whole, and nothing half.
fn check(
    directory: &Path,
    image: &[u8],
    account: u32,
    confirmed: usize,
    goes_on: bool,
) -> Result<(), String> {
    let db = directory.join("db");
    let _ = fs::remove_dir_all(&db);
    fs::create_dir_all(&db).expect("a folder");
    fs::write(db.join("data.mdb"), image).expect("written");
    // A process forked by another test holds this lock until its exec.
    let _ = fs::remove_file(directory.join("wildcat.lock"));
    let store = Store::open(directory, Options::default()).map_err(|e| e.to_string())?;
    let found = store.read(|tx| {
        let mut texts = BTreeMap::new();
        let mut offset = 0;
        loop {
            let query = PageQuery {
                limit: 100,
                offset,
                ..PageQuery::ALL
            };
            let page = messages::page(tx, account, CHAT, query)?;
            offset += page.messages.len();
            for message in page.messages {
                texts.insert(message.message_id, message.text.unwrap_or_default());
            }
            if page.next.is_none() {
                break;
            }
        }
        let chats = messages::chats(tx, account, messages::Part::of(10, 0))?;
        let counted = chats.chats.first().map_or(0, |chat| chat.message_count);
        let most = events::Most {
            events: COMMITS + 1,
            bytes: usize::MAX,
            looks: COMMITS + 1,
        };
        let log = events::scan(tx, 0, most, |_| true)?;
        Ok::<_, StoreError>((texts, counted, log.events.len(), log.log))
    });
    let (texts, counted, events, state) = found.map_err(|e| e.to_string())?;
    let count = texts.len();
    let same = [counted, events as u64, state.count, state.last]
        .iter()
        .all(|n| *n == count as u64);
    if !same {
        return Err(format!(
            "{count} messages, {counted} in the summary, {events} events, {state:?}"
        ));
    }
    if !(confirmed..=confirmed + 1).contains(&count) {
        return Err(format!("{count} messages, {confirmed} confirmed"));
    }
    for n in 0..count {
        if texts.get(&format!("M{n}")) != Some(&text(n)) {
            return Err(format!("message {n} is not what it was"));
        }
    }
    smol::block_on(async {
        if goes_on {
            store_one(&store, account, count).await;
        }
        store.close(Duration::from_secs(10)).await
    })
    .map_err(|e| e.to_string())
}

#[test]
fn a_converted_database_is_synced_before_it_replaces_the_old_one() {
    let _notes = TEST.lock().unwrap_or_else(PoisonError::into_inner);
    let directory = tempfile::tempdir().expect("a directory");
    let directory = directory.path().canonicalize().expect("a path");
    let (data, opened) = (directory.join("data"), directory.join("opened"));
    let other = fs::read(fixture(VERSION, 96 - usize::BITS)).expect("a fixture");
    place(&other, &data);
    *NOTES.lock().expect("notes") = Some(Notes {
        // Written under that name alone: once it has its place, nothing is noted of it.
        file: data.join("db.part/data.mdb"),
        steps: Vec::new(),
    });
    let store = Store::open(&data, Options::default()).expect("converted");
    let notes = NOTES.lock().expect("notes").take().expect("notes");
    smol::block_on(store.close(Duration::from_secs(10))).expect("closed");
    let mut disk = Disk::default();
    for step in &notes.steps {
        disk.step(step);
    }
    assert!(notes.steps.len() > 20 && disk.pending.is_empty());
    // What a cut right after the renaming leaves.
    place(&disk.synced, &opened);
    let store = Store::open(&opened, Options::default()).expect("opened");
    let accounts = store.read(accounts::list).expect("read");
    assert_eq!(accounts.len(), 2);
    let chats = store.read(|tx| messages::chats(tx, accounts[0].number, messages::Part::of(10, 0)));
    assert_eq!(chats.expect("read").chats.len(), 1);
    smol::block_on(store.close(Duration::from_secs(10))).expect("closed");
}

#[test]
fn a_database_cut_off_at_any_point_opens_with_all_confirmed_data() {
    let _notes = TEST.lock().unwrap_or_else(PoisonError::into_inner);
    let directory = tempfile::tempdir().expect("a directory");
    let (steps, account) = record(&directory.path().join("recorded"));
    let opened = directory.path().join("opened");
    fs::create_dir_all(&opened).expect("a folder");
    let mut random = fastrand::Rng::with_seed(1);
    let (mut disk, mut images, mut cuts) = (Disk::default(), 0, 0);
    for (n, step) in steps.iter().enumerate() {
        disk.step(step);
        // Before the first confirmed commit there is nothing to lose.
        if n < 2 || matches!(step, Step::Confirmed(_)) {
            continue;
        }
        cuts += 1;
        let mut tried = vec![disk.image(|| true), disk.image(|| false)];
        if !disk.pending.is_empty() {
            tried.extend((0..TORN).map(|_| disk.image(|| random.bool())));
        }
        for image in tried {
            images += 1;
            if let Err(why) = check(
                &opened,
                &image,
                account,
                disk.confirmed,
                images % GOES_ON == 0,
            ) {
                panic!("cut {n} of {}: {why}", steps.len());
            }
        }
    }
    assert!(cuts > 3 * COMMITS, "{cuts} cuts: the writes were not noted");
    println!("{COMMITS} commits, {cuts} cuts, {images} images opened");
}
