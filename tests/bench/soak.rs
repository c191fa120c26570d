//! Growth of memory while messages come in.

use std::fs;
use std::path::Path;
use std::time::Instant;

use crate::Scale;
use crate::memory::flood;
use crate::row;
use crate::support::World;
use crate::support::process::Sample;

const ALICE: &str = "491740000001";
const MESSAGES: usize = 200_000;
/// When the disk is looked at.
const DISK: usize = 100_000;
/// The senders, in turn.
const PEOPLE: usize = 50;
/// Messages of one sender in a row, and between two measurements.
const TURN: usize = 1_000;
/// Bytes that the later half may be above the earlier one: pages of the allocator, not a leak, which would
/// be 100,000 times something.
const SLACK: u64 = 1_000_000;

/// Prints the table.
///
/// # Panics
/// When memory grows.
pub fn run(scale: Scale) {
    println!("\n| What | Measured |\n|---|---|");
    let count = scale.of(MESSAGES);
    let world = World::new();
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    for n in 0..PEOPLE {
        world.phone(&from(n), "Somebody");
    }
    let start = Instant::now();
    let mut samples = Vec::new();
    for turn in 0..count / TURN {
        flood(&world, &from(turn % PEOPLE), ALICE, TURN);
        samples.push(Sample::of(&server));
        if (turn + 1) * TURN == scale.of(DISK) {
            let bytes = disk_use(&world.options().data);
            row(
                &format!("disk use of {} messages", scale.of(DISK)),
                &format!(
                    "{:.1} MB, {:.0} bytes a message",
                    bytes as f64 / 1e6,
                    bytes as f64 / scale.of(DISK) as f64
                ),
            );
        }
    }
    // The first tenth fills caches.
    let settled = &samples[samples.len() / 10..];
    let (early, late) = settled.split_at(settled.len() / 2);
    let most = |samples: &[Sample], what: fn(&Sample) -> u64| {
        samples.iter().map(what).max().expect("samples")
    };
    let seconds = start.elapsed().as_secs_f64();
    let mut grown = Vec::new();
    for (name, what) in [
        ("resident", (|it| it.resident) as fn(&Sample) -> u64),
        ("anonymous", |it| it.anonymous),
    ] {
        let (early, late) = (most(early, what), most(late, what));
        row(
            &format!("most {name} in the earlier and in the later half of {count} messages"),
            &format!(
                "{:.2} MB and {:.2} MB",
                early as f64 / 1e6,
                late as f64 / 1e6
            ),
        );
        if late > early + SLACK {
            grown.push(name);
        }
    }
    row(
        &format!("{count} messages"),
        &format!("{seconds:.0} s, {:.0} a second", count as f64 / seconds),
    );
    assert!(grown.is_empty(), "memory grows: {grown:?}");
}

fn from(n: usize) -> String {
    format!("4917600{n:05}")
}

/// Bytes that the files of a folder take.
fn disk_use(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let entries = fs::read_dir(folder).expect("the data").flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => disk_use(&entry.path()),
            Ok(metadata) => metadata.blocks() * 512,
            Err(_) => 0,
        })
        .sum()
}
