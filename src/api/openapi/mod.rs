//! `GET /openapi.json`: this API as an OpenAPI document, for generators of clients.
//!
//! The document is made of [`super::routes`] and the types that it names. `openapi.json` is its readable copy, which a test
//! compares with what the code says; `build.rs` packs it for the binary. To write it anew:
//! `WILDCAT_WRITE_OPENAPI=1 cargo test --features sandbox --lib api::openapi`.

#[cfg(test)]
mod tests;

use std::io::Read as _;

use flate2::read::DeflateDecoder;

use super::answer::{Answer, Reply};
use super::context::Req;
use super::error::ApiError;

/// The document without white space, packed.
const PACKED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/openapi.json.deflate"));

/// The document.
pub struct Document;

impl Reply for Document {
    fn into_answer(self) -> Result<Answer, ApiError> {
        let mut document = Vec::with_capacity(8 * PACKED.len());
        DeflateDecoder::new(PACKED)
            .read_to_end(&mut document)
            .map_err(|error| ApiError::Internal(error.to_string()))?;
        Ok(Answer::file("application/json", document))
    }

    #[cfg(test)]
    fn describe(operation: &mut super::describe::Operation) {
        let object = schemars::json_schema!({"type": "object"});
        operation.content(200, "OpenAPI 3.1", [("application/json", object)]);
    }
}

pub async fn document(_req: Req, _: ()) -> Result<Document, ApiError> {
    Ok(Document)
}
