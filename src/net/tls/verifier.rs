//! Verifies a server's certificate: it is signed by a trusted authority, or it is itself in the file of
//! `tls.extra_ca`.
//!
//! Cameras, routers and receivers at home have self-signed certificates, which must not act as authorities.
//! One in that file is trusted for its own server only: the bytes must be equal, its dates apply, and its
//! alternative names do if it has any (factory certificates often have only a common name, which
//! is ignored). Each handshake proves that the server has the certificate's key.

use std::sync::Arc;

use futures_rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use futures_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use futures_rustls::rustls::client::{WebPkiServerVerifier, verify_server_name};
use futures_rustls::rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key,
};
use futures_rustls::rustls::server::{ParsedCertificate, VerifierBuilderError};
use futures_rustls::rustls::{
    CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

use super::certificate::{self, Facts};

/// A certificate of `tls.extra_ca`, trusted by its bytes.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) der: CertificateDer<'static>,
    pub(super) facts: Facts,
}

/// Checks the certificates of servers.
#[derive(Debug)]
pub(super) struct Verifier {
    authorities: Arc<WebPkiServerVerifier>,
    known: Vec<Known>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    pub(super) fn new(
        roots: RootCertStore,
        known: Vec<Known>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Verifier, VerifierBuilderError> {
        let algorithms = provider.signature_verification_algorithms;
        let authorities =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build()?;
        Ok(Verifier {
            authorities,
            known,
            algorithms,
        })
    }

    fn known(&self, certificate: &CertificateDer<'_>) -> Option<&Known> {
        self.known.iter().find(|known| known.der == *certificate)
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let vouched = self.authorities.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        match (vouched, self.known(end_entity)) {
            (Ok(verified), _) => Ok(verified),
            (Err(_), Some(known)) => check(known, server_name, now),
            (Err(refusal), None) => Err(reason(refusal, end_entity)),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let Some(Known { facts, .. }) = self.known(certificate) else {
            return self
                .authorities
                .verify_tls12_signature(message, certificate, signed);
        };
        // rustls cannot parse some of these certificates; their key was read by `certificate`.
        let fitting = self
            .algorithms
            .mapping
            .iter()
            .filter(|(scheme, _)| *scheme == signed.scheme)
            .flat_map(|(_, algorithms)| algorithms.iter())
            .find(|algorithm| algorithm.public_key_alg_id().as_ref() == facts.key_algorithm);
        match fitting {
            Some(algorithm) => algorithm
                .verify_signature(&facts.key, message, signed.signature())
                .map(|()| HandshakeSignatureValid::assertion())
                .map_err(|_| CertificateError::BadSignature.into()),
            None => Err(CertificateError::BadSignature.into()),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match self.known(certificate) {
            Some(known) => {
                let key = SubjectPublicKeyInfoDer::from(known.facts.key_info.as_slice());
                verify_tls13_signature_with_raw_key(message, &key, signed, &self.algorithms)
            }
            None => self
                .authorities
                .verify_tls13_signature(message, certificate, signed),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authorities.supported_verify_schemes()
    }
}

/// Checks the dates and names of a certificate of `tls.extra_ca`.
fn check(
    known: &Known,
    server_name: &ServerName<'_>,
    time: UnixTime,
) -> Result<ServerCertVerified, Error> {
    let from = UnixTime::since_unix_epoch(std::time::Duration::from_secs(known.facts.not_before));
    let until = UnixTime::since_unix_epoch(std::time::Duration::from_secs(known.facts.not_after));
    if time < from {
        let not_before = from;
        return Err(CertificateError::NotValidYetContext { time, not_before }.into());
    }
    if time > until {
        let not_after = until;
        return Err(CertificateError::ExpiredContext { time, not_after }.into());
    }
    if known.facts.has_names {
        verify_server_name(&ParsedCertificate::try_from(&known.der)?, server_name)?;
    }
    Ok(ServerCertVerified::assertion())
}

/// The reason for refusing an unknown certificate: for a self-signed one, "unknown issuer" helps most.
fn reason(refusal: Error, end_entity: &CertificateDer<'_>) -> Error {
    match refusal {
        Error::InvalidCertificate(CertificateError::Other(_) | CertificateError::BadEncoding)
            if certificate::read(end_entity).is_some_and(|facts| facts.self_issued) =>
        {
            CertificateError::UnknownIssuer.into()
        }
        other => other,
    }
}
