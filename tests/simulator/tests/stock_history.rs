//! What whatsapp-rust's own client learns of the time before it was linked, and of what the owner does
//! on the phone: history, contacts, chats marked and archived, numbers that were hidden.

mod stock;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use stock::{Device, World};
use whatsapp_rust::Jid;
use whatsapp_rust::prelude::*;
use whatsapp_rust::wacore::store::device::{DevicePropsOverride, default_history_sync_config};
use whatsapp_rust::waproto::whatsapp as wa;

const ALICE: &str = "15550000001";
const CAROL: &str = "15550000003";

/// The messages of every chat that the client was given, and how often chunks came.
#[derive(Default)]
struct Heard {
    chats: BTreeMap<String, BTreeSet<String>>,
    conversations: BTreeMap<String, wa::Conversation>,
    kinds: BTreeMap<String, usize>,
    names: BTreeMap<String, String>,
    mappings: BTreeMap<String, String>,
    messages: usize,
}

impl Heard {
    fn take(&mut self, sync: &wa::HistorySync) {
        *self
            .kinds
            .entry(format!("{:?}", sync.sync_type))
            .or_default() += 1;
        for name in &sync.pushnames {
            let (id, name) = (name.id.clone(), name.pushname.clone());
            self.names.insert(id.expect("an id"), name.expect("a name"));
        }
        for mapping in &sync.phone_number_to_lid_mappings {
            let (pn, lid) = (mapping.pn_jid.clone(), mapping.lid_jid.clone());
            self.mappings.insert(pn.expect("a pn"), lid.expect("a lid"));
        }
        for chat in &sync.conversations {
            let ids = self.chats.entry(chat.id.clone()).or_default();
            for message in &chat.messages {
                let id = message.message.key.id.clone().expect("an id");
                assert!(ids.insert(id.clone()), "{id} comes twice");
                self.messages += 1;
            }
            self.conversations
                .entry(chat.id.clone())
                .or_insert_with(|| chat.clone());
        }
    }

    /// Listens until the last chunk is there and as many messages as there must be: the client does not
    /// report chunks in the order in which they came.
    async fn all(device: &mut Device, least: usize) -> Heard {
        let mut heard = Heard::default();
        let (mut complete, mut named) = (false, false);
        while !(complete && named && heard.messages >= least) {
            let sync = device
                .expect("history", |event| match event {
                    Event::HistorySync(sync) => sync.get().cloned(),
                    _ => None,
                })
                .await;
            let names = sync.sync_type == wa::history_sync::HistorySyncType::PUSH_NAME;
            named |= names;
            complete |= !names && sync.progress == Some(100);
            heard.take(&sync);
        }
        heard
    }
}

async fn build(world: &World, body: Value) -> Value {
    world.post(&format!("phones/{ALICE}/history"), body).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_message_of_the_past_arrives_once() {
    let world = World::start();
    world.person(CAROL, "carol").await;
    let past = build(
        &world,
        json!({"chats": 12, "messagesPerChat": 200, "groups": 2, "unread": 3, "days": 20}),
    )
    .await;
    // Something that really happened.
    let path = format!("phones/{CAROL}/messages");
    let id = world.say(CAROL, ALICE, "befor").await;
    let edit = json!({"to": ALICE, "edit": {"messageId": id, "text": "before"}});
    world.post(&path, edit).await;
    world.say(ALICE, CAROL, "indeed").await;
    world.received(CAROL, 1).await;

    let mut alice = Device::link(&world, ALICE, "alice").await;
    let heard = Heard::all(&mut alice, 14 * 200 + 2).await;
    assert_eq!(past["messages"], 14 * 200);
    assert_eq!(heard.messages, 14 * 200 + 2);
    assert!(heard.kinds["RECENT"] >= 2, "{:?}", heard.kinds);
    for chat in past["chats"].as_array().expect("chats") {
        let jid = chat["jid"].as_str().expect("a jid");
        let ids = &heard.chats[jid];
        assert_eq!(ids.len(), 200);
        for key in ["first", "last"] {
            assert!(ids.contains(chat[key].as_str().expect("an id")), "{chat}");
        }
        let conversation = &heard.conversations[jid];
        assert_eq!(conversation.unread_count, Some(3));
        let newest = conversation.messages[0].message.as_option().expect("one");
        assert_eq!(newest.key.id.as_deref(), chat["last"].as_str());
        let text = newest.message.as_option().and_then(|m| m.text_content());
        assert_eq!(text, chat["lastText"].as_str());
    }
    let group = past["chats"][0]["jid"].as_str().expect("a group");
    assert_eq!(heard.conversations[group].name.as_deref(), Some("Group 0"));
    assert_eq!(heard.conversations[group].participant.len(), 6);

    let carols = &heard.conversations[&format!("{CAROL}@s.whatsapp.net")];
    let texts: Vec<_> = carols
        .messages
        .iter()
        .filter_map(|m| m.message.message.as_option()?.text_content())
        .collect();
    assert_eq!(texts.len(), 2);
    assert!(
        texts.contains(&"before") && texts.contains(&"indeed"),
        "{texts:?}"
    );
    assert_eq!(heard.names[&format!("{CAROL}@s.whatsapp.net")], "carol");
    assert!(heard.mappings.len() >= 14, "{:?}", heard.mappings);

    // Life goes on in a chat that began before.
    let jid: Jid = past["chats"][2]["jid"]
        .as_str()
        .expect("a jid")
        .parse()
        .expect("a jid");
    let friend = jid.user.to_string();
    alice
        .client
        .send_text(jid, "still there?")
        .await
        .expect("sent");
    assert_eq!(world.received(&friend, 1).await[0]["text"], "still there?");
    world.say(&friend, group, "in the old group").await;
    alice.text("in the old group").await;
    alice.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_past_arrives_whole() {
    let world = World::start();
    build(
        &world,
        json!({"chats": 50, "messagesPerChat": 1000, "days": 60}),
    )
    .await;
    let mut alice = Device::link_another(&world, ALICE, "alice").await;
    let heard = Heard::all(&mut alice, 50_000).await;
    assert_eq!(heard.messages, 50_000);
    assert!(heard.chats.values().all(|ids| ids.len() == 1000));
    alice.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_comes_late_gets_a_snapshot() {
    let world = World::start();
    world.person(CAROL, "carol").await;
    for n in 0..30 {
        let body = json!({"contacts": [
            {"number": CAROL, "name": format!("Carol {n}")},
            {"number": format!("1555100{n:04}"), "name": format!("Somebody {n}")},
        ]});
        world.post(&format!("phones/{ALICE}/contacts"), body).await;
    }
    let mut alice = Device::link_another(&world, ALICE, "alice").await;
    let mut names = BTreeMap::new();
    while names.len() < 31 {
        let (jid, name) = alice
            .expect("contacts", |event| match event {
                Event::ContactUpdate(update) => {
                    Some((update.jid.to_string(), update.action.full_name.clone()))
                }
                _ => None,
            })
            .await;
        // A snapshot has the last name of each and no other.
        assert_eq!(names.insert(jid.clone(), name), None, "{jid} twice");
    }
    let carol = names[&format!("{CAROL}@s.whatsapp.net")].as_deref();
    assert_eq!(carol, Some("Carol 29"));
    // The next patch builds on the snapshot.
    let body = json!({"contacts": [{"number": CAROL, "name": "Carol at last"}]});
    world.post(&format!("phones/{ALICE}/contacts"), body).await;
    alice
        .expect("the next name", |event| match event {
            Event::ContactUpdate(update) => {
                (update.action.full_name.as_deref() == Some("Carol at last")).then_some(())
            }
            _ => None,
        })
        .await;
    alice.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_gets_as_many_days_as_it_asks_for() {
    let world = World::start();
    build(
        &world,
        json!({"chats": 2, "messagesPerChat": 100, "days": 100}),
    )
    .await;
    let days = |recent, full, require| {
        DevicePropsOverride::new()
            .with_require_full_sync(require)
            .with_history_sync_config(wa::device_props::HistorySyncConfig {
                recent_sync_days_limit: Some(recent),
                full_sync_days_limit: Some(full),
                ..default_history_sync_config()
            })
    };
    for (props, least, most) in [
        (days(30, 365, false), 2 * 28, 2 * 31),
        (days(30, 365, true), 2 * 99, 2 * 100),
        (days(0, 0, false), 0, 0),
    ] {
        *world.props.lock().expect("no panic") = Some(props);
        let mut alice = Device::link_another(&world, ALICE, "alice").await;
        let heard = Heard::all(&mut alice, least).await;
        assert!(
            (least..=most).contains(&heard.messages),
            "{} is not in {least}..={most}",
            heard.messages
        );
        alice.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contacts_marks_and_archives_come_by_app_state() {
    let world = World::start();
    world.person(CAROL, "carol").await;
    let name = |name: &str| json!({"contacts": [{"number": CAROL, "name": name}]});
    let contacts = format!("phones/{ALICE}/contacts");
    // One before the client is there, one after; the second replaces the first.
    world.post(&contacts, name("Carol Early")).await;
    let mut alice = Device::link(&world, ALICE, "alice").await;
    let named = async |alice: &mut Device, name: &str| {
        alice
            .expect(name, |event| match event {
                Event::ContactUpdate(update) => (update.jid == Jid::pn(CAROL)
                    && update.action.full_name.as_deref() == Some(name))
                .then_some(()),
                _ => None,
            })
            .await;
    };
    named(&mut alice, "Carol Early").await;
    world.post(&contacts, name("Carol Late")).await;
    named(&mut alice, "Carol Late").await;

    let id = world.say(CAROL, ALICE, "hello").await;
    alice.text("hello").await;
    let chat = json!({"chat": CAROL});
    world
        .post(&format!("phones/{ALICE}/mark-chat"), chat.clone())
        .await;
    let range = alice
        .expect("the chat marked read", |event| match event {
            Event::MarkChatAsReadUpdate(update) => (update.jid == Jid::pn(CAROL)
                && update.action.read == Some(true))
            .then(|| update.action.message_range.as_option().cloned()),
            _ => None,
        })
        .await
        .expect("a range");
    assert_eq!(range.messages[0].key.id.as_deref(), Some(id.as_str()));
    world.post(&format!("phones/{ALICE}/archive"), chat).await;
    alice
        .expect("the chat archived", |event| match event {
            Event::ArchiveUpdate(update) => update.action.archived,
            _ => None,
        })
        .await;
    let delete = json!({"chat": CAROL, "messageId": id});
    world
        .post(&format!("phones/{ALICE}/delete-for-me"), delete)
        .await;
    alice
        .expect("the message deleted", |event| match event {
            Event::DeleteMessageForMeUpdate(update) => {
                (update.message_id.as_str() == id).then_some(())
            }
            _ => None,
        })
        .await;

    // What the client writes, the phone builds on.
    alice
        .client
        .chat_actions()
        .archive_chat(&Jid::pn(CAROL), None)
        .await
        .expect("archived");
    let unarchive = json!({"chat": CAROL, "archived": false});
    world
        .post(&format!("phones/{ALICE}/archive"), unarchive)
        .await;
    alice
        .expect("the chat taken back", |event| match event {
            Event::ArchiveUpdate(update) => (update.action.archived == Some(false)).then_some(()),
            _ => None,
        })
        .await;
    alice.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_read_on_one_device_is_read_on_the_others() {
    let world = World::start();
    world.person(CAROL, "carol").await;
    let mut alice = Device::link(&world, ALICE, "alice").await;
    let mut second = Device::link_another(&world, ALICE, "alice").await;
    let id = world.say(CAROL, ALICE, "hello").await;
    let info = alice.text("hello").await;
    second.text("hello").await;
    alice
        .client
        .mark_as_read(&info.source.chat, None, &[&info.id])
        .await
        .expect("read");
    second.receipt(&id, "ReadSelf").await;
    world.has_receipt(CAROL, &id, "read").await;

    let id = world.say(CAROL, ALICE, "again").await;
    alice.text("again").await;
    world
        .post(&format!("phones/{ALICE}/read"), json!({"chat": CAROL}))
        .await;
    alice.receipt(&id, "ReadSelf").await;
    second.receipt(&id, "ReadSelf").await;
    alice.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hidden_number_is_learnt_late() {
    let world = World::start();
    let made = world
        .post(
            "phones",
            json!({"number": CAROL, "name": "carol", "hideNumber": true}),
        )
        .await;
    let lid: Jid = made["lid"].as_str().expect("a lid").parse().expect("a lid");
    let mut alice = Device::link(&world, ALICE, "alice").await;
    world.say(CAROL, ALICE, "who am I?").await;
    let info = alice.text("who am I?").await;
    assert_eq!(info.source.chat, lid);
    assert_eq!(info.source.sender_alt, None);
    // Sends to the LID and to the number reach the same phone.
    for to in [lid.clone(), Jid::pn(CAROL)] {
        alice.client.send_text(to, "carol?").await.expect("sent");
    }
    let got = world.received(CAROL, 2).await;
    assert_eq!(got.len(), 2);

    world
        .post("phones", json!({"number": CAROL, "hideNumber": false}))
        .await;
    world
        .say(CAROL, &made_lid(&world, ALICE).await, "it is me")
        .await;
    let info = alice.text("it is me").await;
    assert_eq!(info.source.chat, lid);
    assert_eq!(info.source.sender_alt, Some(Jid::pn(CAROL)));

    // Or from the account's phone.
    world
        .post(&format!("phones/{ALICE}/mapping"), json!({"of": CAROL}))
        .await;
    world.say(CAROL, ALICE, "by number").await;
    assert_eq!(alice.text("by number").await.source.chat, Jid::pn(CAROL));
    alice.stop().await;
}

async fn made_lid(world: &World, number: &str) -> String {
    let person = world.get(&format!("phones/{number}")).await;
    person["lid"].as_str().expect("a lid").to_owned()
}
