//! Which device of a group has our sender key.
//!
//! A device is found in two ways: within its group, and in all groups, when it is gone.

use super::expiring::Stored;
use crate::store::signal as rows;
use crate::store::signal::{KEY_START, Kind};
use crate::store::{Key, ReadTx, WriteTx};

fn group_key(account: u32, group: &str) -> Key {
    rows::key(account, Kind::SenderKeyDevice).text(group)
}

fn device_key(account: u32, device: &str) -> Key {
    rows::key(account, Kind::SenderKeyDeviceGroup).text(device)
}

/// The parts of a key behind `KEY_START` and a text that was encoded to `text` there.
fn rest<'k>(key: &'k [u8], text: &Key) -> Stored<&'k [u8]> {
    key.get(text.len()..)
        .ok_or_else(|| rows::corrupt(key, "short key"))
}

/// Devices of a group, and whether each has the key.
pub fn list(tx: &ReadTx<'_>, account: u32, group: &str) -> Stored<Vec<(String, bool)>> {
    rows::scan(tx, &group_key(account, group))?
        .map(|row| {
            let (key, value) = row?;
            let [has_key, device @ ..] = value else {
                return Err(rows::corrupt(key, "empty"));
            };
            let device = std::str::from_utf8(device).map_err(|e| rows::corrupt(key, e))?;
            Ok((device.to_owned(), *has_key != 0))
        })
        .collect()
}

pub fn set(tx: &mut WriteTx<'_>, account: u32, group: &str, device: &str, has: bool) -> Stored<()> {
    let mut value = Vec::with_capacity(1 + device.len());
    value.push(u8::from(has));
    value.extend_from_slice(device.as_bytes());
    rows::put(tx, &group_key(account, group).text(device), &value)?;
    rows::put(tx, &device_key(account, device).text(group), &[])
}

/// Whether the group has a row of a device.
pub fn is_listed(tx: &ReadTx<'_>, account: u32, group: &str, device: &str) -> Stored<bool> {
    Ok(rows::get(tx, &group_key(account, group).text(device))?.is_some())
}

/// Forgets a group's devices.
pub fn clear_group(tx: &mut WriteTx<'_>, account: u32, group: &str) -> Stored<()> {
    let prefix = group_key(account, group);
    let text = prefix[KEY_START..].to_vec();
    for key in keys(tx, &prefix)? {
        let device = rest(&key, &prefix)?;
        let index = rows::key(account, Kind::SenderKeyDeviceGroup)
            .encoded(device)
            .encoded(&text);
        rows::delete(tx, &index)?;
        rows::delete(tx, &key)?;
    }
    Ok(())
}

/// Forgets a device in all groups.
pub fn remove_device(tx: &mut WriteTx<'_>, account: u32, device: &str) -> Stored<()> {
    let prefix = device_key(account, device);
    let text = prefix[KEY_START..].to_vec();
    for index in keys(tx, &prefix)? {
        let group = rest(&index, &prefix)?;
        let key = rows::key(account, Kind::SenderKeyDevice)
            .encoded(group)
            .encoded(&text);
        rows::delete(tx, &key)?;
        rows::delete(tx, &index)?;
    }
    Ok(())
}

/// Forgets all, in one transaction: a group that was forgotten would not get the new key.
pub fn clear(tx: &mut WriteTx<'_>, account: u32) -> Stored<()> {
    for kind in [Kind::SenderKeyDevice, Kind::SenderKeyDeviceGroup] {
        rows::delete_prefix(tx, &rows::key(account, kind), usize::MAX)?;
    }
    Ok(())
}

fn keys(tx: &WriteTx<'_>, prefix: &Key) -> Stored<Vec<Vec<u8>>> {
    rows::scan(&tx.view(), prefix)?
        .map(|row| Ok(row?.0.to_vec()))
        .collect()
}
