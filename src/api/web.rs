//! The files of the web page, served without a key: see [`crate::web`].

use std::io::Read as _;

use http_types::{Body, Method, Request, Response, StatusCode};

use crate::web::{self, File};

/// The answer to a request for a file of the page; `None` for every other request.
pub fn answer(request: &Request) -> Option<Response> {
    if !matches!(request.method(), Method::Get | Method::Head) {
        return None;
    }
    let file = web::find(request.url().path())?;
    let header = |name: &str| request.header(name).map(|values| values.as_str());
    let known =
        header("If-None-Match").is_some_and(|tags| tags.split(',').any(|tag| is(tag, file.etag)));
    let mut response = match known {
        true => Response::new(StatusCode::NotModified),
        false => whole(file, header("Accept-Encoding").is_some_and(takes_gzip)),
    };
    response.insert_header("Content-Type", file.kind);
    response.insert_header("ETag", file.etag);
    response.insert_header("Vary", "Accept-Encoding");
    response.insert_header("Cache-Control", "no-cache");
    response.insert_header("Content-Security-Policy", web::POLICY);
    response.insert_header("X-Content-Type-Options", "nosniff");
    response.insert_header("Referrer-Policy", "no-referrer");
    Some(response)
}

fn whole(file: &File, gzip: bool) -> Response {
    let mut response = Response::new(StatusCode::Ok);
    if gzip {
        response.set_body(Body::from_bytes(file.gzip.to_vec()));
        response.insert_header("Content-Encoding", "gzip");
        return response;
    }
    let mut content = Vec::with_capacity(file.size);
    // The build has packed it.
    let _ = flate2::read::GzDecoder::new(file.gzip).read_to_end(&mut content);
    response.set_body(Body::from_bytes(content));
    response
}

/// Whether a tag of `If-None-Match` is the file's, also as a weak one, which a proxy that unpacks makes of it.
fn is(tag: &str, etag: &str) -> bool {
    let tag = tag.trim();
    tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag
}

/// Whether `Accept-Encoding` names gzip, and not with the weight 0.
fn takes_gzip(accepted: &str) -> bool {
    accepted.split(',').any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let refused = parts.any(|part| {
            part.strip_prefix("q=")
                .is_some_and(|q| q.parse() == Ok(0.0_f32))
        });
        (name.eq_ignore_ascii_case("gzip") || name == "*") && !refused
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(path: &str, headers: &[(&str, &str)]) -> Option<Response> {
        let mut request = Request::new(Method::Get, format!("http://pi:3000{path}").as_str());
        for (name, value) in headers {
            request.insert_header(*name, *value);
        }
        answer(&request)
    }

    #[test]
    fn the_page_and_its_files_are_served_and_nothing_else() {
        for path in ["/", "/web/style.css", "/web/page.js", "/web/icon.svg"] {
            let response = get(path, &[("Accept-Encoding", "br, gzip")]).expect(path);
            assert_eq!(response.status(), StatusCode::Ok);
            assert_eq!(
                response.header("Content-Encoding").expect("gzip").as_str(),
                "gzip"
            );
            assert_eq!(
                response
                    .header("X-Content-Type-Options")
                    .expect("one")
                    .as_str(),
                "nosniff"
            );
            let tag = response.header("ETag").expect("a tag").as_str().to_owned();
            for tag in [tag.clone(), format!("\"x\", W/{tag}")] {
                let again = get(path, &[("If-None-Match", &tag)]).expect(path);
                assert_eq!(again.status(), StatusCode::NotModified);
            }
            let plain = get(path, &[("Accept-Encoding", "gzip;q=0")]).expect(path);
            assert!(plain.header("Content-Encoding").is_none());
            assert!(plain.len() > response.len());
        }
        for path in [
            "/web",
            "/web/",
            "/web/mod.rs",
            "/web/../Cargo.toml",
            "/index.html",
            "/accounts",
        ] {
            assert!(get(path, &[]).is_none(), "{path}");
        }
    }
}
