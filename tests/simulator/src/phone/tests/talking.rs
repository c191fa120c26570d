//! Two phones: sessions, receipts, requests to send again, and what the inbox shows.

use wacore_binary::{Node, NodeContent};

use super::world::{ALICE, BOB, NOW, World, addr, lid};
use crate::phone::{Body, Outgoing, PhoneError, attr, bytes_of};

fn send(world: &mut World, from: &str, out: Outgoing) -> String {
    let (id, stanzas) = world.with(from, |phone, world| {
        phone.send(out, world, NOW).expect("sent")
    });
    world.route(&addr(from, 0), stanzas);
    id
}

fn enc_type(stanza: &Node) -> String {
    attr(stanza.get_optional_child("enc").expect("enc"), "type").expect("type")
}

fn texts(world: &World, number: &str) -> Vec<String> {
    world
        .phone(number)
        .inbox()
        .received()
        .filter_map(|m| m.text.clone())
        .collect()
}

fn receipts(world: &World, number: &str, id: &str) -> Vec<String> {
    let sent = world.phone(number).inbox().find_sent(id).expect("sent");
    sent.receipts.iter().map(|r| r.kind.clone()).collect()
}

#[test]
fn a_conversation_opens_and_keeps_a_session() {
    let mut world = World::new();
    let first = send(&mut world, ALICE, Outgoing::text(BOB, "hello"));
    assert!(first.starts_with("3A") && first.len() == 20, "{first}");
    assert_eq!(enc_type(&world.wire[0].1), "pkmsg");
    world.settle();
    assert_eq!(texts(&world, BOB), ["hello"]);
    assert_eq!(receipts(&world, ALICE, &first), ["delivered"]);

    let mut reply = Outgoing::text(format!("{ALICE}@s.whatsapp.net"), "hi");
    reply.reply_to = Some(first.clone());
    reply.mentions = vec![format!("{ALICE}@s.whatsapp.net")];
    send(&mut world, BOB, reply);
    assert_eq!(enc_type(&world.wire[0].1), "msg");
    world.settle();
    let got = world
        .phone(ALICE)
        .inbox()
        .received()
        .next()
        .expect("one")
        .clone();
    assert_eq!(got.quoted_id.as_deref(), Some(first.as_str()));
    assert_eq!(got.mentions, [format!("{ALICE}@s.whatsapp.net")]);
    assert_eq!((got.kind, got.from_me), ("text", false));
    assert_eq!(got.from, format!("{BOB}@s.whatsapp.net"));

    send(&mut world, ALICE, Outgoing::text(BOB, "again"));
    assert_eq!(enc_type(&world.wire[0].1), "msg");
    world.settle();
    assert_eq!(texts(&world, BOB), ["hello", "again"]);
}

#[test]
fn both_forms_of_an_address_are_one_session() {
    let mut world = World::new();
    let to = format!("{}@lid", lid(BOB));
    send(&mut world, ALICE, Outgoing::text(&to, "by lid"));
    let stanza = &world.wire[0].1;
    assert_eq!(attr(stanza, "from"), Some(format!("{}@lid", lid(ALICE))));
    world.settle();
    send(&mut world, BOB, Outgoing::text(ALICE, "by number"));
    assert_eq!(enc_type(&world.wire[0].1), "msg");
    world.settle();
    assert_eq!(texts(&world, ALICE), ["by number"]);
    let got = world.phone(BOB).inbox().received().next().expect("one");
    assert_eq!(got.chat, format!("{ALICE}@s.whatsapp.net"));
}

#[test]
fn a_lost_session_is_asked_for_and_the_message_comes_once() {
    let mut world = World::new();
    send(&mut world, ALICE, Outgoing::text(BOB, "one"));
    world.settle();
    send(&mut world, BOB, Outgoing::text(ALICE, "two"));
    world.settle();
    world.with(BOB, |bob, _| bob.keys.drop_session(&addr(ALICE, 0)));

    let id = send(&mut world, ALICE, Outgoing::text(BOB, "three"));
    assert_eq!(enc_type(&world.wire[0].1), "msg");
    let (_, stanza) = world.wire.pop_front().expect("a message");
    let replies = world.with(BOB, |bob, world| bob.receive(&stanza, world, NOW));
    assert_eq!(replies.len(), 1);
    let retry = replies[0].get_optional_child("retry").expect("retry");
    assert_eq!(attr(retry, "count").as_deref(), Some("1"));
    assert_eq!(attr(retry, "error").as_deref(), Some("1"));
    assert!(replies[0].get_optional_child("keys").is_some());
    world.route(&addr(BOB, 0), replies);
    world.settle();
    assert_eq!(texts(&world, BOB), ["one", "three"]);
    assert_eq!(receipts(&world, ALICE, &id), ["retry", "delivered"]);
}

#[test]
fn a_request_without_keys_is_met_from_the_directory() {
    let mut world = World::new();
    let id = send(&mut world, ALICE, Outgoing::text(BOB, "one"));
    world.wire.clear();
    let receipt = wacore_binary::builder::NodeBuilder::new("receipt")
        .attr("from", format!("{BOB}@s.whatsapp.net"))
        .attr("id", &id)
        .attr("type", "retry")
        .children([wacore_binary::builder::NodeBuilder::new("retry")
            .attr("id", &id)
            .attr("count", "2")
            .attr("v", "1")
            .build()])
        .build();
    let out = world.with(ALICE, |alice, world| alice.receive(&receipt, world, NOW));
    assert_eq!(out[0].tag, "message");
    assert_eq!(enc_type(&out[0]), "pkmsg");
    let enc = out[0].get_optional_child("enc").expect("enc");
    assert_eq!(attr(enc, "count").as_deref(), Some("2"));
    assert_eq!(
        (out[1].tag.as_ref(), attr(&out[1], "class").as_deref()),
        ("ack", Some("receipt"))
    );
    world.route(&addr(ALICE, 0), out);
    world.settle();
    assert_eq!(texts(&world, BOB), ["one"]);
}

fn tamper(stanza: &Node, at_end: usize) -> Node {
    let mut stanza = stanza.clone();
    let Some(NodeContent::Nodes(children)) = &mut stanza.content else {
        panic!("children");
    };
    let enc = children.iter_mut().find(|c| c.tag == "enc").expect("enc");
    let mut bytes = bytes_of(enc).expect("bytes").to_vec();
    let at = bytes.len() - at_end;
    bytes[at] ^= 1;
    enc.content = Some(NodeContent::Bytes(bytes));
    stanza
}

#[test]
fn a_changed_ciphertext_is_refused_and_asked_for() {
    let mut world = World::new();
    send(&mut world, ALICE, Outgoing::text(BOB, "untouched"));
    world.settle();
    send(&mut world, BOB, Outgoing::text(ALICE, "reply"));
    world.settle();
    send(&mut world, ALICE, Outgoing::text(BOB, "secret"));
    let (_, stanza) = world.wire.pop_front().expect("a message");
    let bad = tamper(&stanza, 1);
    let replies = world.with(BOB, |bob, world| bob.receive(&bad, world, NOW));
    assert_eq!(attr(&replies[0], "type").as_deref(), Some("retry"));
    assert_eq!(texts(&world, BOB), ["untouched"]);
    world.route(&addr(BOB, 0), replies);
    world.settle();
    assert_eq!(texts(&world, BOB), ["untouched", "secret"]);
}

#[test]
fn requests_for_one_message_end() {
    let mut world = World::new();
    send(&mut world, ALICE, Outgoing::text(BOB, "x"));
    let (_, stanza) = world.wire.pop_front().expect("a message");
    let bad = tamper(&stanza, 1);
    let mut kinds = Vec::new();
    for _ in 0..6 {
        let out = world.with(BOB, |bob, world| bob.receive(&bad, world, NOW));
        kinds.push(out[0].tag.to_string());
    }
    assert_eq!(
        kinds,
        ["receipt", "receipt", "receipt", "receipt", "receipt", "ack"]
    );
}

#[test]
fn a_message_delivered_twice_is_one_message_and_two_receipts() {
    let mut world = World::new();
    let id = send(&mut world, ALICE, Outgoing::text(BOB, "once"));
    let twice = world.wire[0].clone();
    world.wire.push_back(twice);
    world.settle();
    assert_eq!(texts(&world, BOB), ["once"]);
    assert_eq!(receipts(&world, ALICE, &id), ["delivered", "delivered"]);
}

#[test]
fn a_one_time_prekey_opens_one_session() {
    let mut world = World::new();
    send(&mut world, ALICE, Outgoing::text(BOB, "once"));
    let (_, stanza) = world.wire[0].clone();
    world.settle();
    world.with(BOB, |bob, _| bob.keys.drop_session(&addr(ALICE, 0)));
    let replies = world.with(BOB, |bob, world| bob.receive(&stanza, world, NOW));
    let retry = replies[0].get_optional_child("retry").expect("retry");
    // InvalidKeyId.
    assert_eq!(attr(retry, "error").as_deref(), Some("3"));
}

#[test]
fn reactions_edits_and_deletions_name_their_message() {
    let mut world = World::new();
    let id = send(&mut world, ALICE, Outgoing::text(BOB, "helo"));
    world.settle();
    let edit = Body::Edit {
        message_id: id.clone(),
        text: "hello".to_owned(),
        bare: false,
    };
    send(&mut world, ALICE, Outgoing::new(BOB, edit.clone()));
    assert_eq!(attr(&world.wire[0].1, "edit").as_deref(), Some("1"));
    let react = Body::React {
        encrypted: false,
        message_id: id.clone(),
        emoji: "👍".to_owned(),
    };
    world.settle();
    send(&mut world, BOB, Outgoing::new(ALICE, react));
    world.settle();
    let delete = Body::Delete {
        message_id: id.clone(),
    };
    send(&mut world, ALICE, Outgoing::new(BOB, delete));
    world.settle();

    let bob: Vec<_> = world.phone(BOB).inbox().received().cloned().collect();
    assert_eq!(bob[1].edit_of.as_deref(), Some(id.as_str()));
    assert_eq!(bob[1].text.as_deref(), Some("hello"));
    assert_eq!(bob[2].delete_of.as_deref(), Some(id.as_str()));
    let alice = world.phone(ALICE).inbox().received().next().expect("one");
    assert_eq!(alice.reaction_to.as_deref(), Some(id.as_str()));
    assert_eq!(alice.text.as_deref(), Some("👍"));

    let theirs = world.with(BOB, |bob, world| {
        bob.send(Outgoing::new(ALICE, edit), world, NOW)
    });
    assert!(matches!(theirs, Err(PhoneError::NotOwnMessage(_))));
}

#[test]
fn unknown_numbers_get_no_message() {
    let mut world = World::new();
    for (to, number) in [("15559999999", true), ("nobody", false), ("1@g.us", true)] {
        let result = world.with(ALICE, |alice, world| {
            alice.send(Outgoing::text(to, "x"), world, NOW)
        });
        match result {
            Err(PhoneError::UnknownRecipient(_)) => assert!(number),
            Err(PhoneError::NotAPerson(_)) => assert!(!number),
            other => panic!("{to}: {other:?}"),
        }
    }
}

#[test]
fn reading_sends_one_receipt_for_all_that_is_unread() {
    let mut world = World::new();
    let ids = ["a", "b", "c"].map(|text| {
        let id = send(&mut world, ALICE, Outgoing::text(BOB, text));
        world.settle();
        id
    });
    let stanzas = world.with(BOB, |bob, _| bob.mark_read(ALICE, None, NOW));
    assert_eq!(stanzas.len(), 1);
    world.route(&addr(BOB, 0), stanzas);
    world.settle();
    for id in &ids {
        assert_eq!(receipts(&world, ALICE, id), ["delivered", "read"]);
    }
    assert!(
        world
            .with(BOB, |bob, _| bob.mark_read(ALICE, None, NOW))
            .is_empty()
    );
    let again = world.with(BOB, |bob, _| bob.mark_read(ALICE, Some(&ids[..1]), NOW));
    assert_eq!(attr(&again[0], "id").as_deref(), Some(ids[0].as_str()));
}

#[test]
fn chat_states_are_those_of_clients() {
    let world = World::new();
    let alice = world.phone(ALICE);
    let node = alice.typing(BOB, "recording").expect("a state");
    let state = node.get_optional_child("composing").expect("composing");
    assert_eq!(attr(state, "media").as_deref(), Some("audio"));
    assert!(matches!(
        alice.typing(BOB, "dancing"),
        Err(PhoneError::UnknownState(_))
    ));
}

#[test]
fn one_seed_gives_the_same_bytes() {
    let run = || {
        let mut world = World::new();
        send(&mut world, ALICE, Outgoing::text(BOB, "same"));
        world.wire[0].1.clone()
    };
    assert_eq!(run(), run());
    let world = World::new();
    assert_ne!(world.phone(ALICE).identity(), world.phone(BOB).identity());
}

#[test]
fn the_admin_forms_are_understood_and_the_inbox_speaks_camel_case() {
    let mut world = World::new();
    for json in [
        r#"{"to":"15550000002","text":"hi","forwarded":true}"#,
        r#"{"to":"15550000002","location":{"latitude":1.5,"longitude":2.5,"name":"there"}}"#,
        r#"{"to":"15550000002","contact":{"name":"Carol","number":"15550000003"}}"#,
        r#"{"to":"15550000002","poll":{"name":"which?","options":["a","b"]}}"#,
    ] {
        let out: Outgoing = serde_json::from_str(json).expect(json);
        send(&mut world, ALICE, out);
        world.settle();
    }
    assert!(serde_json::from_str::<Outgoing>(r#"{"to":"1"}"#).is_err());
    let json = world.phone(BOB).inbox().to_json();
    let kinds: Vec<_> = json["received"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|m| m["type"].as_str().expect("a type").to_owned())
        .collect();
    assert_eq!(kinds, ["text", "location", "contact", "poll"]);
    assert_eq!(json["received"][0]["fromMe"], false);
    assert_eq!(json["received"][0]["forwarded"], true);
    let sent = world.phone(ALICE).inbox().to_json();
    assert_eq!(sent["sent"][0]["receipts"][0]["type"], "delivered");
    assert_eq!(sent["sent"][0]["acked"], false);
}

#[test]
fn the_service_s_answer_is_noted() {
    let mut world = World::new();
    let id = send(&mut world, ALICE, Outgoing::text(BOB, "x"));
    let ack = wacore_binary::builder::NodeBuilder::new("ack")
        .attr("class", "message")
        .attr("id", &id);
    let refused = ack.build();
    world.with(ALICE, |alice, world| alice.receive(&refused, world, NOW));
    assert!(
        world
            .phone(ALICE)
            .inbox()
            .find_sent(&id)
            .expect("sent")
            .acked
    );
}
