//! How long WhatsApp is left alone, by what it has said. Pure: the random number is the caller's.
//!
//! Reports of accounts that were restricted name programs that come back at once and at fixed intervals; none
//! proves a cause. A program that logs in a second after a 429 gets another one.

use crate::clock::Millis;
use crate::whatsapp::Rest;

const MINUTE: Millis = 60_000;
const HOUR: Millis = 60 * MINUTE;

/// How often a pause doubles at most.
const DOUBLINGS: u32 = 6;

/// The pause behind the refusal number `times` in a row, the first being 1; `random` is uniform in
/// `0.0..1.0`.
pub fn rest(rest: Rest, times: u32, random: f64) -> Millis {
    let (first, spread, longest) = match rest {
        // 5 to 15 minutes, then twice as long, and so on.
        Rest::Busy => (5 * MINUTE, 10 * MINUTE, 4 * HOUR),
        Rest::Down => (MINUTE, MINUTE / 2, 5 * MINUTE),
        Rest::Refused => (2 * HOUR, HOUR, 8 * HOUR),
        Rest::Unclear => (5 * MINUTE, 5 * MINUTE, 2 * HOUR),
    };
    grown(first, spread, longest, times, random)
}

/// Behind the end of a ban: the clocks differ, and accounts that were banned together do not come back
/// together. `times` counts bans without a login between them.
pub fn behind_ban(times: u32, random: f64) -> Millis {
    grown(MINUTE, 4 * MINUTE, 6 * HOUR, times, random)
}

/// Between the starts of two accounts.
pub fn between_starts(random: f64) -> Millis {
    #[cfg(feature = "sandbox")]
    if let Some(millis) = of_tests() {
        return millis;
    }
    1_000 + share(2_000, random)
}

/// Milliseconds between two starts, as `WILDCAT_TEST_STARTS` has them: most tests do not wait for one
/// account after the other. No build without the `sandbox` feature looks.
#[cfg(feature = "sandbox")]
fn of_tests() -> Option<Millis> {
    std::env::var("WILDCAT_TEST_STARTS").ok()?.parse().ok()
}

fn grown(first: Millis, spread: Millis, longest: Millis, times: u32, random: f64) -> Millis {
    let doublings = times.saturating_sub(1).min(DOUBLINGS);
    let least = (first << doublings).min(longest.saturating_sub(spread));
    let most = ((first + spread) << doublings).min(longest);
    least + share(most - least, random)
}

fn share(of: Millis, random: f64) -> Millis {
    (of as f64 * random.clamp(0.0, 1.0)) as Millis
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_pauses_are_as_said() {
        for (kind, least, most) in [
            (Rest::Busy, 5 * MINUTE, 15 * MINUTE),
            (Rest::Down, MINUTE, MINUTE * 3 / 2),
            (Rest::Refused, 2 * HOUR, 3 * HOUR),
            (Rest::Unclear, 5 * MINUTE, 10 * MINUTE),
        ] {
            assert_eq!(rest(kind, 1, 0.0), least, "{kind:?}");
            assert_eq!(rest(kind, 1, 1.0), most, "{kind:?}");
        }
        assert_eq!(behind_ban(1, 0.0), MINUTE);
        assert_eq!(behind_ban(1, 1.0), 5 * MINUTE);
        assert_eq!((between_starts(0.0), between_starts(1.0)), (1_000, 3_000));
    }

    #[test]
    fn pauses_grow_to_their_bound_and_stay_spread() {
        for kind in [Rest::Busy, Rest::Down, Rest::Refused, Rest::Unclear] {
            let mut before = 0;
            for times in 0..40 {
                let (least, most) = (rest(kind, times, 0.0), rest(kind, times, 1.0));
                assert!(least < most && least >= before, "{kind:?} {times}");
                assert!(most <= 8 * HOUR, "{kind:?} {times}");
                before = least;
            }
        }
        assert!(behind_ban(100, 1.0) <= 6 * HOUR);
        assert_eq!(rest(Rest::Busy, 2, 0.0), 10 * MINUTE);
        assert_eq!(rest(Rest::Refused, 9, 1.0), 8 * HOUR);
    }
}
