//! The only importer of whatsapp-rust and wacore: its runtime, transport, HTTP client and storage
//! traits on ours, and its messages translated into ours and back.
//!
//! The rest of the house knows a [`Session`]: something that runs, says what happens to it
//! ([`SessionNews`]) and sends.

mod acks;
mod backend;
mod chats;
mod convert;
mod files;
mod history;
mod http;
mod inbound;
mod news;
mod runtime;
mod session;
mod silence;
mod transport;

pub use backend::Backend;
pub use convert::outgoing::{Context, Showing};
pub use files::FetchFailure;
pub use http::SurfHttpClient;
#[cfg(feature = "fuzzing")]
pub use inbound::fuzzing;
pub use news::SessionNews;
pub use runtime::{SmolRuntime, TRANSFERS};
pub use session::{
    Ack, Content, MediaPolicy, PairingCode, SendFailure, Session, SessionError, Wiring,
    new_message_id,
};
pub use silence::Patience;
pub use transport::WsTransportFactory;
