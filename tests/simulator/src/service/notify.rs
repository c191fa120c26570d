//! Notifications from the service to devices.

use wacore::messages::MessageUtils;
use wacore_binary::Node;
use wacore_binary::builder::NodeBuilder;

use super::account::PREKEYS_LOW;
use super::node::{attr, server};
use super::{Form, Service, now_secs};
use crate::directory::DeviceAddr;

impl Service {
    /// The device list of a number changed: its own devices and its contacts are notified.
    pub(super) fn announce_devices(&mut self, changed: &DeviceAddr, added: bool) {
        let number = changed.number.clone();
        let Some((list, changed_at)) = self
            .phone(&number)
            .map(|phone| (phone.key_index_list(), phone.key_index_timestamp()))
        else {
            return;
        };
        let Some(account) = self.accounts.get_mut(&number) else {
            return;
        };
        account.devices_changed = changed_at;
        let known_by: Vec<String> = account.known_by.iter().cloned().collect();
        let key_index = account
            .devices
            .get(&changed.device)
            .map_or(0, |device| device.key_index);

        let mut device = NodeBuilder::new("device")
            .attr("jid", self.device_jid(changed, Form::Pn))
            .attr("lid", self.device_jid(changed, Form::Lid));
        let mut index = NodeBuilder::new("key-index-list").attr("ts", changed_at);
        if added {
            device = device.attr("key-index", key_index);
            index = index.bytes(list.unwrap_or_default());
        }
        let children = [device.build(), index.build()];
        let tag = if added { "add" } else { "remove" };
        let hashes: Vec<(&str, String)> =
            [("device_hash", Form::Pn), ("device_lid_hash", Form::Lid)]
                .into_iter()
                .filter_map(|(name, form)| Some((name, self.device_hash(&number, form)?)))
                .collect();
        for other in known_by.iter().filter(|other| **other != number) {
            let operation = hashes
                .iter()
                .fold(NodeBuilder::new(tag), |node, (name, hash)| {
                    node.attr(name, hash.as_str())
                });
            let operation = operation.children(children.clone()).build();
            let node = self
                .notification("devices", &number)
                .attr("lid", self.user_jid(&number, Form::Lid))
                .children([operation])
                .build();
            self.notify_account(other, &node);
        }
        self.announce_own_devices(&number, changed_at);
    }

    /// `account_sync` with the whole list, for the account's own devices.
    fn announce_own_devices(&mut self, number: &str, changed_at: u64) {
        let Some(account) = self.accounts.get(number) else {
            return;
        };
        let devices: Vec<(u16, u32)> = account
            .devices
            .iter()
            .map(|(id, device)| (*id, device.key_index))
            .collect();
        let mut children: Vec<Node> = devices
            .iter()
            .map(|(id, key_index)| {
                let addr = DeviceAddr {
                    number: number.to_owned(),
                    device: *id,
                };
                let mut builder =
                    NodeBuilder::new("device").attr("jid", self.device_jid(&addr, Form::Pn));
                if *id != 0 {
                    builder = builder.attr("key-index", *key_index);
                }
                builder.build()
            })
            .collect();
        let list = self
            .phone(number)
            .and_then(crate::phone::Phone::key_index_list);
        let mut index = NodeBuilder::new("key-index-list").attr("ts", changed_at);
        if let Some(list) = list {
            index = index.bytes(list);
        }
        children.push(index.build());
        let mut devices = NodeBuilder::new("devices");
        if let Some(hash) = self.device_hash(number, Form::Pn) {
            devices = devices.attr("dhash", hash);
        }
        let devices = devices.children(children).build();
        let node = self
            .notification("account_sync", number)
            .children([devices])
            .build();
        self.notify_account(number, &node);
    }

    /// The hash over all devices of a number, its phone too, as they are after a change.
    fn device_hash(&self, number: &str, form: Form) -> Option<String> {
        let devices = self.all_devices(number);
        let jids: Vec<_> = devices.iter().map(|it| self.device_jid(it, form)).collect();
        MessageUtils::participant_list_hash(&jids).ok()
    }

    /// A notification from a person, with a fresh id.
    pub(super) fn notification(&mut self, kind: &'static str, from: &str) -> NodeBuilder {
        NodeBuilder::new("notification")
            .attr("from", self.user_jid(from, Form::Pn))
            .attr("type", kind)
            .attr("id", self.next_id())
            .attr("t", now_secs())
    }

    /// Posts a notification to the linked devices of a number; phones have no use for them.
    pub(super) fn notify_account(&mut self, number: &str, node: &Node) {
        for addr in self.linked(number) {
            self.post(&addr, node.clone());
        }
    }

    /// The linked devices of a number.
    pub(super) fn linked(&self, number: &str) -> Vec<DeviceAddr> {
        self.accounts
            .get(number)
            .into_iter()
            .flat_map(|account| account.devices.keys())
            .filter(|id| **id != 0)
            .map(|id| DeviceAddr {
                number: number.to_owned(),
                device: *id,
            })
            .collect()
    }

    /// One-time prekeys run low: notifies the device of the number left, one notification at a time.
    pub(super) fn warn_of_low_prekeys(&mut self, addr: &DeviceAddr) {
        let Some(device) = self.device_mut(addr) else {
            return;
        };
        let left = device
            .keys
            .as_ref()
            .map_or(0, super::account::DeviceKeys::left);
        if left > PREKEYS_LOW || !device.uploaded {
            return;
        }
        device.outbox.remove_if(|_, node| {
            attr(node, "type").as_deref() == Some("encrypt")
                && node.get_optional_child("count").is_some()
        });
        let node = NodeBuilder::new("notification")
            .attr("from", server())
            .attr("type", "encrypt")
            .attr("id", self.next_id())
            .attr("t", now_secs())
            .children([NodeBuilder::new("count").attr("value", left).build()])
            .build();
        self.post(addr, node);
    }
}
