//! whatsapp-rust's own client in groups: made by it and by phones, with people and devices that come
//! and go.

mod stock;

use serde_json::{Value, json};
use stock::{Device, World};
use whatsapp_rust::prelude::*;
use whatsapp_rust::wacore::stanza::groups::GroupNotificationAction;
use whatsapp_rust::{GroupCreateOptions, GroupParticipantOptions, GroupSubject, Jid};

const ALICE: &str = "15550000001";
const BOB: &str = "15550000002";
const CAROL: &str = "15550000003";
const DAVE: &str = "15550000004";

/// A group that carol's phone made.
async fn group(world: &World, members: &[&str], addressing: &str) -> Jid {
    let body = json!({"subject": "band", "members": members, "addressing": addressing});
    let made = world.post("groups", body).await;
    made["jid"]
        .as_str()
        .expect("a jid")
        .parse()
        .expect("a group's jid")
}

fn find<'a>(received: &'a [Value], text: &str) -> &'a Value {
    received
        .iter()
        .find(|message| message["text"] == text)
        .unwrap_or_else(|| panic!("no {text:?} in {received:?}"))
}

async fn in_both_directions(addressing: &str) {
    let world = World::start();
    for (number, name) in [(BOB, "bob"), (CAROL, "carol")] {
        world.person(number, name).await;
    }
    let mut alice = Device::link(&world, ALICE, "alice").await;
    let group = group(&world, &[CAROL, ALICE, BOB], addressing).await;
    let name = group.to_string();

    let id = world.say(CAROL, &name, "hello all").await;
    let info = alice.text("hello all").await;
    assert_eq!(info.id, id);
    assert!(info.source.is_group);
    assert_eq!(info.source.chat, group);
    assert_eq!(info.source.sender.is_lid(), addressing == "lid");
    assert_eq!(info.push_name, "carol");
    world.has_receipt(CAROL, &id, "delivered").await;
    // The second one needs no key.
    world.say(CAROL, &name, "and again").await;
    alice.text("and again").await;

    for text in ["hello from alice", "more from alice"] {
        let sent = alice
            .client
            .send_text(group.clone(), text)
            .await
            .expect("sent");
        alice.receipt(&sent.message_id, "Delivered").await;
        world
            .post(&format!("phones/{BOB}/read"), json!({"chat": name}))
            .await;
        alice.receipt(&sent.message_id, "Read").await;
    }
    let got = world.received(BOB, 4).await;
    let hello = find(&got, "hello from alice");
    assert_eq!(hello["chat"], name);
    assert_eq!(hello["from"], format!("{ALICE}:1@s.whatsapp.net"));
    // The own phone sees it as its own.
    let own = world.received(ALICE, 4).await;
    assert_eq!(find(&own, "more from alice")["fromMe"], true);

    // Replies, reactions and deletions name the author.
    let path = format!("phones/{BOB}/messages");
    let reply = json!({"to": name, "text": "yes", "replyTo": id});
    world.post(&path, reply).await;
    let info = alice.text("yes").await;
    assert_eq!(info.push_name, "bob");
    alice
        .client
        .mark_as_read(&group, Some(&info.source.sender), &[&info.id])
        .await
        .expect("read");
    world.has_receipt(BOB, &info.id, "read").await;
    assert_eq!(alice.unexpected_texts(), Vec::<String>::new());
    alice.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_go_both_ways_in_a_group_addressed_by_lid() {
    in_both_directions("lid").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn and_in_one_addressed_by_number() {
    in_both_directions("pn").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_and_devices_come_and_go() {
    let world = World::start();
    for (number, name) in [(BOB, "bob"), (CAROL, "carol"), (DAVE, "dave")] {
        world.person(number, name).await;
    }
    let mut alice = Device::link(&world, ALICE, "alice").await;
    let group = group(&world, &[CAROL, ALICE, BOB], "lid").await;
    let name = group.to_string();
    let change = format!("groups/{name}");
    alice
        .client
        .send_text(group.clone(), "one")
        .await
        .expect("sent");
    world.received(BOB, 1).await;

    // Dave comes: both sides give him their keys.
    world.post(&change, json!({"add": [DAVE]})).await;
    alice
        .expect("dave to come", |event| match event {
            Event::GroupUpdate(update) => {
                matches!(update.action, GroupNotificationAction::Add { .. }).then_some(())
            }
            _ => None,
        })
        .await;
    alice
        .client
        .send_text(group.clone(), "two")
        .await
        .expect("sent");
    world.say(CAROL, &name, "three").await;
    alice.text("three").await;
    let got = world.received(DAVE, 2).await;
    assert_eq!(got.len(), 2, "{got:?}");
    find(&got, "two");
    find(&got, "three");

    // Bob leaves: he gets no more messages, and the keys change.
    world.post(&change, json!({"remove": [BOB]})).await;
    alice
        .expect("bob to go", |event| match event {
            Event::GroupUpdate(update) => {
                matches!(update.action, GroupNotificationAction::Remove { .. }).then_some(())
            }
            _ => None,
        })
        .await;
    alice
        .client
        .send_text(group.clone(), "four")
        .await
        .expect("sent");
    world.say(DAVE, &name, "five").await;
    alice.text("five").await;
    find(&world.received(DAVE, 3).await, "four");
    let bobs = world.received(BOB, 0).await;
    assert!(
        bobs.iter()
            .all(|m| m["text"] != "four" && m["text"] != "five"),
        "{bobs:?}"
    );
    let answer = world
        .try_post(
            &format!("phones/{BOB}/messages"),
            json!({"to": name, "text": "let me in"}),
        )
        .await;
    assert_eq!(answer.0, 400, "{answer:?}");

    // Dave links a device: it reads what the others say from then on, and is read.
    let mut second = Device::link(&world, DAVE, "dave").await;
    world.say(CAROL, &name, "six").await;
    second.text("six").await;
    alice.text("six").await;
    alice
        .client
        .send_text(group.clone(), "seven")
        .await
        .expect("sent");
    second.text("seven").await;
    second
        .client
        .send_text(group.clone(), "eight")
        .await
        .expect("sent");
    alice.text("eight").await;
    find(&world.received(CAROL, 5).await, "eight");
    alice.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_the_client_makes() {
    let world = World::start();
    for (number, name) in [(BOB, "bob"), (CAROL, "carol")] {
        world.person(number, name).await;
    }
    let mut alice = Device::link(&world, ALICE, "alice").await;
    let groups = alice.client.groups();
    let options = GroupCreateOptions::new("club")
        .with_participant(GroupParticipantOptions::new(Jid::pn(BOB)))
        .with_participant(GroupParticipantOptions::new(Jid::pn(CAROL)));
    let made = groups.create_group(options).await.expect("made").metadata;
    let jid = made.id.clone();
    assert_eq!(made.participants.len(), 3);
    groups
        .set_subject(jid.clone(), GroupSubject::new("the club").expect("short"))
        .await
        .expect("renamed");
    alice
        .expect("the new name", |event| match event {
            Event::GroupUpdate(update) => match &update.action {
                GroupNotificationAction::Subject { subject, .. } => {
                    (subject == "the club").then_some(())
                }
                _ => None,
            },
            _ => None,
        })
        .await;
    let groups = alice.client.groups();
    let mine = groups.get_participating().await.expect("the list");
    assert_eq!(mine[&jid].subject, "the club");
    groups.set_announce(jid.clone(), true).await.expect("set");

    // Only admins can write now, and see the link.
    let path = format!("phones/{BOB}/messages");
    let sent = world
        .post(&path, json!({"to": jid.to_string(), "text": "may I?"}))
        .await;
    let bobs = world.get(&path).await;
    assert_eq!(bobs["sent"][0]["messageId"], sent["messageId"]);
    assert_eq!(bobs["sent"][0]["error"], 403);
    let link = groups
        .get_invite_link(jid.clone(), false)
        .await
        .expect("a link");
    assert!(link.contains("chat.whatsapp.com/"), "{link}");

    let outcome = groups
        .remove_participants(jid.clone(), &[Jid::pn(BOB)])
        .await
        .expect("an answer");
    assert!(outcome[0].is_ok(), "{outcome:?}");
    groups.leave(jid.clone()).await.expect("left");
    let now = world.get(&format!("groups/{jid}")).await;
    assert_eq!(now["members"][0]["number"], CAROL);
    assert_eq!(now["members"][0]["role"], "admin");
    assert!(groups.get_metadata(&jid).await.is_err());
    alice.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_read_in_a_group_is_sent_again() {
    use whatsapp_rust::wacore::store::traits::SignalStore as _;

    let world = World::start();
    world.person(CAROL, "carol").await;
    let mut alice = Device::link(&world, ALICE, "alice").await;
    let group = group(&world, &[CAROL, ALICE], "lid").await;
    let name = group.to_string();
    world.say(CAROL, &name, "first").await;
    let carol = alice.text("first").await.source.sender.clone();

    // The client loses carol's key, and cannot read "second".
    let store = alice.stop().await;
    let address = {
        use whatsapp_rust::wacore::types::jid::JidExt as _;
        carol.to_protocol_address()
    };
    let key = format!("{name}:{}", address.as_str());
    store.delete_sender_key(&key).await.expect("deleted");
    let mut alice = Device::start(&world, store, None).await;
    alice.connected().await;
    let id = world.say(CAROL, &name, "second").await;
    alice.text("second").await;
    world.has_receipt(CAROL, &id, "retry").await;
    world.has_receipt(CAROL, &id, "delivered").await;
    world.say(CAROL, &name, "third").await;
    alice.text("third").await;
    assert_eq!(alice.unexpected_texts(), Vec::<String>::new());
    alice.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_in_a_group_is_acknowledged() {
    let world = World::start();
    world.person(CAROL, "carol").await;
    let mut alice = Device::link(&world, ALICE, "alice").await;
    let group = group(&world, &[CAROL, ALICE], "lid").await;
    let body = json!({"from": CAROL, "to": group.to_string(), "count": 50});
    let answer = world.post("load", body).await;
    assert_eq!(answer["acknowledged"], 50);
    alice.text("message 49").await;
    alice.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_phone_cannot_read_the_client_sends_again() {
    use whatsapp_rust::wacore::store::traits::SignalStore as _;
    use whatsapp_rust::wacore::types::jid::JidExt as _;

    let world = World::start();
    for (number, name) in [(BOB, "bob"), (CAROL, "carol")] {
        world.person(number, name).await;
    }
    let alice = Device::link(&world, ALICE, "alice").await;
    let group = group(&world, &[CAROL, ALICE, BOB], "lid").await;
    let name = group.to_string();
    alice
        .client
        .send_text(group.clone(), "first")
        .await
        .expect("sent");
    world.received(BOB, 1).await;

    // The client loses its own key and makes a new one, which it thinks the others have.
    let store = alice.stop().await;
    let person = world.get(&format!("phones/{ALICE}")).await;
    let lid: Jid = person["lid"].as_str().expect("a lid").parse().expect("one");
    let address = Jid::lid_device(lid.user.as_str(), 1).to_protocol_address();
    let key = format!("{name}:{}", address.as_str());
    assert!(store.get_sender_key(&key).await.expect("read").is_some());
    store.delete_sender_key(&key).await.expect("deleted");
    let mut alice = Device::start(&world, store, None).await;
    alice.connected().await;
    let sent = alice
        .client
        .send_text(group.clone(), "second")
        .await
        .expect("sent");
    for number in [BOB, CAROL] {
        let got = world.received(number, 2).await;
        assert_eq!(find(&got, "second")["messageId"], sent.message_id);
    }
    alice.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_about_a_message_names_its_author() {
    let world = World::start();
    for (number, name) in [(BOB, "bob"), (CAROL, "carol")] {
        world.person(number, name).await;
    }
    let mut alice = Device::link(&world, ALICE, "alice").await;
    let group = group(&world, &[CAROL, ALICE, BOB], "lid").await;
    let name = group.to_string();
    let lid = async |number: &str| {
        let person = world.get(&format!("phones/{number}")).await;
        person["lid"].as_str().expect("a lid").to_owned()
    };
    let (bob, carol) = (lid(BOB).await, lid(CAROL).await);
    let say = async |number: &str, body: Value| {
        let sent = world.post(&format!("phones/{number}/messages"), body).await;
        sent["messageId"].as_str().expect("an id").to_owned()
    };

    let carols = world.say(CAROL, &name, "carol's").await;
    let bobs = world.say(BOB, &name, "bob's").await;
    world.received(BOB, 1).await;
    world.received(CAROL, 1).await;
    let reply = json!({"to": name, "text": "re: carol's", "replyTo": carols, "mentions": [carol]});
    let reply = alice.message(&say(BOB, reply).await).await;
    let context = reply
        .message
        .extended_text_message
        .as_option()
        .and_then(|text| text.context_info.as_option())
        .expect("a quote");
    assert_eq!(context.stanza_id.as_deref(), Some(carols.as_str()));
    assert_eq!(context.participant.as_deref(), Some(carol.as_str()));
    assert_eq!(context.mentioned_jid, [carol.as_str()]);

    let react = json!({"to": name, "react": {"messageId": carols, "emoji": "👍"}});
    let reaction = alice.message(&say(BOB, react).await).await;
    let reaction = reaction.message.reaction_message.as_option().expect("one");
    assert_eq!(reaction.key.remote_jid.as_deref(), Some(name.as_str()));
    assert_eq!(reaction.key.participant.as_deref(), Some(carol.as_str()));

    let edit = json!({"to": name, "edit": {"messageId": bobs, "text": "bob's, better"}});
    let edit = alice.message(&say(BOB, edit).await).await;
    assert_eq!(format!("{:?}", edit.info.edit), "MessageEdit");

    // A member who is not an admin cannot delete messages of others; carol created the group.
    let delete = json!({"to": name, "delete": {"messageId": carols}});
    let (status, _) = world
        .try_post(&format!("phones/{BOB}/messages"), delete)
        .await;
    assert_eq!(status, 400);
    let delete = json!({"to": name, "delete": {"messageId": bobs}});
    let deletion = alice.message(&say(CAROL, delete).await).await;
    assert_eq!(format!("{:?}", deletion.info.edit), "AdminRevoke");
    let key = &deletion
        .message
        .protocol_message
        .as_option()
        .expect("a deletion")
        .key;
    assert_eq!(key.id.as_deref(), Some(bobs.as_str()));
    assert_eq!(key.participant.as_deref(), Some(bob.as_str()));

    // Messages sent while the client is offline wait.
    let store = alice.stop().await;
    world.say(BOB, &name, "meanwhile").await;
    let mut alice = Device::start(&world, store, None).await;
    assert!(alice.text("meanwhile").await.is_offline);
    alice.stop().await;
}
