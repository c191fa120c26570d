//! Notifies systemd (`Type=notify`): ready, stopping, and the watchdog's pings. Does nothing without
//! `NOTIFY_SOCKET` in the environment.
//!
//! The event thread sends the pings, so that they stop when it hangs. They also stop while a commit takes
//! longer than half the watchdog's time, but not while storage refuses writes (a full disk): a restart
//! would not help, and reads still work.

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
    /// The watchdog's timeout; `None` if it is off.
    watchdog: Option<Duration>,
}

impl Manager {
    /// The manager that the environment names.
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
                log::warn!("systemd cannot be notified: {}: {error}", name.display());
                None
            }
        }
    }

    fn at(name: &OsStr, watchdog: Option<Duration>) -> io::Result<Manager> {
        let socket = UnixDatagram::unbound()?;
        // A manager that does not read must not block the event thread.
        socket.set_nonblocking(true)?;
        Ok(Manager {
            socket,
            address: address(name)?,
            watchdog,
        })
    }

    /// Reports that the server is ready.
    pub fn ready(&self, status: &str) {
        self.say(&format!("READY=1\nSTATUS={status}"));
    }

    /// Reports that the server stops.
    pub fn stopping(&self) {
        self.say("STOPPING=1\nSTATUS=stopping");
    }

    /// Sends the watchdog's pings for ever, while storage works.
    pub async fn feed(&self, store: &Store) {
        let Some(limit) = self.watchdog else {
            return;
        };
        let mut starved = false;
        loop {
            let condition = store.condition();
            if works(&condition, limit / 2) {
                self.say("WATCHDOG=1");
                starved = false;
            } else if !std::mem::replace(&mut starved, true) {
                let busy = condition.busy_for.unwrap_or_default();
                log::error!(
                    "storage has been stuck for {} s: the systemd watchdog gets no more pings",
                    busy.as_secs()
                );
            }
            smol::Timer::after(limit / 2).await;
        }
    }

    fn say(&self, state: &str) {
        if let Err(error) = self.socket.send_to_addr(state.as_bytes(), &self.address) {
            log::warn!("systemd was not notified of {state:?}: {error}");
        }
    }
}

/// Whether storage answers within `patience`; a refusal is an answer.
fn works(condition: &Condition, patience: Duration) -> bool {
    condition.busy_for.is_none_or(|busy| busy < patience)
}

/// Parses `WATCHDOG_USEC`; `None` if `WATCHDOG_PID` names another process than `own`.
fn watchdog(usec: Option<&str>, pid: Option<&str>, own: u32) -> Option<Duration> {
    if pid.is_some_and(|pid| pid.trim().parse() != Ok(own)) {
        return None;
    }
    let usec: u64 = usec?.trim().parse().ok()?;
    Some(Duration::from_micros(usec)).filter(|limit| !limit.is_zero())
}

/// Parses `NOTIFY_SOCKET`: a path, or after `@` a name in Linux's abstract namespace.
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
    fn the_watchdog_of_another_process_is_ignored() {
        let two = Some(Duration::from_secs(2));
        assert_eq!(watchdog(Some("2000000"), None, 7), two);
        assert_eq!(watchdog(Some("2000000"), Some("7"), 7), two);
        assert_eq!(watchdog(Some("2000000"), Some("8"), 7), None);
        assert_eq!(watchdog(Some("0"), None, 7), None);
        assert_eq!(watchdog(Some("soon"), None, 7), None);
        assert_eq!(watchdog(None, None, 7), None);
    }

    #[test]
    fn a_refusing_storage_is_not_stuck() {
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
