//! What people show of themselves: pictures, about texts, the profiles of businesses, and the timer of new chats.
//!
//! `w:profile:picture` and `status` as in wacore's `iq::contacts` and `iq::profile`, `w:biz` as in `iq::business`.

use serde::Deserialize;
use wacore_binary::builder::NodeBuilder;
use wacore_binary::{Jid, JidExt as _, Node};

use crate::directory::DeviceAddr;
use crate::service::node::{self, attr, jid_attr, num_attr};
use crate::service::{Form, Service, now_secs};

/// Bytes of an about text.
const MAX_ABOUT: usize = 700;
/// Bytes of a picture.
const MAX_PICTURE: usize = 1 << 20;
/// Where pictures are, as on WhatsApp's own servers.
const PICTURES: &str = "/v/t61.24694-24/";
/// Seconds that clients offer for the timer of new chats.
const TIMERS: [u64; 4] = [0, 86_400, 604_800, 7_776_000];

/// A picture of a person.
#[derive(Debug, Clone)]
pub struct Picture {
    /// WhatsApp counts them by the time.
    pub id: u64,
    /// A JPEG.
    pub bytes: Vec<u8>,
}

impl Picture {
    /// The path of its file. It cannot be guessed, and is another one for the small form.
    fn path(&self, number: &str, small: bool) -> String {
        let size = if small { "s96x96" } else { "n" };
        format!("{PICTURES}{}_{}_{size}.jpg", self.id, number)
    }
}

/// The profile that a business shows.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Business {
    #[serde(default)]
    pub description: String,
    pub email: Option<String>,
    #[serde(default)]
    pub websites: Vec<String>,
    pub address: Option<String>,
    pub category: Option<String>,
}

impl Service {
    /// The picture of a person, as `from` may see it.
    pub(super) fn picture(&self, from: &DeviceAddr, iq: &Node) -> Node {
        let target = jid_attr(iq, "target");
        let number = target.and_then(|jid| self.number_of_jid(&jid));
        let asked = iq.get_optional_child("picture");
        let small = asked.and_then(|it| attr(it, "type")).as_deref() != Some("image");
        let known = asked.and_then(|it| num_attr(it, "id"));
        let Some(number) = number else {
            return node::error(iq, 404, "item-not-found");
        };
        if !self.shows(&number, &from.number, "profile") {
            return node::error(iq, 401, "not-authorized");
        }
        let picture = self
            .accounts
            .get(&number)
            .and_then(|it| it.picture.as_ref());
        let Some(picture) = picture else {
            return node::error(iq, 404, "item-not-found");
        };
        if known == Some(picture.id) {
            return node::result(iq).build();
        }
        let path = picture.path(&number, small);
        let kind = if small { "preview" } else { "image" };
        let shown = NodeBuilder::new("picture")
            .attr("id", picture.id)
            .attr("type", kind)
            .attr("url", format!("https://{}{path}", self.media().host()))
            .attr("direct_path", path)
            .build();
        node::result(iq).children([shown]).build()
    }

    /// Sets or, without `<picture>`, removes the own picture.
    pub(super) fn set_picture(&mut self, from: &DeviceAddr, iq: &Node) -> Node {
        if jid_attr(iq, "target").is_some_and(|jid| jid.is_group()) {
            return node::error(iq, 501, "feature-not-implemented");
        }
        let bytes = iq.get_optional_child("picture").map(node::bytes);
        let set = match bytes {
            None => None,
            Some(Some(bytes)) if is_jpeg(bytes) && bytes.len() <= MAX_PICTURE => {
                Some(bytes.to_vec())
            }
            Some(_) => return node::error(iq, 406, "not-acceptable"),
        };
        match self.show_picture(&from.number, set) {
            Some(id) => {
                let picture = NodeBuilder::new("picture").attr("id", id).build();
                node::result(iq).children([picture]).build()
            }
            None => node::result(iq).build(),
        }
    }

    /// A person's picture changes, also on the phone: its id. All who know the person are notified.
    pub fn show_picture(&mut self, number: &str, bytes: Option<Vec<u8>>) -> Option<u64> {
        let account = self.accounts.get_mut(number)?;
        // Later ones have larger ids, also within a second.
        let last = account.pictures;
        let id = now_secs().max(last + 1);
        account.pictures = id;
        account.picture = bytes.map(|bytes| Picture { id, bytes });
        let set = account.picture.is_some();
        let jid = self.user_jid(number, self.shown_form(number));
        let tag = if set { "set" } else { "delete" };
        let mut change = NodeBuilder::new(tag)
            .attr("jid", jid.clone())
            .attr("author", jid);
        if set {
            change = change.attr("id", id);
        }
        self.spread("picture", number, "profile", &change.build());
        set.then_some(id)
    }

    /// The file of a picture.
    pub fn picture_file(&self, path: &str) -> Option<Vec<u8>> {
        let (_, rest) = path.strip_prefix(PICTURES)?.split_once('_')?;
        let (number, _) = rest.split_once('_')?;
        let picture = self.accounts.get(number)?.picture.as_ref()?;
        let paths = [picture.path(number, false), picture.path(number, true)];
        paths
            .iter()
            .any(|it| it == path)
            .then(|| picture.bytes.clone())
    }

    /// Whether a path is that of a picture, or was.
    pub fn is_picture(path: &str) -> bool {
        path.starts_with(PICTURES)
    }

    pub(super) fn set_about(&mut self, from: &DeviceAddr, iq: &Node) -> Node {
        let text = iq
            .get_optional_child("status")
            .and_then(Node::content_as_string)
            .unwrap_or_default();
        if text.len() > MAX_ABOUT {
            return node::error(iq, 400, "bad-request");
        }
        self.show_about(&from.number, &text);
        node::result(iq).build()
    }

    /// A person's about text changes, also on the phone. All who know the person are notified.
    pub fn show_about(&mut self, number: &str, text: &str) {
        if let Some(account) = self.accounts.get_mut(number) {
            text.clone_into(&mut account.about);
        }
        let set = NodeBuilder::new("set").string_content(text).build();
        self.spread("status", number, "status", &set);
    }

    /// A person is a business from now on.
    pub fn show_business(&mut self, number: &str, business: Business) {
        if let Some(account) = self.accounts.get_mut(number) {
            account.business = Some(business);
        }
    }

    pub(super) fn business_profile(&self, iq: &Node) -> Node {
        let asked = iq.get_optional_child_by_tag(&["business_profile", "profile"]);
        let jid = asked.and_then(|it| jid_attr(it, "jid"));
        let number = jid.as_ref().and_then(|jid| self.number_of_jid(jid));
        let business = number
            .and_then(|number| self.accounts.get(&number))
            .and_then(|account| account.business.as_ref());
        let mut all = NodeBuilder::new("business_profile").attr("v", 244);
        if let (Some(jid), Some(business)) = (jid, business) {
            all = all.children([business.node(jid)]);
        }
        node::result(iq).children([all.build()]).build()
    }

    /// The timer of chats that the account begins.
    pub(super) fn set_default_timer(&mut self, from: &DeviceAddr, iq: &Node) -> Node {
        let asked = iq.get_optional_child("disappearing_mode");
        let seconds = asked.and_then(|it| num_attr(it, "duration"));
        let (Some(seconds), Some(account)) = (seconds, self.accounts.get_mut(&from.number)) else {
            return node::error(iq, 400, "bad-request");
        };
        if !TIMERS.contains(&seconds) {
            return node::error(iq, 400, "bad-request");
        }
        account.default_timer = (seconds, now_secs());
        node::result(iq).build()
    }

    /// Whether a person shows `watcher` what a privacy setting is about; nothing to those that the person has blocked.
    pub(in crate::service) fn shows(&self, number: &str, watcher: &str, category: &str) -> bool {
        if number == watcher {
            return true;
        }
        let Some(account) = self.accounts.get(number) else {
            return false;
        };
        if account.blocked.contains(watcher) {
            return false;
        }
        match account.privacy.get(category).map(String::as_str) {
            Some("none") => false,
            // The service knows no address books: people who have written to each other are contacts.
            Some("contacts") => account.chats_with.contains(watcher),
            _ => true,
        }
    }

    /// The form in which others see a person.
    fn shown_form(&self, number: &str) -> Form {
        match self.hides_number(number) {
            true => Form::Lid,
            false => Form::Pn,
        }
    }

    /// Notifies those who know a person, as far as they are shown it, and the person's own devices.
    fn spread(&mut self, kind: &'static str, number: &str, category: &str, child: &Node) {
        let Some(account) = self.accounts.get(number) else {
            return;
        };
        let mut others = account.known_by.clone();
        others.extend(account.chats_with.iter().cloned());
        others.insert(number.to_owned());
        let from = self.user_jid(number, self.shown_form(number));
        for other in others {
            if !self.shows(number, &other, category) {
                continue;
            }
            let notification = self
                .notification(kind, number)
                .attr("from", from.clone())
                .children([child.clone()])
                .build();
            self.notify_account(&other, &notification);
        }
    }
}

impl Business {
    fn node(&self, jid: Jid) -> Node {
        let text =
            |tag: &'static str, text: &str| NodeBuilder::new(tag).string_content(text).build();
        let mut children = vec![text("description", &self.description)];
        children.extend(self.email.as_deref().map(|it| text("email", it)));
        children.extend(self.address.as_deref().map(|it| text("address", it)));
        children.extend(self.websites.iter().map(|it| text("website", it)));
        children.extend(self.category.as_deref().map(|name| {
            let category = NodeBuilder::new("category")
                .attr("id", "1")
                .string_content(name);
            NodeBuilder::new("categories")
                .children([category.build()])
                .build()
        }));
        NodeBuilder::new("profile")
            .attr("jid", jid)
            .children(children)
            .build()
    }
}

fn is_jpeg(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0xff, 0xd8, 0xff]) && bytes.ends_with(&[0xff, 0xd9])
}
