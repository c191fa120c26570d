//! Places: sent, queued, answered, received.

use serde_json::{Value, json};

use crate::support::{World, eventually, travels};

const ALICE: &str = "491700000001";
const BOB: &str = "491700000002";
const SEND: &str = "/accounts/alice/message/send/location";

#[test]
fn a_place_reaches_the_phone_with_its_degrees_and_names() {
    let world = World::new();
    world.walks(&["POST /accounts/:id/message/send/location"]);
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let question = bob.say(ALICE, "where?");
    eventually("the question", || {
        let path = format!("/accounts/alice/messages/{question}");
        (world.api(&server, "GET", &path, None).status == 200).then_some(())
    });
    for (field, value) in [
        ("latitude", json!(90.5)),
        ("latitude", json!("NaN")),
        ("longitude", json!(-180.01)),
        ("longitude", json!([])),
        ("name", json!("x".repeat(1_025))),
        ("address", json!(5)),
    ] {
        let mut body = json!({"to": BOB, "latitude": 52.5, "longitude": 13.4});
        body[field] = value;
        let refused = world.post(&server, SEND, &body).expect(400);
        let words = refused["error"].as_str().expect("words");
        assert!(
            words.starts_with(&format!("\"{field}\" must be ")),
            "{words}"
        );
    }
    let lacks = world.post(&server, SEND, &json!({"to": BOB, "latitude": 1}));
    let words = "to, latitude and longitude are required";
    assert_eq!(lacks.expect(400)["error"], words);

    let place = json!({"to": BOB, "latitude": -33.856_8, "longitude": 151.215_3, "name": "Opera House",
        "address": "Bennelong Point", "quotedMessageId": question, "mentions": [BOB]});
    let sent = world.post(&server, SEND, &place).expect(200);
    // A form has its numbers as text.
    let form = "to=491700000002&latitude=0&longitude=-0.5";
    let kind = "application/x-www-form-urlencoded";
    let url = format!("{}{SEND}", server.base());
    let bare = world.http().send("POST", &url, kind, Some(form.into()));
    bare.expect(200);

    let got = bob.received(2);
    let shown = json!({"latitude": -33.856_8, "longitude": 151.215_3, "name": "Opera House",
        "address": "Bennelong Point", "live": false});
    assert_eq!(
        (&got[0]["type"], &got[0]["location"]),
        (&json!("location"), &shown)
    );
    assert_eq!(got[0]["quotedId"], question);
    assert_eq!(got[0]["mentions"], json!([bob.jid()]));
    let shown = json!({"latitude": 0.0, "longitude": -0.5, "live": false});
    assert_eq!(got[1]["location"], shown);

    let id = sent["messageId"].as_str().expect("an id");
    let own = world.get(&server, &format!("/accounts/alice/messages/{id}"));
    let own = &own["message"];
    assert_eq!(
        (&own["type"], &own["text"]),
        (&json!("location"), &Value::Null)
    );
    assert_eq!(own["location"]["name"], "Opera House");
    assert_eq!(own["quotedMessage"]["text"], "where?");
}

#[test]
fn a_place_waits_over_a_restart_is_sent_once_and_is_quoted() {
    let it = travels(
        "location",
        json!({"latitude": 52.5, "longitude": 13.4, "name": "Office"}),
        json!({"location": {"latitude": 1.25, "longitude": 2.5, "name": "Here"}}),
    );
    assert_eq!(it.received["location"]["name"], "Office");
    let here = json!({"latitude": 1.25, "longitude": 2.5, "name": "Here", "address": null});
    assert_eq!(it.forwarded["location"], here);
}
