//! The passkey that WhatsApp asks some accounts for when a device is linked: the client's events about it, and the
//! steps that the client takes for it.
//!
//! The client has the protocol (whatsapp-rust `passkey::flow`): it commits to a nonce beside its ephemeral key, shows
//! the assertion, agrees with the phone on a code and a key, and sends its keys under that. This module asks it to, one step
//! at a time; where the account stands is `account::passkey`'s.

use std::time::Duration;

use whatsapp_rust::Client;
use whatsapp_rust::passkey::{Assertion, PasskeyError, build_webauthn_assertion_json};

use super::error::SessionError;

use crate::sync::within;

/// How long WhatsApp may take for one step: shorter than the usual time for a request.
const STEP: Duration = Duration::from_secs(20);

/// An event about a passkey.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PasskeyNews {
    /// WhatsApp asks for one: the JSON of `PublicKeyCredentialRequestOptions`, as it came.
    Asked { options: String },
    /// The phone has answered: it shows this code (`XXXX-XXXX`) too.
    Code(String),
    /// It came to nothing, in words; the connection is of no more use for it.
    Failed(String),
}

/// What an authenticator has answered, checked.
#[derive(Clone, PartialEq, Eq)]
pub struct PasskeyAnswer {
    pub credential_id: Vec<u8>,
    pub client_data: Vec<u8>,
    pub authenticator_data: Vec<u8>,
    pub signature: Vec<u8>,
    pub user_handle: Option<Vec<u8>>,
}

/// Shows WhatsApp the authenticator's answer.
///
/// # Errors
/// [`SessionError::PairingRefused`] if WhatsApp does not accept it, which leaves the challenge as it was;
/// [`SessionError::Passkey`] in words if it cannot be reached.
pub async fn show(client: &Client, answer: &PasskeyAnswer) -> Result<(), SessionError> {
    let assertion = Assertion {
        assertion_json: build_webauthn_assertion_json(
            &answer.credential_id,
            &answer.client_data,
            &answer.authenticator_data,
            &answer.signature,
            answer.user_handle.as_deref(),
        ),
        credential_id: answer.credential_id.clone(),
    };
    let words = "WhatsApp does not accept this answer of the passkey: perhaps it is of another \
                 account, or too late. Make a new one, or give up and scan a new QR code";
    in_time(client.send_passkey_response(assertion), words).await
}

/// Tells WhatsApp that both sides show the same code, and sends it the keys of this device.
///
/// # Errors
/// As for [`show`]; the exchange is over then.
pub async fn confirm(client: &Client) -> Result<(), SessionError> {
    let words = "WhatsApp does not let this device in: the phone did not accept its keys";
    in_time(client.send_passkey_confirmation(), words).await
}

async fn in_time(
    step: impl Future<Output = Result<(), PasskeyError>>,
    refused: &'static str,
) -> Result<(), SessionError> {
    match within(STEP, step).await {
        Some(done) => done.map_err(|error| failure(&error, refused)),
        None => Err(SessionError::Passkey(
            "WhatsApp did not answer in time".to_owned(),
        )),
    }
}

/// The client's words for a step that was taken before, or is being taken (`passkey::flow`).
const TWICE: [&str; 3] = [
    "is already in progress",
    "without an active session",
    "before the verification stage",
];

/// What the client says is text, also where it was WhatsApp's refusal.
fn failure(error: &PasskeyError, refused: &'static str) -> SessionError {
    let text = error.to_string();
    match refusal_in(&text) {
        Some(code) => SessionError::PairingRefused {
            code,
            words: refused,
        },
        None if TWICE.iter().any(|words| text.contains(words)) => SessionError::PasskeyTwice,
        None => SessionError::Passkey(text),
    }
}

/// The code of WhatsApp's refusal in the client's words (`wacore::request::IqError`).
fn refusal_in(text: &str) -> Option<u16> {
    let (_, rest) = text.split_once("server error response: code=")?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

/// Why an exchange failed that the client drives by itself, from the client's words.
pub fn failed_words(text: &str, after_answer: bool) -> String {
    let why = match refusal_in(text) {
        Some(code) => format!("WhatsApp refused it ({code})"),
        None => text.to_owned(),
    };
    match after_answer {
        true => format!("the phone and this device could not agree: {why}"),
        false => format!("WhatsApp asked for a passkey and did not say for which: {why}"),
    }
}

/// Why a pairing that the client gives up can never succeed with it, if that is so.
///
/// WhatsApp decides by the outer account type how the identity is authenticated, and by the signed device type how it
/// is signed; the client takes one for the other (whatsapp-rust #1439, #1440), which differ where an account of WhatsApp
/// Business is also on Meta's platform.
pub fn unlinkable(error: &str) -> Option<&'static str> {
    error.contains("signature-mismatch").then_some(
        "this WhatsApp Business account cannot be linked with this version of wildcat: the phone signs as \
         accounts do that are also on Meta's Business Platform (signature-mismatch). Unlink it there, or wait for \
         a newer version; then POST /accounts/:id/connect tries again",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_known_by_its_code() {
        let refused = PasskeyError::Flow(
            "passkey_prologue iq failed: passkey linking flow error: received a server error \
             response: code=401, text='no code=403'"
                .into(),
        );
        let refused = failure(&refused, "no");
        assert!(
            matches!(refused, SessionError::PairingRefused { code: 401, words } if words == "no"),
            "{refused}"
        );
        let twice = PasskeyError::Flow("confirmation without an active session".into());
        assert!(matches!(failure(&twice, "no"), SessionError::PasskeyTwice));
        let lost = PasskeyError::Flow("client is not connected".into());
        assert!(matches!(failure(&lost, "no"), SessionError::Passkey(_)));
        assert_eq!(refusal_in("server error response: code=x"), None);
    }
}
