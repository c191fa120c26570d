//! What the account's devices share by app state: stars, and messages deleted for the owner alone.

use std::time::Duration;

use whatsapp_rust::{AppStateError, Jid};

use super::{Session, wire_jid};
use crate::jid::ChatJid;
use crate::message::Message;
use crate::sync::within;
use crate::whatsapp::error::SendFailure;

/// How long WhatsApp may take to store a change.
const TIMEOUT: Duration = Duration::from_secs(20);

impl Session {
    /// Sets or removes the star of a stored message of `chat`.
    ///
    /// # Errors
    /// As [`Session::share`].
    pub async fn star(
        &self,
        chat: &ChatJid,
        message: &Message,
        on: bool,
    ) -> Result<(), SendFailure> {
        let (chat, author) = names(chat, message)?;
        let (id, own) = (message.message_id.as_str(), message.from_me);
        let actions = self.client.chat_actions();
        let starring = async {
            match on {
                true => actions.star_message(&chat, author.as_ref(), id, own).await,
                false => {
                    actions
                        .unstar_message(&chat, author.as_ref(), id, own)
                        .await
                }
            }
        };
        self.share(starring).await
    }

    /// Deletes a stored message of `chat` on the account's own devices.
    ///
    /// # Errors
    /// As [`Session::share`].
    pub async fn delete_for_me(
        &self,
        chat: &ChatJid,
        message: &Message,
    ) -> Result<(), SendFailure> {
        let (chat, author) = names(chat, message)?;
        let (id, own) = (message.message_id.as_str(), message.from_me);
        let seconds = i64::try_from(message.timestamp / 1_000).ok();
        let actions = self.client.chat_actions();
        self.share(actions.delete_message_for_me(&chat, author.as_ref(), id, own, true, seconds))
            .await
    }

    /// Waits until WhatsApp has stored a change of the app state.
    ///
    /// # Errors
    /// [`SendFailure::NotConnected`], or [`SendFailure::Other`] if WhatsApp refuses it, does not answer in time, or the
    /// phone has not shared the key.
    pub(super) async fn share(
        &self,
        change: impl Future<Output = Result<(), AppStateError>>,
    ) -> Result<(), SendFailure> {
        if !self.is_ready() {
            return Err(SendFailure::NotConnected);
        }
        match within(TIMEOUT, change).await {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => {
                log::debug!("the app state was not changed: {error}");
                Err(SendFailure::Other(
                    "WhatsApp did not take the change, or the phone has not shared its key yet"
                        .into(),
                ))
            }
            None => Err(SendFailure::Other("WhatsApp did not answer in time".into())),
        }
    }
}

/// The chat and, of another's message in a group, its author, as the app state names them.
fn names(chat: &ChatJid, message: &Message) -> Result<(Jid, Option<Jid>), SendFailure> {
    let wire = |jid: &str| wire_jid(jid).map_err(SendFailure::Other);
    let is_named = !message.from_me && !chat.is_person();
    let author = is_named.then(|| wire(message.wire_sender())).transpose()?;
    Ok((wire(&chat.to_string())?, author))
}
