//! Groups, asked of WhatsApp's server and changed there.

use std::time::Duration;

use whatsapp_rust::IqError;
use whatsapp_rust::wacore::iq::groups::{GroupInfoOutcome, GroupQueryIq};

use super::{Session, wire_jid};
use crate::jid::ChatJid;
use crate::store::groups::Snapshot;
use crate::sync::within;
use crate::whatsapp::error::SendFailure;
use crate::whatsapp::groups::{Participating, snapshot};
use crate::whatsapp::refusal;

/// How long WhatsApp may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);

impl Session {
    /// The groups that the account is in, without their members.
    ///
    /// # Errors
    /// [`SendFailure::NotConnected`], or what WhatsApp's server said.
    pub async fn all_groups(&self) -> Result<Vec<Snapshot>, SendFailure> {
        self.asked(self.client.execute(Participating)).await
    }

    /// A group with its members.
    ///
    /// # Errors
    /// [`SendFailure::Refused`] if the account is not in it, or there is no such group.
    pub async fn one_group(&self, group: &ChatJid) -> Result<Snapshot, SendFailure> {
        let jid = wire_jid(&group.to_string()).map_err(SendFailure::Other)?;
        let asking = self.client.execute(GroupQueryIq::new(&jid));
        match self.asked(asking).await? {
            GroupInfoOutcome::Full(found) => Ok(snapshot(*found, true)),
            GroupInfoOutcome::NotModified => Err(SendFailure::Other(
                "WhatsApp did not say anything of the group".into(),
            )),
        }
    }

    /// Waits for an answer of WhatsApp's server.
    async fn asked<T>(
        &self,
        asking: impl Future<Output = Result<T, IqError>>,
    ) -> Result<T, SendFailure> {
        if !self.is_ready() {
            return Err(SendFailure::NotConnected);
        }
        match within(PATIENCE, asking).await {
            Some(Ok(answer)) => Ok(answer),
            Some(Err(error)) => Err(failure(&error)),
            None => Err(SendFailure::Other("WhatsApp did not answer in time".into())),
        }
    }
}

/// The failure of a request about a group.
fn failure(error: &IqError) -> SendFailure {
    // Here alone: it makes thiserror's own methods ambiguous.
    use whatsapp_rust::ErrorChainExt as _;
    match error {
        IqError::ServerError { code, .. } => refusal::of_group(*code),
        IqError::Timeout => SendFailure::Other("WhatsApp did not answer in time".into()),
        error if (error as &(dyn std::error::Error + 'static)).is_transport_unavailable() => {
            SendFailure::NotConnected
        }
        error => {
            // It can name people.
            log::debug!("a request about a group failed: {error}");
            SendFailure::Other("WhatsApp gave an answer that is not understood".into())
        }
    }
}
