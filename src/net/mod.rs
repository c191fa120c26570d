//! The way out: TLS, TCP, HTTP requests and the WebSocket, all on smol and rustls.
//!
//! Nothing here knows WhatsApp. Certificates are always checked: there is no way around it.

pub mod chunked;
pub mod dial;
pub mod http;
pub(crate) mod inflate;
pub mod reach;
pub mod tls;
pub mod ws;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod ws_tests;
