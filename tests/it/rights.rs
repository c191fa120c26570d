//! Rights to change messages: phones that send changes for messages of others.

use serde_json::{Value, json};

use crate::support::{Phone, Receiver, Server, World, eventually};

const ALICE: &str = "491700000001";
const BOB: &str = "491700000002";
const MALLORY: &str = "491700000003";

fn stored(world: &World, server: &Server, id: &str) -> Value {
    let path = format!("/accounts/alice/messages/{id}");
    eventually("the message", || {
        let answer = world.api(server, "GET", &path, None);
        (answer.status == 200).then(|| answer.json()["message"].clone())
    })
}

fn group(world: &World, members: &[&str]) -> String {
    let body = json!({"subject": "Team", "members": members});
    let made = world.admin("POST", "/groups", Some(&body)).expect_success();
    made["jid"].as_str().expect("a JID").to_owned()
}

fn until(world: &World, server: &Server, id: &str, what: &str, is: impl Fn(&Value) -> bool) {
    eventually(what, || is(&stored(world, server, id)).then_some(()));
}

/// What a phone cannot do with its own app.
fn lies(about: &str) -> Vec<Value> {
    let mut all = Vec::new();
    for act in [
        json!({"delete": {"messageId": about}}),
        json!({"edit": {"messageId": about, "text": "forged"}}),
        json!({"edit": {"messageId": about, "text": "forged", "bare": true}}),
    ] {
        for forge in [
            json!({}),
            json!({"edit": ""}),
            json!({"edit": "3"}),
            json!({"edit": "7", "fromMe": true}),
            json!({"edit": "1", "fromMe": false, "participant": format!("{MALLORY}@s.whatsapp.net")}),
        ] {
            let mut lie = act.clone();
            lie["forge"] = forge;
            all.push(lie);
        }
    }
    all
}

fn hook(world: &World, server: &Server) -> Receiver {
    let receiver = Receiver::start();
    let events = [
        "message",
        "message.reaction",
        "message.edited",
        "message.deleted",
    ];
    let hook = json!({"url": receiver.url(), "accountId": "alice", "events": events});
    world.post(server, "/webhooks", &hook).expect(201);
    receiver
}

/// Sends every forged change, then a valid message: only that one may have an effect.
fn nothing_comes_of(
    (world, server, receiver): (&World, &Server, &Receiver),
    liar: &Phone<'_>,
    to: &str,
    lies: Vec<Value>,
) {
    for mut lie in lies {
        lie["to"] = json!(to);
        liar.send(&lie);
    }
    let end = liar.say(to, "the end");
    stored(world, server, &end);
    loop {
        let delivery = receiver.next().body;
        assert_eq!(delivery["event"], "message", "{delivery}");
        if delivery["messageId"] == end.as_str() {
            break;
        }
    }
}

#[test]
fn only_an_admin_deletes_messages_of_others_in_a_group() {
    for addressing in ["lid", "pn"] {
        let world = World::new();
        let server = world.server();
        world.pair(&server, "alice", ALICE);
        let bob = world.phone(BOB, "Bob");
        let mallory = world.phone(MALLORY, "Mallory");
        let body = json!({"subject": "Team", "members": [BOB, ALICE, MALLORY],
            "addressing": addressing});
        let made = world.admin("POST", "/groups", Some(&body)).expect_success();
        let team = made["jid"].as_str().expect("a JID");
        let bobs = bob.say(team, "from bob");
        stored(&world, &server, &bobs);
        let body = json!({"to": team, "message": "from alice"});
        let sent = world.post(&server, "/accounts/alice/message/send", &body);
        let alices = sent.expect(200)["messageId"]
            .as_str()
            .expect("an id")
            .to_owned();
        mallory.received(2);
        let receiver = hook(&world, &server);
        let mut all = lies(&bobs);
        all.extend(lies(&alices));
        // Reactions that name the wrong author.
        let forged = json!({"fromMe": false, "participant": format!("{MALLORY}@s.whatsapp.net")});
        all.push(json!({"react": {"messageId": bobs, "emoji": "x"}, "forge": forged}));
        all.push(json!({"react": {"messageId": alices, "emoji": "x"}, "forge": {"fromMe": true}}));
        nothing_comes_of((&world, &server, &receiver), &mallory, team, all);
        for (id, text) in [(&bobs, "from bob"), (&alices, "from alice")] {
            let message = stored(&world, &server, id);
            assert_eq!(message["text"], text, "{message}");
            assert_eq!(message["deleted"], false);
            assert_eq!(message["edited"], false);
            assert_eq!(message["reactions"], json!([]));
        }
        // WhatsApp's server lets an admin's deletion pass from admins alone.
        let claim = json!({"to": team, "delete": {"messageId": bobs}, "forge": {"edit": "8"}});
        let id = mallory.send(&claim);
        let sent = mallory.state()["sent"].clone();
        let refused = sent
            .as_array()
            .expect("sent")
            .iter()
            .find(|m| m["messageId"] == id.as_str());
        assert_eq!(refused.expect("the claim")["error"], 403);
        // An admin can: another member's message is deleted, and one of the account.
        let mallorys = mallory.say(team, "from mallory");
        stored(&world, &server, &mallorys);
        bob.received(2);
        for id in [&mallorys, &alices] {
            eventually("the message at the admin's", || {
                let received = bob.all_received();
                received
                    .iter()
                    .any(|m| m["messageId"] == id.as_str())
                    .then_some(())
            });
            bob.send(&json!({"to": team, "delete": {"messageId": id}}));
            until(&world, &server, id, "an admin's deletion", |m| {
                m["deleted"] == true
            });
        }
        // Their own messages members delete without being admins.
        let own = mallory.say(team, "mine");
        stored(&world, &server, &own);
        mallory.send(&json!({"to": team, "react": {"messageId": bobs, "emoji": "y"}}));
        mallory.send(&json!({"to": team, "delete": {"messageId": own}}));
        until(&world, &server, &own, "the own deletion", |m| {
            m["deleted"] == true
        });
        until(&world, &server, &bobs, "the reaction", |m| {
            m["reactions"][0]["emoji"] == "y"
        });
    }
}

#[test]
fn in_a_direct_chat_neither_changes_the_others_messages() {
    let world = World::new();
    let server = world.server();
    let alice = world.pair(&server, "alice", ALICE);
    let mallory = world.phone(MALLORY, "Mallory");
    let body = json!({"to": MALLORY, "message": "from alice"});
    let sent = world.post(&server, "/accounts/alice/message/send", &body);
    let id = sent.expect(200)["messageId"]
        .as_str()
        .expect("an id")
        .to_owned();
    mallory.received(1);
    let receiver = hook(&world, &server);
    let mut all = lies(&id);
    // An admin's deletion, where there are no admins.
    let admin = json!({"edit": "8", "participant": format!("{ALICE}@s.whatsapp.net")});
    all.push(json!({"delete": {"messageId": id}, "forge": admin}));
    nothing_comes_of((&world, &server, &receiver), &mallory, ALICE, all);
    let message = stored(&world, &server, &id);
    assert_eq!(
        (&message["text"], &message["deleted"]),
        (&json!("from alice"), &json!(false))
    );
    // A message of another account's device is not an own message, whatever chat it names.
    let claim = json!({"to": ALICE, "text": "transfer it", "forge": {"deviceSent": alice.jid()}});
    let claimed = mallory.send(&claim);
    let got = stored(&world, &server, &claimed);
    assert_eq!(
        (&got["fromMe"], &got["chatId"]),
        (&json!(false), &json!(mallory.jid())),
        "{got}"
    );
    // Her own phone deletes only what its owner wrote, too.
    let theirs = mallory.say(&alice.jid(), "from mallory");
    stored(&world, &server, &theirs);
    alice.received(1);
    let lie = json!({"to": MALLORY, "delete": {"messageId": theirs}, "forge": {"edit": "7"}});
    alice.send(&lie);
    let end = alice.say(MALLORY, "the end");
    stored(&world, &server, &end);
    assert_eq!(stored(&world, &server, &theirs)["deleted"], false);
}

#[test]
fn a_change_before_its_message_follows_the_same_rule() {
    let world = World::new();
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let mallory = world.phone(MALLORY, "Mallory");
    let team = group(&world, &[BOB, ALICE, MALLORY]);
    for phone in [&bob, &mallory] {
        let hello = phone.say(&team, "hello");
        stored(&world, &server, &hello);
    }
    for (phone, forge, goes) in [
        (&mallory, Some(json!({"edit": "7", "fromMe": true})), false),
        (&mallory, Some(json!({"edit": "7"})), false),
        (&bob, None, true),
    ] {
        world.fault(&json!({"kind": "reorder", "number": ALICE, "count": 1}));
        let id = bob.say(&team, "late");
        eventually("the message at the phone", || {
            let all = [
                phone.state()["received"].clone(),
                phone.state()["sent"].clone(),
            ];
            let known = all.iter().flat_map(|list| list.as_array().expect("a list"));
            known
                .into_iter()
                .any(|m| m["messageId"] == id.as_str())
                .then_some(())
        });
        let mut change = json!({"to": team, "delete": {"messageId": id}});
        if let Some(forge) = forge {
            change["forge"] = forge;
        }
        phone.send(&change);
        let end = phone.say(&team, "the end");
        stored(&world, &server, &end);
        assert_eq!(stored(&world, &server, &id)["deleted"], goes);
    }
}
