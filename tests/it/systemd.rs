//! systemd's side of `Type=notify` and `WatchdogSec`.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use serde_json::json;

use crate::support::{DEADLINE, Server, World, eventually, not_tested};

/// The watchdog's time: the server feeds it twice as often.
const WATCHDOG: Duration = Duration::from_secs(1);

struct Manager(UnixDatagram);

impl Manager {
    /// Starts a server that has this one as its manager.
    fn start(self, world: &World, name: &str) -> (Manager, Server) {
        let server = world
            .options()
            .env("NOTIFY_SOCKET", name)
            .env("WATCHDOG_USEC", WATCHDOG.as_micros())
            .start();
        (self, server)
    }

    /// The next notification, within `limit`.
    fn hear(&self, limit: Duration) -> Option<String> {
        let mut message = [0; 256];
        self.0.set_read_timeout(Some(limit)).expect("a timeout");
        let length = self.0.recv(&mut message).ok()?;
        Some(String::from_utf8_lossy(&message[..length]).into_owned())
    }

    /// Waits for a notification.
    fn expect(&self, message: &str) {
        let heard = self.hear(DEADLINE).expect("a message");
        assert!(heard.starts_with(message), "{heard} instead of {message}");
    }

    /// Takes earlier notifications; then none may arrive for the watchdog's time.
    fn expect_silence(&self) {
        while self.hear(WATCHDOG / 100).is_some() {}
        assert_eq!(self.hear(2 * WATCHDOG), None);
    }
}

/// A thread of another process that does not run, as one in an endless loop or in a system call that
/// does not return. It runs on when this is dropped.
struct Stuck(libc::pid_t);

impl Stuck {
    /// The thread of that name in the process of `server`.
    fn named(server: &Server, name: &str) -> Stuck {
        // A thread that has just begun still has the name of its process.
        let thread = eventually("a thread of that name", || {
            std::fs::read_dir(format!("/proc/{}/task", server.pid()))
                .expect("threads")
                .filter_map(|task| Some(task.ok()?.path()))
                .find(|task| {
                    std::fs::read_to_string(task.join("comm")).is_ok_and(|n| n.trim() == name)
                })
        });
        let id = thread.file_name().and_then(|id| id.to_str());
        Stuck::thread(id.and_then(|id| id.parse().ok()).expect("a thread's id"))
    }

    fn thread(id: libc::pid_t) -> Stuck {
        let (none, mut status) = (std::ptr::null_mut::<libc::c_void>(), 0);
        // SAFETY: these requests read and write no memory; `status` outlives the call.
        let stopped = unsafe {
            libc::ptrace(libc::PTRACE_SEIZE, id, none, none) == 0
                && libc::ptrace(libc::PTRACE_INTERRUPT, id, none, none) == 0
                && libc::waitpid(id, &raw mut status, libc::__WALL) == id
        };
        assert!(stopped, "{}", std::io::Error::last_os_error());
        Stuck(id)
    }
}

impl Drop for Stuck {
    fn drop(&mut self) {
        let none = std::ptr::null_mut::<libc::c_void>();
        // SAFETY: as above.
        unsafe { libc::ptrace(libc::PTRACE_DETACH, self.0, none, none) };
    }
}

#[test]
fn the_watchdog_gets_pings_while_the_event_thread_and_storage_work() {
    let world = World::new();
    let path = world.directory.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    let name = path.to_str().expect("UTF-8");
    let (manager, mut server) = Manager(socket).start(&world, name);
    let ready = manager.hear(DEADLINE).expect("it is ready");
    assert_eq!(
        ready,
        format!("READY=1\nSTATUS=listening on {}", server.base())
    );
    for _ in 0..3 {
        manager.expect("WATCHDOG=1");
    }

    let pid = libc::pid_t::try_from(server.pid()).expect("a pid");
    let event_thread = Stuck::thread(pid);
    manager.expect_silence();
    drop(event_thread);
    manager.expect("WATCHDOG=1");

    // An idle storage is healthy, also when its thread is stopped. A commit that hangs is not.
    let storage = Stuck::named(&server, "storage");
    manager.expect("WATCHDOG=1");
    manager.expect("WATCHDOG=1");
    manager.expect("WATCHDOG=1");
    drop(storage);

    manager.expect("WATCHDOG=1");
    server.signal("TERM");
    loop {
        match manager.hear(DEADLINE).expect("it stops").as_str() {
            "WATCHDOG=1" => {}
            stopping => {
                assert_eq!(stopping, "STOPPING=1\nSTATUS=stopping");
                break;
            }
        }
    }
    assert!(server.wait().success());
}

#[test]
fn a_hanging_commit_stops_the_watchdogs_pings_and_fails_the_health_check() {
    // A name in the abstract namespace, as systemd has it for user services.
    let world = World::new();
    let name = format!("wildcat-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).expect("a name");
    let socket = UnixDatagram::bind_addr(&address).expect("a socket");
    let (manager, server) = Manager(socket).start(&world, &format!("@{name}"));
    manager.expect("READY=1");
    manager.expect("WATCHDOG=1");

    let mark = server.log_mark();
    std::thread::scope(|scope| {
        let hanging = Stuck::named(&server, "storage");
        let created = scope.spawn(|| world.post(&server, "/accounts", &json!({"id": "alice"})));
        server.wait_log_from(mark, "storage has been stuck");
        manager.expect_silence();
        // The event thread lives on.
        world.get(&server, "/ping");
        drop(hanging);
        created.join().expect("answered").expect(201);
    });
    manager.expect("WATCHDOG=1");
}

#[test]
fn systemd_accepts_the_unit() {
    let unit = include_str!("../../config/wildcat.service");
    let lines: Vec<&str> = unit.lines().collect();
    for setting in [
        "Type=notify",
        "WatchdogSec=2min",
        "Restart=on-failure",
        "StateDirectory=wildcat",
        "WantedBy=multi-user.target",
    ] {
        assert!(lines.contains(&setting), "{setting}");
    }
    // Where systemd is there, it says itself whether it understands all of it, and how much is
    // left open. 20 is an exposure of 2.0.
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("wildcat.service");
    // The program is not installed where tests run.
    let unit = unit.replace("ExecStart=/usr/bin/wildcat", "ExecStart=/bin/true");
    std::fs::write(&path, unit).expect("written");
    for check in [
        &["verify"][..],
        &["security", "--offline=true", "--threshold=20", "--no-pager"],
    ] {
        let mut analyze = std::process::Command::new("systemd-analyze");
        let Ok(out) = analyze.args(check).arg(&path).output() else {
            not_tested("there is no systemd-analyze here");
            return;
        };
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{check:?}: {said}");
        // systemd-analyze reports unknown settings, and still succeeds.
        assert!(!said.contains("wildcat.service"), "{check:?}: {said}");
    }
}
