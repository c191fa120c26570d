//! `multipart/form-data`, read piece by piece.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_lite::{AsyncRead, AsyncReadExt as _, Stream};
use http_types::Body;
use multer::Multipart;

use super::body::{self, MAX_FIELDS};
use super::context::Req;
use super::error::ApiError;
use super::file::{PIECE, Received, Room, Writing, too_large, too_many};
use super::file_name;
use crate::fields::{FieldError, Fields};

/// The longest field, in bytes.
const MAX_FIELD: usize = 512 * 1024;
/// The most bytes in a row that are no content: the head of a part, mostly.
const MAX_SILENCE: usize = 64 * 1024;

/// The fields that came before a file, checked.
pub type Early<'a> = &'a (dyn Fn(&Fields) -> Result<(), FieldError> + Send + Sync);

/// Reads a form whose part `file_field` is a file, or at most `most` of them. `early` sees the fields that precede it, and may refuse it.
///
/// # Errors
/// 413 over the limits, as soon as that shows; 400 for a malformed form; 503 if the disk is full.
pub async fn read(
    req: &mut Req,
    room: &Room,
    file_field: &'static str,
    most: usize,
    early: Early<'_>,
) -> Result<(Fields, Vec<Received>), ApiError> {
    let boundary = boundary(req)?;
    let body = req.take_body();
    let slack = (room.max_json + MAX_SILENCE * MAX_FIELDS) as u64;
    let length = room.max_file + slack;
    if body.len().is_some_and(|len| len as u64 > length) {
        return Err(too_large(room.max_file));
    }
    read_form(body, boundary, room, Some((file_field, most)), early).await
}

/// Reads the fields of a form without a file. A file in it is skipped.
///
/// # Errors
/// As [`read`].
pub async fn fields(req: &mut Req) -> Result<Fields, ApiError> {
    let boundary = boundary(req)?;
    let mut room = Room::of(req.state());
    room.max_file = room.max_json as u64;
    let read = read_form(req.take_body(), boundary, &room, None, &|_| Ok(())).await?;
    Ok(read.0)
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

async fn read_form(
    mut body: Body,
    boundary: String,
    room: &Room,
    file_field: Option<(&'static str, usize)>,
    early: Early<'_>,
) -> Result<(Fields, Vec<Received>), ApiError> {
    let silence = Arc::new(AtomicUsize::new(0));
    let pieces = Pieces {
        body: &mut body,
        rests: false,
        silence: silence.clone(),
    };
    let mut form = Multipart::new(pieces, boundary);
    let mut fields = Fields::default();
    let mut files = Vec::new();
    let (mut ignored, mut texts, mut values, mut used) = (0, 0, 0, 0);
    while let Some(mut field) = form.next_field().await.map_err(form_error)? {
        silence.store(0, Ordering::Relaxed);
        // multer's own reading knows neither `filename*` nor names that are not UTF-8.
        let disposition = field.headers().get("content-disposition");
        let part = file_name::of_part(disposition.map_or(b"", |value| value.as_bytes()));
        let name = part.name;
        if let Some((field_name, most)) = file_field.filter(|(field, _)| *field == name)
            && (most == 1 || part.is_file)
        {
            if files.len() >= most {
                return Err(match most {
                    1 => ApiError::Field {
                        field: field_name,
                        expected: "one file",
                    },
                    _ => too_many(most),
                });
            }
            early(&fields)?;
            let mimetype = field.content_type().map(ToString::to_string);
            let mut writing = Writing::after(room, used).await?;
            while let Some(piece) = field.chunk().await.map_err(form_error)? {
                silence.store(0, Ordering::Relaxed);
                writing.push(&piece).await?;
            }
            used = writing.used();
            files.push(Received {
                file: writing.finish().await?,
                name: part.file_name,
                mimetype,
            });
            continue;
        }
        values += 1;
        if values > body::MAX_VALUES {
            return Err(body::too_many_values());
        }
        let is_file = part.is_file;
        let mut text = Vec::new();
        while let Some(piece) = field.chunk().await.map_err(form_error)? {
            silence.store(0, Ordering::Relaxed);
            if is_file {
                // A file in a field that the endpoint does not have is skipped.
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
            return Err(body::too_many_fields());
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
        fields.add(name, text);
    }
    drop(form);
    // What stands behind the form means nothing; the body ends there.
    futures_lite::io::copy(body.take(MAX_SILENCE as u64), futures_lite::io::sink()).await?;
    Ok((fields, files))
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
