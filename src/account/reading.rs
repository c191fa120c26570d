//! Marks what a message of the API answers as read.

use crate::jid::ChatJid;
use crate::store::messages;

use super::messaging::READ_AT_ONCE;
use super::sender::Sending;

impl Sending {
    /// Marks what is unread in a chat as read, at its senders and here. What fails is logged: the message has gone.
    pub async fn read_on_reply(&self, to: &str) {
        let (account, jid) = (self.account, to.to_owned());
        let (Ok(chat), Some((session, _))) = (ChatJid::parse(to), self.live.connected()) else {
            return;
        };
        let found = self
            .store()
            .read(|tx| messages::unread(tx, account, to, READ_AT_ONCE))
            .unwrap_or_default();
        if found.is_empty() {
            return;
        }
        let theirs: Vec<(String, String)> = found
            .into_iter()
            .map(|m| (m.wire_lid.unwrap_or(m.sender), m.message_id))
            .collect();
        if let Err(failure) = session.mark_read(&chat, &theirs).await {
            log::info!("{}: a chat remains unread: {failure}", self.id);
            return;
        }
        let ids: Vec<String> = theirs.into_iter().map(|(_, id)| id).collect();
        let stored = self
            .store()
            .write(move |tx| messages::mark_read_messages(tx, account, Some(&jid), &ids).map(drop));
        if let Err(error) = stored.await {
            log::error!("{}: a chat remains unread: {error}", self.id);
        }
    }
}
