//! Which chat a field means: a username may have to be looked up.

use super::error::ApiError;
use crate::account::{AccountError, Accounts};
use crate::fields::Addressee;
use crate::jid::ChatJid;

/// The chat to write to in an account; an unknown username is looked up at WhatsApp.
///
/// # Errors
/// 4xx that names the field; 404 for an unknown account; 503 if WhatsApp does not answer.
pub async fn reached(
    addressee: Addressee,
    accounts: &Accounts,
    id: &str,
) -> Result<ChatJid, ApiError> {
    let Addressee { field, recipient } = addressee;
    let found = accounts.chat_of(id, recipient).await;
    found.map_err(|error| named_in(field, error))
}

/// The chats of several recipients, as [`reached`].
///
/// # Errors
/// As [`reached`], of the first that fails.
pub async fn all_reached(
    people: Vec<Addressee>,
    accounts: &Accounts,
    id: &str,
) -> Result<Vec<ChatJid>, ApiError> {
    let mut found = Vec::with_capacity(people.len());
    for person in people {
        found.push(reached(person, accounts, id).await?);
    }
    Ok(found)
}

/// The chat to read in an account.
///
/// # Errors
/// 404 that names the field for an unknown username; 404 for an unknown account.
pub fn known(addressee: Addressee, accounts: &Accounts, id: &str) -> Result<ChatJid, ApiError> {
    let Addressee { field, recipient } = addressee;
    let found = accounts.known_chat(id, recipient);
    found.map_err(|error| named_in(field, error))
}

/// An account's error about the recipient in a field, with the field's name.
pub fn named_in(field: &'static str, error: AccountError) -> ApiError {
    match error {
        AccountError::Name(error) => ApiError::Name { field, error },
        other => other.into(),
    }
}
