//! Guarantees of the LMDB backend only: several accounts in one storage, batches in one commit.

use std::sync::Arc;

use whatsapp_rust::bytes::Bytes;
use whatsapp_rust::wacore::store::Device;
use whatsapp_rust::wacore::store::traits::{
    Backend, LidPnMappingEntry, MsgSecretStore, ProtocolStore, SignalStore, TcTokenEntry,
};
use wildcat::store::{accounts, purge};

use super::{Subject, close, open, ours};

const ALICE: u32 = 1;
const BOB: u32 = 2;
const PEER: &str = "491701234567@s.whatsapp.net";
const GROUP: &str = "120363017953516826@g.us";

/// Writes a row of every kind.
async fn fill(b: &dyn Backend) {
    b.save(&Device::new()).await.unwrap();
    b.put_identity(PEER, [1; 32]).await.unwrap();
    b.put_session(PEER, b"s").await.unwrap();
    b.store_prekey(5, b"p", false).await.unwrap();
    b.store_signed_prekey(6, b"sp").await.unwrap();
    b.put_sender_key(PEER, b"sk").await.unwrap();
    b.set_sync_key(b"id", Default::default()).await.unwrap();
    let state = whatsapp_rust::wacore::appstate::hash::HashState {
        version: 3,
        ..Default::default()
    };
    b.set_version("regular", state).await.unwrap();
    b.set_sender_key_status(GROUP, &[(PEER, true)])
        .await
        .unwrap();
    let mapping = LidPnMappingEntry {
        lid: "L".into(),
        phone_number: "P".into(),
        created_at: 1,
        updated_at: 1,
        learning_source: "usync".into(),
    };
    b.put_lid_mapping(&mapping).await.unwrap();
    b.save_base_key(PEER, "M", b"k").await.unwrap();
    b.put_group_metadata(GROUP, b"g").await.unwrap();
    let token = TcTokenEntry {
        token: vec![1],
        token_timestamp: 1,
        sender_timestamp: None,
    };
    b.put_tc_token(PEER, &token).await.unwrap();
    b.store_sent_message(PEER, "M", b"x").await.unwrap();
    b.store_pending_inbound(PEER, PEER, "M", b"x")
        .await
        .unwrap();
    b.put_msg_secret(PEER, PEER, "M", &[1; 32]).await.unwrap();
}

/// How many of the rows of [`fill`] there are, by looking and not by taking.
async fn count(b: &dyn Backend) -> usize {
    [
        b.exists().await.unwrap(),
        b.load_identity(PEER).await.unwrap().is_some(),
        b.has_session(PEER).await.unwrap(),
        b.has_signal_state_for_user("491701234567").await.unwrap(),
        b.get_max_prekey_id().await.unwrap() == 5,
        !b.load_all_signed_prekeys().await.unwrap().is_empty(),
        b.get_sender_key(PEER).await.unwrap().is_some(),
        b.get_sync_key(b"id").await.unwrap().is_some(),
        b.get_latest_sync_key_id().await.unwrap().is_some(),
        b.get_version("regular").await.unwrap().version == 3,
        !b.get_sender_key_devices(GROUP).await.unwrap().is_empty(),
        !b.get_all_lid_mappings().await.unwrap().is_empty(),
        b.get_pn_mapping("P").await.unwrap().is_some(),
        b.has_same_base_key(PEER, "M", b"k").await.unwrap(),
        b.get_group_metadata(GROUP).await.unwrap().is_some(),
        !b.get_all_tc_token_jids().await.unwrap().is_empty(),
        b.get_pending_inbound(PEER, PEER, "M")
            .await
            .unwrap()
            .is_some(),
        b.get_msg_secret(PEER, PEER, "M").await.unwrap().is_some(),
    ]
    .into_iter()
    .filter(|found| *found)
    .count()
}

const EVERYTHING: usize = 18;

#[test]
fn accounts_are_separate() {
    smol::block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir);
        let (alice, bob) = (ours(&store, ALICE), ours(&store, BOB));
        fill(&alice).await;
        assert_eq!((count(&alice).await, count(&bob).await), (EVERYTHING, 0));
        assert_eq!(bob.take_sent_message(PEER, "M").await.unwrap(), None);
        // Nothing that bob throws away is alice's.
        bob.clear_all_sender_key_devices().await.unwrap();
        bob.delete_sender_key_device_rows(&[PEER]).await.unwrap();
        let all = i64::MAX - 1;
        assert_eq!(bob.delete_expired_sent_messages(all).await.unwrap(), 0);
        assert_eq!(bob.delete_expired_pending_inbound(all).await.unwrap(), 0);
        assert_eq!(bob.delete_expired_tc_tokens(all, all).await.unwrap(), 0);
        assert_eq!(bob.delete_expired_msg_secrets(all).await.unwrap(), 0);
        bob.clear().await.unwrap();
        close(&store).await;
        let store = open(&dir);
        let (alice, bob) = (ours(&store, ALICE), ours(&store, BOB));
        assert_eq!((count(&alice).await, count(&bob).await), (EVERYTHING, 0));
        let taken = alice.take_sent_message(PEER, "M").await.unwrap();
        assert_eq!(taken, Some(b"x".to_vec()));
    });
}

#[test]
fn clearing_removes_only_the_accounts_own_rows() {
    smol::block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir);
        let (alice, bob) = (ours(&store, ALICE), ours(&store, BOB));
        fill(&alice).await;
        fill(&bob).await;
        let keys: Vec<_> = (0..600).map(|id| (id, Bytes::from_static(b"k"))).collect();
        alice.store_prekeys_batch(&keys, true).await.unwrap();
        alice.clear().await.unwrap();
        assert_eq!((count(&alice).await, count(&bob).await), (0, EVERYTHING));
        alice.clear().await.unwrap();
        close(&store).await;
    });
}

#[test]
fn purging_a_removed_account_removes_its_session() {
    smol::block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir);
        let create = |id: &'static str| {
            store.write(move |tx| accounts::create(tx, id, None, String::new(), 0))
        };
        let alice = create("alice").await.unwrap().unwrap();
        let bob = create("bob").await.unwrap().unwrap();
        let (alice, bob) = (ours(&store, alice.number), ours(&store, bob.number));
        fill(&alice).await;
        fill(&bob).await;
        store
            .write(|tx| accounts::remove(tx, "alice"))
            .await
            .unwrap();
        while store.write(|tx| purge::step(tx, 5)).await.unwrap() {}
        assert_eq!((count(&alice).await, count(&bob).await), (0, EVERYTHING));
        close(&store).await;
    });
}

#[test]
fn writes_of_a_session_are_visible_at_once_and_stored_together() {
    smol::block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir);
        let b = wildcat::whatsapp::Backend::behind(store.clone(), ALICE, Arc::new(|_| ()));
        b.store_prekey(5, b"p", true).await.unwrap();
        let before = store.stats().commits;
        b.put_session(PEER, b"one").await.unwrap();
        b.put_session("x@lid", b"x").await.unwrap();
        b.put_identity(PEER, [1; 32]).await.unwrap();
        b.put_sender_key(GROUP, b"k").await.unwrap();
        b.remove_prekey(5).await.unwrap();
        b.store_pending_inbound(PEER, PEER, "M", b"m")
            .await
            .unwrap();
        b.store_pending_inbound(PEER, PEER, "N", b"n")
            .await
            .unwrap();
        b.delete_pending_inbound(PEER, PEER, "N").await.unwrap();
        b.store_sent_message(PEER, "S", b"s").await.unwrap();
        assert_eq!(store.stats().commits, before, "nothing waited for the disk");

        let look = async |b: &wildcat::whatsapp::Backend| {
            assert_eq!(
                b.get_session(PEER).await.unwrap().as_deref(),
                Some(&b"one"[..])
            );
            assert_eq!(b.load_identity(PEER).await.unwrap(), Some([1; 32]));
            assert_eq!(
                b.get_sender_key(GROUP).await.unwrap().as_deref(),
                Some(&b"k"[..])
            );
            assert_eq!(b.load_prekey(5).await.unwrap(), None);
            assert!(b.has_signal_state_for_user("x").await.unwrap());
            assert!(!b.has_signal_state_for_user("y").await.unwrap());
            let pending = b.get_pending_inbound(PEER, PEER, "M").await.unwrap();
            assert_eq!(pending.as_deref(), Some(&b"m"[..]));
            assert_eq!(b.get_pending_inbound(PEER, PEER, "N").await.unwrap(), None);
        };
        look(&b).await;
        b.journal().before_sending().await.unwrap();
        assert_eq!(store.stats().commits, before + 1, "all of it in one commit");
        look(&ours(&store, ALICE)).await;

        // Deleted entries are invisible at once, although they are on disk, and stay so.
        b.delete_session("x@lid").await.unwrap();
        b.delete_pending_inbound(PEER, PEER, "M").await.unwrap();
        assert!(!b.has_signal_state_for_user("x").await.unwrap());
        assert_eq!(b.get_pending_inbound(PEER, PEER, "M").await.unwrap(), None);
        b.journal().settle().await.unwrap();
        assert_eq!(store.stats().commits, before + 2);
        let taken = b.take_sent_message(PEER, "S").await.unwrap();
        assert_eq!(taken.as_deref(), Some(&b"s"[..]));
        close(&store).await;
        let store = open(&dir);
        let b = ours(&store, ALICE);
        assert!(!b.has_session("x@lid").await.unwrap());
        assert_eq!(b.get_pending_inbound(PEER, PEER, "M").await.unwrap(), None);
        close(&store).await;
    });
}

#[test]
fn after_a_failed_write_nothing_more_is_stored_or_sent() {
    smol::block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let small = wildcat::store::Options {
            map_initial: 1 << 20,
            map_max: 1 << 20,
            ..wildcat::store::Options::default()
        };
        let store = wildcat::store::Store::open(dir.path(), small).unwrap();
        let told = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let count = Arc::clone(&told);
        let hook = move |_: &wildcat::store::StoreError| {
            count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        };
        let b = wildcat::whatsapp::Backend::behind(store.clone(), ALICE, Arc::new(hook));
        b.put_session(PEER, b"kept").await.unwrap();
        b.journal().settle().await.unwrap();
        b.put_session(PEER, &[0; 2 << 20]).await.unwrap();
        assert!(b.journal().before_sending().await.is_err());
        assert!(b.journal().before_sending().await.is_err());
        assert!(b.put_session("x@lid", b"small").await.is_err());
        assert!(b.put_group_metadata(GROUP, b"g").await.is_err());
        assert!(b.journal().wanted().await.is_err());
        assert_eq!(told.load(std::sync::atomic::Ordering::Relaxed), 1);
        // The next session starts from the store.
        let b = ours(&store, ALICE);
        assert_eq!(
            b.get_session(PEER).await.unwrap().as_deref(),
            Some(&b"kept"[..])
        );
        assert!(!b.has_session("x@lid").await.unwrap());
        b.put_session("x@lid", b"small").await.unwrap();
        close(&store).await;
    });
}

#[test]
fn a_batch_is_one_commit_and_known_data_none() {
    smol::block_on(async {
        let Subject::Lmdb { store, dir: _dir } = Subject::lmdb() else {
            unreachable!("made as such");
        };
        let b = ours(&store, ALICE);
        let commits = || store.stats().commits;
        let before = commits();
        let keys: Vec<_> = (1..=812).map(|id| (id, Bytes::from_static(b"k"))).collect();
        b.store_prekeys_batch(&keys, false).await.unwrap();
        assert_eq!(commits() - before, 1);
        let sessions: Vec<(Arc<str>, Bytes)> = (0..100)
            .map(|n| (Arc::from(format!("{n}@lid")), Bytes::from_static(b"s")))
            .collect();
        b.put_sessions_batch(&sessions).await.unwrap();
        assert_eq!(commits() - before, 2);
        // Writing the stored value again causes no commit.
        b.put_sessions_batch(&sessions).await.unwrap();
        b.store_prekeys_batch(&keys, false).await.unwrap();
        b.delete_session("nobody@lid").await.unwrap();
        assert_eq!(commits() - before, 2);
    });
}
