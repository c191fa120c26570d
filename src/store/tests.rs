//! Opening, closing, the writer; and what the tables' tests share.

use std::fs;
use std::ops::Deref;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use tempfile::TempDir;

use super::signal::{self, Kind};
use super::*;
use crate::message::{Message, MessageKind};

/// A store in a directory of its own.
pub struct TestStore {
    store: Store,
    dir: TempDir,
}

impl TestStore {
    pub fn new() -> TestStore {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        TestStore { store, dir }
    }

    /// Writes, and waits for it.
    pub fn run<T: Send + 'static>(
        &self,
        job: impl FnMut(&mut WriteTx<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> T {
        smol::block_on(self.store.write(job)).unwrap()
    }

    pub fn close(&self) {
        smol::block_on(self.store.close(Duration::from_secs(20))).unwrap();
    }

    pub fn reopen(self) -> TestStore {
        self.close();
        let store = open(self.dir.path());
        TestStore {
            store,
            dir: self.dir,
        }
    }
}

impl Deref for TestStore {
    type Target = Store;

    fn deref(&self) -> &Store {
        &self.store
    }
}

fn open(path: &Path) -> Store {
    Store::open(path, small()).unwrap()
}

/// A map that has to grow at once.
fn small() -> Options {
    Options {
        map_initial: 256 << 10,
        map_max: 64 << 20,
        ..Options::default()
    }
}

/// An inbound text of `chat`.
pub fn message(account: &str, chat: &str, id: &str, timestamp: u64) -> Message {
    Message {
        sender: chat.into(),
        text: Some(format!("text of {id}")),
        ..Message::empty(account, id, chat, MessageKind::Text, timestamp)
    }
}

fn key(n: u32) -> Key {
    signal::key(1, Kind::PreKey).u32(n)
}

fn rows(store: &Store) -> usize {
    store
        .read(|tx| Ok(signal::scan(tx, &signal::key(1, Kind::PreKey))?.count()))
        .unwrap()
}

/// Holds the writer inside a job until the sender is dropped or used; resolves when it is inside.
fn hold(store: &Store) -> (mpsc::Sender<()>, smol::Task<Result<(), StoreError>>) {
    let (release, held) = mpsc::channel::<()>();
    let (entered, inside) = mpsc::channel();
    let held = std::sync::Mutex::new(held);
    let job = store.write(move |_| {
        let _ = entered.send(());
        let _ = held.lock().unwrap().recv();
        Ok(())
    });
    let task = smol::spawn(job);
    inside.recv().unwrap();
    (release, task)
}

#[test]
fn waiting_jobs_share_a_commit() {
    const JOBS: u32 = 200;
    let store = TestStore::new();
    let before = store.stats();
    let (release, held) = hold(&store);
    let writes: Vec<_> = (0..JOBS)
        .map(|n| smol::spawn(store.write(move |tx| signal::put(tx, &key(n), b"x"))))
        .collect();
    drop(release);
    smol::block_on(async {
        held.await.unwrap();
        for write in writes {
            write.await.unwrap();
        }
    });
    let after = store.stats();
    assert_eq!(after.jobs - before.jobs, u64::from(JOBS) + 1);
    assert!(after.commits - before.commits <= 20, "{after:?}");
    assert_eq!(rows(&store), JOBS as usize);
}

#[test]
fn a_failing_job_leaves_the_others_of_its_group() {
    let store = TestStore::new();
    let (release, held) = hold(&store);
    let runs = Arc::new(AtomicUsize::new(0));
    let writes: Vec<_> = (0..30u32)
        .map(|n| {
            let runs = Arc::clone(&runs);
            smol::spawn(store.write(move |tx| {
                runs.fetch_add(1, Ordering::Relaxed);
                signal::put(tx, &key(n), b"x")?;
                match n {
                    7 => Err(StoreError::Missing("thing")),
                    13 => panic!("unlucky"),
                    // LMDB refuses an empty key; the job does not care.
                    21 => {
                        let _ = signal::put(tx, &[], b"x");
                        Ok(n)
                    }
                    _ => Ok(n),
                }
            }))
        })
        .collect();
    // Fails without having written: nothing has to run again for it.
    let harmless = smol::spawn(store.write(|_| Err::<(), _>(StoreError::Missing("other"))));
    drop(release);
    smol::block_on(async {
        held.await.unwrap();
        for (n, write) in writes.into_iter().enumerate() {
            match (n, write.await) {
                (7, Err(StoreError::Missing("thing"))) => {}
                (13, Err(StoreError::Panicked(words))) => assert_eq!(&*words, "unlucky"),
                (21, Err(StoreError::Lmdb(_))) => {}
                (_, Ok(value)) => assert_eq!(value as usize, n),
                (n, other) => panic!("{n}: {other:?}"),
            }
        }
        assert!(matches!(harmless.await, Err(StoreError::Missing("other"))));
    });
    assert_eq!(rows(&store), 27);
    let stats = store.stats();
    assert_eq!((stats.failed, stats.reruns), (4, 3));
    let store = store.reopen();
    assert_eq!(rows(&store), 27);
}

#[test]
fn the_map_grows_while_others_read() {
    let store = TestStore::new();
    let before = store.stats();
    let reading = std::thread::spawn({
        let store = Store::clone(&store);
        move || {
            let mut last = 0;
            while last < 200 {
                // A read within a read must not wait for the growth that waits for the outer one.
                last = store.read(|_| Ok(rows(&store))).unwrap();
            }
        }
    });
    for n in 0..200u32 {
        store.run(move |tx| signal::put(tx, &key(n), &[7; 50_000]));
    }
    reading.join().unwrap();
    let after = store.stats();
    assert!(after.growths > 0 && after.map_size > before.map_size);
    assert!(after.map_used > 10_000_000);
    let store = store.reopen();
    assert_eq!(rows(&store), 200);
}

#[test]
fn a_full_map_refuses_and_keeps_working() {
    let store = TestStore::new();
    let mut stored = 0;
    let error = loop {
        let write = store.write(move |tx| signal::put(tx, &key(stored), &[1; 1 << 20]));
        match smol::block_on(write) {
            Ok(()) => stored += 1,
            Err(e) => break e,
        }
    };
    assert!(
        matches!(error, StoreError::Full(Room::Map { limit }) if limit == 64 << 20),
        "{error:?}"
    );
    assert!(stored > 50, "{stored}");
    // Neighbours that fit are stored beside the one that does not.
    let (release, held) = hold(&store);
    let big = smol::spawn(store.write(|tx| signal::put(tx, &key(9999), &[1; 20 << 20])));
    let small = smol::spawn(store.write(|tx| signal::delete(tx, &key(0))));
    drop(release);
    smol::block_on(async {
        held.await.unwrap();
        assert!(matches!(big.await, Err(StoreError::Full(_))));
        assert!(small.await.unwrap());
    });
    let store = store.reopen();
    assert_eq!(rows(&store), stored as usize - 1);
}

#[test]
fn the_condition_shows_a_refusal_until_a_commit_succeeds_and_how_long_one_takes() {
    let store = TestStore::new();
    assert!(store.condition().failing.is_none());
    let before = crate::clock::now();
    let big = |tx: &mut WriteTx<'_>| signal::put(tx, &key(1), &[1; 65 << 20]);
    assert!(smol::block_on(store.write(big)).is_err());
    let failing = store.condition().failing.expect("it failed");
    assert!(matches!(failing.error, StoreError::Full(Room::Map { .. })));
    assert!(failing.since >= before);
    assert!(smol::block_on(store.write(big)).is_err());
    let again = store.condition().failing.expect("it failed again");
    assert_eq!(again.since, failing.since, "since the first failure");
    // A job's own mistake says nothing about the storage, nor does one that changes nothing.
    let mistake = store.write(|_| Err::<(), _>(StoreError::Missing("row")));
    assert!(smol::block_on(mistake).is_err());
    store.run(|_| Ok(()));
    assert!(store.condition().failing.is_some());
    store.run(|tx| signal::put(tx, &key(2), b"x"));
    assert!(store.condition().failing.is_none());

    let (release, held) = hold(&store);
    let long = Duration::from_millis(20);
    while store.condition().busy_for.is_none_or(|busy| busy < long) {
        std::thread::yield_now();
    }
    drop(release);
    smol::block_on(held).unwrap();
    while store.condition().busy_for.is_some() {
        std::thread::yield_now();
    }
}

#[test]
fn a_second_open_is_refused_by_name() {
    let store = TestStore::new();
    let path = store.dir.path();
    match Store::open(path, small()) {
        Err(error @ StoreError::Locked { .. }) => {
            let text = error.to_string();
            assert!(text.contains(&path.display().to_string()), "{text}");
            assert!(text.contains(&std::process::id().to_string()), "{text}");
        }
        other => panic!("{:?}", other.err()),
    }
    store.reopen();
}

#[test]
fn a_newer_layout_is_left_alone() {
    let store = TestStore::new();
    store.run(|tx| schema::pretend_version(tx, VERSION + 1));
    store.close();
    let data = || fs::read(store.dir.path().join("db/data.mdb")).unwrap();
    let before = data();
    match Store::open(store.dir.path(), small()) {
        Err(StoreError::Newer { found, known }) => {
            assert_eq!((found, known), (VERSION + 1, VERSION));
        }
        other => panic!("{:?}", other.err()),
    }
    assert!(before == data());
}

#[test]
fn stored_files_are_private() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("a/b");
    let store = open(&data);
    let mode = |path: &str| fs::metadata(data.join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(""), mode("db")), (0o700, 0o700));
    for file in ["wildcat.lock", "db/data.mdb", "db/lock.mdb"] {
        assert_eq!(mode(file), 0o600, "{file}");
    }
    drop(store);
}

#[test]
fn a_shared_directory_keeps_its_mode_and_ours_below_is_private() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("somebody's"), "x").unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let store = open(dir.path());
    let mode = |path: &str| {
        let path = dir.path().join(path);
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    };
    assert_eq!((mode(""), mode("db")), (0o755, 0o700));
    drop(store);
}

#[test]
fn closing_stores_queued_jobs_and_refuses_later_ones() {
    let store = TestStore::new();
    let (release, held) = hold(&store);
    let queued = smol::spawn(store.write(|tx| signal::put(tx, &key(1), b"x")));
    // Its place in the queue is taken on its first poll.
    while store.jobs.is_empty() {
        std::thread::yield_now();
    }
    let busy = smol::block_on(store.store.close(Duration::ZERO));
    assert!(matches!(busy, Err(StoreError::Busy)));
    let late = smol::block_on(store.write(|_| Ok(())));
    assert!(matches!(late, Err(StoreError::Closed)));
    drop(release);
    smol::block_on(async {
        held.await.unwrap();
        queued.await.unwrap();
    });
    store.close();
    store.close();
    assert!(matches!(store.read(|_| Ok(())), Err(StoreError::Closed)));
    let store = store.reopen();
    assert_eq!(rows(&store), 1);
}

#[test]
fn dropping_the_last_handle_closes() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let ended = store.ended.clone();
    drop(store);
    assert!(ended.recv_blocking().is_err());
    drop(open(dir.path()));
}
