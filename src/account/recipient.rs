//! The recipient of a message: the JID that WhatsApp has for the number that was typed.
//!
//! In some countries a number has two forms ([`other_form`]), and WhatsApp reaches a person by one of
//! them. It tells which when it is asked whether the number is registered; the answer is kept in the
//! store, where both forms find the chat from then on.

use crate::clock;
use crate::jid::{ChatJid, Server, other_form};
use crate::store::{StoreError, messages};
use crate::sync::locked;
use crate::whatsapp::{Registration, Session};

use super::sender::{SendResult, Sending};

/// Mentioned people of one message that WhatsApp is asked about, one after the other; further ones are
/// mentioned as they were typed.
const LOOK_UPS: usize = 16;

/// What the store says of a recipient.
struct Known {
    /// The JID that WhatsApp named before, or the one that was typed.
    jid: ChatJid,
    /// Whether nothing was ever exchanged with this person.
    is_new: bool,
    /// Whether WhatsApp may have it in another form.
    is_unsure: bool,
}

impl Sending {
    fn known(&self, typed: &ChatJid) -> Result<Known, StoreError> {
        let (account, text) = (self.account, typed.to_string());
        let (jid, is_new, is_known) = self.store().read(|tx| {
            let jid = messages::number_of(tx, account, &text)?;
            let is_new = messages::is_new_contact(tx, account, &jid)?;
            let is_known = messages::is_known_person(tx, account, &jid)?;
            Ok((jid, is_new, is_known))
        })?;
        let jid = ChatJid::parse(&jid).unwrap_or_else(|_| typed.clone());
        Ok(Known {
            is_unsure: !is_known && has_other_form(&jid),
            jid,
            is_new,
        })
    }

    /// The JID to send to, asked of WhatsApp where that is not known; a result for a number that it
    /// does not have.
    pub async fn recipient(
        &self,
        session: &Session,
        typed: &ChatJid,
    ) -> Result<ChatJid, SendResult> {
        let known = self
            .known(typed)
            .map_err(|error| SendResult::NotSent(error.to_string()))?;
        if !known.is_new && !known.is_unsure {
            return Ok(known.jid);
        }
        match self.look_up(session, &known.jid).await {
            Some(Registration::Absent) if known.is_new => Err(SendResult::Refused {
                code: None,
                words: format!("{} is not on WhatsApp", typed.user()),
            }),
            Some(Registration::Present { jid, lid }) => {
                self.remember(&known.jid, &jid, lid.as_ref())
                    .await
                    .map_err(|error| SendResult::NotSent(error.to_string()))?;
                Ok(jid)
            }
            Some(Registration::Absent) | None => Ok(known.jid),
        }
    }

    /// The JIDs of people who are mentioned.
    pub async fn mentioned(&self, session: &Session, typed: &[String]) -> Vec<ChatJid> {
        let mut asked = 0;
        let mut found = Vec::with_capacity(typed.len());
        for jid in typed.iter().filter_map(|jid| ChatJid::parse(jid).ok()) {
            let Ok(known) = self.known(&jid) else {
                found.push(jid);
                continue;
            };
            if !known.is_unsure || asked == LOOK_UPS {
                found.push(known.jid);
                continue;
            }
            asked += 1;
            let named = match self.look_up(session, &known.jid).await {
                Some(Registration::Present { jid, lid }) => {
                    // What cannot be kept is asked again next time.
                    let _ = self.remember(&known.jid, &jid, lid.as_ref()).await;
                    jid
                }
                Some(Registration::Absent) | None => known.jid,
            };
            found.push(named);
        }
        found
    }

    /// What WhatsApp says of a person, or has said within a day.
    async fn look_up(&self, session: &Session, jid: &ChatJid) -> Option<Registration> {
        let name = jid.to_string();
        let known = || locked(&self.live.registrations);
        if let Some(registration) = known().get(&name, clock::ticks()) {
            return Some(registration);
        }
        let registration = session.look_up(jid).await?;
        known().put(&name, registration.clone(), clock::ticks());
        Some(registration)
    }

    /// Keeps WhatsApp's answer, so that it is asked once.
    async fn remember(
        &self,
        typed: &ChatJid,
        named: &ChatJid,
        lid: Option<&ChatJid>,
    ) -> Result<(), StoreError> {
        if typed == named && !has_other_form(typed) {
            return Ok(());
        }
        let (typed, named) = (typed.to_string(), named.to_string());
        let lid = lid.map(ChatJid::to_string);
        let kept = self.owner().write(self.store(), move |ledger| {
            let account = ledger.account;
            if let Some(lid) = &lid {
                messages::link(ledger.tx, account, lid, &named)?;
            }
            messages::answers_as(ledger.tx, account, &typed, &named)
        });
        kept.await.map(drop)
    }
}

fn has_other_form(jid: &ChatJid) -> bool {
    jid.server() == Server::Person && other_form(jid.user()).is_some()
}
