//! The version of WhatsApp Web that the server sends: its sources, and its refusal by WhatsApp.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Server, ServerOptions, Time, World, eventually, not_tested, released};

const ALICE: &str = "491700000001";
const BOB: &str = "491700000002";
/// What the simulator calls the current revision.
const CURRENT: u64 = 1_047_000_000;
/// More than the time between two lookups, and more than the first pause after a refusal.
const SOME_MINUTES: Duration = Duration::from_secs(6 * 60);
/// More than a version that was looked up is fresh.
const A_DAY: Duration = Duration::from_secs(25 * 60 * 60);

/// A server without a configured version.
fn options(world: &World) -> ServerOptions {
    world.options().without("whatsapp.version")
}

fn versions(world: &World, change: &Value) -> Value {
    world.admin("POST", "/versions", Some(change)).expect(200)
}

/// What clients have called themselves since `from`.
fn claims(world: &World, from: usize) -> Vec<String> {
    let known = versions(world, &json!({}));
    let claims = known["claims"].as_array().expect("claims");
    let claims = claims.iter().skip(from);
    claims
        .map(|claim| claim.as_str().expect("a version").to_owned())
        .collect()
}

fn lookups(world: &World) -> u64 {
    versions(world, &json!({}))["lookups"]
        .as_u64()
        .expect("a number")
}

fn named(revision: u64) -> String {
    format!("2.3000.{revision}")
}

/// Alice's connection breaks, and that time passes before the next one.
fn reconnect_after(world: &World, server: &Server, time: &Time, length: Duration) {
    let mark = server.log_mark();
    world.fault(&json!({"kind": "drop-connections"}));
    server.wait_log_from(mark, "alice: reconnecting");
    time.passes(length);
    server.wait_log_from(mark, "alice: connected");
}

/// whatsapp-rust 0.7.0 looks up for each account, does not connect without an answer, and takes a page without a
/// revision for version 2.3000.0.
#[test]
fn the_version_is_looked_up_once_and_stored_and_is_optional() {
    if released().is_some() {
        not_tested("a released binary's clocks cannot be moved");
        return;
    }
    let world = World::new();
    // The request does not ask for compression.
    world.fault(&json!({"kind": "version-page", "page": "gzip", "count": 1}));
    let server = options(&world).start();
    world.pair(&server, "alice", ALICE);
    world.pair(&server, "bob", BOB);
    let claimed = claims(&world, 0);
    assert_eq!(claimed.len(), 4, "two pairings, two logins: {claimed:?}");
    assert!(claimed.iter().all(|v| *v == named(CURRENT)), "{claimed:?}");
    assert_eq!(lookups(&world), 1);
    server.kill();

    // A version looked up before the power cut is valid for a day.
    world.fault(&json!({"kind": "version-page", "page": "refused", "code": 403}));
    let mut options = options(&world);
    let time = Time::of(&mut options);
    let server = options.start();
    server.wait_log("alice: connected");
    server.wait_log("bob: connected");
    assert_eq!(lookups(&world), 1);
    assert!(claims(&world, 4).iter().all(|v| *v == named(CURRENT)));

    // And for longer, if there is no other.
    for (page, code, words) in [
        ("refused", json!(403), "the answer was 403"),
        ("refused", json!(500), "the answer was 500"),
        ("captive", json!(null), "the answer names no version"),
        ("redirect", json!(null), "the answer was a redirect (302)"),
        ("changed", json!(null), "the answer names no version"),
        // The library reads it as version 2.3000.0, which WhatsApp refuses.
        ("assets", json!(null), "the answer names no version"),
    ] {
        world.admin("DELETE", "/faults", None).expect(200);
        world.fault(&json!({"kind": "version-page", "page": page, "code": code}));
        let mark = server.log_mark();
        reconnect_after(&world, &server, &time, A_DAY);
        let line = server.wait_log_from(mark, "could not be looked up");
        assert!(line.contains("WARN") && line.contains(words), "{line}");
        assert!(line.contains(&named(CURRENT)), "{line}");
        world.admin("DELETE", "/faults", None).expect(200);
        reconnect_after(&world, &server, &time, A_DAY);
    }
    let claimed = claims(&world, 4);
    assert!(claimed.iter().all(|v| *v == named(CURRENT)), "{claimed:?}");

    // WhatsApp releases a newer version, and the server follows.
    versions(&world, &json!({"current": CURRENT + 1}));
    reconnect_after(&world, &server, &time, A_DAY);
    assert_eq!(claims(&world, 0).last(), Some(&named(CURRENT + 1)));
    let log = server.log();
    assert!(!log.contains("ERROR") && !log.contains("panicked"), "{log}");
}

#[test]
fn without_any_answer_the_built_in_version_connects() {
    let world = World::new();
    world.fault(&json!({"kind": "version-page", "page": "refused", "code": 404}));
    let server = options(&world).start();
    world.pair(&server, "alice", ALICE);
    let claimed = claims(&world, 0);
    let built_in = claimed.first().expect("a version").clone();
    assert!(claimed.iter().all(|claim| *claim == built_in));
    assert_ne!(built_in, named(CURRENT));
    assert!(built_in > named(1_045_000_000), "{built_in}");
    assert_eq!(lookups(&world), 1, "one that fails is not repeated at once");
    let warnings = server.log().matches("could not be looked up").count();
    assert_eq!(warnings, 1);
    // Its day is over: what WhatsApp refuses is looked up at once, and the page is there again.
    world.admin("DELETE", "/faults", None).expect(200);
    versions(&world, &json!({"oldest": CURRENT}));
    let mark = server.log_mark();
    world.fault(&json!({"kind": "drop-connections"}));
    server.wait_log_from(mark, "alice: connected");
    assert_eq!(claims(&world, 0).last(), Some(&named(CURRENT)));
}

/// whatsmeow #1040 and #1164: versions are refused in waves. whatsapp-rust 0.7.0 keeps the refused one until
/// its day is over.
#[test]
fn a_refused_version_is_looked_up_at_once_and_then_with_pauses() {
    if released().is_some() {
        not_tested("a released binary's clocks cannot be moved");
        return;
    }
    let world = World::new();
    let mut options = options(&world);
    let time = Time::of(&mut options);
    let server = options.start();
    world.pair(&server, "alice", ALICE);
    world.pair(&server, "bob", BOB);
    assert_eq!(lookups(&world), 1);

    let next = CURRENT + 5;
    versions(&world, &json!({"current": next, "oldest": next}));
    let (mark, before) = (server.log_mark(), claims(&world, 0).len());
    world.fault(&json!({"kind": "drop-connections"}));
    server.wait_log_from(mark, "alice: connected");
    server.wait_log_from(mark, "bob: connected");
    assert_eq!(lookups(&world), 2, "one lookup for both");
    let claimed = claims(&world, before);
    let tried = claimed.iter().filter(|v| **v == named(CURRENT)).count();
    assert!((1..=2).contains(&tried), "{claimed:?}");

    // WhatsApp names a version that it does not take.
    versions(&world, &json!({"oldest": next + 5}));
    let before = claims(&world, 0).len();
    world.fault(&json!({"kind": "drop-connections"}));
    let status = eventually("the reason", || {
        let status = world.get(&server, "/accounts/alice/status");
        let words = status["lastError"].as_str()?;
        words
            .contains("names it as the current one")
            .then_some(status)
    });
    let words = status["lastError"].as_str().expect("words");
    assert!(
        words.contains(&named(next)) && words.contains("(405)"),
        "{words}"
    );
    assert_eq!(status["status"], "reconnecting");
    eventually("two attempts of each", || {
        (claims(&world, before).len() == 4).then_some(())
    });
    assert_eq!(lookups(&world), 3);

    // It does not come back before its pause is over; then it finds what WhatsApp names by now.
    versions(&world, &json!({"current": next + 5}));
    let mark = server.log_mark();
    time.passes(Duration::from_secs(4 * 60));
    world.get(&server, "/accounts");
    assert_eq!(claims(&world, before).len(), 4);
    time.passes(SOME_MINUTES);
    server.wait_log_from(mark, "alice: connected");
    server.wait_log_from(mark, "bob: connected");
    assert_eq!(lookups(&world), 4);
    assert_eq!(claims(&world, 0).last(), Some(&named(next + 5)));
}

/// The text depends on the source of the version. whatsapp-rust #1314: WhatsApp names the day on which a version ends.
#[test]
fn a_configured_version_is_kept_and_reported_when_it_is_too_old() {
    let world = World::new();
    versions(&world, &json!({"expires": 1_900_000_000}));
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    let line = server.wait_log("2030-03-17");
    let advice = "remove that setting";
    assert!(line.contains("WARN") && line.contains(advice), "{line}");

    versions(&world, &json!({"oldest": CURRENT}));
    world.fault(&json!({"kind": "drop-connections"}));
    let words = eventually("the reason", || {
        let status = world.get(&server, "/accounts/alice/status");
        let words = status["lastError"].as_str()?.to_owned();
        words.contains("405").then_some(words)
    });
    assert!(words.contains("2.3000.1 "), "{words}");
    assert!(words.contains("whatsapp.version sets"), "{words}");
    assert!(words.contains(advice), "{words}");
    let claimed = claims(&world, 0);
    assert_eq!(claimed.last().map(String::as_str), Some("2.3000.1"));
    assert_eq!(lookups(&world), 0);
}
