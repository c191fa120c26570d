//! The WhatsApp backend's rows, as bytes.
//!
//! `signal`: account number (u32), [`Kind`] (u8), and what the kind is keyed by. One table for all
//! kinds: an account's rows lie together, and another kind costs no database.
//!
//! `whatsapp::backend` encodes the values and documents the keys of each kind; only the numbers of the kinds are
//! declared here, so that none is used twice.

use super::error::{Result, StoreError};
use super::key::Key;
use super::schema::Id;
use super::tx::{ReadTx, WriteTx};

/// A kind of rows. The numbers are stored: they never change and are never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    Device = 1,
    Identity = 2,
    Session = 3,
    PreKey = 4,
    SignedPreKey = 5,
    SenderKey = 6,
    SyncKey = 7,
    LatestSyncKey = 8,
    SyncVersion = 9,
    MutationMac = 10,
    SenderKeyDevice = 11,
    LidMapping = 12,
    PnMapping = 13,
    BaseKey = 14,
    DeviceList = 15,
    GroupMetadata = 16,
    TcToken = 17,
    SentMessage = 18,
    SentMessageByTime = 19,
    PendingInbound = 20,
    PendingInboundByTime = 21,
    MsgSecret = 22,
    MsgSecretByExpiry = 23,
    SenderKeyDeviceGroup = 24,
    Handled = 25,
    HandledByTime = 26,
    HandledCount = 27,
    OldSignedPreKey = 28,
    OldSignedPreKeyByTime = 29,
    SentMessageBytes = 30,
}

/// The start of the keys of a kind of one account's rows.
pub fn key(account: u32, kind: Kind) -> Key {
    Key::account(account).u8(kind as u8)
}

/// How many bytes [`key`] has.
pub const KEY_START: usize = 5;

/// The row, where it lies in the map.
pub fn get<'t>(tx: &ReadTx<'t>, key: &[u8]) -> Result<Option<&'t [u8]>> {
    tx.get(Id::Signal, key)
}

/// The rows whose keys start with `prefix`, in order.
pub fn scan<'t>(
    tx: &ReadTx<'t>,
    prefix: &[u8],
) -> Result<impl Iterator<Item = Result<(&'t [u8], &'t [u8])>> + use<'t>> {
    tx.prefix(Id::Signal, &Key::new().encoded(prefix))
}

/// The rows from key `start` to before `end`, in order.
pub fn range<'t>(
    tx: &ReadTx<'t>,
    start: &[u8],
    end: &[u8],
) -> Result<impl Iterator<Item = Result<(&'t [u8], &'t [u8])>> + use<'t>> {
    tx.range(Id::Signal, start, Some(end))
}

/// The last row whose key starts with `prefix`.
pub fn last<'t>(tx: &ReadTx<'t>, prefix: Key) -> Result<Option<(&'t [u8], &'t [u8])>> {
    let end = prefix.clone().after_prefix();
    let mut rows = tx.range_back(Id::Signal, &prefix, end.as_deref())?;
    rows.next().transpose()
}

/// Stores a row. One that is there already with that value is left alone, and costs no commit.
pub fn put(tx: &mut WriteTx<'_>, key: &[u8], value: &[u8]) -> Result<()> {
    // LMDB reports an empty key when it is stored.
    if !key.is_empty() && tx.view().get(Id::Signal, key)? == Some(value) {
        return Ok(());
    }
    tx.put(Id::Signal, key, value)
}

/// Whether the row was there.
pub fn delete(tx: &mut WriteTx<'_>, key: &[u8]) -> Result<bool> {
    tx.delete(Id::Signal, key)
}

/// Deletes the first rows that start with `prefix`, at most `limit`, and returns how many.
pub fn delete_prefix(tx: &mut WriteTx<'_>, prefix: &[u8], limit: usize) -> Result<usize> {
    tx.delete_prefix(Id::Signal, &Key::new().encoded(prefix), limit)
}

/// Deletes up to `limit` rows of an account, for a new pairing: nothing of the old one may be
/// left. Returns whether there may be more.
pub fn clear_step(tx: &mut WriteTx<'_>, account: u32, limit: usize) -> Result<bool> {
    Ok(tx.delete_prefix(Id::Signal, &Key::account(account), limit)? == limit)
}

/// Deletes up to `limit` rows of an account's sessions and sender keys, and of the devices that have them; the
/// pairing stays. Returns whether there may be more.
pub fn forget_sessions(tx: &mut WriteTx<'_>, account: u32, limit: usize) -> Result<bool> {
    let mut left = limit;
    for kind in [
        Kind::Session,
        Kind::SenderKey,
        Kind::SenderKeyDevice,
        Kind::SenderKeyDeviceGroup,
        Kind::BaseKey,
    ] {
        left -= tx.delete_prefix(Id::Signal, &key(account, kind), left)?;
        if left == 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A row that does not read back.
pub fn corrupt(key: &[u8], cause: impl std::fmt::Display) -> StoreError {
    StoreError::corrupt("signal", key, cause)
}

/// A row that cannot be written.
pub fn encode_error(cause: impl std::fmt::Display) -> StoreError {
    StoreError::Encode {
        table: "signal",
        cause: cause.to_string().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::TestStore;
    use crate::store::{accounts, purge};

    #[test]
    fn rows_of_accounts_and_kinds_are_apart() {
        let store = TestStore::new();
        store.run(|tx| {
            put(tx, &key(1, Kind::Session).text("a"), b"1s")?;
            put(tx, &key(1, Kind::Identity).text("a"), b"1i")?;
            put(tx, &key(2, Kind::Session).text("a"), b"2s")
        });
        let store = store.reopen();
        let rows = store
            .read(|tx| {
                let one = key(1, Kind::Session);
                let mut values = Vec::new();
                for row in scan(tx, &one)? {
                    values.push(row?.1.to_vec());
                }
                Ok(values)
            })
            .unwrap();
        assert_eq!(rows, [b"1s".to_vec()]);
        let last = store.read(|tx| Ok(last(tx, Key::account(1))?.map(|r| r.1.to_vec())));
        assert_eq!(last.unwrap(), Some(b"1s".to_vec()));
        while store.run(|tx| clear_step(tx, 1, 1)) {}
        let left = store.read(|tx| Ok(scan(tx, &[])?.count())).unwrap();
        assert_eq!(left, 1);
    }

    #[test]
    fn purging_is_bounded_and_ends() {
        let store = TestStore::new();
        let gone = store
            .run(|tx| accounts::create(tx, "alice", None, String::new(), 0))
            .unwrap()
            .number;
        store.run(move |tx| {
            for n in 0..25u32 {
                put(tx, &key(gone, Kind::PreKey).u32(n), b"x")?;
                put(tx, &key(gone + 1, Kind::PreKey).u32(n), b"x")?;
            }
            accounts::remove(tx, "alice")
        });
        let mut steps = 0;
        while store.run(|tx| purge::step(tx, 10)) {
            steps += 1;
        }
        assert_eq!(steps, 2);
        let left = store.read(|tx| Ok(scan(tx, &[])?.count())).unwrap();
        assert_eq!(left, 25);
    }
}
