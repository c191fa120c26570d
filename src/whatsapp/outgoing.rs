//! The stanza of a message that goes out, as the client has built it.
//!
//! The client says that a message was sent when it has written the stanza. For whom it was encrypted, and of
//! which devices it believed that they are all, stands in the stanza alone.

use std::sync::{Arc, Mutex};

use whatsapp_rust::futures::channel::oneshot::Receiver;
use whatsapp_rust::wacore_binary::Node;
use whatsapp_rust::{Client, Jid, NodeFilter};

use crate::sync::locked;

/// The stanza of one message, from before it is built.
#[derive(Clone)]
pub struct Outgoing(Arc<Mutex<Look>>);

enum Look {
    Coming(Receiver<Arc<Node>>),
    Seen(Arc<Node>),
    /// The client has let go of it.
    Gone,
}

impl Outgoing {
    /// Looks out for the next stanza of that id. To be called before the message is given to the client.
    pub fn of(client: &Client, id: &str) -> Outgoing {
        let filter = NodeFilter::tag("message").attr("id", id);
        Outgoing::from(client.wait_for_sent_node(filter))
    }

    /// The stanza, once it was built.
    pub fn seen(&self) -> Option<Arc<Node>> {
        let mut look = locked(&self.0);
        if let Look::Coming(receiver) = &mut *look {
            match receiver.try_recv() {
                Ok(Some(node)) => *look = Look::Seen(node),
                Ok(None) => {}
                Err(_) => *look = Look::Gone,
            }
        }
        match &*look {
            Look::Seen(node) => Some(Arc::clone(node)),
            Look::Coming(_) | Look::Gone => None,
        }
    }

    /// Whether a message to a person was encrypted for none of that person's devices: `own` are the user
    /// parts of the account's own JIDs.
    pub fn reaches_no_recipient(&self, own: &[String]) -> bool {
        self.seen()
            .and_then(|node| named(&node))
            .is_some_and(|named| named.iter().all(|jid| own.iter().any(|o| *o == jid.user)))
    }

    /// The hash over the devices that the client believes to be all of a group's.
    pub fn phash(&self) -> Option<String> {
        let node = self.seen()?;
        let phash = node.attrs.get("phash")?.as_str().into_owned();
        Some(phash)
    }
}

impl From<Receiver<Arc<Node>>> for Outgoing {
    fn from(receiver: Receiver<Arc<Node>>) -> Outgoing {
        Outgoing(Arc::new(Mutex::new(Look::Coming(receiver))))
    }
}

/// The devices for which a message, or a group's key, was encrypted; `None` if the stanza has no list of them,
/// as that of a resend to one device.
pub fn named(node: &Node) -> Option<Vec<Jid>> {
    let list = node.get_optional_child("participants")?;
    let jids = list.get_children_by_tag("to");
    Some(
        jids.filter_map(|to| to.attrs.get("jid")?.as_str().parse().ok())
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use whatsapp_rust::NodeBuilder;
    use whatsapp_rust::futures::channel::oneshot;

    fn stanza(devices: &[&str]) -> Arc<Node> {
        let list = devices
            .iter()
            .map(|jid| NodeBuilder::new("to").attr("jid", *jid).build());
        let participants = NodeBuilder::new("participants").children(list).build();
        let message = NodeBuilder::new("message").attr("phash", "2:abc");
        Arc::new(message.children([participants]).build())
    }

    fn outgoing(node: Arc<Node>) -> Outgoing {
        let (sender, receiver) = oneshot::channel();
        sender.send(node).expect("it waits");
        Outgoing::from(receiver)
    }

    /// whatsapp-rust #1299: with one own device in it, such a stanza is sent and acknowledged.
    #[test]
    fn a_stanza_for_own_devices_alone_reaches_no_recipient() {
        let own = ["4917".to_owned(), "955".to_owned()];
        for (devices, nobody) in [
            (&["4917:0@s.whatsapp.net", "955:3@lid"][..], true),
            (&["955:0@lid", "956:1@lid"], false),
            (&["4918@s.whatsapp.net"], false),
            (&[], true),
        ] {
            let outgoing = outgoing(stanza(devices));
            assert_eq!(outgoing.reaches_no_recipient(&own), nobody, "{devices:?}");
            assert_eq!(outgoing.phash().as_deref(), Some("2:abc"));
        }
        // A resend to one device names no others, and one that was not built yet says nothing.
        let resend = Arc::new(NodeBuilder::new("message").build());
        assert!(!outgoing(resend).reaches_no_recipient(&own));
        let (sender, receiver) = oneshot::channel();
        let coming = Outgoing::from(receiver);
        assert!(!coming.reaches_no_recipient(&own) && coming.phash().is_none());
        drop(sender);
        assert!(coming.seen().is_none());
    }
}
