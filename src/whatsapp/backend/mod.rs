//! wacore's storage traits over LMDB: one [`Backend`] for each account.
//!
//! Reads look into the map on the caller's thread. What is written with every message (ratchets,
//! copies of messages, their secrets) goes through the [`Journal`]; any other write resolves once it is
//! on disk. Every method that changes more than a row does so in one transaction.
//!
//! Rows are in the store's `signal` table: account number, kind, and then
//!
//! | Kind | Key | Value |
//! |---|---|---|
//! | `Device` | | JSON of wacore's `Device` |
//! | `Identity`, `Session`, `SenderKey` | address (text) | the bytes |
//! | `PreKey` | id (u32) | 1 if uploaded, else 0; the record |
//! | `SignedPreKey` | id (u32) | the record |
//! | `OldSignedPreKey` | id (u32) | since when the client has no use for it (i64), the record |
//! | `SyncKey` | key id (bytes) | JSON |
//! | `LatestSyncKey` | | the key id |
//! | `SyncVersion` | collection (text) | JSON |
//! | `MutationMac` | collection (text), index MAC (bytes) | value MAC |
//! | `SenderKeyDevice` | group, device (texts) | 1 if it has the key, else 0; the device's JID |
//! | `SenderKeyDeviceGroup` | device, group (texts) | nothing: finds a device in all groups |
//! | `LidMapping` | LID (text) | JSON |
//! | `PnMapping` | number (text) | its newest LID |
//! | `BaseKey` | address, message id (texts) | the key |
//! | `DeviceList` | user (text) | JSON |
//! | `GroupMetadata` | group (text) | the bytes |
//! | `TcToken` | JID (text) | JSON |
//! | `SentMessage` | chat, message id (texts) | when (i64), the bytes |
//! | `SentMessageBytes` | | of all of them (u64) |
//! | `PendingInbound` | chat, sender, id (texts) | when (i64), the bytes |
//! | `MsgSecret` | chat, sender, id (texts) | deadline (i64), message's time (i64), the secret |
//! | `Handled` | chat, sender, id (texts) | when (i64) |
//! | `HandledCount` | | how many of them (u64) |
//! | `…ByTime`, `…ByExpiry` | time (i64), then the key of the row | nothing: finds what is due |
//!
//! Times are Unix seconds, as wacore's are.

mod app_sync;
mod device;
mod expiring;
mod given;
pub mod handled;
mod journal;
mod old_keys;
mod protocol;
mod secrets;
mod sender_key_devices;
pub mod sent;
mod signal;
pub mod tc_tokens;

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use whatsapp_rust::wacore::store::error::StoreError as BackendError;

use crate::clock;
use crate::store::signal::{self as rows, Kind};
use crate::store::{Key, ReadTx, Store, StoreError, WriteTx};
use crate::whatsapp::outgoing::Outgoing;
use expiring::Stored;

use given::Given;
use journal::FailureHook;
pub use journal::{Arrivals, Journal};

/// wacore's result.
type Result<T> = std::result::Result<T, BackendError>;

/// Rows that one transaction of a sweep deletes, so that other writes do not wait long.
const SWEEP: usize = 256;

/// The storage of one account's WhatsApp session.
///
/// A write that fails is the last one: the client goes on in memory, and what it would write
/// afterwards (a ratchet that has moved past a message that was not kept) would lose that message
/// for good. The session is ended then, and the next one starts from what is stored.
#[derive(Clone)]
pub struct Backend {
    store: Store,
    account: u32,
    journal: Arc<Journal>,
    /// The journal is written by its owner; else each write waits for the disk.
    is_behind: bool,
    given: Arc<Given>,
}

impl Backend {
    /// The backend of the account of that number. All of an account's backends are the same.
    pub fn new(store: Store, account: u32) -> Backend {
        Backend {
            journal: Journal::new(store.clone(), account, None),
            store,
            account,
            is_behind: false,
            given: Arc::default(),
        }
    }

    /// The backend of a running session, whose writes resolve before they are on disk. Calls `hook`
    /// when one fails, once. The session is the owner of the [`Journal`].
    pub fn behind(store: Store, account: u32, hook: FailureHook) -> Backend {
        Backend {
            journal: Journal::new(store.clone(), account, Some(hook)),
            store,
            account,
            is_behind: true,
            given: Arc::default(),
        }
    }

    /// A message to this group is about to go: only devices that its stanza names get our sender key with it,
    /// whatever the client says.
    pub fn watch_group(&self, group: &str, id: &str, stanza: Outgoing) {
        self.given.watch(group, id, stanza);
    }

    /// Whether a message can be said again to a device that asks for it.
    ///
    /// # Errors
    /// The storage's.
    pub fn has_sent_message(&self, chat: &str, id: &str) -> Result<bool> {
        let at = now();
        self.read(|tx| Ok(sent::find(tx, self.account, (chat, id), at)?.is_some()))
    }

    /// WhatsApp has acknowledged a message to this group, so who was given our sender key has it; or
    /// it has not, and he may not have it.
    pub async fn settle_sender_keys(&self, group: &str, id: &str, acknowledged: bool) {
        self.given.unwatch(group, id);
        let devices = self.given.take(group);
        if !acknowledged || devices.is_empty() {
            return;
        }
        let (account, group) = (self.account, group.to_owned());
        let stored = self.write(move |tx| {
            devices
                .iter()
                .try_for_each(|device| sender_key_devices::set(tx, account, &group, device, true))
        });
        if let Err(error) = stored.await {
            log::debug!("who has a sender key is not stored, he gets it again: {error}");
        }
    }

    /// What is not on disk yet.
    pub fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }

    /// Forgets everything, for a new pairing. Not one transaction: what is left after a crash is
    /// removed by calling it again.
    ///
    /// # Errors
    /// The storage's.
    pub async fn clear(&self) -> std::result::Result<(), StoreError> {
        let account = self.account;
        // The device goes first: without it the rest is no pairing anymore.
        let device = self.key(Kind::Device);
        self.store
            .write(move |tx| rows::delete(tx, &device))
            .await?;
        while self
            .store
            .write(move |tx| rows::clear_step(tx, account, SWEEP))
            .await?
        {}
        Ok(())
    }

    fn key(&self, kind: Kind) -> Key {
        rows::key(self.account, kind)
    }

    fn read<T>(&self, job: impl FnOnce(&ReadTx<'_>) -> Stored<T>) -> Result<T> {
        self.store.read(job).map_err(into_backend)
    }

    async fn write<T: Send + 'static>(
        &self,
        job: impl FnMut(&mut WriteTx<'_>) -> Stored<T> + Send + 'static,
    ) -> Result<T> {
        if let Some(error) = self.journal.failure() {
            return Err(into_backend(error));
        }
        self.store.write(job).await.map_err(|error| {
            self.journal.fail(&error);
            into_backend(error)
        })
    }

    /// A copy of the row.
    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>> {
        if let Some(known) = self.journal.row(key) {
            return Ok(known);
        }
        self.read(|tx| Ok(rows::get(tx, key)?.map(<[u8]>::to_vec)))
    }

    fn get_json<T: DeserializeOwned>(&self, key: &Key) -> Result<Option<T>> {
        self.read(|tx| get_json(tx, key))
    }

    async fn put(&self, key: Key, value: impl AsRef<[u8]> + Send + 'static) -> Result<()> {
        self.write(move |tx| rows::put(tx, &key, value.as_ref()))
            .await
    }

    /// All of them, or none.
    async fn put_all<V: AsRef<[u8]> + Send + 'static>(
        &self,
        entries: Vec<(Vec<u8>, V)>,
    ) -> Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        self.write(move |tx| {
            entries
                .iter()
                .try_for_each(|(key, value)| rows::put(tx, key, value.as_ref()))
        })
        .await
    }

    /// Rows that go through the journal; `None` deletes.
    async fn note(&self, rows: impl IntoIterator<Item = (Vec<u8>, Option<Vec<u8>>)>) -> Result<()> {
        self.journal.put(rows).await.map_err(into_backend)?;
        self.written().await
    }

    /// Another change that goes through the journal.
    async fn change(
        &self,
        change: impl FnMut(&mut WriteTx<'_>) -> Stored<()> + Send + 'static,
    ) -> Result<()> {
        self.journal.add(Box::new(change)).map_err(into_backend)?;
        self.written().await
    }

    /// Waits for the disk, unless the session does.
    async fn written(&self) -> Result<()> {
        if self.is_behind {
            return Ok(());
        }
        self.settle().await
    }

    async fn settle(&self) -> Result<()> {
        self.journal.settle().await.map_err(into_backend)
    }

    async fn put_json<T: Serialize>(&self, key: Key, value: &T) -> Result<()> {
        let bytes = to_json(value).map_err(into_backend)?;
        self.put(key, bytes).await
    }

    async fn delete(&self, key: Key) -> Result<()> {
        self.write(move |tx| rows::delete(tx, &key).map(drop)).await
    }

    /// Calls `step`, each time in a transaction of its own, until it deletes less than it may.
    /// Returns how many it has deleted: none as long as the time is not certain, for what is too old
    /// by a clock that is wrong may be needed.
    async fn sweep(
        &self,
        step: impl FnMut(&mut WriteTx<'_>, usize) -> Stored<usize> + Send + Clone + 'static,
    ) -> Result<u32> {
        let mut total = 0u32;
        if clock::certain().is_none() {
            return Ok(total);
        }
        loop {
            let mut step = step.clone();
            let deleted = self.write(move |tx| step(tx, SWEEP)).await?;
            total = total.saturating_add(u32::try_from(deleted).unwrap_or(u32::MAX));
            if deleted < SWEEP {
                return Ok(total);
            }
        }
    }
}

fn get_json<T: DeserializeOwned>(tx: &ReadTx<'_>, key: &[u8]) -> Stored<Option<T>> {
    rows::get(tx, key)?
        .map(|bytes| from_json(key, bytes))
        .transpose()
}

fn from_json<T: DeserializeOwned>(key: &[u8], bytes: &[u8]) -> Stored<T> {
    serde_json::from_slice(bytes).map_err(|e| rows::corrupt(key, e))
}

fn to_json<T: Serialize>(value: &T) -> Stored<Vec<u8>> {
    serde_json::to_vec(value).map_err(rows::encode_error)
}

fn into_backend(error: StoreError) -> BackendError {
    BackendError::Database(Box::new(error))
}

/// Unix seconds.
fn now() -> i64 {
    i64::try_from(clock::now() / 1000).unwrap_or(i64::MAX)
}
