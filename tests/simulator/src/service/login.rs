//! From an established connection to a registration or a session.

use std::collections::BTreeMap;
use std::time::Duration;

use async_channel::Sender;
use wacore_binary::Node;
use wacore_binary::builder::NodeBuilder;
use waproto::buffa::Message as _;
use waproto::whatsapp::ClientPayload;
use waproto::whatsapp::client_payload::DevicePairingRegistrationData;

use super::account::{DeviceKeys, KeyRefusal, SignedKey};
use super::outbox::PRIMER;
use super::pairing::Registration;
use super::{Conn, ConnId, Form, Service, ib, now_secs};
use crate::directory::DeviceAddr;

/// What a connection is.
pub(super) enum Stage {
    /// A device that wants to be linked.
    Registering(Box<Registration>),
    /// A linked device.
    Online(Session),
    /// Being closed: only queued stanzas are still sent.
    Ending,
}

/// A linked device that is logged in.
pub(super) struct Session {
    pub addr: DeviceAddr,
    /// A passive session gets nothing that waited until it sets itself active.
    pub passive: bool,
    /// Whether its presence is `available`.
    pub available: bool,
    /// Whether the phone has greeted it since the login.
    pub met: bool,
}

/// Attributes of `<failure>` that WhatsApp sends at times, and once: clients of the web read the first five
/// (`WAWebHandleFailure`), those of phones the others.
pub const MORE: [&str; 7] = [
    "message",
    "url",
    "logout_message_header",
    "logout_message_subtext",
    "logout_message_locale",
    "violation_reason",
    "appeal_token",
];

/// Why a login fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginFailure {
    /// 401 logged out, 402 temporarily banned, 403 and 406 banned, 405 too old a version, 503 unavailable.
    pub reason: u16,
    /// The sub-reason of a temporary ban.
    pub code: Option<u16>,
    /// Seconds that a temporary ban lasts.
    pub expire: Option<u64>,
    /// Those of [`MORE`] that the stanza has.
    pub more: BTreeMap<String, String>,
}

impl LoginFailure {
    fn plain(reason: u16) -> LoginFailure {
        LoginFailure {
            reason,
            code: None,
            expire: None,
            more: BTreeMap::new(),
        }
    }

    fn to_node(&self) -> Node {
        let mut builder = NodeBuilder::new("failure")
            .attr("reason", self.reason)
            .attr("location", "sim");
        if let Some(code) = self.code {
            builder = builder.attr("code", code);
        }
        if let Some(expire) = self.expire {
            builder = builder.attr("expire", expire);
        }
        for name in MORE {
            if let Some(value) = self.more.get(name) {
                builder = builder.attr(name, value.as_str());
            }
        }
        builder.build()
    }
}

impl Service {
    /// A client finished the handshake. `None`: its number has no network, say nothing and close.
    pub fn open(
        &mut self,
        out: Sender<Node>,
        noise_key: [u8; 32],
        payload: &[u8],
    ) -> Option<ConnId> {
        self.serial += 1;
        let id = self.serial;
        let payload = ClientPayload::decode_from_slice(payload);
        if let Ok(payload) = &payload
            && let Some(addr) = login_addr(payload)
            && self
                .accounts
                .get(&addr.number)
                .is_some_and(|account| !account.reachable)
        {
            return None;
        }
        self.conns.insert(
            id,
            Conn {
                out,
                noise_key,
                stage: Stage::Ending,
                half_open: false,
            },
        );
        match payload {
            Ok(payload) => self.admit(id, noise_key, &payload),
            Err(_) => self.refuse_login(id, &LoginFailure::plain(400)),
        }
        Some(id)
    }

    fn admit(&mut self, id: ConnId, noise_key: [u8; 32], payload: &ClientPayload) {
        if !self.serves_version(payload) {
            self.refuse_login(id, &LoginFailure::plain(405));
            return;
        }
        if let Some(data) = payload.device_pairing_data.as_option() {
            match registration_keys(data) {
                Ok(keys) => {
                    let name = payload.push_name.clone().unwrap_or_default();
                    let props = data.device_props.clone().unwrap_or_default();
                    self.begin_registration(id, name, keys, props);
                }
                Err(refusal) => {
                    log::warn!("registration refused: {refusal}");
                    self.refuse_login(id, &LoginFailure::plain(400));
                }
            }
            return;
        }
        let Some(addr) = login_addr(payload) else {
            self.refuse_login(id, &LoginFailure::plain(400));
            return;
        };
        if let Some(failure) = self.faults.login_failure(&addr.number) {
            self.refuse_login(id, &failure);
            return;
        }
        let known = addr.device != 0
            && self
                .device_mut(&addr)
                .is_some_and(|device| device.noise_key == noise_key);
        if known {
            self.begin_session(id, addr, payload.passive == Some(true));
        } else {
            self.refuse_login(id, &LoginFailure::plain(401));
        }
    }

    fn refuse_login(&mut self, id: ConnId, failure: &LoginFailure) {
        self.put(id, failure.to_node());
        self.end_later(id);
    }

    fn begin_session(&mut self, id: ConnId, addr: DeviceAddr, passive: bool) {
        if let Some(&old) = self.online.get(&addr) {
            let conflict = NodeBuilder::new("conflict")
                .attr("type", "replaced")
                .build();
            self.put(
                old,
                NodeBuilder::new("stream:error")
                    .children([conflict])
                    .build(),
            );
            self.end(old);
        }
        if let Some(open) = self.conns.get_mut(&id) {
            open.stage = Stage::Online(Session {
                addr: addr.clone(),
                passive,
                available: false,
                met: false,
            });
        }
        self.online.insert(addr.clone(), id);
        let success = NodeBuilder::new("success")
            .attr("t", now_secs())
            .attr("lid", self.device_jid(&addr, Form::Lid))
            .attr("props", "29")
            .attr("companion_enc_static", "")
            .attr("location", "sim")
            .attr("abprops", "1")
            .attr("group_abprops", "1")
            .build();
        self.send(id, success);
        let routing = NodeBuilder::new("routing_info")
            .bytes(*b"\x08\x0d\x08\x12")
            .build();
        self.send(
            id,
            ib(NodeBuilder::new("edge_routing").children([routing]).build()),
        );
        if let Some(notice) = self.expiration() {
            self.send(id, notice);
        }
        if !passive {
            self.begin_delivery(id, &addr);
        }
    }

    /// Whether a connection takes queued stanzas.
    pub(super) fn listens(&self, id: ConnId) -> bool {
        matches!(
            self.conns.get(&id).map(|open| &open.stage),
            Some(Stage::Online(session)) if !session.passive
        )
    }

    /// `<active/>` or `<passive/>`.
    pub(super) fn set_passive(&mut self, addr: &DeviceAddr, passive: bool) {
        let Some(&id) = self.online.get(addr) else {
            return;
        };
        let Some(Stage::Online(session)) = self.conns.get_mut(&id).map(|open| &mut open.stage)
        else {
            return;
        };
        let was = std::mem::replace(&mut session.passive, passive);
        if was && !passive {
            self.begin_delivery(id, addr);
        }
        self.greet(addr);
    }

    fn begin_delivery(&mut self, id: ConnId, addr: &DeviceAddr) {
        let Some(device) = self.device_mut(addr) else {
            return;
        };
        let preview = device.outbox.login();
        if preview.count > 0 {
            let node = NodeBuilder::new("offline_preview")
                .attr("count", preview.count)
                .attr("message", preview.message)
                .attr("receipt", preview.receipt)
                .attr("notification", preview.notification)
                .attr("appdata", 0)
                .build();
            self.send(id, ib(node));
        }
        self.deliver(addr, PRIMER);
        self.mention_groups(id, addr);
        self.greet(addr);
    }

    /// Notifies a device that has never fetched its groups.
    fn mention_groups(&mut self, id: ConnId, addr: &DeviceAddr) {
        let told = self
            .device_mut(addr)
            .is_none_or(|device| device.knows_groups);
        if told || !self.in_groups(&addr.number) {
            return;
        }
        let dirty = NodeBuilder::new("dirty")
            .attr("type", "groups")
            .attr("timestamp", now_secs())
            .build();
        self.send(id, ib(dirty));
    }

    /// The phone meets its linked device as soon as messages can be encrypted for it: once it is
    /// active and has uploaded prekeys.
    pub(super) fn greet(&mut self, addr: &DeviceAddr) {
        let ready = self.device_mut(addr).is_some_and(|device| device.uploaded);
        let Some(&id) = self.online.get(addr) else {
            return;
        };
        let Some(Stage::Online(session)) = self.conns.get_mut(&id).map(|open| &mut open.stage)
        else {
            return;
        };
        if !ready || session.passive || session.met {
            return;
        }
        session.met = true;
        let first = self
            .device_mut(addr)
            .is_some_and(|device| !std::mem::replace(&mut device.greeted, true));
        let sent = self.with_phone(&addr.number, |phone, service| {
            phone.device_online(addr.device, first, service, super::now_ms())
        });
        self.phone_sends(&addr.number, sent.unwrap_or_default());
    }

    /// Ends a session with `<stream:error>`: a code, or the conflict that follows an unlinking.
    pub(super) fn stream_error(&mut self, id: ConnId, code: u16) {
        let mut builder = NodeBuilder::new("stream:error").attr("code", code);
        if code == 401 {
            let conflict = NodeBuilder::new("conflict")
                .attr("type", "device_removed")
                .build();
            builder = builder.children([conflict]);
        }
        self.put(id, builder.build());
        match code {
            515 => self.end_later(id),
            _ => self.end(id),
        }
    }

    /// How long a registration's references live, all together.
    pub(super) fn refs_lifetime(&self) -> Duration {
        let more = u32::try_from(super::pairing::REFS - 1).unwrap_or(0);
        self.options.first_ref_lifetime + self.options.next_ref_lifetime * more
    }
}

fn login_addr(payload: &ClientPayload) -> Option<DeviceAddr> {
    if payload.device_pairing_data.is_set() {
        return None;
    }
    Some(DeviceAddr {
        number: payload.username?.to_string(),
        device: u16::try_from(payload.device.unwrap_or(0)).ok()?,
    })
}

/// The keys that a device brings to its registration, checked.
fn registration_keys(data: &DevicePairingRegistrationData) -> Result<DeviceKeys, KeyRefusal> {
    let uint = |bytes: &Option<Vec<u8>>, len: usize| -> Result<u32, KeyRefusal> {
        let bytes = bytes.as_deref().ok_or(KeyRefusal::Malformed)?;
        if bytes.len() != len {
            return Err(KeyRefusal::Malformed);
        }
        Ok(bytes.iter().fold(0, |n, b| (n << 8) | u32::from(*b)))
    };
    fn array<const N: usize>(bytes: &Option<Vec<u8>>) -> Result<[u8; N], KeyRefusal> {
        bytes
            .as_deref()
            .and_then(|b| b.try_into().ok())
            .ok_or(KeyRefusal::Malformed)
    }
    if data.e_keytype.as_deref() != Some(&[5]) {
        return Err(KeyRefusal::Malformed);
    }
    let identity = array::<32>(&data.e_ident)?;
    let signed = SignedKey {
        id: uint(&data.e_skey_id, 3)?,
        public: array(&data.e_skey_val)?,
        signature: array(&data.e_skey_sig)?,
    };
    signed.verify(&identity)?;
    Ok(DeviceKeys::new(uint(&data.e_regid, 4)?, identity, signed))
}
