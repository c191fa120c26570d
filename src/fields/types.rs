//! The types of fields that more than one request has.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

#[cfg(test)]
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::Value;

use super::{Field, FieldError};
use crate::clock::{self, Millis};
use crate::jid::{NotANumber, NotARecipient, Recipient, phone_digits};

/// The longest text, in characters.
const MAX_TEXT: usize = 65_536;

/// The most mentions in a message; WhatsApp's largest groups have 1,024 members.
pub const MAX_MENTIONS: usize = 1024;

/// The largest whole number: every JSON reader, and so every client, holds it exactly.
pub const MAX_WHOLE: u64 = (1 << 53) - 1;

fn wrong<T>(field: &'static str, expected: &'static str) -> Result<T, FieldError> {
    Err(FieldError::Field { field, expected })
}

/// A string, also an empty one.
impl Field for String {
    fn read(name: &'static str, value: &Value) -> Result<Self, FieldError> {
        string(name, value).map(str::to_owned)
    }

    fn is_blank(_value: &Value) -> bool {
        false
    }

    #[cfg(test)]
    fn schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string"})
    }
}

fn string<'a>(field: &'static str, value: &'a Value) -> Result<&'a str, FieldError> {
    match value {
        Value::String(text) => Ok(text),
        _ => wrong(field, "a string"),
    }
}

/// A string that is not empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NonEmpty(pub String);

impl Field for NonEmpty {
    fn read(name: &'static str, value: &Value) -> Result<Self, FieldError> {
        match string(name, value)? {
            "" => wrong(name, "a string that is not empty"),
            text => Ok(NonEmpty(text.to_owned())),
        }
    }

    #[cfg(test)]
    fn schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "minLength": 1})
    }
}

/// A character has at most 4 bytes: most texts need no counting.
fn is_too_long(text: &str) -> bool {
    text.len() > MAX_TEXT && text.chars().count() > MAX_TEXT
}

/// A text to send: 1 to 65,536 characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text(pub String);

impl Field for Text {
    fn read(name: &'static str, value: &Value) -> Result<Self, FieldError> {
        let text = string(name, value)?;
        if text.is_empty() || is_too_long(text) {
            return Err(FieldError::Words(format!(
                "Message length invalid. Must be between 1 and {MAX_TEXT} characters"
            )));
        }
        Ok(Text(text.to_owned()))
    }

    fn is_blank(_value: &Value) -> bool {
        false
    }

    #[cfg(test)]
    fn schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "minLength": 1, "maxLength": MAX_TEXT})
    }
}

/// A text of `MIN` to `MAX` characters that are not control characters, except line feeds; blanks around it do not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limited<const MIN: usize, const MAX: usize>(pub String);

impl<const MIN: usize, const MAX: usize> Field for Limited<MIN, MAX> {
    fn read(name: &'static str, value: &Value) -> Result<Self, FieldError> {
        limited(name, value, MIN..=MAX).map(Limited)
    }

    fn is_blank(_value: &Value) -> bool {
        false
    }

    #[cfg(test)]
    fn schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "minLength": MIN, "maxLength": MAX})
    }
}

fn limited(
    name: &'static str,
    value: &Value,
    characters: RangeInclusive<usize>,
) -> Result<String, FieldError> {
    let text = string(name, value)?.trim();
    let fits = characters.contains(&text.chars().count());
    match fits && !text.contains(|c: char| c.is_control() && c != '\n') {
        true => Ok(text.to_owned()),
        false => Err(FieldError::Words(format!(
            "\"{name}\" must be a text of {} to {} characters",
            characters.start(),
            characters.end()
        ))),
    }
}

/// A file's caption: at most 65,536 characters. An empty one is absent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caption(pub String);

impl Field for Caption {
    fn read(name: &'static str, value: &Value) -> Result<Self, FieldError> {
        let text = string(name, value)?;
        match is_too_long(text) {
            true => wrong(name, "at most 65536 characters long"),
            false => Ok(Caption(text.to_owned())),
        }
    }

    #[cfg(test)]
    fn schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "maxLength": MAX_TEXT})
    }
}

/// Yes or no, also in the words that forms have for them; an absent one is no.
impl Field for bool {
    const REQUIRED: bool = false;

    fn read(name: &'static str, value: &Value) -> Result<Self, FieldError> {
        let word = match value {
            Value::Bool(yes) => return Ok(*yes),
            Value::String(word) => word.to_ascii_lowercase(),
            _ => return wrong(name, "true or false"),
        };
        match word.as_str() {
            "true" | "1" | "yes" | "on" => Ok(true),
            "false" | "0" | "no" | "off" => Ok(false),
            _ => wrong(name, "true or false"),
        }
    }

    fn absent(_name: &'static str) -> Result<Self, FieldError> {
        Ok(false)
    }

    #[cfg(test)]
    fn schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "boolean"})
    }
}

/// Reads a whole number within `bounds`, also out of its digits as text. `expected` says what it must be.
///
/// # Errors
/// [`FieldError::Field`].
pub fn whole(
    field: &'static str,
    value: &Value,
    bounds: RangeInclusive<u64>,
    expected: &'static str,
) -> Result<u64, FieldError> {
    let number = match value {
        Value::String(text) => text.parse().ok(),
        value => value.as_u64(),
    };
    match number.filter(|number| bounds.contains(number)) {
        Some(number) => Ok(number),
        None => wrong(field, expected),
    }
}

/// A whole number, 0 to 2^53 - 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Whole(pub u64);

impl Field for Whole {
    fn read(name: &'static str, value: &Value) -> Result<Self, FieldError> {
        whole(name, value, 0..=MAX_WHOLE, "a whole number, 0 or more").map(Whole)
    }

    #[cfg(test)]
    fn schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "integer", "format": "int64", "minimum": 0, "maximum": MAX_WHOLE})
    }
}

/// A moment in Unix milliseconds: ISO 8601 with an offset from UTC, or the milliseconds as a number or its digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment(pub Millis);

impl Field for Moment {
    fn read(name: &'static str, value: &Value) -> Result<Self, FieldError> {
        let found = match value {
            Value::String(text) => match text.parse() {
                Ok(millis) => Some(millis),
                Err(_) => clock::parse_iso8601(text.trim()),
            },
            value => value.as_u64(),
        };
        match found.filter(|at| *at <= MAX_WHOLE) {
            Some(at) => Ok(Moment(at)),
            None => wrong(
                name,
                "a time: ISO 8601 with its offset, such as 2026-12-31T08:00:00+01:00, or Unix milliseconds",
            ),
        }
    }

    /// An empty time is refused: taken for none, it would send at once.
    fn is_blank(_value: &Value) -> bool {
        false
    }

    #[cfg(test)]
    fn schema(_generator: &mut SchemaGenerator) -> Schema {
        // A number is taken, too; generated clients would wrap a union of both into classes of its own.
        json_schema!({"type": "string"})
    }
}

/// A list of strings.
impl Field for Vec<String> {
    fn read(name: &'static str, value: &Value) -> Result<Self, FieldError> {
        let items = match value {
            Value::Array(items) => items.iter(),
            _ => return wrong(name, "a list of strings"),
        };
        let texts = items.map(|item| item.as_str().map(str::to_owned));
        match texts.collect() {
            Some(texts) => Ok(texts),
            None => wrong(name, "a list of strings"),
        }
    }

    fn is_blank(_value: &Value) -> bool {
        false
    }

    #[cfg(test)]
    fn schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "array", "items": {"type": "string"}})
    }
}

/// An object whose values are strings; in a form, such an object as JSON.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StringMap(pub BTreeMap<String, String>);

impl Field for StringMap {
    fn read(name: &'static str, value: &Value) -> Result<Self, FieldError> {
        const EXPECTED: &str = "an object of strings";
        let found = match value {
            Value::String(text) if text.is_empty() => Some(BTreeMap::new()),
            Value::String(text) => serde_json::from_str(text).ok(),
            Value::Object(map) => map
                .iter()
                .map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
                .collect(),
            _ => None,
        };
        match found {
            Some(map) => Ok(StringMap(map)),
            None => wrong(name, EXPECTED),
        }
    }

    fn is_blank(_value: &Value) -> bool {
        false
    }

    #[cfg(test)]
    fn schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "object", "additionalProperties": {"type": "string"}})
    }
}

/// A JID or a phone number as it was written: as a string or, as spreadsheets and templates have
/// numbers, as a whole number, which some programs write as `491701234567.0`.
pub fn written<'a>(value: &'a Value) -> Option<Cow<'a, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Number(number) => {
            let whole = number.as_u64().or_else(|| {
                let decimal = number.as_f64()?;
                // Below 9e15 each whole number has an f64 of its own.
                let is_whole = decimal.fract() == 0.0 && (0.0..9e15).contains(&decimal);
                is_whole.then_some(decimal as u64)
            })?;
            Some(Cow::Owned(whole.to_string()))
        }
        _ => None,
    }
}

/// A recipient, with the name of the field that it stands in: a username is resolved later, and the error of that names the
/// field, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addressee {
    pub field: &'static str,
    pub recipient: Recipient,
}

impl Addressee {
    fn parse(field: &'static str, text: &str) -> Result<Addressee, FieldError> {
        match Recipient::typed(text) {
            Ok(recipient) => Ok(Addressee { field, recipient }),
            Err(error) => Err(bad_recipient(field, error)),
        }
    }
}

impl Field for Addressee {
    fn read(name: &'static str, value: &Value) -> Result<Self, FieldError> {
        match written(value) {
            Some(text) => Addressee::parse(name, &text),
            None => wrong(
                name,
                "a JID or a phone number, as a string or a whole number",
            ),
        }
    }

    #[cfg(test)]
    fn schema(generator: &mut SchemaGenerator) -> Schema {
        const NAME: &str = "Recipient";
        let definition = json_schema!({
            "type": "string",
            "minLength": 4,
            "maxLength": 128,
            "pattern": RECIPIENT_PATTERN,
            "description": "a JID, or a phone number with its country code: 7 to 15 digits, with `+`, `00` or `tel:` in \
                front, spaces, dashes, dots and brackets, as people write it. A JSON integer is taken, too. Or `@` and a \
                username (3 to 35 letters, digits, `_` and `.`), followed by `:` and the username key if its owner \
                asks strangers for one. Usernames are looked up at WhatsApp once a day",
        });
        generator
            .definitions_mut()
            .insert(NAME.to_owned(), definition.into());
        Schema::new_ref(format!("#/components/schemas/{NAME}"))
    }
}

/// A part of what [`Recipient::typed`] takes: each text that matches is a recipient.
#[cfg(test)]
pub const RECIPIENT_PATTERN: &str = "^(?:@[A-Za-z][A-Za-z0-9_]{2,34}(?::[0-9]{4})?\
    |(?:\\+|00)?[1-9](?:[ -]?[0-9]){6,14}|[1-9][0-9]{6,14}@(?:s\\.whatsapp\\.net|c\\.us)\
    |[0-9]{1,24}@(?:lid|newsletter|broadcast)|[0-9]{1,20}-[0-9]{1,20}@g\\.us|[0-9]{1,30}@g\\.us\
    |status@broadcast)$";

/// The API's own words for a text that is no recipient.
fn bad_recipient(field: &'static str, error: NotARecipient) -> FieldError {
    match error {
        NotARecipient::Username => FieldError::Field {
            field,
            expected: "a username as WhatsApp has them: \"@\" and 3 to 35 letters, digits, \"_\" and \
                       \".\", one of them a letter",
        },
        NotARecipient::Number(NotANumber::Malformed) => FieldError::Words(format!(
            "Invalid WhatsApp JID format for \"{field}\" field. \
             Expected format: 1234567890@s.whatsapp.net or 123456789@g.us"
        )),
        NotARecipient::Number(NotANumber::LeadingZero) => leading_zero(field),
    }
}

/// A national number does not say which country it belongs to.
fn leading_zero(field: &'static str) -> FieldError {
    FieldError::Field {
        field,
        expected: "a phone number with the country code, without the leading 0",
    }
}

/// A phone number with its country code, as digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phone(pub String);

impl Field for Phone {
    fn read(name: &'static str, value: &Value) -> Result<Self, FieldError> {
        let Some(text) = written(value) else {
            return wrong(
                name,
                "a JID or a phone number, as a string or a whole number",
            );
        };
        match phone_digits(&text) {
            Ok(digits) => Ok(Phone(digits)),
            Err(NotANumber::LeadingZero) => Err(leading_zero(name)),
            Err(NotANumber::Malformed) => wrong(
                name,
                "a phone number of 7 to 15 digits, with the country code",
            ),
        }
    }

    #[cfg(test)]
    fn schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "minLength": 7,
            "maxLength": 64,
            "pattern": "^(?:\\+|00)?[1-9](?:[ -]?[0-9]){6,14}$",
            "description": "a phone number with its country code. A JSON integer is taken, too",
        })
    }
}

/// The people whom a message mentions, at most 1,024; absent is empty. In a form one field for each, or the list as JSON or
/// separated by commas.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mentions(pub Vec<Addressee>);

impl Field for Mentions {
    const REQUIRED: bool = false;

    fn read(name: &'static str, value: &Value) -> Result<Self, FieldError> {
        let read = |value: &Value| match written(value) {
            Some(text) => Addressee::parse(name, &text),
            None => wrong(name, "a list of JIDs, phone numbers and usernames"),
        };
        let found: Vec<Addressee> = match value {
            Value::Array(items) => items.iter().map(read).collect::<Result<_, _>>()?,
            Value::String(text) => match serde_json::from_str(text) {
                Ok(Value::Array(items)) => items.iter().map(read).collect::<Result<_, _>>()?,
                Ok(_) | Err(_) => text
                    .split(',')
                    .filter(|part| !part.trim().is_empty())
                    .map(|part| Addressee::parse(name, part))
                    .collect::<Result<_, _>>()?,
            },
            value => vec![read(value)?],
        };
        match found.len() > MAX_MENTIONS {
            true => wrong(name, "a list of at most 1024 JIDs"),
            false => Ok(Mentions(found)),
        }
    }

    fn absent(_name: &'static str) -> Result<Self, FieldError> {
        Ok(Mentions::default())
    }

    #[cfg(test)]
    fn schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "array", "maxItems": MAX_MENTIONS, "items": Addressee::schema(generator)})
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refusal<T: Field>(value: Value) -> String {
        match T::read("to", &value) {
            Ok(_) => panic!("{value} is taken"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_wrong_type_names_its_field() {
        assert_eq!(refusal::<String>(json!(5)), "\"to\" must be a string");
        assert_eq!(
            refusal::<NonEmpty>(json!("")),
            "\"to\" must be a string that is not empty"
        );
        assert_eq!(
            refusal::<bool>(json!("maybe")),
            "\"to\" must be true or false"
        );
        for value in [json!(["a", 1]), json!("a"), json!({})] {
            assert_eq!(
                refusal::<Vec<String>>(value),
                "\"to\" must be a list of strings"
            );
        }
        for value in [json!({"a": 1}), json!([]), json!("[")] {
            assert_eq!(
                refusal::<StringMap>(value),
                "\"to\" must be an object of strings"
            );
        }
        for value in [json!(-1), json!(1.5), json!("1x"), json!(MAX_WHOLE + 1)] {
            assert_eq!(
                refusal::<Whole>(value),
                "\"to\" must be a whole number, 0 or more"
            );
        }
    }

    #[test]
    fn values_come_as_text_too() {
        for yes in ["true", "1", "YES", "on"] {
            assert_eq!(bool::read("x", &json!(yes)), Ok(true));
        }
        assert_eq!(bool::read("x", &json!("off")), Ok(false));
        assert_eq!(Whole::read("x", &json!("17")), Ok(Whole(17)));
        let map = StringMap::read("x", &json!("{\"a\": \"b\"}")).unwrap();
        assert_eq!(map.0["a"], "b");
    }

    #[test]
    fn texts_are_counted_in_characters() {
        let read = |n: usize| Text::read("m", &json!("ü".repeat(n)));
        assert!(read(0).is_err() && read(1).is_ok() && read(MAX_TEXT).is_ok());
        assert_eq!(
            read(MAX_TEXT + 1).unwrap_err().to_string(),
            "Message length invalid. Must be between 1 and 65536 characters"
        );
        assert!(Caption::read("m", &json!("ü".repeat(MAX_TEXT))).is_ok());
        assert!(Caption::read("m", &json!("ü".repeat(MAX_TEXT + 1))).is_err());
    }

    #[test]
    fn a_bad_recipient_is_refused_in_the_contracts_words() {
        assert_eq!(
            refusal::<Addressee>(json!("me")),
            "Invalid WhatsApp JID format for \"to\" field. Expected format: \
             1234567890@s.whatsapp.net or 123456789@g.us"
        );
    }

    #[test]
    fn recipients_may_be_whole_numbers() {
        for value in [
            json!(491701234567_u64),
            json!(491701234567.0),
            json!("491701234567"),
            json!("491701234567.0"),
            json!("+49 (0) 170 1234567"),
        ] {
            let read = Addressee::read("to", &value).unwrap();
            assert_eq!(read.recipient.to_string(), "491701234567@s.whatsapp.net");
        }
        let phone = Phone::read("to", &json!(491701234567_u64));
        assert_eq!(phone, Ok(Phone("491701234567".to_owned())));
        for (value, words) in [
            (json!(1.5), "as a string or a whole number"),
            (json!(-491701234567_i64), "as a string or a whole number"),
            (json!(true), "as a string or a whole number"),
            (json!(["491701234567"]), "as a string or a whole number"),
            (json!("0170 1234567"), "without the leading 0"),
            (json!("0170"), "without the leading 0"),
        ] {
            for error in [refusal::<Addressee>(value.clone()), refusal::<Phone>(value)] {
                assert!(error.contains(words) && error.contains("\"to\""), "{error}");
            }
        }
        assert!(Addressee::read("to", &json!(123)).is_err());
        assert!(Addressee::read("to", &json!(120363017953516826_u64)).is_err());
    }

    #[test]
    fn mentions_come_in_every_form() {
        let read = |value: Value| Mentions::read("mentions", &value);
        for value in [
            json!(["+49 170 1234567", 491711111111_u64]),
            json!("[491701234567, \"491711111111@c.us\"]"),
            json!("0049 170 1234567, \u{200e}491711111111"),
        ] {
            let found = read(value.clone()).unwrap().0;
            let found = found.iter().map(|named| named.recipient.to_string());
            let expected = ["491701234567@s.whatsapp.net", "491711111111@s.whatsapp.net"];
            assert_eq!(found.collect::<Vec<_>>(), expected, "{value}");
        }
        for value in [
            json!(491701234567_u64),
            json!("491701234567"),
            json!(["@bob.b"]),
        ] {
            assert_eq!(read(value.clone()).unwrap().0.len(), 1, "{value}");
        }
        for value in [
            json!([true]),
            json!({}),
            json!(["0170 1234567"]),
            json!("me"),
            json!("@me"),
            json!(vec!["491701234567"; MAX_MENTIONS + 1]),
        ] {
            let error = read(value).unwrap_err().to_string();
            assert!(error.contains("mentions"), "{error}");
        }
    }
}
