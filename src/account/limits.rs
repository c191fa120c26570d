//! What an account knows in memory of WhatsApp's limits on new contacts.

use std::collections::HashMap;

use crate::clock::Millis;
use crate::whatsapp::Told;

use super::reach::{self, Restricted};

/// People that are remembered because WhatsApp refused them alone, of each account.
const ALONE: usize = 64;

/// What an account knows of WhatsApp's limits, beside what is stored. Shown without a look at the store.
#[derive(Debug, Default)]
pub struct Limits {
    pub restricted: Option<Restricted>,
    alone: HashMap<Box<str>, Alone>,
}

/// A person whom WhatsApp refused though no restriction concerns them.
#[derive(Debug, Clone, Copy)]
struct Alone {
    strikes: u32,
    /// By [`clock::ticks`].
    until: Millis,
    /// Whether nothing had been exchanged: once something is, all is different.
    was_stranger: bool,
}

/// What WhatsApp has answered last about each limit, and when by [`clock::ticks`].
pub type Answers = [Option<(Millis, Option<Told>)>; 2];

impl Limits {
    /// What holds up all messages to new contacts at `now`, by [`clock::now`](crate::clock::now).
    pub fn restricted(&self, now: Millis) -> Option<Restricted> {
        self.restricted.clone().filter(|it| it.until > now)
    }

    /// How many milliseconds nothing goes to this person, whom WhatsApp has refused alone.
    pub fn refused_alone(&self, jid: &str, is_stranger: bool, ticks: Millis) -> Option<Millis> {
        let alone = self.alone.get(jid)?;
        let holds = alone.until > ticks && (is_stranger || !alone.was_stranger);
        holds.then(|| alone.until - ticks)
    }

    /// WhatsApp has refused this person alone; `first` is the first pause in milliseconds.
    pub fn refuse_alone(&mut self, jid: &str, was_stranger: bool, first: Millis, ticks: Millis) {
        let known = self.alone.get(jid).copied();
        let (strikes, until) = known.map_or((0, 0), |known| (known.strikes, known.until));
        let (strikes, until) = reach::refused(strikes, until, first, ticks);
        if self.alone.len() >= ALONE && known.is_none() {
            let soonest = self.alone.iter().min_by_key(|(_, alone)| alone.until);
            if let Some(jid) = soonest.map(|(jid, _)| jid.clone()) {
                self.alone.remove(&jid);
            }
        }
        let alone = Alone {
            strikes,
            until,
            was_stranger,
        };
        self.alone.insert(jid.into(), alone);
    }

    /// A message has reached this person.
    pub fn accept(&mut self, jid: &str) {
        self.alone.remove(jid);
    }

    /// Another number may be paired next.
    pub fn forget_people(&mut self) {
        self.alone.clear();
    }

    /// Whether WhatsApp has refused no person alone.
    pub fn is_open(&self) -> bool {
        self.alone.is_empty()
    }
}
