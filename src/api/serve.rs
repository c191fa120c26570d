//! The accept loop and the life of a connection: every wait has an end, every amount a bound.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use async_channel::{Receiver, Sender};
use async_h1::server::Encoder;
use futures_lite::{AsyncRead, AsyncReadExt, AsyncWriteExt, FutureExt, future};
use http_types::{Method, Request, Response};
use smol::lock::{Semaphore, SemaphoreGuardArc};
use smol::net::{TcpListener, TcpStream};
use smol::{Executor, Timer};

use crate::account::Caller;

use super::auth::Peer;
use super::error::ApiError;
use super::http1::{Head, HeadError, Inbound, MAX_HEAD, Progress};
use super::{Api, ApiContext};
use crate::runtime::tasks::{self, Kind};

/// How much of a body that nobody wanted is read over to keep its connection, in bytes.
const MAX_SKIPPED_BODY: u64 = 64 * 1024;

/// How long and how much a connection that is being closed is read on, so that the answer is not
/// lost to a reset while the client still sends.
const LINGER: Duration = Duration::from_secs(2);
const MAX_LINGER: u64 = 4 * 1024 * 1024;

/// The slowest body that is waited for, in bytes a second.
const SLOWEST: u64 = 1024;

/// How long a connection that is to make room may take to go.
const MAKE_ROOM: Duration = Duration::from_millis(100);

/// The pause after the system refused to accept (usually: out of file descriptors).
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// What bounds the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerLimits {
    /// Connections at a time. One more takes the place of that which has waited longest for its
    /// client; while all are at work, it is told 503 and closed.
    pub connections: usize,
    /// How long a connection may stay without a request.
    pub idle: Duration,
    /// How long a request's head may take from its first byte.
    pub head: Duration,
    /// How long a request's body may stand still, and how long its answer may then take to be made.
    pub request: Duration,
    /// How long each 8 KB of an answer may take to be taken by the client.
    pub write: Duration,
}

impl Default for ServerLimits {
    fn default() -> Self {
        ServerLimits {
            connections: 256,
            idle: Duration::from_secs(60),
            head: Duration::from_secs(10),
            request: Duration::from_secs(120),
            write: Duration::from_secs(30),
        }
    }
}

/// Serves the API on `listener` until `stop` is ready, then answers the requests in flight and
/// returns. The caller bounds how long that may take by dropping the future.
///
/// Connections are tasks on `executor`.
pub async fn serve(
    listener: TcpListener,
    context: ApiContext,
    executor: Arc<Executor<'static>>,
    stop: impl Future<Output = ()>,
) {
    let limits = context.config.limits;
    let api = Arc::new(Api::new(context));
    serve_with(listener, api, limits, executor, stop).await;
}

/// What answers requests.
pub(super) trait Respond: Send + Sync + 'static {
    fn respond(&self, request: Request) -> impl Future<Output = Response> + Send;

    /// How long a request may take once its body is there, where `usual` is the usual time.
    fn patience(&self, _request: &Request, usual: Duration) -> Duration {
        usual
    }

    /// Whether the answer may be a long time in coming only because nothing happens: it ends when
    /// the client goes away.
    fn waits(&self, _request: &Request) -> bool {
        false
    }
}

/// Marks a response whose body comes when it comes: what there is of it goes out at once, and it
/// ends when the client goes away.
pub(super) struct Live;

/// [`serve`] for any answerer.
pub(super) async fn serve_with<R: Respond>(
    listener: TcpListener,
    api: Arc<R>,
    limits: ServerLimits,
    executor: Arc<Executor<'static>>,
    stop: impl Future<Output = ()>,
) {
    let slots = Arc::new(Semaphore::new(limits.connections));
    let waiting = Arc::new(Waiting::default());
    // Nothing is ever sent: dropping `running` tells the connections to end, and `ended` learns
    // that the last one has dropped its sender.
    let (running, stopping) = async_channel::bounded(1);
    let (alive, ended) = async_channel::bounded::<Never>(1);
    let mut stop = std::pin::pin!(stop);
    loop {
        let accepted = async { Some(listener.accept().await) };
        let stopped = async {
            stop.as_mut().await;
            None
        };
        // The stop first: a flood of connections must not keep it waiting.
        match stopped.or(accepted).await {
            None => break,
            Some(Ok((stream, peer))) => {
                // Answers are written whole; waiting for more to send only delays them.
                let _ = stream.set_nodelay(true);
                let slot = match slots.try_acquire_arc() {
                    // Whoever says nothing makes room for those who might.
                    None if waiting.close_oldest() => within(MAKE_ROOM, slots.acquire_arc()).await,
                    slot => slot,
                };
                match slot {
                    Some(slot) => {
                        let (closer, crowded_out) = async_channel::bounded(1);
                        // At once: it may have to go before it ran for the first time.
                        let place = waiting.enter(&closer);
                        let connection = Connection {
                            inbound: Inbound::new(stream.clone()),
                            stream,
                            peer: Peer(peer),
                            api: api.clone(),
                            limits,
                            stopping: stopping.clone(),
                            waiting: waiting.clone(),
                            closer,
                            crowded_out,
                            _slot: slot,
                            _alive: alive.clone(),
                        };
                        let life = connection.run(place);
                        tasks::guard(&executor, Kind::Connection, "a connection", life).detach();
                    }
                    None => refuse(stream),
                }
            }
            Some(Err(error)) if is_the_clients(&error) => {}
            Some(Err(error)) => {
                log::error!("cannot accept a connection: {error}");
                Timer::after(ACCEPT_PAUSE).await;
            }
        }
    }
    drop((listener, running, alive));
    let _ = ended.recv().await;
}

/// The connections that wait for their clients: those that are idle, within a head, or about to close.
/// A client that opens as many as there may be and says nothing keeps nobody else out so.
#[derive(Debug, Default)]
struct Waiting {
    next: AtomicU64,
    /// By the order in which they began to wait.
    places: Mutex<BTreeMap<u64, Sender<Never>>>,
}

impl Waiting {
    /// Lets a connection be closed, by `closer`, until its place is dropped.
    fn enter(self: &Arc<Self>, closer: &Sender<Never>) -> Place {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.places().insert(number, closer.clone());
        Place {
            waiting: Arc::clone(self),
            number,
        }
    }

    /// Closes the one that has waited longest; whether there was one.
    fn close_oldest(&self) -> bool {
        let oldest = self.places().pop_first();
        oldest.is_some_and(|(_, closer)| closer.close())
    }

    fn places(&self) -> MutexGuard<'_, BTreeMap<u64, Sender<Never>>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's place among those that wait.
struct Place {
    waiting: Arc<Waiting>,
    number: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.waiting.places().remove(&self.number);
    }
}

/// The type of a channel that only ever closes.
#[derive(Debug)]
enum Never {}

/// Whether accepting failed for a reason that went away with that connection.
fn is_the_clients(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}

/// Says 503 as far as the socket's buffer takes it, without waiting, and closes.
fn refuse(mut stream: TcpStream) {
    let mut response = ApiError::TooManyConnections.into_response();
    response.insert_header("Connection", "close");
    let write = async {
        let mut bytes = Vec::new();
        Encoder::new(response, Method::Get)
            .read_to_end(&mut bytes)
            .await?;
        stream.write_all(&bytes).await
    };
    let _ = future::block_on(future::poll_once(write));
}

/// `future`, or `None` once `limit` has passed.
async fn within<T>(limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    async { Some(future.await) }
        .or(async {
            Timer::after(limit).await;
            None
        })
        .await
}

/// Waits for an answer: for `usual` while nothing of the body moves, and as long as that comes in at
/// least as fast as [`SLOWEST`] on average; for `patience` once it is there. `None` after that.
async fn patiently<T>(
    inbound: &Inbound,
    usual: Duration,
    patience: Duration,
    answer: impl Future<Output = T>,
) -> Option<T> {
    let began = Instant::now();
    let late = async {
        loop {
            let deadline = deadline(began, inbound.progress(), usual, patience);
            if deadline <= Instant::now() {
                return None;
            }
            Timer::at(deadline).await;
        }
    };
    async { Some(answer.await) }.or(late).await
}

/// When a request is to be given up. Pure.
fn deadline(began: Instant, body: Progress, usual: Duration, patience: Duration) -> Instant {
    let last = body.last.unwrap_or(began).max(began);
    if body.done {
        return last + patience;
    }
    let earned = Duration::from_secs(body.bytes / SLOWEST);
    (last + usual).min(began + usual + earned)
}

/// What becomes of a connection behind an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Another request may come.
    Keep,
    /// Nothing more is read.
    Close,
}

struct Connection<R> {
    stream: TcpStream,
    peer: Peer,
    inbound: Inbound,
    api: Arc<R>,
    limits: ServerLimits,
    /// Closed when the server stops.
    stopping: Receiver<Never>,
    waiting: Arc<Waiting>,
    /// Closed when another connection needs the room of this one, which waits.
    closer: Sender<Never>,
    crowded_out: Receiver<Never>,
    _slot: SemaphoreGuardArc,
    _alive: Sender<Never>,
}

impl<R: Respond> Connection<R> {
    async fn run(mut self, mut place: Place) {
        loop {
            let Some(Some(head)) = self.unless_crowded_out(self.next_head()).await else {
                return;
            };
            drop(place);
            // In a box: what an exchange needs, an idle connection does not hold.
            if Box::pin(self.exchange(head)).await == Next::Close {
                let _place = self.waiting.enter(&self.closer);
                self.unless_crowded_out(Box::pin(self.linger())).await;
                return;
            }
            place = self.waiting.enter(&self.closer);
        }
    }

    /// `future`, or `None` once another connection needs this one's room.
    async fn unless_crowded_out<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        let crowded_out = async {
            let _ = self.crowded_out.recv().await;
            None
        };
        crowded_out.or(async { Some(future.await) }).await
    }

    /// The next head, or `None` within it if it is too slow; `None` if no request begins.
    async fn next_head(&self) -> Option<Option<Result<Head, HeadError>>> {
        match self.begins().await {
            true => Some(within(self.limits.head, self.inbound.head()).await),
            false => None,
        }
    }

    /// Waits for a request to begin; `false` if none does, or the server stops.
    async fn begins(&self) -> bool {
        let stopped = async {
            let _ = self.stopping.recv().await;
            false
        };
        let begun = within(self.limits.idle, self.inbound.begins());
        stopped.or(async { begun.await.unwrap_or(false) }).await
    }

    /// One request and its answer.
    async fn exchange(&mut self, head: Option<Result<Head, HeadError>>) -> Next {
        let head = match head {
            Some(Ok(head)) => head,
            Some(Err(HeadError::Closed)) => return Next::Close,
            Some(Err(HeadError::TooLarge)) => {
                return self.fail(ApiError::HeadTooLarge { limit: MAX_HEAD }).await;
            }
            Some(Err(HeadError::Malformed(words))) => {
                return self.fail(ApiError::Invalid(words.to_owned())).await;
            }
            Some(Err(HeadError::Method(path))) => {
                return self.fail(super::no_endpoint(&path)).await;
            }
            None => return self.fail(ApiError::SlowClient).await,
        };
        let Head {
            mut request,
            keep_alive,
        } = head;
        request.ext_mut().insert(self.peer);
        let caller = Caller::default();
        request.ext_mut().insert(caller.clone());
        let method = request.method();
        let patience = self.api.patience(&request, self.limits.request);
        let waits = self.api.waits(&request);
        let answer = self.api.respond(request);
        let answer = patiently(&self.inbound, self.limits.request, patience, answer);
        let answer = match waits {
            true => match self.unless_gone(answer).await {
                Some(answer) => answer,
                None => return Next::Close,
            },
            // Who closes only one side of the connection still gets its answer.
            false => {
                let leaves = async {
                    self.inbound.left().await;
                    caller.leave();
                    future::pending().await
                };
                answer.or(leaves).await
            }
        };
        if answer.is_none() {
            caller.leave();
        }
        let keep = keep_alive
            && answer.is_some()
            && !self.stopping.is_closed()
            && self.inbound.can_finish(MAX_SKIPPED_BODY);
        let response = answer.unwrap_or_else(|| ApiError::TimedOut.into_response());
        if self.write(response, method, keep).await.is_none() || !keep {
            return Next::Close;
        }
        match within(self.limits.head, self.inbound.finish()).await {
            Some(Ok(())) => Next::Keep,
            Some(Err(_)) | None => Next::Close,
        }
    }

    async fn fail(&mut self, error: ApiError) -> Next {
        self.write(error.into_response(), Method::Get, false).await;
        Next::Close
    }

    /// Writes a response; `None` if the client does not take it.
    async fn write(&mut self, mut response: Response, method: Method, keep: bool) -> Option<()> {
        if !keep {
            response.insert_header("Connection", "close");
        }
        let live = response.ext().get::<Live>().is_some();
        let mut encoder = Encoder::new(response, method);
        let mut buf = vec![0; 8 * 1024];
        loop {
            let len = match live {
                true => {
                    let piece = read_piece(&mut encoder, &mut buf);
                    self.unless_gone(piece).await?.ok()?
                }
                // Head and body of most answers leave in one packet.
                false => read_full(&mut encoder, &mut buf).await.ok()?,
            };
            if len == 0 {
                return Some(());
            }
            within(self.limits.write, self.stream.write_all(&buf[..len]))
                .await?
                .ok()?;
        }
    }

    /// `future`, or `None` once the client has closed its side of the connection.
    async fn unless_gone<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        let gone = async {
            self.inbound.closed().await;
            None
        };
        async { Some(future.await) }.or(gone).await
    }

    /// Closes: no more is written, and what the client still sends is read over for a while.
    async fn linger(&self) {
        let mut stream = self.stream.clone();
        if stream.shutdown(Shutdown::Write).is_err() {
            return;
        }
        let mut sink = [0; 4096];
        let mut left = MAX_LINGER;
        within(LINGER, async {
            while let Ok(read @ 1..) = stream.read(&mut sink).await {
                left = left.saturating_sub(read as u64);
                if left == 0 {
                    break;
                }
            }
        })
        .await;
    }
}

/// Fills `buf`, unless the end comes first.
async fn read_full(encoder: &mut Encoder, buf: &mut [u8]) -> std::io::Result<usize> {
    let mut len = 0;
    while len < buf.len() {
        match encoder.read(&mut buf[len..]).await? {
            0 => break,
            n => len += n,
        }
    }
    Ok(len)
}

/// Reads what there is, at least one byte unless the end has come.
async fn read_piece(encoder: &mut Encoder, buf: &mut [u8]) -> std::io::Result<usize> {
    /// The encoder cannot put a chunk into less than some bytes.
    const ROOM: usize = 1024;
    let mut len = 0;
    future::poll_fn(|cx| {
        while buf.len() - len >= ROOM {
            match Pin::new(&mut *encoder).poll_read(cx, &mut buf[len..]) {
                Poll::Ready(Ok(0)) => break,
                Poll::Ready(Ok(n)) => len += n,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending if len == 0 => return Poll::Pending,
                Poll::Pending => break,
            }
        }
        Poll::Ready(Ok(len))
    })
    .await
}

#[cfg(test)]
mod deadline_tests {
    use super::*;

    #[test]
    fn a_body_that_moves_is_waited_for_and_one_that_drips_is_not() {
        let began = Instant::now();
        let seconds = Duration::from_secs;
        let (usual, patience) = (seconds(30), seconds(900));
        let at = |bytes, last: u64, done| {
            let body = Progress {
                bytes,
                last: Some(began + seconds(last)),
                done,
            };
            deadline(began, body, usual, patience) - began
        };
        let none = Progress {
            bytes: 0,
            last: None,
            done: false,
        };
        assert_eq!(deadline(began, none, usual, patience) - began, usual);
        // A megabyte in 100 s may go on; then it stands still.
        assert_eq!(at(1 << 20, 100, false), seconds(130));
        // A byte now and then earns nothing.
        assert_eq!(at(50, 29, false), seconds(30));
        // Once the body is there, the answer has its own time.
        assert_eq!(at(1 << 20, 100, true), seconds(1_000));
    }
}
