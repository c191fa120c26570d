//! What a person at the terminal sees: the log on standard error, pairing codes on standard output.
//!
//! A pairing code is drawn where standard output is a terminal, and drawn over the one before it
//! if nothing was written in between; elsewhere it is one log line.

use std::io::{self, IsTerminal as _, Write};
use std::sync::{Mutex, PoisonError};

use log::LevelFilter;

use crate::qr;

/// Whose code stands directly above the cursor, and its lines; `None` when something else does.
static CODE_ABOVE: Mutex<Option<(String, usize)>> = Mutex::new(None);

/// Starts the log. Libraries speak up from `debug` on; below that their lines could name people.
pub fn init_log(level: LevelFilter) {
    let mut builder = env_logger::Builder::new();
    builder.filter_module("wildcat", level);
    if level >= LevelFilter::Debug {
        builder.filter_level(level);
    } else {
        builder.filter_level(level.min(LevelFilter::Error));
    }
    // journald and its kind stamp the time themselves.
    let stamped = std::env::var_os("JOURNAL_STREAM").is_none();
    builder.format(move |out, record| {
        if stamped {
            let now = crate::clock::iso8601(crate::clock::now());
            write!(out, "{now} ")?;
        }
        let target = record.target();
        if target.starts_with("wildcat") {
            writeln!(out, "{:5} {}", record.level(), record.args())
        } else {
            writeln!(out, "{:5} [{target}] {}", record.level(), record.args())
        }
    });
    builder.target(env_logger::Target::Pipe(Box::new(LogLines)));
    // A second call keeps the first logger: only tests do that.
    let _ = builder.try_init();
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

/// Shows an account's pairing code.
pub fn show_qr(account: &str, code: &str) {
    let out = io::stdout();
    if !out.is_terminal() {
        log::info!("{account}: a QR code waits to be scanned: GET /accounts/{account}/qr shows it");
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
