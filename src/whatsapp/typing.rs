//! Chat states: "typing…" and "recording…", which end by themselves.
//!
//! WhatsApp passes a chat state on from devices that are available only, and meanwhile gives the phone no push
//! notifications (see [`super::presence`]). So the account is available while a chat has a state, which is bounded.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use whatsapp_rust::{ChatStateType, Jid};

use crate::sync::locked;

/// Chats of an account that have a state at the same time.
pub const CHATS: usize = 16;

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
    pub chat: String,
    number: u64,
    pub to: Jid,
    pub state: ChatState,
}

impl ChatStates {
    /// Whether no chat has a state.
    pub fn is_empty(&self) -> bool {
        locked(&self.0).shown.is_empty()
    }

    /// `None` if too many chats have one.
    pub fn begin(&self, chat: &str, to: Jid, state: ChatState) -> Option<Shown> {
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

    /// Whether it had one.
    pub fn end(&self, chat: &str) -> bool {
        locked(&self.0).shown.remove(chat).is_some()
    }
}

impl Shown {
    pub fn is_current(&self) -> bool {
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

impl ChatState {
    pub fn wire(self) -> ChatStateType {
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
