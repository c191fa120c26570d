//! How far the hooks are, stored a moment later and for all hooks at once: a commit for each delivery
//! would wear the memory card out. What a crash loses of it is delivered a second time, with the same
//! id.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use async_channel::{Receiver, Sender};
use futures_lite::FutureExt;

use crate::store::webhooks::{self, Progress};
use crate::store::{Store, StoreError};
use crate::sync::locked;

/// How long to wait after the storage failed.
const STORAGE_PAUSE: Duration = Duration::from_secs(5);

/// What waits to be stored.
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

    /// Has it stored soon.
    pub fn put(&self, hook_id: &str, progress: Progress) {
        self.waiting().insert(hook_id.to_owned(), progress);
        // If the channel is full, it is known already.
        let _ = self.news.try_send(());
    }

    /// What waits for this hook is out of date.
    pub fn drop_of(&self, hook_id: &str) {
        self.waiting().remove(hook_id);
    }

    /// Stores what comes, `delay` after the first of it, until `stopping` is closed.
    pub async fn run(&self, store: &Store, delay: Duration, stopping: &Receiver<()>) {
        loop {
            let stopped = async {
                let _ = stopping.recv().await;
                true
            };
            let due = async {
                let _ = self.arrived.recv().await;
                smol::Timer::after(delay).await;
                false
            };
            if stopped.or(due).await {
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

    /// Stores all that waits.
    ///
    /// # Errors
    /// If it cannot be stored; it goes on waiting.
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

/// What is being stored; goes on waiting if this is dropped before it is.
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
