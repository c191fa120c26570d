//! Recipients: notations of numbers, and WhatsApp's form of a number.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Answer, Form, Phone, Server, Time, World, eventually};

const ALICE: &str = "491700000001";
const BOB: &str = "491700000002";
const SEND: &str = "/accounts/alice/message/send";
const OUTBOX: &str = "/accounts/alice/outbox";

fn send(world: &World, server: &Server, to: &Value, text: &str) -> Answer {
    world.post(server, SEND, &json!({"to": to, "message": text}))
}

fn chats(world: &World, server: &Server) -> Vec<String> {
    let listed = world.get(server, "/accounts/alice/chats");
    let chats = listed["chats"].as_array().expect("chats");
    assert_eq!(listed["pagination"]["total"], chats.len(), "{listed}");
    chats
        .iter()
        .map(|chat| chat["chatId"].as_str().expect("an id").to_owned())
        .collect()
}

fn error(answer: &Answer, status: u16) -> String {
    let body = answer.expect(status);
    body["error"].as_str().expect("words").to_owned()
}

#[test]
fn a_number_is_reached_in_every_notation() {
    let world = World::new();
    let server = world
        .options()
        .with("limits.messages_per_minute", 600)
        .start();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let written = [
        json!(BOB),
        json!(491_700_000_002_u64),
        json!("+49 170 0000002"),
        json!("00491700000002"),
        json!("+49 (0) 170 0000002"),
        json!("\u{202a}+49 170 0000002\u{202c}"),
        json!("\u{200e}+49\u{a0}170\u{202f}0000002"),
        json!("+49.170.000.0002"),
        json!("+49\u{2011}170\u{2013}0000002"),
        json!("tel:+49-170-0000002"),
        json!("٤٩١٧٠٠٠٠٠٠٠٢"),
        json!("＋４９１７０００００００２"),
        json!("491700000002@c.us\u{200b}"),
    ];
    for to in &written {
        send(&world, &server, to, "hello").expect(200);
    }
    let last = bob.received(written.len()).len();
    assert_eq!(last, written.len());
    assert_eq!(chats(&world, &server), [bob.jid()]);

    // In forms, paths, queries and lists, too.
    let (kind, body) = Form::new()
        .field("to", "0049 170 0000002")
        .field("mentions", "[491700000002, \"+49 170 0000003\"]")
        .file("document", "a.txt", "text/plain", b"some text")
        .build();
    let url = format!("{}{SEND}/document", server.base());
    let sent = world
        .http()
        .send("POST", &url, &kind, Some(body))
        .expect(200);
    let path = format!(
        "/accounts/alice/messages/{}",
        sent["messageId"].as_str().expect("an id")
    );
    let mentions = world.get(&server, &path)["message"]["mentions"].clone();
    assert_eq!(mentions, json!([bob.jid(), "491700000003@s.whatsapp.net"]));
    let page = world.get(
        &server,
        "/accounts/alice/chats/%2B49%20170%200000002/messages",
    );
    assert_eq!(page["pagination"]["total"], written.len() + 1);
    let media = world.get(&server, "/media?chatId=tel:%2B491700000002");
    assert_eq!(media["media"].as_array().map(Vec::len), Some(1));

    for to in [
        "0170 0000002",
        "(0170) 0000002",
        "01700000002@s.whatsapp.net",
    ] {
        let told = error(&send(&world, &server, &json!(to), "no"), 400);
        assert_eq!(
            told,
            "\"to\" must be a phone number with the country code, without the leading 0"
        );
    }
    for to in [
        json!("nobody"),
        json!("49170\n491701"),
        json!(17),
        json!("12"),
    ] {
        let told = error(&send(&world, &server, &to, "no"), 400);
        assert!(told.contains("\"to\""), "{told}");
    }
    for to in [json!(1.5), json!(true), json!({"number": "491700000002"})] {
        let told = error(&send(&world, &server, &to, "no"), 400);
        assert!(
            told.contains("\"to\" must be a JID or a phone number"),
            "{told}"
        );
    }
    // The same words for the number that an account is linked by.
    world
        .post(&server, "/accounts", &json!({"id": "bob"}))
        .expect(201);
    for (phone, words) in [
        (json!("0170 0000002"), "without the leading 0"),
        (json!("bob"), "7 to 15 digits"),
        (json!(""), "phone is required"),
        (json!(true), "as a string or a whole number"),
    ] {
        let asked = world.post(&server, "/accounts/bob/pair-code", &json!({"phone": phone}));
        let told = error(&asked, 400);
        assert!(told.contains(words), "{told}");
    }
    server.wait_log("bob: a QR code waits");
    for phone in [json!("00491700000002"), json!(491_700_000_002_u64)] {
        let asked = world.post(&server, "/accounts/bob/pair-code", &json!({"phone": phone}));
        assert_eq!(asked.expect(200)["code"].as_str().map(str::len), Some(8));
    }
}

fn make_group(world: &World, subject: &str, members: &[&str]) -> String {
    let body = json!({"subject": subject, "members": members});
    let made = world.admin("POST", "/groups", Some(&body)).expect_success();
    made["jid"].as_str().expect("a JID").to_owned()
}

#[test]
fn refused_and_unknown_recipients_are_explained_and_leave_no_chat() {
    let world = World::new();
    let mut options = world.options().with("limits.messages_per_minute", 600);
    let time = Time::of(&mut options);
    let server = options.start();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    world.phone("491700000003", "Carol");
    let closed = make_group(&world, "Closed", &[BOB, "491700000003"]);
    let refusals = [
        (
            "491799999999",
            json!(null),
            "491799999999 is not on WhatsApp",
        ),
        ("120363000000000009@g.us", json!(404), "no such group"),
        (closed.as_str(), json!(403), "not in the group"),
        (
            "955000000000001@lid",
            json!(404),
            "does not know the recipient",
        ),
        (
            "120363000000000009@newsletter",
            json!(404),
            "no such channel",
        ),
        ("1234567890@broadcast", json!(null), "Broadcast lists"),
    ];
    for (to, code, words) in &refusals {
        let file = json!({"to": to, "base64": "SGVsbG8=", "fileName": "a.txt"});
        let document = format!("{SEND}/document");
        for answer in [
            send(&world, &server, &json!(to), "hello?"),
            world.post(&server, &document, &file),
        ] {
            assert_eq!(answer.status, 400, "{to}: {}", answer.json());
            let told = error(&answer, 400);
            assert!(told.contains(words), "{to}: {told}");
            assert_eq!(answer.json()["code"], *code, "{to}");
        }
    }
    assert_eq!(chats(&world, &server), [""; 0]);
    assert_eq!(world.get(&server, OUTBOX)["count"], 0);

    // From the outbox an event reports the final failure at once; later messages are sent.
    world
        .post(&server, "/accounts/alice/disconnect", &json!({}))
        .expect(200);
    let mut queued = Vec::new();
    for (to, code, words) in &refusals {
        let body = json!({"to": to, "message": "hello?", "queue": true});
        let answer = world.post(&server, SEND, &body);
        if answer.status == 400 {
            assert!(error(&answer, 400).contains(words), "{to}");
            continue;
        }
        let id = answer.expect(202)["messageId"].clone();
        queued.push((id, code, words));
    }
    assert_eq!(queued.len(), 5, "lists are refused at once");
    let body = json!({"to": BOB, "message": "behind them", "queue": true});
    world.post(&server, SEND, &body).expect(202);
    let before = world.get(&server, "/events")["last"].as_u64().expect("it");
    world
        .post(&server, "/accounts/alice/connect", &json!({}))
        .expect(200);
    assert_eq!(bob.received(1)[0]["text"], "behind them");
    eventually("an empty outbox", || {
        (world.get(&server, OUTBOX)["count"] == 0).then_some(())
    });
    let path = format!("/events?after={before}&types=message.status&limit=100");
    let log = world.get(&server, &path);
    for (id, code, words) in &queued {
        let events = log["events"].as_array().expect("events");
        let failed: Vec<&Value> = events.iter().filter(|e| e["messageId"] == *id).collect();
        assert_eq!(failed.len(), 1, "{log}");
        assert_eq!(failed[0]["status"], "failed");
        assert_eq!(failed[0]["code"], **code, "{}", failed[0]);
        let told = failed[0]["error"].as_str().expect("words");
        assert!(told.contains(*words), "{told}");
        // What became of it can be asked.
        let id = id.as_str().expect("an id");
        let shown = world.get(&server, &format!("/accounts/alice/messages/{id}"));
        assert_eq!(shown["message"]["status"], "failed");
    }
    assert_eq!(chats(&world, &server), [bob.jid()]);

    // A number that registers later is a normal chat.
    let late = world.phone("491799999999", "Late");
    // What WhatsApp has said of the number holds for a day.
    time.passes(Duration::from_secs(24 * 3_600));
    send(&world, &server, &json!("491799999999"), "there you are").expect(200);
    let both = [bob.jid(), late.jid()];
    let sorted = || {
        let mut listed = chats(&world, &server);
        listed.sort();
        listed
    };
    assert_eq!(sorted(), both);
    // And a refusal in a chat that exists does not take it away.
    world.fault(&json!({"kind": "refuse-sends", "code": 403, "count": 1}));
    send(&world, &server, &json!(BOB), "no").expect(400);
    assert_eq!(sorted(), both);
}

#[test]
fn temporary_refusals_are_reported_and_retried_from_the_outbox() {
    let world = World::new();
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    send(&world, &server, &json!(BOB), "known").expect(200);
    world.fault(&json!({"kind": "refuse-sends", "code": 429, "count": 1}));
    let answer = send(&world, &server, &json!(BOB), "too much");
    assert!(answer.header("retry-after").is_some());
    let body = answer.expect(429);
    assert_eq!(body["code"], 429);
    assert!(body["retryAfter"].as_u64().is_some_and(|s| s > 0), "{body}");

    world
        .post(&server, "/accounts/alice/disconnect", &json!({}))
        .expect(200);
    let queued = json!({"to": BOB, "message": "patient", "queue": true});
    world.post(&server, SEND, &queued).expect(202);
    world.fault(&json!({"kind": "refuse-sends", "code": 503, "count": 1}));
    world
        .post(&server, "/accounts/alice/connect", &json!({}))
        .expect(200);
    let got = bob.received(2);
    assert_eq!(got[1]["text"], "patient");
    // Also accepted while connected: queued.
    world.fault(&json!({"kind": "refuse-sends", "code": 503, "count": 1}));
    let queued = json!({"to": BOB, "message": "waits", "queue": true});
    let accepted = world.post(&server, SEND, &queued).expect(202);
    let words = accepted["message"].as_str().expect("words");
    assert!(
        words.contains("503") && words.contains("tries it again"),
        "{words}"
    );
    assert_eq!(bob.received(3)[2]["text"], "waits");
    eventually("an empty outbox", || {
        (world.get(&server, OUTBOX)["count"] == 0).then_some(())
    });
}

/// Sends to a number in the form that its account does not have, and sees everything find the chat.
fn in_both_forms(world: &World, server: &Server, phone: &Phone<'_>, typed: &str) {
    let real = phone.number.clone();
    let chat = phone.jid();
    let id = send(world, server, &json!(typed), "hello").expect(200)["messageId"].clone();
    assert_eq!(phone.received(1)[0]["messageId"], id, "{typed}");
    let shown = world.get(
        server,
        &format!("/accounts/alice/messages/{}", id.as_str().expect("an id")),
    );
    assert_eq!(shown["message"]["chatId"], chat.as_str(), "{shown}");
    let answer = phone.say(ALICE, "hello yourself");
    for form in [typed, &real] {
        let page = eventually("the answer", || {
            let path = format!("/accounts/alice/chats/{form}/messages");
            let page = world.get(server, &path);
            (page["pagination"]["total"] == 2).then_some(page)
        });
        assert_eq!(page["messages"][0]["messageId"], answer.as_str(), "{form}");
        assert_eq!(page["messages"][1]["chatId"], chat.as_str(), "{form}");
    }
    let post = |path: &str, body: &Value| world.post(server, path, body).expect(200);
    post(
        "/accounts/alice/message/react",
        &json!({"chatId": typed, "messageId": answer, "emoji": "👍"}),
    );
    post(
        "/accounts/alice/message/reply",
        &json!({"to": typed, "message": "indeed", "quotedMessageId": answer, "mentions": [typed]}),
    );
    post(&format!("/accounts/alice/chats/{typed}/read"), &json!({}));
    post(
        "/accounts/alice/message/delete",
        &json!({"chatId": typed, "messageId": id}),
    );
    let received = phone.received(4);
    let reply = received.iter().find(|m| m["text"] == "indeed");
    assert_eq!(reply.expect("the reply")["quotedId"], answer.as_str());
    assert_eq!(
        reply.expect("the reply")["mentions"],
        json!([chat]),
        "the JID that WhatsApp has"
    );
}

#[test]
fn the_number_that_whatsapp_returns_is_used() {
    let world = World::new();
    let server = world
        .options()
        .with("limits.messages_per_minute", 600)
        .start();
    world.pair(&server, "alice", ALICE);
    let forms = [
        // As registered, and as typed.
        ("5511987654321", "551187654321"),
        ("552187654322", "5521987654322"),
        ("5215512345678", "525512345678"),
        ("525512345679", "5215512345679"),
        ("5491112345678", "541112345678"),
        ("541112345679", "5491112345679"),
    ];
    let mut reached = Vec::new();
    for (registered, typed) in forms {
        let phone = world.phone(registered, "Somebody");
        in_both_forms(&world, &server, &phone, typed);
        reached.push(phone.jid());
    }
    let mut listed = chats(&world, &server);
    listed.sort();
    reached.sort();
    assert_eq!(listed, reached, "one chat for each");

    // A person who wrote first is found by the other form of the number.
    let first = world.phone("5511900000001", "First");
    let asked = first.say(ALICE, "are you there?");
    eventually("the chat", || {
        let path = "/accounts/alice/chats/551100000001/messages";
        (world.get(&server, path)["pagination"]["total"] == 1).then_some(())
    });
    let react = json!({"chatId": "551100000001", "messageId": asked, "emoji": "👍"});
    world
        .post(&server, "/accounts/alice/message/react", &react)
        .expect(200);
    assert_eq!(first.received(1)[0]["type"], "reaction");

    // After a restart the form is known, and the queued message is in the same chat.
    server.kill();
    let server = world.server();
    world
        .post(&server, "/accounts/alice/disconnect", &json!({}))
        .expect(200);
    let page = world.get(&server, "/accounts/alice/chats/551187654321/messages");
    assert_eq!(page["pagination"]["total"], 3, "{page}");
    let late = world.phone("5511911111111", "Late");
    for typed in ["551187654321", "551111111111"] {
        let body = json!({"to": typed, "message": "queued", "queue": true});
        world.post(&server, SEND, &body).expect(202);
    }
    world
        .post(&server, "/accounts/alice/connect", &json!({}))
        .expect(200);
    assert_eq!(late.received(1)[0]["text"], "queued");
    eventually("one chat", || {
        chats(&world, &server).contains(&late.jid()).then_some(())
    });
    assert!(
        !chats(&world, &server)
            .iter()
            .any(|chat| chat.starts_with("551111111111@")),
        "the chat moved with the message"
    );
}
