//! What WhatsApp has said of people that it was asked about, kept for a day: a program that writes to one
//! number again and again makes WhatsApp be asked once, for many questions about numbers look like
//! a harvest of them. In memory: a restart asks anew. Pure.

use std::collections::HashMap;

use crate::clock::Millis;
use crate::whatsapp::Standing;

/// How long an answer holds.
const LIFE: Millis = 24 * 3_600_000;
/// Answers that are kept, of each account; the oldest goes first.
const MOST: usize = 256;

/// The answers of one account, by the JID that was asked about.
#[derive(Debug, Default)]
pub struct Standings(HashMap<Box<str>, (Millis, Standing)>);

impl Standings {
    /// The answer about `jid`, if there is one that still holds at time `now`.
    pub fn get(&self, jid: &str, now: Millis) -> Option<Standing> {
        let (at, standing) = self.0.get(jid)?;
        (now.saturating_sub(*at) < LIFE).then(|| standing.clone())
    }

    /// Keeps an answer that was given at time `now`.
    pub fn put(&mut self, jid: &str, standing: Standing, now: Millis) {
        if self.0.len() >= MOST && !self.0.contains_key(jid) {
            self.0.retain(|_, (at, _)| now.saturating_sub(*at) < LIFE);
            let oldest = self.0.iter().min_by_key(|(_, (at, _))| *at);
            if let Some(jid) = oldest.map(|(jid, _)| jid.clone())
                && self.0.len() >= MOST
            {
                self.0.remove(&jid);
            }
        }
        self.0.insert(jid.into(), (now, standing));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_holds_for_a_day() {
        let mut standings = Standings::default();
        standings.put("a", Standing::Absent, 1_000);
        assert_eq!(standings.get("a", 1_000 + LIFE - 1), Some(Standing::Absent));
        assert_eq!(standings.get("a", 1_000 + LIFE), None);
        assert_eq!(standings.get("b", 1_000), None);
    }

    #[test]
    fn so_many_are_kept_and_the_newest_stay() {
        let mut standings = Standings::default();
        for n in 0..2 * MOST {
            standings.put(&n.to_string(), Standing::Absent, n as Millis);
        }
        assert_eq!(standings.0.len(), MOST);
        let now = 2 * MOST as Millis;
        assert!(standings.get(&(MOST - 1).to_string(), now).is_none());
        assert!(standings.get(&MOST.to_string(), now).is_some());
    }
}
