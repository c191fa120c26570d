//! Lookups of people and groups, and read receipts.

use std::collections::BTreeMap;
use std::time::Duration;

use whatsapp_rust::Jid;
use whatsapp_rust::features::{GroupMetadata, IsOnWhatsAppResult};
use whatsapp_rust::types::message::AddressingMode;

use crate::jid::{ChatJid, Server, other_form};
use crate::message::Message;
use crate::sync::within;

use super::{Session, wire_jid};
use crate::whatsapp::convert;
use crate::whatsapp::error::SendFailure;

/// How long WhatsApp may take to answer a lookup.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(8);

/// What WhatsApp says of a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Registration {
    /// Not on WhatsApp.
    Absent,
    /// On WhatsApp, under this JID: in some countries a number has two forms, and messages go to the one that WhatsApp
    /// names.
    Present { jid: ChatJid, lid: Option<ChatJid> },
}

impl Session {
    /// Asks WhatsApp about a person; `None` without an answer, or for a JID that is not a person's.
    pub async fn look_up(&self, person: &ChatJid) -> Option<Registration> {
        self.look_up_all(std::slice::from_ref(person)).await.pop()?
    }

    /// Asks WhatsApp about several people in one query, and answers in their order; see [`Session::look_up`].
    pub async fn look_up_all(&self, people: &[ChatJid]) -> Vec<Option<Registration>> {
        let asked: Vec<Jid> = people
            .iter()
            .filter(|person| person.is_person())
            .filter_map(|person| wire_jid(&person.to_string()).ok())
            .collect();
        let found = match self.is_ready() && !asked.is_empty() {
            true => {
                let contacts = self.client.contacts();
                match within(LOOKUP_TIMEOUT, contacts.is_on_whatsapp(&asked)).await {
                    Some(Ok(found)) => found,
                    Some(Err(error)) => {
                        log::debug!(
                            "WhatsApp does not say whether numbers are registered: {error}"
                        );
                        Vec::new()
                    }
                    None => {
                        log::debug!("WhatsApp does not say in time whether numbers are registered");
                        Vec::new()
                    }
                }
            }
            false => Vec::new(),
        };
        people
            .iter()
            .map(|person| registration(person, &found))
            .collect()
    }

    /// Sets the timer of a group, 0 for none, as WhatsApp's server allows it.
    ///
    /// # Errors
    /// [`SendFailure::Refused`] if the account may not, for instance.
    pub async fn set_group_timer(&self, group: &ChatJid, seconds: u32) -> Result<(), SendFailure> {
        if !self.is_ready() {
            return Err(SendFailure::NotConnected);
        }
        let jid = wire_jid(&group.to_string()).map_err(SendFailure::Other)?;
        let groups = self.client.groups();
        match within(LOOKUP_TIMEOUT, groups.set_ephemeral(&jid, seconds)).await {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => {
                log::debug!("the timer of a group was not set: {error}");
                Err(SendFailure::Refused {
                    code: None,
                    words: "WhatsApp did not set the timer: this account is not in the group, or only its admins may"
                        .into(),
                })
            }
            None => Err(SendFailure::Other("WhatsApp did not answer in time".into())),
        }
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

    /// The account's own JID in the namespace in which a chat knows the sender of a message: its readers derive the key
    /// of a vote from both.
    pub async fn own_jid_for(&self, chat: &ChatJid, message: &Message) -> String {
        let by_lid = match chat.server() {
            _ if !message.from_me => message.wire_sender().ends_with("@lid"),
            Server::Group => self.goes_by_lids(chat).await,
            server => server == Server::Lid,
        };
        let lid = self.own_lid().filter(|_| by_lid);
        lid.or_else(|| self.own_jid()).unwrap_or_default()
    }

    /// Whether a group names its members by LIDs.
    pub async fn goes_by_lids(&self, group: &ChatJid) -> bool {
        let Ok(jid) = wire_jid(&group.to_string()) else {
            return false;
        };
        let groups = self.client.groups();
        let found = within(LOOKUP_TIMEOUT, groups.query_info(&jid)).await;
        matches!(found, Some(Ok(info)) if info.addressing_mode == AddressingMode::Lid)
    }

    /// A group's members, each by one JID as the group names them; `None` if WhatsApp's server does not tell.
    pub async fn group_people(&self, group: &ChatJid) -> Option<Vec<ChatJid>> {
        let found = self.group(&group.to_string()).await?;
        let own = [self.own_jid(), self.own_lid()];
        let people = found
            .participants
            .iter()
            .map(|member| convert::bare(&member.jid));
        let others = people.filter(|jid| !own.iter().flatten().any(|own| own == jid));
        Some(others.filter_map(|jid| ChatJid::parse(&jid).ok()).collect())
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

/// What the answers to a query say of one person. WhatsApp may answer with another form of the number than the one that it
/// was asked for.
fn registration(person: &ChatJid, found: &[IsOnWhatsAppResult]) -> Option<Registration> {
    let parsed = |jid: &Jid| ChatJid::parse(&jid.to_non_ad().to_string()).ok();
    let names = |one: &IsOnWhatsAppResult, wanted: &ChatJid| {
        [Some(&one.jid), one.pn_jid.as_ref()]
            .into_iter()
            .flatten()
            .any(|jid| parsed(jid).as_ref() == Some(wanted))
    };
    let other = other_form(person.user())
        .and_then(|user| ChatJid::parse(&format!("{user}@s.whatsapp.net")).ok())
        .filter(|_| person.server() == Server::Person);
    let one = [Some(person), other.as_ref()]
        .into_iter()
        .flatten()
        .find_map(|wanted| found.iter().find(|one| names(one, wanted)))?;
    if one.contact_error.is_some() {
        return None;
    }
    if !one.is_registered {
        return Some(Registration::Absent);
    }
    let (mut jid, mut lid) = (person.clone(), None);
    for known in [Some(&one.jid), one.pn_jid.as_ref(), one.lid.as_ref()]
        .into_iter()
        .flatten()
        .filter_map(parsed)
    {
        match known.server() {
            // A person who was asked for by LID is written to by LID.
            Server::Person if person.server() == Server::Person => jid = known,
            Server::Lid => lid = Some(known),
            Server::Person | Server::Group | Server::Broadcast | Server::Newsletter => {}
        }
    }
    Some(Registration::Present { jid, lid })
}
