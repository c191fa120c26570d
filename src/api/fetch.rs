//! Files at a URL: fetched from a web server, which may be any program.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_lite::AsyncReadExt as _;
use http_types::headers::{HeaderName, HeaderValue};
use http_types::{Method, Url};
use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::error::ApiError;
use super::file::{Received, Room, Writing, too_large};
use super::file_name;
use crate::fields::{Field, FieldError, NonEmpty, StringMap};
use crate::net::http::{self, HttpError};
use crate::net::inflate::{Coding, Inflater};

/// The piece in which an answer is read, in bytes.
const PIECE: usize = 32 * 1024;
/// Redirects that are followed.
const MAX_REDIRECTS: usize = 5;
/// The most headers that a caller may add, and bytes of all of them.
const MAX_HEADERS: usize = 32;
const MAX_HEADERS_BYTES: usize = 8 * 1024;

/// How long a file may take to be fetched.
pub const FETCH: Duration = Duration::from_secs(5 * 60);

/// Headers that are of the connection, or that this server sets itself.
const OWN_HEADERS: &[&str] = &[
    "accept-encoding",
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "range",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What is fetched, and how it is asked for.
pub struct Wanted {
    url: Url,
    /// For the host of `url` alone.
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Wanted {
    /// A file at `address`, with the caller's headers. User and password in the URL become Basic
    /// authentication, unless the headers have an `Authorization` of their own.
    ///
    /// # Errors
    /// 400 that names `url`.
    pub fn of(address: &NonEmpty, headers: Headers) -> Result<Wanted, ApiError> {
        let Headers(mut headers) = headers;
        let address = &address.0;
        let mut url = web_url(address.trim())?;
        let has_own = headers.iter().any(|(name, _)| name == "authorization");
        let basic = take_credentials(&mut url);
        if let (Some(basic), false) = (basic, has_own) {
            headers.push(("Authorization".into(), basic));
        }
        Ok(Wanted { url, headers })
    }

    /// Fetches the file, following redirects.
    ///
    /// # Errors
    /// 400 in words, for a server that cannot be reached, says no, or says it in a way that is not known
    /// here; 413 for a file over the limit.
    pub async fn fetch(self, client: &surf::Client, room: &Room) -> Result<Received, ApiError> {
        let Wanted {
            mut url,
            mut headers,
        } = self;
        let first = url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let mut request = surf::Request::new(Method::Get, url.clone());
            for (name, value) in &headers {
                request.insert_header(name.clone(), value.clone());
            }
            let mut response = client.send(request).await.map_err(|error| {
                match error.downcast_ref::<HttpError>() {
                    Some(HttpError::TooLarge { .. }) => too_large(room.max_file),
                    _ => failed(error.to_string()),
                }
            })?;
            let status = response.status();
            if status.is_redirection()
                && let Some(location) = header(&response, "location")
            {
                let next = url
                    .join(&file_name::text(&location))
                    .map_err(|e| failed(format!("a redirect that leads nowhere: {e}")))?;
                let mut next = web_url(next.as_str())?;
                // A server that redirects has no password of ours to name.
                take_credentials(&mut next);
                if !is_same_server(&url, &next) {
                    headers.clear();
                }
                url = next;
                continue;
            }
            if !status.is_success() {
                let has_password = headers.iter().any(|(name, _)| name == "authorization");
                return Err(failed(refusal(&response, has_password)));
            }
            let disposition = header(&response, "content-disposition");
            let name = disposition
                .and_then(|value| file_name::of_answer(&value))
                .or_else(|| file_name::of_url(&url))
                .or_else(|| file_name::of_url(&first));
            let mimetype = content_type(&response);
            if mimetype.as_deref().is_some_and(is_endless) {
                return Err(failed(
                    "it is a stream without an end; cameras have another address for single pictures"
                        .to_owned(),
                ));
            }
            let file = read(&mut response, mimetype.as_deref(), room).await?;
            return Ok(Received {
                file,
                name,
                mimetype,
            });
        }
        Err(failed("too many redirects".to_owned()))
    }
}

/// The body of an answer, unpacked.
async fn read(
    response: &mut surf::Response,
    mimetype: Option<&str>,
    room: &Room,
) -> Result<crate::media::Spooled, ApiError> {
    let coding = header(response, "content-encoding").unwrap_or_default();
    let coding = file_name::text(&coding).to_ascii_lowercase();
    let mut inflater = match Coding::of(&coding, mimetype) {
        Ok(coding) => coding.map(Inflater::new),
        Err(()) => {
            let coding: String = coding
                .chars()
                .filter(|c| c.is_ascii_graphic())
                .take(40)
                .collect();
            return Err(failed(format!(
                "it comes packed as {coding} (Content-Encoding); gzip and deflate can be read"
            )));
        }
    };
    let mut writing = Writing::start(room).await?;
    let mut body = response.take_body();
    let mut piece = vec![0; PIECE];
    loop {
        let read = match body.read(&mut piece).await {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) => return Err(failed(error.to_string())),
        };
        let Some(inflater) = &mut inflater else {
            writing.push(&piece[..read]).await?;
            continue;
        };
        for packed in piece[..read].chunks(Inflater::PIECE) {
            let bytes = inflater.push(packed).map_err(unpacking)?;
            // Here it is held to the limit, whatever a few bytes unpack to.
            writing.push(&bytes).await?;
        }
    }
    if let Some(inflater) = inflater {
        let bytes = inflater.finish().map_err(unpacking)?;
        writing.push(&bytes).await?;
    }
    writing.finish().await
}

fn unpacking(error: std::io::Error) -> ApiError {
    failed(format!("what was sent packed cannot be unpacked: {error}"))
}

fn failed(words: String) -> ApiError {
    ApiError::Fetch(words)
}

/// What a server that gives no file says.
fn refusal(response: &surf::Response, has_password: bool) -> String {
    let status = http::status(response);
    let asks = header(response, "www-authenticate").unwrap_or_default();
    let asks = file_name::text(&asks).trim().to_ascii_lowercase();
    match status {
        401 if asks.starts_with("digest") => format!(
            "the server answered {status}: it asks for Digest authentication; Basic is all that is \
             spoken here"
        ),
        401 if has_password => {
            format!("the server answered {status}: it does not take the password that it was sent")
        }
        401 => format!(
            "the server answered {status}; user and password may stand in the URL \
             (http://user:password@host/), or \"headers\" may have an Authorization"
        ),
        _ => format!("the server answered {status}"),
    }
}

/// The value of an answer's last header of that name, which is in lower case.
fn header(response: &surf::Response, name: &str) -> Option<Vec<u8>> {
    http::header(response, name).map(<[u8]>::to_vec)
}

/// What the server says that it is, with its parameters.
fn content_type(response: &surf::Response) -> Option<String> {
    let value = file_name::text(&header(response, "content-type")?);
    Some(value.trim().to_owned()).filter(|value| !value.is_empty())
}

/// What cameras send as a film: one picture after another.
fn is_endless(mimetype: &str) -> bool {
    let start = mimetype.get(.."multipart/x-mixed-replace".len());
    start.is_some_and(|start| start.eq_ignore_ascii_case("multipart/x-mixed-replace"))
}

/// Whether what is for the server of one address may be shown to that of another: the same one, or the same
/// name where it does TLS.
fn is_same_server(from: &Url, to: &Url) -> bool {
    let port = |url: &Url| url.port_or_known_default();
    let upgrade = from.scheme() == "http"
        && to.scheme() == "https"
        && port(from) == Some(80)
        && port(to) == Some(443);
    from.host_str() == to.host_str()
        && (upgrade || (from.scheme() == to.scheme() && port(from) == port(to)))
}

/// Takes user and password out of an address, as the header that they stand for.
fn take_credentials(url: &mut Url) -> Option<HeaderValue> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let decoded = |text: &str| percent_decode_str(text).collect::<Vec<u8>>();
    let mut both = decoded(url.username());
    both.push(b':');
    both.extend(decoded(url.password().unwrap_or_default()));
    // These fail for addresses without a host only.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    let value = format!("Basic {}", STANDARD.encode(both));
    HeaderValue::from_bytes(value.into_bytes()).ok()
}

/// Headers for the server of `url`, and for no other.
#[derive(Debug, Default)]
pub struct Headers(Vec<(HeaderName, HeaderValue)>);

impl Field for Headers {
    const REQUIRED: bool = false;

    fn read(name: &'static str, value: &Value) -> Result<Self, FieldError> {
        let wrong = |expected| FieldError::Field {
            field: name,
            expected,
        };
        let StringMap(given) = StringMap::read(name, value)?;
        let bytes: usize = given.iter().map(|(n, v)| n.len() + v.len()).sum();
        if given.len() > MAX_HEADERS || bytes > MAX_HEADERS_BYTES {
            return Err(wrong("at most 32 headers of 8192 bytes in all"));
        }
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        let found: Result<_, FieldError> = given
            .into_iter()
            .map(|(name, value)| {
                if name.is_empty() || !name.bytes().all(token) {
                    return Err(wrong("an object whose keys are names of HTTP headers"));
                }
                if OWN_HEADERS.contains(&name.to_ascii_lowercase().as_str()) {
                    return Err(wrong(
                        "without those that this server sets itself: Host, Content-Length, \
                     Accept-Encoding, Range, Expect and those of the connection",
                    ));
                }
                if !value
                    .bytes()
                    .all(|b| b == b'\t' || (b' '..=b'~').contains(&b))
                {
                    return Err(wrong("an object whose values are ASCII without line ends"));
                }
                let name = HeaderName::from_bytes(name.into_bytes());
                let value = HeaderValue::from_bytes(value.into_bytes());
                match (name, value) {
                    (Ok(name), Ok(value)) => Ok((name, value)),
                    _ => Err(wrong("an object of strings in ASCII")),
                }
            })
            .collect();
        found.map(Headers)
    }

    fn absent(_name: &'static str) -> Result<Self, FieldError> {
        Ok(Headers::default())
    }

    #[cfg(test)]
    fn schema(_generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": ["object", "string"], "additionalProperties": {"type": "string"}})
    }
}

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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fields::{Fields, Parts, Request, request};

    request! {
        /// The fields that name a file.
        struct File {
            url: Option<NonEmpty> = "url",
            headers: Headers = "headers",
        }
    }

    fn wanted(body: Value) -> Result<Option<Wanted>, ApiError> {
        let parts = Parts {
            body: Fields::from_map(body.as_object().unwrap().clone()),
            ..Parts::default()
        };
        let file = File::read(&parts)?;
        file.url
            .map(|url| Wanted::of(&url, file.headers))
            .transpose()
    }

    #[test]
    fn only_the_web_is_fetched_from() {
        for bad in ["file:///etc/passwd", "ftp://x/y", "x", "http://"] {
            assert!(wanted(json!({"url": bad})).is_err(), "{bad}");
        }
        assert!(wanted(json!({"url": "http://192.168.1.2:8123/cam.jpg?x=1"})).is_ok());
        assert!(wanted(json!({"url": ""})).is_ok_and(|wanted| wanted.is_none()));
    }

    #[test]
    fn user_and_password_become_a_header() {
        let of = |url: &str, headers: Value| {
            let wanted = wanted(json!({"url": url, "headers": headers}))
                .unwrap()
                .unwrap();
            assert!(!wanted.url.as_str().contains('@'), "{}", wanted.url);
            let found = wanted
                .headers
                .iter()
                .find(|(name, _)| name == "authorization");
            found.map(|(_, value)| value.as_str().to_owned())
        };
        let basic = |text: &str| Some(format!("Basic {}", STANDARD.encode(text)));
        assert_eq!(of("http://me:p%40ss@host/a", json!({})), basic("me:p@ss"));
        assert_eq!(of("http://me@host/a", json!(null)), basic("me:"));
        assert_eq!(of("https://:p%C3%A4@host/a", json!({})), basic(":pä"));
        assert_eq!(of("http://host/a", json!({})), None);
        let own = json!({"authorization": "Bearer x"});
        assert_eq!(of("http://me:x@host/a", own).as_deref(), Some("Bearer x"));
    }

    #[test]
    fn headers_are_looked_at() {
        for bad in [
            json!({"Host": "x"}),
            json!({"CONNECTION": "x"}),
            json!({"transfer-encoding": "x"}),
            json!({"Content-Length": "1"}),
            json!({"a b": "x"}),
            json!({"": "x"}),
            json!({"a": "x\r\nb: y"}),
            json!({"a": "é"}),
            json!({"a": 1}),
            json!(["a"]),
            json!({"a": "x".repeat(9_000)}),
        ] {
            // Also without a URL: it is wrong all the same.
            let Err(error) = wanted(json!({"headers": bad})) else {
                panic!("{bad} is taken");
            };
            assert!(
                error.to_string().starts_with("\"headers\" must be "),
                "{error}"
            );
        }
        let good = json!({"url": "http://a", "headers": {"Cookie": "a=b; c", "X-Key": ""}});
        assert_eq!(wanted(good).unwrap().unwrap().headers.len(), 2);
    }

    #[test]
    fn what_is_secret_stays_with_its_server() {
        let same = |from: &str, to: &str| {
            is_same_server(&Url::parse(from).unwrap(), &Url::parse(to).unwrap())
        };
        assert!(same("http://a/x", "http://a:80/y"));
        assert!(same("http://a/x", "https://a/y"));
        for to in ["http://b/", "http://a:81/", "http://a.b/", "https://a:80/"] {
            assert!(!same("http://a/", to), "{to}");
        }
        assert!(!same("https://a/", "http://a/"));
    }
}
