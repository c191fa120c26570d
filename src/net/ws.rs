//! A WebSocket client for binary messages. An idle one holds a few kB beside its TLS session.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_tungstenite::tungstenite::client::IntoClientRequest;
use async_tungstenite::tungstenite::error::{Error, ProtocolError};
use async_tungstenite::tungstenite::http::HeaderValue;
use async_tungstenite::tungstenite::http::header::ORIGIN;
use async_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use async_tungstenite::tungstenite::protocol::{CloseFrame, Message, WebSocketConfig};
use async_tungstenite::{WebSocketReceiver, WebSocketSender, client_async_with_config};
use bytes::Bytes;
use futures_lite::{StreamExt, future};
use futures_rustls::rustls::ClientConfig;
use http_types::Url;
use smol::lock::Mutex;

use super::dial::{self, DialError, Stream, Target};
use super::reach::Reach;
use crate::runtime::Shutdown;
use crate::sync::within;

/// The largest message, in both directions: one message is one of WhatsApp's frames, whose length has
/// 24 bits.
pub const MAX_MESSAGE: usize = (1 << 24) + 3;

/// Bytes per read. Allocated for each connection; grows while a longer message comes in.
const READ_BUFFER: usize = 4 << 10;

/// How long sending the close frame may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Why there is no WebSocket.
#[derive(Debug, thiserror::Error)]
pub enum WsError {
    #[error("the address is not wss, or has no host")]
    BadUrl,
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The server speaks HTTP, but not a WebSocket to us.
    #[error("the server refused the WebSocket with status {0}")]
    Refused(u16),
    #[error("the server does not speak WebSocket: {0}")]
    Handshake(Box<Error>),
    #[error("no WebSocket within {after:?}")]
    Timeout { after: Duration },
    #[error("the connection is closed")]
    Closed,
    #[error("sending failed: {0}")]
    Send(Box<Error>),
    /// The connection is treated as lost.
    #[error("the connection took nothing for {after:?}")]
    Stuck { after: Duration },
}

/// Why a WebSocket ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Closed {
    /// The server sent a close frame.
    Server { code: Option<u16>, reason: String },
    /// The connection ended without a close frame.
    Ended,
    /// The connection broke, or the server broke the protocol.
    Failed(String),
    /// This side closed it, or could not write.
    Here,
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Closed::Server { code, reason } => match code {
                Some(code) => write!(f, "closed by the server ({code} {reason})"),
                None => f.write_str("closed by the server"),
            },
            Closed::Ended => f.write_str("the connection ended"),
            Closed::Failed(error) => write!(f, "the connection failed: {error}"),
            Closed::Here => f.write_str("closed"),
        }
    }
}

/// The sending half. Dropping it ends [`Receiver::next`], and so the connection.
pub struct Sender {
    half: Mutex<Option<WebSocketSender<Stream>>>,
    stop: Shutdown,
    timeout: Duration,
}

/// The receiving half. Pings are answered only while it is polled.
pub struct Receiver {
    half: WebSocketReceiver<Stream>,
    stop: Shutdown,
}

/// Opens the WebSocket at `url` (wss), with `origin` as its `Origin`. `timeout` is for connecting as a
/// whole, and later for each message sent.
///
/// # Errors
/// [`WsError`], which names the cause.
pub async fn connect(
    url: &Url,
    origin: &'static str,
    tls: &Arc<ClientConfig>,
    timeout: Duration,
) -> Result<(Sender, Receiver), WsError> {
    let deadline = Instant::now() + timeout;
    let target = Target::of(url)
        .filter(|_| url.scheme() == "wss")
        .ok_or(WsError::BadUrl)?;
    let mut request = url
        .as_str()
        .into_client_request()
        .map_err(|_| WsError::BadUrl)?;
    request
        .headers_mut()
        .insert(ORIGIN, HeaderValue::from_static(origin));
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        // Each message is written at once.
        .write_buffer_size(0)
        // One message, the rest of the one before, and a pong.
        .max_write_buffer_size(2 * MAX_MESSAGE)
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE));

    let stream = dial::connect(&target, tls, Reach::Everywhere, timeout).await?;
    let handshake = async {
        client_async_with_config(request, stream, Some(config))
            .await
            .map_err(|error| match error {
                Error::Http(response) => WsError::Refused(response.status().as_u16()),
                error => WsError::Handshake(Box::new(error)),
            })
    };
    let left = deadline.saturating_duration_since(Instant::now());
    let opened = within(left, handshake).await;
    let (socket, _) = opened.unwrap_or(Err(WsError::Timeout { after: timeout }))?;
    let (sender, receiver) = socket.split();
    let stop = Shutdown::new();
    Ok((
        Sender {
            half: Mutex::new(Some(sender)),
            stop: stop.clone(),
            timeout,
        },
        Receiver {
            half: receiver,
            stop,
        },
    ))
}

impl Sender {
    /// Sends one binary message; returns when all of it is in the socket's buffer.
    ///
    /// # Errors
    /// After any error the connection is closed.
    pub async fn send(&self, message: Bytes) -> Result<(), WsError> {
        let after = self.timeout;
        let write = async {
            let mut half = self.half.lock().await;
            let socket = half.as_mut().ok_or(WsError::Closed)?;
            socket
                .send(Message::Binary(message))
                .await
                .map_err(|error| match error {
                    Error::ConnectionClosed | Error::AlreadyClosed => WsError::Closed,
                    error => WsError::Send(Box::new(error)),
                })
        };
        let result = within(after, write).await;
        let result = result.unwrap_or(Err(WsError::Stuck { after }));
        if result.is_err() {
            self.stop.trigger();
        }
        result
    }

    /// Sends a close frame and closes the connection; no-op on a closed one.
    pub async fn close(&self) {
        let farewell = async {
            if let Some(mut socket) = self.half.lock().await.take() {
                let frame = CloseFrame {
                    code: CloseCode::Normal,
                    reason: "".into(),
                };
                // Fails if the peer has closed.
                let _ = socket.close(Some(frame)).await;
            }
        };
        within(CLOSE_TIMEOUT, farewell).await;
        self.stop.trigger();
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.stop.trigger();
    }
}

impl Receiver {
    /// The next binary message.
    ///
    /// # Errors
    /// Why there are no more. The connection closes when both halves are dropped.
    pub async fn next(&mut self) -> Result<Bytes, Closed> {
        let stop = self.stop.clone();
        loop {
            let next = stop.run_until_triggered(self.half.next()).await;
            match next.ok_or(Closed::Here)? {
                Some(Ok(Message::Binary(bytes))) => return Ok(bytes),
                Some(Ok(Message::Close(frame))) => {
                    // Lets tungstenite write its answer to the close frame.
                    future::poll_once(self.half.next()).await;
                    return Err(match frame {
                        Some(frame) => Closed::Server {
                            code: Some(frame.code.into()),
                            reason: frame.reason.to_string(),
                        },
                        None => Closed::Server {
                            code: None,
                            reason: String::new(),
                        },
                    });
                }
                // tungstenite answers pings; WhatsApp sends no text frames.
                Some(Ok(_)) => {}
                None | Some(Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake))) => {
                    return Err(Closed::Ended);
                }
                // TLS without close_notify: messages have lengths, so nothing is cut off unnoticed.
                Some(Err(Error::Io(error))) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Err(Closed::Ended);
                }
                Some(Err(error)) => return Err(Closed::Failed(error.to_string())),
            }
        }
    }

    /// Waits until this side closes the connection.
    pub async fn stopped(&self) {
        self.stop.wait().await;
    }
}
