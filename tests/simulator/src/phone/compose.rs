//! From what a person types to WhatsApp's protobufs.

use wacore::proto_helpers::MessageExt as _;
use waproto::buffa::MessageField;
use waproto::whatsapp as wa;
use waproto::whatsapp::message::protocol_message::Type as ProtocolType;

use super::business;
use super::outgoing::{Body, Contact, Event, Location, Outgoing, Poll, Target};
use super::stories::STORIES;
use super::{addons, media};

/// The protobuf for a message. `target` is what [`Body::target`] names, `quoted` what `reply_to`
/// names.
pub(super) fn build(
    out: &Outgoing,
    target: Option<&Target>,
    quoted: Option<&Target>,
    now_ms: u64,
) -> wa::Message {
    let mut message = match target {
        Some(target) => about(out, target, now_ms),
        None => content(out, now_ms),
    };
    if out.needs_context() {
        // `false` means a body that has no place for it: WhatsApp's own clients drop it there too.
        let _ = message.set_context_info(out.context(quoted));
    }
    out.wrap(message)
}

fn milliseconds(now_ms: u64) -> Option<i64> {
    i64::try_from(now_ms).ok()
}

/// A message that says something new.
fn content(out: &Outgoing, now_ms: u64) -> wa::Message {
    match &out.body {
        Body::Text(text) => {
            let preview = out.link_preview.as_ref();
            let is_extended = out.background.is_some() || preview.is_some();
            let mut message = plain_text(text, out.needs_context() || is_extended);
            if let Some(extended) = message.extended_text_message.as_option_mut() {
                extended.background_argb = out.background;
                if let Some(preview) = preview {
                    extended.matched_text = Some(preview.url.clone());
                    extended.title = Some(preview.title.clone());
                    extended.description.clone_from(&preview.description);
                }
            }
            message
        }
        Body::Location(place) => wa::Message {
            location_message: MessageField::some(location(place)),
            ..Default::default()
        },
        Body::LiveLocation(place) => wa::Message {
            live_location_message: MessageField::some(wa::message::LiveLocationMessage {
                degrees_latitude: Some(place.latitude),
                degrees_longitude: Some(place.longitude),
                caption: place.caption.clone(),
                sequence_number: milliseconds(now_ms),
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
        Body::Event(event) => event_message(event),
        Body::Image(_) | Body::Video(_) | Body::Audio(_) | Body::Document(_) | Body::Sticker(_) => {
            file_message(out, now_ms)
        }
        Body::Album { images, videos } => wa::Message {
            album_message: MessageField::some(wa::message::AlbumMessage {
                expected_image_count: Some(*images),
                expected_video_count: Some(*videos),
                ..Default::default()
            }),
            ..Default::default()
        },
        Body::Timer(seconds) => protocol(wa::message::ProtocolMessage {
            r#type: Some(ProtocolType::EPHEMERAL_SETTING),
            ephemeral_expiration: Some(*seconds),
            ephemeral_setting_timestamp: milliseconds(now_ms / 1_000),
            ..Default::default()
        }),
        // A kind that is rare, and that clients of today do not show.
        Body::Unknown(_) => wa::Message {
            conditional_reveal_message: MessageField::some(
                wa::message::ConditionalRevealMessage::default(),
            ),
            ..Default::default()
        },
        Body::Protobuf(message) => message.0.as_ref().clone(),
        Body::Card(card) => business::card(card, &file_message(out, now_ms)),
        Body::Answer(answer) => business::answer(answer),
        Body::Invite(invite) => business::invite(invite),
        Body::Product(product) => business::product(product, file_message(out, now_ms)),
        Body::Order(order) => business::order(order),
        Body::Payment(payment) => business::payment(payment),
        // They are about another message; without one they say nothing.
        Body::React { .. }
        | Body::Edit { .. }
        | Body::Pin { .. }
        | Body::Keep { .. }
        | Body::Delete { .. }
        | Body::Vote { .. }
        | Body::Respond { .. } => wa::Message::default(),
    }
}

/// A message about another one.
fn about(out: &Outgoing, target: &Target, now_ms: u64) -> wa::Message {
    let mut key = target.key();
    if let Some(forge) = &out.forge {
        forge.key(&mut key);
    }
    let key = MessageField::some(key);
    if let Some(sealed) = &out.sealed {
        return addons::carrier(&out.body, target, key, sealed, now_ms);
    }
    match &out.body {
        Body::React { emoji, .. } => wa::Message {
            reaction_message: MessageField::some(wa::message::ReactionMessage {
                key,
                text: Some(emoji.clone()),
                sender_timestamp_ms: milliseconds(now_ms),
                ..Default::default()
            }),
            ..Default::default()
        },
        Body::Edit { text, bare, .. } => {
            let mut edited = target
                .content
                .as_deref()
                .and_then(|content| media::recaption(content, text))
                .map_or_else(|| plain_text(text, out.needs_context()), with_its_wrapper);
            if out.needs_context() {
                let _ = edited.set_context_info(out.context(None));
            }
            let edit = protocol(wa::message::ProtocolMessage {
                key,
                r#type: Some(ProtocolType::MESSAGE_EDIT),
                edited_message: MessageField::some(edited),
                timestamp_ms: milliseconds(now_ms),
                ..Default::default()
            });
            match bare {
                true => edit,
                false => wa::Message {
                    edited_message: wrapper(edit),
                    ..Default::default()
                },
            }
        }
        Body::Pin { seconds, .. } => wa::Message {
            pin_in_chat_message: MessageField::some(wa::message::PinInChatMessage {
                key,
                r#type: Some(match seconds {
                    0 => wa::message::pin_in_chat_message::Type::UnpinForAll,
                    _ => wa::message::pin_in_chat_message::Type::PinForAll,
                }),
                sender_timestamp_ms: milliseconds(now_ms),
            }),
            message_context_info: MessageField::some(wa::MessageContextInfo {
                message_add_on_duration_in_secs: Some(*seconds),
                ..Default::default()
            }),
            ..Default::default()
        },
        Body::Keep { keep, .. } => {
            let key = key.into_option().unwrap_or_default();
            let now = milliseconds(now_ms).unwrap_or_default();
            wacore::proto_helpers::build_keep_in_chat_message(key, *keep, now)
        }
        _ => protocol(wa::message::ProtocolMessage {
            key,
            r#type: Some(ProtocolType::REVOKE),
            ..Default::default()
        }),
    }
}

fn protocol(message: wa::message::ProtocolMessage) -> wa::Message {
    wa::Message {
        protocol_message: MessageField::some(message),
        ..Default::default()
    }
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
            || self.ad.is_some()
            || !self.mentions.is_empty()
    }

    /// Wraps a message in one that makes clients treat it specially.
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
        let mut context = wa::ContextInfo {
            stanza_id: quoted.map(|it| it.id.clone()),
            participant: quoted.map(|it| it.author.clone()),
            quoted_message: quoted
                .map(|it| match &it.content {
                    Some(content) => MessageField::from_box(content.prepare_for_quote()),
                    None => MessageField::some(plain_text(it.text.as_deref().unwrap_or(""), false)),
                })
                .unwrap_or_default(),
            remote_jid: quoted.filter(|it| it.is_story).map(|_| STORIES.to_owned()),
            expiration: self.ephemeral,
            mentioned_jid: self.mentions.iter().map(|who| jid_text(who)).collect(),
            is_forwarded: self.forwarded.then_some(true),
            forwarding_score: self.forwarded.then_some(1),
            ..Default::default()
        };
        if let Some(ad) = &self.ad {
            ad.mark(&mut context);
        }
        context
    }
}

/// A person as a message names one: by a JID. A name without a server is a number.
fn jid_text(who: &str) -> String {
    match who.contains('@') {
        true => who.to_owned(),
        false => format!("{who}@s.whatsapp.net"),
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

fn location(place: &Location) -> wa::message::LocationMessage {
    wa::message::LocationMessage {
        degrees_latitude: Some(place.latitude),
        degrees_longitude: Some(place.longitude),
        name: place.name.clone(),
        address: place.address.clone(),
        ..Default::default()
    }
}

fn event_message(event: &Event) -> wa::Message {
    let place = event.location.as_ref().map(location);
    wa::Message {
        event_message: MessageField::some(wa::message::EventMessage {
            is_canceled: Some(event.cancelled),
            name: Some(event.name.clone()),
            description: event.description.clone(),
            location: place.map_or_else(MessageField::none, MessageField::some),
            join_link: event.join_link.clone(),
            start_time: Some(event.start),
            end_time: event.end,
            extra_guests_allowed: Some(event.extra_guests_allowed),
            is_schedule_call: Some(event.join_link.is_some()),
            ..Default::default()
        }),
        ..Default::default()
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
