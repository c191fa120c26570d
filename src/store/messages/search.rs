//! Finds messages by their words.
//!
//! The index has for each word the places of its messages, in the order of time, in blocks: a block is a row whose key is
//! the word's hash and its first place, and whose value is the way from each place to the next. The word is looked for again in
//! the message itself, so that a hash need not be unique. A new message is first noted in `search_tail`, one row at the end of
//! the table. Once the noted ones have [`BATCH`] words they go into the index together, in the transaction that stores
//! the last of them: so a page of the index is written for many messages, and no commit is added.
//!
//! Messages from before the index are added by [`index_older`], newest first.

use serde::{Deserialize, Serialize};

use super::chats::{self, Chat};
use super::{Counters, Place, Result, counters, load_in, put_counters};
use crate::clock::Millis;
use crate::message::Message;
use crate::store::accounts;
use crate::store::error::StoreError;
use crate::store::rows::{Bytes, Found};
use crate::store::schema::{MESSAGES, MESSAGES_BY_TIME, SEARCH, SEARCH_TAIL};
use crate::store::tx::{ReadTx, WriteTx};

/// Words of noted messages that go into the index together.
const BATCH: u64 = 1_024;
/// The most bytes of a block; one that grows beyond is split.
const BLOCK: usize = 256;
/// Bits of a time in a key: until the year 2109. The bits before are the hash.
const TIME_BITS: u32 = 42;

/// Timestamp and sequence of a message.
type At = (Millis, u64);

/// Which messages of an account the index has, with those that are noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Indexed {
    /// The words of noted messages.
    noted: u64,
    /// Messages with a greater sequence are indexed or noted.
    from: u64,
    /// Of the others, those from this place on.
    older: At,
}

/// What the index has, before a first message is stored or an older account's messages are looked at.
fn state(counters: &Counters) -> Indexed {
    counters.indexed.unwrap_or(Indexed {
        noted: 0,
        from: counters.sequence,
        older: (Millis::MAX, u64::MAX),
    })
}

fn is_indexed(counters: &Counters, place: Place) -> bool {
    let indexed = state(counters);
    place.sequence > indexed.from || place.id_value() >= indexed.older
}

/// Notes a new message. The counters are those before it got its sequence, and the caller stores them.
pub(super) fn prepare(counters: &mut Counters) {
    counters.indexed = Some(state(counters));
}

/// Adds a message that was just stored. The caller stores the counters.
pub(super) fn add(
    tx: &mut WriteTx<'_>,
    account: u32,
    place: Place,
    message: &Message,
    counters: &mut Counters,
) -> Result<()> {
    let words = message.search_words().len() as u64;
    if words == 0 {
        return Ok(());
    }
    note(tx, account, place)?;
    let mut indexed = state(counters);
    indexed.noted += words;
    if indexed.noted >= BATCH {
        empty_tail(tx, account)?;
        indexed.noted = 0;
    }
    counters.indexed = Some(indexed);
    Ok(())
}

fn note(tx: &mut WriteTx<'_>, account: u32, place: Place) -> Result<()> {
    let value = (place.timestamp, place.chat);
    SEARCH_TAIL
        .put(tx, (account, place.sequence), value)
        .map(drop)
}

/// Moves all noted messages into the index.
fn empty_tail(tx: &mut WriteTx<'_>, account: u32) -> Result<()> {
    let mut found = Vec::new();
    for row in SEARCH_TAIL.scan(&tx.view(), (account,))? {
        let row = row?;
        let (timestamp, chat) = row.value()?;
        let place = Place {
            chat,
            timestamp,
            sequence: row.parts()?.1,
        };
        if let Some(message) = MESSAGES.get(&tx.view(), place.key(account))? {
            let at = place.id_value();
            found.extend(message.search_words().iter().map(|word| (hash(word), at)));
        }
    }
    // Each block is near the one before it.
    found.sort_unstable();
    for (hash, at) in found {
        put(tx, account, hash, at)?;
    }
    SEARCH_TAIL.delete_all(tx, (account,), usize::MAX).map(drop)
}

/// A message changed or moved, perhaps to another chat.
pub(super) fn change(
    tx: &mut WriteTx<'_>,
    account: u32,
    (from, before): (Place, &Message),
    (to, after): (Place, &Message),
) -> Result<()> {
    if SEARCH_TAIL
        .get(&tx.view(), (account, from.sequence))?
        .is_some()
    {
        return match from == to {
            true => Ok(()),
            false => note(tx, account, to),
        };
    }
    let moved = from.id_value() != to.id_value();
    if !moved && before.searched().eq(after.searched()) {
        return Ok(());
    }
    let (was, is) = (before.search_words(), after.search_words());
    let counters = counters(&tx.view(), account)?;
    if is_indexed(&counters, from) {
        for word in was.iter().filter(|word| moved || !is.contains(word)) {
            take(tx, account, hash(word), from.id_value())?;
        }
    }
    if is_indexed(&counters, to) {
        for word in is.iter().filter(|word| moved || !was.contains(word)) {
            put(tx, account, hash(word), to.id_value())?;
        }
    }
    Ok(())
}

/// Removes a message that is being removed.
pub(super) fn remove(
    tx: &mut WriteTx<'_>,
    account: u32,
    place: Place,
    message: &Message,
    counters: &Counters,
) -> Result<()> {
    if SEARCH_TAIL.delete(tx, (account, place.sequence))? || !is_indexed(counters, place) {
        return Ok(());
    }
    for word in message.search_words() {
        take(tx, account, hash(&word), place.id_value())?;
    }
    Ok(())
}

/// Adds messages that were stored before there was an index: at most `limit` of one account. Whether there are more.
pub fn index_older(tx: &mut WriteTx<'_>, limit: usize) -> Result<bool> {
    for account in accounts::list(&tx.view())? {
        let account = account.number;
        let mut counters = counters(&tx.view(), account)?;
        let mut indexed = state(&counters);
        if indexed.older == (0, 0) || indexed.from == 0 {
            continue;
        }
        let mut found = Vec::new();
        let (mut count, mut next) = (0, (0, 0));
        let start = MESSAGES_BY_TIME.key((account,));
        let end = MESSAGES_BY_TIME.key((account, indexed.older.0, indexed.older.1));
        for row in MESSAGES_BY_TIME.range_back(&tx.view(), &start, Some(&end))? {
            if count == limit {
                break;
            }
            let place = Place::of_time(&row?)?;
            (count, next) = (count + 1, place.id_value());
            if place.sequence <= indexed.from {
                let message: Message = MESSAGES.named(&tx.view(), place.key(account))?;
                let words = message.search_words();
                found.extend(words.iter().map(|word| (hash(word), next)));
            }
        }
        let more = count == limit;
        found.sort_unstable();
        for (hash, at) in found {
            put(tx, account, hash, at)?;
        }
        indexed.older = if more { next } else { (0, 0) };
        counters.indexed = Some(indexed);
        put_counters(tx, account, &counters)?;
        return Ok(true);
    }
    Ok(false)
}

/// Whether messages from before the index are not in it yet.
pub fn is_incomplete(tx: &ReadTx<'_>) -> Result<bool> {
    for account in accounts::list(tx)? {
        let indexed = state(&counters(tx, account.number)?);
        if indexed.older != (0, 0) && indexed.from > 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// FNV-1a, folded to the bits that a key has room for.
fn hash(word: &str) -> u64 {
    let fnv = word.bytes().fold(0x811C_9DC5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    u64::from(fnv ^ (fnv >> 22)) & ((1 << (64 - TIME_BITS)) - 1)
}

/// The parts of the key of a block that begins there.
fn key(account: u32, hash: u64, (timestamp, sequence): At) -> (u32, u64, u64) {
    let time = timestamp.min((1 << TIME_BITS) - 1);
    (account, (hash << TIME_BITS) | time, sequence)
}

/// The word's last block that begins at `at` or before.
fn block(tx: &ReadTx<'_>, account: u32, hash: u64, at: At) -> Result<Option<Vec<At>>> {
    let start = SEARCH.key(key(account, hash, (0, 0)));
    let end = SEARCH.key(key(account, hash, (at.0, at.1.saturating_add(1))));
    let row = SEARCH.range_back(tx, &start, Some(&end))?.next();
    row.map(|row| decode(&row?)).transpose()
}

fn decode(row: &Found<'_, (u32, u64, u64), Bytes>) -> Result<Vec<At>> {
    let (_, packed, sequence) = row.parts()?;
    let mut at = (packed & ((1 << TIME_BITS) - 1), sequence);
    let mut found = vec![at];
    let mut bytes = row.value()?;
    while !bytes.is_empty() {
        let way = number(&mut bytes).zip(number(&mut bytes));
        let Some((time, sequence)) = way else {
            return Err(StoreError::corrupt(
                "search",
                row.key,
                "not a block of places",
            ));
        };
        // Most times are whole seconds.
        let time = if time & 1 == 0 {
            (time >> 1) * 1_000
        } else {
            time >> 1
        };
        let sequence = (sequence >> 1) as i64 ^ -((sequence & 1) as i64);
        at = (
            at.0.saturating_add(time),
            at.1.saturating_add_signed(sequence),
        );
        found.push(at);
    }
    Ok(found)
}

/// The value of a block of these places.
fn encode(places: &[At]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for pair in places.windows(2) {
        let [(time, sequence), (next_time, next)] = pair else {
            continue;
        };
        let time = next_time.saturating_sub(*time);
        let whole = time % 1_000 == 0;
        push_number(
            &mut bytes,
            if whole {
                (time / 1_000) << 1
            } else {
                (time << 1) | 1
            },
        );
        let way = next.wrapping_sub(*sequence) as i64;
        push_number(&mut bytes, ((way << 1) ^ (way >> 63)) as u64);
    }
    bytes
}

/// LEB128.
fn push_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number > 0x7F {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn store(tx: &mut WriteTx<'_>, account: u32, hash: u64, places: &[At]) -> Result<()> {
    match places.first() {
        Some(first) => SEARCH
            .put(tx, key(account, hash, *first), &encode(places))
            .map(drop),
        None => Ok(()),
    }
}

/// Adds a place to a word.
fn put(tx: &mut WriteTx<'_>, account: u32, hash: u64, at: At) -> Result<()> {
    let mut places = match block(&tx.view(), account, hash, at)? {
        Some(places) => places,
        // It is older than all: it comes before them in the first block.
        None => first_block(tx, account, hash)?,
    };
    let Err(index) = places.binary_search(&at) else {
        return Ok(());
    };
    places.insert(index, at);
    if encode(&places).len() <= BLOCK {
        return store(tx, account, hash, &places);
    }
    // What comes in the order of time leaves full blocks behind.
    let middle = match index + 1 == places.len() {
        true => index,
        false => places.len() / 2,
    };
    store(tx, account, hash, &places[..middle])?;
    store(tx, account, hash, &places[middle..])
}

/// Takes the word's first block out.
fn first_block(tx: &mut WriteTx<'_>, account: u32, hash: u64) -> Result<Vec<At>> {
    let view = tx.view();
    let start = key(account, hash, (0, 0));
    let first = match SEARCH
        .scan_from(&view, start, (account,))?
        .next()
        .transpose()?
    {
        Some(row) if row.parts()?.1 >> TIME_BITS == hash => decode(&row)?,
        Some(_) | None => return Ok(Vec::new()),
    };
    if let Some(at) = first.first() {
        SEARCH.delete(tx, key(account, hash, *at))?;
    }
    Ok(first)
}

/// Removes a place of a word.
fn take(tx: &mut WriteTx<'_>, account: u32, hash: u64, at: At) -> Result<()> {
    let Some(mut places) = block(&tx.view(), account, hash, at)? else {
        return Ok(());
    };
    if let Ok(index) = places.binary_search(&at) {
        if index == 0 {
            SEARCH.delete(tx, key(account, hash, at))?;
        }
        places.remove(index);
        store(tx, account, hash, &places)?;
    }
    Ok(())
}

/// What messages are to be found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// As [`Message::search_words`] has them; a message has all of them.
    pub words: Vec<String>,
    /// The JIDs of a chat.
    pub chat: Option<String>,
    /// The sender's JID.
    pub from: Option<String>,
    /// The word in `type`.
    pub kind: Option<String>,
    /// Not before, and before: Unix milliseconds.
    pub after: Option<Millis>,
    pub before: Option<Millis>,
}

impl Wanted {
    fn takes(&self, message: &Message) -> bool {
        let is = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|w| w == found);
        let is_from = self.from.as_ref().is_none_or(|from| {
            *from == message.sender || message.sender_lid.as_ref() == Some(from)
        });
        is_from && is(&self.kind, message.kind.name()) && {
            let words = message.search_words();
            self.words
                .iter()
                .all(|word| words.binary_search(word).is_ok())
        }
    }
}

/// A search under way: first the noted messages, then the index, newest first.
#[derive(Debug)]
pub struct Search {
    wanted: Wanted,
    chat: Option<u64>,
    /// The place at which to go on, inclusive.
    at: At,
    /// Not before this place.
    end: At,
    /// The sequence of the next noted message to look at; `None` once all were.
    tail: Option<u64>,
    /// Places of noted messages, the newest last.
    noted: Vec<At>,
}

impl Search {
    /// Begins behind `behind`. `None` if the chat is not known: nothing is found then.
    pub fn new(
        tx: &ReadTx<'_>,
        account: u32,
        wanted: Wanted,
        behind: Option<At>,
    ) -> Result<Option<Search>> {
        let chat = match &wanted.chat {
            None => None,
            Some(jid) => match chats::by_jid(tx, account, jid)? {
                Some(chat) => Some(chat.number),
                None => return Ok(None),
            },
        };
        let before = wanted.before.map(|time| (time, 0));
        let start = [behind, before].into_iter().flatten().min();
        Ok(Some(Search {
            chat,
            at: start.map_or((Millis::MAX >> 1, u64::MAX), previous),
            end: (wanted.after.unwrap_or(0), 0),
            tail: Some(0),
            noted: Vec::new(),
            wanted,
        }))
    }

    /// Looks at some messages, about `looks`; gives those that are found, newest first, each with its place. `None` once there are
    /// no more.
    pub fn step(
        &mut self,
        tx: &ReadTx<'_>,
        account: u32,
        looks: usize,
    ) -> Result<Option<Vec<(At, Message)>>> {
        if let Some(from) = self.tail {
            self.look_at_tail(tx, account, from, looks)?;
            return Ok(Some(Vec::new()));
        }
        let mut found = Vec::new();
        let mut lists: Vec<List> = self
            .wanted
            .words
            .iter()
            .map(|word| List::new(hash(word)))
            .collect();
        for _ in 0..looks {
            let noted = loop {
                match self.noted.last() {
                    Some(at) if *at > self.at => drop(self.noted.pop()),
                    at => break at.copied(),
                }
            };
            let indexed = match lists.is_empty() {
                true => newest_until(tx, account, self.at)?,
                false => common(tx, account, &mut lists, self.at)?,
            };
            let Some(at) = noted.max(indexed).filter(|at| *at >= self.end) else {
                self.at = (0, 0);
                return Ok((!found.is_empty()).then_some(found));
            };
            if let Some(message) = self.taken(tx, account, at)? {
                found.push((at, message));
            }
            match at {
                (0, 0) => return Ok(Some(found)),
                at => self.at = previous(at),
            }
        }
        Ok(Some(found))
    }

    /// The place behind which the next step of the search continues.
    pub fn place(&self) -> At {
        (self.at.0, self.at.1.saturating_add(1))
    }

    fn look_at_tail(
        &mut self,
        tx: &ReadTx<'_>,
        account: u32,
        from: u64,
        looks: usize,
    ) -> Result<()> {
        self.tail = None;
        if self.wanted.words.is_empty() {
            return Ok(());
        }
        for (count, row) in SEARCH_TAIL
            .scan_from(tx, (account, from), (account,))?
            .enumerate()
        {
            let row = row?;
            let sequence = row.parts()?.1;
            if count == looks {
                self.tail = Some(sequence);
                return Ok(());
            }
            let at = (row.value()?.0, sequence);
            if (self.end..=self.at).contains(&at) && self.taken(tx, account, at)?.is_some() {
                self.noted.push(at);
            }
        }
        self.noted.sort_unstable();
        Ok(())
    }

    /// The message at a place, if it is one of those wanted.
    fn taken(&self, tx: &ReadTx<'_>, account: u32, at: At) -> Result<Option<Message>> {
        let Some(chat) = MESSAGES_BY_TIME.get(tx, (account, at.0, at.1))? else {
            return Ok(None);
        };
        if self.chat.is_some_and(|wanted| wanted != chat) {
            return Ok(None);
        }
        let place = Place {
            chat,
            timestamp: at.0,
            sequence: at.1,
        };
        let chat: Chat = chats::of(tx, account, chat)?;
        if chat.is_stories() && self.chat.is_none() {
            return Ok(None);
        }
        let message = load_in(tx, account, &chat, place)?;
        Ok(self.wanted.takes(&message).then_some(message))
    }
}

/// The newest message at that place or before.
fn newest_until(tx: &ReadTx<'_>, account: u32, at: At) -> Result<Option<At>> {
    let start = MESSAGES_BY_TIME.key((account,));
    let end = MESSAGES_BY_TIME.key((account, at.0, at.1.saturating_add(1)));
    let row = MESSAGES_BY_TIME.range_back(tx, &start, Some(&end))?.next();
    row.map(|row| Ok(Place::of_time(&row?)?.id_value()))
        .transpose()
}

/// The last place at `at` or before that all words have.
fn common(tx: &ReadTx<'_>, account: u32, lists: &mut [List], mut at: At) -> Result<Option<At>> {
    loop {
        let wanted = at;
        for list in &mut *lists {
            match list.until(tx, account, at)? {
                Some(found) => at = found,
                None => return Ok(None),
            }
        }
        if at == wanted {
            return Ok(Some(at));
        }
    }
}

/// The places of one word, from the newest on.
struct List {
    hash: u64,
    /// The block that was read last; places are asked for from the newest on.
    block: Vec<At>,
}

impl List {
    fn new(hash: u64) -> List {
        List {
            hash,
            block: Vec::new(),
        }
    }

    /// The last place at `at` or before.
    fn until(&mut self, tx: &ReadTx<'_>, account: u32, at: At) -> Result<Option<At>> {
        if self.block.first().is_none_or(|first| *first > at) {
            self.block = block(tx, account, self.hash, at)?.unwrap_or_default();
        }
        let index = self.block.partition_point(|place| *place <= at);
        Ok(index.checked_sub(1).map(|index| self.block[index]))
    }
}

fn previous((timestamp, sequence): At) -> At {
    match sequence.checked_sub(1) {
        Some(sequence) => (timestamp, sequence),
        None => (timestamp.saturating_sub(1), u64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Arrival, apply, insert, link, mark_sent, size};
    use super::*;
    use crate::message::{Author, By, Change, DeliveryStatus, Target, folded_words};
    use crate::store::key::Key;
    use crate::store::messages::{Keep, retention_step};
    use crate::store::schema::Id;
    use crate::store::tests::{TestStore, message};

    const ALICE: u32 = 1;
    const BOB: &str = "491700000002@s.whatsapp.net";
    const GROUP: &str = "120363017953516826@g.us";
    const HOUR: u64 = 3_600_000;

    fn text(chat: &str, id: &str, timestamp: u64, text: &str) -> Message {
        Message {
            text: Some(text.to_owned()),
            ..message("alice", chat, id, timestamp)
        }
    }

    fn with_account() -> TestStore {
        let store = TestStore::new();
        store.run(|tx| accounts::create(tx, "alice", None, String::new(), 0));
        store
    }

    fn add_all(store: &TestStore, messages: Vec<Message>) {
        store.run(move |tx| {
            for message in &messages {
                insert(tx, ALICE, &mut message.clone(), None, Arrival::Live)?;
            }
            Ok(())
        });
    }

    fn find(store: &TestStore, wanted: &Wanted) -> Vec<String> {
        store
            .read(|tx| {
                let mut found = Vec::new();
                let mut behind = None;
                // Two a page, each page a search of its own.
                loop {
                    let Some(mut search) = Search::new(tx, ALICE, wanted.clone(), behind)? else {
                        return Ok(found);
                    };
                    let mut page: Vec<(At, Message)> = Vec::new();
                    while page.len() < 2
                        && let Some(more) = search.step(tx, ALICE, 3)?
                    {
                        page.extend(more);
                    }
                    page.truncate(2);
                    match page.last() {
                        Some((at, _)) => behind = Some(*at),
                        None => return Ok(found),
                    }
                    found.extend(page.into_iter().map(|(_, message)| message.message_id));
                }
            })
            .expect("read")
    }

    fn words(text: &str) -> Wanted {
        Wanted {
            words: folded_words([text].into_iter()),
            ..Wanted::default()
        }
    }

    #[test]
    fn messages_are_found_by_words_newest_first() {
        let store = with_account();
        let mut film = text(GROUP, "C", 3 * HOUR, "");
        film.text = None;
        film.caption = Some("Die Rechnung, bitte".to_owned());
        film.media_file_name = Some("MAI_2026.pdf".to_owned());
        add_all(
            &store,
            vec![
                text(BOB, "A", HOUR, "the invoice for May is paid"),
                text(BOB, "B", 2 * HOUR, "INVOICE, invoice: may I?"),
                film,
                text(GROUP, "D", 4 * HOUR, "no words of it"),
            ],
        );
        assert_eq!(find(&store, &words("invoice")), ["B", "A"]);
        assert_eq!(find(&store, &words("May Invoice")), ["B", "A"]);
        assert_eq!(find(&store, &words("paid invoice")), ["A"]);
        assert_eq!(find(&store, &words("rechnung mai")), ["C"]);
        assert_eq!(find(&store, &words("invo")), [""; 0]);
        let of = |change: fn(&mut Wanted)| {
            let mut wanted = words("invoice");
            change(&mut wanted);
            find(&store, &wanted)
        };
        assert_eq!(of(|w| w.after = Some(2 * HOUR)), ["B"]);
        assert_eq!(of(|w| w.before = Some(2 * HOUR)), ["A"]);
        assert_eq!(of(|w| w.chat = Some(GROUP.into())), [""; 0]);
        assert_eq!(of(|w| w.chat = Some("1@s.whatsapp.net".into())), [""; 0]);
        assert_eq!(of(|w| w.kind = Some("image".into())), [""; 0]);
        let mut all = words("");
        all.chat = Some(GROUP.into());
        assert_eq!(find(&store, &all), ["D", "C"]);
    }

    #[test]
    fn what_changes_is_found_as_it_is_now() {
        let store = with_account();
        let lid = "123@lid";
        let mut own = text(BOB, "own", 5 * HOUR, "own words");
        own.from_me = true;
        own.status = Some(DeliveryStatus::Pending);
        add_all(
            &store,
            vec![
                text(BOB, "A", HOUR, "first words"),
                text(BOB, "B", 2 * HOUR, "gone words"),
                text(lid, "L", 3 * HOUR, "hidden words"),
                own,
            ],
        );
        let change = |id: &str, change: Change| {
            let target = Target {
                chat: BOB.into(),
                message_id: id.into(),
                author: Some(Author::Them(None)),
            };
            let by = By {
                from: BOB.into(),
                from_me: false,
                timestamp: 9 * HOUR,
            };
            store.run(move |tx| apply(tx, ALICE, "alice", &target, &by, &change));
        };
        // Once while they are noted, once in the index.
        for (round, new) in [(0, "second words"), (1, "third words")] {
            change(
                "A",
                Change::Edit {
                    text: new.into(),
                    mentions: None,
                },
            );
            assert_eq!(find(&store, &words(new)), ["A"]);
            store.run(|tx| empty_tail(tx, ALICE));
            assert_eq!(find(&store, &words("words")).len(), 4 - round, "{new}");
            change("B", Change::Delete);
        }
        assert_eq!(find(&store, &words("first")), [""; 0]);
        assert_eq!(find(&store, &words("second")), [""; 0]);
        assert_eq!(find(&store, &words("gone")), [""; 0]);
        store.run(move |tx| link(tx, ALICE, lid, BOB));
        store.run(|tx| mark_sent(tx, ALICE, "own", 6 * HOUR));
        assert_eq!(find(&store, &words("words")), ["own", "L", "A"]);
        let mut here = words("words");
        here.chat = Some(BOB.into());
        assert_eq!(find(&store, &here), ["own", "L", "A"]);
        let keep = Keep {
            expired: None,
            since: Some(6 * HOUR),
            bytes: None,
        };
        store.run(move |tx| retention_step(tx, keep, 100));
        assert_eq!(find(&store, &words("words")), ["own"]);
        let keep = Keep {
            expired: None,
            since: Some(7 * HOUR),
            bytes: None,
        };
        store.run(move |tx| retention_step(tx, keep, 100));
        let rows = |tx: &ReadTx<'_>| Ok(SEARCH.scan(tx, (ALICE,))?.count());
        assert_eq!(store.read(rows).expect("read"), 0);
    }

    /// Words as people use them: few of them often.
    fn some_words(random: &mut fastrand::Rng, count: usize) -> String {
        let word = |random: &mut fastrand::Rng| {
            let rank = 1.0 / (random.f64() + 0.000_05);
            format!("w{}", rank as u64)
        };
        let words: Vec<String> = (0..count).map(|_| word(random)).collect();
        words.join(" ")
    }

    #[test]
    fn the_index_finds_what_looking_at_all_finds_in_whatever_order_they_came() {
        let store = with_account();
        let mut random = fastrand::Rng::with_seed(7);
        let mut all = Vec::new();
        for n in 0..400_u64 {
            let said = some_words(&mut random, 5);
            // Live ones, then a history from the newest to the oldest.
            let timestamp = if n < 150 {
                2_000_000 + n
            } else {
                1_000_000 - n
            } * 1_000
                + n % 3;
            let chat = if n % 4 == 0 { GROUP } else { BOB };
            all.push(text(chat, &format!("M{n}"), timestamp, &said));
        }
        add_all(&store, all.clone());
        // An account of the time before the index, with some new messages since.
        for older in [false, true] {
            if older {
                store.run(|tx| {
                    tx.delete_prefix(Id::Search, &Key::new(), usize::MAX)?;
                    let mut counters = counters(&tx.view(), ALICE)?;
                    counters.indexed = None;
                    put_counters(tx, ALICE, &counters)
                });
                let new: Vec<Message> = (0..50)
                    .map(|n| text(BOB, &format!("N{n}"), 3_000_000_000 + n, "w1 new"))
                    .collect();
                add_all(&store, new.clone());
                all.extend(new);
                assert!(store.read(is_incomplete).expect("read"));
                assert_eq!(find(&store, &words("w1 new")).len(), 50);
                while store.run(|tx| index_older(tx, 64)) {}
                assert!(!store.read(is_incomplete).expect("read"));
            }
            all.sort_by_key(|m| std::cmp::Reverse((m.timestamp, m.message_id.clone())));
            for wanted in [
                "w1", "w2", "w1 w2", "w3 w1 w4", "w17", "w99", "w2 w41", "w0",
            ] {
                let mut expected: Vec<&str> = Vec::new();
                let looked_for = words(wanted).words;
                for message in &all {
                    let has = message.search_words();
                    if looked_for.iter().all(|word| has.contains(word)) {
                        expected.push(&message.message_id);
                    }
                }
                assert_eq!(find(&store, &words(wanted)), expected, "{wanted}");
            }
        }
    }

    #[test]
    fn the_index_takes_a_part_of_what_the_messages_take() {
        const MESSAGES: u64 = 10_000;
        let store = with_account();
        let mut random = fastrand::Rng::with_seed(8);
        for batch in 0..MESSAGES / 500 {
            let some = (0..500_u64).map(|n| {
                let n = batch * 500 + n;
                let count = random.usize(1..17);
                let said = some_words(&mut random, count);
                text(BOB, &format!("3EB0{n:016}"), n * 60_000, &said)
            });
            add_all(&store, some.collect());
        }
        let (index, all) = store
            .read(|tx| Ok((tx.table_bytes(Id::Search)?, size(tx)?)))
            .expect("read");
        let each = index / MESSAGES;
        println!("{each} bytes of index a message of {}", all / MESSAGES);
        assert!(each < 128, "{each}");
        assert!(index < all / 6, "{index} of {all}");
    }

    #[test]
    fn hostile_messages_cost_a_bounded_number_of_rows() {
        let store = with_account();
        let many: String = (0..9_000).map(|n| format!("x{n} ")).collect();
        let all = (0..20).map(|n| text(BOB, &format!("H{n}"), n * 1_000, &many));
        add_all(&store, all.collect());
        let rows = |tx: &ReadTx<'_>| Ok(SEARCH.scan(tx, (ALICE,))?.count());
        assert!(store.read(rows).expect("read") <= 128);
        assert_eq!(find(&store, &words("x0 x100")).len(), 20);
        // As many words as a request may have, none of them there.
        assert_eq!(find(&store, &words(&many.replace('x', "y"))), [""; 0]);
    }
}
