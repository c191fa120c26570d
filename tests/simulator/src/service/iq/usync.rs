//! `xmlns="usync"`: identities and devices of people.

use wacore_binary::builder::NodeBuilder;
use wacore_binary::{Jid, Node};

use crate::directory::DeviceAddr;
use crate::phone::Phone;
use crate::service::node::{self, attr, jid_attr};
use crate::service::{Form, Service};

/// People that one request may ask about.
const MAX_USERS: usize = 2000;

/// The other way in which the same subscriber is dialled, in the countries whose numbers have changed
/// while accounts kept theirs: Brazil put a 9 before mobile numbers, Mexico dropped a 1 behind its
/// country code, Argentina has a 9 there from abroad only. An account is registered in one form, and
/// WhatsApp answers for both.
fn other_form(digits: &str) -> Option<String> {
    // (country code, digits before the one that may be there, that one, digits behind it)
    for (country, area, extra, subscriber) in
        [("55", 2, "9", 8), ("52", 0, "1", 10), ("54", 0, "9", 10)]
    {
        let Some(rest) = digits.strip_prefix(country) else {
            continue;
        };
        let Some((area, rest)) = rest.split_at_checked(area) else {
            continue;
        };
        match rest.strip_prefix(extra) {
            Some(short) if short.len() == subscriber => {
                return Some(format!("{country}{area}{short}"));
            }
            _ if rest.len() == subscriber => {
                return Some(format!("{country}{area}{extra}{rest}"));
            }
            _ => {}
        }
    }
    None
}

/// A person in a query.
struct Asked {
    /// The JID to answer with: in the form of the question.
    jid: Jid,
    form: Form,
    /// The number, if there is such an account.
    number: Option<String>,
}

impl Service {
    pub(super) fn usync(&mut self, from: &DeviceAddr, iq: &Node) -> Node {
        let Some(usync) = iq.get_optional_child("usync") else {
            return node::error(iq, 400, "bad-request");
        };
        let protocols: Vec<Node> = usync
            .get_optional_child("query")
            .and_then(Node::children)
            .unwrap_or_default()
            .to_vec();
        let users: Vec<Node> = usync
            .get_optional_child("list")
            .and_then(Node::children)
            .unwrap_or_default()
            .to_vec();
        if protocols.is_empty() || users.len() > MAX_USERS {
            return node::error(iq, 400, "bad-request");
        }
        let mut list = Vec::with_capacity(users.len());
        for user in &users {
            if let Some(found) = self.usync_by_username(&from.number, user) {
                list.push(found);
                continue;
            }
            let Some(asked) = self.asked(user) else {
                continue;
            };
            if let Some(number) = &asked.number
                && let Some(account) = self.accounts.get_mut(number)
            {
                account.known_by.insert(from.number.clone());
            }
            let hidden = asked
                .number
                .as_ref()
                .is_some_and(|it| *it != from.number && self.hides_number(it));
            let children: Vec<Node> = protocols
                .iter()
                .filter(|protocol| !hidden || protocol.tag != "lid")
                .filter_map(|protocol| {
                    self.usync_protocol(&from.number, &protocol.tag, user, &asked)
                })
                .collect();
            let mut builder = NodeBuilder::new("user").attr("jid", asked.jid.clone());
            if let (Form::Lid, Some(number), false) = (asked.form, &asked.number, hidden) {
                builder = builder.attr("pn_jid", Jid::pn(number.as_str()));
            }
            list.push(builder.children(children).build());
        }
        let results = protocols
            .iter()
            .map(|p| NodeBuilder::new_dynamic(p.tag.to_string()).build());
        let mut builder = NodeBuilder::new("usync");
        for key in ["sid", "index", "last", "mode", "context"] {
            if let Some(value) = attr(usync, key) {
                builder = builder.attr(key, value);
            }
        }
        let answer = builder
            .children([
                NodeBuilder::new("result").children(results).build(),
                NodeBuilder::new("list").children(list).build(),
            ])
            .build();
        node::result(iq).children([answer]).build()
    }

    /// A user is named by JID, or by number in `<contact>`.
    fn asked(&self, user: &Node) -> Option<Asked> {
        if let Some(jid) = jid_attr(user, "jid") {
            let jid = jid.into_non_ad();
            return Some(Asked {
                form: Form::of(&jid)?,
                number: self.number_of_jid(&jid),
                jid,
            });
        }
        let contact = user.get_optional_child("contact")?.content_as_string()?;
        let digits: String = contact.chars().filter(char::is_ascii_digit).collect();
        // A query by number is answered with the registered form.
        let number = self.registered(&digits);
        Some(Asked {
            form: Form::Pn,
            jid: Jid::pn(number.as_deref().unwrap_or(&digits)),
            number,
        })
    }

    /// The registered number that a dialled one leads to: itself, or its other form.
    fn registered(&self, digits: &str) -> Option<String> {
        [Some(digits.to_owned()), other_form(digits)]
            .into_iter()
            .flatten()
            .find(|number| self.number_of_jid(&Jid::pn(number.as_str())).is_some())
    }

    fn usync_protocol(&self, by: &str, tag: &str, user: &Node, asked: &Asked) -> Option<Node> {
        let account = asked.number.as_ref().and_then(|n| self.accounts.get(n));
        match tag {
            "contact" => {
                let mut builder = NodeBuilder::new("contact")
                    .attr("type", if account.is_some() { "in" } else { "out" });
                if let Some(text) = user
                    .get_optional_child("contact")
                    .and_then(Node::content_as_string)
                {
                    builder = builder.string_content(text);
                }
                if let Some(name) = asked.number.as_ref().and_then(|n| self.username(n)) {
                    builder = builder.attr("username", name);
                }
                Some(builder.build())
            }
            "devices" => Some(self.usync_devices(asked)),
            "lid" if asked.form == Form::Pn => {
                let number = asked.number.as_ref()?;
                let lid = self.user_jid(number, Form::Lid);
                Some(NodeBuilder::new("lid").attr("val", lid).build())
            }
            "status" => {
                let account = account?;
                // As WhatsApp answers for those who do not show it.
                if !self.shows(asked.number.as_ref()?, by, "status") {
                    return Some(NodeBuilder::new("status").attr("code", 401).build());
                }
                Some(
                    NodeBuilder::new("status")
                        .attr("t", account.devices_changed)
                        .string_content(account.about.as_str())
                        .build(),
                )
            }
            "username" => {
                let name = self.username(asked.number.as_ref()?)?;
                Some(NodeBuilder::new("username").string_content(name).build())
            }
            "picture" => {
                let (account, number) = (account?, asked.number.as_ref()?);
                let picture = account.picture.as_ref();
                let builder = NodeBuilder::new("picture");
                Some(
                    match picture.filter(|_| self.shows(number, by, "profile")) {
                        Some(picture) => builder.attr("id", picture.id).build(),
                        None => {
                            let error = NodeBuilder::new("error")
                                .attr("code", 404)
                                .attr("text", "item-not-found");
                            builder.children([error.build()]).build()
                        }
                    },
                )
            }
            "business" => {
                account?.business.as_ref()?;
                Some(NodeBuilder::new("business").build())
            }
            "disappearing_mode" => {
                let (seconds, at) = account?.default_timer;
                let builder = NodeBuilder::new("disappearing_mode");
                Some(builder.attr("duration", seconds).attr("t", at).build())
            }
            // The service has no bots; unknown protocols are left out, as by WhatsApp.
            _ => None,
        }
    }

    fn usync_devices(&self, asked: &Asked) -> Node {
        let account = asked.number.as_ref().and_then(|n| self.accounts.get(n));
        let Some(account) = account else {
            return NodeBuilder::new("devices")
                .children([NodeBuilder::new("device-list").build()])
                .build();
        };
        let list = account.devices.iter().map(|(id, device)| {
            let builder = NodeBuilder::new("device").attr("id", *id);
            if *id == 0 {
                builder.build()
            } else {
                builder.attr("key-index", device.key_index).build()
            }
        });
        let phone = asked.number.as_ref().and_then(|n| self.phone(n));
        let changed_at = phone.map_or(account.devices_changed, Phone::key_index_timestamp);
        let mut index = NodeBuilder::new("key-index-list").attr("ts", changed_at);
        if let Some(signed) = phone.and_then(Phone::key_index_list) {
            index = index.bytes(signed);
        }
        NodeBuilder::new("devices")
            .children([
                NodeBuilder::new("device-list").children(list).build(),
                index.build(),
            ])
            .build()
    }
}
