//! Reads requests into the types that their routes declare.

use std::marker::PhantomData;

use super::body::{self, Declared};
use super::context::{Req, param};
use super::error::ApiError;
use super::file::{Received, Room};
use super::{multipart, upload};
use crate::fields::{Parts, Request};

/// The headers that requests may have fields in.
const HEADERS: [&str; 2] = ["Idempotency-Key", "Last-Event-ID"];

/// Reads the request of the route at `pattern`, with its body if the type has fields in it.
///
/// # Errors
/// 400 that names the field; for the body also 413 and 415.
pub async fn read<T: Request>(req: &mut Req, pattern: &str) -> Result<T, ApiError> {
    let mut parts = head(req, pattern);
    if T::HAS_BODY {
        parts.body = match Declared::of(req) {
            Declared::Multipart => multipart::fields(req).await?,
            declared => body::read(req, declared).await?,
        };
    }
    Ok(T::read(&parts)?)
}

/// The fields outside of the body. Absent and empty query parameters are the same.
pub fn head(req: &Req, pattern: &str) -> Parts {
    let mut parts = Parts::default();
    for name in pattern
        .split('/')
        .filter_map(|segment| segment.strip_prefix(':'))
    {
        parts.path.add(name.to_owned(), param(req, name));
    }
    for (name, value) in req
        .url()
        .query_pairs()
        .filter(|(_, value)| !value.is_empty())
    {
        parts.query.add(name.into_owned(), value.into_owned());
    }
    for name in HEADERS {
        for value in req.header(name).into_iter().flatten() {
            parts.header.add(name.to_owned(), value.as_str().to_owned());
        }
    }
    parts
}

/// A request that may carry a file: its handler decides whether the body is read at all.
pub struct Incoming<T> {
    pub req: Req,
    parts: Parts,
    file_field: &'static str,
    body: PhantomData<fn() -> T>,
}

impl<T: Request> Incoming<T> {
    pub fn new(req: Req, pattern: &str, file_field: &'static str) -> Incoming<T> {
        let parts = head(&req, pattern);
        Incoming {
            req,
            parts,
            file_field,
            body: PhantomData,
        }
    }

    /// Reads the fields outside of the body.
    ///
    /// # Errors
    /// 400 that names the field.
    pub fn head<H: Request>(&self) -> Result<H, ApiError> {
        Ok(H::read(&self.parts)?)
    }

    /// Reads the body: the fields, and the file if the form's field for it, `base64` or a `data:` URI at `url` has one. The
    /// fields that precede the file are checked before any of it is stored.
    ///
    /// # Errors
    /// 400 that names the field, 413 over the limits, 415 for other media types, 503 if the disk is full.
    pub async fn read(self) -> Result<(Req, T, Option<Received>), ApiError> {
        let (req, request, mut files) = self.read_all(1).await?;
        Ok((req, request, files.pop()))
    }

    /// The same with at most `most` files, which together are no larger than one may be.
    ///
    /// # Errors
    /// As those of [`Incoming::read`].
    pub async fn read_all(mut self, most: usize) -> Result<(Req, T, Vec<Received>), ApiError> {
        let (room, early) = (Room::of(self.req.state()), &T::check_early);
        let (fields, files) =
            upload::read(&mut self.req, &room, self.file_field, most, early).await?;
        self.parts.body = fields;
        Ok((self.req, T::read(&self.parts)?, files))
    }
}
