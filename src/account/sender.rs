//! What one account sends with, and the result of an attempt.

use std::path::PathBuf;
use std::sync::Arc;

use crate::clock::Millis;
use crate::ledger::{self, Owner};
use crate::store::outbox::Entry;
use crate::store::{Store, accounts as records, messages};
use crate::whatsapp::Session;

use super::live::Live;
use super::media::Fetcher;
use super::types::{AccountError, SendingLimits};

/// Why a message waits that could not go for lack of a connection.
pub const NOT_CONNECTED: &str = "The account is not connected; the message is sent once it is";

/// What an account sends with. Cheap to clone.
#[derive(Clone)]
pub struct Sending {
    pub fetcher: Fetcher,
    pub limits: SendingLimits,
    /// The account's number in the store.
    pub account: u32,
    pub id: Arc<str>,
    pub live: Arc<Live>,
}

/// Where a message is routed.
pub enum Route {
    /// To WhatsApp.
    Now(Arc<Session>),
    /// Into the outbox, for this reason.
    Later(String),
}

/// The result of an attempt to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SendResult {
    /// WhatsApp has it, since then.
    Acked(Millis),
    /// WhatsApp does not take it.
    Refused { code: Option<u16>, words: String },
    /// It is not at WhatsApp, which may take it later.
    Later { code: u16, words: String },
    /// It may be at WhatsApp or not.
    Unknown,
    /// It is not at WhatsApp, for lack of a connection.
    NotConnected,
    /// It is not at WhatsApp, for this reason.
    NotSent(String),
}

impl Sending {
    pub fn store(&self) -> &Store {
        &self.fetcher.wiring.store
    }

    pub fn owner(&self) -> Owner {
        Owner {
            number: self.account,
            id: Arc::clone(&self.id),
        }
    }

    pub fn not_connected(&self) -> AccountError {
        AccountError::NotConnected {
            status: self.live.get().status,
        }
    }

    pub fn own_jid(&self) -> Option<String> {
        let live = self.live.get();
        if let Some(jid) = live.session.and_then(|session| session.own_jid()) {
            return Some(jid);
        }
        let record = self.store().read(|tx| records::get(tx, &self.id));
        record.ok().flatten().and_then(|record| record.jid)
    }

    /// The time of an entry's message, if a receipt has shown that it is at WhatsApp.
    pub fn is_there(&self, entry: &Entry) -> Option<Millis> {
        let account = self.account;
        let message = self
            .store()
            .read(|tx| messages::get_own(tx, account, &entry.message_id));
        let message = message.ok().flatten()?;
        ledger::is_at_whatsapp(message.status).then_some(message.timestamp)
    }

    /// Where the file of a message that waits is.
    pub fn waiting_file(&self, message_id: &str) -> PathBuf {
        self.fetcher.wiring.files.waiting(self.account, message_id)
    }
}
