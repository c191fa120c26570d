//! Disappearing messages: a chat's timer is learnt, set and carried, and what has expired is gone.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Phone, Server, Time, World, eventually};

const ALICE: &str = "491700000001";
const BOB: &str = "491700000002";
const SEND: &str = "/accounts/alice/message/send";
const DAY: u64 = 86_400;

fn timer_of(world: &World, server: &Server, chat: &str) -> Value {
    let chats = world.get(server, "/accounts/alice/chats")["chats"].clone();
    let found = chats
        .as_array()
        .expect("chats")
        .iter()
        .find(|it| it["chatId"] == chat);
    found.map_or(Value::Null, |chat| chat["timer"].clone())
}

fn until_timer(world: &World, server: &Server, chat: &str, timer: Value) {
    eventually("the timer", || {
        (timer_of(world, server, chat) == timer).then_some(())
    });
}

/// The next message of alice's, which carries that timer.
fn carries(world: &World, server: &Server, phone: &Phone<'_>, to: &str, timer: Value) -> String {
    let count = phone.all_received().len();
    let text = json!({"to": to, "message": "hi"});
    let sent = world.post(server, SEND, &text).expect(200);
    let got = phone.received(count + 1).remove(count);
    assert_eq!(
        (&got["expiration"], &got["lacksTimer"]),
        (&timer, &Value::Null),
        "{got}"
    );
    sent["messageId"].as_str().expect("an id").to_owned()
}

#[test]
fn a_timer_is_set_learnt_and_carried() {
    let world = World::new();
    world.walks(&["POST /accounts/:id/chats/:chatId/timer"]);
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    carries(&world, &server, &bob, BOB, Value::Null);
    // Bob sets it, and takes it back.
    bob.send(&json!({"to": ALICE, "timer": DAY}));
    until_timer(&world, &server, &bob.jid(), json!(DAY));
    carries(&world, &server, &bob, BOB, json!(DAY));
    bob.send(&json!({"to": ALICE, "timer": 0}));
    until_timer(&world, &server, &bob.jid(), Value::Null);
    carries(&world, &server, &bob, BOB, Value::Null);
    // Alice sets it: Bob's phone carries it, and says if hers did not.
    let set = |chat: &str, body: Value, status: u16| {
        let path = format!("/accounts/alice/chats/{chat}/timer");
        world.post(&server, &path, &body).expect(status)
    };
    set(BOB, json!({"seconds": 7 * DAY}), 200);
    assert_eq!(timer_of(&world, &server, &bob.jid()), 7 * DAY);
    let id = carries(&world, &server, &bob, BOB, json!(7 * DAY));
    let own = world.get(&server, &format!("/accounts/alice/messages/{id}"))["message"].clone();
    let at = |field: &str| own[field].as_u64().expect("a time");
    assert_eq!(at("expiresAt") - at("timestamp"), 7 * DAY * 1_000);
    let theirs = bob.say(ALICE, "mine");
    eventually("Bob's message", || {
        let answer = world.api(
            &server,
            "GET",
            &format!("/accounts/alice/messages/{theirs}"),
            None,
        );
        (answer.status == 200 && answer.json()["message"]["expiresAt"].is_u64()).then_some(())
    });
    for (body, words) in [
        (
            json!({"seconds": 60}),
            "\"seconds\" must be 0, 86400, 604800 or 7776000",
        ),
        (json!({}), "seconds is required"),
    ] {
        assert_eq!(set(BOB, body, 400)["error"], words);
    }

    // A group's, from its information and from what is told of it.
    let group = json!({"subject": "Team", "members": [BOB, ALICE], "addressing": "lid"});
    let made = world
        .admin("POST", "/groups", Some(&group))
        .expect_success();
    let team = made["jid"].as_str().expect("a JID").to_owned();
    let change = |body: Value| {
        let path = format!("/groups/{}", team.replace('@', "%40"));
        world.admin("POST", &path, Some(&body)).expect_success();
    };
    carries(&world, &server, &bob, &team, Value::Null);
    change(json!({"by": BOB, "ephemeral": DAY}));
    until_timer(&world, &server, &team, json!(DAY));
    carries(&world, &server, &bob, &team, json!(DAY));
    set(&team, json!({"seconds": 0}), 200);
    carries(&world, &server, &bob, &team, Value::Null);
}

#[test]
fn what_has_expired_leaves_the_store_with_its_file_unless_it_is_kept() {
    let world = World::new();
    let mut options = world.options();
    let time = Time::of(&mut options);
    let server = options.start();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    bob.send(&json!({"to": ALICE, "timer": DAY}));
    let kept = bob.say(ALICE, "kept");
    let image = crate::media_in::base64(include_bytes!("../fixtures/media/photo.jpg"));
    let gone = bob.send(&json!({"to": ALICE, "image": {"base64": image}}));
    let stays = bob.send(&json!({"to": ALICE, "timer": 0}));
    assert!(!stays.is_empty());
    let stays = bob.say(ALICE, "stays");
    let get = |path: &str| world.api(&server, "GET", path, None);
    let message = |id: &str| get(&format!("/accounts/alice/messages/{id}"));
    eventually("all messages and the file", || {
        let is_there = message(&stays).status == 200;
        let stored = get("/media").json()["media"].as_array().map_or(0, Vec::len);
        (is_there && stored == 1).then_some(())
    });
    bob.send(&json!({"to": ALICE, "keep": {"messageId": kept, "keep": true}}));
    eventually("the keep", || {
        (message(&kept).json()["message"]["kept"] == true).then_some(())
    });
    time.passes(Duration::from_secs(DAY + 120));
    eventually("what has expired to go", || {
        let is_gone = message(&gone).status == 404;
        let stored = get("/media").json()["media"].as_array().map_or(1, Vec::len);
        (is_gone && stored == 0).then_some(())
    });
    assert_eq!((message(&kept).status, message(&stays).status), (200, 200));
    // Kept no more, it goes, too.
    bob.send(&json!({"to": ALICE, "keep": {"messageId": kept, "keep": false}}));
    eventually("the end of the keep", || {
        let answer = message(&kept);
        (answer.status == 404 || answer.json()["message"]["kept"].is_null()).then_some(())
    });
    time.passes(Duration::from_secs(120));
    eventually("what was kept to go", || {
        (message(&kept).status == 404).then_some(())
    });
}
