//! Messages: one file a kind, and one a kind of change. Pure.
//!
//! A kind's file says what its fields are, how they are stored, and its protobuf both ways. [`kind`] has the list of
//! kinds, and one `match` for each thing that is asked of all of them; [`change`] has the same for what happens to
//! stored messages. A new kind is a file here, its name in that list, and a route in `api`; it changes no stored
//! layout but the message's own, by a field with a default.

mod album;
pub mod bounds;
mod business;
mod call;
mod change;
mod choice;
mod contact;
mod context;
mod coverage;
mod deletion;
mod draft;
mod edit;
mod event;
mod fold;
mod forward;
mod invite;
mod kind;
mod location;
mod mark;
mod medium;
pub mod names;
mod other;
mod poll;
mod preview;
mod reaction;
mod referral;
mod secret;
mod shown;
mod story;
mod system;
mod text;
pub mod timer;
mod trade;
mod wire;

pub use album::{counts as album_counts, in_its_album};
pub use business::Button;
pub use call::{Call, CallNews, CallSaid, CallStatus};
pub use change::{Author, By, Change, Incoming, Target, decode as decode_change};
pub use choice::Choice;
pub use contact::{Contact, SendContact};
pub use context::{Context, album_of, bare, is_view_once, unwrap};
pub use coverage::{is_for_devices, is_in_full};
pub use deletion::DeleteMessage;
pub use draft::{Draft, Sendable};
pub use edit::EditMessage;
pub use event::{CallMedia, Coming, EventDetails, RespondToEvent, SendEvent, response_of};
pub use fold::words as folded_words;
pub use forward::{ForwardMessage, forwarded};
pub use invite::{Invite, to_group as invitation};
pub use kind::{MessageKind, decode, encode, quotation};
pub use location::{Location, SendLocation};
pub use mark::{KeepMessage, PinMessage, StarMessage, UnpinMessage, UnstarMessage};
pub use medium::{Medium, NewMedium, Remote, draft as file_draft};
pub use poll::{CastVote, Poll, SendPoll, Vote, vote_of};
pub use preview::LinkPreview;
pub use reaction::{React, Reaction};
pub use referral::Referral;
pub use secret::{SECRET, Sealed, new_secret, of_message as secret_of};
pub use story::{Colour, Font, Story, misfit as misfits_story};
pub use system::{Line, System};
pub use text::{ReplyText, SendText, of_words};
pub use trade::{Order, Payment, Product};
pub use wire::wa::Message as Encoded;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};

use crate::clock::{self, Millis};
use crate::jid::STORIES;
use crate::media::base64_bytes;

/// The version of what reads messages' protobufs. It is raised when more is read of a kind than before: then messages of which
/// the protobuf is kept are read again, once.
pub const DECODER: u32 = 1;

/// A message. Its JSON is what the API and the webhooks show (`shown`); what lies in the store is
/// [`Message::to_stored`]'s.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", remote = "Self")]
pub struct Message {
    pub account_id: String,
    /// WhatsApp's own id (`3EB0…`), unique only within a chat and sender.
    pub message_id: String,
    /// The chat's canonical JID: the phone number's once that is known.
    pub chat_id: String,
    /// The chat's LID, where both of a person's names are known.
    #[serde(skip)]
    pub chat_lid: Option<String>,
    /// A group's subject; what the account's owner, or else he himself, calls a person.
    #[serde(skip)]
    pub chat_name: Option<String>,
    /// The person who wrote it, by JID without a device: the phone number's once that is known. Of
    /// own messages the account's own.
    #[serde(rename = "from")]
    pub sender: String,
    /// The sender's LID, where it is known.
    #[serde(skip)]
    pub sender_lid: Option<String>,
    /// The LID under which the sender writes in this chat, if it goes by LIDs. Replies and reactions
    /// name the sender so.
    #[serde(rename = "fromLid", default, skip_serializing_if = "Option::is_none")]
    pub wire_lid: Option<String>,
    /// What the account's owner calls the sender.
    #[serde(skip)]
    pub sender_name: Option<String>,
    /// The sender's username, without `@`.
    #[serde(skip)]
    pub sender_username: Option<String>,
    pub from_me: bool,
    /// What the sender calls himself.
    pub push_name: Option<String>,
    /// Unix milliseconds, as WhatsApp's server dates it.
    pub timestamp: Millis,
    #[serde(rename = "type")]
    pub kind: MessageKind,
    /// Of a medium it is `None` here; shown is its caption.
    pub text: Option<String>,
    /// Says what to do about a message whose content is not here; only with the kinds
    /// `waiting` and `unavailable`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    pub caption: Option<String>,
    pub has_media: bool,
    pub media_id: Option<String>,
    pub media_type: Option<String>,
    pub media_mimetype: Option<String>,
    pub media_size: Option<u64>,
    pub media_file_name: Option<String>,
    /// Of a PDF.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page_count: Option<u32>,
    /// Messages of one album have the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub album_id: Option<String>,
    /// It can be opened once.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub view_once: bool,
    /// A video that is shown round.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub video_note: bool,
    /// Only for locations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<Location>,
    /// Only for contact cards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contacts: Option<Vec<Contact>>,
    /// Only for polls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub poll: Option<Poll>,
    /// Only for events. Not `event`: that is the name of what a webhook reports.
    #[serde(
        rename = "eventDetails",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub event: Option<EventDetails>,
    /// What can be pressed or chosen; only of businesses' messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buttons: Option<Vec<Button>>,
    /// Only for answers to buttons, lists and forms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub choice: Option<Choice>,
    /// The ad or link that led to the chat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub referral: Option<Referral>,
    /// Only for invitations to groups and channels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invite: Option<Invite>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product: Option<Product>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<Order>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment: Option<Payment>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<Call>,
    /// What happened to a group; only with `system`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<System>,
    /// What votes and responses are encrypted with; only for polls and events. Never shown.
    #[serde(
        default,
        with = "base64_bytes",
        skip_serializing_if = "Option::is_none"
    )]
    pub secret: Option<Vec<u8>>,
    pub quoted_message: Option<Quoted>,
    pub mentions: Vec<String>,
    pub reactions: Vec<Reaction>,
    pub is_forwarded: bool,
    /// How often it was forwarded, as WhatsApp counts it: 0 for the first time, 127 for often.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forwarding_score: Option<u32>,
    /// It said more than is kept of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
    pub edited: bool,
    /// When it was edited last, as WhatsApp dates it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edited_at: Option<Millis>,
    pub deleted: bool,
    /// Until when it is pinned in its chat, for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned_until: Option<Millis>,
    /// Seconds after which it disappears, as its sender said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiration: Option<u32>,
    /// When that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Millis>,
    /// Kept although the chat's messages disappear.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub kept: bool,
    /// Starred by the account's owner.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub starred: bool,
    /// Only for texts: what is shown of the first link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link_preview: Option<LinkPreview>,
    /// Only for stories: how a text looks, and whom an own one goes to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub story: Option<Story>,
    /// Only for own messages; `null` for others'.
    pub status: Option<DeliveryStatus>,
    /// Why it failed, in words; only for own messages that did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// When this server stored it, ISO 8601.
    pub created_at: String,
    /// Its protobuf, if it is not understood in full; only on its way into the store, where it lies apart.
    #[serde(skip)]
    pub raw: Option<Vec<u8>>,
}

impl Message {
    /// A message with nothing in it yet: no text, no medium, no reactions.
    ///
    /// `now` is when this server stores it; `timestamp` starts as the same.
    pub fn empty(
        account_id: impl Into<String>,
        message_id: impl Into<String>,
        chat_id: impl Into<String>,
        kind: MessageKind,
        now: Millis,
    ) -> Message {
        Message {
            account_id: account_id.into(),
            message_id: message_id.into(),
            chat_id: chat_id.into(),
            timestamp: now,
            kind,
            created_at: clock::iso8601(now),
            ..Message::default()
        }
    }

    /// As it lies in the store: without what is known of its chat and sender, which may change.
    ///
    /// # Errors
    /// Only if serde fails, which no type in here makes it do.
    pub fn to_stored(&self) -> serde_json::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(1024);
        Message::serialize(self, &mut serde_json::Serializer::new(&mut bytes))?;
        Ok(bytes)
    }

    /// Reads what [`Message::to_stored`] has written, in this or an earlier version.
    ///
    /// # Errors
    /// If it is no message.
    pub fn from_stored(bytes: &[u8]) -> serde_json::Result<Message> {
        let mut reader = serde_json::Deserializer::from_slice(bytes);
        let message = Message::deserialize(&mut reader)?;
        reader.end()?;
        Ok(message)
    }

    /// Where its file is to be had.
    pub fn media_url(&self) -> Option<String> {
        let media_id = self.media_id.as_deref()?;
        Some(media_url(&self.account_id, &self.message_id, media_id))
    }

    /// Whether a person wrote it to the account: lines about a group or a call raise no count, and get no
    /// receipts.
    pub fn counts_as_unread(&self) -> bool {
        !self.from_me && self.kind != MessageKind::System && !self.is_call_line()
    }

    /// Whether it is the line of a call that rang here.
    pub fn is_call_line(&self) -> bool {
        self.call.as_ref().is_some_and(|call| call.id.is_some())
    }

    /// The sender's JID as the chat knows it.
    pub fn wire_sender(&self) -> &str {
        self.wire_lid.as_deref().unwrap_or(&self.sender)
    }

    /// Whether it is a story: not a message of a chat, and kept for a day.
    pub fn is_story(&self) -> bool {
        self.chat_id == STORIES
    }

    /// What it says: its text, or its medium's caption.
    pub fn words(&self) -> Option<&str> {
        self.text.as_deref().or(self.caption.as_deref())
    }

    /// What it is found by: its text, its caption, its file's name. Stories are not searched.
    pub fn searched(&self) -> impl Iterator<Item = &str> {
        let texts = [&self.text, &self.caption, &self.media_file_name];
        let texts = texts.into_iter().filter(|_| !self.is_story());
        texts.filter_map(Option::as_deref)
    }

    /// The words that it is found by, sorted; see [`folded_words`].
    pub fn search_words(&self) -> Vec<String> {
        folded_words(self.searched())
    }

    /// When it leaves the store, if it does by itself.
    pub fn due(&self) -> Option<Millis> {
        self.expires_at.filter(|_| !self.kept || self.is_story())
    }

    /// Sets when it disappears, by when it was sent.
    pub fn set_expiry(&mut self) {
        let seconds = match self.is_story() {
            true => Some(story::SECONDS),
            false => self.expiration.filter(|seconds| *seconds > 0),
        };
        let length = seconds.map(|seconds| Millis::from(seconds) * 1_000);
        self.expires_at = length.map(|length| self.timestamp.saturating_add(length));
    }

    /// Bytes of what it says, without a file.
    pub fn size(&self) -> u64 {
        let cards = self.contacts.iter().flatten();
        let cards: usize = cards.map(|card| card.vcard.len()).sum();
        (self.words().map_or(0, str::len) + cards) as u64
    }

    /// Clears the content; the message remains.
    pub fn clear(&mut self) {
        self.text = None;
        self.note = None;
        self.caption = None;
        self.has_media = false;
        self.media_id = None;
        self.media_type = None;
        self.media_mimetype = None;
        self.media_size = None;
        self.media_file_name = None;
        self.location = None;
        self.contacts = None;
        self.poll = None;
        self.event = None;
        self.buttons = None;
        self.choice = None;
        self.referral = None;
        self.invite = None;
        self.product = None;
        self.order = None;
        self.payment = None;
        self.story = None;
        self.link_preview = None;
        self.secret = None;
        self.quoted_message = None;
        self.mentions.clear();
        self.reactions.clear();
        self.truncated = false;
    }
}

/// Where a message's file is to be had. It names the medium: of the message's id there may be others.
pub fn media_url(account_id: &str, message_id: &str, media_id: &str) -> String {
    let message_id = utf8_percent_encode(message_id, NON_ALPHANUMERIC);
    format!("/accounts/{account_id}/messages/{message_id}/media?mediaId={media_id}")
}

/// How far an own message has come. Ordered: it only ever moves forward, except to `Failed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(rename_all = "lowercase")]
pub enum DeliveryStatus {
    Pending,
    Sent,
    Delivered,
    Read,
    Played,
    Failed,
}

/// The message that a reply answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(rename_all = "camelCase")]
pub struct Quoted {
    pub message_id: String,
    /// The chat that it is in, if that is another one: a group's message is answered in private.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat_id: Option<String>,
    pub participant: Option<String>,
    pub text: Option<String>,
    pub has_media: bool,
}
