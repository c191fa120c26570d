//! `ProtocolStore`, but for the trusted contacts' tokens.

use whatsapp_rust::wacore::store::traits::{
    DeviceInfo, DeviceListRecord, LidPnMappingEntry, PendingInboundKey, PendingInboundRow,
};
use whatsapp_rust::wacore::time::now_secs;

use super::{Subject, cases, sorted};

const GROUP: &str = "120363017953516826@g.us";
const OTHER: &str = "120363144038483540@g.us";
const ZOE: &str = "491701234567:1@s.whatsapp.net";
const MAX: &str = "491709999999:2@s.whatsapp.net";
const CHAT: &str = "491701234567@s.whatsapp.net";

cases! {
    sender_key_devices
    a_device_is_forgotten_in_all_groups
    groups_are_forgotten
    lid_mappings
    a_mapping_that_moves
    base_keys
    device_lists
    group_metadata
    sent_messages_are_found
    sent_messages_expire
    pending_messages
    pending_messages_in_batches
    pending_messages_expire
}

async fn sender_key_devices(subject: &mut Subject) {
    let b = subject.backend();
    assert_eq!(b.get_sender_key_devices(GROUP).await.unwrap(), []);
    b.set_sender_key_status(GROUP, &[(ZOE, true), (MAX, false)])
        .await
        .unwrap();
    b.set_sender_key_status(GROUP, &[]).await.unwrap();
    b.set_sender_key_status(OTHER, &[(ZOE, true)])
        .await
        .unwrap();
    b.set_sender_key_status(GROUP, &[(ZOE, false), (MAX, true)])
        .await
        .unwrap();
    let b = subject.reopen().await;
    let found = sorted(b.get_sender_key_devices(GROUP).await.unwrap());
    assert_eq!(found, [(ZOE.into(), false), (MAX.into(), true)]);
    b.clear_sender_key_devices(GROUP).await.unwrap();
    b.clear_sender_key_devices("1@g.us").await.unwrap();
    let b = subject.reopen().await;
    assert_eq!(b.get_sender_key_devices(GROUP).await.unwrap(), []);
    assert_eq!(
        b.get_sender_key_devices(OTHER).await.unwrap(),
        [(ZOE.into(), true)]
    );
    // A cleared entry can be set again, and is found by its device again.
    b.set_sender_key_status(GROUP, &[(ZOE, true)])
        .await
        .unwrap();
    b.delete_sender_key_device_rows(&[ZOE]).await.unwrap();
    assert_eq!(b.get_sender_key_devices(GROUP).await.unwrap(), []);
}

async fn a_device_is_forgotten_in_all_groups(subject: &mut Subject) {
    let b = subject.backend();
    let long = format!("{}@lid", "9".repeat(300));
    for group in [GROUP, OTHER] {
        b.set_sender_key_status(group, &[(ZOE, true), (MAX, true), (&long, true)])
            .await
            .unwrap();
    }
    let b = subject.reopen().await;
    b.delete_sender_key_device_rows(&[ZOE, "nobody@lid", &long])
        .await
        .unwrap();
    b.delete_sender_key_device_rows(&[]).await.unwrap();
    let b = subject.reopen().await;
    for group in [GROUP, OTHER] {
        let found = b.get_sender_key_devices(group).await.unwrap();
        assert_eq!(found, [(MAX.into(), true)], "{group}");
    }
}

async fn groups_are_forgotten(subject: &mut Subject) {
    let b = subject.backend();
    b.clear_all_sender_key_devices().await.unwrap();
    for group in [GROUP, OTHER] {
        b.set_sender_key_status(group, &[(ZOE, true), (MAX, false)])
            .await
            .unwrap();
    }
    b.put_group_metadata(GROUP, b"stays").await.unwrap();
    let b = subject.reopen().await;
    b.clear_all_sender_key_devices().await.unwrap();
    let b = subject.reopen().await;
    for group in [GROUP, OTHER] {
        assert_eq!(
            b.get_sender_key_devices(group).await.unwrap(),
            [],
            "{group}"
        );
    }
    assert!(b.get_group_metadata(GROUP).await.unwrap().is_some());
}

fn mapping(lid: &str, phone: &str, at: i64) -> LidPnMappingEntry {
    LidPnMappingEntry {
        lid: lid.into(),
        phone_number: phone.into(),
        created_at: at - 1,
        updated_at: at,
        learning_source: "usync".into(),
    }
}

/// LID, number and time of the update.
type Short = (String, String, i64);

fn short(entry: LidPnMappingEntry) -> Short {
    assert_eq!(entry.created_at, entry.updated_at - 1);
    assert_eq!(entry.learning_source, "usync");
    (entry.lid, entry.phone_number, entry.updated_at)
}

fn of(lid: &str, phone: &str, at: i64) -> Short {
    (lid.into(), phone.into(), at)
}

async fn lid_mappings(subject: &mut Subject) {
    let b = subject.backend();
    assert!(b.get_lid_mapping("L1").await.unwrap().is_none());
    assert!(b.get_pn_mapping("P1").await.unwrap().is_none());
    b.put_lid_mapping(&mapping("L1", "P1", 10)).await.unwrap();
    b.put_lid_mappings(&[mapping("L2", "P2", 10), mapping("L3", "P3", 11)])
        .await
        .unwrap();
    b.put_lid_mappings(&[]).await.unwrap();
    b.put_lid_mapping(&mapping("L1", "P1", 20)).await.unwrap();
    let b = subject.reopen().await;
    let found = b.get_lid_mapping("L1").await.unwrap().map(short);
    assert_eq!(found, Some(of("L1", "P1", 20)));
    let found = b.get_pn_mapping("P2").await.unwrap().map(short);
    assert_eq!(found, Some(of("L2", "P2", 10)));
    // A LID is not found as a number, nor the other way round.
    assert!(b.get_lid_mapping("P1").await.unwrap().is_none());
    assert!(b.get_pn_mapping("L1").await.unwrap().is_none());
    let all = b.get_all_lid_mappings().await.unwrap();
    let all = sorted(all.into_iter().map(short).collect());
    assert_eq!(
        all,
        [of("L1", "P1", 20), of("L2", "P2", 10), of("L3", "P3", 11)]
    );
}

async fn a_mapping_that_moves(subject: &mut Subject) {
    let b = subject.backend();
    b.put_lid_mapping(&mapping("L1", "P1", 10)).await.unwrap();
    // The person has a new number.
    b.put_lid_mapping(&mapping("L1", "P2", 20)).await.unwrap();
    let b = subject.reopen().await;
    assert!(b.get_pn_mapping("P1").await.unwrap().is_none());
    let found = b.get_pn_mapping("P2").await.unwrap().map(short);
    assert_eq!(found, Some(of("L1", "P2", 20)));
    // The number has a new owner: the newest LID applies.
    b.put_lid_mapping(&mapping("L9", "P2", 30)).await.unwrap();
    let b = subject.reopen().await;
    let found = b.get_pn_mapping("P2").await.unwrap().map(short);
    assert_eq!(found, Some(of("L9", "P2", 30)));
    let found = b.get_lid_mapping("L1").await.unwrap().map(short);
    assert_eq!(found, Some(of("L1", "P2", 20)));
}

async fn base_keys(subject: &mut Subject) {
    let b = subject.backend();
    assert!(!b.has_same_base_key(ZOE, "M", b"key").await.unwrap());
    b.save_base_key(ZOE, "M", b"old").await.unwrap();
    b.save_base_key(ZOE, "M", b"key").await.unwrap();
    let b = subject.reopen().await;
    assert!(b.has_same_base_key(ZOE, "M", b"key").await.unwrap());
    assert!(!b.has_same_base_key(ZOE, "M", b"old").await.unwrap());
    assert!(!b.has_same_base_key(ZOE, "M", b"").await.unwrap());
    assert!(!b.has_same_base_key(ZOE, "N", b"key").await.unwrap());
    assert!(!b.has_same_base_key(MAX, "M", b"key").await.unwrap());
    b.delete_base_key(ZOE, "M").await.unwrap();
    b.delete_base_key(ZOE, "M").await.unwrap();
    let b = subject.reopen().await;
    assert!(!b.has_same_base_key(ZOE, "M", b"key").await.unwrap());
}

fn devices(user: &str, ids: &[u32], raw_id: Option<u32>) -> DeviceListRecord {
    DeviceListRecord {
        user: user.into(),
        devices: ids
            .iter()
            .map(|id| DeviceInfo::new(*id, id.checked_sub(1)).with_hosting(*id == 99))
            .collect(),
        timestamp: 1_700_000_000,
        phash: raw_id.map(|id| format!("2:{id}")),
        raw_id,
    }
}

async fn device_lists(subject: &mut Subject) {
    let b = subject.backend();
    assert!(b.get_devices("1").await.unwrap().is_none());
    b.update_device_list(devices("1", &[0, 5], None))
        .await
        .unwrap();
    b.update_device_lists(vec![
        devices("2", &[0, 99], Some(4)),
        devices("3", &[], None),
    ])
    .await
    .unwrap();
    b.update_device_lists(Vec::new()).await.unwrap();
    b.update_device_list(devices("1", &[0], Some(8)))
        .await
        .unwrap();
    let b = subject.reopen().await;
    for expected in [
        devices("1", &[0], Some(8)),
        devices("2", &[0, 99], Some(4)),
        devices("3", &[], None),
    ] {
        let found = b.get_devices(&expected.user).await.unwrap();
        assert_eq!(format!("{found:?}"), format!("{:?}", Some(expected)));
    }
    b.delete_devices("1").await.unwrap();
    b.delete_devices("1").await.unwrap();
    let b = subject.reopen().await;
    assert!(b.get_devices("1").await.unwrap().is_none());
    assert!(b.get_devices("2").await.unwrap().is_some());
}

async fn group_metadata(subject: &mut Subject) {
    let b = subject.backend();
    assert_eq!(b.get_group_metadata(GROUP).await.unwrap(), None);
    b.put_group_metadata(GROUP, b"one").await.unwrap();
    b.put_group_metadata(GROUP, &[0; 50_000]).await.unwrap();
    b.put_group_metadata(OTHER, b"").await.unwrap();
    let b = subject.reopen().await;
    assert_eq!(
        b.get_group_metadata(GROUP).await.unwrap(),
        Some(vec![0; 50_000])
    );
    assert_eq!(b.get_group_metadata(OTHER).await.unwrap(), Some(Vec::new()));
    b.delete_group_metadata(GROUP).await.unwrap();
    b.delete_group_metadata(GROUP).await.unwrap();
    let b = subject.reopen().await;
    assert_eq!(b.get_group_metadata(GROUP).await.unwrap(), None);
}

async fn sent_messages_are_found(subject: &mut Subject) {
    let b = subject.backend();
    assert_eq!(b.take_sent_message(CHAT, "A").await.unwrap(), None);
    b.store_sent_message(CHAT, "A", b"old").await.unwrap();
    b.store_sent_message(CHAT, "A", b"new").await.unwrap();
    b.store_sent_message(CHAT, "B", b"").await.unwrap();
    b.store_sent_message(GROUP, "A", b"group").await.unwrap();
    let b = subject.reopen().await;
    // Two retries at the same time: one of them gets it from the reference, both from ours.
    let (one, two) = smol::future::zip(
        b.take_sent_message(CHAT, "A"),
        b.take_sent_message(CHAT, "A"),
    )
    .await;
    let taken = [one.unwrap(), two.unwrap()];
    assert!(taken.contains(&Some(b"new".to_vec())), "{taken:?}");
    let again = match subject {
        Subject::Memory(_) => None,
        Subject::Lmdb { .. } => Some(b"new".to_vec()),
    };
    let b = subject.reopen().await;
    assert_eq!(b.take_sent_message(CHAT, "A").await.unwrap(), again);
    assert_eq!(
        b.take_sent_message(CHAT, "B").await.unwrap(),
        Some(Vec::new())
    );
    assert_eq!(
        b.take_sent_message(GROUP, "A").await.unwrap(),
        Some(b"group".to_vec())
    );
}

async fn sent_messages_expire(subject: &mut Subject) {
    let b = subject.backend();
    let start = now_secs();
    for id in ["A", "B"] {
        b.store_sent_message(CHAT, id, b"x").await.unwrap();
    }
    let b = subject.reopen().await;
    // Entries as old as the cutoff stay.
    assert_eq!(b.delete_expired_sent_messages(start).await.unwrap(), 0);
    assert_eq!(
        b.delete_expired_sent_messages(start + 3600).await.unwrap(),
        2
    );
    let b = subject.reopen().await;
    assert_eq!(b.take_sent_message(CHAT, "A").await.unwrap(), None);
    assert_eq!(b.delete_expired_sent_messages(i64::MAX).await.unwrap(), 0);
}

async fn pending_messages(subject: &mut Subject) {
    let b = subject.backend();
    assert_eq!(b.get_pending_inbound(CHAT, ZOE, "A").await.unwrap(), None);
    b.store_pending_inbound(CHAT, ZOE, "A", b"old")
        .await
        .unwrap();
    b.store_pending_inbound(CHAT, ZOE, "A", b"new")
        .await
        .unwrap();
    b.store_pending_inbound(GROUP, ZOE, "A", b"group")
        .await
        .unwrap();
    b.store_pending_inbound(CHAT, MAX, "A", b"max")
        .await
        .unwrap();
    let b = subject.reopen().await;
    // Reading does not remove.
    for _ in 0..2 {
        let found = b.get_pending_inbound(CHAT, ZOE, "A").await.unwrap();
        assert_eq!(found, Some(b"new".to_vec()));
    }
    b.delete_pending_inbound(CHAT, ZOE, "A").await.unwrap();
    b.delete_pending_inbound(CHAT, ZOE, "A").await.unwrap();
    let b = subject.reopen().await;
    assert_eq!(b.get_pending_inbound(CHAT, ZOE, "A").await.unwrap(), None);
    for (chat, sender, text) in [(GROUP, ZOE, "group"), (CHAT, MAX, "max")] {
        let found = b.get_pending_inbound(chat, sender, "A").await.unwrap();
        assert_eq!(found, Some(text.as_bytes().to_vec()));
    }
}

async fn pending_messages_in_batches(subject: &mut Subject) {
    let b = subject.backend();
    let row = |id, message| PendingInboundRow {
        chat: CHAT,
        sender: ZOE,
        id,
        message,
    };
    let key = |id| PendingInboundKey {
        chat: CHAT,
        sender: ZOE,
        id,
    };
    b.store_pending_inbound_batch(&[row("A", b"a"), row("B", b"b"), row("C", b"c")])
        .await
        .unwrap();
    b.store_pending_inbound_batch(&[]).await.unwrap();
    let b = subject.reopen().await;
    b.delete_pending_inbound_batch(&[key("A"), key("C"), key("nothing")])
        .await
        .unwrap();
    b.delete_pending_inbound_batch(&[]).await.unwrap();
    let b = subject.reopen().await;
    for (id, left) in [("A", false), ("B", true), ("C", false)] {
        let found = b.get_pending_inbound(CHAT, ZOE, id).await.unwrap();
        assert_eq!(found.is_some(), left, "{id}");
    }
}

async fn pending_messages_expire(subject: &mut Subject) {
    let b = subject.backend();
    let start = now_secs();
    b.store_pending_inbound(CHAT, ZOE, "A", b"x").await.unwrap();
    b.store_pending_inbound(CHAT, ZOE, "B", b"x").await.unwrap();
    b.delete_pending_inbound(CHAT, ZOE, "B").await.unwrap();
    let b = subject.reopen().await;
    assert_eq!(b.delete_expired_pending_inbound(start).await.unwrap(), 0);
    assert_eq!(
        b.delete_expired_pending_inbound(start + 3600)
            .await
            .unwrap(),
        1
    );
    let b = subject.reopen().await;
    assert_eq!(b.get_pending_inbound(CHAT, ZOE, "A").await.unwrap(), None);
}
