//! Commits per message, which wear out a memory card.

use std::time::Duration;

use serde_json::json;

use crate::support::process::bytes_made_dirty;
use crate::support::{Server, World, disk, eventually};

const ALICE: &str = "491700000001";
const BOB: &str = "491700000002";
/// Commits besides those of the messages, for the session with the phone, at the start and the end.
const SLACK: u64 = 2;
/// Longer than the delay of the group commit.
const APART: Duration = Duration::from_millis(150);

fn wait_stored(world: &World, server: &Server, message: &str) {
    let path = format!("/accounts/alice/messages/{message}");
    eventually("the message", || {
        (world.api(server, "GET", &path, None).status == 200).then_some(())
    });
}

/// Commits until nothing has been committed for a while.
fn settled(world: &World) -> u64 {
    let data = world.options().data;
    let mut before = disk::commits(&data);
    eventually("the end of the commits", || {
        std::thread::sleep(2 * APART);
        let now = disk::commits(&data);
        (std::mem::replace(&mut before, now) == now).then_some(now)
    })
}

#[test]
fn an_isolated_message_costs_one_commit() {
    const MESSAGES: u64 = 10;
    let world = World::new();
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    // The first one makes a session with the phone.
    wait_stored(&world, &server, &bob.say(ALICE, "first"));
    let before = settled(&world);
    for n in 0..MESSAGES {
        wait_stored(&world, &server, &bob.say(ALICE, &format!("message {n}")));
        std::thread::sleep(APART);
    }
    let commits = settled(&world) - before;
    println!("{MESSAGES} isolated messages: {commits} commits");
    assert!(commits <= MESSAGES + SLACK, "{commits} for {MESSAGES}");
    assert!(
        commits >= MESSAGES,
        "each was on disk when it was acknowledged"
    );
}

#[test]
fn a_flood_of_a_thousand_shares_its_commits() {
    const MESSAGES: u64 = 1_000;
    let world = World::new();
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    wait_stored(&world, &server, &bob.say(ALICE, "first"));
    let before = settled(&world);
    let flood = json!({"from": BOB, "to": ALICE, "count": MESSAGES});
    let done = world.admin("POST", "/load", Some(&flood)).expect(200);
    assert_eq!(done["acknowledged"], MESSAGES, "{done}");
    let commits = settled(&world) - before;
    let chat = format!("/accounts/alice/chats/{BOB}@s.whatsapp.net/messages");
    let page = world.get(&server, &chat);
    assert_eq!(page["pagination"]["total"], MESSAGES + 1, "all are stored");
    println!(
        "{MESSAGES} at once: {commits} commits, {} s",
        done["seconds"]
    );
    // The journal commits at most every 50 ms while messages come, so twenty times a second.
    let seconds = done["seconds"].as_f64().expect("seconds");
    let most = (20.0 * seconds).ceil() as u64 + SLACK;
    assert!(
        commits <= most,
        "{commits} commits in {seconds} s, at most {most}"
    );
}

#[test]
fn an_idle_server_writes_nothing() {
    let world = World::new();
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    let before = settled(&world);
    let bytes = bytes_made_dirty(&server);
    // Between two keep-alives, which are 15 to 30 s apart.
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(disk::commits(&world.options().data), before);
    assert_eq!(bytes_made_dirty(&server), bytes);
}
