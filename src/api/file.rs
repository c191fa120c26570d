//! A file that comes in, on its way to the spool. What is in memory does not grow with it.

use std::fs::File;
use std::io::Write as _;

use smol::lock::Semaphore;

use super::context::ApiContext;
use super::error::ApiError;
use crate::media::{Spool, Spooled};

/// The piece in which a file is read and written, in bytes.
pub const PIECE: usize = 32 * 1024;

/// Pieces that are being written at the same time, over all clients: each takes a thread.
static WRITES: Semaphore = Semaphore::new(4);

/// A file that came in.
#[derive(Debug)]
pub struct Received {
    pub file: Spooled,
    /// What the sender calls it, without folders.
    pub name: Option<String>,
    /// What the sender says it is.
    pub mimetype: Option<String>,
}

/// Where files go, and how large they may be.
#[derive(Debug, Clone)]
pub struct Room {
    pub spool: Spool,
    /// Bytes of a file.
    pub max_file: u64,
    /// Bytes of the JSON around one.
    pub max_json: usize,
}

impl Room {
    pub fn of(context: &ApiContext) -> Room {
        Room {
            spool: context.spool.clone(),
            max_file: context.config.max_file,
            max_json: context.config.max_json,
        }
    }
}

/// A file on its way to the spool.
pub struct Writing {
    spooled: Spooled,
    file: File,
    /// What is not written yet.
    buffer: Vec<u8>,
    size: u64,
    max: u64,
}

impl Writing {
    pub async fn start(room: &Room) -> Result<Writing, ApiError> {
        Writing::after(room, 0).await
    }

    /// The next of several files, of which those before have `used` bytes: together they have no more than one may have.
    pub async fn after(room: &Room, used: u64) -> Result<Writing, ApiError> {
        let spool = room.spool.clone();
        let (spooled, file) = smol::unblock(move || spool.create())
            .await
            .map_err(ApiError::Disk)?;
        Ok(Writing {
            spooled,
            file,
            buffer: Vec::with_capacity(PIECE),
            size: used,
            max: room.max_file,
        })
    }

    pub async fn push(&mut self, bytes: &[u8]) -> Result<(), ApiError> {
        self.buffer.extend_from_slice(bytes);
        self.settle(PIECE).await
    }

    /// Writes what is there, if it is more than `limit` bytes.
    async fn settle(&mut self, limit: usize) -> Result<(), ApiError> {
        if self.size + self.buffer.len() as u64 > self.max {
            return Err(too_large(self.max));
        }
        if self.buffer.len() < limit || self.buffer.is_empty() {
            return Ok(());
        }
        let _turn = WRITES.acquire().await;
        let buffer = std::mem::take(&mut self.buffer);
        let mut file = self.file.try_clone().map_err(ApiError::Disk)?;
        let mut buffer = smol::unblock(move || file.write_all(&buffer).map(|()| buffer))
            .await
            .map_err(ApiError::Disk)?;
        self.size += buffer.len() as u64;
        buffer.clear();
        self.buffer = buffer;
        Ok(())
    }

    /// Bytes of this file and of those before it.
    pub fn used(&self) -> u64 {
        self.size + self.buffer.len() as u64
    }

    pub async fn finish(mut self) -> Result<Spooled, ApiError> {
        self.settle(0).await?;
        Ok(self.spooled)
    }
}

pub fn too_large(limit: u64) -> ApiError {
    ApiError::TooLarge {
        limit: usize::try_from(limit).unwrap_or(usize::MAX),
    }
}

pub fn too_many(most: usize) -> ApiError {
    ApiError::Invalid(format!("The request has more than {most} files"))
}
