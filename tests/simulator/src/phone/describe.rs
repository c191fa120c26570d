//! What a message says, in the words of the inbox.

use std::collections::BTreeSet;

use serde::Serialize;
use wacore::proto_helpers::MessageExt as _;
use waproto::whatsapp as wa;
use waproto::whatsapp::message::protocol_message::Type as ProtocolType;

use super::addons::{options, secret_in};
use super::inbox::Received;

/// What a reply shows of the message that it answers.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Quoted {
    /// The same kinds as for messages.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Its text or caption.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The author, by the reply.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub participant: Option<String>,
    /// The chat in which it was said, if the reply says that it is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote_jid: Option<String>,
}

/// What a text shows of its link.
#[derive(Debug, Clone, Serialize)]
pub struct Preview {
    /// As it stands in the text.
    pub url: String,
    /// The page's.
    pub title: String,
    /// The page's.
    pub description: String,
    /// Bytes of its picture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thumbnail: Option<usize>,
}

/// A place.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Place {
    /// Degrees north.
    pub latitude: f64,
    /// Degrees east.
    pub longitude: f64,
    /// What the place is called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Whether it moves.
    pub live: bool,
}

/// A contact card.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Card {
    /// The name shown.
    pub name: String,
    /// The card itself.
    pub vcard: String,
}

/// A poll.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Question {
    /// The question.
    pub name: String,
    /// The answers.
    pub options: Vec<String>,
    /// How many may be chosen; 0 is any number.
    pub selectable: u32,
}

impl Question {
    /// Whether clients take it for a poll: 2 to 12 different options that are not empty.
    fn is_sound(&self) -> bool {
        let options: BTreeSet<&String> = self.options.iter().collect();
        let are_some = options.iter().all(|option| !option.is_empty());
        (2..=12).contains(&self.options.len()) && options.len() == self.options.len() && are_some
    }

    fn of(poll: &wa::message::PollCreationMessage) -> Question {
        Question {
            name: poll.name.clone().unwrap_or_default(),
            options: options(poll),
            selectable: poll.selectable_options_count.unwrap_or(0),
        }
    }
}

/// An event.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Planned {
    /// What it is called.
    pub name: String,
    /// More words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Unix seconds.
    pub start: i64,
    /// Unix seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<i64>,
    /// The name of the place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// Degrees north and east.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub degrees: Option<(f64, f64)>,
    /// The link of its call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub join_link: Option<String>,
    /// Whether it does not take place.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cancelled: bool,
    /// Whether people may bring others along.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub extra_guests_allowed: bool,
}

impl Planned {
    /// `None` for what clients do not take for an event: one without a name or a start.
    fn of(event: &wa::message::EventMessage) -> Option<Planned> {
        let place = event.location.as_option();
        Some(Planned {
            name: event.name.clone().filter(|name| !name.trim().is_empty())?,
            description: event.description.clone(),
            start: event.start_time.filter(|start| *start > 0)?,
            end: event.end_time,
            location: place.and_then(|place| place.name.clone()),
            degrees: place.and_then(|it| it.degrees_latitude.zip(it.degrees_longitude)),
            join_link: event.join_link.clone(),
            cancelled: event.is_canceled.unwrap_or(false),
            extra_guests_allowed: event.extra_guests_allowed.unwrap_or(false),
        })
    }
}

/// The message within its wrappers, also that of an album's part.
pub(super) fn base_of(message: &wa::Message) -> &wa::Message {
    let base = message.get_base_message();
    let part = base.associated_child_message.as_option();
    part.and_then(|part| part.message.as_option())
        .map_or(base, |part| part.get_base_message())
}

/// The images and videos that an album announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Album {
    /// How many images.
    pub images: u32,
    /// How many videos.
    pub videos: u32,
}

fn album_of(message: &wa::Message) -> Option<String> {
    let context = message.message_context_info.as_option()?;
    let part = context.message_association.as_option()?;
    part.parent_message_key.as_option()?.id.clone()
}

/// Reads the content of a message into the fields that depend on it. `None` for messages that no
/// phone shows (keys, history, and other protocol business).
pub(super) fn describe(message: &wa::Message) -> Option<Received> {
    let base = base_of(message);
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
                let edited = protocol.edited_message.as_option();
                let edited = edited.map(|m| m.get_base_message());
                out.text = edited.and_then(text_of);
                out.content = edited
                    .filter(|m| kind_of(m) != "text")
                    .map(|m| Box::new(m.clone()));
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
    if base.poll_update_message.is_set() {
        out.kind = "vote";
        return Some(out);
    }
    if base.enc_event_response_message.is_set() {
        out.kind = "response";
        return Some(out);
    }
    if base.enc_reaction_message.is_set() {
        out.kind = "reaction";
        return Some(out);
    }
    if let Some(reaction) = base.reaction_message.as_option() {
        out.kind = "reaction";
        out.text = reaction.text.clone();
        out.reaction_to = reaction.key.as_option().and_then(|key| key.id.clone());
        return Some(out);
    }
    if let Some(pin) = base.pin_in_chat_message.as_option() {
        let context = message.message_context_info.as_option();
        out.kind = "pin";
        out.mark_of = pin.key.as_option().and_then(|key| key.id.clone());
        out.mark = context.and_then(|it| it.message_add_on_duration_in_secs);
        return Some(out);
    }
    if let Some(keep) = base.keep_in_chat_message.as_option() {
        out.kind = "keep";
        out.mark_of = keep.key.as_option().and_then(|key| key.id.clone());
        out.mark = Some(u32::from(keep.keep_type == Some(wa::KeepType::KeepForAll)));
        return Some(out);
    }
    out.kind = kind_of(base);
    out.text = text_of(base);
    if let Some(text) = base.extended_text_message.as_option() {
        out.link_preview = text.title.clone().map(|title| Preview {
            url: text.matched_text.clone().unwrap_or_default(),
            title,
            description: text.description.clone().unwrap_or_default(),
            thumbnail: text.jpeg_thumbnail.as_ref().map(Vec::len),
        });
        out.background = text.background_argb;
        out.font = text.font.map(|font| font as i32);
    }
    out.location = place_of(base);
    out.contacts = cards_of(base);
    out.poll = poll_of(base).map(Question::of);
    out.view_once = message.is_view_once();
    out.album_of = album_of(message);
    out.album = base.album_message.as_option().map(|album| Album {
        images: album.expected_image_count.unwrap_or(0),
        videos: album.expected_video_count.unwrap_or(0),
    });
    out.secret = secret_in(message).or_else(|| secret_in(base));
    if out.poll.as_ref().is_some_and(|poll| !poll.is_sound())
        || out.poll.is_some() && out.secret.is_none()
    {
        // Clients do not show a poll without a secret or options: votes in it are impossible.
        out.kind = "unknown";
        out.poll = None;
    }
    out.event = base.event_message.as_option().and_then(Planned::of);
    if base.event_message.is_set() && (out.event.is_none() || out.secret.is_none()) {
        // WhatsApp Web refuses an event without a secret (`MISSING_MESSAGE_SECRET`).
        out.kind = "unknown";
        out.event = None;
    }
    if out.kind != "text" {
        out.content = Some(Box::new(base.clone()));
    }
    if let Some(context) = context_of(base) {
        out.quoted_id = context.stanza_id.clone();
        out.quoted = context.quoted_message.as_option().map(|quoted| Quoted {
            kind: kind_of(quoted.get_base_message()),
            text: text_of(quoted.get_base_message()),
            participant: context.participant.clone(),
            remote_jid: context.remote_jid.clone(),
        });
        out.expiration = context.expiration.filter(|seconds| *seconds > 0);
        out.mentions = context.mentioned_jid.clone();
        out.forwarded = context.is_forwarded.unwrap_or(false);
        out.forwarding_score = context.forwarding_score;
    }
    Some(out)
}

fn kind_of(m: &wa::Message) -> &'static str {
    if m.conversation.is_some() || m.extended_text_message.is_set() {
        "text"
    } else if m.image_message.is_set() {
        "image"
    } else if m.video_message.is_set() || m.ptv_message.is_set() {
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
    } else if m.album_message.is_set() {
        "album"
    } else if poll_of(m).is_some() {
        "poll"
    } else if m.event_message.is_set() {
        "event"
    } else if m.group_invite_message.is_set() {
        "invite"
    } else {
        "unknown"
    }
}

pub(super) fn poll_of(m: &wa::Message) -> Option<&wa::message::PollCreationMessage> {
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
        .or_else(|| m.event_message.as_option()?.name.clone())
        .or_else(|| m.group_invite_message.as_option()?.group_name.clone())
        .or_else(|| m.contact_message.as_option()?.display_name.clone())
        .or_else(|| m.contacts_array_message.as_option()?.display_name.clone())
        .or_else(|| m.live_location_message.as_option()?.caption.clone())
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
        ptv_message,
        audio_message,
        document_message,
        sticker_message,
        location_message,
        live_location_message,
        contact_message,
        contacts_array_message,
        event_message
    )
    .or_else(|| poll_of(m)?.context_info.as_option())
}

fn place_of(m: &wa::Message) -> Option<Place> {
    if let Some(place) = m.location_message.as_option() {
        return Some(Place {
            latitude: place.degrees_latitude?,
            longitude: place.degrees_longitude?,
            name: place.name.clone(),
            address: place.address.clone(),
            live: place.is_live.unwrap_or(false),
        });
    }
    let place = m.live_location_message.as_option()?;
    Some(Place {
        latitude: place.degrees_latitude?,
        longitude: place.degrees_longitude?,
        name: None,
        address: None,
        live: true,
    })
}

fn cards_of(m: &wa::Message) -> Vec<Card> {
    let several = m.contacts_array_message.as_option();
    m.contact_message
        .as_option()
        .into_iter()
        .chain(several.into_iter().flat_map(|list| &list.contacts))
        .map(|contact| Card {
            name: contact.display_name.clone().unwrap_or_default(),
            vcard: contact.vcard.clone().unwrap_or_default(),
        })
        .collect()
}
