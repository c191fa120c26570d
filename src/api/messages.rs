//! Single messages, and lists across chats.

use super::Req;
use super::answer::{Answer, One};
use super::auth::Caller;
use super::chats::{MessageList, read_account};
use super::error::ApiError;
use super::input::{chat_query, param, query};
use super::page::Page;
use crate::account::AccountError;
use crate::store::accounts;
use crate::store::messages::{self, Cursor};

/// How many messages `GET /messages` lists, without a limit and at most.
const USUAL: usize = 50;
const MOST: usize = 500;

pub async fn get(req: Req) -> Result<Answer, ApiError> {
    let message_id = param(&req, "messageId");
    let accounts = &req.state().accounts;
    let chat = chat_query(&req, "chatId")?
        .map(|named| named.known(accounts, &param(&req, "id")))
        .transpose()?
        .map(|jid| jid.to_string());
    let message = read_account(&req, |tx, account| match &chat {
        Some(chat) => messages::get_in(tx, account, chat, &message_id),
        None => messages::get(tx, account, &message_id),
    })?
    .ok_or(ApiError::NotFound("Message not found"))?;
    Answer::ok(&One("message", &message))
}

pub async fn of_all(req: Req) -> Result<Answer, ApiError> {
    let page = Page::of(&req, USUAL, MOST)?;
    let part = page.part(&req, Cursor::parse)?;
    let only = Caller::of(&req).narrow(query(&req, "accountId"))?;
    let found = req.state().store.read(|tx| {
        let accounts: Vec<u32> = match &only {
            Some(id) => match accounts::number(tx, id)? {
                Some(number) => vec![number],
                None => return Ok(None),
            },
            None => accounts::list(tx)?.into_iter().map(|a| a.number).collect(),
        };
        messages::recent(tx, &accounts, part).map(Some)
    })?;
    let found = found.ok_or(ApiError::Account(AccountError::NotFound))?;
    Answer::ok(&MessageList::new(page, found))
}
