//! People: the address book, what they show, who is blocked, and their LIDs.

use serde_json::{Value, json};

use crate::media_in::base64;
use crate::support::{Server, World, eventually};

const ALICE: &str = "491700000001";
const BOB: &str = "491700000002";
const ZOE: &str = "491700000003";
const NOBODY: &str = "491799999999";

/// Bytes that WhatsApp takes for a picture: it looks at their beginning and their end.
fn jpeg(content: &str) -> Vec<u8> {
    let mut bytes = vec![0xff, 0xd8, 0xff];
    bytes.extend_from_slice(content.as_bytes());
    bytes.extend_from_slice(&[0xff, 0xd9]);
    bytes
}

fn path(number: &str) -> String {
    format!("/accounts/alice/contacts/{number}")
}

fn jid(number: &str) -> String {
    format!("{number}@s.whatsapp.net")
}

/// What alice's linked device has asked of the service in this namespace.
fn asked(world: &World, xmlns: &str) -> usize {
    let stanzas = world.admin("GET", "/stanzas", None).expect(200);
    let stanzas = stanzas.as_array().expect("stanzas");
    let is_one = |passed: &&Value| {
        let attrs = &passed["stanza"]["attrs"];
        passed["direction"] == "in" && attrs["xmlns"] == xmlns && attrs["type"] == "get"
    };
    stanzas.iter().filter(is_one).count()
}

fn listed(world: &World, server: &Server, query: &str) -> Vec<String> {
    let found = world.get(server, &format!("/accounts/alice/contacts?{query}"));
    let contacts = found["contacts"].as_array().expect("contacts");
    let ids = contacts
        .iter()
        .map(|it| it["chatId"].as_str().expect("a JID").to_owned());
    ids.collect()
}

fn contact(world: &World, server: &Server, number: &str) -> Value {
    world.get(server, &path(number))["contact"].clone()
}

#[test]
fn people_are_listed_by_the_names_that_the_owner_and_they_themselves_give() {
    let world = World::new();
    world.walks(&["GET /accounts/:id/contacts"]);
    let server = world.server();
    let alice = world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    world.phone(ZOE, "Zoe");
    alice.post(
        "contacts",
        &json!({"contacts": [{"number": ZOE, "name": "Zoe from work"}]}),
    );
    bob.say(ALICE, "hello");
    eventually("both", || {
        (listed(&world, &server, "").len() == 2).then_some(())
    });
    assert_eq!(listed(&world, &server, "q=WORK"), [jid(ZOE)]);
    assert_eq!(listed(&world, &server, "q=bob"), [jid(BOB)]);
    assert_eq!(listed(&world, &server, "q=0000002"), [jid(BOB)]);
    assert_eq!(listed(&world, &server, "saved=true"), [jid(ZOE)]);
    assert_eq!(listed(&world, &server, "saved=false"), [jid(BOB)]);
    let first = world.get(&server, "/accounts/alice/contacts?limit=1");
    assert_eq!(first["pagination"]["total"], 2, "{first}");
    let next = first["pagination"]["next"].as_str().expect("a cursor");
    let second = world.get(
        &server,
        &format!("/accounts/alice/contacts?limit=1&cursor={next}"),
    );
    assert_eq!(second["pagination"]["hasMore"], false, "{second}");
    assert_ne!(first["contacts"], second["contacts"]);
    let all = [&first["contacts"][0], &second["contacts"][0]];
    let zoe = all
        .into_iter()
        .find(|it| it["chatId"] == jid(ZOE))
        .expect("zoe");
    assert_eq!(zoe["name"], "Zoe from work");
    assert_eq!(zoe["number"], ZOE);
    assert_eq!(zoe["blocked"], false);
    assert!(
        zoe["lid"].as_str().is_some_and(|lid| lid.ends_with("@lid")),
        "{zoe}"
    );
    let bob = all
        .into_iter()
        .find(|it| it["chatId"] == jid(BOB))
        .expect("bob");
    assert_eq!(
        (&bob["name"], &bob["pushName"]),
        (&Value::Null, &json!("Bob"))
    );
    let bad = world.api(
        &server,
        "GET",
        "/accounts/alice/contacts?saved=perhaps",
        None,
    );
    assert_eq!(bad.expect(400)["field"], "saved");
    world
        .api(&server, "GET", "/accounts/zoe/contacts", None)
        .expect(404);
}

#[test]
fn what_a_person_shows_is_asked_for_once_and_again_when_it_changes() {
    let world = World::new();
    world.walks(&[
        "GET /accounts/:id/contacts/:contactId",
        "GET /accounts/:id/contacts/:contactId/picture",
    ]);
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let picture = jpeg("one");
    bob.post(
        "profile",
        &json!({
            "about": "At work", "picture": base64(&picture), "privacy": {"status": "all"},
            "business": {"description": "Bread", "websites": ["https://bob.example"], "category": "Bakery"},
        }),
    );
    let shown = contact(&world, &server, BOB);
    assert_eq!(shown["about"], "At work", "{shown}");
    assert_eq!(shown["chatId"], jid(BOB));
    assert!(
        shown["lid"]
            .as_str()
            .is_some_and(|lid| lid.ends_with("@lid")),
        "{shown}"
    );
    assert!(
        shown["picture"]["url"]
            .as_str()
            .is_some_and(|url| url.starts_with("https://"))
    );
    assert_eq!(shown["business"]["description"], "Bread");
    assert_eq!(
        shown["business"]["websites"],
        json!(["https://bob.example"])
    );
    assert_eq!(shown["business"]["categories"], json!(["Bakery"]));
    assert!(shown["askedAt"].is_string());

    let answer = world.api(&server, "GET", &format!("{}/picture", path(BOB)), None);
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, Some("image/jpeg"))
    );
    assert_eq!(answer.bytes, picture);

    // All of it is known by now.
    let counted = || ["usync", "w:profile:picture", "w:biz"].map(|it| asked(&world, it));
    let before = counted();
    for number in [BOB, BOB, BOB] {
        assert_eq!(contact(&world, &server, number), shown);
        world.api(&server, "GET", &format!("{}/picture", path(number)), None);
    }
    assert_eq!(counted(), before);

    // Groups that both are in are known once their members were looked at.
    assert_eq!(shown["commonGroups"], json!([]));
    let mut groups = Vec::new();
    for (subject, other) in [("Bakers", BOB), ("Zoes", ZOE)] {
        let body = json!({"subject": subject, "members": [other, ALICE]});
        let made = world.admin("POST", "/groups", Some(&body)).expect_success();
        let jid = made["jid"].as_str().expect("a JID").to_owned();
        let path = format!("/accounts/alice/groups/{jid}");
        eventually("the group", || {
            let answer = world.api(&server, "GET", &path, None);
            (answer.status == 200).then_some(())
        });
        groups.push(jid);
    }
    let common = contact(&world, &server, BOB)["commonGroups"].clone();
    assert_eq!(common, json!([{"chatId": groups[0], "name": "Bakers"}]));

    // WhatsApp tells of changes.
    bob.say(ALICE, "acquainted");
    bob.post("profile", &json!({"about": "At home"}));
    eventually("the new about text", || {
        (contact(&world, &server, BOB)["about"] == "At home").then_some(())
    });
    let newer = jpeg("two");
    bob.post("profile", &json!({"picture": base64(&newer)}));
    eventually("the new picture", || {
        let answer = world.api(&server, "GET", &format!("{}/picture", path(BOB)), None);
        (answer.bytes == newer).then_some(())
    });

    // Hidden from all.
    bob.post("profile", &json!({"privacy": {"status": "none", "profile": "none"}, "about": "secret", "picture": ""}));
    let zoe = world.phone(ZOE, "Zoe");
    zoe.post(
        "profile",
        &json!({"privacy": {"status": "none", "profile": "none"},
        "picture": base64(&jpeg("three"))}),
    );
    let hidden = contact(&world, &server, ZOE);
    assert_eq!(
        (&hidden["about"], &hidden["picture"]),
        (&Value::Null, &Value::Null),
        "{hidden}"
    );
    let none = world.api(&server, "GET", &format!("{}/picture", path(ZOE)), None);
    assert_eq!(none.expect(404)["error"], "No picture");

    // Without a connection there is what the store knows.
    world
        .post(&server, "/accounts/alice/disconnect", &json!({}))
        .expect(200);
    let shown = contact(&world, &server, BOB);
    assert_eq!(
        (&shown["pushName"], &shown["askedAt"]),
        (&json!("Bob"), &Value::Null)
    );
    let refused = world.api(&server, "GET", &format!("{}/picture", path(BOB)), None);
    assert_eq!(refused.expect(400)["status"], "disconnected");

    world
        .post(&server, "/accounts/alice/connect", &json!({}))
        .expect(200);
    eventually("the connection", || {
        let status = world.get(&server, "/accounts/alice/status");
        (status["status"] == "connected").then_some(())
    });
    let unknown = world.api(&server, "GET", &path(NOBODY), None);
    assert_eq!(unknown.expect(404)["error"], "Contact not found");
    let group = world.api(&server, "GET", &path("120363000000000001@g.us"), None);
    let words = group.expect(400);
    assert!(
        words["error"]
            .as_str()
            .expect("words")
            .contains("contactId"),
        "{words}"
    );
}

#[test]
fn the_address_book_is_written_on_the_phone_too() {
    let world = World::new();
    world.walks(&[
        "PUT /accounts/:id/contacts/:contactId",
        "DELETE /accounts/:id/contacts/:contactId",
    ]);
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    world.phone(BOB, "Bob");
    let put = |body: &Value| world.api(&server, "PUT", &path(BOB), Some(body));
    let on_phone = || {
        let state = world
            .by_hand("GET", &format!("/phones/{ALICE}/app-state"), None)
            .1;
        assert_eq!(state["refused"], 0, "{state}");
        let entries = state["entries"].as_array().expect("entries").clone();
        let is_bobs = |it: &Value| it["index"] == json!(["contact", jid(BOB)]);
        entries
            .into_iter()
            .find(is_bobs)
            .map_or(Value::Null, |it| it["value"].clone())
    };
    let saved = put(&json!({"name": "  Bob Baker "})).expect(200);
    assert_eq!(saved["contact"]["name"], "Bob Baker", "{saved}");
    assert_eq!(
        on_phone(),
        json!({"name": "Bob Baker", "firstName": "Bob", "onPhone": true})
    );
    let saved = put(&json!({"name": "Robert", "firstName": "Rob", "onPhone": false})).expect(200);
    assert_eq!(saved["contact"]["name"], "Robert");
    assert_eq!(
        on_phone(),
        json!({"name": "Robert", "firstName": "Rob", "onPhone": false})
    );
    assert_eq!(listed(&world, &server, "saved=true"), [jid(BOB)]);

    world.api(&server, "DELETE", &path(BOB), None).expect(200);
    assert_eq!(on_phone()["name"], Value::Null);
    assert_eq!(listed(&world, &server, "saved=true"), [""; 0]);
    world.api(&server, "DELETE", &path(BOB), None).expect(404);

    assert_eq!(put(&json!({})).expect(400)["error"], "name is required");
    let long = "x".repeat(101);
    for name in ["", " ", "a\u{7}b", &long] {
        let refused = put(&json!({ "name": name })).expect(400);
        let words = refused["error"].as_str().expect("words");
        assert!(
            words.contains("\"name\" must be a text of 1 to 100"),
            "{refused}"
        );
    }
    let hidden = world.api(
        &server,
        "PUT",
        &path("155500000000001@lid"),
        Some(&json!({"name": "Nobody"})),
    );
    let words = hidden.expect(400);
    assert!(
        words["error"].as_str().expect("words").contains("numbers"),
        "{words}"
    );
}

#[test]
fn people_are_blocked_here_and_on_the_phone() {
    let world = World::new();
    world.walks(&[
        "POST /accounts/:id/contacts/:contactId/block",
        "POST /accounts/:id/contacts/:contactId/unblock",
        "GET /accounts/:id/blocklist",
    ]);
    let server = world.server();
    let alice = world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    world.phone(ZOE, "Zoe");
    let blocked = || {
        let list = world.get(&server, "/accounts/alice/blocklist");
        let contacts = list["contacts"].as_array().expect("contacts").clone();
        contacts
            .into_iter()
            .map(|it| it["number"].as_str().unwrap_or("?").to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(blocked(), [""; 0]);
    let answer = world
        .post(&server, &format!("{}/block", path(BOB)), &json!({}))
        .expect(200);
    assert_eq!(answer["contact"]["blocked"], true, "{answer}");
    assert_eq!(blocked(), [BOB]);
    let on_phone = || {
        world
            .admin("GET", &format!("/phones/{ALICE}"), None)
            .expect(200)["blocked"]
            .clone()
    };
    assert_eq!(on_phone(), json!([BOB]));

    // On the phone, and while the account is away.
    alice.post("block", &json!({"number": ZOE}));
    eventually("zoe", || (blocked().len() == 2).then_some(()));
    assert_eq!(contact(&world, &server, ZOE)["blocked"], true);
    world
        .post(&server, "/accounts/alice/disconnect", &json!({}))
        .expect(200);
    alice.post("block", &json!({"number": BOB, "blocked": false}));
    world
        .post(&server, "/accounts/alice/connect", &json!({}))
        .expect(200);
    eventually("zoe alone", || (blocked() == [ZOE]).then_some(()));
    let answer = world
        .post(&server, &format!("{}/unblock", path(ZOE)), &json!({}))
        .expect(200);
    assert_eq!(answer["contact"]["blocked"], false);
    assert_eq!((blocked(), on_phone()), (Vec::<String>::new(), json!([])));
    bob.say(ALICE, "again");
    eventually("bob's message", || {
        (listed(&world, &server, "q=bob").len() == 1).then_some(())
    });

    for act in ["block", "unblock"] {
        let unknown = world.post(&server, &format!("{}/{act}", path(NOBODY)), &json!({}));
        let words = unknown.expect(400);
        assert!(
            words["error"]
                .as_str()
                .expect("words")
                .contains("not on WhatsApp"),
            "{words}"
        );
    }
    world
        .api(&server, "GET", "/accounts/zoe/blocklist", None)
        .expect(404);
}

#[test]
fn lids_and_numbers_lead_to_each_other() {
    let world = World::new();
    world.walks(&["GET /accounts/:id/lids/:lid"]);
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let get = |id: &str| world.get(&server, &format!("/accounts/alice/lids/{id}"));
    let found = get(BOB);
    let lid = found["lid"].as_str().expect("a LID").to_owned();
    assert_eq!(found["number"], BOB);
    assert_eq!(get(&lid), found);
    assert_eq!(get(&bob.jid()), found);
    let nobody = get(NOBODY);
    assert_eq!(
        (&nobody["lid"], &nobody["number"]),
        (&Value::Null, &json!(NOBODY))
    );
    // A person who was never seen, by the LID.
    let zoe = world.phone(ZOE, "Zoe");
    let lid = world
        .admin("GET", &format!("/phones/{ZOE}"), None)
        .expect(200)["lid"]
        .clone();
    let lid = lid.as_str().expect("a LID");
    assert_eq!(get(lid)["number"], zoe.number.as_str());
    world
        .post(&server, "/accounts/alice/disconnect", &json!({}))
        .expect(200);
    assert_eq!(get(BOB), found);
    let bad = world.api(
        &server,
        "GET",
        "/accounts/alice/lids/120363000000000001@g.us",
        None,
    );
    assert_eq!(bad.expect(400)["field"], "lid");
}
