//! What goes back: the envelope around every JSON answer, and the few answers that are files.

use http_types::{Body, Response, StatusCode};
use serde::Serialize;
use serde::ser::SerializeMap;

use super::error::{ApiError, json_response};
use crate::settings::Envelope;

/// What a handler answers with.
pub trait Reply {
    /// # Errors
    /// 500 if it does not serialize.
    fn into_answer(self) -> Result<Answer, ApiError>;

    /// Describes each status that it may have.
    #[cfg(test)]
    fn describe(operation: &mut super::describe::Operation);
}

/// 200 with the fields of a JSON object.
#[derive(Debug)]
pub struct Json<T>(pub T);

impl<T: Serialize + Described> Reply for Json<T> {
    fn into_answer(self) -> Result<Answer, ApiError> {
        Answer::ok(&self.0)
    }

    #[cfg(test)]
    fn describe(operation: &mut super::describe::Operation) {
        operation.json::<T>(200);
    }
}

/// 201 with the fields of a JSON object.
#[derive(Debug)]
pub struct Created<T>(pub T);

impl<T: Serialize + Described> Reply for Created<T> {
    fn into_answer(self) -> Result<Answer, ApiError> {
        Answer::created(&self.0)
    }

    #[cfg(test)]
    fn describe(operation: &mut super::describe::Operation) {
        operation.json::<T>(201);
    }
}

/// Types of which a test makes schemas: all that are answered. Elsewhere any type.
#[cfg(test)]
pub use schemars::JsonSchema as Described;
#[cfg(not(test))]
pub trait Described {}
#[cfg(not(test))]
impl<T> Described for T {}

/// Done, in words.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Done {
    message: String,
}

impl Done {
    pub fn new(message: impl Into<String>) -> Json<Done> {
        Json(Done {
            message: message.into(),
        })
    }
}

/// A successful answer, before the envelope.
#[derive(Debug)]
pub struct Answer {
    status: StatusCode,
    content: Content,
}

#[derive(Debug)]
enum Content {
    /// A JSON object.
    Json(String),
    /// A body of another kind, with its media type.
    File(&'static str, Vec<u8>),
    /// A response that is complete already.
    Response(Box<Response>),
}

impl Answer {
    /// 200 with the fields of `payload`, which must serialize to an object.
    pub fn ok(payload: &impl Serialize) -> Result<Answer, ApiError> {
        Self::json(StatusCode::Ok, payload)
    }

    /// 201 with the fields of `payload`, which must serialize to an object.
    pub fn created(payload: &impl Serialize) -> Result<Answer, ApiError> {
        Self::json(StatusCode::Created, payload)
    }

    /// 202 with the fields of `payload`, which must serialize to an object.
    pub fn accepted(payload: &impl Serialize) -> Result<Answer, ApiError> {
        Self::json(StatusCode::Accepted, payload)
    }

    /// 200 with `{message}`.
    pub fn message(text: &str) -> Result<Answer, ApiError> {
        Self::ok(&One("message", text))
    }

    /// 200 with a JSON object that is serialized already.
    pub fn serialized(object: String) -> Answer {
        Answer {
            status: StatusCode::Ok,
            content: Content::Json(object),
        }
    }

    /// 200 with bytes of another media type than JSON, never to be cached.
    pub fn file(kind: &'static str, bytes: Vec<u8>) -> Answer {
        Answer {
            status: StatusCode::Ok,
            content: Content::File(kind, bytes),
        }
    }

    /// A response as it is, for what is no JSON.
    pub fn response(response: Response) -> Answer {
        Answer {
            status: response.status(),
            content: Content::Response(Box::new(response)),
        }
    }

    fn json(status: StatusCode, payload: &impl Serialize) -> Result<Answer, ApiError> {
        let json = serde_json::to_string(payload).map_err(|e| ApiError::Internal(e.to_string()))?;
        Ok(Answer {
            status,
            content: Content::Json(json),
        })
    }

    /// The response, in its envelope.
    pub fn into_response(self, envelope: Envelope) -> Response {
        match self.content {
            Content::Json(payload) => json_response(self.status, success(&payload, envelope)),
            Content::File(kind, bytes) => {
                let mut response = Response::new(self.status);
                response.set_body(Body::from_bytes(bytes));
                response.insert_header("Content-Type", kind);
                response.insert_header("Cache-Control", "no-store");
                response
            }
            Content::Response(response) => *response,
        }
    }
}

/// An object of one field: `{"<name>": <value>}`.
pub struct One<'a, T: ?Sized>(pub &'static str, pub &'a T);

impl<T: Serialize + ?Sized> Serialize for One<'_, T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(self.0, self.1)?;
        map.end()
    }
}

/// Puts a serialized object into the envelope: written once, spliced twice.
fn success(payload: &str, envelope: Envelope) -> String {
    // Without its braces; empty for an object without fields.
    let fields = payload
        .get(1..payload.len().saturating_sub(1))
        .unwrap_or("");
    let comma = if fields.is_empty() { "" } else { "," };
    match envelope {
        Envelope::Both => format!("{{\"ok\":true,{fields}{comma}\"data\":{payload}}}"),
        Envelope::Flat => format!("{{\"ok\":true{comma}{fields}}}"),
        Envelope::Data => format!("{{\"ok\":true,\"data\":{payload}}}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn the_payload_is_spliced_in_each_form() {
        let payload = "{\"a\":1,\"b\":\"}\"}";
        assert_eq!(
            success(payload, Envelope::Both),
            "{\"ok\":true,\"a\":1,\"b\":\"}\",\"data\":{\"a\":1,\"b\":\"}\"}}"
        );
        assert_eq!(
            success(payload, Envelope::Flat),
            "{\"ok\":true,\"a\":1,\"b\":\"}\"}"
        );
        assert_eq!(
            success(payload, Envelope::Data),
            "{\"ok\":true,\"data\":{\"a\":1,\"b\":\"}\"}}"
        );
    }

    #[test]
    fn an_empty_payload_is_still_json() {
        for envelope in [Envelope::Both, Envelope::Flat, Envelope::Data] {
            let json = success("{}", envelope);
            let value: Value =
                serde_json::from_str(&json).unwrap_or_else(|e| panic!("{json}: {e}"));
            assert_eq!(value["ok"], true);
            assert_eq!(value.get("data").is_some(), envelope != Envelope::Flat);
        }
    }

    #[test]
    fn one_field_is_an_object() {
        let json = serde_json::to_string(&One("message", "hi")).unwrap();
        assert_eq!(json, "{\"message\":\"hi\"}");
    }
}
