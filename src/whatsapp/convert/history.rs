//! The phone's history: its conversations as chats and messages.

use whatsapp_rust::Jid;
use whatsapp_rust::types::message::EditAttribute;
use whatsapp_rust::waproto::whatsapp as wa;

use super::{AutoDownload, Envelope, Inbound, InboundContent, preferred_text, what};
use crate::clock::Millis;
use crate::jid::ChatJid;
use crate::message::timer::{Timer, seconds_at};
use crate::message::{By, DeliveryStatus, Message, Reaction, SECRET, bare, response_of, vote_of};

/// Votes of a poll, or responses to an event, in the history: more than a group has members, because each may have answered several times.
const VOTES: usize = 4_096;

/// A conversation without its messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversation {
    /// The chat's JID, by number where that is known.
    pub chat: String,
    pub name: Option<String>,
    pub unread: Option<u64>,
    /// The chat's LID and number, if it has both.
    pub link: Option<(String, String)>,
    /// After which its messages disappear.
    pub timer: Option<Timer>,
    /// A person's.
    pub username: Option<String>,
}

/// A conversation of the history; `None` if it is no chat.
pub fn conversation(conversation: &wa::Conversation) -> Option<Conversation> {
    let id = ChatJid::parse(&conversation.id).ok()?.to_string();
    let other = if id.ends_with("@lid") {
        conversation.pn_jid.as_deref()
    } else {
        conversation.lid_jid.as_deref()
    };
    let (chat, link) = preferred_text(id, other.map(bare));
    let is_person = ChatJid::parse(&chat).is_ok_and(|jid| jid.is_person());
    Some(Conversation {
        chat,
        name: conversation
            .name
            .clone()
            .or_else(|| conversation.display_name.clone())
            .filter(|name| !name.is_empty()),
        unread: conversation.unread_count.map(u64::from),
        link,
        timer: conversation.ephemeral_expiration.map(|seconds| Timer {
            seconds,
            at: seconds_at(conversation.ephemeral_setting_timestamp),
        }),
        username: conversation
            .username
            .clone()
            .filter(|name| is_person && !name.is_empty()),
    })
}

/// The account's own JIDs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Own {
    pub jid: String,
    pub lid: Option<String>,
}

/// A message of the history. `None` if it has no content: notices of calls and keys, and changes that are
/// already applied.
pub fn message(
    account_id: &str,
    own: &Own,
    chat: &Conversation,
    info: &wa::WebMessageInfo,
    now: Millis,
) -> Option<Inbound> {
    let key = info.key.as_option()?;
    let content = info.message.as_option()?;
    let from_me = key.from_me.unwrap_or(false);
    let is_person = ChatJid::parse(&chat.chat).is_ok_and(|jid| jid.is_person());
    let wire_sender = if from_me {
        own.jid.clone()
    } else if is_person {
        chat.chat.clone()
    } else {
        bare(info.participant.as_deref().or(key.participant.as_deref())?)
    };
    // The history names no alternative: the store knows the pairs that came with it.
    wire_sender.parse::<Jid>().ok()?;
    let envelope = Envelope {
        chat: chat.chat.clone(),
        wire_chat: key
            .remote_jid
            .as_deref()
            .map_or_else(|| chat.chat.clone(), bare),
        from: wire_sender.clone(),
        wire_sender,
        from_me,
        is_person,
        // The owner's phone has already applied allowed changes.
        edit: EditAttribute::Empty,
        message_id: key.id.clone()?,
        push_name: info.push_name.clone().filter(|name| !name.is_empty()),
        timestamp: info.message_timestamp.unwrap_or(0).saturating_mul(1000),
        status: from_me.then(|| status(info.status)),
        links: Vec::new(),
    };
    let never = AutoDownload { max_bytes: 0 };
    let mut found = what(account_id, envelope, content, never, now)?;
    if let InboundContent::Message { message, medium } = &mut found.what {
        if let Some(medium) = medium {
            medium.wanted = false;
        }
        message.reactions = reactions(own, chat, info);
        add_secret(message, info);
        add_votes(message, own, chat, info);
        add_responses(message, own, chat, info);
    }
    Some(found)
}

fn status(status: Option<wa::web_message_info::Status>) -> DeliveryStatus {
    use wa::web_message_info::Status;
    match status {
        Some(Status::ERROR) => DeliveryStatus::Failed,
        Some(Status::PENDING) => DeliveryStatus::Pending,
        Some(Status::DELIVERY_ACK) => DeliveryStatus::Delivered,
        Some(Status::READ) => DeliveryStatus::Read,
        Some(Status::PLAYED) => DeliveryStatus::Played,
        Some(Status::SERVER_ACK) | None => DeliveryStatus::Sent,
    }
}

/// The history has the secret beside the message or, as live messages have it, within.
fn add_secret(message: &mut Message, info: &wa::WebMessageInfo) {
    let given = info.message_secret.as_ref();
    if message.kind.has_secret() && message.secret.is_none() {
        message.secret = given.filter(|secret| secret.len() == SECRET).cloned();
    }
}

/// The votes that the phone had received, which it has decrypted.
fn add_votes(message: &mut Message, own: &Own, chat: &Conversation, info: &wa::WebMessageInfo) {
    for update in info.poll_updates.iter().take(VOTES) {
        let (Some(key), Some(vote)) = (
            update.poll_update_message_key.as_option(),
            update.vote.as_option(),
        ) else {
            continue;
        };
        let at = update.sender_timestamp_ms.or(update.server_timestamp_ms);
        let by = By {
            from: by_key(own, chat, key),
            from_me: key.from_me.unwrap_or(false),
            timestamp: at.and_then(|at| u64::try_from(at).ok()).unwrap_or(0),
        };
        if let Some(vote) = vote_of(message, &vote.selected_options) {
            vote.apply(message, &by);
        }
    }
}

/// The responses that the phone had received, which it has decrypted.
fn add_responses(message: &mut Message, own: &Own, chat: &Conversation, info: &wa::WebMessageInfo) {
    for given in info.event_responses.iter().take(VOTES) {
        let (Some(key), Some(response)) = (
            given.event_response_message_key.as_option(),
            given.event_response_message.as_option(),
        ) else {
            continue;
        };
        let at = given.timestamp_ms.or(response.timestamp_ms);
        let by = By {
            from: by_key(own, chat, key),
            from_me: key.from_me.unwrap_or(false),
            timestamp: at.and_then(|at| u64::try_from(at).ok()).unwrap_or(0),
        };
        if let Some(change) = response_of(response) {
            change.apply(message, &by);
        }
    }
}

/// The person whom a key of the history names.
fn by_key(own: &Own, chat: &Conversation, key: &wa::MessageKey) -> String {
    match key.from_me {
        Some(true) => own.jid.clone(),
        _ => key
            .participant
            .as_deref()
            .map_or_else(|| chat.chat.clone(), bare),
    }
}

fn reactions(own: &Own, chat: &Conversation, info: &wa::WebMessageInfo) -> Vec<Reaction> {
    info.reactions
        .iter()
        .filter_map(|reaction| {
            let key = reaction.key.as_option()?;
            Some(Reaction {
                from: by_key(own, chat, key),
                emoji: reaction.text.clone().filter(|emoji| !emoji.is_empty())?,
                timestamp: reaction
                    .sender_timestamp_ms
                    .and_then(|at| u64::try_from(at).ok())
                    .unwrap_or(0),
            })
        })
        .collect()
}
