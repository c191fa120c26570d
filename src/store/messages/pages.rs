//! Lists of messages and chats, newest first, at a cost in proportion to what they show and skip.

use std::collections::hash_map::Entry;
use std::collections::{BinaryHeap, HashMap};
use std::{fmt, io};

use serde::Serialize;

use super::chats::{self, Chat, ChatSummary, LastMessage};
use super::{Place, Result, counters, load_in};
use crate::clock::{self, Millis};
use crate::jid::STORIES;
use crate::message::Message;
use crate::store::schema::{CHATS_BY_TIME, MESSAGES, MESSAGES_BY_TIME};
use crate::store::tx::ReadTx;
use crate::store::usernames;

/// Where a page ended, so that the next one begins behind it whatever has arrived meanwhile. Its text is
/// three numbers with dots between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    pub timestamp: Millis,
    /// The message's sequence, or the chat's number.
    pub number: u64,
    /// 0 where a list is of one account.
    pub account: u32,
}

impl Cursor {
    /// Of a text that this type has given out.
    pub fn parse(text: &str) -> Option<Cursor> {
        let mut parts = text.splitn(3, '.');
        Some(Cursor {
            timestamp: parts.next()?.parse().ok()?,
            number: parts.next()?.parse().ok()?,
            account: parts.next()?.parse().ok()?,
        })
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.timestamp, self.number, self.account)
    }
}

/// Which part of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part<C = Cursor> {
    pub limit: usize,
    /// How many to leave out, behind `behind`.
    pub skip: usize,
    /// Bytes of JSON; the first entry may be larger.
    pub bytes: usize,
    pub behind: Option<C>,
}

impl<C> Part<C> {
    /// So many entries, whatever their size.
    pub fn of(limit: usize, skip: usize) -> Part<C> {
        Part {
            limit,
            skip,
            bytes: usize::MAX,
            behind: None,
        }
    }
}

/// Counts what a page may still show.
#[derive(Debug)]
pub struct Room {
    entries: usize,
    bytes: usize,
    empty: bool,
}

impl Room {
    pub fn new(entries: usize, bytes: usize) -> Room {
        Room {
            entries,
            bytes,
            empty: true,
        }
    }

    /// Whether an entry fits, whatever its size.
    pub fn has_some(&self) -> bool {
        self.entries > 0
    }

    /// Takes room for an entry, if there is some: the first one always fits.
    pub fn take(&mut self, entry: &impl Serialize) -> bool {
        // The comma counts.
        let size = json_size(entry).saturating_add(1);
        if self.entries == 0 || size > self.bytes && !self.empty {
            return false;
        }
        self.entries -= 1;
        self.bytes = self.bytes.saturating_sub(size);
        self.empty = false;
        true
    }
}

/// Bytes of the JSON of a value.
fn json_size(value: &impl Serialize) -> usize {
    struct Counter(usize);
    impl io::Write for Counter {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut counter = Counter(0);
    match serde_json::to_writer(&mut counter, value) {
        Ok(()) => counter.0,
        Err(_) => usize::MAX,
    }
}

/// Which messages of a chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageQuery {
    pub limit: usize,
    /// How many of the newest to leave out.
    pub offset: usize,
    /// Only messages before this time, which is not included.
    pub before: Option<Millis>,
    /// Only messages after this time, which is not included.
    pub after: Option<Millis>,
    /// Bytes of JSON that the page shows; the first message may be larger.
    pub bytes: usize,
    /// Only messages behind this one.
    pub behind: Option<Cursor>,
}

impl PageQuery {
    /// All messages on one page.
    pub const ALL: PageQuery = PageQuery {
        limit: usize::MAX,
        offset: 0,
        before: None,
        after: None,
        bytes: usize::MAX,
        behind: None,
    };
}

/// Messages, newest first.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    pub messages: Vec<Message>,
    /// All messages of the chat or accounts, whatever `before` and `after` are: to count those
    /// would cost as much as to read them.
    pub total: u64,
    /// Where the page ended, if there are more.
    pub next: Option<Cursor>,
}

impl Page {
    /// Whether there is more behind it.
    pub fn has_more(&self) -> bool {
        self.next.is_some()
    }
}

/// Chats, the one with the newest message first.
#[derive(Debug, Clone, PartialEq)]
pub struct ChatPage {
    pub chats: Vec<ChatSummary>,
    pub total: u64,
    /// Where the page ended, if there are more.
    pub next: Option<Cursor>,
}

impl ChatPage {
    /// Whether there is more behind it.
    pub fn has_more(&self) -> bool {
        self.next.is_some()
    }
}

/// A page of a chat; empty if there is no chat of that JID.
pub fn page(tx: &ReadTx<'_>, account: u32, jid: &str, query: PageQuery) -> Result<Page> {
    let mut page = Page {
        messages: Vec::new(),
        total: 0,
        next: None,
    };
    let Some(chat) = chats::by_jid(tx, account, jid)? else {
        return Ok(page);
    };
    page.total = chat.message_count;
    let after = query.after.map_or(0, |after| after.saturating_add(1));
    let start = MESSAGES.key((account, chat.number, after));
    let before = query
        .before
        .map(|before| MESSAGES.key((account, chat.number, before)));
    let behind = query
        .behind
        .map(|last| MESSAGES.key((account, chat.number, last.timestamp, last.number)));
    let end = match (before, behind) {
        (Some(a), Some(b)) => Some(if *a < *b { a } else { b }),
        (a, b) => a
            .or(b)
            .or_else(|| MESSAGES.key((account, chat.number)).after_prefix()),
    };
    if end.as_ref().is_some_and(|end| **end <= *start) {
        return Ok(page);
    }
    let rows = MESSAGES.range_back(tx, &start, end.as_deref())?;
    let mut room = Room::new(query.limit, query.bytes);
    let mut last = None;
    for row in rows.skip(query.offset) {
        let row = row?;
        let message = match room.has_some() {
            true => {
                let mut message = row.value()?;
                chat.make_canonical(tx, account, &mut message)?;
                Some(message)
            }
            false => None,
        };
        match message {
            Some(message) if room.take(&message) => {
                let place = Place::of(&row)?;
                last = Some(Cursor {
                    timestamp: place.timestamp,
                    number: place.sequence,
                    account: 0,
                });
                page.messages.push(message);
            }
            _ => {
                page.next = last;
                break;
            }
        }
    }
    Ok(page)
}

/// An account's messages after the place `after` (timestamp and sequence), the oldest first, each with
/// its place: at most `limit`, and `bytes` of JSON, which the first one may exceed.
pub fn oldest_first(
    tx: &ReadTx<'_>,
    account: u32,
    after: Option<(Millis, u64)>,
    limit: usize,
    bytes: usize,
) -> Result<Vec<((Millis, u64), Message)>> {
    let (timestamp, sequence) = after.unwrap_or_default();
    let start = (
        account,
        timestamp,
        sequence.saturating_add(u64::from(after.is_some())),
    );
    let mut found = Vec::new();
    let mut room = Room::new(limit, bytes);
    for row in MESSAGES_BY_TIME.scan_from(tx, start, (account,))? {
        if !room.has_some() {
            break;
        }
        let place = Place::of_time(&row?)?;
        let chat = chats::of(tx, account, place.chat)?;
        let message = load_in(tx, account, &chat, place)?;
        if !room.take(&message) {
            break;
        }
        found.push((place.id_value(), message));
    }
    Ok(found)
}

/// An account's chats that have messages.
pub fn chats(tx: &ReadTx<'_>, account: u32, part: Part) -> Result<ChatPage> {
    let mut page = ChatPage {
        chats: Vec::new(),
        total: counters(tx, account)?.chats,
        next: None,
    };
    let start = CHATS_BY_TIME.key((account,));
    let end = match part.behind {
        Some(last) => Some(CHATS_BY_TIME.key((account, last.timestamp, last.number))),
        None => start.clone().after_prefix(),
    };
    let rows = CHATS_BY_TIME.range_back(tx, &start, end.as_deref())?;
    let mut room = Room::new(part.limit, part.bytes);
    let mut last = None;
    for row in rows.skip(part.skip) {
        let (_, timestamp, number) = row?.parts()?;
        let summary = match room.has_some() {
            true => Some(summary(tx, account, chats::of(tx, account, number)?)?),
            false => None,
        };
        match summary {
            Some(summary) if room.take(&summary) => {
                last = Some(Cursor {
                    timestamp,
                    number,
                    account: 0,
                });
                page.chats.push(summary);
            }
            _ => {
                page.next = last;
                break;
            }
        }
    }
    Ok(page)
}

/// Which chats a list is narrowed down to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChatFilter {
    pub unread: bool,
    pub groups: bool,
    /// Only those of which this is so, or is not so.
    pub archived: Option<bool>,
    pub pinned: Option<bool>,
    pub muted: Option<bool>,
    /// Part of the name, the username, or the number, in lower case.
    pub words: Option<String>,
}

impl ChatFilter {
    pub fn is_none(&self) -> bool {
        *self == ChatFilter::default()
    }

    pub(super) fn lets_pass(&self, tx: &ReadTx<'_>, account: u32, chat: &Chat) -> Result<bool> {
        if self.unread && chat.unread_count == 0 || self.groups && !chat.jid.ends_with("@g.us") {
            return Ok(false);
        }
        let is_muted = chat.is_muted(clock::now()).is_some();
        let differs = |wanted: Option<bool>, is: bool| wanted.is_some_and(|wanted| wanted != is);
        if differs(self.archived, chat.archived)
            || differs(self.pinned, chat.pinned)
            || differs(self.muted, is_muted)
        {
            return Ok(false);
        }
        let Some(words) = &self.words else {
            return Ok(true);
        };
        let titles = [&chat.contact_name, &chat.name];
        let mut names = titles.into_iter().flatten();
        if names.any(|name| name.to_lowercase().contains(words)) {
            return Ok(true);
        }
        if !chat.is_person() {
            return Ok(false);
        }
        let number = chat.jid.split('@').next().unwrap_or_default();
        let digits: String = words.chars().filter(char::is_ascii_digit).collect();
        if !digits.is_empty() && number.contains(&digits) {
            return Ok(true);
        }
        let username = usernames::of(tx, account, &chat.jid)?;
        Ok(
            username
                .is_some_and(|name| name.to_lowercase().contains(words.trim_start_matches('@'))),
        )
    }
}

/// A part of a filtered list: what passes among the next `looks` chats.
#[derive(Debug, Default)]
pub struct Sifted {
    /// Where those that pass stand.
    pub found: Vec<Cursor>,
    /// Behind which chat to go on; `None` at the end.
    pub next: Option<Cursor>,
}

/// Looks through `looks` of an account's chats behind `behind`, newest first.
pub fn sift_chats(
    tx: &ReadTx<'_>,
    account: u32,
    filter: &ChatFilter,
    behind: Option<Cursor>,
    looks: usize,
) -> Result<Sifted> {
    let start = CHATS_BY_TIME.key((account,));
    let end = match behind {
        Some(last) => Some(CHATS_BY_TIME.key((account, last.timestamp, last.number))),
        None => start.clone().after_prefix(),
    };
    let rows = CHATS_BY_TIME.range_back(tx, &start, end.as_deref())?;
    let mut sifted = Sifted::default();
    for (n, row) in rows.enumerate() {
        let (_, timestamp, number) = row?.parts()?;
        let place = Cursor {
            timestamp,
            number,
            account: 0,
        };
        if filter.lets_pass(tx, account, &chats::of(tx, account, number)?)? {
            sifted.found.push(place);
        }
        if n + 1 == looks {
            sifted.next = Some(place);
            break;
        }
    }
    Ok(sifted)
}

/// The chat at a place of the list.
pub fn chat_at(tx: &ReadTx<'_>, account: u32, place: Cursor) -> Result<ChatSummary> {
    summary(tx, account, chats::of(tx, account, place.number)?)
}

/// The chat of a JID, whether it is listed or not.
pub fn chat_of(tx: &ReadTx<'_>, account: u32, jid: &str) -> Result<Option<ChatSummary>> {
    let chat = chats::by_jid(tx, account, jid)?;
    chat.map(|chat| summary(tx, account, chat)).transpose()
}

fn summary(tx: &ReadTx<'_>, account: u32, chat: Chat) -> Result<ChatSummary> {
    let muted = chat.is_muted(clock::now());
    let last_message = match chat.last {
        None => None,
        Some((timestamp, sequence)) => {
            let place = Place {
                chat: chat.number,
                timestamp,
                sequence,
            };
            let message = load_in(tx, account, &chat, place)?;
            Some(LastMessage {
                from: message.chat_id,
                sender: message.sender,
                sender_name: message.sender_name,
                sender_username: message.sender_username,
                message_id: message.message_id,
                text: message.text.or(message.caption),
                kind: message.kind,
                timestamp: message.timestamp,
                from_me: message.from_me,
                status: message.status,
                deleted: message.deleted,
            })
        }
    };
    let username = match chat.is_person() {
        true => usernames::of(tx, account, &chat.jid)?,
        false => None,
    };
    let timer = chat.timer();
    Ok(ChatSummary {
        timer,
        name: chat.title().map(str::to_owned),
        username,
        kind: chats::kind_of(&chat.jid),
        chat_id: chat.jid,
        chat_lid: chat.lid,
        unread_count: chat.unread_count,
        last_message_time: chat.last.map(|last| last.0),
        archived: chat.archived,
        pinned: chat.pinned,
        muted: muted.is_some(),
        muted_until: muted.and_then(chats::end_of),
        message_count: chat.message_count,
        last_message,
    })
}

/// The newest messages of several accounts together. Costs a look-up for each account besides
/// what it shows and skips. Stories are not among them.
pub fn recent(tx: &ReadTx<'_>, accounts: &[u32], part: Part) -> Result<Page> {
    let mut page = Page {
        messages: Vec::new(),
        total: 0,
        next: None,
    };
    let mut sources = Vec::with_capacity(accounts.len());
    // The newest row of each source that was not taken yet.
    let mut heads = BinaryHeap::with_capacity(accounts.len());
    let mut stories = HashMap::new();
    for &account in accounts {
        page.total += counters(tx, account)?.messages;
        if let Some(chat) = chats::by_jid(tx, account, STORIES)? {
            page.total = page.total.saturating_sub(chat.message_count);
            stories.insert(account, chat.number);
        }
        let start = MESSAGES_BY_TIME.key((account,));
        let end = match part.behind {
            Some(last) => {
                // Of equal places the greater account's comes first.
                let own = u64::from(account < last.account);
                let end = last.number.saturating_add(own);
                Some(MESSAGES_BY_TIME.key((account, last.timestamp, end)))
            }
            None => start.clone().after_prefix(),
        };
        let mut rows = MESSAGES_BY_TIME.range_back(tx, &start, end.as_deref())?;
        if let Some(row) = rows.next() {
            heads.push((Newest(Place::of_time(&row?)?), account, sources.len()));
            sources.push(rows);
        }
    }
    let mut chats: HashMap<(u32, u64), Chat> = HashMap::new();
    let mut room = Room::new(part.limit, part.bytes);
    let (mut skipped, mut last) = (0, None);
    while let Some((Newest(found), account, source)) = heads.pop() {
        if stories.get(&account) == Some(&found.chat) {
            // Stories are no messages of chats.
        } else if skipped < part.skip {
            skipped += 1;
        } else {
            let message = match room.has_some() {
                true => {
                    let chat = match chats.entry((account, found.chat)) {
                        Entry::Occupied(known) => known.into_mut(),
                        Entry::Vacant(new) => new.insert(chats::of(tx, account, found.chat)?),
                    };
                    Some(load_in(tx, account, chat, found)?)
                }
                false => None,
            };
            match message {
                Some(message) if room.take(&message) => page.messages.push(message),
                _ => {
                    page.next = last;
                    return Ok(page);
                }
            }
            last = Some(Cursor {
                timestamp: found.timestamp,
                number: found.sequence,
                account,
            });
        }
        if let Some(row) = sources[source].next() {
            heads.push((Newest(Place::of_time(&row?)?), account, source));
        }
    }
    Ok(page)
}

/// Orders places by time, the newest greatest.
#[derive(PartialEq, Eq)]
struct Newest(Place);

impl Ord for Newest {
    fn cmp(&self, other: &Newest) -> std::cmp::Ordering {
        (self.0.timestamp, self.0.sequence).cmp(&(other.0.timestamp, other.0.sequence))
    }
}

impl PartialOrd for Newest {
    fn partial_cmp(&self, other: &Newest) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
