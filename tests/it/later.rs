//! Messages to be sent later, and messages to many.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::support::{Answer, Form, Server, Time, World, eventually};

const ALICE: &str = "491700000001";
const BOB: &str = "491700000002";
const CAROL: &str = "491700000003";
const SEND: &str = "/accounts/alice/message/send";
const OUTBOX: &str = "/accounts/alice/outbox";
const HOUR: u64 = 3_600_000;

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since.expect("after 1970").as_millis()).expect("this time")
}

fn later(world: &World, server: &Server, text: &str, at: impl Into<Value>) -> Answer {
    let body = json!({"to": BOB, "message": text, "sendAt": at.into(), "expiresIn": 600});
    world.post(server, SEND, &body)
}

fn words_of(messages: &[Value]) -> Vec<&str> {
    let texts = messages
        .iter()
        .map(|m| m["text"].as_str().unwrap_or_default());
    texts.collect()
}

fn waiting(world: &World, server: &Server) -> Vec<Value> {
    let listed = world.get(server, OUTBOX);
    listed["messages"].as_array().expect("messages").clone()
}

#[test]
fn a_message_with_a_time_waits_for_it_also_without_power() {
    let world = World::new();
    let mut options = world.options();
    let server = options.start();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let began = now();

    for (at, words) in [
        (json!(began - 2 * HOUR), "a time in the future"),
        (json!(began / 1_000 + 3_600), "a time in the future"),
        (json!(began + 400 * 24 * HOUR), "a time in the future"),
        (json!("2999-12-31T08:00:00"), "ISO 8601 with its offset"),
        (json!("tomorrow"), "ISO 8601 with its offset"),
        (json!(true), "ISO 8601 with its offset"),
    ] {
        let refused = later(&world, &server, "no", at).expect(400);
        assert_eq!(refused["field"], "sendAt");
        let said = refused["error"].as_str().expect("words");
        assert!(said.contains(words), "{said}");
    }

    let second = later(&world, &server, "second", began + 3 * HOUR).expect(202);
    let first = later(&world, &server, "first", (began + 2 * HOUR).to_string()).expect(202);
    let gone = later(&world, &server, "never", began + 2 * HOUR).expect(202);
    assert!(
        first["message"]
            .as_str()
            .expect("words")
            .contains("sent at")
    );
    let rows = waiting(&world, &server);
    assert_eq!(words_of(&rows), ["first", "never", "second"], "{rows:?}");
    for (row, of) in [(&rows[0], &first), (&rows[2], &second)] {
        assert_eq!(
            (&row["messageId"], &row["stage"]),
            (&of["messageId"], &json!("queued"))
        );
        assert_eq!(row["expiresAt"], of["expiresAt"]);
    }
    // They hold up no other message to the same chat, not even one that asks to be queued.
    let body = json!({"to": BOB, "message": "now", "queue": true});
    world.post(&server, SEND, &body).expect(200);
    let cancel = format!("{OUTBOX}/{}", gone["messageId"].as_str().expect("an id"));
    world.api(&server, "DELETE", &cancel, None).expect(200);
    server.kill();

    let time = Time::of(&mut options);
    let server = options.start();
    server.wait_log("alice: connected");
    assert_eq!(words_of(&waiting(&world, &server)), ["first", "second"]);
    assert_eq!(words_of(&bob.received(1)), ["now"]);
    time.passes(Duration::from_millis(2 * HOUR + 60_000));
    assert_eq!(words_of(&bob.received(2)), ["now", "first"]);
    eventually("one entry", || {
        (waiting(&world, &server).len() == 1).then_some(())
    });
    // Without a connection until it has expired.
    let path = "/accounts/alice/disconnect";
    world.post(&server, path, &json!({})).expect(200);
    time.passes(Duration::from_millis(HOUR + 660_000));
    let path = format!(
        "/accounts/alice/messages/{}",
        second["messageId"].as_str().expect("an id")
    );
    let failed = eventually("it has failed", || {
        let message = world.get(&server, &path)["message"].clone();
        (message["status"] == "failed").then_some(message)
    });
    assert!(failed["error"].as_str().expect("words").contains("expired"));
    assert!(waiting(&world, &server).is_empty());
}

#[test]
fn a_message_to_many_reaches_each_chat_once() {
    let world = World::new();
    let options = world.options().with("outbox.gap", "0ms");
    let server = options.start();
    world.pair(&server, "alice", ALICE);
    let (bob, carol) = (world.phone(BOB, "Bob"), world.phone(CAROL, "Carol"));

    for (to, words) in [
        (json!([]), "a list of 1 to 256"),
        (json!(vec![BOB; 257]), "a list of 1 to 256"),
        (json!([BOB, "0170 1234567"]), "to[1]: "),
        (json!([BOB, CAROL, true]), "to[2]: "),
        (json!([[BOB]]), "to[0]: "),
    ] {
        let body = json!({"to": to, "message": "no"});
        let refused = world.post(&server, SEND, &body).expect(400);
        let said = refused["error"].as_str().expect("words");
        assert!(said.contains(words), "{said}");
    }
    let quoting = json!({"to": [BOB], "message": "no", "quotedMessageId": "3EB0"});
    assert_eq!(
        world.post(&server, SEND, &quoting).expect(400)["field"],
        "to"
    );

    let twice = format!("+{BOB}");
    let to = json!([BOB, "123@broadcast", CAROL, twice, "@nobody.at.all"]);
    let body = json!({"to": to, "message": "news"});
    let answer = world.post_once(&server, SEND, "to-all", &body).expect(202);
    let results = answer["results"].as_array().expect("results");
    assert_eq!(results.len(), 5);
    assert!(results[0]["messageId"].is_string(), "{answer}");
    assert_eq!(results[0]["to"], bob.jid());
    assert_eq!(results[3]["messageId"], results[0]["messageId"]);
    assert_ne!(results[2]["messageId"], results[0]["messageId"]);
    for failed in [&results[1], &results[4]] {
        assert!(
            failed["error"].is_string() && failed["messageId"].is_null(),
            "{answer}"
        );
    }
    assert_eq!(words_of(&bob.received(1)), ["news"]);
    assert_eq!(words_of(&carol.received(1)), ["news"]);
    server.kill();
    let server = options.start();
    let again = world.post_once(&server, SEND, "to-all", &body).expect(202);
    assert_eq!(again["results"], answer["results"]);

    // A file is uploaded once, and each message has it.
    server.wait_log("alice: connected");
    let content = crate::media_out::noise(50_000);
    let (kind, body) = Form::new()
        .field("to", BOB)
        .field("to", CAROL)
        .field("caption", "plan")
        .file("document", "a.bin", "application/octet-stream", &content)
        .build();
    let url = format!("{}{SEND}/document", server.base());
    let sent = world
        .http()
        .send("POST", &url, &kind, Some(body))
        .expect(202);
    for (phone, result) in [(&bob, &sent["results"][0]), (&carol, &sent["results"][1])] {
        let got = phone.received(2);
        assert_eq!(
            (&got[1]["type"], &got[1]["messageId"]),
            (&json!("document"), &result["messageId"])
        );
        let path = format!(
            "/accounts/alice/messages/{}/media",
            result["messageId"].as_str().expect("id")
        );
        // It moves to its place once it is sent.
        eventually("the file", || {
            (world.api(&server, "GET", &path, None).bytes == content).then_some(())
        });
    }
    eventually("an empty outbox", || {
        waiting(&world, &server).is_empty().then_some(())
    });
    assert_eq!(
        (bob.all_received().len(), carol.all_received().len()),
        (2, 2)
    );
}
