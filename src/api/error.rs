//! Every way in which a request fails, and the one map from there to status codes and words.

use std::time::Duration;

use http_types::{Body, Method, Response, StatusCode};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::account::{AccountError, NameError};
use crate::fields::FieldError;
use crate::keys::KeyError;
use crate::media::MediaError;
use crate::store::StoreError;

/// When a client may ask again that found too many waiting, in seconds.
const READERS_PAUSE: u64 = 5;

/// When something may be asked of WhatsApp again that says that it was asked too much, in seconds.
const WHATSAPP_PAUSE: u64 = 60;
/// WhatsApp's own code for that.
const TOO_MUCH: u16 = 429;

/// How long the answer to a wrong key is delayed once an address has sent too many, unless another connection needs the place.
const WRONG_KEY_DELAY: Duration = Duration::from_secs(1);

/// Marks a refusal that the server delays by this time while it has free connections.
pub(super) struct HeldBack(pub Duration);

/// Why a request was not done. Its `Display` is the answer's `error`.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The request itself is wrong, in these words.
    #[error("{0}")]
    Invalid(String),
    /// A field or query parameter has the wrong type or form.
    #[error("\"{field}\" must be {expected}")]
    Field {
        field: &'static str,
        expected: &'static str,
    },
    /// A username that leads to no chat, in this field.
    #[error("\"{field}\": {error}")]
    Name {
        field: &'static str,
        error: NameError,
    },
    /// What the path names does not exist, in these words.
    #[error("{0}")]
    NotFound(&'static str),
    #[error("Not found")]
    NoRoute,
    #[error("Method not allowed")]
    Method { allow: Vec<Method> },
    /// A key is needed.
    #[error(
        "A key is needed: send it as X-Api-Key, as Authorization: Bearer, or as the password of \
         Basic authentication. On the server, `wildcat key add NAME` makes one"
    )]
    NoKey,
    /// There is no key yet, and the request comes from elsewhere.
    #[error(
        "This server has no keys yet and serves only the machine it runs on. There, run \
         `wildcat key add NAME` and send the key as X-Api-Key; or set auth.open = true to let \
         everybody on the network in"
    )]
    NoKeysYet,
    #[error("This key is not known here; on the server, `wildcat key list` shows those that are")]
    WrongKey,
    #[error("Too many requests with wrong keys from this address")]
    WrongKeys {
        /// Seconds.
        retry_after: u64,
    },
    /// The file of the keys. Its words may name paths: they stay in the log.
    #[error("The keys of this server cannot be read")]
    Keys(#[source] KeyError),
    /// Known, but not allowed to, in these words.
    #[error("{0}")]
    Forbidden(String),
    /// A request that a retry cannot mend, in these words.
    #[error("{0}")]
    Conflict(String),
    /// What was asked for is not in the event log any more, or never was, in these words.
    #[error("{words}")]
    Gone {
        words: String,
        /// The number of the first event that can be read.
        first_available: u64,
        /// The number of the last event.
        last: u64,
    },
    #[error("Too many clients wait for events")]
    TooManyReaders,
    #[error("The request body is over the limit of {limit} bytes")]
    TooLarge { limit: usize },
    #[error(
        "The body must be JSON (Content-Type: application/json) or a form \
         (application/x-www-form-urlencoded, multipart/form-data)"
    )]
    UnsupportedMedia,
    #[error(
        "The body must be a form (multipart/form-data, application/x-www-form-urlencoded) or JSON \
         (application/json)"
    )]
    UnsupportedUpload,
    /// A file that was to be fetched, in these words.
    #[error("The file at \"url\" could not be fetched: {0}")]
    Fetch(String),
    /// A file that comes in could not be written.
    #[error("The file could not be stored")]
    Disk(#[source] std::io::Error),
    /// A file does not reach to the part that is asked for.
    #[error("{words}")]
    Range {
        words: &'static str,
        /// Bytes of the file.
        size: u64,
    },
    /// A file that goes out could not be read.
    #[error("The file could not be read")]
    Unreadable(#[source] std::io::Error),
    #[error("The request head is over the limit of {limit} bytes")]
    HeadTooLarge { limit: usize },
    /// The client was too slow to send its request.
    #[error("The request did not arrive in time")]
    SlowClient,
    /// The request was not answered within the server's limit. What it began may still happen.
    #[error("The request took too long")]
    TimedOut,
    #[error("Too many connections")]
    TooManyConnections,
    /// The client went away, or its body is not valid HTTP.
    #[error("The request body could not be read")]
    Body(#[from] std::io::Error),
    #[error(transparent)]
    Account(#[from] AccountError),
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A mistake of this program. The cause goes to the log, not to the caller.
    #[error("Internal server error")]
    Internal(String),
}

impl ApiError {
    /// The status code. No `_` arm: a new error is decided here or does not compile.
    fn status(&self) -> StatusCode {
        match self {
            ApiError::Invalid(_)
            | ApiError::Field { .. }
            | ApiError::Fetch(_)
            | ApiError::Body(_) => StatusCode::BadRequest,
            ApiError::Name { error, .. } => name_status(error),
            ApiError::Disk(error) if StoreError::of_disk(error).is_some() => {
                StatusCode::ServiceUnavailable
            }
            ApiError::Disk(_) | ApiError::Unreadable(_) => StatusCode::InternalServerError,
            ApiError::Range { .. } => StatusCode::RequestedRangeNotSatisfiable,
            ApiError::NotFound(_) | ApiError::NoRoute => StatusCode::NotFound,
            ApiError::Method { .. } => StatusCode::MethodNotAllowed,
            ApiError::NoKey | ApiError::NoKeysYet | ApiError::WrongKey => StatusCode::Unauthorized,
            ApiError::WrongKeys { .. } => StatusCode::TooManyRequests,
            ApiError::Forbidden(_) => StatusCode::Forbidden,
            ApiError::Conflict(_) => StatusCode::Conflict,
            ApiError::Gone { .. } => StatusCode::Gone,
            ApiError::TooManyReaders => StatusCode::TooManyRequests,
            ApiError::TooLarge { .. } => StatusCode::PayloadTooLarge,
            ApiError::UnsupportedMedia | ApiError::UnsupportedUpload => {
                StatusCode::UnsupportedMediaType
            }
            ApiError::HeadTooLarge { .. } => StatusCode::RequestHeaderFieldsTooLarge,
            ApiError::SlowClient => StatusCode::RequestTimeout,
            ApiError::TooManyConnections => StatusCode::ServiceUnavailable,
            ApiError::TimedOut | ApiError::Keys(_) | ApiError::Internal(_) => {
                StatusCode::InternalServerError
            }
            ApiError::Account(error) => account_status(error),
            ApiError::Store(error) => store_status(error),
        }
    }

    /// The fields beside `error`.
    fn more(&self) -> Map<String, Value> {
        let mut more = Map::new();
        let mut put = |name: &str, value: Value| more.insert(name.to_owned(), value);
        match self {
            ApiError::Field { field, .. }
            | ApiError::Account(AccountError::BadAssertion { field, .. }) => {
                put("field", Value::from(*field));
            }
            ApiError::Name { field, error } => {
                put("field", Value::from(*field));
                if let NameError::TooMany { retry_after } = error {
                    put("retryAfter", Value::from(*retry_after));
                }
            }
            ApiError::Fetch(_) => {
                put("field", Value::from("url"));
            }
            ApiError::Gone {
                first_available,
                last,
                ..
            } => {
                put("firstAvailable", Value::from(*first_available));
                put("last", Value::from(*last));
            }
            ApiError::TooManyReaders => {
                put("retryAfter", Value::from(READERS_PAUSE));
            }
            ApiError::Account(
                AccountError::NotConnected { status }
                | AccountError::NotPaired { status }
                | AccountError::NoQr { status }
                | AccountError::NoPasskey { status }
                | AccountError::AlreadyPaired { status },
            ) => {
                put("status", Value::from(status.name()));
            }
            ApiError::Account(
                AccountError::TooFast { retry_after, .. }
                | AccountError::NewContactsPaused { retry_after, .. }
                | AccountError::ContactPaused { retry_after }
                | AccountError::TooManyNewContacts { retry_after, .. }
                | AccountError::TooManyChecks { retry_after }
                | AccountError::TooManyKeys { retry_after },
            )
            | ApiError::WrongKeys { retry_after } => {
                put("retryAfter", Value::from(*retry_after));
            }
            ApiError::Account(AccountError::Refused {
                code, message_id, ..
            }) => {
                put("code", Value::from(*code));
                put("messageId", Value::from(message_id.as_str()));
                if *code == Some(TOO_MUCH) {
                    put("retryAfter", Value::from(WHATSAPP_PAUSE));
                }
            }
            ApiError::Account(AccountError::Declined { code, .. }) => {
                put("code", Value::from(*code));
                if *code == Some(TOO_MUCH) {
                    put("retryAfter", Value::from(WHATSAPP_PAUSE));
                }
            }
            ApiError::Account(
                AccountError::PairingRefused { code, .. } | AccountError::GroupRefused { code, .. },
            ) => {
                put("code", Value::from(*code));
                if *code == TOO_MUCH {
                    put("retryAfter", Value::from(WHATSAPP_PAUSE));
                }
            }
            ApiError::Account(
                AccountError::NotFound
                | AccountError::AlreadyExists
                | AccountError::TooManyAccounts { .. }
                | AccountError::PasskeyNotNow(_)
                | AccountError::QuotedNotFound
                | AccountError::MessageNotFound
                | AccountError::ChatNotFound
                | AccountError::GroupNotFound
                | AccountError::ContactNotFound
                | AccountError::NoMedia
                | AccountError::NoPicture
                | AccountError::NotOwnMessage
                | AccountError::Busy(_)
                | AccountError::Unchangeable(_)
                | AccountError::Unwritable(_)
                | AccountError::Name(_)
                | AccountError::OutboxFull { .. }
                | AccountError::NotInOutbox
                | AccountError::AlreadySending
                | AccountError::StillQueued
                | AccountError::KeyReused
                | AccountError::Media(_)
                | AccountError::CallerLeft
                | AccountError::MediaGone(_)
                | AccountError::MediaUnavailable(_)
                | AccountError::Session(_)
                | AccountError::ShuttingDown
                | AccountError::Store(_),
            )
            | ApiError::Invalid(_)
            | ApiError::NotFound(_)
            | ApiError::NoRoute
            | ApiError::Method { .. }
            | ApiError::NoKey
            | ApiError::NoKeysYet
            | ApiError::WrongKey
            | ApiError::Keys(_)
            | ApiError::Forbidden(_)
            | ApiError::Conflict(_)
            | ApiError::TooLarge { .. }
            | ApiError::UnsupportedMedia
            | ApiError::UnsupportedUpload
            | ApiError::Disk(_)
            | ApiError::Unreadable(_)
            | ApiError::Range { .. }
            | ApiError::HeadTooLarge { .. }
            | ApiError::SlowClient
            | ApiError::TimedOut
            | ApiError::TooManyConnections
            | ApiError::Body(_)
            | ApiError::Store(_)
            | ApiError::Internal(_) => {}
        }
        more
    }

    /// The response that says so. Failures of the server's own go to the log with their cause.
    pub fn into_response(self) -> Response {
        let status = self.status();
        let words = if status.is_server_error() {
            match &self {
                // As many as strangers like: the connections count them. And a stop is logged as such.
                ApiError::TooManyConnections | ApiError::Account(AccountError::ShuttingDown) => {
                    log::debug!("a request failed: {}", self.cause());
                }
                _ => log::error!("a request failed: {}", self.cause()),
            }
            self.words_for_caller()
        } else {
            self.to_string()
        };
        let mut response = failure(status, &words, self.more());
        if let ApiError::Method { allow } = &self {
            let allow: Vec<&str> = allow.iter().map(AsRef::as_ref).collect();
            response.insert_header("Allow", allow.join(", "));
        }
        if let ApiError::Range { size, .. } = &self {
            response.insert_header("Content-Range", format!("bytes */{size}"));
        }
        if let ApiError::Account(
            AccountError::TooFast { retry_after, .. }
            | AccountError::NewContactsPaused { retry_after, .. }
            | AccountError::ContactPaused { retry_after }
            | AccountError::TooManyNewContacts { retry_after, .. }
            | AccountError::TooManyChecks { retry_after }
            | AccountError::TooManyKeys { retry_after },
        )
        | ApiError::Name {
            error: NameError::TooMany { retry_after },
            ..
        }
        | ApiError::WrongKeys { retry_after } = &self
        {
            response.insert_header("Retry-After", retry_after.to_string());
        }
        if let ApiError::Account(
            AccountError::Refused {
                code: Some(TOO_MUCH),
                ..
            }
            | AccountError::Declined {
                code: Some(TOO_MUCH),
                ..
            }
            | AccountError::PairingRefused { code: TOO_MUCH, .. }
            | AccountError::GroupRefused { code: TOO_MUCH, .. },
        ) = &self
        {
            response.insert_header("Retry-After", WHATSAPP_PAUSE.to_string());
        }
        if let ApiError::WrongKeys { .. } = &self {
            response.ext_mut().insert(HeldBack(WRONG_KEY_DELAY));
        }
        // Where no key exists, no password does either.
        if status == StatusCode::Unauthorized && !matches!(self, ApiError::NoKeysYet) {
            // Makes browsers ask for it, and take the key as the password.
            response.insert_header("WWW-Authenticate", "Basic realm=\"wildcat\"");
        }
        if let ApiError::TooManyReaders = &self {
            response.insert_header("Retry-After", READERS_PAUSE.to_string());
        }
        if status == StatusCode::ServiceUnavailable {
            response.insert_header("Retry-After", "5");
        }
        response
    }

    /// For the log: with the cause that `Display` keeps from callers.
    fn cause(&self) -> String {
        match self {
            ApiError::Internal(cause) => cause.clone(),
            ApiError::Disk(cause) | ApiError::Unreadable(cause) => format!("{self}: {cause}"),
            ApiError::Keys(cause) => format!("{self}: {cause}"),
            other => other.to_string(),
        }
    }

    /// A storage error's own words may name paths of this machine: those stay in the log.
    fn words_for_caller(&self) -> String {
        let refusal = match self {
            ApiError::Store(error) | ApiError::Account(AccountError::Store(error)) => error,
            ApiError::Disk(error)
            | ApiError::Account(AccountError::Media(MediaError::Io(error))) => {
                return match StoreError::of_disk(error) {
                    Some(refusal) => format!("The file could not be stored: {refusal}"),
                    None => self.to_string(),
                };
            }
            other => return other.to_string(),
        };
        match (self.status(), refusal) {
            (StatusCode::ServiceUnavailable, StoreError::Closed | StoreError::Busy) => {
                "The storage is full or unavailable".to_owned()
            }
            (StatusCode::ServiceUnavailable, refusal) => {
                format!(
                    "The storage is full or unavailable: {}",
                    refusal.for_callers()
                )
            }
            _ => "Internal server error".to_owned(),
        }
    }
}

fn account_status(error: &AccountError) -> StatusCode {
    match error {
        AccountError::NotFound
        | AccountError::NoQr { .. }
        | AccountError::NoPasskey { .. }
        | AccountError::QuotedNotFound
        | AccountError::MessageNotFound
        | AccountError::ChatNotFound
        | AccountError::GroupNotFound
        | AccountError::ContactNotFound
        | AccountError::NoMedia
        | AccountError::NoPicture
        | AccountError::NotInOutbox
        | AccountError::MediaGone(_) => StatusCode::NotFound,
        AccountError::AlreadyExists
        | AccountError::NotConnected { .. }
        | AccountError::NotPaired { .. }
        | AccountError::BadAssertion { .. }
        | AccountError::NotOwnMessage
        | AccountError::Unchangeable(_)
        | AccountError::Unwritable(_) => StatusCode::BadRequest,
        AccountError::Name(error) => name_status(error),
        AccountError::Media(error) => media_status(error),
        AccountError::CallerLeft => StatusCode::RequestTimeout,
        AccountError::MediaUnavailable(_) => StatusCode::InternalServerError,
        AccountError::AlreadyPaired { .. }
        | AccountError::PasskeyNotNow(_)
        | AccountError::TooManyAccounts { .. }
        | AccountError::AlreadySending
        | AccountError::StillQueued
        | AccountError::KeyReused => StatusCode::Conflict,
        AccountError::TooFast { .. }
        | AccountError::NewContactsPaused { .. }
        | AccountError::ContactPaused { .. }
        | AccountError::TooManyNewContacts { .. }
        | AccountError::Busy(_)
        | AccountError::TooManyChecks { .. }
        | AccountError::TooManyKeys { .. } => StatusCode::TooManyRequests,
        AccountError::OutboxFull { .. } => StatusCode::ServiceUnavailable,
        // Its 5xx are its own trouble; everything else it holds against the request.
        AccountError::Refused {
            code: Some(500..), ..
        }
        | AccountError::Declined {
            code: Some(500..), ..
        }
        | AccountError::PairingRefused { code: 500.., .. } => StatusCode::InternalServerError,
        AccountError::Refused {
            code: Some(TOO_MUCH),
            ..
        }
        | AccountError::Declined {
            code: Some(TOO_MUCH),
            ..
        }
        | AccountError::PairingRefused { code: TOO_MUCH, .. } => StatusCode::TooManyRequests,
        AccountError::Refused { .. }
        | AccountError::Declined { .. }
        | AccountError::PairingRefused { .. } => StatusCode::BadRequest,
        AccountError::GroupRefused { code, .. } => match code {
            401 | 403 => StatusCode::Forbidden,
            404 | 410 => StatusCode::NotFound,
            409 | 419 => StatusCode::Conflict,
            429 => StatusCode::TooManyRequests,
            500.. => StatusCode::InternalServerError,
            _ => StatusCode::BadRequest,
        },
        AccountError::Session(_) => StatusCode::InternalServerError,
        AccountError::ShuttingDown => StatusCode::ServiceUnavailable,
        AccountError::Store(error) => store_status(error),
    }
}

fn name_status(error: &NameError) -> StatusCode {
    match error {
        NameError::Absent(_) | NameError::KeyNeeded(_) | NameError::NotConnected(_) => {
            StatusCode::BadRequest
        }
        NameError::NoChat(_) => StatusCode::NotFound,
        NameError::TooMany { .. } => StatusCode::TooManyRequests,
        NameError::NoAnswer(_) => StatusCode::ServiceUnavailable,
    }
}

fn media_status(error: &MediaError) -> StatusCode {
    match error {
        MediaError::NotWhat { .. }
        | MediaError::Empty
        | MediaError::Broken(_)
        | MediaError::Unsupported(_)
        | MediaError::TooDetailed
        | MediaError::TooLong { .. } => StatusCode::BadRequest,
        MediaError::Io(error) if StoreError::of_disk(error).is_some() => {
            StatusCode::ServiceUnavailable
        }
        MediaError::Io(_) => StatusCode::InternalServerError,
    }
}

fn store_status(error: &StoreError) -> StatusCode {
    match error {
        StoreError::Full(_)
        | StoreError::ReadOnly
        | StoreError::Broken
        | StoreError::Io { .. }
        | StoreError::Lmdb(_)
        | StoreError::Closed
        | StoreError::Busy => StatusCode::ServiceUnavailable,
        StoreError::Locked { .. }
        | StoreError::Newer { .. }
        | StoreError::Older
        | StoreError::OtherWidth { .. }
        | StoreError::CutShort { .. }
        | StoreError::Corrupt { .. }
        | StoreError::Encode { .. }
        | StoreError::Panicked(_)
        | StoreError::Missing(_) => StatusCode::InternalServerError,
    }
}
impl From<FieldError> for ApiError {
    fn from(error: FieldError) -> ApiError {
        match error {
            FieldError::Field { field, expected } => ApiError::Field { field, expected },
            FieldError::Words(words) => ApiError::Invalid(words),
        }
    }
}

/// A failure: `{"ok":false,"error":"<words>",…}`.
pub(super) fn failure(status: StatusCode, words: &str, more: Map<String, Value>) -> Response {
    #[derive(Serialize)]
    struct Failure<'a> {
        ok: bool,
        error: &'a str,
        #[serde(flatten)]
        more: Map<String, Value>,
    }
    let body = serde_json::to_string(&Failure {
        ok: false,
        error: words,
        more,
    })
    // Strings and JSON values always serialize.
    .unwrap_or_else(|_| "{\"ok\":false,\"error\":\"Internal server error\"}".to_owned());
    json_response(status, body)
}

pub(super) fn json_response(status: StatusCode, json: String) -> Response {
    let mut response = Response::new(status);
    response.set_body(Body::from_string(json));
    response.insert_header("Content-Type", "application/json; charset=utf-8");
    response
}
