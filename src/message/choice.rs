//! Answers to what a business wrote: a button, a row of a list, a form that was filled in.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Message;
use super::bounds::{self, cut_some};
use super::coverage::lines;
use super::kind::MessageKind;
use super::wire::{MessageField, wa};
use wa::message::interactive_response_message::InteractiveResponseMessage as Content;

/// What was chosen. The message's `text` has its words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
pub struct Choice {
    /// The id of the button or row.
    pub id: Option<String>,
    /// The answers of a form, as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub params: Option<String>,
}

impl Choice {
    /// Cuts it to what is stored; whether there was more.
    pub(super) fn cut(&mut self) -> bool {
        cut_some(&mut self.id, 2 * bounds::LINE) | cut_some(&mut self.params, bounds::TEXT)
    }
}

pub fn decode<'a>(
    base: &'a wa::Message,
    message: &mut Message,
) -> Option<&'a MessageField<wa::ContextInfo>> {
    use wa::message::buttons_response_message::Response;
    let mut params = None;
    let (kind, id, words, context) = if let Some(m) = base.buttons_response_message.as_option() {
        let words = m
            .response
            .as_ref()
            .map(|Response::SelectedDisplayText(text)| text.clone());
        let id = m.selected_button_id.clone();
        (MessageKind::ButtonReply, id, words, &m.context_info)
    } else if let Some(m) = base.template_button_reply_message.as_option() {
        let words = m.selected_display_text.clone();
        let id = m.selected_id.clone();
        (MessageKind::ButtonReply, id, words, &m.context_info)
    } else if let Some(m) = base.list_response_message.as_option() {
        let words = lines([m.title.as_deref(), m.description.as_deref()]);
        let id = m.single_select_reply.selected_row_id.clone();
        (MessageKind::ListReply, id, words, &m.context_info)
    } else if let Some(m) = base.interactive_response_message.as_option() {
        let (kind, id) = match &m.interactive_response_message {
            Some(Content::NativeFlowResponseMessage(flow)) => {
                params.clone_from(&flow.params_json);
                let kind = match flow.name.as_deref() {
                    Some("menu_options" | "single_select") => MessageKind::ListReply,
                    _ => MessageKind::ButtonReply,
                };
                (kind, flow.params_json.as_deref().and_then(id_of))
            }
            None => (MessageKind::ButtonReply, None),
        };
        (kind, id, m.body.text.clone(), &m.context_info)
    } else {
        return None;
    };
    message.kind = kind;
    message.text = words
        .filter(|words| !words.is_empty())
        .or_else(|| id.clone());
    message.choice = Some(Choice { id, params });
    Some(context)
}

/// The id in the parameters of a flow's answer.
fn id_of(params: &str) -> Option<String> {
    let params: Value = serde_json::from_str(params).ok()?;
    params.get("id")?.as_str().map(str::to_owned)
}
