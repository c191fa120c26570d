//! The state machine of one account: from inputs to actions. Pure.
//!
//! [`Machine::on`] takes an [`Input`] (a command, or news from the session), the time by
//! [`clock::ticks`](crate::clock::ticks), which no clock change affects, and a random number, and returns the
//! [`Action`]s that the driver carries out. It does no I/O and reads no clock, so each rule of reconnecting has a
//! unit test.

mod passkey;
pub mod phase;
mod refused;
#[cfg(test)]
pub(super) mod tests;

use crate::clock::Millis;
use crate::whatsapp::{Ban, Outdated, Refusal};

use super::outdated;
use super::passkey::{CUT_OFF, Exchange, GIVEN_UP, REFUSED_AT_ONCE, WANTED};
use super::types::Status;
use phase::{Action, Ending, Input, Phase, Reason, Stopped};

/// The first pause before a reconnect.
pub const FIRST_PAUSE: Millis = 1_000;
/// The longest pause before a reconnect.
pub const LONGEST_PAUSE: Millis = 5 * 60_000;
/// The pause after another program took over this account's connection: two programs that reconnect at once
/// would replace each other for ever.
pub const REPLACED_PAUSE: Millis = 60_000;
/// A connection that lasts this long resets the pauses. One that ends right after each login must not be made
/// every second for ever.
pub const STABLE: Millis = 5 * 60_000;
/// Sets of QR codes that are fetched without a scan. A set lasts some 160 s.
pub const QR_SETS: u32 = 4;

/// See the module's page.
#[derive(Debug, Clone)]
pub struct Machine {
    phase: Phase,
    /// Since when [`Machine::status`] holds.
    since: Millis,
    /// Whether the phone has accepted this device.
    paired: bool,
    /// Failures since the last connection that lasted.
    failures: u32,
    /// Refusals of the version since the last login.
    outdated: u32,
    /// Refusals since then.
    refusals: u32,
    /// Bans since the last login.
    bans: u32,
    /// Whether the present pause is WhatsApp's or a place in a row.
    must_wait: bool,
    /// Sets of QR codes shown without a scan.
    qr_sets: u32,
    /// The passkey that WhatsApp asks the running session for.
    passkey: Option<Exchange>,
    /// Why the last passkey came to nothing, until the next attempt gets further.
    passkey_trouble: Option<String>,
    /// Whether the phone has accepted this device and it has never logged in since.
    new_pairing: bool,
    /// What the running session has said of why it will end.
    end_reason: Option<EndReason>,
    /// Why the last session ended, until the next one works.
    cause: Option<Reason>,
    last_error: Option<String>,
    /// Since when an account that was never paired cannot reach WhatsApp.
    cut_off_since: Option<Millis>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum EndReason {
    LoggedOut(String),
    Banned(Ban),
    Unwelcome(Refusal),
    Unlinkable(String),
    Outdated(Outdated),
    Replaced,
    QrExhausted,
    /// WhatsApp restarts the stream after pairing (stream error 515).
    JustPaired,
}

impl Machine {
    /// An account at rest.
    pub fn new(paired: bool, stopped: Stopped, since: Millis) -> Machine {
        let last_error = stopped_words(&stopped);
        Machine {
            phase: Phase::Stopped(stopped),
            since,
            paired,
            failures: 0,
            outdated: 0,
            refusals: 0,
            bans: 0,
            must_wait: false,
            qr_sets: 0,
            passkey: None,
            passkey_trouble: None,
            new_pairing: false,
            end_reason: None,
            cause: None,
            last_error,
            cut_off_since: None,
        }
    }

    pub fn phase(&self) -> &Phase {
        &self.phase
    }

    pub fn since(&self) -> Millis {
        self.since
    }

    pub fn paired(&self) -> bool {
        self.paired
    }

    /// The passkey that WhatsApp asks for.
    pub fn passkey(&self) -> Option<&Exchange> {
        self.passkey.as_ref()
    }

    /// Why there is no connection, if something is wrong.
    pub fn reason(&self) -> Option<Reason> {
        match &self.phase {
            Phase::Stopped(stopped) => match stopped {
                Stopped::NotStarted | Stopped::ByRequest => None,
                Stopped::LoggedOut(_) => Some(Reason::Unlinked),
                Stopped::Banned { .. } => Some(Reason::Banned),
                Stopped::NotScanned => Some(Reason::NotScanned),
                Stopped::Unlinkable(_) => Some(Reason::Unlinkable),
            },
            Phase::Connected | Phase::Closing { again: false } => None,
            Phase::Connecting { .. } | Phase::Waiting { .. } | Phase::Closing { again: true } => {
                self.cause
            }
        }
    }

    /// The number of the attempt to connect that is due or runs, after failures.
    pub fn attempt(&self) -> Option<u32> {
        let tries = matches!(self.phase, Phase::Connecting { .. } | Phase::Waiting { .. });
        (tries && self.failures > 0).then(|| self.failures.saturating_add(1))
    }

    /// What is wrong, or what WhatsApp waits for, in words.
    pub fn last_error(&self) -> Option<String> {
        let wanted = self.passkey.as_ref().map(|_| WANTED.to_owned());
        wanted
            .or_else(|| self.last_error.clone())
            .or_else(|| self.passkey_trouble.clone())
    }

    /// Since when an account that was never paired fails to reach WhatsApp; `None` while it does, and
    /// for a paired one, whose status says it.
    pub fn cut_off_since(&self) -> Option<Millis> {
        self.cut_off_since
    }

    /// The QR code on show.
    pub fn qr(&self) -> Option<&str> {
        match &self.phase {
            Phase::Connecting { .. } if self.passkey.is_some() => None,
            Phase::Connecting { qr } => qr.as_deref(),
            Phase::Stopped(_)
            | Phase::Connected
            | Phase::Waiting { .. }
            | Phase::Closing { .. } => None,
        }
    }

    /// The status that the API shows.
    pub fn status(&self) -> Status {
        let underway = if self.failures > 0 && self.paired {
            Status::Reconnecting
        } else {
            Status::Connecting
        };
        match &self.phase {
            Phase::Stopped(stopped) => match stopped {
                Stopped::NotStarted | Stopped::NotScanned | Stopped::Unlinkable(_) => {
                    Status::NotStarted
                }
                Stopped::ByRequest => Status::Disconnected,
                Stopped::LoggedOut(_) | Stopped::Banned { .. } => Status::LoggedOut,
            },
            Phase::Closing { again: false } => Status::Disconnected,
            Phase::Connecting { .. } if self.passkey.is_some() => Status::PasskeyRequired,
            Phase::Connecting { .. } | Phase::Waiting { .. } | Phase::Closing { again: true } => {
                underway
            }
            Phase::Connected => Status::Connected,
        }
    }

    /// Takes one input at time `now`; `random` is uniform in `0.0..1.0` and spreads reconnects.
    pub fn on(&mut self, input: Input, now: Millis, random: f64) -> Vec<Action> {
        let before = self.status();
        let turn = match input {
            Input::Start(until) => until.max(now),
            _ => now,
        };
        let actions = match input {
            Input::Connect => self.connect(),
            Input::Start(until) => self.start_at(until, now),
            Input::Disconnect => self.disconnect(),
            Input::Due => self.due(now),
            Input::Qr(code) => self.qr_code(code),
            Input::QrExhausted => {
                self.hide_qr();
                self.note_end(EndReason::QrExhausted)
            }
            Input::Passkey(turn) => self.passkey_turn(turn, now),
            Input::Unlinkable(words) => self.unlinkable(words),
            Input::Paired => {
                self.paired = true;
                self.new_pairing = true;
                self.qr_sets = 0;
                self.failures = 0;
                self.hide_qr();
                self.note_end(EndReason::JustPaired);
                self.passkey_worked()
            }
            Input::LoggedIn => self.logged_in(),
            Input::Usable(words) => {
                let actions = self.logged_in();
                if self.phase == Phase::Connected {
                    self.last_error = Some(words.to_owned());
                }
                actions
            }
            Input::LoggedOut(_) if self.new_pairing => {
                self.note_end(EndReason::LoggedOut(REFUSED_AT_ONCE.to_owned()))
            }
            Input::LoggedOut(words) => self.note_end(EndReason::LoggedOut(words)),
            Input::Outdated(outdated) => self.note_end(EndReason::Outdated(outdated)),
            Input::Banned(ban) => self.note_end(EndReason::Banned(ban)),
            Input::BanEnds(ends) => self.ban_moved(ends),
            Input::Unwelcome(refusal) => self.unwelcome(refusal),
            Input::Replaced => self.note_end(EndReason::Replaced),
            Input::Ended(error) => self.ended(error, now, random),
        };
        if self.status() != before {
            // It counts as without its connection from its turn on.
            self.since = turn;
        }
        self.note_cut_off(now, actions)
    }

    /// An account that was never paired is `connecting` whether its phone is waited for or the network:
    /// the first failure to reach WhatsApp is logged once, and not again before it was reached.
    fn note_cut_off(&mut self, now: Millis, mut actions: Vec<Action>) -> Vec<Action> {
        match (&self.phase, &self.last_error) {
            (Phase::Waiting { .. }, Some(words)) if !self.paired => {
                if self.cut_off_since.is_none() {
                    self.cut_off_since = Some(now);
                    actions.push(Action::Warn(words.clone()));
                }
            }
            // The next attempt is under way: nothing is known of it yet.
            (Phase::Connecting { qr: None }, Some(_)) if !self.paired => {}
            _ => self.cut_off_since = None,
        }
        actions
    }

    fn connect(&mut self) -> Vec<Action> {
        match &self.phase {
            Phase::Connecting { .. } | Phase::Connected => vec![Action::Want(true)],
            Phase::Closing { .. } => {
                self.phase = Phase::Closing { again: true };
                vec![Action::Want(true)]
            }
            Phase::Waiting { .. } => {
                self.phase = Phase::Connecting { qr: None };
                vec![Action::Want(true), Action::Run]
            }
            Phase::Stopped(stopped) => {
                let forget = matches!(stopped, Stopped::LoggedOut(_));
                self.failures = 0;
                self.outdated = 0;
                self.refusals = 0;
                self.qr_sets = 0;
                self.cause = None;
                self.last_error = None;
                self.passkey_trouble = None;
                self.phase = Phase::Connecting { qr: None };
                let mut actions = vec![Action::Want(true)];
                if forget {
                    self.paired = false;
                    actions.push(Action::Forget);
                }
                actions.push(Action::Run);
                actions
            }
        }
    }

    fn disconnect(&mut self) -> Vec<Action> {
        match &self.phase {
            // Logged out stays logged out: the words must not be lost, and there is nothing to stop.
            Phase::Stopped(Stopped::LoggedOut(_)) => vec![Action::Want(false)],
            Phase::Stopped(_) | Phase::Waiting { .. } => {
                self.rest(Stopped::ByRequest);
                vec![Action::Want(false)]
            }
            Phase::Connecting { .. } | Phase::Connected => {
                self.phase = Phase::Closing { again: false };
                let mut actions = vec![Action::Want(false), Action::Close];
                actions.extend(self.drop_passkey(GIVEN_UP.to_owned()));
                self.last_error = None;
                self.passkey_trouble = None;
                actions
            }
            Phase::Closing { .. } => {
                self.phase = Phase::Closing { again: false };
                vec![Action::Want(false)]
            }
        }
    }

    fn due(&mut self, now: Millis) -> Vec<Action> {
        match self.phase {
            Phase::Waiting { until } if now >= until => {
                self.phase = Phase::Connecting { qr: None };
                vec![Action::Run]
            }
            // A clock that was set back, or a timer that came early.
            Phase::Waiting { until } => vec![Action::Wake(until)],
            Phase::Connecting { .. } => match &self.passkey {
                Some(exchange) if now >= exchange.until => self.fail_passkey(exchange.time_out()),
                Some(_) | None => Vec::new(),
            },
            Phase::Stopped(Stopped::Banned {
                until: Some(until), ..
            }) => self.ban_due(until, now),
            Phase::Stopped(_) | Phase::Connected | Phase::Closing { .. } => Vec::new(),
        }
    }

    fn qr_code(&mut self, code: String) -> Vec<Action> {
        match &mut self.phase {
            Phase::Connecting { qr } if !self.paired && self.passkey.is_none() => {
                *qr = Some(code.clone());
                // WhatsApp gave it: whatever kept it away is over.
                self.last_error = None;
                self.cause = None;
                self.outdated = 0;
                vec![Action::ShowQr(code)]
            }
            Phase::Stopped(_)
            | Phase::Connecting { .. }
            | Phase::Connected
            | Phase::Waiting { .. }
            | Phase::Closing { .. } => Vec::new(),
        }
    }

    fn hide_qr(&mut self) {
        if let Phase::Connecting { qr } = &mut self.phase {
            *qr = None;
        }
    }

    fn logged_in(&mut self) -> Vec<Action> {
        if let Phase::Connecting { .. } = self.phase {
            self.phase = Phase::Connected;
            self.paired = true;
            self.outdated = 0;
            self.qr_sets = 0;
            self.new_pairing = false;
            self.bans = 0;
            self.cause = None;
            self.last_error = None;
            self.end_reason = None;
        } else if self.phase == Phase::Connected {
            // What was missing is there.
            self.last_error = None;
        }
        Vec::new()
    }

    fn note_end(&mut self, end_reason: EndReason) -> Vec<Action> {
        // The more serious one stays: a stream that ends after a logout is still a logout.
        let graver = matches!(
            self.end_reason,
            Some(EndReason::LoggedOut(_) | EndReason::Banned(_))
        );
        if !graver {
            self.end_reason = Some(end_reason);
        }
        Vec::new()
    }

    fn ended(&mut self, error: Option<String>, now: Millis, random: f64) -> Vec<Action> {
        let told = self.drop_passkey(CUT_OFF.to_owned());
        let mut actions = self.ended_by(error, now, random);
        actions.extend(told);
        actions
    }

    fn ended_by(&mut self, error: Option<String>, now: Millis, random: f64) -> Vec<Action> {
        let end_reason = self.end_reason.take();
        self.must_wait = false;
        if self.phase == Phase::Connected && now.saturating_sub(self.since) >= STABLE {
            self.failures = 0;
            self.refusals = 0;
        }
        match (&self.phase, end_reason) {
            (Phase::Stopped(_) | Phase::Waiting { .. }, _) => Vec::new(),
            (_, Some(EndReason::LoggedOut(words))) => {
                self.rest(Stopped::LoggedOut(words.clone()));
                vec![Action::Ended(Ending::PairingOver(words))]
            }
            (Phase::Closing { again: false }, _) => {
                self.rest(Stopped::ByRequest);
                Vec::new()
            }
            (Phase::Closing { again: true }, _) => {
                self.phase = Phase::Connecting { qr: None };
                vec![Action::Run]
            }
            (_, Some(EndReason::Banned(ban))) => self.banned(ban, now, random),
            (_, Some(EndReason::Unlinkable(words))) => {
                self.rest(Stopped::Unlinkable(words));
                vec![Action::Want(false)]
            }
            (_, Some(EndReason::Outdated(refusal))) => {
                self.failures += 1;
                self.outdated = self.outdated.saturating_add(1);
                self.cause = Some(Reason::VersionRefused);
                self.last_error = Some(refusal.words);
                match outdated::pause(self.outdated, refusal.can_look_up, random) {
                    0 => {
                        self.phase = Phase::Connecting { qr: None };
                        vec![Action::Run]
                    }
                    pause => {
                        self.must_wait = true;
                        self.wait(now + pause)
                    }
                }
            }
            (_, Some(EndReason::Unwelcome(refusal))) => self.refused(&refusal, now, random),
            (_, Some(EndReason::QrExhausted)) => {
                self.qr_sets += 1;
                if self.qr_sets >= QR_SETS {
                    self.rest(Stopped::NotScanned);
                    vec![Action::Want(false)]
                } else {
                    self.phase = Phase::Connecting { qr: None };
                    vec![Action::Run]
                }
            }
            (_, Some(EndReason::JustPaired)) => {
                self.phase = Phase::Connecting { qr: None };
                vec![Action::Run]
            }
            (_, Some(EndReason::Replaced)) => {
                self.failures += 1;
                self.cause = Some(Reason::Replaced);
                self.last_error = Some(
                    "another program connected with this account's pairing and took over".into(),
                );
                self.wait(now + REPLACED_PAUSE)
            }
            (Phase::Connecting { .. } | Phase::Connected, None) => {
                self.failures += 1;
                self.cause = Some(Reason::ConnectionLost);
                self.last_error =
                    Some(error.unwrap_or_else(|| "the connection to WhatsApp was lost".into()));
                self.wait(now + pause(self.failures, random))
            }
        }
    }

    fn wait(&mut self, until: Millis) -> Vec<Action> {
        self.phase = Phase::Waiting { until };
        vec![Action::Wake(until)]
    }

    fn rest(&mut self, stopped: Stopped) {
        self.last_error = stopped_words(&stopped);
        self.phase = Phase::Stopped(stopped);
        self.failures = 0;
    }
}

fn stopped_words(stopped: &Stopped) -> Option<String> {
    match stopped {
        Stopped::NotStarted | Stopped::ByRequest => None,
        Stopped::LoggedOut(words) | Stopped::Banned { words, .. } | Stopped::Unlinkable(words) => {
            Some(words.clone())
        }
        Stopped::NotScanned => Some(
            "the QR code was not scanned in time; POST /accounts/:id/connect shows a new one"
                .into(),
        ),
    }
}

/// The pause before attempt `failures + 1`: doubling from [`FIRST_PAUSE`], and up to a half more by
/// `random`, so that a router's return does not bring every account back at the same moment; at
/// most [`LONGEST_PAUSE`], where the earlier ones have spread them already.
pub fn pause(failures: u32, random: f64) -> Millis {
    let doublings = failures.saturating_sub(1).min(16);
    let full = FIRST_PAUSE << doublings;
    let spread = (full as f64 * 0.5 * random.clamp(0.0, 1.0)) as Millis;
    (full + spread).min(LONGEST_PAUSE)
}
