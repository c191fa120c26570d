//! `GET /health`.

use serde_json::{Value, json};
use wildcat_simulator::Cut;

use crate::support::{World, eventually};

const ALICE: &str = "491700000001";
const BOB: &str = "491700000002";

#[test]
fn it_reports_the_problem_of_each_account() {
    let world = World::new();
    world.walks(&["GET /health"]);
    let server = world.options().with("health.patience", "1s").start();
    let health = |status: u16| {
        eventually("the health", || {
            let answer = world.api(&server, "GET", "/health", None);
            (answer.status == status).then(|| answer.json())
        })
    };
    let empty = health(200);
    assert_eq!(empty["healthy"], true);
    assert_eq!(empty["accounts"], json!([]));
    assert_eq!(empty["storage"]["problem"], json!(null));
    assert_eq!(empty["webhooks"], json!({"hooks": 0, "behind": 0}));
    assert!(empty["eventThread"]["steps"].as_u64() > Some(0), "{empty}");

    let alice = world.pair(&server, "alice", ALICE);
    world.pair(&server, "bob", BOB);
    let well = health(200);
    let of = |health: &Value, id: usize, field: &str| health["accounts"][id][field].clone();
    assert_eq!(of(&well, 0, "id"), "alice");
    assert_eq!(of(&well, 0, "status"), "connected");
    assert_eq!(of(&well, 1, "id"), "bob");
    assert_eq!(of(&well, 1, "healthy"), true);

    // Disconnected by request: healthy.
    world
        .post(&server, "/accounts/bob/disconnect", &json!({}))
        .expect(200);
    let rests = health(200);
    assert_eq!(of(&rests, 1, "status"), "disconnected");
    assert_eq!(of(&rests, 1, "healthy"), true);

    // Lost, and not back after a while.
    world.simulator.lose_power(Cut::Reset).expect("power");
    let lost = health(503);
    assert_eq!(
        (&lost["ok"], &lost["healthy"]),
        (&json!(false), &json!(false))
    );
    let problem = of(&lost, 0, "problem");
    let problem = problem.as_str().expect("a problem");
    assert!(problem.starts_with("not connected for "), "{problem}");
    assert_eq!(lost["error"], format!("account alice: {problem}"));
    assert_eq!(of(&lost, 0, "status"), "reconnecting");
    assert_eq!(of(&lost, 1, "problem"), json!(null));
    world.simulator.restore_power().expect("power");
    health(200);

    alice.post("unlink", &json!({}));
    let out = health(503);
    assert_eq!(of(&out, 0, "status"), "logged_out");
    let words = out["error"].as_str().expect("words");
    assert!(words.starts_with("account alice: logged out: "), "{words}");
    assert!(words.contains("unlinked"), "{words}");

    // Requests of the health check write nothing. Unfinished work may still write.
    let written = || {
        let io = std::fs::read_to_string(format!("/proc/{}/io", server.pid())).expect("read");
        let line = io
            .lines()
            .find_map(|line| line.strip_prefix("write_bytes: "));
        line.expect("a count").trim().parse::<u64>().expect("bytes")
    };
    eventually("fifty answers without a byte written", || {
        let before = written();
        for _ in 0..50 {
            world.api(&server, "GET", "/health", None).expect(503);
        }
        (written() == before).then_some(())
    });
}

#[test]
fn a_waiting_code_is_healthy_and_its_delay_is_logged_once() {
    let world = World::new();
    let server = world.options().with("health.patience", "1s").start();
    world.simulator.lose_power(Cut::Reset).expect("power");
    let body = json!({"id": "alice"});
    world.post(&server, "/accounts", &body).expect(201);
    let cut_off = eventually("the trouble", || {
        let answer = world.api(&server, "GET", "/health", None);
        (answer.status == 503).then(|| answer.json())
    });
    let words = cut_off["error"].as_str().expect("words");
    assert!(
        words.starts_with("account alice: not connected for ") && words.contains("out of reach"),
        "{words}"
    );
    let status = world.get(&server, "/accounts/alice/status");
    assert_eq!(status["status"], "connecting");
    let reason = status["lastError"].as_str().expect("a reason").to_owned();

    let mark = server.log_mark();
    world.simulator.restore_power().expect("power");
    server.wait_log_from(mark, "alice: a QR code waits");
    let status = world.get(&server, "/accounts/alice/status");
    assert_eq!(
        (&status["hasQR"], &status["lastError"]),
        (&json!(true), &json!(null))
    );
    let health = world.get(&server, "/health");
    assert_eq!(
        health["accounts"][0]["problem"],
        json!(null),
        "a code on show is healthy: {health}"
    );
    let log = server.log();
    let warnings: Vec<&str> = log
        .lines()
        .filter(|line| line.contains(" WARN ") && line.contains("alice"))
        .collect();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(
        warnings[0].contains("alice: no QR code to scan yet") && warnings[0].contains(&reason),
        "{warnings:?} and {reason}"
    );
    world
        .scan(ALICE, "alice", status["qr"].as_str().expect("a code"))
        .expect_success();
    server.wait_log_from(mark, "alice: connected");
}
