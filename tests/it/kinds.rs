//! What holds for every kind of message: it comes in under its type, a hook hears of it, the OpenAPI document describes it,
//! an answer shows its words above, and it is forwarded or refused in words.

use serde_json::{Value, json};

use crate::media_in::base64;
use crate::openapi::check;
use crate::support::{Receiver, World, eventually};

const ALICE: &str = "491700000001";
const BOB: &str = "491700000002";
const ZOE: &str = "491700000003";

/// What Bob's phone says, the type it has here, and the type that Zoe's phone shows of it once it is forwarded; `None` for
/// what cannot be forwarded.
fn said() -> Vec<(Value, &'static str, Option<&'static str>)> {
    let photo = base64(include_bytes!("../fixtures/media/photo.jpg"));
    let film = base64(include_bytes!("../fixtures/media/film.mp4"));
    let picture = json!({"base64": photo, "caption": "a garden"});
    let card = json!({"form": "buttons", "text": "Well?", "buttons": [{"id": "y", "text": "Yes"}]});
    let answer = |form: &str| json!({"answer": {"form": form, "id": "y", "text": "Yes"}});
    let sound = |ptt: bool| json!({"audio": {"base64": "T2dnUwAC", "ptt": ptt, "seconds": 3}});
    let group = "120363000000000001@g.us";
    vec![
        (json!({"text": "hello"}), "text", Some("text")),
        (json!({"card": card}), "text", Some("text")),
        (json!({"image": picture}), "image", Some("image")),
        (
            json!({"video": {"base64": film, "caption": "a film"}}),
            "video",
            Some("video"),
        ),
        (sound(false), "audio", Some("audio")),
        (sound(true), "voice", Some("audio")),
        (
            json!({"document": {"base64": base64(b"%PDF-1.4"), "fileName": "a.pdf"}}),
            "document",
            Some("document"),
        ),
        (
            json!({"sticker": {"base64": base64(b"RIFF....WEBP")}}),
            "sticker",
            Some("sticker"),
        ),
        (
            json!({"location": {"latitude": 1, "longitude": 2}}),
            "location",
            Some("location"),
        ),
        (
            json!({"contact": {"name": "Zoe", "number": ZOE}}),
            "contact",
            Some("contact"),
        ),
        (
            json!({"poll": {"name": "Tea?", "options": ["yes", "no"]}}),
            "poll",
            Some("poll"),
        ),
        (
            json!({"event": {"name": "Dinner", "start": 1_893_456_000}}),
            "event",
            Some("event"),
        ),
        (
            json!({"invite": {"group": group, "name": "Club", "code": "AbC", "expires": 1_900_000_000, "caption": "Join"}}),
            "invite",
            None,
        ),
        (
            json!({"product": {"id": "7", "title": "Red mug", "price": 1_000, "currency": "EUR"}}),
            "product",
            None,
        ),
        (
            json!({"order": {"id": "9", "count": 2, "total": 1_000, "currency": "EUR", "text": "Two"}}),
            "order",
            None,
        ),
        (
            json!({"payment": {"state": "request", "amount": 1_000, "currency": "INR", "text": "rent",
                "messageId": "3EB0A"}}),
            "payment",
            None,
        ),
        (answer("buttons"), "button_reply", None),
        (answer("list"), "list_reply", None),
        // The log of a call, without content.
        (
            json!({"protobuf": base64(&[0xaa, 0x04, 0x00])}),
            "call",
            None,
        ),
        (json!({"unknown": true}), "unknown", None),
    ]
}

#[test]
fn each_kind_is_reported_described_quoted_and_forwarded() {
    let world = World::new();
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    let (bob, zoe) = (world.phone(BOB, "Bob"), world.phone(ZOE, "Zoe"));
    let document = world.api(&server, "GET", "/openapi.json", None).expect(200);
    let receiver = Receiver::start();
    let hook = json!({"url": receiver.url(), "events": ["message"]});
    world.post(&server, "/webhooks", &hook).expect(201);
    let first = json!({"to": ZOE, "message": "hello"});
    world
        .post(&server, "/accounts/alice/message/send", &first)
        .expect(200);
    let (mut answers, mut copies) = (0, 1);
    for (mut body, kind, forwarded) in said() {
        body["to"] = ALICE.into();
        let id = bob.send(&body);
        let event = receiver.next().body;
        assert_eq!(
            (&event["messageId"], &event["type"]),
            (&json!(id), &json!(kind)),
            "{event}"
        );
        let path = format!("/accounts/alice/messages/{id}");
        let answer = world.api(&server, "GET", &path, None);
        let shown = answer.json();
        let template = "/accounts/{id}/messages/{messageId}";
        check(&document, "GET", template, answer.status, &shown);
        assert_eq!(shown["message"]["type"], kind);

        let reply = json!({"to": BOB, "message": "about it", "quotedMessageId": id});
        world
            .post(&server, "/accounts/alice/message/reply", &reply)
            .expect(200);
        answers += 1;
        let got = bob.received(answers).remove(answers - 1);
        assert_eq!(got["quotedId"], id, "{kind}: {got}");
        let words = &shown["message"]["text"];
        // A card without a text of its own has its words in a field.
        if words.is_string() && forwarded.is_some() && kind != "event" {
            assert_eq!(&got["quoted"]["text"], words, "{kind}: {got}");
        }

        let forward = json!({"from": BOB, "messageId": id, "to": ZOE});
        let sent = world.post(&server, "/accounts/alice/message/forward", &forward);
        let Some(forwarded) = forwarded else {
            let refused = sent.expect(400);
            assert_eq!(
                refused["error"], "messages of this kind cannot be sent",
                "{kind}"
            );
            continue;
        };
        let copy = sent.expect(200)["messageId"].clone();
        copies += 1;
        let got = eventually("the copy", || {
            zoe.all_received()
                .into_iter()
                .find(|m| m["messageId"] == copy)
        });
        assert_eq!(
            (&got["type"], &got["forwarded"]),
            (&json!(forwarded), &json!(true)),
            "{kind}: {got}"
        );
    }
    assert_eq!(zoe.all_received().len(), copies);
}
