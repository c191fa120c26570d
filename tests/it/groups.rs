//! Groups: sending and receiving in them while members come and go.

use serde_json::{Value, json};

use crate::media_out::{noise, sha256};
use crate::support::{Form, Server, World, eventually};

const ALICE: &str = "491700000001";
const BOB: &str = "491700000002";
const ZOE: &str = "491700000003";

fn group(world: &World, subject: &str, members: &[&str], addressing: &str) -> String {
    let body = json!({"subject": subject, "members": members, "addressing": addressing});
    let made = world.admin("POST", "/groups", Some(&body)).expect_success();
    made["jid"].as_str().expect("a JID").to_owned()
}

fn change(world: &World, group: &str, body: &Value) {
    world
        .admin("POST", &format!("/groups/{group}"), Some(body))
        .expect_success();
}

fn until(world: &World, server: &Server, id: &str, is: impl Fn(&Value) -> bool) -> Value {
    let path = format!("/accounts/alice/messages/{id}");
    eventually("the message", || {
        let answer = world.api(server, "GET", &path, None);
        (answer.status == 200)
            .then(|| answer.json()["message"].clone())
            .filter(|message| is(message))
    })
}

fn send(world: &World, server: &Server, to: &str, text: &str) -> String {
    let body = json!({"to": to, "message": text});
    let sent = world
        .post(server, "/accounts/alice/message/send", &body)
        .expect(200);
    sent["messageId"].as_str().expect("an id").to_owned()
}

#[test]
fn a_group_is_a_chat_with_its_subject_under_numbers_and_lids() {
    for addressing in ["lid", "pn"] {
        let world = World::new();
        let server = world.server();
        let alice = world.pair(&server, "alice", ALICE);
        let bob = world.phone(BOB, "Bob");
        let zoe = world.phone(ZOE, "Zoe");
        let team = group(&world, "Team", &[BOB, ALICE, ZOE], addressing);

        // In: the sender is known by number, the chat by its subject.
        let hello = bob.say(&team, "hello all");
        let got = until(&world, &server, &hello, |_| true);
        assert_eq!(got["chatId"], team.as_str());
        assert_eq!(got["from"], team.as_str(), "{got}");
        assert_eq!(got["sender"], bob.jid(), "{got}");
        assert_eq!(got["pushName"], "Bob");
        let chat = eventually("the subject", || {
            let chat = world.get(&server, "/accounts/alice/chats")["chats"][0].clone();
            (chat["name"] == "Team").then_some(chat)
        });
        assert_eq!(
            (&chat["chatId"], &chat["unreadCount"]),
            (&json!(team), &json!(1))
        );
        change(&world, &team, &json!({"subject": "The team"}));
        eventually("the new subject", || {
            let chat = world.get(&server, "/accounts/alice/chats")["chats"][0].clone();
            (chat["name"] == "The team").then_some(())
        });

        // Outgoing: all members read it, and answer.
        let id = send(&world, &server, &team, "hi");
        for phone in [&bob, &zoe] {
            let got = eventually("alice's message", || {
                phone
                    .all_received()
                    .into_iter()
                    .find(|m| m["messageId"] == id.as_str())
            });
            assert_eq!(got["text"], "hi", "{got}");
        }
        let body = json!({"to": team, "message": "answer", "quotedMessageId": hello,
            "mentions": [zoe.jid()]});
        world
            .post(&server, "/accounts/alice/message/reply", &body)
            .expect(200);
        let got = eventually("the reply", || {
            bob.all_received()
                .into_iter()
                .find(|m| m["text"] == "answer")
        });
        assert_eq!(got["quotedId"], hello.as_str(), "{got}");

        // Reactions and deletions, both ways.
        let body = json!({"chatId": team, "messageId": hello, "emoji": "👍"});
        world
            .post(&server, "/accounts/alice/message/react", &body)
            .expect(200);
        eventually("the reaction at the phone", || {
            zoe.all_received()
                .into_iter()
                .find(|m| m["type"] == "reaction")
        });
        zoe.send(&json!({"to": team, "react": {"messageId": id, "emoji": "x"}}));
        let got = until(&world, &server, &id, |m| m["reactions"][0]["emoji"] == "x");
        assert_eq!(got["reactions"][0]["from"], zoe.jid());
        bob.send(&json!({"to": team, "edit": {"messageId": hello, "text": "hello everyone"}}));
        until(&world, &server, &hello, |m| m["text"] == "hello everyone");
        bob.send(&json!({"to": team, "delete": {"messageId": hello}}));
        until(&world, &server, &hello, |m| m["deleted"] == true);
        let body = json!({"chatId": team, "messageId": id});
        world
            .post(&server, "/accounts/alice/message/delete", &body)
            .expect(200);
        assert_eq!(until(&world, &server, &id, |_| true)["deleted"], true);

        // Read: all senders get receipts.
        world
            .post(
                &server,
                &format!("/accounts/alice/chats/{team}/read"),
                &json!({}),
            )
            .expect(200);
        let chat = world.get(&server, "/accounts/alice/chats")["chats"][0].clone();
        assert_eq!(chat["unreadCount"], 0);
        assert_eq!(alice.number, ALICE);
    }
}

#[test]
fn changes_of_members_and_devices_between_messages_are_handled() {
    let world = World::new();
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let zoe = world.phone(ZOE, "Zoe");
    let team = group(&world, "Team", &[BOB, ALICE], "lid");
    let has = |phone: &crate::support::Phone<'_>, text: &str| {
        phone.all_received().iter().any(|m| m["text"] == text)
    };
    let gets = |phone: &crate::support::Phone<'_>, text: &str| {
        eventually(text, || has(phone, text).then_some(()));
    };
    send(&world, &server, &team, "one");
    gets(&bob, "one");
    change(&world, &team, &json!({"add": [ZOE]}));
    send(&world, &server, &team, "two");
    gets(&bob, "two");
    gets(&zoe, "two");
    let id = zoe.say(&team, "thanks");
    assert_eq!(until(&world, &server, &id, |_| true)["sender"], zoe.jid());
    change(&world, &team, &json!({"remove": [ZOE]}));
    send(&world, &server, &team, "three");
    gets(&bob, "three");
    assert!(!has(&zoe, "three") && !has(&zoe, "one"));

    // Bob links a device of his own: a second account of this server.
    let mark = server.log_mark();
    world
        .post(&server, "/accounts", &json!({"id": "bob"}))
        .expect(201);
    server.wait_log_from(mark, "bob: a QR code waits");
    let status = world.get(&server, "/accounts/bob/status");
    world
        .scan(BOB, "Bob", status["qr"].as_str().expect("a code"))
        .expect_success();
    server.wait_log_from(mark, "bob: connected");
    let id = send(&world, &server, &team, "four");
    gets(&bob, "four");
    let path = format!("/accounts/bob/messages/{id}");
    let got = eventually("the message on the new device", || {
        let answer = world.api(&server, "GET", &path, None);
        (answer.status == 200).then(|| answer.json()["message"].clone())
    });
    assert_eq!(got["text"], "four");
    assert_eq!(got["fromMe"], false);
    assert_eq!(got["chatId"], team.as_str());

    // A non-member gets a clear error.
    change(&world, &team, &json!({"by": BOB, "remove": [ALICE]}));
    let body = json!({"to": team, "message": "five"});
    let refused = world
        .post(&server, "/accounts/alice/message/send", &body)
        .expect(400);
    assert_eq!(refused["ok"], false);
    assert!(!has(&bob, "five"));
}

#[test]
fn files_go_both_ways_in_a_group() {
    let world = World::new();
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let zoe = world.phone(ZOE, "Zoe");
    let team = group(&world, "Team", &[BOB, ALICE, ZOE], "lid");
    let content = noise(30_000);
    let (kind, body) = Form::new()
        .field("to", &team)
        .file("document", "a.bin", "application/octet-stream", &content)
        .build();
    let url = format!("{}/accounts/alice/message/send/document", server.base());
    world
        .http()
        .send("POST", &url, &kind, Some(body))
        .expect(200);
    for phone in [&bob, &zoe] {
        let got = phone.received(1).remove(0);
        assert_eq!(got["media"]["sha256"], sha256(&content), "{got}");
        assert_eq!(got["media"]["error"], Value::Null);
    }
    // An expired link of a group's message is renewed by the account's own phone.
    let fault = json!({"kind": "refuse-downloads", "code": 500, "count": 10_000});
    world
        .admin("POST", "/faults", Some(&fault))
        .expect_success();
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(&content);
    let id = bob.send(&json!({"to": team, "document": {"base64": text}}));
    let got = until(&world, &server, &id, |_| true);
    world.admin("DELETE", "/faults", None).expect_success();
    world
        .admin("POST", "/faults", Some(&json!({"kind": "expire-media"})))
        .expect_success();
    let path = got["mediaUrl"].as_str().expect("a URL");
    // A request during a fetch shares its result, and the automatic fetch may have met the fault.
    let served = eventually("the file", || {
        let served = world.api(&server, "GET", path, None);
        (served.status != 500).then_some(served)
    });
    assert_eq!(
        (served.status, sha256(&served.bytes)),
        (200, sha256(&content))
    );
}
