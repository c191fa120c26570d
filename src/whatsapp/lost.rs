//! Messages that the client cannot decrypt.
//!
//! What it tells of such a one is looked up in the store by chat, sender and id, before it may ask for it
//! again. One that is stored has come a second time (its receipt was lost, and the session has
//! forgotten the chain of keys that it belongs to: libsignal remembers five): it is acknowledged as
//! what it is, and nothing more. One that is not gets a place in its chat, on disk, and then is asked
//! for again. The client has no hook before it decrypts; that it has tried, in vain, changes nothing
//! in its session.

use std::sync::{Arc, OnceLock, Weak};

use whatsapp_rust::types::events::UndecryptableMessage;
use whatsapp_rust::types::message::{MessageCategory, MessageInfo};
use whatsapp_rust::wacore_binary::{JidExt as _, Node};
use whatsapp_rust::{Client, NodeBuilder};

use crate::clock;

use super::backend::handled;
use super::convert;
use super::holdback::{HoldBack, Job};
use super::inbound::{Fate, Inbox};

/// Hears of them for one session.
#[derive(Clone)]
pub struct LostAndFound {
    pub hold: HoldBack,
    pub inbox: Inbox,
    /// The session's client, once it is made.
    pub client: Arc<OnceLock<Weak<Client>>>,
}

impl LostAndFound {
    /// Holds back what the client is about to do about a message, until the store has spoken.
    pub fn hear(&self, lost: &UndecryptableMessage) {
        let account_id = &self.inbox.owner.id;
        let Some(placeholder) = convert::placeholder(account_id, lost, clock::now()) else {
            return;
        };
        let (inbox, client) = (self.inbox.clone(), Arc::clone(&self.client));
        let info = Arc::clone(&lost.info);
        self.hold.next(move |job: Job| -> Job {
            Box::pin(async move {
                match inbox.lose(&info, handled::id(&info), placeholder).await {
                    Ok(Fate::Known) => {
                        drop(job);
                        if let Some(client) = client.get().and_then(Weak::upgrade) {
                            acknowledge(&client, &info).await;
                        }
                    }
                    Ok(Fate::Missing) => job.await,
                    // What is not acknowledged comes again.
                    Err(error) => log::error!(
                        "{}: a message that cannot be read is not noted, WhatsApp will deliver it \
                         again: {error}",
                        inbox.owner.id
                    ),
                }
            })
        });
    }
}

/// Says that a message is here, as the client says it of one that it has decrypted before.
async fn acknowledge(client: &Client, info: &MessageInfo) {
    log::debug!("{}: delivered again, and stored before", info.id);
    let said = match receipt(info) {
        Some(receipt) => client.send_node(receipt).await.map_err(|e| e.to_string()),
        None => client
            .acknowledge_stanza(&stanza(info).as_node_ref())
            .await
            .map_err(|e| e.to_string()),
    };
    if let Err(error) = said {
        log::debug!("{}: not acknowledged, it will come again: {error}", info.id);
    }
}

/// The delivery receipt of a message; `None` for those that get a bare acknowledgement.
fn receipt(info: &MessageInfo) -> Option<Node> {
    let source = &info.source;
    let is_status = source.chat.is_status_broadcast();
    let shared = source.is_group || is_status;
    let peer = info.category == MessageCategory::Peer;
    let copy = source.is_self_fanout() && !peer;
    if source.is_bot_authored_non_bot_chat() || (source.is_from_me && !copy && !peer) {
        return None;
    }
    let to = if shared { &source.chat } else { &source.sender };
    let mut receipt = NodeBuilder::new("receipt")
        .attr("to", to)
        .attr("id", info.id.as_str());
    if peer {
        receipt = receipt.attr("type", "peer_msg");
    } else if copy {
        receipt = receipt.attr("type", "sender");
        if let Some(recipient) = &source.recipient {
            receipt = receipt.attr("recipient", recipient.to_non_ad());
        }
    }
    if shared {
        receipt = receipt.attr("participant", &source.sender);
    }
    if is_status {
        receipt = receipt.attr("context", "status");
    }
    Some(receipt.build())
}

/// As much of a message's stanza as its acknowledgement repeats.
fn stanza(info: &MessageInfo) -> Node {
    let source = &info.source;
    let from = match source.is_group {
        true => &source.chat,
        false => &source.sender,
    };
    let mut stanza = NodeBuilder::new("message")
        .attr("from", from)
        .attr("id", info.id.as_str());
    if source.is_group {
        stanza = stanza.attr("participant", &source.sender);
    }
    if !info.r#type.is_empty() {
        stanza = stanza.attr("type", info.r#type.as_str());
    }
    stanza.build()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(chat: &str, sender: &str, from_me: bool) -> MessageInfo {
        let mut info = MessageInfo {
            id: "3EB0AA".into(),
            ..Default::default()
        };
        info.source.chat = chat.parse().expect("jid");
        info.source.sender = sender.parse().expect("jid");
        info.source.is_from_me = from_me;
        info.source.is_group = chat.ends_with("@g.us");
        info
    }

    #[test]
    fn receipts_say_whose_message_they_are_for() {
        let attr = |node: &Node, key: &str| {
            let value = node.attrs.get(key)?;
            Some(value.as_str().into_owned())
        };
        let of_two = receipt(&info("955@lid", "955:3@lid", false)).expect("a receipt");
        assert_eq!(attr(&of_two, "to").as_deref(), Some("955:3@lid"));
        assert_eq!(attr(&of_two, "participant"), None);
        assert_eq!(attr(&of_two, "type"), None);
        let group = receipt(&info("12@g.us", "955:3@lid", false)).expect("a receipt");
        assert_eq!(attr(&group, "to").as_deref(), Some("12@g.us"));
        assert_eq!(attr(&group, "participant").as_deref(), Some("955:3@lid"));
        // A note to oneself, a copy of what another own device has sent, one about the account.
        let mut own = info("955@lid", "977:4@lid", true);
        assert_eq!(receipt(&own), None);
        own.source.recipient = Some("955@lid".parse().expect("jid"));
        let copy = receipt(&own).expect("a receipt");
        assert_eq!(attr(&copy, "type").as_deref(), Some("sender"));
        assert_eq!(attr(&copy, "recipient").as_deref(), Some("955@lid"));
        own.category = MessageCategory::Peer;
        let peer = receipt(&own).expect("a receipt");
        assert_eq!(attr(&peer, "type").as_deref(), Some("peer_msg"));
        assert_eq!(attr(&peer, "recipient"), None);
    }
}
