//! How fast texts come and go, beside the same work done by the bare client: whatsapp-rust's own on
//! tokio, with its in-memory store. Both meet a simulator that is in this process.

use std::thread;
use std::time::Instant;

use serde_json::{Value, json};

use crate::Scale;
use crate::load::{self, Timed};
use crate::stock::Stock;
use crate::support::{Receiver, World};

const ALICE: &str = "491710000000";
/// The recipients, in turn.
const RECIPIENTS: usize = 8;
/// How many messages are sent at how many at a time.
const SENDS: [(usize, usize); 3] = [(500, 1), (1_000, 8), (3_000, 64)];
/// Messages of a flood.
const FLOOD: usize = 3_000;

/// What one client did.
struct Figures {
    /// For each of [`SENDS`].
    sends: Vec<Timed>,
    /// Messages of one person a second, until all are acknowledged.
    of_one: f64,
    /// The same of all recipients at once.
    of_all: f64,
    /// Messages a second until they were with whom the client hands them to.
    handed_over: f64,
}

pub fn run(scale: Scale) {
    println!("\n| What | wildcat | bare client | ratio |\n|---|---|---|---|");
    let ours = server(scale);
    let bare = stock(scale);
    for (n, (_, concurrency)) in SENDS.into_iter().enumerate() {
        let (ours, bare) = (&ours.sends[n], &bare.sends[n]);
        for percent in [50, 99] {
            compare(
                &format!("text to the server's ack, {concurrency} at a time, p{percent}, ms"),
                ours.percentile(percent),
                bare.percentile(percent),
            );
        }
        let what = format!("texts sent a second, {concurrency} at a time");
        compare(&what, ours.per_second(), bare.per_second());
    }
    for (whose, ours, bare) in [
        ("of one person", ours.of_one, bare.of_one),
        ("of eight at once", ours.of_all, bare.of_all),
    ] {
        compare(
            &format!(
                "texts {whose} received a second, until stored and acknowledged (bare: acknowledged)"
            ),
            ours,
            bare,
        );
    }
    compare(
        "texts of one person received a second, until on the webhook (bare: in its event handler)",
        ours.handed_over,
        bare.handed_over,
    );
}

fn compare(what: &str, ours: f64, bare: f64) {
    let shown = |value: f64| match value {
        value if value < 100.0 => format!("{value:.2}"),
        value => format!("{value:.0}"),
    };
    println!(
        "| {what} | {} | {} | {:.2} |",
        shown(ours),
        shown(bare),
        ours / bare
    );
}

fn server(scale: Scale) -> Figures {
    let world = World::new();
    let server = world
        .options()
        .with("limits.messages_per_minute", 6000)
        .with("server.max_connections", 256)
        .start();
    world.pair(&server, "alice", ALICE);
    let to = recipients(&world);
    let send = |count, concurrency| {
        load::run(server.base(), count, concurrency, |connection, n| {
            let body = json!({"to": to[n % to.len()], "message": format!("message {n}")});
            let path = "/accounts/alice/message/send";
            connection.json("POST", path, Some(&body));
        })
    };
    // The first message to a person asks for his devices and keys.
    send(to.len(), 1);
    let sends = SENDS.map(|(count, concurrency)| send(scale.of(count), concurrency));

    let count = scale.of(FLOOD);
    let of_one = count as f64 / flood(&world, &to[0], count);
    let messages = format!("/accounts/alice/chats/{}@s.whatsapp.net/messages", to[0]);
    let expected = count + sent_to_first(scale);
    let page = world.get(&server, &messages);
    assert_eq!(page["pagination"]["total"], expected, "all were stored");
    let of_all = flood_of_all(&world, &to, count);

    let receiver = Receiver::start();
    world
        .post(&server, "/webhooks", &json!({"url": receiver.url()}))
        .expect(201);
    let start = Instant::now();
    let seconds = thread::scope(|scope| {
        scope.spawn(|| flood(&world, &to[1], count));
        let mut seen = std::collections::HashSet::new();
        while seen.len() < count {
            let body = receiver.next().body;
            seen.insert(body["messageId"].as_str().expect("an id").to_owned());
        }
        start.elapsed().as_secs_f64()
    });
    Figures {
        sends: sends.into(),
        of_one,
        of_all,
        handed_over: count as f64 / seconds,
    }
}

fn stock(scale: Scale) -> Figures {
    let world = World::new();
    let mut client = Stock::link(&world, ALICE);
    let to = recipients(&world);
    client.send(&to, to.len(), 1);
    let sends = SENDS.map(|(count, concurrency)| client.send(&to, scale.of(count), concurrency));
    let count = scale.of(FLOOD);
    client.expect(count);
    let start = Instant::now();
    let of_one = count as f64 / flood(&world, &to[0], count);
    client.received();
    let handed_over = count as f64 / start.elapsed().as_secs_f64();
    let of_all = flood_of_all(&world, &to, count);
    Figures {
        sends: sends.into(),
        of_one,
        of_all,
        handed_over,
    }
}

fn recipients(world: &World) -> Vec<String> {
    let numbers: Vec<String> = (1..=RECIPIENTS)
        .map(|n| format!("49171000000{n}"))
        .collect();
    for number in &numbers {
        world.phone(number, "Bob");
    }
    numbers
}

/// How many of all messages sent went to the first recipient.
fn sent_to_first(scale: Scale) -> usize {
    let sent = SENDS.iter().map(|(count, _)| scale.of(*count));
    1 + sent.map(|count| count.div_ceil(RECIPIENTS)).sum::<usize>()
}

/// All of these send Alice as many messages, `count` together; how many of them a second are
/// acknowledged.
fn flood_of_all(world: &World, from: &[String], count: usize) -> f64 {
    let each = count / from.len();
    let start = Instant::now();
    thread::scope(|scope| {
        for number in from {
            scope.spawn(|| flood(world, number, each));
        }
    });
    (each * from.len()) as f64 / start.elapsed().as_secs_f64()
}

/// `from` sends Alice so many messages; the seconds until they are acknowledged.
fn flood(world: &World, from: &str, count: usize) -> f64 {
    let body = json!({"from": from, "to": ALICE, "count": count});
    let done: Value = world.admin("POST", "/load", Some(&body)).expect(200);
    assert_eq!(done["acknowledged"], count, "{done}");
    done["seconds"].as_f64().expect("seconds")
}
