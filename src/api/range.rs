//! Which part of a file is asked for (RFC 9110, 13 and 14). Pure.

/// The part of a file that an answer carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// 200.
    Whole,
    /// 206: the first byte, and how many.
    Range { start: u64, length: u64 },
    /// 416.
    Unsatisfiable,
    /// 304.
    NotModified,
}

/// What a request says of the part that it wants.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asked<'a> {
    pub range: Option<&'a str>,
    pub if_range: Option<&'a str>,
    pub if_none_match: Option<&'a str>,
}

/// The part of a file of `size` bytes, tagged `etag` (with its quotes), for what was asked.
///
/// Several ranges at once, and what is not understood, get the whole file, as the RFC allows.
pub fn part(asked: Asked<'_>, size: u64, etag: &str) -> Part {
    let matches = |list: &str| {
        list.split(',')
            .map(str::trim)
            .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
    };
    if asked.if_none_match.is_some_and(matches) {
        return Part::NotModified;
    }
    // A weak tag, or a date, is no promise that the bytes are the same.
    if asked.if_range.is_some_and(|tag| tag.trim() != etag) {
        return Part::Whole;
    }
    let Some(set) = asked.range.and_then(bytes_of) else {
        return Part::Whole;
    };
    let Some((first, last)) = set.split_once('-') else {
        return Part::Whole;
    };
    let number = |text: &str| -> Option<u64> {
        let text = text.trim();
        match text.bytes().all(|b| b.is_ascii_digit()) {
            // Too long for a number is beyond every file.
            true if !text.is_empty() => Some(text.parse().unwrap_or(u64::MAX)),
            _ => None,
        }
    };
    let (start, end) = match (number(first), number(last), first.trim(), last.trim()) {
        (Some(first), Some(last), ..) if first <= last => (first, last.saturating_add(1)),
        (Some(first), None, _, "") => (first, size),
        (None, Some(suffix), "", _) if suffix > 0 => (size.saturating_sub(suffix), size),
        (None, Some(0), "", _) => return Part::Unsatisfiable,
        _ => return Part::Whole,
    };
    let end = end.min(size);
    if start >= end {
        return Part::Unsatisfiable;
    }
    Part::Range {
        start,
        length: end - start,
    }
}

/// The one range of a header that has one.
fn bytes_of(header: &str) -> Option<&str> {
    let (unit, set) = header.split_once('=')?;
    (unit.trim().eq_ignore_ascii_case("bytes") && !set.contains(',')).then(|| set.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAG: &str = "\"t\"";

    fn of(range: &str) -> Part {
        let asked = Asked {
            range: Some(range),
            ..Asked::default()
        };
        part(asked, 10, TAG)
    }

    #[test]
    fn ranges_are_cut_to_the_file() {
        let range = |start, length| Part::Range { start, length };
        for (header, expected) in [
            ("bytes=0-3", range(0, 4)),
            ("bytes=4-", range(4, 6)),
            ("bytes=-3", range(7, 3)),
            ("bytes=-30", range(0, 10)),
            ("Bytes = 9-99999999999999999999999", range(9, 1)),
            ("bytes=10-", Part::Unsatisfiable),
            ("bytes=99999999999999999999999-", Part::Unsatisfiable),
            ("bytes=-0", Part::Unsatisfiable),
            ("bytes=3-2", Part::Whole),
            ("bytes=0-1,4-5", Part::Whole),
            ("bytes=a-b", Part::Whole),
            ("bytes=--1", Part::Whole),
            ("bytes=", Part::Whole),
            ("lines=0-1", Part::Whole),
            ("", Part::Whole),
        ] {
            assert_eq!(of(header), expected, "{header}");
        }
    }

    #[test]
    fn an_empty_file_has_no_ranges() {
        let asked = Asked {
            range: Some("bytes=0-"),
            ..Asked::default()
        };
        assert_eq!(part(asked, 0, TAG), Part::Unsatisfiable);
    }

    #[test]
    fn tags_decide_before_ranges_do() {
        let asked = |if_range, if_none_match| Asked {
            range: Some("bytes=0-1"),
            if_range,
            if_none_match,
        };
        for (asked, expected) in [
            (
                asked(Some("\"t\""), None),
                Part::Range {
                    start: 0,
                    length: 2,
                },
            ),
            (asked(Some("\"u\""), None), Part::Whole),
            (asked(Some("W/\"t\""), None), Part::Whole),
            (asked(None, Some("\"u\", W/\"t\"")), Part::NotModified),
            (asked(None, Some("*")), Part::NotModified),
            (
                asked(None, Some("\"u\"")),
                Part::Range {
                    start: 0,
                    length: 2,
                },
            ),
        ] {
            assert_eq!(part(asked, 10, TAG), expected, "{asked:?}");
        }
    }
}
