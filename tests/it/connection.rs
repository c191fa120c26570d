//! Sessions over time: reconnecting, not reconnecting, and the status.

use std::os::unix::net::UnixDatagram;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Board, DEADLINE, Time, World, eventually};

const ALICE: &str = "491700000001";
const BOB: &str = "491700000002";

#[test]
fn disconnect_keeps_the_pairing_and_stays_over_a_restart() {
    let world = World::new();
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");

    let answer = world.post(&server, "/accounts/alice/disconnect", &json!({}));
    assert_eq!(answer.expect(200)["message"], "Account alice disconnected");
    let status = world.get(&server, "/accounts/alice/status");
    assert_eq!(status["status"], "disconnected");
    assert_eq!(status["lastError"], json!(null));
    let refused = world
        .post(
            &server,
            "/accounts/alice/message/send",
            &json!({"to": BOB, "message": "no"}),
        )
        .expect(400);
    assert_eq!(refused["error"], "Account not connected");
    assert_eq!(refused["status"], "disconnected");

    server.kill();
    let server = world.server();
    let after = world.get(&server, "/accounts/alice/status");
    assert_eq!(after["status"], "disconnected");
    assert_eq!(
        after["lastUpdate"], status["lastUpdate"],
        "since when it is so survives the restart"
    );

    let mark = server.log_mark();
    let answer = world.post(&server, "/accounts/alice/connect", &json!({}));
    let answer = answer.expect(200);
    assert_eq!(answer["accountId"], "alice");
    assert_eq!(answer["message"], "Attempting to connect alice");
    server.wait_log_from(mark, "alice: connected");
    world
        .post(&server, "/accounts/alice/connect", &json!({}))
        .expect(200);
    world
        .post(
            &server,
            "/accounts/alice/message/send",
            &json!({"to": BOB, "message": "here again"}),
        )
        .expect(200);
    assert_eq!(bob.received(1)[0]["text"], "here again");
    assert!(!server.log().contains("QR code"));
}

#[test]
fn an_unlink_on_the_phone_is_final_until_a_new_pairing() {
    let world = World::new();
    let server = world.server();
    let phone = world.pair(&server, "alice", ALICE);
    let mark = server.log_mark();
    phone.post("unlink", &json!({}));
    server.wait_log_from(mark, "alice: logged_out");
    let status = world.get(&server, "/accounts/alice/status");
    assert_eq!(status["status"], "logged_out");
    assert!(
        status["lastError"]
            .as_str()
            .is_some_and(|e| e.contains("unlinked")),
        "{status}"
    );

    server.kill();
    let server = world.server();
    let after = world.get(&server, "/accounts/alice/status");
    assert_eq!(after["status"], "logged_out");
    assert_eq!(after["lastError"], status["lastError"]);
    assert_eq!(after["lastUpdate"], status["lastUpdate"]);

    // Connecting starts a new pairing, with new keys.
    let mark = server.log_mark();
    world
        .post(&server, "/accounts/alice/connect", &json!({}))
        .expect(200);
    server.wait_log_from(mark, "alice: a QR code waits");
    let status = world.get(&server, "/accounts/alice/status");
    let qr = status["qr"].as_str().expect("a QR code");
    world.scan(ALICE, "alice", qr).expect_success();
    server.wait_log_from(mark, "alice: connected");
    let bob = world.phone(BOB, "Bob");
    world
        .post(
            &server,
            "/accounts/alice/message/send",
            &json!({"to": BOB, "message": "new keys"}),
        )
        .expect(200);
    assert_eq!(bob.received(1)[0]["text"], "new keys");
}

#[test]
fn an_unlink_while_the_server_is_down_is_found_at_the_next_login() {
    let world = World::new();
    let server = world.server();
    let phone = world.pair(&server, "alice", ALICE);
    server.kill();
    phone.post("unlink", &json!({}));
    let server = world.server();
    server.wait_log("alice: logged_out");
    let status = world.get(&server, "/accounts/alice/status");
    assert!(
        status["lastError"]
            .as_str()
            .is_some_and(|e| e.contains("unlinked")),
        "{status}"
    );
}

#[test]
fn a_ban_stops_the_account_and_has_an_end() {
    let world = World::new();
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    server.kill();
    world
        .admin(
            "POST",
            "/faults",
            Some(&json!({"kind": "login-failure", "reason": 402, "code": 101, "expire": 7200, "count": 1})),
        )
        .expect_success();
    let server = world.server();
    server.wait_log("alice: logged_out");
    let status = world.get(&server, "/accounts/alice/status");
    let words = status["lastError"].as_str().expect("words");
    assert!(words.contains("banned") && words.contains("2 h"), "{words}");
    // It does not retry by itself, and connects on request with the same pairing.
    let mark = server.log_mark();
    world
        .post(&server, "/accounts/alice/connect", &json!({}))
        .expect(200);
    server.wait_log_from(mark, "alice: connected");
}

#[test]
fn an_unavailable_service_is_tried_again() {
    let world = World::new();
    let mut options = world.options();
    let time = Time::of(&mut options);
    let server = options.start();
    world.pair(&server, "alice", ALICE);
    world
        .admin(
            "POST",
            "/faults",
            Some(&json!({"kind": "login-failure", "reason": 503, "count": 2})),
        )
        .expect_success();
    let mark = server.log_mark();
    world
        .admin(
            "POST",
            "/faults",
            Some(&json!({"kind": "stream-error", "code": 503, "number": ALICE})),
        )
        .expect_success();
    server.wait_log_from(mark, "alice: reconnecting");
    eventually("a connection", || {
        // The pause behind each refusal, or more.
        time.passes(Duration::from_secs(300));
        let status = world.get(&server, "/accounts/alice/status");
        (status["status"] == "connected").then_some(())
    });
    let status = world.get(&server, "/accounts/alice/status");
    assert_eq!(status["status"], "connected");
    assert_eq!(status["lastError"], json!(null));
}

#[test]
fn without_whatsapp_the_server_starts_and_reports_it() {
    let world = World::new();
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    server.kill();
    // A free port: bound once and released.
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|l| l.local_addr())
        .expect("a port");
    let nowhere = format!("wss://{free}/ws/chat");
    let server = world.options().with("whatsapp.url", nowhere).start();
    server.wait_log("alice: reconnecting");
    let words = eventually("the cause", || {
        let status = world.get(&server, "/accounts/alice/status");
        assert_eq!(status["status"], "reconnecting");
        status["lastError"].as_str().map(str::to_owned)
    });
    assert!(words.contains("out of reach"), "{words}");
    world.get(&server, "/ping");
}

#[test]
fn without_a_network_it_starts_logs_it_once_and_connects_later() {
    let world = World::new();
    let by_name = world.simulator.ws_url().replace("127.0.0.1", "localhost");
    let mut options = world
        .options()
        .with("whatsapp.url", by_name)
        .with("whatsapp.timeout", "2s");
    let board = Board::under(&mut options);
    let server = options.start();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    server.kill();

    // A resolver that hangs, as with a route to nowhere.
    board.names_ms.store(20_000, Ordering::SeqCst);
    board.lookups.store(0, Ordering::SeqCst);
    let path = world.directory.path().join("notify");
    let manager = UnixDatagram::bind(&path).expect("a socket");
    manager.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    options = options.env("NOTIFY_SOCKET", path.display());
    let began = Instant::now();
    let server = options.start();
    let mut message = [0; 256];
    let length = manager.recv(&mut message).expect("it is ready");
    assert!(message[..length].starts_with(b"READY=1"));
    world.get(&server, "/ping");
    world.get(&server, "/accounts/alice/chats");
    let took = began.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    server.wait_log("alice: reconnecting");

    // Then none that answers, for as long as it takes.
    board
        .names_error
        .store(i64::from(libc::EAI_AGAIN), Ordering::SeqCst);
    board.names_ms.store(0, Ordering::SeqCst);
    let seen = board.lookups.load(Ordering::SeqCst);
    eventually("some attempts", || {
        (board.lookups.load(Ordering::SeqCst) >= seen + 3).then_some(())
    });
    let status = eventually("the cause", || {
        let status = world.get(&server, "/accounts/alice/status");
        let words = status["lastError"].to_string();
        words
            .contains("the name cannot be resolved")
            .then_some(status)
    });
    assert_eq!(status["status"], "reconnecting");
    let log = server.log();
    let lines: Vec<_> = log
        .lines()
        .filter(|l| l.contains("alice") || l.contains("ERROR"))
        .collect();
    assert_eq!(lines.len(), 2, "connecting, reconnecting: {lines:?}");

    board.names_error.store(0, Ordering::SeqCst);
    server.wait_log("alice: connected");
    bob.say(ALICE, "is there anybody?");
    let id = "the message";
    eventually(id, || {
        let chats = world.get(&server, "/accounts/alice/chats");
        (chats["chats"].as_array().map(Vec::len) == Some(1)).then_some(())
    });
}
