//! The responder of WhatsApp's Noise handshake, and the frames after it. No I/O.
//!
//! A first connection uses XX. A client that remembers the server's static key tries IK; when that
//! key is stale, the server cannot decrypt the attempt and answers as in XX, with its new static key,
//! and both go on with the XXfallback pattern over the ephemeral key that is already on the wire.

use bytes::{Buf, BytesMut};
use thiserror::Error;
use wacore_binary::consts::{
    NOISE_PATTERN_IK, NOISE_PATTERN_XX, NOISE_PATTERN_XXFALLBACK, WA_CONN_HEADER,
};
use wacore_binary::{Node, marshal};
use wacore_libsignal::protocol::KeyPair;
use wacore_noise::framing::{FrameDecoder, append_frame_into};
use wacore_noise::{HandshakeError, NoiseCipher, NoiseError, NoiseHandshake};
use waproto::buffa::{Message as _, MessageField};
use waproto::whatsapp::{HandshakeMessage, handshake_message};

use crate::certs::{NoiseIdentity, key_bytes};

/// What precedes the WhatsApp header when a client was given routing information: `ED`, version 0.1,
/// then three bytes of length and the information itself.
const ROUTING_MAGIC: &[u8; 4] = b"ED\x00\x01";
const ROUTING_HEAD: usize = 7;
/// Routing information is a few bytes; a client that claims more is refused.
const MAX_ROUTING: usize = 4096;
/// Handshake frames are a few kilobytes at most; nothing larger is read from a stranger.
const MAX_HANDSHAKE: usize = 64 * 1024;

/// Why a handshake or a frame was refused. The connection is closed without a word, as WhatsApp does.
#[derive(Debug, Error)]
pub enum Refusal {
    /// The first bytes are neither the WhatsApp header nor routing information.
    #[error("the connection does not start with the WhatsApp header")]
    Header,
    /// A message of the handshake is too long.
    #[error("the handshake message is too long")]
    TooLong,
    /// A message lacks a field or has one of the wrong length.
    #[error("the handshake message has no valid {0}")]
    Missing(&'static str),
    /// A message is no protobuf.
    #[error("the handshake message does not decode")]
    Decode,
    /// A handshake message does not decrypt.
    #[error("handshake: {0}")]
    Handshake(#[from] HandshakeError),
    /// A frame does not decrypt, or its counter ran out.
    #[error("frame: {0}")]
    Frame(#[from] NoiseError),
    /// A frame does not decode to a stanza.
    #[error("stanza: {0}")]
    Stanza(String),
}

/// Splits the byte stream of a connection into frames, after checking what precedes them.
#[derive(Default)]
pub struct Frames {
    head: Vec<u8>,
    headed: bool,
    decoder: Option<FrameDecoder>,
}

impl Frames {
    /// Feeds received bytes.
    ///
    /// # Errors
    /// When the stream does not start as WhatsApp's does.
    pub fn feed(&mut self, data: &[u8]) -> Result<(), Refusal> {
        if self.headed {
            self.decoder
                .get_or_insert_with(FrameDecoder::new)
                .feed(data);
            return Ok(());
        }
        self.head.extend_from_slice(data);
        let Some(used) = prelude_len(&self.head)? else {
            return Ok(());
        };
        self.headed = true;
        let head = std::mem::take(&mut self.head);
        self.decoder
            .get_or_insert_with(FrameDecoder::new)
            .feed(&head[used..]);
        Ok(())
    }

    /// The next whole frame, without its length.
    pub fn next_frame(&mut self) -> Option<BytesMut> {
        self.decoder.as_mut()?.decode_frame()
    }

    /// Whether more is buffered than a handshake can need.
    ///
    /// # Errors
    /// [`Refusal::TooLong`] if so.
    pub fn check_handshake_size(&self) -> Result<(), Refusal> {
        let buffered = self.decoder.as_ref().map_or(0, FrameDecoder::buffered_len);
        if buffered + self.head.len() > MAX_HANDSHAKE {
            return Err(Refusal::TooLong);
        }
        Ok(())
    }
}

/// How many bytes precede the first frame; `None` if that is not known yet.
fn prelude_len(head: &[u8]) -> Result<Option<usize>, Refusal> {
    let starts = |bytes: &[u8], magic: &[u8]| {
        let n = bytes.len().min(magic.len());
        bytes[..n] == magic[..n]
    };
    let skip = if !head.is_empty() && starts(head, ROUTING_MAGIC) {
        if head.len() < ROUTING_HEAD {
            return Ok(None);
        }
        let len = u32::from_be_bytes([0, head[4], head[5], head[6]]) as usize;
        if len > MAX_ROUTING {
            return Err(Refusal::TooLong);
        }
        ROUTING_HEAD + len
    } else {
        0
    };
    let rest = head.get(skip..).unwrap_or_default();
    if !starts(rest, &WA_CONN_HEADER) {
        return Err(Refusal::Header);
    }
    Ok((rest.len() >= WA_CONN_HEADER.len()).then_some(skip + WA_CONN_HEADER.len()))
}

/// Which handshake a client made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pattern {
    /// The client did not know the server's key.
    Xx,
    /// The client knew it.
    Ik,
    /// The client knew an old one.
    XxFallback,
}

/// A finished handshake.
pub struct Established {
    /// The client's static key: what authenticates a device.
    pub client_static: [u8; 32],
    /// The serialized `ClientPayload`.
    pub payload: Vec<u8>,
    /// How it came about.
    pub pattern: Pattern,
    /// The stanzas that follow.
    pub transport: Transport,
}

/// The answer to a client hello.
pub enum Answer {
    /// IK: the handshake is done once this frame is sent.
    Done {
        /// The server hello, to be framed.
        hello: Vec<u8>,
        /// The connection.
        established: Box<Established>,
    },
    /// XX or the fallback: the client still has to finish.
    AwaitFinish {
        /// The server hello, to be framed.
        hello: Vec<u8>,
        /// Data for the client.
        pending: Box<PendingFinish>,
    },
}

/// Reads a client hello and answers it.
///
/// `ephemeral` must be fresh for every connection.
///
/// # Errors
/// When the hello is malformed. An IK attempt that does not decrypt is no error but a fallback.
pub fn answer_client_hello(
    identity: &NoiseIdentity,
    ephemeral: KeyPair,
    frame: &[u8],
) -> Result<Answer, Refusal> {
    let hello = HandshakeMessage::decode_from_slice(frame)
        .map_err(|_| Refusal::Decode)?
        .client_hello
        .into_option()
        .ok_or(Refusal::Missing("client hello"))?;
    let client_ephemeral = key32(hello.ephemeral.as_deref(), "ephemeral key")?;
    match (&hello.r#static, &hello.payload) {
        (Some(static_ct), Some(payload_ct)) => {
            match accept_ik(identity, &client_ephemeral, static_ct, payload_ct) {
                Ok(opened) => finish_ik(identity, &ephemeral, &client_ephemeral, opened),
                Err(_) => offer_xx(identity, ephemeral, &client_ephemeral, Pattern::XxFallback),
            }
        }
        _ => offer_xx(identity, ephemeral, &client_ephemeral, Pattern::Xx),
    }
}

struct OpenedIk {
    noise: NoiseHandshake,
    client_static: [u8; 32],
    payload: Vec<u8>,
}

fn accept_ik(
    identity: &NoiseIdentity,
    client_ephemeral: &[u8; 32],
    static_ct: &[u8],
    payload_ct: &[u8],
) -> Result<OpenedIk, Refusal> {
    let ours = identity.static_keys.private_key.serialize();
    let mut noise = NoiseHandshake::new(NOISE_PATTERN_IK, &WA_CONN_HEADER)?;
    noise.authenticate(&key_bytes(&identity.static_keys));
    noise.authenticate(client_ephemeral);
    noise.mix_shared_secret(ours, client_ephemeral)?;
    let client_static = key32(Some(&noise.decrypt(static_ct)?), "static key")?;
    noise.mix_shared_secret(ours, &client_static)?;
    let payload = noise.decrypt(payload_ct)?;
    Ok(OpenedIk {
        noise,
        client_static,
        payload,
    })
}

fn finish_ik(
    identity: &NoiseIdentity,
    ephemeral: &KeyPair,
    client_ephemeral: &[u8; 32],
    opened: OpenedIk,
) -> Result<Answer, Refusal> {
    let mut noise = opened.noise;
    let ours = ephemeral.private_key.serialize();
    let public = key_bytes(ephemeral);
    noise.authenticate(&public);
    noise.mix_shared_secret(ours, client_ephemeral)?;
    noise.mix_shared_secret(ours, &opened.client_static)?;
    let chain = noise.encrypt(&identity.chain)?;
    let hello = server_hello(&public, None, chain);
    Ok(Answer::Done {
        hello,
        established: Box::new(Established {
            client_static: opened.client_static,
            payload: opened.payload,
            pattern: Pattern::Ik,
            transport: Transport::new(noise)?,
        }),
    })
}

fn offer_xx(
    identity: &NoiseIdentity,
    ephemeral: KeyPair,
    client_ephemeral: &[u8; 32],
    pattern: Pattern,
) -> Result<Answer, Refusal> {
    let name = match pattern {
        Pattern::XxFallback => NOISE_PATTERN_XXFALLBACK,
        Pattern::Xx | Pattern::Ik => NOISE_PATTERN_XX,
    };
    let mut noise = NoiseHandshake::new(name, &WA_CONN_HEADER)?;
    let public = key_bytes(&ephemeral);
    noise.authenticate(client_ephemeral);
    noise.authenticate(&public);
    noise.mix_shared_secret(ephemeral.private_key.serialize(), client_ephemeral)?;
    let static_ct = noise.encrypt(&key_bytes(&identity.static_keys))?;
    noise.mix_shared_secret(
        identity.static_keys.private_key.serialize(),
        client_ephemeral,
    )?;
    let chain = noise.encrypt(&identity.chain)?;
    Ok(Answer::AwaitFinish {
        hello: server_hello(&public, Some(static_ct), chain),
        pending: Box::new(PendingFinish {
            noise,
            ephemeral,
            pattern,
        }),
    })
}

/// An XX handshake that waits for the client's last message.
pub struct PendingFinish {
    noise: NoiseHandshake,
    ephemeral: KeyPair,
    pattern: Pattern,
}

impl PendingFinish {
    /// Reads the client finish.
    ///
    /// # Errors
    /// When it is malformed or does not decrypt.
    pub fn finish(mut self, frame: &[u8]) -> Result<Established, Refusal> {
        let finish = HandshakeMessage::decode_from_slice(frame)
            .map_err(|_| Refusal::Decode)?
            .client_finish
            .into_option()
            .ok_or(Refusal::Missing("client finish"))?;
        let static_ct = finish.r#static.ok_or(Refusal::Missing("static key"))?;
        let payload_ct = finish.payload.ok_or(Refusal::Missing("payload"))?;
        let client_static = key32(Some(&self.noise.decrypt(&static_ct)?), "static key")?;
        self.noise
            .mix_shared_secret(self.ephemeral.private_key.serialize(), &client_static)?;
        let payload = self.noise.decrypt(&payload_ct)?;
        Ok(Established {
            client_static,
            payload,
            pattern: self.pattern,
            transport: Transport::new(self.noise)?,
        })
    }
}

fn server_hello(ephemeral: &[u8; 32], static_ct: Option<Vec<u8>>, chain: Vec<u8>) -> Vec<u8> {
    HandshakeMessage {
        server_hello: MessageField::some(handshake_message::ServerHello {
            ephemeral: Some(ephemeral.to_vec()),
            r#static: static_ct,
            payload: Some(chain),
            ..Default::default()
        }),
        ..Default::default()
    }
    .encode_to_vec()
}

fn key32(bytes: Option<&[u8]>, what: &'static str) -> Result<[u8; 32], Refusal> {
    bytes
        .and_then(|b| <[u8; 32]>::try_from(b).ok())
        .ok_or(Refusal::Missing(what))
}

/// The two directions of an established connection. Every frame has the next counter of its
/// direction, so both halves must be used in the order of the wire.
pub struct Transport {
    /// Client to service.
    pub opener: Opener,
    /// Service to client.
    pub sealer: Sealer,
}

impl Transport {
    fn new(noise: NoiseHandshake) -> Result<Transport, Refusal> {
        // The first key is the initiator's to write with.
        let (from_client, to_client) = noise.finish()?;
        Ok(Transport {
            opener: Opener {
                cipher: from_client,
                counter: 0,
            },
            sealer: Sealer {
                cipher: to_client,
                counter: 0,
            },
        })
    }
}

/// Decrypts what the client sends.
pub struct Opener {
    cipher: NoiseCipher,
    counter: u32,
}

impl Opener {
    /// Decrypts and decodes one frame.
    ///
    /// # Errors
    /// When the frame does not authenticate, or is no stanza.
    pub fn open(&mut self, mut frame: BytesMut) -> Result<Node, Refusal> {
        let counter = self.counter;
        self.counter = counter.checked_add(1).ok_or(NoiseError::CounterExhausted)?;
        self.cipher
            .decrypt_in_place_with_counter(counter, &mut frame)?;
        let bytes =
            wacore_binary::util::unpack_bytes(frame).map_err(|e| Refusal::Stanza(e.to_string()))?;
        let node =
            marshal::unmarshal_ref(bytes.chunk()).map_err(|e| Refusal::Stanza(e.to_string()))?;
        Ok(node.to_owned())
    }
}

/// Encrypts what the client gets.
pub struct Sealer {
    cipher: NoiseCipher,
    counter: u32,
}

impl Sealer {
    /// Encodes, encrypts and frames one stanza, appending to `out`.
    ///
    /// # Errors
    /// When the stanza cannot be encoded, is longer than a frame may be, or counters ran out.
    pub fn seal_into(&mut self, node: &Node, out: &mut Vec<u8>) -> Result<(), Refusal> {
        let mut plain = marshal::marshal(node).map_err(|e| Refusal::Stanza(e.to_string()))?;
        let counter = self.counter;
        self.counter = counter.checked_add(1).ok_or(NoiseError::CounterExhausted)?;
        self.cipher
            .encrypt_in_place_with_counter(counter, &mut plain)?;
        append_frame_into(&plain, None, out).map_err(|e| Refusal::Stanza(e.to_string()))
    }
}

/// Frames one handshake message.
///
/// # Errors
/// When it is longer than a frame may be.
pub fn frame(message: &[u8]) -> Result<Vec<u8>, Refusal> {
    let mut out = Vec::with_capacity(message.len() + 3);
    append_frame_into(message, None, &mut out).map_err(|e| Refusal::Stanza(e.to_string()))?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prelude_may_arrive_byte_by_byte() {
        let mut wire = b"ED\x00\x01\x00\x00\x02hi".to_vec();
        wire.extend_from_slice(&WA_CONN_HEADER);
        wire.extend_from_slice(&[0, 0, 1, 42]);
        let mut frames = Frames::default();
        for byte in wire {
            frames.feed(&[byte]).expect("a valid prelude");
        }
        assert_eq!(frames.next_frame().as_deref(), Some(&[42u8][..]));
    }

    #[test]
    fn another_protocol_is_refused() {
        assert!(matches!(
            Frames::default().feed(b"GET /"),
            Err(Refusal::Header)
        ));
    }

    #[test]
    fn several_frames_in_one_read_are_all_returned() {
        let mut wire = WA_CONN_HEADER.to_vec();
        wire.extend_from_slice(&[0, 0, 1, 1, 0, 0, 1, 2]);
        let mut frames = Frames::default();
        frames.feed(&wire).expect("a valid prelude");
        assert_eq!(frames.next_frame().as_deref(), Some(&[1u8][..]));
        assert_eq!(frames.next_frame().as_deref(), Some(&[2u8][..]));
        assert!(frames.next_frame().is_none());
    }
}
