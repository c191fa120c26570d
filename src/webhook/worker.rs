//! One hook's deliveries: reads the log behind the hook's cursor, sends what the hook wants, one
//! at a time and in order, and moves the cursor.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_channel::Receiver;
use futures_lite::{FutureExt, future};
use smol::lock::Semaphore;
use surf::Client;

use super::send::{Parcel, send};
use super::{DeliverySettings, Pause, wants};
use crate::clock;
use crate::store::webhooks::{self, Delivery, WebhookRecord};
use crate::store::{Store, StoreError, events};

/// How many events are read at once. An event's body has at most some hundred KB.
const BATCH: events::Most = events::Most {
    events: 16,
    bytes: usize::MAX,
    looks: usize::MAX,
};

/// How many unwanted events may pass before the cursor is stored behind them: reading over them
/// again after a restart is cheaper than a commit for each.
const MAX_UNSAVED: u64 = 1000;

/// How long to wait after the storage failed to read.
const STORAGE_PAUSE: Duration = Duration::from_secs(5);

/// How far a hook is, for whoever lists them.
#[derive(Debug, Clone, Default)]
pub struct Position(Arc<Mutex<u64>>);

impl Position {
    pub fn get(&self) -> u64 {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, cursor: u64) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = cursor;
    }
}

/// Why a worker ends by itself.
enum End {
    /// The hook is gone, or the storage closed.
    Gone,
    /// The server stops.
    Stopped,
}

pub struct Worker {
    pub id: String,
    pub store: Store,
    pub client: Client,
    pub settings: DeliverySettings,
    pub pause: Pause,
    /// One for each delivery that may be under way, over all hooks.
    pub slots: Arc<Semaphore>,
    pub position: Position,
    /// Closed when the server stops.
    pub stopping: Receiver<()>,
}

/// A delivery's mark that is to be stored.
type Mark = (u64, Option<Delivery>);

impl Worker {
    /// Delivers until the hook is removed or the server stops.
    pub async fn run(self) {
        match self.deliver_all().await {
            End::Gone => log::debug!("webhook {}: gone", self.id),
            End::Stopped => log::debug!("webhook {}: stopped", self.id),
        }
    }

    async fn deliver_all(&self) -> End {
        // Unwanted events that were passed without storing it.
        let mut passed = 0;
        loop {
            match self.round(passed).await {
                Ok(Round::At(cursor)) => passed = cursor,
                Ok(Round::Wait { failures }) => {
                    let wait = (self.pause)(failures, fastrand::u32(..));
                    log::info!("webhook {}: next attempt in {} s", self.id, wait.as_secs());
                    if self.sleep(wait).await.is_none() {
                        return End::Stopped;
                    }
                }
                Ok(Round::End(end)) | Err(Some(end)) => return end,
                Err(None) => {
                    if self.sleep(STORAGE_PAUSE).await.is_none() {
                        return End::Stopped;
                    }
                }
            }
        }
    }

    /// Delivers one batch, or waits for the next event. `passed`: how far unwanted events were
    /// passed in earlier rounds.
    async fn round(&self, passed: u64) -> Result<Round, Option<End>> {
        let last = self.store.last_event();
        let read = self.store.read(|tx| {
            let Some(hook) = webhooks::get(tx, &self.id)? else {
                return Ok(None);
            };
            let cursor = hook.cursor.max(passed);
            let found = events::scan(tx, cursor, BATCH, |_| true)?;
            Ok(Some((hook, found.log.trimmed, found.events)))
        });
        let Some((hook, trimmed, batch)) = read.map_err(|e| self.storage_failed(&e))? else {
            return Ok(Round::End(End::Gone));
        };
        let cursor = hook.cursor.max(passed);
        self.position.set(cursor);
        if trimmed > cursor {
            log::warn!(
                "webhook {}: up to {} events left the log before they were delivered",
                self.id,
                trimmed - cursor
            );
            return Ok(Round::At(trimmed));
        }
        if batch.is_empty() {
            return self.wait_for_events(cursor.max(last)).await;
        }
        self.deliver(&hook, cursor, batch).await
    }

    async fn wait_for_events(&self, seen: u64) -> Result<Round, Option<End>> {
        self.position.set(seen);
        let stopped = async {
            let _ = self.stopping.recv().await;
            Ok(Round::End(End::Stopped))
        };
        let committed = async {
            match self.store.events_committed(seen).await {
                Ok(_) => Ok(Round::At(seen)),
                Err(_) => Ok(Round::End(End::Gone)),
            }
        };
        stopped.or(committed).await
    }

    /// Sends what the hook wants of `batch`. The mark of each delivery is stored while the next
    /// one is under way: a crash repeats at most those two.
    async fn deliver(
        &self,
        hook: &WebhookRecord,
        mut cursor: u64,
        batch: Vec<events::StoredEvent>,
    ) -> Result<Round, Option<End>> {
        let mut mark: Option<Mark> = None;
        for event in batch {
            if !wants(hook, event.header.kind, &event.header.account) {
                cursor = event.number;
                if cursor - hook.cursor >= MAX_UNSAVED {
                    mark = Some((cursor, mark.and_then(|(_, delivery)| delivery)));
                }
                continue;
            }
            if self.stopping.is_closed() {
                self.store_mark(mark).await;
                return Ok(Round::End(End::Stopped));
            }
            let parcel = Parcel {
                id: &event.id,
                body: &event.body,
            };
            let sending = async {
                let _slot = self.slots.acquire().await;
                send(&self.client, hook, parcel, clock::now(), &self.settings).await
            };
            let (_, sent) = future::zip(self.store_mark(mark.take()), sending).await;
            let delivery = delivery(sent.map(|r| (r.status, r.is_success())), clock::now());
            if !delivery.ok {
                return self.failed(hook, delivery).await;
            }
            cursor = event.number;
            self.position.set(cursor);
            mark = Some((cursor, Some(delivery)));
        }
        self.store_mark(mark).await;
        Ok(Round::At(cursor))
    }

    /// Notes a failed attempt. The next round begins with the same event, from the log.
    async fn failed(&self, hook: &WebhookRecord, delivery: Delivery) -> Result<Round, Option<End>> {
        let why = delivery.error.clone().unwrap_or_default();
        log::warn!("webhook {}: delivery failed: {why}", self.id);
        let id = self.id.clone();
        let noted = self
            .store
            .write(move |tx| webhooks::record_delivery(tx, &id, delivery.clone()))
            .await;
        match noted {
            Ok(Some(hook)) => Ok(Round::Wait {
                failures: hook.failures,
            }),
            Ok(None) => Ok(Round::End(End::Gone)),
            // The pause matters more than its record.
            Err(error) => {
                self.storage_failed(&error);
                Ok(Round::Wait {
                    failures: hook.failures.saturating_add(1),
                })
            }
        }
    }

    /// Stores how far the hook is. Failing at it costs a repeated delivery after a restart, no
    /// more, so it is logged and gone past.
    async fn store_mark(&self, mark: Option<Mark>) {
        let Some((cursor, delivery)) = mark else {
            return;
        };
        let id = self.id.clone();
        let stored = self
            .store
            .write(move |tx| webhooks::advance(tx, &id, cursor, delivery.clone()))
            .await;
        if let Err(error) = stored {
            self.storage_failed(&error);
        }
    }

    /// Logs it; a closed store is the end.
    fn storage_failed(&self, error: &StoreError) -> Option<End> {
        if matches!(error, StoreError::Closed) {
            return Some(End::Gone);
        }
        log::error!("webhook {}: {error}", self.id);
        None
    }

    /// `None` if the server stops meanwhile.
    async fn sleep(&self, duration: Duration) -> Option<()> {
        let stopped = async {
            let _ = self.stopping.recv().await;
            None
        };
        let slept = async {
            smol::Timer::after(duration).await;
            Some(())
        };
        stopped.or(slept).await
    }
}

/// What a round came to.
enum Round {
    /// Everything up to this number is done with.
    At(u64),
    /// The receiver failed, this many times in a row.
    Wait {
        failures: u32,
    },
    End(End),
}

fn delivery(sent: Result<(u16, bool), String>, at: clock::Millis) -> Delivery {
    match sent {
        Ok((status, ok)) => Delivery {
            at,
            ok,
            status: Some(status),
            error: (!ok).then(|| format!("the receiver answered {status}")),
        },
        Err(words) => Delivery {
            at,
            ok: false,
            status: None,
            error: Some(words),
        },
    }
}
