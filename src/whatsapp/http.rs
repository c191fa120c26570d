//! wacore's HTTP client over surf: the version check, and media, which stream both ways.
//!
//! wacore asks for media from a thread that may block, with readers that do: there the exchange is
//! driven to its end on that thread.

use std::io::{self, Read};
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

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

/// How long a media transfer may stand still.
const STALLED: Duration = Duration::from_secs(30);
/// The piece in which a medium is read, in bytes.
const PIECE: usize = 16 * 1024;
/// How much of the answer to an upload is read, in bytes.
const MAX_UPLOAD_ANSWER: usize = 64 * 1024;

/// Sends wacore's requests. Time and size limits are those of the clients.
#[derive(Debug, Clone)]
pub struct SurfHttpClient {
    client: surf::Client,
    media: surf::Client,
}

impl SurfHttpClient {
    /// `client` for what is small and soon there, `media` for files.
    pub fn new(client: surf::Client, media: surf::Client) -> SurfHttpClient {
        SurfHttpClient { client, media }
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
            status_code: response.status().into(),
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
        let mut response = block_on(answer.or(async {
            smol::Timer::after(STALLED).await;
            Err(anyhow!("no answer within {STALLED:?}"))
        }))?;
        Ok(StreamingHttpResponse {
            status_code: response.status().into(),
            body: Box::new(Download {
                body: Mutex::new(response.take_body()),
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
        let started = Instant::now();
        let moved = Arc::new(AtomicU64::new(0));
        let reader = Upload {
            body: Mutex::new(body),
            started,
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
                status_code: response.status().into(),
                body,
            })
        };
        let stalled = async {
            loop {
                let last = Duration::from_millis(moved.load(Ordering::Relaxed));
                let idle = started.elapsed().saturating_sub(last);
                match STALLED.checked_sub(idle) {
                    Some(left) if !left.is_zero() => {
                        smol::Timer::after(left).await;
                    }
                    _ => return Err(anyhow!("the upload stood still for {STALLED:?}")),
                }
            }
        };
        block_on(exchange.or(stalled))
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

/// A body that is read on a thread that may block. The lock is never waited for: it only says that
/// nobody reads it at the same time.
struct Download {
    body: Mutex<surf::Body>,
}

impl Read for Download {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let body = self.body.get_mut().unwrap_or_else(PoisonError::into_inner);
        block_on(body.read(out).or(async {
            smol::Timer::after(STALLED).await;
            Err(io::ErrorKind::TimedOut.into())
        }))
    }
}

/// A file on its way out, which notes when it was last read from. The lock as above.
struct Upload {
    body: Mutex<UploadBody>,
    started: Instant,
    /// Milliseconds since the start.
    moved: Arc<AtomicU64>,
}

impl Read for Upload {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let at = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.moved.store(at, Ordering::Relaxed);
        self.body
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .read(out)
    }
}
