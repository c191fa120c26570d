//! Escapes untrusted text for logs and terminals. Pure.
//!
//! A name or a message may contain line ends, which forge log lines, escape sequences, which terminals
//! execute, and marks that reverse the direction of text.

use std::borrow::Cow;
use std::fmt::{Display, Write as _};

/// Whether a character could make a line look like another one.
fn is_deceiving(c: char) -> bool {
    matches!(
        c,
        // C0, DEL, C1.
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}'
        // Marks of direction, and Unicode's line ends.
        | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{206f}'
        // Invisible characters; not joiners, which emoji need.
        | '\u{ad}' | '\u{180e}' | '\u{200b}' | '\u{2060}'..='\u{2065}' | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
    )
}

/// `text` on one line, with control characters and the like escaped as in Rust (`\n`, `\u{1b}`).
pub fn plain(text: &str) -> Cow<'_, str> {
    if !text.contains(is_deceiving) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match is_deceiving(c) {
            true => out.extend(c.escape_default()),
            false => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// [`plain`] of a value's display.
pub fn plain_of(value: &dyn Display) -> String {
    let mut text = String::new();
    // Fails only if `value` does; then the text so far is used.
    let _ = write!(text, "{value}");
    plain(&text).into_owned()
}

/// The same for a JSON value: these characters are escaped as in JSON, so that its value does not change.
pub fn plain_json(json: &str) -> Cow<'_, str> {
    if !json.contains(is_deceiving) {
        return Cow::Borrowed(json);
    }
    let mut out = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        match is_deceiving(c) {
            true => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    // Writing to a string cannot fail.
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
            false => out.push(c),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends_and_escape_sequences_are_escaped() {
        for (text, shown) in [
            ("Zoë 👩‍👧 ok\\n", "Zoë 👩‍👧 ok\\n"),
            ("a\n2026-01-01 ERROR forged", "a\\n2026-01-01 ERROR forged"),
            ("\x1b[2J\x07", "\\u{1b}[2J\\u{7}"),
            ("\u{9b}31m\u{7f}", "\\u{9b}31m\\u{7f}"),
            (
                "\u{202e}gpj\u{2066}\u{2028}",
                "\\u{202e}gpj\\u{2066}\\u{2028}",
            ),
            ("a\rb\tc\0", "a\\rb\\tc\\u{0}"),
        ] {
            assert_eq!(plain(text), shown);
        }
        assert!(matches!(plain("Zoë"), Cow::Borrowed(_)));
    }

    #[test]
    fn json_keeps_its_value() {
        let text = "\u{9b}31m\u{7f}\u{202e}\u{e0041} é\n";
        let json = serde_json::to_string(text).unwrap();
        let plain = plain_json(&json);
        assert!(!plain.contains(is_deceiving), "{plain}");
        assert_eq!(serde_json::from_str::<String>(&plain).unwrap(), text);
    }
}
