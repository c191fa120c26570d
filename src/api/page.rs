//! Pages of lists: which part of a list a request asks for, and where its answer ends.
//!
//! A page ends at `limit` entries or at [`PAGE_BYTES`], whichever is first; then `hasMore` is true and `next`
//! is the next request's `cursor`, which continues behind the last entry whatever was stored meanwhile. `skip` (or
//! `offset`) counts from there.

#[cfg(test)]
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use serde_json::Value;

use crate::account::MediaCursor;
#[cfg(test)]
use crate::fields::Described;
use crate::fields::{
    Field, FieldError, Fields, Parts, Place, Request, Slot, Whole, request, whole,
};
use crate::settings::Envelope;
use crate::store::messages::{Cursor, Part};

/// The most rows that a page may skip.
const MAX_OFFSET: u64 = 100_000;
/// Bytes of an answer that is a page of a list. One entry alone may be larger.
pub const PAGE_BYTES: usize = 1 << 20;
/// Bytes of such an answer that are no entry.
const FRAME: usize = 2 * 1024;

/// Rows to leave out. They are skipped one by one: deeper pages need `before` or `cursor`.
#[derive(Debug, Clone, Copy)]
pub struct Skip(usize);

impl Field for Skip {
    fn read(name: &'static str, value: &Value) -> Result<Self, FieldError> {
        let Whole(rows) = Whole::read(name, value)?;
        let rows = Value::from(rows);
        let expected = "at most 100000; use \"before\" to go further back";
        // 100,000 fits every usize.
        whole(name, &rows, 0..=MAX_OFFSET, expected).map(|rows| Skip(rows as usize))
    }

    #[cfg(test)]
    fn schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "integer", "minimum": 0, "maximum": MAX_OFFSET})
    }
}

request! {
    /// The size of a page and the rows before it.
    pub struct Window {
        /// rows at most; 0 for as many as without it
        limit: Option<Whole> = query "limit",
        /// rows to leave out
        skip: Option<Skip> = query "skip",
        /// the same as `skip`
        offset: Option<Skip> = query "offset",
    }
}

/// The part of a list that a request asks for; `C` is the list's cursor.
#[derive(Debug)]
pub struct Paging<C> {
    window: Window,
    cursor: Option<C>,
}

const CURSOR: Slot = Slot {
    place: Place::Query,
    name: "cursor",
    alias: "",
};

impl<C: ListCursor> Request for Paging<C> {
    const HAS_BODY: bool = false;

    fn read(parts: &Parts) -> Result<Self, FieldError> {
        Ok(Paging {
            window: Window::read(parts)?,
            cursor: parts
                .read::<Option<Behind<C>>>(&CURSOR)?
                .map(|Behind(cursor)| cursor),
        })
    }

    fn check_early(_body: &Fields) -> Result<(), FieldError> {
        Ok(())
    }

    #[cfg(test)]
    fn describe(generator: &mut SchemaGenerator, out: &mut Vec<Described>) {
        Window::describe(generator, out);
        let doc = "the `next` of the page before: goes on behind it, whatever was stored meanwhile";
        out.push(Described {
            slot: CURSOR,
            doc: doc.to_owned(),
            required: false,
            schema: Behind::<C>::schema(generator),
        });
    }
}

/// Where a page begins and how many entries it has at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    pub limit: usize,
    pub offset: usize,
}

impl<C> Paging<C> {
    /// The page, with `usual` entries where the request has no limit or 0, and never more than `most`; and the same for the
    /// store, with the bytes that an answer in that envelope may have.
    pub fn of(self, envelope: Envelope, usual: usize, most: usize) -> (Page, Part<C>) {
        let limit = match self.window.limit {
            None | Some(Whole(0)) => usual,
            Some(Whole(n)) => usize::try_from(n).unwrap_or(most).min(most),
        };
        let skip = self.window.skip.or(self.window.offset);
        let offset = skip.map_or(0, |Skip(rows)| rows);
        let copies = match envelope {
            Envelope::Both => 2,
            Envelope::Flat | Envelope::Data => 1,
        };
        let part = Part {
            limit,
            skip: offset,
            bytes: (PAGE_BYTES - FRAME) / copies,
            behind: self.cursor,
        };
        (Page { limit, offset }, part)
    }
}

/// Where a page of a list ended.
pub trait ListCursor: Sized {
    /// What its texts look like, for the OpenAPI document.
    #[cfg(test)]
    const PATTERN: &'static str;

    fn parse(text: &str) -> Option<Self>;
}

impl ListCursor for Cursor {
    #[cfg(test)]
    const PATTERN: &'static str = "^(?:[0-9]{1,18}\\.[0-9]{1,18}\\.[0-9]{1,9})?$";

    fn parse(text: &str) -> Option<Cursor> {
        Cursor::parse(text)
    }
}

impl ListCursor for MediaCursor {
    #[cfg(test)]
    const PATTERN: &'static str = "^(?:[0-9]{1,9}-[0-9]{1,18}(?:\\.[0-9]{1,9}-[0-9]{1,18})*)?$";

    fn parse(text: &str) -> Option<MediaCursor> {
        MediaCursor::parse(text)
    }
}

/// The number of the last entry, in a list whose entries are numbered.
impl ListCursor for u64 {
    #[cfg(test)]
    const PATTERN: &'static str = "^(?:[0-9]{1,18})?$";

    fn parse(text: &str) -> Option<u64> {
        text.parse().ok()
    }
}

/// The field `cursor`.
#[derive(Debug)]
struct Behind<C>(C);

impl<C: ListCursor> Field for Behind<C> {
    fn read(name: &'static str, value: &Value) -> Result<Self, FieldError> {
        let found = value.as_str().and_then(C::parse);
        found.map(Behind).ok_or(FieldError::Field {
            field: name,
            expected: "what an answer gave as \"next\"",
        })
    }

    #[cfg(test)]
    fn schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": C::PATTERN})
    }
}

/// A page ends at its limit or after 1 MiB of answer.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Pagination {
    pub total: u64,
    pub limit: usize,
    pub offset: usize,
    pub has_more: bool,
    /// the next request's `cursor`, if there is more
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl Pagination {
    pub fn new(page: Page, total: u64, next: Option<impl ToString>) -> Pagination {
        Pagination {
            total,
            limit: page.limit,
            offset: page.offset,
            has_more: next.is_some(),
            next: next.map(|next| next.to_string()),
        }
    }
}
