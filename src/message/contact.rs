//! Contact cards.

#[cfg(test)]
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::bounds::{self, cut, cut_list};
use super::context::Context;
use super::kind::MessageKind;
use super::wire::{MessageField, wa};
use super::{Draft, Message, Sendable};
use crate::fields::{Addressee, Field, FieldError, Mentions, NonEmpty, Phone, request};

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

/// A name of at most 256 characters; an empty one is absent.
#[derive(Debug)]
pub struct Name(String);

impl Field for Name {
    fn read(name: &'static str, value: &Value) -> Result<Self, FieldError> {
        let text = String::read(name, value)?;
        match text.chars().count() > bounds::NAME {
            true => wrong(name, "at most 256 characters long"),
            false => Ok(Name(text)),
        }
    }

    #[cfg(test)]
    fn schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "maxLength": bounds::NAME})
    }
}

/// A vCard of at most 65,536 characters.
#[derive(Debug)]
pub struct Vcard(String);

impl Field for Vcard {
    fn read(name: &'static str, value: &Value) -> Result<Self, FieldError> {
        let text = String::read(name, value)?;
        let card = text.trim();
        let line = |line: Option<&str>, word: &str| {
            line.is_some_and(|line| line.trim().eq_ignore_ascii_case(word))
        };
        let is_card = line(card.lines().next(), "BEGIN:VCARD")
            && line(card.lines().next_back(), "END:VCARD")
            && card.chars().count() <= bounds::TEXT;
        match is_card {
            true => Ok(Vcard(card.to_owned())),
            false => wrong(
                name,
                "a vCard, BEGIN:VCARD to END:VCARD, of at most 65536 characters",
            ),
        }
    }

    #[cfg(test)]
    fn schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "maxLength": bounds::TEXT,
            "pattern": "^[Bb][Ee][Gg][Ii][Nn]:[Vv][Cc][Aa][Rr][Dd]\\n(?:.*\\n)*[Ee][Nn][Dd]:[Vv][Cc][Aa][Rr][Dd]$"})
    }
}

/// 1 to 256 cards of together at most 262,144 bytes, each `{name, vcard}`, or `{name, phone}`; in a form the list as
/// JSON.
#[derive(Debug)]
pub struct Cards(Vec<Contact>);

impl Field for Cards {
    fn read(name: &'static str, value: &Value) -> Result<Self, FieldError> {
        let parsed: Value;
        let list = match value {
            Value::String(text) => {
                parsed = serde_json::from_str(text).unwrap_or_default();
                &parsed
            }
            value => value,
        };
        let mut cards = Vec::new();
        for item in list.as_array().into_iter().flatten().take(CARDS + 1) {
            cards.push(of_item(name, item)?);
        }
        let size: usize = cards.iter().map(Contact::size).sum();
        match (1..=CARDS).contains(&cards.len()) && size <= CARDS_BYTES {
            true => Ok(Cards(cards)),
            false => wrong(
                name,
                "a list of 1 to 256 objects with name and vcard, or name and phone, of together at most \
                 262144 bytes",
            ),
        }
    }

    #[cfg(test)]
    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let (name, phone) = (Name::schema(generator), Phone::schema(generator));
        let vcard = Vcard::schema(generator);
        json_schema!({"type": "array", "minItems": 1, "maxItems": CARDS, "items": {"type": "object",
            "properties": {"name": name, "vcard": vcard, "phone": phone}}})
    }
}

fn wrong<T>(field: &'static str, expected: &'static str) -> Result<T, FieldError> {
    Err(FieldError::Field { field, expected })
}

/// A card of the list. Errors name the list's field.
fn of_item(field: &'static str, item: &Value) -> Result<Contact, FieldError> {
    fn part<T: Field>(field: &'static str, value: Option<&Value>) -> Result<Option<T>, FieldError> {
        let value = value.filter(|value| !value.is_null() && !T::is_blank(value));
        value.map(|value| T::read(field, value)).transpose()
    }
    let name = part::<Name>(field, item.get("name"))?;
    let vcard = part::<Vcard>(field, item.get("vcard"))?;
    let phone = part::<Phone>(field, item.get("phone"))?;
    match Contact::of(name, vcard, phone) {
        Some(card) => Ok(card),
        None => wrong(
            field,
            "a list of objects with name and vcard, or name and phone",
        ),
    }
}

request! {
    /// Cards to send: `contacts`, or one as `vcard`, or as `name` and `phone`.
    pub struct SendContact missing "to is required" {
        to: Addressee = "to",
        contacts: Option<Cards> = "contacts",
        /// the name shown; else the card's own
        name: Option<Name> = "name",
        vcard: Option<Vcard> = "vcard",
        phone: Option<Phone> = "phone",
        mentions: Mentions = "mentions",
        quoted: Option<NonEmpty> = "quotedMessageId",
    }
}

impl Sendable for SendContact {
    const ENDPOINT: &'static str = "contact";

    fn into_draft(self) -> Result<(Addressee, Mentions, Draft), FieldError> {
        let contacts = match self.contacts {
            Some(Cards(cards)) => Some(cards),
            None => Contact::of(self.name, self.vcard, self.phone).map(|card| vec![card]),
        };
        if contacts.is_none() {
            let words = "contacts, or vcard, or name and phone are required";
            return Err(FieldError::Words(words.to_owned()));
        }
        let message = Message {
            kind: MessageKind::Contact,
            contacts,
            ..Message::default()
        };
        Ok((self.to, self.mentions, Draft::message(message, self.quoted)))
    }
}

impl Contact {
    /// A card by a name and the card or the phone number; without a name, the card's own.
    fn of(name: Option<Name>, vcard: Option<Vcard>, phone: Option<Phone>) -> Option<Contact> {
        let name = name.map(|Name(name)| name);
        match (name, vcard, phone) {
            (name, Some(Vcard(vcard)), _) => Some(Contact {
                name: name.or_else(|| formatted_name(&vcard))?,
                vcard,
            }),
            (Some(name), None, Some(Phone(digits))) => Some(Contact {
                vcard: made_of(&name, &digits),
                name,
            }),
            (_, None, None) | (None, None, Some(_)) => None,
        }
    }

    /// Bytes.
    fn size(&self) -> usize {
        self.name.len() + self.vcard.len()
    }
}

/// A vCard 3.0 (RFC 2426) of a WhatsApp number, which WhatsApp finds by its `waid`.
fn made_of(name: &str, digits: &str) -> String {
    let mut escaped = String::with_capacity(name.len());
    for c in name.chars() {
        match c {
            '\\' | ',' | ';' => escaped.extend(['\\', c]),
            '\n' => escaped.push_str("\\n"),
            c if c.is_control() => {}
            c => escaped.push(c),
        }
    }
    format!(
        "BEGIN:VCARD\nVERSION:3.0\nN:;{escaped};;;\nFN:{escaped}\n\
         TEL;type=CELL;type=VOICE;waid={digits}:+{digits}\nEND:VCARD"
    )
}

/// The name in a card's `FN` line, cut to what is shown.
fn formatted_name(vcard: &str) -> Option<String> {
    let of_line = |line: &str| {
        let (property, value) = line.split_once(':')?;
        let property = property.split(';').next().unwrap_or_default();
        let is_name = property.trim().eq_ignore_ascii_case("FN");
        is_name.then(|| bounds::name(&unescaped(value.trim())))
    };
    vcard
        .lines()
        .find_map(of_line)
        .filter(|name| !name.is_empty())
}

fn unescaped(value: &str) -> String {
    let mut plain = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => plain.extend(chars.next().map(|c| match c {
                'n' | 'N' => ' ',
                c => c,
            })),
            c => plain.push(c),
        }
    }
    plain
}

/// Cuts cards to what is stored; whether there was more.
pub(super) fn cut_cards(cards: &mut Vec<Contact>) -> bool {
    let mut over = cut_list(cards, CARDS);
    let mut room = CARDS_BYTES;
    cards.retain_mut(|card| {
        over |= cut(&mut card.name, bounds::NAME);
        over |= cut(&mut card.vcard, bounds::TEXT);
        let size = card.size();
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_card_is_made_of_a_name_and_a_number_and_nothing_breaks_out_of_it() {
        let made = made_of("Eve; \\ A, B\nTEL:+1\r\u{7}", "4917012345");
        assert_eq!(
            made,
            "BEGIN:VCARD\nVERSION:3.0\nN:;Eve\\; \\\\ A\\, B\\nTEL:+1;;;\nFN:Eve\\; \\\\ A\\, B\\nTEL:+1\n\
             TEL;type=CELL;type=VOICE;waid=4917012345:+4917012345\nEND:VCARD"
        );
        assert_eq!(
            formatted_name(&made).as_deref(),
            Some("Eve; \\ A, B TEL:+1")
        );
        assert!(Vcard::read("vcard", &json!(made)).is_ok());
        assert_eq!(formatted_name("BEGIN:VCARD\nEND:VCARD"), None);
        let folded = "begin:vcard\r\nfn;charset=utf-8:Bob\r\nend:vcard\r\n";
        assert_eq!(formatted_name(folded).as_deref(), Some("Bob"));
        assert!(Vcard::read("vcard", &json!(folded)).is_ok());
    }

    #[test]
    fn cards_are_bounded_and_errors_name_the_field() {
        let words = |value: Value| {
            let read = Cards::read("contacts", &value).map(|cards| cards.0.len());
            read.map_err(|error| error.to_string())
        };
        let card = json!({"name": "Bob", "phone": "491700000002"});
        assert_eq!(words(json!([card, card])), Ok(2));
        assert_eq!(words(json!([card]).to_string().into()), Ok(1));
        let large = format!("BEGIN:VCARD\nNOTE:{}\nEND:VCARD", "x".repeat(60_000));
        for bad in [
            json!([]),
            json!({}),
            json!("["),
            json!([{"name": "Bob"}]),
            json!([{"phone": "491700000002"}]),
            json!([5]),
            json!([{"name": "Bob", "vcard": "hello"}]),
            json!([{"name": "Bob", "vcard": format!("{large}\nEND:VCARDX")}]),
            json!([{"name": "x".repeat(257), "phone": "491700000002"}]),
            json!(vec![json!({"name": "Bob", "vcard": large}); 5]),
            json!(vec![card; 257]),
        ] {
            let words = words(bad).unwrap_err();
            assert!(words.starts_with("\"contacts\" must be "), "{words}");
        }
    }
}
