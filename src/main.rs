//! Arguments, configuration, run, exit code. The only place that exits.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGINT, SIGTERM};
use wildcat::args::{self, Command};
use wildcat::config::{self, Loaded, Overrides};
use wildcat::runtime::Signals;
use wildcat::{RunError, console};

/// What the shell sees when arguments or settings are wrong.
const USAGE: u8 = 2;
/// What the shell sees after a second signal.
const INTERRUPTED: i32 = 130;

fn main() -> ExitCode {
    let command = match args::parse(std::env::args_os().skip(1)) {
        Ok(command) => command,
        Err(error) => {
            eprintln!("wildcat: {error}");
            return ExitCode::from(USAGE);
        }
    };
    match command {
        Command::Help => {
            print!("{}", args::HELP);
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
        Command::Run(overrides) => with_config(&overrides, |loaded| {
            console::init_log(loaded.config.log.level);
            finish(listen_to_signals().and_then(|stop| wildcat::run(&loaded.config, stop)))
        }),
        Command::Sandbox(overrides) => sandbox(&overrides),
    }
}

fn with_config(overrides: &Overrides, then: impl FnOnce(Loaded) -> ExitCode) -> ExitCode {
    match config::load(overrides, std::env::vars_os()) {
        Ok(loaded) => then(loaded),
        Err(errors) => {
            for error in errors.0 {
                eprintln!("wildcat: {error}");
            }
            ExitCode::from(USAGE)
        }
    }
}

#[cfg(feature = "sandbox")]
fn sandbox(overrides: &Overrides) -> ExitCode {
    finish(listen_to_signals().and_then(|stop| wildcat::sandbox::run(overrides, stop)))
}

#[cfg(not(feature = "sandbox"))]
fn sandbox(_: &Overrides) -> ExitCode {
    eprintln!("wildcat: {}", args::ArgsError::NoSandbox);
    ExitCode::from(USAGE)
}

fn finish(result: Result<(), RunError>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("wildcat: {error}");
            match error {
                RunError::Config(_) => ExitCode::from(USAGE),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

/// The first SIGTERM or SIGINT asks for a clean stop, a second one exits at once.
fn listen_to_signals() -> Result<impl Future<Output = ()>, RunError> {
    let seen = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        // The order counts: on the first signal the flag is still down here.
        signal_hook::flag::register_conditional_shutdown(signal, INTERRUPTED, Arc::clone(&seen))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&seen)))
            .map_err(RunError::Signals)?;
    }
    let signals = Signals::listen(&[SIGTERM, SIGINT]).map_err(RunError::Signals)?;
    Ok(signals.wait())
}
