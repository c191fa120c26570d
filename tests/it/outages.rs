//! Outages of WhatsApp under load: nothing is lost or duplicated.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use wildcat_simulator::Cut;

use crate::support::{Form, Server, World, eventually};

/// The outages: how connections die, and for how long the power is away.
const OUTAGES: [(Cut, Duration); 7] = [
    (Cut::Reset, Duration::ZERO),
    (Cut::Silent, Duration::from_millis(50)),
    (Cut::Reset, Duration::from_millis(300)),
    // Longer than a connection may be silent: it is given up before the power is back.
    (Cut::Silent, Duration::from_secs(6)),
    (Cut::Reset, Duration::from_millis(10)),
    (Cut::Silent, Duration::ZERO),
    (Cut::Reset, Duration::from_millis(100)),
];
/// Messages in each direction of each pair between two outages, at least.
const BETWEEN: usize = 8;

/// An account of the server and the phone of a person that it talks with.
struct Pair {
    account: &'static str,
    number: &'static str,
    friend: &'static str,
    /// What the API answered 200 for: text, id.
    sent: Mutex<Vec<(String, String)>>,
    /// How many sends got another answer.
    not_sent: AtomicUsize,
    /// What the friend's phone sent: text, id.
    said: Mutex<Vec<(String, String)>>,
}

impl Pair {
    fn new(account: &'static str, number: &'static str, friend: &'static str) -> Pair {
        Pair {
            account,
            number,
            friend,
            sent: Mutex::default(),
            not_sent: AtomicUsize::new(0),
            said: Mutex::default(),
        }
    }

    fn sent(&self) -> usize {
        self.sent.lock().expect("sent").len()
    }

    fn said(&self) -> usize {
        self.said.lock().expect("said").len()
    }

    /// Sends unique texts through the API, one after the other, without repetitions.
    fn keep_sending(&self, world: &World, server: &Server, over: &AtomicBool) {
        let path = format!("/accounts/{}/message/send", self.account);
        for n in 0.. {
            if over.load(Ordering::Relaxed) {
                return;
            }
            let text = format!("{} to {}: {n}", self.account, self.friend);
            let answer = world.post(server, &path, &json!({"to": self.friend, "message": text}));
            if answer.status == 200 {
                let id = answer.json()["messageId"]
                    .as_str()
                    .expect("an id")
                    .to_owned();
                self.sent.lock().expect("sent").push((text, id));
            } else {
                self.not_sent.fetch_add(1, Ordering::Relaxed);
                // The pause of a client that was refused, not a wait for anything.
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }

    /// The friend writes, whenever there is power.
    fn keep_saying(&self, world: &World, over: &AtomicBool) {
        let path = format!("/phones/{}/messages", self.friend);
        let mut n = 0;
        while !over.load(Ordering::Relaxed) {
            let text = format!("{} to {}: {n}", self.friend, self.account);
            let body = json!({"to": self.number, "text": text});
            let (status, answer) = world.by_hand("POST", &path, Some(&body));
            match status {
                200 => {
                    let id = answer["messageId"].as_str().expect("an id").to_owned();
                    self.said.lock().expect("said").push((text, id));
                    n += 1;
                }
                503 => {}
                other => panic!("{other}: {answer}"),
            }
            // People type.
            std::thread::sleep(Duration::from_millis(40));
        }
    }

    /// Every message of the chat, as the server has stored it, at one moment: one that comes while the pages are
    /// read would shift later ones, so they are read again then.
    fn stored(&self, world: &World, server: &Server) -> Vec<Value> {
        eventually("a chat that stays as it is while it is listed", || {
            let (all, total) = self.listed(world, server);
            let after = self.page(world, server, 0).map_or(0, |(_, total)| total);
            (total == after && all.len() as u64 == total).then_some(all)
        })
    }

    /// A page of the chat, and how many messages the chat has; `None` while there is no such chat.
    fn page(&self, world: &World, server: &Server, offset: usize) -> Option<(Value, u64)> {
        let path = format!(
            "/accounts/{}/chats/{}/messages?limit=100&offset={offset}",
            self.account, self.friend
        );
        let answer = world.api(server, "GET", &path, None);
        if answer.status == 404 {
            return None;
        }
        let page = answer.expect(200);
        let total = page["pagination"]["total"].as_u64().expect("a total");
        Some((page, total))
    }

    /// All pages, one after the other, and how many messages the first one said there are.
    fn listed(&self, world: &World, server: &Server) -> (Vec<Value>, u64) {
        let (mut all, mut first) = (Vec::new(), 0);
        while let Some((page, total)) = self.page(world, server, all.len()) {
            if all.is_empty() {
                first = total;
            }
            let messages = page["messages"].as_array().expect("messages");
            all.extend(messages.iter().cloned());
            if page["pagination"]["hasMore"] != true {
                break;
            }
        }
        (all, first)
    }

    /// What the friend's phone has got, by text: the ids.
    fn received(&self, world: &World) -> BTreeMap<String, Vec<String>> {
        let path = format!("/phones/{}/messages", self.friend);
        let (status, page) = world.by_hand("GET", &path, None);
        assert_eq!(status, 200, "{page}");
        let mut by_text: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for message in page["received"].as_array().expect("messages") {
            let field = |name: &str| message[name].as_str().unwrap_or_default().to_owned();
            assert_eq!(message["error"], Value::Null, "{message}");
            by_text
                .entry(field("text"))
                .or_default()
                .push(field("messageId"));
        }
        by_text
    }
}

#[test]
fn an_outage_of_whatsapp_loses_and_duplicates_nothing() {
    let world = World::new();
    let server = world
        .options()
        .with("whatsapp.silence", "2s")
        .with("limits.messages_per_minute", 6000)
        .start();
    let pairs = [
        Pair::new("alice", "491700000001", "491700000011"),
        Pair::new("bob", "491700000002", "491700000012"),
    ];
    for pair in &pairs {
        world.pair(&server, pair.account, pair.number);
        world.phone(pair.friend, &format!("friend of {}", pair.account));
    }

    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // However this ends, the others are to end with it.
        let _end = EndWith(&over);
        for pair in &pairs {
            scope.spawn(|| pair.keep_sending(&world, &server, &over));
            scope.spawn(|| pair.keep_saying(&world, &over));
        }
        for (cut, away) in OUTAGES {
            talk(&pairs);
            world.simulator.lose_power(cut).expect("power");
            std::thread::sleep(away);
            world.simulator.restore_power().expect("power");
            reconnect(&world, &server, &pairs);
        }
        talk(&pairs);
    });

    for pair in &pairs {
        check(&world, &server, pair);
    }
    no_long_steps(&world, &server, 50.0);
}

/// Steps on the event thread take at most `most` milliseconds, in 999
/// steps of 1,000.
fn no_long_steps(world: &World, server: &Server, most: f64) {
    let health = world.api(server, "GET", "/health", None).json();
    let thread = &health["eventThread"];
    println!("{thread}");
    assert!(thread["steps"].as_u64() > Some(1_000), "{thread}");
    assert!(thread["p999Ms"].as_f64() < Some(most), "{thread}");
}

#[test]
fn under_load_of_every_kind_no_step_is_long() {
    const ALICE: &str = "491700000001";
    const BOB: &str = "491700000011";
    let world = World::new();
    let server = world
        .options()
        .with("limits.messages_per_minute", 6000)
        .start();
    let alice = world.phone(ALICE, "Alice");
    let bob = world.phone(BOB, "Bob");
    alice.post(
        "history",
        &json!({"chats": 20, "messagesPerChat": 100, "days": 30}),
    );
    world.pair(&server, "alice", ALICE);

    let send = "/accounts/alice/message/send";
    let file = vec![b'x'; 1 << 20];
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let flood = json!({"from": BOB, "to": ALICE, "count": 500});
            let done = world.admin("POST", "/load", Some(&flood)).expect(200);
            assert_eq!(done["acknowledged"], 500, "{done}");
        });
        scope.spawn(|| {
            for n in 0..50 {
                let text = json!({"to": BOB, "message": format!("text {n}")});
                world.post(&server, send, &text).expect(200);
            }
        });
        scope.spawn(|| {
            let url = format!("{}{send}/document", server.base());
            for _ in 0..3 {
                let (kind, body) = Form::new()
                    .field("to", BOB)
                    .file("document", "x.bin", "application/octet-stream", &file)
                    .build();
                world
                    .http()
                    .send("POST", &url, &kind, Some(body))
                    .expect(200);
            }
        });
        scope.spawn(|| {
            let photo = include_bytes!("../fixtures/media/photo.jpg");
            let photo = json!({"base64": crate::media_in::base64(photo), "mimetype": "image/jpeg"});
            for _ in 0..3 {
                bob.send(&json!({"to": ALICE, "image": photo}));
            }
        });
    });
    // Pending downloads and imports finish, too.
    eventually("the files", || {
        let page = world.get(
            &server,
            &format!("/media?accountId=alice&chatId={BOB}@s.whatsapp.net"),
        );
        (page["media"].as_array()?.len() >= 6).then_some(())
    });
    // A test build is not optimised, and spends its longest steps in looking for the ends of a form's parts.
    no_long_steps(&world, &server, 250.0);
}

struct EndWith<'a>(&'a AtomicBool);

impl Drop for EndWith<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Waits until all senders have sent some more.
fn talk(pairs: &[Pair]) {
    let marks: Vec<_> = pairs.iter().map(|p| (p.sent(), p.said())).collect();
    eventually("talk in every direction", || {
        let all = pairs.iter().zip(&marks).all(|(pair, (sent, said))| {
            pair.sent() >= sent + BETWEEN && pair.said() >= said + BETWEEN
        });
        all.then_some(())
    });
}

/// Connects at once after an outage, without waiting for the grown pauses.
fn reconnect(world: &World, server: &Server, pairs: &[Pair]) {
    for pair in pairs {
        eventually("the connection", || {
            let path = format!("/accounts/{}", pair.account);
            let status = world.get(server, &format!("{path}/status"))["status"].clone();
            if status == "reconnecting" {
                world
                    .post(server, &format!("{path}/connect"), &json!({}))
                    .expect(200);
            }
            (status == "connected").then_some(())
        });
    }
}

fn check(world: &World, server: &Server, pair: &Pair) {
    let said = pair.said.lock().expect("said").clone();
    let sent = pair.sent.lock().expect("sent").clone();
    let not_sent = pair.not_sent.load(Ordering::Relaxed);
    println!(
        "{}: {} sent, {not_sent} not, {} received",
        pair.account,
        sent.len(),
        said.len()
    );
    // In: every message of the phone is stored, exactly once.
    let from_friend = |stored: &[Value]| -> Vec<(String, String)> {
        let mut found: Vec<_> = stored
            .iter()
            .filter(|message| message["fromMe"] == false)
            .map(|message| {
                let field = |name: &str| message[name].as_str().unwrap_or_default().to_owned();
                (field("text"), field("messageId"))
            })
            .collect();
        found.sort();
        found
    };
    let mut expected = said;
    expected.sort();
    eventually("every message of the phone", || {
        let found = from_friend(&pair.stored(world, server)).len();
        (found >= expected.len()).then_some(())
    });
    let stored = pair.stored(world, server);
    assert_eq!(from_friend(&stored), expected, "{}", pair.account);

    // Outgoing: each message answered 200 is at the phone once under its id, no other one twice.
    let received = pair.received(world);
    for (text, id) in &sent {
        assert_eq!(received.get(text), Some(&vec![id.clone()]), "{text}");
        let own = stored
            .iter()
            .find(|message| message["messageId"] == id.as_str());
        let status = own.map(|message| message["status"].clone());
        let status = status.as_ref().and_then(Value::as_str).unwrap_or_default();
        assert!(
            ["sent", "delivered", "read"].contains(&status),
            "{text} is {status:?}"
        );
    }
    for (text, ids) in &received {
        assert_eq!(ids.len(), 1, "{text} is there {} times", ids.len());
    }

    // Sessions are intact: a retry request is for a message that the device had, and has taken too many since to
    // decrypt it twice.
    for number in [pair.number, pair.friend] {
        let (_, person) = world.by_hand("GET", &format!("/phones/{number}"), None);
        println!("{number}: {} retries", person["retries"]);
        assert_eq!(person["retries"], person["lateRetries"], "{person}");
    }
}
