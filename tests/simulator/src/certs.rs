//! The simulator's two authorities: one for TLS, one for Noise.
//!
//! WhatsApp proves itself twice. The TLS certificate is checked against a certificate authority, the
//! Noise certificate chain (leaf signed by an intermediate, intermediate signed by a root key that
//! clients carry) inside the handshake. Both are made at start and really signed, so that a client
//! with the two roots verifies everything and needs to skip nothing.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use anyhow::{Context, Result};
use futures_rustls::TlsAcceptor;
use futures_rustls::pki_types::{CertificateDer, PrivateKeyDer};
use futures_rustls::rustls::{ServerConfig, crypto::ring};
use rand::rngs::StdRng;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyUsagePurpose, SanType,
};
use wacore_libsignal::protocol::KeyPair;
use waproto::buffa::{Message as _, MessageField};
use waproto::whatsapp::{self as wa, cert_chain::noise_certificate};

/// The serial of the root, which every client expects in the intermediate certificate.
/// Encoded although it is 0: for Baileys an absent field and 0 differ.
const ROOT_SERIAL: u32 = 0;
const INTERMEDIATE_SERIAL: u32 = 1;
const LEAF_SERIAL: u32 = 2;
const DAY_SECS: u64 = 24 * 60 * 60;

/// TLS for the port: a private authority and a certificate for loopback.
pub struct Tls {
    /// The authority's certificate, PEM: what a client must trust.
    pub ca_pem: String,
    /// Accepts connections with the certificate for `127.0.0.1`, `::1` and `localhost`.
    pub acceptor: TlsAcceptor,
}

impl Tls {
    /// Makes a new authority and a certificate signed by it.
    ///
    /// # Errors
    /// When a key cannot be generated; the parameters themselves are constant.
    pub fn generate() -> Result<Tls> {
        let mut ca = CertificateParams::new(Vec::new())?;
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        ca.distinguished_name
            .push(DnType::CommonName, "wildcat simulator authority");
        let ca_key = rcgen::KeyPair::generate()?;
        let ca_pem = ca.self_signed(&ca_key)?.pem();
        let issuer = Issuer::new(ca, ca_key);

        let mut leaf = CertificateParams::new(vec!["localhost".to_owned()])?;
        leaf.subject_alt_names
            .push(SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        leaf.subject_alt_names.push(SanType::IpAddress(IpAddr::V6(
            std::net::Ipv6Addr::LOCALHOST,
        )));
        leaf.distinguished_name
            .push(DnType::CommonName, "wildcat simulator");
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let leaf_key = rcgen::KeyPair::generate()?;
        let leaf = leaf.signed_by(&leaf_key, &issuer)?;

        let chain: Vec<CertificateDer<'static>> = vec![leaf.der().clone()];
        let key = PrivateKeyDer::try_from(leaf_key.serialize_der())
            .map_err(|e| anyhow::anyhow!("TLS key: {e}"))?;
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .context("TLS protocol versions")?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .context("TLS certificate")?;
        Ok(Tls {
            ca_pem,
            acceptor: TlsAcceptor::from(Arc::new(config)),
        })
    }
}

/// The service's side of Noise: its static key and the certificates for it.
pub struct NoiseIdentity {
    /// The root's public key, which a client is configured with.
    pub root: [u8; 32],
    /// The server's static key pair.
    pub static_keys: KeyPair,
    /// The serialized `CertChain`, sent encrypted in every server hello.
    pub chain: Vec<u8>,
}

impl NoiseIdentity {
    /// Makes root, intermediate and leaf; valid from a day before `now_secs` for a year.
    ///
    /// # Errors
    /// When a signature cannot be made.
    pub fn generate(rng: &mut StdRng, now_secs: u64) -> Result<NoiseIdentity> {
        let root = KeyPair::generate(rng);
        let intermediate = KeyPair::generate(rng);
        let static_keys = KeyPair::generate(rng);
        let details = |serial, issuer, key: &KeyPair| noise_certificate::Details {
            serial: Some(serial),
            issuer_serial: Some(issuer),
            key: Some(key.public_key.public_key_bytes().to_vec()),
            not_before: Some(now_secs.saturating_sub(DAY_SECS)),
            not_after: Some(now_secs + 365 * DAY_SECS),
        };
        let mut sign = |issuer: &KeyPair, details: noise_certificate::Details| -> Result<_> {
            let details = details.encode_to_vec();
            let signature = issuer.calculate_signature(&details, rng)?;
            Ok(MessageField::some(wa::cert_chain::NoiseCertificate {
                details: Some(details),
                signature: Some(signature.to_vec()),
            }))
        };
        let chain = wa::CertChain {
            leaf: sign(
                &intermediate,
                details(LEAF_SERIAL, INTERMEDIATE_SERIAL, &static_keys),
            )?,
            intermediate: sign(
                &root,
                details(INTERMEDIATE_SERIAL, ROOT_SERIAL, &intermediate),
            )?,
        };
        Ok(NoiseIdentity {
            root: key_bytes(&root),
            static_keys,
            chain: chain.encode_to_vec(),
        })
    }
}

/// The 32 bytes of a public key.
pub fn key_bytes(keys: &KeyPair) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(keys.public_key.public_key_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng as _;
    use wacore_libsignal::protocol::PublicKey;

    fn verified(issuer: &[u8], signed: &wa::cert_chain::NoiseCertificate) -> bool {
        let issuer = PublicKey::from_djb_public_key_bytes(issuer).expect("a key");
        let details = signed.details.as_deref().expect("details");
        let signature = signed.signature.as_deref().expect("a signature");
        issuer.verify_signature(details, signature)
    }

    #[test]
    fn the_chain_verifies_from_the_root_to_the_static_key() {
        let identity =
            NoiseIdentity::generate(&mut StdRng::seed_from_u64(1), 1_800_000_000).expect("keys");
        let chain = wa::CertChain::decode_from_slice(&identity.chain).expect("a chain");
        let intermediate = chain.intermediate.as_option().expect("an intermediate");
        let leaf = chain.leaf.as_option().expect("a leaf");
        let details = |certificate: &wa::cert_chain::NoiseCertificate| {
            let bytes = certificate.details.as_deref().expect("details");
            noise_certificate::Details::decode_from_slice(bytes).expect("details")
        };
        let (upper, lower) = (details(intermediate), details(leaf));
        assert!(verified(&identity.root, intermediate));
        assert!(verified(upper.key.as_deref().expect("a key"), leaf));
        assert_eq!(
            lower.key.as_deref(),
            Some(&key_bytes(&identity.static_keys)[..])
        );
        assert_eq!(lower.issuer_serial, upper.serial);
        assert_eq!(
            upper.issuer_serial,
            Some(0),
            "present on the wire although zero"
        );
    }
}
