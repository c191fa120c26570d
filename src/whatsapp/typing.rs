//! Chat states: "typing…" and "recording…", which end by themselves.
//!
//! WhatsApp passes a chat state on from devices that are available only, and meanwhile gives the phone no push
//! notifications (see [`super::presence`]). So the account is available while a chat has a state, which is bounded.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use whatsapp_rust::{ChatStateType, Jid};

use crate::clock;
use crate::jid::ChatJid;
use crate::sync::locked;

use super::error::SendFailure;
use super::session::{Session, wire_jid};

/// How often a state is sent again: clients stop showing it after some 25 s.
const REPEAT: Duration = Duration::from_secs(10);
/// Chats of an account that have a state at the same time.
const CHATS: usize = 16;

/// What the account does in a chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChatState {
    Typing,
    Recording,
}

/// The chats of an account that have a state. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct ChatStates(Arc<Mutex<States>>);

#[derive(Debug, Default)]
struct States {
    /// Chat → the number of its state. A later state of the same chat takes the place of an earlier one.
    shown: HashMap<String, u64>,
    last: u64,
}

/// A state that is shown until it is dropped, or until another one of its chat takes its place.
#[derive(Debug)]
pub struct Shown {
    states: ChatStates,
    chat: String,
    number: u64,
    to: Jid,
    state: ChatState,
}

impl ChatStates {
    /// Whether no chat has a state.
    pub fn is_empty(&self) -> bool {
        locked(&self.0).shown.is_empty()
    }

    /// `None` if too many chats have one.
    fn begin(&self, chat: &str, to: Jid, state: ChatState) -> Option<Shown> {
        let mut states = locked(&self.0);
        if states.shown.len() >= CHATS && !states.shown.contains_key(chat) {
            return None;
        }
        states.last += 1;
        let number = states.last;
        states.shown.insert(chat.to_owned(), number);
        Some(Shown {
            states: self.clone(),
            chat: chat.to_owned(),
            number,
            to,
            state,
        })
    }

    fn end(&self, chat: &str) -> bool {
        locked(&self.0).shown.remove(chat).is_some()
    }
}

impl Shown {
    fn is_current(&self) -> bool {
        locked(&self.states.0).shown.get(&self.chat) == Some(&self.number)
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        if self.is_current() {
            self.states.end(&self.chat);
        }
    }
}

impl Session {
    /// Shows a chat state from now on: [`Session::keep_state`] ends it.
    ///
    /// # Errors
    /// When it could not be sent, or as many chats as may have one do.
    pub async fn begin_state(&self, to: &ChatJid, state: ChatState) -> Result<Shown, SendFailure> {
        if !self.is_ready() {
            return Err(SendFailure::NotConnected);
        }
        let chat = to.to_string();
        let wire = wire_jid(&chat).map_err(SendFailure::Other)?;
        let Some(shown) = self.states.begin(&chat, wire, state) else {
            return Err(SendFailure::Other(format!(
                "{CHATS} chats show that the account types: try it again when one of them has ended"
            )));
        };
        if !self.presence.online
            && let Err(error) = self.client.presence().set_available().await
        {
            log::debug!("the account did not become available: {error}");
        }
        self.say_state(&shown.to, state.wire()).await?;
        Ok(shown)
    }

    /// Shows a state for `length`, then ends it, unless another state of its chat took its place. A connection that
    /// is lost ends it, too.
    pub async fn keep_state(&self, shown: Shown, length: Duration) {
        let began = clock::ticks();
        loop {
            let passed = Duration::from_millis(clock::ticks().saturating_sub(began));
            let left = length.saturating_sub(passed);
            if left.is_zero() || !shown.is_current() {
                break;
            }
            clock::sleep(left.min(REPEAT)).await;
            let goes_on = left > REPEAT && shown.is_current();
            if goes_on && self.say_state(&shown.to, shown.state.wire()).await.is_err() {
                break;
            }
        }
        if shown.is_current() {
            let (chat, to) = (shown.chat.clone(), shown.to.clone());
            self.stop_state(&chat, &to).await;
        }
    }

    /// Ends a chat's state, if it has one.
    ///
    /// # Errors
    /// When it could not be sent.
    pub async fn end_state(&self, to: &ChatJid) -> Result<(), SendFailure> {
        if !self.is_ready() {
            return Err(SendFailure::NotConnected);
        }
        let chat = to.to_string();
        let wire = wire_jid(&chat).map_err(SendFailure::Other)?;
        self.stop_state(&chat, &wire).await;
        Ok(())
    }

    async fn stop_state(&self, chat: &str, to: &Jid) {
        // A lost connection has ended it at WhatsApp.
        let _ = self.say_state(to, ChatStateType::Paused).await;
        let had_one = self.states.end(chat);
        if had_one
            && self.states.is_empty()
            && !self.presence.online
            && let Err(error) = self.client.presence().set_unavailable().await
        {
            log::debug!("the presence could not be taken back: {error}");
        }
    }

    async fn say_state(&self, to: &Jid, state: ChatStateType) -> Result<(), SendFailure> {
        self.client
            .chatstate()
            .send(to, state)
            .await
            .map_err(|error| {
                log::debug!("a chat state was not sent: {error}");
                SendFailure::NotConnected
            })
    }
}

impl ChatState {
    fn wire(self) -> ChatStateType {
        match self {
            ChatState::Typing => ChatStateType::Composing,
            ChatState::Recording => ChatStateType::Recording,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_state_of_a_chat_takes_the_place_of_an_earlier_one_and_their_number_is_bounded() {
        let states = ChatStates::default();
        let begin = |chat: &str| states.begin(chat, Jid::pn(chat), ChatState::Typing);
        let first = begin("1").expect("room");
        let second = begin("1").expect("room");
        assert!(!first.is_current() && second.is_current());
        drop(first);
        assert!(second.is_current());
        let more: Vec<_> = (2..=CHATS).map(|n| begin(&n.to_string())).collect();
        assert!(more.iter().all(Option::is_some));
        assert!(begin("0").is_none());
        assert!(states.end("1") && !second.is_current());
        assert!(begin("0").is_some());
        drop(more);
        assert!(states.is_empty());
    }
}
