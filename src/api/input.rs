//! What comes in: JSON bodies field by field, path parameters, query parameters.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use futures_lite::AsyncReadExt;
use http_types::{Body, Mime};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use super::Req;
use super::error::ApiError;
use crate::jid::ChatJid;

/// A text's longest form, in characters.
const MAX_TEXT: usize = 65_536;

/// The most mentions in a message; WhatsApp's largest groups have 1,024 members.
const MAX_MENTIONS: usize = 1024;

/// The JSON object of a request's body, read field by field. A field that is `null` is absent;
/// fields that nobody asks for are ignored.
#[derive(Debug)]
pub struct Fields(Map<String, Value>);

impl Fields {
    /// Reads the body; an empty one is an object without fields.
    ///
    /// `curl -d` without a header says `application/x-www-form-urlencoded`, so the body's own
    /// look decides there and where the type is missing.
    ///
    /// # Errors
    /// 413 over the limit (`max_json`), before the body is read if its length is announced; 415 for another
    /// media type; 400 if it is not a JSON object.
    pub async fn read(req: &mut Req) -> Result<Fields, ApiError> {
        let limit = req.state().config.max_json;
        let declared = Declared::of(req.content_type());
        if declared == Declared::Other && req.is_empty() != Some(true) {
            return Err(ApiError::UnsupportedMedia);
        }
        let body = read_body(req.take_body(), limit).await?;
        let looks_like_json = body.iter().find(|b| !b.is_ascii_whitespace());
        if declared == Declared::Form && !matches!(looks_like_json, None | Some(b'{' | b'[' | b'"'))
        {
            return Err(ApiError::UnsupportedMedia);
        }
        Fields::parse(&body)
    }

    /// Whether the request says that its body is JSON, or does not say.
    pub fn is_json(req: &Req) -> bool {
        Declared::of(req.content_type()) != Declared::Other
    }

    /// The fields of a form.
    pub fn from_map(map: Map<String, Value>) -> Fields {
        Fields(map)
    }

    /// Reads a body; an empty one is an object without fields.
    ///
    /// # Errors
    /// 400 if it is not a JSON object.
    pub fn parse(body: &[u8]) -> Result<Fields, ApiError> {
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

    fn get(&self, field: &str) -> Option<&Value> {
        self.0.get(field).filter(|value| !value.is_null())
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

    /// An object whose values are strings; absent is empty.
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
    pub fn recipient(&self, field: &'static str) -> Result<ChatJid, ApiError> {
        let text = self.string(field)?.unwrap_or_default();
        ChatJid::parse(text).map_err(|_| bad_jid(field))
    }

    /// A list of people; absent is empty. In a form it is one field for each, or the list as JSON,
    /// or separated by commas.
    ///
    /// # Errors
    /// 400 in the contract's words; 400 that names the field if there are over 1,024.
    pub fn mentions(&self) -> Result<Vec<ChatJid>, ApiError> {
        const FIELD: &str = "mentions";
        let parse = |text: &str| ChatJid::parse(text).map_err(|_| bad_jid(FIELD));
        let found: Vec<ChatJid> = match self.get(FIELD) {
            Some(Value::String(text)) => match serde_json::from_str::<Vec<String>>(text) {
                Ok(list) => list.iter().map(|t| parse(t)).collect::<Result<_, _>>()?,
                Err(_) => text
                    .split(',')
                    .filter(|part| !part.trim().is_empty())
                    .map(parse)
                    .collect::<Result<_, _>>()?,
            },
            _ => self
                .strings(FIELD)?
                .unwrap_or_default()
                .into_iter()
                .map(parse)
                .collect::<Result<_, _>>()?,
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
    ) -> Result<ChatJid, ApiError> {
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

/// The contract's words for a recipient that is none.
fn bad_jid(field: &str) -> ApiError {
    ApiError::Invalid(format!(
        "Invalid WhatsApp JID format for \"{field}\" field. \
         Expected format: 1234567890@s.whatsapp.net or 123456789@g.us"
    ))
}

/// What the `Content-Type` header makes of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Declared {
    Json,
    /// What `curl -d` says of everything; or nothing.
    Form,
    Other,
}

impl Declared {
    fn of(mime: Option<Mime>) -> Declared {
        let Some(mime) = mime else {
            return Declared::Json;
        };
        match (mime.basetype(), mime.subtype()) {
            ("application", "x-www-form-urlencoded") => Declared::Form,
            ("application" | "text", "json") | ("text", "plain") => Declared::Json,
            // What http-types makes of a body without a type.
            ("application", "octet-stream") => Declared::Json,
            (_, sub) if sub.ends_with("+json") => Declared::Json,
            _ => Declared::Other,
        }
    }
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
pub fn chat_param(req: &Req) -> Result<ChatJid, ApiError> {
    ChatJid::parse(&param(req, "chatId")).map_err(|_| bad_jid("chatId"))
}

/// A query parameter, decoded; an empty one is absent.
pub fn query(req: &Req, name: &str) -> Option<String> {
    req.url()
        .query_pairs()
        .find(|(key, value)| key == name && !value.is_empty())
        .map(|(_, value)| value.into_owned())
}

/// A whole number from the query.
///
/// # Errors
/// 400 that names the parameter.
pub fn number(req: &Req, name: &'static str) -> Result<Option<u64>, ApiError> {
    match query(req, name) {
        None => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| ApiError::Field {
            field: name,
            expected: "a whole number, 0 or more",
        }),
    }
}

/// The most rows that a page may skip.
const MAX_OFFSET: usize = 100_000;

/// Which part of a list is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    pub limit: usize,
    pub offset: usize,
}

impl Page {
    /// Reads `limit`, and `skip` or `offset`. Without a limit, or with 0, it is `usual`; it is
    /// never over `most`.
    ///
    /// # Errors
    /// 400 that names the parameter.
    pub fn of(req: &Req, usual: usize, most: usize) -> Result<Page, ApiError> {
        let limit = match number(req, "limit")? {
            None | Some(0) => usual,
            Some(n) => usize::try_from(n).unwrap_or(most).min(most),
        };
        let offset = match number(req, "skip")? {
            Some(skip) => skip,
            None => number(req, "offset")?.unwrap_or(0),
        };
        // Rows are skipped one by one: deeper pages are asked for with `before`.
        let offset = usize::try_from(offset)
            .ok()
            .filter(|offset| *offset <= MAX_OFFSET)
            .ok_or(ApiError::Field {
                field: "skip",
                expected: "at most 100000; use \"before\" to go further back",
            })?;
        Ok(Page { limit, offset })
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
    fn only_json_and_what_curl_says_are_taken() {
        let of = |text: &str| Declared::of(Some(text.parse().unwrap()));
        assert_eq!(Declared::of(None), Declared::Json);
        assert_eq!(of("application/json; charset=utf-8"), Declared::Json);
        assert_eq!(of("application/vnd.api+json"), Declared::Json);
        assert_eq!(of("application/x-www-form-urlencoded"), Declared::Form);
        assert_eq!(of("multipart/form-data; boundary=x"), Declared::Other);
        assert_eq!(of("application/xml"), Declared::Other);
    }
}
