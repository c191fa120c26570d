//! Names of chats and people: `from`, `sender` and their names, in every answer and event.

use serde_json::{Value, json};

use crate::media_in::base64;
use crate::support::{Phone, Receiver, Server, World, eventually, run_to_end};

const ALICE: &str = "491700000001";
const BOB: &str = "491700000002";
const ZOE: &str = "491700000004";

fn message(world: &World, server: &Server, id: &str) -> Value {
    let path = format!("/accounts/alice/messages/{id}");
    eventually("the message", || {
        let answer = world.api(server, "GET", &path, None);
        (answer.status == 200).then(|| answer.json()["message"].clone())
    })
}

fn lid(world: &World, phone: &Phone<'_>) -> String {
    let path = format!("/phones/{}", phone.number);
    let person = world.admin("GET", &path, None).expect_success();
    person["lid"].as_str().expect("a LID").to_owned()
}

/// Fields of a message or an event.
fn fields(of: &Value, names: &[&str]) -> Value {
    json!(names.iter().map(|name| &of[name]).collect::<Vec<_>>())
}

const WHO: &[&str] = &["chatId", "chatLid", "from", "sender", "senderLid", "fromMe"];

#[test]
fn from_is_the_chat_and_sender_the_person_everywhere() {
    let world = World::new();
    let server = world.server();
    let alice = world.pair(&server, "alice", ALICE);
    let (bob, zoe) = (world.phone(BOB, "Bob"), world.phone(ZOE, "Zoe"));
    let (alices, bobs) = (lid(&world, &alice), lid(&world, &bob));
    let members = json!({"subject": "Team", "members": [BOB, ALICE, ZOE], "addressing": "pn"});
    let team = world
        .admin("POST", "/groups", Some(&members))
        .expect_success();
    let team = team["jid"].as_str().expect("a JID").to_owned();
    let receiver = Receiver::start();
    let hook = json!({"url": receiver.url(), "events": ["message.any", "message.sent",
        "message.reaction", "message.edited", "message.deleted"]});
    world.post(&server, "/webhooks", &hook).expect(201);
    // A message of Bob's in a direct chat and in a group: sender and chat.
    let of_bob = json!([bob.jid(), bobs, bob.jid(), bob.jid(), bobs, false]);
    let in_team = json!([team, null, team, bob.jid(), bobs, false]);
    let own_to_bob = json!([bob.jid(), bobs, bob.jid(), alice.jid(), alices, true]);
    let own_to_team = json!([team, null, team, alice.jid(), alices, true]);

    let image = json!({"base64": base64(b"x"), "mimetype": "image/jpeg", "caption": "a view"});
    for (to, expected) in [(alice.jid(), &of_bob), (team.clone(), &in_team)] {
        let id = bob.send(&json!({"to": to, "image": image}));
        let event = receiver.next().body;
        assert_eq!(event["messageId"], id.as_str());
        for shown in [&event, &message(&world, &server, &id)] {
            assert_eq!(fields(shown, WHO), *expected, "{shown}");
            assert_eq!(
                fields(shown, &["text", "caption"]),
                json!(["a view", "a view"])
            );
        }
        // Changes have their sender and chat.
        bob.send(&json!({"to": to, "react": {"messageId": id, "emoji": "x"}}));
        let event = receiver.next().body;
        assert_eq!(event["event"], "message.reaction");
        assert_eq!(fields(&event, WHO), *expected, "{event}");
        bob.send(&json!({"to": to, "edit": {"messageId": id, "text": "the view"}}));
        let event = receiver.next().body;
        assert_eq!(event["event"], "message.edited");
        assert_eq!(fields(&event, WHO), *expected, "{event}");
        assert_eq!(
            fields(&event, &["text", "caption"]),
            json!(["the view", "the view"])
        );
        let chats = world.get(&server, "/accounts/alice/chats")["chats"].clone();
        let chats = chats.as_array().expect("chats");
        let chat = chats.iter().find(|chat| chat["chatId"] == expected[2]);
        let chat = chat.expect("the chat");
        let last = &chat["lastMessage"];
        assert_eq!(
            fields(last, &["from", "sender", "text"]),
            json!([expected[2], bob.jid(), "the view"]),
            "{chat}"
        );
        assert_eq!(chat["chatLid"], expected[1], "{chat}");
        bob.send(&json!({"to": to, "delete": {"messageId": id}}));
        let event = receiver.next().body;
        assert_eq!(event["event"], "message.deleted");
        assert_eq!(fields(&event, WHO), *expected, "{event}");
    }

    // Own messages: by the API, and by the phone.
    for (to, expected) in [(bob.jid(), &own_to_bob), (team.clone(), &own_to_team)] {
        let body = json!({"to": to, "message": "from the API"});
        world
            .post(&server, "/accounts/alice/message/send", &body)
            .expect(200);
        let event = receiver.next().body;
        assert_eq!(event["event"], "message.sent");
        assert_eq!(fields(&event, WHO), *expected, "{event}");
        let id = alice.say(&to, "from the phone");
        let event = receiver.next().body;
        assert_eq!(event["messageId"], id.as_str());
        assert_eq!(fields(&event, WHO), *expected, "{event}");
    }
    // A quote says whose words they are.
    let id = zoe.say(&team, "question");
    receiver.next();
    let reply = bob.send(&json!({"to": team, "text": "answer", "replyTo": id}));
    let got = message(&world, &server, &reply);
    assert_eq!(got["quotedMessage"]["participant"], zoe.jid(), "{got}");

    // Every list shows the same, and so does an export.
    let path = format!("/accounts/alice/chats/{team}/messages");
    let all = world.get(&server, "/messages?limit=500")["messages"].clone();
    let all = all.as_array().expect("messages");
    for shown in world.get(&server, &path)["messages"]
        .as_array()
        .expect("messages")
    {
        assert_eq!(shown["from"], team.as_str(), "{shown}");
        assert!(all.contains(shown), "{shown}");
    }
    let data = world.options().data.display().to_string();
    let args = ["export", "alice", "--data", &data];
    let (code, lines, error) = run_to_end(world.directory.path(), &args, &[]);
    assert_eq!(code, 0, "{error}");
    let exported: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(exported.len(), all.len());
    for shown in &exported {
        assert!(all.contains(shown), "{shown}");
    }
}

#[test]
fn messages_and_events_have_the_names_of_chats_and_people() {
    let world = World::new();
    let server = world.server();
    let alice = world.pair(&server, "alice", ALICE);
    let (bob, zoe) = (world.phone(BOB, "Bob"), world.phone(ZOE, "Zoe"));
    let receiver = Receiver::start();
    let hook = json!({"url": receiver.url(), "events": ["message", "message.sent",
        "message.status", "message.reaction", "message.deleted"]});
    world.post(&server, "/webhooks", &hook).expect(201);
    const NAMES: &[&str] = &["chatName", "senderName"];
    let group = |subject: &str| {
        let members = json!({"subject": subject, "members": [BOB, ALICE, ZOE]});
        let made = world
            .admin("POST", "/groups", Some(&members))
            .expect_success();
        made["jid"].as_str().expect("a JID").to_owned()
    };

    // Only the account has written: the chat, the message and its events have the group's name.
    let quiet = group("Quiet");
    let body = json!({"to": quiet, "message": "is anybody there?"});
    let sent = world
        .post(&server, "/accounts/alice/message/send", &body)
        .expect(200);
    let event = receiver.next().body;
    assert_eq!(event["event"], "message.sent");
    assert_eq!(fields(&event, NAMES), json!(["Quiet", null]), "{event}");
    let event = receiver.next().body;
    assert_eq!(event["event"], "message.status");
    assert_eq!(event["chatName"], "Quiet", "{event}");
    let chats = world.get(&server, "/accounts/alice/chats");
    assert_eq!(chats["chats"][0]["name"], "Quiet", "{chats}");
    let id = sent["messageId"].as_str().expect("an id");
    assert_eq!(message(&world, &server, id)["chatName"], "Quiet");

    // In the address book Bob has another name than his own; Zoe has none.
    let book = json!({"contacts": [{"number": BOB, "name": "Robert from work"}]});
    alice.post("contacts", &book);
    // A first message says nothing of it yet, or does: the news of the address book takes its own way.
    let id = bob.say(&alice.jid(), "hello");
    receiver.next();
    eventually("the name", || {
        let got = message(&world, &server, &id);
        (got["senderName"] == "Robert from work").then_some(())
    });
    let team = group("Team");
    for (phone, to, chat, sender, own) in [
        (
            &bob,
            alice.jid(),
            "Robert from work",
            json!("Robert from work"),
            "Bob",
        ),
        (&zoe, alice.jid(), "Zoe", Value::Null, "Zoe"),
        (
            &bob,
            quiet.clone(),
            "Quiet",
            json!("Robert from work"),
            "Bob",
        ),
        (&zoe, quiet, "Quiet", Value::Null, "Zoe"),
    ] {
        let id = phone.say(&to, "hi");
        let event = receiver.next().body;
        for shown in [&event, &message(&world, &server, &id)] {
            assert_eq!(fields(shown, NAMES), json!([chat, sender]), "{shown}");
            assert_eq!(shown["pushName"], own, "{shown}");
        }
        phone.send(&json!({"to": to, "react": {"messageId": id, "emoji": "x"}}));
        let event = receiver.next().body;
        assert_eq!(event["event"], "message.reaction");
        assert_eq!(fields(&event, NAMES), json!([chat, sender]), "{event}");
        phone.send(&json!({"to": to, "delete": {"messageId": id}}));
        let event = receiver.next().body;
        assert_eq!(event["event"], "message.deleted");
        assert_eq!(fields(&event, NAMES), json!([chat, sender]), "{event}");
    }
    // A group that others made: its name is known with its first message, or right behind it.
    let id = bob.say(&team, "welcome");
    eventually("the subject", || {
        (message(&world, &server, &id)["chatName"] == "Team").then_some(())
    });
}
