//! What a person types: the admin API's messages, and how they become WhatsApp's.

use serde::Deserialize;
use waproto::buffa::MessageField;
use waproto::whatsapp as wa;

use wacore::proto_helpers::MessageExt as _;

use super::media::{self, Attachment, Uploaded};

/// A message to be sent, as `POST /admin/phones/:number/messages` takes it:
/// `{to, text}`, `{to, location}`, `{to, react: {messageId, emoji}}` and so on.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Outgoing {
    /// A phone number, or the JID of a person or a group. The form decides how the message is addressed.
    pub to: String,
    /// What is said.
    #[serde(flatten)]
    pub body: Body,
    /// The id of the message that this one answers.
    #[serde(default)]
    pub reply_to: Option<String>,
    /// The JIDs that are mentioned.
    #[serde(default)]
    pub mentions: Vec<String>,
    /// Whether it carries the "forwarded" label.
    #[serde(default)]
    pub forwarded: bool,
    /// Whether it can be opened only once (images, videos, audio).
    #[serde(default)]
    pub view_once: bool,
    /// After how many seconds it disappears.
    #[serde(default)]
    pub ephemeral: Option<u32>,
    /// The file, once uploaded.
    #[serde(skip)]
    pub(super) uploaded: Option<Box<Uploaded>>,
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
            body,
            reply_to: None,
            mentions: Vec::new(),
            forwarded: false,
            view_once: false,
            ephemeral: None,
            uploaded: None,
        }
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
    /// `poll`
    Poll(Poll),
    /// `react`: an empty emoji takes the reaction back.
    React {
        /// The message reacted to.
        message_id: String,
        /// One emoji.
        emoji: String,
    },
    /// `edit`: a new text or caption for a message of one's own.
    Edit {
        /// The message edited.
        message_id: String,
        /// The text from now on.
        text: String,
        /// Without the `editedMessage` wrapper: phones send it with one, other clients without.
        #[serde(default)]
        bare: bool,
    },
    /// `delete`: for everyone.
    Delete {
        /// The message deleted.
        message_id: String,
    },
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
    /// What is said about it.
    #[serde(default)]
    pub caption: Option<String>,
}

/// A contact card: from a name and a number, or as it is in `vcard`.
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
    /// What it is, if it is more than a text.
    pub(super) content: Option<Box<wa::Message>>,
}

impl Target {
    fn key(&self) -> wa::MessageKey {
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
    /// `polltype` of `<meta>`.
    pub(super) polltype: Option<&'static str>,
    /// Whether the content has a secret of its own (reactions, edits and deletions do not).
    pub(super) secret: bool,
}

impl Body {
    /// The id of the message that this body is about, if it is about one.
    pub(super) fn target(&self) -> Option<&str> {
        match self {
            Self::React { message_id, .. }
            | Self::Edit { message_id, .. }
            | Self::Delete { message_id } => Some(message_id),
            _ => None,
        }
    }

    /// Whether only the author of the target may do this.
    pub(super) fn needs_own_target(&self) -> bool {
        matches!(self, Self::Edit { .. } | Self::Delete { .. })
    }

    pub(super) fn is_delete(&self) -> bool {
        matches!(self, Self::Delete { .. })
    }

    pub(super) fn envelope(&self) -> Envelope {
        let (edit, polltype, secret) = match self {
            Self::Poll(_) => (None, Some("creation"), true),
            Self::React { .. } => (None, None, false),
            Self::Edit { .. } => (Some("1"), None, false),
            Self::Delete { .. } => (Some("7"), None, false),
            _ => (None, None, true),
        };
        Envelope {
            edit,
            polltype,
            secret,
        }
    }
}

/// The protobuf for a message. `target` is what [`Body::target`] names, `quoted` what `reply_to`
/// names.
pub(super) fn build(
    out: &Outgoing,
    target: Option<&Target>,
    quoted: Option<&Target>,
    now_ms: u64,
) -> wa::Message {
    let now = i64::try_from(now_ms).unwrap_or(i64::MAX);
    let key = || {
        target
            .map(Target::key)
            .map(MessageField::some)
            .unwrap_or_default()
    };
    let mut message = match &out.body {
        Body::Text(text) => plain_text(text, out.needs_context()),
        Body::Location(place) => wa::Message {
            location_message: MessageField::some(wa::message::LocationMessage {
                degrees_latitude: Some(place.latitude),
                degrees_longitude: Some(place.longitude),
                name: place.name.clone(),
                address: place.address.clone(),
                ..Default::default()
            }),
            ..Default::default()
        },
        Body::LiveLocation(place) => wa::Message {
            live_location_message: MessageField::some(wa::message::LiveLocationMessage {
                degrees_latitude: Some(place.latitude),
                degrees_longitude: Some(place.longitude),
                caption: place.caption.clone(),
                sequence_number: Some(now),
                ..Default::default()
            }),
            ..Default::default()
        },
        Body::Contact(contact) => wa::Message {
            contact_message: MessageField::some(card(contact)),
            ..Default::default()
        },
        Body::Contacts(contacts) => wa::Message {
            contacts_array_message: MessageField::some(wa::message::ContactsArrayMessage {
                display_name: Some(format!("{} contacts", contacts.len())),
                contacts: contacts.iter().map(card).collect(),
                ..Default::default()
            }),
            ..Default::default()
        },
        Body::Poll(poll) => poll_message(poll),
        Body::Image(_) | Body::Video(_) | Body::Audio(_) | Body::Document(_) | Body::Sticker(_) => {
            file_message(out, now_ms)
        }
        // A kind that is rare, and that clients of today do not show.
        Body::Unknown(_) => wa::Message {
            decline_payment_request_message: MessageField::some(
                wa::message::DeclinePaymentRequestMessage::default(),
            ),
            ..Default::default()
        },
        Body::React { emoji, .. } => wa::Message {
            reaction_message: MessageField::some(wa::message::ReactionMessage {
                key: key(),
                text: Some(emoji.clone()),
                sender_timestamp_ms: Some(now),
                ..Default::default()
            }),
            ..Default::default()
        },
        Body::Edit { text, bare, .. } => {
            let edited = target
                .and_then(|it| media::recaption(it.content.as_deref()?, text))
                .map_or_else(|| plain_text(text, false), with_its_wrapper);
            let edit = wa::Message {
                protocol_message: MessageField::some(wa::message::ProtocolMessage {
                    key: key(),
                    r#type: Some(wa::message::protocol_message::Type::MESSAGE_EDIT),
                    edited_message: MessageField::some(edited),
                    timestamp_ms: Some(now),
                    ..Default::default()
                }),
                ..Default::default()
            };
            match bare {
                true => edit,
                false => wa::Message {
                    edited_message: wrapper(edit),
                    ..Default::default()
                },
            }
        }
        Body::Delete { .. } => wa::Message {
            protocol_message: MessageField::some(wa::message::ProtocolMessage {
                key: key(),
                r#type: Some(wa::message::protocol_message::Type::REVOKE),
                ..Default::default()
            }),
            ..Default::default()
        },
    };
    if out.needs_context() {
        // `false` means a body that has no place for it: WhatsApp's own clients drop it there too.
        let _ = message.set_context_info(out.context(quoted));
    }
    out.wrap(message)
}

/// The message about the file, which was uploaded before.
fn file_message(out: &Outgoing, now_ms: u64) -> wa::Message {
    match (out.body.attachment(), &out.uploaded) {
        (Some((kind, file)), Some(up)) => media::fill(kind, file, up, out.view_once, now_ms),
        _ => wa::Message::default(),
    }
}

fn wrapper(message: wa::Message) -> MessageField<wa::message::FutureProofMessage> {
    MessageField::some(wa::message::FutureProofMessage {
        message: MessageField::some(message),
    })
}

/// A document with a caption travels in a wrapper, for clients that know no captions of documents.
fn with_its_wrapper(message: wa::Message) -> wa::Message {
    let captioned = message
        .document_message
        .as_option()
        .is_some_and(|document| document.caption.is_some());
    match captioned {
        true => wa::Message {
            document_with_caption_message: wrapper(message),
            ..Default::default()
        },
        false => message,
    }
}

fn card(contact: &Contact) -> wa::message::ContactMessage {
    wa::message::ContactMessage {
        display_name: Some(contact.name.clone()),
        vcard: Some(vcard(contact)),
        ..Default::default()
    }
}

impl Outgoing {
    fn needs_context(&self) -> bool {
        self.reply_to.is_some()
            || self.forwarded
            || self.ephemeral.is_some()
            || !self.mentions.is_empty()
    }

    /// What tells clients to treat a message in a special way is a message around it.
    fn wrap(&self, message: wa::Message) -> wa::Message {
        let mut message = with_its_wrapper(message);
        if self.view_once {
            let inner = wrapper(message);
            message = match self.body {
                Body::Audio(_) => wa::Message {
                    view_once_message_v2_extension: inner,
                    ..Default::default()
                },
                _ => wa::Message {
                    view_once_message_v2: inner,
                    ..Default::default()
                },
            };
        }
        if self.ephemeral.is_some() {
            message = wa::Message {
                ephemeral_message: wrapper(message),
                ..Default::default()
            };
        }
        message
    }

    fn context(&self, quoted: Option<&Target>) -> wa::ContextInfo {
        wa::ContextInfo {
            stanza_id: quoted.map(|it| it.id.clone()),
            participant: quoted.map(|it| it.author.clone()),
            quoted_message: quoted
                .map(|it| match &it.content {
                    Some(content) => MessageField::from_box(content.prepare_for_quote()),
                    None => MessageField::some(plain_text(it.text.as_deref().unwrap_or(""), false)),
                })
                .unwrap_or_default(),
            expiration: self.ephemeral,
            mentioned_jid: self.mentions.clone(),
            is_forwarded: self.forwarded.then_some(true),
            forwarding_score: self.forwarded.then_some(1),
            ..Default::default()
        }
    }
}

/// `conversation`, or the extended form when something is attached to the text.
fn plain_text(text: &str, extended: bool) -> wa::Message {
    if extended {
        wa::Message {
            extended_text_message: MessageField::some(wa::message::ExtendedTextMessage {
                text: Some(text.to_owned()),
                ..Default::default()
            }),
            ..Default::default()
        }
    } else {
        wa::Message {
            conversation: Some(text.to_owned()),
            ..Default::default()
        }
    }
}

fn poll_message(poll: &Poll) -> wa::Message {
    let creation = wa::message::PollCreationMessage {
        name: Some(poll.name.clone()),
        options: poll
            .options
            .iter()
            .map(|option| wa::message::poll_creation_message::Option {
                option_name: Some(option.clone()),
                ..Default::default()
            })
            .collect(),
        selectable_options_count: Some(poll.selectable),
        ..Default::default()
    };
    // WhatsApp sends single choice as version 3 and the rest as version 1.
    if poll.selectable == 1 {
        wa::Message {
            poll_creation_message_v3: MessageField::some(creation),
            ..Default::default()
        }
    } else {
        wa::Message {
            poll_creation_message: MessageField::some(creation),
            ..Default::default()
        }
    }
}

fn vcard(contact: &Contact) -> String {
    if let Some(card) = &contact.vcard {
        return card.clone();
    }
    let name = &contact.name;
    let phone = contact
        .number
        .as_deref()
        .map(|n| format!("TEL;type=CELL;waid={n}:+{n}\n"))
        .unwrap_or_default();
    format!("BEGIN:VCARD\nVERSION:3.0\nFN:{name}\n{phone}END:VCARD")
}
