//! When a login is complete, also where the client never says so.
//!
//! The client announces `Connected` only after the critical collections of the app state (the push name, blocked
//! contacts) are synced. Where WhatsApp refuses them, or the phone has not shared their key, it does not announce it at
//! all, ends the connection after 180 s and begins again: an account that sends and receives stays "connecting" in
//! circles (whatsapp-rust #1291). So a login counts as complete when the client says that this sync has failed, and
//! [`GRACE`] after the messages that waited are there.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use event_listener::Event;
use futures_lite::FutureExt as _;

use crate::clock::{self, Millis};
use crate::sync::locked;

/// How long `Connected` is waited for behind the messages that waited.
const GRACE: Millis = 20_000;
/// The client's pause before it ends a connection whose critical sync has not succeeded; it sleeps so long for
/// nothing else.
const WATCHDOG: Duration = Duration::from_secs(180);
/// What that is made: the new connection is the client's own way to try the sync again, and is not worth an
/// interruption every three minutes.
const SYNC_AGAIN: Duration = Duration::from_secs(3_600);

/// What is said of an account that is connected without its app state.
pub const WITHOUT_STATE: &str = "connected; contacts and settings could not be fetched yet, because WhatsApp or the phone did not hand them out: \
     it is tried again within the hour";

/// The stage of a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Stage {
    /// Not logged in.
    #[default]
    Away,
    /// What had waited at WhatsApp is there since then, by ticks.
    Drained(Millis),
    /// The client cannot sync, and the messages that waited are there.
    Failed,
    /// The login was reported.
    Told,
}

/// One session's logins. Clones share them.
#[derive(Clone, Default)]
pub struct Arrival(Arc<(Mutex<Stage>, Event)>);

impl Stage {
    /// When it is reported without the client's event; `None` if it is not.
    fn due(self) -> Option<Millis> {
        match self {
            Stage::Away | Stage::Told => None,
            Stage::Drained(at) => Some(at.saturating_add(GRACE)),
            Stage::Failed => Some(0),
        }
    }
}

impl Arrival {
    /// A connection begins or ends.
    pub fn away(&self) {
        self.set(|_| Stage::Away);
    }

    /// What had waited at WhatsApp is there.
    pub fn drained(&self) {
        let now = clock::ticks();
        self.set(|stage| match stage {
            Stage::Away => Stage::Drained(now),
            other => other,
        });
    }

    /// The client has said `Connected`.
    pub fn connected(&self) {
        self.set(|_| Stage::Told);
    }

    /// The client has said that it cannot sync, and not `Connected`.
    pub fn failed(&self) {
        self.set(|stage| match stage {
            Stage::Drained(_) => Stage::Failed,
            other => other,
        });
    }

    /// Resolves when the login is complete although the client has not said so; once for each login.
    pub async fn overdue(&self) {
        loop {
            let news = self.0.1.listen();
            let due = self.stage().due();
            let now = clock::ticks();
            let pause = async {
                match due {
                    Some(at) => clock::sleep(Duration::from_millis(at.saturating_sub(now))).await,
                    None => std::future::pending().await,
                }
            };
            if due.is_some_and(|at| at <= now) {
                *self.stage() = Stage::Told;
                return;
            }
            news.or(pause).await;
        }
    }

    fn set(&self, change: impl FnOnce(Stage) -> Stage) {
        let mut stage = self.stage();
        *stage = change(*stage);
        drop(stage);
        self.0.1.notify(usize::MAX);
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        locked(&self.0.0)
    }
}

/// How long the client sleeps that wants to sleep so long.
pub fn slept(wanted: Duration) -> Duration {
    match wanted == WATCHDOG {
        true => SYNC_AGAIN,
        false => wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::{block_on, poll_once};

    fn is_overdue(arrival: &Arrival) -> bool {
        block_on(poll_once(arrival.overdue())).is_some()
    }

    #[test]
    fn a_failed_sync_counts_at_once_and_once_and_only_behind_the_messages() {
        let arrival = Arrival::default();
        arrival.failed();
        assert!(!is_overdue(&arrival), "not logged in");
        arrival.drained();
        assert!(!is_overdue(&arrival), "the client has its grace");
        arrival.failed();
        assert!(is_overdue(&arrival));
        assert!(!is_overdue(&arrival), "once");
        arrival.away();
        arrival.drained();
        arrival.connected();
        arrival.failed();
        assert!(!is_overdue(&arrival), "the client was first");
    }

    #[test]
    fn the_grace_is_counted_from_the_last_message() {
        assert_eq!(Stage::Drained(5).due(), Some(5 + GRACE));
        assert_eq!(Stage::Failed.due(), Some(0));
        assert_eq!((Stage::Away.due(), Stage::Told.due()), (None, None));
    }

    #[test]
    fn only_the_watchdog_sleeps_longer() {
        assert_eq!(slept(Duration::from_secs(180)), SYNC_AGAIN);
        for other in [20, 60, 179, 181, 300] {
            let other = Duration::from_secs(other);
            assert_eq!(slept(other), other);
        }
    }
}
