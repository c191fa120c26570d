//! A phone's Signal keys: the in-memory stores that libsignal's functions work on, and the few
//! operations the rest of the phone needs from them.
//!
//! One device has one entry, keyed by number and device: the phone-number form and the LID form of a
//! JID are the same Signal identity, so nothing in here knows about JIDs.

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use futures_lite::future::block_on;
use rand::rngs::StdRng;
use rand::{Rng, RngExt};
use wacore_libsignal::protocol::{
    CiphertextMessage, Direction, GenericSignedPreKey, IdentityChange, IdentityKey,
    IdentityKeyPair, IdentityKeyStore, KeyPair, PreKeyBundle, PreKeyId, PreKeyRecord,
    PreKeySignalMessage, PreKeyStore, ProtocolAddress, PublicKey, SessionRecord, SessionStore,
    SignalMessage, SignalProtocolError, SignedPreKeyId, SignedPreKeyRecord, SignedPreKeyStore,
    Timestamp, UsePQRatchet, message_decrypt_prekey, message_decrypt_signal, message_encrypt,
    process_prekey_bundle,
};

use crate::directory::{Bundle, DeviceAddr};

type Result<T> = std::result::Result<T, SignalProtocolError>;

/// How many one-time prekeys that were handed out and never used are kept.
const MAX_PREKEYS: usize = 4096;
/// The id of the only signed prekey: a phone here does not live long enough to rotate it.
const SIGNED_PREKEY_ID: u32 = 1;
/// Prekey ids travel as 24 bits.
const MAX_PREKEY_ID: u32 = 0x00ff_ffff;

/// The Signal address of a device.
fn address(addr: &DeviceAddr) -> ProtocolAddress {
    ProtocolAddress::new(&addr.number, u32::from(addr.device).into())
}

/// The two kinds of pairwise ciphertext.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `pkmsg`: opens a session.
    PreKey,
    /// `msg`: continues one.
    Signal,
}

impl Kind {
    /// The `type` of `<enc>`.
    pub(super) fn as_wire(self) -> &'static str {
        match self {
            Self::PreKey => "pkmsg",
            Self::Signal => "msg",
        }
    }

    /// Reads the `type` of `<enc>`; `None` if it is not pairwise (`skmsg`).
    pub(super) fn from_wire(kind: &str) -> Option<Self> {
        match kind {
            "pkmsg" => Some(Self::PreKey),
            "msg" => Some(Self::Signal),
            _ => None,
        }
    }
}

/// Everything Signal that one phone owns.
pub(super) struct Keys {
    identities: Identities,
    prekeys: PreKeys,
    signed: Signed,
    sessions: Sessions,
}

impl Keys {
    /// A fresh identity, registration id and signed prekey.
    pub(super) fn generate(rng: &mut StdRng, now_ms: u64) -> Result<Self> {
        let own = IdentityKeyPair::generate(rng);
        // Registration ids are 14 bits and not 0.
        let registration_id = rng.random_range(1..=0x3fff);
        let pair = KeyPair::generate(rng);
        let signature = own
            .private_key()
            .calculate_signature(&pair.public_key.serialize(), rng)?;
        let record = SignedPreKeyRecord::new(
            SIGNED_PREKEY_ID.into(),
            Timestamp::from_epoch_millis(now_ms),
            &pair,
            &signature,
        );
        Ok(Self {
            identities: Identities {
                own,
                registration_id,
                known: HashMap::new(),
            },
            prekeys: PreKeys {
                next: rng.random_range(1..=0xffff),
                records: BTreeMap::new(),
            },
            signed: Signed {
                record,
                public: pair.public_key,
                signature,
            },
            sessions: Sessions(HashMap::new()),
        })
    }

    /// The identity key pair; on a primary device it is also the account's ADV key.
    pub(super) fn identity(&self) -> &IdentityKeyPair {
        &self.identities.own
    }

    /// The identity's public key without its type byte.
    pub(super) fn identity_bytes(&self) -> [u8; 32] {
        raw(self.identities.own.public_key())
    }

    /// The registration id.
    pub(super) fn registration_id(&self) -> u32 {
        self.identities.registration_id
    }

    /// What the service hands out for this phone, with a one-time prekey made for the occasion.
    pub(super) fn bundle(&mut self, rng: &mut StdRng) -> Bundle {
        let (id, key) = self.prekeys.make(rng);
        Bundle {
            registration_id: self.identities.registration_id,
            identity: self.identity_bytes(),
            signed: (
                SIGNED_PREKEY_ID,
                raw(&self.signed.public),
                self.signed.signature,
            ),
            one_time: Some((id, raw(&key))),
            device_identity: None,
        }
    }

    /// The identity key last seen for a device.
    pub(super) fn identity_of(&self, addr: &DeviceAddr) -> Option<[u8; 32]> {
        self.identities
            .known
            .get(address(addr).as_str())
            .map(|key| raw(key.public_key()))
    }

    /// Remembers a device's identity key (the account key that came with a linked device's
    /// identity, before any session with the phone itself exists).
    pub(super) fn learn_identity(&mut self, addr: &DeviceAddr, key: &[u8; 32]) -> Result<()> {
        let key = IdentityKey::new(PublicKey::from_djb_public_key_bytes(key)?);
        self.identities
            .known
            .insert(address(addr).as_str().to_owned(), key);
        Ok(())
    }

    /// Whether a session with a device exists that can encrypt.
    pub(super) fn has_session(&self, addr: &DeviceAddr) -> bool {
        self.sessions
            .0
            .get(address(addr).as_str())
            .is_some_and(|record| record.session_state().is_some())
    }

    /// The registration id the peer had when the session was opened.
    pub(super) fn session_registration(&self, addr: &DeviceAddr) -> Option<u32> {
        self.sessions
            .0
            .get(address(addr).as_str())?
            .remote_registration_id()
            .ok()
    }

    /// Forgets the session with one device.
    pub(super) fn drop_session(&mut self, addr: &DeviceAddr) {
        self.sessions.0.remove(address(addr).as_str());
    }

    /// Forgets all sessions; the identities stay.
    pub(super) fn drop_sessions(&mut self) {
        self.sessions.0.clear();
    }

    /// Forgets the sessions with and the identities of all devices of a number.
    pub(super) fn forget(&mut self, number: &str) {
        let theirs = |key: &str| key.rsplit_once('.').is_some_and(|(name, _)| name == number);
        self.sessions.0.retain(|key, _| !theirs(key));
        self.identities.known.retain(|key, _| !theirs(key));
    }

    /// Opens a session from a bundle. Fails when the signed prekey's signature is wrong.
    pub(super) fn open_session(
        &mut self,
        addr: &DeviceAddr,
        bundle: &Bundle,
        rng: &mut StdRng,
    ) -> Result<()> {
        let one_time = match bundle.one_time {
            Some((id, key)) => Some((
                PreKeyId::from(id),
                PublicKey::from_djb_public_key_bytes(&key)?,
            )),
            None => None,
        };
        let (id, key, signature) = &bundle.signed;
        let theirs = PreKeyBundle::new(
            bundle.registration_id,
            u32::from(addr.device).into(),
            one_time,
            SignedPreKeyId::from(*id),
            PublicKey::from_djb_public_key_bytes(key)?,
            signature.to_vec(),
            IdentityKey::new(PublicKey::from_djb_public_key_bytes(&bundle.identity)?),
        )?;
        // The stores are in memory: none of libsignal's futures ever waits.
        block_on(process_prekey_bundle(
            &address(addr),
            &mut self.sessions,
            &mut self.identities,
            &theirs,
            rng,
            UsePQRatchet::No,
        ))?;
        Ok(())
    }

    /// Encrypts for one device with which a session exists.
    pub(super) fn encrypt(&mut self, addr: &DeviceAddr, plain: &[u8]) -> Result<(Kind, Vec<u8>)> {
        let sealed = block_on(message_encrypt(
            plain,
            &address(addr),
            &mut self.sessions,
            &mut self.identities,
        ))?;
        match sealed {
            CiphertextMessage::PreKeySignalMessage(m) => {
                Ok((Kind::PreKey, m.serialized().to_vec()))
            }
            CiphertextMessage::SignalMessage(m) => Ok((Kind::Signal, m.serialized().to_vec())),
            CiphertextMessage::SenderKeyMessage(_) | CiphertextMessage::PlaintextContent(_) => {
                Err(SignalProtocolError::InvalidArgument(
                    "a pairwise session made a message of another kind".to_owned(),
                ))
            }
        }
    }

    /// Decrypts a `pkmsg`; the one-time prekey it names is gone afterwards.
    pub(super) fn decrypt_prekey(
        &mut self,
        addr: &DeviceAddr,
        message: &PreKeySignalMessage,
        rng: &mut StdRng,
    ) -> Result<Vec<u8>> {
        let opened = block_on(message_decrypt_prekey(
            message,
            &address(addr),
            &mut self.sessions,
            &mut self.identities,
            &mut self.prekeys,
            &self.signed,
            rng,
            UsePQRatchet::No,
        ))?;
        if let Some(id) = opened.consumed_prekey_id {
            self.prekeys.records.remove(&u32::from(id));
        }
        Ok(opened.plaintext)
    }

    /// Decrypts a `msg`.
    pub(super) fn decrypt(
        &mut self,
        addr: &DeviceAddr,
        cipher: &[u8],
        rng: &mut StdRng,
    ) -> Result<Vec<u8>> {
        let message = SignalMessage::try_from(cipher)?;
        let opened = block_on(message_decrypt_signal(
            &message,
            &address(addr),
            &mut self.sessions,
            &mut self.identities,
            rng,
        ))?;
        Ok(opened.plaintext)
    }
}

/// A public key without its type byte.
pub(super) fn raw(key: &PublicKey) -> [u8; 32] {
    let mut out = [0; 32];
    // libsignal keeps 32 bytes; the slice form is only its signature.
    out.copy_from_slice(key.public_key_bytes());
    out
}

struct Identities {
    own: IdentityKeyPair,
    registration_id: u32,
    known: HashMap<String, IdentityKey>,
}

#[async_trait]
impl IdentityKeyStore for Identities {
    async fn get_identity_key_pair(&self) -> Result<IdentityKeyPair> {
        Ok(self.own.clone())
    }

    async fn get_local_registration_id(&self) -> Result<u32> {
        Ok(self.registration_id)
    }

    async fn save_identity(
        &mut self,
        address: &ProtocolAddress,
        identity: &IdentityKey,
    ) -> Result<IdentityChange> {
        let old = self.known.insert(address.as_str().to_owned(), *identity);
        Ok(match old {
            Some(old) if old != *identity => IdentityChange::ReplacedExisting,
            _ => IdentityChange::NewOrUnchanged,
        })
    }

    /// Always: people get new phones, and WhatsApp then shows a notice instead of refusing.
    async fn is_trusted_identity(
        &self,
        _address: &ProtocolAddress,
        _identity: &IdentityKey,
        _direction: Direction,
    ) -> Result<bool> {
        Ok(true)
    }

    async fn get_identity(&self, address: &ProtocolAddress) -> Result<Option<IdentityKey>> {
        Ok(self.known.get(address.as_str()).copied())
    }
}

struct PreKeys {
    next: u32,
    records: BTreeMap<u32, PreKeyRecord>,
}

impl PreKeys {
    fn make<R: Rng + rand::CryptoRng>(&mut self, rng: &mut R) -> (u32, PublicKey) {
        while self.records.len() >= MAX_PREKEYS {
            self.records.pop_first();
        }
        let id = self.next;
        self.next = if id >= MAX_PREKEY_ID { 1 } else { id + 1 };
        let pair = KeyPair::generate(rng);
        self.records.insert(id, PreKeyRecord::new(id.into(), &pair));
        (id, pair.public_key)
    }
}

#[async_trait]
impl PreKeyStore for PreKeys {
    async fn get_pre_key(&self, id: PreKeyId) -> Result<PreKeyRecord> {
        self.records
            .get(&u32::from(id))
            .cloned()
            .ok_or(SignalProtocolError::InvalidPreKeyId)
    }

    async fn save_pre_key(&mut self, id: PreKeyId, record: &PreKeyRecord) -> Result<()> {
        self.records.insert(id.into(), record.clone());
        Ok(())
    }

    async fn remove_pre_key(&mut self, id: PreKeyId) -> Result<()> {
        self.records.remove(&u32::from(id));
        Ok(())
    }
}

struct Signed {
    record: SignedPreKeyRecord,
    public: PublicKey,
    signature: [u8; 64],
}

#[async_trait]
impl SignedPreKeyStore for Signed {
    async fn get_signed_pre_key(&self, id: SignedPreKeyId) -> Result<SignedPreKeyRecord> {
        if u32::from(id) == SIGNED_PREKEY_ID {
            Ok(self.record.clone())
        } else {
            Err(SignalProtocolError::InvalidSignedPreKeyId)
        }
    }

    async fn save_signed_pre_key(
        &mut self,
        _id: SignedPreKeyId,
        record: &SignedPreKeyRecord,
    ) -> Result<()> {
        self.record = record.clone();
        Ok(())
    }
}

struct Sessions(HashMap<String, SessionRecord>);

#[async_trait]
impl SessionStore for Sessions {
    async fn load_session(&self, address: &ProtocolAddress) -> Result<Option<SessionRecord>> {
        Ok(self.0.get(address.as_str()).cloned())
    }

    async fn has_session(&self, address: &ProtocolAddress) -> Result<bool> {
        Ok(self.0.contains_key(address.as_str()))
    }

    async fn store_session(
        &mut self,
        address: &ProtocolAddress,
        record: SessionRecord,
    ) -> Result<()> {
        self.0.insert(address.as_str().to_owned(), record);
        Ok(())
    }
}
