//! What is done to messages after they were sent: edits, pins, forwards and the like, both ways.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Form, Receiver, Server, Time, World, eventually};

const ALICE: &str = "491700000001";
const BOB: &str = "491700000002";
const SEND: &str = "/accounts/alice/message/send";
const EDIT: &str = "/accounts/alice/message/edit";

pub fn stored(world: &World, server: &Server, id: &str) -> Value {
    world.get(server, &format!("/accounts/alice/messages/{id}"))["message"].clone()
}

/// A picture that alice sends to Bob; its id.
fn picture(world: &World, server: &Server, caption: &str) -> String {
    let jpeg = include_bytes!("../fixtures/media/photo.jpg");
    let form = Form::new().field("to", BOB).field("caption", caption).file(
        "image",
        "photo.jpg",
        "image/jpeg",
        jpeg,
    );
    let (kind, body) = form.build();
    let url = format!("{}{SEND}/image", server.base());
    let sent = world.http().send("POST", &url, &kind, Some(body));
    id_of(&sent.expect(200))
}

fn id_of(answer: &Value) -> String {
    answer["messageId"].as_str().expect("an id").to_owned()
}

#[test]
fn own_texts_and_captions_are_edited_for_15_minutes() {
    let world = World::new();
    world.walks(&["POST /accounts/:id/message/edit"]);
    let mut options = world.options();
    let time = Time::of(&mut options);
    let server = options.start();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let receiver = Receiver::start();
    let hook = json!({"url": receiver.url(), "events": ["message.edited"]});
    world.post(&server, "/webhooks", &hook).expect(201);

    let sent = world.post(&server, SEND, &json!({"to": BOB, "message": "frist"}));
    let text = id_of(&sent.expect(200));
    let image = picture(&world, &server, "a gardn");
    for (id, words) in [(&text, "first"), (&image, "a garden")] {
        let body = json!({"chatId": BOB, "messageId": id, "message": words});
        let edited = world.post_once(&server, EDIT, id, &body).expect(200);
        assert_eq!(edited["message"], "Message edited");
        let again = world.post_once(&server, EDIT, id, &body).expect(200);
        assert_eq!(again["messageId"], edited["messageId"], "the same request");
        let shown = stored(&world, &server, id);
        assert_eq!(
            (&shown["text"], &shown["edited"]),
            (&json!(words), &json!(true))
        );
        let event = receiver.next().body;
        assert_eq!(
            (&event["messageId"], &event["text"]),
            (&json!(id), &json!(words))
        );
    }
    let got = bob.received(4);
    assert_eq!(got[0]["editedText"], "first", "{got:?}");
    assert_eq!(got[1]["editedText"], "a garden", "{got:?}");

    let theirs = bob.say(ALICE, "theirs");
    eventually("Bob's message", || {
        let path = format!("/accounts/alice/messages/{theirs}");
        (world.api(&server, "GET", &path, None).status == 200).then_some(())
    });
    let place = json!({"to": BOB, "latitude": 1, "longitude": 2});
    let place = id_of(
        &world
            .post(&server, &format!("{SEND}/location"), &place)
            .expect(200),
    );
    let edit = |id: &str, status: u16| {
        let body = json!({"chatId": BOB, "messageId": id, "message": "x"});
        world.post(&server, EDIT, &body).expect(status)["error"].clone()
    };
    assert_eq!(edit(&theirs, 400), "Only own messages can be edited");
    let words = "Only texts and the captions of images, videos and documents can be edited";
    assert_eq!(edit(&place, 400), words);
    assert_eq!(edit("NONE", 404), "Message not found");
    let lacks = world.post(&server, EDIT, &json!({"chatId": BOB, "messageId": text}));
    let words = "chatId, messageId and message are required";
    assert_eq!(lacks.expect(400)["error"], words);

    // An edit that waits over a kill is sent once; one of a message that waits itself is refused.
    world
        .post(&server, "/accounts/alice/disconnect", &json!({}))
        .expect(200);
    let body = json!({"to": BOB, "message": "waits", "queue": true});
    let waits = id_of(&world.post(&server, SEND, &body).expect(202));
    let edit_of =
        |id: &str| json!({"chatId": BOB, "messageId": id, "message": "1st", "queue": true});
    world.post(&server, EDIT, &edit_of(&waits)).expect(409);
    world.post(&server, EDIT, &edit_of(&text)).expect(202);
    server.kill();
    let server = options.start();
    world
        .post(&server, "/accounts/alice/connect", &json!({}))
        .expect(200);
    let got = bob.received(7);
    assert_eq!(got[0]["editedText"], "1st");
    eventually("the edit, acknowledged", || {
        (stored(&world, &server, &text)["text"] == "1st").then_some(())
    });

    time.passes(Duration::from_secs(16 * 60));
    let body = json!({"chatId": BOB, "messageId": text, "message": "x"});
    let late = world.post(&server, EDIT, &body).expect(400);
    let words = "A message can be edited for 15 minutes after it was sent, and this one is older";
    assert_eq!(late["error"], words);
}

/// How many files were uploaded so far.
fn uploads(world: &World) -> usize {
    let stanzas = world.admin("GET", "/stanzas", None).expect(200);
    let is_asked = |passed: &&Value| passed["stanza"].to_string().contains("media_conn");
    stanzas
        .as_array()
        .expect("stanzas")
        .iter()
        .filter(is_asked)
        .count()
}

#[test]
fn messages_are_forwarded_without_another_upload_and_counted() {
    const FORWARD: &str = "/accounts/alice/message/forward";
    const ZOE: &str = "491700000003";
    let world = World::new();
    world.walks(&["POST /accounts/:id/message/forward"]);
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    let (bob, zoe) = (world.phone(BOB, "Bob"), world.phone(ZOE, "Zoe"));
    let image = picture(&world, &server, "a garden");
    let text = json!({"to": BOB, "message": "hi @491700000002", "mentions": [BOB]});
    let text = id_of(&world.post(&server, SEND, &text).expect(200));
    let place = json!({"location": {"latitude": 1, "longitude": 2, "name": "Here"}, "to": ALICE});
    let place = bob.send(&place);
    let voice =
        bob.send(&json!({"to": ALICE, "audio": {"base64": "T2dnUwAC", "ptt": true, "seconds": 3}}));
    let many = json!({"to": ALICE, "text": "chain", "forwarded": true});
    let many = bob.send(&many);
    for id in [&place, &voice, &many] {
        eventually("Bob's message", || {
            let path = format!("/accounts/alice/messages/{id}");
            (world.api(&server, "GET", &path, None).status == 200).then_some(())
        });
    }
    // Refused uploads show that none is made.
    world.fault(&json!({"kind": "refuse-uploads", "code": 500, "count": 100}));
    let before = uploads(&world);
    let mut copies = Vec::new();
    for id in [&image, &text, &place, &voice, &many] {
        let body = json!({"from": BOB, "messageId": id, "to": ZOE});
        let sent = world.post(&server, FORWARD, &body).expect(200);
        assert_eq!(sent["message"], "Message forwarded");
        copies.push(id_of(&sent));
    }
    assert_eq!(uploads(&world), before);
    let got = zoe.received(5);
    let kinds: Vec<_> = got
        .iter()
        .map(|m| m["type"].as_str().expect("a kind"))
        .collect();
    assert_eq!(kinds, ["image", "text", "location", "audio", "text"]);
    for (n, message) in got.iter().enumerate() {
        assert_eq!(message["forwarded"], true, "{message}");
        let score = if n == 4 { 2 } else { 0 };
        assert_eq!(message["forwardingScore"], score, "{message}");
        assert_eq!(message["mentions"], Value::Null, "{message}");
        assert_eq!(message["media"]["error"], Value::Null, "{message}");
    }
    assert_eq!(
        (&got[0]["text"], &got[0]["media"]["thumbnail"]),
        (&json!("a garden"), &json!(true))
    );
    assert_eq!(
        (&got[3]["media"]["ptt"], &got[3]["media"]["seconds"]),
        (&json!(true), &json!(3))
    );
    let shown = stored(&world, &server, &copies[0]);
    assert_eq!(
        (&shown["isForwarded"], &shown["forwardingScore"]),
        (&json!(true), &json!(0))
    );

    // Of a forwarded one once more; queued over a kill.
    world
        .post(&server, "/accounts/alice/disconnect", &json!({}))
        .expect(200);
    let body = json!({"from": ZOE, "messageId": copies[0], "to": BOB, "queue": true});
    world
        .post_once(&server, FORWARD, "key-1", &body)
        .expect(202);
    server.kill();
    let server = world.server();
    world
        .post(&server, "/accounts/alice/connect", &json!({}))
        .expect(200);
    let again = bob.received(3).remove(2);
    assert_eq!(
        (&again["type"], &again["forwardingScore"]),
        (&json!("image"), &json!(1))
    );
    assert_eq!(again["media"]["error"], Value::Null, "{again}");

    for (body, status, words) in [
        (
            json!({"to": ZOE, "messageId": text}),
            400,
            "messageId, from and to are required",
        ),
        (
            json!({"from": ZOE, "to": ZOE, "messageId": text}),
            404,
            "Message not found",
        ),
    ] {
        assert_eq!(
            world.post(&server, FORWARD, &body).expect(status)["error"],
            words
        );
    }
}
