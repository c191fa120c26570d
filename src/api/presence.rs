//! Whether an account is online, and whose presence it is told of.

#[cfg(test)]
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::Value;

use super::answer::{Done, Json};
use super::context::Req;
use super::error::ApiError;
use super::people::{ThisPerson, person};
use super::recipients::reached;
use super::values::OfAccount;
use crate::fields::{Field, FieldError, request};

/// WhatsApp's words.
const WORDS: [&str; 2] = ["available", "unavailable"];

#[derive(Debug)]
pub struct Online(bool);

impl Field for Online {
    fn read(name: &'static str, value: &Value) -> Result<Self, FieldError> {
        match value.as_str() {
            Some("available") => Ok(Online(true)),
            Some("unavailable") => Ok(Online(false)),
            _ => Err(FieldError::Field {
                field: name,
                expected: "available or unavailable",
            }),
        }
    }

    fn is_blank(_value: &Value) -> bool {
        false
    }

    #[cfg(test)]
    fn schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "enum": WORDS})
    }
}

request! {
    /// Whether others see the account as online.
    pub struct SetPresence missing "presence is required: available or unavailable" {
        presence: Online = "presence",
    }
}

pub async fn set(req: Req, (of, set): (OfAccount, SetPresence)) -> Result<Json<Done>, ApiError> {
    let Online(online) = set.presence;
    req.state().accounts.set_online(&of.id.0, online).await?;
    Ok(Done::new(format!(
        "Presence: {}",
        WORDS[usize::from(!online)]
    )))
}

pub async fn subscribe(
    req: Req,
    (of, this): (OfAccount, ThisPerson),
) -> Result<Json<Done>, ApiError> {
    let accounts = &req.state().accounts;
    let person = person(reached(this.contact, accounts, &of.id.0).await?)?;
    accounts.subscribe(&of.id.0, person).await?;
    Ok(Done::new("Subscribed to the presence"))
}
