//! Webhooks: what happens is POSTed to whoever registered for it.
//!
//! Each hook is a reader of the event log with a cursor of its own, and one task delivers for it:
//! at least once, in order, one request at a time. Any 2xx is success; everything else is tried
//! again, after 5 s and then ever more rarely, until it succeeds, the hook is removed, or the event
//! leaves the log. A slow or dead receiver holds up nobody but itself. Nothing polls: a worker
//! sleeps until the log grows.

mod policy;
mod send;
mod sign;
mod target;
#[cfg(test)]
mod tests;
mod worker;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_channel::{Receiver, Sender};
use futures_lite::FutureExt;
use serde::Serialize;
use smol::lock::Semaphore;
use smol::{Executor, Task};
use surf::Client;

use crate::clock;
use crate::event::EventKind;
pub use crate::store::webhooks::NewWebhook;
use crate::store::webhooks::{self, WebhookRecord};
use crate::store::{Store, StoreError, events};
use send::{Parcel, send};
use worker::{Position, Worker};

/// What a hook receives that named no events, as WILDCAT 2.0 programs expect.
const DEFAULT_EVENTS: &[EventKind] = &[EventKind::Message];

/// Up to how many events behind its cursor a hook's pending ones are counted exactly.
const MAX_COUNTED: u64 = 256;

/// How much of a receiver's answer to a test is shown, in characters.
const MAX_SHOWN: usize = 1000;

/// The settings of the deliveries.
#[derive(Debug, Clone, Copy)]
pub struct DeliverySettings {
    /// How long a receiver may take to answer.
    pub timeout: Duration,
    /// How many hooks there may be.
    pub max_hooks: usize,
    /// How many deliveries may be under way at a time, over all hooks.
    pub max_concurrent: usize,
    /// How much of a receiver's answer is read, in bytes.
    pub max_response: usize,
}

impl Default for DeliverySettings {
    fn default() -> Self {
        DeliverySettings {
            timeout: Duration::from_secs(15),
            max_hooks: 64,
            max_concurrent: 16,
            max_response: 64 * 1024,
        }
    }
}

/// How long to wait after so many failures in a row; see [`policy::pause`].
type Pause = fn(u32, u32) -> Duration;

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

/// A hook is registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    pub id: String,
    /// False if it was registered before.
    pub created: bool,
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
    pub created_at: String,
    pub last_delivery: Option<DeliveryView>,
    /// Failed attempts since the last success.
    pub failures: u32,
    /// Events that are still to be delivered; an upper bound when there are many.
    pub pending: u64,
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
    store: Store,
    client: Client,
    executor: Arc<Executor<'static>>,
    settings: DeliverySettings,
    pause: Pause,
    /// One for each delivery that may be under way.
    slots: Arc<Semaphore>,
    /// By hook id.
    workers: Mutex<HashMap<String, (Task<()>, Position)>>,
    /// Nothing is ever sent; closed when the server stops.
    stop: Sender<()>,
    stopping: Receiver<()>,
}

impl Deliveries {
    /// Starts a worker for every registered hook.
    ///
    /// # Errors
    /// If the hooks cannot be read.
    pub fn start(
        store: Store,
        client: Client,
        executor: Arc<Executor<'static>>,
        settings: DeliverySettings,
    ) -> Result<Deliveries, StoreError> {
        Self::start_with(store, client, executor, settings, policy::pause)
    }

    /// [`Deliveries::start`] with other pauses after failures.
    fn start_with(
        store: Store,
        client: Client,
        executor: Arc<Executor<'static>>,
        settings: DeliverySettings,
        pause: Pause,
    ) -> Result<Deliveries, StoreError> {
        let (stop, stopping) = async_channel::bounded(1);
        let hooks = store.read(webhooks::list)?;
        let deliveries = Deliveries(Arc::new(Inner {
            store,
            client,
            executor,
            pause,
            slots: Arc::new(Semaphore::new(settings.max_concurrent.max(1))),
            settings,
            workers: Mutex::new(HashMap::new()),
            stop,
            stopping,
        }));
        for hook in hooks {
            deliveries.0.start_worker(&hook);
        }
        Ok(deliveries)
    }

    /// Ends all workers: those that are sending may finish within `grace`, then they are cut off.
    /// What they were sending is sent again after the next start.
    pub async fn stop(&self, grace: Duration) {
        self.0.stop.close();
        let workers: Vec<Task<()>> = {
            let mut workers = self.0.workers();
            workers.drain().map(|(_, (task, _))| task).collect()
        };
        let all = async {
            for task in workers {
                task.await;
            }
        };
        let late = async {
            smol::Timer::after(grace).await;
        };
        // Dropping the tasks that are left cancels them.
        all.or(late).await;
    }

    /// Registers a hook for what happens from now on.
    ///
    /// # Errors
    /// If the URL, a header or the secret is not acceptable, or there are too many hooks.
    pub async fn register(&self, new: NewWebhook) -> Result<Registered, HookError> {
        target::check_url(&new.url).map_err(HookError::Url)?;
        if !target::headers_are_allowed(&new.headers) {
            return Err(HookError::Field {
                field: "headers",
                expected: "at most 20 plain headers, none that deliveries set themselves",
            });
        }
        if new.secret.as_deref().is_some_and(|s| sign::key(s).is_err()) {
            return Err(HookError::Field {
                field: "secret",
                expected: "base64 behind its \"whsec_\"",
            });
        }
        let most = self.0.settings.max_hooks;
        let registered = self
            .0
            .store
            .write(move |tx| {
                let (hook, created) = webhooks::create(tx, &new, clock::now())?;
                let count = webhooks::list(&tx.view())?.len();
                if created && count > most {
                    webhooks::delete(tx, &hook.id)?;
                    return Ok(None);
                }
                Ok(Some((hook, created)))
            })
            .await?;
        let (hook, created) = registered.ok_or(HookError::TooMany { most })?;
        if created {
            self.0.start_worker(&hook);
        }
        Ok(Registered {
            id: hook.id,
            created,
        })
    }

    /// All hooks, in the order of their creation.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn list(&self) -> Result<Vec<HookView>, StoreError> {
        let hooks = self.0.store.read(webhooks::list)?;
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

    /// Sends a `ping` event, out of turn and once, and says what the receiver answered.
    ///
    /// # Errors
    /// If there is no such hook. That the receiver failed is an outcome.
    pub async fn test(&self, id: &str) -> Result<TestOutcome, TestError> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Ping<'a> {
            event: &'static str,
            event_id: &'a str,
            account_id: Option<&'a str>,
            created_at: String,
        }
        let inner = &self.0;
        let hook = inner
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
        let sent = send(&inner.client, &hook, parcel, now, &inner.settings).await;
        let duration_ms = clock::now().saturating_sub(now);
        Ok(match sent {
            Ok(received) => TestOutcome {
                delivered: received.is_success(),
                status: Some(received.status),
                body: Some(
                    String::from_utf8_lossy(&received.body)
                        .chars()
                        .take(MAX_SHOWN)
                        .collect(),
                ),
                error: None,
                duration_ms,
            },
            Err(error) => TestOutcome {
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
    fn workers(&self) -> MutexGuard<'_, HashMap<String, (Task<()>, Position)>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start_worker(&self, hook: &WebhookRecord) {
        let position = Position::default();
        let worker = Worker {
            id: hook.id.clone(),
            store: self.store.clone(),
            client: self.client.clone(),
            settings: self.settings,
            pause: self.pause,
            slots: self.slots.clone(),
            position: position.clone(),
            stopping: self.stopping.clone(),
        };
        let mut workers = self.workers();
        // Workers of hooks that went with their account have ended by themselves.
        workers.retain(|_, (task, _)| !task.is_finished());
        let task = self.executor.spawn(worker.run());
        workers.insert(hook.id.clone(), (task, position));
    }

    fn end_worker(&self, id: &str) {
        // Dropping the task cancels it, in the middle of a delivery if need be.
        let ended = self.workers().remove(id);
        drop(ended);
    }

    fn view(&self, hook: WebhookRecord) -> Result<HookView, StoreError> {
        let position = self.workers().get(&hook.id).map(|(_, p)| p.get());
        let cursor = hook.cursor.max(position.unwrap_or(0));
        let behind = self.store.last_event().saturating_sub(cursor);
        let pending = if behind == 0 || behind > MAX_COUNTED {
            behind
        } else {
            let mut count = 0;
            let most = events::Most {
                events: usize::MAX,
                bytes: usize::MAX,
                looks: MAX_COUNTED as usize,
            };
            let counted = |event: &events::Header| {
                count += u64::from(wants(&hook, event.kind, &event.account));
                false
            };
            self.store
                .read(|tx| events::scan(tx, cursor, most, counted))?;
            count
        };
        Ok(HookView {
            url: target::redacted(&hook.url),
            events: wanted_events(&hook).to_vec(),
            id: hook.id,
            account_id: hook.account_id,
            created_at: clock::iso8601(hook.created_at),
            last_delivery: hook.last_delivery.map(|delivery| DeliveryView {
                at: clock::iso8601(delivery.at),
                ok: delivery.ok,
                status: delivery.status,
                error: delivery.error,
            }),
            failures: hook.failures,
            pending,
        })
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
