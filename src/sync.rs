//! Locks that survive a panic, and a time limit for a future.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

/// Locks `mutex`, also after a panic under the lock: the server catches panics and goes on, so each
/// critical section leaves its data consistent.
pub fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pin_project_lite::pin_project! {
    /// See [`within`].
    pub struct Within<F> {
        #[pin]
        future: F,
        timer: smol::Timer,
    }
}

/// The output of `future`, or `None` if it takes longer than `limit` from now on. Polls `future` first:
/// one that is ready counts, however late the executor polls it.
///
/// The limit is real time; [`clock::sleep`](crate::clock::sleep) is for what tests skip.
pub fn within<F: Future>(limit: Duration, future: F) -> Within<F> {
    Within {
        future,
        timer: smol::Timer::after(limit),
    }
}

// Not an async function: that would hold `future` twice, as its argument and where it awaits it.
impl<F: Future> Future for Within<F> {
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        match this.future.poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => Pin::new(this.timer).poll(cx).map(|_| None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_poisoned_lock_is_locked() {
        let mutex = Mutex::new(1);
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _guard = mutex.lock();
            panic!("under the lock");
        }));
        assert!(panicked.is_err() && mutex.is_poisoned());
        *locked(&mutex) += 1;
        assert_eq!(*locked(&mutex), 2);
    }

    #[test]
    fn a_future_that_is_ready_wins_and_one_that_hangs_ends_at_the_limit() {
        let ready = within(Duration::ZERO, async { 7 });
        assert_eq!(smol::block_on(ready), Some(7));
        let hangs = within(Duration::from_millis(1), std::future::pending::<()>());
        assert_eq!(smol::block_on(hangs), None);
    }
}
