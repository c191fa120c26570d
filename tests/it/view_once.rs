//! Media that can be opened once, and round videos: sent, queued, received, withheld from linked devices.

use serde_json::{Value, json};

use crate::media_in::base64;
use crate::media_out::noise;
use crate::support::{World, eventually, travels};

const ALICE: &str = "491700000001";
const BOB: &str = "491700000002";

fn file(name: &str) -> String {
    let bytes = std::fs::read(format!("tests/fixtures/media/{name}"));
    base64(&bytes.expect("a fixture"))
}

#[test]
fn view_once_media_reach_the_phone_marked_and_other_kinds_are_refused() {
    let world = World::new();
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let send = |kind: &str, more: Value| {
        let mut body = more;
        body["to"] = BOB.into();
        let path = format!("/accounts/alice/message/send/{kind}");
        world.post(&server, &path, &body)
    };
    for (kind, body, field) in [
        ("document", json!({"viewOnce": true}), "viewOnce"),
        ("sticker", json!({"viewOnce": true}), "viewOnce"),
        ("audio", json!({"viewOnce": true}), "viewOnce"),
        ("image", json!({"viewOnce": "once"}), "viewOnce"),
        ("video", json!({"note": true, "caption": "c"}), "caption"),
    ] {
        let mut body = body;
        body["base64"] = file("film.mp4").into();
        let refused = send(kind, body).expect(400);
        let words = refused["error"].as_str().expect("words");
        assert!(
            words.starts_with(&format!("\"{field}\" must be ")),
            "{words}"
        );
    }
    for (count, (kind, body, shown)) in (1..).zip([
        (
            "image",
            json!({"base64": file("photo.jpg"), "caption": "c"}),
            "image",
        ),
        ("video", json!({"base64": file("film.mp4")}), "video"),
        (
            "video",
            json!({"base64": file("film.mp4"), "note": true}),
            "video",
        ),
        (
            "audio",
            json!({"base64": file("tone.opus"), "ptt": true}),
            "audio",
        ),
    ]) {
        let mut body = body;
        body["viewOnce"] = true.into();
        let is_note = body["note"] == true;
        let id = send(kind, body).expect(200)["messageId"].clone();
        let got = bob.received(count).remove(count - 1);
        assert_eq!(
            (&got["type"], &got["viewOnce"]),
            (&json!(shown), &json!(true)),
            "{got}"
        );
        assert_eq!(got["media"]["error"], Value::Null, "{got}");
        assert_eq!(got["media"]["note"] == true, is_note, "{got}");
        let path = format!("/accounts/alice/messages/{}", id.as_str().expect("an id"));
        let own = world.get(&server, &path)["message"].clone();
        assert_eq!(own["viewOnce"], true);
        assert_eq!(own["videoNote"] == true, is_note, "{own}");
    }
}

#[test]
fn view_once_messages_are_withheld_from_linked_devices() {
    let world = World::new();
    let server = world.server();
    let alice = world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let message = |id: &str| {
        let path = format!("/accounts/alice/messages/{id}");
        eventually("the message", || {
            let answer = world.api(&server, "GET", &path, None);
            (answer.status == 200).then(|| answer.json()["message"].clone())
        })
    };
    let content = json!({"base64": base64(&noise(500))});
    for (sender, to) in [(&bob, ALICE), (&alice, BOB)] {
        let got = message(&sender.send(&json!({"to": to, "image": content, "viewOnce": true})));
        assert_eq!(got["type"], "unavailable", "{got}");
        assert_eq!(
            (&got["viewOnce"], &got["hasMedia"]),
            (&json!(true), &json!(false))
        );
        let note = got["note"].as_str().expect("a note");
        assert!(note.contains("Open it there"), "{note}");
    }
}

#[test]
fn a_view_once_image_waits_over_a_restart_is_sent_once_and_is_quoted() {
    // Some clients do not mark the stanza: the service delivers it to linked devices, too.
    let it = travels(
        "image",
        json!({"base64": file("small.jpg"), "viewOnce": true}),
        json!({"image": {"base64": base64(&noise(500))}, "viewOnce": true, "forge": {"unmarked": true}}),
    );
    assert_eq!(it.received["viewOnce"], true);
    assert_eq!(it.forwarded["viewOnce"], true);
    assert_eq!(it.forwarded["hasMedia"], true);
}

#[test]
fn a_round_video_waits_over_a_restart_is_sent_once_and_is_quoted() {
    let it = travels(
        "video",
        json!({"base64": file("film.mp4"), "note": true}),
        json!({"video": {"base64": base64(&noise(500)), "note": true}}),
    );
    assert_eq!(it.received["media"]["note"], true);
    assert_eq!(it.received["media"]["mediatype"], "ptv");
    assert_eq!(it.forwarded["videoNote"], true);
}
