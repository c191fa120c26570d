//! Shared by the tests of the media service: an auth token, uploads and downloads.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http_types::{Body, Method, Request, Response};
use sha2::{Digest as _, Sha256};
use wacore_binary::builder::NodeBuilder;
use wildcat_simulator::Simulator;

use super::{Raw, iq, soon, text, tls};

/// The name under which a file is uploaded.
pub fn token(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(bytes))
}

/// Asks for the media hosts: the auth token, and the host.
pub async fn media_conn(raw: &mut Raw) -> (String, String) {
    let question = iq("w:m", "set")
        .children([NodeBuilder::new("media_conn").build()])
        .build();
    let answer = raw.ask(question).await;
    let conn = answer
        .get_optional_child("media_conn")
        .expect("a media_conn");
    assert!(text(conn, "ttl").parse::<u32>().expect("seconds") > 0);
    let host = conn.get_optional_child("host").expect("a host");
    (text(conn, "auth"), text(host, "hostname"))
}

/// A request to the media host.
pub async fn send(sim: &Simulator, method: Method, target: &str, body: Body) -> Response {
    ranged(sim, method, target, body, None).await
}

/// The same with a `Range`.
pub async fn ranged(
    sim: &Simulator,
    method: Method,
    target: &str,
    body: Body,
    range: Option<&str>,
) -> Response {
    let url = format!("{}{target}", sim.https_url());
    let mut request = Request::new(method, url.as_str());
    request.set_body(body);
    if let Some(range) = range {
        request.insert_header("range", range);
    }
    let work = async_h1::connect(tls(sim).await, request);
    soon(target, work).await.expect("an answer")
}

/// Uploads a file as clients do; status, and the `direct_path` if it was taken.
pub async fn upload(sim: &Simulator, kind: &str, auth: &str, bytes: &[u8]) -> (u16, String) {
    let token = token(bytes);
    let target = format!("/mms/{kind}/{token}?auth={auth}&token={token}");
    let mut response = send(sim, Method::Post, &target, Body::from(bytes)).await;
    let body = response.body_string().await.expect("text");
    let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    let path = body["direct_path"].as_str().unwrap_or_default();
    if !path.is_empty() {
        let url = format!("{}{path}", sim.https_url());
        assert!(
            body["url"].as_str().expect("a url").starts_with(&url),
            "{body}"
        );
    }
    (response.status().into(), path.to_owned())
}

/// Downloads a file; status and bytes.
pub async fn download(sim: &Simulator, target: &str) -> (u16, Vec<u8>) {
    let mut response = send(sim, Method::Get, target, Body::empty()).await;
    let bytes = response.body_bytes().await.expect("bytes");
    (response.status().into(), bytes)
}
