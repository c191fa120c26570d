//! How often WhatsApp is asked for usernames. Pure.

use std::collections::VecDeque;

use crate::clock::Millis;
use crate::jid::Username;

use super::pace::Pace;
use super::types::{LOOK_UPS, NameError};

/// How long a username that no account has is not asked for again, and how many such are remembered.
const ABSENT: Millis = 10 * 60_000;
const ABSENTEES: usize = 32;

/// What one account has asked for. Shared by its requests.
pub struct LookUps {
    pace: Pace,
    /// Usernames that no account has, and since when that is known by [`clock::ticks`].
    absent: VecDeque<(Username, Millis)>,
}

impl LookUps {
    pub fn new(now: Millis) -> LookUps {
        LookUps {
            pace: Pace::new(LOOK_UPS, LOOK_UPS, now),
            absent: VecDeque::new(),
        }
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
