//! What an account shows of itself and to whom, and its linked devices.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::jid::ChatJid;
use crate::media;
use crate::store::accounts;
use crate::store::messages::Contact;
use crate::whatsapp::{Facts, Session};

use super::driver::Handle;
use super::messaging::connected;
use super::people::{NO_ANSWER, facts, failed};
use super::registry::Accounts;
use super::types::AccountError;

/// What is shown of an account; `None` leaves it.
#[derive(Debug, Default)]
pub struct ProfileChange {
    pub name: Option<String>,
    pub about: Option<String>,
    /// The bytes of any picture that can be read; none remove it.
    pub picture: Option<Vec<u8>>,
}

impl Accounts {
    /// What an account shows: its name, its JIDs, and, while it is connected, what WhatsApp says.
    ///
    /// # Errors
    /// [`AccountError::NotPaired`]; as [`Accounts::contact`].
    pub async fn profile(
        &self,
        id: &str,
    ) -> Result<(Option<String>, Contact, Option<Arc<Facts>>), AccountError> {
        let handle = self.handle(id)?;
        let (name, own) = self.own(&handle, id)?;
        let facts = match connected(&handle) {
            Ok(session) => facts(&handle, &session, &own).await?,
            Err(_) => None,
        };
        Ok((name, own, facts))
    }

    /// Changes it, one after the other; what was changed before an error stays.
    ///
    /// # Errors
    /// [`AccountError::NotConnected`], [`AccountError::Media`] for a picture that cannot be read, or what WhatsApp says.
    pub async fn change_profile(
        &self,
        id: &str,
        change: ProfileChange,
    ) -> Result<(), AccountError> {
        let handle = self.handle(id)?;
        let session = connected(&handle)?;
        let failed = |failure| failed(&handle, failure);
        if let Some(bytes) = change.picture {
            let jpeg = match bytes.is_empty() {
                true => bytes,
                false => {
                    let spool = self.0.wiring.spool.clone();
                    smol::unblock(move || media::portrait(&bytes, &spool)).await?
                }
            };
            session.set_picture(jpeg).await.map_err(failed)?;
        }
        if let Some(about) = change.about {
            session.set_about(&about).await.map_err(failed)?;
        }
        if let Some(name) = change.name {
            session.set_name(&name).await.map_err(failed)?;
        }
        Ok(())
    }

    /// The privacy settings by WhatsApp's names, and the seconds after which messages disappear in new chats.
    ///
    /// # Errors
    /// [`AccountError::NotConnected`], or what WhatsApp says.
    pub async fn privacy(&self, id: &str) -> Result<(BTreeMap<String, String>, u32), AccountError> {
        let handle = self.handle(id)?;
        let session = connected(&handle)?;
        let asked = async { Ok((session.privacy().await?, session.default_timer().await?)) };
        asked.await.map_err(|failure| failed(&handle, failure))
    }

    /// Sets privacy settings, by WhatsApp's names, and that timer, one after the other; what was set before an error
    /// stays.
    ///
    /// # Errors
    /// [`AccountError::NotConnected`], or what WhatsApp says.
    pub async fn set_privacy(
        &self,
        id: &str,
        settings: &[(&str, &str)],
        timer: Option<u32>,
    ) -> Result<(), AccountError> {
        let handle = self.handle(id)?;
        let session = connected(&handle)?;
        let set = async {
            for (name, value) in settings {
                session.set_privacy(name, value).await?;
            }
            match timer {
                Some(seconds) => session.set_default_timer(seconds).await,
                None => Ok(()),
            }
        };
        set.await.map_err(|failure| failed(&handle, failure))
    }

    /// The numbers of the account's devices, 0 is the phone, and that of this one.
    ///
    /// # Errors
    /// [`AccountError::NotConnected`]; as [`Accounts::contact`].
    pub async fn devices(
        &self,
        id: &str,
    ) -> Result<(Contact, Vec<u16>, Option<u16>), AccountError> {
        let handle = self.handle(id)?;
        let session: Arc<Session> = connected(&handle)?;
        let (_, own) = self.own(&handle, id)?;
        let facts = facts(&handle, &session, &own).await?;
        let facts = facts.ok_or_else(|| AccountError::Session(NO_ANSWER.to_owned()))?;
        Ok((own, facts.devices.clone(), session.own_device()))
    }

    /// The account's own name and JIDs.
    fn own(&self, handle: &Handle, id: &str) -> Result<(Option<String>, Contact), AccountError> {
        let store = &self.0.wiring.store;
        let record = store.read(|tx| accounts::get(tx, id))?;
        let record = record.ok_or(AccountError::NotFound)?;
        let jid = record.jid.and_then(|jid| ChatJid::parse(&jid).ok());
        let jid = jid.ok_or_else(|| AccountError::NotPaired {
            status: handle.live.get().status,
        })?;
        let own = self.contact_of(handle, &jid)?;
        let lid = own.lid.or(record.lid);
        Ok((record.push_name, Contact { lid, ..own }))
    }
}
