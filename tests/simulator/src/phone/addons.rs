//! What is encrypted with another message's secret: votes, and reactions of announcement groups.
//!
//! The key is HKDF-SHA256 of the 32 bytes in `messageContextInfo.messageSecret`, with the message's id, its author's JID,
//! the JID of the person who adds to it and the name of the purpose as info. A vote and a response to an
//! event have `id 0x00 JID` as additional data of
//! AES-256-GCM, a reaction has none. JIDs are without device, both of the namespace in which the chat names people; a reader
//! that cannot open it tries both in the other namespace, and never one of each.

use rand::Rng as _;
use sha2::{Digest as _, Sha256};
use wacore::secret_enc_addon::{AadMode, AddonContext, ModificationType, derive_use_case_secret};
use wacore_binary::Jid;
use wacore_libsignal::crypto::{aes_256_gcm_decrypt, aes_256_gcm_encrypt};
use waproto::buffa::{Message as _, MessageField};
use waproto::whatsapp as wa;
use waproto::whatsapp::message::event_response_message::EventResponseType;
use waproto::whatsapp::message::{EventResponseMessage, PollVoteMessage, ReactionMessage};

use super::describe::poll_of;
use super::groups::Place;
use super::inbox::Received;
use super::outgoing::{Body, Coming, Outgoing, Target};
use super::{Phone, PhoneError};
use crate::directory::{DeviceAddr, Directory};

/// Bytes of a message's secret.
const SECRET: usize = 32;
/// Bytes of AES-GCM's nonce.
const NONCE: usize = 12;

/// An encrypted addition to a message.
#[derive(Debug, Clone)]
pub(super) struct Sealed {
    pub(super) payload: Vec<u8>,
    pub(super) nonce: Vec<u8>,
}

/// The secret that a message came with, if it is one.
pub(super) fn secret_in(message: &wa::Message) -> Option<Vec<u8>> {
    let context = message.message_context_info.as_option()?;
    let secret = context.message_secret.clone()?;
    (secret.len() == SECRET).then_some(secret)
}

/// An option as votes name it.
pub(super) fn hash_of(option: &str) -> Vec<u8> {
    Sha256::digest(option).to_vec()
}

fn aad(ctx: &AddonContext<'_>) -> Vec<u8> {
    match ctx.modification_type.aad_mode() {
        AadMode::StanzaAndSender => [
            ctx.stanza_id.as_bytes(),
            &[0],
            ctx.modification_sender.as_bytes(),
        ]
        .concat(),
        AadMode::Empty => Vec::new(),
    }
}

impl Phone {
    /// Encrypts the addition that a person makes to a message, if it is one that is encrypted.
    ///
    /// # Errors
    /// [`PhoneError::BadAddition`] for what phones do not allow, unless it is forged.
    pub(super) fn seal_addition(
        &mut self,
        out: &Outgoing,
        target: &Target,
        place: &Place,
        dir: &dyn Directory,
        now_ms: u64,
    ) -> Result<Option<Sealed>, PhoneError> {
        let (purpose, plain) = match &out.body {
            Body::Vote { options, .. } => {
                if out.forge.is_none() {
                    may_vote(target, options)?;
                }
                let vote = PollVoteMessage {
                    selected_options: options.iter().map(|option| hash_of(option)).collect(),
                };
                (ModificationType::PollVote, vote.encode_to_vec())
            }
            Body::Respond {
                response, guests, ..
            } => {
                if out.forge.is_none() {
                    may_respond(target, *guests)?;
                }
                let response = EventResponseMessage {
                    response: Some(wire_response(*response)),
                    timestamp_ms: i64::try_from(now_ms).ok(),
                    extra_guest_count: (*guests > 0).then(|| i32::try_from(*guests).unwrap_or(-1)),
                };
                (ModificationType::EventResponse, response.encode_to_vec())
            }
            Body::React {
                emoji,
                encrypted: true,
                ..
            } => {
                let reaction = ReactionMessage {
                    text: Some(emoji.clone()),
                    sender_timestamp_ms: i64::try_from(now_ms).ok(),
                    ..Default::default()
                };
                (ModificationType::EncReaction, reaction.encode_to_vec())
            }
            _ => return Ok(None),
        };
        let no_secret = PhoneError::BadAddition("the message has no secret");
        let secret = self.secret_of(&target.id).ok_or(no_secret)?;
        let own = self.jid_of(&self.own_addr(), &place.like, dir);
        let forge = out.forge.as_ref();
        let person = forge
            .and_then(|forge| forge.person.clone())
            .or_else(|| own.map(|jid| jid.to_string()))
            .unwrap_or_default();
        let ctx = AddonContext {
            stanza_id: &target.id,
            parent_msg_original_sender: &target.author,
            modification_sender: &person,
            modification_type: purpose,
        };
        let unusable = |_| PhoneError::BadAddition("the message's secret is none");
        let key = derive_use_case_secret(&secret, &ctx).map_err(unusable)?;
        let mut nonce = [0; NONCE];
        self.rng.fill_bytes(&mut nonce);
        let mut payload = Vec::new();
        aes_256_gcm_encrypt(&key, &nonce, &aad(&ctx), &plain, &mut payload)
            .map_err(|_| PhoneError::BadAddition("it cannot be encrypted"))?;
        if forge.is_some_and(|forge| forge.garbage) {
            self.rng.fill_bytes(&mut payload);
        }
        Ok(Some(Sealed {
            payload,
            nonce: nonce.to_vec(),
        }))
    }

    /// Reads an addition that came, and says in `received` what it is. `author` is the sending device as the chat names it.
    pub(super) fn read_addition(
        &self,
        message: &wa::Message,
        author: &Jid,
        received: &mut Received,
        dir: &dyn Directory,
    ) {
        if let Some(update) = message.poll_update_message.as_option() {
            let id = update
                .poll_creation_message_key
                .id
                .clone()
                .unwrap_or_default();
            let vote = &update.vote;
            let opened = self.open_addition(
                ModificationType::PollVote,
                &id,
                author,
                (vote.enc_payload.as_ref(), vote.enc_iv.as_ref()),
                dir,
            );
            let known = self.options_of(&id);
            match opened.and_then(|plain| PollVoteMessage::decode_from_slice(&plain).ok()) {
                Some(vote) => {
                    let name_of = |hash: &Vec<u8>| {
                        let option = known.iter().find(|option| hash_of(option) == *hash);
                        option.cloned().unwrap_or_else(|| "?".to_owned())
                    };
                    received.options = vote.selected_options.iter().map(name_of).collect();
                }
                None => received.error = Some(UNREADABLE),
            }
            received.vote_in = Some(id);
        } else if let Some(sealed) = message.enc_event_response_message.as_option() {
            let key = &sealed.event_creation_message_key;
            let id = key.id.clone().unwrap_or_default();
            let opened = self.open_addition(
                ModificationType::EventResponse,
                &id,
                author,
                (sealed.enc_payload.as_ref(), sealed.enc_iv.as_ref()),
                dir,
            );
            match opened.and_then(|plain| EventResponseMessage::decode_from_slice(&plain).ok()) {
                Some(response) => {
                    received.response = response.response.and_then(coming);
                    let guests = response.extra_guest_count;
                    received.guests = guests.and_then(|count| u32::try_from(count).ok());
                }
                None => received.error = Some(UNREADABLE),
            }
            received.response_to = Some(id);
        } else if let Some(sealed) = message.enc_reaction_message.as_option() {
            let id = sealed.target_message_key.id.clone().unwrap_or_default();
            let opened = self.open_addition(
                ModificationType::EncReaction,
                &id,
                author,
                (sealed.enc_payload.as_ref(), sealed.enc_iv.as_ref()),
                dir,
            );
            match opened.and_then(|plain| ReactionMessage::decode_from_slice(&plain).ok()) {
                Some(reaction) => received.text = reaction.text,
                None => received.error = Some(UNREADABLE),
            }
            received.reaction_to = Some(id);
        }
    }

    fn open_addition(
        &self,
        purpose: ModificationType,
        id: &str,
        person: &Jid,
        (payload, nonce): (Option<&Vec<u8>>, Option<&Vec<u8>>),
        dir: &dyn Directory,
    ) -> Option<Vec<u8>> {
        let secret = self.secret_of(id)?;
        let nonce = <[u8; NONCE]>::try_from(nonce?.as_slice()).ok()?;
        let person_addr = self.addr_of(person, dir)?;
        let author = self.author_of(id)?;
        let other = match person.is_lid() {
            true => Jid::pn(""),
            false => Jid::lid(""),
        };
        [person, &other].into_iter().find_map(|like| {
            let author = self.jid_of(&author, like, dir)?.to_non_ad().to_string();
            let person = self
                .jid_of(&person_addr, like, dir)?
                .to_non_ad()
                .to_string();
            let ctx = AddonContext {
                stanza_id: id,
                parent_msg_original_sender: &author,
                modification_sender: &person,
                modification_type: purpose,
            };
            let key = derive_use_case_secret(&secret, &ctx).ok()?;
            let mut plain = Vec::new();
            aes_256_gcm_decrypt(&key, &nonce, &aad(&ctx), payload?, &mut plain).ok()?;
            Some(plain)
        })
    }

    /// The secret of a message, sent or received.
    pub(super) fn secret_of(&self, id: &str) -> Option<Vec<u8>> {
        match self.outbound.get(id) {
            Some(outbound) => secret_in(&outbound.message),
            None => self.inbox.find(id)?.secret.clone(),
        }
    }

    fn author_of(&self, id: &str) -> Option<DeviceAddr> {
        if self.inbox.find_sent(id).is_some() {
            return Some(self.own_addr());
        }
        let from: Jid = self.inbox.find(id)?.from.parse().ok()?;
        Some(DeviceAddr {
            number: from.user.to_string(),
            device: 0,
        })
    }

    /// The options of a poll, sent or received.
    fn options_of(&self, id: &str) -> Vec<String> {
        let content = match self.outbound.get(id) {
            Some(outbound) => Some(&outbound.message),
            None => self.inbox.find(id).and_then(|it| it.content.as_deref()),
        };
        content.and_then(poll_of).map(options).unwrap_or_default()
    }
}

const UNREADABLE: &str = "cannot be decrypted";

pub(super) fn options(poll: &wa::message::PollCreationMessage) -> Vec<String> {
    let names = poll.options.iter();
    names
        .filter_map(|option| option.option_name.clone())
        .collect()
}

/// Phones offer the poll's own options alone, and at most as many choices as the poll allows.
fn may_vote(target: &Target, chosen: &[String]) -> Result<(), PhoneError> {
    let poll = target.content.as_deref().and_then(poll_of);
    let poll = poll.ok_or(PhoneError::BadAddition("the message is no poll"))?;
    let known = options(poll);
    if !chosen.iter().all(|option| known.contains(option)) {
        return Err(PhoneError::BadAddition("the poll has no such option"));
    }
    let most = poll.selectable_options_count.unwrap_or(0) as usize;
    match most == 0 || chosen.len() <= most {
        true => Ok(()),
        false => Err(PhoneError::BadAddition("so many options cannot be chosen")),
    }
}

/// Phones offer extra guests where the event allows them, and no response to what does not take place.
fn may_respond(target: &Target, guests: u32) -> Result<(), PhoneError> {
    let event = target.content.as_deref();
    let event = event.and_then(|content| content.event_message.as_option());
    let event = event.ok_or(PhoneError::BadAddition("the message is no event"))?;
    if event.is_canceled == Some(true) {
        return Err(PhoneError::BadAddition("the event is cancelled"));
    }
    match guests == 0 || event.extra_guests_allowed == Some(true) {
        true => Ok(()),
        false => Err(PhoneError::BadAddition("the event allows no guests")),
    }
}

pub(super) fn wire_response(response: Coming) -> EventResponseType {
    match response {
        Coming::Going => EventResponseType::GOING,
        Coming::NotGoing => EventResponseType::NOT_GOING,
        Coming::Maybe => EventResponseType::MAYBE,
    }
}

fn coming(response: EventResponseType) -> Option<Coming> {
    match response {
        EventResponseType::GOING => Some(Coming::Going),
        EventResponseType::NOT_GOING => Some(Coming::NotGoing),
        EventResponseType::MAYBE => Some(Coming::Maybe),
        EventResponseType::UNKNOWN => None,
    }
}

/// The message that carries an addition. `key` names the message that it is about, `target`.
pub(super) fn carrier(
    body: &Body,
    target: &Target,
    mut key: MessageField<wa::MessageKey>,
    sealed: &Sealed,
    now_ms: u64,
) -> wa::Message {
    let (payload, nonce) = (Some(sealed.payload.clone()), Some(sealed.nonce.clone()));
    match body {
        Body::Vote { .. } => wa::Message {
            poll_update_message: MessageField::some(wa::message::PollUpdateMessage {
                poll_creation_message_key: key,
                vote: MessageField::some(wa::message::PollEncValue {
                    enc_payload: payload,
                    enc_iv: nonce,
                }),
                sender_timestamp_ms: i64::try_from(now_ms).ok(),
                ..Default::default()
            }),
            ..Default::default()
        },
        Body::Respond { .. } => wa::Message {
            enc_event_response_message: MessageField::some(wa::message::EncEventResponseMessage {
                event_creation_message_key: key,
                enc_payload: payload,
                enc_iv: nonce,
            }),
            ..Default::default()
        },
        _ => {
            // The readers need the author's JID to open it: it is named also where the key would not.
            if let Some(key) = key.as_option_mut()
                && key.participant.is_none()
            {
                key.participant = Some(target.author.clone());
            }
            wa::Message {
                enc_reaction_message: MessageField::some(wa::message::EncReactionMessage {
                    target_message_key: key,
                    enc_payload: payload,
                    enc_iv: nonce,
                }),
                ..Default::default()
            }
        }
    }
}
