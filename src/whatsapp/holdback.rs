//! Replaces the task that the client starts next.
//!
//! When the client cannot decrypt a message it sends an event ([`UndecryptableMessage`]), and then starts a task
//! that asks for the message again and acknowledges it. It offers no hook before that task. So the event handler
//! leaves a replacement here, and the runtime, which is ours, uses it for the task that the client starts in
//! the same step: to run it later, or never.
//!
//! A step is one poll of one task; tasks that later steps start are not replaced.
//!
//! [`UndecryptableMessage`]: whatsapp_rust::types::events::UndecryptableMessage

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::sync::locked;

/// A task that was not started yet; dropping it cancels it.
pub type Job = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Makes of a task the one that is started in its place.
type Instead = Box<dyn FnOnce(Job) -> Job + Send>;

static STEPS: AtomicU64 = AtomicU64::new(1);

thread_local! {
    /// The step that this thread is in.
    static STEP: Cell<u64> = const { Cell::new(0) };
}

/// The replacement of one account's next task.
#[derive(Clone, Default)]
pub struct HoldBack(Arc<Mutex<Option<Held>>>);

struct Held {
    step: u64,
    instead: Instead,
}

impl HoldBack {
    /// Replaces the next task of the present step by `instead` of it.
    pub fn next(&self, instead: impl FnOnce(Job) -> Job + Send + 'static) {
        *self.lock() = Some(Held {
            step: STEP.get(),
            instead: Box::new(instead),
        });
    }

    /// The task to be started for one that the client starts.
    pub fn pass(&self, job: Job) -> Job {
        let held = self.lock().take();
        match held {
            Some(held) if held.step == STEP.get() => (held.instead)(job),
            Some(_) | None => job,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Held>> {
        locked(&self.0)
    }
}

/// The step that this thread is in.
pub fn this_step() -> u64 {
    STEP.get()
}

/// Begins this thread's next step, and returns it.
pub fn next_step() -> u64 {
    let step = STEPS.fetch_add(1, Ordering::Relaxed);
    STEP.set(step);
    step
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;

    fn job(ran: &Arc<AtomicBool>) -> Job {
        let ran = Arc::clone(ran);
        Box::pin(async move { ran.store(true, Ordering::Relaxed) })
    }

    fn nothing(job: Job) -> Job {
        drop(job);
        Box::pin(std::future::ready(()))
    }

    #[test]
    fn the_next_task_of_the_same_step_is_held_back_and_no_other() {
        let hold = HoldBack::default();
        let [first, second, late] = std::array::from_fn(|_| Arc::new(AtomicBool::new(false)));
        let (its_hold, jobs) = (hold.clone(), [job(&first), job(&second), job(&late)]);
        let work = async move {
            let [first, second, late] = jobs;
            its_hold.next(nothing);
            its_hold.pass(first).await;
            its_hold.pass(second).await;
            its_hold.next(nothing);
            futures_lite::future::yield_now().await;
            its_hold.pass(late).await;
        };
        let mut work: Job = Box::pin(work);
        futures_lite::future::block_on(std::future::poll_fn(|cx| {
            next_step();
            work.as_mut().poll(cx)
        }));
        assert!(!first.load(Ordering::Relaxed), "held back, and dropped");
        assert!(second.load(Ordering::Relaxed), "it counts for one");
        assert!(late.load(Ordering::Relaxed), "and in its own step");
    }
}
