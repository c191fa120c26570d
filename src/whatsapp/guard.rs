//! The way of a session's client to HTTP. What it asks for goes to the media servers that WhatsApp has named to this
//! session: a medium's path is its sender's, and a token goes along. WhatsApp's version is none of its business:
//! `version` asks for it.

use std::io::{self, Read};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};
use std::time::Duration;

use futures_lite::future::block_on;
use http_types::Url;
use whatsapp_rust::anyhow::{self, anyhow};
use whatsapp_rust::http::{HttpClient, HttpRequest, HttpResponse};
use whatsapp_rust::mediaconn::MediaConn;
use whatsapp_rust::wacore::net::{StreamingHttpResponse, UploadBody};
use whatsapp_rust::{Client, async_trait};

use super::remote::{Hosts, place};

use crate::sync::{locked, within};

/// What the client fetches for itself, into memory: pieces of the history, snapshots of the app state. In bytes.
const MAX_IN_MEMORY: u64 = 64 << 20;
/// How long WhatsApp may take to name its media servers once more.
const LOOKUP: Duration = Duration::from_secs(20);

/// A download that was longer than it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the file is longer than the {most} bytes that it may have")]
pub struct TooLong {
    pub most: u64,
}

/// An address that is not asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the address is not at WhatsApp's media servers")]
pub struct Elsewhere;

/// The one HTTP client of all sessions, as one session may use it. Clones share all.
#[derive(Clone)]
pub struct GuardedHttp {
    inner: Arc<dyn HttpClient>,
    /// Asked which media servers there are.
    client: Arc<OnceLock<Weak<Client>>>,
    hosts: Arc<Mutex<Hosts>>,
}

impl GuardedHttp {
    pub fn new(inner: Arc<dyn HttpClient>) -> GuardedHttp {
        GuardedHttp {
            inner,
            client: Arc::default(),
            hosts: Arc::default(),
        }
    }

    /// Sets the client. Before that, no request is made.
    pub fn serves(&self, client: &Arc<Client>) {
        // The first one counts; there is no second.
        let _ = self.client.set(Arc::downgrade(client));
    }

    /// Remembers the media servers that WhatsApp has named.
    pub fn learn(&self, conn: &MediaConn) {
        let mut hosts = self.hosts();
        for host in &conn.hosts {
            hosts.learn(&host.hostname);
        }
    }

    /// Downloads at most `most` bytes: one more is an error of the reader. Blocks until the head of the answer is there;
    /// reading its body blocks, too.
    ///
    /// # Errors
    /// [`Elsewhere`], or why there is no answer.
    pub fn download(&self, url: String, most: u64) -> anyhow::Result<StreamingHttpResponse> {
        block_on(self.check(&url))?;
        let answer = self.inner.execute_streaming(HttpRequest::get(url))?;
        Ok(StreamingHttpResponse {
            status_code: answer.status_code,
            body: Box::new(Bounded {
                inner: answer.body,
                left: most,
                most,
            }),
        })
    }

    /// Whether an address is that of a picture at WhatsApp: at its domain, or at a media server.
    ///
    /// # Errors
    /// [`Elsewhere`].
    pub async fn check_picture(&self, url: &str) -> anyhow::Result<()> {
        match Url::parse(url).is_ok_and(|url| is_whatsapps(&url)) {
            true => Ok(()),
            false => self.check(url).await,
        }
    }

    /// The client for what was checked.
    pub fn inner(&self) -> &dyn HttpClient {
        &*self.inner
    }

    /// Whether an address is at a media server of WhatsApp's.
    async fn check(&self, url: &str) -> anyhow::Result<()> {
        let url = Url::parse(url).map_err(|_| Elsewhere)?;
        if self.hosts().have(&url) {
            return Ok(());
        }
        let client = self.client.get().and_then(Weak::upgrade);
        let client = client.ok_or(Elsewhere)?;
        // The client has made the address of what it has here: this asks WhatsApp only if that has just expired.
        let conn = within(LOOKUP, client.refresh_media_conn(false)).await;
        let conn = conn.ok_or(anyhow!("WhatsApp did not name its media servers in time"))??;
        self.learn(&conn);
        match self.hosts().have(&url) {
            true => Ok(()),
            false => Err(Elsewhere.into()),
        }
    }

    fn hosts(&self) -> MutexGuard<'_, Hosts> {
        locked(&self.hosts)
    }
}

/// Whether an address is at WhatsApp's own domain.
fn is_whatsapps(url: &Url) -> bool {
    matches!(place(url), Some((host, 443)) if host.ends_with(".whatsapp.net"))
}

#[async_trait]
impl HttpClient for GuardedHttp {
    async fn execute(&self, request: HttpRequest) -> anyhow::Result<HttpResponse> {
        self.check(&request.url).await?;
        self.inner.execute(request).await
    }

    fn supports_streaming(&self) -> bool {
        self.inner.supports_streaming()
    }

    fn execute_streaming(&self, request: HttpRequest) -> anyhow::Result<StreamingHttpResponse> {
        self.download(request.url, MAX_IN_MEMORY)
    }

    fn supports_upload_streaming(&self) -> bool {
        self.inner.supports_upload_streaming()
    }

    fn execute_upload(
        &self,
        request: HttpRequest,
        body: UploadBody,
        content_length: u64,
    ) -> anyhow::Result<HttpResponse> {
        block_on(self.check(&request.url))?;
        self.inner.execute_upload(request, body, content_length)
    }
}

/// A body that ends, by an error, where it is longer than it may be.
struct Bounded<R> {
    inner: R,
    left: u64,
    most: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        // One byte above the bound shows that the body is too long.
        let room = usize::try_from(self.left.saturating_add(1)).unwrap_or(usize::MAX);
        let end = out.len().min(room);
        let count = self.inner.read(&mut out[..end])?;
        match self.left.checked_sub(count as u64) {
            Some(left) => {
                self.left = left;
                Ok(count)
            }
            None => Err(io::Error::other(TooLong { most: self.most })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An HTTP client that has answers for everything.
    struct Careless;

    #[async_trait]
    impl HttpClient for Careless {
        async fn execute(&self, _: HttpRequest) -> anyhow::Result<HttpResponse> {
            Ok(HttpResponse {
                status_code: 200,
                body: Vec::new(),
            })
        }

        fn execute_streaming(&self, _: HttpRequest) -> anyhow::Result<StreamingHttpResponse> {
            Ok(StreamingHttpResponse {
                status_code: 200,
                body: Box::new(io::repeat(1)),
            })
        }

        fn execute_upload(
            &self,
            _: HttpRequest,
            _: UploadBody,
            _: u64,
        ) -> anyhow::Result<HttpResponse> {
            Ok(HttpResponse {
                status_code: 200,
                body: Vec::new(),
            })
        }
    }

    #[test]
    fn whatever_the_client_asks_for_goes_to_whatsapp() {
        let http = GuardedHttp::new(Arc::new(Careless));
        http.hosts().learn("mmg.whatsapp.net");
        let asked = |url: &str| {
            let get = || HttpRequest::get(url);
            [
                block_on(http.execute(get())).is_ok(),
                http.execute_streaming(get()).is_ok(),
                http.execute_upload(get(), Box::new(io::empty()), 0).is_ok(),
            ]
        };
        assert_eq!(asked("https://mmg.whatsapp.net/v/x?auth=y"), [true; 3]);
        for evil in [
            "https://mmg.whatsapp.net@127.0.0.1:8443/x?auth=y",
            "https://mmg.whatsapp.net:1@127.0.0.1:8443/x",
            "https://mmg.whatsapp.net.evil.example/x",
            "https://mmg.whatsapp.net:8443/x",
            "https://web.whatsapp.com/sw.js",
            "https://web.whatsapp.com@evil.example/x",
            "http://mmg.whatsapp.net/x",
            "nonsense",
        ] {
            assert_eq!(asked(evil), [false; 3], "{evil}");
        }
    }

    #[test]
    fn pictures_are_fetched_from_whatsapp() {
        for (url, there) in [
            ("https://pps.whatsapp.net/v/t61.24694-24/1_n.jpg?oe=1", true),
            ("https://pps.whatsapp.net:8443/v/1_n.jpg", false),
            ("http://pps.whatsapp.net/v/1_n.jpg", false),
            ("https://pps.whatsapp.net@evil.example/v/1_n.jpg", false),
            ("https://pps.whatsapp.net.evil.example/v/1_n.jpg", false),
            ("https://evilwhatsapp.net/v/1_n.jpg", false),
        ] {
            let url = Url::parse(url).expect("a URL");
            assert_eq!(is_whatsapps(&url), there, "{url}");
        }
    }

    #[test]
    fn a_download_ends_where_it_is_too_long() {
        let read = |len: u64, most: u64| {
            let mut body = Bounded {
                inner: io::repeat(1).take(len),
                left: most,
                most,
            };
            let mut out = Vec::new();
            let result = body.read_to_end(&mut out);
            (out.len(), result.is_ok())
        };
        assert_eq!(read(1_000, 1_000), (1_000, true));
        assert_eq!(read(0, 0), (0, true));
        let (taken, whole) = read(u64::MAX, 1_000);
        assert!(taken <= 1_000 && !whole, "{taken}");
    }
}
