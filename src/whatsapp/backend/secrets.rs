//! Secrets of messages, for what refers to them later.

use whatsapp_rust::async_trait;
use whatsapp_rust::wacore::store::traits::{
    MsgSecretEntry, MsgSecretStore, merge_msg_secret_expiry, merge_msg_secret_message_ts,
};

use super::expiring::SECRETS;
use super::{Backend, Result, Stored, into_backend, rows};
use crate::store::{Key, ReadTx, WriteTx};

/// Bytes of the message's time in front of the secret.
const TIME: usize = 8;

fn id(chat: &str, sender: &str, msg_id: &str) -> Key {
    Key::new().text(chat).text(sender).text(msg_id)
}

/// Deadline, message's time and secret.
fn get<'t>(tx: &ReadTx<'t>, account: u32, id: &Key) -> Stored<Option<(i64, i64, &'t [u8])>> {
    let Some((expires_at, value)) = SECRETS.get(tx, account, id)? else {
        return Ok(None);
    };
    let (message_ts, secret) = value
        .split_first_chunk::<TIME>()
        .ok_or_else(|| rows::corrupt(id, "no time of the message"))?;
    Ok(Some((expires_at, i64::from_be_bytes(*message_ts), secret)))
}

fn put(tx: &mut WriteTx<'_>, account: u32, entry: &MsgSecretEntry) -> Stored<()> {
    let id = id(&entry.chat, &entry.sender, &entry.msg_id);
    let (mut expires_at, mut message_ts) = (entry.expires_at, entry.message_ts);
    if let Some((known_expiry, known_ts, _)) = get(&tx.view(), account, &id)? {
        expires_at = merge_msg_secret_expiry(known_expiry, expires_at);
        message_ts = merge_msg_secret_message_ts(known_ts, message_ts);
    }
    let mut value = Vec::with_capacity(TIME + entry.secret.len());
    value.extend_from_slice(&message_ts.to_be_bytes());
    value.extend_from_slice(&entry.secret);
    SECRETS.put(tx, account, &id, expires_at, &value)
}

#[async_trait]
impl MsgSecretStore for Backend {
    async fn put_msg_secrets(&self, entries: Vec<MsgSecretEntry>) -> Result<usize> {
        let account = self.account;
        let count = entries.len();
        self.change(move |tx| entries.iter().try_for_each(|entry| put(tx, account, entry)))
            .await?;
        // The client serves them to readers until this resolves; only then the store has to.
        self.journal.on_disk().await.map_err(into_backend)?;
        Ok(count)
    }

    async fn get_msg_secret(
        &self,
        chat: &str,
        sender: &str,
        msg_id: &str,
    ) -> Result<Option<Vec<u8>>> {
        let found = self.get_msg_secret_with_ts(chat, sender, msg_id).await?;
        Ok(found.map(|(secret, _)| secret))
    }

    async fn get_msg_secret_with_ts(
        &self,
        chat: &str,
        sender: &str,
        msg_id: &str,
    ) -> Result<Option<(Vec<u8>, i64)>> {
        let id = id(chat, sender, msg_id);
        self.read(|tx| {
            let found = get(tx, self.account, &id)?;
            Ok(found.map(|(_, message_ts, secret)| (secret.to_vec(), message_ts)))
        })
    }

    async fn delete_expired_msg_secrets(&self, cutoff_timestamp: i64) -> Result<u32> {
        let account = self.account;
        let before = cutoff_timestamp.saturating_add(1);
        // A deadline of 0 means never. None is negative, but if one were, it would be due.
        let past = self
            .sweep(move |tx, limit| SECRETS.sweep(tx, account, i64::MIN, before.min(0), limit))
            .await?;
        let due = self
            .sweep(move |tx, limit| SECRETS.sweep(tx, account, 1, before, limit))
            .await?;
        Ok(past.saturating_add(due))
    }
}
