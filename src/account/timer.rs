//! Sets the timer after which a chat's messages disappear.

use crate::clock;
use crate::jid::{ChatJid, Server};
use crate::ledger::Owner;
use crate::message::timer;
use crate::store::messages;
use crate::whatsapp::{SendFailure, new_message_id};

use super::messaging::connected;
use super::registry::Accounts;
use super::types::AccountError;

const NO_TIMER: &str = "Messages disappear in chats with people and in groups only";

impl Accounts {
    /// Sets a chat's timer at WhatsApp, then here; 0 for none. Messages that are there already keep theirs.
    ///
    /// # Errors
    /// [`AccountError::NotConnected`], [`AccountError::Unwritable`] for lists and channels, or why WhatsApp refused.
    pub async fn set_timer(
        &self,
        id: &str,
        chat: ChatJid,
        seconds: u32,
    ) -> Result<(), AccountError> {
        let handle = self.handle(id)?;
        let session = connected(&handle)?;
        let chat = self.found_as(&handle, chat)?;
        let now = clock::now();
        let message_id = new_message_id(session.own_jid().as_deref());
        let set = match chat.server() {
            Server::Group => session.set_group_timer(&chat, seconds).await,
            Server::Person | Server::Lid => {
                let message = timer::encode(seconds, now);
                session.send(&message_id, &chat, &message).await.map(drop)
            }
            Server::Broadcast | Server::Newsletter => {
                return Err(AccountError::Unwritable(NO_TIMER));
            }
        };
        set.map_err(|failure| match failure {
            SendFailure::NotConnected => AccountError::NotConnected {
                status: handle.live.get().status,
            },
            SendFailure::Refused { code, words } => AccountError::Refused {
                code,
                text: words,
                message_id,
            },
            other => AccountError::Session(other.to_string()),
        })?;
        let owner = Owner {
            number: handle.number,
            id: id.into(),
        };
        let stored = owner.write(&self.0.wiring.store, move |ledger| {
            messages::set_timer(ledger.tx, ledger.account, &chat.to_string(), seconds, now)
        });
        stored.await.map(drop).map_err(AccountError::Store)
    }
}
