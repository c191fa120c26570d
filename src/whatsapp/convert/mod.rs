//! Envelopes of received messages: sender, chat, and the sender's rights. [`crate::message`] reads their content.
//! Pure.
//!
//! [`inbound`] turns a decrypted message into a message to store, or a change of a stored one; [`history`] does the
//! same for the phone's history.

pub mod history;
mod rights;
#[cfg(test)]
mod tests;

use whatsapp_rust::Jid;
use whatsapp_rust::types::events::{DecryptFailMode, UnavailableType, UndecryptableMessage};
use whatsapp_rust::types::message::{EditAttribute, MessageCategory, MessageInfo};
use whatsapp_rust::waproto::{codec, whatsapp as wa};

use crate::clock::Millis;
use crate::jid::{ChatJid, Server};
use crate::message::timer::Timer;
use crate::message::{
    self, Author, By, Change, DeliveryStatus, Message, MessageKind, NewMedium, Target,
};
use crate::whatsapp::remote::is_path;
use rights::{Place, Reach};

/// A received message or change, and pairs of LID and number that came with it.
#[derive(Debug, Clone, PartialEq)]
pub struct Inbound {
    pub what: InboundContent,
    /// A LID and its phone number's JID: they are one person.
    pub links: Vec<(String, String)>,
}

/// A message to store, or a change of one.
#[derive(Debug, Clone, PartialEq)]
pub enum InboundContent {
    /// Store this message.
    Message {
        message: Box<Message>,
        medium: Option<Box<NewMedium>>,
    },
    /// The timer of a chat was set.
    Timer { chat: String, timer: Timer },
    /// Change a message that is stored, or comes later.
    Change {
        target: Target,
        by: By,
        change: Change,
    },
}

/// The envelope of a message: sender, chat and time.
#[derive(Debug, Clone, PartialEq)]
pub struct Envelope {
    /// The chat: a person's by number where that is known.
    chat: String,
    /// The chat and the sender as the stanza names them.
    wire_chat: String,
    wire_sender: String,
    /// The sender, by number where that is known.
    from: String,
    from_me: bool,
    is_person: bool,
    /// The stanza's `edit`, which WhatsApp's server vouches for.
    edit: EditAttribute,
    message_id: String,
    push_name: Option<String>,
    timestamp: Millis,
    status: Option<DeliveryStatus>,
    links: Vec<(String, String)>,
}

impl Envelope {
    /// Of a message that was decrypted just now.
    fn of(info: &MessageInfo) -> Envelope {
        let source = &info.source;
        // A message to a list of people is private to each of them.
        let to_list = !source.is_from_me && is_list(&bare(&source.chat));
        let place = if to_list {
            &source.sender
        } else {
            &source.chat
        };
        let is_person = (to_list || !source.is_group) && is_person(place);
        // A chat is known by its number where WhatsApp tells it, by its LID otherwise.
        let other_chat = match (is_person, source.is_from_me) {
            (true, true) => info
                .peer_recipient_pn
                .as_ref()
                .or(source.recipient_alt.as_ref()),
            (true, false) => source.sender_alt.as_ref(),
            (false, _) => None,
        };
        let (chat, of_chat) = preferred(place, other_chat);
        let (from, of_sender) = preferred(&source.sender, source.sender_alt.as_ref());
        let mut links: Vec<_> = of_chat.into_iter().chain(of_sender).collect();
        links.dedup();
        Envelope {
            chat,
            wire_chat: bare(place),
            wire_sender: bare(&source.sender),
            from,
            from_me: source.is_from_me,
            is_person,
            edit: info.edit.clone(),
            message_id: info.id.clone(),
            push_name: (!info.push_name.is_empty()).then(|| info.push_name.clone()),
            timestamp: u64::try_from(info.timestamp.timestamp_millis()).unwrap_or(0),
            status: source.is_from_me.then_some(DeliveryStatus::Sent),
            links,
        }
    }

    /// A message without content.
    fn message(&self, account_id: &str, kind: MessageKind, now: Millis) -> Message {
        Message {
            sender: self.from.clone(),
            wire_lid: (!self.is_person && self.wire_sender.ends_with("@lid"))
                .then(|| self.wire_sender.clone()),
            from_me: self.from_me,
            push_name: self.push_name.clone(),
            timestamp: self.timestamp,
            status: self.status,
            ..Message::empty(
                account_id,
                self.message_id.as_str(),
                self.chat.as_str(),
                kind,
                now,
            )
        }
    }

    fn place(&self) -> Place {
        match ChatJid::parse(&self.chat).map(|jid| jid.server()) {
            _ if self.is_person => Place::Person,
            Ok(Server::Group) => Place::Group,
            Ok(_) | Err(_) => Place::Other,
        }
    }
}

/// The bound on media that are fetched without a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AutoDownload {
    /// The largest one, in bytes; 0 fetches none.
    pub max_bytes: u64,
}

/// A decrypted message as it is stored; `None` if it has no content of its own (keys, settings, receipts between
/// own devices).
pub fn inbound(
    account_id: &str,
    info: &MessageInfo,
    message: &wa::Message,
    auto: AutoDownload,
    now: Millis,
) -> Option<Inbound> {
    let envelope = Envelope::of(info);
    what(account_id, envelope, message, auto, now)
}

/// The placeholder of a message that could not be decrypted.
#[derive(Debug, Clone, PartialEq)]
pub struct Placeholder {
    pub message: Box<Message>,
    /// Whether people see the message: false for changes of other messages and messages to devices.
    pub shown: bool,
    pub links: Vec<(String, String)>,
}

const WAITING: &str = "This message cannot be decrypted yet. It was asked for again, and appears \
                       here when it comes. The phone may show it.";
const VIEW_ONCE: &str = "A view-once message: WhatsApp shows it on the phone alone. Open it there.";
const PHONE_ONLY: &str = "WhatsApp gives this message to the phone alone. Open it there.";

/// The placeholder of a message that the client could not decrypt; `None` if it has no id.
pub fn placeholder(
    account_id: &str,
    lost: &UndecryptableMessage,
    now: Millis,
) -> Option<Placeholder> {
    let info = &*lost.info;
    if info.id.is_empty() {
        return None;
    }
    // Linked devices get empty copies of some messages.
    let withheld = lost.is_unavailable && lost.unavailable_type.is_unrecoverable_fanout();
    let (kind, note) = match lost.unavailable_type {
        UnavailableType::ViewOnce if withheld => (MessageKind::Unavailable, VIEW_ONCE),
        _ if withheld => (MessageKind::Unavailable, PHONE_ONLY),
        _ => (MessageKind::Waiting, WAITING),
    };
    let envelope = Envelope::of(info);
    let message = Message {
        note: Some(note.to_owned()),
        view_once: withheld && lost.unavailable_type == UnavailableType::ViewOnce,
        ..envelope.message(account_id, kind, now)
    };
    Some(Placeholder {
        message: Box::new(message),
        shown: lost.decrypt_fail_mode == DecryptFailMode::Show
            && info.category != MessageCategory::Peer
            && info.edit == EditAttribute::Empty,
        links: envelope.links,
    })
}

/// The message to store, or the change, in an envelope.
fn what(
    account_id: &str,
    envelope: Envelope,
    message: &wa::Message,
    auto: AutoDownload,
    now: Millis,
) -> Option<Inbound> {
    let base = message::unwrap(message);
    // A group's is WhatsApp's server to tell.
    if let Some(timer) = message::timer::decode(base).filter(|_| envelope.is_person) {
        let at = timer.at.unwrap_or(envelope.timestamp);
        let timer = Timer {
            // A time to come would outdo every later setting.
            at: Some(at.min(envelope.timestamp)),
            ..timer
        };
        return Some(Inbound {
            what: InboundContent::Timer {
                chat: envelope.chat,
                timer,
            },
            links: envelope.links,
        });
    }
    let what = match change(&envelope, base) {
        Some((target, change, timestamp)) => InboundContent::Change {
            target,
            by: By {
                from: envelope.from.clone(),
                from_me: envelope.from_me,
                timestamp,
            },
            change,
        },
        None => stored(account_id, &envelope, message, auto, now)?,
    };
    Some(Inbound {
        what,
        links: envelope.links,
    })
}

/// The change that a message makes to another, and when it was made; `None` if it makes none, or one
/// that its sender may not make.
fn change(envelope: &Envelope, base: &wa::Message) -> Option<(Target, Change, Millis)> {
    let message::Incoming {
        key,
        change,
        timestamp,
    } = message::decode_change(base)?;
    let target = target(envelope, &change, key)?;
    Some((target, change, timestamp.unwrap_or(envelope.timestamp)))
}

/// The message that a key means; `None` if its sender may not do that to it.
fn target(envelope: &Envelope, change: &Change, key: &wa::MessageKey) -> Option<Target> {
    let author = match rights::reach(change, envelope.place(), &envelope.edit) {
        // The sender may not change messages of others.
        Reach::Own if !key.from_me.unwrap_or(false) => {
            log::debug!(
                "{} of {:?}, which is not its sender's, is not honoured",
                change.name(),
                key.id
            );
            return None;
        }
        Reach::Own | Reach::Named => author(envelope, key),
    };
    // A deletion by an admin names the author.
    if *change == Change::Delete && author.is_none() {
        return None;
    }
    Some(Target {
        chat: envelope.chat.clone(),
        message_id: key.id.clone()?,
        author,
    })
}

/// The author of the message that a key names. Keys are written from the sender's side: `fromMe` means the sender,
/// not this account.
fn author(envelope: &Envelope, key: &wa::MessageKey) -> Option<Author> {
    let participant = || key.participant.as_deref().map(message::bare);
    match (envelope.from_me, key.from_me.unwrap_or(false)) {
        (true, true) => Some(Author::Me),
        // The sender's own message.
        (false, true) => Some(Author::Them(Some(envelope.wire_sender.clone()))),
        (true, false) => Some(Author::Them(participant())),
        // Not the sender's message: ours, or a third person's. In a group the participant says which, in a form
        // that only the store can compare with our two JIDs.
        (false, false) if envelope.is_person => Some(Author::Me),
        (false, false) => participant().map(Author::Named),
    }
}

/// A message as it is stored; `None` for messages to devices.
fn stored(
    account_id: &str,
    envelope: &Envelope,
    wrapped: &wa::Message,
    auto: AutoDownload,
    now: Millis,
) -> Option<InboundContent> {
    let base = message::unwrap(wrapped);
    // Allowed deletions and edits are changes, and so are votes, responses and encrypted reactions that can be read. An album's
    // head says how many images and videos follow.
    if base.protocol_message.is_set()
        || base.album_message.is_set()
        || base.poll_update_message.is_set()
        || base.enc_event_response_message.is_set()
        || base.enc_reaction_message.is_set()
    {
        return None;
    }
    let mut message = envelope.message(account_id, MessageKind::Unknown, now);
    let medium = content(wrapped, &mut message);
    if message.kind == MessageKind::Unknown && message::is_for_devices(base) {
        return None;
    }
    let medium = medium.map(|mut medium| {
        // A medium without a size is fetched up to the bound.
        medium.wanted = (1..=auto.max_bytes).contains(&medium.size.max(1))
            && medium.remote.is_some()
            && !is_published(&envelope.wire_chat);
        medium.wire_chat.clone_from(&envelope.wire_chat);
        medium.wire_sender = (!envelope.is_person).then(|| envelope.wire_sender.clone());
        Box::new(medium)
    });
    Some(InboundContent::Message {
        message: Box::new(message),
        medium,
    })
}

/// Sets what a message says; returns its file, without its chat.
fn content(wrapped: &wa::Message, message: &mut Message) -> Option<NewMedium> {
    let base = message::unwrap(wrapped);
    message.view_once = message::is_view_once(wrapped);
    message.album_id = message::album_of(wrapped);
    let mut medium = message::decode(base, message);
    if message.kind == MessageKind::Unavailable {
        message.note = Some(PHONE_ONLY.to_owned());
    }
    message.secret = message::secret_of(wrapped, base)
        .filter(|_| message.kind.has_secret())
        .map(<[u8]>::to_vec);
    if message.kind == MessageKind::Unknown || !message::is_in_full(base) {
        message.raw = Some(codec::message_to_vec(wrapped));
    }
    if let Some(medium) = &mut medium {
        // A missing path can be asked of the phone; a path to another host is dropped.
        medium
            .remote
            .take_if(|remote| !remote.direct_path.is_empty() && !is_path(&remote.direct_path));
    }
    medium
}

/// A stored message with what this version reads in its protobuf, and its file; `None` if that is nothing.
pub fn again(stored: &Message, raw: &[u8]) -> Option<(Message, Option<NewMedium>)> {
    let wrapped = codec::message_decode(raw).ok()?;
    let mut message = stored.clone();
    message.clear();
    message.kind = MessageKind::Unknown;
    let mut medium = content(&wrapped, &mut message);
    if message.kind == MessageKind::Unknown && message.words().is_none() {
        return None;
    }
    if let Some(medium) = &mut medium {
        let is_person = ChatJid::parse(&stored.chat_id).is_ok_and(|jid| jid.is_person());
        medium.wanted = false;
        medium.wire_chat.clone_from(&stored.chat_id);
        medium.wire_sender = (!is_person).then(|| stored.wire_sender().to_owned());
    }
    Some((message, medium))
}

/// Whether a chat is a publication (stories, channels): its media are many and rarely opened.
fn is_published(chat: &str) -> bool {
    chat == "status@broadcast" || chat.ends_with("@newsletter")
}

/// Whether it is a broadcast list, whose members do not know of each other. Stories are none.
fn is_list(chat: &str) -> bool {
    chat.ends_with("@broadcast") && chat != "status@broadcast"
}

fn is_person(jid: &Jid) -> bool {
    matches!(ChatJid::parse(&jid.to_string()), Ok(j) if j.is_person())
}

/// The JID without a device.
pub fn bare(jid: &Jid) -> String {
    jid.to_non_ad().to_string()
}

/// Of the two JIDs of one person the phone number's, and the pair (LID, number) if both are known.
pub fn preferred(jid: &Jid, alternative: Option<&Jid>) -> (String, Option<(String, String)>) {
    preferred_text(bare(jid), alternative.map(bare))
}

fn preferred_text(this: String, other: Option<String>) -> (String, Option<(String, String)>) {
    let Some(other) = other else {
        return (this, None);
    };
    match (this.ends_with("@lid"), other.ends_with("@lid")) {
        (true, false) => (other.clone(), Some((this, other))),
        (false, true) => (this.clone(), Some((other, this))),
        (true, true) | (false, false) => (this, None),
    }
}
