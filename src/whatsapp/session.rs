//! One account's session with WhatsApp: a whatsapp-rust client with this server's storage, transport and event
//! handler.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use futures_lite::FutureExt as _;
use whatsapp_rust::bot::Bot;
use whatsapp_rust::features::GroupMetadata;
use whatsapp_rust::http::HttpClient;
use whatsapp_rust::pair_code::PairCodeOptions;
use whatsapp_rust::send::SendOptions;
use whatsapp_rust::transport::TransportFactory;
use whatsapp_rust::wacore::pair_code::PairCodeRejection;
use whatsapp_rust::wacore::request::RequestUtils;
use whatsapp_rust::wacore::runtime::wait_for_shutdown;
use whatsapp_rust::wacore::store::DevicePropsOverride;
use whatsapp_rust::wacore::store::device::default_history_sync_config;
use whatsapp_rust::wacore::store::traits::ProtocolStore as _;
use whatsapp_rust::wacore_binary::NodeRef;
use whatsapp_rust::waproto::whatsapp as wa;
use whatsapp_rust::{
    CacheConfig, CacheEntryConfig, Client, Freshness, Jid, NodeFilter, RawNodeLease,
};

use crate::clock::{self, Millis};
use crate::jid::{ChatJid, Server};
use crate::ledger::Owner;
use crate::media::{Files, Spool};
use crate::runtime::tasks::{self, Kind};
use crate::runtime::{Executor, Shutdown};
use crate::store::{Store, StoreError};
use crate::sync::{locked, within};

use super::acks::{Ack, Acks, Verdict};
use super::arrival::{self, Arrival};
use super::backend::{self, Backend, Journal};
use super::chats::ChatUpdates;
use super::codes::Codes;
use super::convert::{self, AutoDownload};
use super::durable::{DurableTransports, write_behind};
use super::error::{SendFailure, SessionError};
use super::guard::GuardedHttp;
use super::handler::ClientEvents;
use super::history::Importer;
use super::holdback::HoldBack;
use super::inbound::Inbox;
use super::lost::LostAndFound;
use super::news::{LastError, NewsSender, SessionNews, news};
use super::outgoing::Outgoing;
use super::passkey::{self, PasskeyAnswer};
use super::presence::Presence;
use super::refusal;
use super::repair::Repairs;
use super::restriction::{self, Limit, LimitStatus};
use super::runtime::SmolRuntime;
use super::silence::{Patience, until_deaf};
use super::stale::Stale;
use super::usernames::{self, Heard, NameHolder};
use super::version::{Spoken, Versions};

/// How long a message may take, from its encryption to the server's ack. Shorter than the usual
/// time for a request (`server.request_timeout`), so that the caller hears what became of it.
const SEND_TIMEOUT: Duration = Duration::from_secs(20);
/// How long WhatsApp may take to answer a lookup.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(8);
/// How long a pairing code waits for the socket to WhatsApp, and then for the code.
const SOCKET_TIMEOUT: Duration = Duration::from_secs(10);
/// How many days of its past the phone is asked for when none is wanted: the tokens by which a restricted
/// account answers chats that exist come with it, and the pairs of numbers and LIDs (Baileys#2441). The importer
/// throws the messages away.
const TOKENS_DAYS: u32 = 7;

/// How long a silent session may take to end by itself.
const LAST_WORDS: Duration = Duration::from_secs(10);
/// How long WhatsApp keeps a pairing code.
const PAIRING_CODE_LIFE: Millis = 180_000;

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

/// A code for "link with phone number".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairingCode {
    pub code: String,
    pub expires_at: Millis,
}

/// What WhatsApp says of a person that was asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Not on WhatsApp.
    Absent,
    /// On WhatsApp, under this JID: in some countries a number has two forms, and the one that WhatsApp
    /// names is the one that is reached.
    Present { jid: ChatJid, lid: Option<ChatJid> },
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
    presence: Presence,
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
        let events = ClientEvents {
            sender,
            lost: LostAndFound {
                hold: hold.clone(),
                inbox: inbox.clone(),
                client: Arc::clone(&own_client),
            },
            codes: codes.clone(),
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
            chats: ChatUpdates {
                store: config.store.clone(),
                owner: owner.clone(),
                executor: config.executor.clone(),
                waiting: Arc::default(),
            },
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
            presence: config.presence,
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
        let shown = self.presence.keep(&self.client);
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

    /// Asks WhatsApp for a code to type on the phone of that number; an earlier code is withdrawn.
    ///
    /// # Errors
    /// When WhatsApp cannot be reached or refuses.
    pub async fn pairing_code(&self, phone: &str) -> Result<PairingCode, SessionError> {
        let failed = |e: String| SessionError::PairingCode(e);
        self.client
            .wait_for_socket(SOCKET_TIMEOUT)
            .await
            .map_err(|e| failed(e.to_string()))?;
        self.client.cancel_pair_code().await;
        let code = async {
            let options = PairCodeOptions {
                phone_number: phone.to_owned(),
                ..Default::default()
            };
            self.client
                .pair_with_code(options)
                .await
                .map_err(|e| match e.rejection() {
                    Some(rejection) => pairing_refused(rejection),
                    None => failed(e.to_string()),
                })
        };
        let code = within(SOCKET_TIMEOUT, code).await;
        let code = code.unwrap_or_else(|| Err(failed("WhatsApp did not answer in time".into())))?;
        Ok(PairingCode {
            code,
            expires_at: clock::now() + PAIRING_CODE_LIFE,
        })
    }

    /// Encrypts a message for every device of the chat, sends it under `id` and waits for the
    /// server's ack. One that was encrypted for no device of the person that it is for is sent once more, for
    /// the devices that WhatsApp names then.
    ///
    /// # Errors
    /// See [`SendFailure`]; after [`SendFailure::NoAck`] the message may have gone.
    pub async fn send(
        &self,
        id: &str,
        to: &ChatJid,
        message: &wa::Message,
    ) -> Result<Ack, SendFailure> {
        if !self.is_ready() {
            return Err(SendFailure::NotConnected);
        }
        let is_reaction = message.reaction_message.is_set();
        if let Some(words) = refusal::unwritable(to, is_reaction) {
            return Err(SendFailure::Refused {
                code: None,
                words: words.to_owned(),
            });
        }
        let chat = to.to_string();
        let server = to.server();
        let is_group = server == Server::Group;
        let sent = async {
            match is_group {
                true => self.send_to_group(id, to, message).await,
                false => self.send_to_person(id, to, message).await,
            }
        };
        let verdict = within(SEND_TIMEOUT, sent).await.unwrap_or(Ok(None));
        if is_group {
            let acknowledged = matches!(verdict, Ok(Some(Ok(_))));
            self.backend
                .settle_sender_keys(&chat, id, acknowledged)
                .await;
        }
        match verdict? {
            Some(Ok(ack)) => Ok(ack),
            Some(Err(code)) => Err(refusal::refused(code, server)),
            None => Err(SendFailure::NoAck),
        }
    }

    async fn send_to_group(
        &self,
        id: &str,
        to: &ChatJid,
        message: &wa::Message,
    ) -> Result<Option<Verdict>, SendFailure> {
        let group = to.to_string();
        let answer = self.client.wait_for_node(
            NodeFilter::tag("ack")
                .attr("class", "message")
                .attr("id", id),
        );
        let freshness = match self.stale.take(&group, clock::ticks()) {
            true => Freshness::Refresh,
            false => Freshness::CachePreferred,
        };
        let (verdict, outgoing) = self.hand_over(id, to, message, freshness).await?;
        // It is here before the verdict, or it never comes.
        let mut answer = answer;
        let theirs = answer.try_recv().ok().flatten().and_then(|ack| {
            let phash = ack.get().get_attr("phash")?.as_str().into_owned();
            Some(phash)
        });
        if let (Some(theirs), Some(ours)) = (theirs, outgoing.phash())
            && theirs != ours
            && self.stale.differs(&group, clock::ticks())
        {
            log::debug!("a group's members or their devices are others than they were");
            // Also for the next start.
            if let Err(error) = self.backend.delete_group_metadata(&group).await {
                log::debug!("a group's members are not forgotten: {error}");
            }
        }
        Ok(verdict)
    }

    async fn send_to_person(
        &self,
        id: &str,
        to: &ChatJid,
        message: &wa::Message,
    ) -> Result<Option<Verdict>, SendFailure> {
        let own: Vec<String> = [self.client.pn(), self.client.lid()]
            .into_iter()
            .flatten()
            .map(|jid| jid.user.to_string())
            .collect();
        let is_for_others = to.is_person() && own.iter().all(|own| own != to.user());
        let first = self
            .hand_over(id, to, message, Freshness::CachePreferred)
            .await;
        match &first {
            Ok((verdict, outgoing)) if is_for_others && outgoing.reaches_no_recipient(&own) => {
                match verdict {
                    // Of a message that only own devices got: it says nothing of this one.
                    Some(Ok(_)) => {}
                    Some(Err(code)) => return Ok(Some(Err(*code))),
                    None => return Ok(None),
                }
            }
            Err(SendFailure::Other(_)) if is_for_others => {}
            Ok((verdict, _)) => return Ok(*verdict),
            Err(error) => return Err(error.clone()),
        }
        log::debug!("{id}: for no device of the recipient; sent once more");
        let (verdict, outgoing) = self.hand_over(id, to, message, Freshness::Refresh).await?;
        match outgoing.reaches_no_recipient(&own) {
            true => Err(SendFailure::Refused {
                code: None,
                words: refusal::UNREACHED.to_owned(),
            }),
            false => Ok(verdict),
        }
    }

    /// Gives the client a message to be sent, and waits for the server's ack; with it what was sent.
    async fn hand_over(
        &self,
        id: &str,
        to: &ChatJid,
        message: &wa::Message,
        freshness: Freshness,
    ) -> Result<(Option<Verdict>, Outgoing), SendFailure> {
        let (chat, server) = (to.to_string(), to.server());
        let wire = wire_jid(&chat).map_err(SendFailure::Other)?;
        let waiter = self.acks.expect(id);
        let outgoing = Outgoing::of(&self.client, id);
        if server == Server::Group {
            self.backend.watch_group(&chat, id, outgoing.clone());
        }
        let options = SendOptions::default()
            .with_message_id(id.to_owned())
            .with_group_metadata_freshness(freshness)
            .with_device_freshness(freshness);
        self.client
            .send_message_with_options(wire, message.clone(), options)
            .await
            .map_err(|error| refusal::of(&error, server))?;
        Ok((waiter.wait().await, outgoing))
    }

    /// Asks WhatsApp for a person; `None` if it does not say, or for what is no person.
    pub async fn look_up(&self, person: &ChatJid) -> Option<Standing> {
        let jid = wire_jid(&person.to_string()).ok()?;
        if !person.is_person() || !self.is_ready() {
            return None;
        }
        let contacts = self.client.contacts();
        let asked = contacts.is_on_whatsapp(std::slice::from_ref(&jid));
        let found = match within(LOOKUP_TIMEOUT, asked).await {
            Some(Ok(found)) => found.into_iter().next()?,
            Some(Err(error)) => {
                log::debug!("whether a number is on WhatsApp is not known: {error}");
                return None;
            }
            None => {
                log::debug!("whether a number is on WhatsApp is not known: no answer in time");
                return None;
            }
        };
        if found.contact_error.is_some() {
            return None;
        }
        if !found.is_registered {
            return Some(Standing::Absent);
        }
        let (mut jid, mut lid) = (person.clone(), None);
        for known in [Some(found.jid), found.pn_jid, found.lid]
            .into_iter()
            .flatten()
            .filter_map(|known| ChatJid::parse(&known.to_non_ad().to_string()).ok())
        {
            match known.server() {
                // Who was asked for by a LID is reached by it.
                Server::Person if person.server() == Server::Person => jid = known,
                Server::Lid => lid = Some(known),
                Server::Person | Server::Group | Server::Broadcast | Server::Newsletter => {}
            }
        }
        Some(Standing::Present { jid, lid })
    }

    /// A group's subject, asked of WhatsApp's server; `None` if it does not tell.
    pub async fn group_subject(&self, group: &str) -> Option<String> {
        let found = self.group(group).await?;
        Some(found.subject).filter(|subject| !subject.is_empty())
    }

    /// The JIDs of a group's members, of each both that are known, asked of WhatsApp's server; `None` if it
    /// does not tell, as it does to no stranger.
    pub async fn group_members(&self, group: &str) -> Option<Vec<String>> {
        let found = self.group(group).await?;
        let both = found.participants.iter().flat_map(|member| {
            [
                Some(&member.jid),
                member.phone_number.as_ref(),
                member.lid.as_ref(),
            ]
        });
        Some(both.flatten().map(convert::bare).collect())
    }

    async fn group(&self, group: &str) -> Option<GroupMetadata> {
        let jid = wire_jid(group).ok()?;
        if !self.is_ready() {
            return None;
        }
        let groups = self.client.groups();
        match within(LOOKUP_TIMEOUT, groups.get_metadata(&jid)).await {
            Some(Ok(found)) => return Some(found),
            Some(Err(error)) => log::debug!("nothing is known of a group: {error}"),
            None => log::debug!("nothing is known of a group: no answer in time"),
        }
        None
    }

    /// Sends read receipts to the senders, and to the account's other devices, for messages of one chat: each (sender
    /// as the chat names him, message id).
    ///
    /// # Errors
    /// When it could not be sent.
    pub async fn mark_read(
        &self,
        chat: &ChatJid,
        messages: &[(String, String)],
    ) -> Result<(), SendFailure> {
        if !self.is_ready() {
            return Err(SendFailure::NotConnected);
        }
        let to = wire_jid(&chat.to_string()).map_err(SendFailure::Other)?;
        let mut by_sender: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (sender, id) in messages {
            let sender = if chat.is_person() {
                ""
            } else {
                sender.as_str()
            };
            by_sender.entry(sender).or_default().push(id);
        }
        for (sender, ids) in by_sender {
            let sender = match sender {
                "" => None,
                jid => Some(wire_jid(jid).map_err(SendFailure::Other)?),
            };
            self.client
                .mark_as_read(&to, sender.as_ref(), &ids)
                .await
                .map_err(|error| {
                    log::debug!("not marked as read: {error}");
                    SendFailure::Other("the read receipts could not be sent".into())
                })?;
        }
        Ok(())
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

    /// Shows WhatsApp an authenticator's answer.
    ///
    /// # Errors
    /// As [`passkey::show`].
    pub async fn show_passkey(&self, answer: &PasskeyAnswer) -> Result<(), SessionError> {
        passkey::show(&self.client, answer).await
    }

    /// Confirms that phone and caller show the same code.
    ///
    /// # Errors
    /// As [`passkey::confirm`].
    pub async fn confirm_passkey(&self) -> Result<(), SessionError> {
        passkey::confirm(&self.client).await
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

/// A new message id, as WhatsApp Web makes them; `own` is the account's own JID.
pub fn new_message_id(own: Option<&str>) -> String {
    let own = own.and_then(|jid| wire_jid(jid).ok());
    RequestUtils::message_id_at(own.as_ref(), clock::now() / 1000)
}

/// Why there is no pairing code.
fn pairing_refused(rejection: PairCodeRejection) -> SessionError {
    let words = match rejection {
        PairCodeRejection::BadRequest => {
            "WhatsApp gives no code for this number: it is wrong, or was tried too often (400)"
        }
        PairCodeRejection::Forbidden => "WhatsApp gives no code for this number (403)",
        PairCodeRejection::RateOverlimit => {
            "WhatsApp gives no code now: too many were asked for (429)"
        }
        PairCodeRejection::FeatureNotAvailable => {
            "WhatsApp does not link this account by phone number: scan the QR code (452)"
        }
        PairCodeRejection::InternalServerError => "WhatsApp cannot make a code now (500)",
        PairCodeRejection::Unknown(_) => "WhatsApp gives no code",
    };
    SessionError::PairingRefused {
        code: u16::try_from(rejection.code()).unwrap_or(500),
        words,
    }
}
