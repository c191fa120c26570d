//! wacore's runtime over the one executor.
//!
//! A task that panics is logged and ends; the executor's thread goes on, and the hook of
//! [`SmolRuntime::on_panic`] is called.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_lite::{FutureExt, future};
use smol::lock::Semaphore;
use smol::{Executor, Task};

use super::arrival;
use super::codes::{Codes, in_steps};
use super::holdback::{HoldBack, Job};
use crate::clock;
use crate::runtime::Shutdown;
use crate::runtime::tasks::{self, Kind};
use whatsapp_rust::wacore::runtime::{AbortHandle, Runtime};

/// Blocking jobs (making prekeys, key derivation, unpacking history) under way at the same time, over
/// all accounts. The pool behind [`smol::unblock`] starts a thread for each job that finds none idle,
/// up to 500, and ends one after half a second of idleness; this keeps it small. Media hold their
/// place for as long as they take to move, so there are some beyond theirs: for what is sent, and for what the
/// clients fetch for themselves (history, app state).
static BLOCKING: Semaphore = Semaphore::new(2 + UPLOADS + OWN_DOWNLOADS);

/// Files under way to WhatsApp at the same time, over all accounts.
pub const UPLOADS: usize = 4;
const OWN_DOWNLOADS: usize = 4;

type PanicHook = Arc<dyn Fn() + Send + Sync>;

/// Runs one account's tasks.
#[derive(Clone)]
pub struct SmolRuntime {
    executor: Arc<Executor<'static>>,
    /// The account, for the log.
    name: Arc<str>,
    on_panic: Option<PanicHook>,
    stop: Option<Shutdown>,
    hold: HoldBack,
    codes: Codes,
}

impl SmolRuntime {
    /// Tasks run on `executor`; `name` is the account's in the log.
    pub fn new(executor: Arc<Executor<'static>>, name: impl Into<Arc<str>>) -> SmolRuntime {
        SmolRuntime {
            executor,
            name: name.into(),
            on_panic: None,
            stop: None,
            hold: HoldBack::default(),
            codes: Codes::default(),
        }
    }

    /// Calls `hook` when a task has panicked, so that the session restarts. It must neither block nor panic.
    pub fn on_panic(mut self, hook: impl Fn() + Send + Sync + 'static) -> SmolRuntime {
        self.on_panic = Some(Arc::new(hook));
        self
    }

    /// Ends every task when `stop` is triggered.
    pub fn until(mut self, stop: Shutdown) -> SmolRuntime {
        self.stop = Some(stop);
        self
    }

    /// Gives `hold` the tasks that it asks for.
    pub fn holding_back(mut self, hold: HoldBack) -> SmolRuntime {
        self.hold = hold;
        self
    }

    /// Ends the task that shows QR codes when `codes` are over.
    pub fn showing(mut self, codes: Codes) -> SmolRuntime {
        self.codes = codes;
        self
    }

    fn start(&self, job: Job) -> Task<Option<()>> {
        let job = in_steps(self.hold.pass(job), self.codes.clone());
        let name = Arc::clone(&self.name);
        let on_panic = self.on_panic.clone();
        let stopped = self.stop.as_ref().map(Shutdown::wait);
        let job: Job = match stopped {
            // The stop is polled first: after it the task takes no further step.
            Some(stopped) => Box::pin(stopped.or(job)),
            None => Box::pin(job),
        };
        tasks::own(&self.executor, async move {
            let outcome = tasks::caught(Kind::Client, &name, job).await;
            if let (None, Some(on_panic)) = (outcome, on_panic) {
                on_panic();
            }
            outcome
        })
    }
}

/// A smol task is cancelled when it is dropped, but `AbortHandle::detach` drops what it holds and
/// means the task to live. So dropping this lets the task go, and only `abort` cancels it.
struct DetachOnDrop(Option<Task<Option<()>>>);

impl DetachOnDrop {
    fn abort(mut self) {
        drop(self.0.take());
    }
}

impl Drop for DetachOnDrop {
    fn drop(&mut self) {
        if let Some(task) = self.0.take() {
            task.detach();
        }
    }
}

#[async_trait]
impl Runtime for SmolRuntime {
    fn spawn(&self, job: Job) -> AbortHandle {
        let task = DetachOnDrop(Some(self.start(job)));
        AbortHandle::new(move || task.abort())
    }

    fn spawn_detached(&self, job: Job) {
        self.start(job).detach();
    }

    fn sleep(&self, duration: Duration) -> Job {
        Box::pin(clock::sleep_on_line(arrival::slept(duration)))
    }

    fn spawn_blocking(&self, job: Box<dyn FnOnce() + Send>) -> Job {
        let name = self.name.clone();
        let on_panic = self.on_panic.clone();
        Box::pin(async move {
            let permit = BLOCKING.acquire().await;
            // The permit goes with the job: one that runs already runs on when its waiter is gone.
            let job = smol::unblock(move || {
                let _permit = permit;
                job();
            });
            let outcome = tasks::caught(Kind::Client, &name, job).await;
            if let (None, Some(on_panic)) = (outcome, on_panic) {
                on_panic();
            }
        })
    }

    fn yield_now(&self) -> Option<Job> {
        Some(Box::pin(future::yield_now()))
    }

    /// After every item: there is one thread for all accounts.
    fn yield_frequency(&self) -> u32 {
        1
    }
}

#[cfg(test)]
mod tests;
