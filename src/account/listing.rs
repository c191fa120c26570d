//! The stored files, as a list over accounts.

use crate::clock;
use crate::jid::Recipient;
use crate::message::{self, Medium};
use crate::store::media::{self as rows, Found};
use crate::store::messages::{self, Part, Room};
use crate::store::{ReadTx, StoreError, accounts as records, usernames};

use super::registry::Accounts;
use super::types::{AccountError, MediaCursor, MediaFilter, MediaPage, MediaView, NameError};

impl Accounts {
    /// The stored files: newest first within each account, merged by the time of their messages.
    ///
    /// # Errors
    /// [`AccountError::NotFound`] for an account that is not there, [`AccountError::Name`] for a username
    /// that none of the accounts knows, or the store's.
    pub fn media_list(
        &self,
        filter: &MediaFilter,
        part: Part<MediaCursor>,
    ) -> Result<MediaPage, AccountError> {
        let listed = self.0.wiring.store.read(|tx| {
            let accounts = match &filter.account_id {
                Some(id) => match records::get(tx, id)? {
                    Some(record) => vec![record],
                    None => return Ok(None),
                },
                None => records::list(tx)?,
            };
            let mut sources = Vec::with_capacity(accounts.len());
            for record in accounts {
                let chat = match &filter.chat {
                    None => None,
                    Some(recipient) => match chat_of(tx, record.number, recipient)? {
                        None => continue,
                        chat => chat,
                    },
                };
                sources.push((record.number, record.id, chat));
            }
            if let (true, Some(Recipient::Name { name, .. })) = (sources.is_empty(), &filter.chat) {
                return Ok(Some(Err(NameError::NoChat(name.clone()))));
            }
            page(tx, &sources, filter, part).map(|page| Some(Ok(page)))
        })?;
        Ok(listed.ok_or(AccountError::NotFound)??)
    }
}

/// The canonical JID of a chat in an account; `None` for a username that is not known there.
fn chat_of(
    tx: &ReadTx<'_>,
    account: u32,
    recipient: &Recipient,
) -> Result<Option<String>, StoreError> {
    let found = match recipient {
        Recipient::Chat(jid) => messages::found_as(tx, account, &jid.to_string())?,
        Recipient::Name { name, .. } => match usernames::holder(tx, account, name.as_str())? {
            Some(holder) => holder.jid,
            None => return Ok(None),
        },
    };
    messages::canonical_jid(tx, account, &found).map(Some)
}

/// The files of these accounts: of each its number, its id and, where only those of one chat are wanted,
/// that chat.
fn page(
    tx: &ReadTx<'_>,
    accounts: &[(u32, String, Option<String>)],
    filter: &MediaFilter,
    part: Part<MediaCursor>,
) -> Result<MediaPage, StoreError> {
    let mut cursor = part.behind.unwrap_or_default();
    let mut sources = Vec::with_capacity(accounts.len());
    let mut heads: Vec<Option<Found>> = Vec::with_capacity(accounts.len());
    for (account, _, chat) in accounts {
        let behind = cursor.0.get(account).copied();
        let mut rows = rows::newest_first(tx, *account, behind)?.filter(move |found| match found {
            Ok(found) => takes(tx, *account, filter, chat.as_deref(), &found.medium),
            Err(_) => true,
        });
        heads.push(rows.next().transpose()?);
        sources.push(rows);
    }
    let mut media = Vec::new();
    let (mut room, mut skipped) = (Room::new(part.limit, part.bytes), 0);
    let newest = |heads: &[Option<Found>]| {
        let known = heads.iter().enumerate();
        known
            .filter_map(|(n, head)| Some((head.as_ref()?.medium.created_at, n)))
            .max()
    };
    while let Some((_, n)) = newest(&heads) {
        let Some(found) = heads[n].take() else {
            break;
        };
        let number = found.number;
        if skipped < part.skip {
            skipped += 1;
        } else {
            let view = view(tx, &accounts[n].1, found)?;
            if !room.take(&view) {
                let next = (!media.is_empty()).then_some(cursor);
                return Ok(MediaPage { media, next });
            }
            media.push(view);
        }
        cursor.0.insert(accounts[n].0, number);
        heads[n] = sources[n].next().transpose()?;
    }
    Ok(MediaPage { media, next: None })
}

fn takes(
    tx: &ReadTx<'_>,
    account: u32,
    filter: &MediaFilter,
    chat: Option<&str>,
    medium: &Medium,
) -> bool {
    let of_message = filter
        .message_id
        .as_ref()
        .is_none_or(|id| *id == medium.message_id);
    let of_chat = chat.is_none_or(|chat| {
        // A medium that came before the number was known names the LID.
        medium.chat_id == chat
            || messages::canonical_jid(tx, account, &medium.chat_id)
                .is_ok_and(|known| known == chat)
    });
    medium.stored_at.is_some() && of_message && of_chat
}

fn view(tx: &ReadTx<'_>, account_id: &str, found: Found) -> Result<MediaView, StoreError> {
    let media_id = found.id();
    let medium = found.medium;
    Ok(MediaView {
        account_id: account_id.to_owned(),
        chat_id: messages::canonical_jid(tx, found.account, &medium.chat_id)?,
        from_me: medium.from_me,
        media_type: medium.kind.name().to_owned(),
        media_mimetype: medium.mimetype,
        media_size: medium.size,
        media_file_name: medium.file_name,
        media_url: message::media_url(account_id, &medium.message_id, &media_id),
        message_id: medium.message_id,
        timestamp: medium.created_at,
        stored_at: clock::iso8601(medium.stored_at.unwrap_or(0)),
        media_id,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        let cursor = MediaCursor(BTreeMap::from([(1, 17), (3, u64::MAX)]));
        assert_eq!(MediaCursor::parse(&cursor.to_string()), Some(cursor));
        for bad in ["", "1", "1-", "-1", "1-2.", "x-1", "1-2-3"] {
            assert_eq!(MediaCursor::parse(bad), None, "{bad}");
        }
    }
}
