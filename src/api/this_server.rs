//! `GET /server` and `GET /keys`: what a page or a program may know of the server it talks to.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Serialize;

use super::Req;
use super::answer::{Answer, One};
use super::auth::Access;
use super::error::ApiError;
use crate::clock::{self, Millis};
use crate::media::Files;
use crate::net::dial;
use crate::settings;

/// What does not change while the server runs.
#[derive(Debug)]
pub struct About {
    pub started: Millis,
    pub address: SocketAddr,
    /// The data directory.
    pub data: PathBuf,
    pub files: Files,
    pub settings: Vec<settings::Row>,
    /// Where the simulated phones are told what to do.
    #[cfg(feature = "sandbox")]
    pub phones: Option<http_types::Url>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    has_keys: bool,
    /// Whether the request was made on the server's own machine.
    local: bool,
    /// Whether no key is needed, by `auth.open`.
    open: bool,
    /// Whether WhatsApp is a simulated one.
    sandbox: bool,
    #[serde(flatten)]
    more: Option<More<'a>>,
}

/// The fields for requests that were admitted.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct More<'a> {
    version: &'static str,
    /// ISO 8601.
    started_at: String,
    /// The machine's name.
    host: Option<&'a str>,
    /// The request's own key.
    key: Option<KeyShown<'a>>,
    limits: Limits,
    /// Only for keys of all accounts.
    #[serde(skip_serializing_if = "Option::is_none")]
    addresses: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    storage: Option<Storage>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Limits {
    /// Bytes.
    max_file: u64,
}

#[derive(Serialize)]
struct Storage {
    path: String,
    /// Bytes of the database.
    used: u64,
    /// Bytes that the disk has left; `null` if it does not say.
    free: Option<u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct KeyShown<'a> {
    name: &'a str,
    read_only: bool,
    /// The only account that it is for.
    account: Option<&'a str>,
    /// ISO 8601.
    created_at: &'a str,
}

impl<'a> From<&'a crate::keys::Key> for KeyShown<'a> {
    fn from(key: &'a crate::keys::Key) -> KeyShown<'a> {
        KeyShown {
            name: &key.name,
            read_only: key.read_only,
            account: key.account.as_deref(),
            created_at: &key.created,
        }
    }
}

pub async fn show(req: Req) -> Result<Answer, ApiError> {
    let context = req.state();
    let access = context.gate.access(req.as_ref())?;
    Answer::ok(&Shown {
        has_keys: access.has_keys,
        local: access.local,
        open: access.open,
        sandbox: cfg!(feature = "sandbox"),
        more: access.admitted.then(|| more(&req, &access)),
    })
}

fn more<'a>(req: &'a Req, access: &'a Access) -> More<'a> {
    let context = req.state();
    let about = &context.about;
    let key = access.key.as_ref();
    let all = key.is_none_or(|key| key.account.is_none());
    More {
        version: env!("CARGO_PKG_VERSION"),
        started_at: clock::iso8601(about.started),
        host: context.gate.machine(),
        key: key.map(KeyShown::from),
        limits: Limits {
            max_file: context.config.max_file,
        },
        addresses: all.then(|| addresses(about.address)),
        storage: all.then(|| Storage {
            path: about.data.display().to_string(),
            used: context.store.stats().map_used,
            free: about.files.disk().ok().map(|disk| disk.free),
        }),
    }
}

/// Under which addresses others reach it.
fn addresses(listens: SocketAddr) -> Vec<String> {
    let own = match listens.ip().is_unspecified() {
        true => dial::own_addresses(listens.is_ipv6()),
        false => vec![listens.ip()],
    };
    own.into_iter()
        .map(|ip| format!("http://{}", SocketAddr::new(ip, listens.port())))
        .collect()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SettingShown<'a> {
    name: &'a str,
    value: &'a str,
    is_default: bool,
}

pub async fn settings(req: Req) -> Result<Answer, ApiError> {
    let rows = req.state().about.settings.iter();
    let shown: Vec<SettingShown<'_>> = rows
        .map(|row| SettingShown {
            name: &row.name,
            value: &row.value,
            is_default: row.is_default,
        })
        .collect();
    Answer::ok(&One("settings", &shown))
}

pub async fn keys(req: Req) -> Result<Answer, ApiError> {
    let keys = req.state().gate.keys()?;
    let shown: Vec<KeyShown<'_>> = keys.iter().map(KeyShown::from).collect();
    Answer::ok(&One("keys", &shown))
}
