//! Whether an account is online, and what it is told of others: their presence, and that they type.

use serde_json::{Value, json};

use crate::support::{Receiver, Server, World, eventually};

const ALICE: &str = "491700000001";
const BOB: &str = "491700000002";
const PRESENCE: &str = "/accounts/alice/presence";

fn person(world: &World, number: &str) -> Value {
    world
        .admin("GET", &format!("/phones/{number}"), None)
        .expect(200)
}

fn until_available(world: &World, available: bool) {
    eventually("the presence", || {
        (person(world, ALICE)["available"] == available).then_some(())
    });
}

fn set(world: &World, server: &Server, presence: &str) {
    world
        .post(server, PRESENCE, &json!({ "presence": presence }))
        .expect(200);
}

fn events(world: &World, server: &Server, types: &str) -> Vec<Value> {
    let found = world.get(server, &format!("/events?types={types}"));
    found["events"].as_array().expect("events").clone()
}

#[test]
fn an_account_is_online_as_long_as_it_is_wanted() {
    let world = World::new();
    world.walks(&["POST /accounts/:id/presence"]);
    let server = world.server();
    let alice = world.pair(&server, "alice", ALICE);
    until_available(&world, false);
    set(&world, &server, "available");
    until_available(&world, true);

    // It stays so over another login.
    alice.post("offline", &json!({}));
    alice.post("online", &json!({}));
    server.wait_log("alice: reconnecting");
    eventually("another login", || {
        let status = world.get(&server, "/accounts/alice/status");
        (status["status"] == "connected").then_some(())
    });
    until_available(&world, true);
    set(&world, &server, "unavailable");
    until_available(&world, false);

    // Typing does not end what was asked for.
    set(&world, &server, "available");
    until_available(&world, true);
    let typing = "/accounts/alice/chats/491700000002/typing";
    world.phone(BOB, "Bob");
    for state in ["typing", "paused"] {
        world
            .post(&server, typing, &json!({ "state": state }))
            .expect(200);
    }
    assert_eq!(person(&world, ALICE)["available"], true);

    // Without a connection it counts from the next login on.
    world
        .post(&server, "/accounts/alice/disconnect", &json!({}))
        .expect(200);
    set(&world, &server, "unavailable");
    world
        .post(&server, "/accounts/alice/connect", &json!({}))
        .expect(200);
    until_available(&world, false);
    for (body, words) in [
        (json!({}), "presence is required"),
        (json!({"presence": "away"}), "available or unavailable"),
    ] {
        let refused = world.post(&server, PRESENCE, &body).expect(400);
        let error = refused["error"].as_str().expect("words");
        assert!(error.contains(words), "{refused}");
    }
    world
        .post(
            &server,
            "/accounts/zoe/presence",
            &json!({"presence": "available"}),
        )
        .expect(404);
}

#[test]
fn the_presence_of_people_is_reported_once_it_is_subscribed_to() {
    let world = World::new();
    world.walks(&["POST /accounts/:id/contacts/:contactId/presence/subscribe"]);
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let receiver = Receiver::start();
    let hook = json!({"url": receiver.url(), "events": ["presence"]});
    world.post(&server, "/webhooks", &hook).expect(201);
    set(&world, &server, "available");
    until_available(&world, true);
    bob.post("use", &json!({"inUse": true}));
    bob.post("use", &json!({"inUse": false}));

    let subscribe = |to: &str| {
        world.post(
            &server,
            &format!("/accounts/alice/contacts/{to}/presence/subscribe"),
            &json!({}),
        )
    };
    subscribe(BOB).expect(200);
    let first = eventually("the presence", || {
        events(&world, &server, "presence").first().cloned()
    });
    assert_eq!(first["presence"], "unavailable", "{first}");
    assert_eq!(first["chatId"], bob.jid());
    assert!(first["lastSeen"].is_string(), "{first}");
    bob.post("use", &json!({"inUse": true}));
    for presence in ["unavailable", "available"] {
        assert_eq!(receiver.next().body["presence"], presence);
    }
    let shown = eventually("that it is online", || {
        let path = format!("/accounts/alice/contacts/{BOB}");
        let contact = world.get(&server, &path)["contact"].clone();
        (contact["presence"] == "available").then_some(contact)
    });
    assert_eq!(shown["lastSeen"], Value::Null, "{shown}");

    // Twice is once.
    subscribe(BOB).expect(200);
    bob.post("use", &json!({"inUse": false}));
    eventually("the end", || {
        let all = events(&world, &server, "presence");
        let words: Vec<&str> = all
            .iter()
            .filter_map(|it| it["presence"].as_str())
            .collect();
        (words == ["unavailable", "available", "unavailable"]).then_some(())
    });
    let group = subscribe("120363000000000001@g.us").expect(400);
    let words = group["error"].as_str().expect("words");
    assert!(words.contains("contactId"), "{group}");
    world
        .post(&server, "/accounts/alice/disconnect", &json!({}))
        .expect(200);
    assert_eq!(subscribe(BOB).expect(400)["status"], "disconnected");
}

#[test]
fn chat_states_of_others_are_recorded_for_those_who_ask() {
    let world = World::new();
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    set(&world, &server, "available");
    until_available(&world, true);
    let types = |state: &str| {
        bob.post("typing", &json!({"to": ALICE, "state": state}));
    };
    // No hook or reader asks for it: what comes before the message is not recorded.
    types("typing");
    types("paused");
    bob.say(ALICE, "one");
    eventually("the message", || {
        let found = world.get(&server, "/messages");
        found["messages"]
            .as_array()
            .is_some_and(|it| !it.is_empty())
            .then_some(())
    });
    let all = world.get(&server, "/events");
    let names = all["events"].as_array().expect("events").iter();
    assert!(
        names.clone().all(|event| event["event"] != "typing"),
        "{all}"
    );

    // A reader asks by its types.
    assert_eq!(events(&world, &server, "typing"), Vec::<Value>::new());
    types("typing");
    types("typing");
    types("recording");
    types("paused");
    let found = eventually("the states", || {
        let found = events(&world, &server, "typing");
        (found.len() >= 3).then_some(found)
    });
    let states: Vec<&str> = found.iter().filter_map(|it| it["state"].as_str()).collect();
    assert_eq!(states, ["typing", "recording", "paused"]);
    assert_eq!(found[0]["chatId"], bob.jid());
    assert_eq!(found[0]["sender"], bob.jid());
    assert_eq!(found[0]["fromMe"], false);

    // A hook asks by its events.
    let receiver = Receiver::start();
    let hook = json!({"url": receiver.url(), "events": ["typing"]});
    world.post(&server, "/webhooks", &hook).expect(201);
    types("typing");
    assert_eq!(receiver.next().body["state"], "typing");
}
