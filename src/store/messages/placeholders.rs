//! Places that are kept for messages that could not be decrypted, until they can be, if ever.
//!
//! A placeholder is a message like others, of a kind of its own ([`MessageKind::is_placeholder`]): it counts
//! as unread, has its place in its chat, and is removed with messages of its age.
//!
//! [`MessageKind::is_placeholder`]: crate::message::MessageKind::is_placeholder

use super::chats::{self, Chat};
use super::{
    Arrival, Inserted, Place, Result, changes, counters, insert, load_in, place_of, put_counters,
    put_message, raw, search, settle_names,
};
use crate::message::{Message, NewMedium};
use crate::store::media;
use crate::store::schema::MESSAGES;
use crate::store::tx::{ReadTx, WriteTx};

/// The newest messages of a chat that are looked at, and how many of them may be placeholders: so much
/// room a stranger takes with what cannot be read.
const NEWEST: usize = 128;
const PLACEHOLDERS: usize = 64;

/// The outcome of [`lose`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// It is stored, content and all, or was deleted.
    Known,
    /// It is not, and has a place in its chat since just now.
    Noted,
    /// It is not; its place it has already, or gets none.
    Missing,
}

/// A message could not be decrypted. If it is not stored, and is one that people are to see, it gets a
/// place; `message` is what stands there, and is brought into the form in which it is stored.
pub fn lose(
    tx: &mut WriteTx<'_>,
    account: u32,
    message: &mut Message,
    shown: bool,
) -> Result<Lost> {
    if let Some(chat) = chats::by_jid(&tx.view(), account, &message.chat_id)? {
        let view = tx.view();
        let id_key = settle_names(&view, account, &chat, message)?;
        if let Some(place) = place_of(&view, &chat, &id_key)? {
            let stored = load_in(&view, account, &chat, place)?;
            let waits = stored.kind.is_placeholder() && !stored.deleted;
            return Ok(if waits { Lost::Missing } else { Lost::Known });
        }
        if shown && is_full(&view, account, &chat)? {
            log::debug!("{}: too much that cannot be read", chat.jid);
            return Ok(Lost::Missing);
        }
    }
    if !shown {
        return Ok(Lost::Missing);
    }
    insert(tx, account, message, None, Arrival::Live)?;
    Ok(Lost::Noted)
}

/// Puts a message in the place of its placeholder, if there is one.
pub(super) fn fill(
    tx: &mut WriteTx<'_>,
    account: u32,
    chat: &Chat,
    place: Place,
    message: &mut Message,
    medium: Option<&NewMedium>,
) -> Result<Inserted> {
    let before = load_in(&tx.view(), account, chat, place)?;
    if !before.kind.is_placeholder() || before.deleted || message.kind.is_placeholder() {
        return Ok(Inserted::Duplicate);
    }
    renew(tx, account, chat, (place, &before), message, medium)?;
    Ok(Inserted::New)
}

/// Puts a message that can be read now in the place of `before`, with what has happened to that.
pub(super) fn renew(
    tx: &mut WriteTx<'_>,
    account: u32,
    chat: &Chat,
    (place, before): (Place, &Message),
    message: &mut Message,
    medium: Option<&NewMedium>,
) -> Result<()> {
    let mut counters = counters(&tx.view(), account)?;
    if let Some(medium) = medium {
        counters.media += 1;
        media::put_new(tx, account, counters.media, message, medium)?;
    }
    // What has happened to it meanwhile.
    message.timestamp = before.timestamp;
    message.set_expiry();
    message.reactions.clone_from(&before.reactions);
    if before.edited {
        let says = match message.has_media {
            true => &mut message.caption,
            false => &mut message.text,
        };
        says.clone_from(&before.text);
        message.edited = true;
        message.edited_at = before.edited_at;
        message.truncated = before.truncated;
    }
    changes::catch_up(tx, account, chat, message, &mut counters)?;
    put_message(tx, account, place, message)?;
    raw::put(tx, account, place, message)?;
    put_counters(tx, account, &counters)?;
    search::change(tx, account, (place, before), (place, message))
}

/// Whether a chat has as many placeholders among its newest messages as it may have.
fn is_full(tx: &ReadTx<'_>, account: u32, chat: &Chat) -> Result<bool> {
    let mut found = 0;
    let newest = MESSAGES.scan_back(tx, (account, chat.number))?;
    for row in newest.take(NEWEST) {
        let message = row?.value()?;
        found += usize::from(message.kind.is_placeholder());
    }
    Ok(found >= PLACEHOLDERS)
}

#[cfg(test)]
mod tests {
    use super::super::{apply, get, page};
    use super::*;
    use crate::message::{Author, By, Change, MessageKind, Target};
    use crate::store::messages::{ChatSummary, PageQuery, Part};
    use crate::store::tests::{TestStore, message};

    const ALICE: u32 = 1;
    const PN: &str = "491701234567@s.whatsapp.net";

    fn waiting(id: &str, timestamp: u64) -> Message {
        Message {
            kind: MessageKind::Waiting,
            text: None,
            note: Some("wait".into()),
            ..message("alice", PN, id, timestamp)
        }
    }

    fn lost(store: &TestStore, message: Message, shown: bool) -> Lost {
        store.run(move |tx| lose(tx, ALICE, &mut message.clone(), shown))
    }

    fn came(store: &TestStore, message: Message) -> Inserted {
        store.run(move |tx| insert(tx, ALICE, &mut message.clone(), None, Arrival::Live))
    }

    fn stored(store: &TestStore, id: &'static str) -> Option<Message> {
        store.read(|tx| get(tx, ALICE, id)).expect("read")
    }

    fn summary(store: &TestStore) -> ChatSummary {
        let chats = store.read(|tx| super::super::chats(tx, ALICE, Part::of(9, 0)));
        chats.expect("read").chats.remove(0)
    }

    fn change(store: &TestStore, id: &str, change: Change) {
        let target = Target {
            chat: PN.into(),
            message_id: id.into(),
            author: Some(Author::Them(None)),
        };
        let by = By {
            from: PN.into(),
            from_me: false,
            timestamp: 9,
        };
        store.run(move |tx| apply(tx, ALICE, "alice", &target, &by, &change));
    }

    #[test]
    fn a_place_is_kept_once_and_filled_once() {
        let store = TestStore::new();
        assert_eq!(lost(&store, waiting("A", 5), false), Lost::Missing);
        assert_eq!(stored(&store, "A"), None, "not shown");
        assert_eq!(lost(&store, waiting("A", 5), true), Lost::Noted);
        assert_eq!(lost(&store, waiting("A", 5), true), Lost::Missing);
        let chat = summary(&store);
        assert_eq!((chat.unread_count, chat.message_count), (1, 1));
        change(&store, "A", Change::React { emoji: "x".into() });
        // It comes, dated by when it was sent again.
        let found = message("alice", PN, "A", 70);
        assert_eq!(came(&store, found.clone()), Inserted::New);
        assert_eq!(came(&store, found), Inserted::Duplicate);
        let found = stored(&store, "A").expect("stored");
        assert_eq!((found.kind, found.timestamp), (MessageKind::Text, 5));
        assert_eq!((found.note, found.reactions.len()), (None, 1));
        let chat = summary(&store);
        assert_eq!((chat.unread_count, chat.message_count), (1, 1));
        // Delivered again, and not to be decrypted any more.
        for shown in [true, false] {
            assert_eq!(lost(&store, waiting("A", 5), shown), Lost::Known);
        }
        assert_eq!(stored(&store, "A").expect("stored").kind, MessageKind::Text);
    }

    #[test]
    fn changes_of_a_placeholder_survive_the_arrival_of_its_message() {
        let store = TestStore::new();
        for id in ["A", "B"] {
            assert_eq!(lost(&store, waiting(id, 5), true), Lost::Noted);
        }
        change(
            &store,
            "A",
            Change::Edit {
                text: "new".into(),
                mentions: None,
            },
        );
        change(&store, "B", Change::Delete);
        assert_eq!(came(&store, message("alice", PN, "A", 5)), Inserted::New);
        let edited = stored(&store, "A").expect("stored");
        assert_eq!((edited.text.as_deref(), edited.edited), (Some("new"), true));
        assert_eq!(
            came(&store, message("alice", PN, "B", 5)),
            Inserted::Duplicate
        );
        let gone = stored(&store, "B").expect("stored");
        assert_eq!((gone.deleted, gone.text), (true, None));
        assert_eq!(lost(&store, waiting("B", 5), true), Lost::Known);
    }

    #[test]
    fn placeholders_are_bounded_in_each_chat() {
        let store = TestStore::new();
        let flood = |from: usize| {
            let mut noted = 0;
            for n in from..from + 200 {
                let one = waiting(&format!("M{n}"), 5);
                noted += usize::from(lost(&store, one, true) == Lost::Noted);
            }
            noted
        };
        assert_eq!(flood(0), PLACEHOLDERS);
        assert_eq!(flood(200), 0);
        // Among messages that can be read there is room again.
        for n in 0..NEWEST {
            came(&store, message("alice", PN, &format!("R{n}"), 6));
        }
        let late = Message {
            timestamp: 7,
            ..waiting("LATE", 7)
        };
        assert_eq!(lost(&store, late, true), Lost::Noted);
        let all = PageQuery {
            limit: 100,
            ..PageQuery::ALL
        };
        let total = store.read(|tx| page(tx, ALICE, PN, all)).expect("read");
        assert_eq!(
            total.total,
            u64::try_from(PLACEHOLDERS + NEWEST + 1).expect("few")
        );
    }
}
