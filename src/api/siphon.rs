//! Takes one long string out of a JSON object while it passes, so that a file in base64 never is in
//! memory as a whole. Pure.
//!
//! What comes in is split: the characters of the string at the top-level key `base64`, and of a `data:` URI at
//! `url`, go out as they are decoded, everything else stays JSON, with an empty string in that place.

use super::file_name;

/// What became of the input so far.
#[derive(Debug)]
pub struct Siphon {
    /// Within objects and lists; the top-level object is 1.
    depth: u32,
    at: At,
    /// The string that may turn out to be a key.
    key: Vec<u8>,
    /// Whether the next string at the top level is a key's value, and what is wanted of it.
    value_of_key: bool,
    wanted: Wanted,
    /// The beginning of a string that may be a `data:` URI.
    probe: Vec<u8>,
    /// The keys whose strings were taken.
    taken_from: Vec<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    No,
    Always,
    /// As a `data:` URI.
    IfData,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Outside of strings.
    Outside,
    /// In a string that stays.
    Inside { escaped: bool },
    /// At the beginning of one that is taken if it is a `data:` URI.
    Probing,
    /// In the string that is taken.
    Taken,
    /// Behind a backslash in it.
    TakenEscape,
    /// In `\uXXXX` in it: digits to come, and their value so far.
    TakenUnicode { left: u8, value: u32 },
}

const BASE64: &str = "base64";
const URL: &str = "url";

impl Default for Siphon {
    fn default() -> Self {
        Siphon {
            depth: 0,
            at: At::Outside,
            key: Vec::new(),
            value_of_key: false,
            wanted: Wanted::No,
            probe: Vec::new(),
            taken_from: Vec::new(),
        }
    }
}

impl Siphon {
    /// The keys whose strings were taken so far.
    pub fn taken_from(&self) -> &[&'static str] {
        &self.taken_from
    }

    /// Splits `input`: what stays JSON is added to `rest`, what is taken to `taken`.
    pub fn push(&mut self, input: &[u8], rest: &mut Vec<u8>, taken: &mut Vec<u8>) {
        for &byte in input {
            match self.at {
                At::Outside => self.outside(byte, rest),
                At::Inside { escaped } => {
                    rest.push(byte);
                    self.inside(byte, escaped);
                }
                At::Probing => self.probing(byte, rest, taken),
                At::Taken => match byte {
                    b'"' => {
                        rest.push(byte);
                        self.at = At::Outside;
                    }
                    b'\\' => self.at = At::TakenEscape,
                    _ => taken.push(byte),
                },
                At::TakenEscape => {
                    self.at = At::Taken;
                    match byte {
                        b'u' => self.at = At::TakenUnicode { left: 4, value: 0 },
                        // Line ends in base64 mean nothing; a slash may be written so.
                        b'n' | b'r' | b't' | b'f' => {}
                        b'b' => taken.push(0x08),
                        _ => taken.push(byte),
                    }
                }
                At::TakenUnicode { left, value } => {
                    let digit = (byte as char).to_digit(16);
                    let value = value * 16 + digit.unwrap_or(0);
                    self.at = match (digit, left) {
                        (Some(_), 2..) => At::TakenUnicode {
                            left: left - 1,
                            value,
                        },
                        _ => {
                            // What is no ASCII is no base64: the decoder says so.
                            taken.push(u8::try_from(value).unwrap_or(b'?'));
                            At::Taken
                        }
                    };
                }
            }
        }
    }

    fn outside(&mut self, byte: u8, rest: &mut Vec<u8>) {
        rest.push(byte);
        match byte {
            b'{' | b'[' => self.depth = self.depth.saturating_add(1),
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            b':' if self.depth == 1 => {
                self.value_of_key = true;
                self.wanted = if self.key == BASE64.as_bytes() {
                    Wanted::Always
                } else if self.key == URL.as_bytes() {
                    Wanted::IfData
                } else {
                    Wanted::No
                };
            }
            b',' if self.depth == 1 => {
                self.value_of_key = false;
                self.wanted = Wanted::No;
            }
            b'"' => {
                let wanted = match self.depth == 1 && self.value_of_key {
                    true => self.wanted,
                    false => Wanted::No,
                };
                self.at = match wanted {
                    Wanted::Always => {
                        self.take(BASE64);
                        At::Taken
                    }
                    Wanted::IfData => At::Probing,
                    Wanted::No => {
                        self.key.clear();
                        At::Inside { escaped: false }
                    }
                };
            }
            _ => {}
        }
    }

    fn probing(&mut self, byte: u8, rest: &mut Vec<u8>, taken: &mut Vec<u8>) {
        self.probe.push(byte);
        if !DATA.starts_with(&self.probe.to_ascii_lowercase()) {
            // The last one may be the string's end.
            self.probe.pop();
            rest.append(&mut self.probe);
            rest.push(byte);
            self.at = At::Inside { escaped: false };
            self.inside(byte, false);
        } else if self.probe.len() == DATA.len() {
            taken.append(&mut self.probe);
            self.take(URL);
            self.at = At::Taken;
        }
    }

    /// One more than the second is an error anyway.
    fn take(&mut self, key: &'static str) {
        if self.taken_from.len() < 2 {
            self.taken_from.push(key);
        }
    }

    fn inside(&mut self, byte: u8, escaped: bool) {
        self.at = match (byte, escaped) {
            (b'"', false) => At::Outside,
            (b'\\', false) => At::Inside { escaped: true },
            _ => At::Inside { escaped: false },
        };
        // One byte more than the wanted key tells the others.
        if self.at != At::Outside && !self.value_of_key && self.key.len() <= BASE64.len() {
            self.key.push(byte);
        }
    }
}

/// Decodes base64 piece by piece: either alphabet, with or without padding and line ends; also a whole `data:`
/// URI (RFC 2397), whose content may be percent-encoded instead. Pure.
#[derive(Debug, Default)]
pub struct Decoder {
    /// Characters of base64 that were not decoded yet; before, what may be a `data:` URI's head.
    pending: Vec<u8>,
    mode: Mode,
    padded: bool,
    /// Within a `data:` URI: a percent sign and what has come behind it.
    escape: Vec<u8>,
    data: Option<Data>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Mode {
    #[default]
    Unknown,
    /// Within the head of a `data:` URI.
    Head,
    Base64,
    /// Base64 in a `data:` URI, where its characters may be percent-encoded.
    EncodedBase64,
    Percent,
}

/// What the head of a `data:` URI says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Data {
    /// With its parameters.
    pub mimetype: Option<String>,
    pub name: Option<String>,
}

const DATA: &[u8] = b"data:";
/// The longest head of a `data:` URI.
const HEAD: usize = 2 * 1024;

/// This is no base64, and no `data:` URI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotBase64;

impl Decoder {
    /// Decodes `input`, adding to `out` what is complete.
    ///
    /// # Errors
    /// [`NotBase64`].
    pub fn push(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(), NotBase64> {
        for &byte in input {
            match self.mode {
                Mode::Base64 => self.character(byte)?,
                Mode::EncodedBase64 | Mode::Percent => self.encoded(byte, out)?,
                Mode::Head if byte == b',' => self.head_is_over()?,
                Mode::Head => {
                    self.pending.push(byte);
                    if self.pending.len() > HEAD {
                        return Err(NotBase64);
                    }
                }
                Mode::Unknown if byte.is_ascii_whitespace() && self.pending.is_empty() => {}
                Mode::Unknown => {
                    self.pending.push(byte);
                    let so_far = self.pending.to_ascii_lowercase();
                    if !DATA.starts_with(&so_far) {
                        self.is_plain()?;
                    } else if so_far == DATA {
                        self.pending.clear();
                        self.mode = Mode::Head;
                    }
                }
            }
        }
        let whole = self.pending.len() / 4 * 4;
        if matches!(self.mode, Mode::Base64 | Mode::EncodedBase64) && whole > 0 {
            decode(&self.pending[..whole], out)?;
            self.pending.drain(..whole);
        }
        Ok(())
    }

    /// The end. What a `data:` URI has said of its content, if it was one.
    ///
    /// # Errors
    /// [`NotBase64`] if what is left over is none.
    pub fn finish(mut self, out: &mut Vec<u8>) -> Result<Option<Data>, NotBase64> {
        match self.mode {
            Mode::Head => return Err(NotBase64),
            Mode::Unknown => self.is_plain()?,
            Mode::Percent => out.append(&mut self.escape),
            Mode::Base64 | Mode::EncodedBase64 if !self.escape.is_empty() => return Err(NotBase64),
            Mode::Base64 | Mode::EncodedBase64 => {}
        }
        decode(&self.pending, out)?;
        Ok(self.data)
    }

    /// No `data:` URI: what has come so far are characters.
    fn is_plain(&mut self) -> Result<(), NotBase64> {
        self.mode = Mode::Base64;
        for byte in std::mem::take(&mut self.pending) {
            self.character(byte)?;
        }
        Ok(())
    }

    fn head_is_over(&mut self) -> Result<(), NotBase64> {
        let head = file_name::text(&std::mem::take(&mut self.pending));
        let mut data = Data::default();
        self.mode = Mode::Percent;
        for (place, part) in head.split(';').map(str::trim).enumerate() {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            let key = key.trim().to_ascii_lowercase();
            match key.as_str() {
                "" => {}
                "base64" => self.mode = Mode::EncodedBase64,
                "name" | "filename" | "file" => {
                    let value = value.trim().trim_matches('"');
                    data.name = file_name::of_encoded(value.as_bytes());
                }
                _ if place == 0 => data.mimetype = Some(part.to_owned()),
                _ => {
                    if let Some(mimetype) = &mut data.mimetype {
                        mimetype.push_str("; ");
                        mimetype.push_str(part);
                    }
                }
            }
        }
        self.data = Some(data);
        Ok(())
    }

    /// A byte of a `data:` URI's content.
    fn encoded(&mut self, byte: u8, out: &mut Vec<u8>) -> Result<(), NotBase64> {
        if self.escape.is_empty() && byte != b'%' {
            return self.content(byte, out);
        }
        self.escape.push(byte);
        let digit = |byte: u8| char::from(byte).to_digit(16);
        match self.escape[..] {
            [_, high, low] => {
                let escape = std::mem::take(&mut self.escape);
                match (digit(high), digit(low)) {
                    // Two digits are at most 255.
                    (Some(high), Some(low)) => self.content((high << 4 | low) as u8, out),
                    // A percent sign that is just that.
                    _ => escape.iter().try_for_each(|byte| self.content(*byte, out)),
                }
            }
            _ => Ok(()),
        }
    }

    fn content(&mut self, byte: u8, out: &mut Vec<u8>) -> Result<(), NotBase64> {
        match self.mode {
            Mode::Percent => {
                out.push(byte);
                Ok(())
            }
            _ => self.character(byte),
        }
    }

    fn character(&mut self, byte: u8) -> Result<(), NotBase64> {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' if !self.padded => {
                self.pending.push(byte);
            }
            b'-' if !self.padded => self.pending.push(b'+'),
            b'_' if !self.padded => self.pending.push(b'/'),
            b'=' => self.padded = true,
            b' ' | b'\n' | b'\r' | b'\t' => {}
            _ => return Err(NotBase64),
        }
        Ok(())
    }
}

/// Decodes characters of base64, without padding.
///
/// # Errors
/// [`NotBase64`].
pub fn decode(characters: &[u8], out: &mut Vec<u8>) -> Result<(), NotBase64> {
    use base64::Engine as _;
    use base64::alphabet::STANDARD;
    use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &STANDARD,
        GeneralPurposeConfig::new()
            .with_decode_allow_trailing_bits(true)
            .with_decode_padding_mode(DecodePaddingMode::RequireNone),
    );
    LENIENT.decode_vec(characters, out).map_err(|_| NotBase64)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn split(input: &str, piece: usize) -> (String, String) {
        let (mut siphon, mut rest, mut taken) = (Siphon::default(), Vec::new(), Vec::new());
        for piece in input.as_bytes().chunks(piece) {
            siphon.push(piece, &mut rest, &mut taken);
        }
        (
            String::from_utf8(rest).unwrap(),
            String::from_utf8(taken).unwrap(),
        )
    }

    #[test]
    fn one_string_is_taken_and_the_rest_stays() {
        let input = r#" {"to": "a \" \\", "x": {"base64": "inner"}, "l": ["base64", "no"],
            "base64" : "AA\/A\u002Bb\n=", "caption": "base64", "b64": "q", "base64x": "w"}"#;
        let expected = json!({"to": "a \" \\", "x": {"base64": "inner"}, "l": ["base64", "no"],
            "base64": "", "caption": "base64", "b64": "q", "base64x": "w"});
        for piece in 1..input.len() {
            let (rest, taken) = split(input, piece);
            assert_eq!(serde_json::from_str::<Value>(&rest).unwrap(), expected);
            assert_eq!(taken, "AA/A+b=", "{piece}");
        }
    }

    #[test]
    fn what_is_no_json_comes_through_for_the_parser_to_refuse() {
        for input in [
            "nonsense",
            "{\"base64\": 5}",
            "{\"base64\"",
            "]]]]\"x",
            "{\"base64\":\"AB",
            "\\\"\u{fffd}",
        ] {
            let (rest, _) = split(input, 1);
            assert_eq!(
                serde_json::from_str::<Value>(&rest).is_ok(),
                serde_json::from_str::<Value>(input).is_ok(),
                "{input}"
            );
        }
    }

    fn decoded(input: &str, piece: usize) -> Result<Vec<u8>, NotBase64> {
        let (mut decoder, mut out) = (Decoder::default(), Vec::new());
        for piece in input.as_bytes().chunks(piece) {
            decoder.push(piece, &mut out)?;
        }
        decoder.finish(&mut out)?;
        Ok(out)
    }

    fn data(input: &str, piece: usize) -> (Vec<u8>, Data) {
        let (mut decoder, mut out) = (Decoder::default(), Vec::new());
        for piece in input.as_bytes().chunks(piece) {
            decoder.push(piece, &mut out).unwrap();
        }
        let data = decoder.finish(&mut out).unwrap().unwrap();
        (out, data)
    }

    #[test]
    fn data_uris_say_type_and_name() {
        for (input, content, mimetype, name) in [
            ("data:,a%20b", &b"a b"[..], None, None),
            ("data:text/plain,50%", b"50%", Some("text/plain"), None),
            ("data:text/plain,5%zz", b"5%zz", Some("text/plain"), None),
            (
                "DATA:text/CSV;charset=utf-8;name=%C3%A4%20b.csv,a;b",
                b"a;b",
                Some("text/CSV; charset=utf-8"),
                Some("ä b.csv"),
            ),
            (
                "data:image/png;filename=\"C:\\x\\a.png\";BASE64,aGVs%0AbG8%2fPg%3D%3D",
                b"hello?>",
                Some("image/png"),
                Some("a.png"),
            ),
            ("data:;base64,aGk", b"hi", None, None),
            ("\n data:a/b;base64,aG k=", b"hi", Some("a/b"), None),
        ] {
            for piece in 1..input.len() {
                let (out, data) = data(input, piece);
                assert_eq!(out, content, "{input}");
                assert_eq!(data.mimetype.as_deref(), mimetype, "{input}");
                assert_eq!(data.name.as_deref(), name, "{input}");
            }
        }
        for bad in [
            "data:text/plain",
            "data:;base64,a",
            "data:;base64,aG%",
            "data:;base64,*",
        ] {
            assert_eq!(decoded(bad, 2), Err(NotBase64), "{bad}");
        }
    }

    #[test]
    fn a_data_uri_is_taken_and_another_address_stays() {
        for (url, expected) in [
            ("data:a/b,c\\/d", "data:a/b,c/d"),
            ("DaTa:,x", "DaTa:,x"),
            ("http://x/data:", ""),
            ("dat", ""),
            ("", ""),
            ("data", ""),
            ("da\\\"ta:", ""),
        ] {
            let input = format!(
                "{{\"url\": \"{url}\", \"x\": \"data:y\", \"l\": {{\"url\": \"data:z\"}}}}"
            );
            let mut rest_of: Value = serde_json::from_str(&input).unwrap();
            if !expected.is_empty() {
                rest_of["url"] = json!("");
            }
            for piece in 1..input.len() {
                let (rest, taken) = split(&input, piece);
                assert_eq!(
                    serde_json::from_str::<Value>(&rest).unwrap(),
                    rest_of,
                    "{input}"
                );
                assert_eq!(taken, expected, "{input}");
            }
        }
    }

    #[test]
    fn base64_in_all_its_forms() {
        for input in [
            "aGVsbG8_Pg==",
            "aGVsbG8/Pg",
            "aGVs\nbG8/\r\n Pg==",
            "data:text/plain;charset=x;base64,aGVsbG8/Pg==",
        ] {
            for piece in 1..input.len() {
                assert_eq!(
                    decoded(input, piece).unwrap(),
                    b"hello?>",
                    "{input} {piece}"
                );
            }
        }
        assert_eq!(decoded("", 1).unwrap(), b"");
        assert_eq!(decoded("da", 1).unwrap(), [0x75]);
        let long = "d".repeat(100_000);
        assert_eq!(decoded(&long, 777).unwrap().len(), 75_000);
        let endless = format!("data:{}", "x".repeat(10_000));
        for bad in ["a", "aGVs*", "aG==Vs", "data:x", "ü", &endless] {
            assert_eq!(decoded(bad, 3), Err(NotBase64), "{bad}");
        }
    }
}
