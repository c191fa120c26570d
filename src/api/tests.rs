//! The server over real sockets, with a small answerer of its own.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_lite::{AsyncReadExt, AsyncWriteExt, FutureExt};
use http_types::{Method, Request, Response, StatusCode};
use smol::Executor;
use smol::net::{SocketAddr, TcpListener, TcpStream};

use super::answer::{Answer, One};
use super::body::read_body;
use super::error::ApiError;
use super::serve::{Live, Respond, ServerLimits, serve_with};
use super::without_panic;
use crate::settings::Envelope;

/// The longest body that the answerer takes, in bytes.
const MAX_BODY: usize = 10;

/// Longer than any of these tests should take; short enough to fail in one's own lifetime.
const PATIENCE: Duration = Duration::from_secs(20);

/// Answers `/echo` with the body; `/panics` and `/hangs` do; `/waits` answers when told; `/floods`
/// says the same for ever, `/drips` one thing, and says no more.
struct Answerer {
    /// A message comes when a request to `/waits` has begun.
    begun: async_channel::Sender<()>,
    /// `/waits` waits for a message.
    go: async_channel::Receiver<()>,
}

impl Respond for Answerer {
    fn no_endpoint(&self, _path: &str) -> ApiError {
        ApiError::Method { allow: Vec::new() }
    }

    async fn respond(&self, mut request: Request) -> Response {
        let answer = async {
            match request.url().path() {
                "/panics" => panic!("on purpose"),
                "/hangs" => std::future::pending().await,
                "/waits" => {
                    self.begun.send(()).await.unwrap();
                    self.go.recv().await.unwrap();
                    Answer::message("waited")
                }
                "/floods" | "/drips" => {
                    let mut response = Response::new(StatusCode::Ok);
                    let body = Endless {
                        left: match request.url().path() {
                            "/floods" => u64::MAX,
                            _ => 5,
                        },
                        dropped: self.begun.clone(),
                    };
                    let body = futures_lite::io::BufReader::new(body);
                    response.set_body(http_types::Body::from_reader(body, None));
                    response.ext_mut().insert(Live);
                    Ok(Answer::response(response))
                }
                "/echo" => {
                    let body = read_body(request.take_body(), MAX_BODY).await?;
                    Answer::ok(&One("body", &String::from_utf8_lossy(&body)))
                }
                _ => Err(ApiError::NoRoute),
            }
        };
        match without_panic(Method::Get, answer).await {
            Ok(Ok(answer)) => answer.into_response(Envelope::Flat),
            Ok(Err(error)) | Err(error) => error.into_response(),
        }
    }
}

/// A body that says so many bytes, and then waits for ever. A message comes when it is dropped.
struct Endless {
    left: u64,
    dropped: async_channel::Sender<()>,
}

impl futures_lite::AsyncRead for Endless {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        out: &mut [u8],
    ) -> Poll<std::io::Result<usize>> {
        let count = out
            .len()
            .min(usize::try_from(self.left).unwrap_or(out.len()));
        if count == 0 {
            return Poll::Pending;
        }
        self.left -= count as u64;
        out[..count].fill(b'x');
        Poll::Ready(Ok(count))
    }
}

impl Drop for Endless {
    fn drop(&mut self) {
        let _ = self.dropped.try_send(());
    }
}

struct Server {
    address: SocketAddr,
    begun: async_channel::Receiver<()>,
    go: async_channel::Sender<()>,
    stop: async_channel::Sender<()>,
    stopped: smol::Task<()>,
}

/// Runs a test against a server.
fn with_server<T: Future<Output = ()>>(limits: ServerLimits, test: impl FnOnce(Server) -> T) {
    let executor = Arc::new(Executor::new());
    let late = async {
        smol::Timer::after(PATIENCE).await;
        panic!("the test hangs");
    };
    let main = async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (begin, begun) = async_channel::bounded(1);
        let (go, going) = async_channel::bounded(1);
        let (stop, stopping) = async_channel::bounded::<()>(1);
        let answerer = Arc::new(Answerer {
            begun: begin,
            go: going,
        });
        let serving = serve_with(listener, answerer, limits, executor.clone(), async move {
            let _ = stopping.recv().await;
        });
        let stopped = executor.spawn(serving);
        test(Server {
            address,
            begun,
            go,
            stop,
            stopped,
        })
        .await;
    };
    smol::block_on(executor.run(main.or(late)));
}

struct Client {
    stream: TcpStream,
    buf: Vec<u8>,
}

#[derive(Debug)]
struct Reply {
    status: u16,
    /// In lower case.
    head: String,
    body: String,
}

impl Client {
    async fn connect(server: &Server) -> Client {
        Client {
            stream: TcpStream::connect(server.address).await.unwrap(),
            buf: Vec::new(),
        }
    }

    async fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    /// Reads more; false at the end.
    async fn fill(&mut self) -> bool {
        let mut buf = [0; 1024];
        let read = self.stream.read(&mut buf).await.unwrap_or(0);
        self.buf.extend_from_slice(&buf[..read]);
        read > 0
    }

    async fn reply(&mut self) -> Reply {
        let end = loop {
            let found = self.buf.windows(4).position(|w| w == b"\r\n\r\n");
            match found {
                Some(end) => break end + 4,
                None => assert!(self.fill().await, "closed within a head"),
            }
        };
        let head = String::from_utf8(self.buf.drain(..end).collect()).unwrap();
        let head = head.to_ascii_lowercase();
        let length = head
            .split_once("content-length: ")
            .map_or(0, |(_, rest)| rest.lines().next().unwrap().parse().unwrap());
        while self.buf.len() < length {
            assert!(self.fill().await, "closed within a body");
        }
        let body = String::from_utf8(self.buf.drain(..length).collect()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Reply { status, head, body }
    }

    async fn is_closed(&mut self) -> bool {
        !self.fill().await && self.buf.is_empty()
    }
}

impl Reply {
    fn says_close(&self) -> bool {
        self.head.contains("connection: close")
    }

    /// Every failure is a JSON object with words.
    fn assert_failure(&self, status: StatusCode) {
        assert_eq!(self.status, status as u16, "{self:?}");
        let json: serde_json::Value = serde_json::from_str(&self.body).unwrap();
        assert_eq!(json["ok"], false);
        assert!(!json["error"].as_str().unwrap().is_empty());
    }
}

fn post(path: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[test]
fn a_connection_takes_many_requests_also_ahead_of_their_answers() {
    with_server(ServerLimits::default(), |server| async move {
        let mut client = Client::connect(&server).await;
        client.send(&post("/echo", "one")).await;
        assert_eq!(client.reply().await.body, "{\"ok\":true,\"body\":\"one\"}");
        let both = format!(
            "{}\r\n{}{}",
            post("/echo", "two"),
            post("/nowhere", "unread"),
            "GET /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        );
        client.send(&both).await;
        assert_eq!(client.reply().await.body, "{\"ok\":true,\"body\":\"two\"}");
        client.reply().await.assert_failure(StatusCode::NotFound);
        let last = client.reply().await;
        assert_eq!(last.body, "{\"ok\":true,\"body\":\"\"}");
        assert!(last.says_close());
        assert!(client.is_closed().await);
    });
}

#[test]
fn a_request_may_come_byte_by_byte_and_in_chunks() {
    with_server(ServerLimits::default(), |server| async move {
        let mut client = Client::connect(&server).await;
        let request = "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n\
                       3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
        for byte in request.chars() {
            client.send(&byte.to_string()).await;
        }
        assert_eq!(
            client.reply().await.body,
            "{\"ok\":true,\"body\":\"abcde\"}"
        );
    });
}

#[test]
fn a_panic_is_an_answer_and_the_connection_goes_on() {
    with_server(ServerLimits::default(), |server| async move {
        let mut client = Client::connect(&server).await;
        client.send(&post("/panics", "")).await;
        let reply = client.reply().await;
        reply.assert_failure(StatusCode::InternalServerError);
        assert!(!reply.body.contains("on purpose"));
        client.send(&post("/echo", "on")).await;
        assert_eq!(client.reply().await.status, 200);
    });
}

#[test]
fn what_is_not_http_is_told_so() {
    with_server(ServerLimits::default(), |server| async move {
        let long = format!(
            "GET / HTTP/1.1\r\nHost: x\r\nA: {}\r\n\r\n",
            "a".repeat(20_000)
        );
        for (request, status) in [
            ("\x16\x03\x01 tls", StatusCode::BadRequest),
            ("GET / HTTP/1.1\r\n\r\n", StatusCode::BadRequest),
            ("GET / HTTP/1.1\r\nHo st: x\r\n\r\n", StatusCode::BadRequest),
            (
                "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
                StatusCode::BadRequest,
            ),
            (
                "BREW /ping HTTP/1.1\r\nHost: x\r\n\r\n",
                StatusCode::MethodNotAllowed,
            ),
            (long.as_str(), StatusCode::RequestHeaderFieldsTooLarge),
        ] {
            let mut client = Client::connect(&server).await;
            client.send(request).await;
            let reply = client.reply().await;
            reply.assert_failure(status);
            assert!(reply.says_close());
            assert!(client.is_closed().await);
        }
    });
}

#[test]
fn a_body_over_the_limit_is_refused_before_it_is_sent() {
    with_server(ServerLimits::default(), |server| async move {
        let mut client = Client::connect(&server).await;
        client
            .send(
                "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\
                 Expect: 100-continue\r\n\r\n",
            )
            .await;
        let reply = client.reply().await;
        reply.assert_failure(StatusCode::PayloadTooLarge);
        assert!(reply.says_close());

        // Without an announced length it is found out on the way.
        let mut client = Client::connect(&server).await;
        client
            .send("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
            .await;
        client.send("ff\r\n0123456789abcdef").await;
        client
            .reply()
            .await
            .assert_failure(StatusCode::PayloadTooLarge);
    });
}

#[test]
fn a_client_that_asks_is_told_to_continue() {
    with_server(ServerLimits::default(), |server| async move {
        let mut client = Client::connect(&server).await;
        client
            .send(
                "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\
                 Expect: 100-continue\r\n\r\n",
            )
            .await;
        assert_eq!(client.reply().await.status, 100);
        client.send("hi").await;
        let reply = client.reply().await;
        assert_eq!(reply.body, "{\"ok\":true,\"body\":\"hi\"}");
        assert!(!reply.says_close());
    });
}

#[test]
fn old_clients_are_answered_and_closed() {
    with_server(ServerLimits::default(), |server| async move {
        let mut client = Client::connect(&server).await;
        client.send("GET /echo HTTP/1.0\r\n\r\n").await;
        assert_eq!(client.reply().await.status, 200);
        assert!(client.is_closed().await);
    });
}

#[test]
fn slow_clients_and_slow_answers_have_an_end() {
    let short = Duration::from_millis(50);
    let limits = ServerLimits {
        head: short,
        request: short,
        ..ServerLimits::default()
    };
    with_server(limits, |server| async move {
        let mut client = Client::connect(&server).await;
        client.send("GET /echo HT").await;
        client
            .reply()
            .await
            .assert_failure(StatusCode::RequestTimeout);
        assert!(client.is_closed().await);

        let mut client = Client::connect(&server).await;
        client.send(&post("/hangs", "")).await;
        let reply = client.reply().await;
        reply.assert_failure(StatusCode::InternalServerError);
        assert!(reply.says_close());
    });
    let limits = ServerLimits {
        idle: short,
        ..ServerLimits::default()
    };
    with_server(limits, |server| async move {
        let mut client = Client::connect(&server).await;
        assert!(
            client.is_closed().await,
            "idle connections are closed without a word"
        );
    });
}

#[test]
fn a_stream_goes_out_at_once_and_ends_with_its_reader() {
    let limits = ServerLimits {
        write: Duration::from_millis(200),
        ..ServerLimits::default()
    };
    with_server(limits, |server| async move {
        // What there is comes, without waiting for more.
        let mut client = Client::connect(&server).await;
        client.send("GET /drips HTTP/1.1\r\nHost: x\r\n\r\n").await;
        let chunk = b"5\r\nxxxxx\r\n";
        while !client.buf.ends_with(chunk) {
            assert!(client.fill().await);
        }
        // It ends when the client goes, though it has nothing to say.
        drop(client);
        server.begun.recv().await.unwrap();
        // A client that takes nothing is given up, and holds up nobody meanwhile.
        let mut slow = Client::connect(&server).await;
        slow.send("GET /floods HTTP/1.1\r\nHost: x\r\n\r\n").await;
        let mut other = Client::connect(&server).await;
        other.send(&post("/echo", "hi")).await;
        assert_eq!(other.reply().await.status, 200);
        server.begun.recv().await.unwrap();
    });
}

#[test]
fn connections_over_the_limit_are_told_so() {
    let limits = ServerLimits {
        connections: 1,
        ..ServerLimits::default()
    };
    with_server(limits, |server| async move {
        let mut first = Client::connect(&server).await;
        first.send(&post("/waits", "")).await;
        server.begun.recv().await.unwrap();
        let mut second = Client::connect(&server).await;
        let reply = second.reply().await;
        reply.assert_failure(StatusCode::ServiceUnavailable);
        assert!(reply.head.contains("retry-after: "));
        assert!(second.is_closed().await);
        server.go.send(()).await.unwrap();
        assert_eq!(first.reply().await.status, 200);
    });
}

#[test]
fn who_says_nothing_makes_room_for_others() {
    let limits = ServerLimits {
        connections: 2,
        ..ServerLimits::default()
    };
    with_server(limits, |server| async move {
        let mut idle = Client::connect(&server).await;
        idle.send(&post("/echo", "a")).await;
        assert_eq!(idle.reply().await.status, 200);
        let mut halfway = Client::connect(&server).await;
        halfway.send("GET /echo HT").await;
        let mut third = Client::connect(&server).await;
        third.send(&post("/echo", "b")).await;
        assert_eq!(third.reply().await.status, 200);
        assert!(idle.is_closed().await, "it has waited longest");
        let mut fourth = Client::connect(&server).await;
        fourth.send(&post("/waits", "")).await;
        server.begun.recv().await.unwrap();
        assert!(halfway.is_closed().await);
        third.send(&post("/echo", "c")).await;
        assert_eq!(third.reply().await.status, 200);
        server.go.send(()).await.unwrap();
        assert_eq!(fourth.reply().await.status, 200);
    });
}

#[test]
fn stopping_answers_what_has_begun_and_nothing_more() {
    with_server(ServerLimits::default(), |server| async move {
        let mut idle = Client::connect(&server).await;
        idle.send(&post("/echo", "a")).await;
        assert_eq!(idle.reply().await.status, 200);
        let mut busy = Client::connect(&server).await;
        busy.send(&post("/waits", "")).await;
        server.begun.recv().await.unwrap();

        server.stop.close();
        assert!(idle.is_closed().await);
        server.go.send(()).await.unwrap();
        let reply = busy.reply().await;
        assert_eq!((reply.status, reply.says_close()), (200, true));
        drop(busy);
        server.stopped.await;
        assert!(TcpStream::connect(server.address).await.is_err());
    });
}

#[test]
fn a_head_request_gets_the_length_alone() {
    with_server(ServerLimits::default(), |server| async move {
        let mut client = Client::connect(&server).await;
        client
            .send("HEAD /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .await;
        while client.fill().await {}
        let text = String::from_utf8(client.buf.clone()).unwrap();
        assert!(text.contains("content-length: 21"), "{text}");
        assert!(text.ends_with("\r\n\r\n"), "{text}");
    });
}
