//! Every setting, once: name, type, default, bounds, older names in the environment, words.
//!
//! A new setting is one entry here. The order is that of `config/wildcat.toml` and of `check-config`.
//! `UPDATE_GENERATED=1 cargo test --lib settings::` then writes `config/wildcat.toml` and the settings of
//! `config/wildcat.1` anew. Both show the bounds behind the words, so that words do not repeat them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use http_types::Url;

use super::table::Kind::{Count, Duration as Time, Flag, Size, Space, Text};
use super::table::{DAY, HOUR, KIB, MIB, MILLISECOND, MINUTE, SECOND, choices, of, settings};
use super::values::{Version, Words};
use crate::jid::ChatJid;

settings! {
    /// The HTTP server.
    server: Server {
        /// Where the HTTP API listens: ADDRESS:PORT. Port 0 takes a free one. IPv6: `[::]:3000`.
        listen: SocketAddr = of(Text, "0.0.0.0:3000").formerly(&["HOST", "PORT"]);

        /// Connections open at the same time. When all are taken, a new connection replaces the one that has kept the
        /// server waiting for longest: for a request, for the rest of one, or for reading an answer. An address with
        /// more than a quarter of the connections (IPv6: a /64; behind a proxy on this machine: the last entry of
        /// X-Forwarded-For) loses its own first. While all are busy, one further request is answered 503.
        max_connections: usize = of(Count(1, 10_000), "64");

        /// How long a client may take to send one request, and to read its answer; also how long a connection may
        /// stay idle between two requests. After a signal to stop, requests have 1 s.
        request_timeout: Duration = of(Time(SECOND, HOUR), "30s");

        /// The largest JSON body. A message of 65,536 characters needs 384 KiB at most.
        max_body: usize = of(Size(KIB, 64 * MIB), "1 MiB");

        /// Host names under which web pages may reach this server, separated by commas: that of a reverse proxy, for
        /// example. IP addresses, localhost and this machine's own name are always allowed. Requests to other names
        /// are refused, as a protection against DNS rebinding.
        hosts: Vec<String> = of(Text, "");
    }

    /// Who may use the API.
    auth: Auth {
        /// The file of the API keys, as hashes; `wildcat key add NAME` makes a key. Empty: keys.toml in the data
        /// directory. While there is no key, only requests from this machine are served.
        keys: Option<PathBuf> = of(Text, "");

        /// true: every client that reaches the port is served without a key. Only for networks where you trust every
        /// device.
        open: bool = of(Flag, "false");

        /// true: URLs of files and webhooks that come with a key for one account may lead to this machine. false: such
        /// URLs reach neither this machine, under any of its addresses, nor link-local addresses; they do reach other
        /// hosts of the network. Keys for all accounts reach every address.
        local_urls: bool = of(Flag, "false");
    }

    /// The data directory.
    storage: Storage {
        /// The data directory: accounts, keys, messages. Empty: the directory that systemd names ($STATE_DIRECTORY),
        /// else ./wildcat-data. Relative paths count from the working directory.
        path: PathBuf = of(Text, "");

        /// Days for which messages are kept. Older ones are removed, with their files, once WhatsApp's server has
        /// confirmed the time. 0: no limit.
        keep_days: u32 = of(Count(0, 36_500), "0");

        /// The part of the database that messages may take ("500 MiB", "2 GiB"); above it, the oldest are removed.
        /// Empty: three quarters of what the database can grow to (1 GiB on 32-bit machines, 64 GiB on others). The
        /// file does not shrink: space that became free in it is used again.
        max_bytes: Option<u64> = of(Space(MIB, MIB << 24), "");
    }

    /// The form of the API's answers.
    api: Api {
        /// The form of answers: "both" gives the fields at the top level (WILDCAT 2.0) and under `data`, "flat" only
        /// the first, "data" only the second.
        envelope: Envelope = of(Text, "both");
    }

    /// How many accounts there may be, and what each may do.
    limits: Limits {
        /// Accounts in all; one more is refused with 409.
        max_accounts: usize = of(Count(1, 100_000), "1000");

        /// Messages that one account may send per minute, on average; more are refused with 429. WhatsApp restricts
        /// and bans numbers that write much, young ones above all: give a number that is new, or newly linked, 10 to 20
        /// for some weeks, and new_contacts_per_day of a few.
        messages_per_minute: u32 = of(Count(1, 6_000), "60");

        /// Messages that may go at once after a rest; never more than messages_per_minute. A young number: 5 to 10.
        burst: u32 = of(Count(1, 6_000), "20");

        /// The largest file that can be sent. WhatsApp takes 100 MB and more of some kinds.
        max_file: u64 = of(Size(KIB, 512 * MIB), "50 MiB");

        /// New contacts (people with whom the account never exchanged a message) that one account may begin to write
        /// to within 24 hours; further ones are refused with 429. 0: no limit. A young number: 3 to 10, better none.
        /// Numbers that are not on WhatsApp count, too.
        new_contacts_per_day: u32 = of(Count(0, 10_000), "50");

        /// When WhatsApp refuses a message to a new contact (463, 475), it is asked whether and until when the account
        /// is restricted. Without an answer, the account writes to no new contact for this time; if only that one
        /// contact is refused, it does not write to that contact. Each further refusal doubles the time, up to a day.
        new_contact_pause: Duration = of(Time(SECOND, DAY), "10m");

        /// Idempotency keys that are remembered for each account, for 24 hours.
        idempotency_keys: u64 = of(Count(100, 1_000_000), "100000");
    }

    /// Messages that wait to be sent, of each account.
    outbox: Outbox {
        /// Messages that may wait to be sent, or for WhatsApp's acknowledgement, per account. One more is refused with
        /// 503.
        max_messages: u64 = of(Count(1, 100_000), "1000");

        /// Their texts and files together, per account.
        max_bytes: u64 = of(Size(MIB, 1_024 * MIB), "256 MiB");

        /// The pause between two messages out of the outbox: each is half to one and a half times as long, at random,
        /// because WhatsApp's server takes an even pace for a machine's. It does not delay a message whose request
        /// waits for the result. 0s: none.
        gap: Duration = of(Time(0, MINUTE), "2s");

        /// How long a message waits, unless `expiresIn` says otherwise; after that it has failed.
        expire_after: Duration = of(Time(MINUTE, 720 * HOUR), "72h");
    }

    /// The files of messages.
    media: Media {
        /// "auto" fetches the files of messages when they arrive, up to auto_max_bytes; "on-demand" only when a client
        /// asks for them. Files of stories and channels are fetched only when a client asks, in either case. WhatsApp
        /// keeps a file for some weeks; after that the phone is asked for it. No more of a file is fetched than its
        /// message announces; without an announced size, at most limits.max_file.
        download: Download = of(Text, "auto");

        /// The largest file that "auto" fetches, and that is kept of those that are sent.
        auto_max_bytes: u64 = of(Size(KIB, 512 * MIB), "16 MiB");

        /// What all files may take together; above it, those that were stored first are removed. Their messages stay,
        /// and WhatsApp is asked again for a file that a client wants. Empty: as much as leaves a tenth of the disk
        /// free, or 1 GiB if that is less.
        max_bytes: Option<u64> = of(Space(MIB, MIB << 24), "");

        /// The longest time for which a transfer from or to WhatsApp may move less than 1 KiB a second; after that it
        /// ends, and is tried again later.
        patience: Duration = of(Time(SECOND, 10 * MINUTE), "30s");
    }

    /// Chats.
    chats: Chats {
        /// A message of the API marks what was unread in its chat as read: its senders see it, and the phone, too.
        read_on_reply: bool = of(Flag, "false");
    }

    /// Calls. The server answers none; they ring on the phone.
    calls: Calls {
        /// true: each call is rejected, on all devices of the account.
        reject: bool = of(Flag, "false");

        /// A text for people whose call is rejected by `reject`, sent through the outbox, at most once an hour to each of
        /// them. Empty: none.
        message: Option<Words> = of(Text, "");
    }

    /// The phone's message history.
    history: History {
        /// Days of its message history that the phone is asked for when it is paired. 0: no history is stored; a week
        /// is fetched nonetheless, because the list of chats comes with it.
        days: u32 = of(Count(0, 3_650), "90");
    }

    /// The connection to WhatsApp.
    whatsapp: Whatsapp {
        /// WhatsApp's WebSocket, a wss:// address.
        url: Url = of(Text, "wss://web.whatsapp.com/ws/chat");

        /// The version of WhatsApp Web to report, "2.3000.1023456789" for example. Empty: asks WhatsApp once a day, and
        /// continues with the last known one without an answer. WhatsApp refuses a version after some months: better
        /// leave it empty.
        version: Option<Version> = of(Text, "");

        /// The name in the phone's list of linked devices, 1 to 50 characters. Applies to new pairings.
        device_name: String = of(Text, "wildcat");

        /// Paired accounts always reconnect at start, unless they were disconnected by request. true: accounts that
        /// were never paired start too, and wait with a QR code for their phone.
        auto_connect: bool = of(Flag, "false").formerly(&["AUTO_CONNECT_ON_START"]);

        /// A phone number or JID that gets a message when the first account is connected after a start. Empty: none.
        admin_number: Option<ChatJid> = of(Text, "").formerly(&["ADMIN_NUMBER"]);

        /// How long connecting to WhatsApp may take (name, TCP, TLS, WebSocket), and how long one write may be stuck
        /// before the connection counts as lost.
        timeout: Duration = of(Time(SECOND, 5 * MINUTE), "20s");

        /// How long a connection may receive nothing before a ping is sent. Without an answer within the same time
        /// (20 s at most) the connection counts as lost and is opened anew. WhatsApp is pinged every 15 to 45 s in any
        /// case: less than 45s means more pings and an earlier end.
        silence: Duration = of(Time(SECOND, HOUR), "40s");

        /// true: accounts are shown as online while they are connected, and WhatsApp gives their phones no push
        /// notifications. false: they are not, and phones ring as usual.
        online: bool = of(Flag, "false");

        /// What senders see of a message that was delivered here while the phone is off, with online = false. "active":
        /// two ticks. "inactive": one, as with WhatsApp Web in the background, until the phone has it too.
        receipts: Receipts = of(Text, "active");
    }

    /// The certificates that TLS trusts.
    tls: Tls {
        /// A PEM file with certificates to trust besides Mozilla's built-in ones: of authorities, for example that of
        /// your own network, and of single servers with self-signed certificates, such as a camera or the receiver of a
        /// webhook. The latter are accepted as they are, while they are valid and, if they have alternative names, for
        /// those. Empty: none.
        extra_ca: Option<PathBuf> = of(Text, "");
    }

    /// The event log and its readers.
    events: Events {
        /// Days for which the event log is kept. A reader (webhook, GET /events) that is further behind misses the
        /// oldest events, and gets an event that says so.
        keep_days: u32 = of(Count(1, 3_650), "7");

        /// The largest size of the event log.
        max_bytes: u64 = of(Size(64 * KIB, 1_024 * MIB), "64 MiB");

        /// Clients that wait at GET /events at the same time, as a stream or with `wait`; one more is refused with 429.
        /// Each takes one of server.max_connections.
        max_readers: usize = of(Count(0, 1_000), "16");

        /// The interval of the heartbeats of a stream without events.
        heartbeat: Duration = of(Time(SECOND, 5 * MINUTE), "15s");
    }

    /// Webhook deliveries.
    webhooks: Webhooks {
        /// How long one delivery may take, from name resolution to the end of the answer.
        timeout: Duration = of(Time(SECOND, 5 * MINUTE), "10s");

        /// Webhooks that can be registered.
        max_hooks: usize = of(Count(1, 10_000), "64");

        /// Chats whose events one webhook is sent at the same time. The events of one chat are always sent one after
        /// the other. 1: all events one after the other.
        max_parallel: usize = of(Count(1, 64), "4");

        /// Deliveries in flight at the same time beyond one for each webhook.
        max_concurrent: usize = of(Count(0, 256), "8");

        /// How much of a receiver's answer is read.
        max_response: usize = of(Size(KIB, 16 * MIB), "64 KiB");

        /// The pause after a failed delivery. It doubles with each further failure, up to retry_max. A receiver's
        /// Retry-After counts instead, up to 1h.
        retry_first: Duration = of(Time(MILLISECOND, HOUR), "5s");

        /// The longest pause after a failed delivery.
        retry_max: Duration = of(Time(MILLISECOND, 24 * HOUR), "15m");

        /// How long an event is tried, from its first failure on, before it becomes a dead letter of its webhook.
        give_up_after: Duration = of(Time(SECOND, 8_760 * HOUR), "72h");

        /// Dead letters that are kept for each webhook, and no more than 4 MiB of them.
        max_dead: u64 = of(Count(1, 100_000), "1000");
    }

    /// What `GET /health` reports as a problem.
    health: Health {
        /// How long an account may be without its connection before GET /health reports a problem.
        patience: Duration = of(Time(0, 24 * HOUR), "2m");
    }

    /// The log.
    log: Log {
        /// off, error, warn, info, debug or trace. Texts and phone numbers appear from debug on. A release build has no
        /// trace lines: there, trace is debug.
        level: log::LevelFilter = of(Text, "info").formerly(&["LOG_LEVEL"]);
    }
}

choices! {
    /// Where the fields of an answer stand.
    Envelope {
        /// At the top level and under `data`.
        Both = "both",
        /// At the top level.
        Flat = "flat",
        /// Under `data`.
        Data = "data",
    }

    /// When the files of messages are fetched.
    Download {
        /// When the message arrives.
        Auto = "auto",
        /// When a client asks for the file.
        OnDemand = "on-demand",
    }

    /// The delivery receipts of an account that is not online.
    Receipts {
        /// Two ticks at the sender.
        Active = "active",
        /// One tick, until the phone has the message too.
        Inactive = "inactive",
    }
}
