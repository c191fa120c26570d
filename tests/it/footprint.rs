//! The limits of a release binary's anonymous memory (heap and stacks), which the kernel cannot reclaim; pages of
//! the program and of the database, which it can, are printed too. `tests/footprint BINARY` runs these: a
//! debug build has others.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::media_in::base64;
use crate::media_out::noise;
use crate::support::process::{Peak, Sample, Watch};
use crate::support::{Form, Server, World, eventually, released};

const ALICE: &str = "491700000001";
const BOB: &str = "491700000002";

const MB: u64 = 1_000_000;
/// With one connected account.
const ONE: u64 = 1_500_000;
/// Each further one.
const FURTHER: u64 = 150_000;
const FURTHER_ACCOUNTS: u64 = 99;
const HUNDRED: u64 = 16 * MB;
/// While files, many messages or a history pass through.
const PEAK: u64 = 8 * MB;
/// The largest file that may be sent.
const FILE: usize = 52_428_800;
/// Of messages that came in, however many, what may stay.
const FLOOD: u64 = 3 * MB;

fn of_the_release() -> World {
    let binary = released().expect("WILDCAT_TEST_BINARY, for these are the limits of a release");
    assert!(binary.is_file(), "{binary:?}");
    World::new()
}

/// How long an idle server is observed, including the work after a login.
const REST: Duration = Duration::from_secs(8);
/// How much longer on a busy machine: until the threads for blocking work have ended, whose stacks count.
const BUSY: Duration = Duration::from_secs(40);
/// The threads of an idle server: the event thread, the store's writer, timers, and one for blocking work.
const IDLE_THREADS: u64 = 4;

/// The sample with the least anonymous memory while the server rested.
fn rests(server: &Server) -> Sample {
    let began = Instant::now();
    let mut least = Sample::of(server);
    while began.elapsed() < REST || (least.threads > IDLE_THREADS && began.elapsed() < BUSY) {
        std::thread::sleep(Duration::from_millis(100));
        let sample = Sample::of(server);
        if sample.anonymous < least.anonymous {
            least = sample;
        }
    }
    println!("at rest: {least}");
    least
}

fn is_at_most(what: &str, bytes: u64, most: u64) {
    assert!(bytes <= most, "{what}: {bytes} bytes, at most {most}");
}

fn stays_below(what: &str, peak: Peak) {
    println!("{what}: {peak}");
    assert!(
        peak.anonymous <= PEAK,
        "{what}: more than {PEAK} anonymous bytes: {peak}"
    );
}

#[test]
#[ignore = "limits of the released binary: tests/footprint"]
fn accounts_take_what_they_may() {
    let world = of_the_release();
    let server = world.server();
    world.pair(&server, "account0", "491700000100");
    server.kill();
    let server = world.server();
    server.wait_log("account0: connected");
    let one = rests(&server);
    is_at_most("one account", one.anonymous, ONE);
    for n in 1..=FURTHER_ACCOUNTS {
        world.pair(
            &server,
            &format!("account{n}"),
            &format!("4917000{:05}", 100 + n),
        );
    }
    server.kill();
    let server = world.server();
    for n in 0..=FURTHER_ACCOUNTS {
        server.wait_log(&format!("account{n}: connected"));
    }
    let all = rests(&server);
    is_at_most("100 accounts", all.anonymous, HUNDRED);
    // The limits of one account and of further ones are checked separately.
    let further = all.anonymous - one.anonymous;
    is_at_most("99 more", further, FURTHER_ACCOUNTS * FURTHER);
}

#[test]
#[ignore = "limits of the released binary: tests/footprint"]
fn messages_that_came_in_leave_no_memory_behind() {
    let world = of_the_release();
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    let rested = rests(&server);
    is_at_most("just paired", rested.anonymous, ONE + FLOOD);
    world.phone(BOB, "Bob");
    let watch = Watch::start(&server);
    let load = json!({"from": BOB, "to": ALICE, "count": 2_000});
    let done = world.admin("POST", "/load", Some(&load)).expect(200);
    assert_eq!(done["acknowledged"], 2_000, "{done}");
    stays_below("2,000 messages", watch.end(&server));
    let flooded = rests(&server);
    is_at_most("after 2,000 messages", flooded.anonymous, ONE + FLOOD);
    let stayed = flooded.anonymous.saturating_sub(rested.anonymous);
    is_at_most("what stays", stayed, FLOOD);
}

#[test]
#[ignore = "limits of the released binary: tests/footprint"]
fn files_pass_through_in_pieces() {
    let world = of_the_release();
    let server = world
        .options()
        .with("media.auto_max_bytes", "64 MiB")
        .start();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let content = noise(FILE);
    let form = Form::new().field("to", BOB);
    let form = form.file("document", "big.bin", "application/octet-stream", &content);
    let (kind, body) = form.build();
    let watch = Watch::start(&server);
    let url = format!("{}/accounts/alice/message/send/document", server.base());
    world
        .http()
        .send("POST", &url, &kind, Some(body))
        .expect(200);
    stays_below("a file sent", watch.end(&server));
    assert_eq!(bob.received(1)[0]["media"]["size"], FILE);

    let document = json!({"base64": base64(&content), "mimetype": "application/octet-stream"});
    let watch = Watch::start(&server);
    let id = bob.send(&json!({"to": ALICE, "document": document}));
    eventually("the stored file", || {
        let listed = world.get(&server, &format!("/media?messageId={id}"));
        (listed["media"][0]["mediaSize"] == FILE).then_some(())
    });
    let path = format!("/accounts/alice/messages/{id}/media");
    let got = world.api(&server, "GET", &path, None);
    assert_eq!((got.status, got.bytes.len()), (200, FILE));
    stays_below("a file received and read", watch.end(&server));
}

#[test]
#[ignore = "limits of the released binary: tests/footprint"]
fn a_history_comes_in_pieces() {
    let world = of_the_release();
    let past = json!({"chats": 100, "messagesPerChat": 100, "days": 30});
    let path = format!("/phones/{ALICE}/history");
    world.admin("POST", &path, Some(&past)).expect_success();
    let server = world.server();
    let watch = Watch::start(&server);
    world.pair(&server, "alice", ALICE);
    eventually("the history", || {
        let page = world.get(&server, "/messages?limit=1");
        (page["pagination"]["total"] == 10_000).then_some(())
    });
    stays_below("a history of 10,000 messages", watch.end(&server));
    is_at_most("after the history", rests(&server).anonymous, ONE + FLOOD);
}
