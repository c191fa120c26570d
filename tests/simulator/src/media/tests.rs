use std::io::{ErrorKind, Read as _, Write as _};
use std::rc::Rc;

use super::spool::Room;
use super::{Kind, MediaStore, Missing, Spool, token_of};

const NUMBER: &str = "15550000001";
const NOW: u64 = 1_795_351_427;

fn store() -> MediaStore {
    MediaStore::new(
        MediaStore::place().expect("a folder"),
        "127.0.0.1:1".to_owned(),
        1,
    )
}

fn read(blob: &super::Blob) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut file = blob.open().expect("a file");
    file.read_to_end(&mut bytes).expect("bytes");
    bytes
}

#[test]
fn stored_files_are_found_only_under_their_path() {
    let mut store = store();
    let stored = store
        .put_bytes(Kind::Image, b"cipher", NUMBER, NOW)
        .expect("stored");
    assert_eq!(
        stored.url,
        format!("https://127.0.0.1:1{}&mms3=true", stored.direct_path)
    );
    let blob = store.open(&stored.direct_path, NOW).expect("there");
    assert_eq!(read(&blob), b"cipher");
    assert_eq!((blob.len(), *blob.sha256()), (6, stored.sha256));

    let right = super::path::base64(&stored.sha256);
    let appended = format!("{}?auth=a&token={right}", stored.direct_path);
    assert!(store.open(&appended, NOW).is_ok());
    let wrong = format!("{}?auth=a&token={}", stored.direct_path, "A".repeat(43));
    let bare = stored.direct_path.split('?').next().expect("a path");
    let later = stored.direct_path.replace("&oe=", "&oe=1");
    for forged in [wrong.as_str(), bare, &later] {
        assert_eq!(
            store.open(forged, NOW).expect_err(forged),
            Missing::Forged,
            "{forged}"
        );
    }
    let other = stored.direct_path.replace("_n.enc", "0_n.enc");
    assert_eq!(
        store.open(&other, NOW).expect_err("nothing"),
        Missing::Unknown
    );
}

#[test]
fn a_path_expires_by_time_and_by_order() {
    let mut store = store();
    let one = store
        .put_bytes(Kind::Audio, b"1", NUMBER, NOW)
        .expect("stored");
    let two = store
        .put_bytes(Kind::Audio, b"2", "15550000002", NOW)
        .expect("stored");
    let blob = store.open(&one.direct_path, NOW).expect("there");
    assert_eq!(
        store
            .open(&one.direct_path, NOW + super::LIFETIME_SECS + 1)
            .expect_err("late"),
        Missing::Expired
    );
    assert_eq!(store.expire(Some(NUMBER), Missing::Expired), 1);
    assert_eq!(
        store.open(&one.direct_path, NOW).expect_err("expired"),
        Missing::Expired
    );
    assert!(store.find(Kind::Audio, &one.sha256, NOW).is_none());
    assert!(store.open(&two.direct_path, NOW).is_ok());

    // A client that still has the file uploads it again.
    let again = store.put(Kind::Audio, blob, NUMBER, NOW);
    assert_ne!(again.direct_path, one.direct_path);
    assert_eq!(
        store.find(Kind::Audio, &one.sha256, NOW),
        Some(again.clone())
    );
    assert!(store.open(&again.direct_path, NOW).is_ok());
}

#[test]
fn files_are_bounded_and_give_their_room_back() {
    let dir = tempfile::tempdir().expect("a folder");
    let room = Room::new(10);
    let spool = |limit| Spool::new(dir.path(), room.clone(), limit).expect("a file");
    let mut small = spool(4);
    small.write_all(b"1234").expect("fits");
    let error = small.write_all(b"5").expect_err("too large");
    assert_eq!(error.kind(), ErrorKind::FileTooLarge);
    let blob = Rc::new(small.finish().expect("complete"));

    let mut large = spool(100);
    let error = large.write_all(b"1234567").expect_err("no room");
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    drop(blob);
    large.write_all(b"1234567").expect("room again");
    drop(large);
    assert_eq!(
        std::fs::read_dir(dir.path()).expect("a folder").count(),
        0,
        "no file stays behind"
    );
}

#[test]
fn a_broken_upload_is_taken_up_where_it_broke_off() {
    let mut store = store();
    let hash = [7; 32];
    let mut spool = store.spool().expect("a file");
    spool.write_all(b"abc").expect("written");
    store.keep_partial(hash, spool);
    assert_eq!(store.partial_len(&hash), Some(3));
    assert!(store.take_partial(&hash, 2).is_none());
    let mut spool = store.take_partial(&hash, 3).expect("there");
    spool.write_all(b"def").expect("written");
    assert_eq!(read(&spool.finish().expect("complete")), b"abcdef");
    assert_eq!(store.partial_len(&hash), None);
}

#[test]
fn tokens_are_read_with_and_without_padding() {
    let text = super::path::base64(&[250; 32]);
    assert_eq!(token_of(&text), Some([250; 32]));
    assert_eq!(token_of(&format!("{text}=")), Some([250; 32]));
    assert_eq!(token_of("AAAA"), None);
    assert_eq!(token_of("not base64"), None);
}

#[test]
fn an_auth_token_names_its_number() {
    let mut store = store();
    let auth = store.auth_for(NUMBER);
    assert_eq!(store.account_of(&auth), Some(NUMBER));
    assert_eq!(store.account_of("another"), None);
    assert_ne!(auth, store.auth_for("15550000002"));
}
