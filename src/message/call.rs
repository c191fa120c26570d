//! Calls, as lines of a chat: those that ring now, the phone's log of earlier ones, and those that are planned.

use serde::{Deserialize, Serialize};

use super::Message;
use super::change::at;
use super::kind::MessageKind;
use super::wire::{MessageField, wa};
use crate::clock::Millis;
use wa::message::call_log_message::CallOutcome;

/// How far a call has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(rename_all = "lowercase")]
pub enum CallStatus {
    /// It rings.
    #[default]
    Offered,
    /// It was answered, on the phone or another device.
    Accepted,
    /// It rang, and was not answered.
    Missed,
    /// It was declined, here or on another device.
    Rejected,
    /// It was answered, and is over.
    Ended,
    Scheduled,
}

/// A call.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(rename_all = "camelCase")]
pub struct Call {
    /// Of a call that rang while the account was linked: by it the call is rejected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    pub status: CallStatus,
    pub video: bool,
    /// Whether several people are called.
    pub group: bool,
    /// Seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<u64>,
    /// When a planned call begins, Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduled_at: Option<Millis>,
}

impl Call {
    /// Takes in how the call goes on; whether that changed it. One that rang while this server was away counts as missed until
    /// another device says better.
    pub fn hear(&mut self, said: CallSaid) -> bool {
        let (status, seconds) = match (self.status, said) {
            (CallStatus::Offered | CallStatus::Missed, CallSaid::Accepted) => {
                (CallStatus::Accepted, None)
            }
            (CallStatus::Offered | CallStatus::Missed, CallSaid::Rejected) => {
                (CallStatus::Rejected, None)
            }
            (CallStatus::Offered, CallSaid::Over { .. }) => (CallStatus::Missed, None),
            (CallStatus::Accepted, CallSaid::Over { duration }) => (CallStatus::Ended, duration),
            _ => return false,
        };
        self.status = status;
        self.duration = seconds;
        true
    }
}

/// What WhatsApp says of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallNews {
    pub id: String,
    /// The caller's, or the group's. Of a call that is known its line says it.
    pub chat: String,
    /// Who says so: the caller, the group, or the account itself.
    pub by: String,
    pub push_name: Option<String>,
    pub at: Millis,
    pub said: CallSaid,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallSaid {
    Offered {
        video: bool,
        group: bool,
        /// It does not ring any more.
        missed: bool,
    },
    Accepted,
    Rejected,
    Over {
        /// Seconds.
        duration: Option<u64>,
    },
}

pub fn decode<'a>(
    base: &'a wa::Message,
    message: &mut Message,
) -> Option<&'a MessageField<wa::ContextInfo>> {
    let call = if let Some(m) = base.call_log_messsage.as_option() {
        Call {
            status: match m.call_outcome {
                Some(CallOutcome::CONNECTED | CallOutcome::ACCEPTED_ELSEWHERE) => CallStatus::Ended,
                Some(CallOutcome::REJECTED) => CallStatus::Rejected,
                Some(CallOutcome::ONGOING) => CallStatus::Accepted,
                Some(
                    CallOutcome::MISSED
                    | CallOutcome::FAILED
                    | CallOutcome::SILENCED_BY_DND
                    | CallOutcome::SILENCED_UNKNOWN_CALLER,
                )
                | None => CallStatus::Missed,
            },
            video: m.is_video.unwrap_or(false),
            group: m.participants.len() > 1,
            duration: m
                .duration_secs
                .and_then(|seconds| u64::try_from(seconds).ok()),
            ..Call::default()
        }
    } else if let Some(m) = base.scheduled_call_creation_message.as_option() {
        message.text.clone_from(&m.title);
        Call {
            status: CallStatus::Scheduled,
            video: m.call_type
                == Some(wa::message::scheduled_call_creation_message::CallType::VIDEO),
            scheduled_at: at(m.scheduled_timestamp_ms),
            ..Call::default()
        }
    } else if let Some(m) = base.bcall_message.as_option() {
        message.text.clone_from(&m.caption);
        Call {
            video: m.media_type == Some(wa::message::b_call_message::MediaType::VIDEO),
            group: true,
            ..Call::default()
        }
    } else {
        return None;
    };
    message.kind = MessageKind::Call;
    message.call = Some(call);
    // These carry no context.
    Some(&base.extended_text_message.context_info)
}
