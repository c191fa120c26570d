//! Messages as they come out of decryption, from arbitrary bytes, for `tests/fuzz`.

use whatsapp_rust::types::message::MessageInfo;
use whatsapp_rust::waproto::codec;

use super::{Row, convert, handled, record_all};
use crate::ledger::{Ledger, Owner};
use crate::store::messages::{self, PageQuery};
use crate::store::{Store, StoreError};
use crate::whatsapp::convert::{AutoDownload, history};

/// Where messages come in.
pub struct Messages {
    /// With one account, its first.
    pub store: Store,
    pub account_id: &'static str,
}

/// The number of a store's first account.
const ACCOUNT: u32 = 1;

const NOW: u64 = 1_764_000_000_000;

impl Messages {
    /// Up to four messages out of `data`: stored, changed, listed and shown, then forgotten.
    pub fn arrives(&self, data: &[u8]) {
        let mut input = Input(data);
        let mut rows = Vec::new();
        for _ in 0..4 {
            if input.0.is_empty() {
                break;
            }
            let info = input.info();
            let bytes = input.piece();
            self.past(bytes);
            let Ok(message) = codec::message_decode(bytes) else {
                continue;
            };
            let auto = AutoDownload { max_bytes: 1 << 20 };
            let Some(inbound) = convert::inbound(self.account_id, &info, &message, auto, NOW)
            else {
                continue;
            };
            rows.push(Row {
                inbound,
                id: handled::id(&info),
                size: bytes.len(),
                usernames: Vec::new(),
                now: NOW,
            });
        }
        if rows.is_empty() {
            return;
        }
        let owner = Owner {
            number: ACCOUNT,
            id: self.account_id.into(),
        };
        let stored = smol::block_on(self.store.write(move |tx| {
            if let Some(mut ledger) = Ledger::open(tx, &owner)? {
                record_all(&mut ledger, &rows)?;
                // Redelivered: nothing may happen.
                record_all(&mut ledger, &rows)?;
            }
            let view = tx.view();
            for chat in messages::chats(&view, ACCOUNT, messages::Part::of(50, 0))?.chats {
                let all = PageQuery {
                    limit: 100,
                    ..PageQuery::ALL
                };
                for message in messages::page(&view, ACCOUNT, &chat.chat_id, all)?.messages {
                    show(&message);
                    let found = messages::get(&view, ACCOUNT, &message.message_id)?;
                    // Ids are unique within chat and sender only: it may be another one's.
                    let found = found.map(|found| found.message_id);
                    assert_eq!(found, Some(message.message_id));
                }
                show(&chat);
            }
            // An error, so that the next run finds the store as this one did.
            Err::<(), _>(StoreError::Busy)
        }));
        // Anything else: a message that could never be acknowledged.
        assert!(matches!(stored, Err(StoreError::Busy)), "{stored:?}");
    }

    /// The same bytes as a part of the history.
    fn past(&self, bytes: &[u8]) {
        let own = history::Own {
            jid: "491700000001@s.whatsapp.net".to_owned(),
            lid: Some("9001@lid".to_owned()),
        };
        let Ok(conversation) = codec::conversation_decode(bytes) else {
            return;
        };
        let Some(chat) = history::conversation(&conversation) else {
            return;
        };
        for message in &conversation.messages {
            if let Some(info) = message.message.as_option() {
                let _ = history::message(self.account_id, &own, &chat, info, NOW);
            }
        }
    }
}

fn show(value: &impl serde::Serialize) {
    let json = serde_json::to_string(value);
    assert!(json.is_ok(), "{json:?}");
}

/// The bytes of a run, taken from the front.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((first, rest)) => {
                self.0 = rest;
                *first
            }
            None => 0,
        }
    }

    /// A piece with its length in two bytes before it.
    fn piece(&mut self) -> &'a [u8] {
        let length = usize::from(u16::from_le_bytes([self.byte(), self.byte()]));
        let (piece, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        piece
    }

    fn text(&mut self) -> String {
        String::from_utf8_lossy(self.piece()).into_owned()
    }

    fn info(&mut self) -> MessageInfo {
        let flags = self.byte();
        let mut info = MessageInfo {
            id: self.text(),
            push_name: self.text(),
            ..Default::default()
        };
        info.source.is_from_me = flags & 1 != 0;
        info.source.is_group = flags & 2 != 0;
        // WhatsApp's server names the chat and the sender; what is no JID does not get this far.
        info.source.chat = self.jid("491700000002@s.whatsapp.net");
        info.source.sender = self.jid("491700000002@s.whatsapp.net");
        if flags & 4 != 0 {
            info.source.sender_alt = Some(self.jid("9002@lid"));
        }
        if flags & 8 != 0 {
            info.source.recipient_alt = Some(self.jid("9003@lid"));
        }
        info
    }

    fn jid(&mut self, otherwise: &str) -> whatsapp_rust::Jid {
        let text = self.text();
        text.parse()
            .or_else(|_| otherwise.parse())
            .unwrap_or_default()
    }
}
