//! Whom an account has blocked, as WhatsApp keeps it: told at each login, and when it changes.
//!
//! See [`BLOCKED`](super::schema::BLOCKED). It outlives the pairing until the next login.

use std::collections::HashSet;

use super::error::Result;
use super::messages;
use super::schema::BLOCKED;
use super::tx::{ReadTx, WriteTx};

/// People that one account can block: what WhatsApp's list has beyond that is not kept.
pub const MOST: usize = 10_000;

/// Whether a person is blocked, by either JID.
pub fn has(tx: &ReadTx<'_>, account: u32, jid: &str) -> Result<bool> {
    if BLOCKED.get(tx, (account, jid))?.is_some() {
        return Ok(true);
    }
    match messages::other_jid(tx, account, jid)? {
        Some(other) => Ok(BLOCKED.get(tx, (account, &other))?.is_some()),
        None => Ok(false),
    }
}

/// All that are blocked, by the JIDs that WhatsApp named.
pub fn all(tx: &ReadTx<'_>, account: u32) -> Result<Vec<String>> {
    let rows = BLOCKED.scan(tx, (account,))?;
    rows.map(|row| Ok(row?.value()?.to_owned())).collect()
}

/// Puts a person on the list, or takes them off it.
pub fn set(tx: &mut WriteTx<'_>, account: u32, jid: &str, blocked: bool) -> Result<()> {
    if blocked {
        if !has(&tx.view(), account, jid)? {
            BLOCKED.put(tx, (account, jid), jid)?;
        }
        return Ok(());
    }
    BLOCKED.delete(tx, (account, jid))?;
    if let Some(other) = messages::other_jid(&tx.view(), account, jid)? {
        BLOCKED.delete(tx, (account, &other))?;
    }
    Ok(())
}

/// Replaces the whole list.
pub fn replace(tx: &mut WriteTx<'_>, account: u32, jids: &[String]) -> Result<()> {
    let wanted: HashSet<&String> = jids.iter().collect();
    for jid in all(&tx.view(), account)? {
        if !wanted.contains(&jid) {
            BLOCKED.delete(tx, (account, &jid))?;
        }
    }
    for jid in jids.iter().take(MOST) {
        set(tx, account, jid, true)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::TestStore;

    const LID: &str = "955000000177@lid";
    const PN: &str = "491701234567@s.whatsapp.net";
    const OTHER: &str = "491701234568@s.whatsapp.net";

    fn is_blocked(store: &TestStore, jid: &str) -> bool {
        store.read(|tx| has(tx, 1, jid)).unwrap()
    }

    #[test]
    fn a_person_is_blocked_under_both_jids_and_once() {
        let store = TestStore::new();
        store.run(|tx| set(tx, 1, LID, true));
        assert!(is_blocked(&store, LID) && !is_blocked(&store, PN));
        store.run(|tx| messages::link(tx, 1, LID, PN));
        assert!(is_blocked(&store, PN));
        store.run(|tx| set(tx, 1, PN, true));
        assert_eq!(store.read(|tx| all(tx, 1)).unwrap(), [LID]);
        store.run(|tx| set(tx, 1, PN, false));
        assert!(!is_blocked(&store, LID) && !is_blocked(&store, PN));
    }

    #[test]
    fn the_list_of_a_login_counts() {
        let store = TestStore::new();
        store.run(|tx| replace(tx, 1, &[LID.to_owned(), OTHER.to_owned()]));
        store.run(|tx| replace(tx, 1, &[OTHER.to_owned()]));
        assert_eq!(store.read(|tx| all(tx, 1)).unwrap(), [OTHER]);
        assert_eq!(store.read(|tx| all(tx, 2)).unwrap(), [""; 0]);
        store.run(|tx| replace(tx, 1, &[]));
        assert!(!is_blocked(&store, OTHER));
    }
}
