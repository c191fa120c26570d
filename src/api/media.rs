//! The files of messages, as they are asked for.

mod kind;

use std::io::{Seek as _, SeekFrom};

use http_types::{Body, Response, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;

use super::Req;
use super::answer::Answer;
use super::auth::Caller;
use super::error::ApiError;
use super::input::{Named, chat_query, named_in, param, query};
use super::page::Page;
use super::range::{self, Asked, Part};
use crate::account::{AccountError, MediaCursor, MediaFile, MediaFilter, MediaView};
use crate::media::extension_of;

/// How many files `GET /media` lists, without a limit and at most.
const USUAL: usize = 50;
const MOST: usize = 500;
/// How much of a file is in memory while it goes out, in bytes.
const AHEAD: usize = 64 * 1024;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct MediaList {
    media: Vec<MediaView>,
    pagination: MediaPagination,
}

/// Where the list stands; how many files there are in all is not counted.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct MediaPagination {
    limit: usize,
    offset: usize,
    has_more: bool,
    /// The next request's `cursor`, if there is more.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

pub async fn list(req: Req) -> Result<Answer, ApiError> {
    let page = Page::of(&req, USUAL, MOST)?;
    let filter = MediaFilter {
        account_id: Caller::of(&req).narrow(query(&req, "accountId"))?,
        chat: chat_query(&req, "chatId")?.map(Named::everywhere),
        message_id: query(&req, "messageId"),
    };
    let part = page.part(&req, MediaCursor::parse)?;
    let found = req.state().accounts.media_list(&filter, part);
    let found = found.map_err(|error| named_in("chatId", error))?;
    Answer::ok(&MediaList {
        pagination: MediaPagination {
            limit: page.limit,
            offset: page.offset,
            has_more: found.next.is_some(),
            next: found.next.map(|next| next.to_string()),
        },
        media: found.media,
    })
}

pub async fn of_message(req: Req) -> Result<Answer, ApiError> {
    let (id, message_id) = (param(&req, "id"), param(&req, "messageId"));
    let (chat, media_id) = (chat_query(&req, "chatId")?, query(&req, "mediaId"));
    let accounts = &req.state().accounts;
    let chat = chat.map(|named| named.known(accounts, &id)).transpose()?;
    let file = accounts
        .media(&id, &message_id, chat.as_ref(), media_id.as_deref())
        .await?;
    serve(&req, file).await
}

pub async fn by_id(req: Req) -> Result<Answer, ApiError> {
    let media_id = param(&req, "mediaId");
    let caller = Caller::of(&req);
    let found = req
        .state()
        .accounts
        .media_by_id(&media_id, |account| caller.may_see(account))
        .await;
    match found {
        Ok(file) => serve(&req, file).await,
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
