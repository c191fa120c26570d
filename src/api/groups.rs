//! The groups that an account is in.

use serde::Serialize;

#[cfg(test)]
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::Value;

use super::answer::{Created, Done, Json};
use super::context::Req;
use super::error::ApiError;
use super::page::{ListCursor, Pagination, Paging};
use super::recipients::{all_reached, known};
use super::timer::Seconds;
use super::values::OfAccount;
use crate::account::{
    AccountError, Accounts, Community, GroupView, JoinRequest, Joining, LinkResult, MemberResult,
};
use crate::fields::{Addressee, Field, FieldError, Mentions, request};
use crate::jid::{ChatJid, Server};
use crate::store::groups::{GroupCursor, GroupSummary, How, MemberAddMode, Setting};

/// How many groups a list has without a limit, and at most.
const USUAL: usize = 50;
const MOST: usize = 500;

impl ListCursor for GroupCursor {
    #[cfg(test)]
    const PATTERN: &'static str = "^(?:[0-9]{1,20}(?:-[0-9]{1,20})?)?$";

    fn parse(text: &str) -> Option<GroupCursor> {
        GroupCursor::parse(text)
    }
}

/// In the order of their ids
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct GroupList {
    groups: Vec<GroupSummary>,
    pagination: Pagination,
}

pub async fn list(
    req: Req,
    (of, paging): (OfAccount, Paging<GroupCursor>),
) -> Result<Json<GroupList>, ApiError> {
    let (page, part) = paging.of(req.state().config.envelope, USUAL, MOST);
    let found = req.state().accounts.groups(&of.id.0, &part)?;
    Ok(Json(GroupList {
        pagination: Pagination::new(page, found.total, found.next),
        groups: found.groups,
    }))
}

request! {
    /// The group that the path names.
    pub struct OfGroup {
        /// the group's JID
        group: Addressee = path "groupId",
    }
}

/// A group that the account is in
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct OneGroup {
    group: GroupView,
}

pub async fn get(req: Req, (of, this): (OfAccount, OfGroup)) -> Result<Json<OneGroup>, ApiError> {
    let (id, accounts) = (of.id.0, &req.state().accounts);
    let group = named(this, accounts, &id)?;
    let group = accounts.group(&id, &group).await?;
    Ok(Json(OneGroup { group }))
}

/// A group's subject: 1 to 100 characters, not spaces alone.
#[derive(Debug)]
pub struct Subject(String);

impl Field for Subject {
    fn read(name: &'static str, value: &Value) -> Result<Self, FieldError> {
        let text = String::read(name, value)?;
        match !text.trim().is_empty() && text.chars().count() <= 100 {
            true => Ok(Subject(text)),
            false => Err(FieldError::Field {
                field: name,
                expected: "1 to 100 characters",
            }),
        }
    }

    fn is_blank(_value: &Value) -> bool {
        false
    }

    #[cfg(test)]
    fn schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "minLength": 1, "maxLength": 100, "pattern": "\\S"})
    }
}

/// A group's description: up to 2,048 characters; empty removes it.
#[derive(Debug)]
pub struct Description(String);

impl Field for Description {
    fn read(name: &'static str, value: &Value) -> Result<Self, FieldError> {
        let text = String::read(name, value)?;
        match text.chars().count() <= 2_048 {
            true => Ok(Description(text)),
            false => Err(FieldError::Field {
                field: name,
                expected: "at most 2048 characters",
            }),
        }
    }

    fn is_blank(_value: &Value) -> bool {
        false
    }

    #[cfg(test)]
    fn schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "maxLength": 2048})
    }
}

/// The code of an invite link, of which the whole link may be given.
#[derive(Debug)]
pub struct Code(String);

impl Field for Code {
    fn read(name: &'static str, value: &Value) -> Result<Self, FieldError> {
        let text = String::read(name, value)?;
        let text = text.trim().trim_end_matches('/');
        let code = text
            .split('?')
            .next()
            .and_then(|link| link.rsplit('/').next());
        let is_code = |code: &&str| {
            (8..=64).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_alphanumeric())
        };
        match code.filter(is_code) {
            Some(code) => Ok(Code(code.to_owned())),
            None => Err(FieldError::Field {
                field: name,
                expected: "an invite link, such as https://chat.whatsapp.com/AbCdEfGhIjKlMnOpQrStUv",
            }),
        }
    }

    #[cfg(test)]
    fn schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": "^(?:https://chat\\.whatsapp\\.com/)?[A-Za-z0-9]{8,64}$"})
    }
}

impl Field for MemberAddMode {
    fn read(name: &'static str, value: &Value) -> Result<Self, FieldError> {
        match value.as_str() {
            Some("admin_add") => Ok(MemberAddMode::AdminAdd),
            Some("all_member_add") => Ok(MemberAddMode::AllMemberAdd),
            _ => Err(FieldError::Field {
                field: name,
                expected: "admin_add or all_member_add",
            }),
        }
    }

    #[cfg(test)]
    fn schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "enum": ["admin_add", "all_member_add"]})
    }
}

request! {
    /// A group to create.
    pub struct NewGroup missing "subject is required" {
        subject: Subject = "subject",
        /// the people to add, besides the account itself
        members: Mentions = "members",
    }
}

/// The new group, and what became of each person
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct MadeGroup {
    group: GroupView,
    results: Vec<MemberResult>,
}

pub async fn create(
    req: Req,
    (of, new): (OfAccount, NewGroup),
) -> Result<Created<MadeGroup>, ApiError> {
    let (id, accounts) = (of.id.0, &req.state().accounts);
    let people = people("members", new.members, accounts, &id).await?;
    let (group, results) = accounts.create_group(&id, &new.subject.0, people).await?;
    Ok(Created(MadeGroup { group, results }))
}

request! {
    /// What changes of a group; what is absent stays.
    pub struct GroupSettings {
        subject: Option<Subject> = "subject",
        /// an empty one removes it
        description: Option<Description> = "description",
        /// only admins write
        announcement: Option<bool> = "announcement",
        /// only admins change subject, description and picture
        locked: Option<bool> = "locked",
        /// an admin has to approve people who join by the invite link
        join_approval: Option<bool> = "joinApproval",
        /// who may add members
        member_add_mode: Option<MemberAddMode> = "memberAddMode",
        /// seconds after which messages disappear
        ephemeral: Option<Seconds> = "ephemeral",
    }
}

pub async fn change(
    req: Req,
    (of, this, change): (OfAccount, OfGroup, GroupSettings),
) -> Result<Json<OneGroup>, ApiError> {
    let (id, accounts) = (of.id.0, &req.state().accounts);
    let group = named(this, accounts, &id)?;
    let text = |text: String| Some(text).filter(|text| !text.is_empty());
    let describe = |new: Description| Setting::Description(String::new(), text(new.0));
    let settings: Vec<Setting> = [
        change.subject.map(|subject| Setting::Subject(subject.0)),
        change.description.map(describe),
        change.announcement.map(Setting::Announcement),
        change.locked.map(Setting::Locked),
        change.join_approval.map(Setting::JoinApproval),
        change.member_add_mode.map(Setting::MemberAddMode),
        change
            .ephemeral
            .map(|seconds| Setting::Ephemeral(seconds.0)),
    ]
    .into_iter()
    .flatten()
    .collect();
    if settings.is_empty() {
        let words = "subject, description, announcement, locked, joinApproval, memberAddMode or ephemeral is required";
        return Err(ApiError::Invalid(words.to_owned()));
    }
    let group = accounts.change_group(&id, &group, settings).await?;
    Ok(Json(OneGroup { group }))
}

request! {
    /// The people whose place in a group changes.
    pub struct MemberChanges {
        add: Mentions = "add",
        remove: Mentions = "remove",
        /// members who become admins
        promote: Mentions = "promote",
        /// admins who become members
        demote: Mentions = "demote",
    }
}

/// One result for each person, in the order of the request
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct MemberResults {
    results: Vec<MemberResult>,
}

pub async fn members(
    req: Req,
    (of, this, changes): (OfAccount, OfGroup, MemberChanges),
) -> Result<Json<MemberResults>, ApiError> {
    let (id, accounts) = (of.id.0, &req.state().accounts);
    let group = named(this, accounts, &id)?;
    let mut all = Vec::new();
    for (name, how, mentions) in [
        ("add", How::Add, changes.add),
        ("remove", How::Remove, changes.remove),
        ("promote", How::Promote, changes.promote),
        ("demote", How::Demote, changes.demote),
    ] {
        let people = people(name, mentions, accounts, &id).await?;
        if !people.is_empty() {
            all.push((how, people));
        }
    }
    if all.is_empty() {
        let words = "add, remove, promote or demote is required";
        return Err(ApiError::Invalid(words.to_owned()));
    }
    let mut results = Vec::new();
    for (how, people) in all {
        results.extend(accounts.change_members(&id, &group, how, people).await?);
    }
    Ok(Json(MemberResults { results }))
}

pub async fn leave(req: Req, (of, this): (OfAccount, OfGroup)) -> Result<Json<Done>, ApiError> {
    let (id, accounts) = (of.id.0, &req.state().accounts);
    let group = named(this, accounts, &id)?;
    accounts.leave_group(&id, &group).await?;
    Ok(Done::new("Group left"))
}

/// The link that people join a group by
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct InviteLink {
    invite_link: String,
}

pub async fn invite(
    req: Req,
    (of, this): (OfAccount, OfGroup),
) -> Result<Json<InviteLink>, ApiError> {
    link(&req, of, this, false).await
}

pub async fn reset_invite(
    req: Req,
    (of, this): (OfAccount, OfGroup),
) -> Result<Json<InviteLink>, ApiError> {
    link(&req, of, this, true).await
}

async fn link(
    req: &Req,
    of: OfAccount,
    this: OfGroup,
    reset: bool,
) -> Result<Json<InviteLink>, ApiError> {
    let (id, accounts) = (of.id.0, &req.state().accounts);
    let group = named(this, accounts, &id)?;
    let invite_link = accounts.invite_link(&id, &group, reset).await?;
    Ok(Json(InviteLink { invite_link }))
}

request! {
    /// The invite link to look at.
    pub struct Invitation missing "link is required" {
        /// the link, or its code
        link: Code = query "link",
    }
}

/// The group to which a link leads
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct InvitedTo {
    group: GroupSummary,
}

pub async fn invitation(
    req: Req,
    (of, asked): (OfAccount, Invitation),
) -> Result<Json<InvitedTo>, ApiError> {
    let accounts = &req.state().accounts;
    let group = accounts.invitation(&of.id.0, &asked.link.0).await?;
    Ok(Json(InvitedTo { group }))
}

request! {
    /// The invite link to follow.
    pub struct Join missing "link is required" {
        /// the link, or its code
        link: Code = "link",
    }
}

pub async fn join(req: Req, (of, join): (OfAccount, Join)) -> Result<Json<Joining>, ApiError> {
    let accounts = &req.state().accounts;
    Ok(Json(accounts.join_group(&of.id.0, &join.link.0).await?))
}

/// The people who ask to join a group
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct JoinRequests {
    requests: Vec<JoinRequest>,
}

pub async fn requests(
    req: Req,
    (of, this): (OfAccount, OfGroup),
) -> Result<Json<JoinRequests>, ApiError> {
    let (id, accounts) = (of.id.0, &req.state().accounts);
    let group = named(this, accounts, &id)?;
    let requests = accounts.join_requests(&id, &group).await?;
    Ok(Json(JoinRequests { requests }))
}

request! {
    /// Which requests to join are approved and which are rejected.
    pub struct Decisions {
        approve: Mentions = "approve",
        reject: Mentions = "reject",
    }
}

pub async fn decide(
    req: Req,
    (of, this, decisions): (OfAccount, OfGroup, Decisions),
) -> Result<Json<MemberResults>, ApiError> {
    let (id, accounts) = (of.id.0, &req.state().accounts);
    let group = named(this, accounts, &id)?;
    let approved = people("approve", decisions.approve, accounts, &id).await?;
    let rejected = people("reject", decisions.reject, accounts, &id).await?;
    if approved.is_empty() && rejected.is_empty() {
        let words = "approve or reject is required";
        return Err(ApiError::Invalid(words.to_owned()));
    }
    let mut results = Vec::new();
    for (approve, people) in [(true, approved), (false, rejected)] {
        if !people.is_empty() {
            results.extend(
                accounts
                    .decide_requests(&id, &group, approve, people)
                    .await?,
            );
        }
    }
    Ok(Json(MemberResults { results }))
}

request! {
    /// A community to create.
    pub struct NewCommunity missing "subject is required" {
        subject: Subject = "subject",
        description: Option<Description> = "description",
    }
}

pub async fn create_community(
    req: Req,
    (of, new): (OfAccount, NewCommunity),
) -> Result<Created<OneGroup>, ApiError> {
    let accounts = &req.state().accounts;
    let text = new.description.map(|text| text.0);
    let text = text.as_deref().filter(|text| !text.is_empty());
    let made = accounts.create_community(&of.id.0, &new.subject.0, text);
    Ok(Created(OneGroup { group: made.await? }))
}

/// The communities that the account is in
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CommunityList {
    communities: Vec<Community>,
}

pub async fn communities(req: Req, of: OfAccount) -> Result<Json<CommunityList>, ApiError> {
    let communities = req.state().accounts.communities(&of.id.0)?;
    Ok(Json(CommunityList { communities }))
}

request! {
    /// The groups that a community gets and loses.
    pub struct Links {
        /// the JIDs of groups
        link: Mentions = "link",
        /// the JIDs of groups
        unlink: Mentions = "unlink",
    }
}

/// One result for each group, in the order of the request
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LinkResults {
    results: Vec<LinkResult>,
}

pub async fn link_groups(
    req: Req,
    (of, this, links): (OfAccount, OfGroup, Links),
) -> Result<Json<LinkResults>, ApiError> {
    let (id, accounts) = (of.id.0, &req.state().accounts);
    let community = named(this, accounts, &id)?;
    let mut all = Vec::new();
    for (field, link, mentions) in [("link", true, links.link), ("unlink", false, links.unlink)] {
        let parts = all_reached(mentions.0, accounts, &id).await?;
        if parts.iter().any(|part| part.server() != Server::Group) {
            let expected = "a list of the JIDs of groups";
            return Err(ApiError::Field { field, expected });
        }
        if !parts.is_empty() {
            all.push((link, parts));
        }
    }
    if all.is_empty() {
        return Err(ApiError::Invalid("link or unlink is required".to_owned()));
    }
    let mut results = Vec::new();
    for (link, parts) in all {
        results.extend(accounts.link_groups(&id, &community, link, parts).await?);
    }
    Ok(Json(LinkResults { results }))
}

/// The people whom a field names; others than people are refused.
async fn people(
    field: &'static str,
    named: Mentions,
    accounts: &Accounts,
    id: &str,
) -> Result<Vec<ChatJid>, ApiError> {
    let people = all_reached(named.0, accounts, id).await?;
    match people.iter().all(ChatJid::is_person) {
        true => Ok(people),
        false => Err(ApiError::Field {
            field,
            expected: "a list of people: phone numbers, JIDs or usernames",
        }),
    }
}

/// The JID of a group; what is none is no group of the account's.
fn named(of: OfGroup, accounts: &Accounts, id: &str) -> Result<ChatJid, ApiError> {
    let jid = known(of.group, accounts, id)?;
    match jid.server() {
        Server::Group => Ok(jid),
        _ => Err(ApiError::Account(AccountError::GroupNotFound)),
    }
}
