//! Writing to people for the first time: WhatsApp refuses that to accounts that do it too much, and
//! bans those that go on. Pure.

use crate::clock::Millis;

/// The longest pause.
const LONGEST: Millis = 24 * 3_600_000;

/// Whether a refusal with this code concerns new contacts only: 463, the "reach-out time lock" (chats
/// that exist carry a token and go on), and 475, the cap of new chats.
pub fn is_about_new_contacts(code: Option<u16>) -> bool {
    matches!(code, Some(463 | 475))
}

/// How many refusals in a row that makes, and until when nothing goes to new contacts: `first`
/// after the first refusal, twice as long after each that follows, a day at most. Refusals within a
/// pause (of messages that were under way) are the same one.
pub fn refused(strikes: u32, paused_until: Millis, first: Millis, now: Millis) -> (u32, Millis) {
    if is_paused(paused_until, now).is_some() {
        return (strikes, paused_until);
    }
    let doublings = strikes.min(32);
    let pause = first
        .saturating_mul(1_u64 << doublings)
        .min(LONGEST.max(first));
    (strikes.saturating_add(1), now.saturating_add(pause))
}

/// Whether nothing goes to new contacts now; until when. A clock that was set back does not make a
/// pause longer than the longest.
pub fn is_paused(paused_until: Millis, now: Millis) -> Option<Millis> {
    (paused_until > now && paused_until - now <= LONGEST).then_some(paused_until)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_day_and_refusals_within_one_count_once() {
        const MINUTE: Millis = 60_000;
        let (mut strikes, mut until) = (0, 0);
        let mut now = 1_000_000;
        let mut pauses = Vec::new();
        for _ in 0..10 {
            (strikes, until) = refused(strikes, until, 10 * MINUTE, now);
            pauses.push((until - now) / MINUTE);
            assert_eq!(
                refused(strikes, until, 10 * MINUTE, now + 1),
                (strikes, until)
            );
            now = until;
            assert_eq!(is_paused(until, now), None);
        }
        assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 640, 1280, 1440, 1440]);
        assert_eq!(refused(u32::MAX, 0, MINUTE, 0).0, u32::MAX);
    }

    #[test]
    fn a_clock_set_back_by_years_ends_a_pause() {
        assert_eq!(is_paused(5_000, 4_000), Some(5_000));
        assert_eq!(is_paused(400 * LONGEST, 4_000), None);
    }

    #[test]
    fn only_refusals_of_new_contacts_pause() {
        assert!(is_about_new_contacts(Some(463)) && is_about_new_contacts(Some(475)));
        assert!(!is_about_new_contacts(Some(479)) && !is_about_new_contacts(None));
    }
}
