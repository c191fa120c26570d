//! Writing to people for the first time: WhatsApp locks or caps that for accounts that do it too much,
//! and bans those that go on. It says until when if it is asked, and by itself when a lock begins
//! (whatsmeow#1197, Baileys#2445); while it holds, nothing goes to new contacts. Pure.

use serde::Serialize;

use crate::clock::Millis;
use crate::store::outbox::{Restriction, State};
use crate::whatsapp::{Answer, Limit, LimitStatus};

/// The longest pause that is guessed.
const LONGEST: Millis = 24 * 3_600_000;
/// How long one that was begun to write to counts among the new contacts of a day.
const DAY: Millis = 24 * 3_600_000;

/// Whether a refusal with this code concerns new contacts only, and which limit it names: 463, the
/// "reach-out time lock" (chats that exist carry a token and go on), and 475, the cap of new chats.
pub fn limit_of(code: Option<u16>) -> Option<Limit> {
    match code {
        Some(463) => Some(Limit::Lock),
        Some(475) => Some(Limit::Cap),
        _ => None,
    }
}

/// Why nothing goes to new contacts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// WhatsApp has locked it for this account.
    ReachoutTimelock,
    /// This account has begun as many new chats as it may.
    NewChatCap,
    /// WhatsApp has refused it, and not said why.
    Refused,
}

impl Reason {
    /// The word that the API shows.
    pub fn name(self) -> &'static str {
        match self {
            Reason::ReachoutTimelock => "reachout_timelock",
            Reason::NewChatCap => "new_chat_cap",
            Reason::Refused => "refused",
        }
    }

    /// The same in a sentence.
    pub fn words(self) -> &'static str {
        match self {
            Reason::ReachoutTimelock => "WhatsApp has locked it for this account",
            Reason::NewChatCap => "this account has begun as many new chats as WhatsApp allows it",
            Reason::Refused => "WhatsApp has refused it",
        }
    }
}

/// What holds up everything to new contacts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restricted {
    pub until: Millis,
    pub reason: Reason,
    /// WhatsApp's own word for it.
    pub kind: Option<String>,
}

/// What holds new contacts up at time `now`; of several the one that lasts longest.
pub fn restricted(state: &State, now: Millis) -> Option<Restricted> {
    let status = |restriction: &Option<Restriction>, reason| {
        let restriction = restriction.as_ref().filter(|it| it.until > now)?;
        Some(Restricted {
            until: restriction.until,
            reason,
            kind: restriction.kind.clone(),
        })
    };
    let guessed = is_paused(state.paused_until, now).map(|until| Restricted {
        until,
        reason: Reason::Refused,
        kind: None,
    });
    [
        guessed,
        status(&state.cap, Reason::NewChatCap),
        status(&state.lock, Reason::ReachoutTimelock),
    ]
    .into_iter()
    .flatten()
    .max_by_key(|it| it.until)
}

/// What WhatsApp is to be asked before the next message to a new contact: what held them up has ended
/// by the clock, and a message into a lock that was extended makes it longer.
pub fn to_ask(state: &State, now: Millis) -> Option<Limit> {
    let is_over = |it: &Option<Restriction>| it.as_ref().is_some_and(|it| it.until <= now);
    if is_over(&state.lock) {
        Some(Limit::Lock)
    } else if is_over(&state.cap) {
        Some(Limit::Cap)
    } else if state.paused_until > 0 && is_paused(state.paused_until, now).is_none() {
        Some(Limit::Lock)
    } else {
        None
    }
}

/// WhatsApp has said how a limit stands. `first` is the first pause that is guessed where it names no end.
pub fn learn(state: &mut State, status: &LimitStatus, first: Millis, now: Millis) {
    let place = match status.limit {
        Limit::Lock => &mut state.lock,
        Limit::Cap => &mut state.cap,
    };
    *place = match &status.answer {
        Answer::Until { until, kind } => {
            let until = match until {
                Some(until) => {
                    state.strikes = 0;
                    *until
                }
                None => {
                    let (strikes, until) = refused(state.strikes, 0, first, now);
                    state.strikes = strikes;
                    until
                }
            };
            let kind = kind.clone();
            (until > now).then_some(Restriction { until, kind })
        }
        Answer::Free => {
            state.strikes = 0;
            None
        }
    };
    state.paused_until = 0;
}

/// WhatsApp has refused a new contact, and does not say how the limit stands.
pub fn guess(state: &mut State, first: Millis, now: Millis) {
    (state.strikes, state.paused_until) = refused(state.strikes, state.paused_until, first, now);
}

/// WhatsApp was asked about what is over by the clock, and has not answered: its end was status before.
pub fn unanswered(state: &mut State, now: Millis) {
    end(state, now);
}

/// A message has reached a new contact.
pub fn reached(state: &mut State, now: Millis) {
    state.strikes = 0;
    end(state, now);
}

/// Whether [`reached`] changes something.
pub fn is_marked(state: &State) -> bool {
    state.strikes > 0 || state.paused_until > 0 || state.lock.is_some() || state.cap.is_some()
}

/// Forgets what is over.
fn end(state: &mut State, now: Millis) {
    for status in [&mut state.lock, &mut state.cap] {
        *status = status.take().filter(|it| it.until > now);
    }
    if is_paused(state.paused_until, now).is_none() {
        state.paused_until = 0;
    }
}

/// How many refusals in a row that makes, and until when nothing goes: `first` after the first refusal,
/// twice as long after each that follows, a day at most. Refusals within a pause (of messages that
/// were under way) are the same one.
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

/// Whether nothing goes to new contacts now, as far as that is guessed; until when. A clock that was set
/// back does not make a pause longer than the longest.
pub fn is_paused(paused_until: Millis, now: Millis) -> Option<Millis> {
    (paused_until > now && paused_until - now <= LONGEST).then_some(paused_until)
}

/// Until when no further new contact may be written to, if `begun` names when each of the last ones was, and
/// `per_day` may be within 24 hours; 0 is no limit. Times that a clock set back has left in the
/// future do not count.
pub fn full_until(begun: &[Millis], per_day: u32, now: Millis) -> Option<Millis> {
    let most = usize::try_from(per_day).unwrap_or(usize::MAX);
    if most == 0 {
        return None;
    }
    let mut ends: Vec<Millis> = begun
        .iter()
        .map(|at| at.saturating_add(DAY))
        .filter(|end| *end > now && *end <= now.saturating_add(2 * DAY))
        .collect();
    if ends.len() < most {
        return None;
    }
    ends.sort_unstable();
    // One more may begin when fewer than `most` are left.
    ends.get(ends.len() - most).copied()
}

/// Whether one that was begun to write to at that time counts among those of the day.
pub fn is_of_today(begun: Millis, now: Millis) -> bool {
    full_until(&[begun], 1, now).is_some()
}

/// One that was begun to write to before that time does not count any more.
pub fn oldest_of_today(now: Millis) -> Millis {
    now.saturating_sub(DAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Millis = 60_000;
    const FIRST: Millis = 10 * MINUTE;

    fn status(limit: Limit, until: Option<Millis>) -> LimitStatus {
        LimitStatus {
            limit,
            answer: Answer::Until {
                until,
                kind: Some("WEB_COMPANION_ONLY".into()),
            },
        }
    }

    #[test]
    fn what_whatsapp_tells_counts_until_its_end_and_is_asked_about_then() {
        let mut state = State::default();
        assert_eq!((restricted(&state, 5), to_ask(&state, 5)), (None, None));
        learn(
            &mut state,
            &status(Limit::Lock, Some(6 * 24 * LONGEST)),
            FIRST,
            5,
        );
        learn(&mut state, &status(Limit::Cap, Some(100)), FIRST, 5);
        let now = restricted(&state, 50).expect("restricted");
        assert_eq!(now.reason, Reason::ReachoutTimelock);
        assert_eq!(
            (now.until, now.kind.as_deref()),
            (6 * 24 * LONGEST, Some("WEB_COMPANION_ONLY"))
        );
        assert_eq!(to_ask(&state, 50), None);
        assert_eq!(to_ask(&state, 100), Some(Limit::Cap));
        // Lifted before its end; and what ends by the clock and is not answered.
        let free = LimitStatus {
            limit: Limit::Lock,
            answer: Answer::Free,
        };
        learn(&mut state, &free, FIRST, 60);
        assert_eq!(
            restricted(&state, 60).map(|it| it.reason),
            Some(Reason::NewChatCap)
        );
        unanswered(&mut state, 100);
        assert_eq!(state, State::default());
        // One whose end has passed is none.
        learn(&mut state, &status(Limit::Lock, Some(90)), FIRST, 100);
        assert_eq!(state, State::default());
    }

    #[test]
    fn an_end_that_is_not_told_is_guessed_and_put_off_further_each_time() {
        let mut state = State::default();
        let mut now = 1_000;
        for pause in [10, 20, 40] {
            learn(&mut state, &status(Limit::Lock, None), FIRST, now);
            assert_eq!(
                state.lock.as_ref().map(|it| it.until),
                Some(now + pause * MINUTE)
            );
            now += pause * MINUTE;
            assert_eq!(to_ask(&state, now), Some(Limit::Lock));
        }
        guess(&mut state, FIRST, now);
        assert_eq!(
            restricted(&state, now).map(|it| it.until),
            Some(now + 80 * MINUTE)
        );
        now += 80 * MINUTE;
        assert_eq!(to_ask(&state, now), Some(Limit::Lock));
        unanswered(&mut state, now);
        assert_eq!(to_ask(&state, now), None, "asked once");
        assert!(is_marked(&state), "the next refusal doubles the pause");
        reached(&mut state, now);
        assert_eq!(state, State::default());
    }

    #[test]
    fn pauses_double_up_to_a_day_and_refusals_within_one_count_once() {
        let (mut strikes, mut until) = (0, 0);
        let mut now = 1_000_000;
        let mut pauses = Vec::new();
        for _ in 0..10 {
            (strikes, until) = refused(strikes, until, FIRST, now);
            pauses.push((until - now) / MINUTE);
            assert_eq!(refused(strikes, until, FIRST, now + 1), (strikes, until));
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
    fn only_refusals_of_new_contacts_name_a_limit() {
        assert_eq!(limit_of(Some(463)), Some(Limit::Lock));
        assert_eq!(limit_of(Some(475)), Some(Limit::Cap));
        assert_eq!(limit_of(Some(479)), None);
        assert_eq!(limit_of(None), None);
    }

    #[test]
    fn so_many_new_contacts_within_24_hours_and_no_more() {
        let now = 10 * DAY;
        let begun = [now - DAY, now - DAY + 1, now - 5, now];
        assert_eq!(full_until(&begun, 4, now), None, "the first is a day ago");
        assert_eq!(full_until(&begun, 3, now), Some(now + 1));
        assert_eq!(
            full_until(&begun, 2, now),
            Some(now + DAY - 5),
            "the limit was lowered"
        );
        assert_eq!(full_until(&begun, 0, now), None);
        assert_eq!(full_until(&[], 1, now), None);
        // The clock was in the wrong year.
        assert_eq!(full_until(&[400 * DAY], 1, now), None);
        assert!(is_of_today(now - 5, now) && !is_of_today(now - DAY, now));
    }
}
