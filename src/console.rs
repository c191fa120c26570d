//! The log on standard error, pairing codes on standard output.
//!
//! On a terminal a pairing code is drawn, and overwrites the one before if nothing was printed in
//! between; elsewhere the first one is announced in the log. Log lines have no colours. In the journal they have
//! priorities and no time.

use std::fs::File;
use std::io::{self, IsTerminal as _, Write};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Mutex;

use log::{Level, LevelFilter};

use crate::runtime::tasks;
use crate::sync::locked;
use crate::{qr, text};

/// The account whose code is directly above the cursor, and the code's lines; `None` if there is none.
static CODE_ABOVE: Mutex<Option<(String, usize)>> = Mutex::new(None);

/// Starts the log. Libraries log at `debug` and below, because their lines may name people; their errors
/// are always logged, except those of the module `noisy`. The module `telling` logs secrets: it is off at
/// every level.
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
        // One line, without escape sequences.
        let line = text::plain_of(record.args());
        if journal {
            // The journal adds the time.
            return writeln!(out, "<{}>{of}{line}", priority(record.level()));
        }
        let now = crate::clock::iso8601(crate::clock::now());
        writeln!(out, "{now} {:5} {of}{line}", record.level())
    });
    builder.target(env_logger::Target::Pipe(Box::new(LogLines)));
    // Fails on a second call, which only tests make.
    let _ = builder.try_init();
}

/// Prints why the program ends, to standard error.
pub fn complain(words: &dyn std::fmt::Display) {
    let words = text::plain_of(words);
    match is_journal() {
        true => eprintln!("<{}>{words}", priority(Level::Error)),
        false => eprintln!("wildcat: {words}"),
    }
}

/// Whether standard error is the journal, which systemd names as `device:inode`.
fn is_journal() -> bool {
    let Some(named) = std::env::var_os("JOURNAL_STREAM") else {
        return false;
    };
    let own = io::stderr().as_fd().try_clone_to_owned();
    own.and_then(|own| File::from(own).metadata())
        .is_ok_and(|own| named.to_str() == Some(&format!("{}:{}", own.dev(), own.ino())))
}

/// The journal's priority for a level (sd-daemon(3)).
fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

/// Standard error; a write means that no code is above the cursor any more.
struct LogLines;

impl Write for LogLines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        *locked(&CODE_ABOVE) = None;
        io::stderr().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Logs panics in one line, with place and thread. A formatted message may contain personal data: it is
/// logged at `debug` only; a literal one is logged always.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        let place = place.unwrap_or_else(|| "a place that is not known".to_owned());
        tasks::note_place(place.clone());
        let payload = panic.payload();
        let literal = payload.downcast_ref::<&str>().copied();
        let formatted = payload.downcast_ref::<String>().map(String::as_str);
        let words = match (literal, formatted) {
            (Some(literal), _) => literal,
            (None, Some(formatted)) if log::max_level() >= LevelFilter::Debug => formatted,
            (None, _) => "its words are logged at debug",
        };
        let thread = std::thread::current();
        let thread = thread.name().unwrap_or("a helper");
        let line = format!("thread {thread} panicked at {place}: {words}");
        match log::max_level() {
            // A command without a log.
            LevelFilter::Off => complain(&line),
            _ => log::error!("{line}"),
        }
        if std::env::var_os("RUST_BACKTRACE").is_some_and(|value| value != "0") {
            eprintln!("{}", std::backtrace::Backtrace::force_capture());
        }
    }));
}

/// How pairing codes are shown.
#[derive(Debug, Clone, Default)]
pub struct Codes {
    /// The API's base URL, for a code that cannot be drawn.
    base: String,
    /// The phones are simulated: codes are not drawn.
    simulated: bool,
}

static CODES: Mutex<Codes> = Mutex::new(Codes {
    base: String::new(),
    simulated: false,
});

fn codes() -> std::sync::MutexGuard<'static, Codes> {
    locked(&CODES)
}

/// Sets the API's base URL as seen from this machine (`http://localhost:3000`).
pub fn serves_at(base: String) {
    codes().base = base;
}

/// Pairing codes are for simulated phones: they are not drawn.
pub fn codes_are_simulated() {
    codes().simulated = true;
}

/// Shows an account's pairing code; `first`: of this pairing.
pub fn show_qr(account: &str, code: &str, first: bool) {
    let Codes { base, simulated } = codes().clone();
    let place = format!("{base}/accounts/{account}/qr");
    if simulated {
        if first {
            log::info!("{account}: a QR code waits for a simulated phone: {place} shows it");
        }
        return;
    }
    let out = io::stdout();
    let drawn = match (out.is_terminal(), qr::terminal_qr(code)) {
        (true, Ok(drawn)) if fits(&drawn, terminal_size(&out)) => drawn,
        (_, Err(error)) => {
            log::error!("{account}: the QR code cannot be drawn: {error}");
            return;
        }
        // Not a terminal, or too small.
        (is_terminal, Ok(_)) => {
            if first {
                let small = match is_terminal {
                    true => " (this terminal is too small for it)",
                    false => "",
                };
                log::info!("{account}: a QR code waits to be scanned{small}: {place} shows it");
            }
            return;
        }
    };
    let text = format!(
        "{drawn}{account}: scan this code in WhatsApp: Settings, Linked devices, Link a device\n"
    );
    let lines = text.lines().count();
    let mut above = locked(&CODE_ABOVE);
    let mut out = out.lock();
    let up = match above.as_ref() {
        // Move up to the old code's first line, and clear from there.
        Some((owner, lines)) if owner == account => format!("\x1b[{lines}A\x1b[J"),
        Some(_) | None => String::new(),
    };
    // A terminal that was closed is no error.
    let _ = write!(out, "{up}{text}");
    let _ = out.flush();
    *above = Some((account.to_owned(), lines));
}

/// Columns and rows of a terminal, if known.
fn terminal_size(out: &io::Stdout) -> Option<(usize, usize)> {
    let size = rustix::termios::tcgetwinsize(out).ok()?;
    let (columns, rows) = (usize::from(size.ws_col), usize::from(size.ws_row));
    (columns > 0 && rows > 0).then_some((columns, rows))
}

/// Whether a code, the line below it and the cursor's line fit a terminal of `size`.
fn fits(drawn: &str, size: Option<(usize, usize)>) -> bool {
    let Some((columns, rows)) = size else {
        return true;
    };
    let width = drawn.lines().map(qr::shown_width).max().unwrap_or(0);
    width <= columns && drawn.lines().count() + 2 <= rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_drawn_where_it_fits() {
        let drawn = qr::terminal_qr("2@some,code").unwrap();
        let (width, lines) = (
            drawn.lines().map(qr::shown_width).max().unwrap(),
            drawn.lines().count(),
        );
        assert!((20..60).contains(&width), "{width}");
        assert!(fits(&drawn, None));
        assert!(fits(&drawn, Some((width, lines + 2))));
        assert!(!fits(&drawn, Some((width - 1, lines + 2))));
        assert!(!fits(&drawn, Some((width, lines + 1))));
    }
}
