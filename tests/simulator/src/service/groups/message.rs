//! Messages in groups: one `skmsg` for all, with the sender key for devices that lack it.

use std::collections::HashMap;

use wacore::messages::MessageUtils;
use wacore_binary::builder::NodeBuilder;
use wacore_binary::{Jid, Node};

use super::Group;
use crate::directory::DeviceAddr;
use crate::service::message::{INVALID, NOT_FOUND, copy_key, is_withheld, withheld_for};
use crate::service::node::{attr, jid_attr};
use crate::service::{Form, Service, now_secs};

/// The sender is not in the group, or may not write in it.
const FORBIDDEN: u16 = 403;
/// The group names people in the other way: `StaleGroupAddressingMode` in WhatsApp Web.
const STALE_ADDRESSING: u16 = 421;

/// `edit` of a stanza in which an admin deletes another's message.
const ADMIN_REVOKE: &str = "8";

/// Where one group message goes.
enum Route {
    /// To everyone: the `skmsg`, and the pairwise copies of the sender key.
    Everyone(Node, HashMap<DeviceAddr, Vec<Node>>),
    /// Once more to one device that could not read it.
    Again(DeviceAddr, Vec<Node>),
}

impl Service {
    /// Delivers a group message; the hash of the right device list if the sender's was another.
    pub(in crate::service) fn accept_group(
        &mut self,
        from: &DeviceAddr,
        node: &Node,
        to: &Jid,
    ) -> Result<Option<String>, u16> {
        let id = attr(node, "id")
            .filter(|id| !id.is_empty())
            .ok_or(INVALID)?;
        let group = self.group(to).ok_or(NOT_FOUND)?;
        if group.role(&from.number).is_none() {
            return Err(FORBIDDEN);
        }
        let again = node.attrs.contains_key("participant");
        if group.announcement && !group.is_admin(&from.number) && !again {
            return Err(FORBIDDEN);
        }
        // The attribute is the sender's, and the service knows the group's admins.
        if attr(node, "edit").as_deref() == Some(ADMIN_REVOKE) && !group.is_admin(&from.number) {
            return Err(FORBIDDEN);
        }
        let form = group.form;
        if attr(node, "addressing_mode").is_some_and(|mode| mode != form.as_str()) {
            return Err(STALE_ADDRESSING);
        }
        let route = self.group_route(group, node)?;
        let pairwise: Vec<&Node> = match &route {
            Route::Everyone(_, keys) => keys.values().flatten().collect(),
            Route::Again(_, encs) => encs.iter().collect(),
        };
        self.check_shown_identity(from, node, pairwise.into_iter())?;
        let (devices, members) = (self.group_devices(group), group.numbers());
        for member in members.iter().filter(|member| **member != from.number) {
            self.acquaint(&from.number, member);
        }
        match route {
            Route::Again(target, encs) => {
                if devices.contains(&target) {
                    let copy = self.group_delivery(from, &target, node, (to, form), encs);
                    self.deliver_once(from, &id, &target, copy);
                }
                Ok(None)
            }
            Route::Everyone(shared, mut keys) => {
                let phash = self.group_phash(node, form, &devices);
                for target in devices.iter().filter(|target| *target != from) {
                    let mut encs = keys.remove(target).unwrap_or_default();
                    encs.push(shared.clone());
                    let copy = self.group_delivery(from, target, node, (to, form), encs);
                    self.deliver_once(from, &id, target, copy);
                }
                Ok(phash)
            }
        }
    }

    fn group_route(&self, group: &Group, node: &Node) -> Result<Route, u16> {
        let encs: Vec<Node> = node.get_children_by_tag("enc").cloned().collect();
        let is_shared = |enc: &Node| attr(enc, "type").as_deref() == Some("skmsg");
        if node.attrs.contains_key("participant") {
            let target = jid_attr(node, "participant").ok_or(INVALID)?;
            let target = self.addr_of_jid(&target).ok_or(INVALID)?;
            if encs.is_empty() || encs.iter().any(is_shared) {
                return Err(INVALID);
            }
            return Ok(Route::Again(target, encs));
        }
        let [shared] = encs.as_slice() else {
            return Err(INVALID);
        };
        if !is_shared(shared) {
            return Err(INVALID);
        }
        let mut keys: HashMap<DeviceAddr, Vec<Node>> = HashMap::new();
        for entry in node
            .get_optional_child("participants")
            .into_iter()
            .flat_map(|all| all.get_children_by_tag("to"))
        {
            let jid = jid_attr(entry, "jid").ok_or(INVALID)?;
            if Form::of(&jid) != Some(group.form) {
                return Err(INVALID);
            }
            let addr = self.addr_of_jid(&jid).ok_or(INVALID)?;
            let encs: Vec<Node> = entry.get_children_by_tag("enc").cloned().collect();
            if encs.is_empty() || encs.iter().any(is_shared) {
                return Err(INVALID);
            }
            keys.insert(addr, encs);
        }
        Ok(Route::Everyone(shared.clone(), keys))
    }

    /// Compares the devices that the sender hashed with those there are: all of all members, the
    /// sending one included. A sender without a hash is not notified.
    fn group_phash(&self, node: &Node, form: Form, devices: &[DeviceAddr]) -> Option<String> {
        let named = attr(node, "phash")?;
        let right: Vec<Jid> = devices
            .iter()
            .map(|addr| self.device_jid(addr, form))
            .collect();
        let right = MessageUtils::participant_list_hash(&right).ok()?;
        (named != right).then_some(right)
    }

    fn deliver_once(&mut self, from: &DeviceAddr, id: &str, target: &DeviceAddr, copy: Node) {
        let count = copy
            .get_children_by_tag("enc")
            .find_map(|enc| attr(enc, "count"));
        // An id counts within its chat.
        let id = format!("{} {id}", attr(&copy, "from").unwrap_or_default());
        if self.first_time(copy_key(from, &id, target, count.as_deref())) {
            self.post_message(target, copy);
        }
    }

    /// The stanza that one device gets.
    fn group_delivery(
        &self,
        from: &DeviceAddr,
        target: &DeviceAddr,
        node: &Node,
        (group, form): (&Jid, Form),
        encs: Vec<Node>,
    ) -> Node {
        let encs = match is_withheld(node, target) {
            true => withheld_for(node),
            false => encs,
        };
        let alternative = match form {
            Form::Lid => "participant_pn",
            Form::Pn => "participant_lid",
        };
        let mut builder = NodeBuilder::new("message")
            .attr("from", group.to_non_ad())
            .attr("participant", self.device_jid(from, form))
            .attr("addressing_mode", form.as_str())
            .attr("id", attr(node, "id").unwrap_or_default())
            .attr("t", now_secs());
        // Numbers are hidden in groups addressed by LIDs.
        let hidden =
            form == Form::Lid && target.number != from.number && self.hides_number(&from.number);
        if !hidden {
            builder = builder.attr(alternative, self.user_jid(&from.number, form.other()));
        }
        if let Some(name) = self.username(&from.number) {
            builder = builder.attr("participant_username", name);
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
                "unavailable" if target.device == 0 => {}
                _ => children.push(child.clone()),
            }
        }
        builder.children(children).build()
    }
}
