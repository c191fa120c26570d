//! Options of every message: `Idempotency-Key`, `queue`, `sendAt`, `expiresIn`, `typing`, `mentionAll`.

#[cfg(test)]
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::context::Req;
use super::error::ApiError;
use super::file::Received;
use crate::account::{Caller, DeliveryOptions, KeyedRequest, Outcome, Turn};
use crate::clock::{self, EARLIEST, Millis};
#[cfg(test)]
use crate::fields::Described;
use crate::fields::{Field, FieldError, Fields, Moment, Parts, Request, request, whole};
use crate::media::sha256_of;

/// The longest key, in characters.
const MAX_KEY: usize = 255;
/// The longest wait, in seconds: 30 days.
const MAX_EXPIRES_IN: u64 = 30 * 86_400;
/// How far away `sendAt` may be: as long as a year is.
const MAX_AWAY: Millis = 366 * 86_400_000;
/// How long ago `sendAt` may be: the caller's clock differs, and the request took its time. Anything before is a
/// mistake, and a message cannot be called back.
const LATE: Millis = 60_000;

request! {
    /// `queue`, `sendAt` and `expiresIn`, in the body or in the query, and `typing` and `mentionAll`.
    pub struct Options {
        /// take it even if it cannot go now
        queue: Option<bool> = "queue",
        /// not before that time, which is at most a year away: the message waits in the outbox
        send_at: Option<Moment> = "sendAt",
        /// seconds after which it is not sent any more, from `sendAt` if that is given
        expires_in: Option<ExpiresIn> = "expiresIn",
        /// shows that the account types before a text goes, for as long as it would take to write, at most 6 seconds
        typing: bool = "typing",
        /// mentions each member; only of new messages to groups
        mention_all: bool = "mentionAll",
        /// the same as the field `queue`
        queue_in_query: bool = query "queue",
        /// the same as the field `sendAt`
        send_at_in_query: Option<Moment> = query "sendAt",
        /// the same as the field `expiresIn`
        expires_in_query: Option<ExpiresIn> = query "expiresIn",
    }
}

request! {
    /// The idempotency key, which stands in no body.
    pub struct Key {
        /// the same request with the same key within 24 hours gets the first answer and sends nothing
        key: Option<IdempotencyKey> = header "Idempotency-Key",
    }
}

impl Key {
    pub fn is_given(&self) -> bool {
        self.key.is_some()
    }
}

/// Seconds, 1 to 2,592,000.
#[derive(Debug, Clone, Copy)]
pub struct ExpiresIn(u64);

impl Field for ExpiresIn {
    fn read(name: &'static str, value: &Value) -> Result<Self, FieldError> {
        let expected = "a whole number of seconds, 1 to 2592000";
        whole(name, value, 1..=MAX_EXPIRES_IN, expected).map(ExpiresIn)
    }

    #[cfg(test)]
    fn schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "integer", "minimum": 1, "maximum": MAX_EXPIRES_IN})
    }
}

/// 1 to 255 visible ASCII characters.
#[derive(Debug, Clone)]
pub struct IdempotencyKey(String);

impl Field for IdempotencyKey {
    fn read(name: &'static str, value: &Value) -> Result<Self, FieldError> {
        let is_valid = |key: &&str| {
            (1..=MAX_KEY).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic())
        };
        // Two headers are a list.
        match value.as_str().filter(is_valid) {
            Some(key) => Ok(IdempotencyKey(key.to_owned())),
            None => Err(FieldError::Field {
                field: name,
                expected: "one header of 1 to 255 visible ASCII characters",
            }),
        }
    }

    fn is_blank(_value: &Value) -> bool {
        false
    }

    #[cfg(test)]
    fn schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "minLength": 1, "maxLength": MAX_KEY, "pattern": "^[!-~]{1,255}$"})
    }
}

/// The options of a message, with the text that tells whether another request with the same key is the same one.
#[derive(Debug)]
pub struct Delivery {
    key: Key,
    options: Options,
    /// All fields of the body; empty without an idempotency key.
    canonical: String,
}

impl Request for Delivery {
    const HAS_BODY: bool = Options::HAS_BODY;

    fn read(parts: &Parts) -> Result<Self, FieldError> {
        let key = Key::read(parts)?;
        let canonical = match key.is_given() {
            true => parts.body.canonical(),
            false => String::new(),
        };
        Ok(Delivery {
            key,
            options: Options::read(parts)?,
            canonical,
        })
    }

    fn check_early(body: &Fields) -> Result<(), FieldError> {
        Options::check_early(body)
    }

    #[cfg(test)]
    fn describe(generator: &mut SchemaGenerator, out: &mut Vec<Described>) {
        Key::describe(generator, out);
        Options::describe(generator, out);
    }
}

/// What a request to send comes to before anything is sent.
pub enum Begun {
    /// The first request with its key, or one without a key.
    First(DeliveryOptions),
    /// The outcome of an earlier request with the same key.
    Answered(Outcome),
}

/// Claims the request's idempotency key; waits for another request that has it. Call it once the request itself is known to be
/// right.
///
/// # Errors
/// 404 for an unknown account; 409 for a key that another request has used.
pub async fn begin(
    req: &Req,
    id: &str,
    endpoint: &str,
    delivery: Delivery,
    files: &[Received],
) -> Result<Begun, ApiError> {
    let Delivery {
        key,
        options,
        canonical,
    } = delivery;
    let expires_in = options.expires_in.or(options.expires_in_query);
    let mut resolved = DeliveryOptions {
        queue: options.queue.unwrap_or(options.queue_in_query),
        expires_in: expires_in.map(|ExpiresIn(seconds)| seconds * 1_000),
        typing: options.typing,
        send_at: None,
        mention_all: options.mention_all,
        claim: None,
        caller: req.ext::<Caller>().cloned().unwrap_or_default(),
    };
    if let Some(IdempotencyKey(key)) = key.key {
        let once = KeyedRequest {
            key,
            request: fingerprint(endpoint, &canonical, files).await?,
        };
        match req.state().accounts.claim(id, once).await? {
            Turn::First(claim) => resolved.claim = Some(claim),
            Turn::Again(outcome) => return Ok(Begun::Answered(outcome)),
        }
    }
    if let Some(Moment(at)) = options.send_at.or(options.send_at_in_query) {
        resolved.send_at = Some(in_the_future(at, clock::now())?);
    }
    Ok(Begun::First(resolved))
}

/// The time of a message that is sent later: a moment that has just passed is now.
fn in_the_future(at: Millis, now: Millis) -> Result<Millis, FieldError> {
    // A board whose clock is not set does not know how far away it is.
    let (earliest, latest) = match clock::is_set(now) {
        true => (now - LATE, now + MAX_AWAY),
        false => (EARLIEST, Millis::MAX),
    };
    match (earliest..=latest).contains(&at) {
        true => Ok(at),
        false => Err(FieldError::Field {
            field: "sendAt",
            expected: "a time in the future, at most 366 days away",
        }),
    }
}

/// A hash of what makes two requests the same: their endpoint, their fields in whatever order, and the names, media
/// types and contents of their files.
async fn fingerprint(
    endpoint: &str,
    fields: &str,
    files: &[Received],
) -> Result<[u8; 32], ApiError> {
    let mut hash = Sha256::new();
    let mut part = |bytes: &[u8]| {
        // With its length, so that no two parts run into each other.
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    part(endpoint.as_bytes());
    part(fields.as_bytes());
    for received in files {
        let path = received.file.path().to_owned();
        let content = smol::unblock(move || sha256_of(&path))
            .await
            .map_err(ApiError::Disk)?;
        part(&content);
        part(received.name.as_deref().unwrap_or_default().as_bytes());
        part(received.mimetype.as_deref().unwrap_or_default().as_bytes());
    }
    Ok(hash.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_to_send_is_neither_long_past_nor_far_away() {
        let now = EARLIEST + MAX_AWAY;
        for at in [now - LATE, now, now + 1, now + MAX_AWAY] {
            assert_eq!(in_the_future(at, now), Ok(at));
        }
        // 1,793,491,200 are seconds of this time.
        for at in [0, EARLIEST / 1_000, now - LATE - 1, now + MAX_AWAY + 1] {
            let error = in_the_future(at, now).unwrap_err().to_string();
            assert!(error.contains("\"sendAt\" must be a time"), "{error}");
        }
        // The clock says 1970.
        assert_eq!(in_the_future(EARLIEST, 5_000), Ok(EARLIEST));
        assert!(in_the_future(EARLIEST - 1, 5_000).is_err());
    }
}
