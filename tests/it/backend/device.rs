//! `DeviceStore`.

use std::sync::Arc;

use whatsapp_rust::wacore::store::{CachedNoiseCert, CachedServerCertChain, Device};
use whatsapp_rust::waproto::whatsapp::ADVSignedDeviceIdentity;

use super::{Subject, cases};

cases! {
    a_device_is_made_once
    everything_of_a_device_comes_back
    a_device_that_was_not_paired_introduces_itself_as_before
    snapshots_and_reports
}

/// All that is serialized, which is what a restart may rely on.
fn text(device: &Device) -> String {
    serde_json::to_string_pretty(device).unwrap()
}

async fn a_device_is_made_once(subject: &mut Subject) {
    let b = subject.backend();
    assert!(!b.exists().await.unwrap());
    assert!(b.load().await.unwrap().is_none());
    b.create().await.unwrap();
    let b = subject.reopen().await;
    assert!(b.exists().await.unwrap());
    let made = b.load().await.unwrap().unwrap();
    assert!(!made.is_registered());
    b.create().await.unwrap();
    let b = subject.reopen().await;
    // Its keys are the pairing: they must never be replaced.
    assert_eq!(text(&b.load().await.unwrap().unwrap()), text(&made));
}

async fn everything_of_a_device_comes_back(subject: &mut Subject) {
    let b = subject.backend();
    let cert = |key, from| CachedNoiseCert {
        key: [key; 32],
        not_before: from,
        not_after: i64::MAX,
    };
    let account = ADVSignedDeviceIdentity {
        details: Some(vec![1, 2, 3]),
        account_signature_key: Some(vec![4; 32]),
        account_signature: Some(vec![5; 64]),
        device_signature: Some(vec![6; 64]),
    };
    let device = Device {
        pn: Some("491701234567:12@s.whatsapp.net".parse().unwrap()),
        lid: Some("955000000177:12@lid".parse().unwrap()),
        account: Some(Arc::new(account.clone())),
        push_name: "Zoë 🦊".to_owned(),
        edge_routing_info: Some(vec![0, 255]),
        props_hash: Some("hash".to_owned()),
        next_pre_key_id: 813,
        first_unupload_pre_key_id: 400,
        server_has_prekeys: true,
        nct_salt: Some(vec![9; 16]),
        server_cert_chain: Some(CachedServerCertChain {
            intermediate: cert(1, -5),
            leaf: cert(2, 0),
        }),
        login_counter: 42,
        lid_migrated: true,
        last_signed_pre_key_rotation_ms: 1_700_000_000_000,
        read_receipts_disabled: true,
        ..Device::new()
    };
    b.save(&Device::new()).await.unwrap();
    b.save(&device).await.unwrap();
    let b = subject.reopen().await;
    let found = b.load().await.unwrap().unwrap();
    assert_eq!(text(&found), text(&device));
    assert_eq!(found.pn, device.pn);
    assert_eq!(found.server_cert_chain, device.server_cert_chain);
    assert_eq!(found.account.as_deref(), Some(&account));
    for (found, saved) in [
        (&found.noise_key, &device.noise_key),
        (&found.identity_key, &device.identity_key),
        (&found.signed_pre_key, &device.signed_pre_key),
    ] {
        assert_eq!(found.private_key.serialize(), saved.private_key.serialize());
        assert_eq!(found.public_key.serialize(), saved.public_key.serialize());
    }
    assert!(found.is_registered());
}

async fn a_device_that_was_not_paired_introduces_itself_as_before(subject: &mut Subject) {
    let b = subject.backend();
    b.create().await.unwrap();
    let b = subject.reopen().await;
    let found = b.load().await.unwrap().unwrap();
    let new = Device::new();
    // Neither is serialized by wacore.
    assert_eq!(found.device_props, new.device_props);
    assert_eq!(
        format!("{:?}", found.client_profile),
        format!("{:?}", new.client_profile)
    );
    let registration = found.get_client_payload().device_pairing_data;
    assert_eq!(
        registration.device_props,
        new.get_client_payload().device_pairing_data.device_props
    );
}

async fn snapshots_and_reports(subject: &mut Subject) {
    let b = subject.backend();
    b.snapshot_db("name", Some(b"more")).await.unwrap();
    assert_eq!(b.resource_report().await.total_bytes(), 0);
}
