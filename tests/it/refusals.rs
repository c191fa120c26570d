//! WhatsApp refuses, bans, logs out, or is overloaded: the status, and the time of reconnecting.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Server, Time, World};

const ALICE: &str = "491700000001";
const BOB: &str = "491700000002";
const MINUTE: Duration = Duration::from_secs(60);

fn status(world: &World, server: &Server) -> Value {
    world.get(server, "/accounts/alice/status")
}

fn words(status: &Value) -> &str {
    status["lastError"].as_str().expect("words")
}

/// Before, both came back after a second: the client has no event for these two (whatsapp-rust #1263).
#[test]
fn a_rate_limit_and_an_outage_are_waited_out() {
    let world = World::new();
    let mut options = world.options();
    let time = Time::of(&mut options);
    let server = options.start();
    world.pair(&server, "alice", ALICE);
    for (code, is, too_soon, enough) in [
        (429, "asked too much", 4, 12),
        // The second refusal in a row: 2 to 3 minutes.
        (503, "out of service", 1, 3),
    ] {
        let mark = server.log_mark();
        world.fault(&json!({"kind": "stream-error", "code": code, "number": ALICE}));
        server.wait_log_from(mark, "alice: reconnecting");
        let told = status(&world, &server);
        assert!(words(&told).contains(is), "{told}");
        assert!(
            words(&told).contains(&format!("({code}). The next try")),
            "{told}"
        );
        time.passes(too_soon * MINUTE);
        assert_eq!(status(&world, &server)["status"], "reconnecting");
        time.passes(enough * MINUTE);
        server.wait_log_from(mark, "alice: connected");
        assert_eq!(status(&world, &server)["lastError"], json!(null));
    }
}

/// Before, each of these was asked again every 5 minutes for ever.
#[test]
fn a_refused_login_is_retried_after_hours() {
    let world = World::new();
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    server.kill();
    let refused = json!({
        "kind": "login-failure", "reason": 418, "count": 1, "attributes": {"message": "who are you?"},
    });
    world.fault(&refused);
    let mut options = world.options();
    let time = Time::of(&mut options);
    let server = options.start();
    server.wait_log("alice: reconnecting");
    let told = status(&world, &server);
    assert!(
        words(&told)
            .contains("(418); WhatsApp says: \"who are you?\". The next try comes after 2 h"),
        "{told}"
    );
    time.passes(119 * MINUTE);
    assert_eq!(status(&world, &server)["status"], "reconnecting");
    time.passes(62 * MINUTE);
    server.wait_log("alice: connected");
}

/// Before, it rested for ever, and the appeal's link was lost.
#[test]
fn a_ban_keeps_its_end_over_a_restart_and_the_account_reconnects_once() {
    let world = World::new();
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    assert_eq!(status(&world, &server)["bannedUntil"], json!(null));
    server.kill();
    let banned = json!({
        "kind": "login-failure", "reason": 402, "code": 101, "expire": 7200, "count": 1,
        "attributes": {"message": "Slow down", "url": "https://faq.whatsapp.com/ban"},
    });
    world.fault(&banned);
    let server = world.server();
    server.wait_log("alice: logged_out");
    let told = status(&world, &server);
    for part in [
        "banned this account for 2 h: 101: you sent too many messages",
        "WhatsApp says: \"Slow down\"",
        "https://faq.whatsapp.com/ban",
    ] {
        assert!(words(&told).contains(part), "{told}");
    }
    let until = told["bannedUntil"].as_str().expect("an end").to_owned();
    let account = world.get(&server, "/accounts/alice");
    assert_eq!(account["account"]["bannedUntil"], until.as_str());
    let events = world.get(&server, "/events?after=0");
    let told = events["events"].as_array().expect("events").iter();
    let told = told
        .rev()
        .find(|event| event["event"] == "account.status")
        .expect("a status");
    assert_eq!(told["bannedUntil"], until.as_str());
    server.kill();

    let mut options = world.options();
    let time = Time::of(&mut options);
    let server = options.start();
    assert_eq!(status(&world, &server)["bannedUntil"], until.as_str());
    time.passes(115 * MINUTE);
    assert_eq!(status(&world, &server)["status"], "logged_out");
    // Its end, and up to 5 minutes more.
    time.passes(11 * MINUTE);
    server.wait_log("alice: connected");
    let after = status(&world, &server);
    assert_eq!(
        (&after["bannedUntil"], &after["lastError"]),
        (&json!(null), &json!(null))
    );
}

/// Before, each but 403 was "unlinked on the phone" (tulir/whatsmeow#561, waha#2136).
#[test]
fn a_logout_reports_its_cause_with_whatsapps_text() {
    let world = World::new();
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    server.kill();
    let said = logged_out_words(&world, &json!({"reason": 406}));
    assert!(
        said.contains("WhatsApp logged this device out; its owner did not (406)"),
        "{said}"
    );

    let world = World::new();
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    server.kill();
    let locked = json!({"reason": 403, "attributes": {
        "logout_message_header": "Account locked", "logout_message_subtext": "See your phone",
        "violation_reason": "spam", "appeal_token": "once",
    }});
    let said = logged_out_words(&world, &locked);
    let expected = "WhatsApp locked this account (403), because of \"spam\"; WhatsApp says: \"Account locked: \
                    See your phone\"";
    assert_eq!(said, expected);
}

/// The error after such a failed login.
fn logged_out_words(world: &World, failure: &Value) -> String {
    let mut fault = failure.clone();
    fault["kind"] = json!("login-failure");
    world.fault(&fault);
    let server = world.server();
    server.wait_log("alice: logged_out");
    let told = status(world, &server);
    words(&told).to_owned()
}

/// Before, all logged in at the same moment.
#[test]
fn accounts_start_in_turn_and_a_requested_one_at_once() {
    let world = World::new();
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    world.pair(&server, "bob", BOB);
    world.pair(&server, "carol", "491700000003");
    server.kill();
    let mut options = world.options();
    let time = Time::of(&mut options);
    // Minutes, so that nothing here depends on this machine's pace.
    options = options.env("WILDCAT_TEST_STARTS", 600_000);
    let server = options.start();
    server.wait_log("alice: connected");
    for waits in ["bob", "carol"] {
        let told = world.get(&server, &format!("/accounts/{waits}/status"));
        assert_eq!(
            (&told["status"], &told["lastError"]),
            (&json!("connecting"), &json!(null))
        );
    }
    let mark = server.log_mark();
    world
        .post(&server, "/accounts/carol/connect", &json!({}))
        .expect(200);
    server.wait_log_from(mark, "carol: connected");
    let told = world.get(&server, "/accounts/bob/status");
    assert_eq!(told["status"], "connecting");
    time.passes(10 * MINUTE);
    server.wait_log_from(mark, "bob: connected");
}
