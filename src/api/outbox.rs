//! The messages of an account that wait to be sent.

use super::answer::{Done, Json};
use super::context::Req;
use super::error::ApiError;
use super::page::Paging;
use super::values::{OfAccount, Segment};
use crate::account::OutboxView;
use crate::fields::request;

/// How many entries are listed, without a limit and at most.
const USUAL: usize = 50;
const MOST: usize = 500;

pub async fn list(
    req: Req,
    (of, paging): (OfAccount, Paging<u64>),
) -> Result<Json<OutboxView>, ApiError> {
    let (_, part) = paging.of(req.state().config.envelope, USUAL, MOST);
    Ok(Json(req.state().accounts.outbox(&of.id.0, part)?))
}

request! {
    /// The entry of the outbox that the path names.
    pub struct OfEntry {
        /// WhatsApp's id of the message
        message: Segment = path "messageId",
    }
}

pub async fn cancel(req: Req, (of, entry): (OfAccount, OfEntry)) -> Result<Json<Done>, ApiError> {
    let accounts = &req.state().accounts;
    accounts.cancel(&of.id.0, &entry.message.0).await?;
    Ok(Done::new("Message cancelled"))
}
