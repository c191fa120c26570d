//! A message's id is unique only within its chat and sender: reused ids do not mix messages up, and a quote shows
//! nothing of another chat.

use serde_json::{Value, json};

use crate::media_in::base64;
use crate::support::{Answer, Phone, Receiver, Server, World, eventually};

const ALICE: &str = "491700000001";
const BOB: &str = "491700000002";
const EVE: &str = "491700000003";
const ZOE: &str = "491700000004";
const SEND: &str = "/accounts/alice/message/send";

fn group(world: &World, members: &[&str]) -> String {
    let body = json!({"subject": "Team", "members": members});
    let made = world.admin("POST", "/groups", Some(&body)).expect_success();
    made["jid"].as_str().expect("a JID").to_owned()
}

/// The messages of a chat, newest first, once there are so many.
fn chat(world: &World, server: &Server, jid: &str, count: usize) -> Vec<Value> {
    let path = format!("/accounts/alice/chats/{jid}/messages");
    eventually("the messages", || {
        let page = world.get(server, &path);
        let mut messages = page["messages"].as_array().expect("messages").clone();
        // Lines about a group come at any time.
        messages.retain(|message| message["type"] != "system");
        (messages.len() >= count).then_some(messages)
    })
}

fn file(phone: &Phone<'_>, to: &str, id: Option<&str>, content: &[u8]) -> String {
    let document =
        json!({"base64": base64(content), "fileName": "a.txt", "mimetype": "text/plain"});
    phone.send(&json!({"to": to, "document": document, "id": id}))
}

#[test]
fn a_reused_id_mixes_up_neither_files_nor_quotes_nor_changes() {
    let world = World::new();
    let server = world.server();
    let alice = world.pair(&server, "alice", ALICE);
    let (bob, eve) = (world.phone(BOB, "Bob"), world.phone(EVE, "Eve"));
    let team = group(&world, &[BOB, ALICE, EVE]);
    let receiver = Receiver::start();
    let hook = json!({"url": receiver.url(), "events": ["message"]});
    world.post(&server, "/webhooks", &hook).expect(201);

    // Eve has seen the id in the group, and uses it for a file of her own: there, and in private.
    let id = file(&bob, &team, None, b"Bob's offer");
    let bobs = receiver.next().body;
    assert_eq!(bobs["messageId"], id.as_str());
    assert_eq!(file(&eve, &team, Some(&id), b"Eve's offer"), id);
    let eves = receiver.next().body;
    assert_eq!(
        file(&eve, &alice.jid(), Some(&id), b"Eve's other offer"),
        id
    );
    let private = receiver.next().body;
    let get = |path: &str| -> Answer {
        eventually("the file", || {
            let answer = world.api(&server, "GET", path, None);
            (answer.status == 200).then_some(answer)
        })
    };
    let ids: [&Value; 3] = [&bobs, &eves, &private].map(|event| &event["messageId"]);
    assert_eq!(ids, [&json!(id); 3]);
    for (event, content) in [
        (&bobs, "Bob's offer"),
        (&eves, "Eve's offer"),
        (&private, "Eve's other offer"),
    ] {
        let url = event["mediaUrl"].as_str().expect("a URL");
        assert_eq!(String::from_utf8_lossy(&get(url).bytes), content, "{url}");
        let media = format!("/media/{}", event["mediaId"].as_str().expect("an id"));
        assert_eq!(String::from_utf8_lossy(&get(&media).bytes), content);
    }
    // The id alone finds the first stored message; with the chat it is unique.
    let plain = format!("/accounts/alice/messages/{id}");
    assert_eq!(get(&plain).json()["message"]["sender"], bob.jid());
    assert_eq!(get(&format!("{plain}/media")).bytes, b"Bob's offer");
    let in_private = format!("?chatId={}", eve.number);
    assert_eq!(
        get(&format!("{plain}{in_private}")).json()["message"]["chatId"],
        eve.jid()
    );
    assert_eq!(
        get(&format!("{plain}/media{in_private}")).bytes,
        b"Eve's other offer"
    );
    let of_another = format!("{plain}/media?mediaId={}", "0".repeat(24));
    world.api(&server, "GET", &of_another, None).expect(404);

    // A quote and a reaction in the group mean Bob's, in private Eve's.
    let quote = |to: &str| {
        let body = json!({"to": to, "message": "yes", "quotedMessageId": id});
        world.post(&server, SEND, &body).expect(200)["messageId"].clone()
    };
    let react = |to: &str| {
        let body = json!({"chatId": to, "messageId": id, "emoji": "x"});
        world
            .post(&server, "/accounts/alice/message/react", &body)
            .expect(200);
    };
    let sent = quote(&team);
    let got = eventually("the reply", || {
        bob.all_received()
            .into_iter()
            .find(|m| m["messageId"] == sent)
    });
    let author = got["quoted"]["participant"].as_str().expect("an author");
    let path = format!("/phones/{BOB}");
    let person = world.admin("GET", &path, None).expect_success();
    assert!(author == bob.jid() || author == person["lid"], "{got}");
    react(&team);
    react(&eve.jid());
    for message in chat(&world, &server, &team, 3) {
        if message["messageId"] == id.as_str() {
            let reacted = message["reactions"].as_array().map(Vec::len);
            let is_bobs = message["sender"] == bob.jid();
            assert_eq!(reacted, Some(usize::from(is_bobs)), "{message}");
        }
    }
    let private = chat(&world, &server, &eve.jid(), 1);
    assert_eq!(private[0]["reactions"][0]["emoji"], "x");

    // Changes by others apply to the right message.
    bob.send(&json!({"to": team, "delete": {"messageId": id}}));
    eventually("the deletion", || {
        let messages = chat(&world, &server, &team, 3);
        let deleted = messages.iter().filter(|m| m["deleted"] == true);
        let whose: Vec<_> = deleted.map(|m| m["sender"].clone()).collect();
        (!whose.is_empty()).then(|| assert_eq!(whose, [json!(bob.jid())]))
    });
    let url = eves["mediaUrl"].as_str().expect("a URL");
    assert_eq!(get(url).bytes, b"Eve's offer", "it stays");
}

#[test]
fn the_status_of_an_own_message_is_that_of_its_own_chat() {
    let world = World::new();
    let server = world.server();
    let alice = world.pair(&server, "alice", ALICE);
    let (bob, eve) = (world.phone(BOB, "Bob"), world.phone(EVE, "Eve"));
    let body = json!({"to": BOB, "message": "hi"});
    let sent = world.post(&server, SEND, &body).expect(200);
    let id = sent["messageId"].as_str().expect("an id").to_owned();
    bob.received(1);
    let path = format!("/accounts/alice/messages/{id}?chatId={BOB}");
    let status = || world.get(&server, &path)["message"]["status"].clone();
    eventually("the receipt", || (status() == "delivered").then_some(()));
    // Eve says that she has read it, and sends a message of that id herself.
    eve.say(&alice.jid(), "hello");
    eve.send(&json!({"to": alice.jid(), "text": "mine", "id": id}));
    chat(&world, &server, &eve.jid(), 2);
    eve.post("read", &json!({"chat": alice.jid(), "messageIds": [id]}));
    let body = json!({"to": EVE, "message": "behind it"});
    world.post(&server, SEND, &body).expect(200);
    eve.received(1);
    eve.post("read", &json!({"chat": alice.jid()}));
    eventually("what came behind the lie", || {
        let messages = chat(&world, &server, &eve.jid(), 3);
        (messages[0]["status"] == "read").then_some(())
    });
    assert_eq!(status(), "delivered");
    bob.post("read", &json!({"chat": alice.jid()}));
    eventually("the truth", || (status() == "read").then_some(()));
}

#[test]
fn a_quote_is_of_the_same_chat_or_of_a_group_in_private() {
    let world = World::new();
    let server = world.server();
    let alice = world.pair(&server, "alice", ALICE);
    let (bob, eve, zoe) = (
        world.phone(BOB, "Bob"),
        world.phone(EVE, "Eve"),
        world.phone(ZOE, "Zoe"),
    );
    let team = group(&world, &[BOB, ALICE, ZOE]);
    let other = group(&world, &[EVE, ALICE]);
    let secret = bob.say(&alice.jid(), "for Alice alone");
    let question = bob.say(&team, "who comes?");
    chat(&world, &server, &bob.jid(), 1);
    chat(&world, &server, &team, 1);
    let reply = |endpoint: &str, to: &str, id: &str| {
        let body = json!({"to": to, "message": "answer", "quotedMessageId": id,
            "base64": base64(b"x"), "fileName": "a.txt"});
        world.post(
            &server,
            &format!("/accounts/alice/message/{endpoint}"),
            &body,
        )
    };
    for endpoint in ["send", "reply", "send/document"] {
        // One person's words are not shown to another, nor a group's outside of it.
        for (to, id) in [
            (eve.jid(), &secret),
            (team.clone(), &secret),
            (other.clone(), &question),
            (eve.jid(), &question),
        ] {
            let refused = reply(endpoint, &to, id).expect(404);
            assert_eq!(
                refused["error"], "Quoted message not found",
                "{endpoint} {to}"
            );
        }
    }
    // A group's message is answered in private: to its author, and to another member.
    for phone in [&bob, &zoe] {
        for to in [phone.jid(), phone.number.clone()] {
            let sent = reply("reply", &to, &question).expect(200)["messageId"].clone();
            let got = eventually("the answer", || {
                phone
                    .all_received()
                    .into_iter()
                    .find(|m| m["messageId"] == sent)
            });
            assert_eq!(got["quotedId"], question.as_str(), "{got}");
            assert_eq!(got["quoted"]["text"], "who comes?", "{got}");
            assert_eq!(got["quoted"]["remoteJid"], team.as_str(), "{got}");
        }
    }
    let shown = &chat(&world, &server, &zoe.jid(), 2)[0];
    assert_eq!(shown["quotedMessage"]["chatId"], team.as_str(), "{shown}");
    // Its own chat shows nothing of the other.
    let sent = reply("reply", &team, &question).expect(200)["messageId"].clone();
    let got = eventually("the answer", || {
        bob.all_received()
            .into_iter()
            .find(|m| m["messageId"] == sent)
    });
    assert_eq!(got["quotedId"], question.as_str());
    assert_eq!(got["quoted"]["remoteJid"], Value::Null, "{got}");
    assert!(eve.all_received().is_empty());
}

/// The addresses in `from` of the copies of a message that were delivered.
fn copies(world: &World, id: &str) -> Vec<String> {
    let stanzas = world.admin("GET", "/stanzas", None).expect(200);
    let stanzas = stanzas.as_array().expect("stanzas").iter();
    let copies = stanzas.filter(|entry| {
        let stanza = &entry["stanza"];
        entry["direction"] == "out" && stanza["tag"] == "message" && stanza["attrs"]["id"] == id
    });
    copies
        .map(|entry| {
            entry["stanza"]["attrs"]["from"]
                .as_str()
                .expect("from")
                .to_owned()
        })
        .collect()
}

/// whatsapp-rust #1474: the client emits both the phone's copy of a message and the sender's own retry, and the two can
/// name the sender by LID and by number.
#[test]
fn a_message_by_lid_and_again_by_number_is_stored_and_reported_once() {
    let world = World::new();
    let server = world.server();
    let alice = world.pair(&server, "alice", ALICE);
    let lid = |number: &str| {
        let person = world.admin("GET", &format!("/phones/{number}"), None);
        person.expect_success()["lid"]
            .as_str()
            .expect("a LID")
            .to_owned()
    };
    let (alices, bob) = (lid(ALICE), world.phone(BOB, "Bob"));
    let receiver = Receiver::start();
    world
        .post(&server, "/webhooks", &json!({"url": receiver.url()}))
        .expect(201);
    world.fault(&json!({"kind": "deliver-repeats", "number": ALICE}));
    let by_number = alice.jid();
    for (id, forms) in [
        ("3EB0A1", [&alices, &by_number]),
        ("3EB0A2", [&by_number, &alices]),
    ] {
        for to in forms {
            bob.send(&json!({"id": id, "to": to, "text": id}));
        }
        // The library works on what came by LID and by number at the same time: one id after the other.
        assert_eq!(receiver.next().body["messageId"], id);
    }
    // Eve's number is not known when her message comes first.
    let hides = |hidden: bool| {
        let eve = json!({"number": EVE, "hideNumber": hidden});
        world.admin("POST", "/phones", Some(&eve)).expect_success();
    };
    let eve = world.phone(EVE, "Eve");
    hides(true);
    eve.send(&json!({"id": "3EB0A3", "to": alices, "text": "3EB0A3"}));
    let event = receiver.next().body;
    assert_eq!(event["messageId"], "3EB0A3");
    assert_eq!(event["chatId"], lid(EVE));
    hides(false);
    eve.send(&json!({"id": "3EB0A3", "to": by_number, "text": "3EB0A3"}));

    // What follows each is the next event, and the only other message.
    for phone in [&bob, &eve] {
        phone.say(&by_number, "after");
        let event = receiver.next().body;
        assert_eq!(
            (&event["text"], &event["chatId"]),
            (&json!("after"), &json!(phone.jid()))
        );
    }
    for (phone, texts) in [
        (&bob, vec!["after", "3EB0A2", "3EB0A1"]),
        (&eve, vec!["after", "3EB0A3"]),
    ] {
        for name in [phone.jid(), lid(&phone.number)] {
            let messages = chat(&world, &server, &name, texts.len());
            let got: Vec<_> = messages.iter().filter_map(|m| m["text"].as_str()).collect();
            assert_eq!(got, texts, "{name}");
        }
    }
    let chats = world.get(&server, "/accounts/alice/chats");
    assert_eq!(chats["chats"].as_array().map(Vec::len), Some(2), "{chats}");
    let events = world.get(&server, "/events?types=message");
    assert_eq!(
        events["events"].as_array().map(Vec::len),
        Some(5),
        "{events}"
    );
    // Each was delivered by both addresses.
    for id in ["3EB0A1", "3EB0A2", "3EB0A3"] {
        let mut servers: Vec<_> = copies(&world, id)
            .iter()
            .map(|from| from.rsplit('@').next().unwrap_or_default().to_owned())
            .collect();
        servers.sort_unstable();
        // Alice's phone gets copies of its own.
        servers.dedup();
        assert_eq!(servers, ["lid", "s.whatsapp.net"], "{id}");
    }
}
