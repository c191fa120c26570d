//! What the owner does on the phone and all devices of the account learn by app state.

use std::collections::BTreeMap;

use wacore_binary::{Jid, Node};
use waproto::buffa::MessageField;
use waproto::whatsapp as wa;
use waproto::whatsapp::sync_action_value as action;

use super::groups::parse_chat;
use super::{Action, Phone, PhoneError};
use crate::directory::{DeviceAddr, Directory};

impl Phone {
    /// Names people in the address book; numbers are digits only.
    pub fn name_contacts(
        &mut self,
        contacts: &[(String, String)],
        dir: &dyn Directory,
        now_ms: u64,
    ) -> Vec<Action> {
        // A patch names nothing twice: of two names for one number the last one counts.
        let contacts: BTreeMap<&String, &String> = contacts
            .iter()
            .map(|(number, name)| (number, name))
            .collect();
        contacts
            .into_iter()
            .map(|(number, name)| {
                self.contacts.insert(number.clone(), name.clone());
                let jid = Jid::pn(number.as_str());
                let lid = dir.lid_of(number).map(|lid| Jid::lid(lid).to_string());
                Action {
                    collection: "critical_unblock_low",
                    index: vec!["contact".to_owned(), jid.to_string()],
                    value: wa::SyncActionValue {
                        timestamp: millis(now_ms),
                        contact_action: MessageField::some(action::ContactAction {
                            full_name: Some(name.clone()),
                            first_name: name.split_whitespace().next().map(str::to_owned),
                            lid_jid: lid,
                            username: dir.username_of(number),
                            save_on_primary_addressbook: Some(true),
                            ..Default::default()
                        }),
                        ..Default::default()
                    },
                    version: 2,
                }
            })
            .collect()
    }

    /// Marks a chat read or unread.
    ///
    /// # Errors
    /// [`PhoneError::NotAPerson`] if it is not a chat.
    pub fn mark_chat(
        &mut self,
        chat: &str,
        read: bool,
        dir: &dyn Directory,
        now_ms: u64,
    ) -> Result<Action, PhoneError> {
        let chat = parse_chat(chat)?;
        let message_range = self.range_of(&chat, dir);
        Ok(Action {
            collection: "regular_low",
            index: vec!["markChatAsRead".to_owned(), chat.to_string()],
            value: wa::SyncActionValue {
                timestamp: millis(now_ms),
                mark_chat_as_read_action: MessageField::some(action::MarkChatAsReadAction {
                    read: Some(read),
                    message_range,
                }),
                ..Default::default()
            },
            version: 3,
        })
    }

    /// Archives a chat, or takes it back.
    ///
    /// # Errors
    /// [`PhoneError::NotAPerson`] if it is not a chat.
    pub fn archive_chat(
        &mut self,
        chat: &str,
        archived: bool,
        dir: &dyn Directory,
        now_ms: u64,
    ) -> Result<Action, PhoneError> {
        let chat = parse_chat(chat)?;
        let message_range = self.range_of(&chat, dir);
        Ok(Action {
            collection: "regular_low",
            index: vec!["archive".to_owned(), chat.to_string()],
            value: wa::SyncActionValue {
                timestamp: millis(now_ms),
                archive_chat_action: MessageField::some(action::ArchiveChatAction {
                    archived: Some(archived),
                    message_range,
                }),
                ..Default::default()
            },
            version: 3,
        })
    }

    /// Stars a message, or takes it back.
    ///
    /// # Errors
    /// As [`Phone::delete_for_me`].
    pub fn star(
        &mut self,
        chat: &str,
        id: &str,
        starred: bool,
        now_ms: u64,
    ) -> Result<Action, PhoneError> {
        let mut action = self.delete_for_me(chat, id, now_ms)?;
        action.index[0] = "star".to_owned();
        action.value = wa::SyncActionValue {
            timestamp: millis(now_ms),
            star_action: MessageField::some(action::StarAction {
                starred: Some(starred),
            }),
            ..Default::default()
        };
        action.version = 2;
        Ok(action)
    }

    /// Pins a chat, or takes it back.
    ///
    /// # Errors
    /// [`PhoneError::NotAPerson`] if it is not a chat.
    pub fn pin_chat(
        &mut self,
        chat: &str,
        pinned: bool,
        now_ms: u64,
    ) -> Result<Action, PhoneError> {
        Ok(Action {
            collection: "regular_low",
            index: vec!["pin_v1".to_owned(), parse_chat(chat)?.to_string()],
            value: wa::SyncActionValue {
                timestamp: millis(now_ms),
                pin_action: MessageField::some(action::PinAction {
                    pinned: Some(pinned),
                }),
                ..Default::default()
            },
            version: 5,
        })
    }

    /// Mutes a chat until a time in Unix milliseconds, -1 for no end; `None` ends it.
    ///
    /// # Errors
    /// [`PhoneError::NotAPerson`] if it is not a chat.
    pub fn mute_chat(
        &mut self,
        chat: &str,
        until: Option<i64>,
        now_ms: u64,
    ) -> Result<Action, PhoneError> {
        Ok(Action {
            collection: "regular_high",
            index: vec!["mute".to_owned(), parse_chat(chat)?.to_string()],
            value: wa::SyncActionValue {
                timestamp: millis(now_ms),
                mute_action: MessageField::some(action::MuteAction {
                    muted: Some(until.is_some()),
                    mute_end_timestamp: Some(until.unwrap_or(0)),
                    ..Default::default()
                }),
                ..Default::default()
            },
            version: 2,
        })
    }

    /// Deletes a chat, or only its messages; with their files.
    ///
    /// # Errors
    /// [`PhoneError::NotAPerson`] if it is not a chat.
    pub fn remove_chat(
        &mut self,
        chat: &str,
        whole: bool,
        dir: &dyn Directory,
        now_ms: u64,
    ) -> Result<Action, PhoneError> {
        let chat = parse_chat(chat)?;
        let message_range = self.range_of(&chat, dir);
        let mut value = wa::SyncActionValue {
            timestamp: millis(now_ms),
            ..Default::default()
        };
        let mut index = vec!["deleteChat".to_owned(), chat.to_string(), "1".to_owned()];
        if whole {
            let act = action::DeleteChatAction { message_range };
            value.delete_chat_action = MessageField::some(act);
        } else {
            let act = action::ClearChatAction { message_range };
            value.clear_chat_action = MessageField::some(act);
            index = vec![
                "clearChat".to_owned(),
                chat.to_string(),
                "1".to_owned(),
                "1".to_owned(),
            ];
        }
        Ok(Action {
            collection: "regular_high",
            index,
            value,
            version: 6,
        })
    }

    /// Deletes a message for the owner alone.
    ///
    /// # Errors
    /// [`PhoneError::NotAPerson`] if it is not a chat, [`PhoneError::UnknownMessage`].
    pub fn delete_for_me(
        &mut self,
        chat: &str,
        id: &str,
        now_ms: u64,
    ) -> Result<Action, PhoneError> {
        let chat = parse_chat(chat)?;
        let (from_me, author, time) = if let Some(sent) = self.inbox.find_sent(id) {
            (true, None, sent.timestamp)
        } else {
            let received = self
                .inbox
                .find(id)
                .ok_or_else(|| PhoneError::UnknownMessage(id.to_owned()))?;
            let author = received.wire_author.as_ref().map(|jid| jid.to_non_ad());
            (received.from_me, author, received.timestamp)
        };
        // The author of a group's message is named, unless it is the owner.
        let author = match (from_me, author) {
            (false, Some(author)) => author.to_string(),
            _ => "0".to_owned(),
        };
        Ok(Action {
            collection: "regular_high",
            index: vec![
                "deleteMessageForMe".to_owned(),
                chat.to_string(),
                id.to_owned(),
                if from_me { "1" } else { "0" }.to_owned(),
                author,
            ],
            value: wa::SyncActionValue {
                timestamp: millis(now_ms),
                delete_message_for_me_action: MessageField::some(
                    action::DeleteMessageForMeAction {
                        delete_media: Some(true),
                        message_timestamp: i64::try_from(time).ok(),
                    },
                ),
                ..Default::default()
            },
            version: 3,
        })
    }

    /// The newest message of a chat: what a device must know before the action means anything to it.
    fn range_of(
        &self,
        chat: &Jid,
        dir: &dyn Directory,
    ) -> MessageField<action::SyncActionMessageRange> {
        let number = self.addr_of(chat, dir).map(|addr| addr.number);
        let name = number.map_or_else(
            || chat.to_string(),
            |number| Jid::pn(number.as_str()).to_string(),
        );
        let newest = self.inbox.received().filter(|it| it.chat == name).last();
        let Some(newest) = newest else {
            return MessageField::none();
        };
        let time = i64::try_from(newest.timestamp).ok();
        let author = match newest.from_me {
            true => None,
            false => newest.wire_author.as_ref().map(|jid| jid.to_non_ad()),
        };
        MessageField::some(action::SyncActionMessageRange {
            last_message_timestamp: time,
            messages: vec![action::SyncActionMessage {
                key: MessageField::some(wa::MessageKey {
                    remote_jid: Some(chat.to_string()),
                    from_me: Some(newest.from_me),
                    id: Some(newest.message_id.clone()),
                    participant: author.map(|jid| jid.to_string()),
                }),
                timestamp: time,
            }],
            ..Default::default()
        })
    }

    /// Sends a linked device pairs of LIDs and numbers, as phones did when chats migrated to LIDs.
    pub(super) fn lid_mappings(
        &self,
        people: &[DeviceAddr],
        dir: &dyn Directory,
    ) -> Option<wa::Message> {
        use waproto::buffa::Message as _;
        let mappings: Vec<wa::LIDMigrationMapping> = people
            .iter()
            .filter_map(|addr| {
                Some(wa::LIDMigrationMapping {
                    pn: addr.number.parse().ok()?,
                    assigned_lid: dir.lid_of(&addr.number)?.parse().ok()?,
                    latest_lid: None,
                })
            })
            .collect();
        if mappings.is_empty() {
            return None;
        }
        let payload = wa::LIDMigrationMappingSyncPayload {
            pn_to_lid_mappings: mappings,
            chat_db_migration_timestamp: None,
        };
        let message = wa::message::ProtocolMessage {
            r#type: Some(wa::message::protocol_message::Type::LID_MIGRATION_MAPPING_SYNC),
            lid_migration_mapping_sync_message: MessageField::some(
                wa::LIDMigrationMappingSyncMessage {
                    encoded_mapping_payload: Some(payload.encode_to_vec()),
                },
            ),
            ..Default::default()
        };
        Some(wa::Message {
            protocol_message: MessageField::some(message),
            ..Default::default()
        })
    }

    /// Sends every linked device the mapping of one number and its LID.
    ///
    /// # Errors
    /// When a linked device's keys cannot be used.
    pub fn tell_mapping(
        &mut self,
        number: &str,
        dir: &mut dyn Directory,
    ) -> Result<Vec<Node>, PhoneError> {
        let addr = DeviceAddr {
            number: number.to_owned(),
            device: 0,
        };
        let Some(message) = self.lid_mappings(&[addr], dir) else {
            return Ok(Vec::new());
        };
        let own: Vec<u16> = dir
            .devices(&self.number.clone())
            .into_iter()
            .filter(|device| *device != 0)
            .collect();
        own.into_iter()
            .map(|device| self.send_peer(device, message.clone(), dir))
            .collect()
    }
}

fn millis(now_ms: u64) -> Option<i64> {
    i64::try_from(now_ms).ok()
}
