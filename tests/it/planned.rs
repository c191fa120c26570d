//! Events and the responses to them: sent, received, in chats of two and in groups, of the history.

use serde_json::{Value, json};

use crate::support::{Receiver, Server, World, eventually, travels};

const ALICE: &str = "491700000001";
const BOB: &str = "491700000002";
const ZOE: &str = "491700000003";
const SEND: &str = "/accounts/alice/message/send/event";
const RESPOND: &str = "/accounts/alice/message/event/respond";
/// Unix seconds.
const START: u64 = 1_893_456_000;

fn hook(world: &World, server: &Server, events: &[&str]) -> Receiver {
    let receiver = Receiver::start();
    let hook = json!({"url": receiver.url(), "accountId": "alice", "events": events});
    world.post(server, "/webhooks", &hook).expect(201);
    receiver
}

fn group(world: &World, members: &[&str], addressing: &str) -> String {
    let body = json!({"subject": "Team", "members": members, "addressing": addressing});
    let made = world.admin("POST", "/groups", Some(&body)).expect_success();
    made["jid"].as_str().expect("a JID").to_owned()
}

fn stored(world: &World, server: &Server, id: &str) -> Value {
    let path = format!("/accounts/alice/messages/{id}");
    eventually("the message", || {
        let answer = world.api(server, "GET", &path, None);
        (answer.status == 200).then(|| answer.json()["message"].clone())
    })
}

/// Each person with the response, in the order of their first responses.
fn responses(world: &World, server: &Server, id: &str) -> Value {
    let message = stored(world, server, id);
    let all = message["eventDetails"]["responses"].as_array();
    let pairs = all.expect("responses").iter().map(|it| {
        let at = it["timestamp"].as_u64();
        assert!(at.is_some_and(|at| at > 1_600_000_000_000), "{it}");
        json!([it["from"], it["response"], it["extraGuests"]])
    });
    pairs.collect()
}

fn dinner() -> Value {
    json!({"name": "Dinner", "start": START})
}

#[test]
fn an_event_reaches_the_phone_and_its_responses_come_back() {
    let world = World::new();
    world.walks(&[
        "POST /accounts/:id/message/send/event",
        "POST /accounts/:id/message/event/respond",
    ]);
    let server = world.server();
    let alice = world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let question = bob.say(ALICE, "shall we meet?");
    stored(&world, &server, &question);
    let receiver = hook(&world, &server, &["event.response", "message"]);

    for (field, value) in [
        ("name", json!("x".repeat(101))),
        ("name", json!("  ")),
        ("description", json!("x".repeat(2_049))),
        ("start", json!("tomorrow")),
        ("end", json!("2029-12-31T23:00:00Z")),
        ("location", json!("x".repeat(1_025))),
        ("latitude", json!(91)),
        ("call", json!("telephone")),
        ("extraGuestsAllowed", json!("maybe")),
    ] {
        let mut body = json!({"to": BOB, "name": "Dinner", "start": "2030-01-01T00:00:00Z"});
        body[field] = value;
        let refused = world.post(&server, SEND, &body).expect(400);
        let words = refused["error"].as_str().expect("words");
        let names = words.starts_with(&format!("\"{field}\" must be "));
        assert!(names, "{words}");
    }
    let alone = json!({"to": BOB, "name": "Dinner", "start": 1, "latitude": 5});
    let refused = world.post(&server, SEND, &alone).expect(400);
    assert_eq!(
        refused["error"],
        "\"longitude\" must be given with \"latitude\""
    );
    let lacks = world.post(&server, SEND, &json!({"to": BOB, "name": "Dinner"}));
    let words = "to, name and start are required";
    assert_eq!(lacks.expect(400)["error"], words);

    let event = json!({"to": BOB, "name": "Dinner", "description": "with music",
        "start": "2030-01-01T01:00:00+01:00", "end": (START + 3_600) * 1_000, "location": "Harbour",
        "latitude": 54.5, "longitude": "9.25", "call": "video", "extraGuestsAllowed": true,
        "quotedMessageId": question, "mentions": [BOB]});
    let sent = world.post(&server, SEND, &event).expect(200);
    let id = sent["messageId"].as_str().expect("an id");
    let got = bob.received(1).remove(0);
    assert_eq!(
        (&got["type"], &got["text"]),
        (&json!("event"), &json!("Dinner"))
    );
    assert_eq!(got["quotedId"], question);
    assert_eq!(got["mentions"], json!([bob.jid()]));
    let link = got["event"]["joinLink"].as_str().expect("a link");
    let token = link.strip_prefix("https://call.whatsapp.com/video/");
    assert_eq!(token.map(str::len), Some(22), "{link}");
    let shown = json!({"name": "Dinner", "description": "with music", "start": START,
        "end": START + 3_600, "location": "Harbour", "degrees": [54.5, 9.25], "joinLink": link,
        "extraGuestsAllowed": true});
    assert_eq!(got["event"], shown);
    let own = stored(&world, &server, id);
    let expected = json!({"name": "Dinner", "description": "with music", "start": START * 1_000,
        "end": (START + 3_600) * 1_000, "call": "video", "joinLink": link, "cancelled": false,
        "location": {"name": "Harbour", "address": null, "latitude": 54.5, "longitude": 9.25},
        "extraGuestsAllowed": true, "responses": []});
    assert_eq!(own["eventDetails"], expected);
    assert_eq!(own["text"], "Dinner\nwith music");
    assert!(!own.to_string().contains("secret"), "{own}");
    let chat = || world.get(&server, "/accounts/alice/chats")["chats"][0].clone();
    let before = chat();

    // By LID and by number it is one person; the newest response counts.
    let path = format!("/phones/{ALICE}");
    let person = world.admin("GET", &path, None).expect_success();
    let lid = person["lid"].as_str().expect("a LID");
    for (to, response, guests) in [
        (ALICE, "maybe", 0),
        (lid, "not_going", 0),
        (ALICE, "going", 1),
    ] {
        let respond = json!({"messageId": id, "response": response, "guests": guests});
        bob.send(&json!({"to": to, "respond": respond}));
        let event = receiver.next().body;
        assert_eq!(event["event"], "event.response", "{event}");
        assert_eq!(
            (&event["messageId"], &event["sender"], &event["chatId"]),
            (&json!(id), &json!(bob.jid()), &json!(bob.jid()))
        );
        let planned = json!({"name": "Dinner", "start": START * 1_000,
            "end": (START + 3_600) * 1_000});
        assert_eq!(event["eventDetails"], planned);
        assert_eq!(
            (&event["response"], &event["extraGuests"], &event["fromMe"]),
            (&json!(response), &json!(guests), &json!(false))
        );
        let expected = json!([[bob.jid(), response, guests]]);
        assert_eq!(responses(&world, &server, id), expected);
    }
    // The account's own response, and that of its own phone: one person, too.
    let mine = json!({"chatId": BOB, "messageId": id, "response": "going", "extraGuests": "1"});
    let done = world.post(&server, RESPOND, &mine).expect(200);
    assert_eq!(done["message"], "Response sent");
    assert_eq!(receiver.next().body["fromMe"], true);
    let got = bob.received(2).remove(1);
    assert_eq!(
        (
            &got["type"],
            &got["response"],
            &got["guests"],
            &got["responseTo"]
        ),
        (&json!("response"), &json!("going"), &json!(1), &json!(id)),
        "{got}"
    );
    alice.send(&json!({"to": BOB, "respond": {"messageId": id, "response": "maybe"}}));
    assert_eq!(receiver.next().body["response"], "maybe");
    let expected = json!([[bob.jid(), "going", 1], [alice.jid(), "maybe", 0]]);
    assert_eq!(responses(&world, &server, id), expected);
    let after = chat();
    for field in ["unreadCount", "messageCount", "lastMessage"] {
        assert_eq!(after[field], before[field], "{field}");
    }

    for (field, value, status, words) in [
        ("response", json!("yes"), 400, "\"response\" must be "),
        (
            "extraGuests",
            json!(2),
            400,
            "\"extraGuests\" must be 0 or 1",
        ),
        (
            "messageId",
            json!(question),
            400,
            "\"messageId\" must be the id of an event",
        ),
        ("messageId", json!("3EB0"), 404, "Message not found"),
    ] {
        let mut body = json!({"chatId": BOB, "messageId": id, "response": "going"});
        body[field] = value;
        let error = world.post(&server, RESPOND, &body).expect(status)["error"].clone();
        let said = error.as_str().unwrap_or_default();
        assert!(said.starts_with(words), "{error}");
    }
}

#[test]
fn events_of_others_are_responded_to_in_groups_of_both_kinds() {
    for addressing in ["lid", "pn"] {
        let world = World::new();
        let server = world.server();
        let alice = world.pair(&server, "alice", ALICE);
        let bob = world.phone(BOB, "Bob");
        let zoe = world.phone(ZOE, "Zoe");
        let team = group(&world, &[BOB, ALICE, ZOE], addressing);
        let receiver = hook(&world, &server, &["event.response"]);
        let bobs = bob.send(&json!({"to": team, "event": dinner()}));
        let sent = json!({"to": team, "name": "Lunch", "start": START * 1_000});
        stored(&world, &server, &bobs);
        let sent = world.post(&server, SEND, &sent).expect(200);
        let alices = sent["messageId"].as_str().expect("an id").to_owned();
        for (phone, id) in [(&zoe, &bobs), (&zoe, &alices), (&bob, &alices)] {
            eventually("the event", || {
                let got = phone.all_received();
                got.into_iter().find(|m| m["messageId"] == id.as_str())
            });
        }
        for id in [&bobs, &alices] {
            for phone in [&bob, &zoe] {
                let respond = json!({"messageId": id, "response": "going"});
                phone.send(&json!({"to": team, "respond": respond}));
                let event = receiver.next().body;
                assert_eq!(
                    (&event["messageId"], &event["sender"]),
                    (&json!(id), &json!(phone.jid()))
                );
            }
            let body = json!({"chatId": team, "messageId": id, "response": "not_going"});
            world.post(&server, RESPOND, &body).expect(200);
            let event = receiver.next().body;
            assert_eq!(
                (&event["sender"], &event["fromMe"]),
                (&json!(alice.jid()), &json!(true))
            );
            for phone in [&bob, &zoe] {
                let got = eventually("alice's response", || {
                    let mut got = phone.all_received().into_iter();
                    got.find(|m| m["responseTo"] == id.as_str() && m["response"] == "not_going")
                });
                assert_eq!(got["error"], Value::Null, "{got}");
            }
            let expected = json!([
                [bob.jid(), "going", 0],
                [zoe.jid(), "going", 0],
                [alice.jid(), "not_going", 0]
            ]);
            assert_eq!(responses(&world, &server, id), expected);
        }
    }
}

#[test]
fn lies_about_responses_change_nothing_and_what_is_cancelled_takes_none() {
    let world = World::new();
    let server = world.server();
    let alice = world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let zoe = world.phone(ZOE, "Zoe");
    let team = group(&world, &[BOB, ALICE, ZOE], "lid");
    let id = bob.send(&json!({"to": team, "event": dinner()}));
    stored(&world, &server, &id);
    eventually("the event", || {
        let mut got = zoe.all_received().into_iter();
        got.find(|m| m["messageId"] == id.as_str())
    });
    let events = ["event.response", "message", "message.undecryptable"];
    let receiver = hook(&world, &server, &events);
    for forge in [
        json!({"garbage": true}),
        json!({"person": bob.jid()}),
        json!({"person": alice.jid()}),
        // The event's author is another one.
        json!({"fromMe": true}),
        json!({"fromMe": false, "participant": alice.jid()}),
    ] {
        let respond = json!({"messageId": id, "response": "going"});
        zoe.send(&json!({"to": team, "respond": respond, "forge": forge}));
    }
    zoe.say(ALICE, "hello");
    assert_eq!(receiver.next().body["text"], "hello");
    assert_eq!(responses(&world, &server, &id), json!([]));

    let mut off = dinner();
    off["cancelled"] = true.into();
    let off = bob.send(&json!({"to": ALICE, "event": off}));
    let message = receiver.next().body;
    assert_eq!(
        (&message["event"], &message["type"]),
        (&json!("message"), &json!("event"))
    );
    assert_eq!(message["eventDetails"]["cancelled"], true);
    let body = json!({"chatId": BOB, "messageId": off, "response": "going"});
    let refused = world.post(&server, RESPOND, &body).expect(400);
    assert_eq!(refused["error"], "This event is cancelled");
    let body = json!({"chatId": team, "messageId": id, "response": "going", "extraGuests": 1});
    let refused = world.post(&server, RESPOND, &body).expect(400);
    let words = "\"extraGuests\" must be 0: the event allows no extra guests";
    assert_eq!(refused["error"], words);
}

#[test]
fn events_of_the_history_have_their_responses_and_take_new_ones() {
    let world = World::new();
    let server = world.server();
    let alice = world.phone(ALICE, "Alice");
    let bob = world.phone(BOB, "Bob");
    let mut event = dinner();
    event["extraGuestsAllowed"] = true.into();
    let id = bob.send(&json!({"to": ALICE, "event": event}));
    alice.received(1);
    bob.send(&json!({"to": ALICE, "respond": {"messageId": id, "response": "going", "guests": 1}}));
    alice.send(&json!({"to": BOB, "respond": {"messageId": id, "response": "maybe"}}));
    alice.received(2);
    world.pair(&server, "alice", ALICE);
    let receiver = hook(&world, &server, &["event.response"]);
    stored(&world, &server, &id);
    let found = responses(&world, &server, &id);
    let mut found = found.as_array().expect("responses").clone();
    found.sort_by_key(|response| response[1] == "maybe");
    let expected = json!([[bob.jid(), "going", 1], [alice.jid(), "maybe", 0]]);
    assert_eq!(json!(found), expected);
    bob.send(&json!({"to": ALICE, "respond": {"messageId": id, "response": "not_going"}}));
    assert_eq!(receiver.next().body["response"], "not_going");
    let body = json!({"chatId": BOB, "messageId": id, "response": "going"});
    world.post(&server, RESPOND, &body).expect(200);
    let got = bob.received(2).remove(1);
    assert_eq!(got["response"], "going", "{got}");
}

#[test]
fn an_event_waits_over_a_restart_is_sent_once_and_is_quoted() {
    let it = travels(
        "event",
        json!({"name": "Dinner", "start": START * 1_000, "call": "audio"}),
        json!({"event": {"name": "Lunch", "start": START}}),
    );
    let link = it.received["event"]["joinLink"].as_str();
    assert!(link.is_some_and(|link| link.starts_with("https://call.whatsapp.com/voice/")));
    assert_eq!(it.quoted["text"], "Dinner");
    let lunch = &it.forwarded["eventDetails"];
    assert_eq!(
        (&lunch["name"], &lunch["start"]),
        (&json!("Lunch"), &json!(START * 1_000))
    );
}
