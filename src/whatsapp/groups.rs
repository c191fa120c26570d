//! What WhatsApp says of groups: its notifications (`w:gp2`) and its answers (`w:g2`), as this server stores them. Pure.
//!
//! Notifications are read off the stanza before the client looks at it: all that one says is one transaction, and the
//! versions of the list of members (`v_id`, `prev_v_id`), which the client drops, stand there.

use whatsapp_rust::Jid;
use whatsapp_rust::anyhow;
use whatsapp_rust::wacore::iq::groups::{
    AddressingMode, GROUP_IQ_NAMESPACE, GroupCreateIq, GroupInfoResponse,
    GroupParticipatingRequest, GroupParticipatingResponse, MemberAddMode as WireAddMode,
    ParticipantChangeResponse, ParticipantType,
};
use whatsapp_rust::wacore::iq::spec::IqSpec;
use whatsapp_rust::wacore::protocol::ProtocolNode;
use whatsapp_rust::wacore::request::InfoQuery;
use whatsapp_rust::wacore::stanza::groups::{
    GroupNotification, GroupNotificationAction as Action, GroupParticipantInfo,
};
use whatsapp_rust::wacore_binary::{NodeContent, NodeRef, Server};

use super::convert::bare;
use crate::store::groups::{
    Act, Group, GroupNews, How, Member, MemberAddMode, Role, Setting, Snapshot, Versions,
};

/// People that one notification names.
const PEOPLE: usize = 1_024;
/// Things that one notification says.
const ACTS: usize = 64;

/// Asks for the groups that the account is in, without their members: those of a group are asked for by themselves, when
/// they are needed. A list with all members of all groups would take far more memory than the groups do.
pub struct Participating;

impl IqSpec for Participating {
    type Response = Vec<Snapshot>;

    fn build_iq(&self) -> InfoQuery<'static> {
        let asked = GroupParticipatingRequest {
            include_participants: false,
            include_description: true,
        };
        InfoQuery::get(
            GROUP_IQ_NAMESPACE,
            Jid::new("", Server::Group),
            Some(NodeContent::Nodes(vec![asked.into_node()])),
        )
    }

    fn parse_response(&self, response: &NodeRef<'_>) -> anyhow::Result<Vec<Snapshot>> {
        let lists = ["groups", "communities"];
        let list = lists
            .iter()
            .find_map(|tag| response.get_optional_child(tag));
        let list = list.ok_or_else(|| anyhow::anyhow!("no list of groups"))?;
        let found = GroupParticipatingResponse::try_from_node_ref(list)?;
        Ok(found
            .groups
            .into_iter()
            .map(|group| snapshot(group, false))
            .collect())
    }
}

/// Creates a group; the answer is the group, and those who are not in it.
pub struct Create(pub GroupCreateIq);

impl IqSpec for Create {
    type Response = (Snapshot, Vec<Outcome>);

    fn build_iq(&self) -> InfoQuery<'static> {
        self.0.build_iq()
    }

    fn parse_response(&self, response: &NodeRef<'_>) -> anyhow::Result<Self::Response> {
        let mut made = snapshot(self.0.parse_response(response)?, true);
        let group = response.get_optional_child("group");
        let children = group.and_then(NodeRef::children).unwrap_or_default();
        let refused: Vec<Outcome> = children
            .iter()
            .filter_map(|child| ParticipantChangeResponse::try_from_node_ref(child).ok())
            .filter(|one| !one.is_ok())
            .filter_map(|one| outcome(&one))
            .collect();
        // The list of members has those, too, who were refused.
        if let Some(members) = &mut made.members {
            members.retain(|member| !refused.iter().any(|one| one.person.is(member)));
            made.group.size = u32::try_from(members.len()).unwrap_or(u32::MAX);
        }
        Ok((made, refused))
    }
}

/// What became of a person in a change of a group's members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub person: Member,
    /// WhatsApp's code, if it refused.
    pub code: Option<u16>,
    /// The code of an invitation that this person alone can follow, and its end in Unix seconds.
    pub invitation: Option<(String, u64)>,
}

/// What WhatsApp's answer says of one person.
pub fn outcome(one: &ParticipantChangeResponse) -> Option<Outcome> {
    let request = one.add_request.as_ref();
    Some(Outcome {
        person: member([Some(&one.jid), one.phone_number.as_ref()])?,
        code: one.error.as_ref().map(|code| code.parse().unwrap_or(0)),
        invitation: request.map(|request| (request.code.clone(), request.expiration)),
    })
}

/// The person whom a JID names.
pub fn person_of(jid: &Jid) -> Option<Member> {
    member([Some(jid)])
}

/// A group as WhatsApp's server describes it. `with_members`: the answer names them.
pub fn snapshot(found: GroupInfoResponse, with_members: bool) -> Snapshot {
    let members: Vec<Member> = found
        .participants
        .iter()
        .filter_map(|one| {
            let mut member = member([Some(&one.jid), one.phone_number.as_ref(), one.lid.as_ref()])?;
            member.role = match one.participant_type {
                ParticipantType::Admin => Role::Admin,
                ParticipantType::SuperAdmin => Role::Owner,
                _ => Role::Member,
            };
            Some(member)
        })
        .collect();
    let counted = u32::try_from(members.len()).unwrap_or(u32::MAX);
    let group = Group {
        jid: bare(&found.id),
        subject: found.subject.into_string(),
        description: found.description,
        description_id: found.description_id,
        owner: found.creator_pn.or(found.creator).map(|jid| bare(&jid)),
        created_at: found.creation_time.map(|at| at.saturating_mul(1_000)),
        announcement: found.is_announcement,
        locked: found.is_locked,
        join_approval: found.membership_approval,
        member_add_mode: match found.member_add_mode {
            Some(WireAddMode::AdminAdd) => MemberAddMode::AdminAdd,
            _ => MemberAddMode::AllMemberAdd,
        },
        ephemeral: found.ephemeral.and_then(|set| set.expiration).unwrap_or(0),
        community: found.parent_group_jid.map(|jid| bare(&jid)),
        is_community: found.is_parent_group,
        is_announcement_group: found.is_default_sub_group,
        by_lid: found.addressing_mode == AddressingMode::Lid,
        size: match with_members {
            true => counted,
            false => found.size.unwrap_or(0),
        },
        version: found.participant_version_id.and_then(|v| v.parse().ok()),
        invite: None,
    };
    Snapshot {
        group,
        members: with_members.then_some(members),
    }
}

/// What a notification says of a group; `None` if the stanza is none, or says nothing that is kept.
pub fn of_stanza(node: &NodeRef<'_>) -> Option<GroupNews> {
    if node.tag != "notification"
        || node
            .get_attr("type")
            .is_none_or(|kind| kind.as_str() != "w:gp2")
    {
        return None;
    }
    let found = GroupNotification::try_from_node_ref(node)?;
    let by = member([found.participant.as_ref(), found.participant_pn.as_ref()]);
    let children = node.children().unwrap_or_default();
    // The client's list of acts leaves this element out.
    let children = children
        .iter()
        .filter(|child| child.tag != "missing_participant_identification");
    let acts: Vec<Act> = children
        .zip(found.actions)
        .take(ACTS)
        .filter_map(|(child, action)| act(child, action, by.as_ref()))
        .collect();
    (!acts.is_empty()).then(|| GroupNews {
        group: bare(&found.group_jid),
        id: found.notification_id.unwrap_or_default(),
        at: found.timestamp.saturating_mul(1_000),
        by,
        acts,
    })
}

fn act(node: &NodeRef<'_>, action: Action, by: Option<&Member>) -> Option<Act> {
    let set = |setting| Some(Act::Set(setting));
    match action {
        Action::Create { .. } => {
            let group = node.get_optional_child("group")?;
            let found = GroupInfoResponse::try_from_node_ref(group).ok()?;
            let kind = node.get_attr("type");
            Some(Act::Joined {
                snapshot: Box::new(snapshot(found, true)),
                created: kind.is_some_and(|kind| kind.as_str() == "new"),
            })
        }
        Action::Add {
            participants,
            reason,
        } => Some(changed(node, How::Add, &participants, reason)),
        Action::Remove {
            participants,
            reason,
        } => Some(changed(node, How::Remove, &participants, reason)),
        Action::Promote { participants } => Some(changed(node, How::Promote, &participants, None)),
        Action::Demote { participants } => Some(changed(node, How::Demote, &participants, None)),
        Action::Modify { participants } => {
            Some(changed(node, How::Renumbered, &participants, None))
        }
        Action::Subject { subject, .. } => set(Setting::Subject(subject)),
        Action::Description { id, description } => set(Setting::Description(id, description)),
        Action::Locked { .. } => set(Setting::Locked(true)),
        Action::Unlocked => set(Setting::Locked(false)),
        Action::Announce => set(Setting::Announcement(true)),
        Action::NotAnnounce => set(Setting::Announcement(false)),
        Action::Ephemeral { expiration, .. } => set(Setting::Ephemeral(expiration)),
        Action::MembershipApprovalMode { enabled } => set(Setting::JoinApproval(enabled)),
        Action::MemberAddMode { mode } => set(Setting::MemberAddMode(match mode.as_str() {
            "admin_add" => MemberAddMode::AdminAdd,
            _ => MemberAddMode::AllMemberAdd,
        })),
        Action::RevokeInvite => set(Setting::Invite(None)),
        Action::Invite { code } => set(Setting::Invite(Some(code).filter(|code| !code.is_empty()))),
        Action::CreatedMembershipRequests { requests, .. } => Some(Act::Requests {
            people: requests.iter().take(PEOPLE).filter_map(person).collect(),
            made: true,
        }),
        Action::MembershipApprovalRequest { .. } => Some(Act::Requests {
            people: by.copied().into_iter().collect(),
            made: true,
        }),
        Action::RevokedMembershipRequests { participants } => Some(Act::Requests {
            people: participants
                .iter()
                .take(PEOPLE)
                .filter_map(|jid| member([Some(jid)]))
                .collect(),
            made: false,
        }),
        Action::Delete { .. } => Some(Act::Ended),
        Action::Link { link_type, .. } if link_type == "parent_group" => {
            let parent = node.get_optional_child("group")?;
            let jid = parent.attrs().optional_jid("jid")?;
            set(Setting::Community(Some(bare(&jid))))
        }
        Action::Unlink { unlink_type, .. } if unlink_type == "parent_group" => {
            set(Setting::Community(None))
        }
        // What is left is about a community's other groups, or about moderation.
        _ => None,
    }
}

fn changed(
    node: &NodeRef<'_>,
    how: How,
    people: &[GroupParticipantInfo],
    reason: Option<String>,
) -> Act {
    let version = |name: &str| node.get_attr(name).and_then(|v| v.as_str().parse().ok());
    Act::Members {
        how,
        people: people.iter().take(PEOPLE).filter_map(person).collect(),
        versions: version("v_id").map(|after| Versions {
            before: version("prev_v_id"),
            after,
        }),
        reason,
    }
}

fn person(info: &GroupParticipantInfo) -> Option<Member> {
    member([
        Some(&info.jid),
        info.phone_number.as_ref(),
        info.lid.as_ref(),
    ])
}

fn member<const N: usize>(jids: [Option<&Jid>; N]) -> Option<Member> {
    let jids: Vec<String> = jids.into_iter().flatten().map(bare).collect();
    Member::of_jids(jids.iter().map(String::as_str))
}
