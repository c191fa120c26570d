//! HTTP/1.x on one connection: heads in, bodies in, responses out.
//!
//! async-h1's own server loop is not used: it forgets what a client sends ahead of an answer
//! (pipelining), hangs up on HTTP/1.0 and on malformed heads without a word, and starts a second
//! runtime's threads for `Expect: 100-continue`, which curl sends with every larger upload. Its
//! encoder writes the responses.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use futures_lite::io::BufReader;
use futures_lite::{AsyncRead, AsyncWrite, future};
use http_types::{Body, Method, Request, Url};
use smol::net::TcpStream;

use super::crowd::{Seat, Stand};
use super::headers;
use crate::net::chunked::Chunked;
use crate::sync::locked;

/// The longest request head, in bytes.
pub const MAX_HEAD: usize = 16 * 1024;

/// The most header lines in a head.
const MAX_HEADERS: usize = 64;

/// How much is read from the socket at once, in bytes.
const READ: usize = 4 * 1024;

/// What tells a waiting client to send its body.
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// A request whose body is still on the wire.
#[derive(Debug)]
pub struct Head {
    pub request: Request,
    /// Whether the client wants to send more requests on this connection.
    pub keep_alive: bool,
}

/// How a body comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that have come.
    pub bytes: u64,
    /// When the last of them did; `None` before the first.
    pub last: Option<Instant>,
    /// Nothing is left of it.
    pub done: bool,
}

/// Why there is no request.
#[derive(Debug)]
pub enum HeadError {
    /// The client went away, before or within a head.
    Closed,
    TooLarge,
    /// Not HTTP, in these words.
    Malformed(&'static str),
    /// A header that cannot be understood.
    Header {
        name: &'static str,
        expected: &'static str,
    },
    /// HTTP, but a method that nobody knows, for this path.
    Method(String),
}

/// The reading side of a connection, shared between its loop and the body of the request that it
/// is at.
#[derive(Debug)]
pub struct Inbound<S = TcpStream>(Arc<Mutex<State<S>>>);

impl<S> Clone for Inbound<S> {
    fn clone(&self) -> Self {
        Inbound(Arc::clone(&self.0))
    }
}

/// What a connection runs over.
pub trait Wire: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Wire for S {}

#[derive(Debug)]
struct State<S> {
    stream: S,
    /// What was read and not used yet is `buf[pos..]`.
    buf: Vec<u8>,
    pos: usize,
    framing: Framing,
    /// What is left to write of a `100 Continue` before the body is read.
    interim: &'static [u8],
    /// When the current head was complete.
    began: Instant,
    /// Bytes of the current body that have come, and when the last of them did.
    received: u64,
    moved: Option<Instant>,
    seat: Option<Arc<Seat>>,
    waits: bool,
}

/// How much of the current request's body is to come.
#[derive(Debug)]
enum Framing {
    Done,
    Length(u64),
    Chunked(Chunked),
}

impl<S: Wire> Inbound<S> {
    /// With a seat, that one is told while the client is waited for within a body.
    pub fn new(stream: S, seat: Option<Arc<Seat>>) -> Inbound<S> {
        Inbound(Arc::new(Mutex::new(State {
            stream,
            buf: Vec::new(),
            pos: 0,
            framing: Framing::Done,
            interim: &[],
            began: Instant::now(),
            received: 0,
            moved: None,
            seat,
            waits: false,
        })))
    }

    /// A panic while the lock was held cannot leave the state half-changed in a way that reading
    /// on would make worse; the connection is closed anyway.
    fn state(&self) -> MutexGuard<'_, State<S>> {
        locked(&self.0)
    }

    /// Waits until a request begins; `false` if the client closes instead.
    pub async fn begins(&self) -> bool {
        future::poll_fn(|cx| {
            let mut state = self.state();
            loop {
                // Empty lines before a request line are to be ignored (RFC 9112, 2.2).
                let rest = &state.buf[state.pos..];
                let skipped = rest
                    .iter()
                    .take_while(|b| matches!(b, b'\r' | b'\n'))
                    .count();
                let begun = rest.len() > skipped;
                state.pos += skipped;
                if begun {
                    return Poll::Ready(true);
                }
                match ready!(state.poll_fill(cx)) {
                    Ok(0) | Err(_) => return Poll::Ready(false),
                    Ok(_) => {}
                }
            }
        })
        .await
    }

    /// Resolves when the client closes its side. What it sends ahead meanwhile is kept, up to the
    /// size of a head; a client that sends more is heard again when it is its turn.
    pub async fn closed(&self) {
        future::poll_fn(|cx| {
            let mut state = self.state();
            while state.buf.len() - state.pos < MAX_HEAD {
                match ready!(state.poll_fill(cx)) {
                    Ok(0) | Err(_) => return Poll::Ready(()),
                    Ok(_) => {}
                }
            }
            Poll::Pending
        })
        .await;
    }

    /// Resolves when the client closes its side behind a whole request. To be polled behind what reads the
    /// body, in the same task: the end of the body wakes nothing by itself.
    pub async fn left(&self) {
        let mut closed = std::pin::pin!(self.closed());
        future::poll_fn(|cx| match self.progress().done {
            true => closed.as_mut().poll(cx),
            false => Poll::Pending,
        })
        .await;
    }

    /// Reads one head. The request's body reads from here, so this must not be called again
    /// before [`Inbound::finish`] has said that the body is done.
    pub async fn head(&self) -> Result<Head, HeadError> {
        let mut searched = 0;
        let end = future::poll_fn(|cx| {
            let mut state = self.state();
            loop {
                let head = &state.buf[state.pos..];
                if head.first().is_some_and(|b| !b.is_ascii_alphabetic()) {
                    return Poll::Ready(Err(HeadError::Malformed("Malformed HTTP request")));
                }
                match head_end(head, searched) {
                    Some(end) if end <= MAX_HEAD => return Poll::Ready(Ok(end)),
                    Some(_) => return Poll::Ready(Err(HeadError::TooLarge)),
                    None if head.len() > MAX_HEAD => {
                        return Poll::Ready(Err(HeadError::TooLarge));
                    }
                    None => searched = head.len(),
                }
                match ready!(state.poll_fill(cx)) {
                    Ok(0) | Err(_) => return Poll::Ready(Err(HeadError::Closed)),
                    Ok(_) => {}
                }
            }
        })
        .await?;

        let mut state = self.state();
        let start = state.pos;
        state.pos += end;
        let parsed = parse(&state.buf[start..state.pos])?;
        let mut request = parsed.request;
        let length = match &parsed.framing {
            Framing::Done => Some(0),
            // Of 4 GiB and more a 32-bit machine knows that it is too much.
            Framing::Length(length) => Some(usize::try_from(*length).unwrap_or(usize::MAX)),
            Framing::Chunked(_) => None,
        };
        state.framing = parsed.framing;
        state.began = Instant::now();
        state.received = 0;
        state.moved = None;
        state.waits = false;
        state.interim = if parsed.expects_continue {
            CONTINUE
        } else {
            &[]
        };
        drop(state);
        if length != Some(0) {
            // Sets a Content-Type where there is none; `input` knows.
            request.set_body(Body::from_reader(
                BufReader::with_capacity(READ, RequestBody(self.clone())),
                length,
            ));
        }
        Ok(Head {
            request,
            keep_alive: parsed.keep_alive,
        })
    }

    /// How the current body comes in.
    pub fn progress(&self) -> Progress {
        let state = self.state();
        Progress {
            bytes: state.received,
            last: state.moved,
            done: matches!(state.framing, Framing::Done),
        }
    }

    /// Whether the rest of the body is short enough, at most `most` bytes, to be read over for
    /// the sake of the connection. A client that still waits for `100 Continue` may never send it.
    pub fn can_finish(&self, most: u64) -> bool {
        let state = self.state();
        match &state.framing {
            Framing::Done => true,
            Framing::Length(left) => *left <= most && state.interim.is_empty(),
            Framing::Chunked(_) => false,
        }
    }

    /// Reads over what the handler left of the body.
    ///
    /// # Errors
    /// If the client goes away or its chunks are malformed.
    pub async fn finish(&self) -> io::Result<()> {
        let mut sink = [0; 1024];
        loop {
            let read = future::poll_fn(|cx| self.state().poll_body(cx, &mut sink)).await?;
            if read == 0 {
                return Ok(());
            }
        }
    }
}

impl<S: Wire> State<S> {
    /// Reads more from the socket behind what is there; 0 at its end.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.buf.drain(..self.pos);
        self.pos = 0;
        let had = self.buf.len();
        self.buf.resize(had + READ, 0);
        let polled = Pin::new(&mut self.stream).poll_read(cx, &mut self.buf[had..]);
        let read = match &polled {
            Poll::Ready(Ok(read)) => *read,
            Poll::Ready(Err(_)) | Poll::Pending => 0,
        };
        self.buf.truncate(had + read);
        if self.buf.is_empty() {
            // An idle connection holds no memory.
            self.buf = Vec::new();
        }
        polled
    }

    /// Reads on in the current body; 0 at its end.
    fn poll_body(&mut self, cx: &mut Context<'_>, out: &mut [u8]) -> Poll<io::Result<usize>> {
        if out.is_empty() || matches!(self.framing, Framing::Done) {
            return Poll::Ready(Ok(0));
        }
        while !self.interim.is_empty() {
            let interim = self.interim;
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, interim))?;
            self.interim = &interim[written..];
        }
        loop {
            if self.pos < self.buf.len() {
                if let Some(read) = self.take_body(out)? {
                    return Poll::Ready(Ok(read));
                }
                continue;
            }
            if let Framing::Length(left) = &mut self.framing {
                // Past our buffer: an upload is copied once less.
                let most = out.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                let read = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut out[..most]))?;
                if read == 0 {
                    return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                }
                *left -= read as u64;
                if *left == 0 {
                    self.framing = Framing::Done;
                }
                return Poll::Ready(Ok(read));
            }
            if ready!(self.poll_fill(cx))? == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    /// Notes whether the client is waited for.
    fn note(&mut self, waits: bool) {
        if std::mem::replace(&mut self.waits, waits) == waits {
            return;
        }
        let Some(seat) = &self.seat else {
            return;
        };
        seat.stands(match waits {
            true => Stand::Moving {
                began: self.began,
                last: self.moved.unwrap_or(self.began),
                bytes: self.received,
            },
            false => Stand::Working(self.began),
        });
    }

    /// Takes body bytes out of the buffer; `None` if it held only framing.
    fn take_body(&mut self, out: &mut [u8]) -> io::Result<Option<usize>> {
        let there = &self.buf[self.pos..];
        match &mut self.framing {
            Framing::Done => Ok(Some(0)),
            Framing::Length(left) => {
                let most = usize::try_from(*left).unwrap_or(usize::MAX);
                let n = out.len().min(there.len()).min(most);
                out[..n].copy_from_slice(&there[..n]);
                self.pos += n;
                *left -= n as u64;
                if *left == 0 {
                    self.framing = Framing::Done;
                }
                Ok(Some(n))
            }
            Framing::Chunked(chunked) => {
                let step = chunked.decode(there, out)?;
                self.pos += step.used;
                if step.done {
                    self.framing = Framing::Done;
                    return Ok(Some(step.written));
                }
                Ok((step.written > 0).then_some(step.written))
            }
        }
    }
}

/// The body of the request that the connection is at.
struct RequestBody<S>(Inbound<S>);

impl<S: Wire> AsyncRead for RequestBody<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.0.state();
        let polled = state.poll_body(cx, out);
        state.note(polled.is_pending());
        let read = ready!(polled)?;
        if read > 0 {
            state.received += read as u64;
            state.moved = Some(Instant::now());
        }
        Poll::Ready(Ok(read))
    }
}

/// Where the head ends, if it does; bare line feeds are taken, too. `searched` bytes were looked
/// at before.
fn head_end(head: &[u8], searched: usize) -> Option<usize> {
    let from = searched.saturating_sub(3);
    let tail = &head[from..];
    tail.iter()
        .enumerate()
        .filter(|(_, b)| **b == b'\n')
        .find_map(|(i, _)| {
            if tail[i + 1..].starts_with(b"\n") {
                Some(from + i + 2)
            } else if tail[i + 1..].starts_with(b"\r\n") {
                Some(from + i + 3)
            } else {
                None
            }
        })
}

#[derive(Debug)]
struct Parsed {
    request: Request,
    keep_alive: bool,
    framing: Framing,
    expects_continue: bool,
}

/// A complete head, understood.
fn parse(head: &[u8]) -> Result<Parsed, HeadError> {
    const MALFORMED: HeadError = HeadError::Malformed("Malformed HTTP request");
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    match parsed.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Err(MALFORMED),
        Err(httparse::Error::TooManyHeaders) => return Err(HeadError::TooLarge),
        Err(httparse::Error::Version) => {
            return Err(HeadError::Malformed(
                "Only HTTP/1.0 and HTTP/1.1 are spoken here",
            ));
        }
        Err(_) => return Err(MALFORMED),
    }
    let (Some(method), Some(target), Some(minor)) = (parsed.method, parsed.path, parsed.version)
    else {
        return Err(MALFORMED);
    };
    let url = url_of(target).ok_or(HeadError::Malformed("Malformed request target"))?;
    let Ok(method) = Method::from_str(method) else {
        return Err(HeadError::Method(url.path().to_owned()));
    };
    let mut request = Request::new(method, url);
    let (mut has_host, mut close, mut expects_continue) = (false, minor == 0, false);
    let (mut length, mut chunked) = (None, false);
    headers::check(parsed.headers)
        .map_err(|(name, expected)| HeadError::Header { name, expected })?;
    for header in parsed.headers.iter() {
        let value = headers::text(header.value);
        let value = &*value;
        match header.name.to_ascii_lowercase().as_str() {
            "host" if has_host => return Err(HeadError::Malformed("More than one Host header")),
            "host" => has_host = true,
            "connection" => {
                close |= value
                    .split(',')
                    .any(|v| v.trim().eq_ignore_ascii_case("close"));
            }
            "expect" => expects_continue = value.eq_ignore_ascii_case("100-continue"),
            "content-length" => {
                let value = content_length(value)?;
                if length.is_some_and(|length| length != value) {
                    return Err(HeadError::Malformed("Contradictory Content-Length headers"));
                }
                length = Some(value);
            }
            "transfer-encoding" => {
                if chunked || !value.trim().eq_ignore_ascii_case("chunked") {
                    return Err(HeadError::Malformed("Unsupported Transfer-Encoding"));
                }
                chunked = true;
            }
            _ => {}
        }
        request.append_header(header.name, value);
    }
    if minor == 1 && !has_host {
        return Err(HeadError::Malformed("The Host header is missing"));
    }
    let framing = match (length, chunked) {
        // Two ways to say where the body ends are how requests are smuggled (RFC 9112, 6.1).
        (Some(_), true) => {
            return Err(HeadError::Malformed(
                "Both Content-Length and Transfer-Encoding",
            ));
        }
        (None, true) => Framing::Chunked(Chunked::default()),
        (None | Some(0), false) => Framing::Done,
        (Some(length), false) => Framing::Length(length),
    };
    Ok(Parsed {
        request,
        keep_alive: !close,
        framing,
        expects_continue: expects_continue && minor == 1,
    })
}

/// The target as a URL. Its host is of no interest: every one that leads here is this server.
fn url_of(target: &str) -> Option<Url> {
    if target.starts_with('/') {
        // Not by joining: `//host` would be taken for one.
        Url::parse(&format!("http://localhost{target}")).ok()
    } else if target == "*" {
        Url::parse("http://localhost/*").ok()
    } else {
        Url::parse(target).ok().filter(|url| url.has_host())
    }
}

fn content_length(value: &str) -> Result<u64, HeadError> {
    let value = value.trim();
    // `parse` would take a sign.
    if value.is_empty() || !value.bytes().all(|b| b.is_ascii_digit()) {
        return Err(HeadError::Malformed("Malformed Content-Length"));
    }
    value
        .parse()
        .map_err(|_| HeadError::Malformed("Malformed Content-Length"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(head: &str) -> String {
        match parse(head.as_bytes()) {
            Err(HeadError::Malformed(words)) => words.to_owned(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn a_head_is_understood() {
        let parsed = parse(
            b"POST /accounts/x%40y?a=1 HTTP/1.1\r\nHost: pi\r\nContent-Length: 5\r\n\
              Expect: 100-Continue\r\nX-Name: J\xc3\xbcrgen\r\n\r\n",
        )
        .unwrap();
        assert_eq!(parsed.request.method(), Method::Post);
        assert_eq!(parsed.request.url().path(), "/accounts/x%40y");
        assert_eq!(parsed.request.url().query(), Some("a=1"));
        assert!(parsed.keep_alive && parsed.expects_continue);
        assert!(matches!(parsed.framing, Framing::Length(5)));
        let name = parsed.request.header("X-Name").unwrap();
        assert_eq!(name.as_str(), "J%C3%BCrgen");
    }

    #[test]
    fn old_and_closing_clients_are_not_kept() {
        assert!(!parse(b"GET / HTTP/1.0\r\n\r\n").unwrap().keep_alive);
        assert!(
            !parse(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: TE, Close\r\n\r\n")
                .unwrap()
                .keep_alive
        );
    }

    #[test]
    fn what_could_smuggle_a_request_is_refused() {
        let with = |headers: &str| words(&format!("POST / HTTP/1.1\r\nHost: x\r\n{headers}\r\n"));
        assert!(with("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n").contains("Both"));
        assert!(with("Content-Length: 1\r\nContent-Length: 2\r\n").contains("Contradictory"));
        assert!(with("Content-Length: +1\r\n").contains("Content-Length"));
        assert!(with("Content-Length: 99999999999999999999\r\n").contains("Content-Length"));
        assert!(with("Transfer-Encoding: gzip, chunked\r\n").contains("Transfer-Encoding"));
        assert!(with("Host: y\r\n").contains("Host"));
        assert!(words("GET / HTTP/1.1\r\n\r\n").contains("Host"));
        assert!(words("GET / HTTP/2.0\r\nHost: x\r\n\r\n").contains("HTTP/1.1"));
    }

    #[test]
    fn the_end_of_a_head_is_found_across_reads() {
        let head = b"GET / HTTP/1.1\r\nHost: x\r\n\r\nrest";
        let end = head.len() - 4;
        assert_eq!(head_end(head, 0), Some(end));
        for cut in 1..end {
            assert_eq!(head_end(&head[..cut], 0), None, "{cut}");
            assert_eq!(head_end(head, cut), Some(end), "{cut}");
        }
        assert_eq!(head_end(b"GET / HTTP/1.0\n\n", 0), Some(16));
    }

    #[test]
    fn targets_of_every_form_are_paths_of_ours() {
        let path = |target| url_of(target).map(|url| url.path().to_owned());
        assert_eq!(path("/ping").as_deref(), Some("/ping"));
        assert_eq!(path("//ping").as_deref(), Some("//ping"));
        assert_eq!(path("http://elsewhere/ping").as_deref(), Some("/ping"));
        assert_eq!(path("pi:443"), None);
    }
}
