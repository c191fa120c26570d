//! The log (short, with priorities in the journal), and signals.

use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::json;

use crate::support::{Time, World, eventually};

const ALICE: &str = "491700000001";

#[test]
fn an_idle_day_logs_a_handful_of_lines() {
    let world = World::new();
    let mut options = world.options();
    // A ping for each second instead of each forty.
    options = options.with("whatsapp.silence", "1s");
    let time = Time::of(&mut options);
    let server = options.start();
    world.pair(&server, "alice", ALICE);
    let pings = || {
        let stanzas = world.admin("GET", "/stanzas", None).expect(200);
        let stanzas = stanzas.as_array().expect("stanzas").clone();
        let is_ping = |entry: &&serde_json::Value| {
            entry["direction"] == "in" && entry["stanza"]["attrs"]["xmlns"] == "w:p"
        };
        stanzas.iter().filter(is_ping).count()
    };
    let mark = server.log_mark();
    for _night in 0..2 {
        let before = pings();
        eventually("some pings", || (pings() >= before + 5).then_some(()));
        // Requests of monitors and dashboards.
        for path in [
            "/ping",
            "/health",
            "/accounts",
            "/events",
            "/accounts/alice/chats",
        ] {
            world.get(&server, path);
        }
        // WhatsApp restarts its streams at night, and is left alone for a minute or two then.
        let ended = server.log_mark();
        world.fault(&json!({"kind": "stream-error", "code": 503, "number": ALICE}));
        server.wait_log_from(ended, "alice: reconnecting");
        time.passes(Duration::from_secs(180));
        server.wait_log_from(ended, "alice: connected");
    }
    let log = server.log();
    // WhatsApp's clock was not moved, which is logged.
    let of_the_night = |line: &&str| !line.contains("the clock ");
    let lines: Vec<_> = log.lines().skip(mark).filter(of_the_night).collect();
    assert_eq!(lines.len(), 4, "two a reconnection: {lines:?}");
}

/// Starts a server whose standard error is a socket that systemd calls the journal.
fn into_journal(world: &World, args: &[&str]) -> (std::process::Child, UnixStream) {
    let (ours, theirs) = UnixStream::pair().expect("a socket");
    let file = theirs.as_fd().try_clone_to_owned().expect("a file");
    let metadata = std::fs::File::from(file).metadata().expect("its name");
    let named = format!("{}:{}", metadata.dev(), metadata.ino());
    let options = world.options();
    let child = Command::new(env!("CARGO_BIN_EXE_wildcat"))
        .args(args)
        .arg("--data")
        .arg(&options.data)
        .env_clear()
        .envs(options.variables())
        .env("WILDCAT_SERVER_LISTEN", "127.0.0.1:0")
        .env("JOURNAL_STREAM", named)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(std::os::fd::OwnedFd::from(theirs))
        .spawn()
        .expect("the binary starts");
    (child, ours)
}

#[test]
fn the_journal_gets_priorities_without_times() {
    let world = World::new();
    let (mut child, mut journal) = into_journal(&world, &["run"]);
    let mut said = String::new();
    let mut piece = [0; 4096];
    while !said.contains("listening on") {
        let count = journal.read(&mut piece).expect("a line");
        assert!(count > 0, "{said}");
        said.push_str(&String::from_utf8_lossy(&piece[..count]));
    }
    assert!(said.starts_with("<4>this is a sandbox build"), "{said}");
    assert!(
        said.contains("\n<6>listening on http://127.0.0.1:"),
        "{said}"
    );
    // Another that cannot start says so with the priority of an error.
    let (mut second, mut journal) = into_journal(&world, &["run"]);
    let mut said = String::new();
    journal.read_to_string(&mut said).expect("its words");
    let last = said.lines().last().unwrap_or_default();
    assert!(
        last.starts_with("<3>") && last.contains("is in use by another wildcat"),
        "{said}"
    );
    assert_eq!(second.wait().expect("its end").code(), Some(1));
    child.kill().expect("killed");
    child.wait().expect("its end");

    // The JOURNAL_STREAM of another process, inherited through a pipe.
    let server = world.options().env("JOURNAL_STREAM", "1:2").start();
    let line = server.wait_log("listening on");
    assert!(
        line.starts_with("20") && line.contains("Z INFO  listening"),
        "{line}"
    );
    assert!(!server.log().contains('\x1b'), "no colours");
}

#[test]
fn sighup_stops_it_cleanly_except_under_nohup() {
    let world = World::new();
    // These tests may be run by nohup themselves.
    let not_ignored = world.options().under(["env", "--default-signal=HUP"]);
    let mut server = not_ignored.start();
    server.signal("HUP");
    assert!(server.wait().success());
    server.wait_log("stopped");
    let mut server = world.options().under(["nohup"]).start();
    server.signal("HUP");
    world.get(&server, "/ping");
    server.signal("TERM");
    assert!(server.wait().success());
    assert_eq!(
        server.log().matches("stopping").count(),
        1,
        "by the second signal"
    );
}

#[test]
fn idle_threads_end() {
    let world = World::new();
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone("491700000002", "Bob");
    let body = json!({"base64": "R0lGODlhAQABAAAAACw=", "fileName": "a", "mimetype": "a/b"});
    let id = bob.send(&json!({"to": ALICE, "document": body}));
    eventually("its file", || {
        let path = format!("/accounts/alice/messages/{id}/media");
        (world.api(&server, "GET", &path, None).status == 200).then_some(())
    });
    // Each would wake up now and then.
    eventually("rest", || {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", server.pid())).expect("threads");
        (tasks.count() <= 3).then_some(())
    });
}
