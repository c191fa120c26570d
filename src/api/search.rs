//! Searches an account's messages.

use futures_lite::future;

use super::answer::Json;
use super::chats::{MessageList, read_account};
use super::context::Req;
use super::error::ApiError;
use super::page::Paging;
use super::recipients::known;
use super::values::OfAccount;
use crate::fields::{Addressee, FieldError, Moment, NonEmpty, request};
use crate::message::folded_words;
use crate::store::messages::{self, Cursor, Room, Search, Wanted};

/// How many messages are found, without a limit and at most.
const USUAL: usize = 50;
const MOST: usize = 100;
/// Messages that are looked at in one go on the event thread.
const LOOKS: usize = 64;
/// Turns of one request: an answer with fewer messages than its limit and `hasMore` goes on from there.
const TURNS: usize = 256;

request! {
    /// What is looked for: at least one of `q`, `chat`, `from` and `type`.
    pub struct Query {
        /// words of the text, the caption or the file's name, in any order, all of them; case and accents do not count
        words: Option<NonEmpty> = query "q",
        /// only messages of this chat
        chat: Option<Addressee> = query "chat" or "chatId",
        /// only messages that this person wrote
        from: Option<Addressee> = query "from",
        /// only messages of this type: `text`, `image`, …
        kind: Option<NonEmpty> = query "type",
        /// ISO 8601 or Unix milliseconds; only what is later
        after: Option<Moment> = query "after",
        /// ISO 8601 or Unix milliseconds; only what is earlier
        before: Option<Moment> = query "before",
    }
}

pub async fn search(
    req: Req,
    (of, query, paging): (OfAccount, Query, Paging<Cursor>),
) -> Result<Json<MessageList>, ApiError> {
    let id = of.id.0;
    let accounts = &req.state().accounts;
    let jid = |who: Option<Addressee>| -> Result<Option<String>, ApiError> {
        let Some(who) = who else { return Ok(None) };
        Ok(Some(known(who, accounts, &id)?.to_string()))
    };
    let words = query
        .words
        .map(|NonEmpty(text)| folded_words([text.as_str()].into_iter()));
    if words.as_ref().is_some_and(Vec::is_empty) {
        let expected = "words: letters or digits";
        return Err(FieldError::Field {
            field: "q",
            expected,
        }
        .into());
    }
    let (chat, from) = (jid(query.chat)?, jid(query.from)?);
    let mut wanted = Wanted {
        words: words.unwrap_or_default(),
        chat,
        from,
        kind: query.kind.map(|NonEmpty(kind)| kind),
        after: query.after.map(|Moment(at)| at.saturating_add(1)),
        before: query.before.map(|Moment(at)| at),
    };
    let (page, part) = paging.of(req.state().config.envelope, USUAL, MOST);
    let behind = part.behind.map(|last| (last.timestamp, last.number));
    let mut search = read_account(&req, &id, |tx, account| {
        for jid in [&mut wanted.chat, &mut wanted.from].into_iter().flatten() {
            *jid = messages::found_as(tx, account, jid)?;
        }
        if let Some(from) = &mut wanted.from {
            *from = messages::canonical_jid(tx, account, from)?;
        }
        Search::new(tx, account, wanted, behind)
    })?;
    let (mut found, mut room, mut skip) =
        (Vec::new(), Room::new(part.limit, part.bytes), part.skip);
    let mut next = None;
    let mut turns = 0;
    while let Some(under_way) = &mut search {
        let step = read_account(&req, &id, |tx, account| under_way.step(tx, account, LOOKS))?;
        let mut last = under_way.place();
        let is_over = step.is_none();
        let mut is_full = false;
        for (at, message) in step.into_iter().flatten() {
            if skip > 0 {
                skip -= 1;
            } else if room.take(&message) {
                found.push(message);
            } else {
                is_full = true;
                break;
            }
            last = at;
        }
        turns += 1;
        if is_full || turns >= TURNS && !is_over {
            next = Some(Cursor {
                timestamp: last.0,
                number: last.1,
                account: 0,
            });
        }
        if next.is_some() || is_over {
            break;
        }
        future::yield_now().await;
    }
    let total = page.offset + found.len() + usize::from(next.is_some());
    Ok(Json(MessageList::new(
        page,
        messages::Page {
            messages: found,
            total: total as u64,
            next,
        },
    )))
}
