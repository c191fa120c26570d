//! One delivery over HTTP.

use std::str::FromStr as _;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_lite::AsyncReadExt;
use percent_encoding::percent_decode_str;
use surf::http::headers::{HeaderName, HeaderValue};
use surf::http::{Body, Method};
use surf::{Client, Request, Url};

use super::DeliverySettings;
use super::policy::retry_after;
use super::sign::signature;
use crate::clock::Millis;
use crate::net::http::{self, HttpError};
use crate::store::webhooks::WebhookRecord;
use crate::sync::within;

/// How many kept connections are tried before a new one.
const MAX_STALE: usize = 3;

/// Characters of a failure's text, which is stored.
const MAX_WORDS: usize = 300;

const USER_AGENT: &str = concat!("wildcat/", env!("CARGO_PKG_VERSION"));

/// One event to deliver.
#[derive(Debug, Clone, Copy)]
pub struct Parcel<'a> {
    /// The event's id, the same in every attempt.
    pub id: &'a str,
    pub body: &'a str,
}

/// Why there is no answer, as text for the log and the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure(pub String);

/// The receiver's answer.
#[derive(Debug)]
pub struct Received {
    pub status: u16,
    /// Its `Retry-After`.
    pub retry_after: Option<Duration>,
    /// Truncated to `max_response`.
    pub body: Vec<u8>,
}

impl Received {
    /// Any 2xx. Redirects are not followed.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// POSTs `parcel` to the hook and waits for the answer.
///
/// # Errors
/// Why there is no answer.
pub async fn send(
    client: &Client,
    hook: &WebhookRecord,
    parcel: Parcel<'_>,
    now: Millis,
    settings: &DeliverySettings,
) -> Result<Received, Failure> {
    let deadline = Instant::now() + settings.timeout;
    let exchange = async {
        for _ in 0..MAX_STALE {
            match client.send(request(hook, parcel, now)?).await {
                // The receiver closed a kept connection as it was used. If it did get the event, it
                // recognises the id.
                Err(error) if is_stale(&error) => {}
                answer => return answer.map_err(|e| failure(&e.to_string())),
            }
        }
        let answer = client.send(request(hook, parcel, now)?).await;
        answer.map_err(|e| failure(&e.to_string()))
    };
    let response = within(settings.timeout, exchange).await;
    let mut response = response.unwrap_or_else(|| {
        let seconds = settings.timeout.as_secs();
        Err(failure(&format!("no answer within {seconds} s")))
    })?;
    let status = http::status(&response);
    let retry_after = http::header(&response, "retry-after")
        .and_then(|value| std::str::from_utf8(value).ok())
        .and_then(retry_after);
    // The status is the answer: errors of the body do not change it.
    let mut body = Vec::new();
    let mut rest = response.take_body().take(settings.max_response as u64);
    let left = deadline.saturating_duration_since(Instant::now());
    match within(left, rest.read_to_end(&mut body)).await {
        Some(Ok(_)) => {}
        Some(Err(error)) => log::debug!("the body of a webhook's answer is incomplete: {error}"),
        None => log::debug!("the body of a webhook's answer is incomplete: timeout"),
    }
    Ok(Received {
        status,
        retry_after,
        body,
    })
}

fn is_stale(error: &surf::Error) -> bool {
    matches!(error.downcast_ref(), Some(HttpError::Stale))
}

fn request(hook: &WebhookRecord, parcel: Parcel<'_>, now: Millis) -> Result<Request, Failure> {
    let mut url = Url::parse(&hook.url).map_err(|_| failure("invalid URL"))?;
    let authorization = basic(&mut url);
    let mut request = Request::new(Method::Post, url);
    // A body of known length: never chunked.
    request.set_body(Body::from_string(parcel.body.to_owned()));
    if let Some(authorization) = authorization {
        request.insert_header("Authorization", authorization);
    }
    for (name, value) in &hook.headers {
        // `insert_header` panics over text that is not ASCII.
        let parsed = (HeaderName::from_str(name), HeaderValue::from_str(value));
        let (Ok(name), Ok(value)) = parsed else {
            return Err(failure(&format!("the header {name:?} is not ASCII")));
        };
        request.insert_header(name, value);
    }
    let seconds = now / 1000;
    request.insert_header("Content-Type", "application/json");
    request.insert_header("User-Agent", USER_AGENT);
    request.insert_header("webhook-id", parcel.id);
    request.insert_header("webhook-timestamp", seconds.to_string());
    if let Some(secret) = &hook.secret {
        let signature = signature(secret, parcel.id, seconds, parcel.body)
            .map_err(|e| failure(&e.to_string()))?;
        request.insert_header("webhook-signature", signature);
    }
    Ok(request)
}

/// Moves user and password from the URL to an `Authorization` header.
fn basic(url: &mut Url) -> Option<String> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let decoded = |text: &str| percent_decode_str(text).collect::<Vec<u8>>();
    let mut credentials = decoded(url.username());
    credentials.push(b':');
    credentials.extend(decoded(url.password().unwrap_or_default()));
    // These fail for URLs without a host, which have no credentials.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    Some(format!("Basic {}", STANDARD.encode(credentials)))
}

fn failure(text: &str) -> Failure {
    Failure(text.chars().take(MAX_WORDS).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::webhooks::Progress;
    use std::collections::BTreeMap;

    #[test]
    fn a_request_has_its_headers_and_body() {
        let hook = WebhookRecord {
            chats: Vec::new(),
            ignore: Vec::new(),
            id: "wh_1".to_owned(),
            url: "http://me:p%40w@example.org/hook".to_owned(),
            account_id: None,
            events: None,
            secret: Some("secret".to_owned()),
            headers: BTreeMap::from([("X-Mine".to_owned(), "1".to_owned())]),
            local_urls: true,
            created_at: 0,
            progress: Progress::default(),
            dead_count: 0,
            dead_bytes: 0,
        };
        let parcel = Parcel {
            id: "evt_1",
            body: "{\"a\":1}",
        };
        let request = request(&hook, parcel, 1_614_265_330_999).unwrap();
        let header = |name: &str| request.header(name).map(|v| v.as_str().to_owned());
        assert_eq!(request.url().as_str(), "http://example.org/hook");
        assert_eq!(header("authorization").unwrap(), "Basic bWU6cEB3");
        assert_eq!(header("x-mine").unwrap(), "1");
        assert_eq!(header("content-type").unwrap(), "application/json");
        assert_eq!(header("user-agent").unwrap(), USER_AGENT);
        assert_eq!(header("webhook-id").unwrap(), "evt_1");
        assert_eq!(header("webhook-timestamp").unwrap(), "1614265330");
        assert_eq!(
            header("webhook-signature").unwrap(),
            signature("secret", "evt_1", 1_614_265_330, "{\"a\":1}").unwrap()
        );
        assert_eq!(request.len(), Some(7));
    }
}
