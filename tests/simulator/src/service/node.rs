//! Reading and writing stanzas, and JIDs.

use wacore_binary::builder::NodeBuilder;
use wacore_binary::{Jid, JidExt as _, Node, NodeContent, Server};

use super::Service;
use crate::directory::DeviceAddr;

/// The service's own JID. It must be a JID with an empty user on the wire, not the bare server
/// name: Baileys and whatsmeow compare it in that form.
pub fn server() -> Jid {
    Jid::new("", Server::Pn)
}

/// An attribute as text.
pub fn attr(node: &Node, key: &str) -> Option<String> {
    node.attrs.get(key).map(|v| v.as_str().into_owned())
}

/// An attribute as a JID. Strings are parsed: clients write some JIDs as text.
pub fn jid_attr(node: &Node, key: &str) -> Option<Jid> {
    node.attrs.get(key).and_then(|v| v.to_jid())
}

/// An attribute as a number.
pub fn num_attr(node: &Node, key: &str) -> Option<u64> {
    attr(node, key).and_then(|v| v.parse().ok())
}

/// The content as bytes. A client may write short content as a token; then its text is meant.
pub fn bytes(node: &Node) -> Option<&[u8]> {
    match node.content.as_ref()? {
        NodeContent::Bytes(b) => Some(b),
        NodeContent::String(s) => Some(s.as_bytes()),
        NodeContent::Nodes(_) => None,
    }
}

/// The content of a child as bytes.
pub fn child_bytes<'a>(node: &'a Node, tag: &str) -> Option<&'a [u8]> {
    node.get_optional_child(tag).and_then(bytes)
}

/// A big-endian number of up to four bytes in a child.
pub fn child_uint(node: &Node, tag: &str) -> Option<u32> {
    let raw = child_bytes(node, tag)?;
    (!raw.is_empty() && raw.len() <= 4).then(|| raw.iter().fold(0, |n, b| (n << 8) | u32::from(*b)))
}

/// The first child.
pub fn first_child(node: &Node) -> Option<&Node> {
    node.children()?.first()
}

/// `<iq type="result">` for a request.
pub fn result(request: &Node) -> NodeBuilder {
    let builder = NodeBuilder::new("iq")
        .attr("from", reply_from(request))
        .attr("type", "result");
    match request.attrs.get("id") {
        Some(id) => builder.attr("id", id.clone()),
        None => builder,
    }
}

/// `<iq type="error">` for a request.
pub fn error(request: &Node, code: u16, text: &str) -> Node {
    let builder = NodeBuilder::new("iq")
        .attr("from", reply_from(request))
        .attr("type", "error");
    let builder = match request.attrs.get("id") {
        Some(id) => builder.attr("id", id.clone()),
        None => builder,
    };
    builder
        .children([NodeBuilder::new("error")
            .attr("code", code)
            .attr("text", text)
            .build()])
        .build()
}

/// An answer comes from where the question went: the server, or a group.
fn reply_from(request: &Node) -> Jid {
    match jid_attr(request, "to") {
        Some(to) if to.server != Server::Pn || !to.user.is_empty() => to,
        _ => server(),
    }
}

/// How a stanza names people: by phone number or by LID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `@s.whatsapp.net`
    Pn,
    /// `@lid`
    Lid,
}

impl Form {
    /// The form of a person's JID; `None` for groups, broadcasts and everything else.
    pub fn of(jid: &Jid) -> Option<Form> {
        match jid.server {
            Server::Pn => Some(Form::Pn),
            Server::Lid => Some(Form::Lid),
            _ => None,
        }
    }

    /// The value of `addressing_mode`.
    pub fn as_str(self) -> &'static str {
        match self {
            Form::Pn => "pn",
            Form::Lid => "lid",
        }
    }

    /// The other one.
    pub fn other(self) -> Form {
        match self {
            Form::Pn => Form::Lid,
            Form::Lid => Form::Pn,
        }
    }
}

impl Service {
    /// The JID of a person, without device.
    pub fn user_jid(&self, number: &str, form: Form) -> Jid {
        match form {
            Form::Pn => Jid::pn(number),
            Form::Lid => Jid::lid(self.lid(number)),
        }
    }

    /// The JID of a device.
    pub fn device_jid(&self, addr: &DeviceAddr, form: Form) -> Jid {
        match form {
            Form::Pn => Jid::pn_device(addr.number.as_str(), addr.device),
            Form::Lid => Jid::lid_device(self.lid(&addr.number), addr.device),
        }
    }

    /// The number behind a JID of either form, if such an account exists.
    pub fn number_of_jid(&self, jid: &Jid) -> Option<String> {
        match Form::of(jid)? {
            Form::Pn => self
                .accounts
                .contains_key(jid.user.as_str())
                .then(|| jid.user.to_string()),
            Form::Lid => self.lids.get(jid.user.as_str()).cloned(),
        }
    }

    /// The device behind a JID of either form, if its account exists.
    pub fn addr_of_jid(&self, jid: &Jid) -> Option<DeviceAddr> {
        Some(DeviceAddr {
            number: self.number_of_jid(jid)?,
            device: jid.device(),
        })
    }
}
