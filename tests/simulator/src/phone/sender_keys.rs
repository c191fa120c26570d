//! A phone's sender keys: its chain for each group, and those of the other devices.

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;
use futures_lite::future::block_on;
use rand::rngs::StdRng;
use wacore_libsignal::protocol::{
    SenderKeyDistributionMessage, SenderKeyRecord, SenderKeyStore, SignalProtocolError,
    create_sender_key_distribution_message, group_decrypt, group_encrypt,
    process_sender_key_distribution_message,
};
use wacore_libsignal::store::sender_key_name::SenderKeyName;

use crate::directory::DeviceAddr;

type Result<T> = std::result::Result<T, SignalProtocolError>;

/// All chains that a phone has. Names are chosen by the phone: a device has one chain in a
/// group, however the group names it.
#[derive(Default)]
pub(super) struct SenderKeys {
    chains: Chains,
    /// By group: the devices that have the phone's own key.
    distributed: HashMap<String, HashSet<DeviceAddr>>,
}

#[derive(Default)]
struct Chains(HashMap<String, SenderKeyRecord>);

fn name(group: &str, device: &DeviceAddr) -> SenderKeyName {
    SenderKeyName::from_parts(group, &format!("{}.{}", device.number, device.device))
}

impl SenderKeys {
    /// The phone's current key, for devices that lack it; created if there is none.
    pub(super) fn distribution(
        &mut self,
        group: &str,
        own: &DeviceAddr,
        rng: &mut StdRng,
    ) -> Result<Vec<u8>> {
        // The store is in memory: none of libsignal's futures ever waits.
        let message = block_on(create_sender_key_distribution_message(
            &name(group, own),
            &mut self.chains,
            rng,
        ))?;
        Ok(message.serialized().to_vec())
    }

    /// Encrypts for all devices with the phone's own key.
    pub(super) fn encrypt(
        &mut self,
        group: &str,
        own: &DeviceAddr,
        plain: &[u8],
        rng: &mut StdRng,
    ) -> Result<Vec<u8>> {
        let name = name(group, own);
        let message = block_on(group_encrypt(&mut self.chains, &name, plain, rng))?;
        Ok(message.serialized().to_vec())
    }

    /// Decrypts what a device said to the group.
    pub(super) fn decrypt(
        &mut self,
        group: &str,
        sender: &DeviceAddr,
        cipher: &[u8],
    ) -> Result<Vec<u8>> {
        block_on(group_decrypt(
            cipher,
            &mut self.chains,
            &name(group, sender),
        ))
    }

    /// Takes the key that a device sent.
    pub(super) fn learn(&mut self, group: &str, sender: &DeviceAddr, key: &[u8]) -> Result<()> {
        let key = SenderKeyDistributionMessage::try_from(key)?;
        block_on(process_sender_key_distribution_message(
            &name(group, sender),
            &key,
            &mut self.chains,
        ))
    }

    /// The devices of `present` without the phone's own key. If a device that left has it, it is
    /// given up first: then everyone lacks the new one.
    pub(super) fn lacking(
        &mut self,
        group: &str,
        own: &DeviceAddr,
        present: &HashSet<DeviceAddr>,
    ) -> HashSet<DeviceAddr> {
        let known = self.distributed.entry(group.to_owned()).or_default();
        if !known.is_subset(present) {
            known.clear();
            self.chains.0.remove(name(group, own).cache_key());
        }
        present.difference(known).cloned().collect()
    }

    /// Notes that a device was sent the phone's own key.
    pub(super) fn gave(&mut self, group: &str, to: DeviceAddr) {
        self.distributed
            .entry(group.to_owned())
            .or_default()
            .insert(to);
    }

    /// A device could not read the group's messages: it gets the key once more with the next one.
    pub(super) fn give_again(&mut self, group: &str, to: &DeviceAddr) {
        if let Some(known) = self.distributed.get_mut(group) {
            known.remove(to);
        }
    }

    /// Forgets the keys of the other devices.
    pub(super) fn drop_others(&mut self, own: &DeviceAddr) {
        let ours: HashSet<String> = self
            .distributed
            .keys()
            .map(|group| name(group, own).cache_key().to_owned())
            .collect();
        self.chains.0.retain(|key, _| ours.contains(key));
    }

    /// Forgets what the devices of a number have and had: their keys are new.
    pub(super) fn forget(&mut self, number: &str) {
        for known in self.distributed.values_mut() {
            known.retain(|addr| addr.number != number);
        }
    }
}

#[async_trait]
impl SenderKeyStore for Chains {
    async fn store_sender_key(
        &mut self,
        name: &SenderKeyName,
        record: SenderKeyRecord,
    ) -> Result<()> {
        self.0.insert(name.cache_key().to_owned(), record);
        Ok(())
    }

    async fn load_sender_key(&self, name: &SenderKeyName) -> Result<Option<SenderKeyRecord>> {
        Ok(self.0.get(name.cache_key()).cloned())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use rand::SeedableRng as _;
    use rand::rngs::StdRng;
    use wacore_libsignal::protocol::SignalProtocolError;

    use super::SenderKeys;
    use crate::directory::DeviceAddr;

    const GROUP: &str = "120363000000000001@g.us";

    fn addr(number: &str) -> DeviceAddr {
        DeviceAddr {
            number: number.to_owned(),
            device: 0,
        }
    }

    #[test]
    fn a_key_is_sent_once_and_replaced_when_a_device_leaves() {
        let mut rng = StdRng::seed_from_u64(1);
        let (mut alice, mut bob, mut carol) = Default::default();
        let own = addr("alice");
        let everyone = HashSet::from([addr("bob"), addr("carol")]);
        let mut say = |alice: &mut SenderKeys, present: &HashSet<DeviceAddr>, text: &[u8]| {
            let lacking = alice.lacking(GROUP, &own, present);
            let key = alice.distribution(GROUP, &own, &mut rng).expect("a key");
            for addr in &lacking {
                alice.gave(GROUP, addr.clone());
            }
            let cipher = alice.encrypt(GROUP, &own, text, &mut rng);
            (lacking.len(), key, cipher.expect("encrypted"))
        };
        let (lacking, key, one) = say(&mut alice, &everyone, b"one");
        assert_eq!(lacking, 2);
        for phone in [&mut bob, &mut carol] {
            let phone: &mut SenderKeys = phone;
            phone.learn(GROUP, &addr("alice"), &key).expect("learnt");
            let plain = phone.decrypt(GROUP, &addr("alice"), &one);
            assert_eq!(plain.expect("decrypted"), b"one");
        }
        let (lacking, _, two) = say(&mut alice, &everyone, b"two");
        assert_eq!(lacking, 0, "both have the key");
        assert_eq!(
            bob.decrypt(GROUP, &addr("alice"), &two).expect("decrypted"),
            b"two"
        );

        let (lacking, key, three) = say(&mut alice, &HashSet::from([addr("bob")]), b"three");
        assert_eq!(lacking, 1, "bob lacks the new key");
        assert!(matches!(
            carol.decrypt(GROUP, &addr("alice"), &three),
            Err(SignalProtocolError::NoSenderKeyState(_))
        ));
        bob.learn(GROUP, &addr("alice"), &key).expect("learnt");
        assert_eq!(
            bob.decrypt(GROUP, &addr("alice"), &three)
                .expect("decrypted"),
            b"three"
        );
        alice.give_again(GROUP, &addr("bob"));
        let (lacking, _, _) = say(&mut alice, &HashSet::from([addr("bob")]), b"four");
        assert_eq!(lacking, 1, "bob could not read it");
    }
}
