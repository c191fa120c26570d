//! TLS of outgoing connections. Trusted are Mozilla's authorities, built in, and the authorities and
//! servers of `tls.extra_ca`.

mod certificate;
#[cfg(test)]
mod tests;
mod verifier;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_rustls::pki_types::pem::{self, PemObject};
use futures_rustls::pki_types::{CertificateDer, UnixTime};
use futures_rustls::rustls::client::Resumption;
use futures_rustls::rustls::crypto::ring;
use futures_rustls::rustls::time_provider::TimeProvider;
use futures_rustls::rustls::{
    AlertDescription, CertificateError, ClientConfig, Error, RootCertStore,
};

use self::verifier::{Known, Verifier};
use crate::clock::{self, Millis};

/// Sessions kept for resumption, a few kB each. A full handshake costs a small board some 10 ms.
const SESSIONS: usize = 32;

/// Why there is no TLS configuration.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("tls.extra_ca: {}: {reason}", path.display())]
    ExtraCa { path: PathBuf, reason: String },
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] Error),
}

/// The TLS configuration of requests and WebSockets. Reads the PEM file `extra_ca`.
///
/// # Errors
/// The file cannot be read, has no certificate, or a broken one.
pub fn client_config(extra_ca: Option<&Path>) -> Result<Arc<ClientConfig>, TlsError> {
    let mut roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    let mut known = Vec::new();
    if let Some(path) = extra_ca {
        known = add_extra(&mut roots, path).map_err(|reason| TlsError::ExtraCa {
            path: path.to_owned(),
            reason,
        })?;
    }
    let ring = Arc::new(ring::default_provider());
    let verifier = Verifier::new(roots, known, Arc::clone(&ring))
        .map_err(|error| Error::General(error.to_string()))?;
    let mut config = ClientConfig::builder_with_details(ring, Arc::new(ServerTime))
        .with_safe_default_protocol_versions()?
        // rustls calls every verifier but its own "dangerous". This one asks rustls' first.
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.resumption = Resumption::in_memory_sessions(SESSIONS);
    // Keeps servers from choosing HTTP/2.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Checks certificates against [`clock::now`], which does not follow jumps of the system's clock.
#[derive(Debug)]
struct ServerTime;

impl TimeProvider for ServerTime {
    fn current_time(&self) -> Option<UnixTime> {
        let since = Duration::from_millis(clock::now());
        Some(UnixTime::since_unix_epoch(since))
    }
}

/// Adds the authorities of a file to `roots`. Every certificate in it is also trusted by itself.
fn add_extra(roots: &mut RootCertStore, path: &Path) -> Result<Vec<Known>, String> {
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| match error {
            pem::Error::Io(error) => error.to_string(),
            error => format!("no valid PEM file: {error}"),
        })?;
    if certificates.is_empty() {
        return Err("holds no certificate (-----BEGIN CERTIFICATE-----)".to_owned());
    }
    let mut known = Vec::with_capacity(certificates.len());
    for certificate in certificates {
        let facts = certificate::read(&certificate);
        // A server's key must not sign for others. A certificate that cannot be read is taken for an
        // authority's: some old ones are not well-formed.
        if facts.as_ref().is_none_or(|facts| facts.is_authority) {
            roots
                .add(certificate.clone())
                .map_err(|error| format!("holds a broken certificate: {error}"))?;
        }
        if let Some(facts) = facts {
            known.push(Known {
                der: certificate,
                facts,
            });
        }
    }
    Ok(known)
}

/// Whether a wrong clock may be the cause of a failed handshake.
pub(super) fn blames_clock(error: &io::Error, now: Millis) -> bool {
    match refused_certificate(error) {
        Some(
            CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. }
            | CertificateError::Expired
            | CertificateError::ExpiredContext { .. },
        ) => true,
        Some(_) => !clock::is_set(now),
        None => false,
    }
}

fn refused_certificate(error: &io::Error) -> Option<&CertificateError> {
    match error.get_ref()?.downcast_ref()? {
        Error::InvalidCertificate(refused) => Some(refused),
        _ => None,
    }
}

/// Why a handshake failed, and what the user can do.
pub(super) fn explain(error: &io::Error, now: Millis) -> String {
    if let Some(refused) = refused_certificate(error) {
        return match clock::is_set(now) {
            true => lacks(refused, &minute(now)),
            false => format!(
                "the clock says {}, certificates cannot be checked until it is set \
                 (a board without a battery waits for a time server)",
                minute(now)
            ),
        };
    }
    match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(Error::InvalidMessage(_)) => {
            "it does not speak TLS at this port; is the address one with http://?".to_owned()
        }
        Some(Error::AlertReceived(
            AlertDescription::ProtocolVersion | AlertDescription::HandshakeFailure,
        )) => format!("it speaks neither TLS 1.2 nor 1.3 with ciphers of today ({error})"),
        Some(Error::AlertReceived(AlertDescription::CertificateRequired)) => {
            "it asks for a certificate of the client, and there is none to show".to_owned()
        }
        _ => error.to_string(),
    }
}

/// Why a certificate was refused. `said` is the clock's time.
fn lacks(refused: &CertificateError, said: &str) -> String {
    const TRUST: &str = "the file of tls.extra_ca";
    match refused {
        CertificateError::NotValidYetContext { not_before, .. } => format!(
            "its certificate is valid from {} on only, or the clock is wrong, which says {said}",
            date(*not_before)
        ),
        CertificateError::NotValidYet => {
            format!("its certificate is not valid yet, or the clock is wrong, which says {said}")
        }
        CertificateError::ExpiredContext { not_after, .. } => format!(
            "its certificate has expired on {}, or the clock is wrong, which says {said}",
            date(*not_after)
        ),
        CertificateError::Expired => {
            format!("its certificate has expired, or the clock is wrong, which says {said}")
        }
        // Most bad signatures are those of an authority that was re-created under the same name.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => format!(
            "its certificate is from an unknown authority: put that authority's certificate into \
             {TRUST}, or the server's own if it is self-signed"
        ),
        CertificateError::NotValidForNameContext {
            expected,
            presented,
        } => match names(presented) {
            Some(names) => format!(
                "its certificate is not for {} but for {names}",
                expected.to_str()
            ),
            None => format!(
                "its certificate is not for {}: it has no alternative names (subjectAltName)",
                expected.to_str()
            ),
        },
        CertificateError::InvalidPurposeContext { .. } | CertificateError::InvalidPurpose => {
            "its certificate is not made for servers (extendedKeyUsage lacks serverAuth)".to_owned()
        }
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => format!(
            "its certificate is signed in a way that is not safe or not known (SHA-1, RSA with less \
             than 2048 bits, an unusual curve); {TRUST} can name that very certificate"
        ),
        CertificateError::UnhandledCriticalExtension => format!(
            "its certificate has a critical extension that is not known; {TRUST} can name that \
             very certificate"
        ),
        CertificateError::BadEncoding => "its certificate is damaged".to_owned(),
        CertificateError::Revoked => "its certificate was revoked".to_owned(),
        other => {
            format!("its certificate is refused ({other}); {TRUST} can name that very certificate")
        }
    }
}

/// How many names an error lists.
const NAMES: usize = 5;
/// Characters of a name in an error.
const NAME: usize = 64;

/// The names of a certificate, from webpki's `DnsName("a.example")` and `IpAddress(127.0.0.1)`. The server
/// chose them: they are shortened and reduced to printable ASCII.
fn names(presented: &[String]) -> Option<String> {
    let name = |text: &String| {
        let inner = text.split_once('(').map_or(text.as_str(), |(_, rest)| rest);
        let inner = inner.trim_end_matches(')').trim_matches('"');
        let plain = |c: &char| c.is_ascii_graphic();
        inner.chars().filter(plain).take(NAME).collect::<String>()
    };
    let mut said: Vec<String> = presented.iter().take(NAMES).map(name).collect();
    if presented.len() > NAMES {
        said.push(format!("{} more", presented.len() - NAMES));
    }
    (!said.is_empty()).then(|| said.join(", "))
}

/// `2026-11-28`.
fn date(time: UnixTime) -> String {
    let said = clock::iso8601(time.as_secs().saturating_mul(1000));
    said.get(..10).unwrap_or_default().to_owned()
}

fn minute(now: Millis) -> String {
    let said = clock::iso8601(now);
    said.get(..16).unwrap_or_default().replace('T', " ")
}
