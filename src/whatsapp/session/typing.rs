//! Shows chat states, and ends them.

use std::time::Duration;

use whatsapp_rust::{ChatStateType, Jid};

use super::{Session, wire_jid};
use crate::clock;
use crate::jid::ChatJid;
use crate::whatsapp::error::SendFailure;
use crate::whatsapp::typing::{CHATS, ChatState, Shown};

/// How often a state is sent again: clients stop showing it after some 25 s.
const REPEAT: Duration = Duration::from_secs(10);

impl Session {
    /// Shows a chat state from now on: [`Session::keep_state`] ends it.
    ///
    /// # Errors
    /// When it could not be sent, or as many chats as may have one do.
    pub async fn begin_state(&self, to: &ChatJid, state: ChatState) -> Result<Shown, SendFailure> {
        if !self.is_ready() {
            return Err(SendFailure::NotConnected);
        }
        let chat = to.to_string();
        let wire = wire_jid(&chat).map_err(SendFailure::Other)?;
        let Some(shown) = self.states.begin(&chat, wire, state) else {
            return Err(SendFailure::Other(format!(
                "{CHATS} chats show that the account types: try it again when one of them has ended"
            )));
        };
        if !self.online.get()
            && let Err(error) = self.client.presence().set_available().await
        {
            log::debug!("the account did not become available: {error}");
        }
        self.say_state(&shown.to, state.wire()).await?;
        Ok(shown)
    }

    /// Shows a state for `length`, then ends it, unless another state of its chat took its place. A connection that
    /// is lost ends it, too.
    pub async fn keep_state(&self, shown: Shown, length: Duration) {
        let began = clock::ticks();
        loop {
            let passed = Duration::from_millis(clock::ticks().saturating_sub(began));
            let left = length.saturating_sub(passed);
            if left.is_zero() || !shown.is_current() {
                break;
            }
            clock::sleep(left.min(REPEAT)).await;
            let goes_on = left > REPEAT && shown.is_current();
            if goes_on && self.say_state(&shown.to, shown.state.wire()).await.is_err() {
                break;
            }
        }
        if shown.is_current() {
            let (chat, to) = (shown.chat.clone(), shown.to.clone());
            self.stop_state(&chat, &to).await;
        }
    }

    /// Ends a chat's state, if it has one.
    ///
    /// # Errors
    /// When it could not be sent.
    pub async fn end_state(&self, to: &ChatJid) -> Result<(), SendFailure> {
        if !self.is_ready() {
            return Err(SendFailure::NotConnected);
        }
        let chat = to.to_string();
        let wire = wire_jid(&chat).map_err(SendFailure::Other)?;
        self.stop_state(&chat, &wire).await;
        Ok(())
    }

    async fn stop_state(&self, chat: &str, to: &Jid) {
        // A lost connection has ended it at WhatsApp.
        let _ = self.say_state(to, ChatStateType::Paused).await;
        let had_one = self.states.end(chat);
        if had_one
            && self.states.is_empty()
            && !self.online.get()
            && let Err(error) = self.client.presence().set_unavailable().await
        {
            log::debug!("the presence could not be taken back: {error}");
        }
    }

    async fn say_state(&self, to: &Jid, state: ChatStateType) -> Result<(), SendFailure> {
        self.client
            .chatstate()
            .send(to, state)
            .await
            .map_err(|error| {
                log::debug!("a chat state was not sent: {error}");
                SendFailure::NotConnected
            })
    }
}
