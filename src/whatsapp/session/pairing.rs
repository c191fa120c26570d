//! Links the account with a phone: by a pairing code, or with a passkey.

use std::time::Duration;

use whatsapp_rust::pair_code::PairCodeOptions;
use whatsapp_rust::wacore::pair_code::PairCodeRejection;

use crate::clock::{self, Millis};
use crate::sync::within;

use super::Session;
use crate::whatsapp::error::SessionError;
use crate::whatsapp::passkey::{self, PasskeyAnswer};

/// How long a pairing code waits for the socket to WhatsApp, and then for the code.
const SOCKET_TIMEOUT: Duration = Duration::from_secs(10);
/// How long WhatsApp keeps a pairing code.
const PAIRING_CODE_LIFE: Millis = 180_000;

/// A code for "link with phone number".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairingCode {
    pub code: String,
    pub expires_at: Millis,
}

impl Session {
    /// Asks WhatsApp for a code to type on the phone of that number; an earlier code is withdrawn.
    ///
    /// # Errors
    /// When WhatsApp cannot be reached or refuses.
    pub async fn pairing_code(&self, phone: &str) -> Result<PairingCode, SessionError> {
        let failed = |e: String| SessionError::PairingCode(e);
        self.client
            .wait_for_socket(SOCKET_TIMEOUT)
            .await
            .map_err(|e| failed(e.to_string()))?;
        self.client.cancel_pair_code().await;
        let code = async {
            let options = PairCodeOptions {
                phone_number: phone.to_owned(),
                ..Default::default()
            };
            self.client
                .pair_with_code(options)
                .await
                .map_err(|e| match e.rejection() {
                    Some(rejection) => pairing_refused(rejection),
                    None => failed(e.to_string()),
                })
        };
        let code = within(SOCKET_TIMEOUT, code).await;
        let code = code.unwrap_or_else(|| Err(failed("WhatsApp did not answer in time".into())))?;
        Ok(PairingCode {
            code,
            expires_at: clock::now() + PAIRING_CODE_LIFE,
        })
    }

    /// Shows WhatsApp an authenticator's answer.
    ///
    /// # Errors
    /// As [`passkey::show`].
    pub async fn show_passkey(&self, answer: &PasskeyAnswer) -> Result<(), SessionError> {
        passkey::show(&self.client, answer).await
    }

    /// Confirms that phone and caller show the same code.
    ///
    /// # Errors
    /// As [`passkey::confirm`].
    pub async fn confirm_passkey(&self) -> Result<(), SessionError> {
        passkey::confirm(&self.client).await
    }
}

/// Why there is no pairing code.
fn pairing_refused(rejection: PairCodeRejection) -> SessionError {
    let words = match rejection {
        PairCodeRejection::BadRequest => {
            "WhatsApp gives no code for this number: it is wrong, or was tried too often (400)"
        }
        PairCodeRejection::Forbidden => "WhatsApp gives no code for this number (403)",
        PairCodeRejection::RateOverlimit => {
            "WhatsApp gives no code now: too many were asked for (429)"
        }
        PairCodeRejection::FeatureNotAvailable => {
            "WhatsApp does not link this account by phone number: scan the QR code (452)"
        }
        PairCodeRejection::InternalServerError => "WhatsApp cannot make a code now (500)",
        PairCodeRejection::Unknown(_) => "WhatsApp gives no code",
    };
    SessionError::PairingRefused {
        code: u16::try_from(rejection.code()).unwrap_or(500),
        words,
    }
}
