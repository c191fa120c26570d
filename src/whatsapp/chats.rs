//! Updates of chats from the account's other devices and WhatsApp's server: read marks, names, usernames.
//!
//! A newly paired phone sends thousands of them at once: they are collected and stored in batches.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::clock::{self, Millis};
use crate::ledger::{Fact, Ledger, Owner};
use crate::message::{By, Change, Target};
use crate::runtime::Executor;
use crate::runtime::tasks::{self, Kind};
use crate::store::{Store, StoreError, messages, usernames};
use crate::sync::locked;

use super::news::{NewsSender, SessionNews};

/// Updates that may wait to be stored; more are dropped and logged.
const WAITING: usize = 65_536;
/// What one transaction takes.
const BATCH: usize = 256;

/// An update of a chat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChatUpdate {
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
    /// A message was starred or deleted by the owner, for himself.
    Message {
        target: Target,
        by: By,
        change: Change,
    },
}

/// Collects and stores the updates of one account.
#[derive(Clone)]
pub struct ChatUpdates {
    pub store: Store,
    pub owner: Owner,
    pub executor: Arc<Executor>,
    pub waiting: Arc<Mutex<Waiting>>,
    /// Gets the media of messages that are gone.
    pub sender: NewsSender,
}

/// What waits.
#[derive(Debug, Default)]
pub struct Waiting {
    news: VecDeque<ChatUpdate>,
    /// A task stores it.
    flushing: bool,
}

impl ChatUpdates {
    pub fn note(&self, news: ChatUpdate) {
        let mut waiting = self.lock();
        if waiting.news.len() >= WAITING {
            log::warn!(
                "{}: too many updates of chats, some are lost",
                self.owner.id
            );
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
        // Updates from the same poll share a commit.
        futures_lite::future::yield_now().await;
        loop {
            let batch: Vec<ChatUpdate> = {
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
                batch.iter().try_for_each(|news| apply(ledger, news))?;
                Ok(std::mem::take(&mut ledger.after.removed))
            });
            match stored.await {
                Ok(Some(removed)) if !removed.is_empty() => {
                    // Full: the files are removed at the next start.
                    let _ = self.sender.tell(SessionNews::MediaRemoved(removed));
                }
                Ok(_) => {}
                Err(error) => {
                    log::error!("{}: updates of chats not stored: {error}", self.owner.id);
                }
            }
            self.lock().news.drain(..taken);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        locked(&self.waiting)
    }
}

fn apply(ledger: &mut Ledger<'_, '_>, news: &ChatUpdate) -> Result<(), StoreError> {
    if let ChatUpdate::Message { target, by, change } = news {
        let fact = Fact::Changed { target, by, change };
        return ledger.record(&fact, clock::now()).map(drop);
    }
    let (tx, account) = (&mut *ledger.tx, ledger.account);
    match news {
        ChatUpdate::Message { .. } => {}
        ChatUpdate::ReadMessages { group, ids, by } => {
            if messages::is_own(&tx.view(), account, by)? {
                messages::mark_read_messages(tx, account, group.as_deref(), ids)?;
            }
        }
        ChatUpdate::ReadUntil {
            chat,
            until: Some(until),
        } => {
            messages::mark_read_until(tx, account, chat, *until)?;
        }
        ChatUpdate::ReadUntil { chat, until: None } => {
            messages::mark_read(tx, account, chat)?;
        }
        ChatUpdate::Unread { chat } => {
            messages::mark_unread(tx, account, chat)?;
        }
        ChatUpdate::Contact { jid, name } => {
            messages::set_contact_name(tx, account, jid, name.as_deref())?;
        }
        ChatUpdate::Subject { chat, name } => {
            messages::set_name(tx, account, chat, name)?;
        }
        ChatUpdate::Username { jid, name } => {
            usernames::learn(tx, account, jid, name.as_deref(), clock::now())?;
        }
        ChatUpdate::Link { lid, number } => messages::link(tx, account, lid, number)?,
    }
    Ok(())
}
