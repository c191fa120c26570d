//! Chat states: that the account types or records.

use std::time::Duration;

#[cfg(test)]
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::Value;

use super::answer::{Done, Json};
use super::context::Req;
use super::error::ApiError;
use super::recipients::reached;
use super::values::OfAccount;
use crate::account::ChatState;
use crate::fields::{Addressee, Field, FieldError, request, whole};

/// The longest that a state is shown, in seconds. Meanwhile the phone gets no push notifications.
const MOST: u64 = 60;
const USUAL: u64 = 10;

/// `None` is `paused`.
#[derive(Debug)]
pub struct State(Option<ChatState>);

impl Field for State {
    fn read(name: &'static str, value: &Value) -> Result<Self, FieldError> {
        match value.as_str() {
            Some("typing") => Ok(State(Some(ChatState::Typing))),
            Some("recording") => Ok(State(Some(ChatState::Recording))),
            Some("paused") => Ok(State(None)),
            _ => Err(FieldError::Field {
                field: name,
                expected: "\"typing\", \"recording\" or \"paused\"",
            }),
        }
    }

    #[cfg(test)]
    fn schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "enum": ["typing", "recording", "paused"]})
    }
}

#[derive(Debug)]
pub struct Seconds(u64);

impl Field for Seconds {
    fn read(name: &'static str, value: &Value) -> Result<Self, FieldError> {
        let expected = "a whole number of seconds, 1 to 60";
        whole(name, value, 1..=MOST, expected).map(Seconds)
    }

    #[cfg(test)]
    fn schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "integer", "minimum": 1, "maximum": MOST})
    }
}

request! {
    /// What the account is shown as doing in a chat.
    pub struct ShowState missing "state is required" {
        /// a JID, a phone number, or `@` and a username
        chat: Addressee = path "chatId",
        state: State = "state",
        /// after which it ends by itself: 10 without it
        seconds: Option<Seconds> = "seconds",
    }
}

pub async fn show(req: Req, (of, show): (OfAccount, ShowState)) -> Result<Json<Done>, ApiError> {
    let accounts = &req.state().accounts;
    let chat = reached(show.chat, accounts, &of.id.0).await?;
    let seconds = show.seconds.map_or(USUAL, |Seconds(seconds)| seconds);
    accounts
        .show_state(&of.id.0, chat, show.state.0, Duration::from_secs(seconds))
        .await?;
    Ok(Done::new("Shown"))
}
