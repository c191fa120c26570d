//! Single messages, and lists across chats.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;

use super::answer::Json;
use super::auth::Caller;
use super::chats::{MessageList, read_account};
use super::context::Req;
use super::error::ApiError;
use super::page::Paging;
use super::recipients::known;
use super::values::{OfMessage, OnlyAccount};
use crate::account::AccountError;
use crate::fields::request;
use crate::message::Message;
use crate::store::accounts;
use crate::store::messages::{self, Cursor};

/// How many messages `GET /messages` lists, without a limit and at most.
const USUAL: usize = 50;
const MOST: usize = 500;

/// The message
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct OneMessage {
    message: Message,
    /// its protobuf in base64, if it is not understood in full and has at most 64 KiB; only with `raw=true`
    #[serde(skip_serializing_if = "Option::is_none")]
    raw: Option<String>,
}

request! {
    /// What is shown of a message.
    pub struct Shown {
        /// also the message's protobuf, if it is kept
        raw: bool = query "raw",
    }
}

pub async fn get(req: Req, (of, shown): (OfMessage, Shown)) -> Result<Json<OneMessage>, ApiError> {
    let (id, message_id) = (of.id.0, of.message.0);
    let accounts = &req.state().accounts;
    let chat = of.chat.map(|chat| known(chat, accounts, &id)).transpose()?;
    let chat = chat.map(|jid| jid.to_string());
    let found = read_account(&req, &id, |tx, account| {
        let found = match &chat {
            Some(chat) => messages::get_in(tx, account, chat, &message_id)?,
            None => messages::get(tx, account, &message_id)?,
        };
        let Some(message) = found else {
            return Ok(None);
        };
        let raw = match shown.raw {
            true => messages::raw(tx, account, &message)?,
            false => None,
        };
        let raw = raw.map(|bytes| BASE64_STANDARD.encode(bytes));
        Ok(Some(OneMessage { message, raw }))
    })?;
    found
        .map(Json)
        .ok_or(ApiError::NotFound("Message not found"))
}

pub async fn of_all(
    req: Req,
    (only, paging): (OnlyAccount, Paging<Cursor>),
) -> Result<Json<MessageList>, ApiError> {
    let (page, part) = paging.of(req.state().config.envelope, USUAL, MOST);
    let only = Caller::of(&req).narrow(only.account.map(|id| id.0))?;
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
    Ok(Json(MessageList::new(page, found)))
}
