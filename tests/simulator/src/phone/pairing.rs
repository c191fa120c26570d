//! Linking devices, the phone's side: the identity it signs for a companion, the companion's
//! countersignature, and the signed list of the devices that are still linked.
//!
//! The formats are ADV's (`ADVSignedDeviceIdentity` and friends); wacore's `pair` and `adv` modules are
//! the companion's side of the same exchange.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use wacore_libsignal::crypto::hmac_sha256;
use wacore_libsignal::protocol::PublicKey;
use waproto::buffa::Message as _;
use waproto::whatsapp as wa;

use super::{Phone, PhoneError};

const ACCOUNT_SIGNATURE: [u8; 2] = [6, 0];
/// In the place of [`ACCOUNT_SIGNATURE`] where the signed details say that the device is hosted; also in front
/// of the authenticated data if the account is.
const HOSTED_ACCOUNT_SIGNATURE: [u8; 2] = [6, 5];
/// Of the companion's own signature, hosted or not.
const DEVICE_SIGNATURE: [u8; 2] = [6, 1];
const KEY_INDEX_LIST_SIGNATURE: [u8; 2] = [6, 2];
const QR_PREFIX: &str = "https://wa.me/settings/linked_devices#";

/// What a phone learns and makes when it links a device.
#[derive(Debug, Clone)]
pub struct Scan {
    /// The service's reference in the code; base64 for a device linked by phone code.
    pub reference: String,
    /// The companion's static Noise key: by it the service finds the connection.
    pub noise_key: [u8; 32],
    /// The companion's Signal identity key.
    pub identity: [u8; 32],
    /// The content of `<pair-success><device-identity>`: `ADVSignedDeviceIdentityHMAC`.
    pub pair_success_identity: Vec<u8>,
    /// The device's key index, 1 and up; the service shows it in device lists.
    pub key_index: u32,
}

/// What an account of WhatsApp Business says of itself when it links a device. The two need not agree
/// (whatsapp-rust #1439, #1440): each has its own prefix.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Hosted {
    /// `accountType` beside the HMAC.
    pub account: bool,
    /// `deviceType` in the signed details.
    pub device: bool,
}

fn encryption(hosted: bool) -> wa::ADVEncryptionType {
    match hosted {
        true => wa::ADVEncryptionType::HOSTED,
        false => wa::ADVEncryptionType::E2EE,
    }
}

/// The account's ADV state.
pub(super) struct Adv {
    raw_id: u32,
    /// Unix seconds of the last change.
    timestamp: u64,
    /// The highest key index ever given out.
    current_index: u32,
    devices: BTreeMap<u16, Linked>,
    /// How the next device is signed for.
    hosted: Hosted,
}

struct Linked {
    key_index: u32,
    identity: [u8; 32],
    details: Vec<u8>,
    account_signature: Vec<u8>,
    /// Whether the companion has countersigned.
    accepted: bool,
}

impl Adv {
    pub(super) fn new(raw_id: u32, now_ms: u64) -> Self {
        Self {
            raw_id,
            timestamp: now_ms / 1000,
            current_index: 0,
            devices: BTreeMap::new(),
            hosted: Hosted::default(),
        }
    }

    pub(super) fn raw_id(&self) -> u32 {
        self.raw_id
    }

    /// Unix seconds of the last change.
    pub(super) fn timestamp(&self) -> u64 {
        self.timestamp
    }

    pub(super) fn current_index(&self) -> u32 {
        self.current_index
    }

    /// The key indexes that are valid now; the phone's own, 0, is the first.
    pub(super) fn valid_indexes(&self) -> Vec<u32> {
        let linked = self.devices.values().filter(|device| device.accepted);
        std::iter::once(0)
            .chain(linked.map(|device| device.key_index))
            .collect()
    }

    /// Whether a device was linked and not removed since.
    pub(super) fn is_linked(&self, device: u16) -> bool {
        self.devices.get(&device).is_some_and(|it| it.accepted)
    }

    /// The change time goes forward even within one second: lists are ordered by it.
    fn touch(&mut self, now_ms: u64) {
        self.timestamp = (now_ms / 1000).max(self.timestamp + 1);
    }
}

impl Phone {
    /// Scans a linking QR code, `ref,noise,identity,secret[,platform]` with or without the
    /// URL in front, and signs an identity for the companion as `device`.
    ///
    /// # Errors
    /// [`PhoneError::BadQr`] if the text is something else.
    pub fn scan_qr(&mut self, qr: &str, device: u16, now_ms: u64) -> Result<Scan, PhoneError> {
        let qr = qr.trim();
        let body = qr.strip_prefix(QR_PREFIX).unwrap_or(qr);
        let fields: Vec<&str> = body.split(',').collect();
        if !(4..=5).contains(&fields.len()) {
            return Err(PhoneError::BadQr(format!("{} fields", fields.len())));
        }
        if fields[0].is_empty() {
            return Err(PhoneError::BadQr("no reference".to_owned()));
        }
        let noise_key = qr_key("Noise key", fields[1])?;
        let identity = qr_key("identity key", fields[2])?;
        let secret = qr_key("secret", fields[3])?;
        let (pair_success_identity, key_index) =
            self.sign_identity(device, &identity, &secret, now_ms)?;
        Ok(Scan {
            reference: fields[0].to_owned(),
            noise_key,
            identity,
            pair_success_identity,
            key_index,
        })
    }

    /// Signs for the next device as such an account does.
    pub fn sign_next_as(&mut self, hosted: Hosted) {
        self.adv.hosted = hosted;
    }

    /// The `ADVSignedDeviceIdentityHMAC` for a companion, and its key index.
    pub(super) fn sign_identity(
        &mut self,
        device: u16,
        identity: &[u8; 32],
        secret: &[u8; 32],
        now_ms: u64,
    ) -> Result<(Vec<u8>, u32), PhoneError> {
        let hosted = std::mem::take(&mut self.adv.hosted);
        self.adv.touch(now_ms);
        self.adv.current_index += 1;
        let key_index = self.adv.current_index;
        let details = wa::ADVDeviceIdentity {
            raw_id: Some(self.adv.raw_id),
            timestamp: Some(self.adv.timestamp),
            key_index: Some(key_index),
            account_type: Some(encryption(hosted.account)),
            device_type: Some(encryption(hosted.device)),
        }
        .encode_to_vec();
        let prefix = match hosted.device {
            true => HOSTED_ACCOUNT_SIGNATURE,
            false => ACCOUNT_SIGNATURE,
        };
        let signed_text = [&prefix[..], &details, identity].concat();
        let account_signature = self
            .keys
            .identity()
            .private_key()
            .calculate_signature(&signed_text, &mut self.rng)?
            .to_vec();
        let signed = wa::ADVSignedDeviceIdentity {
            details: Some(details.clone()),
            account_signature_key: Some(self.keys.identity_bytes().to_vec()),
            account_signature: Some(account_signature.clone()),
            device_signature: None,
        }
        .encode_to_vec();
        let hmac = match hosted.account {
            true => hmac_sha256(secret, &[&HOSTED_ACCOUNT_SIGNATURE[..], &signed].concat()),
            false => hmac_sha256(secret, &signed),
        };
        let wrapped = wa::ADVSignedDeviceIdentityHMAC {
            details: Some(signed),
            hmac: Some(hmac.to_vec()),
            account_type: Some(encryption(hosted.account)),
        }
        .encode_to_vec();
        self.adv.devices.insert(
            device,
            Linked {
                key_index,
                identity: *identity,
                details,
                account_signature,
                accepted: false,
            },
        );
        Ok((wrapped, key_index))
    }

    /// Checks what the companion sent in `<pair-device-sign><device-identity>` and makes the
    /// `ADVSignedDeviceIdentity`, with `accountSignatureKey`, that its bundles carry from now on.
    ///
    /// # Errors
    /// [`PhoneError::BadDeviceIdentity`] if that device is not being linked, if it countersigned
    /// something else, or if its signature is wrong.
    pub fn accept_signed(&mut self, device: u16, signed: &[u8]) -> Result<Vec<u8>, PhoneError> {
        let bad = |why| PhoneError::BadDeviceIdentity(device, why);
        let own = self.keys.identity_bytes();
        let linked = self
            .adv
            .devices
            .get_mut(&device)
            .ok_or_else(|| bad("is not being linked"))?;
        let answer = waproto::codec::adv_signed_device_identity_decode(signed)
            .map_err(|_| bad("sent no device identity"))?;
        if answer.details.as_deref() != Some(&linked.details[..]) {
            return Err(bad("signed other details than it was given"));
        }
        if let Some(key) = answer.account_signature_key.filter(|key| !key.is_empty())
            && key != own
        {
            return Err(bad("names another account's key"));
        }
        let signed_text = [
            &DEVICE_SIGNATURE[..],
            &linked.details,
            &linked.identity,
            &own[..],
        ]
        .concat();
        let signature = answer.device_signature.unwrap_or_default();
        if !PublicKey::from_djb_public_key_bytes(&linked.identity)?
            .verify_signature(&signed_text, &signature)
        {
            return Err(bad("its signature does not verify"));
        }
        let identity = wa::ADVSignedDeviceIdentity {
            details: answer.details,
            account_signature_key: Some(own.to_vec()),
            account_signature: Some(linked.account_signature.clone()),
            device_signature: Some(signature),
        }
        .encode_to_vec();
        linked.accepted = true;
        Ok(identity)
    }

    /// Unlinks a device: it is gone from the next key index list and its sessions are forgotten.
    pub fn remove_device(&mut self, device: u16, now_ms: u64) {
        if self.adv.devices.remove(&device).is_some() {
            self.adv.touch(now_ms);
            self.keys.drop_session(&crate::directory::DeviceAddr {
                number: self.number.clone(),
                device,
            });
        }
    }

    /// The serialized `ADVSignedKeyIndexList` for `<key-index-list>`; `None` while no device was
    /// ever linked.
    pub fn key_index_list(&self) -> Option<Vec<u8>> {
        if self.adv.current_index == 0 {
            return None;
        }
        let details = wa::ADVKeyIndexList {
            raw_id: Some(self.adv.raw_id),
            timestamp: Some(self.adv.timestamp),
            current_index: Some(self.adv.current_index),
            valid_indexes: self.adv.valid_indexes(),
            account_type: Some(wa::ADVEncryptionType::E2EE),
        }
        .encode_to_vec();
        let signed_text = [&KEY_INDEX_LIST_SIGNATURE[..], &details].concat();
        // A copy of the generator: the list is the same until a device comes or goes.
        let signature = self
            .keys
            .identity()
            .private_key()
            .calculate_signature(&signed_text, &mut self.list_rng())
            .ok()?;
        Some(
            wa::ADVSignedKeyIndexList {
                details: Some(details),
                account_signature: Some(signature.to_vec()),
                account_signature_key: Some(self.keys.identity_bytes().to_vec()),
            }
            .encode_to_vec(),
        )
    }

    /// Unix seconds of the last change to the device list: the `ts` of `<key-index-list>`.
    pub fn key_index_timestamp(&self) -> u64 {
        self.adv.timestamp
    }

    fn list_rng(&self) -> rand::rngs::StdRng {
        use rand::SeedableRng as _;
        rand::rngs::StdRng::seed_from_u64(self.adv.timestamp ^ u64::from(self.adv.raw_id))
    }
}

fn qr_key(what: &str, text: &str) -> Result<[u8; 32], PhoneError> {
    BASE64_STANDARD
        .decode(text)
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| PhoneError::BadQr(format!("the {what} is not 32 bytes in base64")))
}
