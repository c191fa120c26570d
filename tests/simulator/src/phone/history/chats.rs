//! All chats of a phone as in history: the generated ones, and messages really sent and
//! received.

use std::collections::HashMap;

use wacore_binary::{Jid, JidExt as _};
use waproto::buffa::MessageField;
use waproto::whatsapp as wa;
use waproto::whatsapp::web_message_info::{Status, StubType};

use crate::directory::{DeviceAddr, Directory};
use crate::phone::Phone;
use crate::phone::addons::{hash_of, secret_in, wire_response};
use crate::phone::inbox::{Received, Sent};
use crate::phone::outgoing::Coming;

/// A chat, its messages by number from the oldest.
pub(super) struct Chat {
    pub(super) jid: Jid,
    /// Its number in the past, if it has one.
    past: Option<usize>,
    /// How many of its messages are of the past.
    old: usize,
    /// What came after.
    new: Vec<wa::WebMessageInfo>,
    /// The number of unread messages.
    pub(super) unread: usize,
}

impl Chat {
    pub(super) fn len(&self) -> usize {
        self.old + self.new.len()
    }

    /// When a message was sent, Unix seconds.
    pub(super) fn time(&self, phone: &Phone, n: usize) -> u64 {
        match (n.checked_sub(self.old), &phone.past, self.past) {
            (None, Some(past), Some(chat)) => past.time(chat, n),
            (Some(at), ..) => self
                .new
                .get(at)
                .and_then(|message| message.message_timestamp)
                .unwrap_or(0),
            _ => 0,
        }
    }

    pub(super) fn message(&self, phone: &Phone, n: usize) -> Option<wa::WebMessageInfo> {
        match n.checked_sub(self.old) {
            None => phone.past.as_ref()?.message(self.past?, n),
            Some(at) => self.new.get(at).cloned(),
        }
    }
}

impl Phone {
    /// Every chat, those of the past first.
    pub(super) fn chats(&self, dir: &dyn Directory) -> Vec<Chat> {
        let mut chats: Vec<Chat> = Vec::new();
        let mut by_jid: HashMap<String, usize> = HashMap::new();
        if let Some(past) = &self.past {
            for at in 0..past.chats.len() {
                let Some(jid) = past.jid(at) else { continue };
                by_jid.insert(self.canonical(&jid, dir).to_string(), chats.len());
                chats.push(Chat {
                    jid,
                    past: Some(at),
                    old: past.messages,
                    new: Vec::new(),
                    unread: past.unread.min(past.messages),
                });
            }
        }
        for (jid, message, unread) in self.lived(dir) {
            let at = *by_jid.entry(jid.to_string()).or_insert_with(|| {
                chats.push(Chat {
                    jid: jid.clone(),
                    past: None,
                    old: 0,
                    new: Vec::new(),
                    unread: 0,
                });
                chats.len() - 1
            });
            if let Some(chat) = chats.get_mut(at) {
                chat.new.push(message);
                chat.unread += usize::from(unread);
            }
        }
        chats
    }

    /// People by number, groups as they are.
    fn canonical(&self, jid: &Jid, dir: &dyn Directory) -> Jid {
        match self.addr_of(jid, dir) {
            Some(addr) => Jid::pn(addr.number),
            None => jid.to_non_ad(),
        }
    }

    /// Messages really sent and received, oldest first, with chat and unread state.
    /// Reactions, edits and deletions have changed the messages that they name.
    fn lived(&self, dir: &dyn Directory) -> Vec<(Jid, wa::WebMessageInfo, bool)> {
        let mut all: Vec<(Jid, wa::WebMessageInfo, bool)> = Vec::new();
        let mut at: HashMap<String, usize> = HashMap::new();
        let mut later = Vec::new();
        for sent in self.inbox.sent() {
            let Some(outbound) = self.outbound.get(&sent.message_id) else {
                continue;
            };
            let jid = self.canonical(&outbound.to, dir);
            let mut message = outbound.message.clone();
            message.message_context_info = MessageField::none();
            if let Some(mut info) = sent_info(&jid, sent, message) {
                info.message_secret = secret_in(&outbound.message);
                all.push((jid, info, false));
            } else {
                let change = Change::of(sent, &outbound.message);
                later.extend(change.map(|it| (sent.timestamp, it, self.own_addr(), true)));
            }
        }
        for received in self.inbox.received() {
            let Ok(jid) = received.chat.parse::<Jid>() else {
                continue;
            };
            let Ok(from) = received.from.parse::<Jid>() else {
                continue;
            };
            match received_info(&jid, received, dir.name_of(&from.user)) {
                Some(info) => all.push((jid, info, !received.read && !received.from_me)),
                None => {
                    let author = DeviceAddr {
                        number: from.user.to_string(),
                        device: from.device(),
                    };
                    let change = Change::of_received(received);
                    later.extend(
                        change.map(|it| (received.timestamp, it, author, received.from_me)),
                    );
                }
            }
        }
        all.sort_by_key(|(_, info, _)| info.message_timestamp);
        for (n, (_, info, _)) in all.iter().enumerate() {
            at.insert(info.key.id.clone().unwrap_or_default(), n);
        }
        later.sort_by_key(|(time, ..)| *time);
        for (time, change, author, from_me) in later {
            apply(&mut all, &at, change, &author, from_me, time);
        }
        all
    }
}

fn sent_info(chat: &Jid, sent: &Sent, message: wa::Message) -> Option<wa::WebMessageInfo> {
    if changes_another(&message) {
        return None;
    }
    let heard = |kind: &str| sent.receipts.iter().any(|receipt| receipt.kind == kind);
    let status = if heard("played") {
        Status::PLAYED
    } else if heard("read") {
        Status::READ
    } else if heard("delivered") {
        Status::DELIVERY_ACK
    } else if sent.acked {
        Status::SERVER_ACK
    } else {
        Status::PENDING
    };
    Some(wa::WebMessageInfo {
        key: MessageField::some(wa::MessageKey {
            remote_jid: Some(chat.to_string()),
            from_me: Some(true),
            id: Some(sent.message_id.clone()),
            participant: None,
        }),
        message: MessageField::some(message),
        message_timestamp: Some(sent.timestamp),
        status: Some(status),
        ..Default::default()
    })
}

fn received_info(
    chat: &Jid,
    received: &Received,
    push_name: Option<String>,
) -> Option<wa::WebMessageInfo> {
    if matches!(
        received.kind,
        "reaction" | "edit" | "delete" | "vote" | "response"
    ) {
        return None;
    }
    let message = match (&received.content, &received.text) {
        (Some(content), _) => (**content).clone(),
        (None, text) => wa::Message {
            conversation: Some(text.clone().unwrap_or_default()),
            ..Default::default()
        },
    };
    let author = match received.from_me {
        true => None,
        false => received
            .wire_author
            .as_ref()
            .map(|jid| jid.to_non_ad().to_string()),
    };
    Some(wa::WebMessageInfo {
        key: MessageField::some(wa::MessageKey {
            remote_jid: Some(chat.to_string()),
            from_me: Some(received.from_me),
            id: Some(received.message_id.clone()),
            participant: author.clone(),
        }),
        message: MessageField::some(message),
        message_timestamp: Some(received.timestamp),
        status: Some(Status::DELIVERY_ACK),
        participant: author,
        message_secret: received.secret.clone(),
        push_name: push_name.filter(|_| !received.from_me),
        ..Default::default()
    })
}

fn changes_another(message: &wa::Message) -> bool {
    message.reaction_message.is_set()
        || message.enc_reaction_message.is_set()
        || message.protocol_message.is_set()
        || message.poll_update_message.is_set()
        || message.enc_event_response_message.is_set()
}

/// What a message does to an earlier one.
struct Change {
    target: String,
    act: Act,
}

enum Act {
    /// An empty one takes the reaction back.
    React(String),
    Vote(Vec<String>),
    /// With the number of extra guests.
    Respond(Coming, u32),
    Edit(Box<wa::Message>),
    Delete,
}

impl Change {
    fn of(sent: &Sent, message: &wa::Message) -> Option<Change> {
        if let Some((target, options)) = sent.vote.clone() {
            let act = Act::Vote(options);
            return Some(Change { target, act });
        }
        if let Some((target, response, guests)) = sent.response.clone() {
            let act = Act::Respond(response, guests);
            return Some(Change { target, act });
        }
        if let Some(reaction) = message.reaction_message.as_option() {
            return Some(Change {
                target: reaction.key.as_option()?.id.clone()?,
                act: Act::React(reaction.text.clone().unwrap_or_default()),
            });
        }
        let protocol = message.protocol_message.as_option()?;
        Some(Change {
            target: protocol.key.as_option()?.id.clone()?,
            act: match protocol.edited_message.as_option() {
                Some(edited) => Act::Edit(Box::new(edited.clone())),
                None => Act::Delete,
            },
        })
    }

    fn of_received(received: &Received) -> Option<Change> {
        let text = received.text.clone().unwrap_or_default();
        if let Some(target) = received.reaction_to.clone() {
            let act = Act::React(text);
            return Some(Change { target, act });
        }
        if let Some(target) = received.vote_in.clone() {
            let act = Act::Vote(received.options.clone());
            return received.error.is_none().then_some(Change { target, act });
        }
        if let Some(target) = received.response_to.clone() {
            let act = Act::Respond(received.response?, received.guests.unwrap_or(0));
            return Some(Change { target, act });
        }
        if let Some(target) = received.edit_of.clone() {
            let act = Act::Edit(Box::new(wa::Message {
                conversation: Some(text),
                ..Default::default()
            }));
            return Some(Change { target, act });
        }
        let target = received.delete_of.clone()?;
        Some(Change {
            target,
            act: Act::Delete,
        })
    }
}

/// Lets a reaction, edit or deletion change the message that it names.
fn apply(
    all: &mut [(Jid, wa::WebMessageInfo, bool)],
    at: &HashMap<String, usize>,
    change: Change,
    author: &DeviceAddr,
    from_me: bool,
    time: u64,
) {
    let found = at.get(&change.target).and_then(|n| all.get_mut(*n));
    let Some((_, info, _)) = found else {
        return;
    };
    match change.act {
        Act::React(text) => {
            let by = Jid::pn(author.number.as_str()).to_string();
            info.reactions
                .retain(|it| it.key.participant.as_deref() != Some(by.as_str()));
            if !text.is_empty() {
                info.reactions.push(wa::Reaction {
                    key: MessageField::some(wa::MessageKey {
                        remote_jid: info.key.remote_jid.clone(),
                        from_me: Some(from_me),
                        id: info.key.id.clone(),
                        participant: Some(by),
                    }),
                    text: Some(text),
                    ..Default::default()
                });
            }
        }
        Act::Vote(options) => {
            let by = Jid::pn(author.number.as_str()).to_string();
            let is_his = |it: &wa::PollUpdate| {
                it.poll_update_message_key.participant.as_deref() == Some(by.as_str())
            };
            info.poll_updates.retain(|it| !is_his(it));
            if !options.is_empty() {
                let time = i64::try_from(time * 1000).ok();
                info.poll_updates.push(wa::PollUpdate {
                    poll_update_message_key: MessageField::some(wa::MessageKey {
                        remote_jid: info.key.remote_jid.clone(),
                        from_me: Some(from_me),
                        id: info.key.id.clone(),
                        participant: Some(by.clone()),
                    }),
                    vote: MessageField::some(wa::message::PollVoteMessage {
                        selected_options: options.iter().map(|it| hash_of(it)).collect(),
                    }),
                    sender_timestamp_ms: time,
                    server_timestamp_ms: time,
                    ..Default::default()
                });
            }
        }
        Act::Respond(response, guests) => {
            let by = Jid::pn(author.number.as_str()).to_string();
            let is_theirs = |it: &wa::EventResponse| {
                let key = &it.event_response_message_key;
                key.participant.as_deref() == Some(by.as_str())
            };
            info.event_responses.retain(|it| !is_theirs(it));
            info.event_responses.push(wa::EventResponse {
                event_response_message_key: MessageField::some(wa::MessageKey {
                    remote_jid: info.key.remote_jid.clone(),
                    from_me: Some(from_me),
                    id: info.key.id.clone(),
                    participant: Some(by.clone()),
                }),
                timestamp_ms: i64::try_from(time * 1000).ok(),
                event_response_message: MessageField::some(wa::message::EventResponseMessage {
                    response: Some(wire_response(response)),
                    extra_guest_count: i32::try_from(guests).ok(),
                    ..Default::default()
                }),
                ..Default::default()
            });
        }
        Act::Edit(message) => info.message = MessageField::some(*message),
        Act::Delete => {
            info.message = MessageField::none();
            info.message_stub_type = Some(StubType::REVOKE);
        }
    }
}
