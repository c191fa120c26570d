//! `SignalStore`.

use std::sync::Arc;

use whatsapp_rust::bytes::Bytes;

use super::{Subject, cases, sorted};

const PHONE: &str = "491701234567@s.whatsapp.net";
const DEVICE: &str = "491701234567:3@s.whatsapp.net";

cases! {
    identities
    sessions
    batches_of_sessions_and_sender_keys
    state_is_found_by_user
    prekeys
    a_pool_of_prekeys
    uploading_revives_no_prekey
    signed_prekeys
    sender_keys
    long_and_empty_addresses
}

fn shared(text: &str) -> Arc<str> {
    Arc::from(text)
}

async fn identities(subject: &mut Subject) {
    let b = subject.backend();
    assert_eq!(b.load_identity(PHONE).await.unwrap(), None);
    b.delete_identity(PHONE).await.unwrap();
    b.put_identity(PHONE, [1; 32]).await.unwrap();
    b.put_identity(DEVICE, [2; 32]).await.unwrap();
    b.put_identity(PHONE, [3; 32]).await.unwrap();
    let b = subject.reopen().await;
    assert_eq!(b.load_identity(PHONE).await.unwrap(), Some([3; 32]));
    assert_eq!(b.load_identity(DEVICE).await.unwrap(), Some([2; 32]));
    b.delete_identity(PHONE).await.unwrap();
    b.put_identities_batch(&[(shared(DEVICE), [4; 32]), (shared("x@lid"), [5; 32])])
        .await
        .unwrap();
    b.put_identities_batch(&[]).await.unwrap();
    let b = subject.reopen().await;
    assert_eq!(b.load_identity(PHONE).await.unwrap(), None);
    assert_eq!(b.load_identity(DEVICE).await.unwrap(), Some([4; 32]));
    assert_eq!(b.load_identity("x@lid").await.unwrap(), Some([5; 32]));
}

async fn sessions(subject: &mut Subject) {
    let b = subject.backend();
    assert_eq!(b.get_session(PHONE).await.unwrap(), None);
    assert!(!b.has_session(PHONE).await.unwrap());
    b.put_session(PHONE, b"one").await.unwrap();
    b.put_session(DEVICE, b"").await.unwrap();
    b.put_session(PHONE, b"two").await.unwrap();
    let b = subject.reopen().await;
    assert_eq!(
        b.get_session(PHONE).await.unwrap().as_deref(),
        Some(&b"two"[..])
    );
    // An empty session is still one.
    assert!(b.has_session(DEVICE).await.unwrap());
    assert_eq!(
        b.get_session(DEVICE).await.unwrap().as_deref(),
        Some(&b""[..])
    );
    // A session and an identity of an address have nothing to do with each other.
    assert_eq!(b.load_identity(PHONE).await.unwrap(), None);
    b.delete_session(PHONE).await.unwrap();
    b.delete_session(PHONE).await.unwrap();
    let b = subject.reopen().await;
    assert!(!b.has_session(PHONE).await.unwrap());
    assert!(b.has_session(DEVICE).await.unwrap());
}

async fn batches_of_sessions_and_sender_keys(subject: &mut Subject) {
    let b = subject.backend();
    b.put_session(PHONE, b"old").await.unwrap();
    let big = vec![9u8; 100_000];
    let batch = [
        (shared(PHONE), Bytes::from_static(b"new")),
        (shared(DEVICE), Bytes::from(big.clone())),
        // The last one of an address wins.
        (shared("a@lid"), Bytes::from_static(b"1")),
        (shared("a@lid"), Bytes::from_static(b"2")),
    ];
    b.put_sessions_batch(&batch).await.unwrap();
    b.put_sessions_batch(&[]).await.unwrap();
    b.put_sender_keys_batch(&batch[..2]).await.unwrap();
    let b = subject.reopen().await;
    assert_eq!(
        b.get_session(PHONE).await.unwrap().as_deref(),
        Some(&b"new"[..])
    );
    assert_eq!(
        b.get_session(DEVICE).await.unwrap().as_deref(),
        Some(&big[..])
    );
    assert_eq!(
        b.get_session("a@lid").await.unwrap().as_deref(),
        Some(&b"2"[..])
    );
    assert_eq!(
        b.get_sender_key(PHONE).await.unwrap().as_deref(),
        Some(&b"new"[..])
    );
    assert_eq!(b.get_sender_key("a@lid").await.unwrap(), None);
}

async fn state_is_found_by_user(subject: &mut Subject) {
    let b = subject.backend();
    assert!(!b.has_signal_state_for_user("4917").await.unwrap());
    b.put_session("49171@s.whatsapp.net", b"s").await.unwrap();
    b.put_identity("4918:5@lid", [1; 32]).await.unwrap();
    // A sender key is no state of that kind.
    b.put_sender_key("4919@s.whatsapp.net", b"k").await.unwrap();
    let b = subject.reopen().await;
    for (user, known) in [
        ("49171", true),
        ("4918", true),
        // Only the start of a user's name.
        ("4917", false),
        ("491", false),
        ("4918:5", true),
        ("4919", false),
        ("", false),
    ] {
        let found = b.has_signal_state_for_user(user).await.unwrap();
        assert_eq!(found, known, "{user:?}");
    }
    b.delete_session("49171@s.whatsapp.net").await.unwrap();
    assert!(!b.has_signal_state_for_user("49171").await.unwrap());
}

async fn prekeys(subject: &mut Subject) {
    let b = subject.backend();
    assert_eq!(b.get_max_prekey_id().await.unwrap(), 0);
    assert_eq!(b.load_prekey(1).await.unwrap(), None);
    b.store_prekey(1, b"one", false).await.unwrap();
    b.store_prekey(300, b"", true).await.unwrap();
    b.store_prekey(1, b"uno", true).await.unwrap();
    let b = subject.reopen().await;
    assert_eq!(
        b.load_prekey(1).await.unwrap().as_deref(),
        Some(&b"uno"[..])
    );
    assert_eq!(b.load_prekey(300).await.unwrap().as_deref(), Some(&b""[..]));
    assert_eq!(b.get_max_prekey_id().await.unwrap(), 300);
    b.remove_prekey(300).await.unwrap();
    b.remove_prekey(300).await.unwrap();
    let b = subject.reopen().await;
    assert_eq!(b.get_max_prekey_id().await.unwrap(), 1);
    b.store_prekey(u32::MAX, b"m", false).await.unwrap();
    b.store_signed_prekey(9, b"not a prekey").await.unwrap();
    assert_eq!(b.get_max_prekey_id().await.unwrap(), u32::MAX);
}

async fn a_pool_of_prekeys(subject: &mut Subject) {
    let b = subject.backend();
    let record = |id: u32| Bytes::from(id.to_be_bytes().to_vec());
    let pool: Vec<_> = (1..=812).map(|id| (id, record(id))).collect();
    b.store_prekeys_batch(&pool, false).await.unwrap();
    b.store_prekeys_batch(&[], false).await.unwrap();
    let b = subject.reopen().await;
    assert_eq!(b.get_max_prekey_id().await.unwrap(), 812);
    let found = b.load_prekeys_batch(&[5, 9999, 812, 5]).await.unwrap();
    assert_eq!(found, [(5, record(5)), (812, record(812)), (5, record(5))]);
    assert_eq!(b.load_prekeys_batch(&[]).await.unwrap(), []);
}

async fn uploading_revives_no_prekey(subject: &mut Subject) {
    let b = subject.backend();
    let keys: Vec<_> = (1..=3).map(|id| (id, Bytes::from_static(b"k"))).collect();
    b.store_prekeys_batch(&keys, false).await.unwrap();
    b.remove_prekey(2).await.unwrap();
    b.mark_prekeys_uploaded(&[1, 2, 3, 4]).await.unwrap();
    b.mark_prekeys_uploaded(&[]).await.unwrap();
    let b = subject.reopen().await;
    let left = b.load_prekeys_batch(&[1, 2, 3, 4]).await.unwrap();
    let left: Vec<_> = left
        .into_iter()
        .map(|(id, record)| (id, record.to_vec()))
        .collect();
    assert_eq!(left, [(1, b"k".to_vec()), (3, b"k".to_vec())]);
}

async fn signed_prekeys(subject: &mut Subject) {
    let b = subject.backend();
    assert_eq!(b.load_all_signed_prekeys().await.unwrap(), []);
    for (id, record) in [(2, "two"), (1, "one"), (2, "zwei")] {
        b.store_signed_prekey(id, record.as_bytes()).await.unwrap();
    }
    let b = subject.reopen().await;
    assert_eq!(
        b.load_signed_prekey(1).await.unwrap(),
        Some(b"one".to_vec())
    );
    assert_eq!(b.load_signed_prekey(3).await.unwrap(), None);
    let all = sorted(b.load_all_signed_prekeys().await.unwrap());
    assert_eq!(all, [(1, b"one".to_vec()), (2, b"zwei".to_vec())]);
    b.remove_signed_prekey(1).await.unwrap();
    b.remove_signed_prekey(1).await.unwrap();
    let b = subject.reopen().await;
    assert_eq!(b.load_all_signed_prekeys().await.unwrap().len(), 1);
}

async fn sender_keys(subject: &mut Subject) {
    let b = subject.backend();
    let address = "120363017953516826@g.us:491701234567@s.whatsapp.net:3";
    assert_eq!(b.get_sender_key(address).await.unwrap(), None);
    b.put_sender_key(address, b"one").await.unwrap();
    b.put_sender_key(address, b"two").await.unwrap();
    let b = subject.reopen().await;
    assert_eq!(
        b.get_sender_key(address).await.unwrap(),
        Some(b"two".to_vec())
    );
    b.delete_sender_key(address).await.unwrap();
    b.delete_sender_key(address).await.unwrap();
    let b = subject.reopen().await;
    assert_eq!(b.get_sender_key(address).await.unwrap(), None);
}

async fn long_and_empty_addresses(subject: &mut Subject) {
    let b = subject.backend();
    let (long, longer) = ("x".repeat(2000), "x".repeat(2001));
    b.put_session(&long, b"long").await.unwrap();
    b.put_session(&longer, b"longer").await.unwrap();
    b.put_session("", b"none").await.unwrap();
    let b = subject.reopen().await;
    assert_eq!(
        b.get_session(&long).await.unwrap().as_deref(),
        Some(&b"long"[..])
    );
    assert_eq!(
        b.get_session(&longer).await.unwrap().as_deref(),
        Some(&b"longer"[..])
    );
    assert_eq!(
        b.get_session("").await.unwrap().as_deref(),
        Some(&b"none"[..])
    );
    b.delete_session(&long).await.unwrap();
    assert!(!b.has_session(&long).await.unwrap());
    assert!(b.has_session(&longer).await.unwrap());
}
