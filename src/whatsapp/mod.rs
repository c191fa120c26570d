//! The only importer of whatsapp-rust and wacore: its runtime, transport, HTTP client and storage
//! traits on ours, and its messages translated into ours and back.
//!
//! The rest of the house knows a [`Session`]: something that runs, says what happens to it
//! ([`SessionNews`]) and sends.

mod acks;
mod arrival;
mod backend;
mod blocklist;
mod calls;
mod chats;
mod codes;
mod convert;
mod download;
mod durable;
mod error;
mod facts;
mod farewell;
mod files;
mod groups;
mod guard;
mod handler;
mod history;
mod holdback;
mod http;
mod inbound;
mod lost;
mod news;
mod outgoing;
mod pace;
mod passkey;
mod presence;
mod privacy;
mod refusal;
mod remote;
mod repair;
mod restriction;
mod runtime;
mod seen;
mod session;
mod silence;
mod stale;
mod transport;
mod typing;
mod usernames;
mod version;
mod watched;

use whatsapp_rust::wacore::time::{TimeProvider, set_time_provider};

use crate::clock;

pub use acks::Ack;
pub use backend::Backend;
pub use backend::tc_tokens::is_trusted;
pub use calls::CallPolicy;
pub use chats::clear as clear_chat;
pub use convert::again as read_again;
pub use error::{SendFailure, SessionError};
pub use facts::{Business, Facts, Picture};
pub use farewell::{Ban, Refusal, Rest, spoken};
pub use files::FetchFailure;
pub use groups::Outcome as MemberOutcome;
pub use http::SurfHttpClient;
#[cfg(feature = "fuzzing")]
pub use inbound::fuzzing;
pub use news::SessionNews;
pub use passkey::{PasskeyAnswer, PasskeyNews};
pub use presence::{Online, Presence};
pub use refusal::unwritable;
pub use restriction::{Answer, Limit, LimitStatus};
pub use runtime::{SmolRuntime, UPLOADS};
pub use session::chats::ChatAct;
pub use session::pairing::PairingCode;
pub use session::people::Registration;
pub use session::send::{Audience, new_message_id};
pub use session::{MediaPolicy, Session, SessionConfig};
pub use silence::Patience;
pub use transport::WsTransportFactory;
pub use typing::ChatState;
pub use usernames::NameHolder;
pub use version::{Outdated, Versions};
pub use watched::{SUBSCRIPTIONS, Shown};

/// The client's module that says at each attempt, for days, that it cannot connect. The account's driver
/// says it once, and why.
pub const NOISY: &str = "whatsapp_rust::client::lifecycle";

/// The client's module that says with each warning the address of a file, and the media token in it.
pub const TELLING: &str = "whatsapp_rust::download";

/// What the clients take for the time.
struct ServerTime;

impl TimeProvider for ServerTime {
    fn now_millis(&self) -> i64 {
        i64::try_from(clock::now()).unwrap_or(i64::MAX)
    }
}

/// Gives the clients the server's time, which holds when the system's clock jumps. To be called before
/// the first of them is made.
pub fn use_server_time() {
    // A second server of a process finds it set.
    let _ = set_time_provider(ServerTime);
}
