//! What is done to messages after they were sent: edits, pins, forwards and the like, both ways.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Form, Receiver, Server, Time, World, eventually};

const ALICE: &str = "491700000001";
const BOB: &str = "491700000002";
const SEND: &str = "/accounts/alice/message/send";
const EDIT: &str = "/accounts/alice/message/edit";

pub fn stored(world: &World, server: &Server, id: &str) -> Value {
    world.get(server, &format!("/accounts/alice/messages/{id}"))["message"].clone()
}

/// A picture that alice sends to Bob; its id.
fn picture(world: &World, server: &Server, caption: &str) -> String {
    let jpeg = include_bytes!("../fixtures/media/photo.jpg");
    let form = Form::new().field("to", BOB).field("caption", caption).file(
        "image",
        "photo.jpg",
        "image/jpeg",
        jpeg,
    );
    let (kind, body) = form.build();
    let url = format!("{}{SEND}/image", server.base());
    let sent = world.http().send("POST", &url, &kind, Some(body));
    id_of(&sent.expect(200))
}

fn id_of(answer: &Value) -> String {
    answer["messageId"].as_str().expect("an id").to_owned()
}

#[test]
fn own_texts_and_captions_are_edited_for_15_minutes() {
    let world = World::new();
    world.walks(&["POST /accounts/:id/message/edit"]);
    let mut options = world.options();
    let server = options.start();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let receiver = Receiver::start();
    let hook = json!({"url": receiver.url(), "events": ["message.edited"]});
    world.post(&server, "/webhooks", &hook).expect(201);

    let sent = world.post(&server, SEND, &json!({"to": BOB, "message": "frist"}));
    let text = id_of(&sent.expect(200));
    let image = picture(&world, &server, "a gardn");
    for (id, words) in [(&text, "first"), (&image, "a garden")] {
        let body = json!({"chatId": BOB, "messageId": id, "message": words});
        let edited = world.post_once(&server, EDIT, id, &body).expect(200);
        assert_eq!(edited["message"], "Message edited");
        let again = world.post_once(&server, EDIT, id, &body).expect(200);
        assert_eq!(again["messageId"], edited["messageId"], "the same request");
        let shown = stored(&world, &server, id);
        assert_eq!(
            (&shown["text"], &shown["edited"]),
            (&json!(words), &json!(true))
        );
        let event = receiver.next().body;
        assert_eq!(
            (&event["messageId"], &event["text"]),
            (&json!(id), &json!(words))
        );
    }
    let got = bob.received(4);
    assert_eq!(got[0]["editedText"], "first", "{got:?}");
    assert_eq!(got[1]["editedText"], "a garden", "{got:?}");

    let theirs = bob.say(ALICE, "theirs");
    eventually("Bob's message", || {
        let path = format!("/accounts/alice/messages/{theirs}");
        (world.api(&server, "GET", &path, None).status == 200).then_some(())
    });
    let place = json!({"to": BOB, "latitude": 1, "longitude": 2});
    let place = id_of(
        &world
            .post(&server, &format!("{SEND}/location"), &place)
            .expect(200),
    );
    let edit = |id: &str, status: u16| {
        let body = json!({"chatId": BOB, "messageId": id, "message": "x"});
        world.post(&server, EDIT, &body).expect(status)["error"].clone()
    };
    assert_eq!(edit(&theirs, 400), "Only own messages can be edited");
    let words = "Only texts and the captions of images, videos and documents can be edited";
    assert_eq!(edit(&place, 400), words);
    assert_eq!(edit("NONE", 404), "Message not found");
    let lacks = world.post(&server, EDIT, &json!({"chatId": BOB, "messageId": text}));
    let words = "chatId, messageId and message are required";
    assert_eq!(lacks.expect(400)["error"], words);

    // An edit that waits over a kill is sent once; one of a message that waits itself is refused.
    world
        .post(&server, "/accounts/alice/disconnect", &json!({}))
        .expect(200);
    let body = json!({"to": BOB, "message": "waits", "queue": true});
    let waits = id_of(&world.post(&server, SEND, &body).expect(202));
    let edit_of =
        |id: &str| json!({"chatId": BOB, "messageId": id, "message": "1st", "queue": true});
    world.post(&server, EDIT, &edit_of(&waits)).expect(409);
    world.post(&server, EDIT, &edit_of(&text)).expect(202);
    server.kill();
    let time = Time::of(&mut options);
    let server = options.start();
    world
        .post(&server, "/accounts/alice/connect", &json!({}))
        .expect(200);
    let got = bob.received(7);
    assert_eq!(got[0]["editedText"], "1st");
    eventually("the edit, acknowledged", || {
        (stored(&world, &server, &text)["text"] == "1st").then_some(())
    });

    time.passes(Duration::from_secs(16 * 60));
    let body = json!({"chatId": BOB, "messageId": text, "message": "x"});
    let late = world.post(&server, EDIT, &body).expect(400);
    let words = "A message can be edited for 15 minutes after it was sent, and this one is older";
    assert_eq!(late["error"], words);
}

/// How many files were uploaded so far.
fn uploads(world: &World) -> usize {
    let stanzas = world.admin("GET", "/stanzas", None).expect(200);
    let is_asked = |passed: &&Value| passed["stanza"].to_string().contains("media_conn");
    stanzas
        .as_array()
        .expect("stanzas")
        .iter()
        .filter(is_asked)
        .count()
}

#[test]
fn messages_are_forwarded_without_another_upload_and_counted() {
    const FORWARD: &str = "/accounts/alice/message/forward";
    const ZOE: &str = "491700000003";
    let world = World::new();
    world.walks(&["POST /accounts/:id/message/forward"]);
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    let (bob, zoe) = (world.phone(BOB, "Bob"), world.phone(ZOE, "Zoe"));
    let image = picture(&world, &server, "a garden");
    let text = json!({"to": BOB, "message": "hi @491700000002", "mentions": [BOB]});
    let text = id_of(&world.post(&server, SEND, &text).expect(200));
    let place = json!({"location": {"latitude": 1, "longitude": 2, "name": "Here"}, "to": ALICE});
    let place = bob.send(&place);
    let voice =
        bob.send(&json!({"to": ALICE, "audio": {"base64": "T2dnUwAC", "ptt": true, "seconds": 3}}));
    let many = json!({"to": ALICE, "text": "chain", "forwarded": true});
    let many = bob.send(&many);
    for id in [&place, &voice, &many] {
        eventually("Bob's message", || {
            let path = format!("/accounts/alice/messages/{id}");
            (world.api(&server, "GET", &path, None).status == 200).then_some(())
        });
    }
    // Refused uploads show that none is made.
    world.fault(&json!({"kind": "refuse-uploads", "code": 500, "count": 100}));
    let before = uploads(&world);
    let mut copies = Vec::new();
    for id in [&image, &text, &place, &voice, &many] {
        let body = json!({"from": BOB, "messageId": id, "to": ZOE});
        let sent = world.post(&server, FORWARD, &body).expect(200);
        assert_eq!(sent["message"], "Message forwarded");
        copies.push(id_of(&sent));
    }
    assert_eq!(uploads(&world), before);
    let got = zoe.received(5);
    let kinds: Vec<_> = got
        .iter()
        .map(|m| m["type"].as_str().expect("a kind"))
        .collect();
    assert_eq!(kinds, ["image", "text", "location", "audio", "text"]);
    for (n, message) in got.iter().enumerate() {
        assert_eq!(message["forwarded"], true, "{message}");
        let score = if n == 4 { 2 } else { 0 };
        assert_eq!(message["forwardingScore"], score, "{message}");
        assert_eq!(message["mentions"], Value::Null, "{message}");
        assert_eq!(message["media"]["error"], Value::Null, "{message}");
    }
    assert_eq!(
        (&got[0]["text"], &got[0]["media"]["thumbnail"]),
        (&json!("a garden"), &json!(true))
    );
    assert_eq!(
        (&got[3]["media"]["ptt"], &got[3]["media"]["seconds"]),
        (&json!(true), &json!(3))
    );
    let shown = stored(&world, &server, &copies[0]);
    assert_eq!(
        (&shown["isForwarded"], &shown["forwardingScore"]),
        (&json!(true), &json!(0))
    );

    // Of a forwarded one once more; queued over a kill.
    world
        .post(&server, "/accounts/alice/disconnect", &json!({}))
        .expect(200);
    let body = json!({"from": ZOE, "messageId": copies[0], "to": BOB, "queue": true});
    world
        .post_once(&server, FORWARD, "key-1", &body)
        .expect(202);
    server.kill();
    let server = world.server();
    world
        .post(&server, "/accounts/alice/connect", &json!({}))
        .expect(200);
    let again = bob.received(3).remove(2);
    assert_eq!(
        (&again["type"], &again["forwardingScore"]),
        (&json!("image"), &json!(1))
    );
    assert_eq!(again["media"]["error"], Value::Null, "{again}");

    // To several chats at once, also there without another upload.
    let (before, received) = (uploads(&world), zoe.all_received().len());
    let body = json!({"from": BOB, "messageId": image, "to": [ZOE, BOB]});
    let sent = world.post(&server, FORWARD, &body).expect(202);
    assert_eq!(sent["results"].as_array().map(Vec::len), Some(2));
    for (phone, count) in [(&zoe, received + 1), (&bob, 4)] {
        let got = phone.received(count).remove(count - 1);
        assert_eq!(
            (&got["type"], &got["forwarded"], &got["media"]["error"]),
            (&json!("image"), &json!(true), &Value::Null)
        );
    }
    assert_eq!(uploads(&world), before);
    let six: Vec<String> = (0..6).map(|n| format!("49170000001{n}")).collect();
    let body = json!({"from": BOB, "messageId": image, "to": six});
    let refused = world.post(&server, FORWARD, &body).expect(400);
    let words = "\"to\" must be a recipient, or a list of 1 to 5 of them";
    assert_eq!(refused["error"], words);

    for (body, status, words) in [
        (
            json!({"to": ZOE, "messageId": text}),
            400,
            "messageId, from and to are required",
        ),
        (
            json!({"from": ZOE, "to": ZOE, "messageId": text}),
            404,
            "Message not found",
        ),
    ] {
        assert_eq!(
            world.post(&server, FORWARD, &body).expect(status)["error"],
            words
        );
    }
}

/// The message once it is as wanted.
fn until(world: &World, server: &Server, id: &str, is: impl Fn(&Value) -> bool) -> Value {
    let path = format!("/accounts/alice/messages/{id}");
    eventually("the message as it should be", || {
        let answer = world.api(server, "GET", &path, None);
        let message = (answer.status == 200).then(|| answer.json()["message"].clone());
        message.filter(&is)
    })
}

#[test]
fn pins_and_keeps_go_both_ways() {
    let world = World::new();
    world.walks(&[
        "POST /accounts/:id/message/pin",
        "POST /accounts/:id/message/unpin",
        "POST /accounts/:id/message/keep",
    ]);
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let receiver = Receiver::start();
    let hook = json!({"url": receiver.url(), "events": ["message.marked"]});
    world.post(&server, "/webhooks", &hook).expect(201);
    let theirs = bob.say(ALICE, "theirs");
    until(&world, &server, &theirs, |_| true);

    let act = |what: &str, body: Value, status: u16| {
        let path = format!("/accounts/alice/message/{what}");
        world.post(&server, &path, &body).expect(status)
    };
    let of = json!({"chatId": BOB, "messageId": theirs});
    let mut pin = of.clone();
    pin["duration"] = json!(30);
    assert_eq!(act("pin", pin.clone(), 200)["message"], "Message pinned");
    let shown = stored(&world, &server, &theirs);
    let length = shown["pinnedUntil"].as_u64().expect("a time") / 1_000;
    let sent = shown["timestamp"].as_u64().expect("a time") / 1_000;
    assert!(
        (30 * 86_400..30 * 86_400 + 60).contains(&(length - sent)),
        "{shown}"
    );
    act("unpin", of.clone(), 200);
    act("keep", of.clone(), 200);
    assert_eq!(stored(&world, &server, &theirs)["kept"], true);
    let mut undo = of.clone();
    undo["keep"] = json!(false);
    act("keep", undo, 200);
    let got = bob.received(4);
    let marks: Vec<_> = got.iter().map(|m| (&m["type"], &m["mark"])).collect();
    let expected = [("pin", 30 * 86_400), ("pin", 0), ("keep", 1), ("keep", 0)];
    let expected = expected.map(|(kind, mark)| (json!(kind), json!(mark)));
    assert_eq!(
        marks,
        expected.iter().map(|(a, b)| (a, b)).collect::<Vec<_>>()
    );
    assert!(
        got.iter().all(|m| m["markOf"] == theirs.as_str()),
        "{got:?}"
    );
    for _ in 0..4 {
        assert_eq!(receiver.next().body["messageId"], theirs.as_str());
    }

    // What others do is a change of the message, not a message.
    bob.send(&json!({"to": ALICE, "pin": {"messageId": theirs, "seconds": 86_400}}));
    until(&world, &server, &theirs, |m| m["pinnedUntil"].is_u64());
    assert_eq!(receiver.next().body["sender"], bob.jid());
    bob.send(&json!({"to": ALICE, "keep": {"messageId": theirs, "keep": true}}));
    until(&world, &server, &theirs, |m| m["kept"] == true);
    bob.send(&json!({"to": ALICE, "pin": {"messageId": theirs, "seconds": 0}}));
    until(&world, &server, &theirs, |m| m["pinnedUntil"].is_null());
    let chat = world.get(&server, "/accounts/alice/chats")["chats"][0].clone();
    assert_eq!(
        (&chat["messageCount"], &chat["unreadCount"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(chat["lastMessage"]["text"], "theirs");

    pin["duration"] = json!(2);
    let refused = act("pin", pin, 400);
    assert_eq!(refused["error"], "\"duration\" must be 1, 7 or 30 (days)");
    for what in ["unpin", "keep"] {
        let words = "chatId and messageId are required";
        assert_eq!(act(what, json!({"chatId": BOB}), 400)["error"], words);
    }
}

#[test]
fn stars_and_deletions_for_the_owner_go_both_ways() {
    let world = World::new();
    world.walks(&[
        "POST /accounts/:id/message/star",
        "POST /accounts/:id/message/unstar",
        "POST /accounts/:id/message/delete",
    ]);
    let server = world.server();
    let alice = world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let receiver = Receiver::start();
    let events = ["message.marked", "message.deleted"];
    let hook = json!({"url": receiver.url(), "events": events});
    world.post(&server, "/webhooks", &hook).expect(201);
    let image = picture(&world, &server, "a garden");
    let theirs = bob.say(ALICE, "theirs");
    let other = bob.say(ALICE, "another");
    until(&world, &server, &other, |_| true);
    for (path, mut body) in [
        ("star", json!({"chatId": BOB, "messageId": other})),
        (
            "delete",
            json!({"chatId": BOB, "messageId": other, "forMe": true}),
        ),
    ] {
        body["sendAt"] = json!(4_000_000_000_000_u64);
        let path = format!("/accounts/alice/message/{path}?sendAt=2096-10-02T07:06:40Z");
        world.post(&server, &path, &body).expect(400);
    }

    let act = |what: &str, id: &str, status: u16| {
        let body = json!({"chatId": BOB, "messageId": id, "forMe": true});
        let path = format!("/accounts/alice/message/{what}");
        world.post(&server, &path, &body).expect(status)
    };
    assert_eq!(act("star", &theirs, 200)["message"], "Message starred");
    assert_eq!(stored(&world, &server, &theirs)["starred"], true);
    assert_eq!(receiver.next().body["starred"], true);
    act("unstar", &theirs, 200);
    assert_eq!(stored(&world, &server, &theirs)["starred"], Value::Null);
    receiver.next();
    let file = stored(&world, &server, &image)["mediaUrl"].clone();
    act("delete", &image, 200);
    let event = receiver.next().body;
    assert_eq!(
        (&event["event"], &event["forMe"]),
        (&json!("message.deleted"), &json!(true))
    );
    act("delete", &image, 404);
    let file = file.as_str().expect("a URL");
    assert_eq!(world.api(&server, "GET", file, None).status, 404);
    // The phone has heard it all; Bob has the picture, and nothing of it.
    let heard = alice.state()["appState"].clone();
    let heard: Vec<_> = heard.as_array().expect("changes").iter().collect();
    let words = |n: usize| {
        (
            heard[n]["index"][0].clone(),
            heard[n]["index"][2].clone(),
            heard[n]["on"].clone(),
        )
    };
    let end = heard.len();
    assert_eq!(words(end - 3), (json!("star"), json!(theirs), json!(true)));
    assert_eq!(words(end - 2), (json!("star"), json!(theirs), json!(false)));
    assert_eq!(
        words(end - 1),
        (json!("deleteMessageForMe"), json!(image), json!(true))
    );
    assert_eq!(bob.all_received().len(), 1);

    // On the phone.
    alice.post("star", &json!({"chat": BOB, "messageId": other}));
    until(&world, &server, &other, |m| m["starred"] == true);
    assert_eq!(receiver.next().body["messageId"], other.as_str());
    alice.post("delete-for-me", &json!({"chat": BOB, "messageId": theirs}));
    let event = receiver.next().body;
    assert_eq!(
        (&event["messageId"], &event["forMe"]),
        (&json!(theirs), &json!(true))
    );
    let path = format!("/accounts/alice/chats/{BOB}/messages");
    assert_eq!(world.get(&server, &path)["pagination"]["total"], 1);

    let words = "chatId and messageId are required";
    for what in ["star", "unstar"] {
        let path = format!("/accounts/alice/message/{what}");
        let answer = world.post(&server, &path, &json!({"chatId": BOB}));
        assert_eq!(answer.expect(400)["error"], words);
    }
}

#[test]
fn admins_delete_what_others_wrote_and_others_do_not() {
    let world = World::new();
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    let (bob, zoe) = (world.phone(BOB, "Bob"), world.phone("491700000003", "Zoe"));
    let group = |by: &str| {
        let members = json!({"subject": "Team", "members": [by, ALICE, BOB, zoe.number], "addressing": "lid"});
        let made = world
            .admin("POST", "/groups", Some(&members))
            .expect_success();
        made["jid"].as_str().expect("a JID").to_owned()
    };
    let delete = |chat: &str, id: &str, status: u16| {
        let body = json!({"chatId": chat, "messageId": id});
        let path = "/accounts/alice/message/delete";
        world.post(&server, path, &body).expect(status)
    };
    // Alice is the admin.
    let hers = group(ALICE);
    let rude = bob.say(&hers, "rude");
    until(&world, &server, &rude, |_| true);
    delete(&hers, &rude, 200);
    assert_eq!(stored(&world, &server, &rude)["deleted"], true);
    let got = zoe.received(2).remove(1);
    assert_eq!(
        (&got["deleteOf"], &got["ignored"]),
        (&json!(rude), &Value::Null),
        "{got}"
    );
    // Bob is.
    let his = group(BOB);
    let nice = zoe.say(&his, "nice");
    until(&world, &server, &nice, |_| true);
    delete(&his, &nice, 400);
    assert_eq!(stored(&world, &server, &nice)["deleted"], false);
    bob.send(&json!({"to": his, "delete": {"messageId": nice}}));
    until(&world, &server, &nice, |m| m["deleted"] == true);
}

#[test]
fn groups_that_go_by_lids_get_lids_in_the_list_the_text_and_the_quote() {
    let world = World::new();
    let server = world.server();
    let alice = world.pair(&server, "alice", ALICE);
    let (bob, zoe) = (world.phone(BOB, "Bob"), world.phone("491700000003", "Zoe"));
    let members =
        json!({"subject": "Team", "members": [ALICE, BOB, zoe.number], "addressing": "lid"});
    let made = world
        .admin("POST", "/groups", Some(&members))
        .expect_success();
    let team = made["jid"].as_str().expect("a JID").to_owned();
    let path = format!("/groups/{}", team.replace('@', "%40"));
    let group = world.admin("GET", &path, None).expect(200);
    let lid = |number: &str| {
        let members = group["members"].as_array().expect("members");
        let found = members.iter().find(|member| member["number"] == number);
        found.expect("a member")["lid"]
            .as_str()
            .expect("a LID")
            .to_owned()
    };
    let digits = |jid: &str| jid.split('@').next().expect("digits").to_owned();

    // A text that comes in names people as its list of mentions does.
    let words = format!("hello @{}", digits(&lid(&zoe.number)));
    let body = json!({"to": team, "text": words, "mentions": [lid(&zoe.number)]});
    let theirs = bob.send(&body);
    zoe.say(&team, "here");
    let got = until(&world, &server, &theirs, |m| m["mentions"][0] == zoe.jid());
    assert_eq!(got["text"], format!("hello @{}", zoe.number));
    // So does an edit, which names other people, and what is found by it.
    let words = format!("goodbye @{}", digits(&lid(ALICE)));
    let edit = json!({"messageId": theirs, "text": words});
    bob.send(&json!({"to": team, "edit": edit, "mentions": [lid(ALICE)]}));
    let got = until(&world, &server, &theirs, |m| m["edited"] == true);
    assert_eq!(got["text"], format!("goodbye @{ALICE}"));
    assert_eq!(got["mentions"], json!([alice.jid()]));
    let found = world.get(&server, &format!("/accounts/alice/messages?q={ALICE}"));
    assert_eq!(found["messages"][0]["messageId"], theirs.as_str());

    let own = json!({"to": team, "message": "mine"});
    let own = id_of(&world.post(&server, SEND, &own).expect(200));
    let words = format!("@{} and @{BOB}1", BOB);
    for quoted in [&theirs, &own] {
        let body =
            json!({"to": team, "message": words, "mentions": [BOB], "quotedMessageId": quoted});
        let sent = id_of(&world.post(&server, SEND, &body).expect(200));
        let got = eventually("alice's message", || {
            zoe.all_received()
                .into_iter()
                .find(|m| m["messageId"] == sent.as_str())
        });
        assert_eq!(got["mentions"], json!([lid(BOB)]));
        assert_eq!(got["text"], format!("@{} and @{BOB}1", digits(&lid(BOB))));
        let author = if quoted == &own { ALICE } else { BOB };
        assert_eq!(got["quoted"]["participant"], lid(author), "{got}");
        let shown = stored(&world, &server, &sent);
        assert_eq!(
            (&shown["text"], &shown["mentions"]),
            (&json!(words), &json!([bob.jid()]))
        );
    }
    let all = json!({"to": team, "message": "all of you", "mentionAll": true});
    let sent = id_of(&world.post(&server, SEND, &all).expect(200));
    let got = eventually("the mention of all", || {
        zoe.all_received()
            .into_iter()
            .find(|m| m["messageId"] == sent.as_str())
    });
    let mut mentioned: Vec<_> = got["mentions"].as_array().expect("mentions").clone();
    mentioned.sort_by_key(Value::to_string);
    let mut expected = [json!(lid(BOB)), json!(lid(&zoe.number))];
    expected.sort_by_key(Value::to_string);
    assert_eq!(mentioned, expected);
    let alone = json!({"to": BOB, "message": "x", "mentionAll": true});
    world.post(&server, SEND, &alone).expect(400);
    assert_eq!(alice.number, ALICE);
}
