//! Rejected calls, and the text that their callers get.

use crate::clock::{self, Millis};
use crate::jid::ChatJid;
use crate::message::{Draft, of_words};
use crate::store::messages::{self, PageQuery};
use crate::whatsapp::SendFailure;

use super::claims::DeliveryOptions;
use super::messaging::connected;
use super::registry::Accounts;
use super::sender::{Route, Sending};
use super::types::AccountError;

/// A person who calls again within this time gets no second text.
const ONCE_IN: Millis = 60 * 60 * 1_000;
/// The newest messages of a chat that are searched for the first one.
const LATELY: usize = 32;
/// A text that cannot be sent by then says nothing any more.
const LATEST: Millis = 10 * 60 * 1_000;

impl Accounts {
    /// Rejects a call that rings; false if there is no such call.
    ///
    /// # Errors
    /// [`AccountError::NotConnected`], or why it could not be rejected.
    pub async fn reject_call(&self, id: &str, call_id: &str) -> Result<bool, AccountError> {
        let handle = self.handle(id)?;
        let session = connected(&handle)?;
        let rejected = session.calls.reject(call_id).await;
        rejected.map_err(|failure| match failure {
            SendFailure::NotConnected => AccountError::NotConnected {
                status: handle.live.get().status,
            },
            other => AccountError::Session(other.to_string()),
        })
    }
}

impl Sending {
    /// Sends a person whose call was rejected the text for that, through the outbox: in its pace, and within its bounds.
    pub(super) async fn tell_caller(&self, chat: &str, text: &str) {
        let Ok(to) = ChatJid::parse(chat) else { return };
        match self.was_told(chat, text) {
            Ok(false) => {}
            Ok(true) => return,
            Err(error) => return log::error!("{}: a caller gets no text: {error}", self.id),
        }
        let options = DeliveryOptions {
            queue: true,
            expires_in: Some(LATEST),
            ..DeliveryOptions::default()
        };
        let draft = Draft::message(of_words(text.to_owned()), None);
        let route = Route::Later("it answers a rejected call".to_owned());
        if let Err(error) = self.clone().go(to, draft, None, options, route).await {
            log::warn!("{}: a caller gets no text: {error}", self.id);
        }
    }

    fn was_told(&self, chat: &str, text: &str) -> Result<bool, AccountError> {
        let (account, since) = (self.account, clock::now().saturating_sub(ONCE_IN));
        let query = PageQuery {
            limit: LATELY,
            ..PageQuery::ALL
        };
        let page = self
            .store()
            .read(|tx| messages::page(tx, account, chat, query))?;
        Ok(page.messages.iter().any(|message| {
            message.from_me && message.timestamp > since && message.text.as_deref() == Some(text)
        }))
    }
}
