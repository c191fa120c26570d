//! Changes of other messages that reach a phone: which of them its client follows.

use waproto::whatsapp as wa;

use super::Phone;
use super::inbox::Received;

/// Seconds after a message in which clients take an edit of it; WhatsApp's own offer it for 15 minutes.
const EDIT_WINDOW: u64 = 20 * 60;

impl Phone {
    /// Follows an edit, or notes why the client does not.
    pub(super) fn follow_change(&mut self, received: &mut Received) {
        let Some(id) = received.edit_of.clone() else {
            return;
        };
        let text = received.text.clone();
        match self.judge_edit(&id, received) {
            Ok(()) => self.inbox.set_edited(&id, text),
            Err(reason) => received.ignored = Some(reason),
        }
    }

    fn judge_edit(&self, id: &str, edit: &Received) -> Result<(), &'static str> {
        if edit.from_me && self.inbox.find_sent(id).is_some() {
            // The owner wrote it on the phone and edits it elsewhere.
            return Ok(());
        }
        let target = self.inbox.find(id).ok_or("no such message")?;
        if number_of(&target.from) != number_of(&edit.from) || target.chat != edit.chat {
            return Err("another's message");
        }
        if edit.timestamp > target.timestamp + EDIT_WINDOW {
            return Err("too late");
        }
        match (&target.content, &edit.content) {
            (None, None) => Ok(()),
            (Some(before), Some(after)) if file_of(before) == file_of(after) => Ok(()),
            _ => Err("another content than text or caption"),
        }
    }
}

/// Who wrote it, on whatever device.
fn number_of(device: &str) -> &str {
    let end = device.find([':', '@']).unwrap_or(device.len());
    &device[..end]
}

/// Which file a message has: an edit carries it again, with another caption.
fn file_of(message: &wa::Message) -> Option<(&[u8], &[u8])> {
    macro_rules! first {
        ($($field:ident),+) => {
            None$(.or_else(|| {
                let file = message.$field.as_option()?;
                Some((file.file_sha256.as_deref()?, file.media_key.as_deref()?))
            }))+
        };
    }
    first!(image_message, video_message, document_message)
}
