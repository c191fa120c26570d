//! Pages of lists have a size limit, and the next page continues; untrusted data have a storage limit.

use serde_json::{Value, json};
use wildcat::clock;
use wildcat::event::Event;
use wildcat::message::{Message, MessageKind};
use wildcat::store::messages::{self, Arrival};
use wildcat::store::{Options, Store, accounts, events};

use crate::hostile::Watch;
use crate::support::{DEADLINE, Server, World, eventually};

const ALICE: &str = "491700000001";
const BOB: &str = "491700000002";
const MIB: usize = 1 << 20;
/// When the first message came, Unix milliseconds.
const FIRST: u64 = 1_700_000_000_000;

/// All entries of a list, page by page, and how many pages there were. No page is larger than it may be.
pub fn walk(world: &World, server: &Server, path: &str, field: &str) -> (Vec<Value>, usize) {
    let (mut all, mut pages) = (Vec::new(), 0);
    let mut cursor = String::new();
    loop {
        let answer = world.api(server, "GET", &format!("{path}{cursor}"), None);
        // A single entry may be larger: 65,536 characters, of up to 6 bytes each, twice.
        assert!(answer.bytes.len() <= MIB, "{path}: {}", answer.bytes.len());
        let page = answer.expect(200);
        let entries = page[field].as_array().expect("entries").clone();
        assert!(!entries.is_empty() || all.is_empty(), "{path}{cursor}");
        pages += 1;
        all.extend(entries);
        let place = page.get("pagination").unwrap_or(&page);
        if place["hasMore"] != true {
            assert_eq!(place["next"], Value::Null, "{path}");
            return (all, pages);
        }
        cursor = format!("&cursor={}", place["next"].as_str().expect("a cursor"));
        assert!(pages < 1_000, "{path} never ends");
    }
}

fn ids(entries: &[Value], field: &str) -> Vec<String> {
    let ids = entries
        .iter()
        .map(|entry| entry[field].as_str().expect("an id"));
    ids.map(str::to_owned).collect()
}

/// Stores so many messages of Bob's, with their events, while no server runs: quicker than it is to send
/// them.
fn fill(world: &World, count: usize, text: &str) {
    let store = Store::open(&world.options().data, Options::default()).expect("a store");
    let jid = format!("{BOB}@s.whatsapp.net");
    let numbers: Vec<usize> = (0..count).collect();
    smol::block_on(async {
        for batch in numbers.chunks(50) {
            let (batch, jid, text) = (batch.to_vec(), jid.clone(), text.to_owned());
            let stored = store.write(move |tx| {
                let account = accounts::number(&tx.view(), "alice")?.expect("alice");
                for n in &batch {
                    let (id, at) = (format!("M{n}"), FIRST + *n as u64);
                    let kind = MessageKind::Text;
                    let mut message = Message::empty("alice", id, jid.as_str(), kind, at);
                    message.sender.clone_from(&jid);
                    message.text = Some(text.clone());
                    messages::insert(tx, account, &mut message, None, Arrival::Live)?;
                    events::append(tx, &Event::Message(message), clock::now())?;
                }
                Ok(())
            });
            stored.await.expect("stored");
        }
        store.close(DEADLINE).await.expect("closed");
    });
}

#[test]
fn pages_end_after_a_mebibyte_and_continue_without_gap_or_repeat() {
    const COUNT: usize = 500;
    let world = World::new();
    let server = world.server();
    let alice = world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    server.kill();
    fill(&world, COUNT, &"x".repeat(65_536));
    let server = world
        .options()
        .with("limits.messages_per_minute", 100)
        .start();
    server.wait_log("alice: connected");
    let of_bob = format!("/accounts/alice/chats/{BOB}/messages");
    let watch = Watch::start(&server);
    for path in [
        format!("{of_bob}?limit=100"),
        "/messages?limit=500".to_owned(),
    ] {
        let (all, pages) = walk(&world, &server, &path, "messages");
        let mut seen = ids(&all, "messageId");
        assert_eq!(seen.len(), COUNT, "{path}");
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), COUNT, "{path}: nothing twice");
        let times: Vec<u64> = all.iter().filter_map(|m| m["timestamp"].as_u64()).collect();
        assert!(times.is_sorted_by(|a, b| a >= b), "newest first");
        assert!(pages > COUNT / 9, "{path}: {pages}");
    }
    // 250 MB were one answer before, and as many more while it was made.
    watch.end(24 * MIB as u64);
    // Messages that arrive during paging appear on no later page.
    let first = world.get(&server, &format!("{of_bob}?limit=2"));
    let next = first["pagination"]["next"]
        .as_str()
        .expect("more")
        .to_owned();
    let shown = ids(first["messages"].as_array().expect("messages"), "messageId");
    bob.say(&alice.jid(), "new");
    eventually("the new one", || {
        let page = world.get(&server, &format!("{of_bob}?limit=1"));
        (page["messages"][0]["text"] == "new").then_some(())
    });
    let second = world.get(&server, &format!("{of_bob}?limit=2&cursor={next}"));
    for id in ids(
        second["messages"].as_array().expect("messages"),
        "messageId",
    ) {
        assert!(!shown.contains(&id), "{id} is shown twice");
    }
    // The older parameters still work, and an invalid cursor gets a clear error.
    let by_offset = world.get(&server, &format!("{of_bob}?limit=1&offset=1"));
    assert_eq!(by_offset["messages"][0]["messageId"], shown[0].as_str());
    for bad in ["x", "1", "1.2", "-1.2.3"] {
        for path in [
            of_bob.as_str(),
            "/accounts/alice/chats",
            "/messages",
            "/media",
        ] {
            let answer = world.api(&server, "GET", &format!("{path}?cursor={bad}"), None);
            assert_eq!(answer.expect(400)["field"], "cursor", "{path} {bad}");
        }
    }
    // The log's pages, the chats and the outbox are bounded alike.
    let (mut after, mut events) = (String::new(), 0);
    loop {
        let answer = world.api(&server, "GET", &format!("/events?limit=1000{after}"), None);
        assert!(answer.bytes.len() <= MIB + 1024, "{}", answer.bytes.len());
        let page = answer.expect(200);
        events += page["events"].as_array().expect("events").len();
        after = format!("&after={}", page["next"].as_u64().expect("a number"));
        if page["hasMore"] != true {
            break;
        }
    }
    assert!(events > 0);
    world
        .post(&server, "/accounts/alice/disconnect", &json!({}))
        .expect(200);
    let mut queued = Vec::new();
    for n in 0..8 {
        let text = format!("{n}{}", "\u{1}".repeat(60_000));
        let body = json!({"to": BOB, "message": text, "queue": true});
        let sent = world.post(&server, "/accounts/alice/message/send", &body);
        queued.extend(sent.expect(202)["messageId"].as_str().map(str::to_owned));
    }
    let path = "/accounts/alice/outbox?limit=500";
    let (all, pages) = walk(&world, &server, path, "messages");
    assert_eq!(
        ids(&all, "messageId"),
        queued,
        "in the order in which they go"
    );
    assert!(pages > 1);
}

#[test]
fn untrusted_text_is_stored_up_to_a_limit_and_marked_as_truncated() {
    let world = World::new();
    let server = world.server();
    let alice = world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let path = |id: &str| format!("/accounts/alice/messages/{id}");
    let message = |id: &str| {
        eventually("the message", || {
            let answer = world.api(&server, "GET", &path(id), None);
            (answer.status == 200).then(|| answer.json()["message"].clone())
        })
    };
    let (exact, longer) = ("é".repeat(65_536), "é".repeat(65_537));
    let id = bob.say(&alice.jid(), &exact);
    let got = message(&id);
    assert_eq!(got["text"].as_str(), Some(exact.as_str()));
    assert_eq!(got["truncated"], Value::Null);
    let id = bob.say(&alice.jid(), &longer);
    let got = message(&id);
    assert_eq!(got["text"].as_str(), Some(exact.as_str()));
    assert_eq!(got["truncated"], true);
    let card = "v".repeat(300_000);
    let id = bob.send(&json!({"to": alice.jid(), "contact": {"name": longer, "vcard": card}}));
    let got = message(&id);
    assert_eq!(got["truncated"], true);
    assert!(got.to_string().len() < 100_000, "{}", got.to_string().len());
    let options: Vec<String> = (0..1_000)
        .map(|n| format!("{n}{}", "o".repeat(1_500)))
        .collect();
    let id = bob.send(&json!({"to": alice.jid(), "poll": {"name": "q", "options": options}}));
    let got = message(&id);
    assert_eq!(got["truncated"], true);
    assert!(got.to_string().len() < 100_000, "{}", got.to_string().len());
    // An edit is cut as the message is, and a shorter one makes it whole.
    for (text, truncated) in [(&longer, json!(true)), (&"short".to_owned(), Value::Null)] {
        bob.send(&json!({"to": alice.jid(), "edit": {"messageId": id, "text": text}}));
        let shown: String = text.chars().take(65_536).collect();
        eventually("the edit", || {
            let got = message(&id);
            (got["text"] == shown.as_str()).then(|| assert_eq!(got["truncated"], truncated))
        });
    }
}
