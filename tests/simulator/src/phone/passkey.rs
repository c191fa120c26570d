//! Linking with a passkey, the phone's side of wacore's `shortcake`.
//!
//! The companion commits to a nonce beside its ephemeral key (`ProloguePayload`), the phone answers with a key and a
//! new nonce, and the companion reveals its committed nonce. Both then show the same eight
//! characters, and the companion sends its keys and a new ADV secret under the shared key (HKDF, AES-256-GCM).

use rand::Rng as _;
use sha2::{Digest as _, Sha256};
use wacore::shortcake::ShortcakeUtils;
use wacore_libsignal::crypto::aes_256_gcm_decrypt;
use wacore_libsignal::protocol::KeyPair;
use waproto::buffa::Message as _;
use waproto::whatsapp as wa;

use super::{Phone, PhoneError, Scan};

/// The state of linking a companion with a passkey.
pub(super) struct PendingPasskey {
    ephemeral: KeyPair,
    nonce: [u8; 32],
    /// The serialized `CompanionEphemeralIdentity`.
    companion: Vec<u8>,
    companion_key: [u8; 32],
    platform: wa::device_props::PlatformType,
    reference: String,
    commitment: Vec<u8>,
    /// What the phone shows, once the companion has revealed its nonce.
    code: Option<String>,
}

impl Phone {
    /// The companion's `<prologue_payload>`, made for `reference`; gives the `PrimaryEphemeralIdentity`.
    ///
    /// # Errors
    /// [`PhoneError::BadPasskey`] if it is something else, or for another reference.
    pub fn begin_passkey(
        &mut self,
        prologue: &[u8],
        reference: &str,
    ) -> Result<Vec<u8>, PhoneError> {
        let bad = PhoneError::BadPasskey;
        let prologue = wa::ProloguePayload::decode_from_slice(prologue)
            .map_err(|_| bad("the prologue is none"))?;
        let companion = prologue
            .companion_ephemeral_identity
            .ok_or(bad("no companion identity"))?;
        let commitment = prologue
            .commitment
            .as_option()
            .and_then(|commitment| commitment.hash.clone())
            .filter(|hash| hash.len() == 32)
            .ok_or(bad("no commitment"))?;
        let identity = wa::CompanionEphemeralIdentity::decode_from_slice(&companion)
            .map_err(|_| bad("the companion identity is none"))?;
        if identity.r#ref.as_deref() != Some(reference) {
            return Err(bad("another reference"));
        }
        let companion_key = identity
            .public_key
            .and_then(|key| key.try_into().ok())
            .ok_or(bad("no companion key"))?;
        let platform = identity.device_type.ok_or(bad("no device type"))?;
        let ephemeral = KeyPair::generate(&mut self.rng);
        let mut nonce = [0; 32];
        self.rng.fill_bytes(&mut nonce);
        let answer = wa::PrimaryEphemeralIdentity {
            public_key: Some(ephemeral.public_key.public_key_bytes().to_vec()),
            nonce: Some(nonce.to_vec()),
        }
        .encode_to_vec();
        self.passkey = Some(PendingPasskey {
            ephemeral,
            nonce,
            companion,
            companion_key,
            platform,
            reference: reference.to_owned(),
            commitment,
            code: None,
        });
        Ok(answer)
    }

    /// The companion's `<companion_nonce>`. From here on the phone shows the code.
    ///
    /// # Errors
    /// [`PhoneError::BadPasskey`] if the companion has committed to another one.
    pub fn reveal_passkey(&mut self, nonce: &[u8]) -> Result<(), PhoneError> {
        let pending = self
            .passkey
            .as_mut()
            .ok_or(PhoneError::BadPasskey("no prologue"))?;
        let nonce: &[u8; 32] = nonce
            .try_into()
            .map_err(|_| PhoneError::BadPasskey("the nonce has the wrong length"))?;
        let hash = Sha256::new()
            .chain_update(&pending.companion)
            .chain_update(nonce)
            .finalize();
        if hash[..] != pending.commitment[..] {
            return Err(PhoneError::BadPasskey("another nonce was committed to"));
        }
        let own = pending.ephemeral.public_key.public_key_bytes();
        let own: &[u8; 32] = own
            .try_into()
            .map_err(|_| PhoneError::BadPasskey("own key"))?;
        let code = ShortcakeUtils::derive_verification_code(nonce, own, &pending.nonce);
        pending.code = Some(code);
        Ok(())
    }

    /// The code that the phone shows, `XXXX-XXXX`.
    pub fn passkey_code(&self) -> Option<String> {
        let code = self.passkey.as_ref()?.code.as_deref()?;
        let (left, right) = code.split_at_checked(4)?;
        Some(format!("{left}-{right}"))
    }

    /// The companion's `<encrypted_pairing_request>`: opens it and signs an identity for the companion as
    /// `device`. The exchange is over in any case.
    ///
    /// # Errors
    /// [`PhoneError::BadPasskey`] if it does not open, or came too early.
    pub fn finish_passkey(
        &mut self,
        request: &[u8],
        device: u16,
        now_ms: u64,
    ) -> Result<Scan, PhoneError> {
        let bad = PhoneError::BadPasskey;
        let pending = self.passkey.take().ok_or(bad("no prologue"))?;
        if pending.code.is_none() {
            return Err(bad("the nonce was not revealed"));
        }
        let sealed = wa::EncryptedPairingRequest::decode_from_slice(request)
            .map_err(|_| bad("the request is none"))?;
        let iv: [u8; 12] = sealed
            .iv
            .and_then(|iv| iv.try_into().ok())
            .ok_or(bad("no IV"))?;
        let key = ShortcakeUtils::derive_encryption_key(
            &pending.ephemeral,
            &pending.companion_key,
            pending.platform,
            &pending.reference,
        )
        .map_err(|_| bad("key derivation"))?;
        let mut plain = Vec::new();
        let payload = sealed.encrypted_payload.unwrap_or_default();
        aes_256_gcm_decrypt(&key, &iv, b"", &payload, &mut plain)
            .map_err(|_| bad("the request does not open"))?;
        let request = wa::PairingRequest::decode_from_slice(&plain)
            .map_err(|_| bad("the request holds something else"))?;
        let array = |bytes: Option<Vec<u8>>| bytes.and_then(|bytes| bytes.try_into().ok());
        let noise_key: [u8; 32] = array(request.companion_public_key).ok_or(bad("no Noise key"))?;
        let identity: [u8; 32] =
            array(request.companion_identity_key).ok_or(bad("no identity key"))?;
        let secret: [u8; 32] = array(request.adv_secret).ok_or(bad("no secret"))?;
        let (pair_success_identity, key_index) =
            self.sign_identity(device, &identity, &secret, now_ms)?;
        Ok(Scan {
            reference: pending.reference,
            noise_key,
            identity,
            pair_success_identity,
            key_index,
        })
    }
}
