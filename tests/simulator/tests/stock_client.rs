//! whatsapp-rust's own tokio client, with its own in-memory store, against the simulator: it gets a URL
//! and a certificate authority, and should not notice a difference to WhatsApp.

mod stock;

use std::sync::Arc;

use serde_json::json;
use stock::{Device, World};
use whatsapp_rust::Jid;
use whatsapp_rust::prelude::*;

const ALICE: &str = "15550000001";
const BOB: &str = "15550000002";
const CAROL: &str = "15550000003";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn linked_by_qr_it_talks_with_a_phone_and_logs_in_again() {
    let world = World::start();
    let lid = world.person(CAROL, "carol").await;
    let mut alice = Device::link(&world, ALICE, "alice").await;

    // To a phone, by number and by LID, with the receipts.
    let sent = alice
        .client
        .send_text(Jid::pn(CAROL), "by number")
        .await
        .expect("sent");
    alice.receipt(&sent.message_id, "Delivered").await;
    let lid: Jid = lid.parse().expect("a lid");
    alice.client.send_text(lid, "by lid").await.expect("sent");
    let got = world.received(CAROL, 2).await;
    assert_eq!(got[0]["text"], "by number");
    assert_eq!(got[1]["text"], "by lid");
    assert_eq!(got[0]["chat"], format!("{ALICE}@s.whatsapp.net"));
    world
        .post(&format!("phones/{CAROL}/read"), json!({"chat": ALICE}))
        .await;
    alice.receipt(&sent.message_id, "Read").await;

    // What a linked device sends, its phone has too.
    let own = world.received(ALICE, 2).await;
    assert_eq!(own[0]["fromMe"], true);
    assert_eq!(own[0]["chat"], format!("{CAROL}@s.whatsapp.net"));

    // From a phone, with the receipts.
    let id = world.say(CAROL, ALICE, "hello alice").await;
    let info = alice.text("hello alice").await;
    assert_eq!(info.id, id);
    assert_eq!(info.push_name, "carol");
    world.has_receipt(CAROL, &id, "delivered").await;
    alice
        .client
        .mark_as_read(&info.source.chat, None, &[&info.id])
        .await
        .expect("read");
    world.has_receipt(CAROL, &id, "read").await;

    // What the own phone sends.
    world.say(ALICE, CAROL, "from the phone").await;
    let info = alice.text("from the phone").await;
    assert!(info.source.is_from_me);
    world.received(CAROL, 3).await;

    // Again, from the store.
    let store = alice.stop().await;
    let mut alice = Device::start(&world, store, None).await;
    alice.connected().await;
    assert!(!alice.asked_for_pairing());
    world.say(CAROL, ALICE, "welcome back").await;
    alice.text("welcome back").await;
    alice
        .client
        .send_text(Jid::pn(CAROL), "thanks")
        .await
        .expect("sent");
    assert_eq!(world.received(CAROL, 4).await[3]["text"], "thanks");
    assert_eq!(alice.unexpected_texts(), Vec::<String>::new());
    alice.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn linked_by_phone_code_it_receives_and_sends() {
    let world = World::start();
    world.person(ALICE, "alice").await;
    world.person(CAROL, "carol").await;
    let mut alice = Device::start(&world, Arc::default(), Some(ALICE)).await;
    let code = alice
        .expect("a code", |event| match event {
            Event::PairingCode(code) => Some(code.code.clone()),
            _ => None,
        })
        .await;
    world
        .post(
            "mock-phone/enter-code",
            json!({"number": ALICE, "code": code}),
        )
        .await;
    alice.connected().await;
    world.say(CAROL, ALICE, "hi").await;
    alice.text("hi").await;
    alice
        .client
        .send_text(Jid::pn(CAROL), "hi too")
        .await
        .expect("sent");
    assert_eq!(world.received(CAROL, 1).await[0]["text"], "hi too");
    alice.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_clients_talk_to_each_other() {
    let world = World::start();
    let mut alice = Device::link(&world, ALICE, "alice").await;
    let mut bob = Device::link(&world, BOB, "bob").await;
    let sent = alice
        .client
        .send_text(Jid::pn(BOB), "hello bob")
        .await
        .expect("sent");
    let info = bob.text("hello bob").await;
    alice.receipt(&sent.message_id, "Delivered").await;
    bob.client
        .mark_as_read(&info.source.chat, None, &[&info.id])
        .await
        .expect("read");
    alice.receipt(&sent.message_id, "Read").await;
    for round in 0..3 {
        let text = format!("round {round}");
        bob.client
            .send_text(info.source.chat.clone(), &text)
            .await
            .expect("sent");
        alice.text(&text).await;
        let lid = world.get(&format!("phones/{BOB}")).await["lid"].clone();
        let lid: Jid = lid.as_str().expect("a lid").parse().expect("a jid");
        alice.client.send_text(lid, &text).await.expect("sent");
        bob.text(&text).await;
    }
    // The phones have all messages: those received, and those of their companions.
    world.received(ALICE, 7).await;
    world.received(BOB, 7).await;
    assert_eq!(alice.unexpected_texts(), Vec::<String>::new());
    assert_eq!(bob.unexpected_texts(), Vec::<String>::new());
    alice.stop().await;
    bob.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_sent_meanwhile_arrives_once() {
    let world = World::start();
    world.person(CAROL, "carol").await;
    let alice = Device::link(&world, ALICE, "alice").await;
    let store = alice.stop().await;
    world
        .get(&format!("phones/{ALICE}?online=false&wait=60"))
        .await;
    let texts = ["one", "two", "three"];
    for text in texts {
        world.say(CAROL, ALICE, text).await;
    }
    let mut alice = Device::start(&world, store, None).await;
    for text in texts {
        assert!(alice.text(text).await.is_offline);
    }
    alice.connected().await;

    // The client reconnects after a lost connection.
    world
        .post(&format!("phones/{ALICE}/offline"), json!({}))
        .await;
    world
        .get(&format!("phones/{ALICE}?online=false&wait=60"))
        .await;
    world.say(CAROL, ALICE, "four").await;
    world
        .post(&format!("phones/{ALICE}/online"), json!({}))
        .await;
    alice.text("four").await;
    world.say(CAROL, ALICE, "five").await;
    alice.text("five").await;

    // The service delivers twice, as it does when a receipt is lost.
    let fault = json!({"kind": "deliver-twice", "number": ALICE, "count": 1});
    world.post("faults", fault).await;
    world.say(CAROL, ALICE, "six").await;
    alice.text("six").await;
    world.say(CAROL, ALICE, "seven").await;
    alice.text("seven").await;
    assert_eq!(alice.unexpected_texts(), Vec::<String>::new());
    alice.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_cannot_be_read_is_sent_again() {
    use whatsapp_rust::wacore::store::traits::SignalStore as _;
    use whatsapp_rust::wacore::types::jid::JidExt as _;

    let world = World::start();
    let lid: Jid = world.person(CAROL, "carol").await.parse().expect("a lid");
    let mut alice = Device::link(&world, ALICE, "alice").await;
    world.say(CAROL, ALICE, "first").await;
    alice.text("first").await;
    let reply = alice
        .client
        .send_text(Jid::pn(CAROL), "reply")
        .await
        .expect("sent");
    alice.receipt(&reply.message_id, "Delivered").await;

    // The client loses its session with the phone, and with it the ability to read "second".
    let store = alice.stop().await;
    for jid in [lid, Jid::pn(CAROL)] {
        let address = jid.to_protocol_address();
        store
            .delete_session(address.as_str())
            .await
            .expect("deleted");
    }
    let mut alice = Device::start(&world, store, None).await;
    alice.connected().await;
    let id = world.say(CAROL, ALICE, "second").await;
    alice.text("second").await;
    world.has_receipt(CAROL, &id, "retry").await;
    world.has_receipt(CAROL, &id, "delivered").await;
    assert_eq!(alice.unexpected_texts(), Vec::<String>::new());
    alice.stop().await;
}
