//! Pages of lists: which part of a list a request asks for, and where its answer ends.
//!
//! A page ends at `limit` entries or at [`PAGE_BYTES`], whichever is first; then `hasMore` is true and `next`
//! is what `cursor` takes, to go on behind the last entry whatever has come meanwhile. `skip` (or `offset`)
//! counts from there.

use super::Req;
use super::error::ApiError;
use super::input::{number, query};
use crate::config::Envelope;
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
        let offset = match number(req, "skip")? {
            Some(skip) => skip,
            None => number(req, "offset")?.unwrap_or(0),
        };
        // Rows are skipped one by one: deeper pages are asked for with `before`.
        let offset = usize::try_from(offset)
            .ok()
            .filter(|offset| *offset <= MAX_OFFSET)
            .ok_or(ApiError::Field {
                field: "skip",
                expected: "at most 100000; use \"before\" to go further back",
            })?;
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

/// Bytes of an answer that is a page of a list. One entry alone may be larger.
pub const PAGE_BYTES: usize = 1 << 20;
/// Bytes of such an answer that are no entry.
const FRAME: usize = 2 * 1024;
