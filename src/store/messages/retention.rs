//! Removal of the oldest messages, by age and by size.

use super::{
    Place, Result, change_at, changes, chats, counters, forget_due, id_key, load, places,
    put_counters, raw, search,
};
use crate::clock::Millis;
use crate::jid::STORIES;
use crate::message::{DeliveryStatus, Message};
use crate::store::accounts;
use crate::store::schema::{
    CHATS, EARLY_CHANGES, EXPIRING, MESSAGE_IDS, MESSAGES, MESSAGES_BY_TIME, Owner, tables_of,
};
use crate::store::tx::{ReadTx, WriteTx};
use crate::store::{media, outbox};

/// The most stories of an account that are kept: they last a day, and contacts post a few.
const STORIES_KEPT: u64 = 1_000;

/// How much is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Keep {
    /// Messages before this time are removed. One that waits for a later time counts as of that time.
    pub since: Option<Millis>,
    /// Messages that disappear at this time or before it are removed.
    pub expired: Option<Millis>,
    /// The most bytes of the database that messages, with what finds them, may take. Whole pages
    /// count, and free ones do not.
    pub bytes: Option<u64>,
}

/// What [`retention_step`] did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Removed {
    pub messages: usize,
    /// Account and number of each medium that was removed with its message: the caller deletes its file.
    pub media: Vec<(u32, u64)>,
}

/// Removes the oldest messages that are not to be kept, at most `limit`, with their media; chats
/// stay, and count on. For space, the oldest of all accounts are removed first.
pub fn retention_step(tx: &mut WriteTx<'_>, keep: Keep, limit: usize) -> Result<Removed> {
    let mut removed = Removed::default();
    let numbers: Vec<u32> = accounts::list(&tx.view())?
        .into_iter()
        .map(|account| account.number)
        .collect();
    if let Some(since) = keep.since {
        for &account in &numbers {
            while removed.messages < limit {
                match oldest(&tx.view(), account)? {
                    Some(place) if place.timestamp < since => {
                        remove_old(tx, account, place, &mut removed)?;
                    }
                    _ => break,
                }
            }
        }
    }
    if let Some(now) = keep.expired {
        for &account in &numbers {
            while removed.messages < limit
                && let Some((due, place)) = expired(&tx.view(), account, now)?
            {
                let row = place.time_key(account);
                match MESSAGES_BY_TIME.get(&tx.view(), row)? {
                    Some(chat) => remove(tx, account, Place { chat, ..place }, &mut removed)?,
                    None => {
                        EXPIRING.delete(tx, (account, due, place.sequence))?;
                    }
                }
            }
        }
    }
    if let Some(bytes) = keep.bytes {
        // The size is measured in pages, and the messages of a step take a few of them.
        let over = size(&tx.view())? > bytes;
        while over && removed.messages < limit {
            let mut candidates = Vec::new();
            for &account in &numbers {
                candidates.extend(oldest(&tx.view(), account)?.map(|place| (place, account)));
            }
            let Some((place, account)) = candidates
                .into_iter()
                .min_by_key(|(place, _)| place.timestamp)
            else {
                for &account in &numbers {
                    forget_rest(tx, account, limit)?;
                }
                return Ok(removed);
            };
            remove_old(tx, account, place, &mut removed)?;
            forget_if_empty(tx, account, place.chat)?;
        }
    }
    Ok(removed)
}

/// What [`clear_step`] did.
#[derive(Debug)]
pub struct Cleared {
    pub removed: Removed,
    /// The chat after the last step; `None` while steps are left.
    pub done: Option<chats::Chat>,
}

/// Removes a chat's messages up to the time `until`, also those that wait to be sent: at most `limit`, oldest first. After the
/// last one the chat is removed, too, if nothing is left in it and `whole` says so; the name that the owner gave a person is kept.
/// `None` if there is no such chat.
pub fn clear_step(
    tx: &mut WriteTx<'_>,
    account: u32,
    jid: &str,
    (until, whole): (Millis, bool),
    limit: usize,
) -> Result<Option<Cleared>> {
    let Some(chat) = chats::by_jid(&tx.view(), account, jid)? else {
        return Ok(None);
    };
    let mut places = Vec::new();
    for row in MESSAGES
        .scan(&tx.view(), (account, chat.number))?
        .take(limit)
    {
        let place = Place::of(&row?)?;
        if place.timestamp <= until {
            places.push(place);
        }
    }
    let mut removed = Removed::default();
    let is_done = places.len() < limit;
    for place in places {
        remove(tx, account, place, &mut removed)?;
    }
    if !is_done {
        return Ok(Some(Cleared {
            removed,
            done: None,
        }));
    }
    let mut chat = chats::of(&tx.view(), account, chat.number)?;
    if chat.message_count == 0 {
        chat.unread_count = 0;
        chat.only_failed = true;
        if whole {
            (chat.archived, chat.pinned, chat.muted_until) = (false, false, None);
        }
        chats::put(tx, account, &mut chat, None)?;
        if whole && chat.contact_name.is_none() {
            chats::forget(tx, account, &chat)?;
        }
    }
    Ok(Some(Cleared {
        removed,
        done: Some(chat),
    }))
}

/// Removes the oldest stories, unless there are no more than are kept; the ids of their media.
pub fn bound_stories(tx: &mut WriteTx<'_>, account: u32) -> Result<Vec<String>> {
    let mut removed = Removed::default();
    while let Some(chat) = chats::by_jid(&tx.view(), account, STORIES)?
        && chat.message_count > STORIES_KEPT
        && let Some(place) = first_of(&tx.view(), account, chat.number)?
    {
        remove(tx, account, place, &mut removed)?;
    }
    let ids = removed.media.iter();
    Ok(ids
        .map(|(account, number)| media::id(*account, *number))
        .collect())
}

/// Whether there are stories that an earlier version stored as messages of a chat, which do not disappear.
pub fn has_old_stories(tx: &ReadTx<'_>) -> Result<bool> {
    for account in accounts::list(tx)? {
        if old_story(tx, account.number)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Removes such stories, at most `limit`.
pub fn clear_old_stories(tx: &mut WriteTx<'_>, limit: usize) -> Result<Removed> {
    let mut removed = Removed::default();
    for account in accounts::list(&tx.view())? {
        while removed.messages < limit
            && let Some(place) = old_story(&tx.view(), account.number)?
        {
            remove(tx, account.number, place, &mut removed)?;
        }
    }
    Ok(removed)
}

fn old_story(tx: &ReadTx<'_>, account: u32) -> Result<Option<Place>> {
    let Some(chat) = chats::by_jid(tx, account, STORIES)? else {
        return Ok(None);
    };
    let Some(place) = first_of(tx, account, chat.number)? else {
        return Ok(None);
    };
    let (_, message) = load(tx, account, place)?;
    Ok(message.expires_at.is_none().then_some(place))
}

/// The oldest message of a chat.
fn first_of(tx: &ReadTx<'_>, account: u32, chat: u64) -> Result<Option<Place>> {
    let row = MESSAGES.scan(tx, (account, chat))?.next();
    row.map(|row| Place::of(&row?)).transpose()
}

/// Whether there is something that [`retention_step`] would remove.
pub fn is_over(tx: &ReadTx<'_>, keep: Keep) -> Result<bool> {
    let numbers: Vec<u32> = accounts::list(tx)?
        .into_iter()
        .map(|account| account.number)
        .collect();
    let mut some = false;
    for &account in &numbers {
        if let Some(now) = keep.expired
            && expired(tx, account, now)?.is_some()
        {
            return Ok(true);
        }
    }
    for &account in &numbers {
        let Some(place) = oldest(tx, account)? else {
            continue;
        };
        some = true;
        if keep.since.is_some_and(|since| place.timestamp < since) {
            return Ok(true);
        }
    }
    let Some(bytes) = keep.bytes else {
        return Ok(false);
    };
    if size(tx)? <= bytes {
        return Ok(false);
    }
    for account in numbers {
        some = some || has_rest(tx, account)?;
    }
    Ok(some)
}

/// Bytes of the pages that messages take in the database, with what finds them, their chats, and what
/// waits for them: all that others make the store hold.
pub fn size(tx: &ReadTx<'_>) -> Result<u64> {
    tables_of(&[Owner::Messages])
        .map(|table| tx.table_bytes(table))
        .sum()
}

/// Removes a chat that has no message any more, unless the owner's address book names it.
fn forget_if_empty(tx: &mut WriteTx<'_>, account: u32, number: u64) -> Result<bool> {
    let chat = chats::of(&tx.view(), account, number)?;
    let is_rest = is_rest(&chat);
    if is_rest {
        chats::forget(tx, account, &chat)?;
    }
    Ok(is_rest)
}

fn is_rest(chat: &chats::Chat) -> bool {
    chat.last.is_none() && chat.message_count == 0 && chat.contact_name.is_none()
}

/// Removes rows without a message: changes that wait for one, and chats without one; about
/// `limit` rows of each.
fn forget_rest(tx: &mut WriteTx<'_>, account: u32, limit: usize) -> Result<()> {
    changes::forget_all_early(tx, account, limit)?;
    for number in empty_chats(&tx.view(), account, limit)? {
        forget_if_empty(tx, account, number)?;
    }
    Ok(())
}

/// Whether [`forget_rest`] would remove something.
fn has_rest(tx: &ReadTx<'_>, account: u32) -> Result<bool> {
    let mut early = EARLY_CHANGES.scan(tx, (account,))?;
    Ok(early.next().is_some() || !empty_chats(tx, account, 1)?.is_empty())
}

fn empty_chats(tx: &ReadTx<'_>, account: u32, limit: usize) -> Result<Vec<u64>> {
    let mut found = Vec::new();
    for row in CHATS.scan(tx, (account,))? {
        let chat = row?.value()?;
        if is_rest(&chat) {
            found.push(chat.number);
        }
        if found.len() >= limit {
            break;
        }
    }
    Ok(found)
}

/// When the account's first message disappears, if it has by `now`, and its place without its chat.
fn expired(tx: &ReadTx<'_>, account: u32, now: Millis) -> Result<Option<(Millis, Place)>> {
    let Some(row) = EXPIRING.scan(tx, (account,))?.next() else {
        return Ok(None);
    };
    let row = row?;
    let (_, due, sequence) = row.parts()?;
    if due > now {
        return Ok(None);
    }
    let place = Place {
        chat: 0,
        timestamp: row.value()?,
        sequence,
    };
    Ok(Some((due, place)))
}

/// When the first message of any account disappears.
pub fn first_to_expire(tx: &ReadTx<'_>) -> Result<Option<Millis>> {
    let mut first = None;
    for account in accounts::list(tx)? {
        if let Some(row) = EXPIRING.scan(tx, (account.number,))?.next() {
            let (_, due, _) = row?.parts()?;
            first = Some(first.map_or(due, |first: Millis| first.min(due)));
        }
    }
    Ok(first)
}

/// The account's oldest message.
fn oldest(tx: &ReadTx<'_>, account: u32) -> Result<Option<Place>> {
    let mut rows = MESSAGES_BY_TIME.scan(tx, (account,))?;
    rows.next().map(|row| Place::of_time(&row?)).transpose()
}

/// Removes an old message; one that waits for a later time moves to that time.
fn remove_old(
    tx: &mut WriteTx<'_>,
    account: u32,
    place: Place,
    removed: &mut Removed,
) -> Result<()> {
    let (chat, message) = load(&tx.view(), account, place)?;
    if let Some(send_at) = waits_until(&tx.view(), account, &message)? {
        let id_key = id_key(account, &chat, &message);
        change_at(tx, account, place, &id_key, |message| {
            message.timestamp = send_at;
            true
        })?;
        removed.messages += 1;
        return Ok(());
    }
    remove(tx, account, place, removed)
}

/// Removes the message at a place with all its rows.
pub(super) fn remove(
    tx: &mut WriteTx<'_>,
    account: u32,
    place: Place,
    removed: &mut Removed,
) -> Result<()> {
    let (mut chat, message) = load(&tx.view(), account, place)?;
    MESSAGES.delete(tx, place.key(account))?;
    raw::remove(tx, account, place)?;
    MESSAGES_BY_TIME.delete(tx, place.time_key(account))?;
    forget_due(tx, account, place, &message)?;
    // An id that is used by more senders than are looked at leaves no row that leads nowhere.
    MESSAGE_IDS.delete_at(tx, &id_key(account, &chat, &message))?;
    for (at, key) in places(&tx.view(), account, &message.message_id, Some(place.chat))? {
        if at == place {
            MESSAGE_IDS.delete_at(tx, &key)?;
        }
    }
    if let Some(id) = &message.media_id {
        media::remove(tx, account, id)?;
        removed.media.extend(media::parse_id(id));
    }
    let mut counters = counters(&tx.view(), account)?;
    search::remove(tx, account, place, &message, &counters)?;
    counters.messages = counters.messages.saturating_sub(1);
    chat.message_count = chat.message_count.saturating_sub(1);
    // At most the remaining messages can be unread.
    chat.unread_count = chat.unread_count.min(chat.message_count);
    let newest = match chat.last {
        Some(_) => chats::newest(&tx.view(), account, chat.number)?,
        None => None,
    };
    put_counters(tx, account, &counters)?;
    chats::put(tx, account, &mut chat, newest)?;
    removed.messages += 1;
    Ok(())
}

/// The time at which a message is to be sent, if that is later than its own: it is not old.
fn waits_until(tx: &ReadTx<'_>, account: u32, message: &Message) -> Result<Option<Millis>> {
    if !message.from_me || message.status != Some(DeliveryStatus::Pending) {
        return Ok(None);
    }
    let entry = outbox::get(tx, account, &message.message_id)?;
    let send_at = entry.and_then(|entry| entry.send_at);
    Ok(send_at.filter(|at| *at > message.timestamp))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::MediaKind;
    use crate::message::NewMedium;
    use crate::store::media::get as medium;
    use crate::store::messages::{self, Arrival, PageQuery, insert, page};
    use crate::store::tests::{TestStore, message};

    const CHAT: &str = "491701234567@s.whatsapp.net";
    const GROUP: &str = "120363017953516826@g.us";

    fn with_accounts() -> (TestStore, u32, u32) {
        let store = TestStore::new();
        let create = |id: &'static str| {
            let made = store.run(move |tx| accounts::create(tx, id, None, String::new(), 0));
            made.unwrap().number
        };
        let (alice, bob) = (create("alice"), create("bob"));
        (store, alice, bob)
    }

    fn add(store: &TestStore, account: u32, message: Message, medium: Option<NewMedium>) {
        store.run(move |tx| {
            let medium = medium.as_ref();
            insert(tx, account, &mut message.clone(), medium, Arrival::Live)
        });
    }

    fn total(store: &TestStore, account: u32, chat: &str) -> (u64, usize) {
        let query = PageQuery {
            limit: 1_000,
            ..PageQuery::ALL
        };
        let found = store.read(|tx| page(tx, account, chat, query)).unwrap();
        (found.total, found.messages.len())
    }

    #[test]
    fn a_message_that_waits_for_a_time_is_kept_until_then() {
        let (store, alice, _) = with_accounts();
        let own = Message {
            from_me: true,
            status: Some(DeliveryStatus::Pending),
            ..message("alice", CHAT, "later", 10)
        };
        add(&store, alice, own, None);
        add(&store, alice, message("alice", CHAT, "old", 20), None);
        let entry = outbox::Entry {
            message_id: "later".into(),
            to: CHAT.into(),
            change: None,
            stage: outbox::Stage::Queued,
            created_at: 10,
            send_at: Some(5_000),
            mention_all: false,
            typing: false,
            expires_at: 6_000,
            size: 1,
            once: None,
        };
        store.run(move |tx| outbox::add(tx, alice, &entry));
        let keep = |since| Keep {
            expired: None,
            since: Some(since),
            bytes: None,
        };
        store.run(move |tx| retention_step(tx, keep(1_000), 100));
        assert_eq!(total(&store, alice, CHAT), (1, 1));
        let kept = store.read(|tx| messages::get_own(tx, alice, "later"));
        assert_eq!(kept.unwrap().unwrap().timestamp, 5_000);
        assert!(!store.read(|tx| is_over(tx, keep(5_000))).unwrap());
        store.run(move |tx| retention_step(tx, keep(5_001), 100));
        assert_eq!(total(&store, alice, CHAT), (0, 0));
    }

    #[test]
    fn old_messages_are_removed_with_all_their_rows() {
        let (store, alice, bob) = with_accounts();
        for n in 0..5 {
            add(
                &store,
                alice,
                message("alice", CHAT, &format!("A{n}"), n * 10),
                None,
            );
            add(
                &store,
                bob,
                message("bob", CHAT, &format!("A{n}"), n * 10 + 1),
                None,
            );
        }
        let own = Message {
            from_me: true,
            status: Some(DeliveryStatus::Sent),
            ..message("alice", GROUP, "G", 5)
        };
        let picture = NewMedium {
            kind: MediaKind::Image,
            look: None,
            wire_chat: GROUP.into(),
            wire_sender: None,
            mimetype: "image/png".into(),
            file_name: None,
            size: 3,
            sha256: vec![],
            remote: None,
            wanted: true,
        };
        add(&store, alice, own, Some(picture));
        let keep = Keep {
            since: Some(25),
            expired: None,
            bytes: None,
        };
        assert!(store.read(|tx| is_over(tx, keep)).unwrap());
        let mut removed = Vec::new();
        while store.read(|tx| is_over(tx, keep)).unwrap() {
            let step = store.run(move |tx| retention_step(tx, keep, 2));
            assert!((1..=2).contains(&step.messages), "{step:?}");
            removed.extend(step.media);
        }
        assert_eq!(removed, [(alice, 1)]);
        let store = store.reopen();
        assert_eq!(store.read(|tx| medium(tx, alice, 1)).unwrap(), None);
        assert_eq!(total(&store, alice, CHAT), (2, 2));
        assert_eq!(total(&store, bob, CHAT), (2, 2));
        assert_eq!(total(&store, alice, GROUP), (0, 0));
        assert_eq!(store.read(|tx| messages::count(tx, alice)).unwrap(), 2);
        let chats = store
            .read(|tx| messages::chats(tx, alice, messages::Part::of(10, 0)))
            .unwrap();
        assert_eq!((chats.total, chats.chats.len()), (1, 1));
        let chat = &chats.chats[0];
        assert_eq!((chat.message_count, chat.unread_count), (2, 2));
        assert_eq!(chat.last_message_time, Some(40));
        assert_eq!(
            store.read(|tx| messages::get(tx, alice, "A0")).unwrap(),
            None
        );
        // What comes later finds its chat again.
        add(&store, alice, message("alice", GROUP, "H", 50), None);
        assert_eq!(total(&store, alice, GROUP), (1, 1));
        let chats = store
            .read(|tx| messages::chats(tx, alice, messages::Part::of(10, 0)))
            .unwrap();
        assert_eq!(chats.total, 2);
    }

    #[test]
    fn an_id_in_many_chats_is_forgotten_in_each() {
        let (store, alice, _) = with_accounts();
        for n in 0..40u64 {
            let group = format!("{}@g.us", 1000 + n);
            add(&store, alice, message("alice", &group, "A", 100 - n), None);
        }
        let keep = Keep {
            since: Some(1_000),
            expired: None,
            bytes: None,
        };
        store.run(move |tx| retention_step(tx, keep, 100));
        assert_eq!(
            store.read(|tx| messages::get(tx, alice, "A")).unwrap(),
            None
        );
    }

    #[test]
    fn rows_without_messages_are_counted_and_removed() {
        use crate::message::{By, Change, Target};
        use crate::store::messages::{apply, set_contact_name};
        let (store, alice, _) = with_accounts();
        for n in 0..300u64 {
            let chat = format!("{}@s.whatsapp.net", 1_000_000 + n);
            add(&store, alice, message("alice", &chat, "A", n), None);
        }
        store.run(move |tx| set_contact_name(tx, alice, "1000007@s.whatsapp.net", Some("Zoe")));
        store.run(move |tx| {
            for n in 0..500u64 {
                let target = Target {
                    chat: CHAT.into(),
                    message_id: format!("M{n}"),
                    author: None,
                };
                let by = By {
                    from: CHAT.into(),
                    from_me: false,
                    timestamp: n,
                };
                let text = "x".repeat(500);
                apply(
                    tx,
                    alice,
                    "alice",
                    &target,
                    &by,
                    &Change::Edit {
                        text,
                        mentions: None,
                    },
                )?;
            }
            Ok(())
        });
        let keep = Keep {
            since: None,
            expired: None,
            bytes: Some(64 << 10),
        };
        let before = store.read(size).unwrap();
        assert!(before > 300 << 10, "{before}");
        let mut steps = 0;
        while store.read(|tx| is_over(tx, keep)).unwrap() {
            store.run(move |tx| retention_step(tx, keep, 64));
            steps += 1;
            assert!(steps < 50);
        }
        let after = store.read(size).unwrap();
        assert!(after <= 64 << 10, "{after}");
        let named = store.read(|tx| messages::names(tx, alice, "1000007@s.whatsapp.net"));
        assert_eq!(
            named.unwrap().title.as_deref(),
            Some("Zoe"),
            "the owner's word stays"
        );
    }

    #[test]
    fn excess_is_removed_from_the_oldest_of_all_accounts() {
        let (store, alice, bob) = with_accounts();
        for n in 0..100u64 {
            for (account, id, at) in [(alice, "alice", 2 * n), (bob, "bob", 2 * n + 1)] {
                let mut message = message(id, CHAT, &format!("M{n}"), at);
                message.text = Some("x".repeat(10_000));
                add(&store, account, message, None);
            }
        }
        let full = store.read(size).unwrap();
        assert!(full > 200 * 10_000, "{full}");
        let keep = Keep {
            since: None,
            expired: None,
            bytes: Some(full / 2),
        };
        let mut steps = 0;
        while store.read(|tx| is_over(tx, keep)).unwrap() {
            store.run(move |tx| retention_step(tx, keep, 8));
            steps += 1;
        }
        assert!((5..=20).contains(&steps), "{steps}");
        assert!(store.read(size).unwrap() <= full / 2);
        let (a, b) = (total(&store, alice, CHAT).0, total(&store, bob, CHAT).0);
        assert!(a.abs_diff(b) <= 4 && a > 30, "{a} and {b}");
        // What became free is used again: the same once more needs no larger file.
        let used = store.stats().map_used;
        for n in 100..150u64 {
            let mut message = message("alice", CHAT, &format!("M{n}"), 1_000 + n);
            message.text = Some("x".repeat(10_000));
            add(&store, alice, message, None);
        }
        assert_eq!(store.stats().map_used, used);
        // Nothing left to remove is no reason to go on for ever.
        let nothing = Keep {
            since: None,
            expired: None,
            bytes: Some(0),
        };
        while store.read(|tx| is_over(tx, nothing)).unwrap() {
            store.run(move |tx| retention_step(tx, nothing, 64));
        }
        assert_eq!(total(&store, alice, CHAT), (0, 0));
    }
}
