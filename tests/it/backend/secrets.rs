//! `MsgSecretStore`.

use whatsapp_rust::wacore::store::traits::MsgSecretEntry;

use super::{Subject, cases};

const CHAT: &str = "120363017953516826@g.us";
const SENDER: &str = "491701234567@s.whatsapp.net";

cases! {
    a_secret_comes_back
    every_part_of_the_key_counts
    equal_keys_merge
    expired_secrets_go
    a_later_deadline_replaces_the_earlier
    many_expired_secrets_go_at_once
}

fn entry(id: &str, secret: u8, expires_at: i64, message_ts: i64) -> MsgSecretEntry {
    MsgSecretEntry {
        chat: CHAT.into(),
        sender: SENDER.into(),
        msg_id: id.into(),
        secret: [secret; 32],
        expires_at,
        message_ts,
    }
}

async fn a_secret_comes_back(subject: &mut Subject) {
    let b = subject.backend();
    assert_eq!(b.get_msg_secret(CHAT, SENDER, "A").await.unwrap(), None);
    assert_eq!(
        b.get_msg_secret_with_ts(CHAT, SENDER, "A").await.unwrap(),
        None
    );
    b.put_msg_secret(CHAT, SENDER, "A", &[1; 32]).await.unwrap();
    let stored = b
        .put_msg_secrets(vec![entry("B", 2, 0, 99), entry("C", 3, 5, -1)])
        .await;
    assert_eq!(stored.unwrap(), 2);
    assert_eq!(b.put_msg_secrets(Vec::new()).await.unwrap(), 0);
    let b = subject.reopen().await;
    for (id, secret, ts) in [("A", 1u8, 0), ("B", 2, 99), ("C", 3, -1)] {
        let found = b.get_msg_secret_with_ts(CHAT, SENDER, id).await.unwrap();
        assert_eq!(found, Some((vec![secret; 32], ts)), "{id}");
        let found = b.get_msg_secret(CHAT, SENDER, id).await.unwrap();
        assert_eq!(found, Some(vec![secret; 32]), "{id}");
    }
}

async fn every_part_of_the_key_counts(subject: &mut Subject) {
    let b = subject.backend();
    let long = "i".repeat(900);
    let keys = [
        ("c", "s", "1"),
        ("c", "s", "2"),
        ("c", "t", "1"),
        ("d", "s", "1"),
        // The same letters, cut elsewhere.
        ("cs", "", "1"),
        ("", "cs", "1"),
        ("c", "s", long.as_str()),
    ];
    for (n, (chat, sender, id)) in keys.iter().enumerate() {
        b.put_msg_secret(chat, sender, id, &[n as u8; 32])
            .await
            .unwrap();
    }
    let b = subject.reopen().await;
    for (n, (chat, sender, id)) in keys.iter().enumerate() {
        let found = b.get_msg_secret(chat, sender, id).await.unwrap();
        assert_eq!(found, Some(vec![n as u8; 32]), "{n}");
    }
}

async fn equal_keys_merge(subject: &mut Subject) {
    let b = subject.backend();
    // The last secret is stored; the later time of the message stays; 0 is unknown.
    b.put_msg_secrets(vec![entry("A", 1, 100, 50), entry("A", 2, 100, 0)])
        .await
        .unwrap();
    let b = subject.reopen().await;
    b.put_msg_secrets(vec![entry("A", 3, 100, 40)])
        .await
        .unwrap();
    let found = b.get_msg_secret_with_ts(CHAT, SENDER, "A").await.unwrap();
    assert_eq!(found, Some((vec![3; 32], 50)));
    // The deadline: `never` is not replaced by earlier or later values.
    b.put_msg_secrets(vec![entry("never", 1, 0, 0), entry("never", 1, 10, 0)])
        .await
        .unwrap();
    b.put_msg_secrets(vec![
        entry("to never", 1, 10, 0),
        entry("to never", 1, 0, 0),
    ])
    .await
    .unwrap();
    b.put_msg_secrets(vec![entry("later", 1, 30, 0), entry("later", 1, 10, 0)])
        .await
        .unwrap();
    let b = subject.reopen().await;
    assert_eq!(b.delete_expired_msg_secrets(20).await.unwrap(), 0);
    assert_eq!(b.delete_expired_msg_secrets(30).await.unwrap(), 1);
    for (id, left) in [
        ("never", true),
        ("to never", true),
        ("later", false),
        ("A", true),
    ] {
        let found = b.get_msg_secret(CHAT, SENDER, id).await.unwrap();
        assert_eq!(found.is_some(), left, "{id}");
    }
}

async fn expired_secrets_go(subject: &mut Subject) {
    let b = subject.backend();
    let entries = vec![
        entry("never", 1, 0, 0),
        entry("99", 1, 99, 0),
        entry("100", 1, 100, 0),
        entry("101", 1, 101, 0),
        entry("negative", 1, -4, 0),
    ];
    b.put_msg_secrets(entries).await.unwrap();
    let b = subject.reopen().await;
    // Due at the deadline.
    assert_eq!(b.delete_expired_msg_secrets(100).await.unwrap(), 3);
    assert_eq!(b.delete_expired_msg_secrets(100).await.unwrap(), 0);
    let b = subject.reopen().await;
    for (id, left) in [
        ("never", true),
        ("99", false),
        ("100", false),
        ("101", true),
    ] {
        let found = b.get_msg_secret(CHAT, SENDER, id).await.unwrap();
        assert_eq!(found.is_some(), left, "{id}");
    }
    assert_eq!(b.delete_expired_msg_secrets(i64::MAX - 1).await.unwrap(), 1);
    assert!(
        b.get_msg_secret(CHAT, SENDER, "never")
            .await
            .unwrap()
            .is_some()
    );
}

async fn a_later_deadline_replaces_the_earlier(subject: &mut Subject) {
    let b = subject.backend();
    b.put_msg_secrets(vec![entry("A", 1, 100, 0)])
        .await
        .unwrap();
    let b = subject.reopen().await;
    b.put_msg_secrets(vec![entry("A", 1, 200, 0)])
        .await
        .unwrap();
    let b = subject.reopen().await;
    assert_eq!(b.delete_expired_msg_secrets(150).await.unwrap(), 0);
    assert!(b.get_msg_secret(CHAT, SENDER, "A").await.unwrap().is_some());
    assert_eq!(b.delete_expired_msg_secrets(200).await.unwrap(), 1);
}

async fn many_expired_secrets_go_at_once(subject: &mut Subject) {
    let b = subject.backend();
    let entries = (0..1000)
        .map(|n| entry(&n.to_string(), 1, 1 + n % 500, 0))
        .collect();
    assert_eq!(b.put_msg_secrets(entries).await.unwrap(), 1000);
    let b = subject.reopen().await;
    assert_eq!(b.delete_expired_msg_secrets(400).await.unwrap(), 800);
    assert!(
        b.get_msg_secret(CHAT, SENDER, "399")
            .await
            .unwrap()
            .is_none()
    );
    assert!(
        b.get_msg_secret(CHAT, SENDER, "400")
            .await
            .unwrap()
            .is_some()
    );
}
