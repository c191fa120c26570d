//! Idempotency keys whose request is under way, and the options of a request to send.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::clock::Millis;
use crate::store::idempotency::Answer;
use crate::sync::locked;

use super::caller::Caller;
use super::types::{Accepted, AccountError, Once, Outcome, Sent};

/// Account and key.
pub type Name = (u32, String);

/// The keys whose request is being worked on. Bounded by the requests and sends under way.
#[derive(Debug, Clone, Default)]
pub struct Claims(Arc<Mutex<HashMap<Name, async_channel::Receiver<()>>>>);

/// The right to send with a key. Whoever waits for it goes on when it is dropped.
#[derive(Debug)]
pub struct Claim {
    pub once: Once,
    claims: Claims,
    name: Name,
    /// Closes with this.
    _done: async_channel::Sender<()>,
}

impl Claim {
    pub fn new(once: Once, claims: &Claims, name: Name, done: async_channel::Sender<()>) -> Claim {
        Claim {
            once,
            claims: claims.clone(),
            name,
            _done: done,
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.claims.lock().remove(&self.name);
    }
}

impl Claims {
    pub fn lock(&self) -> MutexGuard<'_, HashMap<Name, async_channel::Receiver<()>>> {
        locked(&self.0)
    }
}

/// How a message is to be sent.
#[derive(Debug, Default)]
pub struct Manner {
    /// Take it even if it cannot go now.
    pub queue: bool,
    /// Milliseconds from now on after which it is not sent any more.
    pub expires_in: Option<Millis>,
    /// The caller's idempotency key.
    pub claim: Option<Claim>,
    /// Who waits for the outcome.
    pub caller: Caller,
}

/// An answer as it was first given.
pub fn outcome(answer: Answer, message_id: String) -> Result<Outcome, AccountError> {
    match answer {
        Answer::Sent(timestamp) => Ok(Outcome::Sent(Sent {
            message_id,
            timestamp,
        })),
        Answer::Accepted { words, expires_at } => Ok(Outcome::Accepted(Accepted::new(
            message_id, expires_at, words,
        ))),
        Answer::Refused { code, words } => Err(AccountError::Refused {
            code,
            text: words,
            message_id,
        }),
    }
}
