//! Retry receipts: asking for a message that could not be read, and sending one again that a device
//! could not read.

use wacore::iq::prekeys::{OneTimePreKeyNode, SignedPreKeyNode};
use wacore::protocol::ProtocolNode as _;
use wacore::protocol::retry::{RetryReason, extract_registration_id_from_node};
use wacore_binary::builder::NodeBuilder;
use wacore_binary::{Jid, Node};

use super::receiving::Incoming;
use super::{Phone, attr, child_bytes, jid_attr};
use crate::directory::{Bundle, Directory};

/// WhatsApp gives up on a message after this many requests to send it again.
const MAX_RETRIES: u8 = 5;

impl Phone {
    /// The receipt that asks for a message again, with keys for a new session. `None` when it was
    /// asked for often enough.
    pub(super) fn ask_again(
        &mut self,
        incoming: &Incoming<'_>,
        reason: RetryReason,
    ) -> Option<Node> {
        let key = (incoming.sender.clone(), incoming.id.clone());
        let count = self.retries.get(&key).copied().unwrap_or(0) + 1;
        if count > MAX_RETRIES {
            return None;
        }
        self.retries.insert(key, count);
        log::debug!(
            "phone {}: asking {:?} for {} again ({count}, {})",
            self.number,
            incoming.sender,
            incoming.id,
            reason.as_str()
        );
        let retry = NodeBuilder::new("retry")
            .attr("v", "1")
            .attr("id", &incoming.id)
            .attr("t", incoming.t)
            .attr("count", count)
            .attr("error", reason as u8)
            .build();
        let registration = NodeBuilder::new("registration")
            .bytes(self.keys.registration_id().to_be_bytes())
            .build();
        let bundle = self.take_bundle();
        let mut receipt = NodeBuilder::new("receipt")
            .attr("to", &incoming.from)
            .attr("id", &incoming.id)
            .attr("type", "retry");
        if let Some(author) = &incoming.participant {
            receipt = receipt.attr("participant", author);
        } else if incoming.sender.number == self.number {
            receipt = if incoming.peer {
                receipt.attr("category", "peer")
            } else {
                let chat = jid_attr(incoming.node, "recipient");
                receipt.attr(
                    "recipient",
                    chat.unwrap_or_else(|| incoming.from.to_non_ad()),
                )
            };
        }
        Some(
            receipt
                .children([retry, registration, keys_node(&bundle)])
                .build(),
        )
    }

    /// A device could not read a message of this phone's: it gets it again, in a new session
    /// if it sent keys for one or if the old one is beyond help.
    pub(super) fn on_retry(
        &mut self,
        node: &Node,
        from: &Jid,
        dir: &mut dyn Directory,
    ) -> Option<Node> {
        let retry = node.get_optional_child("retry")?;
        let id = attr(retry, "id").or_else(|| attr(node, "id"))?;
        let count: u8 = attr(retry, "count")
            .and_then(|count| count.parse().ok())
            .unwrap_or(1);
        let addr = self.addr_of(from, dir)?;
        if count >= MAX_RETRIES || !dir.devices(&addr.number).contains(&addr.device) {
            return None;
        }
        let registration = extract_registration_id_from_node(node);
        if let Some(keys) = node.get_optional_child("keys") {
            let installed = read_keys(keys, registration).map(|it| self.install(&addr, &it));
            match installed {
                Some(Ok(())) => {}
                Some(Err(error)) => {
                    log::warn!("phone {}: retry keys of {addr:?}: {error}", self.number);
                    return None;
                }
                None => return None,
            }
        } else {
            let same =
                registration.is_none() || self.keys.session_registration(&addr) == registration;
            // The first request may be for a message that overtook another; the second is not.
            if count > 1 || !same {
                self.keys.drop_session(&addr);
            }
            if !self.ensure_session(&addr, dir) {
                return None;
            }
        }
        match self.resend(&id, &addr, from, count) {
            Ok(stanza) => stanza,
            Err(error) => {
                log::warn!("phone {}: sending {id} again: {error}", self.number);
                None
            }
        }
    }
}

/// The `<keys>` of a retry receipt.
fn keys_node(bundle: &Bundle) -> Node {
    let (signed_id, signed_key, signature) = &bundle.signed;
    let mut children = vec![
        NodeBuilder::new("type").bytes(vec![5]).build(),
        NodeBuilder::new("identity").bytes(bundle.identity).build(),
    ];
    if let Some((id, key)) = bundle.one_time {
        children.push(OneTimePreKeyNode::new(id, key.to_vec()).into_node());
    }
    children.push(
        SignedPreKeyNode::new(*signed_id, signed_key.to_vec(), signature.to_vec()).into_node(),
    );
    NodeBuilder::new("keys").children(children).build()
}

/// Reads the `<keys>` of a retry receipt; `None` if something is missing or misshapen.
fn read_keys(keys: &Node, registration: Option<u32>) -> Option<Bundle> {
    let signed = SignedPreKeyNode::try_from_node(keys.get_optional_child("skey")?).ok()?;
    let one_time = match keys.get_optional_child("key") {
        Some(key) => {
            let key = OneTimePreKeyNode::try_from_node(key).ok()?;
            Some((key.id, key.public_bytes.as_slice().try_into().ok()?))
        }
        None => None,
    };
    Some(Bundle {
        registration_id: registration.filter(|id| *id != 0)?,
        identity: child_bytes(keys, "identity")?.try_into().ok()?,
        signed: (
            signed.id,
            signed.public_bytes.as_slice().try_into().ok()?,
            signed.signature.as_slice().try_into().ok()?,
        ),
        one_time,
        device_identity: child_bytes(keys, "device-identity").map(<[u8]>::to_vec),
    })
}
