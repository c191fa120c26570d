//! Memory after a long load, and its peaks during large transfers.

use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::load::Connection;
use crate::support::process::{Sample, Watch};
use crate::support::{Server, World, eventually};
use crate::{Scale, row};

const ALICE: &str = "491740000001";
const BOB: &str = "491740000002";
/// The largest file that WILDCAT 2.0 programs send.
const FILE: usize = 52_428_800;
/// Messages that come in, of as many people as [`PEOPLE`].
const MESSAGES: usize = 10_000;
const PEOPLE: usize = 10;
/// Messages that a phone hands over after the pairing.
pub const HISTORIES: [usize; 3] = [0, 5_000, 50_000];
/// Chats that they are in.
const CHATS: usize = 100;
/// How long a server is idle before it is measured: the work after a login is done by then.
const REST: Duration = Duration::from_secs(10);
const BOUNDARY: &str = "----wildcat";

/// Prints the table, with phones that hand over so many messages.
pub fn run(scale: Scale, histories: &[usize]) {
    println!("\n| What | Measured |\n|---|---|");
    after_messages(scale.of(MESSAGES));
    sending(scale.of(FILE));
    receiving(scale.of(FILE));
    for &messages in histories {
        history(scale.of(messages));
    }
}

/// What stays after many messages.
fn after_messages(count: usize) {
    let world = World::new();
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    thread::sleep(REST);
    let watch = Watch::start(&server);
    for n in 0..PEOPLE {
        let from = format!("4917500{n:05}");
        world.phone(&from, "Somebody");
        flood(&world, &from, ALICE, count / PEOPLE);
    }
    let peak = watch.end(&server);
    row(&format!("{count} messages come in"), &peak.to_string());
    thread::sleep(REST);
    let rested = Sample::of(&server);
    row(&format!("after {count} messages"), &rested.to_string());
}

/// Messages at the simulator's full speed; returns when they are acknowledged.
pub fn flood(world: &World, from: &str, to: &str, count: usize) {
    let load = json!({"from": from, "to": to, "count": count});
    let done = world.admin("POST", "/load", Some(&load)).expect(200);
    assert_eq!(done["acknowledged"], count, "{done}");
}

/// A document that is as large as a file may be.
fn sending(size: usize) {
    let world = World::new();
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    thread::sleep(REST);
    let watch = Watch::start(&server);
    let started = Instant::now();
    send_document(&server, size);
    let seconds = started.elapsed().as_secs_f64();
    let what = format!("a document of {:.1} MB sent, in {seconds:.1} s", mb(size));
    row(&what, &watch.end(&server).to_string());
    let got = bob.received(1);
    assert_eq!(got[0]["media"]["size"], size, "{}", got[0]);
}

/// The same, from a phone, stored as it comes, and then read by a program.
fn receiving(size: usize) {
    let world = World::new();
    let server = world
        .options()
        .with("media.auto_max_bytes", "64MiB")
        .start();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    thread::sleep(REST);
    let watch = Watch::start(&server);
    let document = json!({"base64": base64_noise(size), "mimetype": "application/octet-stream"});
    let id = bob.send(&json!({"to": ALICE, "document": document}));
    eventually("the stored file", || {
        let listed = world.get(&server, &format!("/media?messageId={id}"));
        (listed["media"][0]["mediaSize"] == size).then_some(())
    });
    let what = format!("a document of {:.1} MB received and stored", mb(size));
    row(&what, &watch.end(&server).to_string());
    let watch = Watch::start(&server);
    let path = format!("/accounts/alice/messages/{id}/media");
    let got = world.api(&server, "GET", &path, None);
    assert_eq!((got.status, got.bytes.len()), (200, size));
    row(
        "the same read by a program",
        &watch.end(&server).to_string(),
    );
}

/// Noise as base64.
fn base64_noise(size: usize) -> String {
    use base64::Engine as _;
    let mut bytes = Vec::with_capacity(size);
    write_noise(&mut bytes, size).expect("memory");
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// A pairing with a phone that has a past.
fn history(messages: usize) {
    let each = messages / CHATS;
    let messages = each * CHATS;
    let world = World::new();
    if messages > 0 {
        let past = json!({"chats": CHATS, "messagesPerChat": each, "days": 30});
        world
            .admin("POST", &format!("/phones/{ALICE}/history"), Some(&past))
            .expect_success();
    }
    let server = world.server();
    thread::sleep(REST);
    let watch = Watch::start(&server);
    world.pair(&server, "alice", ALICE);
    let started = Instant::now();
    let mut stored = 0;
    while stored < messages as u64 {
        // However long all of it takes: it must go on.
        stored = eventually("more of the history", || {
            let page = world.get(&server, "/messages?limit=1");
            let total = page["pagination"]["total"].as_u64().expect("a total");
            (total > stored).then_some(total)
        });
    }
    let what = format!(
        "a pairing with a history of {messages} messages, stored {:.1} s later",
        started.elapsed().as_secs_f64()
    );
    row(&what, &watch.end(&server).to_string());
    thread::sleep(REST);
    row("the same, a while later", &Sample::of(&server).to_string());
}

fn mb(bytes: usize) -> f64 {
    bytes as f64 / 1e6
}

fn send_document(server: &Server, size: usize) {
    let head = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"to\"\r\n\r\n{BOB}\r\n\
         --{BOUNDARY}\r\nContent-Disposition: form-data; name=\"document\"; \
         filename=\"big.bin\"\r\nContent-Type: application/octet-stream\r\n\r\n"
    );
    let tail = format!("\r\n--{BOUNDARY}--\r\n");
    let length = (head.len() + size + tail.len()) as u64;
    let kind = format!("multipart/form-data; boundary={BOUNDARY}");
    let path = "/accounts/alice/message/send/document";
    Connection::open(server.base()).request("POST", path, &kind, length, |stream| {
        stream.write_all(head.as_bytes())?;
        write_noise(stream, size)?;
        stream.write_all(tail.as_bytes())
    });
}

/// Bytes of no known format, that no compression makes fewer.
fn write_noise(stream: &mut impl Write, size: usize) -> std::io::Result<()> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut left = size;
    while left > 0 {
        let mut chunk = Vec::with_capacity(1 << 16);
        while chunk.len() < left.min(1 << 16) {
            // Xorshift.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            chunk.extend(state.to_le_bytes());
        }
        chunk.truncate(left);
        stream.write_all(&chunk)?;
        left -= chunk.len();
    }
    Ok(())
}
