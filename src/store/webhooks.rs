//! Webhooks: who wants to be told, and how far each has been.
//!
//! `webhooks`: number (u64) → [`WebhookRecord`], JSON. Ids are `wh_<number>` and never given
//! twice. There are few of them, so looking through all is fine.
//!
//! `meta` `next_webhook`: the next number (u64).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::error::StoreError;
use super::events;
use super::key::{Key, KeyReader};
use super::tx::{ReadTx, WriteTx, from_json};
use crate::clock::Millis;
use crate::event::EventKind;

type Result<T> = std::result::Result<T, StoreError>;

const NEXT: &[u8] = b"next_webhook";
const ID_PREFIX: &str = "wh_";

/// A registered hook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WebhookRecord {
    pub id: String,
    /// With its credentials, if it has some: not for display.
    pub url: String,
    /// Only this account's events.
    pub account_id: Option<String>,
    /// `None`: the default set.
    pub events: Option<Vec<EventKind>>,
    pub secret: Option<String>,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    pub created_at: Millis,
    /// The number of the last event that it is done with.
    pub cursor: u64,
    /// Failed attempts since the last success.
    #[serde(default)]
    pub failures: u32,
    #[serde(default)]
    pub last_delivery: Option<Delivery>,
}

/// An attempt to deliver, the last one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    pub at: Millis,
    pub ok: bool,
    /// The receiver's HTTP status, if it answered.
    pub status: Option<u16>,
    /// In words, if it failed.
    pub error: Option<String>,
}

/// What `POST /webhooks` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewWebhook {
    pub url: String,
    pub account_id: Option<String>,
    pub events: Option<Vec<EventKind>>,
    pub secret: Option<String>,
    pub headers: BTreeMap<String, String>,
}

/// Registers a hook for what happens from now on. If that URL is registered already for the same
/// account, returns that one, unchanged, and false.
pub fn create(
    tx: &mut WriteTx<'_>,
    new: &NewWebhook,
    now: Millis,
) -> Result<(WebhookRecord, bool)> {
    let tables = tx.tables();
    let known = list(&tx.view())?
        .into_iter()
        .find(|hook| hook.url == new.url && hook.account_id == new.account_id);
    if let Some(known) = known {
        return Ok((known, false));
    }
    let number = match tx.view().get(tables.meta, NEXT)? {
        Some(bytes) => KeyReader(bytes)
            .u64()
            .ok_or_else(|| StoreError::corrupt("meta", NEXT, "not a number"))?,
        None => 1,
    };
    tx.put(tables.meta, NEXT, &(number + 1).to_be_bytes())?;
    let record = WebhookRecord {
        id: format!("{ID_PREFIX}{number}"),
        url: new.url.clone(),
        account_id: new.account_id.clone(),
        events: new.events.clone(),
        secret: new.secret.clone(),
        headers: new.headers.clone(),
        created_at: now,
        cursor: events::state(&tx.view())?.last,
        failures: 0,
        last_delivery: None,
    };
    tx.put_json(tables.webhooks, &Key::new().u64(number), &record)?;
    Ok((record, true))
}

/// All hooks, in the order of their creation.
pub fn list(tx: &ReadTx<'_>) -> Result<Vec<WebhookRecord>> {
    let table = tx.tables().webhooks;
    tx.prefix(table, &[])?
        .map(|row| row.and_then(|(key, bytes)| from_json(table, key, bytes)))
        .collect()
}

pub fn get(tx: &ReadTx<'_>, id: &str) -> Result<Option<WebhookRecord>> {
    match key(id) {
        Some(key) => tx.get_json(tx.tables().webhooks, &key),
        None => Ok(None),
    }
}

/// Deletes a hook and returns what it was.
pub fn delete(tx: &mut WriteTx<'_>, id: &str) -> Result<Option<WebhookRecord>> {
    let Some(record) = get(&tx.view(), id)? else {
        return Ok(None);
    };
    if let Some(key) = key(id) {
        let table = tx.tables().webhooks;
        tx.delete(table, &key)?;
    }
    Ok(Some(record))
}

/// Changes a hook; `None` if it is gone, which a delivery under way has to expect. Its id stays.
pub fn update(
    tx: &mut WriteTx<'_>,
    id: &str,
    change: impl FnOnce(&mut WebhookRecord),
) -> Result<Option<WebhookRecord>> {
    let (Some(mut record), Some(key)) = (get(&tx.view(), id)?, key(id)) else {
        return Ok(None);
    };
    change(&mut record);
    id.clone_into(&mut record.id);
    let table = tx.tables().webhooks;
    tx.put_json(table, &key, &record)?;
    Ok(Some(record))
}

/// The hook is done with every event up to number `cursor`, with `delivery` if one of them was for
/// it. The cursor never moves back. A success clears the failures.
pub fn advance(
    tx: &mut WriteTx<'_>,
    id: &str,
    cursor: u64,
    delivery: Option<Delivery>,
) -> Result<Option<WebhookRecord>> {
    update(tx, id, |hook| {
        hook.cursor = hook.cursor.max(cursor);
        if let Some(delivery) = delivery {
            note(hook, delivery);
        }
    })
}

/// An attempt failed, or a test was sent: the cursor stays.
pub fn record_delivery(
    tx: &mut WriteTx<'_>,
    id: &str,
    delivery: Delivery,
) -> Result<Option<WebhookRecord>> {
    update(tx, id, |hook| note(hook, delivery))
}

fn note(hook: &mut WebhookRecord, delivery: Delivery) {
    hook.failures = if delivery.ok {
        0
    } else {
        hook.failures.saturating_add(1)
    };
    hook.last_delivery = Some(delivery);
}

pub(super) fn remove_of_account(tx: &mut WriteTx<'_>, account_id: &str) -> Result<()> {
    for hook in list(&tx.view())? {
        if hook.account_id.as_deref() == Some(account_id) {
            delete(tx, &hook.id)?;
        }
    }
    Ok(())
}

fn key(id: &str) -> Option<Key> {
    let digits = id.strip_prefix(ID_PREFIX)?;
    let number: u64 = digits.parse().ok()?;
    // "+1" and "01" parse, too, but are no ids of ours.
    (number.to_string() == digits).then(|| Key::new().u64(number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;
    use crate::store::accounts;
    use crate::store::tests::{TestStore, message};

    fn new(url: &str, account: Option<&str>) -> NewWebhook {
        NewWebhook {
            url: url.into(),
            account_id: account.map(Into::into),
            events: None,
            secret: Some("whsec".into()),
            headers: BTreeMap::from([("X-A".into(), "b".into())]),
        }
    }

    fn add(store: &TestStore, url: &str, account: Option<&str>) -> (WebhookRecord, bool) {
        let new = new(url, account);
        store.run(move |tx| create(tx, &new, 5))
    }

    #[test]
    fn one_hook_for_a_url_and_account() {
        let store = TestStore::new();
        let (all, created) = add(&store, "http://a/", None);
        assert!(created);
        assert_eq!(add(&store, "http://a/", None), (all.clone(), false));
        let (alices, created) = add(&store, "http://a/", Some("alice"));
        assert!(created && alices.id != all.id);
        let store = store.reopen();
        assert_eq!(store.read(list).unwrap(), [all.clone(), alices.clone()]);
        let id = alices.id.clone();
        assert_eq!(store.run(move |tx| delete(tx, &id)), Some(alices.clone()));
        let (next, _) = add(&store, "http://b/", None);
        assert!(next.id != alices.id);
        for id in ["wh_", "wh_+1", "wh_01", "1", "wh_99", ""] {
            assert_eq!(store.read(|tx| get(tx, id)).unwrap(), None, "{id}");
        }
    }

    #[test]
    fn cursors_only_move_forward_and_failures_count() {
        let store = TestStore::new();
        store.run(|tx| {
            let message = message("alice", "1@s.whatsapp.net", "M", 1);
            events::append(tx, &Event::Message(message), 1)
        });
        let (hook, _) = add(&store, "http://a/", None);
        assert_eq!(hook.cursor, 1, "starts at what happens from now on");
        let fail = |at| Delivery {
            at,
            ok: false,
            status: Some(500),
            error: Some("500".into()),
        };
        let id = hook.id.clone();
        let hook = store.run(move |tx| {
            record_delivery(tx, &id, fail(1))?;
            record_delivery(tx, &id, fail(2))
        });
        let hook = hook.unwrap();
        assert_eq!((hook.failures, hook.cursor), (2, 1));
        let id = hook.id.clone();
        let hook = store.run(move |tx| {
            let ok = Delivery {
                at: 3,
                ok: true,
                status: Some(200),
                error: None,
            };
            advance(tx, &id, 9, Some(ok))?;
            advance(tx, &id, 4, None)
        });
        let hook = hook.unwrap();
        assert_eq!((hook.failures, hook.cursor), (0, 9));
        assert_eq!(hook.last_delivery.map(|d| d.at), Some(3));
        assert_eq!(store.run(|tx| advance(tx, "wh_77", 1, None)), None);
    }

    #[test]
    fn an_accounts_hooks_go_with_it() {
        let store = TestStore::new();
        store.run(|tx| accounts::create(tx, "alice", None, String::new(), 0));
        add(&store, "http://a/", Some("alice"));
        let (bobs, _) = add(&store, "http://a/", Some("bob"));
        store.run(|tx| accounts::remove(tx, "alice"));
        assert_eq!(store.read(list).unwrap(), [bobs]);
    }
}
