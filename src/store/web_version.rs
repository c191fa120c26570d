//! The version of WhatsApp Web that WhatsApp named last, for when it cannot be asked. One row of `meta`.

use serde::{Deserialize, Serialize};

use super::error::StoreError;
use super::tx::{ReadTx, WriteTx};
use crate::clock::Millis;

const KEY: &[u8] = b"web version";

/// What was looked up, and when, by the server's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebVersion {
    pub version: (u32, u32, u32),
    pub at: Millis,
}

/// The last one; `None` before the first.
///
/// # Errors
/// What the storage says.
pub fn get(tx: &ReadTx<'_>) -> Result<Option<WebVersion>, StoreError> {
    tx.get_json(tx.tables().meta, KEY)
}

/// Keeps this one instead of the one before.
///
/// # Errors
/// What the storage says.
pub fn put(tx: &mut WriteTx<'_>, found: &WebVersion) -> Result<(), StoreError> {
    let meta = tx.tables().meta;
    tx.put_json(meta, KEY, found)
}
