//! Updates of chats from the account's other devices and WhatsApp's server: read marks, names, usernames.
//!
//! A newly paired phone sends thousands of them at once: they are collected and stored in batches.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::clock::{self, Millis};
use crate::ledger::{Fact, Ledger, Owner};
use crate::message::{By, CallNews, Change, Target};
use crate::runtime::Executor;
use crate::runtime::tasks::{self, Kind};
use crate::store::media::id as media_id;
use crate::store::messages::ChatMarks;
use crate::store::{Store, StoreError, blocklist, messages, usernames};
use crate::sync::locked;

use super::news::{NewsSender, SessionNews};
use super::watched::{Doing, Shown};

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
    /// The owner has archived, pinned or muted it, or ended that.
    Marks {
        chat: String,
        marks: ChatMarks,
        quiet: bool,
    },
    /// The owner has deleted it, or cleared it (not `whole`), up to that time.
    Removed {
        chat: String,
        until: Millis,
        whole: bool,
        quiet: bool,
    },
    /// What the owner calls a person; `None` if no more.
    Contact { jid: String, name: Option<String> },
    /// A person's username; `None` if there is none any more.
    Username { jid: String, name: Option<String> },
    /// Everyone whom the account has blocked.
    Blocklist(Vec<String>),
    /// A person was blocked, or unblocked.
    Blocked { jid: String, blocked: bool },
    /// WhatsApp says something of a call.
    Call(Box<CallNews>),
    /// A person who is subscribed to is online, or is not.
    Presence { person: String, shown: Shown },
    /// A person types in a chat, or ended that.
    Doing {
        chat: String,
        sender: String,
        doing: Doing,
        /// A reader of the log asks for such events.
        is_read: bool,
    },
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
            let removals = batch.clone();
            let stored = self.owner.write(&self.store, move |ledger| {
                batch.iter().try_for_each(|news| apply(ledger, news))?;
                Ok(std::mem::take(&mut ledger.after.removed))
            });
            let mut outcome = stored.await.map(Option::unwrap_or_default);
            for news in &removals {
                if let ChatUpdate::Removed {
                    chat,
                    until,
                    whole,
                    quiet,
                } = news
                    && let Ok(removed) = &mut outcome
                {
                    let until = (*until, *whole);
                    match clear(&self.store, &self.owner, chat, until, *quiet).await {
                        Ok(media) => removed.extend(media),
                        Err(error) => outcome = Err(error),
                    }
                }
            }
            match outcome {
                Ok(removed) if removed.is_empty() => {}
                Ok(removed) => {
                    // Full: the files are removed at the next start.
                    let _ = self.sender.tell(SessionNews::MediaRemoved(removed));
                }
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

/// Messages that one transaction removes.
const STEP: usize = 64;

/// Removes a chat's messages up to a time, and the chat if it is `whole`, step by step; the ids of their media, whose files
/// the caller removes.
///
/// # Errors
/// The store's; what was removed until then stays so.
pub async fn clear(
    store: &Store,
    owner: &Owner,
    chat: &str,
    (until, whole): (Millis, bool),
    quiet: bool,
) -> Result<Vec<String>, StoreError> {
    let mut media = Vec::new();
    loop {
        let jid = chat.to_owned();
        let step = owner.write(store, move |ledger| {
            let account = ledger.account;
            let step = messages::clear_step(ledger.tx, account, &jid, (until, whole), STEP)?;
            if let Some(chat) = step.as_ref().and_then(|step| step.done.as_ref()) {
                let state = chat.state(ledger.id, true, clock::now());
                let fact = Fact::ChatCleared {
                    state: &state,
                    quiet,
                };
                ledger.record(&fact, clock::now())?;
            }
            Ok(step.map(|step| (step.removed.media, step.done.is_some())))
        });
        let Some(Some((removed, done))) = step.await? else {
            return Ok(media);
        };
        let ids = removed
            .into_iter()
            .map(|(account, number)| media_id(account, number));
        media.extend(ids);
        if done {
            return Ok(media);
        }
    }
}

fn apply(ledger: &mut Ledger<'_, '_>, news: &ChatUpdate) -> Result<(), StoreError> {
    let fact = match news {
        ChatUpdate::Message { target, by, change } => Some(Fact::Changed { target, by, change }),
        ChatUpdate::Call(news) => Some(Fact::Call(news)),
        ChatUpdate::Marks { chat, marks, quiet } => Some(Fact::ChatMarked {
            chat,
            marks,
            quiet: *quiet,
        }),
        ChatUpdate::Presence { person, shown } => Some(Fact::Presence {
            person,
            available: shown.available,
            last_seen: shown.last_seen,
        }),
        ChatUpdate::Doing {
            chat,
            sender,
            doing,
            is_read,
        } => Some(Fact::Doing {
            chat,
            sender,
            state: doing.name(),
            is_read: *is_read,
        }),
        _ => None,
    };
    if let Some(fact) = fact {
        return ledger.record(&fact, clock::now()).map(drop);
    }
    let (tx, account) = (&mut *ledger.tx, ledger.account);
    match news {
        // Recorded above, or by itself, in steps.
        ChatUpdate::Message { .. }
        | ChatUpdate::Call(_)
        | ChatUpdate::Marks { .. }
        | ChatUpdate::Removed { .. }
        | ChatUpdate::Presence { .. }
        | ChatUpdate::Doing { .. } => {}
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
        ChatUpdate::Username { jid, name } => {
            usernames::learn(tx, account, jid, name.as_deref(), clock::now())?;
        }
        ChatUpdate::Blocklist(jids) => blocklist::replace(tx, account, jids)?,
        ChatUpdate::Blocked { jid, blocked } => blocklist::set(tx, account, jid, *blocked)?,
        ChatUpdate::Link { lid, number } => messages::link(tx, account, lid, number)?,
    }
    Ok(())
}
