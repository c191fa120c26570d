//! Accounts: their settings, and what is known of them while no session runs. Their numbers are never given
//! twice, so that rows of a removed account cannot show under a new one.

use serde::{Deserialize, Serialize};

use super::error::Result;
use super::purge;
use super::schema::{ACCOUNT_IDS, ACCOUNTS, NEXT_ACCOUNT};
use super::tx::{ReadTx, WriteTx};
use super::webhooks;
use crate::clock::Millis;

/// An account as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AccountRecord {
    /// The prefix of all its rows.
    pub number: u32,
    pub id: String,
    pub name: Option<String>,
    pub collection_name: String,
    pub created_at: Millis,
    pub updated_at: Millis,
    /// Whether its owner wants it connected.
    pub wanted: Wanted,
    /// Why it cannot connect without a new pairing.
    #[serde(default)]
    pub ended: Option<Ended>,
    /// When the status that follows from the other fields began.
    pub status_since: Millis,
    /// Its own phone-number JID; `None` until paired.
    #[serde(default)]
    pub jid: Option<String>,
    #[serde(default)]
    pub lid: Option<String>,
    #[serde(default)]
    pub push_name: Option<String>,
    #[serde(default)]
    pub last_error: Option<String>,
}

/// Whether a session should run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    Connected,
    Disconnected,
}

/// The end of a pairing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    pub reason: EndReason,
    pub at: Millis,
    /// When a ban is over, if WhatsApp named it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Millis>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// Unlinked, on the phone or by us.
    LoggedOut,
    Banned,
}

/// Creates an account that wants to be connected; `None` if the id is taken.
pub fn create(
    tx: &mut WriteTx<'_>,
    id: &str,
    name: Option<String>,
    collection_name: String,
    now: Millis,
) -> Result<Option<AccountRecord>> {
    if number(&tx.view(), id)?.is_some() {
        return Ok(None);
    }
    let number = NEXT_ACCOUNT.get(&tx.view(), ())?.unwrap_or(1);
    NEXT_ACCOUNT.put(tx, (), number + 1)?;
    let record = AccountRecord {
        number,
        id: id.to_owned(),
        name,
        collection_name,
        created_at: now,
        updated_at: now,
        wanted: Wanted::Connected,
        ended: None,
        status_since: now,
        jid: None,
        lid: None,
        push_name: None,
        last_error: None,
    };
    ACCOUNT_IDS.put(tx, (id,), number)?;
    ACCOUNTS.put(tx, (number,), &record)?;
    Ok(Some(record))
}

/// All accounts in the order of their creation.
pub fn list(tx: &ReadTx<'_>) -> Result<Vec<AccountRecord>> {
    ACCOUNTS.scan(tx, ())?.map(|row| row?.value()).collect()
}

/// How many there are.
pub fn count(tx: &ReadTx<'_>) -> Result<usize> {
    let mut count = 0;
    for row in ACCOUNT_IDS.scan(tx, ())? {
        row?;
        count += 1;
    }
    Ok(count)
}

/// The account of that id.
pub fn get(tx: &ReadTx<'_>, id: &str) -> Result<Option<AccountRecord>> {
    match number(tx, id)? {
        Some(number) => by_number(tx, number),
        None => Ok(None),
    }
}

/// The account of that number.
pub fn by_number(tx: &ReadTx<'_>, number: u32) -> Result<Option<AccountRecord>> {
    ACCOUNTS.get(tx, (number,))
}

/// The number of the account of that id.
pub fn number(tx: &ReadTx<'_>, id: &str) -> Result<Option<u32>> {
    ACCOUNT_IDS.get(tx, (id,))
}

/// Changes an account; `None` if there is none of that id. Its number and id stay what they are.
/// `updated_at` is the caller's to set.
pub fn update(
    tx: &mut WriteTx<'_>,
    id: &str,
    change: impl FnOnce(&mut AccountRecord),
) -> Result<Option<AccountRecord>> {
    let Some(mut record) = get(&tx.view(), id)? else {
        return Ok(None);
    };
    let number = record.number;
    change(&mut record);
    record.number = number;
    id.clone_into(&mut record.id);
    ACCOUNTS.put(tx, (number,), &record)?;
    Ok(Some(record))
}

/// Removes an account and the hooks that were registered for it alone; returns its record. It is
/// invisible from then on, and its id is free; [`purge::step`] deletes its rows.
pub fn remove(tx: &mut WriteTx<'_>, id: &str) -> Result<Option<AccountRecord>> {
    let Some(record) = get(&tx.view(), id)? else {
        return Ok(None);
    };
    ACCOUNT_IDS.delete(tx, (id,))?;
    ACCOUNTS.delete(tx, (record.number,))?;
    webhooks::remove_of_account(tx, id)?;
    purge::request(tx, record.number, id)?;
    Ok(Some(record))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::TestStore;

    fn add(store: &TestStore, id: &'static str) -> Option<AccountRecord> {
        store.run(move |tx| create(tx, id, None, format!("auth_{id}"), 7))
    }

    #[test]
    fn ids_are_unique_and_numbers_never_come_back() {
        let store = TestStore::new();
        let zoe = add(&store, "zoe").unwrap();
        let bob = add(&store, "bob").unwrap();
        assert_eq!(add(&store, "zoe"), None);
        let ids = |store: &TestStore| -> Vec<String> {
            let all = store.read(list).unwrap();
            all.into_iter().map(|a| a.id).collect()
        };
        assert_eq!(ids(&store), ["zoe", "bob"]);
        let store = store.reopen();
        assert_eq!(store.read(|tx| get(tx, "bob")).unwrap(), Some(bob));
        let gone = store.run(|tx| remove(tx, "zoe")).unwrap();
        assert_eq!(gone, zoe);
        assert_eq!(store.read(|tx| get(tx, "zoe")).unwrap(), None);
        assert_eq!(store.run(|tx| remove(tx, "zoe")), None);
        let again = add(&store, "zoe").unwrap();
        assert!(again.number > zoe.number);
        assert_eq!(ids(&store), ["bob", "zoe"]);
    }

    #[test]
    fn updates_keep_the_identity() {
        let store = TestStore::new();
        let made = add(&store, "alice").unwrap();
        let changed = store.run(|tx| {
            update(tx, "alice", |a| {
                a.number = 99;
                a.id = "mallory".into();
                a.wanted = Wanted::Disconnected;
                a.ended = Some(Ended {
                    reason: EndReason::Banned,
                    at: 5,
                    until: Some(9),
                });
            })
        });
        let expected = AccountRecord {
            wanted: Wanted::Disconnected,
            ended: Some(Ended {
                reason: EndReason::Banned,
                at: 5,
                until: Some(9),
            }),
            ..made
        };
        assert_eq!(changed, Some(expected.clone()));
        assert_eq!(store.read(|tx| get(tx, "alice")).unwrap(), Some(expected));
        assert_eq!(store.run(|tx| update(tx, "nobody", |_| ())), None);
    }
}
