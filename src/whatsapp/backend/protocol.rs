//! What the protocol has to remember: devices, mappings, retries, messages under way.

use whatsapp_rust::wacore::store::traits::{
    DeviceListRecord, LidPnMappingEntry, PendingInboundKey, PendingInboundRow, ProtocolStore,
    TcTokenEntry,
};
use whatsapp_rust::{Jid, async_trait};

use super::expiring::{Expiring, PENDING};
use super::{
    Backend, Result, Stored, from_json, get_json, into_backend, now, rows, sender_key_devices,
    sent, tc_tokens, to_json,
};
use crate::store::messages;
use crate::store::signal::Kind;
use crate::store::{Key, ReadTx, WriteTx};

impl Backend {
    fn base_key(&self, address: &str, message_id: &str) -> Key {
        self.key(Kind::BaseKey).text(address).text(message_id)
    }

    fn device_list(&self, user: &str) -> Key {
        self.key(Kind::DeviceList).text(user)
    }

    fn group(&self, jid: &str) -> Key {
        self.key(Kind::GroupMetadata).text(jid)
    }

    async fn sweep_before(&self, table: Expiring, cutoff: i64) -> Result<u32> {
        let account = self.account;
        self.sweep(move |tx, limit| table.sweep(tx, account, i64::MIN, cutoff, limit))
            .await
    }
}

fn pending_id(chat: &str, sender: &str, id: &str) -> Key {
    Key::new().text(chat).text(sender).text(id)
}

/// The other name of a device, by number or by LID, if it is known.
fn other_name(tx: &ReadTx<'_>, account: u32, device: &str) -> Stored<Option<String>> {
    let Ok(jid) = device.parse::<Jid>() else {
        return Ok(None);
    };
    let other = if jid.is_lid() {
        let key = rows::key(account, Kind::LidMapping).text(&jid.user);
        let known: Option<LidPnMappingEntry> = get_json(tx, &key)?;
        known.map(|known| Jid::pn_device(known.phone_number, jid.device))
    } else if jid.is_pn() {
        let key = rows::key(account, Kind::PnMapping).text(&jid.user);
        let lid = rows::get(tx, &key)?.and_then(|lid| std::str::from_utf8(lid).ok());
        lid.map(|lid| Jid::lid_device(lid, jid.device))
    } else {
        None
    };
    Ok(other.map(|jid| jid.to_string()))
}

/// Stores a mapping and keeps the way back from the number up to date: it leads to the LID that was
/// updated last.
fn put_mapping(tx: &mut WriteTx<'_>, account: u32, entry: &LidPnMappingEntry) -> Stored<()> {
    let lid_key = |lid: &str| rows::key(account, Kind::LidMapping).text(lid);
    let pn_key = |pn: &str| rows::key(account, Kind::PnMapping).text(pn);
    let before: Option<LidPnMappingEntry> = get_json(&tx.view(), &lid_key(&entry.lid))?;
    if let Some(before) = before
        && before.phone_number != entry.phone_number
    {
        let old = pn_key(&before.phone_number);
        let is_ours = rows::get(&tx.view(), &old)? == Some(entry.lid.as_bytes());
        if is_ours {
            rows::delete(tx, &old)?;
        }
    }
    rows::put(tx, &lid_key(&entry.lid), &to_json(entry)?)?;
    let pn_key = pn_key(&entry.phone_number);
    let current = match rows::get(&tx.view(), &pn_key)? {
        Some(lid) => {
            let lid = std::str::from_utf8(lid).map_err(|e| rows::corrupt(&pn_key, e))?;
            get_json::<LidPnMappingEntry>(&tx.view(), &lid_key(lid))?
        }
        None => None,
    };
    if current.is_some_and(|current| {
        current.phone_number == entry.phone_number && current.updated_at > entry.updated_at
    }) {
        return Ok(());
    }
    rows::put(tx, &pn_key, entry.lid.as_bytes())
}

#[async_trait]
impl ProtocolStore for Backend {
    async fn get_sender_key_devices(&self, group_jid: &str) -> Result<Vec<(String, bool)>> {
        let mut devices = self.read(|tx| sender_key_devices::list(tx, self.account, group_jid))?;
        for given in self.given.of(group_jid) {
            match devices.iter_mut().find(|(device, _)| *device == given) {
                Some((_, has_key)) => *has_key = true,
                None => devices.push((given, true)),
            }
        }
        Ok(devices)
    }

    async fn set_sender_key_status(&self, group_jid: &str, entries: &[(&str, bool)]) -> Result<()> {
        let account = self.account;
        let group = group_jid.to_owned();
        // That a running session has given a key away counts once WhatsApp has the message.
        let (given, entries): (Vec<_>, Vec<_>) = entries
            .iter()
            .filter(|(device, has)| {
                !*has || !self.is_behind || self.given.is_keyed(group_jid, device)
            })
            .map(|(device, has)| ((*device).to_owned(), *has))
            .partition(|(_, has)| *has && self.is_behind);
        self.given
            .forget(|of, device| of == group && entries.iter().any(|(taken, _)| taken == device));
        for (device, _) in &given {
            self.given.add(&group, device);
        }
        if entries.is_empty() {
            return Ok(());
        }
        self.write(move |tx| {
            entries.iter().try_for_each(|(device, has)| {
                sender_key_devices::set(tx, account, &group, device, *has)?;
                // Who lacks the key asks by one name, and may be listed by the other.
                if !*has
                    && let Some(other) = other_name(&tx.view(), account, device)?
                    && sender_key_devices::is_listed(&tx.view(), account, &group, &other)?
                {
                    sender_key_devices::set(tx, account, &group, &other, false)?;
                }
                Ok(())
            })
        })
        .await
    }

    async fn clear_sender_key_devices(&self, group_jid: &str) -> Result<()> {
        let account = self.account;
        let group = group_jid.to_owned();
        self.given.forget(|of, _| of == group);
        self.write(move |tx| sender_key_devices::clear_group(tx, account, &group))
            .await
    }

    async fn delete_sender_key_device_rows(&self, device_jids: &[&str]) -> Result<()> {
        if device_jids.is_empty() {
            return Ok(());
        }
        let account = self.account;
        let devices: Vec<_> = device_jids.iter().map(|jid| (*jid).to_owned()).collect();
        self.given
            .forget(|_, device| devices.iter().any(|gone| gone == device));
        self.write(move |tx| {
            devices
                .iter()
                .try_for_each(|device| sender_key_devices::remove_device(tx, account, device))
        })
        .await
    }

    async fn clear_all_sender_key_devices(&self) -> Result<()> {
        let account = self.account;
        self.given.forget(|_, _| true);
        self.write(move |tx| sender_key_devices::clear(tx, account))
            .await
    }

    async fn get_lid_mapping(&self, lid: &str) -> Result<Option<LidPnMappingEntry>> {
        self.get_json(&self.key(Kind::LidMapping).text(lid))
    }

    async fn get_pn_mapping(&self, phone: &str) -> Result<Option<LidPnMappingEntry>> {
        let key = self.key(Kind::PnMapping).text(phone);
        self.read(|tx| {
            let Some(lid) = rows::get(tx, &key)? else {
                return Ok(None);
            };
            let lid = std::str::from_utf8(lid).map_err(|e| rows::corrupt(&key, e))?;
            get_json(tx, &self.key(Kind::LidMapping).text(lid))
        })
    }

    async fn put_lid_mapping(&self, entry: &LidPnMappingEntry) -> Result<()> {
        self.put_lid_mappings(std::slice::from_ref(entry)).await
    }

    async fn put_lid_mappings(&self, entries: &[LidPnMappingEntry]) -> Result<()> {
        let account = self.account;
        let entries = entries.to_vec();
        self.write(move |tx| {
            entries.iter().try_for_each(|entry| {
                put_mapping(tx, account, entry)?;
                // One person is one chat, from the moment that it is known.
                let lid = format!("{}@lid", entry.lid);
                let number = format!("{}@s.whatsapp.net", entry.phone_number);
                messages::link(tx, account, &lid, &number)
            })
        })
        .await
    }

    async fn get_all_lid_mappings(&self) -> Result<Vec<LidPnMappingEntry>> {
        self.read(|tx| {
            rows::scan(tx, &self.key(Kind::LidMapping))?
                .map(|row| row.and_then(|(key, bytes)| from_json(key, bytes)))
                .collect()
        })
    }

    async fn save_base_key(&self, address: &str, message_id: &str, base_key: &[u8]) -> Result<()> {
        self.put(self.base_key(address, message_id), base_key.to_vec())
            .await
    }

    async fn has_same_base_key(
        &self,
        address: &str,
        message_id: &str,
        current_base_key: &[u8],
    ) -> Result<bool> {
        let key = self.base_key(address, message_id);
        self.read(|tx| Ok(rows::get(tx, &key)? == Some(current_base_key)))
    }

    async fn delete_base_key(&self, address: &str, message_id: &str) -> Result<()> {
        self.delete(self.base_key(address, message_id)).await
    }

    async fn update_device_list(&self, record: DeviceListRecord) -> Result<()> {
        self.put_json(self.device_list(&record.user), &record).await
    }

    async fn update_device_lists(&self, records: Vec<DeviceListRecord>) -> Result<()> {
        let entries: Stored<Vec<_>> = records
            .iter()
            .map(|record| Ok((self.device_list(&record.user).to_vec(), to_json(record)?)))
            .collect();
        self.put_all(entries.map_err(into_backend)?).await
    }

    async fn get_devices(&self, user: &str) -> Result<Option<DeviceListRecord>> {
        self.get_json(&self.device_list(user))
    }

    async fn delete_devices(&self, user: &str) -> Result<()> {
        self.delete(self.device_list(user)).await
    }

    async fn get_group_metadata(&self, group_jid: &str) -> Result<Option<Vec<u8>>> {
        self.get(&self.group(group_jid))
    }

    async fn put_group_metadata(&self, group_jid: &str, blob: &[u8]) -> Result<()> {
        self.put(self.group(group_jid), blob.to_vec()).await
    }

    async fn delete_group_metadata(&self, group_jid: &str) -> Result<()> {
        self.delete(self.group(group_jid)).await
    }

    async fn get_tc_token(&self, jid: &str) -> Result<Option<TcTokenEntry>> {
        self.read(|tx| tc_tokens::find(tx, self.account, jid))
    }

    async fn put_tc_token(&self, jid: &str, entry: &TcTokenEntry) -> Result<()> {
        let (account, jid, entry) = (self.account, jid.to_owned(), entry.clone());
        self.write(move |tx| tc_tokens::put(tx, account, &jid, entry.clone()))
            .await
    }

    async fn delete_tc_token(&self, jid: &str) -> Result<()> {
        self.delete(self.key(Kind::TcToken).text(jid)).await
    }

    async fn get_all_tc_token_jids(&self) -> Result<Vec<String>> {
        self.read(|tx| tc_tokens::jids(tx, self.account))
    }

    async fn delete_expired_tc_tokens(&self, token_cutoff: i64, sender_cutoff: i64) -> Result<u32> {
        self.sweep_tc_tokens(token_cutoff, sender_cutoff).await
    }

    async fn touch_tc_token_sender_timestamp(
        &self,
        jid: &str,
        sender_timestamp: i64,
    ) -> Result<()> {
        let (account, jid) = (self.account, jid.to_owned());
        self.write(move |tx| tc_tokens::touch(tx, account, &jid, sender_timestamp))
            .await
    }

    async fn store_received_tc_token(
        &self,
        jid: &str,
        token: &[u8],
        token_timestamp: i64,
    ) -> Result<()> {
        let (account, jid, token) = (self.account, jid.to_owned(), token.to_vec());
        self.write(move |tx| tc_tokens::receive(tx, account, &jid, &token, token_timestamp))
            .await
    }

    async fn store_sent_message(
        &self,
        chat_jid: &str,
        message_id: &str,
        payload: &[u8],
    ) -> Result<()> {
        let (account, at) = (self.account, now());
        let (chat, id) = (chat_jid.to_owned(), message_id.to_owned());
        let payload = payload.to_vec();
        self.change(move |tx| sent::note(tx, account, (&chat, &id), at, &payload))
            .await
    }

    /// It stays: the client stores it again at once, for other devices that may ask.
    async fn take_sent_message(&self, chat_jid: &str, message_id: &str) -> Result<Option<Vec<u8>>> {
        self.settle().await?;
        let at = now();
        self.read(|tx| sent::find(tx, self.account, (chat_jid, message_id), at))
    }

    async fn delete_expired_sent_messages(&self, cutoff_timestamp: i64) -> Result<u32> {
        let account = self.account;
        self.sweep(move |tx, limit| sent::sweep(tx, account, cutoff_timestamp, limit, None))
            .await
    }

    async fn store_pending_inbound(
        &self,
        chat: &str,
        sender: &str,
        id: &str,
        message: &[u8],
    ) -> Result<()> {
        let row = PendingInboundRow {
            chat,
            sender,
            id,
            message,
        };
        self.store_pending_inbound_batch(&[row]).await
    }

    async fn get_pending_inbound(
        &self,
        chat: &str,
        sender: &str,
        id: &str,
    ) -> Result<Option<Vec<u8>>> {
        let id = pending_id(chat, sender, id);
        if let Some(known) = self.journal.pending(&id) {
            return Ok(known);
        }
        self.read(|tx| {
            let found = PENDING.get(tx, self.account, &id)?;
            Ok(found.map(|(_, message)| message.to_vec()))
        })
    }

    async fn delete_pending_inbound(&self, chat: &str, sender: &str, id: &str) -> Result<()> {
        let key = PendingInboundKey { chat, sender, id };
        self.delete_pending_inbound_batch(&[key]).await
    }

    async fn delete_expired_pending_inbound(&self, cutoff_timestamp: i64) -> Result<u32> {
        self.sweep_before(PENDING, cutoff_timestamp).await
    }

    async fn store_pending_inbound_batch(&self, batch: &[PendingInboundRow<'_>]) -> Result<()> {
        let at = now();
        let rows = batch.iter().map(|row| {
            let id = pending_id(row.chat, row.sender, row.id).to_vec();
            (id, Some((at, row.message.to_vec())))
        });
        self.journal.put_pending(rows).map_err(into_backend)?;
        self.written().await
    }

    async fn delete_pending_inbound_batch(&self, keys: &[PendingInboundKey<'_>]) -> Result<()> {
        let rows = keys
            .iter()
            .map(|key| (pending_id(key.chat, key.sender, key.id).to_vec(), None));
        self.journal.put_pending(rows).map_err(into_backend)?;
        self.written().await
    }
}
