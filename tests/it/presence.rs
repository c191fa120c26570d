//! The presence of a connected account, and its effect on contacts and on its phone.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Server, Time, World, eventually};

const ALICE: &str = "491700000001";
const BOB: &str = "491700000002";

fn person(world: &World, number: &str) -> Value {
    world
        .admin("GET", &format!("/phones/{number}"), None)
        .expect(200)
}

fn sends(world: &World, server: &Server, text: &str) {
    let message = json!({"to": BOB, "message": text});
    world
        .post(server, "/accounts/alice/message/send", &message)
        .expect(200);
}

/// Bob writes; whether alice's phone rang for it, and whether the receipt of her linked device was active.
fn rings(world: &World, text: &str) -> (bool, bool) {
    let bob = world.phone(BOB, "Bob");
    let before = person(world, ALICE)["pushes"].as_u64().expect("a count");
    let id = bob.say(ALICE, text);
    let receipt = eventually("the receipt of the linked device", || {
        let stanzas = world.admin("GET", "/stanzas", None).expect(200);
        let stanzas = stanzas.as_array().expect("stanzas").clone();
        stanzas.into_iter().find(|passed| {
            let stanza = &passed["stanza"];
            passed["device"] != format!("{ALICE}:0")
                && passed["direction"] == "in"
                && stanza["tag"] == "receipt"
                && stanza["attrs"]["id"] == id.as_str()
        })
    });
    let rang = person(world, ALICE)["pushes"].as_u64().expect("a count") > before;
    (rang, receipt["stanza"]["attrs"]["type"].is_null())
}

/// Before, the account stayed available, and its phone got no push notification (zapfast#119, openclaw#15679).
#[test]
fn the_phone_rings_because_the_server_is_not_online() {
    let world = World::new();
    let server = world.server();
    let alice = world.pair(&server, "alice", ALICE);
    eventually("that it is unavailable", || {
        (person(&world, ALICE)["available"] == false).then_some(())
    });
    // The phone is off: what answers is the server.
    alice.post("offline", &json!({}));
    alice.post("online", &json!({}));
    server.wait_log("alice: reconnecting");
    eventually("another login", || {
        let status = world.get(&server, "/accounts/alice/status");
        (status["status"] == "connected").then_some(())
    });
    eventually("that it is unavailable again", || {
        (person(&world, ALICE)["available"] == false).then_some(())
    });
    let (rang, active) = rings(&world, "is there anybody?");
    assert!(rang, "no push notification");
    assert!(active, "the receipt is inactive");
}

#[test]
fn presence_and_receipts_follow_the_settings() {
    let world = World::new();
    let server = world
        .options()
        .with("whatsapp.receipts", "inactive")
        .start();
    world.pair(&server, "alice", ALICE);
    eventually("that it is unavailable", || {
        (person(&world, ALICE)["available"] == false).then_some(())
    });
    assert_eq!(rings(&world, "one tick"), (true, false));
    server.kill();

    let server = world.options().with("whatsapp.online", true).start();
    server.wait_log("alice: connected");
    eventually("that it is available", || {
        (person(&world, ALICE)["available"] == true).then_some(())
    });
    assert!(!rings(&world, "silence").0);
}

/// Before, the account stayed "connecting" for ever, in circles of 180 s, and every message was refused although it
/// would have gone (whatsapp-rust #1291).
#[test]
fn an_account_with_refused_app_state_connects_and_reports_it() {
    for fault in [
        json!({"kind": "refuse-app-state", "code": 500, "number": ALICE}),
        json!({"kind": "keep-app-state-key", "number": ALICE}),
    ] {
        let world = World::new();
        let mut options = world.options();
        let time = Time::of(&mut options);
        let server = options.start();
        world.phone(BOB, "Bob");
        world.fault(&fault);
        world
            .post(&server, "/accounts", &json!({"id": "alice"}))
            .expect(201);
        server.wait_log("alice: a QR code waits");
        let status = world.get(&server, "/accounts/alice/status");
        let qr = status["qr"].as_str().expect("the QR code's text");
        world.scan(ALICE, "alice", qr).expect_success();
        server.wait_log("alice: paired");
        let status = eventually("connected", || {
            // The client's own pauses, and the grace.
            time.passes(Duration::from_secs(5));
            let status = world.get(&server, "/accounts/alice/status");
            (status["status"] == "connected").then_some(status)
        });
        let words = status["lastError"].as_str().expect("words");
        assert!(
            words.contains("contacts and settings could not be fetched"),
            "{words}"
        );
        sends(&world, &server, "all the same");

        // The client's 180 s are over: nothing is interrupted.
        time.passes(Duration::from_secs(240));
        sends(&world, &server, "and again");
        assert!(!server.log().contains("alice: reconnecting"));

        world.fault(&json!({"kind": "clear"}));
        time.passes(Duration::from_secs(3_600));
        eventually("what was missing", || {
            time.passes(Duration::from_secs(5));
            let status = world.get(&server, "/accounts/alice/status");
            let whole = status["status"] == "connected" && status["lastError"].is_null();
            whole.then_some(())
        });
        sends(&world, &server, "with everything");
    }
}

/// An empty push name makes the client sync at each login; if that failed, it looped every 180 s.
#[test]
fn an_account_without_a_name_is_connected_after_a_restart_too() {
    let world = World::new();
    let server = world.server();
    world.phone(BOB, "Bob");
    world.phone(ALICE, "");
    world
        .post(&server, "/accounts", &json!({"id": "alice"}))
        .expect(201);
    server.wait_log("alice: a QR code waits");
    let status = world.get(&server, "/accounts/alice/status");
    let qr = status["qr"].as_str().expect("the QR code's text");
    world.scan(ALICE, "", qr).expect_success();
    server.wait_log("alice: connected");
    let account = world.get(&server, "/accounts/alice");
    assert_eq!(account["account"]["pushName"], json!(null));
    server.kill();
    world.fault(&json!({"kind": "refuse-app-state", "code": 500, "number": ALICE}));
    let mut options = world.options();
    let time = Time::of(&mut options);
    let server = options.start();
    let status = eventually("connected", || {
        time.passes(Duration::from_secs(5));
        let status = world.get(&server, "/accounts/alice/status");
        (status["status"] == "connected").then_some(status)
    });
    assert!(status["lastError"].is_string(), "{status}");
    sends(&world, &server, "nameless");
}
