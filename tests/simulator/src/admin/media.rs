//! `GET /admin/phones/:number/media/:messageId`: the file of a message, decrypted.

use http_types::headers::HeaderValue;
use http_types::{Method, Request, Response};

use super::AdminError;
use crate::net::{Hub, file_response};
use crate::service::PeopleError;

/// Answers a request for a file; `None` if it is one for something else.
pub(super) fn file(hub: &Hub, request: &Request) -> Option<Result<Response, AdminError>> {
    let path: Vec<&str> = request.url().path().trim_matches('/').split('/').collect();
    match (request.method(), path.as_slice()) {
        (Method::Get, ["admin", "phones", number, "media", id]) => {
            let range = request.header("range").map(|values| values.as_str());
            Some(decrypted(hub, number, id, range))
        }
        _ => None,
    }
}

fn decrypted(
    hub: &Hub,
    number: &str,
    id: &str,
    range: Option<&str>,
) -> Result<Response, AdminError> {
    let service = hub.service.borrow();
    let phone = service
        .phone(number)
        .ok_or_else(|| PeopleError::Unknown(number.to_owned()))?;
    let media = phone
        .media_of(id)
        .ok_or_else(|| AdminError::NoFile(id.to_owned()))?;
    let broken = |e: &dyn std::fmt::Display| AdminError::BrokenFile(e.to_string());
    let reason = media.error.as_deref().unwrap_or("it was not downloaded");
    let file = media.file.as_ref().ok_or_else(|| broken(&reason))?;
    let mut plain = service.media().spool().map_err(|e| broken(&e))?;
    file.decrypt(&mut plain).map_err(|e| broken(&e))?;
    let plain = plain.finish().map_err(|e| broken(&e))?;
    let mut response = file_response(&plain, range).map_err(|e| broken(&e))?;
    // The sender wrote it: it may be anything.
    let mimetype = media.mimetype.as_deref().unwrap_or_default();
    if mimetype.bytes().all(|byte| (b' '..=b'~').contains(&byte))
        && let Ok(value) = mimetype.parse::<HeaderValue>()
    {
        response.insert_header("content-type", value);
    }
    Ok(response)
}
