//! Groups as the server keeps them: the list, the members, the events, and the lines in the chat.

use serde_json::{Value, json};

use crate::support::{Server, World, eventually};

const ALICE: &str = "491700000001";
const BOB: &str = "491700000002";
const ZOE: &str = "491700000003";

fn group(world: &World, subject: &str, members: &[&str]) -> String {
    let body = json!({"subject": subject, "members": members});
    let made = world.admin("POST", "/groups", Some(&body)).expect_success();
    made["jid"].as_str().expect("a JID").to_owned()
}

fn change(world: &World, group: &str, body: &Value) {
    world
        .admin("POST", &format!("/groups/{group}"), Some(body))
        .expect_success();
}

/// How often WhatsApp was asked about groups.
fn queries(world: &World) -> usize {
    let stanzas = world.admin("GET", "/stanzas", None).expect(200);
    let is_one =
        |entry: &&Value| entry["direction"] == "in" && entry["stanza"]["attrs"]["xmlns"] == "w:g2";
    stanzas
        .as_array()
        .expect("stanzas")
        .iter()
        .filter(is_one)
        .count()
}

fn groups(world: &World, server: &Server) -> Vec<Value> {
    let list = world.get(server, "/accounts/alice/groups?limit=500");
    list["groups"].as_array().expect("groups").clone()
}

fn one(world: &World, server: &Server, group: &str) -> Value {
    world.get(server, &format!("/accounts/alice/groups/{group}"))["group"].clone()
}

/// The events about groups, oldest first.
pub fn events(world: &World, server: &Server) -> Vec<Value> {
    let (mut found, mut after) = (Vec::new(), 0);
    loop {
        let page = world.get(server, &format!("/events?after={after}&limit=500"));
        let page = page["events"].as_array().expect("events").clone();
        let Some(last) = page.last() else {
            return found;
        };
        after = last["number"].as_u64().expect("a number");
        let is_one = |event: &Value| {
            event["event"]
                .as_str()
                .is_some_and(|kind| kind.starts_with("group."))
        };
        found.extend(page.into_iter().filter(is_one));
    }
}

fn roles(group: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let members = group["members"].as_array().expect("members");
    let all = members.iter().map(|m| (text(&m["jid"]), text(&m["role"])));
    all.collect()
}

pub fn jid(number: &str) -> String {
    format!("{number}@s.whatsapp.net")
}

#[test]
fn groups_are_kept_up_to_date_without_asking() {
    let world = World::new();
    world.walks(&[
        "GET /accounts/:id/groups",
        "GET /accounts/:id/groups/:groupId",
    ]);
    let server = world.server();
    world.phone(BOB, "Bob");
    world.phone(ZOE, "Zoe");
    // Groups of before the pairing, in which nothing was written.
    let many: Vec<String> = (0..100)
        .map(|n| group(&world, &format!("Group {n}"), &[BOB, ALICE]))
        .collect();
    let club = &many[7];
    world.pair(&server, "alice", ALICE);
    let listed = eventually("the groups", || {
        let listed = groups(&world, &server);
        (listed.len() == 100).then_some(listed)
    });
    let found = listed
        .iter()
        .find(|group| group["groupId"] == club.as_str());
    let found = found.expect("the group");
    assert_eq!(
        (&found["subject"], &found["size"]),
        (&json!("Group 7"), &json!(2)),
        "{found}"
    );
    assert_eq!(queries(&world), 1);
    // Members are asked for once.
    let known = one(&world, &server, club);
    let [bob, alice, zoe] = [BOB, ALICE, ZOE].map(jid);
    let member = |jid: &str, role: &str| (jid.to_owned(), role.to_owned());
    assert_eq!(
        roles(&known),
        [member(&bob, "owner"), member(&alice, "member")],
        "{known}"
    );
    assert_eq!(
        (&known["role"], &known["owner"]),
        (&json!("member"), &json!(bob))
    );
    let lid = known["members"][0]["lid"].as_str().expect("a LID");
    assert!(lid.ends_with("@lid"), "{known}");
    assert_eq!(queries(&world), 2);
    // Notifications keep them.
    for body in [
        json!({"add": [ZOE], "description": "we meet on Mondays", "locked": true}),
        json!({"promote": [ALICE, ZOE], "demote": [ZOE], "announcement": true, "ephemeral": 86_400}),
        json!({"subject": "The club"}),
    ] {
        change(&world, club, &body);
    }
    let known = eventually("the last change", || {
        Some(one(&world, &server, club)).filter(|group| group["subject"] == "The club")
    });
    let expected = [
        member(&bob, "owner"),
        member(&alice, "admin"),
        member(&zoe, "member"),
    ];
    assert_eq!(roles(&known), expected, "{known}");
    assert_eq!(
        (
            &known["description"],
            &known["locked"],
            &known["announcement"],
            &known["ephemeral"]
        ),
        (
            &json!("we meet on Mondays"),
            &json!(true),
            &json!(true),
            &json!(86_400)
        )
    );
    assert_eq!(
        (&known["role"], &known["size"]),
        (&json!("admin"), &json!(3))
    );
    // A listing for each minute of a day, and WhatsApp's streams end at night.
    for _hour in 0..24 {
        for _minute in 0..60 {
            world.get(&server, "/accounts/alice/groups?limit=1");
        }
        one(&world, &server, club);
    }
    let mark = server.log_mark();
    world.fault(&json!({"kind": "drop-connections", "number": ALICE}));
    server.wait_log_from(mark, "alice: connected");
    assert_eq!(groups(&world, &server).len(), 100);
    assert_eq!(queries(&world), 2);
    // In pages, each group once.
    let (mut seen, mut path) = (Vec::new(), "/accounts/alice/groups?limit=33".to_owned());
    loop {
        let page = world.get(&server, &path);
        assert_eq!(page["pagination"]["total"], 100);
        let ids = page["groups"].as_array().expect("groups").iter();
        seen.extend(ids.map(|group| group["groupId"].as_str().expect("a JID").to_owned()));
        let Some(next) = page["pagination"]["next"].as_str() else {
            break;
        };
        path = format!("/accounts/alice/groups?limit=33&cursor={next}");
    }
    let mut all = many.clone();
    all.sort();
    assert_eq!(seen, all);
    world
        .api(&server, "GET", "/accounts/alice/groups?cursor=club", None)
        .expect(400);
    for unknown in ["120363000000000001@g.us", BOB] {
        let path = format!("/accounts/alice/groups/{unknown}");
        let missing = world.api(&server, "GET", &path, None).expect(404);
        assert_eq!(missing["error"], "Group not found");
    }
}

#[test]
fn each_change_of_a_group_is_an_event_and_a_line_in_its_chat() {
    let world = World::new();
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    world.phone(ZOE, "Zoe");
    let club = group(&world, "Club", &[BOB, ALICE]);
    for body in [
        json!({"add": [ZOE]}),
        json!({"promote": [ZOE]}),
        json!({"subject": "Club 2"}),
        json!({"by": ZOE, "leave": true}),
        json!({"remove": [ALICE]}),
    ] {
        change(&world, &club, &body);
    }
    let found = eventually("all events", || {
        Some(events(&world, &server)).filter(|events| events.len() == 6)
    });
    let kinds: Vec<(&str, &str)> = found
        .iter()
        .map(|event| {
            let text = |name: &str| event[name].as_str().expect("a text");
            (text("event"), text("action"))
        })
        .collect();
    assert_eq!(
        kinds,
        [
            ("group.joined", "created"),
            ("group.members", "add"),
            ("group.members", "promote"),
            ("group.updated", "updated"),
            ("group.members", "remove"),
            ("group.left", "removed"),
        ]
    );
    for event in &found {
        assert_eq!(
            (&event["chatId"], &event["byMe"]),
            (&json!(club), &json!(false)),
            "{event}"
        );
    }
    for (at, by) in [(0, BOB), (1, BOB), (4, ZOE), (5, BOB)] {
        assert_eq!(found[at]["by"]["jid"], jid(by), "{}", found[at]);
        assert!(found[at]["by"]["lid"].is_string(), "{}", found[at]);
    }
    assert_eq!(found[1]["members"][0]["jid"], jid(ZOE));
    assert_eq!(found[3]["changes"], json!({"subject": "Club 2"}));
    assert_eq!(found[3]["chatName"], "Club 2");
    // The chat has a line for each, which counts as unread nowhere.
    let path = format!("/accounts/alice/chats/{club}/messages");
    let lines = world.get(&server, &path)["messages"].clone();
    let lines = lines.as_array().expect("messages");
    assert_eq!(lines.len(), 6, "{lines:?}");
    assert!(
        lines.iter().all(|line| line["type"] == "system"),
        "{lines:?}"
    );
    assert_eq!(
        lines[2]["text"],
        format!("+{BOB} changed the subject to \"Club 2\"")
    );
    assert_eq!(lines[1]["text"], format!("+{ZOE} left"));
    assert_eq!(lines[0]["messageId"], found[5]["messageId"]);
    let chat = world.get(&server, "/accounts/alice/chats")["chats"][0].clone();
    assert_eq!(
        (&chat["name"], &chat["unreadCount"]),
        (&json!("Club 2"), &json!(0)),
        "{chat}"
    );
    assert_eq!(groups(&world, &server), Vec::<Value>::new());
    // It is no message.
    let line = &lines[1]["messageId"];
    for (path, body) in [
        (
            "react",
            json!({"chatId": club, "messageId": line, "emoji": "x"}),
        ),
        (
            "reply",
            json!({"to": club, "message": "x", "quotedMessageId": line}),
        ),
        ("star", json!({"chatId": club, "messageId": line})),
        (
            "forward",
            json!({"to": BOB, "chatId": club, "messageId": line}),
        ),
    ] {
        let path = format!("/accounts/alice/message/{path}");
        let refused = world.post(&server, &path, &body);
        assert_eq!(refused.status, 400, "{path}: {}", refused.json());
    }
    assert_eq!(bob.all_received().len(), 0);
}

fn flood(changes: usize, kills: usize) {
    let world = World::new();
    let options = world.options();
    let mut server = options.start();
    world.pair(&server, "alice", ALICE);
    world.phone(BOB, "Bob");
    let club = group(&world, "Club", &[BOB, ALICE]);
    for kill in 0..kills {
        for n in (0..changes).filter(|n| n * kills / changes == kill) {
            change(&world, &club, &json!({"subject": format!("Club {n}")}));
        }
        server.kill();
        server = options.start();
    }
    let wanted: Vec<String> = (0..changes).map(|n| format!("Club {n}")).collect();
    let subjects = |events: Vec<Value>| {
        let all = events
            .into_iter()
            .filter(|event| event["event"] == "group.updated");
        all.map(|event| {
            event["changes"]["subject"]
                .as_str()
                .expect("a subject")
                .to_owned()
        })
        .collect::<Vec<String>>()
    };
    eventually("the last change", || {
        groups(&world, &server)
            .first()
            .filter(|group| Some(&group["subject"]) == wanted.last().map(|s| json!(s)).as_ref())
            .cloned()
    });
    let mut found = subjects(events(&world, &server));
    // The service chooses the order of notifications that it kept while the server was away.
    found.sort();
    let mut expected = wanted;
    expected.sort();
    assert_eq!(found, expected);
    let path = format!("/accounts/alice/chats/{club}/messages?limit=1");
    let page = world.get(&server, &path);
    assert_eq!(page["pagination"]["total"], changes + 1);
}

#[test]
fn a_flood_of_changes_loses_and_doubles_nothing() {
    flood(300, 3);
}

/// Takes minutes.
#[test]
#[ignore = "the same with ten thousand"]
fn ten_thousand_changes_are_each_recorded_once() {
    flood(10_000, 5);
}
