//! Accounts: which there are, whether they are connected, and what each can be asked to do.
//!
//! [`Accounts`] is the registry. Each account has one driver (`driver`), the only owner of its
//! session and of its state machine (`machine`); other tasks see a snapshot (`live`) and send commands.

mod album;
mod at_start;
mod audience;
mod backoff;
mod call_link;
mod caller;
mod calls;
mod chats;
mod checking;
mod claims;
mod communities;
mod contact_limiter;
mod contact_limits;
mod draft;
mod driver;
mod forwarding;
mod group_members;
mod group_names;
mod groups;
mod health;
mod idempotency;
mod listing;
mod live;
mod look_ups;
mod machine;
mod media;
mod messaging;
mod outbox;
mod outbox_requests;
mod outdated;
mod own_state;
mod pace;
mod page;
mod passkey;
mod paused_contacts;
mod people;
mod presence;
mod preview;
mod previews;
mod profile;
mod queue;
mod reading;
mod recipient;
mod registrations;
mod registry;
mod sender;
mod sending;
mod slots;
mod timer;
mod to_all;
mod turns;
mod types;
mod typing;
mod usernames;
mod wake;
mod wiring;

pub use caller::Caller;
pub use claims::{DeliveryOptions, IdempotencyClaim};
pub use communities::{Community, LinkResult};
pub use group_members::{JoinRequest, MemberResult};
pub use groups::{GroupView, Joining};
pub use health::AccountHealth;
pub use idempotency::Turn;
pub use passkey::{Challenge, PasskeyView};
pub use previews::{Previews, TIME as PREVIEW_TIME};
pub use profile::ProfileChange;
pub use registry::Accounts;
pub use to_all::Addressed;
pub use types::*;
pub use wiring::Wiring;

pub use crate::whatsapp::ChatState;
