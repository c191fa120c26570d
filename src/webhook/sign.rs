//! The signature of a delivery, by Standard Webhooks 1.0 (<https://www.standardwebhooks.com>). Pure.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The prefix of a secret in base64.
const PREFIX: &str = "whsec_";

/// The secret begins with `whsec_`, but base64 does not follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the secret is not base64")]
pub struct BadSecret;

/// The key of a secret: after `whsec_` decoded base64, otherwise its bytes.
///
/// # Errors
/// [`BadSecret`]
pub fn key(secret: &str) -> Result<Vec<u8>, BadSecret> {
    match secret.strip_prefix(PREFIX) {
        Some(encoded) => STANDARD.decode(encoded).map_err(|_| BadSecret),
        None => Ok(secret.as_bytes().to_vec()),
    }
}

/// The header `webhook-signature`: `v1,<base64>` over id, Unix seconds and body.
///
/// # Errors
/// [`BadSecret`]
pub fn signature(secret: &str, id: &str, seconds: u64, body: &str) -> Result<String, BadSecret> {
    // Never fails: HMAC takes keys of any length.
    let mut mac = Hmac::<Sha256>::new_from_slice(&key(secret)?).map_err(|_| BadSecret)?;
    for part in [id, ".", &seconds.to_string(), ".", body] {
        mac.update(part.as_bytes());
    }
    let tag = mac.finalize().into_bytes();
    Ok(format!("v1,{}", STANDARD.encode(tag)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The test vector of the reference libraries.
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const SECONDS: u64 = 1_614_265_330;
    const BODY: &str = "{\"test\": 2432232314}";

    #[test]
    fn the_test_vector_matches() {
        assert_eq!(
            signature("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", ID, SECONDS, BODY).unwrap(),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }

    #[test]
    fn secrets_without_the_prefix_are_raw_keys() {
        let plain = signature("secret", ID, SECONDS, BODY).unwrap();
        assert_eq!(
            signature("whsec_c2VjcmV0", ID, SECONDS, BODY).unwrap(),
            plain
        );
        assert_eq!(
            signature("whsec_no base64", ID, SECONDS, BODY),
            Err(BadSecret)
        );
    }
}
