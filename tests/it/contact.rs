//! Contact cards: sent, queued, answered, received.

use serde_json::json;

use crate::support::{World, eventually, travels};

const ALICE: &str = "491700000001";
const BOB: &str = "491700000002";
const CAROL: &str = "491700000003";
const SEND: &str = "/accounts/alice/message/send/contact";

#[test]
fn cards_reach_the_phone_as_they_were_given_or_made() {
    let world = World::new();
    world.walks(&["POST /accounts/:id/message/send/contact"]);
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let question = bob.say(ALICE, "whom do I call?");
    eventually("the question", || {
        let path = format!("/accounts/alice/messages/{question}");
        (world.api(&server, "GET", &path, None).status == 200).then_some(())
    });
    for (body, field) in [
        (json!({"contacts": []}), "contacts"),
        (json!({"contacts": [{"name": "Carol"}]}), "contacts"),
        (json!({"vcard": "hello"}), "vcard"),
        (json!({"name": "Carol", "phone": "0170"}), "phone"),
        (json!({"name": "x".repeat(257), "phone": CAROL}), "name"),
    ] {
        let mut body = body;
        body["to"] = BOB.into();
        let refused = world.post(&server, SEND, &body).expect(400);
        let words = refused["error"].as_str().expect("words");
        assert!(
            words.starts_with(&format!("\"{field}\" must be ")),
            "{words}"
        );
    }
    for (body, words) in [
        (json!({"name": "Carol", "phone": CAROL}), "to is required"),
        (
            json!({"to": BOB}),
            "contacts, or vcard, or name and phone are required",
        ),
        (
            json!({"to": BOB, "name": "Carol"}),
            "contacts, or vcard, or name and phone are required",
        ),
    ] {
        assert_eq!(world.post(&server, SEND, &body).expect(400)["error"], words);
    }

    let made = json!({"to": BOB, "name": "Carol; the \"boss\"", "phone": "+49 170 0000003",
        "quotedMessageId": question, "mentions": [BOB]});
    let sent = world.post(&server, SEND, &made).expect(200);
    let given = "BEGIN:VCARD\nVERSION:3.0\nFN:Dora\nEMAIL:dora@example.org\nEND:VCARD";
    world
        .post(&server, SEND, &json!({"to": BOB, "vcard": given}))
        .expect(200);
    let several = json!({"to": BOB, "contacts": [{"name": "D", "vcard": given}, {"name": "Carol", "phone": CAROL}]});
    world.post(&server, SEND, &several).expect(200);

    let got = bob.received(3);
    let card = format!(
        "BEGIN:VCARD\nVERSION:3.0\nN:;Carol\\; the \"boss\";;;\nFN:Carol\\; the \"boss\"\n\
         TEL;type=CELL;type=VOICE;waid={CAROL}:+{CAROL}\nEND:VCARD"
    );
    let shown = json!([{"name": "Carol; the \"boss\"", "vcard": card}]);
    assert_eq!(
        (&got[0]["type"], &got[0]["contacts"]),
        (&json!("contact"), &shown)
    );
    assert_eq!(got[0]["quotedId"], question);
    assert_eq!(got[0]["mentions"], json!([bob.jid()]));
    assert_eq!(
        got[1]["contacts"],
        json!([{"name": "Dora", "vcard": given}])
    );
    let names = [
        &got[2]["contacts"][0]["name"],
        &got[2]["contacts"][1]["name"],
    ];
    assert_eq!(names, ["D", "Carol"]);
    let id = sent["messageId"].as_str().expect("an id");
    let own = world.get(&server, &format!("/accounts/alice/messages/{id}"));
    assert_eq!(own["message"]["contacts"], shown);
    assert_eq!(own["message"]["quotedMessage"]["text"], "whom do I call?");
}

#[test]
fn a_card_waits_over_a_restart_is_sent_once_and_is_quoted() {
    let it = travels(
        "contact",
        json!({"name": "Carol", "phone": CAROL}),
        json!({"contact": {"name": "Dora", "number": "491700000004"}}),
    );
    assert_eq!(it.received["contacts"][0]["name"], "Carol");
    assert_eq!(it.quoted["text"], "Carol");
    assert_eq!(it.forwarded["contacts"][0]["name"], "Dora");
}
