//! Lookups of people and groups, and read receipts.

use std::collections::BTreeMap;
use std::time::Duration;

use whatsapp_rust::features::GroupMetadata;

use crate::jid::{ChatJid, Server};
use crate::sync::within;

use super::{Session, wire_jid};
use crate::whatsapp::convert;
use crate::whatsapp::error::SendFailure;

/// How long WhatsApp may take to answer a lookup.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(8);

/// What WhatsApp says of a person that was asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Not on WhatsApp.
    Absent,
    /// On WhatsApp, under this JID: in some countries a number has two forms, and the one that WhatsApp
    /// names is the one that is reached.
    Present { jid: ChatJid, lid: Option<ChatJid> },
}

impl Session {
    /// Asks WhatsApp for a person; `None` if it does not say, or for what is no person.
    pub async fn look_up(&self, person: &ChatJid) -> Option<Standing> {
        let jid = wire_jid(&person.to_string()).ok()?;
        if !person.is_person() || !self.is_ready() {
            return None;
        }
        let contacts = self.client.contacts();
        let asked = contacts.is_on_whatsapp(std::slice::from_ref(&jid));
        let found = match within(LOOKUP_TIMEOUT, asked).await {
            Some(Ok(found)) => found.into_iter().next()?,
            Some(Err(error)) => {
                log::debug!("whether a number is on WhatsApp is not known: {error}");
                return None;
            }
            None => {
                log::debug!("whether a number is on WhatsApp is not known: no answer in time");
                return None;
            }
        };
        if found.contact_error.is_some() {
            return None;
        }
        if !found.is_registered {
            return Some(Standing::Absent);
        }
        let (mut jid, mut lid) = (person.clone(), None);
        for known in [Some(found.jid), found.pn_jid, found.lid]
            .into_iter()
            .flatten()
            .filter_map(|known| ChatJid::parse(&known.to_non_ad().to_string()).ok())
        {
            match known.server() {
                // Who was asked for by a LID is reached by it.
                Server::Person if person.server() == Server::Person => jid = known,
                Server::Lid => lid = Some(known),
                Server::Person | Server::Group | Server::Broadcast | Server::Newsletter => {}
            }
        }
        Some(Standing::Present { jid, lid })
    }

    /// A group's subject, asked of WhatsApp's server; `None` if it does not tell.
    pub async fn group_subject(&self, group: &str) -> Option<String> {
        let found = self.group(group).await?;
        Some(found.subject).filter(|subject| !subject.is_empty())
    }

    /// The JIDs of a group's members, of each both that are known, asked of WhatsApp's server; `None` if it
    /// does not tell, as it does to no stranger.
    pub async fn group_members(&self, group: &str) -> Option<Vec<String>> {
        let found = self.group(group).await?;
        let both = found.participants.iter().flat_map(|member| {
            [
                Some(&member.jid),
                member.phone_number.as_ref(),
                member.lid.as_ref(),
            ]
        });
        Some(both.flatten().map(convert::bare).collect())
    }

    async fn group(&self, group: &str) -> Option<GroupMetadata> {
        let jid = wire_jid(group).ok()?;
        if !self.is_ready() {
            return None;
        }
        let groups = self.client.groups();
        match within(LOOKUP_TIMEOUT, groups.get_metadata(&jid)).await {
            Some(Ok(found)) => return Some(found),
            Some(Err(error)) => log::debug!("nothing is known of a group: {error}"),
            None => log::debug!("nothing is known of a group: no answer in time"),
        }
        None
    }

    /// Sends read receipts to the senders, and to the account's other devices, for messages of one chat: each (sender
    /// as the chat names him, message id).
    ///
    /// # Errors
    /// When it could not be sent.
    pub async fn mark_read(
        &self,
        chat: &ChatJid,
        messages: &[(String, String)],
    ) -> Result<(), SendFailure> {
        if !self.is_ready() {
            return Err(SendFailure::NotConnected);
        }
        let to = wire_jid(&chat.to_string()).map_err(SendFailure::Other)?;
        let mut by_sender: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (sender, id) in messages {
            let sender = if chat.is_person() {
                ""
            } else {
                sender.as_str()
            };
            by_sender.entry(sender).or_default().push(id);
        }
        for (sender, ids) in by_sender {
            let sender = match sender {
                "" => None,
                jid => Some(wire_jid(jid).map_err(SendFailure::Other)?),
            };
            self.client
                .mark_as_read(&to, sender.as_ref(), &ids)
                .await
                .map_err(|error| {
                    log::debug!("not marked as read: {error}");
                    SendFailure::Other("the read receipts could not be sent".into())
                })?;
        }
        Ok(())
    }
}
