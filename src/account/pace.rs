//! The pace of one account's sends: a token bucket, and the pauses between messages out of the outbox.
//! Pure.

use crate::clock::Millis;

/// At most `burst` messages at once, and `per_minute` a minute on average.
#[derive(Debug, Clone)]
pub struct Pace {
    per_minute: u32,
    burst: u32,
    /// Sixty-thousandths of a token, so that a millisecond adds exactly `per_minute` of them.
    level: u64,
    at: Millis,
}

const TOKEN: u64 = 60_000;

impl Pace {
    /// A full bucket. Both are at least 1; no more go at once than in a minute.
    pub fn new(per_minute: u32, burst: u32, now: Millis) -> Pace {
        let per_minute = per_minute.max(1);
        let burst = burst.clamp(1, per_minute);
        Pace {
            per_minute,
            burst,
            level: u64::from(burst) * TOKEN,
            at: now,
        }
    }

    pub fn per_minute(&self) -> u32 {
        self.per_minute
    }

    /// Takes a token.
    ///
    /// # Errors
    /// The whole seconds until one is there, at least 1; nothing is taken.
    pub fn take(&mut self, now: Millis) -> Result<(), u64> {
        self.check(now)?;
        self.level -= TOKEN;
        Ok(())
    }

    /// Whether a token is there; none is taken.
    ///
    /// # Errors
    /// As [`Pace::take`]'s.
    pub fn check(&mut self, now: Millis) -> Result<(), u64> {
        let full = u64::from(self.burst) * TOKEN;
        // A clock that was set back adds nothing and is believed from here on.
        let passed = now.saturating_sub(self.at);
        self.at = now;
        self.level = self
            .level
            .saturating_add(passed.saturating_mul(u64::from(self.per_minute)))
            .min(full);
        if self.level >= TOKEN {
            return Ok(());
        }
        let missing_ms = (TOKEN - self.level).div_ceil(u64::from(self.per_minute));
        Err(missing_ms.div_ceil(1000).max(1))
    }
}

/// The pause behind a message out of the outbox: half to one and a half times `mean`. `random` is
/// uniform in `0.0..1.0`.
pub fn gap(mean: Millis, random: f64) -> Millis {
    // At most a minute: a float holds it exactly.
    let spread = (mean as f64 * random.clamp(0.0, 1.0)) as Millis;
    mean / 2 + spread
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_spread_around_their_mean() {
        assert_eq!(gap(2_000, 0.0), 1_000);
        assert_eq!(gap(2_000, 0.5), 2_000);
        assert!((2_990..=3_000).contains(&gap(2_000, 0.999)));
        assert_eq!(gap(0, 0.7), 0);
    }

    #[test]
    fn no_more_go_at_once_than_the_burst_nor_than_in_a_minute() {
        for (per_minute, burst, expected) in [(60, 20, 20), (10, 20, 10), (6_000, 1, 1), (60, 0, 1)]
        {
            let mut pace = Pace::new(per_minute, burst, 0);
            let at_once = std::iter::repeat_with(|| pace.take(0))
                .take_while(Result::is_ok)
                .count();
            assert_eq!(at_once, expected, "{per_minute} {burst}");
            // A day's rest gives no more.
            let at_once = std::iter::repeat_with(|| pace.take(86_400_000))
                .take_while(Result::is_ok)
                .count();
            assert_eq!(at_once, expected, "{per_minute} {burst}");
        }
    }

    #[test]
    fn a_burst_then_a_steady_pace() {
        let mut pace = Pace::new(60, 60, 0);
        for _ in 0..60 {
            assert_eq!(pace.take(0), Ok(()));
        }
        assert_eq!(pace.take(0), Err(1));
        assert_eq!(pace.take(999), Err(1));
        assert_eq!(pace.take(1_000), Ok(()));
        assert_eq!(pace.take(1_000), Err(1));
        // An hour's rest fills the bucket, no more.
        for _ in 0..60 {
            assert_eq!(pace.take(3_600_000), Ok(()));
        }
        assert_eq!(pace.take(3_600_000), Err(1));
    }

    #[test]
    fn slow_paces_name_the_whole_wait() {
        let mut pace = Pace::new(2, 2, 0);
        assert_eq!(pace.take(0), Ok(()));
        assert_eq!(pace.take(0), Ok(()));
        assert_eq!(pace.take(0), Err(30));
        assert_eq!(pace.take(29_000), Err(1));
        assert_eq!(pace.take(30_000), Ok(()));
    }

    #[test]
    fn a_clock_set_back_neither_blocks_for_years_nor_gives_tokens() {
        let mut pace = Pace::new(60, 60, 1_000_000_000);
        for _ in 0..60 {
            assert_eq!(pace.take(1_000_000_000), Ok(()));
        }
        assert_eq!(pace.take(1_000), Err(1));
        assert_eq!(pace.take(2_000), Ok(()));
    }
}
