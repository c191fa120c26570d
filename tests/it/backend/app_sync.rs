//! `AppSyncStore`.

use std::collections::HashMap;

use whatsapp_rust::wacore::appstate::hash::HashState;
use whatsapp_rust::wacore::appstate::processor::AppStateMutationMAC;
use whatsapp_rust::wacore::store::traits::AppStateSyncKey;

use super::{Subject, cases};

cases! {
    sync_keys
    versions
    mutation_macs
    clearing_macs_keeps_other_collections
}

fn key(n: u8) -> AppStateSyncKey {
    AppStateSyncKey {
        key_data: vec![n; 32],
        fingerprint: vec![n, 0, 255],
        timestamp: -i64::from(n),
    }
}

fn mac(index: u8, value: u8) -> AppStateMutationMAC {
    AppStateMutationMAC {
        index_mac: vec![index; 32],
        value_mac: vec![value; 32],
    }
}

async fn sync_keys(subject: &mut Subject) {
    let b = subject.backend();
    assert!(b.get_sync_key(b"\0\x01").await.unwrap().is_none());
    assert_eq!(b.get_latest_sync_key_id().await.unwrap(), None);
    let long = [7u8; 600];
    for (id, n) in [
        (&b"\0\x02"[..], 2),
        (&b"\0\x01"[..], 1),
        (&long[..], 3),
        (b"", 4),
    ] {
        b.set_sync_key(id, key(n)).await.unwrap();
    }
    b.set_sync_key(b"\0\x01", key(5)).await.unwrap();
    let b = subject.reopen().await;
    // The last one set, not the greatest.
    assert_eq!(
        b.get_latest_sync_key_id().await.unwrap(),
        Some(b"\0\x01".to_vec())
    );
    for (id, n) in [
        (&b"\0\x02"[..], 2),
        (&b"\0\x01"[..], 5),
        (&long[..], 3),
        (b"", 4),
    ] {
        let found = b.get_sync_key(id).await.unwrap().unwrap();
        let expected = key(n);
        assert_eq!(found.key_data, expected.key_data);
        assert_eq!(found.fingerprint, expected.fingerprint);
        assert_eq!(found.timestamp, expected.timestamp);
    }
}

async fn versions(subject: &mut Subject) {
    let b = subject.backend();
    let none = b.get_version("regular").await.unwrap();
    assert_eq!((none.version, none.hash), (0, [0; 128]));
    let state = HashState {
        version: u64::MAX,
        hash: std::array::from_fn(|n| n as u8),
        index_value_map: HashMap::from([("index".to_owned(), vec![1, 2, 3])]),
        mac_mismatch_fatal: true,
    };
    b.set_version("regular", state.clone()).await.unwrap();
    let b = subject.reopen().await;
    let found = b.get_version("regular").await.unwrap();
    assert_eq!((found.version, found.hash), (state.version, state.hash));
    assert_eq!(found.index_value_map, state.index_value_map);
    assert!(found.mac_mismatch_fatal);
    assert_eq!(b.get_version("regular_high").await.unwrap().version, 0);
    b.set_version("regular", HashState::default())
        .await
        .unwrap();
    let b = subject.reopen().await;
    assert_eq!(b.get_version("regular").await.unwrap().version, 0);
}

async fn mutation_macs(subject: &mut Subject) {
    let b = subject.backend();
    b.put_mutation_macs("regular", 1, &[mac(1, 10), mac(2, 20)])
        .await
        .unwrap();
    b.put_mutation_macs("regular", 2, &[mac(2, 21)])
        .await
        .unwrap();
    b.put_mutation_macs("regular", 3, &[]).await.unwrap();
    let b = subject.reopen().await;
    let get = async |name: &str, index: u8| {
        let found = b.get_mutation_mac(name, &[index; 32]).await.unwrap();
        found.map(|mac| mac[0])
    };
    assert_eq!(get("regular", 1).await, Some(10));
    assert_eq!(get("regular", 2).await, Some(21));
    assert_eq!(get("regular", 3).await, None);
    assert_eq!(get("regular_low", 1).await, None);
    let found = b
        .get_mutation_macs("regular", &[[1; 32], [3; 32], [2; 32]])
        .await
        .unwrap();
    let expected = HashMap::from([([1; 32], vec![10; 32]), ([2; 32], vec![21; 32])]);
    assert_eq!(found, expected);
    b.delete_mutation_macs("regular", &[vec![1; 32], vec![9; 32]])
        .await
        .unwrap();
    b.delete_mutation_macs("regular", &[]).await.unwrap();
    let b = subject.reopen().await;
    let found = b
        .get_mutation_macs("regular", &[[1; 32], [2; 32]])
        .await
        .unwrap();
    assert_eq!(found.len(), 1);
}

async fn clearing_macs_keeps_other_collections(subject: &mut Subject) {
    let b = subject.backend();
    let many: Vec<_> = (0..=255).map(|n| mac(n, n)).collect();
    for name in ["critical", "critical_block", "regular"] {
        b.put_mutation_macs(name, 1, &many).await.unwrap();
    }
    b.clear_mutation_macs("critical").await.unwrap();
    b.clear_mutation_macs("nothing").await.unwrap();
    let b = subject.reopen().await;
    let all: Vec<[u8; 32]> = (0..=255).map(|n| [n; 32]).collect();
    for (name, left) in [("critical", 0), ("critical_block", 256), ("regular", 256)] {
        assert_eq!(
            b.get_mutation_macs(name, &all).await.unwrap().len(),
            left,
            "{name}"
        );
    }
}
