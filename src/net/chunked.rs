//! Decodes the chunked transfer coding (RFC 9112, 7.1). Pure.

use std::io;

/// The longest chunk-size line with extensions, and the longest trailers as a whole, in bytes.
const MAX_LINE: usize = 4 * 1024;

/// The state of decoding one body.
#[derive(Debug, Default)]
pub struct Chunked {
    at: At,
    /// Bytes of the current line, or of all trailers, so far.
    line: usize,
}

#[derive(Debug, Clone, Copy)]
enum At {
    /// In a chunk's size, before or behind its first digit.
    Size {
        size: u64,
        digits: bool,
    },
    /// Behind the size: extensions and the end of the line.
    Extension {
        size: u64,
    },
    Data {
        left: u64,
    },
    /// At the line end behind a chunk's data.
    DataEnd,
    /// In the trailers, which are ignored. `empty`: the line has no byte yet.
    Trailers {
        empty: bool,
    },
}

impl Default for At {
    fn default() -> Self {
        At::Size {
            size: 0,
            digits: false,
        }
    }
}

/// What one call of [`Chunked::decode`] did.
#[derive(Debug, PartialEq, Eq)]
pub struct Step {
    /// Bytes taken from the input.
    pub used: usize,
    /// Bytes written to the output.
    pub written: usize,
    /// The body has ended.
    pub done: bool,
}

impl Chunked {
    /// Decodes from `input` to `out`, until either is exhausted or the body ends.
    ///
    /// # Errors
    /// `InvalidData` for malformed input.
    pub fn decode(&mut self, input: &[u8], out: &mut [u8]) -> io::Result<Step> {
        let (mut used, mut written) = (0, 0);
        while used < input.len() {
            if let At::Data { left } = &mut self.at {
                let most = usize::try_from(*left).unwrap_or(usize::MAX);
                let n = most.min(input.len() - used).min(out.len() - written);
                if n == 0 {
                    break;
                }
                out[written..written + n].copy_from_slice(&input[used..used + n]);
                used += n;
                written += n;
                *left -= n as u64;
                if *left == 0 {
                    self.at = At::DataEnd;
                }
                continue;
            }
            let byte = input[used];
            used += 1;
            self.line += 1;
            if self.line > MAX_LINE {
                return Err(malformed());
            }
            match self.framing(byte)? {
                Some(at) => self.at = at,
                None => {
                    return Ok(Step {
                        used,
                        written,
                        done: true,
                    });
                }
            }
        }
        Ok(Step {
            used,
            written,
            done: false,
        })
    }

    /// The state after a byte of framing; `None` at the end of the body.
    fn framing(&mut self, byte: u8) -> io::Result<Option<At>> {
        Ok(Some(match (self.at, byte) {
            (At::Size { digits: true, size } | At::Extension { size }, b'\n') => {
                self.line = 0;
                if size == 0 {
                    At::Trailers { empty: true }
                } else {
                    At::Data { left: size }
                }
            }
            (At::Size { digits: true, size }, b';' | b' ' | b'\t' | b'\r') => {
                At::Extension { size }
            }
            (At::Size { size, .. }, _) => {
                let digit = (byte as char).to_digit(16).ok_or_else(malformed)?;
                let size = size.checked_mul(16).ok_or_else(malformed)?;
                At::Size {
                    size: size | u64::from(digit),
                    digits: true,
                }
            }
            (At::Extension { size }, _) => At::Extension { size },
            (At::DataEnd, b'\r') => At::DataEnd,
            (At::DataEnd, b'\n') => {
                self.line = 0;
                At::default()
            }
            (At::Trailers { empty: true }, b'\n') => return Ok(None),
            (At::Trailers { empty }, b'\r') => At::Trailers { empty },
            (At::Trailers { .. }, b'\n') => At::Trailers { empty: true },
            (At::Trailers { .. }, _) => At::Trailers { empty: false },
            (At::DataEnd | At::Data { .. }, _) => return Err(malformed()),
        }))
    }
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "malformed chunked body")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes `input` in pieces; returns the body and the number of bytes behind it.
    fn decode(input: &[u8], piece: usize) -> io::Result<(Vec<u8>, usize)> {
        let mut chunked = Chunked::default();
        let (mut body, mut at) = (Vec::new(), 0);
        loop {
            let end = (at + piece).min(input.len());
            let mut out = [0; 3];
            let step = chunked.decode(&input[at..end], &mut out)?;
            body.extend_from_slice(&out[..step.written]);
            at += step.used;
            if step.done {
                return Ok((body, input.len() - at));
            }
            if at == input.len() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    #[test]
    fn pieces_of_any_size_decode_to_the_same() {
        let input =
            b"5;name=\"x\"\r\nhello\r\n00B \r\n wide world\r\n0\r\nA: b\r\nC: d\r\n\r\nGET /";
        for piece in 1..input.len() {
            let (body, rest) = decode(input, piece).unwrap();
            assert_eq!(
                (body.as_slice(), rest),
                (&b"hello wide world"[..], 5),
                "{piece}"
            );
        }
    }

    #[test]
    fn malformed_input_is_refused() {
        for input in [
            "\r\n0\r\n\r\n",
            "x\r\n",
            "-1\r\n",
            "5\r\nhelloX",
            "11111111111111111\r\n",
            "5 \r\nhello5\r\n",
        ] {
            let error = decode(input.as_bytes(), 100).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{input:?}");
        }
        let endless = format!("1;{}\r\n", "x".repeat(MAX_LINE));
        assert!(decode(endless.as_bytes(), 100).is_err());
        let endless = format!("0\r\n{}", "a: b\r\n".repeat(MAX_LINE));
        assert!(decode(endless.as_bytes(), 100).is_err());
    }
}
