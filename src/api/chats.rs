//! An account's chats, and the messages of one.

use futures_lite::future;
use serde::Serialize;

use super::Req;
use super::answer::Answer;
use super::error::ApiError;
use super::input::{chat_param, flag, number, param, query};
use super::page::Page;
use crate::account::AccountError;
use crate::message::Message;
use crate::store::messages::{self, ChatFilter, ChatSummary, Cursor, PageQuery, Part, Room};
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
    /// A page may end before its limit: it is full at [`PAGE_BYTES`](super::page::PAGE_BYTES).
    pub has_more: bool,
    /// The next request's `cursor`, if there is more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl Pagination {
    pub fn new(page: Page, total: u64, next: Option<impl ToString>) -> Pagination {
        Pagination {
            total,
            limit: page.limit,
            offset: page.offset,
            has_more: next.is_some(),
            next: next.map(|next| next.to_string()),
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
            pagination: Pagination::new(page, found.total, found.next),
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

/// How many chats are looked at in one go on the event thread.
const LOOKS: usize = 200;

pub async fn list(req: Req) -> Result<Answer, ApiError> {
    let page = Page::of(&req, USUAL, MOST_CHATS)?;
    let part = page.part(&req, Cursor::parse)?;
    let filter = ChatFilter {
        unread: flag(&req, "unread")?,
        groups: flag(&req, "groups")?,
        words: query(&req, "q").map(|words| words.to_lowercase()),
    };
    if !filter.is_none() {
        return sifted(&req, page, part, &filter).await;
    }
    let found = read_account(&req, |tx, account| messages::chats(tx, account, part))?;
    Answer::ok(&ChatList {
        pagination: Pagination::new(page, found.total, found.next),
        chats: found.chats,
    })
}

/// The chats that pass a filter. All are looked through, for the total, with turns for others between.
async fn sifted(
    req: &Req,
    page: Page,
    part: Part,
    filter: &ChatFilter,
) -> Result<Answer, ApiError> {
    let (mut chats, mut room) = (Vec::new(), Room::new(part.limit, part.bytes));
    let (mut total, mut passed, mut full, mut at) = (0, 0, false, None);
    let mut last = None;
    loop {
        let found = read_account(req, |tx, account| {
            let found = messages::sift_chats(tx, account, filter, at, LOOKS)?;
            for place in &found.found {
                total += 1;
                let is_behind = part.behind.is_none_or(|before| {
                    (place.timestamp, place.number) < (before.timestamp, before.number)
                });
                if !is_behind || full {
                    continue;
                }
                passed += 1;
                if passed <= part.skip {
                    continue;
                }
                let chat = messages::chat_at(tx, account, *place)?;
                full = !room.has_some() || !room.take(&chat);
                if !full {
                    last = Some(*place);
                    chats.push(chat);
                }
            }
            Ok(found)
        })?;
        match found.next {
            Some(next) => at = Some(next),
            None => break,
        }
        future::yield_now().await;
    }
    Answer::ok(&ChatList {
        pagination: Pagination::new(page, total, last.filter(|_| full)),
        chats,
    })
}

pub async fn messages(req: Req) -> Result<Answer, ApiError> {
    let page = Page::of(&req, USUAL, MOST_MESSAGES)?;
    let chat = chat_param(&req)?;
    let part = page.part(&req, Cursor::parse)?;
    let wanted = PageQuery {
        limit: part.limit,
        offset: part.skip,
        before: number(&req, "before")?,
        after: number(&req, "after")?,
        bytes: part.bytes,
        behind: part.behind,
    };
    let chat = chat
        .known(&req.state().accounts, &param(&req, "id"))?
        .to_string();
    let found = read_account(&req, |tx, account| {
        let chat = messages::found_as(tx, account, &chat)?;
        messages::page(tx, account, &chat, wanted)
    })?;
    Answer::ok(&MessageList::new(page, found))
}
