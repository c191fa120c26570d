//! The groups that an account is in.

use serde::Serialize;

use super::answer::Json;
use super::context::Req;
use super::error::ApiError;
use super::page::{ListCursor, Pagination, Paging};
use super::recipients::known;
use super::values::OfAccount;
use crate::account::{AccountError, Accounts, GroupView};
use crate::fields::{Addressee, request};
use crate::jid::{ChatJid, Server};
use crate::store::groups::{GroupCursor, GroupSummary};

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

/// The JID of a group; what is none is no group of the account's.
fn named(of: OfGroup, accounts: &Accounts, id: &str) -> Result<ChatJid, ApiError> {
    let jid = known(of.group, accounts, id)?;
    match jid.server() {
        Server::Group => Ok(jid),
        _ => Err(ApiError::Account(AccountError::GroupNotFound)),
    }
}
