//! The one thread that writes, and group commit.
//!
//! A commit costs the disk's sync, which on a memory card is tens of milliseconds; what a job
//! itself does costs microseconds. So jobs that are queued while a commit syncs share the next
//! one. They share a transaction, but not their fate: if one fails after it has written, the
//! transaction is aborted and the others run again without it. That is rare, which is why it is
//! preferred to a nested transaction for each job: those copy every page that they touch, always.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use event_listener::Event;

use crate::clock::{self, Millis};
use crate::sync::locked;

use super::env::Environment;
use super::error::{Room, StoreError};
use super::events::{self, Appended};
use super::tx::WriteTx;

/// Jobs that wait for the writer; a further one waits for a place in the queue.
pub const QUEUE: usize = 512;

/// Jobs in one commit.
const GROUP_JOBS: usize = 256;

/// The interval at which a failure that continues is logged again.
const SAID_AGAIN: Millis = 3_600_000;

/// Bytes written in one commit, from which on no further job is taken in.
const GROUP_BYTES: usize = 4 << 20;

/// Something to write, with its caller's answer.
pub trait Job: Send {
    /// Runs in a transaction; may run again in another one, as if for the first time.
    fn run(&mut self, tx: &mut WriteTx<'_>) -> Result<(), StoreError>;

    /// The outcome of the last run and its commit.
    fn answer(self: Box<Self>, outcome: Result<(), StoreError>);
}

/// A closure and the channel for its result.
pub struct Typed<T, F> {
    pub job: F,
    pub value: Option<T>,
    pub reply: async_channel::Sender<Result<T, StoreError>>,
}

impl<T, F> Job for Typed<T, F>
where
    T: Send,
    F: FnMut(&mut WriteTx<'_>) -> Result<T, StoreError> + Send,
{
    fn run(&mut self, tx: &mut WriteTx<'_>) -> Result<(), StoreError> {
        self.value = None;
        self.value = Some((self.job)(tx)?);
        Ok(())
    }

    fn answer(self: Box<Self>, outcome: Result<(), StoreError>) {
        let Typed {
            value,
            reply,
            job: _,
        } = *self;
        let answer = match (outcome, value) {
            (Ok(()), Some(value)) => Ok(value),
            (Ok(()), None) => Err(StoreError::Closed),
            (Err(e), _) => Err(e),
        };
        // The caller may have gone; what it asked for is stored all the same.
        let _ = reply.try_send(answer);
    }
}

/// What the writer has done since the store was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Transactions that were synced to disk.
    pub commits: u64,
    /// Jobs that were answered with success.
    pub jobs: u64,
    /// Jobs that were answered with an error.
    pub failed: u64,
    /// Transactions that were given up and run again without a failed job or in a larger map.
    pub reruns: u64,
    /// How often the map grew.
    pub growths: u64,
    /// Bytes of keys and values that were committed. What reaches the disk is more: whole pages.
    pub written: u64,
    /// Bytes of the map, and of it in use.
    pub map_size: u64,
    pub map_used: u64,
}

/// How the writer does right now.
#[derive(Debug, Clone, Default)]
pub struct Condition {
    /// Why nothing can be stored; `None` once a commit has succeeded again.
    pub failing: Option<Failing>,
    /// The last refusal, also when commits have succeeded since: on a full disk small ones still may.
    pub refused: Option<Refusal>,
    /// How long it has been at the jobs that it has before it, or those wait for it; `None` while
    /// it rests. What takes long is a disk that hangs: a refusal comes at once.
    pub busy_for: Option<Duration>,
}

/// A storage that refuses.
#[derive(Debug, Clone)]
pub struct Failing {
    /// When the first of the commits failed that have failed since.
    pub since: Millis,
    /// The last one's error.
    pub error: StoreError,
}

/// What storage refused last.
#[derive(Debug, Clone)]
pub struct Refusal {
    pub at: Millis,
    /// The same, by [`clock::ticks`].
    pub ticks: Millis,
    pub error: StoreError,
}

/// What readers can see of the writer.
pub struct Progress {
    state: Mutex<State>,
    /// Notified when `last_event` or `closed` has changed.
    changed: Event,
}

struct State {
    stats: Stats,
    failing: Option<Failing>,
    refused: Option<Refusal>,
    /// Since when the writer is at its jobs, or ought to be.
    busy: Option<Instant>,
    last_event: u64,
    appended: Appended,
    closed: bool,
    /// LMDB takes nothing more.
    broken: bool,
    /// The failure that was logged last, and when by [`clock::ticks`].
    said: Option<(String, Millis)>,
}

impl Progress {
    pub fn new(last_event: u64) -> Progress {
        Progress {
            state: Mutex::new(State {
                stats: Stats::default(),
                failing: None,
                refused: None,
                busy: None,
                last_event,
                appended: Appended::default(),
                closed: false,
                broken: false,
                said: None,
            }),
            changed: Event::new(),
        }
    }

    pub fn stats(&self) -> Stats {
        self.state().stats
    }

    pub fn condition(&self) -> Condition {
        let state = self.state();
        Condition {
            failing: state.failing.clone(),
            refused: state.refused.clone(),
            busy_for: state.busy.map(|since| since.elapsed()),
        }
    }

    pub fn last_event(&self) -> u64 {
        self.state().last_event
    }

    /// Waits until an event after number `seen` is committed; returns the last one's number.
    pub async fn event_after(&self, seen: u64) -> Result<u64, StoreError> {
        loop {
            let listener = self.changed.listen();
            {
                let state = self.state();
                if state.last_event > seen {
                    return Ok(state.last_event);
                }
                if state.closed {
                    return Err(StoreError::Closed);
                }
            }
            listener.await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        locked(&self.state)
    }

    fn count(&self, count: impl FnOnce(&mut Stats)) {
        count(&mut self.state().stats);
    }

    /// A job is about to be queued: from now on it is the writer's turn.
    pub fn expect_work(&self) {
        self.state().busy.get_or_insert_with(Instant::now);
    }

    /// The writer begins with the jobs that are there, or has none.
    fn set_busy(&self, busy: bool) {
        self.state().busy = busy.then(Instant::now);
    }

    /// Keeps in mind how a job or a commit ended, as far as the storage is to blame.
    fn note(&self, outcome: Result<(), &StoreError>) {
        let mut state = self.state();
        match outcome {
            Ok(()) => state.failing = None,
            Err(error) if error.is_storages_own() => {
                if state.failing.is_none() {
                    // They look once the lock is free.
                    self.changed.notify(usize::MAX);
                }
                let since = state.failing.as_ref().map(|failing| failing.since);
                let now = clock::now();
                state.failing = Some(Failing {
                    since: since.unwrap_or(now),
                    error: error.clone(),
                });
                state.refused = Some(Refusal {
                    at: now,
                    ticks: clock::ticks(),
                    error: error.clone(),
                });
            }
            Err(_) => {}
        }
    }

    /// How many events of each kind were committed.
    pub fn appended(&self) -> Appended {
        self.state().appended.clone()
    }

    fn set_event(&self, number: u64, appended: &Appended) {
        let mut state = self.state();
        state.last_event = number;
        state.appended.add(appended);
        drop(state);
        self.changed.notify(usize::MAX);
    }

    /// Whether that failure is worth a line: who looks whether a disk works again does so for hours.
    fn is_news(&self, error: &StoreError) -> bool {
        let (words, now) = (error.to_string(), clock::ticks());
        let mut state = self.state();
        let known = state.said.as_ref().is_some_and(|(said, at)| {
            *said == words && state.failing.is_some() && now.saturating_sub(*at) < SAID_AGAIN
        });
        if !known {
            state.said = Some((words, now));
        }
        !known
    }

    fn set_broken(&self) {
        self.state().broken = true;
        self.changed.notify(usize::MAX);
    }

    /// Resolves when a commit has failed, as long as none has succeeded since.
    pub async fn refused(&self) {
        loop {
            let listener = self.changed.listen();
            if self.state().failing.is_some() {
                return;
            }
            listener.await;
        }
    }

    /// Resolves when the database can only be opened anew.
    pub async fn broken(&self) {
        loop {
            let listener = self.changed.listen();
            if self.state().broken {
                return;
            }
            listener.await;
        }
    }

    fn set_closed(&self) {
        self.state().closed = true;
        self.changed.notify(usize::MAX);
    }
}

/// The thread's state.
pub struct Writer {
    pub environment: Arc<Environment>,
    pub progress: Arc<Progress>,
    pub jobs: async_channel::Receiver<Box<dyn Job>>,
    /// How much of the event log is kept.
    pub events: events::Run,
}

struct Member {
    job: Box<dyn Job>,
    /// Set once the job has failed for good; it does not run again.
    failed: Option<StoreError>,
}

enum Attempt {
    /// Stored, synced.
    Committed,
    /// Undone; the group can be tried again.
    Again,
    /// Undone; nothing of it can be stored.
    Failed(StoreError),
}

impl Writer {
    /// Works until the queue is closed and empty, then closes the environment.
    pub fn run(self) {
        if let Some(env) = self.environment.writer() {
            while let Ok(job) = self.jobs.recv_blocking() {
                self.progress.set_busy(true);
                self.group(&env, job);
                self.progress.set_busy(!self.jobs.is_empty());
            }
        }
        self.environment.shut();
        self.progress.set_closed();
    }

    fn group(&self, env: &heed::Env<heed::WithoutTls>, first: Box<dyn Job>) {
        let mut group = vec![Member {
            job: first,
            failed: None,
        }];
        let outcome = self.store(env, &mut group, true);
        if outcome.is_err() && group.len() > 1 {
            // Perhaps only the whole was too much: each gets its own chance.
            for member in group {
                let mut alone = vec![member];
                let outcome = self.store(env, &mut alone, false);
                self.answer(alone, outcome);
            }
        } else {
            self.answer(group, outcome);
        }
    }

    fn answer(&self, group: Vec<Member>, outcome: Result<(), StoreError>) {
        for Member { job, failed } in group {
            let outcome = match failed {
                Some(error) => Err(error),
                None => outcome.clone(),
            };
            self.progress.count(|stats| match outcome {
                Ok(()) => stats.jobs += 1,
                Err(_) => stats.failed += 1,
            });
            if let Err(error) = &outcome {
                self.progress.note(Err(error));
            }
            // Dropping the caller's values could panic, and must not end the thread.
            let _ = catch_unwind(AssertUnwindSafe(|| job.answer(outcome)));
        }
    }

    /// Commits what of the group does not fail. With `take_more`, jobs that wait come along.
    fn store(
        &self,
        env: &heed::Env<heed::WithoutTls>,
        group: &mut Vec<Member>,
        take_more: bool,
    ) -> Result<(), StoreError> {
        loop {
            match self.attempt(env, group, take_more) {
                Attempt::Committed => return Ok(()),
                Attempt::Again => self.progress.count(|stats| stats.reruns += 1),
                Attempt::Failed(error) => {
                    // LMDB reports it to the next transaction only.
                    let broken = matches!(error, StoreError::Broken)
                        || matches!(
                            env.read_txn().map_err(StoreError::from),
                            Err(StoreError::Broken)
                        );
                    if self.progress.is_news(&error) {
                        log::error!("storage: a commit of {} jobs failed: {error}", group.len());
                    }
                    if broken {
                        self.progress.set_broken();
                    }
                    return Err(error);
                }
            }
        }
    }

    fn attempt(
        &self,
        env: &heed::Env<heed::WithoutTls>,
        group: &mut Vec<Member>,
        take_more: bool,
    ) -> Attempt {
        let txn = match env.write_txn() {
            Ok(txn) => txn,
            Err(e) => return Attempt::Failed(e.into()),
        };
        let mut tx = WriteTx::new(txn, self.environment.tables());
        tx.events = self.events.bounds(clock::certain().is_some());
        let mut next = 0;
        loop {
            if next == group.len() {
                let is_full = group.len() >= GROUP_JOBS || tx.written >= GROUP_BYTES;
                if !take_more || is_full {
                    break;
                }
                match self.jobs.try_recv() {
                    Ok(job) => group.push(Member { job, failed: None }),
                    Err(_) => break,
                }
            }
            let member = &mut group[next];
            next += 1;
            if member.failed.is_some() {
                continue;
            }
            let before = tx.changes;
            let result = run(member.job.as_mut(), &mut tx);
            if tx.map_full() {
                drop(tx);
                if let Err(e) = self.grow() {
                    member.failed = Some(e);
                }
                return Attempt::Again;
            }
            // A broken transaction is useless even if the job made nothing of the error.
            let broken = tx.broken.take();
            let is_broken = broken.is_some();
            if let Some(error) = broken.or(result.err()) {
                member.failed = Some(error);
                if is_broken || tx.changes != before {
                    return Attempt::Again;
                }
            }
        }
        self.commit(tx)
    }

    fn commit(&self, mut tx: WriteTx<'_>) -> Attempt {
        if tx.changes == 0 {
            return Attempt::Committed;
        }
        let (last_event, written) = (tx.last_event, tx.written);
        let appended = std::mem::take(&mut tx.appended);
        match tx.txn.commit().map_err(StoreError::from) {
            Ok(()) => {
                self.progress.count(|stats| {
                    stats.commits += 1;
                    stats.written += written as u64;
                });
                self.progress.note(Ok(()));
                if let Some(number) = last_event {
                    self.progress.set_event(number, &appended);
                }
                Attempt::Committed
            }
            Err(StoreError::Full(Room::Map { .. })) => match self.grow() {
                Ok(()) => Attempt::Again,
                Err(e) => Attempt::Failed(e),
            },
            Err(e) => Attempt::Failed(e),
        }
    }

    fn grow(&self) -> Result<(), StoreError> {
        self.environment.grow()?;
        self.progress.count(|stats| stats.growths += 1);
        Ok(())
    }
}

fn run(job: &mut dyn Job, tx: &mut WriteTx<'_>) -> Result<(), StoreError> {
    catch_unwind(AssertUnwindSafe(|| job.run(tx)))
        .unwrap_or_else(|panic| Err(StoreError::Panicked(words(&*panic).into())))
}

fn words(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without words")
}
