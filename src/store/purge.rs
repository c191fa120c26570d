//! Rows of removed accounts, deleted in small transactions so that no other write waits for them.
//!
//! A row of `purges` stays until no row of the account is left, so that a restart continues where the last run
//! stopped.

use serde::{Deserialize, Serialize};

use super::error::Result;
use super::events;
use super::key::Key;
use super::schema::{Owner, PURGES, tables_of};
use super::tx::{ReadTx, WriteTx};

/// A removed account whose rows are being deleted.
#[derive(Serialize, Deserialize)]
pub struct Purge {
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
    PURGES.put(tx, (number,), &purge).map(drop)
}

/// Whether rows of removed accounts are left.
pub fn is_pending(tx: &ReadTx<'_>) -> Result<bool> {
    Ok(PURGES.scan(tx, ())?.next().is_some())
}

/// Deletes about `limit` rows of removed accounts. Returns whether there may be more: call it, in
/// a job of its own each time, until it returns false; also once after opening.
pub fn step(tx: &mut WriteTx<'_>, limit: usize) -> Result<bool> {
    let (number, mut purge) = {
        let Some(row) = PURGES.scan(&tx.view(), ())?.next().transpose()? else {
            return Ok(false);
        };
        (row.parts()?.0, row.value()?)
    };
    let prefix = Key::account(number);
    let mut left = limit.max(1);
    for table in tables_of(&[Owner::Account, Owner::Messages]) {
        left -= tx.delete_prefix(table, &prefix, left)?;
        if left == 0 {
            return Ok(true);
        }
    }
    purge.searched = events::remove_of_account(tx, &purge.id, purge.searched, purge.last, left)?;
    if purge.searched < purge.last {
        PURGES.put(tx, (number,), &purge)?;
        return Ok(true);
    }
    PURGES.delete(tx, (number,))?;
    is_pending(&tx.view())
}
