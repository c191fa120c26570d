//! Groups on the phone: one message for all, with the sender key for devices that lack it.

use std::collections::HashSet;

use wacore::messages::MessageUtils;
use wacore::protocol::retry::RetryReason;
use wacore::send::{media_type_from_message, should_hide_decrypt_fail};
use wacore_binary::builder::NodeBuilder;
use wacore_binary::{Jid, JidExt as _, Node};
use wacore_libsignal::protocol::SignalProtocolError;
use waproto::buffa::MessageField;
use waproto::whatsapp as wa;

use super::business;
use super::keys::Kind;
use super::outgoing::Envelope;
use super::receiving::{Failure, Incoming, failure};
use super::sending::{Outbound, parse_person};
use super::{Phone, PhoneError, attr, bytes_of};
use crate::directory::{DeviceAddr, Directory, GroupView};

/// Where a message goes.
pub(super) struct Place {
    /// The chat's JID.
    pub(super) to: Jid,
    /// A JID of the form in which the chat names people.
    pub(super) like: Jid,
    pub(super) kind: PlaceKind,
}

pub(super) enum PlaceKind {
    /// A number.
    Person(String),
    Group(GroupView),
}

impl Place {
    /// Whether this is a group and the number is one of its admins.
    pub(super) fn has_admin(&self, number: &str) -> bool {
        matches!(&self.kind, PlaceKind::Group(view) if view.admins.iter().any(|it| it == number))
    }

    pub(super) fn is_group(&self) -> bool {
        matches!(self.kind, PlaceKind::Group(_))
    }
}

/// A number, or the JID of a person, a group or the stories, without device.
///
/// # Errors
/// [`PhoneError::NotAPerson`] for anything else.
pub fn parse_chat(text: &str) -> Result<Jid, PhoneError> {
    match text.parse::<Jid>() {
        Ok(jid) if jid.is_group() && !jid.user.is_empty() || jid.is_status_broadcast() => {
            Ok(jid.to_non_ad())
        }
        _ => parse_person(text),
    }
}

impl Phone {
    /// What a recipient is.
    pub(super) fn place(&self, to: &str, dir: &dyn Directory) -> Result<Place, PhoneError> {
        let jid = parse_chat(to)?;
        if jid.is_status_broadcast() {
            let view = self.audience();
            return Ok(Place {
                to: jid,
                like: like(&view),
                kind: PlaceKind::Group(view),
            });
        }
        if !jid.is_group() {
            let (to, number) = self.recipient(&jid, dir)?;
            return Ok(Place {
                like: to.clone(),
                to,
                kind: PlaceKind::Person(number),
            });
        }
        let view = dir
            .group(&jid.user)
            .ok_or_else(|| PhoneError::UnknownRecipient(to.to_owned()))?;
        if !view.members.contains(&self.number) {
            return Err(PhoneError::NotInGroup(jid.to_string()));
        }
        Ok(Place {
            to: jid,
            like: like(&view),
            kind: PlaceKind::Group(view),
        })
    }

    /// The stanza of a group message, with the phone's own key for every device that lacks it.
    pub(super) fn group_stanza(
        &mut self,
        id: &str,
        group: &Jid,
        view: &GroupView,
        message: &wa::Message,
        envelope: Envelope,
        dir: &mut dyn Directory,
    ) -> Result<Node, PhoneError> {
        let like = like(view);
        let own = self.own_addr();
        let name = group.to_string();
        let mut all = Vec::new();
        for number in &view.members {
            all.extend(self.recipients(number, &like, dir));
        }
        let present: HashSet<DeviceAddr> = all.iter().map(|it| it.addr.clone()).collect();
        let mut devices: Vec<Jid> = all.iter().map(|it| it.jid.clone()).collect();
        devices.extend(self.jid_of(&own, &like, dir));

        let lacking = self.sender_keys.lacking(&name, &own, &present);
        all.retain(|it| lacking.contains(&it.addr));
        let all = self.with_sessions(all, dir);
        let key = self.sender_keys.distribution(&name, &own, &mut self.rng)?;
        let key = wa::Message {
            sender_key_distribution_message: MessageField::some(
                wa::message::SenderKeyDistributionMessage {
                    group_id: Some(name.clone()),
                    axolotl_sender_key_distribution_message: Some(key),
                },
            ),
            ..Default::default()
        };
        let mut participants = Vec::with_capacity(all.len());
        for recipient in all {
            let enc = self.seal(&recipient.addr, &key, None)?;
            let to = NodeBuilder::new("to").attr("jid", &recipient.jid);
            participants.push(to.children([enc]).build());
            self.sender_keys.gave(&name, recipient.addr);
        }

        let plain = self.padded(message);
        let cipher = self
            .sender_keys
            .encrypt(&name, &own, &plain, &mut self.rng)?;
        let mut enc = NodeBuilder::new("enc").attr("v", "2").attr("type", "skmsg");
        if let Some(mediatype) = media_type_from_message(message) {
            enc = enc.attr("mediatype", mediatype);
        }
        if should_hide_decrypt_fail(message) {
            enc = enc.attr("decrypt-fail", "hide");
        }
        let mut children = Vec::new();
        if !participants.is_empty() {
            let all = NodeBuilder::new("participants").children(participants);
            children.push(all.build());
        }
        children.push(enc.bytes(cipher).build());
        children.extend(envelope.meta());
        let mut stanza = NodeBuilder::new("message")
            .attr("to", group)
            .attr("id", id)
            .attr("type", business::stanza_type(message));
        if group.is_status_broadcast() {
            if let Some(edit) = envelope.edit {
                stanza = stanza.attr("edit", edit);
            }
            let children = self.of_story(children, view, envelope, dir);
            return Ok(stanza.children(children).build());
        }
        stanza = stanza.attr("addressing_mode", mode(&like));
        if let Ok(phash) = MessageUtils::participant_list_hash(&devices) {
            stanza = stanza.attr("phash", phash);
        }
        if let Some(edit) = envelope.edit {
            stanza = stanza.attr("edit", edit);
        }
        Ok(stanza.children(children).build())
    }

    /// A group message once more, for the one device that could not read it.
    pub(super) fn resend_group(
        &mut self,
        id: &str,
        outbound: &Outbound,
        envelope: Envelope,
        addr: &DeviceAddr,
        jid: &Jid,
        count: u8,
    ) -> Result<Node, PhoneError> {
        self.sender_keys.give_again(&outbound.to.to_string(), addr);
        let enc = self.seal(addr, &outbound.message, Some(count))?;
        let mut stanza = NodeBuilder::new("message")
            .attr("to", &outbound.to)
            .attr("participant", jid)
            .attr("id", id)
            .attr("type", business::stanza_type(&outbound.message));
        if !outbound.to.is_status_broadcast() {
            stanza = stanza.attr("addressing_mode", mode(jid));
        }
        if let Some(edit) = envelope.edit {
            stanza = stanza.attr("edit", edit);
        }
        Ok(stanza.children([enc]).build())
    }

    /// Decrypts a group message: the pairwise part, which brings the key, then the shared one.
    pub(super) fn open_group(&mut self, incoming: &Incoming<'_>) -> Result<wa::Message, Failure> {
        let group = incoming.from.to_string();
        let mut pairwise = Err(Failure::Retry(RetryReason::NoSession));
        let mut shared = None;
        for enc in incoming.node.get_children_by_tag("enc") {
            let (Some(kind), Some(cipher)) = (attr(enc, "type"), bytes_of(enc)) else {
                continue;
            };
            if let Some(kind) = Kind::from_wire(&kind) {
                pairwise = self.open(incoming, kind, cipher);
                if let Ok(message) = &pairwise {
                    self.learn_sender_key(&group, incoming, message);
                }
            } else if kind == "skmsg" {
                shared = Some(cipher);
            }
        }
        let Some(cipher) = shared else {
            return pairwise;
        };
        let plain = self
            .sender_keys
            .decrypt(&group, &incoming.sender, cipher)
            .map_err(|error| match error {
                SignalProtocolError::NoSenderKeyState(_) => Failure::Retry(RetryReason::NoSession),
                other => failure(other),
            })?;
        let invalid = || Failure::Retry(RetryReason::InvalidMessage);
        let plain = MessageUtils::unpad_message_ref(&plain, 2).map_err(|_| invalid())?;
        waproto::codec::message_decode(plain).map_err(|_| invalid())
    }

    fn learn_sender_key(&mut self, group: &str, incoming: &Incoming<'_>, message: &wa::Message) {
        let Some(key) = message.sender_key_distribution_message.as_option() else {
            return;
        };
        if key.group_id.as_deref() != Some(group) {
            log::warn!("phone {}: a sender key of another group", self.number);
            return;
        }
        let bytes = key
            .axolotl_sender_key_distribution_message
            .as_deref()
            .unwrap_or_default();
        if let Err(error) = self.sender_keys.learn(group, &incoming.sender, bytes) {
            log::warn!("phone {}: a sender key: {error}", self.number);
        }
    }

    pub(super) fn own_addr(&self) -> DeviceAddr {
        DeviceAddr {
            number: self.number.clone(),
            device: 0,
        }
    }
}

/// A JID of the form in which a group names people.
fn like(view: &GroupView) -> Jid {
    if view.lid { Jid::lid("") } else { Jid::pn("") }
}

fn mode(jid: &Jid) -> &'static str {
    if jid.is_lid() { "lid" } else { "pn" }
}
