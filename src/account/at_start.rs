//! The state machine of an account when the server starts, and the ban that is stored for it.

use crate::clock::{self, Millis};
use crate::store::accounts::{AccountRecord, EndReason, Ended, Wanted};

use super::backoff;
use super::machine::Machine;
use super::machine::phase::Stopped;

/// The machine of a stored account.
pub fn machine_of(record: &AccountRecord) -> Machine {
    let words = || record.last_error.clone().unwrap_or_default();
    let stopped = match (record.ended.map(|ended| ended.reason), record.wanted) {
        (Some(EndReason::LoggedOut), _) => Stopped::LoggedOut(words()),
        (Some(EndReason::Banned), wanted) => Stopped::Banned {
            words: words(),
            until: ban_of(record)
                .filter(|_| wanted == Wanted::Connected)
                .and_then(|ban| comes_back(&ban)),
        },
        (None, Wanted::Disconnected) if record.jid.is_some() => Stopped::ByRequest,
        (None, Wanted::Disconnected | Wanted::Connected) => Stopped::NotStarted,
    };
    Machine::new(record.jid.is_some(), stopped, clock::ticks())
}

/// The ban that is stored, if one holds.
pub fn ban_of(record: &AccountRecord) -> Option<Ended> {
    record
        .ended
        .filter(|ended| ended.reason == EndReason::Banned)
}

/// When an account reconnects after a ban from an earlier run, or from before the clock was set; by
/// [`clock::ticks`].
pub fn comes_back(ban: &Ended) -> Option<Millis> {
    let left = ban.until?.saturating_sub(clock::now());
    let pause = backoff::behind_ban(1, fastrand::f64());
    Some(clock::ticks().saturating_add(left).saturating_add(pause))
}
