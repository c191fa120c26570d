//! Which account has a username: answers are stored for a day, then WhatsApp is asked again.
//!
//! A username is no address: WhatsApp delivers to the LID behind it. It is asked for that when a request
//! names a username, before anything is stored or queued; from then on the message has a JID like any
//! other. People change their usernames and give them up to others, so an answer holds for a day; while
//! WhatsApp cannot be asked, the last one holds.

use std::sync::{Arc, MutexGuard};

use crate::clock::{self, Millis};
use crate::jid::{ChatJid, Recipient, Username};
use crate::ledger::Owner;
use crate::store::usernames::{self as rows, Holder};
use crate::store::{StoreError, messages};
use crate::sync::locked;
use crate::whatsapp::{NameHolder, Session};

use super::driver::Handle;
use super::look_ups::LookUps;
use super::messaging::connected;
use super::registry::Accounts;
use super::types::{AccountError, NameError};

/// How long WhatsApp's word holds.
const FRESH: Millis = 24 * 3_600_000;
/// Whether a stored answer still holds.
fn is_fresh(holder: &Holder, now: Millis) -> bool {
    holder.at <= now && now - holder.at < FRESH
}

impl Accounts {
    /// The chat that a request writes to. A username is resolved to the person's JID, by WhatsApp if it is not
    /// known.
    ///
    /// # Errors
    /// [`AccountError::NotFound`], [`AccountError::Name`], or the store's.
    pub async fn chat_of(&self, id: &str, recipient: Recipient) -> Result<ChatJid, AccountError> {
        let handle = self.handle(id)?;
        let (name, key) = match recipient {
            Recipient::Chat(jid) => return Ok(jid),
            Recipient::Name { name, key } => (name, key),
        };
        let account = handle.number;
        let store = &self.0.wiring.store;
        let known = store.read(|tx| rows::holder(tx, account, name.as_str()))?;
        let session = connected(&handle).ok();
        let holder = match (known, session) {
            (Some(known), Some(_)) if is_fresh(&known, clock::now()) => known.jid,
            (Some(known), None) => known.jid,
            (None, None) => return Err(NameError::NotConnected(name).into()),
            (known, Some(session)) => {
                let known = known.map(|known| known.jid);
                self.ask_whose(id, &handle, &session, &name, key.as_deref(), known)
                    .await?
            }
        };
        let jid = store.read(|tx| messages::canonical_jid(tx, account, &holder))?;
        ChatJid::parse(&jid).map_err(|_| NameError::Absent(name).into())
    }

    /// The chat that a request reads, if the store knows it.
    ///
    /// # Errors
    /// [`AccountError::NotFound`], [`AccountError::Name`], or the store's.
    pub fn known_chat(&self, id: &str, recipient: Recipient) -> Result<ChatJid, AccountError> {
        let account = self.handle(id)?.number;
        let name = match recipient {
            Recipient::Chat(jid) => return Ok(jid),
            Recipient::Name { name, .. } => name,
        };
        let jid = self.0.wiring.store.read(|tx| {
            let holder = rows::holder(tx, account, name.as_str())?;
            holder
                .map(|holder| messages::canonical_jid(tx, account, &holder.jid))
                .transpose()
        })?;
        jid.and_then(|jid| ChatJid::parse(&jid).ok())
            .ok_or_else(|| NameError::NoChat(name).into())
    }

    /// Asks WhatsApp, and keeps the answer; `known` is who had the username when it was asked last.
    async fn ask_whose(
        &self,
        id: &str,
        handle: &Handle,
        session: &Arc<Session>,
        name: &Username,
        key: Option<&str>,
        known: Option<String>,
    ) -> Result<String, AccountError> {
        look_ups(handle).begin(name, clock::ticks())?;
        let found = session.find_username(name.as_str(), key).await;
        let (jid, number) = match (found, known) {
            (Some(NameHolder::Found { jid, number }), _) => (Some(jid.to_string()), number),
            (Some(NameHolder::Absent), _) => (None, None),
            // Those who have written to each other need no key; and no answer changes nothing.
            (Some(NameHolder::KeyNeeded) | None, Some(known)) => return Ok(known),
            (Some(NameHolder::KeyNeeded), None) => {
                return Err(NameError::KeyNeeded(name.clone()).into());
            }
            (None, None) => return Err(NameError::NoAnswer(name.clone()).into()),
        };
        if jid.is_none() {
            look_ups(handle).note_absent(name, clock::ticks());
        }
        let (said, number) = (jid.clone(), number.map(|number| number.to_string()));
        let owner = Owner {
            number: handle.number,
            id: id.into(),
        };
        self.keep(&owner, name.clone(), said, number).await?;
        jid.ok_or_else(|| NameError::Absent(name.clone()).into())
    }

    /// Keeps WhatsApp's answer, so that it is asked once a day.
    async fn keep(
        &self,
        owner: &Owner,
        name: Username,
        jid: Option<String>,
        number: Option<String>,
    ) -> Result<(), StoreError> {
        let now = clock::now();
        let kept = owner.write(&self.0.wiring.store, move |ledger| {
            let (tx, account) = (&mut *ledger.tx, ledger.account);
            let Some(jid) = &jid else {
                return rows::forget(tx, account, name.as_str());
            };
            if let Some(number) = &number {
                messages::link(tx, account, jid, number)?;
            }
            rows::learn(tx, account, jid, Some(name.as_str()), now).map(drop)
        });
        kept.await.map(drop)
    }
}

fn look_ups(handle: &Handle) -> MutexGuard<'_, LookUps> {
    locked(&handle.live.look_ups)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_holds_for_a_day() {
        let holder = Holder {
            jid: "955@lid".to_owned(),
            at: 1_000,
        };
        for (now, fresh) in [
            (999, false),
            (1_000, true),
            (1_000 + FRESH - 1, true),
            (1_000 + FRESH, false),
        ] {
            assert_eq!(is_fresh(&holder, now), fresh, "{now}");
        }
    }
}
