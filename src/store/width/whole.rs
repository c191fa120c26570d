//! Whether a data file has every page that it refers to. LMDB maps the file, and to touch a page behind its
//! end is the end of the process (SIGBUS): a card that fails, a copy that was cut off, leave such files.
//!
//! A file may be shorter than its meta page says: pages at its end that were taken and given back within
//! one transaction were never written. So a file that is long enough is good at once, and only one that
//! is not is walked through.

use std::fs::File;
use std::io;
use std::path::Path;

use super::Width;
use super::nodes::{BIG, BRANCH, LEAF, Leaf, TREE, child, kind, long, number, short};
use super::pages::{ReadError, Result, Source, Tree, damaged};
use crate::store::StoreError;

/// Looks at a file that is changed meanwhile.
const LOOKS: u32 = 3;

/// Checks the data file at `path` before it is mapped. `in_use`: whether it belongs to a data directory
/// that a server has used, so that it cannot be empty.
///
/// # Errors
/// [`StoreError::CutShort`], and what the disk says. What is wrong with the file otherwise is left to
/// LMDB to say.
pub fn check(path: &Path, in_use: bool) -> std::result::Result<(), StoreError> {
    let failed = |error| StoreError::io("read", path, error);
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    let length = || {
        file.metadata()
            .map(|metadata| metadata.len())
            .map_err(failed)
    };
    let cut_short = |has, needs| StoreError::CutShort {
        path: path.to_owned(),
        has,
        needs,
    };
    match Width::of(&file).map_err(failed)? {
        Some(Width::OWN) => {}
        // The other word size is converted, page by page.
        Some(_) => return Ok(()),
        None => {
            let has = length()?;
            // Empty is what the first start leaves that is cut off before its first commit.
            let is_new = has == 0 && !in_use;
            return match has < HEAD && !is_new {
                true => Err(cut_short(has, HEAD)),
                false => Ok(()),
            };
        }
    }
    let mut seen = None;
    for _ in 0..LOOKS {
        let copy = file.try_clone().map_err(failed)?;
        let source = match Source::latest(copy, Width::OWN) {
            Ok(source) => source,
            Err(ReadError::Io(error)) => return Err(failed(error)),
            Err(ReadError::Damaged { .. }) => {
                let has = length()?;
                return match has < HEAD {
                    true => Err(cut_short(has, HEAD)),
                    false => Ok(()),
                };
            }
        };
        // Behind the look at the metas: what they tell of was written before them.
        let has = length()?;
        let needs = source.full_length();
        if has >= needs {
            return Ok(());
        }
        match source.has_all() {
            Ok(()) => return Ok(()),
            Err(ReadError::Io(error)) => return Err(failed(error)),
            // The same commit, and still not there: no process writes it any more.
            Err(ReadError::Damaged { .. }) if seen == Some(source.commit) => {
                return Err(cut_short(has, needs));
            }
            Err(ReadError::Damaged { .. }) => seen = Some(source.commit),
        }
    }
    // A server writes to it faster than it can be read: it has looked itself.
    Ok(())
}

/// Bytes that every file has: two metas on pages of the smallest size that Linux has.
const HEAD: u64 = 2 * 4096;

impl Source {
    /// Bytes up to the last page.
    fn full_length(&self) -> u64 {
        self.last_page
            .saturating_add(1)
            .saturating_mul(self.page_size as u64)
    }

    /// Whether each page that is referred to is there.
    fn has_all(&self) -> Result<()> {
        let mut waiting: Vec<u64> = [&self.main, &self.free]
            .into_iter()
            .filter(|tree| tree.rows > 0)
            .map(|tree| tree.root)
            .collect();
        // A tree with a cycle would have more pages than the file.
        let mut left = self.last_page;
        let mut bytes = vec![0; self.page_size];
        while let Some(page) = waiting.pop() {
            if left == 0 {
                return damaged(page, "there are more pages than there can be");
            }
            left -= 1;
            self.read(page, 0, &mut bytes)?;
            let header = self.width.header();
            let lower = short(&bytes, header - 4).map_or(0, usize::from);
            let nodes = lower.saturating_sub(header) / 2;
            for n in 0..nodes {
                match kind(&bytes, self.width) {
                    Some(BRANCH) => waiting.extend(child(&bytes, n, self.width)),
                    Some(LEAF) => match Leaf::parse(&bytes, n, self.width) {
                        Some(leaf) => self.follow(&bytes, &leaf, &mut waiting)?,
                        None => return damaged(page, "a node is not within it"),
                    },
                    _ => return damaged(page, "it is another page"),
                }
            }
        }
        Ok(())
    }

    /// Where a leaf's node leads: to an overflow page, which has to be there, or to another tree.
    fn follow(&self, bytes: &[u8], leaf: &Leaf, waiting: &mut Vec<u64>) -> Result<()> {
        let data = &bytes[leaf.data.clone()];
        if leaf.flags & BIG != 0 {
            let first = number(data, 0, self.width).unwrap_or(u64::MAX);
            let header = self.width.header();
            let mut head = vec![0; header];
            self.read(first, 0, &mut head)?;
            let pages = long(&head, header - 4).map_or(1, u64::from).max(1);
            let last = first.saturating_add(pages - 1);
            return self.read(last, self.page_size - 1, &mut [0]);
        }
        if leaf.flags & TREE != 0
            && let Some(tree) = Tree::parse(data, self.width, u64::MAX)
            && tree.rows > 0
        {
            waiting.push(tree.root);
        }
        Ok(())
    }
}
