//! Chats are archived, pinned, muted, marked as unread and removed, here and on the phone.

use serde_json::{Value, json};

use crate::support::{Phone, Receiver, Server, World, eventually};

const ALICE: &str = "491700000001";
const BOB: &str = "491700000002";
const CAROL: &str = "491700000003";
const NOBODY: &str = "491799999999";

fn path(number: &str) -> String {
    format!("/accounts/alice/chats/{number}")
}

fn listed(world: &World, server: &Server, query: &str) -> Vec<Value> {
    let found = world.get(server, &format!("/accounts/alice/chats?{query}"));
    found["chats"].as_array().expect("chats").clone()
}

fn chat(world: &World, server: &Server, jid: &str) -> Option<Value> {
    let all = listed(world, server, "");
    all.into_iter().find(|chat| chat["chatId"] == jid)
}

fn change(world: &World, server: &Server, number: &str, body: &Value) -> Value {
    let answer = world.api(server, "PATCH", &path(number), Some(body));
    answer.expect(200)["chat"].clone()
}

/// What the phone of the account has set under this kind of action for a chat.
fn on_phone(world: &World, kind: &str, jid: &str) -> Value {
    let state = world
        .by_hand("GET", &format!("/phones/{ALICE}/app-state"), None)
        .1;
    assert_eq!(state["refused"], 0, "{state}");
    let entries = state["entries"].as_array().expect("entries");
    let mut found = entries
        .iter()
        .filter(|it| it["index"][0] == kind && it["index"][1] == jid);
    found
        .next_back()
        .map_or(Value::Null, |it| it["value"].clone())
}

fn waits_for(world: &World, server: &Server, jid: &str, field: &str, value: &Value) {
    eventually(field, || {
        let chat = chat(world, server, jid)?;
        (chat[field] == *value).then_some(())
    });
}

fn said(world: &World, server: &Server, phone: &Phone<'_>, text: &str) {
    let id = phone.say(ALICE, text);
    eventually("the message", || {
        let path = format!("/accounts/alice/messages/{id}");
        (world.api(server, "GET", &path, None).status == 200).then_some(())
    });
}

#[test]
fn what_is_set_of_a_chat_here_is_set_on_the_phone_and_the_other_way_round() {
    let world = World::new();
    world.walks(&["PATCH /accounts/:id/chats/:chatId"]);
    let server = world.server();
    let alice = world.pair(&server, "alice", ALICE);
    let (bob, carol) = (world.phone(BOB, "Bob"), world.phone(CAROL, "Carol"));
    said(&world, &server, &bob, "one");
    said(&world, &server, &carol, "two");
    let receiver = Receiver::start();
    let body = json!({"url": receiver.url(), "events": ["chat"], "chats": [CAROL]});
    world.post(&server, "/webhooks", &body).expect(201);

    for (body, words) in [
        (json!({}), "is required"),
        (json!({"archived": "perhaps"}), "\"archived\" must be"),
        (
            json!({"mutedUntil": "2001-01-01T00:00Z"}),
            "\"mutedUntil\" must be a time in the future",
        ),
        (
            json!({"muted": false, "mutedUntil": "2999-01-01T00:00Z"}),
            "\"mutedUntil\"",
        ),
    ] {
        let refused = world
            .api(&server, "PATCH", &path(BOB), Some(&body))
            .expect(400);
        assert!(
            refused["error"].as_str().expect("words").contains(words),
            "{refused}"
        );
    }
    let unknown = world.api(
        &server,
        "PATCH",
        &path(NOBODY),
        Some(&json!({"archived": true})),
    );
    assert_eq!(unknown.expect(404)["error"], "Chat not found");

    // Here, then on the phone.
    let jid = bob.jid();
    let shown = change(
        &world,
        &server,
        BOB,
        &json!({"archived": true, "pinned": true, "muted": true}),
    );
    assert_eq!(
        (
            &shown["archived"],
            &shown["pinned"],
            &shown["muted"],
            &shown["mutedUntil"]
        ),
        (&json!(true), &json!(true), &json!(true), &Value::Null)
    );
    assert_eq!(on_phone(&world, "archive", &jid)["archived"], true);
    assert!(on_phone(&world, "archive", &jid)["lastMessage"].is_number());
    assert_eq!(on_phone(&world, "pin_v1", &jid)["pinned"], true);
    assert_eq!(
        on_phone(&world, "mute", &jid),
        json!({"muted": true, "until": -1})
    );
    let until = "2030-01-01T00:00:00.000Z";
    let shown = change(
        &world,
        &server,
        BOB,
        &json!({"mutedUntil": until, "unread": true, "pinned": false}),
    );
    assert_eq!(
        (&shown["mutedUntil"], &shown["unreadCount"]),
        (&json!(until), &json!(1))
    );
    assert_eq!(
        on_phone(&world, "mute", &jid)["until"],
        1_893_456_000_000_u64
    );
    assert_eq!(on_phone(&world, "pin_v1", &jid)["pinned"], false);
    assert_eq!(on_phone(&world, "markChatAsRead", &jid)["read"], false);
    let shown = change(
        &world,
        &server,
        BOB,
        &json!({"unread": false, "muted": false}),
    );
    assert_eq!(
        (&shown["muted"], &shown["unreadCount"]),
        (&json!(false), &json!(0))
    );
    assert_eq!(on_phone(&world, "markChatAsRead", &jid)["read"], true);
    for (query, expected) in [
        ("archived=true", vec![bob.jid()]),
        ("archived=false", vec![carol.jid()]),
        ("pinned=true", vec![]),
        ("muted=false", vec![carol.jid(), bob.jid()]),
    ] {
        let chats = listed(&world, &server, query);
        let found: Vec<&str> = chats
            .iter()
            .filter_map(|chat| chat["chatId"].as_str())
            .collect();
        assert_eq!(found, expected, "{query}");
    }

    // On the phone, then here, and on the hook.
    let carols = carol.jid();
    for (act, body, field, value) in [
        ("archive", json!({"chat": CAROL}), "archived", json!(true)),
        (
            "archive",
            json!({"chat": CAROL, "archived": false}),
            "archived",
            json!(false),
        ),
        ("pin", json!({"chat": CAROL}), "pinned", json!(true)),
        (
            "mute",
            json!({"chat": CAROL, "until": 1_893_456_000_000_u64}),
            "mutedUntil",
            json!(until),
        ),
        (
            "mute",
            json!({"chat": CAROL, "until": 0}),
            "muted",
            json!(false),
        ),
    ] {
        alice.post(act, &body);
        waits_for(&world, &server, &carols, field, &value);
        let event = receiver.next().body;
        assert_eq!(
            (&event["event"], &event["chatId"]),
            (&json!("chat"), &json!(carols))
        );
        assert_eq!(event[field], value, "{event}");
    }
    server.kill();
    let server = world.server();
    server.wait_log("alice: connected");
    let kept = chat(&world, &server, &carols).expect("carol's chat");
    assert_eq!(
        (&kept["pinned"], &kept["archived"]),
        (&json!(true), &json!(false))
    );
    assert_eq!(
        chat(&world, &server, &jid).expect("bob's chat")["archived"],
        true
    );
}

#[test]
fn removed_chats_are_gone_here_and_on_the_phone() {
    let world = World::new();
    world.walks(&["DELETE /accounts/:id/chats/:chatId"]);
    let server = world.server();
    let alice = world.pair(&server, "alice", ALICE);
    let (bob, carol) = (world.phone(BOB, "Bob"), world.phone(CAROL, "Carol"));
    for n in 0..70 {
        bob.say(ALICE, &format!("b{n}"));
    }
    said(&world, &server, &bob, "last of bob");
    said(&world, &server, &carol, "c1");
    let picture = json!({"to": ALICE, "image": {"base64": crate::media_in::base64(include_bytes!("../fixtures/media/small.png")), "mimetype": "image/png"}});
    let picture = carol.send(&picture);
    let file = format!("/accounts/alice/messages/{picture}/media");
    eventually("the picture", || {
        (world.api(&server, "GET", &file, None).status == 200).then_some(())
    });

    world.api(&server, "DELETE", &path(BOB), None).expect(200);
    assert_eq!(chat(&world, &server, &bob.jid()), None);
    assert_eq!(on_phone(&world, "deleteChat", &bob.jid()), json!({}));
    let left = world.get(&server, &format!("{}/messages", path(BOB)));
    assert_eq!(left["pagination"]["total"], 0);
    world.api(&server, "DELETE", &path(BOB), None).expect(404);
    // What comes later is there.
    said(&world, &server, &bob, "again");
    let chat_of_bob = chat(&world, &server, &bob.jid()).expect("a chat");
    assert_eq!(
        (&chat_of_bob["messageCount"], &chat_of_bob["unreadCount"]),
        (&json!(1), &json!(1))
    );

    alice.post("delete-chat", &json!({"chat": CAROL}));
    eventually("carol's chat is gone", || {
        chat(&world, &server, &carol.jid()).is_none().then_some(())
    });
    world.api(&server, "GET", &file, None).expect(404);
    alice.post("clear-chat", &json!({"chat": BOB}));
    eventually("bob's chat is empty", || {
        let left = world.get(&server, &format!("{}/messages", path(BOB)));
        (left["pagination"]["total"] == 0).then_some(())
    });

    // A chat without messages exists on this server alone: it is removed without a connection, too.
    let body = json!({"to": NOBODY, "message": "x"});
    let refused = world.post(&server, "/accounts/alice/message/send", &body);
    assert!(refused.status >= 400);
    world
        .post(&server, "/accounts/alice/disconnect", &json!({}))
        .expect(200);
    world
        .api(&server, "DELETE", &path(NOBODY), None)
        .expect(200);
    let left = world.get(&server, &format!("{}/messages", path(NOBODY)));
    assert_eq!(left["pagination"]["total"], 0);
    said_offline(&world, &server);
}

/// A chat that WhatsApp knows is not removed without a connection: it would come back.
fn said_offline(world: &World, server: &Server) {
    let body = json!({"to": BOB, "message": "later", "queue": true});
    world
        .post(server, "/accounts/alice/message/send", &body)
        .expect(202);
    let refused = world.api(server, "PATCH", &path(BOB), Some(&json!({"pinned": true})));
    assert!(matches!(refused.status, 200 | 400), "{}", refused.status);
}

#[test]
fn an_answer_marks_its_chat_as_read_if_that_is_set() {
    let world = World::new();
    let server = world.options().with("chats.read_on_reply", true).start();
    world.pair(&server, "alice", ALICE);
    let (bob, carol) = (world.phone(BOB, "Bob"), world.phone(CAROL, "Carol"));
    said(&world, &server, &bob, "one");
    let two = bob.say(ALICE, "two");
    said(&world, &server, &carol, "three");
    waits_for(&world, &server, &bob.jid(), "unreadCount", &json!(2));
    let answer = json!({"to": BOB, "message": "yes"});
    world
        .post(&server, "/accounts/alice/message/send", &answer)
        .expect(200);
    waits_for(&world, &server, &bob.jid(), "unreadCount", &json!(0));
    waits_for(&world, &server, &carol.jid(), "unreadCount", &json!(1));
    let path = format!("/phones/{BOB}/messages?messageId={two}&receipt=read&wait=10");
    assert_eq!(world.by_hand("GET", &path, None).0, 200);
}
