//! A simulated small board: a clock that jumps, a card that is slow or fails, names that do not resolve. `board.c`,
//! which overrides the C library, follows the fields of a mapped file.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, Ordering};

use tempfile::TempDir;
use wildcat::clock;

use super::ServerOptions;

/// The library, made once for all tests.
static LIBRARY: OnceLock<(TempDir, PathBuf)> = OnceLock::new();

fn library() -> &'static Path {
    let (_, path) = LIBRARY.get_or_init(|| {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("board.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/support/board.c");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-o"])
            .args([&path, &source])
            .arg("-ldl")
            .status();
        assert!(built.expect("a C compiler").success());
        (directory, path)
    });
    path
}

/// The faults of the board; none at first.
pub struct Board {
    fields: &'static Fields,
}

/// As in `board.c`.
#[repr(C)]
pub struct Fields {
    clock_ms: AtomicI64,
    pub sync_ms: AtomicI64,
    pub sync_error: AtomicI64,
    pub write_error: AtomicI64,
    pub meta_error: AtomicI64,
    pub names_ms: AtomicI64,
    pub names_error: AtomicI64,
    pub syncs: AtomicI64,
    pub lookups: AtomicI64,
}

impl Board {
    /// Puts the server that is started with these options onto a board.
    pub fn under(options: &mut ServerOptions) -> Board {
        let directory = options.data.parent().expect("a parent");
        let path = directory.join("board");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .expect("a file");
        file.set_len(size_of::<Fields>() as u64).expect("room");
        // SAFETY: a new mapping of a file that is long enough; it stays for ever, and all that is in it
        // is atomic.
        let fields = unsafe {
            use std::os::fd::AsRawFd as _;
            let map = libc::mmap(
                std::ptr::null_mut(),
                size_of::<Fields>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            );
            assert_ne!(map, libc::MAP_FAILED);
            &*map.cast::<Fields>()
        };
        for (name, value) in [
            ("LD_PRELOAD", library()),
            ("BOARD", &path),
            ("BOARD_DATA", &options.data.clone()),
        ] {
            options.put(name, value.display());
        }
        Board { fields }
    }

    /// Sets the board's clock to a time in Unix milliseconds, from which it advances.
    pub fn set_clock(&self, to: i64) {
        let now = i64::try_from(clock::now()).expect("a time");
        self.fields.clock_ms.store(to - now, Ordering::SeqCst);
    }

    /// Sets the board's clock right.
    pub fn set_clock_right(&self) {
        self.fields.clock_ms.store(0, Ordering::SeqCst);
    }
}

impl std::ops::Deref for Board {
    type Target = Fields;

    fn deref(&self) -> &Fields {
        self.fields
    }
}
