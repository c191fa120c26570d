//! Groups as stanzas: `<group>`, and the `w:gp2` notifications.

use wacore_binary::builder::NodeBuilder;
use wacore_binary::{Jid, Node};

use super::{Group, Place};
use crate::service::{Form, Service, now_secs};

impl Service {
    /// `<group>` as a member sees it.
    pub(in crate::service) fn group_node(
        &self,
        group: &Group,
        participants: bool,
        description: bool,
    ) -> Node {
        let creator = group.creator.as_str();
        let mut builder = NodeBuilder::new("group")
            .attr("id", group.id.as_str())
            .attr("subject", group.subject.as_str())
            .attr("s_t", group.subject_at)
            .attr("s_o", self.user_jid(&group.subject_by, group.form))
            .attr("creation", group.created)
            .attr("creator", self.user_jid(creator, group.form))
            .attr("addressing_mode", group.form.as_str())
            .attr("p_v_id", group.members_version)
            .attr("a_v_id", group.admins_version)
            .attr("size", group.members.len());
        for (name, number) in [
            ("s_o_pn", group.subject_by.as_str()),
            ("creator_pn", creator),
        ] {
            if self.number_goes_along(group.form, number) {
                builder = builder.attr(name, Jid::pn(number));
            }
        }
        let mut children = Vec::new();
        if participants {
            children.extend(group.members.iter().map(|member| {
                let node = self.participant(&member.number, group.form);
                match member.role.as_wire() {
                    Some(role) => node.attr("type", role).build(),
                    None => node.build(),
                }
            }));
        }
        if description && let Some(text) = &group.description {
            let mut node = NodeBuilder::new("description")
                .attr("id", text.id.as_str())
                .attr("participant", self.user_jid(&text.by, group.form))
                .attr("t", text.at);
            if self.number_goes_along(group.form, &text.by) {
                node = node.attr("participant_pn", Jid::pn(text.by.as_str()));
            }
            let body = NodeBuilder::new("body").string_content(text.text.as_str());
            children.push(node.children([body.build()]).build());
        }
        if group.announcement {
            children.push(NodeBuilder::new("announcement").build());
        }
        if group.locked {
            children.push(NodeBuilder::new("locked").build());
        }
        if let Some(seconds) = group.ephemeral {
            let node = NodeBuilder::new("ephemeral").attr("expiration", seconds);
            children.push(node.build());
        }
        if group.approval {
            children.push(approval_node(true));
        }
        children.push(add_mode_node(group.admins_add));
        match &group.place {
            Place::Alone => {}
            Place::Community => children.push(NodeBuilder::new("parent").build()),
            Place::Part(parent) | Place::Announcements(parent) => {
                let linked = NodeBuilder::new("linked_parent").attr("jid", parent.clone());
                children.push(linked.build());
            }
        }
        if matches!(group.place, Place::Announcements(_)) {
            children.push(NodeBuilder::new("default_sub_group").build());
        }
        builder.children(children).build()
    }

    /// `<participant jid phone_number|lid username?>`.
    pub(in crate::service) fn participant(&self, number: &str, form: Form) -> NodeBuilder {
        let other = match form {
            Form::Lid => "phone_number",
            Form::Pn => "lid",
        };
        let mut builder = NodeBuilder::new("participant").attr("jid", self.user_jid(number, form));
        if form == Form::Pn || !self.hides_number(number) {
            builder = builder.attr(other, self.user_jid(number, form.other()));
        }
        if let Some(name) = self.username(number) {
            builder = builder.attr("username", name);
        }
        builder
    }

    /// `<add>`, `<remove>`, `<promote>` or `<demote>` with the version that the list of members gets by it, and
    /// the one before. Clients that miss a version in between fetch the group.
    pub(super) fn members_change(&mut self, id: &str, tag: &'static str) -> NodeBuilder {
        let Some(group) = self.groups.get_mut(id) else {
            return NodeBuilder::new(tag);
        };
        let before = group.members_version;
        // Microseconds on WhatsApp, so that versions rise.
        group.members_version = (now_secs() * 1_000_000).max(before + 1);
        if matches!(tag, "promote" | "demote") {
            group.admins_version = group.members_version;
        }
        NodeBuilder::new(tag)
            .attr("v_id", group.members_version)
            .attr("prev_v_id", before)
    }

    /// `<notification type="w:gp2">` about what `by` did.
    pub(super) fn group_notification(&mut self, id: &str, by: &str) -> Option<NodeBuilder> {
        let form = self.groups.get(id)?.form;
        let stanza = self.next_id();
        let mut builder = NodeBuilder::new("notification")
            .attr("from", Jid::group(id))
            .attr("type", "w:gp2")
            .attr("id", stanza)
            .attr("t", now_secs())
            .attr("participant", self.user_jid(by, form))
            .attr("addressing_mode", form.as_str());
        if self.number_goes_along(form, by) {
            builder = builder.attr("participant_pn", Jid::pn(by));
        }
        if let Some(account) = self.accounts.get(by) {
            builder = builder.attr("notify", account.name.as_str());
        }
        Some(builder)
    }

    /// Notifies every member's devices of a new group.
    pub(super) fn announce_group(&mut self, id: &str, by: &str, key: Option<&str>) {
        let Some(group) = self.groups.get(id) else {
            return;
        };
        let (node, members) = (self.group_node(group, true, true), group.numbers());
        let mut create = NodeBuilder::new("create").attr("type", "new");
        if let Some(key) = key {
            create = create.attr("key", key);
        }
        let create = create.children([node]).build();
        self.tell_members(id, by, &members, create);
    }

    /// Notifies new members of an existing group, with all of its data.
    pub(super) fn introduce_group(
        &mut self,
        id: &str,
        by: &str,
        newcomers: &[String],
        reason: Option<&'static str>,
    ) {
        let Some(group) = self.groups.get(id) else {
            return;
        };
        let node = self.group_node(group, true, true);
        let mut create = NodeBuilder::new("create");
        if let Some(reason) = reason {
            create = create.attr("reason", reason);
        }
        let create = create.children([node]).build();
        self.tell_members(id, by, newcomers, create);
    }

    /// One notification with one action, for the devices of those named.
    pub(super) fn tell_members(&mut self, id: &str, by: &str, to: &[String], action: Node) {
        if let Some(builder) = self.group_notification(id, by) {
            let node = builder.children([action]).build();
            self.notify_numbers(to, &node);
        }
    }
}

/// `<membership_approval_mode>`.
pub(super) fn approval_node(on: bool) -> Node {
    let state = if on { "on" } else { "off" };
    let join = NodeBuilder::new("group_join").attr("state", state).build();
    NodeBuilder::new("membership_approval_mode")
        .children([join])
        .build()
}

/// `<member_add_mode>`.
pub(super) fn add_mode_node(admins_only: bool) -> Node {
    let mode = if admins_only {
        "admin_add"
    } else {
        "all_member_add"
    };
    NodeBuilder::new("member_add_mode")
        .string_content(mode)
        .build()
}
