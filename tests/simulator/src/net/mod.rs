//! Sockets, TLS, WebSocket, HTTP. The logic is in [`crate::service`].

mod chat;
mod faulty;
mod media;
mod page;
mod power;
mod stream;

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use async_channel::{Receiver, Sender};
use futures_lite::{AsyncReadExt, FutureExt};
use futures_rustls::TlsAcceptor;
use futures_rustls::server::TlsStream;
use http_types::{Request, Response};
use smol::LocalExecutor;
use smol::net::{TcpListener, TcpStream};

use crate::admin;
use crate::certs::NoiseIdentity;
use crate::service::Service;
use stream::{Replayed, Shared};

pub(crate) use media::file_response;
pub use power::{Cut, Port, Power};

/// Open sockets at one time; the next waits in the listener's backlog.
const MAX_CONNECTIONS: usize = 1024;
/// A request head longer than this is no request of any client.
const MAX_HEAD: usize = 16 * 1024;
/// What a stranger may take to make himself known: TLS, the request head, the handshake.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long an HTTP connection may wait for its next request.
const HTTP_IDLE: Duration = Duration::from_secs(60);
/// Bytes of an unread request body that are skipped before the connection is closed instead.
const MAX_SKIPPED: usize = 1024 * 1024;
/// Where clients find the chat socket.
const CHAT_PATH: &str = "/ws/chat";

/// What every connection shares. One thread owns it; no borrow lives across an `.await`.
pub struct Hub {
    /// The service.
    pub service: RefCell<Service>,
    /// Its side of Noise.
    pub identity: NoiseIdentity,
    /// Notified when the service has a new earliest deadline.
    pub wake: Sender<()>,
    /// Whether the service has power.
    pub power: Power,
}

/// Commands to the thread of the service.
pub enum Command {
    /// The power goes; answered when every connection is dead.
    Lose(Cut, Sender<()>),
    /// The power comes back; answered when connections are accepted.
    Restore(Sender<()>),
    /// A request to the phones' hands, past the network.
    Hands(Box<Request>, Sender<Response>),
}

impl Hub {
    /// Runs `f` on the service and lets everything it caused take effect.
    pub fn with<T>(&self, f: impl FnOnce(&mut Service) -> T) -> T {
        let mut service = self.service.borrow_mut();
        let before = service.earliest();
        let out = f(&mut service);
        service.settle();
        if service.earliest() != before {
            // A full channel already holds the wake-up that this one would be.
            let _ = self.wake.try_send(());
        }
        out
    }
}

/// Serves until the other end of `commands` is closed.
pub async fn serve(
    ex: &LocalExecutor<'_>,
    port: Port,
    tls: TlsAcceptor,
    hub: Rc<Hub>,
    wake: Receiver<()>,
    commands: Receiver<Command>,
) {
    let accept = async {
        // A permit comes back when its connection's task ends, however it ends.
        let (permit_in, permit_out) = async_channel::bounded::<()>(MAX_CONNECTIONS);
        for _ in 0..MAX_CONNECTIONS {
            let _ = permit_in.try_send(());
        }
        loop {
            hub.power.there().await;
            let listener = match port.listen() {
                Ok(listener) => listener,
                Err(e) => {
                    log::error!("the port cannot be listened on: {e}");
                    smol::Timer::after(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let serving = hub.power.serving();
            hub.power.set_listening(true);
            let lost = async {
                hub.power.lost().await;
            };
            lost.or(accept_all(
                ex,
                &listener,
                &tls,
                &hub,
                &permit_in,
                &permit_out,
            ))
            .await;
            drop(listener);
            hub.power.set_listening(false);
            drop(serving);
        }
    };
    let timers = async {
        loop {
            let due = hub.service.borrow().next_deadline();
            match due {
                Some(wait) => {
                    let nap = async {
                        smol::Timer::after(wait).await;
                    };
                    let news = async {
                        let _ = wake.recv().await;
                    };
                    nap.or(news).await;
                }
                None => {
                    let _ = wake.recv().await;
                }
            }
            let mut service = hub.service.borrow_mut();
            service.tick();
            service.settle();
        }
    };
    let obey = async {
        while let Ok(command) = commands.recv().await {
            match command {
                Command::Lose(cut, done) => {
                    hub.power.lose(cut).await;
                    let _ = done.try_send(());
                }
                Command::Restore(done) => {
                    hub.power.restore().await;
                    let _ = done.try_send(());
                }
                Command::Hands(request, answer) => {
                    let hub = hub.clone();
                    ex.spawn(async move {
                        let _ = answer.try_send(admin::by_hand(&hub, *request).await);
                    })
                    .detach();
                }
            }
        }
    };
    obey.or(accept).or(timers).await;
}

/// Takes connections for ever.
async fn accept_all(
    ex: &LocalExecutor<'_>,
    listener: &TcpListener,
    tls: &TlsAcceptor,
    hub: &Rc<Hub>,
    permit_in: &Sender<()>,
    permit_out: &Receiver<()>,
) {
    loop {
        let _ = permit_out.recv().await;
        // From here on the permit is returned on every path.
        let permit = Permit(permit_in.clone());
        let socket = match listener.accept().await {
            Ok((socket, _)) => socket,
            Err(e) => {
                log::warn!("accept: {e}");
                smol::Timer::after(Duration::from_millis(50)).await;
                continue;
            }
        };
        let (tls, hub) = (tls.clone(), hub.clone());
        ex.spawn(async move {
            let _permit = permit;
            powered(socket, tls, hub).await;
        })
        .detach();
    }
}

/// Serves one connection as long as there is power.
async fn powered(socket: TcpStream, tls: TlsAcceptor, hub: Rc<Hub>) {
    // Keeps the socket open after its task has ended.
    let wire = socket.clone();
    let serving = hub.power.serving();
    let work = async {
        if let Err(e) = connection(socket, tls, hub.clone()).await {
            log::debug!("connection: {e}");
        }
        None
    };
    let lost = async { Some(hub.power.lost().await) };
    let cut = lost.or(work).await;
    drop(serving);
    match cut {
        None => {}
        Some(Cut::Reset) => power::reset(wire),
        Some(Cut::Silent) => {
            hub.power.there().await;
            power::reset(wire);
        }
    }
}

struct Permit(Sender<()>);

impl Drop for Permit {
    fn drop(&mut self) {
        let _ = self.0.try_send(());
    }
}

async fn connection(socket: TcpStream, tls: TlsAcceptor, hub: Rc<Hub>) -> anyhow::Result<()> {
    socket.set_nodelay(true)?;
    let (head, io) = within(PATIENCE, async {
        let mut io = tls.accept(socket).await?;
        let head = read_head(&mut io).await?;
        Ok((head, io))
    })
    .await?;
    let path = request_path(&head).to_owned();
    let io = Replayed::new(head, io);
    if path == CHAT_PATH {
        return chat::serve(io, hub).await;
    }
    http(Shared::new(io), &hub).await
}

/// Serves HTTP requests on one connection until it is closed or idle.
///
/// This is async-h1's own loop without its timer: that one would start the thread of a second
/// reactor for nothing.
async fn http(mut io: Shared<Replayed<TlsStream<TcpStream>>>, hub: &Hub) -> anyhow::Result<()> {
    loop {
        let idle = async {
            smol::Timer::after(HTTP_IDLE).await;
            Ok(None)
        };
        let decoded = async_h1::server::decode(io.clone()).or(idle).await;
        let Some((mut request, mut body)) = decoded.map_err(|e| anyhow::anyhow!("request: {e}"))?
        else {
            return Ok(());
        };
        let close = request
            .header("connection")
            .is_some_and(|v| v.as_str().eq_ignore_ascii_case("close"));
        let method = request.method();
        let response = match media::respond(hub, &mut request).await? {
            Some(response) => response,
            None => match page::respond(hub, &request).await? {
                Some(response) => response,
                None => admin::respond(hub, request).await,
            },
        };
        let mut response = async_h1::server::Encoder::new(response, method);
        futures_lite::io::copy(&mut response, &mut io).await?;
        // What the handler did not read must be out of the way of the next request, within reason.
        let mut rest = [0u8; 4096];
        let mut skipped = 0;
        loop {
            let n = body.read(&mut rest).await?;
            skipped += n;
            if n == 0 {
                break;
            }
            if skipped > MAX_SKIPPED {
                return Ok(());
            }
        }
        if close {
            return Ok(());
        }
    }
}

/// Gives up on `work` after `limit`.
async fn within<T>(limit: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    work.or(async {
        smol::Timer::after(limit).await;
        Err(io::ErrorKind::TimedOut.into())
    })
    .await
}

async fn read_head(io: &mut TlsStream<TcpStream>) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(1024);
    let mut chunk = [0u8; 2048];
    loop {
        let n = io.read(&mut chunk).await?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        head.extend_from_slice(&chunk[..n]);
        if head.windows(4).any(|w| w == b"\r\n\r\n") {
            return Ok(head);
        }
        if head.len() > MAX_HEAD {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "request head too long",
            ));
        }
    }
}

/// The path in a request line, without its query; empty if there is none.
fn request_path(head: &[u8]) -> &str {
    let line = head.split(|b| *b == b'\r').next().unwrap_or_default();
    std::str::from_utf8(line)
        .ok()
        .and_then(|line| line.split(' ').nth(1))
        .and_then(|target| target.split('?').next())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::request_path;

    #[test]
    fn the_path_is_found_without_its_query() {
        assert_eq!(request_path(b"GET /ws/chat?ED=x HTTP/1.1\r\n"), "/ws/chat");
        assert_eq!(request_path(b"nonsense"), "");
    }
}
