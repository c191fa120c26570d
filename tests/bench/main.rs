//! Everything measured: `cargo bench --features sandbox` prints the tables.
//!
//! The server is the real binary in its release profile, on the simulator over TLS. Sizes and counts
//! can be compared between machines; times only within one run, as the ratios do.
//!
//! `cargo bench --features sandbox -- footprint 1 10` measures the footprint alone, with those numbers
//! of accounts instead of 0, 1, 10, 50 and 100; `speed`, `pages`, `memory`, `wear`, `soak` and `instructions`
//! are the other parts, `kills` kills the server 1,000 times (or the number given) and looks for
//! anything lost or duplicated, and numbers behind `memory` are those of messages in a history. `quick` does a tenth of
//! the work, and is idle for a tenth of the time. `--profile dev` measures counts without the wait for a release build,
//! and with `WILDCAT_TEST_BINARY=FILE` the memory and the instructions of that binary.

#[path = "../it/crash.rs"]
mod crash;
mod footprint;
mod instructions;
mod load;
mod memory;
mod pages;
mod soak;
mod speed;
mod stock;
#[path = "../it/support/mod.rs"]
mod support;
mod wear;

use std::fs;

/// Divides the amounts of work.
#[derive(Clone, Copy)]
pub struct Scale(usize);

impl Scale {
    pub fn of(self, amount: usize) -> usize {
        amount / self.0
    }
}

fn main() {
    // cargo adds `--bench`.
    let args: Vec<String> = std::env::args().skip(1).collect();
    let asked = |name: &str| args.iter().any(|arg| arg == name);
    let parts = [
        "footprint",
        "speed",
        "pages",
        "memory",
        "wear",
        "soak",
        "instructions",
        "kills",
    ];
    let scale = Scale(if asked("quick") { 10 } else { 1 });
    let numbers: Vec<usize> = args.iter().filter_map(|arg| arg.parse().ok()).collect();
    // Numbers alone are those of accounts.
    let named = parts.iter().any(|part| asked(part));
    let all = !named && numbers.is_empty();
    let or = |usual: &[usize]| match numbers.is_empty() {
        true => usual.to_vec(),
        false => numbers.clone(),
    };
    // The binary of the tests, or one that is named.
    let kept = support::released().is_none().then(keep_sandbox_binary);
    if !named || asked("footprint") {
        footprint::run(scale, &or(&footprint::ACCOUNTS));
    }
    if all || asked("speed") {
        speed::run(scale);
    }
    if all || asked("pages") {
        pages::run(scale);
    }
    if all || asked("memory") {
        memory::run(scale, &or(&memory::HISTORIES));
    }
    if all || asked("wear") {
        wear::run(scale);
    }
    if all || asked("soak") {
        soak::run(scale);
    }
    if all || asked("instructions") {
        instructions::run(scale);
    }
    if asked("kills") {
        let kills = or(&[scale.of(1_000)]);
        for kills in kills {
            let found = crash::pull_the_plug(kills);
            row(
                "the power goes",
                &format!("{found}: nothing lost, doubled or asked for again"),
            );
        }
    }
    drop(kept);
}

fn row(what: &str, measured: &str) {
    println!("| {what} | {measured} |");
}

/// Copies the binary that meets the simulator: building the other one overwrites it.
fn keep_sandbox_binary() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let copy = directory.path().join("wildcat");
    fs::copy(env!("CARGO_BIN_EXE_wildcat"), &copy).expect("copied");
    support::use_binary(&copy);
    directory
}
