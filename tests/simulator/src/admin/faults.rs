//! `POST /admin/faults`: what shall go wrong, for whom, how often.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use super::{AdminError, Answer};
use crate::media::Missing;
use crate::phone::Hosted;
use crate::service::{
    Demand, FAILURE_ATTRIBUTES, Failure, Fault, FaultKind, LoginFailure, PageFault, Place, Service,
    TransferFault,
};

/// The longest delay a fault may make.
const MAX_DELAY_MS: u64 = 600_000;

/// The body. `{"kind": "clear"}` ends everything.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    kind: Kind,
    /// Only this number; everyone if absent.
    number: Option<String>,
    /// Only messages to this number, of `refuse-sends`.
    to: Option<String>,
    /// For so many events; until cleared if absent.
    count: Option<u64>,
    /// Milliseconds of `delay-acks` and `latency`, that the challenge of `require-passkey` lives (600,000), and between two bytes of `drip-downloads`.
    ms: Option<u64>,
    /// How many bytes `overlong-downloads` adds.
    bytes: Option<u64>,
    /// Where `redirect-downloads` leads on this machine.
    port: Option<u16>,
    /// What `forge-history-path`, `forge-app-state-path` and `forge-retry-path` name.
    path: Option<String>,
    /// Only this device, of `withhold-keys`.
    device: Option<u16>,
    /// The code of `refuse-sends`, `refuse-queries`, `withhold-keys` and `stream-error`, the HTTP status of `refuse-uploads` and
    /// `refuse-downloads` and `expire-media`, the result of `refuse-media-retry`, the sub-reason of `login-failure`.
    code: Option<u16>,
    /// The reason of `login-failure`.
    reason: Option<u16>,
    /// Seconds that a ban of `login-failure` lasts.
    expire: Option<u64>,
    /// What `sign-hosted` calls hosted: `account`, `device` or, if absent, both.
    hosted: Option<Which>,
    /// Where `require-passkey` goes wrong; nowhere if absent.
    fails: Option<Fails>,
    /// What `version-page` makes of the page.
    page: Option<PageFault>,
    /// More attributes of the stanza of `login-failure`, such as `message` and `url`.
    #[serde(default)]
    attributes: BTreeMap<String, String>,
    /// When `drop-connections` drops.
    #[serde(default)]
    on: On,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    Clear,
    DropConnections,
    HalfOpen,
    StreamError,
    WithholdAcks,
    DeliverRepeats,
    DelayAcks,
    DeliverTwice,
    Reorder,
    Garble,
    HoldRetries,
    RefuseAppState,
    KeepAppStateKey,
    LoseReceipts,
    UnmarkOwnReads,
    LoseNotifications,
    WithholdKeys,
    RefuseSends,
    RefuseQueries,
    RefuseUploads,
    BreakUploads,
    RefuseDownloads,
    BreakDownloads,
    CorruptDownloads,
    OverlongDownloads,
    EndlessDownloads,
    DripDownloads,
    StallDownloads,
    RedirectDownloads,
    StallUploads,
    ExpireMedia,
    RefuseMediaRetry,
    ForgeHistoryPath,
    ForgeAppStatePath,
    ForgeRetryPath,
    SignHosted,
    RequirePasskey,
    LoginFailure,
    Latency,
    VersionPage,
}

#[derive(Deserialize, Clone, Copy, PartialEq)]
#[serde(rename_all = "kebab-case")]
enum Which {
    Account,
    Device,
}

/// See [`Failure`].
#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
enum Fails {
    Options,
    Prologue,
    Drop,
    Silence,
    Identity,
    Nonce,
    Request,
    Phone,
}

impl Fails {
    fn failure(self) -> Failure {
        match self {
            Fails::Options => Failure::Options,
            Fails::Prologue => Failure::Prologue,
            Fails::Drop => Failure::Drop,
            Fails::Silence => Failure::Silence,
            Fails::Identity => Failure::Identity,
            Fails::Nonce => Failure::Nonce,
            Fails::Request => Failure::Request,
            Fails::Phone => Failure::Phone,
        }
    }
}

#[derive(Deserialize, Clone, Copy, Default, PartialEq)]
#[serde(rename_all = "kebab-case")]
enum On {
    /// At once.
    #[default]
    Now,
    /// When the client sends a message, which is lost with the connection.
    Message,
}

/// Sets the faults in the body; `{"hit": connections or files}` for immediate ones.
pub(super) fn apply(service: &mut Service, body: &Request) -> Answer {
    let number = body.number.as_deref();
    let hit = match body.kind {
        Kind::Clear => {
            service.clear_faults();
            0
        }
        Kind::DropConnections if body.on == On::Now => service.drop_connections(number),
        Kind::HalfOpen => service.half_open(number),
        Kind::ExpireMedia => {
            let gone = match body.code.unwrap_or(410) {
                410 => Missing::Expired,
                403 => Missing::Forged,
                404 => Missing::Unknown,
                code => return Err(AdminError::Bad(format!("{code} is not 403, 404 or 410"))),
            };
            service.media_mut().expire(number, gone)
        }
        Kind::StreamError => service.break_streams(number, required(body.code, "code")?),
        _ => {
            let fault = Fault {
                kind: lasting(body)?,
                number: body.number.clone(),
                count: body.count,
            };
            if body.count == Some(0) {
                return Err(AdminError::Bad("count must be at least 1".to_owned()));
            }
            if !service.add_fault(fault) {
                return Err(AdminError::Bad("too many faults wait already".to_owned()));
            }
            return Ok(json!({}));
        }
    };
    Ok(json!({"hit": hit}))
}

fn lasting(body: &Request) -> Result<FaultKind, AdminError> {
    Ok(match body.kind {
        Kind::DropConnections => FaultKind::DropOnMessage,
        Kind::WithholdAcks => FaultKind::WithholdAcks,
        Kind::DeliverRepeats => FaultKind::DeliverRepeats,
        Kind::DelayAcks => FaultKind::DelayAcks(delay(body)?),
        Kind::DeliverTwice => FaultKind::DeliverTwice,
        Kind::Reorder => FaultKind::Reorder,
        Kind::Garble => FaultKind::Garble,
        Kind::HoldRetries => FaultKind::HoldRetries,
        Kind::RefuseAppState => FaultKind::RefuseAppState(required(body.code, "code")?),
        Kind::KeepAppStateKey => FaultKind::KeepAppStateKey,
        Kind::LoseReceipts => FaultKind::LoseReceipts,
        Kind::UnmarkOwnReads => FaultKind::UnmarkOwnReads,
        Kind::RefuseSends => FaultKind::RefuseSends(required(body.code, "code")?, body.to.clone()),
        Kind::RefuseQueries => FaultKind::RefuseQueries(body.code.unwrap_or(500)),
        Kind::LoseNotifications => FaultKind::LoseNotifications,
        Kind::WithholdKeys => FaultKind::WithholdKeys(body.device, body.code),
        Kind::RefuseUploads => FaultKind::Uploads(TransferFault::Refuse(status(body)?)),
        Kind::BreakUploads => FaultKind::Uploads(TransferFault::Break),
        Kind::RefuseDownloads => FaultKind::Downloads(TransferFault::Refuse(status(body)?)),
        Kind::BreakDownloads => FaultKind::Downloads(TransferFault::Break),
        Kind::CorruptDownloads => FaultKind::Downloads(TransferFault::Corrupt),
        Kind::OverlongDownloads => {
            FaultKind::Downloads(TransferFault::Overlong(required(body.bytes, "bytes")?))
        }
        Kind::EndlessDownloads => FaultKind::Downloads(TransferFault::Endless),
        Kind::DripDownloads => {
            let pause = u64::try_from(delay(body)?.as_millis()).unwrap_or(MAX_DELAY_MS);
            FaultKind::Downloads(TransferFault::Drip(pause))
        }
        Kind::StallDownloads => FaultKind::Downloads(TransferFault::Stall),
        Kind::RedirectDownloads => {
            FaultKind::Downloads(TransferFault::Redirect(required(body.port, "port")?))
        }
        Kind::StallUploads => FaultKind::Uploads(TransferFault::Stall),
        Kind::RefuseMediaRetry => FaultKind::RefuseMediaRetry(retry_result(body)?),
        Kind::ForgeHistoryPath => forged(body, Place::History)?,
        Kind::ForgeAppStatePath => forged(body, Place::AppState)?,
        Kind::ForgeRetryPath => forged(body, Place::Retry)?,
        Kind::SignHosted => FaultKind::SignHosted(Hosted {
            account: body.hosted != Some(Which::Device),
            device: body.hosted != Some(Which::Account),
        }),
        Kind::RequirePasskey => FaultKind::RequirePasskey(Demand {
            lifetime: match body.ms {
                Some(_) => delay(body)?,
                None => Duration::from_millis(MAX_DELAY_MS),
            },
            fails: body.fails.map(Fails::failure),
        }),
        Kind::LoginFailure => FaultKind::FailLogin(LoginFailure {
            reason: required(body.reason, "reason")?,
            code: body.code,
            expire: body.expire,
            more: attributes(body)?,
        }),
        Kind::Latency => FaultKind::Latency(delay(body)?),
        Kind::VersionPage => FaultKind::VersionPage(required(body.page, "page")?, body.code),
        Kind::Clear | Kind::HalfOpen | Kind::StreamError | Kind::ExpireMedia => {
            return Err(AdminError::Bad("this fault happens at once".to_owned()));
        }
    })
}

fn attributes(body: &Request) -> Result<BTreeMap<String, String>, AdminError> {
    let known = |name: &&String| FAILURE_ATTRIBUTES.contains(&name.as_str());
    match body.attributes.keys().find(|name| !known(name)) {
        Some(name) => Err(AdminError::Bad(format!(
            "{name:?} is no attribute of a failure"
        ))),
        None => Ok(body.attributes.clone()),
    }
}

fn forged(body: &Request, place: Place) -> Result<FaultKind, AdminError> {
    let path = body.path.clone();
    let path = path.ok_or_else(|| AdminError::Bad("this fault needs \"path\"".to_owned()))?;
    Ok(FaultKind::ForgePath(place, path))
}

/// The HTTP status of a refusal.
fn status(body: &Request) -> Result<u16, AdminError> {
    let code = required(body.code, "code")?;
    let known = http_types::StatusCode::try_from(code);
    if !(400..600).contains(&code) || known.is_err() {
        return Err(AdminError::Bad(format!("{code} is no HTTP error")));
    }
    Ok(code)
}

/// The result of a phone that does not upload again: 0 is a general error, 2 "not found", 3 "cannot be
/// decrypted".
fn retry_result(body: &Request) -> Result<u16, AdminError> {
    match body.code.unwrap_or(2) {
        code @ (0 | 2 | 3) => Ok(code),
        code => Err(AdminError::Bad(format!("{code} is not 0, 2 or 3"))),
    }
}

fn delay(body: &Request) -> Result<Duration, AdminError> {
    let ms = required(body.ms, "ms")?;
    if ms > MAX_DELAY_MS {
        return Err(AdminError::Bad(format!("ms is at most {MAX_DELAY_MS}")));
    }
    Ok(Duration::from_millis(ms))
}

fn required<T: Copy>(value: Option<T>, name: &str) -> Result<T, AdminError> {
    value.ok_or_else(|| AdminError::Bad(format!("this fault needs {name:?}")))
}
