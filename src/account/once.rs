//! Idempotency keys: the first request with a key works, others with it wait for its answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::clock;
use crate::store::idempotency::{self as rows, Answer, Known};
use crate::sync::locked;

use super::types::{Accepted, AccountError, Once, Outcome, Sent};
use super::{Accounts, sending};

/// Account and key.
type Name = (u32, String);

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

impl Drop for Claim {
    fn drop(&mut self) {
        self.claims.lock().remove(&self.name);
    }
}

impl Claims {
    fn lock(&self) -> MutexGuard<'_, HashMap<Name, async_channel::Receiver<()>>> {
        locked(&self.0)
    }
}

/// How a key is found.
enum Look {
    Free(Claim),
    Known(Known),
    /// Closes when it is free or known.
    Taken(async_channel::Receiver<()>),
}

/// What a key comes to.
#[derive(Debug)]
pub enum Turn {
    /// It is new: the request is to be done.
    First(Claim),
    /// It was seen; this was answered.
    Again(Outcome),
}

impl Accounts {
    /// Takes an idempotency key of an account, or says what was answered to it. Waits for a request
    /// with the same key that is under way.
    ///
    /// # Errors
    /// [`AccountError::NotFound`]; [`AccountError::KeyReused`] for another request than the first;
    /// and the first one's, if that was its answer.
    pub async fn claim(&self, id: &str, once: Once) -> Result<Turn, AccountError> {
        let account = self.handle(id)?.number;
        loop {
            match self.look(account, &once)? {
                Look::Free(claim) => return Ok(Turn::First(claim)),
                Look::Known(known) => {
                    return self.again(account, once, known).await.map(Turn::Again);
                }
                // Nothing is ever sent: it closes when the first request is over.
                Look::Taken(first) => drop(first.recv().await),
            }
        }
    }

    fn look(&self, account: u32, once: &Once) -> Result<Look, AccountError> {
        let name = (account, once.key.clone());
        let mut claims = self.0.claims.lock();
        if let Some(first) = claims.get(&name) {
            return Ok(Look::Taken(first.clone()));
        }
        // Looked up under the lock: whoever had the key has stored what became of it before it was
        // free.
        let store = &self.0.wiring.store;
        let known = store.read(|tx| rows::get(tx, account, &once.key, clock::now()))?;
        if let Some(known) = known {
            return Ok(Look::Known(known));
        }
        let (done, first) = async_channel::bounded(1);
        claims.insert(name.clone(), first);
        Ok(Look::Free(Claim {
            once: once.clone(),
            claims: self.0.claims.clone(),
            name,
            _done: done,
        }))
    }

    /// The answer to a key that was seen.
    async fn again(&self, account: u32, once: Once, known: Known) -> Result<Outcome, AccountError> {
        let Known {
            request,
            message_id,
            answer,
            ..
        } = known;
        if request != once.request {
            return Err(AccountError::KeyReused);
        }
        let answer = match answer {
            Some(answer) => answer,
            // The server stopped before it could answer, and the message is in the outbox: that is
            // the first answer then.
            None => {
                let id = message_id.clone();
                let key = once.key;
                self.0
                    .wiring
                    .store
                    .write(move |tx| sending::answer_accepted(tx, account, &key, &id))
                    .await?
            }
        };
        outcome(answer, message_id)
    }
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
