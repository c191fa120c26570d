//! The environment as another process reads it, beside a server that runs.

use std::fs::File;
use std::path::Path;

use heed::{CompactionOption, Env, WithoutTls};

use super::env::{self, Options};
use super::error::StoreError;
use super::schema;
use super::tx::ReadTx;

/// An environment that is only read; other processes may have it open.
pub struct Reader {
    env: Env<WithoutTls>,
}

impl Reader {
    /// Opens what lies below the data directory `path`.
    ///
    /// # Errors
    /// [`StoreError::Newer`], [`StoreError::OtherWidth`] for data that are not converted yet, and
    /// the disk's.
    pub fn open(path: &Path) -> Result<Reader, StoreError> {
        let env = env::open_to_read(path, Options::default())?;
        schema::check_version(&env)?;
        Ok(Reader { env })
    }

    /// Runs `job` on the last commit. Keep it short, as in [`Store::read`](super::Store::read).
    ///
    /// # Errors
    /// The job's own, and [`StoreError::Older`] if a table is missing.
    pub fn read<T>(
        &self,
        job: impl FnOnce(&ReadTx<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let tables = schema::open_to_read(&self.env)?;
        let txn = self.env.read_txn()?;
        job(&ReadTx::new(&txn, &tables))
    }

    /// Writes a consistent copy of the last commit into `file`, from where it stands on, without the
    /// pages that are free.
    ///
    /// # Errors
    /// The disk's.
    pub fn copy_to(&self, file: &mut File) -> Result<(), StoreError> {
        Ok(self.env.copy_to_file(file, CompactionOption::Enabled)?)
    }
}
