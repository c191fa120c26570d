//! Places on a map.

#[cfg(test)]
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::bounds::{self, cut_some};
use super::context::Context;
use super::kind::MessageKind;
use super::wire::{MessageField, wa};
use super::{Draft, Message, Sendable};
use crate::fields::{Addressee, Field, FieldError, Mentions, NonEmpty, request};

/// A place on Earth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
pub struct Location {
    /// Degrees, −90 to 90.
    pub latitude: f64,
    /// Degrees, −180 to 180.
    pub longitude: f64,
    pub name: Option<String>,
    pub address: Option<String>,
    /// It moves: the sender shared it for a time.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub live: bool,
}

/// Degrees, at most `MOST` in both directions; also a number as text.
#[derive(Debug, Clone, Copy)]
pub struct Degrees<const MOST: u8>(pub(super) f64);

impl<const MOST: u8> Field for Degrees<MOST> {
    fn read(name: &'static str, value: &Value) -> Result<Self, FieldError> {
        let degrees = match value {
            Value::String(text) => text.trim().parse().ok(),
            value => value.as_f64(),
        };
        let most = f64::from(MOST);
        // Neither infinity nor NaN is in the range.
        match degrees.filter(|degrees| (-most..=most).contains(degrees)) {
            Some(degrees) => Ok(Degrees(degrees)),
            None => Err(FieldError::Field {
                field: name,
                expected: match MOST {
                    90 => "a number of degrees, -90 to 90",
                    _ => "a number of degrees, -180 to 180",
                },
            }),
        }
    }

    #[cfg(test)]
    fn schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "number", "minimum": -i16::from(MOST), "maximum": MOST})
    }
}

/// A line of text of at most 1,024 characters; an empty one is absent.
#[derive(Debug)]
pub struct Line(pub(super) String);

impl Field for Line {
    fn read(name: &'static str, value: &Value) -> Result<Self, FieldError> {
        let line = String::read(name, value)?;
        match line.chars().count() > bounds::LINE {
            true => Err(FieldError::Field {
                field: name,
                expected: "at most 1024 characters long",
            }),
            false => Ok(Line(line)),
        }
    }

    #[cfg(test)]
    fn schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "maxLength": bounds::LINE})
    }
}

request! {
    /// A place to send.
    pub struct SendLocation missing "to, latitude and longitude are required" {
        to: Addressee = "to",
        /// north of the equator, or negative
        latitude: Degrees<90> = "latitude",
        /// east of Greenwich, or negative
        longitude: Degrees<180> = "longitude",
        /// the name of the place
        name: Option<Line> = "name",
        address: Option<Line> = "address",
        mentions: Mentions = "mentions",
        quoted: Option<NonEmpty> = "quotedMessageId",
    }
}

impl Sendable for SendLocation {
    const ENDPOINT: &'static str = "location";

    fn into_draft(self) -> Result<(Addressee, Mentions, Draft), FieldError> {
        let message = Message {
            kind: MessageKind::Location,
            location: Some(Location {
                latitude: self.latitude.0,
                longitude: self.longitude.0,
                name: self.name.map(|Line(name)| name),
                address: self.address.map(|Line(address)| address),
                live: false,
            }),
            ..Message::default()
        };
        Ok((self.to, self.mentions, Draft::message(message, self.quoted)))
    }
}

impl Location {
    /// Cuts it to what is stored; whether there was more.
    pub(super) fn cut(&mut self) -> bool {
        cut_some(&mut self.name, bounds::LINE) | cut_some(&mut self.address, bounds::LINE)
    }
}

pub fn decode<'a>(
    base: &'a wa::Message,
    message: &mut Message,
) -> Option<&'a MessageField<wa::ContextInfo>> {
    let (place, live) = (&base.location_message, &base.live_location_message);
    let (latitude, longitude, name, address, context) = if place.is_set() {
        let name = place.name.clone();
        let degrees = (place.degrees_latitude, place.degrees_longitude);
        let address = place.address.clone();
        (degrees.0, degrees.1, name, address, &place.context_info)
    } else if live.is_set() {
        let degrees = (live.degrees_latitude, live.degrees_longitude);
        let name = live.caption.clone();
        (degrees.0, degrees.1, name, None, &live.context_info)
    } else {
        return None;
    };
    message.kind = MessageKind::Location;
    let is_live = live.is_set() || place.is_live == Some(true);
    if let (Some(latitude), Some(longitude)) = (latitude, longitude) {
        message.location = Some(Location {
            latitude,
            longitude,
            name,
            address,
            live: is_live,
        });
    }
    Some(context)
}

pub fn encode(message: &Message, context: Context<'_>) -> wa::Message {
    let place = message.location.as_ref();
    wa::Message {
        location_message: MessageField::some(wa::message::LocationMessage {
            degrees_latitude: place.map(|p| p.latitude),
            degrees_longitude: place.map(|p| p.longitude),
            name: place.and_then(|p| p.name.clone()),
            address: place.and_then(|p| p.address.clone()),
            context_info: context.encode(),
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
    fn degrees_are_numbers_within_the_bounds_of_the_globe() {
        let read = |value: Value| Degrees::<90>::read("latitude", &value);
        for (value, degrees) in [
            (json!(52.5), 52.5),
            (json!(-90), -90.0),
            (json!(" 13.25 "), 13.25),
            (json!(90.0), 90.0),
        ] {
            assert_eq!(read(value).map(|read| read.0), Ok(degrees));
        }
        for value in [
            json!(90.000_001),
            json!(-91),
            json!("NaN"),
            json!("inf"),
            json!("1e400"),
            json!("north"),
            json!([1]),
            json!(true),
        ] {
            let words = read(value).map(|read| read.0).unwrap_err().to_string();
            assert_eq!(words, "\"latitude\" must be a number of degrees, -90 to 90");
        }
        assert!(Degrees::<180>::read("longitude", &json!(-180)).is_ok());
        assert!(Degrees::<180>::read("longitude", &json!(180.5)).is_err());
    }
}
