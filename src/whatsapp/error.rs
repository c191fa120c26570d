//! Why a session could not do what it was asked.

use whatsapp_rust::anyhow;

/// Why a message did not go, as far as that is known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendFailure {
    /// Nothing was sent.
    #[error("not connected")]
    NotConnected,
    /// The server refused it, with its code.
    #[error("{words}")]
    Refused { code: Option<u16>, words: String },
    /// Nothing was sent: the server is in trouble, or was asked too much, by its code.
    #[error("{words}")]
    Later { code: u16, words: String },
    /// It was on its way, and no ack came: it may have arrived or not.
    #[error("no acknowledgement")]
    NoAck,
    /// Nothing was sent, for this reason.
    #[error("{0}")]
    Other(String),
}

/// A session that could not be set up, or could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    #[error("the session could not be set up: {0}")]
    Setup(#[source] anyhow::Error),
    #[error("no pairing code: {0}")]
    PairingCode(String),
    /// The passkey was shown already, or its code confirmed.
    #[error("the passkey is on its way already")]
    PasskeyTwice,
    /// A passkey could not be shown, or its code confirmed.
    #[error("the passkey: {0}")]
    Passkey(String),
    /// WhatsApp does not link this device, or gives no pairing code for this number, or not now, by its code.
    #[error("{words}")]
    PairingRefused { code: u16, words: &'static str },
}
