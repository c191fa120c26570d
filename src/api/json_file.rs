//! Takes long strings out of a JSON object while it passes, so that a file in base64 never is in
//! memory as a whole. Pure.
//!
//! What comes in is split: the characters of the string at the key `base64`, and of a `data:` URI at
//! `url`, go out as they are decoded, everything else stays JSON, with an empty string in that place. Where there are
//! several files, they are in the objects of a list at the top level, and `data:` with a file's number, from 0, is in its
//! place.

use super::data_uri::DATA;

/// What became of the input so far.
#[derive(Debug)]
pub struct Splitter {
    /// Within objects and lists; the top-level object is 1.
    depth: u32,
    /// The depth of the objects with files.
    level: u32,
    /// Files that were taken.
    count: usize,
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
    /// Bytes of the rest up to the end of the last complete field.
    complete: usize,
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

impl Default for Splitter {
    fn default() -> Self {
        Splitter {
            depth: 0,
            level: 1,
            count: 0,
            at: At::Outside,
            key: Vec::new(),
            value_of_key: false,
            wanted: Wanted::No,
            probe: Vec::new(),
            taken_from: Vec::new(),
            complete: 0,
        }
    }
}

impl Splitter {
    /// For files in a list.
    pub fn of_list() -> Splitter {
        Splitter {
            level: 3,
            ..Splitter::default()
        }
    }

    /// The number of strings that were taken as a whole.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The keys whose strings were taken so far.
    pub fn taken_from(&self) -> &[&'static str] {
        &self.taken_from
    }

    /// The JSON object of the fields that are complete, out of the rest so far.
    pub fn complete_fields(&self, rest: &[u8]) -> Vec<u8> {
        let mut object = rest.get(..self.complete).unwrap_or_default().to_vec();
        object.push(b'}');
        object
    }

    /// Splits `input` up to the end of a string that is taken: what stays JSON is added to `rest`, what is taken to
    /// `taken`. Returns how many bytes it has split.
    pub fn push(&mut self, input: &[u8], rest: &mut Vec<u8>, taken: &mut Vec<u8>) -> usize {
        for (n, &byte) in input.iter().enumerate() {
            match self.at {
                At::Outside => self.outside(byte, rest),
                At::Inside { escaped } => {
                    rest.push(byte);
                    self.inside(byte, escaped);
                }
                At::Probing => self.probing(byte, rest, taken),
                At::Taken => match byte {
                    b'"' => {
                        if self.level > 1 {
                            rest.extend_from_slice(format!("data:{}", self.count).as_bytes());
                        }
                        rest.push(byte);
                        self.at = At::Outside;
                        self.count += 1;
                        return n + 1;
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
        input.len()
    }

    fn outside(&mut self, byte: u8, rest: &mut Vec<u8>) {
        rest.push(byte);
        match byte {
            b'{' | b'[' => {
                self.depth = self.depth.saturating_add(1);
                if self.depth == 1 {
                    self.complete = rest.len();
                }
                self.no_value();
            }
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                self.no_value();
            }
            b':' if self.depth == self.level => {
                self.value_of_key = true;
                self.wanted = if self.key == BASE64.as_bytes() {
                    Wanted::Always
                } else if self.key == URL.as_bytes() {
                    Wanted::IfData
                } else {
                    Wanted::No
                };
            }
            b',' => {
                if self.depth == 1 {
                    self.complete = rest.len() - 1;
                }
                if self.depth == self.level {
                    self.no_value();
                }
            }
            b'"' => {
                let wanted = match self.depth == self.level && self.value_of_key {
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

    fn no_value(&mut self) {
        self.value_of_key = false;
        self.wanted = Wanted::No;
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn push(splitter: &mut Splitter, input: &str, piece: usize) -> (Vec<u8>, Vec<u8>) {
        let (mut rest, mut taken) = (Vec::new(), Vec::new());
        for mut piece in input.as_bytes().chunks(piece) {
            while !piece.is_empty() {
                piece = &piece[splitter.push(piece, &mut rest, &mut taken)..];
            }
        }
        (rest, taken)
    }

    #[test]
    fn the_files_of_a_list_are_taken_by_their_numbers() {
        let input = r#"{"base64": "no", "files": [{"base64": "AA", "caption": "base64"},
            {"url": "http://x", "x": {"base64": "in"}}, {"caption": "c", "url": "data:,b"}, "base64"], "to": ["base64"]}"#;
        let expected = json!({"base64": "no", "files": [{"base64": "data:0", "caption": "base64"},
            {"url": "http://x", "x": {"base64": "in"}}, {"caption": "c", "url": "data:1"}, "base64"],
            "to": ["base64"]});
        for piece in 1..input.len() {
            let mut splitter = Splitter::of_list();
            let (rest, taken) = push(&mut splitter, input, piece);
            assert_eq!(serde_json::from_slice::<Value>(&rest).unwrap(), expected);
            assert_eq!((&taken[..], splitter.count()), (&b"AAdata:,b"[..], 2));
        }
    }

    fn split(input: &str, piece: usize) -> (String, String) {
        let (rest, taken) = push(&mut Splitter::default(), input, piece);
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
    fn fields_before_the_file_are_complete() {
        for (input, expected) in [
            (
                r#"{"to": "a,", "x": [1, {"y": 2}], "base64": "AA"#,
                json!({"to": "a,", "x": [1, {"y": 2}]}),
            ),
            (r#"{"base64": "AA", "to": "b"}"#, json!({"base64": ""})),
            (r#" {"base64": "AA"#, json!({})),
            (r#"{"to": 5, "url": "data:;base64,AA"#, json!({"to": 5})),
        ] {
            for piece in 1..input.len() {
                let mut splitter = Splitter::default();
                let (rest, _) = push(&mut splitter, input, piece);
                let complete = splitter.complete_fields(&rest);
                assert_eq!(
                    serde_json::from_slice::<Value>(&complete).unwrap(),
                    expected
                );
            }
        }
    }
}
