//! Pages of lists: which part of a list a request asks for, and where its answer ends.
//!
//! A page ends at `limit` entries or at [`PAGE_BYTES`], whichever is first; then `hasMore` is true and `next`
//! is what `cursor` takes, to go on behind the last entry whatever has come meanwhile. `skip` (or `offset`)
//! counts from there.

use super::Req;
use super::error::ApiError;
use super::input::{number, query};
use crate::settings::Envelope;
use crate::store::messages::Part;

/// The most rows that a page may skip.
const MAX_OFFSET: usize = 100_000;

/// Which part of a list is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    pub limit: usize,
    pub offset: usize,
}

impl Page {
    /// Reads `limit`, and `skip` or `offset`. Without a limit, or with 0, it is `usual`; it is
    /// never over `most`.
    ///
    /// # Errors
    /// 400 that names the parameter.
    pub fn of(req: &Req, usual: usize, most: usize) -> Result<Page, ApiError> {
        let limit = match number(req, "limit")? {
            None | Some(0) => usual,
            Some(n) => usize::try_from(n).unwrap_or(most).min(most),
        };
        // Both are checked, whichever of them counts.
        let (skip, offset) = (skipped(req, "skip")?, skipped(req, "offset")?);
        let offset = skip.or(offset).unwrap_or(0);
        Ok(Page { limit, offset })
    }

    /// The same with what else bounds it: [`PAGE_BYTES`] of answer, and behind what `cursor` in the
    /// query names, which `parse` reads.
    ///
    /// # Errors
    /// 400 that names the parameter.
    pub fn part<C>(
        self,
        req: &Req,
        parse: impl FnOnce(&str) -> Option<C>,
    ) -> Result<Part<C>, ApiError> {
        let behind = query(req, "cursor")
            .map(|text| {
                parse(&text).ok_or(ApiError::Field {
                    field: "cursor",
                    expected: "what an answer gave as \"next\"",
                })
            })
            .transpose()?;
        let copies = match req.state().config.envelope {
            Envelope::Both => 2,
            Envelope::Flat | Envelope::Data => 1,
        };
        Ok(Part {
            limit: self.limit,
            skip: self.offset,
            bytes: (PAGE_BYTES - FRAME) / copies,
            behind,
        })
    }
}

/// Rows to leave out. They are skipped one by one: deeper pages are asked for with `before` or `cursor`.
fn skipped(req: &Req, name: &'static str) -> Result<Option<usize>, ApiError> {
    let Some(rows) = number(req, name)? else {
        return Ok(None);
    };
    usize::try_from(rows)
        .ok()
        .filter(|rows| *rows <= MAX_OFFSET)
        .map(Some)
        .ok_or(ApiError::Field {
            field: name,
            expected: "at most 100000; use \"before\" to go further back",
        })
}

/// Bytes of an answer that is a page of a list. One entry alone may be larger.
pub const PAGE_BYTES: usize = 1 << 20;
/// Bytes of such an answer that are no entry.
const FRAME: usize = 2 * 1024;
