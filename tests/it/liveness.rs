//! Dead connections that stay open, and slow ones.

use serde_json::{Value, json};

use crate::support::{Server, World, eventually};

const ALICE: &str = "491700000001";
const BOB: &str = "491700000002";

fn server(world: &World, silence: &str) -> Server {
    let options = world.options().with("whatsapp.silence", silence);
    options.start()
}

#[test]
fn a_dead_connection_that_stays_open_is_replaced() {
    let world = World::new();
    let server = server(&world, "2s");
    let alice = world.pair(&server, "alice", ALICE);
    world.pair(&server, "bob", "491700000003");
    let bob = world.phone(BOB, "Bob");
    bob.say(&alice.jid(), "before");

    let mark = server.log_mark();
    world.fault(&json!({"kind": "half-open", "number": ALICE}));
    bob.say(&alice.jid(), "into the void");
    server.wait_log_from(mark, "alice: reconnecting: the connection was dead");
    server.wait_log_from(mark, "alice: connected");

    // Messages sent meanwhile are stored once.
    let texts = eventually("the messages", || {
        let chat = format!("/accounts/alice/chats/{BOB}/messages");
        let page = world.api(&server, "GET", &chat, None).json();
        let texts: Vec<String> = page["messages"]
            .as_array()?
            .iter()
            .filter_map(|message| message["text"].as_str().map(str::to_owned))
            .collect();
        (texts.len() >= 2).then_some(texts)
    });
    assert_eq!(texts, ["into the void", "before"]);
    let sent = json!({"to": BOB, "message": "here again"});
    world
        .post(&server, "/accounts/alice/message/send", &sent)
        .expect(200);
    assert_eq!(bob.received(1)[0]["text"], "here again");
    // The other account's connection was left alone.
    assert!(!server.log().contains("bob: reconnecting"));
}

#[test]
fn a_slow_connection_is_kept() {
    let world = World::new();
    let server = server(&world, "4s");
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let pings = || {
        let stanzas = world.admin("GET", "/stanzas", None).expect(200);
        let is_ping = |entry: &&Value| {
            entry["direction"] == "in" && entry["stanza"]["attrs"]["xmlns"] == "w:p"
        };
        let stanzas = stanzas.as_array().expect("stanzas");
        stanzas.iter().filter(is_ping).count()
    };
    world.fault(&json!({"kind": "latency", "ms": 1_000}));
    let before = pings();
    // The second is sent because the first was answered, late.
    eventually("two pings", || (pings() >= before + 2).then_some(()));
    let sent = json!({"to": BOB, "message": "slowly"});
    world
        .post(&server, "/accounts/alice/message/send", &sent)
        .expect(200);
    assert_eq!(bob.received(1)[0]["text"], "slowly");
    assert!(!server.log().contains("reconnecting"), "{}", server.log());
}
