//! Messages to devices that have lost their sessions, for which WhatsApp has no prekeys, or that are new in a
//! group.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Phone, Server, Time, World, eventually};

const ALICE: &str = "491700000001";
const BOB: &str = "491700000002";
const ZOE: &str = "491700000003";
const SEND: &str = "/accounts/alice/message/send";
const HOUR: Duration = Duration::from_secs(3_600);

fn send(world: &World, server: &Server, to: &str, text: &str) -> String {
    let body = json!({"to": to, "message": text});
    let sent = world.post(server, SEND, &body).expect(200);
    sent["messageId"].as_str().expect("an id").to_owned()
}

fn group(world: &World, members: &[&str]) -> String {
    let body = json!({"subject": "Team", "members": members});
    let made = world.admin("POST", "/groups", Some(&body)).expect_success();
    made["jid"].as_str().expect("a JID").to_owned()
}

fn texts(phone: &Phone<'_>) -> Vec<String> {
    let text = |message: &Value| message["text"].as_str().unwrap_or_default().to_owned();
    phone.all_received().iter().map(text).collect()
}

fn reads(phone: &Phone<'_>, text: &str) {
    eventually(text, || {
        texts(phone).iter().any(|t| t == text).then_some(())
    });
}

/// How often a number's devices have asked for messages again.
fn retries(world: &World, number: &str) -> u64 {
    let person = world.admin("GET", &format!("/phones/{number}"), None);
    person.expect(200)["retries"].as_u64().expect("a number")
}

/// More time than between two pings of the client, each of which counts for its sweeps: 12 of them make one.
fn sweeps(world: &World, time: &Time) {
    let pings = || {
        let stanzas = world.admin("GET", "/stanzas", None).expect(200).to_string();
        stanzas.matches("w:p").count()
    };
    for _ in 0..13 {
        let before = pings();
        time.passes(Duration::from_secs(31));
        eventually("a ping", || (pings() != before).then_some(()));
    }
}

/// whatsapp-rust #1300, #1303: after two hours a retry receipt was dropped, and nothing repaired.
#[test]
fn phones_back_after_hours_and_weeks_get_messages_again() {
    let world = World::new();
    let mut options = world.options();
    let time = Time::of(&mut options);
    let server = options.start();
    world.pair(&server, "alice", ALICE);
    let (bob, zoe) = (world.phone(BOB, "Bob"), world.phone(ZOE, "Zoe"));
    let team = group(&world, &[ALICE, BOB, ZOE]);
    for phone in [&bob, &zoe] {
        send(&world, &server, &phone.jid(), "hello");
        reads(phone, "hello");
    }
    send(&world, &server, &team, "hello, all");
    for phone in [&bob, &zoe] {
        reads(phone, "hello, all");
        // The answer ends the opening of the session: from then on nothing carries its keys.
        phone.say(ALICE, "yes?");
        phone.say(&team, "yes?");
        phone.post("offline", &json!({}));
        phone.post("lose-sessions", &json!({}));
    }
    eventually("the answers", || {
        let chat = world.get(&server, &format!("/accounts/alice/chats/{team}/messages"));
        let messages = chat["messages"].as_array().expect("messages");
        // Beside lines about the group.
        let texts = messages.iter().filter(|message| message["type"] == "text");
        (texts.count() == 3).then_some(())
    });
    let asked = send(&world, &server, &bob.jid(), "of old");
    send(&world, &server, &zoe.jid(), "of old");
    send(&world, &server, &team, "of old, all");
    // A reaction is no stored message: of it there is a copy.
    let react = json!({"to": bob.jid(), "messageId": asked, "emoji": "x"});
    world
        .post(&server, "/accounts/alice/message/react", &react)
        .expect(200);

    time.passes(3 * HOUR);
    sweeps(&world, &time);
    bob.post("online", &json!({}));
    reads(&bob, "of old");
    reads(&bob, "of old, all");
    eventually("the reaction", || {
        bob.all_received()
            .iter()
            .any(|message| message.to_string().contains("\"x\""))
            .then_some(())
    });

    time.passes(20 * 24 * HOUR);
    sweeps(&world, &time);
    // Also for a server whose power went meanwhile.
    server.kill();
    let server = options.start();
    server.wait_log("alice: connected");
    zoe.post("online", &json!({}));
    reads(&zoe, "of old");
    reads(&zoe, "of old, all");
    // The sessions and the group's key are whole again: nothing more is asked for.
    let before = retries(&world, ZOE);
    for to in [zoe.jid(), team.clone()] {
        send(&world, &server, &to, &format!("now {to}"));
        reads(&zoe, &format!("now {to}"));
    }
    assert_eq!(retries(&world, ZOE), before);
}

/// whatsapp-rust #1300, #1303: the repair of session and key stood behind the message's look-up.
#[test]
fn a_retry_for_a_deleted_message_renews_the_session() {
    let world = World::new();
    let mut options = world
        .options()
        .with("storage.keep_days", 1)
        .with("log.level", "debug");
    let time = Time::of(&mut options);
    let server = options.start();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let team = group(&world, &[ALICE, BOB, ZOE]);
    let chats = [(bob.jid(), ALICE.to_owned()), (team.clone(), team)];
    for (to, back) in &chats {
        send(&world, &server, to, &format!("hello {to}"));
        reads(&bob, &format!("hello {to}"));
        let answer = bob.say(back, "yes?");
        let path = format!("/accounts/alice/messages/{answer}");
        eventually("the answer", || {
            (world.api(&server, "GET", &path, None).status == 200).then_some(())
        });
    }
    bob.post("offline", &json!({}));
    bob.post("lose-sessions", &json!({}));
    let gone: Vec<String> = chats
        .iter()
        .map(|(to, _)| send(&world, &server, to, "forgotten"))
        .collect();
    time.passes(20 * 24 * HOUR);
    for id in gone {
        let path = format!("/accounts/alice/messages/{id}");
        eventually("what is too old to go", || {
            (world.api(&server, "GET", &path, None).status == 404).then_some(())
        });
    }
    bob.post("online", &json!({}));
    let unread = || bob.state()["unread"].as_array().map_or(0, Vec::len);
    assert_eq!(unread(), 2);
    // The reaction to a retry request shows in the next message; until then only in the log.
    eventually("the repairs", || {
        let repairs = server.log().matches("the session is made anew").count();
        (repairs == 2).then_some(())
    });
    for (to, _) in &chats {
        send(&world, &server, to, &format!("now {to}"));
        reads(&bob, &format!("now {to}"));
    }
    assert_eq!(retries(&world, BOB), 2, "nothing else is asked for");
    assert!(!texts(&bob).iter().any(|text| text == "forgotten"));
}

/// whatsapp-rust #1299: a stanza that names own devices alone is acknowledged like any other.
#[test]
fn a_message_without_prekeys_is_retried_and_then_failed() {
    let world = World::new();
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    let (bob, zoe) = (world.phone(BOB, "Bob"), world.phone(ZOE, "Zoe"));
    world.fault(&json!({"kind": "withhold-keys", "number": BOB, "code": 500}));
    let body = json!({"to": bob.jid(), "message": "unheard"});
    let refused = world.post(&server, SEND, &body).expect(400);
    let words = refused["error"].to_string();
    assert!(words.contains("no keys"), "{words}");
    let path = format!("/accounts/alice/chats/{}/messages", bob.jid());
    let failed = world.get(&server, &path);
    let failed = failed["messages"].as_array().expect("messages").clone();
    assert!(failed.iter().all(|m| m["status"] == "failed"), "{failed:?}");
    assert!(bob.all_received().is_empty());

    // It is not promised either.
    let body = json!({"to": bob.jid(), "message": "unheard", "queue": true});
    world.post(&server, SEND, &body).expect(400);
    world.admin("DELETE", "/faults", None).expect_success();

    // Prekeys missing at the first request: the message is sent once, under its id.
    world.fault(&json!({"kind": "withhold-keys", "number": ZOE, "count": 2}));
    let id = send(&world, &server, &zoe.jid(), "heard");
    let received = zoe.received(1);
    assert_eq!(received[0]["messageId"], id.as_str());
    send(&world, &server, &zoe.jid(), "again");
    assert_eq!(zoe.received(2).len(), 2);
    // If the whole request is refused nothing is sent until later.
    world.fault(&json!({"kind": "withhold-keys", "code": 503, "count": 1}));
    send_later(&world, &server, &bob);
}

fn send_later(world: &World, server: &Server, bob: &Phone<'_>) {
    let body = json!({"to": bob.jid(), "message": "later", "queue": true});
    let answer = world.post(server, SEND, &body);
    assert!(matches!(answer.status, 200 | 202), "{answer:?}");
    reads(bob, "later");
    assert_eq!(texts(bob), ["later"]);
}

/// whatsapp-rust #1328: the whole list counted as having the key, and the group's hash was not compared.
#[test]
fn a_member_without_the_sender_key_gets_it_with_the_next_message() {
    let world = World::new();
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    let (bob, zoe) = (world.phone(BOB, "Bob"), world.phone(ZOE, "Zoe"));
    let team = group(&world, &[BOB, ALICE, ZOE]);
    // What a member cannot read, that member asks for in vain.
    world.fault(&json!({"kind": "hold-retries", "number": ALICE}));
    world.fault(&json!({"kind": "withhold-keys", "number": ZOE, "code": 500, "count": 1}));
    send(&world, &server, &team, "one");
    reads(&bob, "one");
    send(&world, &server, &team, "two");
    reads(&zoe, "two");
    assert!(!texts(&zoe).iter().any(|text| text == "one"));

    // A member of whom the account has not heard: the hash in the acknowledgement is another.
    let max = world.phone("491700000004", "Max");
    world.fault(&json!({"kind": "lose-notifications", "number": ALICE}));
    let add = json!({"add": [max.jid()], "by": BOB});
    world
        .admin("POST", &format!("/groups/{team}"), Some(&add))
        .expect_success();
    send(&world, &server, &team, "three");
    reads(&bob, "three");
    send(&world, &server, &team, "four");
    reads(&max, "four");
    assert!(!texts(&max).iter().any(|text| text == "three"));
    world.admin("DELETE", "/faults", None).expect_success();
    // Then the requests reach the account.
    reads(&zoe, "one");
    reads(&max, "three");
}
