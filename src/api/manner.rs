//! How a message is to be sent, whatever it is: `Idempotency-Key`, `queue`, `expiresIn`.

use sha2::{Digest as _, Sha256};

use super::Req;
use super::error::ApiError;
use super::input::{self, Fields};
use super::upload::Received;
use crate::account::{Caller, Manner, Once, Outcome, Turn};
use crate::clock::Millis;
use crate::media::sha256_of;

const HEADER: &str = "Idempotency-Key";
/// The longest key, in characters.
const MAX_KEY: usize = 255;
const EXPIRES_IN: &str = "a whole number of seconds, 1 to 2592000";
/// The longest wait, in seconds: 30 days.
const MAX_EXPIRES_IN: u64 = 30 * 86_400;

/// What a request to send comes to before anything is sent.
pub enum Begun {
    /// It is to be done, so.
    First(Manner),
    /// It was done before.
    Answered(Outcome),
}

/// The request's idempotency key.
///
/// # Errors
/// 400 that names the header, for a key that is empty, too long, or has other characters than
/// visible ASCII ones.
pub fn key(req: &Req) -> Result<Option<String>, ApiError> {
    let Some(values) = req.header(HEADER) else {
        return Ok(None);
    };
    let mut values = values.iter();
    let (Some(key), None) = (values.next(), values.next()) else {
        return Err(bad_key());
    };
    let key = key.as_str();
    let valid = (1..=MAX_KEY).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic());
    match valid {
        true => Ok(Some(key.to_owned())),
        false => Err(bad_key()),
    }
}

fn bad_key() -> ApiError {
    ApiError::Field {
        field: HEADER,
        expected: "one header of 1 to 255 visible ASCII characters",
    }
}

/// Reads how a message is to be sent, and takes the request's idempotency key: waits for another
/// request with the same one. To be called once everything that is wrong with the request by itself
/// was told.
///
/// # Errors
/// 400 that names the field or header; 404 for an unknown account; 409 for a key that came with
/// another request before; and what was answered to the first request with the key.
pub async fn begin(
    req: &Req,
    id: &str,
    endpoint: &str,
    fields: &Fields,
    file: Option<&Received>,
) -> Result<Begun, ApiError> {
    let queue = match fields.is_missing("queue") {
        true => input::flag(req, "queue")?,
        false => fields.flag("queue")?,
    };
    let expires_in = match fields.number("expiresIn", 1..=MAX_EXPIRES_IN, EXPIRES_IN)? {
        Some(seconds) => Some(seconds),
        None => input::number(req, "expiresIn")?,
    };
    if expires_in.is_some_and(|seconds| !(1..=MAX_EXPIRES_IN).contains(&seconds)) {
        return Err(ApiError::Field {
            field: "expiresIn",
            expected: EXPIRES_IN,
        });
    }
    let expires_in: Option<Millis> = expires_in.map(|seconds| seconds * 1_000);
    let mut manner = Manner {
        queue,
        expires_in,
        claim: None,
        caller: req.ext::<Caller>().cloned().unwrap_or_default(),
    };
    if let Some(key) = key(req)? {
        let once = Once {
            key,
            request: fingerprint(endpoint, fields, file).await?,
        };
        match req.state().accounts.claim(id, once).await? {
            Turn::First(claim) => manner.claim = Some(claim),
            Turn::Again(outcome) => return Ok(Begun::Answered(outcome)),
        }
    }
    Ok(Begun::First(manner))
}

/// What makes two requests the same: where they go, their fields in whatever order, and their
/// file's name, type and content.
async fn fingerprint(
    endpoint: &str,
    fields: &Fields,
    file: Option<&Received>,
) -> Result<[u8; 32], ApiError> {
    let mut hash = Sha256::new();
    let mut part = |bytes: &[u8]| {
        // With its length, so that no two parts run into each other.
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    part(endpoint.as_bytes());
    part(fields.canonical().as_bytes());
    if let Some(received) = file {
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
