//! Signed prekeys from before the present one.
//!
//! The client makes a new one each week and keeps three, so a person who was away for three weeks, and
//! then writes with the keys that were fetched before, cannot be read. What it removes is therefore kept
//! for [`KEPT`] more, and found by [`get`] alone: the client does not count it.
//!
//! The same call discards a candidate that WhatsApp refused. That one is above the present key, and really
//! goes: the client takes what it finds there for its next candidate, and would be refused for ever.

use serde::Deserialize;

use super::expiring::OLD_KEYS;
use super::{Stored, get_json, rows};
use crate::store::signal::Kind;
use crate::store::{Key, ReadTx, WriteTx};

/// Seconds.
const KEPT: i64 = 90 * 24 * 3600;

/// What old keys are swept in one go at most; one comes in a week.
const SWEEP: usize = 16;

/// As much of wacore's `Device` as is needed here.
#[derive(Deserialize)]
struct Present {
    signed_pre_key_id: u32,
}

fn key(account: u32, id: u32) -> Key {
    rows::key(account, Kind::SignedPreKey).u32(id)
}

fn id_of(id: u32) -> Key {
    Key::new().u32(id)
}

/// One that the client has removed.
pub fn get(tx: &ReadTx<'_>, account: u32, id: u32) -> Stored<Option<Vec<u8>>> {
    let found = OLD_KEYS.get(tx, account, &id_of(id))?;
    Ok(found.map(|(_, record)| record.to_vec()))
}

/// The client has no use for a key any more, at `at` (Unix seconds). Those that are too old by now go, if
/// the time is certain.
pub fn retire(
    tx: &mut WriteTx<'_>,
    account: u32,
    id: u32,
    at: i64,
    is_certain: bool,
) -> Stored<()> {
    let key = key(account, id);
    if is_certain {
        OLD_KEYS.sweep(tx, account, i64::MIN, at.saturating_sub(KEPT), SWEEP)?;
    }
    let Some(record) = rows::get(&tx.view(), &key)?.map(<[u8]>::to_vec) else {
        return Ok(());
    };
    let device = rows::key(account, Kind::Device);
    let present: Option<Present> = get_json(&tx.view(), &device)?;
    if present.is_some_and(|present| id < present.signed_pre_key_id) {
        OLD_KEYS.put(tx, account, &id_of(id), at, &record)?;
    }
    rows::delete(tx, &key).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::TestStore;
    use whatsapp_rust::wacore::store::Device;

    const DAY: i64 = 24 * 3600;

    /// whatsapp-rust #1237: of three weeks' keys one was destroyed each week.
    #[test]
    fn a_key_from_before_the_present_one_is_kept_and_a_refused_one_goes() {
        let store = TestStore::new();
        let mut device = Device::new();
        device.signed_pre_key_id = 5;
        let device = serde_json::to_vec(&device).expect("JSON");
        store.run(move |tx| {
            rows::put(tx, &rows::key(1, Kind::Device), &device)?;
            for id in 3..=6u32 {
                rows::put(tx, &key(1, id), &[id as u8])?;
            }
            // A copy of the present one, and a candidate above it.
            for id in [3, 5, 6, 9] {
                retire(tx, 1, id, 100 * DAY, true)?;
            }
            Ok(())
        });
        let old = |id| {
            let old = store.read(|tx| get(tx, 1, id));
            old.expect("read")
        };
        assert_eq!(
            [3, 4, 5, 6, 9].map(old),
            [Some(vec![3]), None, None, None, None]
        );
        let left = store.read(|tx| Ok(rows::scan(tx, &rows::key(1, Kind::SignedPreKey))?.count()));
        assert_eq!(left.expect("read"), 1);

        // 90 days later it is there; then it goes, unless the clock may be wrong.
        let later = |store: &TestStore, at, is_certain| {
            store.run(move |tx| retire(tx, 1, 9, at, is_certain));
        };
        later(&store, 190 * DAY, true);
        assert_eq!(old(3), Some(vec![3]));
        later(&store, 300 * DAY, false);
        assert_eq!(old(3), Some(vec![3]));
        later(&store, 190 * DAY + 1, true);
        assert_eq!(old(3), None);
    }

    #[test]
    fn without_a_device_nothing_is_kept() {
        let store = TestStore::new();
        store.run(|tx| {
            rows::put(tx, &key(1, 1), b"one")?;
            retire(tx, 1, 1, DAY, true)
        });
        assert_eq!(store.read(|tx| get(tx, 1, 1)).expect("read"), None);
    }
}
