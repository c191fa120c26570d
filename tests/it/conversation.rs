//! A complete conversation, from the QR code to the webhook, over power cuts and lost connections.

use serde_json::json;

use crate::support::{Receiver, World, eventually};

const ALICE: &str = "491700000001";
const BOB: &str = "491700000002";

#[test]
fn a_conversation_survives_power_cuts_and_lost_connections() {
    let world = World::new();
    let server = world.server();
    let bob = world.phone(BOB, "Bob");
    let receiver = Receiver::start();

    let hook = world.post(&server, "/webhooks", &json!({"url": receiver.url()}));
    assert_eq!(hook.expect(201)["created"], true);
    world.pair(&server, "alice", ALICE);
    let account = world.get(&server, "/accounts/alice");
    assert_eq!(account["account"]["status"], "connected");
    assert_eq!(account["account"]["jid"], format!("{ALICE}@s.whatsapp.net"));

    // Out: decrypted at the phone, with a delivery receipt.
    let sent = world
        .post(
            &server,
            "/accounts/alice/message/send",
            &json!({"to": bob.jid(), "message": "Hello! 🐱"}),
        )
        .expect(200);
    let id = sent["messageId"].as_str().expect("an id").to_owned();
    assert!(
        sent["timestamp"]
            .as_u64()
            .is_some_and(|t| t > 1_600_000_000_000)
    );
    let got = bob.received(1);
    assert_eq!(got[0]["text"], "Hello! 🐱");
    assert_eq!(got[0]["messageId"], id);
    eventually("the delivery receipt", || {
        let message = world.get(&server, &format!("/accounts/alice/messages/{id}"));
        (message["message"]["status"] == "delivered").then_some(())
    });

    // In: on the webhook, and by GET.
    let answer = bob.say(ALICE, "hi alice");
    let delivery = receiver.next();
    assert_eq!(delivery.body["event"], "message");
    assert_eq!(delivery.body["accountId"], "alice");
    assert_eq!(delivery.body["messageId"], answer);
    assert_eq!(delivery.body["text"], "hi alice");
    assert_eq!(delivery.body["chatId"], bob.jid());
    assert_eq!(delivery.body["from"], bob.jid());
    assert_eq!(delivery.body["sender"], bob.jid());
    assert_eq!(delivery.body["fromMe"], false);
    assert_eq!(delivery.body["type"], "text");
    assert_eq!(delivery.body["pushName"], "Bob");
    let got = world.get(&server, &format!("/accounts/alice/messages/{answer}"));
    assert_eq!(got["message"]["text"], "hi alice");
    let page = world.get(
        &server,
        &format!("/accounts/alice/chats/{}/messages", bob.jid()),
    );
    let texts: Vec<_> = page["messages"]
        .as_array()
        .expect("messages")
        .iter()
        .map(|m| m["text"].as_str().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(texts, ["hi alice", "Hello! 🐱"], "newest first");

    // A power cut: messages sent meanwhile are not lost, and no new QR code is needed.
    server.kill();
    let meanwhile = bob.say(ALICE, "are you there?");
    let server = world.server();
    server.wait_log("alice: connected");
    assert!(!server.log().contains("QR code"), "{}", server.log());
    let mut delivery = receiver.next();
    if delivery.body["messageId"] == answer {
        // At least once: the plug went before it was noted that the receiver has it.
        delivery = receiver.next();
    }
    assert_eq!(delivery.body["messageId"], meanwhile);
    assert_eq!(delivery.body["text"], "are you there?");
    world
        .post(
            &server,
            "/accounts/alice/message/send",
            &json!({"to": BOB, "message": "back again"}),
        )
        .expect(200);
    assert_eq!(bob.received(2)[1]["text"], "back again");
    bob.say(ALICE, "good");
    assert_eq!(receiver.next().body["text"], "good");

    // The connection is lost; what the phone sends meanwhile comes after the reconnect, once.
    let mark = server.log_mark();
    world
        .admin("POST", "/phones/491700000001/offline", Some(&json!({})))
        .expect_success();
    server.wait_log_from(mark, "alice: reconnecting");
    let ids: Vec<String> = (0..3)
        .map(|i| bob.say(ALICE, &format!("while away {i}")))
        .collect();
    world
        .admin("POST", "/phones/491700000001/online", Some(&json!({})))
        .expect_success();
    server.wait_log_from(mark, "alice: connected");
    for (i, id) in ids.iter().enumerate() {
        let delivery = receiver.next();
        assert_eq!(delivery.body["messageId"], *id);
        assert_eq!(delivery.body["text"], format!("while away {i}"));
    }
    bob.say(ALICE, "last");
    assert_eq!(receiver.next().body["text"], "last", "nothing came twice");
    assert!(receiver.waiting().is_empty());
    let page = world.get(
        &server,
        &format!("/accounts/alice/chats/{}/messages", bob.jid()),
    );
    assert_eq!(page["pagination"]["total"], 9, "{page}");
}
