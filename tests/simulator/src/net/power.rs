//! The power of the service: it goes without a goodbye, and comes back.
//!
//! Persistent state of WhatsApp (accounts, keys, queues of unacknowledged stanzas) is kept
//! over it; all connections and data in flight are lost.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use event_listener::Event;
use rustix::net::{AddressFamily, SocketType, bind, getsockname, listen, socket, sockopt};
use smol::net::{TcpListener, TcpStream};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 128;

/// How connections die.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Clients hear of it at once, by a reset: the program died, its machine did not.
    Reset,
    /// Clients get no packets during the outage, as from a dead machine. Their data are accepted by
    /// the network and lost. The reset comes with the power.
    Silent,
}

/// The state of the power.
#[derive(Default)]
pub struct Power {
    gone: Cell<Option<Cut>>,
    changed: Event,
    /// Connections that are being served, and the socket that takes new ones.
    served: Cell<usize>,
    listening: Cell<bool>,
}

impl Power {
    pub fn is_on(&self) -> bool {
        self.gone.get().is_none()
    }

    /// Takes the power away; returns when no connection is served any more.
    pub async fn lose(&self, cut: Cut) {
        self.gone.set(Some(cut));
        self.changed.notify(usize::MAX);
        self.until(|| (self.served.get() == 0).then_some(())).await;
    }

    /// Gives it back; returns when connections are taken.
    pub async fn restore(&self) {
        self.gone.set(None);
        self.changed.notify(usize::MAX);
        self.until(|| self.listening.get().then_some(())).await;
    }

    /// Connections are taken, or not any more.
    pub fn set_listening(&self, listening: bool) {
        self.listening.set(listening);
        self.changed.notify(usize::MAX);
    }

    /// Resolves while the power is away.
    pub async fn lost(&self) -> Cut {
        self.until(|| self.gone.get()).await
    }

    /// Resolves while it is there.
    pub async fn there(&self) {
        self.until(|| self.is_on().then_some(())).await;
    }

    async fn until<T>(&self, look: impl Fn() -> Option<T>) -> T {
        loop {
            let listener = self.changed.listen();
            if let Some(found) = look() {
                return found;
            }
            listener.await;
        }
    }

    /// Counts a connection as served, until it is dropped.
    pub fn serving(&self) -> Serving<'_> {
        self.served.set(self.served.get() + 1);
        Serving(self)
    }
}

/// A connection that is being served.
pub struct Serving<'a>(&'a Power);

impl Drop for Serving<'_> {
    fn drop(&mut self) {
        self.0.served.set(self.0.served.get() - 1);
        self.0.changed.notify(usize::MAX);
    }
}

/// A port that stays this simulator's own while it refuses connections.
pub struct Port {
    addr: SocketAddr,
    /// Bound, and never listening.
    _reserved: OwnedFd,
}

impl Port {
    /// Takes `addr`, or with port 0 a free one.
    pub fn take(addr: SocketAddr) -> io::Result<Port> {
        if addr.port() != 0 {
            // With SO_REUSEPORT another process could share the port unnoticed.
            drop(std::net::TcpListener::bind(addr)?);
        }
        let reserved = bound(addr)?;
        let addr = SocketAddr::try_from(getsockname(&reserved)?)?;
        Ok(Port {
            addr,
            _reserved: reserved,
        })
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Takes connections until it is dropped.
    pub fn listen(&self) -> io::Result<TcpListener> {
        let fd = bound(self.addr)?;
        listen(&fd, BACKLOG)?;
        let listener = std::net::TcpListener::from(fd);
        Ok(smol::Async::new(listener)?.into())
    }
}

/// A socket with that address, which others of this process may share.
fn bound(addr: SocketAddr) -> io::Result<OwnedFd> {
    let family = match addr {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let fd = socket(family, SocketType::STREAM, None)?;
    rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC)?;
    sockopt::set_socket_reuseaddr(&fd, true)?;
    sockopt::set_socket_reuseport(&fd, true)?;
    bind(&fd, &addr)?;
    Ok(fd)
}

/// Closes a connection as a crash does: unsent data are dropped, and the peer gets a reset.
pub fn reset(socket: TcpStream) {
    if let Err(e) = sockopt::set_socket_linger(&socket, Some(Duration::ZERO)) {
        log::warn!("a connection ends in good order instead of by a reset: {e}");
    }
    drop(socket);
}
