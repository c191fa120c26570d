//! Receipts and chat states in groups: `participant` is the message's author, or the sender of the state.

use wacore_binary::builder::NodeBuilder;
use wacore_binary::{Jid, JidExt as _, Node};

use crate::directory::DeviceAddr;
use crate::service::node::{attr, jid_attr};
use crate::service::receipt::to_oneself;
use crate::service::{Form, Service, now_secs};

impl Service {
    /// A receipt whose `to` is a group.
    pub(in crate::service) fn group_receipt(&mut self, from: &DeviceAddr, node: &Node, to: &Jid) {
        // The author of a story is named by LID.
        let form = match to.is_status_broadcast() {
            true => Some(Form::Lid),
            false => self.group(to).map(|group| group.form),
        };
        let Some(form) = form else { return };
        let Some(author) = jid_attr(node, "participant").and_then(|jid| self.addr_of_jid(&jid))
        else {
            return;
        };
        let kind = attr(node, "type");
        match kind.as_deref() {
            Some("retry") => {
                // Only the device that encrypted the message can do so again.
                let id = attr(node, "id").unwrap_or_default();
                let id = format!("{} {id}", to.to_non_ad());
                self.expect_again(&author, &id, from);
                let copy = self.group_receipt_copy(from, node, to, form, true);
                self.post_retry(&author, copy);
            }
            _ if author.number == from.number => {
                let copy = self.group_receipt_copy(from, node, to, form, true);
                self.post(&author, copy);
            }
            Some("read-self" | "played-self") => self.group_read_on(from, node, to, form),
            Some("read") if self.reads_in_private(&from.number) => {
                self.group_read_on(from, node, to, form);
            }
            _ => {
                let copy = self.group_receipt_copy(from, node, to, form, false);
                for device in self.all_devices(&author.number) {
                    self.post(&device, copy.clone());
                }
                if matches!(kind.as_deref(), Some("read" | "played")) {
                    self.group_read_on(from, node, to, form);
                }
            }
        }
    }

    /// Messages read on one device are read on the others.
    fn group_read_on(&mut self, from: &DeviceAddr, node: &Node, group: &Jid, form: Form) {
        let mut copy = self.group_receipt_copy(from, node, group, form, true);
        if !self.faults.unmarks_own_read(&from.number) {
            to_oneself(&mut copy);
        }
        for device in self.all_devices(&from.number) {
            if device != *from {
                self.post(&device, copy.clone());
            }
        }
    }

    fn group_receipt_copy(
        &self,
        from: &DeviceAddr,
        node: &Node,
        group: &Jid,
        form: Form,
        device: bool,
    ) -> Node {
        let participant = if device {
            self.device_jid(from, form)
        } else {
            self.user_jid(&from.number, form)
        };
        let mut builder = NodeBuilder::new("receipt")
            .attr("from", group.to_non_ad())
            .attr("participant", participant)
            .attr("id", attr(node, "id").unwrap_or_default())
            .attr(
                "t",
                attr(node, "t").unwrap_or_else(|| now_secs().to_string()),
            );
        if self.number_goes_along(form, &from.number) {
            builder = builder.attr("participant_pn", Jid::pn(from.number.as_str()));
        }
        if let Some(kind) = attr(node, "type") {
            builder = builder.attr("type", kind);
        }
        builder.apply_content(node.content.clone()).build()
    }

    /// `<chatstate to="…@g.us">`, for the devices of the other members.
    pub(in crate::service) fn group_chatstate(&mut self, from: &DeviceAddr, node: &Node, to: &Jid) {
        let Some(group) = self.group(to) else { return };
        if group.role(&from.number).is_none() {
            return;
        }
        let stanza = NodeBuilder::new("chatstate")
            .attr("from", to.to_non_ad())
            .attr("participant", self.user_jid(&from.number, group.form))
            .apply_content(node.content.clone())
            .build();
        let devices = self.group_devices(group);
        for device in devices {
            if device.number != from.number {
                self.tell_available(&device, stanza.clone());
            }
        }
    }
}
