//! Messages once more, in other chats: marked as forwarded, and without uploading a file again.

use super::{Draft, EventDetails, Message, Poll, Sendable, preview};
use crate::fields::{Addressee, FieldError, Mentions, NonEmpty, request};

/// The score from which on WhatsApp's clients say "forwarded many times".
const MANY: u32 = 5;
/// What WhatsApp's clients write for every score from [`MANY`] on.
const MANY_TIMES: u32 = 127;

request! {
    /// A stored message to send to another chat.
    pub struct ForwardMessage missing "messageId, from and to are required" {
        to: Addressee = "to",
        message: NonEmpty = "messageId",
        /// the chat of the message
        from: Addressee = "from" or "chatId",
    }
}

impl Sendable for ForwardMessage {
    const ENDPOINT: &'static str = "forward";
    const DONE: Option<&'static str> = Some("Message forwarded");

    fn into_draft(self) -> Result<(Addressee, Mentions, Draft), FieldError> {
        let draft = Draft::Forward {
            from: self.from,
            chat: None,
            message_id: self.message.0,
        };
        Ok((self.to, Mentions::default(), draft))
    }
}

/// What a stored message says, to be sent to another chat: without whom it answers and mentions, and without what
/// happened to it. A poll starts without votes, an event without responses.
pub fn forwarded(message: &Message) -> Message {
    let before = message.forwarding_score.unwrap_or(0);
    let score = before.saturating_add(u32::from(message.is_forwarded));
    Message {
        is_forwarded: true,
        forwarding_score: Some(if score < MANY { score } else { MANY_TIMES }),
        kind: message.kind,
        video_note: message.video_note,
        page_count: message.page_count,
        text: message.text.clone(),
        link_preview: message
            .text
            .as_deref()
            .and_then(|text| preview::wished(text, None)),
        caption: message.caption.clone(),
        location: message.location.clone(),
        contacts: message.contacts.clone(),
        poll: message.poll.clone().map(Poll::anew),
        event: message.event.clone().map(EventDetails::anew),
        ..Message::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The counts of WhatsApp Web, as wacore's `prepare_for_forward` has them.
    #[test]
    fn each_forward_counts_until_it_is_many() {
        let mut message = Message::default();
        let scores: Vec<_> = std::iter::repeat_with(|| {
            message = forwarded(&message);
            message.forwarding_score.unwrap_or_default()
        })
        .take(8)
        .collect();
        assert_eq!(scores, [0, 1, 2, 3, 4, 127, 127, 127]);
        // Of a message that an earlier version stored the score is not known.
        let marked = Message {
            is_forwarded: true,
            ..Message::default()
        };
        assert_eq!(forwarded(&marked).forwarding_score, Some(1));
    }
}
