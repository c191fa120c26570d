//! Received messages: each is stored with its chat's summary and its event in one transaction, and acknowledged
//! to WhatsApp after that.
//!
//! The client may go on to the next message before that: its acknowledgement waits at the transport
//! (see [`Journal`]), so messages that come quickly share a commit.

#[cfg(feature = "fuzzing")]
pub mod fuzzing;

use std::sync::{Arc, Mutex};

use whatsapp_rust::types::events::InboundMessage;
use whatsapp_rust::types::message::MessageInfo;
use whatsapp_rust::waproto::codec::message_encoded_len;
use whatsapp_rust::{Client, InboundDurabilityHook, anyhow, async_trait};

use crate::clock::{self, Millis};
use crate::ledger::{Afterwards, Fact, Ledger, Owner};
use crate::store::groups::GroupNews;
use crate::store::{Key, Store, StoreError, messages, usernames};
use crate::sync::locked;

use super::backend::{Arrivals, Journal, handled};
use super::convert::{self, AutoDownload, Inbound, InboundContent, Placeholder};
use super::news::{NewsSender, SessionNews};
use super::usernames::{Heard, Said};

/// Stores what comes in for one account.
#[derive(Clone)]
pub struct Inbox {
    pub store: Store,
    pub owner: Owner,
    pub auto: AutoDownload,
    /// Gets what the driver has to do after a commit.
    pub news: NewsSender,
    /// Takes what the session decrypts.
    pub journal: Arc<Journal>,
    /// What the stanzas of messages said of usernames.
    pub usernames: Heard,
}

/// Whether a message that could not be decrypted is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is stored: this is a second delivery.
    Known,
    /// It is not stored; the sender is asked for it.
    Missing,
}

impl Inbox {
    /// Stores a batch in order, all of it or nothing. A message that is there already (the server
    /// delivers again what was not acknowledged) changes nothing.
    ///
    /// # Errors
    /// When the commit failed: nothing is stored, and nothing may be acknowledged.
    pub async fn store(&self, batch: &[InboundMessage]) -> Result<(), StoreError> {
        let rows = self.convert(batch);
        if rows.is_empty() {
            return Ok(());
        }
        let stored = self
            .owner
            .write(&self.store, move |ledger| record_all(ledger, &rows));
        self.follow_up(stored.await?.unwrap_or_default());
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
        let owner = self.owner.clone();
        let recorded = Arc::new(Mutex::new(Afterwards::default()));
        let afterwards = Arc::clone(&recorded);
        let inbox = self.clone();
        let arrivals = Arrivals {
            count: rows.len(),
            bytes: rows.iter().map(|row| row.size).sum(),
            store: Box::new(move |tx| {
                let afterwards = match Ledger::open(tx, &owner)? {
                    Some(mut ledger) => record_all(&mut ledger, &rows)?,
                    None => Afterwards::default(),
                };
                *locked(&recorded) = afterwards;
                Ok(())
            }),
            stored: Box::new(move || inbox.follow_up(std::mem::take(&mut *locked(&afterwards)))),
        };
        self.journal.accept(arrivals).await
    }

    /// Hands what a notification says of a group to the journal, which stores it before the notification is acknowledged.
    /// One that is delivered again changes nothing. False if too many wait.
    ///
    /// # Errors
    /// When the journal has failed.
    pub fn note_group(&self, news: GroupNews) -> Result<bool, StoreError> {
        let (owner, inbox) = (self.owner.clone(), self.clone());
        let recorded = Arc::new(Mutex::new(Afterwards::default()));
        let afterwards = Arc::clone(&recorded);
        let id = Key::new()
            .text(&news.group)
            .text("w:gp2")
            .text(&news.id)
            .to_vec();
        let now = clock::now();
        let arrivals = Arrivals {
            count: 1,
            bytes: 512,
            store: Box::new(move |tx| {
                let Some(mut ledger) = Ledger::open(tx, &owner)? else {
                    return Ok(());
                };
                if handled::is_known(&ledger.tx.view(), ledger.account, &id)? {
                    return Ok(());
                }
                let at = i64::try_from(now / 1000).unwrap_or(i64::MAX);
                handled::remember(ledger.tx, ledger.account, &id, at)?;
                ledger.record(&Fact::Group(&news), now)?;
                *locked(&recorded) = std::mem::take(&mut ledger.after);
                Ok(())
            }),
            stored: Box::new(move || inbox.follow_up(std::mem::take(&mut *locked(&afterwards)))),
        };
        self.journal.note(arrivals)
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
        // A message that is not on disk yet could be the same one.
        self.journal.settle().await?;
        let now = clock::now();
        let said = self.usernames.take(info);
        let recorded = self.owner.write(&self.store, move |ledger| {
            learn(ledger, &said, now)?;
            let is_known = handled::is_known(&ledger.tx.view(), ledger.account, &id)?
                || !lose_one(ledger, &placeholder, now)?;
            let fate = if is_known { Fate::Known } else { Fate::Missing };
            Ok((fate, std::mem::take(&mut ledger.after)))
        });
        let (fate, afterwards) = recorded
            .await?
            .unwrap_or((Fate::Missing, Afterwards::default()));
        self.follow_up(afterwards);
        Ok(fate)
    }

    fn convert(&self, batch: &[InboundMessage]) -> Vec<Row> {
        let now = clock::now();
        batch
            .iter()
            .filter_map(|m| {
                Some(Row {
                    inbound: convert::inbound(&self.owner.id, &m.info, &m.message, self.auto, now)?,
                    id: handled::id(&m.info),
                    size: message_encoded_len(&m.message),
                    usernames: self.usernames.take(&m.info),
                    now,
                })
            })
            .collect()
    }

    fn follow_up(&self, afterwards: Afterwards) {
        let Afterwards {
            nameless,
            media,
            removed,
        } = afterwards;
        // Full or closed: the subject is asked for with the next message, and the store lists the media to
        // fetch or remove.
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

fn record_all(ledger: &mut Ledger<'_, '_>, rows: &[Row]) -> Result<Afterwards, StoreError> {
    for row in rows {
        record_one(ledger, row)?;
    }
    Ok(std::mem::take(&mut ledger.after))
}

fn record_one(ledger: &mut Ledger<'_, '_>, row: &Row) -> Result<(), StoreError> {
    link(ledger, &row.inbound.links)?;
    learn(ledger, &row.usernames, row.now)?;
    let fact = match &row.inbound.what {
        InboundContent::Message { message, medium } => Fact::Received {
            message,
            medium: medium.as_deref(),
        },
        InboundContent::Timer { chat, timer } => {
            let at = i64::try_from(row.now / 1000).unwrap_or(i64::MAX);
            handled::remember(ledger.tx, ledger.account, &row.id, at)?;
            let at = timer.at.unwrap_or(row.now);
            return messages::set_timer(ledger.tx, ledger.account, chat, timer.seconds, at);
        }
        InboundContent::Change { target, by, change } => {
            let at = i64::try_from(row.now / 1000).unwrap_or(i64::MAX);
            handled::remember(ledger.tx, ledger.account, &row.id, at)?;
            Fact::Changed { target, by, change }
        }
    };
    ledger.record(&fact, row.now).map(drop)
}

fn link(ledger: &mut Ledger<'_, '_>, links: &[(String, String)]) -> Result<(), StoreError> {
    links
        .iter()
        .try_for_each(|(lid, number)| messages::link(ledger.tx, ledger.account, lid, number))
}

fn learn(ledger: &mut Ledger<'_, '_>, said: &[Said], now: Millis) -> Result<(), StoreError> {
    for (jid, name) in said {
        usernames::learn(ledger.tx, ledger.account, jid, name.as_deref(), now)?;
    }
    Ok(())
}

/// Records a message that cannot be decrypted; false if its content is stored.
fn lose_one(
    ledger: &mut Ledger<'_, '_>,
    placeholder: &Placeholder,
    now: Millis,
) -> Result<bool, StoreError> {
    link(ledger, &placeholder.links)?;
    let fact = Fact::Undecryptable {
        placeholder: &placeholder.message,
        shown: placeholder.shown,
    };
    ledger.record(&fact, now)
}

#[async_trait]
impl InboundDurabilityHook for Inbox {
    async fn on_messages(&self, _: Arc<Client>, batch: &[InboundMessage]) -> anyhow::Result<()> {
        self.accept(batch).await.map_err(|error| {
            log::error!(
                "{}: {} message(s) not stored, WhatsApp will deliver them again: {error}",
                self.owner.id,
                batch.len()
            );
            error.into()
        })
    }
}
