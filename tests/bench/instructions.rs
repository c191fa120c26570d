//! Instructions per message. Unlike times they hardly depend on the load of the machine. Natively they are counted by valgrind's callgrind, under user-mode qemu by
//! `cross/count.c`, which `WILDCAT_TEST_RUNNER` has to name.
//!
//! A server is started twice, once for few messages and once for more: the difference is the
//! messages'. Start, pairing and stop are in both.

use std::process::Command;

use serde_json::json;

use crate::Scale;
use crate::row;
use crate::stock::Stock;
use crate::support::World;

const ALICE: &str = "491710000000";
const BOB: &str = "491710000001";
const FEW: usize = 100;
const MORE: usize = 400;
/// Counts every instruction, keeps no profile.
const COUNTER: [&str; 3] = [
    "valgrind",
    "--tool=callgrind",
    "--callgrind-out-file=/dev/null",
];

/// What a server is put through.
#[derive(Clone, Copy)]
enum Work {
    /// Texts of one person come, each after the acknowledgement of the one before.
    Receive,
    /// Texts go to one person, each after the answer to the one before.
    Send,
}

pub fn run(scale: Scale) {
    println!("\n| Instructions | wildcat | bare client |\n|---|---|---|");
    let emulated = std::env::var_os("WILDCAT_TEST_RUNNER").is_some();
    if !emulated && Command::new(COUNTER[0]).arg("--version").output().is_err() {
        row("not counted: needs valgrind", "");
        return;
    }
    for (what, work) in [("received", Work::Receive), ("sent", Work::Send)] {
        let few = scale.of(FEW);
        let more = scale.of(MORE);
        let each = |count: &dyn Fn(usize) -> u64| {
            let difference = count(more).saturating_sub(count(few));
            format!(
                "{:.2} million",
                difference as f64 / (more - few) as f64 / 1e6
            )
        };
        let ours = each(&|messages| server(work, messages, emulated));
        let bare = match emulated {
            true => "-".to_owned(),
            false => each(&|messages| stock(work, messages)),
        };
        println!("| for each text {what}, one after the other | {ours} | {bare} |");
    }
}

/// Instructions of a server's whole life with so many messages in it.
fn server(work: Work, messages: usize, emulated: bool) -> u64 {
    let world = World::new();
    let mut options = world.options().with("limits.messages_per_minute", 6000);
    if !emulated {
        options = options.under(callgrind());
    }
    let mut server = options.start();
    world.pair(&server, "alice", ALICE);
    world.phone(BOB, "Bob");
    match work {
        Work::Receive => receive(&world, messages),
        Work::Send => {
            for n in 0..messages {
                let body = json!({"to": BOB, "message": format!("message {n}")});
                let path = "/accounts/alice/message/send";
                world.post(&server, path, &body).expect(200);
            }
        }
    }
    server.signal("TERM");
    server.wait();
    counted(&server.log())
}

fn stock(work: Work, messages: usize) -> u64 {
    let world = World::new();
    let mut client = Stock::link_under(&world, ALICE, &callgrind());
    world.phone(BOB, "Bob");
    match work {
        Work::Receive => {
            client.expect(messages);
            receive(&world, messages);
            client.received();
        }
        Work::Send => {
            client.send(&[BOB.to_owned()], messages, 1);
        }
    }
    counted(&client.end())
}

/// Bob writes to Alice so often; each text is acknowledged before the next.
fn receive(world: &World, messages: usize) {
    let body = json!({"from": BOB, "to": ALICE, "count": 1});
    for _ in 0..messages {
        let done = world.admin("POST", "/load", Some(&body)).expect(200);
        assert_eq!(done["acknowledged"], 1, "{done}");
    }
}

fn callgrind() -> Vec<String> {
    COUNTER.map(str::to_owned).into()
}

/// What the counter has said in the end.
fn counted(log: &str) -> u64 {
    log.lines()
        .rev()
        .find_map(|line| {
            line.split_once("Collected :")
                .or_else(|| line.split_once("instructions:"))
        })
        .and_then(|(_, number)| number.trim().parse().ok())
        .unwrap_or_else(|| panic!("nothing was counted:\n{log}"))
}
