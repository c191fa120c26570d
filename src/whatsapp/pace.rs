//! How fast a file must move: a peer that sends a byte now and then holds a place as well as one that sends
//! nothing. Pure: the time waited is passed in.

use std::time::Duration;

/// Bytes a second that must move, averaged over a window.
const LEAST: u64 = 1024;

/// A transfer that was too slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{moved} bytes moved in {window:?}, and {least} must")]
pub struct TooSlow {
    pub moved: u64,
    pub least: u64,
    pub window: Duration,
}

/// The pace of one transfer.
#[derive(Debug)]
pub struct Pace {
    window: Duration,
    /// In the window that is open.
    waited: Duration,
    moved: u64,
}

impl Pace {
    /// In each `window` of waiting some bytes must move.
    pub fn new(window: Duration) -> Pace {
        Pace {
            window,
            waited: Duration::ZERO,
            moved: 0,
        }
    }

    /// How long may be waited before [`Pace::note`] is to be told so.
    pub fn left(&self) -> Duration {
        self.window.saturating_sub(self.waited)
    }

    /// Takes note of bytes that moved, after a wait. Time in which nothing was waited for does not count: it is this
    /// side's.
    ///
    /// # Errors
    /// When a window is over and too little has moved in it.
    pub fn note(&mut self, bytes: u64, waited: Duration) -> Result<(), TooSlow> {
        self.moved = self.moved.saturating_add(bytes);
        self.waited = self.waited.saturating_add(waited);
        if self.waited < self.window {
            return Ok(());
        }
        let window = std::mem::take(&mut self.waited);
        let moved = std::mem::take(&mut self.moved);
        // A wait that was noticed late is judged by its own length.
        let millis = u64::try_from(window.as_millis()).unwrap_or(u64::MAX);
        let least = LEAST.saturating_mul(millis) / 1000;
        match moved < least {
            true => Err(TooSlow {
                moved,
                least,
                window,
            }),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const WINDOW: Duration = Duration::from_secs(30);

    /// For how many seconds a peer lasts that sends so many bytes every so many seconds; at most an hour.
    fn lasts(bytes: u64, every: u64) -> u64 {
        let mut pace = Pace::new(WINDOW);
        for turn in 1..=3_600 / every {
            if pace
                .note(bytes, SECOND * u32::try_from(every).unwrap())
                .is_err()
            {
                return turn * every;
            }
        }
        3_600
    }

    #[test]
    fn a_byte_now_and_then_is_not_enough() {
        assert_eq!(lasts(0, 1), 30, "stands still");
        assert_eq!(lasts(1, 20), 40);
        assert_eq!(lasts(1_023, 1), 30);
        assert_eq!(lasts(1_024, 1), 3_600);
        assert_eq!(lasts(10 * 1_024, 10), 3_600, "in bursts");
        assert_eq!(lasts(60 * 1_024, 60), 3_600, "a wait that was noticed late");
    }

    #[test]
    fn a_fast_beginning_is_no_licence_to_stand_still() {
        let mut pace = Pace::new(WINDOW);
        pace.note(100 << 20, SECOND).unwrap();
        assert_eq!(pace.left(), WINDOW - SECOND);
        pace.note(0, pace.left()).unwrap();
        assert_eq!(pace.left(), WINDOW);
        let slow = pace.note(5, WINDOW).unwrap_err();
        assert_eq!(slow.to_string(), "5 bytes moved in 30s, and 30720 must");
        // What takes no waiting is never too slow.
        for _ in 0..1_000 {
            pace.note(1, Duration::ZERO).unwrap();
        }
    }
}
