//! The media of messages: their facts, their places at WhatsApp, and which are queued to be fetched. The files
//! themselves are in `crate::media`.
//!
//! The public id of a medium is the account's number and its own, as hexadecimal digits.

use super::error::Result;
use super::schema::{MEDIA, MEDIA_WANTED};
use super::tx::{ReadTx, WriteTx};
use crate::clock::Millis;
use crate::message::{Medium, Message, NewMedium};

/// Digits of a medium's id.
const ID_DIGITS: usize = 24;

/// A medium with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub account: u32,
    pub number: u64,
    pub medium: Medium,
}

impl Found {
    /// The public id.
    pub fn id(&self) -> String {
        id(self.account, self.number)
    }
}

/// A medium that is queued to be fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    pub number: u64,
    /// How often it was tried.
    pub tries: u32,
    pub due: Millis,
}

/// The public id of a medium.
pub fn id(account: u32, number: u64) -> String {
    format!("{account:08x}{number:016x}")
}

/// Account and number of a public id.
pub fn parse_id(id: &str) -> Option<(u32, u64)> {
    let is_id = id.len() == ID_DIGITS
        && id
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if !is_id {
        return None;
    }
    let (account, number) = id.split_at(8);
    Some((
        u32::from_str_radix(account, 16).ok()?,
        u64::from_str_radix(number, 16).ok()?,
    ))
}

/// Stores a new message's medium under `number`, and sets the message's fields about it.
pub(super) fn put_new(
    tx: &mut WriteTx<'_>,
    account: u32,
    number: u64,
    message: &mut Message,
    new: &NewMedium,
) -> Result<()> {
    message.has_media = true;
    message.media_id = Some(id(account, number));
    message.media_type = Some(new.kind.name().to_owned());
    message.media_mimetype = Some(new.mimetype.clone());
    message.media_size = Some(new.size);
    message.media_file_name.clone_from(&new.file_name);
    let medium = Medium {
        kind: new.kind,
        message_id: message.message_id.clone(),
        chat_id: message.chat_id.clone(),
        wire_chat: new.wire_chat.clone(),
        wire_sender: new.wire_sender.clone(),
        from_me: message.from_me,
        mimetype: new.mimetype.clone(),
        file_name: new.file_name.clone(),
        size: new.size,
        sha256: new.sha256.clone(),
        remote: new.remote.clone(),
        look: new.look.clone(),
        stored_at: None,
        created_at: message.timestamp,
    };
    MEDIA.put(tx, (account, number), &medium)?;
    if new.wanted {
        want(
            tx,
            account,
            Wanted {
                number,
                tries: 0,
                due: 0,
            },
        )?;
    }
    Ok(())
}

/// The medium of that number.
pub fn get(tx: &ReadTx<'_>, account: u32, number: u64) -> Result<Option<Medium>> {
    MEDIA.get(tx, (account, number))
}

/// Replaces a medium's row, if there is one. Whether there was.
pub fn put(tx: &mut WriteTx<'_>, account: u32, number: u64, medium: &Medium) -> Result<bool> {
    if MEDIA.size(&tx.view(), (account, number))?.is_none() {
        return Ok(false);
    }
    MEDIA.put(tx, (account, number), medium)?;
    Ok(true)
}

/// Forgets a medium by its public id, if it is the account's. Its file is left to be swept.
pub(super) fn remove(tx: &mut WriteTx<'_>, account: u32, id: &str) -> Result<()> {
    if let Some((owner, number)) = parse_id(id)
        && owner == account
    {
        MEDIA.delete(tx, (account, number))?;
        MEDIA_WANTED.delete(tx, (account, number))?;
    }
    Ok(())
}

/// Marks a medium's file as not stored, if there is such a medium.
pub fn forget_file(tx: &mut WriteTx<'_>, account: u32, number: u64) -> Result<()> {
    if let Some(mut medium) = get(&tx.view(), account, number)?
        && medium.stored_at.take().is_some()
    {
        put(tx, account, number, &medium)?;
    }
    Ok(())
}

/// Removes what takes room of what was kept of a medium, by its public id, to send it again: its thumbnail. What is
/// left is needed to forward it and to edit its caption.
pub(super) fn forget_look(tx: &mut WriteTx<'_>, account: u32, id: &str) -> Result<()> {
    if let Some((owner, number)) = parse_id(id)
        && owner == account
        && let Some(mut medium) = get(&tx.view(), account, number)?
        && let Some(look) = &mut medium.look
    {
        look.thumbnail = None;
        if let Some(remote) = &mut medium.remote {
            remote.url = None;
            remote.streaming_sidecar = None;
        }
        put(tx, account, number, &medium)?;
    }
    Ok(())
}

/// An account's media, newest first, behind number `behind` if that is given.
pub fn newest_first<'t>(
    tx: &ReadTx<'t>,
    account: u32,
    behind: Option<u64>,
) -> Result<impl Iterator<Item = Result<Found>> + use<'t>> {
    let start = MEDIA.key((account,));
    let end = match behind {
        Some(number) => Some(MEDIA.key((account, number))),
        None => start.clone().after_prefix(),
    };
    let rows = MEDIA.range_back(tx, &start, end.as_deref())?;
    Ok(rows.map(move |row| {
        let row = row?;
        Ok(Found {
            account,
            number: row.parts()?.1,
            medium: row.value()?,
        })
    }))
}

/// Queues a medium to be fetched.
pub fn want(tx: &mut WriteTx<'_>, account: u32, wanted: Wanted) -> Result<()> {
    let value = (wanted.tries, wanted.due);
    MEDIA_WANTED
        .put(tx, (account, wanted.number), value)
        .map(drop)
}

/// Takes a medium out of the queue.
pub fn unwant(tx: &mut WriteTx<'_>, account: u32, number: u64) -> Result<()> {
    MEDIA_WANTED.delete(tx, (account, number)).map(drop)
}

/// The queued media after number `after`, at most `limit`, oldest first.
pub fn wanted(tx: &ReadTx<'_>, account: u32, after: u64, limit: usize) -> Result<Vec<Wanted>> {
    let start = (account, after.saturating_add(1));
    MEDIA_WANTED
        .scan_from(tx, start, (account,))?
        .take(limit)
        .map(|row| {
            let row = row?;
            let (tries, due) = row.value()?;
            Ok(Wanted {
                number: row.parts()?.1,
                tries,
                due,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_come_back_and_nonsense_does_not() {
        assert_eq!(parse_id(&id(7, 0x1234)), Some((7, 0x1234)));
        assert_eq!(id(7, 0x1234).len(), ID_DIGITS);
        for bad in [
            "",
            "12",
            "0000000700000000000012340",
            "../../etc/passwd/000000x",
            "+0000007000000000000123A",
        ] {
            assert_eq!(parse_id(bad), None, "{bad}");
        }
    }
}
