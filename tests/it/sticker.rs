//! Stickers: made of pictures, with their pack; sent, queued, received.

use serde_json::{Value, json};

use crate::media_in::base64;
use crate::media_out::{noise, sha256};
use crate::support::{Form, World, travels};

const ALICE: &str = "491700000001";
const BOB: &str = "491700000002";
const SEND: &str = "/accounts/alice/message/send/sticker";

fn fixture(name: &str) -> Vec<u8> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/media/");
    std::fs::read(format!("{path}{name}")).expect("a fixture")
}

#[test]
fn stickers_reach_the_phone_with_their_pack() {
    let world = World::new();
    world.walks(&["POST /accounts/:id/message/send/sticker"]);
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let photo = base64(&fixture("photo.jpg"));
    for field in ["packName", "author"] {
        let mut body = json!({"to": BOB, "base64": photo});
        body[field] = "x".repeat(129).into();
        let refused = world.post(&server, SEND, &body).expect(400);
        let words = format!("\"{field}\" must be at most 128 characters long");
        assert_eq!(refused["error"], words);
    }

    let (kind, body) = Form::new()
        .field("to", BOB)
        .field("packName", "Cats")
        .field("author", "Zoë")
        .file("sticker", "a.png", "image/png", &fixture("small.png"))
        .build();
    let url = format!("{}{SEND}", server.base());
    world
        .http()
        .send("POST", &url, &kind, Some(body))
        .expect(200);
    let named = json!({"to": BOB, "base64": photo, "packName": "Cats", "author": "Zoë"});
    world.post(&server, SEND, &named).expect(200);
    let moving = fixture("animated.webp");
    let plain = json!({"to": BOB, "base64": base64(&moving)});
    world.post(&server, SEND, &plain).expect(200);

    let got = bob.received(3);
    for got in &got {
        assert_eq!(got["type"], "sticker");
        assert_eq!(got["media"]["error"], Value::Null, "{got}");
        assert_eq!(got["media"]["mimetype"], "image/webp");
    }
    for got in &got[..2] {
        let media = &got["media"];
        assert_eq!(
            (&media["width"], &media["height"]),
            (&json!(512), &json!(512))
        );
        assert_eq!(media["animated"], false);
        assert_eq!(media["pack"]["name"], "Cats", "{got}");
        assert_eq!(media["pack"]["author"], "Zoë");
        assert_eq!(media["pack"]["id"], got["media"]["pack"]["id"]);
    }
    let media = &got[2]["media"];
    assert_eq!(media["sha256"], sha256(&moving), "unchanged");
    assert_eq!(
        (&media["animated"], &media["pack"]),
        (&json!(true), &Value::Null)
    );
}

#[test]
fn a_sticker_waits_over_a_restart_is_sent_once_and_is_quoted() {
    let it = travels(
        "sticker",
        json!({"base64": base64(&fixture("small.gif")), "author": "Zoë"}),
        json!({"sticker": {"base64": base64(&noise(500))}}),
    );
    assert_eq!(it.received["media"]["pack"]["author"], "Zoë");
    assert_eq!(it.forwarded["mediaMimetype"], "image/webp");
}
