//! Accounts: which there are, whether they are connected, and what each can be asked to do.
//!
//! [`Accounts`] is the registry. Each account has one driver (`driver`), the only owner of its
//! session and of its state machine (`machine`); other tasks see a snapshot (`live`) and send commands.

mod at_start;
mod backoff;
mod caller;
mod claims;
mod draft;
mod driver;
mod health;
mod limits;
mod listing;
mod live;
mod look_ups;
mod machine;
mod media;
mod messaging;
mod once;
mod outbox;
mod outdated;
mod pace;
mod passkey;
mod queue;
mod queued;
mod reach;
mod reachout;
mod recipient;
mod registry;
mod sender;
mod sending;
mod slots;
mod standings;
mod turns;
mod types;
mod usernames;
mod wiring;

pub use caller::Caller;
pub use claims::{Claim, Manner};
pub use health::AccountHealth;
pub use once::Turn;
pub use passkey::{Challenge, PasskeyView};
pub use registry::Accounts;
pub use types::*;
pub use wiring::Wiring;
