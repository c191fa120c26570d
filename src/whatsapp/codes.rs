//! Ends the client's task that changes the QR codes.
//!
//! It shows the codes of a connection one after the other, and closes the connection behind the last one, some
//! 160 s after the first. WhatsApp may have asked for a passkey by then, whose challenge lives on for minutes on that very
//! connection; the client only spares it while a phone code is outstanding. The task has no switch. But it calls the event
//! handler for each code: the step in which that happens is a step of this task, and the
//! runtime, which is ours, ends it there.

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;

use super::holdback::{Job, next_step, this_step};

/// The codes of one session's connection.
#[derive(Clone, Default)]
pub struct Codes(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// The step in which a code was shown last; 0 before that.
    shown: AtomicU64,
    over: AtomicBool,
}

impl Codes {
    /// The present step has shown a code.
    pub fn shown(&self) {
        self.0.shown.store(this_step(), Ordering::Relaxed);
    }

    /// There are no more codes on this connection: their task takes no further step.
    pub fn end(&self) {
        self.0.over.store(true, Ordering::Relaxed);
    }

    /// A new connection begins, with codes of its own.
    pub fn begin(&self) {
        self.0.over.store(false, Ordering::Relaxed);
    }

    /// Whether that step, the latest of the task that asks, has shown a code.
    fn shown_in(&self, step: u64) -> bool {
        self.0.shown.load(Ordering::Relaxed) == step
    }

    fn are_over(&self) -> bool {
        self.0.over.load(Ordering::Relaxed)
    }
}

/// The task, each poll of which is a step. Where it is the one that shows QR codes, it ends with them.
pub fn in_steps(mut job: Job, codes: Codes) -> impl Future<Output = ()> + Send {
    let mut shows_codes = false;
    poll_fn(move |cx| {
        if shows_codes && codes.are_over() {
            return Poll::Ready(());
        }
        let step = next_step();
        let polled = job.as_mut().poll(cx);
        shows_codes = shows_codes || codes.shown_in(step);
        polled
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use futures_lite::future::{block_on, yield_now};

    #[test]
    fn the_task_that_shows_codes_ends_and_no_other() {
        let codes = Codes::default();
        let steps = Arc::new(Mutex::new(Vec::new()));
        let (its_codes, its_steps) = (codes.clone(), Arc::clone(&steps));
        let showing = async move {
            for code in 0..5 {
                its_codes.shown();
                its_steps.lock().expect("steps").push(code);
                if code == 2 {
                    // As when a passkey is asked for meanwhile.
                    its_codes.end();
                }
                yield_now().await;
            }
        };
        block_on(in_steps(Box::pin(showing), codes.clone()));
        assert_eq!(*steps.lock().expect("steps"), [0, 1, 2]);

        let (done, its_done) = (Arc::new(AtomicBool::new(false)), Arc::clone(&codes.0));
        let seen = Arc::clone(&done);
        let other = async move {
            yield_now().await;
            assert!(its_done.over.load(Ordering::Relaxed));
            yield_now().await;
            seen.store(true, Ordering::Relaxed);
        };
        block_on(in_steps(Box::pin(other), codes.clone()));
        assert!(done.load(Ordering::Relaxed), "it has shown no code");

        codes.begin();
        assert!(!codes.are_over());
    }
}
