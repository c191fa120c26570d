//! What can be asked of an account's outbox: to list it, and to cancel a message.

use crate::clock;
use crate::ledger::Fact;
use crate::message::MessageKind;
use crate::store::messages::{self, Part, Room};
use crate::store::outbox::{self as rows, Entry, Stage};
use crate::store::{ReadTx, StoreError};

use super::contact_limits;
use super::outbox::CANCELLED;
use super::registry::Accounts;
use super::types::{AccountError, OutboxEntry, OutboxView};

impl Accounts {
    /// What waits to be sent, in the order in which it goes.
    ///
    /// # Errors
    /// [`AccountError::NotFound`], or the store's.
    pub fn outbox(&self, id: &str, part: Part<u64>) -> Result<OutboxView, AccountError> {
        let account = self.handle(id)?.number;
        let view = self.0.wiring.store.read(|tx| {
            let state = rows::state(tx, account)?;
            let (mut messages, mut last, mut more) = (Vec::new(), None, false);
            let mut room = Room::new(part.limit, part.bytes);
            let behind = part.behind.unwrap_or(0);
            for row in rows::behind(tx, account, behind)?.skip(part.skip) {
                let (sequence, entry) = row?;
                let shown = show(tx, account, &entry)?;
                if !room.take(&shown) {
                    more = true;
                    break;
                }
                last = Some(sequence);
                messages.push(shown);
            }
            Ok(OutboxView {
                messages,
                has_more: more,
                next: last.filter(|_| more).map(|last| last.to_string()),
                count: state.count,
                bytes: state.bytes,
                new_contacts_paused_until: contact_limits::restricted(&state, clock::now())
                    .map(|it| clock::iso8601(it.until)),
            })
        })?;
        Ok(view)
    }

    /// Takes a message that waits out of the outbox: it is not sent.
    ///
    /// # Errors
    /// [`AccountError::NotInOutbox`]; [`AccountError::AlreadySending`] once it may be at WhatsApp.
    pub async fn cancel(&self, id: &str, message_id: &str) -> Result<(), AccountError> {
        let handle = self.handle(id)?;
        let sending = self.sending(id, &handle);
        let (account, message_id) = (handle.number, message_id.to_owned());
        let found = self
            .0
            .wiring
            .store
            .read(|tx| rows::get(tx, account, &message_id))?;
        let entry = found.ok_or(AccountError::NotInOutbox)?;
        self.whole(async move {
            let done = entry.clone();
            let cancelled = sending.owner().write(sending.store(), move |ledger| {
                let entry = rows::get(&ledger.tx.view(), ledger.account, &done.message_id)?;
                match entry.map(|entry| entry.stage) {
                    None => return Ok(Err(AccountError::NotInOutbox)),
                    Some(Stage::Sending) => return Ok(Err(AccountError::AlreadySending)),
                    Some(Stage::Queued) => {}
                }
                let fact = Fact::Failed {
                    entry: &done,
                    words: CANCELLED,
                    code: None,
                    remembered: true,
                };
                ledger.record(&fact, clock::now())?;
                Ok(Ok(()))
            });
            cancelled.await?.ok_or(AccountError::NotFound)??;
            sending.remove_waiting(&entry.message_id).await;
            Ok(())
        })
        .await
    }
}

fn show(tx: &ReadTx<'_>, account: u32, entry: &Entry) -> Result<OutboxEntry, StoreError> {
    let message = messages::get_own(tx, account, &entry.message_id)?;
    let (kind, text) = match (&entry.change, &message) {
        (Some(changing), _) => (changing.change.name(), changing.change.words()),
        (None, Some(message)) => (message.kind.name(), message.words()),
        (None, None) => (MessageKind::Unknown.name(), None),
    };
    let text = text.map(str::to_owned);
    Ok(OutboxEntry {
        message_id: entry.message_id.clone(),
        chat_id: messages::canonical_jid(tx, account, &entry.to)?,
        kind: kind.to_owned(),
        text,
        stage: match entry.stage {
            Stage::Queued => "queued",
            Stage::Sending => "sending",
        },
        size: entry.size,
        created_at: clock::iso8601(entry.created_at),
        send_at: entry.send_at.map(clock::iso8601),
        expires_at: clock::iso8601(entry.expires_at),
    })
}
