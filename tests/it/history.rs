//! The phone's history before the pairing, the identity of contacts, and actions on the phone.

use serde_json::{Value, json};

use crate::support::{Receiver, Server, World, eventually};

const ALICE: &str = "491700000001";
const BOB: &str = "491700000002";

fn chats(world: &World, server: &Server) -> Vec<Value> {
    let page = world.get(server, "/accounts/alice/chats?limit=500");
    page["chats"].as_array().expect("chats").clone()
}

fn total(world: &World, server: &Server) -> u64 {
    world.get(server, "/messages?limit=1")["pagination"]["total"]
        .as_u64()
        .expect("a total")
}

fn past(world: &World, number: &str, body: &Value) {
    world
        .admin("POST", &format!("/phones/{number}/history"), Some(body))
        .expect_success();
}

#[test]
fn the_phones_history_fills_chats_without_events() {
    let world = World::new();
    let server = world.server();
    let receiver = Receiver::start();
    let hook = json!({"url": receiver.url(), "events": ["message", "message.reaction"]});
    world.post(&server, "/webhooks", &hook).expect(201);
    past(
        &world,
        ALICE,
        &json!({"chats": 4, "groups": 2, "messagesPerChat": 50, "days": 30, "unread": 3}),
    );
    let alice = world.pair(&server, "alice", ALICE);
    eventually("the history", || {
        (total(&world, &server) == 300).then_some(())
    });
    let listed = eventually("names and unread counts", || {
        let listed = chats(&world, &server);
        let done = listed
            .iter()
            .all(|chat| chat["name"].is_string() && chat["unreadCount"] == 3);
        done.then_some(listed)
    });
    assert_eq!(listed.len(), 6);
    let groups = listed
        .iter()
        .filter(|chat| {
            chat["chatId"]
                .as_str()
                .is_some_and(|id| id.ends_with("@g.us"))
        })
        .count();
    assert_eq!(groups, 2);
    for chat in &listed {
        assert_eq!(chat["messageCount"], 50);
        let id = chat["chatId"].as_str().expect("a JID");
        assert!(!id.ends_with("@lid"), "known by number: {chat}");
        let path = format!("/accounts/alice/chats/{id}/messages?limit=100");
        let page = world.get(&server, &path);
        let messages = page["messages"].as_array().expect("messages").clone();
        assert_eq!(messages.len(), 50);
        let times: Vec<u64> = messages
            .iter()
            .map(|m| m["timestamp"].as_u64().expect("a time"))
            .collect();
        assert!(times.is_sorted_by(|a, b| a >= b), "newest first");
        assert!(messages.iter().any(|m| m["fromMe"] == true));
        assert!(messages.iter().any(|m| m["quotedMessage"].is_object()));
        assert!(
            messages
                .iter()
                .any(|m| m["reactions"][0]["emoji"].is_string())
        );
        for message in messages {
            let sender = message["sender"].as_str().expect("a sender");
            assert!(sender.ends_with("@s.whatsapp.net"), "{message}");
            assert_eq!(message["from"], id, "{message}");
        }
    }
    // A restart brings nothing of it twice, and what happens now is an event, the first.
    server.kill();
    let server = world.server();
    server.wait_log("alice: connected");
    let bob = world.phone(BOB, "Bob");
    bob.say(&alice.jid(), "now");
    assert_eq!(receiver.next().body["text"], "now");
    assert_eq!(total(&world, &server), 301);
}

#[test]
fn history_is_limited_to_the_configured_days() {
    for (days, least, most) in [("0", 0, 0), ("10", 5, 15)] {
        let world = World::new();
        let server = world.options().with("history.days", days).start();
        past(
            &world,
            ALICE,
            &json!({"chats": 1, "messagesPerChat": 30, "days": 30}),
        );
        let alice = world.pair(&server, "alice", ALICE);
        let bob = world.phone(BOB, "Bob");
        bob.say(&alice.jid(), "now");
        let mut last = 0;
        eventually("the history", || {
            let before = std::mem::replace(&mut last, total(&world, &server));
            (last > least && last == before).then_some(())
        });
        assert!((least + 1..=most + 1).contains(&last), "{days}: {last}");
    }
}

#[test]
fn a_hidden_number_that_becomes_known_merges_into_one_chat() {
    let world = World::new();
    let server = world.server();
    let alice = world.pair(&server, "alice", ALICE);
    let hidden = json!({"number": BOB, "name": "Bob", "hideNumber": true});
    world
        .admin("POST", "/phones", Some(&hidden))
        .expect_success();
    let say = |text: &str| {
        let body = json!({"to": alice.jid(), "text": text});
        world
            .admin("POST", &format!("/phones/{BOB}/messages"), Some(&body))
            .expect_success()["messageId"]
            .clone()
    };
    say("who am I?");
    let lid = eventually("the chat", || {
        let id = chats(&world, &server).first()?["chatId"]
            .as_str()?
            .to_owned();
        Some(id)
    });
    assert!(lid.ends_with("@lid"), "{lid}");
    // A second chat, under the number, until its LID is known.
    let number = format!("{BOB}@s.whatsapp.net");
    say("still me");
    // Messages of the same second are in the order of arrival.
    eventually("the second message", || {
        let listed = chats(&world, &server);
        (listed.first()?["messageCount"] == 2).then_some(())
    });
    world
        .admin(
            "POST",
            &format!("/phones/{ALICE}/mapping"),
            Some(&json!({"of": BOB})),
        )
        .expect_success();
    eventually("one chat under the number", || {
        let listed = chats(&world, &server);
        (listed.len() == 1 && listed[0]["chatId"] == number.as_str()).then_some(())
    });
    let body = json!({"to": lid, "message": "by LID"});
    world
        .post(&server, "/accounts/alice/message/send", &body)
        .expect(200);
    let body = json!({"to": BOB, "message": "by number"});
    world
        .post(&server, "/accounts/alice/message/send", &body)
        .expect(200);
    assert_eq!(chats(&world, &server).len(), 1);
    for jid in [lid.as_str(), number.as_str(), BOB] {
        let page = world.get(&server, &format!("/accounts/alice/chats/{jid}/messages"));
        let texts: Vec<&str> = page["messages"]
            .as_array()
            .expect("messages")
            .iter()
            .map(|m| {
                assert_eq!(m["chatId"], number.as_str());
                m["text"].as_str().expect("a text")
            })
            .collect();
        assert_eq!(
            texts,
            ["by number", "by LID", "still me", "who am I?"],
            "{jid}"
        );
    }
}

#[test]
fn contacts_have_the_names_that_the_owner_gave_them() {
    let world = World::new();
    let server = world.server();
    let alice = world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    bob.say(&alice.jid(), "hi");
    let name = |wanted: &str| {
        eventually(wanted, || {
            let listed = chats(&world, &server);
            (listed.first()?["name"] == wanted).then_some(())
        });
    };
    name("Bob");
    let contacts = json!({"contacts": [{"number": BOB, "name": "Robert (plumber)"}]});
    alice.post("contacts", &contacts);
    name("Robert (plumber)");
    bob.say(&alice.jid(), "hi again");
    name("Robert (plumber)");
}

#[test]
fn chats_read_on_the_phone_are_read() {
    let world = World::new();
    let server = world.server();
    let alice = world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let first = bob.say(&alice.jid(), "one");
    bob.say(&alice.jid(), "two");
    let unread = |count: u64| {
        eventually("the unread count", || {
            let listed = chats(&world, &server);
            (listed.first()?["unreadCount"] == count).then_some(())
        });
    };
    unread(2);
    alice.post("read", &json!({"chat": bob.jid(), "messageIds": [first]}));
    unread(1);
    alice.post("read", &json!({"chat": bob.jid()}));
    unread(0);
    alice.post("mark-chat", &json!({"chat": bob.jid(), "read": false}));
    unread(1);
    alice.post("mark-chat", &json!({"chat": bob.jid(), "read": true}));
    unread(0);
}
