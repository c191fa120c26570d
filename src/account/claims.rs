//! Idempotency keys whose request is under way, and the options of a request to send.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::clock::Millis;
use crate::store::idempotency::Answer;
use crate::sync::locked;

use super::caller::Caller;
use super::types::{Accepted, AccountError, KeyedRequest, Outcome, Sent};

/// Account and key.
pub type Name = (u32, String);

/// Keys of requests under way. Bounded by the number of those requests.
#[derive(Debug, Clone, Default)]
pub struct Claims(Arc<Mutex<HashMap<Name, async_channel::Receiver<()>>>>);

/// The right to send with a key. When it is dropped, requests that wait for the key go on.
#[derive(Debug)]
pub struct IdempotencyClaim {
    pub once: KeyedRequest,
    claims: Claims,
    name: Name,
    /// Closes with this.
    _done: async_channel::Sender<()>,
}

impl IdempotencyClaim {
    pub fn new(
        once: KeyedRequest,
        claims: &Claims,
        name: Name,
        done: async_channel::Sender<()>,
    ) -> IdempotencyClaim {
        IdempotencyClaim {
            once,
            claims: claims.clone(),
            name,
            _done: done,
        }
    }
}

impl Drop for IdempotencyClaim {
    fn drop(&mut self) {
        self.claims.lock().remove(&self.name);
    }
}

impl Claims {
    pub fn lock(&self) -> MutexGuard<'_, HashMap<Name, async_channel::Receiver<()>>> {
        locked(&self.0)
    }
}

/// Delivery options of a request to send.
#[derive(Debug, Default)]
pub struct DeliveryOptions {
    /// Queue the message if it cannot be sent now.
    pub queue: bool,
    /// Milliseconds after which it is not sent any more.
    pub expires_in: Option<Millis>,
    /// Show that the account types before its text goes.
    pub typing: bool,
    /// It is not sent before that time, and `expires_in` counts from then.
    pub send_at: Option<Millis>,
    /// Mention each member of the group.
    pub mention_all: bool,
    /// The caller's idempotency key.
    pub claim: Option<IdempotencyClaim>,
    /// The client that waits for the outcome.
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
        Answer::AcceptedForAll {
            results,
            words,
            expires_at,
        } => {
            let first = results.iter().find_map(|one| one.message_id.clone());
            let accepted = Accepted::new(first.unwrap_or_default(), expires_at, words);
            Ok(Outcome::Accepted(Accepted {
                results: Some(results),
                ..accepted
            }))
        }
        Answer::Refused { code, words } => Err(AccountError::Refused {
            code,
            text: words,
            message_id,
        }),
    }
}
