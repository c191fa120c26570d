//! A session's writes reach the disk before anything that depends on them leaves for WhatsApp.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use whatsapp_rust::bytes::Bytes;
use whatsapp_rust::transport::{Transport, TransportEvent, TransportFactory};
use whatsapp_rust::{Client, anyhow, async_trait};

use crate::sync::within;

use super::backend::Journal;
use super::news::LastError;

/// The least time between two commits of a session's journal: messages that come faster share one. It delays an
/// acknowledgement by that much at most.
const PACE: Duration = Duration::from_millis(50);

/// How long the client may take to hand over its ratchets.
const FLUSH_PATIENCE: Duration = Duration::from_millis(50);

/// The shared transport. Failures to connect are noted as the session's last error, because the client only logs
/// them.
pub struct DurableTransports {
    pub inner: Arc<dyn TransportFactory>,
    pub last_error: LastError,
    pub journal: Arc<Journal>,
}

#[async_trait]
impl TransportFactory for DurableTransports {
    async fn create_transport(
        &self,
    ) -> anyhow::Result<(Arc<dyn Transport>, async_channel::Receiver<TransportEvent>)> {
        let made = self.inner.create_transport().await;
        if let Err(error) = &made {
            self.last_error
                .note(format!("WhatsApp is out of reach: {error:#}"));
        }
        let (inner, events) = made?;
        let journal = Arc::clone(&self.journal);
        Ok((Arc::new(DurableTransport { inner, journal }), events))
    }
}

/// Sends nothing before what the session has written is on disk.
struct DurableTransport {
    inner: Arc<dyn Transport>,
    journal: Arc<Journal>,
}

#[async_trait]
impl Transport for DurableTransport {
    async fn send(&self, data: Bytes) -> anyhow::Result<()> {
        self.journal.before_sending().await?;
        self.inner.send(data).await
    }

    async fn disconnect(&self) {
        self.inner.disconnect().await;
    }
}

/// Brings a session's journal to the disk, until it fails or is closed. What comes alone goes at
/// once; what follows waits for more.
pub async fn write_behind(journal: Arc<Journal>, client: Weak<Client>, is_live: Arc<AtomicBool>) {
    while let Ok(messages) = journal.wanted().await {
        // The ratchets go along with the messages that they have moved past. While the client drains
        // what the server kept for it, it does so itself.
        if messages
            && is_live.load(Ordering::Relaxed)
            && let Some(client) = client.upgrade()
        {
            let flush = async {
                if let Err(error) = client.flush_pending_signal_state().await {
                    log::debug!("ratchets are not written yet: {error}");
                }
            };
            // Nothing in it waits for the disk; it could wait for a client that has begun to drain.
            within(FLUSH_PATIENCE, flush).await;
        }
        if journal.settle().await.is_err() {
            return;
        }
        smol::Timer::after(PACE).await;
    }
}
