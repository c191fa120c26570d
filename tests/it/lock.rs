//! WhatsApp's restrictions on messages to new contacts: the server queries them, takes pushed ones, and holds messages back.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Answer, Phone, Receiver, Server, Time, World, eventually};

const ALICE: &str = "491700000001";
const BOB: &str = "491700000002";
const CAROL: &str = "491700000003";
const DAVE: &str = "491700000004";
const SEND: &str = "/accounts/alice/message/send";
const HOUR: Duration = Duration::from_secs(3_600);

fn send(world: &World, server: &Server, to: &str, text: &str) -> Answer {
    world.post(server, SEND, &json!({"to": to, "message": text}))
}

fn queue(world: &World, server: &Server, to: &str, text: &str) -> Answer {
    let body = json!({"to": to, "message": text, "queue": true});
    world.post(server, SEND, &body)
}

fn hook(world: &World, server: &Server) -> Receiver {
    let receiver = Receiver::start();
    let body = json!({"url": receiver.url(), "events": ["account.restricted"]});
    world.post(server, "/webhooks", &body).expect(201);
    receiver
}

fn limits(world: &World, body: &Value) {
    let path = format!("/phones/{ALICE}/limits");
    world.admin("POST", &path, Some(body)).expect_success();
}

fn restriction(world: &World, server: &Server) -> Value {
    let account = world.get(server, "/accounts/alice")["account"]["restriction"].clone();
    let status = world.get(server, "/accounts/alice/status")["restriction"].clone();
    assert_eq!(account, status);
    let health = world.get(server, "/health")["accounts"][0].clone();
    assert_eq!(health["restrictedUntil"], account["until"], "{health}");
    assert_eq!(health["healthy"], true, "{health}");
    let outbox = world.get(server, "/accounts/alice/outbox");
    assert_eq!(outbox["newContactsPausedUntil"], account["until"]);
    account
}

/// The stanzas that linked devices have sent and that `is` picks.
pub fn sent(world: &World, is: impl Fn(&Value) -> bool) -> usize {
    let all = world.admin("GET", "/stanzas", None).expect(200);
    let all = all.as_array().expect("stanzas");
    all.iter()
        .filter(|entry| entry["direction"] == "in" && is(&entry["stanza"]))
        .count()
}

fn queries(world: &World) -> usize {
    sent(world, |stanza| stanza["attrs"]["xmlns"] == "w:mex")
}

/// Messages that were sent to a person, by number or LID.
fn messages_to(world: &World, phone: &Phone<'_>) -> usize {
    let path = format!("/phones/{}", phone.number);
    let person = world.admin("GET", &path, None).expect(200);
    sent(world, |stanza| {
        let to = &stanza["attrs"]["to"];
        stanza["tag"] == "message" && (*to == person["jid"] || *to == person["lid"])
    })
}

fn words(answer: &Value) -> String {
    answer["error"].as_str().expect("words").to_owned()
}

fn text(phone: &Phone<'_>, n: usize) -> String {
    let text = phone.received(n + 1)[n]["text"].clone();
    text.as_str().expect("a text").to_owned()
}

/// whatsmeow#1197, Baileys#2445: a lock of days, whose end WhatsApp sends; what is sent during it
/// makes it longer (fazer-ai/baileys-api#341).
#[test]
fn a_lock_is_queried_once_and_holds_new_contacts_until_its_end() {
    let world = World::new();
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let (carol, dave) = (world.phone(CAROL, "Carol"), world.phone(DAVE, "Dave"));
    send(&world, &server, BOB, "known").expect(200);
    assert_eq!(restriction(&world, &server), Value::Null);
    let receiver = hook(&world, &server);
    limits(&world, &json!({"lock": {"seconds": 6 * 3_600}}));

    let refused = send(&world, &server, CAROL, "hello").expect(400);
    assert_eq!(refused["code"], 463);
    let event = receiver.next().body;
    assert_eq!(event["event"], "account.restricted");
    assert_eq!(event["accountId"], "alice");
    assert_eq!(event["restricted"], true);
    let until = event["until"].as_str().expect("an end").to_owned();
    assert!(words(&refused).contains(&until), "{refused}");
    let told = json!({"until": until, "reason": "reachout_timelock", "type": "WEB_COMPANION_ONLY"});
    assert_eq!(restriction(&world, &server), told);
    for field in ["until", "reason", "type"] {
        assert_eq!(event[field], told[field], "{event}");
    }
    assert_eq!((queries(&world), messages_to(&world, &carol)), (1, 1));
    // Neither the refused nor other new contacts get messages; existing chats work.
    for to in [CAROL, CAROL, DAVE] {
        let paused = send(&world, &server, to, "hello");
        assert!(paused.header("retry-after").is_some());
        let paused = paused.expect(429);
        let seconds = paused["retryAfter"].as_u64().expect("seconds");
        assert!((5 * 3_600..=6 * 3_600).contains(&seconds), "{paused}");
        assert!(words(&paused).contains(&until), "{paused}");
    }
    send(&world, &server, BOB, "goes on").expect(200);

    // Also after a power cut.
    server.kill();
    let mut options = world.options();
    let time = Time::of(&mut options);
    let server = options.start();
    assert_eq!(restriction(&world, &server), told);
    server.wait_log("alice: connected");
    let waiting = queue(&world, &server, DAVE, "at last").expect(202);
    let why = waiting["message"].as_str().expect("words");
    assert!(why.contains(&until), "{waiting}");
    send(&world, &server, BOB, "and on").expect(200);
    time.passes(5 * HOUR);
    send(&world, &server, CAROL, "hello").expect(429);
    assert_eq!((queries(&world), messages_to(&world, &carol)), (1, 1));

    // Its end was postponed: WhatsApp is queried before anything is sent.
    limits(&world, &json!({"lock": {"seconds": 12 * 3_600}}));
    time.passes(2 * HOUR);
    let event = loop {
        // A power cut can make a hook hear of something twice, under the same id.
        let again = receiver.next().body;
        if again["eventId"] != event["eventId"] {
            break again;
        }
    };
    assert!(event["until"].as_str() > Some(until.as_str()), "{event}");
    assert_eq!(restriction(&world, &server)["until"], event["until"]);
    assert_eq!((queries(&world), messages_to(&world, &dave)), (2, 0));
    // It ends: waiting messages are sent.
    limits(&world, &json!({"lift": "lock"}));
    time.passes(6 * HOUR);
    assert_eq!(text(&dave, 0), "at last");
    assert_eq!((queries(&world), messages_to(&world, &dave)), (3, 1));
    assert_eq!(restriction(&world, &server), Value::Null);
    send(&world, &server, CAROL, "hello").expect(200);
    assert_eq!(queries(&world), 3);
    assert_eq!(bob.all_received().len(), 3);
}

/// whatsmeow#1197: WhatsApp pushes the start and the end of a lock.
#[test]
fn a_pushed_lock_applies_before_anything_is_sent() {
    let world = World::new();
    let server = world.server();
    let phone = world.pair(&server, "alice", ALICE);
    world.pair(&server, "bob", BOB);
    let carol = world.phone(CAROL, "Carol");
    let receiver = hook(&world, &server);
    let kind = "RESTRICT_ALL_COMPANIONS";
    limits(
        &world,
        &json!({"lock": {"seconds": 3_600, "type": kind}, "push": true}),
    );
    let event = receiver.next().body;
    assert_eq!(
        (&event["accountId"], &event["type"]),
        (&json!("alice"), &json!(kind))
    );
    assert_eq!(restriction(&world, &server)["until"], event["until"]);
    send(&world, &server, CAROL, "hello").expect(429);
    let bob = world.get(&server, "/accounts/bob")["account"].clone();
    assert_eq!(bob["restriction"], Value::Null);
    let by_bob = json!({"to": CAROL, "message": "by bob"});
    let path = "/accounts/bob/message/send";
    world.post(&server, path, &by_bob).expect(200);

    // Lifted before its end, while the account is away.
    phone.post("offline", &json!({}));
    limits(&world, &json!({"lift": "lock", "push": true}));
    phone.post("online", &json!({}));
    let event = receiver.next().body;
    assert_eq!(
        (&event["restricted"], &event["until"]),
        (&json!(false), &Value::Null)
    );
    assert_eq!(restriction(&world, &server), Value::Null);
    eventually("the connection", || {
        (send(&world, &server, CAROL, "hello").status == 200).then_some(())
    });
    // Without an end it holds, too.
    let lock = json!({"lock": {}, "push": true});
    limits(&world, &lock);
    assert_eq!(receiver.next().body["restricted"], true);
    send(&world, &server, DAVE, "hello").expect(429);
    limits(&world, &json!({"lift": "lock", "push": true}));
    assert_eq!(receiver.next().body["restricted"], false);
    // The cap of new chats.
    limits(
        &world,
        &json!({"cap": {"total": 3, "used": 2, "seconds": 3_600}, "push": true}),
    );
    limits(
        &world,
        &json!({"cap": {"total": 3, "used": 3, "seconds": 3_600}, "push": true}),
    );
    let event = receiver.next().body;
    assert_eq!(
        (&event["reason"], &event["type"]),
        (&json!("new_chat_cap"), &json!("CAPPED"))
    );
    send(&world, &server, DAVE, "hello").expect(429);
    assert_eq!(queries(&world), 0, "no message was refused");
    assert!(carol.received(2).len() == 2);
}

/// evolution-go#50, whatsmeow#1074: 463 also means that a token is missing for one contact.
#[test]
fn without_a_lock_only_the_contact_that_was_refused_waits() {
    let world = World::new();
    let server = world.server();
    let alice = world.pair(&server, "alice", ALICE);
    let (carol, dave) = (world.phone(CAROL, "Carol"), world.phone(DAVE, "Dave"));
    world.fault(&json!({"kind": "refuse-sends", "code": 463, "to": CAROL}));
    let refused = send(&world, &server, CAROL, "hello").expect(400);
    assert_eq!(refused["code"], 463);
    assert!(
        words(&refused).contains("restricts nothing else"),
        "{refused}"
    );
    assert_eq!(restriction(&world, &server), Value::Null);
    send(&world, &server, DAVE, "hello").expect(200);
    let paused = send(&world, &server, CAROL, "hello?").expect(429);
    let seconds = paused["retryAfter"].as_u64().expect("seconds");
    assert!((500..=600).contains(&seconds), "{paused}");
    queue(&world, &server, CAROL, "later").expect(202);
    assert_eq!((queries(&world), messages_to(&world, &carol)), (1, 1));
    // She writes: theirs is a chat that exists.
    world.fault(&json!({"kind": "clear"}));
    carol.say(&alice.jid(), "hi");
    eventually("her message", || {
        let path = format!("/accounts/alice/chats/{}/messages", carol.jid());
        let page = world.get(&server, &path);
        let theirs = |message: &Value| message["text"] == "hi";
        page["messages"]
            .as_array()?
            .iter()
            .any(theirs)
            .then_some(())
    });
    send(&world, &server, CAROL, "now").expect(200);
    assert_eq!([text(&carol, 0), text(&carol, 1)], ["now", "later"]);
    assert_eq!(text(&dave, 0), "hello");
    let events = world.get(&server, "/events?types=account.restricted");
    assert_eq!(events["events"], json!([]));
}

/// waha#2186: the cap of new chats, whose refusal is 475.
#[test]
fn a_cap_of_new_chats_is_queried_too() {
    let world = World::new();
    let mut options = world.options();
    let time = Time::of(&mut options);
    let server = options.start();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let (carol, dave) = (world.phone(CAROL, "Carol"), world.phone(DAVE, "Dave"));
    limits(&world, &json!({"cap": {"total": 1, "seconds": 7_200}}));
    send(&world, &server, BOB, "the one").expect(200);
    let refused = send(&world, &server, CAROL, "hello").expect(400);
    assert_eq!(refused["code"], 475);
    let told = restriction(&world, &server);
    assert_eq!(
        (&told["reason"], &told["type"]),
        (&json!("new_chat_cap"), &json!("CAPPED"))
    );
    queue(&world, &server, DAVE, "hello").expect(202);
    send(&world, &server, BOB, "goes on").expect(200);
    assert_eq!((queries(&world), messages_to(&world, &dave)), (1, 0));
    // A new cycle.
    limits(&world, &json!({"cap": {"total": 2, "seconds": 14_400}}));
    time.passes(3 * HOUR);
    assert_eq!(text(&dave, 0), "hello");
    assert_eq!((queries(&world), messages_to(&world, &carol)), (2, 1));
    assert_eq!(text(&bob, 1), "goes on");
}

/// Baileys#2441: what lets a restricted account answer chats that exist comes with the history, also where its
/// messages are not wanted. Before, the whole of it was skipped (`skip_history_sync`).
#[test]
fn without_history_tokens_and_lid_pairs_are_still_learnt() {
    for addressing in ["lid", "pn"] {
        let world = World::new();
        let server = world
            .options()
            .with("history.days", 0)
            .with("log.level", "debug")
            .start();
        let past = json!({"chats": 2, "groups": 1, "messagesPerChat": 8, "days": 5, "addressing": addressing});
        let path = format!("/phones/{ALICE}/history");
        let past = world.admin("POST", &path, Some(&past)).expect_success();
        let chats = past["chats"].as_array().expect("chats");
        let friend = chats
            .iter()
            .filter_map(|chat| chat["jid"].as_str())
            .find(|jid| !jid.ends_with("@g.us"))
            .expect("a friend");
        let friend_lid = (addressing == "lid").then(|| friend.to_owned());
        world.pair(&server, "alice", ALICE);
        eventually("tokens", || {
            let log = server.log();
            (log.matches("Stored tctoken from history sync").count() >= 2).then_some(())
        });
        let receiver = hook(&world, &server);
        limits(&world, &json!({"lock": {"seconds": 3_600}, "push": true}));
        receiver.next();
        send(&world, &server, CAROL, "hello").expect(429);
        let sent = send(&world, &server, friend, "hello again").expect(200);
        let listed = world.get(&server, "/accounts/alice/chats?limit=500");
        let listed = listed["chats"].as_array().expect("chats");
        assert_eq!(listed.len(), 1, "{addressing}: {listed:?}");
        let id = listed[0]["chatId"].as_str().expect("an id");
        assert!(id.ends_with("@s.whatsapp.net"), "{addressing}: {id}");
        assert_ne!(Some(id), friend_lid.as_deref());
        assert_eq!(listed[0]["messageCount"], 1, "{addressing}");
        let all = world.get(&server, "/messages");
        assert_eq!(all["messages"].as_array().map(Vec::len), Some(1));
        assert_eq!(all["messages"][0]["messageId"], sent["messageId"]);
    }
}
