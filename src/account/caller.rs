//! Whether the client that asked for something still waits for the answer.

use async_channel::{Receiver, Sender};

/// The client behind a request. Clones share it; one by default never leaves.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Nothing is ever sent: it closes when the client leaves.
    here: Receiver<()>,
    _here: Sender<()>,
}

impl Default for Caller {
    fn default() -> Self {
        let (sender, here) = async_channel::bounded(1);
        Caller {
            here,
            _here: sender,
        }
    }
}

impl Caller {
    /// Says that the client has hung up, or was given up.
    pub fn leave(&self) {
        self.here.close();
    }

    /// Resolves once the client has left.
    pub async fn left(&self) {
        let _ = self.here.recv().await;
    }
}
