//! What a person at the terminal sees: the log on standard error, pairing codes on standard output.
//!
//! A pairing code is drawn where standard output is a terminal, and drawn over the one before it
//! if nothing was written in between; elsewhere the first one is a log line. Nothing is coloured. Where
//! standard error is the journal, lines bear its priorities and no time.

use std::fs::File;
use std::io::{self, IsTerminal as _, Write};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::sync::{Mutex, PoisonError};

use log::{Level, LevelFilter};

use crate::qr;

/// Whose code stands directly above the cursor, and its lines; `None` when something else does.
static CODE_ABOVE: Mutex<Option<(String, usize)>> = Mutex::new(None);

/// Starts the log. Libraries speak up from `debug` on; below that their lines could name people. Errors
/// they say at every level, but for the `noisy` module.
/// The lines of the `telling` module hold secrets: they are left out at every level.
pub fn init_log(level: LevelFilter, noisy: &str, telling: &str) {
    let mut builder = env_logger::Builder::new();
    builder.filter_module("wildcat", level);
    if level >= LevelFilter::Debug {
        builder.filter_level(level);
    } else {
        builder.filter_level(level.min(LevelFilter::Error));
        builder.filter_module(noisy, LevelFilter::Off);
    }
    builder.filter_module(telling, LevelFilter::Off);
    let journal = is_journal();
    builder.format(move |out, record| {
        let target = record.target();
        let of = match target.starts_with("wildcat") {
            true => String::new(),
            false => format!("[{target}] "),
        };
        if journal {
            // It stamps the time itself, and takes each line for an entry of its own.
            let text = format!("{of}{}", record.args());
            return text
                .lines()
                .try_for_each(|line| writeln!(out, "<{}>{line}", priority(record.level())));
        }
        let now = crate::clock::iso8601(crate::clock::now());
        writeln!(out, "{now} {:5} {of}{}", record.level(), record.args())
    });
    builder.target(env_logger::Target::Pipe(Box::new(LogLines)));
    // A second call keeps the first logger: only tests do that.
    let _ = builder.try_init();
}

/// Why the program ends, on standard error.
pub fn complain(words: &dyn std::fmt::Display) {
    match is_journal() {
        true => eprintln!("<{}>{words}", priority(Level::Error)),
        false => eprintln!("wildcat: {words}"),
    }
}

/// Whether standard error is the journal: systemd says which file it is, as `device:inode`.
fn is_journal() -> bool {
    let Some(named) = std::env::var_os("JOURNAL_STREAM") else {
        return false;
    };
    let own = io::stderr().as_fd().try_clone_to_owned();
    own.and_then(|own| File::from(own).metadata())
        .is_ok_and(|own| named.to_str() == Some(&format!("{}:{}", own.dev(), own.ino())))
}

/// What the journal calls a level (sd-daemon(3)).
fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

/// Standard error, which forgets that a code stands above the cursor.
struct LogLines;

impl Write for LogLines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        *CODE_ABOVE.lock().unwrap_or_else(PoisonError::into_inner) = None;
        io::stderr().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Shows an account's pairing code, the `first` one or one that follows it.
pub fn show_qr(account: &str, code: &str, first: bool) {
    let out = io::stdout();
    if !out.is_terminal() {
        if first {
            log::info!(
                "{account}: a QR code waits to be scanned: GET /accounts/{account}/qr shows it"
            );
        }
        return;
    }
    let drawn = match qr::terminal_qr(code) {
        Ok(drawn) => drawn,
        Err(error) => {
            log::error!("{account}: the QR code cannot be drawn: {error}");
            return;
        }
    };
    let text = format!(
        "{drawn}{account}: scan this code in WhatsApp: Settings, Linked devices, Link a device\n"
    );
    let lines = text.lines().count();
    let mut above = CODE_ABOVE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut out = out.lock();
    let up = match above.as_ref() {
        // Up to the old code's first line, and clear from there.
        Some((owner, lines)) if owner == account => format!("\x1b[{lines}A\x1b[J"),
        Some(_) | None => String::new(),
    };
    // A terminal that went away is no reason to stop.
    let _ = write!(out, "{up}{text}");
    let _ = out.flush();
    *above = Some((account.to_owned(), lines));
}
