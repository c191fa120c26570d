//! surf's back end: HTTP/1.1 over this crate's connections.
//!
//! One deadline covers a request, from resolution to the last byte of the answer's body. Bodies of known
//! length are sent with `Content-Length`, never chunked. Redirects are not followed: the registered
//! address is the one that is meant. async-h1 encodes requests; answers are parsed here, because receivers of
//! webhooks are often minimal servers (HTTP/1.0, bodies until close, interim answers), and because
//! async-h1 and http-types panic over headers that are not ASCII.

mod body;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod head;
mod pool;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_h1::client::Encoder;
use futures_lite::io::{AsyncReadExt, AsyncWriteExt, Cursor};
use futures_rustls::rustls::ClientConfig;
use http_types::headers::USER_AGENT;
use http_types::{Method, Request, Response, StatusCode};
use smol::Executor;

use self::body::{Chunks, Lease, LimitedBody};
use self::head::{Framing, Head};
pub use self::head::{RawHead, is_token};
use self::pool::{Pool, Shared};
use super::dial::{self, DialError, Stream, Target};
use super::reach::Reach;
use crate::sync::within;

/// Bytes of a request per write.
const WRITE: usize = 8 << 10;

/// What a client may use.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// For a whole exchange, with the body.
    pub timeout: Duration,
    /// Bytes of an answer's body, after the transfer coding.
    pub max_body: usize,
    /// Connections kept open for the next request, over all hosts.
    pub max_idle: usize,
    /// How long such a connection is kept.
    pub idle_timeout: Duration,
}

/// Why a request failed. In a [`surf::Error`] (by `downcast_ref`), and in the [`io::Error`] of reading a
/// body.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    #[error("the address is neither http nor https, or has no host")]
    BadUrl,
    #[error("the header {0:?} has a character that cannot stand in one")]
    BadHeader(String),
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error("the connection broke: {0}")]
    Broken(#[from] io::Error),
    #[error("the connection was closed without an answer")]
    Closed,
    /// The same on a kept connection: the peer may have closed it as idle.
    #[error("a kept connection was closed without an answer")]
    Stale,
    #[error("the answer is not HTTP: {0}")]
    BadAnswer(String),
    /// Outside of 100 to 599.
    #[error("the answer has the unusual status {0}")]
    UnusualStatus(u32),
    #[error("the answer is larger than {limit} bytes")]
    TooLarge { limit: usize },
    #[error("no complete answer within {after:?}")]
    Timeout { after: Duration },
}

/// A surf client; clones share its pool. `executor` runs the task that closes idle connections, while
/// there are some.
pub fn client(
    limits: Limits,
    tls: Arc<ClientConfig>,
    executor: Arc<Executor<'static>>,
) -> surf::Client {
    within_reach(limits, tls, executor, Reach::Everywhere)
}

fn within_reach(
    limits: Limits,
    tls: Arc<ClientConfig>,
    executor: Arc<Executor<'static>>,
    reach: Reach,
) -> surf::Client {
    surf::Client::with_http_client(Backend {
        pool: Pool::new(limits.max_idle, limits.idle_timeout, executor),
        limits,
        tls,
        reach,
    })
}

/// A client for each [`Reach`]. They share no connections: the reach is checked when dialling.
#[derive(Debug, Clone)]
pub struct Clients {
    everywhere: surf::Client,
    other_hosts: surf::Client,
    public: surf::Client,
}

impl Clients {
    /// Clients like [`client`]; the limits are those of each.
    pub fn new(
        limits: Limits,
        tls: Arc<ClientConfig>,
        executor: Arc<Executor<'static>>,
    ) -> Clients {
        let client = |reach| within_reach(limits, tls.clone(), executor.clone(), reach);
        Clients {
            everywhere: client(Reach::Everywhere),
            other_hosts: client(Reach::OtherHosts),
            public: client(Reach::Public),
        }
    }

    /// The client for `reach`.
    pub fn of(&self, reach: Reach) -> &surf::Client {
        match reach {
            Reach::Everywhere => &self.everywhere,
            Reach::OtherHosts => &self.other_hosts,
            Reach::Public => &self.public,
        }
    }

    /// One client for all, for a network in memory.
    #[cfg(test)]
    pub(crate) fn same(client: surf::Client) -> Clients {
        Clients {
            everywhere: client.clone(),
            other_hosts: client.clone(),
            public: client,
        }
    }
}

#[derive(Debug)]
struct Backend {
    limits: Limits,
    tls: Arc<ClientConfig>,
    pool: Arc<Pool>,
    reach: Reach,
}

#[async_trait::async_trait]
impl surf::HttpClient for Backend {
    async fn send(&self, request: Request) -> Result<Response, http_types::Error> {
        let after = self.limits.timeout;
        let deadline = Instant::now() + after;
        let answer = within(after, self.exchange(request, deadline)).await;
        let answer = answer.unwrap_or(Err(HttpError::Timeout { after }));
        answer.map_err(|error| {
            let status = match error {
                HttpError::Timeout { .. } => StatusCode::GatewayTimeout,
                _ => StatusCode::BadGateway,
            };
            http_types::Error::new(status, error)
        })
    }
}

impl Backend {
    async fn exchange(
        &self,
        mut request: Request,
        deadline: Instant,
    ) -> Result<Response, HttpError> {
        let target = Target::of(request.url()).ok_or(HttpError::BadUrl)?;
        check_headers(&request)?;
        if request.header(USER_AGENT).is_none() {
            request.insert_header(USER_AGENT, concat!("wildcat/", env!("CARGO_PKG_VERSION")));
        }
        if let Some(stream) = self.pool.take(&target).await {
            // The peer may close a kept connection as it is used. Idempotent requests are repeated; for
            // others the caller decides.
            let again = can_repeat(&request).then(|| request.clone());
            match (
                self.attempt(&target, stream, request, deadline).await,
                again,
            ) {
                (Err(HttpError::Closed | HttpError::Broken(_)), Some(again)) => request = again,
                (Err(HttpError::Closed | HttpError::Broken(_)), None) => {
                    return Err(HttpError::Stale);
                }
                (result, _) => return result,
            }
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let stream = dial::connect(&target, &self.tls, self.reach, left).await?;
        self.attempt(&target, stream, request, deadline).await
    }

    /// One exchange on one connection.
    async fn attempt(
        &self,
        target: &Target,
        mut stream: Stream,
        request: Request,
        deadline: Instant,
    ) -> Result<Response, HttpError> {
        let method = request.method();
        write(request, &mut stream).await?;
        stream.acknowledge_at_once();
        let Head {
            raw,
            rest,
            framing,
            keep_alive,
        } = head::read(&mut stream, method).await?;

        let shared = Shared::new(stream);
        let mut lease = keep_alive.then(|| Lease {
            stream: shared.clone(),
            target: target.clone(),
            pool: self.pool.clone(),
        });
        let limit = self.limits.max_body;
        let mut response = raw.into_response();
        let mut length = None;
        let reader: body::Reader = match framing {
            Framing::Chunked => Box::new(Chunks::new(rest, shared)),
            Framing::Length(bytes_to_come) => {
                if bytes_to_come > limit as u64 {
                    return Err(HttpError::TooLarge { limit });
                }
                if rest.len() as u64 > bytes_to_come {
                    // Bytes behind the body must not be read as the next answer.
                    lease = None;
                }
                length = Some(bytes_to_come);
                Box::new(Cursor::new(rest).chain(shared).take(bytes_to_come))
            }
            Framing::UntilClose => Box::new(Cursor::new(rest).chain(shared)),
        };
        let body = LimitedBody::new(reader, limit, length, deadline, lease);
        response.set_body(body.into_body());
        Ok(response)
    }
}

/// The status of an answer to [`client`], also one that [`StatusCode`] has no name for.
pub fn status(response: &surf::Response) -> u16 {
    match response.ext::<RawHead>() {
        Some(raw) => raw.status,
        None => response.status().into(),
    }
}

/// The raw value of an answer's last header called `name` (lower case).
pub fn header<'r>(response: &'r surf::Response, name: &str) -> Option<&'r [u8]> {
    match response.ext::<RawHead>() {
        Some(raw) => raw.header(name),
        None => Some(response.header(name)?.last().as_str().as_bytes()),
    }
}

/// Writes a request; a small one in one packet.
async fn write(request: Request, stream: &mut Stream) -> io::Result<()> {
    let mut encoder = Encoder::new(request);
    let mut buf = vec![0; WRITE];
    loop {
        let mut len = 0;
        // The encoder writes no chunk into a very small buffer.
        while buf.len() - len >= WRITE / 8 {
            match encoder.read(&mut buf[len..]).await? {
                0 => break,
                count => len += count,
            }
        }
        if len == 0 {
            return stream.flush().await;
        }
        stream.write_all(&buf[..len]).await?;
    }
}

/// Refuses line ends in headers, which http-types allows: they would inject further headers.
fn check_headers(request: &Request) -> Result<(), HttpError> {
    for (name, values) in request.iter() {
        let values_are_good = values.iter().all(|value| {
            value
                .as_str()
                .bytes()
                .all(|b| b == b'\t' || (b >= b' ' && b != 0x7f))
        });
        if !is_token(name.as_str().as_bytes()) || !values_are_good {
            return Err(HttpError::BadHeader(name.to_string()));
        }
    }
    Ok(())
}

/// Whether a request may be sent again: it is idempotent, and has no body that was consumed.
fn can_repeat(request: &Request) -> bool {
    let idempotent = matches!(
        request.method(),
        Method::Get | Method::Head | Method::Options | Method::Delete | Method::Put
    );
    idempotent && request.is_empty() == Some(true)
}

#[cfg(test)]
mod tests;
