//! Whose a username is: what the store knows for a day, and WhatsApp's word after that.
//!
//! A username is no address: WhatsApp delivers to the LID behind it. It is asked for that when a request
//! names a username, before anything is stored or queued; from then on the message has a JID like any
//! other. People change their usernames and give them up to others, so an answer holds for a day; while
//! WhatsApp cannot be asked, the last one holds.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::clock::{self, Millis};
use crate::jid::{ChatJid, Recipient, Username};
use crate::ledger::Owner;
use crate::store::usernames::{self as rows, Holder};
use crate::store::{StoreError, messages};
use crate::sync::locked;
use crate::whatsapp::{NameHolder, Session};

use super::Accounts;
use super::driver::Handle;
use super::messaging::connected;
use super::pace::Pace;
use super::types::AccountError;

/// How long WhatsApp's word holds.
const FRESH: Millis = 24 * 3_600_000;
/// How long a username that no account has is not asked for again, and how many such are remembered.
const ABSENT: Millis = 10 * 60_000;
const ABSENTEES: usize = 32;
/// Usernames that WhatsApp is asked for in a minute: it limits that itself, and looks at who tries many.
const LOOK_UPS: u32 = 10;

/// Why a username leads to no chat.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("{0} is not on WhatsApp")]
    Absent(Username),
    /// Nothing is here of a person of that name; WhatsApp was not asked.
    #[error("No chat with {0} is here")]
    NoChat(Username),
    #[error(
        "{0} takes first messages from those alone who have the username key: write \"{0}:1234\", with \
         that key"
    )]
    KeyNeeded(Username),
    #[error(
        "Who {0} is cannot be looked up, because the account is not connected; a chatId or a phone number \
         can be queued"
    )]
    NotConnected(Username),
    #[error("Too many usernames were looked up: at most {LOOK_UPS} a minute")]
    TooMany {
        /// Whole seconds until the next may be asked for.
        retry_after: u64,
    },
    #[error("WhatsApp did not say who {0} is")]
    NoAnswer(Username),
}

/// What one account has asked for. Shared by its requests.
pub struct LookUps {
    pace: Pace,
    /// Usernames that no account has, and since when that is known by [`clock::ticks`].
    absent: VecDeque<(Username, Millis)>,
}

impl LookUps {
    pub fn new(now: Millis) -> LookUps {
        LookUps {
            pace: Pace::new(LOOK_UPS, LOOK_UPS, now),
            absent: VecDeque::new(),
        }
    }

    /// Whether WhatsApp may be asked for a username now.
    ///
    /// # Errors
    /// That no account has it, as WhatsApp said a while ago; or when it may.
    fn begin(&mut self, name: &Username, now: Millis) -> Result<(), NameError> {
        self.absent
            .retain(|(_, since)| now.saturating_sub(*since) < ABSENT);
        if self.absent.iter().any(|(absent, _)| absent == name) {
            return Err(NameError::Absent(name.clone()));
        }
        let turn = self.pace.take(now);
        turn.map_err(|retry_after| NameError::TooMany { retry_after })
    }

    fn absent(&mut self, name: &Username, now: Millis) {
        if self.absent.len() >= ABSENTEES {
            self.absent.pop_front();
        }
        self.absent.push_back((name.clone(), now));
    }
}

/// Whether what is known of a username is to be asked for again.
fn is_fresh(holder: &Holder, now: Millis) -> bool {
    holder.at <= now && now - holder.at < FRESH
}

impl Accounts {
    /// The chat that a request is to write to: of a username the person's who has it, by WhatsApp's word
    /// where that is not known.
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

    /// The chat that a request is to look at, if the store knows it.
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
            look_ups(handle).absent(name, clock::ticks());
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
    let look_ups: &Mutex<LookUps> = &handle.live.look_ups;
    locked(look_ups)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Username {
        Username::parse(text).unwrap()
    }

    #[test]
    fn who_is_not_there_is_asked_for_again_after_a_while() {
        let mut asked = LookUps::new(0);
        assert_eq!(asked.begin(&name("bob"), 0), Ok(()));
        asked.absent(&name("bob"), 0);
        let absent = Err(NameError::Absent(name("bob")));
        assert_eq!(asked.begin(&name("bob"), ABSENT - 1), absent);
        assert_eq!(asked.begin(&name("zoe"), ABSENT - 1), Ok(()));
        assert_eq!(asked.begin(&name("bob"), ABSENT), Ok(()));
        for n in 0..=ABSENTEES {
            asked.absent(&name(&format!("bob{n}")), ABSENT);
        }
        assert_eq!(asked.absent.len(), ABSENTEES);
    }

    #[test]
    fn so_many_are_asked_for_in_a_minute() {
        let mut asked = LookUps::new(0);
        for n in 0..LOOK_UPS {
            assert_eq!(asked.begin(&name(&format!("bob{n}")), 0), Ok(()));
        }
        let refused = asked.begin(&name("zoe"), 0);
        assert_eq!(refused, Err(NameError::TooMany { retry_after: 6 }));
        assert_eq!(asked.begin(&name("zoe"), 6_000), Ok(()));
    }

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
