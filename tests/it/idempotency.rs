//! No message is sent twice: `Idempotency-Key`, and messages without an ack.

use std::io::Write as _;
use std::net::TcpStream;
use std::thread;

use serde_json::{Value, json};

use crate::media_out::noise;
use crate::support::{Form, Server, World, eventually};

const ALICE: &str = "491700000001";
const BOB: &str = "491700000002";
const CAROL: &str = "491700000003";
const SEND: &str = "/accounts/alice/message/send";

fn text(message: &str) -> Value {
    json!({"to": CAROL, "message": message})
}

fn message(world: &World, server: &Server, id: &str) -> Value {
    world.get(server, &format!("/accounts/alice/messages/{id}"))["message"].clone()
}

/// Waits until WhatsApp has acknowledged a message, and returns it.
fn acknowledged(world: &World, server: &Server, id: &str) -> Value {
    eventually("the acknowledgement", || {
        let message = message(world, server, id);
        let status = message["status"].as_str().expect("a status");
        assert_ne!(status, "failed", "{message}");
        (status != "pending").then_some(message)
    })
}

#[test]
fn the_same_key_gets_the_first_answer_also_after_a_kill() {
    let world = World::new();
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    world.pair(&server, "bob", BOB);
    let carol = world.phone(CAROL, "Carol");
    let first = world.post_once(&server, SEND, "order-1", &text("once"));
    first.expect(200);
    let again = world.post_once(&server, SEND, "order-1", &text("once"));
    assert_eq!((again.status, &again.bytes), (200, &first.bytes));
    // The order of fields and the blanks between them are not the body.
    let url = format!("{}{SEND}", server.base());
    let body = format!("{{ \"message\" : \"once\",\n \"to\": \"{CAROL}\"}}");
    let headers = [
        ("content-type", "application/json"),
        ("idempotency-key", "order-1"),
    ];
    let again = world
        .http()
        .send_with("POST", &url, &headers, body.into_bytes());
    assert_eq!((again.status, &again.bytes), (200, &first.bytes));

    let other = world.post_once(&server, SEND, "order-1", &text("twice"));
    assert_eq!(
        other.expect(409)["error"],
        "This Idempotency-Key was used for another request"
    );
    let reply =
        json!({"to": CAROL, "message": "once", "quotedMessageId": first.json()["messageId"]});
    let elsewhere = "/accounts/alice/message/reply";
    world
        .post_once(&server, elsewhere, "order-1", &reply)
        .expect(409);
    // Bob's keys are his own.
    let bobs = world
        .post_once(
            &server,
            "/accounts/bob/message/send",
            "order-1",
            &text("of bob"),
        )
        .expect(200);
    assert_ne!(bobs["messageId"], first.json()["messageId"]);

    server.kill();
    let server = world.server();
    let again = world.post_once(&server, SEND, "order-1", &text("once"));
    assert_eq!((again.status, &again.bytes), (200, &first.bytes));
    world
        .post_once(&server, SEND, "order-1", &text("twice"))
        .expect(409);
    server.wait_log("alice: connected");
    world
        .post_once(&server, SEND, "order-2", &text("last"))
        .expect(200);
    let received = carol.received(3);
    let texts: Vec<&str> = received.iter().filter_map(|m| m["text"].as_str()).collect();
    assert_eq!(texts, ["once", "of bob", "last"]);
}

#[test]
fn concurrent_requests_with_one_key_are_one() {
    let world = World::new();
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    let carol = world.phone(CAROL, "Carol");
    world.fault(&json!({"kind": "delay-acks", "ms": 700, "count": 1}));
    let answers: Vec<_> = thread::scope(|scope| {
        let requests: Vec<_> = (0..4)
            .map(|i| {
                let (world, server) = (&world, &server);
                let body = text(if i < 3 { "one" } else { "another" });
                // The first one has the key before the others come.
                if i > 0 {
                    carol.received(1);
                }
                scope.spawn(move || world.post_once(server, SEND, "k", &body))
            })
            .collect();
        requests
            .into_iter()
            .map(|r| r.join().expect("ended"))
            .collect()
    });
    for answer in &answers[..3] {
        assert_eq!((answer.status, &answer.bytes), (200, &answers[0].bytes));
    }
    answers[3].expect(409);
    assert_eq!(carol.all_received().len(), 1);
}

#[test]
fn a_caller_that_disconnects_can_repeat_its_request() {
    let world = World::new();
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    let carol = world.phone(CAROL, "Carol");
    world.fault(&json!({"kind": "delay-acks", "ms": 700, "count": 1}));
    let body = text("left alone").to_string();
    let address = server.base().trim_start_matches("http://");
    let mut caller = TcpStream::connect(address).expect("connected");
    write!(
        caller,
        "POST {SEND} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
         Idempotency-Key: left\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .expect("written");
    let id = carol.received(1)[0]["messageId"].clone();
    drop(caller);
    let again = world.post_once(&server, SEND, "left", &text("left alone"));
    assert_eq!(again.expect(200)["messageId"], id);
    assert_eq!(carol.all_received().len(), 1);
}

#[test]
fn only_requests_that_made_a_message_are_remembered() {
    let world = World::new();
    let server = world
        .options()
        .with("limits.messages_per_minute", 4)
        .start();
    world.pair(&server, "alice", ALICE);
    let carol = world.phone(CAROL, "Carol");
    let url = format!("{}{SEND}", server.base());
    for bad in ["", "with blank", &"x".repeat(256)] {
        let headers = [
            ("Content-Type", "application/json"),
            ("Idempotency-Key", bad),
        ];
        let body = text("no").to_string().into_bytes();
        let refused = world.http().send_with("POST", &url, &headers, body);
        let refused = refused.expect(400);
        assert_eq!(refused["field"], "Idempotency-Key", "{bad:?}: {refused}");
    }
    // Not connected, then connected.
    world
        .post(&server, "/accounts/alice/disconnect", &json!({}))
        .expect(200);
    world.post_once(&server, SEND, "k", &text("k")).expect(400);
    let mark = server.log_mark();
    world
        .post(&server, "/accounts/alice/connect", &json!({}))
        .expect(200);
    server.wait_log_from(mark, "alice: connected");
    world
        .post_once(&server, SEND, "k", &json!({"to": "nobody", "message": "k"}))
        .expect(400);
    world.post_once(&server, SEND, "k", &text("k")).expect(200);
    // WhatsApp's own trouble may be over the next time; its refusal is the answer.
    world.fault(&json!({"kind": "refuse-sends", "code": 503, "count": 1}));
    world.post_once(&server, SEND, "t", &text("t")).expect(500);
    world.post_once(&server, SEND, "t", &text("t")).expect(200);
    world.fault(&json!({"kind": "refuse-sends", "code": 479, "count": 1}));
    let refused = world.post_once(&server, SEND, "r", &text("r"));
    assert_eq!(refused.expect(400)["code"], 479);
    let again = world.post_once(&server, SEND, "r", &text("r"));
    assert_eq!((again.status, &again.bytes), (400, &refused.bytes));
    // Over the rate limit, which applies to new messages only.
    world.post_once(&server, SEND, "p", &text("p")).expect(429);
    world.post_once(&server, SEND, "k", &text("k")).expect(200);
    let queued = world
        .post_once(&server, &format!("{SEND}?queue=true"), "p", &text("p"))
        .expect(202);
    let again = world.post_once(&server, SEND, "p", &text("p")).expect(202);
    assert_eq!(again, queued);
    let texts: Vec<Value> = carol
        .received(2)
        .iter()
        .map(|m| m["text"].clone())
        .collect();
    assert_eq!(texts, ["k", "t"]);
}

#[test]
fn files_reactions_and_deletions_have_keys_too() {
    let world = World::new();
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    let carol = world.phone(CAROL, "Carol");
    let url = format!("{}{SEND}/document", server.base());
    let send = |content: &[u8], caption: &str| {
        let (kind, body) = Form::new()
            .field("to", CAROL)
            .file("document", "a.bin", "application/octet-stream", content)
            .field("caption", caption)
            .build();
        let headers = [("Content-Type", kind.as_str()), ("Idempotency-Key", "file")];
        world.http().send_with("POST", &url, &headers, body)
    };
    let (one, other) = (noise(20_000), noise(20_001));
    let first = send(&one, "c");
    first.expect(200);
    let again = send(&one, "c");
    assert_eq!((again.status, &again.bytes), (200, &first.bytes));
    send(&other, "c").expect(409);
    send(&one, "d").expect(409);
    assert_eq!(carol.received(1).len(), 1);

    let id = first.json()["messageId"].clone();
    let react = json!({"chatId": CAROL, "messageId": id, "emoji": "👍"});
    let path = "/accounts/alice/message/react";
    let first = world.post_once(&server, path, "react", &react);
    assert_eq!(first.expect(200)["message"], "Reaction sent");
    let again = world.post_once(&server, path, "react", &react);
    assert_eq!((again.status, &again.bytes), (200, &first.bytes));
    let delete = json!({"chatId": CAROL, "messageId": id});
    let path = "/accounts/alice/message/delete";
    let first = world.post_once(&server, path, "delete", &delete);
    first.expect(200);
    // Its message is gone, and the answer is there.
    let again = world.post_once(&server, path, "delete", &delete);
    assert_eq!((again.status, &again.bytes), (200, &first.bytes));
}

#[test]
fn the_server_repeats_a_message_whose_ack_was_lost() {
    let world = World::new();
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    let carol = world.phone(CAROL, "Carol");
    world.post(&server, SEND, &text("known")).expect(200);
    // Lost before WhatsApp has read it.
    let mark = server.log_mark();
    world.fault(&json!({"kind": "drop-connections", "on": "message", "number": ALICE, "count": 1}));
    let accepted = world.post_once(&server, SEND, "a", &text("lost"));
    let body = accepted.expect(202);
    assert_eq!(body["status"], "pending");
    assert!(
        body["message"]
            .as_str()
            .is_some_and(|m| m.contains("goes on")),
        "{body}"
    );
    let lost = body["messageId"].as_str().expect("an id").to_owned();
    server.wait_log_from(mark, "alice: connected");
    acknowledged(&world, &server, &lost);
    let mark = server.log_mark();
    // Lost after WhatsApp has delivered it, of which nothing is heard: a receipt would prove it.
    world.fault(&json!({"kind": "withhold-acks", "number": ALICE, "count": 1}));
    world.fault(&json!({"kind": "lose-receipts", "number": CAROL, "count": 1}));
    let body = thread::scope(|scope| {
        let request = scope.spawn(|| world.post_once(&server, SEND, "b", &text("unknown")));
        carol.received(3);
        world.fault(&json!({"kind": "drop-connections", "number": ALICE}));
        request.join().expect("ended").expect(202)
    });
    let unknown = body["messageId"].as_str().expect("an id").to_owned();
    server.wait_log_from(mark, "alice: connected");
    acknowledged(&world, &server, &unknown);
    // The first answer stays the answer.
    let again = world.post_once(&server, SEND, "a", &text("lost"));
    assert_eq!((again.status, &again.bytes), (202, &accepted.bytes));
    world.post(&server, SEND, &text("last")).expect(200);
    let received = carol.received(4);
    let got: Vec<(&str, &str)> = received
        .iter()
        .map(|m| {
            (
                m["text"].as_str().expect("text"),
                m["messageId"].as_str().expect("id"),
            )
        })
        .collect();
    assert_eq!(got.len(), 4, "{received:?}");
    assert_eq!(
        (got[1], got[2]),
        (("lost", lost.as_str()), ("unknown", unknown.as_str()))
    );
    eventually("an empty outbox", || {
        let outbox = world.get(&server, "/accounts/alice/outbox");
        (outbox["count"] == 0 && outbox["bytes"] == 0).then_some(())
    });
}

#[test]
fn a_kill_before_the_ack_leaves_nothing_pending_or_duplicated() {
    let world = World::new();
    let server = world.server();
    let alice = world.pair(&server, "alice", ALICE);
    let carol = world.phone(CAROL, "Carol");
    let greeting = carol.say(&alice.jid(), "hello");
    eventually("carol's message", || {
        let path = format!("/accounts/alice/messages/{greeting}");
        (world.api(&server, "GET", &path, None).status == 200).then_some(())
    });
    world.fault(&json!({"kind": "withhold-acks", "number": ALICE}));
    let send = |path: &str, key: &str, body: &Value| {
        // Cut off by the kill.
        let address = server.base().trim_start_matches("http://").to_owned();
        let body = body.to_string();
        let mut caller = TcpStream::connect(&address).expect("connected");
        write!(
            caller,
            "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
             Idempotency-Key: {key}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .expect("written");
        caller
    };
    let picture = json!({"to": CAROL, "base64": "SGVsbG8=", "fileName": "a.txt"});
    let react = json!({"chatId": CAROL, "messageId": greeting, "emoji": "👍"});
    let document = format!("{SEND}/document");
    let callers = [
        send(SEND, "text", &text("cut off")),
        send(&document, "file", &picture),
        send("/accounts/alice/message/react", "react", &react),
    ];
    let ids: Vec<Value> = carol
        .received(3)
        .iter()
        .map(|m| m["messageId"].clone())
        .collect();
    server.kill();
    drop(callers);
    world.fault(&json!({"kind": "clear"}));

    let server = world.server();
    // At any moment the caller gets the same message, pending or sent.
    let told = world.post_once(&server, SEND, "text", &text("cut off"));
    assert!(matches!(told.status, 200 | 202), "{told:?}");
    let told = told.json();
    assert!(ids.contains(&told["messageId"]), "{told} {ids:?}");
    server.wait_log("alice: connected");
    acknowledged(&world, &server, told["messageId"].as_str().expect("an id"));
    eventually("an empty outbox", || {
        let outbox = world.get(&server, "/accounts/alice/outbox");
        (outbox["count"] == 0).then_some(())
    });
    for (path, key, body) in [
        (document.as_str(), "file", &picture),
        ("/accounts/alice/message/react", "react", &react),
    ] {
        let told = world.post_once(&server, path, key, body).expect(200);
        assert!(ids.contains(&told["messageId"]), "{told}");
    }
    let page = world.get(&server, &format!("/accounts/alice/chats/{CAROL}/messages"));
    for message in page["messages"].as_array().expect("messages") {
        assert_ne!(message["status"], "pending", "{message}");
        if message["messageId"] == greeting.as_str() {
            assert_eq!(message["reactions"][0]["emoji"], "👍", "{message}");
        }
    }
    world.post(&server, SEND, &text("last")).expect(200);
    assert_eq!(carol.received(4).len(), 4);
}
