//! The API on bytes instead of sockets, for `tests/fuzz`.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_h1::server::Encoder;
use futures_lite::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use http_types::{Method, Request, Response, StatusCode};

use super::answer::{Done, Json, Reply as _};
use super::auth::Peer;
use super::chats::OfChat;
use super::context::{ApiContext, Req};
use super::delivery::Delivery;
use super::error::ApiError;
use super::events::Wanted;
use super::file::Room;
use super::http1::{Head, HeadError, Inbound};
use super::page::Paging;
use super::passkey::Credential;
use super::sending::SendFile;
use super::serve::Respond as _;
use super::values::OfAccount;
use super::webhooks::NewHook;
use super::{Api, read, upload};
use crate::fields::Request as _;
use crate::message::ReplyText;
use crate::runtime::Executor;
use crate::store::messages::Cursor;
use crate::sync::within;

/// The time limit of an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// An extra route that reads the fields of all endpoints.
const PARSED: &str = "/parse/:id/:chatId";

/// Requests with effects outside of the process, or that start tasks: parsed by [`PARSED`] instead.
const NOT_DONE: &[(Method, &str)] = &[
    (Method::Post, "/accounts"),
    (Method::Delete, "/accounts/"),
    (Method::Post, "/webhooks"),
    (Method::Delete, "/webhooks"),
];

/// The API under test.
pub struct Requests {
    api: Api,
    executor: Arc<Executor>,
}

impl Requests {
    pub fn new(context: ApiContext, executor: Arc<Executor>) -> Requests {
        let mut api = Api::new(context);
        api.app.at(PARSED).all(parse);
        Requests { api, executor }
    }

    /// Serves one connection with the input `data`.
    pub fn connection(&self, data: &[u8]) {
        let inbound = Inbound::new(Bytes(data.to_vec(), 0), None);
        smol::block_on(self.executor.run(async {
            while inbound.begins().await {
                let head = match inbound.head().await {
                    Ok(head) => head,
                    Err(
                        HeadError::Closed
                        | HeadError::TooLarge
                        | HeadError::Malformed(_)
                        | HeadError::Header { .. },
                    ) => return,
                    Err(HeadError::Method(path)) => {
                        check(super::no_endpoint(&path).into_response(), Method::Get).await;
                        return;
                    }
                };
                let Head {
                    request,
                    keep_alive,
                } = head;
                let method = request.method();
                let response = self.answer(request).await;
                check(response, method).await;
                if !keep_alive || inbound.finish().await.is_err() {
                    return;
                }
            }
        }));
    }

    async fn answer(&self, mut request: Request) -> Response {
        let path = request.url().path();
        let left_out = NOT_DONE.iter().any(|(method, start)| {
            *method == request.method() && path.trim_end_matches('/').starts_with(start)
        });
        let is_message = path.contains("/message/") || path.ends_with("/read");
        if left_out && !is_message {
            request.url_mut().set_path("/parse/alice/1");
        }
        let local = ([127, 0, 0, 1], 40_000).into();
        request.ext_mut().insert(Peer(local));
        let answered = within(PATIENCE, self.api.respond(request)).await;
        answered.unwrap_or_else(|| panic!("no answer in time"))
    }
}

/// Checks that an answer can be written, and that JSON has `ok`.
async fn check(response: Response, method: Method) {
    let status = response.status();
    let is_json = response
        .header("Content-Type")
        .is_some_and(|kind| kind.last().as_str().starts_with("application/json;"));
    let mut bytes = Vec::new();
    let written = Encoder::new(response, method).read_to_end(&mut bytes).await;
    assert!(written.is_ok(), "{written:?}");
    let text = String::from_utf8_lossy(&bytes);
    assert_ne!(status, StatusCode::InternalServerError, "{text}");
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n");
    let Some(end) = end else {
        panic!("no head: {}", String::from_utf8_lossy(&bytes));
    };
    if is_json && method != Method::Head {
        let body: Result<serde_json::Value, _> = serde_json::from_slice(&bytes[end + 4..]);
        assert!(body.is_ok_and(|body| body["ok"].is_boolean()));
    }
}

/// Reads a request as every type of field that endpoints have.
async fn parse(mut req: Req) -> tide::Result {
    let envelope = req.state().config.envelope;
    Ok(match read(&mut req).await {
        Ok(done) => match done.into_answer() {
            Ok(answer) => answer.into_response(envelope).into(),
            Err(error) => error.into_response().into(),
        },
        Err(error) => error.into_response().into(),
    })
}

async fn read(req: &mut Req) -> Result<Json<Done>, ApiError> {
    let room = Room {
        spool: req.state().spool.clone(),
        max_file: 1 << 20,
        max_json: 1 << 16,
    };
    let mut parts = read::head(req, PARSED);
    let early = SendFile::check_early;
    let (fields, mut files) = upload::read(req, &room, "image", 1, &early).await?;
    parts.body = fields;
    let _ = (
        OfAccount::read(&parts),
        OfChat::read(&parts),
        Paging::<Cursor>::read(&parts),
    );
    let _ = (
        SendFile::read(&parts),
        ReplyText::read(&parts),
        Delivery::read(&parts),
    );
    let _ = (
        NewHook::read(&parts),
        Wanted::read(&parts),
        Credential::read(&parts),
    );
    let name = files.pop().and_then(|file| file.name).unwrap_or_default();
    assert!(!name.contains(['/', '\0', '\n']), "{name:?}");
    Ok(Done::new(name))
}

/// A connection with all of its input.
struct Bytes(Vec<u8>, usize);

impl AsyncRead for Bytes {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        out: &mut [u8],
    ) -> Poll<std::io::Result<usize>> {
        let rest = &self.0[self.1..];
        // In pieces of different sizes, like packets.
        let length = rest.len().min(out.len()).min(1 + self.1 % 700);
        out[..length].copy_from_slice(&rest[..length]);
        self.1 += length;
        Poll::Ready(Ok(length))
    }
}

impl AsyncWrite for Bytes {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
