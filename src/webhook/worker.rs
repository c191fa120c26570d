//! One hook's deliveries: reads the log from the hook's cursor, sends events in the order and at the times
//! of its [queue](super::queue), and stores the progress.

mod outcomes;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_channel::{Receiver, Sender};
use futures_lite::FutureExt;
use smol::lock::{Semaphore, SemaphoreGuardArc};
use smol::{Executor, Task};

use super::DeliverySettings;
use super::marks::Marks;
use super::queue::{Now, Queue};
use super::send::{Failure, Parcel, Received, send};
use crate::clock;
use crate::net::http::Clients;
use crate::net::reach::Reach;
use crate::runtime::Shutdown;
use crate::runtime::tasks::{self, Kind};
use crate::store::dead_letters;
use crate::store::events::{self, StoredEvent};
use crate::store::webhooks::{self, Progress, WebhookRecord};
use crate::store::{Store, StoreError};
use crate::sync::{locked, within};

/// Events read per transaction.
const LOOKS: usize = 256;

/// Unwanted events that may pass before the cursor is stored: skipping them again after a restart is
/// cheaper than a commit for each.
const MAX_UNSAVED: u64 = 1000;

/// How long to wait after the storage failed.
const STORAGE_PAUSE: Duration = Duration::from_secs(5);

/// A worker's state, shared with lists of hooks.
#[derive(Debug, Clone, Default)]
pub struct Position {
    live: Arc<Mutex<Live>>,
    /// The stored hook has newer settings than its worker.
    outdated: Arc<AtomicBool>,
}

/// A hook's progress in memory.
#[derive(Debug, Clone, Default)]
pub struct Live {
    pub progress: Progress,
    /// When a hook that is down is probed next.
    pub next_attempt: Option<Instant>,
}

impl Shared {
    /// The client for a hook, by the addresses that it may reach.
    pub fn client_for(&self, hook: &WebhookRecord) -> &surf::Client {
        let everywhere = hook.local_urls || self.settings.local_urls;
        self.clients.of(match everywhere {
            true => Reach::Everywhere,
            false => Reach::OtherHosts,
        })
    }
}

impl Position {
    pub fn get(&self) -> Live {
        locked(&self.live).clone()
    }

    /// Has the worker read its hook's settings before its next step.
    pub fn outdate(&self) {
        self.outdated.store(true, Ordering::Relaxed);
    }

    fn set(&self, live: Live) {
        *locked(&self.live) = live;
    }
}

/// Why a worker ends.
#[derive(Debug)]
enum End {
    /// The hook was removed, or the storage closed.
    Gone,
    /// The receiver answered 410 Gone.
    Disabled,
    /// The server stops.
    Stopped,
}

/// Why a worker cannot go on with its work.
#[derive(Debug, thiserror::Error)]
enum NoWork {
    #[error("the hook was removed")]
    Gone,
    #[error(transparent)]
    Storage(#[from] StoreError),
}

/// What all workers share.
#[derive(Clone)]
pub struct Shared {
    pub store: Store,
    pub clients: Clients,
    pub executor: Arc<Executor<'static>>,
    pub settings: DeliverySettings,
    /// One for each delivery beyond the first of a hook.
    pub slots: Arc<Semaphore>,
    pub marks: Arc<Marks>,
    pub stop: Shutdown,
}

type Outcome = Result<Received, Failure>;

/// A finished attempt: the event's number and the result.
type Over = (u64, Outcome);

/// What wakes a worker.
enum News {
    /// A finished attempt.
    Outcome(u64, Outcome),
    /// The log has grown, or it is time for the next attempt.
    Work,
    /// A request to try now, or to replay.
    Poked,
    Stop,
}

/// Delivers for a hook until it is removed or disabled, or the server stops. Without a `known` hook
/// (after a panic) it reads the stored one.
pub async fn run(
    shared: Shared,
    id: String,
    known: Option<WebhookRecord>,
    position: Position,
    pokes: Receiver<()>,
) {
    let hook = match known {
        Some(hook) => hook,
        None => match stored(&shared, &id).await {
            Some(hook) => hook,
            None => return,
        },
    };
    Worker::new(shared, hook, position, pokes).run().await;
}

/// The stored hook, with the progress of the worker that panicked. `None` if it was removed or disabled,
/// or the storage is closed.
async fn stored(shared: &Shared, id: &str) -> Option<WebhookRecord> {
    loop {
        // Without this, deliveries of the last second would be repeated.
        let found = match shared.marks.flush(&shared.store).await {
            Ok(()) => shared.store.read(|tx| webhooks::get(tx, id)),
            Err(error) => Err(error),
        };
        match found {
            Ok(hook) => return hook.filter(|hook| hook.progress.disabled_at.is_none()),
            Err(StoreError::Closed) => return None,
            Err(error) => log::error!("webhook {id}: {error}"),
        }
        smol::Timer::after(STORAGE_PAUSE).await;
    }
}

struct Worker {
    shared: Shared,
    hook: Arc<WebhookRecord>,
    position: Position,
    pokes: Receiver<()>,
    queue: Queue,
    progress: Progress,
    /// The cursor that is stored, or queued to be.
    saved: u64,
    /// The end of the log at the last read.
    seen: u64,
    /// Dead letters after this number may be marked for replay; `None`: none is.
    replay_after: Option<u64>,
    /// The events in `queue` that are dead letters.
    replayed: Vec<u64>,
    in_flight: HashMap<u64, Task<()>>,
    over: Sender<Over>,
    outcomes: Receiver<Over>,
}

impl Worker {
    fn store(&self) -> &Store {
        &self.shared.store
    }

    fn new(shared: Shared, hook: WebhookRecord, position: Position, pokes: Receiver<()>) -> Worker {
        let settings = &shared.settings;
        let progress = hook.progress.clone();
        let queue = Queue::new(&progress, settings.retry, settings.max_parallel, now());
        position.set(Live {
            progress: progress.clone(),
            next_attempt: None,
        });
        // One place for each attempt in flight.
        let (over, outcomes) = async_channel::bounded(settings.max_parallel.max(1));
        Worker {
            queue,
            position,
            pokes,
            saved: progress.cursor,
            seen: 0,
            replay_after: (hook.dead_count > 0).then_some(0),
            replayed: Vec::new(),
            in_flight: HashMap::new(),
            over,
            outcomes,
            progress,
            hook: Arc::new(hook),
            shared,
        }
    }

    async fn run(mut self) {
        let end = self.deliver_all().await;
        log::debug!("webhook {}: its worker ends: {end:?}", self.hook.id);
    }

    async fn deliver_all(&mut self) -> End {
        loop {
            match self.restore() {
                Ok(()) => break,
                Err(error) => {
                    if let Err(end) = self.storage_failed(&error).await {
                        return end;
                    }
                }
            }
        }
        loop {
            let news = match self.work() {
                Ok(()) => self.news().await,
                Err(NoWork::Storage(error)) => match self.storage_failed(&error).await {
                    Ok(()) => continue,
                    Err(end) => return end,
                },
                Err(NoWork::Gone) => return End::Gone,
            };
            let handled = match news {
                News::Work => Ok(()),
                News::Outcome(number, outcome) => self.outcome(number, outcome).await,
                News::Poked => {
                    self.queue.try_now(now());
                    self.replay_after = Some(0);
                    Ok(())
                }
                News::Stop => {
                    self.finish().await;
                    Err(End::Stopped)
                }
            };
            if let Err(end) = handled {
                return end;
            }
        }
    }

    /// Queues the events that were open before the restart.
    fn restore(&mut self) -> Result<(), StoreError> {
        let (id, now) = (&self.hook.id, now());
        for open in std::mem::take(&mut self.progress.open) {
            let found = self.store().read(|tx| {
                let log = events::state(tx)?;
                Ok((dead_letters::find(tx, id, open.number)?, log))
            });
            match found {
                Ok((Some(event), _)) => self.queue.restore(open, &event.header, now),
                Ok((None, log)) if open.number <= log.trimmed => self.progress.missed += 1,
                // Removed with its account.
                Ok((None, _)) => {}
                Err(error) => {
                    self.progress.open.push(open);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Fills the queue and starts the attempts that are due.
    fn work(&mut self) -> Result<(), NoWork> {
        self.take_settings()?;
        self.take_in_replays()?;
        self.take_in()?;
        while !self.shared.stop.is_triggered() {
            // A hook's first attempt needs no slot, so that slow hooks cannot block others.
            let slot = match self.in_flight.is_empty() {
                true => None,
                false => match self.shared.slots.try_acquire_arc() {
                    Some(slot) => Some(slot),
                    None => break,
                },
            };
            let Some(number) = self.queue.next(now()) else {
                break;
            };
            self.start(number, slot)?;
        }
        self.show();
        Ok(())
    }

    /// Reads changed settings. They apply to events not read yet, and to every next attempt.
    fn take_settings(&mut self) -> Result<(), NoWork> {
        if !self.position.outdated.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        match self.store().read(|tx| webhooks::get(tx, &self.hook.id)) {
            Ok(Some(hook)) => self.hook = Arc::new(hook),
            Ok(None) => return Err(NoWork::Gone),
            Err(error) => {
                self.position.outdate();
                return Err(NoWork::Storage(error));
            }
        }
        Ok(())
    }

    fn take_in_replays(&mut self) -> Result<(), NoWork> {
        let Some(after) = self.replay_after else {
            return Ok(());
        };
        let room = self.queue.room();
        let id = &self.hook.id;
        let found = self
            .store()
            .read(|tx| dead_letters::to_replay(tx, id, after, room))?;
        // A full queue: continue when it has room.
        self.replay_after = (found.len() >= room).then(|| found.last().map_or(after, |it| it.0));
        let now = now();
        for (number, letter) in found {
            self.queue.take_in(number, &letter.event, now.wall, now);
            if !self.replayed.contains(&number) {
                self.replayed.push(number);
            }
        }
        Ok(())
    }

    fn take_in(&mut self) -> Result<(), NoWork> {
        loop {
            let room = self.queue.room();
            let mut found = Vec::new();
            let walked = self.store().read(|tx| {
                if !webhooks::exists(tx, &self.hook.id)? {
                    return Ok(None);
                }
                let (most, mut failed) = (LOOKS, None);
                let walked = events::walk(tx, self.progress.cursor, most, |number, header| {
                    if found.len() == room {
                        return false;
                    }
                    match self.hook.wants(tx, header) {
                        Ok(true) => found.push((number, header.clone())),
                        Ok(false) => {}
                        Err(error) => {
                            failed = Some(error);
                            return false;
                        }
                    }
                    true
                })?;
                failed.map_or(Ok(Some(walked)), Err)
            });
            let Some((to, log)) = walked? else {
                return Err(NoWork::Gone);
            };
            self.seen = log.last;
            if log.trimmed > self.progress.cursor {
                let missed = log.trimmed - self.progress.cursor;
                log::warn!(
                    "webhook {}: {missed} events left the log before they were read",
                    self.hook.id
                );
                self.progress.missed += missed;
                self.progress.cursor = log.trimmed;
                self.mark();
                continue;
            }
            let now = now();
            for (number, header) in found {
                self.queue.take_in(number, &header, header.at, now);
            }
            self.progress.cursor = to;
            if to - self.saved >= MAX_UNSAVED {
                self.mark();
            }
            if to >= log.last || self.queue.room() == 0 {
                return Ok(());
            }
        }
    }

    /// Sends an event.
    fn start(&mut self, number: u64, slot: Option<SemaphoreGuardArc>) -> Result<(), NoWork> {
        let id = &self.hook.id;
        let found = self.store().read(|tx| {
            let event = dead_letters::find(tx, id, number)?;
            Ok((event, events::state(tx)?.trimmed))
        });
        let event: StoredEvent = match found {
            Ok((Some(event), _)) => event,
            Ok((None, trimmed)) => {
                if number <= trimmed {
                    log::warn!("webhook {id}: event {number} left the log before it was sent");
                    self.progress.missed += 1;
                }
                self.queue.done(number, false);
                self.mark();
                return Ok(());
            }
            Err(error) => {
                self.queue.put_back(number);
                return Err(NoWork::Storage(error));
            }
        };
        let hook = Arc::clone(&self.hook);
        let client = self.shared.client_for(&hook).clone();
        let (settings, over) = (self.shared.settings, self.over.clone());
        let name = format!("webhook {id}: a delivery");
        let delivering = async move {
            let _slot = slot;
            let parcel = Parcel {
                id: &event.id,
                body: &event.body,
            };
            let sent = send(&client, &hook, parcel, clock::now(), &settings);
            let sent = tasks::caught(Kind::Delivery, &name, sent).await;
            // A panic is a failed attempt: without an outcome the hook would wait for ever.
            sent.unwrap_or_else(|| Err(Failure("internal error".to_owned())))
        };
        let task = tasks::own(&self.shared.executor, async move {
            let outcome = delivering.await;
            // The channel is closed if the hook was removed.
            let _ = over.send((number, outcome)).await;
        });
        self.in_flight.insert(number, task);
        Ok(())
    }

    async fn news(&self) -> News {
        let stopped = async {
            self.shared.stop.wait().await;
            News::Stop
        };
        let outcome = async {
            match self.outcomes.recv().await {
                Ok((number, outcome)) => News::Outcome(number, outcome),
                Err(_) => News::Stop,
            }
        };
        let poked = async {
            match self.pokes.recv().await {
                Ok(()) => News::Poked,
                Err(_) => std::future::pending().await,
            }
        };
        let grown = async {
            if self.queue.room() == 0 {
                std::future::pending::<()>().await;
            }
            // An error means a closed storage: the next read returns it.
            let _ = self.store().events_committed(self.seen).await;
            News::Work
        };
        let due = async {
            match self.queue.wake() {
                // No free slot: the end of an own attempt wakes this worker.
                Some(at) if at <= Instant::now() && !self.in_flight.is_empty() => {
                    std::future::pending::<()>().await;
                }
                Some(at) => {
                    smol::Timer::at(at).await;
                }
                None => std::future::pending::<()>().await,
            }
            News::Work
        };
        stopped.or(outcome).or(poked).or(grown).or(due).await
    }

    /// Waits for the attempts in flight, when the server stops.
    async fn finish(&mut self) {
        while !self.in_flight.is_empty() {
            let Ok((number, outcome)) = self.outcomes.recv().await else {
                return;
            };
            if self.outcome(number, outcome).await.is_err() {
                return;
            }
        }
        self.mark();
    }

    /// Queues the progress to be stored.
    fn mark(&mut self) {
        self.saved = self.progress.cursor;
        self.show();
        self.shared.marks.put(&self.hook.id, self.progress.clone());
    }

    fn show(&mut self) {
        self.queue.show(&mut self.progress, now());
        self.position.set(Live {
            progress: self.progress.clone(),
            next_attempt: self.queue.next_attempt(),
        });
    }

    /// Logs the error and waits; an `Err` ends the worker.
    async fn storage_failed(&self, error: &StoreError) -> Result<(), End> {
        if matches!(error, StoreError::Closed) {
            return Err(End::Gone);
        }
        log::error!("webhook {}: {error}", self.hook.id);
        match within(STORAGE_PAUSE, self.shared.stop.wait()).await {
            Some(()) => Err(End::Stopped),
            None => Ok(()),
        }
    }
}

fn now() -> Now {
    Now {
        wall: clock::now(),
        instant: Instant::now(),
        certain: clock::certain().is_some(),
    }
}
