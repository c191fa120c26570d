//! Lets tests move the clocks: a datagram with a number of milliseconds (decimal), sent to the socket in
//! `WILDCAT_TEST_CLOCK`, moves [`ticks`](super::ticks), the system's clock and every
//! [`sleep`](super::sleep) forward; then it is answered. Timers of sockets and requests stay real.
//! Only in builds with the `sandbox` feature.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use event_listener::Event;
use smol::net::unix::UnixDatagram;

use super::Millis;
use crate::sync::within;

static MOVED: AtomicU64 = AtomicU64::new(0);
static NEWS: Event = Event::new();

/// The total by which the clocks were moved.
pub(super) fn by() -> Millis {
    MOVED.load(Ordering::Relaxed)
}

/// Resolves after `length` on the moved clock, of which at least `grace` is real time.
pub(super) async fn sleep(length: Duration, grace: Duration) {
    let (began, moved) = (Instant::now(), by());
    loop {
        let news = NEWS.listen();
        let real = began.elapsed();
        let passed = real + Duration::from_millis(by() - moved);
        let at_least = grace.min(length).saturating_sub(real);
        let left = length.saturating_sub(passed).max(at_least);
        if left.is_zero() {
            return;
        }
        within(left, news).await;
    }
}

/// Serves the socket while polled; ends at once if the environment names none.
pub fn hear() -> impl Future<Output = ()> + Send {
    // Bound before the first poll: a test may send as soon as the server listens.
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
