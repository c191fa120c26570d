//! From a message to stanzas: sessions, the fan-out to every device, and sending again on request.

use rand::RngExt as _;
use wacore::messages::{MessageUtils, wrap_device_sent};
use wacore::proto_helpers::{MessageExt as _, wrap_as_album_child};
use wacore::send::{media_type_from_message, should_hide_decrypt_fail};
use wacore_binary::builder::NodeBuilder;
use wacore_binary::{Jid, JidExt as _, Node, NodeContent};
use wacore_libsignal::crypto::CryptographicHash;
use waproto::buffa::MessageField;
use waproto::whatsapp as wa;

use super::business;
use super::groups::{Place, PlaceKind, parse_chat};
use super::outgoing::{Envelope, Outgoing, Target};
use super::stories::STORIES;
use super::{Phone, PhoneError};
use super::{compose, media};
use crate::directory::{DeviceAddr, Directory};

/// A message that was sent, kept so that it can be sent again.
#[derive(Debug, Clone)]
pub(super) struct Outbound {
    /// The chat, as it was addressed.
    pub(super) to: Jid,
    pub(super) message: wa::Message,
    pub(super) route: Route,
}

/// How a message travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    /// To a chat, in this envelope.
    Chat(Envelope),
    /// To one of the phone's own linked devices, about the account itself.
    Peer,
}

/// One device to encrypt for.
pub(super) struct Recipient {
    pub(super) addr: DeviceAddr,
    pub(super) jid: Jid,
}

impl Phone {
    /// Sends a message, end to end encrypted for every device of the recipient and for the phone's own
    /// linked devices (as `deviceSentMessage`). Returns its id and the stanzas to be routed.
    ///
    /// # Errors
    /// See [`PhoneError`]: an unknown recipient, a message about a message that does not exist, or no
    /// device with usable keys.
    pub fn send(
        &mut self,
        mut out: Outgoing,
        dir: &mut dyn Directory,
        now_ms: u64,
    ) -> Result<(String, Vec<Node>), PhoneError> {
        let mut place = self.place(&out.to, dir)?;
        if let (PlaceKind::Group(view), true) = (&mut place.kind, place.to.is_status_broadcast())
            && !out.recipients.is_empty()
        {
            view.members.clone_from(&out.recipients);
        }
        let target = match out.body.target() {
            Some(id) => Some(self.target(id, &place, dir)?),
            None => None,
        };
        let mut envelope = out.body.envelope();
        envelope.view_once = out.view_once && !out.forge.as_ref().is_some_and(|it| it.unmarked);
        if let Some(forge) = &out.forge {
            if let Some(edit) = forge.edit().map_err(PhoneError::UnknownEdit)? {
                envelope.edit = edit;
            }
        } else if let Some(target) = &target
            && out.body.needs_own_target()
            && !target.from_me
        {
            // Admins delete messages of others.
            if !(out.body.is_delete() && place.has_admin(&self.number)) {
                return Err(PhoneError::NotOwnMessage(target.id.clone()));
            }
            envelope.edit = Some("8");
        }
        let quoted = match out.reply_to.as_deref() {
            Some(id) => Some(self.target(id, &place, dir)?),
            None => None,
        };
        self.upload_attachment(&mut out, dir, now_ms)?;
        if let Some(target) = &target {
            let sealed = self.seal_addition(&out, target, &place, dir, now_ms)?;
            out.sealed = sealed.map(Box::new);
        }
        if let (super::Body::Timer(seconds), PlaceKind::Person(number)) = (&out.body, &place.kind) {
            self.timers.insert(number.clone(), *seconds);
        }
        if out.body.is_content() && out.ephemeral.is_none() {
            out.ephemeral = self.timer_of(&place.kind);
        }
        let mut message = compose::build(&out, target.as_ref(), quoted.as_ref(), now_ms);
        if let Some(id) = out.album_of.as_deref() {
            message = wrap_as_album_child(message, self.target(id, &place, dir)?.key());
        }
        let device_sent = out.forge.as_ref().and_then(|it| it.device_sent.as_ref());
        if let Some(chat) = device_sent {
            message = wrap_device_sent(message, chat.clone());
        }

        let id = out.id.clone().unwrap_or_else(|| self.next_id());
        let stanza = match (&place.kind, &target) {
            (PlaceKind::Group(_), Some(target))
                if place.to.is_status_broadcast() && !out.body.is_delete() =>
            {
                self.story_reaction(&id, target, &mut message, envelope, dir)?
            }
            (PlaceKind::Group(view), _) => {
                let secret = envelope.secret.then(|| self.message_secret());
                let context = message.message_context_info.get_or_insert_default();
                context.message_secret = secret;
                self.group_stanza(&id, &place.to, view, &message, envelope, dir)?
            }
            (PlaceKind::Person(number), _) => {
                self.person_stanza(&id, &place.to, number, &mut message, envelope, dir)?
            }
        };
        let stanza = match &out.unavailable {
            Some(kind) => withheld(stanza, kind),
            None => stanza,
        };
        self.inbox.push_sent(&id, &place.to, &out.body, now_ms);
        if let Some(uploaded) = &out.uploaded {
            self.inbox
                .set_media(&id, media::of_upload(&message, uploaded));
        }
        self.outbound.insert(
            id.clone(),
            Outbound {
                to: place.to,
                message,
                route: Route::Chat(envelope),
            },
        );
        Ok((id, vec![stanza]))
    }

    /// After how many seconds messages of a chat disappear.
    fn timer_of(&self, kind: &PlaceKind) -> Option<u32> {
        let seconds = match kind {
            PlaceKind::Person(number) => self.timers.get(number).copied(),
            PlaceKind::Group(view) => view.ephemeral,
        };
        seconds.filter(|seconds| *seconds > 0)
    }

    /// The stanza of a message to a person, for all devices of both sides.
    pub(super) fn person_stanza(
        &mut self,
        id: &str,
        to: &Jid,
        number: &str,
        message: &mut wa::Message,
        envelope: Envelope,
        dir: &mut dyn Directory,
    ) -> Result<Node, PhoneError> {
        let theirs = self.recipients(number, to, dir);
        let own = self.recipients(&self.number.clone(), to, dir);
        let theirs = if number == self.number {
            Vec::new()
        } else {
            theirs
        };
        let theirs = self.with_sessions(theirs, dir);
        let own = self.with_sessions(own, dir);
        if theirs.is_empty() && number != self.number {
            return Err(PhoneError::NoDevice(to.to_string()));
        }
        let said = message.message_context_info.as_option();
        let seconds = said.and_then(|it| it.message_add_on_duration_in_secs);
        message.message_context_info = MessageField::some(wa::MessageContextInfo {
            message_add_on_duration_in_secs: seconds,
            message_association: association(message),
            ..self.context(number, &theirs, &own, envelope.secret)
        });
        self.fan_out(id, to, message, envelope, &theirs, &own)
    }

    /// A chat state for a chat: `composing` (or `typing`), `recording`, `paused`.
    ///
    /// # Errors
    /// [`PhoneError::UnknownState`], or [`PhoneError::NotAPerson`] for the recipient.
    pub fn typing(&self, to: &str, state: &str) -> Result<Node, PhoneError> {
        let to = parse_chat(to)?;
        let state = match state {
            "composing" | "typing" => NodeBuilder::new("composing").build(),
            "recording" => NodeBuilder::new("composing").attr("media", "audio").build(),
            "paused" => NodeBuilder::new("paused").build(),
            other => return Err(PhoneError::UnknownState(other.to_owned())),
        };
        Ok(NodeBuilder::new("chatstate")
            .attr("to", to)
            .children([state])
            .build())
    }

    /// A message about the account itself for one of the phone's own linked devices.
    pub(super) fn send_peer(
        &mut self,
        device: u16,
        message: wa::Message,
        dir: &mut dyn Directory,
    ) -> Result<Node, PhoneError> {
        let addr = DeviceAddr {
            number: self.number.clone(),
            device,
        };
        let to = Jid::pn_device(self.number.as_str(), device);
        if !self.ensure_session(&addr, dir) {
            return Err(PhoneError::NoDevice(to.to_string()));
        }
        let id = self.next_id();
        let stanza = self.peer_stanza(&id, &addr, &to, &message, None)?;
        self.outbound.insert(
            id,
            Outbound {
                to,
                message,
                route: Route::Peer,
            },
        );
        Ok(stanza)
    }

    /// Sends a message again to the one device that could not read it. `count` is the
    /// number of the request.
    pub(super) fn resend(
        &mut self,
        id: &str,
        addr: &DeviceAddr,
        jid: &Jid,
        count: u8,
    ) -> Result<Option<Node>, PhoneError> {
        let Some(outbound) = self.outbound.get(id).cloned() else {
            return Ok(None);
        };
        let envelope = match outbound.route {
            Route::Peer => {
                return self
                    .peer_stanza(id, addr, jid, &outbound.message, Some(count))
                    .map(Some);
            }
            Route::Chat(envelope) => envelope,
        };
        if outbound.to.is_group() || outbound.to.is_status_broadcast() {
            return self
                .resend_group(id, &outbound, envelope, addr, jid, count)
                .map(Some);
        }
        let own = addr.number == self.number;
        let kind = business::stanza_type(&outbound.message);
        let message = if own {
            wrap_device_sent(outbound.message, outbound.to.to_string())
        } else {
            outbound.message
        };
        let enc = self.seal(addr, &message, Some(count))?;
        let mut stanza = NodeBuilder::new("message")
            .attr("to", jid)
            .attr("id", id)
            .attr("type", kind);
        if own {
            stanza = stanza.attr("recipient", &outbound.to);
        }
        if let Some(edit) = envelope.edit {
            stanza = stanza.attr("edit", edit);
        }
        Ok(Some(stanza.children([enc]).build()))
    }

    /// The recipient of a message: its address as given, and the number behind it.
    pub(super) fn recipient(
        &self,
        jid: &Jid,
        dir: &dyn Directory,
    ) -> Result<(Jid, String), PhoneError> {
        let unknown = || PhoneError::UnknownRecipient(jid.to_string());
        let addr = self.addr_of(jid, dir).ok_or_else(unknown)?;
        if addr.number != self.number && dir.lid_of(&addr.number).is_none() {
            return Err(unknown());
        }
        Ok((jid.clone(), addr.number))
    }

    /// The message that a reply or reaction is about.
    fn target(&self, id: &str, place: &Place, dir: &dyn Directory) -> Result<Target, PhoneError> {
        let unknown = || PhoneError::UnknownMessage(id.to_owned());
        let (from_me, text, author, content, chat) = if let Some(sent) = self.inbox.find_sent(id) {
            let content = match sent.kind {
                "text" => None,
                _ => self
                    .outbound
                    .get(id)
                    .map(|it| it.message.get_base_message().clone()),
            };
            (
                true,
                sent.text.clone(),
                self.number.clone(),
                content.map(Box::new),
                sent.to.clone(),
            )
        } else {
            let message = self.inbox.find(id).ok_or_else(unknown)?;
            let author: Jid = message.from.parse().map_err(|_| unknown())?;
            (
                message.from_me,
                message.text.clone(),
                author.user.to_string(),
                message.content.clone(),
                message.chat.clone(),
            )
        };
        let author = DeviceAddr {
            number: author,
            device: 0,
        };
        Ok(Target {
            id: id.to_owned(),
            chat: place.to.to_string(),
            group: place.is_group(),
            author: self
                .jid_of(&author, &place.like, dir)
                .ok_or_else(unknown)?
                .to_string(),
            from_me,
            text,
            content,
            is_story: chat == STORIES && !place.to.is_status_broadcast(),
        })
    }

    /// The devices of a number other than this phone, addressed as the chat is.
    pub(super) fn recipients(
        &self,
        number: &str,
        chat: &Jid,
        dir: &dyn Directory,
    ) -> Vec<Recipient> {
        let mut found: Vec<Recipient> = dir
            .devices(number)
            .into_iter()
            .filter(|device| number != self.number || self.adv.is_linked(*device))
            .filter_map(|device| {
                let addr = DeviceAddr {
                    number: number.to_owned(),
                    device,
                };
                let jid = self.jid_of(&addr, chat, dir)?;
                Some(Recipient { addr, jid })
            })
            .collect();
        // The phone first: its identity is what the linked devices are checked against.
        found.sort_by_key(|recipient| recipient.addr.device);
        found
    }

    pub(super) fn with_sessions(
        &mut self,
        all: Vec<Recipient>,
        dir: &mut dyn Directory,
    ) -> Vec<Recipient> {
        let mut usable = Vec::with_capacity(all.len());
        for recipient in all {
            if self.ensure_session(&recipient.addr, dir) {
                usable.push(recipient);
            }
        }
        usable
    }

    fn fan_out(
        &mut self,
        id: &str,
        to: &Jid,
        message: &wa::Message,
        envelope: Envelope,
        theirs: &[Recipient],
        own: &[Recipient],
    ) -> Result<Node, PhoneError> {
        let copy = wrap_device_sent(message.clone(), to.to_string());
        let mut participants = Vec::with_capacity(theirs.len() + own.len());
        for (recipient, message) in theirs
            .iter()
            .map(|it| (it, message))
            .chain(own.iter().map(|it| (it, &copy)))
        {
            let enc = self.seal(&recipient.addr, message, None)?;
            participants.push(
                NodeBuilder::new("to")
                    .attr("jid", &recipient.jid)
                    .children([enc])
                    .build(),
            );
        }
        let mut children = vec![
            NodeBuilder::new("participants")
                .children(participants)
                .build(),
        ];
        children.extend(envelope.meta());
        let mut stanza = NodeBuilder::new("message")
            .attr("to", to)
            .attr("id", id)
            .attr("type", business::stanza_type(message));
        let devices = theirs.iter().chain(own).map(|recipient| &recipient.jid);
        if let Ok(phash) = MessageUtils::participant_list_hash(devices) {
            stanza = stanza.attr("phash", phash);
        }
        if let Some(edit) = envelope.edit {
            stanza = stanza.attr("edit", edit);
        }
        Ok(stanza.children(children).build())
    }

    fn peer_stanza(
        &mut self,
        id: &str,
        addr: &DeviceAddr,
        to: &Jid,
        message: &wa::Message,
        count: Option<u8>,
    ) -> Result<Node, PhoneError> {
        let enc = self.seal(addr, message, count)?;
        Ok(NodeBuilder::new("message")
            .attr("to", to)
            .attr("id", id)
            .attr("type", "text")
            .attr("category", "peer")
            .attr("push_priority", "high")
            .children([
                NodeBuilder::new("meta").attr("appdata", "default").build(),
                enc,
            ])
            .build())
    }

    /// The `<enc>` of a message for one device with which a session exists.
    pub(super) fn seal(
        &mut self,
        addr: &DeviceAddr,
        message: &wa::Message,
        count: Option<u8>,
    ) -> Result<Node, PhoneError> {
        let plain = self.padded(message);
        let (kind, cipher) = self.keys.encrypt(addr, &plain)?;
        let mut enc = NodeBuilder::new("enc")
            .attr("v", "2")
            .attr("type", kind.as_wire());
        if let Some(mediatype) = media_type_from_message(message) {
            enc = enc.attr("mediatype", mediatype);
        }
        if should_hide_decrypt_fail(message) {
            enc = enc.attr("decrypt-fail", "hide");
        }
        if let Some(count) = count {
            enc = enc.attr("count", count);
        }
        Ok(enc.bytes(cipher).build())
    }

    /// A message as it is encrypted: serialized, and 1 to 16 bytes longer.
    pub(super) fn padded(&mut self, message: &wa::Message) -> Vec<u8> {
        let mut plain = waproto::codec::message_to_vec(message);
        let pad: u8 = self.rng.random_range(1..=16);
        plain.extend(std::iter::repeat_n(pad, pad.into()));
        plain
    }

    /// What votes, edits and reports of a message are derived from.
    fn message_secret(&mut self) -> Vec<u8> {
        let mut bytes = vec![0; 32];
        rand::Rng::fill_bytes(&mut self.rng, &mut bytes);
        bytes
    }

    /// `messageContextInfo`: the device lists the sender saw, and the secret that votes and edits of
    /// this message will be encrypted with.
    fn context(
        &mut self,
        number: &str,
        theirs: &[Recipient],
        own: &[Recipient],
        secret: bool,
    ) -> wa::MessageContextInfo {
        let mut own_keys = vec![self.keys.identity_bytes()];
        own_keys.extend(own.iter().filter_map(|it| self.keys.identity_of(&it.addr)));
        let their_keys: Vec<[u8; 32]> = theirs
            .iter()
            .filter_map(|it| self.keys.identity_of(&it.addr))
            .collect();
        let recipient = (number != self.number)
            .then(|| key_hash(their_keys))
            .flatten();
        wa::MessageContextInfo {
            device_list_metadata: MessageField::some(wa::DeviceListMetadata {
                sender_key_hash: key_hash(own_keys),
                sender_timestamp: Some(self.adv.timestamp()),
                recipient_key_hash: recipient,
                ..Default::default()
            }),
            device_list_metadata_version: Some(2),
            message_secret: secret.then(|| self.message_secret()),
            ..Default::default()
        }
    }
}

/// What a message is part of.
fn association(message: &wa::Message) -> MessageField<wa::MessageAssociation> {
    let context = message.message_context_info.as_option();
    context.map_or_else(MessageField::none, |context| {
        context.message_association.clone()
    })
}

/// The stanza of a message that linked devices are not to get.
fn withheld(mut stanza: Node, kind: &str) -> Node {
    let mut mark = NodeBuilder::new("unavailable");
    match kind {
        "" => {}
        "hosted" => mark = mark.attr("hosted", "true"),
        kind => mark = mark.attr("type", kind),
    }
    let mut marks = vec![mark.build()];
    if kind == "bot" {
        marks.push(NodeBuilder::new("bot").build());
    }
    if let Some(NodeContent::Nodes(children)) = &mut stanza.content {
        children.extend(marks);
    }
    stanza
}

/// A number or the JID of a person, without its device.
pub(super) fn parse_person(text: &str) -> Result<Jid, PhoneError> {
    let bad = || PhoneError::NotAPerson(text.to_owned());
    let digits = text.strip_prefix('+').unwrap_or(text);
    if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(Jid::pn(digits));
    }
    let jid: Jid = text.parse().map_err(|_| bad())?;
    if jid.user().is_empty() || !(jid.is_pn() || jid.is_lid()) {
        return Err(bad());
    }
    Ok(jid.to_non_ad())
}

/// The hash by which clients compare device lists: 10 bytes over the identity keys in order.
fn key_hash(mut keys: Vec<[u8; 32]>) -> Option<Vec<u8>> {
    keys.sort_unstable();
    let mut hash = CryptographicHash::new("SHA-256").ok()?;
    for key in &keys {
        hash.update(key);
    }
    let digest = hash.finalize_sha256_array().ok()?;
    Some(digest[..10].to_vec())
}
