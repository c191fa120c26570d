//! Messages and the chats that they are in.
//!
//! Their rows are declared in [`super::schema`].
//!
//! A message shows under its chat's canonical JID, whatever it had when it was stored.

mod calls;
mod changes;
mod chats;
mod lookup;
mod pages;
mod people;
mod placeholders;
mod raw;
mod retention;
mod search;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use calls::hear_call;
pub(super) use changes::Early;
pub use changes::{Applied, apply, find_target, is_own, set_join_link};
pub(super) use chats::{Chat, other_jid};
pub use chats::{
    ChatMarks, ChatNames, ChatSummary, FOREVER, LastMessage, answers_as, canonical, canonical_jid,
    contacts, deed, found_as, is_known_person, is_lid, is_nameless, is_only_here, last_message,
    link, mark_chat, mark_read, mark_unread, nameless_groups, names, number_of, set_contact_name,
    set_name, set_timer, set_unread,
};
pub use lookup::{all_of_id, get, get_in, get_own, get_received, has_written, quoted_by};
pub use pages::{
    ChatFilter, ChatPage, Cursor, Page, PageQuery, Part, Room, chat_at, chat_of, chats,
    oldest_first, page, recent, sift_chats,
};
pub use people::{
    Contact, ContactFilter, contact, contact_at, forget_contact, is_contact, sift_contacts,
};
pub use placeholders::{Lost, lose};
pub use raw::{is_unread, raw, read_again};
pub use retention::{
    Cleared, Keep, Removed, bound_stories, clear_old_stories, clear_step, first_to_expire,
    has_old_stories, is_over, retention_step, size,
};
pub use search::{Search, Wanted, index_older, is_incomplete};

use super::error::Result;
use super::key::Key;
use super::media;
use super::rows::Found;
use super::schema::{COUNTERS, EXPIRING, MESSAGE_IDS, MESSAGES, MESSAGES_BY_TIME};
use super::tx::{ReadTx, WriteTx};
use crate::clock::Millis;
use crate::jid::ChatJid;
use crate::message::{DeliveryStatus, Message, NewMedium, bounds};
use lookup::{find, find_received, first_of_a_person, places};

/// The newest messages of a chat that are searched for one that was sent or received.
const UNSENT: usize = 64;

const OWN: &str = "me";
const PEER: &str = "peer";

/// The outcome of [`insert`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inserted {
    New,
    /// It is stored already, and stays as it was.
    Duplicate,
}

/// How a message arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// Just now: it is unread, if it is not an own one.
    Live,
    /// With the phone's history, which has its own count of unread messages.
    History,
}

/// Per account.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Counters {
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
    #[serde(skip_serializing_if = "Option::is_none")]
    indexed: Option<search::Indexed>,
}

/// Where a message lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    chat: u64,
    timestamp: Millis,
    sequence: u64,
}

impl Place {
    fn key(&self, account: u32) -> (u32, u64, u64, u64) {
        (account, self.chat, self.timestamp, self.sequence)
    }

    fn time_key(&self, account: u32) -> (u32, u64, u64) {
        (account, self.timestamp, self.sequence)
    }

    fn id_value(&self) -> (u64, u64) {
        (self.timestamp, self.sequence)
    }

    /// Of a row of `messages`.
    fn of(row: &Found<'_, (u32, u64, u64, u64), Message>) -> Result<Place> {
        let (_, chat, timestamp, sequence) = row.parts()?;
        Ok(Place {
            chat,
            timestamp,
            sequence,
        })
    }

    /// Of a row of `messages_by_time`.
    fn of_time(row: &Found<'_, (u32, u64, u64), u64>) -> Result<Place> {
        let (_, timestamp, sequence) = row.parts()?;
        Ok(Place {
            chat: row.value()?,
            timestamp,
            sequence,
        })
    }
}

/// The key of a message's row in `message_ids`.
fn id_key(account: u32, chat: &Chat, message: &Message) -> Key {
    let sender = if message.from_me {
        OWN
    } else if chat.is_person() {
        PEER
    } else {
        message.wire_lid.as_deref().unwrap_or(&message.sender)
    };
    MESSAGE_IDS.key((account, message.message_id.as_str(), chat.number, sender))
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
    let medium = medium.map(bounds::medium);
    let medium = medium.as_ref();
    let mut counters = counters(&tx.view(), account)?;
    let mut chat = chats::ensure(tx, account, &message.chat_id, &mut counters)?;
    let id_key = settle_names(&tx.view(), account, &chat, message)?;
    if let Some(place) = place_of(&tx.view(), &chat, &id_key)? {
        return placeholders::fill(tx, account, &chat, place, message, medium);
    }
    search::prepare(&mut counters);
    settle_timer(&mut chat, message, arrival);
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
    MESSAGE_IDS.put_at(tx, &id_key, place.id_value())?;
    put_message(tx, account, place, message)?;
    search::add(tx, account, place, message, &mut counters)?;
    raw::put(tx, account, place, message)?;
    put_counters(tx, account, &counters)?;
    chat.message_count += 1;
    let is_on_its_way = message.from_me && message.status == Some(DeliveryStatus::Pending);
    chat.only_failed &= is_on_its_way;
    if !message.from_me {
        if arrival == Arrival::Live && message.counts_as_unread() && !chat.is_stories() {
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

/// A message on its way carries its chat's timer; one that comes in says what it is. Old ones say nothing of today's.
fn settle_timer(chat: &mut Chat, message: &mut Message, arrival: Arrival) {
    if chat.is_stories() {
        message.expiration = None;
    } else if message.status == Some(DeliveryStatus::Pending) {
        message.expiration = chat.timer();
    } else if let (Some(seconds), Arrival::Live) = (message.expiration, arrival)
        && (chat.is_person() || chat.timer.is_none())
    {
        // Who sets a group's timer is for WhatsApp's server to say: its members' messages count until it does.
        let at = if chat.is_person() {
            message.timestamp
        } else {
            0
        };
        chat.learn_timer(seconds, at);
    }
    message.set_expiry();
}

/// Cuts a message to its bounds, and gives each person in it the names that its chat knows; the key of
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
    let found = MESSAGE_IDS.get_at(tx, id_key)?;
    Ok(found.map(|(timestamp, sequence)| Place {
        chat: chat.number,
        timestamp,
        sequence,
    }))
}

/// Marks as read everything up to the newest of these messages: in the chat `jid`, or
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

/// Marks a chat as read up to this time. Whether that changed its count of unread messages.
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
    let mut found = Vec::new();
    for row in MESSAGES.scan_back(tx, (account, chat.number))? {
        if found.len() >= wanted {
            break;
        }
        let mut message = row?.value()?;
        if message.counts_as_unread() {
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

/// Marks an own message as failed, with the reason in words; returns it if that changed it, which it does not
/// once it was delivered.
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

/// Whether no message was ever exchanged with this person: own ones that were not sent do not count.
/// Groups, lists and channels are never new.
pub fn is_new_contact(tx: &ReadTx<'_>, account: u32, jid: &str) -> Result<bool> {
    if !ChatJid::parse(jid).is_ok_and(|jid| jid.is_person()) {
        return Ok(false);
    }
    let Some(chat) = chats::by_jid(tx, account, jid)? else {
        return Ok(true);
    };
    let newest = MESSAGES.scan_back(tx, (account, chat.number))?;
    for row in newest.take(UNSENT) {
        let message = row?.value()?;
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
        message.set_expiry();
        if let Some(preview) = &mut message.link_preview {
            preview.image = None;
        }
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
    let (mut chat, before) = load(&tx.view(), account, place)?;
    let before_due = before.due();
    let mut message = before.clone();
    if !change(&mut message) {
        return Ok(None);
    }
    message.account_id.clone_from(&before.account_id);
    message.message_id.clone_from(&before.message_id);
    message.chat_id.clone_from(&before.chat_id);
    message.sender.clone_from(&before.sender);
    message.wire_lid.clone_from(&before.wire_lid);
    message.from_me = before.from_me;
    let moved = Place {
        timestamp: message.timestamp,
        ..place
    };
    if moved != place {
        MESSAGES.delete(tx, place.key(account))?;
        MESSAGES_BY_TIME.delete(tx, place.time_key(account))?;
        MESSAGE_IDS.put_at(tx, id_key, moved.id_value())?;
    }
    if let Some(due) = before_due
        && (before_due != message.due() || moved != place)
    {
        EXPIRING.delete(tx, (account, due, place.sequence))?;
    }
    put_message(tx, account, moved, &message)?;
    search::change(tx, account, (place, &before), (moved, &message))?;
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
    MESSAGES.put(tx, place.key(account), message)?;
    MESSAGES_BY_TIME.put(tx, place.time_key(account), place.chat)?;
    if let Some(due) = message.due() {
        EXPIRING.put(tx, (account, due, place.sequence), place.timestamp)?;
    }
    Ok(())
}

/// Takes a message out of those that disappear.
fn forget_due(tx: &mut WriteTx<'_>, account: u32, place: Place, message: &Message) -> Result<()> {
    if let Some(due) = message.due() {
        EXPIRING.delete(tx, (account, due, place.sequence))?;
    }
    Ok(())
}

/// The chat and the message at a place that an index names.
fn load(tx: &ReadTx<'_>, account: u32, place: Place) -> Result<(Chat, Message)> {
    let chat = chats::of(tx, account, place.chat)?;
    let message = load_in(tx, account, &chat, place)?;
    Ok((chat, message))
}

fn load_in(tx: &ReadTx<'_>, account: u32, chat: &Chat, place: Place) -> Result<Message> {
    let mut message = MESSAGES.named(tx, place.key(account))?;
    chat.make_canonical(tx, account, &mut message)?;
    Ok(message)
}

fn counters(tx: &ReadTx<'_>, account: u32) -> Result<Counters> {
    Ok(COUNTERS.get(tx, (account,))?.unwrap_or_default())
}

fn put_counters(tx: &mut WriteTx<'_>, account: u32, counters: &Counters) -> Result<()> {
    COUNTERS.put(tx, (account,), counters).map(drop)
}
