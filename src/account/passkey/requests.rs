//! What the accounts are asked about their passkeys.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::{Challenge, Exchange, PasskeyView, Stage, Turn};
use crate::account::driver::Command;
use crate::account::registry::Accounts;
use crate::account::types::{AccountError, Status};
use crate::clock;
use crate::whatsapp::{Session, SessionError};

/// Why an answer is not taken.
const NOT_NOW: &str = "The passkey was shown to WhatsApp already";
const NO_CODE: &str = "There is no code to confirm yet: the phone has not answered";
const CONFIRMED: &str = "The code was confirmed already";

impl Accounts {
    /// What is asked for, and what to do.
    ///
    /// # Errors
    /// [`AccountError::NotFound`] or [`AccountError::NoPasskey`].
    pub fn passkey(&self, id: &str) -> Result<PasskeyView, AccountError> {
        let (exchange, _) = self.exchange(id)?;
        Ok(exchange.view(id, clock::ticks()))
    }

    /// The challenge that waits for its answer.
    ///
    /// # Errors
    /// [`AccountError::NotFound`], [`AccountError::NoPasskey`], or [`AccountError::PasskeyNotNow`] once it was
    /// answered.
    pub fn passkey_challenge(&self, id: &str) -> Result<Arc<Challenge>, AccountError> {
        let (exchange, _) = self.exchange(id)?;
        match exchange.stage {
            Stage::Asked => Ok(exchange.challenge),
            Stage::Answered | Stage::Code(_) | Stage::Confirmed => {
                Err(AccountError::PasskeyNotNow(NOT_NOW))
            }
        }
    }

    /// Shows WhatsApp the answer of a passkey, as `PublicKeyCredential.toJSON()` gives it. It goes on when the
    /// caller leaves.
    ///
    /// # Errors
    /// As for [`Accounts::passkey_challenge`]; [`AccountError::BadAssertion`] if it does not answer the challenge,
    /// WhatsApp's refusal, or that WhatsApp cannot be reached.
    pub async fn answer_passkey(
        &self,
        id: &str,
        credential: &Map<String, Value>,
    ) -> Result<PasskeyView, AccountError> {
        let challenge = self.passkey_challenge(id)?;
        let answer = challenge
            .answer(credential)
            .map_err(|bad| AccountError::BadAssertion {
                field: bad.field,
                expected: bad.expected,
            })?;
        let (_, session) = self.exchange(id)?;
        let (accounts, owned) = (self.clone(), id.to_owned());
        self.whole(async move {
            session.show_passkey(&answer).await.map_err(refusal)?;
            accounts.passkey_turn(&owned, Turn::Answered).await
        })
        .await?;
        self.passkey(id)
    }

    /// Tells WhatsApp that phone and caller see the same code. It goes on when the caller leaves.
    ///
    /// # Errors
    /// [`AccountError::NotFound`], [`AccountError::NoPasskey`], [`AccountError::PasskeyNotNow`] while there is no code,
    /// or what WhatsApp says: the exchange is over then.
    pub async fn confirm_passkey(&self, id: &str) -> Result<Status, AccountError> {
        let (exchange, session) = self.exchange(id)?;
        match exchange.stage {
            Stage::Code(_) => {}
            Stage::Asked | Stage::Answered => return Err(AccountError::PasskeyNotNow(NO_CODE)),
            Stage::Confirmed => return Err(AccountError::PasskeyNotNow(CONFIRMED)),
        }
        let (accounts, owned) = (self.clone(), id.to_owned());
        self.whole(async move {
            // Before it is sent: WhatsApp links the device as soon as it has the keys.
            let status = accounts.passkey_turn(&owned, Turn::Confirmed).await?;
            if let Err(error) = session.confirm_passkey().await {
                if matches!(error, SessionError::PasskeyTwice) {
                    return Err(AccountError::PasskeyNotNow(CONFIRMED));
                }
                let error = refusal(error);
                let turn = Turn::Failed(error.to_string());
                accounts.passkey_turn(&owned, turn).await?;
                return Err(error);
            }
            Ok(status)
        })
        .await
    }

    /// Gives an exchange up: a new QR code follows.
    ///
    /// # Errors
    /// [`AccountError::NotFound`] or [`AccountError::NoPasskey`].
    pub async fn give_passkey_up(&self, id: &str) -> Result<Status, AccountError> {
        self.exchange(id)?;
        self.passkey_turn(id, Turn::GivenUp).await
    }

    async fn passkey_turn(&self, id: &str, turn: Turn) -> Result<Status, AccountError> {
        self.ask(id, |answer| Command::Passkey(turn, answer)).await
    }

    fn exchange(&self, id: &str) -> Result<(Exchange, Arc<Session>), AccountError> {
        let live = self.handle(id)?.live.get();
        let status = live.status;
        match (live.passkey, live.session) {
            (Some(exchange), Some(session)) => Ok((exchange, session)),
            _ => Err(AccountError::NoPasskey { status }),
        }
    }
}

fn refusal(error: SessionError) -> AccountError {
    match error {
        SessionError::PairingRefused { code, words } => {
            AccountError::PairingRefused { code, words }
        }
        SessionError::PasskeyTwice => AccountError::PasskeyNotNow(NOT_NOW),
        SessionError::Passkey(_) | SessionError::Setup(_) | SessionError::PairingCode(_) => {
            AccountError::Session(error.to_string())
        }
    }
}
