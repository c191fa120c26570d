//! What a person types: the admin API's messages.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use wacore_binary::Node;
use wacore_binary::builder::NodeBuilder;
use waproto::whatsapp as wa;

use super::addons::Sealed;
use super::business::{Ad, Answer, Card, Invite, Order, Payment, Product};
use super::media::{Attachment, Uploaded};

/// A message to be sent, as `POST /admin/phones/:number/messages` takes it:
/// `{to, text}`, `{to, location}`, `{to, react: {messageId, emoji}}` and so on.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Outgoing {
    /// A phone number, or the JID of a person or a group. The form decides how the message is addressed.
    pub to: String,
    /// The message's id, instead of a new one: a sender may use any, also one that was seen elsewhere.
    #[serde(default)]
    pub id: Option<String>,
    /// The text.
    #[serde(flatten)]
    pub body: Body,
    /// The id of the message that this one answers.
    #[serde(default)]
    pub reply_to: Option<String>,
    /// The JIDs that are mentioned.
    #[serde(default)]
    pub mentions: Vec<String>,
    /// Of a story: the numbers that get it, instead of the address book's.
    #[serde(default)]
    pub recipients: Vec<String>,
    /// What a text shows of its link.
    #[serde(default)]
    pub link_preview: Option<LinkPreview>,
    /// Of a text story: what is behind it, as opaque ARGB.
    #[serde(default)]
    pub background: Option<u32>,
    /// Whether it carries the "forwarded" label.
    #[serde(default)]
    pub forwarded: bool,
    /// Whether it can be opened only once (images, videos, audio).
    #[serde(default)]
    pub view_once: bool,
    /// The id of the head of the album that it is part of.
    #[serde(default)]
    pub album_of: Option<String>,
    /// The ad that led to the chat.
    #[serde(default)]
    pub ad: Option<Ad>,
    /// After how many seconds it disappears.
    #[serde(default)]
    pub ephemeral: Option<u32>,
    /// Linked devices of the reader's get an empty copy, of this kind: `view_once`, `hosted`, `bot`,
    /// or empty for a plain one.
    #[serde(default)]
    pub unavailable: Option<String>,
    /// Forged values, as from a modified client.
    #[serde(default)]
    pub forge: Option<Forgery>,
    /// The file, once uploaded.
    #[serde(skip)]
    pub(super) uploaded: Option<Box<Uploaded>>,
    /// The vote, the response or the like, once encrypted.
    #[serde(skip)]
    pub(super) sealed: Option<Box<Sealed>>,
}

impl Outgoing {
    /// A plain text.
    pub fn text(to: impl Into<String>, text: impl Into<String>) -> Self {
        Self::new(to, Body::Text(text.into()))
    }

    /// A message of any kind without a quote, mentions or label.
    pub fn new(to: impl Into<String>, body: Body) -> Self {
        Self {
            to: to.into(),
            id: None,
            body,
            reply_to: None,
            mentions: Vec::new(),
            recipients: Vec::new(),
            link_preview: None,
            background: None,
            forwarded: false,
            view_once: false,
            album_of: None,
            ad: None,
            ephemeral: None,
            unavailable: None,
            forge: None,
            uploaded: None,
            sealed: None,
        }
    }
}

/// Lies of a client that keeps to no rule: about another's message, as another's device.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Forgery {
    /// The stanza's `edit`; none if empty.
    #[serde(default)]
    pub edit: Option<String>,
    /// The key's `fromMe`.
    #[serde(default)]
    pub from_me: Option<bool>,
    /// The key's `participant`.
    #[serde(default)]
    pub participant: Option<String>,
    /// The stanza of a view-once message lacks `view_once`, as that of clients that do not set it.
    #[serde(default)]
    pub unmarked: bool,
    /// Sent as the copy of an own message, as from a linked device of the reader.
    #[serde(default)]
    pub device_sent: Option<String>,
    /// The person by whose JID a vote or the like is encrypted.
    #[serde(default)]
    pub person: Option<String>,
    /// Random bytes in place of the encrypted ones.
    #[serde(default)]
    pub garbage: bool,
}

impl Forgery {
    pub(super) fn key(&self, key: &mut wa::MessageKey) {
        if let Some(from_me) = self.from_me {
            key.from_me = Some(from_me);
        }
        if let Some(participant) = &self.participant {
            key.participant = Some(participant.clone());
        }
    }

    /// # Errors
    /// The value, if no client has it.
    pub(super) fn edit(&self) -> Result<Option<Option<&'static str>>, String> {
        Ok(match self.edit.as_deref() {
            None => None,
            Some("") => Some(None),
            Some("1") => Some(Some("1")),
            Some("2") => Some(Some("2")),
            Some("3") => Some(Some("3")),
            Some("7") => Some(Some("7")),
            Some("8") => Some(Some("8")),
            Some(other) => return Err(other.to_owned()),
        })
    }
}

/// The content of a message. Exactly one key of the JSON object names it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Body {
    /// `text`
    Text(String),
    /// `image`
    Image(Attachment),
    /// `video`
    Video(Attachment),
    /// `audio`
    Audio(Attachment),
    /// `document`
    Document(Attachment),
    /// `sticker`
    Sticker(Attachment),
    /// `location`
    Location(Location),
    /// `liveLocation`
    LiveLocation(LiveLocation),
    /// `contact`
    Contact(Contact),
    /// `contacts`: several cards in one message.
    Contacts(Vec<Contact>),
    /// `unknown`: a message of a kind that clients do not show.
    Unknown(bool),
    /// `protobuf`: any message, its bytes in base64.
    Protobuf(Protobuf),
    /// `card`
    Card(Box<Card>),
    /// `answer`
    Answer(Answer),
    /// `invite`
    Invite(Invite),
    /// `product`
    Product(Box<Product>),
    /// `order`
    Order(Order),
    /// `payment`
    Payment(Payment),
    /// `poll`
    Poll(Poll),
    /// `event`
    Event(Box<Event>),
    /// `react`: an empty emoji takes the reaction back.
    React {
        /// The message reacted to.
        message_id: String,
        /// One emoji.
        emoji: String,
        /// As announcement groups have it: encrypted with the message's secret.
        #[serde(default)]
        encrypted: bool,
    },
    /// `vote`: no options take the vote back.
    Vote {
        /// The poll.
        message_id: String,
        /// The options chosen.
        options: Vec<String>,
    },
    /// `respond`: to an event.
    Respond {
        /// The event.
        message_id: String,
        /// `going`, `not_going` or `maybe`.
        response: Coming,
        /// How many others come along.
        #[serde(default)]
        guests: u32,
    },
    /// `album`: the head of an album, whose images and videos follow with `albumOf`.
    Album {
        /// How many images follow.
        images: u32,
        /// How many videos follow.
        videos: u32,
    },
    /// `edit`: a new text or caption for an own message.
    Edit {
        /// The message edited.
        message_id: String,
        /// The text from now on.
        text: String,
        /// Without the `editedMessage` wrapper: phones send it with one, other clients without.
        #[serde(default)]
        bare: bool,
    },
    /// `timer`: after how many seconds messages of a chat of two disappear; 0: they stay.
    Timer(u32),
    /// `pin`: for all in the chat.
    Pin {
        /// The message pinned.
        message_id: String,
        /// How long; 0 ends the pin.
        seconds: u32,
    },
    /// `keep`: although the chat's messages disappear.
    Keep {
        /// The message kept.
        message_id: String,
        /// Whether it is, or is no more.
        keep: bool,
    },
    /// `delete`: for everyone.
    Delete {
        /// The message deleted.
        message_id: String,
    },
}

/// What a text shows of its link.
#[derive(Debug, Clone, Deserialize)]
pub struct LinkPreview {
    /// As it stands in the text.
    pub url: String,
    /// The page's.
    pub title: String,
    /// The page's.
    #[serde(default)]
    pub description: Option<String>,
}

/// A message as its bytes.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub struct Protobuf(pub(super) Box<wa::Message>);

impl TryFrom<String> for Protobuf {
    type Error = String;

    fn try_from(text: String) -> Result<Protobuf, String> {
        let bytes = BASE64_STANDARD.decode(text).map_err(|e| e.to_string())?;
        let message = waproto::codec::message_decode(&bytes).map_err(|e| e.to_string())?;
        Ok(Protobuf(Box::new(message)))
    }
}

/// A place.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Location {
    /// Degrees north.
    pub latitude: f64,
    /// Degrees east.
    pub longitude: f64,
    /// What the place is called.
    #[serde(default)]
    pub name: Option<String>,
    /// Where it is.
    #[serde(default)]
    pub address: Option<String>,
}

/// A place that moves.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LiveLocation {
    /// Degrees north.
    pub latitude: f64,
    /// Degrees east.
    pub longitude: f64,
    /// The caption.
    #[serde(default)]
    pub caption: Option<String>,
}

/// A contact card, from a name and a number, or a complete `vcard`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Contact {
    /// The name shown.
    pub name: String,
    /// The number, digits only.
    #[serde(default)]
    pub number: Option<String>,
    /// The whole card; made from the two above if missing.
    #[serde(default)]
    pub vcard: Option<String>,
}

/// A question with answers to choose from.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Poll {
    /// The question.
    pub name: String,
    /// The answers.
    pub options: Vec<String>,
    /// How many may be chosen; 0 is any number.
    #[serde(default = "one")]
    pub selectable: u32,
}

/// What is planned.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// What it is called.
    pub name: String,
    /// More words.
    #[serde(default)]
    pub description: Option<String>,
    /// Unix seconds.
    pub start: i64,
    /// Unix seconds.
    #[serde(default)]
    pub end: Option<i64>,
    /// Where it is.
    #[serde(default)]
    pub location: Option<Location>,
    /// The link of its call.
    #[serde(default)]
    pub join_link: Option<String>,
    /// Whether it does not take place.
    #[serde(default)]
    pub cancelled: bool,
    /// Whether people may bring others along.
    #[serde(default)]
    pub extra_guests_allowed: bool,
}

/// Whether a person comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Coming {
    /// Yes.
    Going,
    /// No.
    NotGoing,
    /// It is not known yet.
    Maybe,
}

fn one() -> u32 {
    1
}

/// The message that a reply, reaction, edit or deletion is about, in the words of the chat.
pub(super) struct Target {
    pub(super) id: String,
    pub(super) chat: String,
    /// Whether the chat is a group: then keys name the author too.
    pub(super) group: bool,
    pub(super) author: String,
    pub(super) from_me: bool,
    pub(super) text: Option<String>,
    /// The content, if it is more than text.
    pub(super) content: Option<Box<wa::Message>>,
    /// Whether it is a story that is answered in a chat.
    pub(super) is_story: bool,
}

impl Target {
    pub(super) fn key(&self) -> wa::MessageKey {
        wa::MessageKey {
            remote_jid: Some(self.chat.clone()),
            from_me: Some(self.from_me),
            id: Some(self.id.clone()),
            participant: (self.group && !self.from_me).then(|| self.author.clone()),
        }
    }
}

/// The attributes of the stanza that depend on the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Envelope {
    /// `edit` of `<message>`.
    pub(super) edit: Option<&'static str>,
    /// `polltype` or `event_type` of `<meta>`, with the attribute's name.
    pub(super) part: Option<(&'static str, &'static str)>,
    /// `view_once` of `<meta>`.
    pub(super) view_once: bool,
    /// Whether the content has a secret (reactions, edits and deletions do not).
    pub(super) secret: bool,
}

impl Envelope {
    /// `<meta>`, if there is anything in it.
    pub(super) fn meta(self) -> Option<Node> {
        let mut meta = NodeBuilder::new("meta");
        if let Some((name, part)) = self.part {
            meta = meta.attr(name, part);
        }
        if self.view_once {
            meta = meta.attr("view_once", "true");
        }
        (self.part.is_some() || self.view_once).then(|| meta.build())
    }
}

impl Body {
    /// The id of the message that this body is about, if it is about one.
    pub(super) fn target(&self) -> Option<&str> {
        match self {
            Self::React { message_id, .. }
            | Self::Edit { message_id, .. }
            | Self::Pin { message_id, .. }
            | Self::Keep { message_id, .. }
            | Self::Delete { message_id }
            | Self::Vote { message_id, .. }
            | Self::Respond { message_id, .. } => Some(message_id),
            _ => None,
        }
    }

    /// Whether it says something new in the chat, which disappears in its time.
    pub(super) fn is_content(&self) -> bool {
        self.target().is_none() && !matches!(self, Self::Timer(_))
    }

    /// Whether only the author of the target may do this.
    pub(super) fn needs_own_target(&self) -> bool {
        matches!(self, Self::Edit { .. } | Self::Delete { .. })
    }

    pub(super) fn is_delete(&self) -> bool {
        matches!(self, Self::Delete { .. })
    }

    pub(super) fn envelope(&self) -> Envelope {
        let (edit, part, secret) = match self {
            Self::Poll(_) => (None, Some(("polltype", "creation")), true),
            Self::Event(_) => (None, Some(("event_type", "creation")), true),
            Self::React { .. } | Self::Keep { .. } | Self::Timer(_) => (None, None, false),
            Self::Pin { .. } => (Some("2"), None, false),
            Self::Vote { .. } => (None, Some(("polltype", "vote")), false),
            Self::Respond { .. } => (None, Some(("event_type", "response")), false),
            Self::Edit { .. } => (Some("1"), None, false),
            Self::Delete { .. } => (Some("7"), None, false),
            _ => (None, None, true),
        };
        Envelope {
            edit,
            part,
            view_once: false,
            secret,
        }
    }
}
