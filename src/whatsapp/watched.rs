//! What other people do just now: whether they are online, and in which chats they type.
//!
//! WhatsApp tells of the presence of those alone whom a device has subscribed to, and of both to devices only that are
//! available themselves. They come often and mean little later: what says nothing new is left out, and each account
//! reports so many a minute.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use whatsapp_rust::wacore_binary::NodeRef;

use super::usernames::person;
use crate::clock::Millis;
use crate::jid::ChatJid;
use crate::sync::locked;

/// People whose presence one account is told of.
pub const SUBSCRIPTIONS: usize = 256;
/// Chats and people whose state is remembered.
const STATES: usize = 256;
/// Changes that are reported in a minute.
const A_MINUTE: u32 = 120;
const MINUTE: Millis = 60_000;
/// How long a state holds without being said again: clients say it anew every 10 s, and show it for 25 s.
const HOLDS: Millis = 20_000;

/// What a person does in a chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    Typing,
    Recording,
    Paused,
}

/// Whether a person is online, and when the person was last, if that is shown, in Unix milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    pub available: bool,
    pub last_seen: Option<Millis>,
}

/// What one session has seen. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Watched(Arc<Mutex<States>>);

#[derive(Debug, Default)]
struct States {
    /// Subscribed people, and what was said of them last.
    people: HashMap<String, Option<Shown>>,
    /// Chat and sender → what was said last, and when.
    doings: HashMap<(String, String), (Doing, Millis)>,
    /// When the minute began, and what was reported in it.
    minute: (Millis, u32),
}

impl Watched {
    /// Makes room for a subscription; false if there is none.
    pub fn subscribe(&self, person: &str) -> bool {
        let mut states = locked(&self.0);
        if states.people.len() >= SUBSCRIPTIONS && !states.people.contains_key(person) {
            return false;
        }
        states.people.entry(person.to_owned()).or_default();
        true
    }

    /// What was last said of a person's presence.
    pub fn presence_of(&self, person: &str) -> Option<Shown> {
        locked(&self.0).people.get(person).copied().flatten()
    }

    /// Whether a presence is to be reported.
    pub fn presence(&self, person: &str, shown: Shown, now: Millis) -> bool {
        let mut states = locked(&self.0);
        match states.people.get_mut(person) {
            Some(last) if *last != Some(shown) => *last = Some(shown),
            // It was said before, or not asked for.
            Some(_) | None => return false,
        }
        states.has_room(now)
    }

    /// Whether what a person does is to be reported.
    pub fn doing(&self, chat: &str, sender: &str, doing: Doing, now: Millis) -> bool {
        let mut states = locked(&self.0);
        let key = (chat.to_owned(), sender.to_owned());
        if let Some((last, at)) = states.doings.get_mut(&key)
            && *last == doing
        {
            let holds = doing == Doing::Paused || now.saturating_sub(*at) < HOLDS;
            *at = now;
            if holds {
                return false;
            }
        }
        if states.doings.len() >= STATES {
            states.doings.clear();
        }
        states.doings.insert(key, (doing, now));
        states.has_room(now)
    }
}

impl States {
    fn has_room(&mut self, now: Millis) -> bool {
        let (began, count) = &mut self.minute;
        if now.saturating_sub(*began) >= MINUTE {
            (*began, *count) = (now, 0);
        }
        *count = count.saturating_add(1);
        *count <= A_MINUTE
    }
}

/// What a `<chatstate>` says: the chat, the person, and what the person does in it (wacore's `iq::chatstate`).
pub fn on_stanza(node: &NodeRef<'_>) -> Option<(String, String, Doing)> {
    let chat = node.get_attr("from")?.as_str().into_owned();
    let chat = ChatJid::parse(&chat).ok()?;
    let sender = match chat.is_person() {
        true => chat.to_string(),
        false => person(node, "participant")?,
    };
    let state = node.children()?.first()?;
    let is_sound = || {
        state
            .get_attr("media")
            .is_some_and(|it| it.as_str() == "audio")
    };
    let doing = match state.tag.as_ref() {
        "composing" if is_sound() => Doing::Recording,
        "composing" => Doing::Typing,
        "paused" => Doing::Paused,
        _ => return None,
    };
    Some((chat.to_string(), sender, doing))
}

impl Doing {
    /// Its word in events.
    pub fn name(self) -> &'static str {
        match self {
            Doing::Typing => "typing",
            Doing::Recording => "recording",
            Doing::Paused => "paused",
        }
    }
}

#[cfg(test)]
mod tests {
    use whatsapp_rust::NodeBuilder;

    use super::*;

    #[test]
    fn only_news_of_subscribed_people_are_reported() {
        let seen = Watched::default();
        let online = Shown {
            available: true,
            last_seen: None,
        };
        assert!(!seen.presence("bob", online, 0));
        assert!(seen.subscribe("bob"));
        assert!(seen.presence("bob", online, 0));
        assert!(!seen.presence("bob", online, 1));
        assert_eq!(seen.presence_of("bob"), Some(online));
        assert!(seen.subscribe("bob"));
        assert_eq!(seen.presence_of("bob"), Some(online));
        for n in 1..SUBSCRIPTIONS {
            assert!(seen.subscribe(&n.to_string()));
        }
        assert!(!seen.subscribe("zoe") && seen.subscribe("bob"));
    }

    #[test]
    fn states_are_reported_when_they_change_or_were_over_and_so_many_a_minute() {
        let seen = Watched::default();
        let mut now = 0;
        for (passed, doing, reported) in [
            (0, Doing::Typing, true),
            (10_000, Doing::Typing, false),
            (10_000, Doing::Typing, false),
            (1, Doing::Recording, true),
            (30_000, Doing::Recording, true),
            (1, Doing::Paused, true),
            (60_000, Doing::Paused, false),
        ] {
            now += passed;
            assert_eq!(seen.doing("a", "b", doing, now), reported, "{now}");
        }
        now += MINUTE;
        let reported =
            (0..2 * STATES).filter(|n| seen.doing(&n.to_string(), "b", Doing::Typing, now));
        assert_eq!(reported.count(), A_MINUTE as usize);
        assert!(locked(&seen.0).doings.len() <= STATES);
        assert!(seen.doing("a", "b", Doing::Typing, now + MINUTE));
    }

    #[test]
    fn chat_states_are_read() {
        let said = |from: &str, participant: Option<&str>, state: NodeBuilder| {
            let mut node = NodeBuilder::new("chatstate").attr("from", from);
            if let Some(participant) = participant {
                node = node.attr("participant", participant);
            }
            on_stanza(&node.children([state.build()]).build().as_node_ref())
        };
        let typing = || NodeBuilder::new("composing");
        let bob = || "49170@s.whatsapp.net".to_owned();
        assert_eq!(
            said("49170@s.whatsapp.net", None, typing()),
            Some((bob(), bob(), Doing::Typing))
        );
        let sound = typing().attr("media", "audio");
        let in_group = said("12345678901@g.us", Some("49170:3@s.whatsapp.net"), sound);
        assert_eq!(
            in_group,
            Some(("12345678901@g.us".to_owned(), bob(), Doing::Recording))
        );
        assert_eq!(said("12345678901@g.us", None, typing()), None);
        assert_eq!(
            said("49170@s.whatsapp.net", None, NodeBuilder::new("else")),
            None
        );
    }
}
