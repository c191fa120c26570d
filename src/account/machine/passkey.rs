//! What a passkey that is asked for, and an account that cannot be linked, do to an account's life.

use crate::account::passkey::{Exchange, GIVEN_UP, Progress, Stage, Turn};
use crate::clock::Millis;

use super::{Action, EndReason, Machine, Phase};

impl Machine {
    /// The session waits for the end of its connection: it is ended here, with the words kept.
    pub(super) fn unlinkable(&mut self, words: String) -> Vec<Action> {
        self.note_end(EndReason::Unlinkable(words));
        vec![Action::Close]
    }

    pub(super) fn passkey_turn(&mut self, turn: Turn, now: Millis) -> Vec<Action> {
        let asks = matches!(self.phase, Phase::Connecting { .. }) && !self.paired;
        let stage = match turn {
            Turn::Asked(challenge) if asks => {
                self.hide_qr();
                self.last_error = None;
                self.passkey_trouble = None;
                let exchange = Exchange::new(challenge, now);
                self.passkey = Some(exchange.clone());
                return vec![Action::ReportPasskey(Progress::UnderWay(exchange))];
            }
            Turn::Failed(words) if asks => return self.fail_passkey(words),
            Turn::GivenUp if self.passkey.is_some() => {
                return self.fail_passkey(GIVEN_UP.to_owned());
            }
            Turn::Asked(_) | Turn::Failed(_) | Turn::GivenUp => return Vec::new(),
            Turn::Answered => Stage::Answered,
            Turn::Code(code) => Stage::Code(code),
            Turn::Confirmed => Stage::Confirmed,
        };
        let Some(exchange) = &mut self.passkey else {
            return Vec::new();
        };
        match exchange.advance(stage, now) {
            true => vec![Action::ReportPasskey(Progress::UnderWay(exchange.clone()))],
            false => Vec::new(),
        }
    }

    /// It came to nothing: what follows is a new connection, with a new QR code.
    pub(super) fn fail_passkey(&mut self, words: String) -> Vec<Action> {
        self.passkey = None;
        self.passkey_trouble = Some(format!("{words}. Scan the new QR code to begin again"));
        self.phase = Phase::Closing { again: true };
        vec![
            Action::Close,
            Action::ReportPasskey(Progress::Failed(words)),
        ]
    }

    pub(super) fn drop_passkey(&mut self, words: String) -> Option<Action> {
        self.passkey.take()?;
        self.passkey_trouble = Some(words.clone());
        Some(Action::ReportPasskey(Progress::Failed(words)))
    }

    /// The phone has accepted this device.
    pub(super) fn passkey_worked(&mut self) -> Vec<Action> {
        self.passkey_trouble = None;
        let told = self.passkey.take().map(|_| Progress::Linked);
        told.map(Action::ReportPasskey).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Input, Stopped};
    use super::*;
    use crate::account::passkey::REFUSED_AT_ONCE;
    use crate::account::passkey::tests::challenge;
    use crate::account::types::Status;

    const LIFE: Millis = 600_000;

    fn asked() -> Machine {
        let mut m = Machine::new(false, Stopped::NotStarted, 0);
        m.on(Input::Connect, 1, 0.0);
        m.on(Input::Qr("a".into()), 2, 0.0);
        let told = m.on(Input::Passkey(Turn::Asked(challenge(LIFE))), 10, 0.0);
        assert!(
            matches!(&told[..], [Action::ReportPasskey(Progress::UnderWay(e))] if e.until == 10 + LIFE),
            "{told:?}"
        );
        assert_eq!((m.status(), m.since()), (Status::PasskeyRequired, 10));
        m
    }

    fn fails(m: &mut Machine, input: Input, now: Millis, words: &str) {
        let told = m.on(input, now, 0.0);
        let [Action::Close, Action::ReportPasskey(Progress::Failed(said))] = &told[..] else {
            panic!("{told:?}");
        };
        assert!(said.contains(words), "{said}");
        assert_eq!(m.status(), Status::Connecting);
        assert_eq!(m.on(Input::Ended(None), now + 1, 0.0), vec![Action::Run]);
        // The words stay beside the new code, until a next attempt gets further.
        m.on(Input::Qr("b".into()), now + 2, 0.0);
        assert_eq!(m.qr(), Some("b"));
        assert!(m.last_error().is_some_and(|e| e.contains(words)), "{m:?}");
    }

    #[test]
    fn a_passkey_is_asked_for_shown_compared_and_the_account_connects() {
        let mut m = asked();
        assert_eq!(m.qr(), None, "a code that was scanned is no longer shown");
        assert!(m.last_error().is_some_and(|e| e.contains("/passkey")));
        m.on(Input::Qr("b".into()), 11, 0.0);
        assert_eq!(m.qr(), None);
        assert_eq!(m.on(Input::Due, 11, 0.0), vec![]);
        for (turn, state) in [
            (Turn::Answered, "waiting_for_phone"),
            (Turn::Code("ABCD-EFGH".into()), "confirmation_required"),
            (Turn::Confirmed, "finishing"),
        ] {
            let told = m.on(Input::Passkey(turn.clone()), 20, 0.0);
            assert!(matches!(told[..], [Action::ReportPasskey(_)]), "{told:?}");
            assert_eq!(m.passkey().map(Exchange::state), Some(state));
            assert_eq!(m.on(Input::Passkey(turn), 21, 0.0), vec![], "once");
        }
        assert_eq!(
            m.on(Input::Paired, 30, 0.0),
            vec![Action::ReportPasskey(Progress::Linked)]
        );
        assert_eq!(m.on(Input::Ended(None), 31, 0.0), vec![Action::Run]);
        m.on(Input::LoggedIn, 32, 0.0);
        assert_eq!((m.status(), m.last_error()), (Status::Connected, None));
    }

    #[test]
    fn what_comes_to_nothing_is_said_and_begins_again() {
        let refused = || Input::Passkey(Turn::Failed("the phone said no".into()));
        fails(&mut asked(), refused(), 20, "the phone said no");
        fails(&mut asked(), Input::Passkey(Turn::GivenUp), 20, "given up");
        fails(
            &mut asked(),
            Input::Due,
            10 + LIFE,
            "no answer was given in time",
        );
        let mut m = asked();
        m.on(Input::Passkey(Turn::Answered), 9 + LIFE, 0.0);
        assert_eq!(
            m.on(Input::Due, 10 + LIFE, 0.0),
            vec![],
            "the phone has its time"
        );
        fails(
            &mut m,
            Input::Due,
            2 * LIFE,
            "the phone did not answer in time",
        );
        // A new exchange, and nothing is left of the one before.
        m.on(
            Input::Passkey(Turn::Asked(challenge(LIFE))),
            2 * LIFE + 10,
            0.0,
        );
        m.on(Input::Paired, 2 * LIFE + 20, 0.0);
        assert_eq!(m.last_error(), None);
    }

    #[test]
    fn a_lost_connection_and_a_disconnect_end_it() {
        let mut m = asked();
        let told = m.on(Input::Ended(Some("reset".into())), 20, 0.0);
        assert!(
            matches!(
                &told[..],
                [
                    Action::Wake(_),
                    Action::ReportPasskey(Progress::Failed(_)),
                    Action::Warn(_)
                ]
            ),
            "{told:?}"
        );
        assert_eq!(m.last_error().as_deref(), Some("reset"));
        let mut m = asked();
        let told = m.on(Input::Disconnect, 20, 0.0);
        assert!(
            matches!(
                &told[..],
                [
                    Action::Want(false),
                    Action::Close,
                    Action::ReportPasskey(Progress::Failed(_))
                ]
            ),
            "{told:?}"
        );
        assert_eq!((m.status(), m.last_error()), (Status::Disconnected, None));
        assert_eq!(m.on(Input::Passkey(Turn::GivenUp), 21, 0.0), vec![]);
    }

    #[test]
    fn an_account_that_cannot_be_linked_rests_with_the_words() {
        let mut m = Machine::new(false, Stopped::NotStarted, 0);
        m.on(Input::Connect, 1, 0.0);
        m.on(Input::Qr("a".into()), 2, 0.0);
        let unlinkable = Input::Unlinkable("not with this version".into());
        assert_eq!(m.on(unlinkable, 3, 0.0), vec![Action::Close]);
        assert_eq!(m.on(Input::Ended(None), 4, 0.0), vec![Action::Want(false)]);
        assert_eq!(m.status(), Status::NotStarted);
        assert_eq!(m.last_error().as_deref(), Some("not with this version"));
        assert_eq!(
            m.on(Input::Connect, 5, 0.0),
            vec![Action::Want(true), Action::Run]
        );
    }

    #[test]
    fn a_device_that_never_logs_in_after_its_pairing_was_not_unlinked_by_its_owner() {
        let mut m = Machine::new(false, Stopped::NotStarted, 0);
        m.on(Input::Connect, 1, 0.0);
        m.on(Input::Paired, 2, 0.0);
        m.on(Input::Ended(None), 3, 0.0);
        m.on(Input::LoggedOut("unlinked on the phone".into()), 4, 0.0);
        m.on(Input::Ended(None), 5, 0.0);
        assert_eq!(m.status(), Status::LoggedOut);
        assert_eq!(m.last_error().as_deref(), Some(REFUSED_AT_ONCE));
    }
}
