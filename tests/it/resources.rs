//! One walk for each resource: every endpoint with good and with bad input.

use serde_json::{Value, json};

use crate::support::{Form, Server, World};

const ALICE: &str = "491700000001";
const BOB: &str = "491700000002";

fn error(world: &World, server: &Server, method: &str, path: &str, status: u16) -> String {
    let answer = world.api(server, method, path, None).expect(status);
    assert_eq!(answer["ok"], false);
    answer["error"].as_str().expect("words").to_owned()
}

#[test]
fn health() {
    let world = World::new();
    world.walks(&["GET /ping"]);
    let server = world.server();
    let pong = world.get(&server, "/ping");
    assert_eq!((&pong["ok"], &pong["pong"]), (&json!(true), &json!(true)));
    assert!(pong["time"].as_str().is_some_and(|t| t.ends_with('Z')));
    let wrong = world.api(&server, "POST", "/ping", Some(&json!({})));
    assert_eq!(wrong.header("allow"), Some("GET, HEAD"));
    wrong.expect(405);
    assert_eq!(error(&world, &server, "GET", "/pong", 404), "Not found");
}

#[test]
fn accounts() {
    let world = World::new();
    world.walks(&[
        "POST /accounts",
        "GET /accounts",
        "GET /accounts/:id",
        "DELETE /accounts/:id",
    ]);
    let server = world.server();
    assert_eq!(world.get(&server, "/accounts")["accounts"], json!([]));
    for (body, words) in [
        (json!({}), "id is required"),
        (json!({"id": ""}), "id is required"),
    ] {
        let answer = world.post(&server, "/accounts", &body).expect(400);
        assert_eq!(answer["error"], words);
    }
    for bad in [
        json!({"id": "a b"}),
        json!({"id": "x".repeat(65)}),
        json!({"id": 5}),
    ] {
        world.post(&server, "/accounts", &bad).expect(400);
    }
    let body = json!({"id": "alice", "name": "Alice", "collectionName": "c"});
    let made = world.post(&server, "/accounts", &body).expect(201);
    assert_eq!(made["account"], made["data"]["account"], "in both forms");
    assert_eq!(made["account"]["status"], "connecting");
    let again = world.post(&server, "/accounts", &body).expect(400);
    assert_eq!(again["error"], "Account already exists");
    world
        .post(&server, "/accounts", &json!({"id": "bob"}))
        .expect(201);
    let listed = world.get(&server, "/accounts")["accounts"].clone();
    let ids: Vec<&str> = listed
        .as_array()
        .expect("a list")
        .iter()
        .map(|account| account["_id"].as_str().expect("an id"))
        .collect();
    assert_eq!(ids, ["alice", "bob"]);
    let one = world.get(&server, "/accounts/alice")["account"].clone();
    assert_eq!(
        (&one["name"], &one["collectionName"]),
        (&json!("Alice"), &json!("c"))
    );
    assert_eq!(
        world.get(&server, "/accounts/bob")["account"]["collectionName"],
        "auth_bob"
    );
    assert_eq!(
        error(&world, &server, "GET", "/accounts/nobody", 404),
        "Account not found"
    );
    let gone = world
        .api(&server, "DELETE", "/accounts/bob", None)
        .expect(200);
    assert_eq!(gone["message"], "Account bob deleted");
    error(&world, &server, "DELETE", "/accounts/bob", 404);
    error(&world, &server, "GET", "/accounts/bob", 404);
}

#[test]
fn connection() {
    let world = World::new();
    world.walks(&[
        "GET /accounts/:id/status",
        "POST /accounts/:id/connect",
        "POST /accounts/:id/disconnect",
    ]);
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    let status = world.get(&server, "/accounts/alice/status");
    assert_eq!(status["accountId"], "alice");
    assert_eq!(
        (&status["status"], &status["hasQR"]),
        (&json!("connected"), &json!(false))
    );
    assert_eq!(
        (&status["qr"], &status["lastError"]),
        (&Value::Null, &Value::Null)
    );
    let again = world
        .post(&server, "/accounts/alice/connect", &json!({}))
        .expect(200);
    assert_eq!(again["message"], "Attempting to connect alice");
    assert_eq!(again["status"], "connected");
    let off = world
        .post(&server, "/accounts/alice/disconnect", &json!({}))
        .expect(200);
    assert_eq!(off["message"], "Account alice disconnected");
    let status = world.get(&server, "/accounts/alice/status");
    assert_eq!(status["status"], "disconnected");
    let mark = server.log_mark();
    world
        .post(&server, "/accounts/alice/connect", &json!({}))
        .expect(200);
    server.wait_log_from(mark, "alice: connected");
    for (method, what) in [
        ("GET", "status"),
        ("POST", "connect"),
        ("POST", "disconnect"),
    ] {
        let path = format!("/accounts/nobody/{what}");
        assert_eq!(
            error(&world, &server, method, &path, 404),
            "Account not found"
        );
    }
}

#[test]
fn chats_and_messages() {
    let world = World::new();
    world.walks(&[
        "GET /accounts/:id/chats",
        "GET /accounts/:id/chats/:chatId/messages",
        "GET /accounts/:id/messages/:messageId",
        "GET /messages",
    ]);
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let mut ids = Vec::new();
    for text in ["one", "two", "three"] {
        let body = json!({"to": BOB, "message": text});
        let sent = world
            .post(&server, "/accounts/alice/message/send", &body)
            .expect(200);
        ids.push(sent["messageId"].as_str().expect("an id").to_owned());
    }
    assert_eq!(bob.received(3).len(), 3);
    let chats = world.get(&server, "/accounts/alice/chats?limit=1");
    assert_eq!(chats["chats"][0]["chatId"], bob.jid());
    assert_eq!(chats["chats"][0]["messageCount"], 3);
    assert_eq!(chats["chats"][0]["lastMessage"]["text"], "three");
    assert_eq!(chats["pagination"]["total"], 1);
    assert_eq!(
        world.get(&server, "/accounts/alice/chats?skip=1")["chats"],
        json!([])
    );
    let texts = |path: &str| -> Vec<String> {
        let page = world.get(&server, path);
        let messages = page["messages"].as_array().expect("messages").clone();
        messages
            .iter()
            .map(|m| m["text"].as_str().expect("a text").to_owned())
            .collect()
    };
    let encoded = bob.jid().replace('@', "%40");
    for chat in [BOB, bob.jid().as_str(), encoded.as_str()] {
        let path = format!("/accounts/alice/chats/{chat}/messages");
        assert_eq!(texts(&path), ["three", "two", "one"], "{chat}");
    }
    let path = format!("/accounts/alice/chats/{BOB}/messages");
    assert_eq!(texts(&format!("{path}?limit=1&offset=1")), ["two"]);
    assert_eq!(texts(&format!("{path}?limit=1&skip=2")), ["one"]);
    assert!(texts(&format!("{path}?before=1000")).is_empty());
    assert_eq!(texts(&format!("{path}?after=1000")).len(), 3);
    let page = world.get(&server, &format!("{path}?limit=2"));
    let next = page["pagination"]["next"].as_str().expect("where to go on");
    assert_eq!(
        page["pagination"],
        json!({"total": 3, "limit": 2, "offset": 0, "hasMore": true, "next": next})
    );
    assert_eq!(texts(&format!("{path}?cursor={next}")), ["one"]);
    for bad in ["?limit=x", "?skip=-1", "?before=soon"] {
        world
            .api(&server, "GET", &format!("{path}{bad}"), None)
            .expect(400);
    }
    world
        .api(
            &server,
            "GET",
            "/accounts/alice/chats/nobody/messages",
            None,
        )
        .expect(400);
    let stranger = "/accounts/alice/chats/491799999999/messages";
    assert!(texts(stranger).is_empty());

    let one = world.get(&server, &format!("/accounts/alice/messages/{}", ids[1]));
    assert_eq!(one["message"]["text"], "two");
    assert_eq!(
        error(&world, &server, "GET", "/accounts/alice/messages/NONE", 404),
        "Message not found"
    );
    assert_eq!(texts("/messages?limit=2"), ["three", "two"]);
    assert_eq!(texts("/messages?accountId=alice").len(), 3);
    error(&world, &server, "GET", "/messages?accountId=nobody", 404);
    for path in [
        "chats",
        "chats/1234567/messages",
        "messages/x",
        "messages/x/media",
    ] {
        let path = format!("/accounts/nobody/{path}");
        assert_eq!(
            error(&world, &server, "GET", &path, 404),
            "Account not found"
        );
    }
}

fn fixture(name: &str) -> Vec<u8> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/media/");
    std::fs::read(format!("{path}{name}")).unwrap_or_else(|e| panic!("{name}: {e}"))
}

#[test]
fn files_of_each_kind() {
    let world = World::new();
    world.walks(&[
        "POST /accounts/:id/message/send/image",
        "POST /accounts/:id/message/send/video",
        "POST /accounts/:id/message/send/audio",
    ]);
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let send = |what: &str, form: Form| {
        let (kind, body) = form.build();
        let url = format!("{}/accounts/alice/message/send/{what}", server.base());
        world.http().send("POST", &url, &kind, Some(body))
    };
    let to = || Form::new().field("to", BOB);
    let mut count = 0;
    let mut next = || {
        count += 1;
        let got = bob.received(count)[count - 1].clone();
        assert_eq!(got["media"]["error"], Value::Null, "{got}");
        got
    };

    send(
        "image",
        to().field("caption", "c")
            .file("image", "x.txt", "a/b", &fixture("photo.jpg")),
    )
    .expect(200);
    let got = next();
    assert_eq!((&got["type"], &got["text"]), (&json!("image"), &json!("c")));
    assert_eq!(got["media"]["mimetype"], "image/jpeg");
    assert_eq!(got["media"]["thumbnail"], true, "{got}");
    assert_eq!(
        (&got["media"]["width"], &got["media"]["height"]),
        (&json!(900), &json!(600))
    );

    send(
        "video",
        to().field("gifPlayback", "true")
            .file("video", "a.mp4", "video/mp4", &fixture("film.mp4")),
    )
    .expect(200);
    let got = next();
    assert_eq!(got["type"], "video");
    assert_eq!(got["media"]["animated"], true);
    assert_eq!(
        (&got["media"]["width"], &got["media"]["height"]),
        (&json!(64), &json!(48))
    );

    send(
        "audio",
        to().field("ptt", "true")
            .file("audio", "a.mp3", "audio/mpeg", &fixture("tone.mp3")),
    )
    .expect(200);
    let got = next();
    assert_eq!(got["media"]["mimetype"], "audio/ogg; codecs=opus");
    assert_eq!(
        (&got["media"]["ptt"], &got["media"]["waveform"]),
        (&json!(true), &json!(true))
    );
    let ogg = fixture("tone.opus");
    send("audio", to().file("audio", "a.ogg", "audio/ogg", &ogg)).expect(200);
    let got = next();
    assert_eq!(
        got["media"]["sha256"],
        crate::media_out::sha256(&ogg),
        "untouched"
    );

    send(
        "sticker",
        to().file("sticker", "a.webp", "image/webp", &fixture("small.webp")),
    )
    .expect(200);
    assert_eq!(next()["type"], "sticker");

    for (what, file) in [
        ("image", fixture("tone.mp3")),
        ("video", fixture("photo.jpg")),
        ("audio", fixture("photo.jpg")),
        ("sticker", fixture("film.mp4")),
    ] {
        let field = what;
        let answer = send(what, to().file(field, "a", "x/y", &file)).expect(400);
        let words = answer["error"].as_str().expect("words");
        assert!(words.contains("not"), "{what}: {words}");
        let answer = send(what, to()).expect(400);
        assert_eq!(answer["error"], format!("{what} file is required"));
    }
}
