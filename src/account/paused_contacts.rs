//! What an account knows in memory of WhatsApp's limits on new contacts.

use std::collections::HashMap;

use crate::clock::Millis;
use crate::whatsapp::LimitStatus;

use super::contact_limits::{self, Restricted};

/// People remembered for each account because WhatsApp refused messages to them only.
const ALONE: usize = 64;

/// WhatsApp's limits of one account as far as they are kept in memory.
#[derive(Debug, Default)]
pub struct Limits {
    pub restricted: Option<Restricted>,
    alone: HashMap<Box<str>, Alone>,
}

/// A person to whom WhatsApp refused a message although no restriction holds.
#[derive(Debug, Clone, Copy)]
struct Alone {
    strikes: u32,
    /// By [`clock::ticks`].
    until: Millis,
    /// Whether nothing had been exchanged: once something is, all is different.
    was_stranger: bool,
}

/// What WhatsApp has answered last about each limit, and when by [`clock::ticks`].
pub type Answers = [Option<(Millis, Option<LimitStatus>)>; 2];

impl Limits {
    /// What holds up all messages to new contacts at `now`, by [`clock::now`](crate::clock::now).
    pub fn restricted(&self, now: Millis) -> Option<Restricted> {
        self.restricted.clone().filter(|it| it.until > now)
    }

    /// Milliseconds until this person, to whom WhatsApp refused a message, may be written to again.
    pub fn refused_alone(&self, jid: &str, is_stranger: bool, ticks: Millis) -> Option<Millis> {
        let alone = self.alone.get(jid)?;
        let holds = alone.until > ticks && (is_stranger || !alone.was_stranger);
        holds.then(|| alone.until - ticks)
    }

    /// Notes a refused message to this person; `first` is the first pause in milliseconds.
    pub fn refuse_alone(&mut self, jid: &str, was_stranger: bool, first: Millis, ticks: Millis) {
        let known = self.alone.get(jid).copied();
        let (strikes, until) = known.map_or((0, 0), |known| (known.strikes, known.until));
        let (strikes, until) = contact_limits::refused(strikes, until, first, ticks);
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

    /// Forgets the refusals of this person: a message has arrived.
    pub fn accept(&mut self, jid: &str) {
        self.alone.remove(jid);
    }

    /// Forgets all people: another number may be paired next.
    pub fn forget_people(&mut self) {
        self.alone.clear();
    }

    /// Whether no refused person is remembered.
    pub fn is_open(&self) -> bool {
        self.alone.is_empty()
    }
}
