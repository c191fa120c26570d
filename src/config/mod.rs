//! The configuration: `config/wildcat.toml`, built in, overridden by a file, by the environment and
//! by the command line, in that order. Every limit of the server is here.
//!
//! ```no_run
//! use wildcat::config::{self, Overrides};
//!
//! let variables = [("WILDCAT_SERVER_LISTEN".into(), "127.0.0.1:8080".into())];
//! let loaded = config::load(&Overrides::default(), variables)?;
//! assert_eq!(loaded.config.server.listen.port(), 8080);
//! # Ok::<(), wildcat::config::ConfigErrors>(())
//! ```

mod layers;
mod values;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::{self, Write as _};
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_types::Url;

use crate::jid::ChatJid;
pub use layers::{ConfigError, Origin};
use layers::{Layers, Reader};

/// The built-in file.
pub const BUILT_IN: &str = include_str!("../../config/wildcat.toml");

/// A configuration file larger than this is not one.
const MAX_FILE_BYTES: u64 = 256 << 10;

/// Where a file is looked for when none is named.
const FILES: [&str; 2] = ["./wildcat.toml", "/etc/wildcat/wildcat.toml"];

/// Every setting, checked. `config/wildcat.toml` says what each means, with units and bounds.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    pub server: Server,
    pub auth: Auth,
    pub storage: Storage,
    pub api: Api,
    pub limits: Limits,
    pub outbox: Outbox,
    pub media: Media,
    pub history: History,
    pub whatsapp: Whatsapp,
    pub tls: Tls,
    pub events: Events,
    pub webhooks: Webhooks,
    pub health: Health,
    pub log: Log,
}

/// The HTTP server.
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    pub listen: SocketAddr,
    pub max_connections: usize,
    pub request_timeout: Duration,
    /// Bytes.
    pub max_body: usize,
    /// In lower case.
    pub hosts: Vec<String>,
}

/// Who may use the API.
#[derive(Debug, Clone, PartialEq)]
pub struct Auth {
    /// The file of the keys; `None`: in the data directory.
    pub keys: Option<PathBuf>,
    /// Whether nobody needs one.
    pub open: bool,
    /// Whether URLs that come with keys of one account may lead to this machine.
    pub local_urls: bool,
}

/// The data directory.
#[derive(Debug, Clone, PartialEq)]
pub struct Storage {
    pub path: PathBuf,
    /// How long messages are kept; `None`: as long as there is room.
    pub keep: Option<Duration>,
    /// Bytes that messages may take; `None`: as many as fit.
    pub max_bytes: Option<u64>,
}

/// The API's form.
#[derive(Debug, Clone, PartialEq)]
pub struct Api {
    pub envelope: Envelope,
}

/// Where the fields of an answer stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Envelope {
    /// At the top level and under `data`.
    Both,
    /// At the top level.
    Flat,
    /// Under `data`.
    Data,
}

/// How many accounts there may be, and what each may do.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    pub max_accounts: usize,
    pub messages_per_minute: u32,
    /// Messages that go at once after a rest.
    pub burst: u32,
    /// Bytes of a file that is sent.
    pub max_file: u64,
    /// 0 is no limit.
    pub new_contacts_per_day: u32,
    pub new_contact_pause: Duration,
    pub idempotency_keys: u64,
}

/// What waits to be sent, of each account.
#[derive(Debug, Clone, PartialEq)]
pub struct Outbox {
    pub max_messages: u64,
    pub max_bytes: u64,
    /// On average, between two messages.
    pub gap: Duration,
    pub expire_after: Duration,
}

/// The files of messages.
#[derive(Debug, Clone, PartialEq)]
pub struct Media {
    pub download: Download,
    /// Bytes.
    pub auto_max_bytes: u64,
    /// Bytes of all files together; `None`: as many as the disk has room for.
    pub max_bytes: Option<u64>,
    /// How long a transfer may move too little.
    pub patience: Duration,
}

/// When the files of messages are fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Download {
    /// When the message comes.
    Auto,
    /// When somebody asks for it.
    OnDemand,
}

/// The phone's past.
#[derive(Debug, Clone, PartialEq)]
pub struct History {
    /// 0: none.
    pub days: u32,
}

/// The way to WhatsApp.
#[derive(Debug, Clone, PartialEq)]
pub struct Whatsapp {
    pub url: Url,
    /// `None`: WhatsApp is asked.
    pub version: Option<(u32, u32, u32)>,
    pub device_name: String,
    /// Whether accounts that were never paired start too.
    pub auto_connect: bool,
    pub admin_number: Option<ChatJid>,
    /// For connecting, and for one write.
    pub timeout: Duration,
    /// Until a connection that says nothing is asked for a sign of life.
    pub silence: Duration,
    /// Whether others see its accounts as online.
    pub online: bool,
    pub receipts: Receipts,
}

/// What delivery receipts of an account say that is not online.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receipts {
    /// Two ticks at the sender.
    Active,
    /// One tick, until the phone has the message too.
    Inactive,
}

/// Whom TLS trusts.
#[derive(Debug, Clone, PartialEq)]
pub struct Tls {
    /// A PEM file.
    pub extra_ca: Option<PathBuf>,
}

/// The log of events, and who reads it.
#[derive(Debug, Clone, PartialEq)]
pub struct Events {
    pub keep_days: u32,
    /// Bytes.
    pub max_bytes: u64,
    pub max_readers: usize,
    pub heartbeat: Duration,
}

/// Webhook deliveries.
#[derive(Debug, Clone, PartialEq)]
pub struct Webhooks {
    pub timeout: Duration,
    pub max_hooks: usize,
    pub max_parallel: usize,
    pub max_concurrent: usize,
    /// Bytes.
    pub max_response: usize,
    pub retry_first: Duration,
    pub retry_max: Duration,
    pub give_up_after: Duration,
    pub max_dead: u64,
}

/// What `GET /health` calls a problem.
#[derive(Debug, Clone, PartialEq)]
pub struct Health {
    /// How long an account may be without its connection.
    pub patience: Duration,
}

/// The log.
#[derive(Debug, Clone, PartialEq)]
pub struct Log {
    pub level: log::LevelFilter,
}

/// What the command line says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// The configuration file, instead of one in the usual places.
    pub file: Option<PathBuf>,
    /// Settings; later ones count more.
    pub values: Vec<Override>,
}

/// One setting from the command line, or from a command that needs it so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// `section.key`.
    pub key: &'static str,
    /// How error messages call the place where it comes from: `--listen`.
    pub flag: &'static str,
    pub value: String,
}

/// Everything that is wrong with the configuration, one line each.
#[derive(Debug)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// A configuration that knows where its values come from.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub config: Config,
    /// By `section.key`.
    origins: BTreeMap<String, Origin>,
}

/// Reads the configuration from its file, `env` and `overrides`.
///
/// # Errors
/// Everything that is wrong, with the file and line, the variable or the flag.
pub fn load(
    overrides: &Overrides,
    env: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Loaded, ConfigErrors> {
    let file = match &overrides.file {
        Some(path) => Some(path.clone()),
        None => FILES.iter().map(PathBuf::from).find(|path| path.exists()),
    };
    let file = match file {
        Some(path) => match read_file(&path) {
            Ok(text) => Some((path, text)),
            Err(source) => return Err(ConfigErrors(vec![ConfigError::Read { path, source }])),
        },
        None => None,
    };
    resolve(
        file.as_ref()
            .map(|(path, text)| (path.as_path(), text.as_str())),
        env,
        &overrides.values,
    )
}

fn read_file(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?
        .take(MAX_FILE_BYTES + 1)
        .read_to_string(&mut text)?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(std::io::Error::other("larger than 256 KiB"));
    }
    Ok(text)
}

/// [`load`] without the file system.
fn resolve(
    file: Option<(&Path, &str)>,
    env: impl IntoIterator<Item = (OsString, OsString)>,
    overrides: &[Override],
) -> Result<Loaded, ConfigErrors> {
    let built_in = Layers::built_in(BUILT_IN);
    let mut layers = Layers::built_in(BUILT_IN);
    if let Some((path, text)) = file {
        layers.file(path, text);
    }
    let variables = layers::variables(env, &mut layers.errors);
    layers.environment(&variables);
    for Override { key, flag, value } in overrides {
        layers.set_text(key, value, Origin::Flag(flag));
    }
    let state_directory = variables
        .iter()
        .find(|(name, _)| name == "STATE_DIRECTORY")
        // systemd separates several directories by colons; the first is ours.
        .and_then(|(_, value)| value.split(':').next())
        .filter(|directory| !directory.is_empty());

    let mut config = build(&mut Reader {
        layers: &mut layers,
        built_in: &built_in,
    });
    check_sandbox(&config, &mut layers, cfg!(feature = "sandbox"));
    if !layers.errors.is_empty() {
        return Err(ConfigErrors(layers.errors));
    }
    let mut origins: BTreeMap<String, Origin> = layers
        .entries
        .into_iter()
        .map(|(key, entry)| (key, entry.origin))
        .collect();
    if config.storage.path.as_os_str().is_empty() {
        config.storage.path = match state_directory {
            Some(directory) => {
                let origin = Origin::Env("STATE_DIRECTORY".to_owned());
                origins.insert("storage.path".to_owned(), origin);
                directory.into()
            }
            None => "./wildcat-data".into(),
        };
    }
    Ok(Loaded { config, origins })
}

/// The one place that gives raw values their meaning. A field without a line does not compile.
fn build(read: &mut Reader<'_>) -> Config {
    const MILLISECOND: Duration = Duration::from_millis(1);
    const SECOND: Duration = Duration::from_secs(1);
    const MINUTE: Duration = Duration::from_secs(60);
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    let optional_path =
        |text: &str| -> Result<_, String> { Ok((!text.is_empty()).then(|| PathBuf::from(text))) };
    Config {
        server: Server {
            listen: read.text("server.listen", values::listen),
            max_connections: read.number("server.max_connections", 1..=10_000),
            request_timeout: read.text("server.request_timeout", |text| {
                values::duration(text, SECOND..=60 * MINUTE)
            }),
            max_body: read.text("server.max_body", |text| {
                values::size(text, 1 << 10..=64 << 20)
            }),
            hosts: read.text("server.hosts", values::host_names),
        },
        auth: Auth {
            keys: read.text("auth.keys", optional_path),
            open: read.flag("auth.open"),
            local_urls: read.flag("auth.local_urls"),
        },
        storage: Storage {
            path: read.text("storage.path", |text| Ok(text.into())),
            keep: match read.number("storage.keep_days", 0..=36_500_u32) {
                0 => None,
                days => Some(DAY * days),
            },
            max_bytes: read.text("storage.max_bytes", values::bound),
        },
        api: Api {
            envelope: read.text("api.envelope", envelope),
        },
        limits: Limits {
            max_accounts: read.number("limits.max_accounts", 1..=100_000),
            messages_per_minute: read.number("limits.messages_per_minute", 1..=6_000),
            burst: read.number("limits.burst", 1..=6_000),
            max_file: read.text("limits.max_file", |text| {
                values::size(text, 1 << 10..=512 << 20).map(|bytes| bytes as u64)
            }),
            new_contacts_per_day: read.number("limits.new_contacts_per_day", 0..=10_000),
            new_contact_pause: read.text("limits.new_contact_pause", |text| {
                values::duration(text, SECOND..=24 * 60 * MINUTE)
            }),
            idempotency_keys: read.number("limits.idempotency_keys", 100..=1_000_000),
        },
        outbox: Outbox {
            max_messages: read.number("outbox.max_messages", 1..=100_000),
            max_bytes: read.text("outbox.max_bytes", |text| {
                values::size(text, 1 << 20..=1 << 30).map(|bytes| bytes as u64)
            }),
            gap: read.text("outbox.gap", |text| {
                values::duration(text, Duration::ZERO..=MINUTE)
            }),
            expire_after: read.text("outbox.expire_after", |text| {
                values::duration(text, MINUTE..=720 * 60 * MINUTE)
            }),
        },
        media: Media {
            download: read.text("media.download", download),
            auto_max_bytes: read.text("media.auto_max_bytes", |text| {
                values::size(text, 1 << 10..=512 << 20).map(|bytes| bytes as u64)
            }),
            max_bytes: read.text("media.max_bytes", values::bound),
            patience: read.text("media.patience", |text| {
                values::duration(text, SECOND..=10 * MINUTE)
            }),
        },
        history: History {
            days: read.number("history.days", 0..=3_650),
        },
        whatsapp: Whatsapp {
            url: read.text("whatsapp.url", values::websocket_url),
            version: read.text("whatsapp.version", |text| match text {
                "" => Ok(None),
                text => values::version(text).map(Some),
            }),
            device_name: read.text("whatsapp.device_name", values::device_name),
            auto_connect: read.flag("whatsapp.auto_connect"),
            admin_number: read.text("whatsapp.admin_number", |text| match text {
                "" => Ok(None),
                text => ChatJid::typed(text)
                    .map(Some)
                    .map_err(|error| format!("{text:?} is {error}")),
            }),
            timeout: read.text("whatsapp.timeout", |text| {
                values::duration(text, SECOND..=5 * MINUTE)
            }),
            silence: read.text("whatsapp.silence", |text| {
                values::duration(text, SECOND..=60 * MINUTE)
            }),
            online: read.flag("whatsapp.online"),
            receipts: read.text("whatsapp.receipts", receipts),
        },
        tls: Tls {
            extra_ca: read.text("tls.extra_ca", optional_path),
        },
        events: Events {
            keep_days: read.number("events.keep_days", 1..=3_650),
            max_bytes: read.text("events.max_bytes", |text| {
                values::size(text, 64 << 10..=1 << 30).map(|bytes| bytes as u64)
            }),
            max_readers: read.number("events.max_readers", 0..=1_000),
            heartbeat: read.text("events.heartbeat", |text| {
                values::duration(text, SECOND..=5 * MINUTE)
            }),
        },
        webhooks: Webhooks {
            timeout: read.text("webhooks.timeout", |text| {
                values::duration(text, SECOND..=5 * MINUTE)
            }),
            max_hooks: read.number("webhooks.max_hooks", 1..=10_000),
            max_parallel: read.number("webhooks.max_parallel", 1..=64),
            max_concurrent: read.number("webhooks.max_concurrent", 0..=256),
            max_response: read.text("webhooks.max_response", |text| {
                values::size(text, 1 << 10..=16 << 20)
            }),
            retry_first: read.text("webhooks.retry_first", |text| {
                values::duration(text, MILLISECOND..=60 * MINUTE)
            }),
            retry_max: read.text("webhooks.retry_max", |text| {
                values::duration(text, MILLISECOND..=24 * 60 * MINUTE)
            }),
            give_up_after: read.text("webhooks.give_up_after", |text| {
                values::duration(text, SECOND..=8760 * 60 * MINUTE)
            }),
            max_dead: read.number("webhooks.max_dead", 1..=100_000),
        },
        health: Health {
            patience: read.text("health.patience", |text| {
                values::duration(text, Duration::ZERO..=24 * 60 * MINUTE)
            }),
        },
        log: Log {
            level: read.text("log.level", values::level),
        },
    }
}

fn envelope(text: &str) -> Result<Envelope, String> {
    match text {
        "both" => Ok(Envelope::Both),
        "flat" => Ok(Envelope::Flat),
        "data" => Ok(Envelope::Data),
        _ => Err(format!("{text:?} is not \"both\", \"flat\" or \"data\"")),
    }
}

fn receipts(text: &str) -> Result<Receipts, String> {
    match text {
        "active" => Ok(Receipts::Active),
        "inactive" => Ok(Receipts::Inactive),
        _ => Err(format!("{text:?} is not \"active\" or \"inactive\"")),
    }
}

fn download(text: &str) -> Result<Download, String> {
    match text {
        "auto" => Ok(Download::Auto),
        "on-demand" => Ok(Download::OnDemand),
        _ => Err(format!("{text:?} is not \"auto\" or \"on-demand\"")),
    }
}

/// A build that can skip the check of WhatsApp's Noise root talks to this machine only.
fn check_sandbox(config: &Config, layers: &mut Layers, sandbox: bool) {
    const KEY: &str = "whatsapp.url";
    if sandbox && !values::is_loopback(&config.whatsapp.url) {
        layers.errors.push(ConfigError::BadValue {
            origin: layers.entries[KEY].origin.clone(),
            key: KEY.to_owned(),
            message: format!(
                "{} is not on this machine, and a build with the sandbox feature goes nowhere else",
                config.whatsapp.url
            ),
        });
    }
}

impl Loaded {
    /// Where the value of `section.key` was found.
    pub fn origin(&self, key: &str) -> Option<&Origin> {
        self.origins.get(key)
    }

    /// The settings that count, as a configuration file with a note where each was found.
    pub fn describe(&self) -> String {
        let mut text = String::new();
        let mut section = "";
        for (key, value) in self.config.rows() {
            let (head, tail) = key.split_once('.').unwrap_or(("", key));
            if head != section {
                let gap = if section.is_empty() { "" } else { "\n" };
                // Writing to a string cannot fail; nor below.
                let _ = writeln!(text, "{gap}[{head}]");
                section = head;
            }
            let origin = self.origins.get(key).unwrap_or(&Origin::BuiltIn);
            let origin = origin.to_string();
            let _ = writeln!(text, "{tail} = {value}  # {}", origin.escape_debug());
        }
        text
    }
}

impl Config {
    /// The file of the API's keys.
    pub fn keys_file(&self) -> PathBuf {
        match &self.auth.keys {
            Some(path) => path.clone(),
            None => self.storage.path.join("keys.toml"),
        }
    }

    /// Every setting as TOML, in the order of the built-in file. A field without a row does not
    /// compile.
    fn rows(&self) -> Vec<(&'static str, String)> {
        let Config {
            server:
                Server {
                    listen,
                    max_connections,
                    request_timeout,
                    max_body,
                    hosts,
                },
            storage:
                Storage {
                    path,
                    keep,
                    max_bytes,
                },
            auth:
                Auth {
                    keys,
                    open,
                    local_urls,
                },
            api: Api { envelope },
            limits:
                Limits {
                    max_accounts,
                    messages_per_minute,
                    burst,
                    max_file,
                    new_contacts_per_day,
                    new_contact_pause,
                    idempotency_keys,
                },
            outbox:
                Outbox {
                    max_messages,
                    max_bytes: outbox_max_bytes,
                    gap,
                    expire_after,
                },
            media:
                Media {
                    download,
                    auto_max_bytes,
                    max_bytes: media_max_bytes,
                    patience: media_patience,
                },
            history: History { days },
            whatsapp:
                Whatsapp {
                    url,
                    version,
                    device_name,
                    auto_connect,
                    admin_number,
                    timeout,
                    silence,
                    online,
                    receipts,
                },
            tls: Tls { extra_ca },
            events:
                Events {
                    keep_days,
                    max_bytes: events_max_bytes,
                    max_readers,
                    heartbeat,
                },
            webhooks:
                Webhooks {
                    timeout: delivery_timeout,
                    max_hooks,
                    max_parallel,
                    max_concurrent,
                    max_response,
                    retry_first,
                    retry_max,
                    give_up_after,
                    max_dead,
                },
            health: Health { patience },
            log: Log { level },
        } = self;
        let envelope = match envelope {
            Envelope::Both => "both",
            Envelope::Flat => "flat",
            Envelope::Data => "data",
        };
        let receipts = match receipts {
            Receipts::Active => "active",
            Receipts::Inactive => "inactive",
        };
        let download = match download {
            Download::Auto => "auto",
            Download::OnDemand => "on-demand",
        };
        let version = version.map_or_else(String::new, |(a, b, c)| format!("{a}.{b}.{c}"));
        let admin = admin_number.as_ref().map(ToString::to_string);
        let extra_ca = extra_ca.as_ref().map(|path| path.to_string_lossy());
        let keys = keys.as_ref().map(|path| path.to_string_lossy());
        let seconds = |value: &Duration| quoted(&values::show_duration(*value));
        let bytes = |value: &usize| quoted(&values::show_size(*value));
        // Read from a `usize`.
        let file_bytes = |value: &u64| {
            quoted(&values::show_size(
                usize::try_from(*value).unwrap_or(usize::MAX),
            ))
        };
        let bound =
            |value: &Option<u64>| quoted(&value.map_or_else(String::new, values::show_bytes));
        let days_of = |keep: Option<Duration>| keep.map_or(0, |keep| keep.as_secs() / 86_400);
        vec![
            ("server.listen", quoted(&listen.to_string())),
            ("server.max_connections", max_connections.to_string()),
            ("server.request_timeout", seconds(request_timeout)),
            ("server.max_body", bytes(max_body)),
            ("server.hosts", quoted(&hosts.join(", "))),
            ("auth.keys", quoted(keys.as_deref().unwrap_or_default())),
            ("auth.open", open.to_string()),
            ("auth.local_urls", local_urls.to_string()),
            ("storage.path", quoted(&path.to_string_lossy())),
            ("storage.keep_days", days_of(*keep).to_string()),
            ("storage.max_bytes", bound(max_bytes)),
            ("api.envelope", quoted(envelope)),
            ("limits.max_accounts", max_accounts.to_string()),
            (
                "limits.messages_per_minute",
                messages_per_minute.to_string(),
            ),
            ("limits.burst", burst.to_string()),
            ("limits.max_file", file_bytes(max_file)),
            (
                "limits.new_contacts_per_day",
                new_contacts_per_day.to_string(),
            ),
            ("limits.new_contact_pause", seconds(new_contact_pause)),
            ("limits.idempotency_keys", idempotency_keys.to_string()),
            ("outbox.max_messages", max_messages.to_string()),
            ("outbox.max_bytes", file_bytes(outbox_max_bytes)),
            ("outbox.gap", seconds(gap)),
            ("outbox.expire_after", seconds(expire_after)),
            ("media.download", quoted(download)),
            ("media.auto_max_bytes", file_bytes(auto_max_bytes)),
            ("media.max_bytes", bound(media_max_bytes)),
            ("media.patience", seconds(media_patience)),
            ("history.days", days.to_string()),
            ("whatsapp.url", quoted(url.as_str())),
            ("whatsapp.version", quoted(&version)),
            ("whatsapp.device_name", quoted(device_name)),
            ("whatsapp.auto_connect", auto_connect.to_string()),
            (
                "whatsapp.admin_number",
                quoted(admin.as_deref().unwrap_or_default()),
            ),
            ("whatsapp.timeout", seconds(timeout)),
            ("whatsapp.silence", seconds(silence)),
            ("whatsapp.online", online.to_string()),
            ("whatsapp.receipts", quoted(receipts)),
            (
                "tls.extra_ca",
                quoted(extra_ca.as_deref().unwrap_or_default()),
            ),
            ("events.keep_days", keep_days.to_string()),
            ("events.max_bytes", file_bytes(events_max_bytes)),
            ("events.max_readers", max_readers.to_string()),
            ("events.heartbeat", seconds(heartbeat)),
            ("webhooks.timeout", seconds(delivery_timeout)),
            ("webhooks.max_hooks", max_hooks.to_string()),
            ("webhooks.max_parallel", max_parallel.to_string()),
            ("webhooks.max_concurrent", max_concurrent.to_string()),
            ("webhooks.max_response", bytes(max_response)),
            ("webhooks.retry_first", seconds(retry_first)),
            ("webhooks.retry_max", seconds(retry_max)),
            ("webhooks.give_up_after", seconds(give_up_after)),
            ("webhooks.max_dead", max_dead.to_string()),
            ("health.patience", seconds(patience)),
            ("log.level", quoted(&level.as_str().to_ascii_lowercase())),
        ]
    }
}

/// A TOML string.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            c if c.is_control() => {
                // Writing to a string cannot fail.
                let _ = write!(quoted, "\\u{:04X}", c as u32);
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests;
