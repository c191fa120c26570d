//! Stories: what people show to their contacts for a day, in `status@broadcast`.
//!
//! A text has a colour and a font; images, videos and voice notes are as in chats. The sender's client encrypts a story for
//! each person in the audience; WhatsApp's server delivers it to those whom the stanza names.

#[cfg(test)]
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::wire::{Enumeration as _, wa};
use super::{Change, Draft, Message, MessageKind};
use crate::fields::{Field, FieldError, whole};
use wa::message::ExtendedTextMessage;
use wa::message::extended_text_message::FontType;

/// How long WhatsApp shows a story.
pub const SECONDS: u32 = 86_400;
/// The colours of a text without others: WhatsApp's green, and white letters; opaque ARGB.
const GREEN: u32 = 0xFF1E_6E4F;
const WHITE: u32 = 0xFFFF_FFFF;
/// The numbers of WhatsApp's fonts.
const FONTS: [u64; 8] = [0, 1, 2, 6, 7, 8, 9, 10];

/// What only stories have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(rename_all = "camelCase")]
pub struct Story {
    /// of a text: `#RRGGBB`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub background: Option<String>,
    /// of a text: WhatsApp's number of it
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub font: Option<u32>,
    /// of an own story: whom it goes to; absent if that is all contacts
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipients: Option<Vec<String>>,
}

/// A colour, `#RRGGBB` or without the `#`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Colour(pub String);

impl Field for Colour {
    fn read(name: &'static str, value: &Value) -> Result<Self, FieldError> {
        let digits = value
            .as_str()
            .map(|text| text.strip_prefix('#').unwrap_or(text));
        match digits {
            Some(digits) if digits.len() == 6 && digits.bytes().all(|b| b.is_ascii_hexdigit()) => {
                Ok(Colour(format!("#{}", digits.to_ascii_uppercase())))
            }
            _ => Err(FieldError::Field {
                field: name,
                expected: "a colour as #RRGGBB",
            }),
        }
    }

    #[cfg(test)]
    fn schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "minLength": 1, "pattern": "^#?[0-9A-Fa-f]{6}$"})
    }
}

/// The number of one of WhatsApp's fonts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Font(pub u32);

impl Field for Font {
    fn read(name: &'static str, value: &Value) -> Result<Self, FieldError> {
        let expected = "WhatsApp's number of a font: 0, 1, 2, 6, 7, 8, 9 or 10";
        let number = whole(name, value, 0..=10, expected)?;
        match u32::try_from(number) {
            Ok(font) if FONTS.contains(&number) => Ok(Font(font)),
            _ => Err(FieldError::Field {
                field: name,
                expected,
            }),
        }
    }

    #[cfg(test)]
    fn schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "integer", "enum": FONTS})
    }
}

/// Why a draft cannot be a story, or change one; `None` if it can.
pub fn misfit(draft: &Draft) -> Option<&'static str> {
    match draft {
        Draft::Message {
            message,
            quoted: None,
            mentions,
            ..
        } if mentions.is_empty() && !message.view_once && !message.video_note => {
            let fits = matches!(
                message.kind,
                MessageKind::Text | MessageKind::Image | MessageKind::Video | MessageKind::Voice
            );
            (!fits).then_some("A story is a text, an image, a video or a voice note")
        }
        Draft::Message { .. } => {
            Some("A story answers and mentions nobody, and is neither round nor for one view")
        }
        Draft::Forward { .. } => Some("Messages are not forwarded to stories"),
        Draft::Change {
            change: Change::React { .. } | Change::Delete,
            ..
        } => None,
        Draft::Change { .. } => Some("Stories can be reacted to, and own ones deleted"),
    }
}

/// Sets what only a story has.
pub(super) fn decode(text: &ExtendedTextMessage, message: &mut Message) {
    if !message.is_story() {
        return;
    }
    let background = text
        .background_argb
        .map(|argb| format!("#{:06X}", argb & 0xFF_FFFF));
    let font = text
        .font
        .map(|font| font as i32)
        .and_then(|font| u32::try_from(font).ok());
    if background.is_some() || font.is_some() {
        message.story = Some(Story {
            background,
            font,
            recipients: None,
        });
    }
}

/// Sets how a text story looks.
pub(super) fn encode(message: &Message, text: &mut ExtendedTextMessage) {
    let story = message.story.as_ref();
    let colour = story.and_then(|story| {
        let digits = story.background.as_deref()?.strip_prefix('#')?;
        u32::from_str_radix(digits, 16).ok()
    });
    text.background_argb = Some(colour.map_or(GREEN, |rgb| 0xFF00_0000 | rgb));
    text.text_argb = Some(WHITE);
    let font = story.and_then(|story| story.font).unwrap_or(0);
    text.font = i32::try_from(font).ok().and_then(FontType::from_i32);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::jid::STORIES;

    fn decoded(text: &ExtendedTextMessage, chat: &str) -> Message {
        let mut message = Message {
            chat_id: chat.to_owned(),
            ..Message::default()
        };
        decode(text, &mut message);
        message
    }

    #[test]
    fn a_text_keeps_its_colour_and_font() {
        let mut text = ExtendedTextMessage::default();
        let look = Story {
            background: Some("#FF00AA".to_owned()),
            font: Some(9),
            recipients: None,
        };
        let mut message = Message::empty("alice", "A", STORIES, MessageKind::Text, 0);
        message.story = Some(look.clone());
        encode(&message, &mut text);
        assert_eq!(text.background_argb, Some(0xFFFF_00AA));
        assert_eq!(decoded(&text, STORIES).story, Some(look));
        // Elsewhere a colour means nothing.
        assert_eq!(decoded(&text, "1@g.us").story, None);
        message.story = None;
        encode(&message, &mut text);
        assert_eq!(
            (text.background_argb, text.font),
            (Some(GREEN), Some(FontType::SYSTEM))
        );
    }

    #[test]
    fn colours_and_fonts_are_checked() {
        for good in ["#1e6E4f", "1E6E4F"] {
            let read = Colour::read("background", &json!(good));
            assert_eq!(read, Ok(Colour("#1E6E4F".to_owned())));
        }
        for bad in [
            json!("red"),
            json!("#12345"),
            json!("#12345G"),
            json!("#ééé"),
            json!(5),
        ] {
            assert!(Colour::read("background", &bad).is_err(), "{bad}");
        }
        assert_eq!(Font::read("font", &json!("10")), Ok(Font(10)));
        for bad in [json!(3), json!(11), json!("x"), json!(-1)] {
            assert!(Font::read("font", &bad).is_err(), "{bad}");
        }
    }
}
