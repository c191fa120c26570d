//! A message as the API, the webhooks and an export show it.
//!
//! `from` is the chat that it came from, as WILDCAT 2.0 and its peers have it: a program that answers to
//! `from` answers in that chat. `sender` is the person. Optional fields are `null` when absent, as
//! programs written for WILDCAT 2.0 expect; those that it did not have are left out instead.

use serde::ser::{Serialize, SerializeStruct, Serializer};

use super::Message;

/// Fields that a message has at most.
const FIELDS: usize = 40;

impl Serialize for Message {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // All of them by name, so that a new field is not forgotten here.
        let Message {
            account_id,
            message_id,
            chat_id,
            chat_lid,
            chat_name,
            sender,
            sender_lid,
            wire_lid: _,
            sender_name,
            sender_username,
            from_me,
            push_name,
            timestamp,
            kind,
            text: _,
            note,
            caption,
            has_media,
            media_id,
            media_type,
            media_mimetype,
            media_size,
            media_file_name,
            location,
            contacts,
            poll,
            quoted_message,
            mentions,
            reactions,
            is_forwarded,
            truncated,
            edited,
            edited_at,
            deleted,
            status,
            error,
            created_at,
        } = self;
        let mut shown = serializer.serialize_struct("Message", FIELDS)?;
        macro_rules! show {
            ($($name:literal: $value:expr),* $(,)?) => {
                $(shown.serialize_field($name, $value)?;)*
            };
        }
        macro_rules! show_if_any {
            ($($name:literal: $value:expr),* $(,)?) => {
                $(match $value {
                    Some(value) => shown.serialize_field($name, value)?,
                    None => shown.skip_field($name)?,
                })*
            };
        }
        show!("accountId": account_id, "messageId": message_id, "chatId": chat_id);
        show_if_any!("chatLid": chat_lid);
        show!("chatName": chat_name, "from": chat_id, "sender": sender);
        show_if_any!("senderLid": sender_lid);
        show!(
            "senderName": sender_name,
            "senderUsername": sender_username,
            "fromMe": from_me,
            "pushName": push_name,
            "timestamp": timestamp,
            "type": kind,
            "text": &self.words(),
        );
        show_if_any!("note": note);
        show!(
            "caption": caption,
            "hasMedia": has_media,
            "mediaId": media_id,
            "mediaUrl": &self.media_url(),
            "mediaType": media_type,
            "mediaMimetype": media_mimetype,
            "mediaSize": media_size,
            "mediaFileName": media_file_name,
        );
        show_if_any!("location": location, "contacts": contacts, "poll": poll);
        show!(
            "quotedMessage": quoted_message,
            "mentions": mentions,
            "reactions": reactions,
            "isForwarded": is_forwarded,
        );
        show_if_any!("truncated": truncated.then_some(&true));
        show!("edited": edited);
        show_if_any!("editedAt": edited_at);
        show!("deleted": deleted, "status": status);
        show_if_any!("error": error);
        show!("createdAt": created_at);
        shown.end()
    }
}
