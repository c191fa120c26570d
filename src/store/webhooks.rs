//! Webhooks, and how far the deliveries of each are. Their ids are `wh_<number>`, and none is given twice. There are
//! few of them, so that looking through all is fine.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::dead_letters;
use super::error::Result;
use super::events::{self, Header};
use super::schema::{DEAD_LETTERS, NEXT_WEBHOOK, WEBHOOKS};
use super::tx::{ReadTx, WriteTx};
use super::{accounts, messages};
use crate::clock::Millis;
use crate::event::EventKind;
use crate::jid::{ChatJid, Server};

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
    /// Only what happens in these chats, by their JIDs; empty for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chats: Vec<String>,
    /// Nothing of these: names of [`IGNORABLE`], and JIDs of chats.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<String>,
    pub secret: Option<String>,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Whether its receiver may be on this machine: the key that registered it last was for all accounts.
    /// True for hooks of versions that had no such field.
    #[serde(default = "yes")]
    pub local_urls: bool,
    pub created_at: Millis,
    #[serde(flatten)]
    pub progress: Progress,
    /// Its dead letters, and the bytes of their rows; see [`dead_letters`].
    #[serde(default)]
    pub dead_count: u64,
    #[serde(default)]
    pub dead_bytes: u64,
}

fn yes() -> bool {
    true
}

/// How far a hook's deliveries are. While the server runs, one worker owns it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// Up to this number, every event of the log is delivered, given up, not wanted, or in `open`.
    pub cursor: u64,
    /// What was read of the log and is still to be delivered, in the order of numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub open: Vec<OpenEvent>,
    /// Failed attempts since the last success.
    #[serde(default)]
    pub failures: u32,
    /// When the first of them was.
    #[serde(default)]
    pub failing_since: Option<Millis>,
    /// Events that were given up since then.
    #[serde(default)]
    pub given_up: u32,
    /// Events that it will never get: they left the log before they were read (of all accounts and
    /// kinds, because their headers are gone), or its dead letters became too many.
    #[serde(default)]
    pub missed: u64,
    #[serde(default)]
    pub last_delivery: Option<Delivery>,
    /// When the receiver answered 410.
    #[serde(default)]
    pub disabled_at: Option<Millis>,
}

/// An event that is to be delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OpenEvent {
    pub number: u64,
    #[serde(default)]
    pub attempts: u32,
    /// When its first attempt failed.
    #[serde(default)]
    pub first_failed: Option<Millis>,
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

/// The request of `POST /webhooks`. A field that is `None` leaves a known hook's value as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewWebhook {
    pub url: String,
    pub account_id: Option<String>,
    /// None of them stands for the default set.
    pub events: Option<Vec<EventKind>>,
    /// See [`WebhookRecord::chats`] and [`WebhookRecord::ignore`].
    pub chats: Option<Vec<String>>,
    pub ignore: Option<Vec<String>>,
    /// An empty one is none.
    pub secret: Option<String>,
    pub headers: Option<BTreeMap<String, String>>,
    /// See [`WebhookRecord::local_urls`].
    pub local_urls: bool,
}

impl NewWebhook {
    /// Applies the request to a hook; whether that changed it.
    fn change(&self, hook: &mut WebhookRecord) -> bool {
        let before = hook.clone();
        if let Some(events) = &self.events {
            let events = Some(events.clone()).filter(|events| !events.is_empty());
            // The same ones in another order are the same.
            let is_same = sorted(hook.events.as_deref()) == sorted(events.as_deref());
            if !is_same {
                hook.events = events;
            }
        }
        for (given, has) in [
            (&self.chats, &mut hook.chats),
            (&self.ignore, &mut hook.ignore),
        ] {
            if let Some(given) = given {
                has.clone_from(given);
            }
        }
        if let Some(secret) = &self.secret {
            hook.secret = Some(secret.clone()).filter(|secret| !secret.is_empty());
        }
        if let Some(headers) = &self.headers {
            hook.headers.clone_from(headers);
        }
        hook.local_urls = self.local_urls;
        *hook != before
    }
}

/// What a hook can ignore beside single chats: all groups, stories, channels, and what the account itself does.
pub const IGNORABLE: [&str; 4] = ["groups", "status", "channels", "own"];

impl WebhookRecord {
    /// The kinds of events that it receives.
    pub fn wanted_events(&self) -> &[EventKind] {
        self.events.as_deref().unwrap_or(DEFAULT_EVENTS)
    }

    /// Whether it receives an event.
    pub fn wants(&self, tx: &ReadTx<'_>, event: &Header) -> Result<bool> {
        if !event.kind.is_among(self.wanted_events(), event.own)
            || self
                .account_id
                .as_ref()
                .is_some_and(|id| *id != event.account)
        {
            return Ok(false);
        }
        let ignores = |name: &str| self.ignore.iter().any(|it| it == name);
        if event.own && ignores("own") {
            return Ok(false);
        }
        let Some(chat) = &event.chat else {
            return Ok(true);
        };
        let is_ignored = match ChatJid::parse(chat).map(|jid| jid.server()) {
            Ok(Server::Group) => ignores("groups"),
            Ok(Server::Broadcast) => ignores("status"),
            Ok(Server::Newsletter) => ignores("channels"),
            Ok(Server::Person | Server::Lid) | Err(_) => false,
        };
        Ok(!is_ignored
            && !has_chat(tx, &self.ignore, event, chat)?
            && (self.chats.is_empty() || has_chat(tx, &self.chats, event, chat)?))
    }
}

/// Whether a list of JIDs has the event's chat, a person's under any of its JIDs.
fn has_chat(tx: &ReadTx<'_>, jids: &[String], event: &Header, chat: &str) -> Result<bool> {
    if jids.iter().any(|jid| jid == chat) {
        return Ok(true);
    }
    let Some(account) = accounts::number(tx, &event.account)? else {
        return Ok(false);
    };
    for jid in jids.iter().filter(|jid| jid.contains('@')) {
        let found = messages::found_as(tx, account, jid)?;
        if messages::canonical_jid(tx, account, &found)? == *chat {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What a hook receives that named no events, as WILDCAT 2.0 programs expect.
pub const DEFAULT_EVENTS: &[EventKind] = &[EventKind::Message];

fn sorted(events: Option<&[EventKind]>) -> Vec<&'static str> {
    let events = events.unwrap_or(DEFAULT_EVENTS);
    let mut names: Vec<&str> = events.iter().map(|kind| kind.name()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// The outcome of a registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registration {
    Created,
    /// It was there, and stays as it is.
    Known,
    /// It was there, with other settings; its position stays.
    Changed,
    /// It was there and disabled; it starts at the log's end. Whether its settings changed.
    Enabled {
        changed: bool,
    },
}

/// Registers a hook for what happens from now on. If that URL is registered already for the same
/// account, what is given of its settings changes, and the rest stays.
pub fn create(
    tx: &mut WriteTx<'_>,
    new: &NewWebhook,
    now: Millis,
) -> Result<(WebhookRecord, Registration)> {
    let from_now_on = Progress {
        cursor: events::state(&tx.view())?.last,
        ..Progress::default()
    };
    let known = list(&tx.view())?
        .into_iter()
        .find(|hook| hook.url == new.url && hook.account_id == new.account_id);
    match known {
        Some(mut hook) if hook.progress.disabled_at.is_none() => {
            if !new.change(&mut hook) {
                return Ok((hook, Registration::Known));
            }
            let changed = update(tx, &hook.id, |hook| {
                new.change(hook);
            })?;
            // It was in the list a moment ago.
            return Ok((changed.unwrap_or(hook), Registration::Changed));
        }
        Some(hook) => {
            let mut changed = false;
            let enabled = update(tx, &hook.id, |hook| {
                changed = new.change(hook);
                hook.progress = Progress {
                    missed: hook.progress.missed,
                    last_delivery: hook.progress.last_delivery.take(),
                    ..from_now_on
                };
            })?;
            return Ok((enabled.unwrap_or(hook), Registration::Enabled { changed }));
        }
        None => {}
    }
    let number = NEXT_WEBHOOK.get(&tx.view(), ())?.unwrap_or(1);
    NEXT_WEBHOOK.put(tx, (), number + 1)?;
    let mut record = WebhookRecord {
        id: format!("{ID_PREFIX}{number}"),
        url: new.url.clone(),
        account_id: new.account_id.clone(),
        events: None,
        chats: Vec::new(),
        ignore: Vec::new(),
        secret: None,
        headers: BTreeMap::new(),
        local_urls: new.local_urls,
        created_at: now,
        progress: from_now_on,
        dead_count: 0,
        dead_bytes: 0,
    };
    new.change(&mut record);
    WEBHOOKS.put(tx, (number,), &record)?;
    Ok((record, Registration::Created))
}

/// All hooks, in the order of their creation.
pub fn list(tx: &ReadTx<'_>) -> Result<Vec<WebhookRecord>> {
    WEBHOOKS.scan(tx, ())?.map(|row| row?.value()).collect()
}

/// Whether any webhook receives events of this kind.
pub fn is_wanted(tx: &ReadTx<'_>, kind: EventKind) -> Result<bool> {
    let hooks = list(tx)?;
    Ok(hooks
        .iter()
        .any(|hook| hook.wanted_events().contains(&kind)))
}

pub fn get(tx: &ReadTx<'_>, id: &str) -> Result<Option<WebhookRecord>> {
    Ok(find(tx, id)?.map(|(_, hook)| hook))
}

/// A hook, with the number in its id.
pub(super) fn find(tx: &ReadTx<'_>, id: &str) -> Result<Option<(u64, WebhookRecord)>> {
    match number(id) {
        Some(number) => Ok(WEBHOOKS.get(tx, (number,))?.map(|hook| (number, hook))),
        None => Ok(None),
    }
}

/// Whether there is such a hook.
pub fn exists(tx: &ReadTx<'_>, id: &str) -> Result<bool> {
    Ok(match number(id) {
        Some(number) => WEBHOOKS.size(tx, (number,))?.is_some(),
        None => false,
    })
}

/// Deletes a hook with its dead letters, and returns what it was.
pub fn delete(tx: &mut WriteTx<'_>, id: &str) -> Result<Option<WebhookRecord>> {
    let Some((number, record)) = find(&tx.view(), id)? else {
        return Ok(None);
    };
    WEBHOOKS.delete(tx, (number,))?;
    DEAD_LETTERS.delete_all(tx, (number,), usize::MAX)?;
    Ok(Some(record))
}

/// Changes a hook; `None` if it is gone, which a delivery under way has to expect. Its id stays.
pub(super) fn update(
    tx: &mut WriteTx<'_>,
    id: &str,
    change: impl FnOnce(&mut WebhookRecord),
) -> Result<Option<WebhookRecord>> {
    let Some((number, mut record)) = find(&tx.view(), id)? else {
        return Ok(None);
    };
    let before = record.clone();
    change(&mut record);
    id.clone_into(&mut record.id);
    if record != before {
        WEBHOOKS.put(tx, (number,), &record)?;
    }
    Ok(Some(record))
}

/// Stores how far a hook is; whether there still is one.
pub fn save(tx: &mut WriteTx<'_>, id: &str, progress: &Progress) -> Result<bool> {
    let hook = update(tx, id, |hook| hook.progress = progress.clone())?;
    Ok(hook.is_some())
}

/// Removes an account's hooks, and its events from the dead letters of the others.
pub(super) fn remove_of_account(tx: &mut WriteTx<'_>, account_id: &str) -> Result<()> {
    for hook in list(&tx.view())? {
        if hook.account_id.as_deref() == Some(account_id) {
            delete(tx, &hook.id)?;
        } else if hook.dead_count > 0 {
            dead_letters::remove_of_account(tx, &hook.id, account_id)?;
        }
    }
    Ok(())
}

/// The number in a hook's id.
pub(super) fn number(id: &str) -> Option<u64> {
    let digits = id.strip_prefix(ID_PREFIX)?;
    let number: u64 = digits.parse().ok()?;
    // "+1" and "01" parse, too, but are no ids of ours.
    (number.to_string() == digits).then_some(number)
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
            chats: None,
            ignore: None,
            secret: Some("whsec".into()),
            headers: Some(BTreeMap::from([("X-A".into(), "b".into())])),
            local_urls: true,
        }
    }

    #[test]
    fn a_hook_wants_the_chats_that_it_names_and_not_what_it_ignores() {
        const BOB: &str = "491700000002@s.whatsapp.net";
        const GROUP: &str = "120363017953516826@g.us";
        let store = TestStore::new();
        store.run(|tx| {
            accounts::create(tx, "alice", None, String::new(), 0)?;
            messages::link(tx, 1, "77@lid", BOB)
        });
        let wants = |chats: &[&str], ignore: &[&str], chat: Option<&str>, own: bool| {
            let list = |of: &[&str]| Some(of.iter().map(|it| (*it).to_owned()).collect());
            let new = NewWebhook {
                events: Some(vec![EventKind::MessageSent, EventKind::AccountStatus]),
                chats: list(chats),
                ignore: list(ignore),
                ..new("http://a/", None)
            };
            let (hook, _) = store.run(move |tx| create(tx, &new, 5));
            let header = Header {
                kind: EventKind::MessageSent,
                account: "alice".into(),
                chat: chat.map(Into::into),
                own,
                at: 0,
            };
            store.read(|tx| hook.wants(tx, &header)).expect("read")
        };
        assert!(wants(&[], &[], Some(BOB), true) && wants(&[], &[], None, false));
        assert!(wants(&[BOB], &[], Some(BOB), true) && !wants(&[GROUP], &[], Some(BOB), true));
        assert!(
            wants(&["77@lid"], &[], Some(BOB), true),
            "by the person's other JID"
        );
        assert!(wants(&[GROUP], &[], None, false), "what is in no chat");
        assert!(!wants(&[], &["own"], Some(BOB), true) && wants(&[], &["own"], Some(BOB), false));
        assert!(!wants(&[], &["77@lid"], Some(BOB), false));
        for (word, chat) in [
            ("groups", GROUP),
            ("status", "status@broadcast"),
            ("channels", "120363000000000001@newsletter"),
        ] {
            assert!(!wants(&[], &[word], Some(chat), false), "{word}");
            assert!(wants(&[], &[word], Some(BOB), false), "{word}");
            assert!(wants(&[], &["own"], Some(chat), false), "{word}");
        }
    }

    fn add(store: &TestStore, url: &str, account: Option<&str>) -> (WebhookRecord, Registration) {
        let new = new(url, account);
        store.run(move |tx| create(tx, &new, 5))
    }

    #[test]
    fn one_hook_for_a_url_and_account() {
        let store = TestStore::new();
        let (all, created) = add(&store, "http://a/", None);
        assert_eq!(created, Registration::Created);
        let known = (all.clone(), Registration::Known);
        assert_eq!(add(&store, "http://a/", None), known);
        let (alices, created) = add(&store, "http://a/", Some("alice"));
        assert!(created == Registration::Created && alices.id != all.id);
        let store = store.reopen();
        assert_eq!(store.read(list).unwrap(), [all.clone(), alices.clone()]);
        let id = alices.id.clone();
        assert_eq!(store.run(move |tx| delete(tx, &id)), Some(alices.clone()));
        let (next, _) = add(&store, "http://b/", None);
        assert!(next.id != alices.id);
        for id in ["wh_", "wh_+1", "wh_01", "1", "wh_99", ""] {
            assert_eq!(store.read(|tx| get(tx, id)).unwrap(), None, "{id}");
            assert!(!store.read(|tx| exists(tx, id)).unwrap(), "{id}");
        }
        assert!(store.read(|tx| exists(tx, &next.id)).unwrap());
    }

    #[test]
    fn a_registration_changes_the_given_fields_only() {
        let store = TestStore::new();
        let (hook, _) = add(&store, "http://a/", None);
        let bare = NewWebhook {
            chats: None,
            ignore: None,
            url: "http://a/".into(),
            account_id: None,
            events: None,
            secret: None,
            headers: None,
            local_urls: true,
        };
        let again = |new: &NewWebhook| {
            let new = new.clone();
            store.run(move |tx| create(tx, &new, 9))
        };
        assert_eq!(again(&bare), (hook.clone(), Registration::Known));
        // What it does already.
        for events in [vec![], vec![EventKind::Message]] {
            let events = Some(events);
            let same = NewWebhook {
                events,
                ..bare.clone()
            };
            assert_eq!(again(&same), (hook.clone(), Registration::Known));
        }
        let both = vec![EventKind::MessageStatus, EventKind::Message];
        let more = NewWebhook {
            events: Some(both.clone()),
            ..bare.clone()
        };
        let (changed, how) = again(&more);
        assert_eq!(how, Registration::Changed);
        let expected = WebhookRecord {
            events: Some(both.clone()),
            ..hook.clone()
        };
        assert_eq!(changed, expected, "secret, headers and progress stay");
        assert_eq!(store.read(|tx| get(tx, &hook.id)).unwrap(), Some(expected));
        let turned = NewWebhook {
            events: Some(both.into_iter().rev().collect()),
            ..bare.clone()
        };
        assert_eq!(again(&turned).1, Registration::Known);
        let none = NewWebhook {
            events: Some(vec![]),
            secret: Some(String::new()),
            headers: Some(BTreeMap::new()),
            ..bare
        };
        let (changed, how) = again(&none);
        assert_eq!(how, Registration::Changed);
        assert_eq!((changed.events, changed.secret), (None, None));
        assert!(changed.headers.is_empty());
    }

    #[test]
    fn local_urls_follow_the_last_key_that_registered_a_hook() {
        let store = TestStore::new();
        let register = |local_urls| {
            let new = NewWebhook {
                local_urls,
                ..new("http://a/", Some("alice"))
            };
            let (hook, registration) = store.run(move |tx| create(tx, &new, 5));
            let stored = store.read(|tx| get(tx, &hook.id)).unwrap().unwrap();
            assert_eq!(stored, hook);
            assert_eq!(hook.local_urls, local_urls);
            registration
        };
        assert_eq!(register(true), Registration::Created);
        assert_eq!(register(false), Registration::Changed);
        assert_eq!(register(false), Registration::Known);
        assert_eq!(register(true), Registration::Changed);
    }

    #[test]
    fn a_hook_starts_at_the_end_of_the_log_also_when_it_is_enabled_again() {
        let store = TestStore::new();
        let happens = || {
            store.run(|tx| {
                let message = message("alice", "1@s.whatsapp.net", "M", 1);
                events::append(tx, &Event::Message(message), 1)
            })
        };
        happens();
        let (hook, _) = add(&store, "http://a/", None);
        assert_eq!(hook.progress.cursor, 1);
        let progress = Progress {
            disabled_at: Some(7),
            failures: 3,
            missed: 2,
            open: vec![OpenEvent {
                number: 1,
                attempts: 1,
                first_failed: Some(6),
            }],
            ..hook.progress
        };
        let (id, saved) = (hook.id.clone(), progress.clone());
        assert!(store.run(move |tx| save(tx, &id, &saved)));
        let stored = store.read(|tx| get(tx, &hook.id)).unwrap().unwrap();
        assert_eq!(stored.progress, progress);
        happens();
        let (again, enabled) = add(&store, "http://a/", None);
        let as_it_was = Registration::Enabled { changed: false };
        assert_eq!((&again.id, enabled), (&hook.id, as_it_was));
        let fresh = Progress {
            cursor: 2,
            missed: 2,
            ..Progress::default()
        };
        assert_eq!(again.progress, fresh);
        assert!(!store.run(|tx| save(tx, "wh_77", &Progress::default())));
    }

    #[test]
    fn rows_of_earlier_versions_are_read() {
        let row = r#"{"id":"wh_1","url":"http://a/","accountId":null,"events":null,"secret":null,
            "createdAt":5,"cursor":9,"failures":2,"lastDelivery":null}"#;
        let hook: WebhookRecord = serde_json::from_str(row).unwrap();
        assert_eq!((hook.progress.cursor, hook.progress.failures), (9, 2));
        assert!(hook.local_urls);
        let again: WebhookRecord =
            serde_json::from_str(&serde_json::to_string(&hook).unwrap()).unwrap();
        assert_eq!(again, hook);
    }

    #[test]
    fn hooks_of_an_account_are_removed_with_it() {
        let store = TestStore::new();
        store.run(|tx| accounts::create(tx, "alice", None, String::new(), 0));
        add(&store, "http://a/", Some("alice"));
        let (bobs, _) = add(&store, "http://a/", Some("bob"));
        store.run(|tx| accounts::remove(tx, "alice"));
        assert_eq!(store.read(list).unwrap(), [bobs]);
    }
}
