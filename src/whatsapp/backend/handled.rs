//! Which messages were taken in that left no message behind: reactions, edits, deletions.
//!
//! A message that is delivered again after its session has forgotten the keys is known by what is stored
//! of it; of these nothing else is. So many are remembered for an account, and then the oldest goes.

use whatsapp_rust::types::message::MessageInfo;

use super::expiring::Expiring;
use super::{Stored, rows};
use crate::store::signal::Kind;
use crate::store::{Key, ReadTx, WriteTx};

const HANDLED: Expiring = Expiring {
    rows: Kind::Handled,
    by_time: Kind::HandledByTime,
};

/// Messages that are remembered. WhatsApp delivers again what was under way when a connection or the
/// power was lost: some hundreds at most.
const REMEMBERED: u64 = 4096;

/// By what a message is known: chat, sender and id.
pub fn id(info: &MessageInfo) -> Vec<u8> {
    Key::new()
        .text(&info.source.chat.to_non_ad().to_string())
        .text(&info.source.sender.to_non_ad().to_string())
        .text(&info.id)
        .to_vec()
}

/// Remembers one; `at` is in Unix seconds.
pub fn remember(tx: &mut WriteTx<'_>, account: u32, id: &[u8], at: i64) -> Stored<()> {
    if is_known(&tx.view(), account, id)? {
        return Ok(());
    }
    HANDLED.put(tx, account, id, at, &[])?;
    let key = rows::key(account, Kind::HandledCount);
    let count = rows::get(&tx.view(), &key)?
        .and_then(|bytes| bytes.try_into().ok())
        .map_or(0, u64::from_be_bytes)
        + 1;
    let gone = match count > REMEMBERED {
        true => HANDLED.sweep(tx, account, i64::MIN, i64::MAX, 1)?,
        false => 0,
    };
    let count = count - u64::try_from(gone).unwrap_or(0);
    rows::put(tx, &key, &count.to_be_bytes())
}

pub fn is_known(tx: &ReadTx<'_>, account: u32, id: &[u8]) -> Stored<bool> {
    Ok(HANDLED.get(tx, account, id)?.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::TestStore;

    #[test]
    fn the_newest_are_remembered() {
        let store = TestStore::new();
        let id = |n: u64| Key::new().text("chat").text("sender").text(&n.to_string());
        store.run(move |tx| {
            for n in 0..REMEMBERED + 100 {
                remember(tx, 1, &id(n), i64::try_from(n).unwrap_or(i64::MAX))?;
                remember(tx, 1, &id(n), 0)?;
            }
            Ok(())
        });
        let known = |account, n| {
            let known = store.read(|tx| is_known(tx, account, &id(n)));
            known.expect("read")
        };
        assert!(!known(1, 99) && known(1, 100) && known(1, REMEMBERED + 99));
        assert!(!known(2, 100));
    }
}
