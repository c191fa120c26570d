//! Every setting and limit of the server: the defaults, overridden by a file, by the environment and by the
//! command line, in that order.
//!
//! A setting is declared once, in `declared.rs`; the fields of [`Settings`], `config/wildcat.toml`, the names in
//! the environment, `check-config` and the manual's page come from there.
//!
//! ```no_run
//! use wildcat::settings::{self, Overrides};
//!
//! let variables = [("WILDCAT_SERVER_LISTEN".into(), "127.0.0.1:8080".into())];
//! let loaded = settings::load(&Overrides::default(), variables)?;
//! assert_eq!(loaded.settings.server.listen.port(), 8080);
//! # Ok::<(), wildcat::settings::SettingsErrors>(())
//! ```

mod declared;
mod layers;
mod table;
mod values;

use std::ffi::OsString;
use std::fmt::{self, Write as _};
use std::io::Read as _;
use std::path::{Path, PathBuf};

pub use declared::*;
use layers::{Layers, STATE_DIRECTORY};
pub use layers::{Origin, SettingsError};
pub use table::Setting;

/// A configuration file larger than this is not one.
const MAX_FILE_BYTES: u64 = 256 << 10;

/// Where a file is looked for when none is named.
const FILES: [&str; 2] = ["./wildcat.toml", "/etc/wildcat/wildcat.toml"];

/// The settings of the command line.
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
    /// The place that error messages name: `--listen`.
    pub flag: &'static str,
    pub value: String,
}

/// Every mistake in the configuration, one line each.
#[derive(Debug)]
pub struct SettingsErrors(pub Vec<SettingsError>);

impl fmt::Display for SettingsErrors {
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

impl std::error::Error for SettingsErrors {}

/// The settings, and where their values come from.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub settings: Settings,
    /// One for each of [`SETTINGS`], in their order.
    origins: Vec<Origin>,
}

/// The index in [`SETTINGS`] of `section.name`.
fn find(key: &str) -> Option<usize> {
    let (section, name) = key.split_once('.')?;
    SETTINGS
        .iter()
        .position(|setting| setting.section == section && setting.name == name)
}

/// Reads the settings from their file, `env` and `overrides`.
///
/// # Errors
/// Every mistake, with the file and line, the variable or the flag.
pub fn load(
    overrides: &Overrides,
    env: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Loaded, SettingsErrors> {
    let file = match &overrides.file {
        Some(path) => Some(path.clone()),
        None => FILES.iter().map(PathBuf::from).find(|path| path.exists()),
    };
    let file = match file {
        Some(path) => match read_file(&path) {
            Ok(text) => Some((path, text)),
            Err(source) => return Err(SettingsErrors(vec![SettingsError::Read { path, source }])),
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
) -> Result<Loaded, SettingsErrors> {
    let mut layers = Layers::defaults();
    if let Some((path, text)) = file {
        layers.file(path, text);
    }
    let variables = layers::variables(env, &mut layers.errors);
    layers.environment(&variables);
    for Override { key, flag, value } in overrides {
        layers.flag(key, value, flag);
    }
    place_data(&mut layers, &variables);
    let settings = Settings::read(&mut layers);
    check_sandbox(&settings, &mut layers, cfg!(feature = "sandbox"));
    if !layers.errors.is_empty() {
        return Err(SettingsErrors(layers.errors));
    }
    let origins = layers.entries.into_iter().map(|entry| entry.origin);
    Ok(Loaded {
        settings,
        origins: origins.collect(),
    })
}

// What depends on more than one setting, or on this build, follows here.

/// Without a data directory of its own, the server takes systemd's, or one below the working directory.
fn place_data(layers: &mut Layers, variables: &[(String, String)]) {
    let Some(at) = find("storage.path") else {
        return;
    };
    if layers.entries[at].text.as_deref() != Ok("") {
        return;
    }
    let state_directory = variables
        .iter()
        .find(|(name, _)| name == STATE_DIRECTORY)
        // systemd separates several directories by colons; the first is ours.
        .and_then(|(_, value)| value.split(':').next())
        .filter(|directory| !directory.is_empty());
    let (path, origin) = match state_directory {
        Some(directory) => (directory, Origin::Env(STATE_DIRECTORY.to_owned())),
        None => ("./wildcat-data", layers.entries[at].origin.clone()),
    };
    layers.set(at, path, origin);
}

/// A build that can skip the check of WhatsApp's Noise root talks to this machine only.
fn check_sandbox(settings: &Settings, layers: &mut Layers, sandbox: bool) {
    let url = &settings.whatsapp.url;
    if sandbox
        && !values::is_loopback(url)
        && let Some(at) = find("whatsapp.url")
    {
        layers.refuse(
            at,
            format!(
                "{url} is not on this machine, and a build with the sandbox feature goes nowhere else"
            ),
        );
    }
}

impl Loaded {
    /// Where the value of `section.name` was found.
    pub fn origin(&self, key: &str) -> Option<&Origin> {
        find(key).and_then(|at| self.origins.get(at))
    }

    /// The effective settings, as a configuration file with a note where each was found.
    pub fn describe(&self) -> String {
        let mut text = String::new();
        let mut section = "";
        let values = self.settings.shown();
        for ((setting, value), origin) in SETTINGS.iter().zip(values).zip(&self.origins) {
            if setting.section != section {
                let gap = if section.is_empty() { "" } else { "\n" };
                section = setting.section;
                // Writing to a string cannot fail; nor below.
                let _ = writeln!(text, "{gap}[{section}]");
            }
            let (value, origin) = (setting.toml(&value), origin.to_string());
            let _ = writeln!(
                text,
                "{} = {value}  # {}",
                setting.name,
                origin.escape_debug()
            );
        }
        text
    }
}

/// A setting as `GET /settings` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// `section.name`.
    pub name: String,
    pub value: String,
    /// Whether the value is the default.
    pub is_default: bool,
}

impl Settings {
    /// Every setting with its effective value.
    pub fn rows(&self) -> Vec<Row> {
        let mut layers = Layers::defaults();
        place_data(&mut layers, &[]);
        let mut defaults = Settings::read(&mut layers).shown().into_iter();
        let rows = SETTINGS.iter().zip(self.shown());
        rows.map(|(setting, value)| Row {
            name: setting.key(),
            is_default: defaults.next().as_ref() == Some(&value),
            value,
        })
        .collect()
    }

    /// The file of the API's keys.
    pub fn keys_file(&self) -> PathBuf {
        match &self.auth.keys {
            Some(path) => path.clone(),
            None => self.storage.path.join("keys.toml"),
        }
    }
}

#[cfg(test)]
mod documents;
#[cfg(test)]
mod tests;
