//! People: who is in the address book of an account, or in chats with it.

use serde::Serialize;

use super::chats::{self, Chat, by_jid, canonical_jid, is_lid, other_jid};
use super::pages::ChatFilter;
use super::{Result, set_contact_name};
use crate::store::blocklist;
use crate::store::schema::CHATS;
use crate::store::tx::{ReadTx, WriteTx};
use crate::store::usernames;

/// A person as the API shows one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Contact {
    /// The chat with the person: the number's JID, where the number is known.
    pub chat_id: String,
    /// The LID, where it is known.
    pub lid: Option<String>,
    /// The phone number, digits alone; `null` for a person who hides it.
    pub number: Option<String>,
    /// What the account's owner calls the person, in the address book.
    pub name: Option<String>,
    /// What the person calls themselves.
    pub push_name: Option<String>,
    /// Without `@`.
    pub username: Option<String>,
    pub blocked: bool,
}

/// Which people a list is narrowed down to.
#[derive(Debug, Clone, Default)]
pub struct ContactFilter {
    /// Part of a name, the username, or the number, in lower case.
    pub words: Option<String>,
    /// Whether they are in the address book.
    pub saved: Option<bool>,
}

/// A part of a list: the numbers of the chats of people among the next `looks` chats, and behind which chat to go on;
/// `None` at the end.
pub fn sift_contacts(
    tx: &ReadTx<'_>,
    account: u32,
    filter: &ContactFilter,
    behind: u64,
    looks: usize,
) -> Result<(Vec<u64>, Option<u64>)> {
    let names = ChatFilter {
        words: filter.words.clone(),
        ..ChatFilter::default()
    };
    let mut found = Vec::new();
    let rows = CHATS.scan_from(tx, (account, behind.saturating_add(1)), (account,))?;
    for (n, row) in rows.enumerate() {
        let chat = row?.value()?;
        let is_saved = chat.contact_name.is_some();
        let is_wanted = chat.is_person() && filter.saved.is_none_or(|saved| saved == is_saved);
        if is_wanted && names.lets_pass(tx, account, &chat)? {
            found.push(chat.number);
        }
        if n + 1 == looks {
            return Ok((found, Some(chat.number)));
        }
    }
    Ok((found, None))
}

/// The person of a chat's number.
pub fn contact_at(tx: &ReadTx<'_>, account: u32, number: u64) -> Result<Contact> {
    shown(tx, account, &chats::of(tx, account, number)?)
}

/// A person under any JID, whether anything is known of them or not.
pub fn contact(tx: &ReadTx<'_>, account: u32, jid: &str) -> Result<Contact> {
    match by_jid(tx, account, jid)? {
        Some(chat) => shown(tx, account, &chat),
        None => named(tx, account, &canonical_jid(tx, account, jid)?),
    }
}

/// Whether anything is known of a person: a chat, a LID, that they are blocked.
pub fn is_contact(tx: &ReadTx<'_>, account: u32, jid: &str) -> Result<bool> {
    Ok(by_jid(tx, account, jid)?.is_some()
        || other_jid(tx, account, jid)?.is_some()
        || blocklist::has(tx, account, jid)?)
}

/// Removes a person from the address book. Whether they were in it.
pub fn forget_contact(tx: &mut WriteTx<'_>, account: u32, jid: &str) -> Result<bool> {
    let was = by_jid(&tx.view(), account, jid)?.is_some_and(|chat| chat.contact_name.is_some());
    set_contact_name(tx, account, jid, None)?;
    Ok(was)
}

fn shown(tx: &ReadTx<'_>, account: u32, chat: &Chat) -> Result<Contact> {
    Ok(Contact {
        name: chat.contact_name.clone(),
        push_name: chat.name.clone(),
        ..named(tx, account, &chat.jid)?
    })
}

fn named(tx: &ReadTx<'_>, account: u32, jid: &str) -> Result<Contact> {
    let digits = || jid.split(['@', ':']).next().map(str::to_owned);
    Ok(Contact {
        lid: match is_lid(jid) {
            true => Some(jid.to_owned()),
            false => other_jid(tx, account, jid)?.filter(|other| is_lid(other)),
        },
        number: digits().filter(|_| chats::is_number(jid)),
        name: None,
        push_name: None,
        username: usernames::of(tx, account, jid)?,
        blocked: blocklist::has(tx, account, jid)?,
        chat_id: jid.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::messages::{link, set_name};
    use crate::store::tests::TestStore;

    const LID: &str = "955000000177@lid";
    const BOB: &str = "491700000002@s.whatsapp.net";
    const ZOE: &str = "491700000003@s.whatsapp.net";

    #[test]
    fn people_are_found_by_name_and_number_and_groups_are_not_people() {
        let store = TestStore::new();
        store.run(|tx| {
            set_contact_name(tx, 1, BOB, Some("Bob from work"))?;
            set_name(tx, 1, "12@g.us", "Bobs")?;
            set_contact_name(tx, 1, ZOE, Some("Zoe"))?;
            link(tx, 1, LID, BOB)?;
            blocklist::set(tx, 1, LID, true)
        });
        let sift = |words: &str, behind, looks| {
            let filter = ContactFilter {
                words: Some(words.to_owned()),
                saved: None,
            };
            let found = store.read(|tx| sift_contacts(tx, 1, &filter, behind, looks));
            let (found, next) = found.unwrap();
            let named = |number| store.read(|tx| contact_at(tx, 1, number)).unwrap().chat_id;
            let ids: Vec<String> = found.into_iter().map(named).collect();
            (ids, next)
        };
        assert_eq!(sift("bob", 0, 9), (vec![BOB.to_owned()], None));
        assert_eq!(sift("0003", 0, 9), (vec![ZOE.to_owned()], None));
        let (first, next) = sift("", 0, 1);
        assert_eq!(first, [BOB]);
        assert_eq!(
            sift("", next.expect("more"), 9),
            (vec![ZOE.to_owned()], None)
        );
        let bob = store.read(|tx| contact(tx, 1, LID)).unwrap();
        assert_eq!(bob.chat_id, BOB);
        assert_eq!(bob.lid.as_deref(), Some(LID));
        assert_eq!(bob.number.as_deref(), Some("491700000002"));
        assert_eq!(bob.name.as_deref(), Some("Bob from work"));
        assert!(bob.blocked);
        assert!(store.run(|tx| forget_contact(tx, 1, BOB)));
        assert!(!store.run(|tx| forget_contact(tx, 1, BOB)));
    }
}
