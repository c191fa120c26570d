//! Files that come in: as `multipart/form-data`, or as base64 or a `data:` URI within JSON. Each goes to the
//! spool piece by piece; what is in memory does not grow with it. [`super::fetch`] has those at a URL.

use std::fs::File;
use std::io::Write as _;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_lite::{AsyncRead, AsyncReadExt as _, Stream};
use http_types::Body;
use multer::Multipart;
use serde_json::Map;
use smol::lock::Semaphore;

use super::Req;
use super::error::ApiError;
use super::file_name;
use super::input::{self, Declared, Fields};
use super::siphon::{Data, Decoder, NotBase64, Siphon};
use crate::media::{Spool, Spooled};

/// The piece in which a file is read and written, in bytes.
const PIECE: usize = 32 * 1024;
/// What a form may hold besides its file: fields, and bytes of each.
const MAX_FIELDS: usize = input::MAX_FIELDS;
const MAX_FIELD: usize = 512 * 1024;
/// Bytes that a form may send without saying anything: the head of a part, mostly.
const MAX_SILENCE: usize = 64 * 1024;

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
    /// Reads a request's fields and the file that its field `file_field` carries, its `base64`, or a `data:`
    /// URI at `url`; any other `url` is left for [`super::fetch`]. `early` sees the fields that came before the file, and may
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
        match Declared::of(req) {
            Declared::Multipart => {
                let boundary = boundary(req)?;
                let body = req.take_body();
                let slack = (room.max_json + MAX_SILENCE * MAX_FIELDS) as u64;
                if body
                    .len()
                    .is_some_and(|len| len as u64 > room.max_file + slack)
                {
                    return Err(too_large(room.max_file));
                }
                let field = Some(file_field);
                let mut upload = read_form(body, boundary, room, field, early).await?;
                if upload.file.is_none() {
                    upload.file = of_fields(&mut upload.fields, false, room).await?;
                }
                Ok(upload)
            }
            declared @ (Declared::Json | Declared::Form) => {
                let body = req.take_body();
                let most = room.max_file / 3 * 4 + room.max_file / 32 + room.max_json as u64;
                if body.len().is_some_and(|len| len as u64 > most) {
                    return Err(too_large(room.max_file));
                }
                read_text(body, declared, room).await
            }
            Declared::Other => Err(ApiError::UnsupportedUpload),
        }
    }
}

/// Reads the fields of a `multipart/form-data` where no file is wanted. One that comes is read over.
///
/// # Errors
/// As [`Upload::read`].
pub async fn fields_of_form(req: &mut Req) -> Result<Fields, ApiError> {
    let boundary = boundary(req)?;
    let mut room = req.state().room();
    room.max_file = room.max_json as u64;
    let upload = read_form(req.take_body(), boundary, &room, None, |_| Ok(())).await?;
    Ok(upload.fields)
}

fn boundary(req: &Req) -> Result<String, ApiError> {
    let header = req.header("Content-Type").map(|values| values.last());
    let boundary = header.and_then(|value| multer::parse_boundary(value.as_str()).ok());
    boundary.ok_or_else(|| {
        ApiError::Invalid(
            "The Content-Type multipart/form-data has no boundary; \
             leave this header to your HTTP client"
                .to_owned(),
        )
    })
}

/// A file on its way to the spool.
pub(super) struct Writing {
    spooled: Spooled,
    file: File,
    /// What is not written yet.
    buffer: Vec<u8>,
    size: u64,
    max: u64,
}

impl Writing {
    pub(super) async fn start(room: &Room) -> Result<Writing, ApiError> {
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

    pub(super) async fn push(&mut self, bytes: &[u8]) -> Result<(), ApiError> {
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

    pub(super) async fn finish(mut self) -> Result<Spooled, ApiError> {
        self.settle(0).await?;
        Ok(self.spooled)
    }
}

pub(super) fn too_large(limit: u64) -> ApiError {
    ApiError::TooLarge {
        limit: usize::try_from(limit).unwrap_or(usize::MAX),
    }
}

async fn read_form(
    mut body: Body,
    boundary: String,
    room: &Room,
    file_field: Option<&'static str>,
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
    let (mut ignored, mut texts, mut values) = (0, 0, 0);
    while let Some(mut field) = form.next_field().await.map_err(form_error)? {
        silence.store(0, Ordering::Relaxed);
        // multer's own reading knows neither `filename*` nor names that are not UTF-8.
        let disposition = field.headers().get("content-disposition");
        let part = file_name::of_part(disposition.map_or(b"", |value| value.as_bytes()));
        let name = part.name;
        if let Some(field_name) = file_field.filter(|field| *field == name) {
            if file.is_some() {
                return Err(ApiError::Field {
                    field: field_name,
                    expected: "one file",
                });
            }
            early(&Fields::from_map(fields.clone()))?;
            let mimetype = field.content_type().map(ToString::to_string);
            let mut writing = Writing::start(room).await?;
            while let Some(piece) = field.chunk().await.map_err(form_error)? {
                silence.store(0, Ordering::Relaxed);
                writing.push(&piece).await?;
            }
            file = Some(Received {
                file: writing.finish().await?,
                name: part.file_name,
                mimetype,
            });
            continue;
        }
        values += 1;
        if values > input::MAX_VALUES {
            return Err(input::too_many_values());
        }
        let is_file = part.is_file;
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
            texts += piece.len();
            if texts > room.max_json {
                return Err(ApiError::TooLarge {
                    limit: room.max_json,
                });
            }
        }
        if is_file {
            continue;
        }
        if fields.len() >= MAX_FIELDS {
            return Err(input::too_many_fields());
        }
        let text = match String::from_utf8(text) {
            Ok(text) => text,
            // A name is read as that of a part would be.
            Err(error) if matches!(name.as_str(), "fileName" | "filename") => {
                file_name::text(error.as_bytes())
            }
            Err(_) => {
                return Err(ApiError::Invalid(format!(
                    "The form's field \"{}\" is not UTF-8",
                    name.escape_debug()
                )));
            }
        };
        input::add_field(&mut fields, name, text);
    }
    drop(form);
    // What stands behind the form means nothing; the body ends there.
    futures_lite::io::copy(body.take(MAX_SILENCE as u64), futures_lite::io::sink()).await?;
    Ok(Upload {
        fields: Fields::from_map(fields),
        file,
    })
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

/// Reads JSON, taking the file out as it comes; or a form of one line, as a whole.
async fn read_text(mut body: Body, declared: Declared, room: &Room) -> Result<Upload, ApiError> {
    let (mut siphon, mut decoder) = (Siphon::default(), Decoder::default());
    let (mut rest, mut taken, mut decoded) = (Vec::new(), Vec::new(), Vec::new());
    let mut writing: Option<Writing> = None;
    let mut is_form = declared == Declared::Form;
    let mut has_begun = false;
    let mut piece = vec![0; PIECE];
    loop {
        let read = body.read(&mut piece).await?;
        if read == 0 {
            break;
        }
        if is_form && !has_begun {
            // What `curl -d` says is a form may be JSON.
            let mut seen = rest.clone();
            seen.extend_from_slice(&piece[..read]);
            if let Some(looks_like_json) = input::looks_like_json(&seen) {
                has_begun = true;
                is_form = !looks_like_json;
            }
        }
        match is_form {
            true => rest.extend_from_slice(&piece[..read]),
            false => siphon.push(&piece[..read], &mut rest, &mut taken),
        }
        if rest.len() > room.max_json {
            return Err(ApiError::TooLarge {
                limit: room.max_json,
            });
        }
        if taken.is_empty() {
            continue;
        }
        let bad = |_| not_base64(&siphon);
        decoder.push(&taken, &mut decoded).map_err(bad)?;
        taken.clear();
        let writing = match &mut writing {
            Some(writing) => writing,
            None => writing.insert(Writing::start(room).await?),
        };
        writing.push(&decoded).await?;
        decoded.clear();
    }
    let mut fields = Fields::of_body(&rest, is_form)?;
    if siphon.taken_from().len() > 1 {
        return Err(ApiError::Field {
            field: "base64",
            expected: "given once, and without a data: URI in \"url\" beside it",
        });
    }
    let file = match writing {
        Some(mut writing) => {
            let bad = |_| not_base64(&siphon);
            let data = decoder.finish(&mut decoded).map_err(bad)?;
            writing.push(&decoded).await?;
            Some(received(writing, data).await?)
        }
        None => of_fields(&mut fields, is_form, room).await?,
    };
    Ok(Upload { fields, file })
}

/// A file that stands in the fields themselves, where they were read as a whole.
async fn of_fields(
    fields: &mut Fields,
    is_form: bool,
    room: &Room,
) -> Result<Option<Received>, ApiError> {
    let Some((field, mut text)) = fields.take_data() else {
        return Ok(None);
    };
    if is_form {
        // A plus sign that was not encoded has become a space.
        text = text.replace(' ', "+");
    }
    let (mut decoder, mut decoded) = (Decoder::default(), Vec::new());
    let bad = |_: NotBase64| no_data(field);
    decoder.push(text.as_bytes(), &mut decoded).map_err(bad)?;
    let data = decoder.finish(&mut decoded).map_err(bad)?;
    let mut writing = Writing::start(room).await?;
    writing.push(&decoded).await?;
    received(writing, data).await.map(Some)
}

async fn received(writing: Writing, data: Option<Data>) -> Result<Received, ApiError> {
    let Data { mimetype, name } = data.unwrap_or_default();
    Ok(Received {
        file: writing.finish().await?,
        name,
        mimetype,
    })
}

fn not_base64(siphon: &Siphon) -> ApiError {
    no_data(siphon.taken_from().first().copied().unwrap_or_default())
}

fn no_data(field: &'static str) -> ApiError {
    match field {
        "url" => ApiError::Field {
            field,
            expected: "a valid data: URI, or an http or https address",
        },
        _ => ApiError::Field {
            field: "base64",
            expected: "base64",
        },
    }
}
