//! wildcat: WhatsApp accounts over HTTP, small enough for a Raspberry Pi.
//!
//! # The map
//!
//! | Module | What it is |
//! |---|---|
//! | [`args`], [`settings`] | the command line; every setting and limit |
//! | [`runtime`] | the one executor, the supervisor of its tasks, how it does, the signal to stop |
//! | [`clock`] | the only caller of the system's clocks; the server's own time, which outlives their jumps |
//! | [`text`] | text of strangers, as a log or a terminal can show it |
//! | [`sync`] | a lock that survives a panic; a time limit around a future |
//! | [`keys`] | the keys of the API, hashed, in their file |
//! | [`jid`] | recipients, parsed and canonical |
//! | [`message`] | one file a kind of message: its fields, how it is stored and shown |
//! | [`event`] | what happened: the contract of the log, the webhooks and their readers |
//! | [`store`] | LMDB: the only importer of heed; group commit on a thread of its own |
//! | [`ledger`] | what happened to an account: its tables and its event, in one transaction |
//! | [`net`] | TLS, the HTTP client, the WebSocket |
//! | [`whatsapp`] | the only importer of whatsapp-rust: our runtime, transport and storage for it |
//! | [`media`] | what a file is and what WhatsApp wants of it; where files are |
//! | [`account`] | the registry, a pure state machine for each account, and its driver |
//! | [`webhook`] | deliveries, each a reader of the event log with a cursor of its own |
//! | [`api`] | the only importer of tide: the REST API |
//! | [`archive`] | copies of a data directory: backup, restore, export |
//! | [`upkeep`] | what is too old or too much goes; a full disk and a wrong clock are looked at again |
//! | [`systemd`] | what the service manager is told, and its watchdog |
//! | [`qr`], [`console`] | pairing codes; what the terminal shows |
//!
//! Imports point one way: `main -> lib -> upkeep, archive -> api -> webhook, account, systemd -> whatsapp ->
//! ledger -> store, console -> event -> message -> net, media, jid, keys, settings, args, qr, runtime -> clock,
//! text -> sync`.
//!
//! # Invariants
//!
//! - One thread runs everything that thinks, on one [`runtime::Executor`]. What blocks (a commit's
//!   fsync, name resolution) leaves it and comes back as a future.
//! - LMDB sees files of this system's word size only: others are read by `store::width`, and the old
//!   file has its place until a new one, complete and on disk, takes it.
//! - No `.await` while an LMDB transaction is open: transactions are synchronous closures. One write
//!   path, [`store::Store::write`].
//! - A state change and the event that reports it are one transaction: [`ledger::Ledger::record`].
//! - WhatsApp is told "received" after that transaction's commit; a caller is told "sent" after
//!   WhatsApp's server said so.
//! - Nothing leaves for WhatsApp, no receipt and no ciphertext, before everything that its session
//!   has written until then is on disk (`whatsapp::backend::journal`).
//! - A message that is to be sent is in the outbox until WhatsApp has acknowledged or refused it; it
//!   is sent again under its own id alone.
//! - What waits, waits by [`clock::ticks`]; what is stamped, by [`clock::now`]. Nothing is deleted for its
//!   age before WhatsApp has told the time.
//! - No request reaches the router past the gate of `api::auth`.
//! - Every queue, body, cache and set of tasks has a bound; reaching it is an answer.
//! - No panic reaches a user, and no task dies in silence: [`runtime::tasks`] spawns all of them, logs
//!   and counts a panic, and starts again what lives long.
//! - What others wrote is shown in logs and terminals by [`text`] alone.
//! - A build without the `sandbox` feature has no code path that skips a certificate check; one with
//!   it talks to loopback only.

pub mod account;
pub mod api;
pub mod archive;
pub mod args;
pub mod clock;
pub mod console;
pub mod event;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod jid;
pub mod keys;
pub mod ledger;
pub mod media;
pub mod message;
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
pub mod upkeep;
pub mod webhook;
pub mod whatsapp;

pub use server::{RunError, Server, run};
