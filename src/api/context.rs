//! What every handler gets: the request, and the parts of the server that it works with.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use smol::lock::Semaphore;

use super::auth::Authenticator;
use super::serve::ServerLimits;
use crate::account::Accounts;
use crate::clock::Millis;
use crate::media::{Files, Space, Spool};
use crate::net::http::Clients;
use crate::runtime::{Pulse, Shutdown};
use crate::settings::{self, Envelope};
use crate::store::Store;
use crate::webhook::Deliveries;

/// What the handlers work with. Cheap to clone.
#[derive(Clone)]
pub struct ApiContext {
    pub accounts: Accounts,
    pub store: Store,
    /// Whether files go because the disk has too little room.
    pub space: Space,
    pub deliveries: Deliveries,
    /// Where files that come in go.
    pub spool: Spool,
    /// Fetches files that are given by a URL.
    pub fetch: Clients,
    /// Lets requests in.
    pub authenticator: Arc<Authenticator>,
    /// One for each client that may wait at the event log.
    pub readers: Arc<Semaphore>,
    /// What waits for events ends with it.
    pub stopping: Shutdown,
    /// How the event thread does.
    pub pulse: Arc<Pulse>,
    pub about: Arc<About>,
    pub config: ApiConfig,
}

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

/// The settings of the API.
#[derive(Debug, Clone, Copy)]
pub struct ApiConfig {
    pub envelope: Envelope,
    /// The longest JSON body, in bytes. A text of 65,536 characters has up to 786,432 as escapes.
    pub max_json: usize,
    /// The largest file, in bytes.
    pub max_file: u64,
    /// Whether files are fetched from this machine, too, for keys of one account.
    pub local_urls: bool,
    /// How often an event stream without news says that it is alive.
    pub heartbeat: Duration,
    /// How long an account may be without its connection before that is a problem.
    pub patience: Duration,
    pub limits: ServerLimits,
}

impl Default for ApiConfig {
    fn default() -> Self {
        ApiConfig {
            envelope: Envelope::Both,
            max_json: 1024 * 1024,
            max_file: 50 * 1024 * 1024,
            local_urls: false,
            heartbeat: Duration::from_secs(15),
            patience: Duration::from_secs(120),
            limits: ServerLimits::default(),
        }
    }
}

/// A request as the handlers see it.
pub type Req = tide::Request<ApiContext>;

/// A path parameter, percent-decoded. Bytes that are no UTF-8 become U+FFFD, which names nothing.
pub fn param(req: &Req, name: &str) -> String {
    let raw = req.param(name).unwrap_or_default();
    percent_decode_str(raw).decode_utf8_lossy().into_owned()
}
