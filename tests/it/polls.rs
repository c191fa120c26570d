//! Polls and the votes in them: sent, received, in chats of two and in groups, of the history. Reactions that are encrypted
//! as votes are.

use serde_json::{Value, json};

use crate::support::{Receiver, Server, World, eventually, travels};

const ALICE: &str = "491700000001";
const BOB: &str = "491700000002";
const ZOE: &str = "491700000003";
const SEND: &str = "/accounts/alice/message/send/poll";
const VOTE: &str = "/accounts/alice/message/poll/vote";

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

fn lid_of(world: &World, number: &str) -> String {
    let path = format!("/phones/{number}");
    let person = world.admin("GET", &path, None).expect_success();
    person["lid"].as_str().expect("a LID").to_owned()
}

fn stored(world: &World, server: &Server, id: &str) -> Value {
    let path = format!("/accounts/alice/messages/{id}");
    eventually("the message", || {
        let answer = world.api(server, "GET", &path, None);
        (answer.status == 200).then(|| answer.json()["message"].clone())
    })
}

/// Each voter with the options, in the order of their first votes.
fn votes(world: &World, server: &Server, id: &str) -> Value {
    let message = stored(world, server, id);
    let votes = message["poll"]["votes"].as_array().expect("votes").clone();
    let pairs = votes.iter().map(|vote| {
        assert!(
            vote["timestamp"]
                .as_u64()
                .is_some_and(|at| at > 1_600_000_000_000)
        );
        json!([vote["voter"], vote["options"]])
    });
    pairs.collect()
}

#[test]
fn a_poll_reaches_the_phone_and_its_votes_come_back() {
    let world = World::new();
    world.walks(&[
        "POST /accounts/:id/message/send/poll",
        "POST /accounts/:id/message/poll/vote",
    ]);
    let server = world.server();
    let alice = world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let question = bob.say(ALICE, "what do we eat?");
    stored(&world, &server, &question);
    let receiver = hook(&world, &server, &["poll.vote", "message"]);

    for (field, value) in [
        ("question", json!("x".repeat(256))),
        ("question", json!("  ")),
        ("options", json!(["Pizza"])),
        ("options", json!(["Pizza", "Pizza"])),
        ("options", json!(["Pizza", ""])),
        ("options", json!(["Pizza", "x".repeat(101)])),
        (
            "options",
            json!((0..13).map(|n| n.to_string()).collect::<Vec<_>>()),
        ),
        ("options", json!("Pizza")),
        ("options", json!([1, 2])),
        ("selectable", json!(0)),
        ("selectable", json!(3)),
        ("multiple", json!("maybe")),
    ] {
        let mut body = json!({"to": BOB, "question": "Lunch?", "options": ["Pizza", "Salad"]});
        body[field] = value;
        let refused = world.post(&server, SEND, &body).expect(400);
        let words = refused["error"].as_str().expect("words");
        let expected = format!("\"{field}\" must be ");
        assert!(words.starts_with(&expected), "{words}");
    }
    let lacks = world.post(&server, SEND, &json!({"to": BOB, "question": "Lunch?"}));
    let words = "to, question and options are required";
    assert_eq!(lacks.expect(400)["error"], words);

    let poll = json!({"to": BOB, "question": "Lunch?", "options": ["Pizza", "Salad", "Soup"],
        "selectable": 2, "quotedMessageId": question, "mentions": [BOB]});
    let sent = world.post(&server, SEND, &poll).expect(200);
    let id = sent["messageId"].as_str().expect("an id");
    let got = bob.received(1).remove(0);
    let shown = json!({"name": "Lunch?", "options": ["Pizza", "Salad", "Soup"], "selectable": 2});
    assert_eq!((&got["type"], &got["poll"]), (&json!("poll"), &shown));
    assert_eq!(got["quotedId"], question);
    assert_eq!(got["mentions"], json!([bob.jid()]));
    let own = stored(&world, &server, id);
    assert_eq!(
        (&own["type"], &own["text"]),
        (&json!("poll"), &json!("Lunch?"))
    );
    assert_eq!(own["poll"]["votes"], json!([]));
    assert!(!own.to_string().contains("secret"), "{own}");
    let chat = || world.get(&server, "/accounts/alice/chats")["chats"][0].clone();
    let before = chat();

    // By LID and by number it is one voter; the newest vote counts; none takes it back.
    let lid = lid_of(&world, ALICE);
    for (to, options) in [
        (ALICE, json!(["Salad"])),
        (lid.as_str(), json!(["Soup", "Pizza"])),
        (ALICE, json!([])),
        (lid.as_str(), json!(["Soup"])),
    ] {
        bob.send(&json!({"to": to, "vote": {"messageId": id, "options": options}}));
        let event = receiver.next().body;
        assert_eq!(event["event"], "poll.vote", "{event}");
        assert_eq!(
            (&event["messageId"], &event["voter"]),
            (&json!(id), &json!(bob.jid()))
        );
        assert_eq!(
            (&event["sender"], &event["chatId"]),
            (&json!(bob.jid()), &json!(bob.jid()))
        );
        assert_eq!(event["poll"]["name"], "Lunch?");
        assert_eq!(event["fromMe"], false);
        let mut sorted = options.as_array().expect("a list").clone();
        sorted.sort_by_key(|option| option == "Soup");
        assert_eq!(event["options"], json!(sorted), "{event}");
        let expected = match sorted.is_empty() {
            true => json!([]),
            false => json!([[bob.jid(), sorted]]),
        };
        assert_eq!(votes(&world, &server, id), expected);
    }
    // The account's own vote, and that of its own phone: one voter, too.
    let mine = json!({"chatId": BOB, "messageId": id, "options": ["Pizza"]});
    let done = world.post(&server, VOTE, &mine).expect(200);
    assert_eq!(done["message"], "Vote sent");
    let event = receiver.next().body;
    assert_eq!(
        (&event["fromMe"], &event["voter"]),
        (&json!(true), &json!(alice.jid()))
    );
    let got = bob.received(2).remove(1);
    assert_eq!(
        (&got["type"], &got["options"]),
        (&json!("vote"), &json!(["Pizza"])),
        "{got}"
    );
    alice.send(&json!({"to": BOB, "vote": {"messageId": id, "options": ["Salad"]}}));
    assert_eq!(receiver.next().body["options"], json!(["Salad"]));
    let expected = json!([[bob.jid(), ["Soup"]], [alice.jid(), ["Salad"]]]);
    assert_eq!(votes(&world, &server, id), expected);
    let after = chat();
    for field in ["unreadCount", "messageCount", "lastMessage"] {
        assert_eq!(after[field], before[field], "{field}");
    }

    for (body, status, words) in [
        (
            json!({"options": ["Tofu"]}),
            400,
            "\"options\" must be options of the poll",
        ),
        (
            json!({"options": ["Pizza", "Salad", "Soup"]}),
            400,
            "\"options\" must be options of the poll",
        ),
        (
            json!({"options": [1]}),
            400,
            "\"options\" must be a list of strings",
        ),
        (
            json!({"messageId": question, "options": []}),
            400,
            "\"messageId\" must be the id of a poll",
        ),
        (
            json!({"messageId": "3EB0", "options": []}),
            404,
            "Message not found",
        ),
    ] {
        let mut all = json!({"chatId": BOB, "messageId": id});
        all.as_object_mut()
            .expect("fields")
            .extend(body.as_object().expect("fields").clone());
        let answer = world.post(&server, VOTE, &all);
        let error = answer.expect(status)["error"].clone();
        assert!(
            error.as_str().is_some_and(|error| error.starts_with(words)),
            "{error}"
        );
    }
}

#[test]
fn votes_in_polls_of_others_are_read_and_cast_in_groups_of_both_kinds() {
    for addressing in ["lid", "pn"] {
        let world = World::new();
        let server = world.server();
        let alice = world.pair(&server, "alice", ALICE);
        let bob = world.phone(BOB, "Bob");
        let zoe = world.phone(ZOE, "Zoe");
        let team = group(&world, &[BOB, ALICE, ZOE], addressing);
        let receiver = hook(&world, &server, &["poll.vote"]);
        let options = json!(["yes", "no"]);
        let bobs =
            bob.send(&json!({"to": team, "poll": {"name": "Saturday?", "options": options}}));
        stored(&world, &server, &bobs);
        let poll = json!({"to": team, "question": "Sunday?", "options": options, "multiple": true});
        let sent = world.post(&server, SEND, &poll).expect(200);
        let alices = sent["messageId"].as_str().expect("an id").to_owned();
        let all = [&bob, &zoe];
        for phone in all {
            eventually("alice's poll", || {
                let got = phone.all_received();
                got.into_iter().find(|m| m["messageId"] == alices.as_str())
            });
        }
        // Everyone votes in both polls, and everyone reads alice's votes.
        for id in [&bobs, &alices] {
            for phone in all {
                phone.send(&json!({"to": team, "vote": {"messageId": id, "options": ["no"]}}));
                let event = receiver.next().body;
                assert_eq!(
                    (&event["messageId"], &event["voter"]),
                    (&json!(id), &json!(phone.jid()))
                );
            }
            let body = json!({"chatId": team, "messageId": id, "options": ["yes"]});
            world.post(&server, VOTE, &body).expect(200);
            let event = receiver.next().body;
            assert_eq!(
                (&event["voter"], &event["fromMe"]),
                (&json!(alice.jid()), &json!(true))
            );
            for phone in all {
                let got = eventually("alice's vote", || {
                    let got = phone.all_received();
                    got.into_iter()
                        .find(|m| m["voteIn"] == id.as_str() && is_of_alice(m))
                });
                assert_eq!(got["options"], json!(["yes"]), "{got}");
            }
            let expected = json!([
                [bob.jid(), ["no"]],
                [zoe.jid(), ["no"]],
                [alice.jid(), ["yes"]]
            ]);
            assert_eq!(votes(&world, &server, id), expected);
        }
    }
}

/// Whether alice's account sent it, which is a linked device of hers.
fn is_of_alice(message: &Value) -> bool {
    let from = message["from"].as_str().unwrap_or_default();
    from.starts_with(&format!("{ALICE}:"))
}

#[test]
fn lies_about_votes_change_nothing() {
    let world = World::new();
    let server = world.server();
    let alice = world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let zoe = world.phone(ZOE, "Zoe");
    let team = group(&world, &[BOB, ALICE, ZOE], "lid");
    let options = json!(["yes", "no"]);
    let id = bob.send(&json!({"to": team, "poll": {"name": "Saturday?", "options": options}}));
    stored(&world, &server, &id);
    eventually("the poll", || {
        let got = zoe.all_received();
        got.into_iter().find(|m| m["messageId"] == id.as_str())
    });
    let receiver = hook(
        &world,
        &server,
        &["poll.vote", "message", "message.undecryptable"],
    );
    for (chosen, forge) in [
        (json!(["yes"]), json!({"garbage": true})),
        (json!(["yes"]), json!({"person": bob.jid()})),
        (json!(["yes"]), json!({"person": lid_of(&world, BOB)})),
        (json!(["yes"]), json!({"person": alice.jid()})),
        (json!(["maybe"]), json!({})),
        (json!(["yes", "no"]), json!({})),
        // The poll's author is another one.
        (json!(["yes"]), json!({"fromMe": true})),
        (
            json!(["yes"]),
            json!({"fromMe": false, "participant": alice.jid()}),
        ),
    ] {
        let vote = json!({"messageId": id, "options": chosen});
        zoe.send(&json!({"to": team, "vote": vote, "forge": forge}));
    }
    // In a chat where there is no such poll.
    zoe.say(ALICE, "hello");
    assert_eq!(receiver.next().body["text"], "hello");
    assert_eq!(votes(&world, &server, &id), json!([]));
    zoe.send(&json!({"to": team, "vote": {"messageId": id, "options": ["yes"]}}));
    assert_eq!(receiver.next().body["event"], "poll.vote");
    assert_eq!(votes(&world, &server, &id), json!([[zoe.jid(), ["yes"]]]));
}

#[test]
fn polls_of_the_history_have_their_votes_and_take_new_ones() {
    let world = World::new();
    let server = world.server();
    let alice = world.phone(ALICE, "Alice");
    let bob = world.phone(BOB, "Bob");
    let poll = |to: &str| json!({"to": to, "poll": {"name": "Tea?", "options": ["yes", "no"]}});
    let bobs = bob.send(&poll(ALICE));
    let alices = alice.send(&poll(BOB));
    bob.received(1);
    alice.received(1);
    for (phone, to, option) in [(&bob, ALICE, "yes"), (&alice, BOB, "no")] {
        for id in [&bobs, &alices] {
            phone.send(&json!({"to": to, "vote": {"messageId": id, "options": [option]}}));
        }
    }
    alice.received(3);
    world.pair(&server, "alice", ALICE);
    let receiver = hook(&world, &server, &["poll.vote"]);
    for id in [&bobs, &alices] {
        stored(&world, &server, id);
        let mut found = votes(&world, &server, id)
            .as_array()
            .expect("votes")
            .clone();
        found.sort_by_key(|vote| vote[1] == json!(["no"]));
        let expected = json!([[bob.jid(), ["yes"]], [alice.jid(), ["no"]]]);
        assert_eq!(json!(found), expected);
        bob.send(&json!({"to": ALICE, "vote": {"messageId": id, "options": ["no"]}}));
        let event = receiver.next().body;
        assert_eq!(
            (&event["messageId"], &event["options"]),
            (&json!(id), &json!(["no"]))
        );
    }
    let body = json!({"chatId": BOB, "messageId": bobs, "options": ["yes"]});
    world.post(&server, VOTE, &body).expect(200);
    let got = bob.received(4).remove(3);
    assert_eq!(got["options"], json!(["yes"]), "{got}");
}

#[test]
fn a_poll_waits_over_a_restart_is_sent_once_and_is_quoted() {
    let it = travels(
        "poll",
        json!({"question": "Tea?", "options": ["yes", "no"]}),
        json!({"poll": {"name": "Coffee?", "options": ["yes", "no"], "selectable": 0}}),
    );
    assert_eq!(it.received["poll"]["options"], json!(["yes", "no"]));
    assert_eq!(it.quoted["text"], "Tea?");
    let shown = json!({"name": "Coffee?", "options": ["yes", "no"], "selectable": 0, "votes": []});
    assert_eq!(it.forwarded["poll"], shown);
}

#[test]
fn encrypted_reactions_are_reactions() {
    for addressing in ["lid", "pn"] {
        let world = World::new();
        let server = world.server();
        world.pair(&server, "alice", ALICE);
        let bob = world.phone(BOB, "Bob");
        let zoe = world.phone(ZOE, "Zoe");
        let team = group(&world, &[BOB, ALICE, ZOE], addressing);
        let bobs = bob.say(&team, "from bob");
        stored(&world, &server, &bobs);
        let body = json!({"to": team, "message": "from alice"});
        let sent = world.post(&server, "/accounts/alice/message/send", &body);
        let alices = sent.expect(200)["messageId"]
            .as_str()
            .expect("an id")
            .to_owned();
        for (phone, id) in [(&zoe, &bobs), (&zoe, &alices), (&bob, &alices)] {
            eventually("the message", || {
                let got = phone.all_received();
                got.into_iter().find(|m| m["messageId"] == id.as_str())
            });
        }
        let before = world.get(&server, "/accounts/alice/chats")["chats"][0].clone();
        let receiver = hook(&world, &server, &["message", "message.reaction"]);
        for (phone, id, emoji) in [
            (&zoe, &bobs, "👍"),
            (&bob, &bobs, "🎉"),
            (&zoe, &alices, "👍"),
            (&zoe, &alices, ""),
            (&bob, &alices, "🐈"),
        ] {
            let react = json!({"messageId": id, "emoji": emoji, "encrypted": true});
            // What cannot be read is neither a reaction nor a message.
            let garbage = json!({"to": team, "react": react, "forge": {"garbage": true}});
            phone.send(&garbage);
            phone.send(&json!({"to": team, "react": react}));
            let event = receiver.next().body;
            assert_eq!(event["event"], "message.reaction", "{event}");
            assert_eq!(
                (&event["messageId"], &event["emoji"], &event["sender"]),
                (&json!(id), &json!(emoji), &json!(phone.jid()))
            );
        }
        let reactions = |id: &str| {
            let message = stored(&world, &server, id);
            let all = message["reactions"].as_array().expect("a list").clone();
            let pairs = all.iter().map(|it| json!([it["from"], it["emoji"]]));
            pairs.collect::<Value>()
        };
        let both = json!([[zoe.jid(), "👍"], [bob.jid(), "🎉"]]);
        assert_eq!(reactions(&bobs), both);
        assert_eq!(reactions(&alices), json!([[bob.jid(), "🐈"]]));
        let after = world.get(&server, "/accounts/alice/chats")["chats"][0].clone();
        for field in ["unreadCount", "messageCount", "lastMessage"] {
            assert_eq!(after[field], before[field], "{field}");
        }
    }
}
