//! Groups: members, subjects, rights. Requests come in by `iq::groups`
//! and the admin endpoints; both go through [`Service::change_group`], so that an admin request is refused
//! where a client's would be.

mod admin;
mod change;
mod community;
mod invite;
mod message;
mod receipt;
mod render;

use std::collections::BTreeMap;

use rand::{Rng as _, RngExt as _};
use wacore_binary::{Jid, JidExt as _, Node};

use super::{Form, Service, now_secs};
use crate::directory::{DeviceAddr, GroupView};

pub use change::{Change, Setting};
pub(super) use invite::Joined;

/// Groups that one simulator holds.
const MAX_GROUPS: usize = 10_000;
/// Members of one group: WhatsApp's limit.
pub(super) const MAX_MEMBERS: usize = 1024;
/// Characters of a subject: WhatsApp's limit.
const MAX_SUBJECT: usize = 100;
/// Characters of a description: WhatsApp's limit.
const MAX_DESCRIPTION: usize = 2048;

/// Why something about a group was refused, as the service says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GroupError {
    /// A field is missing or invalid.
    #[error("bad-request")]
    Malformed,
    /// Only admins get the invitation link.
    #[error("not-authorized")]
    NotAuthorized,
    /// The requester is not a member, or not an admin.
    #[error("forbidden")]
    Forbidden,
    /// There is no such group.
    #[error("item-not-found")]
    NotFound,
    /// A value is too long, or an invitation is not one.
    #[error("not-acceptable")]
    NotAcceptable,
    /// A concurrent change was first.
    #[error("conflict")]
    Conflict,
    /// The invitation was revoked.
    #[error("gone")]
    Gone,
    /// Too many groups or members.
    #[error("resource-limit")]
    Full,
}

impl GroupError {
    /// The `code` of the error stanza.
    pub fn code(self) -> u16 {
        match self {
            GroupError::Malformed => 400,
            GroupError::NotAuthorized => 401,
            GroupError::Forbidden => 403,
            GroupError::NotFound => 404,
            GroupError::NotAcceptable => 406,
            GroupError::Conflict => 409,
            GroupError::Gone => 410,
            GroupError::Full => 419,
        }
    }
}

/// What a member may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Writes.
    Member,
    /// Changes members and properties of the group.
    Admin,
    /// An admin whom no other can remove: the creator.
    Creator,
}

impl Role {
    /// The `type` of `<participant>`; members have none.
    fn as_wire(self) -> Option<&'static str> {
        match self {
            Role::Member => None,
            Role::Admin => Some("admin"),
            Role::Creator => Some("superadmin"),
        }
    }
}

/// Someone in a group.
#[derive(Debug, Clone)]
struct Member {
    number: String,
    role: Role,
}

/// A description, and its author.
#[derive(Debug, Clone)]
struct Description {
    id: String,
    text: String,
    by: String,
    at: u64,
}

/// What a group is to a community.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// Nothing.
    Alone,
    /// The community itself.
    Community,
    /// The group in which the admins of this community write to all.
    Announcements(Jid),
    /// One of its other groups.
    Part(Jid),
}

/// A group.
pub(super) struct Group {
    id: String,
    /// How the group names people.
    form: Form,
    subject: String,
    subject_by: String,
    subject_at: u64,
    created: u64,
    creator: String,
    description: Option<Description>,
    /// In the order in which they came.
    members: Vec<Member>,
    /// Names the list of members; rises with each change of a member.
    members_version: u64,
    /// Names the list of admins.
    admins_version: u64,
    /// Only admins write.
    announcement: bool,
    /// Only admins change subject and description.
    locked: bool,
    /// Seconds after which messages go.
    ephemeral: Option<u32>,
    /// Joining by link requires an admin's approval.
    approval: bool,
    /// Only admins add people.
    admins_add: bool,
    invite: String,
    revoked_invites: Vec<String>,
    /// Requests that wait for an admin.
    requests: Vec<String>,
    /// What it is to a community.
    place: Place,
    /// Those who could not be added, and the codes by which they alone can join.
    invited: Vec<(String, String)>,
}

/// All groups, by the user part of their JID.
pub(super) type Groups = BTreeMap<String, Group>;

impl Group {
    fn role(&self, number: &str) -> Option<Role> {
        self.members
            .iter()
            .find(|member| member.number == number)
            .map(|member| member.role)
    }

    fn is_admin(&self, number: &str) -> bool {
        self.role(number).is_some_and(|role| role >= Role::Admin)
    }

    fn numbers(&self) -> Vec<String> {
        self.members.iter().map(|m| m.number.clone()).collect()
    }

    /// How the group names people.
    pub(super) fn form(&self) -> Form {
        self.form
    }

    fn jid(&self) -> Jid {
        Jid::group(self.id.as_str())
    }
}

impl Service {
    /// Makes a group of `creator` and `members`. Numbers that cannot be members are left out.
    ///
    /// # Errors
    /// [`GroupError::NotAcceptable`] for a subject that is empty or too long, [`GroupError::Full`].
    pub(super) fn create_group(
        &mut self,
        creator: &str,
        subject: &str,
        members: &[String],
        form: Form,
        (key, place): (Option<&str>, Place),
    ) -> Result<Jid, GroupError> {
        check_subject(subject)?;
        if self.groups.len() >= MAX_GROUPS || members.len() >= MAX_MEMBERS {
            return Err(GroupError::Full);
        }
        let id = loop {
            let id = format!(
                "120363{:012}",
                self.rng.random_range(0..1_000_000_000_000u64)
            );
            if !self.groups.contains_key(&id) {
                break id;
            }
        };
        let now = now_secs();
        let mut all = vec![Member {
            number: creator.to_owned(),
            role: Role::Creator,
        }];
        for number in members {
            if all.iter().all(|member| member.number != *number) {
                all.push(Member {
                    number: number.clone(),
                    role: Role::Member,
                });
            }
        }
        let invite = self.new_invite();
        let group = Group {
            id: id.clone(),
            form,
            subject: subject.to_owned(),
            subject_by: creator.to_owned(),
            subject_at: now,
            created: now,
            creator: creator.to_owned(),
            description: None,
            members: all,
            members_version: now * 1_000_000,
            admins_version: now * 1_000_000,
            announcement: false,
            locked: false,
            ephemeral: None,
            approval: false,
            admins_add: false,
            invite,
            revoked_invites: Vec::new(),
            requests: Vec::new(),
            place,
            invited: Vec::new(),
        };
        let jid = group.jid();
        self.groups.insert(id.clone(), group);
        self.announce_group(&id, creator, key);
        Ok(jid)
    }

    /// 8 hex digits, as clients make them up for descriptions.
    pub fn description_id(&mut self) -> String {
        format!("{:08X}", self.rng.next_u32())
    }

    /// 22 characters, as `chat.whatsapp.com` links have them.
    pub(super) fn new_invite(&mut self) -> String {
        const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        (0..22)
            .map(|_| {
                let at = self.rng.next_u32() as usize % ALPHABET.len();
                char::from(ALPHABET[at])
            })
            .collect()
    }

    /// The group behind a JID, if `number` is in it.
    pub(super) fn group_for(&self, jid: &Jid, number: &str) -> Result<&Group, GroupError> {
        let group = self.group(jid).ok_or(GroupError::NotFound)?;
        group.role(number).ok_or(GroupError::Forbidden)?;
        Ok(group)
    }

    pub(super) fn group(&self, jid: &Jid) -> Option<&Group> {
        if !jid.is_group() {
            return None;
        }
        self.groups.get(jid.user.as_str())
    }

    /// All devices of all members, members in their order, the phone of each first.
    fn group_devices(&self, group: &Group) -> Vec<DeviceAddr> {
        group
            .members
            .iter()
            .flat_map(|member| self.all_devices(&member.number))
            .collect()
    }

    /// Posts a notification to the linked devices of everyone named.
    fn notify_numbers(&mut self, numbers: &[String], node: &Node) {
        for number in numbers {
            self.notify_account(number, node);
        }
    }

    /// The groups that a number is in.
    pub(super) fn groups_of(&self, number: &str) -> impl Iterator<Item = &Group> {
        self.groups
            .values()
            .filter(move |group| group.role(number).is_some())
    }

    /// Whether a number is in any group.
    pub(super) fn in_groups(&self, number: &str) -> bool {
        self.groups_of(number).next().is_some()
    }

    /// How many of a group's messages the linked device that is furthest behind has not acknowledged.
    pub(super) fn unacknowledged_in(&self, group: &Group) -> usize {
        group
            .members
            .iter()
            .filter_map(|member| self.accounts.get(&member.number))
            .flat_map(|account| &account.devices)
            .filter(|(id, _)| **id != 0)
            .map(|(_, device)| device.outbox.messages_from(&group.id))
            .max()
            .unwrap_or(0)
    }

    /// How a phone sees a group.
    pub(super) fn group_view(&self, id: &str) -> Option<GroupView> {
        let group = self.groups.get(id)?;
        Some(GroupView {
            lid: group.form == Form::Lid,
            subject: group.subject.clone(),
            members: group.numbers(),
            ephemeral: group.ephemeral,
            admins: group
                .members
                .iter()
                .filter(|member| member.role >= Role::Admin)
                .map(|member| member.number.clone())
                .collect(),
        })
    }
}

fn check_subject(subject: &str) -> Result<(), GroupError> {
    if subject.trim().is_empty() || subject.chars().count() > MAX_SUBJECT {
        return Err(GroupError::NotAcceptable);
    }
    Ok(())
}
