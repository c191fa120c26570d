//! The hands of the simulated phones, for the sandbox's page: some of the simulator's requests under `/sandbox/`, at
//! the page's own origin. Only in builds with the `sandbox` feature, which talk to this machine alone.

use http_types::{Method, Request, Response, StatusCode, Url};

use super::auth::Caller;
use super::error::ApiError;
use crate::net::http::Clients;
use crate::net::reach::Reach;

const PREFIX: &str = "/sandbox/";

/// What is passed on: `*` is a number or an id.
const PASSED: &[(Method, &str)] = &[
    (Method::Get, "phones"),
    (Method::Get, "phones/*"),
    (Method::Get, "phones/*/messages"),
    (Method::Get, "phones/*/media/*"),
    (Method::Post, "phones/*/messages"),
    (Method::Post, "phones/*/read"),
    (Method::Post, "phones/*/typing"),
    (Method::Post, "phones/*/unlink"),
    (Method::Post, "phones/*/offline"),
    (Method::Post, "phones/*/online"),
    (Method::Get, "groups"),
    (Method::Post, "groups"),
    (Method::Post, "mock-phone/scan-qr"),
];

/// The longest request and answer, in bytes: a picture.
const MOST: usize = 8 << 20;

/// Where the simulator's hands are, from where it is connected to.
pub fn base(whatsapp: &Url) -> Option<Url> {
    let mut url = whatsapp.clone();
    url.set_scheme("https").ok()?;
    url.set_path("/admin/");
    Some(url)
}

/// What a path asks of the simulator, if that is passed on.
fn asked(method: Method, path: &str) -> Option<&str> {
    let rest = path.strip_prefix(PREFIX)?;
    let is_id = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    let fits = |pattern: &str| {
        let mut parts = rest.split('/');
        let mut expected = pattern.split('/');
        expected.all(|want| {
            parts.next().is_some_and(|part| {
                if want == "*" {
                    is_id(part)
                } else {
                    part == want
                }
            })
        }) && parts.next().is_none()
    };
    let passed = PASSED
        .iter()
        .any(|(m, pattern)| *m == method && fits(pattern));
    passed.then_some(rest)
}

/// Whether a request is for the phones, passed on or not.
pub fn is_for(request: &Request) -> bool {
    request.url().path().starts_with(PREFIX)
}

/// Passes a request on.
///
/// # Errors
/// 403 for keys of one account, 404 for what is not passed on, and what keeps the simulator from answering.
pub async fn pass(
    mut request: Request,
    base: &Url,
    clients: &Clients,
) -> Result<Response, ApiError> {
    let all = request
        .ext()
        .get::<Caller>()
        .is_some_and(|caller| caller.only().is_none());
    if !all {
        return Err(ApiError::Forbidden(
            "The phones are for keys of all accounts".to_owned(),
        ));
    }
    let path = asked(request.method(), request.url().path()).ok_or(ApiError::NoRoute)?;
    let failed =
        |error: &dyn std::fmt::Display| ApiError::Internal(format!("the simulator: {error}"));
    let mut url = base.join(path).map_err(|e| failed(&e))?;
    url.set_query(request.url().query());
    if request.len().is_none_or(|length| length > MOST) && request.method() == Method::Post {
        return Err(ApiError::TooLarge { limit: MOST });
    }
    let body = request.body_bytes().await.map_err(|e| failed(&e))?;
    let mut onward = surf::Request::new(request.method(), url);
    onward.set_body(body);
    let mut answer = clients
        .of(Reach::Everywhere)
        .send(onward)
        .await
        .map_err(|e| failed(&e))?;
    let content = answer.body_bytes().await.map_err(|e| failed(&e))?;
    let mut response = Response::new(
        StatusCode::try_from(u16::from(answer.status())).unwrap_or(StatusCode::BadGateway),
    );
    response.set_body(content);
    let kind = answer
        .header("Content-Type")
        .map(|values| values.as_str().to_owned());
    response.insert_header(
        "Content-Type",
        kind.unwrap_or_else(|| "application/json".to_owned()),
    );
    response.insert_header("X-Content-Type-Options", "nosniff");
    response.insert_header("Content-Security-Policy", "sandbox; default-src 'none'");
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_phones_hands_are_passed_on_and_nothing_else() {
        assert_eq!(asked(Method::Get, "/sandbox/phones"), Some("phones"));
        let sent = asked(Method::Post, "/sandbox/phones/491700000002/messages");
        assert_eq!(sent, Some("phones/491700000002/messages"));
        for (method, path) in [
            (Method::Post, "/sandbox/faults"),
            (Method::Get, "/sandbox/stanzas"),
            (Method::Post, "/sandbox/phones"),
            (Method::Delete, "/sandbox/phones/1/messages"),
            (Method::Get, "/sandbox/phones/../faults"),
            (Method::Get, "/sandbox/phones/%2e%2e/messages"),
            (Method::Get, "/sandbox//example.org/"),
            (Method::Get, "/phones"),
        ] {
            assert_eq!(asked(method, path), None, "{path}");
        }
    }

    #[test]
    fn the_hands_are_where_the_service_is() {
        let url = Url::parse("wss://127.0.0.1:4711/ws/chat").expect("a URL");
        let base = base(&url).map(|base| base.to_string());
        assert_eq!(base.as_deref(), Some("https://127.0.0.1:4711/admin/"));
    }
}
