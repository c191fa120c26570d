//! Picks the outbox entry that may be sent now. Pure. Times are those of [`clock::ticks`](crate::clock::ticks).

use std::collections::{HashMap, HashSet};

use crate::clock::Millis;
use crate::store::outbox::Entry;

/// The pause in milliseconds before the next try; doubled each time.
const FIRST_REST: Millis = 2_000;
const LONGEST_REST: Millis = 15 * 60_000;
/// Tries of a message that certainly was not sent, for reasons of its own.
pub const TRIES: u32 = 6;

/// How often an entry was tried, and when it is due again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Try {
    pub times: u32,
    pub due: Millis,
}

impl Try {
    /// The next try after one at time `now`.
    pub fn after(before: Option<Try>, now: Millis) -> Try {
        let times = before.map_or(0, |t| t.times).saturating_add(1);
        let rest = FIRST_REST
            .saturating_mul(1_u64 << (times - 1).min(16))
            .min(LONGEST_REST);
        Try {
            times,
            due: now.saturating_add(rest),
        }
    }
}

/// Goes through an outbox in its order and finds the first entry that may go. A chat whose entry
/// has to wait waits as a whole, so that its order is kept; the others go on.
#[derive(Debug)]
pub struct Picker<'a> {
    pub now: Millis,
    pub tries: &'a HashMap<String, Try>,
    /// Messages that other tasks are sending.
    pub in_flight: &'a HashSet<String>,
    held: HashSet<String>,
    /// When the next entry that waits for a time is due.
    pub next: Option<Millis>,
}

impl<'a> Picker<'a> {
    pub fn new(
        now: Millis,
        tries: &'a HashMap<String, Try>,
        in_flight: &'a HashSet<String>,
    ) -> Picker<'a> {
        Picker {
            now,
            tries,
            in_flight,
            held: HashSet::new(),
            next: None,
        }
    }

    /// Whether this entry, the next in order, may go. `wait`: until when its recipient is not to be
    /// written to.
    pub fn may_go(&mut self, entry: &Entry, wait: impl FnOnce() -> Option<Millis>) -> bool {
        if self.held.contains(&entry.to) {
            return false;
        }
        let due = self
            .tries
            .get(&entry.message_id)
            .map(|t| t.due)
            .filter(|due| *due > self.now);
        let paused = wait().filter(|until| *until > self.now);
        if due.is_none() && paused.is_none() && !self.in_flight.contains(&entry.message_id) {
            return true;
        }
        if let Some(due) = due.max(paused) {
            self.next = Some(self.next.map_or(due, |next| next.min(due)));
        }
        self.held.insert(entry.to.clone());
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::outbox::Stage;

    fn entry(id: &str, to: &str) -> Entry {
        Entry {
            message_id: id.into(),
            to: to.into(),
            change: None,
            stage: Stage::Queued,
            created_at: 0,
            send_at: None,
            expires_at: 1_000_000,
            size: 1,
            once: None,
            typing: false,
            mention_all: false,
        }
    }

    #[test]
    fn rests_grow_and_end() {
        let mut tried = None;
        let mut rests = Vec::new();
        for _ in 0..12 {
            let next = Try::after(tried, 500);
            rests.push((next.due - 500) / 1_000);
            tried = Some(next);
        }
        assert_eq!(rests, [2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900]);
    }

    #[test]
    fn a_chat_that_waits_keeps_its_order_and_holds_up_no_other() {
        let tries = HashMap::from([("1".to_owned(), Try { times: 1, due: 900 })]);
        let in_flight = HashSet::from(["3".to_owned()]);
        let mut picker = Picker::new(500, &tries, &in_flight);
        let free = || None;
        assert!(!picker.may_go(&entry("1", "bob"), free));
        assert!(!picker.may_go(&entry("2", "bob"), free), "out of order");
        assert!(!picker.may_go(&entry("3", "carol"), free), "twice");
        assert!(!picker.may_go(&entry("4", "carol"), free));
        assert!(picker.may_go(&entry("5", "dave"), free));
        assert_eq!(picker.next, Some(900));
    }

    #[test]
    fn a_recipient_that_has_to_wait_holds_up_no_other() {
        let (tries, in_flight) = (HashMap::new(), HashSet::new());
        let mut picker = Picker::new(500, &tries, &in_flight);
        assert!(!picker.may_go(&entry("1", "new"), || Some(800)));
        assert!(!picker.may_go(&entry("2", "new"), || None), "out of order");
        assert!(!picker.may_go(&entry("3", "newer"), || Some(700)));
        assert!(picker.may_go(&entry("4", "old"), || Some(500)), "over");
        assert_eq!(picker.next, Some(700));
    }
}
