//! Stanzas delivered to the phone: opened, checked, recorded and answered as a client answers them.

use wacore::messages::{MessageUtils, unwrap_device_sent};
use wacore::proto_helpers::MessageExt as _;
use wacore::protocol::retry::RetryReason;
use wacore_binary::builder::NodeBuilder;
use wacore_binary::{Jid, JidExt as _, Node};
use wacore_libsignal::protocol::{PreKeySignalMessage, SignalProtocolError};
use waproto::whatsapp as wa;

use super::describe::describe;
use super::groups::parse_chat;
use super::inbox::{ChatState, Mark, Receipt, Unread};
use super::keys::Kind;
use super::stories::{STORIES, flaw};
use super::{Phone, PhoneError, attr, bytes_of, child_bytes, jid_attr};
use crate::directory::{DeviceAddr, Directory};

/// The error with which clients acknowledge a message that they will never be able to handle.
const UNHANDLED: &str = "500";

/// Why a message was not read.
pub(super) enum Failure {
    /// It was read before: the service delivered it twice.
    Duplicate,
    /// It should be sent again.
    Retry(RetryReason),
}

/// A stanza of a message, its address parts already read.
pub(super) struct Incoming<'a> {
    pub(super) node: &'a Node,
    pub(super) id: String,
    pub(super) from: Jid,
    pub(super) sender: DeviceAddr,
    /// Unix seconds.
    pub(super) t: u64,
    /// Whether it is about the account itself (`category="peer"`).
    pub(super) peer: bool,
    /// The sending device as a group names it; `from` is the group then.
    pub(super) participant: Option<Jid>,
}

impl Phone {
    /// A stanza that reaches the phone. Messages are decrypted and recorded, receipts and
    /// acknowledgements noted; the result is what the phone sends because of it: receipts,
    /// requests to send again (always with keys), messages sent again, answers to its
    /// own linked devices, acknowledgements.
    pub fn receive(&mut self, stanza: &Node, dir: &mut dyn Directory, now_ms: u64) -> Vec<Node> {
        match stanza.tag.as_ref() {
            "message" => self.on_message(stanza, dir, now_ms),
            "receipt" => {
                let mut out = self.on_receipt(stanza, dir, now_ms);
                out.extend(acknowledge(stanza, None));
                out
            }
            "ack" => {
                if attr(stanza, "class").as_deref() == Some("message")
                    && let Some(id) = attr(stanza, "id")
                {
                    let error = attr(stanza, "error").and_then(|code| code.parse().ok());
                    self.inbox.acked(&id, error);
                }
                Vec::new()
            }
            "notification" => {
                self.on_notification(stanza, dir);
                acknowledge(stanza, None).into_iter().collect()
            }
            "call" => acknowledge(stanza, None).into_iter().collect(),
            "chatstate" => {
                self.note_chat_state(stanza, dir);
                Vec::new()
            }
            // Presence, chat states and the like ask for no answer.
            _ => Vec::new(),
        }
    }

    /// What others do in a chat, as the phone shows it.
    fn note_chat_state(&mut self, stanza: &Node, dir: &dyn Directory) {
        let Some(from) = jid_attr(stanza, "from") else {
            return;
        };
        let by = jid_attr(stanza, "participant").unwrap_or_else(|| from.clone());
        let state = if let Some(composing) = stanza.get_optional_child("composing") {
            match attr(composing, "media").as_deref() {
                Some("audio") => "recording",
                _ => "typing",
            }
        } else if stanza.get_optional_child("paused").is_some() {
            "paused"
        } else {
            return;
        };
        let number = self.addr_of(&by, dir).map(|addr| addr.number);
        self.inbox.push_chat_state(ChatState {
            chat: from.to_non_ad().to_string(),
            from: number.unwrap_or_else(|| by.user.to_string()),
            state,
        });
    }

    /// Read receipts for messages of a chat (a number or a person's JID): those named, or
    /// all that are unread.
    pub fn mark_read(&mut self, chat: &str, ids: Option<&[String]>, now_ms: u64) -> Vec<Node> {
        self.mark(chat, ids, Mark::Read, now_ms)
    }

    /// Played receipts: for the messages named, or all voice notes of the chat that were not played.
    pub fn mark_played(&mut self, chat: &str, ids: Option<&[String]>, now_ms: u64) -> Vec<Node> {
        self.mark(chat, ids, Mark::Played, now_ms)
    }

    fn mark(&mut self, chat: &str, ids: Option<&[String]>, mark: Mark, now_ms: u64) -> Vec<Node> {
        let Ok(chat) = parse_chat(chat) else {
            return Vec::new();
        };
        let kind = match mark {
            Mark::Read => "read",
            Mark::Played => "played",
        };
        let mut out = Vec::new();
        for (to, participant, ids) in self.inbox.mark(&chat, ids, mark) {
            let Some((first, rest)) = ids.split_first() else {
                continue;
            };
            let mut receipt = NodeBuilder::new("receipt")
                .attr("to", to)
                .attr("id", first)
                .attr("type", kind)
                .attr("t", now_ms / 1000);
            if let Some(author) = participant {
                receipt = receipt.attr("participant", author);
            }
            if !rest.is_empty() {
                let items = rest
                    .iter()
                    .map(|id| NodeBuilder::new("item").attr("id", id).build());
                receipt = receipt.children([NodeBuilder::new("list").children(items).build()]);
            }
            out.push(receipt.build());
        }
        out
    }

    fn on_message(&mut self, node: &Node, dir: &mut dyn Directory, now_ms: u64) -> Vec<Node> {
        let (Some(id), Some(from)) = (attr(node, "id"), jid_attr(node, "from")) else {
            return Vec::new();
        };
        let refuse = || acknowledge(node, Some(UNHANDLED)).into_iter().collect();
        let participant = match from.is_group() || from.is_status_broadcast() {
            true => jid_attr(node, "participant"),
            false => None,
        };
        let author = participant.as_ref().unwrap_or(&from);
        let Some(sender) = self.addr_of(author, dir) else {
            return refuse();
        };
        let incoming = Incoming {
            node,
            id,
            from,
            sender,
            t: attr(node, "t")
                .and_then(|t| t.parse().ok())
                .unwrap_or(now_ms / 1000),
            peer: attr(node, "category").as_deref() == Some("peer"),
            participant,
        };
        let opened = if incoming.participant.is_some() {
            self.open_group(&incoming)
        } else {
            let enc = node.get_children_by_tag("enc").find_map(|enc| {
                let kind = Kind::from_wire(&attr(enc, "type")?)?;
                (attr(enc, "v").as_deref() == Some("2")).then_some(())?;
                Some((kind, bytes_of(enc)?))
            });
            let Some((kind, cipher)) = enc else {
                return refuse();
            };
            self.open(&incoming, kind, cipher)
        };
        match opened {
            Ok(message) => self.accept(&incoming, message, dir, now_ms),
            Err(Failure::Duplicate) => {
                if self.inbox.find(&incoming.id).is_none() {
                    self.note_unread(&incoming, "key used");
                }
                let chat = incoming.from.to_non_ad();
                vec![self.delivered(&incoming, &chat)]
            }
            Err(Failure::Retry(reason)) => {
                self.note_unread(&incoming, reason.as_str());
                match self.ask_again(&incoming, reason) {
                    Some(receipt) => vec![receipt],
                    None => refuse(),
                }
            }
        }
    }

    fn note_unread(&mut self, incoming: &Incoming<'_>, reason: &'static str) {
        let sender = &incoming.sender;
        self.inbox.push_unread(Unread {
            message_id: incoming.id.clone(),
            from: Jid::pn_device(sender.number.as_str(), sender.device).to_string(),
            reason,
        });
    }

    /// Decrypts a message. A linked device that opens a session proves whose it is.
    pub(super) fn open(
        &mut self,
        incoming: &Incoming<'_>,
        kind: Kind,
        cipher: &[u8],
    ) -> Result<wa::Message, Failure> {
        let sender = &incoming.sender;
        let padded = match kind {
            Kind::PreKey => {
                let message = PreKeySignalMessage::try_from(cipher).map_err(failure)?;
                if sender.device != 0 {
                    let key = super::keys::raw(message.identity_key().public_key());
                    let proof = child_bytes(incoming.node, "device-identity")
                        .ok_or(Failure::Retry(RetryReason::AdvFailure))?;
                    if let Err(error) = self.check_device(sender, proof, &key) {
                        log::warn!("phone {}: message of {sender:?}: {error}", self.number);
                        return Err(Failure::Retry(RetryReason::AdvFailure));
                    }
                }
                self.keys
                    .decrypt_prekey(sender, &message, &mut self.rng)
                    .map_err(failure)?
            }
            Kind::Signal => self
                .keys
                .decrypt(sender, cipher, &mut self.rng)
                .map_err(failure)?,
        };
        let invalid = || Failure::Retry(RetryReason::InvalidMessage);
        let plain = MessageUtils::unpad_message_ref(&padded, 2).map_err(|_| invalid())?;
        waproto::codec::message_decode(plain).map_err(|_| invalid())
    }

    /// A message that could be read.
    fn accept(
        &mut self,
        incoming: &Incoming<'_>,
        message: wa::Message,
        dir: &mut dyn Directory,
        now_ms: u64,
    ) -> Vec<Node> {
        let own = incoming.sender.number == self.number;
        let is_story = incoming.from.is_status_broadcast();
        let mut chat = if own && !is_story {
            jid_attr(incoming.node, "recipient").unwrap_or_else(|| Jid::pn(self.number.as_str()))
        } else {
            incoming.from.to_non_ad()
        };
        if let Some(copy) = message.device_sent_message.as_option() {
            let destination = copy.destination_jid.as_deref().map(str::parse::<Jid>);
            match destination {
                // Only the own account's devices may put words into the owner's mouth.
                Some(Ok(jid)) if own => chat = jid.to_non_ad(),
                _ => {
                    return acknowledge(incoming.node, Some(UNHANDLED))
                        .into_iter()
                        .collect();
                }
            }
        }
        let message = unwrap_device_sent(message);
        let mut out = vec![self.delivered(incoming, &chat)];
        if own && let Some(protocol) = message.protocol_message.as_option() {
            out.extend(self.on_own_request(incoming.sender.device, protocol, dir));
        }
        let setting = message.protocol_message.as_option().filter(|protocol| {
            protocol.r#type == Some(wa::message::protocol_message::Type::EPHEMERAL_SETTING)
        });
        if let (Some(setting), Some(addr)) = (setting, self.addr_of(&chat, dir)) {
            let seconds = setting.ephemeral_expiration.unwrap_or(0);
            self.timers.insert(addr.number, seconds);
        }
        if let Some(mut received) = describe(&message) {
            received.media = self.fetch(incoming.node, &message, dir, now_ms);
            let author = incoming.participant.as_ref().unwrap_or(&incoming.from);
            self.read_addition(message.get_base_message(), author, &mut received, dir);
            let canonical = match self.addr_of(&chat, dir) {
                Some(addr) => Jid::pn(addr.number.as_str()),
                None => chat.clone(),
            };
            received.message_id = incoming.id.clone();
            received.from =
                Jid::pn_device(incoming.sender.number.as_str(), incoming.sender.device).to_string();
            received.chat = canonical.to_string();
            received.from_me = own;
            received.timestamp = incoming.t;
            received.wire_chat = Some(chat);
            received.wire_author = incoming.participant.clone();
            if received.chat == STORIES {
                let media = received.media.as_deref();
                received.error = received.error.or(flaw(received.kind, media));
            }
            self.check_timer(&mut received, dir);
            self.follow_change(&mut received, dir);
            self.inbox.push(received);
        }
        out
    }

    /// The receipt that says "this arrived".
    fn delivered(&self, incoming: &Incoming<'_>, chat: &Jid) -> Node {
        let receipt = NodeBuilder::new("receipt")
            .attr("to", &incoming.from)
            .attr("id", &incoming.id);
        let receipt = if let Some(author) = &incoming.participant {
            let receipt = receipt.attr("participant", author);
            if incoming.sender.number == self.number {
                receipt.attr("type", "sender")
            } else {
                receipt
            }
        } else if incoming.peer {
            receipt.attr("type", "peer_msg")
        } else if incoming.sender.number == self.number {
            receipt.attr("type", "sender").attr("recipient", chat)
        } else {
            receipt
        };
        receipt.build()
    }

    fn on_receipt(&mut self, node: &Node, dir: &mut dyn Directory, now_ms: u64) -> Vec<Node> {
        let Some(id) = attr(node, "id") else {
            return Vec::new();
        };
        let from = jid_attr(node, "participant").or_else(|| jid_attr(node, "from"));
        let Some(from) = from else {
            return Vec::new();
        };
        // A receipt of a client in the background says "inactive"; to its sender it is a delivery.
        let kind = match attr(node, "type") {
            None => "delivered".to_owned(),
            Some(kind) if kind.is_empty() || kind == "inactive" => "delivered".to_owned(),
            Some(kind) => kind,
        };
        let receipt = Receipt {
            kind: kind.clone(),
            from: from.to_string(),
            t: attr(node, "t")
                .and_then(|t| t.parse().ok())
                .unwrap_or(now_ms / 1000),
        };
        let more = node
            .get_optional_child("list")
            .into_iter()
            .flat_map(|list| {
                list.get_children_by_tag("item")
                    .filter_map(|item| attr(item, "id"))
            });
        for id in std::iter::once(id).chain(more) {
            self.inbox.receipt(&id, receipt.clone());
        }
        match kind.as_str() {
            "retry" => self.on_retry(node, &from, dir).into_iter().collect(),
            "server-error" => self.on_media_retry(node, dir, now_ms).into_iter().collect(),
            _ => Vec::new(),
        }
    }

    /// `<notification type="encrypt"><identity/>`: a contact has a new identity key, old sessions are invalid.
    fn on_notification(&mut self, node: &Node, dir: &dyn Directory) {
        if attr(node, "type").as_deref() == Some("encrypt")
            && node.get_optional_child("identity").is_some()
            && let Some(from) = jid_attr(node, "from")
            && let Some(addr) = self.addr_of(&from, dir)
            && addr.number != self.number
        {
            self.keys.forget(&addr.number);
            self.sender_keys.forget(&addr.number);
        }
    }

    /// What a linked device asks of its phone.
    fn on_own_request(
        &mut self,
        device: u16,
        protocol: &wa::message::ProtocolMessage,
        dir: &mut dyn Directory,
    ) -> Option<Node> {
        let request = protocol.app_state_sync_key_request.as_option()?;
        match self.share_keys(device, request, dir) {
            Ok(stanza) => Some(stanza),
            Err(error @ PhoneError::NoDevice(_)) => {
                log::warn!("phone {}: {error}", self.number);
                None
            }
            Err(error) => {
                log::warn!("phone {}: sharing keys: {error}", self.number);
                None
            }
        }
    }
}

/// `<ack>` for a stanza that has an id and a sender.
fn acknowledge(node: &Node, error: Option<&str>) -> Option<Node> {
    let mut ack = NodeBuilder::new("ack")
        .attr("id", attr(node, "id")?)
        .attr("to", node.attrs.get("from")?.clone())
        .attr("class", node.tag.as_ref());
    for key in ["participant", "type"] {
        if let Some(value) = node.attrs.get(key) {
            ack = ack.attr(key, value.clone());
        }
    }
    if let Some(error) = error {
        ack = ack.attr("error", error);
    }
    Some(ack.build())
}

pub(super) fn failure(error: SignalProtocolError) -> Failure {
    use SignalProtocolError as E;
    Failure::Retry(match error {
        E::DuplicatedMessage(..) => return Failure::Duplicate,
        E::SessionNotFound(_) => RetryReason::NoSession,
        E::InvalidPreKeyId | E::InvalidSignedPreKeyId => RetryReason::InvalidKeyId,
        E::BadMac(_) => RetryReason::BadMac,
        E::InvalidSessionStructure(_) => RetryReason::InvalidSession,
        E::SignatureValidationFailed => RetryReason::InvalidSignature,
        E::UntrustedIdentity(_) => RetryReason::InvalidKey,
        E::InvalidMessage(..)
        | E::InvalidProtobufEncoding
        | E::CiphertextMessageTooShort(_)
        | E::LegacyCiphertextVersion(_)
        | E::UnrecognizedCiphertextVersion(_) => RetryReason::InvalidMessage,
        _ => RetryReason::UnknownError,
    })
}
