//! Albums, both ways, and the pages of documents.

use serde_json::{Value, json};

use crate::media_in::base64;
use crate::media_out::noise;
use crate::support::{Form, Phone, Server, World, eventually};

const ALICE: &str = "491700000001";
const BOB: &str = "491700000002";

#[test]
fn the_parts_of_an_album_are_messages_and_its_head_is_none() {
    let world = World::new();
    let server = world.server();
    let alice = world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let file = base64(&noise(500));
    let message = |id: &str| {
        let path = format!("/accounts/alice/messages/{id}");
        eventually("the message", || {
            let answer = world.api(&server, "GET", &path, None);
            (answer.status == 200).then(|| answer.json()["message"].clone())
        })
    };
    for (sender, to, from_me) in [(&bob, ALICE, false), (&alice, BOB, true)] {
        let head = sender.send(&json!({"to": to, "album": {"images": 1, "videos": 1}}));
        let image = json!({"to": to, "image": {"base64": file, "caption": "c"}, "albumOf": head});
        let video = json!({"to": to, "video": {"base64": file}, "albumOf": head});
        let parts = [sender.send(&image), sender.send(&video)];
        for (part, kind) in parts.iter().zip(["image", "video"]) {
            let got = message(part);
            assert_eq!(
                (&got["type"], &got["albumId"]),
                (&json!(kind), &json!(head))
            );
            assert_eq!(got["fromMe"], from_me);
        }
        let path = format!("/accounts/alice/messages/{head}");
        assert_eq!(world.api(&server, "GET", &path, None).status, 404);
    }
    let chats = world.get(&server, "/accounts/alice/chats");
    let chat = &chats["chats"][0];
    assert_eq!(
        (&chat["messageCount"], &chat["lastMessage"]["type"]),
        (&json!(4), &json!("video"))
    );
    assert_eq!(
        bob.received(3)[0]["album"],
        json!({"images": 1, "videos": 1})
    );
}

#[test]
fn a_pdf_shows_its_number_of_pages() {
    let world = World::new();
    let server = world.server();
    let alice = world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let pdf = b"%PDF-1.4\n1 0 obj <</Type /Pages /Kids [] /Count 12>> endobj\n";
    for (file, pages) in [(&pdf[..], json!(12)), (b"%PDF-1.4\n", Value::Null)] {
        let body = json!({"to": BOB, "base64": base64(file), "fileName": "a.pdf"});
        let path = "/accounts/alice/message/send/document";
        let id = world.post(&server, path, &body).expect(200)["messageId"].clone();
        let own = format!("/accounts/alice/messages/{}", id.as_str().expect("an id"));
        assert_eq!(world.get(&server, &own)["message"]["pageCount"], pages);
    }
    let got = bob.received(2);
    assert_eq!(got[0]["media"]["pageCount"], 12, "{}", got[0]);
    assert_eq!(got[1]["media"]["pageCount"], Value::Null);
    let id =
        bob.send(&json!({"to": alice.jid(), "document": {"base64": base64(pdf), "pageCount": 3}}));
    let path = format!("/accounts/alice/messages/{id}");
    let pages = eventually("the document", || {
        let answer = world.api(&server, "GET", &path, None);
        (answer.status == 200).then(|| answer.json()["message"]["pageCount"].clone())
    });
    assert_eq!(pages, 3);
}

const SEND: &str = "/accounts/alice/message/send/album";
const CAROL: &str = "491700000003";
const PHOTO: &[u8] = include_bytes!("../fixtures/media/photo.jpg");
const FILM: &[u8] = include_bytes!("../fixtures/media/film.mp4");

/// What a phone got of an album: its head, and the messages that name it.
fn album(phone: &Phone<'_>, head: &str, parts: usize) -> (Value, Vec<Value>) {
    eventually("the album", || {
        let got = phone.all_received();
        let found = got.iter().find(|m| m["messageId"] == head)?.clone();
        let parts_of = got.into_iter().filter(|m| m["albumOf"] == head);
        let all: Vec<Value> = parts_of.collect();
        (all.len() == parts).then_some((found, all))
    })
}

fn kinds(messages: &[Value]) -> Value {
    let kinds = messages.iter().map(|m| json!([m["type"], m["text"]]));
    kinds.collect()
}

fn form(world: &World, server: &Server, form: Form) -> crate::support::Answer {
    let (kind, body) = form.build();
    let url = format!("{}{SEND}", server.base());
    world.http().send("POST", &url, &kind, Some(body))
}

#[test]
fn an_album_of_a_form_reaches_the_phone_with_its_caption_and_quote() {
    let world = World::new();
    world.walks(&["POST /accounts/:id/message/send/album"]);
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let question = bob.say(ALICE, "how was it?");
    eventually("the question", || {
        let path = format!("/accounts/alice/messages/{question}");
        (world.api(&server, "GET", &path, None).status == 200).then_some(())
    });
    let files = || Form::new().field("to", BOB);
    let photo = |form: Form| form.file("files", "a.jpg", "image/jpeg", PHOTO);
    let film = |form: Form| form.file("files", "b.mp4", "video/mp4", FILM);
    for (form_of, words) in [
        (files(), "files: at least 2 are required"),
        (photo(files()), "files: at least 2 are required"),
    ] {
        let refused = form(&world, &server, form_of).expect(400);
        assert_eq!(refused["error"], words);
    }
    let many = (0..31).fold(files(), |form, _| photo(form));
    let refused = form(&world, &server, many).expect(400);
    assert_eq!(refused["error"], "The request has more than 30 files");
    let text = photo(files()).file("files", "c.txt", "text/plain", b"no picture");
    let refused = form(&world, &server, text).expect(400);
    let words = refused["error"].as_str().expect("words");
    assert!(words.contains("not an image"), "{words}");
    assert_eq!(bob.all_received().len(), 0);

    let whole = files()
        .field("caption", "at the sea")
        .field("mentions", BOB);
    let whole = film(photo(photo(whole.field("quotedMessageId", &question))));
    let sent = form(&world, &server, whole).expect(202);
    let head = sent["messageId"].as_str().expect("an id").to_owned();
    let ids = sent["results"][0]["messageIds"]
        .as_array()
        .expect("ids")
        .clone();
    let (found, parts) = album(&bob, &head, 3);
    assert_eq!(
        (&found["type"], &found["album"]),
        (&json!("album"), &json!({"images": 2, "videos": 1}))
    );
    let expected = json!([["image", "at the sea"], ["image", null], ["video", null]]);
    assert_eq!(kinds(&parts), expected);
    let order: Vec<_> = parts.iter().map(|part| part["messageId"].clone()).collect();
    assert_eq!(order, ids);
    assert_eq!(parts[0]["quotedId"], question);
    assert_eq!(parts[0]["mentions"], json!([bob.jid()]));
    for part in &parts {
        assert_eq!(part["media"]["error"], Value::Null, "{part}");
        let id = part["messageId"].as_str().expect("an id");
        let own = world.get(&server, &format!("/accounts/alice/messages/{id}"));
        assert_eq!(own["message"]["albumId"], head.as_str());
    }
    let path = format!("/accounts/alice/messages/{head}");
    assert_eq!(world.api(&server, "GET", &path, None).status, 404);
    let chats = world.get(&server, "/accounts/alice/chats");
    assert_eq!(chats["chats"][0]["messageCount"], 4);
}

#[test]
fn albums_in_json_wait_over_a_kill_and_go_once_to_each_of_a_list() {
    let world = World::new();
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    let (bob, carol) = (world.phone(BOB, "Bob"), world.phone(CAROL, "Carol"));
    world
        .post(&server, "/accounts/alice/disconnect", &json!({}))
        .expect(200);
    let film = format!("data:video/mp4;base64,{}", base64(FILM));
    let body = json!({"to": [BOB, CAROL, BOB], "queue": true, "files": [
        {"base64": base64(PHOTO), "caption": "one"}, {"url": film, "caption": "two"}]});
    let send = || world.post_once(&server, SEND, "key-1", &body).expect(202);
    let waits = send();
    assert_eq!(send(), waits, "the same request again");
    let mut other = body.clone();
    other["files"][0]["base64"] = base64(FILM).into();
    world.post_once(&server, SEND, "key-1", &other).expect(409);
    let outbox = world.get(&server, "/accounts/alice/outbox");
    let listed = outbox["messages"].as_array().expect("messages");
    let types: Vec<_> = listed.iter().map(|entry| entry["type"].clone()).collect();
    assert_eq!(
        types,
        ["album", "image", "video", "album", "image", "video"]
    );
    for (field, value) in [
        ("files", json!([{"base64": base64(PHOTO)}])),
        ("files", json!([{"caption": "x"}, {"base64": "AAAA"}])),
        ("files", json!("none")),
        ("files", json!([1, 2])),
        (
            "caption",
            json!([{"caption": 1, "base64": "AAAA"}, {"base64": "AAAA"}]),
        ),
    ] {
        let body = json!({"to": BOB, "queue": true, "files": value});
        let refused = world.post(&server, SEND, &body).expect(400);
        let words = refused["error"].as_str().expect("words");
        assert!(
            words.starts_with(&format!("\"{field}\" must be ")),
            "{words}"
        );
    }
    server.kill();

    let server = world.server();
    world
        .post(&server, "/accounts/alice/connect", &json!({}))
        .expect(200);
    for (phone, result) in [(&bob, &waits["results"][0]), (&carol, &waits["results"][1])] {
        let head = result["messageId"].as_str().expect("an id");
        let (found, parts) = album(phone, head, 2);
        assert_eq!(found["album"], json!({"images": 1, "videos": 1}));
        assert_eq!(kinds(&parts), json!([["image", "one"], ["video", "two"]]));
        assert_eq!(phone.all_received().len(), 3);
    }
    assert_eq!(
        waits["results"][2]["messageId"],
        waits["results"][0]["messageId"]
    );
}
