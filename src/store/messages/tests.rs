use super::*;
use crate::event::Event;
use crate::message::{Author, By, Change, Target};
use crate::store::accounts;
use crate::store::schema::{EARLY_CHANGES, Id, MESSAGE_IDS, Owner, tables_of};
use crate::store::tests::{TestStore, message};
use crate::store::{StoreError, purge};

const ALICE: u32 = 1;
const BOB: u32 = 2;
const PN: &str = "491701234567@s.whatsapp.net";
const LID: &str = "955000000177@lid";
const GROUP: &str = "120363017953516826@g.us";

fn add(store: &TestStore, account: u32, message: Message) -> Inserted {
    store.run(move |tx| insert(tx, account, &mut message.clone(), None, Arrival::Live))
}

fn inbound(chat: &str, id: &str, timestamp: u64) -> Message {
    message("alice", chat, id, timestamp)
}

fn own(chat: &str, id: &str, timestamp: u64) -> Message {
    Message {
        sender: "1111111@s.whatsapp.net".into(),
        from_me: true,
        status: Some(DeliveryStatus::Pending),
        ..message("alice", chat, id, timestamp)
    }
}

const ALL: PageQuery = PageQuery {
    limit: 100,
    ..PageQuery::ALL
};

fn ids(page: &Page) -> Vec<&str> {
    page.messages
        .iter()
        .map(|m| m.message_id.as_str())
        .collect()
}

fn all(store: &TestStore, chat: &str) -> Page {
    store.read(|tx| page(tx, ALICE, chat, ALL)).unwrap()
}

fn all_chats(store: &TestStore) -> Vec<ChatSummary> {
    store
        .read(|tx| chats(tx, ALICE, Part::of(100, 0)))
        .unwrap()
        .chats
}

#[test]
fn a_message_is_stored_once_and_its_chat_sums_up() {
    let store = TestStore::new();
    let first = Message {
        push_name: Some("Zoe".into()),
        ..inbound(PN, "A", 100)
    };
    assert_eq!(add(&store, ALICE, first.clone()), Inserted::New);
    assert_eq!(add(&store, ALICE, first.clone()), Inserted::Duplicate);
    // The same id from another sender, in another chat, and of another account is another message.
    assert_eq!(add(&store, ALICE, own(PN, "A", 90)), Inserted::New);
    assert_eq!(add(&store, ALICE, inbound(GROUP, "A", 50)), Inserted::New);
    assert_eq!(add(&store, BOB, inbound(PN, "A", 100)), Inserted::New);
    let store = store.reopen();
    assert_eq!(add(&store, ALICE, first.clone()), Inserted::Duplicate);
    let chats = all_chats(&store);
    assert_eq!(chats.len(), 2);
    let chat = &chats[0];
    assert_eq!(
        (chat.chat_id.as_str(), chat.name.as_deref()),
        (PN, Some("Zoe"))
    );
    assert_eq!((chat.unread_count, chat.message_count), (1, 2));
    assert_eq!(chat.last_message_time, Some(100));
    let last = chat.last_message.as_ref().unwrap();
    assert_eq!((last.message_id.as_str(), last.from_me), ("A", false));
    let named = Message {
        chat_name: Some("Zoe".into()),
        ..first
    };
    assert_eq!(store.read(|tx| get(tx, ALICE, "A")).unwrap(), Some(named));
    assert_eq!(store.read(|tx| get(tx, ALICE, "B")).unwrap(), None);
    assert!(store.run(|tx| mark_read(tx, ALICE, PN)));
    assert!(!store.run(|tx| mark_read(tx, ALICE, PN)));
    assert!(store.run(|tx| set_name(tx, ALICE, GROUP, "Team")));
    assert!(!store.run(|tx| set_name(tx, ALICE, "1@s.whatsapp.net", "?")));
    let chats = all_chats(&store);
    assert_eq!(chats[0].unread_count, 0);
    assert_eq!(chats[1].name.as_deref(), Some("Team"));
}

#[test]
fn equal_ids_of_two_senders_in_a_group_are_two_messages() {
    let store = TestStore::new();
    let from = |jid: &str| Message {
        sender: jid.into(),
        ..inbound(GROUP, "A", 1)
    };
    assert_eq!(add(&store, ALICE, from(PN)), Inserted::New);
    assert_eq!(
        add(&store, ALICE, from("2222222@s.whatsapp.net")),
        Inserted::New
    );
    assert_eq!(add(&store, ALICE, from(PN)), Inserted::Duplicate);
}

#[test]
fn pages_go_from_new_to_old() {
    let store = TestStore::new();
    for n in [3u64, 1, 4, 0, 2] {
        add(&store, ALICE, inbound(PN, &format!("M{n}"), 100 + n * 10));
    }
    add(&store, ALICE, inbound(GROUP, "X", 120));
    add(&store, BOB, inbound(PN, "Y", 120));
    let page = |limit, offset, before, after| {
        let query = PageQuery {
            limit,
            offset,
            before,
            after,
            ..ALL
        };
        store.read(|tx| page(tx, ALICE, PN, query)).unwrap()
    };
    let first = page(2, 0, None, None);
    assert_eq!(ids(&first), ["M4", "M3"]);
    assert_eq!((first.total, first.has_more()), (5, true));
    let last = page(2, 4, None, None);
    assert_eq!((ids(&last), last.has_more()), (vec!["M0"], false));
    assert_eq!(ids(&page(9, 9, None, None)), [""; 0]);
    assert_eq!(ids(&page(9, 0, Some(120), None)), ["M1", "M0"]);
    assert_eq!(ids(&page(9, 0, None, Some(120))), ["M4", "M3"]);
    assert_eq!(ids(&page(9, 1, Some(140), Some(100))), ["M2", "M1"]);
    assert_eq!(ids(&page(9, 0, Some(100), Some(100))), [""; 0]);
    assert_eq!(ids(&page(9, 0, None, Some(u64::MAX))), [""; 0]);
    assert_eq!(ids(&page(9, 0, Some(0), None)), [""; 0]);
    let nowhere = store
        .read(|tx| super::page(tx, ALICE, "1@g.us", ALL))
        .unwrap();
    assert_eq!((nowhere.total, nowhere.has_more()), (0, false));
}

#[test]
fn equal_times_keep_the_order_of_arrival() {
    let store = TestStore::new();
    for id in ["B", "A", "C"] {
        add(&store, ALICE, inbound(PN, id, 7));
    }
    assert_eq!(ids(&all(&store, PN)), ["C", "A", "B"]);
    let chats = all_chats(&store);
    assert_eq!(chats[0].last_message.as_ref().unwrap().message_id, "C");
}

#[test]
fn chats_are_paged_by_their_newest_message() {
    let store = TestStore::new();
    for n in 0..5u64 {
        let chat = format!("1000000{n}@s.whatsapp.net");
        add(&store, ALICE, inbound(&chat, "A", 100 + n));
    }
    // An old message that comes late does not move its chat; a new one does.
    add(&store, ALICE, inbound("10000000@s.whatsapp.net", "B", 50));
    add(&store, ALICE, inbound("10000001@s.whatsapp.net", "B", 200));
    let page = store.read(|tx| chats(tx, ALICE, Part::of(3, 0))).unwrap();
    let users: Vec<_> = page.chats.iter().map(|c| &c.chat_id[7..8]).collect();
    assert_eq!(
        (users, page.total, page.has_more()),
        (vec!["1", "4", "3"], 5, true)
    );
    let page = store.read(|tx| chats(tx, ALICE, Part::of(3, 3))).unwrap();
    let users: Vec<_> = page.chats.iter().map(|c| &c.chat_id[7..8]).collect();
    assert_eq!((users, page.has_more()), (vec!["2", "0"], false));
    assert_eq!(
        store
            .read(|tx| chats(tx, BOB, Part::of(3, 0)))
            .unwrap()
            .total,
        0
    );
}

#[test]
fn a_sent_message_moves_to_the_servers_time() {
    let store = TestStore::new();
    add(&store, ALICE, own(PN, "OUT", 500));
    add(&store, ALICE, inbound(PN, "IN", 400));
    assert_eq!(ids(&all(&store, PN)), ["OUT", "IN"]);
    let sent = store.run(|tx| mark_sent(tx, ALICE, "OUT", 300)).unwrap();
    assert_eq!(
        (sent.timestamp, sent.status),
        (300, Some(DeliveryStatus::Sent))
    );
    assert_eq!(ids(&all(&store, PN)), ["IN", "OUT"]);
    let chats = all_chats(&store);
    assert_eq!(
        (chats[0].last_message_time, chats[0].message_count),
        (Some(400), 2)
    );
    let recent = store
        .read(|tx| recent(tx, &[ALICE], Part::of(9, 0)))
        .unwrap();
    assert_eq!(ids(&recent), ["IN", "OUT"]);
    assert_eq!(add(&store, ALICE, own(PN, "OUT", 500)), Inserted::Duplicate);
    // The only message of a chat moves the chat with it.
    add(&store, ALICE, own(GROUP, "G", 900));
    assert_eq!(all_chats(&store)[0].chat_id, GROUP);
    store.run(|tx| mark_sent(tx, ALICE, "G", 10));
    let chats = all_chats(&store);
    assert_eq!((chats.len(), chats[1].chat_id.as_str()), (2, GROUP));
    assert_eq!(store.run(|tx| mark_sent(tx, ALICE, "IN", 1)), None);
}

#[test]
fn a_status_only_moves_forward() {
    use DeliveryStatus::{Delivered, Failed, Pending, Played, Read, Sent};
    let store = TestStore::new();
    add(&store, ALICE, own(PN, "OUT", 1));
    add(&store, ALICE, inbound(PN, "IN", 2));
    let mut steps = Vec::new();
    for status in [Sent, Pending, Sent, Read, Delivered, Failed, Played] {
        let moved = store.run(move |tx| set_status(tx, ALICE, PN, "OUT", status));
        steps.push(moved.and_then(|m| m.status));
    }
    assert_eq!(
        steps,
        [Some(Sent), None, None, Some(Read), None, None, Some(Played)]
    );
    assert_eq!(store.run(|tx| set_status(tx, ALICE, PN, "IN", Read)), None);
    assert_eq!(store.run(|tx| set_status(tx, ALICE, PN, "NO", Read)), None);
    add(&store, ALICE, own(PN, "OUT2", 1));
    for (status, moves) in [
        (Failed, true),
        (Pending, false),
        (Failed, false),
        (Delivered, true),
    ] {
        let moved = store.run(move |tx| set_status(tx, ALICE, PN, "OUT2", status));
        assert_eq!(moved.is_some(), moves, "{status:?}");
    }
}

#[test]
fn an_update_keeps_the_identity_of_a_message() {
    let store = TestStore::new();
    add(&store, ALICE, inbound(PN, "A", 1));
    let changed = store
        .run(|tx| {
            update(tx, ALICE, "A", |m| {
                m.text = Some("edited".into());
                m.edited = true;
                m.message_id = "B".into();
                m.chat_id = GROUP.into();
                m.from_me = true;
            })
        })
        .unwrap();
    let expected = Message {
        text: Some("edited".into()),
        edited: true,
        ..inbound(PN, "A", 1)
    };
    assert_eq!(changed, expected);
    assert_eq!(
        store.read(|tx| get(tx, ALICE, "A")).unwrap(),
        Some(expected)
    );
    let text = all_chats(&store)[0].last_message.clone().unwrap().text;
    assert_eq!(text.as_deref(), Some("edited"));
    assert_eq!(store.run(|tx| update(tx, BOB, "A", |_| ())), None);
}

#[test]
fn a_lid_and_a_number_are_one_chat_in_either_order() {
    for linked_before in [true, false] {
        let store = TestStore::new();
        if linked_before {
            store.run(|tx| link(tx, ALICE, LID, PN));
            assert_eq!(all_chats(&store), [], "no message, no chat to show");
        }
        add(&store, ALICE, inbound(LID, "A", 1));
        if !linked_before {
            store.run(|tx| link(tx, ALICE, LID, PN));
        }
        assert_eq!(add(&store, ALICE, inbound(PN, "A", 1)), Inserted::Duplicate);
        add(&store, ALICE, inbound(PN, "B", 2));
        store.run(|tx| link(tx, ALICE, LID, PN));
        for jid in [LID, PN] {
            let page = all(&store, jid);
            assert_eq!(ids(&page), ["B", "A"], "{jid}");
            assert!(
                page.messages
                    .iter()
                    .all(|m| m.chat_id == PN && m.sender == PN)
            );
            let known = store.read(|tx| canonical(tx, ALICE, jid)).unwrap();
            assert_eq!(known.as_deref(), Some(PN));
        }
        let chats = all_chats(&store);
        assert_eq!((chats.len(), chats[0].chat_id.as_str()), (1, PN));
        assert_eq!(store.read(|tx| canonical(tx, BOB, LID)).unwrap(), None);
    }
}

#[test]
fn two_halves_of_a_chat_become_one() {
    for (lids, pns) in [(3u64, 1u64), (1, 3)] {
        let store = TestStore::new();
        for n in 0..lids {
            add(&store, ALICE, inbound(LID, &format!("L{n}"), 10 + n * 2));
        }
        for n in 0..pns {
            add(&store, ALICE, own(PN, &format!("P{n}"), 11 + n * 2));
        }
        // Came once under each.
        add(&store, ALICE, inbound(LID, "BOTH", 100));
        add(&store, ALICE, inbound(PN, "BOTH", 100));
        add(&store, ALICE, inbound(GROUP, "G", 5));
        let bobs = add(&store, BOB, inbound(LID, "L0", 10));
        assert_eq!(bobs, Inserted::New);
        store.run(|tx| link(tx, ALICE, LID, PN));
        let store = store.reopen();
        let page = all(&store, PN);
        assert_eq!((page.messages.len(), page.total), (5, 5));
        assert!(
            page.messages
                .is_sorted_by_key(|m| std::cmp::Reverse(m.timestamp))
        );
        assert_eq!(ids(&page), ids(&all(&store, LID)));
        let chats = store.read(|tx| chats(tx, ALICE, Part::of(9, 0))).unwrap();
        assert_eq!((chats.total, chats.chats.len()), (2, 2));
        assert_eq!(chats.chats[0].message_count, 5);
        let recent = store
            .read(|tx| recent(tx, &[ALICE, BOB], Part::of(99, 0)))
            .unwrap();
        assert_eq!((recent.messages.len(), recent.total), (7, 7));
        assert!(store.read(|tx| get(tx, ALICE, "L0")).unwrap().is_some());
        assert_eq!(
            add(&store, ALICE, inbound(PN, "L0", 10)),
            Inserted::Duplicate
        );
    }
}

#[test]
fn a_number_that_passes_on_starts_a_chat_of_its_own() {
    let store = TestStore::new();
    store.run(|tx| link(tx, ALICE, LID, PN));
    add(&store, ALICE, inbound(PN, "OLD", 1));
    // The person takes another number along; later somebody else gets the old one.
    store.run(|tx| link(tx, ALICE, LID, "491709999999@s.whatsapp.net"));
    store.run(|tx| link(tx, ALICE, "777@lid", PN));
    add(&store, ALICE, inbound("777@lid", "NEW", 2));
    assert_eq!(ids(&all(&store, PN)), ["NEW"]);
    assert_eq!(ids(&all(&store, LID)), ["OLD"]);
}

#[test]
fn a_jid_that_led_to_a_chat_which_moved_starts_a_new_one() {
    let store = TestStore::new();
    let [second, third] = ["492@s.whatsapp.net", "493@s.whatsapp.net"];
    add(&store, ALICE, inbound(PN, "A", 1));
    add(&store, ALICE, inbound(third, "B", 2));
    for number in [PN, second, third] {
        store.run(move |tx| link(tx, ALICE, LID, number));
    }
    assert_eq!(ids(&all(&store, third)), ["B", "A"]);
    assert_eq!(add(&store, ALICE, inbound(PN, "C", 3)), Inserted::New);
    assert_eq!(ids(&all(&store, PN)), ["C"]);
    // The number goes to another person: what the first one writes is not taken for that one's.
    store.run(move |tx| link(tx, ALICE, "777@lid", third));
    add(&store, ALICE, inbound(LID, "D", 4));
    assert_eq!(ids(&all(&store, LID)), ["D"]);
    assert_eq!(all_chats(&store)[0].chat_id, LID);
}

#[test]
fn messages_are_stored_and_found_after_any_order_of_links() {
    let lids: [&str; 3] = ["1@lid", "2@lid", "3@lid"];
    let numbers = ["1@s.whatsapp.net", "2@s.whatsapp.net", "3@s.whatsapp.net"];
    let mut random = 1u64;
    let mut pick = move |of: usize| {
        random = random
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (random >> 33) as usize % of
    };
    for _ in 0..40 {
        let store = TestStore::new();
        for step in 0..40 {
            let (lid, number) = (lids[pick(3)], numbers[pick(3)]);
            match pick(8) {
                0 => store.run(move |tx| link(tx, ALICE, number, lid)),
                1 => store.run(move |tx| link(tx, ALICE, lid, lid)),
                2 | 3 => store.run(move |tx| link(tx, ALICE, lid, number)),
                way => {
                    let chat = if pick(2) == 0 { lid } else { number };
                    let id = format!("M{}", pick(6));
                    let at = pick(9) as u64;
                    let message = match way {
                        4 => own(chat, &id, at),
                        _ => inbound(chat, &id, at),
                    };
                    add(&store, ALICE, message);
                    let found = all(&store, chat).messages;
                    assert!(found.iter().any(|m| m.message_id == id), "step {step}");
                }
            }
            let found = store.read(|tx| chats(tx, ALICE, Part::of(100, 0))).unwrap();
            assert_eq!(found.total, found.chats.len() as u64);
            let mut messages = 0;
            for chat in found.chats {
                let page = all(&store, &chat.chat_id);
                assert_eq!(page.total, chat.message_count);
                assert_eq!(page.messages.len() as u64, chat.message_count);
                assert!(page.messages.iter().all(|m| m.chat_id == chat.chat_id));
                messages += chat.message_count;
            }
            assert_eq!(store.read(|tx| count(tx, ALICE)).unwrap(), messages);
            let recent = store
                .read(|tx| recent(tx, &[ALICE], Part::of(999, 0)))
                .unwrap();
            assert_eq!(recent.messages.len() as u64, messages);
            let named = store.read(|tx| Ok(MESSAGE_IDS.scan(tx, ())?.count()));
            assert_eq!(named.unwrap() as u64, messages);
        }
    }
}

#[test]
fn accounts_are_merged_by_time() {
    let store = TestStore::new();
    for n in 0..10u64 {
        let account = if n % 3 == 0 { ALICE } else { BOB };
        add(&store, account, inbound(PN, &format!("M{n}"), n));
    }
    let recent = |accounts: &'static [u32], limit, skip| {
        store
            .read(|tx| recent(tx, accounts, Part::of(limit, skip)))
            .unwrap()
    };
    let page = recent(&[ALICE, BOB, 7], 4, 0);
    assert_eq!(ids(&page), ["M9", "M8", "M7", "M6"]);
    assert_eq!((page.total, page.has_more()), (10, true));
    let page = recent(&[ALICE, BOB], 4, 7);
    assert_eq!(
        (ids(&page), page.has_more()),
        (vec!["M2", "M1", "M0"], false)
    );
    assert_eq!(ids(&recent(&[BOB], 2, 1)), ["M7", "M5"]);
    assert_eq!(recent(&[], 2, 0).total, 0);
    assert_eq!(ids(&recent(&[ALICE], 4, 0)), ["M9", "M6", "M3", "M0"]);
    assert!(!recent(&[ALICE], 4, 0).has_more());
}

#[test]
fn a_failed_job_leaves_no_half_message() {
    let store = TestStore::new();
    let write = store.write(|tx| {
        insert(tx, ALICE, &mut inbound(PN, "A", 1), None, Arrival::Live)?;
        Err::<(), _>(StoreError::Missing("thing"))
    });
    assert!(smol::block_on(write).is_err());
    assert_eq!(all_chats(&store), []);
    assert_eq!(add(&store, ALICE, inbound(PN, "A", 1)), Inserted::New);
}

#[test]
fn nothing_of_a_removed_account_is_left() {
    let store = TestStore::new();
    let number = store
        .run(|tx| accounts::create(tx, "alice", None, String::new(), 0))
        .unwrap()
        .number;
    for n in 0..20 {
        add(&store, number, inbound(PN, &format!("M{n}"), n));
        add(&store, number + 1, inbound(PN, &format!("M{n}"), n));
    }
    store.run(|tx| accounts::remove(tx, "alice"));
    let mut steps = 0;
    while store.run(|tx| purge::step(tx, 7)) {
        steps += 1;
    }
    assert!(steps >= 60 / 7, "{steps}");
    let tables_are_empty = store
        .read(|tx| {
            let prefix = Key::account(number);
            let owners = [Owner::Account, Owner::Messages];
            for table in tables_of(&owners).chain([Id::Accounts]) {
                if tx.prefix(table, &prefix)?.next().is_some() {
                    return Ok(false);
                }
            }
            Ok(true)
        })
        .unwrap();
    assert!(tables_are_empty);
    let others = store.read(|tx| page(tx, number + 1, PN, ALL)).unwrap();
    assert_eq!(others.total, 20);
}

fn target(chat: &str, id: &str, author: Option<Author>) -> Target {
    Target {
        chat: chat.into(),
        message_id: id.into(),
        author,
    }
}

fn by(from: &str, timestamp: u64) -> By {
    By {
        from: from.into(),
        from_me: false,
        timestamp,
    }
}

/// The change's event, if it made a difference.
fn change(store: &TestStore, target: Target, by: By, change: Change) -> Option<Event> {
    store
        .run(move |tx| apply(tx, ALICE, "alice", &target, &by, &change))
        .event
}

fn react(emoji: &str) -> Change {
    Change::React {
        emoji: emoji.into(),
    }
}

fn edit(text: &str) -> Change {
    Change::Edit {
        text: text.into(),
        mentions: None,
    }
}

fn stored(store: &TestStore, id: &str) -> Message {
    store.read(|tx| get(tx, ALICE, id)).unwrap().unwrap()
}

#[test]
fn each_person_reacts_once_and_the_newest_counts() {
    let store = TestStore::new();
    add(&store, ALICE, inbound(GROUP, "A", 1));
    let to = || target(GROUP, "A", None);
    assert!(change(&store, to(), by(PN, 10), react("x")).is_some());
    assert_eq!(change(&store, to(), by(PN, 10), react("x")), None, "again");
    assert!(change(&store, to(), by("2@s.whatsapp.net", 11), react("y")).is_some());
    assert!(change(&store, to(), by(PN, 12), react("z")).is_some());
    assert_eq!(change(&store, to(), by(PN, 9), react("old")), None, "late");
    let reactions = |store: &TestStore| -> Vec<(String, String)> {
        let reactions = stored(store, "A").reactions;
        reactions.into_iter().map(|r| (r.from, r.emoji)).collect()
    };
    let both = [("2@s.whatsapp.net", "y"), (PN, "z")].map(|(a, b)| (a.into(), b.into()));
    assert_eq!(reactions(&store), both);
    let gone = change(&store, to(), by(PN, 13), react(""));
    match gone {
        Some(Event::MessageReaction(gone)) => {
            assert_eq!((gone.emoji, gone.deed.sender), ("".into(), PN.into()))
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(change(&store, to(), by(PN, 14), react("")), None);
    assert_eq!(reactions(&store), both[..1]);
}

#[test]
fn edits_and_deletions_change_what_their_author_wrote() {
    let store = TestStore::new();
    add(&store, ALICE, inbound(PN, "A", 1));
    add(&store, ALICE, own(PN, "A", 2));
    let his = || target(PN, "A", Some(Author::Them(None)));
    assert!(change(&store, his(), by(PN, 10), edit("new")).is_some());
    assert_eq!(
        change(&store, his(), by(PN, 10), edit("new")),
        None,
        "again"
    );
    assert_eq!(change(&store, his(), by(PN, 5), edit("late")), None);
    let texts: Vec<_> = all(&store, PN)
        .messages
        .into_iter()
        .map(|m| (m.text.unwrap(), m.edited, m.edited_at))
        .collect();
    let untouched = ("text of A".to_owned(), false, None);
    assert_eq!(texts, [untouched.clone(), ("new".into(), true, Some(10))]);
    assert!(change(&store, his(), by(PN, 11), Change::Delete).is_some());
    assert_eq!(change(&store, his(), by(PN, 12), Change::Delete), None);
    assert_eq!(change(&store, his(), by(PN, 12), edit("ghost")), None);
    let page = all(&store, PN);
    assert_eq!(page.messages[0].text.as_deref(), Some("text of A"));
    assert_eq!(
        (page.messages[1].text.clone(), page.messages[1].deleted),
        (None, true)
    );
    assert_eq!(page.total, 2);
}

#[test]
fn a_change_before_its_message_waits_for_it() {
    let store = TestStore::new();
    let his = || target(LID, "A", Some(Author::Them(None)));
    assert_eq!(
        change(&store, his(), by(LID, 10), edit("new")),
        None,
        "shown with its message"
    );
    assert!(change(&store, his(), by(LID, 11), react("x")).is_some());
    assert_eq!(
        change(&store, his(), by(LID, 11), react("x")),
        None,
        "again"
    );
    // Another chat's, and an own one, of the same id are not meant.
    add(&store, ALICE, inbound(GROUP, "A", 1));
    store.run(|tx| link(tx, ALICE, LID, PN));
    add(&store, ALICE, own(PN, "A", 2));
    for chat in [GROUP, PN] {
        assert!(!all(&store, chat).messages[0].edited, "{chat}");
    }
    let store = store.reopen();
    add(&store, ALICE, inbound(PN, "A", 3));
    let newest = &all(&store, PN).messages[0];
    assert_eq!(newest.text.as_deref(), Some("new"));
    assert_eq!((newest.edited, newest.reactions.len()), (true, 1));
    // It waits no more.
    let left = store
        .read(|tx| Ok(EARLY_CHANGES.scan(tx, ())?.count()))
        .unwrap();
    assert_eq!(left, 0);
}

#[test]
fn a_change_that_names_a_wrong_author_is_ignored_not_kept_and_not_reported() {
    let store = TestStore::new();
    let record = store
        .run(|tx| accounts::create(tx, "alice", None, "auth_alice".into(), 1))
        .expect("an account");
    assert_eq!(record.number, ALICE);
    store.run(|tx| {
        accounts::update(tx, "alice", |a| {
            a.jid = Some("1111111@s.whatsapp.net".into());
            a.lid = Some("11@lid".into());
        })
    });
    const ZOE: &str = "2@s.whatsapp.net";
    add(
        &store,
        ALICE,
        Message {
            sender: PN.into(),
            ..inbound(GROUP, "A", 1)
        },
    );
    add(&store, ALICE, own(GROUP, "B", 2));
    store.run(|tx| link(tx, ALICE, LID, PN));
    let them = |jid: &str| Some(Author::Them(Some(jid.into())));
    let named = |jid: &str| Some(Author::Named(jid.into()));
    for (id, author, what) in [
        ("A", them(ZOE), Change::Delete),
        ("A", named(ZOE), Change::Delete),
        ("A", named("11@lid"), Change::Delete),
        ("A", Some(Author::Me), Change::Delete),
        ("B", named(PN), react("x")),
        ("B", them(ZOE), edit("new")),
    ] {
        let to = target(GROUP, id, author);
        assert_eq!(change(&store, to.clone(), by(ZOE, 9), what), None, "{to:?}");
    }
    let left = store.read(|tx| Ok(EARLY_CHANGES.scan(tx, ())?.count()));
    assert_eq!(left.unwrap(), 0);
    // Named as the group names them, by either of their names.
    for (id, names) in [
        ("A", [PN, LID]),
        ("B", ["11@lid", "1111111@s.whatsapp.net"]),
    ] {
        for (name, emoji) in names.into_iter().zip(["x", "y"]) {
            let to = target(GROUP, id, Some(Author::Named(name.into())));
            assert!(
                change(&store, to, by(ZOE, 10), react(emoji)).is_some(),
                "{name}"
            );
        }
    }
}

#[test]
fn a_deletion_that_waited_without_an_author_is_not_honoured() {
    let store = TestStore::new();
    // As versions before kept what anyone in a group said.
    change(&store, target(GROUP, "A", None), by(PN, 9), Change::Delete);
    add(&store, ALICE, inbound(GROUP, "A", 10));
    assert!(!stored(&store, "A").deleted);
}

#[test]
fn changes_without_a_message_are_bounded() {
    let store = TestStore::new();
    for n in 0..100u64 {
        let reaction = react(&n.to_string());
        change(&store, target(PN, "A", None), by(PN, n), reaction);
    }
    let waiting = || {
        store
            .read(|tx| Ok(EARLY_CHANGES.scan(tx, ())?.count()))
            .unwrap()
    };
    assert_eq!(waiting(), 64);
    store.run(|tx| {
        for n in 0..4_200u64 {
            let to = target(PN, &format!("M{n}"), None);
            apply(tx, ALICE, "alice", &to, &by(PN, n), &react("x"))?;
        }
        Ok(())
    });
    assert!((3072..=4096).contains(&waiting()), "{}", waiting());
}

#[test]
fn a_flood_of_changes_pushes_out_its_senders_own() {
    const OTHER: &str = "2222222@s.whatsapp.net";
    let store = TestStore::new();
    change(&store, target(OTHER, "V", None), by(OTHER, 1), react("x"));
    store.run(|tx| {
        for n in 0..60u64 {
            let to = target(PN, &format!("M{n}"), None);
            let text = "é".repeat(70_000);
            apply(
                tx,
                ALICE,
                "alice",
                &to,
                &by(PN, n),
                &Change::Edit {
                    text,
                    mentions: None,
                },
            )?;
        }
        Ok(())
    });
    let bytes = store
        .read(|tx| {
            let rows = EARLY_CHANGES.scan(tx, ())?;
            rows.map(|row| Ok(row?.bytes.len())).sum::<Result<usize>>()
        })
        .unwrap();
    assert!((256 << 10..=1 << 20).contains(&bytes), "{bytes}");
    add(&store, ALICE, inbound(OTHER, "V", 5));
    let got = store.read(|tx| get(tx, ALICE, "V")).unwrap().unwrap();
    assert_eq!(got.reactions.len(), 1, "the other's change stays");
    // The last of the flood has waited, too, and is cut.
    add(&store, ALICE, inbound(PN, "M59", 5));
    let got = store.read(|tx| get(tx, ALICE, "M59")).unwrap().unwrap();
    assert_eq!(got.text.map(|text| text.chars().count()), Some(65_536));
    assert!(got.truncated && got.edited);
}

#[test]
fn pages_continue_behind_their_cursor_also_among_equal_times() {
    let store = TestStore::new();
    // Both accounts' sequences and times are equal.
    for n in 0..20u64 {
        for (account, chat) in [(ALICE, PN), (BOB, GROUP)] {
            let mut message = inbound(chat, &format!("M{n}"), n / 5);
            message.text = Some("x".repeat(1_000));
            add(&store, account, message);
        }
    }
    let walk = |bytes: usize, limit: usize| {
        let (mut all, mut pages) = (Vec::new(), 0);
        let mut part = Part {
            bytes,
            ..Part::of(limit, 0)
        };
        loop {
            let page = store.read(|tx| recent(tx, &[ALICE, BOB], part)).unwrap();
            assert!(!page.messages.is_empty());
            let shown = page.messages.iter();
            all.extend(shown.map(|m| (m.chat_id.clone(), m.message_id.clone())));
            pages += 1;
            match page.next {
                Some(next) => {
                    assert_eq!(Cursor::parse(&next.to_string()), Some(next));
                    part.behind = Some(next);
                }
                None => return (all, pages),
            }
        }
    };
    let (whole, pages) = walk(usize::MAX, 100);
    assert_eq!((whole.len(), pages), (40, 1));
    for (bytes, limit, least) in [(usize::MAX, 3, 14), (4_000, 100, 14), (1, 100, 40)] {
        let (all, pages) = walk(bytes, limit);
        assert_eq!(all, whole, "{bytes} {limit}");
        assert!(pages >= least, "{bytes} {limit}: {pages}");
    }
}

#[test]
fn an_id_that_is_used_again_leads_to_the_message_stored_first() {
    let store = TestStore::new();
    let from = |sender: &str, text: &str| Message {
        sender: sender.into(),
        text: Some(text.into()),
        ..inbound(GROUP, "A", 5)
    };
    // The key of the second one sorts before that of the first, and its time is earlier.
    add(&store, ALICE, from("9@s.whatsapp.net", "first"));
    let mut second = from("1@s.whatsapp.net", "second");
    second.timestamp = 1;
    add(&store, ALICE, second);
    add(&store, ALICE, inbound(PN, "A", 9));
    let text = |found: Option<Message>| found.and_then(|m| m.text);
    let read = |chat: Option<&str>| {
        let found = store.read(|tx| match chat {
            Some(chat) => get_in(tx, ALICE, chat, "A"),
            None => get(tx, ALICE, "A"),
        });
        text(found.unwrap())
    };
    assert_eq!(read(None).as_deref(), Some("first"));
    assert_eq!(read(Some(GROUP)).as_deref(), Some("first"));
    assert_eq!(read(Some(PN)).as_deref(), Some("text of A"));
    assert_eq!(read(Some("3@g.us")), None);
    let found = store.read(|tx| find_target(tx, ALICE, &target(GROUP, "A", None)));
    assert_eq!(text(found.unwrap()).as_deref(), Some("first"));
    // A quote is of the person whose words it was to be.
    let quoting = |participant: &str| {
        let mut reply = own(GROUP, "R", 10);
        reply.quoted_message = Some(crate::message::Quoted {
            message_id: "A".into(),
            chat_id: None,
            participant: Some(participant.into()),
            text: None,
            has_media: false,
        });
        text(store.read(|tx| quoted_by(tx, ALICE, &reply)).unwrap())
    };
    assert_eq!(quoting("1@s.whatsapp.net").as_deref(), Some("second"));
    assert_eq!(quoting("9@s.whatsapp.net").as_deref(), Some("first"));
    assert_eq!(quoting("5@s.whatsapp.net"), None);
}

#[test]
fn reading_a_chat_leaves_what_came_later_unread() {
    let store = TestStore::new();
    for n in 0..5u64 {
        add(&store, ALICE, inbound(PN, &format!("M{n}"), 100 + n));
    }
    add(&store, ALICE, own(PN, "mine", 110));
    let unread = |store: &TestStore| all_chats(store)[0].unread_count;
    let read = |ids: &'static [&'static str]| {
        let ids: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
        store.run(move |tx| mark_read_messages(tx, ALICE, None, &ids))
    };
    assert_eq!(unread(&store), 5);
    assert!(read(&["M0", "M2"]));
    assert_eq!(unread(&store), 2);
    assert!(!read(&["M1"]), "an older one changes nothing");
    assert!(!read(&["nowhere"]));
    assert!(!store.run(|tx| mark_read_until(tx, ALICE, PN, 50)));
    assert!(store.run(|tx| mark_read_until(tx, ALICE, PN, 103)));
    assert_eq!(unread(&store), 1);
    let left = store.read(|tx| super::unread(tx, ALICE, PN, 10)).unwrap();
    assert_eq!(left[0].message_id, "M4");
    assert!(read(&["mine"]));
    assert_eq!(unread(&store), 0);
    assert!(store.run(|tx| mark_unread(tx, ALICE, PN)));
    assert_eq!(unread(&store), 1);
}

#[test]
fn the_address_book_name_counts_more_than_the_push_name() {
    let store = TestStore::new();
    store.run(|tx| set_contact_name(tx, ALICE, PN, Some("Robert")));
    assert_eq!(all_chats(&store), [], "a contact is no chat");
    let named = |name: &str, id: &str| Message {
        push_name: Some(name.into()),
        ..inbound(LID, id, 1)
    };
    store.run(|tx| link(tx, ALICE, LID, PN));
    add(&store, ALICE, named("Bob", "A"));
    let name = |store: &TestStore| all_chats(store)[0].name.clone();
    assert_eq!(name(&store).as_deref(), Some("Robert"));
    store.run(|tx| set_contact_name(tx, ALICE, LID, None));
    assert_eq!(name(&store).as_deref(), Some("Bob"));
}

#[test]
fn members_of_a_group_are_known_by_number_as_soon_as_it_is_learnt() {
    let store = TestStore::new();
    let from = |id: &str| Message {
        sender: LID.into(),
        ..inbound(GROUP, id, 1)
    };
    add(&store, ALICE, from("A"));
    assert_eq!(stored(&store, "A").sender, LID);
    store.run(|tx| link(tx, ALICE, LID, PN));
    assert_eq!(stored(&store, "A").sender, PN);
    assert_eq!(stored(&store, "A").wire_lid.as_deref(), Some(LID));
    assert_eq!(add(&store, ALICE, from("A")), Inserted::Duplicate);
    // A reaction names him either way.
    for (author, at) in [(LID, 5), (PN, 6)] {
        let his = target(GROUP, "A", Some(Author::Them(Some(author.into()))));
        let reaction = react(&at.to_string());
        assert!(change(&store, his, by(PN, at), reaction).is_some());
    }
    let other = target(GROUP, "A", Some(Author::Them(Some("9@lid".into()))));
    change(&store, other, by(PN, 7), react("lost"));
    assert_eq!(stored(&store, "A").reactions[0].emoji, "6");
}

#[test]
fn each_person_in_a_message_is_shown_by_number() {
    let store = TestStore::new();
    let quoted = crate::message::Quoted {
        chat_id: None,
        message_id: "A".into(),
        participant: Some(LID.into()),
        text: None,
        has_media: false,
    };
    let reaction = crate::message::Reaction {
        from: LID.into(),
        emoji: "x".into(),
        timestamp: 1,
    };
    let said = |id: &str| Message {
        quoted_message: Some(quoted.clone()),
        mentions: vec![LID.into(), "777@lid".into()],
        reactions: vec![reaction.clone()],
        ..inbound(GROUP, id, 1)
    };
    // Whether the number is learnt before or after.
    add(&store, ALICE, said("EARLY"));
    store.run(|tx| link(tx, ALICE, LID, PN));
    add(&store, ALICE, said("LATE"));
    for id in ["EARLY", "LATE"] {
        let message = stored(&store, id);
        let quoted = message.quoted_message.expect("a quote");
        assert_eq!(quoted.participant.as_deref(), Some(PN));
        assert_eq!(message.mentions, [PN, "777@lid"]);
        assert_eq!(message.reactions[0].from, PN);
    }
}

#[test]
fn media_are_stored_and_removed_with_their_messages() {
    let store = TestStore::new();
    let medium = NewMedium {
        kind: crate::media::MediaKind::Image,
        look: None,
        wire_chat: PN.into(),
        wire_sender: None,
        mimetype: "image/png".into(),
        file_name: None,
        size: 5,
        sha256: vec![1; 32],
        remote: None,
        wanted: true,
    };
    let added = store.run(move |tx| {
        let mut message = inbound(PN, "A", 1);
        insert(tx, ALICE, &mut message, Some(&medium), Arrival::Live)?;
        assert_eq!(
            insert(
                tx,
                ALICE,
                &mut message.clone(),
                Some(&medium),
                Arrival::Live
            )?,
            Inserted::Duplicate
        );
        Ok(message)
    });
    assert_eq!(stored(&store, "A"), added);
    assert!(added.has_media);
    assert_eq!(
        added.media_url().as_deref(),
        Some("/accounts/alice/messages/A/media?mediaId=000000010000000000000001")
    );
    let wanted = |store: &TestStore| store.read(|tx| media::wanted(tx, ALICE, 0, 9)).unwrap();
    assert_eq!(wanted(&store).len(), 1);
    let listed = store
        .read(|tx| media::newest_first(tx, ALICE, None)?.collect::<Result<Vec<_>>>())
        .unwrap();
    assert_eq!(listed.len(), 1, "once, although it came twice");
    assert_eq!(Some(listed[0].id()), added.media_id);
    let deleted = store.run(|tx| {
        let his = target(PN, "A", None);
        apply(tx, ALICE, "alice", &his, &by(PN, 2), &Change::Delete)
    });
    assert_eq!(deleted.removed_medium, added.media_id);
    assert_eq!(wanted(&store), []);
    assert_eq!(
        store
            .read(|tx| media::newest_first(tx, ALICE, None)?.collect::<Result<Vec<_>>>())
            .unwrap(),
        []
    );
}

fn fail(store: &TestStore, id: &'static str) {
    let failed = store.run(move |tx| mark_failed(tx, ALICE, id, "refused"));
    assert!(failed.is_some(), "{id}");
}

#[test]
fn a_chat_in_which_everything_failed_is_not_listed_and_its_messages_are_found() {
    let store = TestStore::new();
    let listed = |store: &TestStore| -> Vec<(String, u64)> {
        let page = store.read(|tx| chats(tx, ALICE, Part::of(100, 0))).unwrap();
        assert_eq!(page.total as usize, page.chats.len());
        let row = |chat: &ChatSummary| (chat.chat_id.clone(), chat.message_count);
        page.chats.iter().map(row).collect()
    };
    for id in ["A", "B"] {
        add(&store, ALICE, own(PN, id, 10));
    }
    assert_eq!(
        listed(&store),
        [(PN.to_owned(), 2)],
        "they are on their way"
    );
    fail(&store, "A");
    assert_eq!(listed(&store), [(PN.to_owned(), 2)], "B still is");
    fail(&store, "B");
    assert_eq!(listed(&store), []);
    assert_eq!(ids(&all(&store, PN)), ["B", "A"]);
    let found = store.read(|tx| get(tx, ALICE, "A")).unwrap().unwrap();
    assert_eq!(found.status, Some(DeliveryStatus::Failed));
    let store = store.reopen();
    // Once more, in vain.
    add(&store, ALICE, own(PN, "C", 20));
    assert_eq!(listed(&store), [(PN.to_owned(), 3)]);
    fail(&store, "C");
    assert_eq!(listed(&store), []);
    // A receipt shows that one did arrive.
    let proved = store.run(|tx| set_status(tx, ALICE, PN, "C", DeliveryStatus::Delivered));
    assert!(proved.is_some());
    assert_eq!(listed(&store), [(PN.to_owned(), 3)]);
    // From then on it is a chat, whatever fails in it.
    add(&store, ALICE, own(PN, "D", 30));
    fail(&store, "D");
    assert_eq!(listed(&store), [(PN.to_owned(), 4)]);

    // Unlisted chats in merges, in both directions, and under retention.
    add(&store, ALICE, own(LID, "E", 40));
    fail(&store, "E");
    assert_eq!(listed(&store).len(), 1);
    store.run(|tx| link(tx, ALICE, LID, PN));
    assert_eq!(listed(&store), [(PN.to_owned(), 5)]);
    const OTHER: &str = "4917000001@s.whatsapp.net";
    add(&store, ALICE, own("1@lid", "F", 50));
    fail(&store, "F");
    add(&store, ALICE, own(OTHER, "G", 60));
    fail(&store, "G");
    store.run(move |tx| link(tx, ALICE, "1@lid", OTHER));
    assert_eq!(listed(&store).len(), 1);
    assert_eq!(ids(&all(&store, OTHER)), ["G", "F"]);
    add(&store, ALICE, inbound("1@lid", "H", 70));
    assert_eq!(listed(&store).len(), 2);
    let newest = all_chats(&store).remove(0);
    assert_eq!(
        (newest.last_message_time, newest.message_count),
        (Some(70), 3)
    );
}

#[test]
fn two_forms_of_a_number_are_one_chat_once_whatsapp_resolved_them() {
    const REAL: &str = "5511987654321@s.whatsapp.net";
    const TYPED: &str = "551187654321@s.whatsapp.net";
    let store = TestStore::new();
    let jid_of = |store: &TestStore, jid: &'static str| {
        let found = store.read(|tx| {
            let found = found_as(tx, ALICE, jid)?;
            canonical_jid(tx, ALICE, &found)
        });
        found.unwrap()
    };
    // Nothing is known: each is itself.
    assert_eq!(jid_of(&store, TYPED), TYPED);
    // A chat under one of them is found by the other, which is not taken for it elsewhere.
    add(&store, ALICE, inbound(REAL, "A", 1));
    assert_eq!(jid_of(&store, TYPED), REAL);
    let number = store.read(|tx| number_of(tx, ALICE, TYPED)).unwrap();
    assert_eq!(number, TYPED);
    assert!(store.read(|tx| is_new_contact(tx, ALICE, TYPED)).unwrap());
    // What waits under the typed one moves along with WhatsApp's answer.
    add(&store, ALICE, own(TYPED, "B", 2));
    assert_eq!(all_chats(&store).len(), 2);
    store.run(|tx| answers_as(tx, ALICE, TYPED, REAL));
    let store = store.reopen();
    for jid in [TYPED, REAL] {
        assert_eq!(ids(&all(&store, jid)), ["B", "A"], "{jid}");
        assert!(!store.read(|tx| is_new_contact(tx, ALICE, jid)).unwrap());
    }
    assert_eq!(all_chats(&store).len(), 1);
    assert_eq!(all_chats(&store)[0].chat_id, REAL);
    let target = Target {
        chat: TYPED.into(),
        message_id: "A".into(),
        author: None,
    };
    assert!(
        store
            .read(|tx| find_target(tx, ALICE, &target))
            .unwrap()
            .is_some()
    );
    // The LID is learnt later, and leads to the same chat.
    store.run(|tx| link(tx, ALICE, LID, REAL));
    for (n, jid) in [LID, TYPED, REAL].into_iter().enumerate() {
        let message = Message {
            message_id: format!("C{n}"),
            ..inbound(jid, "", 10 + n as u64)
        };
        add(&store, ALICE, message);
    }
    assert_eq!(all_chats(&store).len(), 1);
    assert_eq!(all(&store, TYPED).total, 5);
    // A number with a LID of its own is somebody else, whatever is said of it.
    store.run(|tx| {
        link(tx, ALICE, "2@lid", TYPED)?;
        answers_as(tx, ALICE, TYPED, REAL)
    });
    assert_eq!(jid_of(&store, "2@lid"), TYPED);
    assert_eq!(all(&store, TYPED).total, 0);
    // An answer that names the number itself is remembered, and a LID is learnt beside it.
    const SELF: &str = "525512345678@s.whatsapp.net";
    assert!(!store.read(|tx| is_known_person(tx, ALICE, SELF)).unwrap());
    store.run(|tx| answers_as(tx, ALICE, SELF, SELF));
    assert!(store.read(|tx| is_known_person(tx, ALICE, SELF)).unwrap());
    store.run(|tx| link(tx, ALICE, "3@lid", SELF));
    assert_eq!(jid_of(&store, "3@lid"), SELF);
}

#[test]
fn a_timer_that_was_set_earlier_and_arrives_late_does_not_count() {
    let store = TestStore::new();
    let timer = |seconds, at| {
        store.run(move |tx| set_timer(tx, ALICE, PN, seconds, at));
        let found = store.read(|tx| chats::by_jid(tx, ALICE, PN)).unwrap();
        found.unwrap().timer()
    };
    assert_eq!(timer(60, 5_000), Some(60));
    assert_eq!(timer(60, 9_000), Some(60), "still so");
    assert_eq!(timer(90, 7_000), Some(60), "earlier");
    assert_eq!(timer(0, 9_500), None, "in the same second");
    assert_eq!(timer(60, 8_000), None, "earlier");
}
