//! The way in: every decrypted message is stored, with its chat's summary and its event, in one
//! transaction, and only then may WhatsApp be told that it was received.

use std::sync::Arc;

use whatsapp_rust::types::events::InboundMessage;
use whatsapp_rust::{Client, InboundDurabilityHook, anyhow, async_trait};

use crate::clock;
use crate::event::Event;
use crate::store::messages::{self, Inserted};
use crate::store::{Store, StoreError, accounts, events};

use super::backend::FailureHook;
use super::convert;

/// Stores what comes in for one account.
#[derive(Clone)]
pub struct Inbox {
    pub store: Store,
    /// The account's number in the store.
    pub account: u32,
    pub account_id: Arc<str>,
    /// Told when a message could not be stored.
    pub on_failure: FailureHook,
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
            .filter_map(|m| convert::inbound(&self.account_id, &m.info, &m.message, now))
            .collect();
        if rows.is_empty() {
            return Ok(());
        }
        let account = self.account;
        let account_id = Arc::clone(&self.account_id);
        self.store
            .write(move |tx| {
                // A session that outlives its account by a moment has nobody to store for.
                if accounts::number(&tx.view(), &account_id)? != Some(account) {
                    return Ok(());
                }
                for row in &rows {
                    if let Some((lid, number)) = &row.link {
                        messages::link(tx, account, lid, number)?;
                    }
                    let mut message = row.message.clone();
                    match messages::insert(tx, account, &mut message)? {
                        Inserted::New => {
                            events::append(tx, &Event::Message(message), now)?;
                        }
                        Inserted::Duplicate => {}
                    }
                }
                Ok(())
            })
            .await
    }
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
