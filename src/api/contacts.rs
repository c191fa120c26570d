//! People: whether their numbers are on WhatsApp.

#[cfg(test)]
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use serde_json::Value;

use super::answer::Json;
use super::context::Req;
use super::error::ApiError;
use super::values::OfAccount;
use crate::account::{CHECKS, Checked};
use crate::fields::{Field, FieldError, request, written};
use crate::jid::{ChatJid, Recipient};

/// Numbers as people type them, 1 to 1,000. One that is no number is answered as such, and the others are checked.
#[derive(Debug)]
pub struct Numbers(Vec<String>);

impl Field for Numbers {
    fn read(name: &'static str, value: &Value) -> Result<Self, FieldError> {
        // A text that is no number is answered as such; a number that cannot be one is a mistake of the program.
        let one = |value: &Value| {
            let text = written(value)?;
            (value.is_string() || person(&text).is_ok()).then(|| text.into_owned())
        };
        let numbers: Option<Vec<String>> = match value {
            Value::Array(items) => items.iter().map(one).collect(),
            _ => None,
        };
        numbers
            .filter(|numbers| (1..=CHECKS).contains(&numbers.len()))
            .map(Numbers)
            .ok_or(FieldError::Field {
                field: name,
                expected: "a list of 1 to 1000 phone numbers, as strings or whole numbers",
            })
    }

    #[cfg(test)]
    fn schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "array", "minItems": 1, "maxItems": CHECKS, "items": {"type": "string"}})
    }
}

request! {
    /// The numbers to check.
    pub struct Check missing "numbers is required" {
        /// phone numbers with their country codes in any notation, or people's JIDs
        numbers: Numbers = "numbers",
    }
}

/// What WhatsApp says of one number
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct CheckedNumber {
    /// As it was typed.
    number: String,
    /// Whether it is on WhatsApp; `null` if that is not known.
    exists: Option<bool>,
    /// The chat with it. In some countries it is another form of the number than the one that was typed.
    chat_id: Option<String>,
    /// Its LID, where that is known.
    lid: Option<String>,
    /// Why it is not known whether it exists.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// One answer for each number, in their order
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CheckedNumbers {
    contacts: Vec<CheckedNumber>,
}

pub async fn check(
    req: Req,
    (of, asked): (OfAccount, Check),
) -> Result<Json<CheckedNumbers>, ApiError> {
    let mut contacts = Vec::with_capacity(asked.numbers.0.len());
    let (mut people, mut places) = (Vec::new(), Vec::new());
    for number in asked.numbers.0 {
        let person = person(&number);
        if let Ok(jid) = &person {
            people.push(jid.clone());
            places.push(contacts.len());
        }
        contacts.push(CheckedNumber {
            number,
            exists: None,
            chat_id: None,
            lid: None,
            error: person.err(),
        });
    }
    let answers = req.state().accounts.check(&of.id.0, &people).await?;
    for (at, answer) in places.into_iter().zip(answers) {
        let contact = &mut contacts[at];
        match answer {
            Checked::Absent => contact.exists = Some(false),
            Checked::Present { jid, lid } => {
                contact.exists = Some(true);
                contact.chat_id = Some(jid);
                contact.lid = lid;
            }
            Checked::Unanswered => {
                contact.error = Some("WhatsApp did not answer; try again later".to_owned());
            }
        }
    }
    Ok(Json(CheckedNumbers { contacts }))
}

fn person(number: &str) -> Result<ChatJid, String> {
    match Recipient::typed(number) {
        Ok(Recipient::Chat(jid)) if jid.is_person() => Ok(jid),
        Ok(Recipient::Chat(_) | Recipient::Name { .. }) => {
            Err("not a phone number or a person's JID".to_owned())
        }
        Err(error) => Err(error.to_string()),
    }
}
