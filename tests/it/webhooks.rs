//! Webhooks: registration, deliveries, receivers that are down.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{DEADLINE, Receiver, Reply, Server, World, eventually, request};

const ALICE: &str = "491700000001";
const BOB: &str = "491700000002";
const CAROL: &str = "491700000003";

/// Registers a receiver; the hook's id.
fn hook(world: &World, server: &Server, receiver: &Receiver) -> String {
    let body = json!({"url": receiver.url()});
    let answer = world.post(server, "/webhooks", &body).expect(201);
    answer["id"].as_str().expect("an id").to_owned()
}

/// The only hook in the list.
fn listed(world: &World, server: &Server) -> Value {
    world.get(server, "/webhooks")["webhooks"][0].clone()
}

/// Waits until a number in the listing is `expected`.
fn becomes(world: &World, server: &Server, field: &str, expected: u64) {
    eventually(&format!("{field} {expected}"), || {
        (listed(world, server)[field] == expected).then_some(())
    });
}

#[test]
fn registering_listing_and_removing() {
    let world = World::new();
    world.walks(&[
        "POST /webhooks",
        "GET /webhooks",
        "DELETE /webhooks/:id",
        "DELETE /webhooks",
        "POST /webhooks/:id/test",
    ]);
    let server = world.server();
    for (body, words) in [
        (json!({}), "url is required and must be a string"),
        (json!({"url": 5}), "url is required and must be a string"),
        (json!({"url": "not a url"}), "invalid URL"),
        (
            json!({"url": "ftp://example.com/x"}),
            "only http/https URLs are allowed",
        ),
    ] {
        let answer = world.post(&server, "/webhooks", &body).expect(400);
        assert_eq!(answer["error"], words, "{body}");
        assert_eq!(answer["ok"], false);
    }
    let body = json!({"url": "http://user:secret@127.0.0.1:1/hook", "accountId": "alice"});
    let created = world.post(&server, "/webhooks", &body).expect(201);
    assert_eq!(created["created"], true);
    let again = world.post(&server, "/webhooks", &body).expect(200);
    assert_eq!(again["created"], false);
    let list = world.get(&server, "/webhooks");
    let hooks = list["webhooks"].as_array().expect("webhooks");
    assert_eq!(hooks.len(), 1);
    assert_eq!(hooks[0]["accountId"], "alice");
    assert!(!list.to_string().contains("secret"), "{list}");
    let id = hooks[0]["id"].as_str().expect("an id");
    let path = format!("/webhooks/{id}");
    world.api(&server, "DELETE", &path, None).expect(200);
    world.api(&server, "DELETE", &path, None).expect(404);

    let receiver = Receiver::start();
    let hook = json!({"url": receiver.url()});
    let id = world.post(&server, "/webhooks", &hook).expect(201)["id"].clone();
    let test = |id: &str| world.post(&server, &format!("/webhooks/{id}/test"), &json!({}));
    let outcome = test(id.as_str().expect("an id")).expect(200);
    assert_eq!(
        (&outcome["delivered"], &outcome["status"]),
        (&json!(true), &json!(200))
    );
    assert_eq!(receiver.next().body["event"], "ping");
    test("wh_999").expect(404);
    let path = format!("/webhooks?url={}", receiver.url());
    world.api(&server, "DELETE", &path, None).expect(200);

    let hook = json!({"url": "http://127.0.0.1:1/by-url"});
    world.post(&server, "/webhooks", &hook).expect(201);
    for (query, status) in [
        ("", 400),
        ("?url=http://127.0.0.1:1/other", 404),
        ("?url=http://127.0.0.1:1/by-url", 200),
        ("?url=http://127.0.0.1:1/by-url", 404),
    ] {
        let path = format!("/webhooks{query}");
        world.api(&server, "DELETE", &path, None).expect(status);
    }
    assert_eq!(world.get(&server, "/webhooks")["webhooks"], json!([]));
}

#[test]
fn registering_again_changes_the_given_settings_and_the_worker_follows() {
    let world = World::new();
    let server = world.server();
    let alice = world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let receiver = Receiver::start();
    let register = |more: Value| {
        let mut body = json!({"url": receiver.url()});
        for (name, value) in more.as_object().expect("fields") {
            body[name] = value.clone();
        }
        world.post(&server, "/webhooks", &body)
    };
    let made = register(json!({})).expect(201);
    assert_eq!(
        (&made["created"], &made["updated"]),
        (&json!(true), &json!(false))
    );
    assert_eq!(made["events"], json!(["message"]), "{made}");
    bob.say(&alice.jid(), "plain");
    let plain = receiver.next();
    assert_eq!(plain.header("webhook-signature"), None);

    let settings = json!({
        "events": ["message", "message.sent"],
        "secret": "a secret",
        "headers": {"X-Mine": "1"},
    });
    let changed = register(settings.clone()).expect(200);
    assert_eq!(
        (&changed["created"], &changed["updated"]),
        (&json!(false), &json!(true))
    );
    assert_eq!(changed["id"], made["id"]);
    assert_eq!(changed["events"], json!(["message", "message.sent"]));
    assert_eq!(changed["headerNames"], json!(["X-Mine"]));
    assert_eq!(changed["hasSecret"], true);
    assert!(!changed.to_string().contains("a secret"), "{changed}");
    // The next event of each kind is delivered with the new settings.
    bob.say(&alice.jid(), "signed");
    let signed = receiver.next();
    assert_eq!(signed.body["text"], "signed");
    assert!(signed.header("webhook-signature").is_some());
    assert_eq!(signed.header("x-mine"), Some("1"));
    world
        .post(
            &server,
            "/accounts/alice/message/send",
            &json!({"to": BOB, "message": "out"}),
        )
        .expect(200);
    assert_eq!(receiver.next().body["event"], "message.sent");

    // The same again, in another order, and with nothing given: nothing changes.
    for same in [
        settings,
        json!({"events": ["message.sent", "message"]}),
        json!({}),
        json!({"secret": null}),
    ] {
        let known = register(same).expect(200);
        assert_eq!(
            (&known["created"], &known["updated"]),
            (&json!(false), &json!(false))
        );
        assert_eq!(
            (&known["events"], &known["hasSecret"]),
            (&changed["events"], &json!(true))
        );
    }
    // One of them alone.
    let events = register(json!({"events": ["message"]})).expect(200);
    assert_eq!(
        (&events["updated"], &events["hasSecret"]),
        (&json!(true), &json!(true))
    );
    let bare = register(json!({"secret": "", "headers": {}})).expect(200);
    assert_eq!(
        (&bare["updated"], &bare["hasSecret"]),
        (&json!(true), &json!(false))
    );
    world
        .post(
            &server,
            "/accounts/alice/message/send",
            &json!({"to": BOB, "message": "unheard"}),
        )
        .expect(200);
    bob.say(&alice.jid(), "bare");
    let last = receiver.next();
    assert_eq!(
        (&last.body["text"], last.header("webhook-signature")),
        (&json!("bare"), None)
    );

    let unknown = register(json!({"events": ["message", "mesage.sent"]})).expect(400);
    let words = unknown["error"].as_str().expect("words");
    for part in ["events", "mesage.sent", "message.sent", "account.qr"] {
        assert!(words.contains(part), "{words}");
    }
    let listed = listed(&world, &server);
    assert_eq!(
        (&listed["events"], &listed["headerNames"]),
        (&json!(["message"]), &json!([]))
    );
}

#[test]
fn a_receiver_that_fails_gets_the_same_event_again_also_after_a_power_cut() {
    let world = World::new();
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let receiver = Receiver::with_statuses(vec![500]);
    world
        .post(
            &server,
            "/webhooks",
            &json!({"url": receiver.url(), "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}),
        )
        .expect(201);
    let id = bob.say(ALICE, "once");
    let first = receiver.next();
    assert_eq!(first.body["messageId"], id);
    assert_eq!(first.header("content-type"), Some("application/json"));
    let agent = first.header("user-agent").expect("a user agent");
    assert!(agent.starts_with("wildcat/"), "{agent}");
    assert!(first.header("webhook-timestamp").is_some());
    assert!(
        first
            .header("webhook-signature")
            .is_some_and(|s| s.starts_with("v1,"))
    );
    // It was refused: a server that starts again sends it again, under the same id.
    server.kill();
    let _server = world.server();
    let second = receiver.next();
    assert_eq!(second.body["messageId"], id);
    assert_eq!(second.header("webhook-id"), first.header("webhook-id"));
    assert_eq!(second.body["eventId"], first.body["eventId"]);
    // Later events follow.
    bob.say(ALICE, "later");
    assert_eq!(receiver.next().body["text"], "later");
    assert!(receiver.waiting().is_empty());
}

#[test]
fn a_hook_that_is_down_is_probed_and_dead_letters_can_be_replayed() {
    let world = World::new();
    world.walks(&["GET /webhooks/:id/dead", "POST /webhooks/:id/replay"]);
    let options = world
        .options()
        .with("webhooks.retry_first", "100ms")
        .with("webhooks.retry_max", "200ms")
        .with("webhooks.give_up_after", "1s");
    let server = options.start();
    world.pair(&server, "alice", ALICE);
    let (bob, carol) = (world.phone(BOB, "Bob"), world.phone(CAROL, "Carol"));
    let up = Arc::new(AtomicBool::new(false));
    let is_up = Arc::clone(&up);
    let receiver = Receiver::answering(move |_| match is_up.load(Ordering::SeqCst) {
        true => Reply::status(200),
        false => Reply::status(503),
    });
    let id = hook(&world, &server, &receiver);
    let dead = format!("/webhooks/{id}/dead");
    let replay = format!("/webhooks/{id}/replay");
    let nothing = world.get(&server, &dead);
    assert_eq!(nothing["dead"], json!([]));
    const EACH: usize = 20;
    for n in 0..EACH {
        bob.say(ALICE, &format!("bob {n}"));
        carol.say(ALICE, &format!("carol {n}"));
    }
    becomes(&world, &server, "dead", 2 * EACH as u64);
    let view = listed(&world, &server);
    assert_eq!(view["pending"], 0, "{view}");
    assert!(view["nextAttempt"].is_string() && view["failures"].as_u64() > Some(2));
    // Far fewer attempts than events and intervals would make.
    let attempts = receiver.waiting().len();
    assert!(attempts < 2 * EACH, "{attempts} attempts");

    // They outlast the server.
    server.kill();
    let server = options.start();
    let page = world.get(&server, &format!("{dead}?limit=3&skip=1"));
    assert_eq!(page["pagination"]["total"], 2 * EACH);
    assert_eq!(page["pagination"]["hasMore"], true);
    let page = world.get(&server, &dead);
    let letters = page["dead"].as_array().expect("dead letters");
    assert_eq!(letters.len(), 2 * EACH);
    let letter = &letters[1];
    assert_eq!(letter["replaying"], false);
    let error = letter["error"].as_str().expect("words");
    assert!(error.contains("503"), "{error}");
    assert_eq!(letter["body"]["eventId"], letter["eventId"]);
    for (path, body, status) in [
        (replay.as_str(), json!({"ids": ["evt_x_1"]}), 404),
        (replay.as_str(), json!({"ids": 5}), 400),
        ("/webhooks/wh_99/replay", json!({}), 404),
    ] {
        let answer = world.post(&server, path, &body).expect(status);
        if status == 400 {
            assert_eq!(answer["field"], "ids");
        }
    }
    world
        .api(&server, "GET", "/webhooks/wh_99/dead", None)
        .expect(404);

    up.store(true, Ordering::SeqCst);
    let one = world.post(&server, &replay, &json!({"ids": [letter["eventId"]]}));
    assert_eq!(one.expect(200)["replaying"], 1);
    let again = receiver.next();
    assert_eq!(again.body, letter["body"]);
    assert_eq!(again.header("webhook-id"), letter["eventId"].as_str());
    becomes(&world, &server, "dead", 2 * EACH as u64 - 1);
    let rest = world.post(&server, &replay, &json!({})).expect(200);
    assert_eq!(rest["replaying"], 2 * EACH - 1);
    becomes(&world, &server, "dead", 0);
    // In the order of each chat.
    let got = receiver.waiting();
    assert_eq!(got.len(), 2 * EACH - 1);
    for (name, number) in [("bob", BOB), ("carol", CAROL)] {
        let chat = format!("{number}@s.whatsapp.net");
        let texts: Vec<&str> = got
            .iter()
            .filter(|delivery| delivery.body["chatId"] == chat.as_str())
            .map(|delivery| delivery.body["text"].as_str().expect("a text"))
            .collect();
        let all = (0..EACH).map(|n| format!("{name} {n}"));
        let expected: Vec<String> = all
            .filter(|text| letter["body"]["text"] != text.as_str())
            .collect();
        assert_eq!(texts, expected);
    }
    assert_eq!(listed(&world, &server)["failures"], 0);
}

#[test]
fn a_receiver_may_call_the_api_before_it_answers() {
    let world = World::new();
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let address = server.base().trim_start_matches("http://");
    let address = address.parse().expect("an address");
    let receiver = Receiver::answering(move |delivery| {
        let status = request(address, "GET", "/accounts/alice/status", &[], b"");
        assert_eq!(status.expect(200)["status"], "connected");
        let text = delivery.body["text"].as_str().expect("a text");
        let body = json!({"to": delivery.body["chatId"], "message": format!("echo {text}")});
        let json = [("Content-Type", "application/json")];
        let send = "/accounts/alice/message/send";
        let sent = request(address, "POST", send, &json, body.to_string().as_bytes());
        Reply::status(sent.status)
    });
    hook(&world, &server, &receiver);
    for text in ["one", "two"] {
        bob.say(ALICE, text);
    }
    let got = bob.received(2);
    let texts: Vec<&str> = got.iter().filter_map(|it| it["text"].as_str()).collect();
    assert_eq!(texts, ["echo one", "echo two"]);
    becomes(&world, &server, "pending", 0);
    let view = listed(&world, &server);
    assert_eq!(
        (&view["failures"], &view["lastDelivery"]["status"]),
        (&json!(0), &json!(200))
    );
    assert_eq!(receiver.waiting().len(), 2, "each once");
}

#[test]
fn a_slow_hook_slows_neither_sessions_nor_other_hooks() {
    let world = World::new();
    // Nothing is to be had beyond one delivery for each hook.
    let server = world.options().with("webhooks.max_concurrent", 0).start();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let gate = Arc::new((Mutex::new(false), Condvar::new()));
    let held = Arc::clone(&gate);
    let slow = Receiver::answering(move |_| {
        let open = held.0.lock().expect("a gate");
        let wait = |open: &mut bool| !*open;
        drop(
            held.1
                .wait_timeout_while(open, DEADLINE, wait)
                .expect("a gate"),
        );
        Reply::status(200)
    });
    let fast = Receiver::start();
    hook(&world, &server, &slow);
    hook(&world, &server, &fast);
    bob.say(ALICE, "first");
    assert_eq!(slow.next().body["text"], "first");
    assert_eq!(fast.next().body["text"], "first");
    // While the slow one has not answered yet.
    for n in 0..20 {
        bob.say(ALICE, &format!("{n}"));
        assert_eq!(fast.next().body["text"], format!("{n}"));
    }
    let body = json!({"to": BOB, "message": "hello"});
    world
        .post(&server, "/accounts/alice/message/send", &body)
        .expect(200);
    assert_eq!(bob.received(1)[0]["text"], "hello");
    assert!(slow.waiting().is_empty());
    *gate.0.lock().expect("a gate") = true;
    gate.1.notify_all();
    for n in 0..20 {
        assert_eq!(slow.next().body["text"], format!("{n}"));
    }
}

#[test]
fn retry_after_and_410_of_a_receiver_are_followed() {
    let world = World::new();
    let server = world
        .options()
        .with("webhooks.retry_first", "1h")
        .with("webhooks.retry_max", "1h")
        .start();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let elsewhere = Receiver::start();
    let target = elsewhere.url();
    let replies = Mutex::new(vec![
        Reply {
            headers: "Retry-After: 1\r\n".to_owned(),
            ..Reply::status(503)
        },
        // More than is read of it, and still it took the event.
        Reply {
            body: "x".repeat(1 << 20),
            ..Reply::status(200)
        },
        Reply {
            headers: format!("Location: {target}\r\n"),
            ..Reply::status(307)
        },
        // The test, and the waiting events.
        Reply::status(204),
        Reply::status(204),
        Reply::status(410),
    ]);
    let receiver = Receiver::answering(move |_| {
        let mut replies = replies.lock().expect("replies");
        match replies.is_empty() {
            true => Reply::status(200),
            false => replies.remove(0),
        }
    });
    let id = hook(&world, &server, &receiver);
    bob.say(ALICE, "one");
    let first = receiver.next();
    let began = Instant::now();
    let second = receiver.next();
    assert!(
        began.elapsed() >= Duration::from_millis(900),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(first.header("webhook-id"), second.header("webhook-id"));
    becomes(&world, &server, "pending", 0);
    assert_eq!(listed(&world, &server)["lastDelivery"]["ok"], true);

    bob.say(ALICE, "two");
    assert_eq!(receiver.next().body["text"], "two");
    becomes(&world, &server, "failures", 1);
    let view = listed(&world, &server);
    let error = view["lastDelivery"]["error"].as_str().expect("words");
    assert!(error.contains("redirect"), "{error}");
    // A test that succeeds shows that it need not wait for an hour.
    let test = format!("/webhooks/{id}/test");
    world.post(&server, &test, &json!({})).expect(200);
    assert_eq!(receiver.next().body["event"], "ping");
    assert_eq!(receiver.next().body["text"], "two");
    becomes(&world, &server, "failures", 0);
    assert!(elsewhere.waiting().is_empty(), "redirects are not followed");

    bob.say(ALICE, "three");
    assert_eq!(receiver.next().body["text"], "three");
    let disabled = eventually("the end", || {
        let view = listed(&world, &server);
        view["disabledAt"].is_string().then_some(view)
    });
    assert_eq!(disabled["dead"], 1, "{disabled}");
    let replay = format!("/webhooks/{id}/replay");
    world.post(&server, &replay, &json!({})).expect(409);
    bob.say(ALICE, "four");
    eventually("four in the log", || {
        let log = world.get(&server, "/events?types=message");
        (log["events"].as_array().expect("events").len() == 4).then_some(())
    });
    // Registered again, it gets events from then on, and can replay the rest.
    let again = world.post(&server, "/webhooks", &json!({"url": receiver.url()}));
    let again = again.expect(200);
    assert_eq!(
        (&again["id"], &again["created"]),
        (&json!(id), &json!(false))
    );
    bob.say(ALICE, "five");
    assert_eq!(receiver.next().body["text"], "five");
    assert_eq!(
        world.post(&server, &replay, &json!({})).expect(200)["replaying"],
        1
    );
    assert_eq!(receiver.next().body["text"], "three");
    assert!(receiver.waiting().is_empty());
}

#[test]
fn a_hook_behind_the_log_counts_missed_events() {
    let world = World::new();
    let server = world
        .options()
        .with("webhooks.retry_first", "1h")
        .with("webhooks.retry_max", "1h")
        .with("events.max_bytes", "64 KiB")
        .start();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let receiver = Receiver::with_statuses(vec![500]);
    let id = hook(&world, &server, &receiver);
    const ALL: u64 = 20;
    let long = "x".repeat(10_000);
    for n in 0..ALL {
        bob.say(ALICE, &format!("{n} {long}"));
    }
    // The log is so short that some may leave it with the very commit that brings them.
    eventually("all of them", || {
        let view = listed(&world, &server);
        let sum = view["pending"].as_u64()? + view["missed"].as_u64()?;
        (sum == ALL).then_some(())
    });
    assert_eq!(receiver.waiting().len(), 1, "it is down");
    let test = format!("/webhooks/{id}/test");
    world.post(&server, &test, &json!({})).expect(200);
    becomes(&world, &server, "pending", 0);
    let missed = listed(&world, &server)["missed"]
        .as_u64()
        .expect("a number");
    assert!(missed >= ALL / 2, "{missed}");
    server.wait_log("left the log before");
    // The rest has arrived, and the ping.
    let got = receiver.waiting().len() as u64;
    assert_eq!(got - 1 + missed, ALL);
}

#[test]
fn a_hook_hears_of_the_chats_that_it_asks_for() {
    let world = World::new();
    let server = world.server();
    let alice = world.pair(&server, "alice", ALICE);
    let (bob, carol) = (world.phone(BOB, "Bob"), world.phone(CAROL, "Carol"));
    for (body, words) in [
        (json!({"chats": "all"}), "\"chats\" must be a list"),
        (json!({"chats": ["groups"]}), "\"chats\""),
        (
            json!({"chats": ["@bob.bob"]}),
            "\"chats\" must be a list of JIDs",
        ),
        (json!({"ignore": ["everything"]}), "\"ignore\""),
        (json!({"ignore": vec![BOB; 257]}), "at most 256"),
    ] {
        let mut body = body;
        body["url"] = json!("http://127.0.0.1:1/");
        let refused = world.post(&server, "/webhooks", &body).expect(400);
        assert!(
            refused["error"].as_str().expect("words").contains(words),
            "{refused}"
        );
    }
    let hooks = [
        (json!({}), vec!["b1", "c1"]),
        (json!({"chats": [format!("+{BOB}")]}), vec!["b1"]),
        (json!({"ignore": ["groups", CAROL]}), vec!["b1"]),
        (json!({"events": ["message.any"]}), vec!["b1", "c1", "own"]),
        (
            json!({"events": ["message.any"], "ignore": ["own"]}),
            vec!["b1", "c1"],
        ),
    ];
    let hooks = hooks.map(|(mut body, expected)| {
        let receiver = Receiver::start();
        body["url"] = json!(receiver.url());
        let made = world.post(&server, "/webhooks", &body).expect(201);
        assert!(
            made["chats"].is_array() && made["ignore"].is_array(),
            "{made}"
        );
        (receiver, expected)
    });
    let stored = |id: &str| {
        let path = format!("/accounts/alice/messages/{id}");
        eventually("the message", || {
            (world.api(&server, "GET", &path, None).status == 200).then_some(())
        });
    };
    stored(&bob.say(ALICE, "b1"));
    stored(&carol.say(ALICE, "c1"));
    stored(&alice.say(CAROL, "own"));
    stored(&bob.say(ALICE, "end"));
    for (receiver, expected) in &hooks {
        let mut expected: Vec<&str> = expected.clone();
        expected.push("end");
        let mut found: Vec<String> = Vec::new();
        while found.len() < expected.len() {
            let event = receiver.next().body;
            assert_eq!(event["event"], "message");
            found.push(event["text"].as_str().expect("a text").to_owned());
        }
        // Several chats are delivered at the same time.
        found.sort();
        expected.sort_unstable();
        assert_eq!(found, expected);
    }
}
