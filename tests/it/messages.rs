//! Sending texts and reading them back, with good and bad input.

use serde_json::json;

use crate::support::World;

const ALICE: &str = "491700000001";
const BOB: &str = "491700000002";

#[test]
fn bad_input_gets_clear_errors_and_sends_nothing() {
    let world = World::new();
    world.walks(&["POST /accounts/:id/message/send"]);
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    const SEND: &str = "/accounts/alice/message/send";
    let long = "x".repeat(65_537);
    for (body, words) in [
        (json!({}), "to and message are required"),
        (json!({"to": BOB}), "to and message are required"),
        (json!({"message": "hi"}), "to and message are required"),
        (
            json!({"to": "nobody", "message": "hi"}),
            "Invalid WhatsApp JID format for \"to\" field. Expected format: \
             1234567890@s.whatsapp.net or 123456789@g.us",
        ),
        (
            json!({"to": BOB, "message": long}),
            "Message length invalid. Must be between 1 and 65536 characters",
        ),
    ] {
        let answer = world.post(&server, SEND, &body).expect(400);
        assert_eq!(answer["error"], words);
    }
    let typed = world
        .post(&server, SEND, &json!({"to": BOB, "message": 5}))
        .expect(400);
    assert!(
        typed["error"]
            .as_str()
            .is_some_and(|e| e.contains("message"))
    );
    let unknown = world
        .post(
            &server,
            "/accounts/nobody/message/send",
            &json!({"to": BOB, "message": "hi"}),
        )
        .expect(404);
    assert_eq!(unknown["error"], "Account not found");
    let quoted = world
        .post(
            &server,
            SEND,
            &json!({"to": BOB, "message": "hi", "quotedMessageId": "3EB0NONE"}),
        )
        .expect(404);
    assert_eq!(quoted["error"], "Quoted message not found");
    let stranger = json!({"to": "491799999999", "message": "hi"});
    let stranger = world.post(&server, SEND, &stranger).expect(400);
    let words = stranger["error"].as_str().expect("words");
    assert!(words.contains("not on WhatsApp"), "{words}");

    // The longest allowed text is sent, and none of the earlier requests was.
    let longest = "é".repeat(65_536);
    world
        .post(&server, SEND, &json!({"to": BOB, "message": longest}))
        .expect(200);
    let got = bob.received(1);
    assert_eq!(got.len(), 1);
    assert_eq!(got[0]["text"].as_str(), Some(longest.as_str()));
}

#[test]
fn quotes_and_mentions_reach_the_phone_and_come_back() {
    let world = World::new();
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let question = bob.say(ALICE, "question?");
    let page = crate::support::eventually("the question", || {
        let answer = world.api(
            &server,
            "GET",
            &format!("/accounts/alice/messages/{question}"),
            None,
        );
        (answer.status == 200).then(|| answer.json())
    });
    assert_eq!(page["message"]["quotedMessage"], json!(null));
    let sent = world
        .post(
            &server,
            "/accounts/alice/message/send",
            &json!({"to": BOB, "message": "answer", "quotedMessageId": question, "mentions": [BOB]}),
        )
        .expect(200);
    let got = bob.received(1);
    assert_eq!(got[0]["text"], "answer");
    assert_eq!(got[0]["quotedId"], question, "{}", got[0]);
    let id = sent["messageId"].as_str().expect("an id");
    let own = world.get(&server, &format!("/accounts/alice/messages/{id}"));
    assert_eq!(own["message"]["quotedMessage"]["text"], "question?");
    assert_eq!(own["message"]["mentions"], json!([bob.jid()]));
    assert_eq!(own["message"]["fromMe"], true);
}

#[test]
fn the_rate_limit_is_kept() {
    let world = World::new();
    let server = world
        .options()
        .with("limits.messages_per_minute", 2)
        .start();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let send = |text: &str| {
        world.post(
            &server,
            "/accounts/alice/message/send",
            &json!({"to": BOB, "message": text}),
        )
    };
    send("one").expect(200);
    send("two").expect(200);
    let refused = send("three");
    let body = refused.expect(429);
    let seconds = body["retryAfter"].as_u64().expect("seconds");
    assert!((1..=30).contains(&seconds), "{body}");
    assert_eq!(
        refused.header("retry-after"),
        Some(seconds.to_string().as_str())
    );
    assert_eq!(bob.received(2).len(), 2);
}

#[test]
fn refusals_and_missing_acks_have_different_answers() {
    let world = World::new();
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let send = |text: &str| {
        let body = json!({"to": BOB, "message": text});
        world.post(&server, "/accounts/alice/message/send", &body)
    };
    send("known").expect(200);
    world
        .admin(
            "POST",
            "/faults",
            Some(&json!({"kind": "refuse-sends", "code": 463, "count": 1})),
        )
        .expect_success();
    let refused = send("no").expect(400);
    assert_eq!(refused["code"], 463, "{refused}");
    let words = refused["error"].as_str().expect("words");
    assert!(words.contains("463"), "{words}");
    let page = world.get(
        &server,
        &format!("/accounts/alice/chats/{}/messages", bob.jid()),
    );
    assert_eq!(page["messages"][0]["status"], "failed");

    // An ack that comes late is waited for.
    world
        .admin(
            "POST",
            "/faults",
            Some(&json!({"kind": "delay-acks", "ms": 1500, "count": 1})),
        )
        .expect_success();
    send("slowly").expect(200);
    assert_eq!(bob.received(2)[1]["text"], "slowly");
}
