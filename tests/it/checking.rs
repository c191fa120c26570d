//! Whether numbers are on WhatsApp: `POST /accounts/:id/contacts/check`.

use serde_json::{Value, json};

use crate::support::World;

const ALICE: &str = "491700000001";
const BOB: &str = "491700000002";
/// Registered with Brazil's ninth digit.
const RAFA: &str = "5511987654321";
const CHECK: &str = "/accounts/alice/contacts/check";

/// How many queries WhatsApp got about whether numbers are registered.
fn queries(world: &World) -> usize {
    fn asks(node: &Value) -> bool {
        let children = node["children"].as_array();
        node["tag"] == "contact" || children.is_some_and(|children| children.iter().any(asks))
    }
    let stanzas = world.admin("GET", "/stanzas", None).expect(200);
    let stanzas = stanzas.as_array().expect("stanzas");
    let is_one = |entry: &&Value| {
        let stanza = &entry["stanza"];
        let is_query = stanza["attrs"]["xmlns"] == "usync" && stanza["attrs"]["type"] == "get";
        is_query && asks(stanza)
    };
    stanzas.iter().filter(is_one).count()
}

#[test]
fn numbers_are_checked_in_any_notation_and_asked_about_once() {
    let world = World::new();
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    world.phone(BOB, "Bob");
    world.phone(RAFA, "Rafa");
    world.walks(&["POST /accounts/:id/contacts/check"]);
    let numbers = json!({"numbers": [
        "+49 (0) 170 0000002", 491_700_000_009_u64, "55 11 8765-4321", "me", "120363000000000001@g.us", "@bob.b",
    ]});
    let check = || {
        let answer = world.post(&server, CHECK, &numbers).expect(200);
        answer["contacts"].as_array().expect("a list").clone()
    };
    let found = check();
    let of = |at: usize, name: &str| found[at][name].clone();
    assert_eq!(of(0, "exists"), true, "{found:?}");
    assert_eq!(of(0, "number"), "+49 (0) 170 0000002");
    assert_eq!(of(0, "chatId"), format!("{BOB}@s.whatsapp.net"));
    let lid = of(0, "lid");
    assert!(
        lid.as_str().is_some_and(|lid| lid.ends_with("@lid")),
        "{found:?}"
    );
    assert_eq!(of(1, "exists"), false);
    assert_eq!(of(1, "number"), "491700000009");
    assert_eq!(of(1, "chatId"), Value::Null);
    assert_eq!(of(2, "exists"), true);
    assert_eq!(of(2, "chatId"), format!("{RAFA}@s.whatsapp.net"));
    for at in 3..6 {
        assert_eq!(of(at, "exists"), Value::Null, "{found:?}");
        assert!(of(at, "error").is_string(), "{found:?}");
    }

    // The answers are kept for a day: the second request asks nothing.
    assert_eq!(queries(&world), 1);
    assert_eq!(check(), found);
    assert_eq!(queries(&world), 1);

    // A LID is checked as well.
    let answer = world
        .post(&server, CHECK, &json!({"numbers": [lid]}))
        .expect(200);
    assert_eq!(answer["contacts"][0]["exists"], true, "{answer}");
    assert_eq!(answer["contacts"][0]["chatId"], lid);

    // While the account is not connected, what is known is answered.
    world
        .post(&server, "/accounts/alice/disconnect", &json!({}))
        .expect(200);
    assert_eq!(check(), found);
    let unknown = json!({"numbers": ["491700000010"]});
    let refused = world.post(&server, CHECK, &unknown).expect(400);
    assert_eq!(refused["status"], "disconnected", "{refused}");
}

#[test]
fn a_thousand_numbers_take_twenty_queries_and_the_next_one_waits() {
    let world = World::new();
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    let numbers: Vec<String> = (0..1_000).map(|n| format!("4917100{n:05}")).collect();
    let all = json!({ "numbers": numbers });
    let answer = world.post(&server, CHECK, &all).expect(200);
    let contacts = answer["contacts"].as_array().expect("a list");
    assert_eq!(contacts.len(), 1_000);
    assert!(
        contacts.iter().all(|contact| contact["exists"] == false),
        "{answer}"
    );
    assert_eq!(queries(&world), 20);
    // These are known by now.
    world.post(&server, CHECK, &all).expect(200);
    let refused = world
        .post(&server, CHECK, &json!({"numbers": [BOB]}))
        .expect(429);
    let wait = refused["retryAfter"].as_u64().expect("seconds");
    assert!((1..=4).contains(&wait), "{refused}");
    assert_eq!(queries(&world), 20);

    for bad in [
        json!([]),
        json!({"a": 1}),
        json!(BOB),
        json!([[1]]),
        json!([17]),
        json!(vec!["1"; 1_001]),
    ] {
        let refused = world
            .post(&server, CHECK, &json!({"numbers": bad}))
            .expect(400);
        assert_eq!(refused["field"], "numbers", "{refused}");
    }
    let refused = world.post(&server, CHECK, &json!({})).expect(400);
    assert_eq!(refused["error"], "numbers is required");
    world
        .post(
            &server,
            "/accounts/zoe/contacts/check",
            &json!({"numbers": [BOB]}),
        )
        .expect(404);
}
