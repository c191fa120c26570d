//! wacore's HTTP client over surf: the version check, and media, which stream both ways.
//!
//! wacore asks for media from a thread that may block, with readers that do: there the exchange is
//! driven to its end on that thread.

use std::io::{self, Read};
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::net::http;
use crate::sync::within;
use anyhow::{Context as _, anyhow};
use async_trait::async_trait;
use futures_lite::FutureExt as _;
use futures_lite::future::block_on;
use futures_lite::io::{AssertAsync, AsyncReadExt as _, BufReader};
use http_types::headers::{HeaderName, HeaderValue};
use http_types::{Method, Url};
use whatsapp_rust::wacore::net::{
    HttpClient, HttpRequest, HttpResponse, StreamingHttpResponse, UploadBody,
};

use super::pace::Pace;

/// How long the head of an answer may take.
const ANSWER: Duration = Duration::from_secs(30);
/// The piece in which a medium is read, in bytes.
const PIECE: usize = 16 * 1024;
/// How much of the answer to an upload is read, in bytes.
const MAX_UPLOAD_ANSWER: usize = 64 * 1024;

/// Sends wacore's requests. Time and size limits are those of the clients; besides, files must move.
#[derive(Debug, Clone)]
pub struct SurfHttpClient {
    client: surf::Client,
    media: surf::Client,
    patience: Duration,
}

impl SurfHttpClient {
    /// `client` for what is small and soon there, `media` for files, which end if they move too little in the time
    /// `patience`.
    pub fn new(client: surf::Client, media: surf::Client, patience: Duration) -> SurfHttpClient {
        SurfHttpClient {
            client,
            media,
            patience,
        }
    }
}

#[async_trait]
impl HttpClient for SurfHttpClient {
    /// Any status is an answer; an error means that there was none.
    async fn execute(&self, request: HttpRequest) -> anyhow::Result<HttpResponse> {
        let mut response = self
            .client
            .send(translated(request)?)
            .await
            .map_err(surf::Error::into_inner)?;
        let body = response
            .body_bytes()
            .await
            .map_err(surf::Error::into_inner)?;
        Ok(HttpResponse {
            status_code: http::status(&response),
            body,
        })
    }

    fn supports_streaming(&self) -> bool {
        true
    }

    /// Blocks until the answer's head is there; reading its body blocks, too.
    fn execute_streaming(&self, request: HttpRequest) -> anyhow::Result<StreamingHttpResponse> {
        let request = translated(request)?;
        let answer = async {
            self.media
                .send(request)
                .await
                .map_err(surf::Error::into_inner)
        };
        let mut response = block_on(within(ANSWER, answer))
            .unwrap_or_else(|| Err(anyhow!("no answer within {ANSWER:?}")))?;
        Ok(StreamingHttpResponse {
            status_code: http::status(&response),
            body: Box::new(Download {
                body: Mutex::new(response.take_body()),
                pace: Pace::new(self.patience),
            }),
        })
    }

    fn supports_upload_streaming(&self) -> bool {
        true
    }

    /// Blocks until the file is sent and the answer read.
    fn execute_upload(
        &self,
        request: HttpRequest,
        body: UploadBody,
        content_length: u64,
    ) -> anyhow::Result<HttpResponse> {
        let length = usize::try_from(content_length).context("the file is too large")?;
        let moved = Arc::new(AtomicU64::new(0));
        let reader = Upload {
            body: Mutex::new(body),
            moved: moved.clone(),
        };
        let mut request = translated(request)?;
        // It blocks, and may: nothing else runs on this thread.
        let reader = BufReader::with_capacity(PIECE, AssertAsync::new(reader));
        request.set_body(surf::Body::from_reader(reader, Some(length)));
        let exchange = async {
            let mut response = self
                .media
                .send(request)
                .await
                .map_err(surf::Error::into_inner)?;
            let mut body = Vec::new();
            response
                .take_body()
                .take(MAX_UPLOAD_ANSWER as u64)
                .read_to_end(&mut body)
                .await?;
            Ok(HttpResponse {
                status_code: http::status(&response),
                body,
            })
        };
        block_on(exchange.or(too_slow(&moved, content_length, self.patience)))
    }
}

/// wacore's request as surf's, without its body's length: the back end knows it.
fn translated(request: HttpRequest) -> anyhow::Result<surf::Request> {
    let HttpRequest {
        url,
        method,
        headers,
        body,
    } = request;
    // Addresses of media carry tokens: they stay out of errors.
    let url = Url::parse(&url).context("wacore asked for a bad address")?;
    let method = Method::from_str(&method)
        .map_err(|_| anyhow!("wacore asked for the unknown method {method:?}"))?;
    let mut request = surf::Request::new(method, url);
    if let Some(body) = body {
        request.body_bytes(body);
    }
    for (name, value) in headers {
        if name.eq_ignore_ascii_case("content-length") {
            continue;
        }
        let bad = |_| anyhow!("wacore asked for the bad header {name:?}");
        let parsed = HeaderName::from_str(&name).map_err(bad)?;
        let value = HeaderValue::from_str(&value).map_err(bad)?;
        request.set_header(parsed, value);
    }
    Ok(request)
}

/// Ends when an upload of `length` bytes moves too little, or its answer does not come, within `window`.
async fn too_slow<T>(moved: &AtomicU64, length: u64, window: Duration) -> anyhow::Result<T> {
    let mut pace = Pace::new(window);
    let mut before = 0;
    loop {
        smol::Timer::after(window).await;
        let now = moved.load(Ordering::Relaxed);
        if now < length {
            pace.note(now - before, window)
                .context("the upload was too slow")?;
        } else if now == before {
            // A window has begun and ended since the last byte went.
            return Err(anyhow!("no answer to the upload within {window:?}"));
        }
        before = now;
    }
}

/// A body that is read on a thread that may block. The lock is never waited for: it only says that there is no other
/// reader at the same time.
struct Download {
    body: Mutex<surf::Body>,
    pace: Pace,
}

impl Read for Download {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let body = self.body.get_mut().unwrap_or_else(PoisonError::into_inner);
        loop {
            let started = Instant::now();
            let left = self.pace.left();
            let read = block_on(within(left, body.read(out))).transpose()?;
            // The end is not too slow.
            if read != Some(0) {
                let count = read.unwrap_or(0) as u64;
                self.pace
                    .note(count, started.elapsed())
                    .map_err(|slow| io::Error::new(io::ErrorKind::TimedOut, slow))?;
            }
            if let Some(count) = read {
                return Ok(count);
            }
        }
    }
}

/// A file on its way out, which counts the bytes that were read. The lock as above.
struct Upload {
    body: Mutex<UploadBody>,
    moved: Arc<AtomicU64>,
}

impl Read for Upload {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let body = self.body.get_mut().unwrap_or_else(PoisonError::into_inner);
        let count = body.read(out)?;
        self.moved.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}
