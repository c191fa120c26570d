//! How single values are read and shown: durations, sizes, addresses, versions.
//!
//! Every reader answers with words that fit behind the setting's name.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use http_types::Url;

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

/// Reads a whole number with its unit, `ms`, `s`, `m` or `h`.
pub(super) fn duration(text: &str, range: RangeInclusive<Duration>) -> Result<Duration, String> {
    let (number, unit) = split_unit(text);
    let millis_per_unit = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => 0,
    };
    let value = number
        .parse::<u64>()
        .ok()
        .filter(|_| millis_per_unit > 0)
        .and_then(|number| number.checked_mul(millis_per_unit))
        .map(Duration::from_millis)
        .ok_or_else(|| format!("{text:?} is not a duration such as \"30s\", \"5m\" or \"1h\""))?;
    in_range(value, range, show_duration)
}

/// Reads a whole number of bytes with its unit, `B`, `KiB` or `MiB`.
pub(super) fn size(text: &str, range: RangeInclusive<usize>) -> Result<usize, String> {
    let (number, unit) = split_unit(text);
    let bytes_per_unit = match unit {
        "B" => 1_u64,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        _ => 0,
    };
    let value = number
        .parse::<u64>()
        .ok()
        .filter(|_| bytes_per_unit > 0)
        .and_then(|number| number.checked_mul(bytes_per_unit))
        .ok_or_else(|| format!("{text:?} is not a size such as \"64 KiB\" or \"1 MiB\""))?;
    // What a 32-bit machine cannot count is too much as on any other.
    let value = usize::try_from(value).unwrap_or(usize::MAX);
    in_range(value, range, show_size)
}

/// Reads a bound for what takes space: a whole number of bytes with its unit, `MiB` or `GiB`, 1 MiB to
/// 16384 GiB. Empty: no bound.
pub(super) fn bound(text: &str) -> Result<Option<u64>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let (number, unit) = split_unit(text);
    let bytes_per_unit: u64 = match unit {
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => 0,
    };
    let value = number
        .parse::<u64>()
        .ok()
        .filter(|_| bytes_per_unit > 0)
        .and_then(|number| number.checked_mul(bytes_per_unit))
        .ok_or_else(|| format!("{text:?} is not a size such as \"500 MiB\" or \"2 GiB\""))?;
    in_range(value, 1 << 20..=1 << 44, show_bytes).map(Some)
}

/// The shortest form that [`bound`] reads back.
pub(super) fn show_bytes(value: u64) -> String {
    match value {
        0 => "0 MiB".to_owned(),
        _ if value.is_multiple_of(1 << 30) => format!("{} GiB", value >> 30),
        _ => format!("{} MiB", value >> 20),
    }
}

fn split_unit(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number, unit.trim_start())
}

/// Checks a whole number against its bounds.
pub(super) fn number<T>(value: i64, range: RangeInclusive<T>) -> Result<T, String>
where
    T: TryFrom<i64> + PartialOrd + std::fmt::Display + Copy,
{
    T::try_from(value)
        .ok()
        .filter(|value| range.contains(value))
        .ok_or_else(|| format!("{value} is not in {} to {}", range.start(), range.end()))
}

fn in_range<T: PartialOrd + Copy>(
    value: T,
    range: RangeInclusive<T>,
    show: fn(T) -> String,
) -> Result<T, String> {
    if range.contains(&value) {
        return Ok(value);
    }
    Err(format!(
        "{} is not in {} to {}",
        show(value),
        show(*range.start()),
        show(*range.end())
    ))
}

/// The shortest form that [`duration`] reads back.
pub(super) fn show_duration(value: Duration) -> String {
    let millis = value.as_millis();
    match millis {
        0 => "0s".to_owned(),
        _ if millis.is_multiple_of(3_600_000) => format!("{}h", millis / 3_600_000),
        _ if millis.is_multiple_of(60_000) => format!("{}m", millis / 60_000),
        _ if millis.is_multiple_of(1_000) => format!("{}s", millis / 1_000),
        _ => format!("{millis}ms"),
    }
}

/// The shortest form that [`size`] reads back.
pub(super) fn show_size(value: usize) -> String {
    match value {
        0 => "0 B".to_owned(),
        _ if value.is_multiple_of(1 << 20) => format!("{} MiB", value >> 20),
        _ if value.is_multiple_of(1 << 10) => format!("{} KiB", value >> 10),
        _ => format!("{value} B"),
    }
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

/// Whether the address names this machine, whatever a name server says.
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
pub(super) fn version(text: &str) -> Result<(u32, u32, u32), String> {
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
