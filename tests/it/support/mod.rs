//! Shared by the tests: a server process, a simulated WhatsApp, a webhook receiver.
//!
//! Tests wait for events (a log line, a delivery, an answer) with one generous deadline; a test that exceeds it
//! fails with the server's log.

// The benchmark uses a part of it, the tests another.
#![allow(dead_code, unused_imports)]

mod authenticator;
mod board;
pub mod disk;
mod form;
mod kind;
pub mod process;
mod raw;
mod receiver;
mod server;
mod time;
mod world;

pub use authenticator::Authenticator;
pub use board::Board;
pub use form::Form;
pub use kind::travels;
pub use raw::{Raw, request};
pub use receiver::{Delivery, Receiver, Reply};
pub use server::{Server, ServerOptions, bits, program, released, run_to_end, use_binary};
pub use time::Time;
pub use world::{Answer, Phone, World, eventually};

use std::time::Duration;

/// How long anything may take before a test gives up. Machines may be slow; nothing waits this long
/// when it works.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Whether there is a curl, which `tests/run` installs; says so if not.
pub fn has_curl() -> bool {
    let found = std::process::Command::new("curl").arg("--version").output();
    let found = found.is_ok_and(|output| output.status.success());
    if !found {
        not_tested("there is no curl");
    }
    found
}

/// Says that a test cannot do its work on this machine, also where it passes: what it prints by the
/// usual macros is shown for failures only.
pub fn not_tested(why: &str) {
    use std::io::Write as _;
    let name = std::thread::current().name().unwrap_or("a test").to_owned();
    let _ = writeln!(std::io::stderr(), "{name}: NOT TESTED: {why}");
}
