//! Transactions as the tables see them: bytes in, bytes out, every error with its table.

use std::ops::Bound;

use heed::types::Bytes;
use heed::{RoRange, RoRevRange, RoTxn, RwTxn};

use super::error::{Result, Room, StoreError};
use super::events;
use super::key::Key;
use super::schema::{Id, Tables};

/// A key and its value, where they lie in the map.
pub type Row<'t> = (&'t [u8], &'t [u8]);

/// A consistent view: of the last commit in [`Store::read`](super::Store::read), and in a write
/// job of what the job itself has written, too.
#[derive(Clone, Copy)]
pub struct ReadTx<'t> {
    txn: &'t RoTxn<'t>,
    tables: &'t Tables,
}

impl<'t> ReadTx<'t> {
    pub(super) fn new(txn: &'t RoTxn<'t>, tables: &'t Tables) -> ReadTx<'t> {
        ReadTx { txn, tables }
    }

    pub(super) fn get(&self, table: Id, key: &[u8]) -> Result<Option<&'t [u8]>> {
        Ok(self.tables.of(table).get(self.txn, key)?)
    }

    /// Bytes of the pages that a table takes.
    pub(super) fn table_bytes(&self, table: Id) -> Result<u64> {
        let stat = self.tables.of(table).stat(self.txn)?;
        let pages = stat.branch_pages + stat.leaf_pages + stat.overflow_pages;
        Ok(pages as u64 * u64::from(stat.page_size))
    }

    /// The rows whose keys start with `prefix`, in order.
    pub(super) fn prefix(&self, table: Id, prefix: &Key) -> Result<Walk<'t>> {
        let end = prefix.clone().after_prefix();
        self.range(table, prefix, end.as_deref())
    }

    /// The rows from `start` to before `end`, in order.
    pub(super) fn range(&self, table: Id, start: &[u8], end: Option<&[u8]>) -> Result<Walk<'t>> {
        let rows = self.tables.of(table).range(self.txn, &bounds(start, end))?;
        Ok(Walk::Forward(rows))
    }

    /// The rows from the last before `end` down to `start`.
    pub(super) fn range_back(
        &self,
        table: Id,
        start: &[u8],
        end: Option<&[u8]>,
    ) -> Result<Walk<'t>> {
        let rows = self
            .tables
            .of(table)
            .rev_range(self.txn, &bounds(start, end))?;
        Ok(Walk::Back(rows))
    }
}

fn bounds<'a>(start: &'a [u8], end: Option<&'a [u8]>) -> (Bound<&'a [u8]>, Bound<&'a [u8]>) {
    let start = match start {
        // LMDB cannot seek to an empty key.
        [] => Bound::Unbounded,
        start => Bound::Included(start),
    };
    (start, end.map_or(Bound::Unbounded, Bound::Excluded))
}

/// Rows that are read one by one.
pub enum Walk<'t> {
    Forward(RoRange<'t, Bytes, Bytes>),
    Back(RoRevRange<'t, Bytes, Bytes>),
}

impl<'t> Iterator for Walk<'t> {
    type Item = Result<Row<'t>>;

    fn next(&mut self) -> Option<Self::Item> {
        let row = match self {
            Walk::Forward(rows) => rows.next(),
            Walk::Back(rows) => rows.next(),
        };
        row.map(|row| row.map_err(StoreError::from))
    }
}

/// A write job's transaction. What it writes is stored when the job returns `Ok` and its group
/// commits, and else not at all.
pub struct WriteTx<'t> {
    pub(super) txn: RwTxn<'t>,
    tables: &'t Tables,
    /// Bytes of keys and values written, to bound a group.
    pub(super) written: usize,
    /// Operations that changed something, to tell whether a failed job left traces.
    pub(super) changes: usize,
    /// LMDB failed within the transaction, which then only can be aborted. Kept here because a
    /// job might not pass it on.
    pub(super) broken: Option<StoreError>,
    /// The number of the last event appended.
    pub(super) last_event: Option<u64>,
    /// The events appended, by kind.
    pub(super) appended: events::Appended,
    /// How much of the event log is kept.
    pub(super) events: events::Bounds,
}

impl<'t> WriteTx<'t> {
    pub(super) fn new(txn: RwTxn<'t>, tables: &'t Tables) -> WriteTx<'t> {
        WriteTx {
            txn,
            tables,
            written: 0,
            changes: 0,
            broken: None,
            last_event: None,
            appended: events::Appended::default(),
            events: events::Bounds {
                keep: events::Keep::default(),
                dated: 0,
            },
        }
    }

    /// The same transaction for the functions that only read.
    pub fn view(&self) -> ReadTx<'_> {
        ReadTx::new(&self.txn, self.tables)
    }

    pub(super) fn put(&mut self, table: Id, key: &[u8], value: &[u8]) -> Result<()> {
        self.written += key.len() + value.len();
        self.changes += 1;
        let result = self.tables.of(table).put(&mut self.txn, key, value);
        self.note(result)
    }

    /// Whether the row was there.
    pub(super) fn delete(&mut self, table: Id, key: &[u8]) -> Result<bool> {
        let result = self.tables.of(table).delete(&mut self.txn, key);
        let deleted = self.note(result)?;
        if deleted {
            self.changes += 1;
            self.written += key.len();
        }
        Ok(deleted)
    }

    /// Deletes the first rows that start with `prefix`, at most `limit`, and returns how many.
    pub(super) fn delete_prefix(&mut self, table: Id, prefix: &Key, limit: usize) -> Result<usize> {
        let mut keys: Vec<Vec<u8>> = Vec::new();
        for row in self.view().prefix(table, prefix)?.take(limit) {
            keys.push(row?.0.to_vec());
        }
        for key in &keys {
            self.delete(table, key)?;
        }
        Ok(keys.len())
    }

    fn note<T>(&mut self, result: heed::Result<T>) -> Result<T> {
        result.map_err(|e| {
            let error = StoreError::from(e);
            self.broken = Some(error.clone());
            error
        })
    }

    /// Whether the map was too small for what was written.
    pub(super) fn map_full(&self) -> bool {
        matches!(self.broken, Some(StoreError::Full(Room::Map { .. })))
    }
}
