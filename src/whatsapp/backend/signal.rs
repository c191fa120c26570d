//! Identities, sessions, prekeys and sender keys.

use std::sync::Arc;

use whatsapp_rust::async_trait;
use whatsapp_rust::bytes::Bytes;
use whatsapp_rust::wacore::store::traits::SignalStore;

use super::{Backend, Result, Stored, into_backend, now, old_keys, rows};
use crate::clock;
use crate::store::signal::{KEY_START, Kind};
use crate::store::{Key, ReadTx};

impl Backend {
    fn addressed(&self, kind: Kind, address: &str) -> Key {
        self.key(kind).text(address)
    }

    fn entries<V: AsRef<[u8]>>(
        &self,
        kind: Kind,
        rows: &[(Arc<str>, V)],
    ) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
        rows.iter()
            .map(|(address, value)| {
                let key = self.addressed(kind, address).to_vec();
                (key, Some(value.as_ref().to_vec()))
            })
            .collect()
    }

    async fn note_one(&self, key: Key, value: Option<&[u8]>) -> Result<()> {
        self.note([(key.to_vec(), value.map(<[u8]>::to_vec))]).await
    }

    fn numbered(&self, kind: Kind, id: u32) -> Key {
        self.key(kind).u32(id)
    }

    fn get_prekey(&self, tx: &ReadTx<'_>, id: u32) -> Stored<Option<Bytes>> {
        let key = self.numbered(Kind::PreKey, id);
        if self.journal.row(&key) == Some(None) {
            return Ok(None);
        }
        match rows::get(tx, &key)? {
            None => Ok(None),
            Some([_uploaded, record @ ..]) => Ok(Some(Bytes::copy_from_slice(record))),
            Some([]) => Err(rows::corrupt(&key, "empty")),
        }
    }
}

fn prekey_row(record: &[u8], uploaded: bool) -> Vec<u8> {
    let mut row = Vec::with_capacity(1 + record.len());
    row.push(u8::from(uploaded));
    row.extend_from_slice(record);
    row
}

/// The id at the end of a key of prekeys.
fn id_of(key: &[u8]) -> Stored<u32> {
    key.get(KEY_START..)
        .and_then(|id| <[u8; 4]>::try_from(id).ok())
        .map(u32::from_be_bytes)
        .ok_or_else(|| rows::corrupt(key, "not a prekey's id"))
}

#[async_trait]
impl SignalStore for Backend {
    async fn put_identity(&self, address: &str, key: [u8; 32]) -> Result<()> {
        self.note_one(self.addressed(Kind::Identity, address), Some(&key))
            .await
    }

    async fn put_identities_batch(&self, identities: &[(Arc<str>, [u8; 32])]) -> Result<()> {
        self.note(self.entries(Kind::Identity, identities)).await
    }

    async fn load_identity(&self, address: &str) -> Result<Option<[u8; 32]>> {
        let key = self.addressed(Kind::Identity, address);
        self.get(&key)?
            .map(|bytes| {
                let bytes = bytes.as_slice();
                bytes
                    .try_into()
                    .map_err(|e| into_backend(rows::corrupt(&key, e)))
            })
            .transpose()
    }

    async fn delete_identity(&self, address: &str) -> Result<()> {
        self.note_one(self.addressed(Kind::Identity, address), None)
            .await
    }

    async fn get_session(&self, address: &str) -> Result<Option<Bytes>> {
        let session = self.get(&self.addressed(Kind::Session, address))?;
        Ok(session.map(Bytes::from))
    }

    async fn put_session(&self, address: &str, session: &[u8]) -> Result<()> {
        self.note_one(self.addressed(Kind::Session, address), Some(session))
            .await
    }

    async fn put_sessions_batch(&self, sessions: &[(Arc<str>, Bytes)]) -> Result<()> {
        self.note(self.entries(Kind::Session, sessions)).await
    }

    async fn delete_session(&self, address: &str) -> Result<()> {
        self.note_one(self.addressed(Kind::Session, address), None)
            .await
    }

    async fn has_session(&self, address: &str) -> Result<bool> {
        let found = self.get(&self.addressed(Kind::Session, address))?;
        Ok(found.is_some())
    }

    /// An address too long to stand in a key cannot be searched by user: while there is one, the
    /// answer is yes.
    async fn has_signal_state_for_user(&self, user: &str) -> Result<bool> {
        self.read(|tx| {
            for kind in [Kind::Session, Kind::Identity] {
                let start = self.key(kind);
                for prefix in [
                    start.clone().text_start(&format!("{user}@")),
                    start.clone().text_start(&format!("{user}:")),
                    start.hashed_text(),
                ] {
                    if self.journal.has_prefix(tx, &prefix)? {
                        return Ok(true);
                    }
                }
            }
            Ok(false)
        })
    }

    async fn store_prekey(&self, id: u32, record: &[u8], uploaded: bool) -> Result<()> {
        let row = prekey_row(record, uploaded);
        self.put(self.numbered(Kind::PreKey, id), row).await
    }

    async fn store_prekeys_batch(&self, keys: &[(u32, Bytes)], uploaded: bool) -> Result<()> {
        let entries = keys
            .iter()
            .map(|(id, record)| {
                let key = self.numbered(Kind::PreKey, *id).to_vec();
                (key, prekey_row(record, uploaded))
            })
            .collect();
        self.put_all(entries).await
    }

    async fn load_prekey(&self, id: u32) -> Result<Option<Bytes>> {
        self.read(|tx| self.get_prekey(tx, id))
    }

    async fn load_prekeys_batch(&self, ids: &[u32]) -> Result<Vec<(u32, Bytes)>> {
        self.read(|tx| {
            let mut found = Vec::with_capacity(ids.len());
            for &id in ids {
                if let Some(record) = self.get_prekey(tx, id)? {
                    found.push((id, record));
                }
            }
            Ok(found)
        })
    }

    async fn mark_prekeys_uploaded(&self, ids: &[u32]) -> Result<()> {
        let keys: Vec<_> = ids
            .iter()
            .map(|id| self.numbered(Kind::PreKey, *id).to_vec())
            .collect();
        self.write(move |tx| {
            for key in &keys {
                let row = match rows::get(&tx.view(), key)? {
                    Some([0, record @ ..]) => prekey_row(record, true),
                    // Uploaded already, or used up meanwhile: that must not come back.
                    _ => continue,
                };
                rows::put(tx, key, &row)?;
            }
            Ok(())
        })
        .await
    }

    async fn remove_prekey(&self, id: u32) -> Result<()> {
        self.note_one(self.numbered(Kind::PreKey, id), None).await
    }

    async fn get_max_prekey_id(&self) -> Result<u32> {
        self.read(|tx| match rows::last(tx, self.key(Kind::PreKey))? {
            Some((key, _)) => id_of(key),
            None => Ok(0),
        })
    }

    async fn store_signed_prekey(&self, id: u32, record: &[u8]) -> Result<()> {
        self.put(self.numbered(Kind::SignedPreKey, id), record.to_vec())
            .await
    }

    async fn load_signed_prekey(&self, id: u32) -> Result<Option<Vec<u8>>> {
        match self.get(&self.numbered(Kind::SignedPreKey, id))? {
            Some(record) => Ok(Some(record)),
            None => self.read(|tx| old_keys::get(tx, self.account, id)),
        }
    }

    async fn load_all_signed_prekeys(&self) -> Result<Vec<(u32, Vec<u8>)>> {
        self.read(|tx| {
            rows::scan(tx, &self.key(Kind::SignedPreKey))?
                .map(|row| {
                    let (key, record) = row?;
                    Ok((id_of(key)?, record.to_vec()))
                })
                .collect()
        })
    }

    /// One from before the present key is kept for a while: see [`old_keys`].
    async fn remove_signed_prekey(&self, id: u32) -> Result<()> {
        let (account, at) = (self.account, now());
        let certain = clock::certain().is_some();
        self.write(move |tx| old_keys::retire(tx, account, id, at, certain))
            .await
    }

    async fn put_sender_key(&self, address: &str, record: &[u8]) -> Result<()> {
        self.note_one(self.addressed(Kind::SenderKey, address), Some(record))
            .await
    }

    async fn put_sender_keys_batch(&self, sender_keys: &[(Arc<str>, Bytes)]) -> Result<()> {
        self.note(self.entries(Kind::SenderKey, sender_keys)).await
    }

    async fn get_sender_key(&self, address: &str) -> Result<Option<Vec<u8>>> {
        self.get(&self.addressed(Kind::SenderKey, address))
    }

    async fn delete_sender_key(&self, address: &str) -> Result<()> {
        self.note_one(self.addressed(Kind::SenderKey, address), None)
            .await
    }
}
