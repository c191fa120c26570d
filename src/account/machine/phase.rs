//! The phases of an account's connection, the machine's inputs and its actions.

use crate::account::passkey::{Progress, Turn};
use crate::clock::Millis;
use crate::whatsapp::{Ban, Outdated, Refusal};

/// Why no session runs and none is scheduled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stopped {
    /// Nothing has asked for one.
    NotStarted,
    /// `POST /disconnect`.
    ByRequest,
    /// The phone, or WhatsApp, ended the pairing; the words say which.
    LoggedOut(String),
    /// WhatsApp bars the account for a while, in words; the pairing is kept. At `until`, if that is known, it
    /// comes back once.
    Banned {
        words: String,
        until: Option<Millis>,
    },
    /// The QR codes expired unscanned.
    NotScanned,
    /// This version cannot link the account, in words.
    Unlinkable(String),
}

/// Why an account is not connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The connection was lost, or could not be made.
    ConnectionLost,
    /// Another program connected with the same pairing.
    Replaced,
    /// WhatsApp does not serve this client now.
    Refused,
    /// WhatsApp does not accept the claimed version.
    VersionRefused,
    /// The pairing is over.
    Unlinked,
    Banned,
    NotScanned,
    /// This version cannot link the account.
    Unlinkable,
}

impl Reason {
    /// The word that the API shows.
    pub fn name(self) -> &'static str {
        match self {
            Reason::ConnectionLost => "connection_lost",
            Reason::Replaced => "replaced",
            Reason::Refused => "refused",
            Reason::VersionRefused => "version_refused",
            Reason::Unlinked => "unlinked",
            Reason::Banned => "banned",
            Reason::NotScanned => "code_not_scanned",
            Reason::Unlinkable => "unlinkable",
        }
    }
}

/// The phase of the account's connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    Stopped(Stopped),
    /// A session runs and is not logged in yet.
    Connecting {
        /// The QR code on show, once WhatsApp has given one.
        qr: Option<String>,
    },
    Connected,
    /// No session runs; the next one is due at `until`.
    Waiting {
        until: Millis,
    },
    /// The session is closing, by request.
    Closing {
        /// Asked for again meanwhile: runs once more after the end.
        again: bool,
    },
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Start, by request.
    Connect,
    /// Start at that time, because the server starts.
    Start(Millis),
    /// Stop by request, keep the pairing.
    Disconnect,
    /// The pause is over.
    Due,
    /// A QR code that replaces the one before.
    Qr(String),
    /// The codes of this connection are used up.
    QrExhausted,
    /// WhatsApp asks for a passkey, and how that goes on.
    Passkey(Turn),
    /// This version cannot link the account, in words.
    Unlinkable(String),
    /// The phone accepted this device.
    Paired,
    /// Logged in and in sync: messages flow.
    LoggedIn,
    /// Logged in, messages flow; what is missing, in words.
    Usable(&'static str),
    /// The pairing is over, in words.
    LoggedOut(String),
    /// WhatsApp does not accept the version of WhatsApp Web that was claimed.
    Outdated(Outdated),
    /// WhatsApp bars this account for a while.
    Banned(Ban),
    /// When a ban ends is known better: the clock was set.
    BanEnds(Millis),
    /// WhatsApp does not serve this client now.
    Unwelcome(Refusal),
    /// Another program opened the same account.
    Replaced,
    /// The session's run is over; why, if it is known.
    Ended(Option<String>),
}

/// What the driver has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Run a session now.
    Run,
    /// Send [`Input::Due`] at that time.
    Wake(Millis),
    /// End the session that runs; [`Input::Ended`] follows.
    Close,
    /// Forget the keys: the next session pairs anew.
    Forget,
    /// Store whether this account connects at a restart.
    Want(bool),
    /// Store that no session runs at a restart, and why.
    Ended(Ending),
    /// Show this QR code, once.
    ShowQr(String),
    /// Append an event about the progress with a passkey.
    ReportPasskey(Progress),
    /// Log that an account that was never paired cannot reach WhatsApp, for this reason.
    Warn(String),
}

/// Why an account's sessions ended until a request starts a new one, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// The keys are worthless now.
    PairingOver(String),
    /// The keys are still good.
    Banned(Ban),
}
