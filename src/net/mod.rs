//! Outgoing connections: TCP, TLS, HTTP requests and the WebSocket, on smol and rustls.
//!
//! Nothing here depends on WhatsApp. Every TLS connection checks the server's certificate.

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
