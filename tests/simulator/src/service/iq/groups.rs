//! `xmlns="w:g2"`: groups asked about and changed. Requests about one group go to its JID, the
//! others to `@g.us`.

use wacore_binary::builder::NodeBuilder;
use wacore_binary::{Jid, JidExt as _, Node};

use crate::directory::DeviceAddr;
use crate::service::groups::{Change, Group, GroupError, Joined, Place, Setting};
use crate::service::node::{self, attr, bytes, first_child, jid_attr, num_attr};
use crate::service::{Form, Service};

/// Groups that one request may ask about.
const MAX_BATCH: usize = 10_000;

impl Service {
    pub(super) fn group_iq(&mut self, from: &DeviceAddr, iq: &Node, set: bool) -> Node {
        let answer = match (jid_attr(iq, "to"), first_child(iq).cloned()) {
            (Some(to), Some(child)) if to.is_group() && to.user.is_empty() => {
                self.groups_iq(from, &child, set)
            }
            (Some(to), Some(child)) if to.is_group() => self.one_group(from, &to, &child, set),
            _ => Err(GroupError::Malformed),
        };
        match answer {
            Ok(children) => node::result(iq).children(children).build(),
            Err(e) => node::error(iq, e.code(), &e.to_string()),
        }
    }

    /// Requests to `@g.us`.
    fn groups_iq(
        &mut self,
        from: &DeviceAddr,
        child: &Node,
        set: bool,
    ) -> Result<Vec<Node>, GroupError> {
        let code = attr(child, "code");
        match (set, child.tag.as_ref(), code) {
            (false, "participating", _) => Ok(vec![self.participating(from, child)]),
            (false, "query", _) => self.group_batch(from, child),
            (true, "create", _) => self.create_by(from, child),
            (true, "leave", _) => self.leave_by(from, child),
            (false, "invite", Some(code)) => Ok(vec![self.invitation(&code)?]),
            (true, "invite", Some(code)) => {
                Ok(vec![match self.join_by_invite(&code, &from.number)? {
                    Joined::Member(jid) => NodeBuilder::new("group").attr("jid", jid).build(),
                    Joined::Asked(jid) => NodeBuilder::new("membership_approval_request")
                        .attr("jid", jid)
                        .build(),
                }])
            }
            _ => Err(GroupError::Malformed),
        }
    }

    /// The groups that the account is in.
    fn participating(&self, from: &DeviceAddr, asked: &Node) -> Node {
        let participants = asked.get_optional_child("participants").is_some();
        let description = asked.get_optional_child("description").is_some();
        let groups = self
            .groups_of(&from.number)
            .map(|group| self.group_node(group, participants, description));
        NodeBuilder::new("groups").children(groups).build()
    }

    fn group_batch(&self, from: &DeviceAddr, query: &Node) -> Result<Vec<Node>, GroupError> {
        let asked: Vec<Jid> = query
            .get_children_by_tag("group")
            .filter_map(|group| jid_attr(group, "jid"))
            .collect();
        if asked.is_empty() || asked.len() > MAX_BATCH {
            return Err(GroupError::Malformed);
        }
        let groups = asked
            .iter()
            .map(|jid| match self.group_for(jid, &from.number) {
                Ok(group) => self.group_node(group, true, true),
                Err(e) => NodeBuilder::new("group")
                    .attr("id", jid.user.as_str())
                    .attr("error", e.code())
                    .build(),
            });
        Ok(vec![NodeBuilder::new("groups").children(groups).build()])
    }

    fn create_by(&mut self, from: &DeviceAddr, create: &Node) -> Result<Vec<Node>, GroupError> {
        let subject = attr(create, "subject").ok_or(GroupError::Malformed)?;
        let mut members = Vec::new();
        let mut refused = Vec::new();
        for jid in people(create)? {
            match self.number_of_jid(&jid) {
                Some(number) if self.refuses_groups(&number) => refused.push((jid, 403)),
                Some(number) => members.push(number),
                None => refused.push((jid, 404)),
            }
        }
        let key = attr(create, "key");
        if create.get_optional_child("parent").is_some() {
            let jid = self.create_community(&from.number, &subject, key.as_deref())?;
            if let Some(text) = create.get_optional_child("description") {
                self.change_group(&jid, &from.number, change_of(text)?)?;
            }
            let group = self.group(&jid).ok_or(GroupError::NotFound)?;
            return Ok(vec![self.group_node(group, true, true)]);
        }
        // Groups made today name people by LID.
        let kind = (key.as_deref(), Place::Alone);
        let jid = self.create_group(&from.number, &subject, &members, Form::Lid, kind)?;
        for child in create.children().unwrap_or_default() {
            if child.tag != "participant"
                && let Ok(change) = change_of(child)
                && !matches!(change, Change::Leave)
            {
                self.change_group(&jid, &from.number, change)?;
            }
        }
        let mut not_added = Vec::with_capacity(refused.len());
        for (person, code) in refused {
            let request = match self.number_of_jid(&person) {
                Some(number) if code == 403 => self.add_request(&jid, &number),
                Some(_) | None => None,
            };
            let one = NodeBuilder::new("participant").attr("jid", person);
            not_added.push(one.attr("error", code).children(request).build());
        }
        let group = self.group(&jid).ok_or(GroupError::NotFound)?;
        let mut node = self.group_node(group, true, true);
        if let Some(wacore_binary::NodeContent::Nodes(children)) = &mut node.content {
            children.extend(not_added);
        }
        Ok(vec![node])
    }

    fn leave_by(&mut self, from: &DeviceAddr, leave: &Node) -> Result<Vec<Node>, GroupError> {
        let groups: Vec<Jid> = leave
            .get_children_by_tag("group")
            .map(|group| group_id(group).ok_or(GroupError::Malformed))
            .collect::<Result<_, _>>()?;
        if groups.is_empty() {
            return Err(GroupError::Malformed);
        }
        let mut left = Vec::with_capacity(groups.len());
        for jid in groups {
            let node = NodeBuilder::new("group").attr("id", jid.clone());
            left.push(match self.change_group(&jid, &from.number, Change::Leave) {
                Ok(_) => node.build(),
                Err(e) => node.attr("error", e.code()).build(),
            });
        }
        Ok(vec![NodeBuilder::new("leave").children(left).build()])
    }

    /// Requests to one group.
    fn one_group(
        &mut self,
        from: &DeviceAddr,
        to: &Jid,
        child: &Node,
        set: bool,
    ) -> Result<Vec<Node>, GroupError> {
        match (set, child.tag.as_ref()) {
            (false, "query") => {
                let group = self.group_for(to, &from.number)?;
                Ok(vec![self.group_node(group, true, true)])
            }
            (reset, "invite") => {
                let code = self.group_invite(to, &from.number, reset)?;
                Ok(vec![NodeBuilder::new("invite").attr("code", code).build()])
            }
            (true, "ack") => self.group_for(to, &from.number).map(|_| Vec::new()),
            (false, "membership_approval_requests") => {
                let waiting = self
                    .join_requests(to, &from.number)?
                    .into_iter()
                    .map(|jid| {
                        NodeBuilder::new("membership_approval_request")
                            .attr("jid", jid)
                            .attr("request_method", "invite_link")
                            .build()
                    });
                let list = NodeBuilder::new("membership_approval_requests").children(waiting);
                Ok(vec![list.build()])
            }
            (true, "links") => {
                let link = first_child(child).ok_or(GroupError::Malformed)?;
                let linked = self.link_groups(to, &from.number, subgroups(link)?, true)?;
                let link = NodeBuilder::new("link").attr("link_type", "sub_group");
                let link = link.children(linked.into_iter().map(linked_group)).build();
                Ok(vec![NodeBuilder::new("links").children([link]).build()])
            }
            (true, "unlink") => {
                let linked = self.link_groups(to, &from.number, subgroups(child)?, false)?;
                let link = NodeBuilder::new("unlink").attr("unlink_type", "sub_group");
                let children = linked.into_iter().map(linked_group);
                Ok(vec![link.children(children).build()])
            }
            (true, "membership_requests_action") => self.decide(from, to, child),
            (true, tag @ ("add" | "remove" | "promote" | "demote")) => {
                let done = self.change_group(to, &from.number, change_of(child)?)?;
                let form = self.group(to).map(Group::form);
                let mut answer = |(jid, code): (Jid, Option<u16>)| {
                    // Answers use the addressing mode of the group, not that of the request.
                    match (self.number_of_jid(&jid), form, code) {
                        (Some(number), Some(form), None) => self.participant(&number, form).build(),
                        (Some(number), _, Some(403)) => {
                            let request = self.add_request(to, &number);
                            let one = NodeBuilder::new("participant").attr("jid", jid);
                            one.attr("error", 403).children(request).build()
                        }
                        _ => outcome(jid, code),
                    }
                };
                let children: Vec<Node> = done.into_iter().map(&mut answer).collect();
                Ok(vec![
                    NodeBuilder::new_dynamic(tag.to_owned())
                        .children(children)
                        .build(),
                ])
            }
            (true, _) => {
                self.change_group(to, &from.number, change_of(child)?)?;
                Ok(Vec::new())
            }
            _ => Err(GroupError::Malformed),
        }
    }

    fn decide(
        &mut self,
        from: &DeviceAddr,
        to: &Jid,
        action: &Node,
    ) -> Result<Vec<Node>, GroupError> {
        let verdict = first_child(action).ok_or(GroupError::Malformed)?;
        let approve = match verdict.tag.as_ref() {
            "approve" => true,
            "reject" => false,
            _ => return Err(GroupError::Malformed),
        };
        let done = self.decide_requests(to, &from.number, people(verdict)?, approve)?;
        let children = done.into_iter().map(|(jid, code)| outcome(jid, code));
        let verdict = NodeBuilder::new_dynamic(verdict.tag.to_string()).children(children);
        let action = NodeBuilder::new("membership_requests_action").children([verdict.build()]);
        Ok(vec![action.build()])
    }
}

/// What an element of a `set` request asks for.
fn change_of(child: &Node) -> Result<Change, GroupError> {
    Ok(match child.tag.as_ref() {
        "add" => Change::Add(people(child)?),
        "remove" => Change::Remove(people(child)?),
        "promote" => Change::Promote(people(child)?),
        "demote" => Change::Demote(people(child)?),
        "subject" => Change::Subject(text(child).ok_or(GroupError::Malformed)?),
        "description" => Change::Description {
            id: attr(child, "id").unwrap_or_default(),
            text: match attr(child, "delete").as_deref() {
                Some("true") => None,
                _ => Some(
                    child
                        .get_optional_child("body")
                        .and_then(text)
                        .ok_or(GroupError::Malformed)?,
                ),
            },
            prev: attr(child, "prev"),
        },
        "announcement" => Change::Set(Setting::Announcement(true)),
        "not_announcement" => Change::Set(Setting::Announcement(false)),
        "locked" => Change::Set(Setting::Locked(true)),
        "unlocked" => Change::Set(Setting::Locked(false)),
        "ephemeral" => {
            let seconds = num_attr(child, "expiration").and_then(|n| u32::try_from(n).ok());
            let seconds = seconds.ok_or(GroupError::Malformed)?;
            Change::Set(Setting::Ephemeral((seconds > 0).then_some(seconds)))
        }
        "not_ephemeral" => Change::Set(Setting::Ephemeral(None)),
        "membership_approval_mode" => {
            let state = child
                .get_optional_child("group_join")
                .and_then(|join| attr(join, "state"));
            Change::Set(Setting::Approval(match state.as_deref() {
                Some("on") => true,
                Some("off") => false,
                _ => return Err(GroupError::Malformed),
            }))
        }
        "member_add_mode" => Change::Set(Setting::AdminsAdd(match text(child).as_deref() {
            Some("admin_add") => true,
            Some("all_member_add") => false,
            _ => return Err(GroupError::Malformed),
        })),
        _ => return Err(GroupError::Malformed),
    })
}

/// The JIDs of the `<participant>`s, all of them people.
fn people(node: &Node) -> Result<Vec<Jid>, GroupError> {
    node.get_children_by_tag("participant")
        .map(|participant| {
            jid_attr(participant, "jid")
                .filter(|jid| Form::of(jid).is_some())
                .ok_or(GroupError::Malformed)
        })
        .collect()
}

/// The groups that a link or its end names.
fn subgroups(node: &Node) -> Result<Vec<Jid>, GroupError> {
    node.get_children_by_tag("group")
        .map(|group| {
            jid_attr(group, "jid")
                .filter(|jid| jid.is_group())
                .ok_or(GroupError::Malformed)
        })
        .collect()
}

/// `<group jid [error]>` of an answer.
fn linked_group((jid, code): (Jid, Option<u16>)) -> Node {
    let builder = NodeBuilder::new("group").attr("jid", jid);
    match code {
        Some(code) => builder.attr("error", code).build(),
        None => builder.build(),
    }
}

/// `<participant jid [error]>` of an answer.
fn outcome(jid: Jid, code: Option<u16>) -> Node {
    let builder = NodeBuilder::new("participant").attr("jid", jid);
    match code {
        Some(code) => builder.attr("error", code).build(),
        None => builder.build(),
    }
}

/// The group that an element names in `id`, as a JID or by its user part.
fn group_id(node: &Node) -> Option<Jid> {
    let jid = jid_attr(node, "id").filter(|jid| jid.is_group());
    jid.or_else(|| {
        let id = attr(node, "id")?;
        (!id.is_empty() && !id.contains('@')).then(|| Jid::group(id))
    })
}

fn text(node: &Node) -> Option<String> {
    String::from_utf8(bytes(node)?.to_vec()).ok()
}
