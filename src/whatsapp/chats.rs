//! What the account's other devices and WhatsApp's server say of chats: read, named, renamed.
//!
//! A phone that has just been paired says thousands of such things at once: they are collected and
//! stored together.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::clock::{self, Millis};
use crate::ledger::Owner;
use crate::runtime::Executor;
use crate::runtime::tasks::{self, Kind};
use crate::store::{Store, StoreError, WriteTx, messages, usernames};
use crate::sync::locked;

/// What may wait to be stored; what is over is dropped, with a word in the log.
const WAITING: usize = 65_536;
/// What one transaction takes.
const BATCH: usize = 256;

/// Something about a chat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChatNews {
    /// The owner has read up to the newest of these messages, in a group or in chats of two.
    /// Counts only if one of the account's own devices says so.
    ReadMessages {
        group: Option<String>,
        ids: Vec<String>,
        by: String,
    },
    /// The owner has read it up to a time, or all of it.
    ReadUntil { chat: String, until: Option<Millis> },
    /// The owner wants to look at it again.
    Unread { chat: String },
    /// What the owner calls a person; `None` if no more.
    Contact { jid: String, name: Option<String> },
    /// A group's subject.
    Subject { chat: String, name: String },
    /// A person's username; `None` if there is none any more.
    Username { jid: String, name: Option<String> },
    /// A LID and its phone number's JID.
    Link { lid: String, number: String },
}

/// Collects and stores it for one account.
#[derive(Clone)]
pub struct ChatLedger {
    pub store: Store,
    pub owner: Owner,
    pub executor: Arc<Executor>,
    pub waiting: Arc<Mutex<Waiting>>,
}

/// What waits.
#[derive(Debug, Default)]
pub struct Waiting {
    news: VecDeque<ChatNews>,
    /// A task stores it.
    flushing: bool,
}

impl ChatLedger {
    pub fn note(&self, news: ChatNews) {
        let mut waiting = self.lock();
        if waiting.news.len() >= WAITING {
            log::warn!("{}: too much news of chats, some is lost", self.owner.id);
            return;
        }
        waiting.news.push_back(news);
        if !waiting.flushing {
            waiting.flushing = true;
            let (ledger, name) = (self.clone(), format!("{}: chats", self.owner.id));
            tasks::keep(&self.executor, Kind::Chats, name, move || {
                ledger.clone().flush()
            })
            .detach();
        }
    }

    async fn flush(self) {
        // What comes in the same breath shares a commit.
        futures_lite::future::yield_now().await;
        loop {
            let batch: Vec<ChatNews> = {
                let mut waiting = self.lock();
                if waiting.news.is_empty() {
                    waiting.flushing = false;
                    return;
                }
                // They stay until they are stored: this may end before, and begin anew.
                waiting.news.iter().take(BATCH).cloned().collect()
            };
            let taken = batch.len();
            let stored = self.owner.write(&self.store, move |ledger| {
                batch
                    .iter()
                    .try_for_each(|news| apply(ledger.tx, ledger.account, news))
            });
            if let Err(error) = stored.await {
                log::error!("{}: news of chats not stored: {error}", self.owner.id);
            }
            self.lock().news.drain(..taken);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        locked(&self.waiting)
    }
}

fn apply(tx: &mut WriteTx<'_>, account: u32, news: &ChatNews) -> Result<(), StoreError> {
    match news {
        ChatNews::ReadMessages { group, ids, by } => {
            if messages::is_own(&tx.view(), account, by)? {
                messages::mark_read_messages(tx, account, group.as_deref(), ids)?;
            }
        }
        ChatNews::ReadUntil {
            chat,
            until: Some(until),
        } => {
            messages::mark_read_until(tx, account, chat, *until)?;
        }
        ChatNews::ReadUntil { chat, until: None } => {
            messages::mark_read(tx, account, chat)?;
        }
        ChatNews::Unread { chat } => {
            messages::mark_unread(tx, account, chat)?;
        }
        ChatNews::Contact { jid, name } => {
            messages::set_contact_name(tx, account, jid, name.as_deref())?;
        }
        ChatNews::Subject { chat, name } => {
            messages::set_name(tx, account, chat, name)?;
        }
        ChatNews::Username { jid, name } => {
            usernames::learn(tx, account, jid, name.as_deref(), clock::now())?;
        }
        ChatNews::Link { lid, number } => messages::link(tx, account, lid, number)?,
    }
    Ok(())
}
