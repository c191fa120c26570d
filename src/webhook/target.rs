//! A hook's URL and headers: checks at registration, and the URL without credentials. Pure.

use std::collections::BTreeMap;

use surf::Url;

use crate::net::http::is_token;

/// The longest URL, in bytes.
const MAX_URL: usize = 2048;

/// The most headers of a hook, and the longest value in bytes.
const MAX_HEADERS: usize = 20;
const MAX_HEADER: usize = 4096;

/// Headers that deliveries set, or that would break the framing.
const RESERVED: &[&str] = &[
    "connection",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// A query parameter with one of these in its name is shown without its value.
const SECRET_WORDS: &[&str] = &["token", "key", "secret", "pass", "auth", "sig", "code"];

const HIDDEN: &str = "***";

/// Checks a hook's URL.
///
/// # Errors
/// The error in the contract's words.
pub fn check_url(url: &str) -> Result<Url, &'static str> {
    if url.len() > MAX_URL {
        return Err("invalid URL");
    }
    let url = Url::parse(url).map_err(|_| "invalid URL")?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("only http/https URLs are allowed");
    }
    if !url.has_host() {
        return Err("invalid URL");
    }
    Ok(url)
}

/// Whether a hook may have these headers: well-formed, and none that deliveries set.
pub fn headers_are_allowed(headers: &BTreeMap<String, String>) -> bool {
    headers.len() <= MAX_HEADERS
        && headers.iter().all(|(name, value)| {
            let name = name.to_ascii_lowercase();
            name.len() <= 128
                && is_token(name.as_bytes())
                && !RESERVED.contains(&name.as_str())
                && !name.starts_with("webhook-")
                && value.len() <= MAX_HEADER
                && value.bytes().all(|b| matches!(b, b'\t' | 0x20..=0x7e))
        })
}

/// The URL without user, password and the values of query parameters that look like credentials.
pub fn redacted(url: &str) -> String {
    let Ok(mut url) = Url::parse(url) else {
        // Unreachable: checked at registration.
        return HIDDEN.to_owned();
    };
    // Fails only for URLs without a host, which have no credentials.
    if url.password().is_some() {
        let _ = url.set_password(Some(HIDDEN));
    }
    if !url.username().is_empty() {
        let _ = url.set_username(HIDDEN);
    }
    let Some(query) = url.query() else {
        return url.into();
    };
    let shown: Vec<String> = query
        .split('&')
        .map(|pair| match pair.split_once('=') {
            Some((name, _)) if is_secret(name) => format!("{name}={HIDDEN}"),
            _ => pair.to_owned(),
        })
        .collect();
    url.set_query(Some(&shown.join("&")));
    url.into()
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_WORDS.iter().any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_urls_are_refused_in_the_contracts_words() {
        assert!(check_url("https://user:pw@example.org/hook?x=1").is_ok());
        assert!(check_url("http://192.168.1.7:1880/hook").is_ok());
        for (url, words) in [
            ("", "invalid URL"),
            ("example.org/hook", "invalid URL"),
            ("http://", "invalid URL"),
            ("ftp://example.org/", "only http/https URLs are allowed"),
            ("file:///etc/passwd", "only http/https URLs are allowed"),
            ("localhost:80", "only http/https URLs are allowed"),
        ] {
            assert_eq!(check_url(url), Err(words), "{url}");
        }
    }

    #[test]
    fn credentials_are_not_shown() {
        for (url, shown) in [
            ("http://a/b?c=d", "http://a/b?c=d"),
            ("http://me:pw@a/", "http://***:***@a/"),
            ("http://me@a/", "http://***@a/"),
            (
                "https://a/b?access_token=s3&x=1&API-KEY=k",
                "https://a/b?access_token=***&x=1&API-KEY=***",
            ),
        ] {
            assert_eq!(redacted(url), shown);
        }
    }

    #[test]
    fn headers_cannot_break_a_request() {
        let one = |name: &str, value: &str| {
            headers_are_allowed(&BTreeMap::from([(name.to_owned(), value.to_owned())]))
        };
        assert!(one("Authorization", "Bearer abc"));
        assert!(!one("X-A", "b\r\nX-C: d"));
        assert!(!one("X A", "b"));
        assert!(!one("", "b"));
        assert!(!one("Content-Length", "5"));
        assert!(!one("Webhook-Id", "5"));
        assert!(!one("X-A", "ü"));
    }
}
