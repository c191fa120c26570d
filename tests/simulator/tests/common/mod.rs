//! Shared by the tests of the service: control of the phones, and a client at the level of stanzas.
#![allow(dead_code, unused_imports)]

pub mod files;
mod raw;

use std::sync::Arc;
use std::time::Duration;

use futures_lite::FutureExt as _;
use futures_rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use futures_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};
use futures_rustls::{TlsConnector, client::TlsStream};
use http_types::{Method, Request};
use serde_json::Value;
use smol::net::TcpStream;
use wildcat_simulator::Simulator;

pub use raw::{Device, Greeting, Raw, iq, leaf, text};

/// Nothing that a test waits for takes so long.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Fails the test if `work` takes too long.
pub async fn soon<T>(what: &str, work: impl Future<Output = T>) -> T {
    let late = async {
        smol::Timer::after(PATIENCE).await;
        panic!("{what}: nothing happened")
    };
    work.or(late).await
}

/// A TLS connection that trusts the simulator's authority and nothing else.
pub async fn tls(sim: &Simulator) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_slice(sim.ca_pem().as_bytes()).expect("the CA is PEM");
    roots.add(ca).expect("the CA is a certificate");
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("TLS versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let authority = sim.https_url();
    let authority = authority.trim_start_matches("https://");
    let socket = TcpStream::connect(authority).await.expect("connect");
    let name = ServerName::try_from("127.0.0.1").expect("an address");
    TlsConnector::from(Arc::new(config))
        .connect(name, socket)
        .await
        .expect("TLS with the simulator's authority")
}

/// One admin request; status and body.
pub async fn admin(sim: &Simulator, method: Method, path: &str, body: &str) -> (u16, Value) {
    let url = format!("{}/admin/{path}", sim.https_url());
    let mut request = Request::new(method, url.as_str());
    request.set_body(body);
    let work = async_h1::connect(tls(sim).await, request);
    let mut response = soon(path, work).await.expect("an answer");
    let text = response.body_string().await.expect("text");
    let value = serde_json::from_str(&text).expect("JSON");
    (u16::from(response.status()), value)
}

/// A POST that must succeed.
pub async fn post(sim: &Simulator, path: &str, body: Value) -> Value {
    let (status, answer) = admin(sim, Method::Post, path, &body.to_string()).await;
    assert_eq!(status, 200, "{path}: {answer}");
    answer
}

/// A GET that must succeed.
pub async fn get(sim: &Simulator, path: &str) -> Value {
    let (status, answer) = admin(sim, Method::Get, path, "").await;
    assert_eq!(status, 200, "{path}: {answer}");
    answer
}
