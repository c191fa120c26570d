//! The service at the level of stanzas: it is as strict as WhatsApp, and persistent where WhatsApp is.

mod common;

use common::{Device, Greeting, Raw, get, iq, leaf, post, text};
use http_types::Method;
use serde_json::json;
use wacore_binary::builder::NodeBuilder;
use wacore_binary::{Jid, Node};
use wacore_libsignal::protocol::KeyPair;
use wildcat_simulator::{Options, Simulator};

const ALICE: &str = "15550000001";
const BOB: &str = "15550000002";

fn simulator() -> Simulator {
    Simulator::start_with(Options {
        seed: Some(1),
        ..Options::default()
    })
    .expect("a simulator")
}

fn active() -> Node {
    iq("passive", "set")
        .children([NodeBuilder::new("active").build()])
        .build()
}

#[test]
fn every_handshake_of_the_protocol_leads_to_a_session() {
    smol::block_on(async {
        let sim = simulator();
        let mut alice = Device::new(1);
        alice.pair(&sim, ALICE).await;
        let raw = alice.connect(&sim, ALICE).await;
        let server = raw.server_key.expect("XX shows the server's key");
        drop(raw);

        let payload = Device::login(ALICE.parse().expect("digits"), 1);
        let greeting = Greeting::Ik(server);
        let mut raw = Raw::connect(&sim, &alice.noise, greeting, payload.clone()).await;
        assert!(raw.took_ik);
        assert_eq!(raw.until("success").await.tag, "success");
        drop(raw);

        let stale = KeyPair::generate(&mut alice.rng);
        let stale = stale.public_key.public_key_bytes().try_into().expect("32");
        let mut raw = Raw::connect(&sim, &alice.noise, Greeting::Ik(stale), payload).await;
        assert!(!raw.took_ik);
        assert_eq!(
            raw.server_key,
            Some(server),
            "the fallback shows the new key"
        );
        assert_eq!(raw.until("success").await.tag, "success");
    });
}

#[test]
fn an_unlinked_device_gets_401() {
    smol::block_on(async {
        let sim = simulator();
        post(&sim, "phones", json!({"number": ALICE})).await;
        let stranger = Device::new(9);
        let payload = Device::login(ALICE.parse().expect("digits"), 1);
        let mut raw = Raw::connect(&sim, &stranger.noise, Greeting::Xx, payload).await;
        let failure = raw.next().await;
        assert_eq!(failure.tag, "failure");
        assert_eq!(text(&failure, "reason"), "401");
        assert!(raw.try_next().await.is_none(), "and the connection ends");
    });
}

#[test]
fn an_unknown_request_is_an_error_and_not_silence() {
    smol::block_on(async {
        let sim = simulator();
        let mut alice = Device::new(1);
        alice.pair(&sim, ALICE).await;
        let mut raw = alice.connect(&sim, ALICE).await;
        let question = iq("w:unheard-of", "get")
            .children([NodeBuilder::new("what").build()])
            .build();
        let answer = raw.ask(question).await;
        assert_eq!(text(&answer, "type"), "error");
        let error = answer.get_optional_child("error").expect("an error");
        assert_eq!(text(error, "code"), "501");
        assert_eq!(text(error, "text"), "feature-not-implemented");
    });
}

#[test]
fn one_time_prekeys_are_handed_out_once_each() {
    smol::block_on(async {
        let sim = simulator();
        let (mut alice, mut bob) = (Device::new(1), Device::new(2));
        alice.pair(&sim, ALICE).await;
        bob.pair(&sim, BOB).await;
        let mut a = alice.connect(&sim, ALICE).await;
        let answer = a.ask(alice.upload(3)).await;
        assert_eq!(text(&answer, "type"), "result", "{answer:?}");

        let mut b = bob.connect(&sim, BOB).await;
        let mut seen = Vec::new();
        for _ in 0..4 {
            let user = NodeBuilder::new("user")
                .attr("jid", Jid::pn_device(ALICE, 1))
                .build();
            let question = iq("encrypt", "get")
                .children([NodeBuilder::new("key").children([user]).build()])
                .build();
            let answer = b.ask(question).await;
            let user = answer
                .get_optional_child_by_tag(&["list", "user"])
                .expect("a bundle");
            assert!(user.get_optional_child("skey").is_some());
            assert!(user.get_optional_child("device-identity").is_some());
            seen.push(
                user.get_optional_child_by_tag(&["key", "value"])
                    .and_then(|v| match &v.content {
                        Some(wacore_binary::NodeContent::Bytes(b)) => b.first().copied(),
                        _ => None,
                    }),
            );
        }
        assert_eq!(seen, [Some(1), Some(2), Some(3), None]);
    });
}

#[test]
fn a_prekey_that_the_identity_did_not_sign_is_refused() {
    smol::block_on(async {
        let sim = simulator();
        let mut alice = Device::new(1);
        alice.pair(&sim, ALICE).await;
        let mut raw = alice.connect(&sim, ALICE).await;
        // Another signed prekey under the old signature.
        let mut other = Device::new(1);
        other.identity = Device::new(5).identity;
        let mut upload = other.upload(1);
        let identity = alice.identity.public_key.public_key_bytes().to_vec();
        if let Some(wacore_binary::NodeContent::Nodes(children)) = &mut upload.content {
            children[2] = leaf("identity", &identity);
        }
        let answer = raw.ask(upload).await;
        let error = answer.get_optional_child("error").expect("an error");
        assert_eq!(text(error, "code"), "406");
    });
}

fn message(id: &str, devices: &[u16]) -> Node {
    let to = devices.iter().map(|device| {
        let enc = NodeBuilder::new("enc")
            .attr("v", "2")
            .attr("type", "msg")
            .bytes([1, 2, 3])
            .build();
        NodeBuilder::new("to")
            .attr("jid", Jid::pn_device(BOB, *device))
            .children([enc])
            .build()
    });
    NodeBuilder::new("message")
        .attr("to", Jid::pn(BOB))
        .attr("id", id)
        .attr("type", "text")
        .children([NodeBuilder::new("participants").children(to).build()])
        .build()
}

#[test]
fn a_wrong_device_list_is_answered_with_the_right_hash() {
    smol::block_on(async {
        let sim = simulator();
        let (mut alice, mut bob) = (Device::new(1), Device::new(2));
        alice.pair(&sim, ALICE).await;
        bob.pair(&sim, BOB).await;
        let mut a = alice.connect(&sim, ALICE).await;

        // Bob has a phone and a linked device; Alice has a phone beside this device.
        a.send(&message("3EB0A", &[0])).await;
        let ack = a.until("ack").await;
        assert_eq!(
            (text(&ack, "id"), text(&ack, "class")),
            ("3EB0A".into(), "message".into())
        );
        let right = [Jid::pn(ALICE), Jid::pn(BOB), Jid::pn_device(BOB, 1)];
        let right = wacore::messages::MessageUtils::participant_list_hash(&right).expect("a hash");
        assert_eq!(text(&ack, "phash"), right);
        assert!(text(&ack, "error").is_empty());
    });
}

#[test]
fn media_of_an_unnamed_kind_is_taken_and_dropped() {
    smol::block_on(async {
        let sim = simulator();
        let (mut a, mut b) = linked_pair(&sim).await;
        let mut media = message("3EB0C", &[0, 1]);
        media.attrs.insert("type", "media");
        a.send(&media).await;
        let ack = a.until("ack").await;
        assert_eq!(
            (text(&ack, "id"), text(&ack, "error")),
            ("3EB0C".into(), String::new())
        );
        a.send(&message("3EB0D", &[0, 1])).await;
        assert_eq!(text(&b.until("message").await, "id"), "3EB0D");
    });
}

#[test]
fn a_message_to_an_unknown_number_is_refused() {
    smol::block_on(async {
        let sim = simulator();
        let mut alice = Device::new(1);
        alice.pair(&sim, ALICE).await;
        let mut a = alice.connect(&sim, ALICE).await;
        a.send(&message("3EB0B", &[0])).await;
        let ack = a.until("ack").await;
        assert_eq!(text(&ack, "error"), "404");
    });
}

/// Takes the offline delivery of a login: what `<offline_preview>` promised, and the message ids.
async fn offline_delivery(raw: &mut Raw, ack: bool) -> (usize, Vec<String>) {
    raw.ask(active()).await;
    let (mut promised, mut delivered) = (0, 0);
    let mut ids = Vec::new();
    loop {
        let node = raw.next().await;
        match &*node.tag {
            "ib" => {
                if let Some(preview) = node.get_optional_child("offline_preview") {
                    promised = text(preview, "count").parse().expect("a count");
                    let batch = NodeBuilder::new("offline_batch").attr("count", 2).build();
                    raw.send(&NodeBuilder::new("ib").children([batch.clone()]).build())
                        .await;
                    let rest = NodeBuilder::new("offline_batch").attr("count", 100).build();
                    raw.send(&NodeBuilder::new("ib").children([rest]).build())
                        .await;
                } else if let Some(done) = node.get_optional_child("offline") {
                    assert_eq!(text(done, "count"), promised.to_string());
                    return (promised, ids);
                }
            }
            "message" | "notification" => {
                assert_eq!(text(&node, "offline"), delivered.to_string());
                delivered += 1;
                if node.tag == "message" {
                    ids.push(text(&node, "id"));
                }
                if ack {
                    let stanza = NodeBuilder::new("ack")
                        .attr("id", text(&node, "id"))
                        .attr("class", node.tag.to_string())
                        .attr("to", text(&node, "from"))
                        .build();
                    raw.send(&stanza).await;
                }
            }
            _ => {}
        }
    }
}

#[test]
fn messages_wait_in_order_until_they_are_acknowledged() {
    smol::block_on(async {
        let sim = simulator();
        post(&sim, "phones", json!({"number": ALICE, "name": "Alice"})).await;
        let mut bob = Device::new(2);
        bob.pair(&sim, BOB).await;
        let mut sent = Vec::new();
        for n in 0..9 {
            let body = json!({"to": BOB, "text": format!("message {n}")});
            let answer = post(&sim, &format!("phones/{ALICE}/messages"), body).await;
            sent.push(answer["messageId"].as_str().expect("an id").to_owned());
        }
        let mut raw = bob.connect(&sim, BOB).await;
        let (promised, ids) = offline_delivery(&mut raw, false).await;
        assert!(promised >= 9);
        assert_eq!(ids, sent);

        // Nothing was acknowledged: it all comes again. One receipt may stand for several.
        let (early, late) = sent.split_at(3);
        let items = early[1..]
            .iter()
            .map(|id| NodeBuilder::new("item").attr("id", id).build());
        let receipt = NodeBuilder::new("receipt")
            .attr("id", &early[0])
            .attr("to", Jid::pn(ALICE))
            .children([NodeBuilder::new("list").children(items).build()]);
        raw.send(&receipt.build()).await;
        raw.ask(iq("w:p", "get").build()).await;
        drop(raw);
        get(&sim, &format!("phones/{BOB}?online=false&wait=10")).await;
        let mut raw = bob.connect(&sim, BOB).await;
        let (_, ids) = offline_delivery(&mut raw, true).await;
        assert_eq!(ids, late);
        // The server has read the acks when it has answered a later request.
        raw.ask(iq("w:p", "get").build()).await;

        drop(raw);
        get(&sim, &format!("phones/{BOB}?online=false&wait=10")).await;
        let mut raw = bob.connect(&sim, BOB).await;
        assert_eq!(offline_delivery(&mut raw, false).await, (0, Vec::new()));
    });
}

#[test]
fn unlinking_ends_the_session_for_good() {
    smol::block_on(async {
        let sim = simulator();
        let mut alice = Device::new(1);
        alice.pair(&sim, ALICE).await;
        let mut raw = alice.connect(&sim, ALICE).await;
        post(
            &sim,
            &format!("phones/{ALICE}/unlink"),
            json!({"device": 1}),
        )
        .await;
        let error = raw.until("stream:error").await;
        assert_eq!(text(&error, "code"), "401");
        let conflict = error.get_optional_child("conflict").expect("a reason");
        assert_eq!(text(conflict, "type"), "device_removed");

        let payload = Device::login(ALICE.parse().expect("digits"), 1);
        let mut raw = Raw::connect(&sim, &alice.noise, Greeting::Xx, payload).await;
        assert_eq!(text(&raw.next().await, "reason"), "401");
    });
}

#[test]
fn a_newer_session_replaces_an_older_one() {
    smol::block_on(async {
        let sim = simulator();
        let mut alice = Device::new(1);
        alice.pair(&sim, ALICE).await;
        let mut old = alice.connect(&sim, ALICE).await;
        let _new = alice.connect(&sim, ALICE).await;
        let error = old.until("stream:error").await;
        let conflict = error.get_optional_child("conflict").expect("a reason");
        assert_eq!(text(conflict, "type"), "replaced");
    });
}

#[test]
fn admin_errors_are_json_with_a_status() {
    smol::block_on(async {
        let sim = simulator();
        for (path, body, expected) in [
            ("nowhere", "", 404),
            ("phones", "{\"number\": \"+1\"}", 400),
            ("phones", "no json", 400),
            ("mock-phone/scan-qr", "2@x,y,z,w", 404),
            ("phones/15559999999/unlink", "{}", 404),
        ] {
            let (status, answer) = common::admin(&sim, Method::Post, path, body).await;
            assert_eq!(status, expected, "{path}: {answer}");
            assert!(answer["error"].is_string(), "{path}: {answer}");
        }
    });
}

/// Alice and Bob, each with one linked device that is logged in.
async fn linked_pair(sim: &Simulator) -> (Raw, Raw) {
    let (mut alice, mut bob) = (Device::new(1), Device::new(2));
    alice.pair(sim, ALICE).await;
    bob.pair(sim, BOB).await;
    let mut a = alice.connect(sim, ALICE).await;
    let mut b = bob.connect(sim, BOB).await;
    a.ask(active()).await;
    offline_delivery(&mut b, true).await;
    (a, b)
}

#[test]
fn sends_are_refused_and_acks_withheld_as_often_as_asked() {
    smol::block_on(async {
        let sim = simulator();
        let (mut a, _b) = linked_pair(&sim).await;
        let refuse = json!({"kind": "refuse-sends", "code": 463, "count": 1});
        post(&sim, "faults", refuse).await;
        a.send(&message("3EB01", &[0, 1])).await;
        assert_eq!(text(&a.until("ack").await, "error"), "463");

        post(&sim, "faults", json!({"kind": "withhold-acks", "count": 1})).await;
        a.send(&message("3EB02", &[0, 1])).await;
        a.send(&message("3EB03", &[0, 1])).await;
        assert_eq!(text(&a.until("ack").await, "id"), "3EB03");
    });
}

#[test]
fn deliveries_come_twice_or_in_another_order() {
    smol::block_on(async {
        let sim = simulator();
        let (mut a, mut b) = linked_pair(&sim).await;
        let fault = json!({"kind": "deliver-twice", "count": 1, "number": BOB});
        post(&sim, "faults", fault).await;
        a.send(&message("3EB01", &[0, 1])).await;
        for _ in 0..2 {
            assert_eq!(text(&b.until("message").await, "id"), "3EB01");
        }
        let fault = json!({"kind": "reorder", "count": 1, "number": BOB});
        post(&sim, "faults", fault).await;
        a.send(&message("3EB02", &[0, 1])).await;
        a.send(&message("3EB03", &[0, 1])).await;
        assert_eq!(text(&b.until("message").await, "id"), "3EB03");
        assert_eq!(text(&b.until("message").await, "id"), "3EB02");
        // The same message sent again is acknowledged again and delivered no more.
        a.send(&message("3EB03", &[0, 1])).await;
        a.send(&message("3EB04", &[0, 1])).await;
        assert_eq!(text(&b.until("message").await, "id"), "3EB04");
    });
}

#[test]
fn connections_break_when_asked() {
    smol::block_on(async {
        let sim = simulator();
        let (mut a, mut b) = linked_pair(&sim).await;
        let fault = json!({"kind": "drop-connections", "on": "message", "count": 1});
        post(&sim, "faults", fault).await;
        a.send(&message("3EB01", &[0, 1])).await;
        while let Some(node) = a.try_next().await {
            assert_ne!(node.tag, "ack", "the message was lost with the connection");
        }
        let fault = json!({"kind": "stream-error", "code": 503, "number": BOB});
        assert_eq!(post(&sim, "faults", fault).await["hit"], 1);
        assert_eq!(text(&b.until("stream:error").await, "code"), "503");
        assert!(b.try_next().await.is_none());
    });
}

#[test]
fn a_number_without_network_gets_nothing_and_cannot_log_in() {
    smol::block_on(async {
        let sim = simulator();
        let mut alice = Device::new(1);
        alice.pair(&sim, ALICE).await;
        let mut raw = alice.connect(&sim, ALICE).await;
        post(&sim, &format!("phones/{ALICE}/offline"), json!({})).await;
        while raw.try_next().await.is_some() {}
        let payload = Device::login(ALICE.parse().expect("digits"), 1);
        let mut raw = Raw::connect(&sim, &alice.noise, Greeting::Xx, payload).await;
        assert!(raw.try_next().await.is_none());

        let body = json!({"to": ALICE, "text": "meanwhile"});
        post(&sim, &format!("phones/{BOB}/messages"), body).await;
        let path = format!("phones/{ALICE}/messages");
        assert_eq!(get(&sim, &path).await["received"], json!([]));
        post(&sim, &format!("phones/{ALICE}/online"), json!({})).await;
        let inbox = get(&sim, &format!("{path}?count=1&wait=10")).await;
        assert_eq!(inbox["received"][0]["text"], "meanwhile");
        alice.connect(&sim, ALICE).await;
    });
}

#[test]
fn references_run_out_and_the_connection_with_them() {
    smol::block_on(async {
        let sim = Simulator::start_with(Options {
            first_ref_lifetime: std::time::Duration::from_millis(50),
            next_ref_lifetime: std::time::Duration::from_millis(10),
            ..Options::default()
        })
        .expect("a simulator");
        let mut device = Device::new(1);
        let payload = device.registration("raw");
        let mut raw = Raw::connect(&sim, &device.noise, Greeting::Xx, payload).await;
        let offer = raw.next().await;
        let reference = offer
            .get_optional_child_by_tag(&["pair-device", "ref"])
            .and_then(Node::content_as_string)
            .expect("a reference");
        assert!(raw.try_next().await.is_none());
        let qr = format!("{reference},AA==,AA==,AA==,1");
        let (status, _) = common::admin(&sim, Method::Post, "mock-phone/scan-qr", &qr).await;
        assert_eq!(status, 404);
    });
}

fn patch(base: u64) -> Node {
    let patch = NodeBuilder::new("patch").bytes(Vec::new()).build();
    let collection = NodeBuilder::new("collection")
        .attr("name", "regular")
        .attr("version", base)
        .children([patch])
        .build();
    let sync = NodeBuilder::new("sync").children([collection]).build();
    iq("w:sync:app:state", "set").children([sync]).build()
}

#[test]
fn app_state_patches_are_numbered_and_conflicts_answered() {
    smol::block_on(async {
        let sim = simulator();
        let mut alice = Device::new(1);
        alice.pair(&sim, ALICE).await;
        let mut raw = alice.connect(&sim, ALICE).await;
        let collection = |answer: &Node| {
            answer
                .get_optional_child_by_tag(&["sync", "collection"])
                .cloned()
                .expect("a collection")
        };
        let stored = collection(&raw.ask(patch(0)).await);
        assert_eq!(
            (text(&stored, "type"), text(&stored, "version")),
            ("result".into(), "1".into())
        );
        let stale = collection(&raw.ask(patch(0)).await);
        assert_eq!(text(&stale, "type"), "error");
        let error = stale.get_optional_child("error").expect("an error");
        assert_eq!(text(error, "code"), "409");
        assert!(
            stale
                .get_optional_child_by_tag(&["patches", "patch"])
                .is_some()
        );
    });
}

/// WhatsApp's answer for a number in the dialled form: whether it is registered, and the
/// JID that it has.
async fn dialled(raw: &mut Raw, number: &str) -> (String, String) {
    let user = asked_for(raw, leaf("contact", format!("+{number}").as_bytes())).await;
    let contact = user.get_optional_child("contact").expect("an answer");
    (text(contact, "type"), text(&user, "jid"))
}

/// The answer of `usync` to a query by `<contact>`.
async fn asked_for(raw: &mut Raw, contact: Node) -> Node {
    let user = NodeBuilder::new("user").children([contact]).build();
    let question = NodeBuilder::new("usync")
        .attr("sid", "1")
        .attr("mode", "query")
        .attr("context", "interactive")
        .attr("index", "0")
        .attr("last", "true")
        .children([
            NodeBuilder::new("query")
                .children([NodeBuilder::new("contact").build()])
                .build(),
            NodeBuilder::new("list").children([user]).build(),
        ])
        .build();
    let answer = raw
        .ask(iq("usync", "get").children([question]).build())
        .await;
    let user = answer.get_optional_child_by_tag(&["usync", "list", "user"]);
    user.expect("a user").clone()
}

#[test]
fn a_number_that_is_dialled_in_its_other_form_is_named_as_it_is_registered() {
    smol::block_on(async {
        let sim = simulator();
        let mut alice = Device::new(1);
        alice.pair(&sim, ALICE).await;
        let mut raw = alice.connect(&sim, ALICE).await;
        for (registered, other) in [
            ("5511987654321", "551187654321"),
            ("552187654321", "5521987654321"),
            ("5215512345678", "525512345678"),
            ("525512345679", "5215512345679"),
            ("5491112345678", "541112345678"),
            ("541112345679", "5491112345679"),
        ] {
            let jid = format!("{registered}@s.whatsapp.net");
            let (said, _) = dialled(&mut raw, other).await;
            assert_eq!(said, "out", "nobody has it yet");
            post(&sim, "phones", json!({"number": registered})).await;
            for number in [registered, other] {
                assert_eq!(
                    dialled(&mut raw, number).await,
                    ("in".to_owned(), jid.clone())
                );
            }
        }
        let (said, jid) = dialled(&mut raw, "491799999999").await;
        assert_eq!(
            (said.as_str(), jid.as_str()),
            ("out", "491799999999@s.whatsapp.net")
        );
    });
}

#[test]
fn a_username_leads_to_a_lid_and_behind_a_key_to_nothing_without_it() {
    smol::block_on(async {
        let sim = simulator();
        let mut alice = Device::new(1);
        alice.pair(&sim, ALICE).await;
        let mut raw = alice.connect(&sim, ALICE).await;
        let contact = |name: &str, pin: Option<&str>| {
            let builder = NodeBuilder::new("contact").attr("username", name);
            match pin {
                Some(pin) => builder.attr("pin", pin).build(),
                None => builder.build(),
            }
        };
        let said = |user: &Node| {
            let contact = user.get_optional_child("contact").expect("an answer");
            let of = |node: &Node, key: &str| node.attrs.get(key).map(ToString::to_string);
            (text(contact, "type"), of(user, "jid"), of(user, "pn_jid"))
        };
        let absent = asked_for(&mut raw, contact("bob.b", None)).await;
        assert_eq!(said(&absent), ("out".to_owned(), None, None));

        let open = json!({"number": BOB, "username": "Bob.B"});
        let bob = post(&sim, "phones", open).await;
        let lid = bob["lid"].as_str().expect("a LID").to_owned();
        let number = format!("{BOB}@s.whatsapp.net");
        let found = asked_for(&mut raw, contact("bob.b", None)).await;
        let expected = ("in".to_owned(), Some(lid.clone()), Some(number));
        assert_eq!(said(&found), expected);
        post(&sim, "phones", json!({"number": BOB, "hideNumber": true})).await;
        let found = asked_for(&mut raw, contact("BOB.B", None)).await;
        assert_eq!(said(&found), ("in".to_owned(), Some(lid), None));

        let zoe = "491700000009";
        let locked = json!({"number": zoe, "username": "zoe", "usernameKey": "4711"});
        let lid = post(&sim, "phones", locked).await["lid"].clone();
        for pin in [None, Some("0815")] {
            let kept = asked_for(&mut raw, contact("zoe", pin)).await;
            assert_eq!(said(&kept), ("in".to_owned(), None, None));
        }
        let found = asked_for(&mut raw, contact("zoe", Some("4711"))).await;
        assert_eq!(said(&found).1.as_deref(), lid.as_str());
    });
}
