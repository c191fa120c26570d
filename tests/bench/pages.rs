//! The time of a page in long chats and with many chats, compared to a small database.

use std::path::Path;
use std::time::Duration;

use wildcat::message::{Message, MessageKind};
use wildcat::store::{self, Store, accounts, messages};

use crate::Scale;
use crate::load::{self, Timed};
use crate::support::World;

/// Messages in the long chat of the account `big`, and in that of `small`.
const MESSAGES: usize = 1_000_000;
const FEW_MESSAGES: usize = 1_000;
/// Chats of the account `big`, and of `small`.
const CHATS: usize = 10_000;
const FEW_CHATS: usize = 100;
/// Requests measured for each figure, after as many to warm up.
const REQUESTS: usize = 200;
/// Messages stored in one transaction.
const BATCH: usize = 1_000;
/// When the first message came, Unix milliseconds.
const FIRST: u64 = 1_700_000_000_000;
const CHAT: &str = "491720000000@s.whatsapp.net";

pub fn run(scale: Scale) {
    let (many, chats) = (scale.of(MESSAGES), scale.of(CHATS));
    let world = World::new();
    let options = world.options();
    seed(&options.data, "small", FEW_MESSAGES, FEW_CHATS);
    seed(&options.data, "big", many, chats);
    let server = options.start();
    let get = |path: String| {
        let request = || {
            load::run(server.base(), REQUESTS, 1, |connection, _| {
                let page = connection.json("GET", &path, None);
                let rows = page["messages"].as_array().or(page["chats"].as_array());
                assert_eq!(rows.map(Vec::len), Some(50), "{path}");
            })
        };
        request();
        request()
    };
    let messages = |account, query: &str| {
        get(format!(
            "/accounts/{account}/chats/{CHAT}/messages?limit=50{query}"
        ))
    };
    let list = |account, query: &str| get(format!("/accounts/{account}/chats?limit=50{query}"));

    println!("\n| What | p50 | p99 | ratio of p50 |\n|---|---|---|---|");
    let few = messages("small", "");
    show(&format!("50 messages of {FEW_MESSAGES}"), &few, &few);
    let middle = format!("&before={}", FIRST + many as u64 / 2);
    let last = format!("&before={}", FIRST + 51);
    // More cannot be skipped.
    let skip = 100_000.min(many / 2);
    let skipping = format!("&offset={skip}");
    for (what, query) in [
        ("the newest", ""),
        ("in the middle, by `before`", &middle),
        ("the oldest, by `before`", &last),
        (&format!("behind {skip}, by `offset`"), &skipping),
    ] {
        let what = format!("50 messages of {many}, {what}");
        show(&what, &messages("big", query), &few);
    }
    let few = list("small", "");
    show(&format!("50 chats of {FEW_CHATS}"), &few, &few);
    show(&format!("50 chats of {chats}"), &list("big", ""), &few);
    let skip = format!("&skip={}", chats - 50);
    let what = format!("50 chats of {chats}, the last, by `skip`");
    show(&what, &list("big", &skip), &few);
}

fn show(what: &str, timed: &Timed, beside: &Timed) {
    println!(
        "| {what} | {:.2} ms | {:.2} ms | {:.2} |",
        timed.percentile(50),
        timed.percentile(99),
        timed.percentile(50) / beside.percentile(50)
    );
}

/// An account with one chat of `count` messages, the last of which is its newest, and further chats
/// of one message each.
fn seed(data: &Path, id: &'static str, count: usize, chats: usize) {
    let store = Store::open(data, store::Options::default()).expect("the store opens");
    smol::block_on(async {
        let account = store
            .write(move |tx| {
                let made = accounts::create(tx, id, None, format!("auth_{id}"), FIRST)?;
                accounts::update(tx, id, |account| {
                    account.wanted = accounts::Wanted::Disconnected;
                })?;
                Ok(made.expect("a new account").number)
            })
            .await
            .expect("an account");
        let others = (1..chats).map(|n| (format!("4917300{n:05}@s.whatsapp.net"), 0));
        let long = (0..count).map(|n| (CHAT.to_owned(), n));
        let all: Vec<(String, usize)> = others.chain(long).collect();
        for (number, batch) in all.chunks(BATCH).enumerate() {
            let batch = batch.to_vec();
            let write = store.write(move |tx| {
                for (n, (chat, at)) in batch.iter().enumerate() {
                    let mut message = message(id, number * BATCH + n, chat, *at);
                    messages::insert(tx, account, &mut message, None, messages::Arrival::Live)?;
                }
                Ok(())
            });
            write.await.expect("stored");
        }
        store.close(Duration::from_secs(60)).await.expect("closed");
    });
}

fn message(account: &str, n: usize, chat: &str, at: usize) -> Message {
    let id = format!("3EB0{n:016X}");
    let mut message = Message::empty(account, id, chat, MessageKind::Text, FIRST + at as u64);
    message.sender = chat.to_owned();
    message.push_name = Some("Bob".to_owned());
    message.text = Some(format!(
        "Message {n}, as long as people's messages are, which is not very long."
    ));
    message
}
