//! Messages and the chats that they are in.
//!
//! All keys start with the account's number (u32); JSON values, except where bytes are named.
//!
//! - `messages`: chat number (u64), timestamp (u64), sequence (u64) → [`Message`]. A chat in the
//!   order of time; the sequence, which counts up within the account, orders equal times.
//! - `message_ids`: message id (text), chat (u64), sender (text) → timestamp and sequence (u64
//!   each). What makes a message known: WhatsApp's ids are unique only within chat and sender. The
//!   sender is `me` for own messages, `peer` in a chat with one person, who may write under two
//!   JIDs, and else the JID that he writes under there (a LID, in most groups).
//! - `messages_by_time`: timestamp, sequence → chat (u64), for the newest of a whole account.
//! - `chats`, `chat_ids`, `chats_by_time`, `people`: see [`chats`].
//! - `early_changes`: see [`changes`].
//! - `counters`: [`Counters`].
//!
//! A message shows under its chat's canonical JID, whatever it said when it was stored.

mod changes;
mod chats;
mod lookup;
mod pages;
mod placeholders;
mod retention;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use changes::{Applied, apply, find_target, is_own};
pub(super) use chats::other_jid;
pub use chats::{
    ChatNames, ChatSummary, LastMessage, answers_as, canonical, canonical_jid, found_as,
    is_known_person, is_lid, is_nameless, link, mark_read, mark_unread, nameless_groups, names,
    number_of, set_contact_name, set_name, set_unread,
};
pub use lookup::{all_of_id, get, get_in, get_own, get_received, has_written, quoted_by};
pub use pages::{ChatPage, Cursor, Page, PageQuery, Part, Room, chats, oldest_first, page, recent};
pub use placeholders::{Lost, lose};
pub use retention::{Keep, Removed, is_over, retention_step, size};

use super::error::StoreError;
use super::key::{Key, KeyReader};
use super::media;
use super::tx::{ReadTx, Table, WriteTx};
use crate::clock::Millis;
use crate::jid::ChatJid;
use crate::message::{DeliveryStatus, Message, NewMedium, bounds};
use chats::Chat;
use lookup::{find, find_received, first_of_a_person, places};

type Result<T> = std::result::Result<T, StoreError>;

/// The newest messages of a chat that are looked at for one that went or came.
const UNSENT: usize = 64;

const OWN: &str = "me";
const PEER: &str = "peer";

/// What became of [`insert`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inserted {
    New,
    /// It is stored already, and stays as it was.
    Duplicate,
}

/// How a message came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// Just now: it is unread, if it is not an own one.
    Live,
    /// With the phone's history, which says itself how much of a chat is unread.
    History,
}

/// Per account.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Counters {
    /// The last sequence and chat number given.
    sequence: u64,
    chat: u64,
    /// Chats with messages.
    chats: u64,
    messages: u64,
    /// The last medium's number given.
    media: u64,
    /// Changes that wait for their message, and the bytes of their rows.
    early_changes: u64,
    early_bytes: u64,
}

/// Where a message lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    chat: u64,
    timestamp: Millis,
    sequence: u64,
}

impl Place {
    fn key(&self, account: u32) -> Key {
        chat_prefix(account, self.chat)
            .u64(self.timestamp)
            .u64(self.sequence)
    }

    fn time_key(&self, account: u32) -> Key {
        Key::account(account).u64(self.timestamp).u64(self.sequence)
    }

    fn id_value(&self) -> Key {
        Key::new().u64(self.timestamp).u64(self.sequence)
    }

    /// From a key of `messages`.
    fn from_key(key: &[u8]) -> Result<Place> {
        let mut reader = KeyReader(key);
        let place = |reader: &mut KeyReader<'_>| {
            reader.u32()?;
            Some(Place {
                chat: reader.u64()?,
                timestamp: reader.u64()?,
                sequence: reader.u64()?,
            })
        };
        place(&mut reader).ok_or_else(|| StoreError::corrupt("messages", key, "short key"))
    }
}

fn chat_prefix(account: u32, chat: u64) -> Key {
    Key::account(account).u64(chat)
}

fn id_key(account: u32, chat: &Chat, message: &Message) -> Key {
    let sender = if message.from_me {
        OWN
    } else if chat.is_person() {
        PEER
    } else {
        message.wire_lid.as_ref().unwrap_or(&message.sender)
    };
    Key::account(account)
        .text(&message.message_id)
        .u64(chat.number)
        .text(sender)
}

/// Stores a message unless it is known, with its chat's summary and its medium. `message` gets its
/// chat's canonical JID and its sender's, what had changed about it before it came, and its
/// medium's id, for the event to say the same.
pub fn insert(
    tx: &mut WriteTx<'_>,
    account: u32,
    message: &mut Message,
    medium: Option<&NewMedium>,
    arrival: Arrival,
) -> Result<Inserted> {
    let tables = tx.tables();
    let medium = medium.map(bounds::medium);
    let medium = medium.as_ref();
    let mut counters = counters(&tx.view(), account)?;
    let mut chat = chats::ensure(tx, account, &message.chat_id, &mut counters)?;
    let id_key = settle_names(&tx.view(), account, &chat, message)?;
    if let Some(place) = place_of(&tx.view(), &chat, &id_key)? {
        return placeholders::fill(tx, account, &chat, place, message, medium);
    }
    counters.sequence += 1;
    counters.messages += 1;
    let place = Place {
        chat: chat.number,
        timestamp: message.timestamp,
        sequence: counters.sequence,
    };
    if let Some(medium) = medium {
        counters.media += 1;
        media::put_new(tx, account, counters.media, message, medium)?;
    }
    changes::catch_up(tx, account, &chat, message, &mut counters)?;
    tx.put(tables.message_ids, &id_key, &place.id_value())?;
    put_message(tx, account, place, message)?;
    put_counters(tx, account, &counters)?;
    chat.message_count += 1;
    let is_on_its_way = message.from_me && message.status == Some(DeliveryStatus::Pending);
    chat.only_failed &= is_on_its_way;
    if !message.from_me {
        if arrival == Arrival::Live {
            chat.unread_count += 1;
        }
        let newer = chat.last.is_none_or(|last| place.timestamp >= last.0);
        if chat.is_person()
            && message.push_name.as_ref().is_some_and(|n| !n.is_empty())
            && (newer || chat.name.is_none())
        {
            chat.name.clone_from(&message.push_name);
            message.chat_name = chat.title().map(str::to_owned);
        }
    }
    let newest = match chat.last {
        Some(last) => last.max((place.timestamp, place.sequence)),
        // A chat that was not listed may have messages all the same.
        None => chats::newest(&tx.view(), account, chat.number)?
            .unwrap_or((place.timestamp, place.sequence)),
    };
    chats::put(tx, account, &mut chat, Some(newest))?;
    Ok(Inserted::New)
}

/// Cuts a message to what is kept, and puts everybody in it under the names that its chat knows; the key of
/// its row in `message_ids`.
fn settle_names(tx: &ReadTx<'_>, account: u32, chat: &Chat, message: &mut Message) -> Result<Key> {
    bounds::message(message);
    if chats::is_lid(&message.sender) && !message.from_me && !chat.is_person() {
        message.wire_lid = Some(message.sender.clone());
    }
    chat.make_canonical(tx, account, message)?;
    Ok(id_key(account, chat, message))
}

/// Where a message of a chat lies, by the key of its row in `message_ids`.
fn place_of(tx: &ReadTx<'_>, chat: &Chat, id_key: &Key) -> Result<Option<Place>> {
    let table = tx.tables().message_ids;
    let Some(value) = tx.get(table, id_key)? else {
        return Ok(None);
    };
    let mut value = KeyReader(value);
    match (value.u64(), value.u64()) {
        (Some(timestamp), Some(sequence)) => Ok(Some(Place {
            chat: chat.number,
            timestamp,
            sequence,
        })),
        _ => Err(StoreError::corrupt(table.name, id_key, "not a place")),
    }
}

/// Says that the account's owner has read up to the newest of these messages: in the chat `jid`, or
/// in each chat of two that has some of them. Of several messages of one id the one stored first is
/// meant. Whether that changed how much is unread.
pub fn mark_read_messages(
    tx: &mut WriteTx<'_>,
    account: u32,
    jid: Option<&str>,
    message_ids: &[String],
) -> Result<bool> {
    let only = match jid {
        Some(jid) => match chats::by_jid(&tx.view(), account, jid)? {
            Some(chat) => Some(chat.number),
            None => return Ok(false),
        },
        None => None,
    };
    let mut newest: BTreeMap<u64, (Millis, u64)> = BTreeMap::new();
    for id in message_ids {
        let found = match only {
            Some(_) => find(&tx.view(), account, id, only, false)?.map(|(place, _)| place),
            None => first_of_a_person(&tx.view(), account, id)?,
        };
        if let Some(place) = found {
            let at = newest.entry(place.chat).or_default();
            *at = (*at).max((place.timestamp, place.sequence));
        }
    }
    let mut changed = false;
    for (number, up_to) in newest {
        let mut chat = chats::of(&tx.view(), account, number)?;
        if chat.unread_count > 0 {
            changed |= chats::mark_read_up_to(tx, account, &mut chat, up_to)?;
        }
    }
    Ok(changed)
}

/// Says that the account's owner has read a chat up to this time. Whether that changed how much is
/// unread.
pub fn mark_read_until(
    tx: &mut WriteTx<'_>,
    account: u32,
    jid: &str,
    until: Millis,
) -> Result<bool> {
    match chats::by_jid(&tx.view(), account, jid)? {
        Some(mut chat) if chat.unread_count > 0 => {
            chats::mark_read_up_to(tx, account, &mut chat, (until, u64::MAX))
        }
        _ => Ok(false),
    }
}

/// The newest messages of others in a chat that are unread, at most `limit`, newest first.
pub fn unread(tx: &ReadTx<'_>, account: u32, jid: &str, limit: usize) -> Result<Vec<Message>> {
    let Some(chat) = chats::by_jid(tx, account, jid)? else {
        return Ok(Vec::new());
    };
    let wanted = usize::try_from(chat.unread_count)
        .unwrap_or(usize::MAX)
        .min(limit);
    let table = tx.tables().messages;
    let mut found = Vec::new();
    for row in tx.prefix_back(table, chat_prefix(account, chat.number))? {
        if found.len() >= wanted {
            break;
        }
        let (key, bytes) = row?;
        let mut message = read_message(table, key, bytes)?;
        if !message.from_me {
            chat.make_canonical(tx, account, &mut message)?;
            found.push(message);
        }
    }
    Ok(found)
}

/// Changes the message of that id, the one stored first if several have it, and returns it; `None`
/// if there is none. What identifies it (account, id, chat, sender) stays as it is; with another
/// timestamp it moves to its new place in the order.
pub fn update(
    tx: &mut WriteTx<'_>,
    account: u32,
    message_id: &str,
    mut change: impl FnMut(&mut Message),
) -> Result<Option<Message>> {
    change_found(tx, account, message_id, false, |message| {
        change(message);
        true
    })
}

/// Moves an own message on to `status`, and returns it if that was a step forward. `Failed` comes
/// only before `Delivered`, and a receipt that arrives after it proves it wrong. `chat` is the JID that
/// the receipt came from: it counts for messages of that chat alone.
pub fn set_status(
    tx: &mut WriteTx<'_>,
    account: u32,
    chat: &str,
    message_id: &str,
    status: DeliveryStatus,
) -> Result<Option<Message>> {
    let Some((place, id_key)) = find_received(&tx.view(), account, chat, message_id)? else {
        return Ok(None);
    };
    change_at(tx, account, place, &id_key, |message| {
        let forward = is_forward(message.status, status);
        if forward {
            message.status = Some(status);
            message.error = None;
        }
        forward
    })
}

/// An own message will not go, in words; returns it if that is news, which it is not once it was
/// delivered.
pub fn mark_failed(
    tx: &mut WriteTx<'_>,
    account: u32,
    message_id: &str,
    words: &str,
) -> Result<Option<Message>> {
    let Some((place, id_key)) = find(&tx.view(), account, message_id, None, true)? else {
        return Ok(None);
    };
    let failed = change_at(tx, account, place, &id_key, |message| {
        let forward = is_forward(message.status, DeliveryStatus::Failed);
        if forward {
            message.status = Some(DeliveryStatus::Failed);
            message.error = Some(words.to_owned());
        }
        forward
    })?;
    if failed.is_some() {
        chats::unlist_if_failed(tx, account, place.chat)?;
        forget_look(tx, account, failed.as_ref())?;
    }
    Ok(failed)
}

/// Whether no message was ever exchanged with this person: own ones that did not go do not count.
/// Groups, lists and channels are never new.
pub fn is_new_contact(tx: &ReadTx<'_>, account: u32, jid: &str) -> Result<bool> {
    if !ChatJid::parse(jid).is_ok_and(|jid| jid.is_person()) {
        return Ok(false);
    }
    let Some(chat) = chats::by_jid(tx, account, jid)? else {
        return Ok(true);
    };
    let table = tx.tables().messages;
    for row in tx
        .prefix_back(table, chat_prefix(account, chat.number))?
        .take(UNSENT)
    {
        let (key, bytes) = row?;
        let message = read_message(table, key, bytes)?;
        let unsent = matches!(
            message.status,
            Some(DeliveryStatus::Pending | DeliveryStatus::Failed)
        );
        if !message.from_me || !unsent {
            return Ok(false);
        }
    }
    Ok(true)
}

/// WhatsApp's server has taken an own message, and dates it `timestamp`.
pub fn mark_sent(
    tx: &mut WriteTx<'_>,
    account: u32,
    message_id: &str,
    timestamp: Millis,
) -> Result<Option<Message>> {
    let sent = change_found(tx, account, message_id, true, |message| {
        message.timestamp = timestamp;
        if is_forward(message.status, DeliveryStatus::Sent) {
            message.status = Some(DeliveryStatus::Sent);
            message.error = None;
        }
        true
    })?;
    forget_look(tx, account, sent.as_ref())?;
    Ok(sent)
}

/// Removes what was kept of a message's file to send it again.
fn forget_look(tx: &mut WriteTx<'_>, account: u32, message: Option<&Message>) -> Result<()> {
    match message.and_then(|message| message.media_id.as_deref()) {
        Some(id) => media::forget_look(tx, account, id),
        None => Ok(()),
    }
}

fn is_forward(from: Option<DeliveryStatus>, to: DeliveryStatus) -> bool {
    use DeliveryStatus::{Delivered, Failed, Pending};
    match (from, to) {
        (None, _) => true,
        (Some(Failed), to) => to > Pending && to != Failed,
        (Some(from), Failed) => from < Delivered,
        (Some(from), to) => to > from,
    }
}

/// How many messages an account has.
pub fn count(tx: &ReadTx<'_>, account: u32) -> Result<u64> {
    Ok(counters(tx, account)?.messages)
}

fn change_found(
    tx: &mut WriteTx<'_>,
    account: u32,
    message_id: &str,
    own: bool,
    change: impl FnOnce(&mut Message) -> bool,
) -> Result<Option<Message>> {
    match find(&tx.view(), account, message_id, None, own)? {
        Some((place, id_key)) => change_at(tx, account, place, &id_key, change),
        None => Ok(None),
    }
}

/// Changes the message at `place`, whose row in `message_ids` is `id_key`; `None` if `change` says
/// that it did nothing.
fn change_at(
    tx: &mut WriteTx<'_>,
    account: u32,
    place: Place,
    id_key: &[u8],
    change: impl FnOnce(&mut Message) -> bool,
) -> Result<Option<Message>> {
    let tables = tx.tables();
    let (mut chat, before) = load(&tx.view(), account, place)?;
    let mut message = before.clone();
    if !change(&mut message) {
        return Ok(None);
    }
    message.account_id = before.account_id;
    message.message_id = before.message_id;
    message.chat_id = before.chat_id;
    message.sender = before.sender;
    message.wire_lid = before.wire_lid;
    message.from_me = before.from_me;
    let moved = Place {
        timestamp: message.timestamp,
        ..place
    };
    if moved != place {
        tx.delete(tables.messages, &place.key(account))?;
        tx.delete(tables.messages_by_time, &place.time_key(account))?;
        tx.put(tables.message_ids, id_key, &moved.id_value())?;
    }
    put_message(tx, account, moved, &message)?;
    // Something is at WhatsApp: the chat is one.
    let is_back = chat.only_failed
        && !matches!(
            message.status,
            Some(DeliveryStatus::Pending | DeliveryStatus::Failed)
        );
    if moved != place || is_back {
        chat.only_failed &= !is_back;
        let newest = chats::newest(&tx.view(), account, chat.number)?;
        chats::put(tx, account, &mut chat, newest)?;
    }
    Ok(Some(message))
}

fn put_message(tx: &mut WriteTx<'_>, account: u32, place: Place, message: &Message) -> Result<()> {
    let tables = tx.tables();
    let bytes = message.to_stored().map_err(|e| StoreError::Encode {
        table: tables.messages.name,
        cause: e.to_string().into(),
    })?;
    tx.put(tables.messages, &place.key(account), &bytes)?;
    tx.put(
        tables.messages_by_time,
        &place.time_key(account),
        &place.chat.to_be_bytes(),
    )
}

/// The chat and the message at a place that an index names.
fn load(tx: &ReadTx<'_>, account: u32, place: Place) -> Result<(Chat, Message)> {
    let chat = chats::of(tx, account, place.chat)?;
    let message = load_in(tx, account, &chat, place)?;
    Ok((chat, message))
}

fn load_in(tx: &ReadTx<'_>, account: u32, chat: &Chat, place: Place) -> Result<Message> {
    let table = tx.tables().messages;
    let key = place.key(account);
    let bytes = tx
        .get(table, &key)?
        .ok_or_else(|| StoreError::corrupt(table.name, &key, "an index names it, it is missing"))?;
    let mut message = read_message(table, &key, bytes)?;
    chat.make_canonical(tx, account, &mut message)?;
    Ok(message)
}

/// A row of `messages`.
fn read_message(table: Table, key: &[u8], bytes: &[u8]) -> Result<Message> {
    Message::from_stored(bytes).map_err(|e| StoreError::corrupt(table.name, key, e))
}

fn counters(tx: &ReadTx<'_>, account: u32) -> Result<Counters> {
    let row = tx.get_json(tx.tables().counters, &Key::account(account))?;
    Ok(row.unwrap_or_default())
}

fn put_counters(tx: &mut WriteTx<'_>, account: u32, counters: &Counters) -> Result<()> {
    let table = tx.tables().counters;
    tx.put_json(table, &Key::account(account), counters)
}
