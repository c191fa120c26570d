//! The only importer of whatsapp-rust and wacore: its runtime, transport, HTTP client and storage
//! traits on ours, and its messages translated into ours and back.
//!
//! The rest of the house knows a [`Session`]: something that runs, says what happens to it
//! ([`SessionNews`]) and sends.

mod acks;
mod backend;
mod convert;
mod http;
mod inbound;
mod news;
mod runtime;
mod session;
mod transport;

pub use backend::Backend;
pub use http::SurfHttpClient;
pub use news::SessionNews;
pub use runtime::SmolRuntime;
pub use session::{Ack, PairingCode, SendFailure, Session, SessionError, Text, Wiring};
pub use transport::WsTransportFactory;
