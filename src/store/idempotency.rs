//! Idempotency keys: what was answered to the first request with a key, so that the same request
//! again gets the same answer and sends nothing.
//!
//! One table, `idempotency`. All keys start with the account's number (u32) and a kind (u8):
//!
//! - name, the caller's key (text) → [`Known`], JSON.
//! - time, when it was first seen (u64), the caller's key (text) → the caller's key as bytes.
//!
//! A key is stored in the transaction that stores its message, so there is no moment at which the
//! message may go out and the key is not known.

use serde::{Deserialize, Serialize};

use super::error::StoreError;
use super::key::{Key, KeyReader};
use super::outbox;
use super::tx::{ReadTx, WriteTx};
use crate::clock::{Millis, Step};

type Result<T> = std::result::Result<T, StoreError>;

/// How long a key is remembered.
pub const LIFE: Millis = 24 * 3_600_000;

const NAME: u8 = 0;
const TIME: u8 = 1;

/// Expired keys that one new key removes: more than one, so that they become fewer.
const PRUNE: usize = 4;

/// A key that was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Known {
    /// Of the request that it came with.
    pub request: [u8; 32],
    pub at: Millis,
    /// The message that the request made.
    pub message_id: String,
    /// What was answered; `None` while nothing was.
    pub answer: Option<Answer>,
}

/// What was answered to a request that made a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Answer {
    /// WhatsApp has it, since then.
    Sent(Millis),
    /// It is in the outbox.
    Accepted { words: String, expires_at: Millis },
    /// WhatsApp does not take it.
    Refused { code: Option<u16>, words: String },
}

/// A key, if it was seen within the last [`LIFE`].
pub fn get(tx: &ReadTx<'_>, account: u32, key: &str, now: Millis) -> Result<Option<Known>> {
    let known: Option<Known> = tx.get_json(tx.tables().idempotency, &row(account, key))?;
    Ok(known.filter(|known| is_alive(known.at, now)))
}

/// A clock that was set back makes no key expire.
fn is_alive(at: Millis, now: Millis) -> bool {
    now.saturating_sub(at) < LIFE
}

/// Makes room for a key: removes some that have expired, and says until when (at the earliest)
/// there are `most` of them; `None` if there is room.
pub fn make_room(
    tx: &mut WriteTx<'_>,
    account: u32,
    most: u64,
    now: Millis,
) -> Result<Option<Millis>> {
    let by_time = tx.tables().idempotency;
    let prefix = Key::account(account).u8(TIME);
    let mut expired = Vec::new();
    let mut oldest = None;
    for found in tx.view().prefix(by_time, &prefix)?.take(PRUNE) {
        let (key, value) = found?;
        let at = key
            .get(prefix.len()..)
            .and_then(|rest| KeyReader(rest).u64())
            .ok_or_else(|| StoreError::corrupt(by_time.name, key, "not a time"))?;
        if is_alive(at, now) {
            oldest = Some(at);
            break;
        }
        let name = String::from_utf8(value.to_vec())
            .map_err(|e| StoreError::corrupt(by_time.name, key, e))?;
        expired.push(name);
    }
    for key in expired {
        forget(tx, account, &key)?;
    }
    let keys = outbox::state(&tx.view(), account)?.keys;
    Ok((keys >= most).then(|| oldest.unwrap_or(now).saturating_add(LIFE)))
}

/// Remembers a key, instead of one of that name that has expired.
pub fn put(tx: &mut WriteTx<'_>, account: u32, key: &str, known: &Known) -> Result<()> {
    forget(tx, account, key)?;
    let tables = tx.tables();
    tx.put_json(tables.idempotency, &row(account, key), known)?;
    tx.put(
        tables.idempotency,
        &time_row(account, known.at, key),
        key.as_bytes(),
    )?;
    outbox::update_state(tx, account, |state| state.keys += 1)
}

/// Says what is answered, unless something was before. Returns what counts.
pub fn answer(
    tx: &mut WriteTx<'_>,
    account: u32,
    key: &str,
    answer: &Answer,
) -> Result<Option<Answer>> {
    let table = tx.tables().idempotency;
    let row = row(account, key);
    let Some(mut known) = tx.view().get_json::<Known>(table, &row)? else {
        return Ok(None);
    };
    if known.answer.is_none() {
        known.answer = Some(answer.clone());
        tx.put_json(table, &row, &known)?;
    }
    Ok(known.answer)
}

/// Forgets a key: nothing was sent, the request may come again.
pub fn forget(tx: &mut WriteTx<'_>, account: u32, key: &str) -> Result<()> {
    let tables = tx.tables();
    let row = row(account, key);
    let Some(known) = tx.view().get_json::<Known>(tables.idempotency, &row)? else {
        return Ok(());
    };
    tx.delete(tables.idempotency, &row)?;
    tx.delete(tables.idempotency, &time_row(account, known.at, key))?;
    outbox::update_state(tx, account, |state| {
        state.keys = state.keys.saturating_sub(1);
    })
}

/// Keys that [`restamp`] moves at most: without a connection few can come, for each makes a message.
const RESTAMPED: usize = 4096;

/// Moves the times of keys along with a step of the clock, so that none expires, or lives on, by it.
pub fn restamp(tx: &mut WriteTx<'_>, account: u32, step: &Step) -> Result<()> {
    let table = tx.tables().idempotency;
    let start = Key::account(account).u8(TIME).u64(step.from);
    let end = Key::account(account)
        .u8(TIME)
        .u64(step.to.saturating_add(1));
    let mut names = Vec::new();
    for found in tx.view().range(table, &start, Some(&end))?.take(RESTAMPED) {
        let (key, value) = found?;
        names.push(
            String::from_utf8(value.to_vec())
                .map_err(|e| StoreError::corrupt(table.name, key, e))?,
        );
    }
    for name in names {
        let row = row(account, &name);
        let Some(mut known) = tx.view().get_json::<Known>(table, &row)? else {
            continue;
        };
        tx.delete(table, &time_row(account, known.at, &name))?;
        known.at = step.moved(known.at);
        if let Some(Answer::Accepted { expires_at, .. }) = &mut known.answer {
            *expires_at = expires_at.saturating_add_signed(step.by);
        }
        tx.put(table, &time_row(account, known.at, &name), name.as_bytes())?;
        tx.put_json(table, &row, &known)?;
    }
    Ok(())
}

fn row(account: u32, key: &str) -> Key {
    Key::account(account).u8(NAME).text(key)
}

fn time_row(account: u32, at: Millis, key: &str) -> Key {
    Key::account(account).u8(TIME).u64(at).text(key)
}
