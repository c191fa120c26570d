//! The pause after WhatsApp refused the claimed version of WhatsApp Web (405). Pure.

use crate::clock::Millis;

const MINUTE: Millis = 60_000;

/// The pauses after the first refusal, the second, and so on; the last one stays.
const PAUSES: [Millis; 3] = [5 * MINUTE, 30 * MINUTE, 120 * MINUTE];

/// How long to wait after refusal number `refusals` (the first is 1) since the last login, in milliseconds.
/// Where a newer version can be looked up, the first refusal is followed by that at once: 0. `random`
/// is uniform in `0.0..1.0` and makes a pause up to a tenth longer, so that accounts that
/// were refused together do not come back together.
pub fn pause(refusals: u32, can_look_up: bool, random: f64) -> Millis {
    let step = match can_look_up {
        true => refusals.checked_sub(2),
        false => Some(refusals.saturating_sub(1)),
    };
    let Some(step) = step else {
        return 0;
    };
    let step = usize::try_from(step).unwrap_or(usize::MAX);
    let full = PAUSES[step.min(PAUSES.len() - 1)];
    full + (full as f64 * 0.1 * random.clamp(0.0, 1.0)) as Millis
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::machine::Machine;
    use crate::account::machine::phase::{Action, Input, Stopped};
    use crate::account::types::Status;
    use crate::whatsapp::Outdated;

    #[test]
    fn it_looks_up_at_once_and_then_has_patience() {
        let minutes = |can_look_up| -> Vec<Millis> {
            (1..=6)
                .map(|refusals| pause(refusals, can_look_up, 0.0) / MINUTE)
                .collect()
        };
        assert_eq!(minutes(true), [0, 5, 30, 120, 120, 120]);
        assert_eq!(minutes(false), [5, 30, 120, 120, 120, 120]);
        assert_eq!(pause(1, true, 1.0), 0);
        assert_eq!(pause(2, true, 1.0), 330_000);
        assert_eq!(pause(u32::MAX, false, 0.5), 126 * MINUTE);
    }

    #[test]
    fn an_account_comes_back_by_that() {
        let mut m = Machine::new(true, Stopped::NotStarted, 0);
        m.on(Input::Connect, 1, 0.0);
        let refuse = |m: &mut Machine, now| {
            let refusal = Outdated {
                words: "too old".into(),
                can_look_up: true,
            };
            m.on(Input::Outdated(refusal), now, 0.0);
            m.on(Input::Ended(Some("lost".into())), now, 0.0)
        };
        assert_eq!(refuse(&mut m, 10), [Action::Run]);
        assert_eq!(m.last_error().as_deref(), Some("too old"));
        for (now, minutes) in [(20, 5), (1_000_000, 30), (3_000_000, 120)] {
            let until = now + minutes * MINUTE;
            assert_eq!(refuse(&mut m, now), [Action::Wake(until)]);
            assert_eq!(m.status(), Status::Reconnecting);
            assert_eq!(m.last_error().as_deref(), Some("too old"));
            assert_eq!(m.on(Input::Due, until, 0.0), [Action::Run]);
        }
        // A login begins it anew.
        m.on(Input::LoggedIn, 20_000_000, 0.0);
        assert_eq!(m.last_error(), None);
        assert_eq!(refuse(&mut m, 20_000_001), [Action::Run]);
    }
}
