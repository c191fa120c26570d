//! The way in: every decrypted message is stored, with its chat's summary and its event, in one
//! transaction, and only then may WhatsApp be told that it was received.

use std::sync::Arc;

use whatsapp_rust::types::events::InboundMessage;
use whatsapp_rust::{Client, InboundDurabilityHook, anyhow, async_trait};

use crate::clock::{self, Millis};
use crate::event::Event;
use crate::jid::{ChatJid, Server};
use crate::store::messages::{self, Arrival, Inserted};
use crate::store::{Store, StoreError, WriteTx, accounts, events};

use super::backend::FailureHook;
use super::convert::{self, AutoDownload, Inbound, What};
use super::news::SessionNews;

/// Stores what comes in for one account.
#[derive(Clone)]
pub struct Inbox {
    pub store: Store,
    /// The account's number in the store.
    pub account: u32,
    pub account_id: Arc<str>,
    pub auto: AutoDownload,
    /// Told what is to be done about what came in.
    pub news: async_channel::Sender<SessionNews>,
    /// Told when a message could not be stored.
    pub on_failure: FailureHook,
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

impl Inbox {
    /// Stores a batch in order, all of it or nothing. A message that is there already (the server
    /// delivers again what it was not told of) changes nothing.
    ///
    /// # Errors
    /// When the commit failed: nothing is stored, and nothing may be acknowledged.
    pub async fn store(&self, batch: &[InboundMessage]) -> Result<(), StoreError> {
        let now = clock::now();
        let rows: Vec<_> = batch
            .iter()
            .filter_map(|m| convert::inbound(&self.account_id, &m.info, &m.message, self.auto, now))
            .collect();
        if rows.is_empty() {
            return Ok(());
        }
        let account = self.account;
        let account_id = Arc::clone(&self.account_id);
        let followup = self
            .store
            .write(move |tx| {
                let mut followup = Followup::default();
                // A session that outlives its account by a moment has nobody to store for.
                if accounts::number(&tx.view(), &account_id)? == Some(account) {
                    for row in &rows {
                        store_one(tx, account, &account_id, row, now, &mut followup)?;
                    }
                }
                Ok(followup)
            })
            .await?;
        self.follow_up(followup);
        Ok(())
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
            let _ = self.news.try_send(SessionNews::Nameless(group));
        }
        if media {
            let _ = self.news.try_send(SessionNews::MediaWanted);
        }
        if !removed.is_empty() {
            let _ = self.news.try_send(SessionNews::MediaRemoved(removed));
        }
    }
}

fn store_one(
    tx: &mut WriteTx<'_>,
    account: u32,
    account_id: &str,
    row: &Inbound,
    now: Millis,
    followup: &mut Followup,
) -> Result<(), StoreError> {
    for (lid, number) in &row.links {
        messages::link(tx, account, lid, number)?;
    }
    match &row.what {
        What::Message { message, medium } => {
            let mut message = message.as_ref().clone();
            let medium = medium.as_deref();
            match messages::insert(tx, account, &mut message, medium, Arrival::Live)? {
                Inserted::New => {
                    followup.media |= medium.is_some_and(|m| m.wanted);
                    let chat = &message.chat_id;
                    if is_group(chat)
                        && !followup.nameless.contains(chat)
                        && messages::is_nameless(&tx.view(), account, chat)?
                    {
                        followup.nameless.push(chat.clone());
                    }
                    events::append(tx, &Event::Message(message), now)?;
                }
                Inserted::Duplicate => {}
            }
        }
        What::Change { target, by, change } => {
            let applied = messages::apply(tx, account, account_id, target, by, change)?;
            followup.removed.extend(applied.removed_medium);
            if let Some(event) = applied.event {
                events::append(tx, &event, now)?;
            }
        }
    }
    Ok(())
}

fn is_group(chat: &str) -> bool {
    ChatJid::parse(chat).is_ok_and(|jid| jid.server() == Server::Group)
}

#[async_trait]
impl InboundDurabilityHook for Inbox {
    async fn on_messages(&self, _: Arc<Client>, batch: &[InboundMessage]) -> anyhow::Result<()> {
        match self.store(batch).await {
            Ok(()) => Ok(()),
            Err(error) => {
                log::error!(
                    "{}: {} message(s) not stored, WhatsApp will deliver them again: {error}",
                    self.account_id,
                    batch.len()
                );
                // WhatsApp delivers them again only to a new connection.
                (self.on_failure)(&error);
                Err(error.into())
            }
        }
    }
}
