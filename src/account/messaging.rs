//! What an account can be asked to do with messages and their media.

use std::sync::{Arc, PoisonError};

use crate::clock;
use crate::event::Message;
use crate::jid::ChatJid;
use crate::store::media::{self as media_rows, Medium};
use crate::store::messages::{self, Target};
use crate::store::{ReadTx, StoreError, accounts as records};
use crate::whatsapp::{FetchFailure, SendFailure, Session};

use super::Accounts;
use super::driver::{Handle, LiveState};
use super::sending::Sending;
use super::types::{
    AccountError, MediaFile, MediaFilter, MediaView, OutgoingMedia, OutgoingText, Sent, Status,
};

/// Messages that one request marks as read at most.
const READ_AT_ONCE: usize = 1_000;

impl Accounts {
    /// Whether a message of this account could go now: for refusing a file before it is read.
    ///
    /// # Errors
    /// [`AccountError::NotFound`], [`AccountError::NotConnected`], [`AccountError::TooFast`].
    pub fn ready_to_send(&self, id: &str) -> Result<(), AccountError> {
        let handle = self.handle(id)?;
        connected(&handle)?;
        pace(&handle, |pace| pace.check(clock::now()))
    }

    /// Sends a text and waits for the server's ack. The message is stored before it goes, and
    /// goes on if the caller leaves.
    ///
    /// # Errors
    /// Everything in [`AccountError`] that concerns sending.
    pub async fn send_text(&self, id: &str, out: OutgoingText) -> Result<Sent, AccountError> {
        let handle = self.handle(id)?;
        let session = connected(&handle)?;
        let quoted = self.quoted(&handle, out.quoted_message_id.as_deref())?;
        take_turn(&handle)?;
        let sending = self.sending(id, &handle, session);
        self.whole(sending.text(out, quoted)).await
    }

    /// Prepares a file for WhatsApp, uploads and sends it, and waits for the server's ack. Goes on
    /// if the caller leaves.
    ///
    /// # Errors
    /// Everything in [`AccountError`] that concerns sending and files.
    pub async fn send_media(&self, id: &str, out: OutgoingMedia) -> Result<Sent, AccountError> {
        let handle = self.handle(id)?;
        let session = connected(&handle)?;
        let quoted = self.quoted(&handle, out.quoted_message_id.as_deref())?;
        take_turn(&handle)?;
        let sending = self.sending(id, &handle, session);
        self.whole(sending.medium(out, quoted)).await
    }

    /// Reacts to a message of a chat; an empty emoji takes the reaction back.
    ///
    /// # Errors
    /// [`AccountError::MessageNotFound`], and everything that concerns sending.
    pub async fn react(
        &self,
        id: &str,
        chat: ChatJid,
        message_id: &str,
        emoji: &str,
    ) -> Result<Sent, AccountError> {
        let handle = self.handle(id)?;
        let session = connected(&handle)?;
        let target = self.target(&handle, &chat, message_id)?;
        take_turn(&handle)?;
        let sending = self.sending(id, &handle, session);
        self.whole(sending.reaction(chat, target, emoji.to_owned()))
            .await
    }

    /// Deletes a message for everyone: an own one, or in a group, as its admin, another's.
    ///
    /// # Errors
    /// [`AccountError::MessageNotFound`], [`AccountError::NotOwnMessage`], and everything that
    /// concerns sending.
    pub async fn delete_message(
        &self,
        id: &str,
        chat: ChatJid,
        message_id: &str,
    ) -> Result<Sent, AccountError> {
        let handle = self.handle(id)?;
        let session = connected(&handle)?;
        let target = self.target(&handle, &chat, message_id)?;
        if !target.from_me && chat.is_person() {
            return Err(AccountError::NotOwnMessage);
        }
        take_turn(&handle)?;
        let sending = self.sending(id, &handle, session);
        self.whole(sending.deletion(chat, target)).await
    }

    /// Says that messages of a chat were read: those, or without any all that are unread.
    ///
    /// # Errors
    /// [`AccountError::MessageNotFound`] for one that is not there, and what concerns sending.
    pub async fn mark_read(
        &self,
        id: &str,
        chat: ChatJid,
        message_ids: Vec<String>,
    ) -> Result<(), AccountError> {
        let handle = self.handle(id)?;
        let session = connected(&handle)?;
        let (account, jid) = (handle.number, chat.to_string());
        let store = &self.0.wiring.store;
        let found = if message_ids.is_empty() {
            store.read(|tx| messages::unread(tx, account, &jid, READ_AT_ONCE))?
        } else {
            message_ids
                .iter()
                .take(READ_AT_ONCE)
                .map(|id| self.target(&handle, &chat, id))
                .collect::<Result<_, _>>()?
        };
        let theirs: Vec<(String, String)> = found
            .into_iter()
            .filter(|message| !message.from_me)
            .map(|m| (m.from_lid.unwrap_or(m.from), m.message_id))
            .collect();
        session
            .mark_read(&chat, &theirs)
            .await
            .map_err(|failure| match failure {
                SendFailure::NotConnected => not_connected(&handle),
                other => AccountError::Session(other.to_string()),
            })?;
        let ids: Vec<String> = theirs.into_iter().map(|(_, id)| id).collect();
        store
            .write(move |tx| match message_ids.is_empty() {
                true => messages::mark_read(tx, account, &jid),
                false => messages::mark_read_messages(tx, account, Some(&jid), &ids),
            })
            .await?;
        Ok(())
    }

    /// The file of a message, fetched from WhatsApp if it is not here yet.
    ///
    /// # Errors
    /// [`AccountError::MessageNotFound`], [`AccountError::NoMedia`], or why it could not be fetched.
    pub async fn media(&self, id: &str, message_id: &str) -> Result<MediaFile, AccountError> {
        let handle = self.handle(id)?;
        let message = self
            .0
            .wiring
            .store
            .read(|tx| messages::get(tx, handle.number, message_id))?
            .ok_or(AccountError::MessageNotFound)?;
        let media_id = message.media_id.ok_or(AccountError::NoMedia)?;
        self.medium(&handle, &media_id).await
    }

    /// A file by its medium's id, fetched from WhatsApp if it is not here yet.
    ///
    /// # Errors
    /// [`AccountError::NoMedia`] if there is no such medium, or why it could not be fetched.
    pub async fn media_by_id(
        &self,
        media_id: &str,
        may_see: impl Fn(&str) -> bool,
    ) -> Result<MediaFile, AccountError> {
        let (account, _) = media_rows::parse_id(media_id).ok_or(AccountError::NoMedia)?;
        let handle = self
            .lock()
            .by_id
            .iter()
            .find(|(id, handle)| handle.number == account && may_see(id))
            .map(|(_, handle)| handle.clone())
            .ok_or(AccountError::NoMedia)?;
        self.medium(&handle, media_id).await
    }

    /// The stored files, newest first.
    ///
    /// # Errors
    /// [`AccountError::NotFound`] for an account that is not there, or the store's.
    pub fn media_list(&self, filter: &MediaFilter) -> Result<Vec<MediaView>, AccountError> {
        let listed = self.0.wiring.store.read(|tx| {
            let accounts = match &filter.account_id {
                Some(id) => match records::get(tx, id)? {
                    Some(record) => vec![record],
                    None => return Ok(None),
                },
                None => records::list(tx)?,
            };
            let mut views = Vec::new();
            for record in accounts {
                views.extend(stored_media(tx, record.number, &record.id, filter)?);
            }
            // Each account's newest, together: the newest of all are among them.
            views.sort_by_key(|view| std::cmp::Reverse(view.timestamp));
            Ok(Some(
                views
                    .into_iter()
                    .skip(filter.skip)
                    .take(filter.limit)
                    .collect(),
            ))
        })?;
        listed.ok_or(AccountError::NotFound)
    }

    async fn medium(&self, handle: &Handle, media_id: &str) -> Result<MediaFile, AccountError> {
        let (account, number) = match media_rows::parse_id(media_id) {
            Some((account, number)) if account == handle.number => (account, number),
            _ => return Err(AccountError::NoMedia),
        };
        let store = &self.0.wiring.store;
        let read = || -> Result<Medium, AccountError> {
            store
                .read(|tx| media_rows::get(tx, account, number))?
                .ok_or(AccountError::NoMedia)
        };
        let mut medium = read()?;
        let path = self.0.wiring.files.medium(account, number);
        let is_there = medium.stored_at.is_some() && {
            let path = path.clone();
            smol::unblock(move || path.is_file()).await
        };
        if !is_there {
            let session = connected(handle)?;
            self.0
                .fetcher
                .fetch(session, account, number, medium)
                .await
                .map_err(|failure| match failure {
                    FetchFailure::NotConnected => not_connected(handle),
                    FetchFailure::Gone(words) => AccountError::MediaGone(words),
                    FetchFailure::Other(words) => AccountError::MediaUnavailable(words),
                })?;
            medium = read()?;
        }
        let sha256 = match <[u8; 32]>::try_from(medium.sha256.as_slice()) {
            Ok(known) => known,
            Err(_) => self
                .0
                .fetcher
                .hash(path.clone())
                .await
                .map_err(|e| AccountError::MediaUnavailable(e.to_string()))?,
        };
        Ok(MediaFile {
            path,
            size: medium.size,
            mimetype: medium.mimetype,
            file_name: medium.file_name,
            sha256,
        })
    }

    fn sending(&self, id: &str, handle: &Handle, session: Arc<Session>) -> Sending {
        Sending {
            accounts: self.clone(),
            account: handle.number,
            id: id.to_owned(),
            session,
        }
    }

    fn quoted(&self, handle: &Handle, id: Option<&str>) -> Result<Option<Message>, AccountError> {
        let Some(id) = id else {
            return Ok(None);
        };
        self.0
            .wiring
            .store
            .read(|tx| messages::get(tx, handle.number, id))?
            .map(Some)
            .ok_or(AccountError::QuotedNotFound)
    }

    fn target(
        &self,
        handle: &Handle,
        chat: &ChatJid,
        message_id: &str,
    ) -> Result<Message, AccountError> {
        let target = Target {
            chat: chat.to_string(),
            message_id: message_id.to_owned(),
            author: None,
        };
        self.0
            .wiring
            .store
            .read(|tx| messages::find_target(tx, handle.number, &target))?
            .filter(|message| !message.deleted)
            .ok_or(AccountError::MessageNotFound)
    }
}

/// An account's stored files that the filter takes, as many as it may need.
fn stored_media(
    tx: &ReadTx<'_>,
    account: u32,
    account_id: &str,
    filter: &MediaFilter,
) -> Result<Vec<MediaView>, StoreError> {
    let chat = filter
        .chat_id
        .as_deref()
        .map(|jid| messages::canonical_jid(tx, account, jid))
        .transpose()?;
    let most = filter.limit.saturating_add(filter.skip);
    let found = media_rows::list(tx, account, most, 0, |medium| {
        let of_message = filter
            .message_id
            .as_ref()
            .is_none_or(|id| *id == medium.message_id);
        let of_chat = chat.as_ref().is_none_or(|chat| {
            // A medium that came before the number was known names the LID.
            medium.chat_id == *chat
                || messages::canonical_jid(tx, account, &medium.chat_id)
                    .is_ok_and(|known| known == *chat)
        });
        medium.stored_at.is_some() && of_message && of_chat
    })?;
    found
        .into_iter()
        .map(|found| {
            let media_id = found.id();
            let medium = found.medium;
            Ok(MediaView {
                account_id: account_id.to_owned(),
                chat_id: messages::canonical_jid(tx, account, &medium.chat_id)?,
                from_me: medium.from_me,
                media_type: medium.kind,
                media_mimetype: medium.mimetype,
                media_size: medium.size,
                media_file_name: medium.file_name,
                media_url: format!(
                    "/accounts/{account_id}/messages/{}/media",
                    medium.message_id
                ),
                message_id: medium.message_id,
                timestamp: medium.created_at,
                stored_at: clock::iso8601(medium.stored_at.unwrap_or(0)),
                media_id,
            })
        })
        .collect()
}

fn connected(handle: &Handle) -> Result<Arc<Session>, AccountError> {
    match handle.live.get() {
        LiveState {
            status: Status::Connected,
            session: Some(session),
            ..
        } => Ok(session),
        LiveState {
            no_room: Some(error),
            ..
        } => Err(AccountError::Store(error)),
        LiveState { status, .. } => Err(AccountError::NotConnected { status }),
    }
}

fn not_connected(handle: &Handle) -> AccountError {
    AccountError::NotConnected {
        status: handle.live.get().status,
    }
}

/// Takes one message's worth of the account's pace.
fn take_turn(handle: &Handle) -> Result<(), AccountError> {
    pace(handle, |pace| pace.take(clock::now()))
}

fn pace(
    handle: &Handle,
    ask: impl FnOnce(&mut super::pace::Pace) -> Result<(), u64>,
) -> Result<(), AccountError> {
    let mut pace = handle
        .live
        .pace
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let per_minute = pace.per_minute();
    ask(&mut pace).map_err(|retry_after| AccountError::TooFast {
        per_minute,
        retry_after,
    })
}
