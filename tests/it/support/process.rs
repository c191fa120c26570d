//! The kernel's data about the server's process.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::Server;

/// What the kernel says of a process. All sizes in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// All that is resident.
    pub resident: u64,
    /// The same, with pages that other processes have, too, shared out among them.
    pub proportional: u64,
    /// What no file backs: heap and stacks.
    pub anonymous: u64,
    /// Pages of the database's file.
    pub mapped: u64,
    pub threads: u64,
    pub descriptors: usize,
}

impl Sample {
    pub fn of(server: &Server) -> Sample {
        let read = |what: &str| {
            fs::read_to_string(format!("/proc/{}/{what}", server.pid())).expect("/proc")
        };
        let (all, status, each) = (read("smaps_rollup"), read("status"), read("smaps"));
        Sample {
            resident: kib(&all, "Rss:"),
            proportional: kib(&all, "Pss:"),
            anonymous: kib(&all, "Anonymous:"),
            mapped: each
                .split_once("/data.mdb")
                .map_or(0, |(_, rest)| kib(rest, "Rss:")),
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
            "{:.2} MB resident ({:.2} MB proportional, {:.2} MB anonymous, {:.2} MB of the \
             database), {} threads, {} descriptors",
            self.resident as f64 / 1e6,
            self.proportional as f64 / 1e6,
            self.anonymous as f64 / 1e6,
            self.mapped as f64 / 1e6,
            self.threads,
            self.descriptors
        )
    }
}

/// Converts KiB to bytes.
fn kib(text: &str, name: &str) -> u64 {
    field(text, name) * 1024
}

fn field(text: &str, name: &str) -> u64 {
    text.lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|value| value.parse().ok())
        .unwrap_or(0)
}

/// Nanoseconds that its threads have had a CPU.
pub fn cpu_nanos(server: &Server) -> u64 {
    fs::read_dir(format!("/proc/{}/task", server.pid()))
        .expect("/proc")
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("schedstat")).ok())
        .filter_map(|stat| stat.split_whitespace().next()?.parse::<u64>().ok())
        .sum()
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

/// Bytes of the pages that were made dirty, in files and through maps. Where the page cache keeps files in larger
/// pieces, as ext4's does since Linux 6.16, the whole piece counts, although only changed pages are written.
pub fn bytes_made_dirty(server: &Server) -> u64 {
    field(&io(server), "write_bytes:")
}

/// Bytes that were given to the kernel to be written: LMDB's pages, and little else.
pub fn bytes_written(server: &Server) -> u64 {
    field(&io(server), "wchar:")
}

fn io(server: &Server) -> String {
    fs::read_to_string(format!("/proc/{}/io", server.pid())).expect("/proc")
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
                most = most.max(kib(&status, "RssAnon:"));
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

    /// The peaks until now.
    pub fn end(self, server: &Server) -> Peak {
        self.stop.store(true, Ordering::Relaxed);
        let anonymous = self.anonymous.join().expect("it only reads");
        let status = fs::read_to_string(status_path(server)).expect("/proc");
        Peak {
            before: self.before,
            resident: kib(&status, "VmHWM:"),
            anonymous,
        }
    }
}

/// The most that there was, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Peak {
    pub before: Sample,
    pub resident: u64,
    pub anonymous: u64,
}

impl std::fmt::Display for Peak {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mb = |bytes: u64| bytes as f64 / 1e6;
        write!(
            f,
            "peak {:.1} MB resident ({:+.2} MB), {:.1} MB of it anonymous ({:+.2} MB)",
            mb(self.resident),
            mb(self.resident) - mb(self.before.resident),
            mb(self.anonymous),
            mb(self.anonymous) - mb(self.before.anonymous),
        )
    }
}

fn status_path(server: &Server) -> String {
    format!("/proc/{}/status", server.pid())
}
