//! Reads a server's files without the server.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// LMDB's pages on the machines that run the tests.
const PAGE: u64 = 4096;
/// The head of a page, and where the magic and the transaction's number are in a meta page behind it.
const HEAD: u64 = 16;
const TRANSACTION: u64 = 128;
const MAGIC: u32 = 0xBEEF_C0DE;

/// How many transactions were ever committed to the environment below a data directory: each commit
/// writes its number into one of the two meta pages.
pub fn commits(data: &Path) -> u64 {
    let file = File::open(data.join("db/data.mdb")).expect("a database");
    let metas = [0, PAGE].map(|page| {
        let mut bytes = [0; 8];
        file.read_exact_at(&mut bytes[..4], page + HEAD)
            .expect("a meta page");
        assert_eq!(bytes[..4], MAGIC.to_ne_bytes(), "LMDB's own pages");
        file.read_exact_at(&mut bytes, page + HEAD + TRANSACTION)
            .expect("a meta page");
        u64::from_ne_bytes(bytes)
    });
    metas[0].max(metas[1])
}
