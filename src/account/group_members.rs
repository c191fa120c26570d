//! Members of groups: changed, invited, and asked about.

use serde::Serialize;

use crate::clock;
use crate::event::GroupPerson;
use crate::jid::ChatJid;
use crate::message::{DeliveryStatus, Invite, Message, MessageKind, invitation};
use crate::store::groups::{self, Group, How, Member, Snapshot};
use crate::store::messages::{self, Arrival};
use crate::whatsapp::{MemberOutcome, SendFailure, new_message_id};

use super::driver::Handle;
use super::groups::{GroupView, refused, view};
use super::messaging::connected;
use super::registry::Accounts;
use super::types::AccountError;

/// What became of one person
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct MemberResult {
    /// The JID that the request named.
    pub member: String,
    /// `add`, `remove`, `promote`, `demote`, `approve` or `reject`.
    #[cfg_attr(test, schemars(extend("enum" = ["add", "remove", "promote", "demote", "approve", "reject"])))]
    pub action: &'static str,
    /// `done`; `invited` where it is not allowed and an invitation was sent; `refused`.
    #[cfg_attr(test, schemars(extend("enum" = ["done", "invited", "refused"])))]
    pub status: &'static str,
    /// WhatsApp's code.
    pub code: Option<u16>,
    /// Why it was not done.
    pub error: Option<String>,
}

/// A person who asks to join a group
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct JoinRequest {
    #[serde(flatten)]
    pub person: GroupPerson,
    /// ISO 8601.
    pub requested_at: Option<String>,
}

impl Accounts {
    /// Creates a group. One result for each person; who cannot be added is invited where WhatsApp offers that.
    ///
    /// # Errors
    /// [`AccountError::GroupRefused`] if WhatsApp refuses the whole.
    pub async fn create_group(
        &self,
        id: &str,
        subject: &str,
        people: Vec<ChatJid>,
    ) -> Result<(GroupView, Vec<MemberResult>), AccountError> {
        let handle = self.handle(id)?;
        let session = connected(&handle)?;
        let made = session.create_group(subject, &people).await;
        let (made, outcomes) = made.map_err(|failure| refused(&handle, failure))?;
        let (told, now) = (made.clone(), clock::now());
        self.change_stored(id, &handle, move |ledger| {
            groups::learn(ledger.tx, ledger.account, &told, now)
        })
        .await?;
        let mut results = Vec::with_capacity(people.len());
        for person in &people {
            let outcome = outcomes.iter().find(|one| names(&one.person, person));
            let result = self.result(id, &handle, &made.group, (person, "add"), outcome);
            results.push(result.await);
        }
        let (account, Snapshot { group, members }) = (handle.number, made);
        let store = &self.0.wiring.store;
        let shown = store.read(|tx| view(tx, account, group, members.as_deref()))?;
        Ok((shown, results))
    }

    /// Changes the members of a group. One result for each person.
    ///
    /// # Errors
    /// [`AccountError::GroupRefused`] if WhatsApp refuses the whole.
    pub async fn change_members(
        &self,
        id: &str,
        group: &ChatJid,
        how: How,
        people: Vec<ChatJid>,
    ) -> Result<Vec<MemberResult>, AccountError> {
        let handle = self.handle(id)?;
        let session = connected(&handle)?;
        let (known, members) = self.stored(&handle, group)?;
        let named = wire_names(&known, members.as_deref(), &people);
        let outcomes = session.change_members(group, how, &named).await;
        let outcomes = outcomes.map_err(|failure| refused(&handle, failure))?;
        let done: Vec<Member> = outcomes
            .iter()
            .filter(|one| one.code.is_none())
            .map(|one| one.person)
            .collect();
        let jid = group.to_string();
        self.change_stored(id, &handle, move |ledger| {
            let (tx, account) = (&mut *ledger.tx, ledger.account);
            let Some(mut group) = groups::get(&tx.view(), account, &jid)? else {
                return Ok(());
            };
            let mut members = groups::members(&tx.view(), account, &jid)?;
            if members.is_some() {
                groups::apply(&mut group, &mut members, how, &done, None);
                groups::put(tx, account, &group, members.as_deref())?;
            }
            Ok(())
        })
        .await?;
        let mut results = Vec::with_capacity(people.len());
        for (person, named) in people.iter().zip(&named) {
            let outcome = outcomes
                .iter()
                .find(|one| names(&one.person, person) || names(&one.person, named));
            let result = self.result(id, &handle, &known, (person, how.name()), outcome);
            results.push(result.await);
        }
        Ok(results)
    }

    /// The people who ask to join a group.
    ///
    /// # Errors
    /// [`AccountError::GroupRefused`]: only admins see them.
    pub async fn join_requests(
        &self,
        id: &str,
        group: &ChatJid,
    ) -> Result<Vec<JoinRequest>, AccountError> {
        let handle = self.handle(id)?;
        let session = connected(&handle)?;
        self.stored(&handle, group)?;
        let found = session.join_requests(group).await;
        let found = found.map_err(|failure| refused(&handle, failure))?;
        let account = handle.number;
        let shown = self.0.wiring.store.read(|tx| {
            let show = |(person, at): &(Member, Option<u64>)| {
                Ok(JoinRequest {
                    person: groups::person(tx, account, person)?,
                    requested_at: at.map(clock::iso8601),
                })
            };
            found.iter().map(show).collect::<Result<_, _>>()
        });
        Ok(shown?)
    }

    /// Lets people in who ask to join a group, or does not. One result for each person.
    ///
    /// # Errors
    /// [`AccountError::GroupRefused`].
    pub async fn decide_requests(
        &self,
        id: &str,
        group: &ChatJid,
        approve: bool,
        people: Vec<ChatJid>,
    ) -> Result<Vec<MemberResult>, AccountError> {
        let handle = self.handle(id)?;
        let session = connected(&handle)?;
        let (known, members) = self.stored(&handle, group)?;
        let named = wire_names(&known, members.as_deref(), &people);
        let outcomes = session.decide_requests(group, approve, &named).await;
        let outcomes = outcomes.map_err(|failure| refused(&handle, failure))?;
        let action = if approve { "approve" } else { "reject" };
        let mut results = Vec::with_capacity(people.len());
        for (person, named) in people.iter().zip(&named) {
            let outcome = outcomes
                .iter()
                .find(|one| names(&one.person, person) || names(&one.person, named));
            let result = self.result(id, &handle, &known, (person, action), outcome);
            results.push(result.await);
        }
        Ok(results)
    }

    /// What became of one person, who is invited where WhatsApp offers that.
    async fn result(
        &self,
        id: &str,
        handle: &Handle,
        group: &Group,
        (person, action): (&ChatJid, &'static str),
        outcome: Option<&MemberOutcome>,
    ) -> MemberResult {
        let code = outcome.and_then(|one| one.code);
        let mut result = MemberResult {
            member: person.to_string(),
            action,
            status: if code.is_some() { "refused" } else { "done" },
            code,
            error: code.map(why),
        };
        if let Some((invite, expires)) = outcome.and_then(|one| one.invitation.as_ref()) {
            match self
                .invite(id, handle, group, person, (invite, *expires))
                .await
            {
                Ok(()) => {
                    result.status = "invited";
                    result.error = Some("not allowed: an invitation was sent".to_owned());
                }
                Err(error) => {
                    let words = format!("not allowed, and no invitation was sent: {error}");
                    result.error = Some(words);
                }
            }
        }
        result
    }

    /// Sends the invitation that a person alone can follow, as WhatsApp's clients do.
    async fn invite(
        &self,
        id: &str,
        handle: &Handle,
        group: &Group,
        person: &ChatJid,
        (code, expires): (&str, u64),
    ) -> Result<(), AccountError> {
        let session = connected(handle)?;
        let message_id = new_message_id(session.own_jid().as_deref());
        let message = invitation(&group.jid, &group.subject, code, expires);
        let ack = session.send(&message_id, person, &message).await;
        let ack = ack.map_err(|failure| match failure {
            SendFailure::NoAck => AccountError::Session("no acknowledgement".to_owned()),
            other => refused(handle, other),
        })?;
        let now = clock::now();
        let stored = Message {
            sender: session.own_jid().unwrap_or_default(),
            from_me: true,
            timestamp: ack.timestamp.unwrap_or(now),
            status: Some(DeliveryStatus::Sent),
            text: Some(group.subject.clone()),
            invite: Some(Invite {
                chat_id: Some(group.jid.clone()),
                name: Some(group.subject.clone()),
                code: Some(code.to_owned()),
                expires_at: Some(expires.saturating_mul(1_000)),
            }),
            ..Message::empty(id, message_id, person.to_string(), MessageKind::Invite, now)
        };
        self.change_stored(id, handle, move |ledger| {
            let (mut stored, account) = (stored.clone(), ledger.account);
            messages::insert(ledger.tx, account, &mut stored, None, Arrival::Live).map(drop)
        })
        .await
    }
}

/// Whether a JID is this person's.
fn names(person: &Member, jid: &ChatJid) -> bool {
    Member::of_jids([jid.to_string().as_str()]).is_some_and(|named| named.is(person))
}

/// [`wire_name`] of each person.
fn wire_names(group: &Group, members: Option<&[Member]>, people: &[ChatJid]) -> Vec<ChatJid> {
    let names = people
        .iter()
        .map(|person| wire_name(group, members, person));
    names.collect()
}

/// A person as the group names its members.
fn wire_name(group: &Group, members: Option<&[Member]>, person: &ChatJid) -> ChatJid {
    let member = members.and_then(|all| all.iter().find(|member| names(member, person)));
    let jid = member.and_then(|member| match group.by_lid {
        true => member.lid_jid(),
        false => member.number_jid(),
    });
    jid.and_then(|jid| ChatJid::parse(&jid).ok())
        .unwrap_or_else(|| person.clone())
}

/// Why WhatsApp did not do it for one person.
fn why(code: u16) -> String {
    let reason = match code {
        401 => "this person has blocked this account",
        403 => "this person's privacy settings, or the group's, do not allow it",
        404 => "this person is not on WhatsApp, or not in the group",
        406 => "the owner of a group stays its admin",
        408 => "this person left the group lately; an invite link lets them in",
        409 => "it is so already",
        419 => "the group is full",
        _ => return format!("WhatsApp refused (code {code})"),
    };
    words(reason, code)
}

/// A refusal of WhatsApp's in a sentence.
pub(super) fn words(reason: &str, code: u16) -> String {
    format!("WhatsApp refused: {reason} ({code})")
}
