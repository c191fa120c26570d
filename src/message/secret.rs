//! The secrets of polls and events, and what people encrypt with them: votes and answers.
//!
//! The sender of a poll or an event makes 32 random bytes and sends them with it, as
//! `messageContextInfo.messageSecret`. The key of a vote or an answer is derived from them, the message's id, and two
//! JIDs without a device: its sender's and the voter's (`wacore::secret_enc_addon`). So it opens only if both are
//! those that it claims to be from and about. A person has up to two JIDs, a number's and a LID; which of them a client
//! takes depends on how the chat is addressed, and may change between the poll and the vote: all known ones are tried.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::change::Change;
use super::wire::{event as event_crypto, poll as poll_crypto, wa};
use super::{Message, event, poll};

/// Bytes of a secret.
pub const SECRET: usize = 32;
/// Bytes of an encrypted vote: of 12 options it has some 430.
const PAYLOAD: usize = 4_096;
/// Bytes of AES-GCM's nonce.
const NONCE: usize = 12;

/// A new secret.
///
/// # Errors
/// When the system gives no random numbers.
pub fn new_secret() -> Result<Vec<u8>, getrandom::Error> {
    let mut secret = vec![0; SECRET];
    getrandom::fill(&mut secret)?;
    Ok(secret)
}

/// The secret that a message came with. It stands beside the content: outside of all wrappers, or within the
/// outermost.
pub fn of_message<'a>(message: &'a wa::Message, base: &'a wa::Message) -> Option<&'a [u8]> {
    [message, base].into_iter().find_map(|message| {
        let context = message.message_context_info.as_option()?;
        let secret = context.message_secret.as_deref()?;
        (secret.len() == SECRET).then_some(secret)
    })
}

/// What was encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purpose {
    Vote,
    Response,
}

/// A vote or a response as it came in.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    pub(super) purpose: Purpose,
    pub(super) payload: Vec<u8>,
    pub(super) nonce: Vec<u8>,
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Sealed({:?}, {} bytes)",
            self.purpose,
            self.payload.len()
        )
    }
}

impl Sealed {
    /// `None` for what no client sends.
    pub(super) fn new(
        purpose: Purpose,
        payload: Option<&Vec<u8>>,
        nonce: Option<&Vec<u8>>,
    ) -> Option<Sealed> {
        let (payload, nonce) = (payload?, nonce?);
        let is_sound = payload.len() <= PAYLOAD && nonce.len() == NONCE;
        is_sound.then(|| Sealed {
            purpose,
            payload: payload.clone(),
            nonce: nonce.clone(),
        })
    }

    /// The change that it is, if it is about `message`, whose sender has one of the JIDs `authors`, and is by a person
    /// with one of the JIDs `people`.
    pub fn open(&self, message: &Message, authors: &[String], people: &[String]) -> Option<Change> {
        let secret = message.secret.as_deref()?;
        let pairs = authors
            .iter()
            .flat_map(|author| people.iter().map(move |person| (author, person)));
        pairs
            .into_iter()
            .find_map(|(author, person)| match self.purpose {
                Purpose::Vote => {
                    let sealed = poll_crypto::PollVoteCiphertext {
                        enc_payload: &self.payload,
                        enc_iv: &self.nonce,
                    };
                    let id = &message.message_id;
                    let opened = poll_crypto::decrypt_poll_vote_with_secret(
                        sealed, secret, id, author, person,
                    );
                    Some(poll::vote_of(message, &opened.ok()?))
                }
                Purpose::Response => {
                    let opened = event_crypto::decrypt_event_response_with_secret(
                        &self.payload,
                        &self.nonce,
                        secret,
                        &message.message_id,
                        author,
                        person,
                    );
                    Some(event::response_of(&opened.ok()?))
                }
            })
            .flatten()
    }
}
