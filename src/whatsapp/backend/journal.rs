//! What a session has written and is not on disk yet.
//!
//! A commit costs the disk's sync, and a client that waits for one before it looks at the next
//! message gets no further than the disk. So what a session writes on its hot path (ratchets,
//! messages that came in) is kept here first, goes to disk together, and nobody waits but those who
//! must not be early: **nothing leaves for WhatsApp before everything that was written until then is
//! on disk** ([`Journal::before_sending`]). Neither an acknowledgement nor a ciphertext can so be
//! ahead of what a crash leaves.
//!
//! What is taken to disk at the same time is one transaction. A ratchet that has moved past a message
//! is therefore never stored without the message, as long as the message came here first.
//!
//! Its owner, the session, calls [`Journal::wanted`] and [`Journal::settle`] in turns. When a
//! transaction fails, the journal fails for good: what comes later must not be stored without it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use event_listener::Event;

use super::expiring::{PENDING, Stored};
use crate::store::{Job, Key, ReadTx, Store, StoreError, WriteTx, signal as rows};
use crate::sync::locked;

/// Messages that wait for the disk; who brings more waits for it, too.
const MESSAGES: usize = 512;

/// Bytes of them.
const MESSAGE_BYTES: usize = 1 << 20;

/// Notifications, with the messages, that wait for the disk, and their bytes; past it the session begins anew, and gets
/// again what it has not acknowledged.
const NOTES: usize = 32 * MESSAGES;
const NOTE_BYTES: usize = 8 * MESSAGE_BYTES;

/// Rows that may wait for the disk; past it, writers wait until they are stored.
const ROWS: usize = 4096;

/// A change that is not just a row, in the order of arrival. May run more than once, as jobs of the
/// storage do.
pub type Change = Box<dyn FnMut(&mut WriteTx<'_>) -> Stored<()> + Send>;

/// Messages that came in together.
pub struct Arrivals {
    pub store: Change,
    /// Called on the storage's thread once they are on disk.
    pub stored: Box<dyn FnOnce() + Send>,
    /// How many they are, and their bytes.
    pub count: usize,
    pub bytes: usize,
}

/// Called when a write has failed.
pub type FailureHook = Arc<dyn Fn(&StoreError) + Send + Sync>;

/// Rows by their key; `None` deletes.
type Rows = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

pub struct Journal {
    store: Store,
    account: u32,
    on_failure: Option<FailureHook>,
    state: Mutex<State>,
    /// Notified when something was queued.
    queued: Event,
    /// Notified when a round has ended.
    settled: Event,
}

#[derive(Default)]
struct State {
    /// Of the `signal` table.
    rows: Rows,
    /// Messages that wait for their hook, by id, with the time in front.
    pending: Rows,
    changes: Vec<Change>,
    arrivals: Vec<Arrivals>,
    /// What is being written: still to be seen by readers.
    writing: Option<Arc<Writing>>,
    /// A round stands in the storage's queue, or runs.
    scheduled: bool,
    /// Counts what was queued; of it, what has been taken to be written, and what is on disk.
    last: u64,
    taken: u64,
    durable: u64,
    /// Messages between arrival and disk, and their bytes.
    messages: usize,
    message_bytes: usize,
    /// The failure hook was called.
    is_failing: bool,
    failed: Option<StoreError>,
}

struct Writing {
    rows: Rows,
    pending: Rows,
}

impl Journal {
    pub fn new(store: Store, account: u32, on_failure: Option<FailureHook>) -> Arc<Journal> {
        Arc::new(Journal {
            store,
            account,
            on_failure,
            state: Mutex::default(),
            queued: Event::new(),
            settled: Event::new(),
        })
    }

    /// Why nothing can be written any more.
    pub fn failure(&self) -> Option<StoreError> {
        self.lock().failed.clone()
    }

    /// Takes nothing more, and nothing more from here to the disk.
    pub fn close(&self) {
        self.fail(&StoreError::Closed);
    }

    /// Ends it because something could not be written.
    pub fn fail(&self, error: &StoreError) {
        let first = !std::mem::replace(&mut self.lock().is_failing, true);
        // Before anybody else can find out.
        if first
            && !matches!(error, StoreError::Closed)
            && let Some(hook) = &self.on_failure
        {
            hook(error);
        }
        self.lock().failed.get_or_insert_with(|| error.clone());
        self.queued.notify(usize::MAX);
        self.settled.notify(usize::MAX);
    }

    /// Queues rows of the `signal` table. Waits only if too many wait already.
    ///
    /// # Errors
    /// When the journal has failed.
    pub async fn put(
        self: &Arc<Self>,
        rows: impl IntoIterator<Item = (Vec<u8>, Option<Vec<u8>>)>,
    ) -> Stored<()> {
        let full = self.queue(|state| {
            state.rows.extend(rows);
            state.rows.len() > ROWS
        })?;
        if full { self.settle().await } else { Ok(()) }
    }

    /// Queues copies of messages that wait for their hook (id, time, message), or that they need
    /// not wait any more (id, `None`).
    ///
    /// # Errors
    /// When the journal has failed.
    pub fn put_pending(
        &self,
        rows: impl IntoIterator<Item = (Vec<u8>, Option<(i64, Vec<u8>)>)>,
    ) -> Stored<()> {
        self.queue(|state| {
            for (id, row) in rows {
                let row = row.map(|(at, message)| {
                    let mut row = at.to_be_bytes().to_vec();
                    row.extend_from_slice(&message);
                    row
                });
                state.pending.insert(id, row);
            }
        })
    }

    /// Queues any other change.
    ///
    /// # Errors
    /// When the journal has failed.
    pub fn add(&self, change: Change) -> Stored<()> {
        self.queue(|state| state.changes.push(change))
    }

    /// Queues messages that came in, when there is room.
    ///
    /// # Errors
    /// When the journal has failed.
    pub async fn accept(&self, arrivals: Arrivals) -> Stored<()> {
        let mut arrivals = Some(arrivals);
        loop {
            let listener = self.settled.listen();
            let accepted = self.queue(|state| {
                let room = state.messages < MESSAGES && state.message_bytes < MESSAGE_BYTES;
                if room && let Some(arrivals) = arrivals.take() {
                    state.messages += arrivals.count;
                    state.message_bytes += arrivals.bytes;
                    state.arrivals.push(arrivals);
                }
                room
            })?;
            if accepted {
                return Ok(());
            }
            listener.await;
        }
    }

    /// Queues what came in outside of messages; false if too much waits already. The client does not wait for it, and
    /// acknowledges it once it is on disk.
    ///
    /// # Errors
    /// When the journal has failed.
    pub fn note(&self, arrivals: Arrivals) -> Stored<bool> {
        let mut arrivals = Some(arrivals);
        self.queue(|state| {
            let room = state.messages < NOTES && state.message_bytes < NOTE_BYTES;
            if room && let Some(arrivals) = arrivals.take() {
                state.messages += arrivals.count;
                state.message_bytes += arrivals.bytes;
                state.arrivals.push(arrivals);
            }
            room
        })
    }

    /// What the journal knows of a row of the `signal` table: `Some(None)` if it is deleted.
    pub fn row(&self, key: &[u8]) -> Option<Option<Vec<u8>>> {
        let state = self.lock();
        let writing = state.writing.as_ref().map(|w| &w.rows);
        let known = state.rows.get(key).or_else(|| writing?.get(key));
        known.cloned()
    }

    /// What the journal knows of a message that waits for its hook, as [`Journal::row`].
    pub fn pending(&self, id: &[u8]) -> Option<Option<Vec<u8>>> {
        let state = self.lock();
        let writing = state.writing.as_ref().map(|w| &w.pending);
        let known = state.pending.get(id).or_else(|| writing?.get(id));
        known.map(|row| {
            row.as_deref()
                .and_then(|row| row.get(8..).map(<[u8]>::to_vec))
        })
    }

    /// Whether there is a row whose key starts with `prefix`, on disk or on its way.
    ///
    /// # Errors
    /// The storage's.
    pub fn has_prefix(&self, tx: &ReadTx<'_>, prefix: &Key) -> Stored<bool> {
        let state = self.lock();
        let writing = state.writing.as_ref().map(|w| &w.rows);
        let known = |key: &[u8]| state.rows.get(key).or_else(|| writing?.get(key));
        let from = prefix.to_vec();
        for rows in [Some(&state.rows), writing].into_iter().flatten() {
            let found = rows
                .range(from.clone()..)
                .take_while(|(key, _)| key.starts_with(prefix))
                .any(|(key, _)| known(key).is_some_and(Option::is_some));
            if found {
                return Ok(true);
            }
        }
        for row in rows::scan(tx, prefix)? {
            if known(row?.0).is_none_or(Option::is_some) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Waits until there is something to write; whether messages are among it.
    ///
    /// # Errors
    /// When the journal has failed.
    pub async fn wanted(&self) -> Stored<bool> {
        loop {
            let listener = self.queued.listen();
            {
                let state = self.lock();
                if let Some(error) = &state.failed {
                    return Err(error.clone());
                }
                if state.last > state.taken {
                    return Ok(!state.arrivals.is_empty());
                }
            }
            listener.await;
        }
    }

    /// Writes what is queued now and waits until it is on disk.
    ///
    /// # Errors
    /// When it could not be written, or something before it.
    pub async fn settle(self: &Arc<Self>) -> Stored<()> {
        self.wait(|_| true).await
    }

    /// Waits until what is queued now is on disk. Messages are left to the session, which knows
    /// whether more are coming; rows are written at once.
    ///
    /// # Errors
    /// When the journal has failed: nothing may be sent.
    pub async fn before_sending(self: &Arc<Self>) -> Stored<()> {
        self.wait(|state| state.arrivals.is_empty()).await
    }

    /// Waits until what is queued now is on disk, and leaves it to others to bring it there.
    ///
    /// # Errors
    /// When the journal has failed.
    pub async fn on_disk(self: &Arc<Self>) -> Stored<()> {
        self.wait(|_| false).await
    }

    async fn wait(self: &Arc<Self>, may_launch: impl Fn(&State) -> bool) -> Stored<()> {
        let target = self.lock().last;
        loop {
            let listener = self.settled.listen();
            let launch = {
                let mut state = self.lock();
                if let Some(error) = &state.failed {
                    return Err(error.clone());
                }
                if state.durable >= target {
                    return Ok(());
                }
                let launch = !state.scheduled && may_launch(&state);
                state.scheduled |= launch;
                launch
            };
            if launch {
                let reset = Reset(Some(self));
                self.store
                    .submit(Box::new(Round {
                        journal: Arc::clone(self),
                        arrivals: Vec::new(),
                        changes: Vec::new(),
                        writing: None,
                        upto: 0,
                    }))
                    .await?;
                reset.keep();
            }
            listener.await;
        }
    }

    fn queue<T>(&self, change: impl FnOnce(&mut State) -> T) -> Stored<T> {
        let done = {
            let mut state = self.lock();
            if let Some(error) = &state.failed {
                return Err(error.clone());
            }
            state.last += 1;
            change(&mut state)
        };
        self.queued.notify(usize::MAX);
        Ok(done)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        locked(&self.state)
    }
}

/// Takes back that a round stands in the queue, unless it got there.
struct Reset<'a>(Option<&'a Journal>);

impl Reset<'_> {
    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Reset<'_> {
    fn drop(&mut self) {
        if let Some(journal) = self.0 {
            journal.lock().scheduled = false;
            journal.settled.notify(usize::MAX);
        }
    }
}

/// One transaction with everything that is queued when its turn comes.
struct Round {
    journal: Arc<Journal>,
    arrivals: Vec<Arrivals>,
    changes: Vec<Change>,
    /// `None` until its turn came.
    writing: Option<Arc<Writing>>,
    upto: u64,
}

impl Round {
    /// The content; the same one when the transaction runs again.
    fn take(&mut self) -> Stored<Arc<Writing>> {
        if let Some(writing) = &self.writing {
            return Ok(Arc::clone(writing));
        }
        let mut state = self.journal.lock();
        if let Some(error) = &state.failed {
            return Err(error.clone());
        }
        let writing = Arc::new(Writing {
            rows: std::mem::take(&mut state.rows),
            pending: std::mem::take(&mut state.pending),
        });
        self.changes = std::mem::take(&mut state.changes);
        self.arrivals = std::mem::take(&mut state.arrivals);
        self.upto = state.last;
        state.taken = state.last;
        state.writing = Some(Arc::clone(&writing));
        self.writing = Some(Arc::clone(&writing));
        Ok(writing)
    }
}

impl Job for Round {
    fn run(&mut self, tx: &mut WriteTx<'_>) -> Stored<()> {
        let writing = self.take()?;
        let account = self.journal.account;
        for (key, value) in &writing.rows {
            match value {
                Some(value) => rows::put(tx, key, value)?,
                None => drop(rows::delete(tx, key)?),
            }
        }
        for (id, row) in &writing.pending {
            match row.as_deref().and_then(<[u8]>::split_first_chunk) {
                Some((at, message)) => {
                    PENDING.put(tx, account, id, i64::from_be_bytes(*at), message)?;
                }
                None => drop(PENDING.take(tx, account, id)?),
            }
        }
        for change in &mut self.changes {
            change(tx)?;
        }
        for arrivals in &mut self.arrivals {
            (arrivals.store)(tx)?;
        }
        Ok(())
    }

    fn answer(self: Box<Self>, outcome: Stored<()>) {
        let Round {
            journal,
            arrivals,
            writing: _,
            changes: _,
            upto,
        } = *self;
        if let Err(error) = outcome {
            // What was being written stays visible: readers see what the session believes.
            journal.fail(&error);
            return;
        }
        {
            let mut state = journal.lock();
            state.writing = None;
            state.scheduled = false;
            state.durable = state.durable.max(upto);
            for batch in &arrivals {
                state.messages = state.messages.saturating_sub(batch.count);
                state.message_bytes = state.message_bytes.saturating_sub(batch.bytes);
            }
        }
        for batch in arrivals {
            (batch.stored)();
        }
        journal.settled.notify(usize::MAX);
    }
}
