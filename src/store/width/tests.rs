//! The reader against what LMDB wrote, whole and damaged; conversions, cut off at every step.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use heed::types::Bytes;
use heed::{CommitOrAbort, EnvOpenOptions};
use tempfile::TempDir;

use super::convert::{Done, PART, check_room, replace};
use super::pages::{ReadError, Source};
use super::*;
use crate::store::{Options, Store, StoreError, VERSION, accounts, reader};

type Rows = Vec<(Vec<u8>, Vec<u8>)>;
type Tables = Vec<(String, Rows)>;

/// A server's database as a system of each width wrote it; see `tests/it/upgrades.rs`.
const FIXTURES: [(Width, &[u8]); 2] = [
    (
        Width::Bits32,
        include_bytes!("../../../tests/fixtures/store/v2/data-32.mdb"),
    ),
    (
        Width::Bits64,
        include_bytes!("../../../tests/fixtures/store/v2/data.mdb"),
    ),
];

/// The one that this system cannot open.
fn other() -> (Width, &'static [u8]) {
    FIXTURES
        .into_iter()
        .find(|(width, _)| *width != Width::OWN)
        .unwrap()
}

fn read_tables(file: File, width: Width) -> Result<Tables, ReadError> {
    let source = Source::open(file, width)?;
    let mut tables = Vec::new();
    for tree in source.trees()? {
        let mut all = Vec::new();
        let mut rows = source.rows(&tree)?;
        while let Some((key, value)) = rows.next()? {
            all.push((key.to_vec(), value.to_vec()));
        }
        assert_eq!(all.len() as u64, tree.rows);
        tables.push((tree.name, all));
    }
    Ok(tables)
}

fn read(path: &Path) -> Result<Tables, ReadError> {
    let file = File::open(path).unwrap();
    let width = Width::of(&file).unwrap().expect("a file of LMDB");
    read_tables(file, width)
}

/// Something other than zeros, which compress, or hide that a page was not read.
fn noise(random: &mut fastrand::Rng, length: usize) -> Vec<u8> {
    (0..length).map(|_| random.u8(..)).collect()
}

/// An environment in `dir` of random rows, many put again and many deleted, and what is to be in it.
/// Keys are long now and then, so that few find place in a page; values are of every kind.
fn random(dir: &Path, seed: u64, commits: usize, puts: usize) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut model = BTreeMap::new();
    let mut options = EnvOpenOptions::new().read_txn_without_tls();
    options.map_size(256 << 20).max_dbs(2);
    // SAFETY: nobody else has the folder, and a crash would only end the test.
    let env = unsafe {
        options.flags(heed::EnvFlags::NO_SYNC);
        options.open(dir).unwrap()
    };
    let txn = env.write_txn().unwrap();
    let tables = env.create_databases_and_commit(txn, |opener, txn| {
        let full = opener.create_database::<Bytes, Bytes>(txn, Some("full"))?;
        let empty = opener.create_database::<Bytes, Bytes>(txn, Some("empty"))?;
        Ok::<_, heed::Error>(CommitOrAbort::<_, ()>::Commit((full, empty)))
    });
    let (full, _) = tables.unwrap().unwrap_commit();
    for _ in 0..commits {
        let mut txn = env.write_txn().unwrap();
        for _ in 0..puts {
            let n = random.usize(..puts * commits);
            let mut key = format!("{:07}", n * 7_919 % 1_000_003).into_bytes();
            key.resize(
                key.len() + n % if n.is_multiple_of(3) { 500 } else { 20 },
                b'k',
            );
            if random.u8(..10) < 3 {
                full.delete(&mut txn, &key).unwrap();
                model.remove(&key);
                continue;
            }
            let length = match random.u8(..100) {
                // Over several pages; about as much as half a page has room for; small.
                0 => random.usize(..60_000),
                1..=9 => random.usize(1_500..2_100),
                _ => random.usize(..120),
            };
            let value = noise(&mut random, length);
            full.put(&mut txn, &key, &value).unwrap();
            model.insert(key, value);
        }
        txn.commit().unwrap();
    }
    let txn = env.read_txn().unwrap();
    let stat = full.stat(&txn).unwrap();
    if puts >= 1_000 {
        assert!(stat.depth >= 3 && stat.overflow_pages > 100, "{stat:?}");
    }
    model
}

#[test]
fn what_lmdb_wrote_reads_back_row_by_row() {
    for seed in 0..3 {
        let dir = tempfile::tempdir().unwrap();
        let model = random(dir.path(), seed, 8, 1_000);
        let tables = read(&dir.path().join("data.mdb")).unwrap();
        assert_eq!(tables[0], ("empty".to_owned(), Vec::new()));
        assert_eq!(tables[1].0, "full");
        assert!(tables[1].1 == model.into_iter().collect::<Rows>());
    }
}

#[test]
fn a_new_environment_has_no_rows_and_a_file_of_something_else_no_width() {
    let dir = tempfile::tempdir().unwrap();
    random(dir.path(), 0, 0, 0);
    let tables = read(&dir.path().join("data.mdb")).unwrap();
    assert!(tables.iter().all(|(_, rows)| rows.is_empty()) && tables.len() == 2);
    for (width, bytes) in FIXTURES {
        let path = dir.path().join("x");
        fs::write(&path, bytes).unwrap();
        assert_eq!(Width::of(&File::open(&path).unwrap()).unwrap(), Some(width));
        for length in [0, 11, 12, 19] {
            fs::write(&path, &bytes[..length]).unwrap();
            assert_eq!(Width::of(&File::open(&path).unwrap()).unwrap(), None);
        }
    }
}

/// The rows that one of two has and the other has not.
fn differences(one: &Tables, two: &Tables) -> usize {
    // By their places: a table's name is a key like others.
    let differs = |(one, two): (&(String, Rows), &(String, Rows))| {
        let two: BTreeMap<_, _> = two.1.iter().map(|(key, value)| (key, value)).collect();
        let is_missing = |row: &&(Vec<u8>, Vec<u8>)| two.get(&row.0) != Some(&&row.1);
        one.1.iter().filter(is_missing).count()
    };
    one.iter().zip(two).map(differs).sum()
}

/// Reads `path` with each of `changes` made to it, one at a time, and says how many were told.
fn each_is_told_or_harmless(path: &Path, changes: impl Iterator<Item = (usize, u8)>) -> usize {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let width = Width::of(&file).unwrap().unwrap();
    let whole = read(path).unwrap();
    let mut told = 0;
    for (at, mask) in changes {
        let mut byte = [0];
        file.read_exact_at(&mut byte, at as u64).unwrap();
        file.write_all_at(&[byte[0] ^ mask], at as u64).unwrap();
        match read_tables(file.try_clone().unwrap(), width) {
            Err(_) => told += 1,
            // Without checksums a byte of a row's own, or of its length, is what it is. A commit's
            // number that seems older makes the one before count, which added some rows.
            Ok(tables) => {
                let rows = |tables: &Tables| tables.iter().map(|t| t.1.len()).sum::<usize>();
                let is_older = (12..16_384).contains(&(at % 16_384)) && at < 32_768;
                let same = rows(&tables) == rows(&whole) && differences(&whole, &tables) <= 1;
                assert!(same || is_older, "bit {mask:#x} of byte {at}");
            }
        }
        file.write_all_at(&byte, at as u64).unwrap();
    }
    assert!(read(path).unwrap() == whole);
    told
}

#[test]
fn a_flipped_bit_damages_one_row_at_most() {
    let mut random_bits = fastrand::Rng::with_seed(1);
    let dir = tempfile::tempdir().unwrap();
    random(dir.path(), 1, 2, 60);
    let path = dir.path().join("data.mdb");
    let length = fs::metadata(&path).unwrap().len() as usize;
    let mut told = 0;
    // The heads of pages, and the rest in part.
    let every = (0..length).filter(|at| at % 4096 < 40 || at % 61 == 0);
    let changes: Vec<_> = every.map(|at| (at, 1 << random_bits.u8(..8))).collect();
    told += each_is_told_or_harmless(&path, changes.into_iter());
    assert!(told > 100, "{told} of {length}");
}

#[test]
fn reading_ends_for_any_content_of_a_file() {
    let mut random_places = fastrand::Rng::with_seed(2);
    let dir = tempfile::tempdir().unwrap();
    let mut told = 0;
    for (width, bytes) in FIXTURES {
        let path = dir.path().join("x");
        let pages = bytes.len() / 4096;
        for round in 0..120 {
            let mut bytes = bytes.to_vec();
            match round % 4 {
                // A page in another's place, also a branch below itself.
                0 => {
                    let from = random_places.usize(..pages) * 4096;
                    let to = random_places.usize(..pages) * 4096;
                    bytes.copy_within(from..from + 4096, to);
                }
                1 => bytes.truncate(random_places.usize(..bytes.len())),
                2 => {
                    let page = random_places.usize(..pages) * 4096;
                    for byte in &mut bytes[page..page + 4096] {
                        *byte = random_places.u8(..);
                    }
                }
                // Behind the metas, for those would all be told.
                _ => {
                    for _ in 0..50 {
                        let at = random_places.usize(8192..bytes.len());
                        bytes[at] = random_places.u8(..);
                    }
                }
            }
            fs::write(&path, bytes).unwrap();
            told += usize::from(read_tables(File::open(&path).unwrap(), width).is_err());
        }
    }
    assert!(told > 60, "{told}");
}

/// A data directory with that database in it, and a lock file of its system.
fn place(database: &[u8]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("db")).unwrap();
    fs::write(dir.path().join("db/data.mdb"), database).unwrap();
    fs::write(dir.path().join("db/lock.mdb"), [7; 8192]).unwrap();
    dir
}

fn database(dir: &Path) -> PathBuf {
    dir.join("db/data.mdb")
}

/// Opens it as the server does, closes it, and looks whether it holds `expected` then; what it did not
/// have yet is empty.
fn holds(dir: &Path, expected: &Tables) {
    let store = Store::open(dir, Options::default()).unwrap();
    assert_eq!(store.read(accounts::list).unwrap().len(), 2);
    smol::block_on(store.close(std::time::Duration::from_secs(60))).unwrap();
    let mut found = read(&database(dir)).unwrap();
    found.retain(|(name, rows)| {
        !rows.is_empty() || expected.iter().any(|(expected, _)| expected == name)
    });
    assert!(found == *expected);
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).unwrap()),
        }
    }
}

#[test]
fn the_other_widths_data_are_opened_and_converted_once() {
    let (_, bytes) = other();
    let dir = place(bytes);
    let before = read(&database(dir.path())).unwrap();
    assert!(before.iter().map(|t| t.1.len()).sum::<usize>() > 1_600);
    let mut waiting = before.iter().filter(|table| table.0 == "outbox");
    let waits = waiting.any(|table| !table.1.is_empty());
    assert!(waits);
    holds(dir.path(), &before);
    let file = File::open(database(dir.path())).unwrap();
    assert_eq!(Width::of(&file).unwrap(), Some(Width::OWN));
    let mut left: Vec<_> = fs::read_dir(dir.path()).unwrap().collect();
    left.retain(|entry| entry.as_ref().unwrap().file_name() != "wildcat.lock");
    assert_eq!(left.len(), 1, "{left:?}");
    let first = fs::metadata(database(dir.path())).unwrap();
    holds(dir.path(), &before);
    use std::os::unix::fs::MetadataExt as _;
    let second = fs::metadata(database(dir.path())).unwrap();
    assert_eq!(first.ino(), second.ino(), "not again");
}

#[test]
fn a_conversion_that_is_cut_off_anywhere_leaves_one_of_the_two() {
    let (width, bytes) = other();
    let dir = place(bytes);
    let before = read(&database(dir.path())).unwrap();
    let images = tempfile::tempdir().unwrap();
    let mut steps = Vec::new();
    let file = File::open(database(dir.path())).unwrap();
    replace(dir.path(), file, width, Options::default(), &mut |step| {
        copy(dir.path(), &images.path().join(steps.len().to_string()));
        steps.push(step);
    })
    .unwrap();
    assert!(steps.ends_with(&[Done::Synced, Done::Unlocked, Done::Renamed]));
    assert!(steps.len() > 20, "a step for each table");
    for (n, step) in steps.iter().enumerate() {
        let image = images.path().join(n.to_string());
        assert!(image.join(PART).exists(), "{step:?}");
        let is_old = fs::read(database(&image)).unwrap() == bytes;
        assert_eq!(is_old, *step != Done::Renamed);
        // What is half goes, and is not mistaken for anything.
        holds(&image, &before);
        assert!(!image.join(PART).exists());
    }
}

/// What `convert` says, with the data and nothing else there as before.
fn refusal(dir: &Path, options: Options) -> StoreError {
    let bytes = fs::read(database(dir)).unwrap();
    let error = convert(dir, options).unwrap_err();
    assert!(fs::read(database(dir)).unwrap() == bytes, "untouched");
    assert!(!dir.join(PART).exists());
    error
}

#[test]
fn data_that_cannot_be_converted_are_reported_and_left_unchanged() {
    let (width, bytes) = other();
    let bits = width.bits();
    let dir = place(bytes);
    let small = Options {
        map_max: 64 << 10,
        ..Options::default()
    };
    let own = Width::OWN.bits();
    let words = format!(
        "the data are of a {bits}-bit system: they take 1 MiB, and a {own}-bit system can hold 0 MiB; "
    );
    let said = refusal(dir.path(), small).to_string();
    assert!(said.starts_with(&words), "{said}");

    let mut newer = bytes.to_vec();
    let row = [&b"schema"[..], &VERSION.to_be_bytes()].concat();
    let at = newer.windows(row.len()).position(|w| w == row).unwrap() + 6;
    newer[at..at + 4].copy_from_slice(&99u32.to_be_bytes());
    let said = refusal(place(&newer).path(), Options::default());
    assert!(
        matches!(said, StoreError::Newer { found: 99, .. }),
        "{said}"
    );

    let half = &bytes[..bytes.len() / 2];
    let said = refusal(place(half).path(), Options::default()).to_string();
    let words = format!("the data are of a {bits}-bit system: db/data.mdb is damaged: page ");
    assert!(said.starts_with(&words), "{said}");

    // Who only reads leaves it to the server.
    let said = reader::Reader::open(dir.path()).err().unwrap().to_string();
    assert!(said.ends_with("start the server of this version once, which converts them"));
    holds(dir.path(), &read(&database(dir.path())).unwrap());
    reader::Reader::open(dir.path()).map(drop).unwrap();
}

#[test]
fn a_conversion_without_room_is_refused_before_it_starts() {
    const GIB: u64 = 1 << 30;
    // Numbers that need more than 32 bits.
    assert!(check_room(5 * GIB, 64 * GIB, 6 * GIB).is_ok());
    let said = check_room(5 * GIB, 64 * GIB, 5 * GIB)
        .unwrap_err()
        .to_string();
    assert_eq!(
        said,
        "to convert them takes 5761 MiB of free space on the disk, and there are 5120 MiB"
    );
    let said = check_room(5 * GIB, GIB, 600 * GIB).unwrap_err().to_string();
    assert!(said.starts_with("they take 5120 MiB, and a "), "{said}");
    assert!(said.contains("-bit system can hold 1024 MiB; "), "{said}");
}
