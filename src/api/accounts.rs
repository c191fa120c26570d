//! Accounts: create, list, show, delete.

use super::Req;
use super::answer::{Answer, One};
use super::auth::Caller;
use super::error::ApiError;
use super::input::{Fields, param};
use crate::account::{NewAccount, valid_account_id};

/// The longest `name` and `collectionName`, in characters.
const MAX_NAME: usize = 256;

pub async fn create(mut req: Req) -> Result<Answer, ApiError> {
    let fields = Fields::read(&mut req).await?;
    if fields.is_missing("id") {
        return Err(ApiError::Invalid("id is required".to_owned()));
    }
    let new = NewAccount {
        id: fields.string("id")?.unwrap_or_default().to_owned(),
        name: name(&fields, "name")?,
        collection_name: name(&fields, "collectionName")?,
    };
    if !valid_account_id(&new.id) {
        return Err(ApiError::Field {
            field: "id",
            expected: "1 to 64 of A-Z a-z 0-9 _ -",
        });
    }
    if !Caller::of(&req).may_see(&new.id) {
        return Err(ApiError::Forbidden(
            "This key is for another account".to_owned(),
        ));
    }
    let account = req.state().accounts.create(new).await?;
    Answer::created(&One("account", &account))
}

fn name(fields: &Fields, field: &'static str) -> Result<Option<String>, ApiError> {
    let name = fields.string(field)?;
    if name.is_some_and(|name| name.chars().count() > MAX_NAME) {
        return Err(ApiError::Field {
            field,
            expected: "at most 256 characters long",
        });
    }
    Ok(name.map(str::to_owned))
}

pub async fn list(req: Req) -> Result<Answer, ApiError> {
    let caller = Caller::of(&req);
    let mut accounts = req.state().accounts.list()?;
    accounts.retain(|account| caller.may_see(&account.id));
    Answer::ok(&One("accounts", &accounts))
}

pub async fn get(req: Req) -> Result<Answer, ApiError> {
    let account = req.state().accounts.get(&param(&req, "id"))?;
    Answer::ok(&One("account", &account))
}

pub async fn rename(mut req: Req) -> Result<Answer, ApiError> {
    let fields = Fields::read(&mut req).await?;
    let new = name(&fields, "name")?.filter(|name| !name.is_empty());
    let id = param(&req, "id");
    let account = req.state().accounts.rename(&id, new).await?;
    Answer::ok(&One("account", &account))
}

pub async fn delete(req: Req) -> Result<Answer, ApiError> {
    let id = param(&req, "id");
    req.state().accounts.delete(&id).await?;
    Answer::message(&format!("Account {id} deleted"))
}
