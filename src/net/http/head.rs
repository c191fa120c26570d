//! The head of an answer: where it ends, and how its body ends.

use futures_lite::io::{AsyncRead, AsyncReadExt};
use http_types::{Method, StatusCode};

use super::HttpError;

/// Bytes of a head; async-h1 takes no more.
const MAX_HEAD: usize = 8 << 10;

/// Bytes asked for at once.
const CHUNK: usize = 2 << 10;

/// Interim answers (`100 Continue`, `103 Early Hints`) that are skipped before the real one.
const MAX_INTERIM: usize = 8;

/// How a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// After so many bytes; 0 where there is no body.
    Length(u64),
    Chunked,
    /// With the connection.
    UntilClose,
}

/// An answer's head.
#[derive(Debug)]
pub(super) struct Head {
    /// Up to the empty line, as HTTP/1.1 whatever the peer called it.
    pub(super) bytes: Vec<u8>,
    /// What came behind it.
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
        let mut bytes = std::mem::replace(&mut buffer, rest);
        let Some((status, framing, keep_alive)) = parse(&bytes, method)? else {
            continue;
        };
        if StatusCode::try_from(status).is_err() {
            return Err(HttpError::UnusualStatus(status));
        }
        // `parse` has seen "HTTP/1." and one digit.
        bytes[7] = b'1';
        return Ok(Head {
            bytes,
            rest: buffer,
            framing,
            keep_alive,
        });
    }
    Err(HttpError::BadAnswer("interim answers only".to_owned()))
}

/// Reads until `buffer` holds a whole head; tells its length.
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
            return Err(HttpError::BadAnswer(
                "its head is longer than 8 KiB".to_owned(),
            ));
        }
        searched = buffer.len().saturating_sub(3);
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

/// Where the first empty line ends.
fn end_of_head(buffer: &[u8], from: usize) -> Option<usize> {
    (from..buffer.len()).find_map(|at| {
        let here = &buffer[at..];
        if here.starts_with(b"\r\n\r\n") {
            Some(at + 4)
        } else if here.starts_with(b"\n\n") {
            Some(at + 2)
        } else {
            None
        }
    })
}

/// Reads the parts that matter here: status, framing, and whether the connection stays. `None` for
/// an interim answer. The rest is async-h1's to read and to refuse.
fn parse(head: &[u8], method: Method) -> Result<Option<(u16, Framing, bool)>, HttpError> {
    let bad = |what: &str| HttpError::BadAnswer(what.to_owned());
    let head = std::str::from_utf8(head).map_err(|_| bad("its head is not text"))?;
    let mut lines = head.lines();
    let status_line = lines.next().unwrap_or_default();
    let (minor, status) = status_line
        .strip_prefix("HTTP/1.")
        .and_then(|rest| {
            let mut parts = rest.splitn(3, ' ');
            let minor = parts
                .next()
                .filter(|minor| *minor == "0" || *minor == "1")?;
            Some((minor, parts.next()?.parse::<u16>().ok()?))
        })
        .ok_or_else(|| bad("it has no status line"))?;
    if (100..200).contains(&status) && status != 101 {
        return Ok(None);
    }
    let mut length = None;
    let mut chunked = false;
    let mut encoded = false;
    let mut keep_alive = minor == "1";
    for line in lines {
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            let value: u64 = value.parse().map_err(|_| bad("its length is no number"))?;
            if length.replace(value).is_some_and(|other| other != value) {
                return Err(bad("it has two lengths"));
            }
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            encoded = true;
            chunked = value.eq_ignore_ascii_case("chunked");
        } else if name.eq_ignore_ascii_case("connection") {
            for token in value.split(',').map(str::trim) {
                if token.eq_ignore_ascii_case("close") {
                    keep_alive = false;
                }
            }
        }
    }
    if encoded && !chunked {
        return Err(bad("it has an unknown transfer encoding"));
    }
    let framing = if method == Method::Head || status == 204 || status == 304 {
        Framing::Length(0)
    } else if chunked {
        Framing::Chunked
    } else {
        length.map_or(Framing::UntilClose, Framing::Length)
    };
    let keep_alive = keep_alive && framing != Framing::UntilClose && status != 101;
    Ok(Some((status, framing, keep_alive)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framing(head: &str) -> (u16, Framing, bool) {
        parse(head.as_bytes(), Method::Get).unwrap().unwrap()
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
    fn nonsense_is_refused() {
        for head in [
            "SSH-2.0-x\r\n\r\n",
            "HTTP/2 200\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        ] {
            assert!(parse(head.as_bytes(), Method::Get).is_err(), "{head}");
        }
    }

    #[test]
    fn interim_answers_are_skipped() {
        let text = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 201 Created\r\n\r\nbody";
        let head = smol::block_on(read(&mut &text[..], Method::Post)).unwrap();
        assert!(head.bytes.starts_with(b"HTTP/1.1 201"));
        assert_eq!(head.rest, b"body");
    }

    #[test]
    fn a_head_without_end_is_cut_off() {
        let text = vec![b'a'; 3 * MAX_HEAD];
        let error = smol::block_on(read(&mut &text[..], Method::Get)).unwrap_err();
        assert!(error.to_string().contains("8 KiB"), "{error}");
    }
}
