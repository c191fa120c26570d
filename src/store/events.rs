//! The event log: what happened, numbered, until it is trimmed.
//!
//! - `events`: number (u64) → a line of JSON ([`Header`]), a line feed, and the event's final JSON
//!   body, which the webhooks send as it is.
//! - `meta` `events`: [`State`], JSON.
//! - `meta` `instance`: a random text, so that event ids differ from those of another data
//!   directory, whose numbers are the same.

use std::hash::{BuildHasher, Hasher, RandomState};

use serde::{Deserialize, Serialize};

use super::error::StoreError;
use super::key::{Key, KeyReader};
use super::tx::{ReadTx, WriteTx};
use crate::clock::Millis;
use crate::event::{Event, EventKind};

type Result<T> = std::result::Result<T, StoreError>;

const STATE: &[u8] = b"events";
const INSTANCE: &[u8] = b"instance";

/// The log as a whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The number of the last event ever appended; 0 before the first.
    pub last: u64,
    /// Events up to this number were trimmed: a reader whose cursor is before it has missed some.
    pub trimmed: u64,
    /// Events in the log.
    pub count: u64,
    /// Bytes of their rows.
    pub bytes: u64,
}

#[derive(Serialize, Deserialize)]
struct Header {
    kind: EventKind,
    account: String,
    at: Millis,
}

/// An event as readers of the log get it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    pub number: u64,
    /// What `eventId` and the header `webhook-id` say.
    pub id: String,
    pub kind: EventKind,
    pub account_id: String,
    /// When it was appended.
    pub at: Millis,
    /// The JSON body.
    pub body: String,
}

/// How far [`trim_step`] trims.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Events to keep at most.
    pub count: u64,
    /// Bytes to keep at most.
    pub bytes: u64,
}

/// How much of the log is kept. A receiver that was down for longer misses the oldest events, and
/// its worker says so.
pub const KEEP: Keep = Keep {
    count: 200_000,
    bytes: 64 << 20,
};

/// Old events that one new event may push out: more than one, so that the log shrinks to its bounds
/// even after large events.
const PUSHED_OUT: usize = 4;

/// Appends an event and returns its number. Numbers count up by one in the order of commits. The
/// oldest ones go when the log is over [`KEEP`].
pub fn append(tx: &mut WriteTx<'_>, event: &Event, now: Millis) -> Result<u64> {
    let tables = tx.tables();
    let mut state = state(&tx.view())?;
    state.last += 1;
    let number = state.last;
    let encode = |e: serde_json::Error| StoreError::Encode {
        table: "events",
        cause: e.to_string().into(),
    };
    let mut row = serde_json::to_string(&Header {
        kind: event.kind(),
        account: event.account_id().to_owned(),
        at: now,
    })
    .map_err(encode)?;
    let id = event_id(&instance(tx)?, number);
    row.push('\n');
    row.push_str(&event.to_json(&id).map_err(encode)?);
    tx.put(tables.events, &Key::new().u64(number), row.as_bytes())?;
    state.count += 1;
    state.bytes += row.len() as u64;
    tx.put_json(tables.meta, STATE, &state)?;
    tx.last_event = Some(number);
    trim_step(tx, KEEP, PUSHED_OUT)?;
    Ok(number)
}

/// The log as a whole.
pub fn state(tx: &ReadTx<'_>) -> Result<State> {
    Ok(tx.get_json(tx.tables().meta, STATE)?.unwrap_or_default())
}

/// The first events after `number`, at most `limit`.
pub fn after(tx: &ReadTx<'_>, number: u64, limit: usize) -> Result<Vec<StoredEvent>> {
    let table = tx.tables().events;
    let Some(start) = number.checked_add(1) else {
        return Ok(Vec::new());
    };
    let instance = match tx.get(tx.tables().meta, INSTANCE)? {
        Some(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        None => return Ok(Vec::new()),
    };
    tx.range(table, &Key::new().u64(start), None)?
        .take(limit)
        .map(|row| {
            let (number, header, body) = parse(row?)?;
            Ok(StoredEvent {
                number,
                id: event_id(&instance, number),
                kind: header.kind,
                account_id: header.account,
                at: header.at,
                body: body.to_owned(),
            })
        })
        .collect()
}

/// Deletes the oldest events that are over the bounds, at most `limit` of them. Returns whether
/// more are.
pub fn trim_step(tx: &mut WriteTx<'_>, keep: Keep, limit: usize) -> Result<bool> {
    let table = tx.tables().events;
    let mut state = state(&tx.view())?;
    let over = |state: &State| state.count > keep.count || state.bytes > keep.bytes;
    if !over(&state) {
        return Ok(false);
    }
    let mut trimmed = Vec::new();
    for row in tx.view().prefix(table, &[])?.take(limit) {
        if !over(&state) {
            break;
        }
        let (key, bytes) = row?;
        trimmed.push(key.to_vec());
        state.count = state.count.saturating_sub(1);
        state.bytes = state.bytes.saturating_sub(bytes.len() as u64);
        state.trimmed = number_of(key)?;
    }
    if trimmed.is_empty() {
        // Counters without rows: nothing is left to trim.
        return Ok(false);
    }
    for key in &trimmed {
        tx.delete(table, key)?;
    }
    let meta = tx.tables().meta;
    tx.put_json(meta, STATE, &state)?;
    Ok(over(&state))
}

/// Looks at up to `limit` events after number `from` up to `last` and deletes those of the
/// account. Returns the number up to which it has looked.
pub(super) fn remove_of_account(
    tx: &mut WriteTx<'_>,
    account_id: &str,
    from: u64,
    last: u64,
    limit: usize,
) -> Result<u64> {
    let table = tx.tables().events;
    let mut state = state(&tx.view())?;
    let mut doomed = Vec::new();
    let mut searched = last;
    let (start, end) = (Key::new().u64(from + 1), Key::new().u64(last + 1));
    for (n, row) in tx.view().range(table, &start, Some(&end))?.enumerate() {
        let row = row?;
        let (number, header, _) = parse(row)?;
        if n == limit {
            searched = number - 1;
            break;
        }
        if header.account == account_id {
            doomed.push(row.0.to_vec());
            state.count = state.count.saturating_sub(1);
            state.bytes = state.bytes.saturating_sub(row.1.len() as u64);
        }
    }
    for key in &doomed {
        tx.delete(table, key)?;
    }
    if !doomed.is_empty() {
        let meta = tx.tables().meta;
        tx.put_json(meta, STATE, &state)?;
    }
    Ok(searched)
}

fn parse<'t>((key, bytes): (&'t [u8], &'t [u8])) -> Result<(u64, Header, &'t str)> {
    let corrupt = |cause: &str| StoreError::corrupt("events", key, cause);
    let row = std::str::from_utf8(bytes).map_err(|e| StoreError::corrupt("events", key, e))?;
    let (header, body) = row.split_once('\n').ok_or_else(|| corrupt("no body"))?;
    let header = serde_json::from_str(header).map_err(|e| StoreError::corrupt("events", key, e))?;
    Ok((number_of(key)?, header, body))
}

fn number_of(key: &[u8]) -> Result<u64> {
    KeyReader(key)
        .u64()
        .ok_or_else(|| StoreError::corrupt("events", key, "not a number"))
}

fn event_id(instance: &str, number: u64) -> String {
    format!("evt_{instance}_{number}")
}

/// Random, not secret: the keys of std's hash maps come from the system's randomness.
fn instance(tx: &mut WriteTx<'_>) -> Result<String> {
    let meta = tx.tables().meta;
    if let Some(bytes) = tx.view().get(meta, INSTANCE)? {
        return Ok(String::from_utf8_lossy(bytes).into_owned());
    }
    let instance = format!("{:016x}", RandomState::new().build_hasher().finish());
    tx.put(meta, INSTANCE, instance.as_bytes())?;
    Ok(instance)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::{TestStore, message};
    use crate::store::{accounts, purge};

    fn add(store: &TestStore, account: &'static str, count: u64) {
        store.run(move |tx| {
            for n in 0..count {
                let mut message = message(account, "1@s.whatsapp.net", &format!("M{n}"), n);
                message.text = Some("line\nfeed".into());
                append(tx, &Event::Message(message), 1000 + n)?;
            }
            Ok(())
        });
    }

    fn numbers(store: &TestStore, from: u64, limit: usize) -> Vec<u64> {
        let events = store.read(|tx| after(tx, from, limit)).unwrap();
        events.into_iter().map(|e| e.number).collect()
    }

    #[test]
    fn events_are_numbered_and_read_by_cursor() {
        let store = TestStore::new();
        assert_eq!(numbers(&store, 0, 9), [0; 0]);
        add(&store, "alice", 3);
        assert_eq!(store.last_event(), 3);
        let store = store.reopen();
        assert_eq!(store.last_event(), 3);
        add(&store, "bob", 2);
        assert_eq!(numbers(&store, 0, 9), [1, 2, 3, 4, 5]);
        assert_eq!(numbers(&store, 2, 2), [3, 4]);
        assert_eq!(numbers(&store, 5, 2), [0; 0]);
        assert_eq!(numbers(&store, u64::MAX, 2), [0; 0]);
        let event = store.read(|tx| after(tx, 3, 1)).unwrap().remove(0);
        assert_eq!((event.account_id.as_str(), event.at), ("bob", 1000));
        let body: serde_json::Value = serde_json::from_str(&event.body).unwrap();
        assert_eq!(body["event"], "message");
        assert_eq!(body["eventId"], event.id.as_str());
        assert_eq!(body["text"], "line\nfeed");
    }

    #[test]
    fn the_oldest_go_first_in_small_steps() {
        let store = TestStore::new();
        add(&store, "alice", 10);
        let keep = Keep {
            count: 4,
            bytes: u64::MAX,
        };
        assert!(store.run(move |tx| trim_step(tx, keep, 4)));
        assert!(!store.run(move |tx| trim_step(tx, keep, 4)));
        assert_eq!(numbers(&store, 0, 99), [7, 8, 9, 10]);
        let left = store.read(state).unwrap();
        assert_eq!((left.count, left.trimmed, left.last), (4, 6, 10));
        let keep = Keep {
            count: 100,
            // Two rows, and not three: their lengths differ by a digit.
            bytes: left.bytes / 2 + 50,
        };
        assert!(!store.run(move |tx| trim_step(tx, keep, 100)));
        assert_eq!(numbers(&store, 0, 99), [9, 10]);
        let keep = Keep { count: 0, bytes: 0 };
        assert!(!store.run(move |tx| trim_step(tx, keep, 100)));
        assert_eq!(numbers(&store, 0, 99), [0; 0]);
        let left = store.read(state).unwrap();
        assert_eq!((left.count, left.bytes, left.last), (0, 0, 10));
    }

    #[test]
    fn a_removed_account_leaves_no_event() {
        let store = TestStore::new();
        store.run(|tx| accounts::create(tx, "alice", None, String::new(), 0));
        add(&store, "alice", 5);
        add(&store, "bob", 2);
        store.run(|tx| accounts::remove(tx, "alice"));
        // A new account of that id keeps its own.
        add(&store, "alice", 1);
        let store = store.reopen();
        let mut steps = 0;
        while store.run(|tx| purge::step(tx, 2)) {
            steps += 1;
        }
        assert!(steps >= 2, "{steps}");
        assert_eq!(numbers(&store, 0, 99), [6, 7, 8]);
        assert_eq!(store.read(state).unwrap().count, 3);
        assert!(!store.read(purge::is_pending).unwrap());
    }

    #[test]
    fn waiting_misses_nothing() {
        let store = TestStore::new();
        let waiting = store.events_committed(0);
        add(&store, "alice", 2);
        assert_eq!(smol::block_on(waiting).unwrap(), 2);
        assert_eq!(smol::block_on(store.events_committed(1)).unwrap(), 2);
        let waiting = store.events_committed(2);
        store.close();
        assert!(matches!(smol::block_on(waiting), Err(StoreError::Closed)));
    }
}
