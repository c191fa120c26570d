//! Whether an account is online, and whose presence it is told of.

use crate::jid::ChatJid;
use crate::whatsapp::SendFailure;

use super::messaging::connected;
use super::people::{failed, jid_of};
use super::registry::Accounts;
use super::types::AccountError;

impl Accounts {
    /// Shows an account as online or not, until it is set again or the server starts anew; while it is not connected,
    /// from the next login on.
    ///
    /// # Errors
    /// [`AccountError::NotFound`], or why it could not be told.
    pub async fn set_online(&self, id: &str, online: bool) -> Result<(), AccountError> {
        let handle = self.handle(id)?;
        handle.live.online.set(online);
        let Ok(session) = connected(&handle) else {
            return Ok(());
        };
        match session.show_presence().await {
            // The next login tells it.
            Ok(()) | Err(SendFailure::NotConnected) => Ok(()),
            Err(failure) => Err(failed(&handle, failure)),
        }
    }

    /// Subscribes to a person's presence, while the account is connected and until the server starts anew.
    ///
    /// # Errors
    /// [`AccountError::NotConnected`]; [`AccountError::Declined`] if there are too many.
    pub async fn subscribe(&self, id: &str, person: ChatJid) -> Result<(), AccountError> {
        let handle = self.handle(id)?;
        let session = connected(&handle)?;
        let person = self.found_as(&handle, person)?;
        let person = jid_of(&self.contact_of(&handle, &person)?)?;
        let subscribed = session.subscribe(&person).await;
        subscribed.map_err(|failure| failed(&handle, failure))
    }
}
