//! Usernames: one for a person at most, unique, taken and given up at will. They stand beside the LID on
//! what the server delivers, and `usync` finds the LID by them (WhatsApp Web's `WAWebQueryExistsJob`).

use wacore_binary::Node;
use wacore_binary::builder::NodeBuilder;

use super::node::{attr, server};
use super::people::PeopleError;
use super::{Form, Service, now_secs};

/// A username, and the key for a first message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Username {
    /// As it was taken; the same in capitals and small letters.
    pub name: String,
    /// The username key, if one is asked for.
    pub key: Option<String>,
}

impl Service {
    /// Gives a person a username, or removes it if it is empty; contacts are notified.
    ///
    /// # Errors
    /// [`PeopleError::Unknown`], [`PeopleError::BadUsername`], [`PeopleError::UsernameTaken`].
    pub fn set_username(
        &mut self,
        number: &str,
        name: &str,
        key: Option<&str>,
    ) -> Result<(), PeopleError> {
        let is_name = (3..=35).contains(&name.len())
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.'));
        if !name.is_empty() && !is_name {
            return Err(PeopleError::BadUsername(name.to_owned()));
        }
        if self.with_username(name).is_some_and(|held| held != number) {
            return Err(PeopleError::UsernameTaken(name.to_owned()));
        }
        let account = self
            .accounts
            .get_mut(number)
            .ok_or_else(|| PeopleError::Unknown(number.to_owned()))?;
        let before = account.username.take();
        account.username = (!name.is_empty()).then(|| Username {
            name: name.to_owned(),
            key: key.map(str::to_owned),
        });
        let known_by: Vec<String> = account.known_by.iter().cloned().collect();
        if before.map(|before| before.name).unwrap_or_default() != name {
            self.announce_username(number, name, &known_by);
        }
        Ok(())
    }

    /// The number of the owner of a username.
    fn with_username(&self, name: &str) -> Option<String> {
        let mut accounts = self.accounts.iter();
        let found = accounts.find(|(_, account)| {
            let has = account.username.as_ref();
            has.is_some_and(|has| has.name.eq_ignore_ascii_case(name))
        });
        found.map(|(number, _)| number.clone())
    }

    /// A number's username.
    pub(super) fn username(&self, number: &str) -> Option<&str> {
        let username = self.accounts.get(number)?.username.as_ref()?;
        Some(&username.name)
    }

    /// `<user>` of a `usync` answer to one that named a username; `None` if it named none.
    pub(super) fn usync_by_username(&mut self, by: &str, user: &Node) -> Option<Node> {
        let asked = user.get_optional_child("contact")?;
        let name = attr(asked, "username")?;
        let contact = |kind: &'static str, name: &str| {
            NodeBuilder::new("contact")
                .attr("type", kind)
                .attr("username", name)
                .build()
        };
        let Some(number) = self.with_username(&name) else {
            let out = contact("out", &name);
            return Some(NodeBuilder::new("user").children([out]).build());
        };
        let hidden = number != by && self.hides_number(&number);
        let account = self.accounts.get_mut(&number)?;
        let username = account.username.clone()?;
        // A key is asked of strangers.
        let is_known = account.known_by.contains(by);
        if !is_known && username.key.is_some() && username.key != attr(asked, "pin") {
            let known = contact("in", &username.name);
            return Some(NodeBuilder::new("user").children([known]).build());
        }
        account.known_by.insert(by.to_owned());
        let mut found = NodeBuilder::new("user").attr("jid", self.user_jid(&number, Form::Lid));
        if !hidden {
            found = found.attr("pn_jid", self.user_jid(&number, Form::Pn));
        }
        Some(found.children([contact("in", &username.name)]).build())
    }

    /// `UsernameSetNotification`, `UsernameDeleteNotification`: JSON in a `mex` notification.
    fn announce_username(&mut self, number: &str, name: &str, known_by: &[String]) {
        let lid = self.user_jid(number, Form::Lid).to_string();
        let (operation, data) = match name {
            "" => (
                "UsernameDeleteNotification",
                serde_json::json!({"xwa2_notify_username_delete": {"lid": lid}}),
            ),
            name => (
                "UsernameSetNotification",
                serde_json::json!({"xwa2_notify_username_on_change": {"lid": lid, "username": name}}),
            ),
        };
        let body = serde_json::json!({"data": data}).to_string();
        for other in known_by.iter().filter(|other| *other != number) {
            let update = NodeBuilder::new("update")
                .attr("op_name", operation)
                .bytes(body.clone().into_bytes())
                .build();
            let node = NodeBuilder::new("notification")
                .attr("from", server())
                .attr("type", "mex")
                .attr("id", self.next_id())
                .attr("t", now_secs())
                .children([update])
                .build();
            self.notify_account(other, &node);
        }
    }
}
