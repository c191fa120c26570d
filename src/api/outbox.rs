//! The messages of an account that wait to be sent.

use super::Req;
use super::answer::Answer;
use super::error::ApiError;
use super::input::param;
use super::page::Page;

/// How many entries are listed, without a limit and at most.
const USUAL: usize = 50;
const MOST: usize = 500;

pub async fn list(req: Req) -> Result<Answer, ApiError> {
    let page = Page::of(&req, USUAL, MOST)?;
    let part = page.part(&req, |text| text.parse().ok())?;
    let id = param(&req, "id");
    let accounts = &req.state().accounts;
    Answer::ok(&accounts.outbox(&id, part)?)
}

pub async fn cancel(req: Req) -> Result<Answer, ApiError> {
    let (id, message_id) = (param(&req, "id"), param(&req, "messageId"));
    req.state().accounts.cancel(&id, &message_id).await?;
    Answer::message("Message cancelled")
}
