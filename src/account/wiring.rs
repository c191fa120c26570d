//! What every account is built from.

use std::sync::Arc;

use super::previews::Previews;
use crate::media::{Files, Space, Spool};
use crate::runtime::Executor;
use crate::store::Store;
use crate::whatsapp::{MediaPolicy, SessionConfig};

/// Shared by all accounts.
pub struct Wiring {
    pub store: Store,
    pub executor: Arc<Executor>,
    /// Files that are received or prepared.
    pub spool: Spool,
    pub previews: Previews,
    /// Where the media of messages stay.
    pub files: Files,
    /// Notified of each stored file.
    pub space: Space,
    pub media: MediaPolicy,
    pub session: SessionConfig,
    /// Called with an account's id and its QR code, and whether it is the first one since the status changed.
    /// It must not block.
    pub on_qr: fn(&str, &str, bool),
}
