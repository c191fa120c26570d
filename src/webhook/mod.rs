//! Webhooks: what happens is POSTed to whoever registered for it.
//!
//! Each hook is a reader of the event log with a cursor of its own, and one task delivers for it: at
//! least once, in order within each chat, some chats at a time. Any 2xx is success; everything else
//! is tried again, after 5 s and then ever more rarely, for three days; then the event is a dead
//! letter of that hook, kept to be replayed. What left the log before it was read is counted. A slow
//! or dead receiver holds up nobody but itself. Nothing polls: a worker sleeps until the log grows.

mod marks;
mod policy;
mod queue;
mod send;
mod sign;
mod target;
#[cfg(test)]
mod tests;
mod worker;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use async_channel::Sender;
use serde::Serialize;
use smol::lock::Semaphore;
use smol::{Executor, Task};

use crate::clock;
use crate::event::EventKind;
use crate::net::http::Clients;
use crate::runtime::tasks::{self, Kind};
pub use crate::store::dead_letters::DeadLetter;
use crate::store::dead_letters::{self, Replay};
use crate::store::messages::Part;
pub use crate::store::webhooks::NewWebhook;
use crate::store::webhooks::{self, DEFAULT_EVENTS, Registration, WebhookRecord};
use crate::store::{Store, StoreError, events};
use crate::sync::{locked, within};
use marks::Marks;
pub use policy::Retry;
use send::{Failure, Parcel, send};
use worker::{Live, Position, Shared};

/// Up to how many events behind its cursor a hook's pending ones are counted exactly.
const MAX_COUNTED: u64 = 256;

/// How much of a receiver's answer to a test is shown, in characters.
const MAX_SHOWN: usize = 1000;

/// The settings of the deliveries.
#[derive(Debug, Clone, Copy)]
pub struct DeliverySettings {
    /// How long a receiver may take to answer.
    pub timeout: Duration,
    /// Whether hooks that keys of one account registered reach this machine, too.
    pub local_urls: bool,
    /// How many hooks there may be.
    pub max_hooks: usize,
    /// How many chats a hook may be sent events of at a time.
    pub max_parallel: usize,
    /// How many deliveries may be under way at a time, over all hooks, beyond one for each.
    pub max_concurrent: usize,
    /// How much of a receiver's answer is read, in bytes.
    pub max_response: usize,
    pub retry: Retry,
    /// How many dead letters a hook may have.
    pub max_dead: u64,
    /// How long after a delivery it is stored that it was made, with those that follow.
    pub mark_delay: Duration,
}

impl Default for DeliverySettings {
    fn default() -> Self {
        DeliverySettings {
            timeout: Duration::from_secs(10),
            local_urls: false,
            max_hooks: 64,
            max_parallel: 4,
            max_concurrent: 16,
            max_response: 64 * 1024,
            retry: Retry {
                first: Duration::from_secs(5),
                longest: Duration::from_secs(15 * 60),
                give_up_after: Duration::from_secs(3 * 24 * 60 * 60),
            },
            max_dead: 1000,
            mark_delay: Duration::from_secs(1),
        }
    }
}

/// Why a hook was not registered.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    /// The URL is none, in the contract's words.
    #[error("{0}")]
    Url(&'static str),
    #[error("\"{field}\" must be {expected}")]
    Field {
        field: &'static str,
        expected: &'static str,
    },
    #[error("There are {most} webhooks already, the most that are allowed")]
    TooMany { most: usize },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a test was not sent.
#[derive(Debug, thiserror::Error)]
pub enum TestError {
    #[error("Webhook not found")]
    NotFound,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why nothing is replayed, or shown of a hook.
#[derive(Debug, thiserror::Error)]
pub enum DeadError {
    #[error("Webhook not found")]
    NotFound,
    #[error("There is no dead letter {0:?}")]
    Unknown(String),
    #[error("The webhook is disabled; register its URL again first")]
    Disabled,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A hook is registered.
#[derive(Debug, Clone)]
pub struct Registered {
    /// As it counts now.
    pub hook: HookView,
    /// False if it was registered before.
    pub created: bool,
    /// Whether it was registered before, with other settings.
    pub updated: bool,
}

/// A hook as the API shows it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HookView {
    pub id: String,
    /// Without its credentials.
    pub url: String,
    pub account_id: Option<String>,
    pub events: Vec<EventKind>,
    /// The names of its own headers; their values may be secret.
    pub header_names: Vec<String>,
    /// Whether its deliveries are signed.
    pub has_secret: bool,
    pub created_at: String,
    pub last_delivery: Option<DeliveryView>,
    /// Failed attempts since the last success.
    pub failures: u32,
    /// When a hook that fails is tried again.
    pub next_attempt: Option<String>,
    /// Events that are still to be delivered; an upper bound when there are many.
    pub pending: u64,
    /// Events that were given up and are kept to be replayed.
    pub dead: u64,
    /// Events that it will never get; an upper bound.
    pub missed: u64,
    /// When the receiver said that it wants no more.
    pub disabled_at: Option<String>,
}

/// The last attempt to deliver.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeliveryView {
    pub at: String,
    pub ok: bool,
    pub status: Option<u16>,
    pub error: Option<String>,
}

/// What came of a test.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TestOutcome {
    /// Whether the receiver took it: it answered with a 2xx.
    pub delivered: bool,
    pub status: Option<u16>,
    /// The beginning of the receiver's answer.
    pub body: Option<String>,
    /// Why there is no answer.
    pub error: Option<String>,
    pub duration_ms: u64,
}

/// The running deliveries, and the hooks that they are for. Clones share them.
#[derive(Clone)]
pub struct Deliveries(Arc<Inner>);

struct Inner {
    shared: Shared,
    /// By hook id.
    workers: Mutex<HashMap<String, Running>>,
    /// Stores how far the hooks are.
    marking: Mutex<Option<Task<()>>>,
    /// Nothing is ever sent; closed when the server stops.
    stop: Sender<()>,
}

struct Running {
    task: Task<()>,
    position: Position,
    pokes: Sender<()>,
}

impl Deliveries {
    /// Starts a worker for every registered hook.
    ///
    /// # Errors
    /// If the hooks cannot be read.
    pub fn start(
        store: Store,
        clients: Clients,
        executor: Arc<Executor<'static>>,
        settings: DeliverySettings,
    ) -> Result<Deliveries, StoreError> {
        let (stop, stopping) = async_channel::bounded(1);
        let hooks = store.read(webhooks::list)?;
        let shared = Shared {
            store,
            clients,
            executor,
            slots: Arc::new(Semaphore::new(settings.max_concurrent)),
            settings,
            marks: Arc::new(Marks::new()),
            stopping,
        };
        let marker = shared.clone();
        let marking = tasks::keep(&shared.executor, Kind::Marks, "webhooks", move || {
            let marker = marker.clone();
            async move {
                let delay = marker.settings.mark_delay;
                let (marks, stopping) = (&marker.marks, &marker.stopping);
                marks.run(&marker.store, delay, stopping).await;
            }
        });
        let deliveries = Deliveries(Arc::new(Inner {
            shared,
            workers: Mutex::new(HashMap::new()),
            marking: Mutex::new(Some(marking)),
            stop,
        }));
        for hook in hooks {
            deliveries.0.start_worker(hook);
        }
        Ok(deliveries)
    }

    /// Ends all workers: those that are sending may finish within `grace`, then they are cut off.
    /// What they were sending is sent again after the next start.
    pub async fn stop(&self, grace: Duration) {
        self.0.stop.close();
        let workers: Vec<Task<()>> = {
            let mut workers = self.0.workers();
            workers.drain().map(|(_, worker)| worker.task).collect()
        };
        let all = async {
            for task in workers {
                task.await;
            }
        };
        // Dropping the tasks that are left cancels them.
        within(grace, all).await;
        let marking = locked(&self.0.marking).take();
        if let Some(marking) = marking {
            marking.await;
        }
        let shared = &self.0.shared;
        if let Err(error) = shared.marks.flush(&shared.store).await {
            log::error!("webhooks: {error}");
        }
    }

    /// How many hooks are delivered for, and how many events the one that is furthest behind has still
    /// to look at or to deliver. Looks at memory only.
    pub fn backlog(&self) -> (usize, u64) {
        let last = self.0.shared.store.last_event();
        let workers = self.0.workers();
        let running = || workers.values().filter(|worker| !worker.task.is_finished());
        let behind = running().map(|worker| {
            let progress = worker.position.get().progress;
            last.saturating_sub(progress.cursor) + progress.open.len() as u64
        });
        (running().count(), behind.max().unwrap_or(0))
    }

    /// Registers a hook for what happens from now on.
    ///
    /// # Errors
    /// If the URL, a header or the secret is not acceptable, or there are too many hooks.
    pub async fn register(&self, new: NewWebhook) -> Result<Registered, HookError> {
        target::check_url(&new.url).map_err(HookError::Url)?;
        let headers = new.headers.as_ref();
        if !headers.is_none_or(target::headers_are_allowed) {
            return Err(HookError::Field {
                field: "headers",
                expected: "at most 20 plain headers, none that deliveries set themselves",
            });
        }
        let secret = new.secret.as_deref().filter(|secret| !secret.is_empty());
        if secret.is_some_and(|secret| sign::key(secret).is_err()) {
            return Err(HookError::Field {
                field: "secret",
                expected: "base64 behind its \"whsec_\"",
            });
        }
        let most = self.0.shared.settings.max_hooks;
        let registered = self
            .0
            .shared
            .store
            .write(move |tx| {
                let (hook, registration) = webhooks::create(tx, &new, clock::now())?;
                let count = webhooks::list(&tx.view())?.len();
                if registration == Registration::Created && count > most {
                    webhooks::delete(tx, &hook.id)?;
                    return Ok(None);
                }
                Ok(Some((hook, registration)))
            })
            .await?;
        let (hook, registration) = registered.ok_or(HookError::TooMany { most })?;
        match registration {
            Registration::Created | Registration::Enabled { .. } => {
                self.0.start_worker(hook.clone());
            }
            Registration::Changed => self.0.reload(&hook.id),
            Registration::Known => {}
        }
        let changed = Registration::Enabled { changed: true };
        Ok(Registered {
            hook: self.0.view(hook)?,
            created: registration == Registration::Created,
            updated: registration == Registration::Changed || registration == changed,
        })
    }

    /// All hooks, in the order of their creation.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn list(&self) -> Result<Vec<HookView>, StoreError> {
        let hooks = self.0.shared.store.read(webhooks::list)?;
        hooks.into_iter().map(|hook| self.0.view(hook)).collect()
    }

    /// Removes a hook; whether there was one of that id.
    ///
    /// # Errors
    /// If that cannot be stored.
    pub async fn remove(&self, id: &str) -> Result<bool, StoreError> {
        let id = id.to_owned();
        let removed = self
            .0
            .shared
            .store
            .write(move |tx| webhooks::delete(tx, &id))
            .await?;
        if let Some(hook) = &removed {
            self.0.end_worker(&hook.id);
        }
        Ok(removed.is_some())
    }

    /// Removes every hook with that URL, of one account `only` or of all; whether there was one.
    ///
    /// # Errors
    /// If that cannot be stored.
    pub async fn remove_url(&self, url: &str, only: Option<String>) -> Result<bool, StoreError> {
        let url = url.to_owned();
        let removed = self
            .0
            .shared
            .store
            .write(move |tx| {
                let mut removed = webhooks::list(&tx.view())?;
                removed
                    .retain(|hook| hook.url == url && (only.is_none() || hook.account_id == only));
                for hook in &removed {
                    webhooks::delete(tx, &hook.id)?;
                }
                Ok(removed)
            })
            .await?;
        for hook in &removed {
            self.0.end_worker(&hook.id);
        }
        Ok(!removed.is_empty())
    }

    /// A page of a hook's dead letters, the oldest events first, and how many there are. After `bytes`
    /// of bodies it has no more.
    ///
    /// # Errors
    /// If there is no such hook.
    pub fn dead(
        &self,
        id: &str,
        part: Part<u64>,
    ) -> Result<(Vec<DeadLetter>, bool, u64), DeadError> {
        let found = self.0.shared.store.read(|tx| {
            let Some(hook) = webhooks::get(tx, id)? else {
                return Ok(None);
            };
            let (letters, more) = dead_letters::list(tx, id, part)?;
            Ok(Some((letters, more, hook.dead_count)))
        })?;
        found.ok_or(DeadError::NotFound)
    }

    /// Has dead letters delivered again, those of these event ids or all, and says how many. They stay
    /// dead letters until they are delivered.
    ///
    /// # Errors
    /// If there is no such hook or dead letter, or the hook is disabled.
    pub async fn replay(&self, id: &str, ids: Option<Vec<String>>) -> Result<u64, DeadError> {
        let hook = self
            .0
            .shared
            .store
            .read(|tx| webhooks::get(tx, id))?
            .ok_or(DeadError::NotFound)?;
        if hook.progress.disabled_at.is_some() {
            return Err(DeadError::Disabled);
        }
        let replay = self
            .0
            .shared
            .store
            .write(move |tx| dead_letters::replay(tx, &hook.id, ids.as_deref()))
            .await?;
        match replay {
            Replay::Queued(count) => {
                self.0.poke(id);
                Ok(count)
            }
            Replay::Unknown(id) => Err(DeadError::Unknown(id)),
        }
    }

    /// Sends a `ping` event, out of turn and once, and says what the receiver answered; the answer's body
    /// only if it is `shown`.
    ///
    /// # Errors
    /// If there is no such hook. That the receiver failed is an outcome.
    pub async fn test(&self, id: &str, shown: bool) -> Result<TestOutcome, TestError> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Ping<'a> {
            event: &'static str,
            event_id: &'a str,
            account_id: Option<&'a str>,
            created_at: String,
        }
        let shared = &self.0.shared;
        let hook = shared
            .store
            .read(|tx| webhooks::get(tx, id))?
            .ok_or(TestError::NotFound)?;
        let now = clock::now();
        let event_id = format!("ping_{now}_{:08x}", fastrand::u32(..));
        let body = serde_json::to_string(&Ping {
            event: "ping",
            event_id: &event_id,
            account_id: hook.account_id.as_deref(),
            created_at: clock::iso8601(now),
        })
        .map_err(|e| StoreError::Encode {
            table: "webhooks",
            cause: e.to_string().into(),
        })?;
        let parcel = Parcel {
            id: &event_id,
            body: &body,
        };
        let began = clock::ticks();
        let client = shared.client_for(&hook);
        let sent = send(client, &hook, parcel, now, &shared.settings).await;
        if sent.as_ref().is_ok_and(send::Received::is_success) {
            // It is there: what waits for it need not wait longer.
            self.0.poke(id);
        }
        let duration_ms = clock::ticks().saturating_sub(began);
        Ok(match sent {
            Ok(received) => TestOutcome {
                delivered: received.is_success(),
                status: Some(received.status),
                body: shown.then(|| {
                    let text = String::from_utf8_lossy(&received.body);
                    text.chars().take(MAX_SHOWN).collect()
                }),
                error: None,
                duration_ms,
            },
            Err(Failure(error)) => TestOutcome {
                delivered: false,
                status: None,
                body: None,
                error: Some(error),
                duration_ms,
            },
        })
    }
}

impl Inner {
    fn workers(&self) -> MutexGuard<'_, HashMap<String, Running>> {
        locked(&self.workers)
    }

    fn start_worker(&self, hook: WebhookRecord) {
        if hook.progress.disabled_at.is_some() {
            return;
        }
        let id = hook.id.clone();
        let position = Position::default();
        let (pokes, poked) = async_channel::bounded(1);
        let supervised = {
            let (shared, id, position) = (self.shared.clone(), id.clone(), position.clone());
            // The first one knows its hook; those behind a panic read it anew.
            let mut first = Some(hook);
            move || {
                let (shared, id, first) = (shared.clone(), id.clone(), first.take());
                worker::run(shared, id, first, position.clone(), poked.clone())
            }
        };
        let name = format!("webhook {id}");
        let mut workers = self.workers();
        // Workers of hooks that went with their account, or are disabled, have ended by themselves.
        workers.retain(|_, worker| !worker.task.is_finished());
        let running = Running {
            task: tasks::keep(&self.shared.executor, Kind::Webhook, name, supervised),
            position,
            pokes,
        };
        workers.insert(id, running);
    }

    fn end_worker(&self, id: &str) {
        // Dropping the task cancels it, in the middle of a delivery if need be.
        let ended = self.workers().remove(id);
        drop(ended);
        self.shared.marks.drop_of(id);
    }

    /// A hook's settings are others: its worker takes them before it does anything else.
    fn reload(&self, id: &str) {
        if let Some(worker) = self.workers().get(id) {
            worker.position.outdate();
            let _ = worker.pokes.try_send(());
        }
    }

    /// Has a hook tried now, and its replays looked for.
    fn poke(&self, id: &str) {
        if let Some(worker) = self.workers().get(id) {
            // If the channel is full, it is going to.
            let _ = worker.pokes.try_send(());
        }
    }

    fn view(&self, hook: WebhookRecord) -> Result<HookView, StoreError> {
        let live = match self.workers().get(&hook.id) {
            Some(worker) if !worker.task.is_finished() => worker.position.get(),
            _ => Live {
                progress: hook.progress.clone(),
                next_attempt: None,
            },
        };
        let Live {
            progress,
            next_attempt,
        } = live;
        let pending = match progress.disabled_at {
            Some(_) => 0,
            None => progress.open.len() as u64 + self.behind(&hook, progress.cursor)?,
        };
        let next_attempt = next_attempt.map(|at| {
            let left = at.saturating_duration_since(Instant::now()).as_millis();
            clock::iso8601(clock::now().saturating_add(u64::try_from(left).unwrap_or(0)))
        });
        Ok(HookView {
            url: target::redacted(&hook.url),
            events: wanted_events(&hook).to_vec(),
            header_names: hook.headers.keys().cloned().collect(),
            has_secret: hook.secret.is_some(),
            id: hook.id,
            account_id: hook.account_id,
            created_at: clock::iso8601(hook.created_at),
            last_delivery: progress.last_delivery.map(|delivery| DeliveryView {
                at: clock::iso8601(delivery.at),
                ok: delivery.ok,
                status: delivery.status,
                error: delivery.error,
            }),
            failures: progress.failures,
            next_attempt,
            pending,
            dead: hook.dead_count,
            missed: progress.missed,
            disabled_at: progress.disabled_at.map(clock::iso8601),
        })
    }

    /// How many events behind `cursor` are for the hook; an upper bound where there are many.
    fn behind(&self, hook: &WebhookRecord, cursor: u64) -> Result<u64, StoreError> {
        let store = &self.shared.store;
        let behind = store.last_event().saturating_sub(cursor);
        if behind == 0 || behind > MAX_COUNTED {
            return Ok(behind);
        }
        let mut count = 0;
        let looks = MAX_COUNTED as usize;
        store.read(|tx| {
            events::walk(tx, cursor, looks, |_, event| {
                count += u64::from(wants(hook, event.kind, &event.account));
                true
            })
        })?;
        Ok(count)
    }
}

/// The kinds that a hook receives.
fn wanted_events(hook: &WebhookRecord) -> &[EventKind] {
    hook.events.as_deref().unwrap_or(DEFAULT_EVENTS)
}

/// Whether an event is for a hook.
fn wants(hook: &WebhookRecord, kind: EventKind, account_id: &str) -> bool {
    wanted_events(hook).contains(&kind)
        && hook.account_id.as_deref().is_none_or(|id| id == account_id)
}
