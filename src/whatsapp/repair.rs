//! Devices that could not read a message which is here no more.
//!
//! When a device asks for a message again, the client first looks for the message, and where there is none it
//! stops: the device's session stays broken, and in a group it goes on without the key, until it asks for a
//! message that can still be had. So for those the session is given up here and the key counts as not had: the
//! next message brings both.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, Weak};

use whatsapp_rust::wacore::store::traits::ProtocolStore as _;
use whatsapp_rust::wacore_binary::{JidExt as _, NodeRef};
use whatsapp_rust::{Client, Jid};

use crate::clock::{self, Millis};
use crate::sync::locked;

use super::backend::Backend;
use super::holdback::{HoldBack, Job};

/// One device's session is given up so often at most: who asks is a stranger. Milliseconds.
const REST: Millis = 3_600_000;

/// Devices that are remembered for that; with more, all are forgotten.
const MOST: usize = 1024;

/// Hears of them for one session.
#[derive(Clone)]
pub struct Repairs {
    pub hold: HoldBack,
    pub backend: Backend,
    /// The session's client, once it is made.
    pub client: Arc<OnceLock<Weak<Client>>>,
    pub mended: Arc<Mended>,
}

/// What a retry receipt asks for.
#[derive(Debug, PartialEq)]
struct Asked {
    /// Without a device.
    chat: Jid,
    by: Jid,
    id: String,
}

impl Repairs {
    /// Takes in a stanza that came, before the client does anything about it.
    pub fn hear(&self, stanza: &NodeRef<'_>) {
        let Some(asked) = asked(stanza) else {
            return;
        };
        let repairs = self.clone();
        self.hold.next(move |job: Job| -> Job {
            Box::pin(async move {
                job.await;
                repairs.mend(&asked).await;
            })
        });
    }

    async fn mend(&self, asked: &Asked) {
        let chat = asked.chat.to_string();
        match self.backend.has_sent_message(&chat, &asked.id) {
            // Then the client has answered it.
            Ok(true) => return,
            Ok(false) => {}
            Err(error) => {
                log::debug!("not repaired: {error}");
                return;
            }
        }
        let Some(client) = self.client.get().and_then(Weak::upgrade) else {
            return;
        };
        let own = [client.pn(), client.lid()];
        let is_own = own.iter().flatten().any(|own| own.user == asked.by.user);
        let device = asked.by.to_string();
        if is_own
            || !self
                .mended
                .take(&format!("{device} {chat}"), clock::ticks())
        {
            return;
        }
        let by = std::slice::from_ref(&asked.by);
        if let Err(error) = client.signal().delete_sessions(by).await {
            log::debug!("a session is not given up: {error}");
        }
        if asked.chat.is_group()
            && let Err(error) = self
                .backend
                .set_sender_key_status(&chat, &[(device.as_str(), false)])
                .await
        {
            log::debug!("a device is not given a group's key again: {error}");
        }
        log::debug!(
            "{}: asked for and not here any more; the session is made anew",
            asked.id
        );
    }
}

fn asked(stanza: &NodeRef<'_>) -> Option<Asked> {
    if stanza.tag.as_ref() != "receipt" || stanza.get_attr("type")?.as_str() != "retry" {
        return None;
    }
    let jid = |key: &str| stanza.get_attr(key)?.as_str().parse::<Jid>().ok();
    let from = jid("from")?;
    let retry = stanza.get_optional_child("retry")?;
    let id = retry.get_attr("id")?.as_str().into_owned();
    let (chat, by) = match from.is_group() {
        true => (from.clone(), jid("participant")?),
        // About a message to another person: an own device asks.
        false if stanza.get_attr("recipient").is_some() => return None,
        false => (from.to_non_ad(), from),
    };
    Some(Asked { chat, by, id })
}

/// When the session with each device was given up, by [`clock::ticks`].
#[derive(Debug, Default)]
pub struct Mended(Mutex<BTreeMap<String, Millis>>);

impl Mended {
    /// Whether it may be done now, which is noted.
    fn take(&self, device: &str, ticks: Millis) -> bool {
        let mut mended = locked(&self.0);
        let rests = |at: &Millis| ticks.saturating_sub(*at) < REST;
        if mended.get(device).is_some_and(rests) {
            return false;
        }
        if mended.len() >= MOST {
            mended.clear();
        }
        mended.insert(device.to_owned(), ticks);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use whatsapp_rust::NodeBuilder;

    #[test]
    fn retry_receipts_say_who_asks_for_what() {
        let retry = || NodeBuilder::new("retry").attr("id", "3EB0").build();
        let receipt = |from: &str| {
            let receipt = NodeBuilder::new("receipt").attr("from", from);
            receipt.attr("type", "retry").children([retry()])
        };
        let read = |node: NodeBuilder| asked(&node.build().as_node_ref());
        let found = read(receipt("955:3@lid")).expect("one");
        assert_eq!(
            (found.chat.to_string(), found.by.to_string(), found.id),
            ("955@lid".into(), "955:3@lid".into(), "3EB0".into())
        );
        let found = read(receipt("12@g.us").attr("participant", "955:3@lid")).expect("one");
        assert_eq!(found.chat.to_string(), "12@g.us");
        assert_eq!(found.by.to_string(), "955:3@lid");
        for other in [
            receipt("12@g.us"),
            receipt("955@lid").attr("recipient", "956@lid"),
            receipt("955@lid").attr("type", "read"),
            NodeBuilder::new("receipt").attr("from", "955@lid"),
        ] {
            assert_eq!(read(other), None);
        }
    }

    #[test]
    fn a_session_is_given_up_once_an_hour() {
        let mended = Mended::default();
        assert!(mended.take("a", 5) && !mended.take("a", 6) && mended.take("b", 6));
        assert!(mended.take("a", 5 + REST));
        for n in 0..=MOST {
            mended.take(&n.to_string(), 0);
        }
        assert!(mended.0.lock().expect("locked").len() <= MOST);
    }
}
