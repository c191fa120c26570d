//! Messages that may be asked for again: a device could not read them, and says so when it is there again,
//! perhaps weeks later.
//!
//! The source is the message store. Only what it cannot say again, files with their keys, reactions, deletions,
//! is kept here as a copy, in so many bytes. What was deleted for everyone is not said again.

use whatsapp_rust::waproto::codec;

use super::expiring::SENT;
use super::expiring::Stored;
use crate::jid::ChatJid;
use crate::message::{self, Context, Message};
use crate::store::messages;
use crate::store::signal as rows;
use crate::store::signal::Kind;
use crate::store::{Key, ReadTx, WriteTx};

/// How long a message can be asked for, in seconds.
pub const ANSWERED_FOR: i64 = 30 * 24 * 3600;

/// Bytes of an account's copies; past it the oldest go.
const BYTES: u64 = 4 << 20;

/// Copies that one new one replaces at most.
const REPLACED: usize = 256;

fn id_of(chat: &str, message_id: &str) -> Key {
    Key::new().text(chat).text(message_id)
}

/// Notes a message that is about to go; `at` is in Unix seconds.
pub fn note(
    tx: &mut WriteTx<'_>,
    account: u32,
    (chat, message_id): (&str, &str),
    at: i64,
    bytes: &[u8],
) -> Stored<()> {
    let stored = own(&tx.view(), account, chat, message_id)?;
    if let Some(message) = &stored
        && said_again(&tx.view(), account, message)?.as_deref() == Some(bytes)
    {
        return Ok(());
    }
    let id = id_of(chat, message_id);
    let before = SENT.get(&tx.view(), account, &id)?.map(|(_, old)| old);
    if before == Some(bytes) {
        return Ok(());
    }
    let gone = before.map_or(0, <[u8]>::len);
    SENT.put(tx, account, &id, at, bytes)?;
    let total = count(&tx.view(), account)?
        .saturating_sub(size(gone))
        .saturating_add(size(bytes.len()));
    set_count(tx, account, total)?;
    if total > BYTES {
        sweep(tx, account, i64::MAX, REPLACED, Some(BYTES))?;
    }
    Ok(())
}

/// A message that was asked for, as it was sent; `now` is in Unix seconds.
pub fn find(
    tx: &ReadTx<'_>,
    account: u32,
    (chat, message_id): (&str, &str),
    now: i64,
) -> Stored<Option<Vec<u8>>> {
    let is_old = |at: i64| at < now.saturating_sub(ANSWERED_FOR);
    let stored = own(tx, account, chat, message_id)?;
    if stored.as_ref().is_some_and(|message| message.deleted) {
        return Ok(None);
    }
    if let Some((at, copy)) = SENT.get(tx, account, &id_of(chat, message_id))? {
        return Ok((!is_old(at)).then(|| copy.to_vec()));
    }
    let at = |message: &Message| i64::try_from(message.timestamp / 1_000).unwrap_or(i64::MAX);
    match stored.filter(|message| !is_old(at(message))) {
        Some(message) => said_again(tx, account, &message),
        None => Ok(None),
    }
}

/// Removes the copies from before `cutoff`, at most `limit`, and says how many; no more than are too many, if
/// there is a `bound` of bytes.
pub fn sweep(
    tx: &mut WriteTx<'_>,
    account: u32,
    cutoff: i64,
    limit: usize,
    bound: Option<u64>,
) -> Stored<usize> {
    let mut total = count(&tx.view(), account)?;
    let mut swept = 0;
    for id in SENT.due(&tx.view(), account, cutoff, limit)? {
        if bound.is_some_and(|bound| total <= bound) {
            break;
        }
        let copy = SENT.take(tx, account, &id)?;
        total = total.saturating_sub(copy.map_or(0, |copy| size(copy.len())));
        swept += 1;
    }
    if swept > 0 {
        set_count(tx, account, total)?;
    }
    Ok(swept)
}

/// An own message of a chat.
fn own(tx: &ReadTx<'_>, account: u32, chat: &str, message_id: &str) -> Stored<Option<Message>> {
    messages::get_received(tx, account, chat, message_id)
}

/// What the message store alone can say again: all kinds without a file.
fn said_again(tx: &ReadTx<'_>, account: u32, message: &Message) -> Stored<Option<Vec<u8>>> {
    if message.truncated || message.deleted {
        return Ok(None);
    }
    let quoted = messages::quoted_by(tx, account, message)?;
    let mentions: Vec<ChatJid> = message
        .mentions
        .iter()
        .filter_map(|jid| ChatJid::parse(jid).ok())
        .collect();
    let context = Context::of(message, &mentions, quoted.as_ref());
    let encoded = message::encode(message, None, context).ok();
    Ok(encoded.map(|encoded| codec::message_to_vec(&encoded)))
}

fn count(tx: &ReadTx<'_>, account: u32) -> Stored<u64> {
    let row = rows::get(tx, &rows::key(account, Kind::SentMessageBytes))?;
    Ok(row
        .and_then(|bytes| bytes.try_into().ok())
        .map_or(0, u64::from_be_bytes))
}

fn set_count(tx: &mut WriteTx<'_>, account: u32, bytes: u64) -> Stored<()> {
    let key = rows::key(account, Kind::SentMessageBytes);
    rows::put(tx, &key, &bytes.to_be_bytes())
}

fn size(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::MessageKind;
    use crate::store::messages::Arrival;
    use crate::store::tests::TestStore;

    const CHAT: &str = "491700000002@s.whatsapp.net";
    const DAY: i64 = 24 * 3600;

    fn text(id: &str, words: &str) -> Message {
        Message {
            from_me: true,
            text: Some(words.to_owned()),
            ..Message::empty("alice", id, CHAT, MessageKind::Text, 1_000)
        }
    }

    fn found(store: &TestStore, id: &str, now: i64) -> Option<Vec<u8>> {
        store.read(|tx| find(tx, 1, (CHAT, id), now)).expect("read")
    }

    fn copies(store: &TestStore) -> usize {
        let all = store.read(|tx| Ok(rows::scan(tx, &rows::key(1, Kind::SentMessage))?.count()));
        all.expect("read")
    }

    #[test]
    fn a_text_is_said_again_without_a_copy() {
        let store = TestStore::new();
        let encoded = message::encode(&text("A", "hello"), None, Context::default());
        let bytes = codec::message_to_vec(&encoded.expect("encoded"));
        let noted = bytes.clone();
        store.run(move |tx| {
            messages::insert(tx, 1, &mut text("A", "hello"), None, Arrival::Live)?;
            note(tx, 1, (CHAT, "A"), 1, &noted)
        });
        assert_eq!(copies(&store), 0, "the message store has it");
        assert_eq!(found(&store, "A", 30 * DAY), Some(bytes.clone()));
        assert_eq!(found(&store, "A", 30 * DAY + 2), None);
        // Of another chat it is not.
        let other = store.read(|tx| find(tx, 1, ("491700000009@s.whatsapp.net", "A"), 2));
        assert_eq!(other.expect("read"), None);
        store.run(|tx| {
            messages::update(tx, 1, "A", |message| message.deleted = true)?;
            Ok(())
        });
        assert_eq!(found(&store, "A", 2), None, "deleted for everyone");
    }

    #[test]
    fn what_the_store_cannot_say_again_is_copied_within_a_bound() {
        let store = TestStore::new();
        store.run(|tx| {
            // Twice: the second time it is there.
            note(tx, 1, (CHAT, "R"), 5, b"reaction")?;
            note(tx, 1, (CHAT, "R"), 9, b"reaction")
        });
        assert_eq!(found(&store, "R", 5 + 30 * DAY), Some(b"reaction".to_vec()));
        assert_eq!(found(&store, "R", 6 + 30 * DAY), None);
        let piece = vec![7; 64 << 10];
        store.run(move |tx| {
            for n in 0..80i64 {
                note(tx, 1, (CHAT, &n.to_string()), 10 + n, &piece)?;
            }
            Ok(())
        });
        let total = store.read(|tx| count(tx, 1)).expect("read");
        assert!(total <= BYTES && total > BYTES / 2, "{total}");
        assert_eq!(copies(&store), 64);
        assert!(found(&store, "R", 10).is_none() && found(&store, "79", 10).is_some());
        let swept = store.run(|tx| sweep(tx, 1, i64::MAX, 1000, None));
        assert_eq!(swept, 64);
        assert_eq!(store.read(|tx| count(tx, 1)).expect("read"), 0);
    }
}
