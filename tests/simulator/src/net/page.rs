//! `GET /sw.js`: the script of WhatsApp Web's service worker, which names the current version.

use std::io;

use http_types::{Body, Method, Request, Response, StatusCode, mime};

use super::{Hub, faulty};
use crate::service::PageFault;

/// Where the script is.
const PATH: &str = "/sw.js";
/// Bytes of the script that mean nothing here; the real one has some tens of thousands.
const FILLING: usize = 16_000;

/// Answers a request for the script; `None` if it is about something else.
///
/// # Errors
/// When the connection shall end here.
pub(super) async fn respond(hub: &Hub, request: &Request) -> io::Result<Option<Response>> {
    if request.url().path() != PATH || request.method() != Method::Get {
        return Ok(None);
    }
    let (revision, fault) = hub.with(|service| (service.looked_up(), service.page_fault()));
    // As WhatsApp's own server, which takes what lacks this header for no browser's request.
    let site = request.header("sec-fetch-site");
    if site.is_none_or(|site| site.as_str() != "none") {
        return Ok(Some(page(StatusCode::BadRequest, "Error", mime::HTML)));
    }
    Ok(Some(match fault {
        None => page(StatusCode::Ok, &script(revision), mime::JAVASCRIPT),
        Some((PageFault::Refused, code)) => {
            let status = code.and_then(|code| StatusCode::try_from(code).ok());
            let status = status.unwrap_or(StatusCode::Forbidden);
            page(status, "<html><body>Forbidden</body></html>", mime::HTML)
        }
        Some((PageFault::Captive, _)) => {
            let form = "<html><body><form action=\"/login\">Welcome to our network! \
                        Room number: <input name=\"room\"></form></body></html>";
            page(StatusCode::Ok, form, mime::HTML)
        }
        Some((PageFault::Redirect, _)) => {
            let mut response = page(StatusCode::Found, "", mime::HTML);
            response.insert_header("location", "http://portal.invalid/");
            response
        }
        Some((PageFault::Changed, _)) => {
            let script = "self.__swData={\"SiteData\":{\"push_phase\":\"C3\"}};";
            page(StatusCode::Ok, script, mime::JAVASCRIPT)
        }
        Some((PageFault::Assets, _)) => {
            let script = "importScripts('/assets-manifest-1700000.js');";
            page(StatusCode::Ok, script, mime::JAVASCRIPT)
        }
        Some((PageFault::Gzip, _)) => {
            let packed = gzip(script(revision).as_bytes());
            let mut response = Response::new(StatusCode::Ok);
            let mut body = Body::from_bytes(packed);
            body.set_mime(mime::JAVASCRIPT);
            response.set_body(body);
            response.insert_header("content-encoding", "gzip");
            response
        }
        Some((PageFault::Stall, _)) => {
            faulty::stall().await;
            return Err(io::ErrorKind::TimedOut.into());
        }
    }))
}

fn page(status: StatusCode, text: &str, kind: http_types::Mime) -> Response {
    let mut response = Response::new(status);
    let mut body = Body::from_string(text.to_owned());
    body.set_mime(kind);
    response.set_body(body);
    response
}

/// In the real format: the revision is in JSON within a string.
fn script(revision: u32) -> String {
    format!(
        "self.__swData=JSON.parse(\"{{\\\"dynamic_data\\\":{{\\\"filling\\\":\\\"{}\\\",\
         \\\"SiteData\\\":{{\\\"server_revision\\\":{revision},\\\"client_revision\\\":{revision},\
         \\\"push_phase\\\":\\\"C3\\\"}}}}}}\");\nimportScripts(\"/x.js\");\n",
        "x".repeat(FILLING)
    )
}

/// The gzip format around stored blocks (RFC 1951, RFC 1952). At most 65,535 bytes.
fn gzip(plain: &[u8]) -> Vec<u8> {
    let len = u16::try_from(plain.len()).unwrap_or(u16::MAX);
    let plain = &plain[..usize::from(len)];
    let mut out = vec![0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 255];
    out.push(1);
    out.extend(len.to_le_bytes());
    out.extend((!len).to_le_bytes());
    out.extend(plain);
    out.extend(crc32(plain).to_le_bytes());
    out.extend(u32::from(len).to_le_bytes());
    out
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::{crc32, script};

    #[test]
    fn the_script_names_the_revision_as_clients_read_it() {
        let text = script(1_047_000_001);
        let found = wacore::version::parse_sw_js(&text);
        assert_eq!(found, Some((2, 3000, 1_047_000_001)));
    }

    #[test]
    fn the_checksum_is_gzips() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }
}
