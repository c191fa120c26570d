//! When to try again. Pure.

use std::time::Duration;

/// The pause behind the first failure.
const FIRST: Duration = Duration::from_secs(5);

/// The longest pause, before its jitter.
const LONGEST: Duration = Duration::from_secs(15 * 60);

/// How long to wait after `failures` failed attempts in a row (at least 1): 5 s, doubling up to
/// 15 min, each stretched or shrunk by up to a tenth so that receivers which come back are not met
/// by all hooks at once. `random` is any number; it decides the jitter.
pub fn pause(failures: u32, random: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(31);
    let base = FIRST.saturating_mul(1 << doublings).min(LONGEST);
    let jitter = f64::from(random) / f64::from(u32::MAX) * 0.2 - 0.1;
    base.mul_f64(1.0 + jitter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_quarter_of_an_hour() {
        let middle = u32::MAX / 2;
        let seconds = |failures| pause(failures, middle).as_secs_f64().round();
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
        assert_eq!(pause(1, 0), Duration::from_millis(4500));
        assert_eq!(pause(1, u32::MAX), Duration::from_millis(5500));
        assert_eq!(pause(40, u32::MAX), Duration::from_secs(990));
    }
}
