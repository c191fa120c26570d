//! An answer's body, with a limit in bytes and a deadline. At its end the connection returns to the pool.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use futures_lite::AsyncReadExt as _;
use futures_lite::io::{AsyncBufRead as _, AsyncRead, BufReader, Chain, Cursor};
use http_types::Body;
use smol::Timer;

use super::super::chunked::Chunked;
use super::super::dial::Target;
use super::HttpError;
use super::pool::{Pool, Shared};

/// The buffer between a body and its reader.
const BUFFER: usize = 2 << 10;

/// Where a body comes from.
pub(super) type Reader = Box<dyn AsyncRead + Send + Sync + Unpin>;

/// Decodes the chunked coding.
pub(super) struct Chunks {
    input: BufReader<Chain<Cursor<Vec<u8>>, Shared>>,
    connection: Shared,
    chunked: Chunked,
    done: bool,
}

impl Chunks {
    /// `rest`: the bytes of the body that were read with the head.
    pub(super) fn new(rest: Vec<u8>, connection: Shared) -> Chunks {
        let input = Cursor::new(rest).chain(connection.clone());
        Chunks {
            input: BufReader::with_capacity(BUFFER, input),
            connection,
            chunked: Chunked::default(),
            done: false,
        }
    }
}

impl AsyncRead for Chunks {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if out.is_empty() {
            return Poll::Ready(Ok(0));
        }
        while !this.done {
            let input = ready!(Pin::new(&mut this.input).poll_fill_buf(cx))?;
            if input.is_empty() {
                let error = HttpError::BadAnswer("its body is cut off".to_owned());
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::UnexpectedEof, error)));
            }
            let behind = input.len();
            let step = this.chunked.decode(input, out)?;
            Pin::new(&mut this.input).consume(step.used);
            this.done = step.done;
            if step.done && step.used < behind {
                // Bytes behind the body must not be read as the next answer.
                this.connection.spoil();
            }
            if step.written > 0 {
                return Poll::Ready(Ok(step.written));
            }
        }
        Poll::Ready(Ok(0))
    }
}

/// A connection that can serve again.
pub(super) struct Lease {
    pub(super) stream: Shared,
    pub(super) target: Target,
    pub(super) pool: Arc<Pool>,
}

impl Lease {
    /// Puts the connection into the pool, unless it has another holder.
    pub(super) fn give_back(self) {
        if let Some(stream) = self.stream.into_inner() {
            self.pool.put(self.target, stream);
        }
    }
}

/// A body that is being received.
pub(super) struct LimitedBody {
    /// `None` at the end, and after an error.
    reader: Option<Reader>,
    limit: usize,
    /// Bytes left below the limit.
    left: usize,
    /// Bytes left of the declared length.
    expected: Option<u64>,
    started: Instant,
    deadline: Timer,
    lease: Option<Lease>,
}

impl LimitedBody {
    pub(super) fn new(
        reader: Reader,
        limit: usize,
        expected: Option<u64>,
        deadline: Instant,
        lease: Option<Lease>,
    ) -> LimitedBody {
        LimitedBody {
            reader: Some(reader),
            limit,
            left: limit,
            expected,
            started: Instant::now(),
            deadline: Timer::at(deadline),
            lease,
        }
    }

    pub(super) fn into_body(mut self) -> Body {
        if self.expected == Some(0) {
            // Readers do not poll an empty body: finish it here.
            let _ = self.finish();
            return Body::empty();
        }
        // The length is at most the limit, a `usize`, where it is known.
        let length = self.expected.and_then(|length| length.try_into().ok());
        Body::from_reader(BufReader::with_capacity(BUFFER, self), length)
    }

    fn fail(&mut self, kind: io::ErrorKind, error: HttpError) -> Poll<io::Result<usize>> {
        self.reader = None;
        self.lease = None;
        Poll::Ready(Err(io::Error::new(kind, error)))
    }

    fn finish(&mut self) -> Poll<io::Result<usize>> {
        if self.expected.is_some_and(|left| left > 0) {
            let error = HttpError::BadAnswer("its body is cut off".to_owned());
            return self.fail(io::ErrorKind::UnexpectedEof, error);
        }
        self.reader = None;
        if let Some(lease) = self.lease.take() {
            lease.give_back();
        }
        Poll::Ready(Ok(0))
    }
}

impl AsyncRead for LimitedBody {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let Some(reader) = &mut this.reader else {
            return Poll::Ready(Ok(0));
        };
        let result = match Pin::new(reader).poll_read(cx, buf) {
            Poll::Ready(result) => result,
            Poll::Pending => {
                ready!(Pin::new(&mut this.deadline).poll(cx));
                let after = this.started.elapsed();
                return this.fail(io::ErrorKind::TimedOut, HttpError::Timeout { after });
            }
        };
        match result {
            Ok(0) if !buf.is_empty() => this.finish(),
            Ok(count) if count > this.left => {
                let limit = this.limit;
                this.fail(io::ErrorKind::InvalidData, HttpError::TooLarge { limit })
            }
            Ok(count) => {
                this.left -= count;
                if let Some(expected) = &mut this.expected {
                    *expected = expected.saturating_sub(count as u64);
                    if *expected == 0 {
                        // Readers that know the length do not poll for the end.
                        let _ = this.finish();
                    }
                }
                Poll::Ready(Ok(count))
            }
            Err(error) => {
                let kind = error.kind();
                this.fail(kind, HttpError::Broken(error))
            }
        }
    }
}
