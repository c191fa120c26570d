//! Data of earlier versions, and backups.
//!
//! `tests/fixtures/store/v<N>/data.mdb` is the database of a small server as the first version with
//! schema N left it, and `data-32.mdb` that of one on a 32-bit system. A new schema version needs
//! new ones, made by `cargo test --features sandbox --test it upgrades::make_the_fixture -- --ignored`,
//! the second with `WILDCAT_TEST_BINARY` and `WILDCAT_TEST_RUNNER` for a 32-bit binary; see `cross/check`. (`v2/data-32.mdb`
//! is v1's with its two rows that differ rewritten.)

use std::path::{Path, PathBuf};
use std::thread;

use serde_json::{Value, json};
use wildcat::store::events::{Most, scan};
use wildcat::store::{Options, Store, VERSION, accounts, signal};

use crate::media_in::base64;
use crate::media_out::noise;
use crate::support::{
    DEADLINE, Phone, Server, World, bits, eventually, not_tested, program, run_to_end,
};

const ALICE: &str = "491700000001";
const BOB: &str = "491700000002";
const CAROL: &str = "491700000003";
const SEND: &str = "/accounts/alice/message/send";

/// The database of a system of so many bits.
pub fn fixture(version: u32, bits: u32) -> PathBuf {
    let name = if bits == 32 { "data-32" } else { "data" };
    let path = format!("tests/fixtures/store/v{version}/{name}.mdb");
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

pub fn place(database: &[u8], data: &Path) {
    std::fs::create_dir_all(data.join("db")).expect("a directory");
    std::fs::write(data.join("db/data.mdb"), database).expect("written");
}

/// A command of the binary for a data directory: exit code, standard output, standard error.
pub fn command(world: &World, data: &Path, args: &[&str]) -> (i32, String, String) {
    let data = data.display().to_string();
    let args: Vec<&str> = args.iter().copied().chain(["--data", &data]).collect();
    run_to_end(world.directory.path(), &args, &[])
}

fn wait_message(world: &World, server: &Server, account: &str, id: &str) -> Value {
    let path = format!("/accounts/{account}/messages/{id}");
    eventually("the message", || {
        let answer = world.api(server, "GET", &path, None);
        (answer.status == 200).then(|| answer.json()["message"].clone())
    })
}

#[test]
#[ignore = "makes a file of the repository"]
fn make_the_fixture() {
    let world = World::new();
    let server = world.server();
    // Bob's phone and an account on it, and Alice's: they write to each other, and in between is a
    // file.
    let alice = world.pair(&server, "alice", ALICE);
    let bob = world.pair(&server, "bob", BOB);
    let hook = json!({"url": "http://127.0.0.1:9/hook", "accountId": "alice"});
    world.post(&server, "/webhooks", &hook).expect(201);
    for n in 0..3 {
        wait_message(
            &world,
            &server,
            "alice",
            &bob.say(ALICE, &format!("to alice {n}")),
        );
        wait_message(
            &world,
            &server,
            "bob",
            &alice.say(BOB, &format!("to bob {n}")),
        );
    }
    let document = json!({"base64": base64(&noise(1_000)), "fileName": "a.bin",
        "mimetype": "application/octet-stream"});
    let file = bob.send(&json!({"to": ALICE, "document": document}));
    wait_message(&world, &server, "alice", &file);
    let sent = world.post(
        &server,
        SEND,
        &json!({"to": BOB, "message": "from the api"}),
    );
    sent.expect(200);
    bob.received(1);
    // Queued messages.
    world
        .post(&server, "/accounts/alice/disconnect", &json!({}))
        .expect(200);
    let waits = json!({"to": BOB, "message": "later", "queue": true});
    world.post(&server, SEND, &waits).expect(202);
    let backup = world.directory.path().join("backup.tar");
    let (code, _, err) = command(&world, &world.options().data, &["backup", "backup.tar"]);
    assert_eq!(code, 0, "{err}");
    let tar = std::fs::read(backup).expect("a backup");
    // The mark with its header, and the header of the database.
    let size = std::str::from_utf8(&tar[1024 + 124..1024 + 135]).expect("digits");
    let size = usize::from_str_radix(size, 8).expect("octal");
    let path = fixture(VERSION, bits());
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    std::fs::write(path, &tar[1536..1536 + size]).expect("written");
}

#[test]
fn the_data_of_every_version_open() {
    // Data of the other word size are converted.
    for (version, of) in (1..=VERSION).flat_map(|version| [(version, 32), (version, 64)]) {
        let world = World::new();
        let data = world.options().data;
        let database = std::fs::read(fixture(version, of)).expect("a fixture for every version");
        place(&database, &data);
        let server = world.server();
        let converted = format!("MiB of a {of}-bit system's data are being converted");
        assert_eq!(
            server.log().contains(&converted),
            of != bits(),
            "{}",
            server.log()
        );
        let all = world.get(&server, "/accounts");
        let ids: Vec<_> = all["accounts"]
            .as_array()
            .expect("accounts")
            .iter()
            .map(|a| &a["id"])
            .collect();
        assert_eq!(ids, ["alice", "bob"], "{all}");
        let chats = world.get(&server, "/accounts/alice/chats");
        assert_eq!(
            chats["chats"][0]["chatId"],
            format!("{BOB}@s.whatsapp.net"),
            "{chats}"
        );
        let path = format!("/accounts/alice/chats/{BOB}@s.whatsapp.net/messages");
        let page = world.get(&server, &path);
        // Three in each direction, a file, one by the API; and queued messages, except in the oldest.
        let waiting = if (version, of) == (1, 64) { 0 } else { 1 };
        assert_eq!(page["pagination"]["total"], 8 + waiting, "{page}");
        let messages = page["messages"].as_array().expect("messages");
        let later = messages.iter().filter(|m| m["text"] == "later").count();
        assert_eq!(later, waiting, "{page}");
        let file = page["messages"]
            .as_array()
            .expect("messages")
            .iter()
            .find(|m| m["hasMedia"] == true);
        assert_eq!(file.expect("the file")["mediaFileName"], "a.bin");
        let hooks = world.get(&server, "/webhooks");
        assert_eq!(
            hooks["webhooks"][0]["url"], "http://127.0.0.1:9/hook",
            "{hooks}"
        );
        let (code, out, err) = command(&world, &data, &["export", "alice"]);
        let lines = 8 + waiting;
        assert_eq!((code, out.lines().count(), err.as_str()), (0, lines, ""));
        server.kill();

        let store = Store::open(&data, Options::default()).expect("opened");
        for id in ["alice", "bob"] {
            let keys = store.read(|tx| {
                let number = accounts::number(tx, id)?.expect("an account");
                Ok(signal::scan(tx, &wildcat::store::Key::account(number))?.count())
            });
            assert!(keys.expect("read") > 800, "{id}'s keys are there");
        }
        assert!(store.last_event() > 8, "events are there");
        smol::block_on(store.close(DEADLINE)).expect("closed");
    }
}

#[test]
fn a_newer_layout_is_refused_by_every_command() {
    let world = World::new();
    let data = world.options().data;
    let mut database = std::fs::read(fixture(VERSION, bits())).expect("a fixture");
    // The version's row, wherever LMDB has put it.
    let row = [&b"schema"[..], &VERSION.to_be_bytes()].concat();
    let found: Vec<_> = (0..database.len() - row.len())
        .filter(|&at| database[at..].starts_with(&row))
        .collect();
    assert_eq!(found.len(), 1, "one row");
    database[found[0] + 6..found[0] + 10].copy_from_slice(&99u32.to_be_bytes());
    place(&database, &data);
    for args in [
        &["run", "--listen", "127.0.0.1:0"][..],
        &["backup", "b.tar"],
        &["export", "alice"],
    ] {
        let env = ("WILDCAT_WHATSAPP_URL", "wss://127.0.0.1:1/ws/chat");
        let path = data.display().to_string();
        let args: Vec<&str> = args.iter().copied().chain(["--data", &path]).collect();
        let (code, out, err) = run_to_end(world.directory.path(), &args, &[env]);
        assert_eq!((code, out.as_str()), (1, ""), "{args:?}: {err}");
        assert!(
            err.contains("written by a newer wildcat (schema 99, this one knows up to"),
            "{err}"
        );
        assert!(!err.contains("panicked"), "{err}");
    }
    assert_eq!(
        std::fs::read(data.join("db/data.mdb")).expect("still there"),
        database,
        "untouched"
    );
    assert!(!world.directory.path().join("b.tar").exists());
    assert!(!world.directory.path().join("b.tar.part").exists());
}

/// Alice and Bob write to each other, `count` times each.
fn talk(world: &World, server: &Server, bob: &Phone<'_>, count: usize) -> usize {
    let before = bob.all_received().len();
    for n in 0..count {
        wait_message(
            world,
            server,
            "alice",
            &bob.say(ALICE, &format!("ping {n}")),
        );
        let answer = json!({"to": BOB, "message": format!("pong {n}")});
        world.post(server, SEND, &answer).expect(200);
    }
    bob.received(before + count).len()
}

/// More messages than the client's batch of message keys (64).
const USED_UP: usize = 70;

fn write_to_carol(world: &World, server: &Server, numbers: std::ops::Range<usize>) {
    for n in numbers {
        let body = json!({"to": CAROL, "message": format!("number {n}")});
        world.post(server, SEND, &body).expect(200);
    }
}

/// The numbers of the events in a data directory that no server uses.
fn events(data: &Path) -> Vec<u64> {
    let store = Store::open(data, Options::default()).expect("opened");
    let most = Most {
        events: usize::MAX,
        bytes: usize::MAX,
        looks: usize::MAX,
    };
    let all = store.read(|tx| scan(tx, 0, most, |_| true));
    smol::block_on(store.close(DEADLINE)).expect("closed");
    let all = all.expect("read").events;
    all.into_iter().map(|event| event.number).collect()
}

/// Only root can restore for another user; otherwise this test does
/// nothing.
#[test]
fn a_restore_by_root_keeps_the_servers_owner() {
    use std::os::unix::fs::{MetadataExt as _, chown};
    const SOMEBODY: u32 = 4711;

    let world = World::new();
    let server = world.server();
    world
        .post(&server, "/accounts", &json!({"id": "alice"}))
        .expect(201);
    let data = world.options().data;
    let (code, _, err) = command(&world, &data, &["backup", "backup.tar"]);
    assert_eq!(code, 0, "{err}");
    let restored = world.directory.path().join("restored");
    std::fs::create_dir(&restored).expect("a directory");
    if chown(&restored, Some(SOMEBODY), Some(SOMEBODY)).is_err() {
        not_tested("files cannot be given to another user here");
        return;
    }
    let (code, _, err) = command(&world, &restored, &["restore", "backup.tar"]);
    assert_eq!(code, 0, "{err}");
    let (mut seen, mut folders) = (Vec::new(), vec![restored]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("listed") {
            let path = entry.expect("an entry").path();
            let metadata = path.symlink_metadata().expect("metadata");
            assert_eq!(
                (metadata.uid(), metadata.gid()),
                (SOMEBODY, SOMEBODY),
                "{path:?}"
            );
            if metadata.is_dir() {
                folders.push(path.clone());
            }
            seen.push(path);
        }
    }
    let has = |name: &str| seen.iter().any(|path| path.ends_with(name));
    assert!(has("db/data.mdb") && has("wildcat.lock"), "{seen:?}");
}

#[test]
fn a_backup_of_a_running_server_is_restored_sends_and_receives() {
    const FLOOD: usize = 400;
    let world = World::new();
    let options = world.options().with("limits.messages_per_minute", 6000);
    let server = options.start();
    world.pair(&server, "alice", ALICE);
    let (bob, carol) = (world.phone(BOB, "Bob"), world.phone(CAROL, "Carol"));
    talk(&world, &server, &bob, 3);
    write_to_carol(&world, &server, 0..1);
    let document = json!({"base64": base64(&noise(50_000)), "fileName": "a.bin",
        "mimetype": "application/octet-stream"});
    let file = bob.send(&json!({"to": ALICE, "document": document}));
    let media = format!("/accounts/alice/messages/{file}/media");
    let content = eventually("the file", || {
        let answer = world.api(&server, "GET", &media, None);
        (answer.status == 200).then_some(answer.bytes)
    });

    // While messages pour in.
    let data = world.options().data;
    let (code, err, exported) = thread::scope(|scope| {
        let flood = scope.spawn(|| {
            let flood = json!({"from": CAROL, "to": ALICE, "count": FLOOD});
            world.admin("POST", "/load", Some(&flood)).expect(200)
        });
        eventually("the first of the flood", || {
            let chats = world.get(&server, "/accounts/alice/chats");
            (chats["chats"].as_array().map(Vec::len) == Some(2)).then_some(())
        });
        let (code, _, err) = command(&world, &data, &["backup", "backup.tar"]);
        let exported = command(&world, &data, &["export", "alice"]);
        let done = flood.join().expect("no panic");
        assert_eq!(done["acknowledged"], FLOOD, "{done}");
        (code, err, exported)
    });
    assert_eq!(code, 0, "{err}");
    let backup = world.directory.path().join("backup.tar");
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(&backup)
        .expect("a backup")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600, "it holds keys");
    let (code, lines, err) = exported;
    assert_eq!((code, err.as_str()), (0, ""));
    let times: Vec<u64> = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
        .map(|message| message["timestamp"].as_u64().expect("a time"))
        .collect();
    assert!(times.len() > 7 && times.is_sorted(), "the oldest first");

    // After the backup its keys become outdated.
    let before = talk(&world, &server, &bob, 5);
    write_to_carol(&world, &server, 0..USED_UP);
    let refused = command(&world, &data, &["restore", "backup.tar"]);
    assert_eq!(refused.0, 1);
    assert!(
        refused.2.contains("is in use by another wildcat (process "),
        "{}",
        refused.2
    );
    server.kill();
    let refused = command(&world, &data, &["restore", "backup.tar"]);
    assert!(
        refused
            .2
            .contains("is not empty: a backup is restored into a new directory"),
        "{}",
        refused.2
    );

    let mut restored = options;
    restored.data = world.directory.path().join("restored");
    let (code, _, err) = command(&world, &restored.data, &["restore", "backup.tar"]);
    assert_eq!(code, 0, "{err}");
    assert!(
        err.contains("Do not start the server that it was copied from again"),
        "{err}"
    );
    let server = restored.start();
    server.wait_log("alice: connected");
    assert_eq!(world.api(&server, "GET", &media, None).bytes, content);
    let chat = format!("/accounts/alice/chats/{BOB}@s.whatsapp.net/messages");
    assert_eq!(world.get(&server, &chat)["pagination"]["total"], 7);

    write_to_carol(&world, &server, USED_UP..USED_UP + 3);
    let got = carol.received(1 + USED_UP + 3);
    assert_eq!(
        got.last().expect("messages")["text"],
        format!("number {}", USED_UP + 2)
    );
    // Both directions work again, with old and new contacts.
    let after = talk(&world, &server, &bob, 3);
    assert_eq!(after, before + 3, "nothing was thrown away as seen before");
    let dan = world.phone("491700000004", "Dan");
    wait_message(&world, &server, "alice", &dan.say(ALICE, "hello"));
    wait_message(&world, &server, "alice", &carol.say(ALICE, "still there?"));
    server.kill();
    // What happened here has numbers that nothing had that happened there.
    let (there, here) = (events(&data), events(&restored.data));
    let copied = here.partition_point(|number| there.contains(number));
    assert!(
        copied > 6 && here.len() > copied + 6,
        "{copied} of {}",
        here.len()
    );
    let last = there.last().expect("events");
    assert!(
        here[copied..].iter().all(|number| number > last),
        "{last}: {here:?}"
    );
}

#[test]
fn invalid_backups_are_refused_and_leave_nothing() {
    let world = World::new();
    let directory = world.directory.path();
    let data = directory.join("data");
    std::fs::write(directory.join("x.tar"), noise(10_000)).expect("written");
    let (code, _, err) = command(&world, &data, &["restore", "x.tar"]);
    assert!(
        code == 1 && err.contains("x.tar: it is no backup of wildcat"),
        "{err}"
    );
    let (code, _, err) = command(&world, &data, &["restore", "nowhere.tar"]);
    assert!(code == 1 && err.contains("nowhere.tar: "), "{err}");
    let (code, _, err) = command(&world, &data, &["backup", "b.tar"]);
    assert!(
        code == 1 && err.contains("holds no data of wildcat"),
        "{err}"
    );
    assert!(!data.exists());

    // One that was cut short.
    let database = std::fs::read(fixture(VERSION, bits())).expect("a fixture");
    place(&database, &data);
    let (code, _, err) = command(&world, &data, &["backup", "b.tar"]);
    assert_eq!(code, 0, "{err}");
    let whole = std::fs::read(directory.join("b.tar")).expect("a backup");
    std::fs::write(directory.join("cut.tar"), &whole[..whole.len() - 2_000]).expect("written");
    let other = directory.join("other");
    let (code, _, err) = command(&world, &other, &["restore", "cut.tar"]);
    assert!(code == 1 && err.contains("it is cut short"), "{err}");
    // The next try finds nothing in its way.
    let (code, _, err) = command(&world, &other, &["restore", "b.tar"]);
    assert_eq!(code, 0, "{err}");
    let (code, out, _) = command(&world, &other, &["export", "bob"]);
    assert_eq!((code, out.lines().count()), (0, 8));
    let (code, _, err) = command(&world, &other, &["export", "nobody"]);
    assert!(
        code == 1 && err.contains("there is no account \"nobody\" here"),
        "{err}"
    );
}

#[test]
fn a_backup_replaces_only_files_and_may_be_a_stream() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    let world = World::new();
    let directory = world.directory.path();
    let data = directory.join("data");
    let database = std::fs::read(fixture(VERSION, bits())).expect("a fixture");
    place(&database, &data);
    let victim = directory.join("victim");
    std::fs::write(&victim, "as it was").expect("written");
    symlink(&victim, directory.join("link.tar")).expect("a link");
    symlink(directory.join("nowhere"), directory.join("dangling.tar")).expect("a link");
    std::fs::create_dir(directory.join("folder.tar")).expect("a folder");
    let made = std::process::Command::new("mkfifo")
        .arg(directory.join("pipe.tar"))
        .status();
    assert!(made.is_ok_and(|status| status.success()), "mkfifo");
    let entries = || std::fs::read_dir(directory).expect("listed").count();
    let before = entries();
    for (file, what) in [
        ("/dev/null", "a device"),
        ("/dev/stdout", "a symbolic link"),
        ("link.tar", "a symbolic link"),
        ("dangling.tar", "a symbolic link"),
        ("folder.tar", "a directory"),
        ("pipe.tar", "a pipe"),
    ] {
        let (code, out, err) = command(&world, &data, &["backup", file]);
        assert_eq!((code, out.as_str()), (1, ""), "{file}: {err}");
        let words = format!("{file} is {what}, and a backup is a file of its own");
        assert!(err.contains(&words), "{err}");
        assert_eq!(entries(), before, "{file}: nothing is left");
    }
    // Symbolic links and directories at the paths of parts are neither followed nor an obstacle.
    symlink(&victim, directory.join("b.tar.part")).expect("a link");
    std::fs::write(directory.join("b.tar"), "an older one").expect("written");
    let (code, _, err) = command(&world, &data, &["backup", "b.tar"]);
    assert_eq!(code, 0, "{err}");
    assert_eq!(std::fs::read(&victim).expect("read"), b"as it was");
    let mode = std::fs::metadata(directory.join("b.tar")).expect("a backup");
    assert_eq!(mode.permissions().mode() & 0o777, 0o600);

    // Out of one pipe and into another.
    let stream = std::process::Command::new("sh")
        .arg("-c")
        .arg(
            "data=$1 restored=$2; shift 2; \"$@\" backup - --data \"$data\" | cat >stream.tar && \
             cat stream.tar | \"$@\" restore - --data \"$restored\"",
        )
        .arg("sh")
        .args([&data, &directory.join("restored")])
        .args(program())
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
        .current_dir(directory)
        .output()
        .expect("a shell");
    assert!(stream.status.success(), "{stream:?}");
    let (code, out, err) = command(&world, &directory.join("restored"), &["export", "bob"]);
    assert_eq!((code, out.lines().count()), (0, 8), "{err}");
    let left: Vec<_> = std::fs::read_dir(data.join("db"))
        .expect("listed")
        .map(|entry| entry.expect("an entry").file_name())
        .filter(|name| name.to_string_lossy().ends_with(".part"))
        .collect();
    assert!(left.is_empty(), "{left:?}");

    // The lock of a data directory is no door to another file.
    std::fs::remove_file(data.join("wildcat.lock")).ok();
    symlink(&victim, data.join("wildcat.lock")).expect("a link");
    let (code, _, err) = run(&world, &data);
    assert_eq!(code, 1, "{err}");
    assert_eq!(std::fs::read(&victim).expect("read"), b"as it was");
}

/// Starts a server that is expected to fail.
fn run(world: &World, data: &std::path::Path) -> (i32, String, String) {
    let data = data.display().to_string();
    let args = ["run", "--listen", "127.0.0.1:0", "--data", &data];
    let env = ("WILDCAT_WHATSAPP_URL", "wss://127.0.0.1:1/ws/chat");
    run_to_end(world.directory.path(), &args, &[env])
}

#[test]
fn a_truncated_database_is_refused_by_every_command() {
    let world = World::new();
    let directory = world.directory.path();
    let data = directory.join("data");
    let database = std::fs::read(fixture(VERSION, bits())).expect("a fixture");
    place(&database, &data);
    let (code, _, err) = command(&world, &data, &["backup", "whole.tar"]);
    assert_eq!(code, 0, "{err}");
    let tar = std::fs::read(directory.join("whole.tar")).expect("a backup");
    std::fs::create_dir_all(data.join("tmp")).expect("what a server leaves");
    let file = data.join("db/data.mdb");
    let page = 4096;
    for length in [
        0,
        10,
        page,
        2 * page - 1,
        2 * page,
        2 * page + 1,
        database.len() / 2,
        database.len() - page,
        database.len() - 1,
    ] {
        std::fs::write(&file, &database[..length]).expect("written");
        for args in [&["backup", "b.tar"][..], &["export", "alice"], &["run"]] {
            let (code, out, err) = match args {
                ["run"] => run(&world, &data),
                args => command(&world, &data, args),
            };
            assert_eq!((code, out.as_str()), (1, ""), "{length}, {args:?}: {err}");
            let words = format!("data.mdb is cut short: it has {length} of ");
            assert!(err.contains(&words), "{length}, {args:?}: {err}");
            assert!(err.contains("wildcat restore FILE --data DIR"), "{err}");
        }
        assert_eq!(std::fs::read(&file).expect("read"), &database[..length]);
    }
    // One with its last pages missing, within a backup that is whole.
    let size = std::str::from_utf8(&tar[1024 + 124..1024 + 135]).expect("digits");
    let size = usize::from_str_radix(size, 8).expect("octal");
    let cut = size - 3 * page;
    let mut header = tar[1024..1536].to_vec();
    header[124..135].copy_from_slice(format!("{cut:011o}").as_bytes());
    header[148..156].copy_from_slice(b"        ");
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let parts = [
        &tar[..1024],
        &header,
        &tar[1536..1536 + cut],
        &tar[1536 + size..],
    ];
    std::fs::write(directory.join("cut.tar"), parts.concat()).expect("written");
    let other = directory.join("other");
    let (code, _, err) = command(&world, &other, &["restore", "cut.tar"]);
    assert_eq!(code, 1, "{err}");
    assert!(
        err.contains("cut.tar: the database in it is cut short"),
        "{err}"
    );
    let (code, _, err) = command(&world, &other, &["restore", "whole.tar"]);
    assert_eq!(code, 0, "{err}");
}

#[test]
fn a_database_with_unused_last_pages_is_not_truncated() {
    let world = World::new();
    let data = world.options().data;
    let database = std::fs::read(fixture(VERSION, bits())).expect("a fixture");
    place(&database, &data);
    // As if more pages had been taken and given back within the last commit: they were never written.
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(data.join("db/data.mdb"))
        .expect("opened");
    for (word, header, page) in [(8usize, 16usize, 0u64), (8, 16, 4096)] {
        use std::os::unix::fs::FileExt as _;
        let at = page + (header + 8 + 2 * word + 2 * (8 + 5 * word)) as u64;
        let last = (database.len() / 4096 + 6) as u64;
        if bits() == 64 {
            file.write_all_at(&last.to_le_bytes(), at).expect("written");
        }
    }
    let server = world.server();
    world.get(&server, "/accounts/alice/chats");
    drop(server);
    let (code, out, err) = command(&world, &data, &["export", "bob"]);
    assert_eq!((code, out.lines().count()), (0, 8), "{err}");
}
