//! Idempotency keys: the first request with a key works, others with it wait for its answer.

use crate::clock;
use crate::store::idempotency::{self as rows, Known};

use super::claims::{IdempotencyClaim, outcome};
use super::registry::Accounts;
use super::sending;
use super::types::{AccountError, KeyedRequest, Outcome};

/// How a key is found.
enum Look {
    Free(IdempotencyClaim),
    Known(Known),
    /// Closes when it is free or known.
    Taken(async_channel::Receiver<()>),
}

/// What a request with a key has to do.
#[derive(Debug)]
pub enum Turn {
    /// A new key: carry out the request.
    First(IdempotencyClaim),
    /// A known key, with its answer.
    Again(Outcome),
}

impl Accounts {
    /// Takes an idempotency key of an account, or says what was answered to it. Waits for a request
    /// with the same key that is under way.
    ///
    /// # Errors
    /// [`AccountError::NotFound`]; [`AccountError::KeyReused`] for another request than the first;
    /// and the first one's, if that was its answer.
    pub async fn claim(&self, id: &str, once: KeyedRequest) -> Result<Turn, AccountError> {
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

    fn look(&self, account: u32, once: &KeyedRequest) -> Result<Look, AccountError> {
        let name = (account, once.key.clone());
        let mut claims = self.0.claims.lock();
        if let Some(first) = claims.get(&name) {
            return Ok(Look::Taken(first.clone()));
        }
        // Read under the lock: a request stores its answer before it frees the key.
        let store = &self.0.wiring.store;
        let known = store.read(|tx| rows::get(tx, account, &once.key, clock::now()))?;
        if let Some(known) = known {
            return Ok(Look::Known(known));
        }
        let (done, first) = async_channel::bounded(1);
        claims.insert(name.clone(), first);
        Ok(Look::Free(IdempotencyClaim::new(
            once.clone(),
            &self.0.claims,
            name,
            done,
        )))
    }

    /// The answer to a key that was seen.
    async fn again(
        &self,
        account: u32,
        once: KeyedRequest,
        known: Known,
    ) -> Result<Outcome, AccountError> {
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
