//! Stores the progress of all hooks together, after a delay: one commit per delivery would wear out the
//! memory card. What a crash loses is delivered a second time, under the same id.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use async_channel::{Receiver, Sender};

use crate::runtime::Shutdown;
use crate::store::webhooks::{self, Progress};
use crate::store::{Store, StoreError};
use crate::sync::locked;

/// How long to wait after the storage failed.
const STORAGE_PAUSE: Duration = Duration::from_secs(5);

/// The progress that is not stored yet.
pub struct Marks {
    /// By hook id.
    waiting: Mutex<BTreeMap<String, Progress>>,
    news: Sender<()>,
    arrived: Receiver<()>,
}

impl Marks {
    pub fn new() -> Marks {
        let (news, arrived) = async_channel::bounded(1);
        Marks {
            waiting: Mutex::default(),
            news,
            arrived,
        }
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<String, Progress>> {
        locked(&self.waiting)
    }

    /// Queues the progress of a hook.
    pub fn put(&self, hook_id: &str, progress: Progress) {
        self.waiting().insert(hook_id.to_owned(), progress);
        // A full channel has woken `run` already.
        let _ = self.news.try_send(());
    }

    /// Drops the queued progress of a hook.
    pub fn drop_of(&self, hook_id: &str) {
        self.waiting().remove(hook_id);
    }

    /// Stores queued progress, `delay` after the first of it, until `stop` is triggered.
    pub async fn run(&self, store: &Store, delay: Duration, stop: &Shutdown) {
        loop {
            let due = async {
                let _ = self.arrived.recv().await;
                smol::Timer::after(delay).await;
            };
            if stop.run_until_triggered(due).await.is_none() {
                return;
            }
            match self.flush(store).await {
                Ok(()) => {}
                Err(StoreError::Closed) => return,
                Err(error) => {
                    log::error!("webhooks: {error}");
                    smol::Timer::after(STORAGE_PAUSE).await;
                    let _ = self.news.try_send(());
                }
            }
        }
    }

    /// Stores all queued progress.
    ///
    /// # Errors
    /// If it cannot be stored; it stays queued.
    pub async fn flush(&self, store: &Store) -> Result<(), StoreError> {
        let mut taken = Taken {
            marks: self,
            progress: std::mem::take(&mut *self.waiting()),
        };
        if taken.progress.is_empty() {
            return Ok(());
        }
        let job = taken.progress.clone();
        let stored = store
            .write(move |tx| {
                for (id, progress) in &job {
                    webhooks::save(tx, id, progress)?;
                }
                Ok(())
            })
            .await;
        if stored.is_ok() {
            taken.progress.clear();
        }
        stored
    }
}

/// Progress that is being stored; queued again if this is dropped before that.
struct Taken<'a> {
    marks: &'a Marks,
    progress: BTreeMap<String, Progress>,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let mut waiting = self.marks.waiting();
        for (id, progress) in std::mem::take(&mut self.progress) {
            waiting.entry(id).or_insert(progress);
        }
    }
}
