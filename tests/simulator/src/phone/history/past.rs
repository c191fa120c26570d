//! Generated history: chats and messages that a phone has from the start.
//! Everything is computed when it is asked for, from the numbers of the chat and of the message, so a
//! past of any size costs nothing until it is sent.

use wacore_binary::Jid;
use waproto::buffa::MessageField;
use waproto::whatsapp as wa;

/// Every so many messages one has a reaction.
const REACTED: usize = 10;
/// Every so many messages one is a reply.
const REPLIES: usize = 7;

/// A person in the history.
#[derive(Debug, Clone)]
pub struct Peer {
    /// The number.
    pub number: String,
    /// The user part of the LID.
    pub lid: String,
    /// What he calls himself.
    pub name: String,
}

/// A chat of the past.
#[derive(Debug, Clone)]
pub enum PastChat {
    /// With one person, by index.
    Person(usize),
    /// A group: its JID's user part, whether it is addressed by LIDs, and its members.
    Group {
        /// The user part of the JID.
        id: String,
        /// Whether it names people by LID.
        lid: bool,
        /// Indices of people.
        members: Vec<usize>,
    },
}

/// What a phone remembers.
#[derive(Debug, Clone)]
pub struct Past {
    /// The people.
    pub peers: Vec<Peer>,
    /// The chats, the newest first.
    pub chats: Vec<PastChat>,
    /// Messages of each.
    pub messages: usize,
    /// The number of unread messages in each chat, the newest ones, all incoming.
    pub unread: usize,
    /// How far back the oldest message is, seconds.
    pub span: u64,
    /// When the past ends, Unix seconds.
    pub until: u64,
    /// What the messages say before their numbers.
    pub text: String,
    /// Whether chats with people are kept under their LIDs.
    pub by_lid: bool,
}

impl Past {
    /// The JID that a chat is kept under.
    pub fn jid(&self, chat: usize) -> Option<Jid> {
        Some(match self.chats.get(chat)? {
            PastChat::Person(at) => self.person(*at, self.by_lid)?,
            PastChat::Group { id, .. } => Jid::group(id.as_str()),
        })
    }

    /// A person's JID in one of the two forms.
    fn person(&self, at: usize, lid: bool) -> Option<Jid> {
        let peer = self.peers.get(at)?;
        Some(if lid {
            Jid::lid(peer.lid.as_str())
        } else {
            Jid::pn(peer.number.as_str())
        })
    }

    /// The id of a message: its chat and its number in it, counted from the oldest.
    pub fn id(chat: usize, n: usize) -> String {
        format!("3A0000{chat:06X}{n:08X}")
    }

    /// Whether the phone's owner wrote it.
    fn is_own(&self, n: usize) -> bool {
        n % 2 == 1 && n + self.unread < self.messages
    }

    /// When it was sent, Unix seconds: evenly over the span, the newest last.
    pub fn time(&self, chat: usize, n: usize) -> u64 {
        let step = self.span / (self.messages.max(1) as u64);
        let age = (self.messages.saturating_sub(n + 1)) as u64 * step;
        self.until
            .saturating_sub(age)
            .saturating_sub(chat as u64 % 60)
    }

    fn key(&self, chat: usize, n: usize) -> Option<wa::MessageKey> {
        let from_me = self.is_own(n);
        Some(wa::MessageKey {
            remote_jid: Some(self.jid(chat)?.to_string()),
            from_me: Some(from_me),
            id: Some(Self::id(chat, n)),
            participant: match from_me {
                true => None,
                false => self.author_in_group(chat, n).map(|jid| jid.to_string()),
            },
        })
    }

    /// The sender of an incoming message, by index.
    fn author(&self, chat: usize, n: usize) -> Option<usize> {
        match self.chats.get(chat)? {
            PastChat::Person(at) => Some(*at),
            PastChat::Group { members, .. } => members.get(n / 2 % members.len().max(1)).copied(),
        }
    }

    fn author_in_group(&self, chat: usize, n: usize) -> Option<Jid> {
        match self.chats.get(chat)? {
            PastChat::Person(_) => None,
            PastChat::Group { lid, .. } => self.person(self.author(chat, n)?, *lid),
        }
    }

    /// The text of a message.
    pub fn text(&self, chat: usize, n: usize) -> String {
        format!("{} {chat}/{n}", self.text)
    }

    /// A message as history has it.
    pub fn message(&self, chat: usize, n: usize) -> Option<wa::WebMessageInfo> {
        let from_me = self.is_own(n);
        let text = self.text(chat, n);
        let message = if n % REPLIES == REPLIES - 1 {
            self.reply(chat, n, text)?
        } else {
            wa::Message {
                conversation: Some(text),
                ..Default::default()
            }
        };
        let author = self.author(chat, n).and_then(|at| self.peers.get(at));
        let reactions = if n % REACTED == REACTED - 1 {
            vec![wa::Reaction {
                key: MessageField::some(wa::MessageKey {
                    remote_jid: Some(self.jid(chat)?.to_string()),
                    from_me: Some(true),
                    id: Some(format!("{}R", Self::id(chat, n))),
                    participant: None,
                }),
                text: Some("👍".to_owned()),
                sender_timestamp_ms: i64::try_from(self.time(chat, n) * 1000).ok(),
                ..Default::default()
            }]
        } else {
            Vec::new()
        };
        use wa::web_message_info::Status;
        Some(wa::WebMessageInfo {
            key: MessageField::some(self.key(chat, n)?),
            message: MessageField::some(message),
            message_timestamp: Some(self.time(chat, n)),
            status: Some(if from_me {
                Status::READ
            } else {
                Status::DELIVERY_ACK
            }),
            participant: match from_me {
                true => None,
                false => self.author_in_group(chat, n).map(|jid| jid.to_string()),
            },
            push_name: match from_me {
                true => None,
                false => author.map(|peer| peer.name.clone()),
            },
            reactions,
            ..Default::default()
        })
    }

    /// A reply to the message before.
    fn reply(&self, chat: usize, n: usize, text: String) -> Option<wa::Message> {
        let quoted = n.checked_sub(1)?;
        let author = match self.is_own(quoted) {
            true => None,
            false => self
                .author_in_group(chat, quoted)
                .or_else(|| self.person(self.author(chat, quoted)?, self.by_lid)),
        };
        Some(wa::Message {
            extended_text_message: MessageField::some(wa::message::ExtendedTextMessage {
                text: Some(text),
                context_info: MessageField::some(wa::ContextInfo {
                    stanza_id: Some(Self::id(chat, quoted)),
                    participant: author.map(|jid| jid.to_string()),
                    quoted_message: MessageField::some(wa::Message {
                        conversation: Some(self.text(chat, quoted)),
                        ..Default::default()
                    }),
                    ..Default::default()
                }),
                ..Default::default()
            }),
            ..Default::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Past, PastChat, Peer};

    #[test]
    fn a_past_is_computed_in_order_and_within_its_span() {
        let past = Past {
            peers: vec![Peer {
                number: "15550000001".into(),
                lid: "9".into(),
                name: "alice".into(),
            }],
            chats: vec![PastChat::Person(0)],
            messages: 100,
            unread: 3,
            span: 86_400,
            until: 1_000_000,
            text: "hello".into(),
            by_lid: false,
        };
        let times: Vec<u64> = (0..100).map(|n| past.time(0, n)).collect();
        assert!(times.is_sorted());
        assert!(times[0] >= 1_000_000 - 86_400 && times[99] == 1_000_000);
        let last = past.message(0, 99).expect("a message");
        assert_eq!(last.key.from_me, Some(false), "what is unread came in");
        assert_eq!(last.key.id.as_deref(), Some("3A000000000000000063"));
        assert_eq!(
            past.message(0, 5).expect("a message").key.from_me,
            Some(true)
        );
        assert!(past.message(1, 0).is_none());
    }
}
