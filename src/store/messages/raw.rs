//! Protobufs of messages that are not understood in full: a later version reads them again.
//!
//! A row goes with its message, and when that is deleted for everyone. Rows count towards `storage.max_bytes`.

use super::lookup::places;
use super::placeholders::renew;
use super::{Place, Result, forget_due, load, settle_names};
use crate::clock::Millis;
use crate::message::{DECODER, Message, NewMedium, bounds};
use crate::store::accounts;
use crate::store::schema::{MESSAGES_BY_TIME, RAW, READ_BY};
use crate::store::tx::{ReadTx, WriteTx};

/// Keeps `message.raw`, if it has one.
pub(super) fn put(
    tx: &mut WriteTx<'_>,
    account: u32,
    place: Place,
    message: &Message,
) -> Result<()> {
    match &message.raw {
        Some(raw) => {
            let value = (DECODER, (place.timestamp, raw.as_slice()));
            RAW.put(tx, (account, place.sequence), value).map(drop)
        }
        None => Ok(()),
    }
}

pub(super) fn remove(tx: &mut WriteTx<'_>, account: u32, place: Place) -> Result<()> {
    RAW.delete(tx, (account, place.sequence)).map(drop)
}

/// The protobuf of a message, if it is kept.
pub fn raw(tx: &ReadTx<'_>, account: u32, message: &Message) -> Result<Option<Vec<u8>>> {
    for (place, _) in places(tx, account, &message.message_id, None)? {
        let Some((_, (_, bytes))) = RAW.get(tx, (account, place.sequence))? else {
            continue;
        };
        let (_, found) = load(tx, account, place)?;
        if found.chat_id == message.chat_id && found.sender == message.sender {
            return Ok(Some(bytes.to_vec()));
        }
    }
    Ok(None)
}

/// Whether protobufs are kept that this version has not read.
pub fn is_unread(tx: &ReadTx<'_>) -> Result<bool> {
    Ok(READ_BY.get(tx, ())?.unwrap_or(0) < DECODER)
}

/// A stored message with what is read in its protobuf, and its file; `None` if that is nothing.
type Reader = fn(&Message, &[u8]) -> Option<(Message, Option<NewMedium>)>;

/// Looks at `limit` kept protobufs, from `start` (account's number, sequence) on, and reads those that an earlier version
/// has read; where to go on, `None` after the last. It changes messages alone: no event reports it, and nothing becomes unread.
pub fn read_again(
    tx: &mut WriteTx<'_>,
    start: (u32, u64),
    limit: usize,
    reader: Reader,
) -> Result<Option<(u32, u64)>> {
    let mut looked = 0;
    for account in accounts::list(&tx.view())? {
        let account = account.number;
        let mut sequence = match account.cmp(&start.0) {
            std::cmp::Ordering::Less => continue,
            std::cmp::Ordering::Equal => start.1,
            std::cmp::Ordering::Greater => 0,
        };
        while let Some((found, read)) = next_unread(&tx.view(), account, sequence)? {
            if looked == limit {
                return Ok(Some((account, sequence)));
            }
            looked += 1;
            if let Some((timestamp, bytes)) = read {
                let place = Place {
                    chat: 0,
                    timestamp,
                    sequence: found,
                };
                one_again(tx, account, place, &bytes, reader)?;
            }
            sequence = found + 1;
        }
    }
    READ_BY.put(tx, (), DECODER)?;
    Ok(None)
}

type Kept = (u64, Option<(Millis, Vec<u8>)>);

/// The first kept protobuf from `start` on: its sequence; and its message's timestamp and its bytes, unless this version has
/// read it.
fn next_unread(tx: &ReadTx<'_>, account: u32, start: u64) -> Result<Option<Kept>> {
    let mut rows = RAW.scan_from(tx, (account, start), (account,))?;
    let Some(row) = rows.next().transpose()? else {
        return Ok(None);
    };
    let (_, sequence) = row.parts()?;
    let (version, (timestamp, bytes)) = row.value()?;
    let unread = (version < DECODER).then(|| (timestamp, bytes.to_vec()));
    Ok(Some((sequence, unread)))
}

/// `place` is without its chat.
fn one_again(
    tx: &mut WriteTx<'_>,
    account: u32,
    place: Place,
    bytes: &[u8],
    reader: Reader,
) -> Result<()> {
    let Some(chat) = MESSAGES_BY_TIME.get(&tx.view(), place.time_key(account))? else {
        return remove(tx, account, place);
    };
    let place = Place { chat, ..place };
    let (chat, stored) = load(&tx.view(), account, place)?;
    // What its sender wrote later counts.
    let read = match stored.edited {
        true => None,
        false => reader(&stored, bytes),
    };
    if let Some((mut message, medium)) = read {
        // A file that is here stays.
        let medium = medium.filter(|_| stored.media_id.is_none());
        if stored.media_id.is_some() {
            message.has_media = true;
            message.media_id.clone_from(&stored.media_id);
            message.media_type.clone_from(&stored.media_type);
            message.media_mimetype.clone_from(&stored.media_mimetype);
            message.media_size = stored.media_size;
            message.media_file_name.clone_from(&stored.media_file_name);
        }
        message.expiration = message.expiration.or(stored.expiration);
        settle_names(&tx.view(), account, &chat, &mut message)?;
        forget_due(tx, account, place, &stored)?;
        let medium = medium.as_ref().map(bounds::medium);
        renew(
            tx,
            account,
            &chat,
            (place, &stored),
            &mut message,
            medium.as_ref(),
        )?;
    }
    let value = (DECODER, (place.timestamp, bytes));
    RAW.put(tx, (account, place.sequence), value).map(drop)
}

#[cfg(test)]
mod tests {
    use super::super::{Arrival, Inserted, Keep, apply, get, insert, is_over, retention_step};
    use super::*;
    use crate::message::{Author, By, Change, MessageKind, Target};
    use crate::store::tests::{TestStore, message};

    const CHAT: &str = "491701234567@s.whatsapp.net";

    fn reader(stored: &Message, raw: &[u8]) -> Option<(Message, Option<NewMedium>)> {
        let words = String::from_utf8(raw.to_vec()).ok()?;
        let read = Message {
            kind: MessageKind::Text,
            text: Some(words),
            raw: Some(raw.to_vec()),
            ..stored.clone()
        };
        (stored.message_id != "B").then_some((read, None))
    }

    #[test]
    fn a_kept_protobuf_is_read_again_once_and_goes_with_its_message() {
        let store = TestStore::new();
        let made = store.run(|tx| accounts::create(tx, "alice", None, String::new(), 0));
        let alice = made.unwrap().number;
        let add = |id: &'static str, at: Millis, raw: usize| {
            store.run(move |tx| {
                let mut came = Message {
                    kind: MessageKind::Unknown,
                    text: None,
                    raw: Some(vec![b'x'; raw]),
                    ..message("alice", CHAT, id, at)
                };
                insert(tx, alice, &mut came, None, Arrival::Live)
            })
        };
        for (at, id) in ["A", "B", "C"].into_iter().enumerate() {
            assert_eq!(add(id, at as Millis, 5), Inserted::New);
        }
        add("LARGE", 3, bounds::RAW + 1);
        let kept = |id: &'static str| {
            let found = store.read(|tx| match get(tx, alice, id)? {
                Some(found) => raw(tx, alice, &found),
                None => Ok(None),
            });
            found.unwrap().map(|bytes| bytes.len())
        };
        let all = [kept("A"), kept("B"), kept("C"), kept("LARGE")];
        assert_eq!(all, [Some(5), Some(5), Some(5), None]);

        assert!(!store.read(is_unread).unwrap(), "all are this version's");
        store.run(move |tx| {
            READ_BY.put(tx, (), DECODER - 1)?;
            for sequence in 1..=3 {
                let row = (DECODER - 1, (sequence - 1, b"words".as_slice()));
                RAW.put(tx, (alice, sequence), row)?;
            }
            Ok(())
        });
        assert!(store.read(is_unread).unwrap());
        let mut next = Some((0, 0));
        let mut steps = 0;
        while let Some(from) = next {
            next = store.run(move |tx| read_again(tx, from, 2, reader));
            steps += 1;
        }
        assert_eq!(steps, 2);
        assert!(!store.read(is_unread).unwrap());
        let words = |id: &'static str| {
            let found = store.read(|tx| get(tx, alice, id)).unwrap().unwrap();
            (found.kind, found.text)
        };
        assert_eq!(words("A"), (MessageKind::Text, Some("words".into())));
        assert_eq!(words("B"), (MessageKind::Unknown, None));

        let by = By {
            from: CHAT.into(),
            from_me: false,
            timestamp: 9,
        };
        let target = Target {
            chat: CHAT.into(),
            message_id: "A".into(),
            author: Some(Author::Them(None)),
        };
        store.run(move |tx| apply(tx, alice, "alice", &target, &by, &Change::Delete));
        assert_eq!(kept("A"), None, "deleted for everyone");
        let keep = Keep {
            since: Some(2),
            ..Keep::default()
        };
        while store.read(|tx| is_over(tx, keep)).unwrap() {
            store.run(move |tx| retention_step(tx, keep, 10));
        }
        let rows = store.run(move |tx| {
            let rows = RAW.scan(&tx.view(), (alice,))?;
            Ok(rows.count())
        });
        assert_eq!(rows, 1, "of C");
    }
}
