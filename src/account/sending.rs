//! One text on its way: recorded, sent, acknowledged, and what became of it recorded again.

use std::sync::Arc;

use crate::clock::{self, Millis};
use crate::event::{DeliveryStatus, Message, MessageKind, Quoted};
use crate::store::messages;
use crate::whatsapp::{Ack, SendFailure, Session, Text};

use super::Accounts;
use super::types::{AccountError, Sent, Status};

/// One text on its way.
pub struct Sending {
    pub accounts: Accounts,
    /// The account's number in the store.
    pub account: u32,
    pub id: String,
    pub session: Arc<Session>,
    pub text: Text,
}

impl Sending {
    /// Stores it as pending, sends it, waits for the ack, and stores what became of it.
    pub async fn go(self) -> Result<Sent, AccountError> {
        let store = &self.accounts.0.wiring.store;
        let message_id = self.session.new_message_id();
        let account = self.account;
        let message = self.pending(&message_id, clock::now());
        store
            .write(move |tx| messages::insert(tx, account, &mut message.clone()))
            .await?;
        let sent = self.session.send_text(&message_id, &self.text).await;
        match sent {
            Ok(Ack { timestamp }) => {
                let timestamp = timestamp.unwrap_or_else(clock::now);
                let id = message_id.clone();
                let stored = store
                    .write(move |tx| messages::mark_sent(tx, account, &id, timestamp))
                    .await;
                if let Err(error) = stored {
                    // WhatsApp has it: saying anything but "sent" would make the caller repeat it.
                    log::error!("{}: sent, but not marked as sent: {error}", self.id);
                }
                Ok(Sent {
                    message_id,
                    timestamp,
                })
            }
            Err(failure) => {
                if failure != SendFailure::NoAck {
                    self.failed(&message_id).await;
                }
                Err(self.explain(failure, message_id))
            }
        }
    }

    fn pending(&self, message_id: &str, now: Millis) -> Message {
        Message {
            account_id: self.id.clone(),
            message_id: message_id.to_owned(),
            chat_id: self.text.to.to_string(),
            from: self.session.own_jid().unwrap_or_default(),
            from_me: true,
            push_name: None,
            timestamp: now,
            kind: MessageKind::Text,
            text: Some(self.text.text.clone()),
            caption: None,
            has_media: false,
            media_id: None,
            media_url: None,
            media_type: None,
            media_mimetype: None,
            media_size: None,
            media_file_name: None,
            quoted_message: self.text.quoted.as_ref().map(|quoted| Quoted {
                message_id: quoted.message_id.clone(),
                participant: Some(quoted.from.clone()),
                text: quoted.text.clone().or_else(|| quoted.caption.clone()),
                has_media: quoted.has_media,
            }),
            mentions: self.text.mentions.iter().map(ToString::to_string).collect(),
            reactions: Vec::new(),
            is_forwarded: false,
            edited: false,
            deleted: false,
            status: Some(DeliveryStatus::Pending),
            created_at: clock::iso8601(now),
        }
    }

    async fn failed(&self, message_id: &str) {
        let (account, id) = (self.account, message_id.to_owned());
        let stored = self
            .accounts
            .0
            .wiring
            .store
            .write(move |tx| messages::set_status(tx, account, &id, DeliveryStatus::Failed))
            .await;
        if let Err(error) = stored {
            log::error!(
                "{}: a failed message is still shown as pending: {error}",
                self.id
            );
        }
    }

    fn explain(&self, failure: SendFailure, message_id: String) -> AccountError {
        match failure {
            SendFailure::NotConnected => AccountError::NotConnected {
                status: self
                    .accounts
                    .handle(&self.id)
                    .map_or(Status::NotStarted, |h| h.live.get().status),
            },
            SendFailure::Refused { code, words } => AccountError::Refused { code, text: words },
            SendFailure::NoAck => AccountError::NoAck { message_id },
            SendFailure::Other(words) => AccountError::Session(words),
        }
    }
}
