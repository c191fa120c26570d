//! The files of messages, as they are asked for.

mod kind;

use std::io::{Seek as _, SeekFrom};

use http_types::{Body, Response, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;

use super::answer::{Answer, Json, Reply};
use super::auth::Caller;
use super::context::Req;
use super::error::ApiError;
use super::page::Paging;
use super::range::{self, Asked, Part};
use super::recipients::{known, named_in};
use super::values::{OfMessage, OnlyAccount, Segment};
use crate::account::{AccountError, MediaCursor, MediaFile, MediaFilter, MediaView};
use crate::fields::{Addressee, request};
use crate::media::extension_of;

/// How many files `GET /media` lists, without a limit and at most.
const USUAL: usize = 50;
const MOST: usize = 500;
/// How much of a file is in memory while it goes out, in bytes.
const AHEAD: usize = 64 * 1024;

/// What they belong to
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct MediaList {
    media: Vec<MediaView>,
    pagination: MediaPagination,
}

/// Where the list stands; how many files there are in all is not counted.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
struct MediaPagination {
    limit: usize,
    offset: usize,
    has_more: bool,
    /// the next request's `cursor`
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

request! {
    /// What a list of files is limited to.
    pub struct Filter {
        /// only this chat
        chat: Option<Addressee> = query "chatId",
        /// only this message
        message: Option<String> = query "messageId",
    }
}

pub async fn list(
    req: Req,
    (only, filter, paging): (OnlyAccount, Filter, Paging<MediaCursor>),
) -> Result<Json<MediaList>, ApiError> {
    let filter = MediaFilter {
        account_id: Caller::of(&req).narrow(only.account.map(|id| id.0))?,
        chat: filter.chat.map(|addressee| addressee.recipient),
        message_id: filter.message,
    };
    let (page, part) = paging.of(req.state().config.envelope, USUAL, MOST);
    let found = req.state().accounts.media_list(&filter, part);
    let found = found.map_err(|error| named_in("chatId", error))?;
    Ok(Json(MediaList {
        pagination: MediaPagination {
            limit: page.limit,
            offset: page.offset,
            has_more: found.next.is_some(),
            next: found.next.map(|next| next.to_string()),
        },
        media: found.media,
    }))
}

/// The bytes of a file or a part of them, under their own media type.
pub struct FileBytes(Answer);

impl Reply for FileBytes {
    fn into_answer(self) -> Result<Answer, ApiError> {
        Ok(self.0)
    }

    #[cfg(test)]
    fn describe(operation: &mut super::describe::Operation) {
        let bytes = || schemars::json_schema!({"type": "string", "format": "binary"});
        for status in [200, 206] {
            let content = [("application/octet-stream", bytes()), ("*/*", bytes())];
            operation.content(status, "The bytes, under their own media type", content);
        }
        operation.content(304, "Not changed", []);
    }
}

request! {
    /// The medium of a message that has several.
    pub struct OfMedium {
        /// the medium, as `mediaUrl` names it
        media: Option<String> = query "mediaId",
    }
}

pub async fn of_message(
    req: Req,
    (of, medium): (OfMessage, OfMedium),
) -> Result<FileBytes, ApiError> {
    let id = of.id.0;
    let accounts = &req.state().accounts;
    let chat = of.chat.map(|chat| known(chat, accounts, &id)).transpose()?;
    let file = accounts
        .media(&id, &of.message.0, chat.as_ref(), medium.media.as_deref())
        .await?;
    serve(&req, file).await.map(FileBytes)
}

request! {
    /// The file that the path names.
    pub struct OfFile {
        /// as `mediaId` of a message
        media: Segment = path "mediaId",
    }
}

pub async fn by_id(req: Req, of: OfFile) -> Result<FileBytes, ApiError> {
    let caller = Caller::of(&req);
    let found = req
        .state()
        .accounts
        .media_by_id(&of.media.0, |account| caller.may_see(account))
        .await;
    match found {
        Ok(file) => serve(&req, file).await.map(FileBytes),
        Err(AccountError::NoMedia) => Err(ApiError::NotFound("Media not found")),
        Err(error) => Err(error.into()),
    }
}

/// The file, or the part of it that is asked for.
async fn serve(req: &Req, file: MediaFile) -> Result<Answer, ApiError> {
    let etag = etag(&file.sha256);
    let header = |name: &str| req.header(name).map(|values| values.last().as_str());
    let asked = Asked {
        range: header("Range"),
        if_range: header("If-Range"),
        if_none_match: header("If-None-Match"),
    };
    let part = range::part(asked, file.size, &etag);
    let (status, start, length) = match part {
        Part::Whole => (StatusCode::Ok, 0, file.size),
        Part::Range { start, length } => (StatusCode::PartialContent, start, length),
        Part::Unsatisfiable => (StatusCode::RequestedRangeNotSatisfiable, 0, 0),
        Part::NotModified => (StatusCode::NotModified, 0, 0),
    };
    let mut response = Response::new(status);
    match part {
        Part::Unsatisfiable => {
            let words = "The file has no such range";
            return Ok(Answer::response(
                ApiError::Range {
                    words,
                    size: file.size,
                }
                .into_response(),
            ));
        }
        Part::NotModified => {}
        Part::Whole | Part::Range { .. } => {
            let path = file.path.clone();
            let opened = smol::unblock(move || {
                let mut file = std::fs::File::open(path)?;
                file.seek(SeekFrom::Start(start))?;
                Ok(file)
            })
            .await
            .map_err(ApiError::Unreadable)?;
            let length = usize::try_from(length)
                .map_err(|_| ApiError::Internal("a file beyond this machine".to_owned()))?;
            let reader = futures_lite::AsyncReadExt::take(
                smol::Unblock::with_capacity(AHEAD, opened),
                length as u64,
            );
            let reader = futures_lite::io::BufReader::with_capacity(8 * 1024, reader);
            response.set_body(Body::from_reader(reader, Some(length)));
        }
    }
    if let Part::Range { start, length } = part {
        let range = format!("bytes {start}-{}/{}", start + length - 1, file.size);
        response.insert_header("Content-Range", range);
    }
    response.insert_header("Content-Type", kind::content_type(&file.mimetype));
    response.insert_header("Content-Disposition", disposition(&file));
    response.insert_header("ETag", etag);
    response.insert_header("Accept-Ranges", "bytes");
    // What somebody sent must not act as this server's own page in a browser.
    response.insert_header("X-Content-Type-Options", "nosniff");
    response.insert_header("Content-Security-Policy", "sandbox; default-src 'none'");
    response.insert_header("Cache-Control", "private, no-cache");
    Ok(Answer::response(response))
}

fn etag(sha256: &[u8; 32]) -> String {
    use std::fmt::Write as _;
    let mut tag = String::with_capacity(66);
    tag.push('"');
    for byte in sha256 {
        // Writing to a string cannot fail.
        let _ = write!(tag, "{byte:02x}");
    }
    tag.push('"');
    tag
}

/// What may stand in an extended parameter as it is (RFC 8187).
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Whether a browser may show it, and the name under which it would save it, whatever characters that has (RFC
/// 6266).
fn disposition(file: &MediaFile) -> String {
    let name = match &file.file_name {
        Some(name) => name.clone(),
        None => {
            let id: String = file.sha256[..4]
                .iter()
                .map(|b| format!("{b:02x}"))
                .collect();
            format!("{id}{}", ending(&file.mimetype))
        }
    };
    let ascii: String = name
        .chars()
        .map(|c| match c {
            '"' | '\\' | '/' | '%' => '_',
            ' '..='~' => c,
            _ => '_',
        })
        .collect();
    let way = match kind::is_shown(kind::content_type(&file.mimetype)) {
        true => "inline",
        false => "attachment",
    };
    let mut header = format!("{way}; filename=\"{ascii}\"");
    if ascii != name {
        header.push_str("; filename*=UTF-8''");
        header.extend(utf8_percent_encode(&name, PLAIN));
    }
    header
}

/// The usual ending of a file of that kind, with its dot; none of what is not known.
fn ending(mimetype: &str) -> String {
    extension_of(mimetype).map_or_else(String::new, |extension| format!(".{extension}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: Option<&str>) -> String {
        disposition(&MediaFile {
            path: "x".into(),
            size: 1,
            mimetype: "image/jpeg".into(),
            file_name: name.map(str::to_owned),
            sha256: [0xAB; 32],
        })
    }

    #[test]
    fn every_name_is_safe_in_its_header() {
        assert_eq!(named(Some("a.pdf")), "inline; filename=\"a.pdf\"");
        assert_eq!(named(None), "inline; filename=\"abababab.jpg\"");
        assert_eq!(
            named(Some("Grüße \"1\".pdf")),
            "inline; filename=\"Gr__e _1_.pdf\"; filename*=UTF-8''Gr%C3%BC%C3%9Fe%20%221%22.pdf"
        );
        for evil in [
            "a\r\nSet-Cookie: x=y",
            "\0",
            "a\\\"; x=\"",
            "../../etc/passwd",
            "\u{202e}gpj.exe",
        ] {
            let header = named(Some(evil));
            assert!(
                header.bytes().all(|b| (b' '..=b'~').contains(&b)),
                "{header}"
            );
            assert_eq!(header.matches('"').count(), 2, "{header}");
            assert!(!header.contains('/'), "{header}");
        }
    }
}
