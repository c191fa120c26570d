//! Lines of a chat that say what happened to its group. They come as notifications of WhatsApp's, not as messages.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What happened to a group; the same as in the event that reports it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(rename_all = "camelCase")]
pub struct System {
    /// the event, such as `group.members`
    pub event: String,
    /// what happened, in one word
    pub action: String,
    /// the JIDs of the people whom it concerns
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<String>,
}

/// What a line has to say, with the names of people.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    pub action: &'a str,
    /// The person who did it; `None` if that is not known.
    pub by: Option<&'a str>,
    /// The account itself did it.
    pub by_me: bool,
    /// The people whom it concerns.
    pub members: &'a [String],
    /// The property that changed, and its new value.
    pub change: Option<(&'a str, &'a Value)>,
}

/// People whom a line names; of more it gives the number.
const NAMED: usize = 5;

impl Line<'_> {
    /// The line as a sentence.
    pub fn words(&self) -> String {
        let by = match self.by {
            _ if self.by_me => "You",
            Some(by) => by,
            None => "An unknown member",
        };
        let people = self.people();
        match (self.action, self.change) {
            ("created", _) => format!("{by} created the group"),
            ("added", _) => format!("{by} added you"),
            ("joined", _) => "You joined the group".to_owned(),
            ("left", _) => "You left the group".to_owned(),
            ("removed", _) => format!("{by} removed you"),
            ("ended", _) => "The group was ended".to_owned(),
            ("add", _) if self.is_own_act() => format!("{by} joined"),
            ("add", _) => format!("{by} added {people}"),
            ("remove", _) if self.is_own_act() => format!("{by} left"),
            ("remove", _) => format!("{by} removed {people}"),
            ("promote", _) => format!("{by} made {people} admin"),
            ("demote", _) => format!("{by} dismissed {people} as admin"),
            ("changed_number", _) => format!("{people} changed the phone number"),
            ("requested", _) => format!("{people} asked to join"),
            ("withdrawn", _) => format!("{people} asked to join, which ended"),
            (_, Some((name, value))) => changed(by, name, value),
            (action, None) => format!("{by}: {action}"),
        }
    }

    /// Whether the one person whom it concerns did it.
    fn is_own_act(&self) -> bool {
        matches!(self.members, [one] if self.by == Some(one))
    }

    fn people(&self) -> String {
        let more = self.members.len().saturating_sub(NAMED);
        let named = self.members[..self.members.len() - more].join(", ");
        match more {
            0 => named,
            more => format!("{named} and {more} more"),
        }
    }
}

fn changed(by: &str, name: &str, value: &Value) -> String {
    let on = value == &Value::Bool(true);
    let who = if on { "only admins" } else { "all members" };
    let turned = if on { "on" } else { "off" };
    match (name, value) {
        ("subject", Value::String(subject)) => format!("{by} changed the subject to \"{subject}\""),
        ("description", Value::Null) => format!("{by} removed the description"),
        ("description", _) => format!("{by} changed the description"),
        ("announcement", _) => format!("{by} lets {who} send messages"),
        ("locked", _) => format!("{by} lets {who} edit the group's info"),
        ("joinApproval", _) => format!("{by} turned approval of new members {turned}"),
        ("memberAddMode", Value::String(mode)) => match mode == "admin_add" {
            true => format!("{by} lets only admins add members"),
            false => format!("{by} lets all members add members"),
        },
        ("ephemeral", Value::Number(seconds)) if seconds.as_u64() != Some(0) => {
            format!("{by} set messages to disappear after {seconds} seconds")
        }
        ("ephemeral", _) => format!("{by} turned disappearing messages off"),
        ("inviteLink", _) => format!("{by} reset the invite link"),
        ("community", Value::Null) => format!("{by} took the group out of its community"),
        ("community", _) => format!("{by} added the group to a community"),
        ("picture", Value::Null) => format!("{by} removed the group's picture"),
        ("picture", _) => format!("{by} changed the group's picture"),
        (name, _) => format!("{by} changed {name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lines_are_sentences() {
        let say = |action, by: Option<&str>, members: &[&str], change: Option<(&str, Value)>| {
            let members: Vec<String> = members.iter().map(|&m| m.to_owned()).collect();
            let line = Line {
                action,
                by,
                by_me: by == Some("me"),
                members: &members,
                change: change.as_ref().map(|(name, value)| (*name, value)),
            };
            line.words()
        };
        let bob = Some("Bob");
        assert_eq!(say("add", bob, &["Zoe", "Ann"], None), "Bob added Zoe, Ann");
        assert_eq!(say("add", bob, &["Bob"], None), "Bob joined");
        assert_eq!(say("remove", bob, &["Bob"], None), "Bob left");
        assert_eq!(say("removed", bob, &[], None), "Bob removed you");
        assert_eq!(
            say("created", Some("me"), &[], None),
            "You created the group"
        );
        let many = ["a", "b", "c", "d", "e", "f", "g"];
        let words = "An unknown member made a, b, c, d, e and 2 more admin";
        assert_eq!(say("promote", None, &many, None), words);
        let changed = |name, value| say("updated", bob, &[], Some((name, value)));
        assert_eq!(
            changed("subject", json!("Us")),
            "Bob changed the subject to \"Us\""
        );
        assert_eq!(
            changed("locked", json!(true)),
            "Bob lets only admins edit the group's info"
        );
        let words = "Bob set messages to disappear after 86400 seconds";
        assert_eq!(changed("ephemeral", json!(86_400)), words);
    }
}
