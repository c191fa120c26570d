//! Chat states: on request, and before texts that ask for it.

use std::time::Duration;

use crate::jid::ChatJid;
use crate::message::{Message, MessageKind};
use crate::store::outbox::Entry;
use crate::whatsapp::{ChatState, SendFailure, Session};

use super::messaging::connected;
use super::registry::Accounts;
use super::sender::Sending;
use super::types::AccountError;

/// Characters that a person types in a second.
const PER_SECOND: usize = 7;
/// The most seconds that a text is shown as being typed: its request waits meanwhile.
const MOST: usize = 6;

impl Accounts {
    /// Shows that the account types or records in a chat, for `length`; `None` ends it.
    ///
    /// # Errors
    /// [`AccountError::NotConnected`], or why it could not be shown.
    pub async fn show_state(
        &self,
        id: &str,
        chat: ChatJid,
        state: Option<ChatState>,
        length: Duration,
    ) -> Result<(), AccountError> {
        let handle = self.handle(id)?;
        let session = connected(&handle)?;
        let chat = self.found_as(&handle, chat)?;
        let failed = |failure| match failure {
            SendFailure::NotConnected => AccountError::NotConnected {
                status: handle.live.get().status,
            },
            other => AccountError::Busy(other.to_string()),
        };
        let Some(state) = state else {
            return session.end_state(&chat).await.map_err(failed);
        };
        let shown = session.begin_state(&chat, state).await.map_err(failed)?;
        self.errand("a chat state", async move {
            session.keep_state(shown, length).await;
        });
        Ok(())
    }
}

impl Sending {
    /// Shows that the account types a text which asks for that, for as long as it would take to write. The text is
    /// in the outbox already: nothing is lost or sent twice if this is interrupted.
    pub(super) async fn type_first(
        &self,
        session: &Session,
        to: &ChatJid,
        entry: &Entry,
        message: Option<&Message>,
    ) {
        let text = message
            .filter(|message| entry.typing && message.kind == MessageKind::Text)
            .and_then(|message| message.text.as_deref());
        let Some(text) = text else { return };
        match session.begin_state(to, ChatState::Typing).await {
            Ok(shown) => session.keep_state(shown, time_to_write(text)).await,
            Err(error) => log::debug!("{}: typing is not shown: {error}", self.id),
        }
    }
}

fn time_to_write(text: &str) -> Duration {
    let most = MOST * PER_SECOND;
    let characters = text.chars().take(most).count().max(PER_SECOND);
    Duration::from_millis((characters * 1_000 / PER_SECOND) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_typed_for_one_to_six_seconds() {
        for (length, millis) in [
            (0, 1_000),
            (7, 1_000),
            (21, 3_000),
            (42, 6_000),
            (65_536, 6_000),
        ] {
            assert_eq!(
                time_to_write(&"é".repeat(length)),
                Duration::from_millis(millis)
            );
        }
    }
}
