//! Servers on loopback for the tests of `net` and of the WhatsApp transport.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_lite::{AsyncReadExt, AsyncWriteExt};
use futures_rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use futures_rustls::rustls::crypto::ring;
use futures_rustls::rustls::{ClientConfig, ServerConfig};
use futures_rustls::server::TlsStream;
use futures_rustls::{TlsAcceptor, pki_types::CertificateDer};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use smol::Executor;
use smol::net::{TcpListener, TcpStream};

use super::tls;

/// Runs a test on an executor of its own.
pub(crate) fn run<T, F: Future<Output = T>>(test: impl FnOnce(Arc<Executor<'static>>) -> F) -> T {
    let executor = Arc::new(Executor::new());
    smol::block_on(executor.run(test(executor.clone())))
}

/// A certificate authority with one certificate for loopback.
pub(crate) struct Authority {
    chain: Vec<CertificateDer<'static>>,
    key: Vec<u8>,
    pem: PathBuf,
}

impl Authority {
    pub(crate) fn new() -> Authority {
        Authority::valid_from(2020)
    }

    /// Its certificate is valid from that year on.
    pub(crate) fn valid_from(year: i32) -> Authority {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let ca = params.self_signed(&key).unwrap();
        let issuer = Issuer::new(params, key);

        let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = rcgen::date_time_ymd(year, 1, 1);
        params.not_after = rcgen::date_time_ymd(year + 100, 1, 1);
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &issuer).unwrap();

        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("wildcat-test-ca-{}-{count}.pem", std::process::id());
        let pem = std::env::temp_dir().join(name);
        std::fs::write(&pem, ca.pem()).unwrap();
        Authority {
            chain: vec![leaf.der().clone()],
            key: key.serialize_der(),
            pem,
        }
    }

    /// A client that trusts it.
    pub(crate) fn client(&self) -> Arc<ClientConfig> {
        tls::client_config(Some(&self.pem)).unwrap()
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.clone()));
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(self.chain.clone(), key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.pem);
    }
}

/// A listening socket on loopback.
pub(crate) async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Accepts one TLS connection.
pub(crate) async fn accept_tls(listener: &TcpListener, by: &Authority) -> TlsStream<TcpStream> {
    let (stream, _) = listener.accept().await.unwrap();
    by.acceptor().accept(stream).await.unwrap()
}

/// Reads a whole request with `Content-Length`; `None` when the client is gone.
pub(crate) async fn read_request(stream: &mut (impl AsyncReadExt + Unpin)) -> Option<String> {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        if let Some(end) = request.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&request[..end]).to_ascii_lowercase();
            let length: usize = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .map_or(0, |length| length.parse().unwrap());
            if request.len() >= end + 4 + length {
                return Some(String::from_utf8(request).unwrap());
            }
        }
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return None,
            Ok(count) => request.extend_from_slice(&buffer[..count]),
        }
    }
}

/// Answers every request on one connection with the same bytes, until the client goes.
pub(crate) async fn answer_all(
    mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin,
    answer: &str,
) -> usize {
    let mut count = 0;
    while read_request(&mut stream).await.is_some() {
        stream.write_all(answer.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        count += 1;
    }
    count
}
