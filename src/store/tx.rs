//! Transactions as the tables see them: bytes in, bytes out, every error with its table.

use std::ops::Bound;

use heed::types::Bytes;
use heed::{RoTxn, RwTxn};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::{Room, StoreError};
use super::events;
use super::key::Key;
use super::schema::Tables;

type Result<T> = std::result::Result<T, StoreError>;

/// One LMDB database, by its name.
#[derive(Clone, Copy)]
pub struct Table {
    pub(super) db: heed::Database<'static, Bytes, Bytes>,
    pub(super) name: &'static str,
}

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

    pub(super) fn tables(&self) -> &'t Tables {
        self.tables
    }

    pub(super) fn get(&self, table: Table, key: &[u8]) -> Result<Option<&'t [u8]>> {
        Ok(table.db.get(self.txn, key)?)
    }

    /// Bytes of the pages that a table takes.
    pub(super) fn table_bytes(&self, table: Table) -> Result<u64> {
        let stat = table.db.stat(self.txn)?;
        let pages = stat.branch_pages + stat.leaf_pages + stat.overflow_pages;
        Ok(pages as u64 * u64::from(stat.page_size))
    }

    /// The row as JSON.
    pub(super) fn get_json<T: DeserializeOwned>(
        &self,
        table: Table,
        key: &[u8],
    ) -> Result<Option<T>> {
        self.get(table, key)?
            .map(|bytes| from_json(table, key, bytes))
            .transpose()
    }

    /// The rows whose keys start with `prefix`, in order.
    pub(super) fn prefix(
        &self,
        table: Table,
        prefix: &[u8],
    ) -> Result<impl Iterator<Item = Result<Row<'t>>> + use<'t>> {
        // LMDB cannot seek to an empty key.
        let rows = if prefix.is_empty() {
            Either::Left(table.db.iter(self.txn)?)
        } else {
            Either::Right(table.db.prefix_iter(self.txn, prefix)?)
        };
        Ok(rows.map(|row| row.map_err(StoreError::from)))
    }

    /// The rows from `start` to before `end`, in order.
    pub(super) fn range(
        &self,
        table: Table,
        start: &[u8],
        end: Option<&[u8]>,
    ) -> Result<impl Iterator<Item = Result<Row<'t>>> + use<'t>> {
        let range = (
            Bound::Included(start),
            end.map_or(Bound::Unbounded, Bound::Excluded),
        );
        Ok(table
            .db
            .range(self.txn, &range)?
            .map(|row| row.map_err(StoreError::from)))
    }

    /// The rows from the last before `end` down to `start`.
    pub(super) fn range_back(
        &self,
        table: Table,
        start: &[u8],
        end: Option<&[u8]>,
    ) -> Result<impl Iterator<Item = Result<Row<'t>>> + use<'t>> {
        let range = (
            Bound::Included(start),
            end.map_or(Bound::Unbounded, Bound::Excluded),
        );
        Ok(table
            .db
            .rev_range(self.txn, &range)?
            .map(|row| row.map_err(StoreError::from)))
    }

    /// The rows whose keys start with `prefix`, last first.
    pub(super) fn prefix_back(
        &self,
        table: Table,
        prefix: Key,
    ) -> Result<impl Iterator<Item = Result<Row<'t>>> + use<'t>> {
        let start = prefix.clone();
        let end = prefix.after_prefix();
        self.range_back(table, &start, end.as_deref())
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

    pub(super) fn tables(&self) -> &'t Tables {
        self.tables
    }

    pub(super) fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<()> {
        self.written += key.len() + value.len();
        self.changes += 1;
        let result = table.db.put(&mut self.txn, key, value);
        self.note(result)
    }

    pub(super) fn put_json<T: Serialize>(
        &mut self,
        table: Table,
        key: &[u8],
        value: &T,
    ) -> Result<()> {
        let bytes = serde_json::to_vec(value).map_err(|e| StoreError::Encode {
            table: table.name,
            cause: e.to_string().into(),
        })?;
        self.put(table, key, &bytes)
    }

    /// Whether the row was there.
    pub(super) fn delete(&mut self, table: Table, key: &[u8]) -> Result<bool> {
        let result = table.db.delete(&mut self.txn, key);
        let deleted = self.note(result)?;
        if deleted {
            self.changes += 1;
            self.written += key.len();
        }
        Ok(deleted)
    }

    /// Deletes the first rows that start with `prefix`, at most `limit`, and says how many.
    pub(super) fn delete_prefix(
        &mut self,
        table: Table,
        prefix: &[u8],
        limit: usize,
    ) -> Result<usize> {
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

/// Reads `bytes` of `table`.
pub(super) fn from_json<T: DeserializeOwned>(table: Table, key: &[u8], bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|e| StoreError::corrupt(table.name, key, e))
}

/// One of two iterators over the same items.
enum Either<L, R> {
    Left(L),
    Right(R),
}

impl<L: Iterator, R: Iterator<Item = L::Item>> Iterator for Either<L, R> {
    type Item = L::Item;

    fn next(&mut self) -> Option<L::Item> {
        match self {
            Either::Left(rows) => rows.next(),
            Either::Right(rows) => rows.next(),
        }
    }
}
