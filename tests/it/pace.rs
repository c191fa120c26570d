//! The account's rate: a burst, pauses between queued messages, new contacts per day, and few look-ups. These are
//! the causes that reports of bans name (whatsmeow#1197, whatsmeow#807, Baileys#2075, Baileys#2707).

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::lock::sent;
use crate::support::{Answer, Receiver, Server, ServerOptions, Time, World, eventually};

const ALICE: &str = "491700000001";
const BOB: &str = "491700000002";
const CAROL: &str = "491700000003";
const DAVE: &str = "491700000004";
const NOBODY: &str = "491799999999";
const SEND: &str = "/accounts/alice/message/send";
const DAY: Duration = Duration::from_secs(24 * 3_600);

fn send(world: &World, server: &Server, to: &str, text: &str) -> Answer {
    world.post(server, SEND, &json!({"to": to, "message": text}))
}

fn queue(world: &World, server: &Server, to: &str, text: &str) -> Answer {
    let body = json!({"to": to, "message": text, "queue": true});
    world.post(server, SEND, &body)
}

/// With the pace that users have.
fn as_shipped(world: &World) -> ServerOptions {
    world
        .options()
        .without("limits.burst")
        .without("outbox.gap")
}

#[test]
fn a_burst_is_sent_at_once_and_not_more() {
    let world = World::new();
    let server = as_shipped(&world).start();
    world.pair(&server, "alice", ALICE);
    world.phone(BOB, "Bob");
    let began = Instant::now();
    let mut at_once = 0;
    let refused = loop {
        let answer = send(&world, &server, BOB, "hello");
        if answer.status == 429 {
            break answer;
        }
        answer.expect(200);
        at_once += 1;
        assert!(at_once < 60, "the whole minute's went at once");
    };
    // One a second came in meanwhile.
    let passed = began.elapsed().as_secs() + 1;
    assert!((20..=20 + passed).contains(&at_once), "{at_once}");
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(refused.expect(429)["retryAfter"], 1);
}

#[test]
fn queued_messages_are_sent_in_order_with_pauses_and_delay_no_others() {
    let world = World::new();
    let server = as_shipped(&world).start();
    world.pair(&server, "alice", ALICE);
    let (bob, carol) = (world.phone(BOB, "Bob"), world.phone(CAROL, "Carol"));
    send(&world, &server, BOB, "known").expect(200);
    let disconnect = "/accounts/alice/disconnect";
    world.post(&server, disconnect, &json!({})).expect(200);
    for text in ["one", "two", "three"] {
        queue(&world, &server, BOB, text).expect(202);
    }
    let receiver = Receiver::start();
    let hook = json!({"url": receiver.url(), "events": ["message.sent"]});
    world.post(&server, "/webhooks", &hook).expect(201);
    let connect = "/accounts/alice/connect";
    world.post(&server, connect, &json!({})).expect(200);
    let next = || {
        let event = receiver.next().body;
        let at = event["createdAt"].as_str().expect("a time").to_owned();
        (
            event["text"].as_str().expect("a text").to_owned(),
            at,
            Instant::now(),
        )
    };
    let first = next();
    // A send with a waiting client precedes queued messages.
    send(&world, &server, CAROL, "at once").expect(200);
    let between = next();
    assert_eq!((first.0.as_str(), between.0.as_str()), ("one", "at once"));
    let (second, third) = (next(), next());
    assert_eq!((second.0.as_str(), third.0.as_str()), ("two", "three"));
    for (before, after) in [(&first, &second), (&second, &third)] {
        let gap = after.2.saturating_duration_since(before.2);
        // What the way to the hook takes differs from one to the next.
        assert!((800..6_000).contains(&gap.as_millis()), "{gap:?}");
    }
    assert_eq!(carol.received(1).len(), 1);
    // With nothing before it, nothing is waited for.
    queue(&world, &server, BOB, "now").expect(200);
    assert_eq!(bob.received(5).len(), 5);
}

#[test]
fn the_limit_of_new_contacts_per_day_survives_a_power_cut() {
    let world = World::new();
    let start = || {
        let mut options = world.options().with("limits.new_contacts_per_day", 2);
        let time = Time::of(&mut options);
        (options.start(), time)
    };
    let (server, _) = start();
    let alice = world.pair(&server, "alice", ALICE);
    let (bob, carol) = (world.phone(BOB, "Bob"), world.phone(CAROL, "Carol"));
    let dave = world.phone(DAVE, "Dave");
    send(&world, &server, BOB, "one").expect(200);
    // A refusal is an attempt, and the same person is one.
    world.fault(&json!({"kind": "refuse-sends", "code": 479, "count": 2}));
    send(&world, &server, CAROL, "two").expect(400);
    send(&world, &server, CAROL, "two").expect(400);
    let full = |server: &Server| {
        let full = send(&world, server, DAVE, "three");
        assert!(full.header("retry-after").is_some());
        let full = full.expect(429);
        let seconds = full["retryAfter"].as_u64().expect("seconds");
        assert!((86_000..=86_400).contains(&seconds), "{full}");
        let words = full["error"].as_str().expect("words").to_owned();
        assert!(
            words.contains("at most 2 people within 24 hours"),
            "{words}"
        );
    };
    full(&server);
    server.kill();
    let (server, time) = start();
    server.wait_log("alice: connected");
    full(&server);
    let waits = queue(&world, &server, DAVE, "three").expect(202);
    let words = waits["message"].as_str().expect("words");
    assert!(words.contains("within 24 hours"), "{words}");
    // One that was counted before, and one that has written first, are no new ones.
    send(&world, &server, CAROL, "two").expect(200);
    send(&world, &server, BOB, "and on").expect(200);
    let erin = world.phone("491700000005", "Erin");
    erin.say(&alice.jid(), "hello");
    eventually("her chat", || {
        (send(&world, &server, &erin.number, "hi").status == 200).then_some(())
    });
    assert_eq!(dave.all_received(), [] as [Value; 0]);
    // The first of them was a day ago.
    time.passes(DAY);
    assert_eq!(dave.received(1)[0]["text"], "three");
    assert_eq!((bob.received(2).len(), carol.received(1).len()), (2, 1));
}

#[test]
fn whatsapp_is_asked_about_a_number_once_a_day() {
    let world = World::new();
    let mut options = world.options();
    let time = Time::of(&mut options);
    let server = options.start();
    world.pair(&server, "alice", ALICE);
    let asked = || sent(&world, |stanza| stanza["attrs"]["xmlns"] == "usync");
    let before = asked();
    let words = format!("{NOBODY} is not on WhatsApp");
    for _ in 0..3 {
        let refused = send(&world, &server, NOBODY, "hello?").expect(400);
        assert_eq!(refused["error"], words);
    }
    assert_eq!(asked(), before + 1);
    time.passes(DAY);
    world.phone(NOBODY, "Newcomer");
    send(&world, &server, NOBODY, "hello?").expect(200);
    assert!(asked() > before + 1);
}
