//! The accept loop and the life of a connection: every wait has an end, every amount a bound.

use std::future::Future;
use std::net::{IpAddr, Shutdown};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use async_channel::{Receiver, Sender};
use async_h1::server::Encoder;
use futures_lite::{AsyncRead, AsyncReadExt, AsyncWriteExt, FutureExt, future};
use http_types::{Method, Request, Response, StatusCode};
use smol::lock::{Semaphore, SemaphoreGuardArc};
use smol::net::{TcpListener, TcpStream};
use smol::{Executor, Timer};

use super::auth::{self, Peer};
use super::crowd::{Crowd, Never, Seat, Stand};
use super::error::{ApiError, HeldBack};
use super::http1::{Head, HeadError, Inbound, MAX_HEAD, Progress};
use crate::account::{AccountError, Caller};
use crate::runtime::tasks::{self, Kind};
use crate::sync::within;

/// How long and how much is read over behind an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Patience {
    time: Duration,
    bytes: u64,
}

/// Of a body that was not wanted, to keep its connection.
const SKIP: Patience = Patience {
    time: Duration::from_secs(2),
    bytes: 64 * 1024,
};

/// Of what comes on a connection that is being closed, so that the answer is not lost to a reset while
/// the client still sends.
const LINGER: Patience = Patience {
    time: Duration::from_secs(2),
    bytes: 4 * 1024 * 1024,
};

/// Both, for a client that was turned away.
const BRIEFLY: Patience = Patience {
    time: Duration::from_millis(500),
    bytes: 16 * 1024,
};

/// The slowest body that is waited for, in bytes a second.
const SLOWEST: u64 = 1024;

/// How long a connection that is to make room may take to go. It goes at once, but not while the thread is
/// at another task.
const MAKE_ROOM: Duration = Duration::from_secs(1);

/// The pause after the system refused to accept (usually: out of file descriptors).
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// What bounds the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerLimits {
    /// Connections at a time. One more takes the place of that which has waited longest for its
    /// client, as [`crowd`](super::crowd) says; while all are at work, it is told 503 and closed.
    pub connections: usize,
    /// How long a connection may stay without a request.
    pub idle: Duration,
    /// How long a request's head may take from its first byte.
    pub head: Duration,
    /// How long a request's body may stand still, and how long its answer may then take to be made.
    pub request: Duration,
    /// How long each 8 KB of an answer may take to be taken by the client.
    pub write: Duration,
    /// How long requests that have begun have for their answers once the server stops; after that each is
    /// told 503.
    pub stop: Duration,
}

impl Default for ServerLimits {
    fn default() -> Self {
        ServerLimits {
            connections: 256,
            idle: Duration::from_secs(60),
            head: Duration::from_secs(10),
            request: Duration::from_secs(120),
            write: Duration::from_secs(30),
            stop: Duration::from_secs(1),
        }
    }
}

/// What answers requests.
pub(super) trait Respond: Send + Sync + 'static {
    fn respond(&self, request: Request) -> impl Future<Output = Response> + Send;

    /// The error for a method that the path does not have, or for an unknown path.
    fn no_endpoint(&self, path: &str) -> ApiError;

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

/// Serves on `listener` until `stop` is ready, then answers the requests in flight and returns. The caller bounds
/// how long that may take by dropping the future.
///
/// Connections are tasks on `executor`.
pub(super) async fn serve_with<R: Respond>(
    listener: TcpListener,
    api: Arc<R>,
    limits: ServerLimits,
    executor: Arc<Executor<'static>>,
    stop: impl Future<Output = ()>,
) {
    let slots = Arc::new(Semaphore::new(limits.connections));
    let crowd = Crowd::new(limits.connections);
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
                let address = peer.ip();
                match place(&slots, &crowd, address).await {
                    Some(slot) => {
                        // At once: it may have to go before it ran for the first time.
                        let (seat, crowded_out) = crowd.enter(address, Instant::now());
                        let connection = Connection {
                            inbound: Inbound::new(stream.clone(), Some(seat.clone())),
                            stream,
                            peer: Peer(peer),
                            api: api.clone(),
                            limits,
                            stopping: stopping.clone(),
                            seat,
                            crowded_out,
                            _slot: slot,
                            _alive: alive.clone(),
                        };
                        let life = connection.run();
                        tasks::guard(&executor, Kind::Connection, "a connection", life).detach();
                    }
                    None => {
                        crowd.refused(address, Instant::now());
                        refuse(stream);
                    }
                }
                // A flood of connections leaves their tasks, and all others, their turn.
                future::yield_now().await;
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

/// A place for one more connection from `address`, which another may have to leave.
async fn place(
    slots: &Arc<Semaphore>,
    crowd: &Crowd,
    address: IpAddr,
) -> Option<SemaphoreGuardArc> {
    match slots.try_acquire_arc() {
        None if crowd.make_room(address, Instant::now()) => {
            within(MAKE_ROOM, slots.acquire_arc()).await
        }
        slot => slot,
    }
}

/// Whether accepting failed for a reason that went away with that connection.
fn is_the_clients(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}

/// Says 503, and closes.
fn refuse(mut stream: TcpStream) {
    let response = ApiError::TooManyConnections.into_response();
    say_at_once(&mut stream, response, Method::Get);
}

/// Writes an answer as far as the socket's buffer takes it, without waiting.
fn say_at_once(stream: &mut TcpStream, mut response: Response, method: Method) {
    response.insert_header("Connection", "close");
    let write = async {
        let mut bytes = Vec::new();
        Encoder::new(response, method)
            .read_to_end(&mut bytes)
            .await?;
        stream.write_all(&bytes).await
    };
    let _ = future::block_on(future::poll_once(write));
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
    /// Nothing more is said, and what still comes is read over so long.
    Close(Patience),
    /// Nothing more is read either.
    Drop,
}

/// How long is read over behind an answer of this status. A client that was turned away has sent a body in
/// vain, or never meant to send it.
fn lingering(status: StatusCode) -> Patience {
    match turns_away(status) {
        true => BRIEFLY,
        false => LINGER,
    }
}

fn turns_away(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::Unauthorized
            | StatusCode::Forbidden
            | StatusCode::NotFound
            | StatusCode::MethodNotAllowed
            | StatusCode::RequestTimeout
            | StatusCode::PayloadTooLarge
            | StatusCode::UnsupportedMediaType
            | StatusCode::TooManyRequests
            | StatusCode::RequestHeaderFieldsTooLarge
    )
}

/// Why there is no head.
enum NoHead {
    Bad(HeadError),
    TooSlow,
    Stopping,
}

/// Why there is no answer.
enum Unanswered {
    /// The client has closed its side.
    Gone,
    /// Another connection needs the place.
    CrowdedOut,
}

struct Connection<R> {
    stream: TcpStream,
    peer: Peer,
    inbound: Inbound,
    api: Arc<R>,
    limits: ServerLimits,
    /// Closed when the server stops.
    stopping: Receiver<Never>,
    seat: Arc<Seat>,
    /// Closed when another connection needs the place of this one.
    crowded_out: Receiver<Never>,
    _slot: SemaphoreGuardArc,
    _alive: Sender<Never>,
}

impl<R: Respond> Connection<R> {
    async fn run(mut self) {
        let crowded_out = self.crowded_out.clone();
        loop {
            let Some(Some(begun)) = unless_closed(&crowded_out, self.next_head()).await else {
                return;
            };
            self.seat.stands(Stand::Working(Instant::now()));
            // In a box: what an exchange needs, an idle connection does not hold.
            match Box::pin(self.exchange(begun)).await {
                Next::Keep => {
                    self.seat.stands(Stand::Idle(Instant::now()));
                    // One that sends requests without a pause leaves others their turn.
                    future::yield_now().await;
                }
                Next::Close(patience) => {
                    self.seat.stands(Stand::Dismissed(Instant::now()));
                    unless_closed(&crowded_out, Box::pin(self.linger(patience))).await;
                    return;
                }
                Next::Drop => return,
            }
        }
    }

    /// The next head; `None` if no request begins.
    async fn next_head(&self) -> Option<Result<Head, NoHead>> {
        if !self.begins().await {
            return None;
        }
        self.seat.stands(Stand::Waiting(Instant::now()));
        let head = async {
            match within(self.limits.head, self.inbound.head()).await {
                Some(head) => head.map_err(NoHead::Bad),
                None => Err(NoHead::TooSlow),
            }
        };
        let stopped = async {
            self.stopped().await;
            Err(NoHead::Stopping)
        };
        Some(head.or(stopped).await)
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

    /// Resolves when the server stops, and what has begun has had its time.
    async fn stopped(&self) {
        let _ = self.stopping.recv().await;
        Timer::after(self.limits.stop).await;
    }

    /// One request and its answer.
    async fn exchange(&mut self, begun: Result<Head, NoHead>) -> Next {
        let head = match begun {
            Ok(head) => head,
            Err(NoHead::Bad(HeadError::Closed)) => return Next::Drop,
            Err(NoHead::Bad(error)) => return self.fail(head_error(error, &*self.api)).await,
            Err(NoHead::TooSlow) => return self.fail(ApiError::SlowClient).await,
            Err(NoHead::Stopping) => return self.fail(shutting_down()).await,
        };
        let Head {
            mut request,
            keep_alive,
        } = head;
        request.ext_mut().insert(self.peer);
        if let Some(address) = auth::asks_for(&request) {
            self.seat.is_for(address);
        }
        let caller = Caller::default();
        request.ext_mut().insert(caller.clone());
        let method = request.method();
        let response = match self.outcome(request, &caller).await {
            Ok(response) => response,
            Err(Unanswered::Gone) => return Next::Drop,
            Err(Unanswered::CrowdedOut) => {
                let response = ApiError::TooManyConnections.into_response();
                say_at_once(&mut self.stream, response, method);
                return Next::Drop;
            }
        };
        if let Some(HeldBack(time)) = response.ext().get() {
            // A guess costs its sender this time, but no other connection its place.
            self.seat.stands(Stand::Dismissed(Instant::now()));
            if unless_closed(&self.crowded_out, Timer::after(*time))
                .await
                .is_none()
            {
                say_at_once(&mut self.stream, response, method);
                return Next::Drop;
            }
        }
        self.answer(response, method, keep_alive).await
    }

    /// What a request comes to.
    async fn outcome(&self, request: Request, caller: &Caller) -> Result<Response, Unanswered> {
        let patience = self.api.patience(&request, self.limits.request);
        let waits = self.api.waits(&request);
        let answer = self.api.respond(request);
        let answer = async {
            let answer = patiently(&self.inbound, self.limits.request, patience, answer).await;
            Ok(answer.unwrap_or_else(|| {
                let mut response = ApiError::TimedOut.into_response();
                response.ext_mut().insert(GivenUp);
                response
            }))
        };
        let gone = async {
            match waits {
                true => self.inbound.closed().await,
                // A client that closes only one side of the connection still gets its answer.
                false => {
                    self.inbound.left().await;
                    caller.leave();
                    future::pending().await
                }
            }
            Err(Unanswered::Gone)
        };
        let crowded_out = async {
            let _ = self.crowded_out.recv().await;
            Err(Unanswered::CrowdedOut)
        };
        let stopped = async {
            self.stopped().await;
            let mut response = shutting_down().into_response();
            response.ext_mut().insert(GivenUp);
            Ok(response)
        };
        let outcome = answer.or(gone).or(crowded_out).or(stopped).await;
        let given_up = match &outcome {
            Ok(response) => response.ext().get::<GivenUp>().is_some(),
            Err(_) => true,
        };
        if given_up {
            caller.leave();
        }
        outcome
    }

    /// Writes an answer, and reads over what is left of the request.
    async fn answer(&mut self, response: Response, method: Method, keep_alive: bool) -> Next {
        let status = response.status();
        let skip = match turns_away(status) {
            true => BRIEFLY,
            false => SKIP,
        };
        let keep = keep_alive
            && response.ext().get::<GivenUp>().is_none()
            && !self.stopping.is_closed()
            && self.inbound.can_finish(skip.bytes);
        let crowded_out = self.crowded_out.clone();
        match unless_closed(&crowded_out, self.write(response, method, keep)).await {
            Some(Some(())) if keep => {}
            Some(_) => return Next::Close(lingering(status)),
            None => return Next::Drop,
        }
        self.seat.stands(Stand::Dismissed(Instant::now()));
        let finished = within(skip.time, self.inbound.finish());
        match unless_closed(&crowded_out, finished).await {
            Some(Some(Ok(()))) => Next::Keep,
            _ => Next::Drop,
        }
    }

    async fn fail(&mut self, error: ApiError) -> Next {
        let response = error.into_response();
        let status = response.status();
        let crowded_out = self.crowded_out.clone();
        unless_closed(&crowded_out, self.write(response, Method::Get, false)).await;
        Next::Close(lingering(status))
    }

    /// Writes a response; `None` if the client does not take it.
    async fn write(&mut self, mut response: Response, method: Method, keep: bool) -> Option<()> {
        if !keep {
            response.insert_header("Connection", "close");
        }
        let live = response.ext().get::<Live>().is_some();
        let began = Instant::now();
        let mut bytes = 0;
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
            let mut write = pin!(self.stream.write_all(&buf[..len]));
            match future::poll_once(write.as_mut()).await {
                Some(written) => written.ok()?,
                None => {
                    let last = Instant::now();
                    self.seat.stands(Stand::Moving { began, last, bytes });
                    within(self.limits.write, write).await?.ok()?;
                    self.seat.stands(Stand::Working(began));
                }
            }
            bytes += len as u64;
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
    async fn linger(&self, patience: Patience) {
        let mut stream = self.stream.clone();
        if stream.shutdown(Shutdown::Write).is_err() {
            return;
        }
        let mut sink = [0; 4096];
        let mut left = patience.bytes;
        within(patience.time, async {
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

/// Marks the answer to a request that was given up: what is left of it is not waited for.
struct GivenUp;

fn shutting_down() -> ApiError {
    ApiError::Account(AccountError::ShuttingDown)
}

fn head_error(error: HeadError, api: &impl Respond) -> ApiError {
    match error {
        HeadError::TooLarge => ApiError::HeadTooLarge { limit: MAX_HEAD },
        HeadError::Malformed(words) => ApiError::Invalid(words.to_owned()),
        HeadError::Header { name, expected } => ApiError::Field {
            field: name,
            expected,
        },
        HeadError::Method(path) => api.no_endpoint(&path),
        // Answered by nothing, as there is nothing to be answered.
        HeadError::Closed => ApiError::SlowClient,
    }
}

/// `future`, or `None` once `closes` is closed.
async fn unless_closed<T>(closes: &Receiver<Never>, future: impl Future<Output = T>) -> Option<T> {
    // First: a client may see to it that `future` never has to wait.
    let closed = async {
        let _ = closes.recv().await;
        None
    };
    closed.or(async { Some(future.await) }).await
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
