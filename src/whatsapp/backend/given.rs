//! To which devices our sender key of a group has gone, as long as that is not certain.
//!
//! The client notes a device as soon as the message that carries the key is on its way. If the power
//! goes before it has arrived, the note must not be on disk: no task would ever give the device that
//! key again, and all that the account says in that group would have to be asked for. So it is kept
//! here until WhatsApp has acknowledged the message, which is when WhatsApp Web notes it.

//! The client also notes devices for which it could not encrypt the key. They would go without it for ever, so
//! only those count that stand in the message's stanza.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard};

use whatsapp_rust::Jid;

use crate::sync::locked;
use crate::whatsapp::outgoing::{Outgoing, named};

/// Notes kept; with more, all are forgotten, and the keys go out once more after the next start.
const MOST: usize = 8192;

/// Group and device.
type Note = (String, String);

#[derive(Default)]
pub struct Given {
    notes: Mutex<BTreeSet<Note>>,
    /// Messages that are under way, each with its group and id. Bounded by the requests in flight.
    stanzas: Mutex<Vec<(Note, Outgoing)>>,
}

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

    /// A message to the group is about to go, with the key for whom its stanza will name.
    pub fn watch(&self, group: &str, id: &str, stanza: Outgoing) {
        self.unwatch(group, id);
        let note = (group.to_owned(), id.to_owned());
        self.stanzas().push((note, stanza));
    }

    /// That message is over.
    pub fn unwatch(&self, group: &str, id: &str) {
        self.stanzas()
            .retain(|((of, known), _)| of != group || known != id);
    }

    /// Whether the key has really gone to a device of the group to which the client says that it has. Of a
    /// message that is not watched it is believed.
    pub fn is_keyed(&self, group: &str, device: &str) -> bool {
        let stanzas = self.stanzas();
        let of_group = stanzas.iter().filter(|((of, _), _)| of == group);
        let mut seen = of_group.filter_map(|(_, stanza)| stanza.seen()).peekable();
        if seen.peek().is_none() {
            return true;
        }
        let Ok(device) = device.parse::<Jid>() else {
            return false;
        };
        seen.any(|stanza| {
            let named = named(&stanza).unwrap_or_default();
            named
                .iter()
                .any(|jid| jid.user == device.user && jid.device == device.device)
        })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<Note>> {
        locked(&self.notes)
    }

    fn stanzas(&self) -> MutexGuard<'_, Vec<(Note, Outgoing)>> {
        locked(&self.stanzas)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use whatsapp_rust::NodeBuilder;
    use whatsapp_rust::futures::channel::oneshot;

    /// whatsapp-rust #1328: the whole list counted as having the key.
    #[test]
    fn only_devices_that_stand_in_the_stanza_have_the_key() {
        let given = Given::default();
        assert!(given.is_keyed("g", "1:2@lid"), "nothing says otherwise");
        let (sender, receiver) = oneshot::channel();
        given.watch("g", "A", Outgoing::from(receiver));
        let to = NodeBuilder::new("to").attr("jid", "1:2@lid").build();
        let list = NodeBuilder::new("participants").children([to]).build();
        let stanza = NodeBuilder::new("message").children([list]).build();
        sender.send(Arc::new(stanza)).expect("watched");
        assert!(given.is_keyed("g", "1:2@lid"));
        assert!(!given.is_keyed("g", "1@lid") && !given.is_keyed("g", "2:2@lid"));
        assert!(given.is_keyed("h", "2:2@lid"), "another group");
        given.unwatch("g", "A");
        assert!(given.is_keyed("g", "2:2@lid"));
    }

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
