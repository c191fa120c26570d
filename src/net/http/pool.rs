//! Connections kept for the next request, bounded by number and age.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_lite::future;
use futures_lite::io::{AsyncRead, AsyncReadExt};
use smol::{Executor, Timer};

use super::super::dial::{Stream, Target};
use crate::runtime::tasks::{self, Kind};
use crate::sync::locked;

/// Idle connections.
#[derive(Debug)]
pub(super) struct Pool {
    max_idle: usize,
    idle_timeout: Duration,
    executor: Arc<Executor<'static>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The oldest first.
    idle: Vec<Idle>,
    /// The task that closes old connections runs.
    swept: bool,
}

#[derive(Debug)]
struct Idle {
    target: Target,
    stream: Stream,
    since: Instant,
}

impl Pool {
    pub(super) fn new(
        max_idle: usize,
        idle_timeout: Duration,
        executor: Arc<Executor<'static>>,
    ) -> Arc<Pool> {
        Arc::new(Pool {
            max_idle,
            idle_timeout,
            executor,
            state: Mutex::default(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        locked(&self.state)
    }

    /// The most recently used live connection to `target`.
    pub(super) async fn take(&self, target: &Target) -> Option<Stream> {
        loop {
            let mut idle = {
                let mut state = self.state();
                let at = state.idle.iter().rposition(|idle| idle.target == *target)?;
                state.idle.remove(at)
            };
            if idle.since.elapsed() < self.idle_timeout && is_quiet(&mut idle.stream).await {
                return Some(idle.stream);
            }
        }
    }

    /// Keeps a connection; a full pool closes its oldest.
    pub(super) fn put(self: &Arc<Self>, target: Target, stream: Stream) {
        if self.max_idle == 0 {
            return;
        }
        let mut state = self.state();
        if state.idle.len() >= self.max_idle {
            state.idle.remove(0);
        }
        state.idle.push(Idle {
            target,
            stream,
            since: Instant::now(),
        });
        if !state.swept {
            state.swept = true;
            let (pool, every) = (Arc::downgrade(self), self.idle_timeout);
            let name = "the idle connections";
            tasks::keep(&self.executor, Kind::Pool, name, move || {
                sweep(pool.clone(), every)
            })
            .detach();
        }
    }

    /// Closes old connections; returns whether any is left.
    fn prune(&self) -> bool {
        let mut state = self.state();
        state
            .idle
            .retain(|idle| idle.since.elapsed() < self.idle_timeout);
        state.swept = !state.idle.is_empty();
        state.swept
    }
}

async fn sweep(pool: Weak<Pool>, every: Duration) {
    loop {
        Timer::after(every).await;
        match pool.upgrade() {
            Some(pool) if pool.prune() => {}
            _ => return,
        }
    }
}

/// Whether a connection has nothing to read: neither a close nor unexpected bytes.
async fn is_quiet(stream: &mut Stream) -> bool {
    let mut byte = [0];
    let read = future::poll_once(stream.read(&mut byte)).await;
    read.is_none()
}

/// A connection held by a body, which reads it, and by a lease, which returns it to the pool.
#[derive(Debug, Clone)]
pub(super) struct Shared(Arc<Held>);

#[derive(Debug)]
struct Held {
    stream: Mutex<Stream>,
    is_spoilt: AtomicBool,
}

impl Shared {
    pub(super) fn new(stream: Stream) -> Shared {
        Shared(Arc::new(Held {
            stream: Mutex::new(stream),
            is_spoilt: AtomicBool::new(false),
        }))
    }

    /// Keeps the connection out of the pool.
    pub(super) fn spoil(&self) {
        self.0.is_spoilt.store(true, Ordering::Relaxed);
    }

    /// The connection, if this is the last holder and it is not spoilt.
    pub(super) fn into_inner(self) -> Option<Stream> {
        let held = Arc::into_inner(self.0)?;
        match held.is_spoilt.into_inner() {
            true => None,
            false => held.stream.into_inner().ok(),
        }
    }
}

impl AsyncRead for Shared {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut stream = locked(&self.0.stream);
        Pin::new(&mut *stream).poll_read(cx, buf)
    }
}
