//! Changes of other messages that reach a phone: which of them its client follows.

use waproto::whatsapp as wa;

use super::Phone;
use super::inbox::Received;
use crate::directory::Directory;

/// Seconds after a message in which clients take an edit of it; WhatsApp's own offer it for 15 minutes.
const EDIT_WINDOW: u64 = 20 * 60;

impl Phone {
    /// Follows an edit, or notes why the client does not.
    pub(super) fn follow_change(&mut self, received: &mut Received, dir: &dyn Directory) {
        if let Some(id) = &received.delete_of
            && let Err(reason) = self.judge_deletion(id, received, dir)
        {
            received.ignored = Some(reason);
        }
        let Some(id) = received.edit_of.clone() else {
            return;
        };
        let text = received.text.clone();
        match self.judge_edit(&id, received) {
            Ok(()) => self.inbox.set_edited(&id, text),
            Err(reason) => received.ignored = Some(reason),
        }
    }

    /// Notes a message that should have carried its chat's timer: its client would let it stay.
    pub(super) fn check_timer(&self, received: &mut Received, dir: &dyn Directory) {
        if matches!(
            received.kind,
            "edit" | "delete" | "reaction" | "pin" | "keep"
        ) {
            return;
        }
        let timer = match received.chat.strip_suffix("@g.us") {
            Some(group) => dir.group(group).and_then(|view| view.ephemeral),
            None => self.timers.get(number_of(&received.chat)).copied(),
        };
        received.lacks_timer =
            timer.filter(|seconds| *seconds > 0 && received.expiration != Some(*seconds));
    }

    /// A message is deleted by its author, or by an admin of the group.
    fn judge_deletion(
        &self,
        id: &str,
        deletion: &Received,
        dir: &dyn Directory,
    ) -> Result<(), &'static str> {
        let by = number_of(&deletion.from);
        let author = match self.inbox.find(id) {
            Some(target) => number_of(&target.from).to_owned(),
            None if self.inbox.find_sent(id).is_some() => self.number.clone(),
            None => return Err("no such message"),
        };
        let group = deletion.chat.strip_suffix("@g.us");
        let admins = group.and_then(|id| dir.group(id)).map(|view| view.admins);
        let is_admin = admins.is_some_and(|admins| admins.iter().any(|admin| admin == by));
        match author == by || is_admin {
            true => Ok(()),
            false => Err("another's message"),
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
