//! The media hosts: uploads under `/mms/…`, downloads under `/v/…`.
//!
//! Files are read and written in pieces, without a thread of their own: they are local, and other
//! connections get their turn between two pieces.

use std::io::{self, ErrorKind, Seek as _, SeekFrom, Write as _};
use std::rc::Rc;

use futures_lite::AsyncReadExt as _;
use futures_lite::future::yield_now;
use futures_lite::io::BufReader;
use http_types::{Body, Method, Request, Response, StatusCode};
use serde_json::{Value, json};

use super::Hub;
use super::faulty::{self, Faulty};
use crate::media::{self, Blob, Hash, Kind, MAX_FILE, MediaRef, Missing, Spool};
use crate::service::{Service, TransferFault, now_secs};

/// Bytes that are moved at once.
const PIECE: usize = 32 * 1024;

/// Why a request was refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("there is no such path")]
    NoPath,
    #[error("the auth token is missing")]
    NoAuth,
    #[error("the auth token is not one of this service's")]
    BadAuth,
    #[error("the token in the path is not the hash of a file")]
    BadToken,
    #[error("the SHA-256 of the body is not the token")]
    WrongHash,
    #[error("there is no upload to continue at this offset")]
    BadOffset,
    #[error("a file has at most {MAX_FILE} bytes")]
    TooLarge,
    #[error("the body ended early")]
    Incomplete,
    #[error("this range is not in the file of {0} bytes")]
    BadRange(u64),
    #[error(transparent)]
    Missing(#[from] Missing),
    #[error("refused on purpose")]
    Fault(u16),
    #[error("broken off on purpose")]
    Broken,
    #[error("the file: {0}")]
    Io(io::Error),
}

impl From<io::Error> for Refusal {
    fn from(e: io::Error) -> Refusal {
        match e.kind() {
            ErrorKind::FileTooLarge => Refusal::TooLarge,
            _ => Refusal::Io(e),
        }
    }
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Self::NoPath | Self::Missing(Missing::Unknown) => StatusCode::NotFound,
            Self::NoAuth => StatusCode::Unauthorized,
            Self::BadAuth | Self::Missing(Missing::Forged) => StatusCode::Forbidden,
            Self::BadToken | Self::WrongHash | Self::Incomplete => StatusCode::BadRequest,
            Self::BadOffset => StatusCode::Conflict,
            Self::TooLarge => StatusCode::PayloadTooLarge,
            Self::BadRange(_) => StatusCode::RequestedRangeNotSatisfiable,
            Self::Missing(Missing::Expired) => StatusCode::Gone,
            Self::Fault(code) => {
                StatusCode::try_from(*code).unwrap_or(StatusCode::ServiceUnavailable)
            }
            Self::Io(e) if e.kind() == ErrorKind::StorageFull => StatusCode::InsufficientStorage,
            Self::Io(_) | Self::Broken => StatusCode::InternalServerError,
        }
    }
}

/// Answers a request that is about a file; `None` if it is about something else.
///
/// # Errors
/// When the connection shall break here.
pub(super) async fn respond(hub: &Hub, request: &mut Request) -> io::Result<Option<Response>> {
    let path = request.url().path().to_owned();
    let answer = if let Some(rest) = path.strip_prefix("/mms/") {
        let answer = match (request.method(), rest.split_once('/')) {
            (Method::Post, Some((kind, token))) => upload(hub, request, kind, token).await,
            _ => Err(Refusal::NoPath),
        };
        match answer {
            Ok(_) => {}
            Err(Refusal::Broken) => return Err(ErrorKind::ConnectionAborted.into()),
            Err(_) => drain(request).await,
        }
        answer.map(|body| json_response(StatusCode::Ok, &body))
    } else if Service::is_picture(&path) {
        match request.method() {
            Method::Get | Method::Head => picture(hub, &path),
            _ => Err(Refusal::NoPath),
        }
    } else if path.starts_with("/v/") {
        match request.method() {
            Method::Get | Method::Head => download(hub, request),
            _ => Err(Refusal::NoPath),
        }
    } else {
        return Ok(None);
    };
    Ok(Some(answer.unwrap_or_else(|refusal| {
        log::debug!("{} {path}: {refusal}", request.method());
        let body = json!({"error": refusal.to_string()});
        let mut response = json_response(refusal.status(), &body);
        if let Refusal::BadRange(len) = refusal {
            response.insert_header("content-range", format!("bytes */{len}"));
        }
        response
    })))
}

/// The picture of a person: anyone who has its address may see it.
fn picture(hub: &Hub, path: &str) -> Result<Response, Refusal> {
    let bytes = hub.with(|service| service.picture_file(path));
    let mut response = Response::new(StatusCode::Ok);
    let mut body = Body::from_bytes(bytes.ok_or(Refusal::NoPath)?);
    body.set_mime(http_types::mime::JPEG);
    response.set_body(body);
    Ok(response)
}

fn json_response(status: StatusCode, body: &Value) -> Response {
    let mut response = Response::new(status);
    let mut body = Body::from_string(body.to_string());
    body.set_mime(http_types::mime::JSON);
    response.set_body(body);
    response
}

/// A refused body is read to its end, within reason: a client that is still writing would see a
/// broken connection instead of the answer.
async fn drain(request: &mut Request) {
    if request.len().is_some_and(|len| len as u64 > MAX_FILE) {
        return;
    }
    let mut left = MAX_FILE;
    let mut piece = vec![0; PIECE];
    while left > 0 {
        match request.read(&mut piece).await {
            Ok(0) | Err(_) => return,
            Ok(n) => left = left.saturating_sub(n as u64),
        }
    }
}

/// `POST /mms/<kind>/<token>?auth=…&token=…[&resume=1][&file_offset=…]`
async fn upload(
    hub: &Hub,
    request: &mut Request,
    kind: &str,
    path_token: &str,
) -> Result<Value, Refusal> {
    let query: Vec<(String, String)> = request
        .url()
        .query_pairs()
        .map(|(k, v)| (k.into_owned(), v.into_owned()))
        .collect();
    let get = |key: &str| {
        query
            .iter()
            .find(|(k, _)| k == key)
            .map(|(_, v)| v.as_str())
    };
    let kind = Kind::from_segment(kind).ok_or(Refusal::NoPath)?;
    let auth = get("auth").ok_or(Refusal::NoAuth)?;
    let number = hub
        .service
        .borrow()
        .media()
        .account_of(auth)
        .map(str::to_owned)
        .ok_or(Refusal::BadAuth)?;
    // Padding in a path may arrive escaped.
    let hash = media::token_of(&path_token.replace("%3D", "=")).ok_or(Refusal::BadToken)?;
    if get("token").and_then(media::token_of) != Some(hash) {
        return Err(Refusal::BadToken);
    }
    if get("resume").is_some() {
        let service = hub.service.borrow();
        let media = service.media();
        return Ok(match media.find(kind, &hash, now_secs()) {
            Some(stored) => json!({
                "resume": "complete", "url": stored.url, "direct_path": stored.direct_path,
            }),
            None => json!({"resume": media.partial_len(&hash).unwrap_or(0).to_string()}),
        });
    }
    let offset: u64 = match get("file_offset") {
        Some(text) => text.parse().map_err(|_| Refusal::BadOffset)?,
        None => 0,
    };
    let fault = hub.with(|service| service.upload_fault(&number));
    if let Some(TransferFault::Refuse(code)) = fault {
        return Err(Refusal::Fault(code));
    }
    let stored = take_in(hub, request, (kind, &hash), offset, &number, fault).await?;
    Ok(json!({"url": stored.url, "direct_path": stored.direct_path}))
}

/// Writes the body to a file and stores it if it is what its name says.
async fn take_in(
    hub: &Hub,
    request: &mut Request,
    (kind, hash): (Kind, &Hash),
    offset: u64,
    number: &str,
    fault: Option<TransferFault>,
) -> Result<MediaRef, Refusal> {
    let announced = request.len().map(|len| len as u64);
    if announced.is_some_and(|len| offset.saturating_add(len) > MAX_FILE) {
        return Err(Refusal::TooLarge);
    }
    let mut spool = match offset {
        0 => hub.service.borrow().media().spool()?,
        _ => hub
            .with(|service| service.media_mut().take_partial(hash, offset))
            .ok_or(Refusal::BadOffset)?,
    };
    let half = announced.unwrap_or(2) / 2;
    let end = match fault {
        Some(TransferFault::Break | TransferFault::Stall) => half,
        _ => u64::MAX,
    };
    let outcome = fill(&mut spool, request, end).await;
    if fault == Some(TransferFault::Stall) {
        faulty::stall().await;
    }
    let missing = announced.is_some_and(|len| spool.len() < offset + len);
    match outcome {
        Ok(()) if !missing => {}
        Err(Refusal::TooLarge) => return Err(Refusal::TooLarge),
        outcome => {
            if !spool.is_empty() {
                hub.with(|service| service.media_mut().keep_partial(*hash, spool));
            }
            return Err(outcome.err().unwrap_or(Refusal::Incomplete));
        }
    }
    let blob = spool.finish()?;
    if blob.sha256() != hash {
        return Err(Refusal::WrongHash);
    }
    Ok(hub.with(|service| {
        service
            .media_mut()
            .put(kind, Rc::new(blob), number, now_secs())
    }))
}

/// Writes the body to a file; breaks off after `end` bytes.
async fn fill(spool: &mut Spool, request: &mut Request, end: u64) -> Result<(), Refusal> {
    let mut piece = vec![0; PIECE];
    let mut left = end;
    loop {
        let want = usize::try_from(left).map_or(PIECE, |left| left.min(PIECE));
        if want == 0 {
            return Err(Refusal::Broken);
        }
        let n = request.read(&mut piece[..want]).await?;
        if n == 0 {
            return Ok(());
        }
        spool.write_all(&piece[..n])?;
        left = left.saturating_sub(n as u64);
        yield_now().await;
    }
}

/// `GET <direct_path>`, with what clients append to it.
fn download(hub: &Hub, request: &Request) -> Result<Response, Refusal> {
    let url = request.url();
    let target = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    let fault = hub.with(|service| service.download_fault(&target));
    if let Some(TransferFault::Refuse(code)) = fault {
        return Err(Refusal::Fault(code));
    }
    let blob = hub.service.borrow().media().open(&target, now_secs())?;
    let range = request.header("range").map(|values| values.as_str());
    faulty_response(&blob, range, fault)
}

/// A file, or the part of it that a `Range` asks for.
pub(crate) fn file_response(blob: &Blob, range: Option<&str>) -> Result<Response, Refusal> {
    faulty_response(blob, range, None)
}

fn faulty_response(
    blob: &Blob,
    range: Option<&str>,
    fault: Option<TransferFault>,
) -> Result<Response, Refusal> {
    let len = blob.len();
    let (status, first, last) = match range.map(|text| read_range(text, len)) {
        None | Some(Range::All) => (StatusCode::Ok, 0, len),
        Some(Range::Part(first, end)) => (StatusCode::PartialContent, first, end),
        Some(Range::Bad) => return Err(Refusal::BadRange(len)),
    };
    if let Some(TransferFault::Redirect(port)) = fault {
        let mut response = Response::new(StatusCode::Found);
        response.insert_header("location", format!("https://127.0.0.1:{port}/elsewhere"));
        return Ok(response);
    }
    let mut file = blob.open()?;
    file.seek(SeekFrom::Start(first))?;
    let part = last - first;
    let announced = match fault {
        Some(TransferFault::Overlong(more)) => Some(part.saturating_add(more)),
        Some(TransferFault::Endless) => None,
        _ => Some(part),
    };
    let reader = Faulty::new(io::Read::take(file, part), part, fault);
    let reader = BufReader::with_capacity(PIECE, reader);
    let mut response = Response::new(status);
    // Without a length the body goes out in chunks.
    let announced = announced.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    response.set_body(Body::from_reader(reader, announced));
    response.set_content_type(http_types::mime::BYTE_STREAM);
    response.insert_header("accept-ranges", "bytes");
    if status == StatusCode::PartialContent {
        response.insert_header("content-range", format!("bytes {first}-{}/{len}", last - 1));
    }
    Ok(response)
}

#[derive(Debug, PartialEq, Eq)]
enum Range {
    /// The header is of a kind that may be ignored: several ranges, or another unit.
    All,
    /// From the first byte up to, not including, the second.
    Part(u64, u64),
    Bad,
}

/// RFC 9110, section 14.2, for one range.
fn read_range(text: &str, len: u64) -> Range {
    let Some(spec) = text.trim().strip_prefix("bytes=") else {
        return Range::All;
    };
    let Some((first, last)) = spec.split_once('-') else {
        return Range::All;
    };
    if spec.contains(',') {
        return Range::All;
    }
    let (first, last) = (first.trim(), last.trim());
    let part = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => (first, last.saturating_add(1).min(len)),
        (Ok(first), Err(_)) if last.is_empty() => (first, len),
        (Err(_), Ok(count)) if first.is_empty() => (len.saturating_sub(count), len),
        _ => return Range::All,
    };
    if part.0 < part.1 {
        Range::Part(part.0, part.1)
    } else {
        Range::Bad
    }
}

#[cfg(test)]
mod tests {
    use super::{Range, read_range};

    #[test]
    fn ranges_follow_the_standard() {
        for (text, expected) in [
            ("bytes=0-0", Range::Part(0, 1)),
            ("bytes=2-4", Range::Part(2, 5)),
            ("bytes=2-", Range::Part(2, 10)),
            ("bytes=-3", Range::Part(7, 10)),
            ("bytes=-30", Range::Part(0, 10)),
            ("bytes=8-99", Range::Part(8, 10)),
            ("bytes=10-", Range::Bad),
            ("bytes=-0", Range::Bad),
            ("bytes=4-2", Range::All),
            ("bytes=0-1,4-5", Range::All),
            ("lines=1-2", Range::All),
        ] {
            assert_eq!(read_range(text, 10), expected, "{text}");
        }
    }
}
