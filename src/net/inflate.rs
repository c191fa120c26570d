//! `Content-Encoding`: gzip (RFC 1952) and deflate (RFC 1950; some servers send RFC 1951).

use std::io::{self, Write as _};

use flate2::write::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    Gzip,
    Deflate,
}

impl Coding {
    /// The coding in a `Content-Encoding` (lower case); `None` if there is none.
    ///
    /// # Errors
    /// For unknown codings and combinations.
    pub fn of(header: &str, mimetype: Option<&str>) -> Result<Option<Coding>, ()> {
        let mut codings = header
            .split(',')
            .map(str::trim)
            .filter(|coding| !matches!(*coding, "" | "identity" | "none"));
        match (codings.next(), codings.next()) {
            (None, _) => Ok(None),
            // Servers label `.gz` files this way; such a file is wanted as it is.
            (Some("gzip" | "x-gzip"), None) if mimetype.is_some_and(is_packed) => Ok(None),
            (Some("gzip" | "x-gzip"), None) => Ok(Some(Coding::Gzip)),
            (Some("deflate"), None) => Ok(Some(Coding::Deflate)),
            _ => Err(()),
        }
    }
}

/// Whether files of that type are gzip files.
fn is_packed(mimetype: &str) -> bool {
    let essence = mimetype.split(';').next().unwrap_or_default().trim();
    [
        "application/gzip",
        "application/x-gzip",
        "application/x-gunzip",
        "application/x-tgz",
        "application/x-compressed-tar",
        "application/x-gtar",
    ]
    .iter()
    .any(|packed| essence.eq_ignore_ascii_case(packed))
}

/// Decompresses a body piece by piece.
pub enum Inflater {
    Gzip(MultiGzDecoder<Vec<u8>>),
    Zlib(ZlibDecoder<Vec<u8>>),
    Deflate(DeflateDecoder<Vec<u8>>),
    /// The first two bytes of "deflate" tell RFC 1950 from RFC 1951.
    Unknown(Vec<u8>),
}

impl Inflater {
    /// The largest input of [`Inflater::push`] in bytes; 256 become at most some 264,000.
    pub const PIECE: usize = 256;

    pub fn new(coding: Coding) -> Inflater {
        match coding {
            Coding::Gzip => Inflater::Gzip(MultiGzDecoder::new(Vec::new())),
            Coding::Deflate => Inflater::Unknown(Vec::new()),
        }
    }

    /// Decompresses `packed`, at most [`Inflater::PIECE`] bytes.
    ///
    /// # Errors
    /// If the data is malformed.
    pub fn push(&mut self, packed: &[u8]) -> io::Result<Vec<u8>> {
        if let Inflater::Unknown(first) = self {
            first.extend_from_slice(packed);
            let [method, flags, ..] = first[..] else {
                return Ok(Vec::new());
            };
            let first = std::mem::take(first);
            let is_zlib =
                method & 0x0F == 8 && (u32::from(method) << 8 | u32::from(flags)) % 31 == 0;
            *self = match is_zlib {
                true => Inflater::Zlib(ZlibDecoder::new(Vec::new())),
                false => Inflater::Deflate(DeflateDecoder::new(Vec::new())),
            };
            return self.unpack(&first);
        }
        self.unpack(packed)
    }

    fn unpack(&mut self, packed: &[u8]) -> io::Result<Vec<u8>> {
        let out = match self {
            Inflater::Gzip(decoder) => {
                decoder.write_all(packed)?;
                decoder.get_mut()
            }
            Inflater::Zlib(decoder) => {
                decoder.write_all(packed)?;
                decoder.get_mut()
            }
            Inflater::Deflate(decoder) => {
                decoder.write_all(packed)?;
                decoder.get_mut()
            }
            Inflater::Unknown(first) => first,
        };
        Ok(std::mem::take(out))
    }

    /// The last decompressed bytes.
    ///
    /// # Errors
    /// If the data is incomplete.
    pub fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Inflater::Gzip(decoder) => decoder.finish(),
            Inflater::Zlib(decoder) => decoder.finish(),
            Inflater::Deflate(decoder) => decoder.finish(),
            Inflater::Unknown(first) if first.is_empty() => Ok(first),
            Inflater::Unknown(_) => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    use super::*;

    fn unpacked(coding: Coding, packed: &[u8], piece: usize) -> io::Result<Vec<u8>> {
        let mut inflater = Inflater::new(coding);
        let mut out = Vec::new();
        for piece in packed.chunks(piece) {
            out.extend(inflater.push(piece)?);
        }
        out.extend(inflater.finish()?);
        Ok(out)
    }

    #[test]
    fn compressed_bodies_are_decompressed() {
        let content = b"a text, and a text again".repeat(1_000);
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(&content).unwrap();
        let gzip = gzip.finish().unwrap();
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
        zlib.write_all(&content).unwrap();
        let zlib = zlib.finish().unwrap();
        let mut deflate = DeflateEncoder::new(Vec::new(), Compression::default());
        deflate.write_all(&content).unwrap();
        let deflate = deflate.finish().unwrap();
        for (coding, packed) in [
            (Coding::Gzip, gzip),
            (Coding::Deflate, zlib),
            (Coding::Deflate, deflate),
        ] {
            for piece in [1, 2, 7, Inflater::PIECE] {
                assert_eq!(
                    unpacked(coding, &packed, piece).unwrap(),
                    content,
                    "{coding:?}"
                );
            }
            let cut = &packed[..packed.len() - 9];
            assert!(unpacked(coding, cut, 100).is_err(), "{coding:?}");
        }
        assert!(unpacked(Coding::Gzip, b"not packed", 100).is_err());
    }

    #[test]
    fn one_piece_of_a_bomb_stays_small() {
        let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
        let zeros = vec![0; 1 << 20];
        for _ in 0..20 {
            bomb.write_all(&zeros).unwrap();
        }
        let bomb = bomb.finish().unwrap();
        let mut inflater = Inflater::new(Coding::Gzip);
        let most = bomb
            .chunks(Inflater::PIECE)
            .map(|piece| inflater.push(piece).unwrap().len())
            .max();
        assert!(most < Some(400_000), "{most:?}");
    }

    #[test]
    fn codings_are_read_as_servers_write_them() {
        for (header, mimetype, coding) in [
            ("", None, Ok(None)),
            ("identity", None, Ok(None)),
            ("gzip", Some("text/csv"), Ok(Some(Coding::Gzip))),
            ("identity, x-gzip", None, Ok(Some(Coding::Gzip))),
            ("deflate", None, Ok(Some(Coding::Deflate))),
            ("x-gzip", Some("application/x-gzip"), Ok(None)),
            ("br", None, Err(())),
            ("zstd", None, Err(())),
            ("gzip, gzip", None, Err(())),
        ] {
            assert_eq!(Coding::of(header, mimetype), coding, "{header}");
        }
    }
}
