//! Calls: what WhatsApp says of them, and the refusal of one. This server answers none.
//!
//! `<call>` carries an `<offer>` while it rings, and a `<terminate>` when that ends, with a reason: answered or declined on
//! another device, or neither. One that waited for this device has `offline`: it does not ring any more.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use whatsapp_rust::wacore::stanza::call::parse_call_stanza;
use whatsapp_rust::wacore::types::call::{CallAction, IncomingCall};
use whatsapp_rust::wacore_binary::NodeRef;
use whatsapp_rust::{Client, Jid};

use crate::clock;
use crate::message::{CallNews, CallSaid};
use crate::runtime::tasks::{self, Kind};
use crate::sync::locked;

use super::chats::{ChatUpdate, ChatUpdates};
use super::convert::{bare, preferred};
use super::error::SendFailure;
use super::news::{NewsSender, SessionNews};

/// Calls that ring at a time and can be rejected; of more, no end is noticed that WhatsApp does not tell.
const RINGING: usize = 16;
/// After this a call that WhatsApp says nothing more of counts as missed: phones give up after a minute.
const RINGS: Duration = Duration::from_secs(120);

/// What becomes of calls.
#[derive(Debug, Clone, Default)]
pub struct CallPolicy {
    /// Each one is rejected.
    pub reject: bool,
    /// A text for people whose call is rejected so.
    pub message: Option<Arc<str>>,
}

/// The calls of one account's session. Clones share them.
#[derive(Clone)]
pub struct Calls {
    pub chats: ChatUpdates,
    pub news: NewsSender,
    pub client: Arc<OnceLock<Weak<Client>>>,
    pub reject: bool,
    pub ringing: Arc<Mutex<VecDeque<Ringing>>>,
}

/// A call that rings.
#[derive(Debug)]
pub struct Ringing {
    id: String,
    /// Where it comes from, and who made it, as WhatsApp names them.
    peer: Jid,
    creator: Jid,
}

/// A `<call>` as far as it matters here.
struct Heard {
    news: CallNews,
    link: Option<(String, String)>,
    /// It rings now.
    ringing: Option<Ringing>,
}

fn heard(call: &IncomingCall) -> Option<Heard> {
    let creator = call.action.call_creator();
    let (mut chat, mut by, mut link) = (bare(&call.from), bare(&call.from), None);
    let mut rings = false;
    let said = match &call.action {
        CallAction::Offer {
            caller_pn,
            is_video,
            group_jid,
            ..
        } => {
            rings = !call.offline;
            (by, link) = preferred(creator, caller_pn.as_ref());
            chat = match group_jid {
                Some(group) => bare(group),
                None => by.clone(),
            };
            CallSaid::Offered {
                video: *is_video,
                group: group_jid.is_some() || call.group.is_some(),
                missed: call.offline,
            }
        }
        CallAction::OfferNotice {
            is_video, is_group, ..
        } => {
            rings = !call.offline;
            by = bare(creator);
            CallSaid::Offered {
                video: *is_video,
                group: *is_group,
                missed: call.offline,
            }
        }
        CallAction::Accept { .. } => CallSaid::Accepted,
        // Another device is in a call; the others go on ringing.
        CallAction::Reject { reason, .. } if reason.as_deref() == Some("busy") => return None,
        CallAction::Reject { .. } => CallSaid::Rejected,
        CallAction::Terminate {
            reason, duration, ..
        } => match reason.as_deref() {
            Some("accepted_elsewhere") => CallSaid::Accepted,
            Some("rejected_elsewhere") => CallSaid::Rejected,
            _ => CallSaid::Over {
                duration: duration.map(u64::from),
            },
        },
        _ => return None,
    };
    let id = call.action.call_id().to_owned();
    Some(Heard {
        ringing: rings.then(|| Ringing {
            id: id.clone(),
            peer: call.from.clone(),
            creator: creator.clone(),
        }),
        news: CallNews {
            id,
            chat,
            by,
            push_name: call.notify.clone(),
            at: u64::try_from(call.timestamp.timestamp_millis()).unwrap_or(0),
            said,
        },
        link,
    })
}

impl Calls {
    /// A stanza, before the client looks at it.
    pub fn hear(&self, node: &NodeRef<'_>) {
        if node.tag != "call" {
            return;
        }
        let call = match parse_call_stanza(node) {
            Ok(Some(call)) => call,
            Ok(None) => return,
            Err(error) => return log::debug!("a call is not understood: {error}"),
        };
        let Some(Heard {
            news,
            link,
            ringing,
        }) = heard(&call)
        else {
            return;
        };
        if let Some((lid, number)) = link {
            self.chats.note(ChatUpdate::Link { lid, number });
        }
        match ringing {
            Some(ringing) => self.rings(ringing, &news),
            None => _ = self.take(&news.id),
        }
        self.chats.note(ChatUpdate::Call(Box::new(news)));
    }

    fn rings(&self, ringing: Ringing, news: &CallNews) {
        {
            let mut all = locked(&self.ringing);
            if all.len() >= RINGING || all.iter().any(|one| one.id == ringing.id) {
                return;
            }
            all.push_back(ringing);
        }
        let (calls, id, chat) = (self.clone(), news.id.clone(), news.chat.clone());
        let by = news.by.clone();
        let follow = async move {
            if calls.reject {
                match calls.reject(&id).await {
                    // Groups get no text.
                    Ok(true) if chat == by => {
                        let _ = calls.news.tell(SessionNews::CallRejected(chat.clone()));
                    }
                    Ok(_) => {}
                    Err(error) => log::warn!("a call is not rejected: {error}"),
                }
            }
            clock::sleep(RINGS).await;
            if calls.take(&id).is_some() {
                calls.note(&id, &chat, &by, CallSaid::Over { duration: None });
            }
        };
        let name = format!("{}: a call", self.chats.owner.id);
        tasks::guard(&self.chats.executor, Kind::Errand, name, follow).detach();
    }

    /// Rejects a call, on all of the account's devices; false if no such call rings.
    ///
    /// # Errors
    /// When it cannot be sent: the call rings on.
    pub async fn reject(&self, id: &str) -> Result<bool, SendFailure> {
        let Some(ringing) = self.take(id) else {
            return Ok(false);
        };
        let client = self.client.get().and_then(Weak::upgrade);
        let sent = match &client {
            Some(client) => {
                let (peer, creator) = (&ringing.peer, &ringing.creator);
                let sent = client.voip().reject_call(id, peer, creator).await;
                sent.map_err(|error| SendFailure::Other(error.to_string()))
            }
            None => Err(SendFailure::NotConnected),
        };
        if let Err(error) = sent {
            locked(&self.ringing).push_back(ringing);
            return Err(error);
        }
        let by = bare(&ringing.creator);
        self.note(id, &by, &by, CallSaid::Rejected);
        Ok(true)
    }

    fn note(&self, id: &str, chat: &str, by: &str, said: CallSaid) {
        self.chats.note(ChatUpdate::Call(Box::new(CallNews {
            id: id.to_owned(),
            chat: chat.to_owned(),
            by: by.to_owned(),
            push_name: None,
            at: clock::now(),
            said,
        })));
    }

    fn take(&self, id: &str) -> Option<Ringing> {
        let mut all = locked(&self.ringing);
        let at = all.iter().position(|one| one.id == id)?;
        all.remove(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use whatsapp_rust::NodeBuilder;
    use whatsapp_rust::wacore_binary::Node;

    fn call(from: &str, child: NodeBuilder) -> Node {
        NodeBuilder::new("call")
            .attr("from", from)
            .attr("id", "S1")
            .attr("t", "5")
            .children([child
                .attr("call-id", "C1")
                .attr("call-creator", "7:3@lid")
                .build()])
            .build()
    }

    fn read(node: &Node) -> Option<Heard> {
        heard(&parse_call_stanza(&node.as_node_ref()).unwrap()?)
    }

    #[test]
    fn an_offer_rings_in_the_chat_of_its_caller_or_group() {
        let offer = || NodeBuilder::new("offer").attr("caller_pn", "49170@s.whatsapp.net");
        let one = read(&call("7@lid", offer())).unwrap();
        assert_eq!(
            (one.news.chat.as_str(), one.news.at),
            ("49170@s.whatsapp.net", 5_000)
        );
        assert_eq!(
            one.link,
            Some(("7@lid".into(), "49170@s.whatsapp.net".into()))
        );
        assert!(one.ringing.is_some());
        let video = NodeBuilder::new("video").build();
        let group = offer().attr("group-jid", "1203@g.us").children([video]);
        let group = read(&call("7@lid", group)).unwrap();
        assert_eq!(group.news.chat, "1203@g.us");
        let said = CallSaid::Offered {
            video: true,
            group: true,
            missed: false,
        };
        assert_eq!(group.news.said, said);
        let mut late = call("7@lid", offer());
        late.attrs.insert("offline", "0");
        let late = read(&late).unwrap();
        assert!(late.ringing.is_none());
        assert!(matches!(
            late.news.said,
            CallSaid::Offered { missed: true, .. }
        ));
    }

    #[test]
    fn the_reason_says_how_a_call_ended() {
        let said = |reason: &str| {
            let child = NodeBuilder::new("terminate").attr("reason", reason);
            read(&call("7@lid", child)).unwrap().news.said
        };
        assert_eq!(said("accepted_elsewhere"), CallSaid::Accepted);
        assert_eq!(said("rejected_elsewhere"), CallSaid::Rejected);
        assert_eq!(said("timeout"), CallSaid::Over { duration: None });
        let busy = NodeBuilder::new("reject").attr("reason", "busy");
        assert!(read(&call("7@lid", busy)).is_none());
        assert!(read(&call("7@lid", NodeBuilder::new("transport"))).is_none());
    }
}
