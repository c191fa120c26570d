//! Changes of a message after it was sent: reactions, edits, deletions.
//!
//! A change that comes before its message (from another device, or ahead of the history) waits for it
//! in `early_changes`.

use std::cmp::Reverse;
use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::chats::{self, Chat};
use super::retention::{Removed, remove};
use super::{
    Counters, Place, Result, change_at, counters, load, load_in, media, places, put_counters, raw,
};
use crate::clock;
use crate::event::{
    Deed, Deletion, Event, EventAnswered, EventPlanned, PollAsked, ReactionChange, VoteCast,
};
use crate::jid::STORIES;
use crate::message::{Author, By, Change, Message, Sealed, Target, bounds};
use crate::store::accounts;
use crate::store::schema::EARLY_CHANGES;
use crate::store::tx::{ReadTx, WriteTx};

/// Changes that wait for one message.
const EARLY_FOR_ONE: usize = 64;
/// Changes that wait within an account, and bytes of their rows. Above either, the oldest changes of
/// the sender with the most are removed first.
const EARLY: u64 = 4096;
const EARLY_BYTES: u64 = 1 << 20;

/// A change that waits for its message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Early {
    target: Target,
    by: By,
    change: Change,
}

/// What [`apply`] did.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Applied {
    /// The event that reports it; `None` if it changes nothing: it was applied before, or a newer
    /// one was, or an edit waits for its message and will be part of it.
    pub event: Option<Event>,
    /// The id of a medium that was removed with it; the caller deletes its file.
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
    let (target, change) = (&bounded_target(target), &bounded(change));
    let Some((place, id_key)) = find(&tx.view(), account, target)? else {
        return Ok(Applied {
            event: keep_for_later(tx, account, account_id, target, &by, change)?,
            removed_medium: None,
        });
    };
    if *change == Change::DeleteForMe {
        return forget(tx, account, account_id, place, target, &by);
    }
    let (opened, named);
    let change = match change {
        Change::Edit { .. } => {
            named = by_numbers(&tx.view(), account, change)?;
            &named
        }
        Change::Sealed(sealed) => {
            let (chat, message) = load(&tx.view(), account, place)?;
            if message.kind.is_placeholder() {
                return Ok(Applied {
                    event: keep_for_later(tx, account, account_id, target, &by, change)?,
                    removed_medium: None,
                });
            }
            match open(&tx.view(), account, &chat, &message, sealed, &by)? {
                Some(change) => {
                    opened = change;
                    &opened
                }
                None => return Ok(Applied::default()),
            }
        }
        change => change,
    };
    let mut medium = None;
    let changed = change_at(tx, account, place, &id_key, |message| {
        medium.clone_from(&message.media_id);
        change.apply(message, &by)
    })?;
    let Some(message) = changed else {
        return Ok(Applied::default());
    };
    if message.deleted {
        raw::remove(tx, account, place)?;
    }
    let removed_medium = medium.filter(|_| message.media_id.is_none());
    if let Some(id) = &removed_medium {
        media::remove(tx, account, id)?;
    }
    let event = match change {
        Change::Delete if message.is_story() => Some(Event::Status(message)),
        Change::Edit { .. } => Some(Event::MessageEdited(message)),
        Change::Pin { .. } | Change::Keep { .. } | Change::Star { .. } => {
            Some(Event::MessageMarked(message))
        }
        change => {
            let deed = chats::deed(&tx.view(), account, &message.chat_id, &by.from, by.from_me)?;
            report(account_id, deed, target, &by, change, Some(&message))
        }
    };
    Ok(Applied {
        event,
        removed_medium,
    })
}

/// Removes a message that its owner deleted for himself.
fn forget(
    tx: &mut WriteTx<'_>,
    account: u32,
    account_id: &str,
    place: Place,
    target: &Target,
    by: &By,
) -> Result<Applied> {
    let (_, message) = load(&tx.view(), account, place)?;
    let deed = chats::deed(&tx.view(), account, &message.chat_id, &by.from, by.from_me)?;
    remove(tx, account, place, &mut Removed::default())?;
    Ok(Applied {
        event: report(account_id, deed, target, by, &Change::DeleteForMe, None),
        removed_medium: message.media_id,
    })
}

/// The same target with an id as it is stored.
fn bounded_target(target: &Target) -> Target {
    let mut target = target.clone();
    bounds::id(&mut target.message_id);
    target
}

/// The same change, no larger than it can be.
fn bounded(change: &Change) -> Change {
    let mut change = change.clone();
    change.cut();
    change
}

/// Notes the link of an own event's call, which WhatsApp makes when the event is sent.
pub fn set_join_link(
    tx: &mut WriteTx<'_>,
    account: u32,
    target: &Target,
    link: &str,
) -> Result<()> {
    if let Some((place, id_key)) = find(&tx.view(), account, target)? {
        change_at(tx, account, place, &id_key, |message| {
            let event = message.event.as_mut();
            event.is_some_and(|event| event.join_link.replace(link.to_owned()).is_none())
        })?;
    }
    Ok(())
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
    let mut due = Vec::new();
    {
        let view = tx.view();
        let rows = EARLY_CHANGES.scan(&view, (account, message.message_id.as_str()))?;
        for row in rows.take(EARLY_FOR_ONE) {
            let row = row?;
            let early = row.value()?;
            let its_chat = chats::canonical_jid(&view, account, &early.target.chat)?;
            let here = its_chat == chat.jid || Some(&its_chat) == chat.lid.as_ref();
            // Stored by a version that accepted deletions without the message's author.
            let unfounded = early.change == Change::Delete && early.target.author.is_none();
            if here
                && !unfounded
                && is_by(&view, account, chat, message, early.target.author.as_ref())?
            {
                due.push((row.key.to_vec(), row.bytes.len(), early));
            }
        }
    }
    for (key, size, early) in due {
        forget_early(tx, &key, size, counters)?;
        let medium = message.media_id.clone();
        let opened = match &early.change {
            Change::Sealed(sealed) => open(&tx.view(), account, chat, message, sealed, &early.by)?,
            _ => None,
        };
        let change = by_numbers(
            &tx.view(),
            account,
            opened.as_ref().unwrap_or(&early.change),
        )?;
        change.apply(message, &early.by);
        if let (Some(id), None) = (medium, &message.media_id) {
            media::remove(tx, account, &id)?;
        }
    }
    Ok(())
}

/// The same change; an edit names people by numbers, where those are known, as its message does.
fn by_numbers(tx: &ReadTx<'_>, account: u32, change: &Change) -> Result<Change> {
    let mut change = change.clone();
    if let Change::Edit {
        text,
        mentions: Some(mentions),
    } = &mut change
    {
        chats::by_numbers(tx, account, mentions, std::iter::once(text))?;
    }
    Ok(change)
}

/// Opens what a person encrypted with a message's secret, under all JIDs by which the message's author and the
/// person are known; `None` if that does not succeed.
fn open(
    tx: &ReadTx<'_>,
    account: u32,
    chat: &Chat,
    message: &Message,
    sealed: &Sealed,
    by: &By,
) -> Result<Option<Change>> {
    let author = message.wire_sender();
    let authors = jids(tx, account, author, message.from_me)?;
    let people = jids(tx, account, &by.from, by.from_me)?;
    let opened = sealed.open(message, &authors, &people);
    if opened.is_none() {
        log::debug!(
            "{}: a vote or a response does not open, or is none",
            chat.jid
        );
    }
    Ok(opened)
}

/// The JIDs of a person, at most two; of the account's owner by the account's own record.
fn jids(tx: &ReadTx<'_>, account: u32, jid: &str, is_me: bool) -> Result<Vec<String>> {
    if is_me && let Some(record) = accounts::by_number(tx, account)? {
        return Ok([record.jid, record.lid].into_iter().flatten().collect());
    }
    let other = chats::other_jid(tx, account, jid)?;
    Ok(std::iter::once(jid.to_owned()).chain(other).collect())
}

/// The event of a change; `None` for one that has none, or is part of its message's. `message` is known unless the
/// change waits for it.
fn report(
    account_id: &str,
    deed: Deed,
    target: &Target,
    by: &By,
    change: &Change,
    message: Option<&Message>,
) -> Option<Event> {
    let account_id = account_id.to_owned();
    let message_id = target.message_id.clone();
    let (timestamp, created_at) = (by.timestamp, clock::iso8601(by.timestamp));
    match change {
        Change::React { emoji } => Some(Event::MessageReaction(ReactionChange {
            account_id,
            message_id,
            deed,
            emoji: emoji.clone(),
            timestamp,
            created_at,
        })),
        Change::Delete | Change::DeleteForMe => Some(Event::MessageDeleted(Deletion {
            account_id,
            message_id,
            deed,
            for_me: *change == Change::DeleteForMe,
            timestamp,
            created_at,
        })),
        Change::Vote { options } => {
            let poll = message?.poll.as_ref()?;
            Some(Event::PollVote(Box::new(VoteCast {
                account_id,
                message_id,
                voter: deed.sender.clone(),
                deed,
                poll: PollAsked {
                    name: poll.name.clone(),
                    options: poll.options.clone(),
                },
                options: options.clone(),
                timestamp,
                created_at,
            })))
        }
        Change::Respond { response, guests } => {
            let event = message?.event.as_ref()?;
            Some(Event::EventResponse(Box::new(EventAnswered {
                account_id,
                message_id,
                deed,
                event_details: EventPlanned {
                    name: event.name.clone(),
                    start: event.start,
                    end: event.end,
                },
                response: *response,
                extra_guests: *guests,
                timestamp,
                created_at,
            })))
        }
        Change::Edit { .. }
        | Change::Pin { .. }
        | Change::Keep { .. }
        | Change::Star { .. }
        | Change::Album { .. }
        | Change::Sealed(_) => None,
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
    // Under that id another person's message is stored: the named author is false, and no event may repeat it.
    if !matches!(change, Change::Sealed(_)) && is_another_s(&tx.view(), account, target)? {
        return Ok(None);
    }
    let early = Early {
        target: target.clone(),
        by: by.clone(),
        change: change.clone(),
    };
    let mut waiting = 0;
    let rows = EARLY_CHANGES.scan(&tx.view(), (account, target.message_id.as_str()))?;
    for row in rows.take(EARLY_FOR_ONE) {
        waiting += 1;
        if row?.value()? == early {
            return Ok(None);
        }
    }
    if waiting < EARLY_FOR_ONE {
        let mut counters = counters(&tx.view(), account)?;
        let size = EARLY_CHANGES.encode(&early)?.len() as u64;
        make_room(tx, account, size, &mut counters)?;
        counters.early_changes += 1;
        counters.early_bytes += size;
        counters.sequence += 1;
        let key = (account, target.message_id.as_str(), counters.sequence);
        EARLY_CHANGES.put(tx, key, &early)?;
        put_counters(tx, account, &counters)?;
    }
    match change {
        // The story is reported as deleted when it comes.
        Change::Delete if target.chat == STORIES => Ok(None),
        Change::React { .. } | Change::Delete => {
            let deed = chats::deed(&tx.view(), account, &target.chat, &by.from, by.from_me)?;
            Ok(report(account_id, deed, target, by, change, None))
        }
        Change::Edit { .. }
        | Change::DeleteForMe
        | Change::Pin { .. }
        | Change::Keep { .. }
        | Change::Star { .. }
        | Change::Vote { .. }
        | Change::Respond { .. }
        | Change::Album { .. }
        | Change::Sealed(_) => Ok(None),
    }
}

/// Takes a change out of those that wait; the caller stores the counters.
fn forget_early(
    tx: &mut WriteTx<'_>,
    key: &[u8],
    size: usize,
    counters: &mut Counters,
) -> Result<()> {
    EARLY_CHANGES.delete_at(tx, key)?;
    counters.early_changes = counters.early_changes.saturating_sub(1);
    counters.early_bytes = counters.early_bytes.saturating_sub(size as u64);
    Ok(())
}

/// Makes room for a row of `size` bytes, a quarter of all at once: what a sender does without end costs
/// that sender's own changes first.
fn make_room(tx: &mut WriteTx<'_>, account: u32, size: u64, counters: &mut Counters) -> Result<()> {
    if counters.early_changes < EARLY && counters.early_bytes.saturating_add(size) <= EARLY_BYTES {
        return Ok(());
    }
    let mut by_sender: HashMap<String, usize> = HashMap::new();
    let mut rows = Vec::new();
    for row in EARLY_CHANGES.scan(&tx.view(), (account,))? {
        let row = row?;
        let sender = row.value()?.by.from;
        *by_sender.entry(sender.clone()).or_default() += row.bytes.len();
        let (_, (), sequence) = row.parts()?;
        rows.push((sender, sequence, row.key.to_vec(), row.bytes.len()));
    }
    rows.sort_by_cached_key(|(sender, sequence, ..)| {
        (
            Reverse(by_sender.get(sender).copied()),
            sender.clone(),
            *sequence,
        )
    });
    for (_, _, key, bytes) in rows {
        let has_room = counters.early_changes <= EARLY / 4 * 3
            && counters.early_bytes.saturating_add(size) <= EARLY_BYTES / 4 * 3;
        if has_room {
            break;
        }
        forget_early(tx, &key, bytes, counters)?;
    }
    Ok(())
}

/// Removes changes that wait, at most `limit`; how many.
pub fn forget_all_early(tx: &mut WriteTx<'_>, account: u32, limit: usize) -> Result<usize> {
    let mut rows = Vec::new();
    for row in EARLY_CHANGES.scan(&tx.view(), (account,))?.take(limit) {
        let row = row?;
        rows.push((row.key.to_vec(), row.bytes.len()));
    }
    if rows.is_empty() {
        return Ok(0);
    }
    let mut counters = counters(&tx.view(), account)?;
    for (key, size) in &rows {
        forget_early(tx, key, *size, &mut counters)?;
    }
    put_counters(tx, account, &counters)?;
    Ok(rows.len())
}

/// The place of the message that is meant, with the key of its row in `message_ids`.
fn find(tx: &ReadTx<'_>, account: u32, target: &Target) -> Result<Option<(Place, Vec<u8>)>> {
    let Some(chat) = chats::by_jid(tx, account, &target.chat)? else {
        return Ok(None);
    };
    for (place, key) in places(tx, account, &target.message_id, Some(chat.number))? {
        let message = load_in(tx, account, &chat, place)?;
        if is_by(tx, account, &chat, &message, target.author.as_ref())? {
            return Ok(Some((place, key)));
        }
    }
    Ok(None)
}

/// Whether the chat has a message of that id, which is then of another author than the target names.
fn is_another_s(tx: &ReadTx<'_>, account: u32, target: &Target) -> Result<bool> {
    let Some(chat) = chats::by_jid(tx, account, &target.chat)? else {
        return Ok(false);
    };
    let places = places(tx, account, &target.message_id, Some(chat.number))?;
    Ok(!places.is_empty())
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
