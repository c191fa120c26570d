//! The command line.

use std::ffi::OsString;

use crate::keys::NewKey;
use crate::settings::{Override, Overrides};

/// The output of `wildcat --help`. Fits a screen of 24 lines and 80 columns.
pub const HELP: &str = "\
wildcat: WhatsApp accounts over HTTP

Usage: wildcat [COMMAND] [OPTIONS]

Commands:
  run              Run the server; also without any command
  key              Keys of the API: `key add NAME [--account ID] [--read-only]`,
                   `key list`, `key remove NAME`
  backup FILE      Copy everything into FILE, also while the server runs
  restore FILE     Put such a copy into a new data directory
  export ACCOUNT   Print its messages, one JSON object a line, oldest first
  check-config     Print the settings that count and where each comes from
  sandbox          Run with a simulated WhatsApp (`--features sandbox`)

Options:
  --config FILE    Settings [./wildcat.toml, else /etc/wildcat/wildcat.toml]
  --data DIR       Data directory [$STATE_DIRECTORY, else ./wildcat-data]
  --listen ADDR    Address and port of the HTTP API [0.0.0.0:3000]
  --log LEVEL      off, error, warn, info, debug or trace [info]
  --version        Print the version
  --help           Print this text, or with a command what that does

Every setting can stand in the file or in the environment, for example as
WILDCAT_SERVER_LISTEN; `wildcat check-config` lists them.
";

/// The output of `wildcat COMMAND --help`, by command. Fits a screen, too.
const COMMANDS: [(&str, &str); 7] = [
    (
        "run",
        "\
Usage: wildcat [run] [OPTIONS]

Runs the server in the foreground until SIGTERM or SIGINT. Without a key it
answers only requests from its own machine (see `wildcat key --help`).

  --config FILE    Settings [./wildcat.toml, else /etc/wildcat/wildcat.toml]
  --data DIR       Data directory [$STATE_DIRECTORY, else ./wildcat-data]
  --listen ADDR    Address and port of the HTTP API [0.0.0.0:3000]
  --log LEVEL      off, error, warn, info, debug or trace [info]

Example:
  wildcat run --data /var/lib/wildcat --listen 127.0.0.1:3000
",
    ),
    (
        "key",
        "\
Usage: wildcat key add NAME [--account ID] [--read-only] [--data DIR]
       wildcat key list [--data DIR]
       wildcat key remove NAME [--data DIR]

Makes, lists and removes the keys of the API. What it does counts at once, also
while the server runs. A key is printed once; the server keeps only its hash.
From the first key on, every request needs one.

  --account ID     The key opens this account and shows nothing of others
  --read-only      The key only reads
  --data DIR       The server's data directory [$STATE_DIRECTORY, else
                   ./wildcat-data]; it has to be there
  --config FILE    The server's settings, which may name it

Example:
  wildcat key add home-assistant --data /var/lib/wildcat
",
    ),
    (
        "backup",
        "\
Usage: wildcat backup FILE [--data DIR] [--config FILE]

Copies everything, the accounts' own keys as well, into FILE, also while the
server runs. Keep it safe: with it one can write as you. FILE is replaced when
the copy is complete; it has to be a file, or new. With `-` the copy goes to
standard output.

  --data DIR       Data directory [$STATE_DIRECTORY, else ./wildcat-data]

Examples:
  wildcat backup /mnt/usb/wildcat.tar --data /var/lib/wildcat
  wildcat backup - --data /var/lib/wildcat | ssh nas 'cat > wildcat.tar'
",
    ),
    (
        "restore",
        "\
Usage: wildcat restore FILE [--data DIR] [--config FILE]

Puts a copy that `wildcat backup` has made into a data directory that is new or
empty. With `-` the copy comes from standard input. What root restores belongs
to the directory's owner. Never start the server again that it was copied from.

  --data DIR       Data directory [$STATE_DIRECTORY, else ./wildcat-data]

Example:
  wildcat restore wildcat.tar --data /var/lib/wildcat
",
    ),
    (
        "export",
        "\
Usage: wildcat export ACCOUNT [--data DIR] [--config FILE]

Prints the account's messages, one JSON object a line, the oldest first; also
while the server runs.

  --data DIR       Data directory [$STATE_DIRECTORY, else ./wildcat-data]

Example:
  wildcat export mybot --data /var/lib/wildcat > mybot.jsonl
",
    ),
    (
        "check-config",
        "\
Usage: wildcat check-config [OPTIONS]

Prints the settings that count, and where each comes from: built in, the file,
the environment or an option. Ends with 2 if one of them is wrong.

  --config FILE    Settings [./wildcat.toml, else /etc/wildcat/wildcat.toml]
  --data DIR, --listen ADDR, --log LEVEL   as for `wildcat run`
",
    ),
    (
        "sandbox",
        "\
Usage: wildcat sandbox [--listen ADDR] [--log LEVEL]

Runs the server with a simulated WhatsApp on this machine, an account paired,
and prints what to try. Everything is gone when it ends. Only a build with
`--features sandbox` has it.

  --listen ADDR    Address and port of the HTTP API [127.0.0.1:3000]; also
                   WILDCAT_SERVER_LISTEN
",
    ),
];

/// The help of a command, or that of the program.
///
/// # Errors
/// If there is no such command.
pub fn help(command: Option<&str>) -> Result<&'static str, ArgsError> {
    let Some(command) = command else {
        return Ok(HELP);
    };
    let found = COMMANDS.iter().find(|(name, _)| *name == command);
    match found {
        Some((_, text)) => Ok(text),
        None if command == "help" => Ok(HELP),
        None => Err(ArgsError::UnknownCommand(command.to_owned())),
    }
}

/// The output of `wildcat --version`.
pub const VERSION: &str = concat!("wildcat ", env!("CARGO_PKG_VERSION"));

/// A parsed command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Run(Overrides),
    CheckConfig(Overrides),
    Key(KeyCommand, Overrides),
    Backup(String, Overrides),
    Restore(String, Overrides),
    Export(String, Overrides),
    Sandbox(Overrides),
    Version,
    /// Prints this text.
    Help(&'static str),
}

/// The subcommands of `wildcat key`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyCommand {
    Add(NewKey),
    List,
    Remove(String),
}

/// Why a command line is refused.
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
    #[error("it is `key add NAME [--account ID] [--read-only]`, `key list` or `key remove NAME`")]
    Key,
    #[error("the key's name is missing: it is `key {0} NAME{1}`")]
    KeyName(&'static str, &'static str),
    #[error("it is `wildcat {0} {1}`")]
    OneWord(&'static str, &'static str),
    #[error("{0} belongs to `wildcat key add` alone")]
    OnlyForKeys(&'static str),
    #[error("{0:?} is not UTF-8")]
    NotUtf8(OsString),
    #[error("this build has no sandbox: build it with `cargo build --release --features sandbox`")]
    NoSandbox,
}

/// The options with a value, and the settings that they set; `--config` sets none.
const OPTIONS: [(&str, Option<&str>); 4] = [
    ("--config", None),
    ("--data", Some("storage.path")),
    ("--listen", Some("server.listen")),
    ("--log", Some("log.level")),
];

/// The options of `key add` only.
const ACCOUNT: &str = "--account";
const READ_ONLY: &str = "--read-only";

/// Parses the arguments, without the program's name.
///
/// # Errors
/// The first error.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command, ArgsError> {
    let mut args = args
        .into_iter()
        .map(|arg| arg.into_string().map_err(ArgsError::NotUtf8));
    let mut words = Vec::new();
    let mut overrides = Overrides::default();
    let mut account = None;
    let mut read_only = false;
    let mut seen = Vec::new();
    while let Some(arg) = args.next() {
        let arg = arg?;
        // `-` alone is a file name: standard input or output.
        if !arg.starts_with('-') || arg == "-" {
            words.push(arg);
            continue;
        }
        let (name, inline) = match arg.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (arg.as_str(), None),
        };
        if let "--help" | "-h" | "--version" | "-V" | READ_ONLY = name {
            if inline.is_some() {
                return Err(ArgsError::UnexpectedValue(name.to_owned()));
            }
            match name {
                "--help" | "-h" => {
                    // The command may precede or follow it.
                    let is_word = |arg: &String| !arg.starts_with('-');
                    let behind = || args.by_ref().flatten().find(is_word);
                    let command = words.into_iter().next().or_else(behind);
                    return help(command.as_deref()).map(Command::Help);
                }
                READ_ONLY => read_only = true,
                _ => return Ok(Command::Version),
            }
            continue;
        }
        let known = OPTIONS.into_iter().chain([(ACCOUNT, None)]);
        let Some((flag, key)) = known.into_iter().find(|(flag, _)| *flag == name) else {
            return Err(ArgsError::UnknownOption(name.to_owned()));
        };
        if seen.contains(&flag) {
            return Err(ArgsError::Twice(flag));
        }
        seen.push(flag);
        let value = match inline {
            Some(value) => value,
            // A value that begins with a dash needs the form `--data=-d`.
            None => match args.next().transpose()? {
                Some(value) if !value.starts_with('-') => value,
                _ => return Err(ArgsError::MissingValue(flag)),
            },
        };
        if value.is_empty() {
            return Err(ArgsError::MissingValue(flag));
        }
        match key {
            None if flag == ACCOUNT => account = Some(value),
            None => overrides.file = Some(value.into()),
            Some(key) => overrides.values.push(Override { key, flag, value }),
        }
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    if let ["key", "add", name] = words[..] {
        let new = NewKey {
            name: name.to_owned(),
            account,
            read_only,
        };
        return Ok(Command::Key(KeyCommand::Add(new), overrides));
    }
    if words[..] == ["key", "add"] {
        return Err(ArgsError::KeyName("add", " [--account ID] [--read-only]"));
    }
    for (flag, is_there) in [(ACCOUNT, account.is_some()), (READ_ONLY, read_only)] {
        if is_there {
            return Err(ArgsError::OnlyForKeys(flag));
        }
    }
    command(&words, overrides)
}

/// Parses a command other than `key add`.
fn command(words: &[&str], overrides: Overrides) -> Result<Command, ArgsError> {
    let command = match words {
        [] | ["run", ..] => Command::Run(overrides),
        ["check-config", ..] => Command::CheckConfig(overrides),
        ["key", "list"] => return Ok(Command::Key(KeyCommand::List, overrides)),
        ["key", "remove", name] => {
            return Ok(Command::Key(
                KeyCommand::Remove((*name).to_owned()),
                overrides,
            ));
        }
        ["key", "remove"] => return Err(ArgsError::KeyName("remove", "")),
        ["key", ..] => return Err(ArgsError::Key),
        ["backup", file] => return Ok(Command::Backup((*file).to_owned(), overrides)),
        ["restore", file] => return Ok(Command::Restore((*file).to_owned(), overrides)),
        ["export", account] => return Ok(Command::Export((*account).to_owned(), overrides)),
        ["backup", ..] => return Err(ArgsError::OneWord("backup", "FILE")),
        ["restore", ..] => return Err(ArgsError::OneWord("restore", "FILE")),
        ["export", ..] => return Err(ArgsError::OneWord("export", "ACCOUNT")),
        ["sandbox", ..] if cfg!(feature = "sandbox") => Command::Sandbox(overrides),
        ["sandbox", ..] => return Err(ArgsError::NoSandbox),
        ["help", rest @ ..] => {
            return help(rest.first().copied()).map(Command::Help);
        }
        [other, ..] => return Err(ArgsError::UnknownCommand((*other).to_owned())),
    };
    match words.get(1) {
        Some(more) => Err(ArgsError::UnexpectedArgument((*more).to_owned())),
        None => Ok(command),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::SETTINGS;

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
        for (command, text) in COMMANDS {
            assert!(HELP.contains(&format!("\n  {command} ")), "{command}");
            assert!(text.starts_with("Usage: wildcat ") && text.lines().count() <= 24);
            assert!(
                text.lines()
                    .next()
                    .is_some_and(|line| line.contains(command))
            );
            for line in text.lines() {
                assert!(line.chars().count() <= 80, "{line}");
            }
        }
    }

    #[test]
    fn commands_and_options_in_any_order() {
        assert_eq!(parsed(""), Ok(Command::Run(Overrides::default())));
        assert_eq!(parsed("run"), parsed(""));
        for (line, command) in [
            ("--help", None),
            ("-h", None),
            ("help", None),
            ("run --help", Some("run")),
            ("--help backup", Some("backup")),
            ("help export", Some("export")),
            ("key add --account a -h", Some("key")),
            ("sandbox --help", Some("sandbox")),
        ] {
            let text = help(command).unwrap();
            assert_eq!(parsed(line), Ok(Command::Help(text)), "{line}");
        }
        assert_eq!(
            parsed("fly --help"),
            Err(ArgsError::UnknownCommand("fly".into()))
        );
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
    fn errors_name_the_argument() {
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
        for bad in ["--data --help", "--data -h", "run --data --log debug"] {
            assert_eq!(parsed(bad), Err(ArgsError::MissingValue("--data")), "{bad}");
        }
        assert!(matches!(parsed("--data=-d"), Ok(Command::Run(_))));
        assert_eq!(parsed("--data="), Err(ArgsError::MissingValue("--data")));
        assert_eq!(parsed("--log a --log b"), Err(ArgsError::Twice("--log")));
        assert_eq!(
            parsed("--help=x"),
            Err(ArgsError::UnexpectedValue("--help".into()))
        );
    }

    #[test]
    fn key_commands_are_parsed() {
        let add = |account: Option<&str>, read_only| {
            let new = NewKey {
                name: "ha".to_owned(),
                account: account.map(str::to_owned),
                read_only,
            };
            Ok(Command::Key(KeyCommand::Add(new), Overrides::default()))
        };
        assert_eq!(parsed("key add ha"), add(None, false));
        assert_eq!(
            parsed("key --read-only add --account=alice ha"),
            add(Some("alice"), true)
        );
        assert_eq!(
            parsed("key list"),
            Ok(Command::Key(KeyCommand::List, Overrides::default()))
        );
        assert!(matches!(
            parsed("key remove ha --data /d"),
            Ok(Command::Key(KeyCommand::Remove(name), _)) if name == "ha"
        ));
        for (bad, words) in [
            ("key add", "add"),
            ("key add --account a", "add"),
            ("key remove", "remove"),
        ] {
            let error = parsed(bad).unwrap_err();
            assert!(matches!(error, ArgsError::KeyName(command, _) if command == words));
            assert!(error.to_string().starts_with("the key's name is missing"));
        }
        for bad in ["key", "key add a b", "key list a", "key fly"] {
            assert_eq!(parsed(bad), Err(ArgsError::Key), "{bad}");
        }
        assert_eq!(
            parsed("key list --read-only"),
            Err(ArgsError::OnlyForKeys("--read-only"))
        );
        assert_eq!(
            parsed("run --account a"),
            Err(ArgsError::OnlyForKeys("--account"))
        );
        assert_eq!(
            parsed("key add a --read-only=1"),
            Err(ArgsError::UnexpectedValue("--read-only".into()))
        );
    }

    #[test]
    fn backup_restore_and_export_take_one_word() {
        let file = || "f.tar".to_owned();
        let none = Overrides::default;
        assert_eq!(parsed("backup f.tar"), Ok(Command::Backup(file(), none())));
        let dash = Command::Backup("-".to_owned(), none());
        assert_eq!(parsed("backup -"), Ok(dash));
        assert_eq!(
            parsed("restore f.tar"),
            Ok(Command::Restore(file(), none()))
        );
        let export = Command::Export("alice".to_owned(), none());
        assert_eq!(parsed("export alice"), Ok(export));
        for (bad, command, what) in [
            ("backup", "backup", "FILE"),
            ("backup a b", "backup", "FILE"),
            ("restore", "restore", "FILE"),
            ("export", "export", "ACCOUNT"),
        ] {
            assert_eq!(parsed(bad), Err(ArgsError::OneWord(command, what)));
        }
    }

    #[test]
    fn the_sandbox_needs_its_feature() {
        let expected = match cfg!(feature = "sandbox") {
            true => Ok(Command::Sandbox(Overrides::default())),
            false => Err(ArgsError::NoSandbox),
        };
        assert_eq!(parsed("sandbox"), expected);
    }

    #[test]
    fn flags_name_settings_that_exist() {
        for (_, key) in OPTIONS {
            let exists = |key| SETTINGS.iter().any(|setting| setting.key() == key);
            assert!(key.is_none_or(exists), "{key:?}");
        }
    }
}
