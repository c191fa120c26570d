//! How far an own message has come, and the events that say so: the only place that appends
//! `message.sent`, and `message.status` of own messages.
//!
//! `message.sent` is appended in the transaction in which the message first counts as being at WhatsApp,
//! be it by the server's ack or by a receipt that has overtaken the ack: it comes once, and no
//! receipt comes before it.

use crate::clock::{self, Millis};
use crate::event::{Event, StatusChange};
use crate::message::DeliveryStatus;
use crate::store::outbox::{self, Entry, Stage, What};
use crate::store::{StoreError, WriteTx, events, messages};

/// Whether a message is at WhatsApp as far as its status says. One without a status was not sent by
/// this server.
pub fn has_left(status: Option<DeliveryStatus>) -> bool {
    match status {
        Some(DeliveryStatus::Pending | DeliveryStatus::Failed) => false,
        None
        | Some(
            DeliveryStatus::Sent
            | DeliveryStatus::Delivered
            | DeliveryStatus::Read
            | DeliveryStatus::Played,
        ) => true,
    }
}

/// WhatsApp's server has acknowledged an own message, and dates it `timestamp`.
pub fn acked(
    tx: &mut WriteTx<'_>,
    account: u32,
    message_id: &str,
    timestamp: Millis,
) -> Result<(), StoreError> {
    let Some(before) = messages::get_own(&tx.view(), account, message_id)? else {
        return Ok(());
    };
    // The server's time counts, also when a receipt came first.
    let message = messages::mark_sent(tx, account, message_id, timestamp)?;
    if let Some(message) = message
        && !has_left(before.status)
    {
        events::append(tx, &Event::MessageSent(message), clock::now())?;
    }
    Ok(())
}

/// `by` has received, read or played an own message of the chat `chat`.
pub fn received(
    tx: &mut WriteTx<'_>,
    account: u32,
    chat: &str,
    message_id: &str,
    status: DeliveryStatus,
    by: &str,
) -> Result<(), StoreError> {
    let Some(before) = messages::get_received(&tx.view(), account, chat, message_id)? else {
        return Ok(());
    };
    if !has_left(before.status) {
        let entry = outbox::get(&tx.view(), account, message_id)?;
        if entry.is_some_and(|entry| entry.stage == Stage::Queued) {
            // It has not left: whatever this is about, it is not that message.
            return Ok(());
        }
        // Its ack is still to come, and brings the server's time.
        acked(tx, account, message_id, before.timestamp)?;
    }
    let Some(message) = messages::set_status(tx, account, chat, message_id, status)? else {
        return Ok(());
    };
    let now = clock::now();
    let change = StatusChange {
        account_id: message.account_id,
        message_id: message.message_id,
        chat_id: message.chat_id,
        chat_lid: message.chat_lid,
        chat_name: message.chat_name,
        status,
        participant: Some(messages::canonical_jid(&tx.view(), account, by)?),
        error: None,
        code: None,
        created_at: clock::iso8601(now),
    };
    events::append(tx, &Event::MessageStatus(change), now)?;
    Ok(())
}

/// What an outbox's entry says will not go.
pub fn failed(
    tx: &mut WriteTx<'_>,
    account: u32,
    account_id: &str,
    entry: &Entry,
    words: &str,
    code: Option<u16>,
) -> Result<(), StoreError> {
    let is_message = matches!(entry.what, What::Text | What::Medium(_));
    if is_message && messages::mark_failed(tx, account, &entry.message_id, words)?.is_none() {
        return Ok(());
    }
    let chat = messages::names(&tx.view(), account, &entry.to)?;
    let now = clock::now();
    let change = StatusChange {
        account_id: account_id.to_owned(),
        message_id: entry.message_id.clone(),
        chat_id: chat.jid,
        chat_lid: chat.lid,
        chat_name: chat.title,
        status: DeliveryStatus::Failed,
        participant: None,
        error: Some(words.to_owned()),
        code,
        created_at: clock::iso8601(now),
    };
    events::append(tx, &Event::MessageStatus(change), now)?;
    Ok(())
}
