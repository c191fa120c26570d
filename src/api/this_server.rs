//! `GET /server` and `GET /keys`: what a page or a program may know of the server it talks to.

use std::net::SocketAddr;

use serde::Serialize;

use super::answer::Json;
use super::auth::Access;
use super::context::Req;
use super::error::ApiError;
use crate::clock;
use crate::net::dial;

/// What this server is
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Server {
    has_keys: bool,
    /// Whether the request was made on the server's own machine.
    local: bool,
    /// Whether no key is needed, by `auth.open`.
    open: bool,
    /// Whether WhatsApp is a simulated one.
    sandbox: bool,
    #[serde(flatten)]
    more: Option<More>,
}

/// The fields for requests that were admitted.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(rename_all = "camelCase")]
struct More {
    /// this and what follows only with a key, or where none is needed
    version: &'static str,
    /// ISO 8601.
    started_at: String,
    /// The machine's name.
    #[cfg_attr(test, schemars(extend("nullable" = true)))]
    host: Option<String>,
    /// The request's own key; `null` where none is needed.
    #[cfg_attr(test, schemars(extend("nullable" = true)))]
    key: Option<KeyShown>,
    limits: Limits,
    /// Only for keys of all accounts.
    #[serde(skip_serializing_if = "Option::is_none")]
    addresses: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    storage: Option<Storage>,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(rename_all = "camelCase")]
struct Limits {
    /// Bytes.
    max_file: u64,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
struct Storage {
    path: String,
    /// Bytes of the database.
    used: u64,
    /// Bytes that the disk has left; `null` if it does not say.
    free: Option<u64>,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(rename_all = "camelCase")]
struct KeyShown {
    name: String,
    read_only: bool,
    /// The only account that it is for.
    account: Option<String>,
    /// ISO 8601.
    created_at: String,
}

impl From<&crate::keys::Key> for KeyShown {
    fn from(key: &crate::keys::Key) -> KeyShown {
        KeyShown {
            name: key.name.clone(),
            read_only: key.read_only,
            account: key.account.clone(),
            created_at: key.created.clone(),
        }
    }
}

pub async fn show(req: Req, _: ()) -> Result<Json<Server>, ApiError> {
    let context = req.state();
    let access = context.authenticator.access(req.as_ref())?;
    Ok(Json(Server {
        has_keys: access.has_keys,
        local: access.local,
        open: access.open,
        sandbox: cfg!(feature = "sandbox"),
        more: access.admitted.then(|| more(&req, &access)),
    }))
}

fn more(req: &Req, access: &Access) -> More {
    let context = req.state();
    let about = &context.about;
    let key = access.key.as_ref();
    let all = key.is_none_or(|key| key.account.is_none());
    More {
        version: env!("CARGO_PKG_VERSION"),
        started_at: clock::iso8601(about.started),
        host: context.authenticator.machine().map(str::to_owned),
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

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(rename_all = "camelCase")]
struct SettingShown {
    name: String,
    value: String,
    is_default: bool,
}

/// In the order of the settings file
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SettingList {
    settings: Vec<SettingShown>,
}

pub async fn settings(req: Req, _: ()) -> Result<Json<SettingList>, ApiError> {
    let rows = req.state().about.settings.iter();
    let settings = rows.map(|row| SettingShown {
        name: row.name.to_string(),
        value: row.value.to_string(),
        is_default: row.is_default,
    });
    Ok(Json(SettingList {
        settings: settings.collect(),
    }))
}

/// In the order of their creation
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct KeyList {
    keys: Vec<KeyShown>,
}

pub async fn keys(req: Req, _: ()) -> Result<Json<KeyList>, ApiError> {
    let keys = req.state().authenticator.keys()?;
    Ok(Json(KeyList {
        keys: keys.iter().map(KeyShown::from).collect(),
    }))
}
