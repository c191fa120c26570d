//! Whom we trust: Mozilla's authorities, built in, and those of `tls.extra_ca`.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_rustls::pki_types::pem::{self, PemObject};
use futures_rustls::pki_types::{CertificateDer, UnixTime};
use futures_rustls::rustls::client::Resumption;
use futures_rustls::rustls::crypto::ring;
use futures_rustls::rustls::time_provider::TimeProvider;
use futures_rustls::rustls::{CertificateError, ClientConfig, Error, RootCertStore};

use crate::clock::{self, Millis};

/// Sessions kept for resumption. A handshake that is spared costs a small board some 10 ms; each
/// session kept costs a few kilobytes.
const SESSIONS: usize = 32;

/// Why there is no TLS configuration.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("tls.extra_ca: {}: {reason}", path.display())]
    ExtraCa { path: PathBuf, reason: String },
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] Error),
}

/// The one TLS configuration of the process, for requests and WebSockets alike. Reads the file.
///
/// # Errors
/// The extra authority's file cannot be read, holds no certificate, or a broken one.
pub fn client_config(extra_ca: Option<&Path>) -> Result<Arc<ClientConfig>, TlsError> {
    let mut roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    if let Some(path) = extra_ca {
        add_authorities(&mut roots, path).map_err(|reason| TlsError::ExtraCa {
            path: path.to_owned(),
            reason,
        })?;
    }
    let ring = Arc::new(ring::default_provider());
    let mut config = ClientConfig::builder_with_details(ring, Arc::new(ServerTime))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = Resumption::in_memory_sessions(SESSIONS);
    // A server that would rather speak HTTP/2 must not choose it.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Certificates are checked by the server's time, which holds when the system's clock jumps.
#[derive(Debug)]
struct ServerTime;

impl TimeProvider for ServerTime {
    fn current_time(&self) -> Option<UnixTime> {
        let since = Duration::from_millis(clock::now());
        Some(UnixTime::since_unix_epoch(since))
    }
}

fn add_authorities(roots: &mut RootCertStore, path: &Path) -> Result<(), String> {
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| match error {
            pem::Error::Io(error) => error.to_string(),
            error => format!("no valid PEM file: {error}"),
        })?;
    if certificates.is_empty() {
        return Err("holds no certificate (-----BEGIN CERTIFICATE-----)".to_owned());
    }
    for certificate in certificates {
        roots
            .add(certificate)
            .map_err(|error| format!("holds a broken certificate: {error}"))?;
    }
    Ok(())
}

/// Whether a handshake failed for what may be the clock's fault.
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

/// Says why a handshake failed, in words that help to mend it.
pub(super) fn explain(error: &io::Error, now: Millis) -> String {
    let said = clock::iso8601(now);
    let said = said.get(..16).unwrap_or_default().replace('T', " ");
    match refused_certificate(error) {
        Some(_) if !clock::is_set(now) => format!(
            "the clock says {said}, certificates cannot be checked until it is set \
             (a board without a battery waits for a time server)"
        ),
        Some(CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. }) => {
            format!("its certificate is not valid yet, or the clock is wrong, which says {said}")
        }
        Some(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            format!("its certificate has expired, or the clock is wrong, which says {said}")
        }
        // A bad signature is, most often, an authority that was made anew under its old name.
        Some(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            "its certificate is from an unknown authority (tls.extra_ca can name one to trust)"
                .to_owned()
        }
        Some(_) | None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_or_empty_authority_is_named() {
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
    fn a_wrong_clock_is_suspected() {
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
}
