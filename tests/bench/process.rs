//! What the kernel knows about the server's process.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::support::Server;

/// What the kernel says of a process.
pub struct Sample {
    /// kB, all that is resident.
    pub resident: u64,
    /// kB of it that no file backs.
    pub anonymous: u64,
    threads: u64,
    descriptors: usize,
}

impl Sample {
    pub fn of(server: &Server) -> Sample {
        let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("/proc");
        Sample {
            resident: field(&status, "VmRSS:"),
            anonymous: field(&status, "RssAnon:"),
            threads: field(&status, "Threads:"),
            descriptors: fs::read_dir(format!("/proc/{}/fd", server.pid()))
                .expect("/proc")
                .count(),
        }
    }
}

impl std::fmt::Display for Sample {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:.1} MB resident ({:.1} MB anonymous), {} threads, {} descriptors",
            self.resident as f64 / 1e3,
            self.anonymous as f64 / 1e3,
            self.threads,
            self.descriptors
        )
    }
}

fn field(text: &str, name: &str) -> u64 {
    text.lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|value| value.parse().ok())
        .unwrap_or(0)
}

pub fn cpu_ticks(server: &Server) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", server.pid())).expect("/proc");
    // Fields 14 and 15, counted behind the name in brackets.
    let rest = stat.rsplit(')').next().unwrap_or_default();
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks = |n: usize| fields.get(n).and_then(|v| v.parse::<u64>().ok());
    ticks(11).unwrap_or(0) + ticks(12).unwrap_or(0)
}

/// Times that a thread of the process gave up the CPU to wait, and so woke up again.
pub fn wakeups(server: &Server) -> u64 {
    fs::read_dir(format!("/proc/{}/task", server.pid()))
        .expect("/proc")
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("status")).ok())
        .map(|status| field(&status, "voluntary_ctxt_switches:"))
        .sum()
}

pub fn bytes_written(server: &Server) -> u64 {
    let io = fs::read_to_string(format!("/proc/{}/io", server.pid())).expect("/proc");
    field(&io, "write_bytes:")
}

/// How often memory that no file backs is looked at: the kernel keeps no peak of it.
const LOOK: Duration = Duration::from_millis(2);

/// Watches a server's memory.
pub struct Watch {
    before: Sample,
    stop: Arc<AtomicBool>,
    anonymous: JoinHandle<u64>,
}

impl Watch {
    /// From here on.
    pub fn start(server: &Server) -> Watch {
        let before = Sample::of(server);
        // The kernel forgets the most that was ever resident.
        fs::write(format!("/proc/{}/clear_refs", server.pid()), "5").expect("/proc");
        let stop = Arc::new(AtomicBool::new(false));
        let path = status_path(server);
        let stopped = Arc::clone(&stop);
        let anonymous = thread::spawn(move || {
            let mut most = 0;
            while !stopped.load(Ordering::Relaxed) {
                let status = fs::read_to_string(&path).unwrap_or_default();
                most = most.max(field(&status, "RssAnon:"));
                thread::sleep(LOOK);
            }
            most
        });
        Watch {
            before,
            stop,
            anonymous,
        }
    }

    /// The peaks until now, and how far they are from the start.
    pub fn end(self, server: &Server) -> String {
        self.stop.store(true, Ordering::Relaxed);
        let anonymous = self.anonymous.join().expect("it only reads");
        let status = fs::read_to_string(status_path(server)).expect("/proc");
        let peak = field(&status, "VmHWM:");
        let mb = |kb: u64| kb as f64 / 1e3;
        format!(
            "peak {:.1} MB resident ({:+.2} MB), {:.1} MB of it anonymous ({:+.2} MB)",
            mb(peak),
            mb(peak) - mb(self.before.resident),
            mb(anonymous),
            mb(anonymous) - mb(self.before.anonymous),
        )
    }
}

fn status_path(server: &Server) -> String {
    format!("/proc/{}/status", server.pid())
}
