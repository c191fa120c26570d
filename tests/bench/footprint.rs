//! What the server costs when nothing happens: size, start, memory, idleness.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::process::{Sample, bytes_written, cpu_ticks, wakeups};
use crate::row;
use crate::support::World;

/// Accounts that are connected, one measurement after another.
pub const ACCOUNTS: [usize; 4] = [0, 1, 10, 50];
/// Starts measured for the time to the first answer.
const STARTS: usize = 20;
/// How long a server rests before it is measured: what follows a login is done by then.
const REST: Duration = Duration::from_secs(10);
/// How long idleness is watched.
const IDLE: Duration = Duration::from_secs(60);
/// Linux counts CPU time in these.
const TICKS_A_SECOND: f64 = 100.0;

/// Prints the table, with so many accounts one after another.
pub fn run(counts: &[usize]) {
    println!("| What | Measured |\n|---|---|");
    let release = release_binary();
    let size = fs::metadata(&release).expect("the release binary").len();
    row("binary, stripped", &format!("{:.2} MB", size as f64 / 1e6));
    let (least, median) = time_to_ping(&release);
    row(
        &format!("exec to the first /ping, of {STARTS} starts"),
        &format!("{:.1} ms median, {:.1} ms least", median, least),
    );
    let mut resident = Vec::new();
    for &count in counts {
        resident.push((count, with_accounts(count)));
    }
    for pair in resident.windows(2) {
        let [(few, before), (many, after)] = pair else {
            continue;
        };
        let more = (many - few) as f64;
        row(
            &format!("each further account from {few} to {many}, after a restart"),
            &format!(
                "{:.0} kB resident, {:.0} kB of it anonymous",
                (after.resident as f64 - before.resident as f64) / more,
                (after.anonymous as f64 - before.anonymous as f64) / more
            ),
        );
    }
}

/// Builds what a user would install, without the sandbox.
fn release_binary() -> PathBuf {
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

/// Milliseconds from exec to the first answer: the least and the median.
fn time_to_ping(binary: &Path) -> (f64, f64) {
    let directory = tempfile::tempdir().expect("a directory");
    let mut times: Vec<f64> = (0..STARTS)
        .map(|_| {
            let address = TcpListener::bind("127.0.0.1:0")
                .and_then(|l| l.local_addr())
                .expect("a free port");
            let started = Instant::now();
            let mut child = Command::new(binary)
                .args(["--log", "off", "--listen", &address.to_string(), "--data"])
                .arg(directory.path().join("data"))
                .spawn()
                .expect("it starts");
            while !pings(address) {
                let ended = child.try_wait().expect("its state");
                assert!(ended.is_none(), "the release binary ended: {ended:?}");
            }
            let time = started.elapsed().as_secs_f64() * 1e3;
            child.kill().expect("killed");
            child.wait().expect("gone");
            time
        })
        .collect();
    times.sort_by(f64::total_cmp);
    (times[0], times[times.len() / 2])
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

/// Measures a server with that many connected accounts; returns what it is after a restart.
fn with_accounts(count: usize) -> Sample {
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
    let (ticks, switches, written) = (cpu_ticks(&server), wakeups(&server), bytes_written(&server));
    thread::sleep(IDLE);
    row(
        &format!("{count} accounts, idle for {} s", IDLE.as_secs()),
        &format!(
            "{:.2} s CPU, {} wake-ups, {} B written",
            (cpu_ticks(&server) - ticks) as f64 / TICKS_A_SECOND,
            wakeups(&server) - switches,
            bytes_written(&server) - written
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
