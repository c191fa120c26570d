//! Groups whose stored members or devices are out of date: the hash over them in WhatsApp's acknowledgement was
//! another than that of the message. Before the next message they are asked for anew.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use crate::clock::Millis;
use crate::sync::locked;

/// After a refresh that did not make the hashes equal there is no other one for so long, in milliseconds: the
/// two may count differently.
const REST: Millis = 3_600_000;

/// Groups that are known here; with more, all are forgotten.
const MOST: usize = 1024;

#[derive(Debug, Default)]
pub struct Stale(Mutex<BTreeMap<String, Group>>);

#[derive(Debug, Default)]
struct Group {
    is_due: bool,
    /// By [`crate::clock::ticks`].
    refreshed: Option<Millis>,
}

impl Stale {
    /// The hashes differ. Whether a refresh is due now.
    pub fn differs(&self, group: &str, ticks: Millis) -> bool {
        let mut groups = self.lock();
        if groups.len() >= MOST && !groups.contains_key(group) {
            groups.clear();
        }
        let known = groups.entry(group.to_owned()).or_default();
        let rests = |at: Millis| ticks.saturating_sub(at) < REST;
        known.is_due |= !known.refreshed.is_some_and(rests);
        known.is_due
    }

    /// Whether the next message has to refresh the group; clears the mark.
    pub fn take(&self, group: &str, ticks: Millis) -> bool {
        let mut groups = self.lock();
        let Some(known) = groups.get_mut(group).filter(|known| known.is_due) else {
            return false;
        };
        *known = Group {
            is_due: false,
            refreshed: Some(ticks),
        };
        true
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Group>> {
        locked(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_refreshed_once_and_again_after_a_rest() {
        let stale = Stale::default();
        assert!(!stale.take("g", 0));
        assert!(stale.differs("g", 5));
        assert!(!stale.take("h", 6));
        assert!(stale.take("g", 6) && !stale.take("g", 7));
        assert!(!stale.differs("g", 7 + REST / 2));
        assert!(!stale.take("g", 8 + REST / 2));
        assert!(stale.differs("g", 6 + REST) && stale.take("g", 6 + REST));
        for n in 0..=MOST {
            stale.differs(&n.to_string(), 0);
        }
        assert!(stale.lock().len() <= MOST);
    }
}
