//! Whether the account is online, and whose presence it is told of.

use super::contacts::TIMEOUT;
use super::{Session, wire_jid};
use crate::jid::ChatJid;
use crate::sync::within;
use crate::whatsapp::error::SendFailure;
use crate::whatsapp::watched::{SUBSCRIPTIONS, Shown};

impl Session {
    /// Tells WhatsApp whether the account is online, as it shall be now.
    ///
    /// # Errors
    /// [`SendFailure::NotConnected`], or why it could not be told.
    pub async fn show_presence(&self) -> Result<(), SendFailure> {
        if !self.is_ready() {
            return Err(SendFailure::NotConnected);
        }
        let presence = self.client.presence();
        let told = async {
            match self.online.get() {
                true => presence.set_available().await,
                // A chat that has a state needs it: it ends with the last of them.
                false if !self.states.is_empty() => Ok(()),
                false => presence.set_unavailable().await,
            }
        };
        match within(TIMEOUT, told).await {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(SendFailure::Other(error.to_string())),
            None => Err(SendFailure::NotConnected),
        }
    }

    /// Subscribes to a person's presence, for as long as the session lives; the client does so anew after each login.
    ///
    /// # Errors
    /// [`SendFailure::NotConnected`]; [`SendFailure::Later`] if there are too many.
    pub async fn subscribe(&self, person: &ChatJid) -> Result<(), SendFailure> {
        if !self.is_ready() {
            return Err(SendFailure::NotConnected);
        }
        let jid = person.to_string();
        let wire = wire_jid(&jid).map_err(SendFailure::Other)?;
        if !self.watched.subscribe(&jid) {
            return Err(SendFailure::Later {
                code: 429,
                words: format!(
                    "The presence of {SUBSCRIPTIONS} people is subscribed to, the most that one account can"
                ),
            });
        }
        let subscribed = within(TIMEOUT, self.client.presence().subscribe(wire)).await;
        match subscribed {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(SendFailure::Other(error.to_string())),
            None => Err(SendFailure::NotConnected),
        }
    }

    /// What was last said of the presence of a person who is subscribed to.
    pub fn presence_of(&self, person: &ChatJid) -> Option<Shown> {
        self.watched.presence_of(&person.to_string())
    }
}
