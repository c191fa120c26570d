//! How a test lets hours pass at once: a datagram with a number of milliseconds in decimal digits, sent to the
//! socket that `WILDCAT_TEST_CLOCK` names, and answered when it has. [`ticks`](super::ticks) and the system's clock go forward by that,
//! and every [`sleep`](super::sleep) counts it as time that has passed. Timers of sockets and of requests do not.
//! No build without the `sandbox` feature has any of this.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use event_listener::Event;
use futures_lite::FutureExt as _;
use smol::net::unix::UnixDatagram;

use super::Millis;

static MOVED: AtomicU64 = AtomicU64::new(0);
static NEWS: Event = Event::new();

/// By how much the clocks were moved in this run.
pub(super) fn by() -> Millis {
    MOVED.load(Ordering::Relaxed)
}

/// Resolves when `length` has passed on the moved clock, and of it at least `grace` in truth.
pub(super) async fn sleep(length: Duration, grace: Duration) {
    let (began, moved) = (Instant::now(), by());
    loop {
        let news = NEWS.listen();
        let truly = began.elapsed();
        let passed = truly + Duration::from_millis(by() - moved);
        let at_least = grace.min(length).saturating_sub(truly);
        let left = length.saturating_sub(passed).max(at_least);
        if left.is_zero() {
            return;
        }
        let timer = async {
            smol::Timer::after(left).await;
        };
        news.or(timer).await;
    }
}

/// Hears what the socket says for as long as it is polled; nothing if the environment names none.
pub fn hear() -> impl Future<Output = ()> + Send {
    // Bound at once: a test may send as soon as the server listens.
    let path = std::env::var_os("WILDCAT_TEST_CLOCK");
    let socket = path.map(|path| UnixDatagram::bind(Path::new(&path)));
    async move {
        let Some(socket) = socket else {
            return;
        };
        if let Err(error) = heard(socket).await {
            log::error!("the tests' clock: {error}");
        }
    }
}

async fn heard(socket: std::io::Result<UnixDatagram>) -> std::io::Result<()> {
    let socket = socket?;
    let mut digits = [0; 32];
    loop {
        let (length, from) = socket.recv_from(&mut digits).await?;
        let digits = String::from_utf8_lossy(&digits[..length]);
        if let Ok(millis) = digits.parse::<Millis>() {
            MOVED.fetch_add(millis, Ordering::Relaxed);
            NEWS.notify(usize::MAX);
            super::NEWS.notify(usize::MAX);
        }
        if let Some(path) = from.as_pathname() {
            socket.send_to(&[], path).await?;
        }
    }
}
