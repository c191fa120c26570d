//! What the account's owner sets of a chat, for all devices of the account: WhatsApp's app state.

use whatsapp_rust::Jid;
use whatsapp_rust::features::{SyncActionMessageRange, message_key, message_range};

use crate::jid::ChatJid;
use crate::message::Message;
use crate::store::messages::FOREVER;

use super::{Session, wire_jid};
use crate::clock::Millis;
use crate::whatsapp::error::SendFailure;

/// Something that all devices of the account do with a chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChatAct {
    Archive(bool),
    Pin(bool),
    /// Until then, [`FOREVER`] without an end; `None` ends it.
    Mute(Option<Millis>),
    Read(bool),
    /// With the files of its messages.
    Delete,
}

impl Session {
    /// Has all devices of the account do something with a chat. `last` is its newest message: what comes later is not meant.
    ///
    /// # Errors
    /// As `share`'s.
    pub async fn act_on_chat(
        &self,
        chat: &ChatJid,
        act: ChatAct,
        last: Option<&Message>,
    ) -> Result<(), SendFailure> {
        let jid = wire_jid(&chat.to_string()).map_err(SendFailure::Other)?;
        let range = last.map(|message| range(&jid, message));
        let actions = self.client.chat_actions();
        let acted = async {
            match act {
                ChatAct::Archive(true) => actions.archive_chat(&jid, range).await,
                ChatAct::Archive(false) => actions.unarchive_chat(&jid, range).await,
                ChatAct::Pin(true) => actions.pin_chat(&jid).await,
                ChatAct::Pin(false) => actions.unpin_chat(&jid).await,
                ChatAct::Mute(Some(FOREVER)) => actions.mute_chat(&jid).await,
                ChatAct::Mute(Some(until)) => {
                    let until = i64::try_from(until).unwrap_or(i64::MAX);
                    actions.mute_chat_until(&jid, until).await
                }
                ChatAct::Mute(None) => actions.unmute_chat(&jid).await,
                ChatAct::Read(read) => actions.mark_chat_as_read(&jid, read, range).await,
                ChatAct::Delete => actions.delete_chat(&jid, true, range).await,
            }
        };
        self.share(acted).await
    }
}

/// The messages that are meant: those up to the newest.
fn range(chat: &Jid, last: &Message) -> SyncActionMessageRange {
    let seconds = i64::try_from(last.timestamp / 1_000).unwrap_or(i64::MAX);
    let author: Option<Jid> = match chat.to_string().ends_with("@g.us") && !last.from_me {
        true => last.wire_sender().parse().ok(),
        false => None,
    };
    let key = message_key(&*last.message_id, chat, last.from_me, author.as_ref());
    message_range(seconds, None, vec![(key, seconds)])
}
