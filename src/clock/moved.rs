//! How a test lets hours pass at once: a datagram with a number of milliseconds in decimal digits, sent to the
//! socket that `WILDCAT_TEST_CLOCK` names. [`ticks`](super::ticks) and the system's clock go forward by that,
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

/// Resolves when `length` has passed on the moved clock.
pub(super) async fn sleep(length: Duration) {
    let (began, moved) = (Instant::now(), by());
    loop {
        let news = NEWS.listen();
        let passed = began.elapsed() + Duration::from_millis(by() - moved);
        let left = length.saturating_sub(passed);
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
        let length = socket.recv(&mut digits).await?;
        let digits = String::from_utf8_lossy(&digits[..length]);
        if let Ok(millis) = digits.parse::<Millis>() {
            MOVED.fetch_add(millis, Ordering::Relaxed);
            NEWS.notify(usize::MAX);
            super::NEWS.notify(usize::MAX);
        }
    }
}
