//! The pace of one account's sends: a token bucket, pure.

use crate::clock::Millis;

/// At most `per_minute` at once and that many a minute on average.
#[derive(Debug, Clone)]
pub struct Pace {
    per_minute: u32,
    /// Sixty-thousandths of a token, so that a millisecond adds exactly `per_minute` of them.
    level: u64,
    at: Millis,
}

const TOKEN: u64 = 60_000;

impl Pace {
    /// A full bucket. `per_minute` is at least 1.
    pub fn new(per_minute: u32, now: Millis) -> Pace {
        let per_minute = per_minute.max(1);
        Pace {
            per_minute,
            level: u64::from(per_minute) * TOKEN,
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
        let full = u64::from(self.per_minute) * TOKEN;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_a_steady_pace() {
        let mut pace = Pace::new(60, 0);
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
        let mut pace = Pace::new(2, 0);
        assert_eq!(pace.take(0), Ok(()));
        assert_eq!(pace.take(0), Ok(()));
        assert_eq!(pace.take(0), Err(30));
        assert_eq!(pace.take(29_000), Err(1));
        assert_eq!(pace.take(30_000), Ok(()));
    }

    #[test]
    fn a_clock_set_back_neither_blocks_for_years_nor_gives_tokens() {
        let mut pace = Pace::new(60, 1_000_000_000);
        for _ in 0..60 {
            assert_eq!(pace.take(1_000_000_000), Ok(()));
        }
        assert_eq!(pace.take(1_000), Err(1));
        assert_eq!(pace.take(2_000), Ok(()));
    }
}
