//! One account's session with WhatsApp: a whatsapp-rust client with this server's storage, transport and event
//! handler.

pub mod app_state;
pub mod calls;
pub mod chats;
pub mod contacts;
pub mod groups;
pub mod oneself;
pub mod pairing;
pub mod people;
pub mod presence;
pub mod send;
pub mod typing;

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use futures_lite::FutureExt as _;
use whatsapp_rust::bot::Bot;
use whatsapp_rust::http::HttpClient;
use whatsapp_rust::transport::TransportFactory;
use whatsapp_rust::wacore::runtime::wait_for_shutdown;
use whatsapp_rust::wacore::store::DevicePropsOverride;
use whatsapp_rust::wacore::store::device::default_history_sync_config;
use whatsapp_rust::wacore_binary::NodeRef;
use whatsapp_rust::waproto::whatsapp as wa;
use whatsapp_rust::{CacheConfig, CacheEntryConfig, Client, Jid, NodeFilter, RawNodeLease};

use crate::clock;
use crate::ledger::Owner;
use crate::media::{Files, Spool};
use crate::runtime::tasks::{self, Kind};
use crate::runtime::{Executor, Shutdown};
use crate::store::{Store, StoreError};
use crate::sync::{locked, within};

use super::acks::Acks;
use super::arrival::{self, Arrival};
use super::backend::{self, Backend, Journal};
use super::calls::{CallPolicy, Calls};
use super::chats::ChatUpdates;
use super::codes::Codes;
use super::convert::AutoDownload;
use super::durable::{DurableTransports, write_behind};
use super::error::SessionError;
use super::facts::Known;
use super::guard::GuardedHttp;
use super::handler::ClientEvents;
use super::history::Importer;
use super::holdback::HoldBack;
use super::inbound::Inbox;
use super::lost::LostAndFound;
use super::news::{LastError, NewsSender, SessionNews, news};
use super::presence::{Online, Presence};
use super::privacy::Privacy;
use super::repair::Repairs;
use super::restriction::{self, Limit, LimitStatus};
use super::runtime::SmolRuntime;
use super::silence::{Patience, until_deaf};
use super::stale::Stale;
use super::typing::ChatStates;
use super::usernames::{self, Heard, NameHolder};
use super::version::{Spoken, Versions};
use super::watched::Watched;

/// How many days of its past the phone is asked for when none is wanted: the tokens by which a restricted
/// account answers chats that exist come with it, and the pairs of numbers and LIDs (Baileys#2441). The importer
/// throws the messages away.
const TOKENS_DAYS: u32 = 7;

/// How long a silent session may take to end by itself.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// What every session is built from.
pub struct SessionConfig {
    pub store: Store,
    pub executor: Arc<Executor>,
    pub transport: Arc<dyn TransportFactory>,
    pub http: Arc<dyn HttpClient>,
    /// The WhatsApp Web version to claim.
    pub versions: Versions,
    /// What the phone's list of linked devices shows.
    pub device_name: String,
    /// Where files are on their way.
    pub spool: Spool,
    /// Where the media of messages stay.
    pub files: Files,
    pub media: MediaPolicy,
    /// How many days of the phone's past a new pairing stores; 0 for none.
    pub history_days: u32,
    /// When a connection that says nothing counts as dead.
    pub patience: Patience,
    /// What others see of a connected account.
    pub presence: Presence,
    pub calls: CallPolicy,
}

/// Which media are fetched and kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MediaPolicy {
    /// The largest one, in bytes, that is fetched when its message comes; 0 for none. Own ones that
    /// are sent are kept up to the same size.
    pub auto_max_bytes: u64,
    /// The largest one, in bytes, that is fetched at all.
    pub max_bytes: u64,
    /// The bound in bytes for media whose message names no size.
    pub unannounced_max_bytes: u64,
    /// Whether none is fetched unasked while the disk is all but full.
    pub leaves_room: bool,
}

/// A client for one account. It can be run again after a run has ended, unless it is
/// [spent](Session::is_spent).
pub struct Session {
    pub(super) client: Arc<Client>,
    /// As the client has it.
    pub(super) http: GuardedHttp,
    /// The first run goes through the bot, which starts the client's helpers.
    first_run: Mutex<Option<Bot>>,
    journal: Arc<Journal>,
    backend: Backend,
    /// Groups whose metadata is fetched anew.
    stale: Stale,
    acks: Acks,
    last_error: LastError,
    spoken: Spoken,
    patience: Patience,
    pub calls: Calls,
    online: Online,
    /// What other people do.
    watched: Watched,
    /// Chats in which the account is shown as typing.
    pub(super) states: ChatStates,
    /// What WhatsApp says of people.
    known: Known,
    privacy: Privacy,
    arrival: Arrival,
    news: NewsSender,
    codes: Codes,
    /// Ends whatever of the client still runs.
    stop: Shutdown,
    /// Makes the client pass each stanza to the event handler.
    _stanzas: RawNodeLease,
}

impl Session {
    /// Sets a session up for an account, without connecting.
    ///
    /// # Errors
    /// When the account's keys cannot be read or made.
    pub async fn open(
        config: &SessionConfig,
        owner: &Owner,
        online: Online,
    ) -> Result<(Arc<Session>, async_channel::Receiver<SessionNews>), SessionError> {
        let (account, account_id) = (owner.number, &*owner.id);
        let (sender, news) = news();
        let broken = sender.clone();
        let (unstored, unwritten) = (sender.clone(), sender.clone());
        let on_failure = move |error: &StoreError| {
            // Full or closed: the session is ending anyway.
            let _ = unstored.tell(SessionNews::Broken(format!("the storage failed: {error}")));
        };
        let stop = Shutdown::new();
        let acks = Acks::default();
        let last_error = LastError::default();
        let spoken = Spoken::new(config.versions.clone());
        // What an earlier session of this account was writing when it ended is on disk by then.
        config
            .store
            .write(|_| Ok(()))
            .await
            .map_err(|e| SessionError::Setup(e.into()))?;
        let backend = Backend::behind(config.store.clone(), account, Arc::new(on_failure));
        let journal = Arc::clone(backend.journal());
        let is_live = Arc::new(AtomicBool::new(false));
        let (arrival, teller) = (Arrival::default(), sender.clone());
        let inbox = Inbox {
            store: config.store.clone(),
            owner: owner.clone(),
            auto: AutoDownload {
                max_bytes: config.media.auto_max_bytes,
            },
            news: sender.clone(),
            journal: Arc::clone(&journal),
            usernames: Heard::default(),
        };
        let (hold, own_client) = (HoldBack::default(), Arc::new(OnceLock::new()));
        let codes = Codes::default();
        let chats = ChatUpdates {
            store: config.store.clone(),
            owner: owner.clone(),
            executor: config.executor.clone(),
            waiting: Arc::default(),
            sender: inbox.news.clone(),
        };
        let calls = Calls {
            chats: chats.clone(),
            news: inbox.news.clone(),
            client: Arc::clone(&own_client),
            reject: config.calls.reject,
            ringing: Arc::default(),
        };
        let (known, watched) = (Known::default(), Watched::default());
        let privacy = Privacy::default();
        let events = ClientEvents {
            sender,
            lost: LostAndFound {
                hold: hold.clone(),
                inbox: inbox.clone(),
                client: Arc::clone(&own_client),
            },
            codes: codes.clone(),
            known: known.clone(),
            watched: watched.clone(),
            privacy: privacy.clone(),
            repairs: Repairs {
                hold: hold.clone(),
                backend: backend.clone(),
                client: Arc::clone(&own_client),
                mended: Arc::default(),
            },
            acks: acks.clone(),
            last_error: last_error.clone(),
            spoken: spoken.clone(),
            is_live: Arc::clone(&is_live),
            arrival: arrival.clone(),
            inbox: inbox.clone(),
            executor: config.executor.clone(),
            chats,
            calls: calls.clone(),
            history: Importer {
                store: config.store.clone(),
                owner: owner.clone(),
                spool: config.spool.clone(),
                files: config.files.clone(),
                days: config.history_days,
            },
        };
        if config.files.history_folder(account).exists() {
            // Pieces that a stop or a power cut left unread.
            events.history.read_in_background(&config.executor);
        }
        let http = GuardedHttp::new(config.http.clone());
        let days = match config.history_days {
            0 => TOKENS_DAYS,
            days => days,
        };
        let builder = Bot::builder()
            .with_backend(backend.clone())
            .with_transport_factory(DurableTransports {
                inner: config.transport.clone(),
                last_error: last_error.clone(),
                journal: Arc::clone(&journal),
            })
            .with_http_client(http.clone())
            .with_runtime(
                SmolRuntime::new(config.executor.clone(), account_id)
                    .until(stop.clone())
                    .holding_back(hold)
                    .showing(codes.clone())
                    .on_panic(move || {
                        // Full or closed: the session is ending anyway.
                        let _ = broken.tell(SessionNews::Broken("internal error".to_owned()));
                    }),
            )
            .with_cache_config(CacheConfig {
                // No cache: the store knows which undecryptable messages were seen.
                undecryptable_dispatched: CacheEntryConfig::new(None, 0),
                // The backend is asked each time which devices have a group's key; the cache holds one row,
                // which expires at once.
                sender_key_devices_cache: CacheEntryConfig::new(Some(Duration::ZERO), 1),
                sent_message_ttl_secs: backend::sent::ANSWERED_FOR.unsigned_abs(),
                ..CacheConfig::default()
            })
            .with_inbound_durability_hook(inbox)
            .with_event_handler(events)
            .with_device_props(
                DevicePropsOverride::new()
                    .with_os(config.device_name.clone())
                    .with_platform_type(wa::device_props::PlatformType::Desktop)
                    .with_history_sync_config(wa::device_props::HistorySyncConfig {
                        full_sync_days_limit: Some(days),
                        recent_sync_days_limit: Some(days),
                        ..default_history_sync_config()
                    }),
            );
        let bot = builder
            .build()
            .await
            .map_err(|e| SessionError::Setup(e.into()))?;
        let client = bot.client();
        // Set once, here.
        let _ = own_client.set(Arc::downgrade(&client));
        http.serves(&client);
        config.presence.prepare(&client);
        // When to come back is this server's policy (account::machine), not the client's.
        client
            .enable_auto_reconnect
            .store(false, std::sync::atomic::Ordering::Relaxed);
        let writer = write_behind(Arc::clone(&journal), Arc::downgrade(&client), is_live);
        let stopped = stop.wait();
        let name = format!("{account_id}: journal");
        tasks::guard_or(
            &config.executor,
            Kind::Journal,
            name,
            writer.or(stopped),
            move || {
                // Unwritten messages were not acknowledged, so a new session gets them again. Full or closed:
                // the session is ending anyway.
                let _ = unwritten.tell(SessionNews::Broken("internal error".to_owned()));
            },
        )
        .detach();
        let session = Arc::new(Session {
            _stanzas: client.acquire_raw_node_forwarding(),
            client,
            http,
            journal,
            backend,
            stale: Stale::default(),
            first_run: Mutex::new(Some(bot)),
            acks,
            last_error,
            spoken,
            patience: config.patience,
            calls,
            online,
            watched,
            states: ChatStates::default(),
            known,
            privacy,
            arrival,
            news: teller,
            codes,
            stop,
        });
        Ok((session, news))
    }

    /// Connects and stays until the connection ends. Returns what went wrong, if that is known.
    pub async fn run(&self) -> Option<String> {
        self.last_error.take();
        let ending = self.client.shutdown_signal();
        let ended = wait_for_shutdown(&ending);
        // A client that is shut down meanwhile does not run any more.
        self.spoken.teach(&self.client).or(ended).await;
        self.codes.begin();
        let bot = locked(&self.first_run).take();
        let login = self.client.wait_for_node(NodeFilter::tag("success"));
        let run = async {
            match bot {
                Some(bot) => bot.run().await,
                None => self.client.run().await,
            }
        };
        let hear_time = async {
            if let Ok(login) = login.await
                && let Some(seconds) = server_time(login.get())
            {
                clock::hear(seconds.saturating_mul(1_000));
            }
            std::future::pending().await
        };
        let arrived = self.tell_when_overdue();
        let shown = self.online.keep(&self.client, &self.states);
        run.or(self.end_when_deaf())
            .or(hear_time)
            .or(arrived)
            .or(shown)
            .await;
        self.arrival.away();
        self.acks.abandon();
        self.last_error.take()
    }

    /// Reports each complete login that the client does not announce.
    async fn tell_when_overdue(&self) {
        loop {
            self.arrival.overdue().await;
            // Full: the driver handles more important news first.
            let _ = self.news.tell(SessionNews::Usable(arrival::WITHOUT_STATE));
        }
    }

    /// Ends the run when the connection is open and WhatsApp is silent.
    async fn end_when_deaf(&self) {
        let words = until_deaf(&self.client, self.patience).await;
        self.last_error.note(words);
        // What is under way is written down first; then the run ends by itself, and this with it.
        let ending = async {
            self.client.reconnect_immediately().await;
            std::future::pending::<()>().await
        };
        within(LAST_WORDS, ending).await;
        self.abandon();
    }

    /// Whether it can never run again, or should not: a new one must be opened.
    pub fn is_spent(&self) -> bool {
        self.client.shutdown_signal().is_fired()
    }

    /// Ends the run, after what is under way was written down.
    pub async fn close(&self) {
        self.client.disconnect().await;
        if let Err(error) = self.journal.settle().await {
            log::debug!("a session ended unwritten: {error}");
        }
    }

    /// Ends every task of it at once, whatever it was doing. To be called after [`Session::close`],
    /// or when that takes too long: tasks of a client can outlive it otherwise (the one that
    /// changes QR codes, by minutes).
    pub fn abandon(&self) {
        self.client.signal_shutdown_sync();
        self.journal.close();
        self.stop.trigger();
    }

    /// Tells WhatsApp that this device is no longer linked, as far as it can be reached, and ends.
    pub async fn unlink(&self) {
        self.client.logout().await;
    }

    /// The account's own JID, without a device.
    pub fn own_jid(&self) -> Option<String> {
        self.client.pn().map(|j| j.to_non_ad().to_string())
    }

    /// The account's own LID, without a device.
    pub fn own_lid(&self) -> Option<String> {
        self.client.lid().map(|j| j.to_non_ad().to_string())
    }

    /// The name that others see.
    pub fn push_name(&self) -> Option<String> {
        Some(self.client.push_name()).filter(|name| !name.is_empty())
    }

    /// Asks WhatsApp how a limit on new contacts stands; `None` if it does not say.
    pub async fn ask(&self, limit: Limit) -> Option<LimitStatus> {
        match self.is_ready() {
            true => restriction::ask(&self.client, limit).await,
            false => None,
        }
    }

    /// Asks WhatsApp which account has a username; `None` if it does not say.
    pub async fn find_username(&self, name: &str, key: Option<&str>) -> Option<NameHolder> {
        match self.is_ready() {
            true => usernames::find(&self.client, name, key).await,
            false => None,
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        self.client.is_connected() && self.client.is_logged_in()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Reject writes from tasks that outlive the session.
        self.journal.close();
    }
}

pub(super) fn wire_jid(jid: &str) -> Result<Jid, String> {
    jid.parse().map_err(|e| format!("{jid:?} is no JID: {e}"))
}

/// WhatsApp's time in Unix seconds, from the stanza that accepts the login.
fn server_time(success: &NodeRef<'_>) -> Option<u64> {
    success.get_attr("t")?.as_str().parse().ok()
}
