//! Requests with files: in a form, or as base64 or a `data:` URI among the fields. [`super::fetch`] has those at a URL.

use futures_lite::AsyncReadExt as _;
use http_types::Body;

use super::base64::NotBase64;
use super::body::{self, Declared};
use super::context::Req;
use super::data_uri::{DATA, Data, Decoder};
use super::error::ApiError;
use super::file::{PIECE, Received, Room, Writing, too_large, too_many};
use super::json_file::Splitter;
use super::multipart::{self, Early};
use crate::fields::Fields;

/// Reads a request's fields and its files: those that the form's field `file_field` carries, at most `most`, or, if that is
/// more than one, those in the objects of a list, which [`Splitter`] numbers. A request with one file has the one that the form's field `file_field` carries, its `base64`, or a `data:`
/// URI at `url`; any other `url` is left to [`super::fetch`]. `early` sees the fields that precede the file, and may
/// refuse it before any of it is stored.
///
/// # Errors
/// 413 over the limits, as soon as that shows; 415 for other media types; 400 for what is no
/// form and no JSON; 503 if the disk is full.
pub async fn read(
    req: &mut Req,
    room: &Room,
    file_field: &'static str,
    most: usize,
    early: Early<'_>,
) -> Result<(Fields, Vec<Received>), ApiError> {
    match Declared::of(req) {
        Declared::Multipart => {
            let (mut fields, mut files) =
                multipart::read(req, room, file_field, most, early).await?;
            if files.is_empty() && most == 1 {
                files.extend(of_fields(&mut fields, false, room).await?);
            }
            Ok((fields, files))
        }
        declared @ (Declared::Json | Declared::Form) => {
            let body = req.take_body();
            let length = room.max_file / 3 * 4 + room.max_file / 32 + room.max_json as u64;
            if body.len().is_some_and(|len| len as u64 > length) {
                return Err(too_large(room.max_file));
            }
            read_text(body, declared, room, most, early).await
        }
        Declared::Other => Err(ApiError::UnsupportedUpload),
    }
}

/// Reads JSON, taking the files out as they come; or a form of one line, as a whole.
async fn read_text(
    mut body: Body,
    declared: Declared,
    room: &Room,
    most: usize,
    early: Early<'_>,
) -> Result<(Fields, Vec<Received>), ApiError> {
    let (mut splitter, mut decoder) = match most {
        1 => (Splitter::default(), Decoder::default()),
        _ => (Splitter::of_list(), Decoder::default()),
    };
    let (mut files, mut used) = (Vec::new(), 0);
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
            if let Some(looks_like_json) = body::looks_like_json(&seen) {
                has_begun = true;
                is_form = !looks_like_json;
            }
        }
        let mut at = 0;
        while at < read {
            let done = splitter.count();
            match is_form {
                true => {
                    rest.extend_from_slice(&piece[at..read]);
                    at = read;
                }
                false => at += splitter.push(&piece[at..read], &mut rest, &mut taken),
            }
            if rest.len() > room.max_json {
                return Err(ApiError::TooLarge {
                    limit: room.max_json,
                });
            }
            let bad = |_| not_base64(&splitter);
            if !taken.is_empty() {
                decoder.push(&taken, &mut decoded).map_err(bad)?;
                taken.clear();
                let writing = match &mut writing {
                    Some(writing) => writing,
                    None => {
                        // Where they are no JSON, the whole body is refused for that at its end.
                        if let Ok(fields) = body::parse(&splitter.complete_fields(&rest), false) {
                            early(&fields)?;
                        }
                        writing.insert(Writing::after(room, used).await?)
                    }
                };
                writing.push(&decoded).await?;
                decoded.clear();
            }
            if most > 1 && splitter.count() > done {
                if files.len() >= most {
                    return Err(too_many(most));
                }
                let data = std::mem::take(&mut decoder)
                    .finish(&mut decoded)
                    .map_err(bad)?;
                let mut written = match writing.take() {
                    Some(writing) => writing,
                    None => Writing::after(room, used).await?,
                };
                written.push(&decoded).await?;
                decoded.clear();
                used = written.used();
                files.push(received(written, data).await?);
            }
        }
    }
    let mut fields = body::parse(&rest, is_form)?;
    if most > 1 {
        return Ok((fields, files));
    }
    if splitter.taken_from().len() > 1 {
        return Err(ApiError::Field {
            field: "base64",
            expected: "given once, and without a data: URI in \"url\" beside it",
        });
    }
    let file = match writing {
        Some(mut writing) => {
            let bad = |_| not_base64(&splitter);
            let data = decoder.finish(&mut decoded).map_err(bad)?;
            writing.push(&decoded).await?;
            Some(received(writing, data).await?)
        }
        None => of_fields(&mut fields, is_form, room).await?,
    };
    Ok((fields, file.into_iter().collect()))
}

/// A file that stands in the fields themselves, where they were read as a whole.
async fn of_fields(
    fields: &mut Fields,
    is_form: bool,
    room: &Room,
) -> Result<Option<Received>, ApiError> {
    let found = match fields.take_text("base64", |_| true) {
        Some(text) => Some(("base64", text)),
        None => fields
            .take_text("url", is_data_uri)
            .map(|text| ("url", text)),
    };
    let Some((field, mut text)) = found else {
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

fn not_base64(splitter: &Splitter) -> ApiError {
    no_data(splitter.taken_from().first().copied().unwrap_or_default())
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

fn is_data_uri(text: &str) -> bool {
    let start = text.trim_start().as_bytes().get(..DATA.len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(DATA))
}
