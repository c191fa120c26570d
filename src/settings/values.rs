//! How single values are read and shown: numbers with units, addresses, versions.
//!
//! Errors are words that fit behind the setting's name.

use std::net::{Ipv4Addr, SocketAddr};

use http_types::Url;

use super::table::Kind;

/// WhatsApp Web's, `2.3000.0`.
pub(super) type Version = (u32, u32, u32);

/// Reads `ADDRESS:PORT`, where the address is numeric or `localhost`.
pub(super) fn listen(text: &str) -> Result<SocketAddr, String> {
    if let Some(port) = text.strip_prefix("localhost:")
        && let Ok(port) = port.parse()
    {
        return Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    }
    text.parse().map_err(|_| {
        format!("{text:?} is not ADDRESS:PORT with a numeric address, such as \"0.0.0.0:3000\"")
    })
}

/// Reads what files call `true` and `false`, also as variables have it.
pub(super) fn flag(text: &str) -> Result<bool, String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" => Ok(true),
        "false" | "0" | "no" => Ok(false),
        _ => Err(format!("{text:?} is not true or false")),
    }
}

/// Reads a number: of `kind`'s unit, within its bounds.
pub(super) fn number(text: &str, kind: Kind) -> Result<u64, String> {
    let value = match unit_of(kind) {
        None => text
            .trim()
            .parse::<i64>()
            .map_err(|_| format!("{text:?} is not a whole number"))
            .and_then(|number| u64::try_from(number).map_err(|_| outside(&number, kind)))?,
        Some(unit) => with_unit(text, unit.factors)
            .ok_or_else(|| format!("{text:?} is not a {}", unit.what))?,
    };
    match bounds_of(kind) {
        (min, max) if min <= value && value <= max => Ok(value),
        _ => Err(outside(&show_number(value, kind), kind)),
    }
}

fn outside(value: &dyn std::fmt::Display, kind: Kind) -> String {
    format!("{value} is not in {}", show_bounds(kind))
}

/// `1s to 1h`.
pub(super) fn show_bounds(kind: Kind) -> String {
    let (min, max) = bounds_of(kind);
    format!("{} to {}", show_number(min, kind), show_number(max, kind))
}

fn bounds_of(kind: Kind) -> (u64, u64) {
    match kind {
        Kind::Text | Kind::Flag => (0, u64::MAX),
        Kind::Count(min, max)
        | Kind::Duration(min, max)
        | Kind::Size(min, max)
        | Kind::Space(min, max) => (min, max),
    }
}

/// How a number with a unit is written.
struct Unit {
    /// The units, the smallest first, and their factors.
    factors: &'static [(&'static str, u64)],
    /// Between number and unit.
    gap: &'static str,
    /// Zero, in its usual unit.
    zero: &'static str,
    what: &'static str,
}

fn unit_of(kind: Kind) -> Option<&'static Unit> {
    match kind {
        Kind::Text | Kind::Flag | Kind::Count(..) => None,
        Kind::Duration(..) => Some(&Unit {
            factors: &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)],
            gap: "",
            zero: "0s",
            what: "duration such as \"30s\", \"5m\" or \"1h\"",
        }),
        Kind::Size(..) => Some(&Unit {
            factors: &[("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20)],
            gap: " ",
            zero: "0 B",
            what: "size such as \"64 KiB\" or \"1 MiB\"",
        }),
        Kind::Space(..) => Some(&Unit {
            factors: &[("MiB", 1 << 20), ("GiB", 1 << 30)],
            gap: " ",
            zero: "0 MiB",
            what: "size such as \"500 MiB\" or \"2 GiB\"",
        }),
    }
}

/// Reads a whole number and the name of its unit.
fn with_unit(text: &str, factors: &[(&str, u64)]) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(end);
    let unit = unit.trim_start();
    let (_, factor) = factors.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// The shortest form that [`number`] reads back.
pub(super) fn show_number(value: u64, kind: Kind) -> String {
    let Some(unit) = unit_of(kind) else {
        return value.to_string();
    };
    if value == 0 {
        return unit.zero.to_owned();
    }
    let fits = |(_, factor): &&(&str, u64)| value.is_multiple_of(*factor);
    let (name, factor) = (unit.factors.iter().rev().find(fits))
        // Without an exact one, the smallest, rounded down.
        .unwrap_or(&unit.factors[0]);
    format!("{}{}{name}", value / factor, unit.gap)
}

/// The words for a `text` that is none of `choices`.
pub(super) fn no_choice(text: &str, choices: &[&str]) -> String {
    let choices: Vec<String> = choices.iter().map(|choice| format!("{choice:?}")).collect();
    match choices.split_last() {
        Some((last, others)) => format!("{text:?} is not {} or {last}", others.join(", ")),
        None => format!("{text:?} is not possible"),
    }
}

/// A TOML string.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04X}", c as u32)),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// Reads names of hosts, separated by commas.
pub(super) fn host_names(text: &str) -> Result<Vec<String>, String> {
    text.split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .map(|name| {
            let is_plain = name.len() <= 253
                && name
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
            match is_plain {
                true => Ok(name.to_ascii_lowercase()),
                false => Err(format!(
                    "{name:?} is not the name of a host, such as \"wildcat.example.org\""
                )),
            }
        })
        .collect()
}

/// Reads the WebSocket's address.
pub(super) fn websocket_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("{text:?} is no address: {error}"))?;
    if url.scheme() != "wss" {
        return Err(format!("{text:?} must start with wss://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("credentials in the address are not supported".to_owned());
    }
    Ok(url)
}

/// Whether the address is one of this machine that needs no name server.
pub(super) fn is_loopback(url: &Url) -> bool {
    let Some(host) = url.host_str() else {
        return false;
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback())
}

/// Reads `2.3000.0`.
pub(super) fn version(text: &str) -> Result<Version, String> {
    let mut parts = text.split('.').map(|part| part.parse().ok());
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(Some(a)), Some(Some(b)), Some(Some(c)), None) => Ok((a, b, c)),
        _ => Err(format!(
            "{text:?} is not a version of the form \"2.3000.0\""
        )),
    }
}

/// Reads the name in the phone's list.
pub(super) fn device_name(text: &str) -> Result<String, String> {
    let length = text.chars().count();
    if !(1..=50).contains(&length) || text.chars().any(char::is_control) {
        return Err("must be 1 to 50 printable characters".to_owned());
    }
    Ok(text.to_owned())
}

/// A text for people, 1 to 1,000 characters in one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words(pub String);

impl Words {
    pub(super) fn read(text: &str) -> Result<Words, String> {
        if !(1..=1_000).contains(&text.chars().count()) || text.chars().any(char::is_control) {
            return Err("must be 1 to 1,000 printable characters".to_owned());
        }
        Ok(Words(text.to_owned()))
    }
}

/// Reads a log level, also by the names that WILDCAT 2.0's logger had.
pub(super) fn level(text: &str) -> Result<log::LevelFilter, String> {
    match text.to_ascii_lowercase().as_str() {
        "silent" => Ok(log::LevelFilter::Off),
        "fatal" => Ok(log::LevelFilter::Error),
        other => other
            .parse()
            .map_err(|_| format!("{text:?} is not off, error, warn, info, debug or trace")),
    }
}
