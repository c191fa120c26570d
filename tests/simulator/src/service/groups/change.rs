//! What members and admins do to a group.

use wacore_binary::Jid;
use wacore_binary::Node;
use wacore_binary::builder::NodeBuilder;

use super::render::{add_mode_node, approval_node};
use super::{Description, Group, GroupError, MAX_DESCRIPTION, MAX_MEMBERS, Member, Role};
use crate::service::{Form, Service, now_secs};

/// A switch of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting {
    /// Only admins write.
    Announcement(bool),
    /// Only admins change subject and description.
    Locked(bool),
    /// Messages go after so many seconds; `None`: never.
    Ephemeral(Option<u32>),
    /// Joining by link requires an admin's approval.
    Approval(bool),
    /// Only admins add people.
    AdminsAdd(bool),
}

/// A change of a group.
#[derive(Debug, Clone)]
pub enum Change {
    /// People are added, named as the request named them.
    Add(Vec<Jid>),
    /// People are removed.
    Remove(Vec<Jid>),
    /// Members become admins.
    Promote(Vec<Jid>),
    /// Admins become members.
    Demote(Vec<Jid>),
    /// A new subject.
    Subject(String),
    /// A new description; `None` takes it away. `prev` is the id of the one that it replaces.
    Description {
        /// The id of the new one.
        id: String,
        /// The text.
        text: Option<String>,
        /// The id of the one before, as the sender knows it.
        prev: Option<String>,
    },
    /// A switch.
    Set(Setting),
    /// The requester leaves.
    Leave,
    /// These numbers follow the group's invite link.
    Join(Vec<String>),
    /// These numbers follow the invitation that each of them got.
    Accept(Vec<String>),
}

/// What became of each person in a change: `None` is success.
type Outcome = Vec<(Jid, Option<u16>)>;

impl Service {
    /// Changes a group, as `by`, and notifies the members' devices. For changes of people the result
    /// says what became of each.
    ///
    /// # Errors
    /// See [`GroupError`]; nothing has changed then.
    pub(in crate::service) fn change_group(
        &mut self,
        jid: &Jid,
        by: &str,
        change: Change,
    ) -> Result<Outcome, GroupError> {
        let group = self.group_for(jid, by)?;
        let (admin, id) = (group.is_admin(by), group.id.clone());
        match change {
            Change::Add(who) => {
                if group.admins_add && !admin {
                    return Err(GroupError::Forbidden);
                }
                Ok(self.add_members(&id, by, who))
            }
            Change::Remove(_) | Change::Promote(_) | Change::Demote(_) | Change::Set(_)
                if !admin && !matches!(change, Change::Set(Setting::Ephemeral(_))) =>
            {
                Err(GroupError::Forbidden)
            }
            Change::Remove(who) => Ok(self.remove_members(&id, by, who)),
            Change::Promote(who) => Ok(self.set_role(&id, by, who, Role::Admin)),
            Change::Demote(who) => Ok(self.set_role(&id, by, who, Role::Member)),
            Change::Leave => {
                self.leave_group(&id, by);
                Ok(Vec::new())
            }
            Change::Join(numbers) => {
                let code = group.invite.clone();
                for number in numbers {
                    self.join_by_invite(&code, &number)?;
                }
                Ok(Vec::new())
            }
            Change::Accept(numbers) => {
                for number in numbers {
                    self.accept_invitation(jid, &number)?;
                }
                Ok(Vec::new())
            }
            Change::Set(setting) => {
                if group.locked && !admin {
                    return Err(GroupError::Forbidden);
                }
                self.set_group(&id, by, setting);
                Ok(Vec::new())
            }
            Change::Subject(subject) => {
                if group.locked && !admin {
                    return Err(GroupError::Forbidden);
                }
                super::check_subject(&subject)?;
                self.set_subject(&id, by, subject);
                Ok(Vec::new())
            }
            Change::Description {
                id: new,
                text,
                prev,
            } => {
                if group.locked && !admin {
                    return Err(GroupError::Forbidden);
                }
                let known = group.description.as_ref().map(|d| d.id.as_str());
                // As with app state: a change names the version that it replaces.
                if prev.as_deref() != known {
                    return Err(GroupError::Conflict);
                }
                if text
                    .as_ref()
                    .is_some_and(|t| t.chars().count() > MAX_DESCRIPTION)
                {
                    return Err(GroupError::NotAcceptable);
                }
                self.set_description(&id, by, new, text);
                Ok(Vec::new())
            }
        }
    }

    fn add_members(&mut self, id: &str, by: &str, who: Vec<Jid>) -> Outcome {
        let mut outcome = Vec::with_capacity(who.len());
        let mut added = Vec::new();
        for jid in who {
            let error = match self.number_of_jid(&jid) {
                None => Some(404),
                Some(number) if self.refuses_groups(&number) => Some(403),
                Some(number) => match self.groups.get_mut(id) {
                    None => Some(404),
                    Some(group) if group.role(&number).is_some() => Some(409),
                    Some(group) if group.members.len() >= MAX_MEMBERS => Some(419),
                    Some(group) => {
                        group.admit(&number);
                        added.push(number);
                        None
                    }
                },
            };
            outcome.push((jid, error));
        }
        self.announce_added(id, by, &added, None);
        outcome
    }

    /// Whether the number can be added to groups only by its own consent.
    pub(in crate::service) fn refuses_groups(&self, number: &str) -> bool {
        let choice = self
            .accounts
            .get(number)
            .and_then(|account| account.privacy.get("groupadd"));
        // The service has no contact lists.
        choice.is_some_and(|choice| choice != "all")
    }

    /// Old members are notified of the new ones, and new ones of the whole group.
    pub(super) fn announce_added(
        &mut self,
        id: &str,
        by: &str,
        added: &[String],
        reason: Option<&'static str>,
    ) {
        let Some(group) = self.groups.get(id).filter(|_| !added.is_empty()) else {
            return;
        };
        let form = group.form;
        let others: Vec<String> = group
            .numbers()
            .into_iter()
            .filter(|number| !added.contains(number))
            .collect();
        let mut action = self.members_change(id, "add");
        if let Some(reason) = reason {
            action = action.attr("reason", reason);
        }
        let action = action.children(self.participants(added, form)).build();
        self.tell_members(id, by, &others, action);
        self.introduce_group(id, by, added, reason);
    }

    fn participants(&self, numbers: &[String], form: Form) -> Vec<Node> {
        numbers
            .iter()
            .map(|number| self.participant(number, form).build())
            .collect()
    }

    fn remove_members(&mut self, id: &str, by: &str, who: Vec<Jid>) -> Outcome {
        let Some(group) = self.groups.get(id) else {
            return Vec::new();
        };
        let (form, everyone) = (group.form, group.numbers());
        let mut outcome = Vec::with_capacity(who.len());
        let mut removed = Vec::new();
        for jid in who {
            let role = self
                .number_of_jid(&jid)
                .and_then(|number| Some((self.groups.get(id)?.role(&number)?, number)));
            let error = match role {
                None => Some(404),
                Some((Role::Creator, _)) => Some(406),
                Some((_, number)) => {
                    if let Some(group) = self.groups.get_mut(id) {
                        group.dismiss(&number);
                    }
                    removed.push(number);
                    None
                }
            };
            outcome.push((jid, error));
        }
        if !removed.is_empty() {
            let children = self.participants(&removed, form);
            let action = self.members_change(id, "remove").children(children).build();
            self.tell_members(id, by, &everyone, action);
        }
        outcome
    }

    fn leave_group(&mut self, id: &str, by: &str) {
        let Some(group) = self.groups.get_mut(id) else {
            return;
        };
        let (form, everyone) = (group.form, group.numbers());
        group.dismiss(by);
        // A group is never without an admin: the longest-standing member becomes one.
        let mut heir = None;
        if group.members.iter().all(|member| member.role < Role::Admin)
            && let Some(first) = group.members.first_mut()
        {
            first.role = Role::Admin;
            heir = Some(first.number.clone());
        }
        let children = self.participants(&[by.to_owned()], form);
        let action = self.members_change(id, "remove").children(children).build();
        self.tell_members(id, by, &everyone, action);
        if let Some(heir) = heir {
            let rest: Vec<String> = everyone.into_iter().filter(|n| n != by).collect();
            let children = self.participants(&[heir], form);
            let action = self
                .members_change(id, "promote")
                .children(children)
                .build();
            self.tell_members(id, by, &rest, action);
        }
    }

    fn set_role(&mut self, id: &str, by: &str, who: Vec<Jid>, role: Role) -> Outcome {
        let mut outcome = Vec::with_capacity(who.len());
        let mut changed = Vec::new();
        for jid in who {
            let number = self.number_of_jid(&jid);
            let member = self.groups.get_mut(id).and_then(|group| {
                let number = number?;
                group.members.iter_mut().find(|m| m.number == number)
            });
            let error = match member {
                None => Some(404),
                // The creator stays an admin.
                Some(member) if member.role == Role::Creator => Some(406),
                Some(member) => {
                    if member.role != role {
                        member.role = role;
                        changed.push(member.number.clone());
                    }
                    None
                }
            };
            outcome.push((jid, error));
        }
        if let Some(group) = self.groups.get(id).filter(|_| !changed.is_empty()) {
            let (form, everyone) = (group.form, group.numbers());
            let tag = if role == Role::Admin {
                "promote"
            } else {
                "demote"
            };
            let children = self.participants(&changed, form);
            let action = self.members_change(id, tag).children(children).build();
            self.tell_members(id, by, &everyone, action);
        }
        outcome
    }

    fn set_subject(&mut self, id: &str, by: &str, subject: String) {
        let now = now_secs();
        let Some(group) = self.groups.get_mut(id) else {
            return;
        };
        group.subject = subject.clone();
        group.subject_by = by.to_owned();
        group.subject_at = now;
        let (form, everyone) = (group.form, group.numbers());
        let mut action = NodeBuilder::new("subject")
            .attr("subject", subject)
            .attr("s_t", now)
            .attr("s_o", self.user_jid(by, form));
        if self.number_goes_along(form, by) {
            action = action.attr("s_o_pn", Jid::pn(by));
        }
        self.tell_members(id, by, &everyone, action.build());
    }

    fn set_description(&mut self, id: &str, by: &str, new: String, text: Option<String>) {
        let Some(group) = self.groups.get_mut(id) else {
            return;
        };
        let child = match &text {
            Some(text) => NodeBuilder::new("body").string_content(text.as_str()),
            None => NodeBuilder::new("delete"),
        };
        let action = NodeBuilder::new("description")
            .attr("id", new.as_str())
            .children([child.build()])
            .build();
        group.description = text.map(|text| Description {
            id: new,
            text,
            by: by.to_owned(),
            at: now_secs(),
        });
        let everyone = group.numbers();
        self.tell_members(id, by, &everyone, action);
    }

    pub(super) fn set_group(&mut self, id: &str, by: &str, setting: Setting) {
        let Some(group) = self.groups.get_mut(id) else {
            return;
        };
        let action = match setting {
            Setting::Announcement(on) => {
                group.announcement = on;
                switch(on, "announcement", "not_announcement")
            }
            Setting::Locked(on) => {
                group.locked = on;
                switch(on, "locked", "unlocked")
            }
            Setting::Ephemeral(seconds) => {
                group.ephemeral = seconds;
                match seconds {
                    Some(seconds) => NodeBuilder::new("ephemeral")
                        .attr("expiration", seconds)
                        .build(),
                    None => NodeBuilder::new("not_ephemeral").build(),
                }
            }
            Setting::Approval(on) => {
                group.approval = on;
                approval_node(on)
            }
            Setting::AdminsAdd(on) => {
                group.admins_add = on;
                add_mode_node(on)
            }
        };
        let everyone = group.numbers();
        self.tell_members(id, by, &everyone, action);
    }
}

impl Group {
    pub(super) fn admit(&mut self, number: &str) {
        self.requests.retain(|it| it != number);
        self.members.push(Member {
            number: number.to_owned(),
            role: Role::Member,
        });
    }

    fn dismiss(&mut self, number: &str) {
        self.members.retain(|member| member.number != number);
    }
}

fn switch(on: bool, yes: &'static str, no: &'static str) -> Node {
    NodeBuilder::new(if on { yes } else { no }).build()
}
