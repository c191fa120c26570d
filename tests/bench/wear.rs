//! Commits and bytes written per message, and when idle. The counts hardly depend on
//! the machine; the bytes are those that the kernel is given, whole pages of the database. A file system adds its
//! own: ext4's journal a fifth.

use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::Scale;
use crate::row;
use crate::support::process::bytes_written;
use crate::support::{Server, World, disk, eventually};

const ALICE: &str = "491710000000";
const BOB: &str = "491710000001";
/// Messages with nothing before or after them.
const ISOLATED: usize = 50;
/// Longer than messages are waited for that could share a commit.
const APART: Duration = Duration::from_millis(200);
const FLOOD: usize = 1_000;
/// Texts sent one after the other.
const SENDS: usize = 200;
/// Over several of the client's keep-alives, which are 15 to 30 s apart.
const IDLE: Duration = Duration::from_secs(120);

/// The bytes written until a moment.
struct Written {
    commits: u64,
    bytes: u64,
}

impl Written {
    /// Once nothing more is written for a while.
    fn at_rest(world: &World, server: &Server) -> Written {
        let data = world.options().data;
        let mut before = disk::commits(&data);
        let commits = eventually("the end of the commits", || {
            thread::sleep(2 * APART);
            let now = disk::commits(&data);
            (std::mem::replace(&mut before, now) == now).then_some(now)
        });
        let bytes = bytes_written(server);
        Written { commits, bytes }
    }

    /// Prints what a message cost since then.
    fn show(self, world: &World, server: &Server, what: &str, messages: usize) -> Written {
        let now = Written::at_rest(world, server);
        let each = |before: u64, after: u64| (after - before) as f64 / messages as f64;
        row(
            what,
            &format!(
                "{:.3} commits, {:.1} kB written",
                each(self.commits, now.commits),
                each(self.bytes, now.bytes) / 1e3
            ),
        );
        now
    }
}

pub fn run(scale: Scale) {
    println!("\n| For each message | Measured |\n|---|---|");
    let world = World::new();
    let server = world
        .options()
        .with("limits.messages_per_minute", 6000)
        .start();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let send = |n: usize| {
        let body = json!({"to": BOB, "message": format!("message {n}")});
        world
            .post(&server, "/accounts/alice/message/send", &body)
            .expect(200);
    };
    // The first ones make a session with the phone.
    bob.say(ALICE, "first");
    send(0);
    let written = Written::at_rest(&world, &server);

    let count = scale.of(ISOLATED);
    for n in 0..count {
        bob.say(ALICE, &format!("message {n}"));
        thread::sleep(APART);
    }
    let what = format!(
        "received, {count} one by one, {} ms apart",
        APART.as_millis()
    );
    let written = written.show(&world, &server, &what, count);

    let count = scale.of(FLOOD);
    let flood = json!({"from": BOB, "to": ALICE, "count": count});
    let done = world.admin("POST", "/load", Some(&flood)).expect(200);
    assert_eq!(done["acknowledged"], count, "{done}");
    let what = format!("received, {count} of one person at once");
    let written = written.show(&world, &server, &what, count);

    let count = scale.of(SENDS);
    for n in 0..count {
        send(n);
    }
    let what = format!("sent, {count} one after the other, with the phone's receipts");
    let written = written.show(&world, &server, &what, count);

    thread::sleep(IDLE);
    let now = Written::at_rest(&world, &server);
    row(
        &format!("a connected account, idle for {} s, in all", IDLE.as_secs()),
        &format!(
            "{} commits, {} B written",
            now.commits - written.commits,
            now.bytes - written.bytes
        ),
    );
}
