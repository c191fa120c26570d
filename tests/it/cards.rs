//! Memory cards that are slow, that fail, that become read-only; and directories that cannot be used.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::media_in::base64;
use crate::media_out::noise;
use crate::support::{Board, Form, Phone, Server, World, eventually, not_tested};

const ALICE: &str = "491700000001";
const BOB: &str = "491700000002";
const SEND: &str = "/accounts/alice/message/send";
const EIO: i64 = libc::EIO as i64;
const EROFS: i64 = libc::EROFS as i64;

fn texts(world: &World, server: &Server) -> Vec<String> {
    let path = format!("/accounts/alice/chats/{BOB}@s.whatsapp.net/messages?limit=100");
    let answer = world.api(server, "GET", &path, None);
    let page = answer.json();
    let messages = page["messages"].as_array().cloned().unwrap_or_default();
    let text = |m: &Value| m["text"].as_str().unwrap_or_default().to_owned();
    messages.iter().rev().map(text).collect()
}

/// Pairs alice, whom Bob has written "before".
fn begin<'a>(world: &'a World, server: &Server) -> Phone<'a> {
    world.pair(server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    bob.say(ALICE, "before");
    eventually("the first message", || {
        (texts(world, server) == ["before"]).then_some(())
    });
    bob
}

#[test]
fn a_slow_card_slows_nothing_else() {
    const MESSAGES: usize = 12;
    let world = World::new();
    let mut options = world.options();
    let board = Board::under(&mut options);
    let server = options.start();
    let bob = begin(&world, &server);

    let mark = server.log_mark();
    board.sync_ms.store(3_000, Ordering::SeqCst);
    let before = board.syncs.load(Ordering::SeqCst);
    let done = AtomicBool::new(false);
    let longest = |path: &str| {
        let mut longest = Duration::ZERO;
        let mut count = 0;
        while !done.load(Ordering::SeqCst) {
            let began = Instant::now();
            world.get(&server, path);
            longest = longest.max(began.elapsed());
            count += 1;
        }
        (longest, count)
    };
    let chat = format!("/accounts/alice/chats/{BOB}@s.whatsapp.net/messages");
    let (ping, read) = std::thread::scope(|scope| {
        let ping = scope.spawn(|| longest("/ping"));
        let read = scope.spawn(|| longest(&chat));
        let mut expected = vec!["before".to_owned()];
        for n in 0..MESSAGES {
            let text = format!("message {n}");
            bob.say(ALICE, &text);
            expected.push(text);
        }
        // A send waits for the disk before it leaves, and is answered.
        let sent = world.post(&server, SEND, &json!({"to": BOB, "message": "slowly"}));
        let sent = sent.expect(200);
        assert!(sent["messageId"].is_string(), "{sent}");
        eventually("all messages", || {
            let mut texts = texts(&world, &server);
            texts.retain(|text| text != "slowly");
            (texts.len() > MESSAGES).then(|| assert_eq!(texts, expected))
        });
        done.store(true, Ordering::SeqCst);
        (ping.join().expect("pings"), read.join().expect("reads"))
    });
    let syncs = board.syncs.load(Ordering::SeqCst) - before;
    let beat = world.get(&server, "/health")["eventThread"].clone();
    println!("{syncs} syncs of 3 s; /ping {ping:?}, GET messages {read:?}; {beat}");
    assert!(syncs >= 2, "the board was slow");
    // A tenth of a sync: nothing waits for one. Machines that test may be busy.
    for (longest, count) in [ping, read] {
        assert!(
            longest < Duration::from_millis(300) && count > 20,
            "{longest:?} of {count}"
        );
    }
    assert_eq!(bob.received(1).len(), 1);
    let log = server.log();
    let since = log.lines().skip(mark).collect::<Vec<_>>();
    assert_eq!(since, [""; 0], "no connection was lost");
}

/// Lives through a card that refuses what `break_it` makes it refuse.
fn a_card_that_fails(break_it: impl Fn(&Board), words: &str, advice: &str) {
    let world = World::new();
    let mut options = world.options();
    let board = Board::under(&mut options);
    let server = options.start();
    let bob = begin(&world, &server);
    let mark = server.log_mark();
    break_it(&board);
    let mut expected = vec!["before".to_owned()];
    for n in 0..10 {
        let text = format!("message {n}");
        bob.say(ALICE, &text);
        expected.push(text);
    }
    let said = server.wait_log_from(mark, "storage: a commit of");
    assert!(said.contains(words), "{said}");
    server.wait_log_from(mark, "alice: reconnecting: the storage failed");
    // Sends get a clear error, reads work, `/health` reports it.
    let refused = eventually("the refusal", || {
        let answer = world.post(&server, SEND, &json!({"to": BOB, "message": "meanwhile"}));
        // Before the commit fails, the message is under way; after it, the account is not connected.
        assert!([400, 503].contains(&answer.status), "{answer:?}");
        (answer.status == 503).then(|| answer.json())
    });
    let told = refused["error"].as_str().unwrap_or_default();
    assert!(told.contains(advice), "{told}");
    let health = world.api(&server, "GET", "/health", None).expect(503);
    let problem = health["storage"]["problem"].as_str().unwrap_or_default();
    assert!(problem.contains(advice), "{health}");
    assert_eq!(texts(&world, &server)[0], "before");
    // It is logged once: the sessions probe every 3 s.
    let syncs = board.syncs.load(Ordering::SeqCst);
    eventually("more tries", || {
        let answer = world.post(&server, SEND, &json!({"to": BOB, "message": "meanwhile"}));
        assert_eq!(answer.status, 503);
        let tried = board.syncs.load(Ordering::SeqCst) >= syncs + 2;
        (tried || board.write_error.load(Ordering::SeqCst) != 0).then_some(())
    });
    let lines = server
        .log()
        .lines()
        .skip(mark)
        .filter(|l| l.contains("a commit of"))
        .count();
    assert_eq!(lines, 1, "{}", server.log());

    let mark = server.log_mark();
    for field in [&board.sync_error, &board.write_error] {
        field.store(0, Ordering::SeqCst);
    }
    server.wait_log_from(mark, "alice: connected");
    eventually("all messages, each once", || {
        let mut found = texts(&world, &server);
        (found.len() >= expected.len()).then(|| {
            found.sort();
            let mut expected = expected.clone();
            expected.sort();
            assert_eq!(found, expected);
        })
    });
    let sent = world.post(&server, SEND, &json!({"to": BOB, "message": "after"}));
    sent.expect(200);
    let got = bob.received(1);
    assert_eq!(got[0]["text"], "after", "what was refused did not go");
    eventually("health", || {
        (world.api(&server, "GET", "/health", None).status == 200).then_some(())
    });
}

#[test]
fn failing_syncs_lose_and_duplicate_nothing() {
    a_card_that_fails(
        |board| board.sync_error.store(EIO, Ordering::SeqCst),
        "the card or disk fails (dmesg tells)",
        "the disk may have failed: the log says how",
    );
}

#[test]
fn a_read_only_file_system_loses_and_duplicates_nothing() {
    a_card_that_fails(
        |board| board.write_error.store(EROFS, Ordering::SeqCst),
        "the file system is read-only: mount it writable",
        "the file system is read-only: mount it writable",
    );
}

#[test]
fn a_failed_commit_ends_the_server_and_loses_nothing() {
    let world = World::new();
    let mut options = world.options();
    let board = Board::under(&mut options);
    let mut server = options.start();
    let bob = begin(&world, &server);
    board.meta_error.store(EIO, Ordering::SeqCst);
    bob.say(ALICE, "meanwhile");
    let status = server.wait();
    assert_eq!(status.code(), Some(1), "what Restart=on-failure looks at");
    let last = "the database must be opened anew; start again (systemd does by itself)";
    server.wait_log(last);
    board.meta_error.store(0, Ordering::SeqCst);
    let server = options.start();
    server.wait_log("alice: connected");
    eventually("both messages", || {
        (texts(&world, &server) == ["before", "meanwhile"]).then_some(())
    });
    let sent = world.post(&server, SEND, &json!({"to": BOB, "message": "after"}));
    sent.expect(200);
    assert_eq!(bob.received(1).len(), 1);
}

/// What the server logs when a wrapper starts it with a data directory that cannot be used.
fn refusal(world: &World, wrapper: &[String]) -> Option<String> {
    let mut server = world.options().under(wrapper).spawn();
    let status = server.wait();
    let log = server.log();
    if log.contains("unshare: ") || log.contains("mount: ") {
        not_tested(&format!("no file system can be mounted here: {log}"));
        return None;
    }
    assert_eq!(status.code(), Some(1), "{log}");
    Some(log)
}

fn mounted(data: &Path, options: &str, then: &str) -> Vec<String> {
    let data = data.display();
    let script = format!("mount -t tmpfs -o {options} none {data} && {then} exec \"$@\"");
    ["unshare", "-rm", "sh", "-c", &script, "sh"]
        .map(Into::into)
        .to_vec()
}

#[test]
fn an_unusable_data_directory_is_reported_with_advice() {
    let world = World::new();
    let data = world.options().data;
    std::fs::create_dir(&data).expect("a directory");
    if let Some(said) = refusal(&world, &mounted(&data, "ro", "")) {
        let words =
            "Read-only file system (os error 30): mount it writable, or choose another place";
        assert!(said.contains(words), "{said}");
        assert!(said.contains(&*data.to_string_lossy()), "{said}");
    }
    let fill = format!(
        "head -c 1m /dev/zero > {}/filler 2>/dev/null;",
        data.display()
    );
    if let Some(said) = refusal(&world, &mounted(&data, "size=64k", &fill)) {
        let words = "storage is full: no space left on the disk: make room";
        assert!(said.contains(words), "{said}");
    }
    // Another user's.
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(data.join("something"), "").expect("written");
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o555)).expect("set");
    let root = Command::new("id").arg("-u").output().expect("id").stdout == b"0\n";
    let wrapper = match root {
        // Root may write everywhere except here.
        true => ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
            .map(Into::into)
            .to_vec(),
        false => Vec::new(),
    };
    if let Some(said) = refusal(&world, &wrapper) {
        assert!(
            said.contains("it must belong to the user that runs wildcat"),
            "{said}"
        );
    }
}

#[test]
fn a_full_disk_refuses_files_and_leaves_no_remains() {
    let world = World::new();
    let ignoring = ["sh", "-c", "trap '' XFSZ; exec \"$@\"", "sh"];
    let options = world.options().under(ignoring);
    let server = options.start();
    let bob = begin(&world, &server);
    // There is room for messages, and none for a file of this size.
    let database = options.data.join("db/data.mdb");
    let room = std::fs::metadata(&database).expect("a database").len() + (2 << 20);
    let limit = |bytes: &str| {
        let pid = server.pid().to_string();
        let limited = Command::new("prlimit")
            .args(["--pid", &pid, &format!("--fsize={bytes}:")])
            .status();
        assert!(limited.expect("prlimit").success());
    };
    limit(&room.to_string());
    let content = noise(5 << 20);
    let (kind, body) = Form::new()
        .field("to", BOB)
        .file("document", "a.bin", "application/octet-stream", &content)
        .build();
    let url = format!("{}{SEND}/document", server.base());
    let post = || world.http().send("POST", &url, &kind, Some(body.clone()));
    let refused = post().expect(503);
    let words = refused["error"].as_str().unwrap_or_default();
    assert!(
        words.starts_with("The file could not be stored: storage is full")
            && words.contains("make room"),
        "{words}"
    );
    let document =
        json!({"base64": base64(&content), "fileName": "x.bin", "mimetype": "application/x"});
    let id = bob.send(&json!({"to": ALICE, "document": document}));
    bob.say(ALICE, "behind it");
    eventually("both messages", || {
        let found = texts(&world, &server);
        (found.len() == 3 && found[2] == "behind it").then_some(())
    });
    let path = format!("/accounts/alice/messages/{id}/media");
    let unavailable = world.api(&server, "GET", &path, None).expect(500);
    let words = unavailable["error"].as_str().unwrap_or_default();
    assert!(
        words.starts_with("The file could not be fetched"),
        "{words}"
    );
    let folder = |name: &str| {
        std::fs::read_dir(options.data.join(name)).map_or(0, |entries| entries.count())
    };
    assert_eq!(folder("tmp"), 0, "nothing is left");
    world.get(&server, "/accounts/alice/status");
    limit("unlimited");
    // Afterwards both go.
    post().expect(200);
    assert_eq!(bob.received(1).len(), 1);
    let fetched = eventually("the file", || {
        let answer = world.api(&server, "GET", &path, None);
        (answer.status == 200).then_some(answer)
    });
    assert_eq!(fetched.bytes, content);
    assert!(
        !server.log().contains("alice: reconnecting"),
        "{}",
        server.log()
    );
}
