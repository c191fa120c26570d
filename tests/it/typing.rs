//! Chat states: shown, ended, before texts; what they do to the phone's notifications.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Phone, Time, World, eventually};

const ALICE: &str = "491700000001";
const BOB: &str = "491700000002";
const TYPING: &str = "/accounts/alice/chats/491700000002/typing";
const SEND: &str = "/accounts/alice/message/send";

fn is_available(world: &World) -> bool {
    let path = format!("/phones/{ALICE}");
    world.admin("GET", &path, None).expect(200)["available"] == true
}

fn until_available(world: &World, available: bool) {
    eventually("the presence", || {
        (is_available(world) == available).then_some(())
    });
}

/// The first chat states that the phone was shown, once they are there.
fn states(phone: &Phone<'_>, count: usize) -> Vec<String> {
    eventually("chat states", || {
        let all = phone.state()["chatStates"].as_array()?.clone();
        let word = |state: &Value| state["state"].as_str().expect("a word").to_owned();
        (all.len() >= count).then(|| all.iter().map(word).collect())
    })
}

#[test]
fn a_chat_state_is_shown_and_ends_by_itself() {
    let world = World::new();
    world.walks(&["POST /accounts/:id/chats/:chatId/typing"]);
    let mut options = world.options();
    let time = Time::of(&mut options);
    let server = options.start();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    until_available(&world, false);

    let show = |body: Value, status: u16| world.post(&server, TYPING, &body).expect(status);
    show(json!({"state": "typing", "seconds": 25}), 200);
    assert_eq!(states(&bob, 1), ["typing"]);
    assert!(
        is_available(&world),
        "WhatsApp passes it on from those alone"
    );
    // It is sent again while it lasts, and then ends.
    for n in 2..=3 {
        time.passes(Duration::from_secs(10));
        assert_eq!(states(&bob, n), vec!["typing"; n]);
    }
    time.passes(Duration::from_secs(10));
    assert_eq!(states(&bob, 4)[3], "paused");
    until_available(&world, false);

    // Another state takes its place; it can be ended before its time.
    show(json!({"state": "typing"}), 200);
    show(json!({"state": "recording", "seconds": "60"}), 200);
    show(json!({"state": "paused"}), 200);
    assert_eq!(states(&bob, 7)[4..], ["typing", "recording", "paused"]);
    until_available(&world, false);
    time.passes(Duration::from_secs(61));
    let texts = json!({"to": BOB, "message": "still there"});
    world.post(&server, SEND, &texts).expect(200);
    bob.received(1);
    assert_eq!(states(&bob, 7).len(), 7, "nothing is left of them");

    let words = show(json!({"state": "dancing"}), 400);
    assert_eq!(
        words["error"],
        r#""state" must be "typing", "recording" or "paused""#
    );
    let words = show(json!({"state": "typing", "seconds": 61}), 400);
    assert_eq!(
        words["error"],
        "\"seconds\" must be a whole number of seconds, 1 to 60"
    );
    assert_eq!(show(json!({}), 400)["error"], "state is required");
    world
        .post(&server, "/accounts/alice/disconnect", &json!({}))
        .expect(200);
    show(json!({"state": "typing"}), 400);
}

#[test]
fn a_text_is_shown_as_being_typed_and_a_kill_meanwhile_loses_and_doubles_nothing() {
    let world = World::new();
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let short = json!({"to": BOB, "message": "hi", "typing": true});
    world.post(&server, SEND, &short).expect(200);
    assert_eq!(states(&bob, 2), ["typing", "paused"]);
    bob.received(1);

    let url = format!("{}{SEND}", server.base());
    let long = json!({"to": BOB, "message": "x".repeat(500), "typing": true});
    let key = "key-1";
    std::thread::scope(|scope| {
        let answer = scope.spawn(|| world.http().try_post(&url, key, &long));
        assert_eq!(states(&bob, 3)[2], "typing");
        assert_eq!(bob.all_received().len(), 1, "it is typed, not sent");
        server.kill();
        assert!(answer.join().expect("no panic").is_none());
    });
    let server = world.server();
    world
        .post(&server, "/accounts/alice/connect", &json!({}))
        .expect(200);
    let got = bob.received(2);
    assert_eq!(got[1]["text"], "x".repeat(500));
    let again = world.post_once(&server, SEND, key, &long);
    assert!(matches!(again.status, 200 | 202), "{again:?}");
    assert_eq!(again.json()["messageId"], got[1]["messageId"]);
    let outbox = || world.get(&server, "/accounts/alice/outbox")["count"] == 0;
    eventually("an empty outbox", || outbox().then_some(()));
    assert_eq!(bob.all_received().len(), 2);
}
