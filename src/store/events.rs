//! The event log: numbered events, until they are trimmed.
//!
//! Of each a header is stored, and the final JSON body, which readers get as it is.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::error::{Result, StoreError};
use super::schema::{EVENT_LOG, EVENTS, INSTANCE};
use super::tx::{ReadTx, WriteTx};
use crate::clock::Millis;
use crate::event::{Event, EventKind};

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

/// An event without its body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    pub kind: EventKind,
    pub account: String,
    /// The chat that it happened in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat: Option<String>,
    /// The account itself did it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub own: bool,
    /// When it was appended.
    pub at: Millis,
}

/// An event as readers of the log get it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    pub number: u64,
    /// As in `eventId` and the header `webhook-id`.
    pub id: String,
    pub header: Header,
    /// The JSON body.
    pub body: String,
}

/// How much of the log is kept. A reader that is further behind misses the oldest events, and gets an event that
/// says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    pub age: Duration,
    /// Bytes of rows.
    pub bytes: u64,
}

impl Default for Keep {
    fn default() -> Keep {
        Keep {
            age: Duration::from_secs(7 * 24 * 60 * 60),
            bytes: 64 << 20,
        }
    }
}

/// What may be trimmed at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    pub keep: Keep,
    /// Events after this number are not too old, whatever their timestamps are.
    pub dated: u64,
}

/// Gives [`Bounds`] by how long the log has been open.
///
/// A board without a clock of its own starts at the time of its last stop, and is set right some
/// seconds later: what it has taken in until then would seem as old as the time that it was off. So
/// nothing of this run is too old before the run itself is.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    pub keep: Keep,
    pub opened: Instant,
    /// The last event of earlier runs.
    pub last_before: u64,
}

impl Run {
    /// `certain`: whether WhatsApp's server has confirmed the time. By another clock nothing is too old: a board's
    /// may say 2040.
    pub fn bounds(&self, certain: bool) -> Bounds {
        let dated = match self.opened.elapsed() >= self.keep.age {
            _ if !certain => 0,
            true => u64::MAX,
            false => self.last_before,
        };
        Bounds {
            keep: self.keep,
            dated,
        }
    }
}

/// How many events of each kind were appended; those of the account itself apart. Bounded by the number of kinds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Appended(Vec<((EventKind, bool), u64)>);

impl Appended {
    pub fn count(&mut self, kind: EventKind, own: bool) {
        self.bump((kind, own), 1);
    }

    pub fn add(&mut self, other: &Appended) {
        for (key, count) in &other.0 {
            self.bump(*key, *count);
        }
    }

    /// How many of a kind there were, by the account itself or by others.
    pub fn of(&self, kind: EventKind, own: bool) -> u64 {
        let found = self.0.iter().find(|(key, _)| *key == (kind, own));
        found.map_or(0, |(_, count)| *count)
    }

    fn bump(&mut self, key: (EventKind, bool), by: u64) {
        match self.0.iter_mut().find(|(known, _)| *known == key) {
            Some((_, count)) => *count += by,
            None => self.0.push((key, by)),
        }
    }
}

/// More numbers than any board gives in years, and few enough for JavaScript.
const SKIPPED: u64 = 1 << 32;

/// Old events that one new event may push out: more than one, so that the log shrinks to its bounds
/// even after large events.
const PUSHED_OUT: usize = 4;

/// Appends an event and returns its number. Numbers count up by one in the order of commits. The
/// oldest events are deleted while the log is over its bounds.
pub fn append(tx: &mut WriteTx<'_>, event: &Event, now: Millis) -> Result<u64> {
    let mut state = state(&tx.view())?;
    state.last += 1;
    let number = state.last;
    let encode = |e: serde_json::Error| StoreError::Encode {
        table: "events",
        cause: e.to_string().into(),
    };
    let header = Header {
        kind: event.kind(),
        account: event.account_id().to_owned(),
        chat: event.chat_id().map(str::to_owned),
        own: event.is_own(),
        at: now,
    };
    let id = event_id(&instance(tx)?, number);
    let body = event.to_json(&id).map_err(encode)?;
    let size = EVENTS.put(tx, (number,), (&header, &body))?;
    state.count += 1;
    state.bytes += size as u64;
    EVENT_LOG.put(tx, (), &state)?;
    tx.last_event = Some(number);
    tx.appended.count(event.kind(), event.is_own());
    let bounds = tx.events;
    trim_step(tx, bounds, now, PUSHED_OUT)?;
    Ok(number)
}

/// The log as a whole.
pub fn state(tx: &ReadTx<'_>) -> Result<State> {
    Ok(EVENT_LOG.get(tx, ())?.unwrap_or_default())
}

/// How much [`scan`] does at most.
#[derive(Debug, Clone, Copy)]
pub struct Most {
    /// Events found.
    pub events: usize,
    /// Bytes of their bodies; the first one found may go over it.
    pub bytes: usize,
    /// Events looked at.
    pub looks: usize,
}

/// A part of the log, looked through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scan {
    pub events: Vec<StoredEvent>,
    /// The number up to which it was looked through.
    pub to: u64,
    /// The log as a whole, at the same moment.
    pub log: State,
}

/// Looks for the first events after `number` that are `wanted`.
pub fn scan(
    tx: &ReadTx<'_>,
    number: u64,
    most: Most,
    mut wanted: impl FnMut(&Header) -> bool,
) -> Result<Scan> {
    let instance = known_instance(tx)?.unwrap_or_default();
    let (mut found, mut bytes) = (Vec::new(), 0);
    let (to, log) = rows(tx, number, most.looks, |number, header, body| {
        if found.len() >= most.events {
            return false;
        }
        if wanted(&header) {
            if bytes + body.len() > most.bytes && !found.is_empty() {
                return false;
            }
            bytes += body.len();
            found.push(stored(&instance, number, header, body));
        }
        true
    })?;
    Ok(Scan {
        events: found,
        to,
        log,
    })
}

/// Shows the events after `number` to `visit`, at most `looks` of them, as long as it takes them.
/// Returns the number up to which they were taken, and the log as a whole.
pub fn walk(
    tx: &ReadTx<'_>,
    number: u64,
    looks: usize,
    mut visit: impl FnMut(u64, &Header) -> bool,
) -> Result<(u64, State)> {
    rows(tx, number, looks, |number, header, _| {
        visit(number, &header)
    })
}

fn rows(
    tx: &ReadTx<'_>,
    number: u64,
    looks: usize,
    mut visit: impl FnMut(u64, Header, &str) -> bool,
) -> Result<(u64, State)> {
    let log = state(tx)?;
    if number >= log.last {
        return Ok((number, log));
    }
    // Not over: there are later numbers.
    for (looked, row) in EVENTS.scan_from(tx, (number + 1,), ())?.enumerate() {
        let row = row?;
        let (number,) = row.parts()?;
        let (header, body) = row.value()?;
        if looked == looks || !visit(number, header, body) {
            return Ok((number - 1, log));
        }
    }
    Ok((log.last, log))
}

/// One event.
pub fn get(tx: &ReadTx<'_>, number: u64) -> Result<Option<StoredEvent>> {
    let Some((header, body)) = EVENTS.get(tx, (number,))? else {
        return Ok(None);
    };
    let instance = known_instance(tx)?.unwrap_or_default();
    Ok(Some(stored(&instance, number, header, body)))
}

fn stored(instance: &str, number: u64, header: Header, body: &str) -> StoredEvent {
    StoredEvent {
        number,
        id: event_id(instance, number),
        header,
        body: body.to_owned(),
    }
}

/// The id that the event of that number has, has had or will have; before the first event only the
/// number is known.
pub fn id_of(tx: &ReadTx<'_>, number: u64) -> Result<String> {
    Ok(match known_instance(tx)? {
        Some(instance) => event_id(&instance, number),
        None => number.to_string(),
    })
}

/// The number in an event's id; `None` if it is no id, or of another data directory.
pub fn number_of_id(tx: &ReadTx<'_>, id: &str) -> Result<Option<u64>> {
    let number = |instance: &str| {
        let rest = id.strip_prefix("evt_")?.strip_prefix(instance)?;
        let digits = rest.strip_prefix('_')?;
        let number: u64 = digits.parse().ok()?;
        // "+1" and "01" parse, too.
        (number.to_string() == digits).then_some(number)
    };
    Ok(known_instance(tx)?.as_deref().and_then(number))
}

/// Leaves numbers out, for a data directory that was put back to an older state: those that it gave
/// to events since then must not come again. Readers know events by their numbers and ids, and would
/// take new ones for those that they have.
pub fn skip_numbers(tx: &mut WriteTx<'_>) -> Result<()> {
    let mut state = state(&tx.view())?;
    state.last += SKIPPED;
    EVENT_LOG.put(tx, (), &state).map(drop)
}

/// Deletes what this store's bounds do not keep; see [`trim_step`].
pub fn trim(tx: &mut WriteTx<'_>, now: Millis, limit: usize) -> Result<bool> {
    let bounds = tx.events;
    trim_step(tx, bounds, now, limit)
}

/// Deletes the oldest events that are over the bounds, at most `limit` of them. Returns whether
/// there may be more.
fn trim_step(tx: &mut WriteTx<'_>, bounds: Bounds, now: Millis, limit: usize) -> Result<bool> {
    let mut state = state(&tx.view())?;
    let age = u64::try_from(bounds.keep.age.as_millis()).unwrap_or(u64::MAX);
    let oldest = now.saturating_sub(age);
    let mut trimmed = Vec::new();
    let mut more = false;
    for row in EVENTS.scan(&tx.view(), ())? {
        let row = row?;
        let (number,) = row.parts()?;
        if state.bytes <= bounds.keep.bytes {
            let (header, _) = row.value()?;
            if number > bounds.dated || header.at >= oldest {
                break;
            }
        }
        if trimmed.len() == limit {
            more = true;
            break;
        }
        trimmed.push(number);
        state.count = state.count.saturating_sub(1);
        state.bytes = state.bytes.saturating_sub(row.bytes.len() as u64);
        state.trimmed = number;
    }
    delete(tx, &trimmed, &state)?;
    Ok(more)
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
    let mut state = state(&tx.view())?;
    let mut doomed = Vec::new();
    let mut searched = last;
    for (n, row) in EVENTS.scan_from(&tx.view(), (from + 1,), ())?.enumerate() {
        let row = row?;
        let (number,) = row.parts()?;
        if number > last {
            break;
        }
        if n == limit {
            searched = number - 1;
            break;
        }
        let (header, _) = row.value()?;
        if header.account == account_id {
            doomed.push(number);
            state.count = state.count.saturating_sub(1);
            state.bytes = state.bytes.saturating_sub(row.bytes.len() as u64);
        }
    }
    delete(tx, &doomed, &state)?;
    Ok(searched)
}

/// Deletes events, if there are any, and stores what the log is without them.
fn delete(tx: &mut WriteTx<'_>, numbers: &[u64], state: &State) -> Result<()> {
    for &number in numbers {
        EVENTS.delete(tx, (number,))?;
    }
    if !numbers.is_empty() {
        EVENT_LOG.put(tx, (), state)?;
    }
    Ok(())
}

fn event_id(instance: &str, number: u64) -> String {
    format!("evt_{instance}_{number}")
}

fn known_instance(tx: &ReadTx<'_>) -> Result<Option<String>> {
    Ok(INSTANCE.get(tx, ())?.map(str::to_owned))
}

/// Random, not secret: the keys of std's hash maps come from the system's randomness.
fn instance(tx: &mut WriteTx<'_>) -> Result<String> {
    if let Some(known) = known_instance(&tx.view())? {
        return Ok(known);
    }
    let instance = format!("{:016x}", RandomState::new().build_hasher().finish());
    INSTANCE.put(tx, (), &instance)?;
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

    const ALL: Most = Most {
        events: usize::MAX,
        bytes: usize::MAX,
        looks: usize::MAX,
    };

    fn numbers(store: &TestStore, from: u64, limit: usize) -> Vec<u64> {
        let most = Most {
            events: limit,
            ..ALL
        };
        let found = store.read(|tx| scan(tx, from, most, |_| true)).unwrap();
        found.events.into_iter().map(|e| e.number).collect()
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
        let event = store.read(|tx| get(tx, 4)).unwrap().unwrap();
        assert_eq!(
            (event.header.account.as_str(), event.header.at),
            ("bob", 1000)
        );
        assert_eq!(event.header.chat.as_deref(), Some("1@s.whatsapp.net"));
        assert_eq!(store.read(|tx| get(tx, 6)).unwrap(), None);
        let body: serde_json::Value = serde_json::from_str(&event.body).unwrap();
        assert_eq!(body["event"], "message");
        assert_eq!(body["eventId"], event.id.as_str());
        assert_eq!(body["text"], "line\nfeed");
    }

    #[test]
    fn a_scan_returns_the_wanted_events_and_how_far_it_looked() {
        let store = TestStore::new();
        add(&store, "alice", 10);
        add(&store, "bob", 2);
        add(&store, "alice", 1);
        let bobs = |from, most| {
            let wanted = |header: &Header| header.account == "bob";
            let found = store.read(|tx| scan(tx, from, most, wanted)).unwrap();
            let numbers: Vec<u64> = found.events.iter().map(|e| e.number).collect();
            (numbers, found.to)
        };
        assert_eq!(bobs(0, ALL), (vec![11, 12], 13));
        assert_eq!(bobs(0, Most { looks: 4, ..ALL }), (vec![], 4));
        assert_eq!(bobs(8, Most { events: 1, ..ALL }), (vec![11], 11));
        assert_eq!(bobs(0, Most { bytes: 1, ..ALL }), (vec![11], 11));
        assert_eq!(bobs(12, ALL), (vec![], 13));
        assert_eq!(bobs(13, ALL), (vec![], 13));
        assert_eq!(bobs(0, Most { looks: 0, ..ALL }), (vec![], 0));
        let mut seen = Vec::new();
        let walked = store.read(|tx| {
            walk(tx, 9, 99, |number, header| {
                seen.push((number, header.account.clone()));
                number < 11
            })
        });
        assert_eq!(walked.unwrap().0, 10);
        assert_eq!(seen, [(10, "alice".to_owned()), (11, "bob".to_owned())]);
    }

    #[test]
    fn skipped_numbers_do_not_disturb_readers() {
        let store = TestStore::new();
        add(&store, "alice", 2);
        store.run(skip_numbers);
        add(&store, "alice", 1);
        let next = SKIPPED + 3;
        assert_eq!(numbers(&store, 0, 9), [1, 2, next]);
        assert_eq!(numbers(&store, 99, 9), [next]);
        let left = store.read(state).unwrap();
        assert_eq!((left.count, left.trimmed, left.last), (3, 0, next));
        let store = store.reopen();
        assert_eq!(store.last_event(), next);
    }

    #[test]
    fn ids_are_of_one_data_directory() {
        let store = TestStore::new();
        assert_eq!(store.read(|tx| id_of(tx, 0)).unwrap(), "0");
        assert_eq!(store.read(|tx| number_of_id(tx, "evt__1")).unwrap(), None);
        add(&store, "alice", 1);
        let id = store.read(|tx| id_of(tx, 1)).unwrap();
        assert_eq!(store.read(|tx| get(tx, 1)).unwrap().unwrap().id, id);
        assert_eq!(store.read(|tx| number_of_id(tx, &id)).unwrap(), Some(1));
        let other = TestStore::new();
        add(&other, "alice", 1);
        for bad in [&id, "1", "evt_1", "", "evt_0123456789abcdef_1"] {
            assert_eq!(other.read(|tx| number_of_id(tx, bad)).unwrap(), None);
        }
        let signed = id.replace("_1", "_+1");
        assert_eq!(store.read(|tx| number_of_id(tx, &signed)).unwrap(), None);
    }

    fn bounds(age: u64, bytes: u64, dated: u64) -> Bounds {
        Bounds {
            keep: Keep {
                age: Duration::from_millis(age),
                bytes,
            },
            dated,
        }
    }

    #[test]
    fn excess_events_are_trimmed_oldest_first_in_small_steps() {
        let store = TestStore::new();
        add(&store, "alice", 10);
        let all = store.read(state).unwrap();
        // Four rows and a bit: their lengths differ by a digit.
        let four = bounds(u64::MAX, all.bytes / 10 * 4 + 50, 0);
        assert!(store.run(move |tx| trim_step(tx, four, 0, 4)));
        assert!(!store.run(move |tx| trim_step(tx, four, 0, 4)));
        assert_eq!(numbers(&store, 0, 99), [7, 8, 9, 10]);
        let left = store.read(state).unwrap();
        assert_eq!((left.count, left.trimmed, left.last), (4, 6, 10));
        let none = bounds(u64::MAX, 0, 0);
        assert!(!store.run(move |tx| trim_step(tx, none, 0, 100)));
        assert_eq!(numbers(&store, 0, 99), [0; 0]);
        let left = store.read(state).unwrap();
        assert_eq!((left.count, left.bytes, left.last), (0, 0, 10));
    }

    #[test]
    fn old_events_are_trimmed_but_none_of_this_run() {
        let store = TestStore::new();
        // Appended at 1000, 1001, …
        add(&store, "alice", 10);
        let kept = bounds(500, u64::MAX, u64::MAX);
        assert!(!store.run(move |tx| trim_step(tx, kept, 1500, 100)));
        assert_eq!(numbers(&store, 0, 1), [1]);
        assert!(!store.run(move |tx| trim_step(tx, kept, 1503, 100)));
        assert_eq!(numbers(&store, 0, 1), [4]);
        let this_run = bounds(500, u64::MAX, 5);
        assert!(!store.run(move |tx| trim_step(tx, this_run, 9_000_000, 100)));
        assert_eq!(numbers(&store, 0, 99), [6, 7, 8, 9, 10]);
        let run = |age| Run {
            keep: Keep {
                age: Duration::from_millis(age),
                bytes: 1,
            },
            opened: Instant::now(),
            last_before: 7,
        };
        assert_eq!(run(3_600_000).bounds(true).dated, 7);
        assert_eq!(run(0).bounds(true).dated, u64::MAX);
        assert_eq!(run(0).bounds(false).dated, 0);
        let uncertain = bounds(500, u64::MAX, 0);
        assert!(!store.run(move |tx| trim_step(tx, uncertain, u64::MAX, 100)));
        assert_eq!(numbers(&store, 0, 99), [6, 7, 8, 9, 10]);
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
