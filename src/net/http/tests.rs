use futures_lite::{AsyncWriteExt, future};
use smol::net::TcpListener;

use super::super::testing::{Authority, accept_tls, answer_all, listen, read_request, run};
use super::super::tls;
use super::*;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

fn limits() -> Limits {
    Limits {
        timeout: Duration::from_secs(20),
        max_body: 1000,
        max_idle: 2,
        idle_timeout: Duration::from_secs(20),
    }
}

fn plain(limits: Limits, executor: &Arc<Executor<'static>>) -> surf::Client {
    client(limits, tls::client_config(None).unwrap(), executor.clone())
}

/// The error behind surf's, whether it came with the head or with the body.
fn cause(error: surf::Error) -> String {
    format!("{:#}", error.into_inner())
}

/// Serves one connection: hears one request, says `answer`, closes.
async fn answer_once(listener: &TcpListener, answer: &str) -> String {
    let (mut stream, _) = listener.accept().await.unwrap();
    let request = read_request(&mut stream).await.unwrap();
    stream.write_all(answer.as_bytes()).await.unwrap();
    request
}

/// The result of a client with `limits` for `answer`.
fn received(limits: Limits, answer: &str) -> Result<(u16, String), String> {
    run(async |executor| {
        let (listener, address) = listen().await;
        let client = plain(limits, &executor);
        let ask = async {
            let mut response = client
                .get(format!("http://{address}/"))
                .await
                .map_err(cause)?;
            let body = response.body_string().await.map_err(cause)?;
            Ok((status(&response), body))
        };
        future::zip(answer_once(&listener, answer), ask).await.1
    })
}

#[test]
fn an_extra_authority_is_trusted_and_connections_are_kept() {
    run(async |executor| {
        let authority = Authority::new();
        let (listener, address) = listen().await;
        let client = client(limits(), authority.client(), executor.clone());
        let server = async { answer_all(accept_tls(&listener, &authority).await, OK).await };
        let ask = async {
            for _ in 0..3 {
                let text = client
                    .get(format!("https://localhost:{}/", address.port()))
                    .recv_string()
                    .await
                    .unwrap();
                assert_eq!(text, "hello");
            }
            drop(client);
        };
        // The server takes a single connection.
        assert_eq!(future::zip(server, ask).await.0, 3);
    });
}

#[test]
fn an_unknown_authority_is_refused() {
    run(async |executor| {
        let authority = Authority::new();
        let (listener, address) = listen().await;
        let client = plain(limits(), &executor);
        let server = async {
            let (stream, _) = listener.accept().await.unwrap();
            authority.acceptor().accept(stream).await.is_err()
        };
        let ask = async { client.get(format!("https://{address}/")).await.unwrap_err() };
        let (refused, error) = future::zip(server, ask).await;
        assert!(refused);
        let text = cause(error);
        assert!(text.contains("tls.extra_ca"), "{text}");
    });
}

#[test]
fn a_certificate_of_the_future_blames_the_clock() {
    run(async |executor| {
        let authority = Authority::valid_from(2900);
        let (listener, address) = listen().await;
        let client = client(limits(), authority.client(), executor.clone());
        let server = async {
            let (stream, _) = listener.accept().await.unwrap();
            authority.acceptor().accept(stream).await.is_err()
        };
        let ask = async { client.get(format!("https://{address}/")).await.unwrap_err() };
        let text = cause(future::zip(server, ask).await.1);
        assert!(text.contains("clock"), "{text}");
    });
}

#[test]
fn every_kind_of_body_is_read() {
    for (answer, status, body) in [
        (OK, 200, "hello"),
        (
            "HTTP/1.1 404 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
            404,
            "abcde",
        ),
        // Python's http.server.
        (
            "HTTP/1.0 200 OK\r\nServer: x\r\n\r\nuntil the end",
            200,
            "until the end",
        ),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\nno",
            500,
            "no",
        ),
        ("HTTP/1.1 204 No Content\r\n\r\n", 204, ""),
        // As Cloudflare answers.
        (
            "HTTP/1.1 522 \u{e9}\u{1b}[2J\r\nX-Name: Caf\u{e9}\r\nContent-Length: 0\r\n\r\n",
            522,
            "",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Type: nonsense\r\nTransfer-Encoding: chunked\r\n\r\n\
             3;name=\"x\" \r\nabc\r\n0\r\nX-Trailer: Caf\u{e9}\r\n\r\n",
            200,
            "abc",
        ),
        (
            "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
            302,
            "",
        ),
    ] {
        assert_eq!(
            received(limits(), answer),
            Ok((status, body.to_owned())),
            "{answer}"
        );
    }
}

#[test]
fn bodies_over_the_limit_are_cut() {
    let limits = Limits {
        max_body: 4,
        ..limits()
    };
    for answer in [
        OK,
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n",
        "HTTP/1.0 200 OK\r\n\r\nabcde",
    ] {
        let error = received(limits, answer).unwrap_err();
        assert!(error.contains("larger than 4 bytes"), "{error}");
    }
    let just = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabcd";
    assert_eq!(received(limits, just), Ok((200, "abcd".to_owned())));
}

#[test]
fn broken_answers_are_errors() {
    for (answer, text) in [
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello",
            "cut off",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
            "cut off",
        ),
        ("HTTP/1.1 200", "ends within its head"),
        ("", "closed without an answer"),
        ("hello\r\n\r\n", "no status line"),
        ("HTTP/1.1 99 Less\r\n\r\n", "status 99"),
        ("HTTP/1.1 1000 More\r\n\r\n", "status 1000"),
    ] {
        let error = received(limits(), answer).unwrap_err();
        assert!(error.contains(text), "{answer}: {error}");
    }
}

#[test]
fn a_silent_server_times_out() {
    run(async |executor| {
        let short = Limits {
            timeout: Duration::from_millis(200),
            ..limits()
        };
        let client = plain(short, &executor);
        for said in ["", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel"] {
            let (listener, address) = listen().await;
            let server = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                read_request(&mut stream).await.unwrap();
                stream.write_all(said.as_bytes()).await.unwrap();
                // Returns when the client has given up.
                read_request(&mut stream).await
            };
            let ask = client.get(format!("http://{address}/")).recv_string();
            let (gone, error) = future::zip(server, ask).await;
            assert_eq!(gone, None);
            let text = cause(error.unwrap_err());
            assert!(text.contains("no complete answer within"), "{text}");
        }
    });
}

#[test]
fn a_post_has_its_length_and_is_not_chunked() {
    run(async |executor| {
        let (listener, address) = listen().await;
        let client = plain(limits(), &executor);
        let server = answer_once(&listener, OK);
        let ask = client
            .post(format!("http://{address}/hook?x=1"))
            .header("webhook-id", "evt_1")
            .body_string("{\"a\":1}".to_owned())
            .recv_string();
        let (request, answer) = future::zip(server, ask).await;
        assert_eq!(answer.unwrap(), "hello");
        let lower = request.to_ascii_lowercase();
        assert!(
            request.starts_with("POST /hook?x=1 HTTP/1.1\r\n"),
            "{request}"
        );
        assert!(lower.contains("\r\ncontent-length: 7\r\n"), "{request}");
        assert!(!lower.contains("transfer-encoding"), "{request}");
        assert!(lower.contains("\r\nwebhook-id: evt_1\r\n"), "{request}");
        assert!(lower.contains("\r\nuser-agent: wildcat/"), "{request}");
        assert!(
            lower.contains(&format!("\r\nhost: {address}\r\n")),
            "{request}"
        );
        assert!(request.ends_with("\r\n\r\n{\"a\":1}"), "{request}");
    });
}

#[test]
fn headers_cannot_be_smuggled_in() {
    run(async |executor| {
        let client = plain(limits(), &executor);
        for (name, value) in [("x-a", "1\r\nx-b: 2"), ("x-a\r\nx-b", "2"), ("x a", "1")] {
            let error = client
                .get("http://127.0.0.1:1/")
                .header(name, value)
                .await
                .unwrap_err();
            let error: HttpError = error.downcast().unwrap();
            assert!(matches!(error, HttpError::BadHeader(_)), "{error}");
        }
        let error = client.get("ftp://127.0.0.1/").await.unwrap_err();
        assert!(matches!(error.downcast().unwrap(), HttpError::BadUrl));
    });
}

#[test]
fn a_kept_connection_that_the_peer_closed_is_not_used() {
    run(async |executor| {
        let (listener, address) = listen().await;
        let client = plain(limits(), &executor);
        let (closed, is_closed) = async_channel::bounded(1);
        let server = async {
            for _ in 0..2 {
                // Closes the connection, though HTTP/1.1 keeps it open.
                answer_once(&listener, OK).await;
                closed.send(()).await.unwrap();
            }
        };
        let ask = async {
            for _ in 0..2 {
                let request = client.post(format!("http://{address}/"));
                assert_eq!(request.recv_string().await.unwrap(), "hello");
                is_closed.recv().await.unwrap();
            }
        };
        future::zip(server, ask).await;
    });
}

#[test]
#[cfg(target_os = "linux")]
fn an_answer_in_two_pieces_is_not_late() {
    run(async |executor| {
        const EXCHANGES: usize = 60;
        let (listener, address) = listen().await;
        let client = plain(limits(), &executor);
        let server = async {
            // As Python's http.server does: the second piece waits in the system until the first one
            // is acknowledged, for TCP_NODELAY is not set.
            let (mut stream, _) = listener.accept().await.unwrap();
            for _ in 0..EXCHANGES {
                read_request(&mut stream).await.unwrap();
                let (head, body) = OK.split_at(OK.len() - 5);
                stream.write_all(head.as_bytes()).await.unwrap();
                stream.write_all(body.as_bytes()).await.unwrap();
            }
        };
        let ask = async {
            let mut times = Vec::new();
            for n in 0..EXCHANGES {
                let began = Instant::now();
                let request = client.post(format!("http://{address}/")).body("x");
                assert_eq!(request.recv_string().await.unwrap(), "hello");
                // A new connection is acknowledged quickly for a while whatever we say.
                if n >= EXCHANGES / 2 {
                    times.push(began.elapsed());
                }
            }
            times.sort_unstable();
            times
        };
        let (_, times) = future::zip(server, ask).await;
        // A delayed acknowledgement takes 40 ms, nearly each time.
        assert!(
            times[times.len() / 2] < Duration::from_millis(35),
            "{times:?}"
        );
    });
}

#[test]
fn only_idempotent_requests_are_repeated() {
    for (method, expected) in [(Method::Get, Some("hello")), (Method::Post, None)] {
        run(async |executor| {
            let (listener, address) = listen().await;
            let client = plain(limits(), &executor);
            let url = format!("http://{address}/");
            let server = async {
                // The first connection closes on the second request.
                let (mut stream, _) = listener.accept().await.unwrap();
                read_request(&mut stream).await.unwrap();
                stream.write_all(OK.as_bytes()).await.unwrap();
                read_request(&mut stream).await.unwrap();
                drop(stream);
                if expected.is_some() {
                    answer_once(&listener, OK).await;
                }
            };
            let ask = async {
                client.get(&url).recv_string().await.unwrap();
                client.request(method, &url).recv_string().await
            };
            let (_, answer) = future::zip(server, ask).await;
            if let Err(error) = &answer {
                // Tells callers that a repetition is worth a try.
                let stale = error.downcast_ref::<HttpError>();
                assert!(matches!(stale, Some(HttpError::Stale)), "{error:?}");
            }
            assert_eq!(answer.ok().as_deref(), expected);
        });
    }
}

#[test]
fn idle_connections_are_closed_in_time() {
    run(async |executor| {
        let (listener, address) = listen().await;
        let client = plain(
            Limits {
                idle_timeout: Duration::from_millis(50),
                ..limits()
            },
            &executor,
        );
        let server = async {
            let (stream, _) = listener.accept().await.unwrap();
            // Returns when the client closes, which it does by itself.
            answer_all(stream, OK).await
        };
        let url = format!("http://{address}/");
        let ask = client.get(&url).recv_string();
        assert_eq!(future::zip(server, ask).await.0, 1);
        drop(client);
    });
}

#[test]
fn the_pool_is_bounded() {
    run(async |executor| {
        let client = plain(limits(), &executor);
        let mut servers = Vec::new();
        for _ in 0..3 {
            let (listener, address) = listen().await;
            servers.push(executor.spawn(async move {
                let (stream, _) = listener.accept().await.unwrap();
                answer_all(stream, OK).await
            }));
            let url = format!("http://{address}/");
            client.get(&url).recv_string().await.unwrap();
        }
        // Two are kept; the first had to go.
        assert_eq!(servers.remove(0).await, 1);
    });
}
