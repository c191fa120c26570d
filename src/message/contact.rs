//! Contact cards.

use serde::{Deserialize, Serialize};

use super::Message;
use super::bounds::{self, cut, cut_list};
use super::context::Context;
use super::kind::MessageKind;
use super::wire::{MessageField, wa};

/// Cards of a message.
const CARDS: usize = 256;
/// Bytes of all cards of a message together.
const CARDS_BYTES: usize = 256 * 1024;

/// A person's card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
pub struct Contact {
    pub name: String,
    /// RFC 6350, in practice version 3.0.
    pub vcard: String,
}

/// Cuts cards to what is stored; whether there was more.
pub(super) fn cut_cards(cards: &mut Vec<Contact>) -> bool {
    let mut over = cut_list(cards, CARDS);
    let mut room = CARDS_BYTES;
    cards.retain_mut(|card| {
        over |= cut(&mut card.name, bounds::NAME);
        over |= cut(&mut card.vcard, bounds::TEXT);
        let size = card.name.len() + card.vcard.len();
        let fits = size <= room;
        room = room.saturating_sub(size);
        over |= !fits;
        fits
    });
    over
}

pub fn decode<'a>(
    base: &'a wa::Message,
    message: &mut Message,
) -> Option<&'a MessageField<wa::ContextInfo>> {
    let card = |contact: &wa::message::ContactMessage| Contact {
        name: contact.display_name.clone().unwrap_or_default(),
        vcard: contact.vcard.clone().unwrap_or_default(),
    };
    let (one, several) = (&base.contact_message, &base.contacts_array_message);
    let (cards, context) = if let Some(one) = one.as_option() {
        (vec![card(one)], &one.context_info)
    } else if let Some(several) = several.as_option() {
        let cards = several.contacts.iter().map(card).collect();
        (cards, &several.context_info)
    } else {
        return None;
    };
    message.kind = MessageKind::Contact;
    message.contacts = Some(cards);
    Some(context)
}

/// One card as a `contactMessage`, several as a `contactsArrayMessage`.
pub fn encode(message: &Message, context: Context<'_>) -> wa::Message {
    let cards = message.contacts.as_deref().unwrap_or_default();
    let card = |card: Option<&Contact>| wa::message::ContactMessage {
        display_name: card.map(|card| card.name.clone()),
        vcard: card.map(|card| card.vcard.clone()),
        ..Default::default()
    };
    if cards.len() < 2 {
        return wa::Message {
            contact_message: MessageField::some(wa::message::ContactMessage {
                context_info: context.encode(),
                ..card(cards.first())
            }),
            ..Default::default()
        };
    }
    wa::Message {
        contacts_array_message: MessageField::some(wa::message::ContactsArrayMessage {
            display_name: Some(format!("{} contacts", cards.len())),
            contacts: cards.iter().map(|one| card(Some(one))).collect(),
            context_info: context.encode(),
        }),
        ..Default::default()
    }
}

/// The first card.
pub fn quotation(message: &Message) -> wa::Message {
    let first = message.contacts.as_ref().and_then(|cards| cards.first());
    wa::Message {
        contact_message: MessageField::some(wa::message::ContactMessage {
            display_name: first.map(|card| card.name.clone()),
            vcard: first.map(|card| card.vcard.clone()),
            ..Default::default()
        }),
        ..Default::default()
    }
}
