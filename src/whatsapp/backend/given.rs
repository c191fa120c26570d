//! To which devices our sender key of a group has gone, as long as that is not certain.
//!
//! The client notes a device as soon as the message that carries the key is on its way. If the power
//! goes before it has arrived, the note must not be on disk: nobody would ever give the device that
//! key again, and all that the account says in that group would have to be asked for. So it is kept
//! here until WhatsApp has acknowledged the message, which is when WhatsApp Web notes it.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Notes kept; with more, all are forgotten, and the keys go out once more after the next start.
const MOST: usize = 8192;

/// Group and device.
type Note = (String, String);

#[derive(Debug, Default)]
pub struct Given(Mutex<BTreeSet<Note>>);

impl Given {
    pub fn add(&self, group: &str, device: &str) {
        let mut notes = self.lock();
        if notes.len() >= MOST {
            notes.clear();
        }
        notes.insert((group.to_owned(), device.to_owned()));
    }

    /// The devices of a group.
    pub fn of(&self, group: &str) -> Vec<String> {
        let notes = self.lock();
        let of_group = notes.iter().filter(|(g, _)| g == group);
        of_group.map(|(_, device)| device.clone()).collect()
    }

    /// Forgets what `is_doomed`, of group and device.
    pub fn forget(&self, is_doomed: impl Fn(&str, &str) -> bool) {
        self.lock()
            .retain(|(group, device)| !is_doomed(group, device));
    }

    /// The devices of a group, which are forgotten here.
    pub fn take(&self, group: &str) -> Vec<String> {
        let devices = self.of(group);
        self.forget(|g, _| g == group);
        devices
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<Note>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_kept_by_group_and_bounded() {
        let given = Given::default();
        for (group, device) in [("g", "1"), ("g", "2"), ("h", "1")] {
            given.add(group, device);
        }
        given.forget(|group, device| group == "g" && device == "2");
        assert_eq!(given.take("g"), ["1"]);
        assert_eq!(given.take("g"), [""; 0]);
        assert_eq!(given.of("h"), ["1"]);
        for n in 0..=MOST {
            given.add("i", &n.to_string());
        }
        assert!(given.of("i").len() <= MOST);
    }
}
