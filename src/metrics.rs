//! Counters of the server's work since its start. Any thread adds to them; [`crate::api`] shows them at `GET /metrics`.
//!
//! They are statics, because there is one server a process, and because a counter that has to be handed through every
//! layer would not be counted where its event happens.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A number that only grows.
#[derive(Debug)]
pub struct Counter(AtomicU64);

impl Counter {
    const fn new() -> Counter {
        Counter(AtomicU64::new(0))
    }

    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The upper bounds of a [`Histogram`]'s buckets, in milliseconds. One more bucket has no bound.
pub const BOUNDS_MS: [u64; 9] = [50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000];

/// How long something took.
#[derive(Debug)]
pub struct Histogram {
    /// The number of times in each bucket alone.
    counts: [AtomicU64; BOUNDS_MS.len() + 1],
    total_us: AtomicU64,
}

/// What a [`Histogram`] holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// The number of times up to each of [`BOUNDS_MS`], and of all.
    pub up_to: [u64; BOUNDS_MS.len() + 1],
    pub total: Duration,
}

impl Histogram {
    const fn new() -> Histogram {
        Histogram {
            counts: [const { AtomicU64::new(0) }; BOUNDS_MS.len() + 1],
            total_us: AtomicU64::new(0),
        }
    }

    pub fn add(&self, took: Duration) {
        let bucket = BOUNDS_MS
            .iter()
            .position(|bound| took <= Duration::from_millis(*bound))
            .unwrap_or(BOUNDS_MS.len());
        if let Some(count) = self.counts.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.total_us.fetch_add(micros, Ordering::Relaxed);
    }

    pub fn get(&self) -> Times {
        let mut sum = 0;
        let up_to = std::array::from_fn(|n| {
            sum += self.counts.get(n).map_or(0, |c| c.load(Ordering::Relaxed));
            sum
        });
        Times {
            up_to,
            total: Duration::from_micros(self.total_us.load(Ordering::Relaxed)),
        }
    }
}

/// Attempts of webhook deliveries that the receiver took.
pub static DELIVERIES: Counter = Counter::new();
/// Attempts that it did not take, repeated ones included.
pub static FAILED_DELIVERIES: Counter = Counter::new();
/// Events that were given up for a webhook.
pub static DEAD_LETTERS: Counter = Counter::new();
/// From the moment that a message is handed to the session until WhatsApp's server has acknowledged it.
pub static SEND_TIME: Histogram = Histogram::new();
/// Messages that WhatsApp's server refused.
pub static REFUSED_SENDS: Counter = Counter::new();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_add_up() {
        let histogram = Histogram::new();
        for ms in [0, 50, 51, 30_000, 30_001, 90_000] {
            histogram.add(Duration::from_millis(ms));
        }
        let times = histogram.get();
        assert_eq!(times.up_to, [2, 3, 3, 3, 3, 3, 3, 3, 4, 6]);
        assert_eq!(times.total, Duration::from_millis(150_102));
    }
}
