//! WhatsApp's answers about numbers, kept for a day: many questions about numbers look like a harvest of them, so
//! WhatsApp is asked once about each. In memory: a restart asks anew. Pure.

use std::collections::HashMap;

use crate::clock::Millis;
use crate::whatsapp::Registration;

/// How long an answer holds.
const LIFE: Millis = 24 * 3_600_000;
/// Answers that are kept for each account, some 150 bytes each; the oldest goes first. As many as one request may check.
const MOST: usize = 1024;

/// The answers of one account, by the JID that was asked about.
#[derive(Debug, Default)]
pub struct Registrations(HashMap<Box<str>, (Millis, Registration)>);

impl Registrations {
    /// The answer about `jid`, if there is one that still holds at time `now`.
    pub fn get(&self, jid: &str, now: Millis) -> Option<Registration> {
        let (at, registration) = self.0.get(jid)?;
        (now.saturating_sub(*at) < LIFE).then(|| registration.clone())
    }

    /// Keeps an answer that was given at time `now`.
    pub fn put(&mut self, jid: &str, registration: Registration, now: Millis) {
        if self.0.len() >= MOST && !self.0.contains_key(jid) {
            self.0.retain(|_, (at, _)| now.saturating_sub(*at) < LIFE);
            let oldest = self.0.iter().min_by_key(|(_, (at, _))| *at);
            if let Some(jid) = oldest.map(|(jid, _)| jid.clone())
                && self.0.len() >= MOST
            {
                self.0.remove(&jid);
            }
        }
        self.0.insert(jid.into(), (now, registration));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_valid_for_a_day() {
        let mut registrations = Registrations::default();
        registrations.put("a", Registration::Absent, 1_000);
        assert_eq!(
            registrations.get("a", 1_000 + LIFE - 1),
            Some(Registration::Absent)
        );
        assert_eq!(registrations.get("a", 1_000 + LIFE), None);
        assert_eq!(registrations.get("b", 1_000), None);
    }

    #[test]
    fn the_newest_answers_are_kept() {
        let mut registrations = Registrations::default();
        for n in 0..2 * MOST {
            registrations.put(&n.to_string(), Registration::Absent, n as Millis);
        }
        assert_eq!(registrations.0.len(), MOST);
        let now = 2 * MOST as Millis;
        assert!(registrations.get(&(MOST - 1).to_string(), now).is_none());
        assert!(registrations.get(&MOST.to_string(), now).is_some());
    }
}
