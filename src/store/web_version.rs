//! The version of WhatsApp Web that WhatsApp named last, for when it cannot be asked.

use serde::{Deserialize, Serialize};

use super::error::StoreError;
use super::schema::WEB_VERSION;
use super::tx::{ReadTx, WriteTx};
use crate::clock::Millis;

/// What was looked up, and when, by the server's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebVersion {
    pub version: (u32, u32, u32),
    pub at: Millis,
}

/// The last one; `None` before the first.
///
/// # Errors
/// The storage's.
pub fn get(tx: &ReadTx<'_>) -> Result<Option<WebVersion>, StoreError> {
    WEB_VERSION.get(tx, ())
}

/// Keeps this one instead of the one before.
///
/// # Errors
/// The storage's.
pub fn put(tx: &mut WriteTx<'_>, found: &WebVersion) -> Result<(), StoreError> {
    WEB_VERSION.put(tx, (), found).map(drop)
}
