//! Rows with a time, and an index by it, so that a sweep costs what it deletes.

use crate::store::signal::{KEY_START, Kind};
use crate::store::{Key, ReadTx, StoreError, WriteTx, signal as rows};

/// What reading and writing the store's rows returns.
pub type Stored<T> = Result<T, StoreError>;

/// Bytes of the time, in front of a value and in a key of the index.
const TIME: usize = 8;

/// A kind of rows and its index.
#[derive(Clone, Copy)]
pub struct Expiring {
    pub rows: Kind,
    pub by_time: Kind,
}

/// Sent messages, by when they were sent.
pub const SENT: Expiring = Expiring {
    rows: Kind::SentMessage,
    by_time: Kind::SentMessageByTime,
};

/// Inbound messages that wait for their hook, by when they came.
pub const PENDING: Expiring = Expiring {
    rows: Kind::PendingInbound,
    by_time: Kind::PendingInboundByTime,
};

/// Message secrets, by their deadline.
pub const SECRETS: Expiring = Expiring {
    rows: Kind::MsgSecret,
    by_time: Kind::MsgSecretByExpiry,
};

/// Signed prekeys that the client has no use for any more, by when that was so.
pub const OLD_KEYS: Expiring = Expiring {
    rows: Kind::OldSignedPreKey,
    by_time: Kind::OldSignedPreKeyByTime,
};

impl Expiring {
    fn key(self, account: u32, id: &[u8]) -> Key {
        rows::key(account, self.rows).encoded(id)
    }

    fn index(self, account: u32, at: i64, id: &[u8]) -> Key {
        rows::key(account, self.by_time).i64(at).encoded(id)
    }

    /// The time and the value of the row of `id`, a key's encoded parts.
    pub fn get<'t>(
        self,
        tx: &ReadTx<'t>,
        account: u32,
        id: &[u8],
    ) -> Stored<Option<(i64, &'t [u8])>> {
        let key = self.key(account, id);
        rows::get(tx, &key)?
            .map(|bytes| {
                let (at, value) = bytes
                    .split_first_chunk::<TIME>()
                    .ok_or_else(|| rows::corrupt(&key, "no time"))?;
                Ok((i64::from_be_bytes(*at), value))
            })
            .transpose()
    }

    /// Stores a row in place of the one that may be there.
    pub fn put(
        self,
        tx: &mut WriteTx<'_>,
        account: u32,
        id: &[u8],
        at: i64,
        value: &[u8],
    ) -> Stored<()> {
        let before = self.get(&tx.view(), account, id)?.map(|(at, _)| at);
        if before != Some(at) {
            if let Some(before) = before {
                rows::delete(tx, &self.index(account, before, id))?;
            }
            rows::put(tx, &self.index(account, at, id), &[])?;
        }
        let mut row = Vec::with_capacity(TIME + value.len());
        row.extend_from_slice(&at.to_be_bytes());
        row.extend_from_slice(value);
        rows::put(tx, &self.key(account, id), &row)
    }

    /// Deletes the row and returns its value.
    pub fn take(self, tx: &mut WriteTx<'_>, account: u32, id: &[u8]) -> Stored<Option<Vec<u8>>> {
        let Some((at, value)) = self.get(&tx.view(), account, id)? else {
            return Ok(None);
        };
        let value = value.to_vec();
        rows::delete(tx, &self.index(account, at, id))?;
        rows::delete(tx, &self.key(account, id))?;
        Ok(Some(value))
    }

    /// The ids of the first rows with a time before `before`, at most `limit`.
    pub fn due(
        self,
        tx: &ReadTx<'_>,
        account: u32,
        before: i64,
        limit: usize,
    ) -> Stored<Vec<Vec<u8>>> {
        let start = rows::key(account, self.by_time);
        let (from, end) = (start.clone().i64(i64::MIN), start.i64(before));
        let mut due = Vec::new();
        for row in rows::range(tx, &from, &end)?.take(limit) {
            due.extend(row?.0.get(KEY_START + TIME..).map(<[u8]>::to_vec));
        }
        Ok(due)
    }

    /// Deletes the first rows with a time from `from` to before `before`, at most `limit`, and
    /// says how many.
    pub fn sweep(
        self,
        tx: &mut WriteTx<'_>,
        account: u32,
        from: i64,
        before: i64,
        limit: usize,
    ) -> Stored<usize> {
        let start = rows::key(account, self.by_time);
        let (from, end) = (start.clone().i64(from), start.i64(before));
        let mut due = Vec::new();
        for row in rows::range(&tx.view(), &from, &end)?.take(limit) {
            due.push(row?.0.to_vec());
        }
        for index in &due {
            if let Some(id) = index.get(KEY_START + TIME..) {
                rows::delete(tx, &self.key(account, id))?;
            }
            rows::delete(tx, index)?;
        }
        Ok(due.len())
    }
}
