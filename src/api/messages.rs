//! Single messages, and lists across chats.

use super::Req;
use super::answer::{Answer, One};
use super::auth::Caller;
use super::chats::{MessageList, read_account};
use super::error::ApiError;
use super::input::{Page, param, query};
use crate::account::AccountError;
use crate::store::{accounts, messages};

/// How many messages `GET /messages` lists, without a limit and at most.
const USUAL: usize = 50;
const MOST: usize = 500;

pub async fn get(req: Req) -> Result<Answer, ApiError> {
    let message_id = param(&req, "messageId");
    let message = read_account(&req, |tx, account| messages::get(tx, account, &message_id))?
        .ok_or(ApiError::NotFound("Message not found"))?;
    Answer::ok(&One("message", &message))
}

pub async fn of_all(req: Req) -> Result<Answer, ApiError> {
    let page = Page::of(&req, USUAL, MOST)?;
    let only = Caller::of(&req).narrow(query(&req, "accountId"))?;
    let found = req.state().store.read(|tx| {
        let accounts: Vec<u32> = match &only {
            Some(id) => match accounts::number(tx, id)? {
                Some(number) => vec![number],
                None => return Ok(None),
            },
            None => accounts::list(tx)?.into_iter().map(|a| a.number).collect(),
        };
        messages::recent(tx, &accounts, page.limit, page.offset).map(Some)
    })?;
    let found = found.ok_or(ApiError::Account(AccountError::NotFound))?;
    Answer::ok(&MessageList::new(page, found))
}
