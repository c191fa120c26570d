//! Idempotency keys: the answer to the first request with a key, so that the same request gets the same answer
//! again and sends nothing.
//!
//! A key is stored in the transaction that stores its message, so there is no moment at which the
//! message may go out and the key is not known.

use serde::{Deserialize, Serialize};

use super::error::Result;
use super::outbox;
use super::schema::{KEYS, KEYS_BY_TIME};
use super::tx::{ReadTx, WriteTx};
use crate::clock::{Millis, Step};

/// How long a key is remembered.
pub const LIFE: Millis = 24 * 3_600_000;

/// Expired keys that one new key removes: more than one, so that they become fewer.
const PRUNE: usize = 4;

/// A key that was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Known {
    /// The hash of the request that it came with.
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
    /// Messages of a request to several recipients are in the outbox.
    AcceptedForAll {
        results: Vec<ForOne>,
        words: String,
        expires_at: Millis,
    },
    /// WhatsApp does not take it.
    Refused { code: Option<u16>, words: String },
}

/// What one of several recipients of a request gets: a message, or the reason why not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ForOne {
    /// The recipient: a JID, or `@` and a username.
    pub to: String,
    /// The message to that chat. A chat that is named twice has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// Of an album: its images and videos, in their order. `messageId` is what they have as `albumId`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_ids: Option<Vec<String>>,
    /// Why nothing goes to this recipient.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A key, if it was seen within the last [`LIFE`].
pub fn get(tx: &ReadTx<'_>, account: u32, key: &str, now: Millis) -> Result<Option<Known>> {
    let known = KEYS.get(tx, (account, key))?;
    Ok(known.filter(|known| is_alive(known.at, now)))
}

/// A clock that was set back makes no key expire.
fn is_alive(at: Millis, now: Millis) -> bool {
    now.saturating_sub(at) < LIFE
}

/// Makes room for a key: removes some that have expired, and returns until when (at the earliest)
/// there are `most` of them; `None` if there is room.
pub fn make_room(
    tx: &mut WriteTx<'_>,
    account: u32,
    most: u64,
    now: Millis,
) -> Result<Option<Millis>> {
    let mut expired = Vec::new();
    let mut oldest = None;
    for row in KEYS_BY_TIME.scan(&tx.view(), (account,))?.take(PRUNE) {
        let row = row?;
        let (_, at, ()) = row.parts()?;
        if is_alive(at, now) {
            oldest = Some(at);
            break;
        }
        expired.push(row.value()?.to_owned());
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
    KEYS.put(tx, (account, key), known)?;
    KEYS_BY_TIME.put(tx, (account, known.at, key), key)?;
    outbox::update_state(tx, account, |state| state.keys += 1)
}

/// Stores the answer, unless there is one already. Returns the stored one.
pub fn answer(
    tx: &mut WriteTx<'_>,
    account: u32,
    key: &str,
    answer: &Answer,
) -> Result<Option<Answer>> {
    let Some(mut known) = KEYS.get(&tx.view(), (account, key))? else {
        return Ok(None);
    };
    if known.answer.is_none() {
        known.answer = Some(answer.clone());
        KEYS.put(tx, (account, key), &known)?;
    }
    Ok(known.answer)
}

/// Forgets a key: nothing was sent, the request may come again.
pub fn forget(tx: &mut WriteTx<'_>, account: u32, key: &str) -> Result<()> {
    let Some(known) = KEYS.get(&tx.view(), (account, key))? else {
        return Ok(());
    };
    KEYS.delete(tx, (account, key))?;
    KEYS_BY_TIME.delete(tx, (account, known.at, key))?;
    outbox::update_state(tx, account, |state| {
        state.keys = state.keys.saturating_sub(1);
    })
}

/// Keys that [`restamp`] moves at most: without a connection few can come, for each makes a message.
const RESTAMPED: usize = 4096;

/// Moves the times of keys along with a step of the clock, so that none expires, or lives on, by it.
pub fn restamp(tx: &mut WriteTx<'_>, account: u32, step: &Step) -> Result<()> {
    let mut names = Vec::new();
    let rows = KEYS_BY_TIME.scan_from(&tx.view(), (account, step.from), (account,))?;
    for row in rows.take(RESTAMPED) {
        let row = row?;
        if row.parts()?.1 > step.to {
            break;
        }
        names.push(row.value()?.to_owned());
    }
    for name in names {
        let Some(mut known) = KEYS.get(&tx.view(), (account, &name))? else {
            continue;
        };
        KEYS_BY_TIME.delete(tx, (account, known.at, &name))?;
        known.at = step.moved(known.at);
        if let Some(
            Answer::Accepted { expires_at, .. } | Answer::AcceptedForAll { expires_at, .. },
        ) = &mut known.answer
        {
            *expires_at = expires_at.saturating_add_signed(step.by);
        }
        KEYS_BY_TIME.put(tx, (account, known.at, &name), &name)?;
        KEYS.put(tx, (account, &name), &known)?;
    }
    Ok(())
}
