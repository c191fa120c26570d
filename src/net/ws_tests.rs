//! The WebSocket and wacore's transport, against a server on loopback.

use std::sync::Arc;
use std::time::Duration;

use async_tungstenite::tungstenite::Message;
use async_tungstenite::tungstenite::handshake::server::{Request, Response};
use async_tungstenite::tungstenite::protocol::CloseFrame;
use async_tungstenite::{WebSocketStream, accept_hdr_async};
use bytes::Bytes;
use futures_lite::{AsyncWriteExt, StreamExt, future};
use futures_rustls::server::TlsStream;
use http_types::Url;
use smol::Executor;
use smol::net::{TcpListener, TcpStream};

use super::testing::{Authority, accept_tls, listen, read_request, run};
use super::ws::{self, Closed, MAX_MESSAGE, Receiver, Sender, WsError};

const ORIGIN: &str = "https://web.whatsapp.com";

type Server = WebSocketStream<TlsStream<TcpStream>>;

async fn accept(listener: &TcpListener, by: &Authority) -> Server {
    let stream = accept_tls(listener, by).await;
    // The type of the error is tungstenite's.
    #[allow(clippy::result_large_err)]
    let check = |request: &Request, response: Response| {
        assert_eq!(request.headers()["origin"], ORIGIN);
        Ok(response)
    };
    accept_hdr_async(stream, check).await.unwrap()
}

async fn pair(timeout: Duration) -> (Server, Sender, Receiver) {
    let authority = Authority::new();
    let (listener, address) = listen().await;
    let url = Url::parse(&format!("wss://{address}/ws/chat")).unwrap();
    let tls = authority.client();
    let client = ws::connect(&url, ORIGIN, &tls, timeout);
    let (server, client) = future::zip(accept(&listener, &authority), client).await;
    let (sender, receiver) = client.unwrap();
    (server, sender, receiver)
}

const LONG: Duration = Duration::from_secs(20);

#[test]
fn messages_go_both_ways_and_pings_are_answered() {
    run(async |_| {
        let (mut server, sender, mut receiver) = pair(LONG).await;
        let serve = async {
            server
                .send(Message::Ping(Bytes::from_static(b"p")))
                .await
                .unwrap();
            let mut pong = false;
            let mut echoed = 0;
            while !(pong && echoed == 2) {
                match server.next().await.unwrap().unwrap() {
                    Message::Pong(data) => pong = data == Bytes::from_static(b"p"),
                    Message::Binary(data) => {
                        server.send(Message::Binary(data)).await.unwrap();
                        echoed += 1;
                    }
                    other => panic!("{other:?}"),
                }
            }
            server
        };
        let big = Bytes::from(vec![7; 300_000]);
        let talk = async {
            sender.send(Bytes::from_static(b"hi")).await.unwrap();
            sender.send(big.clone()).await.unwrap();
            assert_eq!(receiver.next().await, Ok(Bytes::from_static(b"hi")));
            assert_eq!(receiver.next().await, Ok(big.clone()));
        };
        let (server, ()) = future::zip(serve, talk).await;
        drop(server);
        assert_eq!(receiver.next().await, Err(Closed::Ended));
    });
}

#[test]
fn the_close_frame_of_the_server_is_reported() {
    run(async |_| {
        let (mut server, _sender, mut receiver) = pair(LONG).await;
        let frame = CloseFrame {
            code: 4001.into(),
            reason: "replaced".into(),
        };
        server.close(Some(frame)).await.unwrap();
        let closed = receiver.next().await.unwrap_err();
        assert_eq!(
            closed,
            Closed::Server {
                code: Some(4001),
                reason: "replaced".to_owned()
            }
        );
        // The close frame was answered.
        assert!(matches!(server.next().await, Some(Ok(Message::Close(_)))));
    });
}

#[test]
fn the_close_frame_reaches_the_server() {
    run(async |_| {
        let (mut server, sender, mut receiver) = pair(LONG).await;
        sender.close().await;
        sender.close().await;
        assert_eq!(receiver.next().await, Err(Closed::Here));
        assert!(matches!(
            sender.send(Bytes::new()).await,
            Err(WsError::Closed)
        ));
        assert!(matches!(server.next().await, Some(Ok(Message::Close(_)))));
    });
}

#[test]
fn a_message_over_the_limit_ends_the_connection() {
    run(async |_| {
        let (mut server, _sender, mut receiver) = pair(LONG).await;
        let send = server.send(Message::Binary(vec![0; MAX_MESSAGE + 1].into()));
        let read = async {
            let closed = receiver.next().await.unwrap_err();
            assert!(matches!(closed, Closed::Failed(_)), "{closed:?}");
            drop((receiver, _sender));
        };
        // Sending it may fail on the server.
        let _ = future::zip(send, read).await;
    });
}

#[test]
fn a_server_that_does_not_read_times_out() {
    run(async |_| {
        let (_server, sender, mut receiver) = pair(Duration::from_secs(2)).await;
        let message = Bytes::from(vec![0; 16 << 20]);
        let error = sender.send(message).await.unwrap_err();
        assert!(matches!(error, WsError::Stuck { .. }), "{error}");
        assert_eq!(receiver.next().await, Err(Closed::Here));
    });
}

#[test]
fn refusals_are_reported() {
    run(async |_| {
        let authority = Authority::new();
        let (listener, address) = listen().await;
        let url = Url::parse(&format!("wss://{address}/ws/chat")).unwrap();
        let serve = async {
            let mut stream = accept_tls(&listener, &authority).await;
            read_request(&mut stream).await.unwrap();
            let answer = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
            stream.write_all(answer).await.unwrap();
            stream.flush().await.unwrap();
            stream
        };
        let tls = authority.client();
        let connect = ws::connect(&url, ORIGIN, &tls, LONG);
        let (_, result) = future::zip(serve, connect).await;
        assert!(matches!(result, Err(WsError::Refused(403))));

        let stranger = Authority::new();
        let tls = stranger.client();
        let serve = async {
            let (stream, _) = listener.accept().await.unwrap();
            authority.acceptor().accept(stream).await.is_err()
        };
        let connect = ws::connect(&url, ORIGIN, &tls, LONG);
        let (_, result) = future::zip(serve, connect).await;
        let error = result.err().unwrap().to_string();
        assert!(error.contains("unknown authority"), "{error}");

        let plain = Url::parse(&format!("ws://{address}/")).unwrap();
        let result = ws::connect(&plain, ORIGIN, &tls, LONG).await;
        assert!(matches!(result, Err(WsError::BadUrl)));
    });
}

mod transport {
    use whatsapp_rust::wacore::net::{
        DisconnectReason, Transport, TransportEvent, TransportFactory,
    };

    use super::*;
    use crate::whatsapp::WsTransportFactory;

    type Events = async_channel::Receiver<TransportEvent>;

    async fn open(executor: Arc<Executor<'static>>) -> (Server, Arc<dyn Transport>, Events) {
        let authority = Authority::new();
        let (listener, address) = listen().await;
        let url = Url::parse(&format!("wss://{address}/ws/chat")).unwrap();
        let factory = WsTransportFactory::new(url, authority.client(), executor, LONG);
        let create = factory.create_transport();
        let (server, client) = future::zip(accept(&listener, &authority), create).await;
        let (transport, events) = client.unwrap();
        let first = events.recv().await.unwrap();
        assert!(matches!(first, TransportEvent::Connected));
        (server, transport, events)
    }

    #[test]
    fn events_are_in_order_and_the_reason_is_last() {
        run(async |executor| {
            let (mut server, transport, events) = open(executor).await;
            let data = Bytes::from_static(b"frame");
            transport.send(data.clone()).await.unwrap();
            assert_eq!(server.next().await.unwrap().unwrap(), Message::Binary(data));
            // More than the channel holds.
            let serve = async {
                for number in 0..100u8 {
                    server
                        .send(Message::Binary(vec![number].into()))
                        .await
                        .unwrap();
                }
                server.close(None).await.unwrap();
            };
            let read = async {
                for number in 0..100u8 {
                    match events.recv().await.unwrap() {
                        TransportEvent::DataReceived(data) => assert_eq!(data[..], [number]),
                        other => panic!("{other:?}"),
                    }
                }
                events.recv().await.unwrap()
            };
            let (_, last) = future::zip(serve, read).await;
            assert!(matches!(
                last,
                TransportEvent::Disconnected(DisconnectReason::ServerClose { code: None, .. })
            ));
            assert!(events.recv().await.is_err());
        });
    }

    #[test]
    fn disconnect_sends_a_close_frame_and_ends_the_task() {
        run(async |executor| {
            let (mut server, transport, events) = open(executor.clone()).await;
            transport.disconnect().await;
            assert!(matches!(server.next().await, Some(Ok(Message::Close(_)))));
            // The task drops its end.
            while events.recv().await.is_ok() {}
            assert!(transport.send(Bytes::new()).await.is_err());
        });
    }

    #[test]
    fn a_dropped_transport_closes_the_connection_without_a_reader_of_events() {
        run(async |executor| {
            let (mut server, transport, events) = open(executor).await;
            for _ in 0..100u8 {
                server
                    .send(Message::Binary(vec![0; 1000].into()))
                    .await
                    .unwrap();
            }
            drop(transport);
            assert!(!matches!(server.next().await, Some(Ok(_))));
            while events.recv().await.is_ok() {}
        });
    }
}
