//! Messages by their ids. An id counts within its chat and sender: anyone can use one again that was seen,
//! and of several the one stored first is meant where nothing says which.

use super::chats::{self, ChatNames};
use super::{OWN, Place, Result, load, load_in};
use crate::jid::{ChatJid, Server};
use crate::message::Message;
use crate::store::key::Key;
use crate::store::schema::{MESSAGE_IDS, MESSAGES};
use crate::store::tx::ReadTx;

/// Rows of one message id that are looked at, of a chat or of all: as many as a group has members.
const SAME_ID: usize = 1024;

/// The message of that id. If several have it, the one stored first: an id that was seen can be used
/// again by anyone, and must not lead elsewhere then.
pub fn get(tx: &ReadTx<'_>, account: u32, message_id: &str) -> Result<Option<Message>> {
    let Some((place, _)) = find(tx, account, message_id, None, false)? else {
        return Ok(None);
    };
    load(tx, account, place).map(|(_, message)| Some(message))
}

/// The message of that id in a chat, given by any of its JIDs; of several the one stored first.
pub fn get_in(
    tx: &ReadTx<'_>,
    account: u32,
    jid: &str,
    message_id: &str,
) -> Result<Option<Message>> {
    let jid = chats::found_as(tx, account, jid)?;
    let Some(chat) = chats::by_jid(tx, account, &jid)? else {
        return Ok(None);
    };
    let Some((place, _)) = find(tx, account, message_id, Some(chat.number), false)? else {
        return Ok(None);
    };
    load_in(tx, account, &chat, place).map(Some)
}

/// The messages of that id in all chats, in the order in which they were stored; at most `limit`.
pub fn all_of_id(
    tx: &ReadTx<'_>,
    account: u32,
    message_id: &str,
    limit: usize,
) -> Result<Vec<Message>> {
    places(tx, account, message_id, None)?
        .into_iter()
        .take(limit)
        .map(|(place, _)| load(tx, account, place).map(|(_, message)| message))
        .collect()
}

/// An own message; of several of that id the one stored first.
pub fn get_own(tx: &ReadTx<'_>, account: u32, message_id: &str) -> Result<Option<Message>> {
    let Some((place, _)) = find(tx, account, message_id, None, true)? else {
        return Ok(None);
    };
    load(tx, account, place).map(|(_, message)| Some(message))
}

/// The own message that a receipt from the chat `jid` is about.
pub fn get_received(
    tx: &ReadTx<'_>,
    account: u32,
    jid: &str,
    message_id: &str,
) -> Result<Option<Message>> {
    let Some((place, _)) = find_received(tx, account, jid, message_id)? else {
        return Ok(None);
    };
    load(tx, account, place).map(|(_, message)| Some(message))
}

/// The stored message that `message` answers; `None` if it is gone, or not that of the person whose words
/// it was to be.
pub fn quoted_by(tx: &ReadTx<'_>, account: u32, message: &Message) -> Result<Option<Message>> {
    let Some(quoted) = &message.quoted_message else {
        return Ok(None);
    };
    let chat = quoted.chat_id.as_ref().unwrap_or(&message.chat_id);
    let Some(chat) = chats::by_jid(tx, account, chat)? else {
        return Ok(None);
    };
    for (place, _) in places(tx, account, &quoted.message_id, Some(chat.number))? {
        let found = load_in(tx, account, &chat, place)?;
        if quoted
            .participant
            .as_ref()
            .is_none_or(|of| *of == found.sender)
        {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// Whether a person, by either JID, wrote one of the newest `limit` messages of a chat.
pub fn has_written(
    tx: &ReadTx<'_>,
    account: u32,
    chat: &str,
    person: &ChatNames,
    limit: usize,
) -> Result<bool> {
    let Some(chat) = chats::by_jid(tx, account, chat)? else {
        return Ok(false);
    };
    for row in MESSAGES.scan_back(tx, (account, chat.number))?.take(limit) {
        let message = row?.value()?;
        if message.counts_as_unread() && person.is(&message) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The place of the message of that id that was stored first in a chat of two.
pub(super) fn first_of_a_person(
    tx: &ReadTx<'_>,
    account: u32,
    message_id: &str,
) -> Result<Option<Place>> {
    for (place, _) in places(tx, account, message_id, None)? {
        if chats::of(tx, account, place.chat)?.is_person() {
            return Ok(Some(place));
        }
    }
    Ok(None)
}

/// Where the own message is that a receipt from the chat `jid` is about.
pub(super) fn find_received(
    tx: &ReadTx<'_>,
    account: u32,
    jid: &str,
    message_id: &str,
) -> Result<Option<(Place, Vec<u8>)>> {
    let from = chats::by_jid(tx, account, jid)?;
    if let Some(chat) = &from
        && let Some(found) = find(tx, account, message_id, Some(chat.number), true)?
    {
        return Ok(Some(found));
    }
    // A message to a broadcast list is acknowledged from the chat of each recipient; and a person's receipt can
    // name the one of two JIDs that is not known to be that person's yet.
    let one_name =
        from.is_none_or(|chat| chat.is_person() && chat.lid.is_none_or(|lid| lid == chat.jid));
    for (place, key) in places(tx, account, message_id, None)? {
        if !is_own_key(&key) {
            continue;
        }
        let chat = chats::of(tx, account, place.chat)?;
        let is_list = ChatJid::parse(&chat.jid).is_ok_and(|jid| jid.server() == Server::Broadcast);
        let may_be_the_same = one_name
            && chat.is_person()
            && chats::is_lid(&chat.jid) != chats::is_lid(jid)
            && chat.lid.as_ref().is_none_or(|lid| *lid == chat.jid);
        if is_list || may_be_the_same {
            return Ok(Some((place, key)));
        }
    }
    Ok(None)
}

/// The place of the message of that id, of a chat or of all, that was stored first, with the key of its
/// row in `message_ids`.
pub(super) fn find(
    tx: &ReadTx<'_>,
    account: u32,
    message_id: &str,
    chat: Option<u64>,
    own: bool,
) -> Result<Option<(Place, Vec<u8>)>> {
    let mut found = places(tx, account, message_id, chat)?.into_iter();
    Ok(found.find(|(_, key)| !own || is_own_key(key)))
}

/// Whether a row of `message_ids` is an own message's.
fn is_own_key(key: &[u8]) -> bool {
    key.ends_with(&Key::new().text(OWN))
}

/// Where messages of that id are, of a chat or of all, with the keys of their rows in `message_ids`; in the
/// order in which they were stored.
pub(super) fn places(
    tx: &ReadTx<'_>,
    account: u32,
    message_id: &str,
    chat: Option<u64>,
) -> Result<Vec<(Place, Vec<u8>)>> {
    let rows = match chat {
        Some(chat) => MESSAGE_IDS.scan(tx, (account, message_id, chat))?,
        None => MESSAGE_IDS.scan(tx, (account, message_id))?,
    };
    let mut found = Vec::new();
    for row in rows.take(SAME_ID) {
        let row = row?;
        let (_, (), chat, ()) = row.parts()?;
        let (timestamp, sequence) = row.value()?;
        let place = Place {
            chat,
            timestamp,
            sequence,
        };
        found.push((place, row.key.to_vec()));
    }
    found.sort_by_key(|(place, _)| place.sequence);
    Ok(found)
}
