//! wildcat: WhatsApp accounts over HTTP, small enough for a Raspberry Pi.
//!
//! # The map
//!
//! | Module | What it is |
//! |---|---|
//! | [`args`], [`settings`] | the command line; every setting and limit |
//! | [`runtime`] | the executor, the supervisor of its tasks, the timing of its steps, the shutdown signal |
//! | [`clock`] | the only caller of the system's clocks; the server's time, which does not follow their jumps |
//! | [`metrics`] | counters of the server's work, for `GET /metrics` |
//! | [`text`] | escapes untrusted text for logs and terminals |
//! | [`sync`] | locks that survive a panic; a time limit for a future |
//! | [`keys`] | the keys of the API, stored as hashes in a file |
//! | [`jid`] | parses recipients into a canonical form |
//! | [`fields`] | requests as types: how a field is read, checked and described |
//! | [`message`] | one file a kind of message: its fields, how it is stored and shown |
//! | [`event`] | the events of the log, shared by webhooks and all other readers |
//! | [`store`] | LMDB: the only importer of heed; group commit on its own thread |
//! | [`ledger`] | records what happens to an account: its tables and its event, in one transaction |
//! | [`net`] | outgoing connections: TLS, the HTTP client, the WebSocket |
//! | [`whatsapp`] | the only importer of whatsapp-rust: its runtime, transport and storage traits on this crate |
//! | [`media`] | detects and converts files for WhatsApp; the folders of files |
//! | [`account`] | the registry, a pure state machine for each account, and its driver |
//! | [`webhook`] | deliveries, each a reader of the event log with its own cursor |
//! | [`api`] | the only importer of tide: the REST API |
//! | [`web`] | the web page: static files, joined and compressed by the build |
//! | [`archive`] | backup, restore and export of a data directory |
//! | [`maintenance`] | removes messages and files beyond the limits; probes a full disk; applies steps of the clock |
//! | [`systemd`] | notifications to the service manager, and its watchdog |
//! | [`qr`], [`console`] | pairing codes; the log and the terminal |
//!
//! Imports point one way: `main -> lib -> maintenance, archive, console -> api -> webhook, account, systemd ->
//! whatsapp -> ledger -> store -> event -> message -> fields -> net, media, jid, keys, settings, args, qr, runtime,
//! web -> clock,
//! text -> sync, metrics`.
//!
//! # Invariants
//!
//! - All logic runs on one thread, on one [`runtime::Executor`]. Blocking work (a commit's fsync, name
//!   resolution) runs on other threads and is awaited as a future.
//! - LMDB opens files of this system's word size only: `store::width` converts others to a new file, which
//!   replaces the old one once it is complete and on disk.
//! - No `.await` while an LMDB transaction is open: transactions are synchronous closures. One write
//!   path, [`store::Store::write`].
//! - A state change and the event that reports it are one transaction: [`ledger::Ledger::record`].
//! - A message is acknowledged to WhatsApp after that transaction's commit; a send is answered with success
//!   after the ack of WhatsApp's server.
//! - Receipts and ciphertext are sent only when everything that the session wrote before is on disk
//!   (`whatsapp::backend::journal`).
//! - A message to send is in the outbox until WhatsApp has acknowledged or refused it; it is repeated only
//!   under its own id.
//! - Durations are measured by [`clock::ticks`], timestamps made by [`clock::now`]. Nothing is deleted for its
//!   age before WhatsApp has sent the time.
//! - Every request passes the access check of `api::auth` before the router.
//! - Every queue, body, cache and set of tasks has a bound; reaching it is an answer, not a crash.
//! - No panic reaches a user or stays unnoticed: [`runtime::tasks`] spawns all tasks, logs and counts panics,
//!   and restarts long-lived tasks.
//! - Untrusted text is shown in logs and terminals only through [`text`].
//! - A build without the `sandbox` feature has no code path that skips a certificate check; one with
//!   it talks to loopback only.

pub mod account;
pub mod api;
pub mod archive;
pub mod args;
pub mod clock;
pub mod console;
pub mod event;
mod fields;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod jid;
pub mod keys;
pub mod ledger;
pub mod maintenance;
pub mod media;
pub mod message;
pub mod metrics;
pub mod net;
pub mod qr;
pub mod runtime;
#[cfg(feature = "sandbox")]
pub mod sandbox;
mod server;
pub mod settings;
pub mod store;
pub mod sync;
pub mod systemd;
pub mod text;
pub mod web;
pub mod webhook;
pub mod whatsapp;

pub use server::{RunError, Server, run};
