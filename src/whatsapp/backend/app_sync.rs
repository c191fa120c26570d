//! App state: sync keys, versions, mutation MACs.

use std::collections::HashMap;

use whatsapp_rust::async_trait;
use whatsapp_rust::wacore::appstate::hash::HashState;
use whatsapp_rust::wacore::appstate::processor::AppStateMutationMAC;
use whatsapp_rust::wacore::store::traits::{AppStateSyncKey, AppSyncStore};

use super::{Backend, Result, into_backend, rows, to_json};
use crate::store::Key;
use crate::store::signal::Kind;

impl Backend {
    fn mac_key(&self, name: &str, index_mac: &[u8]) -> Key {
        self.key(Kind::MutationMac).text(name).bytes(index_mac)
    }
}

#[async_trait]
impl AppSyncStore for Backend {
    async fn get_sync_key(&self, key_id: &[u8]) -> Result<Option<AppStateSyncKey>> {
        self.get_json(&self.key(Kind::SyncKey).bytes(key_id))
    }

    async fn set_sync_key(&self, key_id: &[u8], key: AppStateSyncKey) -> Result<()> {
        let row_key = self.key(Kind::SyncKey).bytes(key_id);
        let latest = self.key(Kind::LatestSyncKey);
        let value = to_json(&key).map_err(into_backend)?;
        let key_id = key_id.to_vec();
        self.write(move |tx| {
            rows::put(tx, &row_key, &value)?;
            rows::put(tx, &latest, &key_id)
        })
        .await
    }

    async fn get_version(&self, name: &str) -> Result<HashState> {
        let state = self.get_json(&self.key(Kind::SyncVersion).text(name))?;
        Ok(state.unwrap_or_default())
    }

    async fn set_version(&self, name: &str, state: HashState) -> Result<()> {
        self.put_json(self.key(Kind::SyncVersion).text(name), &state)
            .await
    }

    async fn put_mutation_macs(
        &self,
        name: &str,
        _version: u64,
        mutations: &[AppStateMutationMAC],
    ) -> Result<()> {
        let entries = mutations
            .iter()
            .map(|m| {
                (
                    self.mac_key(name, &m.index_mac).to_vec(),
                    m.value_mac.clone(),
                )
            })
            .collect();
        self.put_all(entries).await
    }

    async fn get_mutation_mac(&self, name: &str, index_mac: &[u8]) -> Result<Option<Vec<u8>>> {
        self.get(&self.mac_key(name, index_mac))
    }

    async fn get_mutation_macs(
        &self,
        name: &str,
        index_macs: &[[u8; 32]],
    ) -> Result<HashMap<[u8; 32], Vec<u8>>> {
        self.read(|tx| {
            let mut found = HashMap::with_capacity(index_macs.len());
            for index_mac in index_macs {
                if let Some(mac) = rows::get(tx, &self.mac_key(name, index_mac))? {
                    found.insert(*index_mac, mac.to_vec());
                }
            }
            Ok(found)
        })
    }

    async fn delete_mutation_macs(&self, name: &str, index_macs: &[Vec<u8>]) -> Result<()> {
        let keys: Vec<_> = index_macs
            .iter()
            .map(|mac| self.mac_key(name, mac).to_vec())
            .collect();
        self.write(move |tx| {
            keys.iter()
                .try_for_each(|key| rows::delete(tx, key).map(drop))
        })
        .await
    }

    async fn clear_mutation_macs(&self, name: &str) -> Result<()> {
        let prefix = self.key(Kind::MutationMac).text(name);
        // All at once: MACs that stayed would spoil the next patch's hash.
        self.write(move |tx| rows::delete_prefix(tx, &prefix, usize::MAX).map(drop))
            .await
    }

    async fn get_latest_sync_key_id(&self) -> Result<Option<Vec<u8>>> {
        self.get(&self.key(Kind::LatestSyncKey))
    }
}
