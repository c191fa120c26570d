//! Two accounts in one server talk to each other, and their data stay separate.

use serde_json::json;

use crate::support::{Receiver, World};

const ALICE: &str = "491700000001";
const BOB: &str = "491700000002";

#[test]
fn alice_and_bob_chat_and_their_data_stay_separate() {
    let world = World::new();
    let server = world.server();
    let alice = world.pair(&server, "alice", ALICE);
    let bob = world.pair(&server, "bob", BOB);
    let for_alice = Receiver::start();
    let for_bob = Receiver::start();
    for (account, receiver) in [("alice", &for_alice), ("bob", &for_bob)] {
        let body = json!({"url": receiver.url(), "accountId": account});
        world.post(&server, "/webhooks", &body).expect(201);
    }

    let mut ids = Vec::new();
    for i in 0..4 {
        let (from, to, receiver) = if i % 2 == 0 {
            ("alice", bob.jid(), &for_bob)
        } else {
            ("bob", alice.jid(), &for_alice)
        };
        let sent = world
            .post(
                &server,
                &format!("/accounts/{from}/message/send"),
                &json!({"to": to, "message": format!("{from} says {i}")}),
            )
            .expect(200);
        let delivery = receiver.next();
        assert_eq!(delivery.body["messageId"], sent["messageId"]);
        assert_eq!(delivery.body["text"], format!("{from} says {i}"));
        assert_ne!(delivery.body["accountId"], from);
        ids.push(sent["messageId"].as_str().expect("an id").to_owned());
    }
    assert!(for_alice.waiting().is_empty());
    assert!(for_bob.waiting().is_empty());

    // Each has the whole conversation, seen from its own side.
    for (account, peer, own_texts) in [
        ("alice", bob.jid(), "alice says"),
        ("bob", alice.jid(), "bob says"),
    ] {
        let chats = world.get(&server, &format!("/accounts/{account}/chats"));
        let chats = chats["chats"].as_array().expect("chats").clone();
        assert_eq!(chats.len(), 1, "{chats:?}");
        assert_eq!(chats[0]["chatId"], peer);
        assert_eq!(chats[0]["messageCount"], 4);
        let page = world.get(
            &server,
            &format!("/accounts/{account}/chats/{peer}/messages"),
        );
        for message in page["messages"].as_array().expect("messages") {
            assert_eq!(message["accountId"], account);
            assert_eq!(message["chatId"], peer);
            let own = message["text"]
                .as_str()
                .expect("text")
                .starts_with(own_texts);
            assert_eq!(message["fromMe"], own, "{message}");
        }
        // No chat of an account with itself.
        let own = world.get(
            &server,
            &format!(
                "/accounts/{account}/chats/{}/messages",
                if account == "alice" {
                    alice.jid()
                } else {
                    bob.jid()
                }
            ),
        );
        assert_eq!(own["pagination"]["total"], 0);
    }

    // A third account sees none of it.
    world
        .post(&server, "/accounts", &json!({"id": "carol"}))
        .expect(201);
    for id in ids {
        let answer = world.api(
            &server,
            "GET",
            &format!("/accounts/carol/messages/{id}"),
            None,
        );
        assert_eq!(answer.expect(404)["error"], "Message not found");
    }
    let all = world.get(&server, "/messages?accountId=carol");
    assert_eq!(all["messages"].as_array().map(Vec::len), Some(0));

    // Deleting one leaves the other as it was.
    let answer = world.api(&server, "DELETE", "/accounts/alice", None);
    assert_eq!(answer.expect(200)["message"], "Account alice deleted");
    world
        .api(&server, "GET", "/accounts/alice", None)
        .expect(404);
    let page = world.get(
        &server,
        &format!("/accounts/bob/chats/{}/messages", alice.jid()),
    );
    assert_eq!(page["pagination"]["total"], 4);
    let status = world.get(&server, "/accounts/bob/status");
    assert_eq!(status["status"], "connected");
}
