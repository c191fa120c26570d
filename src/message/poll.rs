//! Polls, as they come in.

use serde::{Deserialize, Serialize};

use super::Message;
use super::bounds::{self, cut, cut_list};
use super::kind::MessageKind;
use super::wire::{MessageField, wa};

/// Answers of a poll; WhatsApp takes 12.
const OPTIONS: usize = 64;

/// A question to vote on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
pub struct Poll {
    /// The question; the message's `text` has all of it.
    pub name: String,
    pub options: Vec<String>,
}

impl Poll {
    /// Cuts it to what is stored; whether there was more.
    pub(super) fn cut(&mut self) -> bool {
        let mut over = cut(&mut self.name, bounds::LINE) | cut_list(&mut self.options, OPTIONS);
        for option in &mut self.options {
            over |= cut(option, bounds::LINE);
        }
        over
    }
}

pub fn decode<'a>(
    base: &'a wa::Message,
    message: &mut Message,
) -> Option<&'a MessageField<wa::ContextInfo>> {
    let versions = [
        &base.poll_creation_message,
        &base.poll_creation_message_v2,
        &base.poll_creation_message_v3,
        &base.poll_creation_message_v5,
        &base.poll_creation_message_v6,
    ];
    let poll = versions.into_iter().find_map(MessageField::as_option)?;
    message.kind = MessageKind::Poll;
    message.text.clone_from(&poll.name);
    message.poll = Some(Poll {
        name: poll.name.clone().unwrap_or_default(),
        options: poll
            .options
            .iter()
            .filter_map(|option| option.option_name.clone())
            .collect(),
    });
    Some(&poll.context_info)
}

pub fn quotation(message: &Message) -> wa::Message {
    wa::Message {
        poll_creation_message_v3: MessageField::some(wa::message::PollCreationMessage {
            name: message.text.clone(),
            ..Default::default()
        }),
        ..Default::default()
    }
}
