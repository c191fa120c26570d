//! What comes in: JSON bodies and forms field by field, path parameters, query parameters.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use futures_lite::AsyncReadExt;
use http_types::Body;
use percent_encoding::{percent_decode, percent_decode_str};
use serde_json::{Map, Value};

use super::Req;
use super::error::ApiError;
use crate::account::{AccountError, Accounts};
use crate::jid::{ChatJid, NotANumber, NotARecipient, Recipient, phone_digits};

/// A text's longest form, in characters.
const MAX_TEXT: usize = 65_536;

/// The most mentions in a message; WhatsApp's largest groups have 1,024 members.
const MAX_MENTIONS: usize = 1024;

/// The most fields of a form, and the most values in all: one field may have many.
pub const MAX_FIELDS: usize = 32;
pub const MAX_VALUES: usize = MAX_FIELDS + MAX_MENTIONS;

/// The largest number in a query: what every JSON reader, and so every client, holds exactly.
const MAX_WHOLE: u64 = (1 << 53) - 1;

/// The JSON object of a request's body, or its form, read field by field. A field that is `null` is absent;
/// fields that nobody asks for are ignored.
#[derive(Debug)]
pub struct Fields(Map<String, Value>);

impl Fields {
    /// Reads the body; an empty one is an object without fields.
    ///
    /// `application/x-www-form-urlencoded` is what `curl -d` says of everything, so the body's own look
    /// decides there.
    ///
    /// # Errors
    /// 413 over the limit (`max_json`), before the body is read if its length is announced; 415 for another
    /// media type; 400 if it is neither a JSON object nor a form.
    pub async fn read(req: &mut Req) -> Result<Fields, ApiError> {
        let limit = req.state().config.max_json;
        let declared = Declared::of(req);
        match declared {
            Declared::Multipart => return super::upload::fields_of_form(req).await,
            Declared::Other if req.is_empty() != Some(true) => {
                return Err(ApiError::UnsupportedMedia);
            }
            Declared::Json | Declared::Form | Declared::Other => {}
        }
        let body = read_body(req.take_body(), limit).await?;
        let is_form = declared == Declared::Form && looks_like_json(&body) == Some(false);
        Fields::of_body(&body, is_form)
    }

    /// The fields of a form.
    pub fn from_map(map: Map<String, Value>) -> Fields {
        Fields(map)
    }

    /// Reads a body, with or without a byte order mark; an empty one is an object without fields.
    ///
    /// # Errors
    /// 400 if it is not a JSON object, or, with `is_form`, no form.
    pub fn of_body(body: &[u8], is_form: bool) -> Result<Fields, ApiError> {
        let body = unmarked(body);
        match is_form {
            true => Fields::of_form(&body),
            false => Fields::of_json(&body),
        }
    }

    /// `to=49170…&message=a+b`: the fields of `application/x-www-form-urlencoded`. One that comes again is a
    /// list, and so is one whose name ends in `[]`.
    fn of_form(body: &[u8]) -> Result<Fields, ApiError> {
        let decoded = |text: &[u8]| {
            let spaced: Vec<u8> = text
                .iter()
                .map(|&byte| if byte == b'+' { b' ' } else { byte })
                .collect();
            String::from_utf8(percent_decode(&spaced).collect())
                .map_err(|_| ApiError::Invalid("The form is not UTF-8".to_owned()))
        };
        let (mut fields, mut values) = (Map::new(), 0);
        let pairs = body.trim_ascii().split(|byte| *byte == b'&');
        for pair in pairs.filter(|pair| !pair.is_empty()) {
            values += 1;
            if values > MAX_VALUES {
                return Err(too_many_values());
            }
            let at = pair.iter().position(|byte| *byte == b'=');
            let (name, value) = match at {
                Some(at) => (&pair[..at], &pair[at + 1..]),
                None => (pair, &b""[..]),
            };
            add_field(&mut fields, decoded(name)?, decoded(value)?);
            if fields.len() > MAX_FIELDS {
                return Err(too_many_fields());
            }
        }
        Ok(Fields(fields))
    }

    fn of_json(body: &[u8]) -> Result<Fields, ApiError> {
        if body.iter().all(u8::is_ascii_whitespace) {
            return Ok(Fields(Map::new()));
        }
        match serde_json::from_slice(body) {
            Ok(Value::Object(map)) => Ok(Fields(map)),
            Ok(_) => Err(ApiError::Invalid(
                "The body must be a JSON object".to_owned(),
            )),
            Err(error) => Err(ApiError::Invalid(format!(
                "The body is not valid JSON: {error}"
            ))),
        }
    }

    /// All fields as they came.
    pub fn into_map(self) -> Map<String, Value> {
        self.0
    }

    fn get(&self, field: &str) -> Option<&Value> {
        self.0.get(field).filter(|value| !value.is_null())
    }

    /// Takes a file out that stands in the fields as text: `base64`, or a `data:` URI at `url`.
    pub fn take_data(&mut self) -> Option<(&'static str, String)> {
        let is_data = |text: &str| {
            let start = text.trim_start().as_bytes().get(..5);
            start.is_some_and(|start| start.eq_ignore_ascii_case(b"data:"))
        };
        for field in ["base64", "url"] {
            if let Some(Value::String(text)) = self.0.get_mut(field)
                && !text.is_empty()
                && (field == "base64" || is_data(text))
            {
                return Some((field, std::mem::take(text)));
            }
        }
        None
    }

    /// Whether the field is absent or `null`.
    pub fn is_absent(&self, field: &str) -> bool {
        self.get(field).is_none()
    }

    /// Whether the field is absent, `null` or an empty string.
    pub fn is_missing(&self, field: &str) -> bool {
        self.get(field)
            .is_none_or(|value| value.as_str() == Some(""))
    }

    /// A string.
    ///
    /// # Errors
    /// 400 that names the field if it is something else.
    pub fn string(&self, field: &'static str) -> Result<Option<&str>, ApiError> {
        match self.get(field) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(ApiError::Field {
                field,
                expected: "a string",
            }),
        }
    }

    /// A string that is not empty.
    ///
    /// # Errors
    /// 400 that names the field if it is something else than a string.
    pub fn filled(&self, field: &'static str) -> Result<Option<&str>, ApiError> {
        Ok(self.string(field)?.filter(|text| !text.is_empty()))
    }

    /// Yes or no, also as the words that a form has for them; absent is no.
    ///
    /// # Errors
    /// 400 that names the field if it is something else.
    pub fn flag(&self, field: &'static str) -> Result<bool, ApiError> {
        match self.get(field) {
            None => Ok(false),
            Some(Value::Bool(yes)) => Ok(*yes),
            Some(Value::String(word)) => match word.to_ascii_lowercase().as_str() {
                "true" | "1" | "yes" | "on" => Ok(true),
                "false" | "0" | "no" | "off" | "" => Ok(false),
                _ => Err(ApiError::Field {
                    field,
                    expected: "true or false",
                }),
            },
            Some(_) => Err(ApiError::Field {
                field,
                expected: "true or false",
            }),
        }
    }

    /// A whole number, also as digits; absent is `None`.
    ///
    /// # Errors
    /// 400 that names the field if it is something else, or out of `bounds`; `expected` says what
    /// it must be.
    pub fn number(
        &self,
        field: &'static str,
        bounds: RangeInclusive<u64>,
        expected: &'static str,
    ) -> Result<Option<u64>, ApiError> {
        let number = match self.get(field) {
            None => return Ok(None),
            Some(Value::String(text)) if text.is_empty() => return Ok(None),
            Some(Value::String(text)) => text.parse().ok(),
            Some(value) => value.as_u64(),
        };
        match number.filter(|number| bounds.contains(number)) {
            Some(number) => Ok(Some(number)),
            None => Err(ApiError::Field { field, expected }),
        }
    }

    /// The fields in a form of their own: the same for the same fields, in whatever order.
    pub fn canonical(&self) -> String {
        // A map of serde_json's is sorted, and JSON values always serialize.
        serde_json::to_string(&self.0).unwrap_or_default()
    }

    /// A list of strings; absent is `None`.
    ///
    /// # Errors
    /// 400 that names the field if it is something else.
    pub fn strings(&self, field: &'static str) -> Result<Option<Vec<&str>>, ApiError> {
        let wrong = || ApiError::Field {
            field,
            expected: "a list of strings",
        };
        match self.get(field) {
            None => Ok(None),
            Some(Value::Array(items)) => items
                .iter()
                .map(|item| item.as_str().ok_or_else(wrong))
                .collect::<Result<Vec<_>, _>>()
                .map(Some),
            Some(_) => Err(wrong()),
        }
    }

    /// An object whose values are strings, in a form as JSON; absent is empty.
    ///
    /// # Errors
    /// 400 that names the field if it is something else.
    pub fn string_map(&self, field: &'static str) -> Result<BTreeMap<String, String>, ApiError> {
        let wrong = || ApiError::Field {
            field,
            expected: "an object of strings",
        };
        match self.get(field) {
            None => Ok(BTreeMap::new()),
            Some(Value::String(text)) if text.is_empty() => Ok(BTreeMap::new()),
            Some(Value::String(text)) => serde_json::from_str(text).map_err(|_| wrong()),
            Some(Value::Object(map)) => map
                .iter()
                .map(|(name, value)| {
                    let value = value.as_str().ok_or_else(wrong)?;
                    Ok((name.clone(), value.to_owned()))
                })
                .collect(),
            Some(_) => Err(wrong()),
        }
    }

    /// A recipient.
    ///
    /// # Errors
    /// 400 in the contract's words.
    pub fn recipient(&self, field: &'static str) -> Result<Named, ApiError> {
        let text = self.written(field)?.unwrap_or_default();
        Named::typed(field, &text)
    }

    /// A phone number with its country code, as digits; absent is `None`.
    ///
    /// # Errors
    /// 400 that names the field.
    pub fn phone(&self, field: &'static str) -> Result<Option<String>, ApiError> {
        let Some(text) = self.written(field)? else {
            return Ok(None);
        };
        match phone_digits(&text) {
            Ok(digits) => Ok(Some(digits)),
            Err(NotANumber::LeadingZero) => Err(leading_zero(field)),
            Err(NotANumber::Malformed) => Err(ApiError::Field {
                field,
                expected: "a phone number of 7 to 15 digits, with the country code",
            }),
        }
    }

    /// A JID or a phone number as it was written: as a string or, as spreadsheets and templates have
    /// numbers, as a whole number.
    fn written(&self, field: &'static str) -> Result<Option<Cow<'_, str>>, ApiError> {
        self.get(field)
            .map(|value| {
                as_written(value).ok_or(ApiError::Field {
                    field,
                    expected: "a JID or a phone number, as a string or a whole number",
                })
            })
            .transpose()
    }

    /// A list of people; absent is empty. In a form it is one field for each, or the list as JSON,
    /// or separated by commas.
    ///
    /// # Errors
    /// 400 in the contract's words; 400 that names the field if there are over 1,024.
    pub fn mentions(&self) -> Result<Vec<Named>, ApiError> {
        const FIELD: &str = "mentions";
        let wrong = || ApiError::Field {
            field: FIELD,
            expected: "a list of JIDs, phone numbers and usernames",
        };
        let parse = |text: &str| Named::typed(FIELD, text);
        let parse_all = |items: &[Value]| -> Result<Vec<Named>, ApiError> {
            items
                .iter()
                .map(|item| parse(&as_written(item).ok_or_else(wrong)?))
                .collect()
        };
        let found: Vec<Named> = match self.get(FIELD) {
            None => Vec::new(),
            Some(Value::Array(items)) => parse_all(items)?,
            Some(Value::String(text)) => match serde_json::from_str(text) {
                Ok(Value::Array(items)) => parse_all(&items)?,
                Ok(_) | Err(_) => text
                    .split(',')
                    .filter(|part| !part.trim().is_empty())
                    .map(parse)
                    .collect::<Result<_, _>>()?,
            },
            Some(value) => vec![parse(&as_written(value).ok_or_else(wrong)?)?],
        };
        if found.len() > MAX_MENTIONS {
            return Err(ApiError::Field {
                field: FIELD,
                expected: "a list of at most 1024 JIDs",
            });
        }
        Ok(found)
    }

    /// A recipient in one of two fields, the first that is there.
    ///
    /// # Errors
    /// 400 in the contract's words.
    pub fn recipient_of(
        &self,
        first: &'static str,
        second: &'static str,
    ) -> Result<Named, ApiError> {
        let field = if self.is_missing(first) {
            second
        } else {
            first
        };
        self.recipient(field)
    }

    /// A caption: absent, empty, or at most 65,536 characters.
    ///
    /// # Errors
    /// 400 that names the field.
    pub fn caption(&self) -> Result<Option<String>, ApiError> {
        const FIELD: &str = "caption";
        let Some(text) = self.filled(FIELD)? else {
            return Ok(None);
        };
        if text.len() > MAX_TEXT && text.chars().count() > MAX_TEXT {
            return Err(ApiError::Field {
                field: FIELD,
                expected: "at most 65536 characters long",
            });
        }
        Ok(Some(text.to_owned()))
    }

    /// A text to send: 1 to 65,536 characters.
    ///
    /// # Errors
    /// 400 in the contract's words.
    pub fn text(&self, field: &'static str) -> Result<&str, ApiError> {
        let text = self.string(field)?.unwrap_or_default();
        // A character has at most 4 bytes: most texts need no counting.
        if text.is_empty() || (text.len() > MAX_TEXT && text.chars().count() > MAX_TEXT) {
            return Err(ApiError::Invalid(format!(
                "Message length invalid. Must be between 1 and {MAX_TEXT} characters"
            )));
        }
        Ok(text)
    }
}

/// A string, or a whole number's digits; some programs write that as `491701234567.0`.
fn as_written(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Number(number) => {
            let whole = number.as_u64().or_else(|| {
                let decimal = number.as_f64()?;
                // Up to where each whole number has a form of its own.
                let is_whole = decimal.fract() == 0.0 && (0.0..9e15).contains(&decimal);
                is_whole.then_some(decimal as u64)
            })?;
            Some(Cow::Owned(whole.to_string()))
        }
        _ => None,
    }
}

/// Whom a request names, and in which field.
#[derive(Debug)]
pub struct Named {
    field: &'static str,
    recipient: Recipient,
}

impl Named {
    /// # Errors
    /// 400 in the contract's words.
    fn typed(field: &'static str, text: &str) -> Result<Named, ApiError> {
        match Recipient::typed(text) {
            Ok(recipient) => Ok(Named { field, recipient }),
            Err(error) => Err(bad_recipient(field, error)),
        }
    }

    /// The chat to write to in an account; WhatsApp is asked for a username that is not known.
    ///
    /// # Errors
    /// 4xx that names the field; 404 for an unknown account; 503 if WhatsApp does not say.
    pub async fn reached(self, accounts: &Accounts, id: &str) -> Result<ChatJid, ApiError> {
        let Named { field, recipient } = self;
        let found = accounts.chat_of(id, recipient).await;
        found.map_err(|error| named_in(field, error))
    }

    /// The chat to look at in an account.
    ///
    /// # Errors
    /// 404 that names the field for a username that is not known; 404 for an unknown account.
    pub fn known(self, accounts: &Accounts, id: &str) -> Result<ChatJid, ApiError> {
        let Named { field, recipient } = self;
        let found = accounts.known_chat(id, recipient);
        found.map_err(|error| named_in(field, error))
    }

    /// What it names, for what looks into several accounts.
    pub fn everywhere(self) -> Recipient {
        self.recipient
    }
}

/// An account's error about whom a field names, with that field.
pub fn named_in(field: &'static str, error: AccountError) -> ApiError {
    match error {
        AccountError::Name(error) => ApiError::Name { field, error },
        other => other.into(),
    }
}

/// The contract's words for a recipient that is none.
fn bad_recipient(field: &'static str, error: NotARecipient) -> ApiError {
    let error = match error {
        NotARecipient::Number(error) => error,
        NotARecipient::Username => {
            return ApiError::Field {
                field,
                expected: "a username as WhatsApp has them: \"@\" and 3 to 35 letters, digits, \"_\" and \
                           \".\", one of them a letter",
            };
        }
    };
    match error {
        NotANumber::Malformed => ApiError::Invalid(format!(
            "Invalid WhatsApp JID format for \"{field}\" field. \
             Expected format: 1234567890@s.whatsapp.net or 123456789@g.us"
        )),
        NotANumber::LeadingZero => leading_zero(field),
    }
}

/// Which country a number belongs to that is written as it is dialled there is not known.
fn leading_zero(field: &'static str) -> ApiError {
    ApiError::Field {
        field,
        expected: "a phone number with the country code, without the leading 0",
    }
}

/// What the `Content-Type` header makes of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Declared {
    /// Or nothing is said.
    Json,
    /// `application/x-www-form-urlencoded`; `curl -d` says so of everything.
    Form,
    Multipart,
    Other,
}

impl Declared {
    pub fn of(req: &Req) -> Declared {
        match req.header("Content-Type") {
            Some(values) => Declared::of_text(values.last().as_str()),
            None => Declared::Json,
        }
    }

    fn of_text(header: &str) -> Declared {
        let essence = header.split(';').next().unwrap_or_default();
        match essence.trim().to_ascii_lowercase().as_str() {
            "application/x-www-form-urlencoded" => Declared::Form,
            "multipart/form-data" => Declared::Multipart,
            // `octet-stream` is what http-types makes of a body without a type.
            "" | "application/json" | "text/json" | "text/plain" | "application/octet-stream" => {
                Declared::Json
            }
            other if other.ends_with("+json") => Declared::Json,
            _ => Declared::Other,
        }
    }
}

/// Whether a body begins as JSON does; `None` while nothing of it is there.
pub fn looks_like_json(body: &[u8]) -> Option<bool> {
    let body = unmarked(body);
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace())?;
    Some(matches!(first, b'{' | b'[' | b'"'))
}

/// A body without its byte order mark, as UTF-8.
fn unmarked(body: &[u8]) -> Cow<'_, [u8]> {
    let units = |from: fn([u8; 2]) -> u16| {
        let units = body[2..].chunks_exact(2).map(|two| from([two[0], two[1]]));
        let text: String = char::decode_utf16(units)
            .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
            .collect();
        Cow::Owned(text.into_bytes())
    };
    match body {
        [0xEF, 0xBB, 0xBF, rest @ ..] => Cow::Borrowed(rest),
        [0xFF, 0xFE, ..] => units(u16::from_le_bytes),
        [0xFE, 0xFF, ..] => units(u16::from_be_bytes),
        _ => Cow::Borrowed(body),
    }
}

/// A field of a form that comes again is a list, as `mentions` may; so is one whose name ends in `[]`.
pub fn add_field(fields: &mut Map<String, Value>, name: String, text: String) {
    let (name, is_list) = match name.strip_suffix("[]") {
        Some(name) => (name.to_owned(), true),
        None => (name, false),
    };
    match fields.get_mut(&name) {
        None if is_list => {
            fields.insert(name, Value::Array(vec![Value::String(text)]));
        }
        None => {
            fields.insert(name, Value::String(text));
        }
        Some(Value::Array(items)) => items.push(Value::String(text)),
        Some(first) => {
            let first_value = first.take();
            *first = Value::Array(vec![first_value, Value::String(text)]);
        }
    }
}

pub fn too_many_values() -> ApiError {
    ApiError::Invalid(format!("The form has more than {MAX_VALUES} values"))
}

pub fn too_many_fields() -> ApiError {
    ApiError::Invalid(format!("The form has more than {MAX_FIELDS} fields"))
}

/// Reads a whole body.
///
/// # Errors
/// 413 over `limit` bytes, without reading if its length is announced.
pub async fn read_body(body: Body, limit: usize) -> Result<Vec<u8>, ApiError> {
    if body.len().is_some_and(|len| len > limit) {
        return Err(ApiError::TooLarge { limit });
    }
    let mut bytes = Vec::with_capacity(body.len().unwrap_or(0));
    body.take(limit as u64 + 1).read_to_end(&mut bytes).await?;
    if bytes.len() > limit {
        return Err(ApiError::TooLarge { limit });
    }
    Ok(bytes)
}

/// A path parameter, percent-decoded. Bytes that are no UTF-8 become U+FFFD, which names nothing.
pub fn param(req: &Req, name: &str) -> String {
    let raw = req.param(name).unwrap_or_default();
    percent_decode_str(raw).decode_utf8_lossy().into_owned()
}

/// A chat from the path, canonical.
///
/// # Errors
/// 400 in the contract's words.
pub fn chat_param(req: &Req) -> Result<Named, ApiError> {
    const FIELD: &str = "chatId";
    Named::typed(FIELD, &param(req, FIELD))
}

/// A chat from the query, canonical; an absent or empty one is `None`.
///
/// # Errors
/// 400 in the contract's words.
pub fn chat_query(req: &Req, name: &'static str) -> Result<Option<Named>, ApiError> {
    query(req, name)
        .map(|text| Named::typed(name, &text))
        .transpose()
}

/// A query parameter, decoded; an empty one is absent.
pub fn query(req: &Req, name: &str) -> Option<String> {
    req.url()
        .query_pairs()
        .find(|(key, value)| key == name && !value.is_empty())
        .map(|(_, value)| value.into_owned())
}

/// Yes or no from the query; absent is no.
///
/// # Errors
/// 400 that names the parameter.
pub fn flag(req: &Req, name: &'static str) -> Result<bool, ApiError> {
    match query(req, name).as_deref() {
        None | Some("false" | "0" | "no" | "off") => Ok(false),
        Some("true" | "1" | "yes" | "on") => Ok(true),
        Some(_) => Err(ApiError::Field {
            field: name,
            expected: "true or false",
        }),
    }
}

/// A whole number from the query.
///
/// # Errors
/// 400 that names the parameter.
pub fn number(req: &Req, name: &'static str) -> Result<Option<u64>, ApiError> {
    match query(req, name) {
        None => Ok(None),
        Some(text) => text
            .parse()
            .ok()
            .filter(|number| *number <= MAX_WHOLE)
            .map(Some)
            .ok_or(ApiError::Field {
                field: name,
                expected: "a whole number, 0 or more",
            }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(json: &str) -> Fields {
        match serde_json::from_str(json) {
            Ok(Value::Object(map)) => Fields(map),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_wrong_type_names_its_field() {
        let fields =
            fields(r#"{"to": 5, "mentions": ["a", 1], "headers": {"a": 1}, "name": null}"#);
        for error in [
            fields.string("to").unwrap_err(),
            fields.strings("mentions").unwrap_err(),
            fields.string_map("headers").unwrap_err(),
        ] {
            assert!(matches!(error, ApiError::Field { .. }), "{error}");
        }
        assert_eq!(
            fields.string("to").unwrap_err().to_string(),
            "\"to\" must be a string"
        );
        assert_eq!(fields.string("name").unwrap(), None);
        assert!(fields.is_missing("name") && !fields.is_missing("to"));
    }

    #[test]
    fn texts_are_counted_in_characters() {
        let text = |n: usize| format!("{{\"m\": \"{}\"}}", "ü".repeat(n));
        assert!(fields(&text(0)).text("m").is_err());
        assert!(fields(&text(1)).text("m").is_ok());
        assert!(fields(&text(MAX_TEXT)).text("m").is_ok());
        assert_eq!(
            fields(&text(MAX_TEXT + 1))
                .text("m")
                .unwrap_err()
                .to_string(),
            "Message length invalid. Must be between 1 and 65536 characters"
        );
    }

    #[test]
    fn a_bad_recipient_is_told_in_the_contracts_words() {
        assert_eq!(
            fields(r#"{"to": "me"}"#)
                .recipient("to")
                .unwrap_err()
                .to_string(),
            "Invalid WhatsApp JID format for \"to\" field. Expected format: \
             1234567890@s.whatsapp.net or 123456789@g.us"
        );
    }

    #[test]
    fn recipients_may_be_whole_numbers() {
        let recipient = |json: &str| {
            let named = fields(json).recipient("to");
            named.map(|named| named.everywhere().to_string())
        };
        for json in [
            r#"{"to": 491701234567}"#,
            r#"{"to": 491701234567.0}"#,
            r#"{"to": "491701234567"}"#,
            r#"{"to": "491701234567.0"}"#,
            r#"{"to": "+49 (0) 170 1234567"}"#,
        ] {
            assert_eq!(recipient(json).unwrap(), "491701234567@s.whatsapp.net");
        }
        let phone = |json: &str| fields(json).phone("to");
        assert_eq!(
            phone(r#"{"to": 491701234567}"#).unwrap().as_deref(),
            Some("491701234567")
        );
        assert_eq!(phone("{}").unwrap(), None);
        for (json, words) in [
            (r#"{"to": 1.5}"#, "as a string or a whole number"),
            (r#"{"to": -491701234567}"#, "as a string or a whole number"),
            (r#"{"to": true}"#, "as a string or a whole number"),
            (
                r#"{"to": ["491701234567"]}"#,
                "as a string or a whole number",
            ),
            (r#"{"to": "0170 1234567"}"#, "without the leading 0"),
            (r#"{"to": "0170"}"#, "without the leading 0"),
        ] {
            for error in [
                fields(json).recipient("to").unwrap_err(),
                phone(json).unwrap_err(),
            ] {
                let told = error.to_string();
                assert!(told.contains(words) && told.contains("\"to\""), "{told}");
            }
        }
        assert!(recipient(r#"{"to": 123}"#).is_err());
        assert!(recipient(r#"{"to": 120363017953516826}"#).is_err());
    }

    #[test]
    fn mentions_come_in_every_form() {
        for json in [
            r#"{"mentions": ["+49 170 1234567", 491711111111]}"#,
            r#"{"mentions": "[491701234567, \"491711111111@c.us\"]"}"#,
            r#"{"mentions": "0049 170 1234567, \u200e491711111111"}"#,
        ] {
            let found = fields(json).mentions().unwrap();
            let found = found
                .into_iter()
                .map(|named| named.everywhere().to_string());
            assert_eq!(
                found.collect::<Vec<_>>(),
                ["491701234567@s.whatsapp.net", "491711111111@s.whatsapp.net"],
                "{json}"
            );
        }
        for json in [
            r#"{"mentions": 491701234567}"#,
            r#"{"mentions": "491701234567"}"#,
            r#"{"mentions": ["@bob.b"]}"#,
        ] {
            assert_eq!(fields(json).mentions().unwrap().len(), 1, "{json}");
        }
        for json in [
            r#"{"mentions": [true]}"#,
            r#"{"mentions": {}}"#,
            r#"{"mentions": ["0170 1234567"]}"#,
            r#"{"mentions": "me"}"#,
            r#"{"mentions": "@me"}"#,
        ] {
            let error = fields(json).mentions().unwrap_err();
            assert!(error.to_string().contains("mentions"), "{error}");
        }
    }

    #[test]
    fn only_json_and_what_curl_says_are_taken() {
        for (header, declared) in [
            ("", Declared::Json),
            ("application/json; charset=utf-8", Declared::Json),
            ("APPLICATION/JSON;Charset=\"UTF-8\"", Declared::Json),
            ("application/vnd.api+json", Declared::Json),
            ("application/problem+JSON ; a=b", Declared::Json),
            ("text/plain;charset=UTF-8", Declared::Json),
            ("application/x-www-form-urlencoded", Declared::Form),
            (
                "Application/X-WWW-Form-URLEncoded; charset=UTF-8",
                Declared::Form,
            ),
            ("Multipart/Form-Data; boundary=x", Declared::Multipart),
            ("application/xml", Declared::Other),
            ("no type", Declared::Other),
        ] {
            assert_eq!(Declared::of_text(header), declared, "{header}");
        }
    }

    #[test]
    fn forms_are_read_as_they_are_sent() {
        let form = |body: &[u8]| Fields::of_body(body, true);
        let fields = form(
            b"\xEF\xBB\xBFto=%2B49+170&message=a%26b%3D%C3%A9&ptt=on&empty&&mentions=1&mentions=2&x[]=1&y%5B%5D=2\r\n",
        )
        .unwrap();
        assert_eq!(fields.string("to").unwrap(), Some("+49 170"));
        assert_eq!(fields.text("message").unwrap(), "a&b=é");
        assert!(fields.flag("ptt").unwrap());
        assert_eq!(fields.string("empty").unwrap(), Some(""));
        for (list, expected) in [
            ("mentions", vec!["1", "2"]),
            ("x", vec!["1"]),
            ("y", vec!["2"]),
        ] {
            let list: &'static str = list;
            assert_eq!(fields.strings(list).unwrap(), Some(expected));
        }
        assert!(form(b"a=%FF").is_err());
        let many = (0..=MAX_FIELDS)
            .map(|n| format!("f{n}=1&"))
            .collect::<String>();
        assert!(form(many.as_bytes()).is_err());
        assert!(form("a=b&".repeat(MAX_VALUES).as_bytes()).is_ok());
        assert!(form("a=b&".repeat(MAX_VALUES + 1).as_bytes()).is_err());
        let headers = form(b"headers=%7B%22a%22%3A%22b%22%7D").unwrap();
        assert_eq!(headers.string_map("headers").unwrap()["a"], "b");
    }

    #[test]
    fn a_byte_order_mark_is_read_over() {
        let json = "{\"to\": \"é\"}";
        let units = |big: bool| {
            let mut bytes = if big {
                vec![0xFE, 0xFF]
            } else {
                vec![0xFF, 0xFE]
            };
            for unit in json.encode_utf16() {
                bytes.extend(if big {
                    unit.to_be_bytes()
                } else {
                    unit.to_le_bytes()
                });
            }
            bytes
        };
        for body in [
            format!("\u{feff}{json}").into_bytes(),
            units(false),
            units(true),
        ] {
            assert_eq!(looks_like_json(&body), Some(true));
            let fields = Fields::of_body(&body, false).unwrap();
            assert_eq!(fields.string("to").unwrap(), Some("é"));
        }
        assert_eq!(looks_like_json(b"\xEF\xBB\xBF \n"), None);
        assert_eq!(looks_like_json(b"\xEF\xBB\xBFto={"), Some(false));
    }

    #[test]
    fn a_file_among_the_fields_is_taken_out() {
        let mut both = fields(r#"{"base64": "aGk=", "url": "http://x"}"#);
        assert_eq!(both.take_data(), Some(("base64", "aGk=".to_owned())));
        assert_eq!(both.take_data(), None);
        assert_eq!(both.filled("url").unwrap(), Some("http://x"));
        let mut data = fields(r#"{"base64": "", "url": " DATA:,x"}"#);
        assert_eq!(data.take_data(), Some(("url", " DATA:,x".to_owned())));
        assert_eq!(fields(r#"{"base64": 5}"#).take_data(), None);
    }
}
