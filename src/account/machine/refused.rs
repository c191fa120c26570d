//! What WhatsApp's refusals, its bans and the turns of a start do to an account's life.

use crate::account::backoff;
use crate::clock::Millis;
use crate::whatsapp::{Ban, Refusal, spoken};

use super::{Action, EndReason, Ending, Machine, Phase, Reason, Stopped};

impl Machine {
    /// When a ban is over and the account comes back, by ticks.
    pub fn ban_ends(&self) -> Option<Millis> {
        match &self.phase {
            Phase::Stopped(Stopped::Banned { until, .. }) => *until,
            Phase::Stopped(_)
            | Phase::Connecting { .. }
            | Phase::Connected
            | Phase::Waiting { .. }
            | Phase::Closing { .. } => None,
        }
    }

    /// Whether the pause has its length from WhatsApp, or is a place in a row: no event of this machine
    /// makes it shorter, only a request.
    pub fn must_wait(&self) -> bool {
        self.must_wait && matches!(self.phase, Phase::Waiting { .. })
    }

    /// A place in the row of accounts that start, at `until`.
    pub(super) fn start_at(&mut self, until: Millis, now: Millis) -> Vec<Action> {
        if !matches!(self.phase, Phase::Stopped(_)) || until <= now {
            return self.connect();
        }
        self.last_error = None;
        self.must_wait = true;
        let mut actions = vec![Action::Want(true)];
        actions.extend(self.wait(until));
        actions
    }

    /// The client may keep a connection open behind a refusal: it is ended here.
    pub(super) fn unwelcome(&mut self, refusal: Refusal) -> Vec<Action> {
        self.note_end(EndReason::Unwelcome(refusal));
        match &self.phase {
            Phase::Connecting { .. } | Phase::Connected => vec![Action::Close],
            Phase::Stopped(_) | Phase::Waiting { .. } | Phase::Closing { .. } => Vec::new(),
        }
    }

    pub(super) fn refused(&mut self, refusal: &Refusal, now: Millis, random: f64) -> Vec<Action> {
        self.failures += 1;
        self.refusals = self.refusals.saturating_add(1);
        self.cause = Some(Reason::Refused);
        let pause = backoff::rest(refusal.rest, self.refusals, random);
        let length = spoken(i64::try_from(pause / 1_000).unwrap_or(i64::MAX));
        self.last_error = Some(format!(
            "{}. The next try comes after {length}",
            refusal.words
        ));
        self.must_wait = true;
        self.wait(now + pause)
    }

    pub(super) fn banned(&mut self, ban: Ban, now: Millis, random: f64) -> Vec<Action> {
        self.bans = self.bans.saturating_add(1);
        let pause = backoff::behind_ban(self.bans, random);
        let until = ban
            .lasts
            .map(|lasts| now.saturating_add(lasts).saturating_add(pause));
        let words = ban.words.clone();
        self.rest(Stopped::Banned { words, until });
        let mut actions = vec![Action::Ended(Ending::Banned(ban))];
        actions.extend(until.map(Action::Wake));
        actions
    }

    /// The end of a ban, known better: the clock was set.
    pub(super) fn ban_moved(&mut self, ends: Millis) -> Vec<Action> {
        match &mut self.phase {
            Phase::Stopped(Stopped::Banned {
                until: until @ Some(_),
                ..
            }) => {
                *until = Some(ends);
                vec![Action::Wake(ends)]
            }
            Phase::Stopped(_)
            | Phase::Connecting { .. }
            | Phase::Connected
            | Phase::Waiting { .. }
            | Phase::Closing { .. } => Vec::new(),
        }
    }

    /// A ban is over: one attempt, and what WhatsApp says to that counts.
    pub(super) fn ban_due(&mut self, until: Millis, now: Millis) -> Vec<Action> {
        match now >= until {
            true => self.connect(),
            false => vec![Action::Wake(until)],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::connected;
    use super::super::{Input, STABLE};
    use super::*;
    use crate::account::types::Status;
    use crate::whatsapp::Rest;

    const MINUTE: Millis = 60_000;
    const HOUR: Millis = 60 * MINUTE;

    fn refusal(rest: Rest) -> Input {
        Input::Unwelcome(Refusal {
            words: "WhatsApp refused (418)".into(),
            rest,
        })
    }

    fn ban(lasts: Option<Millis>) -> Ban {
        Ban {
            words: "banned for 1 h".into(),
            lasts,
        }
    }

    /// Refused, and the next attempt runs: how long the pause was.
    fn refused(m: &mut Machine, rest: Rest, now: Millis) -> Millis {
        assert_eq!(m.on(refusal(rest), now, 0.0), vec![Action::Close]);
        let actions = m.on(Input::Ended(None), now, 0.0);
        let [Action::Wake(until)] = actions[..] else {
            panic!("{actions:?}");
        };
        assert_eq!(m.status(), Status::Reconnecting);
        assert!(m.must_wait());
        assert_eq!(m.on(Input::Due, until, 0.0), vec![Action::Run]);
        assert!(!m.must_wait());
        until - now
    }

    #[test]
    fn refusals_wait_by_their_kind_and_longer_each_time() {
        for (rest, pauses) in [
            (Rest::Busy, [5 * MINUTE, 10 * MINUTE]),
            (Rest::Down, [MINUTE, 2 * MINUTE]),
            (Rest::Refused, [2 * HOUR, 4 * HOUR]),
        ] {
            let mut m = connected();
            let mut now = 5;
            for pause in pauses {
                assert_eq!(refused(&mut m, rest, now), pause, "{rest:?}");
                now += pause;
            }
            // A login that lasts begins anew, a short one does not.
            m.on(Input::LoggedIn, now, 0.0);
            now += STABLE;
            assert_eq!(refused(&mut m, rest, now), pauses[0], "{rest:?}");
            m.on(Input::LoggedIn, now, 0.0);
            assert_eq!(refused(&mut m, rest, now + 1), pauses[1], "{rest:?}");
        }
    }

    #[test]
    fn a_refusal_says_when_it_is_tried_again_and_a_request_is_not_kept_waiting() {
        let mut m = connected();
        m.on(refusal(Rest::Busy), 5, 0.0);
        m.on(Input::Ended(None), 6, 0.5);
        let words = m.last_error().unwrap_or_default();
        assert_eq!(
            words,
            "WhatsApp refused (418). The next try comes after 10 min"
        );
        assert_eq!(
            m.on(Input::Connect, 7, 0.0),
            vec![Action::Want(true), Action::Run]
        );
    }

    #[test]
    fn a_ban_keeps_the_keys_and_comes_back_once_behind_its_end() {
        let mut m = connected();
        m.on(Input::Banned(ban(Some(HOUR))), 5, 0.0);
        let end = 6 + HOUR + MINUTE;
        assert_eq!(
            m.on(Input::Ended(None), 6, 0.0),
            vec![
                Action::Ended(Ending::Banned(ban(Some(HOUR)))),
                Action::Wake(end)
            ]
        );
        assert_eq!(m.status(), Status::LoggedOut);
        assert_eq!(m.last_error().as_deref(), Some("banned for 1 h"));
        assert_eq!(m.on(Input::Due, end - 1, 0.0), vec![Action::Wake(end)]);
        assert_eq!(
            m.on(Input::Due, end, 0.0),
            vec![Action::Want(true), Action::Run]
        );
        // Banned again: the next pause is longer, however short WhatsApp says that the ban is.
        m.on(Input::Banned(ban(Some(0))), end, 0.0);
        m.on(Input::Ended(None), end, 0.0);
        assert_eq!(m.ban_ends(), Some(end + 2 * MINUTE));
        // A clock that was wrong knows better.
        m.on(Input::BanEnds(end + 7), end, 0.0);
        assert_eq!(m.ban_ends(), Some(end + 7));
        assert_eq!(
            m.on(Input::Connect, end + 1, 0.0),
            vec![Action::Want(true), Action::Run],
            "a request is not kept waiting, and forgets no keys"
        );
        m.on(Input::LoggedIn, end + 2, 0.0);
        m.on(Input::Banned(ban(Some(0))), end + 3, 0.0);
        m.on(Input::Ended(None), end + 3, 0.0);
        assert_eq!(m.ban_ends(), Some(end + 3 + MINUTE), "a login lay between");
    }

    #[test]
    fn a_ban_without_an_end_and_one_that_its_owner_disconnects_stay() {
        let mut m = connected();
        m.on(Input::Banned(ban(None)), 5, 0.0);
        assert_eq!(
            m.on(Input::Ended(None), 6, 0.0),
            vec![Action::Ended(Ending::Banned(ban(None)))]
        );
        assert_eq!(m.on(Input::Due, 1 << 40, 0.0), vec![]);
        assert_eq!(m.status(), Status::LoggedOut);

        let mut m = connected();
        m.on(Input::Banned(ban(Some(HOUR))), 5, 0.0);
        m.on(Input::Ended(None), 6, 0.0);
        m.on(Input::Disconnect, 7, 0.0);
        assert_eq!(m.on(Input::Due, 1 << 40, 0.0), vec![]);
    }

    #[test]
    fn an_account_starts_at_its_turn_or_when_it_is_asked() {
        let mut m = Machine::new(true, Stopped::NotStarted, 0);
        assert_eq!(
            m.on(Input::Start(500), 10, 0.0),
            vec![Action::Want(true), Action::Wake(500)]
        );
        assert_eq!((m.status(), m.since()), (Status::Connecting, 500));
        assert!(m.must_wait());
        assert_eq!(m.on(Input::Due, 500, 0.0), vec![Action::Run]);

        let mut m = Machine::new(true, Stopped::NotStarted, 0);
        m.on(Input::Start(500), 10, 0.0);
        assert_eq!(
            m.on(Input::Connect, 11, 0.0),
            vec![Action::Want(true), Action::Run]
        );
        let mut first = Machine::new(true, Stopped::NotStarted, 0);
        assert_eq!(
            first.on(Input::Start(10), 10, 0.0),
            vec![Action::Want(true), Action::Run]
        );
    }
}
