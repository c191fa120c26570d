//! Hostile senders and media servers: no other host is contacted, no more than the announced size is fetched, and a
//! slow transfer delays no other account.

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::{Value, json};

use crate::media_in::base64;
use crate::media_out::{noise, sha256};
use crate::support::{Phone, Server, World, eventually};

const ALICE: &str = "491700000001";
const BOB: &str = "491700000002";
const CAROL: &str = "491700000003";

/// What a stranger listens on.
struct Stranger(TcpListener);

impl Stranger {
    fn new() -> Stranger {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("a listener");
        Stranger(listener)
    }

    fn port(&self) -> u16 {
        self.0.local_addr().expect("an address").port()
    }

    /// Paths that lead here, or would lead elsewhere, behind a host's name.
    fn paths(&self) -> Vec<String> {
        let port = self.port();
        vec![
            format!("@127.0.0.1:{port}/v/x"),
            format!(":1@127.0.0.1:{port}/v/x"),
            format!("//127.0.0.1:{port}/v/x"),
            format!("/\\127.0.0.1:{port}/v/x"),
            format!("/\t@127.0.0.1:{port}/v/x"),
            format!("?@127.0.0.1:{port}/v/x"),
            ".evil.invalid/v/x".to_owned(),
        ]
    }

    /// Nothing has connected.
    fn heard_nothing(&self) {
        if let Ok((_, from)) = self.0.accept() {
            panic!("the server has connected to a stranger, from {from}");
        }
    }
}

fn path(id: &str) -> String {
    format!("/accounts/alice/messages/{id}/media")
}

/// Waits until a message is stored.
fn stored(world: &World, server: &Server, id: &str) {
    let path = format!("/accounts/alice/messages/{id}");
    eventually("the message", || {
        (world.api(server, "GET", &path, None).status == 200).then_some(())
    });
}

fn document(from: &Phone<'_>, to: &str, more: &Value) -> String {
    let mut body = json!({"to": to, "document": {"base64": base64(&noise(2_000))}});
    for (key, value) in more.as_object().expect("an object") {
        body["document"][key] = value.clone();
    }
    from.send(&body)
}

#[test]
fn a_path_in_a_message_reaches_no_other_host() {
    let stranger = Stranger::new();
    let evil = format!("@127.0.0.1:{}/v/x", stranger.port());
    let world = World::new();
    let server = world
        .options()
        .with("log.level", "debug")
        .with("media.auto_max_bytes", "1 KiB")
        .with("history.days", 30)
        .start();
    let carol = world.phone(CAROL, "Carol");
    // In the phone's history.
    world.phone(ALICE, "Alice");
    let old = document(&carol, ALICE, &json!({"directPath": evil}));
    let alice = world.pair(&server, "alice", ALICE);
    stored(&world, &server, &old);

    // In new messages, of every kind.
    let mut ids = vec![old];
    for kind in ["image", "video", "audio", "document", "sticker"] {
        for path in stranger.paths() {
            let file = json!({"base64": base64(b"small"), "directPath": path});
            ids.push(carol.send(&json!({"to": alice.jid(), kind: file})));
        }
    }
    for id in &ids {
        stored(&world, &server, id);
        let words = world.api(&server, "GET", &path(id), None).expect(404)["error"].clone();
        assert_eq!(
            words,
            "The file is gone: the message names no file at WhatsApp's media servers"
        );
        stranger.heard_nothing();
    }

    // In the phone's answer to a media retry.
    let id = document(&carol, &alice.jid(), &json!({}));
    stored(&world, &server, &id);
    world.fault(&json!({"kind": "expire-media"}));
    world.fault(&json!({"kind": "forge-retry-path", "path": evil, "count": 1}));
    let words = world.api(&server, "GET", &path(&id), None).expect(404)["error"].to_string();
    assert!(words.contains("named a place that is not"), "{words}");
    stranger.heard_nothing();

    // In a redirect of the media server's own.
    let id = document(&carol, &alice.jid(), &json!({}));
    stored(&world, &server, &id);
    world.fault(&json!({"kind": "redirect-downloads", "port": stranger.port(), "count": 1}));
    let words = world.api(&server, "GET", &path(&id), None).expect(500)["error"].to_string();
    assert!(words.contains("answered 302"), "{words}");
    stranger.heard_nothing();
    // Another path leads to the file.
    assert_eq!(world.api(&server, "GET", &path(&id), None).status, 200);

    // In what the client fetches for itself, unseen by the rest of this server.
    for n in 0..22 {
        let contacts = json!({"contacts": [{"number": CAROL, "name": format!("Carol {n}")}]});
        let path = format!("/phones/{BOB}/contacts");
        world.admin("POST", &path, Some(&contacts)).expect_success();
    }
    for kind in ["forge-history-path", "forge-app-state-path"] {
        world.fault(&json!({"kind": kind, "number": BOB, "path": evil, "count": 1}));
    }
    world
        .post(&server, "/accounts", &json!({"id": "bob"}))
        .expect(201);
    server.wait_log("bob: a QR code waits");
    let qr = world.get(&server, "/accounts/bob/status")["qr"].clone();
    let qr = qr.as_str().expect("a QR code");
    world.scan(BOB, "bob", qr).expect_success();
    server.wait_log("Failed to download history sync blob");
    server.wait_log("External blob fetch failed");
    stranger.heard_nothing();
    let unused = world.admin("GET", "/faults", None).expect_success();
    assert_eq!(unused, json!([]), "every lie was told");
}

/// The most bytes that lay in a folder at one time, while `act` ran.
fn most_on_disk(folder: PathBuf, act: impl FnOnce()) -> u64 {
    let (most, over) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let files = std::fs::read_dir(&folder).into_iter().flatten().flatten();
                let sizes = files.filter_map(|file| Some(file.metadata().ok()?.len()));
                most.fetch_max(sizes.sum(), Ordering::Relaxed);
                std::thread::yield_now();
            }
        });
        act();
        over.store(true, Ordering::Relaxed);
    });
    most.load(Ordering::Relaxed)
}

#[test]
fn no_more_of_a_file_is_fetched_than_its_message_announces() {
    let world = World::new();
    let server = world.options().with("media.download", "on-demand").start();
    let alice = world.pair(&server, "alice", ALICE);
    let carol = world.phone(CAROL, "Carol");
    let refused = |id: &str, words: &str| {
        stored(&world, &server, id);
        let answer = world.api(&server, "GET", &path(id), None);
        let said = answer.expect(404)["error"].to_string();
        assert!(said.contains(words), "{said}");
    };
    let too_long = "it is longer than its message says";
    let most = most_on_disk(world.options().data.join("tmp"), || {
        for fault in [
            json!({"kind": "overlong-downloads", "bytes": 50 << 20, "count": 1}),
            json!({"kind": "overlong-downloads", "bytes": 1, "count": 1}),
            json!({"kind": "endless-downloads", "count": 1}),
        ] {
            world.fault(&fault);
            refused(&document(&carol, &alice.jid(), &json!({})), too_long);
        }
        let content = base64(&noise(3_000_000));
        let lie = json!({"base64": content, "fileLength": 1_000});
        refused(&document(&carol, &alice.jid(), &lie), too_long);
    });
    assert!(most <= 64 << 10, "{most} bytes were written for 2,000");

    // Sizes that are missing or impossible.
    refused(
        &document(&carol, &alice.jid(), &json!({"fileLength": 1_u64 << 40})),
        "it has 1099511627776 bytes, and at most 536870912 are fetched",
    );
    for length in [0, 2_001, 5_000_000] {
        let id = document(&carol, &alice.jid(), &json!({"fileLength": length}));
        stored(&world, &server, &id);
        let file = world.api(&server, "GET", &path(&id), None);
        assert_eq!(
            file.status,
            200,
            "{length}: {}",
            String::from_utf8_lossy(&file.bytes)
        );
        assert_eq!(sha256(&file.bytes), sha256(&noise(2_000)));
    }
}

#[test]
fn a_slow_transfer_delays_no_other_account() {
    let world = World::new();
    let server = world.options().with("media.patience", "5s").start();
    let alice = world.pair(&server, "alice", ALICE);
    world.pair(&server, "bob", BOB);
    let carol = world.phone(CAROL, "Carol");
    for fault in ["drip-downloads", "stall-uploads"] {
        world.fault(&json!({"kind": fault, "number": ALICE, "ms": 300}));
    }
    let ids: Vec<String> = (0..8)
        .map(|_| document(&carol, &alice.jid(), &json!({})))
        .collect();
    ids.iter().for_each(|id| stored(&world, &server, id));
    let send = |account: &str| {
        let file = json!({"to": CAROL, "base64": base64(&noise(2_000)), "fileName": "x.bin"});
        world.post(
            &server,
            &format!("/accounts/{account}/message/send/document"),
            &file,
        )
    };
    std::thread::scope(|scope| {
        // Alice's downloads and uploads hang.
        let waits: Vec<_> = ids
            .iter()
            .map(|id| scope.spawn(|| world.api(&server, "GET", &path(id), None)))
            .collect();
        let uploads: Vec<_> = (0..4).map(|_| scope.spawn(|| send("alice"))).collect();
        // Bob's do not, nor wait for hers.
        for _ in 0..3 {
            let id = document(&carol, BOB, &json!({}));
            let path = format!("/accounts/bob/messages/{id}/media");
            eventually("bob's file", || {
                (world.api(&server, "GET", &path, None).status == 200).then_some(())
            });
            send("bob").expect(200);
        }
        assert!(
            waits.iter().any(|wait| !wait.is_finished()),
            "hers still wait"
        );
        for wait in waits {
            let words = wait.join().expect("an answer").expect(500)["error"].to_string();
            // No upper limit: this machine may be busy.
            assert!(words.contains(" bytes moved in "), "{words}");
        }
        for upload in uploads {
            let answer = upload.join().expect("an answer");
            assert_eq!(
                answer.status,
                500,
                "{}",
                String::from_utf8_lossy(&answer.bytes)
            );
        }
    });
    // Stalled transfers time out, too, and can be repeated later.
    world.fault(&json!({"kind": "clear"}));
    world.fault(&json!({"kind": "stall-downloads", "number": ALICE, "count": 1}));
    world.api(&server, "GET", &path(&ids[0]), None).expect(500);
    assert_eq!(world.api(&server, "GET", &path(&ids[0]), None).status, 200);
    send("alice").expect(200);
}
