//! Power cuts at any moment: nothing is lost or duplicated, and every conversation continues.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Phone, Receiver, Server, World, eventually};

const ALICE: &str = "491700000001";
const BOB: &str = "491700000002";
const CAROL: &str = "491700000003";
const DAVE: &str = "491700000004";

/// The pause between two messages of one sender.
const BEAT: Duration = Duration::from_millis(25);

/// All messages sent while the server was killed and restarted.
#[derive(Default)]
struct Said {
    /// What the phones sent to accounts: account, chat, message id, and the text.
    inbound: Vec<(&'static str, String, String, String)>,
    /// What the API was asked to send, by text.
    outbound: BTreeMap<String, Ask>,
    /// How many requests that took.
    asked: usize,
}

/// Something that the API was asked to send.
struct Ask {
    chat: String,
    /// The message's, if it was answered 200 (WhatsApp has it) or 202 (WhatsApp will have it).
    id: Option<String>,
}

/// One account with the person and the group that it talks to.
struct Pair<'w> {
    account: &'static str,
    number: &'static str,
    friend: Phone<'w>,
    group: String,
}

/// The server's address while it runs, and whether the talk is over.
struct Stage {
    base: Mutex<Option<String>>,
    over: AtomicBool,
    said: Mutex<Said>,
}

#[test]
fn a_hundred_power_cuts_lose_and_duplicate_nothing() {
    pull_the_plug(100);
}

/// Kills the server that often, at random moments under load, and checks whether anything is
/// lost, doubled, or asked for again; says what there was.
pub fn pull_the_plug(kills: usize) -> String {
    let world = World::new();
    let options = world.options().with("limits.messages_per_minute", 6000);
    let receiver = Receiver::start();
    let server = options.start();
    world
        .post(&server, "/webhooks", &json!({"url": receiver.url()}))
        .expect(201);
    let carol = world.phone(CAROL, "Carol");
    let dave = world.phone(DAVE, "Dave");
    world.pair(&server, "alice", ALICE);
    world.pair(&server, "bob", BOB);
    let pairs = [
        Pair {
            account: "alice",
            number: ALICE,
            friend: carol,
            group: group(&world, &[ALICE, CAROL]),
        },
        Pair {
            account: "bob",
            number: BOB,
            friend: dave,
            group: group(&world, &[BOB, DAVE]),
        },
    ];
    let stage = Stage {
        base: Mutex::new(None),
        over: AtomicBool::new(false),
        said: Mutex::default(),
    };
    server.kill();

    thread::scope(|scope| {
        for pair in &pairs {
            scope.spawn(|| phone_talks(pair, &stage));
            scope.spawn(|| account_talks(&world, pair, &stage));
        }
        let _over = Over(&stage);
        for kill in 0..kills {
            let server = options.start();
            *stage.base.lock().expect("base") = Some(server.base().to_owned());
            if kill % 2 == 0 {
                server.wait_log("alice: connected");
            }
            // The random moment that this test is about.
            thread::sleep(Duration::from_millis(fastrand::u64(0..500)));
            *stage.base.lock().expect("base") = None;
            server.kill();
        }
    });

    let server = options.start();
    let said = stage.said.into_inner().expect("said");
    let answered = said.outbound.values().filter(|ask| ask.id.is_some());
    let summary = format!(
        "{kills} kills; {} messages of the phones; {} sends in {} requests, {} taken",
        said.inbound.len(),
        said.outbound.len(),
        said.asked,
        answered.count(),
    );
    nothing_is_on_its_way(&world, &server, &pairs);
    everything_is_stored_once(&world, &server, &pairs, &said);
    everything_was_delivered(&receiver, &said);
    everything_is_at_the_phones_once(&pairs, &said);
    no_conversation_is_broken(&world, &server, &pairs);
    println!("{summary}");
    summary
}

fn group(world: &World, members: &[&str]) -> String {
    let made = world
        .admin(
            "POST",
            "/groups",
            Some(&json!({"subject": "crash", "members": members})),
        )
        .expect_success();
    made["jid"].as_str().expect("a JID").to_owned()
}

/// Ends the talk, also when the test fails.
struct Over<'s>(&'s Stage);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Relaxed);
    }
}

/// The friend talks to the account, every fifth time in the group.
fn phone_talks(pair: &Pair<'_>, stage: &Stage) {
    let mut n = 0;
    while !stage.over.load(Ordering::Relaxed) {
        let text = format!("{} hears {n}", pair.account);
        let chat = match n % 5 {
            4 => pair.group.clone(),
            _ => pair.friend.jid(),
        };
        let to = match n % 5 {
            4 => &pair.group,
            _ => pair.number,
        };
        let id = pair.friend.say(to, &text);
        let mut said = stage.said.lock().expect("said");
        said.inbound.push((pair.account, chat, id, text));
        drop(said);
        n += 1;
        thread::sleep(BEAT);
    }
}

/// The account talks to the friend, every fifth time in the group. Requests without an answer are repeated
/// for again under its key, as a careful program does.
fn account_talks(world: &World, pair: &Pair<'_>, stage: &Stage) {
    let mut n = 0;
    while !stage.over.load(Ordering::Relaxed) {
        let base = stage.base.lock().expect("base").clone();
        if let Some(base) = base {
            let text = format!("{} says {n}", pair.account);
            let chat = match n % 5 {
                4 => pair.group.clone(),
                _ => pair.friend.jid(),
            };
            let url = format!("{base}/accounts/{}/message/send", pair.account);
            let key = text.replace(' ', "-");
            let body = json!({"to": chat, "message": text});
            let answer = world.http().try_post(&url, &key, &body);
            let accepted = answer.filter(|answer| matches!(answer.status, 200 | 202));
            let mut said = stage.said.lock().expect("said");
            said.asked += 1;
            if let Some(answer) = accepted {
                let id = answer.json()["messageId"].as_str().map(str::to_owned);
                let id = id.expect("an id");
                said.outbound.insert(text, Ask { chat, id: Some(id) });
                n += 1;
            } else {
                said.outbound.entry(text).or_insert(Ask { chat, id: None });
            }
        }
        thread::sleep(BEAT);
    }
}

/// Every message of a chat, through all its pages; `None` if more came meanwhile, which moves them.
fn stored(world: &World, server: &Server, account: &str, chat: &str) -> Option<Vec<Value>> {
    let mut all = Vec::new();
    let mut total = None;
    loop {
        let path = format!(
            "/accounts/{account}/chats/{chat}/messages?limit=100&offset={}",
            all.len()
        );
        let page = world.get(server, &path);
        let messages = page["messages"].as_array().expect("messages");
        all.extend(messages.iter().cloned());
        if *total.get_or_insert(page["pagination"]["total"].clone()) != page["pagination"]["total"]
        {
            return None;
        }
        if page["pagination"]["hasMore"] == false {
            return Some(all);
        }
    }
}

fn chats<'p>(pairs: &'p [Pair<'_>]) -> impl Iterator<Item = (&'p Pair<'p>, String)> {
    pairs
        .iter()
        .flat_map(|pair| [(pair, pair.friend.jid()), (pair, pair.group.clone())])
}

/// Accepted messages without an ack are sent by the server.
fn nothing_is_on_its_way(world: &World, server: &Server, pairs: &[Pair<'_>]) {
    for pair in pairs {
        let path = format!("/accounts/{}/outbox", pair.account);
        eventually("an empty outbox", || {
            let outbox = world.get(server, &path);
            (outbox["messages"] == json!([])).then_some(())
        });
    }
}

fn everything_is_stored_once(world: &World, server: &Server, pairs: &[Pair<'_>], said: &Said) {
    for (pair, chat) in chats(pairs) {
        let expected: BTreeMap<&str, &str> = said
            .inbound
            .iter()
            .filter(|(account, to, ..)| *account == pair.account && *to == chat)
            .map(|(_, _, id, text)| (id.as_str(), text.as_str()))
            .collect();
        let what = format!("{} messages in {chat} of {}", expected.len(), pair.account);
        let messages = eventually(&what, || {
            let messages = stored(world, server, pair.account, &chat)?;
            let inbound = messages.iter().filter(|m| m["fromMe"] == false).count();
            (inbound >= expected.len()).then_some(messages)
        });
        let mut seen = BTreeSet::new();
        for message in &messages {
            let id = message["messageId"].as_str().expect("an id");
            assert!(seen.insert(id), "{id} is stored twice");
            if message["fromMe"] == false {
                assert_eq!(
                    expected.get(id),
                    Some(&message["text"].as_str().expect("a text"))
                );
            }
        }
        for (text, ask) in &said.outbound {
            if ask.chat != chat || !text.starts_with(pair.account) {
                continue;
            }
            let Some(id) = &ask.id else { continue };
            let own = messages.iter().find(|m| m["messageId"] == id.as_str());
            let own = own.unwrap_or_else(|| panic!("{text} ({id}) was taken and is not stored"));
            assert_eq!(own["text"], text.as_str());
            assert_ne!(own["status"], "pending", "{own}");
            assert_ne!(own["status"], "failed", "{own}");
        }
    }
}

fn everything_was_delivered(receiver: &Receiver, said: &Said) {
    let mut missing: BTreeSet<(String, String)> = said
        .inbound
        .iter()
        .map(|(account, _, id, _)| ((*account).to_owned(), id.clone()))
        .collect();
    let mut ids = BTreeMap::new();
    let mut repeated = 0;
    while !missing.is_empty() {
        let delivery = receiver.next();
        let field = |name| delivery.body[name].as_str().expect("a text").to_owned();
        let message = (field("accountId"), field("messageId"));
        let webhook_id = delivery.header("webhook-id").expect("an id").to_owned();
        missing.remove(&message);
        if let Some(earlier) = ids.insert(message, webhook_id.clone()) {
            repeated += 1;
            assert_eq!(earlier, webhook_id, "one message under two webhook ids");
        }
    }
    println!("{repeated} deliveries were repeated under their id");
}

/// What the friend's phone has, once it has all that it had to ask for again.
///
/// One thing makes it ask: a group's sender key that went out with a message for the second time,
/// under the same id, which the service drops as known. Sender keys change every 1,000 messages, and
/// each restart counts for a batch of them.
fn state_after_retries(pair: &Pair<'_>) -> Value {
    eventually("what was asked for again", || {
        let state = pair.friend.state();
        let has = |id: &Value| {
            let received = state["received"].as_array().expect("received");
            received.iter().any(|message| message["messageId"] == *id)
        };
        let unread = state["unread"].as_array().expect("unread");
        assert!(
            unread.len() <= 3,
            "{} cannot read: {unread:?}",
            pair.friend.number
        );
        for message in unread {
            assert_eq!(message["reason"], "no_session", "{message}");
            println!("{} asked again for {message}", pair.friend.number);
        }
        let all = unread.iter().all(|message| has(&message["messageId"]));
        all.then_some(state)
    })
}

fn everything_is_at_the_phones_once(pairs: &[Pair<'_>], said: &Said) {
    for pair in pairs {
        let state = state_after_retries(pair);
        let mut by_text: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
        for message in state["received"].as_array().expect("received") {
            let text = message["text"].as_str().expect("a text");
            by_text.entry(text).or_default().push(message);
        }
        for (text, copies) in &by_text {
            assert_eq!(copies.len(), 1, "{text} came {} times", copies.len());
            assert!(said.outbound.contains_key(*text), "nobody said {text}");
        }
        for (text, ask) in &said.outbound {
            let own = text.starts_with(pair.account);
            let Some(id) = ask.id.as_deref().filter(|_| own) else {
                continue;
            };
            let copies = by_text.get(text.as_str());
            let copy = copies.unwrap_or_else(|| panic!("{text} was taken and never came"));
            assert_eq!(copy[0]["messageId"], id);
        }
        // No retry request: stored messages are known even if the session has lost its state.
        for sent in state["sent"].as_array().expect("sent") {
            let receipts = sent["receipts"].as_array().expect("receipts");
            let asked = receipts.iter().any(|receipt| receipt["type"] == "retry");
            assert!(!asked, "{} asked again for {sent}", pair.account);
        }
    }
}

/// After all that, a word each way still arrives.
fn no_conversation_is_broken(world: &World, server: &Server, pairs: &[Pair<'_>]) {
    for (pair, chat) in chats(pairs) {
        let text = format!("{} is still here, in {chat}", pair.account);
        let path = format!("/accounts/{}/message/send", pair.account);
        let body = json!({"to": chat, "message": text});
        let sent = eventually("an account that is connected", || {
            let answer = world.post(server, &path, &body);
            (answer.status == 200).then(|| answer.json())
        });
        eventually("the last word", || {
            let received = pair.friend.all_received();
            received
                .iter()
                .any(|m| m["messageId"] == sent["messageId"])
                .then_some(())
        });
    }
}
