//! A software passkey: the answer of a browser and its authenticator to a WebAuthn `get`.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// The person is there, and was verified.
const FLAGS: u8 = 0b101;

/// One credential of one site.
pub struct Authenticator {
    id: Vec<u8>,
    key: EcdsaKeyPair,
    random: SystemRandom,
}

impl Authenticator {
    pub fn new(id: &[u8]) -> Authenticator {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("a key");
        let key = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).expect("a key");
        Authenticator {
            id: id.to_vec(),
            key,
            random,
        }
    }

    /// What the account has to know of it.
    pub fn registration(&self) -> Value {
        json!({
            "credentialId": encoded(&self.id),
            "publicKey": encoded(self.key.public_key().as_ref()),
        })
    }

    /// Answers `{"publicKey": …}`, on a page of that origin.
    pub fn get(&self, options: &Value, origin: &str) -> Value {
        let options = &options["publicKey"];
        let site = options["rpId"].as_str().expect("a site");
        let client = json!({
            "type": "webauthn.get",
            "challenge": options["challenge"],
            "origin": origin,
            "crossOrigin": false,
        })
        .to_string();
        let mut data = Sha256::digest(site).to_vec();
        data.push(FLAGS);
        data.extend([0, 0, 0, 0]);
        let signed = [&data[..], &Sha256::digest(&client)].concat();
        let signature = self.key.sign(&self.random, &signed).expect("signed");
        json!({
            "id": encoded(&self.id),
            "rawId": encoded(&self.id),
            "type": "public-key",
            "authenticatorAttachment": "platform",
            "clientExtensionResults": {},
            "response": {
                "clientDataJSON": encoded(client.as_bytes()),
                "authenticatorData": encoded(&data),
                "signature": encoded(signature.as_ref()),
                "userHandle": encoded(b"somebody"),
            },
        })
    }
}

fn encoded(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}
