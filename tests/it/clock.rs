//! Boards without a battery: the clock jumps by years, at the start and later, and nothing is lost.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Board, Receiver, Reply, Server, World, eventually};

const ALICE: &str = "491700000001";
const BOB: &str = "491700000002";
const SEND: &str = "/accounts/alice/message/send";
const HOUR: i64 = 3_600_000;
const YEAR: i64 = 365 * 24 * HOUR;
/// 2040-01-01.
const FAR: i64 = 2_208_988_800_000;
/// 5000-01-01.
const FARTHER: i64 = 95_617_584_000_000;

fn now() -> i64 {
    i64::try_from(wildcat::clock::now()).expect("a time")
}

fn status(world: &World, server: &Server) -> Value {
    world.get(server, "/accounts/alice/status")
}

fn texts(world: &World, server: &Server) -> Vec<String> {
    let path = format!("/accounts/alice/chats/{BOB}@s.whatsapp.net/messages?limit=100");
    let page = world.get(server, &path);
    let messages = page["messages"].as_array().expect("messages");
    let text = |m: &Value| m["text"].as_str().unwrap_or_default().to_owned();
    messages.iter().rev().map(text).collect()
}

#[test]
fn a_clock_that_is_not_set_is_logged_and_waited_for() {
    let world = World::new();
    // By name, so that the board counts the attempts.
    let by_name = world.simulator.ws_url().replace("127.0.0.1", "localhost");
    let mut options = world.options().with("whatsapp.url", by_name);
    let board = Board::under(&mut options);
    let server = options.start();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    server.kill();

    // It wakes up in 1970.
    board.set_clock(0);
    board.lookups.store(0, Ordering::SeqCst);
    let server = options.start();
    let warned = server.wait_log("it is not set");
    assert!(warned.contains("the clock says 1970-01-01"), "{warned}");
    server.wait_log("alice: reconnecting");
    let words = eventually("the cause", || {
        status(&world, &server)["lastError"]
            .as_str()
            .map(str::to_owned)
    });
    assert!(
        words.contains("the clock says 1970-01-01 00:0")
            && words.contains("certificates cannot be checked until it is set"),
        "{words}"
    );
    // Meanwhile the API queues a message with an idempotency key.
    let body = json!({"to": BOB, "message": "from 1970", "queue": true, "expiresIn": 3600});
    let first = world.post_once(&server, SEND, "order-1", &body).expect(202);
    let id = first["messageId"].as_str().expect("an id").to_owned();

    // Behind the fourth attempt is a pause of 8 s at least.
    eventually("the fourth attempt", || {
        (board.lookups.load(Ordering::SeqCst) >= 4).then_some(())
    });
    let mark = server.log_mark();
    let began = Instant::now();
    board.set_clock_right();
    server.wait_log_from(mark, "the clock was set from 1970-01-01");
    server.wait_log_from(mark, "alice: connected");
    let took = began.elapsed();
    assert!(took < Duration::from_secs(7), "{took:?}");

    // The queued message has not expired, and its key is known, also after a restart.
    assert_eq!(bob.received(1)[0]["text"], "from 1970");
    let again = world.post_once(&server, SEND, "order-1", &body).expect(202);
    assert_eq!(again["messageId"].as_str(), Some(id.as_str()));
    bob.say(ALICE, "and back");
    eventually("the answer", || {
        (texts(&world, &server) == ["from 1970", "and back"]).then_some(())
    });
    server.kill();
    let server = options.start();
    server.wait_log("alice: connected");
    let again = world.post_once(&server, SEND, "order-1", &body).expect(202);
    assert_eq!(again["messageId"].as_str(), Some(id.as_str()));
    assert_eq!(bob.all_received().len(), 1);
    let said = status(&world, &server)["lastUpdate"].clone();
    assert!(
        !said.as_str().expect("a time").starts_with("1970"),
        "{said}"
    );
}

#[test]
fn a_clock_that_jumps_while_it_runs_deletes_and_expires_nothing() {
    let world = World::new();
    let mut options = world
        .options()
        .with("storage.keep_days", 30)
        .with("events.keep_days", 1)
        .with("webhooks.give_up_after", "72h")
        .with("webhooks.retry_first", "1 s")
        .with("webhooks.retry_max", "1 s");
    let board = Board::under(&mut options);
    let server = options.start();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    // It fails until all is over.
    let (up, taken) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(Mutex::new(Vec::new())),
    );
    let receiver = {
        let (up, taken) = (Arc::clone(&up), Arc::clone(&taken));
        Receiver::answering(move |delivery| {
            if !up.load(Ordering::SeqCst) {
                return Reply::status(503);
            }
            let text = delivery.body["text"].as_str().unwrap_or_default();
            taken.lock().expect("texts").push(text.to_owned());
            Reply::status(200)
        })
    };
    let body = json!({"url": receiver.url()});
    world.post(&server, "/webhooks", &body).expect(201);
    let send = |server: &Server, text: &str| {
        let body = json!({"to": BOB, "message": text});
        let key = text.replace(' ', "-");
        world.post_once(server, SEND, &key, &body).expect(200)
    };
    let mut expected = Vec::new();
    let mut keys = Vec::new();
    let jumps = [0, FAR, now() - YEAR, FAR + YEAR, now() - 100 * 24 * HOUR];
    for (n, jump) in jumps.into_iter().enumerate() {
        let mark = server.log_mark();
        board.set_clock(jump);
        let own = format!("own {n}");
        keys.push((own.clone(), send(&server, &own)["messageId"].clone()));
        let other = format!("other {n}");
        bob.say(ALICE, &other);
        expected.extend([own, other]);
        eventually("the message", || {
            (texts(&world, &server) == expected).then_some(())
        });
        if n == 0 {
            server.wait_log_from(mark, "WhatsApp's time counts until the clock is right");
        }
        // A new connection, too: its certificates are checked by WhatsApp's time.
        let mark = server.log_mark();
        world
            .post(&server, "/accounts/alice/disconnect", &json!({}))
            .expect(200);
        world
            .post(&server, "/accounts/alice/connect", &json!({}))
            .expect(200);
        server.wait_log_from(mark, "alice: connected");
    }
    board.set_clock_right();
    // Each key is still known, each event there, in order, with times of today.
    for (key, id) in &keys {
        assert_eq!(&send(&server, key)["messageId"], id);
    }
    assert_eq!(bob.received(5).len(), 5, "each once");
    let log = world.get(&server, "/events?after=0&limit=500");
    let events = log["events"].as_array().expect("events");
    let numbers: Vec<u64> = events
        .iter()
        .map(|event| event["number"].as_u64().unwrap_or_default())
        .collect();
    assert!(
        numbers.windows(2).all(|pair| pair[0] < pair[1]),
        "{numbers:?}"
    );
    let today = wildcat::clock::iso8601(wildcat::clock::now());
    let of = |kind: &str| {
        let of_kind = |e: &&Value| e["event"] == kind;
        events.iter().filter(of_kind).collect::<Vec<_>>()
    };
    let incoming = of("message");
    assert_eq!(incoming.len(), 5, "{log}");
    for event in incoming {
        let at = event["createdAt"].as_str().expect("a time");
        assert_eq!(at.get(..7), today.get(..7), "{event}");
    }
    // The hook gets each message, none was given up.
    up.store(true, Ordering::SeqCst);
    let got = eventually("the deliveries", || {
        let got = taken.lock().expect("texts").clone();
        (got.len() >= 5).then_some(got)
    });
    let wanted: Vec<String> = (0..5).map(|n| format!("other {n}")).collect();
    assert_eq!(got, wanted);

    // A start in 2040, by which the simulator's certificates are still good: WhatsApp says better.
    server.kill();
    board.set_clock(FAR);
    let server = options.start();
    server.wait_log("the clock was set from 2040-");
    server.wait_log("alice: connected");
    // In 5000 they are invalid: nothing can connect, WhatsApp sends no time, and nothing changes.
    server.kill();
    board.set_clock(FARTHER);
    let server = options.start();
    let words = eventually("the cause", || {
        status(&world, &server)["lastError"]
            .as_str()
            .map(str::to_owned)
    });
    assert!(
        words.contains(
            "its certificate has expired on 4096-01-01, or the clock is wrong, which says 5000-"
        ),
        "{words}"
    );
    // The first removal of old messages is right after the start, before this write.
    let body = json!({"to": BOB, "message": "in 5000", "queue": true, "expiresIn": 60});
    world.post(&server, SEND, &body).expect(202);
    expected.push("in 5000".to_owned());
    assert_eq!(texts(&world, &server), expected);
    let after = world.get(&server, "/events?after=0&limit=500");
    let after = after["events"].as_array().expect("events");
    assert_eq!(after[..events.len()], events[..]);
    let mark = server.log_mark();
    board.set_clock_right();
    server.wait_log_from(mark, "the clock was set from 5000-");
    server.wait_log_from(mark, "alice: connected");
    assert_eq!(bob.received(6)[5]["text"], "in 5000");
    eventually("its place behind the others", || {
        (texts(&world, &server) == expected).then_some(())
    });
    assert!(!server.log().contains("oldest messages removed"));
}
