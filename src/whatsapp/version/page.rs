//! WhatsApp's page that names the current version, read with suspicion. Pure.

use whatsapp_rust::http::HttpResponse;
use whatsapp_rust::wacore::version::parse_sw_js;

use crate::net::inflate::{Coding, Inflater};

use super::number::{BUILT_IN, Version};

/// Bytes of the page, unpacked; WhatsApp's own has some tens of thousands.
const MAX_PAGE: usize = 4 << 20;
/// What gzip begins with.
const GZIP: [u8; 2] = [0x1F, 0x8B];

/// Why the current version is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unknown {
    #[error("{0}")]
    Unreachable(String),
    #[error("the answer was a redirect ({0}), which a network's sign-in page can be")]
    Redirect(u16),
    #[error("the answer was {0}")]
    Status(u16),
    #[error("the answer could not be unpacked")]
    Packed,
    #[error(
        "the answer names no version: it is a network's sign-in page, or WhatsApp changed its own"
    )]
    Nameless,
    #[error("the answer names version {0}, which is older than the built-in one")]
    Old(Version),
}

/// The version that an answer names. One without a revision (`.0`) is none, and versions only grow: what is older
/// than the one of this release is not the current one.
///
/// # Errors
/// [`Unknown`].
pub fn read(answer: HttpResponse) -> Result<Version, Unknown> {
    match answer.status_code {
        200..=299 => {}
        status @ 300..=399 => return Err(Unknown::Redirect(status)),
        status => return Err(Unknown::Status(status)),
    }
    let body = match answer.body.starts_with(&GZIP) {
        true => unpacked(&answer.body)?,
        false => answer.body,
    };
    match parse_sw_js(&String::from_utf8_lossy(&body)).map(Version) {
        None | Some(Version((_, _, 0))) => Err(Unknown::Nameless),
        Some(version) if version < BUILT_IN => Err(Unknown::Old(version)),
        Some(version) => Ok(version),
    }
}

/// Some servers compress without being asked to.
fn unpacked(packed: &[u8]) -> Result<Vec<u8>, Unknown> {
    let mut inflater = Inflater::new(Coding::Gzip);
    let mut page = Vec::new();
    for piece in packed.chunks(Inflater::PIECE) {
        page.extend(inflater.push(piece).map_err(|_| Unknown::Packed)?);
        if page.len() > MAX_PAGE {
            return Err(Unknown::Packed);
        }
    }
    page.extend(inflater.finish().map_err(|_| Unknown::Packed)?);
    Ok(page)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn answer(status_code: u16, body: &[u8]) -> HttpResponse {
        HttpResponse {
            status_code,
            body: body.to_vec(),
        }
    }

    fn packed(body: &[u8]) -> Vec<u8> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(body).unwrap();
        gzip.finish().unwrap()
    }

    #[test]
    fn a_version_is_read_from_whatever_comes() {
        let page = br#"JSON.parse("{\"client_revision\":2000000001,\"push_phase\":\"C3\"}")"#;
        let found = Ok(Version((2, 3000, 2_000_000_001)));
        assert_eq!(read(answer(200, page)), found);
        assert_eq!(read(answer(200, &packed(page))), found);
        let cut = &packed(page)[..20];
        let bomb = packed(&vec![0; 2 * MAX_PAGE]);
        for (status, body, error) in [
            (403, &page[..], Unknown::Status(403)),
            (500, b"", Unknown::Status(500)),
            (302, b"", Unknown::Redirect(302)),
            (200, b"", Unknown::Nameless),
            (200, b"<html>Welcome</html>", Unknown::Nameless),
            // What the library reads as version 2.3000.0.
            (200, b"x assets-manifest-98765 y", Unknown::Nameless),
            (200, br#"{"client_revision":0}"#, Unknown::Nameless),
            (
                200,
                br#"{"client_revision":99999999999}"#,
                Unknown::Nameless,
            ),
            (200, b"\xFF\xFE\x00", Unknown::Nameless),
            (
                200,
                br#"{"client_revision":7}"#,
                Unknown::Old(Version((2, 3000, 7))),
            ),
            (200, cut, Unknown::Packed),
            (200, &bomb, Unknown::Packed),
        ] {
            assert_eq!(read(answer(status, body)), Err(error), "{status}");
        }
    }
}
