//! The pauses between attempts. Pure.

use std::time::Duration;

/// How failed deliveries are repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// The pause after the first failure; it doubles with each.
    pub first: Duration,
    /// The longest pause, before its jitter.
    pub longest: Duration,
    /// How long an event is repeated, from its first failure.
    pub give_up_after: Duration,
}

/// The shortest and the longest `Retry-After` that is honoured.
const ASKED_LEAST: Duration = Duration::from_secs(1);
const ASKED_MOST: Duration = Duration::from_secs(60 * 60);

/// How many times in a row a `Retry-After` below the usual pause is honoured.
const ASKED_SHORT: u32 = 10;

/// The pause after `failures` failed attempts in a row (at least 1): by default 5 s, doubling up to
/// 15 min, with a jitter of 10 % from `random`, so that hooks do not all try at the same time.
///
/// `asked` is the receiver's `Retry-After`, honoured up to an hour.
pub fn pause(retry: &Retry, failures: u32, asked: Option<Duration>, random: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(31);
    let base = retry
        .first
        .saturating_mul(1 << doublings)
        .min(retry.longest);
    let jitter = f64::from(random) / f64::from(u32::MAX) * 0.2 - 0.1;
    let usual = base.mul_f64(1.0 + jitter);
    match asked.map(|asked| asked.clamp(ASKED_LEAST, ASKED_MOST)) {
        Some(asked) if asked >= usual || failures <= ASKED_SHORT => asked,
        Some(_) | None => usual,
    }
}

/// Parses a `Retry-After` in seconds. Its other form, a date, is ignored: the clocks of two small machines
/// seldom agree.
pub fn retry_after(value: &str) -> Option<Duration> {
    value.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETRY: Retry = Retry {
        first: Duration::from_secs(5),
        longest: Duration::from_secs(15 * 60),
        give_up_after: Duration::from_secs(3 * 24 * 60 * 60),
    };
    const MIDDLE: u32 = u32::MAX / 2;

    #[test]
    fn pauses_double_up_to_a_quarter_of_an_hour() {
        let seconds = |failures| pause(&RETRY, failures, None, MIDDLE).as_secs_f64().round();
        let pauses: Vec<f64> = (1..=10).map(seconds).collect();
        assert_eq!(
            pauses,
            [
                5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 640.0, 900.0, 900.0
            ]
        );
        assert_eq!(seconds(0), 5.0);
        assert_eq!(seconds(u32::MAX), 900.0);
    }

    #[test]
    fn jitter_stays_within_a_tenth() {
        let jittered = |failures, random| pause(&RETRY, failures, None, random);
        assert_eq!(jittered(1, 0), Duration::from_millis(4500));
        assert_eq!(jittered(1, u32::MAX), Duration::from_millis(5500));
        assert_eq!(jittered(40, u32::MAX), Duration::from_secs(990));
    }

    #[test]
    fn retry_after_is_honoured_within_its_bounds() {
        let asked = |failures, seconds: &str| {
            pause(&RETRY, failures, retry_after(seconds), MIDDLE)
                .as_secs_f64()
                .round()
        };
        assert_eq!(asked(1, "30"), 30.0);
        assert_eq!(asked(5, " 2 "), 2.0);
        assert_eq!(asked(5, "0"), 1.0);
        assert_eq!(asked(50, "2"), 900.0);
        assert_eq!(asked(50, "1200"), 1200.0);
        assert_eq!(asked(1, "999999999999"), 3600.0);
        assert_eq!(asked(1, "Fri, 31 Dec 1999 23:59:59 GMT"), 5.0);
        assert_eq!(asked(1, "-3"), 5.0);
    }
}
