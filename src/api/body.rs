//! Bodies that are read as a whole: JSON, and forms of one line.

use std::borrow::Cow;

use futures_lite::AsyncReadExt as _;
use http_types::Body;
use percent_encoding::percent_decode;
use serde_json::Value;

use super::context::Req;
use super::error::ApiError;
use crate::fields::{Fields, MAX_MENTIONS};

/// The most fields of a form, and the most values in all: one field may have many.
pub const MAX_FIELDS: usize = 32;
pub const MAX_VALUES: usize = MAX_FIELDS + MAX_MENTIONS;

/// Reads a body that is no `multipart/form-data`; an empty one is an object without fields.
///
/// `application/x-www-form-urlencoded` is what `curl -d` says of everything, so the first character decides there.
///
/// # Errors
/// 413 over the limit (`max_json`), before the body is read if its length is announced; 415 for another
/// media type; 400 if it is neither a JSON object nor a form.
pub async fn read(req: &mut Req, declared: Declared) -> Result<Fields, ApiError> {
    if declared == Declared::Other && req.is_empty() != Some(true) {
        return Err(ApiError::UnsupportedMedia);
    }
    let limit = req.state().config.max_json;
    let body = read_body(req.take_body(), limit).await?;
    let is_form = declared == Declared::Form && looks_like_json(&body) == Some(false);
    parse(&body, is_form)
}

/// Parses a body, with or without a byte order mark; an empty one is an object without fields.
///
/// # Errors
/// 400 if it is not a JSON object, or, with `is_form`, no form.
pub fn parse(body: &[u8], is_form: bool) -> Result<Fields, ApiError> {
    let body = unmarked(body);
    match is_form {
        true => form(&body),
        false => json(&body),
    }
}

/// `to=49170…&message=a+b`: the fields of `application/x-www-form-urlencoded`.
fn form(body: &[u8]) -> Result<Fields, ApiError> {
    let decoded = |text: &[u8]| {
        let spaced: Vec<u8> = text
            .iter()
            .map(|&byte| if byte == b'+' { b' ' } else { byte })
            .collect();
        String::from_utf8(percent_decode(&spaced).collect())
            .map_err(|_| ApiError::Invalid("The form is not UTF-8".to_owned()))
    };
    let (mut fields, mut values) = (Fields::default(), 0);
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
        fields.add(decoded(name)?, decoded(value)?);
        if fields.len() > MAX_FIELDS {
            return Err(too_many_fields());
        }
    }
    Ok(fields)
}

fn json(body: &[u8]) -> Result<Fields, ApiError> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Fields::default());
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(map)) => Ok(Fields::from_map(map)),
        Ok(_) => Err(ApiError::Invalid(
            "The body must be a JSON object".to_owned(),
        )),
        Err(error) => Err(ApiError::Invalid(format!(
            "The body is not valid JSON: {error}"
        ))),
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

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
        let form = |body: &[u8]| parse(body, true);
        let value = |fields: &Fields, name: &str| fields.as_map()[name].clone();
        let fields = form(
            b"\xEF\xBB\xBFto=%2B49+170&message=a%26b%3D%C3%A9&ptt=on&empty&&mentions=1&mentions=2&x[]=1&y%5B%5D=2\r\n",
        )
        .unwrap();
        for (name, expected) in [
            ("to", json!("+49 170")),
            ("message", json!("a&b=é")),
            ("ptt", json!("on")),
            ("empty", json!("")),
            ("mentions", json!(["1", "2"])),
            ("x", json!(["1"])),
            ("y", json!(["2"])),
        ] {
            assert_eq!(value(&fields, name), expected, "{name}");
        }
        assert!(form(b"a=%FF").is_err());
        let many = (0..=MAX_FIELDS)
            .map(|n| format!("f{n}=1&"))
            .collect::<String>();
        assert!(form(many.as_bytes()).is_err());
        assert!(form("a=b&".repeat(MAX_VALUES).as_bytes()).is_ok());
        assert!(form("a=b&".repeat(MAX_VALUES + 1).as_bytes()).is_err());
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
            let fields = parse(&body, false).unwrap();
            assert_eq!(fields.as_map()["to"], "é");
        }
        assert_eq!(looks_like_json(b"\xEF\xBB\xBF \n"), None);
        assert_eq!(looks_like_json(b"\xEF\xBB\xBFto={"), Some(false));
    }
}
