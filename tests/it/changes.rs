//! Replies, reactions, edits and deletions in both directions, and the status of sent messages.

use serde_json::{Value, json};

use crate::support::{Receiver, Server, World, eventually};

const ALICE: &str = "491700000001";
const BOB: &str = "491700000002";
const REACT: &str = "/accounts/alice/message/react";
const DELETE: &str = "/accounts/alice/message/delete";
const REPLY: &str = "/accounts/alice/message/reply";

fn stored(world: &World, server: &Server, id: &str) -> Value {
    world.get(server, &format!("/accounts/alice/messages/{id}"))["message"].clone()
}

fn until(
    world: &World,
    server: &Server,
    id: &str,
    what: &str,
    is: impl Fn(&Value) -> bool,
) -> Value {
    let path = format!("/accounts/alice/messages/{id}");
    eventually(what, || {
        let answer = world.api(server, "GET", &path, None);
        (answer.status == 200)
            .then(|| answer.json()["message"].clone())
            .filter(|message| is(message))
    })
}

#[test]
fn the_api_replies_reacts_and_deletes() {
    let world = World::new();
    world.walks(&[
        "POST /accounts/:id/message/reply",
        "POST /accounts/:id/message/react",
        "POST /accounts/:id/message/delete",
    ]);
    let server = world.server();
    let alice = world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let question = bob.say(&alice.jid(), "question");
    until(&world, &server, &question, "the question", |_| true);

    let answer = json!({"to": BOB, "message": "answer", "quotedMessageId": question});
    let reply = world.post(&server, REPLY, &answer).expect(200);
    let got = bob.received(1).remove(0);
    assert_eq!(got["text"], "answer");
    assert_eq!(got["quotedId"], question.as_str(), "{got}");

    // A reaction, another instead of it, and none.
    for (n, emoji) in ["👍", "❤️", ""].into_iter().enumerate() {
        let body = json!({"chatId": BOB, "messageId": question, "emoji": emoji});
        let sent = world.post(&server, REACT, &body).expect(200);
        assert_eq!(sent["message"], "Reaction sent");
        let got = bob.received(n + 2)[n + 1].clone();
        assert_eq!(got["type"], "reaction", "{got}");
        let reactions = stored(&world, &server, &question)["reactions"].clone();
        match emoji {
            "" => assert_eq!(reactions, json!([])),
            _ => {
                assert_eq!(reactions.as_array().map(Vec::len), Some(1));
                assert_eq!(reactions[0]["emoji"], emoji);
                assert_eq!(reactions[0]["from"], alice.jid());
            }
        }
    }
    let mine = reply["messageId"].as_str().expect("an id");
    let body = json!({"to": BOB, "messageId": mine});
    let sent = world.post(&server, DELETE, &body).expect(200);
    assert_eq!(sent["message"], "Message deleted");
    let gone = stored(&world, &server, mine);
    assert_eq!(
        (&gone["deleted"], &gone["text"]),
        (&json!(true), &Value::Null)
    );
    bob.received(5);

    for (path, body, status, words) in [
        (REACT, json!({}), 400, "chatId and messageId are required"),
        (
            REACT,
            json!({"chatId": BOB}),
            400,
            "chatId and messageId are required",
        ),
        (
            REACT,
            json!({"chatId": BOB, "messageId": "NONE", "emoji": "x"}),
            404,
            "Message not found",
        ),
        (
            REACT,
            json!({"chatId": "491709999999", "messageId": question, "emoji": "x"}),
            404,
            "Message not found",
        ),
        (
            DELETE,
            json!({"to": BOB}),
            400,
            "chatId and messageId are required",
        ),
        (
            DELETE,
            json!({"to": BOB, "messageId": "NONE"}),
            404,
            "Message not found",
        ),
        (
            DELETE,
            json!({"to": BOB, "messageId": mine}),
            404,
            "Message not found",
        ),
        (
            DELETE,
            json!({"to": BOB, "messageId": question}),
            400,
            "Only own messages can be deleted for everyone in this chat",
        ),
        (
            REPLY,
            json!({"to": BOB, "message": "x"}),
            400,
            "to, message, and quotedMessageId are required",
        ),
        (
            REPLY,
            json!({"to": BOB, "message": "x", "quotedMessageId": "NONE"}),
            404,
            "Quoted message not found",
        ),
    ] {
        let answer = world.post(&server, path, &body).expect(status);
        assert_eq!(answer["error"], words, "{path} {body}");
    }
}

#[test]
fn changes_on_the_phone_are_stored_and_reported() {
    let world = World::new();
    let server = world.server();
    let alice = world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let receiver = Receiver::start();
    let events = [
        "message",
        "message.sent",
        "message.status",
        "message.reaction",
        "message.edited",
        "message.deleted",
    ];
    let hook = json!({"url": receiver.url(), "events": events});
    world.post(&server, "/webhooks", &hook).expect(201);

    let id = bob.say(&alice.jid(), "frist");
    until(&world, &server, &id, "the message", |_| true);
    bob.send(&json!({"to": alice.jid(), "edit": {"messageId": id, "text": "first"}}));
    let edited = until(&world, &server, &id, "the edit", |m| m["edited"] == true);
    assert_eq!(edited["text"], "first");
    bob.send(&json!({"to": alice.jid(), "react": {"messageId": id, "emoji": "😀"}}));
    until(&world, &server, &id, "the reaction", |m| {
        m["reactions"][0]["emoji"] == "😀" && m["reactions"][0]["from"] == bob.jid()
    });
    bob.send(&json!({"to": alice.jid(), "delete": {"messageId": id}}));
    let gone = until(&world, &server, &id, "the deletion", |m| {
        m["deleted"] == true
    });
    assert_eq!(gone["text"], Value::Null);
    // None of these changes is stored as a message.
    let path = format!("/accounts/alice/chats/{BOB}/messages");
    assert_eq!(world.get(&server, &path)["pagination"]["total"], 1);

    let sent = world
        .post(
            &server,
            "/accounts/alice/message/send",
            &json!({"to": BOB, "message": "hi"}),
        )
        .expect(200);
    let sent = sent["messageId"].as_str().expect("an id");
    until(&world, &server, sent, "delivered", |m| {
        m["status"] == "delivered"
    });
    bob.post("read", &json!({"chat": alice.jid()}));
    until(&world, &server, sent, "read", |m| m["status"] == "read");

    let got: Vec<_> = (0..7).map(|_| receiver.next().body).collect();
    let names: Vec<&str> = got
        .iter()
        .map(|delivery| delivery["event"].as_str().expect("a name"))
        .collect();
    assert_eq!(
        names,
        [
            "message",
            "message.edited",
            "message.reaction",
            "message.deleted",
            "message.sent",
            "message.status",
            "message.status",
        ]
    );
    for delivery in &got {
        assert_eq!(delivery["accountId"], "alice");
        assert_eq!(delivery["chatId"], bob.jid());
    }
    assert_eq!(got[1]["text"], "first");
    assert_eq!(got[2]["emoji"], "😀");
    assert_eq!(got[2]["messageId"], id.as_str());
    assert_eq!(got[5]["status"], "delivered");
    assert_eq!(got[6]["status"], "read");
    assert_eq!(got[6]["participant"], bob.jid());
}

#[test]
fn a_reaction_to_an_own_message_finds_it() {
    let world = World::new();
    let server = world.server();
    let alice = world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let sent = world
        .post(
            &server,
            "/accounts/alice/message/send",
            &json!({"to": BOB, "message": "hi"}),
        )
        .expect(200);
    let id = sent["messageId"].as_str().expect("an id");
    bob.received(1);
    bob.send(&json!({"to": alice.jid(), "react": {"messageId": id, "emoji": "x"}}));
    until(&world, &server, id, "the reaction", |m| {
        m["reactions"][0]["emoji"] == "x"
    });
}

#[test]
fn own_messages_of_the_phone_are_stored_and_read_chats_are_read() {
    let world = World::new();
    world.walks(&["POST /accounts/:id/chats/:chatId/read"]);
    let server = world.server();
    let alice = world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let id = alice.say(&bob.jid(), "from the phone");
    let own = until(&world, &server, &id, "the own message", |_| true);
    assert_eq!(
        (&own["fromMe"], &own["chatId"]),
        (&json!(true), &json!(bob.jid()))
    );
    let unread = || world.get(&server, "/accounts/alice/chats")["chats"][0]["unreadCount"].clone();
    for text in ["one", "two", "three"] {
        bob.say(&alice.jid(), text);
    }
    eventually("three unread", || (unread() == 3).then_some(()));
    // A read through the API reaches the sender, and counts here.
    let path = format!("/accounts/alice/chats/{BOB}/read");
    let done = world.post(&server, &path, &json!({})).expect(200);
    assert_eq!(done["message"], "Marked as read");
    assert_eq!(unread(), 0);
    let last = bob.say(&alice.jid(), "four");
    eventually("one unread", || (unread() == 1).then_some(()));
    world
        .post(&server, &path, &json!({"messageIds": ["NONE"]}))
        .expect(404);
    world
        .post(&server, &path, &json!({"messageIds": [last]}))
        .expect(200);
    assert_eq!(unread(), 0);
}

/// The client takes such a receipt as one of another person (whatsapp-rust #1307).
#[test]
fn a_read_by_the_phone_counts_also_as_a_plain_read_receipt() {
    let world = World::new();
    let server = world.server();
    let alice = world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let statuses = Receiver::start();
    let hook = json!({"url": statuses.url(), "events": ["message.status"]});
    world.post(&server, "/webhooks", &hook).expect(201);
    let unread = || world.get(&server, "/accounts/alice/chats")["chats"][0]["unreadCount"].clone();
    for text in ["one", "two"] {
        bob.say(&alice.jid(), text);
    }
    eventually("two unread", || (unread() == 2).then_some(()));
    alice.received(2);
    world.fault(&json!({"kind": "unmark-own-reads", "number": ALICE}));
    alice.post("read", &json!({"chat": bob.jid()}));
    eventually("the chat is read", || (unread() == 0).then_some(()));
    // The first reported status is of an own message, from its recipient.
    let body = json!({"to": BOB, "message": "hello"});
    let sent = world
        .post(&server, "/accounts/alice/message/send", &body)
        .expect(200);
    assert_eq!(statuses.next().body["messageId"], sent["messageId"]);
}

#[test]
fn a_voice_note_that_was_listened_to_is_played() {
    use base64::Engine as _;
    let world = World::new();
    let server = world.server();
    let alice = world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let tone = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/media/tone.mp3");
    let tone = std::fs::read(tone).expect("the fixture");
    let encoded = base64::engine::general_purpose::STANDARD.encode(tone);
    let body = json!({"to": BOB, "base64": encoded, "ptt": true});
    let sent = world
        .post(&server, "/accounts/alice/message/send/audio", &body)
        .expect(200);
    let id = sent["messageId"].as_str().expect("an id");
    assert_eq!(stored(&world, &server, id)["type"], "voice");
    bob.received(1);
    bob.post("played", &json!({"chat": alice.jid()}));
    until(&world, &server, id, "played", |m| m["status"] == "played");
    // An older receipt that comes late changes nothing.
    bob.post("read", &json!({"chat": alice.jid()}));
    assert_eq!(stored(&world, &server, id)["status"], "played");
}
