//! What every kind of message promises, walked once for each.

use serde_json::{Value, json};

use super::{World, eventually};

const ALICE: &str = "491700000001";
const BOB: &str = "491700000002";

/// A kind of message after [`travels`].
pub struct Travelled {
    /// What Bob's phone got.
    pub received: Value,
    /// What Bob's phone was shown as the message that alice's reply answers.
    pub quoted: Value,
    /// The forwarded message of Bob's as alice's account shows it.
    pub forwarded: Value,
}

/// A message waits in the outbox over a kill, is sent once under one Idempotency-Key, and is quoted; one that
/// comes in keeps its mark of being forwarded. `kind` is the word in `type` and the last part of the route,
/// `body` the request without `to` and `queue`, `forwarded` what Bob's phone says, without `to`.
pub fn travels(kind: &str, mut body: Value, mut forwarded: Value) -> Travelled {
    let world = World::new();
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let first = json!({"to": BOB, "message": "hello"});
    world
        .post(&server, "/accounts/alice/message/send", &first)
        .expect(200);
    world
        .post(&server, "/accounts/alice/disconnect", &json!({}))
        .expect(200);
    body["to"] = BOB.into();
    body["queue"] = true.into();
    let path = format!("/accounts/alice/message/send/{kind}");
    let send = || world.post_once(&server, &path, "key-1", &body).expect(202);
    let waits = send();
    assert_eq!(
        send()["messageId"],
        waits["messageId"],
        "the same request again"
    );
    let outbox = world.get(&server, "/accounts/alice/outbox");
    let entry = &outbox["messages"][0];
    assert_eq!(
        (&entry["type"], &outbox["count"]),
        (&json!(kind), &json!(1))
    );
    server.kill();

    let server = world.server();
    world
        .post(&server, "/accounts/alice/connect", &json!({}))
        .expect(200);
    let received = bob.received(2).remove(1);
    let id = waits["messageId"].as_str().expect("an id");
    assert_eq!(received["messageId"], id);
    let about = json!({"to": BOB, "message": "this one", "quotedMessageId": id});
    world
        .post(&server, "/accounts/alice/message/reply", &about)
        .expect(200);
    let quoted = bob.received(3)[2]["quoted"].clone();
    assert_eq!(quoted["type"], kind);

    forwarded["to"] = ALICE.into();
    forwarded["forwarded"] = true.into();
    let id = bob.send(&forwarded);
    let forwarded = eventually("the forwarded message", || {
        let path = format!("/accounts/alice/messages/{id}");
        let answer = world.api(&server, "GET", &path, None);
        (answer.status == 200).then(|| answer.json()["message"].clone())
    });
    assert_eq!(
        (&forwarded["type"], &forwarded["isForwarded"]),
        (&json!(kind), &json!(true))
    );
    Travelled {
        received,
        quoted,
        forwarded,
    }
}
