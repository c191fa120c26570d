//! What the headers of a request may say. Pure.
//!
//! HTTP lets bytes beyond ASCII pass in a header's value, and leaves open what they mean. Where this server
//! reads a value that is ASCII by its definition, one with other bytes is refused by the header's name:
//! guessing would make two different values one. In all other headers the bytes are kept.

use std::borrow::Cow;

use percent_encoding::{CONTROLS, percent_encode};

/// Headers that are read here, with values in ASCII.
const ASCII: &[&str] = &[
    "Authorization",
    "Connection",
    "Content-Length",
    "Content-Type",
    "Expect",
    "Host",
    "Idempotency-Key",
    "Last-Event-ID",
    "Origin",
    "Range",
    "Sec-Fetch-Dest",
    "Sec-Fetch-Mode",
    "Sec-Fetch-Site",
    "Transfer-Encoding",
    "X-Api-Key",
];

/// Those of which one value counts: a second one that differs makes it open which.
const SINGLE: &[&str] = &[
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "Last-Event-ID",
    "Origin",
    "Range",
    "Sec-Fetch-Dest",
    "Sec-Fetch-Mode",
    "Sec-Fetch-Site",
    "X-Api-Key",
];

const IN_ASCII: &str = "a header in ASCII";
const ONE_VALUE: &str = "one header, or the same each time";

/// Checks the values of the headers that are read here.
///
/// # Errors
/// The name of the first header that cannot be understood, and what it must be.
pub fn check(headers: &[httparse::Header<'_>]) -> Result<(), (&'static str, &'static str)> {
    let named = |names: &[&'static str], header: &httparse::Header<'_>| {
        let is = |name: &&&'static str| name.eq_ignore_ascii_case(header.name);
        names.iter().find(is).copied()
    };
    for (n, header) in headers.iter().enumerate() {
        if let Some(name) = named(ASCII, header)
            && !header.value.is_ascii()
        {
            return Err((name, IN_ASCII));
        }
        if let Some(name) = named(SINGLE, header) {
            let differs = |other: &httparse::Header<'_>| {
                other.name.eq_ignore_ascii_case(name) && other.value != header.value
            };
            if headers[..n].iter().any(differs) {
                return Err((name, ONE_VALUE));
            }
        }
    }
    Ok(())
}

/// A value as text: as it is, or with its bytes percent-encoded if some are not ASCII, so that values which
/// differ still do.
pub fn text(value: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(value) {
        Ok(text) if text.is_ascii() => Cow::Borrowed(text),
        _ => Cow::Owned(percent_encode(value, CONTROLS).to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header<'a>(name: &'a str, value: &'a [u8]) -> httparse::Header<'a> {
        httparse::Header { name, value }
    }

    #[test]
    fn what_is_read_as_ascii_is_ascii() {
        for name in ASCII {
            let lower = name.to_ascii_lowercase();
            assert_eq!(check(&[header(&lower, b"a b\t~")]), Ok(()));
            for value in [&b"caf\xc3\xa9"[..], b"caf\xe9", b"\xff", b"\x80"] {
                assert_eq!(check(&[header(&lower, value)]), Err((*name, IN_ASCII)));
            }
        }
        for name in ["User-Agent", "X-Forwarded-For", "If-None-Match", "Accept"] {
            assert_eq!(check(&[header(name, b"caf\xe9")]), Ok(()), "{name}");
        }
    }

    #[test]
    fn two_values_where_one_counts_are_refused() {
        for name in SINGLE {
            let lower = name.to_ascii_lowercase();
            let twice = [header(name, b"a"), header("A", b"b"), header(&lower, b"a")];
            assert_eq!(check(&twice), Ok(()), "{name}");
            let two = [header(name, b"a"), header("A", b"b"), header(&lower, b"b")];
            assert_eq!(check(&two), Err((*name, ONE_VALUE)));
        }
        let lists = [header("Accept", b"a"), header("Accept", b"b")];
        assert_eq!(check(&lists), Ok(()));
    }

    #[test]
    fn values_that_differ_differ_as_text() {
        let mut random = fastrand::Rng::with_seed(7);
        let mut seen = std::collections::HashMap::new();
        for _ in 0..20_000 {
            let length = random.usize(0..4);
            // No percent sign: one that is there means itself.
            let byte = |random: &mut fastrand::Rng| match random.u8(0x20..=0xff) {
                0x7f | b'%' => b'x',
                byte => byte,
            };
            let value: Vec<u8> = (0..length).map(|_| byte(&mut random)).collect();
            let text = text(&value).into_owned();
            assert!(text.bytes().all(|byte| (0x20..0x7f).contains(&byte)));
            let before = seen.insert(text.clone(), value.clone());
            assert!(before.is_none_or(|before| before == value), "{text}");
        }
    }
}
