//! Whether others see an account as online.
//!
//! The client says `<presence type="available">` at each login, and when it learns the account's name. While a
//! linked device is available, WhatsApp gives the phone no push notifications (zapfast#119, openclaw#15679): a server
//! that is always on would silence the phone for ever. The client has no switch for it, so each such stanza is
//! answered at once with `unavailable`, which also carries the name, unless the account shall be online, or a chat has a
//! state just then ([`super::typing`]).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_lite::future::yield_now;
use whatsapp_rust::{Client, NodeFilter};

use super::typing::ChatStates;

/// What is shown of an account while it is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Presence {
    /// Whether it stays online, until [`Online`] says otherwise.
    pub online: bool,
    /// Whether its delivery receipts are active although it is not online.
    ///
    /// WhatsApp Web in the background sends `type="inactive"`, which phones do not show: while the own phone is off,
    /// senders see one tick. Here they are active unless the settings say otherwise: a receipt is sent when the
    /// message is on this server's disk, which is what two ticks say, and one tick for days would tell people that a
    /// bot is dead which has answered them. Receipts do not keep notifications from the phone; the presence does.
    pub active_receipts: bool,
}

impl Presence {
    /// Before the client connects.
    pub fn prepare(self, client: &Client) {
        if self.active_receipts {
            client.set_force_active_delivery_receipts(true);
        }
    }
}

/// Whether an account shall be online. Clones share it.
#[derive(Debug, Clone)]
pub struct Online(Arc<AtomicBool>);

impl Online {
    pub fn new(online: bool) -> Online {
        Online(Arc::new(AtomicBool::new(online)))
    }

    pub fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub fn set(&self, online: bool) {
        self.0.store(online, Ordering::Relaxed);
    }

    /// Takes every `available` back that is not wanted, for as long as it is polled; never resolves.
    pub async fn keep(&self, client: &Arc<Client>, states: &ChatStates) {
        let available = || NodeFilter::tag("presence").attr("type", "available");
        let mut announced = client.wait_for_sent_node(available());
        loop {
            // An error: the connection has ended, and its waiters with it.
            let said = announced.await.is_ok();
            announced = client.wait_for_sent_node(available());
            if !said || self.get() || !states.is_empty() {
                continue;
            }
            // The waiter resolves while the stanza is made: it goes out first.
            yield_now().await;
            if let Err(error) = client.presence().set_unavailable().await {
                log::debug!("the presence could not be taken back: {error}");
            }
        }
    }
}
