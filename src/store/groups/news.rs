//! What happens to a group, and what that makes of its rows. Pure.

use serde_json::{Value, json};

use super::{Group, MOST_MEMBERS, Member, MemberAddMode, Role, Snapshot};
use crate::clock::Millis;

/// What one notification of WhatsApp's says of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupNews {
    /// The group's JID.
    pub group: String,
    /// The notification's id.
    pub id: String,
    /// When it happened, Unix milliseconds.
    pub at: Millis,
    /// The person who did it, if that is said.
    pub by: Option<Member>,
    pub acts: Vec<Act>,
}

/// One thing that happened to a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// The account is in the group now.
    Joined {
        snapshot: Box<Snapshot>,
        /// It is a new group.
        created: bool,
    },
    Members {
        how: How,
        people: Vec<Member>,
        versions: Option<Versions>,
        /// WhatsApp's word for why, such as `invite` for those who followed a link.
        reason: Option<String>,
    },
    Set(Setting),
    /// People ask to join, or (not `made`) do so no more.
    Requests {
        people: Vec<Member>,
        made: bool,
    },
    /// The group is no more.
    Ended,
}

/// How the list of members changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    Add,
    Remove,
    Promote,
    Demote,
    /// They have another phone number or JID; which one they had is not said.
    Renumbered,
}

impl How {
    /// The word in the event.
    pub fn name(self) -> &'static str {
        match self {
            How::Add => "add",
            How::Remove => "remove",
            How::Promote => "promote",
            How::Demote => "demote",
            How::Renumbered => "changed_number",
        }
    }
}

/// WhatsApp's versions of the list of members, before and after a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Versions {
    pub before: Option<u64>,
    pub after: u64,
}

/// A property of a group, with its new value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Setting {
    Subject(String),
    /// Its id, and the text if there is one.
    Description(String, Option<String>),
    Announcement(bool),
    Locked(bool),
    JoinApproval(bool),
    MemberAddMode(MemberAddMode),
    /// Seconds; 0: messages stay.
    Ephemeral(u32),
    /// The code of the new invite link, if it is said: the one before works no more.
    Invite(Option<String>),
    /// The community that the group is part of.
    Community(Option<String>),
}

impl Setting {
    /// Its name and value in the event.
    pub fn shown(&self) -> (&'static str, Value) {
        match self {
            Setting::Subject(subject) => ("subject", json!(subject)),
            Setting::Description(_, text) => ("description", json!(text)),
            Setting::Announcement(on) => ("announcement", json!(on)),
            Setting::Locked(on) => ("locked", json!(on)),
            Setting::JoinApproval(on) => ("joinApproval", json!(on)),
            Setting::MemberAddMode(mode) => ("memberAddMode", json!(mode)),
            Setting::Ephemeral(seconds) => ("ephemeral", json!(seconds)),
            Setting::Invite(code) => ("inviteLink", json!(code.as_ref().map(|code| link(code)))),
            Setting::Community(parent) => ("community", json!(parent)),
        }
    }

    /// Changes a group so.
    pub fn apply(&self, group: &mut Group) {
        match self {
            Setting::Subject(subject) => group.subject.clone_from(subject),
            Setting::Description(id, text) => {
                group.description.clone_from(text);
                group.description_id = text.is_some().then(|| id.clone());
            }
            Setting::Announcement(on) => group.announcement = *on,
            Setting::Locked(on) => group.locked = *on,
            Setting::JoinApproval(on) => group.join_approval = *on,
            Setting::MemberAddMode(mode) => group.member_add_mode = *mode,
            Setting::Ephemeral(seconds) => group.ephemeral = *seconds,
            Setting::Invite(code) => group.invite.clone_from(code),
            Setting::Community(parent) => group.community.clone_from(parent),
        }
        group.cut();
    }
}

/// The invite link of a code.
pub fn link(code: &str) -> String {
    format!("https://chat.whatsapp.com/{code}")
}

/// Changes the list of a group's members. A change that the list has already is left out; where one before it is missing,
/// the list is not known any more.
pub fn apply(
    group: &mut Group,
    members: &mut Option<Vec<Member>>,
    how: How,
    people: &[Member],
    versions: Option<Versions>,
) {
    let lists = matches!(how, How::Add | How::Remove);
    let mut missed = how == How::Renumbered;
    if let (Some(stored), Some(versions)) = (group.version, versions) {
        if versions.after <= stored {
            return;
        }
        let follows = versions.before.is_none_or(|before| before <= stored);
        match follows {
            true => group.version = Some(versions.after),
            // Whether a change of roles counts in the same versions is WhatsApp's: only the list itself has to follow.
            false => missed |= lists,
        }
    }
    if missed {
        *members = None;
        group.version = None;
    }
    let Some(list) = members else {
        let count = u32::try_from(people.len()).unwrap_or(u32::MAX);
        match how {
            How::Add => group.size = group.size.saturating_add(count),
            How::Remove => group.size = group.size.saturating_sub(count),
            How::Promote | How::Demote | How::Renumbered => {}
        }
        return;
    };
    match how {
        How::Add => {
            for person in people {
                let full = list.len() >= MOST_MEMBERS;
                match list.iter_mut().find(|member| member.is(person)) {
                    Some(member) => {
                        member.lid = member.lid.or(person.lid);
                        member.number = member.number.or(person.number);
                    }
                    None if full => {}
                    None => list.push(*person),
                }
            }
        }
        How::Remove => list.retain(|member| !people.iter().any(|person| person.is(member))),
        How::Promote | How::Demote => {
            let role = match how {
                How::Promote => Role::Admin,
                _ => Role::Member,
            };
            let named = |member: &&mut Member| people.iter().any(|person| person.is(member));
            for member in list.iter_mut().filter(named) {
                member.role = match (member.role, role) {
                    (Role::Owner, Role::Admin) => Role::Owner,
                    _ => role,
                };
            }
        }
        How::Renumbered => {}
    }
    group.size = u32::try_from(list.len()).unwrap_or(u32::MAX);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person(n: u64) -> Member {
        Member {
            lid: Some(n),
            number: Some(1_000 + n),
            role: Role::Member,
        }
    }

    fn versions(before: u64, after: u64) -> Option<Versions> {
        Some(Versions {
            before: Some(before),
            after,
        })
    }

    #[test]
    fn members_follow_the_changes_and_are_unknown_after_a_gap() {
        let mut group = Group {
            version: Some(1),
            size: 2,
            ..Group::default()
        };
        let mut members = Some(vec![person(1), person(2)]);
        let mut change = |group: &mut Group, how, who: u64, versions| {
            apply(group, &mut members, how, &[person(who)], versions);
            let list = members.clone();
            list.map(|list| {
                list.iter()
                    .map(|m| (m.lid.unwrap_or(0), m.role))
                    .collect::<Vec<_>>()
            })
        };
        let (member, admin) = (Role::Member, Role::Admin);
        let list = change(&mut group, How::Add, 3, versions(1, 2));
        assert_eq!(list, Some(vec![(1, member), (2, member), (3, member)]));
        // Again, and from before.
        assert_eq!(change(&mut group, How::Add, 3, versions(1, 2)), list);
        assert_eq!(change(&mut group, How::Remove, 1, versions(0, 1)), list);
        let list = change(&mut group, How::Promote, 1, versions(2, 3));
        assert_eq!(list, Some(vec![(1, admin), (2, member), (3, member)]));
        let list = change(&mut group, How::Remove, 2, versions(3, 4));
        assert_eq!(list, Some(vec![(1, admin), (3, member)]));
        assert_eq!((group.size, group.version), (2, Some(4)));
        // A change in between is missing.
        assert_eq!(change(&mut group, How::Add, 5, versions(7, 8)), None);
        assert_eq!((group.size, group.version), (3, None));
        assert_eq!(change(&mut group, How::Remove, 1, versions(8, 9)), None);
        assert_eq!(group.size, 2);
    }

    #[test]
    fn settings_show_their_name_and_value() {
        let mut group = Group::default();
        for (setting, name, value) in [
            (Setting::Subject("Club".into()), "subject", json!("Club")),
            (
                Setting::Description("A".into(), Some("us".into())),
                "description",
                json!("us"),
            ),
            (
                Setting::MemberAddMode(MemberAddMode::AdminAdd),
                "memberAddMode",
                json!("admin_add"),
            ),
            (Setting::Ephemeral(86_400), "ephemeral", json!(86_400)),
        ] {
            setting.apply(&mut group);
            assert_eq!(setting.shown(), (name, value));
        }
        assert_eq!(group.subject, "Club");
        assert_eq!(group.description_id.as_deref(), Some("A"));
        Setting::Description("B".into(), None).apply(&mut group);
        assert_eq!((group.description, group.description_id), (None, None));
    }
}
