//! The pages of the data file that are mapped into this process, and when they are let go.
//!
//! LMDB reads through a map of its file; after a history of 50,000 messages what it had touched was most
//! of all memory. See [`pages`].

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::pages;

/// Between two times that the pages are let go while there is something to do: what was touched meanwhile
/// is a few hundred pages at most, and the ones that are needed all the time are not mapped again more
/// often. When the writer rests, and every minute, what is left goes.
const EVERY: Duration = Duration::from_millis(200);

/// Where the data file is mapped.
#[derive(Debug)]
pub struct Map {
    file: PathBuf,
    /// Address and length; `None` where they cannot be found out, and all is as LMDB leaves it.
    range: Option<(usize, usize)>,
    rest: Rest,
}

/// When it is time.
#[derive(Debug, Default)]
struct Rest {
    /// `None` before the first time.
    last: Option<Instant>,
    /// Whether a transaction has ended since then that was too early.
    is_touched: bool,
}

impl Rest {
    /// A transaction ended at `now`: whether what it touched is to go.
    fn ended(&mut self, now: Instant) -> bool {
        let is_due = self
            .last
            .is_none_or(|last| now.saturating_duration_since(last) >= EVERY);
        self.is_touched = !is_due;
        if is_due {
            self.last = Some(now);
        }
        is_due
    }

    /// Nothing has happened for a while: whether something was left.
    fn idle(&mut self, now: Instant) -> bool {
        let left = std::mem::take(&mut self.is_touched);
        if left {
            self.last = Some(now);
        }
        left
    }
}

impl Map {
    /// The map of that file, which is open.
    pub fn of(file: &Path) -> Map {
        let mut map = Map {
            // As the kernel names it.
            file: file.canonicalize().unwrap_or_else(|_| file.to_owned()),
            range: None,
            rest: Rest::default(),
        };
        map.moved();
        map
    }

    /// Looks where it is by now. To be called after every change of its size.
    pub fn moved(&mut self) {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
        self.range = find(&maps, &self.file);
    }

    /// A transaction has ended. The caller sees to it that the map does not move meanwhile.
    pub fn transaction_ended(&mut self) {
        if self.rest.ended(Instant::now()) {
            self.let_go();
        }
    }

    /// Lets go of what the last transactions have left. The caller sees to it that the map does not
    /// move meanwhile.
    pub fn idle(&mut self) {
        if self.rest.idle(Instant::now()) {
            self.let_go();
        }
    }

    fn let_go(&self) {
        #[cfg(target_os = "linux")]
        if let Some((address, length)) = self.range {
            // SAFETY: this is LMDB's map of its file, shared and without MDB_WRITEMAP: nobody writes
            // through it, so no change is lost, and whoever reads on finds the same bytes, from the
            // same file, also in the middle of a transaction.
            if let Err(error) = unsafe { pages::let_go(address, length) } {
                log::debug!("storage: the mapped pages stay: {error}");
            }
        }
    }
}

/// The address and length of the map of `file`, from its start on, in what `/proc/self/maps` says.
fn find(maps: &str, file: &Path) -> Option<(usize, usize)> {
    pages::mappings(maps)
        .find(|part| part.file == file && part.rights == "r--s" && part.offset == 0)
        .map(|part| (part.address, part.length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_map_is_found_by_its_file_and_only_if_nobody_writes_to_it() {
        let maps = "\
00400000-00452000 r-xp 00000000 08:02 173521      /usr/bin/wildcat
b6d00000-b6d21000 rw-s 00000000 08:02 99 /data/db/lock.mdb
b2000000-b6000000 r--s 00000000 08:02 98                         /my data/db/data.mdb
c2000000-c6000000 rw-s 00000000 08:02 97                         /other/db/data.mdb
bee00000-bee21000 rw-p 00000000 00:00 0          [stack]";
        let find = |path: &str| find(maps, Path::new(path));
        assert_eq!(
            find("/my data/db/data.mdb"),
            Some((0xb200_0000, 0x0400_0000))
        );
        assert_eq!(find("/other/db/data.mdb"), None, "it can be written to");
        assert_eq!(find("/data/db/data.mdb"), None);
        assert_eq!(super::find("", Path::new("/data/db/data.mdb")), None);
    }

    #[test]
    fn pages_go_from_time_to_time_and_the_last_ones_when_it_is_quiet() {
        let mut rest = Rest::default();
        let start = Instant::now();
        let after = |millis| start + Duration::from_millis(millis);
        assert!(rest.ended(after(0)));
        assert!(!rest.ended(after(100)));
        assert!(!rest.ended(after(199)));
        assert!(rest.ended(after(200)));
        assert!(!rest.idle(after(5_000)), "nothing was left");
        assert!(rest.ended(after(6_000)));
        assert!(!rest.ended(after(6_100)));
        assert!(rest.idle(after(10_000)), "that of the last one");
        assert!(!rest.idle(after(15_000)));
    }

    /// Bytes of a file's map that are in this process's memory.
    #[cfg(target_os = "linux")]
    fn resident(file: &Path) -> u64 {
        let file = file.canonicalize().unwrap();
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let (_, mine) = maps.split_once(file.to_str().unwrap()).unwrap();
        let line = mine.lines().find(|line| line.starts_with("Rss:")).unwrap();
        line.split_whitespace()
            .nth(1)
            .unwrap()
            .parse::<u64>()
            .unwrap()
            * 1024
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn what_was_read_goes_and_is_there_all_the_same_also_for_who_is_reading() {
        use super::super::{Options, Store};
        const ROW: usize = 100_000;
        const ROWS: u32 = 100;
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("db/data.mdb");
        // The map grows under way.
        let options = Options {
            map_initial: 1 << 20,
            ..Options::default()
        };
        let store = Store::open(directory.path(), options).unwrap();
        for n in 0..ROWS {
            let write = store.write(move |tx| {
                let meta = tx.tables().meta;
                tx.put(meta, format!("test {n:03}").as_bytes(), &vec![n as u8; ROW])
            });
            smol::block_on(write).unwrap();
        }
        let all = u64::from(ROWS) * ROW as u64;
        let is_right =
            |(n, row): (usize, &[u8])| row.len() == ROW && row.iter().all(|b| *b == n as u8);
        store
            .read(|tx| {
                let rows: Vec<&[u8]> = tx
                    .prefix(tx.tables().meta, b"test ")?
                    .map(|row| Ok(row?.1))
                    .collect::<Result<_, crate::store::StoreError>>()?;
                assert_eq!(rows.len(), ROWS as usize);
                // Between the two the writer may come to rest, and let go, too.
                let all_in = (0..100).any(|_| {
                    assert!(rows.iter().copied().enumerate().all(is_right));
                    resident(&file) >= all
                });
                assert!(all_in);
                // Another one has come and gone meanwhile.
                store.read(|tx| tx.get(tx.tables().meta, b"test 000").map(drop))?;
                store.idle();
                assert!(resident(&file) < all / 20, "{}", resident(&file));
                assert!(rows.iter().copied().enumerate().all(is_right));
                Ok(())
            })
            .unwrap();
        store.read(|_| Ok(())).unwrap();
        store.idle();
        assert!(resident(&file) < all / 20, "{}", resident(&file));
    }
}
