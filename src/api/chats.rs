//! An account's chats, and the messages of one.

use futures_lite::future;
use serde::Serialize;

use super::answer::{Done, Json};
use super::context::Req;
use super::error::ApiError;
use super::page::{Page, Pagination, Paging};
use super::recipients::known;
use super::values::OfAccount;
use crate::account::AccountError;
use crate::clock;
use crate::fields::{Addressee, FieldError, Moment, Whole, request};
use crate::message::Message;
use crate::store::messages::{
    self, ChatFilter, ChatMarks, ChatSummary, Cursor, FOREVER, PageQuery, Part, Room,
};
use crate::store::{ReadTx, StoreError, accounts};

/// How many entries a list has without a limit.
const USUAL: usize = 50;

/// How many chats, and messages of a chat, a list has at most.
const MOST_CHATS: usize = 500;
const MOST_MESSAGES: usize = 100;

/// Newest first
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
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

/// Newest first
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ChatList {
    chats: Vec<ChatSummary>,
    pagination: Pagination,
}

/// Reads something of an account.
///
/// # Errors
/// 404 if there is no such account.
pub fn read_account<T>(
    req: &Req,
    id: &str,
    job: impl FnOnce(&ReadTx<'_>, u32) -> Result<T, StoreError>,
) -> Result<T, ApiError> {
    let found = req.state().store.read(|tx| {
        accounts::number(tx, id)?
            .map(|account| job(tx, account))
            .transpose()
    })?;
    found.ok_or(ApiError::Account(AccountError::NotFound))
}

/// How many chats are looked at in one go on the event thread.
const LOOKS: usize = 200;

request! {
    /// What a list of chats is limited to.
    pub struct Filter {
        /// only chats with unread messages; with one of these, `total` counts those that pass
        unread: bool = query "unread",
        /// only groups
        groups: bool = query "groups",
        /// only archived chats, or with `false` only others
        archived: Option<bool> = query "archived",
        /// only pinned chats, or with `false` only others
        pinned: Option<bool> = query "pinned",
        /// only muted chats, or with `false` only others
        muted: Option<bool> = query "muted",
        /// part of the name, username or number
        words: Option<String> = query "q",
    }
}

pub async fn list(
    req: Req,
    (of, filter, paging): (OfAccount, Filter, Paging<Cursor>),
) -> Result<Json<ChatList>, ApiError> {
    let id = of.id.0;
    let (page, part) = paging.of(req.state().config.envelope, USUAL, MOST_CHATS);
    let filter = ChatFilter {
        unread: filter.unread,
        groups: filter.groups,
        archived: filter.archived,
        pinned: filter.pinned,
        muted: filter.muted,
        words: filter.words.map(|words| words.to_lowercase()),
    };
    if !filter.is_none() {
        return sifted(&req, &id, page, part, &filter).await;
    }
    let found = read_account(&req, &id, |tx, account| messages::chats(tx, account, part))?;
    Ok(Json(ChatList {
        pagination: Pagination::new(page, found.total, found.next),
        chats: found.chats,
    }))
}

/// The chats that pass a filter. All are looked through, for the total, with turns for others between.
async fn sifted(
    req: &Req,
    id: &str,
    page: Page,
    part: Part,
    filter: &ChatFilter,
) -> Result<Json<ChatList>, ApiError> {
    let (mut chats, mut room) = (Vec::new(), Room::new(part.limit, part.bytes));
    let (mut total, mut passed, mut full, mut at) = (0, 0, false, None);
    let mut last = None;
    loop {
        let found = read_account(req, id, |tx, account| {
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
    Ok(Json(ChatList {
        pagination: Pagination::new(page, total, last.filter(|_| full)),
        chats,
    }))
}

request! {
    /// The chat that the path names, and the time of its messages.
    pub struct OfChat {
        /// a JID, a phone number, or `@` and a username
        chat: Addressee = path "chatId",
        /// Unix milliseconds; only what is earlier
        before: Option<Whole> = query "before",
        /// Unix milliseconds; only what is later
        after: Option<Whole> = query "after",
    }
}

pub async fn messages(
    req: Req,
    (of, paging, wanted): (OfAccount, Paging<Cursor>, OfChat),
) -> Result<Json<MessageList>, ApiError> {
    let id = of.id.0;
    let (page, part) = paging.of(req.state().config.envelope, USUAL, MOST_MESSAGES);
    let query = PageQuery {
        limit: part.limit,
        offset: part.skip,
        before: wanted.before.map(|Whole(time)| time),
        after: wanted.after.map(|Whole(time)| time),
        bytes: part.bytes,
        behind: part.behind,
    };
    let chat = known(wanted.chat, &req.state().accounts, &id)?.to_string();
    let found = read_account(&req, &id, |tx, account| {
        let chat = messages::found_as(tx, account, &chat)?;
        messages::page(tx, account, &chat, query)
    })?;
    Ok(Json(MessageList::new(page, found)))
}

request! {
    /// What changes of the chat that the path names; what is absent stays.
    pub struct ChatChange {
        /// a JID, a phone number, or `@` and a username
        chat: Addressee = path "chatId",
        archived: Option<bool> = "archived",
        pinned: Option<bool> = "pinned",
        /// without an end, unless `mutedUntil` says when
        muted: Option<bool> = "muted",
        /// ISO 8601 or Unix milliseconds: mutes it until then
        muted_until: Option<Moment> = "mutedUntil",
        /// `true`: to be looked at again; `false`: read, which the senders learn, too
        unread: Option<bool> = "unread",
    }
}

/// The chat after the change
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct OneChat {
    chat: ChatSummary,
}

pub async fn change(
    req: Req,
    (of, change): (OfAccount, ChatChange),
) -> Result<Json<OneChat>, ApiError> {
    let id = of.id.0;
    let accounts = &req.state().accounts;
    let muted_until = match (change.muted, change.muted_until) {
        (Some(false), Some(_)) => {
            let expected = "absent where \"muted\" is false";
            return Err(FieldError::Field {
                field: "mutedUntil",
                expected,
            }
            .into());
        }
        (_, Some(Moment(until))) if until <= clock::now() => {
            let expected = "a time in the future";
            return Err(FieldError::Field {
                field: "mutedUntil",
                expected,
            }
            .into());
        }
        (_, Some(Moment(until))) => Some(Some(until)),
        (Some(true), None) => Some(Some(FOREVER)),
        (Some(false), None) => Some(None),
        (None, None) => None,
    };
    let marks = ChatMarks {
        archived: change.archived,
        pinned: change.pinned,
        muted_until,
        unread: change.unread,
    };
    if marks == ChatMarks::default() {
        let words = "archived, pinned, muted, mutedUntil or unread is required";
        return Err(ApiError::Invalid(words.to_owned()));
    }
    let chat = known(change.chat, accounts, &id)?;
    let chat = accounts.mark_chat(&id, chat, marks).await?;
    Ok(Json(OneChat { chat }))
}

request! {
    /// The chat that the path names.
    pub struct ThisChat {
        /// a JID, a phone number, or `@` and a username
        chat: Addressee = path "chatId",
    }
}

pub async fn delete(req: Req, (of, this): (OfAccount, ThisChat)) -> Result<Json<Done>, ApiError> {
    let accounts = &req.state().accounts;
    let chat = known(this.chat, accounts, &of.id.0)?;
    accounts.delete_chat(&of.id.0, chat).await?;
    Ok(Done::new("Chat deleted"))
}
