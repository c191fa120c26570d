use futures_lite::{AsyncReadExt as _, AsyncWriteExt as _, future};
use futures_rustls::TlsAcceptor;
use futures_rustls::pki_types::PrivateKeyDer;
use futures_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use futures_rustls::rustls::sign::CertifiedKey;
use futures_rustls::rustls::version::{TLS12, TLS13};
use futures_rustls::rustls::{ServerConfig, SupportedProtocolVersion};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use super::super::dial::{self, Target};
use super::super::reach::Reach;
use super::super::testing::{listen, run};
use super::*;

#[test]
fn a_missing_or_empty_extra_ca_is_an_error() {
    let error = client_config(Some(Path::new("/nowhere/ca.pem"))).unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with("tls.extra_ca: /nowhere/ca.pem: "),
        "{text}"
    );
    let error = client_config(Some(Path::new("/dev/null"))).unwrap_err();
    assert!(
        error.to_string().contains("holds no certificate"),
        "{error}"
    );
}

#[test]
fn a_wrong_clock_is_blamed() {
    let refused =
        |error| io::Error::new(io::ErrorKind::InvalidData, Error::InvalidCertificate(error));
    let early = refused(CertificateError::NotValidYet);
    assert!(blames_clock(&early, 0));
    let text = explain(&early, 0);
    assert!(
        text.starts_with("the clock says 1970-01-01 00:00, certificates cannot be checked"),
        "{text}"
    );
    let text = explain(&early, clock::EARLIEST);
    assert!(text.contains("which says 2026-11-01 00:00"), "{text}");
    let late = refused(CertificateError::Expired);
    assert!(blames_clock(&late, clock::EARLIEST));
    assert!(explain(&late, clock::EARLIEST).contains("has expired, or the clock is wrong"));
    let stranger = refused(CertificateError::UnknownIssuer);
    assert!(!blames_clock(&stranger, clock::EARLIEST));
    assert!(!blames_clock(&io::ErrorKind::TimedOut.into(), 0));
}

/// A server's certificate with its key, and intermediates.
struct Server {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

fn params(names: &[&str]) -> CertificateParams {
    CertificateParams::new(
        names
            .iter()
            .map(|&name| name.to_owned())
            .collect::<Vec<_>>(),
    )
    .unwrap()
}

/// A self-signed certificate.
fn self_signed(params: &CertificateParams) -> Server {
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    Server {
        chain: vec![certificate.der().clone()],
        key: PrivateKeyDer::Pkcs8(key.serialize_der().into()),
    }
}

/// A certificate of version 1, without extensions, as some devices have, and its key.
const VERSION_1: &str = "\
-----BEGIN CERTIFICATE-----
MIIBCTCBsAIBATAKBggqhkjOPQQDAjAQMQ4wDAYDVQQDDAVJUENBTTAgFw0wMDAx
MDEwMDAwMDBaGA85OTk5MTIzMTIzNTk1OVowEDEOMAwGA1UEAwwFSVBDQU0wWTAT
BgcqhkjOPQIBBggqhkjOPQMBBwNCAAQA0NzzH6KmxupHJRhkJ2CeedVBBumQDbsb
+jdPDiR1D9zu4Qy2JXimznq0RzlGhvvoicNZjJdbgXUd/5yx8BsFMAoGCCqGSM49
BAMCA0gAMEUCIQDpKv3aTOSm2oonFr5es0CxOTV1qV3rGcUdvRjscDOGxQIgPxH5
NA5hmMCjU3T7MGoa8AS8wytw+gLFoLnBWihqVsY=
-----END CERTIFICATE-----
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgHkw0t4/SuiGtXm/d
a0lxj6tRKRqQ8P7eC8f0lX47joehRANCAAQA0NzzH6KmxupHJRhkJ2CeedVBBumQ
Dbsb+jdPDiR1D9zu4Qy2JXimznq0RzlGhvvoicNZjJdbgXUd/5yx8BsF
-----END PRIVATE KEY-----
";

#[derive(Debug)]
struct Resolver(Arc<CertifiedKey>);

impl ResolvesServerCert for Resolver {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// Connects to `server` at 127.0.0.1 with the certificates of `trusted` in the extra file.
fn connect(
    server: &Server,
    trusted: &[&CertificateDer<'_>],
    version: &'static SupportedProtocolVersion,
) -> Result<(), String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    let pem: String = trusted.iter().map(|der| pem_of(der)).collect();
    std::fs::write(file.path(), pem).unwrap();
    let extra = (!trusted.is_empty()).then(|| file.path());
    let config = client_config(extra).unwrap();
    let provider = Arc::new(ring::default_provider());
    let key = provider
        .key_provider
        .load_private_key(server.key.clone_key())
        .unwrap();
    let certified = CertifiedKey::new(server.chain.clone(), key);
    let acceptor = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Resolver(Arc::new(certified))));
    let acceptor = TlsAcceptor::from(Arc::new(acceptor));
    run(async |_| {
        let (listener, address) = listen().await;
        let serve = async {
            let (stream, _) = listener.accept().await.unwrap();
            acceptor.accept(stream).await.is_ok()
        };
        let target = Target {
            host: address.ip().to_string(),
            port: address.port(),
            tls: true,
        };
        let dial = dial::connect(&target, &config, Reach::Everywhere, Duration::from_secs(20));
        let (_, dialled) = future::zip(serve, dial).await;
        dialled.map(drop).map_err(|error| error.to_string())
    })
}

fn pem_of(der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
}

const BOTH: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

#[test]
fn a_server_is_trusted_by_its_own_certificate() {
    let mut authority = params(&["127.0.0.1"]);
    // As by `openssl req -x509`.
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let mut plain = params(&["127.0.0.1"]);
    plain.is_ca = IsCa::ExplicitNoCa;
    let nameless = params(&[]);
    for params in [authority, plain, params(&["127.0.0.1"]), nameless] {
        let server = self_signed(&params);
        let own = &server.chain[0];
        for version in BOTH {
            assert_eq!(connect(&server, &[own], version), Ok(()), "{params:?}");
        }
        let words = connect(&server, &[], &TLS13).unwrap_err();
        assert!(words.contains("put that authority's certificate into the file of tls.extra_ca, or the server's own"), "{words}");
    }
}

#[test]
fn a_certificate_of_version_1_can_be_trusted() {
    let pem = VERSION_1.as_bytes();
    let server = Server {
        chain: vec![CertificateDer::from_pem_slice(pem).unwrap()],
        key: PrivateKeyDer::from_pem_slice(pem).unwrap(),
    };
    for version in BOTH {
        assert_eq!(connect(&server, &[&server.chain[0]], version), Ok(()));
    }
    let words = connect(&server, &[], &TLS13).unwrap_err();
    assert!(words.contains("tls.extra_ca"), "{words}");
    // The key must match.
    let thief = Server {
        key: self_signed(&params(&[])).key,
        ..server
    };
    for version in BOTH {
        assert!(connect(&thief, &[&thief.chain[0]], version).is_err());
    }
}

#[test]
fn another_certificate_of_the_same_name_is_not_trusted() {
    let server = self_signed(&params(&["127.0.0.1"]));
    let other = self_signed(&params(&["127.0.0.1"]));
    for version in BOTH {
        let words = connect(&server, &[&other.chain[0]], version).unwrap_err();
        assert!(words.contains("unknown authority"), "{words}");
    }
}

#[test]
fn the_key_of_a_trusted_server_cannot_sign_for_others() {
    for kind in [IsCa::NoCa, IsCa::ExplicitNoCa] {
        let mut own = params(&["127.0.0.1"]);
        own.is_ca = kind;
        let own_key = KeyPair::generate().unwrap();
        let own_certificate = own.self_signed(&own_key).unwrap();
        let key = KeyPair::generate().unwrap();
        let issuer = Issuer::new(own, own_key);
        let forged = params(&["127.0.0.1"]).signed_by(&key, &issuer).unwrap();
        let server = Server {
            chain: vec![forged.der().clone(), own_certificate.der().clone()],
            key: PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        };
        let words = connect(&server, &[own_certificate.der()], &TLS13).unwrap_err();
        assert!(words.contains("unknown authority"), "{words}");
    }
}

#[test]
fn dates_and_names_of_a_trusted_certificate_are_checked() {
    let mut past = params(&["127.0.0.1"]);
    past.not_before = rcgen::date_time_ymd(2020, 1, 1);
    past.not_after = rcgen::date_time_ymd(2024, 2, 29);
    let mut coming = params(&["127.0.0.1"]);
    coming.not_before = rcgen::date_time_ymd(2900, 3, 1);
    coming.not_after = rcgen::date_time_ymd(2990, 1, 1);
    for (params, words) in [
        (
            past,
            "its certificate has expired on 2024-02-29, or the clock is wrong",
        ),
        (
            coming,
            "its certificate is valid from 2900-03-01 on only, or the clock is wrong",
        ),
        (
            params(&["cam.example", "*.b.example", "10.1.2.3"]),
            "its certificate is not for 127.0.0.1 but for cam.example, *.b.example, 10.1.2.3",
        ),
    ] {
        let server = self_signed(&params);
        let said = connect(&server, &[&server.chain[0]], &TLS13).unwrap_err();
        assert!(said.contains(words), "{said}");
    }
}

#[test]
fn names_of_an_unknown_certificate_are_escaped() {
    let many: Vec<String> = (0..9)
        .map(|n| format!("DnsName(\"a{n}\x1b[2J\n\")"))
        .collect();
    assert_eq!(
        names(&many).unwrap(),
        "a0[2J, a1[2J, a2[2J, a3[2J, a4[2J, 4 more"
    );
    assert_eq!(names(&["IpAddress(::1)".to_owned()]).unwrap(), "::1");
    assert_eq!(names(&[]), None);
}

#[test]
fn a_server_without_tls_is_reported() {
    run(async |_| {
        let (listener, address) = listen().await;
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            // The answer of an HTTP server to TLS.
            stream
                .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                .await
                .unwrap();
            stream.read(&mut [0; 1024]).await.ok()
        };
        let target = Target {
            host: address.ip().to_string(),
            port: address.port(),
            tls: true,
        };
        let config = client_config(None).unwrap();
        let dial = dial::connect(&target, &config, Reach::Everywhere, Duration::from_secs(20));
        let words = future::zip(serve, dial).await.1.unwrap_err().to_string();
        assert!(words.contains("does not speak TLS"), "{words}");
    });
}
