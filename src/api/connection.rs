//! An account's connection: status, connect, disconnect, pairing code.

use serde::Serialize;

use super::Req;
use super::answer::Answer;
use super::error::ApiError;
use super::input::{Fields, param};
use crate::account::Status;
use crate::clock;

pub async fn status(req: Req) -> Result<Answer, ApiError> {
    Answer::ok(&req.state().accounts.status(&param(&req, "id"))?)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Connecting<'a> {
    account_id: &'a str,
    status: Status,
    message: String,
}

pub async fn connect(req: Req) -> Result<Answer, ApiError> {
    let id = param(&req, "id");
    let status = req.state().accounts.connect(&id).await?;
    Answer::ok(&Connecting {
        account_id: &id,
        status,
        message: format!("Attempting to connect {id}"),
    })
}

pub async fn disconnect(req: Req) -> Result<Answer, ApiError> {
    let id = param(&req, "id");
    req.state().accounts.disconnect(&id).await?;
    Answer::message(&format!("Account {id} disconnected"))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Code {
    code: String,
    expires_at: String,
}

pub async fn pair_code(mut req: Req) -> Result<Answer, ApiError> {
    let fields = Fields::read(&mut req).await?;
    let phone = match fields.is_missing("phone") {
        true => None,
        false => fields.phone("phone")?,
    };
    let phone = phone.ok_or_else(|| ApiError::Invalid("phone is required".to_owned()))?;
    let id = param(&req, "id");
    let code = req.state().accounts.pair_code(&id, &phone).await?;
    Answer::ok(&Code {
        code: code.code,
        expires_at: clock::iso8601(code.expires_at),
    })
}
