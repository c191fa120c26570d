//! Events: what people plan in a chat, and their answers. Each person has one answer at most: the newest.

#[cfg(test)]
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::bounds::{self, cut, cut_some};
use super::change::{By, Change, Incoming};
use super::context::Context;
use super::coverage::lines;
use super::kind::{MessageKind, key_of};
use super::location::{Degrees, Line};
use super::secret::{Purpose, Sealed};
use super::wire::{MessageField, event as crypto, wa};
use super::{Draft, Message, Sendable};
use crate::clock::Millis;
use crate::fields::{
    Addressee, Field, FieldError, MAX_WHOLE, Mentions, Moment, NonEmpty, request, whole,
};
use crate::jid::ChatJid;
use wa::message::event_response_message::EventResponseType;

/// Characters of a name and a description to send, as WhatsApp's clients are configured
/// (`event_name_length_limit`, `event_description_length_limit`).
const NAME: usize = 100;
const DESCRIPTION: usize = 2_048;
/// Extra guests of a response to send: as many as WhatsApp's clients offer.
const GUESTS: u64 = 1;

/// What is planned.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EventDetails {
    pub name: String,
    pub description: Option<String>,
    /// Unix milliseconds; the protocol has seconds.
    pub start: Option<Millis>,
    pub end: Option<Millis>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<EventPlace>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<CallMedia>,
    /// Where its call is joined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub join_link: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cancelled: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub extra_guests_allowed: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub responses: Vec<Response>,
}

/// Where it is. People may write a place without degrees.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
pub struct EventPlace {
    pub name: Option<String>,
    pub address: Option<String>,
    pub latitude: Option<f64>,
    pub longitude: Option<f64>,
}

/// What is transmitted in an event's call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(rename_all = "lowercase")]
pub enum CallMedia {
    Audio,
    Video,
}

impl CallMedia {
    pub fn word(self) -> &'static str {
        match self {
            CallMedia::Audio => "audio",
            CallMedia::Video => "video",
        }
    }

    /// The address of a call whose token WhatsApp gave.
    pub fn link(self, token: &str) -> String {
        let part = match self {
            CallMedia::Audio => "voice",
            CallMedia::Video => "video",
        };
        format!("https://call.whatsapp.com/{part}/{token}")
    }

    fn of_link(link: &str) -> Option<CallMedia> {
        let rest = link.strip_prefix("https://call.whatsapp.com/")?;
        match rest.split('/').next() {
            Some("video") => Some(CallMedia::Video),
            Some("voice" | "audio") => Some(CallMedia::Audio),
            _ => None,
        }
    }
}

/// Whether a person comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(rename_all = "snake_case")]
pub enum Coming {
    Going,
    NotGoing,
    Maybe,
}

impl Coming {
    pub fn word(self) -> &'static str {
        match self {
            Coming::Going => "going",
            Coming::NotGoing => "not_going",
            Coming::Maybe => "maybe",
        }
    }
}

/// A person's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(rename_all = "camelCase")]
pub struct Response {
    /// The person's JID.
    pub from: String,
    pub response: Coming,
    /// How many others the person brings along.
    pub extra_guests: u32,
    /// Unix milliseconds.
    pub timestamp: Millis,
}

/// An event as the API shows it.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(rename_all = "camelCase")]
pub struct ShownEvent<'a> {
    name: &'a str,
    description: Option<&'a str>,
    /// Unix milliseconds
    start: Option<Millis>,
    /// Unix milliseconds
    end: Option<Millis>,
    location: Option<&'a EventPlace>,
    /// whether it is a call, and which
    call: Option<CallMedia>,
    /// where the call is joined; of an own event once it is sent
    join_link: Option<&'a str>,
    cancelled: bool,
    /// people may bring others along
    extra_guests_allowed: bool,
    /// the newest response of each person
    responses: &'a [Response],
}

impl EventDetails {
    /// Cuts it to what is stored; whether there was more.
    pub(super) fn cut(&mut self) -> bool {
        self.responses.truncate(bounds::PEOPLE);
        let mut over = cut(&mut self.name, bounds::LINE)
            | cut_some(&mut self.description, bounds::TEXT)
            | cut_some(&mut self.join_link, bounds::LINE);
        if let Some(place) = &mut self.location {
            over |= cut_some(&mut place.name, bounds::LINE);
            over |= cut_some(&mut place.address, bounds::LINE);
        }
        over
    }

    pub(super) fn shown(&self) -> ShownEvent<'_> {
        ShownEvent {
            name: &self.name,
            description: self.description.as_deref(),
            start: self.start,
            end: self.end,
            location: self.location.as_ref(),
            call: self.call,
            join_link: self.join_link.as_deref(),
            cancelled: self.cancelled,
            extra_guests_allowed: self.extra_guests_allowed,
            responses: &self.responses,
        }
    }

    /// The same event without responses.
    pub(super) fn anew(mut self) -> EventDetails {
        self.responses.clear();
        self
    }

    /// What the call needs that is not made yet: its link, with the start in Unix seconds.
    pub fn lacks_link(&self) -> Option<(CallMedia, u64)> {
        let call = self.call.filter(|_| self.join_link.is_none())?;
        Some((call, self.start.unwrap_or(0) / 1_000))
    }

    /// The name and, below it, the description.
    fn words(&self) -> Option<String> {
        lines([Some(self.name.as_str()), self.description.as_deref()])
    }
}

/// A text of at most `MOST` characters.
#[derive(Debug)]
pub struct Words<const MOST: usize>(String);

impl<const MOST: usize> Field for Words<MOST> {
    fn read(name: &'static str, value: &Value) -> Result<Self, FieldError> {
        let text = String::read(name, value)?;
        match text.chars().count() <= MOST && !text.trim().is_empty() {
            true => Ok(Words(text)),
            false => wrong(
                name,
                match MOST {
                    NAME => "a text of 1 to 100 characters",
                    _ => "a text of 1 to 2048 characters",
                },
            ),
        }
    }

    #[cfg(test)]
    fn schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "minLength": 1, "maxLength": MOST, "pattern": "\\S"})
    }
}

impl Field for CallMedia {
    fn read(name: &'static str, value: &Value) -> Result<Self, FieldError> {
        match value.as_str() {
            Some("audio") => Ok(CallMedia::Audio),
            Some("video") => Ok(CallMedia::Video),
            _ => wrong(name, "\"audio\" or \"video\""),
        }
    }

    #[cfg(test)]
    fn schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "enum": ["audio", "video"]})
    }
}

impl Field for Coming {
    fn read(name: &'static str, value: &Value) -> Result<Self, FieldError> {
        match value.as_str() {
            Some("going") => Ok(Coming::Going),
            Some("not_going") => Ok(Coming::NotGoing),
            Some("maybe") => Ok(Coming::Maybe),
            _ => wrong(name, "\"going\", \"not_going\" or \"maybe\""),
        }
    }

    #[cfg(test)]
    fn schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "enum": ["going", "not_going", "maybe"]})
    }
}

/// 0 or 1 extra guests.
#[derive(Debug)]
pub struct Guests(u32);

impl Field for Guests {
    fn read(name: &'static str, value: &Value) -> Result<Self, FieldError> {
        let number = whole(name, value, 0..=GUESTS, "0 or 1")?;
        Ok(Guests(u32::from(number > 0)))
    }

    #[cfg(test)]
    fn schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "integer", "minimum": 0, "maximum": GUESTS})
    }
}

fn wrong<T>(field: &'static str, expected: &'static str) -> Result<T, FieldError> {
    Err(FieldError::Field { field, expected })
}

request! {
    /// An event to send.
    pub struct SendEvent missing "to, name and start are required" {
        to: Addressee = "to",
        name: Words<NAME> = "name",
        description: Option<Words<DESCRIPTION>> = "description",
        start: Moment = "start",
        /// after start
        end: Option<Moment> = "end",
        /// the name of the place
        location: Option<Line> = "location",
        address: Option<Line> = "address",
        /// of the place; with longitude
        latitude: Option<Degrees<90>> = "latitude",
        longitude: Option<Degrees<180>> = "longitude",
        /// a call that takes place then; WhatsApp makes its link when the event is sent
        call: Option<CallMedia> = "call",
        /// people may bring others along
        extra_guests_allowed: bool = "extraGuestsAllowed",
        mentions: Mentions = "mentions",
        quoted: Option<NonEmpty> = "quotedMessageId",
    }
}

impl SendEvent {
    fn place(&self) -> Result<Option<EventPlace>, FieldError> {
        let place = EventPlace {
            name: self.location.as_ref().map(|Line(name)| name.clone()),
            address: self.address.as_ref().map(|Line(address)| address.clone()),
            latitude: self.latitude.as_ref().map(|latitude| latitude.0),
            longitude: self.longitude.as_ref().map(|longitude| longitude.0),
        };
        match (place.latitude, place.longitude) {
            (Some(_), None) => wrong("longitude", "given with \"latitude\""),
            (None, Some(_)) => wrong("latitude", "given with \"longitude\""),
            _ => Ok((place != EventPlace::default()).then_some(place)),
        }
    }
}

impl Sendable for SendEvent {
    const ENDPOINT: &'static str = "event";

    fn into_draft(self) -> Result<(Addressee, Mentions, Draft), FieldError> {
        let location = self.place()?;
        // Seconds are what travels: the stored event says what people see.
        let seconds = |Moment(at): Moment| at / 1_000 * 1_000;
        let (start, end) = (seconds(self.start), self.end.map(seconds));
        if end.is_some_and(|end| end <= start) {
            return wrong("end", "a time after \"start\"");
        }
        let event = EventDetails {
            name: self.name.0,
            description: self.description.map(|Words(text)| text),
            start: Some(start),
            end,
            location,
            call: self.call,
            extra_guests_allowed: self.extra_guests_allowed,
            ..EventDetails::default()
        };
        let message = Message {
            kind: MessageKind::Event,
            text: event.words(),
            event: Some(event),
            ..Message::default()
        };
        Ok((self.to, self.mentions, Draft::message(message, self.quoted)))
    }
}

request! {
    /// A response to an event; it replaces the one before.
    pub struct RespondToEvent missing "chatId, messageId and response are required" {
        chat: Addressee = "chatId" or "to",
        /// the event's
        message: NonEmpty = "messageId",
        response: Coming = "response",
        /// how many others come along; only if the event allows it
        extra_guests: Option<Guests> = "extraGuests",
    }
}

impl Sendable for RespondToEvent {
    const ENDPOINT: &'static str = "event/respond";
    const DONE: Option<&'static str> = Some("Response sent");

    fn into_draft(self) -> Result<(Addressee, Mentions, Draft), FieldError> {
        let change = Change::Respond {
            response: self.response,
            guests: self.extra_guests.map_or(0, |Guests(guests)| guests),
        };
        let draft = Draft::Change {
            message_id: self.message.0,
            change,
        };
        Ok((self.chat, Mentions::default(), draft))
    }
}

/// Whether a stored event can be responded to so.
///
/// # Errors
/// In words, why not.
pub(super) fn may_respond(message: &Message, guests: u32) -> Result<(), &'static str> {
    let Some(event) = &message.event else {
        return Err("\"messageId\" must be the id of an event");
    };
    if event.cancelled {
        return Err("This event is cancelled");
    }
    if guests > 0 && !event.extra_guests_allowed {
        return Err("\"extraGuests\" must be 0: the event allows no extra guests");
    }
    match message.secret {
        Some(_) => Ok(()),
        None => Err("This event came without its secret, and cannot be responded to here"),
    }
}

/// Sets a person's response; false if that changes nothing.
pub(super) fn apply(message: &mut Message, response: Coming, guests: u32, by: &By) -> bool {
    let Some(event) = &mut message.event else {
        return false;
    };
    let response = Response {
        from: by.from.clone(),
        response,
        extra_guests: guests,
        timestamp: by.timestamp,
    };
    let known = event.responses.iter_mut().find(|it| it.from == by.from);
    match known {
        Some(known) => {
            let is_same = (known.response, known.extra_guests) == (response.response, guests);
            let is_news = known.timestamp <= response.timestamp && !is_same;
            if is_news {
                *known = response;
            }
            is_news
        }
        None => {
            let has_room = event.responses.len() < bounds::PEOPLE;
            if has_room {
                event.responses.push(response);
            }
            has_room
        }
    }
}

/// A response in the protocol's form; `None` for one that says nothing.
pub fn response_of(response: &wa::message::EventResponseMessage) -> Option<Change> {
    let coming = match response.response? {
        EventResponseType::GOING => Coming::Going,
        EventResponseType::NOT_GOING => Coming::NotGoing,
        EventResponseType::MAYBE => Coming::Maybe,
        EventResponseType::UNKNOWN => return None,
    };
    let guests = response.extra_guest_count.unwrap_or(0);
    Some(Change::Respond {
        response: coming,
        guests: u32::try_from(guests).unwrap_or(0),
    })
}

fn millis(seconds: Option<i64>) -> Option<Millis> {
    let seconds = seconds.and_then(|seconds| u64::try_from(seconds).ok())?;
    let millis = seconds.checked_mul(1_000)?;
    (1..=MAX_WHOLE).contains(&millis).then_some(millis)
}

fn seconds(millis: Option<Millis>) -> Option<i64> {
    i64::try_from(millis? / 1_000).ok()
}

pub fn decode<'a>(
    base: &'a wa::Message,
    message: &mut Message,
) -> Option<&'a MessageField<wa::ContextInfo>> {
    let event = base.event_message.as_option()?;
    let place = event.location.as_option();
    let link = event.join_link.clone().filter(|link| !link.is_empty());
    let details = EventDetails {
        name: event.name.clone().unwrap_or_default(),
        description: event.description.clone(),
        start: millis(event.start_time),
        end: millis(event.end_time),
        location: place.map(|place| EventPlace {
            name: place.name.clone(),
            address: place.address.clone(),
            latitude: place.degrees_latitude,
            longitude: place.degrees_longitude,
        }),
        call: link.as_deref().and_then(CallMedia::of_link),
        join_link: link,
        cancelled: event.is_canceled.unwrap_or(false),
        extra_guests_allowed: event.extra_guests_allowed.unwrap_or(false),
        responses: Vec::new(),
    };
    message.kind = MessageKind::Event;
    message.text = details.words();
    message.event = Some(details);
    Some(&event.context_info)
}

pub fn encode(message: &Message, context: Context<'_>) -> wa::Message {
    let Some(event) = &message.event else {
        return wa::Message::default();
    };
    let place = event.location.as_ref();
    let location = place.map_or_else(MessageField::none, |place| {
        MessageField::some(wa::message::LocationMessage {
            degrees_latitude: place.latitude,
            degrees_longitude: place.longitude,
            name: place.name.clone(),
            address: place.address.clone(),
            ..Default::default()
        })
    });
    wa::Message {
        event_message: MessageField::some(wa::message::EventMessage {
            context_info: context.encode(),
            is_canceled: Some(event.cancelled),
            name: Some(event.name.clone()),
            description: event.description.clone(),
            location,
            join_link: event.join_link.clone(),
            start_time: seconds(event.start),
            end_time: seconds(event.end),
            extra_guests_allowed: Some(event.extra_guests_allowed),
            is_schedule_call: Some(event.call.is_some()),
            ..Default::default()
        }),
        message_context_info: MessageField::some(wa::MessageContextInfo {
            message_secret: message.secret.clone(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

pub fn quotation(message: &Message) -> wa::Message {
    let event = message.event.as_ref();
    wa::Message {
        event_message: MessageField::some(wa::message::EventMessage {
            name: event.map(|event| event.name.clone()),
            start_time: event.and_then(|event| seconds(event.start)),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// A response of the account itself to a stored event; `own` is its JID in the namespace of the event's sender.
pub(super) fn encode_response(
    to: &ChatJid,
    target: &Message,
    (response, guests): (Coming, u32),
    own: &str,
    now: Millis,
) -> Result<wa::Message, &'static str> {
    let secret = target.secret.as_deref().unwrap_or_default();
    let author = match target.from_me {
        true => own,
        false => target.wire_sender(),
    };
    let response = wa::message::EventResponseMessage {
        response: Some(match response {
            Coming::Going => EventResponseType::GOING,
            Coming::NotGoing => EventResponseType::NOT_GOING,
            Coming::Maybe => EventResponseType::MAYBE,
        }),
        timestamp_ms: Some(i64::try_from(now).unwrap_or(i64::MAX)),
        extra_guest_count: (guests > 0).then(|| i32::try_from(guests).unwrap_or(i32::MAX)),
    };
    let id = &target.message_id;
    let sealed = crypto::encrypt_event_response_with_secret(&response, secret, id, author, own);
    let (payload, nonce) =
        sealed.map_err(|_| "the response cannot be encrypted: the event's secret is none")?;
    Ok(wa::Message {
        enc_event_response_message: MessageField::some(wa::message::EncEventResponseMessage {
            event_creation_message_key: key_of(to, target),
            enc_payload: Some(payload),
            enc_iv: Some(nonce.to_vec()),
        }),
        ..Default::default()
    })
}

pub(super) fn decode_response(base: &wa::Message) -> Option<Incoming<'_>> {
    let sealed = base.enc_event_response_message.as_option()?;
    let (payload, nonce) = (sealed.enc_payload.as_ref(), sealed.enc_iv.as_ref());
    Some(Incoming {
        key: sealed.event_creation_message_key.as_option()?,
        change: Change::Sealed(Sealed::new(Purpose::Response, payload, nonce)?),
        timestamp: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Message {
        Message {
            event: Some(EventDetails {
                name: "Dinner".to_owned(),
                start: Some(1_800_000_000_000),
                ..EventDetails::default()
            }),
            secret: Some(vec![7; 32]),
            ..Message::empty("alice", "M", "c", MessageKind::Event, 0)
        }
    }

    fn respond(message: &mut Message, from: &str, response: Coming, timestamp: Millis) -> bool {
        let by = By {
            from: from.to_owned(),
            from_me: false,
            timestamp,
        };
        apply(message, response, 0, &by)
    }

    #[test]
    fn the_newest_response_of_each_person_counts_up_to_a_bound() {
        let mut message = event();
        assert!(respond(&mut message, "bob", Coming::Maybe, 5));
        assert!(!respond(&mut message, "bob", Coming::Maybe, 6), "the same");
        assert!(!respond(&mut message, "bob", Coming::Going, 4), "older");
        assert!(respond(&mut message, "bob", Coming::Going, 5));
        for n in 1..bounds::PEOPLE {
            assert!(respond(&mut message, &n.to_string(), Coming::NotGoing, 5));
        }
        assert!(!respond(&mut message, "late", Coming::Going, 5));
        let event = message.event.as_ref().expect("an event");
        assert_eq!(event.responses.len(), bounds::PEOPLE);
        assert_eq!(event.responses[0].response, Coming::Going);
    }

    #[test]
    fn a_response_opens_under_the_jids_of_both_people_and_no_other() {
        let chat = ChatJid::parse("1234567@s.whatsapp.net").expect("a JID");
        let mut message = event();
        message.sender = "77@lid".to_owned();
        let answer = (Coming::Going, 1);
        let sent = encode_response(&chat, &message, answer, "88@lid", 5).expect("encrypted");
        let incoming = decode_response(&sent).expect("a response");
        assert_eq!(incoming.key.id.as_deref(), Some("M"));
        let Change::Sealed(sealed) = incoming.change else {
            panic!("not sealed");
        };
        let one = |jid: &str| vec![jid.to_owned()];
        let expected = Change::Respond {
            response: Coming::Going,
            guests: 1,
        };
        let opened = sealed.open(&message, &one("77@lid"), &one("88@lid"));
        assert_eq!(opened, Some(expected));
        assert_eq!(sealed.open(&message, &one("77@lid"), &one("99@lid")), None);
        assert_eq!(sealed.open(&message, &one("99@lid"), &one("88@lid")), None);
        message.secret = None;
        assert_eq!(sealed.open(&message, &one("77@lid"), &one("88@lid")), None);
    }

    #[test]
    fn what_cannot_be_responded_to_says_why() {
        let mut message = event();
        assert_eq!(may_respond(&message, 0), Ok(()));
        assert!(may_respond(&message, 1).is_err(), "no guests");
        message.event.as_mut().expect("an event").cancelled = true;
        assert!(may_respond(&message, 0).is_err(), "cancelled");
        message.event = None;
        assert!(may_respond(&message, 0).is_err(), "no event");
    }

    #[test]
    fn times_are_read_where_they_are_times() {
        for (seconds, expected) in [
            (Some(1), Some(1_000)),
            (Some(0), None),
            (Some(-5), None),
            (Some(i64::MAX), None),
            (None, None),
        ] {
            assert_eq!(millis(seconds), expected);
        }
    }
}
