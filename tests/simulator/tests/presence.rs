//! Presence, chat states and the versions of lists, as strict clients read them: seen at the level of stanzas.

mod common;

use std::time::Duration;

use common::{Device, Greeting, Raw, iq, post, text};
use futures_lite::FutureExt as _;
use serde_json::json;
use wacore::messages::MessageUtils;
use wacore_binary::builder::NodeBuilder;
use wacore_binary::{Jid, Node};
use wildcat_simulator::{Options, Simulator};

const ALICE: &str = "15550000001";
const BOB: &str = "15550000002";
const CAROL: &str = "15550000003";

fn simulator() -> Simulator {
    Simulator::start_with(Options {
        seed: Some(1),
        ..Options::default()
    })
    .expect("a simulator")
}

/// A linked device of that number, logged in and active.
async fn linked(sim: &Simulator, seed: u64, number: &str) -> Raw {
    let mut device = Device::new(seed);
    device.pair(sim, number).await;
    let mut raw = device.connect(sim, number).await;
    let active = NodeBuilder::new("active").build();
    raw.ask(iq("passive", "set").children([active]).build())
        .await;
    raw
}

fn presence(kind: &str) -> Node {
    NodeBuilder::new("presence").attr("type", kind).build()
}

async fn privacy(raw: &mut Raw, name: &str, value: &str) {
    let category = NodeBuilder::new("category")
        .attr("name", name)
        .attr("value", value)
        .build();
    let privacy = NodeBuilder::new("privacy").children([category]).build();
    let answer = raw
        .ask(iq("privacy", "set").children([privacy]).build())
        .await;
    assert_eq!(text(&answer, "type"), "result");
}

/// What Alice sees of Bob when she subscribes: the type and `last`.
async fn seen(alice: &mut Raw) -> (String, String) {
    let to = Jid::pn(BOB);
    let subscribe = NodeBuilder::new("presence")
        .attr("type", "subscribe")
        .attr("to", to.clone())
        .build();
    alice.send(&subscribe).await;
    let node = alice.until("presence").await;
    assert_eq!(text(&node, "from"), to.to_string());
    (text(&node, "type"), text(&node, "last"))
}

#[test]
fn last_seen_follows_the_privacy_of_both() {
    smol::block_on(async {
        let sim = simulator();
        let mut alice = linked(&sim, 1, ALICE).await;
        let mut bob = linked(&sim, 2, BOB).await;
        // Others are not told of anyone's presence.
        alice.send(&presence("available")).await;
        assert_eq!(
            seen(&mut alice).await,
            ("unavailable".into(), "none".into())
        );
        bob.send(&presence("available")).await;
        assert_eq!(text(&alice.until("presence").await, "type"), "");
        bob.send(&presence("unavailable")).await;
        let left = alice.until("presence").await;
        let seconds: u64 = text(&left, "last").parse().expect("seconds");
        assert!(seconds > 1_700_000_000, "{seconds}");

        let denied = ("unavailable".to_owned(), "deny".to_owned());
        privacy(&mut bob, "last", "none").await;
        assert_eq!(seen(&mut alice).await, denied);
        privacy(&mut bob, "last", "all").await;
        privacy(&mut alice, "last", "none").await;
        assert_eq!(seen(&mut alice).await, denied);
        // Who hides that hides being online only if the other setting says so.
        bob.send(&presence("available")).await;
        assert_eq!(text(&alice.until("presence").await, "type"), "");
        privacy(&mut bob, "online", "match_last_seen").await;
        assert_eq!(seen(&mut alice).await, denied);
    });
}

#[test]
fn chat_states_pass_between_available_devices_alone() {
    smol::block_on(async {
        let sim = simulator();
        let mut alice = linked(&sim, 1, ALICE).await;
        let mut bob = linked(&sim, 2, BOB).await;
        let typing = |state: &'static str| {
            NodeBuilder::new("chatstate")
                .attr("to", Jid::pn(BOB))
                .children([NodeBuilder::new(state).build()])
                .build()
        };
        // From a device that is not available, then to one.
        alice.send(&typing("composing")).await;
        alice.send(&presence("available")).await;
        alice.send(&typing("composing")).await;
        // A later stanza on the same connection shows that it was not sent.
        alice.ask(iq("w:p", "get").build()).await;
        bob.send(&presence("available")).await;
        bob.ask(iq("w:p", "get").build()).await;
        alice.send(&typing("paused")).await;
        let node = bob.until("chatstate").await;
        assert!(node.get_optional_child("paused").is_some());
    });
}

#[test]
fn a_change_of_devices_has_the_hash_of_the_list() {
    smol::block_on(async {
        let sim = simulator();
        let mut alice = linked(&sim, 1, ALICE).await;
        let devices = loop {
            let node = alice.until("notification").await;
            let listed = node.get_optional_child("devices");
            let full = listed.filter(|it| it.get_children_by_tag("device").count() == 2);
            if let Some(devices) = full {
                break devices.clone();
            }
        };
        let jids: Vec<Jid> = devices
            .get_children_by_tag("device")
            .map(|device| text(device, "jid").parse().expect("a JID"))
            .collect();
        let expected = MessageUtils::participant_list_hash(&jids).expect("a hash");
        assert_eq!(text(&devices, "dhash"), expected);
    });
}

#[test]
fn each_change_of_members_names_the_version_before_it() {
    smol::block_on(async {
        let sim = simulator();
        let mut alice = linked(&sim, 1, ALICE).await;
        for number in [BOB, CAROL] {
            post(&sim, "phones", json!({"number": number})).await;
        }
        let group = json!({"subject": "Trip", "members": [BOB, ALICE]});
        let group = post(&sim, "groups", group).await["jid"].clone();
        let jid = group.as_str().expect("a JID");
        let mut version = loop {
            let node = alice.until("notification").await;
            if let Some(group) = node.get_optional_child_by_tag(&["create", "group"]) {
                assert!(!text(group, "a_v_id").is_empty());
                break text(group, "p_v_id");
            }
        };
        for (change, tag) in [
            (json!({"by": BOB, "add": [CAROL]}), "add"),
            (json!({"by": BOB, "promote": [CAROL]}), "promote"),
            (json!({"by": BOB, "remove": [CAROL]}), "remove"),
        ] {
            post(&sim, &format!("groups/{jid}"), change).await;
            let node = alice.until("notification").await;
            let change = node.get_optional_child(tag).expect(tag);
            assert_eq!(text(change, "prev_v_id"), version, "{tag}");
            let next = text(change, "v_id");
            assert_ne!(next, version, "{tag}");
            version = next;
        }
    });
}

#[test]
fn the_connection_stays_a_second_for_the_client_to_close() {
    smol::block_on(async {
        let sim = simulator();
        let mut alice = Device::new(1);
        alice.pair(&sim, ALICE).await;
        post(
            &sim,
            "faults",
            json!({"kind": "login-failure", "reason": 503, "count": 1}),
        )
        .await;
        let mut raw = {
            let payload = Device::login(ALICE.parse().expect("digits"), 1);
            Raw::connect(&sim, &alice.noise, Greeting::Xx, payload).await
        };
        assert_eq!(text(&raw.until("failure").await, "reason"), "503");
        let closed = async { Some(raw.try_next().await.is_none()) };
        let early = async {
            smol::Timer::after(Duration::from_millis(500)).await;
            None
        };
        assert_eq!(closed.or(early).await, None, "closed at once");
        assert!(raw.try_next().await.is_none(), "closed in the end");
    });
}
