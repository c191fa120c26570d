//! What an account's driver shows to other tasks, and what these share: the status, the session, and the
//! limiters.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::clock::{self, Millis};
use crate::event::StatusDetail;
use crate::store::StoreError;
use crate::sync::locked;
use crate::whatsapp::{Online, Session};

use super::contact_limits::Restricted;
use super::look_ups::LookUps;
use super::machine::phase::Reason;
use super::pace::Pace;
use super::passkey::Exchange;
use super::paused_contacts::{Answers, Limits};
use super::registrations::Registrations;
use super::types::{SendingLimits, Status};

/// What a driver shows of itself.
pub struct Live {
    state: Mutex<LiveState>,
    pub pace: Mutex<Pace>,
    /// Whether the account shall be online.
    pub online: Online,
    /// The limiter of username lookups.
    pub look_ups: Mutex<LookUps>,
    /// WhatsApp's answers about people.
    pub registrations: Mutex<Registrations>,
    /// WhatsApp's limits on new contacts, and people to whom it refused messages.
    pub limits: Mutex<Limits>,
    /// Held while WhatsApp is asked about that.
    pub answers: smol::lock::Mutex<Answers>,
    /// Ids of the messages being sent. Bounded by the requests under way.
    in_flight: Mutex<HashSet<String>>,
    /// Wakes the outbox's task.
    kick: async_channel::Sender<()>,
}

/// Marks a message as being sent until dropped; then the outbox looks again.
pub struct InFlight {
    live: Arc<Live>,
    message_id: String,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        locked(&self.live.in_flight).remove(&self.message_id);
        self.live.kick();
    }
}

/// A snapshot of the machine, and the session to send with.
#[derive(Clone)]
pub struct LiveState {
    pub status: Status,
    /// Whether a session runs or is due.
    pub active: bool,
    /// Since when the status holds, and the same by [`clock::ticks`].
    pub since: Millis,
    pub ticks: Millis,
    /// Since when an account that was never paired cannot reach WhatsApp, by [`clock::ticks`].
    pub cut_off_since: Option<Millis>,
    pub qr: Option<String>,
    /// The turn of the code on show.
    pub qr_turn: QrTurn,
    pub reason: Option<Reason>,
    pub attempt: Option<u32>,
    /// When the next attempt begins, by [`clock::ticks`].
    pub next_attempt: Option<Millis>,
    /// The passkey that WhatsApp asks for.
    pub passkey: Option<Exchange>,
    pub last_error: Option<String>,
    /// When the ban is over, as far as WhatsApp has said.
    pub banned_until: Option<Millis>,
    pub paired: bool,
    pub session: Option<Arc<Session>>,
    /// Why nothing can be sent although an account wants to be connected: it waits for room on the disk.
    pub no_room: Option<StoreError>,
}

/// A QR code's turn among those of its set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QrTurn {
    /// When the next code replaces it.
    pub expires_at: Millis,
    /// From 1.
    pub number: u32,
}

impl LiveState {
    /// The fixed words and times beside the status.
    pub fn standing(&self) -> StatusDetail {
        let (now, ticks) = (clock::now(), clock::ticks());
        let next = self.next_attempt.map(|at| now + at.saturating_sub(ticks));
        StatusDetail {
            reason: self.reason.map(Reason::name),
            since: clock::iso8601(self.since),
            attempt: self.attempt,
            next_attempt: next.map(clock::iso8601),
        }
    }
}

impl Live {
    /// `kick` wakes the outbox's task.
    pub fn new(
        state: LiveState,
        limits: &SendingLimits,
        online: Online,
        kick: async_channel::Sender<()>,
    ) -> Live {
        let now = clock::ticks();
        Live {
            state: Mutex::new(state),
            pace: Mutex::new(Pace::new(limits.messages_per_minute, limits.burst, now)),
            online,
            look_ups: Mutex::new(LookUps::new(now)),
            registrations: Mutex::default(),
            limits: Mutex::default(),
            answers: smol::lock::Mutex::default(),
            in_flight: Mutex::default(),
            kick,
        }
    }

    pub fn get(&self) -> LiveState {
        self.lock().clone()
    }

    /// The session, and since when it is connected by [`clock::ticks`], if it is.
    pub fn connected(&self) -> Option<(Arc<Session>, Millis)> {
        let state = self.lock();
        match state.status {
            Status::Connected => Some((state.session.clone()?, state.ticks)),
            _ => None,
        }
    }

    /// What holds up all messages to new contacts now. Reads memory only.
    pub fn restricted(&self) -> Option<Restricted> {
        locked(&self.limits).restricted(clock::now())
    }

    /// Keeps other tasks from sending that message.
    pub fn begin_send(self: &Arc<Live>, message_id: &str) -> InFlight {
        locked(&self.in_flight).insert(message_id.to_owned());
        InFlight {
            live: Arc::clone(self),
            message_id: message_id.to_owned(),
        }
    }

    pub fn is_in_flight(&self, message_id: &str) -> bool {
        locked(&self.in_flight).contains(message_id)
    }

    /// Ids of the messages being sent.
    pub fn in_flight(&self) -> HashSet<String> {
        locked(&self.in_flight).clone()
    }

    pub(super) fn kick(&self) {
        // Full: it will look anyway. Closed: the account ends.
        let _ = self.kick.try_send(());
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, LiveState> {
        locked(&self.state)
    }
}
