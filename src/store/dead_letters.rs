//! Dead letters: events that could not be delivered to a hook within the time for it. They outlive the event
//! log, until they are replayed, become too many, or are deleted with their hook or account.
//!
//! A hook's row has their number.

use serde::{Deserialize, Serialize};

use super::error::Result;
use super::events::{self, StoredEvent};
use super::messages::Part;
use super::rows::{Found, Headed};
use super::schema::DEAD_LETTERS;
use super::tx::{ReadTx, WriteTx};
use super::webhooks::{self, Progress, WebhookRecord};
use crate::clock::Millis;

/// How many dead letters a hook may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Most {
    pub count: u64,
    /// Bytes of rows; one dead letter may be larger.
    pub bytes: u64,
}

/// Bytes that are shown of a dead letter around its body, at most.
const AROUND: usize = 512;

/// A dead letter without its body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Header {
    /// The event's id.
    pub id: String,
    pub event: events::Header,
    /// When it was given up.
    pub failed_at: Millis,
    pub attempts: u32,
    /// Why the last attempt failed, in words.
    pub error: Option<String>,
    /// It is to be delivered again.
    #[serde(default)]
    pub again: bool,
}

/// A dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The event's number.
    pub number: u64,
    pub header: Header,
    /// The event's JSON body.
    pub body: String,
}

/// Why an event is given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Burial {
    /// The event's number.
    pub number: u64,
    pub attempts: u32,
    pub error: Option<String>,
}

/// The outcome of [`replay`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replay {
    /// So many dead letters will be delivered again.
    Queued(u64),
    /// There is no dead letter of that id; nothing was changed.
    Unknown(String),
}

/// Makes dead letters of events, and stores how far the hook is, in one step. The oldest ones go where
/// there are too many; returns how many, or `None` if the hook is gone.
pub fn bury(
    tx: &mut WriteTx<'_>,
    hook_id: &str,
    burials: &[Burial],
    progress: &Progress,
    most: Most,
    now: Millis,
) -> Result<Option<u64>> {
    let Some((of, mut hook)) = webhooks::find(&tx.view(), hook_id)? else {
        return Ok(None);
    };
    for burial in burials {
        let Some(event) = find(&tx.view(), hook_id, burial.number)? else {
            // It went with its account, or with the log's end.
            continue;
        };
        let header = Header {
            id: event.id,
            event: event.header,
            failed_at: now,
            attempts: burial.attempts,
            error: burial.error.clone(),
            again: false,
        };
        remove(tx, &mut hook, of, burial.number)?;
        let size = DEAD_LETTERS.put(tx, (of, burial.number), (&header, &event.body))?;
        hook.dead_count += 1;
        hook.dead_bytes += size as u64;
    }
    let dropped = drop_oldest(tx, &mut hook, of, most)?;
    hook.progress = progress.clone();
    hook.progress.missed += dropped;
    store(tx, hook)?;
    Ok(Some(dropped))
}

/// An event for a hook: from the log, or of its dead letters.
pub fn find(tx: &ReadTx<'_>, hook_id: &str, number: u64) -> Result<Option<StoredEvent>> {
    if let Some(event) = events::get(tx, number)? {
        return Ok(Some(event));
    }
    Ok(get(tx, hook_id, number)?.map(|letter| StoredEvent {
        number,
        id: letter.header.id,
        header: letter.header.event,
        body: letter.body,
    }))
}

/// One dead letter.
pub fn get(tx: &ReadTx<'_>, hook_id: &str, number: u64) -> Result<Option<DeadLetter>> {
    let Some(hook) = webhooks::number(hook_id) else {
        return Ok(None);
    };
    let row = DEAD_LETTERS.get(tx, (hook, number))?;
    Ok(row.map(|(header, body)| DeadLetter {
        number,
        header,
        body: body.to_owned(),
    }))
}

/// A part of a hook's dead letters, the oldest events first, behind an event's number; and whether there
/// are more. Of bytes their bodies count, and a little for the rest.
pub fn list(tx: &ReadTx<'_>, hook_id: &str, part: Part<u64>) -> Result<(Vec<DeadLetter>, bool)> {
    let Some(hook) = webhooks::number(hook_id) else {
        return Ok((Vec::new(), false));
    };
    let first = part.behind.map_or(0, |last| last.saturating_add(1));
    let (mut found, mut size) = (Vec::new(), 0usize);
    let rows = DEAD_LETTERS.scan_from(tx, (hook, first), (hook,))?;
    for row in rows.skip(part.skip) {
        let letter = parse(row?)?;
        size = size.saturating_add(letter.body.len() + AROUND);
        if found.len() >= part.limit || size > part.bytes && !found.is_empty() {
            return Ok((found, true));
        }
        found.push(letter);
    }
    Ok((found, false))
}

/// The first dead letters after `number` that are to be delivered again, at most `limit`, without
/// their bodies.
pub fn to_replay(
    tx: &ReadTx<'_>,
    hook_id: &str,
    number: u64,
    limit: usize,
) -> Result<Vec<(u64, Header)>> {
    let (Some(hook), Some(first)) = (webhooks::number(hook_id), number.checked_add(1)) else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for row in DEAD_LETTERS.scan_from(tx, (hook, first), (hook,))? {
        let row = row?;
        let (header, _) = row.value()?;
        if header.again {
            found.push((row.parts()?.1, header));
        }
        if found.len() >= limit {
            break;
        }
    }
    Ok(found)
}

/// Marks dead letters to be delivered again: those of these event ids, or all.
pub fn replay(tx: &mut WriteTx<'_>, hook_id: &str, ids: Option<&[String]>) -> Result<Replay> {
    let Some(hook) = webhooks::number(hook_id) else {
        return Ok(Replay::Queued(0));
    };
    let mut rows = Vec::new();
    let mut found = 0;
    match ids {
        Some(ids) => {
            for id in ids {
                let number = id.rsplit('_').next().and_then(|digits| digits.parse().ok());
                let letter = match number {
                    Some(number) => get(&tx.view(), hook_id, number)?,
                    None => None,
                };
                match letter.filter(|letter| letter.header.id == *id) {
                    Some(letter) => rows.push(letter),
                    None => return Ok(Replay::Unknown(id.clone())),
                }
                found += 1;
            }
        }
        None => {
            for row in DEAD_LETTERS.scan(&tx.view(), (hook,))? {
                let letter = parse(row?)?;
                found += 1;
                if !letter.header.again {
                    rows.push(letter);
                }
            }
        }
    }
    for mut letter in rows {
        letter.header.again = true;
        let value = (&letter.header, letter.body.as_str());
        DEAD_LETTERS.put(tx, (hook, letter.number), value)?;
    }
    recount(tx, hook_id)?;
    Ok(Replay::Queued(found))
}

/// The hook was given these; stores how far it is in the same step. Whether there is such a hook.
pub fn delivered(
    tx: &mut WriteTx<'_>,
    hook_id: &str,
    number: u64,
    progress: &Progress,
) -> Result<bool> {
    let Some((of, mut hook)) = webhooks::find(&tx.view(), hook_id)? else {
        return Ok(false);
    };
    remove(tx, &mut hook, of, number)?;
    hook.progress = progress.clone();
    store(tx, hook)?;
    Ok(true)
}

pub(super) fn remove_of_account(
    tx: &mut WriteTx<'_>,
    hook_id: &str,
    account_id: &str,
) -> Result<()> {
    let Some(hook) = webhooks::number(hook_id) else {
        return Ok(());
    };
    let mut doomed = Vec::new();
    for row in DEAD_LETTERS.scan(&tx.view(), (hook,))? {
        let row = row?;
        if row.value()?.0.event.account == account_id {
            doomed.push(row.parts()?);
        }
    }
    for key in doomed {
        DEAD_LETTERS.delete(tx, key)?;
    }
    recount(tx, hook_id)
}

/// Deletes a dead letter, if there is one.
fn remove(tx: &mut WriteTx<'_>, hook: &mut WebhookRecord, of: u64, number: u64) -> Result<()> {
    let Some(length) = DEAD_LETTERS.size(&tx.view(), (of, number))? else {
        return Ok(());
    };
    DEAD_LETTERS.delete(tx, (of, number))?;
    hook.dead_count = hook.dead_count.saturating_sub(1);
    hook.dead_bytes = hook.dead_bytes.saturating_sub(length as u64);
    Ok(())
}

fn drop_oldest(tx: &mut WriteTx<'_>, hook: &mut WebhookRecord, of: u64, most: Most) -> Result<u64> {
    let mut dropped = 0;
    while hook.dead_count > most.count.max(1) || hook.dead_bytes > most.bytes && hook.dead_count > 1
    {
        let Some(oldest) = DEAD_LETTERS.scan(&tx.view(), (of,))?.next().transpose()? else {
            break;
        };
        let (_, number) = oldest.parts()?;
        remove(tx, hook, of, number)?;
        dropped += 1;
    }
    Ok(dropped)
}

fn recount(tx: &mut WriteTx<'_>, hook_id: &str) -> Result<()> {
    let Some((of, mut hook)) = webhooks::find(&tx.view(), hook_id)? else {
        return Ok(());
    };
    (hook.dead_count, hook.dead_bytes) = (0, 0);
    for row in DEAD_LETTERS.scan(&tx.view(), (of,))? {
        hook.dead_count += 1;
        hook.dead_bytes += row?.bytes.len() as u64;
    }
    store(tx, hook)
}

fn store(tx: &mut WriteTx<'_>, hook: WebhookRecord) -> Result<()> {
    let id = hook.id.clone();
    webhooks::update(tx, &id, |row| *row = hook).map(drop)
}

fn parse(row: Found<'_, (u64, u64), Headed<Header>>) -> Result<DeadLetter> {
    let (header, body) = row.value()?;
    Ok(DeadLetter {
        number: row.parts()?.1,
        header,
        body: body.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;
    use crate::store::accounts;
    use crate::store::schema::EVENTS;
    use crate::store::tests::{TestStore, message};
    use crate::store::webhooks::NewWebhook;

    const MOST: Most = Most {
        count: 100,
        bytes: 1 << 20,
    };

    fn hook(store: &TestStore, url: &str) -> String {
        let new = NewWebhook {
            chats: None,
            ignore: None,
            url: url.to_owned(),
            account_id: None,
            events: None,
            secret: None,
            headers: None,
            local_urls: true,
        };
        store.run(move |tx| Ok(webhooks::create(tx, &new, 0)?.0.id))
    }

    fn happens(store: &TestStore, account: &'static str) -> u64 {
        store.run(move |tx| {
            let message = message(account, "1@s.whatsapp.net", "M", 1);
            events::append(tx, &Event::Message(message), 1)
        })
    }

    fn give_up(store: &TestStore, hook: &str, number: u64, most: Most) -> Option<u64> {
        let hook = hook.to_owned();
        let burial = Burial {
            number,
            attempts: 3,
            error: Some("500".to_owned()),
        };
        let progress = Progress {
            cursor: number,
            ..Progress::default()
        };
        store.run(move |tx| bury(tx, &hook, std::slice::from_ref(&burial), &progress, most, 9))
    }

    fn numbers(store: &TestStore, hook: &str) -> Vec<u64> {
        let letters = store.read(|tx| list(tx, hook, Part::of(99, 0))).unwrap().0;
        let count = store.read(|tx| webhooks::get(tx, hook)).unwrap().unwrap();
        assert_eq!(count.dead_count, letters.len() as u64);
        assert_eq!(count.dead_bytes == 0, letters.is_empty());
        letters.into_iter().map(|letter| letter.number).collect()
    }

    #[test]
    fn dead_letters_outlive_the_log_and_are_replayed() {
        let store = TestStore::new();
        let (a, b) = (hook(&store, "http://a/"), hook(&store, "http://b/"));
        for _ in 0..3 {
            happens(&store, "alice");
        }
        for number in [1, 2, 3] {
            assert_eq!(give_up(&store, &a, number, MOST), Some(0));
        }
        give_up(&store, &b, 2, MOST);
        let body = store.read(|tx| events::get(tx, 2)).unwrap().unwrap().body;
        store.run(|tx| EVENTS.delete_all(tx, (), usize::MAX));
        assert_eq!(numbers(&store, &a), [1, 2, 3]);
        let page = store.read(|tx| list(tx, &a, Part::of(1, 1))).unwrap().0;
        assert_eq!((page[0].number, &page[0].body), (2, &body));
        assert_eq!((page[0].header.attempts, page[0].header.failed_at), (3, 9));
        let found = store.read(|tx| find(tx, &a, 2)).unwrap().unwrap();
        assert_eq!(found.body, body);
        assert_eq!(store.read(|tx| find(tx, &a, 4)).unwrap(), None);

        let again = |ids: Option<Vec<String>>| {
            let a = a.clone();
            store.run(move |tx| replay(tx, &a, ids.as_deref()))
        };
        let waiting = || {
            let found = store.read(|tx| to_replay(tx, &a, 0, 99)).unwrap();
            found.into_iter().map(|it| it.0).collect::<Vec<_>>()
        };
        let unknown = again(Some(vec![found.id.clone(), "evt_x_1".to_owned()]));
        assert_eq!(unknown, Replay::Unknown("evt_x_1".to_owned()));
        assert_eq!(waiting(), [0; 0]);
        assert_eq!(again(Some(vec![found.id])), Replay::Queued(1));
        assert_eq!(waiting(), [2]);
        assert_eq!(again(None), Replay::Queued(3));
        assert_eq!(waiting(), [1, 2, 3]);
        assert_eq!(numbers(&store, &a), [1, 2, 3]);
        let id = a.clone();
        let progress = Progress::default();
        assert!(store.run(move |tx| delivered(tx, &id, 2, &progress)));
        assert_eq!(waiting(), [1, 3]);
        assert_eq!(numbers(&store, &a), [1, 3]);
        // Given up again.
        give_up(&store, &a, 3, MOST);
        assert_eq!(waiting(), [1]);
        assert_eq!(numbers(&store, &a), [1, 3]);
        assert_eq!(numbers(&store, &b), [2]);
    }

    #[test]
    fn dead_letters_are_bounded_and_removed_with_hook_and_account() {
        let store = TestStore::new();
        store.run(|tx| accounts::create(tx, "alice", None, String::new(), 0));
        let (a, b) = (hook(&store, "http://a/"), hook(&store, "http://b/"));
        for account in ["alice", "bob", "alice", "bob"] {
            let number = happens(&store, account);
            let most = Most { count: 3, ..MOST };
            let dropped = give_up(&store, &a, number, most);
            assert_eq!(dropped, Some(u64::from(number == 4)));
            give_up(&store, &b, number, Most { bytes: 1, ..MOST });
        }
        assert_eq!(numbers(&store, &a), [2, 3, 4]);
        assert_eq!(numbers(&store, &b), [4], "one may be too large");
        let missed = |hook: &str| {
            let hook = store.read(|tx| webhooks::get(tx, hook)).unwrap().unwrap();
            hook.progress.missed
        };
        assert_eq!(missed(&a), 1);
        store.run(|tx| accounts::remove(tx, "alice"));
        assert_eq!(numbers(&store, &a), [2, 4]);
        let id = b.clone();
        store.run(move |tx| webhooks::delete(tx, &id));
        assert_eq!(give_up(&store, &b, 4, MOST), None);
        assert!(
            store
                .read(|tx| list(tx, &b, Part::of(9, 0)))
                .unwrap()
                .0
                .is_empty()
        );
        assert_eq!(numbers(&store, &a), [2, 4]);
    }
}
