//! One message on its way: recorded, sent, acknowledged, and what became of it recorded again.

use std::sync::Arc;

use smol::lock::Semaphore;

use crate::clock::{self, Millis};
use crate::event::{DeliveryStatus, Event, Message, MessageKind, Quoted};
use crate::jid::ChatJid;
use crate::media::{self, MediaKind, Prepared};
use crate::store::media::NewMedium;
use crate::store::messages::{self, Arrival, Author, By, Change, Target};
use crate::store::{events, media as media_rows};
use crate::whatsapp::{Ack, Content, Context, SendFailure, Session, Showing, Uploaded};

use super::Accounts;
use super::types::{AccountError, OutgoingMedia, OutgoingText, Sent, Status};

/// Files that are decoded and converted at the same time: what takes memory and a whole core is done one
/// after the other.
static PREPARING: Semaphore = Semaphore::new(1);

/// What an account sends with, and for whom.
pub struct Sending {
    pub accounts: Accounts,
    /// The account's number in the store.
    pub account: u32,
    pub id: String,
    pub session: Arc<Session>,
}

impl Sending {
    /// Sends a text, as a reply to `quoted` if there is one.
    pub async fn text(
        self,
        out: OutgoingText,
        quoted: Option<Message>,
    ) -> Result<Sent, AccountError> {
        let message_id = self.session.new_message_id();
        let message = Message {
            text: Some(out.text.clone()),
            ..self.pending(
                &message_id,
                &out.to,
                MessageKind::Text,
                quoted.as_ref(),
                &out.mentions,
            )
        };
        self.record(message, None).await?;
        let content = Content::Text {
            text: &out.text,
            context: Context {
                mentions: &out.mentions,
                quoted: quoted.as_ref(),
            },
        };
        self.deliver(message_id, &out.to, content).await
    }

    /// Prepares a file, uploads it, and sends it.
    pub async fn medium(
        self,
        out: OutgoingMedia,
        quoted: Option<Message>,
    ) -> Result<Sent, AccountError> {
        let fetcher = self.accounts.0.fetcher.clone();
        let spool = self.accounts.0.wiring.spool.clone();
        let OutgoingMedia {
            to,
            wish,
            file,
            caption,
            gif_playback,
            mentions,
            quoted_message_id: _,
        } = out;
        let slot = fetcher.slots.acquire().await;
        let (wish, prepared) = {
            let turn = PREPARING.acquire().await;
            let spool = spool.clone();
            smol::unblock(move || {
                // The turn goes with the work, which runs on when nobody waits for it any more.
                let _turn = turn;
                let prepared = media::prepare(&wish, file, &spool);
                (wish, prepared)
            })
            .await
        };
        let prepared = prepared?;
        let uploaded = self
            .session
            .upload(wish.kind, &prepared.file, &spool)
            .await
            .map_err(|failure| self.explain(failure, String::new()))?;
        drop(slot);

        let message_id = self.session.new_message_id();
        let file_name = (wish.kind == MediaKind::Document)
            .then(|| wish.file_name.clone())
            .flatten();
        let message = Message {
            caption: caption.clone(),
            ..self.pending(
                &message_id,
                &to,
                kind_of(wish.kind, wish.ptt),
                quoted.as_ref(),
                &mentions,
            )
        };
        let medium = new_medium(wish.kind, &prepared, &uploaded, &to, file_name.clone());
        let medium_id = self.record(message, Some(medium)).await?;
        let content = Content::Medium {
            uploaded,
            prepared: &prepared,
            showing: Showing {
                kind: wish.kind,
                caption: caption.as_deref(),
                file_name: file_name.as_deref(),
                ptt: wish.ptt,
                gif_playback,
            },
            context: Context {
                mentions: &mentions,
                quoted: quoted.as_ref(),
            },
        };
        let sent = self.deliver(message_id, &to, content).await;
        let keep = prepared.size <= self.accounts.0.wiring.media.auto_max_bytes;
        if let Some((account, number)) = medium_id.as_deref().and_then(media_rows::parse_id)
            && keep
        {
            fetcher.keep_own(account, number, prepared.file).await;
        }
        sent
    }

    /// Reacts to a stored message of that chat.
    pub async fn reaction(
        self,
        chat: ChatJid,
        target: Message,
        emoji: String,
    ) -> Result<Sent, AccountError> {
        let content = Content::Reaction {
            target: &target,
            emoji: &emoji,
        };
        let change = Change::React {
            emoji: emoji.clone(),
        };
        self.change(&chat, &target, content, change).await
    }

    /// Deletes a stored message of that chat for everyone.
    pub async fn deletion(self, chat: ChatJid, target: Message) -> Result<Sent, AccountError> {
        let content = Content::Deletion { target: &target };
        self.change(&chat, &target, content, Change::Delete).await
    }

    /// Sends what changes a message, and changes it here once WhatsApp has taken that.
    async fn change(
        &self,
        chat: &ChatJid,
        target: &Message,
        content: Content<'_>,
        change: Change,
    ) -> Result<Sent, AccountError> {
        let message_id = self.session.new_message_id();
        let Ack { timestamp } = self
            .session
            .send(&message_id, chat, content)
            .await
            .map_err(|failure| self.explain(failure, message_id.clone()))?;
        let timestamp = timestamp.unwrap_or_else(clock::now);
        let target = Target {
            chat: target.chat_id.clone(),
            message_id: target.message_id.clone(),
            author: Some(match target.from_me {
                true => Author::Me,
                false => Author::Them(Some(target.from.clone())),
            }),
        };
        let by = By {
            from: self.session.own_jid().unwrap_or_default(),
            from_me: true,
            timestamp,
        };
        let (account, id) = (self.account, self.id.clone());
        let stored = self
            .accounts
            .0
            .wiring
            .store
            .write(move |tx| {
                let applied = messages::apply(tx, account, &id, &target, &by, &change)?;
                if let Some(event) = &applied.event {
                    events::append(tx, event, clock::now())?;
                }
                Ok(applied.removed_medium)
            })
            .await;
        match stored {
            Ok(Some(medium)) => {
                if let Some((account, number)) = media_rows::parse_id(&medium) {
                    self.accounts.0.fetcher.remove(account, number).await;
                }
            }
            Ok(None) => {}
            // WhatsApp has it: saying anything but "sent" would make the caller repeat it.
            Err(error) => log::error!("{}: sent, but not changed here: {error}", self.id),
        }
        Ok(Sent {
            message_id,
            timestamp,
        })
    }

    fn pending(
        &self,
        message_id: &str,
        to: &ChatJid,
        kind: MessageKind,
        quoted: Option<&Message>,
        mentions: &[ChatJid],
    ) -> Message {
        Message {
            from: self.session.own_jid().unwrap_or_default(),
            from_me: true,
            quoted_message: quoted.map(|quoted| Quoted {
                message_id: quoted.message_id.clone(),
                participant: Some(quoted.from.clone()),
                text: quoted.text.clone().or_else(|| quoted.caption.clone()),
                has_media: quoted.has_media,
            }),
            mentions: mentions.iter().map(ToString::to_string).collect(),
            status: Some(DeliveryStatus::Pending),
            ..Message::empty(
                self.id.as_str(),
                message_id,
                to.to_string(),
                kind,
                clock::now(),
            )
        }
    }

    /// Stores it as pending; returns the id of its medium.
    async fn record(
        &self,
        message: Message,
        medium: Option<NewMedium>,
    ) -> Result<Option<String>, AccountError> {
        let account = self.account;
        let stored = self.accounts.0.wiring.store.write(move |tx| {
            let mut message = message.clone();
            messages::insert(tx, account, &mut message, medium.as_ref(), Arrival::Live)?;
            Ok(message.media_id)
        });
        Ok(stored.await?)
    }

    /// Sends a recorded message, waits for the ack, and stores what became of it.
    async fn deliver(
        &self,
        message_id: String,
        to: &ChatJid,
        content: Content<'_>,
    ) -> Result<Sent, AccountError> {
        match self.session.send(&message_id, to, content).await {
            Ok(Ack { timestamp }) => {
                let timestamp = timestamp.unwrap_or_else(clock::now);
                self.sent(&message_id, timestamp).await;
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

    async fn sent(&self, message_id: &str, timestamp: Millis) {
        let (account, id) = (self.account, message_id.to_owned());
        let stored = self.accounts.0.wiring.store.write(move |tx| {
            if let Some(message) = messages::mark_sent(tx, account, &id, timestamp)? {
                events::append(tx, &Event::MessageSent(message), clock::now())?;
            }
            Ok(())
        });
        if let Err(error) = stored.await {
            // WhatsApp has it: saying anything but "sent" would make the caller repeat it.
            log::error!("{}: sent, but not marked as sent: {error}", self.id);
        }
    }

    async fn failed(&self, message_id: &str) {
        let (account, id) = (self.account, message_id.to_owned());
        let stored =
            self.accounts.0.wiring.store.write(move |tx| {
                super::status_change(tx, account, &id, DeliveryStatus::Failed, None)
            });
        if let Err(error) = stored.await {
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

fn kind_of(kind: MediaKind, ptt: bool) -> MessageKind {
    match kind {
        MediaKind::Image => MessageKind::Image,
        MediaKind::Video => MessageKind::Video,
        MediaKind::Audio if ptt => MessageKind::Voice,
        MediaKind::Audio => MessageKind::Audio,
        MediaKind::Document => MessageKind::Document,
        MediaKind::Sticker => MessageKind::Sticker,
    }
}

fn new_medium(
    kind: MediaKind,
    prepared: &Prepared,
    uploaded: &Uploaded,
    to: &ChatJid,
    file_name: Option<String>,
) -> NewMedium {
    NewMedium {
        kind: match kind {
            MediaKind::Image => "image",
            MediaKind::Video => "video",
            MediaKind::Audio => "audio",
            MediaKind::Document => "document",
            MediaKind::Sticker => "sticker",
        },
        wire_chat: to.to_string(),
        wire_sender: None,
        mimetype: prepared.mimetype.clone(),
        file_name,
        size: prepared.size,
        sha256: uploaded.sha256().to_vec(),
        remote: Some(uploaded.remote()),
        wanted: false,
    }
}
