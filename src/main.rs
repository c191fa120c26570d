//! Parses arguments, loads the configuration, runs the command, sets the exit code.

use std::io::{BufWriter, ErrorKind, IsTerminal as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use wildcat::archive::{self, ArchiveError, Copied};
use wildcat::args::{self, Command, KeyCommand};
use wildcat::keys::{self, KeyError};
use wildcat::runtime::Signals;
use wildcat::settings::{self, Loaded, Overrides, Settings};
use wildcat::store::{Reader, accounts};
use wildcat::whatsapp::{NOISY, TELLING};
use wildcat::{RunError, clock, console, text};

/// The exit code for wrong arguments or settings.
const USAGE: u8 = 2;
/// The exit code after a second signal.
const INTERRUPTED: i32 = 130;

fn main() -> ExitCode {
    console::log_panics();
    let command = match args::parse(std::env::args_os().skip(1)) {
        Ok(command) => command,
        Err(error) => {
            console::complain(&error);
            return ExitCode::from(USAGE);
        }
    };
    match command {
        Command::Help(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Command::Version => {
            println!("{}", args::VERSION);
            ExitCode::SUCCESS
        }
        Command::CheckConfig(overrides) => with_config(&overrides, |loaded| {
            print!("{}", loaded.describe());
            ExitCode::SUCCESS
        }),
        Command::Key(command, overrides) => {
            with_config(&offline(overrides), |loaded| match key(command, &loaded) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    console::complain(&error);
                    ExitCode::FAILURE
                }
            })
        }
        Command::Backup(file, overrides) => with_config(&offline(overrides), |loaded| {
            copying(backup(&loaded.settings.storage.path, &file))
        }),
        Command::Restore(file, overrides) => with_config(&offline(overrides), |loaded| {
            copying(restore(&file, &loaded.settings.storage.path))
        }),
        Command::Export(account, overrides) => with_config(&offline(overrides), |loaded| {
            copying(export(&loaded.settings.storage.path, &account))
        }),
        Command::Run(overrides) => with_config(&overrides, |loaded| {
            console::init_log(loaded.settings.log.level, NOISY, TELLING);
            finish(listen_to_signals().and_then(|stop| wildcat::run(&loaded.settings, stop)))
        }),
        Command::Sandbox(overrides) => sandbox(&overrides),
    }
}

fn with_config(overrides: &Overrides, then: impl FnOnce(Loaded) -> ExitCode) -> ExitCode {
    match settings::load(overrides, std::env::vars_os()) {
        Ok(loaded) => then(loaded),
        Err(errors) => {
            for error in errors.0 {
                console::complain(&error);
            }
            ExitCode::from(USAGE)
        }
    }
}

/// Settings of a command that does not connect to WhatsApp: a sandbox build need not refuse the address.
fn offline(mut overrides: Overrides) -> Overrides {
    if cfg!(feature = "sandbox") {
        overrides.values.push(settings::Override {
            key: "whatsapp.url",
            flag: "no connection",
            value: "wss://localhost/".to_owned(),
        });
    }
    overrides
}

fn copying(result: Result<(), ArchiveError>) -> ExitCode {
    match result {
        // The reader has closed the pipe, as `head` does.
        Err(ArchiveError::Output(error)) if error.kind() == ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            console::complain(&error);
            ExitCode::FAILURE
        }
        Ok(()) => ExitCode::SUCCESS,
    }
}

/// `wildcat backup FILE`.
fn backup(data: &Path, file: &str) -> Result<(), ArchiveError> {
    let Copied { files, bytes } = match file {
        "-" if std::io::stdout().is_terminal() => {
            return Err(ArchiveError::Output(std::io::Error::other(
                "standard output is a terminal, and a backup is no text",
            )));
        }
        "-" => archive::backup_to(data, std::io::stdout().lock())?,
        file => archive::backup(data, Path::new(file))?,
    };
    eprintln!(
        "{}: {files} files, {bytes} bytes. It holds the keys of the accounts: keep it safe.",
        text::plain(file)
    );
    Ok(())
}

/// `wildcat restore FILE`.
fn restore(file: &str, data: &Path) -> Result<(), ArchiveError> {
    let Copied { files, bytes } = archive::restore(Path::new(file), data)?;
    eprintln!(
        "{}: {files} files, {bytes} bytes restored.

The keys that encrypt each chat change with every message, and those in a copy are
out of date: they were left out. New ones are made with the next message in either
direction; a phone may need a moment to send again what could not be read.
What was received and sent after the copy was made is not in it.
Do not start the server that it was copied from again: an account that runs twice
loses messages, and WhatsApp may unlink it. If the phone has unlinked this device
meanwhile, pair it anew.",
        text::plain_of(&data.display())
    );
    Ok(())
}

/// `wildcat export ACCOUNT`.
fn export(data: &Path, account: &str) -> Result<(), ArchiveError> {
    let mut output = BufWriter::new(std::io::stdout().lock());
    archive::export(data, account, &mut output).map(drop)
}

/// `wildcat key …`. Only the key is printed to standard output, for scripts.
fn key(command: KeyCommand, loaded: &Loaded) -> Result<(), Box<dyn std::error::Error>> {
    let file = loaded.settings.keys_file();
    match command {
        KeyCommand::Add(new) => {
            check_data_directory(loaded)?;
            let name = new.name.clone();
            if let Some(account) = &new.account {
                warn_of_unknown(account, &loaded.settings.storage.path);
            }
            let key = keys::add(&file, new, clock::now())?;
            println!("{key}");
            eprintln!(
                "
This is the key {name:?}, shown this once: {} keeps only its hash.
It counts at once. Send it with each request as
  X-Api-Key: {key}
or as \"Authorization: Bearer\", or as the password of Basic authentication.",
                file.display()
            );
        }
        KeyCommand::List => {
            let all = keys::read(&file)?;
            if all.is_empty() {
                eprintln!("There are no keys in {}.", file.display());
            }
            for key in all {
                let account = key.account.as_deref().unwrap_or("all accounts");
                let rights = if key.read_only {
                    "reads"
                } else {
                    "reads and writes"
                };
                // The file may have been written by hand.
                let [name, account, created] = [&key.name, account, &key.created].map(text::plain);
                println!("{name}\t{account}\t{rights}\t{created}");
            }
        }
        KeyCommand::Remove(name) => {
            if !file.exists() {
                return Err(KeyError::NotFound(name).into());
            }
            keys::remove(&file, &name)?;
            eprintln!("The key {name:?} is removed and counts no more.");
            if keys::read(&file)?.is_empty() {
                eprintln!("It was the last: the server now serves only its own machine.");
            }
        }
    }
    Ok(())
}

/// Refuses to create a data directory for a key: a service has its data elsewhere than this shell, and the
/// key would have no effect. A file of keys named by the settings may be created.
fn check_data_directory(loaded: &Loaded) -> Result<(), String> {
    let Settings { storage, auth, .. } = &loaded.settings;
    if auth.keys.is_some() || storage.path.exists() {
        return Ok(());
    }
    Err(format!(
        "there is no {} here: start the server first, or say where its data are with --data DIR",
        storage.path.display()
    ))
}

/// Warns if a key's account does not exist: it may be a mistake, or be created later.
fn warn_of_unknown(account: &str, data: &Path) {
    let found =
        Reader::open(data).and_then(|reader| reader.read(|tx| accounts::number(tx, account)));
    // A database that cannot be read is no evidence; a new directory has none.
    let is_unknown = match found {
        Ok(number) => number.is_none(),
        Err(_) => !data.join("db").exists(),
    };
    if is_unknown {
        eprintln!("There is no account {account:?} yet: until there is, this key opens nothing.");
    }
}

#[cfg(feature = "sandbox")]
fn sandbox(overrides: &Overrides) -> ExitCode {
    finish(listen_to_signals().and_then(|stop| wildcat::sandbox::run(overrides, stop)))
}

#[cfg(not(feature = "sandbox"))]
fn sandbox(_: &Overrides) -> ExitCode {
    console::complain(&args::ArgsError::NoSandbox);
    ExitCode::from(USAGE)
}

fn finish(result: Result<(), RunError>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            console::complain(&error);
            match error {
                RunError::Config(_) => ExitCode::from(USAGE),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

/// The first SIGTERM, SIGINT or SIGHUP stops the server cleanly, a second one exits at once. Under nohup
/// SIGHUP is ignored.
fn listen_to_signals() -> Result<impl Future<Output = ()>, RunError> {
    let seen = Arc::new(AtomicBool::new(false));
    let mut signals = vec![SIGTERM, SIGINT];
    if !is_ignored(SIGHUP) {
        signals.push(SIGHUP);
    }
    for &signal in &signals {
        // In this order: on the first signal the flag is not set yet.
        signal_hook::flag::register_conditional_shutdown(signal, INTERRUPTED, Arc::clone(&seen))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&seen)))
            .map_err(RunError::Signals)?;
    }
    let signals = Signals::listen(&signals).map_err(RunError::Signals)?;
    Ok(signals.wait())
}

/// Whether the parent process had set a signal to be ignored, as far as the system tells.
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}
