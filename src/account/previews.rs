//! Fetches what the preview of a link shows, before its message goes.
//!
//! The link is hostile, and so is its server: only hosts outside of the local network are asked, wherever they redirect; no more than
//! [`PAGE`] and [`IMAGE`] bytes are read, within [`TIME`]; and whatever fails, the message goes without a preview.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_lite::AsyncReadExt as _;
use surf::http::{Method, Url};

use crate::clock::{self, Millis};
use crate::net::http;
use crate::net::inflate::{Coding, Inflater};
use crate::sync::locked;

use super::page::{self, Page};

/// For the page and its picture together.
pub const TIME: Duration = Duration::from_secs(5);
/// The page's own part of it.
pub const PAGE_TIME: Duration = Duration::from_secs(3);
/// Bytes of a page that are read, unpacked; its head ends before.
const PAGE: usize = 256 * 1024;
/// Bytes of the largest picture.
const IMAGE: usize = 1024 * 1024;
const MAX_REDIRECTS: usize = 3;
const PIECE: usize = 16 * 1024;
/// Pages that are remembered, some 10 kB each, and for how long: a message to many is fetched for once.
const KEPT: usize = 8;
const LIFE: Millis = 10 * 60_000;

/// Fetches previews, for all accounts.
#[derive(Clone)]
pub struct Previews {
    client: surf::Client,
    kept: Arc<Mutex<Kept>>,
}

/// By address, with when it was fetched; the newest last. `None` for what has no preview.
type Kept = VecDeque<(String, Millis, Option<Found>)>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub title: String,
    pub description: Option<String>,
    pub image: Option<Vec<u8>>,
}

impl Previews {
    /// `client` reaches public addresses only, follows no redirects, and has [`TIME`] for each request.
    pub fn new(client: surf::Client) -> Previews {
        Previews {
            client,
            kept: Arc::default(),
        }
    }

    pub fn known(&self, url: &str) -> Option<Option<Found>> {
        let now = clock::ticks();
        let kept = locked(&self.kept);
        let mut known = kept
            .iter()
            .filter(|(of, at, _)| of == url && now.saturating_sub(*at) < LIFE);
        known.next().map(|(_, _, found)| found.clone())
    }

    pub fn keep(&self, url: &str, found: Option<Found>) {
        let mut kept = locked(&self.kept);
        kept.retain(|(of, _, _)| of != url);
        if kept.len() >= KEPT {
            kept.pop_front();
        }
        kept.push_back((url.to_owned(), clock::ticks(), found));
    }

    /// What is at an address, followed where it redirects, and where that is; at most `most` bytes, or of a page as much as
    /// its head takes. `None` if it is not of the kind that `takes` says of a `Content-Type`.
    async fn fetch(
        &self,
        mut url: Url,
        most: usize,
        takes: fn(&str) -> bool,
        is_enough: fn(&[u8], usize) -> bool,
    ) -> Option<(Url, String, Vec<u8>)> {
        for _ in 0..=MAX_REDIRECTS {
            if !matches!(url.scheme(), "http" | "https") {
                return None;
            }
            // Credentials in the link are the caller's: the recipients do not get them.
            url.set_username("").ok()?;
            url.set_password(None).ok()?;
            let mut request = surf::Request::new(Method::Get, url.clone());
            request.insert_header("Accept", "text/html, image/*;q=0.9, */*;q=0.1");
            let mut response = self.client.send(request).await.ok()?;
            let text = |name: &str| {
                let value = http::header(&response, name)?;
                Some(String::from_utf8_lossy(value).trim().to_owned())
            };
            if response.status().is_redirection() {
                url = url.join(&text("location")?).ok()?;
                continue;
            }
            let kind = text("content-type").unwrap_or_default();
            if !response.status().is_success() || !takes(&kind.to_ascii_lowercase()) {
                return None;
            }
            let coding = text("content-encoding")
                .unwrap_or_default()
                .to_ascii_lowercase();
            let inflater = Coding::of(&coding, None).ok()?.map(Inflater::new);
            let body = response.take_body();
            let bytes = read(body, inflater, most, is_enough).await?;
            return Some((url, kind, bytes));
        }
        None
    }

    pub async fn page(&self, url: Url) -> Option<(Url, Page)> {
        let takes = |kind: &str| kind.is_empty() || kind.contains("html");
        let (url, kind, bytes) = self.fetch(url, PAGE, takes, page::has_head).await?;
        let charset = kind.split("charset=").nth(1);
        Some((url, page::read(&bytes, charset)))
    }

    pub async fn image(&self, url: Url) -> Option<Vec<u8>> {
        let takes = |kind: &str| kind.starts_with("image/");
        let found = self.fetch(url, IMAGE + 1, takes, |_, _| false).await;
        let (_, _, bytes) = found?;
        (bytes.len() <= IMAGE).then_some(bytes)
    }
}

/// Reads a body until it ends, or `most` bytes are there, or `is_enough` says so of the bytes and how many there were before.
async fn read(
    mut body: surf::Body,
    mut inflater: Option<Inflater>,
    most: usize,
    is_enough: fn(&[u8], usize) -> bool,
) -> Option<Vec<u8>> {
    let (mut bytes, mut piece) = (Vec::new(), vec![0; PIECE]);
    loop {
        let read = body.read(&mut piece).await.ok()?;
        let before = bytes.len();
        match &mut inflater {
            Some(inflater) => {
                for packed in piece[..read].chunks(Inflater::PIECE) {
                    bytes.extend(inflater.push(packed).ok()?);
                    if bytes.len() >= most {
                        break;
                    }
                }
            }
            None => bytes.extend_from_slice(&piece[..read]),
        }
        if bytes.len() >= most {
            bytes.truncate(most);
            return Some(bytes);
        }
        if is_enough(&bytes, before) {
            return Some(bytes);
        }
        if read == 0 {
            if let Some(inflater) = inflater {
                bytes.extend(inflater.finish().ok()?);
            }
            return Some(bytes);
        }
    }
}
