//! Data that move between 32-bit and 64-bit systems. What the server shows of them is in `upgrades`;
//! here are the failures. With a 32-bit binary the directions are reversed.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use wildcat::store::VERSION;

use crate::space::may_mount;
use crate::support::{DEADLINE, World, bits, not_tested, run_to_end};
use crate::upgrades::{command, fixture, place};

/// Alice's messages in the fixtures of both word sizes.
const MESSAGES: usize = 9;

/// The bits of the system that the tested binary is not for, and a database of one.
fn other() -> (u32, Vec<u8>) {
    let other = 96 - bits();
    let bytes = std::fs::read(fixture(VERSION, other)).expect("a fixture");
    (other, bytes)
}

fn database(data: &Path) -> Vec<u8> {
    std::fs::read(data.join("db/data.mdb")).expect("a database")
}

/// Whether the file has the old or this word size; any other file is incomplete.
fn is_old(data: &Path, old: &[u8]) -> bool {
    let now = database(data);
    if now == old {
        return true;
    }
    let magic = if bits() == 32 { 12..16 } else { 16..20 };
    assert_eq!(now[magic], [0xDE, 0xC0, 0xEF, 0xBE], "this system's");
    false
}

/// All of alice's messages are there, for a command that reads.
fn is_whole(world: &World, data: &Path) {
    let (code, out, err) = command(world, data, &["export", "alice"]);
    let expected = (0, MESSAGES, "");
    assert_eq!((code, out.lines().count(), err.as_str()), expected);
}

#[test]
fn read_only_commands_do_not_convert() {
    let world = World::new();
    let data = world.options().data;
    let (of, bytes) = other();
    place(&bytes, &data);
    for args in [&["backup", "b.tar"][..], &["export", "alice"]] {
        let (code, out, err) = command(&world, &data, args);
        assert_eq!((code, out.as_str()), (1, ""), "{err}");
        let words = format!(
            "wildcat: the data are of a {of}-bit system: start the server of this version once, which \
             converts them\n"
        );
        assert_eq!(err, words);
    }
    assert!(is_old(&data, &bytes));
    assert!(!world.directory.path().join("b.tar").exists());
}

#[test]
fn a_newer_layout_is_refused_before_anything_is_converted() {
    let world = World::new();
    let data = world.options().data;
    let (_, mut bytes) = other();
    let row = [&b"schema"[..], &VERSION.to_be_bytes()].concat();
    let at = bytes.windows(row.len()).position(|w| w == row);
    let at = at.expect("the version's row") + 6;
    bytes[at..at + 4].copy_from_slice(&99u32.to_be_bytes());
    place(&bytes, &data);
    let path = data.display().to_string();
    let args = ["run", "--listen", "127.0.0.1:0", "--data", &path];
    let env = ("WILDCAT_WHATSAPP_URL", "wss://127.0.0.1:1/ws/chat");
    let (code, _, err) = run_to_end(world.directory.path(), &args, &[env]);
    assert_eq!(code, 1, "{err}");
    assert!(
        err.contains("written by a newer wildcat (schema 99, this one knows up to"),
        "{err}"
    );
    assert!(is_old(&data, &bytes));
}

#[test]
fn a_killed_conversion_is_repeated_at_the_next_start() {
    const KILLS: usize = 12;
    let world = World::new();
    let options = world.options();
    let (_, bytes) = other();
    let mut half = 0;
    for n in 0..KILLS {
        if options.data.exists() {
            std::fs::remove_dir_all(&options.data).expect("removed");
        }
        place(&bytes, &options.data);
        let server = options.spawn();
        let part = options.data.join("db.part");
        let give_up = Instant::now() + DEADLINE;
        while !part.exists() && is_old(&options.data, &bytes) {
            assert!(Instant::now() < give_up, "{}", server.log());
            thread::yield_now();
        }
        thread::sleep(Duration::from_micros(fastrand::u64(..20_000)));
        server.kill();
        half += usize::from(is_old(&options.data, &bytes));
        if n % 4 == 3 {
            let server = options.start();
            assert!(!part.exists());
            server.kill();
            is_whole(&world, &options.data);
        }
    }
    eprintln!("{half} of {KILLS} were killed before the new file had its place");
}

/// Starts the server on the other width's data under conditions that fail, and returns its error.
fn refused(world: &World, wrapper: &str, checks: &str) -> String {
    let (_, bytes) = other();
    let data = world.options().data;
    std::fs::create_dir_all(&data).expect("a directory");
    let source = world.directory.path().join("source.mdb");
    std::fs::write(&source, bytes).expect("written");
    let script = format!(
        "set -e; data={}; {wrapper}; mkdir -p $data/db; cp {} $data/db/data.mdb
        code=0; {checks} \"$@\" || code=$?
        cmp {1} $data/db/data.mdb; test ! -e $data/db.part; test $code = 1; echo as it was >&2",
        data.display(),
        source.display(),
    );
    let unshare = ["unshare", "-rm"].into_iter().filter(|_| wrapper != ":");
    let words = unshare.chain(["sh", "-c", &script, "sh"]);
    let mut server = world.options().under(words).spawn();
    server.wait_log("as it was");
    server.wait();
    server.log()
}

#[test]
fn without_space_for_both_the_old_data_stay_unchanged() {
    let world = World::new();
    let (of, bytes) = other();
    let words = format!("wildcat: the data are of a {of}-bit system: ");
    // Found out while it is written. Blocks of 512 bytes.
    let limit = bytes.len() / 1024;
    let small = format!(
        "env sh -c 'trap \"\" XFSZ; ulimit -f {}; exec \"$@\"' sh",
        limit
    );
    let said = refused(&world, ":", &small);
    assert!(
        said.contains(&format!(
            "{words}the disk is full: to convert them takes some 2 MiB"
        )),
        "{said}"
    );
    // And the next start, with room, finds nothing in its way.
    let server = world.server();
    server.kill();
    is_whole(&world, &world.options().data);

    if !may_mount() {
        not_tested("in part: no file system can be mounted here");
        return;
    }
    let world = World::new();
    let said = refused(&world, "mount -t tmpfs -o size=1m none $data", "");
    let expected = "to convert them takes 2 MiB of free space on the disk, and there are 0 MiB";
    assert!(said.contains(&format!("{words}{expected}")), "{said}");
}

#[test]
fn a_backup_of_the_other_width_is_restored() {
    let world = World::new();
    let (_, bytes) = other();
    let mut tar = Vec::new();
    for (name, content) in [
        ("wildcat-backup", &b"wildcat backup 1\n"[..]),
        ("db/data.mdb", &bytes),
        ("keys.toml", b""),
    ] {
        let mut head = [0; 512];
        head[..name.len()].copy_from_slice(name.as_bytes());
        head[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
        head[148..156].copy_from_slice(b"        ");
        head[156] = b'0';
        let sum: u32 = head.iter().map(|&byte| u32::from(byte)).sum();
        head[148..154].copy_from_slice(format!("{sum:06o}").as_bytes());
        tar.extend_from_slice(&head);
        tar.extend_from_slice(content);
        tar.resize(tar.len().next_multiple_of(512), 0);
    }
    tar.extend_from_slice(&[0; 1024]);
    std::fs::write(world.directory.path().join("b.tar"), tar).expect("written");
    let data = world.options().data;
    let (code, _, err) = command(&world, &data, &["restore", "b.tar"]);
    assert_eq!(code, 0, "{err}");
    assert!(!is_old(&data, &bytes));
    is_whole(&world, &data);
    let server = world.server();
    let all = world.get(&server, "/accounts");
    let ids = all["accounts"].as_array().expect("accounts").iter();
    assert_eq!(ids.map(|a| &a["id"]).collect::<Vec<_>>(), ["alice", "bob"]);
}
