//! Pairing by QR code in every format and by phone number, and its timeout.

use serde_json::json;

use crate::support::World;

const ALICE: &str = "491700000001";

#[test]
fn the_code_is_served_in_every_format_until_it_is_scanned() {
    let world = World::new();
    world.walks(&["GET /accounts/:id/qr"]);
    let server = world.server();
    world
        .post(&server, "/accounts", &json!({"id": "alice", "name": "Al"}))
        .expect(201);
    server.wait_log("alice: a QR code waits");
    let raw = world.api(&server, "GET", "/accounts/alice/qr?format=raw", None);
    assert_eq!(raw.status, 200);
    let raw = String::from_utf8(raw.bytes).expect("text");
    let status = world.get(&server, "/accounts/alice/status");
    assert_eq!(status["qr"], raw.trim_end());
    let text = world.api(&server, "GET", "/accounts/alice/qr", None);
    assert!(String::from_utf8_lossy(&text.bytes).contains('█'));
    let png = world.api(&server, "GET", "/accounts/alice/qr?format=png", None);
    assert_eq!(png.header("content-type"), Some("image/png"));
    assert!(png.bytes.starts_with(b"\x89PNG\r\n"));
    let svg = world.api(&server, "GET", "/accounts/alice/qr?format=svg", None);
    assert!(String::from_utf8_lossy(&svg.bytes).contains("<svg"));

    world.scan(ALICE, "Al", raw.trim_end()).expect_success();
    server.wait_log("alice: connected");
    let gone = world
        .api(&server, "GET", "/accounts/alice/qr", None)
        .expect(404);
    assert_eq!(gone["status"], "connected");
    let paired = world
        .post(
            &server,
            "/accounts/alice/pair-code",
            &json!({"phone": ALICE}),
        )
        .expect(409);
    assert_eq!(paired["status"], "connected");
}

#[test]
fn a_phone_number_and_a_code_pair_too() {
    let world = World::new();
    world.walks(&["POST /accounts/:id/pair-code"]);
    let server = world.server();
    world.phone(ALICE, "Alice");
    world
        .post(&server, "/accounts", &json!({"id": "alice"}))
        .expect(201);
    server.wait_log("alice: a QR code waits");
    for (body, words) in [
        (json!({}), "phone is required"),
        (json!({"phone": "my phone"}), "\"phone\" must be"),
    ] {
        let refused = world.post(&server, "/accounts/alice/pair-code", &body);
        let refused = refused.expect(400);
        let said = refused["error"].as_str().expect("words");
        assert!(said.starts_with(words), "{refused}");
    }
    let answer = world
        .post(
            &server,
            "/accounts/alice/pair-code",
            &json!({"phone": "+49 170 0000001"}),
        )
        .expect(200);
    let code = answer["code"].as_str().expect("a code");
    assert_eq!(code.len(), 8, "{code}");
    assert!(
        answer["expiresAt"].is_string() || answer["expiresAt"].is_u64(),
        "{answer}"
    );
    world
        .admin(
            "POST",
            "/mock-phone/enter-code",
            Some(&json!({"number": ALICE, "code": code})),
        )
        .expect_success();
    server.wait_log("alice: connected");
    let account = world.get(&server, "/accounts/alice");
    assert_eq!(account["account"]["jid"], format!("{ALICE}@s.whatsapp.net"));
}

#[test]
fn a_pairing_interrupted_by_a_power_cut_starts_again() {
    let world = World::new();
    let server = world.server();
    world
        .post(&server, "/accounts", &json!({"id": "alice"}))
        .expect(201);
    server.wait_log("alice: a QR code waits");
    server.kill();
    let server = world.server();
    let status = world.get(&server, "/accounts/alice/status");
    assert_eq!(status["status"], "not_started");
    world
        .post(&server, "/accounts/alice/connect", &json!({}))
        .expect(200);
    server.wait_log("alice: a QR code waits");
    let status = world.get(&server, "/accounts/alice/status");
    let qr = status["qr"].as_str().expect("a QR code");
    world.scan(ALICE, "alice", qr).expect_success();
    server.wait_log("alice: connected");
}

#[test]
fn an_account_that_is_deleted_while_it_pairs_leaves_nothing_behind() {
    let world = World::new();
    let server = world.server();
    let body = json!({"id": "alice"});
    world.post(&server, "/accounts", &body).expect(201);
    let twice = world.post(&server, "/accounts", &body).expect(400);
    assert_eq!(twice["error"], "Account already exists");
    server.wait_log("alice: a QR code waits");
    let old = world.get(&server, "/accounts/alice/status");
    world
        .api(&server, "DELETE", "/accounts/alice", None)
        .expect(200);
    world
        .api(&server, "DELETE", "/accounts/alice", None)
        .expect(404);

    // The same id again: a new account with a new code.
    let mark = server.log_mark();
    world.post(&server, "/accounts", &body).expect(201);
    server.wait_log_from(mark, "alice: a QR code waits");
    let new = world.get(&server, "/accounts/alice/status");
    assert_ne!(new["qr"], old["qr"]);
    let gone = world.scan(ALICE, "alice", old["qr"].as_str().expect("a code"));
    assert_eq!(gone.status, 404, "the old code is worth nothing: {gone:?}");
    world
        .scan(ALICE, "alice", new["qr"].as_str().expect("a code"))
        .expect_success();
    server.wait_log_from(mark, "alice: connected");
}
