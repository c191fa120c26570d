//! Where values come from: the defaults, a file, the environment, the command line.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::table::{Kind, Setting, Value};
use super::{SETTINGS, find};

/// The prefix of the environment's variables.
const PREFIX: &str = "WILDCAT_";
/// systemd's name for the data directory.
pub(super) const STATE_DIRECTORY: &str = "STATE_DIRECTORY";

/// Where a value was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The default.
    BuiltIn,
    /// A configuration file.
    File {
        path: Arc<Path>,
        /// From 1.
        line: usize,
    },
    /// An environment variable; two names if both were used.
    Env(String),
    /// A flag or a command.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::BuiltIn => f.write_str("built in"),
            Origin::File { path, line } => write!(f, "{}:{line}", path.display()),
            Origin::Env(name) => f.write_str(name),
            Origin::Flag(name) => f.write_str(name),
        }
    }
}

/// One mistake in the configuration.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error("{}: cannot be read: {source}", path.display())]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{origin}: {message}")]
    Syntax { origin: Origin, message: String },
    #[error("{origin}: there is no setting \"{key}\"")]
    UnknownKey { origin: Origin, key: String },
    #[error("{variable}: there is no setting of this name in the environment")]
    UnknownVariable { variable: String },
    #[error("{origin}: {key}: {message}")]
    BadValue {
        origin: Origin,
        key: String,
        message: String,
    },
}

/// A value and where it was found.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// The value as text, or why it is none of this setting.
    pub(super) text: Result<String, String>,
    pub(super) origin: Origin,
}

/// The settings after the layers so far.
pub(super) struct Layers {
    /// One for each of [`SETTINGS`], in their order.
    pub(super) entries: Vec<Entry>,
    pub(super) errors: Vec<SettingsError>,
    /// How many values [`next`](Self::next) has given out.
    read: usize,
}

impl Layers {
    /// The lowest layer.
    pub(super) fn defaults() -> Layers {
        let entry = |setting: &Setting| Entry {
            text: Ok(setting.default.to_owned()),
            origin: Origin::BuiltIn,
        };
        Layers {
            entries: SETTINGS.iter().map(entry).collect(),
            errors: Vec::new(),
            read: 0,
        }
    }

    /// A configuration file's text.
    pub(super) fn file(&mut self, path: &Path, text: &str) {
        let path: Arc<Path> = path.into();
        let origin = |offset: usize| Origin::File {
            path: path.clone(),
            line: line_of(text, offset),
        };
        let (document, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            self.errors.push(SettingsError::Syntax {
                origin: origin(error.span().map_or(0, |span| span.start)),
                message: error.message().to_owned(),
            });
        }
        for (section, content) in document.get_ref() {
            let DeValue::Table(keys) = content.get_ref() else {
                self.errors.push(SettingsError::UnknownKey {
                    origin: origin(section.span().start),
                    key: section.get_ref().to_string(),
                });
                continue;
            };
            for (key, value) in keys {
                let origin = origin(key.span().start);
                let key = format!("{}.{}", section.get_ref(), key.get_ref());
                match find(&key) {
                    Some(at) => {
                        let text = as_text(value.get_ref(), SETTINGS[at].kind);
                        self.entries[at] = Entry { text, origin };
                    }
                    None => self.errors.push(SettingsError::UnknownKey { origin, key }),
                }
            }
        }
    }

    /// The environment: first the variables of WILDCAT 2.0, so that our own names count more.
    pub(super) fn environment(&mut self, variables: &[(String, String)]) {
        let old = |wanted: &str| {
            variables
                .iter()
                .find(|(name, value)| name == wanted && !value.is_empty())
                .map(|(name, value)| (name.as_str(), value.as_str()))
        };
        for (at, setting) in SETTINGS.iter().enumerate() {
            match setting.old {
                [] => {}
                [host, port] => self.set_address(at, old(host), old(port)),
                names => {
                    if let Some((name, value)) = names.iter().find_map(|name| old(name)) {
                        self.set(at, value, Origin::Env(name.to_owned()));
                    }
                }
            }
        }
        for (name, value) in variables {
            if !name.starts_with(PREFIX) || is_service_link(name, value) {
                continue;
            }
            // No settings: how a test makes tasks panic (`runtime::tasks`) and time pass (`clock::moved`), and
            // starts accounts at once (`account::backoff`), and where it has a server of the internet (`net::reach`).
            let of_tests = [
                "WILDCAT_TEST_PANIC",
                "WILDCAT_TEST_CLOCK",
                "WILDCAT_TEST_STARTS",
                "WILDCAT_TEST_PUBLIC",
            ];
            if cfg!(feature = "sandbox") && of_tests.contains(&name.as_str()) {
                continue;
            }
            match SETTINGS
                .iter()
                .position(|setting| setting.variable() == *name)
            {
                Some(at) => self.set(at, value, Origin::Env(name.clone())),
                None => self.errors.push(SettingsError::UnknownVariable {
                    variable: name.clone(),
                }),
            }
        }
    }

    /// An address whose host and port are two variables; one that is absent keeps its part.
    fn set_address(&mut self, at: usize, host: Option<(&str, &str)>, port: Option<(&str, &str)>) {
        let names: Vec<&str> = [host, port].into_iter().flatten().map(|v| v.0).collect();
        let (false, Ok(current)) = (names.is_empty(), &self.entries[at].text) else {
            return;
        };
        let (current_host, current_port) = current.rsplit_once(':').unwrap_or((current, "3000"));
        let host = match host {
            Some((_, host)) if host.contains(':') && !host.starts_with('[') => format!("[{host}]"),
            Some((_, host)) => host.to_owned(),
            None => current_host.to_owned(),
        };
        let port = port.map_or(current_port, |(_, port)| port);
        self.set(at, &format!("{host}:{port}"), Origin::Env(names.join(", ")));
    }

    /// The value of `section.name` from the command line.
    pub(super) fn flag(&mut self, key: &str, text: &str, flag: &'static str) {
        let origin = Origin::Flag(flag);
        match find(key) {
            Some(at) => self.set(at, text, origin),
            None => self.errors.push(SettingsError::UnknownKey {
                origin,
                key: key.to_owned(),
            }),
        }
    }

    pub(super) fn set(&mut self, at: usize, text: &str, origin: Origin) {
        self.entries[at] = Entry {
            text: Ok(text.to_owned()),
            origin,
        };
    }

    /// The next setting's value, in the order of [`SETTINGS`]. What is wrong with it is noted, and the default
    /// stands in. There are as many as [`super::Settings`] has fields.
    pub(super) fn next<T: Value>(&mut self) -> T {
        let (at, setting) = (self.read, &SETTINGS[self.read]);
        self.read += 1;
        let text = self.entries[at].text.as_deref().map_err(String::clone);
        text.and_then(|text| T::read(text, setting.kind))
            .unwrap_or_else(|message| {
                self.refuse(at, message);
                // Defaults are part of the program, and a test reads all of them.
                T::read(setting.default, setting.kind)
                    .unwrap_or_else(|message| panic!("{}: {message}", setting.name))
            })
    }

    pub(super) fn refuse(&mut self, at: usize, message: String) {
        self.errors.push(SettingsError::BadValue {
            origin: self.entries[at].origin.clone(),
            key: SETTINGS[at].key(),
            message,
        });
    }
}

/// A file's value as text, if it has the form that the setting has there.
fn as_text(value: &DeValue<'_>, kind: Kind) -> Result<String, String> {
    const TEXT: &str = "a text in quotes";
    const NUMBER: &str = "a whole number";
    const FLAG: &str = "true or false";
    let wanted = match kind {
        Kind::Flag => FLAG,
        Kind::Count(..) => NUMBER,
        _ => TEXT,
    };
    let (found, text) = match value {
        DeValue::String(text) => (TEXT, text.to_string()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => (NUMBER, number.to_string()),
            Err(_) => return Err(format!("{} is too large", number.as_str())),
        },
        DeValue::Boolean(flag) => (FLAG, flag.to_string()),
        other => {
            return Err(format!(
                "a text, a whole number, or true or false is expected here, not {}",
                other.type_str()
            ));
        }
    };
    match found == wanted {
        true => Ok(text),
        false => Err(format!("{wanted} is expected here, not {found}")),
    }
}

/// Kubernetes and Docker describe a service named "wildcat" to its neighbours in variables that happen to
/// start like ours (`WILDCAT_SERVICE_HOST`, `WILDCAT_PORT=tcp://…`). They are no settings.
fn is_service_link(name: &str, value: &str) -> bool {
    name.starts_with("WILDCAT_SERVICE_")
        || name.starts_with("WILDCAT_PORT_")
        || (name == "WILDCAT_PORT" && value.contains("://"))
}

/// The line, from 1, in which `offset` lies.
fn line_of(text: &str, offset: usize) -> usize {
    let before = &text.as_bytes()[..offset.min(text.len())];
    before.iter().filter(|&&byte| byte == b'\n').count() + 1
}

/// The variables that could be meant for us, as text.
pub(super) fn variables(
    env: impl IntoIterator<Item = (OsString, OsString)>,
    errors: &mut Vec<SettingsError>,
) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (name, value) in env {
        let Ok(name) = name.into_string() else {
            continue;
        };
        let old = || {
            SETTINGS
                .iter()
                .any(|setting| setting.old.contains(&name.as_str()))
        };
        if !name.starts_with(PREFIX) && name != STATE_DIRECTORY && !old() {
            continue;
        }
        match value.into_string() {
            Ok(value) => found.push((name, value)),
            Err(_) => errors.push(SettingsError::Syntax {
                origin: Origin::Env(name),
                message: "the value is not UTF-8".to_owned(),
            }),
        }
    }
    found
}
