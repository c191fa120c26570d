//! Linking a device: by QR code and by phone code.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use rand::Rng as _;
use wacore_binary::builder::NodeBuilder;
use wacore_binary::{Jid, Node};

use super::account::{Device, DeviceKeys};
use super::login::Stage;
use super::node::{self, attr, jid_attr};
use super::passkey::Exchange;
use super::{ConnId, Form, Service, Timer, now_ms, now_secs};
use crate::directory::DeviceAddr;
use crate::phone::{PhoneError, Scan};

/// References in one `pair-device`.
pub(super) const REFS: usize = 6;
/// Linked devices that one number may have.
const MAX_LINKED: usize = 4;
/// How long a phone code can be typed.
const CODE_LIFETIME: Duration = Duration::from_secs(180);

/// A device that wants to be linked.
pub(super) struct Registration {
    push_name: String,
    keys: DeviceKeys,
    /// The serialized `DeviceProps`.
    props: Vec<u8>,
    refs: Vec<(String, Instant)>,
    link: Link,
}

/// The state of a registration.
pub(super) enum Link {
    /// Shows its code.
    Waiting,
    /// Asked for a phone code and was given a reference.
    Code {
        number: String,
        hello: Box<Node>,
        reference: Vec<u8>,
        until: Instant,
    },
    /// Was asked for a passkey.
    Passkey(Box<Exchange>),
    /// Got `pair-success`, has to countersign.
    Signing { addr: DeviceAddr, key_index: u32 },
}

/// A pairing that waits for the client.
#[derive(Debug, Clone)]
pub struct Pairing {
    conn: ConnId,
    addr: Option<DeviceAddr>,
    noise_key: [u8; 32],
    number: String,
}

/// A linked device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paired {
    /// Its JID.
    pub jid: String,
    /// Its LID.
    pub lid: String,
    /// Its number among the account's devices.
    pub device: u16,
}

/// Why a device was not linked.
#[derive(Debug, thiserror::Error)]
pub enum PairError {
    /// The text is no QR code of WhatsApp's, or the code is no phone code.
    #[error(transparent)]
    Phone(#[from] PhoneError),
    /// No connected client shows this code, or it is too old.
    #[error("no connected client shows this code; it may have expired")]
    Unknown,
    /// The code's keys are not those of the client that shows it.
    #[error("the code's keys are not those of the client that shows it")]
    Forged,
    /// The number has as many linked devices as it may have.
    #[error("the number has {MAX_LINKED} linked devices already")]
    TooMany,
    /// The client did not finish.
    #[error("the client did not complete the pairing")]
    Refused,
    /// A number that is none.
    #[error(transparent)]
    Number(#[from] super::PeopleError),
}

impl Service {
    pub(super) fn begin_registration(
        &mut self,
        conn: ConnId,
        push_name: String,
        keys: DeviceKeys,
        props: Vec<u8>,
    ) {
        let now = Instant::now();
        let mut expires = now + self.options.first_ref_lifetime;
        let mut refs = Vec::with_capacity(REFS);
        for _ in 0..REFS {
            let mut raw = [0u8; 72];
            self.rng.fill_bytes(&mut raw);
            refs.push((format!("2@{}", BASE64_STANDARD_NO_PAD.encode(raw)), expires));
            expires += self.options.next_ref_lifetime;
        }
        let children: Vec<Node> = refs
            .iter()
            .map(|(text, _)| NodeBuilder::new("ref").bytes(text.as_bytes()).build())
            .collect();
        if let Some(open) = self.conns.get_mut(&conn) {
            open.stage = Stage::Registering(Box::new(Registration {
                push_name,
                keys,
                props,
                refs,
                link: Link::Waiting,
            }));
        }
        let id = self.next_id();
        let pair_device = NodeBuilder::new("pair-device").children(children).build();
        self.send(conn, set_iq(&id, pair_device));
        self.later(self.refs_lifetime(), Timer::RefsSpent(conn));
    }

    /// The code was not scanned: WhatsApp closes the connection, unless a phone code is in use.
    pub(super) fn refs_spent(&mut self, conn: ConnId) {
        if self.passkey_outlives_refs(conn) {
            return;
        }
        let Some(Stage::Registering(reg)) = self.conns.get(&conn).map(|open| &open.stage) else {
            return;
        };
        match &reg.link {
            Link::Waiting | Link::Passkey(_) => self.end(conn),
            Link::Code { until, .. } => {
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    self.end(conn);
                } else {
                    self.later(left, Timer::RefsSpent(conn));
                }
            }
            Link::Signing { .. } => self.later(CODE_LIFETIME, Timer::RefsSpent(conn)),
        }
    }

    fn registration(&self, conn: ConnId) -> Option<&Registration> {
        match &self.conns.get(&conn)?.stage {
            Stage::Registering(reg) => Some(reg),
            _ => None,
        }
    }

    pub(super) fn link(&self, conn: ConnId) -> Option<&Link> {
        Some(&self.registration(conn)?.link)
    }

    pub(super) fn link_mut(&mut self, conn: ConnId) -> Option<&mut Link> {
        match &mut self.conns.get_mut(&conn)?.stage {
            Stage::Registering(reg) => Some(&mut reg.link),
            _ => None,
        }
    }

    pub(super) fn set_link(&mut self, conn: ConnId, link: Link) {
        if let Some(place) = self.link_mut(conn) {
            *place = link;
        }
    }

    /// A stanza on a registration connection.
    pub(super) fn registering(&mut self, conn: ConnId, node: &Node) {
        if node.tag != "iq" {
            // Presence and session telemetry come this early too and mean nothing yet.
            return;
        }
        match attr(node, "type").as_deref() {
            Some("result") => {
                if let Some(sign) = node.get_optional_child("pair-device-sign") {
                    self.device_signed(conn, sign);
                }
            }
            Some("error") => self.pairing_failed(conn),
            _ if self.passkey_request(conn, node) => {}
            _ => match node.get_optional_child("link_code_companion_reg") {
                Some(reg) => self.link_code(conn, node, reg),
                None if attr(node, "xmlns").as_deref() == Some("w:p") => {
                    self.send(conn, node::result(node).build());
                }
                None => self.send(conn, node::error(node, 403, "forbidden")),
            },
        }
    }

    /// The person scans a QR code with the phone of `number`, or of the number that goes with the
    /// client's push name.
    ///
    /// # Errors
    /// See [`PairError`].
    pub fn scan_qr(
        &mut self,
        qr: &str,
        number: Option<&str>,
        name: Option<&str>,
    ) -> Result<Pairing, PairError> {
        let text = qr.trim();
        let text = text.split_once('#').map_or(text, |(_, rest)| rest);
        let reference = text.split(',').next().unwrap_or_default();
        let now = Instant::now();
        let found = self.conns.iter().find_map(|(id, open)| match &open.stage {
            Stage::Registering(reg) if matches!(reg.link, Link::Waiting | Link::Code { .. }) => reg
                .refs
                .iter()
                .any(|(text, until)| text == reference && *until > now)
                .then(|| (*id, open.noise_key, reg.push_name.clone())),
            _ => None,
        });
        let Some((conn, noise_key, push_name)) = found else {
            return Err(PairError::Unknown);
        };
        let number = match number {
            Some(number) => number.to_owned(),
            None => super::people::number_for(&push_name, &noise_key),
        };
        let name = name.unwrap_or(&push_name);
        self.ensure_account(&number, Some(name).filter(|n| !n.is_empty()))?;
        let device = self.next_device(&number)?;
        let scan = self
            .with_phone(&number, |phone, service| {
                phone.sign_next_as(service.faults.hosted(phone.number()));
                phone.scan_qr(qr, device, now_ms())
            })
            .ok_or(PairError::Unknown)??;
        self.check_scan(conn, &number, device, &scan)?;
        if !self.demand_passkey(conn, &number, device) {
            self.pair_success(conn, &number, device, &scan);
        }
        Ok(Pairing {
            conn,
            addr: Some(DeviceAddr {
                number: number.clone(),
                device,
            }),
            noise_key,
            number,
        })
    }

    /// The person types a phone code on the phone of `number`.
    ///
    /// # Errors
    /// See [`PairError`].
    pub fn enter_code(&mut self, number: &str, code: &str) -> Result<Pairing, PairError> {
        let now = Instant::now();
        let found = self.conns.iter().find_map(|(id, open)| match &open.stage {
            Stage::Registering(reg) => match &reg.link {
                Link::Code {
                    number: wanted,
                    hello,
                    reference,
                    until,
                } if wanted == number && *until > now => {
                    Some((*id, open.noise_key, hello.clone(), reference.clone()))
                }
                _ => None,
            },
            _ => None,
        });
        let Some((conn, noise_key, hello, reference)) = found else {
            return Err(PairError::Unknown);
        };
        self.ensure_account(number, None)?;
        self.next_device(number)?;
        let reg = self
            .with_phone(number, |phone, _| {
                phone.enter_code(&hello, &reference, code)
            })
            .ok_or(PairError::Unknown)??;
        let notification = NodeBuilder::new("notification")
            .attr("from", node::server())
            .attr("type", "link_code_companion_reg")
            .attr("id", self.next_id())
            .attr("t", now_secs())
            .children([reg])
            .build();
        self.send(conn, notification);
        Ok(Pairing {
            conn,
            addr: None,
            noise_key,
            number: number.to_owned(),
        })
    }

    /// Whether a pairing waits for a passkey.
    pub fn is_asked_for_passkey(&self, pairing: &Pairing) -> bool {
        self.wants_passkey(pairing.conn)
    }

    /// What became of a pairing; `None` while it is under way.
    pub fn pairing_outcome(&self, pairing: &Pairing) -> Option<Result<Paired, PairError>> {
        let linked = self.accounts.get(&pairing.number).and_then(|account| {
            account
                .devices
                .iter()
                .find(|(id, device)| **id != 0 && device.noise_key == pairing.noise_key)
        });
        if let Some((id, _)) = linked {
            let addr = DeviceAddr {
                number: pairing.number.clone(),
                device: *id,
            };
            return Some(Ok(Paired {
                jid: self.device_jid(&addr, Form::Pn).to_string(),
                lid: self.device_jid(&addr, Form::Lid).to_string(),
                device: *id,
            }));
        }
        let under_way = match self.registration(pairing.conn).map(|reg| &reg.link) {
            Some(Link::Code { .. }) => pairing.addr.is_none(),
            Some(Link::Signing { .. } | Link::Passkey(_)) => true,
            Some(Link::Waiting) | None => false,
        };
        (!under_way).then_some(Err(PairError::Refused))
    }

    pub(super) fn next_device(&self, number: &str) -> Result<u16, PairError> {
        let account = self.accounts.get(number).ok_or(PairError::Unknown)?;
        if account.devices.len() > MAX_LINKED {
            return Err(PairError::TooMany);
        }
        Ok(account.next_device)
    }

    /// The code must carry the keys of the connection that shows it.
    pub(super) fn check_scan(
        &mut self,
        conn: ConnId,
        number: &str,
        device: u16,
        scan: &Scan,
    ) -> Result<(), PairError> {
        let genuine = self.conns.get(&conn).is_some_and(|open| {
            open.noise_key == scan.noise_key
                && matches!(&open.stage, Stage::Registering(reg) if reg.keys.identity == scan.identity)
        });
        if genuine {
            return Ok(());
        }
        self.with_phone(number, |phone, _| phone.remove_device(device, now_ms()));
        Err(PairError::Forged)
    }

    pub(super) fn pair_success(&mut self, conn: ConnId, number: &str, device: u16, scan: &Scan) {
        let addr = DeviceAddr {
            number: number.to_owned(),
            device,
        };
        if let Some(account) = self.accounts.get_mut(number) {
            account.next_device += 1;
        }
        let success = NodeBuilder::new("pair-success")
            .children([
                NodeBuilder::new("device-identity")
                    .bytes(scan.pair_success_identity.clone())
                    .build(),
                NodeBuilder::new("device")
                    .attr("jid", self.device_jid(&addr, Form::Pn))
                    .attr("lid", self.device_jid(&addr, Form::Lid))
                    .build(),
                NodeBuilder::new("platform").attr("name", "android").build(),
            ])
            .build();
        self.set_link(
            conn,
            Link::Signing {
                addr,
                key_index: scan.key_index,
            },
        );
        let id = self.next_id();
        let mut iq = set_iq(&id, success);
        iq.attrs.insert("t", now_secs());
        self.send(conn, iq);
    }

    /// `<pair-device-sign>`: the last step of the companion.
    fn device_signed(&mut self, conn: ConnId, sign: &Node) {
        let Some(reg) = self.registration(conn) else {
            return;
        };
        let Link::Signing { addr, key_index } = &reg.link else {
            return;
        };
        let (addr, key_index, keys) = (addr.clone(), *key_index, reg.keys.clone());
        let props = reg.props.clone();
        let identity = sign.get_optional_child("device-identity");
        let named = identity.and_then(|n| node::num_attr(n, "key-index"));
        let signed = identity.and_then(node::bytes).unwrap_or_default().to_vec();
        let accepted = if named == Some(u64::from(key_index)) {
            self.with_phone(&addr.number, |phone, _| {
                phone.accept_signed(addr.device, &signed)
            })
        } else {
            None
        };
        let Some(Ok(identity)) = accepted else {
            log::warn!(
                "the countersignature of {}:{} is refused",
                addr.number,
                addr.device
            );
            self.pairing_failed(conn);
            return;
        };
        let noise_key = self.conns.get(&conn).map_or([0; 32], |open| open.noise_key);
        if let Some(account) = self.accounts.get_mut(&addr.number) {
            account.devices.insert(
                addr.device,
                Device {
                    noise_key,
                    key_index,
                    keys: Some(keys),
                    identity,
                    props,
                    ..Device::default()
                },
            );
        }
        self.publish_settings(&addr.number);
        self.stream_error(conn, 515);
        self.announce_devices(&addr, true);
    }

    fn pairing_failed(&mut self, conn: ConnId) {
        if let Some(Link::Signing { addr, .. }) = self.registration(conn).map(|reg| &reg.link) {
            let addr = addr.clone();
            self.with_phone(&addr.number, |phone, _| {
                phone.remove_device(addr.device, now_ms());
            });
        }
        self.end(conn);
    }

    fn link_code(&mut self, conn: ConnId, iq: &Node, reg: &Node) {
        match attr(reg, "stage").as_deref() {
            Some("companion_hello") => {
                let answer = self.companion_hello(conn, iq, reg);
                self.send(conn, answer);
            }
            Some("companion_finish") => self.companion_finish(conn, iq, reg),
            _ => self.send(conn, node::error(iq, 400, "bad-request")),
        }
    }

    fn companion_hello(&mut self, conn: ConnId, iq: &Node, reg: &Node) -> Node {
        let ours = self.conns.get(&conn).map(|open| open.noise_key);
        let named = node::child_bytes(reg, "companion_server_auth_key_pub");
        let number = jid_attr(reg, "jid")
            .filter(|jid| Form::of(jid) == Some(Form::Pn))
            .map(|jid: Jid| jid.user.to_string());
        let (Some(number), true) = (number, named == ours.as_ref().map(|k| &k[..])) else {
            return node::error(iq, 400, "bad-request");
        };
        let mut reference = vec![0u8; 32];
        self.rng.fill_bytes(&mut reference);
        self.set_link(
            conn,
            Link::Code {
                number,
                hello: Box::new(reg.clone()),
                reference: reference.clone(),
                until: Instant::now() + CODE_LIFETIME,
            },
        );
        let answer = NodeBuilder::new("link_code_companion_reg")
            .attr("stage", "companion_hello")
            .children([NodeBuilder::new("link_code_pairing_ref")
                .bytes(reference)
                .build()])
            .build();
        node::result(iq).children([answer]).build()
    }

    fn companion_finish(&mut self, conn: ConnId, iq: &Node, reg: &Node) {
        let scan = self.finish_code(conn, reg);
        match scan {
            Ok((number, device, scan)) => {
                self.send(conn, node::result(iq).build());
                if !self.demand_passkey(conn, &number, device) {
                    self.pair_success(conn, &number, device, &scan);
                }
            }
            Err(e) => {
                log::info!("pairing by code failed: {e}");
                self.set_link(conn, Link::Waiting);
                self.send(conn, node::error(iq, 400, "bad-request"));
            }
        }
    }

    fn finish_code(&mut self, conn: ConnId, reg: &Node) -> Result<(String, u16, Scan), PairError> {
        let number = match self.registration(conn).map(|r| &r.link) {
            Some(Link::Code { number, .. }) => number.clone(),
            _ => return Err(PairError::Unknown),
        };
        let device = self.next_device(&number)?;
        let scan = self
            .with_phone(&number, |phone, service| {
                phone.sign_next_as(service.faults.hosted(phone.number()));
                phone.finish_code(reg, device, now_ms())
            })
            .ok_or(PairError::Unknown)??;
        self.check_scan(conn, &number, device, &scan)?;
        Ok((number, device, scan))
    }
}

fn set_iq(id: &str, child: Node) -> Node {
    NodeBuilder::new("iq")
        .attr("from", node::server())
        .attr("type", "set")
        .attr("id", id)
        .attr("xmlns", "md")
        .children([child])
        .build()
}
