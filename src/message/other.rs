//! Rare kinds, of which the words alone are read.

use super::Message;
use super::coverage::lines;
use super::kind::MessageKind;
use super::wire::{MessageField, wa};

/// Sets the words, and the kind: a text where people wrote them, else `unknown`.
pub fn decode<'a>(
    base: &'a wa::Message,
    message: &mut Message,
) -> Option<&'a MessageField<wa::ContextInfo>> {
    let none = &base.extended_text_message.context_info;
    let mut kind = MessageKind::Unknown;
    let (text, context) = if let Some(m) = base.status_question_answer_message.as_option() {
        kind = MessageKind::Text;
        (m.text.clone(), none)
    } else if let Some(m) = base.question_response_message.as_option() {
        kind = MessageKind::Text;
        (m.text.clone(), none)
    } else if let Some(m) = base.status_quoted_message.as_option() {
        kind = MessageKind::Text;
        (m.text.clone(), none)
    } else if let Some(m) = base.rich_response_message.as_option() {
        kind = MessageKind::Text;
        let parts = m
            .submessages
            .iter()
            .map(|part| part.message_text.as_deref());
        (lines(parts), &m.context_info)
    } else if let Some(m) = base.sticker_pack_message.as_option() {
        let words = [&m.name, &m.publisher, &m.pack_description, &m.caption];
        (lines(words.map(Option::as_deref)), &m.context_info)
    } else if let Some(m) = base.event_invite_message.as_option() {
        let words = [m.event_title.as_deref(), m.caption.as_deref()];
        (lines(words), &m.context_info)
    } else if let Some(m) = results(base) {
        let votes = m.poll_votes.iter().map(|vote| {
            let count = vote.option_vote_count.unwrap_or(0);
            format!(
                "{}: {count}",
                vote.option_name.as_deref().unwrap_or_default()
            )
        });
        let votes: Vec<String> = votes.collect();
        let words = votes.iter().map(|vote| Some(vote.as_str()));
        (
            lines([m.name.as_deref()].into_iter().chain(words)),
            &m.context_info,
        )
    } else if base.placeholder_message.is_set() {
        kind = MessageKind::Unavailable;
        (None, none)
    } else {
        return None;
    };
    message.kind = kind;
    message.text = text;
    Some(context)
}

/// How a poll of a channel has ended.
fn results(base: &wa::Message) -> Option<&wa::message::PollResultSnapshotMessage> {
    let versions = [
        &base.poll_result_snapshot_message,
        &base.poll_result_snapshot_message_v3,
    ];
    versions.into_iter().find_map(MessageField::as_option)
}
