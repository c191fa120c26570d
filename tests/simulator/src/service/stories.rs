//! Stories: one `skmsg` for all whom the stanza names, and reactions to stories, for their authors.
//!
//! WhatsApp refuses a story's stanza with an `addressing_mode`, without a list of people or without the poster's privacy
//! setting (479), and a reaction with that setting.

use std::collections::BTreeMap;

use wacore_binary::builder::NodeBuilder;
use wacore_binary::{Jid, Node};

use super::message::{INVALID, copy_key};
use super::node::{attr, jid_attr};
use super::{Form, Service, now_secs};
use crate::directory::DeviceAddr;

const SETTINGS: [&str; 3] = ["contacts", "allowlist", "denylist"];

impl Service {
    /// Delivers what is sent to `status@broadcast`.
    pub(super) fn accept_story(
        &mut self,
        from: &DeviceAddr,
        node: &Node,
        id: &str,
    ) -> Result<(), u16> {
        if node.attrs.contains_key("addressing_mode") {
            return Err(INVALID);
        }
        let encs: Vec<Node> = node.get_children_by_tag("enc").cloned().collect();
        let is_shared = |enc: &Node| attr(enc, "type").as_deref() == Some("skmsg");
        if node.attrs.contains_key("participant") {
            // Once more to one device that could not read it.
            let target = jid_attr(node, "participant").ok_or(INVALID)?;
            let target = self.addr_of_jid(&target).ok_or(INVALID)?;
            if encs.is_empty() || encs.iter().any(is_shared) {
                return Err(INVALID);
            }
            self.check_shown_identity(from, node, encs.iter())?;
            self.give_story(from, node, id, &target, encs);
            return Ok(());
        }
        let list = node.get_optional_child("participants").ok_or(INVALID)?;
        let (mut people, mut devices) = (BTreeMap::new(), BTreeMap::new());
        for entry in list.get_children_by_tag("to") {
            let jid = jid_attr(entry, "jid").ok_or(INVALID)?;
            let addr = self.addr_of_jid(&jid).ok_or(INVALID)?;
            let encs: Vec<Node> = entry.get_children_by_tag("enc").cloned().collect();
            if encs.iter().any(is_shared) {
                return Err(INVALID);
            }
            people.insert(addr.number.clone(), Form::of(&jid));
            if !encs.is_empty() {
                devices.insert(addr, encs);
            }
        }
        self.check_shown_identity(from, node, devices.values().flatten())?;
        let meta = node.get_optional_child("meta");
        let setting = meta.and_then(|meta| attr(meta, "status_setting"));
        match encs.as_slice() {
            // A reaction, or another addition: for the devices that it was encrypted for.
            [] => {
                if setting.is_some() || devices.is_empty() {
                    return Err(INVALID);
                }
                for (target, encs) in devices {
                    self.give_story(from, node, id, &target, encs);
                }
                Ok(())
            }
            [shared] if is_shared(shared) => {
                let is_known = |setting: String| SETTINGS.contains(&setting.as_str());
                // Deletions have none; what it is cannot be seen here.
                if setting.is_some_and(|setting| !is_known(setting))
                    || people.is_empty()
                    || people.values().any(|form| *form != Some(Form::Lid))
                {
                    return Err(INVALID);
                }
                people.insert(from.number.clone(), Some(Form::Lid));
                for number in people.keys() {
                    let is_deaf = self
                        .accounts
                        .get(number)
                        .is_some_and(|account| account.blocked.contains(&from.number));
                    if is_deaf {
                        continue;
                    }
                    self.acquaint(&from.number, number);
                    for target in self.all_devices(number) {
                        if target == *from {
                            continue;
                        }
                        let mut encs = devices.remove(&target).unwrap_or_default();
                        encs.push(shared.clone());
                        self.give_story(from, node, id, &target, encs);
                    }
                }
                Ok(())
            }
            _ => Err(INVALID),
        }
    }

    /// Puts the stanza that one device gets into its queue, once.
    fn give_story(
        &mut self,
        from: &DeviceAddr,
        node: &Node,
        id: &str,
        target: &DeviceAddr,
        encs: Vec<Node>,
    ) {
        if target == from || self.device_mut(target).is_none() {
            return;
        }
        let count = encs.iter().find_map(|enc| attr(enc, "count"));
        let stories = Jid::status_broadcast();
        let once = format!("{stories} {id}");
        if !self.first_time(copy_key(from, &once, target, count.as_deref())) {
            return;
        }
        let mut builder = NodeBuilder::new("message")
            .attr("from", stories)
            .attr("participant", self.device_jid(from, Form::Lid))
            .attr("id", id)
            .attr("t", now_secs());
        if target.number == from.number || !self.hides_number(&from.number) {
            builder = builder.attr("participant_pn", self.user_jid(&from.number, Form::Pn));
        }
        for key in ["type", "edit"] {
            if let Some(value) = attr(node, key) {
                builder = builder.attr(key, value);
            }
        }
        if let Some(account) = self.accounts.get(&from.number) {
            builder = builder.attr("notify", account.name.as_str());
        }
        let opens = encs
            .iter()
            .any(|enc| attr(enc, "type").as_deref() == Some("pkmsg"));
        let mut children = encs;
        for child in node.children().unwrap_or_default() {
            match &*child.tag {
                "enc" | "participants" | "tctoken" => {}
                "device-identity" if !opens => {}
                _ => children.push(child.clone()),
            }
        }
        let copy = builder.children(children).build();
        self.post_message(target, copy);
    }
}
