//! Requests to change or remove a chat: on all devices of the account, and here.

use crate::clock;
use crate::jid::ChatJid;
use crate::ledger::Fact;
use crate::store::media as media_rows;
use crate::store::messages::{self, ChatMarks, ChatSummary};
use crate::whatsapp::{ChatAct, SendFailure, clear_chat};

use super::driver::Handle;
use super::messaging::{connected, not_connected};
use super::registry::Accounts;
use super::types::AccountError;

impl Accounts {
    /// Archives, pins, mutes a chat or marks it as unread, or ends that: at WhatsApp, then here. One that is only here is
    /// changed here alone.
    ///
    /// # Errors
    /// [`AccountError::ChatNotFound`], [`AccountError::NotConnected`], or what WhatsApp says; what went before it stays changed.
    pub async fn mark_chat(
        &self,
        id: &str,
        chat: ChatJid,
        marks: ChatMarks,
    ) -> Result<ChatSummary, AccountError> {
        let handle = self.handle(id)?;
        let chat = self.found_as(&handle, chat)?;
        let (account, jid) = (handle.number, chat.to_string());
        let store = &self.0.wiring.store;
        if !self.is_only_here(&handle, &jid)? {
            if marks.unread == Some(false) {
                Box::pin(self.mark_read(id, chat.clone(), Vec::new())).await?;
            }
            let acts = [
                marks.archived.map(ChatAct::Archive),
                marks.pinned.map(ChatAct::Pin),
                marks.muted_until.map(ChatAct::Mute),
                marks.unread.map(|unread| ChatAct::Read(!unread)),
            ];
            for act in acts.into_iter().flatten() {
                Box::pin(self.act_on_chat(&handle, &chat, act)).await?;
            }
        }
        let sending = self.sending(id, &handle);
        let marked = jid.clone();
        let stored = sending.owner().write(store, move |ledger| {
            let (chat, marks) = (marked.as_str(), &marks);
            let fact = Fact::ChatMarked {
                chat,
                marks,
                quiet: false,
            };
            ledger.record(&fact, clock::now())
        });
        stored.await?.ok_or(AccountError::NotFound)?;
        let shown = store.read(|tx| messages::chat_of(tx, account, &jid))?;
        shown.ok_or(AccountError::ChatNotFound)
    }

    /// Removes a chat with its messages and files: at WhatsApp, then here. One that is only here, because nothing in it was
    /// ever sent or received, is removed here alone.
    ///
    /// # Errors
    /// As [`Accounts::mark_chat`].
    pub async fn delete_chat(&self, id: &str, chat: ChatJid) -> Result<(), AccountError> {
        let handle = self.handle(id)?;
        let chat = self.found_as(&handle, chat)?;
        let jid = chat.to_string();
        let until = clock::now();
        if !self.is_only_here(&handle, &jid)? {
            Box::pin(self.act_on_chat(&handle, &chat, ChatAct::Delete)).await?;
        }
        let sending = self.sending(id, &handle);
        self.whole(async move {
            let owner = sending.owner();
            let removed = clear_chat(sending.store(), &owner, &jid, (until, true), false);
            for (account, number) in removed
                .await?
                .iter()
                .filter_map(|id| media_rows::parse_id(id))
            {
                sending.fetcher.remove(account, number).await;
            }
            Ok(())
        })
        .await
    }

    fn is_only_here(&self, handle: &Handle, jid: &str) -> Result<bool, AccountError> {
        let account = handle.number;
        let store = &self.0.wiring.store;
        let found = store.read(|tx| messages::is_only_here(tx, account, jid))?;
        found.ok_or(AccountError::ChatNotFound)
    }

    async fn act_on_chat(
        &self,
        handle: &Handle,
        chat: &ChatJid,
        act: ChatAct,
    ) -> Result<(), AccountError> {
        let session = connected(handle)?;
        let (account, jid) = (handle.number, chat.to_string());
        let store = &self.0.wiring.store;
        let last = store.read(|tx| messages::last_message(tx, account, &jid))?;
        // Boxed: the compiler's depth of nested futures is bounded.
        let acted = Box::pin(session.act_on_chat(chat, act, last.as_ref())).await;
        acted.map_err(|failure| match failure {
            SendFailure::NotConnected => not_connected(handle),
            other => AccountError::Session(other.to_string()),
        })
    }
}
