//! What systemd is told (`Type=notify`): that the server is ready, that it stops, and that it is
//! alive. Without `NOTIFY_SOCKET` in the environment nobody is told anything.
//!
//! The watchdog is fed from the event thread, so that one that hangs is not, and only while storage
//! works: a commit that takes longer than half the watchdog's time stops it. A refusal (a full
//! disk) does not: starting again would not mend it, and reading goes on.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::time::Duration;

use crate::store::{Condition, Store};

/// The service manager that started this process.
pub struct Manager {
    socket: UnixDatagram,
    address: SocketAddr,
    /// How long it waits for a sign of life before it kills; `None` if it does not.
    watchdog: Option<Duration>,
}

impl Manager {
    /// The one that the environment names.
    pub fn of_this_process() -> Option<Manager> {
        let name = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty())?;
        let text = |name| std::env::var(name).ok();
        let watchdog = watchdog(
            text("WATCHDOG_USEC").as_deref(),
            text("WATCHDOG_PID").as_deref(),
            std::process::id(),
        );
        match Manager::at(&name, watchdog) {
            Ok(manager) => Some(manager),
            Err(error) => {
                log::warn!(
                    "systemd cannot be told anything: {}: {error}",
                    name.display()
                );
                None
            }
        }
    }

    fn at(name: &OsStr, watchdog: Option<Duration>) -> io::Result<Manager> {
        let socket = UnixDatagram::unbound()?;
        // A manager that does not read must not hold up the event thread.
        socket.set_nonblocking(true)?;
        Ok(Manager {
            socket,
            address: address(name)?,
            watchdog,
        })
    }

    /// The server does what it is for.
    pub fn ready(&self, status: &str) {
        self.say(&format!("READY=1\nSTATUS={status}"));
    }

    /// The server ends.
    pub fn stopping(&self) {
        self.say("STOPPING=1\nSTATUS=stopping");
    }

    /// Feeds the watchdog for ever, as long as the server is alive.
    pub async fn feed(&self, store: &Store) {
        let Some(limit) = self.watchdog else {
            return;
        };
        let mut hungry = false;
        loop {
            let condition = store.condition();
            if works(&condition, limit / 2) {
                self.say("WATCHDOG=1");
                hungry = false;
            } else if !std::mem::replace(&mut hungry, true) {
                let busy = condition.busy_for.unwrap_or_default();
                log::error!(
                    "storage has been stuck for {} s: systemd is no longer told that all is well",
                    busy.as_secs()
                );
            }
            smol::Timer::after(limit / 2).await;
        }
    }

    fn say(&self, state: &str) {
        if let Err(error) = self.socket.send_to_addr(state.as_bytes(), &self.address) {
            log::warn!("systemd was not told {state:?}: {error}");
        }
    }
}

/// Whether storage does what it is told, be it by refusing it.
fn works(condition: &Condition, patience: Duration) -> bool {
    condition.busy_for.is_none_or(|busy| busy < patience)
}

/// What `WATCHDOG_USEC` says, if it is meant for the process `own`.
fn watchdog(usec: Option<&str>, pid: Option<&str>, own: u32) -> Option<Duration> {
    if pid.is_some_and(|pid| pid.trim().parse() != Ok(own)) {
        return None;
    }
    let usec: u64 = usec?.trim().parse().ok()?;
    Some(Duration::from_micros(usec)).filter(|limit| !limit.is_zero())
}

/// A path, or behind an `@` a name in Linux's abstract namespace.
fn address(name: &OsStr) -> io::Result<SocketAddr> {
    match name.as_bytes().strip_prefix(b"@") {
        None => SocketAddr::from_pathname(Path::new(name)),
        #[cfg(any(target_os = "linux", target_os = "android"))]
        Some(name) => {
            use std::os::linux::net::SocketAddrExt as _;
            SocketAddr::from_abstract_name(name)
        }
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        Some(_) => Err(io::ErrorKind::Unsupported.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Failing, Room, StoreError};

    #[test]
    fn the_watchdog_is_meant_for_this_process() {
        let two = Some(Duration::from_secs(2));
        assert_eq!(watchdog(Some("2000000"), None, 7), two);
        assert_eq!(watchdog(Some("2000000"), Some("7"), 7), two);
        assert_eq!(watchdog(Some("2000000"), Some("8"), 7), None);
        assert_eq!(watchdog(Some("0"), None, 7), None);
        assert_eq!(watchdog(Some("soon"), None, 7), None);
        assert_eq!(watchdog(None, None, 7), None);
    }

    #[test]
    fn a_refusal_is_no_hang() {
        let patience = Duration::from_secs(30);
        let full = Condition {
            failing: Some(Failing {
                since: 0,
                error: StoreError::Full(Room::Disk),
            }),
            refused: None,
            busy_for: Some(Duration::from_secs(1)),
        };
        assert!(works(&full, patience));
        assert!(works(&Condition::default(), patience));
        let hung = Condition {
            busy_for: Some(patience),
            ..Condition::default()
        };
        assert!(!works(&hung, patience));
    }
}
