//! The past that `POST /admin/phones/:number/history` gives to a phone.

use serde::Deserialize;
use serde_json::{Value, json};
use wacore_binary::JidExt as _;

use super::groups::Place;
use super::people::digits;
use super::{Form, GroupError, PeopleError, Service, now_secs};
use crate::phone::{Past, PastChat, Peer};

/// Chats of one past.
const MAX_CHATS: usize = 10_000;
/// Messages of one past.
const MAX_MESSAGES: usize = 2_000_000;
/// People of the past in each of its groups, beside the owner.
const GROUP_PEERS: usize = 5;

/// What a phone is to remember.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PastRequest {
    /// How many chats with people.
    chats: usize,
    /// How many messages in each chat and each group.
    messages_per_chat: usize,
    /// How many days back the oldest message is; 30 if absent.
    days: Option<u32>,
    /// How many groups.
    #[serde(default)]
    groups: usize,
    /// How many of each chat's newest messages are unread.
    #[serde(default)]
    unread: usize,
    /// What the messages say before their numbers; `message` if absent.
    text: Option<String>,
    /// Whether chats with people are kept under `pn` (if absent) or `lid`.
    addressing: Option<String>,
}

impl Service {
    /// Gives a phone a history, and creates its people and groups; returns the content of each chat.
    ///
    /// # Errors
    /// Too much of it, or [`PeopleError`].
    pub fn build_past(
        &mut self,
        number: &str,
        request: &PastRequest,
    ) -> Result<Value, PeopleError> {
        let chats = request.chats + request.groups;
        if chats > MAX_CHATS || chats.saturating_mul(request.messages_per_chat) > MAX_MESSAGES {
            return Err(GroupError::Full.into());
        }
        let by_lid = match request.addressing.as_deref() {
            None | Some("pn") => false,
            Some("lid") => true,
            Some(_) => return Err(GroupError::Malformed.into()),
        };
        let people = request
            .chats
            .max(if request.groups > 0 { GROUP_PEERS } else { 0 });
        let mut peers = Vec::with_capacity(people);
        for n in 0..people {
            peers.push(self.past_peer(number, n)?);
        }
        let mut all = Vec::with_capacity(chats);
        for n in 0..request.groups {
            let members: Vec<usize> = (0..GROUP_PEERS).collect();
            let numbers: Vec<String> = peers
                .iter()
                .take(GROUP_PEERS)
                .map(|peer| peer.number.clone())
                .collect();
            let subject = format!("Group {n}");
            let jid =
                self.create_group(number, &subject, &numbers, Form::Lid, (None, Place::Alone))?;
            all.push(PastChat::Group {
                id: jid.user().to_owned(),
                lid: true,
                members,
            });
        }
        all.extend((0..request.chats).map(PastChat::Person));
        let past = Past {
            peers,
            chats: all,
            messages: request.messages_per_chat,
            unread: request.unread,
            span: u64::from(request.days.unwrap_or(30)) * 24 * 60 * 60,
            until: now_secs(),
            text: request.text.clone().unwrap_or_else(|| "message".to_owned()),
            by_lid,
        };
        let answer = describe(&past);
        self.with_phone(number, |phone, _| phone.remember(past));
        Ok(answer)
    }

    /// A contact of the phone's owner; always the same for the same owner.
    fn past_peer(&mut self, owner: &str, n: usize) -> Result<Peer, PeopleError> {
        let first = digits(&[b"past", owner.as_bytes()], 10_000);
        // +1 556: a block of 10,000 numbers for each owner, so that numbers are unique.
        let number = format!("1556{first:04}{n:04}");
        let name = format!("Friend {n}");
        self.ensure_account(&number, Some(&name))?;
        Ok(Peer {
            lid: self.lid(&number).to_owned(),
            number,
            name,
        })
    }
}

/// `{messages, chats: [{jid, name, messages, first, last}]}`.
fn describe(past: &Past) -> Value {
    let last = past.messages.saturating_sub(1);
    let chats: Vec<Value> = (0..past.chats.len())
        .map(|chat| {
            json!({
                "jid": past.jid(chat).map(|jid| jid.to_string()),
                "messages": past.messages,
                "unread": past.unread.min(past.messages),
                "first": Past::id(chat, 0),
                "last": Past::id(chat, last),
                "lastText": past.text(chat, last),
            })
        })
        .collect();
    json!({"messages": past.messages * past.chats.len(), "chats": chats})
}
