//! What is left of removed accounts, deleted in small transactions so that nobody waits for it.
//!
//! `purges`: number (u32) → JSON: the id, and how far the event log was searched. A row stays
//! until nothing is left, so a restart goes on where the last run stopped.

use serde::{Deserialize, Serialize};

use super::error::StoreError;
use super::events;
use super::key::{Key, KeyReader};
use super::tx::{ReadTx, WriteTx};

type Result<T> = std::result::Result<T, StoreError>;

#[derive(Serialize, Deserialize)]
struct Purge {
    id: String,
    /// Events after this number were not searched yet.
    searched: u64,
    /// The last event that can be the account's: later ones belong to a new account of that id.
    last: u64,
}

pub(super) fn request(tx: &mut WriteTx<'_>, number: u32, id: &str) -> Result<()> {
    let purge = Purge {
        id: id.to_owned(),
        searched: 0,
        last: events::state(&tx.view())?.last,
    };
    let table = tx.tables().purges;
    tx.put_json(table, &Key::account(number), &purge)
}

/// Whether rows of removed accounts are left.
pub fn is_pending(tx: &ReadTx<'_>) -> Result<bool> {
    Ok(tx.prefix(tx.tables().purges, &[])?.next().is_some())
}

/// Deletes about `limit` rows of removed accounts. Returns whether there may be more: call it, in
/// a job of its own each time, until it returns false; also once after opening.
pub fn step(tx: &mut WriteTx<'_>, limit: usize) -> Result<bool> {
    let tables = tx.tables();
    let (number, mut purge) = {
        let view = tx.view();
        let Some(row) = view.prefix(tables.purges, &[])?.next() else {
            return Ok(false);
        };
        let (key, bytes) = row?;
        let number = KeyReader(key)
            .u32()
            .ok_or_else(|| StoreError::corrupt("purges", key, "not an account number"))?;
        let purge: Purge = super::tx::from_json(tables.purges, key, bytes)?;
        (number, purge)
    };
    let prefix = Key::account(number);
    let mut left = limit.max(1);
    for table in [
        tables.signal,
        tables.messages,
        tables.message_ids,
        tables.messages_by_time,
        tables.people,
        tables.usernames,
        tables.early_changes,
        tables.outbox,
        tables.idempotency,
        tables.media,
        tables.media_wanted,
        tables.chats_by_time,
        tables.chats,
        tables.chat_ids,
        tables.counters,
    ] {
        left -= tx.delete_prefix(table, &prefix, left)?;
        if left == 0 {
            return Ok(true);
        }
    }
    purge.searched = events::remove_of_account(tx, &purge.id, purge.searched, purge.last, left)?;
    if purge.searched < purge.last {
        tx.put_json(tables.purges, &prefix, &purge)?;
        return Ok(true);
    }
    tx.delete(tables.purges, &prefix)?;
    is_pending(&tx.view())
}
