//! People: what is known of them here and at WhatsApp, the address book, and who is blocked.

use std::sync::Arc;

use futures_lite::future::yield_now;

use crate::clock;
use crate::jid::{ChatJid, Server};
use crate::ledger::{Ledger, Owner};
use crate::store::groups::{self, CommonGroup, Member};
use crate::store::messages::{self, Contact};
use crate::store::{StoreError, blocklist};
use crate::sync::locked;
use crate::whatsapp::{Facts, SendFailure, Session, Shown};

use super::driver::Handle;
use super::messaging::{connected, not_connected};
use super::registry::Accounts;
use super::types::{AccountError, Checked};

const NO_NUMBER: &str =
    "The address book holds people by their numbers, and that of this person is not known";
const NO_LID: &str = "This number is not on WhatsApp: there is nothing to block";
/// People that are read in one go on the event thread.
const LOOKS: usize = 200;
/// The same of groups, which have up to 1,024 members.
const GROUPS: usize = 16;

impl Accounts {
    /// What is known of a person here, and, while the account is connected, at WhatsApp.
    ///
    /// # Errors
    /// [`AccountError::ContactNotFound`] for one of whom nothing is known here and who is not on WhatsApp;
    /// [`AccountError::TooManyChecks`].
    pub async fn contact(
        &self,
        id: &str,
        person: ChatJid,
    ) -> Result<(Contact, Option<Arc<Facts>>, Option<Shown>), AccountError> {
        let (handle, contact) = self.known_contact(id, person).await?;
        let Ok(session) = connected(&handle) else {
            return Ok((contact, None, None));
        };
        let facts = facts(&handle, &session, &contact).await?;
        let presence = session.presence_of(&jid_of(&contact)?);
        Ok((contact, facts, presence))
    }

    /// A person's picture, a JPEG.
    ///
    /// # Errors
    /// [`AccountError::NoPicture`]; as [`Accounts::contact`]; [`AccountError::NotConnected`].
    pub async fn contact_picture(
        &self,
        id: &str,
        person: ChatJid,
    ) -> Result<Vec<u8>, AccountError> {
        let (handle, contact) = self.known_contact(id, person).await?;
        let session = connected(&handle)?;
        // The address may have expired: it is asked for once more.
        for _ in 0..2 {
            let facts = facts(&handle, &session, &contact).await?;
            let facts = facts.ok_or_else(|| AccountError::Session(NO_ANSWER.to_owned()))?;
            let url = facts.picture.as_ref().and_then(|it| it.url.as_deref());
            let url = url.ok_or(AccountError::NoPicture)?;
            let fetched = session.picture(&jid_of(&contact)?, url).await;
            match fetched.map_err(AccountError::MediaUnavailable)? {
                Some(bytes) => return Ok(bytes),
                None => continue,
            }
        }
        Err(AccountError::NoPicture)
    }

    /// Writes a person into the address book: full name and first name; without them, the entry is emptied. `on_phone`:
    /// also into that of the phone itself.
    ///
    /// # Errors
    /// [`AccountError::Unwritable`] for a person whose number is not known, [`AccountError::ContactNotFound`] if there is
    /// no entry to empty, or what WhatsApp says.
    pub async fn save_contact(
        &self,
        id: &str,
        person: ChatJid,
        name: Option<(String, String)>,
        on_phone: bool,
    ) -> Result<Contact, AccountError> {
        let handle = self.handle(id)?;
        let person = self.found_as(&handle, person)?;
        let contact = self.contact_of(&handle, &person)?;
        let number = jid_of(&contact)?;
        if number.server() != Server::Person {
            return Err(AccountError::Unwritable(NO_NUMBER));
        }
        if name.is_none() && contact.name.is_none() {
            return Err(AccountError::ContactNotFound);
        }
        let session = connected(&handle)?;
        let full = name.as_ref().map(|(full, _)| full.clone());
        let saved = session.save_contact(&number, name, on_phone).await;
        saved.map_err(|failure| failed(&handle, failure))?;
        let jid = number.to_string();
        self.store_of(id, &handle, move |ledger| {
            messages::set_contact_name(ledger.tx, ledger.account, &jid, full.as_deref())
        })
        .await?;
        self.contact_of(&handle, &number)
    }

    /// Blocks or unblocks a person, at WhatsApp, then here.
    ///
    /// # Errors
    /// [`AccountError::Unwritable`] for a number that is not on WhatsApp, or what WhatsApp says.
    pub async fn block(
        &self,
        id: &str,
        person: ChatJid,
        block: bool,
    ) -> Result<Contact, AccountError> {
        let handle = self.handle(id)?;
        let session = connected(&handle)?;
        let contact = self.with_lid(id, person).await?;
        let lid = contact
            .lid
            .clone()
            .ok_or(AccountError::Unwritable(NO_LID))?;
        let number = Some(&*contact.chat_id).filter(|jid| **jid != lid);
        let done = session.block((&lid, number), block).await;
        done.map_err(|failure| failed(&handle, failure))?;
        let jid = lid.clone();
        self.store_of(id, &handle, move |ledger| {
            blocklist::set(ledger.tx, ledger.account, &jid, block)
        })
        .await?;
        let blocked = block;
        Ok(Contact { blocked, ..contact })
    }

    /// The groups that a person and the account are in, as far as their members are known here.
    ///
    /// # Errors
    /// [`AccountError::NotFound`], or the store's.
    pub async fn common_groups(
        &self,
        id: &str,
        contact: &Contact,
    ) -> Result<Vec<CommonGroup>, AccountError> {
        let account = self.handle(id)?.number;
        let jids = [Some(&contact.chat_id), contact.lid.as_ref()];
        let jids = jids.into_iter().flatten().map(String::as_str);
        let Some(who) = Member::of_jids(jids) else {
            return Ok(Vec::new());
        };
        let (mut found, mut behind) = (Vec::new(), None::<String>);
        loop {
            let store = &self.0.wiring.store;
            let (more, next) = store
                .read(|tx| groups::with_member(tx, account, &who, behind.as_deref(), GROUPS))?;
            found.extend(more);
            match next {
                Some(next) => behind = Some(next),
                None => return Ok(found),
            }
            yield_now().await;
        }
    }

    /// Everyone whom an account has blocked.
    ///
    /// # Errors
    /// [`AccountError::NotFound`], or the store's.
    pub async fn blocklist(&self, id: &str) -> Result<Vec<Contact>, AccountError> {
        let account = self.handle(id)?.number;
        let store = &self.0.wiring.store;
        let jids = store.read(|tx| blocklist::all(tx, account))?;
        let mut found = Vec::with_capacity(jids.len());
        for part in jids.chunks(LOOKS) {
            found.extend(store.read(|tx| {
                let people = part.iter().map(|jid| messages::contact(tx, account, jid));
                people.collect::<Result<Vec<_>, StoreError>>()
            })?);
            yield_now().await;
        }
        Ok(found)
    }

    /// A person with both JIDs, as far as they are known here or at WhatsApp.
    ///
    /// # Errors
    /// As [`Accounts::check`]'s, if WhatsApp has to be asked.
    pub async fn with_lid(&self, id: &str, person: ChatJid) -> Result<Contact, AccountError> {
        let handle = self.handle(id)?;
        let person = self.found_as(&handle, person)?;
        let contact = self.contact_of(&handle, &person)?;
        if contact.lid.is_some() && contact.number.is_some() {
            return Ok(contact);
        }
        let found = self.check(id, std::slice::from_ref(&person)).await?;
        let Some(Checked::Present {
            jid,
            lid: Some(lid),
        }) = found.into_iter().next()
        else {
            return self.contact_of(&handle, &person);
        };
        if jid != lid && contact.lid.is_none() {
            let number = jid.clone();
            self.store_of(id, &handle, move |ledger| {
                messages::link(ledger.tx, ledger.account, &lid, &number)
            })
            .await?;
        }
        let person = ChatJid::parse(&jid).unwrap_or(person);
        self.contact_of(&handle, &person)
    }

    /// A person of whom something is known here, or who is on WhatsApp.
    async fn known_contact(
        &self,
        id: &str,
        person: ChatJid,
    ) -> Result<(Handle, Contact), AccountError> {
        let handle = self.handle(id)?;
        let person = self.found_as(&handle, person)?;
        let (account, jid) = (handle.number, person.to_string());
        let store = &self.0.wiring.store;
        if store.read(|tx| messages::is_contact(tx, account, &jid))? {
            let contact = self.contact_of(&handle, &person)?;
            return Ok((handle, contact));
        }
        match self.check(id, std::slice::from_ref(&person)).await?.pop() {
            Some(Checked::Present { jid, .. }) => {
                let person = ChatJid::parse(&jid).unwrap_or(person);
                let contact = self.contact_of(&handle, &person)?;
                Ok((handle, contact))
            }
            Some(Checked::Absent) => Err(AccountError::ContactNotFound),
            Some(Checked::Unanswered) | None => Err(AccountError::Session(NO_ANSWER.to_owned())),
        }
    }

    pub(super) fn contact_of(
        &self,
        handle: &Handle,
        person: &ChatJid,
    ) -> Result<Contact, AccountError> {
        let (account, jid) = (handle.number, person.to_string());
        let store = &self.0.wiring.store;
        Ok(store.read(|tx| messages::contact(tx, account, &jid))?)
    }

    /// Changes the account's rows.
    async fn store_of(
        &self,
        id: &str,
        handle: &Handle,
        job: impl FnMut(&mut Ledger<'_, '_>) -> Result<(), StoreError> + Send + 'static,
    ) -> Result<(), AccountError> {
        let owner = Owner {
            number: handle.number,
            id: id.into(),
        };
        let stored = owner.write(&self.0.wiring.store, job).await?;
        stored.ok_or(AccountError::NotFound)
    }
}

pub(super) const NO_ANSWER: &str = "WhatsApp did not answer";

/// What WhatsApp says of a person; it is asked no faster than about numbers.
pub(super) async fn facts(
    handle: &Handle,
    session: &Session,
    contact: &Contact,
) -> Result<Option<Arc<Facts>>, AccountError> {
    let person = jid_of(contact)?;
    if let Some(facts) = session.known_facts(&person) {
        return Ok(Some(facts));
    }
    locked(&handle.live.look_ups)
        .check(1, clock::ticks())
        .map_err(|retry_after| AccountError::TooManyChecks { retry_after })?;
    // Boxed: the compiler's depth of nested futures is bounded.
    Ok(Box::pin(session.facts(&person)).await)
}

pub(super) fn jid_of(contact: &Contact) -> Result<ChatJid, AccountError> {
    ChatJid::parse(&contact.chat_id).map_err(|_| AccountError::ContactNotFound)
}

/// Why WhatsApp did not do something.
pub(super) fn failed(handle: &Handle, failure: SendFailure) -> AccountError {
    match failure {
        SendFailure::NotConnected => not_connected(handle),
        SendFailure::Refused { code, words } => AccountError::Declined { code, words },
        SendFailure::Later { code, words } => AccountError::Declined {
            code: Some(code),
            words,
        },
        other => AccountError::Session(other.to_string()),
    }
}
