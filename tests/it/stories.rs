//! Stories: those of contacts, which are no chat, and own ones, which go to an audience.

use std::time::Duration;

use serde_json::{Value, json};

use crate::media_in::base64;
use crate::support::{Receiver, Server, Time, World, eventually};

const ALICE: &str = "491700000001";
const BOB: &str = "491700000002";
const ZOE: &str = "491700000003";
const STORIES: &str = "status@broadcast";
const POST: &str = "/accounts/alice/message/send/status";
const LIST: &str = "/accounts/alice/stories";
const PHOTO: &[u8] = include_bytes!("../fixtures/media/photo.jpg");

fn hook(world: &World, server: &Server, settings: &Value) -> Receiver {
    let receiver = Receiver::start();
    let mut hook = settings.clone();
    hook["url"] = receiver.url().into();
    world.post(server, "/webhooks", &hook).expect(201);
    receiver
}

fn listed(world: &World, server: &Server) -> Vec<Value> {
    let page = world.get(server, LIST);
    page["messages"].as_array().expect("messages").clone()
}

fn error(world: &World, server: &Server, path: &str, body: &Value) -> String {
    let refused = world.post(server, path, body).expect(400);
    refused["error"].as_str().expect("words").to_owned()
}

#[test]
fn stories_of_contacts_are_listed_for_a_day_and_are_no_chat() {
    let world = World::new();
    world.walks(&["GET /accounts/:id/stories"]);
    let mut options = world.options();
    let time = Time::of(&mut options);
    let server = options.start();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let all = json!({"events": ["message.any", "status", "message.deleted",
        "message.undecryptable", "message.reaction"]});
    let receiver = hook(&world, &server, &all);
    let deaf = hook(
        &world,
        &server,
        &json!({"events": ["status", "message"], "ignore": ["status"]}),
    );

    let text = bob.send(
        &json!({"to": STORIES, "recipients": [ALICE], "text": "sunny today",
        "background": 0xFF00_80FFu32}),
    );
    let event = receiver.next().body;
    assert_eq!(event["event"], "status", "{event}");
    assert_eq!(
        (&event["messageId"], &event["chatId"], &event["sender"]),
        (&json!(text), &json!(STORIES), &json!(bob.jid()))
    );
    assert_eq!(event["story"]["background"], "#0080FF");
    let image = bob.send(&json!({"to": STORIES, "recipients": [ALICE],
        "image": {"base64": base64(PHOTO), "caption": "the beach"}}));
    assert_eq!(receiver.next().body["messageId"], image);
    let stories = listed(&world, &server);
    let shown: Vec<_> = stories
        .iter()
        .map(|it| (&it["type"], &it["text"]))
        .collect();
    assert_eq!(
        shown,
        [
            (&json!("image"), &json!("the beach")),
            (&json!("text"), &json!("sunny today"))
        ]
    );
    let page = world.get(&server, &format!("{LIST}?limit=1&offset=1"));
    assert_eq!(page["messages"][0]["messageId"], text);
    world
        .api(&server, "GET", "/accounts/zoe/stories", None)
        .expect(404);

    // No chat, nothing unread, nothing found, no file fetched.
    assert_eq!(
        world.get(&server, "/accounts/alice/chats")["chats"],
        json!([])
    );
    assert_eq!(world.get(&server, "/messages")["messages"], json!([]));
    let found = world.get(&server, "/accounts/alice/messages?q=beach");
    assert_eq!(found["messages"], json!([]));
    assert_eq!(world.get(&server, "/media")["media"], json!([]));
    let file = stories[0]["mediaUrl"].as_str().expect("a path");
    let fetched = world.api(&server, "GET", file, None);
    assert_eq!((fetched.status, fetched.bytes.as_slice()), (200, PHOTO));
    let media = world.get(&server, "/media");
    assert_eq!(media["media"].as_array().map(Vec::len), Some(1));

    // Answers and reactions.
    let reply = json!({"to": BOB, "message": "how warm?", "quotedMessageId": text});
    world
        .post(&server, "/accounts/alice/message/reply", &reply)
        .expect(200);
    let got = bob.received(1).remove(0);
    assert_eq!(
        (&got["quotedId"], &got["text"]),
        (&json!(text), &json!("how warm?"))
    );
    let quoted = json!({"type": "text", "text": "sunny today", "remoteJid": STORIES});
    for (field, value) in quoted.as_object().expect("fields") {
        assert_eq!(&got["quoted"][field], value, "{got}");
    }
    let like = json!({"chatId": STORIES, "messageId": image, "emoji": "❤️"});
    world
        .post(&server, "/accounts/alice/message/react", &like)
        .expect(200);
    let got = bob.received(2).remove(1);
    assert_eq!(
        (&got["reactionTo"], &got["text"]),
        (&json!(image), &json!("❤️"))
    );
    assert_eq!(receiver.next().body["event"], "message.reaction");
    let foreign = json!({"to": STORIES, "messageId": image});
    world
        .post(&server, "/accounts/alice/message/delete", &foreign)
        .expect(400);

    bob.send(&json!({"to": STORIES, "recipients": [ALICE], "delete": {"messageId": text}}));
    let event = receiver.next().body;
    assert_eq!(
        (&event["event"], &event["messageId"], &event["deleted"]),
        (&json!("status"), &json!(text), &json!(true))
    );
    // What is told to a hook that ignores them came before this.
    bob.say(ALICE, "hello");
    assert_eq!(deaf.next().body["text"], "hello");

    time.passes(Duration::from_secs(86_400 + 120));
    eventually("the stories and the file to go", || {
        let files = world.get(&server, "/media")["media"].clone();
        (listed(&world, &server).is_empty() && files == json!([])).then_some(())
    });
    let kept = world.get(&server, "/accounts/alice/chats");
    assert_eq!(kept["chats"][0]["unreadCount"], 1, "{kept}");
}

#[test]
fn own_stories_go_to_all_contacts_or_to_those_who_are_named() {
    let world = World::new();
    world.walks(&["POST /accounts/:id/message/send/status"]);
    let server = world.server();
    let alice = world.pair(&server, "alice", ALICE);
    let (bob, zoe) = (world.phone(BOB, "Bob"), world.phone(ZOE, "Zoe"));
    let words = error(&world, &server, POST, &json!({"message": "to whom?"}));
    assert!(words.contains("recipients"), "{words}");
    alice.post(
        "contacts",
        &json!({"contacts": [{"number": BOB, "name": "Bob B."}, {"number": ZOE, "name": "Zoe Z."}]}),
    );
    let post = |body: &Value| {
        eventually("a story that is taken", || {
            let answer = world.post(&server, POST, body);
            (answer.status != 400).then(|| answer.expect(200)["messageId"].clone())
        })
    };

    let id = post(&json!({"message": "open today", "background": "#102030", "font": 9}));
    for phone in [&bob, &zoe, &alice] {
        let got = phone.received(1).remove(0);
        assert_eq!(
            (&got["messageId"], &got["chat"], &got["text"]),
            (&id, &json!(STORIES), &json!("open today"))
        );
        assert_eq!(
            (&got["background"], &got["font"]),
            (&json!(0xFF10_2030u32), &json!(9))
        );
    }
    let receiver = hook(
        &world,
        &server,
        &json!({"events": ["message.status", "message.reaction", "message"]}),
    );
    bob.post("read", &json!({"chat": STORIES}));
    let seen = eventually("the receipt", || {
        let event = receiver.next().body;
        (event["status"] == "read").then_some(event)
    });
    assert_eq!(
        (&seen["messageId"], &seen["participant"]),
        (&id, &json!(bob.jid()))
    );
    bob.send(&json!({"to": STORIES, "react": {"messageId": id, "emoji": "👍"}}));
    let event = eventually("the reaction", || {
        let event = receiver.next().body;
        (event["event"] == "message.reaction").then_some(event)
    });
    assert_eq!(
        (&event["messageId"], &event["sender"]),
        (&id, &json!(bob.jid()))
    );
    bob.send(&json!({"to": ALICE, "text": "until when?", "replyTo": id}));
    let event = eventually("the answer", || {
        let event = receiver.next().body;
        (event["event"] == "message").then_some(event)
    });
    assert_eq!(
        (
            &event["quotedMessage"]["chatId"],
            &event["quotedMessage"]["text"]
        ),
        (&json!(STORIES), &json!("open today"))
    );

    // Only for one, and as files; sound is always a voice note.
    let named = json!({"base64": base64(PHOTO), "caption": "for you", "recipients": [BOB]});
    let photo = post(&named);
    let got = bob.received(2).remove(1);
    assert_eq!(
        (&got["type"], &got["text"]),
        (&json!("image"), &json!("for you"))
    );
    let sound = include_bytes!("../fixtures/media/tone.mp3");
    let voice = json!({"to": STORIES, "base64": base64(sound)});
    world
        .post(&server, "/accounts/alice/message/send/audio", &voice)
        .expect(200);
    let text = json!({"to": STORIES, "message": "plain"});
    world
        .post(&server, "/accounts/alice/message/send", &text)
        .expect(200);
    let got = zoe.received(3);
    let kinds: Vec<_> = got.iter().map(|it| (&it["type"], &it["error"])).collect();
    let fine = Value::Null;
    let (text, audio) = (json!("text"), json!("audio"));
    assert_eq!(kinds, [(&text, &fine), (&audio, &fine), (&text, &fine)]);
    let own = listed(&world, &server);
    assert_eq!(own.len(), 4);
    assert_eq!(own[2]["messageId"], photo);
    assert_eq!(own[2]["story"]["recipients"], json!([bob.jid()]));

    // A phone that lost its keys asks again; a deletion reaches the same people.
    bob.post("lose-sessions", &json!({}));
    let again = post(&json!({"message": "once more"}));
    assert_eq!(bob.received(5)[4]["messageId"], again);
    let delete = json!({"to": STORIES, "messageId": photo});
    world
        .post(&server, "/accounts/alice/message/delete", &delete)
        .expect(200);
    assert_eq!(bob.received(6)[5]["deleteOf"], photo);
    let zoes = zoe.received(4);
    assert!(zoes.iter().all(|it| it["deleteOf"].is_null()), "{zoes:?}");

    for (path, body, field) in [
        (POST, json!({}), "message"),
        (
            POST,
            json!({"message": "x", "recipients": []}),
            "recipients",
        ),
        (
            POST,
            json!({"message": "x", "recipients": ["1@g.us"]}),
            "recipients",
        ),
        (
            POST,
            json!({"message": "x", "background": "red"}),
            "background",
        ),
        (POST, json!({"message": "x", "font": 5}), "font"),
        (POST, json!({"message": "x", "caption": "y"}), "caption"),
        (
            POST,
            json!({"message": "x", "base64": base64(PHOTO)}),
            "message",
        ),
        (POST, json!({"base64": base64(b"just words")}), "file"),
        (
            "/accounts/alice/message/send/document",
            json!({"to": STORIES, "base64": base64(PHOTO)}),
            "A story is",
        ),
        (
            "/accounts/alice/message/send",
            json!({"to": STORIES, "message": "x", "quotedMessageId": id}),
            "answers",
        ),
        (
            "/accounts/alice/message/edit",
            json!({"to": STORIES, "messageId": again, "message": "y"}),
            "own ones deleted",
        ),
    ] {
        let words = error(&world, &server, path, &body);
        assert!(words.contains(field), "{body}: {words}");
    }
}

#[test]
fn a_story_waits_over_a_kill_and_is_posted_once() {
    let world = World::new();
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    world
        .post(&server, "/accounts/alice/disconnect", &json!({}))
        .expect(200);
    let body = json!({"message": "later", "recipients": [BOB], "queue": true});
    let send = || world.post_once(&server, POST, "key-1", &body).expect(202);
    let waits = send();
    assert_eq!(send()["messageId"], waits["messageId"]);
    let outbox = world.get(&server, "/accounts/alice/outbox");
    assert_eq!(
        (&outbox["count"], &outbox["messages"][0]["chatId"]),
        (&json!(1), &json!(STORIES))
    );
    server.kill();
    let server = world.server();
    world
        .post(&server, "/accounts/alice/connect", &json!({}))
        .expect(200);
    let got = bob.received(1).remove(0);
    assert_eq!(
        (&got["messageId"], &got["text"]),
        (&waits["messageId"], &json!("later"))
    );
    let again = world.post_once(&server, POST, "key-1", &body);
    assert_eq!(again.json()["messageId"], waits["messageId"]);
    bob.say(ALICE, "seen");
    eventually("the answer", || {
        let chats = world.get(&server, "/accounts/alice/chats");
        (chats["chats"][0]["lastMessage"]["text"] == "seen").then_some(())
    });
    assert_eq!(bob.all_received().len(), 1);
}
