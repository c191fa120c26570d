//! Which chats a request means: a username may have to be looked up, and `to` may be a list.

#[cfg(test)]
use schemars::SchemaGenerator;

use super::error::ApiError;
use crate::account::{AccountError, Accounts, Addressed};
#[cfg(test)]
use crate::fields::Described;
use crate::fields::{Addressee, Field, FieldError, Fields, Parts, Request};
use crate::jid::ChatJid;

/// The most recipients of one request, and of a message that is forwarded: as many as WhatsApp's clients take.
const USUAL: usize = 256;
pub const FORWARDS: usize = 5;
const TO: &str = "to";

/// A request whose field `to` may also be a list of at most `MOST` recipients.
#[derive(Debug)]
pub struct ToMany<T, const MOST: usize = USUAL> {
    /// The request as it is for the first of them.
    pub request: T,
    /// The list, if there is one.
    pub all: Option<Vec<Addressee>>,
}

impl<T: Request, const MOST: usize> Request for ToMany<T, MOST> {
    const HAS_BODY: bool = T::HAS_BODY;

    fn read(parts: &Parts) -> Result<Self, FieldError> {
        let Some((all, body)) = list_in(&parts.body, MOST)? else {
            let request = T::read(parts)?;
            return Ok(ToMany { request, all: None });
        };
        let parts = Parts {
            body,
            ..parts.clone()
        };
        Ok(ToMany {
            request: T::read(&parts)?,
            all: Some(all),
        })
    }

    fn check_early(body: &Fields) -> Result<(), FieldError> {
        match list_in(body, MOST)? {
            Some((_, body)) => T::check_early(&body),
            None => T::check_early(body),
        }
    }

    #[cfg(test)]
    fn describe(generator: &mut SchemaGenerator, out: &mut Vec<Described>) {
        let before = out.len();
        T::describe(generator, out);
        // The schema stays that of one recipient: generated clients would wrap a union into classes of its own.
        for field in out.iter_mut().skip(before).filter(|f| f.slot.name == TO) {
            let list = format!(
                "a list of up to {MOST} of them is taken, too, and answered with `results`"
            );
            let line = if field.doc.is_empty() { "" } else { "; " };
            field.doc += &format!("{line}{list}");
        }
    }

    #[cfg(test)]
    fn one_of() -> &'static [&'static str] {
        T::one_of()
    }
}

/// The recipients that the body lists, and the body with the first of them alone. A list with something in it that is no
/// recipient is refused as a whole, for nothing has gone yet: the error says which.
fn list_in(body: &Fields, most: usize) -> Result<Option<(Vec<Addressee>, Fields)>, FieldError> {
    let Some(list) = body.list(TO) else {
        return Ok(None);
    };
    let first = match list {
        [first, ..] if list.len() <= most => first.clone(),
        _ => {
            return Err(FieldError::Field {
                field: TO,
                expected: match most {
                    FORWARDS => "a recipient, or a list of 1 to 5 of them",
                    _ => "a recipient, or a list of 1 to 256 of them",
                },
            });
        }
    };
    let mut all = Vec::with_capacity(list.len());
    for (index, value) in list.iter().enumerate() {
        let read = Addressee::read(TO, value);
        all.push(read.map_err(|error| FieldError::Words(format!("{TO}[{index}]: {error}")))?);
    }
    Ok(Some((all, body.with(TO, first))))
}

/// Each recipient as it was written, and its chat or why it has none: an unknown username does not stop the others.
pub async fn each_reached(
    people: Vec<Addressee>,
    accounts: &Accounts,
    id: &str,
) -> Result<Vec<Addressed>, AccountError> {
    let mut found = Vec::with_capacity(people.len());
    for person in people {
        let written = person.recipient.to_string();
        let chat = match accounts.chat_of(id, person.recipient).await {
            Ok(chat) => Ok(chat),
            Err(AccountError::Name(error)) => Err(error.to_string()),
            Err(error) => return Err(error),
        };
        found.push((written, chat));
    }
    Ok(found)
}

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
