//! An account's connection: status, connect, disconnect, pairing code.

use serde::Serialize;

use super::Req;
use super::answer::Answer;
use super::error::ApiError;
use super::input::{Fields, param};
use crate::account::Status;
use crate::clock;
use crate::jid::phone_digits;

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
    if fields.is_missing("phone") {
        return Err(ApiError::Invalid("phone is required".to_owned()));
    }
    let phone =
        phone_digits(fields.string("phone")?.unwrap_or_default()).map_err(|_| ApiError::Field {
            field: "phone",
            expected: "a phone number of 7 to 15 digits, with the country's code",
        })?;
    let id = param(&req, "id");
    let code = req.state().accounts.pair_code(&id, &phone).await?;
    Answer::ok(&Code {
        code: code.code,
        expires_at: clock::iso8601(code.expires_at),
    })
}
