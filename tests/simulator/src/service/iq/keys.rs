//! `xmlns="encrypt"`: prekeys counted, uploaded, rotated, compared and handed out.

use wacore::iq::prekeys::SignedPreKeyNode;
use wacore::protocol::ProtocolNode as _;
use wacore_binary::Node;
use wacore_binary::builder::NodeBuilder;

use crate::directory::{Bundle, DeviceAddr};
use crate::service::account::{DeviceKeys, KeyRefusal, SignedKey};
use crate::service::node::{self, child_bytes, child_uint, jid_attr};
use crate::service::{Form, Service};

/// Devices whose keys one request may ask for.
const MAX_FETCH: usize = 2000;

impl Service {
    fn keys_of(&mut self, addr: &DeviceAddr) -> Option<&mut DeviceKeys> {
        self.device_mut(addr)?.keys.as_mut()
    }

    pub(super) fn prekey_count(&mut self, from: &DeviceAddr, iq: &Node) -> Node {
        let left = self.keys_of(from).map_or(0, |keys| keys.left());
        let count = NodeBuilder::new("count").attr("value", left).build();
        node::result(iq).children([count]).build()
    }

    pub(super) fn prekey_digest(&mut self, from: &DeviceAddr, iq: &Node) -> Node {
        let keys = match self.device_mut(from) {
            Some(device) if device.uploaded => device.keys.as_ref(),
            _ => None,
        };
        let Some(keys) = keys else {
            return node::error(iq, 404, "item-not-found");
        };
        let (ids, hash) = keys.digest();
        let list = ids
            .iter()
            .map(|id| NodeBuilder::new("id").bytes(&id.to_be_bytes()[1..]).build());
        let digest = NodeBuilder::new("digest")
            .children([
                NodeBuilder::new("registration")
                    .bytes(keys.registration_id.to_be_bytes())
                    .build(),
                NodeBuilder::new("type").bytes([5]).build(),
                NodeBuilder::new("identity").bytes(keys.identity).build(),
                signed_node(&keys.signed),
                NodeBuilder::new("list").children(list).build(),
                NodeBuilder::new("hash").bytes(hash).build(),
            ])
            .build();
        node::result(iq).children([digest]).build()
    }

    pub(super) fn upload_keys(&mut self, from: &DeviceAddr, iq: &Node) {
        match self.try_upload(from, iq) {
            Ok(()) => {
                // The phone's first messages must not overtake the answer.
                self.tell(from, node::result(iq).build());
                self.greet(from);
            }
            Err(refusal) => {
                self.tell(from, node::error(iq, refusal.code(), &refusal.to_string()));
            }
        }
    }

    fn try_upload(&mut self, from: &DeviceAddr, iq: &Node) -> Result<(), KeyRefusal> {
        let registration_id = child_uint(iq, "registration").ok_or(KeyRefusal::Malformed)?;
        if child_bytes(iq, "type") != Some(&[5]) {
            return Err(KeyRefusal::Malformed);
        }
        let identity = array::<32>(child_bytes(iq, "identity"))?;
        let signed = signed_key(iq.get_optional_child("skey"))?;
        let list = iq.get_optional_child("list").ok_or(KeyRefusal::Malformed)?;
        let mut fresh = Vec::new();
        for key in list.get_children_by_tag("key") {
            let id = key_id(key)?;
            fresh.push((id, array::<32>(child_bytes(key, "value"))?));
        }
        let device = self.device_mut(from).ok_or(KeyRefusal::Malformed)?;
        let keys = device.keys.as_mut().ok_or(KeyRefusal::Malformed)?;
        if keys.identity != identity {
            return Err(KeyRefusal::Identity);
        }
        signed.verify(&identity)?;
        keys.add(fresh)?;
        keys.registration_id = registration_id;
        keys.signed = signed;
        device.uploaded = true;
        Ok(())
    }

    pub(super) fn rotate_signed(&mut self, from: &DeviceAddr, iq: &Node) -> Node {
        let rotated = (|| {
            let skey = iq.get_optional_child_by_tag(&["rotate", "skey"]);
            let signed = signed_key(skey)?;
            let keys = self.keys_of(from).ok_or(KeyRefusal::Malformed)?;
            signed.verify(&keys.identity)?;
            keys.signed = signed;
            Ok::<_, KeyRefusal>(())
        })();
        match rotated {
            Ok(()) => node::result(iq).build(),
            Err(refusal) => node::error(iq, refusal.code(), &refusal.to_string()),
        }
    }

    pub(super) fn fetch_keys(&mut self, from: &DeviceAddr, iq: &Node) -> Node {
        let users: Vec<Node> = iq
            .get_optional_child("key")
            .into_iter()
            .flat_map(|key| key.get_children_by_tag("user"))
            .cloned()
            .collect();
        if users.is_empty() || users.len() > MAX_FETCH {
            return node::error(iq, 400, "bad-request");
        }
        if let Some(code) = self.faults.keys_refused() {
            return node::error(iq, code, "service-unavailable");
        }
        let mut list = Vec::with_capacity(users.len());
        for user in users {
            let Some(jid) = jid_attr(&user, "jid") else {
                return node::error(iq, 400, "bad-request");
            };
            let named = NodeBuilder::new("user").attr("jid", jid.clone());
            let Some(addr) = self.addr_of_jid(&jid).filter(|_| Form::of(&jid).is_some()) else {
                list.push(named.children([user_error(404, "item-not-found")]).build());
                continue;
            };
            self.acquaint(&addr.number, &from.number);
            if let Some(withheld) = self.faults.keys_withheld(&addr) {
                let error = withheld.map(|code| user_error(code, "internal-server-error"));
                list.extend(error.map(|error| named.children([error]).build()));
                continue;
            }
            list.push(match self.bundle(&addr) {
                Some(bundle) => named.children(bundle_nodes(bundle)).build(),
                // The device is gone: this code makes clients look at the device list again.
                None => named.children([user_error(406, "not-acceptable")]).build(),
            });
        }
        let list = NodeBuilder::new("list").children(list).build();
        node::result(iq).children([list]).build()
    }
}

fn user_error(code: u16, text: &str) -> Node {
    NodeBuilder::new("error")
        .attr("code", code)
        .attr("text", text)
        .build()
}

fn bundle_nodes(bundle: Bundle) -> Vec<Node> {
    let mut nodes = vec![
        NodeBuilder::new("registration")
            .bytes(bundle.registration_id.to_be_bytes())
            .build(),
        NodeBuilder::new("type").bytes([5]).build(),
        NodeBuilder::new("identity").bytes(bundle.identity).build(),
    ];
    if let Some((id, public)) = bundle.one_time {
        nodes.push(
            NodeBuilder::new("key")
                .children([
                    NodeBuilder::new("id").bytes(&id.to_be_bytes()[1..]).build(),
                    NodeBuilder::new("value").bytes(public).build(),
                ])
                .build(),
        );
    }
    let (id, public, signature) = bundle.signed;
    nodes.push(signed_node(&SignedKey {
        id,
        public,
        signature,
    }));
    if let Some(identity) = bundle.device_identity {
        nodes.push(NodeBuilder::new("device-identity").bytes(identity).build());
    }
    nodes
}

fn signed_node(key: &SignedKey) -> Node {
    SignedPreKeyNode::new(key.id, key.public.to_vec(), key.signature.to_vec()).into_node()
}

fn signed_key(skey: Option<&Node>) -> Result<SignedKey, KeyRefusal> {
    let skey = skey.ok_or(KeyRefusal::Malformed)?;
    Ok(SignedKey {
        id: key_id(skey)?,
        public: array(child_bytes(skey, "value"))?,
        signature: array(child_bytes(skey, "signature"))?,
    })
}

/// Key ids are three bytes.
fn key_id(key: &Node) -> Result<u32, KeyRefusal> {
    let id = array::<3>(child_bytes(key, "id"))?;
    Ok(u32::from_be_bytes([0, id[0], id[1], id[2]]))
}

fn array<const N: usize>(bytes: Option<&[u8]>) -> Result<[u8; N], KeyRefusal> {
    bytes
        .and_then(|b| b.try_into().ok())
        .ok_or(KeyRefusal::Malformed)
}
