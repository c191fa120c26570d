//! The outbox: messages that cannot be sent now are sent later, once, in order; refusals are reported.

use std::io::Write as _;
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::media_out::{noise, sha256};
use crate::support::{Answer, Form, Phone, Receiver, Server, World, eventually};

const ALICE: &str = "491700000001";
const BOB: &str = "491700000002";
const CAROL: &str = "491700000003";
const NOBODY: &str = "491799999999";
const SEND: &str = "/accounts/alice/message/send";
const OUTBOX: &str = "/accounts/alice/outbox";

fn send(world: &World, server: &Server, to: &str, text: &str) -> Answer {
    world.post(server, SEND, &json!({"to": to, "message": text}))
}

fn queue(world: &World, server: &Server, to: &str, text: &str) -> Answer {
    let body = json!({"to": to, "message": text, "queue": true});
    world.post(server, SEND, &body)
}

fn id_of(answer: &Value) -> String {
    answer["messageId"].as_str().expect("an id").to_owned()
}

fn message(world: &World, server: &Server, id: &str) -> Value {
    world.get(server, &format!("/accounts/alice/messages/{id}"))["message"].clone()
}

fn disconnect(world: &World, server: &Server) {
    world
        .post(server, "/accounts/alice/disconnect", &json!({}))
        .expect(200);
}

fn connect(world: &World, server: &Server) {
    let mark = server.log_mark();
    world
        .post(server, "/accounts/alice/connect", &json!({}))
        .expect(200);
    server.wait_log_from(mark, "alice: connected");
}

fn hook(world: &World, server: &Server) -> Receiver {
    let receiver = Receiver::start();
    let events = ["message.sent", "message.status"];
    let body = json!({"url": receiver.url(), "events": events, "accountId": "alice"});
    world.post(server, "/webhooks", &body).expect(201);
    receiver
}

/// The next event that says that a message failed.
fn failure(receiver: &Receiver) -> Value {
    loop {
        let event = receiver.next().body;
        if event["event"] == "message.status" && event["status"] == "failed" {
            return event;
        }
    }
}

fn texts(phone: &Phone<'_>, count: usize) -> Vec<String> {
    let text = |m: &Value| m["text"].as_str().unwrap_or_default().to_owned();
    phone.received(count).iter().map(text).collect()
}

#[test]
fn messages_queued_offline_are_sent_in_order_after_reconnecting() {
    let world = World::new();
    world.walks(&["GET /accounts/:id/outbox"]);
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    world.pair(&server, "bob", "491700000009");
    let bob = world.phone(BOB, "Bob");
    let known = id_of(&send(&world, &server, BOB, "known").expect(200));
    disconnect(&world, &server);
    send(&world, &server, BOB, "no").expect(400);

    let first = queue(&world, &server, BOB, "first").expect(202);
    assert_eq!(first["status"], "pending");
    let words = first["message"].as_str().expect("words");
    assert!(words.contains("not connected"), "{words}");
    let content = noise(100_000);
    let (kind, body) = Form::new()
        .field("to", BOB)
        .field("caption", "second")
        .file("document", "a.bin", "application/octet-stream", &content)
        // Behind the file.
        .field("queue", "true")
        .build();
    let url = format!("{}{SEND}/document", server.base());
    let second = world
        .http()
        .send("POST", &url, &kind, Some(body))
        .expect(202);
    let react = json!({"chatId": BOB, "messageId": known, "emoji": "🎉", "queue": true});
    world
        .post(&server, "/accounts/alice/message/react", &react)
        .expect(202);
    let reply = json!({"to": BOB, "message": "third", "quotedMessageId": known});
    world
        .post(&server, "/accounts/alice/message/reply?queue=true", &reply)
        .expect(202);

    // It shows in its chat, with its file, and in the outbox; bob has none of it.
    let shown = message(&world, &server, &id_of(&first));
    assert_eq!(
        (&shown["status"], &shown["text"]),
        (&json!("pending"), &json!("first"))
    );
    let path = format!("/accounts/alice/messages/{}/media", id_of(&second));
    let file = world.api(&server, "GET", &path, None);
    assert_eq!((file.status, sha256(&file.bytes)), (200, sha256(&content)));
    let listed = world.get(&server, OUTBOX);
    let rows = listed["messages"].as_array().expect("messages");
    let kinds: Vec<&str> = rows.iter().filter_map(|m| m["type"].as_str()).collect();
    assert_eq!(kinds, ["text", "document", "reaction", "text"], "{listed}");
    assert!(
        rows.iter()
            .all(|m| m["stage"] == "queued" && m["chatId"] == bob.jid())
    );
    assert_eq!(listed["count"], 4);
    assert_eq!(listed["bytes"], 5 + 5 + 6 + content.len());
    assert_eq!(world.get(&server, "/accounts/bob/outbox")["count"], 0);
    let many = world.api(&server, "GET", &format!("{OUTBOX}?limit=many"), None);
    assert_eq!(many.expect(400)["field"], "limit");
    let stranger = world.api(&server, "GET", "/accounts/nobody/outbox", None);
    stranger.expect(404);
    let page = world.get(&server, &format!("{OUTBOX}?limit=1&skip=1"));
    assert_eq!(page["messages"].as_array().map(Vec::len), Some(1));
    assert_eq!(page["messages"][0]["messageId"], second["messageId"]);

    server.kill();
    let server = world.server();
    assert_eq!(world.get(&server, OUTBOX)["count"], 4);
    let receiver = hook(&world, &server);
    connect(&world, &server);
    assert_eq!(receiver.next().body["messageId"], first["messageId"]);
    let sent = loop {
        let event = receiver.next().body;
        if event["event"] == "message.sent" {
            break event;
        }
    };
    assert_eq!(sent["messageId"], second["messageId"]);
    // The reaction is among them.
    let received = bob.received(5);
    let got: Vec<&str> = received
        .iter()
        .filter(|m| m["type"] != "reaction")
        .filter_map(|m| m["text"].as_str())
        .collect();
    assert_eq!(got, ["known", "first", "second", "third"], "{received:?}");
    let document = received.iter().find(|m| m["text"] == "second").expect("it");
    assert_eq!(document["media"]["sha256"], sha256(&content));
    assert_eq!(document["messageId"], second["messageId"]);
    eventually("an empty outbox", || {
        (world.get(&server, OUTBOX)["count"] == 0).then_some(())
    });
    let known = message(&world, &server, &known);
    assert_eq!(known["reactions"][0]["emoji"], "🎉", "{known}");
    assert_ne!(
        message(&world, &server, &id_of(&first))["status"],
        "pending"
    );
    // The file is where sent ones are now.
    eventually("the file", || {
        let waits = world.directory.path().join("data/outbox");
        let left = std::fs::read_dir(waits)
            .expect("listed")
            .flatten()
            .any(|account| {
                std::fs::read_dir(account.path())
                    .expect("listed")
                    .next()
                    .is_some()
            });
        (!left).then_some(())
    });
    let file = world.api(&server, "GET", &path, None);
    assert_eq!((file.status, sha256(&file.bytes)), (200, sha256(&content)));
    // Connected, within its rate and with nothing waiting: at once.
    queue(&world, &server, BOB, "now").expect(200);
}

#[test]
fn messages_over_the_rate_are_queued() {
    let world = World::new();
    let server = world
        .options()
        .with("limits.messages_per_minute", 20)
        .start();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let mut sent = 0;
    let first = std::time::Instant::now();
    let (over, began) = loop {
        let began = std::time::Instant::now();
        let answer = queue(&world, &server, BOB, &format!("{sent}"));
        if answer.status == 202 {
            break (answer.json(), began);
        }
        answer.expect(200);
        sent += 1;
    };
    // One more every 3 s meanwhile.
    let more = first.elapsed().as_secs() as usize / 3 + 1;
    assert!((20..=20 + more).contains(&sent), "{sent} of 20, and {more}");
    let words = over["message"].as_str().expect("words");
    assert!(words.contains("at most 20 a minute"), "{words}");
    let behind = queue(&world, &server, BOB, "behind").expect(202);
    let words = behind["message"].as_str().expect("words");
    assert!(words.contains("wait before"), "{words}");
    let all = texts(&bob, sent + 2);
    assert_eq!(all[sent..], [format!("{sent}"), "behind".to_owned()]);
    // One message per three seconds, minus the burst at the first refusal.
    assert!(
        began.elapsed().as_millis() >= 3_000,
        "{:?}",
        began.elapsed()
    );
}

#[test]
fn a_queued_message_can_be_cancelled_and_expires() {
    let world = World::new();
    world.walks(&["DELETE /accounts/:id/outbox/:messageId"]);
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let sent = id_of(&send(&world, &server, BOB, "sent").expect(200));
    disconnect(&world, &server);
    let receiver = hook(&world, &server);
    let cancel = |id: &str| world.api(&server, "DELETE", &format!("{OUTBOX}/{id}"), None);
    let unwanted = id_of(&queue(&world, &server, BOB, "unwanted").expect(202));
    let wanted = id_of(&queue(&world, &server, BOB, "wanted").expect(202));
    // It cannot be deleted where it is not.
    let delete = json!({"chatId": BOB, "messageId": unwanted, "queue": true});
    let refused = world.post(&server, "/accounts/alice/message/delete", &delete);
    let words = refused.expect(409)["error"].clone();
    assert!(
        words.as_str().is_some_and(|w| w.contains("outbox")),
        "{words}"
    );
    assert_eq!(
        cancel(&unwanted).expect(200)["message"],
        "Message cancelled"
    );
    let event = failure(&receiver);
    assert_eq!(event["messageId"], unwanted.as_str());
    assert_eq!(event["error"], "cancelled before it was sent");
    let shown = message(&world, &server, &unwanted);
    assert_eq!(
        (&shown["status"], &shown["error"]),
        (&json!("failed"), &event["error"])
    );
    for gone in [&unwanted, &sent, &"3EB0NONE".to_owned()] {
        let words = cancel(gone).expect(404)["error"].clone();
        assert_eq!(words, "Message not found in the outbox");
    }
    world
        .api(&server, "DELETE", "/accounts/nobody/outbox/1", None)
        .expect(404);
    world
        .api(&server, "GET", "/accounts/nobody/outbox", None)
        .expect(404);

    for bad in [
        json!(0),
        json!(-1),
        json!("soon"),
        json!(2_592_001),
        json!(1.5),
    ] {
        let body = json!({"to": BOB, "message": "no", "queue": true, "expiresIn": bad});
        assert_eq!(
            world.post(&server, SEND, &body).expect(400)["field"],
            "expiresIn",
            "{bad}"
        );
    }
    let body = json!({"to": BOB, "message": "no", "queue": "perhaps"});
    assert_eq!(
        world.post(&server, SEND, &body).expect(400)["field"],
        "queue"
    );
    let body = json!({"to": BOB, "message": "stale", "queue": true, "expiresIn": 1});
    let stale = id_of(&world.post(&server, SEND, &body).expect(202));
    let event = failure(&receiver);
    assert_eq!(event["messageId"], stale.as_str());
    assert_eq!(event["error"], "it could not be sent before it expired");
    connect(&world, &server);
    assert_eq!(texts(&bob, 2), ["sent", "wanted"]);
    assert_ne!(message(&world, &server, &wanted)["status"], "failed");
}

#[test]
fn the_outbox_is_bounded_and_refuses_unresolved_recipients() {
    let world = World::new();
    let server = world
        .options()
        .with("outbox.max_messages", 3)
        .with("outbox.max_bytes", "1 MiB")
        .start();
    world
        .post(&server, "/accounts", &json!({"id": "new"}))
        .expect(201);
    let body = json!({"to": BOB, "message": "no", "queue": true});
    let refused = world
        .post(&server, "/accounts/new/message/send", &body)
        .expect(400);
    assert_eq!(
        refused["error"],
        "Account not paired: nothing can be queued for it"
    );
    assert_eq!(refused["status"], "connecting");

    let phone = world.pair(&server, "alice", ALICE);
    disconnect(&world, &server);
    let large = json!({"to": BOB, "base64": base64(1_048_577), "queue": true});
    let document = format!("{SEND}/document");
    let full = world.post(&server, &document, &large).expect(503);
    assert!(
        full["error"].as_str().is_some_and(|w| w.contains("full")),
        "{full}"
    );
    for text in ["1", "2"] {
        queue(&world, &server, BOB, text).expect(202);
    }
    let small = json!({"to": BOB, "base64": "SGVsbG8=", "queue": true});
    let file = id_of(&world.post(&server, &document, &small).expect(202));
    let full = queue(&world, &server, BOB, "4");
    assert!(full.header("retry-after").is_some());
    assert!(
        full.expect(503)["error"]
            .as_str()
            .is_some_and(|w| w.contains("3 messages"))
    );
    let waits = world.directory.path().join("data/outbox");
    assert_eq!(files_in(&waits), [file]);

    // Logged out: the next pairing may be another number's, and gets none of it.
    let receiver = hook(&world, &server);
    let mark = server.log_mark();
    phone.post("unlink", &json!({}));
    world
        .post(&server, "/accounts/alice/connect", &json!({}))
        .expect(200);
    server.wait_log_from(mark, "alice: logged_out");
    let refused = queue(&world, &server, BOB, "no").expect(400);
    assert_eq!(refused["status"], "logged_out");
    world
        .post(&server, "/accounts/alice/connect", &json!({}))
        .expect(200);
    for _ in 0..3 {
        let event = failure(&receiver);
        assert!(
            event["error"]
                .as_str()
                .is_some_and(|w| w.contains("logged out")),
            "{event}"
        );
    }
    assert_eq!(world.get(&server, OUTBOX)["count"], 0);
    assert_eq!(files_in(&waits), Vec::<String>::new());
}

fn files_in(folder: &std::path::Path) -> Vec<String> {
    let mut found = Vec::new();
    for account in std::fs::read_dir(folder).expect("listed").flatten() {
        for file in std::fs::read_dir(account.path()).expect("listed").flatten() {
            found.push(file.file_name().to_string_lossy().into_owned());
        }
    }
    found
}

fn base64(len: usize) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(noise(len))
}

#[test]
fn refusals_are_explained_and_pause_only_new_contacts() {
    let world = World::new();
    let server = world
        .options()
        .with("limits.new_contact_pause", "3s")
        .start();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let carol = world.phone(CAROL, "Carol");
    send(&world, &server, BOB, "known").expect(200);
    let receiver = hook(&world, &server);
    // WhatsApp does not say how long it lasts.
    world.fault(&json!({"kind": "refuse-queries"}));
    world.fault(&json!({"kind": "refuse-sends", "code": 463, "count": 1}));
    let refused = send(&world, &server, CAROL, "hello").expect(400);
    assert_eq!(refused["code"], 463);
    let words = refused["error"].as_str().expect("words").to_owned();
    assert!(
        words.contains("463") && words.contains("new contacts"),
        "{words}"
    );
    let event = failure(&receiver);
    assert_eq!(event["messageId"], refused["messageId"]);
    assert_eq!(
        (&event["code"], &event["error"]),
        (&json!(463), &json!(words))
    );
    let shown = message(&world, &server, &id_of(&refused));
    assert_eq!(
        (&shown["status"], &shown["error"]),
        (&json!("failed"), &json!(words))
    );

    // Carol has to wait, by herself or in the outbox; bob has not.
    let paused = send(&world, &server, CAROL, "hello");
    let body = paused.expect(429);
    let seconds = body["retryAfter"].as_u64().expect("seconds");
    assert!((1..=3).contains(&seconds), "{body}");
    assert!(paused.header("retry-after").is_some());
    let waiting = queue(&world, &server, CAROL, "hello again").expect(202);
    let words = waiting["message"].as_str().expect("words");
    assert!(words.contains("new contacts"), "{words}");
    let listed = world.get(&server, OUTBOX);
    assert!(listed["newContactsPausedUntil"].is_string(), "{listed}");
    queue(&world, &server, BOB, "behind carol, before her").expect(202);
    assert_eq!(texts(&bob, 2), ["known", "behind carol, before her"]);
    send(&world, &server, BOB, "goes on").expect(200);
    // After the pause it is sent, and she is no new contact any more.
    assert_eq!(texts(&carol, 1), ["hello again"]);
    eventually("the end of the pause", || {
        let listed = world.get(&server, OUTBOX);
        (listed["newContactsPausedUntil"].is_null() && listed["count"] == 0).then_some(())
    });
    send(&world, &server, CAROL, "and again").expect(200);
}

#[test]
fn a_number_that_is_not_on_whatsapp_is_reported() {
    let world = World::new();
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let receiver = hook(&world, &server);
    let refused = send(&world, &server, NOBODY, "hello?").expect(400);
    assert_eq!(refused["error"], format!("{NOBODY} is not on WhatsApp"));
    assert_eq!(refused["code"], json!(null));
    let event = failure(&receiver);
    assert_eq!(event["messageId"], refused["messageId"]);
    assert_eq!(event["error"], refused["error"]);
    // From the outbox only the event reports it, and later messages are sent.
    disconnect(&world, &server);
    let queued = queue(&world, &server, NOBODY, "hello?").expect(202);
    queue(&world, &server, BOB, "hello").expect(202);
    connect(&world, &server);
    let event = failure(&receiver);
    assert_eq!(event["messageId"], queued["messageId"]);
    assert_eq!(event["error"], refused["error"]);
    assert_eq!(texts(&bob, 1), ["hello"]);
    // This pauses no contact.
    let listed = world.get(&server, OUTBOX);
    assert_eq!(listed["newContactsPausedUntil"], json!(null));
}

/// The events of one message, oldest first: kind and status of each.
fn told(world: &World, server: &Server, id: &str) -> Vec<(String, String)> {
    let log = world.get(server, "/events?after=0&limit=1000");
    let events = log["events"].as_array().expect("events");
    let of = |event: &Value, field: &str| event[field].as_str().unwrap_or_default().to_owned();
    events
        .iter()
        .filter(|event| event["messageId"] == id)
        .map(|event| (of(event, "event"), of(event, "status")))
        .collect()
}

#[test]
fn a_receipt_before_the_ack_is_reported_after_message_sent() {
    let world = World::new();
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let sent_then = |words: &[&str]| -> Vec<(String, String)> {
        let mut all = vec![("message.sent".to_owned(), words[0].to_owned())];
        let rest = words[1..].iter();
        all.extend(rest.map(|status| ("message.status".to_owned(), (*status).to_owned())));
        all
    };
    let until = |server: &Server, id: &str, count: usize| {
        eventually("the events", || {
            let told = told(&world, server, id);
            (told.len() >= count).then_some(told)
        })
    };

    // In its turn.
    let id = id_of(&send(&world, &server, BOB, "in order").expect(200));
    assert_eq!(until(&server, &id, 2), sent_then(&["sent", "delivered"]));

    // The receipt first: the phone has the message long before the server says that it has it.
    world.fault(&json!({"kind": "delay-acks", "ms": 1000, "count": 1}));
    let late = send(&world, &server, BOB, "overtaken").expect(200);
    let id = id_of(&late);
    bob.post("read", &json!({"chat": ALICE, "messageIds": [id]}));
    assert_eq!(
        until(&server, &id, 3),
        sent_then(&["sent", "delivered", "read"])
    );
    // The server's time is the message's in the end.
    let shown = message(&world, &server, &id);
    assert_eq!(shown["timestamp"], late["timestamp"], "{shown}");

    // The ack is lost in a power cut: the receipt replaces it, and nothing is sent again.
    world.fault(&json!({"kind": "withhold-acks"}));
    let mark = bob.all_received().len();
    let body = json!({"to": BOB, "message": "without an ack"}).to_string();
    let address = server.base().trim_start_matches("http://").to_owned();
    let mut caller = TcpStream::connect(&address).expect("connected");
    write!(
        caller,
        "POST {SEND} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .expect("written");
    let waiting = id_of(&bob.received(mark + 1)[mark]);
    assert_eq!(
        until(&server, &waiting, 2),
        sent_then(&["sent", "delivered"])
    );
    server.kill();
    world.fault(&json!({"kind": "clear"}));
    let server = world.server();
    eventually("an empty outbox", || {
        (world.get(&server, OUTBOX)["count"] == 0).then_some(())
    });
    assert_eq!(
        told(&world, &server, &waiting),
        sent_then(&["sent", "delivered"])
    );
    assert_eq!(message(&world, &server, &waiting)["status"], "delivered");
    assert_eq!(bob.all_received().len(), mark + 1);
}
