//! Which accounts are not as they are wanted to be.

use crate::clock::{self, Millis};

use super::live::LiveState;
use super::registry::Accounts;
use super::types::Status;

/// How an account does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountHealth {
    pub id: String,
    pub status: Status,
    /// Since when.
    pub since: Millis,
    /// What is wrong, in words.
    pub problem: Option<String>,
    /// Until when nothing goes to new contacts, which is no problem that a monitor could mend.
    pub restricted_until: Option<Millis>,
}

impl Accounts {
    /// How every account does, in order of creation. `patience` is how long one may be without its
    /// connection. Looks at memory only.
    pub fn health(&self, patience: Millis) -> Vec<AccountHealth> {
        let ticks = clock::ticks();
        let mut all: Vec<_> = {
            let drivers = self.lock();
            let handles = drivers.by_id.iter();
            handles
                .map(|(id, handle)| {
                    let restricted = handle.live.restricted().map(|it| it.until);
                    (handle.number, id.clone(), handle.live.get(), restricted)
                })
                .collect()
        };
        all.sort_unstable_by_key(|(number, ..)| *number);
        all.into_iter()
            .map(|(_, id, live, restricted_until)| AccountHealth {
                id,
                status: live.status,
                since: live.since,
                problem: problem(&live, ticks, patience),
                restricted_until,
            })
            .collect()
    }
}

fn problem(live: &LiveState, ticks: Millis, patience: Millis) -> Option<String> {
    let error = live.last_error.as_deref();
    match live.status {
        // As it is wanted, or as a person left it.
        Status::Connected
        | Status::Created
        | Status::Disconnected
        | Status::NotStarted
        | Status::PasskeyRequired => None,
        Status::LoggedOut => Some(match error {
            Some(error) => format!("logged out: {error}"),
            None => "logged out".to_owned(),
        }),
        Status::Connecting | Status::Reconnecting => {
            let since = match live.paired {
                true => live.ticks,
                // It waits for its phone, unless it cannot even reach WhatsApp.
                false => live.cut_off_since?,
            };
            let away = ticks.saturating_sub(since);
            (away >= patience).then(|| {
                let seconds = away / 1000;
                match error {
                    Some(error) => format!("not connected for {seconds} s: {error}"),
                    None => format!("not connected for {seconds} s"),
                }
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(status: Status, paired: bool, last_error: Option<&str>) -> LiveState {
        LiveState {
            status,
            active: true,
            since: 0,
            ticks: 100_000,
            cut_off_since: None,
            qr: None,
            qr_turn: Default::default(),
            reason: None,
            attempt: None,
            next_attempt: None,
            passkey: None,
            banned_until: None,
            last_error: last_error.map(str::to_owned),
            paired,
            session: None,
            no_room: None,
        }
    }

    #[test]
    fn what_a_person_wanted_is_no_problem() {
        for status in [
            Status::Connected,
            Status::Created,
            Status::Disconnected,
            Status::NotStarted,
            Status::PasskeyRequired,
        ] {
            let live = live(status, true, Some("words"));
            assert_eq!(problem(&live, 1 << 40, 0), None, "{status:?}");
        }
        for error in [None, Some("of an attempt before")] {
            let waits = live(Status::Connecting, false, error);
            assert_eq!(problem(&waits, 1 << 40, 0), None);
        }
    }

    #[test]
    fn a_lost_connection_is_one_after_a_while() {
        let lost = live(Status::Reconnecting, true, Some("no route"));
        assert_eq!(problem(&lost, 219_999, 120_000), None);
        assert_eq!(
            problem(&lost, 220_000, 120_000).as_deref(),
            Some("not connected for 120 s: no route")
        );
        let unpaired = LiveState {
            cut_off_since: Some(150_000),
            ..live(Status::Connecting, false, Some("no route"))
        };
        assert_eq!(problem(&unpaired, 269_999, 120_000), None);
        assert_eq!(
            problem(&unpaired, 270_000, 120_000).as_deref(),
            Some("not connected for 120 s: no route")
        );
        let starts = live(Status::Connecting, true, None);
        assert_eq!(
            problem(&starts, 101_000, 0).as_deref(),
            Some("not connected for 1 s")
        );
    }

    #[test]
    fn a_lost_pairing_is_one_at_once() {
        let out = live(Status::LoggedOut, true, Some("unlinked"));
        assert_eq!(
            problem(&out, 100_000, 120_000).as_deref(),
            Some("logged out: unlinked")
        );
    }
}
