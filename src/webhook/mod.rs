//! Webhooks: events are POSTed to registered URLs.
//!
//! Each hook reads the event log with its own cursor; one task delivers for it: at least once, in order
//! within each chat, several chats in parallel. Any 2xx is success. Everything else is tried again after
//! 5 s, then with growing pauses, for three days; then the event becomes a dead letter of that hook, which
//! can be replayed. Events that left the log unread are counted. A slow or dead receiver delays only its
//! own hook. A worker sleeps until the log grows; it does not poll.

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
use crate::runtime::Shutdown;
use crate::runtime::tasks::{self, Kind};
pub use crate::store::dead_letters::DeadLetter;
use crate::store::dead_letters::{self, Replay};
use crate::store::messages::Part;
use crate::store::webhooks::{self, Registration, WebhookRecord};
pub use crate::store::webhooks::{IGNORABLE, NewWebhook};
use crate::store::{Store, StoreError, events};
use crate::sync::{locked, within};
use marks::Marks;
pub use policy::Retry;
use send::{Failure, Parcel, send};
use worker::{Live, Position, Shared};

/// Pending events are counted exactly up to this distance from the cursor.
const MAX_COUNTED: u64 = 256;

/// Characters of a receiver's answer to a test that are shown.
const MAX_SHOWN: usize = 1000;

/// The settings of the deliveries.
#[derive(Debug, Clone, Copy)]
pub struct DeliverySettings {
    /// How long a receiver may take to answer.
    pub timeout: Duration,
    /// Hooks registered with a key of one account may reach this machine, too.
    pub local_urls: bool,
    /// The number of hooks.
    pub max_hooks: usize,
    /// Chats of one hook that are delivered in parallel.
    pub max_parallel: usize,
    /// Deliveries in flight over all hooks, besides one for each hook.
    pub max_concurrent: usize,
    /// Bytes of a receiver's answer that are read.
    pub max_response: usize,
    pub retry: Retry,
    /// Dead letters of one hook.
    pub max_dead: u64,
    /// How long progress is collected before it is stored.
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
    /// Not a valid URL, in the contract's words.
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

/// Why dead letters are not listed or replayed.
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

/// The result of a registration.
#[derive(Debug, Clone)]
pub struct Registered {
    pub hook: HookView,
    /// False if it was registered before.
    pub created: bool,
    /// It was registered before, with other settings.
    pub updated: bool,
}

/// A hook as the API shows it.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Webhook"))]
#[serde(rename_all = "camelCase")]
pub struct HookView {
    pub id: String,
    /// Without its credentials.
    pub url: String,
    pub account_id: Option<String>,
    pub events: Vec<EventKind>,
    /// The only chats whose events it receives; empty for all.
    pub chats: Vec<String>,
    /// What it receives nothing of: `groups`, `status`, `channels`, `own`, and chats.
    pub ignore: Vec<String>,
    /// The names of its own headers, without values, which may be secret.
    pub header_names: Vec<String>,
    /// Whether its deliveries are signed.
    pub has_secret: bool,
    pub created_at: String,
    pub last_delivery: Option<DeliveryView>,
    /// Failed attempts since the last success.
    pub failures: u32,
    /// When the first of them was.
    pub failing_since: Option<String>,
    /// When a failing hook is tried again.
    pub next_attempt: Option<String>,
    /// Events not delivered yet; an upper bound when there are many.
    pub pending: u64,
    /// Dead letters.
    pub dead: u64,
    /// Events that were lost for this hook; an upper bound.
    pub missed: u64,
    /// When the receiver answered 410 Gone.
    pub disabled_at: Option<String>,
}

/// The last attempt to deliver.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(rename_all = "camelCase")]
pub struct DeliveryView {
    pub at: String,
    pub ok: bool,
    pub status: Option<u16>,
    pub error: Option<String>,
}

/// The result of a test.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct TestOutcome {
    /// The receiver answered with a 2xx.
    pub delivered: bool,
    pub status: Option<u16>,
    /// The beginning of the receiver's answer.
    pub body: Option<String>,
    /// Why there is no answer.
    pub error: Option<String>,
    pub duration_ms: u64,
}

/// The hooks and their running workers. Clones share them.
#[derive(Clone)]
pub struct Deliveries(Arc<Inner>);

struct Inner {
    shared: Shared,
    /// By hook id.
    workers: Mutex<HashMap<String, Running>>,
    /// Stores the progress of the hooks.
    marking: Mutex<Option<Task<()>>>,
}

struct Running {
    task: Task<()>,
    position: Position,
    pokes: Sender<()>,
}

impl Deliveries {
    fn store(&self) -> &Store {
        &self.0.shared.store
    }

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
        let hooks = store.read(webhooks::list)?;
        let shared = Shared {
            store,
            clients,
            executor,
            slots: Arc::new(Semaphore::new(settings.max_concurrent)),
            settings,
            marks: Arc::new(Marks::new()),
            stop: Shutdown::new(),
        };
        let marker = shared.clone();
        let marking = tasks::keep(&shared.executor, Kind::Marks, "webhooks", move || {
            let marker = marker.clone();
            async move {
                let delay = marker.settings.mark_delay;
                marker.marks.run(&marker.store, delay, &marker.stop).await;
            }
        });
        let deliveries = Deliveries(Arc::new(Inner {
            shared,
            workers: Mutex::new(HashMap::new()),
            marking: Mutex::new(Some(marking)),
        }));
        for hook in hooks {
            deliveries.0.start_worker(hook);
        }
        Ok(deliveries)
    }

    /// Ends all workers. Deliveries in flight may finish within `grace`, then they are cancelled, and
    /// repeated after the next start.
    pub async fn stop(&self, grace: Duration) {
        self.0.shared.stop.trigger();
        let workers: Vec<Task<()>> = {
            let mut workers = self.0.workers();
            workers.drain().map(|(_, worker)| worker.task).collect()
        };
        let all = async {
            for task in workers {
                task.await;
            }
        };
        // Dropping the remaining tasks cancels them.
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

    /// The number of hooks with a running worker, and the largest number of events that one of them has
    /// left to read or deliver. Reads memory only.
    pub fn backlog(&self) -> (usize, u64) {
        let last = self.store().last_event();
        let workers = self.0.workers();
        let running = || workers.values().filter(|worker| !worker.task.is_finished());
        let behind = running().map(|worker| {
            let progress = worker.position.get().progress;
            last.saturating_sub(progress.cursor) + progress.open.len() as u64
        });
        (running().count(), behind.max().unwrap_or(0))
    }

    /// Registers a hook for events from now on.
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
            .store()
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

    /// All hooks, in order of creation.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn list(&self) -> Result<Vec<HookView>, StoreError> {
        let hooks = self.store().read(webhooks::list)?;
        hooks.into_iter().map(|hook| self.0.view(hook)).collect()
    }

    /// Removes a hook; false if there is none of that id.
    ///
    /// # Errors
    /// If that cannot be stored.
    pub async fn remove(&self, id: &str) -> Result<bool, StoreError> {
        let id = id.to_owned();
        let removed = self
            .store()
            .write(move |tx| webhooks::delete(tx, &id))
            .await?;
        if let Some(hook) = &removed {
            self.0.end_worker(&hook.id);
        }
        Ok(removed.is_some())
    }

    /// Removes every hook with that URL, of the account `only` or of all; false if there is none.
    ///
    /// # Errors
    /// If that cannot be stored.
    pub async fn remove_url(&self, url: &str, only: Option<String>) -> Result<bool, StoreError> {
        let url = url.to_owned();
        let removed = self
            .store()
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

    /// A page of a hook's dead letters (oldest events first), whether more follow, and the total number.
    ///
    /// # Errors
    /// If there is no such hook.
    pub fn dead(
        &self,
        id: &str,
        part: Part<u64>,
    ) -> Result<(Vec<DeadLetter>, bool, u64), DeadError> {
        let found = self.store().read(|tx| {
            let Some(hook) = webhooks::get(tx, id)? else {
                return Ok(None);
            };
            let (letters, more) = dead_letters::list(tx, id, part)?;
            Ok(Some((letters, more, hook.dead_count)))
        })?;
        found.ok_or(DeadError::NotFound)
    }

    /// Delivers dead letters again, those of the event `ids` or all; returns their number. They stay dead
    /// letters until they are delivered.
    ///
    /// # Errors
    /// If there is no such hook or dead letter, or the hook is disabled.
    pub async fn replay(&self, id: &str, ids: Option<Vec<String>>) -> Result<u64, DeadError> {
        let hook = self
            .store()
            .read(|tx| webhooks::get(tx, id))?
            .ok_or(DeadError::NotFound)?;
        if hook.progress.disabled_at.is_some() {
            return Err(DeadError::Disabled);
        }
        let replay = self
            .store()
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

    /// Sends a `ping` event once, outside of the queue, and returns the receiver's answer; its body only
    /// if `shown`.
    ///
    /// # Errors
    /// If there is no such hook. A failing receiver is no error.
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
            // The receiver is up: try its waiting events now.
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
            // The first run has the hook; those after a panic read it from the store.
            let mut first = Some(hook);
            move || {
                let (shared, id, first) = (shared.clone(), id.clone(), first.take());
                worker::run(shared, id, first, position.clone(), poked.clone())
            }
        };
        let name = format!("webhook {id}");
        let mut workers = self.workers();
        // The workers of removed accounts' hooks and of disabled ones have ended.
        workers.retain(|_, worker| !worker.task.is_finished());
        let running = Running {
            task: tasks::keep(&self.shared.executor, Kind::Webhook, name, supervised),
            position,
            pokes,
        };
        workers.insert(id, running);
    }

    fn end_worker(&self, id: &str) {
        // Dropping the task cancels it, also within a delivery.
        let ended = self.workers().remove(id);
        drop(ended);
        self.shared.marks.drop_of(id);
    }

    /// Has a hook's worker read the changed settings before its next step.
    fn reload(&self, id: &str) {
        if let Some(worker) = self.workers().get(id) {
            worker.position.outdate();
            let _ = worker.pokes.try_send(());
        }
    }

    /// Has a hook's worker try at once, and look for replays.
    fn poke(&self, id: &str) {
        if let Some(worker) = self.workers().get(id) {
            // A full channel has woken it already.
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
            events: hook.wanted_events().to_vec(),
            chats: hook.chats,
            ignore: hook.ignore,
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
            failing_since: progress.failing_since.map(clock::iso8601),
            next_attempt,
            pending,
            dead: hook.dead_count,
            missed: progress.missed,
            disabled_at: progress.disabled_at.map(clock::iso8601),
        })
    }

    /// The number of events behind `cursor` that the hook wants; an upper bound if there are many.
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
                // An upper bound: one whose chat cannot be read counts.
                count += u64::from(hook.wants(tx, event).unwrap_or(true));
                true
            })
        })?;
        Ok(count)
    }
}
