//! Trusted contacts' tokens: what a contact gave us, and when we gave it ours.
//!
//! Two writers meet in a row, the one that receives a token and the one that has issued ours; each
//! changes only its own half, in one transaction.

use serde::{Deserialize, Serialize};
use whatsapp_rust::wacore::store::traits::{LidPnMappingEntry, TcTokenEntry};

use super::{Backend, Result, Stored, from_json, get_json, rows, to_json};
use crate::clock::{self, Millis};
use crate::store::signal::Kind;
use crate::store::{Key, ReadTx, StoreError, WriteTx};

/// How long a token counts, as WhatsApp Web has it by default; WhatsApp can prolong it.
const TOKEN_LIFE: Millis = 28 * 24 * 3_600_000;

/// The row: the entry, and the JID that a key may hold only as a hash.
#[derive(Serialize, Deserialize)]
struct Row {
    jid: String,
    #[serde(flatten)]
    entry: TcTokenEntry,
}

fn key(account: u32, jid: &str) -> Key {
    rows::key(account, Kind::TcToken).text(jid)
}

pub fn get(tx: &ReadTx<'_>, account: u32, jid: &str) -> Stored<Option<TcTokenEntry>> {
    let row: Option<Row> = get_json(tx, &key(account, jid))?;
    Ok(row.map(|row| row.entry))
}

/// The row of that LID, else that of its number: a history that keeps its chats under numbers comes
/// with tokens that the client stores under them, and later looks for under the LIDs that it learns behind
/// them.
pub fn find(tx: &ReadTx<'_>, account: u32, user: &str) -> Stored<Option<TcTokenEntry>> {
    let found = get(tx, account, user)?;
    if found.as_ref().is_some_and(|entry| !entry.token.is_empty()) {
        return Ok(found);
    }
    let mapping: Option<LidPnMappingEntry> =
        get_json(tx, &rows::key(account, Kind::LidMapping).text(user))?;
    let Some(mapping) = mapping else {
        return Ok(found);
    };
    let by_number = get(tx, account, &mapping.phone_number)?;
    Ok(match (found, by_number) {
        (Some(found), Some(by_number)) => Some(TcTokenEntry {
            sender_timestamp: found.sender_timestamp.max(by_number.sender_timestamp),
            ..by_number
        }),
        (found, by_number) => by_number.or(found),
    })
}

/// Whether the person with that LID or number (digits) has given a token that still counts: with one,
/// WhatsApp takes a message for one in a chat that exists, and lets it through a lock.
///
/// # Errors
/// The store's.
pub fn is_trusted(
    tx: &ReadTx<'_>,
    account: u32,
    user: &str,
    now: Millis,
) -> std::result::Result<bool, StoreError> {
    let oldest = i64::try_from(now.saturating_sub(TOKEN_LIFE) / 1_000).unwrap_or(i64::MAX);
    let entry = find(tx, account, user)?;
    Ok(entry.is_some_and(|entry| !entry.token.is_empty() && entry.token_timestamp >= oldest))
}

pub fn put(tx: &mut WriteTx<'_>, account: u32, jid: &str, entry: TcTokenEntry) -> Stored<()> {
    let row = Row {
        jid: jid.to_owned(),
        entry,
    };
    rows::put(tx, &key(account, jid), &to_json(&row)?)
}

pub fn jids(tx: &ReadTx<'_>, account: u32) -> Stored<Vec<String>> {
    rows::scan(tx, &rows::key(account, Kind::TcToken))?
        .map(|row| {
            let (key, bytes) = row?;
            from_json::<Row>(key, bytes).map(|row| row.jid)
        })
        .collect()
}

/// Our token was issued at `sender_timestamp`: the time only moves forward.
pub fn touch(tx: &mut WriteTx<'_>, account: u32, jid: &str, sender_timestamp: i64) -> Stored<()> {
    let entry = match get(&tx.view(), account, jid)? {
        Some(known) => TcTokenEntry {
            sender_timestamp: known.sender_timestamp.max(Some(sender_timestamp)),
            ..known
        },
        None => TcTokenEntry {
            token: Vec::new(),
            token_timestamp: sender_timestamp,
            sender_timestamp: Some(sender_timestamp),
        },
    };
    put(tx, account, jid, entry)
}

/// A token came in: a newer one that is there already stays, a row without token does not count.
pub fn receive(
    tx: &mut WriteTx<'_>,
    account: u32,
    jid: &str,
    token: &[u8],
    token_timestamp: i64,
) -> Stored<()> {
    let known = get(&tx.view(), account, jid)?;
    if let Some(known) = &known
        && !known.token.is_empty()
        && token_timestamp < known.token_timestamp
    {
        return Ok(());
    }
    let entry = TcTokenEntry {
        token: token.to_vec(),
        token_timestamp,
        sender_timestamp: known.and_then(|known| known.sender_timestamp),
    };
    put(tx, account, jid, entry)
}

impl Backend {
    /// Deletes the tokens of which both halves are over. Looks at all, outside of the writer;
    /// there is one for each contact.
    pub(super) async fn sweep_tc_tokens(&self, token: i64, sender: i64) -> Result<u32> {
        if clock::certain().is_none() {
            return Ok(0);
        }
        let is_over = move |entry: &TcTokenEntry| {
            let has_token = !entry.token.is_empty() && entry.token_timestamp >= token;
            let has_sender = entry.sender_timestamp.is_some_and(|at| at >= sender);
            !has_token && !has_sender
        };
        let over = self.read(|tx| {
            let mut over = Vec::new();
            for row in rows::scan(tx, &self.key(Kind::TcToken))? {
                let (key, bytes) = row?;
                if is_over(&from_json::<Row>(key, bytes)?.entry) {
                    over.push(key.to_vec());
                }
            }
            Ok(over)
        })?;
        let mut deleted = 0;
        for keys in over.chunks(super::SWEEP) {
            let keys = keys.to_vec();
            deleted += self
                .write(move |tx| {
                    let mut deleted = 0;
                    for key in &keys {
                        // It may have changed since it was looked at.
                        let row: Option<Row> = get_json(&tx.view(), key)?;
                        if row.is_some_and(|row| is_over(&row.entry)) {
                            rows::delete(tx, key)?;
                            deleted += 1;
                        }
                    }
                    Ok(deleted)
                })
                .await?;
        }
        Ok(deleted)
    }
}
