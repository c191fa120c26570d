//! Groups, made and changed by the API.

use serde_json::{Value, json};

use crate::group_list::{events, jid};
use crate::support::{Answer, Server, World, eventually};

const ALICE: &str = "491700000001";
const BOB: &str = "491700000002";
const ZOE: &str = "491700000003";
const EVE: &str = "491700000004";

fn patch(world: &World, server: &Server, path: &str, body: &Value) -> Answer {
    world.api(server, "PATCH", path, Some(body))
}

/// What became of each person: status and code.
fn outcomes(answer: &Value) -> Vec<(String, u64)> {
    let results = answer["results"].as_array().expect("results").iter();
    let one = |result: &Value| {
        let status = result["status"].as_str().expect("a status").to_owned();
        (status, result["code"].as_u64().unwrap_or(0))
    };
    results.map(one).collect()
}

fn became(expected: &[(&str, u64)]) -> Vec<(String, u64)> {
    let all = expected.iter();
    all.map(|(status, code)| ((*status).to_owned(), *code))
        .collect()
}

/// Waits for an event about a group in an account.
fn until_event(
    world: &World,
    server: &Server,
    account: &str,
    is: impl Fn(&Value) -> bool,
) -> Value {
    eventually("the event", || {
        let mut all = events(world, server).into_iter();
        all.find(|event| event["accountId"] == account && is(event))
    })
}

#[test]
fn a_group_is_made_changed_and_left() {
    let world = World::new();
    world.walks(&[
        "POST /accounts/:id/groups",
        "PATCH /accounts/:id/groups/:groupId",
        "POST /accounts/:id/groups/:groupId/members",
        "POST /accounts/:id/groups/:groupId/leave",
    ]);
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    world.phone(ZOE, "Zoe");
    let eve = world.phone(EVE, "Eve");
    let refuses = json!({"number": EVE, "refuseGroups": true});
    world
        .admin("POST", "/phones", Some(&refuses))
        .expect_success();
    let body = json!({"subject": "Trip", "members": [BOB, EVE, "491799999999"]});
    let made = world
        .post(&server, "/accounts/alice/groups", &body)
        .expect(201);
    let trip = made["group"]["groupId"].as_str().expect("a JID").to_owned();
    assert_eq!(
        outcomes(&made),
        became(&[("done", 0), ("invited", 403), ("refused", 404)]),
        "{made}"
    );
    assert_eq!(made["group"]["size"], 2, "{made}");
    assert_eq!(made["group"]["role"], "owner", "{made}");
    let invited = eve.received(1).remove(0);
    assert_eq!(
        (&invited["type"], &invited["text"]),
        (&json!("invite"), &json!("Trip")),
        "{invited}"
    );
    until_event(&world, &server, "alice", |event| {
        event["action"] == "created" && event["byMe"] == true
    });
    let at_the_service = format!("/groups/{trip}");
    let accept = json!({"accept": [EVE]});
    world
        .admin("POST", &at_the_service, Some(&accept))
        .expect_success();
    until_event(&world, &server, "alice", |event| {
        event["event"] == "group.members" && event["members"][0]["jid"] == jid(EVE)
    });
    // Members, with a result for each.
    let path = format!("/accounts/alice/groups/{trip}");
    let members = format!("{path}/members");
    let body = json!({"add": [ZOE, BOB], "promote": [BOB], "remove": [EVE, "491799999999"]});
    let answer = world.post(&server, &members, &body).expect(200);
    let expected = [
        ("done", 0),
        ("refused", 409),
        ("done", 0),
        ("refused", 404),
        ("done", 0),
    ];
    assert_eq!(outcomes(&answer), became(&expected), "{answer}");
    let known = world.get(&server, &path)["group"].clone();
    let roles: Vec<(&Value, &Value)> = known["members"]
        .as_array()
        .expect("members")
        .iter()
        .map(|member| (&member["jid"], &member["role"]))
        .collect();
    let [alice_jid, bob_jid, zoe_jid] = [ALICE, BOB, ZOE].map(|number| json!(jid(number)));
    let [owner, admin, member] = ["owner", "admin", "member"].map(|role| json!(role));
    assert_eq!(
        roles,
        [
            (&alice_jid, &owner),
            (&bob_jid, &admin),
            (&zoe_jid, &member)
        ]
    );
    // Properties.
    let body = json!({"subject": "Trip 2", "description": "in May", "announcement": true, "locked": true,
        "joinApproval": true, "memberAddMode": "admin_add", "ephemeral": 86_400});
    let changed = patch(&world, &server, &path, &body).expect(200)["group"].clone();
    for (name, value) in body.as_object().expect("an object") {
        assert_eq!(&changed[name], value, "{changed}");
    }
    for text in ["in June", ""] {
        let body = json!({"description": text});
        patch(&world, &server, &path, &body).expect(200);
    }
    let seen = world.admin("GET", &at_the_service, None).expect(200);
    assert_eq!(seen["subject"], "Trip 2");
    assert_eq!(seen["description"], Value::Null);
    let event = until_event(&world, &server, "alice", |event| {
        event["changes"]["memberAddMode"] == "admin_add"
    });
    assert_eq!(
        (&event["byMe"], &event["by"]["jid"]),
        (&json!(true), &alice_jid)
    );
    // Wrong requests name the field.
    for (path, body, words) in [
        (&path, json!({}), "is required"),
        (
            &path,
            json!({"subject": " "}),
            "\"subject\" must be 1 to 100 characters",
        ),
        (
            &path,
            json!({"description": "x".repeat(2_049)}),
            "\"description\" must be",
        ),
        (
            &path,
            json!({"memberAddMode": "all"}),
            "\"memberAddMode\" must be",
        ),
    ] {
        let refused = patch(&world, &server, path, &body).expect(400);
        assert!(
            refused["error"].as_str().expect("words").contains(words),
            "{refused}"
        );
    }
    for body in [json!({}), json!({"add": [trip]}), json!({"add": ["x"]})] {
        world.post(&server, &members, &body).expect(400);
    }
    world
        .post(
            &server,
            "/accounts/alice/groups",
            &json!({"members": [BOB]}),
        )
        .expect(400);
    // She leaves.
    world
        .post(&server, &format!("{path}/leave"), &json!({}))
        .expect(200);
    until_event(&world, &server, "alice", |event| {
        event["event"] == "group.left"
    });
    world.api(&server, "GET", &path, None).expect(404);
    let again = format!("{path}/leave");
    world.post(&server, &again, &json!({})).expect(404);
    world
        .post(
            &server,
            "/accounts/alice/groups",
            &json!({"members": [BOB]}),
        )
        .expect(400);
    world
        .post(&server, &members, &json!({"add": [ZOE]}))
        .expect(404);
    assert_eq!(bob.all_received().len(), 0);
}

#[test]
fn people_join_by_link_and_ask_to() {
    let world = World::new();
    world.walks(&[
        "GET /accounts/:id/groups/invite",
        "POST /accounts/:id/groups/join",
        "GET /accounts/:id/groups/:groupId/invite",
        "DELETE /accounts/:id/groups/:groupId/invite",
        "GET /accounts/:id/groups/:groupId/requests",
        "POST /accounts/:id/groups/:groupId/requests",
    ]);
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    world.pair(&server, "bob", BOB);
    world.phone(ZOE, "Zoe");
    let body = json!({"subject": "Open house"});
    let made = world
        .post(&server, "/accounts/alice/groups", &body)
        .expect(201);
    let group = made["group"]["groupId"].as_str().expect("a JID").to_owned();
    let [alices, bobs] = ["alice", "bob"].map(|id| format!("/accounts/{id}/groups/{group}"));
    let link_of = |answer: &Value| answer["inviteLink"].as_str().expect("a link").to_owned();
    let link = link_of(&world.get(&server, &format!("{alices}/invite")));
    assert!(link.starts_with("https://chat.whatsapp.com/"), "{link}");
    assert_eq!(
        world.get(&server, &alices)["group"]["inviteLink"],
        link.as_str()
    );
    // Bob looks, joins, and is no admin.
    let look = format!("/accounts/bob/groups/invite?link={link}");
    assert_eq!(world.get(&server, &look)["group"]["subject"], "Open house");
    let join =
        |link: &str| world.post(&server, "/accounts/bob/groups/join", &json!({"link": link}));
    let joined = join(&link).expect(200);
    assert_eq!(
        (&joined["groupId"], &joined["status"]),
        (&json!(group), &json!("joined"))
    );
    until_event(&world, &server, "bob", |event| event["action"] == "joined");
    let event = until_event(&world, &server, "alice", |event| event["action"] == "add");
    assert_eq!(event["by"]["jid"], jid(BOB));
    let refused = |answer: Answer, status: u16, code: u64| {
        let refused = answer.expect(status);
        assert_eq!(refused["code"], code, "{refused}");
        let words = refused["error"].as_str().expect("words");
        assert!(words.starts_with("WhatsApp refused: "), "{refused}");
    };
    let api =
        |method: &str, path: &str, body: Option<&Value>| world.api(&server, method, path, body);
    refused(api("GET", &format!("{bobs}/invite"), None), 403, 401);
    refused(api("DELETE", &format!("{bobs}/invite"), None), 403, 401);
    refused(api("GET", &format!("{bobs}/requests"), None), 403, 403);
    api("POST", &format!("{alices}/requests"), Some(&json!({}))).expect(400);
    api("GET", "/accounts/bob/groups/invite?link=x", None).expect(400);
    let promote = json!({"promote": [BOB]});
    refused(
        api("POST", &format!("{bobs}/members"), Some(&promote)),
        403,
        403,
    );
    refused(join(&link), 409, 409);
    // The old link ends, and admins approve.
    let fresh = link_of(&api("DELETE", &format!("{alices}/invite"), None).expect(200));
    assert_ne!(fresh, link);
    until_event(&world, &server, "bob", |event| {
        event["changes"]["inviteLink"].is_string()
    });
    api("POST", &format!("{bobs}/leave"), Some(&json!({}))).expect(200);
    refused(join(&link), 404, 410);
    refused(
        join("https://chat.whatsapp.com/AAAAAAAAAAAAAAAAAAAAAA"),
        400,
        406,
    );
    join("https://example.org/").expect(400);
    patch(&world, &server, &alices, &json!({"joinApproval": true})).expect(200);
    assert_eq!(join(&fresh).expect(200)["status"], "requested");
    let zoe = json!({"join": [ZOE]});
    world
        .admin("POST", &format!("/groups/{group}"), Some(&zoe))
        .expect_success();
    let event = until_event(&world, &server, "alice", |event| {
        event["action"] == "requested"
    });
    assert_eq!(
        (&event["event"], &event["members"][0]["jid"]),
        (&json!("group.request"), &json!(jid(BOB)))
    );
    let waiting = eventually("both requests", || {
        let waiting = world.get(&server, &format!("{alices}/requests"))["requests"].clone();
        let both = waiting.as_array().is_some_and(|all| all.len() == 2);
        both.then_some(waiting)
    });
    let people: Vec<&Value> = waiting
        .as_array()
        .expect("requests")
        .iter()
        .map(|r| &r["jid"])
        .collect();
    assert_eq!(people, [&json!(jid(BOB)), &json!(jid(ZOE))]);
    let body = json!({"approve": [BOB, EVE], "reject": [ZOE]});
    let decided = api("POST", &format!("{alices}/requests"), Some(&body)).expect(200);
    assert_eq!(
        outcomes(&decided),
        became(&[("done", 0), ("refused", 404), ("done", 0)]),
        "{decided}"
    );
    until_event(&world, &server, "alice", |event| {
        event["action"] == "withdrawn"
    });
    eventually("bob in the group", || {
        let known = world.get(&server, &alices)["group"].clone();
        (known["size"] == 2).then_some(())
    });
}

#[test]
fn communities_have_groups() {
    let world = World::new();
    world.walks(&[
        "POST /accounts/:id/communities",
        "GET /accounts/:id/communities",
        "POST /accounts/:id/communities/:groupId/groups",
    ]);
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    world.phone(BOB, "Bob");
    let body = json!({"subject": "School", "description": "all classes"});
    let made = world
        .post(&server, "/accounts/alice/communities", &body)
        .expect(201);
    let school = made["group"]["groupId"].as_str().expect("a JID").to_owned();
    assert_eq!(made["group"]["isCommunity"], true, "{made}");
    let body = json!({"subject": "Class 1", "members": [BOB]});
    let class = world
        .post(&server, "/accounts/alice/groups", &body)
        .expect(201);
    let class = class["group"]["groupId"]
        .as_str()
        .expect("a JID")
        .to_owned();
    let body = json!({"subject": "Staff", "members": [BOB, ALICE]});
    let staff = world.admin("POST", "/groups", Some(&body)).expect_success();
    let staff = staff["jid"].as_str().expect("a JID").to_owned();
    let path = format!("/accounts/alice/communities/{school}/groups");
    let linked = world
        .post(&server, &path, &json!({"link": [class, staff]}))
        .expect(200);
    assert_eq!(
        outcomes(&linked),
        became(&[("done", 0), ("refused", 403)]),
        "{linked}"
    );
    let event = until_event(&world, &server, "alice", |event| {
        event["changes"]["community"].is_string()
    });
    assert_eq!(
        (&event["chatId"], &event["changes"]["community"]),
        (&json!(class), &json!(school))
    );
    let known = eventually("the community with two groups", || {
        let known = world.get(&server, "/accounts/alice/communities")["communities"].clone();
        let both = known[0]["groups"]
            .as_array()
            .is_some_and(|groups| groups.len() == 2);
        both.then_some(known)
    });
    assert_eq!(
        (&known[0]["groupId"], &known[0]["subject"]),
        (&json!(school), &json!("School"))
    );
    let groups = known[0]["groups"].as_array().expect("groups");
    let announces = groups
        .iter()
        .find(|group| group["isAnnouncementGroup"] == true);
    assert_eq!(announces.expect("one")["announcement"], true, "{known}");
    let again = world
        .post(&server, &path, &json!({"link": [class]}))
        .expect(200);
    assert_eq!(outcomes(&again), became(&[("refused", 409)]), "{again}");
    let ended = world
        .post(&server, &path, &json!({"unlink": [class]}))
        .expect(200);
    assert_eq!(outcomes(&ended), became(&[("done", 0)]), "{ended}");
    let class = world.get(&server, &format!("/accounts/alice/groups/{class}"))["group"].clone();
    assert_eq!(class["community"], Value::Null, "{class}");
    for body in [json!({}), json!({"link": [BOB]})] {
        world.post(&server, &path, &body).expect(400);
    }
    let nobodys = world.api(&server, "GET", "/accounts/carol/communities", None);
    nobodys.expect(404);
    world
        .post(&server, "/accounts/alice/communities", &json!({}))
        .expect(400);
    let path = format!("/accounts/alice/communities/{staff}/groups");
    let refused = world
        .post(&server, &path, &json!({"link": [school]}))
        .expect(400);
    assert_eq!(refused["code"], 406, "{refused}");
}
