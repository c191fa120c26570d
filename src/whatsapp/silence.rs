//! Finds a connection that is open and deaf: nothing comes, and a ping is not answered.
//!
//! The client has a keep-alive of its own (a ping after 15 to 30 s of idleness, and an end after
//! 20 s without an answer), so that on a healthy connection something comes at least every 45 s. It
//! stops watching, however, when a ping cannot be sent at all, and finds out late at times; this
//! watch is ours, has its limit in the configuration, and ends the session itself.

use std::time::Duration;

use whatsapp_rust::wacore::iq::keepalive::KeepaliveSpec;
use whatsapp_rust::{Client, IqError};

use crate::clock::{self, Millis};
use crate::sync::within;

/// The longest that WhatsApp may take to answer a ping.
const LONGEST_ANSWER: Duration = Duration::from_secs(20);

/// How long nothing may come before the connection is asked for a sign of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    pub silence: Duration,
    /// Reaching WhatsApp and logging in may take this much longer.
    pub login: Duration,
}

/// What the watch sees of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    /// When the run began.
    began: Millis,
    /// When something came last; before `began` if nothing has.
    heard: Millis,
    /// Whether WhatsApp knows who this is; else it answers no ping.
    logged_in: bool,
    /// Whether the phone has accepted this device. Without that the session waits for a person.
    paired: bool,
}

/// What to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    /// Look again then.
    Wait(Duration),
    Ping,
    /// It is deaf, in words.
    Give(String),
}

impl Patience {
    /// How long a ping's answer may take.
    fn answer(&self) -> Duration {
        self.silence.min(LONGEST_ANSWER)
    }

    fn step(&self, seen: Seen, now: Millis) -> Step {
        if !seen.paired {
            return Step::Wait(self.silence);
        }
        let limit = match seen.logged_in {
            true => self.silence,
            false => self.silence.saturating_add(self.login),
        };
        // A clock that was set back says nothing: asking costs little.
        let silent = match now.checked_sub(seen.heard.max(seen.began)) {
            Some(silent) => Duration::from_millis(silent),
            None => limit,
        };
        match limit.checked_sub(silent).filter(|left| !left.is_zero()) {
            // A login that is over meanwhile makes the limit shorter.
            Some(left) => Step::Wait(left.min(self.silence)),
            None if seen.logged_in => Step::Ping,
            None => Step::Give("WhatsApp did not answer the login".into()),
        }
    }
}

/// Resolves when the connection of `client`'s present run is deaf, with the words for that.
pub async fn until_deaf(client: &Client, patience: Patience) -> String {
    let began = clock::now();
    loop {
        let seen = Seen {
            began,
            heard: client.stats().last_data_received_ms,
            logged_in: client.is_connected() && client.is_logged_in(),
            paired: client.pn().is_some(),
        };
        match patience.step(seen, clock::now()) {
            Step::Wait(left) => {
                smol::Timer::after(left).await;
            }
            Step::Give(words) => return words,
            Step::Ping => {
                let after = patience.answer();
                // The client counts from when the ping is sent, which may itself get stuck.
                let ping = client.execute(KeepaliveSpec::with_timeout(after));
                let ping = within(after, ping).await.unwrap_or(Err(IqError::Timeout));
                let heard = client.stats().last_data_received_ms > seen.heard;
                match ping {
                    Err(IqError::Timeout) if !heard => {
                        let silent = patience.silence.saturating_add(after);
                        return format!(
                            "the connection was dead: nothing came for {} s, nor an answer to a ping",
                            silent.as_secs()
                        );
                    }
                    // An answer, be it a refusal; or the connection has just ended, which ends the
                    // run: not at once, perhaps, and this is not to spin meanwhile.
                    Ok(()) => {}
                    Err(error) => {
                        log::debug!(
                            "a ping after {} s of silence: {error}",
                            patience.silence.as_secs()
                        );
                        smol::Timer::after(after).await;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience {
        silence: Duration::from_secs(40),
        login: Duration::from_secs(30),
    };

    fn online(began: Millis, heard: Millis) -> Seen {
        Seen {
            began,
            heard,
            logged_in: true,
            paired: true,
        }
    }

    #[test]
    fn silence_is_counted_from_what_came_last() {
        let step = |now| PATIENCE.step(online(1_000, 5_000), now);
        assert_eq!(step(5_000), Step::Wait(Duration::from_secs(40)));
        assert_eq!(step(44_999), Step::Wait(Duration::from_millis(1)));
        assert_eq!(step(45_000), Step::Ping);
        assert_eq!(step(4_000), Step::Ping, "the clock was set back");
        // What an earlier connection heard is not this one's silence.
        let step = PATIENCE.step(online(100_000, 5_000), 100_000);
        assert_eq!(step, Step::Wait(Duration::from_secs(40)));
    }

    #[test]
    fn a_login_has_longer_and_is_not_pinged() {
        let seen = Seen {
            logged_in: false,
            ..online(1_000, 0)
        };
        let step = |now| PATIENCE.step(seen, now);
        assert_eq!(step(70_999), Step::Wait(Duration::from_millis(1)));
        assert_eq!(
            step(1_000),
            Step::Wait(Duration::from_secs(40)),
            "looks again as soon as a session would have to be asked"
        );
        assert!(matches!(PATIENCE.step(seen, 71_000), Step::Give(_)));
    }

    #[test]
    fn who_waits_for_a_person_is_left_alone() {
        let seen = Seen {
            logged_in: false,
            paired: false,
            ..online(0, 0)
        };
        assert!(matches!(PATIENCE.step(seen, 1 << 40), Step::Wait(_)));
    }

    #[test]
    fn the_answer_is_waited_for_no_longer_than_the_silence() {
        assert_eq!(PATIENCE.answer(), LONGEST_ANSWER);
        let short = Patience {
            silence: Duration::from_secs(2),
            ..PATIENCE
        };
        assert_eq!(short.answer(), Duration::from_secs(2));
    }
}
