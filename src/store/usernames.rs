//! Usernames of WhatsApp: unique at any time, changed and given up at will.
//!
//! Each is stored under the JID and, the other way, under the username; see
//! [`USERNAMES`](super::schema::USERNAMES). The second row is there as long as the first says the same: a
//! username leads to one person, and a person has one. Both outlive the pairing.

use super::error::Result;
use super::messages;
use super::schema::USERNAMES;
use super::tx::{ReadTx, WriteTx};
use crate::clock::Millis;

/// Characters of a username that is kept: more than WhatsApp allows today.
const LONGEST: usize = 64;
/// How long the time of a row may be behind before it is written again, so that not every message writes.
const DRIFT: Millis = 6 * 3_600_000;

/// The person who has a username.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The LID, or the number's JID where that alone is known.
    pub jid: String,
    /// When WhatsApp last confirmed it.
    pub at: Millis,
}

/// The username of a person, by either JID.
pub fn of(tx: &ReadTx<'_>, account: u32, jid: &str) -> Result<Option<String>> {
    let own =
        |jid: &str| -> Result<Option<String>> { Ok(row(tx, account, jid)?.map(|(_, name)| name)) };
    let other = messages::other_jid(tx, account, jid)?;
    // The LID's username counts: the number may have been another person's.
    let (first, second) = match messages::is_lid(jid) {
        true => (Some(jid), other.as_deref()),
        false => (other.as_deref(), Some(jid)),
    };
    for jid in [first, second].into_iter().flatten() {
        if let Some(name) = own(jid)? {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// The person who has a username, as far as WhatsApp reported.
pub fn holder(tx: &ReadTx<'_>, account: u32, name: &str) -> Result<Option<Holder>> {
    Ok(row(tx, account, &by_name(name))?.map(|(at, jid)| Holder { jid, at }))
}

/// Stores a person's username as WhatsApp reports it, with or without its `@`; `None` if there is none. Whether
/// that changed it. An invalid name (too long, with spaces or control characters) is ignored.
pub fn learn(
    tx: &mut WriteTx<'_>,
    account: u32,
    jid: &str,
    name: Option<&str>,
    now: Millis,
) -> Result<bool> {
    let name = match name {
        Some(name) => match clean(name) {
            Some(name) => Some(name),
            None => return Ok(false),
        },
        None => None,
    };
    let lid = match messages::is_lid(jid) {
        true => None,
        false => messages::other_jid(&tx.view(), account, jid)?.filter(|jid| messages::is_lid(jid)),
    };
    if lid.is_some()
        && let Some((_, of_number)) = row(&tx.view(), account, jid)?
    {
        forget(tx, account, &of_number)?;
    }
    let jid = lid.as_deref().unwrap_or(jid);
    let before = row(&tx.view(), account, jid)?;
    let same = before.as_ref().map(|(_, before)| before.as_str()) == name;
    let is_recent = |(at, _): &(Millis, String)| *at <= now && now - *at < DRIFT;
    if same && before.as_ref().is_none_or(is_recent) {
        return Ok(false);
    }
    if let Some((_, before)) = &before {
        forget(tx, account, before)?;
    }
    if let Some(name) = name {
        // The person who had it before has none now.
        forget(tx, account, name)?;
        USERNAMES.put(tx, (account, jid), (now, name))?;
        USERNAMES.put(tx, (account, &by_name(name)), (now, jid))?;
    }
    Ok(!same)
}

/// Removes a username.
pub fn forget(tx: &mut WriteTx<'_>, account: u32, name: &str) -> Result<()> {
    if let Some(holder) = holder(&tx.view(), account, name)? {
        USERNAMES.delete(tx, (account, &by_name(name)))?;
        USERNAMES.delete(tx, (account, &holder.jid))?;
    }
    Ok(())
}

/// A username without its `@`; `None` for what is none.
fn clean(name: &str) -> Option<&str> {
    let name = name.strip_prefix('@').unwrap_or(name);
    let is_name = !name.is_empty()
        && name.chars().count() <= LONGEST
        && !name.contains(|c: char| c.is_control() || c.is_whitespace() || c == '@');
    is_name.then_some(name)
}

fn by_name(name: &str) -> String {
    format!("@{}", name.to_lowercase())
}

fn row(tx: &ReadTx<'_>, account: u32, text: &str) -> Result<Option<(Millis, String)>> {
    let row = USERNAMES.get(tx, (account, text))?;
    Ok(row.map(|(at, text)| (at, text.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::TestStore;

    const LID: &str = "955000000177@lid";
    const OTHER: &str = "955000000178@lid";
    const PN: &str = "491701234567@s.whatsapp.net";
    const HOUR: Millis = 3_600_000;

    fn says(store: &TestStore, jid: &'static str, name: Option<&'static str>, now: Millis) -> bool {
        store.run(move |tx| learn(tx, 1, jid, name, now))
    }

    fn of_jid(store: &TestStore, jid: &str) -> Option<String> {
        store.read(|tx| of(tx, 1, jid)).unwrap()
    }

    fn holder_of(store: &TestStore, name: &str) -> Option<(String, Millis)> {
        let found = store.read(|tx| holder(tx, 1, name)).unwrap();
        found.map(|found| (found.jid, found.at))
    }

    #[test]
    fn a_username_is_one_persons_and_a_person_has_one() {
        let store = TestStore::new();
        assert!(says(&store, LID, Some("Bob.B"), HOUR));
        assert_eq!(of_jid(&store, LID).as_deref(), Some("Bob.B"));
        assert_eq!(holder_of(&store, "bob.b"), Some((LID.into(), HOUR)));
        assert_eq!(holder_of(&store, "BOB.B"), Some((LID.into(), HOUR)));
        // Changed: the old one is free.
        assert!(says(&store, LID, Some("@robert"), 2 * HOUR));
        assert_eq!(holder_of(&store, "bob.b"), None);
        assert_eq!(holder_of(&store, "robert"), Some((LID.into(), 2 * HOUR)));
        // Passed on: the one who had it has none.
        assert!(says(&store, OTHER, Some("Robert"), 3 * HOUR));
        assert_eq!(of_jid(&store, LID), None);
        assert_eq!(holder_of(&store, "robert"), Some((OTHER.into(), 3 * HOUR)));
        assert!(says(&store, OTHER, None, 4 * HOUR));
        assert_eq!(of_jid(&store, OTHER), None);
        assert_eq!(holder_of(&store, "robert"), None);
        assert!(!says(&store, OTHER, None, 4 * HOUR), "no news");
    }

    #[test]
    fn a_confirmed_username_gets_a_new_time_after_hours() {
        let store = TestStore::new();
        says(&store, LID, Some("bob"), HOUR);
        for (now, dated) in [(2 * HOUR, HOUR), (8 * HOUR, 8 * HOUR), (HOUR, HOUR)] {
            assert!(!says(&store, LID, Some("bob"), now));
            assert_eq!(holder_of(&store, "bob"), Some((LID.into(), dated)), "{now}");
        }
    }

    #[test]
    fn both_jids_of_a_person_have_the_username() {
        let store = TestStore::new();
        says(&store, PN, Some("bob"), HOUR);
        assert_eq!(of_jid(&store, PN).as_deref(), Some("bob"));
        store.run(|tx| messages::link(tx, 1, LID, PN));
        assert_eq!(of_jid(&store, LID).as_deref(), Some("bob"));
        says(&store, PN, Some("robert"), HOUR);
        for jid in [LID, PN] {
            assert_eq!(of_jid(&store, jid).as_deref(), Some("robert"));
        }
        assert_eq!(holder_of(&store, "bob"), None);
        assert_eq!(holder_of(&store, "robert"), Some((LID.into(), HOUR)));
    }

    #[test]
    fn invalid_usernames_are_ignored() {
        let store = TestStore::new();
        says(&store, LID, Some("bob"), HOUR);
        let long: &'static str = "a".repeat(65).leak();
        for name in ["", "@", "b ob", "b\u{1b}[31m", "a@b", long] {
            assert!(!says(&store, LID, Some(name), HOUR), "{name:?}");
            assert_eq!(of_jid(&store, LID).as_deref(), Some("bob"));
        }
    }
}
