//! Opening sessions, and whose devices they are opened with.

use wacore::adv::{AdvValidation, validate_adv_with_identity_key};

use super::{Phone, PhoneError};
use crate::directory::{Bundle, DeviceAddr, Directory};

impl Phone {
    /// A session with a device, from the bundle the service has for it if there is none yet.
    /// `false` if it has no valid one.
    pub(super) fn ensure_session(&mut self, addr: &DeviceAddr, dir: &mut dyn Directory) -> bool {
        if self.keys.has_session(addr) {
            return true;
        }
        let Some(bundle) = dir.take_bundle(addr) else {
            return false;
        };
        match self.install(addr, &bundle) {
            Ok(()) => true,
            Err(error) => {
                log::warn!("phone {}: bundle of {addr:?}: {error}", self.number);
                false
            }
        }
    }

    /// Opens a session from a bundle after checking that a linked device belongs to its account.
    pub(super) fn install(&mut self, addr: &DeviceAddr, bundle: &Bundle) -> Result<(), PhoneError> {
        if addr.device != 0 {
            let identity =
                bundle
                    .device_identity
                    .as_deref()
                    .ok_or(PhoneError::BadDeviceIdentity(
                        addr.device,
                        "has no identity",
                    ))?;
            self.check_device(addr, identity, &bundle.identity)?;
        }
        self.keys.open_session(addr, bundle, &mut self.rng)?;
        Ok(())
    }

    /// Whether `identity` proves that a linked device with this Signal key belongs to its account. The
    /// account's key is the phone's own for the own devices, the one known for that number, or, the
    /// first time, the one in the proof.
    pub(super) fn check_device(
        &mut self,
        addr: &DeviceAddr,
        identity: &[u8],
        key: &[u8; 32],
    ) -> Result<(), PhoneError> {
        let bad = |why| PhoneError::BadDeviceIdentity(addr.device, why);
        let primary = DeviceAddr {
            number: addr.number.clone(),
            device: 0,
        };
        let own = addr.number == self.number;
        if own && !self.adv.is_linked(addr.device) {
            return Err(bad("is not linked"));
        }
        let account = if own {
            Some(self.keys.identity_bytes())
        } else {
            self.keys.identity_of(&primary)
        };
        if validate_adv_with_identity_key(identity, key, account.as_ref()) != AdvValidation::Valid {
            return Err(bad("its identity does not verify"));
        }
        let named = waproto::codec::adv_signed_device_identity_decode(identity)
            .ok()
            .and_then(|signed| signed.account_signature_key)
            .filter(|key| !key.is_empty())
            .and_then(|key| <[u8; 32]>::try_from(key).ok());
        match (account, named) {
            (Some(account), Some(named)) if account != named => {
                Err(bad("its identity is another account's"))
            }
            (None, Some(named)) => Ok(self.keys.learn_identity(&primary, &named)?),
            _ => Ok(()),
        }
    }
}
