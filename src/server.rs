//! Starts the parts of the server, runs them, and stops them in order.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_lite::FutureExt as _;
use smol::lock::Semaphore;
use smol::net::TcpListener;

use crate::account::{self, Accounts, DeliveryOptions, SendingLimits};
use crate::api::{self, About, ApiConfig, ApiContext, AuthSettings, Authenticator, ServerLimits};
use crate::jid::ChatJid;
use crate::maintenance::{self, Policy};
use crate::media::{Files, Space, Spool};
use crate::message::{self, Draft};
use crate::net::reach::Reach;
use crate::net::{self, http::Clients};
use crate::runtime::tasks::{self, Kind};
use crate::runtime::{Executor, Pulse, Shutdown, drive};
use crate::settings::{Download, Receipts, Settings, SettingsErrors};
use crate::store::events::{self, Keep};
use crate::store::outbox::Bounds;
use crate::store::{self, Store, StoreError};
use crate::sync::within;
use crate::systemd::Manager;
use crate::webhook::{Deliveries, DeliverySettings, Retry};
use crate::whatsapp::{
    self, CallPolicy, MediaPolicy, Patience, Presence, SessionConfig, SurfHttpClient, Versions,
    WsTransportFactory,
};
use crate::{clock, console};

/// How long requests in flight may take after the shutdown signal.
const FINISH_REQUESTS: Duration = Duration::from_millis(1_500);
/// The part of it after which requests without an answer get "the server stops".
const LAST_REQUESTS: Duration = Duration::from_millis(1_000);
/// After that, how long the sessions may take to store their state.
const FINISH_SESSIONS: Duration = Duration::from_millis(2_500);

/// After that, how long the last commits may take.
const CLOSE_STORE: Duration = Duration::from_millis(800);

/// Why the server does not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("{0}")]
    Config(#[from] SettingsErrors),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the folder for files on their way: {}", in_words(.0))]
    Spool(std::io::Error),
    #[error("TLS: {0}")]
    Tls(#[from] net::tls::TlsError),
    #[error("cannot listen on {address}: {source}")]
    Listen {
        address: SocketAddr,
        source: std::io::Error,
    },
    /// The disk has failed; a restart may help.
    #[error("{0}; start again (systemd does by itself)")]
    Broken(StoreError),
    #[error("signals: {0}")]
    Signals(std::io::Error),
    #[cfg(feature = "sandbox")]
    #[error("the sandbox: {0}")]
    Sandbox(String),
}

/// An error of the disk as the store describes it.
fn in_words(error: &std::io::Error) -> String {
    StoreError::of_disk(error).map_or_else(|| error.to_string(), |refusal| refusal.to_string())
}

/// Runs the server on this thread until `stop` resolves, then stops it cleanly.
///
/// # Errors
/// If the server cannot start, or the disk fails.
pub fn run(config: &Settings, stop: impl Future<Output = ()>) -> Result<(), RunError> {
    let executor = Arc::new(Executor::new());
    let pulse = Arc::new(Pulse::default());
    let manager = Manager::of_this_process();
    smol::block_on(drive(&executor, &pulse, async {
        let server = Server::start(config, Arc::clone(&executor), Arc::clone(&pulse)).await?;
        if let Some(manager) = &manager {
            manager.ready(&format!("listening on http://{}", server.address()));
        }
        let alive = async {
            if let Some(manager) = &manager {
                let feed = || manager.feed(&server.store);
                tasks::kept(Kind::Watchdog, "systemd's watchdog".into(), feed).await;
            }
            std::future::pending::<bool>().await
        };
        let asked = async {
            stop.await;
            true
        };
        let broken = async {
            server.store.broken().await;
            false
        };
        let asked = asked.or(broken).or(alive).await;
        match asked {
            true => log::info!("stopping; a second signal exits at once"),
            false => log::error!("{}: stopping", StoreError::Broken),
        }
        if let Some(manager) = &manager {
            manager.stopping();
        }
        server.stop().await;
        match asked {
            true => Ok(()),
            false => Err(RunError::Broken(StoreError::Broken)),
        }
    }))
}

/// A running server.
pub struct Server {
    address: SocketAddr,
    accounts: Accounts,
    store: Store,
    shutdown: Shutdown,
    api: smol::Task<()>,
    /// Dropped, and so cancelled, with the server.
    _maintenance: [smol::Task<()>; 2],
    deliveries: Deliveries,
    #[cfg(feature = "fuzzing")]
    context: ApiContext,
}

impl Server {
    /// Opens the store, listens, and connects accounts.
    ///
    /// # Errors
    /// See [`RunError`].
    pub async fn start(
        config: &Settings,
        executor: Arc<Executor>,
        pulse: Arc<Pulse>,
    ) -> Result<Server, RunError> {
        #[cfg(feature = "sandbox")]
        {
            log::warn!(
                "this is a sandbox build: it talks to a simulated WhatsApp on this machine only"
            );
            tasks::provoke::listen(&executor);
            tasks::own(&executor, clock::moved::hear()).detach();
        }
        let options = store::Options {
            events: Keep {
                age: Duration::from_secs(u64::from(config.events.keep_days) * 24 * 60 * 60),
                bytes: config.events.max_bytes,
            },
            ..store::Options::default()
        };
        whatsapp::use_server_time();
        let store = Store::open(&config.storage.path, options)?;
        let spool = Spool::open(&config.storage.path.join("tmp")).map_err(RunError::Spool)?;
        let files = Files::new(&config.storage.path);
        let tls = net::tls::client_config(config.tls.extra_ca.as_deref())?;
        let listen_error = |source| RunError::Listen {
            address: config.server.listen,
            source,
        };
        let listener = TcpListener::bind(config.server.listen)
            .await
            .map_err(listen_error)?;
        let address = listener.local_addr().map_err(listen_error)?;

        let limits = |timeout, max_body, max_idle| net::http::Limits {
            timeout,
            max_body,
            max_idle,
            idle_timeout: IDLE_CONNECTION,
        };
        let client = |limits| net::http::client(limits, tls.clone(), Arc::clone(&executor));
        let clients = |limits| Clients::new(limits, tls.clone(), Arc::clone(&executor));
        let http = Arc::new(SurfHttpClient::new(
            client(limits(config.whatsapp.timeout, MAX_WHATSAPP_ANSWER, 1)),
            client(limits(MEDIA_TRANSFER, MAX_MEDIUM, 1)),
            config.media.patience,
        ));
        let space = Space::default();
        let media = MediaPolicy {
            auto_max_bytes: match config.media.download {
                Download::Auto => config.media.auto_max_bytes,
                Download::OnDemand => 0,
            },
            max_bytes: MAX_MEDIUM as u64,
            leaves_room: config.media.max_bytes.is_none(),
            unannounced_max_bytes: config.limits.max_file,
        };
        let session = SessionConfig {
            store: store.clone(),
            executor: Arc::clone(&executor),
            transport: Arc::new(WsTransportFactory::new(
                config.whatsapp.url.clone(),
                tls.clone(),
                Arc::clone(&executor),
                config.whatsapp.timeout,
            )),
            versions: Versions::open(
                config.whatsapp.version,
                http.clone(),
                &config.whatsapp.url,
                store.clone(),
            )?,
            http,
            device_name: config.whatsapp.device_name.clone(),
            spool: spool.clone(),
            files: files.clone(),
            media,
            history_days: config.history.days,
            presence: Presence {
                online: config.whatsapp.online,
                active_receipts: config.whatsapp.receipts == Receipts::Active,
            },
            calls: CallPolicy {
                reject: config.calls.reject,
                message: config
                    .calls
                    .message
                    .as_ref()
                    .map(|words| words.0.as_str().into()),
            },
            patience: Patience {
                silence: config.whatsapp.silence,
                // The connection, the handshake, the login.
                login: 3 * config.whatsapp.timeout,
            },
        };
        let preview_limits = limits(account::PREVIEW_TIME, usize::MAX, 0);
        let wiring = account::Wiring {
            previews: account::Previews::new(clients(preview_limits).of(Reach::Public).clone()),
            store: store.clone(),
            executor: Arc::clone(&executor),
            spool: spool.clone(),
            files: files.clone(),
            space: space.clone(),
            media,
            session,
            on_qr: console::show_qr,
        };
        let accounts = Accounts::open(wiring, sending_limits(config))?;
        let shutdown = Shutdown::new();
        let max_file = usize::try_from(config.limits.max_file).unwrap_or(usize::MAX);
        let fetch = clients(limits(api::FETCH, max_file, 0));
        let webhooks = &config.webhooks;
        let max_idle = webhooks.max_hooks.min(64) + webhooks.max_concurrent;
        let deliveries = Deliveries::start(
            store.clone(),
            // The rest of a longer answer is not read.
            clients(limits(webhooks.timeout, usize::MAX, max_idle)),
            Arc::clone(&executor),
            delivery_settings(config),
        )?;
        let context = ApiContext {
            accounts: accounts.clone(),
            store: store.clone(),
            space: space.clone(),
            deliveries: deliveries.clone(),
            spool,
            fetch,
            authenticator: Arc::new(Authenticator::new(AuthSettings {
                keys: config.keys_file(),
                open: config.auth.open,
                hosts: config.server.hosts.clone(),
            })),
            readers: Arc::new(Semaphore::new(config.events.max_readers)),
            stopping: shutdown.clone(),
            pulse,
            about: Arc::new(About {
                started: clock::now(),
                address,
                data: config.storage.path.clone(),
                files: files.clone(),
                settings: config.rows(),
                #[cfg(feature = "sandbox")]
                phones: api::phones_base(&config.whatsapp.url),
            }),
            config: api_config(config),
        };
        let api = {
            let (context, executor) = (context.clone(), Arc::clone(&executor));
            let stop = shutdown.clone();
            tasks::keep(&Arc::clone(&executor), Kind::Api, "the API", move || {
                let executor = Arc::clone(&executor);
                let (listener, context, stop) = (listener.clone(), context.clone(), stop.wait());
                async move { api::serve(listener, context, executor, stop).await }
            })
        };
        console::serves_at(local_url(address));
        log::info!("listening on http://{address}");
        log::info!("{}", whereabouts(address, &config.storage.path));
        if !accounts.any() {
            log::info!("there is no account yet: {}", first_steps(address));
        }
        if let Some(admin) = config.whatsapp.admin_number.clone() {
            let greeting = greet(accounts.clone(), admin);
            tasks::guard(&executor, Kind::Errand, "the greeting", greeting).detach();
        }
        let trimming = trim_events(store.clone());
        tasks::guard(&executor, Kind::Errand, "the event log", trimming).detach();
        accounts.connect_wanted(config.whatsapp.auto_connect);
        let policy = Policy {
            age: (config.storage.keep_days > 0)
                .then(|| Duration::from_secs(u64::from(config.storage.keep_days) * 24 * 60 * 60)),
            bytes: config.storage.max_bytes,
            media_bytes: config.media.max_bytes,
        };
        let kept = store.clone();
        let time = tasks::keep(&executor, Kind::Time, "the time", move || {
            maintenance::keep_time(kept.clone())
        });
        let kept = (store.clone(), files, space);
        let maintenance = tasks::keep(&executor, Kind::Maintenance, "maintenance", move || {
            maintenance::run(kept.0.clone(), kept.1.clone(), policy, kept.2.clone())
        });
        Ok(Server {
            address,
            accounts,
            store,
            shutdown,
            api,
            deliveries,
            _maintenance: [maintenance, time],
            #[cfg(feature = "fuzzing")]
            context,
        })
    }

    /// The API's URL from this machine.
    pub fn local_url(&self) -> String {
        local_url(self.address)
    }

    /// The address that the API listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The context of the API, for requests without a socket.
    #[cfg(feature = "fuzzing")]
    pub(crate) fn context(&self) -> &ApiContext {
        &self.context
    }

    /// Takes no new requests, finishes those in flight, flushes sessions and closes the store. Takes at most
    /// some 5 s.
    pub async fn stop(self) {
        self.shutdown.trigger();
        let sessions = async {
            within(FINISH_REQUESTS, self.api).await;
            self.deliveries.stop(FINISH_REQUESTS / 3).await;
            self.accounts.stop().await;
        };
        if within(FINISH_REQUESTS + FINISH_SESSIONS, sessions)
            .await
            .is_none()
        {
            log::warn!("not everything ended in time; nothing acknowledged is lost");
        }
        if let Err(error) = self.store.close(CLOSE_STORE).await {
            log::warn!("{error}");
        }
        log::info!("stopped");
    }
}

/// How long idle outgoing connections are kept.
const IDLE_CONNECTION: Duration = Duration::from_secs(30);

/// How long progress of webhooks is collected before it is stored; a power cut repeats these deliveries.
const MARK_DELAY: Duration = Duration::from_secs(1);

/// Events deleted per transaction.
const TRIM_STEP: usize = 256;

/// The longest answer of WhatsApp other than media (its version, small files), in bytes.
const MAX_WHATSAPP_ANSWER: usize = 8 << 20;

/// The time limit of a transfer of media to or from WhatsApp.
const MEDIA_TRANSFER: Duration = Duration::from_secs(30 * 60);

/// The largest file that is fetched from WhatsApp, in bytes. WhatsApp's limit, 2 GB, is too much for small
/// boards.
const MAX_MEDIUM: usize = 512 << 20;

/// The API's URL from this machine.
fn local_url(address: SocketAddr) -> String {
    match address.ip().is_unspecified() {
        true => format!("http://localhost:{}", address.port()),
        false => format!("http://{address}"),
    }
}

/// The log line with the server's URLs and its data directory.
fn whereabouts(address: SocketAddr, data: &Path) -> String {
    let mut urls = vec![local_url(address)];
    if address.ip().is_unspecified() {
        let own = net::dial::own_addresses(address.is_ipv6());
        urls.extend(
            own.into_iter()
                .map(|ip| format!("http://{}", SocketAddr::new(ip, address.port()))),
        );
    }
    let data = data.canonicalize().unwrap_or_else(|_| data.to_owned());
    format!(
        "open {}; the data are in {}",
        urls.join(" or "),
        data.display()
    )
}

/// How to create the first account.
fn first_steps(address: SocketAddr) -> String {
    format!(
        "curl {}/accounts -H 'Content-Type: application/json' -d '{{\"id\":\"mybot\"}}' makes one \
         (with -H 'X-Api-Key: …' where there is a key), and its QR code is shown then",
        local_url(address)
    )
}

fn sending_limits(config: &Settings) -> SendingLimits {
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    SendingLimits {
        accounts: config.limits.max_accounts,
        messages_per_minute: config.limits.messages_per_minute,
        burst: config.limits.burst,
        outbox: Bounds {
            count: config.outbox.max_messages,
            bytes: config.outbox.max_bytes,
        },
        read_on_reply: config.chats.read_on_reply,
        gap: millis(config.outbox.gap),
        expire_after: millis(config.outbox.expire_after),
        new_contacts_per_day: config.limits.new_contacts_per_day,
        new_contact_pause: millis(config.limits.new_contact_pause),
        keys: config.limits.idempotency_keys,
    }
}

fn delivery_settings(config: &Settings) -> DeliverySettings {
    DeliverySettings {
        timeout: config.webhooks.timeout,
        local_urls: config.auth.local_urls,
        max_hooks: config.webhooks.max_hooks,
        max_parallel: config.webhooks.max_parallel,
        max_concurrent: config.webhooks.max_concurrent,
        max_response: config.webhooks.max_response,
        retry: Retry {
            first: config.webhooks.retry_first,
            longest: config.webhooks.retry_max,
            give_up_after: config.webhooks.give_up_after,
        },
        max_dead: config.webhooks.max_dead,
        mark_delay: MARK_DELAY,
    }
}

fn api_config(config: &Settings) -> ApiConfig {
    ApiConfig {
        envelope: config.api.envelope,
        patience: config.health.patience,
        max_json: config.server.max_body,
        max_file: config.limits.max_file,
        local_urls: config.auth.local_urls,
        heartbeat: config.events.heartbeat,
        limits: ServerLimits {
            connections: config.server.max_connections,
            idle: config.server.request_timeout,
            head: config.server.request_timeout,
            request: config.server.request_timeout,
            write: config.server.request_timeout,
            stop: LAST_REQUESTS,
        },
    }
}

/// Trims the event log to its limits, which may be lower than at the last start. Later each new event trims
/// it.
async fn trim_events(store: Store) {
    loop {
        match store
            .write(|tx| events::trim(tx, clock::now(), TRIM_STEP))
            .await
        {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => return log::warn!("the event log was not trimmed: {error}"),
        }
    }
}

/// Messages the administrator when the first account is connected, once per start.
async fn greet(accounts: Accounts, admin: ChatJid) {
    let Some(account) = accounts.first_connected().await else {
        return;
    };
    let text = format!("wildcat is running: account {account} is connected.");
    let draft = Draft::message(message::of_words(text), None);
    let sent = accounts
        .send(&account, admin, draft, DeliveryOptions::default())
        .await;
    if let Err(error) = sent {
        log::warn!("the message to the administrator was not sent: {error}");
    }
}
