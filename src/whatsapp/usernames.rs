//! Usernames: read off stanzas, and looked up at WhatsApp.
//!
//! The client hands on no username of a message. They stand on the stanzas (whatsmeow #1192, whatsapp-rust
//! #1381): `username` of who writes in a chat of two, `participant_username` in a group,
//! `peer_recipient_username` on what the account's own phone wrote. They are read off each stanza before
//! the client looks at it, and stored in the transaction that stores the message. Answers about people and
//! groups, and notifications, have them, too.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::Value;
use whatsapp_rust::Client;
use whatsapp_rust::types::events::MexNotification;
use whatsapp_rust::types::message::MessageInfo;
use whatsapp_rust::usync::{
    UsyncAddressingMode, UsyncContext, UsyncMode, UsyncOutcome, UsyncProtocol, UsyncProtocolKind,
    UsyncProtocolResult, UsyncQuery, UsyncResponse, UsyncUser,
};
use whatsapp_rust::wacore_binary::NodeRef;

use super::convert;
use crate::jid::{ChatJid, Server};
use crate::sync::{locked, within};

/// What may wait for its message. More is forgotten, the oldest first: the next message says it again.
const WAITING: usize = 512;
/// People that one notification says something of.
const PEOPLE: usize = 1_024;
/// How long WhatsApp may take to look a username up.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(8);

/// A person's JID without a device, and the username; `None` for one that has none any more.
pub type Said = (String, Option<String>);

/// What stanzas of messages said, until the message is stored.
#[derive(Debug, Clone, Default)]
pub struct Heard(Arc<Mutex<VecDeque<Said>>>);

impl Heard {
    pub fn note(&self, said: Said) {
        let mut waiting = self.lock();
        waiting.retain(|(jid, _)| *jid != said.0);
        if waiting.len() >= WAITING {
            waiting.pop_front();
        }
        waiting.push_back(said);
    }

    /// Takes what was said of the people of a message.
    pub fn take(&self, info: &MessageInfo) -> Vec<Said> {
        let of = [&info.source.chat, &info.source.sender].map(convert::bare);
        let mut waiting = self.lock();
        let mut found = Vec::new();
        waiting.retain(|said| {
            let is_of = of.contains(&said.0);
            if is_of {
                found.push(said.clone());
            }
            !is_of
        });
        found
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Said>> {
        locked(&self.0)
    }
}

/// What a stanza says of its people.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct OnStanza {
    /// Of the people of a message, to be stored with it.
    pub of_message: Vec<Said>,
    /// Of other people.
    pub of_others: Vec<Said>,
}

/// Reads what a stanza that came in says of usernames.
pub fn on_stanza(node: &NodeRef<'_>) -> OnStanza {
    let mut found = OnStanza::default();
    match node.tag.as_ref() {
        "message" => found.of_message = on_message(node),
        "notification" | "receipt" => {
            found
                .of_others
                .extend(named(node, "participant", "participant_username"));
            for list in children(node) {
                on_people(list, &mut found.of_others);
            }
        }
        // What was asked for: people, or the members of a group.
        "iq" => {
            for answer in children(node) {
                on_people(answer, &mut found.of_others);
                for list in children(answer).filter(|list| list.tag == "list") {
                    on_people(list, &mut found.of_others);
                }
            }
        }
        _ => {}
    }
    found
}

fn children<'a, 'b>(node: &'b NodeRef<'a>) -> impl Iterator<Item = &'b NodeRef<'a>> {
    node.children().into_iter().flatten()
}

/// The people that are listed in a node.
fn on_people(list: &NodeRef<'_>, found: &mut Vec<Said>) {
    for entry in children(list).take(PEOPLE) {
        let said = named(entry, "jid", "username")
            .or_else(|| named(entry, "jid", "participant_username"))
            .or_else(|| {
                // Of `usync`.
                let contact = entry.get_optional_child("contact")?;
                let name = text(contact, "username")?;
                Some((person(entry, "jid")?, Some(name)))
            });
        found.extend(said);
    }
}

fn named(node: &NodeRef<'_>, jid: &str, name: &str) -> Option<Said> {
    // Few have a username: the JID is read for those alone.
    let name = text(node, name)?;
    Some((person(node, jid)?, Some(name)))
}

fn on_message(node: &NodeRef<'_>) -> Vec<Said> {
    if node.get_attr("participant").is_some() {
        let said = person(node, "participant").zip(text(node, "participant_username"));
        return said
            .map(|(jid, name)| (jid, Some(name)))
            .into_iter()
            .collect();
    }
    if node.get_attr("recipient").is_some() {
        // The account's own phone wrote it.
        let name =
            text(node, "peer_recipient_username").or_else(|| text(node, "recipient_username"));
        let said = person(node, "recipient").zip(name);
        return said
            .map(|(jid, name)| (jid, Some(name)))
            .into_iter()
            .collect();
    }
    let Some(from) = person(node, "from") else {
        return Vec::new();
    };
    match text(node, "username") {
        Some(name) => vec![(from, Some(name))],
        // WhatsApp Web takes it so, too: who shows the number and is given no username has none.
        None if from.ends_with("@lid") && node.get_attr("sender_pn").is_some() => {
            vec![(from, None)]
        }
        None => Vec::new(),
    }
}

fn text(node: &NodeRef<'_>, attribute: &str) -> Option<String> {
    let text = node.get_attr(attribute)?.as_str().into_owned();
    (!text.is_empty()).then_some(text)
}

/// A person's JID without a device.
pub(super) fn person(node: &NodeRef<'_>, attribute: &str) -> Option<String> {
    let jid = ChatJid::parse(&text(node, attribute)?).ok()?;
    jid.is_person().then(|| jid.to_string())
}

/// What WhatsApp's server says when someone takes, changes or gives up a username.
pub fn of_notification(notification: &MexNotification) -> Option<Said> {
    let (field, is_gone) = match notification.op_name.as_str() {
        "UsernameSetNotification" => ("xwa2_notify_username_on_change", false),
        "UsernameDeleteNotification" => ("xwa2_notify_username_delete", true),
        _ => return None,
    };
    let payload = &notification.payload;
    let said = payload.get("data").unwrap_or(payload).get(field)?;
    let of = |name: &str| said.get(name).and_then(Value::as_str);
    let jid = ChatJid::parse(of("lid")?).ok()?;
    let name = of("username").filter(|name| !name.is_empty());
    match (is_gone, name) {
        (true, _) => Some((jid.to_string(), None)),
        (false, Some(name)) => Some((jid.to_string(), Some(name.to_owned()))),
        (false, None) => None,
    }
}

/// WhatsApp's answer about a username.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameHolder {
    /// No account's.
    Absent,
    /// It has a username key, and the request gave none or a wrong one.
    KeyNeeded,
    Found {
        jid: ChatJid,
        /// The phone number, if WhatsApp names it.
        number: Option<ChatJid>,
    },
}

/// Asks WhatsApp which account has a username, as WhatsApp Web does; `None` without an answer.
pub async fn find(client: &Client, name: &str, key: Option<&str>) -> Option<NameHolder> {
    let mut user = UsyncUser::from_username(name);
    if let Some(key) = key {
        user = user.with_username_pin(key);
    }
    let protocols = vec![
        UsyncProtocol::Contact {
            addressing_mode: UsyncAddressingMode::Lid,
        },
        UsyncProtocol::BusinessVerifiedName,
    ];
    let query = UsyncQuery::new(
        UsyncMode::Query,
        UsyncContext::Interactive,
        protocols,
        vec![user],
    );
    let query = query.ok()?;
    match within(LOOKUP_TIMEOUT, client.query_usync(query)).await {
        Some(Ok(answer)) => return holder(&answer),
        Some(Err(error)) => log::debug!("the account of a username is not known: {error}"),
        None => log::debug!("the account of a username is not known: no answer in time"),
    }
    None
}

fn holder(answer: &UsyncResponse) -> Option<NameHolder> {
    let refused = answer
        .protocol_state(UsyncProtocolKind::Contact)
        .and_then(|state| state.error.as_ref());
    if let Some(error) = refused {
        log::debug!("WhatsApp does not look usernames up: {error:?}");
        return None;
    }
    let [user] = answer.users.as_slice() else {
        return Some(NameHolder::Absent);
    };
    let contact = match user.protocol(UsyncProtocolKind::Contact) {
        Some(UsyncProtocolResult::Contact(UsyncOutcome::Value(contact))) => contact,
        _ => return None,
    };
    if contact.contact_type == "out" {
        return Some(NameHolder::Absent);
    }
    let known = |jid: &whatsapp_rust::Jid| ChatJid::parse(&convert::bare(jid)).ok();
    let Some(jid) = &user.id else {
        return Some(NameHolder::KeyNeeded);
    };
    let jid = known(jid).filter(ChatJid::is_person)?;
    let number = user.pn_jid.as_ref().and_then(known);
    Some(NameHolder::Found {
        number: number.filter(|number| number.server() == Server::Person),
        jid,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use whatsapp_rust::NodeBuilder;
    use whatsapp_rust::wacore_binary::Node;

    fn said(node: &Node) -> OnStanza {
        on_stanza(&node.as_node_ref())
    }

    fn name(jid: &str, name: &str) -> Said {
        (jid.to_owned(), Some(name.to_owned()))
    }

    fn message() -> NodeBuilder {
        NodeBuilder::new("message").attr("id", "1")
    }

    #[test]
    fn messages_say_the_username_of_who_wrote_or_was_written_to() {
        let direct = message().attr("from", "955:3@lid").attr("username", "bob");
        assert_eq!(said(&direct.build()).of_message, [name("955@lid", "bob")]);
        let group = message()
            .attr("from", "120363@g.us")
            .attr("participant", "955:3@lid")
            .attr("participant_username", "bob");
        assert_eq!(said(&group.build()).of_message, [name("955@lid", "bob")]);
        let own = message()
            .attr("from", "1:2@lid")
            .attr("recipient", "955@lid")
            .attr("peer_recipient_username", "bob");
        assert_eq!(said(&own.build()).of_message, [name("955@lid", "bob")]);
    }

    #[test]
    fn who_shows_the_number_and_no_username_has_none() {
        let shown = message()
            .attr("from", "955@lid")
            .attr("sender_pn", "49170@s.whatsapp.net");
        assert_eq!(
            said(&shown.build()).of_message,
            [("955@lid".to_owned(), None)]
        );
        for silent in [
            message().attr("from", "955@lid"),
            message().attr("from", "49170@s.whatsapp.net"),
            message()
                .attr("from", "120363@g.us")
                .attr("username", "bob"),
            message()
                .attr("from", "120363@g.us")
                .attr("participant", "955@lid"),
        ] {
            assert_eq!(said(&silent.build()), OnStanza::default());
        }
    }

    #[test]
    fn notifications_and_receipts_of_groups_say_usernames() {
        let entry = NodeBuilder::new("participant")
            .attr("jid", "956@lid")
            .attr("username", "zoe")
            .build();
        let added = NodeBuilder::new("notification")
            .attr("from", "120363@g.us")
            .attr("participant", "955@lid")
            .attr("participant_username", "bob")
            .children([NodeBuilder::new("add").children([entry]).build()])
            .build();
        assert_eq!(
            said(&added).of_others,
            [name("955@lid", "bob"), name("956@lid", "zoe")]
        );
    }

    #[test]
    fn answers_about_people_say_usernames() {
        let user = |contact: NodeBuilder| {
            NodeBuilder::new("user")
                .attr("jid", "955@lid")
                .children([contact.build()])
                .build()
        };
        let list = NodeBuilder::new("list").children([
            user(NodeBuilder::new("contact").attr("username", "bob")),
            user(NodeBuilder::new("contact")),
        ]);
        let usync = NodeBuilder::new("usync").children([list.build()]).build();
        let asked = NodeBuilder::new("iq").children([usync]).build();
        assert_eq!(said(&asked).of_others, [name("955@lid", "bob")]);
        let member = NodeBuilder::new("participant")
            .attr("jid", "956@lid")
            .attr("username", "zoe")
            .build();
        let group = NodeBuilder::new("group").children([member]).build();
        let asked = NodeBuilder::new("iq").children([group]).build();
        assert_eq!(said(&asked).of_others, [name("956@lid", "zoe")]);
    }

    #[test]
    fn what_is_heard_waits_for_its_message_and_no_longer_than_there_is_room() {
        let heard = Heard::default();
        heard.note(name("955@lid", "bob"));
        heard.note(name("955@lid", "robert"));
        let mut info = MessageInfo::default();
        info.source.chat = "120363@g.us".parse().unwrap();
        info.source.sender = "955:3@lid".parse().unwrap();
        assert_eq!(heard.take(&info), [name("955@lid", "robert")]);
        assert_eq!(heard.take(&info), []);
        heard.note(name("955@lid", "bob"));
        for n in 0..WAITING {
            heard.note((format!("{n}@lid"), None));
        }
        assert_eq!(heard.take(&info), [], "forgotten");
        assert_eq!(heard.lock().len(), WAITING);
    }

    #[test]
    fn the_server_says_who_takes_and_gives_up_a_username() {
        let told = |op: &str, payload: Value| {
            let builder = MexNotification::builder().op_name(op.to_owned());
            of_notification(&builder.payload(payload).build())
        };
        let taken = serde_json::json!({"data": {"xwa2_notify_username_on_change":
            {"lid": "955@lid", "username": "bob"}}});
        assert_eq!(
            told("UsernameSetNotification", taken.clone()),
            Some(name("955@lid", "bob"))
        );
        assert_eq!(
            told("UsernameSetNotification", taken["data"].clone()),
            Some(name("955@lid", "bob"))
        );
        let given_up =
            serde_json::json!({"data": {"xwa2_notify_username_delete": {"lid": "955@lid"}}});
        assert_eq!(
            told("UsernameDeleteNotification", given_up.clone()),
            Some(("955@lid".to_owned(), None))
        );
        assert_eq!(told("UsernameSetNotification", given_up.clone()), None);
        assert_eq!(told("LidChangeNotification", given_up), None);
    }
}
