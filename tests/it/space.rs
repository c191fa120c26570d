//! Full disks and size limits: nothing is lost, and the server recovers.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use wildcat::message::{Message, MessageKind};
use wildcat::store::messages::{self, Arrival};
use wildcat::store::{Options, Store, accounts};

use crate::media_in::base64;
use crate::media_out::noise;
use crate::pages::walk;
use crate::support::{DEADLINE, Server, ServerOptions, World, eventually, not_tested};

const ALICE: &str = "491700000001";
const BOB: &str = "491700000002";
const CAROL: &str = "491700000003";
const SEND: &str = "/accounts/alice/message/send";

/// Messages that come while the disk is full.
const MEANWHILE: usize = 40;

fn chat(of: &str) -> String {
    format!("/accounts/alice/chats/{of}@s.whatsapp.net/messages?limit=100")
}

/// How the texts of a chat begin, on all its pages.
fn texts(world: &World, server: &Server, chat: &str) -> Vec<String> {
    let (messages, _) = walk(world, server, chat, "messages");
    let text = |m: &Value| m["text"].as_str().unwrap_or_default()[..10].to_owned();
    messages.iter().rev().map(text).collect()
}

/// A text of some database pages that begins with its number.
fn long(n: usize) -> String {
    format!("message {n:02}{}", "x".repeat(20_000))
}

/// Lives through a full disk: `fill` makes it so, `free` makes room again.
fn a_full_disk(world: &World, server: &Server, fill: impl Fn(), free: impl Fn()) {
    world.pair(server, "alice", ALICE);
    let (bob, carol) = (world.phone(BOB, "Bob"), world.phone(CAROL, "Carol"));
    let sent = world.post(server, SEND, &json!({"to": CAROL, "message": "before"}));
    sent.expect(200);
    let first = bob.say(ALICE, &long(0));
    eventually("the first message", || {
        let path = format!("/accounts/alice/messages/{first}");
        (world.api(server, "GET", &path, None).status == 200).then_some(())
    });

    let mark = server.log_mark();
    fill();
    let mut expected: Vec<String> = (0..=MEANWHILE).map(|n| long(n)[..10].to_owned()).collect();
    for n in 1..=MEANWHILE {
        bob.say(ALICE, &long(n));
    }
    server.wait_log_from(
        mark,
        "the session starts again: the storage failed: storage is full",
    );
    // Sends get a clear error, reads work.
    let refused = eventually("the refusal", || {
        let answer = world.post(server, SEND, &json!({"to": CAROL, "message": "meanwhile"}));
        assert!(
            [400, 503].contains(&answer.status),
            "nothing can be kept of it: {answer:?}"
        );
        (answer.status == 503).then_some(answer)
    });
    let words = refused.json()["error"].to_string();
    assert!(
        words.contains("The storage is full or unavailable: storage is full: no space left")
            && words.contains("make room"),
        "{words}"
    );
    let health = world.api(server, "GET", "/health", None).expect(503);
    let problem = health["storage"]["problem"].as_str().unwrap_or_default();
    assert!(problem.starts_with("storage is full: "), "{health}");
    assert!(health["storage"]["since"].is_string(), "{health}");
    let status = world.get(server, "/accounts/alice/status");
    assert_ne!(status["status"], "connected", "{status}");
    let words = status["lastError"].as_str().unwrap_or_default();
    assert!(words.contains("storage is full"), "{status}");
    let found = texts(world, server, &chat(BOB));
    assert!(found.len() <= MEANWHILE, "some were not stored");

    let mark = server.log_mark();
    free();
    server.wait_log_from(mark, "alice: connected");
    eventually("all messages", || {
        let page = world.get(server, &chat(BOB));
        (page["pagination"]["total"].as_u64() >= Some(1 + MEANWHILE as u64)).then_some(())
    });
    let mut found = texts(world, server, &chat(BOB));
    // Within a second their order is that of their arrival.
    found.sort();
    expected.sort();
    assert_eq!(found, expected, "each once");
    let sent = world.post(server, SEND, &json!({"to": CAROL, "message": "after"}));
    sent.expect(200);
    carol.received(2);
    let got: Vec<_> = carol.all_received();
    let got: Vec<_> = got.iter().filter_map(|m| m["text"].as_str()).collect();
    assert_eq!(got, ["before", "after"], "what was refused did not go");
}

/// A server that lives with SIGXFSZ ignored, as its limits below need it.
fn with_limits(world: &World) -> Server {
    let ignoring = ["sh", "-c", "trap '' XFSZ; exec \"$@\"", "sh"];
    world.options().under(ignoring).start()
}

/// Sets how large files of that process may become.
fn limit_files(server: &Server, bytes: &str) {
    let limited = Command::new("prlimit")
        .args([
            "--pid",
            &server.pid().to_string(),
            &format!("--fsize={bytes}:"),
        ])
        .status();
    assert!(limited.expect("prlimit").success());
}

#[test]
fn a_file_size_limit_loses_and_duplicates_nothing() {
    let world = World::new();
    let server = with_limits(&world);
    let file = world.options().data.join("db/data.mdb");
    a_full_disk(
        &world,
        &server,
        || {
            let size = std::fs::metadata(&file).expect("a database").len();
            limit_files(&server, &size.to_string());
        },
        || limit_files(&server, "unlimited"),
    );
}

/// Puts an old message into a data directory that no server uses.
fn seed(data: &Path, timestamp: u64) {
    let store = Store::open(data, Options::default()).expect("opened");
    let mut message = Message {
        text: Some("old".into()),
        ..Message::empty(
            "alice",
            "OLD",
            format!("{BOB}@s.whatsapp.net"),
            MessageKind::Text,
            timestamp,
        )
    };
    smol::block_on(store.write(move |tx| {
        let account = accounts::number(&tx.view(), "alice")?.expect("alice");
        messages::insert(tx, account, &mut message, None, Arrival::History)
    }))
    .expect("stored");
    smol::block_on(store.close(DEADLINE)).expect("closed");
    // A process forked by another test holds this lock until its exec.
    std::fs::remove_file(data.join("wildcat.lock")).expect("removed");
}

/// Whether this user may have a file system of his own.
pub fn may_mount() -> bool {
    Command::new("unshare")
        .args([
            "-rm", "mount", "-t", "tmpfs", "-o", "size=1m", "none", "/mnt",
        ])
        .output()
        .is_ok_and(|output| output.status.success())
}

/// A server with its data directory on a separate disk, and the path of that directory from here.
fn on_a_disk_of(size: &str, options: &ServerOptions) -> (Server, PathBuf) {
    std::fs::create_dir(&options.data).expect("a directory");
    let mount = format!(
        "mount -t tmpfs -o size={size} none {} && exec \"$@\"",
        options.data.display()
    );
    let mounting = ["unshare", "-rm", "sh", "-c", &mount, "sh"];
    let server = options.clone().under(mounting).start();
    let inside = PathBuf::from(format!("/proc/{}/root", server.pid()));
    let data = inside.join(options.data.strip_prefix("/").expect("an absolute path"));
    (server, data)
}

#[test]
fn a_full_disk_loses_and_duplicates_nothing() {
    if !may_mount() {
        not_tested("no file system can be mounted here");
        return;
    }
    let world = World::new();
    let (server, data) = on_a_disk_of("16m", &world.options());
    let filler = data.join("filler");
    a_full_disk(
        &world,
        &server,
        || fill_up(&filler),
        || std::fs::remove_file(&filler).expect("removed"),
    );
}

/// Writes until nothing more fits.
fn fill_up(path: &Path) {
    use std::io::Write as _;
    let mut file = std::fs::File::create(path).expect("a file");
    for piece in [vec![1; 64 << 10], vec![1; 512]] {
        while file.write_all(&piece).is_ok() {}
    }
}

#[test]
fn old_messages_and_the_oldest_files_are_removed() {
    let world = World::new();
    let mut options = world.options();
    let server = options.start();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    bob.say(ALICE, "new");
    let mut media = Vec::new();
    for n in 0..3 {
        let file = base64(&noise(700_000 + n));
        let document = json!({"base64": file, "fileName": "x.bin", "mimetype": "application/x"});
        let id = bob.send(&json!({"to": ALICE, "document": document}));
        let path = format!("/accounts/alice/messages/{id}/media");
        eventually("the file", || {
            (world.api(&server, "GET", &path, None).status == 200).then_some(())
        });
        media.push(path);
    }
    server.kill();

    // A message of long ago, as an earlier version of this server may have stored it.
    let day = 24 * 60 * 60 * 1_000;
    seed(&options.data, wildcat::clock::now() - 40 * day);
    let server = options.start();
    let old = "/accounts/alice/messages/OLD";
    assert_eq!(world.get(&server, old)["message"]["text"], "old");
    server.kill();

    options = options.with("storage.keep_days", 30);
    options = options.with("media.max_bytes", "1 MiB");
    let server = options.start();
    server.wait_log("1 of the oldest messages removed");
    server.wait_log("2 of the oldest files removed");
    assert_eq!(world.api(&server, "GET", old, None).status, 404);
    let page = world.get(&server, &chat(BOB));
    assert_eq!(page["pagination"]["total"], 4, "{page}");
    let listed = world.get(&server, "/media");
    assert_eq!(
        listed["media"].as_array().map(Vec::len),
        Some(1),
        "{listed}"
    );
    let kept = std::fs::read_dir(options.data.join("media/1")).expect("a folder");
    assert_eq!(kept.count(), 1);
    // A removed file is fetched again on request.
    server.wait_log("alice: connected");
    for path in &media {
        assert_eq!(world.api(&server, "GET", path, None).status, 200);
    }
}

#[test]
fn files_leave_a_tenth_of_the_disk_free() {
    if !may_mount() {
        not_tested("no file system can be mounted here");
        return;
    }
    let world = World::new();
    let (server, data) = on_a_disk_of("40m", &world.options());
    world.pair(&server, "alice", ALICE);
    let health = world.get(&server, "/health");
    assert_eq!(health["media"], json!({"makingRoom": false, "since": null}));
    let bob = world.phone(BOB, "Bob");
    let mut paths = Vec::new();
    for n in 0..4 {
        let file = base64(&noise(3_000_000 + n));
        let id = bob.send(&json!({"to": ALICE, "document": {"base64": file}}));
        let path = format!("/accounts/alice/messages/{id}/media");
        eventually("the file", || {
            (world.api(&server, "GET", &path, None).status == 200).then_some(())
        });
        paths.push(path);
    }
    let folder = data.join("media/1");
    let kept = || std::fs::read_dir(&folder).map_or(0, Iterator::count);
    assert_eq!(kept(), 4);

    // Others fill the disk: 3 MB are left, and 4 are to be.
    let filler = data.join("filler");
    let free = rustix::fs::statvfs(&data).expect("a disk");
    let free = free.f_bavail * free.f_frsize;
    let file = std::fs::File::create(&filler).expect("a file");
    let most = free.saturating_sub(3_000_000);
    std::io::copy(
        &mut std::io::Read::take(std::io::repeat(1), most),
        &mut &file,
    )
    .expect("room");
    // The next received file shows it.
    let small = |n: usize| {
        let file = base64(&noise(100 + n));
        bob.send(&json!({"to": ALICE, "document": {"base64": file}}));
    };
    small(1);
    server.wait_log("from now on the oldest files go");
    eventually("room", || (kept() == 4).then_some(()));
    let health = world.get(&server, "/health");
    assert_eq!(
        (&health["healthy"], &health["media"]["makingRoom"]),
        (&json!(true), &json!(true))
    );
    assert!(health["media"]["since"].is_string(), "{health}");
    // The oldest went; it can be had again.
    let listed = world.get(&server, "/media")["media"].clone();
    let listed = listed.as_array().expect("a list").clone();
    assert!(
        listed
            .iter()
            .all(|medium| medium["mediaUrl"] != paths[0].as_str()),
        "{listed:?}"
    );
    assert_eq!(world.api(&server, "GET", &paths[0], None).status, 200);

    std::fs::remove_file(&filler).expect("removed");
    small(2);
    server.wait_log("the disk has room for files of messages again");
    assert_eq!(world.get(&server, "/health")["media"]["makingRoom"], false);
    let log = server.log();
    assert_eq!(
        log.matches("from now on the oldest files go").count(),
        1,
        "{log}"
    );
}
