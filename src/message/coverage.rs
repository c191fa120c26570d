//! Which contents of WhatsApp's messages people see, and which are for devices alone.
//!
//! A decoded message whose kind is not known is a message all the same, of the kind `unknown`, unless it
//! [is for devices](is_for_devices). The unit test has a table of all fields.

use super::wire::{codec, wa};

macro_rules! any_set {
    ($message:expr, $($field:ident),+ $(,)?) => {
        false $(|| $message.$field.is_set())+
    };
}

/// Whether a message without a known kind is none that people see: keys and settings for devices, and what concerns
/// another message or a chat.
pub fn is_for_devices(base: &wa::Message) -> bool {
    let is_about_another = any_set!(
        base,
        // Changes of other messages, and votes; some are encrypted once more.
        protocol_message,
        reaction_message,
        enc_reaction_message,
        poll_update_message,
        poll_add_option_message,
        enc_event_response_message,
        enc_comment_message,
        pin_in_chat_message,
        keep_in_chat_message,
        scheduled_call_edit_message,
        secret_encrypted_message,
        status_notification_message,
        status_sticker_interaction_message,
        // The pictures of an album follow as messages of their own.
        album_message,
        // Keys, calls' keys, files for devices.
        call,
        chat,
        sticker_sync_rmr_message,
        message_history_bundle,
        message_history_notice,
        group_root_key_share,
        root_secret_distribute_message,
        limit_sharing_message,
    );
    // Compared as encoded: a content that is set and empty counts, and equality does not see it.
    is_about_another || {
        let keys_alone = wa::Message {
            sender_key_distribution_message: base.sender_key_distribution_message.clone(),
            fast_ratchet_key_sender_key_distribution_message: base
                .fast_ratchet_key_sender_key_distribution_message
                .clone(),
            message_context_info: base.message_context_info.clone(),
            ..Default::default()
        };
        codec::message_to_vec(base) == codec::message_to_vec(&keys_alone)
    }
}

/// Whether all that a content says is in the stored message. Of others the protobuf is kept, for a later version of this
/// decoder.
pub fn is_in_full(base: &wa::Message) -> bool {
    base.conversation.is_some()
        || any_set!(
            base,
            extended_text_message,
            image_message,
            video_message,
            ptv_message,
            audio_message,
            document_message,
            sticker_message,
            contact_message,
            contacts_array_message,
            location_message,
            live_location_message,
            poll_creation_message,
            poll_creation_message_v2,
            poll_creation_message_v3,
            poll_creation_message_v5,
            poll_creation_message_v6,
            event_message,
            group_invite_message,
            call_log_messsage,
        )
}

/// The lines that are not empty; `None` if there are none.
pub fn lines<'a>(parts: impl IntoIterator<Item = Option<&'a str>>) -> Option<String> {
    let mut lines = String::new();
    for part in parts
        .into_iter()
        .flatten()
        .filter(|part| !part.trim().is_empty())
    {
        if !lines.is_empty() {
            lines.push('\n');
        }
        lines.push_str(part);
    }
    (!lines.is_empty()).then_some(lines)
}

#[cfg(test)]
mod tests {
    use super::super::{Message, decode, decode_change, unwrap};
    use super::*;

    /// Number, name, and what becomes of an empty content: the `type` of a message, `none`, or `wrapper` for what
    /// holds another message.
    const FIELDS: [(u32, &str, &str); 107] = [
        (1, "conversation", "text"),
        (2, "senderKeyDistributionMessage", "none"),
        (3, "imageMessage", "image"),
        (4, "contactMessage", "contact"),
        (5, "locationMessage", "location"),
        (6, "extendedTextMessage", "text"),
        (7, "documentMessage", "document"),
        (8, "audioMessage", "audio"),
        (9, "videoMessage", "video"),
        (10, "call", "none"),
        (11, "chat", "none"),
        (12, "protocolMessage", "none"),
        (13, "contactsArrayMessage", "contact"),
        (14, "highlyStructuredMessage", "text"),
        (15, "fastRatchetKeySenderKeyDistributionMessage", "none"),
        (16, "sendPaymentMessage", "payment"),
        (18, "liveLocationMessage", "location"),
        (22, "requestPaymentMessage", "payment"),
        (23, "declinePaymentRequestMessage", "payment"),
        (24, "cancelPaymentRequestMessage", "payment"),
        (25, "templateMessage", "text"),
        (26, "stickerMessage", "sticker"),
        (28, "groupInviteMessage", "invite"),
        (29, "templateButtonReplyMessage", "button_reply"),
        (30, "productMessage", "product"),
        (31, "deviceSentMessage", "wrapper"),
        (35, "messageContextInfo", "none"),
        (36, "listMessage", "text"),
        (37, "viewOnceMessage", "wrapper"),
        (38, "orderMessage", "order"),
        (39, "listResponseMessage", "list_reply"),
        (40, "ephemeralMessage", "wrapper"),
        (41, "invoiceMessage", "payment"),
        (42, "buttonsMessage", "text"),
        (43, "buttonsResponseMessage", "button_reply"),
        (44, "paymentInviteMessage", "payment"),
        (45, "interactiveMessage", "text"),
        (46, "reactionMessage", "none"),
        (47, "stickerSyncRmrMessage", "none"),
        (48, "interactiveResponseMessage", "button_reply"),
        (49, "pollCreationMessage", "poll"),
        (50, "pollUpdateMessage", "none"),
        (51, "keepInChatMessage", "none"),
        (53, "documentWithCaptionMessage", "wrapper"),
        (54, "requestPhoneNumberMessage", "unknown"),
        (55, "viewOnceMessageV2", "wrapper"),
        (56, "encReactionMessage", "none"),
        (58, "editedMessage", "wrapper"),
        (59, "viewOnceMessageV2Extension", "wrapper"),
        (60, "pollCreationMessageV2", "poll"),
        (61, "scheduledCallCreationMessage", "call"),
        (62, "groupMentionedMessage", "wrapper"),
        (63, "pinInChatMessage", "none"),
        (64, "pollCreationMessageV3", "poll"),
        (65, "scheduledCallEditMessage", "none"),
        (66, "ptvMessage", "video"),
        (67, "botInvokeMessage", "wrapper"),
        (69, "callLogMesssage", "call"),
        (70, "messageHistoryBundle", "none"),
        (71, "encCommentMessage", "none"),
        (72, "bcallMessage", "call"),
        (74, "lottieStickerMessage", "wrapper"),
        (75, "eventMessage", "event"),
        (76, "encEventResponseMessage", "none"),
        (77, "commentMessage", "wrapper"),
        (78, "newsletterAdminInviteMessage", "invite"),
        (80, "placeholderMessage", "unavailable"),
        (82, "secretEncryptedMessage", "none"),
        (83, "albumMessage", "none"),
        (85, "eventCoverImage", "wrapper"),
        (86, "stickerPackMessage", "unknown"),
        (87, "statusMentionMessage", "wrapper"),
        (88, "pollResultSnapshotMessage", "unknown"),
        (90, "pollCreationOptionImageMessage", "wrapper"),
        (91, "associatedChildMessage", "wrapper"),
        (92, "groupStatusMentionMessage", "wrapper"),
        (93, "pollCreationMessageV4", "wrapper"),
        (95, "statusAddYours", "wrapper"),
        (96, "groupStatusMessage", "wrapper"),
        (97, "richResponseMessage", "text"),
        (98, "statusNotificationMessage", "none"),
        (99, "limitSharingMessage", "wrapper"),
        (100, "botTaskMessage", "wrapper"),
        (101, "questionMessage", "wrapper"),
        (102, "messageHistoryNotice", "none"),
        (103, "groupStatusMessageV2", "wrapper"),
        (104, "botForwardedMessage", "wrapper"),
        (105, "statusQuestionAnswerMessage", "text"),
        (106, "questionReplyMessage", "wrapper"),
        (107, "questionResponseMessage", "text"),
        (109, "statusQuotedMessage", "text"),
        (110, "statusStickerInteractionMessage", "none"),
        (111, "pollCreationMessageV5", "poll"),
        (113, "newsletterFollowerInviteMessageV2", "invite"),
        (115, "pollResultSnapshotMessageV3", "unknown"),
        (116, "newsletterAdminProfileMessage", "wrapper"),
        (117, "newsletterAdminProfileMessageV2", "wrapper"),
        (118, "spoilerMessage", "wrapper"),
        (119, "pollCreationMessageV6", "poll"),
        (120, "conditionalRevealMessage", "unknown"),
        (121, "pollAddOptionMessage", "none"),
        (122, "eventInviteMessage", "unknown"),
        (123, "groupRootKeyShare", "none"),
        (124, "paymentReminderMessage", "payment"),
        (125, "splitPaymentMessage", "payment"),
        (126, "newsletterAdminProfileStatusMessage", "wrapper"),
        (127, "rootSecretDistributeMessage", "none"),
    ];

    fn varint(mut number: u32, bytes: &mut Vec<u8>) {
        while number > 0x7f {
            bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        bytes.push(number as u8);
    }

    /// A message that has this field, with these bytes in it.
    fn holding(field: u32, content: &[u8]) -> wa::Message {
        let mut bytes = Vec::new();
        varint((field << 3) | 2, &mut bytes);
        varint(content.len() as u32, &mut bytes);
        bytes.extend_from_slice(content);
        codec::message_decode(&bytes).unwrap()
    }

    fn becomes(came: &wa::Message) -> (String, Option<String>) {
        let base = unwrap(came);
        let mut message = Message::default();
        let _ = decode(base, &mut message);
        let none = message.kind == super::super::MessageKind::Unknown && is_for_devices(base);
        match none || decode_change(base).is_some() {
            true => ("none".to_owned(), None),
            false => (message.kind.name().to_owned(), message.text),
        }
    }

    #[test]
    fn each_content_of_a_message_is_shown_kept_or_none() {
        let known = serde_json::to_value(wa::Message::default()).unwrap();
        assert_eq!(
            known.as_object().unwrap().len(),
            FIELDS.len(),
            "the library knows other fields than this table"
        );
        for (number, name, wanted) in FIELDS {
            let text = match name {
                // Its message is the second field.
                "deviceSentMessage" => b"\x12\x03\x0a\x01x",
                _ => b"\x0a\x03\x0a\x01x",
            };
            match wanted {
                "wrapper" => {
                    let shown = becomes(&holding(number, text));
                    assert_eq!(shown, ("text".into(), Some("x".into())), "{name}");
                }
                wanted => {
                    let came = holding(number, b"");
                    assert_eq!(becomes(&came).0, wanted, "{name}");
                    // Of a text, an answer, or what is traded the words alone are read, unless it is a plain text.
                    let plain = ["conversation", "extendedTextMessage"].contains(&name);
                    let in_part = ["text", "button_reply", "list_reply", "product", "order"];
                    let in_part = in_part.contains(&wanted) && !plain;
                    let in_part = in_part || ["payment", "unavailable"].contains(&wanted);
                    if wanted != "none"
                        && wanted != "unknown"
                        && wanted != "invite"
                        && wanted != "call"
                    {
                        assert_eq!(is_in_full(&came), !in_part, "{name}");
                    }
                }
            }
        }
    }

    #[test]
    fn lines_have_no_empty_ones() {
        let words = lines([Some("a"), None, Some(" "), Some("b\nc")]);
        assert_eq!(words.as_deref(), Some("a\nb\nc"));
        assert_eq!(lines([None, Some("")]), None);
    }
}
