//! Parses the head of an HTTP/1 answer: status, headers, and the framing of the body.
//!
//! A reason phrase or a header's value may hold any byte (UTF-8 and Latin-1 occur), lines may be folded,
//! headers repeated. Only an ambiguous end of the body is an error.

use futures_lite::io::{AsyncRead, AsyncReadExt};
use http_types::headers::{HeaderName, HeaderValue};
use http_types::{Method, Response, StatusCode};

use super::HttpError;

/// The longest head, in bytes: some sites send dozens of cookies and policies.
const MAX_HEAD: usize = 64 << 10;

/// Bytes asked for at once.
const CHUNK: usize = 2 << 10;

/// Interim answers (`100 Continue`, `103 Early Hints`) that are skipped before the real one.
const MAX_INTERIM: usize = 8;

/// How a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// After that many bytes; 0 without a body.
    Length(u64),
    Chunked,
    /// When the peer closes the connection.
    UntilClose,
}

/// The status and headers of an answer, unchanged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawHead {
    /// 100 to 599.
    pub status: u16,
    /// In the order received; names in lower case, values trimmed.
    pub headers: Vec<(String, Vec<u8>)>,
}

impl RawHead {
    /// The value of the last header called `name` (lower case).
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        let found = self.headers.iter().rfind(|(known, _)| known == name);
        found.map(|(_, value)| value.as_slice())
    }

    /// A response without a body. [`http_types`] panics over some headers: these are left out. All are
    /// in the response's extensions, as [`RawHead`].
    pub(super) fn into_response(self) -> Response {
        let mut response = Response::new(class_of(self.status));
        for (name, value) in &self.headers {
            // `content_type()` panics over a malformed one.
            if name == "content-type" && !is_plain_type(value) {
                continue;
            }
            let name = HeaderName::from_bytes(name.clone().into_bytes());
            let value = HeaderValue::from_bytes(value.clone());
            if let (Ok(name), Ok(value)) = (name, value) {
                response.append_header(name, value);
            }
        }
        response.ext_mut().insert(self);
        response
    }
}

/// The status for http-types: an unknown one is treated as the first of its class (RFC 9110, 15).
fn class_of(status: u16) -> StatusCode {
    StatusCode::try_from(status).unwrap_or(match status {
        ..200 => StatusCode::Continue,
        200..300 => StatusCode::Ok,
        300..400 => StatusCode::MultipleChoice,
        400..500 => StatusCode::BadRequest,
        _ => StatusCode::InternalServerError,
    })
}

/// Whether `value` is `type/subtype`, with parameters that are tokens.
fn is_plain_type(value: &[u8]) -> bool {
    let parameters = value.split(|&byte| byte == b';').skip(1);
    essence(value).is_some()
        && parameters.into_iter().all(|part| {
            let part = part.trim_ascii();
            let at = part.iter().position(|&byte| byte == b'=');
            at.is_some_and(|at| is_token(&part[..at]) && is_token(&part[at + 1..]))
        })
}

/// The `type/subtype` that a content type begins with.
fn essence(value: &[u8]) -> Option<&str> {
    let essence = value.split(|&byte| byte == b';').next()?.trim_ascii();
    let at = essence.iter().position(|&byte| byte == b'/')?;
    let is_good = is_token(&essence[..at]) && is_token(&essence[at + 1..]);
    std::str::from_utf8(essence).ok().filter(|_| is_good)
}

/// Whether `name` is a token (RFC 9110, 5.6.2), as headers' names are.
pub fn is_token(name: &[u8]) -> bool {
    let is_allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !name.is_empty() && name.iter().all(is_allowed)
}

/// An answer's head.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) raw: RawHead,
    /// Bytes received behind the head.
    pub(super) rest: Vec<u8>,
    pub(super) framing: Framing,
    /// Whether the connection can serve again after the body.
    pub(super) keep_alive: bool,
}

/// Reads the head of the answer to a request with `method`.
pub(super) async fn read(
    stream: &mut (impl AsyncRead + Unpin),
    method: Method,
) -> Result<Head, HttpError> {
    let mut buffer = Vec::new();
    for _ in 0..=MAX_INTERIM {
        let end = fill(stream, &mut buffer).await?;
        let rest = buffer.split_off(end);
        let bytes = std::mem::replace(&mut buffer, rest);
        if let Some((raw, framing, keep_alive)) = parse(&bytes, method)? {
            return Ok(Head {
                raw,
                rest: buffer,
                framing,
                keep_alive,
            });
        }
    }
    Err(HttpError::BadAnswer("interim answers only".to_owned()))
}

/// Reads until `buffer` holds a whole head; returns the head's length.
async fn fill(
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut Vec<u8>,
) -> Result<usize, HttpError> {
    let mut searched = 0;
    loop {
        if let Some(end) = end_of_head(buffer, searched) {
            return Ok(end);
        }
        if buffer.len() >= MAX_HEAD {
            return Err(HttpError::BadAnswer(format!(
                "its head is longer than {} KiB",
                MAX_HEAD >> 10
            )));
        }
        searched = buffer.len().saturating_sub(2);
        let filled = buffer.len();
        buffer.resize(filled + CHUNK.min(MAX_HEAD - filled), 0);
        let count = stream.read(&mut buffer[filled..]).await?;
        buffer.truncate(filled + count);
        if count == 0 {
            return Err(match filled {
                0 => HttpError::Closed,
                _ => HttpError::BadAnswer("it ends within its head".to_owned()),
            });
        }
    }
}

/// Where the first empty line ends. Each line may end with or without a carriage return.
fn end_of_head(buffer: &[u8], from: usize) -> Option<usize> {
    (from..buffer.len()).find_map(|at| {
        let here = &buffer[at..];
        if here.starts_with(b"\n\n") {
            Some(at + 2)
        } else if here.starts_with(b"\n\r\n") {
            Some(at + 3)
        } else {
            None
        }
    })
}

/// The head, the body's framing, and whether the connection stays open; `None` for an interim answer.
fn parse(head: &[u8], method: Method) -> Result<Option<(RawHead, Framing, bool)>, HttpError> {
    let mut lines = head
        .split(|&byte| byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let (minor, status) = status_line(lines.next().unwrap_or_default())?;
    if (100..200).contains(&status) && status != 101 {
        return Ok(None);
    }
    let mut headers: Vec<(String, Vec<u8>)> = Vec::new();
    // The last line was a header: a line that begins with a space continues it.
    let mut is_open = false;
    for line in lines {
        if matches!(line.first(), Some(b' ' | b'\t')) {
            if let Some((_, value)) = headers.last_mut().filter(|_| is_open) {
                value.push(b' ');
                value.extend(plain(line));
            }
            continue;
        }
        let colon = line.iter().position(|&byte| byte == b':');
        let name = colon.map(|at| line[..at].trim_ascii());
        // Lines that are no headers are skipped, as browsers do.
        is_open = name.is_some_and(is_token);
        if let (Some(at), Some(name), true) = (colon, name, is_open) {
            // `is_token`: ASCII.
            let name = String::from_utf8_lossy(name).to_ascii_lowercase();
            headers.push((name, plain(&line[at + 1..]).collect()));
        }
    }
    let (framing, keep_alive) = framing(&headers, minor, status, method)?;
    Ok(Some((RawHead { status, headers }, framing, keep_alive)))
}

/// HTTP's minor version and the status. The reason phrase is ignored.
fn status_line(line: &[u8]) -> Result<(u8, u16), HttpError> {
    let parts = line
        .strip_prefix(b"HTTP/1.")
        .and_then(|rest| rest.split_first());
    let bad = || HttpError::BadAnswer("it has no status line".to_owned());
    let (minor, rest) = parts
        .filter(|(minor, rest)| minor.is_ascii_digit() && rest.first() == Some(&b' '))
        .ok_or_else(bad)?;
    let rest = rest.trim_ascii_start();
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let is_alone = matches!(rest.get(digits), None | Some(b' ' | b'\t'));
    let number: Option<u16> = std::str::from_utf8(&rest[..digits])
        .ok()
        .and_then(|digits| digits.parse().ok());
    match number {
        Some(status) if digits == 3 && is_alone && (100..600).contains(&status) => {
            Ok((minor - b'0', status))
        }
        Some(status) if is_alone => Err(HttpError::UnusualStatus(status.into())),
        _ => Err(bad()),
    }
}

/// A header's value, trimmed; NUL and CR, which could end a line elsewhere, become spaces.
fn plain(value: &[u8]) -> impl Iterator<Item = u8> {
    let is_end = |byte: u8| matches!(byte, b'\0' | b'\r');
    let value = value.trim_ascii().iter();
    value.map(move |&byte| if is_end(byte) { b' ' } else { byte })
}

fn framing(
    headers: &[(String, Vec<u8>)],
    minor: u8,
    status: u16,
    method: Method,
) -> Result<(Framing, bool), HttpError> {
    let bad = |what: &str| HttpError::BadAnswer(what.to_owned());
    let mut length = None;
    let mut codings: Vec<Vec<u8>> = Vec::new();
    let mut keep_alive = minor >= 1;
    for (name, value) in headers {
        let tokens = value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
        match name.as_str() {
            // Proxies join repeated headers to a list.
            "content-length" => {
                for token in tokens {
                    let value = number(token).ok_or_else(|| bad("its length is no number"))?;
                    if length.replace(value).is_some_and(|other| other != value) {
                        return Err(bad("it has two lengths"));
                    }
                }
            }
            "transfer-encoding" => codings.extend(
                tokens
                    .map(<[u8]>::to_ascii_lowercase)
                    .filter(|coding| !coding.is_empty() && coding != b"identity"),
            ),
            "connection" => {
                for token in tokens {
                    keep_alive &= !token.eq_ignore_ascii_case(b"close");
                }
            }
            _ => {}
        }
    }
    let chunked = match &codings[..] {
        [] => false,
        [one] if one == b"chunked" => true,
        _ => return Err(bad("it has an unknown transfer encoding")),
    };
    // With both framings, what follows the body could be a smuggled answer: close.
    keep_alive &= !(chunked && length.is_some()) && status != 101;
    let framing = if method == Method::Head || status == 204 || status == 304 {
        Framing::Length(0)
    } else if chunked {
        Framing::Chunked
    } else {
        length.map_or(Framing::UntilClose, Framing::Length)
    };
    Ok((framing, keep_alive && framing != Framing::UntilClose))
}

/// A number of digits only: `parse` alone allows a sign.
fn number(text: &[u8]) -> Option<u64> {
    let is_digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text)
        .ok()?
        .parse()
        .ok()
        .filter(|_| is_digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framing(head: &str) -> (u16, Framing, bool) {
        let (raw, framing, keep_alive) = parse(head.as_bytes(), Method::Get).unwrap().unwrap();
        (raw.status, framing, keep_alive)
    }

    #[test]
    fn bodies_end_in_three_ways() {
        assert_eq!(
            framing("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n"),
            (200, Framing::Length(7), true)
        );
        assert_eq!(
            framing("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"),
            (200, Framing::Chunked, true)
        );
        assert_eq!(
            framing("HTTP/1.0 200 OK\r\n\r\n"),
            (200, Framing::UntilClose, false)
        );
        assert_eq!(
            framing("HTTP/1.1 204 \n\n"),
            (204, Framing::Length(0), true)
        );
        assert_eq!(
            framing("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\n"),
            (200, Framing::Length(1), false)
        );
    }

    #[test]
    fn malformed_heads_are_refused() {
        for head in [
            "SSH-2.0-x\r\n\r\n",
            "HTTP/2 200\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
            "HTTP/1.1 99 Less\r\n\r\n",
            "HTTP/1.1 099 Less\r\n\r\n",
            "HTTP/1.1 600 More\r\n\r\n",
            "HTTP/1.1 1000 More\r\n\r\n",
            "HTTP/1.1 99999999 More\r\n\r\n",
            "HTTP/1.1 200OK\r\n\r\n",
            "HTTP/1.1200 OK\r\n\r\n",
            "\r\n\r\n",
        ] {
            assert!(parse(head.as_bytes(), Method::Get).is_err(), "{head}");
        }
    }

    #[test]
    fn interim_answers_are_skipped() {
        let text = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 201 Created\r\n\r\nbody";
        let head = smol::block_on(read(&mut &text[..], Method::Post)).unwrap();
        assert_eq!(head.raw.status, 201);
        assert_eq!(head.rest, b"body");
    }

    #[test]
    fn a_head_without_end_fails_at_the_limit() {
        let text = vec![b'a'; 3 * MAX_HEAD];
        let error = smol::block_on(read(&mut &text[..], Method::Get)).unwrap_err();
        assert!(error.to_string().contains("64 KiB"), "{error}");
    }

    #[test]
    fn any_byte_is_accepted_in_values_and_reasons() {
        let head = b"HTTP/1.1 200 \xff Tr\xc3\xa8s \x1b[2J\r\nX-Name: Caf\xc3\xa9\r\nX-Latin: Caf\xe9 \r\n\
            X-Folded: one\r\n\t two\r\nX-Spaced : 3\r\nno header\r\n of that\r\nX-Nul: a\0b\rc\r\n\
            Content-Type: caf\xc3\xa9\r\nX-Name: Th\xc3\xa9\r\nContent-Length: 2, 2\r\n\r\n";
        let (raw, framing, keep_alive) = parse(head, Method::Get).unwrap().unwrap();
        assert_eq!((framing, keep_alive), (Framing::Length(2), true));
        for (name, value) in [
            ("x-name", Some("Th\u{e9}".as_bytes())),
            ("x-latin", Some(b"Caf\xe9")),
            ("x-folded", Some(b"one two")),
            ("x-spaced", Some(b"3")),
            ("x-nul", Some(b"a b c")),
            ("no header", None),
        ] {
            assert_eq!(raw.header(name), value, "{name}");
        }
        let response = raw.into_response();
        assert!(
            response.header("x-name").is_none(),
            "http-types cannot hold it"
        );
        assert_eq!(response.header("x-folded").unwrap().as_str(), "one two");
        assert_eq!(response.content_type(), None);
        let raw = response.ext().get::<RawHead>().unwrap();
        assert_eq!(raw.header("content-type"), Some("caf\u{e9}".as_bytes()));
    }

    #[test]
    fn an_unknown_status_is_treated_as_its_class() {
        for (status, class) in [
            (101, 101),
            (200, 200),
            (218, 200),
            (399, 300),
            (499, 400),
            (599, 500),
        ] {
            let head = format!("HTTP/1.1 {status}\r\n\r\n");
            let (raw, ..) = parse(head.as_bytes(), Method::Get).unwrap().unwrap();
            assert_eq!(raw.status, status);
            assert_eq!(u16::from(raw.into_response().status()), class);
        }
    }

    #[test]
    fn types_that_http_types_cannot_read_are_left_out() {
        for (value, is_plain) in [
            ("text/html", true),
            ("text/html; charset=utf-8", true),
            ("text/html;charset=\"utf-8\"", false),
            ("text", false),
            ("/", false),
            ("", false),
            (";", false),
            ("text/html;", false),
        ] {
            assert_eq!(is_plain_type(value.as_bytes()), is_plain, "{value}");
        }
    }

    #[test]
    fn lines_end_in_any_way() {
        for head in [
            "HTTP/1.1 200 OK\na: b\n\r\nx",
            "HTTP/1.1 200 OK\r\na: b\r\n\nx",
        ] {
            let head = smol::block_on(read(&mut head.as_bytes(), Method::Get)).unwrap();
            assert_eq!(
                (head.raw.header("a"), &head.rest[..]),
                (Some(&b"b"[..]), &b"x"[..])
            );
        }
    }
}
