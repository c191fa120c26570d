//! Reads a file of LMDB, of either word size, by its pages alone: no map, and nothing is believed that
//! was not looked at. Whatever the file holds, reading it ends, with rows or with an error.
//!
//! What is read (all little-endian; `W` is 4 or 8 bytes):
//!
//! - A page starts with its number (`W`), two bytes of no use here, its kind, and two numbers that say
//!   where its free space starts and ends; behind those, two bytes for each node say where it is. An
//!   overflow page has the number of pages that it and those behind it are in their place.
//! - The first two pages are metas: a number to know the file by, its version, two `W` of no use here,
//!   the records of the free pages' table and of the main one, the last page's number (`W`), and the
//!   number of the transaction (`W`). The one with the higher number counts.
//! - A table's record: page size (in the first table's alone), flags, depth, then in `W` each its
//!   branch, leaf and overflow pages, its rows, and its root. The rows of the main table are the records
//!   of the others.
//! - A node: four bytes that are a leaf's length of data or the lower part of a branch's page number, two
//!   that are a leaf's flags or that number's upper part, the key's length, the key, and the data, or
//!   the number of the overflow page that has it.
//!
//! LMDB has no checksums: a bit that is wrong within a key or its data is none of what is seen here. But
//! that the pages hang together, each node in its place and the rows in order and all there, is.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use super::nodes::{
    BIG, BRANCH, LEAF, Leaf, META, OVERFLOW, TREE, child, count_nodes, kind, long, number, short,
};
use super::{MAGIC, Width};

/// LMDB's own limit of a tree's levels.
const MAX_DEPTH: u16 = 32;
/// Of a key's length.
const MAX_KEY: usize = 511;
const PAGE_SIZES: std::ops::RangeInclusive<usize> = 512..=32_768;
/// The only version there is.
const VERSION: u32 = 1;
/// Named tables that are looked at; more means that the file is none of ours.
const MAX_TREES: usize = 1_000;

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("page {page}: {what}")]
    Damaged { page: u64, what: &'static str },
}

pub(super) type Result<T> = std::result::Result<T, ReadError>;

pub(super) fn damaged<T>(page: u64, what: &'static str) -> Result<T> {
    Err(ReadError::Damaged { page, what })
}

/// A table's record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// Empty for the main one.
    pub name: String,
    flags: u16,
    depth: u16,
    /// All that it takes.
    pub pages: u64,
    pub rows: u64,
    pub(super) root: u64,
}

/// A file whose last commit is read.
pub struct Source {
    file: File,
    pub(super) width: Width,
    pub page_size: usize,
    pub(super) last_page: u64,
    /// The number of the commit.
    pub(super) commit: u64,
    pub(super) main: Tree,
    /// The free pages' table.
    pub(super) free: Tree,
}

impl Source {
    /// Reads the metas of `file`, which no process may change meanwhile.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn open(file: File, width: Width) -> Result<Source> {
        let first = Meta::read(&file, width, 0, 0)?;
        let second = Meta::read(&file, width, 1, first.page_size as u64)?;
        // Each commit writes the other one. Before the first both have the number 0.
        if first.commit.abs_diff(second.commit) > 1 {
            return damaged(1, "the commits' numbers do not follow each other");
        }
        let (at, meta) = match first.commit >= second.commit {
            true => (0, first),
            false => (1, second),
        };
        if meta.commit != 0 && meta.commit % 2 != at {
            return damaged(at, "the commit's number is that of the other page");
        }
        Ok(Source::of(file, width, meta))
    }

    /// As [`Source::open`], of what LMDB itself would take for the last commit.
    ///
    /// # Errors
    /// [`ReadError`].
    pub(super) fn latest(file: File, width: Width) -> Result<Source> {
        let first = Meta::read(&file, width, 0, 0)?;
        let second = Meta::read(&file, width, 1, first.page_size as u64)?;
        let meta = match first.commit >= second.commit {
            true => first,
            false => second,
        };
        Ok(Source::of(file, width, meta))
    }

    fn of(file: File, width: Width, meta: Meta) -> Source {
        Source {
            file,
            width,
            page_size: meta.page_size,
            last_page: meta.last_page,
            commit: meta.commit,
            main: meta.main,
            free: meta.free,
        }
    }

    /// Bytes of all pages that are in use, as the records say.
    pub fn live_bytes(&self, trees: &[Tree]) -> u64 {
        let tables = trees.iter().map(|tree| tree.pages);
        let pages = tables
            .chain([self.main.pages, self.free.pages, 2])
            .fold(0, u64::saturating_add);
        pages
            .min(self.last_page)
            .saturating_mul(self.page_size as u64)
    }

    /// The named tables.
    ///
    /// # Errors
    /// [`ReadError`], also for tables that are none of ours.
    pub fn trees(&self) -> Result<Vec<Tree>> {
        let mut trees = Vec::new();
        let mut rows = self.walk(&self.main, TREE)?;
        while let Some((key, record)) = rows.next()? {
            let Ok(name) = std::str::from_utf8(key) else {
                return damaged(self.main.root, "a table's name is no text");
            };
            let Some(mut tree) = Tree::parse(record, self.width, self.last_page) else {
                return damaged(self.main.root, "a table's record is not right");
            };
            if tree.flags != 0 {
                return damaged(self.main.root, "a table is of a kind that is not used here");
            }
            name.clone_into(&mut tree.name);
            trees.push(tree);
            if trees.len() > MAX_TREES {
                return damaged(self.main.root, "there are too many tables");
            }
        }
        Ok(trees)
    }

    /// The rows of a table, in order.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn rows(&self, tree: &Tree) -> Result<Rows<'_>> {
        self.walk(tree, 0)
    }

    fn walk(&self, tree: &Tree, flags: u16) -> Result<Rows<'_>> {
        let mut rows = Rows {
            source: self,
            tree: tree.clone(),
            flags,
            levels: Vec::new(),
            seen: 0,
            pages: 0,
            key: Vec::new(),
            big: Vec::new(),
        };
        match tree.rows {
            0 if tree.depth == 0 => {}
            _ if tree.rows == 0 || !(1..=MAX_DEPTH).contains(&tree.depth) => {
                return damaged(tree.root, "a table's depth does not fit its rows");
            }
            _ => rows.descend(tree.root)?,
        }
        Ok(rows)
    }

    /// Fills `bytes` with what stands `offset` bytes behind the start of page `page`.
    pub(super) fn read(&self, page: u64, offset: usize, bytes: &mut [u8]) -> Result<()> {
        let at = page
            .checked_mul(self.page_size as u64)
            .and_then(|at| at.checked_add(offset as u64));
        match at.map(|at| self.file.read_exact_at(bytes, at)) {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                damaged(page, "the file ends before it")
            }
            Some(Err(error)) => Err(error.into()),
            None => damaged(page, "there is no such page"),
        }
    }
}

struct Meta {
    page_size: usize,
    last_page: u64,
    commit: u64,
    main: Tree,
    free: Tree,
}

impl Meta {
    fn read(file: &File, width: Width, page: u64, at: u64) -> Result<Meta> {
        let (word, header) = (width.word(), width.header());
        let record = Tree::size(width);
        let mut bytes = vec![0; header + 8 + 4 * word + 2 * record];
        match file.read_exact_at(&mut bytes, at) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return damaged(page, "the file ends before it");
            }
            Err(error) => return Err(error.into()),
        }
        let is_meta = kind(&bytes, width) == Some(META);
        let body = &bytes[header..];
        if !is_meta || !body.starts_with(&MAGIC) {
            return damaged(page, "it does not start a database");
        }
        if long(body, 4) != Some(VERSION) {
            return damaged(page, "it is of an unknown version of LMDB");
        }
        let tables = 8 + 2 * word;
        let end = tables + 2 * record;
        let page_size = long(body, tables).map_or(0, |size| size as usize);
        if !page_size.is_power_of_two() || !PAGE_SIZES.contains(&page_size) {
            return damaged(page, "the size of its pages is impossible");
        }
        let last_page = number(body, end, width).unwrap_or_default();
        let commit = number(body, end + word, width).unwrap_or_default();
        let free = Tree::parse(&body[tables..tables + record], width, last_page);
        let main = Tree::parse(&body[tables + record..end], width, last_page);
        match (free, main) {
            (Some(free), Some(main)) if main.flags == 0 => Ok(Meta {
                page_size,
                last_page,
                commit,
                main,
                free,
            }),
            _ => damaged(page, "a table's record is not right"),
        }
    }
}

impl Tree {
    /// Bytes of a record.
    fn size(width: Width) -> usize {
        8 + 5 * width.word()
    }

    pub(super) fn parse(bytes: &[u8], width: Width, last_page: u64) -> Option<Tree> {
        if bytes.len() != Tree::size(width) {
            return None;
        }
        let mut numbers = [0; 5];
        for (n, slot) in numbers.iter_mut().enumerate() {
            *slot = number(bytes, 8 + n * width.word(), width)?;
        }
        let [branches, leaves, overflows, rows, root] = numbers;
        let pages = branches.saturating_add(leaves).saturating_add(overflows);
        // The root of an empty one is no page.
        (rows == 0 || root <= last_page).then_some(Tree {
            name: String::new(),
            flags: short(bytes, 4)?,
            depth: short(bytes, 6)?,
            pages,
            rows,
            root,
        })
    }
}

/// The rows of one table: a walk through its tree that holds a page of each level.
pub struct Rows<'s> {
    source: &'s Source,
    tree: Tree,
    /// Those that each row's node has, besides [`BIG`].
    flags: u16,
    levels: Vec<Level>,
    seen: u64,
    pages: u64,
    /// The last row's.
    key: Vec<u8>,
    /// The last row's data that were in an overflow page.
    big: Vec<u8>,
}

struct Level {
    page: u64,
    bytes: Vec<u8>,
    /// How many nodes it has, and which is next.
    nodes: usize,
    next: usize,
}

impl Rows<'_> {
    /// The next row's key and data.
    ///
    /// # Errors
    /// [`ReadError`]; nothing more comes then.
    pub fn next(&mut self) -> Result<Option<(&[u8], &[u8])>> {
        loop {
            let depth = self.levels.len();
            let Some(level) = self.levels.last_mut() else {
                return match self.seen == self.tree.rows {
                    true => Ok(None),
                    false => damaged(self.tree.root, "a table has not as many rows as it says"),
                };
            };
            if level.next == level.nodes {
                self.levels.pop();
                continue;
            }
            level.next += 1;
            if depth < usize::from(self.tree.depth) {
                let (page, width) = (level.page, self.source.width);
                match child(&level.bytes, level.next - 1, width) {
                    Some(child) => self.descend(child)?,
                    None => return damaged(page, "a node leads nowhere"),
                }
                continue;
            }
            return self.row().map(Some);
        }
    }

    /// The row of the node before `next` in the leaf.
    fn row(&mut self) -> Result<(&[u8], &[u8])> {
        let Some(level) = self.levels.last() else {
            return damaged(self.tree.root, "it has no leaf");
        };
        let page = level.page;
        let Some(leaf) = Leaf::parse(&level.bytes, level.next - 1, self.source.width) else {
            return damaged(page, "a node is not within it");
        };
        if leaf.flags & !BIG != self.flags || leaf.flags == BIG | TREE {
            return damaged(page, "a row is of a kind that is not used here");
        }
        let key = &level.bytes[leaf.key];
        if key.is_empty() || key.len() > MAX_KEY {
            return damaged(page, "a key's length is impossible");
        }
        if self.seen > 0 && key <= &self.key[..] {
            return damaged(page, "rows are out of order");
        }
        self.key.clear();
        self.key.extend_from_slice(key);
        self.seen += 1;
        if leaf.flags & BIG != 0 {
            match number(&level.bytes[leaf.data], 0, self.source.width) {
                Some(first) => self.read_big(first, leaf.length)?,
                None => return damaged(page, "a node is not within it"),
            }
            return Ok((&self.key, &self.big));
        }
        let bytes = self.levels.last().map_or(&[][..], |level| &level.bytes);
        Ok((&self.key, &bytes[leaf.data]))
    }

    fn read_big(&mut self, first: u64, length: usize) -> Result<()> {
        let source = self.source;
        let header = source.width.header();
        let mut head = vec![0; header];
        source.read(first, 0, &mut head)?;
        let pages = long(&head, header - 4).map_or(0, u64::from);
        let needed = (header as u64 + length as u64).div_ceil(source.page_size as u64);
        let is_sound = number(&head, 0, source.width) == Some(first)
            && kind(&head, source.width) == Some(OVERFLOW)
            && pages >= needed
            && first
                .checked_add(pages - 1)
                .is_some_and(|last| last <= source.last_page);
        if !is_sound {
            return damaged(first, "it does not hold the row that it should");
        }
        self.count(first, pages)?;
        self.big.clear();
        if self.big.try_reserve_exact(length).is_err() {
            return damaged(first, "it holds a row that is larger than the memory");
        }
        self.big.resize(length, 0);
        source.read(first, header, &mut self.big)
    }

    /// Goes down to `page`.
    fn descend(&mut self, page: u64) -> Result<()> {
        self.count(page, 1)?;
        let source = self.source;
        if page < 2 || page > source.last_page {
            return damaged(page, "there is no such page");
        }
        let mut bytes = vec![0; source.page_size];
        source.read(page, 0, &mut bytes)?;
        let is_leaf = self.levels.len() + 1 == usize::from(self.tree.depth);
        let wanted = if is_leaf { LEAF } else { BRANCH };
        let is_it = number(&bytes, 0, source.width) == Some(page)
            && kind(&bytes, source.width) == Some(wanted);
        if !is_it {
            return damaged(page, "it is another page");
        }
        match count_nodes(&bytes, source.width, is_leaf) {
            Some(nodes) => {
                self.levels.push(Level {
                    page,
                    bytes,
                    nodes,
                    next: 0,
                });
                Ok(())
            }
            None => damaged(page, "its nodes are not as they should be"),
        }
    }

    /// A tree with a cycle would have more pages than the file.
    fn count(&mut self, page: u64, pages: u64) -> Result<()> {
        self.pages = self.pages.saturating_add(pages);
        match self.pages <= self.source.last_page {
            true => Ok(()),
            false => damaged(page, "the table has more pages than there are"),
        }
    }
}
