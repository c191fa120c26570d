//! Accounts: create, list, show, delete.

#[cfg(test)]
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use serde_json::Value;

use super::answer::{Created, Done, Json};
use super::auth::Caller;
use super::context::Req;
use super::error::ApiError;
use super::values::{AccountId, OfAccount};
use crate::account::{self, AccountView};
use crate::fields::{Field, FieldError, request};

/// The longest `name` and `collectionName`, in characters.
const MAX_NAME: usize = 256;

/// A name of at most 256 characters.
#[derive(Debug, Clone)]
pub struct Name(String);

impl Field for Name {
    fn read(name: &'static str, value: &Value) -> Result<Self, FieldError> {
        let text = String::read(name, value)?;
        match text.chars().count() > MAX_NAME {
            true => Err(FieldError::Field {
                field: name,
                expected: "at most 256 characters long",
            }),
            false => Ok(Name(text)),
        }
    }

    fn is_blank(_value: &Value) -> bool {
        false
    }

    #[cfg(test)]
    fn schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "maxLength": MAX_NAME})
    }
}

request! {
    /// An account to create.
    pub struct NewAccount missing "id is required" {
        id: AccountId = "id",
        name: Option<Name> = "name",
        collection_name: Option<Name> = "collectionName",
    }
}

/// The account
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct OneAccount {
    account: AccountView,
}

/// In order of creation
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AccountList {
    accounts: Vec<AccountView>,
}

pub async fn create(req: Req, new: NewAccount) -> Result<Created<OneAccount>, ApiError> {
    let AccountId(id) = new.id;
    if !Caller::of(&req).may_see(&id) {
        return Err(ApiError::Forbidden(
            "This key is for another account".to_owned(),
        ));
    }
    let new = account::NewAccount {
        id,
        name: new.name.map(|Name(name)| name),
        collection_name: new.collection_name.map(|Name(name)| name),
    };
    let account = req.state().accounts.create(new).await?;
    Ok(Created(OneAccount { account }))
}

pub async fn list(req: Req, _: ()) -> Result<Json<AccountList>, ApiError> {
    let caller = Caller::of(&req);
    let mut accounts = req.state().accounts.list()?;
    accounts.retain(|account| caller.may_see(&account.id));
    Ok(Json(AccountList { accounts }))
}

pub async fn get(req: Req, of: OfAccount) -> Result<Json<OneAccount>, ApiError> {
    let account = req.state().accounts.get(&of.id.0)?;
    Ok(Json(OneAccount { account }))
}

request! {
    /// Another name of an account.
    pub struct NewName {
        /// empty or null: none
        name: Option<Name> = "name",
    }
}

pub async fn rename(
    req: Req,
    (of, new): (OfAccount, NewName),
) -> Result<Json<OneAccount>, ApiError> {
    let new = new
        .name
        .map(|Name(name)| name)
        .filter(|name| !name.is_empty());
    let account = req.state().accounts.rename(&of.id.0, new).await?;
    Ok(Json(OneAccount { account }))
}

pub async fn delete(req: Req, of: OfAccount) -> Result<Json<Done>, ApiError> {
    let id = of.id.0;
    req.state().accounts.delete(&id).await?;
    Ok(Done::new(format!("Account {id} deleted")))
}
