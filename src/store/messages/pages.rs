//! Lists of messages and chats, newest first, at a cost in proportion to what they show and skip.

use std::collections::{BinaryHeap, HashMap};

use super::chats::{self, Chat, ChatSummary, LastMessage};
use super::{Place, Result, chat_prefix, counters, load_in, read_message};
use crate::clock::Millis;
use crate::event::Message;
use crate::store::error::StoreError;
use crate::store::key::{Key, KeyReader};
use crate::store::tx::ReadTx;

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
}

/// Messages, newest first.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    pub messages: Vec<Message>,
    /// All messages of the chat or accounts, whatever `before` and `after` say: to count those
    /// would cost as much as to read them.
    pub total: u64,
    /// Whether the same query with a greater offset would show more.
    pub has_more: bool,
}

/// Chats, the one with the newest message first.
#[derive(Debug, Clone, PartialEq)]
pub struct ChatPage {
    pub chats: Vec<ChatSummary>,
    pub total: u64,
    pub has_more: bool,
}

/// A page of a chat; empty if there is no chat of that JID.
pub fn page(tx: &ReadTx<'_>, account: u32, jid: &str, query: PageQuery) -> Result<Page> {
    let mut page = Page {
        messages: Vec::new(),
        total: 0,
        has_more: false,
    };
    let Some(chat) = chats::by_jid(tx, account, jid)? else {
        return Ok(page);
    };
    page.total = chat.message_count;
    let prefix = chat_prefix(account, chat.number);
    let start = match query.after {
        Some(after) => prefix.clone().u64(after.saturating_add(1)),
        None => prefix.clone(),
    };
    let end = match query.before {
        Some(before) => Some(prefix.u64(before)),
        None => prefix.after_prefix(),
    };
    if end.as_ref().is_some_and(|end| **end <= *start) {
        return Ok(page);
    }
    let table = tx.tables().messages;
    let mut rows = tx
        .range_back(table, &start, end.as_deref())?
        .skip(query.offset);
    for row in rows.by_ref().take(query.limit) {
        let (key, bytes) = row?;
        let mut message = read_message(table, key, bytes)?;
        chat.make_canonical(tx, account, &mut message)?;
        page.messages.push(message);
    }
    page.has_more = rows.next().transpose()?.is_some();
    Ok(page)
}

/// An account's messages after the place `after` (timestamp and sequence), the oldest first, each with
/// its place.
pub fn oldest_first(
    tx: &ReadTx<'_>,
    account: u32,
    after: Option<(Millis, u64)>,
    limit: usize,
) -> Result<Vec<((Millis, u64), Message)>> {
    let table = tx.tables().messages_by_time;
    let prefix = Key::account(account);
    let start = match after {
        Some((timestamp, sequence)) => prefix
            .clone()
            .u64(timestamp)
            .u64(sequence.saturating_add(1)),
        None => prefix.clone(),
    };
    let end = prefix.after_prefix();
    let mut found = Vec::new();
    for row in tx.range(table, &start, end.as_deref())?.take(limit) {
        let (key, chat) = row?;
        let mut reader = KeyReader(key);
        let (_, timestamp, sequence) = (reader.u32(), reader.u64(), reader.u64());
        let (Some(timestamp), Some(sequence), Some(chat)) =
            (timestamp, sequence, KeyReader(chat).u64())
        else {
            return Err(StoreError::corrupt(table.name, key, "not a place"));
        };
        let place = Place {
            chat,
            timestamp,
            sequence,
        };
        let chat = chats::of(tx, account, place.chat)?;
        found.push(((timestamp, sequence), load_in(tx, account, &chat, place)?));
    }
    Ok(found)
}

/// An account's chats that have messages.
pub fn chats(tx: &ReadTx<'_>, account: u32, limit: usize, skip: usize) -> Result<ChatPage> {
    let table = tx.tables().chats_by_time;
    let mut page = ChatPage {
        chats: Vec::new(),
        total: counters(tx, account)?.chats,
        has_more: false,
    };
    let mut rows = tx.prefix_back(table, Key::account(account))?.skip(skip);
    for row in rows.by_ref().take(limit) {
        let (key, _) = row?;
        let mut reader = KeyReader(key);
        let number = (reader.u32(), reader.u64(), reader.u64()).2;
        let number =
            number.ok_or_else(|| StoreError::corrupt(table.name, key, "not a chat number"))?;
        page.chats
            .push(summary(tx, account, chats::of(tx, account, number)?)?);
    }
    page.has_more = rows.next().transpose()?.is_some();
    Ok(page)
}

fn summary(tx: &ReadTx<'_>, account: u32, chat: Chat) -> Result<ChatSummary> {
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
                message_id: message.message_id,
                text: message.text.or(message.caption),
                kind: message.kind,
                timestamp: message.timestamp,
                from_me: message.from_me,
            })
        }
    };
    Ok(ChatSummary {
        name: chat.title().map(str::to_owned),
        chat_id: chat.jid,
        chat_lid: chat.lid,
        unread_count: chat.unread_count,
        last_message_time: chat.last.map(|last| last.0),
        message_count: chat.message_count,
        last_message,
    })
}

/// The newest messages of several accounts together. Costs a look-up for each account besides
/// what it shows and skips.
pub fn recent(tx: &ReadTx<'_>, accounts: &[u32], limit: usize, skip: usize) -> Result<Page> {
    let table = tx.tables().messages_by_time;
    let mut total = 0;
    let mut sources = Vec::with_capacity(accounts.len());
    // The newest row of each source that was not taken yet.
    let mut heads = BinaryHeap::with_capacity(accounts.len());
    for &account in accounts {
        total += counters(tx, account)?.messages;
        let mut rows = tx.prefix_back(table, Key::account(account))?;
        if let Some(row) = rows.next() {
            heads.push((place(table.name, row?)?, sources.len()));
            sources.push((account, rows));
        }
    }
    let mut chats: HashMap<(u32, u64), Chat> = HashMap::new();
    let mut messages = Vec::new();
    let mut taken = 0;
    while let Some((Newest(place_found), source)) = heads.pop() {
        let (account, rows) = &mut sources[source];
        if taken == skip.saturating_add(limit) {
            return Ok(Page {
                messages,
                total,
                has_more: true,
            });
        }
        if taken >= skip {
            let key = (*account, place_found.chat);
            let chat = match chats.entry(key) {
                std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
                std::collections::hash_map::Entry::Vacant(new) => {
                    new.insert(chats::of(tx, *account, place_found.chat)?)
                }
            };
            messages.push(load_in(tx, *account, chat, place_found)?);
        }
        taken += 1;
        if let Some(row) = rows.next() {
            heads.push((place(table.name, row?)?, source));
        }
    }
    Ok(Page {
        messages,
        total,
        has_more: false,
    })
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

/// From a row of `messages_by_time`.
fn place(table: &'static str, (key, value): (&[u8], &[u8])) -> Result<Newest> {
    let (mut reader, mut value) = (KeyReader(key), KeyReader(value));
    match (reader.u32(), reader.u64(), reader.u64(), value.u64()) {
        (Some(_), Some(timestamp), Some(sequence), Some(chat)) => Ok(Newest(Place {
            chat,
            timestamp,
            sequence,
        })),
        _ => Err(StoreError::corrupt(table, key, "not a place")),
    }
}
