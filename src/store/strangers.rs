//! People to whom an account has begun to write lately, for the bound on how many these may be.
//!
//! In the table `outbox`, beside what is sent to them: (account, [`outbox::STRANGER`], JID (text)) → when
//! the first message went (u64).

use super::error::StoreError;
use super::key::KeyReader;
use super::outbox;
use super::tx::{ReadTx, WriteTx};
use crate::clock::{Millis, Step};

type Result<T> = std::result::Result<T, StoreError>;

/// Rows that are removed at once because they are too old.
const SWEEP: usize = 64;

/// When an account has begun to write to `jid`; `None` if it has not, or before the rows of that time were
/// removed.
pub fn since(tx: &ReadTx<'_>, account: u32, jid: &str) -> Result<Option<Millis>> {
    let key = outbox::key(account, outbox::STRANGER).text(jid);
    let row = tx.get(tx.tables().outbox, &key)?;
    row.map(|bytes| time(&key, bytes)).transpose()
}

/// When an account has begun to write to each of them, in no order.
pub fn times(tx: &ReadTx<'_>, account: u32) -> Result<Vec<Millis>> {
    let prefix = outbox::key(account, outbox::STRANGER);
    tx.prefix(tx.tables().outbox, &prefix)?
        .map(|row| row.and_then(|(key, bytes)| time(key, bytes)))
        .collect()
}

/// An account begins to write to `jid`. Rows of before `oldest` go.
pub fn note(
    tx: &mut WriteTx<'_>,
    account: u32,
    jid: &str,
    now: Millis,
    oldest: Millis,
) -> Result<()> {
    let table = tx.tables().outbox;
    let prefix = outbox::key(account, outbox::STRANGER);
    let mut old = Vec::new();
    for row in tx.view().prefix(table, &prefix)? {
        let (key, bytes) = row?;
        if old.len() < SWEEP && time(key, bytes)? < oldest {
            old.push(key.to_vec());
        }
    }
    for key in old {
        tx.delete(table, &key)?;
    }
    let key = outbox::key(account, outbox::STRANGER).text(jid);
    tx.put(table, &key, &now.to_be_bytes())
}

/// Moves what the rows say along with a step of the clock.
pub fn restamp(tx: &mut WriteTx<'_>, account: u32, step: &Step) -> Result<()> {
    let table = tx.tables().outbox;
    let prefix = outbox::key(account, outbox::STRANGER);
    let mut moved = Vec::new();
    for row in tx.view().prefix(table, &prefix)? {
        let (key, bytes) = row?;
        let at = time(key, bytes)?;
        if step.moved(at) != at {
            moved.push((key.to_vec(), step.moved(at)));
        }
    }
    moved
        .iter()
        .try_for_each(|(key, at)| tx.put(table, key, &at.to_be_bytes()))
}

fn time(key: &[u8], bytes: &[u8]) -> Result<Millis> {
    KeyReader(bytes)
        .u64()
        .ok_or_else(|| StoreError::corrupt("outbox", key, "not a time"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::TestStore;

    #[test]
    fn they_are_counted_by_person_and_those_of_long_ago_go() {
        let store = TestStore::new();
        store.run(|tx| {
            note(tx, 1, "a", 1_000, 0)?;
            note(tx, 1, "b", 2_000, 0)?;
            note(tx, 1, "a", 3_000, 0)?;
            note(tx, 2, "c", 9_000, 0)
        });
        let times_of = |account| {
            let mut times = store.read(|tx| times(tx, account)).unwrap();
            times.sort_unstable();
            times
        };
        assert_eq!(times_of(1), [2_000, 3_000]);
        assert_eq!(store.read(|tx| since(tx, 1, "b")).unwrap(), Some(2_000));
        assert_eq!(store.read(|tx| since(tx, 1, "c")).unwrap(), None);
        let step = Step {
            from: 2_500,
            to: 3_500,
            by: 10_000,
        };
        store.run(move |tx| restamp(tx, 1, &step));
        assert_eq!(times_of(1), [2_000, 13_000]);
        store.run(|tx| note(tx, 1, "d", 14_000, 5_000));
        assert_eq!(times_of(1), [13_000, 14_000]);
        assert_eq!(times_of(2), [9_000]);
    }
}
