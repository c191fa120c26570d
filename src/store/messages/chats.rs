//! Chats: one for each person, group, list or channel, under whatever JIDs it is known by.
//!
//! All keys start with the account's number (u32).
//!
//! - `chat_ids`: JID (text) → chat number (u64). A person has two JIDs, a LID and a phone number's;
//!   both lead to the same chat once [`link`] has said that they are the same.
//! - `chats`: chat number (u64) → [`Chat`], JSON.
//! - `chats_by_time`: the last message's timestamp (u64), chat number → nothing. Only chats with
//!   messages are in it.

use serde::{Deserialize, Serialize};

use super::{Counters, Place, Result, chat_prefix, counters, id_key, put_counters};
use crate::clock::Millis;
use crate::event::{Message, MessageKind};
use crate::jid::{ChatJid, Server};
use crate::store::error::StoreError;
use crate::store::key::{Key, KeyReader};
use crate::store::tx::{ReadTx, WriteTx, from_json};

/// A chat as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Chat {
    pub number: u64,
    /// The canonical JID: a person's phone-number JID once it is known.
    pub jid: String,
    #[serde(default)]
    pub lid: Option<String>,
    #[serde(default)]
    pub name: Option<String>,
    pub unread_count: u64,
    pub message_count: u64,
    /// Timestamp and sequence of the newest message.
    pub last: Option<(Millis, u64)>,
}

/// A chat as the API shows it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ChatSummary {
    pub chat_id: String,
    pub name: Option<String>,
    pub unread_count: u64,
    pub last_message_time: Option<Millis>,
    pub message_count: u64,
    pub last_message: Option<LastMessage>,
}

/// The newest message of a chat, in short.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LastMessage {
    pub message_id: String,
    /// The text, or a medium's caption.
    pub text: Option<String>,
    #[serde(rename = "type")]
    pub kind: MessageKind,
    pub timestamp: Millis,
    pub from_me: bool,
}

impl Chat {
    pub fn is_person(&self) -> bool {
        ChatJid::parse(&self.jid).is_ok_and(|jid| jid.is_person())
    }

    /// Puts the message under the chat's canonical JID.
    pub fn make_canonical(&self, message: &mut Message) {
        message.chat_id.clone_from(&self.jid);
        if !message.from_me && self.lid.as_ref() == Some(&message.from) {
            message.from.clone_from(&self.jid);
        }
    }
}

/// The chat's canonical JID, if `jid` is one of a known chat.
pub fn canonical(tx: &ReadTx<'_>, account: u32, jid: &str) -> Result<Option<String>> {
    Ok(by_jid(tx, account, jid)?.map(|chat| chat.jid))
}

/// Says that everything in the chat was seen. Whether there was something unread.
pub fn mark_read(tx: &mut WriteTx<'_>, account: u32, jid: &str) -> Result<bool> {
    match by_jid(&tx.view(), account, jid)? {
        Some(mut chat) if chat.unread_count > 0 => {
            chat.unread_count = 0;
            put_row(tx, account, &chat)?;
            Ok(true)
        }
        _ => Ok(false),
    }
}

/// Names a chat, such as a group by its subject. Whether the chat is known.
pub fn set_name(tx: &mut WriteTx<'_>, account: u32, jid: &str, name: &str) -> Result<bool> {
    let Some(mut chat) = by_jid(&tx.view(), account, jid)? else {
        return Ok(false);
    };
    if chat.name.as_deref() != Some(name) {
        chat.name = Some(name.to_owned());
        put_row(tx, account, &chat)?;
    }
    Ok(true)
}

/// `lid` and `pn`, two JIDs without a device, are the same person: one chat from now on, under
/// `pn`. If both have a chat, the one with fewer messages moves into the other, at a cost in
/// proportion to it; that happens once for a person. Saying it again costs two look-ups.
pub fn link(tx: &mut WriteTx<'_>, account: u32, lid: &str, pn: &str) -> Result<()> {
    let view = tx.view();
    // A JID that has passed on to somebody else (a number can) still leads to its old chat, which
    // must not become the new person's.
    let by_lid = by_jid(&view, account, lid)?
        .filter(|chat| chat.jid == lid || chat.lid.as_deref() == Some(lid));
    let by_pn = by_jid(&view, account, pn)?.filter(|chat| chat.jid == pn || is_lid(&chat.jid));
    let mut chat = match (by_lid, by_pn) {
        (Some(a), Some(b)) if a.number == b.number => {
            if a.jid == pn && a.lid.as_deref() == Some(lid) {
                return Ok(());
            }
            a
        }
        (Some(a), Some(b)) if a.message_count > b.message_count => merge(tx, account, b, a)?,
        (Some(a), Some(b)) => merge(tx, account, a, b)?,
        (Some(chat), None) | (None, Some(chat)) => chat,
        (None, None) => {
            let mut counters = counters(&view, account)?;
            let chat = create(tx, account, pn, &mut counters)?;
            put_counters(tx, account, &counters)?;
            chat
        }
    };
    pn.clone_into(&mut chat.jid);
    chat.lid = Some(lid.to_owned());
    for jid in [lid, pn] {
        put_jid(tx, account, jid, chat.number)?;
    }
    put_row(tx, account, &chat)
}

/// Moves everything of `from` into `into`, which is returned but not yet stored.
fn merge(tx: &mut WriteTx<'_>, account: u32, from: Chat, mut into: Chat) -> Result<Chat> {
    let tables = tx.tables();
    let mut keys = Vec::new();
    for row in tx
        .view()
        .prefix(tables.messages, &chat_prefix(account, from.number))?
    {
        keys.push(row?.0.to_vec());
    }
    let mut twice = 0;
    for key in &keys {
        let place = Place::from_key(key)?;
        let Some(bytes) = tx.view().get(tables.messages, key)?.map(<[u8]>::to_vec) else {
            continue;
        };
        let message: Message = from_json(tables.messages, key, &bytes)?;
        tx.delete(tables.messages, key)?;
        tx.delete(tables.message_ids, &id_key(account, &from, &message))?;
        let new_id = id_key(account, &into, &message);
        if tx.view().get(tables.message_ids, &new_id)?.is_some() {
            tx.delete(tables.messages_by_time, &place.time_key(account))?;
            twice += 1;
            continue;
        }
        let place = Place {
            chat: into.number,
            ..place
        };
        tx.put(tables.message_ids, &new_id, &place.id_value())?;
        tx.put(tables.messages, &place.key(account), &bytes)?;
        let chat = place.chat.to_be_bytes();
        tx.put(tables.messages_by_time, &place.time_key(account), &chat)?;
    }
    if let Some((timestamp, _)) = from.last {
        tx.delete(
            tables.chats_by_time,
            &time_key(account, timestamp, from.number),
        )?;
    }
    tx.delete(tables.chats, &chat_prefix(account, from.number))?;
    for jid in std::iter::once(&from.jid).chain(&from.lid) {
        put_jid(tx, account, jid, into.number)?;
    }
    let mut counters = counters(&tx.view(), account)?;
    counters.messages = counters.messages.saturating_sub(twice);
    if from.message_count > 0 && into.message_count > 0 {
        counters.chats = counters.chats.saturating_sub(1);
    }
    put_counters(tx, account, &counters)?;
    into.message_count += from.message_count.saturating_sub(twice);
    into.unread_count += from.unread_count;
    into.name = into.name.or(from.name);
    let last = newest(&tx.view(), account, into.number)?;
    put(tx, account, &mut into, last)?;
    Ok(into)
}

/// The chat of `jid`, which is created if it is new.
pub fn ensure(
    tx: &mut WriteTx<'_>,
    account: u32,
    jid: &str,
    counters: &mut Counters,
) -> Result<Chat> {
    match by_jid(&tx.view(), account, jid)? {
        Some(chat) => Ok(chat),
        None => create(tx, account, jid, counters),
    }
}

/// The caller stores the counters.
fn create(tx: &mut WriteTx<'_>, account: u32, jid: &str, counters: &mut Counters) -> Result<Chat> {
    counters.chat += 1;
    let chat = Chat {
        number: counters.chat,
        jid: jid.to_owned(),
        lid: is_lid(jid).then(|| jid.to_owned()),
        name: None,
        unread_count: 0,
        message_count: 0,
        last: None,
    };
    put_jid(tx, account, jid, chat.number)?;
    put_row(tx, account, &chat)?;
    Ok(chat)
}

/// Stores the chat with `last` as its newest message, in the order of chats, too.
pub fn put(
    tx: &mut WriteTx<'_>,
    account: u32,
    chat: &mut Chat,
    last: Option<(Millis, u64)>,
) -> Result<()> {
    let table = tx.tables().chats_by_time;
    let (before, after) = (chat.last.map(|l| l.0), last.map(|l| l.0));
    if before != after {
        if let Some(before) = before {
            tx.delete(table, &time_key(account, before, chat.number))?;
        }
        if let Some(after) = after {
            tx.put(table, &time_key(account, after, chat.number), &[])?;
        }
    }
    chat.last = last;
    put_row(tx, account, chat)
}

/// Timestamp and sequence of the chat's newest message.
pub fn newest(tx: &ReadTx<'_>, account: u32, chat: u64) -> Result<Option<(Millis, u64)>> {
    let mut rows = tx.prefix_back(tx.tables().messages, chat_prefix(account, chat))?;
    rows.next()
        .map(|row| {
            let place = Place::from_key(row?.0)?;
            Ok((place.timestamp, place.sequence))
        })
        .transpose()
}

/// The chat of a number that an index names.
pub fn of(tx: &ReadTx<'_>, account: u32, number: u64) -> Result<Chat> {
    let table = tx.tables().chats;
    let key = chat_prefix(account, number);
    tx.get_json(table, &key)?
        .ok_or_else(|| StoreError::corrupt(table.name, &key, "an index names it, it is missing"))
}

pub fn by_jid(tx: &ReadTx<'_>, account: u32, jid: &str) -> Result<Option<Chat>> {
    let table = tx.tables().chat_ids;
    let key = Key::account(account).text(jid);
    let Some(bytes) = tx.get(table, &key)? else {
        return Ok(None);
    };
    let number = KeyReader(bytes)
        .u64()
        .ok_or_else(|| StoreError::corrupt(table.name, &key, "not a chat number"))?;
    of(tx, account, number).map(Some)
}

pub fn time_key(account: u32, timestamp: Millis, number: u64) -> Key {
    Key::account(account).u64(timestamp).u64(number)
}

fn put_row(tx: &mut WriteTx<'_>, account: u32, chat: &Chat) -> Result<()> {
    let table = tx.tables().chats;
    tx.put_json(table, &chat_prefix(account, chat.number), chat)
}

fn put_jid(tx: &mut WriteTx<'_>, account: u32, jid: &str, number: u64) -> Result<()> {
    let table = tx.tables().chat_ids;
    tx.put(
        table,
        &Key::account(account).text(jid),
        &number.to_be_bytes(),
    )
}

fn is_lid(jid: &str) -> bool {
    ChatJid::parse(jid).is_ok_and(|jid| jid.server() == Server::Lid)
}
