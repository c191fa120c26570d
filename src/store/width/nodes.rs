//! A page's bytes: its kind, its nodes, their numbers. Nothing reaches beyond the page.

use std::ops::Range;

use super::Width;

/// Bytes of a node before its key.
const NODE: usize = 8;

// Kinds of pages.
pub(super) const BRANCH: u16 = 0x01;
pub(super) const LEAF: u16 = 0x02;
pub(super) const OVERFLOW: u16 = 0x04;
pub(super) const META: u16 = 0x08;
/// Those kinds, and two that tables of ours do not have.
const KINDS: u16 = BRANCH | LEAF | OVERFLOW | META | 0x20 | 0x40;

/// Flags of a leaf's node: its data are in an overflow page; its data are a table's record.
pub(super) const BIG: u16 = 0x01;
pub(super) const TREE: u16 = 0x02;

/// What kind of page this is.
pub(super) fn kind(page: &[u8], width: Width) -> Option<u16> {
    short(page, width.word() + 2).map(|kind| kind & KINDS)
}

/// How many nodes a branch or leaf page has, at least one; `None` unless they fill what is not free of
/// it, without gaps.
pub(super) fn count_nodes(page: &[u8], width: Width, is_leaf: bool) -> Option<usize> {
    let header = width.header();
    let lower = usize::from(short(page, header - 4)?);
    let upper = usize::from(short(page, header - 2)?);
    if lower <= header || !(lower - header).is_multiple_of(2) || lower > upper {
        return None;
    }
    let count = (lower - header) / 2;
    let mut nodes = Vec::with_capacity(count);
    for n in 0..count {
        let (start, end) = match is_leaf {
            true => {
                let leaf = Leaf::parse(page, n, width)?;
                (leaf.key.start - NODE, leaf.data.end)
            }
            false => {
                let start = node(page, n, width)?;
                let key = usize::from(short(page, start + 6)?);
                (start, start + NODE + key)
            }
        };
        // Each takes an even number of bytes.
        nodes.push((start, end + end % 2));
    }
    nodes.sort_unstable();
    let mut at = upper;
    for (start, end) in nodes {
        if start != at {
            return None;
        }
        at = end;
    }
    (at == page.len()).then_some(count)
}

/// Where node `n` starts.
fn node(page: &[u8], n: usize, width: Width) -> Option<usize> {
    short(page, width.header() + 2 * n).map(usize::from)
}

/// The page that node `n` of a branch leads to.
pub(super) fn child(page: &[u8], n: usize, width: Width) -> Option<u64> {
    let start = node(page, n, width)?;
    let low = u64::from(long(page, start)?);
    match width {
        Width::Bits32 => Some(low),
        Width::Bits64 => Some(low | u64::from(short(page, start + 4)?) << 32),
    }
}

/// A leaf's node: where its parts are in the page.
pub(super) struct Leaf {
    pub(super) flags: u16,
    pub(super) key: Range<usize>,
    /// The data, or the number of the page that they are in.
    pub(super) data: Range<usize>,
    /// Of the data, wherever they are.
    pub(super) length: usize,
}

impl Leaf {
    /// Node `n` of a leaf page, if it lies within the page.
    pub(super) fn parse(page: &[u8], n: usize, width: Width) -> Option<Leaf> {
        let start = node(page, n, width)?;
        let length = usize::try_from(long(page, start)?).ok()?;
        let flags = short(page, start + 4)?;
        let data = start + NODE + usize::from(short(page, start + 6)?);
        let here = match flags & BIG {
            0 => length,
            _ => width.word(),
        };
        let end = data.checked_add(here)?;
        (end <= page.len()).then_some(Leaf {
            flags,
            key: start + NODE..data,
            data: data..end,
            length,
        })
    }
}

fn bytes<const N: usize>(of: &[u8], at: usize) -> Option<[u8; N]> {
    of.get(at..at.checked_add(N)?)?.try_into().ok()
}

pub(super) fn short(of: &[u8], at: usize) -> Option<u16> {
    bytes(of, at).map(u16::from_le_bytes)
}

pub(super) fn long(of: &[u8], at: usize) -> Option<u32> {
    bytes(of, at).map(u32::from_le_bytes)
}

/// A word of the file's width.
pub(super) fn number(of: &[u8], at: usize, width: Width) -> Option<u64> {
    match width {
        Width::Bits32 => long(of, at).map(u64::from),
        Width::Bits64 => bytes(of, at).map(u64::from_le_bytes),
    }
}
