//! Storage: one LMDB environment in `<data>/db/`, the only truth of this program.
//!
//! - Reads are synchronous closures on the last commit: [`Store::read`]. They map pages, they do
//!   not sync, and they never wait for a writer.
//! - Writes are closures that one thread runs: [`Store::write`]. It commits them in groups; the
//!   future resolves when the job is on disk. So no `.await` can happen within a transaction, two
//!   write transactions can never wait for each other, and no sync runs on the event thread.
//! - The tables are typed functions, a file a group: [`accounts`], [`messages`], [`media`],
//!   [`outbox`], [`strangers`], [`idempotency`], [`events`], [`usernames`], [`webhooks`], [`dead_letters`],
//!   [`web_version`], and [`signal`], which holds the WhatsApp backend's rows as bytes. Reading
//!   functions take a [`ReadTx`], which a job gets by [`WriteTx::view`]; writing ones a
//!   [`WriteTx`], so several of them make one atomic step.
//!
//! Data of a system with the other word size are made this one's before LMDB sees them: `width`.
//!
//! Durability is LMDB's default: a commit returns after its sync, and a crash at any moment leaves
//! the last commit readable. This is the only folder that imports heed.

pub mod accounts;
pub mod blocklist;
pub mod dead_letters;
mod env;
mod error;
pub mod events;
pub mod groups;
pub mod idempotency;
pub mod key;
pub mod media;
pub mod messages;
pub mod outbox;
pub mod purge;
mod reader;
mod rows;
mod schema;
pub mod signal;
pub mod strangers;
mod tx;
pub mod usernames;
pub mod web_version;
pub mod webhooks;
mod width;
mod writer;

#[cfg(test)]
pub(crate) mod tests;

use std::future::Future;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

pub use env::Options;
pub use error::{LmdbError, Room, StoreError};
pub use key::Key;
pub use reader::Reader;
pub use schema::{VERSION, restamp};
pub use tx::{ReadTx, WriteTx};
pub use width::{Unconverted, convert};
pub use writer::{Condition, Failing, Job, Refusal, Stats};

use crate::clock::{self, Millis};
use crate::sync::{locked, within};
use env::Environment;
use writer::{Progress, QUEUE, Typed, Writer};

/// Makes sure that the data directory `path` exists and that no other process has it open, for as long as the
/// answer is kept.
///
/// # Errors
/// [`StoreError::Locked`], and the disk's.
pub fn hold(path: &Path) -> Result<std::fs::File, StoreError> {
    env::prepare_data_dir(path)
}

/// Bytes that [`probe`] writes: more than most messages need, because a small row that fits proves little.
const PROBE: usize = 256 << 10;

/// Writes a row without meaning, to find out whether there is room.
///
/// # Errors
/// The transaction's.
pub fn probe(tx: &mut WriteTx<'_>) -> Result<(), StoreError> {
    schema::PROBE.put(tx, (), &"\0".repeat(PROBE)).map(drop)
}

/// The writer's stack in bytes: jobs are shallow, and the address space of a 32-bit board small.
const WRITER_STACK: usize = 1 << 20;

/// A handle to the opened storage. Clones share it; it closes when the last one is dropped, or by
/// [`close`](Self::close).
#[derive(Clone)]
pub struct Store {
    environment: Arc<Environment>,
    progress: Arc<Progress>,
    jobs: async_channel::Sender<Box<dyn Job>>,
    /// Closed when the writer's thread has ended.
    ended: async_channel::Receiver<()>,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
    /// When the log was last read for chat states, by [`clock::ticks`]; 0 for never.
    typing_read: Arc<AtomicU64>,
}

/// How long chat states are recorded after a reader has asked for them.
const TYPING_READ: Millis = 10 * 60_000;

impl Store {
    /// Opens the data directory `path`, creating it (0700) and what is in it (0600) as needed.
    ///
    /// Blocks for as long as the disk takes, for upgrades of an older layout, and for the conversion
    /// of data of a system with the other word size.
    ///
    /// # Errors
    /// [`StoreError::Locked`] if another process has it open, [`StoreError::Newer`] if a later
    /// version wrote it, [`StoreError::OtherWidth`] if it cannot be converted, and whatever the disk
    /// says.
    pub fn open(path: &Path, options: Options) -> Result<Store, StoreError> {
        let environment = Arc::new(Environment::open(path, options)?);
        let last_event = environment.read(|tx| Ok(events::state(tx)?.last))?;
        let progress = Arc::new(Progress::new(last_event));
        let (jobs, queue) = async_channel::bounded(QUEUE);
        let (ending, ended) = async_channel::bounded::<()>(1);
        let writer = Writer {
            environment: Arc::clone(&environment),
            progress: Arc::clone(&progress),
            jobs: queue,
            events: events::Run {
                keep: options.events,
                opened: Instant::now(),
                last_before: last_event,
            },
        };
        let thread = thread::Builder::new()
            .name("storage".to_owned())
            .stack_size(WRITER_STACK)
            .spawn(move || {
                writer.run();
                drop(ending);
            })
            .map_err(|e| StoreError::io("start the storage thread for", path, e))?;
        Ok(Store {
            environment,
            progress,
            jobs,
            ended,
            thread: Arc::new(Mutex::new(Some(thread))),
            typing_read: Arc::default(),
        })
    }

    /// A reader of the log asks for chat states.
    pub fn note_typing_reader(&self) {
        let now = clock::ticks().max(1);
        self.typing_read.store(now, Ordering::Relaxed);
    }

    /// Whether a reader asked for chat states lately.
    pub fn is_typing_read(&self) -> bool {
        let at = self.typing_read.load(Ordering::Relaxed);
        at > 0 && clock::ticks().saturating_sub(at) < TYPING_READ
    }

    /// Runs `job` on the last commit, here and now. Keep it short: while it runs, pages that
    /// writers free cannot be used again.
    ///
    /// # Errors
    /// The job's own, and [`StoreError::Closed`].
    pub fn read<T>(
        &self,
        job: impl FnOnce(&ReadTx<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.environment.read(job)
    }

    /// Runs `job` on the storage thread; resolves when its result is durable.
    ///
    /// The job may run more than once, each time in a transaction that shows nothing of the
    /// earlier runs: after the map has grown, and after a neighbour in its group has failed. So it
    /// must not have effects elsewhere, nor use up what it captured. If it returns an error,
    /// nothing that it wrote is stored.
    ///
    /// Nothing happens before the first poll. A future that is dropped while it waits for a place
    /// in the queue does nothing; later the job runs all the same.
    ///
    /// # Errors
    /// The job's own; [`StoreError::Full`], [`StoreError::Io`], … if it cannot be stored;
    /// [`StoreError::Panicked`]; [`StoreError::Closed`].
    pub fn write<T, F>(
        &self,
        job: F,
    ) -> impl Future<Output = Result<T, StoreError>> + Send + use<T, F>
    where
        T: Send + 'static,
        F: FnMut(&mut WriteTx<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        let jobs = self.jobs.clone();
        let progress = Arc::clone(&self.progress);
        async move {
            let (reply, answer) = async_channel::bounded(1);
            let job = Box::new(Typed {
                job,
                value: None,
                reply,
            });
            progress.expect_work();
            jobs.send(job).await.map_err(|_| StoreError::Closed)?;
            drop(jobs);
            answer.recv().await.unwrap_or(Err(StoreError::Closed))
        }
    }

    /// Queues a job that hears of its outcome itself; resolves when it has its place in the queue.
    /// Jobs run in the order of their places.
    ///
    /// # Errors
    /// [`StoreError::Closed`].
    pub async fn submit(&self, job: Box<dyn Job>) -> Result<(), StoreError> {
        self.progress.expect_work();
        self.jobs.send(job).await.map_err(|_| StoreError::Closed)
    }

    /// The number of the last committed event; 0 before the first.
    pub fn last_event(&self) -> u64 {
        self.progress.last_event()
    }

    /// Waits until an event with a number after `seen` is committed, and returns the last one's.
    /// Resolves at once if there is one already, so no event is missed between two calls.
    ///
    /// # Errors
    /// [`StoreError::Closed`].
    pub fn events_committed(
        &self,
        seen: u64,
    ) -> impl Future<Output = Result<u64, StoreError>> + Send + use<> {
        let progress = Arc::clone(&self.progress);
        async move { progress.event_after(seen).await }
    }

    /// What the writer has done so far, and how full the map is.
    pub fn stats(&self) -> Stats {
        let (map_size, map_used) = self.environment.sizes();
        Stats {
            map_size,
            map_used,
            ..self.progress.stats()
        }
    }

    /// How many events of each kind were appended since the store was opened.
    pub fn appended(&self) -> events::Appended {
        self.progress.appended()
    }

    /// Frees what readers of other processes that died (a backup that was killed) hold on to: as long
    /// as they are there, no page that was freed since can be used again. Returns how many they were.
    ///
    /// # Errors
    /// LMDB's, and [`StoreError::Closed`].
    pub fn clear_stale_readers(&self) -> Result<usize, StoreError> {
        self.environment.clear_stale_readers()
    }

    /// The most bytes that the database can grow to.
    pub fn limit(&self) -> u64 {
        self.environment.limit()
    }

    /// Whether commits succeed, and how long the one under way takes. Looks at memory only.
    pub fn condition(&self) -> Condition {
        self.progress.condition()
    }

    /// Resolves when the disk has failed in a way after which the database can only be opened anew, by
    /// a new process.
    pub fn broken(&self) -> impl Future<Output = ()> + Send + use<> {
        let progress = Arc::clone(&self.progress);
        async move { progress.broken().await }
    }

    /// Resolves when nothing can be stored; at once if that is so.
    pub fn refused(&self) -> impl Future<Output = ()> + Send + use<> {
        let progress = Arc::clone(&self.progress);
        async move { progress.refused().await }
    }

    /// Takes no more jobs, stores those that are queued, and closes the environment for all
    /// handles. Closing a closed store is harmless.
    ///
    /// # Errors
    /// [`StoreError::Busy`] if that takes longer than `limit`; the thread then goes on.
    pub async fn close(&self, limit: Duration) -> Result<(), StoreError> {
        self.jobs.close();
        // Nothing is ever sent: the channel closes when the thread ends.
        let ended = within(limit, self.ended.recv()).await;
        ended.map(drop).ok_or(StoreError::Busy)?;
        let thread = locked(&self.thread).take();
        if let Some(thread) = thread {
            // It has ended but for returning; a panic of it was printed.
            let _ = thread.join();
        }
        Ok(())
    }
}
