//! The task that the client starts next, held back.
//!
//! When the client cannot decrypt a message it tells of it ([`UndecryptableMessage`]), and with the next
//! breath it starts a task that asks for the message again and then acknowledges it. It offers no way
//! to look at the message before that, or to stop it. So the listener says here what is to become of
//! the task that this very step of the client starts next, and the runtime, which is ours, gives it the
//! task: to run later, or never.
//!
//! A step is one poll of one task: what a later one starts is another matter, and never held back.
//!
//! [`UndecryptableMessage`]: whatsapp_rust::types::events::UndecryptableMessage

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::sync::locked;

/// A task that was not started yet. Dropping it is a way to end it.
pub type Job = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Makes of a task the one that is started in its place.
type Instead = Box<dyn FnOnce(Job) -> Job + Send>;

static STEPS: AtomicU64 = AtomicU64::new(1);

thread_local! {
    /// The step that this thread is in.
    static STEP: Cell<u64> = const { Cell::new(0) };
}

/// What is to become of one account's next task.
#[derive(Clone, Default)]
pub struct HoldBack(Arc<Mutex<Option<Held>>>);

struct Held {
    step: u64,
    instead: Instead,
}

impl HoldBack {
    /// What the present step starts next is `instead` of it.
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
