//! Files as text: base64, or a `data:` URI.

use super::base64::{NotBase64, decode};
use super::file_name;

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

/// How a `data:` URI begins, in lower case.
pub const DATA: &[u8] = b"data:";
/// The longest head of a `data:` URI.
const HEAD: usize = 2 * 1024;

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

#[cfg(test)]
mod tests {
    use super::*;

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
