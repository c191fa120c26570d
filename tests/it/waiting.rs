//! Undecryptable messages: placeholders, requested once, replaced when they are resent.

use serde_json::{Value, json};

use crate::support::{Phone, Receiver, Server, World, eventually};

const ALICE: &str = "491700000001";
const BOB: &str = "491700000002";
const ZOE: &str = "491700000003";

fn stored(world: &World, server: &Server, id: &str, kind: &str) -> Value {
    let path = format!("/accounts/alice/messages/{id}");
    eventually(&format!("{id} as {kind}"), || {
        let answer = world.api(server, "GET", &path, None);
        (answer.status == 200)
            .then(|| answer.json()["message"].clone())
            .filter(|message| message["type"] == kind)
    })
}

fn chat(world: &World, server: &Server, id: &str) -> Value {
    let chats = world.get(server, "/accounts/alice/chats");
    let chats = chats["chats"].as_array().expect("chats");
    let found = chats.iter().find(|chat| chat["chatId"] == id);
    found.unwrap_or_else(|| panic!("no chat {id}")).clone()
}

fn group(world: &World, members: &[&str]) -> String {
    let body = json!({"subject": "Team", "members": members});
    let made = world.admin("POST", "/groups", Some(&body)).expect_success();
    made["jid"].as_str().expect("a JID").to_owned()
}

fn hook(world: &World, server: &Server, events: Option<&[&str]>) -> Receiver {
    let receiver = Receiver::start();
    let mut hook = json!({"url": receiver.url(), "accountId": "alice"});
    if let Some(events) = events {
        hook["events"] = json!(events);
    }
    world.post(server, "/webhooks", &hook).expect(201);
    receiver
}

/// The receipts of a message at the phone that sent it.
fn receipts(phone: &Phone<'_>, id: &str) -> Vec<String> {
    let state = phone.state();
    let sent = state["sent"].as_array().expect("sent").iter();
    let receipts = sent
        .filter(|sent| sent["messageId"] == id)
        .flat_map(|sent| sent["receipts"].as_array().expect("receipts").clone());
    let kinds = receipts.map(|receipt| receipt["type"].as_str().expect("a type").to_owned());
    kinds.collect()
}

fn clear(world: &World) {
    world.admin("DELETE", "/faults", None).expect_success();
}

#[test]
fn an_undecryptable_message_is_a_placeholder_until_it_is_resent() {
    let world = World::new();
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let team = group(&world, &[BOB, ALICE, ZOE]);
    let plain = hook(&world, &server, None);
    let curious = hook(&world, &server, Some(&["message", "message.undecryptable"]));
    for to in [ALICE, &team] {
        let chat_id = if to == ALICE { bob.jid() } else { team.clone() };
        let first = bob.say(to, "readable");
        stored(&world, &server, &first, "text");
        assert_eq!(plain.next().body["messageId"], first.as_str());
        assert_eq!(curious.next().body["messageId"], first.as_str());

        world.fault(&json!({"kind": "hold-retries", "number": BOB}));
        world.fault(&json!({"kind": "garble", "number": ALICE, "count": 1}));
        world.fault(&json!({"kind": "deliver-twice", "number": ALICE, "count": 1}));
        let lost = bob.say(to, "unreadable");
        let waiting = stored(&world, &server, &lost, "waiting");
        assert_eq!(waiting["text"], Value::Null, "{waiting}");
        assert_eq!(waiting["chatId"], chat_id.as_str());
        assert_eq!(waiting["pushName"], "Bob");
        assert!(waiting["timestamp"].as_u64() > Some(0), "{waiting}");
        assert!(
            waiting["note"]
                .as_str()
                .is_some_and(|note| note.contains("asked for again"))
        );
        let summary = chat(&world, &server, &chat_id);
        assert_eq!(summary["unreadCount"], 2, "{summary}");
        // The group has a line that says that it was created.
        let lines = u64::from(chat_id.ends_with("@g.us"));
        assert_eq!(summary["messageCount"], 2 + lines, "{summary}");
        assert_eq!(summary["lastMessage"]["type"], "waiting");
        let told = curious.next().body;
        assert_eq!(told["event"], "message.undecryptable");
        assert_eq!(told["messageId"], lost.as_str());
        assert_eq!(told["type"], "waiting");

        // The requested message arrives late: it replaces the placeholder, and is reported.
        clear(&world);
        let found = stored(&world, &server, &lost, "text");
        assert_eq!(found["text"], "unreadable");
        assert!(found.get("note").is_none(), "{found}");
        assert_eq!(found["timestamp"], waiting["timestamp"]);
        for hook in [&plain, &curious] {
            let told = hook.next().body;
            assert_eq!(told["event"], "message", "{told}");
            assert_eq!(
                (&told["messageId"], &told["text"]),
                (&json!(lost), &json!("unreadable"))
            );
        }
        let summary = chat(&world, &server, &chat_id);
        assert_eq!(
            (&summary["unreadCount"], &summary["messageCount"]),
            (&json!(2), &json!(2 + lines))
        );
    }
    // No other event.
    let last = bob.say(ALICE, "the end");
    assert_eq!(plain.next().body["messageId"], last.as_str());
    assert_eq!(curious.next().body["messageId"], last.as_str());
}

#[test]
fn unsent_messages_stay_placeholders_and_changes_do_not() {
    let world = World::new();
    let server = world.server();
    let alice = world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let zoe = world.phone(ZOE, "Zoe");
    let team = group(&world, &[BOB, ALICE, ZOE]);
    world.fault(&json!({"kind": "hold-retries"}));
    // The key of a group's member never came: nothing of that member can be read.
    world.fault(&json!({"kind": "garble", "number": ALICE, "count": 1}));
    let first = zoe.say(&team, "with a key");
    let second = zoe.say(&team, "with that key");
    for id in [&first, &second] {
        let waiting = stored(&world, &server, id, "waiting");
        assert_eq!(waiting["chatId"], team.as_str());
    }
    // It can be replied and reacted to, and its sender can delete it.
    let hello = bob.say(&alice.jid(), "hello");
    stored(&world, &server, &hello, "text");
    world.fault(&json!({"kind": "garble", "number": ALICE, "count": 1}));
    let lost = bob.say(&alice.jid(), "regretted");
    stored(&world, &server, &lost, "waiting");
    let chat_id = bob.jid();
    let before = chat(&world, &server, &chat_id);
    // A reaction that cannot be read is no message.
    world.fault(&json!({"kind": "garble", "number": ALICE, "count": 1}));
    bob.send(&json!({"to": alice.jid(), "react": {"messageId": hello, "emoji": "x"}}));
    bob.send(&json!({"to": alice.jid(), "delete": {"messageId": lost}}));
    eventually("the deletion", || {
        (stored(&world, &server, &lost, "waiting")["deleted"] == true).then_some(())
    });
    let after = chat(&world, &server, &chat_id);
    assert_eq!(after["messageCount"], before["messageCount"], "{after}");
    // When the phones answer, the reaction shows, and deleted messages stay deleted.
    clear(&world);
    for id in [&first, &second] {
        stored(&world, &server, id, "text");
    }
    let path = format!("/accounts/alice/messages/{hello}");
    eventually("the reaction", || {
        let hello = world.get(&server, &path)["message"].clone();
        (hello["reactions"][0]["emoji"] == "x").then_some(())
    });
    let last = bob.say(&alice.jid(), "the end");
    stored(&world, &server, &last, "text");
    assert_eq!(stored(&world, &server, &lost, "waiting")["deleted"], true);
}

#[test]
fn messages_kept_for_the_phone_are_reported() {
    let world = World::new();
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let team = group(&world, &[BOB, ALICE, ZOE]);
    // The group's key comes with the first word in it.
    let hello = bob.say(&team, "hello");
    stored(&world, &server, &hello, "text");
    let receiver = hook(&world, &server, Some(&["message", "message.undecryptable"]));
    for to in [ALICE, &team] {
        for (kind, words) in [("view_once", "view-once"), ("hosted", "phone")] {
            let id = bob.send(&json!({"to": to, "text": "look", "unavailable": kind}));
            let got = stored(&world, &server, &id, "unavailable");
            assert_eq!(got["text"], Value::Null, "{got}");
            let note = got["note"].as_str().expect("a note");
            assert!(
                note.contains(words) && note.contains("Open it there"),
                "{note}"
            );
            let told = receiver.next().body;
            assert_eq!(told["event"], "message.undecryptable", "{told}");
            assert_eq!(told["type"], "unavailable");
            // The sender is not asked: it is no accident.
            let end = bob.say(to, "the end");
            stored(&world, &server, &end, "text");
            assert_eq!(receiver.next().body["messageId"], end.as_str());
            assert!(!receipts(&bob, &id).iter().any(|kind| kind == "retry"));
        }
    }
}

#[test]
fn a_stored_message_delivered_again_is_acknowledged_without_a_retry() {
    let world = World::new();
    let server = world.server();
    let alice = world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let receiver = hook(&world, &server, None);
    // All receipts are lost while the two exchange more messages than a session remembers
    // its chains: libsignal keeps five.
    world.fault(&json!({"kind": "lose-receipts", "number": ALICE}));
    let mut ids = Vec::new();
    for round in 1..=8 {
        let id = bob.say(&alice.jid(), &format!("question {round}"));
        stored(&world, &server, &id, "text");
        assert_eq!(receiver.next().body["messageId"], id.as_str());
        ids.push(id);
        let answer = json!({"to": BOB, "message": format!("answer {round}")});
        world
            .post(&server, "/accounts/alice/message/send", &answer)
            .expect(200);
        bob.received(round);
        if round == 1 {
            // What changes a message is no message, and known as well.
            let id = &ids[0];
            bob.send(&json!({"to": alice.jid(), "react": {"messageId": id, "emoji": "x"}}));
            let path = format!("/accounts/alice/messages/{id}");
            eventually("the reaction", || {
                let message = world.get(&server, &path)["message"].clone();
                (message["reactions"][0]["emoji"] == "x").then_some(())
            });
        }
    }
    // As many wait for the linked device, and it is asked for none.
    let queue = || {
        let alice = world
            .admin("GET", &format!("/phones/{ALICE}"), None)
            .expect(200);
        let devices = alice["devices"].as_array().expect("devices").iter();
        let queued = devices.map(|device| device["queued"].as_u64().expect("a number"));
        (
            queued.sum::<u64>(),
            alice["retries"].as_u64().expect("a number"),
        )
    };
    let (queued, retries) = queue();
    assert!(queued >= 9 && retries == 0, "{queued} {retries}");
    clear(&world);
    let mark = server.log_mark();
    world.fault(&json!({"kind": "drop-connections", "number": ALICE}));
    server.wait_log_from(mark, "alice: connected");
    eventually("the receipts of all", || (queue().0 == 0).then_some(()));
    let end = bob.say(&alice.jid(), "the end");
    stored(&world, &server, &end, "text");
    assert_eq!(
        receiver.next().body["messageId"],
        end.as_str(),
        "nothing was told twice"
    );
    let summary = chat(&world, &server, &bob.jid());
    assert_eq!(summary["messageCount"], 17, "{summary}");
    for id in &ids {
        stored(&world, &server, id, "text");
        assert!(!receipts(&bob, id).iter().any(|kind| kind == "retry"));
    }
    assert_eq!(queue().1, 0, "messages were asked for again");
    let told = world.get(&server, "/events?after=0&limit=1000");
    let told = told["events"].as_array().expect("events");
    assert!(
        told.iter()
            .all(|event| event["event"] != "message.undecryptable")
    );
}
