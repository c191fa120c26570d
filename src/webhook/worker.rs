//! One hook's deliveries: reads the log behind the hook's cursor, sends what the hook wants as its
//! [queue](super::queue) says, and notes how far it is.

mod outcomes;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_channel::{Receiver, Sender};
use futures_lite::FutureExt;
use smol::lock::{Semaphore, SemaphoreGuardArc};
use smol::{Executor, Task};

use super::marks::Marks;
use super::queue::{Now, Queue};
use super::send::{Failure, Parcel, Received, send};
use super::{DeliverySettings, wants};
use crate::clock;
use crate::net::http::Clients;
use crate::net::reach::Reach;
use crate::runtime::tasks::{self, Kind};
use crate::store::dead_letters;
use crate::store::events::{self, StoredEvent};
use crate::store::webhooks::{self, Progress, WebhookRecord};
use crate::store::{Store, StoreError};
use crate::sync::locked;

/// Events that are looked at in one go.
const LOOKS: usize = 256;

/// How many unwanted events may pass before the cursor is stored behind them: reading over them
/// again after a restart is cheaper than a commit for each.
const MAX_UNSAVED: u64 = 1000;

/// How long to wait after the storage failed.
const STORAGE_PAUSE: Duration = Duration::from_secs(5);

/// How far a hook is, for whoever lists them.
#[derive(Debug, Clone, Default)]
pub struct Position {
    live: Arc<Mutex<Live>>,
    /// The stored hook has other settings than its worker's.
    outdated: Arc<AtomicBool>,
}

/// What a worker knows of its hook.
#[derive(Debug, Clone, Default)]
pub struct Live {
    pub progress: Progress,
    /// When a hook that is down is tried again.
    pub next_attempt: Option<Instant>,
}

impl Shared {
    /// The client that reaches as far as a hook's deliveries may.
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

    /// The worker reads its hook's settings anew before its next step.
    pub fn outdate(&self) {
        self.outdated.store(true, Ordering::Relaxed);
    }

    fn set(&self, live: Live) {
        *locked(&self.live) = live;
    }
}

/// Why a worker ends by itself.
#[derive(Debug)]
enum End {
    /// The hook is gone, or the storage closed.
    Gone,
    /// The receiver wants no more.
    Disabled,
    /// The server stops.
    Stopped,
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
    /// Closed when the server stops.
    pub stopping: Receiver<()>,
}

type Outcome = Result<Received, Failure>;

/// An attempt that is over: the event's number, and what came of it.
type Over = (u64, Outcome);

/// What a worker waits for.
enum News {
    /// An attempt is over.
    Outcome(u64, Outcome),
    /// The log has grown, or it is time for the next attempt.
    Work,
    /// Somebody says that it is worth trying now, or wants a replay.
    Poked,
    Stop,
}

/// Delivers for a hook until it is removed or disabled, or the server stops. Without a `known` hook,
/// which an earlier worker had, it begins with what is stored.
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

/// A hook as it was left by its last worker, whose panic cost nothing but what was under way. `None` if it
/// is gone or disabled, or the storage closed.
async fn stored(shared: &Shared, id: &str) -> Option<WebhookRecord> {
    loop {
        // Else what was delivered in the last second would be delivered again.
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
    /// The cursor that is stored, or about to be.
    saved: u64,
    /// The end of the log as far as this worker has seen it.
    seen: u64,
    /// Dead letters after this number may be marked for a replay.
    replay_after: Option<u64>,
    /// Those of `queue` that are dead letters.
    replayed: Vec<u64>,
    in_flight: HashMap<u64, Task<()>>,
    over: Sender<Over>,
    outcomes: Receiver<Over>,
}

impl Worker {
    fn new(shared: Shared, hook: WebhookRecord, position: Position, pokes: Receiver<()>) -> Worker {
        let settings = &shared.settings;
        let progress = hook.progress.clone();
        let queue = Queue::new(&progress, settings.retry, settings.max_parallel, now());
        position.set(Live {
            progress: progress.clone(),
            next_attempt: None,
        });
        // As many as can be under way.
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
                Err(Some(error)) => match self.storage_failed(&error).await {
                    Ok(()) => continue,
                    Err(end) => return end,
                },
                Err(None) => return End::Gone,
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

    /// Takes up what was open before the start.
    fn restore(&mut self) -> Result<(), StoreError> {
        let (id, now) = (&self.hook.id, now());
        for open in std::mem::take(&mut self.progress.open) {
            let found = self.shared.store.read(|tx| {
                let log = events::state(tx)?;
                Ok((dead_letters::find(tx, id, open.number)?, log))
            });
            match found {
                Ok((Some(event), _)) => self.queue.restore(open, &event.header, now),
                Ok((None, log)) if open.number <= log.trimmed => self.progress.missed += 1,
                // It went with its account.
                Ok((None, _)) => {}
                Err(error) => {
                    self.progress.open.push(open);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Reads ahead and starts what is to be started.
    ///
    /// # Errors
    /// What the storage says; `None` if the hook is gone.
    fn work(&mut self) -> Result<(), Option<StoreError>> {
        self.take_settings()?;
        self.take_in_replays()?;
        self.take_in()?;
        while !self.shared.stopping.is_closed() {
            // The first one is a hook's right; others would have to wait for slow hooks else.
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

    /// Takes over settings that have changed: they count for what it has not read yet, and for the next
    /// attempt of what it has.
    fn take_settings(&mut self) -> Result<(), Option<StoreError>> {
        if !self.position.outdated.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        match self
            .shared
            .store
            .read(|tx| webhooks::get(tx, &self.hook.id))
        {
            Ok(Some(hook)) => self.hook = Arc::new(hook),
            Ok(None) => return Err(None),
            Err(error) => {
                self.position.outdate();
                return Err(Some(error));
            }
        }
        Ok(())
    }

    fn take_in_replays(&mut self) -> Result<(), Option<StoreError>> {
        let Some(after) = self.replay_after else {
            return Ok(());
        };
        let room = self.queue.room();
        let id = &self.hook.id;
        let found = self
            .shared
            .store
            .read(|tx| dead_letters::to_replay(tx, id, after, room))
            .map_err(Some)?;
        // If there was no room, the search goes on when there is.
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

    fn take_in(&mut self) -> Result<(), Option<StoreError>> {
        loop {
            let room = self.queue.room();
            let mut found = Vec::new();
            let walked = self.shared.store.read(|tx| {
                if !webhooks::exists(tx, &self.hook.id)? {
                    return Ok(None);
                }
                let most = LOOKS;
                events::walk(tx, self.progress.cursor, most, |number, header| {
                    if found.len() == room {
                        return false;
                    }
                    if wants(&self.hook, header.kind, &header.account) {
                        found.push((number, header.clone()));
                    }
                    true
                })
                .map(Some)
            });
            let Some((to, log)) = walked.map_err(Some)? else {
                return Err(None);
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
    fn start(
        &mut self,
        number: u64,
        slot: Option<SemaphoreGuardArc>,
    ) -> Result<(), Option<StoreError>> {
        let id = &self.hook.id;
        let found = self.shared.store.read(|tx| {
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
                return Err(Some(error));
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
            // An attempt that failed, so that it is tried again; else the hook would wait for its outcome.
            sent.unwrap_or_else(|| Err(Failure("internal error".to_owned())))
        };
        let task = tasks::own(&self.shared.executor, async move {
            let outcome = delivering.await;
            // Nobody listens any more if the hook is gone.
            let _ = over.send((number, outcome)).await;
        });
        self.in_flight.insert(number, task);
        Ok(())
    }

    async fn news(&self) -> News {
        let stopped = async {
            let _ = self.shared.stopping.recv().await;
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
            // An error means that the storage is closed: reading it will tell.
            let _ = self.shared.store.events_committed(self.seen).await;
            News::Work
        };
        let due = async {
            match self.queue.wake() {
                // Others hold all the slots: one of ours that ends wakes us.
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

    /// The server stops: what is under way may end.
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

    /// Has stored how far it is.
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

    /// Logs it and waits a while; a closed store is the end.
    async fn storage_failed(&self, error: &StoreError) -> Result<(), End> {
        if matches!(error, StoreError::Closed) {
            return Err(End::Gone);
        }
        log::error!("webhook {}: {error}", self.hook.id);
        let stopped = async {
            let _ = self.shared.stopping.recv().await;
            Err(End::Stopped)
        };
        let slept = async {
            smol::Timer::after(STORAGE_PAUSE).await;
            Ok(())
        };
        stopped.or(slept).await
    }
}

fn now() -> Now {
    Now {
        wall: clock::now(),
        instant: Instant::now(),
        certain: clock::certain().is_some(),
    }
}
