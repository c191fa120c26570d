//! Trusted contacts' tokens of `ProtocolStore`.

use whatsapp_rust::wacore::store::traits::TcTokenEntry;

use super::{Subject, cases, sorted};

cases! {
    tc_tokens
    issuing_and_receiving_tokens_meet
    a_newer_token_wins
    tokens_expire_with_both_halves
    many_tokens_expire
}

fn token(bytes: &[u8], at: i64, sender: Option<i64>) -> TcTokenEntry {
    TcTokenEntry {
        token: bytes.to_vec(),
        token_timestamp: at,
        sender_timestamp: sender,
    }
}

/// Token, its time, and the time of ours.
fn parts(entry: Option<TcTokenEntry>) -> Option<(Vec<u8>, i64, Option<i64>)> {
    entry.map(|entry| (entry.token, entry.token_timestamp, entry.sender_timestamp))
}

async fn tc_tokens(subject: &mut Subject) {
    let b = subject.backend();
    assert_eq!(parts(b.get_tc_token("a").await.unwrap()), None);
    b.put_tc_token("a", &token(b"\0\xff", 5, None))
        .await
        .unwrap();
    b.put_tc_token("b", &token(b"b", 5, Some(6))).await.unwrap();
    // Unlike a received token, this always replaces the stored one.
    b.put_tc_token("b", &token(b"", 1, None)).await.unwrap();
    let long = "x".repeat(700);
    b.put_tc_token(&long, &token(b"l", 1, None)).await.unwrap();
    let b = subject.reopen().await;
    assert_eq!(
        parts(b.get_tc_token("a").await.unwrap()),
        Some((vec![0, 255], 5, None))
    );
    assert_eq!(
        parts(b.get_tc_token("b").await.unwrap()),
        Some((Vec::new(), 1, None))
    );
    let all = sorted(b.get_all_tc_token_jids().await.unwrap());
    assert_eq!(all, ["a".to_owned(), "b".to_owned(), long]);
    b.delete_tc_token("a").await.unwrap();
    b.delete_tc_token("a").await.unwrap();
    let b = subject.reopen().await;
    assert_eq!(parts(b.get_tc_token("a").await.unwrap()), None);
    assert_eq!(b.get_all_tc_token_jids().await.unwrap().len(), 2);
}

async fn issuing_and_receiving_tokens_meet(subject: &mut Subject) {
    let b = subject.backend();
    b.touch_tc_token_sender_timestamp("a", 50).await.unwrap();
    let b = subject.reopen().await;
    assert_eq!(
        parts(b.get_tc_token("a").await.unwrap()),
        Some((Vec::new(), 50, Some(50)))
    );
    // A row without a token is no obstacle, however new.
    b.store_received_tc_token("a", b"t", 10).await.unwrap();
    assert_eq!(
        parts(b.get_tc_token("a").await.unwrap()),
        Some((b"t".to_vec(), 10, Some(50)))
    );
    // Ours only moves forward, and leaves the token alone.
    let mut b = b;
    for (at, now) in [(40, 50), (60, 60)] {
        b.touch_tc_token_sender_timestamp("a", at).await.unwrap();
        b = subject.reopen().await;
        let found = parts(b.get_tc_token("a").await.unwrap());
        assert_eq!(found, Some((b"t".to_vec(), 10, Some(now))));
    }
    b.store_received_tc_token("new", b"n", 3).await.unwrap();
    assert_eq!(
        parts(b.get_tc_token("new").await.unwrap()),
        Some((b"n".to_vec(), 3, None))
    );
    b.touch_tc_token_sender_timestamp("new", -9).await.unwrap();
    assert_eq!(
        parts(b.get_tc_token("new").await.unwrap()),
        Some((b"n".to_vec(), 3, Some(-9)))
    );
}

async fn a_newer_token_wins(subject: &mut Subject) {
    let mut b = subject.backend();
    for (bytes, at, left) in [
        (b"a", 10, b"a"),
        (b"b", 9, b"a"),
        (b"c", 10, b"c"),
        (b"d", 11, b"d"),
    ] {
        b.store_received_tc_token("x", bytes, at).await.unwrap();
        b = subject.reopen().await;
        let found = b.get_tc_token("x").await.unwrap().unwrap();
        assert_eq!(found.token, left, "at {at}");
    }
}

async fn tokens_expire_with_both_halves(subject: &mut Subject) {
    let b = subject.backend();
    for (jid, entry) in [
        ("live token", token(b"t", 100, None)),
        ("live sender", token(b"t", 1, Some(200))),
        ("live placeholder", token(b"", 1, Some(200))),
        ("old", token(b"t", 99, Some(199))),
        ("old token", token(b"t", 99, None)),
        // New, but there is nothing in it.
        ("old placeholder", token(b"", 500, Some(199))),
    ] {
        b.put_tc_token(jid, &entry).await.unwrap();
    }
    let b = subject.reopen().await;
    assert_eq!(b.delete_expired_tc_tokens(100, 200).await.unwrap(), 3);
    assert_eq!(b.delete_expired_tc_tokens(100, 200).await.unwrap(), 0);
    let b = subject.reopen().await;
    let left = sorted(b.get_all_tc_token_jids().await.unwrap());
    assert_eq!(left, ["live placeholder", "live sender", "live token"]);
}

async fn many_tokens_expire(subject: &mut Subject) {
    let b = subject.backend();
    for n in 0..300i64 {
        let jid = n.to_string();
        b.store_received_tc_token(&jid, b"t", n).await.unwrap();
    }
    assert_eq!(b.delete_expired_tc_tokens(290, 0).await.unwrap(), 290);
    assert_eq!(b.get_all_tc_token_jids().await.unwrap().len(), 10);
}
