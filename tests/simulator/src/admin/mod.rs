//! `/admin/…`: controls the phones and the service, by JSON; errors are `{"error": "…"}`.
//!
//! Requests that ask for something that is yet to happen take `wait=SECONDS` and answer as soon as it has,
//! so that tests wait for events and not for time.

mod faults;
mod groups;
mod history;
mod load;
mod media;
mod profile;

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use futures_lite::{AsyncReadExt, FutureExt};
use http_types::{Body, Method, Request, Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::net::Hub;
use crate::phone::{Outgoing, PhoneError};
use crate::service::{
    GroupError, PairError, Paired, Pairing, Passkey, PeopleError, Service, now_ms,
};

/// Bytes of a request body.
const MAX_BODY: usize = 2 * 1024 * 1024;
/// Bytes of a request body with a file of 50 MB in base64.
const MAX_FILE_BODY: usize = 72 * 1024 * 1024;
/// The longest that a request waits for something.
const MAX_WAIT: Duration = Duration::from_secs(120);
/// How long a client may take to complete a pairing, prekeys and all.
const PAIRING: Duration = Duration::from_secs(30);

/// Why a request was refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AdminError {
    /// No such path or method.
    #[error("there is no such endpoint")]
    NoEndpoint,
    /// The body or the query is invalid.
    #[error("{0}")]
    Bad(String),
    /// About numbers and devices.
    #[error(transparent)]
    People(#[from] PeopleError),
    /// About linking.
    #[error(transparent)]
    Pair(#[from] PairError),
    /// There is no such message, or it has no file.
    #[error("message {0:?} has no file")]
    NoFile(String),
    /// The file cannot be decrypted.
    #[error("{0}")]
    BrokenFile(String),
    /// Something did not happen in time.
    #[error("{0}")]
    TimedOut(String),
    /// The phone has no connection.
    #[error("the service has no power")]
    NoPower,
}

impl AdminError {
    fn status(&self) -> StatusCode {
        match self {
            Self::NoEndpoint | Self::NoFile(_) => StatusCode::NotFound,
            Self::BrokenFile(_) => StatusCode::BadGateway,
            Self::Bad(_) => StatusCode::BadRequest,
            Self::People(e) => people_status(e),
            Self::Pair(e) => match e {
                PairError::Unknown => StatusCode::NotFound,
                PairError::Phone(e) => phone_status(e),
                PairError::Forged => StatusCode::BadRequest,
                PairError::TooMany => StatusCode::Conflict,
                PairError::Refused => StatusCode::BadGateway,
                PairError::Number(e) => people_status(e),
            },
            Self::TimedOut(_) => StatusCode::GatewayTimeout,
            Self::NoPower => StatusCode::ServiceUnavailable,
        }
    }
}

fn people_status(e: &PeopleError) -> StatusCode {
    match e {
        PeopleError::BadNumber(_) | PeopleError::BadUsername(_) => StatusCode::BadRequest,
        PeopleError::Full | PeopleError::UsernameTaken(_) => StatusCode::Conflict,
        PeopleError::Unknown(_) | PeopleError::NoDevice(..) => StatusCode::NotFound,
        PeopleError::Group(e) => match e {
            GroupError::NotFound => StatusCode::NotFound,
            GroupError::Forbidden | GroupError::NotAuthorized => StatusCode::Forbidden,
            GroupError::Conflict | GroupError::Full => StatusCode::Conflict,
            GroupError::Malformed | GroupError::NotAcceptable | GroupError::Gone => {
                StatusCode::BadRequest
            }
        },
        PeopleError::Phone(e) => phone_status(e),
    }
}

fn phone_status(e: &PhoneError) -> StatusCode {
    match e {
        PhoneError::UnknownRecipient(_) | PhoneError::UnknownMessage(_) => StatusCode::NotFound,
        _ => StatusCode::BadRequest,
    }
}

type Answer = Result<Value, AdminError>;

/// Answers a request that does not come over the network: the person holds the phone, whether the
/// service has power or not. Without power the phone shows its state, and sends nothing.
pub(crate) async fn by_hand(hub: &Hub, request: Request) -> Response {
    if !hub.power.is_on() && request.method() != Method::Get {
        return refusal(&AdminError::NoPower);
    }
    respond(hub, request).await
}

fn refusal(error: &AdminError) -> Response {
    json_response(error.status(), &json!({"error": error.to_string()}))
}

fn json_response(status: StatusCode, body: &Value) -> Response {
    let mut response = Response::new(status);
    let mut body = Body::from_string(body.to_string());
    body.set_mime(http_types::mime::JSON);
    response.set_body(body);
    response
}

/// Answers one request.
pub(crate) async fn respond(hub: &Hub, mut request: Request) -> Response {
    let answer = match media::file(hub, &request) {
        Some(Ok(file)) => return file,
        Some(Err(e)) => Err(e),
        None => handle(hub, &mut request).await,
    };
    match answer {
        Ok(body) => json_response(StatusCode::Ok, &body),
        Err(e) => refusal(&e),
    }
}

async fn handle(hub: &Hub, request: &mut Request) -> Answer {
    let url = request.url().clone();
    let path: Vec<&str> = url.path().trim_matches('/').split('/').collect();
    let query: Vec<(String, String)> = url
        .query_pairs()
        .map(|(k, v)| (k.into_owned(), v.into_owned()))
        .collect();
    let query = Query(query);
    let ["admin", path @ ..] = path.as_slice() else {
        return Err(AdminError::NoEndpoint);
    };
    match (request.method(), path) {
        (Method::Post, ["mock-phone", "scan-qr"]) => {
            let qr = text_body(MAX_BODY, request).await?;
            scan_qr(hub, &qr, &query).await
        }
        (Method::Post, ["mock-phone", "enter-code"]) => {
            let body = json_body(request).await?;
            enter_code(hub, &body).await
        }
        (Method::Post, ["phones"]) => {
            let body: NewPhone = json_body(request).await?;
            hub.with(|service| {
                service.ensure_account(&body.number, body.name.as_deref())?;
                if let Some(hidden) = body.hide_number {
                    service.hide_number(&body.number, hidden);
                }
                if let Some(refuses) = body.refuse_groups {
                    service.refuse_groups(&body.number, refuses);
                }
                if let Some(name) = &body.username {
                    service.set_username(&body.number, name, body.username_key.as_deref())?;
                }
                Ok(person(service, &body.number))
            })
        }
        (Method::Get, ["phones"]) => Ok(hub.with(|service| everyone(service))),
        (Method::Get, ["phones", number]) => one_person(hub, number, &query).await,
        (Method::Get, ["phones", number, "messages"]) => messages(hub, number, &query).await,
        (Method::Post, ["phones", number, "messages"]) => {
            let out: Outgoing = json_body_up_to(MAX_FILE_BODY, request).await?;
            let id = hub.with(|service| {
                service.ensure_account(number, None)?;
                service.phone_send(number, out)
            })?;
            Ok(json!({"messageId": id}))
        }
        (Method::Post, ["phones", number, "read"]) => {
            let body: Read = json_body(request).await?;
            hub.with(|service| {
                service.phone_does(number, |phone, _| {
                    Ok(phone.mark_read(&body.chat, body.message_ids.as_deref(), now_ms()))
                })
            })?;
            Ok(json!({}))
        }
        (Method::Post, ["phones", number, "played"]) => {
            let body: Read = json_body(request).await?;
            hub.with(|service| {
                service.phone_does(number, |phone, _| {
                    Ok(phone.mark_played(&body.chat, body.message_ids.as_deref(), now_ms()))
                })
            })?;
            Ok(json!({}))
        }
        (Method::Post, ["phones", number, "calls"]) => {
            let body: NewCall = json_body(request).await?;
            let id = hub.with(|service| service.call(number, &body.to, body.video))?;
            Ok(json!({"callId": id}))
        }
        (Method::Get, ["phones", number, "calls"]) => calls(hub, number, &query).await,
        (Method::Post, ["phones", number, "calls", id, "end"]) => {
            let body: EndCall = json_body(request).await?;
            let (reason, liar) = (body.reason.as_deref(), body.liar.as_deref());
            hub.with(|service| service.end_call(number, id, reason, liar))?;
            Ok(json!({}))
        }
        (Method::Post, ["phones", number, "typing"]) => {
            let body: Typing = json_body(request).await?;
            hub.with(|service| {
                service.phone_does(number, |phone, _| {
                    Ok(vec![phone.typing(&body.to, &body.state)?])
                })
            })?;
            Ok(json!({}))
        }
        (Method::Post, ["phones", number, "history"]) => {
            let body = json_body(request).await?;
            history::build(hub, number, &body)
        }
        (Method::Post, ["phones", number, "profile"]) => {
            let body = json_body(request).await?;
            profile::change(hub, number, body)
        }
        (Method::Post, ["phones", number, "use"]) => {
            let body: Use = json_body(request).await?;
            hub.with(|service| service.use_phone(number, body.in_use))?;
            Ok(json!({}))
        }
        (Method::Post, ["phones", number, "block"]) => {
            let body = json_body(request).await?;
            profile::block(hub, number, &body)
        }
        (Method::Post, ["phones", number, "limits"]) => {
            let body = json_body(request).await?;
            hub.with(|service| service.set_limits(number, &body))?;
            Ok(json!({}))
        }
        (Method::Post, ["phones", number, "contacts"]) => {
            let body = json_body(request).await?;
            history::contacts(hub, number, &body)
        }
        (
            Method::Post,
            [
                "phones",
                number,
                act @ ("mark-chat" | "archive" | "pin" | "mute" | "delete-chat" | "clear-chat"
                | "star" | "delete-for-me"),
            ],
        ) => {
            let body = json_body(request).await?;
            history::act(hub, number, act, &body)
        }
        (Method::Get, ["phones", number, "app-state"]) => hub.with(|service| {
            let phone = service.phone(number);
            let unknown = || PeopleError::Unknown((*number).to_owned());
            Ok(phone.ok_or_else(unknown)?.app_state_json())
        }),
        (Method::Post, ["phones", number, "mapping"]) => {
            let body = json_body(request).await?;
            history::mapping(hub, number, &body)
        }
        (Method::Post, ["phones", number, "passkey"]) => {
            let body: NewPasskey = json_body(request).await?;
            let passkey = body.decoded()?;
            hub.with(|service| service.set_passkey(number, passkey))?;
            Ok(json!({}))
        }
        (Method::Post, ["phones", number, "unlink"]) => {
            let body: Unlink = json_body(request).await?;
            let unlinked = hub.with(|service| service.unlink(number, body.device))?;
            Ok(json!({"unlinked": unlinked}))
        }
        (Method::Post, ["phones", number, "lose-sessions"]) => {
            hub.with(|service| {
                service.phone_does(number, |phone, _| {
                    phone.lose_sessions();
                    Ok(Vec::new())
                })
            })?;
            Ok(json!({}))
        }
        (Method::Post, ["phones", number, state @ ("offline" | "online")]) => {
            hub.with(|service| service.set_reachable(number, *state == "online"))?;
            Ok(json!({}))
        }
        (Method::Post, ["groups"]) => {
            let body = json_body(request).await?;
            groups::create(hub, &body)
        }
        (Method::Get, ["groups"]) => Ok(hub.with(|service| service.groups_json())),
        (Method::Get, ["groups", jid]) => groups::look(hub, jid),
        (Method::Post, ["groups", jid]) => {
            let body = json_body(request).await?;
            groups::change(hub, jid, body)
        }
        (Method::Post, ["load"]) => {
            let body = json_body(request).await?;
            load::run(hub, &body).await
        }
        (Method::Post, ["faults"]) => {
            let body = json_body(request).await?;
            hub.with(|service| faults::apply(service, &body))
        }
        (Method::Get, ["faults"]) => Ok(hub.with(|service| service.faults_json())),
        (Method::Delete, ["faults"]) => {
            hub.with(Service::clear_faults);
            Ok(json!({}))
        }
        (Method::Post, ["versions"]) => {
            let change = json_body(request).await?;
            Ok(hub.with(|service| {
                service.change_versions(&change);
                service.versions_json()
            }))
        }
        (Method::Get, ["versions"]) => Ok(hub.with(|service| service.versions_json())),
        (Method::Get, ["stanzas"]) => Ok(hub.with(|service| service.trace().to_json())),
        _ => Err(AdminError::NoEndpoint),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewPhone {
    number: String,
    name: Option<String>,
    /// Whether others see only the LID.
    hide_number: Option<bool>,
    /// Whether only an invitation leads this person into groups.
    refuse_groups: Option<bool>,
    /// Taken, or, if empty, given up.
    username: Option<String>,
    /// What strangers must know beside the username.
    username_key: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EnterCode {
    number: String,
    code: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Read {
    chat: String,
    message_ids: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewCall {
    /// A person or a group.
    to: String,
    #[serde(default)]
    video: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EndCall {
    /// As in `<terminate>`; without one the caller gave up.
    reason: Option<String>,
    /// The number of another person, who says so in the caller's place.
    liar: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Typing {
    to: String,
    state: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Use {
    in_use: bool,
}

/// Both in base64url.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewPasskey {
    credential_id: String,
    /// An uncompressed point of P-256.
    public_key: String,
}

impl NewPasskey {
    fn decoded(&self) -> Result<Passkey, AdminError> {
        let decoded = |text: &str| {
            let bytes = BASE64_URL_SAFE_NO_PAD.decode(text);
            bytes.map_err(|e| AdminError::Bad(format!("base64url: {e}")))
        };
        Ok(Passkey {
            id: decoded(&self.credential_id)?,
            public_key: decoded(&self.public_key)?,
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unlink {
    device: Option<u16>,
}

struct Query(Vec<(String, String)>);

impl Query {
    fn get(&self, key: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(k, _)| k == key)
            .map(|(_, v)| v.as_str())
    }

    fn number<T: std::str::FromStr>(&self, key: &str) -> Result<Option<T>, AdminError> {
        self.get(key)
            .map(|v| {
                v.parse()
                    .map_err(|_| AdminError::Bad(format!("{key}={v} is no number")))
            })
            .transpose()
    }

    fn wait(&self) -> Result<Duration, AdminError> {
        let seconds: f64 = self.number("wait")?.unwrap_or(0.0);
        Duration::try_from_secs_f64(seconds)
            .map(|wait| wait.min(MAX_WAIT))
            .map_err(|_| AdminError::Bad("wait must be seconds".to_owned()))
    }
}

async fn text_body(max: usize, request: &mut Request) -> Result<String, AdminError> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(max).unwrap_or(u64::MAX) + 1;
    AsyncReadExt::take(&mut *request, limit)
        .read_to_end(&mut bytes)
        .await
        .map_err(|e| AdminError::Bad(format!("the body cannot be read: {e}")))?;
    if bytes.len() > max {
        return Err(AdminError::Bad(format!(
            "the body is longer than {max} bytes"
        )));
    }
    String::from_utf8(bytes).map_err(|_| AdminError::Bad("the body is not UTF-8".to_owned()))
}

async fn json_body<T: serde::de::DeserializeOwned>(request: &mut Request) -> Result<T, AdminError> {
    json_body_up_to(MAX_BODY, request).await
}

async fn json_body_up_to<T: serde::de::DeserializeOwned>(
    max: usize,
    request: &mut Request,
) -> Result<T, AdminError> {
    let text = text_body(max, request).await?;
    // An endpoint whose fields are all optional may be called without a body.
    let text = if text.trim().is_empty() { "{}" } else { &text };
    serde_json::from_str(text).map_err(|e| AdminError::Bad(format!("the body: {e}")))
}

/// Asks `look` again after every change until it has an answer or `wait` is over.
async fn eventually<T>(
    hub: &Hub,
    wait: Duration,
    mut look: impl FnMut(&Service) -> Option<T>,
) -> Option<T> {
    let deadline = Instant::now() + wait;
    let changed = hub.service.borrow().changed();
    loop {
        let listener = changed.listen();
        if let Some(found) = look(&hub.service.borrow()) {
            return Some(found);
        }
        let news = async {
            listener.await;
            true
        };
        let over = async {
            smol::Timer::at(deadline).await;
            false
        };
        if !news.or(over).await {
            return None;
        }
    }
}

async fn scan_qr(hub: &Hub, qr: &str, query: &Query) -> Answer {
    let pairing =
        hub.with(|service| service.scan_qr(qr, query.get("number"), query.get("name")))?;
    paired(hub, &pairing).await
}

async fn enter_code(hub: &Hub, body: &EnterCode) -> Answer {
    let pairing = hub.with(|service| service.enter_code(&body.number, &body.code))?;
    paired(hub, &pairing).await
}

async fn paired(hub: &Hub, pairing: &Pairing) -> Answer {
    // The rest is up to the person, and may take minutes.
    let asked = eventually(hub, PAIRING, |service| {
        let asked = service.is_asked_for_passkey(pairing);
        (asked || service.pairing_outcome(pairing).is_some()).then_some(asked)
    });
    if asked.await == Some(true) {
        return Ok(json!({"passkey": "required"}));
    }
    let outcome = eventually(hub, PAIRING, |service| service.pairing_outcome(pairing)).await;
    match outcome {
        Some(Ok(Paired { jid, lid, device })) => {
            Ok(json!({"jid": jid, "lid": lid, "device": device}))
        }
        Some(Err(e)) => Err(e.into()),
        None => Err(AdminError::TimedOut(
            "the client does not answer the pairing".to_owned(),
        )),
    }
}

fn everyone(service: &Service) -> Value {
    service
        .accounts()
        .map(|(number, _)| person(service, number))
        .collect()
}

fn person(service: &Service, number: &str) -> Value {
    service.person_json(number).unwrap_or_default()
}

/// `GET /admin/phones/:number[?online=true|false&wait=S]`: with `online`, waits until a linked device is
/// (or none is) logged in.
async fn one_person(hub: &Hub, number: &str, query: &Query) -> Answer {
    let online = match query.get("online") {
        None => None,
        Some("true") => Some(true),
        Some("false") => Some(false),
        Some(other) => return Err(AdminError::Bad(format!("online={other}"))),
    };
    let wait = query.wait()?;
    let found = eventually(hub, wait, |service| {
        let known = service.person_json(number)?;
        let ready = online.is_none_or(|want| service.has_session(number) == want);
        ready.then_some(known)
    })
    .await;
    match found {
        Some(found) => Ok(found),
        None if hub.service.borrow().phone(number).is_none() => {
            Err(PeopleError::Unknown(number.to_owned()).into())
        }
        None => Err(AdminError::TimedOut(format!(
            "{number} did not become so in time"
        ))),
    }
}

/// `GET /admin/phones/:number/calls`: those that it made; with `status`, waits until the last one has it.
async fn calls(hub: &Hub, number: &str, query: &Query) -> Answer {
    let status = query.get("status");
    let found = eventually(hub, query.wait()?, |service| {
        let calls = service.calls_json(number);
        let last = calls["calls"].as_array().and_then(|calls| calls.last());
        let is = status.is_none_or(|wanted| last.is_some_and(|call| call["status"] == wanted));
        is.then_some(calls)
    });
    let late = || AdminError::TimedOut("the last call did not become so in time".to_owned());
    found.await.ok_or_else(late)
}

/// `GET /admin/phones/:number/messages`: with `count`, waits until so many have been received; with
/// `messageId` and `receipt`, until that message has that receipt.
async fn messages(hub: &Hub, number: &str, query: &Query) -> Answer {
    let wait = query.wait()?;
    let count: Option<usize> = query.number("count")?;
    let receipt = match (query.get("messageId"), query.get("receipt")) {
        (Some(id), Some(kind)) => Some((id, kind)),
        (None, None) => None,
        _ => {
            return Err(AdminError::Bad(
                "messageId and receipt go together".to_owned(),
            ));
        }
    };
    if hub.service.borrow().phone(number).is_none() {
        return Err(PeopleError::Unknown(number.to_owned()).into());
    }
    let found = eventually(hub, wait, |service| {
        let inbox = service.phone(number)?.inbox();
        let enough = count.is_none_or(|n| inbox.received().count() >= n);
        let told = receipt.is_none_or(|(id, kind)| {
            inbox
                .find_sent(id)
                .is_some_and(|sent| sent.receipts.iter().any(|r| r.kind == kind))
        });
        (enough && told).then(|| inbox.to_json())
    })
    .await;
    found.ok_or_else(|| AdminError::TimedOut("that has not arrived in time".to_owned()))
}
