//! Calls: each is a line of its chat, under the call's id, that changes as the call goes on. It counts as no unread message.

use super::lookup::places;
use super::{Arrival, Inserted, Result, change_at, chats, insert, load};
use crate::clock::Millis;
use crate::message::{Call, CallNews, CallSaid, CallStatus, Message, MessageKind};
use crate::store::tx::WriteTx;

/// Records what WhatsApp says of a call; its line after that, `None` if it says nothing new, or nothing of a call that is
/// known. Only the caller, the group that is called, and the account itself are believed.
pub fn hear_call(
    tx: &mut WriteTx<'_>,
    account: u32,
    account_id: &str,
    news: &CallNews,
    now: Millis,
) -> Result<Option<Message>> {
    let CallSaid::Offered {
        video,
        group,
        missed,
    } = news.said
    else {
        return follow(tx, account, news);
    };
    let mut line = Message {
        sender: news.by.clone(),
        push_name: news.push_name.clone(),
        timestamp: news.at,
        call: Some(Call {
            id: Some(news.id.clone()),
            status: match missed {
                true => CallStatus::Missed,
                false => CallStatus::Offered,
            },
            video,
            group,
            ..Call::default()
        }),
        ..Message::empty(
            account_id,
            news.id.as_str(),
            news.chat.as_str(),
            MessageKind::Call,
            now,
        )
    };
    Ok(match insert(tx, account, &mut line, None, Arrival::Live)? {
        Inserted::New => Some(line),
        Inserted::Duplicate => None,
    })
}

fn follow(tx: &mut WriteTx<'_>, account: u32, news: &CallNews) -> Result<Option<Message>> {
    let by = chats::canonical_jid(&tx.view(), account, &news.by)?;
    let is_own = super::is_own(&tx.view(), account, &by)?;
    for (place, id_key) in places(&tx.view(), account, &news.id, None)? {
        let (_, line) = load(&tx.view(), account, place)?;
        let may = is_own || by == line.sender || by == line.chat_id;
        if !may || !line.is_call_line() {
            continue;
        }
        let changed = change_at(tx, account, place, &id_key, |line| {
            line.call.as_mut().is_some_and(|call| call.hear(news.said))
        })?;
        // What is stored is not the chat's newest name; what is shown is.
        return match changed {
            Some(_) => Ok(Some(load(&tx.view(), account, place)?.1)),
            None => Ok(None),
        };
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::super::{Part, chats, get, unread};
    use super::*;
    use crate::store::accounts;
    use crate::store::tests::{TestStore, message};

    const BOB: &str = "491701234567@s.whatsapp.net";
    const EVE: &str = "491709999999@s.whatsapp.net";

    #[test]
    fn a_call_is_one_line_that_its_caller_alone_changes() {
        let store = TestStore::new();
        let made = store.run(|tx| accounts::create(tx, "alice", None, String::new(), 0));
        let alice = made.unwrap().number;
        let say = |by: &'static str, said: CallSaid| {
            let news = CallNews {
                id: "C1".into(),
                chat: BOB.into(),
                by: by.into(),
                push_name: None,
                at: 5,
                said,
            };
            let line = store.run(move |tx| hear_call(tx, alice, "alice", &news, 9));
            line.map(|line| line.call.unwrap().status)
        };
        let offer = CallSaid::Offered {
            video: true,
            group: false,
            missed: false,
        };
        store.run(move |tx| {
            let mut came = message("alice", BOB, "A", 4);
            insert(tx, alice, &mut came, None, Arrival::Live)
        });
        let over = CallSaid::Over { duration: None };
        assert_eq!(say(BOB, over), None, "of no call");
        assert_eq!(say(BOB, offer), Some(CallStatus::Offered));
        assert_eq!(say(BOB, offer), None, "again");
        assert_eq!(say(EVE, over), None, "of another's call");
        assert_eq!(say(BOB, over), Some(CallStatus::Missed));
        assert_eq!(say(BOB, over), None, "again");
        let line = store.read(|tx| get(tx, alice, "C1")).unwrap().unwrap();
        assert_eq!((line.kind, line.timestamp), (MessageKind::Call, 5));
        // The line is no unread message, and is not told as read.
        let chat = store.read(|tx| chats(tx, alice, Part::of(9, 0))).unwrap();
        let chat = &chat.chats[0];
        assert_eq!((chat.unread_count, chat.message_count), (1, 2));
        let ids = store.read(|tx| unread(tx, alice, BOB, 9)).unwrap();
        assert_eq!(ids.len(), 1);
        assert_eq!(ids[0].message_id, "A");
    }
}
