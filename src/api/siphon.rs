//! Takes one long string out of a JSON object while it passes, so that a file in base64 never is in
//! memory as a whole. Pure.
//!
//! What comes in is split: the characters of the string at the top-level key `base64` go out as they
//! are decoded, everything else stays JSON, with an empty string in that place.

/// What became of the input so far.
#[derive(Debug)]
pub struct Siphon {
    /// Within objects and lists; the top-level object is 1.
    depth: u32,
    at: At,
    /// The string that may turn out to be a key.
    key: Vec<u8>,
    /// Whether the next string at the top level is a key's value, and of the wanted key.
    value_of_key: bool,
    is_wanted: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Outside of strings.
    Outside,
    /// In a string that stays.
    Inside { escaped: bool },
    /// In the string that is taken.
    Taken,
    /// Behind a backslash in it.
    TakenEscape,
    /// In `\uXXXX` in it: digits to come, and their value so far.
    TakenUnicode { left: u8, value: u32 },
}

const WANTED: &[u8] = b"base64";

impl Default for Siphon {
    fn default() -> Self {
        Siphon {
            depth: 0,
            at: At::Outside,
            key: Vec::new(),
            value_of_key: false,
            is_wanted: false,
        }
    }
}

impl Siphon {
    /// Splits `input`: what stays JSON is added to `rest`, what is taken to `taken`.
    pub fn push(&mut self, input: &[u8], rest: &mut Vec<u8>, taken: &mut Vec<u8>) {
        for &byte in input {
            match self.at {
                At::Outside => self.outside(byte, rest),
                At::Inside { escaped } => {
                    rest.push(byte);
                    self.inside(byte, escaped);
                }
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
                        b'n' | b'r' | b't' => {}
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
                self.is_wanted = self.key == WANTED;
            }
            b',' if self.depth == 1 => {
                self.value_of_key = false;
                self.is_wanted = false;
            }
            b'"' if self.depth == 1 && self.value_of_key && self.is_wanted => self.at = At::Taken,
            b'"' => {
                self.key.clear();
                self.at = At::Inside { escaped: false };
            }
            _ => {}
        }
    }

    fn inside(&mut self, byte: u8, escaped: bool) {
        self.at = match (byte, escaped) {
            (b'"', false) => At::Outside,
            (b'\\', false) => At::Inside { escaped: true },
            _ => At::Inside { escaped: false },
        };
        // One byte more than the wanted key tells the others.
        if self.at != At::Outside && !self.value_of_key && self.key.len() <= WANTED.len() {
            self.key.push(byte);
        }
    }
}

/// Decodes base64 piece by piece: either alphabet, with or without padding and line ends, also as a
/// `data:` URL. Pure.
#[derive(Debug, Default)]
pub struct Decoder {
    /// What was not decoded yet, and at the start what may be a `data:` URL's head.
    pending: Vec<u8>,
    head: Head,
    padded: bool,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Head {
    #[default]
    Unknown,
    Within,
    Over,
}

const DATA: &[u8] = b"data:";
/// The longest head of a `data:` URL.
const HEAD: usize = 256;

/// This is no base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotBase64;

impl Decoder {
    /// Decodes `input`, adding to `out` what is complete.
    ///
    /// # Errors
    /// [`NotBase64`].
    pub fn push(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(), NotBase64> {
        for &byte in input {
            match self.head {
                Head::Over => self.character(byte)?,
                Head::Within if byte == b',' => {
                    // What the head says is not needed.
                    self.pending.clear();
                    self.head = Head::Over;
                }
                Head::Within => {
                    self.pending.push(byte);
                    if self.pending.len() > HEAD {
                        return Err(NotBase64);
                    }
                }
                Head::Unknown => {
                    self.pending.push(byte);
                    if !DATA.starts_with(&self.pending) {
                        self.head = Head::Over;
                        for byte in std::mem::take(&mut self.pending) {
                            self.character(byte)?;
                        }
                    } else if self.pending == DATA {
                        self.head = Head::Within;
                    }
                }
            }
        }
        let whole = self.pending.len() / 4 * 4;
        if self.head == Head::Over && whole > 0 {
            decode(&self.pending[..whole], out)?;
            self.pending.drain(..whole);
        }
        Ok(())
    }

    /// The end.
    ///
    /// # Errors
    /// [`NotBase64`] if what is left over is none.
    pub fn finish(mut self, out: &mut Vec<u8>) -> Result<(), NotBase64> {
        match self.head {
            Head::Within => return Err(NotBase64),
            Head::Unknown => {
                for byte in std::mem::take(&mut self.pending) {
                    self.character(byte)?;
                }
            }
            Head::Over => {}
        }
        decode(&self.pending, out)
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

fn decode(characters: &[u8], out: &mut Vec<u8>) -> Result<(), NotBase64> {
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
        let endless = format!("data:{}", "x".repeat(1_000));
        for bad in ["a", "aGVs*", "aG==Vs", "data:x", "ü", &endless] {
            assert_eq!(decoded(bad, 3), Err(NotBase64), "{bad}");
        }
    }
}
