//! What a stored message says, for another chat.

use crate::jid::ChatJid;
use crate::media::MediaKind;
use crate::message::{self, Context, Medium, Message, NewMedium};
use crate::store::media as media_rows;
use crate::store::messages;

use super::sender::Sending;
use super::types::AccountError;

const ONCE: &str = "A message that can be opened once cannot be forwarded";
const NOT_UPLOADED: &str =
    "WhatsApp does not have the file of this message: fetch it, and send it as a new one";

impl Sending {
    /// A stored message of the chat `from` as it is forwarded, with its file where that lies at WhatsApp.
    ///
    /// # Errors
    /// [`AccountError::MessageNotFound`]; [`AccountError::Unchangeable`] for a kind that cannot be sent, or a file that
    /// is not at WhatsApp.
    pub(super) async fn forwarded(
        &self,
        from: &ChatJid,
        message_id: &str,
        to: &ChatJid,
    ) -> Result<(Message, Option<NewMedium>), AccountError> {
        let (account, chat) = (self.account, from.to_string());
        let found = self.store().read(|tx| {
            let Some(message) = messages::get_in(tx, account, &chat, message_id)? else {
                return Ok(None);
            };
            let number = message.media_id.as_deref().and_then(media_rows::parse_id);
            let medium = match number {
                Some((_, number)) => media_rows::get(tx, account, number)?,
                None => None,
            };
            Ok(Some((message, number, medium)))
        })?;
        let (message, number, medium) = found
            .filter(|(message, ..)| !message.deleted)
            .ok_or(AccountError::MessageNotFound)?;
        if message.view_once {
            return Err(AccountError::Unchangeable(ONCE));
        }
        let copy = message::forwarded(&message);
        let sendable = message::encode(&copy, medium.as_ref(), Context::default());
        sendable.map_err(AccountError::Unchangeable)?;
        let (Some(mut medium), Some((_, number))) = (medium, number) else {
            return Ok((copy, None));
        };
        let has_place = medium
            .remote
            .as_ref()
            .is_some_and(|remote| !remote.direct_path.is_empty());
        if !has_place || medium.sha256.is_empty() {
            return Err(AccountError::Unchangeable(NOT_UPLOADED));
        }
        self.add_thumbnail(&mut medium, number).await;
        let new = NewMedium {
            kind: medium.kind,
            wire_chat: to.to_string(),
            wire_sender: None,
            mimetype: medium.mimetype,
            file_name: medium.file_name,
            size: medium.size,
            sha256: medium.sha256,
            remote: medium.remote,
            look: medium.look,
            wanted: false,
        };
        Ok((copy, Some(new)))
    }

    /// Makes the thumbnail of an image anew if its file is here: none is kept.
    async fn add_thumbnail(&self, medium: &mut Medium, number: u64) {
        if medium.kind != MediaKind::Image || medium.stored_at.is_none() {
            return;
        }
        let path = self.fetcher.wiring.files.medium(self.account, number);
        let thumbnail = self.thumbnail(path).await;
        medium.look.get_or_insert_default().thumbnail = thumbnail;
    }
}
