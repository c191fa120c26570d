//! Where values come from: the built-in file, a file, the environment, the command line.
//!
//! The built-in file is the schema: a key that it does not hold does not exist, and a value keeps
//! the kind (text, number, yes or no) that it has there.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::values;

/// The prefix of the environment's variables.
const PREFIX: &str = "WILDCAT_";

/// Where a value was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Built into the program.
    BuiltIn,
    /// A configuration file.
    File {
        path: Arc<Path>,
        /// From 1.
        line: usize,
    },
    /// An environment variable; two names where both had a part in it.
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

/// One thing that is wrong with the configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
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

/// A value before its meaning is known.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Scalar {
    Text(String),
    Number(i64),
    Flag(bool),
}

impl Scalar {
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Scalar::Text(_) => "a text in quotes",
            Scalar::Number(_) => "a whole number",
            Scalar::Flag(_) => "true or false",
        }
    }

    /// Reads `text`, from where everything is text, as the kind that this value has.
    fn same_kind(&self, text: &str) -> Result<Scalar, String> {
        match self {
            Scalar::Text(_) => Ok(Scalar::Text(text.to_owned())),
            Scalar::Number(_) => text
                .trim()
                .parse()
                .map(Scalar::Number)
                .map_err(|_| format!("{text:?} is not a whole number")),
            Scalar::Flag(_) => match text.trim().to_ascii_lowercase().as_str() {
                "true" | "1" | "yes" => Ok(Scalar::Flag(true)),
                "false" | "0" | "no" => Ok(Scalar::Flag(false)),
                _ => Err(format!("{text:?} is not true or false")),
            },
        }
    }
}

/// A value and where it was found.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) value: Scalar,
    pub(super) origin: Origin,
}

/// What the layers so far amount to.
pub(super) struct Layers {
    /// By `section.key`.
    pub(super) entries: BTreeMap<String, Entry>,
    pub(super) errors: Vec<ConfigError>,
}

impl Layers {
    /// The lowest layer. Its keys are all the keys there are.
    pub(super) fn built_in(text: &str) -> Layers {
        let mut layers = Layers {
            entries: BTreeMap::new(),
            errors: Vec::new(),
        };
        for (key, value, _) in layers.read(text, &|_| Origin::BuiltIn) {
            layers.entries.insert(
                key,
                Entry {
                    value,
                    origin: Origin::BuiltIn,
                },
            );
        }
        layers
    }

    /// A configuration file's text.
    pub(super) fn file(&mut self, path: &Path, text: &str) {
        let path: Arc<Path> = path.into();
        let origin = |offset: usize| Origin::File {
            path: path.clone(),
            line: line_of(text, offset),
        };
        for (key, value, offset) in self.read(text, &origin) {
            let origin = origin(offset);
            match self.entries.get_mut(&key) {
                Some(entry) => *entry = Entry { value, origin },
                None => self.errors.push(ConfigError::UnknownKey { origin, key }),
            }
        }
    }

    /// Every `section.key` of a TOML text, with the offset at which it stands.
    fn read(
        &mut self,
        text: &str,
        origin: &dyn Fn(usize) -> Origin,
    ) -> Vec<(String, Scalar, usize)> {
        let (document, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            self.errors.push(ConfigError::Syntax {
                origin: origin(error.span().map_or(0, |span| span.start)),
                message: error.message().to_owned(),
            });
        }
        let mut found = Vec::new();
        for (section, content) in document.get_ref() {
            let DeValue::Table(keys) = content.get_ref() else {
                self.errors.push(ConfigError::UnknownKey {
                    origin: origin(section.span().start),
                    key: section.get_ref().to_string(),
                });
                continue;
            };
            for (key, value) in keys {
                let offset = key.span().start;
                let key = format!("{}.{}", section.get_ref(), key.get_ref());
                match scalar(value.get_ref()) {
                    Ok(value) => found.push((key, value, offset)),
                    Err(message) => self.errors.push(ConfigError::BadValue {
                        origin: origin(offset),
                        key,
                        message,
                    }),
                }
            }
        }
        found
    }

    /// The environment: first what WILDCAT 2.0 had, so that our own names count more.
    pub(super) fn environment(&mut self, variables: &[(String, String)]) {
        self.listen_of_old(variables);
        for (name, value) in variables {
            let key = match name.as_str() {
                "LOG_LEVEL" => "log.level",
                "ADMIN_NUMBER" => "whatsapp.admin_number",
                "AUTO_CONNECT_ON_START" => "whatsapp.auto_connect",
                _ => continue,
            };
            if !value.is_empty() {
                self.set_text(key, value, Origin::Env(name.clone()));
            }
        }
        let keys: BTreeMap<String, String> = self
            .entries
            .keys()
            .map(|key| (variable_of(key), key.clone()))
            .collect();
        for (name, value) in variables {
            if !name.starts_with(PREFIX) || is_service_link(name, value) {
                continue;
            }
            // No settings: how a test makes tasks panic (`runtime::tasks`) and time pass (`clock::moved`), and
            // starts accounts at once (`account::backoff`).
            let of_tests = [
                "WILDCAT_TEST_PANIC",
                "WILDCAT_TEST_CLOCK",
                "WILDCAT_TEST_STARTS",
            ];
            if cfg!(feature = "sandbox") && of_tests.contains(&name.as_str()) {
                continue;
            }
            match keys.get(name) {
                Some(key) => self.set_text(key, value, Origin::Env(name.clone())),
                None => self.errors.push(ConfigError::UnknownVariable {
                    variable: name.clone(),
                }),
            }
        }
    }

    /// `HOST` and `PORT` are one setting here.
    fn listen_of_old(&mut self, variables: &[(String, String)]) {
        const KEY: &str = "server.listen";
        let find = |wanted: &str| {
            variables
                .iter()
                .find(|(name, value)| name == wanted && !value.is_empty())
                .map(|(_, value)| value.as_str())
        };
        let (host, port) = (find("HOST"), find("PORT"));
        let origin = Origin::Env(match (host, port) {
            (None, None) => return,
            (Some(_), None) => "HOST".to_owned(),
            (None, Some(_)) => "PORT".to_owned(),
            (Some(_), Some(_)) => "HOST, PORT".to_owned(),
        });
        let Some(Entry {
            value: Scalar::Text(current),
            ..
        }) = self.entries.get(KEY)
        else {
            return;
        };
        let (current_host, current_port) = current.rsplit_once(':').unwrap_or((current, "3000"));
        let host = match host {
            Some(host) if host.contains(':') && !host.starts_with('[') => format!("[{host}]"),
            Some(host) => host.to_owned(),
            None => current_host.to_owned(),
        };
        let listen = format!("{host}:{}", port.unwrap_or(current_port));
        self.set_text(KEY, &listen, origin);
    }

    /// A value from where everything is text.
    pub(super) fn set_text(&mut self, key: &str, text: &str, origin: Origin) {
        let Some(entry) = self.entries.get_mut(key) else {
            self.errors.push(ConfigError::UnknownKey {
                origin,
                key: key.to_owned(),
            });
            return;
        };
        match entry.value.same_kind(text) {
            Ok(value) => *entry = Entry { value, origin },
            Err(message) => self.errors.push(ConfigError::BadValue {
                origin,
                key: key.to_owned(),
                message,
            }),
        }
    }
}

fn scalar(value: &DeValue<'_>) -> Result<Scalar, String> {
    match value {
        DeValue::String(text) => Ok(Scalar::Text(text.to_string())),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map(Scalar::Number)
            .map_err(|_| format!("{} is too large", number.as_str())),
        DeValue::Boolean(flag) => Ok(Scalar::Flag(*flag)),
        other => Err(format!(
            "a text, a whole number, or true or false is expected here, not {}",
            other.type_str()
        )),
    }
}

/// The name of a setting in the environment.
fn variable_of(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "_").to_ascii_uppercase())
}

/// Kubernetes and Docker tell what runs beside a service named "wildcat" about it in variables that
/// happen to start like ours (`WILDCAT_SERVICE_HOST`, `WILDCAT_PORT=tcp://…`). Nobody set them.
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
    errors: &mut Vec<ConfigError>,
) -> Vec<(String, String)> {
    const OTHERS: [&str; 6] = [
        "HOST",
        "PORT",
        "LOG_LEVEL",
        "ADMIN_NUMBER",
        "AUTO_CONNECT_ON_START",
        "STATE_DIRECTORY",
    ];
    let mut found = Vec::new();
    for (name, value) in env {
        let Ok(name) = name.into_string() else {
            continue;
        };
        if !name.starts_with(PREFIX) && !OTHERS.contains(&name.as_str()) {
            continue;
        }
        match value.into_string() {
            Ok(value) => found.push((name, value)),
            Err(_) => errors.push(ConfigError::Syntax {
                origin: Origin::Env(name),
                message: "the value is not UTF-8".to_owned(),
            }),
        }
    }
    found
}

/// Reads values by their meaning; what is wrong is noted, and the built-in value stands in.
pub(super) struct Reader<'a> {
    pub(super) layers: &'a mut Layers,
    pub(super) built_in: &'a Layers,
}

impl Reader<'_> {
    fn get<T>(&mut self, key: &str, parse: impl Fn(&Scalar) -> Result<T, String>) -> T {
        if let Some(entry) = self.layers.entries.get(key) {
            match parse(&entry.value) {
                Ok(value) => return value,
                Err(message) => self.layers.errors.push(ConfigError::BadValue {
                    origin: entry.origin.clone(),
                    key: key.to_owned(),
                    message,
                }),
            }
        }
        // The built-in file holds every key with a good value: it is part of the program, and a
        // test reads it through here.
        let entry = &self.built_in.entries[key];
        parse(&entry.value).unwrap_or_else(|message| panic!("built-in {key}: {message}"))
    }

    pub(super) fn text<T>(&mut self, key: &str, parse: impl Fn(&str) -> Result<T, String>) -> T {
        self.get(key, |value| match value {
            Scalar::Text(text) => parse(text),
            other => Err(mismatch("a text in quotes", other)),
        })
    }

    pub(super) fn number<T>(&mut self, key: &str, range: std::ops::RangeInclusive<T>) -> T
    where
        T: TryFrom<i64> + PartialOrd + fmt::Display + Copy,
    {
        self.get(key, |value| match value {
            Scalar::Number(number) => values::number(*number, range.clone()),
            other => Err(mismatch("a whole number", other)),
        })
    }

    pub(super) fn flag(&mut self, key: &str) -> bool {
        self.get(key, |value| match value {
            Scalar::Flag(flag) => Ok(*flag),
            other => Err(mismatch("true or false", other)),
        })
    }
}

fn mismatch(wanted: &str, found: &Scalar) -> String {
    format!("{wanted} is expected here, not {}", found.kind())
}
