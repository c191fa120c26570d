//! The version of WhatsApp Web that this server calls itself: looked up once for all accounts, kept in the store,
//! used until WhatsApp names a newer one. The client's own lookup, one for each account and without which
//! it does not connect, is never reached: the session sets the client's version before each run.

mod known;
mod number;
mod page;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use http_types::Url;
use whatsapp_rust::Client;
use whatsapp_rust::http::{HttpClient, HttpRequest};
use whatsapp_rust::store::commands::DeviceCommand;
use whatsapp_rust::wacore_binary::NodeRef;

use crate::clock::{self, Millis};
use crate::store::{Store, StoreError, web_version};
use crate::sync::{locked, within};

use known::Known;
use number::{BUILT_IN, Version};
use page::Unknown;

/// How long WhatsApp may take to name its version: accounts wait for that before they connect.
const LOOKUP: Duration = Duration::from_secs(10);
/// The client looks the version up by itself when it is a day old, so it is set again after half of that.
const TOLD_AGAIN: i64 = 12 * 60 * 60_000;

/// The one owner of what is known of the version. Clones share all.
#[derive(Clone)]
pub struct Versions(Arc<Shared>);

struct Shared {
    /// What the configuration says; then nothing is looked up.
    fixed: Option<Version>,
    http: Arc<dyn HttpClient>,
    /// Where WhatsApp names its version.
    page: Url,
    store: Store,
    known: Mutex<Known>,
    /// Held by the one that looks it up; others wait for what it finds.
    looking: smol::lock::Mutex<()>,
}

impl Versions {
    /// `socket` is WhatsApp's WebSocket: its host names the version.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn open(
        fixed: Option<(u32, u32, u32)>,
        http: Arc<dyn HttpClient>,
        socket: &Url,
        store: Store,
    ) -> Result<Versions, StoreError> {
        let found = store.read(web_version::get)?;
        let mut page = socket.clone();
        // Possible from wss, as the configuration has it; from anything else the lookup fails in words.
        let _ = page.set_scheme("https");
        page.set_path("/sw.js");
        page.set_query(None);
        page.set_fragment(None);
        Ok(Versions(Arc::new(Shared {
            fixed: fixed.map(Version),
            http,
            page,
            store,
            known: Mutex::new(Known::of(found)),
            looking: smol::lock::Mutex::new(()),
        })))
    }

    /// The version to connect with. Looks it up if that is due; if that fails, the best one that is known.
    pub async fn current(&self) -> Version {
        if let Some(fixed) = self.0.fixed {
            return fixed;
        }
        let _one = self.0.looking.lock().await;
        if self.known().is_due(clock::ticks(), clock::now()) {
            self.look_up().await;
        }
        self.known().best()
    }

    async fn look_up(&self) {
        let answer = self.ask().await;
        let (found, version, why) = {
            let mut known = self.known();
            let before = (known.best(), known.failing.is_some());
            let failure = answer.as_ref().err().map(ToString::to_string);
            let found = known.looked_up(answer, clock::ticks(), clock::now());
            let version = known.best();
            if found.is_some() && version != before.0 {
                log::info!("the current version of WhatsApp Web is {version}");
            }
            // Once until it works again.
            (found, version, failure.filter(|_| !before.1))
        };
        if let Some(why) = why {
            log::warn!(
                "the current version of WhatsApp Web could not be looked up ({why}): it goes on with {version}, the \
                 last one that is known"
            );
        }
        if let Some(found) = found
            && let Err(error) = self
                .0
                .store
                .write(move |tx| web_version::put(tx, &found))
                .await
        {
            log::debug!("the version of WhatsApp Web is not kept: {error}");
        }
    }

    async fn ask(&self) -> Result<Version, Unknown> {
        // Without these headers the page is another one.
        let request = HttpRequest::get(self.0.page.as_str())
            .with_header("sec-fetch-site", "none")
            .with_header(
                "user-agent",
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
            );
        let answer = match within(LOOKUP, self.0.http.execute(request)).await {
            Some(Ok(answer)) => answer,
            Some(Err(error)) => return Err(Unknown::Unreachable(format!("{error:#}"))),
            None => {
                let words = format!("no answer within {LOOKUP:?}");
                return Err(Unknown::Unreachable(words));
            }
        };
        page::read(answer)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        locked(&self.0.known)
    }
}

/// WhatsApp has refused a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outdated {
    pub words: String,
    /// Whether another one can be had without a person.
    pub can_look_up: bool,
}

/// The version that one session speaks.
#[derive(Clone)]
pub struct Spoken {
    versions: Versions,
    version: Arc<Mutex<Version>>,
}

impl Spoken {
    pub fn new(versions: Versions) -> Spoken {
        Spoken {
            versions,
            version: Arc::new(Mutex::new(BUILT_IN)),
        }
    }

    /// Tells the client which version to speak in its next run.
    pub async fn teach(&self, client: &Client) {
        let version = self.versions.current().await;
        *locked(&self.version) = version;
        let manager = client.persistence_manager();
        let told = manager.get_device_snapshot();
        let is_told = version.0
            == (
                told.app_version_primary,
                told.app_version_secondary,
                told.app_version_tertiary,
            );
        let now = i64::try_from(clock::now()).unwrap_or(i64::MAX);
        let is_recent =
            (0..TOLD_AGAIN).contains(&now.saturating_sub(told.app_version_last_fetched_ms));
        if !is_told || !is_recent {
            let command = DeviceCommand::SetAppVersion(version.0);
            manager.process_command(command).await;
        }
    }

    /// WhatsApp does not accept it.
    pub fn refused(&self) -> Outdated {
        let version = self.get();
        if self.versions.0.fixed.is_some() {
            return Outdated {
                words: format!(
                    "WhatsApp no longer accepts version {version} of WhatsApp Web (405), which whatsapp.version sets: \
                     remove that setting"
                ),
                can_look_up: false,
            };
        }
        let mut known = self.versions.known();
        known.refuse(version, clock::ticks());
        Outdated {
            words: known.words(version),
            can_look_up: true,
        }
    }

    /// Hears in a stanza when WhatsApp will no longer accept it, if it is about that (whatsapp-rust #1314).
    pub fn hear(&self, bulletin: &NodeRef<'_>) {
        let Some(end) = expiration(bulletin) else {
            return;
        };
        let (version, end) = (self.get(), clock::iso8601(end));
        match self.versions.0.fixed {
            Some(_) => log::warn!(
                "WhatsApp accepts version {version} of WhatsApp Web, which whatsapp.version sets, until {end}: \
                 remove that setting"
            ),
            None => {
                log::info!("WhatsApp accepts version {version} of WhatsApp Web until {end}");
                self.versions.known().expire(version);
            }
        }
    }

    fn get(&self) -> Version {
        *locked(&self.version)
    }
}

/// The time in `<ib><client_expiration t="…"/></ib>`, in Unix milliseconds.
fn expiration(bulletin: &NodeRef<'_>) -> Option<Millis> {
    if bulletin.tag.as_ref() != "ib" {
        return None;
    }
    let notice = bulletin.get_optional_child("client_expiration")?;
    let seconds: u64 = notice.get_attr("t")?.as_str().parse().ok()?;
    Some(seconds.saturating_mul(1_000))
}
