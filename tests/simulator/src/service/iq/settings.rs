//! Everything small: props, privacy, blocklist, tokens, media connections, the about text, logout.

use std::collections::BTreeMap;

use wacore_binary::Node;
use wacore_binary::builder::NodeBuilder;

use crate::directory::DeviceAddr;
use crate::media::MAX_FILE;
use crate::service::node::{self, attr, jid_attr};
use crate::service::{Form, Service, token_of};

/// The hash of the props below: a client that has it gets none again.
const PROPS_HASH: &str = "5imul8";
/// Experiments that clients read: privacy tokens are issued and sent.
const PROPS: [(u32, &str); 3] = [(10518, "true"), (9666, "true"), (14303, "true")];
/// The values of each privacy setting (wacore's `iq::privacy`).
const PRIVACY: [(&str, &[&str]); 9] = [
    ("readreceipts", &["all", "none"]),
    ("last", PEOPLE),
    ("online", &["all", "match_last_seen"]),
    ("profile", PEOPLE),
    ("status", PEOPLE),
    ("groupadd", PEOPLE),
    ("calladd", &["all", "known", "contacts"]),
    ("messages", &["all", "contacts"]),
    ("defense", &["off", "on_standard"]),
];
const PEOPLE: &[&str] = &["all", "contacts", "contact_blacklist", "none"];
/// Blocked numbers of one account.
const MAX_BLOCKED: usize = 10_000;

impl Service {
    pub(super) fn props(iq: &Node) -> Node {
        let known = iq
            .get_optional_child("props")
            .and_then(|props| attr(props, "hash"));
        let props = (known.as_deref() != Some(PROPS_HASH))
            .then_some(PROPS)
            .into_iter()
            .flatten()
            .map(|(code, value)| {
                NodeBuilder::new("prop")
                    .attr("config_code", code)
                    .attr("config_value", value)
                    .build()
            });
        let protocol = iq
            .get_optional_child("props")
            .and_then(|props| attr(props, "protocol"))
            .unwrap_or_else(|| "1".to_owned());
        let props = NodeBuilder::new("props")
            .attr("protocol", protocol)
            .attr("hash", PROPS_HASH)
            .attr("refresh", 86400)
            .children(props)
            .build();
        node::result(iq).children([props]).build()
    }

    pub(super) fn blocklist(&self, from: &DeviceAddr, iq: &Node) -> Node {
        let items: Vec<Node> = self
            .accounts
            .get(&from.number)
            .into_iter()
            .flat_map(|account| &account.blocked)
            .map(|number| {
                NodeBuilder::new("item")
                    .attr("jid", self.user_jid(number, Form::Lid))
                    .attr("pn_jid", self.user_jid(number, Form::Pn))
                    .build()
            })
            .collect();
        let list = NodeBuilder::new("list").children(items).build();
        node::result(iq).children([list]).build()
    }

    /// Blocks by LID and number, as WhatsApp wants it today, and unblocks by LID. The account's other devices are notified.
    pub(super) fn block(&mut self, from: &DeviceAddr, iq: &Node) -> Node {
        let item = iq.get_optional_child("item");
        let jid = item.and_then(|item| jid_attr(item, "jid"));
        let number = jid.as_ref().and_then(|jid| self.number_of_jid(jid));
        let action = item.and_then(|item| attr(item, "action"));
        let Some(number) = number else {
            return node::error(iq, 404, "item-not-found");
        };
        let is_lid = jid.is_some_and(|jid| Form::of(&jid) == Some(Form::Lid));
        let names_both =
            self.hides_number(&number) || item.is_some_and(|it| it.attrs.get("pn_jid").is_some());
        let block = match action.as_deref() {
            Some("block") if is_lid && names_both => true,
            Some("unblock") if is_lid => false,
            _ => return node::error(iq, 400, "bad-request"),
        };
        if !self.set_blocked(&from.number, &number, block, Some(from.device)) {
            return node::error(iq, 400, "bad-request");
        }
        self.blocklist(from, iq)
    }

    /// Blocks or unblocks a number, also on the phone; the account's other devices are notified. False if there are too
    /// many.
    pub fn set_blocked(
        &mut self,
        by: &str,
        number: &str,
        block: bool,
        device: Option<u16>,
    ) -> bool {
        let Some(account) = self.accounts.get_mut(by) else {
            return false;
        };
        match block {
            true if account.blocked.len() >= MAX_BLOCKED => return false,
            true => account.blocked.insert(number.to_owned()),
            false => account.blocked.remove(number),
        };
        let item = NodeBuilder::new("item")
            .attr("jid", self.user_jid(number, Form::Lid))
            .attr("action", if block { "block" } else { "unblock" })
            .build();
        let list = NodeBuilder::new("blocklist")
            .attr("action", "modify")
            .attr("dhash", self.next_id())
            .children([item])
            .build();
        let notification = self
            .notification("account_sync", by)
            .children([list])
            .build();
        for other in self.linked(by) {
            if Some(other.device) != device {
                self.post(&other, notification.clone());
            }
        }
        true
    }

    pub(super) fn privacy(&self, from: &DeviceAddr, iq: &Node) -> Node {
        let categories: Vec<Node> = self
            .accounts
            .get(&from.number)
            .into_iter()
            .flat_map(|account| &account.privacy)
            .map(|(name, value)| category(name, value))
            .collect();
        let privacy = NodeBuilder::new("privacy").children(categories).build();
        node::result(iq).children([privacy]).build()
    }

    pub(super) fn set_privacy(&mut self, from: &DeviceAddr, iq: &Node) -> Node {
        let wanted: BTreeMap<String, String> = iq
            .get_optional_child("privacy")
            .into_iter()
            .flat_map(|privacy| privacy.get_children_by_tag("category"))
            .filter_map(|c| Some((attr(c, "name")?, attr(c, "value")?)))
            .collect();
        let categories: Vec<Node> = wanted.iter().map(|(n, v)| category(n, v)).collect();
        if wanted.is_empty() || !self.set_privacy_of(&from.number, wanted) {
            return node::error(iq, 400, "bad-request");
        }
        let privacy = NodeBuilder::new("privacy").children(categories).build();
        node::result(iq).children([privacy]).build()
    }

    /// Sets privacy settings, also on the phone; the account's linked devices are notified. False for values that a
    /// category does not have: then nothing is set.
    pub fn set_privacy_of(&mut self, number: &str, wanted: BTreeMap<String, String>) -> bool {
        let takes = |(name, value): (&String, &String)| {
            PRIVACY
                .iter()
                .any(|(category, values)| category == name && values.contains(&&**value))
        };
        let Some(account) = self
            .accounts
            .get_mut(number)
            .filter(|_| wanted.iter().all(takes))
        else {
            return false;
        };
        if wanted.is_empty() {
            return true;
        }
        let categories: Vec<Node> = wanted.iter().map(|(n, v)| category(n, v)).collect();
        account.privacy.extend(wanted);
        let privacy = NodeBuilder::new("privacy").children(categories).build();
        let notification = self
            .notification("account_sync", number)
            .children([privacy])
            .build();
        self.notify_account(number, &notification);
        true
    }

    /// A privacy token: the person whom it is for attaches it to messages from then on.
    pub(super) fn issue_tokens(&mut self, from: &DeviceAddr, iq: &Node) -> Node {
        let tokens: Vec<Node> = iq
            .get_optional_child("tokens")
            .into_iter()
            .flat_map(|tokens| tokens.get_children_by_tag("token"))
            .cloned()
            .collect();
        for token in tokens {
            let number = jid_attr(&token, "jid").and_then(|jid| self.number_of_jid(&jid));
            let Some(number) = number.filter(|number| *number != from.number) else {
                continue;
            };
            let secret = token_of(&from.number, &number);
            let mut named = NodeBuilder::new("token").attr("jid", self.user_jid(&number, Form::Pn));
            for key in ["t", "type"] {
                if let Some(value) = attr(&token, key) {
                    named = named.attr(key, value);
                }
            }
            let tokens = NodeBuilder::new("tokens")
                .children([named.bytes(&secret[..]).build()])
                .build();
            let node = self
                .notification("privacy_token", &from.number)
                .attr("sender_lid", self.user_jid(&from.number, Form::Lid))
                .children([tokens])
                .build();
            self.notify_account(&number, &node);
        }
        node::result(iq)
            .children([NodeBuilder::new("tokens").build()])
            .build()
    }

    pub(super) fn media_conn(&mut self, from: &DeviceAddr, iq: &Node) -> Node {
        let auth = self.media_mut().auth_for(&from.number);
        let host = NodeBuilder::new("host")
            .attr("hostname", self.media().host())
            .attr("type", "primary")
            .attr("class", "mms")
            .attr("maxContentLengthBytes", MAX_FILE)
            .build();
        let conn = NodeBuilder::new("media_conn")
            .attr("auth", auth)
            .attr("ttl", 300)
            .attr("auth_ttl", 21_600)
            .attr("max_buckets", 12)
            .attr("max_manual_retry", 3)
            .attr("max_auto_download_retry", 3)
            .attr("id", 1)
            .children([host])
            .build();
        node::result(iq).children([conn]).build()
    }

    /// A device has fetched a notified change.
    pub(super) fn clean(&mut self, from: &DeviceAddr, iq: &Node) -> Node {
        let groups = iq
            .get_optional_child("clean")
            .and_then(|clean| attr(clean, "type"))
            .is_some_and(|kind| kind == "groups");
        if groups && let Some(device) = self.device_mut(from) {
            device.knows_groups = true;
        }
        node::result(iq).build()
    }

    /// A linked device logs itself, or another one of its account, out.
    pub(super) fn remove_companion(&mut self, from: &DeviceAddr, iq: &Node) {
        let target = iq
            .get_optional_child("remove-companion-device")
            .and_then(|child| jid_attr(child, "jid"))
            .and_then(|jid| self.addr_of_jid(&jid))
            .filter(|addr| addr.number == from.number && addr.device != 0);
        match target {
            Some(addr) if self.device_mut(&addr).is_some() => {
                self.tell(from, node::result(iq).build());
                self.remove_device(&addr);
            }
            _ => self.tell(from, node::error(iq, 404, "item-not-found")),
        }
    }
}

fn category(name: &str, value: &str) -> Node {
    NodeBuilder::new("category")
        .attr("name", name)
        .attr("value", value)
        .build()
}
