//! Linking by phone code, the phone's side of wacore's `pair_code`.
//!
//! Both sides make an ephemeral key pair and send its public half encrypted with a key derived from
//! the eight characters of the code (PBKDF2, AES-256-CTR). The companion then sends its identity and
//! 32 random bytes under the shared secret (HKDF, AES-256-GCM), and both derive the ADV secret that a QR
//! code would have carried.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rand::Rng as _;
use wacore::crypto::hkdf_sha256_into;
use wacore::pair_code::PairCodeUtils;
use wacore_binary::Node;
use wacore_binary::builder::NodeBuilder;
use wacore_libsignal::crypto::aes_256_gcm_decrypt;
use wacore_libsignal::protocol::{KeyPair, PublicKey};

use super::{Phone, PhoneError, Scan, child_bytes};

/// Salt, IV and an encrypted public key.
const WRAPPED_KEY: usize = 32 + 16 + 32;
/// Salt, nonce, three times 32 bytes, and the GCM tag.
const WRAPPED_BUNDLE: usize = 32 + 12 + 96 + 16;

/// A code that was typed and whose companion has not finished yet.
pub(super) struct PendingCode {
    reference: Vec<u8>,
    noise_key: [u8; 32],
    ephemeral: KeyPair,
    companion_ephemeral: PublicKey,
}

impl Phone {
    /// The person types `code`. `hello` is the companion's `<link_code_companion_reg
    /// stage="companion_hello">`, `reference` what the service answered it with. The result is the
    /// `<link_code_companion_reg stage="primary_hello">` for the companion.
    ///
    /// Derives a key twice with 2^17 rounds of PBKDF2: tens of milliseconds of CPU.
    ///
    /// # Errors
    /// [`PhoneError::BadLinkCode`] if the element is not a hello, [`PhoneError::WrongCode`] if the code
    /// cannot be one. A code that merely differs shows in [`finish_code`](Self::finish_code).
    pub fn enter_code(
        &mut self,
        hello: &Node,
        reference: &[u8],
        code: &str,
    ) -> Result<Node, PhoneError> {
        let code: String = code
            .chars()
            .filter(|c| !c.is_whitespace() && *c != '-')
            .map(|c| c.to_ascii_uppercase())
            .collect();
        if !PairCodeUtils::validate_code(&code) {
            return Err(PhoneError::WrongCode);
        }
        let wrapped = child_bytes(hello, "link_code_pairing_wrapped_companion_ephemeral_pub")
            .filter(|bytes| bytes.len() == WRAPPED_KEY)
            .ok_or(PhoneError::BadLinkCode("no wrapped ephemeral key"))?;
        let noise_key = child_bytes(hello, "companion_server_auth_key_pub")
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or(PhoneError::BadLinkCode("no Noise key"))?;
        let companion_ephemeral = unwrap_key(wrapped, &code)?;

        let ephemeral = KeyPair::generate(&mut self.rng);
        let mut reply = [0; WRAPPED_KEY];
        self.rng.fill_bytes(&mut reply[..48]);
        reply[48..].copy_from_slice(ephemeral.public_key.public_key_bytes());
        // CTR mode is its own inverse: "decrypting" the plain key encrypts it.
        let sealed = unwrap_key(&reply, &code)?;
        reply[48..].copy_from_slice(&sealed);

        self.code = Some(PendingCode {
            reference: reference.to_vec(),
            noise_key,
            ephemeral,
            companion_ephemeral: PublicKey::from_djb_public_key_bytes(&companion_ephemeral)?,
        });
        Ok(NodeBuilder::new("link_code_companion_reg")
            .attr("stage", "primary_hello")
            .children([
                NodeBuilder::new("link_code_pairing_ref")
                    .bytes(reference)
                    .build(),
                NodeBuilder::new("primary_identity_pub")
                    .bytes(self.keys.identity_bytes())
                    .build(),
                NodeBuilder::new("link_code_pairing_wrapped_primary_ephemeral_pub")
                    .bytes(reply)
                    .build(),
            ])
            .build())
    }

    /// The companion's `<link_code_companion_reg stage="companion_finish">`: opens its key bundle and
    /// signs an identity for it as `device`. The code is consumed in any case.
    ///
    /// # Errors
    /// [`PhoneError::WrongCode`] if the bundle does not open, [`PhoneError::BadLinkCode`] if no code was
    /// typed for it or it contradicts itself.
    pub fn finish_code(
        &mut self,
        finish: &Node,
        device: u16,
        now_ms: u64,
    ) -> Result<Scan, PhoneError> {
        let pending = self
            .code
            .take()
            .ok_or(PhoneError::BadLinkCode("no code was typed"))?;
        let reference = child_bytes(finish, "link_code_pairing_ref")
            .ok_or(PhoneError::BadLinkCode("no reference"))?;
        if reference != pending.reference {
            return Err(PhoneError::BadLinkCode("another reference"));
        }
        let identity: [u8; 32] = child_bytes(finish, "companion_identity_public")
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or(PhoneError::BadLinkCode("no identity key"))?;
        let wrapped = child_bytes(finish, "link_code_pairing_wrapped_key_bundle")
            .filter(|bytes| bytes.len() == WRAPPED_BUNDLE)
            .ok_or(PhoneError::BadLinkCode("no wrapped key bundle"))?;

        let shared = pending
            .ephemeral
            .calculate_agreement(&pending.companion_ephemeral)?;
        let bundle = open_bundle(wrapped, &shared)?;
        let (theirs, rest) = bundle.split_at(32);
        let (ours, random) = rest.split_at(32);
        if theirs != identity || ours != self.keys.identity_bytes() {
            return Err(PhoneError::BadLinkCode("the bundle names other keys"));
        }
        let identity_shared = self
            .keys
            .identity()
            .private_key()
            .calculate_agreement(&PublicKey::from_djb_public_key_bytes(&identity)?)?;
        let mut secret = [0; 32];
        let material = [&shared[..], &identity_shared, random].concat();
        hkdf_sha256_into(&material, None, b"adv_secret", &mut secret)
            .map_err(|_| PhoneError::BadLinkCode("key derivation"))?;
        let (pair_success_identity, key_index) =
            self.sign_identity(device, &identity, &secret, now_ms)?;
        Ok(Scan {
            reference: BASE64_STANDARD.encode(&pending.reference),
            noise_key: pending.noise_key,
            identity,
            pair_success_identity,
            key_index,
        })
    }
}

fn unwrap_key(wrapped: &[u8], code: &str) -> Result<[u8; 32], PhoneError> {
    // The same function for both sides' keys.
    PairCodeUtils::decrypt_primary_ephemeral_pub(wrapped, code)
        .map_err(|_| PhoneError::BadLinkCode("the wrapped key has the wrong length"))
}

fn open_bundle(wrapped: &[u8], shared: &[u8; 32]) -> Result<Vec<u8>, PhoneError> {
    let (salt, rest) = wrapped.split_at(32);
    let (nonce, sealed) = rest.split_at(12);
    let nonce: &[u8; 12] = nonce
        .try_into()
        .map_err(|_| PhoneError::BadLinkCode("nonce"))?;
    let mut key = [0; 32];
    hkdf_sha256_into(
        shared,
        Some(salt),
        b"link_code_pairing_key_bundle_encryption_key",
        &mut key,
    )
    .map_err(|_| PhoneError::BadLinkCode("key derivation"))?;
    let mut bundle = Vec::with_capacity(96);
    // With another code the two ephemeral keys differ, and so does this key.
    aes_256_gcm_decrypt(&key, nonce, b"", sealed, &mut bundle)
        .map_err(|_| PhoneError::WrongCode)?;
    Ok(bundle)
}
