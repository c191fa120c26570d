//! People with a username, with a number or without (whatsmeow #1192, Baileys #2742,
//! purple-gowhatsapp #282, whatsapp-rust #1381).

use serde_json::{Value, json};

use crate::media_in::base64;
use crate::support::{Answer, Form, Phone, Receiver, Server, World, eventually};

const ALICE: &str = "491700000001";
const BOB: &str = "491700000002";
const ZOE: &str = "491700000004";
const SEND: &str = "/accounts/alice/message/send";

/// What a person is to the others: `{hideNumber?, username?, usernameKey?}`.
fn set(world: &World, number: &str, what: &Value) -> Value {
    let mut body = what.clone();
    body["number"] = json!(number);
    world.admin("POST", "/phones", Some(&body)).expect_success()
}

/// A person whom others see by LID and username alone; that LID.
fn hidden<'w>(world: &'w World, number: &str, name: &str, username: &str) -> (Phone<'w>, String) {
    let phone = world.phone(number, name);
    let person = set(
        world,
        number,
        &json!({"hideNumber": true, "username": username}),
    );
    (phone, person["lid"].as_str().expect("a LID").to_owned())
}

fn chats(world: &World, server: &Server) -> Vec<Value> {
    let listed = world.get(server, "/accounts/alice/chats");
    listed["chats"].as_array().expect("chats").clone()
}

fn fields(of: &Value, names: &[&str]) -> Value {
    json!(names.iter().map(|name| &of[name]).collect::<Vec<_>>())
}

/// The username of the only chat, once it is that.
fn username_is(world: &World, server: &Server, username: &Value) {
    eventually("the username", || {
        let listed = chats(world, server);
        (listed[0]["username"] == *username).then_some(())
    });
}

/// How often the account has asked whose a username is.
fn look_ups(world: &World) -> usize {
    fn names(node: &Value) -> bool {
        let children = node["children"].as_array();
        node["tag"] == "contact" && !node["attrs"]["username"].is_null()
            || children.is_some_and(|children| children.iter().any(names))
    }
    let stanzas = world.admin("GET", "/stanzas", None).expect(200);
    let stanzas = stanzas.as_array().expect("stanzas");
    let asks = |entry: &&Value| {
        let stanza = &entry["stanza"];
        stanza["attrs"]["xmlns"] == "usync" && stanza["attrs"]["type"] == "get" && names(stanza)
    };
    stanzas.iter().filter(asks).count()
}

const WHO: &[&str] = &["chatId", "chatLid", "sender", "senderLid", "senderUsername"];

#[test]
fn a_person_without_a_number_has_a_name_and_one_chat_once_it_is_known() {
    let world = World::new();
    let server = world.server();
    let alice = world.pair(&server, "alice", ALICE);
    let (bob, lid) = hidden(&world, BOB, "Bob", "Bob.B");
    let receiver = Receiver::start();
    let hook =
        json!({"url": receiver.url(), "events": ["message", "message.sent", "message.reaction"]});
    world.post(&server, "/webhooks", &hook).expect(201);

    // Named from the first message on, in the event, too.
    let first = bob.say(&alice.jid(), "who am I?");
    let event = receiver.next().body;
    assert_eq!(
        fields(&event, WHO),
        json!([lid, lid, lid, lid, "Bob.B"]),
        "{event}"
    );
    assert_eq!(
        fields(&event, &["chatName", "pushName"]),
        json!(["Bob", "Bob"])
    );
    let listed = chats(&world, &server);
    assert_eq!(
        fields(&listed[0], &["chatId", "name", "username"]),
        json!([lid, "Bob", "Bob.B"])
    );
    assert_eq!(listed[0]["lastMessage"]["senderUsername"], "Bob.B");

    // Answered where the message came from.
    let body = json!({"to": event["from"], "message": "my neighbour", "quotedMessageId": first});
    world.post(&server, SEND, &body).expect(200);
    let answer = &bob.received(1)[0];
    assert_eq!(
        fields(answer, &["text", "quotedId"]),
        json!(["my neighbour", first])
    );
    let event = receiver.next().body;
    assert_eq!(
        fields(&event, &["event", "chatId"]),
        json!(["message.sent", lid])
    );
    bob.send(&json!({"to": alice.jid(), "react": {"messageId": first, "emoji": "x"}}));
    let event = receiver.next().body;
    assert_eq!(
        fields(&event, WHO),
        json!([lid, lid, lid, lid, "Bob.B"]),
        "{event}"
    );

    // In a group, as well.
    let members = json!({"subject": "Team", "members": [BOB, ALICE], "addressing": "lid"});
    let team = world
        .admin("POST", "/groups", Some(&members))
        .expect_success();
    let team = team["jid"].as_str().expect("a JID");
    bob.say(team, "hello all");
    let event = receiver.next().body;
    assert_eq!(
        fields(&event, WHO),
        json!([team, null, lid, lid, "Bob.B"]),
        "{event}"
    );
    let is_group = |chat: &&Value| chat["chatId"] == team;
    let listed = chats(&world, &server);
    assert_eq!(
        listed.iter().find(is_group).expect("it")["username"],
        Value::Null
    );

    // The number becomes known: one chat, whose later messages have both.
    set(&world, BOB, &json!({"hideNumber": false}));
    bob.say(&alice.jid(), "now you know");
    let event = receiver.next().body;
    assert_eq!(
        fields(&event, WHO),
        json!([bob.jid(), lid, bob.jid(), lid, "Bob.B"]),
        "{event}"
    );
    let listed = chats(&world, &server);
    assert_eq!(listed.len(), 2, "{listed:?}");
    let chat = listed.iter().find(|chat| !is_group(chat)).expect("it");
    assert_eq!(
        fields(chat, &["chatId", "chatLid", "username", "messageCount"]),
        json!([bob.jid(), lid, "Bob.B", 3])
    );
    for chat in [&lid, &bob.jid(), "%40bob.b"] {
        let page = world.get(&server, &format!("/accounts/alice/chats/{chat}/messages"));
        let messages = page["messages"].as_array().expect("messages");
        assert_eq!(messages.len(), 3, "{chat}");
        for message in messages {
            assert_eq!(
                fields(message, &["chatId", "chatLid"]),
                json!([bob.jid(), lid])
            );
        }
    }
}

/// The LID's chat exists first, and the number is typed later: it is asked for, and answered with
/// the LID.
#[test]
fn a_number_used_later_leads_to_the_chat_of_its_lid() {
    let world = World::new();
    let server = world.server();
    let alice = world.pair(&server, "alice", ALICE);
    let (bob, lid) = hidden(&world, BOB, "Bob", "bob.b");
    let receiver = Receiver::start();
    let hook =
        json!({"url": receiver.url(), "events": ["message", "message.sent", "message.status"]});
    world.post(&server, "/webhooks", &hook).expect(201);
    bob.say(&alice.jid(), "hi");
    assert_eq!(receiver.next().body["chatId"], lid.as_str());
    set(&world, BOB, &json!({"hideNumber": false}));
    world
        .post(&server, SEND, &json!({"to": BOB, "message": "found you"}))
        .expect(200);
    assert_eq!(bob.received(1)[0]["text"], "found you");
    let listed = chats(&world, &server);
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert_eq!(
        fields(
            &listed[0],
            &["chatId", "chatLid", "username", "messageCount"]
        ),
        json!([bob.jid(), lid, "bob.b", 2])
    );
    for kind in ["message.sent", "message.status"] {
        let event = receiver.next().body;
        assert_eq!(event["event"], kind, "{event}");
        assert_eq!(
            fields(&event, &["chatId", "chatLid"]),
            json!([bob.jid(), lid]),
            "{event}"
        );
    }
    // Messages to the old name reach the same person.
    world
        .post(&server, SEND, &json!({"to": lid, "message": "by LID"}))
        .expect(200);
    assert_eq!(chats(&world, &server)[0]["messageCount"], 3);
}

#[test]
fn usernames_known_to_the_phone_are_imported() {
    let world = World::new();
    let server = world.server();
    let past = json!({"chats": 1, "messagesPerChat": 3, "days": 3});
    let path = format!("/phones/{ALICE}/history");
    let made = world.admin("POST", &path, Some(&past)).expect_success();
    let chat = made["chats"][0]["jid"].as_str().expect("a chat").to_owned();
    let number = chat.split('@').next().expect("a number");
    set(&world, number, &json!({"username": "from.the.past"}));
    world.phone(ZOE, "Zoe");
    set(&world, ZOE, &json!({"username": "zoe"}));
    let alice = world.pair(&server, "alice", ALICE);
    eventually("the history", || {
        let found = chats(&world, &server).into_iter().next()?;
        (found["username"] == "from.the.past").then_some(())
    });
    // Whom a number leads to is answered with the username.
    let bob = world.phone(BOB, "Bob");
    set(&world, BOB, &json!({"username": "bob.b"}));
    world
        .post(&server, SEND, &json!({"to": BOB, "message": "hi"}))
        .expect(200);
    eventually("the username", || {
        let mut found = chats(&world, &server).into_iter();
        let chat = found.find(|chat| chat["chatId"] == bob.jid())?;
        (chat["username"] == "bob.b").then_some(())
    });
    // The address book has people who never wrote.
    let book = json!({"contacts": [{"number": ZOE, "name": "Zoe from work"}]});
    alice.post("contacts", &book);
    eventually("the contact", || {
        let path = "/accounts/alice/chats/@zoe/messages";
        (world.api(&server, "GET", path, None).status == 200).then_some(())
    });
    assert_eq!(look_ups(&world), 0, "WhatsApp was not asked");
}

#[test]
fn changed_and_deleted_usernames_are_followed() {
    let world = World::new();
    let server = world.server();
    let alice = world.pair(&server, "alice", ALICE);
    let (bob, lid) = hidden(&world, BOB, "Bob", "bob.b");
    bob.say(&alice.jid(), "hi");
    eventually("the chat", || chats(&world, &server).pop());
    username_is(&world, &server, &json!("bob.b"));
    // By the server's word, without a message.
    set(&world, BOB, &json!({"username": "robert"}));
    username_is(&world, &server, &json!("robert"));
    set(&world, BOB, &json!({"username": ""}));
    username_is(&world, &server, &Value::Null);
    // The name has a new owner; the stored one is no longer used.
    let (_zoe, zoes) = hidden(&world, ZOE, "Zoe", "robert");
    let sent = json!({"to": "@robert", "message": "to Zoe"});
    let sent = world.post(&server, SEND, &sent).expect(200);
    let id = sent["messageId"].as_str().expect("an id");
    let message = world.get(&server, &format!("/accounts/alice/messages/{id}"));
    assert_eq!(message["message"]["chatId"], zoes.as_str(), "not {lid}");
    // A person with a number and without a username has none, even if an event was missed.
    set(&world, BOB, &json!({"username": "bob.again"}));
    eventually("it", || {
        let chat = chats(&world, &server)
            .into_iter()
            .find(|chat| chat["chatId"] == lid.as_str());
        (chat?["username"] == "bob.again").then_some(())
    });
    // An own message from the phone names whom it was written to.
    set(&world, BOB, &json!({"username": "bob.once.more"}));
    alice.say(&lid, "from the phone");
    eventually("the username", || {
        let chat = chats(&world, &server)
            .into_iter()
            .find(|chat| chat["chatId"] == lid.as_str());
        let chat = chat?;
        (chat["username"] == "bob.once.more" && chat["lastMessage"]["text"] == "from the phone")
            .then_some(())
    });
}

fn send(world: &World, server: &Server, to: &str, text: &str) -> Answer {
    world.post(server, SEND, &json!({"to": to, "message": text}))
}

fn refused(answer: &Answer, status: u16, words: &str) {
    let body = answer.expect(status);
    let told = body["error"].as_str().expect("words");
    assert!(told.contains(words), "{told}");
    assert_eq!(body["field"], "to", "{body}");
}

#[test]
fn a_username_is_looked_up_once_and_accepted_as_a_chat() {
    let world = World::new();
    let server = world
        .options()
        .with("limits.messages_per_minute", 600)
        .start();
    let alice = world.pair(&server, "alice", ALICE);
    let (bob, lid) = hidden(&world, BOB, "Bob", "Bob.B");
    let sent = send(&world, &server, "@bob.b", "hello").expect(200);
    let own = sent["messageId"].as_str().expect("an id").to_owned();
    assert_eq!(bob.received(1)[0]["messageId"], own.as_str());
    send(&world, &server, " @BOB.B\n", "again").expect(200);
    let theirs = bob.say(&alice.jid(), "hello yourself");
    eventually("the answer", || {
        let chat = chats(&world, &server).pop()?;
        (chat["messageCount"] == 3).then_some(())
    });
    let listed = chats(&world, &server);
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert_eq!(
        fields(&listed[0], &["chatId", "username"]),
        json!([lid, "Bob.B"])
    );

    let post = |path: &str, body: &Value| world.post(&server, path, body).expect(200);
    let name = "@bob.b";
    let message = "/accounts/alice/message";
    post(
        &format!("{message}/reply"),
        &json!({"to": name, "message": "indeed", "quotedMessageId": theirs, "mentions": [name]}),
    );
    post(
        &format!("{message}/react"),
        &json!({"chatId": name, "messageId": theirs, "emoji": "x"}),
    );
    post(
        &format!("{message}/delete"),
        &json!({"chatId": name, "messageId": own}),
    );
    let (kind, body) = Form::new()
        .field("to", name)
        .file("document", "a.txt", "text/plain", b"some text")
        .build();
    let url = format!("{}{SEND}/document", server.base());
    let file = world
        .http()
        .send("POST", &url, &kind, Some(body))
        .expect(200);
    let file = file["messageId"].as_str().expect("an id");
    post("/accounts/alice/chats/@bob.b/read", &json!({}));
    let received = bob.received(6);
    let reply = received.iter().find(|message| message["text"] == "indeed");
    assert_eq!(reply.expect("the reply")["mentions"], json!([lid]));
    for path in [
        "/accounts/alice/chats/@bob.b/messages".to_owned(),
        format!("/accounts/alice/messages/{theirs}?chatId=%40bob.b"),
        format!("/accounts/alice/messages/{file}/media?chatId=@bob.b"),
        "/media?chatId=@bob.b".to_owned(),
    ] {
        let answer = world.api(&server, "GET", &path, None);
        assert_eq!(
            answer.status,
            200,
            "{path}: {}",
            String::from_utf8_lossy(&answer.bytes)
        );
    }
    assert_eq!(look_ups(&world), 1, "asked once");

    // It is known after a restart, and while WhatsApp is out of reach.
    server.kill();
    let server = world
        .options()
        .with("limits.messages_per_minute", 600)
        .start();
    let disconnect = "/accounts/alice/disconnect";
    world.post(&server, disconnect, &json!({})).expect(200);
    let queued = json!({"to": name, "message": "queued", "queue": true});
    world.post(&server, SEND, &queued).expect(202);
    let unknown = json!({"to": "@not.here", "message": "queued", "queue": true});
    refused(&world.post(&server, SEND, &unknown), 400, "not connected");
    let connect = "/accounts/alice/connect";
    world.post(&server, connect, &json!({})).expect(200);
    assert_eq!(bob.received(7)[6]["text"], "queued");
    assert_eq!(look_ups(&world), 1, "asked once");
}

#[test]
fn unknown_usernames_get_clear_errors() {
    let world = World::new();
    let server = world
        .options()
        .with("limits.messages_per_minute", 600)
        .start();
    world.pair(&server, "alice", ALICE);
    for to in ["@ab", "@bob!", "@123", "@bob..b", "@bob:12"] {
        refused(&send(&world, &server, to, "no"), 400, "must be a username");
    }
    // A template without a number is no username.
    let told = send(&world, &server, "@g.us", "no").expect(400);
    assert!(
        told["error"]
            .as_str()
            .expect("words")
            .contains("Invalid WhatsApp JID"),
        "{told}"
    );
    for _ in 0..3 {
        refused(
            &send(&world, &server, "@not.here", "no"),
            400,
            "@not.here is not on WhatsApp",
        );
    }
    assert_eq!(look_ups(&world), 1, "the answer is known for a while");
    let file = json!({"to": "@not.here", "base64": base64(b"Hello"), "fileName": "a.txt"});
    let document = world.post(&server, &format!("{SEND}/document"), &file);
    refused(&document, 400, "is not on WhatsApp");
    for path in [
        "/accounts/alice/chats/@not.here/messages",
        "/accounts/alice/messages/3EB0?chatId=@not.here",
        "/media?chatId=@not.here",
    ] {
        let body = world.api(&server, "GET", path, None).expect(404);
        assert_eq!(body["field"], "chatId", "{body}");
    }

    // Some people require a username key for a first message.
    let (zoe, _) = hidden(&world, ZOE, "Zoe", "zoe");
    set(
        &world,
        ZOE,
        &json!({"username": "zoe", "usernameKey": "4711"}),
    );
    refused(&send(&world, &server, "@zoe", "no"), 400, "username key");
    refused(
        &send(&world, &server, "@zoe:0815", "no"),
        400,
        "username key",
    );
    send(&world, &server, "@zoe:4711", "hello").expect(200);
    send(&world, &server, "@zoe", "no key any more").expect(200);
    assert_eq!(zoe.received(2)[1]["text"], "no key any more");

    // Guessing usernames is not what this is for.
    let told = eventually("the limit", || {
        let name = format!("@guess{}", look_ups(&world));
        let answer = send(&world, &server, &name, "no");
        (answer.status == 429).then_some(answer)
    });
    assert_eq!(look_ups(&world), 10);
    assert!(told.header("retry-after").is_some());
    refused(&told, 429, "Too many usernames");
    // Those that are known are not concerned.
    send(&world, &server, "@zoe", "still here").expect(200);
}
