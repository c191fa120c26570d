//! An account's chats, and the messages of one.

use serde::Serialize;

use super::Req;
use super::answer::Answer;
use super::error::ApiError;
use super::input::{Page, chat_param, number, param};
use crate::account::AccountError;
use crate::event::Message;
use crate::store::messages::{self, ChatSummary, PageQuery};
use crate::store::{ReadTx, StoreError, accounts};

/// How many entries a list has without a limit.
const USUAL: usize = 50;

/// How many chats, and messages of a chat, a list has at most.
const MOST_CHATS: usize = 500;
const MOST_MESSAGES: usize = 100;

/// Where a list stands in the whole.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Pagination {
    pub total: u64,
    pub limit: usize,
    pub offset: usize,
    pub has_more: bool,
}

impl Pagination {
    pub fn new(page: Page, total: u64, has_more: bool) -> Pagination {
        Pagination {
            total,
            limit: page.limit,
            offset: page.offset,
            has_more,
        }
    }
}

/// Messages, newest first.
#[derive(Debug, Serialize)]
pub struct MessageList {
    pub messages: Vec<Message>,
    pub pagination: Pagination,
}

impl MessageList {
    pub fn new(page: Page, found: messages::Page) -> MessageList {
        MessageList {
            pagination: Pagination::new(page, found.total, found.has_more),
            messages: found.messages,
        }
    }
}

#[derive(Debug, Serialize)]
struct ChatList {
    chats: Vec<ChatSummary>,
    pagination: Pagination,
}

/// Reads something of the account that the path names.
///
/// # Errors
/// 404 if there is no such account.
pub fn read_account<T>(
    req: &Req,
    job: impl FnOnce(&ReadTx<'_>, u32) -> Result<T, StoreError>,
) -> Result<T, ApiError> {
    let id = param(req, "id");
    let found = req.state().store.read(|tx| {
        accounts::number(tx, &id)?
            .map(|account| job(tx, account))
            .transpose()
    })?;
    found.ok_or(ApiError::Account(AccountError::NotFound))
}

pub async fn list(req: Req) -> Result<Answer, ApiError> {
    let page = Page::of(&req, USUAL, MOST_CHATS)?;
    let found = read_account(&req, |tx, account| {
        messages::chats(tx, account, page.limit, page.offset)
    })?;
    Answer::ok(&ChatList {
        pagination: Pagination::new(page, found.total, found.has_more),
        chats: found.chats,
    })
}

pub async fn messages(req: Req) -> Result<Answer, ApiError> {
    let page = Page::of(&req, USUAL, MOST_MESSAGES)?;
    let chat = chat_param(&req)?.to_string();
    let wanted = PageQuery {
        limit: page.limit,
        offset: page.offset,
        before: number(&req, "before")?,
        after: number(&req, "after")?,
    };
    let found = read_account(&req, |tx, account| {
        let chat = messages::found_as(tx, account, &chat)?;
        messages::page(tx, account, &chat, wanted)
    })?;
    Answer::ok(&MessageList::new(page, found))
}
