//! Resolves a host's name, connects to one of its addresses, and starts TLS.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_lite::{AsyncRead, AsyncWrite};
use futures_rustls::TlsConnector;
use futures_rustls::client::TlsStream;
use futures_rustls::pki_types::ServerName;
use futures_rustls::rustls::ClientConfig;
use http_types::Url;
use smol::net::TcpStream;

use super::reach::Reach;
use super::tls;
use crate::clock;
use crate::sync::within;

/// The shortest time that each address gets: one that drops packets (often a broken IPv6 route) must not
/// use up the time of the others.
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
    /// No address could be tried because of [`Reach`]; this is the last one.
    #[error(
        "{target}: {address} is this machine's own, link-local or reserved, which keys of one account do \
         not reach (auth.local_urls)"
    )]
    OutOfReach { target: Target, address: IpAddr },
    /// No connection to any address; this is the last one's error.
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
        /// A wrong clock may be the cause.
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
    /// Sets TCP_QUICKACK: the next segment is acknowledged at once instead of after up to 40 ms. Small
    /// servers often write an answer in two pieces, and the second waits for the first one's ACK.
    pub fn acknowledge_at_once(&self) {
        let tcp = match self {
            Stream::Plain(stream) => stream,
            Stream::Tls(stream) => stream.get_ref().0,
        };
        #[cfg(any(target_os = "linux", target_os = "android"))]
        // A hint: an error only costs time.
        let _ = rustix::net::sockopt::set_tcp_quickack(tcp, true);
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        let _ = tcp;
    }
}

/// Connects to an address that `reach` allows; `timeout` covers resolution, TCP and TLS. The resolved
/// address is checked, not the name: a name whose address changes between two look-ups gains nothing.
///
/// There is no TCP keep-alive: WhatsApp's sessions send pings, and requests have a timeout.
///
/// # Errors
/// [`DialError`], which names the target and the cause.
pub async fn connect(
    target: &Target,
    tls: &Arc<ClientConfig>,
    reach: Reach,
    timeout: Duration,
) -> Result<Stream, DialError> {
    let deadline = Instant::now() + timeout;
    let connected = within(timeout, async {
        let stream = connect_tcp(target, reach, deadline).await?;
        match target.tls {
            true => start_tls(target, tls, stream).await,
            false => Ok(Stream::Plain(stream)),
        }
    });
    connected.await.unwrap_or_else(|| {
        Err(DialError::Timeout {
            target: target.clone(),
            after: timeout,
        })
    })
}

async fn start_tls(
    target: &Target,
    tls: &Arc<ClientConfig>,
    stream: TcpStream,
) -> Result<Stream, DialError> {
    let name = ServerName::try_from(target.host.clone()).map_err(|_| DialError::BadName {
        target: target.clone(),
    })?;
    match TlsConnector::from(tls.clone()).connect(name, stream).await {
        Ok(stream) => Ok(Stream::Tls(Box::new(stream))),
        Err(error) => {
            let now = clock::now();
            let clock = tls::blames_clock(&error, now);
            if clock {
                clock::doubt();
            }
            Err(DialError::Tls {
                target: target.clone(),
                words: tls::explain(&error, now),
                clock,
            })
        }
    }
}

/// Tries the addresses one after the other, in the resolver's order.
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
        // Fits: a resolver's answer has fewer than 2^32 addresses.
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

/// This machine's address on its network, as the source address of its default route; with `v6` also
/// that of IPv6. Sends nothing and does not block.
pub fn own_addresses(v6: bool) -> Vec<IpAddr> {
    // Addresses for documentation (RFC 5737, RFC 3849): the default route leads to them.
    let mut routes = vec![("0.0.0.0:0", "192.0.2.1:9")];
    if v6 {
        routes.push(("[::]:0", "[2001:db8::1]:9"));
    }
    let address = |(own, other): (&str, &str)| {
        let socket = std::net::UdpSocket::bind(own).ok()?;
        socket.connect(other).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    routes
        .into_iter()
        .filter_map(address)
        .filter(|ip| !ip.is_loopback() && !ip.is_unspecified())
        .collect()
}
