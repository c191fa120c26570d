//! Whom we trust: Mozilla's authorities, built in, and those of `tls.extra_ca`.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_rustls::pki_types::CertificateDer;
use futures_rustls::pki_types::pem::{self, PemObject};
use futures_rustls::rustls::client::Resumption;
use futures_rustls::rustls::crypto::ring;
use futures_rustls::rustls::{CertificateError, ClientConfig, Error, RootCertStore};

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
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = Resumption::in_memory_sessions(SESSIONS);
    // A server that would rather speak HTTP/2 must not choose it.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
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

/// Says why a handshake failed, in words that help to mend it.
pub(super) fn explain(error: &io::Error) -> String {
    let tls = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<Error>());
    match tls {
        Some(Error::InvalidCertificate(
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
        )) => "its certificate is not valid yet: this machine's clock may be wrong \
               (a board without a battery starts in the past until it reaches a time server)"
            .to_owned(),
        Some(Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        )) => "its certificate has expired, or this machine's clock is wrong".to_owned(),
        // A bad signature is, most often, an authority that was made anew under its old name.
        Some(Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        )) => "its certificate is from an unknown authority (tls.extra_ca can name one to trust)"
            .to_owned(),
        _ => error.to_string(),
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
        let error = Error::InvalidCertificate(CertificateError::NotValidYet);
        let text = explain(&io::Error::new(io::ErrorKind::InvalidData, error));
        assert!(text.contains("clock may be wrong"), "{text}");
    }
}
