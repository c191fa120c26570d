//! The only caller of the system's clocks.
//!
//! - [`now`] is the server's time, for timestamps. See [`timeline`] for how it handles clocks that jump.
//! - [`ticks`] is monotonic, for pauses, rates and timeouts within this run.

#[cfg(feature = "sandbox")]
pub mod moved;
pub mod timeline;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use event_listener::{Event, EventListener};

use timeline::Timeline;

use crate::sync::locked;

pub use timeline::{EARLIEST, Step};

/// A moment, as Unix milliseconds, or a length. 64 bits on every target.
pub type Millis = u64;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);
static TIME: LazyLock<Mutex<Timeline>> =
    LazyLock::new(|| Mutex::new(Timeline::new(system(), ticks())));
/// The number of steps taken, and the last one.
static TAKEN: Mutex<(u64, Option<Step>)> = Mutex::new((0, None));
/// Notified when a step is due or taken, and when the clock is doubted.
static NEWS: Event = Event::new();
/// A certificate was outside of its validity.
static DOUBTED: AtomicBool = AtomicBool::new(false);

/// The server's time in Unix milliseconds; near 0 (1970) on a board without a battery whose clock is not set.
pub fn now() -> Millis {
    let (wall, ticks) = (system(), ticks());
    let mut time = time();
    let news = time.see(wall, ticks);
    let now = time.at(ticks);
    drop(time);
    if news {
        NEWS.notify(usize::MAX);
    }
    now
}

/// Milliseconds since the first call; monotonic.
pub fn ticks() -> Millis {
    let ticks = Millis::try_from(START.elapsed().as_millis()).unwrap_or(Millis::MAX);
    #[cfg(feature = "sandbox")]
    let ticks = ticks.saturating_add(moved::by());
    ticks
}

/// Resolves after `length`, by [`ticks`], which tests can move: for pauses of seconds and more.
pub async fn sleep(length: Duration) {
    #[cfg(feature = "sandbox")]
    moved::sleep(length, Duration::ZERO).await;
    #[cfg(not(feature = "sandbox"))]
    smol::Timer::after(length).await;
}

/// As [`sleep`], for waits for an answer of WhatsApp: takes at least one real second, however a test moves
/// the clock.
pub async fn sleep_on_line(length: Duration) {
    #[cfg(feature = "sandbox")]
    moved::sleep(length, Duration::from_secs(1)).await;
    #[cfg(not(feature = "sandbox"))]
    sleep(length).await;
}

/// The server's time, if WhatsApp has verified it in this run. Only by this time is anything deleted for its
/// age.
pub fn certain() -> Option<Millis> {
    let now = now();
    time().is_certain().then_some(now)
}

/// Whether `now` is a plausible time: not before [`EARLIEST`].
pub fn is_set(now: Millis) -> bool {
    now >= EARLIEST
}

/// Takes the time that WhatsApp sent.
pub fn hear(theirs: Millis) {
    if !is_set(theirs) {
        return;
    }
    DOUBTED.store(false, Ordering::Relaxed);
    if time().hear(theirs, ticks()) {
        NEWS.notify(usize::MAX);
    }
}

/// Notes that a certificate was outside of its validity: the clock may be wrong, and is polled until it is set.
pub fn doubt() {
    if !DOUBTED.swap(true, Ordering::Relaxed) {
        NEWS.notify(usize::MAX);
    }
}

/// Notes that a certificate of WhatsApp was outside of its validity; see [`Timeline::distrust`].
pub fn distrust() {
    let _ = now();
    if time().distrust() {
        NEWS.notify(usize::MAX);
    }
}

/// Whether a connection failed because the clock may be wrong.
pub fn is_doubted() -> bool {
    DOUBTED.load(Ordering::Relaxed)
}

/// The step that is due, because the system's clock was set or WhatsApp sent another time, until it is
/// [taken](adopt).
pub fn pending() -> Option<Step> {
    let _ = now();
    time().pending(ticks())
}

/// Takes a step that was due, and notifies all listeners.
pub fn adopt(step: Step) {
    time().adopt(step, ticks());
    {
        let mut taken = locked(&TAKEN);
        *taken = (taken.0 + 1, Some(step));
    }
    DOUBTED.store(false, Ordering::Relaxed);
    NEWS.notify(usize::MAX);
}

/// The number of steps taken in this run, and the last one.
pub fn taken() -> (u64, Option<Step>) {
    *locked(&TAKEN)
}

/// Resolves with the next step after `seen` steps, and updates `seen`.
pub async fn set(seen: &mut u64) -> Step {
    loop {
        let news = news();
        let (count, step) = taken();
        if let Some(step) = step.filter(|_| count != *seen) {
            *seen = count;
            return step;
        }
        news.await;
    }
}

/// The time of the system's clock, if WhatsApp's is used instead.
pub fn disbelieved() -> Option<Millis> {
    let _ = now();
    time().disbelieved(ticks())
}

/// Resolves when a step is due or taken, and when the clock is doubted.
pub fn news() -> EventListener {
    NEWS.listen()
}

fn time() -> MutexGuard<'static, Timeline> {
    locked(&TIME)
}

/// The time of the system's clock; 0 before 1970.
fn system() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let since =
        Millis::try_from(since.unwrap_or(Duration::ZERO).as_millis()).unwrap_or(Millis::MAX);
    #[cfg(feature = "sandbox")]
    let since = since.saturating_add(moved::by());
    since
}

/// ISO 8601 in UTC with milliseconds, as in `createdAt`: `2026-11-22T21:26:31.042Z`.
pub fn iso8601(at: Millis) -> String {
    let days = at / 86_400_000;
    let ms_of_day = at % 86_400_000;
    let (year, month, day) = civil_from_days(days as i64);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
        ms_of_day / 3_600_000,
        ms_of_day / 60_000 % 60,
        ms_of_day / 1000 % 60,
        ms_of_day % 1000
    )
}

/// A moment written in ISO 8601 with its offset from UTC, such as `2026-12-31T08:00:00+01:00`: seconds and their decimals
/// may be absent, `Z` is the offset 0. `None` for anything else, before 1970, and where the offset is absent.
pub fn parse_iso8601(text: &str) -> Option<Millis> {
    let (date, time) = text.split_once(['T', 't', ' '])?;
    let mut date = date.splitn(3, '-').map(|part| digits(part, 2..=4));
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let zone = time.find(['Z', 'z', '+', '-'])?;
    let (time, zone) = time.split_at(zone);
    let mut time = time.splitn(3, ':');
    let (hour, minute) = (digits(time.next()?, 2..=2)?, digits(time.next()?, 2..=2)?);
    let (second, decimals) = match time.next() {
        None => ("00", ""),
        Some(second) => second.split_once(['.', ',']).unwrap_or((second, "000")),
    };
    let second = digits(second, 2..=2)?;
    let decimals = match decimals {
        "" => 0,
        some => digits(&format!("{some:0<3}")[..3], 3..=3)
            .filter(|_| some.bytes().all(|byte| byte.is_ascii_digit()))?,
    };
    let offset = match zone.split_at(1) {
        ("Z" | "z", "") => 0,
        (sign, zone) => {
            let zone: String = zone.chars().filter(|c| *c != ':').collect();
            let minutes = match digits(&zone, 2..=4)? {
                hours if zone.len() == 2 => hours * 60,
                both if zone.len() == 4 && both % 100 < 60 => both / 100 * 60 + both % 100,
                _ => return None,
            };
            if minutes >= 1_440 {
                return None;
            }
            if sign == "-" { -minutes } else { minutes }
        }
    };
    let days = days_from_civil(year, month, day);
    // A date that there is: the 31st of April comes back as another one.
    let (y, m, d) = civil_from_days(days);
    if (y, i64::from(m), i64::from(d)) != (year, month, day)
        || year < 1000
        || hour > 23
        || minute > 59
        || second > 59
    {
        return None;
    }
    let seconds = days * 86_400 + hour * 3_600 + (minute - offset) * 60 + second;
    Millis::try_from(seconds * 1_000 + decimals).ok()
}

/// A number of so many ASCII digits.
fn digits(text: &str, length: std::ops::RangeInclusive<usize>) -> Option<i64> {
    let is_number = length.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number)
}

/// The days from 1970-01-01 to a date of the proleptic Gregorian calendar (Howard Hinnant's `days_from_civil`).
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Days since 1970-01-01 to a proleptic Gregorian date, by eras of 400 years
/// (Howard Hinnant's `civil_from_days`).
fn civil_from_days(days: i64) -> (i64, u32, u32) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * shifted_month + 2) / 5 + 1) as u32;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    } as u32;
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_moments_are_read_with_their_offset() {
        for (text, at) in [
            ("1970-01-01T00:00:00.000Z", 0),
            ("2000-02-29T00:00:00.001Z", 951_782_400_001),
            ("2024-11-04T07:10:45.123+01:00", 1_730_700_645_123),
            ("2024-11-04 01:40:45,123456-0430", 1_730_700_645_123),
            ("2024-11-04t06:10z", 1_730_700_600_000),
            ("2024-11-04T08:10+02", 1_730_700_600_000),
            ("2099-12-31T23:59:59.9Z", 4_102_444_799_900),
        ] {
            assert_eq!(parse_iso8601(text), Some(at), "{text}");
        }
        for text in [
            "",
            "2024-11-04",
            "2024-11-04T06:10",
            "2024-02-30T06:10Z",
            "2023-02-29T06:10Z",
            "2024-13-01T06:10Z",
            "2024-11-04T24:00Z",
            "2024-11-04T06:60Z",
            "2024-11-04T06:10:45.x1Z",
            "2024-11-04T06:10+24:00",
            "2024-11-04T06:10+01:60",
            "2024-11-04T06:10+1",
            "1969-12-31T23:59:59Z",
            "24-11-04T06:10Z",
            "2024-11-04T+6:10Z",
            "2024-11-04T06:10:\u{664}\u{664}Z",
            "tomorrow",
            "T-Z",
        ] {
            assert_eq!(parse_iso8601(text), None, "{text}");
        }
        for day in (0..60_000).step_by(97) {
            let at = day * 86_400_000 + 1;
            assert_eq!(parse_iso8601(&iso8601(at)), Some(at));
        }
    }

    #[test]
    fn dates_are_gregorian() {
        assert_eq!(iso8601(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(iso8601(951_782_400_001), "2000-02-29T00:00:00.001Z");
        assert_eq!(iso8601(1_730_700_645_123), "2024-11-04T06:10:45.123Z");
        assert_eq!(iso8601(4_102_444_799_999), "2099-12-31T23:59:59.999Z");
    }
}
