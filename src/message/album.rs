//! Albums: images and videos that clients show as one.
//!
//! An album's head says how many of each follow; it is no message that people see. Each image and video is a message of its
//! own that names the head.

use super::context::Context;
use super::wire::{MessageField, wa, wrap_as_album_child};
use super::{Message, MessageKind};

/// The head of the album that `first`, the first of its messages, is part of.
pub(super) fn encode_head(first: &Message, images: u32, videos: u32) -> wa::Message {
    let context = Context {
        expiration: first.expiration,
        ..Context::default()
    };
    wa::Message {
        album_message: MessageField::some(wa::message::AlbumMessage {
            expected_image_count: Some(images),
            expected_video_count: Some(videos),
            context_info: context.encode(),
        }),
        ..Default::default()
    }
}

/// An own message as it is sent, as part of its album if it is in one.
pub fn in_its_album(message: &Message, encoded: wa::Message) -> wa::Message {
    let Some(head) = &message.album_id else {
        return encoded;
    };
    let key = wa::MessageKey {
        remote_jid: Some(message.chat_id.clone()),
        from_me: Some(true),
        id: Some(head.clone()),
        ..Default::default()
    };
    wrap_as_album_child(encoded, key)
}

/// How many images and videos there are.
pub fn counts<'a>(messages: impl Iterator<Item = &'a Message>) -> (u32, u32) {
    messages.fold((0, 0), |(images, videos), message| match message.kind {
        MessageKind::Video => (images, videos + 1),
        _ => (images + 1, videos),
    })
}
