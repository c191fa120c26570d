//! WebAuthn, as far as it concerns a relying party that is not here: what WhatsApp asks for is read, and an
//! authenticator's answer is looked at before it is shown to WhatsApp, so that what was pasted wrongly is said in
//! words. Whether the signature is right only WhatsApp knows, which has the public key.

use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::{Challenge, LIFE, MAX_OPTIONS, USUAL_LIFE};
use crate::whatsapp::PasskeyAnswer;

/// WhatsApp Web's origin: the relying party of a passkey whose challenge names none.
const SITE: &str = "web.whatsapp.com";
/// Bytes of an authenticator's data at least: the site's hash, flags, a counter.
const MIN_DATA: usize = 37;
/// The longest binary field, in bytes; authenticators' are far shorter.
const MAX_FIELD: usize = 8_192;
/// Of the flags: user present; user verified.
const PRESENT: u8 = 1;
const VERIFIED: u8 = 4;

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);

/// A part of an answer that is not as it must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadPart {
    pub field: &'static str,
    pub expected: &'static str,
}

/// base64url, or plain base64, with or without padding.
fn decoded(text: &str) -> Option<Vec<u8>> {
    let is_plain = text.contains(['+', '/']);
    let alphabet = if is_plain { &STANDARD } else { &URL_SAFE };
    GeneralPurpose::new(alphabet, LENIENT)
        .decode(text.trim())
        .ok()
}

impl Challenge {
    /// Reads the JSON of WhatsApp's `PublicKeyCredentialRequestOptions`.
    ///
    /// # Errors
    /// If it is none, in words.
    pub fn parse(json: &str) -> Result<Challenge, String> {
        let bad = |what: &str| format!("WhatsApp asked for a passkey with {what}");
        if json.len() > MAX_OPTIONS {
            return Err(bad("options that are too long"));
        }
        let options: Map<String, Value> =
            serde_json::from_str(json).map_err(|_| bad("options that are no JSON object"))?;
        let challenge = options
            .get("challenge")
            .and_then(Value::as_str)
            .and_then(decoded)
            .filter(|challenge| !challenge.is_empty())
            .ok_or_else(|| bad("no challenge"))?;
        let rp_id = match options.get("rpId") {
            None | Some(Value::Null) => SITE.to_owned(),
            Some(Value::String(id)) => id.clone(),
            Some(_) => return Err(bad("a relying party that is no text")),
        };
        let mut allowed = Vec::new();
        if let Some(Value::Array(credentials)) = options.get("allowCredentials") {
            for credential in credentials {
                let id = credential.get("id").and_then(Value::as_str);
                let id = id
                    .and_then(decoded)
                    .ok_or_else(|| bad("a credential without an id"))?;
                allowed.push(id);
            }
        }
        let life = options.get("timeout").and_then(Value::as_u64);
        Ok(Challenge {
            challenge,
            rp_id,
            allowed,
            must_verify: options.get("userVerification").and_then(Value::as_str)
                == Some("required"),
            life: life.unwrap_or(USUAL_LIFE).clamp(*LIFE.start(), *LIFE.end()),
            options,
        })
    }

    /// The options as they are handed on.
    pub fn options(&self) -> &Map<String, Value> {
        &self.options
    }

    /// The site on which a browser may answer.
    pub fn site(&self) -> &'static str {
        SITE
    }

    /// Reads a `PublicKeyCredential` as `toJSON()` gives it, and looks whether it answers this challenge.
    ///
    /// # Errors
    /// What of it is not as it must be.
    pub fn answer(&self, credential: &Map<String, Value>) -> Result<PasskeyAnswer, BadPart> {
        let bad = |field, expected| BadPart { field, expected };
        let response = credential.get("response").and_then(Value::as_object);
        let response = response.ok_or(bad(
            "response",
            "an object: paste all that the browser gave",
        ))?;
        if credential
            .get("type")
            .is_some_and(|kind| kind != "public-key")
        {
            return Err(bad("type", "public-key"));
        }
        let binary = |within: &Map<String, Value>, name: &str, field| {
            let text = within.get(name).and_then(Value::as_str);
            text.and_then(decoded)
                .filter(|bytes| (1..=MAX_FIELD).contains(&bytes.len()))
                .ok_or(bad(field, "text in base64url"))
        };
        let credential_id = match credential.contains_key("rawId") {
            true => binary(credential, "rawId", "rawId")?,
            false => binary(credential, "id", "id")?,
        };
        let client_data = binary(response, "clientDataJSON", "response.clientDataJSON")?;
        let authenticator_data =
            binary(response, "authenticatorData", "response.authenticatorData")?;
        let signature = binary(response, "signature", "response.signature")?;
        let user_handle = match response.get("userHandle") {
            None | Some(Value::Null) => None,
            Some(_) => Some(binary(response, "userHandle", "response.userHandle")?),
        };
        if !self.allowed.is_empty() && !self.allowed.contains(&credential_id) {
            return Err(bad(
                "rawId",
                "one of the credentials that WhatsApp asks for",
            ));
        }
        self.check_client(&client_data)?;
        self.check_data(&authenticator_data)?;
        Ok(PasskeyAnswer {
            credential_id,
            client_data,
            authenticator_data,
            signature,
            user_handle,
        })
    }

    fn check_client(&self, client_data: &[u8]) -> Result<(), BadPart> {
        let bad = |expected| BadPart {
            field: "response.clientDataJSON",
            expected,
        };
        let client: Map<String, Value> =
            serde_json::from_slice(client_data).map_err(|_| bad("what a browser says: JSON"))?;
        let text = |name: &str| client.get(name).and_then(Value::as_str).unwrap_or_default();
        if text("type") != "webauthn.get" {
            return Err(bad("of navigator.credentials.get"));
        }
        if decoded(text("challenge")).as_ref() != Some(&self.challenge) {
            return Err(bad(
                "for the challenge that WhatsApp asks now: this is an answer to another one. Open the \
                 guide again",
            ));
        }
        let host = text("origin").strip_prefix("https://").unwrap_or_default();
        let is_below = host
            .strip_suffix(self.rp_id.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
        if !is_below {
            return Err(bad(
                "made on https://web.whatsapp.com: open that page first",
            ));
        }
        Ok(())
    }

    fn check_data(&self, data: &[u8]) -> Result<(), BadPart> {
        let bad = |expected| BadPart {
            field: "response.authenticatorData",
            expected,
        };
        let (Some(site), Some(flags)) = (data.get(..32), data.get(32)) else {
            return Err(bad("at least 37 bytes long"));
        };
        if data.len() < MIN_DATA {
            return Err(bad("at least 37 bytes long"));
        }
        if site != &Sha256::digest(self.rp_id.as_bytes())[..] {
            return Err(bad("of WhatsApp's passkey: this is one for another site"));
        }
        if flags & PRESENT == 0 || (self.must_verify && flags & VERIFIED == 0) {
            return Err(bad(
                "of an authenticator that has verified its user, by PIN or fingerprint",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::challenge;
    use super::*;
    use base64::engine::general_purpose::{STANDARD as PLAIN, URL_SAFE_NO_PAD};
    use serde_json::json;

    fn client(kind: &str, challenge: &str, origin: &str) -> String {
        let client = json!({"type": kind, "challenge": challenge, "origin": origin});
        URL_SAFE_NO_PAD.encode(client.to_string())
    }

    fn data(site: &str, flags: u8) -> String {
        let mut data = Sha256::digest(site).to_vec();
        data.push(flags);
        data.extend([0; 4]);
        URL_SAFE_NO_PAD.encode(data)
    }

    fn good() -> Value {
        json!({
            "id": "AQID",
            "rawId": "AQID",
            "type": "public-key",
            "authenticatorAttachment": "cross-platform",
            "clientExtensionResults": {},
            "response": {
                "clientDataJSON": client("webauthn.get", "AAECAwQFBgcICQoLDA0ODw", "https://web.whatsapp.com"),
                "authenticatorData": data("whatsapp.com", PRESENT | VERIFIED),
                "signature": "_-8",
                "userHandle": null,
            },
        })
    }

    fn read(answer: &Value) -> Result<PasskeyAnswer, BadPart> {
        challenge(600_000).answer(answer.as_object().expect("an object"))
    }

    #[test]
    fn a_browsers_answer_is_read_in_either_alphabet() {
        let answer = read(&good()).map_err(|bad| bad.field).expect("an answer");
        assert_eq!(answer.credential_id, [1, 2, 3]);
        assert_eq!(answer.signature, [0xff, 0xef]);
        assert_eq!(answer.user_handle, None);
        let mut plain = good();
        plain["response"]["signature"] = PLAIN.encode([0xff, 0xef]).into();
        plain["response"]["userHandle"] = "AQ==".into();
        let answer = read(&plain).map_err(|bad| bad.field).expect("an answer");
        assert_eq!(answer.signature, [0xff, 0xef]);
        assert_eq!(answer.user_handle, Some(vec![1]));
    }

    #[test]
    fn what_was_pasted_wrongly_is_named() {
        let site = "https://web.whatsapp.com";
        let right = "AAECAwQFBgcICQoLDA0ODw";
        let both = PRESENT | VERIFIED;
        for (pointer, value, field) in [
            ("/response", json!("x"), "response"),
            ("/type", json!("password"), "type"),
            ("/rawId", json!(5), "rawId"),
            ("/rawId", json!(""), "rawId"),
            ("/response/signature", json!("*"), "response.signature"),
            (
                "/response/signature",
                json!("A".repeat(12_000)),
                "response.signature",
            ),
            ("/response/userHandle", json!(1), "response.userHandle"),
            (
                "/response/clientDataJSON",
                json!("AQID"),
                "response.clientDataJSON",
            ),
            (
                "/response/clientDataJSON",
                json!(client("webauthn.create", right, site)),
                "response.clientDataJSON",
            ),
            (
                "/response/clientDataJSON",
                json!(client("webauthn.get", "AAEC", site)),
                "response.clientDataJSON",
            ),
            (
                "/response/clientDataJSON",
                json!(client("webauthn.get", right, "https://evilwhatsapp.com")),
                "response.clientDataJSON",
            ),
            (
                "/response/clientDataJSON",
                json!(client("webauthn.get", right, "http://web.whatsapp.com")),
                "response.clientDataJSON",
            ),
            (
                "/response/authenticatorData",
                json!(data("example.com", both)),
                "response.authenticatorData",
            ),
            (
                "/response/authenticatorData",
                json!(data("whatsapp.com", PRESENT)),
                "response.authenticatorData",
            ),
            (
                "/response/authenticatorData",
                json!("AQID"),
                "response.authenticatorData",
            ),
        ] {
            let mut answer = good();
            *answer.pointer_mut(pointer).expect("a part") = value.clone();
            let named = read(&answer).map(|_| ()).map_err(|bad| bad.field);
            assert_eq!(named, Err(field), "{pointer} {value}");
        }
    }

    #[test]
    fn only_credentials_that_are_asked_for_answer() {
        let options = r#"{"challenge": "AAECAwQFBgcICQoLDA0ODw", "rpId": "whatsapp.com",
            "allowCredentials": [{"type": "public-key", "id": "CQ"}]}"#;
        let challenge = Challenge::parse(options).expect("a challenge");
        let good = good();
        let answer = challenge.answer(good.as_object().expect("an object"));
        assert_eq!(answer.map(|_| ()).map_err(|bad| bad.field), Err("rawId"));
    }
}
