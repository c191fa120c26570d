//! The event log as server-sent events (the `EventSource` of browsers).
//!
//! Each event is a block: `id` (the event's id, which comes back as `Last-Event-ID`), `event` (its
//! kind) and `data` (its JSON, on one line). While nothing happens, a comment says every now and then
//! that the stream is alive, with the `id` of the position reached: a reader whose filter lets
//! nothing pass does not fall behind.
//!
//! The body is made as the client takes it, some events at a time: a slow one holds a few KB, and is
//! cut off by the server's write timeout.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_lite::io::BufReader;
use futures_lite::{AsyncRead, future};
use http_types::{Body, Response, StatusCode};
use serde_json::json;
use smol::lock::SemaphoreGuardArc;

use super::super::answer::Answer;
use super::super::context::Req;
use super::super::error::ApiError;
use super::super::serve::Live;
use super::reader::{Filter, LOOKS, News, Reader, Start, numbered, turn};
use crate::store::events::{self, Most, StoredEvent};

/// What is read of the log in one go.
const PIECE: Most = Most {
    events: 64,
    bytes: 32 * 1024,
    looks: LOOKS,
};

/// How long a browser waits before it connects again, in milliseconds.
const RETRY: u32 = 3_000;

/// A stream of the events behind `start`.
///
/// # Errors
/// What can be said with a status: 410 for an event that the log does not have, 429 for too many readers.
pub fn open(req: &Req, filter: Filter, start: &Start) -> Result<Answer, ApiError> {
    let reader = Reader::of(req, filter, start)?;
    let feed = Feed {
        _turn: turn(req)?,
        heartbeat: req.state().config.heartbeat,
        told: None,
        ended: false,
        reader,
    };
    let body = BufReader::with_capacity(4 * 1024, Pieces::new(feed));
    let mut response = Response::new(StatusCode::Ok);
    response.set_body(Body::from_reader(body, None));
    response.insert_header("Content-Type", "text/event-stream; charset=utf-8");
    response.insert_header("Cache-Control", "no-store");
    // nginx would hold it back.
    response.insert_header("X-Accel-Buffering", "no");
    response.ext_mut().insert(Live);
    Ok(Answer::response(response))
}

/// What a stream is made of.
struct Feed {
    reader: Reader,
    heartbeat: Duration,
    /// The position that the client was told of.
    told: Option<u64>,
    ended: bool,
    _turn: SemaphoreGuardArc,
}

impl Feed {
    /// The next piece; empty at the end.
    async fn next(&mut self) -> String {
        if self.told.is_none() {
            // At once, so that the client knows that it is connected, and where.
            return format!("retry: {RETRY}\n{}", self.position_block());
        }
        while !self.ended {
            let found = match self.reader.scan(PIECE) {
                Ok(found) => found,
                Err(error) => return self.last_words(&error),
            };
            if let Some(last) = found.events.last() {
                self.told = Some(last.number);
                return found.events.iter().map(block).collect();
            }
            if found.to < found.log.last {
                // Others have their turn between two looks.
                future::yield_now().await;
                continue;
            }
            match self.reader.news(self.heartbeat).await {
                News::Events => {}
                News::Nothing => return self.position_block(),
                News::Stop => self.ended = true,
            }
        }
        String::new()
    }

    /// A sign of life, with the position if it has moved.
    fn position_block(&mut self) -> String {
        let position = self.reader.position;
        if self.told == Some(position) {
            return ":\n\n".to_owned();
        }
        self.told = Some(position);
        match self.reader.store.read(|tx| events::id_of(tx, position)) {
            Ok(id) => format!(":\nid: {id}\n\n"),
            Err(_) => ":\n\n".to_owned(),
        }
    }

    /// Why the stream ends here.
    fn last_words(&mut self, error: &ApiError) -> String {
        self.ended = true;
        let data = match error {
            ApiError::Gone {
                words,
                first_available,
                last,
            } => json!({"error": words, "firstAvailable": first_available, "last": last}),
            other => {
                log::error!("an event stream ends: {other}");
                json!({"error": "Internal server error"})
            }
        };
        format!("event: error\ndata: {data}\n\n")
    }
}

/// An event as the stream has it. JSON has no line ends.
fn block(event: &StoredEvent) -> String {
    format!(
        "id: {}\nevent: {}\ndata: {}\n\n",
        event.id,
        event.header.kind.name(),
        numbered(event)
    )
}

type Next = Pin<Box<dyn Future<Output = (Feed, String)> + Send>>;

/// The pieces as a body. Only one at a time is made, when the one before it was read.
struct Pieces {
    /// The mutex is never locked: it makes this `Sync`, which bodies have to be.
    next: Mutex<Option<Next>>,
    piece: String,
    read: usize,
}

impl Pieces {
    fn new(feed: Feed) -> Pieces {
        Pieces {
            next: Mutex::new(Some(Pieces::after(feed))),
            piece: String::new(),
            read: 0,
        }
    }

    fn after(mut feed: Feed) -> Next {
        Box::pin(async move {
            let piece = feed.next().await;
            (feed, piece)
        })
    }
}

impl AsyncRead for Pieces {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.read == this.piece.len() {
            let next = this.next.get_mut().unwrap_or_else(PoisonError::into_inner);
            let Some(future) = next else {
                return Poll::Ready(Ok(0));
            };
            let (feed, piece) = ready!(future.as_mut().poll(cx));
            *next = (!piece.is_empty()).then(|| Pieces::after(feed));
            this.piece = piece;
            this.read = 0;
        }
        let rest = &this.piece.as_bytes()[this.read..];
        let count = rest.len().min(out.len());
        out[..count].copy_from_slice(&rest[..count]);
        this.read += count;
        Poll::Ready(Ok(count))
    }
}
