//! How often WhatsApp is asked for usernames, and about numbers. Pure.

use std::collections::VecDeque;

use crate::clock::Millis;
use crate::jid::Username;

use super::pace::Pace;
use super::types::{CHECKS, LOOK_UPS, NameError};

/// How long a username that no account has is not asked for again, and how many such are remembered.
const ABSENT: Millis = 10 * 60_000;
const ABSENTEES: usize = 32;

/// Milliseconds after which one more number may be checked, and for how many numbers it is done in advance: 1,000 at
/// once, and 1,000 an hour from then on.
const CHECK: Millis = 3_600_000 / CHECKS as Millis;

/// What one account has asked for. Shared by its requests.
pub struct LookUps {
    pace: Pace,
    /// Usernames that no account has, and since when that is known by [`clock::ticks`].
    absent: VecDeque<(Username, Millis)>,
    /// When the numbers that were checked are paid for, each at the price of [`CHECK`].
    checked: Millis,
}

impl LookUps {
    pub fn new(now: Millis) -> LookUps {
        LookUps {
            pace: Pace::new(LOOK_UPS, LOOK_UPS, now),
            absent: VecDeque::new(),
            checked: now,
        }
    }

    /// Whether WhatsApp may be asked about that many numbers now.
    ///
    /// # Errors
    /// The whole seconds until it may; nothing is counted then.
    pub fn check(&mut self, numbers: usize, now: Millis) -> Result<(), u64> {
        let until = self.checked.max(now) + numbers as Millis * CHECK;
        let excess = until.saturating_sub(now + CHECKS as Millis * CHECK);
        if excess > 0 {
            return Err(excess.div_ceil(1_000));
        }
        self.checked = until;
        Ok(())
    }

    /// Whether WhatsApp may be asked for a username now.
    ///
    /// # Errors
    /// That no account has it, as WhatsApp said a while ago; or when it may.
    pub fn begin(&mut self, name: &Username, now: Millis) -> Result<(), NameError> {
        self.absent
            .retain(|(_, since)| now.saturating_sub(*since) < ABSENT);
        if self.absent.iter().any(|(absent, _)| absent == name) {
            return Err(NameError::Absent(name.clone()));
        }
        let turn = self.pace.take(now);
        turn.map_err(|retry_after| NameError::TooMany { retry_after })
    }

    pub fn note_absent(&mut self, name: &Username, now: Millis) {
        if self.absent.len() >= ABSENTEES {
            self.absent.pop_front();
        }
        self.absent.push_back((name.clone(), now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Username {
        Username::parse(text).unwrap()
    }

    #[test]
    fn who_is_not_there_is_asked_for_again_after_a_while() {
        let mut asked = LookUps::new(0);
        assert_eq!(asked.begin(&name("bob"), 0), Ok(()));
        asked.note_absent(&name("bob"), 0);
        let absent = Err(NameError::Absent(name("bob")));
        assert_eq!(asked.begin(&name("bob"), ABSENT - 1), absent);
        assert_eq!(asked.begin(&name("zoe"), ABSENT - 1), Ok(()));
        assert_eq!(asked.begin(&name("bob"), ABSENT), Ok(()));
        for n in 0..=ABSENTEES {
            asked.note_absent(&name(&format!("bob{n}")), ABSENT);
        }
        assert_eq!(asked.absent.len(), ABSENTEES);
    }

    #[test]
    fn a_thousand_numbers_an_hour_are_checked() {
        let mut asked = LookUps::new(0);
        assert_eq!(asked.check(600, 0), Ok(()));
        assert_eq!(asked.check(401, 0), Err(4), "nothing is counted");
        assert_eq!(asked.check(400, 0), Ok(()));
        assert_eq!(asked.check(1, 0), Err(4));
        assert_eq!(asked.check(1, 3_600), Ok(()));
        assert_eq!(asked.check(CHECKS, 3_600_000), Err(4));
        assert_eq!(asked.check(CHECKS, 7_200_000), Ok(()));
    }

    #[test]
    fn so_many_are_asked_for_in_a_minute() {
        let mut asked = LookUps::new(0);
        for n in 0..LOOK_UPS {
            assert_eq!(asked.begin(&name(&format!("bob{n}")), 0), Ok(()));
        }
        let refused = asked.begin(&name("zoe"), 0);
        assert_eq!(refused, Err(NameError::TooMany { retry_after: 6 }));
        assert_eq!(asked.begin(&name("zoe"), 6_000), Ok(()));
    }
}
