//! Receipts for own stories. The client names `status@broadcast` as their sender; who it was stands in the stanza alone.

use whatsapp_rust::Jid;
use whatsapp_rust::wacore_binary::{JidExt as _, NodeRef};

use crate::message::DeliveryStatus;

/// A receipt for a story.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub message_ids: Vec<String>,
    pub status: DeliveryStatus,
    pub by: Jid,
}

/// The receipt for a story that a stanza is, unless it has several people in it, which the client tells apart.
pub fn of_stanza(node: &NodeRef<'_>) -> Option<Seen> {
    let jid = |name: &str| node.get_attr(name)?.to_jid();
    let text = |node: &NodeRef<'_>, name: &str| Some(node.get_attr(name)?.as_str().into_owned());
    if &*node.tag != "receipt" || !jid("from")?.is_status_broadcast() {
        return None;
    }
    let status = match text(node, "type").as_deref() {
        None | Some("inactive") => DeliveryStatus::Delivered,
        Some("read") => DeliveryStatus::Read,
        Some("played") => DeliveryStatus::Played,
        Some(_) => return None,
    };
    let list = node.get_optional_child("list");
    let more = list.and_then(|list| list.children()).unwrap_or_default();
    let more = more.iter().filter_map(|item| text(item, "id"));
    Some(Seen {
        message_ids: text(node, "id").into_iter().chain(more).collect(),
        status,
        by: jid("participant")?,
    })
}
