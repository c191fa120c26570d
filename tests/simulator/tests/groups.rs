//! Groups at the level of stanzas: rights and refusals.

mod common;

use common::{Device, Raw, get, iq, post, text};
use serde_json::json;
use wacore_binary::builder::NodeBuilder;
use wacore_binary::{Jid, Node};
use wildcat_simulator::{Options, Simulator};

const ALICE: &str = "15550000001";
const BOB: &str = "15550000002";
const CAROL: &str = "15550000003";

/// Alice has a linked device; the group is carol's.
struct Scene {
    sim: Simulator,
    alice: Raw,
    group: Jid,
    alices_lid: Jid,
    bobs_lid: Jid,
}

impl Scene {
    async fn with(members: &[&str]) -> Scene {
        let sim = Simulator::start_with(Options {
            seed: Some(3),
            ..Options::default()
        })
        .expect("a simulator");
        let mut device = Device::new(1);
        device.pair(&sim, ALICE).await;
        let mut alice = device.connect(&sim, ALICE).await;
        alice.ask(device.upload(3)).await;
        let active = NodeBuilder::new("active").build();
        alice
            .ask(iq("passive", "set").children([active]).build())
            .await;
        let made = post(
            &sim,
            "groups",
            json!({"subject": "band", "members": members}),
        )
        .await;
        let group = made["jid"].as_str().expect("a jid").parse().expect("a jid");
        let lid = async |number: &str| -> Jid {
            let person = post(&sim, "phones", json!({"number": number})).await;
            person["lid"]
                .as_str()
                .expect("a lid")
                .parse()
                .expect("a lid")
        };
        let (alices_lid, bobs_lid) = (lid(ALICE).await, lid(BOB).await);
        Scene {
            sim,
            alice,
            group,
            alices_lid,
            bobs_lid,
        }
    }

    async fn ask(&mut self, kind: &str, child: Node) -> Node {
        let to = self.group.clone();
        let mut question = iq("w:g2", kind).children([child]).build();
        question.attrs.insert("to", to);
        self.alice.ask(question).await
    }

    async fn ask_all(&mut self, kind: &str, child: Node) -> Node {
        let mut question = iq("w:g2", kind).children([child]).build();
        question
            .attrs
            .insert("to", Jid::new("", wacore_binary::Server::Group));
        self.alice.ask(question).await
    }

    async fn change(&self, body: serde_json::Value) {
        post(&self.sim, &format!("groups/{}", self.group), body).await;
    }

    /// Sends a message stanza and returns its ack.
    async fn send(&mut self, stanza: Node) -> Node {
        self.alice.send(&stanza).await;
        let id = text(&stanza, "id");
        loop {
            let ack = self.alice.until("ack").await;
            if text(&ack, "id") == id {
                return ack;
            }
        }
    }

    fn message(&self, id: &str) -> NodeBuilder {
        NodeBuilder::new("message")
            .attr("to", self.group.clone())
            .attr("id", id)
            .attr("type", "text")
    }
}

fn enc(kind: &'static str) -> Node {
    NodeBuilder::new("enc")
        .attr("v", "2")
        .attr("type", kind)
        .bytes([1, 2, 3])
        .build()
}

fn error(answer: &Node) -> String {
    assert_eq!(text(answer, "type"), "error", "{answer:?}");
    text(
        answer.get_optional_child("error").expect("an error"),
        "code",
    )
}

fn empty(tag: &'static str) -> Node {
    NodeBuilder::new(tag).build()
}

fn people(tag: &'static str, jids: &[Jid]) -> Node {
    let people = jids.iter().map(|jid| {
        NodeBuilder::new("participant")
            .attr("jid", jid.clone())
            .build()
    });
    NodeBuilder::new(tag).children(people).build()
}

#[test]
fn non_members_cannot_write_or_read() {
    smol::block_on(async {
        let mut scene = Scene::with(&[CAROL, BOB]).await;
        let stanza = scene.message("3EB01").children([enc("skmsg")]).build();
        assert_eq!(text(&scene.send(stanza).await, "error"), "403");
        assert_eq!(error(&scene.ask("get", empty("query")).await), "403");
        scene.group = Jid::group("120363000000000000");
        assert_eq!(error(&scene.ask("get", empty("query")).await), "404");
        let stanza = scene.message("3EB02").children([enc("skmsg")]).build();
        assert_eq!(text(&scene.send(stanza).await, "error"), "404");
        let list = scene.ask_all("get", empty("participating")).await;
        let groups = list.get_optional_child("groups").expect("a list");
        assert_eq!(groups.get_children_by_tag("group").count(), 0);
    });
}

#[test]
fn a_message_has_the_shape_that_the_group_requires() {
    smol::block_on(async {
        let mut scene = Scene::with(&[CAROL, ALICE, BOB]).await;
        let stanza = scene
            .message("3EB01")
            .attr("addressing_mode", "pn")
            .children([enc("skmsg")])
            .build();
        assert_eq!(text(&scene.send(stanza).await, "error"), "421");
        let to = NodeBuilder::new("to")
            .attr("jid", Jid::pn(BOB))
            .children([enc("msg")])
            .build();
        let by_number = NodeBuilder::new("participants").children([to]).build();
        for children in [vec![], vec![enc("msg")], vec![by_number, enc("skmsg")]] {
            let stanza = scene.message("3EB02").children(children).build();
            assert_eq!(text(&scene.send(stanza).await, "error"), "479");
        }
        // A key message that opens a session shows whose it is.
        let to = NodeBuilder::new("to")
            .attr("jid", scene.bobs_lid.clone())
            .children([enc("pkmsg")])
            .build();
        let keys = NodeBuilder::new("participants").children([to]).build();
        let stanza = scene
            .message("3EB03")
            .children([keys, enc("skmsg")])
            .build();
        assert_eq!(text(&scene.send(stanza).await, "error"), "479");

        let stanza = scene
            .message("3EB04")
            .attr("addressing_mode", "lid")
            .attr("phash", "2:AAAAAAAA")
            .children([enc("skmsg")])
            .build();
        let ack = scene.send(stanza).await;
        assert_eq!(text(&ack, "error"), "");
        assert!(text(&ack, "phash").starts_with("2:"), "{ack:?}");
        assert_ne!(text(&ack, "phash"), "2:AAAAAAAA");
    });
}

#[test]
fn only_admins_write_in_an_announcement_group() {
    smol::block_on(async {
        let mut scene = Scene::with(&[CAROL, ALICE, BOB]).await;
        scene.change(json!({"announcement": true})).await;
        let stanza = scene.message("3EB01").children([enc("skmsg")]).build();
        assert_eq!(text(&scene.send(stanza).await, "error"), "403");
        scene.change(json!({"promote": [ALICE]})).await;
        let stanza = scene.message("3EB02").children([enc("skmsg")]).build();
        assert_eq!(text(&scene.send(stanza).await, "error"), "");
    });
}

#[test]
fn members_cannot_do_what_admins_can() {
    smol::block_on(async {
        let mut scene = Scene::with(&[CAROL, ALICE, BOB]).await;
        let bob = [scene.bobs_lid.clone()];
        for tag in ["remove", "promote", "demote"] {
            assert_eq!(error(&scene.ask("set", people(tag, &bob)).await), "403");
        }
        for tag in ["announcement", "locked"] {
            assert_eq!(error(&scene.ask("set", empty(tag)).await), "403");
        }
        assert_eq!(error(&scene.ask("get", empty("invite")).await), "401");
        let subject = |name: &str| NodeBuilder::new("subject").string_content(name).build();
        let renamed = scene.ask("set", subject("the band")).await;
        assert_eq!(text(&renamed, "type"), "result");
        let long = "x".repeat(101);
        assert_eq!(error(&scene.ask("set", subject(&long)).await), "406");
        scene.change(json!({"locked": true})).await;
        assert_eq!(error(&scene.ask("set", subject("mine")).await), "403");
        let group = get(&scene.sim, &format!("groups/{}", scene.group)).await;
        assert_eq!(group["subject"], "the band");

        // An admin may, but not everything.
        scene.change(json!({"promote": [ALICE]})).await;
        let invite = scene.ask("get", empty("invite")).await;
        let invite = invite.get_optional_child("invite").expect("an invitation");
        assert_eq!(text(invite, "code").len(), 22);
        let carol = people("remove", &[Jid::pn(CAROL), Jid::pn("15559999999")]);
        let answer = scene.ask("set", carol).await;
        let removed = answer.get_optional_child("remove").expect("an answer");
        let codes: Vec<String> = removed
            .get_children_by_tag("participant")
            .map(|it| text(it, "error"))
            .collect();
        assert_eq!(
            codes,
            ["406", "404"],
            "who made it stays; a stranger is not in it"
        );
    });
}

#[test]
fn a_description_replaces_the_one_that_its_author_knew() {
    smol::block_on(async {
        let mut scene = Scene::with(&[CAROL, ALICE]).await;
        let describe = |id: &str, prev: Option<&str>| {
            let body = NodeBuilder::new("body").string_content("we play").build();
            let mut node = NodeBuilder::new("description").attr("id", id);
            if let Some(prev) = prev {
                node = node.attr("prev", prev);
            }
            node.children([body]).build()
        };
        let first = scene.ask("set", describe("A1", None)).await;
        assert_eq!(text(&first, "type"), "result");
        assert_eq!(error(&scene.ask("set", describe("A2", None)).await), "409");
        let second = scene.ask("set", describe("A3", Some("A1"))).await;
        assert_eq!(text(&second, "type"), "result");
    });
}

#[test]
fn invitations_are_followed_revoked_and_decided_on() {
    smol::block_on(async {
        let mut scene = Scene::with(&[CAROL, ALICE]).await;
        scene.change(json!({"promote": [ALICE]})).await;
        let code = async |scene: &mut Scene, kind: &str| {
            let answer = scene.ask(kind, empty("invite")).await;
            text(answer.get_optional_child("invite").expect("a code"), "code")
        };
        let old = code(&mut scene, "get").await;
        let new = code(&mut scene, "set").await;
        assert_ne!(old, new);
        let follow = |code: &str| NodeBuilder::new("invite").attr("code", code).build();
        assert_eq!(error(&scene.ask_all("set", follow(&old)).await), "410");
        assert_eq!(
            error(&scene.ask_all("set", follow("nonsense")).await),
            "406"
        );
        assert_eq!(error(&scene.ask_all("set", follow(&new)).await), "409");

        let leave = NodeBuilder::new("group")
            .attr("id", scene.group.clone())
            .build();
        let leave = NodeBuilder::new("leave").children([leave]).build();
        scene.ask_all("set", leave).await;
        assert_eq!(error(&scene.ask("get", empty("query")).await), "403");
        let info = scene.ask_all("get", follow(&new)).await;
        let info = info.get_optional_child("group").expect("the group");
        assert_eq!(text(info, "subject"), "band");
        let joined = scene.ask_all("set", follow(&new)).await;
        let joined = joined.get_optional_child("group").expect("joined");
        assert_eq!(text(joined, "jid"), scene.group.to_string());
    });
}

#[test]
fn a_resend_reaches_the_one_device_that_asked() {
    smol::block_on(async {
        let mut scene = Scene::with(&[CAROL, ALICE, BOB]).await;
        let stanza = scene
            .message("3EB01")
            .attr("participant", scene.bobs_lid.clone())
            .children([enc("msg")])
            .build();
        assert_eq!(text(&scene.send(stanza).await, "error"), "");
        // Bob's phone cannot read it either, and says so to the device that sent it.
        let retry = scene.alice.until("receipt").await;
        assert_eq!(text(&retry, "type"), "retry");
        assert_eq!(text(&retry, "from"), scene.group.to_string());
        assert_eq!(text(&retry, "participant"), scene.bobs_lid.to_string());
        let trace = get(&scene.sim, "stanzas").await;
        let to_carol = trace.as_array().expect("a list").iter().any(|entry| {
            entry["device"] == format!("{CAROL}:0")
                && entry["direction"] == "out"
                && entry["stanza"]["tag"] == "message"
        });
        assert!(!to_carol);
    });
}

#[test]
fn a_new_group_is_notified_to_its_members_and_at_a_login() {
    smol::block_on(async {
        let mut scene = Scene::with(&[CAROL, ALICE]).await;
        let told = loop {
            let node = scene.alice.until("notification").await;
            if text(&node, "type") == "w:gp2" {
                break node;
            }
        };
        assert_eq!(text(&told, "from"), scene.group.to_string());
        assert_eq!(text(&told, "addressing_mode"), "lid");
        let group = told
            .get_optional_child_by_tag(&["create", "group"])
            .expect("the group");
        let me = group
            .get_children_by_tag("participant")
            .find(|it| text(it, "jid") == scene.alices_lid.to_string())
            .expect("alice");
        assert_eq!(text(me, "phone_number"), format!("{ALICE}@s.whatsapp.net"));

        drop(scene.alice);
        get(&scene.sim, &format!("phones/{ALICE}?online=false&wait=10")).await;
        let device = Device::new(1);
        let mut alice = device.connect(&scene.sim, ALICE).await;
        let active = NodeBuilder::new("active").build();
        alice
            .ask(iq("passive", "set").children([active]).build())
            .await;
        loop {
            let ib = alice.until("ib").await;
            if let Some(dirty) = ib.get_optional_child("dirty") {
                assert_eq!(text(dirty, "type"), "groups");
                break;
            }
        }
    });
}
