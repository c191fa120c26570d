//! The way in: every decrypted message is stored, with its chat's summary and its event, in one
//! transaction, and only then may WhatsApp be told that it was received.
//!
//! The client may go on to the next message before that: its acknowledgement waits at the transport
//! (see [`Journal`]), so messages that come quickly share a commit.

#[cfg(feature = "fuzzing")]
pub mod fuzzing;

use std::sync::{Arc, Mutex, MutexGuard};

use whatsapp_rust::types::events::InboundMessage;
use whatsapp_rust::types::message::MessageInfo;
use whatsapp_rust::waproto::codec::message_encoded_len;
use whatsapp_rust::{Client, InboundDurabilityHook, anyhow, async_trait};

use crate::clock::{self, Millis};
use crate::event::Event;
use crate::jid::{ChatJid, Server};
use crate::store::messages::{self, Arrival, Inserted, Lost};
use crate::store::{Store, StoreError, WriteTx, accounts, events, usernames};
use crate::sync::locked;

use super::backend::{Arrivals, Journal, handled};
use super::convert::{self, AutoDownload, Inbound, Placeholder, What};
use super::news::{NewsSender, SessionNews};
use super::usernames::{Heard, Said};

/// Stores what comes in for one account.
#[derive(Clone)]
pub struct Inbox {
    pub store: Store,
    /// The account's number in the store.
    pub account: u32,
    pub account_id: Arc<str>,
    pub auto: AutoDownload,
    /// Told what is to be done about what came in.
    pub news: NewsSender,
    /// Takes what the session decrypts, and is told of nothing else.
    pub journal: Arc<Journal>,
    /// What the stanzas of messages said of usernames.
    pub usernames: Heard,
}

/// What is to be done about what was stored.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Followup {
    /// Groups whose subject is not known.
    nameless: Vec<String>,
    /// Media to be fetched.
    media: bool,
    /// Media of messages that were deleted: their files are to go.
    removed: Vec<String>,
}

/// What is known of a message that could not be decrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is stored: it was delivered a second time.
    Known,
    /// It is not, and is to be asked for.
    Missing,
}

impl Inbox {
    /// Stores a batch in order, all of it or nothing. A message that is there already (the server
    /// delivers again what it was not told of) changes nothing.
    ///
    /// # Errors
    /// When the commit failed: nothing is stored, and nothing may be acknowledged.
    pub async fn store(&self, batch: &[InboundMessage]) -> Result<(), StoreError> {
        let rows = self.convert(batch);
        if rows.is_empty() {
            return Ok(());
        }
        let (account, account_id) = (self.account, Arc::clone(&self.account_id));
        let followup = self
            .store
            .write(move |tx| store_all(tx, account, &account_id, &rows))
            .await?;
        self.follow_up(followup);
        Ok(())
    }

    /// Hands a batch to the journal, which stores it like [`Inbox::store`] before anything more
    /// leaves for WhatsApp.
    ///
    /// # Errors
    /// When the journal has failed: nothing may be acknowledged.
    async fn accept(&self, batch: &[InboundMessage]) -> Result<(), StoreError> {
        let rows = self.convert(batch);
        if rows.is_empty() {
            return Ok(());
        }
        let (account, account_id) = (self.account, Arc::clone(&self.account_id));
        let followup = Arc::new(Mutex::new(Followup::default()));
        let told = Arc::clone(&followup);
        let inbox = self.clone();
        let arrivals = Arrivals {
            count: rows.len(),
            bytes: rows.iter().map(|row| row.size).sum(),
            store: Box::new(move |tx| {
                *lock(&followup) = store_all(tx, account, &account_id, &rows)?;
                Ok(())
            }),
            stored: Box::new(move || inbox.follow_up(std::mem::take(&mut *lock(&told)))),
        };
        self.journal.accept(arrivals).await
    }

    /// Looks for a message that could not be decrypted (`id` is what [`handled::id`] says of it), and keeps a place for it if it is not here.
    ///
    /// # Errors
    /// When that could not be stored: nothing may be acknowledged.
    pub async fn lose(
        &self,
        info: &MessageInfo,
        id: Vec<u8>,
        placeholder: Placeholder,
    ) -> Result<Fate, StoreError> {
        // What has come before it and is not on disk yet could be the same message.
        self.journal.settle().await?;
        let (account, account_id) = (self.account, Arc::clone(&self.account_id));
        let now = clock::now();
        let said = self.usernames.take(info);
        let (fate, followup) = self
            .store
            .write(move |tx| {
                let mut followup = Followup::default();
                let here = accounts::number(&tx.view(), &account_id)? == Some(account);
                if here {
                    learn(tx, account, &said, now)?;
                }
                let known = here
                    && (handled::is_known(&tx.view(), account, &id)?
                        || lose_one(tx, account, &placeholder, now, &mut followup)?);
                let fate = if known { Fate::Known } else { Fate::Missing };
                Ok((fate, followup))
            })
            .await?;
        self.follow_up(followup);
        Ok(fate)
    }

    fn convert(&self, batch: &[InboundMessage]) -> Vec<Row> {
        let now = clock::now();
        batch
            .iter()
            .filter_map(|m| {
                Some(Row {
                    inbound: convert::inbound(
                        &self.account_id,
                        &m.info,
                        &m.message,
                        self.auto,
                        now,
                    )?,
                    id: handled::id(&m.info),
                    size: message_encoded_len(&m.message),
                    usernames: self.usernames.take(&m.info),
                    now,
                })
            })
            .collect()
    }

    fn follow_up(&self, followup: Followup) {
        let Followup {
            nameless,
            media,
            removed,
        } = followup;
        // Full or closed: the name is asked for with the next message, and what is to be fetched
        // or to go stands in the store.
        for group in nameless {
            let _ = self.news.tell(SessionNews::Nameless(group));
        }
        if media {
            let _ = self.news.tell(SessionNews::MediaWanted);
        }
        if !removed.is_empty() {
            let _ = self.news.tell(SessionNews::MediaRemoved(removed));
        }
    }
}

/// A message to be stored.
struct Row {
    inbound: Inbound,
    /// By what it is known, if nothing of it is stored.
    id: Vec<u8>,
    /// Its bytes as it came.
    size: usize,
    /// Of its people.
    usernames: Vec<Said>,
    /// When it came.
    now: Millis,
}

fn lock(followup: &Mutex<Followup>) -> MutexGuard<'_, Followup> {
    locked(followup)
}

fn store_all(
    tx: &mut WriteTx<'_>,
    account: u32,
    account_id: &str,
    rows: &[Row],
) -> Result<Followup, StoreError> {
    let mut followup = Followup::default();
    // A session that outlives its account by a moment has nobody to store for.
    if accounts::number(&tx.view(), account_id)? == Some(account) {
        for row in rows {
            store_one(tx, account, account_id, row, &mut followup)?;
        }
    }
    Ok(followup)
}

fn store_one(
    tx: &mut WriteTx<'_>,
    account: u32,
    account_id: &str,
    row: &Row,
    followup: &mut Followup,
) -> Result<(), StoreError> {
    let Row {
        inbound: row,
        now,
        id,
        usernames,
        size: _,
    } = row;
    let now = *now;
    for (lid, number) in &row.links {
        messages::link(tx, account, lid, number)?;
    }
    learn(tx, account, usernames, now)?;
    match &row.what {
        What::Message { message, medium } => {
            let mut message = message.as_ref().clone();
            let medium = medium.as_deref();
            match messages::insert(tx, account, &mut message, medium, Arrival::Live)? {
                Inserted::New => {
                    followup.media |= medium.is_some_and(|m| m.wanted);
                    ask_for_the_name(tx, account, &message.chat_id, followup)?;
                    events::append(tx, &Event::Message(message), now)?;
                }
                Inserted::Duplicate => {}
            }
        }
        What::Change { target, by, change } => {
            let at = i64::try_from(now / 1000).unwrap_or(i64::MAX);
            handled::remember(tx, account, id, at)?;
            let applied = messages::apply(tx, account, account_id, target, by, change)?;
            followup.removed.extend(applied.removed_medium);
            if let Some(event) = applied.event {
                events::append(tx, &event, now)?;
            }
        }
    }
    Ok(())
}

fn learn(tx: &mut WriteTx<'_>, account: u32, said: &[Said], now: Millis) -> Result<(), StoreError> {
    for (jid, name) in said {
        usernames::learn(tx, account, jid, name.as_deref(), now)?;
    }
    Ok(())
}

/// Whether the message is stored; if it is not, it has a place from now on.
fn lose_one(
    tx: &mut WriteTx<'_>,
    account: u32,
    placeholder: &Placeholder,
    now: Millis,
    followup: &mut Followup,
) -> Result<bool, StoreError> {
    for (lid, number) in &placeholder.links {
        messages::link(tx, account, lid, number)?;
    }
    let mut message = placeholder.message.as_ref().clone();
    match messages::lose(tx, account, &mut message, placeholder.shown)? {
        Lost::Known => return Ok(true),
        Lost::Missing => {}
        Lost::Noted => {
            ask_for_the_name(tx, account, &message.chat_id, followup)?;
            events::append(tx, &Event::MessageUndecryptable(message), now)?;
        }
    }
    Ok(false)
}

fn ask_for_the_name(
    tx: &WriteTx<'_>,
    account: u32,
    chat: &str,
    followup: &mut Followup,
) -> Result<(), StoreError> {
    if is_group(chat)
        && !followup.nameless.iter().any(|known| known == chat)
        && messages::is_nameless(&tx.view(), account, chat)?
    {
        followup.nameless.push(chat.to_owned());
    }
    Ok(())
}

fn is_group(chat: &str) -> bool {
    ChatJid::parse(chat).is_ok_and(|jid| jid.server() == Server::Group)
}

#[async_trait]
impl InboundDurabilityHook for Inbox {
    async fn on_messages(&self, _: Arc<Client>, batch: &[InboundMessage]) -> anyhow::Result<()> {
        self.accept(batch).await.map_err(|error| {
            log::error!(
                "{}: {} message(s) not stored, WhatsApp will deliver them again: {error}",
                self.account_id,
                batch.len()
            );
            error.into()
        })
    }
}
