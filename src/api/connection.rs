//! An account's connection: status, connect, disconnect, pairing code.

use serde::Serialize;

use super::answer::{Done, Json};
use super::context::Req;
use super::error::ApiError;
use super::values::OfAccount;
use crate::account::{Status, StatusView};
use crate::clock;
use crate::fields::{Phone, request};

pub async fn status(req: Req, of: OfAccount) -> Result<Json<StatusView>, ApiError> {
    Ok(Json(req.state().accounts.status(&of.id.0)?))
}

/// It connects
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Connecting {
    account_id: String,
    status: Status,
    message: String,
}

pub async fn connect(req: Req, of: OfAccount) -> Result<Json<Connecting>, ApiError> {
    let id = of.id.0;
    let status = req.state().accounts.connect(&id).await?;
    Ok(Json(Connecting {
        message: format!("Attempting to connect {id}"),
        account_id: id,
        status,
    }))
}

pub async fn disconnect(req: Req, of: OfAccount) -> Result<Json<Done>, ApiError> {
    let id = of.id.0;
    req.state().accounts.disconnect(&id).await?;
    Ok(Done::new(format!("Account {id} disconnected")))
}

request! {
    /// The phone that a pairing code is for.
    pub struct PairCode missing "phone is required" {
        phone: Phone = "phone",
    }
}

/// The code to type on the phone
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "PairingCode"))]
#[serde(rename_all = "camelCase")]
pub struct Code {
    code: String,
    expires_at: String,
}

pub async fn pair_code(req: Req, (of, new): (OfAccount, PairCode)) -> Result<Json<Code>, ApiError> {
    let code = req
        .state()
        .accounts
        .pair_code(&of.id.0, &new.phone.0)
        .await?;
    Ok(Json(Code {
        code: code.code,
        expires_at: clock::iso8601(code.expires_at),
    }))
}
