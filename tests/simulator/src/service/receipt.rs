//! Receipts: they take a message out of the recipient's queue and tell its sender.

use wacore_binary::builder::NodeBuilder;
use wacore_binary::{JidExt as _, Node};

use super::node::{attr, jid_attr};
use super::{Form, Service, delivery_key, now_secs};
use crate::directory::DeviceAddr;

impl Service {
    pub(super) fn receipt(&mut self, from: &DeviceAddr, node: &Node) {
        // Not those of the phone, if the number has linked devices.
        let is_meant = from.device != 0 || self.all_devices(&from.number).len() == 1;
        if is_meant && self.faults.loses_receipt(&from.number) {
            return;
        }
        if attr(node, "type").as_deref() == Some("retry") {
            self.count_retry(from, node);
        }
        // Any receipt means that its sender has the message.
        self.acknowledged(from, "message", node);
        self.answer_ack(from, node, "receipt");
        let Some(to) = jid_attr(node, "to") else {
            return;
        };
        if to.is_group() || to.is_status_broadcast() {
            self.group_receipt(from, node, &to);
            return;
        }
        let (Some(form), Some(target)) = (Form::of(&to), self.addr_of_jid(&to)) else {
            return;
        };
        let kind = attr(node, "type");
        match kind.as_deref() {
            Some("retry") => {
                // Only the device that encrypted the message can do so again.
                self.expect_again(&target, &attr(node, "id").unwrap_or_default(), from);
                let copy = self.receipt_copy(from, node, form, true);
                self.post_retry(&target, copy);
            }
            // Clients may name themselves; it is the phone that has the file.
            Some("server-error") if target.number == from.number => {
                let copy = self.receipt_copy(from, node, form, true);
                let phone = DeviceAddr {
                    number: from.number.clone(),
                    device: 0,
                };
                self.post(&phone, copy);
            }
            _ if target.number == from.number => {
                let copy = self.receipt_copy(from, node, form, true);
                self.post(&target, copy);
            }
            Some("read-self" | "played-self") => {
                self.tell_own_devices(from, node, form, &to.to_non_ad());
            }
            Some("read") if self.reads_in_private(&from.number) => {
                self.tell_own_devices(from, node, form, &to.to_non_ad());
            }
            _ => {
                let copy = self.receipt_copy(from, node, form, false);
                for device in self.all_devices(&target.number) {
                    self.post(&device, copy.clone());
                }
                if matches!(kind.as_deref(), Some("read" | "played")) {
                    self.tell_own_devices(from, node, form, &to.to_non_ad());
                }
            }
        }
    }

    fn count_retry(&mut self, from: &DeviceAddr, node: &Node) {
        let first = attr(node, "id").and_then(|id| self.delivered.get(&delivery_key(from, &id)));
        let now = self.online.get(from);
        let late = first.is_some() && first != now;
        if let Some(account) = self.accounts.get_mut(&from.number) {
            account.retries += 1;
            account.late_retries += u64::from(late);
        }
    }

    /// Messages read or played on one device are so on the others.
    fn tell_own_devices(
        &mut self,
        from: &DeviceAddr,
        node: &Node,
        form: Form,
        chat: &wacore_binary::Jid,
    ) {
        let mut copy = self.receipt_copy(from, node, form, true);
        copy.attrs.insert("recipient", chat.clone());
        if !self.faults.unmarks_own_read(&from.number) {
            to_oneself(&mut copy);
        }
        for device in self.all_devices(&from.number) {
            if device != *from {
                self.post(&device, copy.clone());
            }
        }
    }

    /// Whether others do not learn what a number reads: its privacy setting.
    pub(super) fn reads_in_private(&self, number: &str) -> bool {
        self.accounts
            .get(number)
            .and_then(|account| account.privacy.get("readreceipts"))
            .is_some_and(|choice| choice == "none")
    }

    /// A phone has answered a linked device that could not download a file.
    pub(super) fn media_retried(&mut self, phone: &DeviceAddr, node: &Node) {
        let device = jid_attr(node, "to").and_then(|to| self.addr_of_jid(&to));
        let Some(device) = device.filter(|addr| addr.number == phone.number) else {
            return;
        };
        let answer = NodeBuilder::new("notification")
            .attr("from", self.user_jid(&phone.number, Form::Pn))
            .attr("type", "mediaretry")
            .attr("id", attr(node, "id").unwrap_or_default())
            .attr("t", now_secs())
            .apply_content(node.content.clone())
            .build();
        self.post(&device, answer);
    }

    fn receipt_copy(&self, from: &DeviceAddr, node: &Node, form: Form, device: bool) -> Node {
        let sender = if device {
            self.device_jid(from, form)
        } else {
            self.user_jid(&from.number, form)
        };
        let mut builder = NodeBuilder::new("receipt")
            .attr("from", sender)
            .attr("id", attr(node, "id").unwrap_or_default())
            .attr(
                "t",
                attr(node, "t").unwrap_or_else(|| now_secs().to_string()),
            );
        for key in ["type", "recipient", "participant", "category"] {
            if let Some(value) = node.attrs.get(key) {
                builder = builder.attr(key, value.clone());
            }
        }
        builder.apply_content(node.content.clone()).build()
    }

    /// `<ack>` for something that is not a message.
    pub(super) fn answer_ack(&mut self, from: &DeviceAddr, node: &Node, class: &'static str) {
        let mut builder = NodeBuilder::new("ack")
            .attr("class", class)
            .attr("id", attr(node, "id").unwrap_or_default())
            .attr("t", now_secs());
        if let Some(to) = node.attrs.get("to") {
            builder = builder.attr("from", to.clone());
        }
        for key in ["type", "participant"] {
            if let Some(value) = node.attrs.get(key) {
                builder = builder.attr(key, value.clone());
            }
        }
        self.tell(from, builder.build());
    }

    /// All devices of a number, the phone first.
    pub(super) fn all_devices(&self, number: &str) -> Vec<DeviceAddr> {
        self.accounts
            .get(number)
            .into_iter()
            .flat_map(|account| account.devices.keys())
            .map(|id| DeviceAddr {
                number: number.to_owned(),
                device: *id,
            })
            .collect()
    }
}

/// The own devices get a receipt as `read-self` or `played-self`.
pub(super) fn to_oneself(copy: &mut Node) {
    let kind = match attr(copy, "type").as_deref() {
        Some("read") => "read-self",
        Some("played") => "played-self",
        _ => return,
    };
    copy.attrs.insert("type", kind);
}
