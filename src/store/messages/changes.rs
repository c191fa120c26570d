//! What happens to a message after it was sent: reactions, edits, deletions.
//!
//! A change that comes before its message (from another device, or ahead of the history) waits for it
//! in `early_changes`: message id (text), sequence (u64) → [`Early`], JSON.

use serde::{Deserialize, Serialize};

use super::chats::{self, Chat};
use super::{Counters, Place, Result, change_at, counters, load, media, places, put_counters};
use crate::clock::{self, Millis};
use crate::event::{Deed, Deletion, Event, Message, Reaction, ReactionChange};
use crate::store::accounts;
use crate::store::key::Key;
use crate::store::tx::{ReadTx, WriteTx, from_json};

/// Changes that wait for one message.
const EARLY_FOR_ONE: usize = 64;
/// Changes that wait within an account; past it, some waiting one goes.
const EARLY: u64 = 4096;
/// Reactions that a message keeps: as many as a group has members.
const REACTIONS: usize = 1024;

/// Who wrote a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Author {
    Me,
    /// Another person; by JID where the chat has several people.
    Them(Option<String>),
    /// The person of that JID, which may be one of the account's own.
    Named(String),
}

/// Which message is meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The chat, by any of its JIDs.
    pub chat: String,
    pub message_id: String,
    /// `None`: of any author. A deletion without one is not honoured.
    pub author: Option<Author>,
}

/// What happens to a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// An empty emoji takes the reaction back.
    React {
        emoji: String,
    },
    /// What it says now: the text, or a medium's caption.
    Edit {
        text: String,
    },
    Delete,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Early {
    target: Target,
    by: By,
    change: Change,
}

/// Who changes it, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct By {
    pub from: String,
    pub from_me: bool,
    pub timestamp: Millis,
}

/// What [`apply`] did.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Applied {
    /// The event that reports it; `None` if it changes nothing: it was applied before, or a newer
    /// one was, or an edit waits for its message and will be part of it.
    pub event: Option<Event>,
    /// The id of a medium that went with it; its file is to go, too.
    pub removed_medium: Option<String>,
}

/// Applies a change to its message, which may come later.
pub fn apply(
    tx: &mut WriteTx<'_>,
    account: u32,
    account_id: &str,
    target: &Target,
    by: &By,
    change: &Change,
) -> Result<Applied> {
    let by = By {
        from: chats::canonical_jid(&tx.view(), account, &by.from)?,
        ..by.clone()
    };
    let Some((place, id_key)) = find(&tx.view(), account, target)? else {
        return Ok(Applied {
            event: keep_for_later(tx, account, account_id, target, &by, change)?,
            removed_medium: None,
        });
    };
    let mut medium = None;
    let changed = change_at(tx, account, place, &id_key, |message| {
        medium.clone_from(&message.media_id);
        apply_to(message, &by, change)
    })?;
    let Some(message) = changed else {
        return Ok(Applied::default());
    };
    let removed_medium = medium.filter(|_| message.media_id.is_none());
    if let Some(id) = &removed_medium {
        media::remove(tx, account, id)?;
    }
    let event = match change {
        Change::Edit { .. } => Event::MessageEdited(message),
        Change::React { .. } | Change::Delete => {
            let deed = chats::deed(&tx.view(), account, &message.chat_id, &by.from, by.from_me)?;
            report(account_id, deed, target, &by, change)
        }
    };
    Ok(Applied {
        event: Some(event),
        removed_medium,
    })
}

/// The message that is meant, if it is here.
pub fn find_target(tx: &ReadTx<'_>, account: u32, target: &Target) -> Result<Option<Message>> {
    match find(tx, account, target)? {
        Some((place, _)) => load(tx, account, place).map(|(_, message)| Some(message)),
        None => Ok(None),
    }
}

/// Applies what waited for a message that is about to be stored.
pub fn catch_up(
    tx: &mut WriteTx<'_>,
    account: u32,
    chat: &Chat,
    message: &mut Message,
    counters: &mut Counters,
) -> Result<()> {
    if counters.early_changes == 0 {
        return Ok(());
    }
    let table = tx.tables().early_changes;
    let prefix = Key::account(account).text(&message.message_id);
    let mut due = Vec::new();
    {
        let view = tx.view();
        for row in view.prefix(table, &prefix)?.take(EARLY_FOR_ONE) {
            let (key, bytes) = row?;
            let early: Early = from_json(table, key, bytes)?;
            let its_chat = chats::canonical_jid(&view, account, &early.target.chat)?;
            let here = its_chat == chat.jid || Some(&its_chat) == chat.lid.as_ref();
            // Stored before deletions had to say whose message goes.
            let unfounded = early.change == Change::Delete && early.target.author.is_none();
            if here
                && !unfounded
                && is_by(&view, account, chat, message, early.target.author.as_ref())?
            {
                due.push((key.to_vec(), early));
            }
        }
    }
    for (key, early) in due {
        tx.delete(table, &key)?;
        counters.early_changes = counters.early_changes.saturating_sub(1);
        let medium = message.media_id.clone();
        apply_to(message, &early.by, &early.change);
        if let (Some(id), None) = (medium, &message.media_id) {
            media::remove(tx, account, &id)?;
        }
    }
    Ok(())
}

/// Changes the message; false if that changes nothing.
fn apply_to(message: &mut Message, by: &By, change: &Change) -> bool {
    if message.deleted {
        return false;
    }
    match change {
        Change::React { emoji } => {
            let known = message.reactions.iter().position(|r| r.from == by.from);
            if let Some(index) = known {
                let before = &message.reactions[index];
                if before.timestamp > by.timestamp || before.emoji == *emoji {
                    return false;
                }
                message.reactions.remove(index);
            }
            if !emoji.is_empty() && message.reactions.len() < REACTIONS {
                message.reactions.push(Reaction {
                    from: by.from.clone(),
                    emoji: emoji.clone(),
                    timestamp: by.timestamp,
                });
                return true;
            }
            known.is_some()
        }
        Change::Edit { text } => {
            if message.edited_at.is_some_and(|at| at > by.timestamp) {
                return false;
            }
            let says = if message.has_media {
                &mut message.caption
            } else {
                &mut message.text
            };
            if message.edited && says.as_ref() == Some(text) {
                return false;
            }
            *says = Some(text.clone());
            message.edited = true;
            message.edited_at = Some(by.timestamp);
            true
        }
        Change::Delete => {
            message.clear();
            message.deleted = true;
            true
        }
    }
}

fn report(account_id: &str, deed: Deed, target: &Target, by: &By, change: &Change) -> Event {
    let created_at = clock::iso8601(by.timestamp);
    match change {
        Change::React { emoji } => Event::MessageReaction(ReactionChange {
            account_id: account_id.to_owned(),
            message_id: target.message_id.clone(),
            deed,
            emoji: emoji.clone(),
            timestamp: by.timestamp,
            created_at,
        }),
        Change::Edit { .. } | Change::Delete => Event::MessageDeleted(Deletion {
            account_id: account_id.to_owned(),
            message_id: target.message_id.clone(),
            deed,
            timestamp: by.timestamp,
            created_at,
        }),
    }
}

fn keep_for_later(
    tx: &mut WriteTx<'_>,
    account: u32,
    account_id: &str,
    target: &Target,
    by: &By,
    change: &Change,
) -> Result<Option<Event>> {
    // Under that id another person's message is here: what was said of whose it is is a lie, and no
    // event may repeat it.
    if is_another_s(&tx.view(), account, target)? {
        return Ok(None);
    }
    let table = tx.tables().early_changes;
    let prefix = Key::account(account).text(&target.message_id);
    let early = Early {
        target: target.clone(),
        by: by.clone(),
        change: change.clone(),
    };
    let mut waiting = 0;
    for row in tx.view().prefix(table, &prefix)?.take(EARLY_FOR_ONE) {
        let (key, bytes) = row?;
        waiting += 1;
        if from_json::<Early>(table, key, bytes)? == early {
            return Ok(None);
        }
    }
    if waiting < EARLY_FOR_ONE {
        let mut counters = counters(&tx.view(), account)?;
        if counters.early_changes >= EARLY {
            let removed = tx.delete_prefix(table, &Key::account(account), 1)?;
            counters.early_changes -= u64::try_from(removed).unwrap_or(0);
        }
        counters.early_changes += 1;
        counters.sequence += 1;
        tx.put_json(table, &prefix.u64(counters.sequence), &early)?;
        put_counters(tx, account, &counters)?;
    }
    Ok(match change {
        Change::Edit { .. } => None,
        Change::React { .. } | Change::Delete => {
            let deed = chats::deed(&tx.view(), account, &target.chat, &by.from, by.from_me)?;
            Some(report(account_id, deed, target, by, change))
        }
    })
}

/// The place of the message that is meant, with the key of its row in `message_ids`.
fn find(tx: &ReadTx<'_>, account: u32, target: &Target) -> Result<Option<(Place, Vec<u8>)>> {
    let Some(chat) = chats::by_jid(tx, account, &target.chat)? else {
        return Ok(None);
    };
    for (place, key) in places(tx, account, &target.message_id)? {
        if place.chat != chat.number {
            continue;
        }
        let (_, message) = load(tx, account, place)?;
        if is_by(tx, account, &chat, &message, target.author.as_ref())? {
            return Ok(Some((place, key)));
        }
    }
    Ok(None)
}

/// Whether the chat has a message of that id, which is then of another author than was said.
fn is_another_s(tx: &ReadTx<'_>, account: u32, target: &Target) -> Result<bool> {
    let Some(chat) = chats::by_jid(tx, account, &target.chat)? else {
        return Ok(false);
    };
    let places = places(tx, account, &target.message_id)?;
    Ok(places.iter().any(|(place, _)| place.chat == chat.number))
}

fn is_by(
    tx: &ReadTx<'_>,
    account: u32,
    chat: &Chat,
    message: &Message,
    author: Option<&Author>,
) -> Result<bool> {
    Ok(match author {
        None => true,
        Some(Author::Me) => message.from_me,
        Some(Author::Named(jid)) if message.from_me => is_own(tx, account, jid)?,
        Some(Author::Named(jid)) => is_of(tx, account, chat, message, jid)?,
        Some(Author::Them(_)) if message.from_me => false,
        Some(Author::Them(Some(jid))) => is_of(tx, account, chat, message, jid)?,
        Some(Author::Them(None)) => true,
    })
}

/// Whether another's message is that person's.
fn is_of(tx: &ReadTx<'_>, account: u32, chat: &Chat, message: &Message, jid: &str) -> Result<bool> {
    Ok(chat.is_person()
        || message.wire_lid.as_deref() == Some(jid)
        || chats::canonical_jid(tx, account, jid)? == message.sender)
}

/// Whether a JID is one of the account's own two.
pub fn is_own(tx: &ReadTx<'_>, account: u32, jid: &str) -> Result<bool> {
    let Some(record) = accounts::by_number(tx, account)? else {
        return Ok(false);
    };
    let canonical = chats::canonical_jid(tx, account, jid)?;
    Ok([record.jid, record.lid]
        .iter()
        .flatten()
        .any(|own| *own == jid || *own == canonical))
}
