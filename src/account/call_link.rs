//! The link of an event's call, which WhatsApp makes: once, when the event is sent for the first time.

use crate::message::{Message, Target};
use crate::store::messages;
use crate::whatsapp::{SendFailure, Session};

use super::sender::{SendResult, Sending};

impl Sending {
    /// The message with its call's link, which is stored before the message goes: a repetition has the same.
    pub(super) async fn with_call_link(
        &self,
        session: &Session,
        message: &Message,
    ) -> Result<Message, SendResult> {
        let mut message = message.clone();
        let Some(event) = &mut message.event else {
            return Ok(message);
        };
        let Some((call, start)) = event.lacks_link() else {
            return Ok(message);
        };
        let link = match session.call_link(call, start).await {
            Ok(link) => link,
            Err(SendFailure::NotConnected) => return Err(SendResult::NotConnected),
            Err(failure) => return Err(SendResult::NotSent(failure.to_string())),
        };
        event.join_link = Some(link.clone());
        let (account, target) = (self.account, Target::of(&message));
        self.store()
            .write(move |tx| messages::set_join_link(tx, account, &target, &link))
            .await
            .map_err(|error| SendResult::NotSent(error.to_string()))?;
        Ok(message)
    }
}
