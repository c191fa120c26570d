//! Invitation links, and requests to join.

use wacore_binary::Jid;
use wacore_binary::Node;
use wacore_binary::builder::NodeBuilder;

use super::{Group, GroupError, MAX_MEMBERS};
use crate::service::Service;

/// Revoked invitations that a group still knows as such.
const MAX_REVOKED: usize = 100;
/// People who request to join.
const MAX_REQUESTS: usize = 1000;
/// Invitations for one person each that a group remembers.
const MAX_INVITED: usize = 1000;
/// Seconds for which such an invitation can be followed.
const INVITED_FOR: u64 = 3 * 86_400;

/// The result of following an invitation.
pub(in crate::service) enum Joined {
    /// In.
    Member(Jid),
    /// An admin has to decide.
    Asked(Jid),
}

impl Service {
    /// The invitation code; only admins get it. With `reset`, the one before stops working.
    pub(in crate::service) fn group_invite(
        &mut self,
        jid: &Jid,
        by: &str,
        reset: bool,
    ) -> Result<String, GroupError> {
        let group = self.group_for(jid, by)?;
        if !group.is_admin(by) {
            return Err(GroupError::NotAuthorized);
        }
        if !reset {
            return Ok(group.invite.clone());
        }
        let fresh = self.new_invite();
        let Some(group) = self.groups.get_mut(jid.user.as_str()) else {
            return Err(GroupError::NotFound);
        };
        let old = std::mem::replace(&mut group.invite, fresh.clone());
        if group.revoked_invites.len() < MAX_REVOKED {
            group.revoked_invites.push(old);
        }
        let (id, everyone) = (group.id.clone(), group.numbers());
        let action = NodeBuilder::new("invite").attr("code", fresh.as_str());
        self.tell_members(&id, by, &everyone, action.build());
        Ok(fresh)
    }

    /// `<add_request>`: the invitation of a person who cannot be added to a group.
    pub(in crate::service) fn add_request(&mut self, jid: &Jid, number: &str) -> Option<Node> {
        let code = self.new_invite();
        let group = self.groups.get_mut(jid.user.as_str())?;
        group.invited.retain(|(it, _)| it != number);
        if group.invited.len() >= MAX_INVITED {
            return None;
        }
        group.invited.push((number.to_owned(), code.clone()));
        let expires = crate::service::now_secs() + INVITED_FOR;
        let request = NodeBuilder::new("add_request").attr("code", code);
        Some(request.attr("expiration", expires).build())
    }

    /// Follows an invitation that was for this person alone.
    pub(super) fn accept_invitation(&mut self, jid: &Jid, number: &str) -> Result<(), GroupError> {
        let id = jid.user.to_string();
        let group = self.groups.get_mut(&id).ok_or(GroupError::NotFound)?;
        let place = group.invited.iter().position(|(it, _)| it == number);
        group
            .invited
            .remove(place.ok_or(GroupError::NotAcceptable)?);
        if group.role(number).is_some() {
            return Err(GroupError::Conflict);
        }
        group.admit(number);
        self.announce_added(&id, number, &[number.to_owned()], Some("invite"));
        Ok(())
    }

    fn invited_to(&self, code: &str) -> Result<&Group, GroupError> {
        let mut gone = false;
        for group in self.groups.values() {
            if group.invite == code {
                return Ok(group);
            }
            gone |= group.revoked_invites.iter().any(|old| old == code);
        }
        Err(if gone {
            GroupError::Gone
        } else {
            GroupError::NotAcceptable
        })
    }

    /// A group as the holder of its invitation sees it.
    pub(in crate::service) fn invitation(&self, code: &str) -> Result<Node, GroupError> {
        Ok(self.group_node(self.invited_to(code)?, true, true))
    }

    /// Follows an invitation.
    pub(in crate::service) fn join_by_invite(
        &mut self,
        code: &str,
        number: &str,
    ) -> Result<Joined, GroupError> {
        let group = self.invited_to(code)?;
        let (id, jid) = (group.id.clone(), group.jid());
        if group.role(number).is_some() {
            return Err(GroupError::Conflict);
        }
        if group.members.len() >= MAX_MEMBERS || group.requests.len() >= MAX_REQUESTS {
            return Err(GroupError::Full);
        }
        let approval = group.approval;
        let Some(group) = self.groups.get_mut(&id) else {
            return Err(GroupError::NotFound);
        };
        if approval {
            if !group.requests.iter().any(|it| it == number) {
                group.requests.push(number.to_owned());
            }
            self.announce_request(&id, number);
            return Ok(Joined::Asked(jid));
        }
        group.admit(number);
        self.announce_added(&id, number, &[number.to_owned()], Some("invite"));
        Ok(Joined::Member(jid))
    }

    /// Notifies the admins of a request to join.
    fn announce_request(&mut self, id: &str, number: &str) {
        let Some(group) = self.groups.get(id) else {
            return;
        };
        let form = group.form;
        let admins: Vec<String> = group
            .numbers()
            .into_iter()
            .filter(|member| group.is_admin(member))
            .collect();
        let mut user = NodeBuilder::new("requested_user").attr("jid", self.user_jid(number, form));
        if self.number_goes_along(form, number) {
            user = user.attr("phone_number", Jid::pn(number));
        }
        let action = NodeBuilder::new("created_membership_requests")
            .attr("request_method", "invite_link")
            .children([user.build()])
            .build();
        self.tell_members(id, number, &admins, action);
    }

    /// Requests to join; only admins see them.
    pub(in crate::service) fn join_requests(
        &self,
        jid: &Jid,
        by: &str,
    ) -> Result<Vec<Jid>, GroupError> {
        let group = self.group_for(jid, by)?;
        if !group.is_admin(by) {
            return Err(GroupError::Forbidden);
        }
        Ok(group
            .requests
            .iter()
            .map(|number| self.user_jid(number, group.form))
            .collect())
    }

    /// An admin lets people in, or does not. What became of each.
    pub(in crate::service) fn decide_requests(
        &mut self,
        jid: &Jid,
        by: &str,
        who: Vec<Jid>,
        approve: bool,
    ) -> Result<Vec<(Jid, Option<u16>)>, GroupError> {
        self.join_requests(jid, by)?;
        let id = jid.user.to_string();
        let mut outcome = Vec::with_capacity(who.len());
        let (mut admitted, mut rejected) = (Vec::new(), Vec::new());
        for person in who {
            let number = self.number_of_jid(&person).unwrap_or_default();
            let Some(group) = self.groups.get_mut(&id) else {
                return Err(GroupError::NotFound);
            };
            let waits = group.requests.contains(&number);
            if waits && !approve {
                rejected.push(number.clone());
            }
            group.requests.retain(|it| *it != number);
            if waits && approve {
                group.admit(&number);
                admitted.push(number);
            }
            outcome.push((person, (!waits).then_some(404)));
        }
        self.announce_added(&id, by, &admitted, None);
        self.announce_rejected(&id, by, &rejected);
        Ok(outcome)
    }

    /// Notifies the admins of requests that are no more.
    fn announce_rejected(&mut self, id: &str, by: &str, rejected: &[String]) {
        let Some(group) = self.groups.get(id).filter(|_| !rejected.is_empty()) else {
            return;
        };
        let admins: Vec<String> = group
            .numbers()
            .into_iter()
            .filter(|member| group.is_admin(member))
            .collect();
        let people = rejected.iter().map(|number| {
            let jid = self.user_jid(number, group.form);
            NodeBuilder::new("participant").attr("jid", jid).build()
        });
        let action = NodeBuilder::new("revoked_membership_requests").children(people);
        self.tell_members(id, by, &admins, action.build());
    }
}
