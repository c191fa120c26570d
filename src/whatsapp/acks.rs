//! Tasks that wait for the server's `<ack class="message">` of a message.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::clock::Millis;

use crate::sync::locked;

/// The server has taken a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ack {
    /// The server's time of the message; `None` if it named none.
    pub timestamp: Option<Millis>,
}

/// The server's ack, or the code of its refusal.
pub type AckResult = Result<Ack, Option<u16>>;

/// The waiters, by message id. Bounded by the requests in flight: a waiter that is dropped leaves.
#[derive(Debug, Clone, Default)]
pub struct Acks(Arc<Mutex<HashMap<String, async_channel::Sender<AckResult>>>>);

/// One waiter.
#[derive(Debug)]
pub struct Waiter {
    acks: Acks,
    id: String,
    receiver: async_channel::Receiver<AckResult>,
}

impl Acks {
    /// Registers before the message is sent, so that no ack can be missed.
    pub fn expect(&self, id: &str) -> Waiter {
        let (sender, receiver) = async_channel::bounded(1);
        self.lock().insert(id.to_owned(), sender);
        Waiter {
            acks: self.clone(),
            id: id.to_owned(),
            receiver,
        }
    }

    /// Hands the server's ack to its waiter.
    pub fn settle(&self, id: &str, result: AckResult) {
        if let Some(sender) = self.lock().remove(id) {
            // The channel holds one and this is the only send: it fails only if the waiter left.
            let _ = sender.try_send(result);
        }
    }

    /// The connection is gone: no ack can come any more.
    pub fn abandon(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, async_channel::Sender<AckResult>>> {
        locked(&self.0)
    }
}

impl Waiter {
    /// Resolves with the server's word, or with `None` when the connection went first.
    pub async fn wait(&self) -> Option<AckResult> {
        self.receiver.recv().await.ok()
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.acks.lock().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acks_reach_their_waiter_and_no_other() {
        smol::block_on(async {
            let acks = Acks::default();
            let one = acks.expect("1");
            let two = acks.expect("2");
            acks.settle("2", Err(Some(463)));
            acks.settle("3", Err(None));
            assert_eq!(two.wait().await, Some(Err(Some(463))));
            acks.abandon();
            assert_eq!(one.wait().await, None);
            drop((one, two));
            assert!(acks.lock().is_empty());
        });
    }
}
