//! Groups, asked of WhatsApp's server and changed there.

use std::time::Duration;

use whatsapp_rust::features::GroupError;
use whatsapp_rust::wacore::iq::groups::{
    AcceptGroupInviteIq, GetGroupInviteInfoIq, GetGroupInviteLinkIq, GetMembershipRequestsIq,
    GroupCreateIq, GroupCreateOptions, GroupDescription, GroupInfoOutcome, GroupParticipantOptions,
    GroupQueryIq, GroupSubject, JoinGroupResult, LinkSubgroupsIq, MemberAddMode as WireAddMode,
    MembershipApprovalMode, MembershipRequestActionIq, SetGroupAnnouncementIq,
    SetGroupDescriptionIq, SetGroupLockedIq, SetGroupMembershipApprovalIq, SetGroupSubjectIq,
    SetMemberAddModeIq, UnlinkSubgroupsIq,
};
use whatsapp_rust::{IqError, Jid};

use super::{Session, wire_jid};
use crate::clock::Millis;
use crate::jid::ChatJid;
use crate::store::groups::{How, Member, MemberAddMode, Setting, Snapshot};
use crate::sync::within;
use crate::whatsapp::convert::bare;
use crate::whatsapp::error::SendFailure;
use crate::whatsapp::groups::{Create, Outcome, Participating, outcome, person_of, snapshot};
use crate::whatsapp::refusal;

/// How long WhatsApp may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);

impl Session {
    /// The groups that the account is in, without their members.
    ///
    /// # Errors
    /// [`SendFailure::NotConnected`], or what WhatsApp's server said.
    pub async fn all_groups(&self) -> Result<Vec<Snapshot>, SendFailure> {
        self.asked(self.client.execute(Participating)).await
    }

    /// A group with its members.
    ///
    /// # Errors
    /// [`SendFailure::Refused`] if the account is not in it, or there is no such group.
    pub async fn one_group(&self, group: &ChatJid) -> Result<Snapshot, SendFailure> {
        let jid = wire_jid(&group.to_string()).map_err(SendFailure::Other)?;
        let asking = self.client.execute(GroupQueryIq::new(&jid));
        match self.asked(asking).await? {
            GroupInfoOutcome::Full(found) => Ok(snapshot(*found, true)),
            GroupInfoOutcome::NotModified => Err(SendFailure::Other(
                "WhatsApp did not say anything of the group".into(),
            )),
        }
    }

    /// Creates a group; those who could not be added are the second part.
    ///
    /// # Errors
    /// What WhatsApp's server said.
    pub async fn create_group(
        &self,
        subject: &str,
        people: &[ChatJid],
    ) -> Result<(Snapshot, Vec<Outcome>), SendFailure> {
        let people = wire(people)?.into_iter().map(GroupParticipantOptions::new);
        let options = GroupCreateOptions::new(subject).with_participants(people.collect());
        let asking = self.client.execute(Create(GroupCreateIq::new(options)));
        self.asked(asking).await
    }

    /// Creates a community, with its group for announcements.
    ///
    /// # Errors
    /// What WhatsApp's server said.
    pub async fn create_community(
        &self,
        subject: &str,
        description: Option<&str>,
    ) -> Result<Snapshot, SendFailure> {
        let options = GroupCreateOptions {
            subject: subject.to_owned(),
            is_parent: true,
            description: description.map(GroupDescription::new_unchecked),
            ..GroupCreateOptions::default()
        };
        let asking = self.client.execute(Create(GroupCreateIq::new(options)));
        Ok(self.asked(asking).await?.0)
    }

    /// Takes groups into a community (`link`), or out of it: each with WhatsApp's code if it refused.
    ///
    /// # Errors
    /// What WhatsApp's server said of the whole.
    pub async fn link_groups(
        &self,
        community: &ChatJid,
        link: bool,
        parts: &[ChatJid],
    ) -> Result<Vec<(String, Option<u16>)>, SendFailure> {
        let (jid, parts) = (one_wire(community)?, wire(parts)?);
        let found = match link {
            true => {
                let asking = self.client.execute(LinkSubgroupsIq::new(&jid, &parts));
                self.asked(asking).await?.groups
            }
            false => {
                let spec = UnlinkSubgroupsIq::new(&jid, &parts, false);
                self.asked(self.client.execute(spec)).await?.groups
            }
        };
        let code = |code: u32| u16::try_from(code).unwrap_or(0);
        Ok(found
            .into_iter()
            .map(|one| (bare(&one.jid), one.error.map(code)))
            .collect())
    }

    /// Changes the members of a group; what became of each.
    ///
    /// # Errors
    /// What WhatsApp's server said of the whole.
    pub async fn change_members(
        &self,
        group: &ChatJid,
        how: How,
        people: &[ChatJid],
    ) -> Result<Vec<Outcome>, SendFailure> {
        let (jid, people) = (one_wire(group)?, wire(people)?);
        let groups = self.client.groups();
        let asking = async {
            match how {
                How::Add => groups.add_participants(&jid, &people).await,
                How::Remove => groups.remove_participants(&jid, &people).await,
                How::Promote => groups.promote_participants(&jid, &people).await,
                How::Demote | How::Renumbered => groups.demote_participants(&jid, &people).await,
            }
            .map_err(of_client)
        };
        let answer = self.asked(asking).await?;
        Ok(answer.iter().filter_map(outcome).collect())
    }

    /// Changes a property of a group. A description names the one that it replaces, by its id.
    ///
    /// # Errors
    /// What WhatsApp's server said.
    pub async fn set_group(
        &self,
        group: &ChatJid,
        setting: &Setting,
        description: Option<&str>,
    ) -> Result<(), SendFailure> {
        let jid = one_wire(group)?;
        let client = &self.client;
        let asking = async {
            match setting {
                Setting::Subject(subject) => {
                    let subject = GroupSubject::new_unchecked(subject.as_str());
                    client.execute(SetGroupSubjectIq::new(&jid, subject)).await
                }
                Setting::Description(_, text) => {
                    let text = text.as_deref().map(GroupDescription::new_unchecked);
                    let spec = SetGroupDescriptionIq::new(&jid, text, description);
                    client.execute(spec).await
                }
                Setting::Announcement(true) => {
                    client.execute(SetGroupAnnouncementIq::announce(&jid)).await
                }
                Setting::Announcement(false) => {
                    client
                        .execute(SetGroupAnnouncementIq::unannounce(&jid))
                        .await
                }
                Setting::Locked(true) => client.execute(SetGroupLockedIq::lock(&jid)).await,
                Setting::Locked(false) => client.execute(SetGroupLockedIq::unlock(&jid)).await,
                Setting::JoinApproval(on) => {
                    let mode = match on {
                        true => MembershipApprovalMode::On,
                        false => MembershipApprovalMode::Off,
                    };
                    client
                        .execute(SetGroupMembershipApprovalIq::new(&jid, mode))
                        .await
                }
                Setting::MemberAddMode(mode) => {
                    let mode = match mode {
                        MemberAddMode::AdminAdd => WireAddMode::AdminAdd,
                        MemberAddMode::AllMemberAdd => WireAddMode::AllMemberAdd,
                    };
                    client.execute(SetMemberAddModeIq::new(&jid, mode)).await
                }
                Setting::Ephemeral(seconds) => {
                    let groups = client.groups();
                    groups
                        .set_ephemeral(&jid, *seconds)
                        .await
                        .map_err(of_client)
                }
                // Each has a request of its own.
                Setting::Invite(_) | Setting::Community(_) => Ok(()),
            }
        };
        self.asked(asking).await
    }

    /// Leaves a group.
    ///
    /// # Errors
    /// What WhatsApp's server said.
    pub async fn leave_group(&self, group: &ChatJid) -> Result<(), SendFailure> {
        let jid = one_wire(group)?;
        let groups = self.client.groups();
        let asking = async { groups.leave(&jid).await.map_err(of_client) };
        self.asked(asking).await
    }

    /// The code of a group's invite link; with `reset` a new one, and the one before works no more.
    ///
    /// # Errors
    /// What WhatsApp's server said: only admins get it.
    pub async fn invite_code(&self, group: &ChatJid, reset: bool) -> Result<String, SendFailure> {
        let jid = one_wire(group)?;
        let asking = self.client.execute(GetGroupInviteLinkIq::new(&jid, reset));
        let link = self.asked(asking).await?;
        Ok(link.rsplit('/').next().unwrap_or_default().to_owned())
    }

    /// The group to which an invite link leads.
    ///
    /// # Errors
    /// What WhatsApp's server said.
    pub async fn invitation(&self, code: &str) -> Result<Snapshot, SendFailure> {
        let asking = self.client.execute(GetGroupInviteInfoIq::new(code));
        let found = self.asked(asking).await?;
        Ok(snapshot(found, false))
    }

    /// Joins a group by its invite link: its JID, and whether an admin has to approve it first.
    ///
    /// # Errors
    /// What WhatsApp's server said.
    pub async fn join_group(&self, code: &str) -> Result<(String, bool), SendFailure> {
        let asking = self.client.execute(AcceptGroupInviteIq::new(code));
        Ok(match self.asked(asking).await? {
            JoinGroupResult::Joined(jid) => (bare(&jid), false),
            JoinGroupResult::PendingApproval(jid) => (bare(&jid), true),
        })
    }

    /// The people who ask to join a group, and when they did, in Unix milliseconds.
    ///
    /// # Errors
    /// What WhatsApp's server said: only admins see them.
    pub async fn join_requests(
        &self,
        group: &ChatJid,
    ) -> Result<Vec<(Member, Option<Millis>)>, SendFailure> {
        let jid = one_wire(group)?;
        let asking = self.client.execute(GetMembershipRequestsIq::new(&jid));
        let found = self.asked(asking).await?;
        let shown = found.iter().filter_map(|one| {
            let at = one.request_time.map(|at| at.saturating_mul(1_000));
            Some((person_of(&one.jid)?, at))
        });
        Ok(shown.collect())
    }

    /// Lets people in who ask to join, or does not.
    ///
    /// # Errors
    /// What WhatsApp's server said.
    pub async fn decide_requests(
        &self,
        group: &ChatJid,
        approve: bool,
        people: &[ChatJid],
    ) -> Result<Vec<Outcome>, SendFailure> {
        let (jid, people) = (one_wire(group)?, wire(people)?);
        let spec = match approve {
            true => MembershipRequestActionIq::approve(&jid, &people),
            false => MembershipRequestActionIq::reject(&jid, &people),
        };
        let answer = self.asked(self.client.execute(spec)).await?;
        Ok(answer.iter().filter_map(outcome).collect())
    }

    /// Waits for an answer of WhatsApp's server.
    async fn asked<T>(
        &self,
        asking: impl Future<Output = Result<T, IqError>>,
    ) -> Result<T, SendFailure> {
        if !self.is_ready() {
            return Err(SendFailure::NotConnected);
        }
        match within(PATIENCE, asking).await {
            Some(Ok(answer)) => Ok(answer),
            Some(Err(error)) => Err(failure(&error)),
            None => Err(SendFailure::Other("WhatsApp did not answer in time".into())),
        }
    }
}

fn one_wire(jid: &ChatJid) -> Result<Jid, SendFailure> {
    wire_jid(&jid.to_string()).map_err(SendFailure::Other)
}

fn wire(people: &[ChatJid]) -> Result<Vec<Jid>, SendFailure> {
    people.iter().map(one_wire).collect()
}

/// What the client's own functions for groups fail with.
fn of_client(error: GroupError) -> IqError {
    match error {
        GroupError::Iq(error) => error,
        other => IqError::EncodeError(whatsapp_rust::anyhow::anyhow!("{other}")),
    }
}

/// The failure of a request about a group.
fn failure(error: &IqError) -> SendFailure {
    // Here alone: it makes thiserror's own methods ambiguous.
    use whatsapp_rust::ErrorChainExt as _;
    match error {
        IqError::ServerError { code, .. } => refusal::of_group(*code),
        IqError::Timeout => SendFailure::Other("WhatsApp did not answer in time".into()),
        error if (error as &(dyn std::error::Error + 'static)).is_transport_unavailable() => {
            SendFailure::NotConnected
        }
        error => {
            // It can name people.
            log::debug!("a request about a group failed: {error}");
            SendFailure::Other("WhatsApp gave an answer that is not understood".into())
        }
    }
}
