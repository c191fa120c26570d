//! Whom a story goes to: the people that it names, or all contacts.

use futures_lite::future;

use crate::clock;
use crate::jid::{ChatJid, Server};
use crate::message::{Change, Draft, Encoded, Message};
use crate::store::outbox::Entry;
use crate::store::{StoreError, messages};
use crate::sync::locked;
use crate::whatsapp::{Ack, Audience, Registration, SendFailure, Session};

use super::driver::Handle;
use super::registry::Accounts;
use super::sender::Sending;
use super::types::AccountError;

const NO_CONTACTS: &str =
    "The phone has not told this account of any contact yet: name \"recipients\"";
const NOBODY: &str = "WhatsApp knows none of the people who were to get the story";
/// The most contacts that one story goes to.
const MOST: usize = 5_000;
/// Chats that are looked at in one go on the event thread.
const LOOKS: usize = 200;
/// Numbers in one query for LIDs.
const AT_ONCE: usize = 50;

impl Accounts {
    /// Whether a story has recipients.
    ///
    /// # Errors
    /// [`AccountError::Unwritable`] if it is for all contacts and none is known.
    pub(super) async fn has_audience(
        &self,
        handle: &Handle,
        draft: &Draft,
    ) -> Result<(), AccountError> {
        let Draft::Message { message, .. } = draft else {
            return Ok(());
        };
        let story = message.story.as_ref();
        if story.is_some_and(|story| story.recipients.is_some()) {
            return Ok(());
        }
        let mut from = Some(0);
        while let Some(number) = from {
            let (account, store) = (handle.number, &self.0.wiring.store);
            let (found, next) = store.read(|tx| messages::contacts(tx, account, number, LOOKS))?;
            if !found.is_empty() {
                return Ok(());
            }
            from = next;
            future::yield_now().await;
        }
        Err(AccountError::Unwritable(NO_CONTACTS))
    }
}

impl Sending {
    /// Gives a message to the session: for a chat, or for the audience of a story, which is `about` or what that changes.
    pub(super) async fn deliver(
        &self,
        session: &Session,
        to: &ChatJid,
        entry: &Entry,
        about: Option<&Message>,
        encoded: &Encoded,
    ) -> Result<Ack, SendFailure> {
        // A reaction goes to the story's author alone.
        let reacts = entry
            .change
            .as_ref()
            .is_some_and(|changing| matches!(changing.change, Change::React { .. }));
        match about.filter(|_| to.is_stories() && !reacts) {
            Some(story) => {
                let audience = self.audience(session, story).await?;
                session
                    .post_story(&entry.message_id, encoded, &audience)
                    .await
            }
            None => {
                let sent = session.send(&entry.message_id, to, encoded);
                future::zip(sent, self.name_group(session, to)).await.0
            }
        }
    }

    /// The people who get a story, and hear of its deletion. WhatsApp addresses them by LIDs: it is asked for those that
    /// are not known, within the limit of number checks. A person without a LID gets no story.
    async fn audience(&self, session: &Session, story: &Message) -> Result<Audience, SendFailure> {
        let failed = |error: StoreError| SendFailure::Other(error.to_string());
        let named = story
            .story
            .as_ref()
            .and_then(|story| story.recipients.clone());
        let is_named = named.is_some();
        let people = match named {
            Some(people) => self.lids_of(&people).map_err(failed)?,
            None => self.all_contacts().await.map_err(failed)?,
        };
        let (mut people, unknown): (Vec<ChatJid>, Vec<ChatJid>) = people
            .iter()
            .filter_map(|jid| ChatJid::parse(jid).ok())
            .partition(|jid| jid.server() == Server::Lid);
        people.extend(self.ask_for_lids(session, unknown).await);
        match people.is_empty() {
            true => Err(SendFailure::Other(NOBODY.to_owned())),
            false => Ok(Audience { people, is_named }),
        }
    }

    fn lids_of(&self, people: &[String]) -> Result<Vec<String>, StoreError> {
        let account = self.account;
        self.store().read(|tx| {
            people
                .iter()
                .map(|jid| {
                    let names = messages::names(tx, account, jid)?;
                    Ok(names.lid.unwrap_or(names.jid))
                })
                .collect()
        })
    }

    async fn all_contacts(&self) -> Result<Vec<String>, StoreError> {
        let (account, mut all, mut from) = (self.account, Vec::new(), Some(0));
        while let Some(number) = from
            && all.len() < MOST
        {
            let store = self.store();
            let (found, next) = store.read(|tx| messages::contacts(tx, account, number, LOOKS))?;
            all.extend(found);
            from = next;
            future::yield_now().await;
        }
        all.truncate(MOST);
        Ok(all)
    }

    async fn ask_for_lids(&self, session: &Session, unknown: Vec<ChatJid>) -> Vec<ChatJid> {
        let (mut found, mut asked) = (Vec::new(), Vec::new());
        for person in unknown {
            let known = locked(&self.live.registrations).get(&person.to_string(), clock::ticks());
            match known {
                Some(Registration::Present { lid, .. }) => found.extend(lid),
                Some(Registration::Absent) => {}
                None => asked.push(person),
            }
        }
        for part in asked.chunks(AT_ONCE) {
            let may = locked(&self.live.look_ups).check(part.len(), clock::ticks());
            if may.is_err() {
                log::warn!(
                    "{}: not all contacts' LIDs are known yet, so not all get the story",
                    self.id
                );
                break;
            }
            let mut links = Vec::new();
            for (person, answer) in part.iter().zip(session.look_up_all(part).await) {
                let Some(answer) = answer else { continue };
                locked(&self.live.registrations).put(
                    &person.to_string(),
                    answer.clone(),
                    clock::ticks(),
                );
                if let Registration::Present {
                    jid,
                    lid: Some(lid),
                } = answer
                {
                    links.push((lid.to_string(), jid.to_string()));
                    found.push(lid);
                }
            }
            let stored = self.owner().write(self.store(), move |ledger| {
                links.iter().try_for_each(|(lid, number)| {
                    messages::link(ledger.tx, ledger.account, lid, number)
                })
            });
            if let Err(error) = stored.await {
                log::warn!("{}: LIDs could not be stored: {error}", self.id);
            }
        }
        found
    }
}
