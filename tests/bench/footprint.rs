//! The idle server: binary size, start, memory, CPU.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::process::{Sample, bytes_made_dirty, cpu_nanos, wakeups};
use crate::support::{World, released};
use crate::{Scale, row};

/// Accounts that are connected, one measurement after another.
pub const ACCOUNTS: [usize; 5] = [0, 1, 10, 50, 100];
/// Starts measured for the time to the first answer.
const STARTS: usize = 20;
/// How long a server is idle before it is measured: the work after a login is done by then, and what the start
/// needed has left memory.
const REST: Duration = Duration::from_secs(15);
/// Seconds that idleness is watched: several of the client's keep-alives, which are 15 to 30 s apart.
const IDLE: usize = 120;
const DAY: f64 = 86_400.0;

/// Prints the table, with so many accounts one after another.
pub fn run(scale: Scale, counts: &[usize]) {
    println!("| What | Measured |\n|---|---|");
    let release = release_binary();
    let size = fs::metadata(&release).expect("the release binary").len();
    row("binary, stripped", &format!("{:.2} MB", size as f64 / 1e6));
    if let Some((least, median)) = time_to_ping(&release) {
        row(
            &format!("exec to the first /ping, of {STARTS} starts"),
            &format!("{median:.1} ms median, {least:.1} ms least"),
        );
    }
    let mut resident = Vec::new();
    for &count in counts {
        resident.push((count, with_accounts(scale, count)));
    }
    for pair in resident.windows(2) {
        let [(few, before), (many, after)] = pair else {
            continue;
        };
        let more = (many - few) as f64;
        row(
            &format!("each further account from {few} to {many}, after a restart"),
            &format!(
                "{:.0} kB resident, {:.0} kB of it anonymous, {:.0} kB of the database",
                (after.resident as f64 - before.resident as f64) / more / 1e3,
                (after.anonymous as f64 - before.anonymous as f64) / more / 1e3,
                (after.mapped as f64 - before.mapped as f64) / more / 1e3
            ),
        );
    }
}

/// What a user would install, without the sandbox: the binary to be measured, or one that is built.
fn release_binary() -> PathBuf {
    if let Some(binary) = released() {
        return binary;
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--release", "--locked", "--quiet"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .expect("cargo");
    assert!(status.success(), "the release build failed");
    // Benchmarks run in target/release/deps.
    let own = std::env::current_exe().expect("a path");
    own.ancestors()
        .nth(2)
        .expect("target/release")
        .join("wildcat")
}

/// Milliseconds from exec to the first answer: the least and the median. `None` for a build with the
/// sandbox, which does not start alone.
fn time_to_ping(binary: &Path) -> Option<(f64, f64)> {
    let directory = tempfile::tempdir().expect("a directory");
    let times: Option<Vec<f64>> = (0..STARTS)
        .map(|_| {
            let address = TcpListener::bind("127.0.0.1:0")
                .and_then(|l| l.local_addr())
                .expect("a free port");
            let started = Instant::now();
            let mut child = Command::new(binary)
                .env_clear()
                .args(["--log", "off", "--listen", &address.to_string(), "--data"])
                .arg(directory.path().join("data"))
                .spawn()
                .expect("it starts");
            while !pings(address) {
                if child.try_wait().expect("its state").is_some() {
                    return None;
                }
            }
            let time = started.elapsed().as_secs_f64() * 1e3;
            child.kill().expect("killed");
            child.wait().expect("gone");
            Some(time)
        })
        .collect();
    let mut times = times?;
    times.sort_by(f64::total_cmp);
    Some((times[0], times[times.len() / 2]))
}

fn pings(address: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect(address) else {
        return false;
    };
    let mut answer = String::new();
    stream
        .write_all(b"GET /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .and_then(|()| stream.read_to_string(&mut answer))
        .is_ok_and(|_| answer.starts_with("HTTP/1.1 200"))
}

/// Measures a server with that many connected accounts, after a restart.
fn with_accounts(scale: Scale, count: usize) -> Sample {
    let world = World::new();
    let server = world.server();
    for n in 0..count {
        world.pair(&server, &format!("account{n}"), &format!("4917{n:08}"));
    }
    thread::sleep(REST);
    let paired = Sample::of(&server);
    row(
        &format!("{count} accounts, just paired"),
        &paired.to_string(),
    );
    server.kill();
    let server = world.server();
    for n in 0..count {
        server.wait_log(&format!("account{n}: connected"));
    }
    thread::sleep(REST);
    let rested = Sample::of(&server);
    row(
        &format!("{count} accounts, after a restart"),
        &rested.to_string(),
    );
    let (nanos, switches, dirty) = (
        cpu_nanos(&server),
        wakeups(&server),
        bytes_made_dirty(&server),
    );
    let idle = Duration::from_secs(scale.of(IDLE) as u64);
    thread::sleep(idle);
    let seconds = (cpu_nanos(&server) - nanos) as f64 / 1e9;
    let share = seconds / idle.as_secs_f64();
    row(
        &format!("{count} accounts, idle for {} s", idle.as_secs()),
        &format!(
            "{seconds:.4} s CPU, which is {:.1} s in a day, {} wake-ups, {} B of dirty pages",
            share * DAY,
            wakeups(&server) - switches,
            bytes_made_dirty(&server) - dirty
        ),
    );
    if count > 0 {
        // That all of them still work is part of the measurement.
        let bob = world.phone("4918000000", "Bob");
        let sent = world.post(
            &server,
            "/accounts/account0/message/send",
            &json!({"to": bob.number, "message": "hi"}),
        );
        sent.expect(200);
    }
    rested
}
