//! The command line.

use std::ffi::OsString;

use crate::config::{Override, Overrides};

/// What `wildcat --help` prints. It fits a screen of 24 lines and 80 columns.
pub const HELP: &str = "\
wildcat: WhatsApp accounts over HTTP

Usage: wildcat [COMMAND] [OPTIONS]

Commands:
  run              Run the server; also without any command
  check-config     Print the settings that count and where each comes from
  sandbox          Run with a simulated WhatsApp: try things out without a phone
                   (in builds with `--features sandbox`)

Options:
  --config FILE    Configuration file; without it ./wildcat.toml is looked for,
                   then /etc/wildcat/wildcat.toml
  --data DIR       Data directory [$STATE_DIRECTORY, else ./wildcat-data]
  --listen ADDR    Address and port of the HTTP API [0.0.0.0:3000]
  --log LEVEL      off, error, warn, info, debug or trace [info]
  --version        Print the version
  --help           Print this text

Every setting can stand in the file or in the environment, for example as
WILDCAT_SERVER_LISTEN; `wildcat check-config` lists them.
";

/// What `wildcat --version` prints.
pub const VERSION: &str = concat!("wildcat ", env!("CARGO_PKG_VERSION"));

/// What the command line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Run(Overrides),
    CheckConfig(Overrides),
    Sandbox(Overrides),
    Version,
    Help,
}

/// Why the command line cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArgsError {
    #[error("there is no command {0:?}; try `wildcat --help`")]
    UnknownCommand(String),
    #[error("there is no option {0:?}; try `wildcat --help`")]
    UnknownOption(String),
    #[error("{0} needs a value")]
    MissingValue(&'static str),
    #[error("{0} takes no value")]
    UnexpectedValue(String),
    #[error("{0} is given twice")]
    Twice(&'static str),
    #[error("{0:?} is not needed: there is one command")]
    UnexpectedArgument(String),
    #[error("{0:?} is not UTF-8")]
    NotUtf8(OsString),
    #[error("this build has no sandbox: build it with `cargo build --release --features sandbox`")]
    NoSandbox,
}

/// The options with a value, and the settings behind them. The configuration file is none.
const OPTIONS: [(&str, Option<&str>); 4] = [
    ("--config", None),
    ("--data", Some("storage.path")),
    ("--listen", Some("server.listen")),
    ("--log", Some("log.level")),
];

/// Reads the arguments, without the program's own name.
///
/// # Errors
/// The first thing that is wrong.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command, ArgsError> {
    let mut args = args
        .into_iter()
        .map(|arg| arg.into_string().map_err(ArgsError::NotUtf8));
    let mut command = None;
    let mut overrides = Overrides::default();
    let mut seen = Vec::new();
    while let Some(arg) = args.next() {
        let arg = arg?;
        if !arg.starts_with('-') {
            if command.is_some() {
                return Err(ArgsError::UnexpectedArgument(arg));
            }
            command = Some(arg);
            continue;
        }
        let (name, inline) = match arg.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (arg.as_str(), None),
        };
        if let "--help" | "-h" | "--version" | "-V" = name {
            if inline.is_some() {
                return Err(ArgsError::UnexpectedValue(name.to_owned()));
            }
            return Ok(match name {
                "--help" | "-h" => Command::Help,
                _ => Command::Version,
            });
        }
        let Some((flag, key)) = OPTIONS.into_iter().find(|(flag, _)| *flag == name) else {
            return Err(ArgsError::UnknownOption(name.to_owned()));
        };
        if seen.contains(&flag) {
            return Err(ArgsError::Twice(flag));
        }
        seen.push(flag);
        let value = match inline {
            Some(value) => value,
            None => args.next().ok_or(ArgsError::MissingValue(flag))??,
        };
        if value.is_empty() {
            return Err(ArgsError::MissingValue(flag));
        }
        match key {
            None => overrides.file = Some(value.into()),
            Some(key) => overrides.values.push(Override { key, flag, value }),
        }
    }
    match command.as_deref() {
        None | Some("run") => Ok(Command::Run(overrides)),
        Some("check-config") => Ok(Command::CheckConfig(overrides)),
        Some("sandbox") if cfg!(feature = "sandbox") => Ok(Command::Sandbox(overrides)),
        Some("sandbox") => Err(ArgsError::NoSandbox),
        Some("help") => Ok(Command::Help),
        Some(other) => Err(ArgsError::UnknownCommand(other.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, ArgsError> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn help_fits_one_screen() {
        assert!(HELP.lines().count() <= 24);
        for line in HELP.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
        for (flag, _) in OPTIONS {
            assert!(HELP.contains(flag));
        }
    }

    #[test]
    fn commands_and_options_in_any_order() {
        assert_eq!(parsed(""), Ok(Command::Run(Overrides::default())));
        assert_eq!(parsed("run"), parsed(""));
        assert_eq!(parsed("run --help"), Ok(Command::Help));
        assert_eq!(parsed("-V"), Ok(Command::Version));
        let one = parsed("--data=/d check-config --config f --listen 127.0.0.1:0");
        let other = parsed("check-config --data /d --config=f --listen=127.0.0.1:0");
        assert_eq!(one, other);
        let Ok(Command::CheckConfig(overrides)) = one else {
            panic!("{one:?}");
        };
        assert_eq!(overrides.file.as_deref(), Some("f".as_ref()));
        assert_eq!(
            overrides.values[0],
            Override {
                key: "storage.path",
                flag: "--data",
                value: "/d".to_owned()
            }
        );
    }

    #[test]
    fn what_is_wrong_is_said() {
        assert_eq!(
            parsed("--port 1"),
            Err(ArgsError::UnknownOption("--port".into()))
        );
        assert_eq!(parsed("fly"), Err(ArgsError::UnknownCommand("fly".into())));
        assert_eq!(
            parsed("run run"),
            Err(ArgsError::UnexpectedArgument("run".into()))
        );
        assert_eq!(parsed("--data"), Err(ArgsError::MissingValue("--data")));
        assert_eq!(parsed("--data="), Err(ArgsError::MissingValue("--data")));
        assert_eq!(parsed("--log a --log b"), Err(ArgsError::Twice("--log")));
        assert_eq!(
            parsed("--help=x"),
            Err(ArgsError::UnexpectedValue("--help".into()))
        );
    }

    #[test]
    fn the_sandbox_says_how_to_get_it() {
        let expected = match cfg!(feature = "sandbox") {
            true => Ok(Command::Sandbox(Overrides::default())),
            false => Err(ArgsError::NoSandbox),
        };
        assert_eq!(parsed("sandbox"), expected);
    }

    #[test]
    fn flags_name_settings_that_exist() {
        for (_, key) in OPTIONS {
            let Some(key) = key.and_then(|key| key.split_once('.')) else {
                continue;
            };
            assert!(crate::config::BUILT_IN.contains(&format!("[{}]", key.0)));
            assert!(crate::config::BUILT_IN.contains(&format!("\n{} = ", key.1)));
        }
    }
}
