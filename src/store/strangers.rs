//! People to whom an account has begun to write lately, for the bound on how many these may be.

use super::error::Result;
use super::schema::STRANGERS;
use super::tx::{ReadTx, WriteTx};
use crate::clock::{Millis, Step};

/// Rows that are removed at once because they are too old.
const SWEEP: usize = 64;

/// When an account has begun to write to `jid`; `None` if it has not, or before the rows of that time were
/// removed.
pub fn since(tx: &ReadTx<'_>, account: u32, jid: &str) -> Result<Option<Millis>> {
    STRANGERS.get(tx, (account, jid))
}

/// When an account has begun to write to each of them, in no order.
pub fn times(tx: &ReadTx<'_>, account: u32) -> Result<Vec<Millis>> {
    STRANGERS
        .scan(tx, (account,))?
        .map(|row| row?.value())
        .collect()
}

/// An account begins to write to `jid`. Rows of before `oldest` are removed.
pub fn note(
    tx: &mut WriteTx<'_>,
    account: u32,
    jid: &str,
    now: Millis,
    oldest: Millis,
) -> Result<()> {
    let mut old = Vec::new();
    for row in STRANGERS.scan(&tx.view(), (account,))? {
        let row = row?;
        if old.len() < SWEEP && row.value()? < oldest {
            old.push(row.key.to_vec());
        }
    }
    for key in old {
        STRANGERS.delete_at(tx, &key)?;
    }
    STRANGERS.put(tx, (account, jid), now).map(drop)
}

/// Moves the times of the rows along with a step of the clock.
pub fn restamp(tx: &mut WriteTx<'_>, account: u32, step: &Step) -> Result<()> {
    let mut moved = Vec::new();
    for row in STRANGERS.scan(&tx.view(), (account,))? {
        let row = row?;
        let at = row.value()?;
        if step.moved(at) != at {
            moved.push((row.key.to_vec(), step.moved(at)));
        }
    }
    moved
        .iter()
        .try_for_each(|(key, at)| STRANGERS.put_at(tx, key, *at).map(drop))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::TestStore;

    #[test]
    fn new_contacts_are_counted_by_person_and_old_rows_are_removed() {
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
