//! Types of fields that several endpoints have, and the requests that are only a path.

#[cfg(test)]
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::Value;

use crate::account::valid_account_id;
use crate::fields::{Addressee, Field, FieldError, request};

/// An account id: 1 to 64 of `A-Z a-z 0-9 _ -`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountId(pub String);

impl Field for AccountId {
    fn read(name: &'static str, value: &Value) -> Result<Self, FieldError> {
        let id = String::read(name, value)?;
        match valid_account_id(&id) {
            true => Ok(AccountId(id)),
            false => Err(FieldError::Field {
                field: name,
                expected: "1 to 64 of A-Z a-z 0-9 _ -",
            }),
        }
    }

    #[cfg(test)]
    fn schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$", "minLength": 1, "maxLength": 64})
    }
}

/// The id of an account that exists. Texts that are no account id name no account: 404.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownAccount(pub String);

impl Field for KnownAccount {
    fn read(name: &'static str, value: &Value) -> Result<Self, FieldError> {
        String::read(name, value).map(KnownAccount)
    }

    #[cfg(test)]
    fn schema(generator: &mut SchemaGenerator) -> Schema {
        AccountId::schema(generator)
    }
}

/// A segment of the path: whatever it is, what it names exists or the answer is 404.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment(pub String);

impl Field for Segment {
    fn read(name: &'static str, value: &Value) -> Result<Self, FieldError> {
        String::read(name, value).map(Segment)
    }

    #[cfg(test)]
    fn schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "minLength": 1, "pattern": "^[^/]+$"})
    }
}

request! {
    /// The account that the path names.
    pub struct OfAccount {
        /// the account's id
        id: KnownAccount = path "id",
    }
}

request! {
    /// The account that a list is limited to.
    pub struct OnlyAccount {
        /// only this account
        account: Option<KnownAccount> = query "accountId",
    }
}

request! {
    /// The webhook that the path names.
    pub struct OfHook {
        /// the webhook's id
        id: Segment = path "id",
    }
}

request! {
    /// The message that the path names, in the account that it names.
    pub struct OfMessage {
        /// the account's id
        id: KnownAccount = path "id",
        /// WhatsApp's id of the message
        message: Segment = path "messageId",
        /// the chat of the message: an id counts within its chat and sender. Without it the message that was stored
        /// first is meant
        chat: Option<Addressee> = query "chatId",
    }
}
