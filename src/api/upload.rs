//! Files that come in: as `multipart/form-data`, as base64 within JSON, or by a URL to fetch. Each goes
//! to the spool piece by piece; what is in memory does not grow with it.

use std::fs::File;
use std::io::Write as _;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_lite::{AsyncRead, AsyncReadExt as _, Stream};
use http_types::{Body, Url};
use multer::Multipart;
use serde_json::{Map, Value};
use smol::lock::Semaphore;

use super::Req;
use super::error::ApiError;
use super::input::Fields;
use super::siphon::{Decoder, NotBase64, Siphon};
use crate::media::{Spool, Spooled};

/// The piece in which a file is read and written, in bytes.
const PIECE: usize = 32 * 1024;
/// What a form may hold besides its file: fields, and bytes of one.
const MAX_FIELDS: usize = 32;
const MAX_FIELD: usize = 512 * 1024;
/// Bytes that a form may send without saying anything: the head of a part, mostly.
const MAX_SILENCE: usize = 64 * 1024;
/// The longest file name that is kept, in bytes.
const MAX_NAME: usize = 255;
/// Redirects that are followed when a file is fetched.
const MAX_REDIRECTS: usize = 5;

/// Pieces that are being written at the same time, over all clients: each takes a thread.
static WRITES: Semaphore = Semaphore::new(4);

/// A request with a file.
#[derive(Debug)]
pub struct Upload {
    pub fields: Fields,
    pub file: Option<Received>,
}

/// A file that came in.
#[derive(Debug)]
pub struct Received {
    pub file: Spooled,
    /// What the sender calls it, without folders.
    pub name: Option<String>,
    /// What the sender says it is.
    pub mimetype: Option<String>,
}

/// Where files go, and how large they may be.
#[derive(Debug, Clone)]
pub struct Room {
    pub spool: Spool,
    /// Bytes of a file.
    pub max_file: u64,
    /// Bytes of the JSON around one.
    pub max_json: usize,
}

impl Upload {
    /// Reads a request's fields and the file that its field `file_field` carries, or its `base64`;
    /// a `url` is left for [`fetch`]. `early` sees the fields that came before the file, and may
    /// refuse it.
    ///
    /// # Errors
    /// 413 over the limits, as soon as that shows; 415 for other media types; 400 for what is no
    /// form and no JSON; 503 if the disk is full.
    pub async fn read(
        req: &mut Req,
        room: &Room,
        file_field: &'static str,
        early: impl Fn(&Fields) -> Result<(), ApiError>,
    ) -> Result<Upload, ApiError> {
        let boundary = req
            .header("Content-Type")
            .map(|values| values.last().as_str().to_owned())
            .and_then(|value| multer::parse_boundary(value).ok());
        match boundary {
            Some(boundary) => {
                let body = req.take_body();
                let slack = (MAX_FIELD * MAX_FIELDS) as u64;
                if body
                    .len()
                    .is_some_and(|len| len as u64 > room.max_file + slack)
                {
                    return Err(too_large(room.max_file));
                }
                read_form(body, boundary, room, file_field, early).await
            }
            None => {
                if !Fields::is_json(req) {
                    return Err(ApiError::UnsupportedUpload);
                }
                let body = req.take_body();
                let most = room.max_file / 3 * 4 + room.max_file / 32 + room.max_json as u64;
                if body.len().is_some_and(|len| len as u64 > most) {
                    return Err(too_large(room.max_file));
                }
                read_json(body, room).await
            }
        }
    }
}

/// A file on its way to the spool.
struct Writing {
    spooled: Spooled,
    file: File,
    /// What is not written yet.
    buffer: Vec<u8>,
    size: u64,
    max: u64,
}

impl Writing {
    async fn start(room: &Room) -> Result<Writing, ApiError> {
        let spool = room.spool.clone();
        let (spooled, file) = smol::unblock(move || spool.create())
            .await
            .map_err(ApiError::Disk)?;
        Ok(Writing {
            spooled,
            file,
            buffer: Vec::with_capacity(PIECE),
            size: 0,
            max: room.max_file,
        })
    }

    async fn push(&mut self, bytes: &[u8]) -> Result<(), ApiError> {
        self.buffer.extend_from_slice(bytes);
        self.settle(PIECE).await
    }

    /// Writes what is there, if it is more than `limit` bytes.
    async fn settle(&mut self, limit: usize) -> Result<(), ApiError> {
        if self.size + self.buffer.len() as u64 > self.max {
            return Err(too_large(self.max));
        }
        if self.buffer.len() < limit || self.buffer.is_empty() {
            return Ok(());
        }
        let _turn = WRITES.acquire().await;
        let buffer = std::mem::take(&mut self.buffer);
        let mut file = self.file.try_clone().map_err(ApiError::Disk)?;
        let mut buffer = smol::unblock(move || file.write_all(&buffer).map(|()| buffer))
            .await
            .map_err(ApiError::Disk)?;
        self.size += buffer.len() as u64;
        buffer.clear();
        self.buffer = buffer;
        Ok(())
    }

    async fn finish(mut self) -> Result<Spooled, ApiError> {
        self.settle(0).await?;
        Ok(self.spooled)
    }
}

fn too_large(limit: u64) -> ApiError {
    ApiError::TooLarge {
        limit: usize::try_from(limit).unwrap_or(usize::MAX),
    }
}

async fn read_form(
    mut body: Body,
    boundary: String,
    room: &Room,
    file_field: &'static str,
    early: impl Fn(&Fields) -> Result<(), ApiError>,
) -> Result<Upload, ApiError> {
    let silence = Arc::new(AtomicUsize::new(0));
    let pieces = Pieces {
        body: &mut body,
        rests: false,
        silence: silence.clone(),
    };
    let mut form = Multipart::new(pieces, boundary);
    let mut fields = Map::new();
    let mut file = None;
    let mut ignored = 0;
    while let Some(mut field) = form.next_field().await.map_err(form_error)? {
        silence.store(0, Ordering::Relaxed);
        let name = field.name().unwrap_or_default().to_owned();
        if name == file_field {
            if file.is_some() {
                return Err(ApiError::Field {
                    field: file_field,
                    expected: "one file",
                });
            }
            early(&Fields::from_map(fields.clone()))?;
            let received_name = field.file_name().and_then(file_name);
            let mimetype = field.content_type().map(ToString::to_string);
            let mut writing = Writing::start(room).await?;
            while let Some(piece) = field.chunk().await.map_err(form_error)? {
                silence.store(0, Ordering::Relaxed);
                writing.push(&piece).await?;
            }
            file = Some(Received {
                file: writing.finish().await?,
                name: received_name,
                mimetype,
            });
            continue;
        }
        let is_file = field.file_name().is_some();
        let mut text = Vec::new();
        while let Some(piece) = field.chunk().await.map_err(form_error)? {
            silence.store(0, Ordering::Relaxed);
            if is_file {
                // A file that nobody asks for is read over.
                ignored += piece.len() as u64;
                if ignored > room.max_file {
                    return Err(too_large(room.max_file));
                }
                continue;
            }
            text.extend_from_slice(&piece);
            if text.len() > MAX_FIELD {
                return Err(ApiError::TooLarge { limit: MAX_FIELD });
            }
        }
        if is_file {
            continue;
        }
        if fields.len() >= MAX_FIELDS {
            return Err(ApiError::Invalid(format!(
                "The form has more than {MAX_FIELDS} fields"
            )));
        }
        let text = String::from_utf8(text).map_err(|_| {
            ApiError::Invalid(format!(
                "The form's field \"{}\" is not UTF-8",
                name.escape_debug()
            ))
        })?;
        add_field(&mut fields, name, text);
    }
    drop(form);
    // What stands behind the form means nothing; the body ends there.
    futures_lite::io::copy(body.take(MAX_SILENCE as u64), futures_lite::io::sink()).await?;
    Ok(Upload {
        fields: Fields::from_map(fields),
        file,
    })
}

/// A field that comes again is a list, as `mentions` may.
fn add_field(fields: &mut Map<String, Value>, name: String, text: String) {
    match fields.get_mut(&name) {
        None => {
            fields.insert(name, Value::String(text));
        }
        Some(Value::Array(items)) => items.push(Value::String(text)),
        Some(first) => {
            let first_value = first.take();
            *first = Value::Array(vec![first_value, Value::String(text)]);
        }
    }
}

/// multer's errors: mistakes of the sender, but for those of the connection.
fn form_error(error: multer::Error) -> ApiError {
    match error {
        multer::Error::StreamReadFailed(cause) => match cause.downcast::<std::io::Error>() {
            Ok(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                ApiError::Invalid(error.to_string())
            }
            Ok(error) => ApiError::Body(*error),
            Err(cause) => ApiError::Invalid(format!("The form is malformed: {cause}")),
        },
        other => ApiError::Invalid(format!("The form is malformed: {other}")),
    }
}

/// A body in pieces, one for each time that it is polled: multer takes all that is ready into its
/// memory otherwise. And none of it may go on without saying anything for too long.
struct Pieces<'a> {
    body: &'a mut Body,
    rests: bool,
    silence: Arc<AtomicUsize>,
}

impl Stream for Pieces<'_> {
    type Item = std::io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if std::mem::take(&mut self.rests) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let mut piece = vec![0; PIECE / 2];
        let read = match ready!(Pin::new(&mut *self.body).poll_read(cx, &mut piece)) {
            Ok(0) => return Poll::Ready(None),
            Ok(read) => read,
            Err(error) => return Poll::Ready(Some(Err(error))),
        };
        if self.silence.fetch_add(read, Ordering::Relaxed) + read > MAX_SILENCE {
            return Poll::Ready(Some(Err(std::io::Error::new(
                std::io::ErrorKind::InvalidData,
                "The form is malformed: the head of a part is too long",
            ))));
        }
        self.rests = true;
        piece.truncate(read);
        Poll::Ready(Some(Ok(piece.into())))
    }
}

async fn read_json(mut body: Body, room: &Room) -> Result<Upload, ApiError> {
    let (mut siphon, mut decoder) = (Siphon::default(), Decoder::default());
    let (mut rest, mut taken, mut decoded) = (Vec::new(), Vec::new(), Vec::new());
    let mut writing: Option<Writing> = None;
    let not_base64 = |_: NotBase64| ApiError::Field {
        field: "base64",
        expected: "base64",
    };
    let mut piece = vec![0; PIECE];
    loop {
        let read = body.read(&mut piece).await?;
        if read == 0 {
            break;
        }
        siphon.push(&piece[..read], &mut rest, &mut taken);
        if rest.len() > room.max_json {
            return Err(ApiError::TooLarge {
                limit: room.max_json,
            });
        }
        if taken.is_empty() {
            continue;
        }
        decoder.push(&taken, &mut decoded).map_err(not_base64)?;
        taken.clear();
        let writing = match &mut writing {
            Some(writing) => writing,
            None => writing.insert(Writing::start(room).await?),
        };
        writing.push(&decoded).await?;
        decoded.clear();
    }
    let fields = Fields::parse(&rest)?;
    let file = match writing {
        Some(mut writing) => {
            decoder.finish(&mut decoded).map_err(not_base64)?;
            writing.push(&decoded).await?;
            Some(Received {
                file: writing.finish().await?,
                name: None,
                mimetype: None,
            })
        }
        None => None,
    };
    Ok(Upload { fields, file })
}

/// Fetches a file from a web server, following redirects.
///
/// # Errors
/// 400 in words: for a bad address, for a server that cannot be reached or says no; 413 for a file
/// over the limit.
pub async fn fetch(
    client: &surf::Client,
    address: &str,
    room: &Room,
) -> Result<Received, ApiError> {
    let failed = |words: String| ApiError::Fetch(words);
    let mut url = web_url(address)?;
    for _ in 0..=MAX_REDIRECTS {
        let request = surf::Request::new(http_types::Method::Get, url.clone());
        let mut response = client.send(request).await.map_err(|error| {
            match error.downcast_ref::<crate::net::http::HttpError>() {
                Some(crate::net::http::HttpError::TooLarge { .. }) => too_large(room.max_file),
                _ => failed(error.to_string()),
            }
        })?;
        let status = response.status();
        if status.is_redirection()
            && let Some(location) = response.header("Location")
        {
            let location = url
                .join(location.last().as_str())
                .map_err(|e| failed(format!("a redirect that leads nowhere: {e}")))?;
            url = web_url(location.as_str())?;
            continue;
        }
        if !status.is_success() {
            return Err(failed(format!("the server answered {status}")));
        }
        let mimetype = response
            .content_type()
            .map(|mime| mime.essence().to_owned());
        let name = url
            .path_segments()
            .and_then(|mut segments| segments.next_back())
            .map(|segment| percent_encoding::percent_decode_str(segment).decode_utf8_lossy())
            .and_then(|name| file_name(&name));
        let mut writing = Writing::start(room).await?;
        let mut body = response.take_body();
        let mut piece = vec![0; PIECE];
        loop {
            match body.read(&mut piece).await {
                Ok(0) => break,
                Ok(read) => writing.push(&piece[..read]).await?,
                Err(error) => return Err(failed(error.to_string())),
            }
        }
        return Ok(Received {
            file: writing.finish().await?,
            name,
            mimetype,
        });
    }
    Err(failed("too many redirects".to_owned()))
}

/// How long a file may take to be fetched.
pub const FETCH: Duration = Duration::from_secs(5 * 60);

fn web_url(address: &str) -> Result<Url, ApiError> {
    let wrong = ApiError::Field {
        field: "url",
        expected: "an http or https address",
    };
    match Url::parse(address) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
        _ => Err(wrong),
    }
}

/// The name of a file without its folders, controls and excess; `None` if nothing is left.
pub fn file_name(name: &str) -> Option<String> {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let mut clean: String = last.chars().filter(|c| !c.is_control()).collect();
    while clean.len() > MAX_NAME {
        clean.pop();
    }
    let clean = clean.trim();
    (!clean.is_empty() && clean != "." && clean != "..").then(|| clean.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lose_their_folders() {
        for (name, expected) in [
            ("a.pdf", Some("a.pdf")),
            ("/etc/../a b.pdf", Some("a b.pdf")),
            ("C:\\fakepath\\ü.png", Some("ü.png")),
            ("a\r\nX: y", Some("aX: y")),
            ("..", None),
            ("a/", None),
            ("", None),
        ] {
            assert_eq!(file_name(name).as_deref(), expected, "{name:?}");
        }
        let long = file_name(&"ü".repeat(1_000)).unwrap();
        assert!(long.len() <= MAX_NAME && long.starts_with('ü'));
    }

    #[test]
    fn only_the_web_is_fetched_from() {
        for bad in ["", "file:///etc/passwd", "ftp://x/y", "x", "http://"] {
            assert!(web_url(bad).is_err(), "{bad}");
        }
        assert!(web_url("http://192.168.1.2:8123/cam.jpg?x=1").is_ok());
    }
}
