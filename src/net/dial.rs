//! Connections: a name becomes addresses, an address a TCP stream, and that a TLS stream.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_lite::{AsyncRead, AsyncWrite, future};
use futures_rustls::TlsConnector;
use futures_rustls::client::TlsStream;
use futures_rustls::pki_types::ServerName;
use futures_rustls::rustls::ClientConfig;
use http_types::Url;
use smol::Timer;
use smol::net::TcpStream;

use super::reach::Reach;
use super::tls;
use crate::clock;
use crate::sync::within;

/// Each address gets at least this long where there is time left, so that one that swallows packets
/// (a broken IPv6 route, most often) does not use up the time of all.
const MIN_PER_ADDRESS: Duration = Duration::from_secs(2);

/// Where to connect to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    /// A name or a numeric address, IPv6 without brackets.
    pub host: String,
    pub port: u16,
    pub tls: bool,
}

impl Target {
    /// The target of an `http`, `https` or `wss` address; `None` for any other.
    pub fn of(url: &Url) -> Option<Target> {
        let tls = match url.scheme() {
            "https" | "wss" => true,
            "http" => false,
            _ => return None,
        };
        let host = url.host_str()?;
        Some(Target {
            host: host
                .trim_start_matches('[')
                .trim_end_matches(']')
                .to_owned(),
            port: url.port().unwrap_or(if tls { 443 } else { 80 }),
            tls,
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    #[error("{target}: the name cannot be resolved: {source}")]
    Resolve { target: Target, source: io::Error },
    #[error("{target}: the name has no address")]
    NoAddress { target: Target },
    /// All addresses that were left are out of [`Reach`]; this is about the last one.
    #[error(
        "{target}: {address} is this machine's own, link-local or reserved, which keys of one account do \
         not reach (auth.local_urls)"
    )]
    OutOfReach { target: Target, address: IpAddr },
    /// No address could be reached; this is about the last one.
    #[error("{target}: cannot connect to {address}: {source}")]
    Connect {
        target: Target,
        address: SocketAddr,
        source: io::Error,
    },
    #[error("{target}: {host:?} cannot stand in a certificate", host = target.host)]
    BadName { target: Target },
    #[error("{target}: no TLS connection: {words}")]
    Tls {
        target: Target,
        words: String,
        /// Whether the clock may be to blame.
        clock: bool,
    },
    #[error("{target}: no connection within {after:?}")]
    Timeout { target: Target, after: Duration },
}

/// A connection, encrypted or not.
#[derive(Debug)]
pub enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// What comes next is acknowledged at once, not up to 40 ms later. Peers that write an answer in
    /// two pieces, as many small servers do, wait with the second one for that.
    pub fn acknowledge_at_once(&self) {
        let tcp = match self {
            Stream::Plain(stream) => stream,
            Stream::Tls(stream) => stream.get_ref().0,
        };
        #[cfg(any(target_os = "linux", target_os = "android"))]
        // It is a hint: without it all works, only later.
        let _ = rustix::net::sockopt::set_tcp_quickack(tcp, true);
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        let _ = tcp;
    }
}

/// Connects, within `timeout` for all of it, to an address within `reach`: that is looked at here, after
/// the name is resolved, so that a name which changes its address between two look-ups gains nothing.
///
/// There is no TCP keep-alive: WhatsApp's sessions ping by themselves, and requests have a timeout.
///
/// # Errors
/// [`DialError`], which names the target and what to look at.
pub async fn connect(
    target: &Target,
    tls: &Arc<ClientConfig>,
    reach: Reach,
    timeout: Duration,
) -> Result<Stream, DialError> {
    let deadline = Instant::now() + timeout;
    future::or(
        async {
            let stream = connect_tcp(target, reach, deadline).await?;
            if !target.tls {
                return Ok(Stream::Plain(stream));
            }
            let name =
                ServerName::try_from(target.host.clone()).map_err(|_| DialError::BadName {
                    target: target.clone(),
                })?;
            match TlsConnector::from(tls.clone()).connect(name, stream).await {
                Ok(stream) => Ok(Stream::Tls(Box::new(stream))),
                Err(error) => {
                    let now = clock::now();
                    let blamed = tls::blames_clock(&error, now);
                    if blamed {
                        clock::doubt();
                    }
                    Err(DialError::Tls {
                        target: target.clone(),
                        words: tls::explain(&error, now),
                        clock: blamed,
                    })
                }
            }
        },
        async {
            Timer::at(deadline).await;
            Err(DialError::Timeout {
                target: target.clone(),
                after: timeout,
            })
        },
    )
    .await
}

/// Tries the addresses in the resolver's order, one after the other.
async fn connect_tcp(
    target: &Target,
    reach: Reach,
    deadline: Instant,
) -> Result<TcpStream, DialError> {
    // Names are looked up on a thread of the `blocking` pool; numeric addresses need none.
    let addresses = smol::net::resolve((target.host.as_str(), target.port))
        .await
        .map_err(|source| DialError::Resolve {
            target: target.clone(),
            source,
        })?;
    let mut last = DialError::NoAddress {
        target: target.clone(),
    };
    for (index, &address) in addresses.iter().enumerate() {
        if !reach.allows(address.ip()) {
            last = DialError::OutOfReach {
                target: target.clone(),
                address: address.ip(),
            };
            continue;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        // Fits: nobody's name has four billion addresses.
        let share = left / (addresses.len() - index) as u32;
        let share = share.max(MIN_PER_ADDRESS);
        let attempt = within(share, TcpStream::connect(address)).await;
        let attempt = attempt.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()));
        match attempt.and_then(|stream| {
            stream.set_nodelay(true)?;
            Ok(stream)
        }) {
            Ok(stream) => return Ok(stream),
            Err(source) => {
                last = DialError::Connect {
                    target: target.clone(),
                    address,
                    source,
                }
            }
        }
    }
    Err(last)
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
        }
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_close(cx),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_close(cx),
        }
    }
}

/// The addresses of this machine that others on its networks know, as far as the system tells: those from
/// which it would send. Nothing is sent, and nothing waits. With `v6` also that of IPv6.
pub fn own_addresses(v6: bool) -> Vec<IpAddr> {
    // Of documentation (RFC 5737, RFC 3849): the route to them is that to the world.
    let mut ways = vec![("0.0.0.0:0", "192.0.2.1:9")];
    if v6 {
        ways.push(("[::]:0", "[2001:db8::1]:9"));
    }
    let address = |(own, other): (&str, &str)| {
        let socket = std::net::UdpSocket::bind(own).ok()?;
        socket.connect(other).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    ways.into_iter()
        .filter_map(address)
        .filter(|ip| !ip.is_loopback() && !ip.is_unspecified())
        .collect()
}
