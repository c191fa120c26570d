//! The integration tests: the real binary against the simulator, as its users meet it.

mod auth;
mod backend;
mod changes;
mod command_line;
mod connection;
mod conversation;
mod crash;
mod events;
mod groups;
mod history;
mod idempotency;
mod images;
mod media_in;
mod media_out;
mod messages;
mod openapi;
mod outbox;
mod pairing;
mod resources;
mod space;
mod support;
mod tidy;
mod two_accounts;
mod wear;
mod webhooks;
