//! Albums that come in, and the pages of documents.

use serde_json::{Value, json};

use crate::media_in::base64;
use crate::media_out::noise;
use crate::support::{World, eventually};

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
