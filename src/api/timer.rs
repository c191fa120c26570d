//! The timer after which a chat's messages disappear.

#[cfg(test)]
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::Value;

use super::answer::{Done, Json};
use super::context::Req;
use super::error::ApiError;
use super::recipients::reached;
use super::values::OfAccount;
use crate::fields::{Addressee, Field, FieldError, request, whole};

/// What WhatsApp's clients offer: off, a day, a week, 90 days.
const SECONDS: [u64; 4] = [0, 86_400, 604_800, 7_776_000];

#[derive(Debug)]
pub struct Seconds(pub u32);

impl Field for Seconds {
    fn read(name: &'static str, value: &Value) -> Result<Self, FieldError> {
        let expected = "0, 86400, 604800 or 7776000";
        let seconds = whole(name, value, 0..=7_776_000, expected)?;
        match u32::try_from(seconds) {
            Ok(known) if SECONDS.contains(&seconds) => Ok(Seconds(known)),
            _ => Err(FieldError::Field {
                field: name,
                expected,
            }),
        }
    }

    #[cfg(test)]
    fn schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "integer", "enum": SECONDS})
    }
}

request! {
    /// After how many seconds the messages of a chat disappear; 0: they stay.
    pub struct SetTimer missing "seconds is required" {
        /// a JID, a phone number, or `@` and a username
        chat: Addressee = path "chatId",
        seconds: Seconds = "seconds",
    }
}

pub async fn set(req: Req, (of, set): (OfAccount, SetTimer)) -> Result<Json<Done>, ApiError> {
    let accounts = &req.state().accounts;
    let chat = reached(set.chat, accounts, &of.id.0).await?;
    accounts.set_timer(&of.id.0, chat, set.seconds.0).await?;
    Ok(Done::new("Timer set"))
}
