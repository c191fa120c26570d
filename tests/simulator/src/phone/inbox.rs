//! What a phone shows its owner: messages received, and what became of the messages sent.

use serde::Serialize;
use wacore::proto_helpers::MessageExt as _;
use wacore_binary::Jid;
use waproto::whatsapp as wa;
use waproto::whatsapp::message::protocol_message::Type as ProtocolType;

use super::outgoing::Body;
use super::recent::Recent;

/// How many messages of each direction are kept; the oldest go first.
const CAPACITY: usize = 100_000;
/// How many receipts are kept for one message sent.
const MAX_RECEIPTS: usize = 64;

/// A message that reached the phone, decrypted.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Received {
    /// The stanza's id.
    pub message_id: String,
    /// The sending device, phone-number form.
    pub from: String,
    /// The chat, phone-number form without a device.
    pub chat: String,
    /// Whether a linked device of the phone's own account sent it.
    pub from_me: bool,
    /// `text`, `image`, `video`, `audio`, `document`, `sticker`, `location`, `contact`, `poll`,
    /// `reaction`, `edit`, `delete`, or `unknown`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The text, caption, question or new text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The message that this one answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quoted_id: Option<String>,
    /// The JIDs mentioned.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mentions: Vec<String>,
    /// Whether it carries the "forwarded" label.
    pub forwarded: bool,
    /// The message that this one edits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edit_of: Option<String>,
    /// The message that this one deletes for everyone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delete_of: Option<String>,
    /// The message that this one reacts to; the emoji is in `text`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reaction_to: Option<String>,
    /// Unix seconds, from the stanza.
    pub timestamp: u64,
    /// Whether a read receipt went out for it.
    pub read: bool,
    /// The chat as it was addressed.
    #[serde(skip)]
    pub(super) wire_chat: Option<Jid>,
}

/// A receipt for a message that the phone sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Receipt {
    /// `delivered`, `read`, `played`, `retry`, `sender` or whatever the stanza's `type` said.
    #[serde(rename = "type")]
    pub kind: String,
    /// The device that sent it, as the stanza said.
    pub from: String,
    /// Unix seconds, from the stanza.
    pub t: u64,
}

/// A message that the phone sent.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Sent {
    /// The id the phone gave it.
    pub message_id: String,
    /// The chat, as it was addressed.
    pub to: String,
    /// The same kinds as for received messages.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The text, caption, question or emoji.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Unix seconds of the phone's clock.
    pub timestamp: u64,
    /// Whether the service has acknowledged it.
    pub acked: bool,
    /// The service's error, if it refused it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<u16>,
    /// The receipts so far, oldest first.
    pub receipts: Vec<Receipt>,
}

/// The newest messages in both directions.
#[derive(Debug)]
pub struct Inbox {
    received: Recent<String, Received>,
    sent: Recent<String, Sent>,
}

impl Default for Inbox {
    fn default() -> Self {
        Self {
            received: Recent::new(CAPACITY),
            sent: Recent::new(CAPACITY),
        }
    }
}

/// The body of `GET /admin/phones/:number/messages`.
#[derive(Serialize)]
struct View<'a> {
    received: Vec<&'a Received>,
    sent: Vec<&'a Sent>,
}

impl Inbox {
    /// The messages received, oldest first.
    pub fn received(&self) -> impl Iterator<Item = &Received> {
        self.received.iter()
    }

    /// The messages sent, oldest first.
    pub fn sent(&self) -> impl Iterator<Item = &Sent> {
        self.sent.iter()
    }

    /// A message received, by id.
    pub fn find(&self, id: &str) -> Option<&Received> {
        self.received.get(id)
    }

    /// A message sent, by id.
    pub fn find_sent(&self, id: &str) -> Option<&Sent> {
        self.sent.get(id)
    }

    /// `{"received": […], "sent": […]}` with the fields of [`Received`] and [`Sent`].
    pub fn to_json(&self) -> serde_json::Value {
        let view = View {
            received: self.received().collect(),
            sent: self.sent().collect(),
        };
        // Plain structs of strings and numbers: serde_json has no way to fail on them.
        serde_json::to_value(view).unwrap_or_default()
    }

    pub(super) fn push(&mut self, message: Received) {
        self.received.insert(message.message_id.clone(), message);
    }

    pub(super) fn push_sent(&mut self, id: &str, to: &Jid, body: &Body, now_ms: u64) {
        let (kind, text) = match body {
            Body::Text(text) => ("text", Some(text)),
            Body::Location(place) => ("location", place.name.as_ref()),
            Body::Contact(contact) => ("contact", Some(&contact.name)),
            Body::Poll(poll) => ("poll", Some(&poll.name)),
            Body::React { emoji, .. } => ("reaction", Some(emoji)),
            Body::Edit { text, .. } => ("edit", Some(text)),
            Body::Delete { .. } => ("delete", None),
        };
        self.sent.insert(
            id.to_owned(),
            Sent {
                message_id: id.to_owned(),
                to: to.to_string(),
                kind,
                text: text.cloned(),
                timestamp: now_ms / 1000,
                acked: false,
                error: None,
                receipts: Vec::new(),
            },
        );
    }

    pub(super) fn acked(&mut self, id: &str, error: Option<u16>) {
        if let Some(sent) = self.sent.get_mut(id) {
            sent.acked = error.is_none();
            sent.error = error;
        }
    }

    pub(super) fn receipt(&mut self, id: &str, receipt: Receipt) {
        if let Some(sent) = self.sent.get_mut(id)
            && sent.receipts.len() < MAX_RECEIPTS
        {
            sent.receipts.push(receipt);
        }
    }

    /// Marks messages of a chat read and returns their ids by the address of the chat they came
    /// with. `ids` of `None` means all that are unread.
    pub(super) fn mark_read(
        &mut self,
        chat: &Jid,
        ids: Option<&[String]>,
    ) -> Vec<(Jid, Vec<String>)> {
        let name = chat.to_string();
        let wanted: Vec<String> = self
            .received
            .iter()
            .filter(|m| !m.from_me && (m.chat == name || m.wire_chat.as_ref() == Some(chat)))
            .filter(|m| match ids {
                Some(ids) => ids.contains(&m.message_id),
                None => !m.read,
            })
            .map(|m| m.message_id.clone())
            .collect();
        let mut by_chat: Vec<(Jid, Vec<String>)> = Vec::new();
        for id in wanted {
            let Some(message) = self.received.get_mut(&id) else {
                continue;
            };
            message.read = true;
            let to = message.wire_chat.clone().unwrap_or_else(|| chat.clone());
            match by_chat.iter_mut().find(|(jid, _)| *jid == to) {
                Some((_, ids)) => ids.push(id),
                None => by_chat.push((to, vec![id])),
            }
        }
        by_chat
    }
}

/// Reads the content of a message into the fields that depend on it. `None` for messages that no
/// phone shows (keys, history, and other protocol business).
pub(super) fn describe(message: &wa::Message) -> Option<Received> {
    let base = message.get_base_message();
    let mut out = Received {
        kind: "unknown",
        ..Default::default()
    };
    if let Some(protocol) = base.protocol_message.as_option() {
        let of = protocol.key.as_option().and_then(|key| key.id.clone());
        match protocol.r#type {
            Some(ProtocolType::MESSAGE_EDIT) => {
                out.kind = "edit";
                out.edit_of = of;
                out.text = protocol
                    .edited_message
                    .as_option()
                    .and_then(|m| text_of(m.get_base_message()));
            }
            // REVOKE is 0, the default of proto2: clients may leave it out.
            Some(ProtocolType::REVOKE) | None if of.is_some() => {
                out.kind = "delete";
                out.delete_of = of;
            }
            _ => return None,
        }
        return Some(out);
    }
    if let Some(reaction) = base.reaction_message.as_option() {
        out.kind = "reaction";
        out.text = reaction.text.clone();
        out.reaction_to = reaction.key.as_option().and_then(|key| key.id.clone());
        return Some(out);
    }
    out.kind = kind_of(base);
    out.text = text_of(base);
    if let Some(context) = context_of(base) {
        out.quoted_id = context.stanza_id.clone();
        out.mentions = context.mentioned_jid.clone();
        out.forwarded = context.is_forwarded.unwrap_or(false);
    }
    Some(out)
}

fn kind_of(m: &wa::Message) -> &'static str {
    if m.conversation.is_some() || m.extended_text_message.is_set() {
        "text"
    } else if m.image_message.is_set() {
        "image"
    } else if m.video_message.is_set() {
        "video"
    } else if m.audio_message.is_set() {
        "audio"
    } else if m.document_message.is_set() {
        "document"
    } else if m.sticker_message.is_set() {
        "sticker"
    } else if m.location_message.is_set() || m.live_location_message.is_set() {
        "location"
    } else if m.contact_message.is_set() || m.contacts_array_message.is_set() {
        "contact"
    } else if poll_of(m).is_some() {
        "poll"
    } else {
        "unknown"
    }
}

fn poll_of(m: &wa::Message) -> Option<&wa::message::PollCreationMessage> {
    m.poll_creation_message
        .as_option()
        .or_else(|| m.poll_creation_message_v2.as_option())
        .or_else(|| m.poll_creation_message_v3.as_option())
}

fn text_of(m: &wa::Message) -> Option<String> {
    m.text_content()
        .or_else(|| m.get_caption())
        .map(str::to_owned)
        .or_else(|| poll_of(m)?.name.clone())
        .or_else(|| m.contact_message.as_option()?.display_name.clone())
        .or_else(|| m.location_message.as_option()?.name.clone())
}

fn context_of(m: &wa::Message) -> Option<&wa::ContextInfo> {
    macro_rules! first {
        ($($field:ident),+) => {
            None$(.or_else(|| m.$field.as_option()?.context_info.as_option()))+
        };
    }
    first!(
        extended_text_message,
        image_message,
        video_message,
        audio_message,
        document_message,
        sticker_message,
        location_message,
        contact_message
    )
    .or_else(|| poll_of(m)?.context_info.as_option())
}
