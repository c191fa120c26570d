//! Calls, as far as signalling goes: a phone rings the devices of a number, and hears that one of them declines.
//!
//! The voice itself is not here. Facts: wacore's `stanza/call` and its tests, Baileys' handler of `<call>`.

use rand::{Rng as _, RngExt as _};
use serde_json::{Value, json};
use wacore_binary::builder::NodeBuilder;
use wacore_binary::{Jid, JidExt as _, Node};

use super::node::{attr, jid_attr};
use super::{Form, PeopleError, Service, label, now_secs};
use crate::directory::DeviceAddr;

/// Calls that are remembered; of more the oldest go.
const REMEMBERED: usize = 1_000;

/// A call that a phone made.
pub struct Call {
    id: String,
    /// The caller's number.
    by: String,
    /// Numbers of those who are called.
    to: Vec<String>,
    video: bool,
    group: Option<Jid>,
    /// `ringing`, `rejected`, or the reason of its end.
    status: String,
}

impl Call {
    fn json(&self) -> Value {
        json!({
            "callId": self.id,
            "to": self.to,
            "video": self.video,
            "group": self.group.as_ref().map(Jid::to_string),
            "status": self.status,
        })
    }
}

impl Service {
    /// A phone calls a person, or all other members of a group. The call's id.
    ///
    /// # Errors
    /// [`PeopleError`] if one of them, or the group, is unknown.
    pub fn call(&mut self, by: &str, to: &str, video: bool) -> Result<String, PeopleError> {
        let unknown = || PeopleError::Unknown(to.to_owned());
        let target: Jid = match to.contains('@') {
            true => to.parse().map_err(|_| unknown())?,
            false => Jid::pn(to),
        };
        let group = target.is_group().then(|| target.clone());
        let called = match &group {
            Some(group) => {
                let view = self.group_view(&group.user).ok_or_else(unknown)?;
                view.members
                    .into_iter()
                    .filter(|number| number != by)
                    .collect()
            }
            None => vec![self.number_of_jid(&target).ok_or_else(unknown)?],
        };
        let id = format!("{:016X}{:016X}", self.rng.next_u64(), self.rng.next_u64());
        if self.calls.len() >= REMEMBERED {
            self.calls.remove(0);
        }
        self.calls.push(Call {
            id: id.clone(),
            by: by.to_owned(),
            to: called,
            video,
            group: group.clone(),
            status: "ringing".to_owned(),
        });
        let mut children = vec![
            NodeBuilder::new("audio")
                .attr("enc", "opus")
                .attr("rate", "16000")
                .build(),
        ];
        if video {
            children.push(NodeBuilder::new("video").attr("enc", "h264").build());
        }
        children.push(NodeBuilder::new("net").attr("medium", "3").build());
        let mut offer = NodeBuilder::new("offer").attr("device_class", "2015");
        if !self.hides_number(by) {
            offer = offer.attr("caller_pn", self.user_jid(by, Form::Pn));
        }
        if let Some(group) = group {
            offer = offer.attr("group-jid", group);
        }
        self.signal(by, &id, offer.children(children), None);
        Ok(id)
    }

    /// A call ends on the caller's side, for that reason; without one the caller gave up. `liar` says so in the caller's
    /// place.
    ///
    /// # Errors
    /// [`PeopleError::Unknown`] if there is no such call.
    pub fn end_call(
        &mut self,
        by: &str,
        id: &str,
        reason: Option<&str>,
        liar: Option<&str>,
    ) -> Result<(), PeopleError> {
        let known = self
            .calls
            .iter_mut()
            .find(|call| call.id == id && call.by == by);
        let call = known.ok_or_else(|| PeopleError::Unknown(id.to_owned()))?;
        if liar.is_none() {
            call.status = reason.unwrap_or("cancelled").to_owned();
        }
        let mut over = NodeBuilder::new("terminate");
        if let Some(reason) = reason {
            over = over.attr("reason", reason);
        }
        self.signal(liar.unwrap_or(by), id, over, None);
        Ok(())
    }

    /// The calls that a phone made, oldest first.
    pub fn calls_json(&self, by: &str) -> Value {
        let own = self.calls.iter().filter(|call| call.by == by);
        json!({"calls": own.map(Call::json).collect::<Vec<_>>()})
    }

    /// Tells the linked devices of those who are called, all but one.
    fn signal(&mut self, from: &str, id: &str, action: NodeBuilder, but: Option<&DeviceAddr>) {
        let Some(call) = self.calls.iter().find(|call| call.id == id) else {
            return;
        };
        let creator = self.user_jid(&call.by, Form::Lid);
        let action = action
            .attr("call-id", id)
            .attr("call-creator", creator)
            .build();
        let name = self
            .accounts
            .get(from)
            .map_or_else(String::new, |a| a.name.clone());
        for number in call.to.clone() {
            let stanza = NodeBuilder::new("call")
                .attr("from", self.user_jid(from, Form::Lid))
                .attr("id", self.next_id())
                .attr("t", now_secs())
                .attr("notify", name.as_str())
                .attr("platform", "android")
                .attr("version", "2.26.40")
                .attr("e", "0")
                .children([action.clone()])
                .build();
            for device in self.all_devices(&number) {
                if device.device != 0 && Some(&device) != but {
                    self.post(&device, stanza.clone());
                }
            }
        }
    }

    /// What a client says of calls: it asks for a link, or declines one. The caller's phone hears it, and the other devices stop ringing.
    pub(super) fn call_stanza(&mut self, from: &DeviceAddr, node: &Node) {
        if let Some(create) = node.get_optional_child("link_create") {
            return self.create_call_link(from, node, create);
        }
        self.answer_ack(from, node, "call");
        let Some(reject) = node.get_optional_child("reject") else {
            return;
        };
        let (id, creator) = (attr(reject, "call-id"), jid_attr(reject, "call-creator"));
        let by = creator.and_then(|jid| self.number_of_jid(&jid));
        let to = jid_attr(node, "to").and_then(|jid| self.number_of_jid(&jid));
        let known = self.calls.iter_mut().find(|call| {
            let is_called = call.to.contains(&from.number);
            Some(&call.id) == id.as_ref() && Some(&call.by) == by.as_ref() && by == to && is_called
        });
        let Some(call) = known else {
            log::warn!("{} declines a call that it did not get", label(from));
            return;
        };
        // One who declines does not end a group's call.
        if call.group.is_none() && call.status == "ringing" {
            call.status = "rejected".to_owned();
        }
        let (by, id) = (call.by.clone(), call.id.clone());
        let over = NodeBuilder::new("terminate").attr("reason", "rejected_elsewhere");
        self.signal(&by, &id, over, Some(from));
    }

    /// `<call to="@call"><link_create media/></call>` is answered by an ack with the link's token.
    fn create_call_link(&mut self, from: &DeviceAddr, node: &Node, create: &Node) {
        let ack = NodeBuilder::new("ack")
            .attr("class", "call")
            .attr("type", "link_create")
            .attr("from", "@call")
            .attr("id", attr(node, "id").unwrap_or_default());
        let media = attr(create, "media").filter(|it| matches!(it.as_str(), "audio" | "video"));
        let answer = match media {
            Some(media) => {
                let token: String = (0..22)
                    .map(|_| char::from(b'a' + self.rng.random_range(0..26)))
                    .collect();
                let link = NodeBuilder::new("link_create")
                    .attr("token", token)
                    .attr("media", media);
                ack.children([link.build()])
            }
            None => ack.attr("error", "400"),
        };
        self.tell(from, answer.build());
    }
}
