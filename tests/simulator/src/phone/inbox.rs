//! The inbox of a phone: messages received, and the state of messages sent.

use serde::Serialize;
use wacore_binary::Jid;
use waproto::whatsapp as wa;

use super::app_state::Heard;
use super::describe::{Album, Card, Place, Planned, Preview, Question, Quoted};
use super::media::{Attachment, Media};
use super::outgoing::{Body, Coming};
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
    /// `text`, `image`, `video`, `audio`, `document`, `sticker`, `location`, `contact`, `poll`, `event`,
    /// `reaction`, `edit`, `delete`, `pin`, `keep`, `vote`, `response`, or `unknown`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The text, caption, question or new text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The message that this one answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quoted_id: Option<String>,
    /// The quoted text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quoted: Option<Quoted>,
    /// The JIDs mentioned.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mentions: Vec<String>,
    /// What a text shows of its link.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link_preview: Option<Preview>,
    /// Of a text story: what is behind it, as ARGB, and the number of its font.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub background: Option<u32>,
    /// The number of a text story's font.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub font: Option<i32>,
    /// Whether it carries the "forwarded" label.
    pub forwarded: bool,
    /// How often it was forwarded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forwarding_score: Option<u32>,
    /// The message that this one edits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edit_of: Option<String>,
    /// What a later edit made of the text or caption.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edited_text: Option<String>,
    /// Why the phone does not follow this change of another message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignored: Option<&'static str>,
    /// The message that this one deletes for everyone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delete_of: Option<String>,
    /// The message that this one reacts to; the emoji is in `text`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reaction_to: Option<String>,
    /// The message that this one pins or keeps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mark_of: Option<String>,
    /// Seconds of a pin, 0 if it ends; whether a message is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mark: Option<u32>,
    /// What an album's head announces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub album: Option<Album>,
    /// The head of the album that it is part of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub album_of: Option<String>,
    /// The poll that this one is a vote in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vote_in: Option<String>,
    /// The options of a vote; `?` stands for one that the poll does not have.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// The event that this one responds to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_to: Option<String>,
    /// What it says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response: Option<Coming>,
    /// How many others come along.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guests: Option<u32>,
    /// Why a client would not show it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<&'static str>,
    /// Whether it can be opened only once.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub view_once: bool,
    /// After how many seconds it disappears.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiration: Option<u32>,
    /// The timer of its chat that it should have carried, and did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lacks_timer: Option<u32>,
    /// The file of a message that has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media: Option<Box<Media>>,
    /// The place of a location.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<Place>,
    /// The cards of a contact message.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub contacts: Vec<Card>,
    /// The question of a poll.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub poll: Option<Question>,
    /// What an event plans.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<Planned>,
    /// Unix seconds, from the stanza.
    pub timestamp: u64,
    /// How often it was received again under the same id. A client shows it once.
    #[serde(skip_serializing_if = "is_zero")]
    pub repeats: u32,
    /// Whether a read receipt went out for it.
    pub read: bool,
    /// Whether a played receipt went out for it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub played: bool,
    /// The content without its wrappers, for quotes; texts are quoted from `text`.
    #[serde(skip)]
    pub(super) content: Option<Box<wa::Message>>,
    /// What votes and the like are encrypted with.
    #[serde(skip)]
    pub(super) secret: Option<Vec<u8>>,
    /// The chat as it was addressed.
    #[serde(skip)]
    pub(super) wire_chat: Option<Jid>,
    /// In a group: the sending device as the group names it.
    #[serde(skip)]
    pub(super) wire_author: Option<Jid>,
}

fn is_zero(count: &u32) -> bool {
    *count == 0
}

impl Received {
    fn is_voice(&self) -> bool {
        let media = self.media.as_ref();
        media.is_some_and(|media| media.ptt == Some(true))
    }
}

/// What a person does with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    Read,
    Played,
}

/// A receipt for a message that the phone sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Receipt {
    /// `delivered`, `read`, `played`, `retry`, `sender` or any other `type` of the stanza.
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
    /// The file of a message that has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media: Option<Box<Media>>,
    /// Unix seconds of the phone's clock.
    pub timestamp: u64,
    /// Whether the service has acknowledged it.
    pub acked: bool,
    /// The service's error, if it refused it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<u16>,
    /// The receipts so far, oldest first.
    pub receipts: Vec<Receipt>,
    /// The poll that it is a vote in, and the options.
    #[serde(skip)]
    pub(super) vote: Option<(String, Vec<String>)>,
    /// The event that it responds to, what, and with how many extra guests.
    #[serde(skip)]
    pub(super) response: Option<(String, Coming, u32)>,
}

/// What a phone could not show its owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Unread {
    /// The stanza's id.
    pub message_id: String,
    /// The sending device, phone-number form.
    pub from: String,
    /// Why: the name of the reason that a retry receipt gives, or `key used` for a message whose key an
    /// earlier one had used up. Clients take that for a repetition and drop it, so it is lost.
    pub reason: &'static str,
}

/// What another person was shown as doing in a chat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ChatState {
    /// The chat, as the stanza names it.
    pub chat: String,
    /// The person's number.
    pub from: String,
    /// `typing`, `recording` or `paused`.
    pub state: &'static str,
}

/// The newest messages in both directions.
#[derive(Debug)]
pub struct Inbox {
    received: Recent<String, Received>,
    sent: Recent<String, Sent>,
    unread: Vec<Unread>,
    chat_states: Vec<ChatState>,
    heard: Vec<Heard>,
}

impl Default for Inbox {
    fn default() -> Self {
        Self {
            received: Recent::new(CAPACITY),
            sent: Recent::new(CAPACITY),
            unread: Vec::new(),
            chat_states: Vec::new(),
            heard: Vec::new(),
        }
    }
}

/// The body of `GET /admin/phones/:number/messages`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct View<'a> {
    received: Vec<&'a Received>,
    sent: Vec<&'a Sent>,
    unread: &'a [Unread],
    chat_states: &'a [ChatState],
    app_state: &'a [Heard],
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

    /// `{"received": […], "sent": […], "unread": […], "chatStates": […], "appState": […]}` with the fields of [`Received`], [`Sent`],
    /// [`Unread`] and [`ChatState`].
    pub fn to_json(&self) -> serde_json::Value {
        let view = View {
            received: self.received().collect(),
            sent: self.sent().collect(),
            unread: &self.unread,
            chat_states: &self.chat_states,
            app_state: &self.heard,
        };
        // Plain structs of strings and numbers: serde_json has no way to fail on them.
        serde_json::to_value(view).unwrap_or_default()
    }

    /// Shows a message, once for each id.
    pub(super) fn push(&mut self, message: Received) {
        match self.received.get_mut(&message.message_id) {
            Some(shown) => shown.repeats += 1,
            None => self.received.insert(message.message_id.clone(), message),
        }
    }

    /// An edit of a received message was followed.
    pub(super) fn set_edited(&mut self, id: &str, text: Option<String>) {
        if let Some(shown) = self.received.get_mut(id) {
            shown.edited_text = text;
        }
    }

    /// Notes a message that could not be read.
    pub(super) fn push_unread(&mut self, unread: Unread) {
        if self.unread.len() < CAPACITY {
            self.unread.push(unread);
        }
    }

    /// Notes what a linked device changed in the app state.
    pub(super) fn push_heard(&mut self, heard: Heard) {
        if self.heard.len() < CAPACITY {
            self.heard.push(heard);
        }
    }

    /// Notes what another person does in a chat.
    pub(super) fn push_chat_state(&mut self, state: ChatState) {
        if self.chat_states.len() < CAPACITY {
            self.chat_states.push(state);
        }
    }

    pub(super) fn push_sent(&mut self, id: &str, to: &Jid, body: &Body, now_ms: u64) {
        let file = |kind, file: &'_ Attachment| (kind, file.caption.clone());
        let (kind, text) = match body {
            Body::Text(text) => ("text", Some(text.clone())),
            Body::Image(image) => file("image", image),
            Body::Video(video) => file("video", video),
            Body::Audio(audio) => file("audio", audio),
            Body::Document(document) => file("document", document),
            Body::Sticker(sticker) => file("sticker", sticker),
            Body::Location(place) => ("location", place.name.clone()),
            Body::LiveLocation(_) => ("location", None),
            Body::Contact(contact) => ("contact", Some(contact.name.clone())),
            Body::Contacts(_) => ("contact", None),
            Body::Poll(poll) => ("poll", Some(poll.name.clone())),
            Body::Event(event) => ("event", Some(event.name.clone())),
            Body::Album { .. } => ("album", None),
            Body::Unknown(_) | Body::Protobuf(_) => ("unknown", None),
            Body::Card(card) => ("card", Some(card.text.clone())),
            Body::Answer(answer) => ("answer", Some(answer.text.clone())),
            Body::Invite(invite) => ("invite", invite.caption.clone()),
            Body::Product(product) => ("product", product.text.clone()),
            Body::Order(order) => ("order", order.text.clone()),
            Body::Payment(payment) => ("payment", payment.text.clone()),
            Body::React { emoji, .. } => ("reaction", Some(emoji.clone())),
            Body::Edit { text, .. } => ("edit", Some(text.clone())),
            Body::Timer(_) => ("timer", None),
            Body::Pin { .. } => ("pin", None),
            Body::Keep { .. } => ("keep", None),
            Body::Delete { .. } => ("delete", None),
            Body::Vote { .. } => ("vote", None),
            Body::Respond { .. } => ("response", None),
        };
        self.sent.insert(
            id.to_owned(),
            Sent {
                message_id: id.to_owned(),
                to: to.to_string(),
                kind,
                text,
                media: None,
                timestamp: now_ms / 1000,
                acked: false,
                error: None,
                receipts: Vec::new(),
                vote: match body {
                    Body::Vote {
                        message_id,
                        options,
                    } => Some((message_id.clone(), options.clone())),
                    _ => None,
                },
                response: match body {
                    Body::Respond {
                        message_id,
                        response,
                        guests,
                    } => Some((message_id.clone(), *response, *guests)),
                    _ => None,
                },
            },
        );
    }

    /// Adds the file to a message that was sent.
    pub(super) fn set_media(&mut self, id: &str, media: Box<Media>) {
        if let Some(sent) = self.sent.get_mut(id) {
            sent.media = Some(media);
        }
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

    /// Marks messages of a chat and returns their ids by the address of the chat they came with, and in
    /// groups by sender. `ids` of `None` means all that are unread, or all voice notes that
    /// were not played.
    pub(super) fn mark(
        &mut self,
        chat: &Jid,
        ids: Option<&[String]>,
        mark: Mark,
    ) -> Vec<(Jid, Option<Jid>, Vec<String>)> {
        let name = chat.to_string();
        let wanted: Vec<String> = self
            .received
            .iter()
            .filter(|m| !m.from_me && (m.chat == name || m.wire_chat.as_ref() == Some(chat)))
            .filter(|m| match ids {
                Some(ids) => ids.contains(&m.message_id),
                None => match mark {
                    Mark::Read => !m.read,
                    Mark::Played => !m.played && m.is_voice(),
                },
            })
            .map(|m| m.message_id.clone())
            .collect();
        let mut by_chat: Vec<(Jid, Option<Jid>, Vec<String>)> = Vec::new();
        for id in wanted {
            let Some(message) = self.received.get_mut(&id) else {
                continue;
            };
            match mark {
                Mark::Read => message.read = true,
                Mark::Played => message.played = true,
            }
            let to = message.wire_chat.clone().unwrap_or_else(|| chat.clone());
            let author = message.wire_author.clone();
            let known = by_chat
                .iter_mut()
                .find(|(jid, who, _)| *jid == to && *who == author);
            match known {
                Some((_, _, ids)) => ids.push(id),
                None => by_chat.push((to, author, vec![id])),
            }
        }
        by_chat
    }
}
