//! The timer of a chat, after which its messages disappear.

use super::change::at;
use super::wire::{MessageField, wa};
use crate::clock::Millis;
use wa::message::protocol_message::Type;

/// The seconds and when they were set, in Unix milliseconds, if that is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timer {
    /// 0: messages stay.
    pub seconds: u32,
    pub at: Option<Millis>,
}

/// The message that sets the timer of a chat of two. Groups are told WhatsApp's server.
pub fn encode(seconds: u32, now: Millis) -> wa::Message {
    wa::Message {
        protocol_message: MessageField::some(wa::message::ProtocolMessage {
            r#type: Some(Type::EphemeralSetting),
            ephemeral_expiration: Some(seconds),
            ephemeral_setting_timestamp: i64::try_from(now / 1_000).ok(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// `base` is unwrapped.
pub fn decode(base: &wa::Message) -> Option<Timer> {
    let protocol = base.protocol_message.as_option()?;
    (protocol.r#type == Some(Type::EphemeralSetting)).then(|| Timer {
        seconds: protocol.ephemeral_expiration.unwrap_or(0),
        at: seconds_at(protocol.ephemeral_setting_timestamp),
    })
}

/// A time of the protocol in seconds, as milliseconds.
pub fn seconds_at(seconds: Option<i64>) -> Option<Millis> {
    at(seconds).map(|seconds| seconds.saturating_mul(1_000))
}
