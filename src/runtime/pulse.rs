//! A histogram of the steps (polls of tasks) on the event thread: a long step delays every other task.
//!
//! Every step is timed; that costs two reads of the clock and an addition.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::clock::{self, Millis};
use crate::sync::locked;

/// A longer step is logged, and becomes the last [`Stall`].
pub const STALL: Duration = Duration::from_secs(1);

/// Four buckets for each doubling of the length, from 1 µs to some 9 h.
const BUCKETS: usize = 4 * 34;

/// A step longer than [`STALL`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stall {
    /// The end of the step.
    pub at: Millis,
    /// The same, by [`clock::ticks`].
    pub ticks: Millis,
    pub length: Duration,
}

/// The steps since the start. The event thread writes, any thread reads.
pub struct Pulse {
    /// The number of steps in each bucket.
    counts: [AtomicU64; BUCKETS],
    longest_us: AtomicU64,
    stall: Mutex<Option<Stall>>,
}

/// A summary of the steps since the start. Quantiles are rounded up, by at most a quarter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beat {
    pub steps: u64,
    pub median: Duration,
    pub p99: Duration,
    pub p999: Duration,
    pub longest: Duration,
    pub stall: Option<Stall>,
}

impl Default for Pulse {
    fn default() -> Pulse {
        Pulse {
            counts: [const { AtomicU64::new(0) }; BUCKETS],
            longest_us: AtomicU64::new(0),
            stall: Mutex::new(None),
        }
    }
}

impl Pulse {
    /// Awaits `step`, an executor's tick, and times its completing poll, which runs one step of one task.
    /// Polls that find no runnable task are not counted.
    pub async fn count<F: Future>(&self, step: F) -> F::Output {
        let mut step = pin!(step);
        poll_fn(|cx| {
            let began = Instant::now();
            let outcome = step.as_mut().poll(cx);
            if outcome.is_ready() {
                self.note(began.elapsed());
            }
            outcome
        })
        .await
    }

    pub fn beat(&self) -> Beat {
        let counts: Vec<u64> = self
            .counts
            .iter()
            .map(|count| count.load(Ordering::Relaxed))
            .collect();
        let longest = self.longest_us.load(Ordering::Relaxed);
        let micros = |share| Duration::from_micros(quantile(&counts, share).min(longest));
        Beat {
            steps: counts.iter().sum(),
            median: micros(500),
            p99: micros(990),
            p999: micros(999),
            longest: Duration::from_micros(longest),
            stall: *locked(&self.stall),
        }
    }

    fn note(&self, length: Duration) {
        let micros = u64::try_from(length.as_micros()).unwrap_or(u64::MAX);
        if let Some(count) = self.counts.get(bucket(micros)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.longest_us.fetch_max(micros, Ordering::Relaxed);
        if length > STALL {
            log::warn!(
                "a step blocked the event thread for {} ms",
                length.as_millis()
            );
            let mut stall = locked(&self.stall);
            *stall = Some(Stall {
                at: clock::now(),
                ticks: clock::ticks(),
                length,
            });
        }
    }
}

/// The bucket of a length: exact below 4 µs, then a quarter of its doubling.
fn bucket(micros: u64) -> usize {
    let Some(doublings) = micros.checked_ilog2().filter(|log| *log >= 2) else {
        return micros as usize;
    };
    let quarter = (micros >> (doublings - 2)) & 3;
    let at = (doublings as usize - 1) * 4 + quarter as usize;
    at.min(BUCKETS - 1)
}

/// The upper bound of a bucket, exclusive, in µs.
fn above(at: usize) -> u64 {
    match at {
        0..4 => at as u64 + 1,
        _ => (4 + at as u64 % 4 + 1) << (at / 4 - 1),
    }
}

/// The quantile `thousandths` of the steps, in µs; 0 without any steps.
fn quantile(counts: &[u64], thousandths: u64) -> u64 {
    let total: u64 = counts.iter().sum();
    let rank = (total.saturating_mul(thousandths)).div_ceil(1000).max(1);
    let mut seen = 0;
    for (at, count) in counts.iter().enumerate() {
        seen += count;
        if seen >= rank {
            return above(at);
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_below_the_bound_of_their_bucket() {
        let mut last = 0;
        for micros in (0..5_000).chain((13..40).map(|n| (1 << n) - 1)) {
            let at = bucket(micros);
            assert!(at >= last, "{micros}");
            last = at;
            if at < BUCKETS - 1 {
                assert!(micros < above(at), "{micros} in {at}");
                assert!(at == 0 || micros >= above(at - 1), "{micros} in {at}");
                // Rounded up by a quarter, and by the microsecond itself.
                assert!(above(at) <= micros + micros / 4 + 1, "{micros} in {at}");
            }
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_cover_all_steps() {
        let pulse = Pulse::default();
        assert_eq!(pulse.beat().p999, Duration::ZERO);
        for _ in 0..998 {
            pulse.note(Duration::from_micros(10));
        }
        pulse.note(Duration::from_millis(3));
        pulse.note(Duration::from_millis(70));
        let beat = pulse.beat();
        assert_eq!(beat.steps, 1000);
        assert_eq!(beat.median, Duration::from_micros(12));
        assert_eq!(beat.p99, Duration::from_micros(12));
        assert!((3_000..3_750).contains(&beat.p999.as_micros()), "{beat:?}");
        assert_eq!(beat.longest, Duration::from_millis(70));
        assert_eq!(beat.stall, None);
        pulse.note(Duration::from_secs(2));
        let stall = pulse.beat().stall.expect("a stall");
        assert_eq!(stall.length, Duration::from_secs(2));
    }

    #[test]
    fn the_executors_steps_are_counted() {
        let (executor, pulse) = (crate::runtime::Executor::new(), Pulse::default());
        smol::block_on(crate::runtime::drive(&executor, &pulse, async {
            executor
                .spawn(async {
                    let began = Instant::now();
                    // A step that keeps the thread.
                    while began.elapsed() < Duration::from_millis(30) {
                        std::hint::spin_loop();
                    }
                })
                .await;
        }));
        let beat = pulse.beat();
        assert_eq!(beat.steps, 1);
        assert!(beat.longest >= Duration::from_millis(30), "{beat:?}");
    }
}
