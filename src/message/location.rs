//! Places on a map.

use serde::{Deserialize, Serialize};

use super::Message;
use super::bounds::{self, cut_some};
use super::context::Context;
use super::kind::MessageKind;
use super::wire::{MessageField, wa};

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
    if let (Some(latitude), Some(longitude)) = (latitude, longitude) {
        message.location = Some(Location {
            latitude,
            longitude,
            name,
            address,
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
