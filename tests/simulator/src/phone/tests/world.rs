//! A minimal service for tests of phones: it routes stanzas and lists numbers.

use std::collections::{BTreeMap, HashMap, VecDeque};

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use wacore::messages::MessageUtils;
use wacore::pair::{DeviceState, PairUtils};
use wacore_binary::builder::NodeBuilder;
use wacore_binary::{Jid, JidExt as _, Node};
use wacore_libsignal::protocol::{KeyPair, PreKeySignalMessage};
use waproto::whatsapp as wa;

use crate::directory::{Bundle, DeviceAddr, Directory};
use crate::media::MediaStore;
use crate::phone::keys::{Keys, Kind};
use crate::phone::{Phone, attr, bytes_of, jid_attr};

pub(super) const ALICE: &str = "15550000001";
pub(super) const BOB: &str = "15550000002";
pub(super) const NOW: u64 = 1_795_351_427_000;

pub(super) fn addr(number: &str, device: u16) -> DeviceAddr {
    DeviceAddr {
        number: number.to_owned(),
        device,
    }
}

pub(super) fn lid(number: &str) -> String {
    format!("9{number}")
}

/// A linked device, played by the test: Signal keys and the identity that pairing gave it.
pub(super) struct Companion {
    pub(super) keys: Keys,
    pub(super) rng: StdRng,
    pub(super) identity: Vec<u8>,
    pub(super) state: DeviceState,
}

impl Companion {
    pub(super) fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let keys = Keys::generate(&mut rng, NOW).expect("keys");
        let own = keys.identity();
        let state = DeviceState {
            identity_key: KeyPair::new(*own.public_key(), own.private_key().clone()),
            noise_key: KeyPair::generate(&mut rng),
            adv_secret_key: [seed as u8; 32],
        };
        Self {
            keys,
            rng,
            identity: Vec::new(),
            state,
        }
    }

    /// Reads the pairwise `<enc>` of a message from `from`.
    pub(super) fn open(&mut self, from: &DeviceAddr, stanza: &Node) -> wa::Message {
        let enc = stanza.get_optional_child("enc").expect("an enc");
        let kind = Kind::from_wire(&attr(enc, "type").expect("a type")).expect("pairwise");
        let cipher = bytes_of(enc).expect("bytes");
        let plain = match kind {
            Kind::PreKey => {
                let message = PreKeySignalMessage::try_from(cipher).expect("a pkmsg");
                self.keys
                    .decrypt_prekey(from, &message, &mut self.rng)
                    .expect("opens")
            }
            Kind::Signal => self
                .keys
                .decrypt(from, cipher, &mut self.rng)
                .expect("opens"),
        };
        let plain = MessageUtils::unpad_message_ref(&plain, 2).expect("padding");
        waproto::codec::message_decode(plain).expect("a message")
    }

    /// A message for one device, as the service would deliver it.
    pub(super) fn say(
        &mut self,
        from: Jid,
        to: &DeviceAddr,
        bundle: &Bundle,
        id: &str,
        message: &wa::Message,
    ) -> Node {
        if !self.keys.has_session(to) {
            self.keys
                .open_session(to, bundle, &mut self.rng)
                .expect("a good bundle");
        }
        let plain = MessageUtils::encode_and_pad(message);
        let (kind, cipher) = self.keys.encrypt(to, &plain).expect("a session");
        let enc = NodeBuilder::new("enc")
            .attr("v", "2")
            .attr("type", kind.as_wire())
            .bytes(cipher)
            .build();
        let mut children = vec![enc];
        if !self.identity.is_empty() {
            children.push(
                NodeBuilder::new("device-identity")
                    .bytes(self.identity.clone())
                    .build(),
            );
        }
        NodeBuilder::new("message")
            .attr("from", from)
            .attr("id", id)
            .attr("t", NOW / 1000)
            .attr("type", "text")
            .children(children)
            .build()
    }
}

#[derive(Default)]
pub(super) struct World {
    phones: HashMap<String, Phone>,
    devices: BTreeMap<String, Vec<u16>>,
    pub(super) companions: HashMap<DeviceAddr, Companion>,
    media: Option<MediaStore>,
    pub(super) refused_media_retry: Option<u16>,
    /// Stanzas on their way, by the device that gets them.
    pub(super) wire: VecDeque<(DeviceAddr, Node)>,
}

impl Directory for World {
    fn media(&mut self) -> &mut MediaStore {
        self.media.get_or_insert_with(|| {
            let place = MediaStore::place().expect("a folder");
            MediaStore::new(place, "127.0.0.1:1".to_owned(), 1)
        })
    }

    fn refused_media_retry(&mut self, _: &str) -> Option<u16> {
        self.refused_media_retry
    }

    fn lid_of(&self, number: &str) -> Option<String> {
        self.devices.contains_key(number).then(|| lid(number))
    }

    fn number_of(&self, lid: &str) -> Option<String> {
        let number = lid.strip_prefix('9')?;
        self.devices.contains_key(number).then(|| number.to_owned())
    }

    fn devices(&self, number: &str) -> Vec<u16> {
        self.devices.get(number).cloned().unwrap_or_default()
    }

    fn take_bundle(&mut self, addr: &DeviceAddr) -> Option<Bundle> {
        if addr.device == 0 {
            return Some(self.phones.get_mut(&addr.number)?.take_bundle());
        }
        let companion = self.companions.get_mut(addr)?;
        let mut bundle = companion.keys.bundle(&mut companion.rng);
        bundle.device_identity = Some(companion.identity.clone());
        Some(bundle)
    }
}

impl World {
    pub(super) fn new() -> Self {
        let mut world = Self::default();
        for (number, name) in [(ALICE, "alice"), (BOB, "bob")] {
            world.devices.insert(number.to_owned(), vec![0]);
            let phone = Phone::new(number, &lid(number), name, 7, NOW);
            world.phones.insert(number.to_owned(), phone);
        }
        world
    }

    pub(super) fn phone(&self, number: &str) -> &Phone {
        &self.phones[number]
    }

    /// Runs a function on a phone, with access to the others.
    pub(super) fn with<T>(
        &mut self,
        number: &str,
        act: impl FnOnce(&mut Phone, &mut World) -> T,
    ) -> T {
        let mut phone = self.phones.remove(number).expect("a phone");
        let result = act(&mut phone, self);
        self.phones.insert(number.to_owned(), phone);
        result
    }

    /// Links a device by QR code, as a client and the service would.
    pub(super) fn link(&mut self, number: &str, device: u16, seed: u64) {
        let mut companion = Companion::new(seed);
        let qr = PairUtils::make_qr_data(
            &companion.state,
            "2@ref",
            wacore::companion_reg::CompanionWebClientType::Chrome,
        );
        self.with(number, |phone, _| {
            let scan = phone.scan_qr(&qr, device, NOW).expect("a good code");
            assert_eq!(scan.reference, "2@ref");
            assert_eq!(
                scan.noise_key,
                *companion.state.noise_key.public_key.public_key_bytes()
            );
            let (signed, key_index) =
                PairUtils::do_pair_crypto(&companion.state, &scan.pair_success_identity)
                    .expect("the companion verifies it");
            assert_eq!(key_index, scan.key_index);
            companion.identity = phone.accept_signed(device, &signed).expect("countersigned");
        });
        self.devices.get_mut(number).expect("a person").push(device);
        self.companions.insert(addr(number, device), companion);
    }

    pub(super) fn unlink(&mut self, number: &str, device: u16) {
        self.devices
            .get_mut(number)
            .expect("a person")
            .retain(|it| *it != device);
        self.with(number, |phone, _| phone.remove_device(device, NOW));
    }

    /// Puts what a device sent on the wire, as the service routes it.
    pub(super) fn route(&mut self, sender: &DeviceAddr, stanzas: Vec<Node>) {
        for stanza in stanzas {
            let Some(to) = jid_attr(&stanza, "to") else {
                continue;
            };
            let from = match to.is_lid() {
                true => Jid::lid_device(lid(&sender.number), sender.device),
                false => Jid::pn_device(sender.number.as_str(), sender.device),
            };
            let Some(participants) = stanza.get_optional_child("participants") else {
                self.push(&to, readdress(&stanza, &from, None));
                continue;
            };
            let copies: Vec<(Jid, Node)> = participants
                .get_children_by_tag("to")
                .map(|part| {
                    let jid = jid_attr(part, "jid").expect("a jid");
                    let children = part.children().expect("an enc").to_vec();
                    (jid, readdress(&stanza, &from, Some(children)))
                })
                .collect();
            for (jid, copy) in copies {
                self.push(&jid, copy);
            }
        }
    }

    fn push(&mut self, to: &Jid, stanza: Node) {
        let number = match to.is_lid() {
            true => self.number_of(&to.user).expect("a known lid"),
            false => to.user.to_string(),
        };
        self.wire.push_back((addr(&number, to.device()), stanza));
    }

    /// Delivers to the phones until all queues are empty; returns the stanzas for companions.
    pub(super) fn settle(&mut self) -> Vec<(DeviceAddr, Node)> {
        let mut left = Vec::new();
        while let Some((to, stanza)) = self.wire.pop_front() {
            if to.device != 0 {
                left.push((to, stanza));
                continue;
            }
            let replies = self.with(&to.number.clone(), |phone, world| {
                phone.receive(&stanza, world, NOW)
            });
            // Acknowledgements end at the service.
            let replies = replies.into_iter().filter(|it| it.tag != "ack").collect();
            self.route(&to, replies);
        }
        left
    }
}

fn readdress(stanza: &Node, from: &Jid, children: Option<Vec<Node>>) -> Node {
    let mut out = stanza.clone();
    out.attrs.insert("from", from);
    out.attrs.insert("t", NOW / 1000);
    if let Some(children) = children {
        out.content = Some(wacore_binary::NodeContent::Nodes(children));
    }
    out
}
