//! Links to calls.

use std::time::Duration;

use whatsapp_rust::NodeFilter;
use whatsapp_rust::wacore_binary::builder::NodeBuilder;

use super::Session;
use super::send::new_message_id;
use crate::message::CallMedia;
use crate::sync::within;
use crate::whatsapp::error::SendFailure;

/// How long WhatsApp may take to make a link.
const PATIENCE: Duration = Duration::from_secs(8);
/// Characters of a link's token; WhatsApp's have 22.
const TOKEN: usize = 128;

impl Session {
    /// Has WhatsApp make the link of a call that is planned for `start`, in Unix seconds. The client has nothing for it:
    /// `<call to="@call"><link_create media><event start_time/></link_create></call>`, answered by an ack with
    /// `<link_create token>` (Baileys' `createCallLink`).
    ///
    /// # Errors
    /// [`SendFailure::Other`] if WhatsApp makes none.
    pub async fn call_link(&self, call: CallMedia, start: u64) -> Result<String, SendFailure> {
        if !self.is_ready() {
            return Err(SendFailure::NotConnected);
        }
        let id = new_message_id(None);
        let filter = NodeFilter::tag("ack").attr("class", "call").attr("id", &id);
        let answer = self.client.wait_for_node(filter);
        let event = NodeBuilder::new("event").attr("start_time", start.to_string());
        let create = NodeBuilder::new("link_create")
            .attr("media", call.word())
            .children([event.build()]);
        let request = NodeBuilder::new("call")
            .attr("id", id)
            .attr("to", "@call")
            .children([create.build()]);
        if let Err(error) = self.client.send_node(request.build()).await {
            log::debug!("a call's link was not asked for: {error}");
            return Err(SendFailure::NotConnected);
        }
        let answered = within(PATIENCE, answer).await.and_then(Result::ok);
        let token = answered.and_then(|ack| {
            let made = ack.get().get_optional_child("link_create")?;
            let token = made.get_attr("token")?.as_str().into_owned();
            is_token(&token).then_some(token)
        });
        match token {
            Some(token) => Ok(call.link(&token)),
            None => Err(SendFailure::Other(
                "WhatsApp made no link for the event's call".to_owned(),
            )),
        }
    }
}

fn is_token(text: &str) -> bool {
    let is_sound = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=TOKEN).contains(&text.len()) && text.bytes().all(is_sound)
}
